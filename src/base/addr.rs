//! Addresses of the checkpointed process, and its page size.

use std::fmt;
use std::ops::Range;

/// Address in the checkpointed process, never in ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtAddr(pub u64);

impl VirtAddr {
    /// Half-open range of `nr_pages` pages; `None` when it leaves the address space.
    pub fn range_of_pages(self, nr_pages: u64, page: PageSize) -> Option<Range<VirtAddr>> {
        let end = nr_pages.checked_mul(page.bytes())?.checked_add(self.0)?;
        Some(self..VirtAddr(end))
    }

    /// The address `len_bytes` further on; `None` when it leaves the address space.
    pub fn checked_add(self, len_bytes: u64) -> Option<VirtAddr> {
        self.0.checked_add(len_bytes).map(VirtAddr)
    }
}

impl fmt::Display for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::LowerHex for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// Page size of the checkpoint in bytes: a power of two from 4 KiB to 64 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSize(u32);

impl PageSize {
    /// The size of x86, and the one assumed where a dump does not tell.
    pub const DEFAULT: PageSize = PageSize(4096);

    /// `None` unless `bytes` is a page size that Linux has.
    pub fn new(bytes: u64) -> Option<PageSize> {
        match bytes {
            4096 => Some(PageSize(4096)),
            8192 => Some(PageSize(8192)),
            16384 => Some(PageSize(16384)),
            32768 => Some(PageSize(32768)),
            65536 => Some(PageSize(65536)),
            _ => None,
        }
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// Whether `value` is a multiple of the page size.
    pub fn is_aligned(self, value: u64) -> bool {
        value & (self.bytes() - 1) == 0
    }
}

impl Default for PageSize {
    fn default() -> PageSize {
        PageSize::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_that_wraps_is_none() {
        assert_eq!(VirtAddr(u64::MAX - 1).range_of_pages(1, PageSize::DEFAULT), None);
        assert_eq!(VirtAddr(0).range_of_pages(u64::MAX, PageSize::DEFAULT), None);
        assert_eq!(VirtAddr(0x1000).range_of_pages(2, PageSize::DEFAULT), Some(VirtAddr(0x1000)..VirtAddr(0x3000)));
    }

    #[test]
    fn only_page_sizes_of_linux_are_accepted() {
        assert_eq!(PageSize::new(4097), None);
        assert_eq!(PageSize::new(0), None);
        assert_eq!(PageSize::new(16384).map(PageSize::bytes), Some(16384));
    }
}
