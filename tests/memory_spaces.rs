//! Every origin that a byte of memory may have, over a real checkpoint with runs of each kind added.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod rebuild;

use std::ops::ControlFlow;

use cryoscope::base::{Pid, Silent, VirtAddr};
use cryoscope::checkpoint;
use cryoscope::decode::schema::{MmEntry, PagemapBlocks, PagemapEntry, VmaEntry};
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::memory::search::{Hit, Matcher, Pattern, Scope, SearchSink, Skipped, WhySkipped, search};
use cryoscope::memory::{Content, Memory, Missing, Origin};
use rebuild::Parts;

const AT: u64 = 0x1000_0000_0000;
const PAGE: u64 = 4096;

fn open(parts: &Parts) -> Memory {
    let options = OpenOptions::default();
    let evidence = Evidence::open_bytes("synthetic.tar", parts.tar(), &options, &Silent).unwrap();
    Memory::new(checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0))
}

fn open_fixture(name: &str) -> Memory {
    let options = OpenOptions::default();
    let evidence = Evidence::open(format!("fixtures/{name}").as_ref(), &options, &Silent).unwrap();
    Memory::new(checkpoint::load(&evidence, &options, &Silent).unwrap().pop().unwrap())
}

fn entry(page: u64, nr_pages: u32, flags: u32) -> PagemapEntry {
    PagemapEntry { vaddr: AT + page * PAGE, compat_nr_pages: nr_pages, flags: Some(flags), ..PagemapEntry::default() }
}

/// Pages of a letter each, page by page as LZ4.
fn packed(page: u64, letters: &[u8]) -> (PagemapEntry, Vec<u8>) {
    let blocks: Vec<Vec<u8>> =
        letters.iter().map(|letter| lz4_flex::block::compress(&[*letter; PAGE as usize])).collect();
    let sizes = blocks.iter().map(|block| u32::try_from(block.len()).unwrap()).collect();
    let total = blocks.iter().map(|block| block.len() as u64).sum();
    let blocks_of =
        PagemapBlocks { block_sizes: sizes, total_payload_size: total, pages_per_block: 1, ..PagemapBlocks::default() };
    let entry =
        PagemapEntry { nr_pages: Some(letters.len() as u64), blocks: Some(blocks_of.into()), ..entry(page, 0, 4) };
    (entry, blocks.concat())
}

/// Blocks of zeros, which take no room: `nr_blocks` of so many pages each.
fn zeros(page: u64, nr_blocks: usize, pages_per_block: u32) -> (PagemapEntry, Vec<u8>) {
    let blocks = PagemapBlocks { block_sizes: vec![0; nr_blocks], pages_per_block, ..PagemapBlocks::default() };
    let nr_pages = nr_blocks as u64 * u64::from(pages_per_block);
    (PagemapEntry { nr_pages: Some(nr_pages), blocks: Some(blocks.into()), ..entry(page, 0, 4) }, Vec::new())
}

/// What is at each page from `AT` on, in a letter: the first of its bytes, `0` for untouched, `!` and the reason.
fn pages(memory: &Memory, nr: u64) -> String {
    let space = memory.space(Pid(1)).unwrap();
    let mut out = Vec::new();
    for chunk in space.read(VirtAddr(AT)..VirtAddr(AT + nr * PAGE)) {
        let nr = (chunk.range.end.0 - chunk.range.start.0) / PAGE;
        match chunk.content {
            Content::Bytes(bytes) => {
                out.extend(bytes.chunks(PAGE as usize).map(|page| char::from(page[0]).to_string()));
            }
            Content::Zero => out.push(format!("0x{nr}")),
            Content::Absent(why) => out.push(format!("!{}x{nr}", why.word())),
        }
    }
    out.join(" ")
}

