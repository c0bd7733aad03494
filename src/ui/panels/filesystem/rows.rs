//! Which nodes of the tree are in view: what is open, what a filter lets through.
//!
//! A filter looks at every file, in slices that fit into a frame; what it lets through comes with
//! its directories, all of them open until one is closed by hand.

use std::collections::HashSet;

use crate::checkpoint::Checkpoint;
use crate::session::filesystem::{FileGroup, FileList, FileTree};
use crate::session::{ArchiveId, OpenArchive};
use crate::ui::widgets::contains_ignore_case;

/// How many nodes are looked at between two looks at the clock.
const STEPS: u32 = 64;
/// Directories are open at first as long as there are no more rows than this.
const OPEN_AT_FIRST: usize = 200;

/// The rows in view.
#[derive(Debug, Default)]
pub(super) struct Rows {
    of: Option<(ArchiveId, FileGroup, String)>,
    /// Whether directories are open, those in `others` left out.
    is_open: bool,
    others: HashSet<u32>,
    /// What the filter lets through, in order; `None` without a filter.
    kept: Option<Kept>,
    visible: Vec<u32>,
}

#[derive(Debug, Default)]
struct Kept {
    nodes: Vec<u32>,
    /// The last kept node of each level.
    path: Vec<u32>,
    next: u32,
    nr_matching: usize,
}

impl Rows {
    /// Takes in what shall be shown and goes on with it until done or `is_time_up`; whether it is done.
    pub(super) fn update(
        &mut self,
        archive: &OpenArchive,
        group: FileGroup,
        needle: &str,
        is_time_up: impl FnMut() -> bool,
    ) -> bool {
        let is_same = |(id, known, text): &(ArchiveId, FileGroup, String)| {
            (*id, *known, text.as_str()) == (archive.id(), group, needle)
        };
        if !self.of.as_ref().is_some_and(is_same) {
            let is_whole = group == FileGroup::All && needle.is_empty();
            self.of = Some((archive.id(), group, needle.to_owned()));
            if is_whole {
                self.kept = None;
                self.open_at_first(archive.files().tree());
            } else {
                self.kept = Some(Kept::default());
                self.is_open = true;
                self.others.clear();
            }
            self.flatten(archive.files().tree());
        }
        self.search(archive.checkpoint(), archive.files(), group, needle, is_time_up)
    }

    /// Nodes in view, in order.
    pub(super) fn visible(&self) -> &[u32] {
        &self.visible
    }

    /// How many files the filter lets through; `None` without a filter.
    pub(super) fn nr_matching(&self) -> Option<usize> {
        self.kept.as_ref().map(|kept| kept.nr_matching)
    }

    /// Where a node stands in the view.
    pub(super) fn position(&self, node: u32) -> Option<usize> {
        self.visible.binary_search(&node).ok()
    }

    /// Whether a branch is open.
    pub(super) fn is_open(&self, node: u32) -> bool {
        self.is_open != self.others.contains(&node)
    }

    /// Whether every branch is open.
    pub(super) fn is_all_open(&self) -> bool {
        self.is_open && self.others.is_empty()
    }

    /// Opens or closes a branch.
    pub(super) fn toggle(&mut self, tree: &FileTree, node: u32) {
        if !self.others.remove(&node) {
            self.others.insert(node);
        }
        self.flatten(tree);
    }

    /// Opens or closes all of them.
    pub(super) fn set_all(&mut self, tree: &FileTree, is_open: bool) {
        self.is_open = is_open;
        self.others.clear();
        self.flatten(tree);
    }

    /// Opens all that a node is in.
    pub(super) fn open_above(&mut self, tree: &FileTree, node: u32) {
        let mut above = tree.node(node).and_then(|node| node.parent());
        let mut is_changed = false;
        while let Some(at) = above {
            if !self.is_open(at) {
                if !self.others.remove(&at) {
                    self.others.insert(at);
                }
                is_changed = true;
            }
            above = tree.node(at).and_then(|node| node.parent());
        }
        if is_changed {
            self.flatten(tree);
        }
    }

