//! Memory read through the model equals what /proc/PID/mem gave while the process stood still.
//!
//! Mappings of files are compared only where the evidence holds all their pages: clean pages of a file are not in a dump,
//! but the file may be.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

use std::collections::BTreeMap;
use std::ops::Range;

use cryoscope::base::{Pid, Silent, VirtAddr, hex};
use cryoscope::checkpoint;
use cryoscope::evidence::{BaseImage, Evidence, OpenOptions};
use cryoscope::memory::{AddressSpace, Content, Memory, Missing, Origin, SegmentIndex};
use sha2::{Digest, Sha256};

static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// One mapping of `NAME.mem.sha256.json`.
#[derive(serde::Deserialize)]
struct Mapping {
    start: String,
    end: String,
    sha256: Option<String>,
}

#[test]
fn every_mapping_that_the_images_hold_is_byte_equal() {
    let (mut compared, mut absent) = (BTreeMap::new(), BTreeMap::new());
    let mut nr_files = 0;
    for (name, archive) in fixtures() {
        let options = OpenOptions::default();
        let evidence = Evidence::open(&archive, &options, &Silent).unwrap();
        let memory = Memory::new(checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0));
        for (pid, mappings) in &recorded(&name) {
            let space = memory.space(Pid(*pid)).unwrap();
            check_segments(&space);
            for mapping in mappings {
                let (start, end) = (address(&mapping.start), address(&mapping.end));
                let Some(expected) = &mapping.sha256 else { continue };
                match hash(&space, start..end) {
                    Ok(found) => {
                        assert_eq!(&found, expected, "{name}: pid {pid} {start}-{end}");
                        *compared.entry(name.clone()).or_insert(0) += 1;
                        if matches!(space.segment_at(start).unwrap().origin, Origin::File { .. }) {
                            nr_files += 1;
                        }
                    }
                    Err(why) => *absent.entry(why).or_insert(0) += 1,
                }
            }
        }
    }
    println!("mappings compared: {compared:?}, {nr_files} of them begin in a file; absent: {absent:?}");
    assert!(absent.keys().all(|why| matches!(why, Missing::FilePage | Missing::NotKept)), "{absent:?}");
    // Two processes of each at least, and the whole address space of the memory zoo.
    assert!(compared.len() >= 10, "{compared:?}");
    assert!(compared.values().all(|count| *count >= 8), "{compared:?}");
    assert!(compared["memory-zoo"] >= 50, "{compared:?}");
}

#[test]
fn with_the_base_image_every_mapping_equals_the_memory_of_the_process() {
    let options = OpenOptions::default();
    let evidence = Evidence::open("fixtures/memory-zoo.tar.zst".as_ref(), &options, &Silent).unwrap();
    let base = BaseImage::open("fixtures/base/image.tar.zst".as_ref(), &options, &Silent).unwrap();
    let memory = Memory::with_base(checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0), &base);
    assert_eq!(memory.issues(), []);
    let (mut of_program, mut absent) = (0, Vec::new());
    for (pid, mappings) in &recorded("memory-zoo") {
        let space = memory.space(Pid(*pid)).unwrap();
        for mapping in mappings {
            let (start, end) = (address(&mapping.start), address(&mapping.end));
            let Some(expected) = &mapping.sha256 else { continue };
            match hash(&space, start..end) {
                Ok(found) => assert_eq!(&found, expected, "pid {pid} {start}-{end}"),
                Err(why) => {
                    absent.push(why);
                    continue;
                }
            }
            let vma = space.map().vma_at(start).unwrap();
            of_program += usize::from(vma.path.as_bytes() == b"/usr/local/bin/memory-zoo");
        }
    }
    // Code, constants and data of the program, in both processes; only the kernel's own page is not there.
    assert!(of_program >= 8, "{of_program}");
    assert!(absent.iter().all(|why| *why == Missing::NotKept), "{absent:?}");
}

fn recorded(name: &str) -> BTreeMap<u32, Vec<Mapping>> {
    serde_json::from_slice(&std::fs::read(format!("fixtures/{name}.mem.sha256.json")).unwrap()).unwrap()
}

fn fixtures() -> Vec<(String, std::path::PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("fixtures").unwrap() {
        let file_name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(name) = file_name.strip_suffix(".mem.sha256.json") {
            let archive = ["", ".tar", ".tar.zst"].iter().map(|end| format!("fixtures/{name}{end}").into());
            let archive = archive.into_iter().find(|path: &std::path::PathBuf| path.exists());
            found.push((name.to_owned(), archive.unwrap()));
        }
    }
    found.sort();
    found
}

/// Segments are in order, do not overlap, look up as themselves from each end, and count what is mapped before them.
fn check_segments(space: &AddressSpace<'_>) {
    let index = SegmentIndex::new(space, usize::MAX);
    let (mut end_of_last, mut mapped) = (VirtAddr(0), 0);
    for (nr, segment) in space.segments().enumerate() {
        assert!(end_of_last <= segment.range.start && segment.range.start < segment.range.end);
        let last = VirtAddr(segment.range.end.0 - 1);
        for addr in [segment.range.start, last] {
            assert_eq!(space.segment_at(addr).as_ref(), Some(&segment));
            assert_eq!(index.number_at(addr), Some(nr));
            let before = space.mapped_before(addr);
            assert_eq!(before, mapped + (addr.0 - segment.range.start.0));
            assert_eq!(space.nth_mapped(before), Some(addr));
            assert_eq!(index.number_of_nth_mapped(before), Some(nr));
        }
        assert_eq!(index.get(space, nr), Some((segment.clone(), mapped)));
        mapped += segment.len_bytes();
        end_of_last = segment.range.end;
    }
    assert_eq!(mapped, space.mapped_bytes());
    assert_eq!((space.nth_mapped(mapped), space.segment_at(VirtAddr(0x10))), (None, None));
}

fn address(text: &str) -> VirtAddr {
    VirtAddr(u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap())
}

/// The SHA-256 of a mapping, or why a part of it is not there.
fn hash(space: &AddressSpace<'_>, range: Range<VirtAddr>) -> Result<String, Missing> {
    let mut hash = Sha256::new();
    let mut at = range.start;
    for chunk in space.read(range.clone()) {
        assert_eq!(chunk.range.start, at, "chunks follow each other");
        at = chunk.range.end;
        let len = usize::try_from(chunk.range.end.0 - chunk.range.start.0).unwrap();
        match chunk.content {
            Content::Bytes(bytes) => {
                assert_eq!(bytes.len(), len);
                hash.update(&bytes);
            }
            Content::Zero => (0..len).step_by(1 << 16).for_each(|at| hash.update(&ZEROS[..(len - at).min(1 << 16)])),
            Content::Absent(why) => return Err(why),
        }
    }
    assert_eq!(at, range.end);
    Ok(hex(&hash.finalize()))
}
