//! One restore, from the plan to the end.

use std::fs::{File, OpenOptions as OpenFile};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;

use super::backend::Backend;
use super::bundle::Bundle;
use super::disk::{self, DiskError};
use super::journal::{self, JournalError};
use super::plan::{NetworkMode, Plan, Review};
use super::refrozen::{self, RefrozenError};
use super::run::{self, Event, MachineError, Order, Run, Watcher, Why};
use super::watched::{Trace, Watching};
use super::{container, microvm, pcap};
use crate::base::Progress;
use crate::checkpoint::Checkpoint;
use crate::evidence::{BaseImage, OpenOptions};

/// What is restored, and how.
#[derive(Debug)]
pub struct Thaw<'a> {
    /// The checkpoint.
    pub checkpoint: &'a Checkpoint,
    /// The image that it started from.
    pub base: Option<&'a BaseImage>,
    /// What it runs in.
    pub backend: Backend,
    /// The machine's kernel and system.
    pub bundle: &'a Bundle,
    /// What will be done.
    pub plan: &'a Plan,
    /// What was looked through, with what the analyst allowed.
    pub review: &'a Review,
    /// How long the processes may go on.
    pub time: Duration,
    /// Where a new checkpoint is written when that time is over.
    pub checkpoint_to: Option<&'a Path>,
    /// Where packets of the sealed network are written; the file must not be there.
    pub packets_to: Option<&'a Path>,
    /// Whose system calls are told.
    pub trace: &'a Trace,
    /// Restored, the processes stand still until they are told to go on.
    pub is_stopped: bool,
    /// For the cache directory.
    pub options: &'a OpenOptions,
}

/// Why a restore did not come to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ThawError {
    /// Dangers that are not allowed.
    #[error(
        "{archive}: attacks whoever restores it ({dangers}); sandbox plan explains each, --allow ID restores all the same"
    )]
    Refused {
        /// The evidence.
        archive: String,
        /// Ids of dangers.
        dangers: String,
    },
    /// The backend is not able to.
    #[error("a container cannot {what}: {why}; the microVM can (--backend microvm)")]
    NotThere {
        /// What was asked for.
        what: &'static str,
        /// Why it cannot.
        why: &'static str,
    },
    /// The disk cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The run cannot be noted.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The machine cannot be had, or misbehaves.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The run went on, and no new checkpoint was taken.
    #[error("{}: no new checkpoint was taken", path.display())]
    NotFrozen {
        /// Where it was wanted.
        path: PathBuf,
    },
    /// Packets cannot be written.
    #[error("cannot write packets to {}: {source}", path.display())]
    Packets {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The new checkpoint cannot be written.
    #[error(transparent)]
    Refrozen(#[from] RefrozenError),
}

/// What the log says of a run that starts.
#[derive(Serialize)]
struct Started<'a> {
    archive: &'a str,
    container_id: Option<&'a str>,
    container: Option<&'a str>,
    backend: Backend,
    base: Option<&'a Path>,
    allowed: Vec<&'a str>,
    seconds: u64,
    memory_mib: u32,
    cpus: u32,
    network: NetworkMode,
    trace: &'a Trace,
    checkpoint_to: Option<&'a Path>,
    packets_to: Option<&'a Path>,
}

/// What it says of one that is over.
#[derive(Serialize)]
struct Ended {
    outcome: Option<Why>,
    error: Option<String>,
}

