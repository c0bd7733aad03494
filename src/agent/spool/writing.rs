//! An archive under way.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::acquire::manifest::{Manifest, SignedManifest};
use crate::acquire::wire;
use crate::agent::problem::{Failure, Outcome};
use crate::agent::{disk, identity};
use crate::base::hex;

use super::entry::{Entry, Record, Stamp};
use super::{ARCHIVE, MANIFEST, NEW, Spool, WORK, is_id, record_path, sha256};

/// Room is looked for again after so many bytes.
const STEP_BYTES: u64 = 16 << 20;

/// An archive that is being written; dropped, it is removed.
#[derive(Debug)]
pub struct Writing {
    spool: Arc<Spool>,
    id: String,
    dir: PathBuf,
    is_done: AtomicBool,
}

/// Length and SHA-256 of what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub size_bytes: u64,
    /// In hex.
    pub sha256: String,
}

impl Spool {
    /// Begins an archive.
    ///
    /// # Errors
    /// The spool cannot be written.
    pub fn begin(self: &Arc<Self>) -> Outcome<Writing> {
        let random =
            identity::random::<4>().map_err(|error| Failure::internal("the spool cannot be written", error))?;
        let id = format!("{:012x}{}", Timestamp::now().as_millisecond() & 0xffff_ffff_ffff, hex(&random));
        self.writing(id)
    }

    /// Goes on with one that an earlier agent began, and a runtime may have written since.
    ///
    /// # Errors
    /// As [`Spool::begin`].
    pub fn resume(self: &Arc<Self>, id: &str) -> Outcome<Writing> {
        if !is_id(id) {
            return Err(Failure::internal("the spool cannot be written", "this is no id"));
        }
        self.writing(id.to_owned())
    }

    fn writing(self: &Arc<Self>, id: String) -> Outcome<Writing> {
        let dir = self.config.path.join(format!("{NEW}{id}"));
        disk::private_dir(&dir).map_err(|error| Failure::of_disk("the spool cannot be written", error))?;
        self.lock().writing.insert(id.clone(), 0);
        Ok(Writing { spool: Arc::clone(self), id, dir, is_done: AtomicBool::new(false) })
    }
}

impl Writing {
    /// Of the archive that it will be.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where a runtime on this node writes it.
    pub fn path(&self) -> PathBuf {
        self.dir.join(ARCHIVE)
    }

