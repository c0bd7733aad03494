//! Sparse members: checking their maps, and putting their content together.

use std::ops::Range;

use super::member::Extent;
use super::sparse_map::SparseMap;

/// Turns the pairs of a map into extents, whose bytes follow each other. `stored` bytes are there for them.
///
/// # Errors
/// Pairs that overlap, go backwards, leave the real size or need more than is stored, in words.
pub(super) fn extents(map: &SparseMap, stored: u64) -> Result<Vec<Extent>, String> {
    let (real_size, mut start) = (map.real_size, map.start);
    let mut left = stored;
    let mut done = 0;
    let mut extents = Vec::new();
    for &(offset, len) in &map.pairs {
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

    fn map(pairs: &[(u64, u64)], real_size: u64, start: u64) -> SparseMap {
        SparseMap { real_size, pairs: pairs.to_vec(), start }
    }

    #[test]
    fn pieces_are_put_together_with_zeros_between() {
        let archive = b"....abcdef";
        let extents = extents(&map(&[(2, 3), (8, 3)], 12, 4), 6).unwrap();
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
        assert!(extents(&map(&[(2, 3), (4, 3)], 12, 0), 6).is_err());
        assert!(extents(&map(&[(u64::MAX, 3)], u64::MAX, 0), 6).is_err());
        assert!(extents(&map(&[(0, 7)], 12, 0), 6).unwrap_err().contains("more than the 6 bytes"));
    }
}
