//! The address space of one process.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::base::{Absent, FileId, PageSize, Pid, Place, VirtAddr};
use crate::checkpoint::memory_map::{MemoryMap, VmaKind};
use crate::checkpoint::pages::Pagemap;
use crate::checkpoint::{Checkpoint, Vma};
use crate::decode::pagemap::Run;

use super::mapped_file::{self, MappedFile};
use super::segment::{Missing, Origin, Segment};
use super::whole::Memory;

/// What lies at each address of a process. Made by [`Memory::space`]; borrows, and holds one number for each vma once
/// somebody counts mapped bytes. Making one is cheap enough for every frame of a window.
#[derive(Clone, Debug)]
pub struct AddressSpace<'a> {
    pid: Pid,
    memory: &'a Memory,
    map: &'a MemoryMap,
    /// Sorted, not overlapping.
    guards: Cow<'a, [Range<VirtAddr>]>,
    counted: OnceLock<Counted>,
}

/// Mapped bytes.
#[derive(Clone, Debug, Default)]
struct Counted {
    /// Before each vma.
    before: Vec<u64>,
    all: u64,
}

/// A part of an answer of [`AddressSpace::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its addresses.
    pub range: Range<VirtAddr>,
    /// What is there.
    pub content: Content,
}

/// What is at a range of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes, as many as the range is long.
    Bytes(Bytes),
    /// Zeros that nobody wrote: as long as the range, which may be long.
    Zero,
    /// Nothing, and why.
    Absent(Missing),
}

/// Where bytes of a range lie, before they are read.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// In one piece in the evidence: `from..from + length of the range` of a buffer.
    Plain {
        /// A pages file or a file of the evidence.
        buffer: &'a Bytes,
        /// Offset in it.
        from: usize,
    },
    /// In compressed blocks.
    Packed(PackedRun<'a>),
    /// Zeros that nobody wrote.
    Zero,
    /// Nothing, and why.
    Absent(Missing),
}

/// Compressed pages of a run.
#[derive(Clone, Copy, Debug)]
pub struct PackedRun<'a> {
    pagemap: &'a Pagemap,
    run: &'a Run,
    /// Add to an address of the space for one of the pagemap (an offset, for shared objects).
    shift: u64,
}

impl Chunk {
    /// Appends its bytes, zeros only until there are `max_len`; whether there are any.
    fn append_to(&self, out: &mut Vec<u8>, max_len: usize) -> bool {
        match &self.content {
            Content::Bytes(bytes) => out.extend_from_slice(bytes),
            Content::Zero => {
                let len = usize::try_from(self.range.end.0 - self.range.start.0).unwrap_or(max_len);
                out.resize(out.len().saturating_add(len).min(max_len), 0);
            }
            Content::Absent(_) => return false,
        }
        true
    }
}

