//! Files in their directories: nodes in the order they are drawn, each with where its branch ends.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::{Entry, FileGroup, FileRow, FileRowId};
use crate::base::{escape, escape_controls};
use crate::checkpoint::Checkpoint;
use crate::checkpoint::recovered::Source;

/// Deepest level that is a directory of its own; what lies deeper keeps its path in its name.
const MAX_DEPTH: usize = 64;

/// No node.
const NONE: u32 = u32::MAX;

/// A file, a directory, or a group of files that are in no directory.
#[derive(Clone, Copy, Debug)]
pub struct FileNode {
    /// A row whose path has the name of this node, and where in that path it stands.
    path_of: FileRowId,
    name_start: u32,
    name_end: u32,
    /// Level, from 0.
    pub depth: u16,
    /// Holds no file with content that is worth a look: device nodes and links of a tmpfs.
    pub is_usual: bool,
    /// It stands for all of a group, not for a directory.
    pub group: Option<FileGroup>,
    /// Where its branch ends: the index of the next node that is not in it.
    pub end: u32,
    parent: u32,
    row: u32,
    /// How many files are in its branch, itself left out.
    pub nr_files: u32,
}

impl FileNode {
    /// The directory it is in.
    pub fn parent(&self) -> Option<u32> {
        (self.parent != NONE).then_some(self.parent)
    }

    /// Its file; `None` for a directory that is only on the way to others.
    pub fn row(&self) -> Option<FileRowId> {
        (self.row != NONE).then_some(FileRowId(self.row))
    }
}

/// Nodes in the order they are drawn: a directory, then all that is in it, directories first.
#[derive(Debug, Default)]
pub struct FileTree {
    nodes: Vec<FileNode>,
    /// Node of each row.
    node_of: Vec<u32>,
}

impl FileTree {
    pub(super) fn of(checkpoint: &Checkpoint, rows: &[FileRow]) -> FileTree {
        let mut tree = Builder { checkpoint, rows, nodes: Vec::new() };
        tree.add_paths();
        for source in [Source::Memfd, Source::Shm] {
            tree.add_group(FileGroup::Recovered(source));
        }
        tree.count();
        let nodes = directories_first(&tree.nodes);
        let mut node_of = vec![NONE; rows.len()];
        for (at, node) in (0u32..).zip(&nodes) {
            if let Some(slot) = node.row().and_then(|row| node_of.get_mut(row.0 as usize)) {
                *slot = at;
            }
        }
        FileTree { nodes, node_of }
    }

    /// Every node.
    pub fn nodes(&self) -> &[FileNode] {
        &self.nodes
    }

    /// One of them.
    pub fn node(&self, at: u32) -> Option<&FileNode> {
        self.nodes.get(at as usize)
    }

    /// The node of a file.
    pub fn node_of(&self, row: FileRowId) -> Option<u32> {
        self.node_of.get(row.0 as usize).copied().filter(|node| *node != NONE)
    }

    /// Whether something is in it.
    pub fn is_branch(&self, at: u32) -> bool {
        self.node(at).is_some_and(|node| node.end > at + 1)
    }

    /// What is directly in it; `None` for the uppermost level.
    pub fn children(&self, of: Option<u32>) -> impl Iterator<Item = u32> {
        let (mut next, end) = match of {
            Some(at) => (at + 1, self.node(at).map_or(0, |node| node.end)),
            None => (0, u32::try_from(self.nodes.len()).unwrap_or(NONE)),
        };
        std::iter::from_fn(move || {
            let at = next;
            let node = self.node(at).filter(|_| at < end)?;
            next = node.end;
            Some(at)
        })
    }

    /// Last part of its path, for a label.
    pub fn name<'a>(&self, checkpoint: &'a Checkpoint, rows: &[FileRow], at: u32) -> Cow<'a, str> {
        let Some(node) = self.node(at) else { return Cow::default() };
        match node.group {
            Some(group) => Cow::Borrowed(group.title()),
            None => part(checkpoint, rows, node, node.name_start),
        }
    }

    /// Its whole path, for a label.
    pub fn path<'a>(&self, checkpoint: &'a Checkpoint, rows: &[FileRow], at: u32) -> Cow<'a, str> {
        let Some(node) = self.node(at) else { return Cow::default() };
        match node.group {
            Some(group) => Cow::Borrowed(group.title()),
            None => part(checkpoint, rows, node, 0),
        }
    }
}

fn part<'a>(checkpoint: &'a Checkpoint, rows: &[FileRow], node: &FileNode, start: u32) -> Cow<'a, str> {
    let entry = rows.get(node.path_of.0 as usize).and_then(|row| row.entry(checkpoint));
    let bytes = entry.map(|entry| entry.path().as_bytes()).unwrap_or_default();
    match escape(bytes.get(start as usize..node.name_end as usize).unwrap_or_default()) {
        Cow::Borrowed(text) => escape_controls(text),
        Cow::Owned(text) => Cow::Owned(escape_controls(&text).into_owned()),
    }
}

