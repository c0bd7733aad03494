//! Files whose content lies in the checkpoint although no archive of files has them.

use bytes::Bytes;

use crate::base::{FileId, Place, Text};
use crate::evidence::Evidence;

/// Where a recovered file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A deleted file that was still open or mapped.
    Ghost,
    /// A memfd.
    Memfd,
    /// Shared anonymous or System V memory.
    Shm,
    /// A file on a tmpfs of the container.
    Tmpfs,
    /// A file of /dev/shm.
    DevShm,
    /// A file of a volume.
    Volume,
}

impl Source {
    /// The word of the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Source::Ghost => "ghost",
            Source::Memfd => "memfd",
            Source::Shm => "shm",
            Source::Tmpfs => "tmpfs",
            Source::DevShm => "devshm",
            Source::Volume => "volume",
        }
    }
}

/// One recovered file.
#[derive(Clone, Debug)]
pub struct RecoveredFile {
    /// Where it comes from.
    pub source: Source,
    /// Path it had in the container, or the name it went by.
    pub path: Text,
    /// `st_mode`, where recorded.
    pub mode: Option<u32>,
    /// Owner and group, where recorded.
    pub owner: Option<(u64, u64)>,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Modification time in seconds since 1970.
    pub mtime: Option<i64>,
    /// `file`, `directory`, …
    pub kind: &'static str,
    /// Where a link leads.
    pub link_target: Option<Text>,
    /// Open files that lead here.
    pub files: Vec<FileId>,
    /// Where the bytes lie.
    pub place: Place,
    /// How to get at them.
    pub content: Content,
}

/// How to get at the bytes of a recovered file.
#[derive(Clone, Debug)]
pub enum Content {
    /// Runs of bytes at offsets; gaps read as zeros.
    Chunks(Vec<(u64, Bytes)>),
    /// Pages of a shared-memory object, by its id.
    Shmem(u64),
    /// A member of an archive inside the checkpoint.
    Member {
        /// The archive.
        archive: Evidence,
        /// Index of the member.
        member: usize,
    },
    /// No content: a directory, a device, or an image that is missing.
    None,
}

use std::collections::{BTreeMap, HashMap};

use crate::base::{Absent, VirtAddr};

use super::files::{FileDetail, OpenFile, Remap};
use super::images::Images;
use super::mounts::Mount;
use super::pages::SharedMemory;
use super::rootfs::{kind_word, link_target};

/// An archive found inside the checkpoint, with where its root was in the container.
pub(super) struct Tree {
    pub(super) source: Source,
    /// Place of the archive in the evidence.
    pub(super) place: Place,
    pub(super) mountpoint: Text,
    pub(super) archive: Evidence,
}

/// Deleted files and memfds, in the order of their images, then the files of the trees.
pub(super) fn recovered(images: &Images, files: &[OpenFile], trees: &[Tree]) -> Vec<RecoveredFile> {
    let mut out = ghosts(images, files);
    out.extend(memfds(images, files));
    for tree in trees {
        out.extend(tree.archive.members().iter().enumerate().filter(|(_, member)| !member.path.is_empty()).map(
            |(index, member)| {
                let base = tree.mountpoint.as_bytes();
                let slash: &[u8] = if base.ends_with(b"/") { b"" } else { b"/" };
                let has_content =
                    member.is_file() || matches!(member.kind, crate::evidence::MemberKind::HardLink { .. });
                RecoveredFile {
                    source: tree.source,
                    path: Text([base, slash, &member.path].concat().into()),
                    mode: Some(member.mode),
                    owner: Some((member.uid, member.gid)),
                    size_bytes: member.size_bytes,
                    mtime: member.mtime,
                    kind: kind_word(&member.kind),
                    link_target: link_target(&member.kind),
                    files: Vec::new(),
                    place: Place::member(format!("{}/{}", tree.place.member, member.display_path())),
                    content: if has_content {
                        Content::Member { archive: tree.archive.clone(), member: index }
                    } else {
                        Content::None
                    },
                }
            },
        ));
    }
    out
}

fn ghosts(images: &Images, files: &[OpenFile]) -> Vec<RecoveredFile> {
    // One ghost may serve several names.
    let mut by_img: HashMap<&str, Vec<&OpenFile>> = HashMap::new();
    for file in files {
        if let FileDetail::Reg(reg) = &file.detail
            && let Some(Remap::Ghost { img }) = &reg.remap
        {
            by_img.entry(img.as_str()).or_default().push(file);
        }
    }
    let mut out = Vec::new();
    for (img, ghost) in &images.ghosts {
        let users = by_img.get(img.as_str()).map(Vec::as_slice).unwrap_or_default();
        let name = users.first().and_then(|file| match &file.detail {
            FileDetail::Reg(reg) => Some(reg.name.clone()),
            _ => None,
        });
        let entry = &ghost.entry;
        let kind = match entry.mode & 0o170_000 {
            0o100_000 => "file",
            0o040_000 => "directory",
            0o120_000 => "symlink",
            0o020_000 => "chardev",
            0o060_000 => "blockdev",
            0o010_000 => "fifo",
            0o140_000 => "socket",
            _ => "other",
        };
        let chunks: Vec<(u64, Bytes)> =
            ghost.chunks.iter().map(|chunk| (chunk.file_offset, chunk.bytes.clone())).collect();
        let end = chunks.iter().map(|(at, bytes)| at.saturating_add(bytes.len() as u64)).max().unwrap_or_default();
        let offset = ghost.chunks.first().map(|chunk| chunk.img_offset);
        out.push(RecoveredFile {
            source: Source::Ghost,
            path: name.unwrap_or_else(|| Text::from(img.as_str())),
            mode: Some(entry.mode),
            owner: Some((u64::from(entry.uid), u64::from(entry.gid))),
            size_bytes: if kind == "file" { entry.size.unwrap_or(end) } else { 0 },
            mtime: entry.mtim.as_ref().and_then(|time| i64::try_from(time.tv_sec).ok()),
            kind,
            link_target: entry.symlnk_target.clone().map(Text),
            files: users.iter().map(|file| file.id).collect(),
            place: Place { member: img.clone(), offset },
            content: if kind == "file" { Content::Chunks(chunks) } else { Content::None },
        });
    }
    out
}

