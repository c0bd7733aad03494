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
    /// Paths that were removed: from `deleted.files`, then from whiteouts.
    pub deleted: Vec<Text>,
    /// How many of `deleted` come from `deleted.files`.
    pub nr_listed_deleted: usize,
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

use crate::base::{Issue, Place};
use crate::evidence::{Member, MemberKind};

/// Name before a removed path in a layer.
const WHITEOUT: &[u8] = b".wh.";
/// Marks a directory that hides what the image had in it.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Most paths that are taken from `deleted.files`.
const MAX_DELETED: usize = 200_000;

/// The list of `deleted.files`, as far as it is taken.
#[derive(Debug, Default)]
struct Paths {
    listed: Vec<Text>,
    left_out: usize,
}

impl<'de> serde::Deserialize<'de> for Paths {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Paths, D::Error> {
        deserializer.deserialize_seq(PathsVisitor)
    }
}

struct PathsVisitor;

impl<'de> serde::de::Visitor<'de> for PathsVisitor {
    type Value = Paths;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of paths")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Paths, A::Error> {
        let mut paths = Paths::default();
        while let Some(path) = list.next_element::<std::borrow::Cow<'de, str>>()? {
            if paths.listed.len() < MAX_DELETED {
                paths.listed.push(absolute(path.as_bytes()));
            } else {
                paths.left_out = paths.left_out.saturating_add(1);
            }
        }
        Ok(paths)
    }
}

/// Words for what a member is.
pub(super) fn kind_word(kind: &MemberKind) -> &'static str {
    match kind {
        MemberKind::File => "file",
        MemberKind::Directory => "directory",
        MemberKind::Symlink { .. } => "symlink",
        MemberKind::HardLink { .. } => "hardlink",
        MemberKind::CharDevice { .. } => "chardev",
        MemberKind::BlockDevice { .. } => "blockdev",
        MemberKind::Fifo => "fifo",
        MemberKind::Socket => "socket",
        MemberKind::Other(_) => "other",
    }
}

/// Where a link leads.
pub(super) fn link_target(kind: &MemberKind) -> Option<Text> {
    match kind {
        MemberKind::Symlink { target } => Some(Text(target.clone().into())),
        MemberKind::HardLink { target } => Some(Text([b"/", &target[..]].concat().into())),
        _ => None,
    }
}

impl RootfsDiff {
    /// Reads the archive of changes and the list of removed paths.
    pub(super) fn build(
        archive: Option<Evidence>,
        deleted_files: Option<&[u8]>,
        issues: &mut Vec<Issue>,
    ) -> RootfsDiff {
        let mut diff = RootfsDiff::default();
        if let Some(json) = deleted_files {
            match serde_json::from_slice::<Option<Paths>>(json) {
                Ok(Some(paths)) => {
                    if paths.left_out > 0 {
                        let what = format!("{} more paths than {MAX_DELETED} are not listed", paths.left_out);
                        issues.push(Issue::new(Place::member("deleted.files"), what));
                    }
                    diff.deleted = paths.listed;
                }
                Ok(None) => {}
                Err(err) => issues
                    .push(Issue::new(Place::member("deleted.files"), format!("is not a JSON list of paths: {err}"))),
            }
        }
        diff.nr_listed_deleted = diff.deleted.len();
        let Some(archive) = archive else { return diff };
        let mut opaque: Vec<Vec<u8>> = Vec::new();
        for (index, member) in archive.members().iter().enumerate() {
            let name = member.file_name();
            if name == OPAQUE {
                opaque.push(member.parent().to_vec());
            } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
                let parent = member.parent();
                let path = if parent.is_empty() { hidden.to_vec() } else { [parent, b"/", hidden].concat() };
                diff.deleted.push(absolute(&path));
            } else if member.kind == (MemberKind::CharDevice { major: 0, minor: 0 }) {
                diff.deleted.push(absolute(&member.path));
            } else if !member.path.is_empty() {
                diff.entries.push(entry(member, index));
            }
        }
        opaque.sort();
        for entry in &mut diff.entries {
            let path = entry.path.as_bytes().get(1..).unwrap_or_default();
            entry.is_opaque = opaque.binary_search_by(|dir| dir.as_slice().cmp(path)).is_ok();
        }
        diff.archive = Some(archive);
        diff
    }
}

fn absolute(path: &[u8]) -> Text {
    if path.first() == Some(&b'/') { Text(path.to_vec().into()) } else { Text([b"/", path].concat().into()) }
}

fn entry(member: &Member, index: usize) -> RootfsEntry {
    RootfsEntry {
        path: absolute(&member.path),
        kind: kind_word(&member.kind),
        mode: member.mode,
        uid: member.uid,
        gid: member.gid,
        size_bytes: member.size_bytes,
        mtime: member.mtime,
        link_target: link_target(&member.kind),
        member: index,
        is_opaque: false,
    }
}
