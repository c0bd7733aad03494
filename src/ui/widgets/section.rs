//! Titles of parts of a panel.

use egui::{Align, Layout, RichText, Ui};

use crate::ui::tokens::{self, SPACE_L, SPACE_S, SPACE_XS, Tokens};

/// A title with a line under it; `note` stands muted beside it (a count).
pub fn section_header(ui: &mut Ui, title: &str, note: &str) {
    section_header_with(ui, title, note, |_| {});
}

/// A title with things to press at the right.
fn section_header_with(ui: &mut Ui, title: &str, note: &str, trailing: impl FnOnce(&mut Ui)) {
    let tokens = Tokens::get(ui);
    ui.horizontal(|ui| {
        ui.label(RichText::new(title).font(tokens::strong_font(tokens::TEXT_BODY)).color(tokens.strong));
        if !note.is_empty() {
            ui.label(RichText::new(note).font(tokens::small_font()).color(tokens.muted));
        }
        ui.with_layout(Layout::right_to_left(Align::Center), trailing);
    });
    let y = ui.cursor().top() - 2.0;
    ui.painter().hline(ui.max_rect().x_range(), y, egui::Stroke::new(1.0, tokens.line));
    ui.add_space(SPACE_XS);
}

/// A title and what stands under it, with room before the next.
pub fn section<R>(ui: &mut Ui, title: &str, note: &str, draw: impl FnOnce(&mut Ui) -> R) -> R {
    section_header(ui, title, note);
    let result = ui
        .scope(|ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            ui.spacing_mut().interact_size.y = 18.0;
            draw(ui)
        })
        .inner;
    ui.add_space(SPACE_L - SPACE_S);
    ui.add_space(SPACE_XS);
    result
}
