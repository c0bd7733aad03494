//! The headers of an ELF file, in either class and byte order; every number in them may be a lie.

use crate::base::{ByteOrder, Cursor, CursorError};

/// What every ELF file begins with.
pub(super) const MAGIC: [u8; 4] = *b"\x7fELF";
/// Longest file header.
pub(super) const MAX_HEADER_BYTES: usize = 64;
/// Most program headers of a file that is looked at; real ones have about ten.
const MAX_PROGRAM_HEADERS: u16 = 256;

/// The file header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) is_64: bool,
    pub(super) order: ByteOrder,
    pub(super) e_type: u16,
    pub(super) machine: u16,
    pub(super) entry: u64,
    pub(super) phoff: u64,
    pub(super) phnum: u16,
    pub(super) shoff: u64,
    pub(super) shnum: u16,
    pub(super) shstrndx: u16,
}

/// One program header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProgramHeader {
    pub(super) p_type: u32,
    pub(super) flags: u32,
    pub(super) offset: u64,
    pub(super) vaddr: u64,
    pub(super) filesz: u64,
    pub(super) memsz: u64,
}

pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_DYNAMIC: u32 = 2;
pub(super) const PT_INTERP: u32 = 3;

impl Header {
    /// Reads a header of a program or library; `None` for anything else.
    pub(super) fn parse(bytes: &[u8]) -> Option<Header> {
        let (is_64, order) = match bytes {
            [0x7f, b'E', b'L', b'F', class @ (1 | 2), data @ (1 | 2), 1, ..] => {
                (*class == 2, if *data == 2 { ByteOrder::Big } else { ByteOrder::Little })
            }
            _ => return None,
        };
        let mut cursor = Cursor::new(bytes.get(16..)?, order);
        let header = Header::fields(&mut cursor, is_64, order).ok()??;
        let is_program = matches!(header.e_type, 2 | 3) && header.machine != 0;
        let is_sized = (1..=MAX_PROGRAM_HEADERS).contains(&header.phnum);
        (is_program && is_sized && header.phoff >= header.ehdr_bytes()).then_some(header)
    }

    /// `None` where a size in it is not the one of the format.
    fn fields(cursor: &mut Cursor<'_>, is_64: bool, order: ByteOrder) -> Result<Option<Header>, CursorError> {
        let word =
            |cursor: &mut Cursor<'_>| if is_64 { cursor.u64("header") } else { cursor.u32("header").map(u64::from) };
        let (e_type, machine, version) = (cursor.u16("header")?, cursor.u16("header")?, cursor.u32("header")?);
        let (entry, phoff, shoff) = (word(cursor)?, word(cursor)?, word(cursor)?);
        let _flags = cursor.u32("header")?;
        let (ehsize, phentsize, phnum) = (cursor.u16("header")?, cursor.u16("header")?, cursor.u16("header")?);
        let (shentsize, shnum, shstrndx) = (cursor.u16("header")?, cursor.u16("header")?, cursor.u16("header")?);
        let mut header = Header { is_64, order, e_type, machine, entry, phoff, phnum, shoff, shnum, shstrndx };
        let is_right =
            version == 1 && u64::from(ehsize) == header.ehdr_bytes() && u64::from(phentsize) == header.phdr_bytes();
        if u64::from(shentsize) != header.shdr_bytes() {
            // A file without sections may have any size of none.
            (header.shoff, header.shnum) = (0, 0);
        }
        Ok(is_right.then_some(header))
    }

    pub(super) fn ehdr_bytes(&self) -> u64 {
        if self.is_64 { 64 } else { 52 }
    }

    pub(super) fn phdr_bytes(&self) -> u64 {
        if self.is_64 { 56 } else { 32 }
    }

    pub(super) fn shdr_bytes(&self) -> u64 {
        if self.is_64 { 64 } else { 40 }
    }

    /// Bytes of all program headers.
    pub(super) fn phdrs_bytes(&self) -> u64 {
        self.phdr_bytes().saturating_mul(self.phnum.into())
    }

    /// Reads the program headers, as many as `bytes` has.
    pub(super) fn program_headers(&self, bytes: &[u8]) -> Vec<ProgramHeader> {
        let mut cursor = Cursor::new(bytes, self.order);
        let headers = (0..self.phnum).map_while(|_| self.program_header(&mut cursor).ok());
        headers.collect()
    }

    fn program_header(&self, cursor: &mut Cursor<'_>) -> Result<ProgramHeader, CursorError> {
        let what = "program header";
        let p_type = cursor.u32(what)?;
        if self.is_64 {
            let (flags, offset, vaddr) = (cursor.u32(what)?, cursor.u64(what)?, cursor.u64(what)?);
            let (_paddr, filesz, memsz, _align) =
                (cursor.u64(what)?, cursor.u64(what)?, cursor.u64(what)?, cursor.u64(what)?);
            return Ok(ProgramHeader { p_type, flags, offset, vaddr, filesz, memsz });
        }
        let (offset, vaddr, _paddr) = (cursor.u32(what)?, cursor.u32(what)?, cursor.u32(what)?);
        let (filesz, memsz) = (cursor.u32(what)?, cursor.u32(what)?);
        let (flags, _align) = (cursor.u32(what)?, cursor.u32(what)?);
        let wide = u64::from;
        Ok(ProgramHeader {
            p_type,
            flags,
            offset: wide(offset),
            vaddr: wide(vaddr),
            filesz: wide(filesz),
            memsz: wide(memsz),
        })
    }

    /// Type and offset of a section, out of its header.
    pub(super) fn section(&self, bytes: &[u8]) -> Option<(u32, u64)> {
        let mut cursor = Cursor::new(bytes, self.order);
        let word = |cursor: &mut Cursor<'_>| {
            if self.is_64 { cursor.u64("section").ok() } else { cursor.u32("section").ok().map(u64::from) }
        };
        let (_name, sh_type) = (cursor.u32("section").ok()?, cursor.u32("section").ok()?);
        let (_flags, _addr, offset) = (word(&mut cursor)?, word(&mut cursor)?, word(&mut cursor)?);
        Some((sh_type, offset))
    }

    /// Where the header tells of the section headers.
    pub(super) fn shoff_at(&self) -> u64 {
        if self.is_64 { 0x28 } else { 0x20 }
    }

    /// Where `e_shentsize`, `e_shnum`, `e_shstrndx` stand.
    pub(super) fn shentsize_at(&self) -> u64 {
        if self.is_64 { 0x3a } else { 0x2e }
    }
}
