//! Cuts a space into units of work.
//!
//! A unit is a range of starts: it finds the matches that *begin* in it. Large pieces are scanned where they lie, all but
//! their ends: what is left between them (ends, small pieces, compressed ones) is gathered, which means copied, together
//! with as much of the next piece as a match may reach into. Units that lie in place are cut at fixed offsets of their
//! buffer, so that two processes that map the same object have the same units.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use crate::memory::Missing;

use super::space::{Piece, Space, What};

/// Most bytes that a unit is responsible for.
pub(super) const UNIT_BYTES: u64 = 1 << 20;
/// Pieces from this size on are scanned where they lie.
const MIN_IN_PLACE_BYTES: u64 = 64 << 10;
/// Units of one piece wait in a list: larger ones are cut, at fixed offsets of their buffer.
const MAX_PIECE_BYTES: u64 = 1 << 30;
/// Bytes before the start of a match that an expression may look at (`\b`).
const LOOK_BEHIND: u64 = 8;

/// The next thing to do.
#[derive(Debug)]
pub(super) enum Planned {
    Unit(Unit),
    Skipped(Range<u64>, Missing),
}

/// A range of starts, and how to get at its bytes.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// Addresses where matches may begin.
    pub(super) range: Range<u64>,
    pub(super) bytes: UnitBytes,
}

#[derive(Clone, Debug)]
pub(super) enum UnitBytes {
    /// In a buffer: the range begins at `from`, and so many bytes before and behind it belong to it.
    InPlace { buffer: Bytes, from: usize, behind: usize, ahead: usize },
    /// To be copied together, with so many bytes before it.
    Gather { behind: u64 },
}

/// Walks a space from the lowest address up.
#[derive(Debug)]
pub(super) struct Planner {
    /// Bytes behind a start that may belong to a match.
    look: u64,
    /// Where the next piece begins.
    at: u64,
    /// The contiguous addresses before `at`; empty when there are none.
    stretch: Range<u64>,
    /// What is to be gathered: always ends at `stretch.end`, until it is flushed.
    gather: Option<Range<u64>>,
    /// Nothing but untouched zeros is to be gathered so far.
    is_gather_zero: bool,
    out: VecDeque<Planned>,
    /// One for each piece, and one for each page that is copied.
    effort: u64,
}

impl Planner {
    pub(super) fn new(look_ahead: usize) -> Planner {
        Planner {
            look: look_ahead as u64,
            at: 0,
            stretch: 0..0,
            gather: None,
            is_gather_zero: true,
            out: VecDeque::new(),
            effort: 0,
        }
    }

    /// How much work the plan is so far: one for each piece, and one for each page that is copied.
    pub(super) fn effort(&self) -> u64 {
        self.effort
    }

    pub(super) fn next(&mut self, space: &Space<'_>) -> Option<Planned> {
        loop {
            if let Some(planned) = self.out.pop_front() {
                return Some(planned);
            }
            let Some(piece) = space.next_piece(self.at) else {
                self.flush();
                return self.out.pop_front();
            };
            self.add(space, piece);
        }
    }

    fn add(&mut self, space: &Space<'_>, piece: Piece<'_>) {
        let Piece { mut range, what } = piece;
        self.at = range.end;
        self.effort = self.effort.saturating_add(1);
        if let What::Absent(why) = what {
            self.flush();
            self.stretch = range.end..range.end;
            return self.out.push_back(Planned::Skipped(range, why));
        }
        let is_start = range.start != self.stretch.end || self.stretch.is_empty();
        if is_start {
            self.flush();
            self.stretch = range.start..range.start;
        }
        match what {
            What::Plain { buffer, from } => {
                // Pieces that are neighbours in the evidence as well are one, up to a size.
                let max_end = range.start + (MAX_PIECE_BYTES - from as u64 % MAX_PIECE_BYTES);
                while range.end < max_end {
                    let end = from.saturating_add(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
                    match space.next_piece(range.end) {
                        Some(Piece { range: next, what: What::Plain { buffer: other, from: begins } })
                            if next.start == range.end && begins == end && other.as_ptr() == buffer.as_ptr() =>
                        {
                            range.end = next.end;
                        }
                        _ => break,
                    }
                }
                range.end = range.end.min(max_end);
                self.at = range.end;
                self.stretch.end = range.end;
                if range.end - range.start < MIN_IN_PLACE_BYTES.max(self.look.saturating_mul(4)) {
                    self.extend_gather(range, false);
                } else {
                    self.add_in_place(range, &buffer, from, is_start);
                }
            }
            What::Zero => {
                self.stretch.end = range.end;
                if range.end - range.start <= self.look.saturating_mul(2).saturating_add(LOOK_BEHIND) {
                    return self.extend_gather(range, true);
                }
                self.flush();
                // Matches that end in what comes next may begin in the last zeros.
                let tail = range.end - self.look..range.end;
                self.gather = (!tail.is_empty()).then_some(tail);
                self.is_gather_zero = true;
            }
            What::Packed(_) => {
                self.stretch.end = range.end;
                self.extend_gather(range, false);
            }
            What::Absent(_) => {}
        }
    }

    fn add_in_place(&mut self, range: Range<u64>, buffer: &Bytes, from: usize, is_start: bool) {
        let core_start = if is_start { range.start } else { range.start + LOOK_BEHIND };
        let core_end = range.end - self.look;
        if !is_start {
            self.extend_gather(range.start..core_start, false);
            self.flush();
        }
        // Both are inside the buffer, whose length is a usize.
        let offset_of = |addr: u64| from as u64 + (addr - range.start);
        let mut start = core_start;
        while start < core_end {
            let offset = offset_of(start);
            let next_cut = (offset / UNIT_BYTES + 1) * UNIT_BYTES;
            let end = core_end.min(start + (next_cut - offset));
            let size = |len: u64| usize::try_from(len).unwrap_or(0);
            let bytes = UnitBytes::InPlace {
                buffer: buffer.clone(),
                from: size(offset),
                behind: size(LOOK_BEHIND.min(start - range.start)),
                ahead: size(self.look.min(range.end - end)),
            };
            self.out.push_back(Planned::Unit(Unit { range: start..end, bytes }));
            start = end;
        }
        self.gather = (core_end < range.end).then_some(core_end..range.end);
        self.is_gather_zero = false;
    }

    fn extend_gather(&mut self, range: Range<u64>, is_zero: bool) {
        let mut gather = match self.gather.take() {
            Some(gather) => gather.start..range.end,
            None => {
                self.is_gather_zero = true;
                range
            }
        };
        self.is_gather_zero &= is_zero;
        while gather.end - gather.start >= UNIT_BYTES {
            let cut = gather.start + UNIT_BYTES;
            self.push_gather(gather.start..cut);
            gather.start = cut;
        }
        self.gather = (!gather.is_empty()).then_some(gather);
    }

    fn flush(&mut self) {
        if let Some(gather) = self.gather.take().filter(|_| !self.is_gather_zero) {
            self.push_gather(gather);
        }
    }

    fn push_gather(&mut self, range: Range<u64>) {
        let behind = LOOK_BEHIND.min(range.start.saturating_sub(self.stretch.start));
        self.effort = self.effort.saturating_add((range.end - range.start) >> 12);
        self.out.push_back(Planned::Unit(Unit { range, bytes: UnitBytes::Gather { behind } }));
    }
}
