//! The image files of the fixtures, unpacked in memory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Where the fixtures are.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The images in a fixture, by base name: a directory, or an archive, with the archives in it.
pub(crate) fn images(path: &Path) -> BTreeMap<String, Bytes> {
    let mut out = BTreeMap::new();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            out.insert(path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap().into());
        }
    } else {
        unpack(fs::read(path).unwrap(), &mut out);
    }
    out
}

fn unpack(packed: Vec<u8>, out: &mut BTreeMap<String, Bytes>) {
    let plain = if packed.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        zstd::decode_all(packed.as_slice()).unwrap()
    } else if packed.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
        plain
    } else {
        packed
    };
    if plain.get(257..262) != Some(b"ustar") {
        return;
    }
    let mut archive = tar::Archive::new(plain.as_slice());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if path.contains("blobs/sha256/") {
            unpack(bytes, out);
        } else {
            out.insert(path.rsplit('/').next().unwrap().to_owned(), bytes.into());
        }
    }
}
