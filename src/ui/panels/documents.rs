//! Spec, configuration and logs.

use egui::Ui;

use crate::session::{Command, OpenArchive};
use crate::ui::icons;
use crate::ui::widgets::empty_state;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct DocumentsState {}

impl DocumentsState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {}
}

/// Draws the panel.
#[must_use]
pub fn documents_ui(ui: &mut Ui, _archive: &OpenArchive, _state: &mut DocumentsState) -> Vec<Command> {
    empty_state(ui, icons::DOCUMENT, "Documents", "This panel is being written.");
    Vec::new()
}
