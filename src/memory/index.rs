//! Segments in order with what lies before each: what a view needs that scrolls through a whole space.

use crate::base::VirtAddr;

use super::address_space::AddressSpace;
use super::segment::Segment;

/// Segments of a space, numbered, with the mapped bytes before each. Sixteen bytes for each segment.
#[derive(Clone, Debug, Default)]
pub struct SegmentIndex {
    starts: Vec<VirtAddr>,
    mapped_before: Vec<u64>,
    mapped_bytes: u64,
    is_whole: bool,
}

impl SegmentIndex {
    /// Walks all segments, at most `max` of them; behind these each look-up goes through the space itself.
    pub fn new(space: &AddressSpace<'_>, max: usize) -> SegmentIndex {
        let mut index = SegmentIndex { is_whole: true, ..SegmentIndex::default() };
        for segment in space.segments() {
            if index.starts.len() >= max {
                index.is_whole = false;
                break;
            }
            index.starts.push(segment.range.start);
            index.mapped_before.push(index.mapped_bytes);
            index.mapped_bytes = index.mapped_bytes.saturating_add(segment.len_bytes());
        }
        index
    }

    /// Number of segments.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Whether all segments are in it.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The segment of a number, with the mapped bytes before it.
    pub fn get<'a>(&self, space: &AddressSpace<'a>, nr: usize) -> Option<(Segment<'a>, u64)> {
        Some((space.segment_at(*self.starts.get(nr)?)?, *self.mapped_before.get(nr)?))
    }

    /// The number of the segment that holds an address or is the next before it.
    pub fn number_at(&self, addr: VirtAddr) -> Option<usize> {
        self.starts.partition_point(|start| *start <= addr).checked_sub(1)
    }

    /// The number of the segment that holds the nth mapped byte.
    pub fn number_of_nth_mapped(&self, nth: u64) -> Option<usize> {
        if self.mapped_bytes <= nth {
            return None;
        }
        self.mapped_before.partition_point(|before| *before <= nth).checked_sub(1)
    }
}
