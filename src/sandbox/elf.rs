//! Which libraries a program that goes into the machine is linked to, and how much of it is loaded.

use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, elf::FileHeader64};

/// Names of the libraries that an ELF file asks for, and the path of its loader; nothing for what is no 64-bit ELF file.
pub(in crate::sandbox) fn needed(file: &[u8]) -> Vec<String> {
    read(file).unwrap_or_default()
}

/// Offset of the end of the last byte that is loaded: what follows is for linkers and debuggers.
pub(in crate::sandbox) fn loaded_len(file: &[u8]) -> Option<usize> {
    let header = FileHeader64::<Endianness>::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, file).ok()?;
    let ends = segments.iter().filter(|it| it.p_type(endian) == object::elf::PT_LOAD);
    let end = ends.filter_map(|it| it.p_offset(endian).checked_add(it.p_filesz(endian))).max()?;
    usize::try_from(end).ok().filter(|end| *end <= file.len())
}

fn read(file: &[u8]) -> Option<Vec<String>> {
    let header = FileHeader64::<Endianness>::parse(file).ok()?;
    let endian = header.endian().ok()?;
    let mut out = Vec::new();
    for segment in header.program_headers(endian, file).ok()? {
        if let Ok(Some(loader)) = segment.interpreter(endian, file) {
            out.push(String::from_utf8_lossy(loader).rsplit('/').next()?.to_owned());
        }
    }
    let sections = header.sections(endian, file).ok()?;
    if let Ok(Some((entries, strings))) = sections.dynamic(endian, file) {
        let strings = sections.strings(endian, file, strings).ok()?;
        for entry in entries.iter().filter(|it| it.tag32(endian).map(i64::from) == Some(object::elf::DT_NEEDED)) {
            let name = strings.get(entry.val32(endian)?).ok()?;
            out.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Some(out)
}
