//! Where to search.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::base::{Pid, VirtAddr};
use crate::checkpoint::Vma;

/// What holds the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Address spaces of processes.
    Memory,
    /// Unread bytes of pipes, fifos and terminals.
    Pipe,
    /// Queues of sockets.
    Socket,
    /// Deleted files that were still open or mapped.
    Ghost,
    /// Files of tmpfs mounts, /dev/shm included.
    Tmpfs,
    /// Memfds: where memory is searched too, what no process maps of them.
    Memfd,
    /// Shared anonymous memory and System V segments: where memory is searched too, what no process maps of them.
    Shm,
    /// Changed files of the root file system, and volumes.
    Rootfs,
    /// Specification, configuration, logs.
    Metadata,
    /// Image files of CRIU, but for those whose content another searched source has.
    Image,
}

impl Source {
    /// All, in the order of search.
    pub const ALL: [Source; 10] = [
        Source::Memory,
        Source::Pipe,
        Source::Socket,
        Source::Ghost,
        Source::Tmpfs,
        Source::Memfd,
        Source::Shm,
        Source::Rootfs,
        Source::Metadata,
        Source::Image,
    ];

    /// The word of the JSON and of `--in`.
    pub fn word(self) -> &'static str {
        match self {
            Source::Memory => "memory",
            Source::Pipe => "pipe",
            Source::Socket => "socket",
            Source::Ghost => "ghost",
            Source::Tmpfs => "tmpfs",
            Source::Memfd => "memfd",
            Source::Shm => "shm",
            Source::Rootfs => "rootfs",
            Source::Metadata => "metadata",
            Source::Image => "image",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(word: &str) -> Result<Source, String> {
        let known = || Source::ALL.map(Source::word).join(", ");
        let found = Source::ALL.into_iter().find(|source| source.word() == word);
        found.ok_or_else(|| format!("{word}: not a source; there are {}", known()))
    }
}

/// Which vmas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmaFilter {
    /// A part of the name as /proc/PID/maps shows it.
    pub map: Option<String>,
    /// Permissions as `rwx` or `r-xp`: each letter must be there, each `-` must not be.
    pub perms: Option<String>,
    /// Words of [`VmaKind`](crate::checkpoint::memory_map::VmaKind).
    pub kinds: Vec<String>,
    /// Only these addresses.
    pub range: Option<Range<VirtAddr>>,
}

impl VmaFilter {
    /// Whether every vma passes.
    pub fn is_all(&self) -> bool {
        *self == VmaFilter::default()
    }

    /// Whether a vma passes.
    pub fn has(&self, vma: &Vma) -> bool {
        let is_named = |part: &String| vma.path.to_lossless().contains(part.as_str());
        let has_perms = |wanted: &String| {
            let perms = vma.perms();
            let fits_place = |(at, want): (usize, char)| match want {
                '-' => perms.chars().nth(at) == Some('-'),
                want => perms.contains(want),
            };
            wanted.chars().enumerate().all(fits_place)
        };
        let overlaps = |range: &Range<VirtAddr>| vma.start < range.end && range.start < vma.end;
        self.map.as_ref().is_none_or(is_named)
            && self.perms.as_ref().is_none_or(has_perms)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == vma.kind.word()))
            && self.range.as_ref().is_none_or(overlaps)
    }
}

/// Where to search: sources, and in memory which processes and vmas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Empty for all.
    pub sources: Vec<Source>,
    /// Only what belongs to this process: its memory, and queues and files that it has open.
    pub pid: Option<Pid>,
    /// Which vmas; anything but all of them leaves memory as the only source.
    pub vmas: VmaFilter,
}

impl Scope {
    /// Whether a source is searched.
    pub fn has(&self, source: Source) -> bool {
        let is_wanted = self.sources.is_empty() || self.sources.contains(&source);
        is_wanted && (source == Source::Memory || self.vmas.is_all())
    }
}
