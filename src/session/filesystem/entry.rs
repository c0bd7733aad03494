//! One changed, removed or recovered file.

use crate::base::Text;
use crate::checkpoint::recovered::{Content, Source};
use crate::checkpoint::rootfs::RootfsEntry;
use crate::checkpoint::{Checkpoint, RecoveredFile};
use crate::session::ContentKey;

/// Where a file comes from, by index in the checkpoint's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// `rootfs.entries`.
    Changed(usize),
    /// `rootfs.deleted`.
    Deleted(usize),
    /// `recovered`.
    Recovered(usize),
}

/// What an [`Origin`] names.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// Changed or added in the root filesystem, by index.
    Changed(usize, &'a RootfsEntry),
    /// Removed from it.
    Deleted {
        /// The path it had.
        path: &'a Text,
        /// Removed by a mark in the archive of changes, not by the engine's list.
        is_whiteout: bool,
    },
    /// Recovered, by index.
    Recovered(usize, &'a RecoveredFile),
}

impl Origin {
    /// What it names; `None` for an index that is not there.
    pub fn entry(self, checkpoint: &Checkpoint) -> Option<Entry<'_>> {
        Some(match self {
            Origin::Changed(at) => Entry::Changed(at, checkpoint.rootfs.entries.get(at)?),
            Origin::Deleted(at) => Entry::Deleted {
                path: checkpoint.rootfs.deleted.get(at)?,
                is_whiteout: at >= checkpoint.rootfs.nr_listed_deleted,
            },
            Origin::Recovered(at) => Entry::Recovered(at, checkpoint.recovered.get(at)?),
        })
    }
}

impl<'a> Entry<'a> {
    /// Path in the container, or the name it went by.
    pub fn path(self) -> &'a Text {
        match self {
            Entry::Changed(_, entry) => &entry.path,
            Entry::Deleted { path, .. } => path,
            Entry::Recovered(_, file) => &file.path,
        }
    }

    /// `changed`, `deleted`, `whiteout`, or the source of a recovered file.
    pub fn source_word(self) -> &'static str {
        match self {
            Entry::Changed(..) => "changed",
            Entry::Deleted { is_whiteout: false, .. } => "deleted",
            Entry::Deleted { is_whiteout: true, .. } => "whiteout",
            Entry::Recovered(_, file) => file.source.word(),
        }
    }

    /// `file`, `directory`, …; empty where it is not known.
    pub fn kind(self) -> &'static str {
        match self {
            Entry::Changed(_, entry) => entry.kind,
            Entry::Deleted { .. } => "",
            Entry::Recovered(_, file) => file.kind,
        }
    }

    /// Mode with the bits of the type.
    pub fn mode(self) -> Option<u32> {
        let (mode, kind) = match self {
            Entry::Changed(_, entry) => (Some(entry.mode), entry.kind),
            Entry::Deleted { .. } => (None, ""),
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

    /// User and group.
    pub fn owner(self) -> Option<(u64, u64)> {
        match self {
            Entry::Changed(_, entry) => Some((entry.uid, entry.gid)),
            Entry::Deleted { .. } => None,
            Entry::Recovered(_, file) => file.owner,
        }
    }

    /// Size in bytes of what has content.
    pub fn size_bytes(self) -> Option<u64> {
        match self {
            Entry::Changed(_, entry) if entry.kind == "file" => Some(entry.size_bytes),
            Entry::Recovered(_, file) if file.kind == "file" => Some(file.size_bytes),
            _ => None,
        }
    }

    /// Modified, in seconds since 1970.
    pub fn mtime(self) -> Option<i64> {
        match self {
            Entry::Changed(_, entry) => entry.mtime,
            Entry::Deleted { .. } => None,
            Entry::Recovered(_, file) => file.mtime,
        }
    }

    /// Where a link leads.
    pub fn link_target(self) -> Option<&'a Text> {
        match self {
            Entry::Changed(_, entry) => entry.link_target.as_ref(),
            Entry::Deleted { .. } => None,
            Entry::Recovered(_, file) => file.link_target.as_ref(),
        }
    }

    /// How to ask for its content; `None` when it has none.
    pub fn content_key(self) -> Option<ContentKey> {
        match self {
            Entry::Changed(at, entry) if matches!(entry.kind, "file" | "hardlink") => Some(ContentKey::RootfsEntry(at)),
            Entry::Recovered(at, file) if !matches!(file.content, Content::None) => Some(ContentKey::Recovered(at)),
            _ => None,
        }
    }

    /// Runs with the rights of its owner.
    pub fn is_setuid(self) -> bool {
        self.mode().is_some_and(|mode| mode & 0o4000 != 0 && self.kind() != "directory")
    }

    /// Runs with the rights of its group.
    pub fn is_setgid(self) -> bool {
        self.mode().is_some_and(|mode| mode & 0o2000 != 0 && self.kind() != "directory")
    }

    /// A device node where none belongs: the nodes that every container has in /dev are not meant.
    pub fn is_odd_device(self) -> bool {
        let is_usual = matches!(self, Entry::Recovered(..)) && self.path().as_bytes().starts_with(b"/dev/");
        matches!(self.kind(), "chardev" | "blockdev") && !is_usual
    }
}

/// A kind of files, to look at alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileGroup {
    /// Every file.
    #[default]
    All,
    /// Changed or added in the root filesystem.
    Changed,
    /// Removed from it.
    Deleted,
    /// Recovered from here.
    Recovered(Source),
}

impl FileGroup {
    /// One or two words.
    pub fn title(self) -> &'static str {
        match self {
            FileGroup::All => "All",
            FileGroup::Changed => "Changed",
            FileGroup::Deleted => "Removed",
            FileGroup::Recovered(Source::Ghost) => "Ghost",
            FileGroup::Recovered(Source::Memfd) => "Memfd",
            FileGroup::Recovered(Source::Shm) => "Shared memory",
            FileGroup::Recovered(Source::Tmpfs) => "tmpfs",
            FileGroup::Recovered(Source::DevShm) => "/dev/shm",
            FileGroup::Recovered(Source::Volume) => "Volumes",
        }
    }

    /// One sentence.
    pub fn help(self) -> &'static str {
        match self {
            FileGroup::All => "Everything there is",
            FileGroup::Changed => "Added or changed in the root filesystem: the archive does not tell which",
            FileGroup::Deleted => "Was in the container's image and has been removed",
            FileGroup::Recovered(Source::Ghost) => "Deleted, but still open or mapped: CRIU kept the content",
            FileGroup::Recovered(Source::Memfd) => "Files that never had a path: only in memory",
            FileGroup::Recovered(Source::Shm) => "Shared anonymous and System V memory",
            FileGroup::Recovered(Source::Tmpfs) => "Files of tmpfs mounts",
            FileGroup::Recovered(Source::DevShm) => "Files of /dev/shm, saved by the engine",
            FileGroup::Recovered(Source::Volume) => "Files of volumes, saved by the engine",
        }
    }

    /// Whether a file is one of them.
    pub fn holds(self, checkpoint: &Checkpoint, origin: Origin) -> bool {
        match (self, origin) {
            (FileGroup::All, _)
            | (FileGroup::Changed, Origin::Changed(_))
            | (FileGroup::Deleted, Origin::Deleted(_)) => true,
            (FileGroup::Recovered(source), Origin::Recovered(at)) => {
                checkpoint.recovered.get(at).is_some_and(|file| file.source == source)
            }
            _ => false,
        }
    }
}
