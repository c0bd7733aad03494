//! What a run has told so far.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::report::changes::Changes;
use crate::sandbox::microvm::Acceleration;
use crate::sandbox::protocol::ProcessLine;
use crate::sandbox::run::{Event, Why};
use crate::sandbox::words;
use crate::session::JobId;

use super::Seen;

pub use crate::sandbox::words::LineKind;

/// Most lines that are kept; the oldest go first.
pub const MAX_LINES: usize = 20_000;

/// One run of the machine.
#[derive(Clone, Debug)]
pub struct SandboxRun {
    pub(in crate::session) job: JobId,
    started: Instant,
    /// What all took, once it has ended.
    took: Option<Duration>,
    phase: Phase,
    acceleration: Option<Acceleration>,
    kernel: Option<String>,
    restored_ms: Option<u64>,
    is_paused: bool,
    lines: VecDeque<Line>,
    nr_dropped: u64,
    processes: Vec<ProcessLine>,
    nr_more_processes: u32,
    seen: Seen,
    pub(in crate::session) packets: Option<PathBuf>,
    /// Counts what changed, so that views know when to look again.
    version: u64,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The disk is written.
    Preparing,
    /// The machine comes up.
    Booting,
    /// criu makes the processes.
    Restoring,
    /// The processes go on.
    Running,
    /// The machine is gone.
    Ended(Ended),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The machine was stopped, or its time or its processes came to an end.
    Stopped(Why),
    /// criu could not restore; what that means and what to do, where it is known.
    NotRestored(Option<String>),
    /// Cancelled by the analyst.
    Cancelled,
    /// The machine could not be had, or misbehaved.
    Failed(String),
}

/// One line of what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Milliseconds since the machine was started.
    pub at_ms: u64,
    /// What it is.
    pub kind: LineKind,
    /// The line, as it came from the machine: not trusted.
    pub text: String,
}

impl SandboxRun {
    pub(in crate::session) fn new(job: JobId) -> SandboxRun {
        SandboxRun {
            job,
            started: Instant::now(),
            took: None,
            phase: Phase::Preparing,
            acceleration: None,
            kernel: None,
            restored_ms: None,
            is_paused: false,
            lines: VecDeque::new(),
            nr_dropped: 0,
            processes: Vec::new(),
            nr_more_processes: 0,
            seen: Seen::default(),
            packets: None,
            version: 0,
        }
    }

    /// How far it is.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Whether a machine runs, or is being made.
    pub fn is_running(&self) -> bool {
        !matches!(self.phase, Phase::Ended(_))
    }

    /// Time since it was asked for, or that it took.
    pub fn age(&self) -> Duration {
        self.took.unwrap_or_else(|| self.started.elapsed())
    }

    /// How instructions are carried out.
    pub fn acceleration(&self) -> Option<Acceleration> {
        self.acceleration
    }

    /// Kernel of the machine.
    pub fn kernel(&self) -> Option<&str> {
        self.kernel.as_deref()
    }

    /// Milliseconds from starting the machine until the processes went on.
    pub fn restored_ms(&self) -> Option<u64> {
        self.restored_ms
    }

    /// Whether the processes were told to stand still.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Where packets of the sink are recorded.
    pub fn packets(&self) -> Option<&Path> {
        self.packets.as_deref()
    }

    /// What happened, oldest first.
    pub fn lines(&self) -> &VecDeque<Line> {
        &self.lines
    }

    /// Lines that were dropped because there were too many.
    pub fn nr_dropped(&self) -> u64 {
        self.nr_dropped
    }

    /// The processes as they were told last.
    pub fn processes(&self) -> &[ProcessLine] {
        &self.processes
    }

    /// Processes that are not among them.
    pub fn nr_more_processes(&self) -> u32 {
        self.nr_more_processes
    }

    /// What the processes did.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// What the new checkpoint has that the first had not.
    pub(in crate::session) fn compared(&mut self, changes: Arc<Changes>) {
        self.version += 1;
        self.seen.changes = Some(changes);
    }

    /// Changes with everything that happens.
    pub fn version(&self) -> u64 {
        self.version
    }

