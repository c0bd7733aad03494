//! Memory read through the model equals what /proc/PID/mem gave while the process stood still.
//!
//! Mappings of files are compared only where the checkpoint holds all their pages: clean pages of a
//! file are not in a dump.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail, and reads its own files")]

use std::collections::BTreeMap;

use cryoscope::base::{Pid, Silent, VirtAddr, hex};
use cryoscope::checkpoint::memory_map::{MemoryMap, Vma, VmaKind};
use cryoscope::checkpoint::{self, Checkpoint};
use cryoscope::evidence::{Evidence, OpenOptions};
use sha2::{Digest, Sha256};

/// One mapping of `NAME.mem.sha256.json`.
#[derive(serde::Deserialize)]
struct Mapping {
    start: String,
    end: String,
    sha256: Option<String>,
}

#[test]
fn every_mapping_that_the_images_hold_is_byte_equal() {
    let mut compared = BTreeMap::new();
    for (name, archive) in fixtures() {
        let options = OpenOptions::default();
        let evidence = Evidence::open(&archive, &options, &Silent).unwrap();
        let checkpoint = checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0);
        let json = std::fs::read(format!("fixtures/{name}.mem.sha256.json")).unwrap();
        let recorded: BTreeMap<u32, Vec<Mapping>> = serde_json::from_slice(&json).unwrap();
        for (pid, mappings) in &recorded {
            let process = checkpoint.process(Pid(*pid)).unwrap();
            let memory = process.memory.known().unwrap();
            for mapping in mappings {
                let (start, end) = (address(&mapping.start), address(&mapping.end));
                let (Some(expected), Some(content)) = (&mapping.sha256, read(&checkpoint, memory, start, end)) else {
                    continue;
                };
                let found = hex(&Sha256::digest(&content));
                assert_eq!(&found, expected, "{name}: pid {pid} {start}-{end}");
                *compared.entry(name.clone()).or_insert(0) += 1;
            }
        }
    }
    println!("mappings compared: {compared:?}");
    // Two processes of each at least, and the whole address space of the memory zoo.
    assert!(compared.len() >= 10, "{compared:?}");
    assert!(compared.values().all(|count| *count >= 8), "{compared:?}");
    assert!(compared["memory-zoo"] >= 50, "{compared:?}");
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

fn address(text: &str) -> VirtAddr {
    VirtAddr(u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap())
}

/// The mapping's bytes, or `None` where a part is not in the checkpoint.
fn read(checkpoint: &Checkpoint, memory: &MemoryMap, start: VirtAddr, end: VirtAddr) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = start;
    while at < end {
        let vma = memory.vma_at(at)?;
        let len = vma.end.min(end).0 - at.0;
        let page = memory.pagemap.page_size.bytes();
        let (bytes, step) = match memory.pagemap.read_at(at, len) {
            Ok(Some(bytes)) => (Some(bytes.to_vec()), bytes.len() as u64),
            Ok(None) => (not_private(checkpoint, vma, at, page)?, page),
            Err(why) => panic!("{at}: {why}"),
        };
        match bytes {
            Some(bytes) => out.extend_from_slice(&bytes),
            None => out.resize(out.len() + step as usize, 0),
        }
        at = VirtAddr(at.0 + step);
    }
    Some(out)
}

/// A page that the process's own pagemap does not have; `Some(None)` is a page of zeros.
fn not_private(checkpoint: &Checkpoint, vma: &Vma, at: VirtAddr, page: u64) -> Option<Option<Vec<u8>>> {
    match vma.kind {
        VmaKind::AnonPrivate | VmaKind::Heap | VmaKind::Stack => Some(None),
        VmaKind::AnonShared | VmaKind::Memfd | VmaKind::Sysv => {
            let object = checkpoint.shared_memory.get(&vma.shmid?)?;
            let offset = VirtAddr(vma.pgoff + (at.0 - vma.start.0));
            Some(object.pagemap.read_at(offset, page).unwrap().map(|bytes| bytes.to_vec()))
        }
        _ => None,
    }
}
