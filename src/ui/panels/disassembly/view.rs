//! Which row of a listing is on top, and where the cursor is.

use crate::base::VirtAddr;
use crate::checkpoint::Process;
use crate::session::space::code::is_code;
use crate::session::space::listing::{Listing, Row, Spot};
use crate::ui::panels::address_rows::ROW;

/// Rows that a row with content is looked for in.
const NEAR: usize = 8;

/// The view of a process.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The row on top.
    pub(super) top: Spot,
    /// How many points of it are above the edge.
    pub(super) above: f32,
    /// Start of the row that is selected.
    pub(super) cursor: Option<VirtAddr>,
    /// The area that is decoded though it cannot be executed.
    pub(super) opened: Option<VirtAddr>,
    /// The address that was gone to last: a row begins there in any case.
    pub(super) pinned: Option<VirtAddr>,
    /// An address to bring into view.
    reveal: Option<VirtAddr>,
    /// Take the keyboard.
    pub(super) wants_focus: bool,
    /// Whole rows in the last frame.
    pub(super) rows_in_view: usize,
}

impl View {
    /// Puts the cursor on an address and shows it.
    pub(super) fn go(&mut self, process: &Process, addr: VirtAddr) {
        self.cursor = Some(addr);
        self.pinned = Some(addr);
        self.reveal = Some(addr);
        self.wants_focus = true;
        let vma = process.memory.known().and_then(|map| map.vma_at(addr));
        if let Some(vma) = vma.filter(|vma| !is_code(vma)) {
            self.opened = Some(vma.start);
        }
    }

    /// Decodes an area though it cannot be executed.
    pub(super) fn open(&mut self, start: VirtAddr) {
        self.opened = Some(start);
        self.cursor = Some(start);
    }

    /// Moves by points; positive is towards the end.
    pub(super) fn scroll(&mut self, listing: &Listing<'_>, points: f32) {
        let to = self.above + points;
        let rows = (to / ROW).floor();
        self.above = to - rows * ROW;
        let nr = rows.abs() as usize;
        if rows < 0.0 {
            let top = listing.spot_before(self.top, nr);
            if top == self.top {
                self.above = 0.0;
            }
            self.top = top;
        } else if nr > 0 {
            let rows = listing.rows_from(self.top, nr + 1);
            self.top = rows.last().map_or(self.top, |(spot, _)| *spot);
        }
    }

    /// The rows in view, after what is asked for was brought there. `height` is in points.
    pub(super) fn settle<'a>(&mut self, listing: &Listing<'a>, height: f32) -> Vec<(Spot, Row<'a>)> {
        let whole = ((height / ROW) as usize).max(1);
        self.rows_in_view = whole;
        let wanted = whole + 2;
        let mut rows = listing.rows_from(self.top, wanted);
        if let Some(addr) = self.reveal.take() {
            let start = listing.start_of(addr);
            let is_row = |row: &Row<'_>| row.has_content() && row.range().start == start;
            let first = usize::from(self.above > 0.0);
            if !rows.iter().take(whole).skip(first).any(|(_, row)| is_row(row)) {
                self.above = 0.0;
                self.top = listing.spot_before(Spot { addr: start, part: 0 }, whole / 3);
                rows = listing.rows_from(self.top, wanted);
            }
            self.cursor = Some(start);
        }
        if rows.len() < whole {
            self.above = 0.0;
            let missing = whole - rows.len();
            self.top = listing.spot_before(self.top, missing);
            rows = listing.rows_from(self.top, wanted);
        }
        rows
    }

    /// Moves the cursor by so many rows that it can stand on.
    pub(super) fn step(&mut self, listing: &Listing<'_>, by: isize) {
        let Some(at) = self.cursor else { return };
        let nr = by.unsigned_abs();
        let to = if by > 0 { after(listing, at, nr) } else { before(listing, at, nr) };
        let to = to.unwrap_or(at);
        self.cursor = Some(to);
        self.keep_in_view(listing, to);
    }

    /// Scrolls with as little movement as possible until a row is in view.
    fn keep_in_view(&mut self, listing: &Listing<'_>, addr: VirtAddr) {
        let rows = listing.rows_from(self.top, self.rows_in_view.max(1));
        let found = rows.iter().any(|(_, row)| row.has_content() && row.range().start == addr);
        if found {
            if rows.first().is_some_and(|(_, row)| row.range().start == addr) {
                self.above = 0.0;
            }
            return;
        }
        self.above = 0.0;
        let parts = listing.at(addr).len();
        let at = Spot { addr, part: parts.saturating_sub(1) };
        self.top = match rows.first() {
            Some((top, _)) if addr < top.addr => Spot { addr, part: 0 },
            _ => listing.spot_before(at, self.rows_in_view.saturating_sub(1)),
        };
    }
}

/// So many rows on that a cursor can stand on, or as many as there are.
fn after(listing: &Listing<'_>, at: VirtAddr, nr: usize) -> Option<VirtAddr> {
    let rows = listing.rows_from(Spot { addr: at, part: 0 }, nr + nr / 2 + NEAR);
    let starts = rows.iter().filter(|(_, row)| row.has_content()).map(|(_, row)| row.range().start);
    starts.filter(|start| at < *start).take(nr).last()
}

fn before(listing: &Listing<'_>, at: VirtAddr, nr: usize) -> Option<VirtAddr> {
    let wanted = nr + nr / 2 + NEAR;
    let first = listing.spot_before(Spot { addr: at, part: 0 }, wanted);
    let rows = listing.rows_from(first, wanted);
    let starts = rows.iter().rev().filter(|(_, row)| row.has_content()).map(|(_, row)| row.range().start);
    starts.filter(|start| *start < at).take(nr).last()
}
