//! The container's base root file system as a tar: the layers of its image joined, without what the container changed, so that
//! a restore is possible later.
//!
//! The layers stand in the mount table of the container's root process (overlay, `lowerdir=`), the topmost first. They are read
//! only where engines keep layers: a container with the right to mount could name any directory there. Directories are joined as
//! the kernel does: a device 0:0 hides what is below its name, the attribute `trusted.overlay.opaque` all that is below a
//! directory. No link is followed. Extended attributes are left out.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fgetxattr, fstat, openat, openat2, readlinkat,
    statat,
};

use super::disk;
use super::problem::{Failure, Outcome};
use super::processes::{self, proc_file};

const MAX_MOUNTINFO_BYTES: u64 = 8 << 20;
/// The node's root, in a pod with hostPID.
const HOST: &str = "/proc/1/root";
/// The kernel itself takes no more layers.
const MAX_LAYERS: usize = 500;
/// Paths of Linux are not deeper.
const MAX_DEPTH: usize = 2048;
/// Names of one directory, and files with several names, that are kept in memory.
const MAX_NAMES: usize = 1_000_000;

/// Directories of the image's layers, the topmost first.
///
/// # Errors
/// The root file system is no overlay, or a layer lies where no engine keeps one.
pub fn layers(pid: u32) -> Outcome<Vec<PathBuf>> {
    let named = root_overlay(pid)?.lower;
    if MAX_LAYERS < named.len() {
        return Err(Failure::new(502, "no-rootfs", "the container's root has more layers than a kernel takes"));
    }
    named.iter().map(|path| checked(path)).collect()
}

/// The directory of what the container has changed, as its mount table names it.
///
/// # Errors
/// The root file system is no overlay.
pub(super) fn upper(pid: u32) -> Outcome<PathBuf> {
    root_overlay(pid)?.upper.ok_or_else(|| Failure::new(409, "no-rootfs", "the container cannot change its root"))
}

fn root_overlay(pid: u32) -> Outcome<Overlay> {
    let unreadable = |error: io::Error| {
        Failure::new(409, "no-rootfs", "the mounts of the container cannot be read").detail(error.to_string())
    };
    let mounts = disk::read_named(&proc_file(pid, "mountinfo"), MAX_MOUNTINFO_BYTES).map_err(unreadable)?;
    overlay(&mounts).ok_or_else(|| {
        Failure::new(501, "no-overlay", "the container's root is not an overlay of layers")
            .hint("save its image with the engine (`podman save`, `docker save`, `ctr images export`) instead")
    })
}

/// A layer, by its real path, if it is one. In a pod the node's files are seen through process 1.
pub(super) fn checked(path: &Path) -> Outcome<PathBuf> {
    let real = path.canonicalize().or_else(|_not_here| in_host(path));
    let real = real.map_err(|error| {
        Failure::new(502, "no-rootfs", "a layer of the container cannot be reached")
            .detail(format!("{}: {error}", path.display()))
            .hint("in a pod the agent needs hostPID, and the capability SYS_PTRACE; layers of a container with mapped ids are seen by its engine alone: save its image there")
    })?;
    let parts: Vec<&str> = real.components().filter_map(|part| part.as_os_str().to_str()).collect();
    // overlay/ID/diff of containers/storage and Docker; snapshots/N/fs of containerd.
    let is_layer = match parts.as_slice() {
        [.., "overlay" | "overlay2", _, "diff"] => true,
        [.., snapshotter, "snapshots", _, "fs"] => snapshotter.starts_with("io.containerd.snapshotter.v1."),
        _ => false,
    };
    let elsewhere = || {
        Failure::new(502, "no-rootfs", "a layer of the container lies where no engine keeps one, and is not read")
            .detail(real.display().to_string())
    };
    is_layer.then(|| real.clone()).ok_or_else(elsewhere)
}

/// The real path of a directory of the node, in front of it where the node's root is for us. Links in it are those of the node:
/// the kernel follows them there, realpath(3) would follow them here.
fn in_host(path: &Path) -> io::Result<PathBuf> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, HOST, flags, Mode::empty())?;
    let dir = openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let real = readlinkat(CWD, format!("/proc/self/fd/{}", dir.as_raw_fd()), Vec::new())?;
    let real = Path::new(OsStr::from_bytes(real.to_bytes()));
    Ok(Path::new(HOST).join(real.strip_prefix("/").unwrap_or(real)))
}

/// Directories of an overlay.
#[derive(Debug, PartialEq)]
struct Overlay {
    lower: Vec<PathBuf>,
    upper: Option<PathBuf>,
}

