//! An archive that is still being written: who writes it tells how far it is, and its members are seen as they are whole.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A file on its way here, shared between who writes it and who looks at it. Only bytes that were [told
/// of](Growing::grew) are looked at.
#[derive(Clone, Debug, Default)]
pub struct Growing(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    begun: Option<(PathBuf, Arc<File>)>,
    written: u64,
    is_over: bool,
}

impl Growing {
    /// The file is there, with so many bytes; `path` is what it will be called when it is whole.
    pub fn begin(&self, path: PathBuf, file: File, written: u64) {
        let mut state = self.state();
        (state.begun, state.written) = (Some((path, Arc::new(file))), written);
        self.0.1.notify_all();
    }

    /// So many bytes from its start are written.
    pub fn grew(&self, written: u64) {
        self.state().written = written;
        self.0.1.notify_all();
    }

    /// No more is to be looked at: it is whole, given up, or begun anew.
    pub fn end(&self) {
        self.state().is_over = true;
        self.0.1.notify_all();
    }

    /// Waits until it has begun: what it will be called; `None` when it ends without.
    pub fn path(&self) -> Option<PathBuf> {
        self.begun().map(|(path, _)| path)
    }

    /// The same, with the file.
    pub(super) fn begun(&self) -> Option<(PathBuf, Arc<File>)> {
        self.wait(|state| state.begun.clone())
    }

    /// Waits until more than `at` bytes are there: how many; `None` when it ends without.
    pub(super) fn more_than(&self, at: u64) -> Option<u64> {
        self.wait(|state| (at < state.written).then_some(state.written))
    }

    fn wait<T>(&self, look: impl Fn(&State) -> Option<T>) -> Option<T> {
        let mut state = self.state();
        loop {
            // What is over is not looked at any more, even where bytes of it are left.
            if state.is_over {
                return None;
            }
            if let Some(found) = look(&state) {
                return Some(found);
            }
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads it from its start, and waits where it is not written yet.
#[derive(Debug)]
pub(super) struct GrowingReader {
    pub(super) growing: Growing,
    pub(super) file: Arc<File>,
    pub(super) at: u64,
}

impl Read for GrowingReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(written) = self.growing.more_than(self.at) else { return Ok(0) };
        let wanted = usize::try_from(written - self.at).unwrap_or(usize::MAX).min(buf.len());
        let read = self.file.read_at(buf.get_mut(..wanted).unwrap_or_default(), self.at)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}
