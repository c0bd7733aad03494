//! What the container was doing when it was frozen: all records of a checkpoint, joined.
//!
//! A [`Checkpoint`] is built once by [`load`] and never changes. It owns no evidence bytes: what
//! it holds as [`bytes::Bytes`] or [`Text`](crate::base::Text) is borrowed from the mapped evidence. Every list is in
//! a stable order that does not depend on threads, and every join has an index: processes by pid,
//! files by [`FileId`], mounts by [`MntId`].
//!
//! # Recipe for a new image kind
//! Row and schema in `decode`, a field in `images::Images`, a join in the file of its subject here.

pub mod cgroups;
pub mod container;
pub mod coverage;
pub mod credentials;
mod docker;
pub mod documents;
pub mod files;
mod images;
mod load;
pub mod memory_map;
pub mod mounts;
pub mod namespaces;
pub mod network;
mod open_files;
pub mod pages;
mod parents;
pub mod process;
pub mod recovered;
pub mod registers;
pub mod rootfs;
pub mod seccomp;
pub mod signals;
pub mod sockets;
pub mod stats;

use std::collections::{BTreeMap, HashMap};

use crate::base::{Fd, FileId, Issue, MntId, Pid};
use crate::evidence::{Evidence, OciImage};

pub use crate::decode::Arch;
pub use container::{Container, Layout};
pub use coverage::Gap;
pub use documents::Document;
pub use files::{FdEntry, FileDetail, OpenFile};
pub use load::{LoadError, load, load_with_parents};
pub use memory_map::{MemoryMap, Vma};
pub use mounts::Mount;
pub use parents::SuppliedParent;
pub use process::Process;
pub use recovered::RecoveredFile;
pub use sockets::Socket;

/// One checkpoint of one container, everything joined.
#[derive(Debug)]
pub struct Checkpoint {
    /// The evidence as delivered.
    pub outer: Evidence,
    /// Where the checkpoint lies: `outer`, or an archive inside it.
    pub evidence: Evidence,
    /// Directory of the image files inside `evidence`; empty for its root.
    pub images_dir: Vec<u8>,
    /// Directory of the engine's own files inside `evidence`; empty for its root.
    pub base_dir: Vec<u8>,
    /// The OCI image that carried the checkpoint, if one did.
    pub oci: Option<OciImage>,
    /// What the engine and the inventory say of the container.
    pub container: Container,
    /// How the dump went.
    pub stats: Option<stats::DumpStats>,
    /// Where the bytes are.
    pub sizes: Sizes,
    /// Every process, a parent always before its children.
    pub processes: Vec<Process>,
    /// Every open file description, ordered by id.
    pub files: Vec<OpenFile>,
    /// Every socket, ordered as in `files`.
    pub sockets: Vec<Socket>,
    /// File locks held.
    pub locks: Vec<files::FileLock>,
    /// Every mount of every mount namespace, a parent before its children.
    pub mounts: Vec<Mount>,
    /// Namespaces that the processes live in.
    pub namespaces: Vec<namespaces::Namespace>,
    /// Network namespaces with what is known of their interfaces, routes and filters.
    pub networks: Vec<network::NetNamespace>,
    /// Cgroups of the processes.
    pub cgroups: cgroups::Cgroups,
    /// Shared-memory objects by the id that vmas and memfds name them with.
    pub shared_memory: BTreeMap<u64, pages::SharedMemory>,
    /// The checkpoints that this one was taken on top of and whose pages are here, the nearest first: their directory in
    /// the evidence, or the path of other evidence.
    pub parents: Vec<String>,
    /// Seccomp filters, indexed as in `seccomp.img`.
    pub seccomp_filters: Vec<seccomp::Filter>,
    /// What the container changed in its root file system.
    pub rootfs: rootfs::RootfsDiff,
    /// Files whose content lies in the checkpoint although no path leads to it, and tmpfs trees.
    pub recovered: Vec<RecoveredFile>,
    /// Spec, configuration, logs: texts for people.
    pub documents: Vec<Document>,
    /// Every image file, by name.
    pub images: Vec<ImageFile>,
    /// What this checkpoint cannot show, and why.
    pub coverage: Vec<Gap>,
    /// What could not be read.
    pub issues: Vec<Issue>,
    index: Index,
}

/// Sizes of the parts in bytes, as much as there is of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// All image files.
    pub checkpoint_bytes: u64,
    /// The memory pages among them.
    pub pages_bytes: u64,
    /// The archive of changed files as delivered, if there is one.
    pub rootfs_diff_bytes: Option<u64>,
}

/// One image file of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFile {
    /// Base name, as `pagemap-1.img`.
    pub name: String,
    /// Path inside [`Checkpoint::evidence`].
    pub path: Vec<u8>,
    /// The name CRIU and crit have for the kind (`PAGEMAP`), if it is known.
    pub kind: Option<&'static str>,
    /// Size in bytes.
    pub size_bytes: u64,
}

#[derive(Debug, Default)]
struct Index {
    process_by_pid: HashMap<Pid, usize>,
    file_by_id: HashMap<FileId, usize>,
    socket_by_file: HashMap<FileId, usize>,
    mount_by_id: HashMap<MntId, usize>,
}

impl Checkpoint {
    /// The process with this pid.
    pub fn process(&self, pid: Pid) -> Option<&Process> {
        self.index.process_by_pid.get(&pid).and_then(|at| self.processes.get(*at))
    }

    /// The parent of a process, where it is in the checkpoint.
    pub fn parent(&self, process: &Process) -> Option<&Process> {
        self.process(*process.ppid.known()?).filter(|parent| parent.pid != process.pid)
    }

    /// The open file description with this id.
    pub fn file(&self, id: FileId) -> Option<&OpenFile> {
        self.index.file_by_id.get(&id).and_then(|at| self.files.get(*at))
    }

    /// The socket behind this open file description.
    pub fn socket(&self, id: FileId) -> Option<&Socket> {
        self.index.socket_by_file.get(&id).and_then(|at| self.sockets.get(*at))
    }

    /// Whether a file lies on the root mount, which is what the container's image was of.
    pub fn is_on_root(&self, file: &files::RegFile) -> bool {
        let mount = file.mnt_id.and_then(|id| self.mount(id));
        mount.is_none_or(|mount| matches!(mount.mountpoint.as_bytes(), b"/" | b"./"))
    }

    /// The mount with this id.
    pub fn mount(&self, id: MntId) -> Option<&Mount> {
        self.index.mount_by_id.get(&id).and_then(|at| self.mounts.get(*at))
    }

    /// The descriptor `fd` of process `pid`.
    pub fn fd(&self, pid: Pid, fd: Fd) -> Option<&FdEntry> {
        self.process(pid)?.fds.iter().find(|entry| entry.fd == fd)
    }

    /// The image file of this base name.
    pub fn image(&self, name: &str) -> Option<&ImageFile> {
        self.images.binary_search_by(|image| image.name.as_str().cmp(name)).ok().and_then(|at| self.images.get(at))
    }
}
