//! Changed, removed and recovered files as one list, ordered by path, files of a tmpfs last. Made
//! once for each archive.

use std::collections::HashSet;

use crate::base::Text;
use crate::checkpoint::recovered::{Content, Source};
use crate::checkpoint::rootfs::RootfsEntry;
use crate::checkpoint::{Checkpoint, RecoveredFile};
use crate::session::ContentKey;

/// Where a row comes from, by index in the checkpoint's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// `rootfs.entries`.
    Changed(usize),
    /// `rootfs.deleted`.
    Deleted(usize),
    /// `recovered`.
    Recovered(usize),
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) origin: Origin,
    /// An earlier row has the same path, so that this one goes by a longer name.
    is_repeated: bool,
}

/// A row, looked up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry<'a> {
    Changed(usize, &'a RootfsEntry),
    Deleted(&'a Text),
    Recovered(usize, &'a RecoveredFile),
}

impl Origin {
    /// What it names; `None` for an index that is not there.
    pub(super) fn entry(self, checkpoint: &Checkpoint) -> Option<Entry<'_>> {
        Some(match self {
            Origin::Changed(at) => Entry::Changed(at, checkpoint.rootfs.entries.get(at)?),
            Origin::Deleted(at) => Entry::Deleted(checkpoint.rootfs.deleted.get(at)?),
            Origin::Recovered(at) => Entry::Recovered(at, checkpoint.recovered.get(at)?),
        })
    }
}

impl<'a> Entry<'a> {
    pub(super) fn path(self) -> &'a Text {
        match self {
            Entry::Changed(_, entry) => &entry.path,
            Entry::Deleted(path) => path,
            Entry::Recovered(_, file) => &file.path,
        }
    }

    /// `changed`, `deleted`, or the source of a recovered file.
    pub(super) fn source_word(self) -> &'static str {
        match self {
            Entry::Changed(..) => "changed",
            Entry::Deleted(_) => "deleted",
            Entry::Recovered(_, file) => file.source.word(),
        }
    }

    /// `file`, `directory`, …; empty where it is not known.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Entry::Changed(_, entry) => entry.kind,
            Entry::Deleted(_) => "",
            Entry::Recovered(_, file) => file.kind,
        }
    }

    /// Mode with the bits of the type.
    pub(super) fn mode(self) -> Option<u32> {
        let (mode, kind) = match self {
            Entry::Changed(_, entry) => (Some(entry.mode), entry.kind),
            Entry::Deleted(_) => (None, ""),
            Entry::Recovered(_, file) => (file.mode, file.kind),
        };
        let type_bits = match kind {
            "file" | "hardlink" => 0o100_000,
            "directory" => 0o040_000,
            "symlink" => 0o120_000,
            "chardev" => 0o020_000,
            "blockdev" => 0o060_000,
            "fifo" => 0o010_000,
            "socket" => 0o140_000,
            _ => 0,
        };
        mode.map(|mode| mode & 0o7777 | type_bits)
    }

    pub(super) fn owner(self) -> Option<(u64, u64)> {
        match self {
            Entry::Changed(_, entry) => Some((entry.uid, entry.gid)),
            Entry::Deleted(_) => None,
            Entry::Recovered(_, file) => file.owner,
        }
    }

    /// Size in bytes of what has content.
    pub(super) fn size_bytes(self) -> Option<u64> {
        match self {
            Entry::Changed(_, entry) if entry.kind == "file" => Some(entry.size_bytes),
            Entry::Recovered(_, file) if file.kind == "file" => Some(file.size_bytes),
            _ => None,
        }
    }

    pub(super) fn mtime(self) -> Option<i64> {
        match self {
            Entry::Changed(_, entry) => entry.mtime,
            Entry::Deleted(_) => None,
            Entry::Recovered(_, file) => file.mtime,
        }
    }

    pub(super) fn link_target(self) -> Option<&'a Text> {
        match self {
            Entry::Changed(_, entry) => entry.link_target.as_ref(),
            Entry::Deleted(_) => None,
            Entry::Recovered(_, file) => file.link_target.as_ref(),
        }
    }

    /// How to ask for its content; `None` when it has none.
    pub(super) fn content_key(self) -> Option<ContentKey> {
        match self {
            Entry::Changed(at, entry) if matches!(entry.kind, "file" | "hardlink") => Some(ContentKey::RootfsEntry(at)),
            Entry::Recovered(at, file) if !matches!(file.content, Content::None) => Some(ContentKey::Recovered(at)),
            _ => None,
        }
    }

    pub(super) fn is_setuid(self) -> bool {
        self.mode().is_some_and(|mode| mode & 0o4000 != 0 && self.kind() != "directory")
    }

    pub(super) fn is_setgid(self) -> bool {
        self.mode().is_some_and(|mode| mode & 0o2000 != 0 && self.kind() != "directory")
    }

    /// A device node where none belongs: the nodes that every container has in /dev are not meant.
    pub(super) fn is_odd_device(self) -> bool {
        let is_usual = matches!(self, Entry::Recovered(..)) && self.path().as_bytes().starts_with(b"/dev/");
        matches!(self.kind(), "chardev" | "blockdev") && !is_usual
    }
}

/// Which rows are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Chip {
    #[default]
    All,
    Changed,
    Deleted,
    Recovered(Source),
}

