//! What a rebuilt file has that was not in memory, so that tools find their way in it.
//!
//! - Section headers: one for each segment, and for the tables that dynamic symbols lie in.
//! - Addresses of the dynamic section, which the loader has made absolute, are the file's own again.

use std::ops::Range;

use crate::base::{ByteOrder, Cursor};

use super::super::AddressSpace;
use super::header::Header;
use super::{ElfImage, Layout, bias};

/// Most bytes of a dynamic section; real ones have some hundred.
const MAX_DYNAMIC_BYTES: u64 = 64 << 10;
/// Tags whose value is an address.
const ADDRESSES: [u64; 16] =
    [DT_STRTAB, DT_SYMTAB, 3, 4, 7, 12, 13, 17, 23, 25, 26, 32, 0x6fff_fef5, 0x6fff_fff0, 0x6fff_fffc, 0x6fff_fffe];
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_STRSZ: u64 = 10;

/// Bytes that were not in memory, by their offset in the file, in the order in which they are to be written.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Offset and bytes.
    pub bytes: Vec<(u64, Vec<u8>)>,
    /// Addresses of the dynamic section that are the file's own again.
    pub addresses_undone: usize,
}

/// The dynamic section.
struct Dynamic {
    file: Range<u64>,
    vaddr: u64,
    /// Offset in the file of each value, tag, value in the file's own addresses.
    entries: Vec<(u64, u64, u64)>,
    undone: Vec<(u64, u64)>,
}

impl ElfImage<'_> {
    /// What has to be written over and behind the content. Nothing where the section headers are in memory.
    pub fn made(&self, space: &AddressSpace<'_>) -> Made {
        let mut made = Made::default();
        if self.has_sections {
            return made;
        }
        let dynamic = self.dynamic(space);
        for (offset, value) in dynamic.iter().flat_map(|dynamic| &dynamic.undone) {
            let mut bytes = Table::of(&self.header);
            bytes.word(*value);
            made.bytes.push((*offset, bytes.bytes));
            made.addresses_undone += 1;
        }
        self.make_sections(dynamic.as_ref(), &mut made);
        made
    }

    fn make_sections(&self, dynamic: Option<&Dynamic>, made: &mut Made) {
        let header = &self.header;
        let mut sections = Sections { names: b"\0".to_vec(), table: Table::of(header), nr: 1 };
        sections.table.entry(&Entry::default());
        for (nr, segment) in self.segments.iter().enumerate() {
            // SHF_WRITE 1, SHF_ALLOC 2, SHF_EXECINSTR 4.
            let flags = 2 | u64::from(segment.flags & 2 != 0) | u64::from(segment.flags & 1) << 2;
            let file = segment.offset..segment.offset.saturating_add(segment.filesz);
            let entry = Entry { sh_type: 1, flags, addr: segment.vaddr, file, align: 1, ..Entry::default() };
            sections.add(&format!(".segment{nr}"), &entry);
        }
        if let Some(dynamic) = dynamic {
            let word = if header.is_64 { 8 } else { 4 };
            let value = |wanted: u64| dynamic.entries.iter().find(|(_, tag, _)| *tag == wanted).map(|it| it.2);
            let strings =
                value(DT_STRTAB).zip(value(DT_STRSZ)).and_then(|(at, len)| Some((at, self.in_file(at, len)?)));
            let strtab = strings.as_ref().map_or(0, |_| sections.nr);
            if let Some((addr, file)) = &strings {
                let entry =
                    Entry { sh_type: 3, flags: 2, addr: *addr, file: file.clone(), align: 1, ..Entry::default() };
                sections.add(".dynstr", &entry);
                // Linkers put the strings right behind the symbols; nothing else tells how many these are.
                let size = if header.is_64 { 24 } else { 16 };
                let symbols = value(DT_SYMTAB).and_then(|at| Some((at, addr.checked_sub(at)? / size * size)));
                if let Some((addr, file)) = symbols.and_then(|(at, len)| Some((at, self.in_file(at, len)?))) {
                    let (link, info) = (strtab, 1);
                    let entry = Entry { sh_type: 11, flags: 2, addr, file, link, info, align: word, size };
                    sections.add(".dynsym", &entry);
                }
            }
            let (addr, file) = (dynamic.vaddr, dynamic.file.clone());
            let entry = Entry { sh_type: 6, flags: 3, addr, file, link: strtab, info: 0, align: word, size: 2 * word };
            sections.add(".dynamic", &entry);
        }
        let names_at = self.size_bytes().next_multiple_of(8);
        let names_end = names_at.saturating_add(sections.names.len() as u64).saturating_add(10);
        let names = sections.nr;
        sections.add(".shstrtab", &Entry { sh_type: 3, file: names_at..names_end, align: 1, ..Entry::default() });
        let shoff = names_end.next_multiple_of(8);
        let (mut first, mut sizes) = (Table::of(header), Table::of(header));
        first.word(shoff);
        let half = |value: u64| u16::try_from(value).unwrap_or(0);
        [half(header.shdr_bytes()), half(sections.nr.into()), half(names.into())]
            .into_iter()
            .for_each(|it| sizes.half(it));
        made.bytes.push((header.shoff_at(), first.bytes));
        made.bytes.push((header.shentsize_at(), sizes.bytes));
        made.bytes.push((names_at, sections.names));
        made.bytes.push((shoff, sections.table.bytes));
    }

    /// Offsets in the file of a range of its own addresses, where one segment has all of it.
    fn in_file(&self, addr: u64, len: u64) -> Option<Range<u64>> {
        let end = addr.checked_add(len).filter(|_| len > 0)?;
        let holds = |vaddr: u64, size: u64| vaddr <= addr && end <= vaddr.saturating_add(size);
        let segment = self.segments.iter().find(|segment| holds(segment.vaddr, segment.filesz))?;
        let start = segment.offset.checked_add(addr - segment.vaddr)?;
        Some(start..start.checked_add(len)?)
    }

    fn dynamic(&self, space: &AddressSpace<'_>) -> Option<Dynamic> {
        let header = self.dynamic.filter(|header| header.filesz <= MAX_DYNAMIC_BYTES)?;
        let file = header.offset..header.offset.checked_add(header.filesz)?;
        let part = self.parts.iter().find(|part| part.file.start <= file.start && file.end <= part.file.end)?;
        let addr = part.addr.checked_add(file.start - part.file.start)?;
        let bytes = space.bytes_at(addr, usize::try_from(header.filesz).ok()?);
        let mut cursor = Cursor::new(&bytes, self.header.order);
        let is_64 = self.header.is_64;
        let mut next = || -> Option<(u64, u64, u64)> {
            let mut word = || if is_64 { cursor.u64("tag").ok() } else { cursor.u32("tag").ok().map(u64::from) };
            let (tag, value) = (word()?, word()?);
            let at = cursor.offset().checked_sub(if is_64 { 8 } else { 4 })?;
            (tag != 0).then_some((file.start.checked_add(at)?, tag, value))
        };
        let mut entries: Vec<_> = std::iter::from_fn(&mut next).collect();
        let mut undone = Vec::new();
        let bias = bias(self.base, &self.segments).filter(|bias| self.layout == Layout::Loaded && *bias != 0);
        for (at, tag, value) in entries.iter_mut().filter(|(_, tag, _)| ADDRESSES.contains(tag)) {
            let _ = tag;
            let Some(own) = bias.map(|bias| value.wrapping_sub(bias)) else { continue };
            // Some loaders and some tags leave the value as it was.
            let is_in = |addr: u64| self.segments.iter().any(|it| it.vaddr <= addr && addr - it.vaddr <= it.memsz);
            if is_in(own) && !is_in(*value) {
                *value = own;
                undone.push((*at, own));
            }
        }
        Some(Dynamic { file, vaddr: header.vaddr, entries, undone })
    }
}

