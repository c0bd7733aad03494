//! One archive of the spool, and how it is known again.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::acquire::wire;
use crate::agent::disk;
use crate::agent::problem::{Failure, Outcome};

use super::{ARCHIVE, MAX_JSON_BYTES, record_path};

/// What a file looks like from outside: another one means that it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    size: u64,
    inode: u64,
    mtime_ns: i64,
    /// Of the last change of any kind, which no program can set.
    ctime_ns: i64,
}

impl Stamp {
    pub(super) fn of(file: &File) -> io::Result<Stamp> {
        let found = file.metadata()?;
        let ns = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Ok(Stamp {
            size: found.len(),
            inode: found.ino(),
            mtime_ns: ns(found.mtime(), found.mtime_nsec()),
            ctime_ns: ns(found.ctime(), found.ctime_nsec()),
        })
    }
}

/// `record.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) archive: wire::Archive,
    pub(super) stamp: Stamp,
}

/// An archive in the spool.
#[derive(Debug)]
pub struct Entry {
    /// As it was written; [`Entry::view`] says whether it is kept now.
    pub archive: wire::Archive,
    stamp: Stamp,
    keep: Mutex<bool>,
    is_damaged: AtomicBool,
}

/// An open archive.
#[derive(Debug)]
pub struct Opened {
    /// At its beginning.
    pub file: File,
    stamp: Stamp,
}

impl Opened {
    /// Whether the file is still what was opened.
    ///
    /// # Errors
    /// It was changed.
    pub fn check(&self) -> io::Result<()> {
        if Stamp::of(&self.file)? == self.stamp {
            return Ok(());
        }
        Err(io::Error::other("the archive was changed while it was served"))
    }

    /// Its length.
    pub fn size_bytes(&self) -> u64 {
        self.stamp.size
    }
}

impl Entry {
    pub(super) fn new(record: Record) -> Entry {
        let keep = Mutex::new(record.archive.keep);
        Entry { archive: record.archive, stamp: record.stamp, keep, is_damaged: AtomicBool::new(false) }
    }

    /// Reads the record of a directory of the spool.
    pub(super) fn read(dir: &Path, id: &str) -> io::Result<Entry> {
        let record: Record = serde_json::from_slice(&disk::read(&record_path(dir), MAX_JSON_BYTES)?)?;
        if record.archive.id != id || record.archive.size_bytes != record.stamp.size {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the record is of another archive"));
        }
        Ok(Entry::new(record))
    }

    /// As peers see it.
    pub fn view(&self) -> wire::Archive {
        wire::Archive { keep: *self.keep.lock().unwrap_or_else(PoisonError::into_inner), ..self.archive.clone() }
    }

    pub(super) fn set_keep(&self, dir: &Path, keep: bool) -> io::Result<()> {
        let mut kept = self.keep.lock().unwrap_or_else(PoisonError::into_inner);
        let archive = wire::Archive { keep, ..self.archive.clone() };
        disk::write(&record_path(dir), &serde_json::to_vec_pretty(&Record { archive, stamp: self.stamp })?)?;
        *kept = keep;
        Ok(())
    }

    pub(super) fn mark_damaged(&self) {
        self.is_damaged.store(true, Relaxed);
    }

    pub(super) fn open(&self, spool: &Path) -> Outcome<Opened> {
        let changed = || {
            Failure::new(409, "archive-changed", "the archive was changed on the node after it was written")
                .hint("its bytes are not those of the manifest; make another checkpoint, and find out who changed it")
        };
        if self.is_damaged.load(Relaxed) {
            return Err(changed());
        }
        let path = spool.join(&self.archive.id).join(ARCHIVE);
        let opened = OpenOptions::new().read(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).open(&path);
        let file = opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => changed(),
            _ => Failure::internal("the archive cannot be opened", error),
        })?;
        match Stamp::of(&file) {
            Ok(stamp) if stamp == self.stamp => Ok(Opened { file, stamp }),
            Ok(_) => Err(changed()),
            Err(error) => Err(Failure::internal("the archive cannot be looked at", error)),
        }
    }
}
