//! Runs of pages: which pages a dump has, and where in the pages file each of them lies.
//!
//! Shape: `pagemap-N.img` is one `pagemap_head` (number of the pages file), then `pagemap_entry` in ascending order.
//! Entries marked present take `nr_pages * page_size` bytes of `pages-N.img`, one after the other; the others take
//! none. Forms that are read: `nr_pages` of 32 and of 64 bits, entries without flags (before CRIU 3.5), and the two
//! layouts of LZ4 blocks of CRIU's development of 2026. Source: CRIU `images/pagemap.proto`, `criu/pagemap.c`.

use std::sync::OnceLock;

use prost::Name;

use crate::base::{PageSize, VirtAddr};

use super::error::{DecodeErrorKind, Decoded, Issues};
use super::img::{Ctx, Img, Records};
use super::schema::{PagemapEntry, PagemapHead};
use super::typed;
use super::wire::{self, Findings};

/// What is known of the pages of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PageFlags(pub u32);

impl PageFlags {
    const PARENT: u32 = 1;
    const LAZY: u32 = 2;
    const PRESENT: u32 = 4;
    const ALIGNED: u32 = 8;

    /// The contents are in the parent checkpoint.
    pub fn is_in_parent(self) -> bool {
        self.0 & PageFlags::PARENT != 0
    }

    /// The page may be served after a restore; without [`is_present`](PageFlags::is_present) it is not in the image.
    pub fn is_lazy(self) -> bool {
        self.0 & PageFlags::LAZY != 0
    }

    /// The contents are in the pages file.
    pub fn is_present(self) -> bool {
        self.0 & PageFlags::PRESENT != 0
    }

    fn is_aligned(self) -> bool {
        self.0 & PageFlags::ALIGNED != 0
    }
}

/// The flags of an entry, whatever release wrote it.
pub fn flags(entry: &PagemapEntry) -> PageFlags {
    if entry.in_parent() {
        return PageFlags(PageFlags::PARENT);
    }
    PageFlags(entry.flags.unwrap_or(PageFlags::PRESENT))
}

/// The number of pages of an entry, whatever release wrote it.
pub fn nr_pages(entry: &PagemapEntry) -> u64 {
    entry.nr_pages.unwrap_or_else(|| u64::from(entry.compat_nr_pages))
}

/// A run of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Address of the first page; in `pagemap-shmem-N.img` the offset in the object.
    pub vaddr: VirtAddr,
    /// How many.
    pub nr_pages: u64,
    /// Where they are.
    pub flags: PageFlags,
    /// Where in the pages file, if they are there.
    pub stored: Option<Stored>,
}

/// Where a run lies in the pages file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Offset of its first byte.
    pub offset: u64,
    /// Bytes that it takes there.
    pub len_bytes: u64,
    /// How the pages are compressed; `None` where they are stored as they are.
    pub blocks: Option<Box<Blocks>>,
}

/// Compressed pages of a run, block by block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Pages in each block; the last one may have fewer.
    pub pages_per_block: u32,
    /// Bytes that each block takes, without padding: 0 for a block of zeros, the size of the block for one that is
    /// stored as it is.
    pub sizes: Vec<u32>,
    /// Whether each block is padded to whole pages.
    pub is_padded: bool,
    /// Bytes before every block whose number is a multiple of [`ANCHOR_BLOCKS`], once somebody looks into the middle.
    anchors: OnceLock<Vec<u64>>,
}

/// Blocks between two that it is known of where they begin.
const ANCHOR_BLOCKS: usize = 1024;

/// One block of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Index of its first page in the run.
    pub first_page: u64,
    /// Bytes when unpacked.
    pub len_bytes: u64,
    /// Offset of its first byte in the pages file.
    pub offset: u64,
    /// Bytes that it takes there: 0 for zeros, `len_bytes` for a block stored as it is, else an LZ4 block.
    pub stored_len_bytes: u64,
}

impl Blocks {
    /// The blocks of a run of `nr_pages` that begins at `offset` of the pages file; ends early on an overflow.
    pub fn iter(&self, offset: u64, nr_pages: u64, page: PageSize) -> impl Iterator<Item = Block> {
        self.blocks_of(0, offset, 0, nr_pages, page)
    }

