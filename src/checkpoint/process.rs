//! Processes and threads.

use crate::base::{FileId, Field, NsId, Pid, Text};

use super::credentials::Credentials;
use super::files::FdEntry;
use super::memory_map::MemoryMap;
use super::namespaces::NsKind;
use super::registers::Registers;
use super::seccomp::Seccomp;
use super::signals::{PendingSignal, SignalAction, Timers};

/// What CRIU records of a task's state. Running and sleeping are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Running or sleeping.
    Alive,
    /// Stopped by a signal.
    Stopped {
        /// The signal.
        signal: Option<u32>,
    },
    /// Exited, not yet waited for.
    Zombie {
        /// The wait status word: exit code in bits 8..15, signal in the low 7 bits.
        wait_status: Option<u32>,
    },
    /// A number CRIU does not have.
    Unknown(u32),
}

impl TaskState {
    /// The word of the JSON: `alive`, `stopped`, `zombie`; `None` for a number CRIU does not have.
    pub fn word(self) -> Option<&'static str> {
        match self {
            TaskState::Alive => Some("alive"),
            TaskState::Stopped { .. } => Some("stopped"),
            TaskState::Zombie { .. } => Some("zombie"),
            TaskState::Unknown(_) => None,
        }
    }
}

/// One process: a thread group with what its threads share.
#[derive(Clone, Debug)]
pub struct Process {
    /// Inside the container's outermost pid namespace.
    pub pid: Pid,
    /// 0 for the root of the tree.
    pub ppid: Pid,
    /// 0 when the leader is outside the container.
    pub pgid: Pid,
    /// 0 when the leader is outside the container.
    pub sid: Pid,
    /// Distance from the root of the tree.
    pub depth: u32,
    /// Indexes into [`super::Checkpoint::processes`].
    pub children: Vec<usize>,
    /// Alive, stopped, zombie.
    pub state: Field<TaskState>,
    /// The kernel's name of the leader, at most 15 bytes.
    pub comm: Field<Text>,
    /// Arguments exactly as they lie in the process's memory; empty for a zombie.
    pub cmdline: Field<Vec<Text>>,
    /// Environment exactly as it lies in the process's memory: order, duplicates, oddities kept.
    pub environ: Field<Vec<Text>>,
    /// Program file, as `/proc/PID/exe` reads.
    pub exe: Field<Link>,
    /// Working directory, as `/proc/PID/cwd` reads.
    pub cwd: Field<Link>,
    /// Root directory, as `/proc/PID/root` reads.
    pub root: Field<Link>,
    /// File mode creation mask.
    pub umask: Field<u32>,
    /// Threads, the leader first; empty for a zombie.
    pub threads: Vec<Thread>,
    /// Resource limits by name, in the kernel's order.
    pub rlimits: Field<Vec<Rlimit>>,
    /// `/proc/PID/oom_score_adj`.
    pub oom_score_adj: Field<i32>,
    /// `personality(2)`.
    pub personality: Field<u32>,
    /// `/proc/PID/loginuid`; `u32::MAX` when unset.
    pub loginuid: Field<u32>,
    /// Adopts orphans of its subtree.
    pub child_subreaper: Field<bool>,
    /// Kernel `PF_` flags, informational.
    pub kernel_flags: Field<u32>,
    /// What each signal does, for signals 1 to 64.
    pub signal_actions: Vec<SignalAction>,
    /// Signals pending for the process as a whole.
    pub pending: Vec<PendingSignal>,
    /// Interval and POSIX timers.
    pub timers: Timers,
    /// Namespace of each kind.
    pub namespaces: Vec<(NsKind, NsId)>,
    /// Set in [`super::cgroups::Cgroups`].
    pub cg_set: Option<u32>,
    /// CRIU's number of the descriptor table; processes with the same number share it.
    pub files_id: Option<u32>,
    /// Open descriptors by number.
    pub fds: Vec<FdEntry>,
    /// Address space; a zombie has none.
    pub memory: Field<MemoryMap>,
}

/// A path that a process holds on to, as a link of /proc reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// As `readlink` prints it, ` (deleted)` included.
    pub target: Text,
    /// The open file description behind it.
    pub file: Option<FileId>,
}

/// One thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Inside the container's outermost pid namespace.
    pub tid: Pid,
    /// The thread's own name.
    pub comm: Field<Text>,
    /// Credentials are per thread.
    pub credentials: Field<Credentials>,
    /// Seccomp mode and filters.
    pub seccomp: Field<Seccomp>,
    /// Registers at the freeze.
    pub registers: Field<Registers>,
    /// Blocked signals: bit N-1 for signal N.
    pub blocked: Field<u64>,
    /// Signals pending for this thread.
    pub pending: Vec<PendingSignal>,
    /// Scheduling.
    pub sched: Field<Sched>,
    /// Signal sent when the parent dies.
    pub pdeath_sig: Option<u32>,
    /// Address and size of the alternate signal stack.
    pub alt_stack: Option<(u64, u64)>,
    /// Address of the robust futex list head.
    pub robust_list: Option<u64>,
    /// Address of the restartable sequence area.
    pub rseq: Option<u64>,
    /// Address cleared when the thread exits.
    pub clear_tid: Option<u64>,
    /// Cgroup set of the thread, where it has one of its own.
    pub cg_set: Option<u32>,
}

/// Scheduling of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sched {
    /// `SCHED_` number.
    pub policy: u32,
    /// `SCHED_OTHER` and so on, where it has a name.
    pub policy_name: Option<&'static str>,
    /// -20 to 19.
    pub nice: i32,
    /// Only for FIFO and RR.
    pub priority: Option<u32>,
}

/// One resource limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// `NOFILE`, without the prefix; `RLIMIT_N` for a number without a name.
    pub name: &'static str,
    /// Soft limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

impl Process {
    /// `comm` for a label; `?` when it could not be read.
    pub fn comm_label(&self) -> String {
        self.comm.known().map_or_else(|| "?".into(), Text::label)
    }

    /// Credentials of the leader.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.threads.first().and_then(|leader| leader.credentials.known())
    }

    /// Seccomp state of the leader.
    pub fn seccomp(&self) -> Option<&Seccomp> {
        self.threads.first().and_then(|leader| leader.seccomp.known())
    }

    /// Whether the process has exited and waits for its parent.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, Field::Known(TaskState::Zombie { .. }))
    }
}
