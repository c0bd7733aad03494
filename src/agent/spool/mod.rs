//! Where archives wait: one directory each, whole or not there at all, never more than the operator allows.
//!
//! ```text
//! SPOOL/<id>/archive.tar    the bytes
//! SPOOL/<id>/manifest.json  how they were made, signed
//! SPOOL/<id>/record.json    what the agent needs to know them again: size, inode, times, keep
//! SPOOL/new-<id>/…          under way; removed at start, unless a runtime may still write it
//! SPOOL/new-<id>/work/…     what the archive is packed of, where the runtime makes a directory and no archive
//! ```
//! An archive is hashed while it is written, or at once when a runtime has written it; everything is synced, and the directory
//! renamed last. At start what has no valid record is not taken for an archive. Bytes that are changed on disk afterwards are
//! noticed by length, inode and times whenever the archive is opened, and by their hash after a start; such an archive is refused.

mod entry;
mod room;
mod writing;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::acquire::manifest::SignedManifest;
use crate::acquire::wire;
use crate::base::hex;

use super::config::SpoolConfig;
use super::disk;
use super::problem::{Failure, Outcome};

pub use entry::{Entry, Opened};
pub use writing::{Writing, Written};

/// Manifests and records are small; what is longer is none.
pub(super) const MAX_JSON_BYTES: u64 = 4 << 20;
const ARCHIVE: &str = "archive.tar";
const MANIFEST: &str = "manifest.json";
const RECORD: &str = "record.json";
const NEW: &str = "new-";
const WORK: &str = "work";

/// The spool.
#[derive(Debug)]
pub struct Spool {
    config: SpoolConfig,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By id, which is in the order of time.
    entries: BTreeMap<String, Arc<Entry>>,
    /// Bytes of archives under way, as far as they are written.
    writing: HashMap<String, u64>,
}

impl Spool {
    /// Opens the spool, removes what is half written and not `expected` any more, and knows the archives again.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    #[expect(clippy::disallowed_methods, reason = "the spool is the agent's own")]
    pub fn open(config: SpoolConfig, expected: &[String]) -> io::Result<Spool> {
        disk::private_dir(&config.path)?;
        let mut entries = BTreeMap::new();
        for found in std::fs::read_dir(&config.path)? {
            let found = found?;
            let Ok(name) = found.file_name().into_string() else { continue };
            if name.strip_prefix(NEW).is_some_and(|id| expected.iter().any(|expected| expected == id)) {
                continue;
            }
            if name.starts_with(NEW) {
                tracing::warn!("{}: was half written when the agent ended, removed", found.path().display());
                if let Err(error) = std::fs::remove_dir_all(found.path()) {
                    tracing::error!("{}: {error}", found.path().display());
                }
            } else if is_id(&name) {
                match Entry::read(&found.path(), &name) {
                    Ok(entry) => {
                        entries.insert(name, Arc::new(entry));
                    }
                    Err(error) => tracing::error!("{}: not an archive: {error}", found.path().display()),
                }
            }
        }
        Ok(Spool { config, inner: Mutex::new(Inner { entries, ..Inner::default() }) })
    }

    /// Reads every archive again and compares its hash: after a start, on a thread of its own.
    pub fn verify_all(&self) {
        let entries: Vec<Arc<Entry>> = self.lock().entries.values().cloned().collect();
        for entry in entries {
            let hashed = entry.open(&self.config.path).and_then(|mut opened| {
                sha256(&mut opened.file).map_err(|error| Failure::internal("an archive cannot be read", error))
            });
            match hashed {
                Ok(hash) if hash == entry.archive.sha256 => {}
                Ok(_) => {
                    tracing::error!("{}: the archive's bytes were changed", entry.archive.id);
                    entry.mark_damaged();
                }
                Err(failure) => tracing::error!("{}: {failure}", entry.archive.id),
            }
        }
    }