    /// Level by level while there is room; directories without a file worth a look stay closed.
    fn open_at_first(&mut self, tree: &FileTree) {
        self.is_open = false;
        self.others.clear();
        let mut shown = 0;
        let mut level: Vec<u32> = tree.children(None).take(OPEN_AT_FIRST).collect();
        while !level.is_empty() {
            shown += level.len();
            let mut below = Vec::new();
            for at in level.into_iter().filter(|at| tree.is_branch(*at)) {
                let children: Vec<u32> = tree.children(Some(at)).take(OPEN_AT_FIRST).collect();
                let is_usual = tree.node(at).is_some_and(|node| node.is_usual);
                if !is_usual && shown + below.len() + children.len() <= OPEN_AT_FIRST {
                    self.others.insert(at);
                    below.extend(children);
                }
            }
            level = below;
        }
    }

    /// Works out what is in view; looks at nothing in closed branches.
    fn flatten(&mut self, tree: &FileTree) {
        let mut visible = std::mem::take(&mut self.visible);
        visible.clear();
        match &self.kept {
            Some(kept) => {
                let mut hidden_to = 0;
                for at in &kept.nodes {
                    self.show(tree, *at, &mut hidden_to, &mut visible);
                }
            }
            None => {
                let mut at = 0;
                while let Some(node) = tree.node(at) {
                    visible.push(at);
                    at = if self.is_open(at) { at + 1 } else { node.end };
                }
            }
        }
        self.visible = visible;
    }

    fn show(&self, tree: &FileTree, at: u32, hidden_to: &mut u32, visible: &mut Vec<u32>) {
        if at < *hidden_to {
            return;
        }
        visible.push(at);
        if !self.is_open(at) {
            *hidden_to = tree.node(at).map_or(0, |node| node.end);
        }
    }

    fn search(
        &mut self,
        checkpoint: &Checkpoint,
        files: &FileList,
        group: FileGroup,
        needle: &str,
        mut is_time_up: impl FnMut() -> bool,
    ) -> bool {
        let tree = files.tree();
        let Some(mut kept) = self.kept.take() else { return true };
        let first_new = kept.nodes.len();
        let end = u32::try_from(tree.nodes().len()).unwrap_or(u32::MAX);
        while kept.next < end {
            for at in kept.next..end.min(kept.next.saturating_add(STEPS)) {
                if matches(checkpoint, files, group, needle, at) {
                    kept.keep(tree, at);
                }
            }
            kept.next = end.min(kept.next.saturating_add(STEPS));
            if is_time_up() {
                break;
            }
        }
        // A branch that is closed ends behind all that is known of it.
        let mut hidden_to = 0;
        let mut visible = std::mem::take(&mut self.visible);
        if let Some(last) = kept.nodes.get(first_new) {
            let mut above = tree.node(*last).and_then(|node| node.parent());
            while let Some(at) = above {
                if !self.is_open(at) {
                    hidden_to = tree.node(at).map_or(0, |node| node.end);
                }
                above = tree.node(at).and_then(|node| node.parent());
            }
        }
        for at in kept.nodes.get(first_new..).unwrap_or_default() {
            self.show(tree, *at, &mut hidden_to, &mut visible);
        }
        self.visible = visible;
        let is_done = kept.next >= end;
        self.kept = Some(kept);
        is_done
    }
}

impl Kept {
    /// Keeps a node that matches, with its directories.
    fn keep(&mut self, tree: &FileTree, at: u32) {
        self.nr_matching += 1;
        let mut chain = vec![at];
        let mut above = tree.node(at).and_then(|node| node.parent());
        while let Some(parent) = above {
            let Some(node) = tree.node(parent) else { break };
            if self.path.get(usize::from(node.depth)) == Some(&parent) {
                break;
            }
            chain.push(parent);
            above = node.parent();
        }
        for node in chain.into_iter().rev() {
            let depth = tree.node(node).map_or(0, |node| usize::from(node.depth));
            self.path.truncate(depth);
            self.path.push(node);
            self.nodes.push(node);
        }
    }
}