impl<'a> AddressSpace<'a> {
    pub(super) fn new(memory: &'a Memory, pid: Pid, map: &'a MemoryMap) -> AddressSpace<'a> {
        AddressSpace { pid, memory, map, guards: sorted(&map.guards), counted: OnceLock::new() }
    }

    fn counted(&self) -> &Counted {
        self.counted.get_or_init(|| {
            let mut counted = Counted::default();
            for vma in &self.map.vmas {
                counted.before.push(counted.all);
                counted.all = counted.all.saturating_add(vma.len_bytes());
            }
            counted
        })
    }

    /// Whose it is.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What CRIU recorded of it.
    pub fn map(&self) -> &'a MemoryMap {
        self.map
    }

    /// Page size of the dump.
    pub fn page_size(&self) -> PageSize {
        self.map.pagemap.page_size
    }

    fn checkpoint(&self) -> &'a Checkpoint {
        self.memory.checkpoint()
    }

    /// Bytes that are mapped, whether they are there or not.
    pub fn mapped_bytes(&self) -> u64 {
        self.counted().all
    }

    /// Mapped bytes below an address.
    pub fn mapped_before(&self, addr: VirtAddr) -> u64 {
        let after = self.map.vmas.partition_point(|vma| vma.start <= addr);
        let Some(at) = after.checked_sub(1) else { return 0 };
        match (self.map.vmas.get(at), self.counted().before.get(at)) {
            (Some(vma), Some(before)) => before.saturating_add(addr.min(vma.end).0.saturating_sub(vma.start.0)),
            _ => 0,
        }
    }

    /// The mapped byte that has so many before it; the inverse of [`AddressSpace::mapped_before`].
    pub fn nth_mapped(&self, nth: u64) -> Option<VirtAddr> {
        let after = self.counted().before.partition_point(|before| *before <= nth);
        let at = after.checked_sub(1)?;
        let (vma, before) = (self.map.vmas.get(at)?, self.counted().before.get(at)?);
        vma.start.checked_add(nth - before).filter(|addr| *addr < vma.end)
    }

    /// The segment that holds an address, whole; `None` where nothing is mapped.
    pub fn segment_at(&self, addr: VirtAddr) -> Option<Segment<'a>> {
        let vma = self.map.vma_at(addr)?;
        let (range, origin, _) = self.look_up(vma, addr);
        Some(Segment { range, vma, origin })
    }

    /// All segments in ascending order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'a>> + '_ {
        self.segments_from(VirtAddr(0))
    }

    /// The segments that end behind an address, in ascending order; the first may begin before it.
    pub fn segments_from(&self, addr: VirtAddr) -> impl Iterator<Item = Segment<'a>> + '_ {
        let mut at = self.next_mapped(addr);
        std::iter::from_fn(move || {
            let segment = self.segment_at(at?)?;
            at = self.next_mapped(segment.range.end);
            Some(segment)
        })
    }

    /// The first mapped address that is not below this one.
    fn next_mapped(&self, addr: VirtAddr) -> Option<VirtAddr> {
        let at = self.map.vmas.partition_point(|vma| vma.end <= addr);
        self.map.vmas.get(at).map(|vma| vma.start.max(addr))
    }

    /// Where the bytes of a range lie, in ascending order; ranges that are not mapped are among the answers.
    ///
    /// Nothing is read or unpacked; each answer is as long as its segment allows.
    pub fn stored(&self, range: Range<VirtAddr>) -> impl Iterator<Item = (Range<VirtAddr>, Stored<'a>)> + '_ {
        let mut at = range.start;
        std::iter::from_fn(move || {
            if range.end <= at {
                return None;
            }
            let (end, stored) = match self.map.vma_at(at) {
                Some(vma) => {
                    let (segment, _, stored) = self.look_up(vma, at);
                    stored.first_part(at..segment.end)
                }
                None => (self.next_mapped(at).unwrap_or(range.end), Stored::Absent(Missing::Unmapped)),
            };
            let piece = at..end.min(range.end);
            at = piece.end;
            Some((piece, stored))
        })
    }

    /// The content of a range in ascending order, without a gap. Borrowed from the evidence unless it was compressed.
    pub fn read(&self, range: Range<VirtAddr>) -> impl Iterator<Item = Chunk> + '_ {
        self.stored(range).flat_map(|(range, stored)| stored.read(range))
    }

    /// Up to `max_len` bytes from an address on, as far as they are there; copied.
    pub fn bytes_at(&self, addr: VirtAddr, max_len: usize) -> Vec<u8> {
        let end = VirtAddr(addr.0.saturating_add(max_len as u64));
        let mut out = Vec::new();
        for chunk in self.read(addr..end) {
            if !chunk.append_to(&mut out, max_len) {
                break;
            }
        }
        out
    }

    /// Up to `max_len` bytes that end right before an address, as far as they are there; copied.
    pub fn bytes_before(&self, addr: VirtAddr, max_len: usize) -> Vec<u8> {
        let start = VirtAddr(addr.0.saturating_sub(max_len as u64));
        let mut out = Vec::new();
        for chunk in self.read(start..addr) {
            if !chunk.append_to(&mut out, max_len) {
                out.clear();
            }
        }
        out
    }

    /// Where the byte at an address lies in the evidence; `None` for zeros and for what is not there. Of compressed pages
    /// the start of their run.
    pub fn place_of(&self, addr: VirtAddr) -> Option<Place> {
        let vma = self.map.vma_at(addr)?;
        let (range, origin, _) = self.look_up(vma, addr);
        let (pagemap, at) = match origin {
            Origin::Dump | Origin::Parent { .. } => (&self.map.pagemap, addr),
            Origin::Shared { shmid, .. } => {
                (&self.checkpoint().shared_memory.get(&shmid)?.pagemap, VirtAddr(object_offset(vma, addr)))
            }
            Origin::File { file } => {
                let mapped = self.memory.file(file)?;
                return mapped.place(self.checkpoint(), object_offset(vma, addr));
            }
            Origin::Zero | Origin::Absent(_) => return None,
        };
        debug_assert!(range.contains(&addr));
        place_in(pagemap, at)
    }

    /// The segment that holds an address, and where the bytes from the address on lie.
    pub(super) fn stored_at(&self, addr: VirtAddr) -> Option<(Segment<'a>, Stored<'a>)> {
        let vma = self.map.vma_at(addr)?;
        let (range, origin, stored) = self.look_up(vma, addr);
        Some((Segment { range, vma, origin }, stored))
    }

    /// Everything about an address of a vma: the bounds of its segment, the origin, and where the bytes from the address
    /// on lie.
    fn look_up(&self, vma: &'a Vma, addr: VirtAddr) -> (Range<VirtAddr>, Origin, Stored<'a>) {
        let absent = |bounds: Range<VirtAddr>, why| (bounds, Origin::Absent(why), Stored::Absent(why));
        let mut bounds = vma.start..vma.end;
        let after = self.guards.partition_point(|guard| guard.end <= addr);
        if let Some(guard) = self.guards.get(after) {
            if guard.start <= addr {
                return absent(clip(bounds, guard.clone()), Missing::Guard);
            }
            bounds.end = bounds.end.min(guard.start);
        }
        if let Some(guard) = after.checked_sub(1).and_then(|at| self.guards.get(at)) {
            bounds.start = bounds.start.max(guard.end);
        }
        let (own, found) = locate(&self.map.pagemap, addr);
        let bounds = clip(bounds, own);
        match found {
            Located::Stored { depth, pagemap, run } => {
                let origin = if depth == 0 { Origin::Dump } else { Origin::Parent { depth } };
                (bounds, origin, stored_run(pagemap, run, addr, 0))
            }
            Located::Missing(why) => absent(bounds, why),
            Located::NotListed => self.look_up_unlisted(vma, addr, bounds),
        }
    }

    /// As [`AddressSpace::look_up`], of an address that the process has no page of its own at.
    fn look_up_unlisted(
        &self,
        vma: &'a Vma,
        addr: VirtAddr,
        bounds: Range<VirtAddr>,
    ) -> (Range<VirtAddr>, Origin, Stored<'a>) {
        let absent = |bounds: Range<VirtAddr>, why| (bounds, Origin::Absent(why), Stored::Absent(why));
        match vma.kind {
            VmaKind::AnonPrivate | VmaKind::Heap | VmaKind::Stack => (bounds, Origin::Zero, Stored::Zero),
            VmaKind::AnonShared | VmaKind::Memfd | VmaKind::Sysv => {
                let shmid = vma.shmid;
                let object = shmid.and_then(|shmid| Some((shmid, self.checkpoint().shared_memory.get(&shmid)?)));
                let Some((shmid, object)) = object else { return absent(bounds, Missing::Object) };
                if let Some(size) = self.memory.object_size(shmid) {
                    return match cut_at_end(vma, addr, &bounds, size, self.page_size()) {
                        Ok(inside) => self.look_up_object(vma, addr, inside, shmid, &object.pagemap),
                        Err(behind) => absent(behind, Missing::BehindEnd),
                    };
                }
                self.look_up_object(vma, addr, bounds, shmid, &object.pagemap)
            }
            VmaKind::FilePrivate | VmaKind::FileShared => {
                let Some(id) = vma.file else { return absent(bounds, Missing::FilePage) };
                if let Some(mapped) = self.memory.file(id) {
                    return match cut_at_end(vma, addr, &bounds, mapped.size, self.page_size()) {
                        Ok(inside) => self.look_up_file(vma, addr, inside, id, mapped),
                        Err(behind) => absent(behind, Missing::BehindEnd),
                    };
                }
                let is_zero = !vma.is_shared && self.checkpoint().file(id).is_some_and(mapped_file::is_zero_device);
                if is_zero { (bounds, Origin::Zero, Stored::Zero) } else { absent(bounds, Missing::FilePage) }
            }
            _ => absent(bounds, Missing::NotKept),
        }
    }

    fn look_up_object(
        &self,
        vma: &'a Vma,
        addr: VirtAddr,
        bounds: Range<VirtAddr>,
        shmid: u64,
        pagemap: &'a Pagemap,
    ) -> (Range<VirtAddr>, Origin, Stored<'a>) {
        let offset = VirtAddr(object_offset(vma, addr));
        let (of_object, found) = locate(pagemap, offset);
        let bounds = clip(bounds, in_space(vma, &of_object));
        match found {
            Located::Stored { depth, pagemap, run } => {
                let shift = vma.pgoff.wrapping_sub(vma.start.0);
                (bounds, Origin::Shared { shmid, depth }, stored_run(pagemap, run, offset, shift))
            }
            Located::NotListed => (bounds, Origin::Zero, Stored::Zero),
            Located::Missing(why) => (bounds, Origin::Absent(why), Stored::Absent(why)),
        }
    }

    fn look_up_file(
        &self,
        vma: &'a Vma,
        addr: VirtAddr,
        bounds: Range<VirtAddr>,
        file: FileId,
        mapped: &'a MappedFile,
    ) -> (Range<VirtAddr>, Origin, Stored<'a>) {
        let Some(chunks) = mapped.content(self.checkpoint()) else {
            return (bounds, Origin::Absent(Missing::FilePage), Stored::Absent(Missing::FilePage));
        };
        let offset = object_offset(vma, addr);
        let after = chunks.partition_point(|(at, _)| *at <= offset);
        let before = after.checked_sub(1).and_then(|at| chunks.get(at));
        let end_of = |(at, bytes): &(u64, Bytes)| at.saturating_add(bytes.len() as u64);
        let origin = Origin::File { file };
        match before {
            Some(chunk) if offset < end_of(chunk) => {
                let bounds = clip(bounds, in_space(vma, &(VirtAddr(chunk.0)..VirtAddr(end_of(chunk)))));
                let from = usize::try_from(offset - chunk.0).unwrap_or(usize::MAX);
                (bounds, origin, Stored::Plain { buffer: &chunk.1, from })
            }
            _ => {
                let start = before.map_or(0, end_of);
                let end = chunks.get(after).map_or(u64::MAX, |(at, _)| *at);
                (clip(bounds, in_space(vma, &(VirtAddr(start)..VirtAddr(end)))), origin, Stored::Zero)
            }
        }
    }
}

