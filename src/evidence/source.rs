//! The bytes of an archive that may still be arriving.

use std::io;

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
