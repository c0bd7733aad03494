//! One entry of an archive or directory: its name, what it is, and where its bytes lie.

use std::borrow::Cow;

use crate::base::{Place, escape};

/// A member of the evidence, as the archive describes it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Normalised path: no leading `./` or `/`, no `.`, `..` or empty parts, no trailing `/`. Empty for
    /// the entry of the root itself. Bytes, in no certain encoding.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Permission bits with setuid, setgid and sticky (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Last change of the content, in seconds since 1970 (UTC); `None` where it is not recorded or makes no sense.
    pub mtime: Option<i64>,
    /// Nanoseconds on top of `mtime`; 0 where the archive has whole seconds.
    pub mtime_nanos: u32,
    /// Size of the content in bytes as the header says it (with the holes of a sparse file); 0 for what has none.
    pub size_bytes: u64,
    /// Extended attributes (`SCHILY.xattr.*` of PAX) as names and values; empty for a directory on disk, whose
    /// attributes are not read.
    pub xattrs: Box<[Xattr]>,
    /// The evidence ends within the content: so many bytes of it are there.
    pub truncated: Option<u64>,
    /// The path as written is absolute or climbs out by `..`; `path` is what remains of it inside.
    pub leaves_tree: bool,
    pub(super) index: u32,
    pub(super) content: Content,
}

/// Name and value of an extended attribute.
pub type Xattr = (Box<[u8]>, Box<[u8]>);

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link; never followed.
    Symlink {
        /// As stored.
        target: Vec<u8>,
    },
    /// Another name of a member; reading follows it inside the archive.
    HardLink {
        /// Normalised like a path.
        target: Vec<u8>,
    },
    /// Character device; 0, 0 is a whiteout of overlayfs.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Named pipe.
    Fifo,
    /// Socket (only in directories; tar has none).
    Socket,
    /// A type that is not known, with its letter in tar.
    Other(u8),
}

impl MemberKind {
    /// In words, for messages.
    pub fn name(&self) -> &'static str {
        match self {
            MemberKind::File => "file",
            MemberKind::Directory => "directory",
            MemberKind::Symlink { .. } => "symbolic link",
            MemberKind::HardLink { .. } => "hard link",
            MemberKind::CharDevice { .. } => "character device",
            MemberKind::BlockDevice { .. } => "block device",
            MemberKind::Fifo => "named pipe",
            MemberKind::Socket => "socket",
            MemberKind::Other(_) => "member of unknown type",
        }
    }
}

impl Member {
    /// The last part of the path.
    pub fn file_name(&self) -> &[u8] {
        self.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// The path without its last part; empty at the top.
    pub fn parent(&self) -> &[u8] {
        parent(&self.path)
    }

    /// The path as text, with `\xNN` for what is not UTF-8.
    pub fn display_path(&self) -> Cow<'_, str> {
        escape(&self.path)
    }

    /// The member as the place of an issue.
    pub fn place(&self) -> Place {
        Place::member(self.display_path())
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == MemberKind::File
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == MemberKind::Directory
    }

    /// Bytes of content that can be read: less than the size where the evidence is truncated.
    pub fn available_bytes(&self) -> u64 {
        self.truncated.unwrap_or(self.size_bytes)
    }

    /// Offset in bytes of the content within the (uncompressed) archive; `None` where it has none, is sparse, or
    /// lies in a directory.
    pub fn archive_offset(&self) -> Option<u64> {
        match self.content {
            Content::Range { start } => Some(start),
            _ => None,
        }
    }
}

/// Where the bytes of a member lie.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Nothing to read.
    None,
    /// In the archive from `start` on, `size_bytes` long.
    Range { start: u64 },
    /// In the archive, in pieces.
    Sparse(Box<[Extent]>),
    /// The sparse map was unusable.
    BadSparse,
    /// A file on disk below the root of the evidence.
    OnDisk,
}

/// A piece of a sparse member: `len` bytes at `start` of the archive that belong to `offset` of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) start: u64,
    pub(super) len: u64,
}

pub(super) fn parent(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => path.get(..at).unwrap_or_default(),
        None => b"",
    }
}

/// Joins a directory (may be empty) and a path below it.
pub(super) fn join(dir: &[u8], path: &[u8]) -> Vec<u8> {
    if dir.is_empty() { path.to_vec() } else { [dir, b"/", path].concat() }
}

/// A path without `.`, `..` and empty parts, and whether it left the tree on the way.
///
/// `..` is taken away together with the part before it, as text: no link is followed.
pub(super) fn normalise(raw: &[u8]) -> (Vec<u8>, bool) {
    let mut leaves_tree = raw.first() == Some(&b'/');
    let mut path: Vec<u8> = Vec::with_capacity(raw.len());
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                leaves_tree |= path.is_empty();
                let len = parent(&path).len();
                path.truncate(len);
            }
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    (path, leaves_tree)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_escapes_are_seen() {
        let check = |raw: &str, path: &str, leaves: bool| {
            assert_eq!(normalise(raw.as_bytes()), (path.as_bytes().to_vec(), leaves), "{raw}");
        };
        check("./checkpoint/", "checkpoint", false);
        check("a//b/./c", "a/b/c", false);
        check("a/b/../../c", "c", false);
        check("/etc/passwd", "etc/passwd", true);
        check("../../etc/passwd", "etc/passwd", true);
        check("a/../../b", "b", true);
        check("./", "", false);
        check("..", "", true);
    }
}
