//! Raw image files, record by record.

use egui::Ui;

use crate::session::{Command, OpenArchive};
use crate::ui::icons;
use crate::ui::widgets::empty_state;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct ImagesState {}

impl ImagesState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {}
}

/// Draws the panel.
#[must_use]
pub fn images_ui(ui: &mut Ui, _archive: &OpenArchive, _state: &mut ImagesState) -> Vec<Command> {
    empty_state(ui, icons::IMAGES, "Images", "This panel is being written.");
    Vec::new()
}