fn memfds(images: &Images, files: &[OpenFile]) -> Vec<RecoveredFile> {
    let mut users: BTreeMap<u64, Vec<FileId>> = BTreeMap::new();
    for file in files {
        if let FileDetail::Memfd(memfd) = &file.detail {
            users.entry(u64::from(memfd.inode_id)).or_default().push(file.id);
        }
    }
    let inodes =
        images.memfd_inode.values().flat_map(|records| records.records.iter().map(move |record| (records, record)));
    inodes
        .map(|(records, record)| {
            let inode = &record.value;
            let is_shared_anonymous = inode.name.as_ref() == b"/dev/zero";
            let prefix: &[u8] = if is_shared_anonymous { b"" } else { b"/memfd:" };
            RecoveredFile {
                source: if is_shared_anonymous { Source::Shm } else { Source::Memfd },
                path: Text([prefix, &inode.name].concat().into()),
                mode: inode.mode,
                owner: Some((u64::from(inode.uid), u64::from(inode.gid))),
                size_bytes: inode.size,
                mtime: None,
                kind: "file",
                link_target: None,
                files: users.remove(&inode.inode_id).unwrap_or_default(),
                place: records.place(record),
                content: Content::Shmem(u64::from(inode.shmid)),
            }
        })
        .collect()
}

/// Where the trees of tmpfs mounts were, by the image that holds them.
pub(super) fn tmpfs_mountpoints(mounts: &[Mount]) -> HashMap<&str, Text> {
    let mut out = HashMap::new();
    for mount in mounts {
        if let Some(img) = &mount.content_img {
            out.entry(img.as_str()).or_insert_with(|| mount.mountpoint.clone());
        }
    }
    out
}

impl RecoveredFile {
    /// The runs of content that are there, as offset and bytes, in ascending order; gaps read as zeros.
    ///
    /// # Errors
    /// Why there is no content.
    pub fn chunks(&self, shared: &BTreeMap<u64, SharedMemory>) -> Result<Vec<(u64, Bytes)>, Absent> {
        match &self.content {
            Content::Chunks(chunks) => Ok(chunks.clone()),
            Content::None => Err(Absent::NotApplicable),
            Content::Member { archive, member } => {
                let member = archive.members().get(*member).ok_or(Absent::Unreadable)?;
                archive.read(member).map(|bytes| vec![(0, bytes)]).map_err(|_unreadable| Absent::Unreadable)
            }
            Content::Shmem(shmid) => {
                let pagemap = &shared.get(shmid).ok_or(Absent::Unreadable)?.pagemap;
                let mut chunks = Vec::new();
                for run in &pagemap.runs {
                    let range = pagemap.range(run);
                    let mut at = range.start;
                    while at < range.end && at.0 < self.size_bytes {
                        let left = range.end.0.min(self.size_bytes) - at.0;
                        let Some(bytes) = pagemap.read_at(at, left)? else { break };
                        let len = bytes.len() as u64;
                        chunks.push((at.0, bytes));
                        at = VirtAddr(at.0.saturating_add(len));
                    }
                }
                Ok(chunks)
            }
        }
    }

    /// The content as one run of bytes, up to `max_bytes`; gaps are zeros.
    ///
    /// # Errors
    /// Why there is no content.
    pub fn read(&self, shared: &BTreeMap<u64, SharedMemory>, max_bytes: u64) -> Result<Bytes, Absent> {
        let chunks = self.chunks(shared)?;
        let size = self.size_bytes.min(max_bytes);
        if let [(0, only)] = chunks.as_slice()
            && only.len() as u64 >= size
        {
            return Ok(only.slice(..usize::try_from(size).map_err(|_too_big| Absent::Unreadable)?));
        }
        let mut out = Vec::new();
        for (at, bytes) in &chunks {
            let (Ok(at), true) = (usize::try_from(*at), *at < size) else { continue };
            let len = bytes.len().min(usize::try_from(size - at as u64).unwrap_or(usize::MAX));
            if out.len() < at + len {
                out.resize(at + len, 0);
            }
            if let (Some(to), Some(from)) = (out.get_mut(at..at + len), bytes.get(..len)) {
                to.copy_from_slice(from);
            }
        }
        if let Ok(size) = usize::try_from(size) {
            out.resize(size, 0);
        }
        Ok(out.into())
    }
}
