//! Rows of an address space in one scroll: 16 bytes a row, a row for each border of a vma and for each gap.
//!
//! Stretches that are not there are one row each, whatever their size, and so are long stretches of zeros while they
//! are folded. A row is found by its number and by its address in O(log n); positions are whole numbers, since the
//! scroll may be terabytes long.

use std::ops::Range;

use crate::base::VirtAddr;
use crate::checkpoint::Vma;
use crate::memory::{AddressSpace, Origin, Segment, SegmentIndex};

/// Bytes of a row.
pub const ROW_BYTES: u64 = 16;
/// Most segments that are numbered; behind them rows are found through the vmas, without borders.
const MAX_SEGMENTS: usize = 1 << 20;
/// Zeros shorter than this are not folded.
const MIN_FOLDED_ZEROS: u64 = 256;

/// Whether long stretches of zeros are one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Zeros {
    /// One row.
    #[default]
    Folded,
    /// As all other bytes.
    Open,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row<'a> {
    /// Nothing is mapped here.
    Gap(Range<VirtAddr>),
    /// A vma begins.
    Border(&'a Vma),
    /// A stretch without bytes to show one by one: absent, or zeros.
    Folded(Segment<'a>),
    /// Bytes.
    Bytes {
        /// Address of the first column.
        base: VirtAddr,
        /// What of the 16 bytes lies in the vma.
        range: Range<VirtAddr>,
    },
}

impl Row<'_> {
    /// The addresses that it stands for.
    pub fn range(&self) -> Range<VirtAddr> {
        match self {
            Row::Gap(range) | Row::Bytes { range, .. } => range.clone(),
            Row::Border(vma) => vma.start..vma.start,
            Row::Folded(segment) => segment.range.clone(),
        }
    }

    /// Whether the cursor can stand on it.
    pub fn has_content(&self) -> bool {
        matches!(self, Row::Folded(_) | Row::Bytes { .. })
    }
}

/// Numbers of the rows of a space. Thirty-two bytes for each segment.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    index: SegmentIndex,
    folded: Numbers,
    open: Numbers,
    /// Where the segments that are not in the index begin.
    tail: Option<VirtAddr>,
}

#[derive(Clone, Debug, Default)]
struct Numbers {
    /// Rows before each segment.
    before: Vec<u64>,
    /// Rows before the tail.
    numbered: u64,
    total: u64,
}

/// How a segment is laid out.
struct Layout {
    gap: Option<Range<VirtAddr>>,
    is_border: bool,
    is_folded: bool,
    /// Address of the first row of content, over [`ROW_BYTES`].
    first: u64,
    /// Rows of content.
    len: u64,
}

impl Layout {
    fn headers(&self) -> u64 {
        u64::from(self.gap.is_some()) + u64::from(self.is_border)
    }
}

impl Rows {
    /// Walks all segments. Work for a job.
    pub fn new(space: &AddressSpace<'_>) -> Rows {
        Rows::with_max(space, MAX_SEGMENTS)
    }

    fn with_max(space: &AddressSpace<'_>, max: usize) -> Rows {
        let index = SegmentIndex::new(space, max);
        let mut rows = Rows::default();
        let mut end = VirtAddr(0);
        for nr in 0..index.len() {
            let Some((segment, _)) = index.get(space, nr) else { break };
            end = segment.range.end;
            for (numbers, zeros) in [(&mut rows.folded, Zeros::Folded), (&mut rows.open, Zeros::Open)] {
                let layout = lay_out(space, &segment, zeros);
                numbers.before.push(numbers.total);
                numbers.total = numbers.total.saturating_add(layout.headers()).saturating_add(layout.len);
            }
        }
        let tail = (!index.is_whole()).then_some(end);
        let tail_bytes = tail.map_or(0, |tail| space.mapped_bytes().saturating_sub(space.mapped_before(tail)));
        for numbers in [&mut rows.folded, &mut rows.open] {
            numbers.numbered = numbers.total;
            numbers.total = numbers.total.saturating_add(tail_bytes.div_ceil(ROW_BYTES));
        }
        Rows { index, tail, ..rows }
    }

