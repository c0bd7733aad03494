//! Open files of the whole container.

use egui::Ui;

use crate::session::{Command, OpenArchive};
use crate::ui::icons;
use crate::ui::widgets::empty_state;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct FilesState {}

impl FilesState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {}
}

/// Draws the panel.
#[must_use]
pub fn files_ui(ui: &mut Ui, _archive: &OpenArchive, _state: &mut FilesState) -> Vec<Command> {
    empty_state(ui, icons::FILES, "Open files", "This panel is being written.");
    Vec::new()
}
