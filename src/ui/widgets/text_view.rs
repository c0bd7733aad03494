//! Text with line numbers and find, only the lines in view. Lines are indexed over several frames.

use egui::{Align2, Key, Role, ScrollArea, Sense, Ui, Vec2, WidgetInfo};

use super::buttons::icon_button;
use super::filter::{contains_ignore_case, highlighted};
use crate::base::{escape, escape_controls};
use crate::ui::icons;
use crate::ui::text::{counted, grouped};
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};

const ROW: f32 = 18.0;
/// Bytes that one frame indexes at most.
const INDEX_BUDGET: usize = 4 << 20;
/// Lines that one frame searches at most.
const SEARCH_BUDGET: usize = 20_000;
/// Longest part of a line that is shown, in bytes.
const MAX_LINE: usize = 4096;

/// What a panel keeps of a text view.
#[derive(Debug, Default)]
pub struct TextView {
    key: Option<u64>,
    /// Offset of the start of every line found so far.
    lines: Vec<usize>,
    indexed: usize,
    find: String,
    needle: String,
    search: Option<(usize, usize)>,
    found: Option<usize>,
    note: &'static str,
    scroll_to: Option<usize>,
}

impl TextView {
    /// Draws `bytes` as text; `key` changes when they do.
    pub fn show(&mut self, ui: &mut Ui, id: &str, key: u64, bytes: &[u8]) {
        self.index(ui, key, bytes);
        self.find_ui(ui);
        self.search_on(ui, bytes);
        let tokens = Tokens::get(ui);
        let char_width = ui.ctx().fonts_mut(|fonts| fonts.glyph_width(&tokens::mono_font(), '0'));
        let gutter = char_width * (self.lines.len().to_string().len().max(3) as f32 + 2.0) + SPACE_S;
        let mut area = ScrollArea::both().id_salt(id).auto_shrink(false);
        if let Some(line) = self.scroll_to.take() {
            area = area.vertical_scroll_offset((line as f32 * ROW - ui.available_height() / 3.0).max(0.0));
        }
        ui.spacing_mut().item_spacing.y = 0.0;
        area.show_rows(ui, ROW, self.lines.len(), |ui, range| {
            for line in range {
                let text = self.line(bytes, line);
                let needle = if self.found == Some(line) { self.needle.as_str() } else { "" };
                let mut job = highlighted(&text, needle, tokens::mono_font(), tokens.text, tokens);
                job.wrap = egui::text::TextWrapping::no_max_width();
                let galley = ui.painter().layout_job(job);
                let size = Vec2::new((gutter + galley.size().x + SPACE_S).max(ui.available_width()), ROW);
                let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
                response.widget_info(|| WidgetInfo::labeled(Role::Label, true, text.as_str()));
                if self.found == Some(line) {
                    ui.painter().rect_filled(rect, 0.0, tokens.hover);
                }
                let number = egui::pos2(rect.left() + gutter - char_width, rect.center().y);
                ui.painter().text(
                    number,
                    Align2::RIGHT_CENTER,
                    (line + 1).to_string(),
                    tokens::mono_font(),
                    tokens.muted,
                );
                ui.painter().galley(
                    egui::pos2(rect.left() + gutter + SPACE_XS, rect.center().y - galley.size().y / 2.0),
                    galley,
                    tokens.text,
                );
            }
        });
    }

    fn line(&self, bytes: &[u8], line: usize) -> String {
        let start = self.lines.get(line).copied().unwrap_or(bytes.len());
        let end = self.lines.get(line + 1).copied().unwrap_or(bytes.len()).min(start.saturating_add(MAX_LINE));
        let raw = bytes.get(start..end).unwrap_or_default();
        let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let text = escape(raw).replace('\t', "    ");
        escape_controls(&text).into_owned()
    }

    /// Finds starts of lines for as long as a frame may take.
    fn index(&mut self, ui: &Ui, key: u64, bytes: &[u8]) {
        if self.key != Some(key) {
            *self = TextView { key: Some(key), find: std::mem::take(&mut self.find), ..TextView::default() };
            self.lines.push(0);
        }
        if self.indexed < bytes.len() {
            let end = bytes.len().min(self.indexed + INDEX_BUDGET);
            let part = bytes.get(self.indexed..end).unwrap_or_default();
            let starts =
                part.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| self.indexed + at + 1);
            self.lines.extend(starts.filter(|start| *start < bytes.len()));
            self.indexed = end;
            ui.ctx().request_repaint();
        }
    }

    fn find_ui(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            ui.add_space(SPACE_S);
            let response =
                ui.add(egui::TextEdit::singleline(&mut self.find).hint_text("Find in text").desired_width(240.0));
            let enter = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            if enter {
                response.request_focus();
            }
            if (icon_button(ui, icons::SEARCH, "Find next").clicked() || enter) && !self.find.is_empty() {
                self.needle = self.find.to_lowercase();
                let from = self.found.map_or(0, |line| line + 1);
                self.search = Some((from, from));
            }
            let tokens = Tokens::get(ui);
            let note = match (self.search, self.found) {
                (Some(_), _) => "searching…".to_owned(),
                (None, Some(line)) => format!("line {}", grouped(line as u64 + 1)),
                (None, None) => self.note.to_owned(),
            };
            ui.label(egui::RichText::new(note).color(tokens.muted));
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                ui.add_space(SPACE_S);
                let text = counted(self.lines.len(), "line", "lines");
                ui.label(egui::RichText::new(text).font(tokens::small_font()).color(tokens.muted));
            });
        });
        ui.add_space(SPACE_XS);
    }

    fn search_on(&mut self, ui: &Ui, bytes: &[u8]) {
        let Some((at, wrapped_from)) = self.search else { return };
        let end = self.lines.len().min(at + SEARCH_BUDGET);
        if let Some(line) = (at..end).find(|line| contains_ignore_case(&self.line(bytes, *line), &self.needle)) {
            self.found = Some(line);
            self.scroll_to = Some(line);
            self.search = None;
        } else if end < self.lines.len() {
            self.search = Some((end, wrapped_from));
        } else if wrapped_from > 0 {
            self.search = Some((0, 0));
        } else {
            self.search = None;
            self.found = None;
            self.note = "not found";
        }
        ui.ctx().request_repaint();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_and_disarmed() {
        let ctx = egui::Context::default();
        let mut view = TextView::default();
        let bytes = b"one\r\ntwo\x1b[2J\n\nlast";
        let output = ctx.run_ui(egui::RawInput::default(), |ui| view.index(ui, 1, bytes));
        output.drop_without_applying_deltas();
        let lines: Vec<_> = (0..view.lines.len()).map(|line| view.line(bytes, line)).collect();
        assert_eq!(lines, ["one", "two\\x1b[2J", "", "last"]);
    }
}
