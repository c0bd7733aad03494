//! What the owner of a pull sees of it besides its progress, and how it is held.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::evidence::Growing;

/// How often the rate is told anew.
const TICK: Duration = Duration::from_millis(500);
/// Most notes that are kept.
const MAX_NOTES: usize = 100;

/// Shared between a pull and its owner.
#[derive(Debug, Default)]
pub struct PullControl {
    is_paused: AtomicBool,
    bytes_per_second: AtomicU64,
    meter: Mutex<Meter>,
    notes: Mutex<Vec<String>>,
    /// How broken lines are borne.
    pub patience: Patience,
    /// The archive as far as it is here, for who looks at it while the rest comes.
    pub growing: Growing,
}

/// How broken lines are borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// So many tries in a row may bring nothing.
    pub tries: u32,
    /// How long to wait before the second; each further one waits twice as long, at most half a minute.
    pub first_wait: Duration,
}

impl Default for Patience {
    /// Gives up after some two minutes without a byte.
    fn default() -> Patience {
        Patience { tries: 10, first_wait: Duration::from_millis(250) }
    }
}

#[derive(Debug, Default)]
struct Meter {
    since: Option<Instant>,
    bytes: u64,
}

impl PullControl {
    /// Not held.
    pub fn new(patience: Patience) -> PullControl {
        PullControl { patience, ..PullControl::default() }
    }

    /// Holds the pull: the line is given up, what came stays.
    pub fn pause(&self) {
        self.is_paused.store(true, Relaxed);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.is_paused.store(false, Relaxed);
    }

    /// Whether it is held.
    pub fn is_paused(&self) -> bool {
        self.is_paused.load(Relaxed)
    }

    /// How fast bytes arrive; 0 while none do.
    pub fn bytes_per_second(&self) -> u64 {
        self.bytes_per_second.load(Relaxed)
    }

    /// How long the rest will take at this rate; `None` while none arrives.
    pub fn left(&self, done: u64, total: u64) -> Option<Duration> {
        total.saturating_sub(done).checked_div(self.bytes_per_second()).map(Duration::from_secs)
    }

    /// What happened that the analyst should know: lines that broke, a pull that began anew. Each is given once.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn note(&self, text: String) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < MAX_NOTES {
            notes.push(text);
        }
    }

    /// Counts bytes that arrived.
    pub(super) fn arrived(&self, bytes: u64) {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let since = *meter.since.get_or_insert(now);
        meter.bytes = meter.bytes.saturating_add(bytes);
        let passed = now.duration_since(since);
        if passed < TICK {
            return;
        }
        let rate = (meter.bytes as f64 / passed.as_secs_f64()) as u64;
        let before = self.bytes_per_second.load(Relaxed);
        // Half of what it was: steady enough to read, and a line that slows down shows within seconds.
        let smooth = if before == 0 { rate } else { before / 2 + rate / 2 };
        self.bytes_per_second.store(smooth, Relaxed);
        *meter = Meter { since: Some(now), bytes: 0 };
    }

    /// The line is gone.
    pub(super) fn stands_still(&self) {
        *self.meter.lock().unwrap_or_else(PoisonError::into_inner) = Meter::default();
        self.bytes_per_second.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rest_is_told_only_while_bytes_arrive() {
        let control = PullControl::default();
        assert_eq!(control.left(0, 10), None);
        control.bytes_per_second.store(5, Relaxed);
        assert_eq!(control.left(0, 10), Some(Duration::from_secs(2)));
        control.stands_still();
        assert_eq!(control.left(0, 10), None);
    }

    #[test]
    fn notes_are_given_once_and_are_bounded() {
        let control = PullControl::default();
        (0..1000).for_each(|n| control.note(n.to_string()));
        assert_eq!(control.take_notes().len(), MAX_NOTES);
        assert!(control.take_notes().is_empty());
    }
}
