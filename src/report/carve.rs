//! Lines of `memory --carve --json`: one object for each image.

use std::ops::Range;

use serde::Serialize;

use crate::base::VirtAddr;
use crate::memory::carve::ElfImage;
use crate::memory::{AddressSpace, Missing};

use super::value::address;

/// One ELF image in memory.
#[derive(Debug, Serialize)]
pub struct CarvedLine {
    pid: u32,
    /// Address of its header.
    vaddr: String,
    /// `loaded` (each segment at its own address) or `file` (as it lies on disk).
    layout: &'static str,
    /// `EXEC` or `DYN`.
    r#type: &'static str,
    class: u32,
    machine: String,
    entry: String,
    /// Of the rebuilt file, without made section headers.
    size_bytes: u64,
    /// Name of the map as /proc/PID/maps has it.
    map: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    map_hex: Option<String>,
    perms: String,
    kind: &'static str,
    /// Where the bytes of the file come from.
    parts: Vec<PartLine>,
    /// What is a hole in the file and not zeros.
    absent: Vec<AbsentLine>,
    absent_bytes: u64,
    /// `memory`, or `made` where there are none in memory and the file has new ones behind its end.
    section_headers: &'static str,
    /// Addresses of the dynamic section that the loader had made absolute, and that are the file's own again.
    dynamic_addresses_undone: usize,
    /// The file that was written.
    file: Option<String>,
    /// Why none was.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_written: Option<String>,
}

#[derive(Debug, Serialize)]
struct PartLine {
    offset: u64,
    length: u64,
    vaddr: String,
    /// `r-x`; `null` for bytes of no segment.
    perms: Option<String>,
}

#[derive(Debug, Serialize)]
struct AbsentLine {
    offset: u64,
    length: u64,
    vaddr: String,
    why: &'static str,
}

impl CarvedLine {
    /// The line of an image, and of the file that was written of it, or why there is none.
    pub fn new(
        space: &AddressSpace<'_>,
        image: &ElfImage<'_>,
        absent: &[(Range<u64>, VirtAddr, Missing)],
        written: Option<Result<String, String>>,
    ) -> CarvedLine {
        let path = &image.vma.path;
        let perms = |flags: u32| {
            let bit = |mask: u32, c: char| if flags & mask == 0 { '-' } else { c };
            [bit(4, 'r'), bit(2, 'w'), bit(1, 'x')].iter().collect()
        };
        let parts = image.parts.iter().map(|part| PartLine {
            offset: part.file.start,
            length: part.file.end - part.file.start,
            vaddr: address(part.addr),
            perms: (part.flags != 0).then(|| perms(part.flags)),
        });
        let (file, not_written) = match written {
            Some(Ok(file)) => (Some(file), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        CarvedLine {
            pid: space.pid().0,
            vaddr: address(image.base),
            layout: image.layout.word(),
            r#type: image.type_word(),
            class: image.class_bits(),
            machine: image.machine(),
            entry: format!("{:#x}", image.entry()),
            size_bytes: image.size_bytes(),
            map: path.to_lossless().into_owned(),
            map_hex: path.hex_if_not_utf8(),
            perms: image.vma.perms(),
            kind: image.vma.kind.word(),
            parts: parts.collect(),
            absent_bytes: absent.iter().map(|(file, ..)| file.end - file.start).fold(0, u64::saturating_add),
            absent: absent
                .iter()
                .map(|(file, addr, why)| AbsentLine {
                    offset: file.start,
                    length: file.end - file.start,
                    vaddr: address(*addr),
                    why: why.word(),
                })
                .collect(),
            section_headers: if image.has_sections { "memory" } else { "made" },
            dynamic_addresses_undone: image.made(space).addresses_undone,
            file,
            not_written,
        }
    }
}
