//! The container: namespaces of this machine's kernel, for machines where a virtual one is too slow or cannot be had. It
//! needs root, which it gives up for what runs inside.
//!
//! - `layers` is what isolates, and what of it this machine has; `concerns` is what cannot be restored in it; `cgroups`
//!   finds the limits; `confinement` is what the keeper is told. The keeper is the guest's program
//!   ([`super::guest`]'s `contain`), how a run goes is [`super::run`]'s.
//!
//! # What holds the guest
//! Fresh user, pid, network, mount, ipc, uts and cgroup namespaces; inside, root is an id of this machine that nobody
//! has. A root file system of its own, in memory and read-only, with the disk mounted read-only and a layer of memory
//! over it; nothing of this machine but six harmless devices. A cgroup with limits. No more user namespaces, a filter of
//! system calls, a Landlock domain, capabilities of criu and of the checkpoint only, and no rights by set-user-id.
//!
//! # What it shares
//! The kernel: a hole in it is a hole in all of this. That is why the virtual machine is what runs unless told otherwise.
//!
//! # What Landlock cannot do here
//! Its rules for files: a domain that handles a single right of file systems may not mount, and criu mounts.

mod cgroups;
mod concerns;
mod confinement;
mod layers;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use super::guest::contain;
use super::run::{self, Ending, Event, MachineError, Process, Run, Session, Watcher, Why};
use crate::base::Progress;
use crate::checkpoint::Checkpoint;

pub use cgroups::Limit;
pub use concerns::concerns;
pub use confinement::{Confinement, FIRST_ID, NR_IDS};
pub use layers::{Facts, Layer, dangers, essential, layers};

pub(super) use confinement::{CHANNEL, DISK, INITRD};

/// How long it may take until the agent speaks.
const PATIENCE: Duration = Duration::from_secs(20);

/// Refuses where this machine cannot hold a container.
///
/// # Errors
/// What is missing.
pub fn check() -> Result<(), MachineError> {
    essential(&layers(&Facts::probe()))
}

/// Runs a plan to its end. Call it on a thread that lives that long.
///
/// # Errors
/// An isolation cannot be had, or the container misbehaves. That criu cannot restore is an event.
pub fn run(
    run: &Run<'_>,
    checkpoint: &Checkpoint,
    watcher: &mut dyn Watcher,
    progress: &dyn Progress,
) -> Result<Why, MachineError> {
    let facts = Facts::probe();
    essential(&layers(&facts))?;
    let mut session = Session::new(run, watcher, progress);
    session.tell(Event::Entering { at_ms: 0 });
    let confinement = Confinement {
        memory_bytes: u64::from(run.plan.machine.memory_mib) << 20,
        max_pids: concerns::max_pids(checkpoint),
        cpus: run.plan.machine.cpus,
        limits: facts.limits,
        recorded_capabilities: concerns::capabilities(checkpoint),
        seccomp: facts.has_seccomp,
        landlock: facts.has_landlock,
    };
    let mut process = start(run, &confinement)?;
    let kernel = session.hello(&mut process, PATIENCE, |_| false)?;
    session.go(run, process, kernel)
}

/// Starts the keeper. It ends, with everything, when we do.
fn start(run: &Run<'_>, confinement: &Confinement) -> Result<Process, MachineError> {
    let (channel, theirs) = UnixStream::pair().map_err(MachineError::io("make a channel"))?;
    let initrd = run::initrd(run.bundle)?;
    let disk = run.disk.file.try_clone().map_err(MachineError::io("hand over a file"))?;
    // In the order of `INITRD`, `DISK` and `CHANNEL`.
    let files: Vec<OwnedFd> = vec![initrd.into(), disk.into(), theirs.into()];
    let told = serde_json::to_string(confinement).unwrap_or_default();
    let guest = run::guest_program()?;
    #[expect(clippy::disallowed_methods, reason = "the container's keeper is started here only")]
    let mut command = match run::loader()? {
        Some(loader) => {
            let mut command = Command::new(loader);
            command.arg(guest);
            command
        }
        None => Command::new(guest),
    };
    command.args([contain::KEEP, &told]);
    Process::start("the container's keeper", command, channel, files, None, Ending::EndOfInput)
}
