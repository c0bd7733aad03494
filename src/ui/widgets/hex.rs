//! Bytes as hex and text, only the rows in view, with find.

use std::fmt::Write as _;

use egui::{Align2, Key, Role, ScrollArea, Sense, Ui, Vec2, WidgetInfo};

use super::buttons::icon_button;
use crate::ui::icons;
use crate::ui::text::grouped;
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};

const BYTES_PER_ROW: usize = 16;
const ROW: f32 = 18.0;
/// Bytes that one frame searches at most.
const SEARCH_BUDGET: usize = 2 << 20;

/// What a panel keeps of a hex view.
#[derive(Debug, Default)]
pub struct HexView {
    find: String,
    search: Option<Search>,
    found: Option<std::ops::Range<usize>>,
    note: &'static str,
    scroll_to: Option<usize>,
}

#[derive(Debug)]
struct Search {
    needle: Vec<u8>,
    at: usize,
    wrapped_from: usize,
}

impl HexView {
    /// Draws `bytes`; the first has offset `base`.
    pub fn show(&mut self, ui: &mut Ui, id: &str, bytes: &[u8], base: u64) {
        self.find_ui(ui, bytes);
        self.search_on(ui, bytes);
        let tokens = Tokens::get(ui);
        let rows = bytes.len().div_ceil(BYTES_PER_ROW);
        let char_width = ui.ctx().fonts_mut(|fonts| fonts.glyph_width(&tokens::mono_font(), '0'));
        let width = char_width * (10.0 + 2.0 + 3.0 * 16.0 + 2.0 + 16.0) + 2.0 * SPACE_S;
        let mut area = ScrollArea::both().id_salt(id).auto_shrink(false);
        if let Some(at) = self.scroll_to.take() {
            let row = (at / BYTES_PER_ROW) as f32;
            area = area.vertical_scroll_offset((row * ROW - ui.available_height() / 3.0).max(0.0));
        }
        ui.spacing_mut().item_spacing.y = 0.0;
        area.show_rows(ui, ROW, rows, |ui, range| {
            let mut line = String::new();
            for row in range {
                let start = row * BYTES_PER_ROW;
                let chunk = &bytes[start..bytes.len().min(start + BYTES_PER_ROW)];
                let (rect, response) = ui.allocate_exact_size(Vec2::new(width, ROW), Sense::hover());
                let mut x = rect.left() + SPACE_S;
                let put = |text: &str, color, x: f32| {
                    ui.painter().text(
                        egui::pos2(x, rect.center().y),
                        Align2::LEFT_CENTER,
                        text,
                        tokens::mono_font(),
                        color,
                    );
                };
                line.clear();
                let _ = write!(line, "{:08x}", base + start as u64);
                put(&line, tokens.muted, x);
                x += char_width * 10.0;
                self.mark(ui, rect, x, char_width, start, chunk.len(), tokens);
                line.clear();
                for (n, byte) in chunk.iter().enumerate() {
                    let _ = write!(line, "{byte:02x} ");
                    if n == 7 {
                        line.push(' ');
                    }
                }
                put(&line, tokens.text, x);
                x += char_width * (3.0 * 16.0 + 3.0);
                line.clear();
                line.extend(
                    chunk
                        .iter()
                        .map(|byte| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' }),
                );
                put(&line, tokens.accent, x);
                response.widget_info(|| {
                    WidgetInfo::labeled(Role::Label, true, format!("{:08x} {line}", base + start as u64))
                });
            }
        });
    }

    /// Marks the part of what was found that lies on this row.
    #[expect(clippy::too_many_arguments, reason = "a painter's arguments, private to the view")]
    fn mark(&self, ui: &Ui, rect: egui::Rect, x: f32, char_width: f32, start: usize, len: usize, tokens: &Tokens) {
        let Some(found) = &self.found else { return };
        for n in 0..len {
            if found.contains(&(start + n)) {
                let gap = if n > 7 { 1.0 } else { 0.0 };
                let left = x + char_width * (3.0 * n as f32 + gap) - 1.0;
                let cell = egui::Rect::from_min_size(
                    egui::pos2(left, rect.top() + 1.0),
                    Vec2::new(char_width * 2.0 + 2.0, ROW - 2.0),
                );
                ui.painter().rect_filled(cell, 2.0, tokens.highlight);
            }
        }
    }

    fn find_ui(&mut self, ui: &mut Ui, bytes: &[u8]) {
        ui.horizontal(|ui| {
            ui.add_space(SPACE_S);
            let edit = egui::TextEdit::singleline(&mut self.find)
                .hint_text("Find text, or hex as 0x7f454c46")
                .desired_width(240.0);
            let response = ui.add(edit);
            let enter = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            if enter {
                response.request_focus();
            }
            if icon_button(ui, icons::SEARCH, "Find next").clicked() || enter {
                self.start_search();
            }
            let tokens = Tokens::get(ui);
            let note = match (&self.search, &self.found) {
                (Some(_), _) => "searching…".to_owned(),
                (None, Some(found)) => format!("at {:#x}", found.start),
                (None, None) => self.note.to_owned(),
            };
            ui.label(egui::RichText::new(note).color(tokens.muted));
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.add_space(SPACE_S);
                let text = format!("{} bytes", grouped(bytes.len() as u64));
                ui.label(egui::RichText::new(text).font(tokens::small_font()).color(tokens.muted));
            });
        });
        ui.add_space(SPACE_XS);
    }

    fn start_search(&mut self) {
        let Some(needle) = needle_of(&self.find) else {
            self.note = "hex digits come in pairs";
            self.found = None;
            return;
        };
        if needle.is_empty() {
            self.found = None;
            return;
        }
        let at = self.found.as_ref().map_or(0, |found| found.start + 1);
        self.search = Some(Search { needle, at, wrapped_from: at });
    }

    /// Searches for as long as a frame may take.
    fn search_on(&mut self, ui: &Ui, bytes: &[u8]) {
        let Some(search) = &mut self.search else { return };
        let end = bytes.len().min(search.at.saturating_add(SEARCH_BUDGET));
        let window_end = bytes.len().min(end.saturating_add(search.needle.len() - 1));
        let window = bytes.get(search.at..window_end).unwrap_or_default();
        if let Some(at) = window.windows(search.needle.len()).position(|window| window == search.needle) {
            let start = search.at + at;
            self.found = Some(start..start + search.needle.len());
            self.scroll_to = Some(start);
            self.search = None;
            return;
        }
        search.at = end;
        if end >= bytes.len() {
            if search.wrapped_from == 0 {
                self.search = None;
                self.found = None;
                self.note = "not found";
            } else {
                search.at = 0;
                search.wrapped_from = 0;
            }
        }
        ui.ctx().request_repaint();
    }
}

/// The bytes to look for: `0x…` is hex, everything else text. `None` for broken hex.
fn needle_of(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("0x") else {
        return Some(text.as_bytes().to_vec());
    };
    let digits: Vec<u32> =
        digits.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_and_text_are_told_apart() {
        assert_eq!(needle_of("0x7f45 4c46"), Some(b"\x7fELF".to_vec()));
        assert_eq!(needle_of("0x7"), None);
        assert_eq!(needle_of("0xzz"), None);
        assert_eq!(needle_of("root:"), Some(b"root:".to_vec()));
    }

    #[test]
    fn find_goes_on_behind_the_last_hit_and_wraps() {
        let ctx = egui::Context::default();
        let mut view = HexView { find: "ab".into(), ..HexView::default() };
        let mut hits = Vec::new();
        for _ in 0..3 {
            view.start_search();
            while view.search.is_some() {
                let output = ctx.run_ui(egui::RawInput::default(), |ui| view.search_on(ui, b"ab..ab"));
                output.drop_without_applying_deltas();
            }
            hits.push(view.found.clone().unwrap().start);
        }
        assert_eq!(hits, [0, 4, 0]);
    }
}
