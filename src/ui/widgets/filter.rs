//! A filter box, and the highlighting of what it matches.

use egui::text::{LayoutJob, TextFormat};
use egui::{Color32, FontId, Key, Rect, Ui, Vec2};

use super::buttons::{icon_button, paint_icon};
use crate::ui::icons;
use crate::ui::tokens::{SPACE_XS, Tokens};

/// A one-line filter: icon, text, clear. Escape clears it. Ctrl+F of the panel reaches it.
#[derive(Debug)]
pub struct FilterBox<'a> {
    text: &'a mut String,
    name: &'a str,
    wants_focus: bool,
    width: f32,
}

impl<'a> FilterBox<'a> {
    /// `name` is the hint and the accessible name ("Filter processes").
    pub fn new(text: &'a mut String, name: &'a str) -> FilterBox<'a> {
        FilterBox { text, name, wants_focus: false, width: 220.0 }
    }

    /// Take the keyboard now.
    pub fn focus(mut self, wants_focus: bool) -> FilterBox<'a> {
        self.wants_focus = wants_focus;
        self
    }

    /// Width in points; it shrinks to what there is.
    pub fn width(mut self, width: f32) -> FilterBox<'a> {
        self.width = width;
        self
    }

    /// Draws it; true when the text has changed.
    pub fn show(self, ui: &mut Ui) -> bool {
        let tokens = Tokens::get(ui);
        let width = self.width.min(ui.available_width());
        let icon_space = 24.0;
        let clear_space = if self.text.is_empty() { 6.0 } else { 24.0 };
        let edit = egui::TextEdit::singleline(self.text)
            .hint_text(self.name)
            .desired_width((width - icon_space - 6.0).max(64.0))
            .margin(egui::Margin { left: icon_space as i8, right: clear_space as i8, top: 3, bottom: 3 });
        let response = ui.add(edit);
        let mut changed = response.changed();
        let icon_rect = Rect::from_min_size(response.rect.left_top(), Vec2::new(icon_space, response.rect.height()));
        let color = if self.text.is_empty() { tokens.muted } else { tokens.accent };
        paint_icon(ui, icon_rect, icons::FILTER, 13.0, color);
        if self.wants_focus {
            response.request_focus();
        }
        if !self.text.is_empty() {
            let clear = Rect::from_min_size(
                egui::pos2(response.rect.right() - 24.0, response.rect.center().y - 12.0),
                Vec2::splat(24.0),
            );
            let clicked = ui
                .scope_builder(egui::UiBuilder::new().max_rect(clear), |ui| {
                    icon_button(ui, icons::CLOSE, "Clear filter").clicked()
                })
                .inner;
            let escaped = response.has_focus() && ui.input(|input| input.key_pressed(Key::Escape));
            if clicked || escaped {
                self.text.clear();
                changed = true;
            }
        }
        ui.add_space(SPACE_XS);
        changed
    }
}

/// Whether `needle`, which is lower case, occurs in `haystack` in any case. Allocates nothing for ASCII.
pub fn contains_ignore_case(haystack: &str, needle: &str) -> bool {
    find_ignore_case(haystack, needle).is_some()
}

/// Byte range of the first occurrence.
fn find_ignore_case(haystack: &str, needle: &str) -> Option<std::ops::Range<usize>> {
    if needle.is_empty() {
        return Some(0..0);
    }
    if haystack.is_ascii() {
        let needle_bytes = needle.as_bytes();
        return haystack
            .as_bytes()
            .windows(needle_bytes.len())
            .position(|window| window.eq_ignore_ascii_case(needle_bytes))
            .map(|at| at..at + needle_bytes.len());
    }
    // Lower case may have another length: only tell ranges that lie on the same characters.
    let lower = haystack.to_lowercase();
    let at = lower.find(needle)?;
    let range = at..at + needle.len();
    if haystack.len() == lower.len() && haystack.is_char_boundary(range.start) && haystack.is_char_boundary(range.end) {
        Some(range)
    } else {
        Some(0..0)
    }
}

/// `text` with the first occurrence of `needle` (lower case) marked.
pub fn highlighted(text: &str, needle: &str, font: FontId, color: Color32, tokens: &Tokens) -> LayoutJob {
    let mut job = LayoutJob::default();
    let plain = TextFormat::simple(font.clone(), color);
    match find_ignore_case(text, needle) {
        Some(range) if !range.is_empty() => {
            let marked =
                TextFormat { background: tokens.highlight, color: tokens.strong, ..TextFormat::simple(font, color) };
            job.append(&text[..range.start], 0.0, plain.clone());
            job.append(&text[range.clone()], 0.0, marked);
            job.append(&text[range.end..], 0.0, plain);
        }
        _ => job.append(text, 0.0, plain),
    }
    job.wrap.max_rows = 1;
    job.wrap.break_anywhere = true;
    job
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter() {
        assert!(contains_ignore_case("Nginx", "ngi"));
        assert!(contains_ignore_case("ÄRGER", "ärg"));
        assert!(contains_ignore_case("x", ""));
        assert!(!contains_ignore_case("", "x"));
        assert_eq!(find_ignore_case("/usr/BIN/x", "bin"), Some(5..8));
    }

    #[test]
    fn letters_that_change_length_do_not_break_the_text() {
        let tokens = Tokens::of(&egui::Visuals::dark());
        let job = highlighted("İİx", "x", crate::ui::tokens::body_font(), tokens.text, tokens);
        assert_eq!(job.text, "İİx");
    }
}
