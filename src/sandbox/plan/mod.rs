//! What a restore will do, as data: made from a checkpoint before anything runs, shown to the analyst, and carried out
//! as it stands.
//!
//! Two halves: what the host prepares ([`RootfsPlan`], [`MachinePlan`]) and what the guest is told ([`RestorePlan`],
//! which goes over the channel). Paths are those of the container, absolute; sizes are in bytes unless named otherwise.

mod files;
mod lint;
mod make;
mod outlook;
mod programs;
mod review;
mod sink;

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::escape_controls;
use crate::report::text::bytes;

pub use files::{FileProblem, NeededFiles, Problem, needed_files};
pub use lint::{Danger, Dangers, Isolation, Rule, lint};
pub use make::{Config, make};
pub use outlook::{Concern, Processor, Weight, concerns};
pub use programs::Program;
pub use review::{Review, review};
pub use sink::{Link, SinkPlan};

/// Names the shape of the JSON.
pub const SCHEMA: &str = "cryoscope.plan/1";

/// Everything that a run needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// The evidence, as the analyst named it.
    pub archive: String,
    /// Directory of the image files inside the evidence.
    pub images_dir: String,
    /// What the processes' root file system is made of.
    pub rootfs: RootfsPlan,
    /// What the guest does.
    pub restore: RestorePlan,
    /// What the machine has.
    pub machine: MachinePlan,
}

/// The root file system: layers from below to above, then what the container changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsPlan {
    /// Image that the container started from; `None` when there is none, and then mapped files will be missing.
    pub base: Option<PathBuf>,
    /// Entries of the rootfs diff that are laid over it.
    pub nr_changed: usize,
    /// Paths that are taken away.
    pub deleted: Vec<String>,
    /// Files and directories that restoring needs and that nothing above has (mount points).
    pub made: Vec<Made>,
    /// Files that are not in the checkpoint and that criu must find; where nothing above has them they are made of zeros.
    pub placeholders: Vec<Placeholder>,
    /// Permission bits of `/`, where the checkpoint tells them; CRIU compares.
    pub root_mode: Option<u32>,
}

/// A file whose name was deleted while it was open and had other names: criu gave it a name (`link_remap.N`) for the time
/// of the dump only, and its content is not in the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placeholder {
    /// The name that criu gave it.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its size.
    pub size_bytes: u64,
}

/// A mount point that is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// In the container.
    pub path: String,
    /// A directory, or an empty file.
    pub is_dir: bool,
}

/// What goes to the guest: how criu is called, and what is laid ready for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePlan {
    /// Mounts that the runtime handed in, and what stands in for each.
    pub ext_mounts: Vec<ExtMount>,
    /// Descriptors that led out of the container.
    pub inherit_fds: Vec<InheritFd>,
    /// Established TCP connections.
    pub tcp: Tcp,
    /// `--manage-cgroups`: the cgroups of the dump's host are not those of the machine.
    pub cgroups: Cgroups,
    /// Files that are put into a directory before the restore.
    pub fills: Vec<Fill>,
    /// Programs that are no files, and become such.
    #[serde(default)]
    pub programs: Vec<Program>,
    /// The network that the processes had.
    pub netns: Netns,
    /// Interfaces that are made in an external or empty network namespace, without a way out of the machine.
    pub interfaces: Vec<Interface>,
    /// The sealed network, where one is wanted.
    #[serde(default)]
    pub sink: Option<SinkPlan>,
    /// Whether processes hold file locks (`--file-locks`).
    pub file_locks: bool,
    /// Whether the root task is in a session or group of the shell that started it (`--shell-job`).
    pub shell_job: bool,
    /// More arguments of criu, as they stand; for what nothing above covers.
    pub more_args: Vec<String>,
}

/// `--ext-mount-map KEY:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtMount {
    /// The dump's name for it.
    pub key: String,
    /// Where it was mounted.
    pub mountpoint: String,
    /// What the guest binds there.
    pub stand_in: StandIn,
}

/// What stands in for something of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum StandIn {
    /// An empty directory, on a tmpfs of the machine.
    EmptyDir,
    /// An empty file, on a tmpfs of the machine.
    EmptyFile,
    /// A file with this content.
    File {
        /// The content.
        text: String,
    },
    /// `/dev/null`, which is what masks files of /proc.
    DevNull,
    /// What the root file system has at this path.
    Rootfs {
        /// The path.
        path: String,
    },
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StandIn::EmptyDir => f.write_str("an empty directory"),
            StandIn::EmptyFile => f.write_str("an empty file"),
            StandIn::File { text } => write!(f, "a file of {}", bytes(text.len() as u64)),
            StandIn::DevNull => f.write_str("/dev/null"),
            StandIn::Rootfs { path } => write!(f, "{} of the root file system", escape_controls(path)),
        }
    }
}

/// `--inherit-fd fd[N]:KEY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InheritFd {
    /// The dump's name for it: `pipe:[123]`, `socket:[9]`, a path without its first slash.
    pub key: String,
    /// What it leads to now.
    pub stream: Stream,
}

/// Where a descriptor that led to the engine leads in the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Nothing is ever there to read.
    Stdin,
    /// Lines of it become events.
    Stdout,
    /// As `Stdout`.
    Stderr,
}

/// Established TCP connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tcp {
    /// There are none.
    #[default]
    None,
    /// Both ends are in the checkpoint: they are restored (`--tcp-established`).
    Established,
    /// The peers are not there: the sockets come back closed (`--tcp-close`).
    Close,
}

/// Network namespace of the processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Netns {
    /// The machine's own: the processes had that of their host.
    #[default]
    Machine,
    /// In the images: criu makes it again, with its interfaces.
    InImages,
    /// The engine keeps its content out of the images and makes it anew (`--empty-ns net`), as runc does.
    Empty,
    /// The engine made it and handed it in (`--inherit-fd fd[N]:KEY`); the guest makes an empty one.
    External {
        /// The dump's name for it.
        key: String,
    },
}

/// A network interface that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Addresses with their prefix length, as `10.88.0.2/16`.
    pub addresses: Vec<String>,
}

/// `--manage-cgroups`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cgroups {
    /// All processes stay in the one cgroup that the guest made.
    #[default]
    Ignore,
    /// Those that are missing are made again.
    Soft,
}

/// An archive of the evidence that is unpacked into a stand-in (Podman's `devshm-checkpoint.tar`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// Member of the evidence.
    pub member: String,
    /// Mount point whose stand-in is filled.
    pub mountpoint: String,
}

/// What the machine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachinePlan {
    /// Memory in MiB, all in all.
    pub memory_mib: u32,
    /// Virtual processors.
    pub cpus: u32,
    /// What can be reached from inside.
    pub network: NetworkMode,
    /// Most seconds that it may run, booting included.
    pub max_seconds: u32,
}

/// What can be reached from inside. Nothing of it is ever outside of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Nothing but the loopback device.
    #[default]
    None,
    /// A sink inside the machine that answers and records.
    Sink,
}