impl<'a> Stored<'a> {
    /// The same from so many bytes on.
    pub fn skip(self, len: u64) -> Stored<'a> {
        match self {
            Stored::Plain { buffer, from } => {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                Stored::Plain { buffer, from: from.saturating_add(len) }
            }
            other => other,
        }
    }

    /// Of compressed pages the first part that is of one kind: blocks of zeros take no room in the evidence, and none
    /// when they are read. Returns where it ends.
    pub(super) fn first_part(self, range: Range<VirtAddr>) -> (VirtAddr, Stored<'a>) {
        let Stored::Packed(packed) = self else { return (range.end, self) };
        let (end, is_zero) = packed.first_part(range.start);
        (end.min(range.end), if is_zero { Stored::Zero } else { self })
    }

    /// Reads what lies at `range`, from its start on.
    fn read(self, range: Range<VirtAddr>) -> impl Iterator<Item = Chunk> + 'a {
        let whole = match &self {
            Stored::Plain { buffer, from } => Some(plain(buffer, *from, range.clone())),
            Stored::Zero => Some(Content::Zero),
            Stored::Absent(why) => Some(Content::Absent(*why)),
            Stored::Packed(_) => None,
        };
        let packed = match self {
            Stored::Packed(packed) => Some(packed.read(range.clone())),
            _ => None,
        };
        whole
            .into_iter()
            .map(move |content| Chunk { range: range.clone(), content })
            .chain(packed.into_iter().flatten())
    }
}