/// Where in a path its parts stand; `/` alone is a part, empty parts are left out.
fn parts(path: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let is_root = !path.is_empty() && path.iter().all(|byte| *byte == b'/');
    let mut at = 0;
    let mut depth = 0;
    std::iter::from_fn(move || {
        if is_root {
            let is_first = at == 0;
            at = path.len();
            return is_first.then_some((0, path.len()));
        }
        while path.get(at) == Some(&b'/') {
            at += 1;
        }
        let rest = path.get(at..).filter(|rest| !rest.is_empty())?;
        depth += 1;
        let len = match rest.iter().position(|byte| *byte == b'/') {
            Some(len) if depth < MAX_DEPTH => len,
            _ => rest.len(),
        };
        let start = at;
        at += len;
        Some((start, at))
    })
}

fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    let names = |path: &'_ [u8]| parts(path).map(|(start, end)| path[start..end].to_vec()).collect::<Vec<_>>();
    // Almost always the bytes tell: only what stands at the first difference can be a slash.
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    match (a.get(same), b.get(same)) {
        (Some(b'/'), _) | (_, Some(b'/')) => names(a).cmp(&names(b)),
        (a, b) => a.cmp(&b),
    }
}

struct Builder<'a> {
    checkpoint: &'a Checkpoint,
    rows: &'a [FileRow],
    nodes: Vec<FileNode>,
}

impl<'a> Builder<'a> {
    fn entry(&self, row: FileRowId) -> Option<Entry<'a>> {
        self.rows.get(row.0 as usize)?.entry(self.checkpoint)
    }

    fn path(&self, row: FileRowId) -> &'a [u8] {
        self.entry(row).map(|entry| entry.path().as_bytes()).unwrap_or_default()
    }

    fn has_no_path(&self, row: FileRowId) -> bool {
        let is_memory = |source| matches!(source, Source::Memfd | Source::Shm);
        matches!(self.entry(row), Some(Entry::Recovered(_, file)) if is_memory(file.source))
    }

    fn ids(&self) -> impl Iterator<Item = FileRowId> + use<> {
        (0..u32::try_from(self.rows.len()).unwrap_or(NONE)).map(FileRowId)
    }

    fn add_paths(&mut self) {
        let mut order: Vec<FileRowId> = self.ids().filter(|row| !self.has_no_path(*row)).collect();
        // Of what has the same path, a directory comes last, so that what is in it follows.
        let is_directory = |row| self.entry(row).is_some_and(|entry| entry.kind() == "directory");
        order.sort_by(|a, b| {
            compare_paths(self.path(*a), self.path(*b)).then_with(|| is_directory(*a).cmp(&is_directory(*b)))
        });
        let mut open: Vec<u32> = Vec::new();
        for row in order {
            let path = self.path(row);
            let parts: Vec<_> = parts(path).collect();
            let Some((own, above)) = parts.split_last() else { continue };
            let shared = open.iter().zip(above).take_while(|(node, (start, end))| {
                self.nodes.get(**node as usize).is_some_and(|node| self.raw_name(node) == &path[*start..*end])
            });
            let shared = shared.count();
            self.close(&mut open, shared);
            for part in above.iter().skip(shared) {
                self.open(&mut open, row, *part, NONE);
            }
            self.open(&mut open, row, *own, row.0);
        }
        self.close(&mut open, 0);
    }

    /// Files that are in no directory, under a node that stands for all of them.
    fn add_group(&mut self, group: FileGroup) {
        let rows = self.rows;
        let holds =
            |row: &FileRowId| rows.get(row.0 as usize).is_some_and(|row| group.holds(self.checkpoint, row.origin));
        let held: Vec<FileRowId> = self.ids().filter(holds).collect();
        let Some(first) = held.first() else { return };
        let mut open = Vec::new();
        self.open(&mut open, *first, (0, 0), NONE);
        if let Some(node) = self.nodes.last_mut() {
            node.group = Some(group);
        }
        for row in held {
            let len = self.path(row).len();
            self.open(&mut open, row, (0, len), row.0);
            self.close(&mut open, 1);
        }
        self.close(&mut open, 0);
    }

    fn raw_name(&self, node: &FileNode) -> &'a [u8] {
        self.path(node.path_of).get(node.name_start as usize..node.name_end as usize).unwrap_or_default()
    }

    fn open(&mut self, open: &mut Vec<u32>, path_of: FileRowId, (start, end): (usize, usize), row: u32) {
        let Ok(at) = u32::try_from(self.nodes.len()) else { return };
        self.nodes.push(FileNode {
            path_of,
            name_start: u32::try_from(start).unwrap_or(NONE),
            name_end: u32::try_from(end).unwrap_or(NONE),
            depth: u16::try_from(open.len()).unwrap_or(u16::MAX),
            is_usual: true,
            group: None,
            end: at,
            parent: open.last().copied().unwrap_or(NONE),
            row,
            nr_files: 0,
        });
        open.push(at);
    }

    fn close(&mut self, open: &mut Vec<u32>, keep: usize) {
        let end = u32::try_from(self.nodes.len()).unwrap_or(NONE);
        for at in open.drain(keep.min(open.len())..) {
            if let Some(node) = self.nodes.get_mut(at as usize) {
                node.end = end;
            }
        }
    }

    fn count(&mut self) {
        for at in (0..self.nodes.len()).rev() {
            let node = self.nodes[at];
            let entry = node.row().and_then(|row| self.entry(row));
            let is_usual = node.is_usual && entry.is_none_or(|entry| super::is_usual(entry) && entry.kind() != "file");
            self.nodes[at].is_usual = is_usual;
            if let Some(parent) = self.nodes.get_mut(node.parent as usize) {
                parent.nr_files += node.nr_files + u32::from(node.row().is_some());
                parent.is_usual &= is_usual;
            }
        }
    }
}

