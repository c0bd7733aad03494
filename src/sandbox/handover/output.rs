//! The files of an image: a layout directory or an archive of it, whole or not there at all.
//!
//! Both are written under a name of their own beside the target, which disappears with the value, and get the target's name
//! when all is there. In an archive a blob's header is written again once its digest is known: nothing is copied.
//!
//! Sources: OCI Image Layout (v1.1); `oci-archive` is a tar of it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir};

use super::HandoverError;
use crate::base::hex;
use crate::evidence::{Evidence, OpenOptions};

const BLOCK: u64 = 512;
const BUFFER_BYTES: usize = 1 << 18;
/// What every layout has.
const LAYOUT_FILE: &str = "oci-layout";

/// How the image lies on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A directory.
    Layout,
    /// A tar of it.
    Archive,
}

impl Form {
    /// The word that skopeo and podman have for it.
    pub fn transport(self) -> &'static str {
        match self {
            Form::Layout => "oci",
            Form::Archive => "oci-archive",
        }
    }
}

/// A blob that is written.
#[derive(Clone, Debug)]
pub struct Blob {
    /// `sha256:…`.
    pub digest: String,
    /// In bytes.
    pub size_bytes: u64,
    /// In an archive: where its bytes begin.
    offset: u64,
}

/// An image under way.
pub(super) struct Output {
    target: Option<PathBuf>,
    force: bool,
    store: Store,
}

enum Store {
    Layout(TempDir),
    Archive(NamedTempFile),
}

/// An image that is written.
#[derive(Debug)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// How.
    pub form: Form,
    /// Goes with the value, when nobody asked for the files.
    _temporary: Option<TempDir>,
}

impl Kept {
    /// Opens a blob for reading.
    ///
    /// # Errors
    /// It is not there any more.
    pub fn open(&self, blob: &Blob) -> Result<impl Read + use<>, HandoverError> {
        let path = match self.form {
            Form::Layout => self.path.join(blob_path(&blob.digest)),
            Form::Archive => self.path.clone(),
        };
        #[expect(clippy::disallowed_methods, reason = "images that were written are read here only")]
        let mut file = File::open(&path).map_err(HandoverError::io("cannot be read", &path))?;
        file.seek(SeekFrom::Start(blob.offset)).map_err(HandoverError::io("cannot be read", &path))?;
        Ok(file.take(blob.size_bytes))
    }
}

/// Refuses a target that lies in the evidence or is the evidence.
pub(super) fn check_target(target: &Path, evidence: &Evidence) -> Result<PathBuf, HandoverError> {
    let absolute = std::path::absolute(target).map_err(HandoverError::io("cannot be written", target))?;
    let Some(evidence) = evidence.path().and_then(|path| fs::canonicalize(path).ok()) else { return Ok(absolute) };
    // The deepest directory that exists decides where the target will lie.
    let existing = absolute.ancestors().find_map(|dir| fs::canonicalize(dir).ok());
    if existing.is_some_and(|existing| existing.starts_with(&evidence)) {
        return Err(HandoverError::InEvidence { path: target.to_owned() });
    }
    Ok(absolute)
}

