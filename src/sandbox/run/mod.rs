//! One run of a guest, whatever it runs in: told what to restore, watched, ended.
//!
//! - `event` is what is told of a run and what may be ordered; `process` is the process that holds the guest, with its one
//!   channel; `initrd` is the guest's first file system.
//! - [`Run`] is a run as a loop over events; [`super::microvm`] and [`super::container`] start what it runs in. It returns
//!   when the time is over, when the processes have ended, or when it is told to stop. Whatever happens, the guest is gone
//!   when it has returned.

mod error;
mod event;
mod initrd;
mod process;

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::bundle::Bundle;
use super::disk::Disk;
use super::plan::Plan;
use super::protocol::{FromGuest, FromHost, VERSION};
use super::watched::{Trace, Watching};
use crate::base::Progress;
use crate::evidence::OpenOptions;

pub use error::MachineError;
pub use event::{Event, Order, Why};
pub use initrd::{GUEST_VARIABLE, guest_program};

pub(super) use initrd::{in_memory, initrd, loader, read};
pub(super) use process::{Ending, FIRST_FD, Process};

/// How long criu may take, each way.
const PATIENCE_RESTORE: Duration = Duration::from_secs(600);
/// How long the guest's last words may take.
const PATIENCE_FINISH: Duration = Duration::from_secs(5);
/// How often the caller is asked whether to stop.
const STEP: Duration = Duration::from_millis(100);

/// What a run is made of.
#[derive(Debug)]
pub struct Run<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// The bundle.
    pub bundle: &'a Bundle,
    /// The disk of the plan.
    pub disk: &'a Disk,
    /// A file that the guest may write its new checkpoint into.
    pub scratch: Option<&'a File>,
    /// How long the processes may go on.
    pub time: Duration,
    /// Whether a new checkpoint is taken when that time is over; wants `scratch`.
    pub freeze_at_end: bool,
    /// What is watched, and whether the processes stand still at first.
    pub watching: &'a Watching,
}

/// A file without a name for [`Run::scratch`], as large as a new checkpoint may become; what is not written takes no place.
///
/// # Errors
/// It cannot be made.
pub fn scratch(plan: &Plan, options: &OpenOptions) -> Result<File, MachineError> {
    let cache = options.cache_dir().map_err(super::disk::DiskError::from)?;
    fs::create_dir_all(&cache).map_err(MachineError::io("make the cache directory"))?;
    let file = tempfile::tempfile_in(&cache).map_err(MachineError::io("make a file in the cache directory"))?;
    let size = (u64::from(plan.machine.memory_mib) << 20).saturating_add(1 << 30);
    file.set_len(size).map_err(MachineError::io("make the second disk"))?;
    Ok(file)
}

/// Who watches a run.
pub trait Watcher {
    /// Gets each event; `Break` ends the run.
    fn event(&mut self, event: Event) -> ControlFlow<()>;

    /// The next order, if there is one. Asked often, must not wait.
    fn order(&mut self) -> Option<Order> {
        None
    }
}

