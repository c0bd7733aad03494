//! Big checkpoints made out of a small real one, for benches. Synthetic: no runtime made them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use bytes::Bytes;
use cryoscope::base::Silent;
use cryoscope::decode::schema::{CoreEntry, MmEntry, PagemapEntry, PagemapHead, PstreeEntry, TaskKobjIdsEntry, VmaEntry};
use cryoscope::decode::{Ctx, Img, typed};
use cryoscope::evidence::{Evidence, OpenOptions};
use prost::{Message, Name};

/// The real checkpoint that everything is made of.
const SEED: &str = "fixtures/compressed.tar";
/// Where the added memory lies: no process of the seed uses it.
const ADDED_AT: u64 = 0x1000_0000_0000;

/// Files of the seed by path.
fn seed() -> BTreeMap<String, Bytes> {
    let evidence = Evidence::open(Path::new(SEED), &OpenOptions::default(), &Silent).unwrap();
    let members = evidence.members().iter().filter(|member| member.is_file());
    members.map(|member| (member.display_path().into_owned(), evidence.read(member).unwrap())).collect()
}

/// A plain tar whose first process has `len` more bytes of anonymous memory, `needle` in every 64 MiB.
pub fn big_memory(path: &Path, len: u64, needle: &[u8]) {
    let mut files = seed();
    let mut mm: MmEntry = first(&files, "mm-1.img");
    mm.vmas.push(VmaEntry {
        start: ADDED_AT,
        end: ADDED_AT + len,
        prot: 3,
        flags: 0x22,
        status: 0x201,
        fd: -1,
        ..VmaEntry::default()
    });
    mm.vmas.sort_by_key(|vma| vma.start);
    replace(&mut files, "mm-1.img", &[mm]);
    // Runs stand in ascending order, and so do their bytes in the pages file.
    let name = "checkpoint/pagemap-1.img";
    let img = Img::new(name, files[name].clone());
    let mut entries: Vec<PagemapEntry> =
        typed::<PagemapEntry>(&img, &Ctx::default()).value.into_iter().map(|record| record.value).collect();
    let below = entries.partition_point(|entry| entry.vaddr < ADDED_AT);
    let bytes_below: u64 = entries[..below].iter().map(|entry| u64::from(entry.compat_nr_pages) * 4096).sum();
    let added = PagemapEntry {
        vaddr: ADDED_AT,
        compat_nr_pages: u32::try_from(len / 4096).unwrap(),
        flags: Some(4),
        ..PagemapEntry::default()
    };
    entries.insert(below, added);
    let head: PagemapHead = first(&files, "pagemap-1.img");
    replace(&mut files, "pagemap-1.img", &[head]);
    let mut pagemap = files[name].to_vec();
    entries.iter().for_each(|entry| append(&mut pagemap, entry));
    files.insert(name.to_owned(), pagemap.into());

    let mut tar = tar::Builder::new(BufWriter::new(File::create(path).unwrap()));
    for (name, bytes) in &files {
        if name == "checkpoint/pages-1.img" {
            let total = bytes.len() as u64 + len;
            let (before, after) = bytes.split_at(usize::try_from(bytes_below).unwrap());
            let content = before.chain(Noise::new(len, needle)).chain(after);
            tar.append_data(&mut header(total), name, content).unwrap();
        } else {
            tar.append_data(&mut header(bytes.len() as u64), name, &bytes[..]).unwrap();
        }
    }
    tar.into_inner().unwrap().flush().unwrap();
}

/// A plain tar with `count` processes, all children of the first.
pub fn many_processes(path: &Path, count: u32) {
    let mut files = seed();
    let first_process: PstreeEntry = first(&files, "pstree.img");
    let mut tree = files["checkpoint/pstree.img"].to_vec();
    let images = ["core", "ids", "mm", "fs", "pagemap"];
    let ids: TaskKobjIdsEntry = first(&files, "ids-1.img");
    let core: CoreEntry = first(&files, "core-1.img");
    for pid in 1000..1000 + count {
        append(&mut tree, &PstreeEntry { pid, ppid: first_process.pid, threads: vec![pid], ..first_process.clone() });
        for image in images {
            let bytes = files[&format!("checkpoint/{image}-1.img")].clone();
            files.insert(format!("checkpoint/{image}-{pid}.img"), bytes);
        }
        let own = TaskKobjIdsEntry { vm_id: pid, files_id: pid, ..ids };
        replace(&mut files, &format!("ids-{pid}.img"), &[own]);
        let bytes = files[&format!("checkpoint/fdinfo-{}.img", ids.files_id)].clone();
        files.insert(format!("checkpoint/fdinfo-{pid}.img"), bytes);
        replace(&mut files, &format!("core-{pid}.img"), std::slice::from_ref(&core));
    }
    files.insert("checkpoint/pstree.img".to_owned(), tree.into());
    let mut tar = tar::Builder::new(BufWriter::new(File::create(path).unwrap()));
    for (name, bytes) in &files {
        tar.append_data(&mut header(bytes.len() as u64), name, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap().flush().unwrap();
}

fn first<M: Message + Default + Name + Clone>(files: &BTreeMap<String, Bytes>, name: &str) -> M {
    let img = Img::new(name, files[&format!("checkpoint/{name}")].clone());
    typed::<M>(&img, &Ctx::default()).value[0].value.clone()
}

/// Writes an image anew: both magics of the old one, then the records.
fn replace<M: Message>(files: &mut BTreeMap<String, Bytes>, name: &str, records: &[M]) {
    let path = format!("checkpoint/{name}");
    let mut bytes = files[&path][..8].to_vec();
    for record in records {
        append(&mut bytes, record);
    }
    files.insert(path, bytes.into());
}

fn append<M: Message>(bytes: &mut Vec<u8>, record: &M) {
    bytes.extend_from_slice(&u32::try_from(record.encoded_len()).unwrap().to_le_bytes());
    record.encode(bytes).unwrap();
}

fn header(len: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(len);
    header.set_mode(0o600);
    header.set_cksum();
    header
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
                    self.page.push(b" etaoinshrdlu\n0123456789ABCDEF{}\":"[(self.state >> 58) as usize % 35]);
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
