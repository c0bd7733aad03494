//! Sparse members: checking their maps, and putting their content together.

use std::ops::Range;

use super::member::Extent;
use super::pax::decimal;

/// Turns pairs of offset and length into extents, whose bytes follow each other from `start` on.
///
/// # Errors
/// Pairs that overlap, go backwards, leave the real size or need more than `stored` bytes, in words.
pub(super) fn extents(
    pairs: &[(u64, u64)],
    real_size: u64,
    mut start: u64,
    stored: u64,
) -> Result<Vec<Extent>, String> {
    let mut left = stored;
    let mut done = 0;
    let mut extents = Vec::new();
    for &(offset, len) in pairs {
        let end = offset.checked_add(len).filter(|end| *end <= real_size);
        let Some(end) = end.filter(|_| done <= offset) else {
            return Err(format!(
                "sparse map has {len} bytes at {offset}, which overlaps the piece before or leaves the size of {real_size}"
            ));
        };
        let Some(left_after) = left.checked_sub(len) else {
            return Err(format!("sparse map needs more than the {stored} bytes that are stored"));
        };
        if len != 0 {
            extents.push(Extent { offset, start, len });
        }
        // `stored` was checked against the archive's end by the caller, and the sum of the lengths against `stored`.
        start = start.saturating_add(len);
        left = left_after;
        done = end;
    }
    Ok(extents)
}

/// The map of PAX 1.0: decimal numbers, each on a line: how many pairs, then the pairs.
///
/// `None` when `text` ends before the map does; otherwise the pairs and the bytes that the map takes, not yet padded.
///
/// # Errors
/// A line that is no number, or more pairs than `max_pairs`, in words.
pub(super) fn pairs_in_content(text: &[u8], max_pairs: u64) -> Result<Option<(Vec<(u64, u64)>, u64)>, String> {
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
    if max_pairs < count {
        return Err(format!("sparse map has {count} pieces, the limit is {max_pairs}"));
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

/// Fills `out`, the bytes `range` of the content, from the pieces; what lies between them is zeros.
pub(super) fn assemble(archive: &[u8], extents: &[Extent], range: &Range<u64>, out: &mut [u8]) {
    let first = extents.partition_point(|extent| extent.offset.saturating_add(extent.len) <= range.start);
    for extent in extents.iter().skip(first) {
        if range.end <= extent.offset {
            return;
        }
        let from = extent.offset.max(range.start);
        let to = extent.offset.saturating_add(extent.len).min(range.end);
        let source_start = extent.start.saturating_add(from.saturating_sub(extent.offset));
        let source_end = source_start.saturating_add(to.saturating_sub(from));
        let source = slice(archive, source_start..source_end);
        let target = out.get_mut(to_usize(from - range.start)..to_usize(to - range.start));
        if let Some(target) = target.filter(|target| target.len() == source.len()) {
            target.copy_from_slice(source);
        }
    }
}

/// The part of the content that is one piece and can be borrowed: where it starts in the archive.
pub(super) fn contiguous(extents: &[Extent], range: &Range<u64>) -> Option<u64> {
    let first = extents.partition_point(|extent| extent.offset.saturating_add(extent.len) <= range.start);
    let extent = extents.get(first)?;
    let inside = range.start.checked_sub(extent.offset)?;
    (range.end <= extent.offset.saturating_add(extent.len)).then(|| extent.start.saturating_add(inside))
}

/// How much of the content is there when the archive ends at `archive_len`; `None` when all of it is.
pub(super) fn available(extents: &[Extent], archive_len: u64) -> Option<u64> {
    let cut = extents.iter().find(|extent| archive_len < extent.start.saturating_add(extent.len))?;
    Some(cut.offset.saturating_add(archive_len.saturating_sub(cut.start)))
}

fn slice(bytes: &[u8], range: Range<u64>) -> &[u8] {
    bytes.get(to_usize(range.start)..to_usize(range.end)).unwrap_or_default()
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_put_together_with_zeros_between() {
        let archive = b"....abcdef";
        let extents = extents(&[(2, 3), (8, 3)], 12, 4, 6).unwrap();
        let read = |range: Range<u64>| {
            let mut out = vec![0; (range.end - range.start) as usize];
            assemble(archive, &extents, &range, &mut out);
            out
        };
        assert_eq!(read(0..12), b"\0\0abc\0\0\0def\0");
        assert_eq!(read(3..9), b"bc\0\0\0d");
        assert_eq!(read(5..8), b"\0\0\0");
        assert_eq!(contiguous(&extents, &(9..11)), Some(8));
        assert_eq!(contiguous(&extents, &(4..6)), None);
        assert_eq!(available(&extents, 9), Some(10));
        assert_eq!(available(&extents, 10), None);
    }

    #[test]
    fn maps_that_overlap_wrap_or_need_too_much_are_refused() {
        assert!(extents(&[(2, 3), (4, 3)], 12, 0, 6).is_err());
        assert!(extents(&[(u64::MAX, 3)], u64::MAX, 0, 6).is_err());
        assert!(extents(&[(0, 7)], 12, 0, 6).unwrap_err().contains("more than the 6 bytes"));
    }

    #[test]
    fn a_map_in_the_content_asks_for_more_until_it_is_whole() {
        let map = b"2\n0\n5\n100\n7\n\0\0";
        for cut in 0..12 {
            assert_eq!(pairs_in_content(&map[..cut], 10), Ok(None), "{cut}");
        }
        assert_eq!(pairs_in_content(map, 10), Ok(Some((vec![(0, 5), (100, 7)], 12))));
        assert!(pairs_in_content(map, 1).is_err());
        assert!(pairs_in_content(b"x\n", 10).is_err());
        assert!(pairs_in_content(&[b'1'; 64], 10).is_err());
    }
}
