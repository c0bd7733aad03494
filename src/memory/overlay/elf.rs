//! The head of an ELF image where it is mapped.

use crate::base::{ByteOrder, VirtAddr};
use crate::checkpoint::Vma;

use super::super::AddressSpace;
use super::{Field, Reader, Structure, decimal, hex};

/// Most program headers that are shown of an image.
const MAX_HEADERS: u64 = 128;

/// The fields of the image that begins where an area begins, if one does.
pub(super) fn fields_at(space: &AddressSpace<'_>, vma: &Vma, out: &mut Vec<Field>) {
    let head = space.bytes_at(vma.start, 64);
    let Some(Head { offset, nr, size, layout }) = header(&head, vma.start, out) else { return };
    if size != layout.header_size() || nr == 0 {
        return;
    }
    let Some(at) = vma.start.checked_add(offset).filter(|at| *at < vma.end) else { return };
    let len = usize::try_from(size.saturating_mul(nr.min(MAX_HEADERS))).unwrap_or_default();
    let bytes = space.bytes_at(at, len);
    for (nr, header) in bytes.chunks_exact(usize::try_from(size).unwrap_or(usize::MAX)).enumerate() {
        let (Some(at), Ok(nr)) = (at.checked_add(nr as u64 * size), u16::try_from(nr)) else { break };
        program_header(header, at, nr, layout, out);
    }
}

/// Word size and byte order of an image: its own, whatever the process has.
#[derive(Clone, Copy, Debug)]
struct Layout {
    word: usize,
    order: ByteOrder,
}

impl Layout {
    fn header_size(self) -> u64 {
        if self.word == 8 { 56 } else { 32 }
    }
}

/// Where program headers are.
struct Head {
    offset: u64,
    nr: u64,
    size: u64,
    layout: Layout,
}

fn header(bytes: &[u8], at: VirtAddr, out: &mut Vec<Field>) -> Option<Head> {
    let (b"\x7fELF", class, data) = (bytes.get(..4)?, *bytes.get(4)?, *bytes.get(5)?) else { return None };
    let layout = Layout {
        word: match class {
            1 => 4,
            2 => 8,
            _ => return None,
        },
        order: match data {
            1 => ByteOrder::Little,
            2 => ByteOrder::Big,
            _ => return None,
        },
    };
    let Layout { word, order } = layout;
    let mut reader = Reader { bytes, at, order, structure: Structure::ElfHeader, offset: 0 };
    reader.field(out, "e_ident: magic", 4, |_| "\\x7fELF".to_owned())?;
    reader.field(out, "e_ident: class", 1, |_| format!("{} bits", word * 8))?;
    reader.field(out, "e_ident: data", 1, |_| {
        if order == ByteOrder::Big { "big endian" } else { "little endian" }.to_owned()
    })?;
    reader.field(out, "e_ident: version", 1, decimal)?;
    reader.field(out, "e_ident: OS ABI", 1, decimal)?;
    reader.field(out, "e_ident: ABI version", 1, decimal)?;
    reader.field(out, "e_ident: padding", 7, hex)?;
    reader.field(out, "e_type", 2, |value| named(value, &TYPES))?;
    reader.field(out, "e_machine", 2, |value| named(value, &MACHINES))?;
    reader.field(out, "e_version", 4, decimal)?;
    reader.field(out, "e_entry", word, hex)?;
    let offset = reader.field(out, "e_phoff", word, hex)?;
    reader.field(out, "e_shoff", word, hex)?;
    reader.field(out, "e_flags", 4, hex)?;
    reader.field(out, "e_ehsize", 2, decimal)?;
    let size = reader.field(out, "e_phentsize", 2, decimal)?;
    let nr = reader.field(out, "e_phnum", 2, decimal)?;
    reader.field(out, "e_shentsize", 2, decimal)?;
    reader.field(out, "e_shnum", 2, decimal)?;
    reader.field(out, "e_shstrndx", 2, decimal)?;
    Some(Head { offset, nr, size, layout })
}

