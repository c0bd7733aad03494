//! Moving a cursor through the rows of a space, and what lies under it.

use crate::base::{ByteOrder, VirtAddr};
use crate::memory::AddressSpace;

use super::pointer_at;
use super::rows::{ROW_BYTES, Row, Rows, Zeros};

/// One move of the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One byte back.
    Left,
    /// One byte on.
    Right,
    /// One row back.
    Up,
    /// One row on.
    Down,
    /// So many rows back.
    PageUp(u64),
    /// So many rows on.
    PageDown(u64),
    /// The first byte of the row.
    RowStart,
    /// The last byte of the row.
    RowEnd,
    /// The first mapped byte.
    First,
    /// The last mapped byte.
    Last,
}

/// Where a step leads to from an address. Borders and gaps are passed over; a folded row is one place.
pub fn step(space: &AddressSpace<'_>, rows: &Rows, zeros: Zeros, at: VirtAddr, step: Step) -> VirtAddr {
    let last = rows.len(zeros).saturating_sub(1);
    let row = rows.row_of(space, at, zeros);
    let column = at.0 % ROW_BYTES;
    let found = match step {
        Step::Left => match rows.get(space, row, zeros) {
            Some(Row::Bytes { range, .. }) if range.start < at => return VirtAddr(at.0 - 1),
            _ => row.checked_sub(1).and_then(|row| content(space, rows, zeros, row, Way::Back)).map(last_of),
        },
        Step::Right => match rows.get(space, row, zeros) {
            Some(Row::Bytes { range, .. }) if at.0 + 1 < range.end.0 => return VirtAddr(at.0 + 1),
            _ => content(space, rows, zeros, row.saturating_add(1), Way::On).map(|row| row.range().start),
        },
        Step::Up => {
            row.checked_sub(1).and_then(|row| content(space, rows, zeros, row, Way::Back)).map(in_column(column))
        }
        Step::Down => content(space, rows, zeros, row.saturating_add(1), Way::On).map(in_column(column)),
        Step::PageUp(by) => near(space, rows, zeros, row.saturating_sub(by), Way::Back).map(in_column(column)),
        Step::PageDown(by) => {
            near(space, rows, zeros, row.saturating_add(by).min(last), Way::On).map(in_column(column))
        }
        Step::RowStart => rows.get(space, row, zeros).filter(Row::has_content).map(|row| row.range().start),
        Step::RowEnd => rows.get(space, row, zeros).filter(Row::has_content).map(last_of),
        Step::First => near(space, rows, zeros, 0, Way::On).map(|row| row.range().start),
        Step::Last => near(space, rows, zeros, last, Way::Back).map(last_of),
    };
    found.unwrap_or(at)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Back,
    On,
}

/// The first row from this one on that has content. No more than a gap and a border stand before one.
fn content<'a>(space: &AddressSpace<'a>, rows: &Rows, zeros: Zeros, mut row: u64, way: Way) -> Option<Row<'a>> {
    for _ in 0..4 {
        let found = rows.get(space, row, zeros)?;
        if found.has_content() {
            return Some(found);
        }
        row = if way == Way::On { row.checked_add(1)? } else { row.checked_sub(1)? };
    }
    None
}

/// As [`content`], and the other way when there is none.
fn near<'a>(space: &AddressSpace<'a>, rows: &Rows, zeros: Zeros, row: u64, way: Way) -> Option<Row<'a>> {
    let other = if way == Way::On { Way::Back } else { Way::On };
    content(space, rows, zeros, row, way).or_else(|| content(space, rows, zeros, row, other))
}

fn last_of(row: Row<'_>) -> VirtAddr {
    match row {
        Row::Bytes { range, .. } => VirtAddr(range.end.0.saturating_sub(1).max(range.start.0)),
        row => row.range().start,
    }
}

