//! The virtual machine: QEMU with the bundle's kernel.
//!
//! `qemu` is the command line, `kernel` what it boots; how a run goes is [`super::run`]'s.
//!
//! # What holds the guest
//! It has memory, processors and time as planned; a read-only disk; no network card; one channel, whose every message is
//! bounded and counted. QEMU has seccomp, limits, no monitor, and ends with the thread that started it. Files of a run
//! have no names.
//!
//! # Acceleration
//! KVM where it works, else TCG. That `/dev/kvm` opens is no proof (a nested one may die in the kernel's decompressor), so
//! a machine that does not come up by KVM is started again with TCG, and that is remembered until the next boot.

mod kernel;
mod qemu;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::bundle::Bundle;
use super::run::{self, Event, MachineError, Process, Run, Session, Watcher, Why};
use crate::base::Progress;

pub use qemu::{Acceleration, find as find_qemu, may_have_kvm};

use qemu::Files;

/// How long a machine may take until its agent speaks.
const PATIENCE_KVM: Duration = Duration::from_secs(20);
const PATIENCE_TCG: Duration = Duration::from_secs(120);
/// Words of QEMU when the processor refuses.
const KVM_FAILED: &str = "KVM internal error";
/// Beside the bundle: the boot in which KVM did not work.
const NO_KVM: &str = "no-kvm";

/// Runs a plan to its end. Call it on a thread that lives that long: QEMU ends with it.
///
/// # Errors
/// The machine cannot be had, or misbehaves. That criu cannot restore is an event.
pub fn run(run: &Run<'_>, watcher: &mut dyn Watcher, progress: &dyn Progress) -> Result<Why, MachineError> {
    let program = qemu::find()?;
    let (kernel, initrd) = (kernel(run.bundle)?, run::initrd(run.bundle)?);
    let files = Files { kernel: &kernel, initrd: &initrd, disk: &run.disk.file, scratch: run.scratch };
    let mut session = Session::new(run, watcher, progress);
    let (process, release) = boot(run, &program, &files, &mut session)?;
    drop((kernel, initrd));
    session.go(run, process, release)
}

/// The kernel of a run, in a file that is in memory only.
fn kernel(bundle: &Bundle) -> Result<File, MachineError> {
    let image = run::read(&bundle.kernel)?;
    run::in_memory(&[&kernel::unpacked(&image).unwrap_or(image)])
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
        let mut process = qemu::start(program, &run.plan.machine, Acceleration::Kvm, files)?;
        match session.hello(&mut process, PATIENCE_KVM, |process| process.errors().contains(KVM_FAILED)) {
            Ok(kernel) => return Ok((process, kernel)),
            Err(error @ (MachineError::NotUp { .. } | MachineError::Ended { .. })) => {
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
    let mut process = qemu::start(program, &run.plan.machine, Acceleration::Tcg, files)?;
    let kernel = session.hello(&mut process, PATIENCE_TCG, |_| false)?;
    Ok((process, kernel))
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