/// `lowerdir` and `upperdir` of the overlay that is mounted at `/`.
fn overlay(mountinfo: &[u8]) -> Option<Overlay> {
    let line = mountinfo.split(|byte| *byte == b'\n').find(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let is_root = fields.nth(4) == Some(b"/");
        is_root && after(line, b" - ").is_some_and(|rest| rest.starts_with(b"overlay "))
    })?;
    let options = after(line, b" - ")?.split(|byte| *byte == b' ').nth(2)?;
    let options = split_unescaped(&octal(options), b',');
    let option = |name: &[u8]| options.iter().find_map(|option| option.strip_prefix(name).map(<[u8]>::to_vec));
    // Relative ones are beside the layers: STORAGE/overlay/l/…, with STORAGE/overlay/ID/diff on top.
    let upper = option(b"upperdir=").map(|upper| PathBuf::from(OsStr::from_bytes(&upper)));
    let base = upper.as_deref().and_then(Path::parent).and_then(Path::parent);
    let absolute = |dir: &Vec<u8>| {
        let dir = Path::new(OsStr::from_bytes(dir)).to_owned();
        if dir.is_absolute() { dir } else { base.map(|base| base.join(&dir)).unwrap_or(dir) }
    };
    let lower = split_unescaped(&option(b"lowerdir=")?, b':').iter().map(absolute).collect();
    Some(Overlay { lower, upper })
}

fn after<'a>(line: &'a [u8], separator: &[u8]) -> Option<&'a [u8]> {
    let at = line.windows(separator.len()).position(|window| window == separator)?;
    line.get(at + separator.len()..)
}

/// The mount table writes spaces and such as `\040`.
fn octal(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, more)) = rest.split_first() {
        let digits =
            more.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match digits {
            Some(digits) => {
                out.push(digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &more[3..];
            }
            None => {
                out.push(*first);
                rest = more;
            }
        }
    }
    out
}

/// Overlay writes its separators within names with a backslash before them.
fn split_unescaped(bytes: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut is_escaped = false;
    for byte in bytes {
        let last = parts.len() - 1;
        if is_escaped {
            if *byte != separator && *byte != b'\\' {
                parts[last].push(b'\\');
            }
            parts[last].push(*byte);
            is_escaped = false;
        } else if *byte == b'\\' {
            is_escaped = true;
        } else if *byte == separator {
            parts.push(Vec::new());
        } else {
            parts[last].push(*byte);
        }
    }
    parts
}

/// Opens the layers.
///
/// # Errors
/// One cannot be opened.
pub fn open(layers: &[PathBuf]) -> io::Result<Vec<OwnedFd>> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    layers.iter().map(|path| Ok(openat(CWD, path, flags, Mode::empty())?)).collect()
}

/// Writes the joined layers as a tar.
///
/// # Errors
/// A file cannot be read, or the tar not be written: it is broken then, and not to be used.
pub fn write(layers: Vec<OwnedFd>, out: &mut dyn Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(out);
    let mut links = HashMap::new();
    // Opened when their turn comes: an image may have more directories than a program descriptors.
    let mut waiting = vec![(PathBuf::new(), Rc::new(layers), None::<(Vec<u8>, Vec<usize>)>, 0)];
    while let Some((path, above, below, depth)) = waiting.pop() {
        if MAX_DEPTH < depth {
            return Err(io::Error::other("directories are nested deeper than Linux allows"));
        }
        let dirs = match below {
            None => above,
            Some((name, layers)) => Rc::new(open_all_below(&above, &name, &layers)?),
        };
        for (name, found) in joined(&dirs)? {
            let path = path.join(OsStr::from_bytes(&name));
            if let Some((stat, layer)) = found.top()
                && let Some(failed) = write_entry(&mut tar, &path, &name, stat, &dirs[layer], &mut links)?
            {
                return Err(io::Error::new(failed.kind(), format!("{}: {failed}", path.display())));
            }
            if let Found::Dir { layers, .. } = found {
                waiting.push((path, Rc::clone(&dirs), Some((name, layers)), depth + 1));
            }
        }
    }
    tar.into_inner()?.flush()
}

/// The directories of one name, in the layers that have it.
fn open_all_below(dirs: &[OwnedFd], name: &[u8], layers: &[usize]) -> io::Result<Vec<OwnedFd>> {
    layers.iter().map(|layer| open_below(&dirs[*layer], name, OFlags::DIRECTORY)).collect()
}

/// What is at a name, and of which layers.
enum Found {
    Dir { stat: Stat, layers: Vec<usize>, is_closed: bool },
    Other { stat: Stat, layer: usize },
    Hidden,
}

