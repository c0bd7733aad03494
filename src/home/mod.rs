//! What the program keeps for its user: a directory of data that is never beside the evidence.
//!
//! The log of the sandbox, paired nodes and custody records lie there. Nobody but the user reads them: directories have
//! the mode 0700, files 0600. A file is replaced whole or not at all, a log only grows.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;
use thiserror::Error;

/// Variable that names another directory for the user's data.
pub const DATA_DIR_VARIABLE: &str = "CRYOSCOPE_DATA_DIR";

/// Why data is not kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HomeError {
    /// There is no place for data.
    #[error("no directory for data: set HOME, or {DATA_DIR_VARIABLE}")]
    NoDataDir,
    /// The system refuses.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A file has more bytes than one of its kind can have.
    #[error("{}: has more than {max_bytes} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// So many are read.
        max_bytes: u64,
    },
}

impl HomeError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> HomeError {
        move |source| HomeError::Io { what, path: path.to_owned(), source }
    }
}

/// The directory; not made yet.
///
/// # Errors
/// None is named and there is no home directory.
pub fn data_dir() -> Result<PathBuf, HomeError> {
    if let Some(dir) = std::env::var_os(DATA_DIR_VARIABLE).filter(|dir| !dir.is_empty()) {
        return Ok(dir.into());
    }
    let dirs = etcetera::choose_base_strategy().map_err(|_home| HomeError::NoDataDir)?;
    Ok(dirs.data_dir().join("cryoscope"))
}

/// Makes a directory, with those above it, for the user alone.
///
/// # Errors
/// The system refuses.
pub fn make_dir(dir: &Path) -> Result<(), HomeError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(HomeError::io("cannot make the directory", dir))
}

/// Puts a file, whole, in the place of what is there.
///
/// # Errors
/// The system refuses; what was there stays.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    make_dir(dir)?;
    let put = || {
        // Temporary files have the mode 0600 from the beginning.
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    put().map_err(HomeError::io("cannot write", path))
}

/// Adds a line at the end of a log; it is on the disk when this returns.
///
/// # Errors
/// The system refuses.
pub fn append_line(path: &Path, line: &[u8]) -> Result<(), HomeError> {
    make_dir(path.parent().unwrap_or(Path::new(".")))?;
    let append = || {
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        // One write at the end of the file: lines of programs that run at the same time do not mix.
        file.write_all(&[line, b"\n"].concat())?;
        file.sync_all()
    };
    append().map_err(HomeError::io("cannot write", path))
}

/// All of a file; `None` where there is none.
///
/// # Errors
/// It cannot be read, or has more than `max_bytes`.
pub fn read(path: &Path, max_bytes: u64) -> Result<Option<Vec<u8>>, HomeError> {
    let file = match OpenOptions::new().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(HomeError::io("cannot open", path))?,
    };
    let mut bytes = Vec::new();
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(HomeError::io("cannot read", path))?;
    if max_bytes < bytes.len() as u64 {
        return Err(HomeError::TooLarge { path: path.to_owned(), max_bytes });
    }
    Ok(Some(bytes))
}

/// Names in a directory that end in `.` and `extension`, without that, sorted; none where there is no directory.
///
/// # Errors
/// It cannot be listed.
pub fn names(dir: &Path, extension: &str) -> Result<Vec<String>, HomeError> {
    #[expect(clippy::disallowed_methods, reason = "the user's data is listed here only")]
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(HomeError::io("cannot list", dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(HomeError::io("cannot list", dir))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(extension)?.strip_suffix('.'));
        names.extend(stem.filter(|stem| !stem.starts_with('.')).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Removes a file; whether there was one.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path) -> Result<bool, HomeError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true).map_err(HomeError::io("cannot remove", path)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_the_users_alone_and_replaced_whole() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("data/nodes");
        let path = dir.join("a.json");
        assert_eq!(read(&path, 10).unwrap(), None);
        assert_eq!(names(&dir, "json").unwrap(), [""; 0]);
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        write(&dir.join("b.txt"), b"").unwrap();
        assert_eq!(read(&path, 3).unwrap().unwrap(), b"two");
        assert!(matches!(read(&path, 2), Err(HomeError::TooLarge { max_bytes: 2, .. })));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&dir), mode(&root.path().join("data"))), (0o600, 0o700, 0o700));
        assert_eq!(names(&dir, "json").unwrap(), ["a"]);
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn log_only_grows() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("custody/ab.jsonl");
        append_line(&path, b"{}").unwrap();
        append_line(&path, b"[]").unwrap();
        assert_eq!(read(&path, 10).unwrap().unwrap(), b"{}\n[]\n");
    }
}
