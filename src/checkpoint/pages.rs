//! Pagemaps: which pages are where, and reading them.

use std::ops::Range;

use bytes::Bytes;

use crate::base::{PageSize, VirtAddr};

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
    /// In the pages file, compressed by LZ4.
    Compressed {
        /// Offset of the compressed bytes.
        offset: u64,
        /// Their length.
        len: u64,
    },
    /// In the parent checkpoint.
    Parent,
    /// Left to a lazy server.
    Lazy,
}

impl PageRun {
    /// Half-open range of addresses; the pagemap was checked when it was built.
    pub fn range(&self, page_size: PageSize) -> Range<VirtAddr> {
        self.start.range_of_pages(self.nr_pages, page_size).unwrap_or(self.start..self.start)
    }
}