impl Found {
    /// As the topmost layer has it, and which one that is.
    fn top(&self) -> Option<(&Stat, usize)> {
        match self {
            Found::Dir { stat, layers, .. } => Some((stat, layers.first().copied().unwrap_or_default())),
            Found::Other { stat, layer } => Some((stat, *layer)),
            Found::Hidden => None,
        }
    }
}

fn joined(dirs: &[OwnedFd]) -> io::Result<BTreeMap<Vec<u8>, Found>> {
    let mut names = BTreeMap::<Vec<u8>, Found>::new();
    for (layer, dir) in dirs.iter().enumerate() {
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if MAX_NAMES <= names.len() {
                return Err(io::Error::other("a directory has more names than are taken"));
            }
            let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(stat.st_mode);
            let is_opaque = || is_opaque(dir, name);
            match names.get_mut(name) {
                None => {
                    let found = match kind {
                        FileType::CharacterDevice if stat.st_rdev == 0 => Found::Hidden,
                        FileType::Directory => Found::Dir { stat, layers: vec![layer], is_closed: is_opaque()? },
                        _ => Found::Other { stat, layer },
                    };
                    names.insert(name.to_vec(), found);
                }
                Some(Found::Dir { layers, is_closed, .. }) if !*is_closed => {
                    if kind == FileType::Directory {
                        layers.push(layer);
                        *is_closed = is_opaque()?;
                    } else {
                        *is_closed = true;
                    }
                }
                Some(_) => {}
            }
        }
    }
    names.retain(|_, found| !matches!(found, Found::Hidden));
    Ok(names)
}

/// Why layers cannot be joined rightly here: the kernel shows the mark of a directory that hides what is below it to nobody else.
pub fn unseen_marks() -> Option<&'static str> {
    const CAP_SYS_ADMIN: u32 = 21;
    (!processes::has_capability(CAP_SYS_ADMIN)).then_some(
        "which directories replace those of layers below cannot be seen (the agent lacks CAP_SYS_ADMIN): there may be files that the container does not show",
    )
}

pub(super) fn is_opaque(dir: &OwnedFd, name: &[u8]) -> io::Result<bool> {
    let dir = open_below(dir, name, OFlags::DIRECTORY)?;
    let mut value = [0_u8; 4];
    Ok(matches!(fgetxattr(&dir, "trusted.overlay.opaque", &mut value), Ok(1) if value[0] == b'y'))
}

/// Opens what lies directly in a directory, through no link and on no other file system.
pub(super) fn open_below(dir: &OwnedFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(openat2(dir, name, flags, Mode::empty(), resolve)?)
}

/// So many bytes of a file, whatever becomes of it: zeros stand for what cannot be read.
struct Exact {
    file: File,
    left: u64,
    failed: Option<io::Error>,
}

impl Read for Exact {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let buf = &mut buf[..wanted];
        let n = match if self.failed.is_none() { self.file.read(buf) } else { Ok(0) } {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Ok(n) if 0 < n || wanted == 0 => n,
            read => {
                let short = || io::Error::other("became shorter while it was read");
                self.failed.get_or_insert(read.err().unwrap_or_else(short));
                buf.fill(0);
                wanted
            }
        };
        self.left -= n as u64;
        Ok(n)
    }
}

/// Opens an ordinary file. What it is, is looked at before: to open a device may do something.
fn open_file(dir: &OwnedFd, name: &[u8]) -> io::Result<File> {
    let seen = open_below(dir, name, OFlags::PATH)?;
    if FileType::from_raw_mode(fstat(&seen)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("is no ordinary file any more"));
    }
    let path = format!("/proc/self/fd/{}", seen.as_raw_fd());
    Ok(File::from(openat(CWD, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?))
}

