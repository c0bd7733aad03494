//! Changes of the root filesystem and recovered files.

use egui::Ui;

use crate::session::{Command, OpenArchive};
use crate::ui::icons;
use crate::ui::widgets::empty_state;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct FilesystemState {}

impl FilesystemState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {}
}

/// Draws the panel.
#[must_use]
pub fn filesystem_ui(ui: &mut Ui, _archive: &OpenArchive, _state: &mut FilesystemState) -> Vec<Command> {
    empty_state(ui, icons::FOLDER, "Filesystem", "This panel is being written.");
    Vec::new()
}

pub(super) fn name_of_recovered(_checkpoint: &crate::checkpoint::Checkpoint, _index: usize) -> String {
    String::new()
}
