//! Where the analyst is in a space: top row, cursor, selection.

use std::ops::Range;

use crate::base::VirtAddr;
use crate::memory::AddressSpace;
use crate::session::space::rows::{Rows, Zeros};
use crate::ui::panels::address_rows::ROW;

/// Which row is on top, and where the cursor is.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The row on top.
    pub(super) top: u64,
    /// How many points of it are above the edge.
    pub(super) above: f32,
    /// The byte under the cursor.
    pub(super) cursor: Option<VirtAddr>,
    /// The other end of the selection.
    pub(super) anchor: Option<VirtAddr>,
    pub(super) zeros: Zeros,
    /// An address to bring into view.
    pub(super) reveal: Option<Reveal>,
    /// Take the keyboard.
    pub(super) wants_focus: bool,
    /// The button was pressed on a byte: moving on selects.
    pub(super) is_selecting: bool,
    /// Rows that were in view in the last frame.
    pub(super) rows_in_view: u64,
}

/// How an address is brought into view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reveal {
    /// With something of what is before it, unless it is in view.
    Place(VirtAddr),
    /// With as little movement as possible.
    Near(VirtAddr),
}

impl View {
    /// Puts the cursor on an address and shows it.
    pub(super) fn go(&mut self, addr: VirtAddr) {
        self.cursor = Some(addr);
        self.anchor = None;
        self.reveal = Some(Reveal::Place(addr));
    }

    /// Moves the cursor; with `extends` the selection grows to it.
    pub(super) fn move_to(&mut self, addr: VirtAddr, extends: bool) {
        self.anchor = if extends { self.anchor.or(self.cursor) } else { None };
        self.cursor = Some(addr);
        self.reveal = Some(Reveal::Near(addr));
    }

    /// The selected addresses: at least the byte under the cursor.
    pub(super) fn selection(&self) -> Option<Range<VirtAddr>> {
        let cursor = self.cursor?;
        let anchor = self.anchor.unwrap_or(cursor);
        Some(anchor.min(cursor)..VirtAddr(anchor.max(cursor).0.saturating_add(1)))
    }

    /// Moves by points; positive is towards the end.
    pub(super) fn scroll(&mut self, points: f32) {
        let to = self.above + points;
        let rows = (to / ROW).floor();
        self.above = to - rows * ROW;
        if rows < 0.0 {
            let rows = -rows as u64;
            if self.top < rows {
                self.above = 0.0;
            }
            self.top = self.top.saturating_sub(rows);
        } else {
            self.top = self.top.saturating_add(rows as u64);
        }
    }

    /// Brings into view what is asked for and keeps within the rows there are. `height` is in points.
    pub(super) fn settle(&mut self, space: &AddressSpace<'_>, rows: &Rows, height: f32) {
        let whole = ((height / ROW) as u64).max(1);
        self.rows_in_view = whole;
        if let Some(reveal) = self.reveal.take() {
            let (Reveal::Place(addr) | Reveal::Near(addr)) = reveal;
            let row = rows.row_of(space, addr, self.zeros);
            let first = self.top + u64::from(self.above > 0.0);
            let is_in_view = first <= row && row < self.top.saturating_add(whole);
            if !is_in_view {
                self.above = 0.0;
                self.top = match reveal {
                    Reveal::Place(_) => row.saturating_sub(whole / 3),
                    Reveal::Near(_) if row < first => row,
                    Reveal::Near(_) => (row + 1).saturating_sub(whole),
                };
            }
        }
        let last_top = rows.len(self.zeros).saturating_sub(whole);
        if last_top <= self.top {
            self.top = last_top;
            self.above = 0.0;
        }
    }

    /// Folds or opens zeros; what is on top stays there.
    pub(super) fn set_zeros(&mut self, space: &AddressSpace<'_>, rows: &Rows, zeros: Zeros) {
        let top = rows.get(space, self.top, self.zeros).map(|row| row.range().start);
        self.zeros = zeros;
        if let Some(top) = top {
            self.top = rows.row_of(space, top, zeros);
            self.above = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrolling_goes_by_points_and_stops_at_the_top() {
        let mut view = View { top: u64::MAX / 32, ..View::default() };
        view.scroll(ROW * 2.5);
        assert_eq!((view.top, view.above), (u64::MAX / 32 + 2, ROW * 0.5));
        view.scroll(-ROW);
        assert_eq!((view.top, view.above), (u64::MAX / 32 + 1, ROW * 0.5));
        view.top = 1;
        view.scroll(-100.0 * ROW);
        assert_eq!((view.top, view.above), (0, 0.0));
    }

    #[test]
    fn selection_holds_both_ends() {
        let mut view = View::default();
        assert_eq!(view.selection(), None);
        view.go(VirtAddr(0x20));
        assert_eq!(view.selection(), Some(VirtAddr(0x20)..VirtAddr(0x21)));
        view.move_to(VirtAddr(0x10), true);
        view.move_to(VirtAddr(0x12), true);
        assert_eq!(view.selection(), Some(VirtAddr(0x12)..VirtAddr(0x21)));
        view.move_to(VirtAddr(0x13), false);
        assert_eq!(view.selection(), Some(VirtAddr(0x13)..VirtAddr(0x14)));
    }
}