/// A space with a run of every kind.
fn of_every_kind() -> Parts {
    let mut parts = Parts::of("compressed.tar");
    parts.add_vma(AT..AT + 16 * PAGE);
    let plain = vec![b'p'; 2 * PAGE as usize];
    parts.add_pages(vec![
        (entry(1, 2, 4), plain),
        packed(3, b"xyz"),
        (entry(7, 1, 2), Vec::new()),
        (entry(8, 1, 1), Vec::new()),
        (entry(9, 1, 6), vec![b'l'; PAGE as usize]),
    ]);
    let mut mm = parts.records::<MmEntry>("mm-1.img").remove(0);
    // A guard region, as CRIU 4.2 writes it, and behind it a map of the kernel that has no pages.
    let guard = VmaEntry { start: AT + 11 * PAGE, end: AT + 13 * PAGE, status: 1 << 16, fd: -1, ..VmaEntry::default() };
    let vvar = VmaEntry { start: AT + 16 * PAGE, end: AT + 18 * PAGE, prot: 1, status: 1 << 12, ..guard };
    mm.vmas.extend([guard, vvar]);
    mm.vmas.sort_by_key(|vma| vma.start);
    parts.set_records("mm-1.img", &[mm]);
    parts
}

#[test]
fn every_origin_is_read_or_said_to_be_absent() {
    let memory = open(&of_every_kind());
    let expected = "0x1 p p x y z 0x1 !lazyx1 !parentx1 l 0x1 !guardx2 0x3 !not-keptx2 !unmappedx2";
    assert_eq!(pages(&memory, 20), expected);
    let space = memory.space(Pid(1)).unwrap();
    let origins: Vec<(u64, Origin)> = space
        .segments_from(VirtAddr(AT))
        .take_while(|segment| segment.range.start.0 < AT + 20 * PAGE)
        .map(|segment| (segment.len_bytes() / PAGE, segment.origin))
        .collect();
    assert_eq!(
        origins,
        [
            (1, Origin::Zero),
            (2, Origin::Dump),
            (3, Origin::Dump),
            (1, Origin::Zero),
            (1, Origin::Absent(Missing::Lazy)),
            (1, Origin::Absent(Missing::Parent)),
            (1, Origin::Dump),
            (1, Origin::Zero),
            (2, Origin::Absent(Missing::Guard)),
            (3, Origin::Zero),
            (2, Origin::Absent(Missing::NotKept)),
        ]
    );
    // From the middle, and only as far as there is something.
    assert_eq!(space.bytes_at(VirtAddr(AT + 6 * PAGE - 2), 4), b"zz\0\0");
    assert_eq!(space.bytes_at(VirtAddr(AT + 7 * PAGE - 2), 4), b"\0\0");
    assert_eq!(space.bytes_before(VirtAddr(AT + 4 * PAGE), 5), b"xxxxx");
    assert_eq!(space.bytes_before(VirtAddr(AT + 9 * PAGE), 5), b"");
}

#[test]
fn pages_files_that_are_cut_or_damaged_lose_no_more_than_that() {
    let mut parts = of_every_kind();
    let pages_img = parts.image("pages-1.img").clone();
    // The tail of the compressed run and all behind it.
    let at = pages_img.windows(8).position(|bytes| bytes == b"pppppppp").unwrap();
    let packed = packed(0, b"xyz").1.len();
    parts.set_image("pages-1.img", pages_img.slice(..at + 2 * PAGE as usize + packed - 1));
    assert_eq!(pages(&open(&parts), 10), "0x1 p p x y !damagedx1 0x1 !lazyx1 !parentx1 !truncatedx1");
    parts.set_image("pages-1.img", pages_img.slice(..at + 6000));
    let memory = open(&parts);
    let space = memory.space(Pid(1)).unwrap();
    let segment = space.segment_at(VirtAddr(AT + PAGE)).unwrap();
    assert_eq!((segment.origin, segment.len_bytes()), (Origin::Dump, 6000));
    let rest = space.segment_at(VirtAddr(AT + PAGE + 6000)).unwrap();
    assert_eq!((rest.origin, rest.len_bytes()), (Origin::Absent(Missing::Truncated), 2192));
    assert!(matches!(memory.space(Pid(77)), Err(cryoscope::base::Absent::NotApplicable)));
}

#[derive(Default)]
struct Told {
    hits: Vec<(u64, u64)>,
    skipped: Vec<(u64, u64, Missing)>,
}

impl SearchSink for Told {
    fn found(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        self.hits.push((hit.offset().wrapping_sub(AT), hit.len_bytes()));
        ControlFlow::Continue(())
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        if let (WhySkipped::Missing(why), true) = (skipped.why, skipped.range.start >= AT) {
            let pages = (skipped.range.end - skipped.range.start) / PAGE;
            self.skipped.push(((skipped.range.start - AT) / PAGE, pages, why));
        }
    }
}

