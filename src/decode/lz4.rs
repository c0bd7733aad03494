//! Blocks of compressed pages, as CRIU writes them with `--compress` (its development of 2026).
//!
//! A block is a bare LZ4 block without frame or length; both lengths are in the pagemap. Source: CRIU
//! `criu/include/compression.h`.

/// Why a block could not be unpacked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lz4Error {
    /// Not an LZ4 block, or longer than the pages it is for.
    #[error("block of {stored} bytes is no LZ4 block of {len} bytes")]
    Malformed {
        /// Bytes that are stored.
        stored: usize,
        /// Bytes it should unpack to.
        len: usize,
    },
    /// Unpacks to less than the pages it is for.
    #[error("LZ4 block unpacks to {found} bytes, {len} expected")]
    TooShort {
        /// Bytes it unpacks to.
        found: usize,
        /// Bytes it should unpack to.
        len: usize,
    },
}

/// Unpacks one block into exactly the pages it is for.
///
/// No bytes are a block of zeros; as many as `pages` has are the pages themselves; anything else is LZ4.
///
/// # Errors
/// The block does not unpack to exactly as many bytes as `pages` has; what is in `pages` then means nothing.
pub fn unpack(stored: &[u8], pages: &mut [u8]) -> Result<(), Lz4Error> {
    if stored.is_empty() {
        pages.fill(0);
        return Ok(());
    }
    let len = pages.len();
    if stored.len() == len {
        pages.copy_from_slice(stored);
        return Ok(());
    }
    match lz4_flex::block::decompress_into(stored, pages) {
        Ok(found) if found == len => Ok(()),
        Ok(found) => Err(Lz4Error::TooShort { found, len }),
        Err(_malformed) => Err(Lz4Error::Malformed { stored: stored.len(), len }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_plain_pages_and_lz4_are_unpacked() {
        let original: Vec<u8> = (0..4096_u32).map(|at| u8::try_from(at / 64).unwrap()).collect();
        let mut pages = vec![1; 4096];
        unpack(&[], &mut pages).unwrap();
        assert!(pages.iter().all(|byte| *byte == 0));
        unpack(&original, &mut pages).unwrap();
        assert_eq!(pages, original);
        pages.fill(9);
        let packed = lz4_flex::block::compress(&original);
        assert!(packed.len() < 1000);
        unpack(&packed, &mut pages).unwrap();
        assert_eq!(pages, original);
    }

    #[test]
    fn blocks_of_another_size_are_refused() {
        let packed = lz4_flex::block::compress(&[7; 4096]);
        assert!(matches!(unpack(&packed, &mut [0; 8192]), Err(Lz4Error::TooShort { found: 4096, len: 8192 })));
        assert!(matches!(unpack(&packed, &mut [0; 100]), Err(Lz4Error::Malformed { .. })));
        assert!(unpack(&[0xff; 50], &mut [0; 4096]).is_err());
    }
}
