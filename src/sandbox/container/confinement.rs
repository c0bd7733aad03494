//! What the keeper of a container is told: how the container is held.

use serde::{Deserialize, Serialize};

use super::cgroups::Limit;

/// First user and group id of this machine that the container's ids stand for: none of them belongs to anybody, since
/// distributions give out only ids below.
pub const FIRST_ID: u32 = 0x7000_0000;
/// How many ids the container has: as many as fit above. OpenShift's, from a thousand million on, are among them.
pub const NR_IDS: u32 = 0x7000_0000;

/// Numbers of the files that the keeper gets, after [`crate::sandbox::run::FIRST_FD`].
pub(in crate::sandbox) const INITRD: i32 = 0;
pub(in crate::sandbox) const DISK: i32 = 1;
pub(in crate::sandbox) const CHANNEL: i32 = 2;

/// How a container is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Most bytes of memory, of files in memory too.
    pub memory_bytes: u64,
    /// Most processes and threads.
    pub max_pids: u32,
    /// Processor time of so many processors.
    pub cpus: u32,
    /// Which limits can be had, and from where.
    pub limits: Vec<Limit>,
    /// Capabilities, bit N for capability N, that some process had when it was frozen.
    pub recorded_capabilities: u64,
    /// Whether system calls are filtered.
    pub seccomp: bool,
    /// Whether signals and abstract sockets are kept inside by Landlock too.
    pub landlock: bool,
}
