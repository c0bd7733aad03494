//! What the ELF files say that processes map: build id, segments, symbols, unwind tables.
//!
//! Files come from the evidence or from a base image, and are as hostile as these: whatever does not parse is left out.
//! Sources: System V ABI (ELF); `.note.gnu.build-id` as in the GNU linker's manual.

use std::ops::Range;

use bytes::Bytes;
use object::{Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, SymbolKind};

/// Most symbols of one file.
const MAX_SYMBOLS: usize = 1 << 20;
/// Longest name of a symbol that is kept; mangled ones of C++ come to some thousand.
const MAX_NAME_BYTES: usize = 4096;

/// The GNU build id of an ELF file; `None` when there is none, or it is no ELF file.
pub(crate) fn build_id(file: &[u8]) -> Option<Vec<u8>> {
    object::File::parse(file).ok()?.build_id().ok().flatten().map(<[u8]>::to_vec)
}

/// A function or object of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    /// Address in the file's own numbers.
    pub(super) addr: u64,
    /// 0 where it is not known.
    pub(super) size: u64,
    /// Borrowed: many symbols may share the bytes of one long name.
    pub(super) name: Bytes,
}

/// A section as it lies in the file.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// In the file's own addresses.
    pub(super) range: Range<u64>,
    pub(super) bytes: Bytes,
}

/// A parsed ELF file.
#[derive(Clone, Debug)]
pub(super) struct Elf {
    /// Loaded segments: offset in the file, size there, address.
    segments: Vec<(u64, u64, u64)>,
    /// By address.
    pub(super) symbols: Vec<Symbol>,
    pub(super) text: Option<Section>,
    pub(super) eh_frame: Option<Section>,
    pub(super) eh_frame_hdr: Option<Section>,
}

impl Elf {
    /// `None` for what is no ELF file.
    pub(super) fn parse(content: &Bytes) -> Option<Elf> {
        let file = object::File::parse(&content[..]).ok()?;
        let segments = file.segments().map(|segment| {
            let (offset, size) = segment.file_range();
            (offset, size, segment.address())
        });
        let section = |name: &str| {
            let section = file.section_by_name(name)?;
            let bytes = borrowed(content, section.data().ok()?)?;
            Some(Section { range: section.address()..section.address().checked_add(section.size())?, bytes })
        };
        let is_told = |symbol: &object::Symbol<'_, '_>| {
            let kind = matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data);
            kind && symbol.is_definition() && symbol.address() != 0
        };
        let mut symbols: Vec<Symbol> = file
            .symbols()
            .chain(file.dynamic_symbols())
            .filter(is_told)
            .take(MAX_SYMBOLS)
            .filter_map(|symbol| {
                let name = symbol.name_bytes().ok().filter(|name| !name.is_empty() && name.len() <= MAX_NAME_BYTES)?;
                Some(Symbol { addr: symbol.address(), size: symbol.size(), name: borrowed(content, name)? })
            })
            .collect();
        // Of several names of one address the first in the file's own table stays, as nm lists them.
        symbols.sort_by_key(|symbol| symbol.addr);
        symbols.dedup_by_key(|symbol| symbol.addr);
        Some(Elf {
            segments: segments.collect(),
            symbols,
            text: section(".text"),
            eh_frame: section(".eh_frame"),
            eh_frame_hdr: section(".eh_frame_hdr"),
        })
    }

    /// What to add to the file's own addresses where the byte at `offset` of it is mapped at `addr`.
    pub(super) fn bias(&self, offset: u64, addr: u64) -> Option<u64> {
        let holds = |(start, size, _): &&(u64, u64, u64)| {
            // Maps begin at page borders, before the segment's own first byte.
            let first = start & !0xfff;
            first <= offset && offset < start.saturating_add(*size)
        };
        let (start, _, address) = self.segments.iter().find(holds)?;
        Some(addr.wrapping_sub(address.wrapping_sub(*start).wrapping_add(offset)))
    }

    /// The symbol that holds an address of the file's own, and how far inside of it that is.
    pub(super) fn symbol_at(&self, addr: u64) -> Option<(&Symbol, u64)> {
        let after = self.symbols.partition_point(|symbol| symbol.addr <= addr);
        let symbol = self.symbols.get(after.checked_sub(1)?)?;
        let inside = addr - symbol.addr;
        (symbol.size == 0 || inside < symbol.size).then_some((symbol, inside))
    }

    /// The address of a symbol in the file's own numbers.
    pub(super) fn address_of(&self, name: &str) -> Option<u64> {
        self.symbols.iter().find(|symbol| symbol.name == name.as_bytes()).map(|symbol| symbol.addr)
    }
}

/// A part of the content; `None` for what was copied, as compressed sections are.
fn borrowed(content: &Bytes, part: &[u8]) -> Option<Bytes> {
    let from = part.as_ptr().addr().checked_sub(content.as_ptr().addr())?;
    let until = from.checked_add(part.len()).filter(|until| *until <= content.len())?;
    Some(content.slice(from..until))
}
