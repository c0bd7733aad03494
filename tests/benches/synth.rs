//! Big checkpoints made out of a small real one, for benches. Synthetic: no runtime made them.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use cryoscope::decode::schema::{PagemapEntry, PagemapHead, PstreeEntry, TaskKobjIdsEntry};

use crate::rebuild::{Parts, builder, header, push_record};

/// The real checkpoint that everything is made of.
const SEED: &str = "compressed.tar";
/// Letters of the pages that look like text.
const TEXT: &[u8] = b" etaoinshrdlu\n0123456789ABCDEF{}\":";
/// Where the added memory lies: no process of the seed uses it.
pub(crate) const ADDED_AT: u64 = 0x1000_0000_0000;

/// A plain tar whose first process has `len` more bytes of anonymous memory, `needle` in every 64 MiB.
pub(crate) fn big_memory(path: &Path, len: u64, needle: &[u8]) {
    let parts = with_memory(len);
    let mut tar = builder(BufWriter::new(File::create(path).unwrap()));
    for (name, bytes) in &parts.parts.0 {
        if name == PAGES {
            let (before, after) = bytes.split_at(parts.pages_before);
            let content = before.chain(Noise::new(len, needle)).chain(after);
            tar.append_data(&mut header(bytes.len() as u64 + len), name, content).unwrap();
        } else {
            tar.append_data(&mut header(bytes.len() as u64), name, &bytes[..]).unwrap();
        }
    }
    tar.into_inner().unwrap().flush().unwrap();
}

/// The same, with a hole of the file system for the added pages and `needle` at their end: takes no place on disk.
pub(crate) fn holes(path: &Path, len: u64, needle: &[u8]) {
    let mut parts = with_memory(len);
    let pages = parts.parts.0.remove(PAGES).unwrap();
    let mut tar = builder(Vec::new());
    for (name, bytes) in &parts.parts.0 {
        tar.append_data(&mut header(bytes.len() as u64), name, &bytes[..]).unwrap();
    }
    // The header of the pages alone: their content follows by hand.
    let mut head = header(pages.len() as u64 + len);
    head.set_path(PAGES).unwrap();
    head.set_cksum();
    tar.get_mut().extend_from_slice(head.as_bytes());
    let front = std::mem::take(tar.get_mut());
    let mut file = File::create(path).unwrap();
    let (before, after) = pages.split_at(parts.pages_before);
    file.write_all(&front).unwrap();
    file.write_all(before).unwrap();
    let end = file.seek(SeekFrom::Current(i64::try_from(len).unwrap())).unwrap();
    file.seek(SeekFrom::Start(end - needle.len() as u64)).unwrap();
    file.write_all(needle).unwrap();
    file.write_all(after).unwrap();
    // The pages are whole blocks; two empty ones end the archive.
    file.write_all(&[0; 1024]).unwrap();
}

/// The pages image of the seed's first process, as a member.
const PAGES: &str = "checkpoint/pages-1.img";

struct WithMemory {
    parts: Parts,
    /// Bytes of the pages image before the added ones.
    pages_before: usize,
}

/// The seed, whose first process has `len` more bytes of anonymous memory; their pages are still to be added.
fn with_memory(len: u64) -> WithMemory {
    let mut parts = Parts::of(SEED);
    parts.add_vma(ADDED_AT..ADDED_AT + len);

    // Runs stand in ascending order, and so do their bytes in the pages file.
    let mut entries = parts.records::<PagemapEntry>("pagemap-1.img");
    let below = entries.partition_point(|entry| entry.vaddr < ADDED_AT);
    let bytes_below: u64 = entries[..below].iter().map(|entry| u64::from(entry.compat_nr_pages) * 4096).sum();
    let added = PagemapEntry {
        vaddr: ADDED_AT,
        compat_nr_pages: u32::try_from(len / 4096).unwrap(),
        flags: Some(4),
        ..PagemapEntry::default()
    };
    entries.insert(below, added);
    let head = parts.records::<PagemapHead>("pagemap-1.img");
    parts.set_records("pagemap-1.img", &head);
    let mut pagemap = parts.image("pagemap-1.img").to_vec();
    entries.iter().for_each(|entry| push_record(&mut pagemap, entry));
    parts.set_image("pagemap-1.img", pagemap);
    WithMemory { parts, pages_before: usize::try_from(bytes_below).unwrap() }
}

