//! The jobs as the analyst sees them: a copy of what the driver runs.

use std::time::{Duration, Instant};

use super::Arrival;
use crate::jobs::ProgressView;

/// Names one job; never used twice in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Well.
    Done,
    /// It was told to stop.
    Cancelled,
    /// It could not; why, with causes.
    Failed(String),
}

/// One job, running or ended.
#[derive(Clone, Debug)]
pub struct JobRow {
    /// Its name in commands.
    pub id: JobId,
    /// What it is for ("Open counter.tar").
    pub title: String,
    /// How far it is.
    pub progress: ProgressView,
    /// When it started.
    pub started: Instant,
    /// How it ended and how long it took; `None` while it runs.
    pub end: Option<(JobEnd, Duration)>,
    /// For a job that opens an archive: what has come out of it.
    pub arrival: Option<Arrival>,
    /// Whether it was asked to stop.
    pub is_stopping: bool,
}

impl JobRow {
    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.end.is_none()
    }
}