    pub(in crate::session) fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    pub(in crate::session) fn end(&mut self, how: Ended) {
        if self.is_running() {
            self.version += 1;
            self.took = Some(self.started.elapsed());
            if let Ended::Failed(why) = &how {
                let at_ms = self.lines.back().map_or(0, |line| line.at_ms);
                self.push(at_ms, LineKind::Error, why.clone());
            }
            self.phase = Phase::Ended(how);
        }
    }

    /// Takes in what happened.
    pub(in crate::session) fn take(&mut self, event: Event) {
        self.version += 1;
        if !matches!(
            event,
            Event::Processes { .. } | Event::Call { .. } | Event::Attempt { .. } | Event::OpenFiles { .. }
        ) && !matches!(event, Event::Sockets { .. } | Event::FileChange { .. } | Event::Contact { .. })
        {
            let at_ms = event.at_ms();
            words::lines(&event).into_iter().for_each(|line| self.push(at_ms, line.kind, line.text));
        }
        match event {
            Event::Booting { acceleration, .. } => {
                self.phase = Phase::Booting;
                self.acceleration = Some(acceleration);
            }
            Event::Entering { .. } => self.phase = Phase::Booting,
            Event::Booted { kernel, .. } => {
                self.phase = Phase::Restoring;
                self.kernel = Some(kernel);
            }
            Event::Restored { at_ms, .. } => {
                self.phase = Phase::Running;
                self.restored_ms = Some(at_ms);
            }
            Event::Failed { explanation, .. } => self.end(Ended::NotRestored(explanation)),
            Event::Processes { mut list, left_out, .. } => {
                list.sort_by_key(|line| line.ns_pid);
                self.processes = list;
                self.nr_more_processes = left_out;
            }
            Event::Paused { is_paused, .. } => self.is_paused = is_paused,
            Event::Stopped { why, .. } => self.end(Ended::Stopped(why)),
            event => self.seen.take(event),
        }
    }

    fn push(&mut self, at_ms: u64, kind: LineKind, text: String) {
        if self.lines.len() >= MAX_LINES {
            self.lines.pop_front();
            self.nr_dropped += 1;
        }
        self.lines.push_back(Line { at_ms, kind, text });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::plan::Stream;

    fn output(line: &str) -> Event {
        Event::Output { at_ms: 1, stream: Stream::Stdout, line: line.into(), dropped: 0 }
    }

    #[test]
    fn a_run_goes_through_its_phases() {
        let mut run = SandboxRun::new(JobId(1));
        assert_eq!(run.phase(), &Phase::Preparing);
        run.take(Event::Booting { at_ms: 0, acceleration: Acceleration::Tcg, note: None });
        run.take(Event::Booted { at_ms: 4000, kernel: "6.12".into() });
        assert_eq!(run.phase(), &Phase::Restoring);
        run.take(Event::Restored { at_ms: 9000, took_ms: 5000, clock_us: 0 });
        run.take(output("3"));
        run.take(Event::Stopped { at_ms: 19_000, why: Why::TimeOver });
        assert_eq!(run.phase(), &Phase::Ended(Ended::Stopped(Why::TimeOver)));
        assert_eq!(run.restored_ms(), Some(9000));
        let texts: Vec<&str> = run.lines().iter().map(|line| line.text.as_str()).collect();
        let expected = [
            "booting by emulation (slower than KVM)",
            "booted: Linux 6.12",
            "restored in 5.0 s",
            "3",
            "stopped: the time is over",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_failed_restore_stays_one_when_the_machine_stops() {
        let mut run = SandboxRun::new(JobId(1));
        let explanation = Some("a file is missing".to_owned());
        run.take(Event::Failed {
            at_ms: 5,
            explanation: explanation.clone(),
            errors: vec!["Error".into()],
            log: vec![],
        });
        run.take(Event::Stopped { at_ms: 6, why: Why::NotRestored });
        run.end(Ended::Cancelled);
        assert_eq!(run.phase(), &Phase::Ended(Ended::NotRestored(explanation)));
        assert!(!run.is_running());
    }

    #[test]
    fn lines_are_bounded() {
        let mut run = SandboxRun::new(JobId(1));
        (0..MAX_LINES + 5).for_each(|nr| run.take(output(&nr.to_string())));
        assert_eq!((run.lines().len(), run.nr_dropped()), (MAX_LINES, 5));
        assert_eq!(run.lines().front().unwrap().text, "5");
    }
}