fn plain(buffer: &Bytes, from: usize, range: Range<VirtAddr>) -> Content {
    let end = usize::try_from(range.end.0 - range.start.0).ok().and_then(|len| from.checked_add(len));
    match end {
        Some(end) if end <= buffer.len() => Content::Bytes(buffer.slice(from..end)),
        _ => Content::Absent(Missing::Truncated),
    }
}

impl<'a> PackedRun<'a> {
    /// Up to where the blocks from an address on are all zeros, or all are not.
    fn first_part(self, at: VirtAddr) -> (VirtAddr, bool) {
        /// Blocks that are looked at; the rest is the next part.
        const MAX_BLOCKS: usize = 1 << 16;
        let end = VirtAddr(u64::MAX);
        let Some(blocks) = self.run.stored.as_ref().and_then(|stored| stored.blocks.as_deref()) else {
            return (end, false);
        };
        let block_bytes = u64::from(blocks.pages_per_block).saturating_mul(self.pagemap.page_size.bytes()).max(1);
        let inside = at.0.wrapping_add(self.shift).saturating_sub(self.run.vaddr.0);
        let first = usize::try_from(inside / block_bytes).unwrap_or(usize::MAX);
        let sizes = blocks.sizes.get(first..).unwrap_or_default();
        let is_zero = sizes.first() == Some(&0);
        let nr_alike = sizes.iter().take(MAX_BLOCKS).take_while(|size| (**size == 0) == is_zero).count();
        if nr_alike == sizes.len() {
            return (end, is_zero);
        }
        let left_of_first = block_bytes - inside % block_bytes;
        let further = block_bytes.saturating_mul(nr_alike.saturating_sub(1) as u64);
        (VirtAddr(at.0.saturating_add(left_of_first).saturating_add(further)), is_zero)
    }