/// One run, as far as it is told.
pub(super) struct Session<'a> {
    watcher: &'a mut dyn Watcher,
    progress: &'a dyn Progress,
    pub(super) started: Instant,
    is_told: bool,
    /// All system calls are wanted, not only the attempts that some are.
    is_traced: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(run: &Run<'_>, watcher: &'a mut dyn Watcher, progress: &'a dyn Progress) -> Session<'a> {
        let is_traced = run.watching.trace != Trace::Addresses;
        Session { watcher, progress, started: Instant::now(), is_told: false, is_traced }
    }

    fn at_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn tell(&mut self, event: Event) {
        if self.watcher.event(event).is_break() {
            self.is_told = true;
        }
    }

    /// Waits for the agent's first word; returns the kernel's release. `is_hopeless` ends the waiting early.
    pub(super) fn hello(
        &mut self,
        process: &mut Process,
        patience: Duration,
        is_hopeless: impl Fn(&Process) -> bool,
    ) -> Result<String, MachineError> {
        let deadline = Instant::now() + patience;
        loop {
            self.progress.step(0, None)?;
            if deadline <= Instant::now() || is_hopeless(process) {
                return Err(MachineError::NotUp { patience, said: process.console() });
            }
            match process.next(deadline.min(Instant::now() + STEP))? {
                None => {}
                Some(FromGuest::Hello { version: VERSION, kernel, .. }) => return Ok(kernel),
                Some(FromGuest::Hello { version, .. }) => {
                    return Err(MachineError::Version { found: version, wanted: VERSION });
                }
                Some(_) => return Err(MachineError::NotUp { patience, said: "it spoke before its hello".into() }),
            }
        }
    }

    /// From the first word to the end of what runs.
    pub(super) fn go(&mut self, run: &Run<'_>, mut process: Process, kernel: String) -> Result<Why, MachineError> {
        let why = self.talk(run, &mut process, kernel)?;
        drop(process);
        let at_ms = self.at_ms();
        self.tell(Event::Stopped { at_ms, why });
        Ok(why)
    }

    fn talk(&mut self, run: &Run<'_>, process: &mut Process, kernel: String) -> Result<Why, MachineError> {
        let at_ms = self.at_ms();
        self.tell(Event::Booted { at_ms, kernel });
        let plan = Box::new(run.plan.restore.clone());
        process.say(&FromHost::Restore { plan, watching: run.watching.clone() })?;
        let hard_end = self.started + Duration::from_secs(u64::from(run.plan.machine.max_seconds));
        let mut clock = Clock::new(PATIENCE_RESTORE);
        let mut is_restored = false;
        let mut is_freezing = false;
        loop {
            self.progress.step(0, None)?;
            if self.is_told {
                return Ok(Why::Told);
            }
            let now = Instant::now();
            if clock.is_over() || hard_end <= now {
                if run.freeze_at_end && is_restored && !is_freezing {
                    process.say(&FromHost::Freeze { leave_running: true })?;
                    is_freezing = true;
                    clock = Clock::new(PATIENCE_RESTORE);
                    continue;
                }
                return match (is_restored, hard_end <= now) {
                    (true, _) => self.finish(process, Why::TimeOver),
                    (false, true) => Ok(Why::TimeOver),
                    (false, false) => Err(MachineError::RestoreTooLong { patience: PATIENCE_RESTORE }),
                };
            }
            while let Some(order) = self.watcher.order() {
                match order {
                    Order::Stop => return self.finish(process, Why::Told),
                    Order::End => clock = Clock::new(Duration::ZERO),
                    Order::Pause => process.say(&FromHost::Pause)?,
                    Order::Resume => process.say(&FromHost::Resume)?,
                    Order::Step { ms } => process.say(&FromHost::Step { ms })?,
                    Order::Connect { id, address, send } => process.say(&FromHost::Connect { id, address, send })?,
                    Order::Freeze { leave_running } => process.say(&FromHost::Freeze { leave_running })?,
                }
            }
            let Some(message) = process.next(now + STEP)? else { continue };
            match message {
                FromGuest::Restored { .. } => {
                    is_restored = true;
                    clock = Clock::new(run.time);
                }
                FromGuest::Paused { is_paused } if is_restored && !is_freezing => clock.hold(is_paused),
                _ => {}
            }
            let is_frozen = is_freezing && matches!(message, FromGuest::Frozen { .. } | FromGuest::Error { .. });
            match self.message(message) {
                Some(why) => return Ok(why),
                None if is_frozen => return self.finish(process, Why::TimeOver),
                None => {}
            }
        }
    }

    /// Lets the guest tell what it has not told yet. One that does not answer is killed like any other.
    fn finish(&mut self, process: &mut Process, why: Why) -> Result<Why, MachineError> {
        process.say(&FromHost::Finish)?;
        let deadline = Instant::now() + PATIENCE_FINISH;
        while Instant::now() < deadline && !self.is_told {
            match process.next(deadline.min(Instant::now() + STEP))? {
                Some(FromGuest::Finished) => break,
                Some(message) => drop(self.message(message)),
                None => {}
            }
        }
        Ok(why)
    }

    /// Tells a message as events; why the run ends, if it does.
    fn message(&mut self, message: FromGuest) -> Option<Why> {
        let (events, why) = event::of(message, self.at_ms());
        let is_wanted = |event: &Event| self.is_traced || !matches!(event, Event::Call { .. });
        let wanted: Vec<Event> = events.into_iter().filter(is_wanted).collect();
        wanted.into_iter().for_each(|event| self.tell(event));
        why
    }
}

/// The time that the processes may go on, which does not pass while they stand still.
struct Clock {
    left: Duration,
    /// Since when it passes.
    since: Option<Instant>,
}

impl Clock {
    fn new(left: Duration) -> Clock {
        Clock { left, since: Some(Instant::now()) }
    }

    fn hold(&mut self, is_held: bool) {
        let passed = self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.left = self.left.saturating_sub(passed);
        self.since = (!is_held).then(Instant::now);
    }

    fn is_over(&self) -> bool {
        self.left.is_zero() || self.since.is_some_and(|since| since.elapsed() >= self.left)
    }
}
