//! Open files: descriptors, the open file descriptions behind them, and what each kind holds.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Fd, FileId, MntId, NsId, Pid, Place, Text};

/// One descriptor of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdEntry {
    /// Its number.
    pub fd: Fd,
    /// The open file description; look it up with [`super::Checkpoint::file`].
    pub file: FileId,
    /// `FD_CLOEXEC`.
    pub cloexec: bool,
    /// CRIU's number of the kind, as the descriptor states it.
    pub kind: FileKind,
}

/// CRIU's kinds of files, by CRIU's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKind(pub u32);

impl FileKind {
    /// CRIU's own word (`reg`, `pipe`, `inetsk`, …); `unknown` for a number without one.
    pub fn word(self) -> &'static str {
        match self.0 {
            1 => "reg",
            2 => "pipe",
            3 => "fifo",
            4 => "inetsk",
            5 => "unixsk",
            6 => "eventfd",
            7 => "eventpoll",
            8 => "inotify",
            9 => "signalfd",
            10 => "packetsk",
            11 => "tty",
            12 => "fanotify",
            13 => "netlinksk",
            14 => "ns",
            15 => "tunf",
            16 => "ext",
            17 => "timerfd",
            18 => "memfd",
            19 => "bpfmap",
            20 => "pidfd",
            65534 => "ctl_tty",
            65535 => "autofs_pipe",
            _ => "unknown",
        }
    }
}

/// An open file description: what `open` made and descriptors share.
#[derive(Clone, Debug)]
pub struct OpenFile {
    /// CRIU's number.
    pub id: FileId,
    /// CRIU's kind.
    pub kind: FileKind,
    /// Where it is recorded.
    pub place: Place,
    /// As the link in /proc/PID/fd reads, ` (deleted)` included; `None` where a number in it is
    /// not recorded (inode of a packet socket or of a namespace).
    pub target: Option<Text>,
    /// `O_` flags of the open file description, in the numbers of the dump's architecture.
    pub flags: Option<u32>,
    /// File position, where the kind has one.
    pub pos: Option<u64>,
    /// No path leads to it any more.
    pub is_deleted: bool,
    /// What the kind holds.
    pub detail: FileDetail,
    /// Who is told by signal of readiness.
    pub owner: Option<FileOwner>,
    /// Descriptors that share it.
    pub fds: Vec<(Pid, Fd)>,
    /// Processes that map it, run it or stand in it.
    pub held_by: Vec<(Pid, Hold)>,
    /// Other files it is connected with: the other end of a pipe, the peer of a socket, the watched
    /// descriptors of an epoll.
    pub related: Vec<(Relation, FileId)>,
}

/// How a process holds on to a file without a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    /// Program file.
    Exe,
    /// Working directory.
    Cwd,
    /// Root directory.
    Root,
    /// Mapped.
    Map,
    /// In flight in a unix socket's queue.
    InFlight,
}

/// How two files belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// The same pipe or fifo, the other direction.
    PipeEnd,
    /// Connected socket.
    Peer,
    /// Watched by this epoll.
    EpollTarget,
    /// Path of a fifo or terminal.
    PathOf,
    /// The other side of a pseudo terminal.
    PtyPair,
    /// Same memfd inode.
    SameMemfd,
    /// Sent over this socket and not yet received.
    InFlight,
}

/// Owner of a file for SIGIO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// Process, thread or group, by `pid_type`.
    pub pid: u32,
    /// 0 thread, 1 process, 2 group.
    pub pid_type: u32,
    /// 0 is SIGIO.
    pub signum: u32,
}

/// What a kind of file holds.
#[derive(Clone, Debug)]
pub enum FileDetail {
    /// A file, directory or device with a path.
    Reg(RegFile),
    /// One end of a pipe.
    Pipe(PipeEnd),
    /// One end of a named pipe.
    Fifo(PipeEnd),
    /// A socket: see [`super::Checkpoint::socket`].
    Socket,
    /// Counter of an eventfd.
    Eventfd {
        /// Its value.
        counter: u64,
    },
    /// Watched descriptors of an epoll.
    Eventpoll(Vec<EpollTarget>),
    /// Watches of an inotify.
    Inotify(Vec<Watch>),
    /// Marks of a fanotify.
    Fanotify {
        /// `fanotify_init` flags.
        flags: u32,
        /// Flags of the descriptors it hands out.
        event_flags: u32,
        /// Its marks.
        marks: Vec<Watch>,
    },
    /// Signals a signalfd receives: bit N-1 for signal N.
    Signalfd {
        /// The mask.
        mask: u64,
    },
    /// A timer descriptor; times in nanoseconds.
    Timerfd {
        /// `CLOCK_` number.
        clock_id: u32,
        /// Expirations not yet read.
        ticks: u64,
        /// Left until the next; 0 when disarmed.
        value_ns: u64,
        /// Between expirations.
        interval_ns: u64,
        /// `TFD_TIMER_` flags.
        settime_flags: u32,
    },
    /// A terminal.
    Tty(Tty),
    /// A memfd.
    Memfd(Memfd),
    /// A namespace held open.
    Ns {
        /// CRIU's number.
        ns_id: NsId,
        /// `CLONE_NEW` flag of its kind.
        clone_flag: u32,
    },
    /// A tun or tap device.
    Tun {
        /// Device it is attached to.
        netdev: Option<Text>,
    },
    /// A BPF map.
    BpfMap(BpfMap),
    /// A process descriptor.
    Pidfd {
        /// Process it names; `None` when that is dead.
        pid: Option<i64>,
        /// Inode: equal for the same process.
        inode: Option<u64>,
    },
    /// Handled outside CRIU.
    Ext,
    /// A kind we do not know, or a record without its inner message.
    Unknown,
}