    /// Its size and what is left.
    ///
    /// # Errors
    /// The file system does not say.
    pub fn state(&self) -> io::Result<wire::Spool> {
        Ok(wire::Spool {
            used_bytes: self.lock().used_bytes(),
            limit_bytes: self.config.limit_bytes,
            free_bytes: room::free_bytes(&self.config.path)?,
            reserve_bytes: self.config.reserve_bytes,
        })
    }

    /// All archives, the newest first.
    pub fn list(&self) -> Vec<wire::Archive> {
        self.lock().entries.values().rev().map(|entry| entry.view()).collect()
    }

    /// One of them.
    ///
    /// # Errors
    /// There is none with this id.
    pub fn get(&self, id: &str) -> Outcome<Arc<Entry>> {
        self.lock().entries.get(id).cloned().ok_or_else(|| {
            Failure::new(404, "no-such-archive", "there is no archive with this id")
                .hint("it was deleted, or made room for a newer one; GET /v1/archives lists those that are there")
        })
    }

    /// Opens the bytes of an archive.
    ///
    /// # Errors
    /// There is none, or it is no longer as it was written.
    pub fn open_archive(&self, id: &str) -> Outcome<(Arc<Entry>, Opened)> {
        let entry = self.get(id)?;
        let opened = entry.open(&self.config.path)?;
        Ok((entry, opened))
    }

    /// The signed manifest of an archive.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn manifest(&self, id: &str) -> Outcome<SignedManifest> {
        let entry = self.get(id)?;
        let failed = |error: io::Error| Failure::internal("the manifest cannot be read", error);
        let bytes = disk::read(&self.dir(&entry.archive.id).join(MANIFEST), MAX_JSON_BYTES).map_err(failed)?;
        serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
    }

    /// Marks an archive as to stay, or not.
    ///
    /// # Errors
    /// There is none, or the mark cannot be written.
    pub fn set_keep(&self, id: &str, keep: bool) -> Outcome<wire::Archive> {
        let entry = self.get(id)?;
        let kept = entry.set_keep(&self.dir(&entry.archive.id), keep);
        kept.map_err(|error| Failure::internal("the mark cannot be written", error))?;
        Ok(entry.view())
    }

    /// Deletes an archive.
    ///
    /// # Errors
    /// There is none, it is kept, or it cannot be deleted.
    pub fn delete(&self, id: &str) -> Outcome<()> {
        let entry = self.get(id)?;
        if entry.view().keep {
            return Err(Failure::new(409, "kept", "this archive is marked as to stay")
                .hint("`cryoscope acquire keep NODE ARCHIVE --off` first (DELETE …/keep)"));
        }
        self.remove(&entry.archive.id).map_err(|error| Failure::internal("the archive cannot be deleted", error))
    }

    /// Renames first: an archive is whole or not there, also when the agent ends in between.
    fn remove(&self, id: &str) -> io::Result<()> {
        let (dir, gone) = (self.dir(id), self.config.path.join(format!("{NEW}gone-{id}")));
        std::fs::rename(&dir, &gone)?;
        self.lock().entries.remove(id);
        disk::sync_dir(&self.config.path)?;
        std::fs::remove_dir_all(&gone)
    }

    fn dir(&self, id: &str) -> PathBuf {
        self.config.path.join(id)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn used_bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.archive.size_bytes).sum::<u64>() + self.writing.values().sum::<u64>()
    }
}

/// Ids are made here: twelve hex digits of milliseconds, eight that nobody can guess.
fn is_id(name: &str) -> bool {
    name.len() == 20 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Reads to the end.
pub(super) fn sha256(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// Name of an archive for people and file systems: as the kubelet would call it, but those of one second differ.
pub fn archive_name(prefix: &str, parts: &[&str], at: jiff::Timestamp) -> String {
    let clean = |part: &&str| -> String {
        part.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).take(100).collect()
    };
    let parts: Vec<String> = parts.iter().map(clean).collect();
    format!("{prefix}-{}-{at:.3}.tar", parts.join("-"))
}

fn record_path(dir: &Path) -> PathBuf {
    dir.join(RECORD)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests damage files")]
mod tests;