fn in_column(column: u64) -> impl Fn(Row<'_>) -> VirtAddr {
    move |row| match row {
        Row::Bytes { base, range } => {
            let last = VirtAddr(range.end.0.saturating_sub(1));
            VirtAddr(base.0.saturating_add(column)).min(last).max(range.start)
        }
        row => {
            let range = row.range();
            // Keeps the column, so that the way on from a folded row is straight.
            let wanted = VirtAddr((range.start.0 / ROW_BYTES * ROW_BYTES).saturating_add(column));
            if range.contains(&wanted) { wanted } else { range.start }
        }
    }
}

/// The pointer under an address: where it stands, and where in mapped memory it leads. The aligned one first.
pub fn pointer_under(
    space: &AddressSpace<'_>,
    at: VirtAddr,
    len: u64,
    order: ByteOrder,
) -> Option<(VirtAddr, VirtAddr)> {
    let aligned = VirtAddr(at.0 / len.max(1) * len.max(1));
    [aligned, at].into_iter().find_map(|from| {
        let to = pointer_at(space, from, len, order)?;
        space.map().vma_at(to).map(|_| (from, to))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Pid;
    use crate::session::space::rows::tests::memory;

    #[test]
    fn walking_right_and_left_passes_the_same_places() {
        let memory = memory("incremental.tar");
        for space in memory.spaces() {
            let rows = Rows::new(&space);
            let mut places = vec![step(&space, &rows, Zeros::Folded, VirtAddr(0), Step::First)];
            // As far as the third vma, where borders, gaps and folded rows have been.
            let stop = space.map().vmas[2].start;
            while *places.last().unwrap() < stop && places.len() < 100_000 {
                let next = step(&space, &rows, Zeros::Folded, *places.last().unwrap(), Step::Right);
                assert!(next > *places.last().unwrap());
                places.push(next);
            }
            let mut at = *places.last().unwrap();
            for place in places.iter().rev().skip(1).take(5000) {
                at = step(&space, &rows, Zeros::Folded, at, Step::Left);
                assert_eq!(at, *place);
            }
        }
    }

    #[test]
    fn ends_are_reached_and_not_left() {
        let memory = memory("memory-zoo.tar.zst");
        let space = memory.space(Pid(1)).unwrap();
        let rows = Rows::new(&space);
        let go = |at, way| step(&space, &rows, Zeros::Open, at, way);
        let (first, last) = (go(VirtAddr(0), Step::First), go(VirtAddr(0), Step::Last));
        let vmas = &space.map().vmas;
        assert_eq!(first, vmas[0].start);
        assert!(vmas.last().unwrap().start <= last);
        for way in [Step::Left, Step::Up, Step::PageUp(1 << 40)] {
            assert_eq!(go(first, way), first, "{way:?}");
        }
        for way in [Step::Right, Step::PageDown(u64::MAX)] {
            assert_eq!(rows.row_of(&space, go(last, way), Zeros::Open), rows.len(Zeros::Open) - 1, "{way:?}");
        }
    }

    #[test]
    fn rows_keep_the_column() {
        let memory = memory("memory-zoo.tar.zst");
        let space = memory.space(Pid(1)).unwrap();
        let rows = Rows::new(&space);
        let mut at = VirtAddr(space.map().vmas[0].start.0 + 5);
        for _ in 0..2000 {
            at = step(&space, &rows, Zeros::Folded, at, Step::Down);
            assert_eq!(at.0 % ROW_BYTES, 5);
        }
    }

    #[test]
    fn pointer_is_found_from_any_of_its_bytes() {
        let memory = memory("memory-zoo.tar.zst");
        let space = memory.space(Pid(1)).unwrap();
        let process = memory.checkpoint().process(Pid(1)).unwrap();
        let sp = process.threads[0].registers.known().unwrap().sp;
        let found = (0..512).map(|n| VirtAddr(sp / 8 * 8 + 8 * n)).find_map(|at| {
            let to = pointer_at(&space, at, 8, ByteOrder::Little)?;
            space.map().vma_at(to).map(|_| (at, to))
        });
        let (at, to) = found.unwrap();
        for inside in 0..8 {
            assert_eq!(pointer_under(&space, VirtAddr(at.0 + inside), 8, ByteOrder::Little), Some((at, to)));
        }
    }
}