    pub(super) fn read(self, range: Range<VirtAddr>) -> impl Iterator<Item = Chunk> + 'a {
        let shift = self.shift;
        let forth = |addr: VirtAddr| VirtAddr(addr.0.wrapping_add(shift));
        let mut pieces = self.pagemap.read_stored(self.run, forth(range.start)..forth(range.end));
        let mut at = range.start;
        // The blocks of a damaged run may end early: what is behind them is told as well.
        std::iter::from_fn(move || {
            if range.end <= at {
                return None;
            }
            let (piece, content) = match pieces.next() {
                Some((piece, read)) => {
                    let back = |addr: VirtAddr| VirtAddr(addr.0.wrapping_sub(shift));
                    let why = |absent| if absent == Absent::Unparsable { Missing::Damaged } else { Missing::Truncated };
                    let content = read.map_or_else(|absent| Content::Absent(why(absent)), Content::Bytes);
                    (at..back(piece.end).min(range.end), content)
                }
                None => (at..range.end, Content::Absent(Missing::Damaged)),
            };
            at = piece.end;
            Some(Chunk { range: piece, content })
        })
    }
}

/// Where the byte of a pagemap lies; of compressed pages the start of their run.
pub(super) fn place_in(pagemap: &Pagemap, at: VirtAddr) -> Option<Place> {
    let (_, found) = locate(pagemap, at);
    let Located::Stored { pagemap, run, .. } = found else { return None };
    let stored = run.stored.as_ref()?;
    let inside = if stored.blocks.is_none() { at.0 - run.vaddr.0 } else { 0 };
    Some(Place::at(pagemap.pages_name.as_str(), stored.offset.saturating_add(inside)))
}

/// Where the bytes of an object from an offset on lie, and up to where that holds.
pub(super) fn stored_in_object(pagemap: &Pagemap, at: VirtAddr) -> (VirtAddr, Stored<'_>) {
    let (bounds, found) = locate(pagemap, at);
    let stored = match found {
        Located::Stored { pagemap, run, .. } => stored_run(pagemap, run, at, 0),
        Located::NotListed => Stored::Zero,
        Located::Missing(why) => Stored::Absent(why),
    };
    (bounds.end, stored)
}

/// Where the bytes from `at` on lie; `at` is in the addresses of the pagemap.
fn stored_run<'a>(pagemap: &'a Pagemap, run: &'a Run, at: VirtAddr, shift: u64) -> Stored<'a> {
    match &run.stored {
        Some(stored) if stored.blocks.is_none() => {
            let from = stored.offset.saturating_add(at.0 - run.vaddr.0);
            Stored::Plain { buffer: &pagemap.pages, from: usize::try_from(from).unwrap_or(usize::MAX) }
        }
        _ => Stored::Packed(PackedRun { pagemap, run, shift }),
    }
}

/// What a pagemap and its parents know of an address.
enum Located<'a> {
    /// In a pages file.
    Stored { depth: u32, pagemap: &'a Pagemap, run: &'a Run },
    /// No run has it.
    NotListed,
    /// A run has it, and it is not there.
    Missing(Missing),
}