#[test]
fn search_crosses_compressed_blocks_and_tells_what_it_could_not_see() {
    let memory = open(&of_every_kind());
    let find = |pattern: &[u8]| {
        let mut told = Told::default();
        let matcher = Matcher::new(&[Pattern::Literal(pattern.to_vec())]).unwrap();
        search(&memory, &Scope::default(), &matcher, &Silent, &mut told).unwrap();
        told
    };
    let told = find(b"ppxx");
    assert_eq!(told.hits, [(3 * PAGE - 2, 4)]);
    assert_eq!(told.skipped[..3], [(7, 1, Missing::Lazy), (8, 1, Missing::Parent), (16, 2, Missing::NotKept)]);
    assert_eq!(find(b"xyyy").hits, [(4 * PAGE - 1, 4)]);
    assert_eq!(find(b"yz").hits, [(5 * PAGE - 1, 2)]);
    assert_eq!(find(b"zl").hits, []);
}

#[test]
fn terabytes_of_zeros_cost_nothing_to_search() {
    let mut parts = Parts::of("compressed.tar");
    // 64 TiB of blocks of zeros out of a megabyte of pagemap, a page of text in the middle; then 32 TiB untouched.
    let block: u32 = 64 << 8;
    let half = (1 << 19) * u64::from(block);
    parts.add_vma(AT..AT + (96 << 40));
    let text = [vec![b'.'; 4090], b"needle".to_vec()].concat();
    parts.add_pages(vec![zeros(0, 1 << 19, block), (entry(half, 1, 4), text), zeros(half + 1, 1 << 19, block)]);
    let memory = open(&parts);
    let mut told = Told::default();
    let pattern = Pattern::Literal(b"needle\0\0".to_vec());
    let started = std::time::Instant::now();
    search(&memory, &Scope::default(), &Matcher::new(&[pattern]).unwrap(), &Silent, &mut told).unwrap();
    assert_eq!(told.hits, [((half + 1) * PAGE - 6, 8)]);
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
    let space = memory.space(Pid(1)).unwrap();
    assert_eq!(space.bytes_at(VirtAddr(AT + (half - 1) * PAGE), 4097)[4095..], [0, b'.']);
}

/// The engine against the simplest search there is: over each contiguous stretch as a whole, in one piece.
#[test]
fn units_find_what_a_search_of_whole_stretches_finds() {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let patterns = [
        Pattern::Literal(b"abba".to_vec()),
        Pattern::Literal(b"aab".to_vec()),
        Pattern::Regex { source: r"\ba+b".into(), any_case: false },
        Pattern::Regex { source: r"b[^b]{2,40}b".into(), any_case: false },
        Pattern::Regex { source: r"(?:ab+){3,}\b".into(), any_case: false },
        Pattern::Regex { source: r"b\x00+a|a.b$".into(), any_case: false },
    ];
    let mut nr_hits = 0;
    for _ in 0..12 {
        let mut parts = Parts::of("compressed.tar");
        let (mut runs, mut at) = (Vec::new(), 0);
        while at < 200 {
            let len = [1, 1, 2, 17, 40][usize::try_from(next(5)).unwrap()];
            let density = [3, 60, 3000][usize::try_from(next(3)).unwrap()];
            let letter = |nr: u64| {
                if nr.is_multiple_of(density) {
                    b"ab\0ab."[usize::try_from(nr / density % 6).unwrap()]
                } else {
                    b'a' + u8::try_from(nr % 2).unwrap()
                }
            };
            let bytes: Vec<u8> = (0..len * PAGE).map(|_| letter(next(1 << 20))).collect();
            match next(6) {
                0 => runs.push((entry(at, u32::try_from(len).unwrap(), 2), Vec::new())),
                1 => runs.push(packed(at, &b"abaab"[..usize::try_from(len.min(5)).unwrap()])),
                2 => {}
                _ => runs.push((entry(at, u32::try_from(len).unwrap(), 4), bytes)),
            }
            at += len;
        }
        parts.add_vma(AT..AT + (at / 2) * PAGE);
        parts.add_vma(AT + (at / 2) * PAGE..AT + (at + 1) * PAGE);
        parts.add_pages(runs);
        let memory = open(&parts);
        for pattern in &patterns {
            let matcher = Matcher::new(std::slice::from_ref(pattern)).unwrap();
            let mut told = Told::default();
            search(&memory, &Scope::default(), &matcher, &Silent, &mut told).unwrap();
            let found: Vec<(u64, u64)> = told.hits.into_iter().filter(|(at, _)| *at < 1 << 40).collect();
            let expected = of_whole_stretches(&memory, &matcher, (at + 1) * PAGE);
            assert_eq!(found.len(), expected.len(), "{pattern:?}");
            assert_eq!(found, expected, "{pattern:?}");
            nr_hits += found.len();
        }
    }
    assert!(nr_hits > 10_000, "{nr_hits}");
}

