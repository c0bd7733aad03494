//! One pass over a stream: unpacked on the caller's thread, written down and indexed on another.
//!
//! What comes out stays in memory while it is small, and goes to a file in the cache directory when it grows. The file
//! has no name (it is unlinked before its first byte), so it ends with the process, however that ends.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::base::{Issue, Place, Progress};

use super::map::Mapped;
use super::member::{Content, Member};
use super::source::Source;
use super::walk::{Walk, WalkError, of_walk};
use super::{Compression, OpenError, OpenOptions};

/// How much stays in memory before a file is made.
const MAX_MEMORY_BYTES: usize = 64 << 20;
/// Below this much of output the ratio is not looked at.
const MIN_RATIO_BYTES: u64 = 64 << 20;
/// Unpacked and handed over at a time: what a core keeps close while the other copies it on.
const CHUNK_BYTES: usize = 128 << 10;
/// Chunks under way between the two threads: enough that neither waits for the other on a busy machine.
const CHUNKS: usize = 24;
/// Largest member whose content is shown to [`OpenOptions::on_member`].
const MAX_EARLY_BYTES: u64 = 1 << 20;

/// A stream that was read to its end or to its damage.
#[derive(Debug)]
pub(super) struct Unpacked<'a> {
    pub(super) data: Bytes,
    pub(super) walk: Walk<'a>,
    /// Bytes of the stream that were read.
    pub(super) read_bytes: u64,
    /// What is wrong with the stream itself.
    pub(super) issue: Option<Issue>,
    /// Of the stream as it came, when asked for.
    pub(super) sha256: Option<[u8; 32]>,
}

/// A stream to unpack.
#[derive(Debug)]
pub(super) struct Stream<R> {
    pub(super) input: R,
    /// `None` copies.
    pub(super) compression: Compression,
    /// Length of the input in bytes, where known.
    pub(super) total: Option<u64>,
    /// Whether the digest of the input is taken along.
    pub(super) hashes: bool,
}

/// Unpacks a stream and walks over what comes out.
///
/// # Errors
/// Limits, a full disk, a cache directory that cannot be used, cancel; damage only when nothing came out before it.
pub(super) fn unpack<'a>(
    mut walk: Walk<'a>,
    stream: Stream<impl BufRead>,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<Unpacked<'a>, OpenError> {
    let name = walk.name();
    let Stream { input, compression, total, hashes } = stream;
    progress.stage(if compression == Compression::None { "reading" } else { "decompressing" });
    let count = Cell::new(0);
    let hasher = hashes.then(|| RefCell::new(Sha256::new()));
    let mut input = Counted { inner: input, count: &count, hasher: hasher.as_ref() };
    let io_error = |source| OpenError::Io { name: name.to_owned(), source };
    let mut written = 0_u64;
    let mut failure = None;

    let spool = thread::scope(|scope| -> Result<Spool, OpenError> {
        let (to_writer, chunks) = sync_channel::<Chunk>(CHUNKS);
        let (to_reader, empty) = sync_channel::<Vec<u8>>(CHUNKS + 2);
        let walk = &mut walk;
        let writer = thread::Builder::new()
            .name("spool".into())
            .spawn_scoped(scope, move || write_down(&chunks, &to_reader, walk, name, options))
            .map_err(io_error)?;
        let mut decoder = compression.decoder(&mut input).map_err(io_error)?;
        let mut stopped = None;
        while failure.is_none() {
            if let Err(cancelled) = progress.step(count.get(), total) {
                stopped = Some(OpenError::Cancelled(cancelled));
                break;
            }
            let mut bytes = empty.try_recv().unwrap_or_else(|_| vec![0; CHUNK_BYTES]);
            let filled = fill(&mut *decoder, &mut bytes, compression.request_bytes(), &mut failure);
            written = written.saturating_add(filled as u64);
            if let Some(unpacked) = &options.unpacked {
                unpacked.store(written, Ordering::Relaxed);
            }
            let read_bytes = count.get();
            if options.max_spool_bytes < written {
                let limit_bytes = options.max_spool_bytes;
                stopped = Some(OpenError::TooLarge { name: name.to_owned(), limit_bytes, read_bytes });
                break;
            }
            if compression != Compression::None
                && MIN_RATIO_BYTES < written
                && options.max_ratio.saturating_mul(read_bytes) < written
            {
                let (name, limit) = (name.to_owned(), options.max_ratio);
                stopped = Some(OpenError::RatioTooHigh { name, read_bytes, written_bytes: written, limit });
                break;
            }
            let is_last = filled < bytes.len();
            // A writer that has gone has an error to tell.
            if to_writer.send(Chunk { bytes, filled }).is_err() || is_last {
                break;
            }
        }
        drop(to_writer);
        let spool = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match stopped {
            Some(error) => Err(error),
            None => spool,
        }
    })?;

    if hashes {
        // The digest is of all that was delivered, also of what stands behind the end of the stream.
        drain(&mut input, progress, total).map_err(|error| of_walk(name, error))?;
    }
    let issue = match failure {
        Some(source) if written == 0 => {
            return Err(OpenError::DamagedStream { name: name.to_owned(), compression, source });
        }
        Some(source) if compression == Compression::None => return Err(io_error(source)),
        Some(source) => {
            let what = format!(
                "the {compression} stream is damaged or cut off here ({source}); {written} bytes came out before"
            );
            Some(Issue::new(Place::at(name, count.get()), what))
        }
        None => None,
    };
    let data = spool.into_bytes().map_err(io_error)?;
    let whole: &[u8] = &data;
    walk.advance(&whole, &mut |at| progress.step(at, Some(written)), &mut |member, source| {
        show(member, source, options);
    })
    .map_err(|error| of_walk(name, error))?;
    let read_bytes = count.get();
    let sha256 = hasher.map(|hasher| hasher.into_inner().finalize().into());
    Ok(Unpacked { data, walk, read_bytes, issue, sha256 })
}

