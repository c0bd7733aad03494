//! Pagemaps: which pages are where, and reading them.
//!
//! `pagemap-PID.img` lists runs of pages in ascending order of address. Runs that are PRESENT have
//! their content in `pages-N.img`, one after the other; others have none there. Source: FORMAT of
//! `pagemap_entry`; effective flags are PARENT if `in_parent` is set, else `flags`, else PRESENT.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Absent, Issue, PageSize, Place, VirtAddr};
use crate::decode::schema;

/// `PE_PARENT`: the content is in the parent checkpoint.
const PE_PARENT: u32 = 1;
/// `PE_LAZY`: the page may be served later.
const PE_LAZY: u32 = 2;
/// `PE_PRESENT`: the content is in the pages file.
const PE_PRESENT: u32 = 4;

/// Runs of pages of one process or one shared-memory object, ascending, not overlapping.
///
/// For a shared-memory object the addresses are offsets in the object.
#[derive(Clone, Debug, Default)]
pub struct Pagemap {
    /// Page size of the dump.
    pub page_size: PageSize,
    /// The runs.
    pub runs: Vec<PageRun>,
    /// Content of `pages-N.img`, as much as there is of it.
    pub pages: Bytes,
    /// Base name of the pages file, for places.
    pub pages_name: String,
    /// The same pagemap of the parent checkpoint, where there is one and it is here.
    pub parent: Option<Arc<Pagemap>>,
}

/// A run of neighbouring pages with one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRun {
    /// First address.
    pub start: VirtAddr,
    /// Number of pages.
    pub nr_pages: u64,
    /// Where the content is.
    pub origin: PageOrigin,
}

/// Where the content of a run of pages is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOrigin {
    /// In the pages file, at this offset in bytes.
    Pages {
        /// Offset of the first page.
        offset: u64,
    },
    /// In the parent checkpoint.
    Parent,
    /// Left to a lazy server.
    Lazy,
}

impl PageRun {
    /// Pages whose content is in this checkpoint or its parent.
    fn nr_present(&self) -> u64 {
        match self.origin {
            PageOrigin::Pages { .. } | PageOrigin::Parent => self.nr_pages,
            PageOrigin::Lazy => 0,
        }
    }

    /// Half-open range of addresses; the pagemap was checked when it was built.
    pub fn range(&self, page_size: PageSize) -> Range<VirtAddr> {
        self.start.range_of_pages(self.nr_pages, page_size).unwrap_or(self.start..self.start)
    }
}

/// Content of a shared-memory object: shared anonymous memory, a memfd, a System V segment.
///
/// Addresses of its pagemap are offsets in the object.
#[derive(Clone, Debug)]
pub struct SharedMemory {
    /// Its pages; a hole reads as zeros.
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
                *sum = sum.saturating_add(run.nr_present());
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
        let page_size = self.pagemap.page_size;
        let after = self.pagemap.runs.partition_point(|run| run.start.0 < offset);
        let Some(last) = after.checked_sub(1) else { return 0 };
        match (self.pagemap.runs.get(last), self.present_before.get(last)) {
            (Some(run), Some(before)) => {
                let inside = (offset - run.start.0).div_ceil(page_size.bytes());
                before.saturating_add(inside.min(run.nr_present()))
            }
            _ => 0,
        }
    }
}

/// One record of a pagemap with the offset at which it stands.
pub(super) struct Entry<'a> {
    pub(super) offset: u64,
    pub(super) entry: &'a schema::PagemapEntry,
}