    /// As [`Blocks::iter`], from the block on that holds page `first_page` of the run, without walking those before it.
    pub fn iter_from(
        &self,
        first_page: u64,
        offset: u64,
        nr_pages: u64,
        page: PageSize,
    ) -> impl Iterator<Item = Block> {
        let anchors = self.anchors.get_or_init(|| {
            let mut anchors = vec![0];
            let mut sum = 0_u64;
            for blocks in self.sizes.chunks_exact(ANCHOR_BLOCKS) {
                let len = blocks.iter().try_fold(0_u64, |sum, size| sum.checked_add(self.footprint(*size, page)?));
                let Some(next) = len.and_then(|len| sum.checked_add(len)) else { break };
                sum = next;
                anchors.push(sum);
            }
            anchors
        });
        let wanted = first_page.checked_div(u64::from(self.pages_per_block)).unwrap_or(0);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let nr = (wanted / ANCHOR_BLOCKS).min(anchors.len().saturating_sub(1));
        let start = nr.saturating_mul(ANCHOR_BLOCKS);
        let page_at_start = u64::try_from(start).unwrap_or(u64::MAX).saturating_mul(u64::from(self.pages_per_block));
        let at = offset.checked_add(anchors.get(nr).copied().unwrap_or(0));
        let skipped = wanted.saturating_sub(start);
        let blocks = at.map(|at| self.blocks_of(start, at, page_at_start, nr_pages, page).skip(skipped));
        blocks.into_iter().flatten()
    }

    /// The blocks from number `nr` on, which begins at offset `at` and at page `first_page` of the run.
    fn blocks_of(
        &self,
        nr: usize,
        mut at: u64,
        mut first_page: u64,
        nr_pages: u64,
        page: PageSize,
    ) -> impl Iterator<Item = Block> {
        self.sizes.get(nr..).unwrap_or_default().iter().map_while(move |size| {
            let pages = nr_pages.checked_sub(first_page)?.min(u64::from(self.pages_per_block));
            let len_bytes = pages.checked_mul(page.bytes())?;
            let block = Block { first_page, len_bytes, offset: at, stored_len_bytes: u64::from(*size) };
            at = at.checked_add(self.footprint(*size, page)?)?;
            first_page = first_page.checked_add(pages)?;
            Some(block)
        })
    }

    fn footprint(&self, size: u32, page: PageSize) -> Option<u64> {
        let size = u64::from(size);
        if self.is_padded { size.checked_next_multiple_of(page.bytes()) } else { Some(size) }
    }

    fn total(&self, page: PageSize) -> Option<u64> {
        self.sizes.iter().try_fold(0_u64, |sum, size| sum.checked_add(self.footprint(*size, page)?))
    }
}

/// What a pagemap says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pagemap {
    /// Number of the pages file.
    pub pages_id: Option<u32>,
    /// The runs, as they stand in the file: ascending in a good one, and an issue says where not.
    pub runs: Vec<Run>,
    /// Bytes that the pages file must have.
    pub pages_len_bytes: u64,
}

/// The runs of a pagemap, with their places in the pages file.
///
/// The walk ends at an entry that cannot be read, leaves the address space, or whose sizes do not add up: the places of
/// all later runs depend on it.
pub fn pagemap(img: &Img, ctx: &Ctx, page: PageSize) -> Decoded<Pagemap> {
    let mut issues = Issues::new(ctx.limits.max_issues_per_img);
    let mut findings = Findings::default();
    let mut value = Pagemap::default();
    let mut previous_end = 0_u64;
    let rules =
        |message| wire::rules(message).filter(|_| img.kind.is_some_and(|kind| kind.entry == PagemapEntry::NAME));
    let (Some(head_rules), Some(entry_rules)) = (rules(PagemapHead::NAME), rules(PagemapEntry::NAME)) else {
        let found = img.kind.map_or("records of an unknown kind", |kind| kind.entry);
        let kind = DecodeErrorKind::WrongKind { wanted: PagemapEntry::NAME, found };
        return Decoded { value, issues: vec![img.error(0, kind)], unknown: Vec::new() };
    };
    // Not through `typed`: a pagemap may have millions of entries, and a run is half as large as a record.
    for framed in Records::new(img, ctx) {
        let framed = match framed {
            Ok(framed) => framed,
            Err(err) => {
                issues.push(err);
                continue;
            }
        };
        let offset = framed.offset;
        if framed.message == PagemapHead::NAME {
            match typed::decode::<PagemapHead>(&framed.body, head_rules, ctx, &mut findings) {
                Ok(head) => value.pages_id = Some(head.pages_id),
                Err(kind) => issues.push(img.error(offset, kind)),
            }
            continue;
        }
        let entry = typed::decode::<PagemapEntry>(&framed.body, entry_rules, ctx, &mut findings);
        let run = match entry.and_then(|entry| run(entry, &mut value.pages_len_bytes, page)) {
            Ok(run) => run,
            Err(kind) => {
                issues.push(img.error(offset, kind));
                break;
            }
        };
        if run.vaddr.0 < previous_end {
            let kind = DecodeErrorKind::RunOutOfOrder { vaddr: run.vaddr.0, previous_end };
            issues.push(img.error(offset, kind));
        }
        previous_end = run.vaddr.range_of_pages(run.nr_pages, page).map_or(previous_end, |range| range.end.0);
        value.runs.push(run);
    }
    if let Some(unknown) = findings.unknown.iter().find(|unknown| unknown.message != PagemapHead::NAME) {
        issues.push(img.error(0, DecodeErrorKind::UnknownPageLayout { number: unknown.number }));
    }
    Decoded { value, issues: issues.finish(), unknown: findings.unknown }
}