/// Carries a plan out, and notes it. Call it on a thread that lives that long: the machine ends with it.
///
/// # Errors
/// See [`ThawError`]; nothing has run when it is `Refused`, `Disk` or `Journal`.
pub fn thaw(thaw: &Thaw<'_>, watcher: &mut dyn Watcher, progress: &dyn Progress) -> Result<Why, ThawError> {
    let Thaw { checkpoint, base, backend, bundle, plan, review, time, checkpoint_to, packets_to, .. } = *thaw;
    let Thaw { trace, is_stopped, options, .. } = *thaw;
    if let Some((what, why)) = backend.lacks(*trace != Trace::Addresses, checkpoint_to.is_some()) {
        return Err(ThawError::NotThere { what, why });
    }
    if backend == Backend::Container {
        container::check()?;
    }
    let isolation = backend.isolation();
    if review.dangers.is_refused(isolation) {
        let ids = review.dangers.refusing(isolation).take(8).map(|danger| danger.id.as_str());
        let dangers = ids.collect::<Vec<_>>().join(", ");
        return Err(ThawError::Refused { archive: plan.archive.clone(), dangers });
    }
    let packets = packets_to.map(Packets::create).transpose()?;
    progress.stage("writing the disk");
    let disk = disk::write(plan, checkpoint, base, backend, options, progress)?;
    for issue in &disk.issues {
        let _ = watcher.event(Event::Error { at_ms: 0, what: issue.to_string() });
    }
    let scratch = checkpoint_to.map(|_| run::scratch(plan, options)).transpose()?;
    let allowed = review.dangers.list.iter().filter(|danger| danger.allowed).map(|danger| danger.id.as_str());
    let noted = journal::start(&Started {
        archive: &plan.archive,
        container_id: checkpoint.container.id.as_deref(),
        container: checkpoint.container.name.as_deref(),
        backend,
        base: plan.rootfs.base.as_deref(),
        allowed: allowed.collect(),
        seconds: time.as_secs(),
        memory_mib: plan.machine.memory_mib,
        cpus: plan.machine.cpus,
        network: plan.machine.network,
        trace,
        checkpoint_to,
        packets_to,
    })?;
    progress.stage("running");
    let freeze_at_end = checkpoint_to.is_some();
    let watching = Watching { trace: trace.clone(), is_stopped, packets: packets_to.is_some() };
    let scratch_file = scratch.as_ref();
    let run = Run { plan, bundle, disk: &disk, scratch: scratch_file, time, freeze_at_end, watching: &watching };
    let mut listening = Listening { watcher, frozen: None, packets };
    let result = match backend {
        Backend::Microvm => microvm::run(&run, &mut listening, progress),
        Backend::Container => container::run(&run, checkpoint, &mut listening, progress),
    };
    let Listening { frozen, packets, .. } = listening;
    let outcome = result.as_ref().ok().copied();
    noted.end(&Ended { outcome, error: result.as_ref().err().map(ToString::to_string) })?;
    let why = result?;
    packets.map_or(Ok(()), Packets::end)?;
    if let (Some(path), Some(scratch), false) = (checkpoint_to, &scratch, why == Why::NotRestored) {
        let size = frozen.ok_or_else(|| ThawError::NotFrozen { path: path.to_owned() })?;
        refrozen::write(checkpoint, scratch, size, path, options, progress)?;
    }
    Ok(why)
}

/// Hands events on, remembers the size of the new checkpoint, and writes packets.
struct Listening<'a> {
    watcher: &'a mut dyn Watcher,
    frozen: Option<u64>,
    packets: Option<Packets>,
}

impl Watcher for Listening<'_> {
    fn event(&mut self, mut event: Event) -> std::ops::ControlFlow<()> {
        if let Event::Frozen { size_bytes, .. } = event {
            self.frozen = Some(size_bytes);
        }
        if let (Event::Packets { records, count, lost, .. }, Some(packets)) = (&mut event, &mut self.packets)
            && !packets.write(records)
        {
            *lost = lost.saturating_add(std::mem::take(count));
        }
        self.watcher.event(event)
    }

    fn order(&mut self) -> Option<Order> {
        self.watcher.order()
    }
}

/// The file of packets. An error is kept until the end: what the processes do goes on.
struct Packets {
    path: PathBuf,
    file: File,
    written: u64,
    failed: Option<io::Error>,
}

impl Packets {
    fn create(path: &Path) -> Result<Packets, ThawError> {
        let cannot = |source| ThawError::Packets { path: path.to_owned(), source };
        let mut file = OpenFile::new().write(true).create_new(true).open(path).map_err(cannot)?;
        pcap::header(&mut file).map_err(cannot)?;
        Ok(Packets { path: path.to_owned(), file, written: 0, failed: None })
    }

    /// Whether they are written: at most [`pcap::MAX_BYTES`] are in all.
    fn write(&mut self, records: &[u8]) -> bool {
        self.written = self.written.saturating_add(records.len() as u64);
        if self.failed.is_some() || self.written > pcap::MAX_BYTES {
            return false;
        }
        self.failed = self.file.write_all(records).err();
        self.failed.is_none()
    }

    fn end(self) -> Result<(), ThawError> {
        self.failed.map_or(Ok(()), |source| Err(ThawError::Packets { path: self.path, source }))
    }
}
