//! The virtual machine: started, told what to restore, watched, killed.
//!
//! - `event` is what is told of a run and what may be ordered; `qemu` is the command line, `process` one running QEMU, `initrd` what goes in beside the bundle.
//! - [`run`] is the whole of a run, as a loop over events; it returns when the time is over, when the processes have
//!   ended, or when it is told to stop. Whatever happens, the machine is gone when it has returned.
//!
//! # What holds the guest
//! It has memory, processors and time as planned; a read-only disk; no network card; one channel, whose every message is
//! bounded and counted. QEMU has seccomp, limits, no monitor, and ends with the thread that started it. Files of a run
//! have no names.
//!
//! # Acceleration
//! KVM where it works, else TCG. That `/dev/kvm` opens is no proof (a nested one may die in the kernel's decompressor), so
//! a machine that does not come up by KVM is started again with TCG, and that is remembered until the next boot.

mod error;
mod event;
mod initrd;
mod kernel;
mod process;
mod qemu;

use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
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
pub use qemu::{Acceleration, find as find_qemu, may_have_kvm};

use process::{Files, Process};

/// How long a machine may take until its agent speaks.
const PATIENCE_KVM: Duration = Duration::from_secs(20);
const PATIENCE_TCG: Duration = Duration::from_secs(120);
/// How long criu may take, each way.
const PATIENCE_RESTORE: Duration = Duration::from_secs(600);
/// How long the guest's last words may take.
const PATIENCE_FINISH: Duration = Duration::from_secs(5);
/// How often the caller is asked whether to stop.
const STEP: Duration = Duration::from_millis(100);
/// Words of QEMU when the processor refuses.
const KVM_FAILED: &str = "KVM internal error";
/// Beside the bundle: the boot in which KVM did not work.
const NO_KVM: &str = "no-kvm";

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

/// Runs a plan to its end. Call it on a thread that lives that long: QEMU ends with it.
///
/// # Errors
/// The machine cannot be had, or misbehaves. That criu cannot restore is an event.
pub fn run(run: &Run<'_>, watcher: &mut dyn Watcher, progress: &dyn Progress) -> Result<Why, MachineError> {
    let program = qemu::find()?;
    let (kernel, initrd) = (initrd::kernel(run.bundle)?, initrd::initrd(run.bundle)?);
    let files = Files { kernel: &kernel, initrd: &initrd, disk: &run.disk.file, scratch: run.scratch };
    let mut session = Session {
        watcher,
        progress,
        started: Instant::now(),
        is_told: false,
        is_traced: run.watching.trace != Trace::Addresses,
    };
    let (mut process, release) = boot(run, &program, &files, &mut session)?;
    drop((kernel, initrd));
    let why = session.go(run, &mut process, release)?;
    drop(process);
    let at_ms = session.at_ms();
    session.tell(Event::Stopped { at_ms, why });
    Ok(why)
}

/// Starts the machine, by KVM if that works.
fn boot(
    run: &Run<'_>,
    program: &Path,
    files: &Files<'_>,
    session: &mut Session<'_>,
) -> Result<(Process, String), MachineError> {
    let mut note = None;
    if qemu::may_have_kvm() && !is_kvm_known_broken(run.bundle) {
        session.started = Instant::now();
        session.tell(Event::Booting { at_ms: 0, acceleration: Acceleration::Kvm, note: None });
        let mut process = Process::start(program, &run.plan.machine, Acceleration::Kvm, files)?;
        match session.hello(&mut process, PATIENCE_KVM, true) {
            Ok(kernel) => return Ok((process, kernel)),
            Err(error @ (MachineError::NotUp { .. } | MachineError::QemuEnded { .. })) => {
                remember_broken_kvm(run.bundle);
                let said = process.errors();
                let said = said.lines().next().map_or_else(|| error.to_string(), str::to_owned);
                note = Some(format!("KVM does not work here: {said}"));
            }
            Err(error) => return Err(error),
        }
    }
    session.started = Instant::now();
    session.tell(Event::Booting { at_ms: 0, acceleration: Acceleration::Tcg, note });
    let mut process = Process::start(program, &run.plan.machine, Acceleration::Tcg, files)?;
    let kernel = session.hello(&mut process, PATIENCE_TCG, false)?;
    Ok((process, kernel))
}

/// One run, as far as it is told.
struct Session<'a> {
    watcher: &'a mut dyn Watcher,
    progress: &'a dyn Progress,
    started: Instant,
    is_told: bool,
    /// All system calls are wanted, not only the attempts that some are.
    is_traced: bool,
}

impl Session<'_> {
    fn at_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn tell(&mut self, event: Event) {
        if self.watcher.event(event).is_break() {
            self.is_told = true;
        }
    }

    /// Waits for the agent's first word; returns the kernel's release.
    fn hello(&mut self, process: &mut Process, patience: Duration, by_kvm: bool) -> Result<String, MachineError> {
        let deadline = Instant::now() + patience;
        loop {
            self.progress.step(0, None)?;
            let is_over = deadline <= Instant::now() || (by_kvm && process.errors().contains(KVM_FAILED));
            if is_over {
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

    /// From the first word to the end.
    fn go(&mut self, run: &Run<'_>, process: &mut Process, kernel: String) -> Result<Why, MachineError> {
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

/// Identifies this boot of the analyst's machine.
fn boot_id() -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "which boot this is")]
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

fn note_path(bundle: &Bundle) -> PathBuf {
    bundle.dir.join(NO_KVM)
}

fn is_kvm_known_broken(bundle: &Bundle) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the note beside the bundle")]
    let noted = fs::read_to_string(note_path(bundle)).ok();
    noted.is_some() && noted == boot_id()
}

fn remember_broken_kvm(bundle: &Bundle) {
    #[expect(clippy::disallowed_methods, reason = "the note beside the bundle; without it the next run tries again")]
    let _ = fs::write(note_path(bundle), boot_id().unwrap_or_default());
}