    fn numbers(&self, zeros: Zeros) -> &Numbers {
        match zeros {
            Zeros::Folded => &self.folded,
            Zeros::Open => &self.open,
        }
    }

    /// How many rows there are.
    pub fn len(&self, zeros: Zeros) -> u64 {
        self.numbers(zeros).total
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.folded.total == 0
    }

    /// The row of a number.
    pub fn get<'a>(&self, space: &AddressSpace<'a>, row: u64, zeros: Zeros) -> Option<Row<'a>> {
        let numbers = self.numbers(zeros);
        if numbers.total <= row {
            return None;
        }
        if let (Some(tail), Some(inside)) = (self.tail, row.checked_sub(numbers.numbered)) {
            let nth = space.mapped_before(tail).saturating_add(inside.saturating_mul(ROW_BYTES));
            let base = space.nth_mapped(nth)?;
            let end = space.segment_at(base)?.vma.end;
            return Some(Row::Bytes { base, range: base..VirtAddr(base.0.saturating_add(ROW_BYTES)).min(end) });
        }
        let nr = numbers.before.partition_point(|before| *before <= row).checked_sub(1)?;
        let (segment, _) = self.index.get(space, nr)?;
        let layout = lay_out(space, &segment, zeros);
        let mut inside = row - numbers.before.get(nr)?;
        if let Some(gap) = &layout.gap {
            if inside == 0 {
                return Some(Row::Gap(gap.clone()));
            }
            inside -= 1;
        }
        if layout.is_border {
            if inside == 0 {
                return Some(Row::Border(segment.vma));
            }
            inside -= 1;
        }
        if layout.is_folded {
            return Some(Row::Folded(segment));
        }
        let base = VirtAddr(layout.first.saturating_add(inside).saturating_mul(ROW_BYTES));
        let end = VirtAddr(base.0.saturating_add(ROW_BYTES)).min(segment.vma.end);
        Some(Row::Bytes { base, range: base.max(segment.vma.start)..end })
    }

    /// The number of the row that shows an address; of one that is not mapped the gap, or the row next to it.
    pub fn row_of(&self, space: &AddressSpace<'_>, addr: VirtAddr, zeros: Zeros) -> u64 {
        let numbers = self.numbers(zeros);
        if let Some(tail) = self.tail.filter(|tail| *tail <= addr) {
            let inside = space.mapped_before(addr).saturating_sub(space.mapped_before(tail));
            let row = numbers.numbered.saturating_add(inside / ROW_BYTES);
            return row.min(numbers.total.saturating_sub(1));
        }
        let Some(nr) = self.index.number_at(addr) else { return 0 };
        let (Some((segment, _)), Some(before)) = (self.index.get(space, nr), numbers.before.get(nr)) else { return 0 };
        if segment.range.end <= addr {
            // In the gap, which is the first row of the next segment.
            let next = numbers.before.get(nr + 1).copied().unwrap_or(numbers.numbered);
            return next.min(numbers.total.saturating_sub(1));
        }
        let layout = lay_out(space, &segment, zeros);
        let content = before.saturating_add(layout.headers());
        if layout.is_folded {
            return content;
        }
        match (addr.0 / ROW_BYTES).checked_sub(layout.first) {
            Some(inside) => content.saturating_add(inside),
            // Its first bytes stand in the last row of the segment before.
            None => before.saturating_sub(1),
        }
    }
}

fn is_folded(segment: &Segment<'_>, zeros: Zeros) -> bool {
    match segment.origin {
        Origin::Absent(_) => true,
        Origin::Zero => zeros == Zeros::Folded && segment.len_bytes() >= MIN_FOLDED_ZEROS,
        _ => false,
    }
}

