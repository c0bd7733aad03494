//! The maps of sparse members, as the four forms of tar write them.
//!
//! Source: GNU tar manual, "Storing Sparse Files"; struct `sparse_header` of its `tar.h`.

use std::io;

use super::header::{BLOCK, Header, gnu_sparse_extension, padded};
use super::pax::{Pax, decimal};
use super::source::{Got, Source, block};
use super::walk::{MAX_EXTENSION_BYTES, MAX_LIST_BYTES};

/// Pieces of the content: offset and length in bytes.
pub(super) type Pairs = Vec<(u64, u64)>;

/// A map as read: pieces whose bytes lie in the archive from `start` on, one behind the other.
#[derive(Debug)]
pub(super) struct SparseMap {
    /// Size of the content with its holes.
    pub(super) real_size: u64,
    pub(super) pairs: Pairs,
    pub(super) start: u64,
}

/// Most pieces that are kept.
const MAX_PAIRS: u64 = MAX_LIST_BYTES / 32;

/// The map of a member of type `S`, which begins in its header and goes on from `start` in blocks before the content,
/// and where the content starts. `None`: not all there yet.
///
/// # Errors
/// The source cannot be read.
pub(super) fn old(
    source: &impl Source,
    header: &Header<'_>,
    mut start: u64,
) -> io::Result<Option<(Result<SparseMap, String>, u64)>> {
    let bad = |start| Ok(Some((Err("sparse map is not made of numbers or is cut off".to_owned()), start)));
    let Some((real_size, mut pairs)) = header.gnu_sparse() else { return bad(start) };
    let mut is_extended = header.has_gnu_sparse_extension();
    while is_extended {
        let block = match block(source, start)? {
            Got::Pending => return Ok(None),
            Got::End(_) => return bad(start),
            Got::Block(block) => block,
        };
        start = start.saturating_add(BLOCK);
        match gnu_sparse_extension(&block, &mut pairs).filter(|_| pairs.len() as u64 <= MAX_PAIRS) {
            Some(more) => is_extended = more,
            None => return bad(start),
        }
    }
    Ok(Some((Ok(SparseMap { real_size, pairs, start }), start)))
}

/// The map of a PAX member, whose content of `stored` bytes from `start` on is there, or cut off for good. An error
/// inside says in words what is wrong with it.
///
/// # Errors
/// The source cannot be read.
pub(super) fn pax(source: &impl Source, pax: &Pax, start: u64, stored: u64) -> io::Result<Result<SparseMap, String>> {
    let Some(real_size) = pax.sparse.real_size else { return Ok(Err("sparse member without its real size".into())) };
    if !pax.sparse.map_in_content {
        let pairs = pax.sparse.pairs.clone().unwrap_or_default();
        return Ok(Ok(SparseMap { real_size, pairs, start }));
    }
    let there = stored.min(source.available().saturating_sub(start)).min(MAX_EXTENSION_BYTES);
    let mut len = BLOCK;
    loop {
        let take = len.min(there);
        let mut text = vec![0; usize::try_from(take).unwrap_or(0)];
        source.read_at(start, &mut text)?;
        match pairs_in_content(&text) {
            Ok(Some((pairs, map_bytes))) => {
                let start = start.saturating_add(padded(map_bytes).unwrap_or(map_bytes));
                return Ok(Ok(SparseMap { real_size, pairs, start }));
            }
            Ok(None) if take == there => return Ok(Err("sparse map is cut off or too long".into())),
            Ok(None) => len = len.saturating_mul(4),
            Err(what) => return Ok(Err(what)),
        }
    }
}

/// The map of PAX 1.0: decimal numbers, each on a line: how many pairs, then the pairs.
///
/// `None` when `text` ends before the map does; otherwise the pairs and the bytes that the map takes, not yet padded.
///
/// # Errors
/// A line that is no number, or more pairs than are kept, in words.
fn pairs_in_content(text: &[u8]) -> Result<Option<(Pairs, u64)>, String> {
    let mut at = 0_usize;
    let mut next = || -> Result<Option<u64>, String> {
        let rest = text.get(at..).unwrap_or_default();
        let Some(len) = rest.iter().take(24).position(|byte| *byte == b'\n') else {
            return if rest.len() < 24 { Ok(None) } else { Err("sparse map holds a line that is no number".into()) };
        };
        at = at.saturating_add(len).saturating_add(1);
        rest.get(..len)
            .and_then(decimal)
            .map(Some)
            .ok_or_else(|| "sparse map holds a line that is no number".to_owned())
    };
    let Some(count) = next()? else { return Ok(None) };
    if MAX_PAIRS < count {
        return Err(format!("sparse map has {count} pieces, the limit is {MAX_PAIRS}"));
    }
    let mut pairs = Vec::new();
    for _ in 0..count {
        match (next()?, next()?) {
            (Some(offset), Some(len)) => pairs.push((offset, len)),
            _ => return Ok(None),
        }
    }
    Ok(Some((pairs, at as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_in_the_content_asks_for_more_until_it_is_whole() {
        let map = b"2\n0\n5\n100\n7\n\0\0";
        for cut in 0..12 {
            assert_eq!(pairs_in_content(&map[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(pairs_in_content(map), Ok(Some((vec![(0, 5), (100, 7)], 12))));
        assert!(pairs_in_content(b"x\n").is_err());
        assert!(pairs_in_content(&[b'1'; 64]).is_err());
    }
}
