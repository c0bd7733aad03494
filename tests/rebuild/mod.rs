//! Real checkpoints taken apart, changed, and packed again: for hostile input and for benches.
//! What comes out is synthetic; no runtime made it.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use cryoscope::base::Silent;
use cryoscope::decode::schema::{MmEntry, PagemapEntry, PagemapHead, VmaEntry};
use cryoscope::decode::{Ctx, Img, typed};
use cryoscope::evidence::{Evidence, OpenOptions};
use prost::{Message, Name};

/// Files of a checkpoint by their path in the archive.
pub(crate) struct Parts(pub(crate) BTreeMap<String, Bytes>);

impl Parts {
    /// The files of a fixture that has its images in `checkpoint/`.
    pub(crate) fn of(fixture: &str) -> Parts {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(fixture);
        let evidence = Evidence::open(&path, &OpenOptions::default(), &Silent).unwrap();
        let members = evidence.members().iter().filter(|member| member.is_file());
        Parts(members.map(|member| (member.display_path().into_owned(), evidence.read(member).unwrap())).collect())
    }

    pub(crate) fn image(&self, name: &str) -> &Bytes {
        &self.0[&format!("checkpoint/{name}")]
    }

    pub(crate) fn set_image(&mut self, name: &str, bytes: impl Into<Bytes>) {
        self.0.insert(format!("checkpoint/{name}"), bytes.into());
    }

    /// The records of an image.
    pub(crate) fn records<M: Message + Default + Name>(&self, name: &str) -> Vec<M> {
        let img = Img::new(name, self.image(name).clone());
        typed::<M>(&img, &Ctx::default()).value.into_iter().map(|record| record.value).collect()
    }

    /// Writes an image anew: both magics of the old one, then the records.
    pub(crate) fn set_records<M: Message>(&mut self, name: &str, records: &[M]) {
        let mut bytes = self.image(name)[..8].to_vec();
        for record in records {
            push_record(&mut bytes, record);
        }
        self.set_image(name, bytes);
    }

    /// Adds private anonymous memory to process 1.
    pub(crate) fn add_vma(&mut self, range: Range<u64>) {
        let mut mm = self.records::<MmEntry>("mm-1.img").remove(0);
        mm.vmas.push(VmaEntry {
            start: range.start,
            end: range.end,
            prot: 3,
            flags: 0x22,
            status: 0x201,
            fd: -1,
            ..VmaEntry::default()
        });
        mm.vmas.sort_by_key(|vma| vma.start);
        self.set_records("mm-1.img", &[mm]);
    }

    /// Adds runs of pages to process 1, in ascending order and between the same two of its own, each with the bytes that
    /// it has in the pages file.
    pub(crate) fn add_pages(&mut self, added: Vec<(PagemapEntry, Vec<u8>)>) {
        let first = added[0].0.vaddr;
        let head = self.records::<PagemapHead>("pagemap-1.img");
        let mut entries = self.records::<PagemapEntry>("pagemap-1.img").split_off(1);
        let below = entries.partition_point(|entry| entry.vaddr < first);
        let is_stored = |entry: &&PagemapEntry| entry.flags.unwrap_or(4) & 4 != 0;
        let pages = |entry: &PagemapEntry| entry.nr_pages.unwrap_or_else(|| u64::from(entry.compat_nr_pages));
        let bytes_below: u64 = entries[..below].iter().filter(is_stored).map(|entry| pages(entry) * 4096).sum();
        // What lies above comes behind ours in the file.
        let mut content = self.image("pages-1.img").to_vec();
        let tail = content.split_off(usize::try_from(bytes_below).unwrap());
        added.iter().for_each(|(_, bytes)| content.extend_from_slice(bytes));
        content.extend_from_slice(&tail);
        entries.splice(below..below, added.into_iter().map(|(entry, _)| entry));
        self.set_records("pagemap-1.img", &head);
        let mut pagemap = self.image("pagemap-1.img").to_vec();
        entries.iter().for_each(|entry| push_record(&mut pagemap, entry));
        self.set_image("pagemap-1.img", pagemap);
        self.set_image("pages-1.img", content);
    }

    /// A plain tar of the files.
    pub(crate) fn tar(&self) -> Bytes {
        let mut tar = builder(Vec::new());
        for (name, bytes) in &self.0 {
            tar.append_data(&mut header(bytes.len() as u64), name, &bytes[..]).unwrap();
        }
        tar.into_inner().unwrap().into()
    }
}

/// Appends a record: its length, then its body.
pub(crate) fn push_record<M: Message>(bytes: &mut Vec<u8>, record: &M) {
    bytes.extend_from_slice(&u32::try_from(record.encoded_len()).unwrap().to_le_bytes());
    record.encode(bytes).unwrap();
}

/// A tar with the image directory in it, which some readers want to see.
pub(crate) fn builder<W: Write>(out: W) -> tar::Builder<W> {
    let mut tar = tar::Builder::new(out);
    let mut directory = header(0);
    directory.set_entry_type(tar::EntryType::Directory);
    directory.set_mode(0o700);
    tar.append_data(&mut directory, "checkpoint/", &[][..]).unwrap();
    tar
}

/// Header of a regular file.
pub(crate) fn header(len: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(len);
    header.set_mode(0o600);
    header.set_cksum();
    header
}
