//! What goes wrong with the machine, and what to do then.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::base::Cancelled;
use crate::sandbox::bundle::BundleError;
use crate::sandbox::disk::DiskError;
use crate::sandbox::protocol::ChannelError;

/// Why a run ended before its time.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MachineError {
    /// There is no QEMU.
    #[error("{program} is not installed; it comes with the package {package}")]
    NoQemu {
        /// Its name.
        program: &'static str,
        /// Of Debian; other systems name it alike.
        package: &'static str,
    },
    /// The guest's program is not beside this one.
    #[error(
        "cryoscope-guest is missing: it belongs beside the program, as {}; `cargo build` makes both",
        expected.display()
    )]
    NoGuest {
        /// Where it was looked for first.
        expected: PathBuf,
    },
    /// The guest's program cannot be brought into the machine.
    #[error("cryoscope-guest cannot be brought into the machine: {what}")]
    BadGuest {
        /// What is wrong.
        what: String,
    },
    /// Something of this machine refused.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// What holds the guest does not start.
    #[error("cannot start {name}: {source}")]
    NoStart {
        /// Which.
        name: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// What holds the guest ended.
    #[error("{name} ended ({status}): {said}")]
    Ended {
        /// Which.
        name: &'static str,
        /// Its exit status.
        status: String,
        /// Last lines that it said.
        said: String,
    },
    /// An isolation of the container cannot be had on this machine.
    #[error("a container cannot be had on this machine: {what}; restore it in the microVM (--backend microvm)")]
    NoContainer {
        /// What is missing, and why.
        what: String,
    },
    /// The machine does not come up.
    #[error("the machine did not come up within {} s; its last words: {said}", patience.as_secs())]
    NotUp {
        /// How long was waited.
        patience: Duration,
        /// Last lines of its console.
        said: String,
    },
    /// Another build runs in the machine.
    #[error(
        "cryoscope-guest speaks version {found} of the protocol, and this program {wanted}: both must be of one build"
    )]
    Version {
        /// The guest's.
        found: u32,
        /// Ours.
        wanted: u32,
    },
    /// The guest floods the channel.
    #[error("the machine was stopped: it sent more than {max} messages a second")]
    Flood {
        /// The bound.
        max: u32,
    },
    /// The guest's words make no sense.
    #[error("the machine was stopped: it sent {0}")]
    Channel(#[from] ChannelError),
    /// criu does not come to an end.
    #[error("criu did not end within {} s", patience.as_secs())]
    RestoreTooLong {
        /// How long was waited.
        patience: Duration,
    },
    /// The bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Stopped.
    #[error("{0}")]
    Cancelled(#[from] Cancelled),
}

impl MachineError {
    pub(in crate::sandbox) fn io(what: &'static str) -> impl FnOnce(io::Error) -> MachineError {
        move |source| MachineError::Io { what, source }
    }
}