impl Output {
    /// An archive where the name ends in `.tar`, else a directory.
    pub(super) fn begin(target: &Path, force: bool, evidence: &Evidence) -> Result<Output, HandoverError> {
        let absolute = check_target(target, evidence)?;
        let is_archive = absolute.extension().is_some_and(|extension| extension == "tar");
        check_existing(&absolute, is_archive, force)?;
        let dir = absolute.parent().unwrap_or(&absolute).to_owned();
        let cannot = || HandoverError::io("no file can be made there", &dir);
        fs::create_dir_all(&dir).map_err(cannot())?;
        let builder = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix(".cryoscope-").suffix(".partial");
            builder
        };
        let store = if is_archive {
            Store::Archive(builder().tempfile_in(&dir).map_err(cannot())?)
        } else {
            Store::layout(builder().tempdir_in(&dir).map_err(cannot())?)?
        };
        Ok(Output { target: Some(absolute), force, store })
    }

    /// A directory of the cache that goes when the image is dropped.
    pub(super) fn temporary(options: &OpenOptions) -> Result<Output, HandoverError> {
        let dir = options.cache_dir()?;
        let cannot = || HandoverError::io("no file can be made there", &dir);
        fs::create_dir_all(&dir).map_err(cannot())?;
        let made = tempfile::Builder::new().prefix(".hand-over-").tempdir_in(&dir).map_err(cannot())?;
        Ok(Output { target: None, force: false, store: Store::layout(made)? })
    }

    /// Where it is written now.
    pub(super) fn path(&self) -> PathBuf {
        match (&self.target, &self.store) {
            (Some(target), _) => target.clone(),
            (None, Store::Layout(dir)) => dir.path().to_owned(),
            (None, Store::Archive(file)) => file.path().to_owned(),
        }
    }

    /// Writes a blob of what `fill` writes.
    pub(super) fn blob<T>(
        &mut self,
        fill: impl FnOnce(&mut dyn Write) -> Result<T, HandoverError>,
    ) -> Result<(Blob, T), HandoverError> {
        let path = self.path();
        let cannot = || HandoverError::io("cannot be written", &path);
        match &mut self.store {
            Store::Layout(dir) => {
                let dir = dir.path().join("blobs/sha256");
                let mut file = NamedTempFile::new_in(&dir).map_err(cannot())?;
                let (digest, size_bytes, filled) = filled(file.as_file_mut(), &path, fill)?;
                let name = dir.join(digest.strip_prefix("sha256:").unwrap_or(&digest));
                file.persist(name).map_err(|error| cannot()(error.error))?;
                Ok((Blob { digest, size_bytes, offset: 0 }, filled))
            }
            Store::Archive(file) => {
                let file = file.as_file_mut();
                let start = file.stream_position().map_err(cannot())?;
                file.write_all(&[0; BLOCK as usize]).map_err(cannot())?;
                let (digest, size_bytes, filled) = filled(file, &path, fill)?;
                file.seek(SeekFrom::Start(start)).map_err(cannot())?;
                file.write_all(&header(&blob_path(&digest), size_bytes)).map_err(cannot())?;
                file.seek(SeekFrom::End(0)).map_err(cannot())?;
                pad(file, size_bytes).map_err(cannot())?;
                Ok((Blob { digest, size_bytes, offset: start.saturating_add(BLOCK) }, filled))
            }
        }
    }

    /// Writes the file that makes it a layout and the index, and gives the target its name.
    pub(super) fn finish(mut self, index: &[u8]) -> Result<Kept, HandoverError> {
        let path = self.path();
        let cannot = || HandoverError::io("cannot be written", &path);
        for (name, bytes) in [("index.json", index), (LAYOUT_FILE, br#"{"imageLayoutVersion":"1.0.0"}"#)] {
            match &mut self.store {
                Store::Layout(dir) => {
                    let path = dir.path().join(name);
                    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&path).map_err(cannot())?;
                    file.write_all(bytes).and_then(|()| file.sync_data()).map_err(cannot())?;
                }
                Store::Archive(file) => {
                    let file = file.as_file_mut();
                    let size = bytes.len() as u64;
                    file.write_all(&header(name, size)).map_err(cannot())?;
                    file.write_all(bytes).and_then(|()| pad(file, size)).map_err(cannot())?;
                }
            }
        }
        let Output { target, force, store } = self;
        match (store, target) {
            (Store::Layout(dir), None) => {
                Ok(Kept { path: dir.path().to_owned(), form: Form::Layout, _temporary: Some(dir) })
            }
            (Store::Layout(dir), Some(target)) => {
                replace_dir(dir, &target, force)?;
                Ok(Kept { path: target, form: Form::Layout, _temporary: None })
            }
            (Store::Archive(mut file), target) => {
                let target = target.unwrap_or_default();
                file.write_all(&[0; 2 * BLOCK as usize]).map_err(cannot())?;
                file.as_file().sync_data().map_err(cannot())?;
                let kept = if force { file.persist(&target) } else { file.persist_noclobber(&target) };
                match kept {
                    Ok(_) => Ok(Kept { path: target, form: Form::Archive, _temporary: None }),
                    Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                        Err(HandoverError::Exists { path: target })
                    }
                    Err(error) => Err(cannot()(error.error)),
                }
            }
        }
    }
}

impl Store {
    fn layout(dir: TempDir) -> Result<Store, HandoverError> {
        let blobs = dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(HandoverError::io("cannot be made", &blobs))?;
        Ok(Store::Layout(dir))
    }
}

