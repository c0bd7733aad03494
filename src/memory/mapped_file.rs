//! Content of mapped files that the evidence holds outside the page images.
//!
//! A clean page of a file is not in the images. Where the file itself is in the evidence (deleted and kept as a ghost, on
//! a tmpfs, among the changes of the root file system), its page can be read there. A file counts only when it is found
//! by what CRIU recorded of it: the ghost's image, or its path on the right mount, with the recorded size. What the
//! evidence does not have may come from the image that the container started from, where the analyst has it: a file of the
//! same path, size and build id, as far as these were recorded.

use std::collections::HashMap;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::base::{FileId, Issue, Place, Text, hex};
use crate::checkpoint::files::{FileDetail, RegFile};
use crate::checkpoint::recovered::{Content, RecoveredFile, Source};
use crate::checkpoint::{Checkpoint, OpenFile};
use crate::evidence::{BaseImage, Evidence, Member};

use super::elf;

/// Type bits of a regular file in `st_mode`.
const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFCHR: u32 = 0o020_000;

/// Every mapped file that the evidence has, read when first asked for.
#[derive(Debug, Default)]
pub(super) struct MappedFiles(HashMap<FileId, MappedFile>);

/// One of them.
#[derive(Debug)]
pub(super) struct MappedFile {
    found: Found,
    content: OnceLock<Option<Vec<(u64, Bytes)>>>,
    /// In bytes.
    pub(super) size: u64,
    /// As recorded.
    build_id: Option<Bytes>,
}

#[derive(Clone, Debug)]
enum Found {
    /// Index into `Checkpoint::recovered`.
    Recovered(usize),
    /// Index into `RootfsDiff::entries`.
    Rootfs(usize),
    /// In a layer of the base image.
    Base(Box<(Evidence, Member)>),
}

impl MappedFiles {
    /// Finds the content of every mapped file; what is wrong with those of the base image is told.
    pub(super) fn new(checkpoint: &Checkpoint, base: Option<&BaseImage>, issues: &mut Vec<Issue>) -> MappedFiles {
        let spaces = checkpoint.processes.iter().filter_map(|process| process.memory.known());
        let mut ids: Vec<FileId> = spaces.flat_map(|memory| &memory.vmas).filter_map(|vma| vma.file).collect();
        ids.sort_unstable();
        ids.dedup();
        let known = Known::new(checkpoint);
        let find = |id| {
            let file = checkpoint.file(id)?;
            let found = known.find(checkpoint, file).or_else(|| in_base(checkpoint, base?, file, issues))?;
            Some((id, found))
        };
        MappedFiles(ids.into_iter().filter_map(find).collect())
    }

    pub(super) fn get(&self, id: FileId) -> Option<&MappedFile> {
        self.0.get(&id)
    }

    pub(super) fn is_of_base(&self, id: FileId) -> bool {
        self.get(id).is_some_and(|file| matches!(file.found, Found::Base(_)))
    }

    /// Files whose content is that of the base image.
    pub(super) fn nr_of_base(&self) -> usize {
        self.0.values().filter(|file| matches!(file.found, Found::Base(_))).count()
    }
}

impl MappedFile {
    /// Pieces of the content, ascending; what is between them is zeros. `None` when it cannot be read after all.
    pub(super) fn content(&self, checkpoint: &Checkpoint) -> Option<&[(u64, Bytes)]> {
        let read = || match &self.found {
            Found::Recovered(at) => checkpoint.recovered.get(*at)?.chunks(&checkpoint.shared_memory).ok(),
            Found::Rootfs(at) => {
                let archive = checkpoint.rootfs.archive.as_ref()?;
                let member = archive.members().get(checkpoint.rootfs.entries.get(*at)?.member)?;
                let bytes = archive.read(member).ok()?;
                // The archive of changed files is made after the dump; a container that goes on may have changed more.
                let is_the_same =
                    self.build_id.as_deref().is_none_or(|id| elf::build_id(&bytes).as_deref() == Some(id));
                is_the_same.then(|| vec![(0, bytes)])
            }
            Found::Base(base) => Some(vec![(0, base.0.read(&base.1).ok()?)]),
        };
        let ordered = || {
            let mut chunks = read()?;
            chunks.sort_by_key(|(at, _)| *at);
            let mut end_of_last = 0;
            chunks.retain(|(at, bytes)| {
                let is_behind = end_of_last <= *at && !bytes.is_empty();
                if is_behind {
                    end_of_last = at.saturating_add(bytes.len() as u64);
                }
                is_behind
            });
            Some(chunks)
        };
        self.content.get_or_init(ordered).as_deref()
    }