/// Looks an address up, and how far around it the answer holds. In the addresses of the pagemap.
fn locate(first: &Pagemap, addr: VirtAddr) -> (Range<VirtAddr>, Located<'_>) {
    let mut bounds = VirtAddr(0)..VirtAddr(u64::MAX);
    let mut pagemap = first;
    let mut depth = 0u32;
    // Parents were chained with a limit when they were loaded.
    loop {
        let after = pagemap.runs.partition_point(|run| run.vaddr <= addr);
        let before = after.checked_sub(1).and_then(|at| pagemap.runs.get(at));
        let run = match before {
            Some(run) if addr < pagemap.range(run).end => run,
            _ => {
                let start = before.map_or(VirtAddr(0), |run| pagemap.range(run).end);
                let end = pagemap.runs.get(after).map_or(VirtAddr(u64::MAX), |run| run.vaddr);
                let found = if depth == 0 { Located::NotListed } else { Located::Missing(Missing::Parent) };
                return (clip(bounds, start..end), found);
            }
        };
        let range = pagemap.range(run);
        bounds = clip(bounds, range.clone());
        match &run.stored {
            Some(stored) if stored.blocks.is_none() => {
                // As much as the pages file has.
                let here = (pagemap.pages.len() as u64).saturating_sub(stored.offset);
                let end = VirtAddr(range.start.0.saturating_add(here)).min(range.end);
                if addr < end {
                    return (clip(bounds, range.start..end), Located::Stored { depth, pagemap, run });
                }
                return (clip(bounds, end..range.end), Located::Missing(Missing::Truncated));
            }
            Some(_) => return (bounds, Located::Stored { depth, pagemap, run }),
            None if run.flags.is_in_parent() => match pagemap.parent.as_deref() {
                Some(parent) => {
                    pagemap = parent;
                    depth = depth.saturating_add(1);
                }
                None => return (bounds, Located::Missing(Missing::Parent)),
            },
            None => return (bounds, Located::Missing(Missing::Lazy)),
        }
    }
}

fn clip(bounds: Range<VirtAddr>, to: Range<VirtAddr>) -> Range<VirtAddr> {
    bounds.start.max(to.start)..bounds.end.min(to.end)
}

/// Offset in the mapped file or object.
fn object_offset(vma: &Vma, addr: VirtAddr) -> u64 {
    vma.pgoff.saturating_add(addr.0.saturating_sub(vma.start.0))
}

/// Where a range of offsets appears in a vma; not cut to it.
fn in_space(vma: &Vma, offsets: &Range<VirtAddr>) -> Range<VirtAddr> {
    let addr = |offset: VirtAddr| match offset.0.checked_sub(vma.pgoff) {
        Some(inside) => VirtAddr(vma.start.0.saturating_add(inside)),
        None => VirtAddr(0),
    };
    addr(offsets.start)..addr(offsets.end)
}

/// Cuts at the last page that the object's end lies in; `Err` with the rest when the address is behind it.
fn cut_at_end(
    vma: &Vma,
    addr: VirtAddr,
    bounds: &Range<VirtAddr>,
    size: u64,
    page: PageSize,
) -> Result<Range<VirtAddr>, Range<VirtAddr>> {
    let pages_end = size.checked_next_multiple_of(page.bytes()).unwrap_or(u64::MAX);
    let end = in_space(vma, &(VirtAddr(0)..VirtAddr(pages_end))).end;
    if addr < end { Ok(bounds.start..bounds.end.min(end)) } else { Err(bounds.start.max(end)..bounds.end) }
}

/// Guard regions in order, those that overlap left out.
fn sorted(guards: &[Range<VirtAddr>]) -> Cow<'_, [Range<VirtAddr>]> {
    if guards.windows(2).all(|pair| matches!(pair, [one, next] if one.end <= next.start)) {
        return Cow::Borrowed(guards);
    }
    let mut guards = guards.to_vec();
    guards.sort_by_key(|guard| guard.start);
    let mut end_of_last = VirtAddr(0);
    guards.retain_mut(|guard| {
        guard.start = guard.start.max(end_of_last);
        end_of_last = end_of_last.max(guard.end);
        guard.start < guard.end
    });
    Cow::Owned(guards)
}
