//! An archive that has not arrived whole: `NAME.part`, and beside it `NAME.part.json`, which says of what it is a part and
//! how much of it is known to be right.
//!
//! The file is locked while somebody pulls to it. What the state vouches for is on the disk before the state says so; a
//! part that was changed meanwhile is noticed by its hash and begun anew.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::pull::PullError;
use crate::base::{Progress, hex};
use crate::home;

/// Names the shape of the state.
const SCHEMA: &str = "cryoscope.part/1";
/// Most bytes of a state.
const MAX_STATE: u64 = 64 << 10;
const PIECE: usize = 1 << 16;

/// Of what a file is a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Whole {
    /// SHA-256 of the node's authority.
    pub(super) authority: String,
    /// Id of the archive on its node.
    pub(super) archive: String,
    /// Its length.
    pub(super) size_bytes: u64,
    /// SHA-256 of it, which is its ETag.
    pub(super) sha256: String,
}

/// What lies beside a part.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    schema: String,
    whole: Whole,
    /// So many bytes are on the disk,
    offset: u64,
    /// and have this SHA-256.
    sha256_of_part: String,
}

/// A part, open and locked.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    state_path: PathBuf,
    file: File,
    /// Of the bytes before `at`.
    digest: Sha256,
    at: u64,
    whole: Whole,
}

