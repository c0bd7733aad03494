//! The memory of a whole checkpoint: spaces by pid, and what processes share.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::{Absent, Field, FileId, Issue, Pid, Place, VirtAddr};
use crate::checkpoint::pages::Pagemap;
use crate::checkpoint::recovered::Content;
use crate::checkpoint::{Checkpoint, Process};
use crate::evidence::BaseImage;

use super::address_space::AddressSpace;
use super::mapped_file::{MappedFile, MappedFiles};
use super::segment::Origin;

/// Memory of all processes of a checkpoint. Made once; every space is made of it.
#[derive(Debug)]
pub struct Memory {
    checkpoint: Arc<Checkpoint>,
    files: MappedFiles,
    /// Sizes of memfds and shared anonymous memory in bytes.
    object_sizes: HashMap<u64, u64>,
    /// Vmas of each object: index of the process, index of the vma.
    users_of_object: HashMap<u64, Vec<(usize, usize)>>,
    users_of_file: HashMap<FileId, Vec<(usize, usize)>>,
    issues: Vec<Issue>,
}

impl Memory {
    /// Indexes what processes share.
    pub fn new(checkpoint: Arc<Checkpoint>) -> Memory {
        Memory::build(checkpoint, None)
    }

    /// With clean pages of mapped files from the image that the container started from.
    pub fn with_base(checkpoint: Arc<Checkpoint>, base: &BaseImage) -> Memory {
        Memory::build(checkpoint, Some(base))
    }

    fn build(checkpoint: Arc<Checkpoint>, base: Option<&BaseImage>) -> Memory {
        let mut issues = base.map(|base| base.issues().to_vec()).unwrap_or_default();
        let files = MappedFiles::new(&checkpoint, base, &mut issues);
        let mut object_sizes = HashMap::new();
        for file in &checkpoint.recovered {
            if let Content::Shmem(shmid) = file.content {
                object_sizes.insert(shmid, file.size_bytes);
            }
        }
        let mut users_of_object: HashMap<u64, Vec<(usize, usize)>> = HashMap::new();
        let mut users_of_file: HashMap<FileId, Vec<(usize, usize)>> = HashMap::new();
        for (at, process) in checkpoint.processes.iter().enumerate() {
            for (nr, vma) in process.memory.known().into_iter().flat_map(|map| map.vmas.iter().enumerate()) {
                if let Some(shmid) = vma.shmid {
                    users_of_object.entry(shmid).or_default().push((at, nr));
                }
                if let Some(file) = vma.file.filter(|file| files.get(*file).is_some()) {
                    users_of_file.entry(file).or_default().push((at, nr));
                }
            }
        }
        Memory { checkpoint, files, object_sizes, users_of_object, users_of_file, issues }
    }

    /// What is wrong with the base image: files that are not those that were mapped.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// Whether the pages of a mapped file are read from the base image.
    pub fn is_of_base(&self, file: FileId) -> bool {
        self.files.is_of_base(file)
    }

    /// Mapped files that are read from the base image.
    pub fn nr_files_of_base(&self) -> usize {
        self.files.nr_of_base()
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The address space of a process.
    ///
    /// # Errors
    /// There is no such process (`NotApplicable`), or why it has no memory.
    pub fn space(&self, pid: Pid) -> Result<AddressSpace<'_>, Absent> {
        self.space_of(self.checkpoint.process(pid).ok_or(Absent::NotApplicable)?)
    }

    fn space_of<'a>(&'a self, process: &'a Process) -> Result<AddressSpace<'a>, Absent> {
        match &process.memory {
            Field::Known(map) => Ok(AddressSpace::new(self, process.pid, map)),
            Field::Absent(why) => Err(*why),
        }
    }

