//! A list with the details of what is selected in it, beside it or below.

use egui::{Align, Frame, Layout, Margin, Panel, RichText, ScrollArea, Sense, Ui};

use super::badge::badge;
use super::buttons::{icon_button, paint_icon};
use crate::session::{ArchiveId, Command, NavigateCommand, OpenArchive, Target};
use crate::ui::icons::{self, Icon};
use crate::ui::tokens::{self, SPACE_L, SPACE_M, SPACE_S, SPACE_XS, Tokens, Tone};

/// From this width on details stand beside the list, in points.
const BESIDE: f32 = 1100.0;

/// What of a panel's own is shown in detail: it follows the one selection while that is of the
/// panel's kind, and stays when something else is selected.
#[derive(Debug)]
pub struct Follow<T> {
    seen: Option<(ArchiveId, Target)>,
    shown: Option<T>,
}

impl<T> Default for Follow<T> {
    fn default() -> Follow<T> {
        Follow { seen: None, shown: None }
    }
}

impl<T> Follow<T> {
    /// Takes in where the analyst is; `of` says what of the panel's kind a target names.
    pub fn update(&mut self, archive: &OpenArchive, of: impl Fn(&Target) -> Option<T>) {
        let (id, target) = (archive.id(), archive.target());
        if self.seen.as_ref().is_some_and(|(seen, shown)| *seen == id && shown == target) {
            return;
        }
        if self.seen.as_ref().is_some_and(|(seen, _)| *seen != id) {
            self.shown = None;
        }
        if let Some(shown) = of(target) {
            self.shown = Some(shown);
        }
        self.seen = Some((id, target.clone()));
    }

    /// Takes in what was clicked, so that a click on the row that is selected opens details again.
    pub fn clicked(&mut self, commands: &[Command], of: impl Fn(&Target) -> Option<T>) {
        for command in commands {
            if let Command::Navigate(NavigateCommand::Go(target) | NavigateCommand::Select(target)) = command
                && let Some(shown) = of(target)
            {
                self.shown = Some(shown);
            }
        }
    }

    /// Takes a target as seen without showing it: it was walked past.
    pub fn pass(&mut self, archive: &OpenArchive, target: Option<Target>) {
        if let Some(target) = target {
            self.seen = Some((archive.id(), target));
        }
    }

    /// What is shown.
    pub fn shown(&self) -> Option<&T> {
        self.shown.as_ref()
    }

    /// Closes the details.
    pub fn close(&mut self) {
        self.shown = None;
    }
}

impl<T: Copy> Follow<T> {
    /// Draws the details of what is shown beside a list ([`split_detail`]); what both ask for, the list first. `detail` says
    /// whether it shall be closed, `list` takes what is shown, `of` is that of [`Follow::update`].
    pub fn split_ui(
        &mut self,
        ui: &mut Ui,
        id: &str,
        of: impl Fn(&Target) -> Option<T>,
        detail: impl FnOnce(&mut Ui, T, &mut Vec<Command>) -> bool,
        list: impl FnOnce(&mut Ui, Option<T>) -> Vec<Command>,
    ) -> Vec<Command> {
        let shown = self.shown;
        let (mut is_closed, mut asked, mut commands) = (false, Vec::new(), Vec::new());
        let (closed, asks) = (&mut is_closed, &mut asked);
        let detail = shown.map(|shown| move |ui: &mut Ui| *closed = detail(ui, shown, asks));
        split_detail(ui, id, detail, |ui| commands = list(ui, shown));
        if is_closed {
            self.close();
        }
        self.clicked(&commands, of);
        commands.append(&mut asked);
        commands
    }
}

/// Draws `detail` beside the rest, or below it in a narrow panel, and `list` in what is left.
pub fn split_detail(ui: &mut Ui, id: &str, detail: Option<impl FnOnce(&mut Ui)>, list: impl FnOnce(&mut Ui)) {
    let fill = Tokens::get(ui).surface;
    if let Some(detail) = detail {
        let size = ui.available_size();
        let panel = if size.x >= BESIDE {
            let panel = Panel::right(ui.scope_id().with((id, "beside")));
            panel.default_size((size.x * 0.42).max(360.0)).size_range(300.0..=(size.x - 320.0).max(300.0))
        } else {
            let panel = Panel::bottom(ui.scope_id().with((id, "below")));
            panel.default_size(size.y * 0.52).size_range(96.0..=(size.y - 110.0).max(96.0))
        };
        panel.resizable(true).frame(Frame::NONE.fill(fill)).show(ui, |ui| {
            ui.set_min_size(ui.available_size());
            detail(ui);
        });
    }
    egui::CentralPanel::default().frame(Frame::NONE).show(ui, list);
}

/// Title of details with its badges (word, meaning, tooltip); true when it shall be closed.
pub fn detail_title(ui: &mut Ui, icon: Icon, tone: Tone, title: &str, badges: &[(&str, Tone, &str)]) -> bool {
    let tokens = Tokens::get(ui);
    let mut is_closed = false;
    ui.add_space(SPACE_XS);
    ui.horizontal(|ui| {
        ui.add_space(SPACE_M);
        let (rect, _) = ui.allocate_exact_size(egui::vec2(18.0, 24.0), Sense::hover());
        paint_icon(ui, rect, icon, 16.0, tokens.tone(tone));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            is_closed = icon_button(ui, icons::CLOSE, "Close details").clicked();
            for (word, tone, help) in badges.iter().rev() {
                let response = badge(ui, word, *tone);
                if !help.is_empty() {
                    response.on_hover_text(*help);
                }
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let text = RichText::new(title).font(tokens::strong_font(14.0)).color(tokens.strong);
                ui.add(egui::Label::new(text).truncate().selectable(true));
            });
        });
    });
    let y = ui.cursor().top();
    ui.painter().hline(ui.max_rect().x_range(), y, egui::Stroke::new(1.0, tokens.line));
    ui.add_space(1.0);
    is_closed
}

/// Details that scroll as a whole; they begin at their top again when `id` changes.
pub fn detail_page(ui: &mut Ui, id: u64, draw: impl FnOnce(&mut Ui)) {
    ScrollArea::vertical().id_salt(("detail", id)).auto_shrink(false).show(ui, |ui| {
        Frame::NONE.inner_margin(Margin::symmetric(SPACE_M as i8, SPACE_S as i8)).show(ui, |ui| {
            ui.set_max_width(ui.available_width().min(1180.0));
            ui.spacing_mut().item_spacing.y = SPACE_XS;
            draw(ui);
        });
    });
}

/// One of two columns of details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What it is.
    Left,
    /// What it holds and what it belongs with.
    Right,
}

/// Draws both sides beside each other where there is room, below each other where there is none.
pub fn detail_sides(ui: &mut Ui, mut draw: impl FnMut(&mut Ui, Side)) {
    if ui.available_width() < 760.0 {
        draw(ui, Side::Left);
        draw(ui, Side::Right);
        return;
    }
    ui.spacing_mut().item_spacing.x = SPACE_L;
    ui.columns(2, |columns| {
        for (column, side) in columns.iter_mut().zip([Side::Left, Side::Right]) {
            column.spacing_mut().item_spacing.x = SPACE_S;
            draw(column, side);
        }
    });
}

/// Links beside each other, with room between them.
pub fn link_row<R>(ui: &mut Ui, draw: impl FnOnce(&mut Ui) -> R) -> R {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_M;
        draw(ui)
    })
    .inner
}