/// Whether a filter, lower case, lets the file of a node through: by path, badge or link target.
pub(super) fn matches(checkpoint: &Checkpoint, files: &FileList, group: FileGroup, needle: &str, at: u32) -> bool {
    let tree = files.tree();
    let Some(row) = tree.node(at).and_then(|node| node.row()).and_then(|row| files.row(row)) else { return false };
    if !group.holds(checkpoint, row.origin) {
        return false;
    }
    if needle.is_empty() || contains_ignore_case(&tree.path(checkpoint, files.rows(), at), needle) {
        return true;
    }
    row.entry(checkpoint).is_some_and(|entry| {
        super::badges_of(entry).iter().any(|(word, ..)| *word == needle)
            || entry.link_target().is_some_and(|target| contains_ignore_case(&target.label(), needle))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{ArchivesCommand, Loaded, Model, apply, sample};

    fn model() -> Model {
        let options = crate::evidence::OpenOptions::default();
        let bytes = bytes::Bytes::from_static(sample::ARCHIVE);
        let silent = crate::base::Silent;
        let evidence = crate::evidence::Evidence::open_bytes("sample", bytes, &options, &silent).unwrap();
        let checkpoints = crate::checkpoint::load(&evidence, &options, &silent).unwrap();
        let checkpoints = checkpoints.into_iter().map(Loaded::new).collect();
        let mut model = Model::default();
        let opened =
            ArchivesCommand::Opened { path: "/a.tar".into(), is_sample: false, checkpoints, parents: Vec::new() };
        let _ = apply(&mut model, opened.into());
        model
    }

    fn paths(rows: &Rows, archive: &OpenArchive) -> Vec<String> {
        let files = archive.files();
        let path = |at: &u32| files.tree().path(archive.checkpoint(), files.rows(), *at).into_owned();
        rows.visible().iter().map(path).collect()
    }

    #[test]
    fn filter_keeps_what_matches_with_its_directories_whatever_the_slices() {
        let model = model();
        let archive = model.active().unwrap();
        let mut whole = Rows::default();
        assert!(whole.update(archive, FileGroup::All, "cache", || false));
        let mut sliced = Rows::default();
        while !sliced.update(archive, FileGroup::All, "cache", || true) {}
        assert_eq!(whole.visible(), sliced.visible());
        assert!(whole.nr_matching().unwrap() > 0);
        for at in whole.visible() {
            let mut above = archive.files().tree().node(*at).unwrap().parent();
            while let Some(parent) = above {
                assert!(whole.position(parent).is_some());
                above = archive.files().tree().node(parent).unwrap().parent();
            }
        }
    }

    #[test]
    fn closing_hides_a_branch_and_revealing_opens_it_again() {
        let model = model();
        let archive = model.active().unwrap();
        let tree = archive.files().tree();
        let mut rows = Rows::default();
        rows.update(archive, FileGroup::All, "", || false);
        rows.set_all(tree, true);
        assert_eq!(rows.visible().len(), tree.nodes().len());
        rows.set_all(tree, false);
        assert_eq!(rows.visible().len(), tree.children(None).count());
        let deepest = (0u32..).zip(tree.nodes()).max_by_key(|(_, node)| node.depth).unwrap().0;
        assert_eq!(rows.position(deepest), None);
        rows.open_above(tree, deepest);
        assert!(rows.position(deepest).is_some());
    }

    #[test]
    fn group_shows_only_its_files() {
        let model = model();
        let archive = model.active().unwrap();
        for (group, files) in archive.files().groups() {
            let mut rows = Rows::default();
            rows.update(archive, *group, "", || false);
            let shown: Vec<String> = paths(&rows, archive);
            assert!(shown.len() >= files.len().min(1), "{group:?}");
            if *group != FileGroup::All {
                assert_eq!(rows.nr_matching(), Some(files.len()), "{group:?}");
            }
        }
    }
}
