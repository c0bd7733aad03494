//! What a container has changed in its root file system, as an archive of its own: the topmost layer of its overlay, while the
//! container goes on.
//!
//! A directory that hides what the image had in it gets a file `.wh..wh..opq`, as in layers of images, if the agent may see that
//! mark of the kernel (CAP_SYS_ADMIN). Names that were removed are a list, as Podman and CRI-O have it. A file that changes or goes away while it is read is told; so is one that is left out
//! since it is longer than it takes room (of such a container may make as many terabytes as it likes).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, statat};
use serde_json::Value;

use super::problem::{Failure, Outcome};
use super::rootfs;

/// Paths of Linux are not deeper.
const MAX_DEPTH: usize = 2048;
/// Names in all.
const MAX_NAMES: usize = 2_000_000;
/// Removed names in the list; more stand in the archive, as the layer has them.
const MAX_DELETED: usize = 200_000;
/// Things that are noted as not read.
const MAX_NOTES: usize = 100;
/// A file with holes may be so long.
const MAX_SPARSE_BYTES: u64 = 1 << 30;

/// Of what was written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Paths that were removed, without a slash before them.
    pub deleted: Vec<String>,
    /// What could not be read, in words.
    pub not_read: Vec<String>,
    /// Names that were looked at.
    pub n_names: usize,
}

/// Opens the directory of a container's changes: where Docker says that it is, or else the mount table of its root process.
///
/// # Errors
/// There is no overlay, or its directory lies where no engine keeps one.
pub fn open(inspected: &Value, pid: Option<u32>) -> Outcome<OwnedFd> {
    let said = inspected.pointer("/GraphDriver/Data/UpperDir").and_then(Value::as_str).map(PathBuf::from);
    let gone = || Failure::new(409, "container-not-running", "the container has no process to find its changes by");
    let upper = match said {
        Some(upper) => upper,
        None => rootfs::upper(pid.ok_or_else(gone)?)?,
    };
    let opened = rootfs::open(&[rootfs::checked(&upper)?]);
    let failed =
        |error: io::Error| Failure::new(502, "no-rootfs", "the changes cannot be opened").detail(error.to_string());
    opened.map_err(failed)?.pop().ok_or_else(gone)
}

/// Writes the changes as a tar.
///
/// # Errors
/// The tar cannot be written, or there are more names than are taken.
pub fn write(upper: OwnedFd, out: &mut dyn Write) -> io::Result<Changes> {
    let mut tar = tar::Builder::new(out);
    let mut links = HashMap::new();
    let mut changes = Changes::default();
    changes.not_read.extend(rootfs::unseen_marks().map(|why| format!("changed files: {why}")));
    // Opened when their turn comes: a container may have more directories than a program descriptors.
    let mut waiting = vec![(PathBuf::new(), Rc::new(upper), None::<Vec<u8>>, 0)];
    while let Some((path, above, name, depth)) = waiting.pop() {
        let opened = match name {
            None => Ok(above),
            Some(_) if MAX_DEPTH < depth => Err(io::Error::other("is nested deeper than Linux allows")),
            Some(name) => rootfs::open_below(&above, &name, OFlags::DIRECTORY).map(Rc::new),
        };
        let dir = match opened {
            Ok(dir) => dir,
            Err(error) => {
                changes.note(&path, error);
                continue;
            }
        };
        for (name, stat) in changes.names(&path, &dir)? {
            let path = path.join(OsStr::from_bytes(&name));
            let kind = FileType::from_raw_mode(stat.st_mode);
            if changes.takes_as_deleted(&path, kind, &stat) || changes.leaves_out(&path, kind, &stat) {
                continue;
            }
            if let Some(error) = rootfs::write_entry(&mut tar, &path, &name, &stat, &dir, &mut links)? {
                changes.note(&path, error);
            } else if kind == FileType::Directory {
                let is_opaque = rootfs::is_opaque(&dir, &name);
                if matches!(is_opaque, Ok(true)) {
                    mark_opaque(&mut tar, &path)?;
                }
                waiting.push((path, Rc::clone(&dir), Some(name), depth + 1));
            }
        }
    }
    tar.into_inner()?.flush()?;
    Ok(changes)
}

