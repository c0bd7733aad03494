//! Files as memory: the one place that maps evidence.
//!
//! A map shows the file as it is, so a file that is changed by others while it is open changes under the analyst, and
//! one that is cut short ends the program with SIGBUS. Evidence is opened read-only and should lie still; copy an
//! archive that is still being written before opening it.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

/// A file of evidence in memory, not yet shared.
#[derive(Debug)]
pub(super) struct Mapped(Mmap);

impl Mapped {
    /// Maps the whole file, which must not be empty.
    ///
    /// # Errors
    /// The file system cannot map (some network and user-space ones cannot).
    #[expect(unsafe_code, reason = "mapping is what makes opening cost nothing per byte; there is no safe way to it")]
    pub(super) fn new(file: &File) -> io::Result<Mapped> {
        // SAFETY: the map is private to this process and only ever read as plain bytes, each of which is valid
        // whatever its value; nothing relies on two reads of a byte being equal for memory safety. A file that shrinks
        // raises SIGBUS, which ends the process and does not corrupt it; see the module's text.
        let map = unsafe { Mmap::map(file)? };
        Ok(Mapped(map))
    }

    /// Shares the map; it is undone with the last `Bytes` of it.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self.0)
    }
}