impl Pagemap {
    /// Checks the entries of one pagemap and lays them over its pages file.
    ///
    /// Kept are entries in ascending order that do not overlap and do not leave the address space;
    /// the others become issues. Pages that the file is too short for stay listed, and reading them
    /// says that they are not there.
    pub(super) fn build<'a>(
        img: &str,
        entries: impl Iterator<Item = Entry<'a>>,
        page_size: PageSize,
        pages: Bytes,
        pages_name: String,
        parent: Option<Arc<Pagemap>>,
    ) -> (Pagemap, Vec<Issue>) {
        let mut issues = Vec::new();
        let mut runs: Vec<PageRun> = Vec::new();
        let mut file_offset = 0u64;
        let mut end_of_last = VirtAddr(0);
        for Entry { offset, entry } in entries {
            let at = || Place::at(img, offset);
            let nr_pages = entry.nr_pages.unwrap_or(0).max(u64::from(entry.compat_nr_pages));
            let flags = match (entry.in_parent, entry.flags) {
                (Some(true), _) => PE_PARENT,
                (_, Some(flags)) => flags,
                _ => PE_PRESENT,
            };
            let start = VirtAddr(entry.vaddr);
            let Some(range) = start.range_of_pages(nr_pages, page_size).filter(|_| nr_pages != 0) else {
                issues.push(Issue::new(at(), format!("{nr_pages} pages at {start} are not a range of addresses")));
                continue;
            };
            let is_present = flags & PE_PRESENT != 0;
            let origin = if is_present {
                PageOrigin::Pages { offset: file_offset }
            } else if flags & PE_PARENT != 0 {
                PageOrigin::Parent
            } else if flags & PE_LAZY != 0 {
                PageOrigin::Lazy
            } else {
                issues.push(Issue::new(at(), format!("flags {flags:#x} do not say where the pages at {start} are")));
                continue;
            };
            if is_present {
                // What follows in the file is found by this sum, also when this run is left out.
                file_offset = file_offset.saturating_add(range.end.0 - range.start.0);
            }
            if !page_size.is_aligned(start.0) || start < end_of_last {
                let what = format!("pages at {start} are not behind those before them, which end at {end_of_last}");
                issues.push(Issue::new(at(), what));
                continue;
            }
            end_of_last = range.end;
            runs.push(PageRun { start, nr_pages, origin });
        }
        let len = pages.len() as u64;
        if file_offset != len {
            let what = format!("{img} tells of {file_offset} bytes of pages, {len} are there");
            issues.push(Issue::new(Place::at(pages_name.as_str(), len.min(file_offset)), what));
        }
        (Pagemap { page_size, runs, pages, pages_name, parent }, issues)
    }

    /// The run that holds `addr`.
    pub fn run_at(&self, addr: VirtAddr) -> Option<&PageRun> {
        let after = self.runs.partition_point(|run| run.start <= addr);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (addr < run.range(self.page_size).end).then_some(run)
    }

    /// The bytes from `addr` to the end of its run, or to `max_len`, as far as they are recorded.
    ///
    /// `Ok(None)` when no run holds the address. Borrowed from the evidence.
    ///
    /// # Errors
    /// The reason why a page that is listed cannot be read.
    pub fn read_at(&self, addr: VirtAddr, max_len: u64) -> Result<Option<Bytes>, Absent> {
        let mut pagemap = self;
        let mut len = max_len;
        let Some(mut run) = pagemap.run_at(addr) else { return Ok(None) };
        // Parents were chained with a limit when they were loaded; each may have shorter runs.
        loop {
            let range = run.range(pagemap.page_size);
            len = len.min(range.end.0 - addr.0);
            match run.origin {
                PageOrigin::Pages { offset } => {
                    let from = offset.saturating_add(addr.0 - range.start.0);
                    let until = from.saturating_add(len).min(pagemap.pages.len() as u64);
                    return match (usize::try_from(from), usize::try_from(until)) {
                        (Ok(from), Ok(until)) if from < until => Ok(Some(pagemap.pages.slice(from..until))),
                        _ => Err(Absent::Unreadable),
                    };
                }
                PageOrigin::Lazy => return Err(Absent::NotRecorded),
                PageOrigin::Parent => {
                    pagemap = pagemap.parent.as_deref().ok_or(Absent::Unreadable)?;
                    run = pagemap.run_at(addr).ok_or(Absent::Unreadable)?;
                }
            }
        }
    }
}