    /// A directory for what the archive is packed of; removed when that is done, or given up.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn work(&self) -> Outcome<PathBuf> {
        let dir = self.dir.join(WORK);
        disk::private_dir(&dir).map_err(|error| Failure::of_disk("the spool cannot be written", error))?;
        Ok(dir)
    }

    /// Copies the archive from somewhere, and makes room as it grows. `progress` gets the bytes so far, and may stop it.
    ///
    /// # Errors
    /// It cannot be read or written, there is no room, or it was stopped.
    pub fn copy(&self, from: &mut dyn Read, progress: &mut dyn FnMut(u64) -> Outcome<()>) -> Outcome<Written> {
        self.write(
            &mut |to| {
                let mut buffer = vec![0; 1 << 18];
                loop {
                    match from.read(&mut buffer) {
                        Ok(0) => return Ok(()),
                        Ok(n) => to.write_all(&buffer[..n])?,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            },
            progress,
        )
    }

    /// Writes the archive by a closure that gets a sink, as [`Writing::copy`].
    ///
    /// # Errors
    /// As [`Writing::copy`].
    pub fn write(
        &self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
        progress: &mut dyn FnMut(u64) -> Outcome<()>,
    ) -> Outcome<Written> {
        self.write_at(&self.path(), write, progress)
    }

    /// Writes a file of what the archive is packed of into [`Writing::work`], as [`Writing::write`].
    ///
    /// # Errors
    /// As [`Writing::copy`]; there is no such file then.
    pub fn write_part(
        &self,
        name: &str,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
        progress: &mut dyn FnMut(u64) -> Outcome<()>,
    ) -> Outcome<Written> {
        let path = self.work()?.join(name);
        let written = self.write_at(&path, write, progress);
        if written.is_err()
            && let Err(error) = disk::remove(&path)
        {
            tracing::error!("{}: {error}", path.display());
        }
        written
    }

    fn write_at(
        &self,
        path: &Path,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
        progress: &mut dyn FnMut(u64) -> Outcome<()>,
    ) -> Outcome<Written> {
        let failed = |error| Failure::of_disk("the archive cannot be written", error);
        // An earlier agent may have begun it.
        disk::remove(path).map_err(failed)?;
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut sink = Sink {
            writing: self,
            progress,
            file: open.map_err(failed)?,
            hash: Sha256::new(),
            size_bytes: 0,
            room_until: 0,
            failure: None,
        };
        let written = write(&mut sink).and_then(|()| sink.file.sync_all());
        if let Some(failure) = sink.failure.take() {
            return Err(failure);
        }
        written.map_err(failed)?;
        Ok(Written { size_bytes: sink.size_bytes, sha256: hex(&sink.hash.finalize()) })
    }

    /// Hashes the archive that a runtime has written at [`Writing::path`].
    ///
    /// # Errors
    /// There is none, it is no ordinary file, or too long for the spool.
    pub fn adopt(&self) -> Outcome<Written> {
        let failed = |error: io::Error| Failure::internal("the archive that the runtime wrote cannot be read", error);
        let mut file = open_archive(&self.path()).map_err(failed)?;
        let found = file.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(failed(io::Error::other("it is no file")));
        }
        self.grow(found.len());
        self.spool.make_room(0)?;
        file.sync_all().map_err(failed)?;
        let sha256 = sha256(&mut file).map_err(failed)?;
        let again = file.metadata().map_err(failed)?;
        if again.len() != found.len() {
            return Err(failed(io::Error::other("somebody still writes it")));
        }
        Ok(Written { size_bytes: found.len(), sha256 })
    }

    /// The archive is whole: signs its manifest, writes the record, and lets it appear.
    ///
    /// # Errors
    /// Something cannot be written; the archive is removed then.
    pub fn finish(&self, manifest: &Manifest, key: &SigningKey) -> Outcome<Arc<Entry>> {
        let what = "the archive cannot be finished";
        let signed = SignedManifest::sign(manifest, key).map_err(|error| Failure::internal(what, error))?;
        let entry = self.write_record(manifest, &signed).map_err(|error| Failure::of_disk(what, error))?;
        let entry = Arc::new(entry);
        let mut inner = self.spool.lock();
        inner.writing.remove(&self.id);
        inner.entries.insert(self.id.clone(), Arc::clone(&entry));
        drop(inner);
        self.is_done.store(true, Relaxed);
        Ok(entry)
    }

    fn write_record(&self, manifest: &Manifest, signed: &SignedManifest) -> io::Result<Entry> {
        let archive = wire::Archive {
            id: self.id.clone(),
            name: manifest.archive.name.clone(),
            size_bytes: manifest.archive.size_bytes,
            sha256: manifest.archive.sha256.clone(),
            created: manifest.finished,
            kind: manifest.archive.kind,
            container: manifest.container.id.clone(),
            container_name: manifest.container.name.clone(),
            pod: manifest.container.pod.clone(),
            namespace: manifest.container.namespace.clone(),
            keep: false,
        };
        remove_dir(&self.dir.join(WORK))?;
        let stamp = Stamp::of(&open_archive(&self.path())?)?;
        let record = Record { archive, stamp };
        disk::write(&self.dir.join(MANIFEST), &serde_json::to_vec_pretty(signed)?)?;
        disk::write(&record_path(&self.dir), &serde_json::to_vec_pretty(&record)?)?;
        std::fs::rename(&self.dir, self.spool.config.path.join(&self.id))?;
        disk::sync_dir(&self.spool.config.path)?;
        Ok(Entry::new(record))
    }

    fn grow(&self, size_bytes: u64) {
        self.spool.lock().writing.insert(self.id.clone(), size_bytes);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.is_done.load(Relaxed) {
            return;
        }
        self.spool.lock().writing.remove(&self.id);
        // After a failure within `finish` it may have its last name already.
        for dir in [&self.dir, &self.spool.config.path.join(&self.id)] {
            if let Err(error) = remove_dir(dir) {
                tracing::error!("{}: {error}", dir.display());
            }
        }
    }
}

/// Removes a directory with all that is in it; one that is not there is no error.
fn remove_dir(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_archive(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32).open(path)
}

/// Hashes and counts what is written, and asks for room before it is.
struct Sink<'a, 'b> {
    writing: &'a Writing,
    progress: &'b mut dyn FnMut(u64) -> Outcome<()>,
    file: File,
    hash: Sha256,
    size_bytes: u64,
    room_until: u64,
    failure: Option<Failure>,
}

impl Sink<'_, '_> {
    fn ask(&mut self, more: u64) -> Outcome<()> {
        (self.progress)(self.size_bytes)?;
        if self.room_until < self.size_bytes + more {
            self.writing.grow(self.size_bytes);
            let step = more.max(STEP_BYTES);
            // Near the limit the last step need not be a whole one.
            if self.writing.spool.make_room(step).is_err() {
                self.writing.spool.make_room(more)?;
                self.room_until = self.size_bytes + more;
            } else {
                self.room_until = self.size_bytes + step;
            }
        }
        Ok(())
    }
}

impl Write for Sink<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(failure) = self.ask(bytes.len() as u64) {
            self.failure = Some(failure);
            return Err(io::Error::other("stopped"));
        }
        let n = self.file.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size_bytes += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
