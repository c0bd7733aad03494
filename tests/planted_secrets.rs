//! What was planted in the processes of the fixtures is found exactly: by pid and address, once for each mapping, and
//! nothing else.
//!
//! `NAME.planted.json` lists where each text lay right before the dump. A hit of it that is not `anonymous` lies in a
//! page of a file or of a shared object: it is in the evidence when the object or the file is, and only then found.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

mod rebuild;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use cryoscope::base::{Pid, Silent, VirtAddr};
use cryoscope::checkpoint;
use cryoscope::decode::schema::{MmEntry, PagemapEntry, PagemapHead, VmaEntry};
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::memory::search::{Hit, Matcher, Pattern, Scope, SearchSink, Skipped, Source, VmaFilter, search};
use cryoscope::memory::{Memory, Origin};
use rebuild::{Parts, push_record};

/// Every place that a search told, in its order.
#[derive(Debug, Default)]
struct Found {
    hits: Vec<(Option<u32>, Option<u64>, Source)>,
    max: Option<usize>,
}

impl SearchSink for Found {
    fn found(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        let vaddr = hit.vaddr().map(|vaddr| vaddr.0);
        self.hits.push((hit.pid().map(|pid| pid.0), vaddr, hit.source()));
        if self.max == Some(self.hits.len()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn skipped(&mut self, _skipped: &Skipped<'_>) {}
}

impl Found {
    fn in_memory(&self) -> Vec<(u32, u64)> {
        let memory = self.hits.iter().filter(|(_, _, source)| *source == Source::Memory);
        memory.map(|(pid, vaddr, ..)| (pid.unwrap(), vaddr.unwrap())).collect()
    }
}

fn open(path: &str) -> Memory {
    let options = OpenOptions::default();
    let evidence = Evidence::open(path.as_ref(), &options, &Silent).unwrap();
    Memory::new(checkpoint::load(&evidence, &options, &Silent).unwrap().pop().unwrap())
}

fn open_parts(parts: &Parts) -> Memory {
    let options = OpenOptions::default();
    let evidence = Evidence::open_bytes("synthetic.tar", parts.tar(), &options, &Silent).unwrap();
    Memory::new(checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0))
}

fn find_all(memory: &Memory, patterns: &[Pattern], scope: &Scope) -> Found {
    let mut found = Found::default();
    search(memory, scope, &Matcher::new(patterns).unwrap(), &Silent, &mut found).unwrap();
    found
}

fn find(memory: &Memory, pattern: Pattern) -> Found {
    find_all(memory, &[pattern], &Scope::default())
}

fn literal(text: &str) -> Pattern {
    Pattern::Literal(text.as_bytes().to_vec())
}

#[derive(serde::Deserialize)]
struct Planted {
    hex: String,
    hits: Vec<PlantedHit>,
}

#[derive(serde::Deserialize)]
struct PlantedHit {
    pid: u32,
    vaddr: String,
    anonymous: bool,
}

impl PlantedHit {
    fn vaddr(&self) -> u64 {
        u64::from_str_radix(self.vaddr.trim_start_matches("0x"), 16).unwrap()
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Labels of a fixture whose bytes and hits are listed.
fn planted(name: &str) -> BTreeMap<String, Planted> {
    let json = std::fs::read(format!("fixtures/{name}.planted.json")).unwrap();
    let all: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&json).unwrap();
    let with_hits = all.into_iter().filter(|(_, value)| value.get("hits").is_some() && value.get("hex").is_some());
    with_hits.map(|(label, value)| (label, serde_json::from_value(value).unwrap())).collect()
}

#[test]
fn planted_bytes_are_found_where_they_lay_and_nowhere_else() {
    let archives = [
        "compressed.tar",
        "compromised-webapp.tar.zst",
        "crun-image.tar",
        "incremental.tar",
        "memory-zoo.tar.zst",
        "namespaces.tar",
        "podman-oci.tar",
        "runc-image.tar",
    ];
    let (mut nr_found, mut nr_files) = (0, 0);
    for archive in archives {
        let memory = open(&format!("fixtures/{archive}"));
        for (label, planted) in planted(archive.split('.').next().unwrap()) {
            let found = find(&memory, Pattern::Literal(unhex(&planted.hex))).in_memory();
            assert!(
                found.is_sorted() && found.windows(2).all(|pair| pair[0] != pair[1]),
                "{archive} {label}: {found:x?}"
            );
            let truth: BTreeSet<(u32, u64)> = planted.hits.iter().map(|hit| (hit.pid, hit.vaddr())).collect();
            for hit in &found {
                assert!(truth.contains(hit), "{archive} {label}: invented {hit:x?}");
            }
            for hit in &planted.hits {
                let at = (hit.pid, hit.vaddr());
                if found.contains(&at) {
                    nr_found += 1;
                    continue;
                }
                // What was not found lies in a file that the evidence does not have.
                let space = memory.space(Pid(hit.pid)).unwrap();
                let segment = space.segment_at(VirtAddr(hit.vaddr())).unwrap();
                let is_file_page = matches!(segment.origin, Origin::Absent(cryoscope::memory::Missing::FilePage));
                assert!(!hit.anonymous && is_file_page, "{archive} {label}: missed {at:x?} in {segment:?}");
                println!("{archive} {label}: {at:x?} in {}", segment.vma.path);
                nr_files += 1;
            }
        }
    }
    // The four lie in the programs' own files, which belong to the base image.
    assert_eq!((nr_found, nr_files), (148, 4));
}

#[test]
fn planted_text_is_found_in_every_spelling() {
    let memory = open("fixtures/memory-zoo.tar.zst");
    let zoo = planted("memory-zoo");
    let places =
        |label: &str| -> Vec<(u32, u64)> { zoo[label].hits.iter().map(|hit| (hit.pid, hit.vaddr())).collect() };
    let wide = |any_case, text: &str| find(&memory, Pattern::Utf16 { text: text.into(), any_case }).in_memory();
    assert_eq!(wide(false, "mem-wide-9c1e"), places("(utf-16)"));
    assert_eq!(wide(true, "MEM-Wide-9C1E"), places("(utf-16)"));
    assert_eq!(wide(false, "MEM-wide-9c1e"), []);
    // Of mixed case, found in any case; the program's own text is a clean file page.
    let mut mixed: Vec<(u32, u64)> = places("(mixed case)");
    mixed.retain(|(_, vaddr)| *vaddr > 0x1_0000_0000);
    mixed.sort_unstable();
    assert_eq!(find(&memory, Pattern::LiteralAnyCase(b"MEM-mixedcase-".to_vec())).in_memory(), mixed);
    let regex = Pattern::Regex { source: r"\x00mem-(crosses|joins)-[a-z-]+9c1e\b".into(), any_case: false };
    let mut expected = [places("crosses-a-page"), places("joins-maps")].concat();
    expected.sort_unstable();
    let found: Vec<(u32, u64)> = find(&memory, regex).in_memory().into_iter().map(|(pid, at)| (pid, at + 1)).collect();
    assert_eq!(found, expected);
    let hex = cryoscope::memory::search::HexPattern::parse("6d 65 6d 2d ?? 65 6? 70 2d 39 63 31 65").unwrap();
    assert_eq!(find(&memory, Pattern::Hex(hex)).in_memory(), places("heap"));
}

#[test]
fn many_patterns_at_once_find_what_each_finds_alone() {
    let memory = open("fixtures/memory-zoo.tar.zst");
    let texts: Vec<Vec<u8>> = planted("memory-zoo").values().map(|planted| unhex(&planted.hex)).collect();
    let patterns: Vec<Pattern> = texts.iter().cloned().map(Pattern::Literal).collect();
    let together = find_all(&memory, &patterns, &Scope::default());
    let mut alone: Vec<(u32, u64)> =
        patterns.iter().flat_map(|pattern| find(&memory, pattern.clone()).in_memory()).collect();
    alone.sort_unstable();
    assert_eq!(together.in_memory(), alone);
    // Groups of different kinds in one pass.
    let mixed = [patterns[0].clone(), Pattern::LiteralAnyCase(texts[1].clone()), patterns[2].clone()];
    let mut alone: Vec<(u32, u64)> =
        mixed.iter().flat_map(|pattern| find(&memory, pattern.clone()).in_memory()).collect();
    alone.sort_unstable();
    assert_eq!(find_all(&memory, &mixed, &Scope::default()).in_memory(), alone);
}

#[test]
fn queues_and_files_are_searched_and_say_whose_they_are() {
    let memory = open("fixtures/fd-zoo.tar.zst");
    let sources = |text: &str| -> Vec<(Source, Option<u32>)> {
        let found = find(&memory, literal(text));
        found.hits.into_iter().filter(|hit| hit.2 != Source::Metadata).map(|hit| (hit.2, hit.0)).collect()
    };
    assert_eq!(sources("secret-pipe-4f2d"), [(Source::Pipe, Some(1))]);
    assert_eq!(sources("secret-removed-fifo-4f2d"), [(Source::Pipe, Some(1))]);
    assert_eq!(sources("secret-ghost-4f2d"), [(Source::Ghost, Some(1))]);
    assert_eq!(sources("secret-sparse-tail-4f2d"), [(Source::Ghost, Some(1))]);
    assert_eq!(sources("secret-tmpfs-content-4f2d"), [(Source::Tmpfs, None)]);
    assert_eq!(sources("secret-memfd-4f2d"), [(Source::Memfd, Some(1))]);
    assert_eq!(sources("secret-memfd-middle-4f2d"), [(Source::Memfd, Some(1))]);
    assert_eq!(sources("secret-linked-4f2d"), [(Source::Rootfs, None)]);
    let memory = open("fixtures/sockets.tar.zst");
    let found = find(&memory, literal("secret-unread-by-"));
    assert!(found.hits.iter().filter(|hit| hit.2 == Source::Socket && hit.0 == Some(1)).count() >= 2, "{found:?}");
    // A message queue lies in an image only; what another source has is not told again.
    let memory = open("fixtures/memory-zoo.tar.zst");
    let found = find(&memory, literal("mem-message-9c1e"));
    assert_eq!(found.hits.iter().map(|hit| hit.2).collect::<Vec<_>>(), [Source::Image]);
}

#[test]
fn scope_leaves_out_what_was_not_asked_for() {
    let memory = open("fixtures/memory-zoo.tar.zst");
    let all = find(&memory, literal("-9c1e")).in_memory();
    let of = |scope: Scope| find_all(&memory, &[literal("-9c1e")], &scope);
    let child = of(Scope { pid: Some(Pid(2)), ..Scope::default() });
    assert_eq!(child.in_memory(), all.iter().copied().filter(|(pid, _)| *pid == 2).collect::<Vec<_>>());
    let heap = VmaFilter { kinds: vec!["heap".into()], ..VmaFilter::default() };
    let heap = of(Scope { vmas: heap, ..Scope::default() });
    assert_eq!(heap.in_memory().len(), heap.hits.len());
    assert!(heap.hits.len() >= 4 && heap.hits.len() < all.len());
    let none = VmaFilter { perms: Some("--xp".into()), ..VmaFilter::default() };
    assert!(of(Scope { vmas: none, ..Scope::default() }).hits.is_empty());
    let memfds = of(Scope { sources: vec![Source::Memfd], ..Scope::default() });
    assert!(memfds.hits.iter().all(|hit| hit.2 == Source::Memfd) && memfds.hits.len() >= 2);
    // The memfd is mapped as a whole: where memory is searched too, there is nothing left of it to tell.
    assert!(!find(&memory, literal("mem-memfd")).hits.iter().any(|hit| hit.2 == Source::Memfd));
}

#[test]
fn search_ends_at_a_break_and_at_a_cancel() {
    struct Stop;
    impl cryoscope::base::Progress for Stop {
        fn step(&self, _done: u64, _total: Option<u64>) -> Result<(), cryoscope::base::Cancelled> {
            Err(cryoscope::base::Cancelled)
        }
    }
    let memory = open("fixtures/memory-zoo.tar.zst");
    let matcher = Matcher::new(&[literal("-9c1e")]).unwrap();
    let mut found = Found { max: Some(3), ..Found::default() };
    search(&memory, &Scope::default(), &matcher, &Silent, &mut found).unwrap();
    assert_eq!(found.in_memory(), find(&memory, literal("-9c1e")).in_memory()[..3]);
    assert!(search(&memory, &Scope::default(), &matcher, &Stop, &mut Found::default()).is_err());
}

/// Where synthetic memory lies.
const AT: u64 = 0x1000_0000_0000;
const PAGE: u64 = 4096;

/// `compressed.tar` with a vma of `nr_pages` more pages in its first process, of which some have content.
fn with_pages(nr_pages: u64, pages: &[(u64, Vec<u8>)]) -> Parts {
    let mut parts = Parts::of("compressed.tar");
    parts.add_vma(AT..AT + nr_pages * PAGE);
    let entry = |nr: u64, bytes: &[u8]| PagemapEntry {
        vaddr: AT + nr * PAGE,
        compat_nr_pages: u32::try_from(bytes.len() as u64 / PAGE).unwrap(),
        flags: Some(4),
        ..PagemapEntry::default()
    };
    parts.add_pages(pages.iter().map(|(nr, bytes)| (entry(*nr, bytes), bytes.clone())).collect());
    parts
}

fn page(start: &str, end: &str) -> Vec<u8> {
    let mut page = vec![b'.'; PAGE as usize];
    page[..start.len()].copy_from_slice(start.as_bytes());
    page[PAGE as usize - end.len()..].copy_from_slice(end.as_bytes());
    page
}

fn addresses(memory: &Memory, pattern: Pattern) -> Vec<u64> {
    let scope = Scope { sources: vec![Source::Memory], ..Scope::default() };
    let found = find_all(memory, &[pattern], &scope).in_memory();
    found
        .into_iter()
        .filter(|(pid, vaddr)| *pid == 1 && *vaddr >= AT && *vaddr < AT + (1 << 40))
        .map(|it| it.1 - AT)
        .collect()
}

#[test]
fn neighbours_in_the_file_that_are_none_in_memory_never_match() {
    // Pages 0, 1 (one run), 2 (a run of its own), a page that is not there, 4.
    let first = [page("", "nee"), page("dle", "one-nee")].concat();
    let parts = with_pages(8, &[(0, first), (2, page("dle-two", "false-nee")), (4, page("dle", ""))]);
    let memory = open_parts(&parts);
    // Across a page, across two runs, and not from page 2 to page 4.
    assert_eq!(addresses(&memory, literal("needle")), [PAGE - 3, 2 * PAGE - 3]);
    assert_eq!(addresses(&memory, literal("one-needle-two")), [2 * PAGE - 7]);
    let regex = Pattern::Regex { source: "nee.*?dle".into(), any_case: false };
    // What lies between the pages is untouched memory, which reads as zeros: 3 + 4096 + 3 bytes are too long a match.
    assert_eq!(addresses(&memory, regex), [PAGE - 3, 2 * PAGE - 3]);
    // Zeros that nobody wrote are a part of a match.
    let zeros = [b"false-nee".as_slice(), &[0; 16]].concat();
    assert_eq!(addresses(&memory, Pattern::Literal(zeros)), [3 * PAGE - 9]);
    let zeros = [[0; 8].as_slice(), b"dle....."].concat();
    assert_eq!(addresses(&memory, Pattern::Literal(zeros)), [4 * PAGE - 8]);
    // And alone they are none.
    assert!(addresses(&memory, Pattern::Literal(vec![0; 64])).is_empty());
}

#[test]
fn units_and_their_borders_leave_no_match_out_and_tell_none_twice() {
    // Four megabytes in runs of odd lengths, in place and gathered, with a needle at every distance from each border.
    let lengths = [300, 1, 1, 16, 15, 700, 2, 17, 40];
    let total: u64 = lengths.iter().sum();
    let mut bytes = vec![b'.'; usize::try_from(total * PAGE).unwrap()];
    let mut expected = BTreeSet::new();
    let mut border = 0;
    let mut borders: Vec<u64> = lengths
        .iter()
        .map(|len| {
            border += len * PAGE;
            border
        })
        .collect();
    borders.extend((1..4).map(|nr| nr << 20));
    for (nr, border) in borders.iter().filter(|border| **border + 100 < total * PAGE).enumerate() {
        let at = border - (nr as u64 % 8);
        if expected.iter().all(|other: &u64| other.abs_diff(at) > 16) {
            bytes[usize::try_from(at).unwrap()..][..6].copy_from_slice(b"needle");
            expected.insert(at);
        }
    }
    let mut at = 0;
    let mut runs = Vec::new();
    // Every second run has a neighbour in the file that is none in memory: the runs are written in two maps.
    for len in lengths {
        let run = bytes[usize::try_from(at * PAGE).unwrap()..usize::try_from((at + len) * PAGE).unwrap()].to_vec();
        runs.push((at, run));
        at += len;
    }
    let memory = open_parts(&with_pages(total, &runs));
    let expected: Vec<u64> = expected.into_iter().collect();
    assert!(expected.len() >= 8);
    for pattern in [
        literal("needle"),
        Pattern::LiteralAnyCase(b"NEEDLE".to_vec()),
        Pattern::Regex { source: r"\bn[e]+d[a-z]e\b".into(), any_case: false },
    ] {
        assert_eq!(addresses(&memory, pattern), expected);
    }
    // Matches that follow each other without a gap, over all borders, in the phase of the first.
    let dots = addresses(&memory, Pattern::Regex { source: r"\.{7}".into(), any_case: false });
    let mut reference = Vec::new();
    let mut at = 0;
    while at + 7 <= bytes.len() {
        if bytes[at..at + 7] == *b"......." {
            reference.push(at as u64);
            at += 7
        } else {
            at += 1
        }
    }
    assert_eq!(dots.len(), reference.len());
    assert_eq!(dots, reference);
}

#[test]
fn pages_that_processes_share_are_told_for_each_map_and_the_rest_once() {
    const SHMID: u64 = 77;
    const NR_PAGES: u64 = 700;
    let mut parts = Parts::of("compressed.tar");
    // A needle across every sixteenth page border of the object, a hole in the middle.
    let mut bytes = vec![b'.'; usize::try_from(NR_PAGES * PAGE).unwrap()];
    let offsets: Vec<u64> = (1..NR_PAGES / 16)
        .map(|nr| nr * 16 * PAGE - 3)
        .filter(|at| !(400 * PAGE - 6..=416 * PAGE).contains(at))
        .collect();
    for at in &offsets {
        bytes[usize::try_from(*at).unwrap()..][..6].copy_from_slice(b"needle");
    }
    let entry = |first: u64, end: u64| PagemapEntry {
        vaddr: first * PAGE,
        compat_nr_pages: u32::try_from(end - first).unwrap(),
        flags: Some(4),
        ..PagemapEntry::default()
    };
    let mut img = parts.image("pagemap-1.img")[..8].to_vec();
    push_record(&mut img, &PagemapHead { pages_id: 77 });
    [entry(0, 400), entry(416, NR_PAGES)].iter().for_each(|entry| push_record(&mut img, entry));
    parts.set_image("pagemap-shmem-77.img", img);
    bytes.drain(400 * PAGE as usize..416 * PAGE as usize);
    parts.set_image("pages-77.img", bytes);
    // Process 1 maps it from its third page on; its child all but the last pages, in two parts.
    let map = |at: u64, first: u64, end: u64| VmaEntry {
        start: AT + at * PAGE,
        end: AT + (at + end - first) * PAGE,
        pgoff: first * PAGE,
        shmid: SHMID,
        prot: 3,
        flags: 0x21,
        status: 0x101,
        fd: -1,
        ..VmaEntry::default()
    };
    let mut mapped = Vec::new();
    let pids: Vec<u32> = open_parts(&parts).checkpoint().processes.iter().map(|process| process.pid.0).collect();
    for (pid, maps) in [(pids[0], vec![(5, 3, 650)]), (pids[1], vec![(0, 0, 200), (900, 200, 640)])] {
        let mut mm = parts.records::<MmEntry>(&format!("mm-{pid}.img")).remove(0);
        for (at, first, end) in maps {
            mm.vmas.push(map(at, first, end));
            let inside = offsets.iter().filter(|offset| first * PAGE <= **offset && **offset + 6 <= end * PAGE);
            mapped.extend(inside.map(|offset| (pid, AT + at * PAGE + offset - first * PAGE)));
        }
        mm.vmas.sort_by_key(|vma| vma.start);
        parts.set_records(&format!("mm-{pid}.img"), &[mm]);
    }
    mapped.sort_unstable();
    let memory = open_parts(&parts);
    let found = find(&memory, literal("needle"));
    assert_eq!(found.in_memory(), mapped);
    assert!(mapped.len() > 70);
    // What nobody maps is told as the object's own.
    let rest = found.hits.iter().filter(|hit| hit.2 == Source::Shm).count();
    assert_eq!(rest, offsets.iter().filter(|offset| **offset >= 650 * PAGE).count());
    let (pid, addr) = mapped[20];
    let space = memory.space(Pid(pid)).unwrap();
    assert_eq!(memory.mappings_of(&space, VirtAddr(addr), 10).len(), 2);
    let place = space.place_of(VirtAddr(addr)).unwrap();
    assert_eq!(memory.addresses_of(&place.member, place.offset.unwrap(), 10).len(), 2);
}
