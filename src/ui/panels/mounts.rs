//! Mounts of the container.

use egui::Ui;

use crate::session::{Command, OpenArchive};
use crate::ui::icons;
use crate::ui::widgets::empty_state;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct MountsState {}

impl MountsState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {}
}

/// Draws the panel.
#[must_use]
pub fn mounts_ui(ui: &mut Ui, _archive: &OpenArchive, _state: &mut MountsState) -> Vec<Command> {
    empty_state(ui, icons::DEVICE, "Mounts", "This panel is being written.");
    Vec::new()
}