fn of_whole_stretches(memory: &Memory, matcher: &Matcher, len: u64) -> Vec<(u64, u64)> {
    let space = memory.space(Pid(1)).unwrap();
    let (mut stretch, mut start, mut found) = (Vec::new(), 0, Vec::new());
    let end = VirtAddr(AT + len);
    let chunks = space.read(VirtAddr(AT)..end).map(Some).chain([None]);
    for chunk in chunks {
        match chunk.as_ref().map(|chunk| (&chunk.content, chunk.range.end.0 - chunk.range.start.0)) {
            Some((Content::Bytes(bytes), _)) => stretch.extend_from_slice(bytes),
            Some((Content::Zero, len)) => stretch.resize(stretch.len() + usize::try_from(len).unwrap(), 0),
            Some((Content::Absent(_), _)) | None => {
                let hits = matcher.find_all(&stretch).into_iter();
                found.extend(hits.map(|(at, len, _)| (start + at as u64, len as u64)));
                stretch.clear();
                start = chunk.map_or(0, |chunk| chunk.range.end.0 - AT);
            }
        }
    }
    found
}

#[test]
fn slow_expressions_stop_when_told() {
    use std::sync::atomic::{AtomicU32, Ordering};
    struct StopSoon(AtomicU32);
    impl cryoscope::base::Progress for StopSoon {
        fn step(&self, _done: u64, _total: Option<u64>) -> Result<(), cryoscope::base::Cancelled> {
            if self.0.fetch_add(1, Ordering::Relaxed) < 100 { Ok(()) } else { Err(cryoscope::base::Cancelled) }
        }
    }
    // Every start has a match, which is too long.
    let mut parts = Parts::of("compressed.tar");
    let nr_pages = 512;
    parts.add_vma(AT..AT + u64::from(nr_pages) * PAGE);
    let bytes = [vec![b'a'; 8191], vec![b'b']].concat().repeat(nr_pages as usize / 2);
    parts.add_pages(vec![(entry(0, nr_pages, 4), bytes)]);
    let memory = open(&parts);
    let matcher = Matcher::new(&[Pattern::Regex { source: "a.*b".into(), any_case: false }]).unwrap();
    let stop = StopSoon(AtomicU32::new(0));
    let started = std::time::Instant::now();
    assert!(search(&memory, &Scope::default(), &matcher, &stop, &mut Told::default()).is_err());
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

#[test]
fn bytes_are_traced_to_the_pages_file_and_back_and_to_others_that_map_them() {
    let memory = open_fixture("memory-zoo.tar.zst");
    let space = memory.space(Pid(1)).unwrap();
    let back = |addr: u64| {
        let place = space.place_of(VirtAddr(addr)).unwrap();
        memory.addresses_of(&place.member, place.offset.unwrap(), 100)
    };
    let both = |addr: u64| vec![(Pid(1), VirtAddr(addr)), (Pid(2), VirtAddr(addr))];
    // The heap is the process's own, though the child has the same bytes at the same address.
    assert_eq!(back(0x12e_e950), [(Pid(1), VirtAddr(0x12e_e950))]);
    // Shared anonymous memory.
    assert_eq!(back(0x7f7a_0835_8005), both(0x7f7a_0835_8005));
    let others = |addr: u64| memory.mappings_of(&space, VirtAddr(addr), 100);
    assert_eq!(others(0x12e_e950), [(Pid(1), VirtAddr(0x12e_e950))]);
    assert_eq!(others(0x7f7a_0835_8005), both(0x7f7a_0835_8005));
    // The third page of a memfd; its first page is mapped privately as well and not written to.
    assert_eq!(others(0x7f7a_0835_2064), both(0x7f7a_0835_2064));
    assert_eq!(others(0x7f7a_0835_012c), both(0x7f7a_0835_012c));
    // A page that is written to has left the object.
    assert_eq!(others(0x7f7a_0835_1008), [(Pid(1), VirtAddr(0x7f7a_0835_1008))]);
    assert_eq!(memory.addresses_of("pages-99.img", 0, 100), []);
}

#[test]
fn pages_of_parents_say_how_far_away_they_are() {
    let memory = open_fixture("incremental.tar");
    let space = memory.space(Pid(184)).unwrap();
    let at = |addr: u64| {
        let addr = VirtAddr(addr);
        (space.segment_at(addr).unwrap().origin, space.place_of(addr).unwrap().member)
    };
    // Never touched again; written in stage 1; in stage 2.
    assert_eq!(at(0x2000_2064), (Origin::Parent { depth: 2 }, "1/pages-1.img".into()));
    assert_eq!(at(0x2000_5064), (Origin::Parent { depth: 1 }, "2/pages-1.img".into()));
    let (origin, member) = at(0x2000_7064);
    assert!(origin == Origin::Dump && !member.contains('/'), "{member}");
}

#[test]
fn long_compressed_blocks_are_not_unpacked_for_every_page_and_many_are_not_walked() {
    const NR_PAGES: u64 = 4096;
    const NR_SMALL: usize = 300_000;
    let mut parts = Parts::of("compressed.tar");
    parts.add_vma(AT..AT + 2 * NR_PAGES * PAGE);
    let small_at = AT + (4 << 30);
    parts.add_vma(small_at..small_at + NR_SMALL as u64 * PAGE);
    // Two blocks of 16 MiB, in which every page has its own number.
    let block = |first: u64| {
        let mut pages = vec![0u8; (NR_PAGES * PAGE) as usize];
        for (nr, page) in pages.chunks_mut(PAGE as usize).enumerate() {
            page[..8].copy_from_slice(&(first + nr as u64).to_le_bytes());
        }
        lz4_flex::block::compress(&pages)
    };
    let (one, two) = (block(0), block(NR_PAGES));
    let sizes = vec![u32::try_from(one.len()).unwrap(), u32::try_from(two.len()).unwrap()];
    let blocks = PagemapBlocks {
        total_payload_size: (one.len() + two.len()) as u64,
        block_sizes: sizes,
        pages_per_block: u32::try_from(NR_PAGES).unwrap(),
        ..PagemapBlocks::default()
    };
    let long = PagemapEntry { nr_pages: Some(2 * NR_PAGES), blocks: Some(blocks.into()), ..entry(0, 0, 4) };
    // Very many blocks, each a page, and the last with a letter.
    let last = lz4_flex::block::compress(&[b'z'; PAGE as usize]);
    let mut sizes = vec![0; NR_SMALL];
    sizes[NR_SMALL - 1] = u32::try_from(last.len()).unwrap();
    let blocks = PagemapBlocks {
        total_payload_size: last.len() as u64,
        block_sizes: sizes,
        pages_per_block: 1,
        ..PagemapBlocks::default()
    };
    let small =
        PagemapEntry { nr_pages: Some(NR_SMALL as u64), blocks: Some(blocks.into()), ..entry((4 << 30) / PAGE, 0, 4) };
    parts.add_pages(vec![(long, [one, two].concat()), (small, last)]);
    let memory = open(&parts);
    let space = memory.space(Pid(1)).unwrap();
    let started = std::time::Instant::now();
    // A view that goes to and fro between the two.
    for nr in (0..NR_PAGES).flat_map(|nr| [nr, nr + NR_PAGES]) {
        let bytes = space.bytes_at(VirtAddr(AT + nr * PAGE), 64);
        assert_eq!(bytes[..8], nr.to_le_bytes());
    }
    for _ in 0..5000 {
        let bytes = space.bytes_at(VirtAddr(small_at + (NR_SMALL as u64 - 1) * PAGE + 5), 3);
        assert_eq!(bytes, b"zzz");
    }
    let spent = started.elapsed();
    // Unpacked each time these were 128 GiB.
    assert!(spent < std::time::Duration::from_secs(30), "{spent:?}");
}