impl Part {
    /// Opens the part of `target`, and hashes what is there if it is a part of the same archive. What is not is removed;
    /// then the second value says why.
    pub(super) fn open(
        target: &Path,
        whole: Whole,
        progress: &dyn Progress,
    ) -> Result<(Part, Option<String>), PullError> {
        let path = with_suffix(target, ".part");
        let state_path = with_suffix(target, ".part.json");
        let cannot = |source| PullError::io("cannot open", &path, source);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(cannot)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_taken| PullError::Busy { path: path.clone() })?;
        let mut part = Part { path, state_path, file, digest: Sha256::new(), at: 0, whole };
        let found = part.find(progress)?;
        Ok((part, found))
    }

    /// Goes to the end of what is there and of use.
    fn find(&mut self, progress: &dyn Progress) -> Result<Option<String>, PullError> {
        let len = self.file.metadata().map_err(|error| self.io("cannot read", error))?.len();
        let state = home::read(&self.state_path, MAX_STATE).ok().flatten();
        let state = state.and_then(|text| serde_json::from_slice::<State>(&text).ok());
        let why = match state {
            None if len == 0 => return self.begin().map(|()| None),
            Some(state) if state.schema == SCHEMA && state.whole == self.whole => {
                if len < state.offset || self.whole.size_bytes < len {
                    format!("{} has {len} bytes, which does not fit what is noted beside it", self.path.display())
                } else {
                    progress.stage("hashing what is there");
                    self.hash_to(state.offset, len, progress)?;
                    if hex(&self.digest.clone().finalize()) == state.sha256_of_part {
                        self.hash_to(len, len, progress)?;
                        return Ok(None);
                    }
                    format!("{} was changed since it was written", self.path.display())
                }
            }
            Some(_) => "the archive is another one than that of which a part is here".to_owned(),
            None => format!("nothing says of what {} is a part", self.path.display()),
        };
        self.begin()?;
        Ok(Some(format!("{why}: beginning anew")))
    }

    fn hash_to(&mut self, end: u64, total: u64, progress: &dyn Progress) -> Result<(), PullError> {
        let mut piece = vec![0; PIECE];
        while self.at < end {
            progress.step(self.at, Some(total))?;
            let wanted = usize::try_from(end - self.at).map_or(PIECE, |left| left.min(PIECE));
            let piece = piece.get_mut(..wanted).unwrap_or_default();
            let n = self.file.read(piece).map_err(|error| self.io("cannot read", error))?;
            if n == 0 {
                return Err(self.io("cannot read", io::ErrorKind::UnexpectedEof.into()));
            }
            self.digest.update(piece.get(..n).unwrap_or_default());
            self.at = self.at.saturating_add(n as u64);
        }
        Ok(())
    }

    /// Empties it.
    pub(super) fn begin(&mut self) -> Result<(), PullError> {
        self.file.set_len(0).map_err(|error| self.io("cannot empty", error))?;
        self.file.seek(SeekFrom::Start(0)).map_err(|error| self.io("cannot empty", error))?;
        (self.digest, self.at) = (Sha256::new(), 0);
        self.note()
    }

    /// Becomes a part of another archive, empty.
    pub(super) fn begin_other(&mut self, whole: Whole) -> Result<(), PullError> {
        self.whole = whole;
        self.begin()
    }

    /// Of what it is a part.
    pub(super) fn whole(&self) -> &Whole {
        &self.whole
    }

    /// Bytes that are there.
    pub(super) fn len_bytes(&self) -> u64 {
        self.at
    }

    /// The file, for who looks at it while it grows.
    pub(super) fn reader(&self) -> Result<File, PullError> {
        self.file.try_clone().map_err(|error| self.io("cannot read", error))
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        if let Err(error) = self.file.write_all(bytes) {
            // What was written of them is cut off, so that length and hash agree; the room is there for that.
            let _ = self.file.set_len(self.at);
            let _ = self.file.seek(SeekFrom::Start(self.at));
            return Err(self.io("cannot write", error));
        }
        self.digest.update(bytes);
        self.at = self.at.saturating_add(bytes.len() as u64);
        Ok(())
    }

    /// Notes how much is there, once it is on the disk.
    pub(super) fn note(&self) -> Result<(), PullError> {
        self.file.sync_data().map_err(|error| self.io("cannot write", error))?;
        let state = State {
            schema: SCHEMA.to_owned(),
            whole: self.whole.clone(),
            offset: self.at,
            sha256_of_part: hex(&self.digest.clone().finalize()),
        };
        let text = serde_json::to_vec_pretty(&state).unwrap_or_default();
        let put = || {
            let new = with_suffix(&self.state_path, ".new");
            let options = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new);
            options.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()))?;
            fs::rename(&new, &self.state_path)
        };
        put().map_err(|error| PullError::io("cannot write", &self.state_path, error))
    }

    /// SHA-256 of what is there.
    pub(super) fn sha256(&self) -> String {
        hex(&self.digest.clone().finalize())
    }

    /// Gives it its name, if nothing has that.
    pub(super) fn finish(self, target: &Path) -> Result<(), PullError> {
        self.file.sync_all().map_err(|error| self.io("cannot write", error))?;
        rename_to_free(&self.path, target).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                PullError::Exists { path: target.to_owned() }
            } else {
                PullError::io("cannot rename to", target, error)
            }
        })?;
        // The archive is whole and has its name; a state that stays is read by nobody.
        let _ = fs::remove_file(&self.state_path);
        let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = OpenOptions::new().read(true).open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(|error| PullError::io("cannot write", dir, error))
    }

    /// Removes it.
    pub(super) fn discard(self) {
        // Nothing depends on their being gone.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.state_path);
    }

    fn io(&self, what: &'static str, error: io::Error) -> PullError {
        PullError::io(what, &self.path, error)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Closing it does not free it while a process that this one has just started still has a copy of the descriptor.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// Renames, and never over something that is there.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems cannot; a link does not replace either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        done => Ok(done?),
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at what was written")]
mod tests {
    use super::*;
    use crate::base::Silent;

    fn whole() -> Whole {
        let sha256 = hex(&Sha256::digest(b"0123456789"));
        Whole { authority: "aa".into(), archive: "1".into(), size_bytes: 10, sha256 }
    }

    fn open(target: &Path) -> (Part, Option<String>) {
        Part::open(target, whole(), &Silent).unwrap()
    }

    #[test]
    fn part_is_found_again_with_what_came_after_its_last_note() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.tar");
        let (mut part, said) = open(&target);
        assert_eq!((part.len_bytes(), said), (0, None));
        part.write(b"0123").unwrap();
        part.note().unwrap();
        part.write(b"45").unwrap();
        assert!(matches!(Part::open(&target, whole(), &Silent), Err(PullError::Busy { .. })));
        drop(part);
        let (mut part, said) = open(&target);
        assert_eq!((part.len_bytes(), said), (6, None));
        part.write(b"6789").unwrap();
        assert_eq!(part.sha256(), whole().sha256);
        part.finish(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"0123456789");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_of_another_archive_or_was_changed_is_begun_anew_and_said() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.tar");
        let check = |change: &dyn Fn(), said: &str| {
            let (mut part, _) = open(&target);
            part.write(b"0123").unwrap();
            part.note().unwrap();
            drop(part);
            change();
            let (part, found) = open(&target);
            assert_eq!(part.len_bytes(), 0);
            assert!(found.as_ref().is_some_and(|found| found.contains(said)), "{found:?}");
            part.discard();
        };
        let path = dir.path().join("a.tar.part");
        let state = dir.path().join("a.tar.part.json");
        check(&|| fs::write(&path, b"012x").unwrap(), "was changed");
        check(&|| fs::write(&path, b"012").unwrap(), "does not fit");
        check(&|| fs::write(&path, b"0123456789ab").unwrap(), "does not fit");
        check(&|| fs::remove_file(&state).unwrap(), "nothing says");
        check(&|| fs::write(&state, b"{").unwrap(), "nothing says");
        let other = || {
            let text = fs::read_to_string(&state).unwrap().replace("\"archive\": \"1\"", "\"archive\": \"2\"");
            fs::write(&state, text).unwrap();
        };
        check(&other, "another one");
    }

    #[test]
    fn part_is_free_once_nobody_writes_it_whoever_still_has_its_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.tar");
        let (part, _) = open(&target);
        assert!(matches!(Part::open(&target, whole(), &Silent), Err(PullError::Busy { .. })));
        let _descriptor = part.reader().unwrap();
        drop(part);
        open(&target);
    }

    #[test]
    fn nothing_is_renamed_over() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a.tar");
        let (mut part, _) = open(&target);
        part.write(b"0123456789").unwrap();
        fs::write(&target, b"mine").unwrap();
        assert!(matches!(part.finish(&target), Err(PullError::Exists { .. })));
        assert_eq!(fs::read(&target).unwrap(), b"mine");
    }
}
