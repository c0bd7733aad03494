//! The bar on standard error.

use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::{Cancelled, Progress};

use super::interrupt;

/// Work that lasts shorter shows no bar at all.
const PATIENCE: Duration = Duration::from_millis(300);

/// Draws progress if people look, and says when Ctrl+C was pressed. Gone when dropped.
#[derive(Debug)]
pub(super) struct Bar {
    is_shown: bool,
    started: std::time::Instant,
    bar: OnceLock<ProgressBar>,
    stage: std::sync::Mutex<&'static str>,
}

impl Bar {
    pub(super) fn new(is_shown: bool) -> Bar {
        Bar {
            is_shown,
            started: std::time::Instant::now(),
            bar: OnceLock::new(),
            stage: std::sync::Mutex::new("reading"),
        }
    }

    fn stage_name(&self) -> &'static str {
        self.stage.lock().map_or("reading", |stage| *stage)
    }

    fn make(&self, total: Option<u64>) -> ProgressBar {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let template = match total {
            Some(total) if total >= 1 << 20 => "{msg} {wide_bar} {bytes}/{total_bytes} {eta}",
            Some(_) => "{msg} {wide_bar} {pos}/{len}",
            None => "{msg} {spinner} {bytes}",
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(self.stage_name());
        bar
    }
}

impl Progress for Bar {
    fn step(&self, done: u64, total: Option<u64>) -> Result<(), Cancelled> {
        if interrupt::is_pressed() {
            return Err(Cancelled);
        }
        if self.is_shown && self.started.elapsed() > PATIENCE {
            let bar = self.bar.get_or_init(|| self.make(total));
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
        }
        Ok(())
    }

    fn stage(&self, name: &'static str) {
        if let Ok(mut stage) = self.stage.lock() {
            *stage = name;
        }
        if let Some(bar) = self.bar.get() {
            bar.set_message(name);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
