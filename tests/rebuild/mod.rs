//! Real checkpoints taken apart, changed, and packed again: for hostile input and for benches.
//! What comes out is synthetic; no runtime made it.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use cryoscope::base::Silent;
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
