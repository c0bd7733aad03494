//! Changed, removed and recovered files of a checkpoint: as a list and as a tree.
//!
//! Both are made once, by the job that opens the archive; a panel then only looks things up.

mod entry;
mod tree;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

pub use entry::{Entry, FileGroup, Origin};
pub use tree::{FileNode, FileTree};

use crate::checkpoint::Checkpoint;
use crate::checkpoint::recovered::Source;

/// One file of the list, by index in [`FileList::rows`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileRowId(pub u32);

/// One file of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// Where it comes from.
    pub origin: Origin,
    /// An earlier row has the same path, so that this one goes by a longer name.
    is_repeated: bool,
}

/// Every file, ordered by path, what every container has on a tmpfs last.
#[derive(Debug, Default)]
pub struct FileList {
    rows: Vec<FileRow>,
    groups: Vec<(FileGroup, Vec<FileRowId>)>,
    tree: FileTree,
    /// Hash of the name of a row, and the row; ordered.
    by_name: Vec<(u64, FileRowId)>,
}

impl FileList {
    /// Of a checkpoint. Takes a second for a million files.
    pub fn of(checkpoint: &Checkpoint) -> FileList {
        let mut seen: HashSet<&[u8]> = HashSet::new();
        let origins = (0..checkpoint.rootfs.entries.len())
            .map(Origin::Changed)
            .chain((0..checkpoint.rootfs.deleted.len()).map(Origin::Deleted))
            .chain((0..checkpoint.recovered.len()).map(Origin::Recovered));
        let mut rows: Vec<FileRow> = origins
            .take(u32::MAX as usize)
            .filter_map(|origin| {
                let path = origin.entry(checkpoint)?.path();
                Some(FileRow { origin, is_repeated: !seen.insert(path.as_bytes()) })
            })
            .collect();
        drop(seen);
        rows.sort_by_cached_key(|row| {
            row.origin.entry(checkpoint).map(|entry| (is_usual(entry), entry.path().0.clone()))
        });
        let ids = || (0u32..).map(FileRowId).zip(&rows);
        let recovered = [Source::Ghost, Source::Memfd, Source::Shm, Source::Tmpfs, Source::DevShm, Source::Volume];
        let all = [FileGroup::All, FileGroup::Changed, FileGroup::Deleted].into_iter();
        let groups = all
            .chain(recovered.map(FileGroup::Recovered))
            .map(|group| {
                let held = ids().filter(|(_, row)| group.holds(checkpoint, row.origin));
                (group, held.map(|(id, _)| id).collect::<Vec<_>>())
            })
            .filter(|(group, rows)| !rows.is_empty() || *group == FileGroup::All)
            .collect();
        let mut by_name: Vec<_> = ids().map(|(id, row)| (hash(&row.name(checkpoint)), id)).collect();
        by_name.sort_unstable();
        let tree = FileTree::of(checkpoint, &rows);
        FileList { rows, groups, tree, by_name }
    }

    /// Every file.
    pub fn rows(&self) -> &[FileRow] {
        &self.rows
    }

    /// One of them.
    pub fn row(&self, id: FileRowId) -> Option<FileRow> {
        self.rows.get(id.0 as usize).copied()
    }

    /// The groups that have files, with those; the first is all of them.
    pub fn groups(&self) -> &[(FileGroup, Vec<FileRowId>)] {
        &self.groups
    }

    /// The files of a group.
    pub fn of_group(&self, group: FileGroup) -> &[FileRowId] {
        self.groups.iter().find(|(known, _)| *known == group).map(|(_, rows)| rows.as_slice()).unwrap_or_default()
    }

    /// The files in their directories.
    pub fn tree(&self) -> &FileTree {
        &self.tree
    }

    /// The file of this name; see [`FileRow::name`].
    pub fn find(&self, checkpoint: &Checkpoint, name: &str) -> Option<FileRowId> {
        let hash = hash(name);
        let first = self.by_name.partition_point(|(known, _)| *known < hash);
        let same = self.by_name.get(first..)?.iter().take_while(|(known, _)| *known == hash);
        same.map(|(_, id)| *id).find(|id| self.row(*id).is_some_and(|row| row.name(checkpoint) == name))
    }
}

impl FileRow {
    /// What it names.
    pub fn entry(self, checkpoint: &Checkpoint) -> Option<Entry<'_>> {
        self.origin.entry(checkpoint)
    }

    /// The name targets have for it: its path; what repeats a path says where it comes from.
    pub fn name(self, checkpoint: &Checkpoint) -> String {
        let Some(entry) = self.entry(checkpoint) else { return String::new() };
        let path = entry.path().to_lossless();
        match (self.is_repeated, self.origin) {
            (false, _) => path.into_owned(),
            (true, Origin::Changed(at) | Origin::Deleted(at) | Origin::Recovered(at)) => {
                format!("{path} [{} {at}]", entry.source_word())
            }
        }
    }
}

/// The name of a recovered file, without a list.
pub fn name_of_recovered(checkpoint: &Checkpoint, at: usize) -> String {
    let Some(file) = checkpoint.recovered.get(at) else { return String::new() };
    let earlier = checkpoint.recovered.iter().take(at).any(|other| other.path == file.path);
    let is_repeated = earlier
        || checkpoint.rootfs.deleted.contains(&file.path)
        || checkpoint.rootfs.entries.iter().any(|entry| entry.path == file.path);
    FileRow { origin: Origin::Recovered(at), is_repeated }.name(checkpoint)
}

/// What every container has.
fn is_usual(entry: Entry<'_>) -> bool {
    matches!(entry, Entry::Recovered(_, file) if file.source == Source::Tmpfs)
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Silent, Text};
    use crate::evidence::{Evidence, OpenOptions};

    /// The sample, with paths that were removed.
    pub(super) fn checkpoint_with(deleted: impl IntoIterator<Item = Text>) -> Checkpoint {
        let options = OpenOptions::default();
        let bytes = bytes::Bytes::from_static(crate::session::sample::ARCHIVE);
        let evidence = Evidence::open_bytes("sample", bytes, &options, &Silent).unwrap();
        let loaded = crate::checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0);
        let mut checkpoint = std::sync::Arc::into_inner(loaded).unwrap();
        checkpoint.rootfs.deleted.extend(deleted);
        checkpoint
    }

    #[test]
    fn every_file_is_found_by_its_name_also_where_paths_repeat() {
        let mut checkpoint = checkpoint_with([]);
        let repeated = checkpoint.rootfs.entries.first().unwrap().path.clone();
        checkpoint.rootfs.deleted.extend([repeated.clone(), Text::from("/gone"), repeated]);
        let list = FileList::of(&checkpoint);
        assert_eq!(list.rows().len(), list.of_group(FileGroup::All).len());
        for id in list.of_group(FileGroup::All) {
            let name = list.row(*id).unwrap().name(&checkpoint);
            assert_eq!(list.find(&checkpoint, &name), Some(*id), "{name}");
        }
        assert_eq!(list.find(&checkpoint, "/no/such"), None);
        let in_groups: usize = list.groups().iter().skip(1).map(|(_, rows)| rows.len()).sum();
        assert_eq!(in_groups, list.rows().len());
    }
}
