//! Pages: where the content of each address is, and reading it.
//!
//! A [`Pagemap`] is what [`decode::pagemap`](crate::decode::pagemap) reads of `pagemap-PID.img`, laid over the mapped pages
//! file and chained to the same pagemap of the parent checkpoint. For a shared-memory object the
//! addresses are offsets in the object.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::base::{Absent, Issue, PageSize, Place, VirtAddr};
use crate::decode::pagemap::{Block, Blocks, Run};
use crate::decode::{Ctx, Img, lz4, pagemap};

/// Largest block of compressed pages that is unpacked. CRIU's own are some pages long.
const MAX_BLOCK_BYTES: u64 = 64 << 20;
/// LZ4 cannot unpack to more than this many times its own length.
const MAX_LZ4_RATIO: u64 = 256;

/// Runs of pages of one process or one shared-memory object, ascending, not overlapping.
#[derive(Clone, Debug, Default)]
pub struct Pagemap {
    /// Page size of the dump.
    pub page_size: PageSize,
    /// The runs.
    pub runs: Vec<Run>,
    /// Content of `pages-N.img`, as much as there is of it.
    pub pages: Bytes,
    /// Name of the pages file, for places: its base name, of a parent checkpoint with the directory before it. Empty
    /// when the pagemap names none.
    pub pages_name: String,
    /// The same pagemap of the parent checkpoint, where it is here.
    pub parent: Option<Arc<Pagemap>>,
    /// Shared by all pagemaps of a checkpoint.
    pub(super) unpacked: Arc<UnpackedBlocks>,
}

/// The compressed blocks that were last read in part, unpacked. A view reads page by page, and a block may be long: it would
/// be unpacked for every page of it. Readers of whole blocks pass by.
#[derive(Default)]
pub(super) struct UnpackedBlocks(Mutex<VecDeque<(BlockKey, Bytes)>>);

/// Where the pages file lies in our memory, offset in it, size when unpacked. All pagemaps that share the blocks live as
/// long as these, so the first means one file.
type BlockKey = (usize, u64, u64);

/// Blocks that are kept.
const MAX_UNPACKED: usize = 4;

impl UnpackedBlocks {
    fn get_or_unpack(&self, key: BlockKey, unpack: impl FnOnce() -> Result<Bytes, Absent>) -> Result<Bytes, Absent> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = lock().iter().find(|(known, _)| *known == key) {
            return Ok(bytes.clone());
        }
        let bytes = unpack()?;
        let mut blocks = lock();
        blocks.truncate(MAX_UNPACKED - 1);
        blocks.push_front((key, bytes.clone()));
        Ok(bytes)
    }
}

impl fmt::Debug for UnpackedBlocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnpackedBlocks").finish_non_exhaustive()
    }
}

impl Pagemap {
    /// Decodes a pagemap and lays it over its pages file, which `pages` reads by base name, or says why it cannot.
    ///
    /// Runs that are not behind those before them are left out; the decoder's issue says so. Pages
    /// that the file is too short for stay listed, and reading them says that they are not there.
    pub(super) fn build(
        img: &Img,
        ctx: &Ctx,
        page_size: PageSize,
        pages: impl FnOnce(&str, &mut Vec<Issue>) -> Option<Bytes>,
        parent: Option<Arc<Pagemap>>,
        unpacked: &Arc<UnpackedBlocks>,
    ) -> (Pagemap, Vec<Issue>) {
        let decoded = pagemap::pagemap(img, ctx, page_size);
        let mut issues: Vec<Issue> = decoded.issues.into_iter().map(Issue::from).collect();
        let mut runs = decoded.value.runs;
        let mut end_of_last = VirtAddr(0);
        runs.retain(|run| {
            let is_behind = end_of_last <= run.vaddr && page_size.is_aligned(run.vaddr.0) && run.nr_pages != 0;
            if is_behind {
                end_of_last = range_of(run, page_size).end;
            }
            is_behind
        });
        let pages_name = decoded.value.pages_id.map(|id| format!("pages-{id}.img")).unwrap_or_default();
        let pages = if pages_name.is_empty() { None } else { pages(&pages_name, &mut issues) };
        let needed = decoded.value.pages_len_bytes;
        if let Some(len) = pages.as_ref().map(|pages| pages.len() as u64).filter(|len| *len != needed) {
            let what = format!("{} tells of {needed} bytes of pages, {len} are there", img.name);
            issues.push(Issue::new(Place::at(pages_name.as_str(), len.min(needed)), what));
        }
        let unpacked = Arc::clone(unpacked);
        (Pagemap { page_size, runs, pages: pages.unwrap_or_default(), pages_name, parent, unpacked }, issues)
    }

    /// Half-open range of addresses of one of the runs.
    pub fn range(&self, run: &Run) -> Range<VirtAddr> {
        range_of(run, self.page_size)
    }

    /// The run that holds `addr`.
    pub fn run_at(&self, addr: VirtAddr) -> Option<&Run> {
        let after = self.runs.partition_point(|run| run.vaddr <= addr);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (addr < self.range(run).end).then_some(run)
    }

