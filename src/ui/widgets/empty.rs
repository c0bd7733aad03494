//! Nothing there: say so, say why, say what to do.

use egui::{Align, Layout, RichText, Ui};

use crate::ui::icons::{self, Icon};
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};

/// An icon, a title and a hint in the middle of what is left.
pub fn empty_state(ui: &mut Ui, icon: Icon, title: &str, hint: &str) {
    let tokens = Tokens::get(ui);
    let space = (ui.available_height() * 0.36 - 40.0).max(SPACE_S);
    ui.with_layout(Layout::top_down(Align::Center), |ui| {
        ui.add_space(space);
        ui.label(RichText::new(icon).font(tokens::icon_font(30.0)).color(tokens.faint));
        ui.add_space(SPACE_XS);
        ui.label(RichText::new(title).font(tokens::strong_font(tokens::TEXT_BODY)).color(tokens.text));
        if !hint.is_empty() {
            let width = ui.available_width().min(460.0);
            ui.allocate_ui_with_layout(egui::vec2(width, 0.0), Layout::top_down(Align::Center), |ui| {
                ui.set_max_width(width);
                ui.add(egui::Label::new(RichText::new(hint).color(tokens.muted)).wrap());
            });
        }
    });
}

/// A panel that shows an archive, without one.
pub fn no_archive(ui: &mut Ui) {
    empty_state(ui, icons::ARCHIVE, "No archive is open", "Open one with Ctrl+O, or drop it on the window.");
}
