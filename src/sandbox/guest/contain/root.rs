//! The root file system of the container's agent: the bundle's files in memory, the harmless devices, the disk. Made by
//! the keeper as root of this machine, in a mount namespace of its own; inside nothing of it can be changed.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change, mount_remount};
use rustix::thread::UnshareFlags;

use crate::sandbox::bundle::{MODULES_IN_GUEST, Node, cpio};
use crate::sandbox::guest::GuestError;
use crate::sandbox::guest::boot::make_dir;
use crate::sandbox::sys;

/// Directories of every machine; the root is mounted over the first that is here, where only the keeper sees it.
const PLACES: [&str; 4] = ["/mnt", "/srv", "/media", "/tmp"];
/// Where the old root is until the agent takes it away.
pub(super) const OLD: &str = "old";
/// Mount points.
const DIRECTORIES: [&str; 10] =
    ["proc", "sys", "dev/pts", "dev/shm", "run", "tmp", "evidence", "container", OLD, "cryoscope/sys"];
/// Devices that every container has.
pub(super) const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Makes it; where it is.
pub(super) fn build(initrd: &OwnedFd, disk: &OwnedFd) -> Result<PathBuf, GuestError> {
    sys::unshare(UnshareFlags::NEWNS).map_err(GuestError::file("make", "a mount namespace"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(GuestError::file("make private", "/"))?;
    let root = PLACES.iter().map(Path::new).find(|place| place.is_dir()).unwrap_or(Path::new("/"));
    let held = MountFlags::NOSUID | MountFlags::NODEV;
    mount("root", root, "tmpfs", held, c"mode=755,size=512M").map_err(GuestError::file("mount", root))?;
    unpack(initrd, root)?;
    for dir in DIRECTORIES {
        make_dir(&root.join(dir).to_string_lossy())?;
    }
    for name in DEVICES {
        let (device, path) = (Path::new("/dev").join(name), root.join("dev").join(name));
        put_file(&path, b"", 0o666)?;
        mount_bind(&device, &path).map_err(GuestError::file("bind", device))?;
    }
    // What asks for terminals asks here.
    let ptmx = root.join("dev/ptmx");
    std::os::unix::fs::symlink("pts/ptmx", &ptmx).map_err(GuestError::file("link", ptmx))?;
    mount_disk(disk, &root.join("evidence"))?;
    mount_remount(root, held | MountFlags::BIND | MountFlags::RDONLY, c"")
        .map_err(GuestError::file("make read-only", root))?;
    Ok(root.to_owned())
}

/// The kernel mounts the file itself from 6.12 on; before, a loop device does, which is given back when it is unmounted.
fn mount_disk(disk: &OwnedFd, at: &Path) -> Result<(), GuestError> {
    let source = format!("/proc/self/fd/{}", disk.as_raw_fd());
    let held = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    if mount(source.as_str(), at, "erofs", held, c"").is_ok() {
        return Ok(());
    }
    let at = at.to_string_lossy();
    let source = format!("/proc/{}/fd/{}", std::process::id(), disk.as_raw_fd());
    let args = ["-t", "erofs", "-o", "ro,loop,nosuid,nodev", &source, &at];
    crate::sandbox::guest::restore::run_program("mount", &args)
}

/// Writes the bundle's files and the agent's, all but the modules of another kernel.
fn unpack(initrd: &OwnedFd, root: &Path) -> Result<(), GuestError> {
    let mut file = fs::File::from(initrd.try_clone().map_err(GuestError::file("read", "the bundle"))?);
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(GuestError::file("read", "the bundle"))?;
    for (path, node) in cpio::entries(&bytes) {
        if path.starts_with(MODULES_IN_GUEST) {
            continue;
        }
        let at = root.join(path);
        match node {
            Node::Directory(mode) => {
                make_dir(&at.to_string_lossy())?;
                set_mode(&at, mode)?;
            }
            Node::File(mode, content) => put_file(&at, &content, mode)?,
            Node::Symlink(target) => {
                // One of the agent's may stand for one of the bundle's.
                let _ = fs::remove_file(&at);
                std::os::unix::fs::symlink(target, &at).map_err(GuestError::file("link", &at))?;
            }
        }
    }
    Ok(())
}

fn put_file(path: &Path, content: &[u8], mode: u32) -> Result<(), GuestError> {
    use std::io::Write as _;
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path);
    let written = file.and_then(|mut file| file.write_all(content));
    written.map_err(GuestError::file("write", path))?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), GuestError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(GuestError::file("change the mode of", path))
}
