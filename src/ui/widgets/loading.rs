//! Not there yet. Says nothing for 200 ms, so that quick work does not flicker.

use std::time::{Duration, Instant};

use egui::{RichText, Ui};

use crate::ui::tokens::{SPACE_S, Tokens};

const SILENT: Duration = Duration::from_millis(200);

/// Remembers since when something is awaited.
#[derive(Clone, Copy, Debug)]
pub struct Loading {
    since: Instant,
}

impl Loading {
    /// From now on.
    pub fn start() -> Loading {
        Loading { since: Instant::now() }
    }

    /// Draws a spinner and what is awaited, once it has been awaited for long enough.
    pub fn show(&self, ui: &mut Ui, what: &str) {
        let waited = self.since.elapsed();
        if waited < SILENT {
            ui.ctx().request_repaint_after(SILENT.saturating_sub(waited));
            return;
        }
        ui.horizontal(|ui| {
            ui.add_space(SPACE_S);
            ui.spinner();
            ui.label(RichText::new(what).color(Tokens::get(ui).muted));
        });
    }
}
