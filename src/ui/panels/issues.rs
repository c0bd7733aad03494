//! What could not be read, and what is not there.

use egui::Ui;

use crate::session::{Command, OpenArchive};
use crate::ui::icons;
use crate::ui::widgets::empty_state;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct IssuesState {}

impl IssuesState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {}
}

/// Draws the panel.
#[must_use]
pub fn issues_ui(ui: &mut Ui, _archive: &OpenArchive, _state: &mut IssuesState) -> Vec<Command> {
    empty_state(ui, icons::ISSUE, "Issues", "This panel is being written.");
    Vec::new()
}
