//! The build id of an ELF file. Source: elf(5); the note `NT_GNU_BUILD_ID` of binutils.

use crate::base::{ByteOrder, Cursor};

const PT_NOTE: u32 = 4;
const NT_GNU_BUILD_ID: u32 = 3;
/// Most program headers that are looked at.
const MAX_HEADERS: u64 = 256;
/// Most bytes of notes in one segment.
const MAX_NOTES_BYTES: u64 = 64 << 10;

/// The bytes of the note, if the file is ELF and has one.
pub(super) fn build_id(file: &[u8]) -> Option<&[u8]> {
    if !file.starts_with(b"\x7fELF") {
        return None;
    }
    let is_64 = file.get(4) == Some(&2);
    let order = if file.get(5) == Some(&2) { ByteOrder::Big } else { ByteOrder::Little };
    let at = |offset: u64| Some(Cursor::new(file.get(usize::try_from(offset).ok()?..)?, order));
    let word = |cursor: &mut Cursor<'_>| {
        if is_64 { cursor.u64("word").ok() } else { cursor.u32("word").ok().map(u64::from) }
    };
    let headers = word(&mut at(if is_64 { 32 } else { 28 })?)?;
    let mut sizes = at(if is_64 { 54 } else { 42 })?;
    let (size, count) = (sizes.u16("phentsize").ok()?, sizes.u16("phnum").ok()?);
    for nr in 0..u64::from(count).min(MAX_HEADERS) {
        let mut header = at(headers.checked_add(nr.checked_mul(u64::from(size))?)?)?;
        if header.u32("type").ok()? != PT_NOTE {
            continue;
        }
        // In 64 bits flags, offset, two addresses, size in the file; in 32 bits the flags come later.
        if is_64 {
            header.u32("flags").ok()?;
        }
        let offset = word(&mut header)?;
        let (_, _) = (word(&mut header)?, word(&mut header)?);
        let len = word(&mut header)?.min(MAX_NOTES_BYTES);
        let start = usize::try_from(offset).ok()?;
        let notes = file.get(start..start.checked_add(usize::try_from(len).ok()?)?)?;
        if let Some(id) = in_notes(notes, order) {
            return Some(id);
        }
    }
    None
}

fn in_notes(notes: &[u8], order: ByteOrder) -> Option<&[u8]> {
    let mut cursor = Cursor::new(notes, order);
    let padded = |len: u32| u64::from(len).next_multiple_of(4);
    while !cursor.is_empty() {
        let (name_len, len) = (cursor.u32("name length").ok()?, cursor.u32("length").ok()?);
        let kind = cursor.u32("kind").ok()?;
        let name = cursor.take(padded(name_len), "name").ok()?;
        let description = cursor.take(padded(len).min(cursor.left()), "description").ok()?;
        if kind == NT_GNU_BUILD_ID && name.starts_with(b"GNU\0") {
            return description.get(..usize::try_from(len).ok()?);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_elf_or_is_cut_has_none() {
        let mut elf = vec![0; 64];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54..58].copy_from_slice(&[56, 0, 1, 0]);
        let mut header = vec![0; 56];
        header[0] = 4;
        header[8] = 120;
        header[32] = 24;
        let note = [&[4, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0][..], b"GNU\0hello\0\0\0"].concat();
        let file = [elf, header, note].concat();
        assert_eq!(build_id(&file), Some(&b"hello"[..]));
        for cut in 0..file.len() {
            assert_eq!(build_id(&file[..cut]), None, "{cut}");
        }
        assert_eq!(build_id(b"#!/bin/sh"), None);
    }
}