fn lay_out(space: &AddressSpace<'_>, segment: &Segment<'_>, zeros: Zeros) -> Layout {
    let Range { start, end } = segment.range;
    let is_border = start == segment.vma.start;
    let gap = if is_border {
        let vmas = &space.map().vmas;
        let at = vmas.partition_point(|vma| vma.start < start);
        at.checked_sub(1)
            .and_then(|at| vmas.get(at))
            .filter(|before| before.end < start)
            .map(|before| before.end..start)
    } else {
        None
    };
    let is_folded = is_folded(segment, zeros);
    // A row that two segments share belongs to the first, unless that is folded.
    let is_shared = !is_border
        && !start.0.is_multiple_of(ROW_BYTES)
        && space.segment_at(VirtAddr(start.0 - 1)).is_some_and(|before| !self::is_folded(&before, zeros));
    let first = if is_shared { start.0.div_ceil(ROW_BYTES) } else { start.0 / ROW_BYTES };
    let len = if is_folded { 1 } else { end.0.div_ceil(ROW_BYTES).saturating_sub(first) };
    Layout { gap, is_border, is_folded, first, len }
}

#[cfg(test)]
pub(in crate::session) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::Silent;
    use crate::evidence::{Evidence, OpenOptions};
    use crate::memory::Memory;

    pub(in crate::session) fn memory(name: &str) -> Memory {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let options = OpenOptions::default();
        let evidence = Evidence::open(&path, &options, &Silent).unwrap();
        let checkpoint = crate::checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0);
        Memory::new(Arc::clone(&checkpoint))
    }

    /// Walks all rows (with a bound) and checks that they cover the space in order, each address on the row it names.
    fn check(memory: &Memory, zeros: Zeros, max_segments: usize) {
        for space in memory.spaces() {
            let rows = Rows::with_max(&space, max_segments);
            let total = rows.len(zeros);
            let mut end = None;
            let mut covered = 0u64;
            for nr in 0..total.min(300_000) {
                let row = rows.get(&space, nr, zeros).unwrap();
                let range = row.range();
                if let Some(end) = end.filter(|_| max_segments == MAX_SEGMENTS) {
                    let is_shared = matches!(row, Row::Bytes { .. }) && range.start < end;
                    assert!(end == range.start || is_shared, "{row:x?} behind {end:x}");
                }
                if row.has_content() {
                    covered += range.end.0 - range.start.0;
                    for addr in [range.start, VirtAddr(range.end.0 - 1)] {
                        let found = rows.get(&space, rows.row_of(&space, addr, zeros), zeros).unwrap();
                        assert!(found.range().contains(&addr), "{addr:x} is not in {found:x?}");
                    }
                }
                if let Row::Gap(gap) = &row {
                    assert_eq!(rows.row_of(&space, gap.start, zeros), nr);
                }
                end = Some(range.end);
            }
            if total <= 300_000 {
                assert!(covered >= space.mapped_bytes(), "{covered} of {}", space.mapped_bytes());
            }
            assert_eq!(rows.get(&space, total, zeros), None);
        }
    }

    #[test]
    fn every_mapped_byte_stands_on_exactly_the_row_that_its_address_leads_to() {
        for name in ["memory-zoo.tar.zst", "incremental.tar", "fd-zoo.tar.zst"] {
            let memory = memory(name);
            check(&memory, Zeros::Folded, MAX_SEGMENTS);
            check(&memory, Zeros::Open, MAX_SEGMENTS);
        }
    }

    #[test]
    fn segments_behind_the_last_numbered_one_are_found_through_the_vmas() {
        let memory = memory("incremental.tar");
        check(&memory, Zeros::Folded, 7);
        check(&memory, Zeros::Open, 0);
    }

    #[test]
    fn absent_pages_and_long_zeros_are_one_row_each() {
        let memory = memory("incremental.tar");
        let space = memory.spaces().next().unwrap();
        let rows = Rows::new(&space);
        let folded = space.segments().filter(|segment| is_folded(segment, Zeros::Folded)).count() as u64;
        assert!(folded > 3);
        let shown: u64 = space
            .segments()
            .filter(|segment| !is_folded(segment, Zeros::Folded))
            .map(|segment| segment.len_bytes().div_ceil(ROW_BYTES))
            .sum();
        let vmas = &space.map().vmas;
        let gaps = vmas.windows(2).filter(|pair| pair[0].end < pair[1].start).count();
        assert_eq!(rows.len(Zeros::Folded), shown + folded + (vmas.len() + gaps) as u64);
        assert!(rows.len(Zeros::Open) > rows.len(Zeros::Folded));
    }
}