    /// Pages that are said to be in a parent checkpoint and are in none that is here.
    pub fn nr_lost(&self) -> u64 {
        let mut lost = 0u64;
        let in_parent = |run: &&Run| run.stored.is_none() && run.flags.is_in_parent();
        let mut wanted: Vec<Range<u64>> = Vec::new();
        for run in self.runs.iter().filter(in_parent) {
            push_range(&mut wanted, self.range(run).start.0..self.range(run).end.0);
        }
        let mut pagemap = self.parent.as_deref();
        while let (Some(here), false) = (pagemap, wanted.is_empty()) {
            let mut deeper = Vec::new();
            let mut runs = here.runs.iter().peekable();
            for range in wanted {
                let mut at = range.start;
                while at < range.end {
                    let Some(run) = runs.peek() else { break };
                    let of_run = here.range(run);
                    if of_run.end.0 <= at {
                        runs.next();
                        continue;
                    }
                    if range.end <= of_run.start.0 {
                        break;
                    }
                    lost = lost.saturating_add(of_run.start.0.saturating_sub(at));
                    let part = at.max(of_run.start.0)..range.end.min(of_run.end.0);
                    at = part.end;
                    if in_parent(run) {
                        push_range(&mut deeper, part);
                    } else if run.stored.is_none() {
                        lost = lost.saturating_add(part.end - part.start);
                    }
                }
                lost = lost.saturating_add(range.end - at);
            }
            wanted = deeper;
            pagemap = here.parent.as_deref();
        }
        lost = wanted.iter().fold(lost, |sum, range| sum.saturating_add(range.end - range.start));
        lost / self.page_size.bytes()
    }

    /// The bytes from `addr` on, up to `max_len` and not beyond its run, as far as they are recorded.
    ///
    /// `Ok(None)` when no run holds the address. Borrowed from the evidence, unless compressed.
    ///
    /// # Errors
    /// The reason why a page that is listed cannot be read.
    pub fn read_at(&self, addr: VirtAddr, max_len: u64) -> Result<Option<Bytes>, Absent> {
        let mut pagemap = self;
        let mut len = max_len;
        let Some(mut run) = pagemap.run_at(addr) else { return Ok(None) };
        // Parents were chained with a limit when they were loaded; each may have shorter runs.
        loop {
            let range = pagemap.range(run);
            len = len.min(range.end.0 - addr.0);
            let inside = addr.0 - range.start.0;
            match &run.stored {
                Some(stored) => {
                    return match &stored.blocks {
                        None => pagemap.slice(stored.offset.saturating_add(inside), len).map(Some),
                        Some(blocks) => pagemap.unpack_at(blocks, stored.offset, run.nr_pages, inside, len).map(Some),
                    };
                }
                None if run.flags.is_in_parent() => {
                    pagemap = pagemap.parent.as_deref().ok_or(Absent::Unreadable)?;
                    run = pagemap.run_at(addr).ok_or(Absent::Unreadable)?;
                }
                None => return Err(Absent::NotRecorded),
            }
        }
    }

    /// Bytes of the pages file; fewer than `len` at its end.
    fn slice(&self, from: u64, len: u64) -> Result<Bytes, Absent> {
        let until = from.saturating_add(len).min(self.pages.len() as u64);
        match (usize::try_from(from), usize::try_from(until)) {
            (Ok(from), Ok(until)) if from < until => Ok(self.pages.slice(from..until)),
            _ => Err(Absent::Unreadable),
        }
    }

