//! One row of a list or a tree: everything at its place, painted, not laid out.

use egui::{Align2, Color32, Rect, Response, Role, Sense, Stroke, Ui, Vec2, WidgetInfo};

use super::buttons::paint_icon;
use super::filter::highlighted;
use crate::ui::icons::{self, Icon};
use crate::ui::tokens::{self, ICON_SIZE, INDENT, ROW_HEIGHT, SPACE_S, SPACE_XS, Tokens, Tone};

/// A row being built.
#[derive(Debug)]
pub struct ListRow<'a> {
    label: &'a str,
    name: Option<&'a str>,
    icon: Option<(Icon, Tone)>,
    secondary: &'a str,
    trailing: &'a str,
    badges: &'a [(&'a str, Tone)],
    reserved: f32,
    needle: &'a str,
    depth: u32,
    is_open: Option<bool>,
    is_selected: bool,
    is_muted: bool,
    is_mono: bool,
    is_flat: bool,
    is_value: bool,
    height: f32,
}

/// What happened to a row.
#[derive(Debug)]
pub struct RowResponse {
    /// Of the row as a whole.
    pub response: Response,
    /// The branch mark was pressed.
    pub is_toggled: bool,
}

impl<'a> ListRow<'a> {
    /// A row with this text.
    pub fn new(label: &'a str) -> ListRow<'a> {
        ListRow {
            label,
            name: None,
            icon: None,
            secondary: "",
            trailing: "",
            badges: &[],
            reserved: 0.0,
            needle: "",
            depth: 0,
            is_open: None,
            is_selected: false,
            is_muted: false,
            is_mono: false,
            is_flat: false,
            is_value: false,
            height: ROW_HEIGHT,
        }
    }

    /// Accessible name, where it is more than the text.
    pub fn name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }

    /// Icon before the text.
    pub fn icon(mut self, icon: Icon, tone: Tone) -> Self {
        self.icon = Some((icon, tone));
        self
    }

    /// Muted text after the text; cut where there is no room.
    pub fn secondary(mut self, secondary: &'a str) -> Self {
        self.secondary = secondary;
        self
    }

    /// A value after the text, its name: monospaced, and as clear as the name.
    pub fn value(mut self, value: &'a str) -> Self {
        self.secondary = value;
        self.is_value = true;
        self
    }