impl Chip {
    pub(super) fn title(self) -> &'static str {
        match self {
            Chip::All => "All",
            Chip::Changed => "Changed",
            Chip::Deleted => "Removed",
            Chip::Recovered(Source::Ghost) => "Ghost",
            Chip::Recovered(Source::Memfd) => "Memfd",
            Chip::Recovered(Source::Shm) => "Shared memory",
            Chip::Recovered(Source::Tmpfs) => "tmpfs",
            Chip::Recovered(Source::DevShm) => "/dev/shm",
            Chip::Recovered(Source::Volume) => "Volumes",
        }
    }

    pub(super) fn help(self) -> &'static str {
        match self {
            Chip::All => "Everything there is",
            Chip::Changed => "Added or changed in the root filesystem: the archive does not tell which",
            Chip::Deleted => "Was in the container's image and has been removed",
            Chip::Recovered(Source::Ghost) => "Deleted, but still open or mapped: CRIU kept the content",
            Chip::Recovered(Source::Memfd) => "Files that never had a path: only in memory",
            Chip::Recovered(Source::Shm) => "Shared anonymous and System V memory",
            Chip::Recovered(Source::Tmpfs) => "Files of tmpfs mounts",
            Chip::Recovered(Source::DevShm) => "Files of /dev/shm, saved by the engine",
            Chip::Recovered(Source::Volume) => "Files of volumes, saved by the engine",
        }
    }

    fn holds(self, checkpoint: &Checkpoint, origin: Origin) -> bool {
        match (self, origin) {
            (Chip::All, _) | (Chip::Changed, Origin::Changed(_)) | (Chip::Deleted, Origin::Deleted(_)) => true,
            (Chip::Recovered(source), Origin::Recovered(at)) => {
                checkpoint.recovered.get(at).is_some_and(|file| file.source == source)
            }
            _ => false,
        }
    }
}

/// All rows, and how many each chip has.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) rows: Vec<Row>,
    pub(super) chips: Vec<(Chip, usize)>,
}

impl Listing {
    pub(super) fn of(checkpoint: &Checkpoint) -> Listing {
        let mut seen: HashSet<&[u8]> = HashSet::new();
        let origins = (0..checkpoint.rootfs.entries.len())
            .map(Origin::Changed)
            .chain((0..checkpoint.rootfs.deleted.len()).map(Origin::Deleted))
            .chain((0..checkpoint.recovered.len()).map(Origin::Recovered));
        let mut rows: Vec<Row> = origins
            .filter_map(|origin| {
                let path = origin.entry(checkpoint)?.path();
                Some(Row { origin, is_repeated: !seen.insert(path.as_bytes()) })
            })
            .collect();
        // What every container has on its tmpfs comes last.
        let is_usual = |entry: Entry<'_>| matches!(entry, Entry::Recovered(_, file) if file.source == Source::Tmpfs);
        rows.sort_by_cached_key(|row| {
            row.origin.entry(checkpoint).map(|entry| (is_usual(entry), entry.path().0.clone()))
        });
        let recovered = [Source::Ghost, Source::Memfd, Source::Shm, Source::Tmpfs, Source::DevShm, Source::Volume];
        let chips = [Chip::All, Chip::Changed, Chip::Deleted].into_iter().chain(recovered.map(Chip::Recovered));
        let chips = chips
            .map(|chip| (chip, rows.iter().filter(|row| chip.holds(checkpoint, row.origin)).count()))
            .filter(|(chip, count)| *count > 0 || *chip == Chip::All)
            .collect();
        Listing { rows, chips }
    }

    /// The rows that a chip lets through.
    pub(super) fn chosen(&self, checkpoint: &Checkpoint, chip: Chip) -> Vec<Row> {
        self.rows.iter().filter(|row| chip.holds(checkpoint, row.origin)).copied().collect()
    }

    /// The row of this name.
    pub(super) fn find(&self, checkpoint: &Checkpoint, name: &str) -> Option<Row> {
        self.rows.iter().copied().find(|row| row.has_name(checkpoint, name))
    }
}

impl Row {
    /// The name targets have for it: its path; what repeats a path says where it comes from.
    pub(super) fn name(self, checkpoint: &Checkpoint) -> String {
        let Some(entry) = self.origin.entry(checkpoint) else { return String::new() };
        let path = entry.path().to_lossless();
        match (self.is_repeated, self.origin) {
            (false, _) => path.into_owned(),
            (true, Origin::Changed(at) | Origin::Deleted(at) | Origin::Recovered(at)) => {
                format!("{path} [{} {at}]", entry.source_word())
            }
        }
    }

    fn has_name(self, checkpoint: &Checkpoint, name: &str) -> bool {
        if self.is_repeated {
            return name.ends_with(']') && self.name(checkpoint) == name;
        }
        self.origin.entry(checkpoint).is_some_and(|entry| entry.path().to_lossless() == name)
    }
}

/// The name of a recovered file, without a listing.
pub(in crate::ui::panels) fn name_of_recovered(checkpoint: &Checkpoint, at: usize) -> String {
    let Some(file) = checkpoint.recovered.get(at) else { return String::new() };
    let earlier = checkpoint.recovered.iter().take(at).any(|other| other.path == file.path);
    let is_repeated = earlier
        || checkpoint.rootfs.deleted.contains(&file.path)
        || checkpoint.rootfs.entries.iter().any(|entry| entry.path == file.path);
    Row { origin: Origin::Recovered(at), is_repeated }.name(checkpoint)
}