    /// The bytes of `range` of a run that is stored here, in pieces from the start on, block by block where compressed.
    ///
    /// `range` is cut to the run. Each piece says which addresses it is of, and why its bytes are not there if they are
    /// not.
    pub fn read_stored<'a>(
        &'a self,
        run: &'a Run,
        range: Range<VirtAddr>,
    ) -> impl Iterator<Item = (Range<VirtAddr>, Result<Bytes, Absent>)> + 'a {
        let all = self.range(run);
        let range = range.start.max(all.start)..range.end.min(all.end);
        let stored = run.stored.as_ref();
        let plain = stored.filter(|stored| stored.blocks.is_none() && range.start < range.end).map(|stored| {
            let (inside, len) = (range.start.0 - all.start.0, range.end.0 - range.start.0);
            let bytes = self.slice(stored.offset.saturating_add(inside), len);
            let end = bytes.as_ref().map_or(range.end, |bytes| VirtAddr(range.start.0 + bytes.len() as u64));
            let rest = (end < range.end).then(|| (end..range.end, Err(Absent::Unreadable)));
            std::iter::once((range.start..end, bytes)).chain(rest)
        });
        let blocks = stored.and_then(|stored| Some((stored.blocks.as_deref()?, stored.offset)));
        let packed = blocks.map(move |(blocks, offset)| {
            let page = self.page_size.bytes();
            let first = range.start.0.saturating_sub(all.start.0) / page;
            let blocks = blocks.iter_from(first, offset, run.nr_pages, self.page_size);
            // An empty range has no blocks, and those behind the range are not looked at.
            let is_before_end =
                move |block: &Block| all.start.0.saturating_add(block.first_page.saturating_mul(page)) < range.end.0;
            blocks.take_while(is_before_end).filter_map(move |block| {
                let first = VirtAddr(all.start.0.saturating_add(block.first_page.saturating_mul(page)));
                let start = first.max(range.start);
                let end = VirtAddr(first.0.saturating_add(block.len_bytes)).min(range.end);
                (start < end).then(|| (start..end, self.unpack(&block, start.0 - first.0, end.0 - start.0)))
            })
        });
        plain.into_iter().flatten().chain(packed.into_iter().flatten())
    }

    /// Bytes out of the compressed block that holds offset `inside` of a run.
    fn unpack_at(&self, blocks: &Blocks, offset: u64, nr_pages: u64, inside: u64, len: u64) -> Result<Bytes, Absent> {
        let page = self.page_size;
        let starts = |first_page: u64| first_page.saturating_mul(page.bytes());
        let block = blocks
            .iter_from(inside / page.bytes(), offset, nr_pages, page)
            .find(|block| inside < starts(block.first_page).saturating_add(block.len_bytes))
            .ok_or(Absent::Unreadable)?;
        self.unpack(&block, inside - starts(block.first_page), len)
    }

    /// Up to `len` bytes from offset `inside` of a compressed block on.
    fn unpack(&self, block: &Block, inside: u64, len: u64) -> Result<Bytes, Absent> {
        let stored_len = block.stored_len_bytes;
        let is_possible = stored_len == 0 || block.len_bytes <= stored_len.saturating_mul(MAX_LZ4_RATIO);
        if block.len_bytes > MAX_BLOCK_BYTES || !is_possible {
            return Err(Absent::Unparsable);
        }
        let unpack = || {
            let stored = if stored_len == 0 { Bytes::new() } else { self.slice(block.offset, stored_len)? };
            let mut pages = vec![0; usize::try_from(block.len_bytes).map_err(|_too_big| Absent::Unparsable)?];
            lz4::unpack(&stored, &mut pages).map_err(|_malformed| Absent::Unparsable)?;
            Ok(Bytes::from(pages))
        };
        let is_part = inside > 0 || len < block.len_bytes;
        let pages = if is_part && stored_len != 0 {
            let key = (self.pages.as_ptr().addr(), block.offset, block.len_bytes);
            self.unpacked.get_or_unpack(key, unpack)?
        } else {
            unpack()?
        };
        let from = usize::try_from(inside).map_err(|_too_big| Absent::Unparsable)?.min(pages.len());
        let until = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(pages.len());
        Ok(pages.slice(from..until))
    }
}

/// Appends to ranges in order; neighbours become one.
fn push_range(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ if range.is_empty() => {}
        _ => ranges.push(range),
    }
}

/// Half-open range of addresses; the decoder has checked that it stays in the address space.
fn range_of(run: &Run, page_size: PageSize) -> Range<VirtAddr> {
    run.vaddr.range_of_pages(run.nr_pages, page_size).unwrap_or(run.vaddr..run.vaddr)
}

/// Pages of a run whose content is in this checkpoint or its parent.
fn nr_present(run: &Run) -> u64 {
    if run.stored.is_some() || run.flags.is_in_parent() { run.nr_pages } else { 0 }
}

/// Content of a shared-memory object: shared anonymous memory, a memfd, a System V segment.
#[derive(Clone, Debug)]
pub struct SharedMemory {
    /// Its pages, by offset in the object; a hole reads as zeros.
    pub pagemap: Pagemap,
    /// Pages with content before each run.
    present_before: Vec<u64>,
}

impl SharedMemory {
    /// Indexes a pagemap.
    pub fn new(pagemap: Pagemap) -> SharedMemory {
        let present_before = pagemap
            .runs
            .iter()
            .scan(0u64, |sum, run| {
                let before = *sum;
                *sum = sum.saturating_add(nr_present(run));
                Some(before)
            })
            .collect();
        SharedMemory { pagemap, present_before }
    }

    /// Pages with content in a range of offsets.
    pub fn pages_in(&self, range: Range<u64>) -> u64 {
        self.pages_before(range.end).saturating_sub(self.pages_before(range.start))
    }

    fn pages_before(&self, offset: u64) -> u64 {
        let after = self.pagemap.runs.partition_point(|run| run.vaddr.0 < offset);
        let Some(last) = after.checked_sub(1) else { return 0 };
        match (self.pagemap.runs.get(last), self.present_before.get(last)) {
            (Some(run), Some(before)) => {
                let inside = (offset - run.vaddr.0).div_ceil(self.pagemap.page_size.bytes());
                before.saturating_add(inside.min(nr_present(run)))
            }
            _ => 0,
        }
    }
}
