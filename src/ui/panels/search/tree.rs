//! Which rows there are: hits under process and map, or under kind and file; branches can be closed, a filter hides hits.
//!
//! Hits only ever come behind those that are there, so rows are added, in slices that fit into a frame, and made anew
//! only when a branch or the filter changes.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::session::search::SearchSession;
use crate::session::{ArchiveId, SearchId};

/// How long a frame may make rows.
const SLICE: Duration = Duration::from_millis(2);
/// How many hits are looked at between two looks at the clock.
const STEPS: usize = 32;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Row {
    /// A process, or a kind of source, by its number.
    Owner(usize),
    /// A map, a queue or a file, by its number.
    Part(usize),
    /// A hit, by its number.
    Hit(usize),
}

/// Rows of one search.
#[derive(Debug, Default)]
pub(super) struct HitTree {
    pub(super) rows: Vec<Row>,
    /// How many hits the filter lets through, those in closed branches included.
    pub(super) matching: usize,
    pub(super) needle: String,
    made_for: Option<(ArchiveId, SearchId, u64, String, u64)>,
    /// Hits that were looked at.
    seen: usize,
    /// The last groups that have a row.
    last: (Option<usize>, Option<usize>),
    closed: HashSet<(SearchId, Row)>,
    edits: u64,
    /// The row under the keys.
    pub(super) selected: Option<Row>,
    pub(super) shown_hit: Option<usize>,
    pub(super) scroll_to: Option<usize>,
    pub(super) offset: f32,
}

impl HitTree {
    /// Goes on with the rows; whether all hits are in them.
    pub(super) fn update(&mut self, archive: ArchiveId, session: &SearchSession) -> bool {
        // A search that runs again has another job.
        let wanted = (archive, session.id(), session.job().0, session.filter().to_owned(), self.edits);
        if self.made_for.as_ref() != Some(&wanted) {
            let is_other =
                self.made_for.as_ref().is_none_or(|made| (made.0, made.1, made.2) != (wanted.0, wanted.1, wanted.2));
            if is_other {
                self.selected = None;
                self.shown_hit = None;
                self.offset = 0.0;
            }
            self.needle = session.filter().to_lowercase();
            self.rows.clear();
            self.matching = 0;
            self.seen = 0;
            self.last = (None, None);
            self.made_for = Some(wanted);
        }
        let started = Instant::now();
        while self.seen < session.hits().len() {
            for _ in 0..STEPS {
                self.add(session);
            }
            if started.elapsed() >= SLICE {
                break;
            }
        }
        self.seen >= session.hits().len()
    }

    fn add(&mut self, session: &SearchSession) {
        let hits = session.hits();
        let nr = self.seen;
        let Some(hit) = hits.get(nr) else { return };
        self.seen += 1;
        if !session.matches(hit, &self.needle) {
            return;
        }
        self.matching += 1;
        let Some(part) = hits.part_of(nr) else { return };
        let Some(owner) = hits.parts().get(part).map(|part| part.group) else { return };
        if self.last.0 != Some(owner) {
            self.rows.push(Row::Owner(owner));
            self.last = (Some(owner), None);
        }
        if !self.is_open(session.id(), Row::Owner(owner)) {
            return;
        }
        if self.last.1 != Some(part) {
            self.rows.push(Row::Part(part));
            self.last.1 = Some(part);
        }
        if self.is_open(session.id(), Row::Part(part)) {
            self.rows.push(Row::Hit(nr));
        }
    }

    pub(super) fn is_open(&self, id: SearchId, row: Row) -> bool {
        !self.closed.contains(&(id, row))
    }

    pub(super) fn set_open(&mut self, id: SearchId, row: Row, is_open: bool) {
        let is_changed = if is_open { self.closed.remove(&(id, row)) } else { self.closed.insert((id, row)) };
        self.edits += u64::from(is_changed);
    }

    /// Opens what hides a hit.
    pub(super) fn reveal(&mut self, session: &SearchSession, hit: usize) {
        let Some(part) = session.hits().part_of(hit) else { return };
        self.set_open(session.id(), Row::Part(part), true);
        if let Some(part) = session.hits().parts().get(part) {
            self.set_open(session.id(), Row::Owner(part.group), true);
        }
    }

    /// Where a row stands. Rows are in the order of their first hits, groups before what is in them.
    pub(super) fn position(&self, session: &SearchSession, row: Row) -> Option<usize> {
        let hits = session.hits();
        let key = |row: Row| match row {
            Row::Owner(nr) => (hits.groups().get(nr).map_or(0, |group| group.hits.start), 0),
            Row::Part(nr) => (hits.parts().get(nr).map_or(0, |part| part.hits.start), 1),
            Row::Hit(nr) => (nr, 2),
        };
        let wanted = key(row);
        let at = self.rows.partition_point(|known| key(*known) < wanted);
        (self.rows.get(at) == Some(&row)).then_some(at)
    }

    /// The group that a row lies in.
    pub(super) fn parent(session: &SearchSession, row: Row) -> Option<Row> {
        match row {
            Row::Owner(_) => None,
            Row::Part(nr) => session.hits().parts().get(nr).map(|part| Row::Owner(part.group)),
            Row::Hit(nr) => session.hits().part_of(nr).map(Row::Part),
        }
    }
}