/// Section headers in the making.
struct Sections {
    names: Vec<u8>,
    table: Table,
    nr: u32,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    sh_type: u32,
    flags: u64,
    addr: u64,
    file: Range<u64>,
    link: u32,
    info: u32,
    align: u64,
    /// Of what lies in it.
    size: u64,
}

impl Sections {
    fn add(&mut self, name: &str, entry: &Entry) {
        let at = u32::try_from(self.names.len()).unwrap_or(0);
        self.names.extend_from_slice(name.as_bytes());
        self.names.push(0);
        self.table.named(at, entry);
        self.nr += 1;
    }
}

/// Numbers in the class and byte order of the image.
struct Table {
    is_64: bool,
    order: ByteOrder,
    bytes: Vec<u8>,
}

impl Table {
    fn of(header: &Header) -> Table {
        Table { is_64: header.is_64, order: header.order, bytes: Vec::new() }
    }

    fn push<const N: usize>(&mut self, little: [u8; N]) {
        match self.order {
            ByteOrder::Little => self.bytes.extend_from_slice(&little),
            ByteOrder::Big => self.bytes.extend(little.iter().rev()),
        }
    }

    fn half(&mut self, value: u16) {
        self.push(value.to_le_bytes());
    }

    fn int(&mut self, value: u32) {
        self.push(value.to_le_bytes());
    }

    fn word(&mut self, value: u64) {
        match self.is_64 {
            true => self.push(value.to_le_bytes()),
            // What is in a 32-bit file fits.
            false => self.int(u32::try_from(value).unwrap_or(u32::MAX)),
        }
    }

    fn entry(&mut self, entry: &Entry) {
        self.named(0, entry);
    }

    fn named(&mut self, name: u32, entry: &Entry) {
        self.int(name);
        self.int(entry.sh_type);
        for value in [entry.flags, entry.addr, entry.file.start, entry.file.end.saturating_sub(entry.file.start)] {
            self.word(value);
        }
        self.int(entry.link);
        self.int(entry.info);
        self.word(entry.align);
        self.word(entry.size);
    }
}