fn program_header(bytes: &[u8], at: VirtAddr, nr: u16, layout: Layout, out: &mut Vec<Field>) -> Option<()> {
    let Layout { word, order } = layout;
    let mut reader = Reader { bytes, at, order, structure: Structure::ProgramHeader(nr), offset: 0 };
    reader.field(out, "p_type", 4, |value| named(value, &SEGMENTS))?;
    if word == 8 {
        reader.field(out, "p_flags", 4, flags)?;
    }
    reader.field(out, "p_offset", word, hex)?;
    reader.field(out, "p_vaddr", word, hex)?;
    reader.field(out, "p_paddr", word, hex)?;
    reader.field(out, "p_filesz", word, hex)?;
    reader.field(out, "p_memsz", word, hex)?;
    if word == 4 {
        reader.field(out, "p_flags", 4, flags)?;
    }
    reader.field(out, "p_align", word, hex)?;
    Some(())
}

const TYPES: [(u64, &str); 5] = [(0, "ET_NONE"), (1, "ET_REL"), (2, "ET_EXEC"), (3, "ET_DYN"), (4, "ET_CORE")];

const MACHINES: [(u64, &str); 9] = [
    (3, "EM_386"),
    (8, "EM_MIPS"),
    (21, "EM_PPC64"),
    (22, "EM_S390"),
    (40, "EM_ARM"),
    (62, "EM_X86_64"),
    (183, "EM_AARCH64"),
    (243, "EM_RISCV"),
    (258, "EM_LOONGARCH"),
];

const SEGMENTS: [(u64, &str); 12] = [
    (0, "PT_NULL"),
    (1, "PT_LOAD"),
    (2, "PT_DYNAMIC"),
    (3, "PT_INTERP"),
    (4, "PT_NOTE"),
    (5, "PT_SHLIB"),
    (6, "PT_PHDR"),
    (7, "PT_TLS"),
    (0x6474_e550, "PT_GNU_EH_FRAME"),
    (0x6474_e551, "PT_GNU_STACK"),
    (0x6474_e552, "PT_GNU_RELRO"),
    (0x6474_e553, "PT_GNU_PROPERTY"),
];

fn named(value: u64, names: &[(u64, &str)]) -> String {
    names.iter().find(|(known, _)| *known == value).map_or_else(|| hex(value), |(_, name)| (*name).to_owned())
}

fn flags(value: u64) -> String {
    let letter = |bit: u64, letter: char| if value & bit == 0 { '-' } else { letter };
    let letters: String = [letter(4, 'r'), letter(2, 'w'), letter(1, 'x')].into_iter().collect();
    if value & !7 == 0 { letters } else { format!("{letters} {value:#x}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(fields: &[Field], name: &str) -> String {
        fields.iter().find(|field| field.name == name).unwrap().value.clone()
    }

    #[test]
    fn header_of_this_program_is_read_in_its_own_words() {
        let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend([3, 0, 62, 0, 1, 0, 0, 0]);
        for word in [0x1060u64, 64, 0x3698] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0, 0, 0, 0, 64, 0, 56, 0, 13, 0, 64, 0, 31, 0, 30, 0]);
        let mut fields = Vec::new();
        let head = header(&bytes, VirtAddr(0x40_0000), &mut fields).unwrap();
        assert_eq!((head.offset, head.nr, head.size), (64, 13, 56));
        assert_eq!((value(&fields, "e_type"), value(&fields, "e_machine")), ("ET_DYN".into(), "EM_X86_64".into()));
        assert_eq!(fields.last().unwrap().range.end, VirtAddr(0x40_0040));
        assert!(fields.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
        for len in 0..64 {
            assert!(header(&bytes[..len], VirtAddr(u64::MAX - 20), &mut Vec::new()).is_none());
        }
    }

    #[test]
    fn flags_are_letters_with_what_they_leave_out() {
        assert_eq!([5, 6, 0].map(flags), ["r-x", "rw-", "---"]);
        assert_eq!(flags(0x8000_0004), "r-- 0x80000004");
    }
}
