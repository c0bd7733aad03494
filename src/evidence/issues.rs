//! Collects what is wrong with an archive, bounded whatever the archive does.

use std::collections::BTreeMap;

use crate::base::{Issue, Place};

/// Issues by kind: of each kind the first ones are kept, the rest is counted.
#[derive(Debug)]
pub(super) struct IssueLog {
    issues: Vec<Issue>,
    seen: BTreeMap<&'static str, usize>,
    max_per_kind: usize,
}

impl IssueLog {
    pub(super) fn new(max_per_kind: usize) -> IssueLog {
        IssueLog { issues: Vec::new(), seen: BTreeMap::new(), max_per_kind }
    }

    /// `kind` in a few words, for the line that counts what was left out; the rest is only made when it is kept.
    pub(super) fn add(&mut self, kind: &'static str, issue: impl FnOnce() -> (Place, String)) {
        let seen = self.seen.entry(kind).or_default();
        *seen = seen.saturating_add(1);
        if *seen <= self.max_per_kind {
            let (place, what) = issue();
            self.issues.push(Issue::new(place, what));
        }
    }

    /// All that was kept, and a line for each kind of which there were more.
    pub(super) fn finish(self, name: &str) -> Vec<Issue> {
        let mut issues = self.issues;
        for (kind, seen) in self.seen {
            if let Some(more) = seen.checked_sub(self.max_per_kind).filter(|more| *more > 0) {
                issues.push(Issue::new(Place::member(name), format!("{more} more like this are not listed: {kind}")));
            }
        }
        issues
    }
}