    /// Where a byte of the content lies.
    pub(super) fn place(&self, checkpoint: &Checkpoint, offset: u64) -> Option<Place> {
        match &self.found {
            Found::Recovered(at) => {
                let file = checkpoint.recovered.get(*at)?;
                match &file.content {
                    Content::Chunks(chunks) => {
                        let (start, bytes) = chunks.iter().rev().find(|(start, _)| *start <= offset)?;
                        let inside = offset.checked_sub(*start).filter(|inside| *inside < bytes.len() as u64)?;
                        let place = place_of_piece(file, chunks, bytes);
                        Some(Place { offset: place.offset.map(|at| at.saturating_add(inside)), ..place })
                    }
                    _ => Some(Place {
                        offset: Some(file.place.offset.unwrap_or(0).saturating_add(offset)),
                        ..file.place.clone()
                    }),
                }
            }
            Found::Base(base) => Some(Place::at(format!("{}/{}", base.0.name(), base.1.display_path()), offset)),
            Found::Rootfs(at) => {
                let entry = checkpoint.rootfs.entries.get(*at)?;
                let archive = checkpoint.rootfs.archive.as_ref()?;
                let member = archive.members().get(entry.member)?;
                Some(Place::at(format!("{}/{}", archive.name(), member.display_path()), offset))
            }
        }
    }
}

/// Where a piece of a deleted file lies: all are slices of one image, and the offset of the first is recorded.
pub(super) fn place_of_piece(file: &RecoveredFile, chunks: &[(u64, Bytes)], piece: &Bytes) -> Place {
    let first = chunks.first().map(|(_, bytes)| bytes.as_ptr().addr());
    let further = first.and_then(|first| piece.as_ptr().addr().checked_sub(first));
    let offset = file.place.offset.zip(further).map(|(offset, further)| offset.saturating_add(further as u64));
    Place { offset, ..file.place.clone() }
}

/// Whether a private map of the file reads zeros where nothing was written.
pub(super) fn is_zero_device(file: &OpenFile) -> bool {
    let FileDetail::Reg(reg) = &file.detail else { return false };
    reg.name.as_bytes() == b"/dev/zero" && reg.mode.is_some_and(|mode| mode & S_IFMT == S_IFCHR)
}

/// Files of the evidence by what mapped files are found by.
struct Known<'a> {
    ghosts: HashMap<FileId, usize>,
    trees: HashMap<(Source, &'a Text), usize>,
    rootfs: HashMap<&'a Text, usize>,
}

