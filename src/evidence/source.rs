//! The bytes of an archive that may still be arriving.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::header::{BLOCK, Block};

/// The bytes of an archive, as far as they are there.
pub(super) trait Source {
    /// Bytes from the start that can be read.
    fn available(&self) -> u64;
    /// Whether no more will come.
    fn is_complete(&self) -> bool;
    /// Fills `buf` from `at`; the caller stays within `available`.
    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// A whole archive in memory.
impl Source for &[u8] {
    fn available(&self) -> u64 {
        self.len() as u64
    }

    fn is_complete(&self) -> bool {
        true
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        let found = self.get(from..).and_then(|rest| rest.get(..buf.len()));
        buf.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// A file on disk, read through a window and not through a map, so that a walk leaves no page of it in our memory.
#[derive(Debug)]
pub(super) struct FileSource<'a> {
    file: &'a File,
    len: u64,
    is_complete: bool,
    window: RefCell<Window>,
}

/// A part of the file: small after a jump, larger while one header follows the other.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

const MIN_WINDOW_BYTES: usize = 4 << 10;
const MAX_WINDOW_BYTES: usize = 256 << 10;

impl<'a> FileSource<'a> {
    /// `len` bytes of a file.
    pub(super) fn new(file: &'a File, len: u64) -> FileSource<'a> {
        // Advice that is not taken costs time, no more.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
        FileSource { file, len, is_complete: true, window: RefCell::default() }
    }

    /// The first `len` bytes of a file that grows.
    pub(super) fn growing(file: &'a File, len: u64) -> FileSource<'a> {
        let mut source = FileSource::new(file, len);
        source.is_complete = false;
        source
    }
}

#[cfg(target_os = "linux")]
impl Drop for FileSource<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::fadvise(self.file, 0, None, rustix::fs::Advice::Normal);
    }
}

impl Source for FileSource<'_> {
    fn available(&self) -> u64 {
        self.len
    }

    fn is_complete(&self) -> bool {
        self.is_complete
    }

    fn read_at(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        if MIN_WINDOW_BYTES < buf.len() {
            return self.file.read_exact_at(buf, at);
        }
        let mut window = self.window.borrow_mut();
        if !window.holds(at, buf.len()) {
            let end = window.start.saturating_add(window.bytes.len() as u64);
            let goes_on = (window.start..=end).contains(&at) && !window.bytes.is_empty();
            let len =
                if goes_on { window.bytes.len().saturating_mul(2).min(MAX_WINDOW_BYTES) } else { MIN_WINDOW_BYTES };
            let len = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX).min(len);
            window.start = at;
            window.bytes.resize(len, 0);
            if let Err(error) = self.file.read_exact_at(&mut window.bytes, at) {
                window.bytes.clear();
                return Err(error);
            }
        }
        let from = usize::try_from(at.saturating_sub(window.start)).unwrap_or(usize::MAX);
        window.bytes.get(from..).unwrap_or_default().read_at(0, buf)
    }
}

impl Window {
    fn holds(&self, at: u64, len: usize) -> bool {
        let end = self.start.saturating_add(self.bytes.len() as u64);
        self.start <= at && at.saturating_add(len as u64) <= end
    }
}

/// What stands at a place.
pub(super) enum Got {
    Block(Box<Block>),
    /// Not there yet.
    Pending,
    /// The archive ends, with fewer bytes left than a block.
    End(u64),
}

/// The block at `at`.
///
/// # Errors
/// The source cannot be read.
pub(super) fn block(source: &impl Source, at: u64) -> io::Result<Got> {
    let left = source.available().saturating_sub(at);
    if left < BLOCK {
        return Ok(if source.is_complete() { Got::End(left) } else { Got::Pending });
    }
    let mut block = Box::new([0; BLOCK as usize]);
    source.read_at(at, &mut block[..])?;
    Ok(Got::Block(block))
}