/// A run and its place; `next` is where it would begin in the pages file.
fn run(entry: PagemapEntry, next: &mut u64, page: PageSize) -> Result<Run, DecodeErrorKind> {
    let (vaddr, nr_pages, flags) = (VirtAddr(entry.vaddr), nr_pages(&entry), flags(&entry));
    let too_long = DecodeErrorKind::RunTooLong { vaddr: vaddr.0, nr_pages };
    if vaddr.range_of_pages(nr_pages, page).is_none() {
        return Err(too_long);
    }
    if !flags.is_present() {
        return Ok(Run { vaddr, nr_pages, flags, stored: None });
    }
    let offset = if flags.is_aligned() { next.checked_next_multiple_of(page.bytes()) } else { Some(*next) };
    let blocks = blocks(entry, nr_pages)?;
    let len_bytes = match &blocks {
        Some(blocks) => blocks.total(page),
        None => nr_pages.checked_mul(page.bytes()),
    };
    let (Some(offset), Some(len_bytes)) = (offset, len_bytes) else {
        return Err(too_long);
    };
    *next = offset.checked_add(len_bytes).ok_or(too_long)?;
    Ok(Run { vaddr, nr_pages, flags, stored: Some(Stored { offset, len_bytes, blocks: blocks.map(Box::new) }) })
}

