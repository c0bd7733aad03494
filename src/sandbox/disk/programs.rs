//! Programs of memfds as files, and the images that name them.
//!
//! Both images are the evidence's own with something behind it: `files.img` gets a record more, and in the one record of
//! `mm-PID.img` stands `exe_file_id` once more, of which the last counts.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost::encoding::uint32;

use super::tree::{Attributes, Content, FileTree, Kind};
use super::{DiskError, IMAGES, ROOTFS, join};
use crate::base::{FileId, Issue, Place};
use crate::checkpoint::Checkpoint;
use crate::decode::schema::{FdTypes, FileEntry, FownEntry, RegFileEntry};
use crate::sandbox::plan::Program;

const FILES: &str = "files.img";
/// Number of `exe_file_id` in `mm_entry`.
const EXE_FILE_ID: u32 = 12;
/// What images begin with since CRIU 2.0; the kind follows, and the length of the first record.
const COMMON_MAGIC: [u8; 4] = 0x5456_4319_u32.to_le_bytes();
const LENGTH_AT: usize = 8;
const RECORD_AT: usize = 12;
const S_IFREG: u32 = 0o100_000;

/// Lays files of programs, and images that name them; the images have been laid before.
///
/// # Errors
/// The tree is full.
pub(super) fn lay(
    tree: &mut FileTree,
    checkpoint: &Checkpoint,
    programs: &[Program],
    issues: &mut Vec<Issue>,
) -> Result<(), DiskError> {
    let mut records = BytesMut::new();
    for program in programs {
        let memfd = checkpoint.recovered.iter().find(|file| file.files.contains(&FileId(program.memfd)));
        let Some(pieces) = memfd.and_then(|memfd| memfd.chunks(&checkpoint.shared_memory).ok()) else {
            let what = format!("the content of the program {} cannot be read", program.path);
            issues.push(Issue::new(Place::member("memfd.img"), what));
            continue;
        };
        let kind = Kind::File(Content::Pieces { len: program.size_bytes, pieces });
        let path = join(ROOTFS.as_bytes(), program.path.trim_start_matches('/').as_bytes());
        tree.put(&path, kind, Attributes { mode: program.mode, ..Attributes::default() })?;
        records.put(record(program));
        for pid in &program.pids {
            let img = format!("mm-{pid}.img");
            replace(tree, checkpoint, &img, issues, |bytes| renamed(bytes, program.file))?;
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    let records = records.freeze();
    replace(tree, checkpoint, FILES, issues, |bytes| Some(vec![(0, bytes.clone()), (bytes.len() as u64, records)]))
}

/// Puts pieces in the place of an image.
fn replace(
    tree: &mut FileTree,
    checkpoint: &Checkpoint,
    name: &str,
    issues: &mut Vec<Issue>,
    pieces: impl FnOnce(&Bytes) -> Option<Vec<(u64, Bytes)>>,
) -> Result<(), DiskError> {
    let image = checkpoint.image(name).and_then(|image| checkpoint.evidence.get(&image.path));
    let bytes = image.and_then(|member| checkpoint.evidence.read(member).ok());
    let Some(pieces) = bytes.as_ref().and_then(pieces) else {
        let what = "cannot be told of a program that is no file";
        issues.push(Issue::new(Place::member(name), what));
        return Ok(());
    };
    let len = pieces.iter().map(|(at, bytes)| at + bytes.len() as u64).max().unwrap_or_default();
    let path = join(IMAGES.as_bytes(), name.as_bytes());
    tree.put(&path, Kind::File(Content::Pieces { len, pieces }), Attributes { mode: 0o600, ..Attributes::default() })?;
    Ok(())
}

/// The record of an open file, with its length before it.
fn record(program: &Program) -> Bytes {
    let reg = RegFileEntry {
        id: program.file,
        fown: FownEntry::default(),
        name: program.path.clone().into_bytes().into(),
        mnt_id: program.mnt_id.and_then(|id| i32::try_from(id).ok()),
        size: Some(program.size_bytes),
        mode: Some(S_IFREG | program.mode),
        ..RegFileEntry::default()
    };
    let entry =
        FileEntry { r#type: FdTypes::Reg.into(), id: program.file, reg: Some(Box::new(reg)), ..FileEntry::default() };
    let message = entry.encode_to_vec();
    let mut out = BytesMut::new();
    out.put_u32_le(u32::try_from(message.len()).unwrap_or_default());
    out.put(message.as_slice());
    out.freeze()
}

/// `mm-PID.img` with another program: the image, a new length of its record laid over the old one, and more behind it.
fn renamed(image: &Bytes, file: u32) -> Option<Vec<(u64, Bytes)>> {
    let length = image.get(LENGTH_AT..RECORD_AT)?;
    let length = u32::from_le_bytes(length.try_into().ok()?);
    let is_one_record = image.starts_with(&COMMON_MAGIC) && image.len() - RECORD_AT == usize::try_from(length).ok()?;
    let mut more = BytesMut::new();
    uint32::encode(EXE_FILE_ID, &file, &mut more);
    let length = length.checked_add(u32::try_from(more.len()).ok()?)?;
    is_one_record.then(|| {
        let length = Bytes::copy_from_slice(&length.to_le_bytes());
        vec![(0, image.clone()), (LENGTH_AT as u64, length), (image.len() as u64, more.freeze())]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_of_a_memory_map_gets_another_program() {
        let mut image = COMMON_MAGIC.to_vec();
        image.extend([0x01, 0x23, 0x45, 0x67]);
        image.extend([2, 0, 0, 0, 0x60, 36]);
        let pieces = renamed(&image.clone().into(), 300).unwrap();
        let mut laid = [0; 17];
        for (at, bytes) in pieces {
            let at = usize::try_from(at).unwrap();
            laid[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        assert_eq!(laid[8..], [5, 0, 0, 0, 0x60, 36, 0x60, 0xac, 2]);
    }

    #[test]
    fn image_that_is_not_one_whole_record_is_left_alone() {
        let image = |length: u8, record: &[u8]| {
            Bytes::from([&COMMON_MAGIC[..], &[1, 2, 3, 4], &[length, 0, 0, 0], record].concat())
        };
        assert!(renamed(&image(2, &[0x60, 1]), 7).is_some());
        assert!(renamed(&image(3, &[0x60, 1]), 7).is_none());
        assert!(renamed(&image(1, &[0x60, 1]), 7).is_none());
        assert!(renamed(&Bytes::from_static(b"short"), 7).is_none());
        assert!(renamed(&Bytes::from(vec![0; 14]), 7).is_none());
    }
}
