//! Bytes as text or as hex, whichever reads better until the analyst chooses; to copy and to save.

use bytes::Bytes;
use egui::{Align, Layout, RichText, Ui};

use super::buttons::{icon_button, toggle_button};
use super::hex::HexView;
use super::text_view::TextView;
use crate::base::escape;
use crate::session::{Command, ExportCommand};
use crate::ui::icons;
use crate::ui::text;
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};

/// Bytes that are looked at to tell text from other content.
const LOOKED_AT: usize = 4096;
/// Most bytes that are copied to the clipboard.
const MAX_COPIED: usize = 1 << 20;

/// What a panel keeps of bytes it shows.
#[derive(Debug, Default)]
pub struct BytesView {
    key: Option<u64>,
    is_hex: bool,
    hex: HexView,
    text: TextView,
}

impl BytesView {
    /// Draws `bytes` over all that is left. `key` changes when they do; the first has offset
    /// `base`; `file_name` is proposed for saving.
    pub fn show(&mut self, ui: &mut Ui, key: u64, bytes: &Bytes, base: u64, file_name: &str) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.key != Some(key) {
            *self = BytesView { key: Some(key), is_hex: !looks_like_text(bytes), ..BytesView::default() };
        }
        let tokens = Tokens::get(ui);
        ui.horizontal(|ui| {
            ui.add_space(SPACE_S);
            ui.spacing_mut().item_spacing.x = 2.0;
            if toggle_button(ui, icons::DOCUMENT, "Show as text", !self.is_hex).clicked() {
                self.is_hex = false;
            }
            if toggle_button(ui, icons::BINARY, "Show as hex", self.is_hex).clicked() {
                self.is_hex = true;
            }
            ui.add_space(SPACE_S);
            let size = RichText::new(text::bytes(bytes.len() as u64)).font(tokens::small_font()).color(tokens.muted);
            ui.label(size);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.add_space(SPACE_S);
                ui.spacing_mut().item_spacing.x = SPACE_XS;
                if icon_button(ui, icons::SAVE, "Save as…").clicked() {
                    let save = ExportCommand::SaveBytes { file_name: file_name.to_owned(), bytes: bytes.clone() };
                    commands.push(save.into());
                }
                if icon_button(ui, icons::COPY, if self.is_hex { "Copy as hex" } else { "Copy as text" }).clicked() {
                    let part = bytes.get(..bytes.len().min(MAX_COPIED)).unwrap_or_default();
                    commands.push(if self.is_hex {
                        Command::copy("bytes as hex", crate::base::hex(part))
                    } else {
                        Command::copy("text", escape(part))
                    });
                }
            });
        });
        if self.is_hex {
            self.hex.show(ui, "bytes as hex", bytes, base);
        } else {
            self.text.show(ui, "bytes as text", key, bytes);
        }
        commands
    }
}

/// Height that shows a few bytes whole, and of many as much as is worth scrolling, in points.
pub fn bytes_height(bytes: &[u8]) -> f32 {
    let part = bytes.get(..bytes.len().min(LOOKED_AT)).unwrap_or_default();
    let lines = part.iter().filter(|byte| **byte == b'\n').count() + 1;
    let rows = lines.max(part.len().div_ceil(16)).clamp(2, 9);
    64.0 + 18.0 * rows as f32
}

/// Whether the beginning is UTF-8 without control characters that texts do not have.
fn looks_like_text(bytes: &[u8]) -> bool {
    let part = bytes.get(..bytes.len().min(LOOKED_AT)).unwrap_or_default();
    let text = match std::str::from_utf8(part) {
        Ok(text) => text,
        // A character that is cut off at the end is none of the text's fault.
        Err(err) if err.error_len().is_none() => {
            std::str::from_utf8(part.get(..err.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\x1b'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_other_bytes() {
        assert!(looks_like_text(b"#!/bin/sh\n\x1b[1mhi\x1b[0m\r\n"));
        assert!(looks_like_text(&"ä".repeat(LOOKED_AT).as_bytes()[1..][..0]));
        let mut cut = vec![b'a'; LOOKED_AT - 1];
        cut.extend("ä".as_bytes());
        assert!(looks_like_text(&cut));
        assert!(!looks_like_text(b"\x7fELF\x02\x01\x01\0"));
        assert!(!looks_like_text(b"\xff\xfe"));
    }
}
