//! Where bytes come from: opens archives and directories, lists their members, and reads them. Nothing else reads
//! evidence.
//!
//! - A plain tar is indexed in one pass over its headers (`walk`) and mapped (`map`); members are ranges of the map.
//! - A compressed one, or one from a pipe, is unpacked once into memory or an unlinked file of the cache directory
//!   (`spool`) and indexed while it arrives.
//! - A directory is listed; files are read when asked for (`directory`).
//! - What lies inside opens by the same code ([`Evidence::open_nested`]), and [`find_checkpoints`] says where the
//!   checkpoints are, also in OCI images.
//!
//! What it is goes by content, never by name. Everything is opened read-only, and the only writes are into the cache
//! directory. Paths are bytes, `/` between parts, normalised (see [`Member::path`]); sizes and offsets are in bytes.
//!
//! Formats: POSIX.1-2024 `pax` (ustar and PAX), the GNU tar manual (long names, base-256 numbers, sparse members),
//! star(5) (extended attributes).

mod base_image;
mod compression;
mod directory;
mod error;
mod find;
mod growing;
mod hash;
mod header;
mod issues;
mod map;
mod member;
mod oci;
mod open;
mod options;
mod passed;
mod path_index;
mod pax;
mod read;
mod source;
mod sparse;
mod sparse_map;
mod spool;
mod walk;

#[cfg(test)]
mod directory_tests;
#[cfg(test)]
mod find_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tar_tests;
#[cfg(test)]
mod testing;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Issue, Limits, Progress, Silent, escape};

pub use base_image::BaseImage;
pub use compression::Compression;
pub use error::{NotAnArchive, OpenError, ReadError};
pub use find::{CheckpointRoot, ParentLink, find_checkpoints, image_dirs, parent_link};
pub use growing::Growing;
pub use member::{Member, MemberKind, Xattr};
pub use oci::OciImage;
pub use options::{CACHE_DIR_VARIABLE, OnMember, OpenOptions};
pub use passed::Passed;

use directory::Root;
use path_index::PathIndex;

/// What the evidence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// A directory on disk.
    Directory,
    /// A tar archive, compressed or not.
    Tar,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Form::Directory => "directory",
            Form::Tar => "tar",
        })
    }
}

/// An archive or directory, open and listed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Evidence(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    path: Option<PathBuf>,
    compression: Compression,
    size_bytes: u64,
    members: Vec<Member>,
    index: PathIndex,
    issues: Vec<Issue>,
    store: Store,
    delivered: Delivered,
    limits: Limits,
}

/// Where the members' bytes are.
enum Store {
    Archive(Bytes),
    Directory(Root),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Store::Archive(bytes) => f.debug_tuple("Archive").field(&bytes.len()).finish(),
            Store::Directory(_) => f.debug_tuple("Directory").finish(),
        }
    }
}

/// The evidence as it came, for its digest.
enum Delivered {
    File(Arc<File>),
    Bytes(Bytes),
    Stream([u8; 32]),
    Directory,
}

impl fmt::Debug for Delivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Delivered::File(_) => "File",
            Delivered::Bytes(_) => "Bytes",
            Delivered::Stream(_) => "Stream",
            Delivered::Directory => "Directory",
        })
    }
}

impl Evidence {
    /// What the analyst knows it by: the path, or the name given.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Path on disk; `None` for a stream, for bytes, and inside other evidence.
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// What it is.
    pub fn form(&self) -> Form {
        match self.0.store {
            Store::Archive(_) => Form::Tar,
            Store::Directory(_) => Form::Directory,
        }
    }

    /// Whether it is the same as another one: the same directory, or the same opened archive.
    pub fn is_same(&self, other: &Evidence) -> bool {
        match (&self.0.store, &other.0.store) {
            (Store::Directory(own), Store::Directory(other)) => own.is_same(other),
            _ => Arc::ptr_eq(&self.0, &other.0),
        }
    }

    /// How it was packed.
    pub fn compression(&self) -> Compression {
        self.0.compression
    }

    /// Bytes as delivered: of the file or stream, compressed as it came; of a directory, of all files in it.
    pub fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }

    /// Bytes of the archive when nothing packs it; 0 for a directory and for an archive that was not packed, which need
    /// no place of their own.
    pub fn unpacked_bytes(&self) -> u64 {
        match &self.0.store {
            Store::Archive(bytes) if self.0.compression != Compression::None => bytes.len() as u64,
            _ => 0,
        }
    }

    /// All members, in the order of the archive (of a directory: by name, what lies in it after it), duplicates too.
    pub fn members(&self) -> &[Member] {
        &self.0.members
    }

    /// The member of exactly this normalised path; of several the last, as when tar unpacks.
    pub fn get(&self, path: &[u8]) -> Option<&Member> {
        let number = self.0.index.get(path, &self.0.members)?;
        self.0.members.get(number as usize)
    }

    /// What could not be read, or does not fit.
    pub fn issues(&self) -> &[Issue] {
        &self.0.issues
    }

    /// SHA-256 of the evidence as delivered.
    ///
    /// Of a directory it is the SHA-256 of what
    /// `find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum` prints in it: of all its files, in the
    /// order of their paths as bytes, the digest in hex, two spaces, the path, a newline. Links, devices, owners and
    /// times do not enter.
    ///
    /// # Errors
    /// The evidence cannot be read any more, or cancel.
    pub fn sha256(&self, progress: &dyn Progress) -> Result<[u8; 32], OpenError> {
        hash::sha256(self, progress)
    }
}

fn display_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    escape(path.as_os_str().as_bytes()).into_owned()
}

/// Opens any bytes, reads every member whole and in part, and looks for checkpoints: the body of the property tests and
/// of the fuzz target. Never panics, and takes memory and time in proportion to the input.
#[doc(hidden)]
pub fn fuzz_tar_index(bytes: &[u8]) {
    let mut options = OpenOptions { max_spool_bytes: 8 << 20, ..OpenOptions::default() };
    options.limits.max_owned_bytes = 1 << 20;
    let Ok(evidence) = Evidence::open_bytes("fuzz", Bytes::copy_from_slice(bytes), &options, &Silent) else { return };
    for member in evidence.members() {
        let whole = evidence.read(member);
        if let Ok(whole) = &whole {
            let part = evidence.read_range(member, 0..whole.len() as u64 / 2);
            assert!(part.is_ok_and(|part| whole.starts_with(&part)), "a part is not what the whole begins with");
        }
        if let Some(found) = evidence.get(&member.path) {
            assert_eq!(found.path, member.path);
        } else {
            panic!("a listed member is not found by its path");
        }
    }
    let _ = find_checkpoints(&evidence, &options, &Silent);
}