    /// The spaces of all processes that have memory, by pid.
    pub fn spaces(&self) -> impl Iterator<Item = AddressSpace<'_>> {
        let mut processes: Vec<&Process> = self.checkpoint.processes.iter().collect();
        processes.sort_by_key(|process| process.pid);
        processes.into_iter().filter_map(|process| self.space_of(process).ok())
    }

    pub(super) fn file(&self, id: FileId) -> Option<&MappedFile> {
        self.files.get(id)
    }

    /// The whole content of a mapped file, where it is at hand in one piece.
    pub(super) fn whole_file(&self, id: FileId) -> Option<bytes::Bytes> {
        let file = self.files.get(id)?;
        match file.content(&self.checkpoint)? {
            [(0, content)] if content.len() as u64 == file.size => Some(content.clone()),
            _ => None,
        }
    }

    pub(super) fn object_size(&self, shmid: u64) -> Option<u64> {
        self.object_sizes.get(&shmid).copied()
    }

    /// The ranges of a shared-memory object that processes map, as offsets, in order and not overlapping.
    pub(super) fn mapped_ranges_of_object(&self, shmid: u64) -> Vec<std::ops::Range<u64>> {
        let users = self.users_of_object.get(&shmid).map(Vec::as_slice).unwrap_or_default();
        let vmas = users.iter().filter_map(|user| self.vma(*user));
        let mut ranges: Vec<_> = vmas.map(|(_, vma)| vma.pgoff..vma.pgoff.saturating_add(vma.len_bytes())).collect();
        ranges.sort_by_key(|range| (range.start, range.end));
        let mut out: Vec<std::ops::Range<u64>> = Vec::new();
        for range in ranges {
            match out.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => out.push(range),
            }
        }
        out
    }

    fn vma(&self, (process, nr): (usize, usize)) -> Option<(&Process, &crate::checkpoint::Vma)> {
        let process = self.checkpoint.processes.get(process)?;
        Some((process, process.memory.known()?.vmas.get(nr)?))
    }

    /// Every place that shows the byte at an address, itself included, by pid and address: the maps of the same page of a
    /// shared object or file. Private copies are not among them. At most `max`.
    pub fn mappings_of(&self, space: &AddressSpace<'_>, addr: VirtAddr, max: usize) -> Vec<(Pid, VirtAddr)> {
        let own = vec![(space.pid(), addr)];
        let Some(segment) = space.segment_at(addr) else { return Vec::new() };
        let users = match segment.origin {
            Origin::Shared { shmid, .. } => self.users_of_object.get(&shmid),
            Origin::File { file } => self.users_of_file.get(&file),
            // A hole of an object is as shared as its pages.
            Origin::Zero => segment.vma.shmid.and_then(|shmid| self.users_of_object.get(&shmid)),
            _ => return own,
        };
        let Some(users) = users else { return own };
        let offset = segment.vma.pgoff.saturating_add(addr.0 - segment.vma.start.0);
        let mut found: Vec<(Pid, VirtAddr)> = users
            .iter()
            .filter_map(|user| {
                let (process, vma) = self.vma(*user)?;
                let inside = offset.checked_sub(vma.pgoff).filter(|inside| *inside < vma.len_bytes())?;
                let other = vma.start.checked_add(inside)?;
                let is_own = process.memory.known()?.pagemap.run_at(other).is_some();
                (!is_own).then_some((process.pid, other))
            })
            .take(max)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The addresses that show a byte of a pages file, by pid and address; the inverse of [`AddressSpace::place_of`].
    /// At most `max`.
    pub fn addresses_of(&self, member: &str, offset: u64, max: usize) -> Vec<(Pid, VirtAddr)> {
        let place = Place::at(member, offset);
        let mut found = Vec::new();
        for process in &self.checkpoint.processes {
            if found.len() >= max {
                break;
            }
            let Some(map) = process.memory.known() else { continue };
            let candidates = candidates(&map.pagemap, member, offset);
            if candidates.is_empty() {
                continue;
            }
            let space = AddressSpace::new(self, process.pid, map);
            let shown = candidates.into_iter().filter(|addr| space.place_of(*addr).as_ref() == Some(&place));
            found.extend(shown.map(|addr| (process.pid, addr)));
        }
        for (shmid, object) in &self.checkpoint.shared_memory {
            for offset in candidates(&object.pagemap, member, offset) {
                for user in self.users_of_object.get(shmid).into_iter().flatten() {
                    let Some((process, vma)) = self.vma(*user) else { continue };
                    let inside = offset.0.checked_sub(vma.pgoff).filter(|inside| *inside < vma.len_bytes());
                    let Some(addr) = inside.and_then(|inside| vma.start.checked_add(inside)) else { continue };
                    let Ok(space) = self.space_of(process) else { continue };
                    if found.len() < max && space.place_of(addr).as_ref() == Some(&place) {
                        found.push((process.pid, addr));
                    }
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(max);
        found
    }
}

/// Addresses that a byte of a pages file has in a pagemap and its parents.
fn candidates(first: &Pagemap, member: &str, offset: u64) -> Vec<VirtAddr> {
    let mut found = Vec::new();
    let mut pagemap = Some(first);
    while let Some(here) = pagemap {
        if here.pages_name == member {
            for run in &here.runs {
                let Some(stored) = &run.stored else { continue };
                let inside = offset.checked_sub(stored.offset).filter(|inside| *inside < stored.len_bytes);
                let Some(inside) = inside else { continue };
                let inside = if stored.blocks.is_none() { inside } else { 0 };
                found.extend(run.vaddr.checked_add(inside));
            }
        }
        pagemap = here.parent.as_deref();
    }
    found
}
