//! Evidence that is a directory: listed without following a link, read when asked for.
//!
//! Every path is opened part by part below the root, each without following links, so that nothing outside is read even
//! when somebody swaps a directory for a link meanwhile. Access times stay as they are where the system allows it (on
//! Linux: files of the user, or anything as root). Pipes, sockets and devices are listed and never opened.
//!
//! A file is read as it is at that time. Large files are mapped, see [`super::map`] for what that means when others
//! change them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

use crate::base::{Limits, Place, Progress, escape};

use super::issues::IssueLog;
use super::map::Mapped;
use super::member::{Content, Member, MemberKind, join, normalise, parent};
use super::path_index::PathIndex;
use super::{OpenError, ReadError};

/// Files up to this size are read, larger ones are mapped and stay mapped.
const MAX_READ_BYTES: u64 = 64 << 10;

/// An open directory whose files can be read.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    /// Maps of large files, by number of the member.
    maps: Vec<OnceLock<Bytes>>,
}

/// What lies in a directory.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) root: Root,
    pub(super) members: Vec<Member>,
    pub(super) index: PathIndex,
    pub(super) issues: IssueLog,
    /// Sum of the sizes of all files.
    pub(super) size_bytes: u64,
}

/// Lists a directory and all below it, each directory in the order of its names.
///
/// # Errors
/// The directory itself cannot be opened, or cancel. What cannot be read below it is an issue.
pub(super) fn list(path: &Path, limits: &Limits, progress: &dyn Progress) -> Result<Listing, OpenError> {
    let root = open_dir(CWD, path, true).map_err(|errno| OpenError::from_io(path, errno.into()))?;
    list_open(root, path, limits, true, progress)
}

/// Lists an open directory; without `goes_deeper` what lies in its directories is left out.
fn list_open(
    root: OwnedFd,
    path: &Path,
    limits: &Limits,
    goes_deeper: bool,
    progress: &dyn Progress,
) -> Result<Listing, OpenError> {
    progress.stage("listing the directory");
    let name = super::display_path(path);
    let mut issues = IssueLog::new(limits.max_issues_per_img);
    let mut members: Vec<Member> = Vec::new();
    let mut index = PathIndex::default();
    let mut size_bytes = 0_u64;
    // Directories still to be read: the last one first.
    let mut waiting: Vec<(Vec<u8>, usize)> = vec![(Vec::new(), 0)];
    while let Some((dir, depth)) = waiting.pop() {
        progress.step(members.len() as u64, None)?;
        let place = || Place::member(if dir.is_empty() { name.clone() } else { escape(&dir).into_owned() });
        let entries = read_dir(&root, &dir, limits.max_members.saturating_sub(members.len()));
        let (fd, entries, is_whole) = match entries {
            Ok(entries) => entries,
            Err(error) if dir.is_empty() => return Err(OpenError::from_io(path, error)),
            Err(error) => {
                issues.add("directory that cannot be read", || (place(), format!("directory cannot be read: {error}")));
                continue;
            }
        };
        if !is_whole {
            let what = format!("more than {} entries are not listed", limits.max_members);
            issues.add("too many members", || (place(), what));
        }
        let mut below = Vec::new();
        for entry in entries {
            let path = join(&dir, &entry);
            let stat = match rustix::fs::statat(&fd, entry.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(errno) => {
                    let place = Place::member(escape(&path));
                    issues.add("entry that cannot be read", || (place, format!("cannot be read: {errno}")));
                    continue;
                }
            };
            let target = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    rustix::fs::readlinkat(&fd, entry.as_slice(), Vec::new()).map(|link| link.into_bytes())
                }
                _ => Ok(Vec::new()),
            };
            let target = target.unwrap_or_else(|errno| {
                let place = Place::member(escape(&path));
                issues.add("entry that cannot be read", || (place, format!("link cannot be read: {errno}")));
                Vec::new()
            });
            let member = member(path, &stat, target, members.len());
            match &member.kind {
                MemberKind::Directory if !goes_deeper => {}
                MemberKind::Directory if depth < limits.max_nesting => below.push((member.path.clone(), depth + 1)),
                MemberKind::Directory => {
                    let what = format!("deeper than {} directories; what lies in it is not listed", limits.max_nesting);
                    issues.add("too deep", || (member.place(), what));
                }
                MemberKind::Symlink { target }
                    if normalise(&join(parent(&member.path), target)).1 || target.starts_with(b"/") =>
                {
                    let what = format!("symbolic link out of the directory, to {}", escape(target));
                    issues.add("link that leaves the directory", || (member.place(), what));
                }
                _ => {}
            }
            if member.is_file() {
                size_bytes = size_bytes.saturating_add(member.size_bytes);
            }
            members.push(member);
            index.add_last(&members);
        }
        waiting.extend(below.into_iter().rev());
    }
    let maps = members.iter().map(|_| OnceLock::new()).collect();
    Ok(Listing { root: Root { fd: root, maps }, members, index, issues, size_bytes })
}

impl Root {
    /// Lists a directory beside this one, without what lies deeper. `below` is its path from the directory above on, no
    /// part of which may be a link; `path` is what it is called.
    ///
    /// # Errors
    /// It is not there, is no directory, may not be read, or cancel.
    pub(super) fn list_beside(
        &self,
        below: &[u8],
        path: &Path,
        limits: &Limits,
        progress: &dyn Progress,
    ) -> Result<Listing, OpenError> {
        let opened = open_dir(self.fd.as_fd(), c"..", false).and_then(|above| walk_to(&above, below));
        let root = opened.map_err(|errno| OpenError::from_io(path, errno.into()))?;
        let Some(root) = root else { return Err(OpenError::NotFound { path: path.to_owned() }) };
        list_open(root, path, limits, false, progress)
    }

