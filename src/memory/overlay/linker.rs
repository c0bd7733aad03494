//! The list of the dynamic linker: `r_debug` and the `link_map` of each file that it has loaded.

use std::collections::HashSet;

use crate::base::{ByteOrder, Cancelled, Progress, VirtAddr, escape_controls};

use super::super::AddressSpace;
use super::{Field, Reader, Structure, decimal};

/// Keys of the auxiliary vector.
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_ENTRY: u64 = 9;
/// Types of program headers.
const PT_DYNAMIC: u64 = 2;
const PT_PHDR: u64 = 6;
/// Key of the dynamic section under which the linker leaves the address of `r_debug`.
const DT_DEBUG: u64 = 21;

/// Most program headers that are looked at.
const MAX_HEADERS: u64 = 128;
/// Most entries of the dynamic section.
const MAX_DYNAMIC: usize = 1024;
/// Most of an area that is searched for a dynamic section, in bytes.
const MAX_SEARCHED: usize = 1 << 20;
/// Most files of the list.
const MAX_LOADED: u32 = 8192;
/// Longest name of a file.
const MAX_NAME: usize = 4096;

pub(super) fn fields(
    space: &AddressSpace<'_>,
    order: ByteOrder,
    progress: &dyn Progress,
    out: &mut Vec<Field>,
) -> Result<(), Cancelled> {
    let word = word_of(space);
    let Some(debug) = r_debug(space, order, word) else { return Ok(()) };
    let Some(mut next) = debug_fields(space, debug, order, word, out) else { return Ok(()) };
    let mut seen = HashSet::new();
    for nr in 0..MAX_LOADED {
        if nr % 64 == 0 {
            progress.step(u64::from(nr), None)?;
        }
        if next == 0 || !seen.insert(next) {
            break;
        }
        let Some(behind) = map_fields(space, VirtAddr(next), nr, order, word, out) else { break };
        next = behind;
    }
    Ok(())
}

/// Bytes of a pointer: as wide as addresses of the process need. Areas of the kernel at the very end do not count.
fn word_of(space: &AddressSpace<'_>) -> usize {
    let is_wide = space.map().auxv_value(AT_PHENT).map(|size| size == 56);
    let highest = space.map().vmas.iter().map(|vma| vma.end.0).filter(|end| *end <= 1 << 56).max().unwrap_or_default();
    if is_wide.unwrap_or(highest > 1 << 32) { 8 } else { 4 }
}

fn number(space: &AddressSpace<'_>, at: VirtAddr, len: usize, order: ByteOrder) -> Option<u64> {
    let bytes = space.bytes_at(at, len);
    Reader { bytes: &bytes, at, order, structure: Structure::RDebug, offset: 0 }.number(len).map(|(value, _)| value)
}

/// By the program headers that the kernel has named; where these are not in the checkpoint, by looking for the entry.
fn r_debug(space: &AddressSpace<'_>, order: ByteOrder, word: usize) -> Option<VirtAddr> {
    let by_headers = dynamic(space, order, word).and_then(|at| {
        let bytes = space.bytes_at(at, MAX_DYNAMIC * 2 * word);
        debug_entry(&bytes, order, word, false).find(|at| is_r_debug(space, *at, order, word))
    });
    by_headers.or_else(|| searched(space, order, word))
}

/// The address of the dynamic section of the program.
fn dynamic(space: &AddressSpace<'_>, order: ByteOrder, word: usize) -> Option<VirtAddr> {
    let map = space.map();
    let headers = map.auxv_value(AT_PHDR)?;
    let (size, nr) = (map.auxv_value(AT_PHENT)?, map.auxv_value(AT_PHNUM)?.min(MAX_HEADERS));
    if size != if word == 8 { 56 } else { 32 } {
        return None;
    }
    let (mut bias, mut section) = (None, None);
    for nr in 0..nr {
        let at = VirtAddr(headers).checked_add(nr * size)?;
        let kind = number(space, at, 4, order)?;
        let addr = number(space, at.checked_add(2 * word as u64)?, word, order)?;
        match kind {
            PT_PHDR => bias = Some(headers.wrapping_sub(addr)),
            PT_DYNAMIC => section = Some(addr),
            _ => {}
        }
    }
    Some(VirtAddr(section?.wrapping_add(bias.unwrap_or_default())))
}

/// Values of the entry in a dynamic section, or in bytes that may hold one anywhere.
fn debug_entry(bytes: &[u8], order: ByteOrder, word: usize, anywhere: bool) -> impl Iterator<Item = VirtAddr> {
    let step = if anywhere { word } else { 2 * word };
    let read = move |at: usize| {
        let bytes = bytes.get(at..at.checked_add(word)?)?;
        Reader { bytes, at: VirtAddr(0), order, structure: Structure::RDebug, offset: 0 }.number(word)
    };
    (0..bytes.len()).step_by(step).filter_map(move |at| {
        let (key, value) = (read(at)?.0, read(at + word)?.0);
        (key == DT_DEBUG && value != 0).then_some(VirtAddr(value))
    })
}

