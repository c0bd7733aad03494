//! Builds archives by hand for tests.

use std::io::Write as _;

use bytes::Bytes;

use crate::base::Silent;

use super::header::{BLOCK, Block};
use super::{Compression, Evidence, OpenError, OpenOptions};

/// A tar archive in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Tar {
    bytes: Vec<u8>,
}

impl Tar {
    pub(super) fn new() -> Tar {
        Tar::default()
    }

    /// A file in ustar form.
    pub(super) fn file(self, path: &str, content: &[u8]) -> Tar {
        self.entry(b'0', path, "", content.len() as u64, content)
    }

    pub(super) fn dir(self, path: &str) -> Tar {
        self.entry(b'5', path, "", 0, b"")
    }

    pub(super) fn symlink(self, path: &str, target: &str) -> Tar {
        self.entry(b'2', path, target, 0, b"")
    }

    pub(super) fn hard_link(self, path: &str, target: &str) -> Tar {
        self.entry(b'1', path, target, 0, b"")
    }

    /// Records before the next member, or with `g` before all that follow.
    pub(super) fn pax(self, letter: u8, records: &[(&str, &str)]) -> Tar {
        let records: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
        self.entry(letter, "PaxHeaders/x", "", records.len() as u64, records.as_bytes())
    }

    /// Any header, whose size may not be that of the content.
    pub(super) fn entry(self, letter: u8, path: &str, link: &str, size: u64, content: &[u8]) -> Tar {
        self.block(header(letter, path, link, size)).raw(content)
    }

    pub(super) fn block(mut self, block: Block) -> Tar {
        self.bytes.extend_from_slice(&block);
        self
    }

    /// Content, padded to a block.
    pub(super) fn raw(mut self, content: &[u8]) -> Tar {
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK as usize), 0);
        self
    }

    /// With the two zero blocks of the end.
    pub(super) fn end(self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK as usize]).bytes
    }

    /// Without them.
    pub(super) fn cut(self) -> Vec<u8> {
        self.bytes
    }
}

pub(super) fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut len = rest.len();
    while len != rest.len() + len.to_string().len() {
        len = rest.len() + len.to_string().len();
    }
    format!("{len}{rest}")
}

/// A ustar header with mode 0640, owner 1000, group 100, time 1700000000.
pub(super) fn header(letter: u8, path: &str, link: &str, size: u64) -> Block {
    let mut block = [0; BLOCK as usize];
    put(&mut block, 0, path.as_bytes());
    put(&mut block, 100, b"0000640\0");
    put(&mut block, 108, b"0001750\0");
    put(&mut block, 116, b"0000144\0");
    put(&mut block, 124, &number(size));
    put(&mut block, 136, format!("{:011o}\0", 1_700_000_000).as_bytes());
    block[156] = letter;
    put(&mut block, 157, link.as_bytes());
    put(&mut block, 257, b"ustar\x0000");
    seal(&mut block);
    block
}

/// The same with the magic of GNU.
pub(super) fn gnu_header(letter: u8, path: &str, link: &str, size: u64) -> Block {
    let mut block = header(letter, path, link, size);
    put(&mut block, 257, b"ustar  \0");
    seal(&mut block);
    block
}

/// A size field: octal, or binary where that is too narrow.
pub(super) fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value < 1 << 33 {
        field.copy_from_slice(format!("{value:011o}\0").as_bytes());
    } else {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    }
    field
}

pub(super) fn put(block: &mut Block, at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Writes the checksum.
pub(super) fn seal(block: &mut Block) {
    put(block, 148, b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    put(block, 148, format!("{sum:06o}\0 ").as_bytes());
}

pub(super) fn open(bytes: Vec<u8>) -> Evidence {
    try_open(bytes).unwrap()
}

pub(super) fn try_open(bytes: Vec<u8>) -> Result<Evidence, OpenError> {
    Evidence::open_bytes("test.tar", Bytes::from(bytes), &OpenOptions::default(), &Silent)
}

pub(super) fn issues(evidence: &Evidence) -> String {
    evidence.issues().iter().map(|issue| format!("{issue}\n")).collect()
}

pub(super) fn compress(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// Bytes that do not compress.
pub(super) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(next).collect()
}
