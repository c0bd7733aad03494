//! Namespaces, and what is known of each.

use crate::base::{NsId, Pid, Text};

/// Kind of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NsKind {
    /// Processes.
    Pid,
    /// Network.
    Net,
    /// System V IPC.
    Ipc,
    /// Host name.
    Uts,
    /// Mounts.
    Mnt,
    /// Users.
    User,
    /// Cgroups.
    Cgroup,
    /// Clocks.
    Time,
}

impl NsKind {
    /// The word of /proc/PID/ns.
    pub fn word(self) -> &'static str {
        match self {
            NsKind::Pid => "pid",
            NsKind::Net => "net",
            NsKind::Ipc => "ipc",
            NsKind::Uts => "uts",
            NsKind::Mnt => "mnt",
            NsKind::User => "user",
            NsKind::Cgroup => "cgroup",
            NsKind::Time => "time",
        }
    }
}

/// One namespace.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Its kind.
    pub kind: NsKind,
    /// CRIU's number.
    pub id: NsId,
    /// Processes in it.
    pub pids: Vec<Pid>,
    /// It is the one CRIU itself ran in: the host's.
    pub is_host: bool,
    /// What is known of it: host name, id maps, clocks, IPC objects.
    pub facts: Vec<(String, Text)>,
}