impl<'a> Known<'a> {
    fn new(checkpoint: &'a Checkpoint) -> Known<'a> {
        let mut known = Known { ghosts: HashMap::new(), trees: HashMap::new(), rootfs: HashMap::new() };
        for (at, file) in checkpoint.recovered.iter().enumerate() {
            match file.source {
                Source::Ghost => known.ghosts.extend(file.files.iter().map(|id| (*id, at))),
                // The last of one name is the one that tar leaves.
                Source::Tmpfs | Source::DevShm if matches!(file.content, Content::Member { .. }) => {
                    known.trees.insert((file.source, &file.path), at);
                }
                _ => {}
            }
        }
        for (at, entry) in checkpoint.rootfs.entries.iter().enumerate() {
            if matches!(entry.kind, "file" | "hardlink") {
                known.rootfs.insert(&entry.path, at);
            }
        }
        known
    }

    fn find(&self, checkpoint: &Checkpoint, file: &OpenFile) -> Option<MappedFile> {
        let FileDetail::Reg(reg) = &file.detail else { return None };
        if reg.mode.is_some_and(|mode| mode & S_IFMT != S_IFREG) {
            return None;
        }
        let found = match self.ghosts.get(&file.id) {
            Some(at) => Found::Recovered(*at),
            None if reg.remap.is_some() => return None,
            None => self.by_path(checkpoint, reg)?,
        };
        let size = match &found {
            Found::Base(base) => base.1.size_bytes,
            Found::Recovered(at) => checkpoint.recovered.get(*at)?.size_bytes,
            Found::Rootfs(at) => {
                let archive = checkpoint.rootfs.archive.as_ref()?;
                let entry = checkpoint.rootfs.entries.get(*at)?;
                // A hard link's own size is none.
                let size = if entry.kind == "hardlink" { reg.size_bytes? } else { entry.size_bytes };
                let member = archive.members().get(entry.member)?;
                if member.truncated.is_some() {
                    return None;
                }
                size
            }
        };
        let is_the_same = reg.size_bytes.is_none_or(|recorded| recorded == size);
        is_the_same.then(|| MappedFile { found, content: OnceLock::new(), size, build_id: reg.build_id.clone() })
    }

    fn by_path(&self, checkpoint: &Checkpoint, reg: &RegFile) -> Option<Found> {
        if checkpoint.is_on_root(reg) {
            return self.rootfs.get(&reg.name).map(|at| Found::Rootfs(*at));
        }
        let mount = reg.mnt_id.and_then(|id| checkpoint.mount(id));
        let mountpoint = mount.map(|mount| mount.mountpoint.as_bytes());
        let by_source = |source| self.trees.get(&(source, &reg.name)).map(|at| Found::Recovered(*at));
        match mountpoint {
            Some(b"/dev/shm" | b"./dev/shm") => by_source(Source::DevShm).or_else(|| by_source(Source::Tmpfs)),
            _ => by_source(Source::Tmpfs),
        }
    }
}

/// The same file in the base image. One that differs in what was recorded is told, and does not count.
fn in_base(checkpoint: &Checkpoint, base: &BaseImage, file: &OpenFile, issues: &mut Vec<Issue>) -> Option<MappedFile> {
    let FileDetail::Reg(reg) = &file.detail else { return None };
    let is_regular = reg.mode.is_none_or(|mode| mode & S_IFMT == S_IFREG);
    if !is_regular || reg.remap.is_some() || !checkpoint.is_on_root(reg) {
        return None;
    }
    let path = reg.name.as_bytes();
    let (layer, member) = base.get(path).filter(|(_, member)| !member.is_dir())?;
    let mut tell = |what: String| issues.push(Issue::new(Place::member(reg.name.label()), what));
    if member.truncated.is_some() {
        tell("is cut off in the base image: it is not used".into());
        return None;
    }
    let bytes = match layer.read(member) {
        Ok(bytes) => bytes,
        Err(error) => {
            tell(format!("cannot be read in the base image: {error}"));
            return None;
        }
    };
    let size = bytes.len() as u64;
    if let Some(recorded) = reg.size_bytes.filter(|recorded| *recorded != size) {
        tell(format!("has {size} bytes in the base image and had {recorded} in the container: it is not used"));
        return None;
    }
    if let Some(recorded) = &reg.build_id {
        let found = elf::build_id(&bytes);
        if found.as_deref() != Some(recorded) {
            let found = found.map_or_else(|| "none".into(), |id| hex(&id));
            tell(format!(
                "has build id {found} in the base image and had {} in the container: it is not used",
                hex(recorded)
            ));
            return None;
        }
    }
    let found = Found::Base(Box::new((layer.clone(), member.clone())));
    Some(MappedFile { found, content: OnceLock::new(), size, build_id: None })
}
