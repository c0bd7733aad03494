//! What a job sees of its owner, and the owner of the job.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::base::{Cancelled, Progress};

/// Called from the job's thread when the owner should look again.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The owner is woken for progress at most this often.
const WAKE_INTERVAL: Duration = Duration::from_millis(50);

/// `total` that means "not known".
const TOTAL_UNKNOWN: u64 = u64::MAX;

/// How far a job is. A copy: it does not change under the reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressView {
    /// What is being done now ("decompressing"); empty before the first stage.
    pub stage: &'static str,
    /// Bytes or items done in this stage.
    pub done: u64,
    /// Of how many; `None` while unknown.
    pub total: Option<u64>,
}

impl ProgressView {
    /// Share done, 0 to 1; `None` while the total is unknown or nothing.
    pub fn fraction(&self) -> Option<f32> {
        match self.total {
            Some(total) if total > 0 => Some((self.done as f64 / total as f64).min(1.0) as f32),
            _ => None,
        }
    }
}

/// Handed to a running job: report progress here, and stop when told to.
pub struct JobCtx {
    stage: Mutex<&'static str>,
    done: AtomicU64,
    total: AtomicU64,
    cancel: AtomicBool,
    started: Instant,
    woken_ms: AtomicU64,
    wake: Wake,
}

impl JobCtx {
    pub(super) fn new(wake: Wake) -> JobCtx {
        JobCtx {
            stage: Mutex::new(""),
            done: AtomicU64::new(0),
            total: AtomicU64::new(TOTAL_UNKNOWN),
            cancel: AtomicBool::new(false),
            started: Instant::now(),
            woken_ms: AtomicU64::new(0),
            wake,
        }
    }

    /// `Err(Cancelled)` once the analyst has pressed stop; for loops that have no progress to tell.
    ///
    /// # Errors
    /// The job shall stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.cancel.load(Relaxed) { Err(Cancelled) } else { Ok(()) }
    }

    pub(super) fn cancel(&self) {
        self.cancel.store(true, Relaxed);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.load(Relaxed)
    }

    pub(super) fn view(&self) -> ProgressView {
        let total = self.total.load(Relaxed);
        ProgressView {
            stage: *self.stage.lock().unwrap_or_else(PoisonError::into_inner),
            done: self.done.load(Relaxed),
            total: (total != TOTAL_UNKNOWN).then_some(total),
        }
    }

    pub(super) fn wake_now(&self) {
        (self.wake)();
    }

    fn wake_sometimes(&self) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let woken_ms = self.woken_ms.load(Relaxed);
        let due = now_ms.saturating_sub(woken_ms) >= WAKE_INTERVAL.as_millis() as u64;
        if due && self.woken_ms.compare_exchange(woken_ms, now_ms, Relaxed, Relaxed).is_ok() {
            self.wake_now();
        }
    }
}

impl Progress for JobCtx {
    fn step(&self, done: u64, total: Option<u64>) -> Result<(), Cancelled> {
        self.check()?;
        let total = total.unwrap_or(TOTAL_UNKNOWN);
        let moved = self.done.swap(done, Relaxed) != done;
        if self.total.swap(total, Relaxed) != total || moved {
            self.wake_sometimes();
        }
        Ok(())
    }

    fn stage(&self, name: &'static str) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = name;
        self.done.store(0, Relaxed);
        self.total.store(TOTAL_UNKNOWN, Relaxed);
        self.wake_sometimes();
    }
}

impl fmt::Debug for JobCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobCtx").field("view", &self.view()).finish_non_exhaustive()
    }
}