/// What lies at the target is replaced only with `force`, and only by its like.
fn check_existing(target: &Path, is_archive: bool, force: bool) -> Result<(), HandoverError> {
    let Ok(found) = fs::symlink_metadata(target) else { return Ok(()) };
    let path = || target.to_owned();
    if !force {
        return Err(HandoverError::Exists { path: path() });
    }
    if is_archive {
        if found.is_dir() {
            return Err(HandoverError::NotOurs { path: path(), what: "a file" });
        }
    } else if !found.is_dir() || !target.join(LAYOUT_FILE).is_file() {
        return Err(HandoverError::NotOurs { path: path(), what: "an OCI image layout" });
    }
    Ok(())
}

fn replace_dir(new: TempDir, target: &Path, force: bool) -> Result<(), HandoverError> {
    let cannot = || HandoverError::io("cannot be written", target);
    let mut old = None;
    if force && target.exists() {
        // A directory cannot be renamed over one with files: the old one steps aside, and goes with its new name.
        let mut builder = tempfile::Builder::new();
        let aside = builder.prefix(".cryoscope-").suffix(".old").tempdir_in(target.parent().unwrap_or(target));
        let aside = aside.map_err(cannot())?;
        fs::rename(target, aside.path().join("old")).map_err(cannot())?;
        old = Some(aside);
    }
    if !force && target.exists() {
        return Err(HandoverError::Exists { path: target.to_owned() });
    }
    let renamed = fs::rename(new.path(), target);
    if renamed.is_err()
        && let Some(aside) = &old
    {
        // Better the old one than none.
        let _ = fs::rename(aside.path().join("old"), target);
    }
    renamed.map_err(cannot())?;
    // It has another name now, and is not to be removed.
    let _ = new.keep();
    Ok(())
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn filled<T>(
    file: &mut File,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, HandoverError>,
) -> Result<(String, u64, T), HandoverError> {
    let mut hashing = Hashing::new(BufWriter::with_capacity(BUFFER_BYTES, &mut *file));
    let filled = fill(&mut hashing)?;
    let (digest, size_bytes, buffered) = hashing.finish();
    buffered.into_inner().map_err(|error| HandoverError::io("cannot be written", path)(error.into_error()))?;
    file.sync_data().map_err(HandoverError::io("cannot be written", path))?;
    Ok((digest, size_bytes, filled))
}

/// A header of the archive's own members: root's, of no time, so that the same image gives the same archive.
fn header(name: &str, size_bytes: u64) -> [u8; BLOCK as usize] {
    let mut header = tar::Header::new_gnu();
    // Names of ours, which are short.
    let _ = header.set_path(name);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size_bytes);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    *header.as_bytes()
}

fn pad(file: &mut File, size_bytes: u64) -> io::Result<()> {
    let zeros = [0; BLOCK as usize];
    let len = usize::try_from((BLOCK - size_bytes % BLOCK) % BLOCK).unwrap_or(0);
    file.write_all(zeros.get(..len).unwrap_or_default())
}

/// Passes bytes on, counts and hashes them.
pub(super) struct Hashing<W> {
    inner: W,
    digest: Sha256,
    len: u64,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Hashing<W> {
        Hashing { inner, digest: Sha256::new(), len: 0 }
    }

    /// `sha256:…`, the number of bytes, and what they were passed on to.
    pub(super) fn finish(self) -> (String, u64, W) {
        (format!("sha256:{}", hex(&self.digest.finalize())), self.len, self.inner)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.digest.update(bytes.get(..n).unwrap_or_default());
        self.len = self.len.saturating_add(n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_over_eight_gigabytes_stand_in_a_header() {
        let bytes = header("blobs/sha256/x", 20 << 30);
        let header = tar::Header::from_byte_slice(&bytes);
        assert_eq!(header.size().unwrap(), 20 << 30);
        assert_eq!(header.path().unwrap(), Path::new("blobs/sha256/x"));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "files that are in the way")]
    fn a_target_is_replaced_only_by_its_like() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("dir")).unwrap();
        fs::create_dir(at("dir.tar")).unwrap();
        fs::write(at("file"), "x").unwrap();
        assert!(check_existing(&at("new"), false, false).is_ok());
        assert!(matches!(check_existing(&at("dir"), false, false), Err(HandoverError::Exists { .. })));
        for (name, is_archive) in [("dir", false), ("file", false), ("dir.tar", true)] {
            let found = check_existing(&at(name), is_archive, true);
            assert!(matches!(found, Err(HandoverError::NotOurs { .. })), "{name}");
        }
        fs::write(at("dir/oci-layout"), "{}").unwrap();
        assert!(check_existing(&at("dir"), false, true).is_ok());
    }
}