struct Chunk {
    bytes: Vec<u8>,
    filled: usize,
}

/// Reads until `bytes` is full, the stream ends, or it fails, which ends it as well.
fn fill(decoder: &mut dyn Read, bytes: &mut [u8], request: usize, failure: &mut Option<io::Error>) -> usize {
    let mut filled = 0_usize;
    loop {
        let end = filled.saturating_add(request).min(bytes.len());
        let Some(target) = bytes.get_mut(filled..end).filter(|target| !target.is_empty()) else { return filled };
        match decoder.read(target) {
            Ok(0) => return filled,
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                *failure = Some(error);
                return filled;
            }
        }
    }
}

fn drain(input: &mut impl BufRead, progress: &dyn Progress, total: Option<u64>) -> Result<(), WalkError> {
    let mut done = 0_u64;
    loop {
        let len = input.fill_buf()?.len();
        if len == 0 {
            return Ok(());
        }
        input.consume(len);
        done = done.saturating_add(len as u64);
        progress.step(total.unwrap_or(done), total)?;
    }
}

/// The writer's thread.
fn write_down(
    chunks: &Receiver<Chunk>,
    to_reader: &SyncSender<Vec<u8>>,
    walk: &mut Walk<'_>,
    name: &str,
    options: &OpenOptions,
) -> Result<Spool, OpenError> {
    let mut spool = Spool::default();
    for Chunk { bytes, filled } in chunks {
        spool.append(bytes.get(..filled).unwrap_or_default(), name, options)?;
        // The reader may be at its end already.
        let _ = to_reader.try_send(bytes);
        let walked = walk.advance(&spool, &mut |_| Ok(()), &mut |member, source| show(member, source, options));
        if let Err(WalkError::Io(source)) = walked {
            return Err(OpenError::Io { name: name.to_owned(), source });
        }
        if walk.is_hopeless() {
            let content = super::NotAnArchive::UnpacksToSomethingElse;
            return Err(OpenError::NotAnArchive { name: name.to_owned(), content });
        }
    }
    Ok(spool)
}

/// Shows a member that is complete to whom it may concern.
pub(super) fn show(member: &Member, source: &impl Source, options: &OpenOptions) {
    let Some(on_member) = &options.on_member else { return };
    let content = match member.content {
        Content::Range { start } if member.available_bytes() <= MAX_EARLY_BYTES => {
            let mut bytes = vec![0; usize::try_from(member.available_bytes()).unwrap_or(0)];
            source.read_at(start, &mut bytes).ok().map(|()| Bytes::from(bytes))
        }
        _ => None,
    };
    on_member(member, content.as_ref());
}

/// What came out so far.
#[derive(Debug, Default)]
struct Spool {
    memory: Vec<u8>,
    file: Option<File>,
    len: u64,
}

impl Spool {
    fn append(&mut self, bytes: &[u8], name: &str, options: &OpenOptions) -> Result<(), OpenError> {
        if self.file.is_none() && MAX_MEMORY_BYTES < self.memory.len().saturating_add(bytes.len()) {
            let dir = options.cache_dir()?;
            let file = std::fs::create_dir_all(&dir).and_then(|()| tempfile::tempfile_in(&dir));
            let mut file = file.map_err(|source| OpenError::CacheDir { dir: dir.clone(), source })?;
            let memory = std::mem::take(&mut self.memory);
            file.write_all(&memory).map_err(|source| write_error(source, name, dir, 0))?;
            self.file = Some(file);
        }
        match &mut self.file {
            None => self.memory.extend_from_slice(bytes),
            Some(file) => {
                let written = file.write_all(bytes);
                written.map_err(|source| match options.cache_dir() {
                    Ok(dir) => write_error(source, name, dir, self.len),
                    Err(error) => error,
                })?;
            }
        }
        self.len = self.len.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn into_bytes(self) -> io::Result<Bytes> {
        match self.file {
            None => Ok(Bytes::from(self.memory)),
            Some(file) => Ok(Mapped::new(&file)?.into_bytes()),
        }
    }
}

fn write_error(source: io::Error, name: &str, dir: PathBuf, written_bytes: u64) -> OpenError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            OpenError::DiskFull { name: name.to_owned(), dir, written_bytes }
        }
        _ => OpenError::CacheDir { dir, source },
    }
}

/// While the stream runs.
impl Source for Spool {
    fn available(&self) -> u64 {
        self.len
    }

    fn is_complete(&self) -> bool {
        false
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        match &self.file {
            None => self.memory.as_slice().read_at(at, buf),
            Some(file) => file.read_exact_at(buf, at),
        }
    }
}

/// Counts, and hashes, what is taken from a reader.
struct Counted<'c, R> {
    inner: R,
    count: &'c Cell<u64>,
    hasher: Option<&'c RefCell<Sha256>>,
}

impl<R: BufRead> Read for Counted<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buf)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(hasher) = self.hasher.filter(|_| amount != 0)
            && let Ok(bytes) = self.inner.fill_buf()
        {
            hasher.borrow_mut().update(bytes.get(..amount).unwrap_or_default());
        }
        self.count.set(self.count.get().saturating_add(amount as u64));
        self.inner.consume(amount);
    }
}