/// In the areas of the program's own file: the linker has written to its dynamic section, so it is in the dump.
fn searched(space: &AddressSpace<'_>, order: ByteOrder, word: usize) -> Option<VirtAddr> {
    let map = space.map();
    let entry = map.auxv_value(AT_ENTRY).map(VirtAddr).unwrap_or(map.code.start);
    let file = map.vma_at(entry)?.file?;
    let own = map.vmas.iter().filter(|vma| vma.file == Some(file) && vma.prot & 4 == 0).take(64);
    own.into_iter().find_map(|vma| {
        let len = usize::try_from(vma.len_bytes()).unwrap_or(usize::MAX).min(MAX_SEARCHED);
        let bytes = space.bytes_at(vma.start, len);
        debug_entry(&bytes, order, word, true).find(|at| is_r_debug(space, *at, order, word))
    })
}

/// Whether it has a version that there is, and a list that begins.
fn is_r_debug(space: &AddressSpace<'_>, at: VirtAddr, order: ByteOrder, word: usize) -> bool {
    let version = number(space, at, 4, order);
    let first = at.checked_add(word as u64).and_then(|at| number(space, at, word, order));
    matches!(version, Some(1..=8))
        && first.is_some_and(|first| first != 0 && space.map().vma_at(VirtAddr(first)).is_some())
}

/// The fields of `r_debug`; the address of the first `link_map`.
fn debug_fields(
    space: &AddressSpace<'_>,
    at: VirtAddr,
    order: ByteOrder,
    word: usize,
    out: &mut Vec<Field>,
) -> Option<u64> {
    let bytes = space.bytes_at(at, 5 * word);
    let mut reader = Reader { bytes: &bytes, at, order, structure: Structure::RDebug, offset: 0 };
    reader.field(out, "r_version", 4, decimal)?;
    reader.offset = word;
    let first = reader.pointer(out, "r_map", word)?;
    reader.pointer(out, "r_brk", word);
    reader.field(out, "r_state", 4, |value| match value {
        0 => "RT_CONSISTENT".to_owned(),
        1 => "RT_ADD".to_owned(),
        2 => "RT_DELETE".to_owned(),
        other => other.to_string(),
    });
    reader.offset = 4 * word;
    reader.pointer(out, "r_ldbase", word);
    Some(first)
}

/// The fields of a `link_map`; the address of the next.
fn map_fields(
    space: &AddressSpace<'_>,
    at: VirtAddr,
    nr: u32,
    order: ByteOrder,
    word: usize,
    out: &mut Vec<Field>,
) -> Option<u64> {
    let bytes = space.bytes_at(at, 5 * word);
    // Half of one is none: nothing is said of it.
    if bytes.len() < 5 * word {
        return None;
    }
    let mut reader = Reader { bytes: &bytes, at, order, structure: Structure::LinkMap(nr), offset: 0 };
    reader.pointer(out, "l_addr", word)?;
    let name = reader.pointer(out, "l_name", word)?;
    if let Some(field) = out.last_mut() {
        field.value = format!("{} {}", field.value, name_at(space, VirtAddr(name)));
    }
    reader.pointer(out, "l_ld", word)?;
    let next = reader.pointer(out, "l_next", word)?;
    reader.pointer(out, "l_prev", word)?;
    Some(next)
}

/// The file that is loaded, in quotes.
fn name_at(space: &AddressSpace<'_>, at: VirtAddr) -> String {
    let bytes = space.bytes_at(at, MAX_NAME);
    match bytes.iter().position(|byte| *byte == 0) {
        Some(0) => "the program itself".to_owned(),
        Some(end) => {
            let name = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
            format!("“{}”", escape_controls(&name))
        }
        None => "a name that is not in the checkpoint".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_found_where_it_stands_and_nowhere_else() {
        let mut bytes = Vec::new();
        for word in [1u64, 0x99, DT_DEBUG, 0x7000, DT_DEBUG, 0, 5] {
            bytes.extend(word.to_le_bytes());
        }
        let found: Vec<_> = debug_entry(&bytes, ByteOrder::Little, 8, false).collect();
        assert_eq!(found, [VirtAddr(0x7000)]);
        assert_eq!(debug_entry(&bytes, ByteOrder::Big, 8, true).count(), 0);
        assert_eq!(debug_entry(&bytes[..20], ByteOrder::Little, 8, true).count(), 0);
    }
}
