//! Ordinary files that a runtime has written or named: none is reached by a link that leads elsewhere, and no device is waited for.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};

/// Opens one of the node, links followed within its root only; none when there is none, or it is no ordinary file.
///
/// # Errors
/// It is there, and cannot be opened.
pub fn open(host: &Path, path: &Path) -> io::Result<Option<File>> {
    let root = openat(CWD, host, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Opens one directly in a directory, through no link.
///
/// # Errors
/// It cannot be opened, or is no ordinary file.
pub fn open_in(dir: &Path, name: &str) -> io::Result<File> {
    let dir = openat(CWD, dir, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let file = File::from(openat2(&dir, name, flags, Mode::empty(), resolve)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is not an ordinary file"));
    }
    Ok(file)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test makes files")]
mod tests {
    use super::*;

    #[test]
    fn file_is_opened_through_no_link_and_no_pipe() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("checkpoint-a.tar"), b"x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", path("checkpoint-b.tar")).unwrap();
        std::fs::create_dir(path("checkpoint-c.tar")).unwrap();
        rustix::fs::mknodat(CWD, path("checkpoint-d.tar"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert!(open_in(dir.path(), "checkpoint-a.tar").is_ok());
        for bad in ["checkpoint-b.tar", "checkpoint-c.tar", "checkpoint-d.tar", "../x", "nothing"] {
            assert!(open_in(dir.path(), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn link_of_a_node_leads_within_its_root() {
        let host = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(host.path().join("run")).unwrap();
        std::fs::write(host.path().join("run/config.json"), b"{}").unwrap();
        std::os::unix::fs::symlink("/run", host.path().join("linked")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", host.path().join("run/out")).unwrap();
        assert!(open(host.path(), Path::new("/linked/config.json")).unwrap().is_some());
        assert!(open(host.path(), Path::new("/run/none")).unwrap().is_none());
        assert!(open(host.path(), Path::new("/run")).unwrap().is_none(), "it is no ordinary file");
        assert!(open(host.path(), Path::new("/run/out")).is_err());
    }
}
