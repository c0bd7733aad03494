//! Which rows of a table are shown, in which order: filtered, then sorted, in slices that fit into
//! a frame. What is shown meanwhile is always a set of real rows, each once.

use std::cmp::Ordering;

use super::table::TableRows;

/// How many steps are made between two looks at the clock.
const STEPS: usize = 64;

/// An order being made, or made.
#[derive(Debug, Default)]
pub(super) struct Order {
    rows: Vec<u32>,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// Looking at rows from this one on.
    Filter(u32),
    /// One pass of a merge sort from the bottom up.
    Merge(Merge),
    #[default]
    Done,
}

/// Merges neighbouring runs of `width` rows into runs of twice that.
#[derive(Debug)]
struct Merge {
    width: usize,
    merged: Vec<u32>,
    /// Where the two runs that are merged now begin and have got to.
    start: usize,
    left: usize,
    right: usize,
}

/// What decides on rows and their order.
#[derive(Clone, Copy)]
pub(super) struct Criteria<'a> {
    pub(super) rows: &'a dyn TableRows,
    pub(super) needle: &'a str,
    pub(super) nr_columns: usize,
    /// Column, and whether it ascends.
    pub(super) sort: Option<(usize, bool)>,
}

impl Criteria<'_> {
    fn compare(&self, a: u32, b: u32) -> Ordering {
        let Some((column, is_ascending)) = self.sort else { return Ordering::Equal };
        let order = self.rows.compare(a as usize, b as usize, column);
        if is_ascending { order } else { order.reverse() }
    }
}

impl Order {
    /// Begins anew.
    pub(super) fn restart(&mut self) {
        self.rows.clear();
        self.stage = Stage::Filter(0);
    }

    /// The rows, as far as they are known.
    pub(super) fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// Goes on until done or `is_time_up`; whether it is done.
    pub(super) fn advance(&mut self, criteria: Criteria<'_>, mut is_time_up: impl FnMut() -> bool) -> bool {
        while !matches!(self.stage, Stage::Done) {
            for _ in 0..STEPS {
                self.step(criteria);
            }
            if is_time_up() {
                break;
            }
        }
        matches!(self.stage, Stage::Done)
    }

    fn step(&mut self, criteria: Criteria<'_>) {
        let count = u32::try_from(criteria.rows.len()).unwrap_or(u32::MAX);
        match &mut self.stage {
            Stage::Filter(next) => {
                if criteria.needle.is_empty() {
                    self.rows = (0..count).collect();
                    *next = count;
                } else if *next < count {
                    if criteria.rows.matches(*next as usize, criteria.needle, criteria.nr_columns) {
                        self.rows.push(*next);
                    }
                    *next += 1;
                }
                if *next >= count {
                    self.stage = if criteria.sort.is_some() { self.pass(1) } else { Stage::Done };
                }
            }
            Stage::Merge(merge) => {
                if merge.step(&self.rows, criteria) {
                    self.rows = std::mem::take(&mut merge.merged);
                    let width = merge.width.saturating_mul(2);
                    self.stage = self.pass(width);
                }
            }
            Stage::Done => {}
        }
    }

    fn pass(&self, width: usize) -> Stage {
        if width >= self.rows.len() {
            return Stage::Done;
        }
        let merged = Vec::with_capacity(self.rows.len());
        Stage::Merge(Merge { width, merged, start: 0, left: 0, right: width })
    }
}

impl Merge {
    /// Moves one row; true when the pass is over.
    fn step(&mut self, rows: &[u32], criteria: Criteria<'_>) -> bool {
        let middle = self.start.saturating_add(self.width).min(rows.len());
        let end = middle.saturating_add(self.width).min(rows.len());
        let left = rows.get(self.left).copied().filter(|_| self.left < middle);
        let right = rows.get(self.right).copied().filter(|_| self.right < end);
        match (left, right) {
            // Equal rows keep their order.
            (Some(left), Some(right)) if criteria.compare(left, right) != Ordering::Greater => {
                self.merged.push(left);
                self.left += 1;
            }
            (_, Some(right)) => {
                self.merged.push(right);
                self.right += 1;
            }
            (Some(left), None) => {
                self.merged.push(left);
                self.left += 1;
            }
            (None, None) => {
                self.start = end;
                self.left = end;
                self.right = end.saturating_add(self.width).min(rows.len());
                return end >= rows.len();
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::Numbers;
    use super::*;

    /// The order made in as many slices as there can be; every state on the way has no row twice.
    fn made(numbers: &[u32], needle: &str, sort: Option<(usize, bool)>) -> Vec<u32> {
        let rows = Numbers(numbers.to_vec());
        let criteria = Criteria { rows: &rows, needle, nr_columns: 1, sort };
        let mut order = Order::default();
        order.restart();
        while !order.advance(criteria, || true) {
            let mut seen = order.rows().to_vec();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), order.rows().len());
        }
        order.rows().to_vec()
    }

    proptest::proptest! {
        #[test]
        fn slices_make_the_same_order_as_one_stable_sort(numbers in proptest::collection::vec(0u32..50, 0..300), is_ascending: bool) {
            let mut wanted: Vec<u32> = (0..numbers.len() as u32).collect();
            wanted.sort_by(|a, b| {
                let order = numbers[*a as usize].cmp(&numbers[*b as usize]);
                if is_ascending { order } else { order.reverse() }
            });
            proptest::prop_assert_eq!(made(&numbers, "", Some((0, is_ascending))), wanted);
        }

        #[test]
        fn slices_keep_what_matches_in_order(numbers in proptest::collection::vec(0u32..500, 0..300)) {
            let matching = |row: &u32| numbers[*row as usize].to_string().contains('7');
            let wanted: Vec<u32> = (0..numbers.len() as u32).filter(matching).collect();
            proptest::prop_assert_eq!(made(&numbers, "7", None), wanted);
        }
    }
}