    /// Short words with a meaning, after the text.
    pub fn badges(mut self, badges: &'a [(&'a str, Tone)]) -> Self {
        self.badges = badges;
        self
    }

    /// Leaves so many points free at the right edge.
    pub fn reserve(mut self, width: f32) -> Self {
        self.reserved = width;
        self
    }

    /// Monospaced text at the right edge.
    pub fn trailing(mut self, trailing: &'a str) -> Self {
        self.trailing = trailing;
        self
    }

    /// Marks the first match of a filter (lower case).
    pub fn needle(mut self, needle: &'a str) -> Self {
        self.needle = needle;
        self
    }

    /// Level in a tree.
    pub fn depth(mut self, depth: u32) -> Self {
        self.depth = depth.min(32);
        self
    }

    /// A branch, open or closed; `None` for a leaf.
    pub fn branch(mut self, is_open: Option<bool>) -> Self {
        self.is_open = is_open;
        self
    }

    /// Whether it is the selected one.
    pub fn selected(mut self, is_selected: bool) -> Self {
        self.is_selected = is_selected;
        self
    }

    /// Text in the colour of what matters less.
    pub fn muted(mut self, is_muted: bool) -> Self {
        self.is_muted = is_muted;
        self
    }

    /// Text in monospaced type.
    pub fn mono(mut self) -> Self {
        self.is_mono = true;
        self
    }

    /// In a list without branches: no room for their mark.
    pub fn flat(mut self) -> Self {
        self.is_flat = true;
        self
    }

    /// So many points high.
    pub fn height(mut self, height: f32) -> Self {
        self.height = height;
        self
    }

    /// Draws it over the whole width.
    pub fn show(self, ui: &mut Ui) -> RowResponse {
        let tokens = Tokens::get(ui);
        let size = Vec2::new(ui.available_width(), self.height);
        let (rect, response) = ui.allocate_exact_size(size, Sense::click());
        let name = self.name.unwrap_or(self.label);
        response.widget_info(|| {
            let mut info = WidgetInfo::selected(Role::ListItem, ui.is_enabled(), self.is_selected, name);
            info.role = Role::ListItem;
            let words: Vec<_> = self.badges.iter().map(|(word, _)| *word).collect();
            info.current_text_value = (!words.is_empty()).then(|| words.join(", "));
            info
        });
        if let Some(is_open) = self.is_open {
            ui.ctx().accesskit_node_builder(response.id, |node| node.set_expanded(is_open));
        }
        let mut is_toggled = false;
        if ui.is_rect_visible(rect) {
            self.paint_background(ui, rect, &response, tokens);
            let mut x = rect.left() + SPACE_XS + self.depth as f32 * INDENT;
            for level in 0..self.depth {
                let line_x = rect.left() + SPACE_XS + level as f32 * INDENT + 8.0;
                ui.painter().vline(line_x, rect.y_range(), Stroke::new(1.0, tokens.line));
            }
            if let Some(is_open) = self.is_open {
                let mark = Rect::from_min_size(egui::pos2(x, rect.top()), Vec2::new(16.0, rect.height()));
                let icon = if is_open { icons::CARET_DOWN } else { icons::CARET_RIGHT };
                paint_icon(ui, mark, icon, 11.0, tokens.muted);
                is_toggled = response.clicked()
                    && response.interact_pointer_pos().is_some_and(|pos| mark.expand(2.0).contains(pos));
            }
            x += if self.is_flat { SPACE_XS } else { 16.0 };
            self.paint_content(ui, rect, x, tokens);
        }
        RowResponse { response, is_toggled }
    }

    fn paint_background(&self, ui: &Ui, rect: Rect, response: &Response, tokens: &Tokens) {
        if self.is_selected {
            ui.painter().rect_filled(rect, 0.0, tokens.selected);
            let bar = Rect::from_min_size(rect.min, Vec2::new(2.0, rect.height()));
            ui.painter().rect_filled(bar, 0.0, tokens.accent);
        } else if response.hovered() {
            ui.painter().rect_filled(rect, 0.0, tokens.hover);
        }
        super::buttons::focus_ring(ui, response);
    }

    fn paint_content(&self, ui: &Ui, rect: Rect, mut x: f32, tokens: &Tokens) {
        let mut right = rect.right() - SPACE_S - self.reserved;
        if !self.trailing.is_empty() {
            let drawn = ui.painter().text(
                egui::pos2(right, rect.center().y),
                Align2::RIGHT_CENTER,
                self.trailing,
                tokens::mono_font(),
                tokens.muted,
            );
            right = drawn.left() - SPACE_S;
        }
        if let Some((icon, tone)) = self.icon {
            let icon_rect = Rect::from_min_size(egui::pos2(x, rect.top()), Vec2::new(ICON_SIZE + 2.0, rect.height()));
            paint_icon(ui, icon_rect, icon, ICON_SIZE, tokens.tone(tone));
            x += ICON_SIZE + SPACE_S;
        }
        let color = match (self.is_muted, self.is_selected) {
            (true, _) => tokens.muted,
            (false, true) => tokens.strong,
            (false, false) => tokens.text,
        };
        let font = if self.is_mono { tokens::mono_font() } else { tokens::body_font() };
        let color = if self.is_value { tokens.muted } else { color };
        let badge_font = tokens::small_font();
        let badges: Vec<_> = self
            .badges
            .iter()
            .map(|(word, tone)| {
                let color = tokens.tone(*tone);
                (ui.painter().layout_no_wrap((*word).to_owned(), badge_font.clone(), color), color)
            })
            .collect();
        // Names are cut before badges are.
        let badges_width: f32 = badges.iter().map(|(galley, _)| galley.size().x + 12.0 + SPACE_XS).sum();
        let label_right = if badges.is_empty() { right } else { (right - badges_width - SPACE_XS).max(x + 40.0) };
        x = paint_cut(ui, self.label, self.needle, font, color, x, label_right, rect, tokens);
        if !badges.is_empty() {
            x += SPACE_XS;
        }
        for (galley, color) in badges {
            let size = galley.size();
            let pill = Rect::from_center_size(
                egui::pos2(x + SPACE_XS + size.x / 2.0 + 6.0, rect.center().y),
                Vec2::new(size.x + 12.0, 17.0),
            );
            if pill.right() > right {
                break;
            }
            ui.painter().rect_filled(pill, tokens::RADIUS, color.gamma_multiply(0.14));
            ui.painter().galley(pill.center() - size / 2.0, galley, color);
            x = pill.right();
        }
        if !self.secondary.is_empty() && right - x > 24.0 {
            let (font, color) = match self.is_value {
                true => (tokens::mono_font(), tokens.text),
                false => (tokens::small_font(), tokens.muted),
            };
            paint_cut(ui, self.secondary, self.needle, font, color, x + SPACE_S, right, rect, tokens);
        }
    }
}

/// Paints one line between `left` and `right`, cut with an ellipsis; the right edge of what was painted.
#[expect(clippy::too_many_arguments, reason = "a painter's arguments, private to rows")]
fn paint_cut(
    ui: &Ui,
    text: &str,
    needle: &str,
    font: egui::FontId,
    color: Color32,
    left: f32,
    right: f32,
    rect: Rect,
    tokens: &Tokens,
) -> f32 {
    let mut job = highlighted(text, needle, font, color, tokens);
    job.wrap.max_width = (right - left).max(0.0);
    let galley = ui.painter().layout_job(job);
    let width = galley.size().x;
    ui.painter().galley(egui::pos2(left, rect.center().y - galley.size().y / 2.0), galley, color);
    left + width
}