/// Writes what is at a name of a layer. What is given is why it could not be read: then it is left out, or has zeros.
///
/// # Errors
/// The tar cannot be written.
pub(super) fn write_entry(
    tar: &mut tar::Builder<&mut dyn Write>,
    path: &Path,
    name: &[u8],
    stat: &Stat,
    dir: &OwnedFd,
    links: &mut HashMap<(u64, u64), PathBuf>,
) -> io::Result<Option<io::Error>> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(u64::from(stat.st_uid));
    header.set_gid(u64::from(stat.st_gid));
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    header.set_size(0);
    let kind = FileType::from_raw_mode(stat.st_mode);
    match kind {
        FileType::RegularFile => {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = links.get(&inode) {
                header.set_entry_type(tar::EntryType::Link);
                tar.append_link(&mut header, path, first)?;
                return Ok(None);
            }
            let opened = open_file(dir, name).and_then(|file| file.metadata().map(|found| (file, found.len())));
            let (file, size) = match opened {
                Ok(opened) => opened,
                Err(error) => return Ok(Some(error)),
            };
            header.set_size(size);
            let mut exact = Exact { file, left: size, failed: None };
            tar.append_data(&mut header, path, &mut exact)?;
            if 1 < stat.st_nlink && links.len() < MAX_NAMES {
                links.insert(inode, path.to_owned());
            }
            return Ok(exact.failed);
        }
        FileType::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, path, io::empty())?;
        }
        FileType::Symlink => {
            header.set_entry_type(tar::EntryType::Symlink);
            match readlinkat(dir, name, Vec::new()) {
                Ok(target) => tar.append_link(&mut header, path, OsStr::from_bytes(target.to_bytes()))?,
                Err(error) => return Ok(Some(error.into())),
            }
        }
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo => {
            header.set_entry_type(match kind {
                FileType::CharacterDevice => tar::EntryType::Char,
                FileType::BlockDevice => tar::EntryType::Block,
                _ => tar::EntryType::Fifo,
            });
            header.set_device_major(rustix::fs::major(stat.st_rdev))?;
            header.set_device_minor(rustix::fs::minor(stat.st_rdev))?;
            tar.append_data(&mut header, path, io::empty())?;
        }
        // Sockets are made anew by who listens.
        _ => {}
    }
    Ok(None)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes files")]
mod tests {
    use super::*;

    #[test]
    fn layers_stand_in_the_mount_table_absolute_or_beside_the_upper_one() {
        let line = |options: &str| {
            format!("30 29 0:26 / /proc rw - proc proc rw\n31 28 0:27 / / rw,relatime - overlay overlay rw,{options}\n")
        };
        let dirs = |options: &str| overlay(line(options).as_bytes()).unwrap().lower;
        assert_eq!(
            dirs("lowerdir=/s/overlay/a/diff:/s/overlay/b\\134:c\\040d/diff,upperdir=/s/overlay/u/diff,workdir=/w"),
            [Path::new("/s/overlay/a/diff"), Path::new("/s/overlay/b:c d/diff")]
        );
        assert_eq!(
            dirs("lowerdir=l/A:l/B,upperdir=/s/overlay/u/diff"),
            [Path::new("/s/overlay/l/A"), Path::new("/s/overlay/l/B")]
        );
        assert_eq!(overlay(b"31 28 0:27 / / rw - ext4 /dev/vda rw\n"), None);
        let upper = |options: &str| overlay(line(options).as_bytes()).unwrap().upper;
        assert_eq!(upper("lowerdir=l/A,upperdir=/s/overlay/u/diff"), Some("/s/overlay/u/diff".into()));
        assert_eq!(upper("lowerdir=/a:/b"), None);
    }

    #[test]
    fn directory_that_is_no_layer_is_not_read_whatever_the_mount_table_says() {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("overlay/abc/diff");
        std::fs::create_dir_all(&layer).unwrap();
        assert!(checked(&layer).is_ok());
        let link = dir.path().join("overlay/abc2");
        std::fs::create_dir(&link).unwrap();
        std::os::unix::fs::symlink("/etc", link.join("diff")).unwrap();
        for bad in ["/", "/etc", "/root", link.join("diff").to_str().unwrap(), "/nothing/overlay/x/diff"] {
            assert!(checked(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn layers_are_joined_as_the_kernel_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for sub in ["top/d", "low/d/e", "low/hidden"] {
            std::fs::create_dir_all(path(sub)).unwrap();
        }
        for (name, text) in
            [("top/both", "top"), ("low/both", "low"), ("low/d/e/deep", "x"), ("top/d/new", "n"), ("low/hidden/x", "x")]
        {
            std::fs::write(path(name), text).unwrap();
        }
        std::fs::hard_link(path("low/both"), path("low/d/again")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path("low/link")).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            rustix::fs::mknodat(CWD, path("top/hidden"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        } else {
            std::fs::remove_dir_all(path("low/hidden")).unwrap();
        }
        let mut bytes = Vec::new();
        write(open(&[path("top"), path("low")]).unwrap(), &mut bytes).unwrap();
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.insert(name, (entry.header().entry_type(), text));
        }
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["both", "d", "d/again", "d/e", "d/e/deep", "d/new", "link"]);
        assert_eq!(found["both"].1, "top");
        assert_eq!(found["link"].0, tar::EntryType::Symlink);
    }
}
