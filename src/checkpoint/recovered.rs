//! Files whose content lies in the checkpoint although no archive of files has them.

use bytes::Bytes;

use crate::base::{FileId, Place, Text};
use crate::evidence::Evidence;

/// Where a recovered file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A deleted file that was still open or mapped.
    Ghost,
    /// A memfd.
    Memfd,
    /// Shared anonymous or System V memory.
    Shm,
    /// A file on a tmpfs of the container.
    Tmpfs,
    /// A file of /dev/shm.
    DevShm,
    /// A file of a volume.
    Volume,
}

impl Source {
    /// The word of the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Source::Ghost => "ghost",
            Source::Memfd => "memfd",
            Source::Shm => "shm",
            Source::Tmpfs => "tmpfs",
            Source::DevShm => "devshm",
            Source::Volume => "volume",
        }
    }
}

/// One recovered file.
#[derive(Clone, Debug)]
pub struct RecoveredFile {
    /// Where it comes from.
    pub source: Source,
    /// Path it had in the container, or the name it went by.
    pub path: Text,
    /// `st_mode`, where recorded.
    pub mode: Option<u32>,
    /// Owner and group, where recorded.
    pub owner: Option<(u64, u64)>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Modification time in seconds since 1970.
    pub mtime: Option<i64>,
    /// `file`, `directory`, …
    pub kind: &'static str,
    /// Where a link leads.
    pub link_target: Option<Text>,
    /// Open files that lead here.
    pub files: Vec<FileId>,
    /// Where the bytes lie.
    pub place: Place,
    /// How to get at them.
    pub content: Content,
}

/// How to get at the bytes of a recovered file.
#[derive(Clone, Debug)]
pub enum Content {
    /// Runs of bytes at offsets; gaps read as zeros.
    Chunks(Vec<(u64, Bytes)>),
    /// Pages of a shared-memory object, by its id.
    Shmem(u64),
    /// A member of an archive inside the checkpoint.
    Member {
        /// The archive.
        archive: Evidence,
        /// Index of the member.
        member: usize,
    },
    /// No content: a directory, a device, or an image that is missing.
    None,
}