/// A file with a path.
#[derive(Clone, Debug)]
pub struct RegFile {
    /// Absolute path in the mount namespace, as recorded.
    pub name: Text,
    /// Mount it lies on.
    pub mnt_id: Option<MntId>,
    /// `st_mode`.
    pub mode: Option<u32>,
    /// Size in bytes; only for regular files.
    pub size_bytes: Option<u64>,
    /// Build id, where recorded.
    pub build_id: Option<Bytes>,
    /// Handled outside CRIU; the name is then `file[mnt:inode]`.
    pub is_external: bool,
    /// How its content is kept although the name no longer leads to it.
    pub remap: Option<Remap>,
}

/// How CRIU keeps a file whose name no longer leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remap {
    /// A hard link CRIU left beside the original.
    Linked {
        /// The link, as an open file.
        file: FileId,
    },
    /// A copy in the checkpoint.
    Ghost {
        /// Base name of the image that holds it.
        img: String,
    },
    /// Under /proc of a dead process.
    Procfs {
        /// The dead process.
        pid: u32,
    },
    /// A number CRIU does not have.
    Unknown(u32),
}

/// One end of a pipe.
#[derive(Clone, Debug)]
pub struct PipeEnd {
    /// Inode: both ends share it.
    pub pipe_id: u32,
    /// Capacity in bytes, where recorded.
    pub capacity_bytes: Option<u32>,
    /// Bytes written and not yet read.
    pub unread: Option<Bytes>,
    /// Where these bytes lie.
    pub unread_place: Option<Place>,
}

/// One watched descriptor of an epoll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpollTarget {
    /// Number it was added by.
    pub fd: u32,
    /// `EPOLL` bits.
    pub events: u32,
    /// The caller's own value.
    pub data: u64,
    /// Device and inode, to find the target when the number was used again.
    pub dev_inode: Option<(u64, u64)>,
}

/// One watch of an inotify, or one mark of a fanotify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Watch descriptor; inotify only.
    pub wd: Option<u32>,
    /// `IN_` or `FAN_` bits.
    pub mask: u64,
    /// `FAN_` bits that are ignored.
    pub ignored_mask: Option<u32>,
    /// Inode watched.
    pub inode: Option<u64>,
    /// Device, kernel packing.
    pub dev: Option<u32>,
    /// Mount watched as a whole.
    pub mnt_id: Option<MntId>,
    /// Path, where CRIU could find it.
    pub path: Option<Text>,
}

/// A terminal.
#[derive(Clone, Debug, Default)]
pub struct Tty {
    /// `ptmx`, `pts`, `console`, `vt`, `ctty`, `serial`, `ext`.
    pub driver: Option<&'static str>,
    /// Index of a pseudo terminal.
    pub index: Option<u32>,
    /// Controlling session, if any.
    pub sid: Option<u32>,
    /// Foreground group, if any.
    pub pgrp: Option<u32>,
    /// Columns and rows.
    pub winsize: Option<(u32, u32)>,
    /// Bytes written and not yet read.
    pub unread: Option<Bytes>,
}

/// A memfd.
#[derive(Clone, Debug)]
pub struct Memfd {
    /// CRIU's number of the inode.
    pub inode_id: u32,
    /// Name without `memfd:`.
    pub name: Option<Text>,
    /// Size in bytes.
    pub size_bytes: Option<u64>,
    /// `F_SEAL_` bits.
    pub seals: Option<u32>,
    /// `st_mode`.
    pub mode: Option<u32>,
    /// Owner and group.
    pub owner: Option<(u32, u32)>,
    /// Shared-memory object that holds the content.
    pub shmid: Option<u64>,
    /// Really shared anonymous memory, which CRIU keeps as a memfd named `/dev/zero`.
    pub is_shared_anonymous: bool,
}

/// A BPF map.
#[derive(Clone, Debug, Default)]
pub struct BpfMap {
    /// Kernel's number.
    pub map_id: u32,
    /// `BPF_MAP_TYPE_` number.
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most entries.
    pub max_entries: u32,
    /// Name.
    pub name: Option<Text>,
    /// Keys and values, where the dump has them.
    pub entries: Arc<[(Bytes, Bytes)]>,
}

/// A lock on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLock {
    /// `posix`, `flock`, `ofd`, `lease`, or the bits.
    pub kind: String,
    /// `read`, `write`, …
    pub access: String,
    /// Owner.
    pub pid: Pid,
    /// Descriptor it was taken through.
    pub fd: Fd,
    /// First byte.
    pub start: u64,
    /// Length in bytes; `None` is to the end.
    pub len: Option<u64>,
}