/// The blocks of an entry in either layout.
fn blocks(entry: PagemapEntry, nr_pages: u64) -> Result<Option<Blocks>, DecodeErrorKind> {
    let blocks = match entry.blocks {
        Some(blocks) => Blocks {
            pages_per_block: blocks.pages_per_block,
            is_padded: blocks.payload_padded(),
            sizes: blocks.block_sizes,
            anchors: OnceLock::new(),
        },
        None if entry.compressed_size.is_empty() && entry.total_compressed_size.is_none() => return Ok(None),
        None => Blocks {
            // Absent or 0: page by page.
            pages_per_block: entry.region_pages.unwrap_or(0).max(1),
            is_padded: false,
            sizes: entry.compressed_size,
            anchors: OnceLock::new(),
        },
    };
    let n_blocks = u64::try_from(blocks.sizes.len()).unwrap_or(u64::MAX);
    let expected = match blocks.pages_per_block {
        0 => None,
        pages => Some(nr_pages.div_ceil(u64::from(pages))),
    };
    if expected == Some(n_blocks) {
        return Ok(Some(blocks));
    }
    Err(DecodeErrorKind::BlocksMismatch { blocks: n_blocks, pages_per_block: blocks.pages_per_block, nr_pages })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use prost::Message;

    use super::*;
    use crate::decode::schema::PagemapBlocks;

    fn image(entries: &[Vec<u8>]) -> Img {
        let mut bytes = [0x19, 0x43, 0x56, 0x54, 0x25, 0x40, 0x08, 0x56, 2, 0, 0, 0, 8, 7].to_vec();
        for entry in entries {
            bytes.extend(u32::try_from(entry.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(entry);
        }
        Img::new("pagemap-1.img", Bytes::from(bytes))
    }

    fn check(entries: &[PagemapEntry], expected: &str) {
        let encoded: Vec<Vec<u8>> = entries.iter().map(Message::encode_to_vec).collect();
        check_bytes(&encoded, expected);
    }

    fn check_bytes(entries: &[Vec<u8>], expected: &str) {
        let found = pagemap(&image(entries), &Ctx::default(), PageSize::DEFAULT);
        let mut out = String::new();
        for run in &found.value.runs {
            let stored =
                run.stored.as_ref().map_or("-".to_owned(), |at| format!("{:#x}+{:#x}", at.offset, at.len_bytes));
            out.push_str(&format!("{} x{} {stored}\n", run.vaddr, run.nr_pages));
        }
        for issue in &found.issues {
            out.push_str(&format!("issue {issue}\n"));
        }
        assert_eq!(found.value.pages_id, Some(7));
        assert_eq!(out, expected);
    }

    fn entry(vaddr: u64, compat_nr_pages: u32) -> PagemapEntry {
        PagemapEntry { vaddr, compat_nr_pages, ..PagemapEntry::default() }
    }

    #[test]
    fn both_forms_of_the_number_of_pages_are_read() {
        let wide = PagemapEntry { nr_pages: Some(3), flags: Some(4), ..entry(0x5000, 0) };
        let zero = PagemapEntry { nr_pages: Some(0), flags: Some(4), ..entry(0x9000, 9) };
        check(&[entry(0x1000, 2), wide, zero], "0x1000 x2 0x0+0x2000\n0x5000 x3 0x2000+0x3000\n0x9000 x0 0x5000+0x0\n");
    }

    #[test]
    fn only_present_runs_take_room_in_the_pages_file() {
        let parent = PagemapEntry { flags: Some(1), ..entry(0x1000, 2) };
        let old_parent = PagemapEntry { in_parent: Some(true), ..entry(0x3000, 1) };
        let lazy = PagemapEntry { flags: Some(2), ..entry(0x4000, 1) };
        let lazy_present = PagemapEntry { flags: Some(6), ..entry(0x5000, 1) };
        check(
            &[parent, old_parent, lazy, lazy_present],
            "0x1000 x2 -\n0x3000 x1 -\n0x4000 x1 -\n0x5000 x1 0x0+0x1000\n",
        );
    }

    #[test]
    fn runs_that_overflow_or_go_back_are_said() {
        let huge = PagemapEntry { nr_pages: Some(u64::MAX), ..entry(0x1000, 0) };
        check(
            &[entry(0x2000, 1), entry(0x1000, 1), huge, entry(0x9000, 1)],
            "0x2000 x1 0x0+0x1000\n0x1000 x1 0x1000+0x1000\n\
             issue pagemap-1.img+0x17: run of pages at 0x1000 begins before 0x3000, where the one before it ends\n\
             issue pagemap-1.img+0x20: run of 18446744073709551615 pages at 0x1000 is too long\n",
        );
    }

    #[test]
    fn compressed_blocks_are_placed() {
        let blocks = PagemapBlocks {
            block_sizes: vec![100, 0, 4096],
            total_payload_size: 4196,
            pages_per_block: 2,
            payload_padded: None,
        };
        let packed =
            PagemapEntry { flags: Some(4), nr_pages: Some(5), blocks: Some(blocks.clone().into()), ..entry(0, 0) };
        let aligned = PagemapEntry { flags: Some(12), nr_pages: Some(1), ..entry(0x8000, 0) };
        check(&[packed.clone(), aligned], "0x0 x5 0x0+0x1064\n0x8000 x1 0x2000+0x1000\n");
        let padded = PagemapBlocks { payload_padded: Some(true), ..blocks };
        check(&[PagemapEntry { blocks: Some(padded.into()), ..packed.clone() }], "0x0 x5 0x0+0x2000\n");
        let found = pagemap(&image(&[packed.encode_to_vec()]), &Ctx::default(), PageSize::DEFAULT);
        let stored = found.value.runs[0].stored.clone().unwrap();
        let blocks: Vec<Block> = stored.blocks.unwrap().iter(0, 5, PageSize::DEFAULT).collect();
        assert_eq!(blocks[2], Block { first_page: 4, len_bytes: 4096, offset: 100, stored_len_bytes: 4096 });
        assert_eq!(blocks.len(), 3);
    }

    #[test]
    fn blocks_that_do_not_make_the_run_are_refused() {
        let blocks = PagemapBlocks { block_sizes: vec![1], pages_per_block: 0, ..PagemapBlocks::default() };
        let entry = PagemapEntry { flags: Some(4), nr_pages: Some(5), blocks: Some(blocks.into()), ..entry(0, 0) };
        check(&[entry], "issue pagemap-1.img+0xe: 1 compressed blocks of 0 pages do not make 5 pages\n");
    }

    #[test]
    fn a_layout_newer_than_ours_is_said() {
        let newer = vec![8, 0, 16, 0, 32, 4, 40, 1, 72, 1];
        check_bytes(
            &[newer],
            "0x0 x1 0x0+0x1000\nissue pagemap-1.img+0x0: entries have field 9, which is newer than this program: \
             pages may lie elsewhere than it thinks\n",
        );
    }

    #[test]
    fn the_first_layout_of_compressed_pages_is_read_too() {
        // vaddr 0, no 32-bit count, present, 3 pages, field 6 once for each block, total in field 7, 2 pages a block.
        let first = vec![8, 0, 16, 0, 32, 4, 40, 3, 48, 100, 48, 0, 56, 100, 64, 2];
        check_bytes(&[first], "0x0 x3 0x0+0x64\n");
        // Page by page.
        let first = vec![8, 0, 16, 0, 32, 4, 40, 2, 48, 10, 48, 20, 56, 30];
        check_bytes(&[first], "0x0 x2 0x0+0x1e\n");
    }
}