    /// Whether it is the same directory as another one.
    pub(super) fn is_same(&self, other: &Root) -> bool {
        let id = |root: &Root| rustix::fs::fstat(&root.fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
        id(self).is_some_and(|own| id(other) == Some(own))
    }

    /// The bytes of a file, at most as many as it had when it was listed.
    ///
    /// # Errors
    /// It is gone, is no file any more, or may not be read.
    pub(super) fn read(&self, member: &Member, limits: &Limits) -> Result<Bytes, ReadError> {
        let io_error = |source| ReadError::Io { member: member.display_path().into_owned(), source };
        let map = self.maps.get(member.index as usize);
        if let Some(bytes) = map.and_then(OnceLock::get) {
            return Ok(bytes.clone());
        }
        let dir = walk_to(&self.fd, member.parent()).map_err(|errno| io_error(errno.into()))?;
        let dir = dir.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd);
        let file = open_file(dir, member.file_name()).map_err(|errno| io_error(errno.into()))?;
        let meta = file.metadata().map_err(io_error)?;
        if !meta.is_file() {
            return Err(io_error(io::Error::other("it is no regular file any more")));
        }
        let len = meta.len().min(member.size_bytes);
        if len <= MAX_READ_BYTES {
            return read_to_end(file, len).map_err(io_error);
        }
        match Mapped::new(&file) {
            Ok(mapped) => {
                let mut bytes = mapped.into_bytes();
                bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
                // Another thread may have been faster; both maps show the same.
                Ok(map.map_or(bytes.clone(), |map| map.get_or_init(|| bytes).clone()))
            }
            // Some file systems cannot map.
            Err(_) if len <= limits.max_owned_bytes => read_to_end(file, len).map_err(io_error),
            Err(source) => Err(io_error(source)),
        }
    }
}

/// A file opened for reading, without following a link, waiting for a pipe, or changing its access time.
pub(super) fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    open_quietly(dir, name, flags).map(File::from)
}

/// A file that the analyst named, so a link at its end is followed.
pub(super) fn open_named_file(path: &Path) -> io::Result<File> {
    Ok(open_quietly(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC)?.into())
}

fn open_dir<P: rustix::path::Arg + Copy>(dir: BorrowedFd<'_>, path: P, follows: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if !follows {
        flags |= OFlags::NOFOLLOW;
    }
    open_quietly(dir, path, flags)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_quietly<P: rustix::path::Arg + Copy>(
    dir: BorrowedFd<'_>,
    path: P,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    match rustix::fs::openat(dir, path, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner may leave the access time alone.
        Err(rustix::io::Errno::PERM) => rustix::fs::openat(dir, path, flags, Mode::empty()),
        result => result,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn open_quietly<P: rustix::path::Arg + Copy>(
    dir: BorrowedFd<'_>,
    path: P,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, path, flags, Mode::empty())
}

/// Opens a directory below `root`, part by part; `None` is `root` itself.
fn walk_to(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<Option<OwnedFd>> {
    let mut at: Option<OwnedFd> = None;
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        let dir = at.as_ref().map_or(root.as_fd(), AsFd::as_fd);
        at = Some(open_dir(dir, part, false)?);
    }
    Ok(at)
}

/// The open directory, its names in order, and whether these are all.
fn read_dir(root: &OwnedFd, path: &[u8], max: usize) -> io::Result<(OwnedFd, Vec<Vec<u8>>, bool)> {
    let fd = match walk_to(root, path)? {
        Some(fd) => fd,
        None => open_dir(root.as_fd(), c".", false)?,
    };
    let mut names = Vec::new();
    let mut is_whole = true;
    for entry in Dir::read_from(&fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if max <= names.len() {
            is_whole = false;
            break;
        }
        names.push(name.to_vec());
    }
    names.sort_unstable();
    Ok((fd, names, is_whole))
}

fn member(path: Vec<u8>, stat: &Stat, target: Vec<u8>, number: usize) -> Member {
    let file_type = FileType::from_raw_mode(stat.st_mode);
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let kind = match file_type {
        FileType::RegularFile => MemberKind::File,
        FileType::Directory => MemberKind::Directory,
        FileType::Symlink => MemberKind::Symlink { target },
        FileType::CharacterDevice => MemberKind::CharDevice { major, minor },
        FileType::BlockDevice => MemberKind::BlockDevice { major, minor },
        FileType::Fifo => MemberKind::Fifo,
        FileType::Socket => MemberKind::Socket,
        _ => MemberKind::Other(0),
    };
    let is_file = kind == MemberKind::File;
    Member {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid.into(),
        gid: stat.st_gid.into(),
        mtime: Some(stat.st_mtime),
        mtime_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        size_bytes: if is_file { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
        xattrs: Box::default(),
        truncated: None,
        leaves_tree: false,
        index: u32::try_from(number).unwrap_or(u32::MAX),
        content: if is_file { Content::OnDisk } else { Content::None },
    }
}

fn read_to_end(file: File, len: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(usize::try_from(len.min(MAX_READ_BYTES)).unwrap_or(0));
    file.take(len).read_to_end(&mut bytes)?;
    Ok(Bytes::from(bytes))
}