/// A plain tar whose first process has 16 TiB more of anonymous memory, with a page in every 128 MiB that is left to a
/// lazy server: more than a quarter of a million pieces.
pub(crate) fn huge_space(path: &Path) {
    const LEN: u64 = 16 << 40;
    const EVERY: usize = 128 << 20;
    let mut parts = Parts::of(SEED);
    parts.add_vma(ADDED_AT..ADDED_AT + LEN);
    let mut entries = parts.records::<PagemapEntry>("pagemap-1.img");
    let below = entries.partition_point(|entry| entry.vaddr < ADDED_AT);
    let lazy = (ADDED_AT..ADDED_AT + LEN).step_by(EVERY).map(|at| PagemapEntry {
        vaddr: at + 0x1000,
        compat_nr_pages: 1,
        flags: Some(2),
        ..PagemapEntry::default()
    });
    entries.splice(below..below, lazy);
    let head = parts.records::<PagemapHead>("pagemap-1.img");
    parts.set_records("pagemap-1.img", &head);
    let mut pagemap = parts.image("pagemap-1.img").to_vec();
    entries.iter().for_each(|entry| push_record(&mut pagemap, entry));
    parts.set_image("pagemap-1.img", pagemap);
    std::fs::write(path, parts.tar()).unwrap();
}

/// A plain tar with `count` more processes, all children of the first.
pub(crate) fn many_processes(path: &Path, count: u32) {
    let mut parts = Parts::of(SEED);
    let mut tree = parts.records::<PstreeEntry>("pstree.img");
    let first = tree[0].clone();
    let ids = parts.records::<TaskKobjIdsEntry>("ids-1.img").remove(0);
    let fds = parts.image(&format!("fdinfo-{}.img", ids.files_id)).clone();
    for pid in 1000..1000 + count {
        tree.push(PstreeEntry { pid, ppid: first.pid, threads: vec![pid], ..first.clone() });
        for image in ["core", "ids", "mm", "fs", "pagemap"] {
            let bytes = parts.image(&format!("{image}-1.img")).clone();
            parts.set_image(&format!("{image}-{pid}.img"), bytes);
        }
        parts.set_records(&format!("ids-{pid}.img"), &[TaskKobjIdsEntry { vm_id: pid, files_id: pid, ..ids }]);
        parts.set_image(&format!("fdinfo-{pid}.img"), fds.clone());
    }
    parts.set_records("pstree.img", &tree);
    std::fs::write(path, parts.tar()).unwrap();
}

/// Memory-like bytes: pages of text, of pointers and of zeros in turn, a needle in every 64 MiB.
struct Noise {
    left: u64,
    at: u64,
    state: u64,
    needle: Vec<u8>,
    page: Vec<u8>,
}

impl Noise {
    fn new(len: u64, needle: &[u8]) -> Noise {
        Noise { left: len, at: 0, state: 0x9e37_79b9_7f4a_7c15, needle: needle.to_vec(), page: Vec::new() }
    }

    fn next_page(&mut self) {
        self.page.clear();
        match self.at / 4096 % 4 {
            0 => self.page.resize(4096, 0),
            1 => {
                while self.page.len() < 4096 {
                    self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    self.page.extend_from_slice(&(0x7f00_0000_0000 | self.state >> 28).to_le_bytes());
                }
            }
            _ => {
                while self.page.len() < 4096 {
                    self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    self.page.push(TEXT[(self.state >> 58) as usize % TEXT.len()]);
                }
            }
        }
        self.page.truncate(4096);
        if self.at % (64 << 20) == 8192 {
            self.page[100..100 + self.needle.len()].copy_from_slice(&self.needle);
        }
        self.at += 4096;
    }
}

impl Read for Noise {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Ok(0);
        }
        if self.page.is_empty() {
            self.next_page();
        }
        let len = buf.len().min(self.page.len()).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        buf[..len].copy_from_slice(&self.page[..len]);
        self.page.drain(..len);
        self.left -= len as u64;
        Ok(len)
    }
}
