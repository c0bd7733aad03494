//! What the ELF files say that processes map: build id, segments, symbols, unwind tables.
//!
//! Files come from the evidence or from a base image, and are as hostile as these: whatever does not parse is left out.
//! Sources: System V ABI (ELF); `.note.gnu.build-id` as in the GNU linker's manual.

use std::ops::Range;

use bytes::Bytes;
use gimli::{BaseAddresses, CallFrameInstruction, CieOrFde, EhFrame, LittleEndian, Operation, UnwindSection as _};
use object::{Architecture, Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, SymbolKind};

/// Most symbols of one file.
const MAX_SYMBOLS: usize = 1 << 20;
/// Longest name of a symbol that is kept; mangled ones of C++ come to some thousand.
const MAX_NAME_BYTES: usize = 4096;

/// Longest entry of unwind tables: they are run for each frame, and those of real functions have some hundred bytes.
const MAX_ENTRY_BYTES: usize = 64 << 10;

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
    /// Unwind tables that [`is_bounded`].
    pub(super) eh_frame: Option<Section>,
    /// What its code is for.
    pub(super) machine: Architecture,
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
            eh_frame: section(".eh_frame").filter(|section| is_bounded(section).is_some()),
            machine: file.architecture(),
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

/// `Some` where following unwind tables ends: they can be read, no entry is very long, and no expression in them turns back.
fn is_bounded(section: &Section) -> Option<()> {
    let mut tables = EhFrame::new(&section.bytes, LittleEndian);
    tables.set_address_size(8);
    let bases = BaseAddresses::default().set_eh_frame(section.range.start);
    let mut entries = tables.entries(&bases);
    while let Some(entry) = entries.next().ok()? {
        let (cie, len, mut instructions) = match entry {
            CieOrFde::Cie(cie) => (cie.clone(), cie.entry_len(), cie.instructions(&tables, &bases)),
            CieOrFde::Fde(fde) => {
                let fde = fde.parse(EhFrame::cie_from_offset).ok()?;
                (fde.cie().clone(), fde.entry_len(), fde.instructions(&tables, &bases))
            }
        };
        if len > MAX_ENTRY_BYTES {
            return None;
        }
        while let Some(instruction) = instructions.next().ok()? {
            let expression = match instruction {
                CallFrameInstruction::DefCfaExpression { expression }
                | CallFrameInstruction::Expression { expression, .. }
                | CallFrameInstruction::ValExpression { expression, .. } => expression,
                _ => continue,
            };
            let mut operations = expression.get(&tables).ok()?.operations(cie.encoding());
            while let Some(operation) = operations.next().ok()? {
                if matches!(operation, Operation::Skip { .. } | Operation::Bra { .. }) {
                    return None;
                }
            }
        }
    }
    Some(())
}

/// A part of the content; `None` for what was copied, as compressed sections are.
fn borrowed(content: &Bytes, part: &[u8]) -> Option<Bytes> {
    let from = part.as_ptr().addr().checked_sub(content.as_ptr().addr())?;
    let until = from.checked_add(part.len()).filter(|until| *until <= content.len())?;
    Some(content.slice(from..until))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unwind tables of one function, whose frame an expression finds.
    fn tables(expression: &[u8], padding: usize) -> Section {
        let mut bytes = Vec::new();
        let mut entry = |head: &[u8], body: &[u8]| {
            bytes.extend(u32::try_from(head.len() + body.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(head);
            bytes.extend_from_slice(body);
        };
        // Version 1, no augmentation, factors 1 and -8, return address in register 16.
        entry(&[0; 4], &[1, 0, 1, 0x78, 16, 0, 0, 0]);
        let mut function = [0x1000u64.to_le_bytes(), 0x100u64.to_le_bytes()].concat();
        function.extend([0x0f, u8::try_from(expression.len()).unwrap()]);
        function.extend_from_slice(expression);
        function.resize(function.len() + padding, 0);
        // The entry before it begins so many bytes before this number.
        entry(&[20, 0, 0, 0], &function);
        Section { range: 0x2000..0x2000 + bytes.len() as u64, bytes: bytes.into() }
    }

    #[test]
    fn unwind_tables_that_do_not_end_are_none() {
        let is_taken = |expression: &[u8], padding| is_bounded(&tables(expression, padding)).is_some();
        // Stack pointer and eight.
        assert!(is_taken(&[0x77, 8], 0) && is_taken(&[0x77, 8], 1000));
        // A jump to itself, and a branch.
        assert!(!is_taken(&[0x2f, 0xfd, 0xff], 0) && !is_taken(&[0x77, 8, 0x28, 0xfd, 0xff], 0));
        assert!(!is_taken(&[0x77, 8], MAX_ENTRY_BYTES));
        assert!(!is_taken(&[0xff], 0), "no operation");
    }
}