impl Changes {
    /// The names of a directory in their order.
    fn names(&mut self, path: &Path, dir: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Stat)>> {
        let entries = match Dir::read_from(dir) {
            Ok(entries) => entries,
            Err(error) => {
                self.note(path, io::Error::from(error));
                return Ok(Vec::new());
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.note(path, io::Error::from(error));
                    break;
                }
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            self.n_names += 1;
            if MAX_NAMES < self.n_names {
                return Err(io::Error::other(format!("more than {MAX_NAMES} files were changed")));
            }
            match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => names.push((name.to_vec(), stat)),
                Err(error) => self.note(&path.join(OsStr::from_bytes(name)), io::Error::from(error)),
            }
        }
        names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(names)
    }

    /// A device 0:0 stands where a name was removed.
    fn takes_as_deleted(&mut self, path: &Path, kind: FileType, stat: &Stat) -> bool {
        let Some(path) = path.to_str() else { return false };
        let is_taken = kind == FileType::CharacterDevice && stat.st_rdev == 0 && self.deleted.len() < MAX_DELETED;
        if is_taken {
            self.deleted.push(path.to_owned());
        }
        is_taken
    }

    fn leaves_out(&mut self, path: &Path, kind: FileType, stat: &Stat) -> bool {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let taken = u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512);
        let is_hollow = kind == FileType::RegularFile && MAX_SPARSE_BYTES < size && taken < size / 2;
        if is_hollow {
            self.note(path, format!("left out: its {size} bytes are holes but for {taken}"));
        }
        is_hollow
    }

    fn note(&mut self, path: &Path, what: impl std::fmt::Display) {
        if self.not_read.len() < MAX_NOTES {
            self.not_read.push(format!("changed file /{}: {what}", path.display()));
        } else if self.not_read.len() == MAX_NOTES {
            self.not_read.push("more changed files".to_owned());
        }
    }
}

fn mark_opaque(tar: &mut tar::Builder<&mut dyn Write>, dir: &Path) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o600);
    header.set_mtime(0);
    tar.append_data(&mut header, dir.join(".wh..wh..opq"), io::empty())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes files")]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use rustix::fs::{CWD, Mode};

    use super::*;

    /// An overlay's directory of changes.
    fn upper() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let upper = dir.path().join("overlay2/abc/diff");
        std::fs::create_dir_all(&upper).unwrap();
        (dir, upper)
    }

    fn inspected(upper: &Path) -> Value {
        serde_json::json!({"GraphDriver": {"Data": {"UpperDir": upper}}})
    }

    #[test]
    fn changed_files_are_packed_and_removed_names_listed() {
        let (_dir, upper) = upper();
        std::fs::create_dir_all(upper.join("etc/deep")).unwrap();
        for (name, text) in [("note", "changed"), ("etc/deep/file", "x")] {
            std::fs::write(upper.join(name), text).unwrap();
        }
        std::fs::hard_link(upper.join("note"), upper.join("zweit")).unwrap();
        std::os::unix::fs::symlink("/etc/shadow", upper.join("link")).unwrap();
        std::fs::File::create(upper.join("etc/hollow")).unwrap().set_len(MAX_SPARSE_BYTES + 1).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            rustix::fs::mknodat(CWD, upper.join("etc/gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        }
        let mut bytes = Vec::new();
        let changes = write(open(&inspected(&upper), None).unwrap(), &mut bytes).unwrap();
        assert_eq!(changes.deleted, if is_root { vec!["etc/gone".to_owned()] } else { Vec::new() });
        assert!(changes.not_read[0].contains("/etc/hollow: left out") && changes.not_read.len() == 1, "{changes:?}");
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.insert(name, (entry.header().entry_type(), text));
        }
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["etc", "etc/deep", "etc/deep/file", "link", "note", "zweit"]);
        assert_eq!(found["note"].1, "changed");
        assert_eq!([found["zweit"].0, found["link"].0], [tar::EntryType::Link, tar::EntryType::Symlink]);
    }

    #[test]
    fn directory_that_is_no_layer_is_not_read_whatever_is_said() {
        let (dir, upper) = upper();
        assert!(open(&inspected(&upper), None).is_ok());
        std::os::unix::fs::symlink("/etc", dir.path().join("overlay2/abc/link")).unwrap();
        for bad in [Path::new("/etc"), Path::new("/"), &dir.path().join("overlay2/abc/link"), &upper.join("../..")] {
            assert!(open(&inspected(bad), None).is_err(), "{}", bad.display());
        }
        assert_eq!(open(&Value::Null, None).unwrap_err().problem.code, "container-not-running");
    }
}
