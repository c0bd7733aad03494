//! What the container changed in its root file system.

use crate::base::Text;
use crate::evidence::Evidence;

/// The engine's difference to the image.
#[derive(Clone, Debug, Default)]
pub struct RootfsDiff {
    /// The archive of changed and added files, opened; `None` if there is none.
    pub archive: Option<Evidence>,
    /// Its entries, whiteouts taken out.
    pub entries: Vec<RootfsEntry>,
    /// Paths that were removed: from `deleted.files` and from whiteouts.
    pub deleted: Vec<Text>,
}

/// One changed or added path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootfsEntry {
    /// Absolute path in the container.
    pub path: Text,
    /// `file`, `directory`, `symlink`, `hardlink`, `chardev`, `blockdev`, `fifo`, `socket`.
    pub kind: &'static str,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Seconds since 1970.
    pub mtime: Option<i64>,
    /// Where a link leads.
    pub link_target: Option<Text>,
    /// Index into the members of [`RootfsDiff::archive`].
    pub member: usize,
    /// The directory hides what the image had in it.
    pub is_opaque: bool,
}
