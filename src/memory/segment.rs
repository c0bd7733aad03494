//! Stretches of an address space, and where their bytes come from.

use std::fmt;
use std::ops::Range;

use crate::base::{FileId, VirtAddr};
use crate::checkpoint::Vma;

/// A stretch of one vma whose bytes have one origin. Half-open; segments of a space do not overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Its addresses.
    pub range: Range<VirtAddr>,
    /// The vma that it lies in.
    pub vma: &'a Vma,
    /// Where its bytes come from.
    pub origin: Origin,
}

impl Segment<'_> {
    /// Size in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.range.end.0.saturating_sub(self.range.start.0)
    }
}

/// Where the bytes of a segment come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The process's own pages, in this checkpoint.
    Dump,
    /// The process's own pages, in a parent checkpoint; 1 is the nearest.
    Parent {
        /// How many links away.
        depth: u32,
    },
    /// Pages of a shared-memory object: shared anonymous, System V, memfd.
    Shared {
        /// The object.
        shmid: u64,
        /// 0 for this checkpoint, else how many parents away.
        depth: u32,
    },
    /// A file whose content the evidence holds outside the page images: a ghost file, a tmpfs, the root file system's
    /// changes. Its bytes are those of the file when the archive was made.
    File {
        /// The mapped file.
        file: FileId,
    },
    /// Zeros of the kernel: never written to.
    Zero,
    /// Not there.
    Absent(Missing),
}

impl Origin {
    /// Whether there are bytes to read, zeros included.
    pub fn is_readable(self) -> bool {
        !matches!(self, Origin::Absent(_))
    }

    /// Whether the bytes lie in the evidence.
    pub fn is_stored(self) -> bool {
        !matches!(self, Origin::Absent(_) | Origin::Zero)
    }
}

/// Why bytes of an address space are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// No vma: the process could not read there either.
    Unmapped,
    /// A guard region: an access faults.
    Guard,
    /// Behind the end of the mapped file or object: an access faults.
    BehindEnd,
    /// A clean page of a mapped file; checkpoints do not hold them.
    FilePage,
    /// Left to a lazy-pages server.
    Lazy,
    /// In a parent checkpoint, which is not here or does not have it.
    Parent,
    /// The pages of the shared-memory object are not in the checkpoint.
    Object,
    /// Memory of the kernel or of a device, which CRIU does not write down.
    NotKept,
    /// The pages file is too short.
    Truncated,
    /// Compressed pages that do not unpack.
    Damaged,
}

impl Missing {
    /// All reasons.
    pub const ALL: [Missing; 10] = [
        Missing::Unmapped,
        Missing::Guard,
        Missing::BehindEnd,
        Missing::FilePage,
        Missing::Lazy,
        Missing::Parent,
        Missing::Object,
        Missing::NotKept,
        Missing::Truncated,
        Missing::Damaged,
    ];

    /// Whether the process could have read there, so that something is missing in the evidence.
    pub fn is_loss(self) -> bool {
        !matches!(self, Missing::Unmapped | Missing::Guard | Missing::BehindEnd)
    }

    /// A word for programs.
    pub fn word(self) -> &'static str {
        match self {
            Missing::Unmapped => "unmapped",
            Missing::Guard => "guard",
            Missing::BehindEnd => "behind-end",
            Missing::FilePage => "file-page",
            Missing::Lazy => "lazy",
            Missing::Parent => "parent",
            Missing::Object => "object",
            Missing::NotKept => "not-kept",
            Missing::Truncated => "truncated",
            Missing::Damaged => "damaged",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::Unmapped => "not mapped",
            Missing::Guard => "guard region: an access faults",
            Missing::BehindEnd => "behind the end of what is mapped: an access faults",
            Missing::FilePage => "clean page of a file: not in the checkpoint",
            Missing::Lazy => "left to a lazy-pages server: not in the checkpoint",
            Missing::Parent => "in a parent checkpoint that is not here",
            Missing::Object => "pages of the shared memory are not in the checkpoint",
            Missing::NotKept => "memory of the kernel or a device: not in a checkpoint",
            Missing::Truncated => "pages file is too short",
            Missing::Damaged => "compressed pages do not unpack",
        })
    }
}
