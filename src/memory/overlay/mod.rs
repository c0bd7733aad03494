//! Structures in memory whose fields have names: heads of ELF images, the list of what the dynamic linker has loaded,
//! addresses of sockets.
//!
//! All of it is bytes of the process, which may lie: a value is shown as it stands there, a list that does not end or
//! turns back is cut, and what only might be an address of a socket has to look like one in every byte.
//! Sources: System V ABI (ELF headers); `link.h` of the GNU C library (`r_debug`, `link_map`); `socket.h`, `in.h`,
//! `in6.h` and `un.h` of Linux.

mod elf;
mod linker;
mod socket;

use std::fmt;
use std::ops::Range;

use crate::base::{ByteOrder, Cancelled, Progress, VirtAddr};

use super::AddressSpace;

pub use socket::{SOCKADDR_BYTES, socket_addresses};

/// Most fields of a process.
const MAX_FIELDS: usize = 1 << 18;
/// Longest field in bytes, so that those of a range are found by their starts.
const MAX_FIELD_BYTES: u64 = 256;

/// What a field belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Structure {
    /// `Elf64_Ehdr`, `Elf32_Ehdr`.
    ElfHeader,
    /// `Elf64_Phdr`, `Elf32_Phdr`, counted from 0.
    ProgramHeader(u16),
    /// `r_debug`: where debuggers find the list.
    RDebug,
    /// `link_map`: a loaded file, counted from 0.
    LinkMap(u32),
    /// `sockaddr_in`.
    SockaddrIn,
    /// `sockaddr_in6`.
    SockaddrIn6,
    /// `sockaddr_un`.
    SockaddrUn,
}

impl fmt::Display for Structure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Structure::ElfHeader => f.write_str("ELF header"),
            Structure::ProgramHeader(nr) => write!(f, "program header {nr}"),
            Structure::RDebug => f.write_str("r_debug"),
            Structure::LinkMap(nr) => write!(f, "link_map {nr}"),
            Structure::SockaddrIn => f.write_str("sockaddr_in"),
            Structure::SockaddrIn6 => f.write_str("sockaddr_in6"),
            Structure::SockaddrUn => f.write_str("sockaddr_un"),
        }
    }
}

/// One field of a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its bytes.
    pub range: Range<VirtAddr>,
    /// What it belongs to.
    pub structure: Structure,
    /// As its header calls it.
    pub name: &'static str,
    /// What it says.
    pub value: String,
    /// Where it points.
    pub target: Option<VirtAddr>,
}

/// Fields of a process, by address.
#[derive(Clone, Debug, Default)]
pub struct Fields(Vec<Field>);

impl Fields {
    /// Heads of all images and the list of the dynamic linker. Work for a job.
    ///
    /// # Errors
    /// The job shall stop.
    pub fn of(space: &AddressSpace<'_>, order: ByteOrder, progress: &dyn Progress) -> Result<Fields, Cancelled> {
        let mut fields = heads(space, progress)?;
        linker::fields(space, order, progress, &mut fields)?;
        fields.truncate(MAX_FIELDS);
        Ok(Fields::sorted(fields))
    }

    /// Heads of all images alone. Work for a job.
    ///
    /// # Errors
    /// The job shall stop.
    pub fn of_heads(space: &AddressSpace<'_>, progress: &dyn Progress) -> Result<Fields, Cancelled> {
        let mut fields = heads(space, progress)?;
        fields.truncate(MAX_FIELDS);
        Ok(Fields::sorted(fields))
    }

    /// By address; of fields that overlap the first stays.
    fn sorted(mut fields: Vec<Field>) -> Fields {
        fields.sort_by_key(|field| (field.range.start, field.structure));
        let mut end = VirtAddr(0);
        fields.retain(|field| {
            let is_behind = end <= field.range.start && field.range.start < field.range.end;
            if is_behind {
                end = field.range.end;
            }
            is_behind
        });
        Fields(fields)
    }

    /// Fields that reach into a range, by address.
    pub fn in_range(&self, range: Range<VirtAddr>) -> impl Iterator<Item = &Field> {
        let first = VirtAddr(range.start.0.saturating_sub(MAX_FIELD_BYTES));
        let from = self.0.partition_point(|field| field.range.start < first);
        let until = self.0.partition_point(|field| field.range.start < range.end);
        let some = self.0.get(from..until.max(from)).unwrap_or_default();
        some.iter().filter(move |field| range.start < field.range.end)
    }

    /// All of them.
    pub fn all(&self) -> &[Field] {
        &self.0
    }
}

fn heads(space: &AddressSpace<'_>, progress: &dyn Progress) -> Result<Vec<Field>, Cancelled> {
    let mut fields = Vec::new();
    let vmas = &space.map().vmas;
    for (nr, vma) in vmas.iter().enumerate() {
        if nr % 64 == 0 {
            progress.step(nr as u64, Some(vmas.len() as u64))?;
        }
        if fields.len() < MAX_FIELDS {
            elf::fields_at(space, vma, &mut fields);
        }
    }
    Ok(fields)
}

/// Reads a structure field by field.
struct Reader<'a> {
    bytes: &'a [u8],
    at: VirtAddr,
    order: ByteOrder,
    structure: Structure,
    offset: usize,
}

impl Reader<'_> {
    /// A number of some bytes; `None` behind the end.
    fn number(&mut self, len: usize) -> Option<(u64, Range<VirtAddr>)> {
        let end = self.offset.checked_add(len)?;
        let bytes = self.bytes.get(self.offset..end)?;
        let start = self.at.checked_add(self.offset as u64)?;
        let range = start..start.checked_add(len as u64)?;
        self.offset = end;
        let one = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        let value = match self.order {
            ByteOrder::Big => bytes.iter().fold(0, one),
            ByteOrder::Little => bytes.iter().rev().fold(0, one),
        };
        Some((value, range))
    }

    /// A field that is a number, in words of `show`.
    fn field(
        &mut self,
        out: &mut Vec<Field>,
        name: &'static str,
        len: usize,
        show: impl FnOnce(u64) -> String,
    ) -> Option<u64> {
        let (value, range) = self.number(len)?;
        out.push(Field { range, structure: self.structure, name, value: show(value), target: None });
        Some(value)
    }

    /// A field that is an address of the process.
    fn pointer(&mut self, out: &mut Vec<Field>, name: &'static str, word: usize) -> Option<u64> {
        let (value, range) = self.number(word)?;
        let target = (value != 0).then_some(VirtAddr(value));
        out.push(Field { range, structure: self.structure, name, value: format!("{value:#x}"), target });
        Some(value)
    }
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

fn decimal(value: u64) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(from: u64, to: u64) -> Field {
        let range = VirtAddr(from)..VirtAddr(to);
        Field { range, structure: Structure::ElfHeader, name: "x", value: String::new(), target: None }
    }

    #[test]
    fn fields_are_found_by_any_of_their_bytes_and_do_not_overlap() {
        let fields = Fields::sorted(vec![field(0x20, 0x28), field(0x10, 0x18), field(0x14, 0x1c), field(0x30, 0x30)]);
        let starts = |from, to| -> Vec<u64> {
            fields.in_range(VirtAddr(from)..VirtAddr(to)).map(|field| field.range.start.0).collect()
        };
        assert_eq!(starts(0, 0x100), [0x10, 0x20]);
        assert_eq!(starts(0x17, 0x18), [0x10]);
        assert_eq!(starts(0x18, 0x20), [0; 0]);
        assert_eq!(starts(0x27, 0x28), [0x20]);
    }
}
