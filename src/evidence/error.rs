//! What ends opening or reading, with what was found, where, and what to do next.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::base::Cancelled;

/// Why evidence does not open. The text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing lies there.
    #[error("{}: no such file or directory", path.display())]
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// The file or the directory may not be read.
    #[error("{}: no permission to read it; run as a user who may, or copy it to where you may", path.display())]
    PermissionDenied {
        /// What was asked for.
        path: PathBuf,
    },
    /// A device, a socket: nothing that holds an archive.
    #[error("{}: is a {what}, not a file or a directory; give an archive, a directory, or - for standard input", path.display())]
    SpecialFile {
        /// What was asked for.
        path: PathBuf,
        /// "character device" and so on.
        what: &'static str,
    },
    /// Not one byte.
    #[error("{name}: is empty (0 bytes); the copy may have failed, fetch the archive again")]
    Empty {
        /// Name of the evidence.
        name: String,
    },
    /// No archive, in no compression.
    #[error("{name}: {content}")]
    NotAnArchive {
        /// Name of the evidence.
        name: String,
        /// What it looks like.
        content: NotAnArchive,
    },
    /// The file system said no.
    #[error("{name}: cannot be read")]
    Io {
        /// Name of the evidence.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The compressed stream is broken before its first byte of content.
    #[error(
        "{name}: the {compression} stream is damaged at its start and nothing of it can be read; fetch the archive again"
    )]
    DamagedStream {
        /// Name of the evidence.
        name: String,
        /// The compression.
        compression: super::Compression,
        /// What the decompressor said.
        source: io::Error,
    },
    /// More came out of the stream than the limit allows.
    #[error(
        "{name}: unpacks to more than {limit_bytes} bytes (after {read_bytes} bytes of it); if that is what you expect, raise the limit on unpacked size"
    )]
    TooLarge {
        /// Name of the evidence.
        name: String,
        /// `OpenOptions::max_spool_bytes`.
        limit_bytes: u64,
        /// How much of the stream was read by then.
        read_bytes: u64,
    },
    /// The stream unpacks to far more than its own size: a decompression bomb, or very empty memory.
    #[error(
        "{name}: {read_bytes} bytes unpacked to {written_bytes}, more than {limit} to 1; it looks like a decompression bomb; if it is not, raise the limit on the ratio"
    )]
    RatioTooHigh {
        /// Name of the evidence.
        name: String,
        /// Bytes of the stream that were read.
        read_bytes: u64,
        /// Bytes that came out.
        written_bytes: u64,
        /// `OpenOptions::max_ratio`.
        limit: u64,
    },
    /// No space for the unpacked archive.
    #[error(
        "{name}: no space left in {} after {written_bytes} bytes of the unpacked archive; free some, or name another cache directory",
        dir.display()
    )]
    DiskFull {
        /// Name of the evidence.
        name: String,
        /// The cache directory.
        dir: PathBuf,
        /// Bytes written by then.
        written_bytes: u64,
    },
    /// The cache directory cannot be used.
    #[error("{}: cannot be used to unpack into; name another cache directory", dir.display())]
    CacheDir {
        /// The cache directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no home directory to derive a cache directory from.
    #[error("no cache directory is known (no home directory); name one")]
    NoCacheDir,
    /// A member that should be opened as an archive cannot be read.
    #[error(transparent)]
    Member(#[from] ReadError),
    /// The analyst pressed stop.
    #[error("{0}")]
    Cancelled(#[from] Cancelled),
}

impl OpenError {
    /// Sorts what the system said about `path` into the cases that have advice of their own.
    pub(super) fn from_io(path: &std::path::Path, source: io::Error) -> OpenError {
        match source.kind() {
            io::ErrorKind::NotFound => OpenError::NotFound { path: path.to_owned() },
            io::ErrorKind::PermissionDenied => OpenError::PermissionDenied { path: path.to_owned() },
            _ => OpenError::Io { name: super::display_path(path), source },
        }
    }
}

/// What a file that is no archive looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAnArchive {
    /// It starts like one image of CRIU.
    #[error("this is one CRIU image, not a checkpoint; open the directory or the archive that it lies in")]
    CriuImage,
    /// It starts as a ZIP file.
    #[error("this is a ZIP file; unpack it and open the checkpoint archive or directory in it")]
    Zip,
    /// A program, library or core file.
    #[error("this is an ELF file (program, library or core dump), not a checkpoint archive")]
    Elf,
    /// Neither tar nor a compression that is known.
    #[error(
        "not a checkpoint: neither tar nor tar compressed by gzip, zstd, xz or bzip2; open the archive that the engine wrote, or the directory that holds inventory.img"
    )]
    Unknown,
    /// The stream was unpacked, and what came out is no tar.
    #[error("unpacks, but what comes out is not a tar archive and thus no checkpoint")]
    UnpacksToSomethingElse,
    /// The stream breaks off before the first member.
    #[error("the compressed stream is damaged or cut off before its first member; fetch the archive again")]
    CutOff,
}

/// Why the content of a member cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The member belongs to other evidence.
    #[error("{member}: no such member here")]
    NoSuchMember {
        /// Path of the member.
        member: String,
    },
    /// A directory, a link, a device: nothing that has content.
    #[error("{member}: is a {kind} and has no content")]
    NoContent {
        /// Path of the member.
        member: String,
        /// Its kind in words.
        kind: &'static str,
    },
    /// A hard link to something that is not in the archive.
    #[error("{member}: hard link to {target}, which is not in the archive")]
    MissingTarget {
        /// Path of the member.
        member: String,
        /// Where it points to.
        target: String,
    },
    /// Hard links that point to each other.
    #[error("{member}: hard links go in a circle or are more than {limit} deep")]
    LinkLoop {
        /// Path of the member.
        member: String,
        /// How many links are followed.
        limit: usize,
    },
    /// It would have to be assembled in memory, and is too large for that.
    #[error("{member}: needs {needed_bytes} bytes of memory, the limit is {limit_bytes}; read it in parts")]
    TooLarge {
        /// Path of the member.
        member: String,
        /// Bytes asked for.
        needed_bytes: u64,
        /// `Limits::max_owned_bytes`.
        limit_bytes: u64,
    },
    /// Bytes behind the end were asked for.
    #[error("{member}: bytes {}..{} were asked for, it has {available_bytes}", range.start, range.end)]
    OutOfRange {
        /// Path of the member.
        member: String,
        /// What was asked for.
        range: Range<u64>,
        /// What is there (less than its size where the evidence is truncated).
        available_bytes: u64,
    },
    /// The map of a sparse member makes no sense; an issue says how.
    #[error("{member}: the map of its holes makes no sense, so its content cannot be put together")]
    BadSparseMap {
        /// Path of the member.
        member: String,
    },
    /// The file system said no.
    #[error("{member}: cannot be read")]
    Io {
        /// Path of the member.
        member: String,
        /// What the system said.
        source: io::Error,
    },
}