/// The same tree with the directories of every directory before its files.
fn directories_first(nodes: &[FileNode]) -> Vec<FileNode> {
    let is_branch = |at: &u32| nodes.get(*at as usize).is_some_and(|node| node.end > at + 1);
    let children = |from: u32, end: u32| {
        let mut all = Vec::new();
        let mut at = from;
        while let Some(node) = nodes.get(at as usize).filter(|_| at < end) {
            all.push(at);
            at = node.end;
        }
        // The stack is emptied from its end; groups stay last.
        all.sort_by_key(|at| !is_branch(at));
        all.reverse();
        all
    };
    let mut out: Vec<FileNode> = Vec::with_capacity(nodes.len());
    let mut stack: Vec<(u32, u32)> = Vec::new();
    let len = u32::try_from(nodes.len()).unwrap_or(NONE);
    stack.extend(children(0, len).into_iter().map(|at| (at, NONE)));
    while let Some((at, parent)) = stack.pop() {
        let Some(node) = nodes.get(at as usize) else { continue };
        let new = u32::try_from(out.len()).unwrap_or(NONE);
        out.push(FileNode { parent, end: new + (node.end - at), ..*node });
        stack.extend(children(at + 1, node.end).into_iter().map(|child| (child, new)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Text;
    use crate::checkpoint::rootfs::RootfsDiff;
    use crate::session::filesystem::FileList;
    use crate::session::filesystem::tests::checkpoint_with;

    fn tree_of(paths: &[&str]) -> String {
        let mut checkpoint = checkpoint_with([]);
        let deleted = paths.iter().map(|path| Text::from(*path)).collect();
        checkpoint.rootfs = RootfsDiff { deleted, ..RootfsDiff::default() };
        checkpoint.recovered.clear();
        let list = FileList::of(&checkpoint);
        let tree = list.tree();
        let mut text = String::new();
        for (at, node) in (0u32..).zip(tree.nodes()) {
            assert!(node.parent().is_none_or(|parent| parent < at && tree.node(parent).unwrap().end >= node.end));
            let name = tree.name(&checkpoint, list.rows(), at);
            let mark = if node.row().is_some() { "" } else { "/" };
            let count = if tree.is_branch(at) { format!(" {}", node.nr_files) } else { String::new() };
            text.push_str(&format!("{}{name}{mark}{count}\n", "  ".repeat(node.depth.into())));
        }
        text
    }

    #[test]
    fn directories_hold_what_is_in_them_and_come_first() {
        let text = tree_of(&["/etc/passwd", "/a", "/etc/cron.d/job", "/etc-old/x", "/etc/cron.d", "/"]);
        assert_eq!(text, "etc/ 3\n  cron.d 1\n    job\n  passwd\netc-old/ 1\n  x\n/\na\n");
    }

    #[test]
    fn odd_slashes_make_no_directories() {
        assert_eq!(tree_of(&["//a///b", "/a/c/", "a/d"]), "a/ 3\n  b\n  c\n  d\n");
    }

    #[test]
    fn path_that_repeats_is_a_node_each_time() {
        assert_eq!(tree_of(&["/a/b", "/a/b", "/a/b/c"]), "a/ 3\n  b 1\n    c\n  b\n");
    }

    #[test]
    fn deep_paths_end_in_one_long_name() {
        let deep = "/d".repeat(5_000);
        let text = tree_of(&[&deep]);
        assert_eq!(text.lines().count(), MAX_DEPTH);
        assert!(text.lines().last().unwrap().ends_with("d/d/d"));
    }
}
