//! The archive of a checkpoint that was taken in the machine: what the guest wrote, and what the original knew of the
//! container, in Podman's layout.
//!
//! What the guest wrote is as hostile as any evidence: it is opened as such, and copied member by member. The new rootfs
//! diff is the original one with what has changed since laid over it, so that both are diffs to the same base image.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::base::{Progress, Silent};
use crate::checkpoint::Checkpoint;
use crate::evidence::{Evidence, Member, MemberKind, OpenError, OpenOptions, ReadError};

/// Documents of the engine that hold for the new checkpoint as well.
const DOCUMENTS: [&str; 6] =
    ["spec.dump", "config.dump", "network.status", "deleted.files", "bind.mounts", "status.dump"];
const DIFF: &[u8] = b"rootfs-diff.tar";
const WHITEOUT: &[u8] = b".wh.";
/// Bytes read at a time.
const PIECE: u64 = 4 << 20;

/// Why there is no archive.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RefrozenError {
    /// What the guest wrote cannot be opened.
    #[error("what the machine wrote: {0}")]
    Open(#[from] OpenError),
    /// What the guest wrote, or the original, cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The archive cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The archive.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// Writes the archive to `to`, whole or not at all.
///
/// # Errors
/// See [`RefrozenError`].
pub fn write(
    original: &Checkpoint,
    scratch: &File,
    size_bytes: u64,
    to: &Path,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<(), RefrozenError> {
    let cannot = |source| RefrozenError::Write { path: to.to_owned(), source };
    progress.stage("writing the new archive");
    scratch.set_len(size_bytes).map_err(cannot)?;
    let guest = Evidence::open(Path::new(&format!("/proc/self/fd/{}", scratch.as_raw_fd())), options, &Silent)?;
    let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(dir).map_err(cannot)?;
    let mut out = tar::Builder::new(io::BufWriter::new(file));
    for name in DOCUMENTS {
        let path = join(&original.base_dir, name.as_bytes());
        if let Some(member) = original.evidence.get(&path).filter(|member| member.is_file()) {
            append(&mut out, &original.evidence, member, name.as_bytes(), to, progress)?;
        }
    }
    for member in guest.members().iter().filter(|member| !member.path.is_empty()) {
        if member.path == DIFF {
            diff(&mut out, original, &guest, member, to, options, progress)?;
        } else {
            append(&mut out, &guest, member, &member.path, to, progress)?;
        }
    }
    let buffered = out.into_inner().map_err(cannot)?;
    let file = buffered.into_inner().map_err(|error| cannot(error.into_error()))?;
    file.persist(to).map_err(|error| cannot(error.error))?;
    Ok(())
}

/// The original's changes with the new ones over them, as one member.
fn diff<W: Write>(
    out: &mut tar::Builder<W>,
    original: &Checkpoint,
    guest: &Evidence,
    member: &Member,
    to: &Path,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<(), RefrozenError> {
    let cannot = |source| RefrozenError::Write { path: to.to_owned(), source };
    let newer = guest.open_nested(member, options, progress)?;
    // Its size must be known before it is written.
    let file = tempfile::tempfile_in(options.cache_dir()?).map_err(cannot)?;
    let mut inner = tar::Builder::new(io::BufWriter::new(file));
    let replaced = Replaced::by(&newer);
    if let Some(older) = &original.rootfs.archive {
        for member in older.members().iter().filter(|member| !replaced.has(&member.path)) {
            append(&mut inner, older, member, &member.path, to, progress)?;
        }
    }
    for member in newer.members() {
        if member.kind == (MemberKind::CharDevice { major: 0, minor: 0 }) {
            // A whiteout of overlayfs, in the words of image layers.
            let name = [WHITEOUT, member.file_name()].concat();
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            put(&mut inner, &mut header, &join(member.parent(), &name), io::empty()).map_err(cannot)?;
        } else if !member.path.is_empty() {
            append(&mut inner, &newer, member, &member.path, to, progress)?;
        }
    }
    let buffered = inner.into_inner().map_err(cannot)?;
    let mut file = buffered.into_inner().map_err(|error| cannot(error.into_error()))?;
    let len = io::Seek::stream_position(&mut file).map_err(cannot)?;
    io::Seek::rewind(&mut file).map_err(cannot)?;
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(len);
    put(out, &mut header, DIFF, file).map_err(cannot)
}

/// Paths that a newer diff replaces, takes away, or hides.
struct Replaced {
    paths: HashSet<Vec<u8>>,
    directories: HashSet<Vec<u8>>,
}

impl Replaced {
    fn by(newer: &Evidence) -> Replaced {
        let (mut paths, mut directories) = (HashSet::new(), HashSet::new());
        for member in newer.members() {
            let is_opaque = member.xattrs.iter().any(|(name, _)| &**name == b"trusted.overlay.opaque");
            if is_opaque || !member.is_dir() {
                directories.insert(member.path.clone());
            }
            paths.insert(member.path.clone());
        }
        Replaced { paths, directories }
    }

    fn has(&self, path: &[u8]) -> bool {
        let parents = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').filter_map(|(at, _)| path.get(..at));
        self.paths.contains(path) || parents.into_iter().any(|parent| self.directories.contains(parent))
    }
}

/// Copies a member under a name.
fn append<W: Write>(
    out: &mut tar::Builder<W>,
    evidence: &Evidence,
    member: &Member,
    name: &[u8],
    to: &Path,
    progress: &dyn Progress,
) -> Result<(), RefrozenError> {
    let cannot = |source| RefrozenError::Write { path: to.to_owned(), source };
    let mut header = tar::Header::new_gnu();
    header.set_mode(member.mode & 0o7777);
    header.set_uid(member.uid);
    header.set_gid(member.gid);
    header.set_mtime(member.mtime.and_then(|time| u64::try_from(time).ok()).unwrap_or_default());
    let mut link: Option<&[u8]> = None;
    let entry_type = match &member.kind {
        MemberKind::File => {
            header.set_size(member.available_bytes());
            tar::EntryType::Regular
        }
        MemberKind::Directory => tar::EntryType::Directory,
        MemberKind::Symlink { target } => {
            link = Some(target);
            tar::EntryType::Symlink
        }
        MemberKind::HardLink { target } => {
            link = Some(target);
            tar::EntryType::Link
        }
        MemberKind::CharDevice { major, minor } | MemberKind::BlockDevice { major, minor } => {
            header.set_device_major(*major).and_then(|()| header.set_device_minor(*minor)).map_err(cannot)?;
            let is_char = matches!(member.kind, MemberKind::CharDevice { .. });
            if is_char { tar::EntryType::Char } else { tar::EntryType::Block }
        }
        MemberKind::Fifo => tar::EntryType::Fifo,
        // tar has no sockets, and what is of no known type cannot be told.
        MemberKind::Socket | MemberKind::Other(_) => return Ok(()),
    };
    header.set_entry_type(entry_type);
    match link {
        Some(target) => out.append_link(&mut header, os_path(name), os_path(target)).map_err(cannot),
        None => {
            let content = Content { evidence, member, at: 0, piece: bytes::Bytes::new(), progress };
            put(out, &mut header, name, content).map_err(cannot)
        }
    }
}

fn put<W: Write>(
    out: &mut tar::Builder<W>,
    header: &mut tar::Header,
    name: &[u8],
    content: impl Read,
) -> io::Result<()> {
    out.append_data(header, os_path(name), content)
}

fn os_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// The content of a member, in pieces.
struct Content<'a> {
    evidence: &'a Evidence,
    member: &'a Member,
    at: u64,
    piece: bytes::Bytes,
    progress: &'a dyn Progress,
}

impl Read for Content<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.member.is_file() {
            return Ok(0);
        }
        if self.piece.is_empty() {
            self.progress.step(self.at, None).map_err(io::Error::other)?;
            let end = self.member.available_bytes().min(self.at.saturating_add(PIECE));
            self.piece = self.evidence.read_range(self.member, self.at..end).map_err(io::Error::other)?;
            self.at = end;
        }
        let len = into.len().min(self.piece.len());
        let taken = self.piece.split_to(len);
        if let Some(into) = into.get_mut(..len) {
            into.copy_from_slice(&taken);
        }
        Ok(len)
    }
}
