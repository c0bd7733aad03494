//! ELF images in memory, and the files that can be rebuilt of them.
//!
//! An image is found by its header, wherever that lies: at the start of a mapped file, in a memfd, in anonymous memory,
//! in the middle of a heap. It lies there in one of two ways ([`Layout`]): as the loader lays it out, each segment at its
//! own address, or as a file that somebody read. The file is rebuilt of the program headers: every byte at the offset
//! that it would have in the file. What is not in the checkpoint is told and stays a hole.
//!
//! - Data is as the program has changed it; relocations are applied. `.bss` is no part of a file.
//! - Section headers are seldom loaded. Where they are not in memory, the header is made to tell of new ones
//!   ([`ElfImage::made`]), so that debuggers and disassemblers find the code and the symbols.
//! - Clean pages of mapped files are not in a checkpoint; with a base image they are. A mapped program whose header is not
//!   there is among [`Carved::headless`].
//!
//! Source: System V ABI (ELF).

mod header;
mod made;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use memchr::memmem::Finder;

use crate::base::{Cancelled, FileId, Progress, VirtAddr};
use crate::checkpoint::Vma;
use crate::checkpoint::memory_map::VmaKind;

use super::search::VmaFilter;
use super::{AddressSpace, Content, Missing, Origin};
use header::{Header, MAGIC, MAX_HEADER_BYTES, PT_DYNAMIC, PT_INTERP, PT_LOAD, ProgramHeader};

pub use made::Made;

/// Largest file that is rebuilt.
pub const MAX_FILE_BYTES: u64 = 4 << 30;
/// Most images of one process.
const MAX_IMAGES: usize = 4096;
/// Most places that are looked at for a header.
const MAX_LOOKS: usize = 1 << 18;
/// Most stretches that are listed as missing of one image; real ones have some dozen.
pub const MAX_ABSENT: usize = 10_000;
/// Between two looks at Ctrl+C.
const STEP_BYTES: usize = 16 << 20;

/// How an image lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Segments at their own addresses, as the loader puts them.
    Loaded,
    /// The bytes of the file one behind the other.
    File,
}

impl Layout {
    /// For programs.
    pub fn word(self) -> &'static str {
        match self {
            Layout::Loaded => "loaded",
            Layout::File => "file",
        }
    }
}

/// A part of the rebuilt file, and where its bytes lie in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Offsets in the file.
    pub file: Range<u64>,
    /// Of the first byte.
    pub addr: VirtAddr,
    /// `PF_` bits: 4 read, 2 write, 1 execute. 0 for what no segment has.
    pub flags: u32,
}

/// An ELF image in memory.
#[derive(Clone, Debug)]
pub struct ElfImage<'a> {
    /// Where its header lies.
    pub base: VirtAddr,
    /// The vma that the header lies in.
    pub vma: &'a Vma,
    /// How it lies there.
    pub layout: Layout,
    /// Ascending by offset, not overlapping.
    pub parts: Vec<Part>,
    /// Whether the section headers are in memory as well.
    pub has_sections: bool,
    header: Header,
    segments: Vec<ProgramHeader>,
    dynamic: Option<ProgramHeader>,
}

/// What was found in a space.
#[derive(Clone, Debug, Default)]
pub struct Carved<'a> {
    /// By address.
    pub images: Vec<ElfImage<'a>>,
    /// Maps of files whose code is mapped and whose header is not in the checkpoint.
    pub headless: Vec<&'a Vma>,
    /// Whether all places were looked at that begin like a header.
    pub is_whole: bool,
}

/// Looks through the maps of a filter for images.
///
/// # Errors
/// Cancel.
pub fn find_images<'a>(
    space: &AddressSpace<'a>,
    filter: &VmaFilter,
    progress: &dyn Progress,
) -> Result<Carved<'a>, Cancelled> {
    progress.stage("looking for programs");
    let mut carved = Carved { is_whole: true, ..Carved::default() };
    let mut looks = 0;
    let limits = filter.range.clone().unwrap_or(VirtAddr(0)..VirtAddr(u64::MAX));
    for vma in space.map().vmas.iter().filter(|vma| filter.has(vma)) {
        let range = vma.start.max(limits.start)..vma.end.min(limits.end);
        magics(space, range, progress, &mut |addr| {
            looks += 1;
            if looks > MAX_LOOKS || carved.images.len() >= MAX_IMAGES {
                carved.is_whole = false;
                return;
            }
            if let Some(image) = ElfImage::at(space, vma, addr).filter(|image| !is_again(&carved.images, image)) {
                carved.images.push(image);
            }
        })?;
    }
    let mut firsts: HashMap<FileId, &Vma> = HashMap::new();
    for vma in &space.map().vmas {
        if let Some(file) = vma.file {
            firsts.entry(file).or_insert(vma);
        }
    }
    let mut known: HashSet<FileId> = carved.images.iter().filter_map(|image| image.vma.file).collect();
    for vma in space.map().vmas.iter().filter(|vma| filter.has(vma) && vma.prot & 4 != 0) {
        progress.step(0, None)?;
        let Some(first) = vma.file.filter(|file| known.insert(*file)).and_then(|file| firsts.get(&file)) else {
            continue;
        };
        let origin = space.segment_at(first.start).map(|segment| segment.origin);
        if matches!(origin, Some(Origin::Absent(_))) && carved.headless.len() < MAX_IMAGES {
            carved.headless.push(first);
        }
    }
    Ok(carved)
}

/// Addresses of everything that begins as an ELF file does.
fn magics(
    space: &AddressSpace<'_>,
    range: Range<VirtAddr>,
    progress: &dyn Progress,
    found: &mut dyn FnMut(VirtAddr),
) -> Result<(), Cancelled> {
    let finder = Finder::new(&MAGIC);
    // The last bytes before the next piece, as long as nothing stands between.
    let mut seam: Vec<u8> = Vec::new();
    let mut end_of_last = range.start;
    for chunk in space.read(range) {
        progress.step(0, None)?;
        let Content::Bytes(bytes) = chunk.content else { continue };
        if chunk.range.start != end_of_last {
            seam.clear();
        }
        end_of_last = chunk.range.end;
        let before = seam.len() as u64;
        seam.extend_from_slice(bytes.get(..MAGIC.len() - 1).unwrap_or(&bytes));
        for at in finder.find_iter(&seam).filter(|at| (*at as u64) < before) {
            found(VirtAddr(chunk.range.start.0 - before + at as u64));
        }
        for from in (0..bytes.len()).step_by(STEP_BYTES) {
            progress.step(0, None)?;
            let to = bytes.len().min(from.saturating_add(STEP_BYTES + MAGIC.len() - 1));
            for at in finder.find_iter(bytes.get(from..to).unwrap_or_default()) {
                found(VirtAddr(chunk.range.start.0.saturating_add((from + at) as u64)));
            }
        }
        seam.drain(..seam.len().saturating_sub(MAGIC.len() - 1));
        if bytes.len() >= MAGIC.len() - 1 {
            seam = bytes.get(bytes.len() - (MAGIC.len() - 1)..).unwrap_or_default().to_vec();
        }
    }
    Ok(())
}

/// Whether the start of a mapped file shows once more, as it does where a small file's data lies on its first page.
fn is_again(images: &[ElfImage<'_>], image: &ElfImage<'_>) -> bool {
    let is_start = image.vma.pgoff == 0 && image.vma.start == image.base;
    let same = |other: &&ElfImage<'_>| {
        let is_of_same = image.vma.file.is_some() && other.vma.file == image.vma.file;
        is_of_same && other.parts.iter().any(|part| part.addr <= image.base && image.base < end(part))
    };
    is_start && images.iter().rev().take(64).any(|other| same(&other))
}

fn end(part: &Part) -> VirtAddr {
    VirtAddr(part.addr.0.saturating_add(part.file.end - part.file.start))
}

impl<'a> ElfImage<'a> {
    /// The image whose header lies at an address; `None` where there is none.
    fn at(space: &AddressSpace<'a>, vma: &'a Vma, base: VirtAddr) -> Option<ElfImage<'a>> {
        let header = Header::parse(&space.bytes_at(base, MAX_HEADER_BYTES))?;
        let phdrs_at = base.checked_add(header.phoff)?;
        let phdrs = space.bytes_at(phdrs_at, usize::try_from(header.phdrs_bytes()).ok()?);
        let headers = header.program_headers(&phdrs);
        if headers.len() != usize::from(header.phnum) {
            return None;
        }
        let dynamic = headers.iter().find(|it| it.p_type == PT_DYNAMIC).copied();
        let mut segments: Vec<ProgramHeader> =
            headers.iter().copied().filter(|it| it.p_type == PT_LOAD && it.filesz != 0).collect();
        segments.sort_by_key(|it| (it.offset, it.vaddr));
        let is_possible = |it: &ProgramHeader| {
            let ends = it.offset.checked_add(it.filesz).is_some_and(|end| end <= MAX_FILE_BYTES);
            ends && it.filesz <= it.memsz && it.vaddr.checked_add(it.memsz).is_some()
        };
        if segments.is_empty() || !segments.iter().all(is_possible) {
            return None;
        }
        let has_sections = has_sections(space, base, &header);
        let layout = layout(space, vma, base, &header, &headers, &segments, has_sections)?;
        let mut image =
            ElfImage { base, vma, layout, parts: Vec::new(), has_sections: false, header, segments, dynamic };
        match layout {
            Layout::Loaded => image.lay_out_loaded()?,
            Layout::File => image.lay_out_file(has_sections)?,
        }
        Some(image)
    }

    fn lay_out_loaded(&mut self) -> Option<()> {
        let bias = bias(self.base, &self.segments)?;
        let first = self.segments.first()?.offset;
        // A header that no segment has is still where it was found.
        if first > 0 {
            let len =
                first.min(self.header.ehdr_bytes().max(self.header.phoff.saturating_add(self.header.phdrs_bytes())));
            self.parts.push(Part { file: 0..len, addr: self.base, flags: 0 });
        }
        for segment in &self.segments {
            let end_of_last = self.parts.last().map_or(0, |part| part.file.end);
            let file = segment.offset.max(end_of_last)..segment.offset.checked_add(segment.filesz)?;
            if file.start < file.end {
                let addr = segment.vaddr.wrapping_add(bias).checked_add(file.start - segment.offset)?;
                self.parts.push(Part { file, addr: VirtAddr(addr), flags: segment.flags & 7 });
            }
        }
        Some(())
    }

    fn lay_out_file(&mut self, has_sections: bool) -> Option<()> {
        let header = &self.header;
        let mut size = self.segments.iter().filter_map(|it| it.offset.checked_add(it.filesz)).max()?;
        size = size.max(header.phoff.checked_add(header.phdrs_bytes())?);
        if has_sections {
            size = size.max(header.shoff.checked_add(header.shdr_bytes().checked_mul(header.shnum.into())?)?);
        }
        self.base.checked_add(size).filter(|_| size <= MAX_FILE_BYTES)?;
        self.has_sections = has_sections;
        self.parts.push(Part { file: 0..size, addr: self.base, flags: 0 });
        Some(())
    }

    /// Last part of the path of the map that it lies in; `None` in memory without a name.
    pub fn name(&self) -> Option<String> {
        let label = self.vma.path.label();
        let label = label.strip_suffix(" (deleted)").unwrap_or(&label);
        let name = label.rsplit('/').next().unwrap_or(label).trim_matches(['[', ']']).to_owned();
        Some(name).filter(|name| !name.is_empty())
    }

    /// Whether a mapped file, or an object that has a name, is behind the header.
    pub fn is_mapped_file(&self) -> bool {
        matches!(self.vma.kind, VmaKind::FilePrivate | VmaKind::FileShared)
    }

    /// `EXEC` or `DYN` (a library, or a program that runs at any address), as readelf has it.
    pub fn type_word(&self) -> &'static str {
        if self.header.e_type == 2 { "EXEC" } else { "DYN" }
    }

    /// 32 or 64.
    pub fn class_bits(&self) -> u32 {
        if self.header.is_64 { 64 } else { 32 }
    }

    /// Name of the machine, where it is one that CRIU knows, or its number.
    pub fn machine(&self) -> String {
        let name = match self.header.machine {
            3 => "i386",
            8 => "mips",
            21 => "ppc64",
            22 => "s390",
            40 => "arm",
            62 => "x86-64",
            183 => "aarch64",
            243 => "riscv",
            258 => "loongarch",
            other => return format!("machine {other}"),
        };
        name.into()
    }

    /// Address of the first instruction, in memory for a loaded image and in the file's own addresses otherwise.
    pub fn entry(&self) -> u64 {
        match self.layout {
            Layout::Loaded => bias(self.base, &self.segments).map_or(0, |bias| self.header.entry.wrapping_add(bias)),
            Layout::File => self.header.entry,
        }
    }

    /// Size of the rebuilt file in bytes, without what is [made](ElfImage::made) behind its end.
    pub fn size_bytes(&self) -> u64 {
        self.parts.last().map_or(0, |part| part.file.end)
    }

    /// The content of the file in ascending order: offset, length, and what is there.
    pub fn content(&self, space: &AddressSpace<'_>) -> impl Iterator<Item = (Range<u64>, Content)> {
        self.parts.iter().flat_map(move |part| {
            let addr = part.addr.0;
            space.read(part.addr..end(part)).map(move |chunk| {
                let offset = |at: VirtAddr| part.file.start.saturating_add(at.0.saturating_sub(addr));
                (offset(chunk.range.start)..offset(chunk.range.end), chunk.content)
            })
        })
    }

    /// What is not in the checkpoint: offsets in the file, address, and why. Neighbours are one; at most [`MAX_ABSENT`].
    pub fn absent(&self, space: &AddressSpace<'_>) -> Vec<(Range<u64>, VirtAddr, Missing)> {
        let mut absent: Vec<(Range<u64>, VirtAddr, Missing)> = Vec::new();
        for part in &self.parts {
            for (range, stored) in space.stored(part.addr..end(part)) {
                let super::Stored::Absent(why) = stored else { continue };
                let offset = |at: VirtAddr| part.file.start.saturating_add(at.0.saturating_sub(part.addr.0));
                let file = offset(range.start)..offset(range.end);
                let is_full = absent.len() >= MAX_ABSENT;
                match absent.last_mut() {
                    Some((last, addr, reason))
                        if last.end == file.start
                            && *reason == why
                            && addr.0.saturating_add(last.end - last.start) == range.start.0 =>
                    {
                        last.end = file.end;
                    }
                    _ if is_full => return absent,
                    _ => absent.push((file, range.start, why)),
                }
            }
        }
        absent
    }
}

/// What to add to the addresses of the program headers, where the file's first byte lies at `base`.
fn bias(base: VirtAddr, segments: &[ProgramHeader]) -> Option<u64> {
    let first = segments.first()?;
    Some(base.0.wrapping_sub(first.vaddr.wrapping_sub(first.offset)))
}

/// Whether the section headers lie where they would in a file: the first is empty, and their names are a table of strings.
fn has_sections(space: &AddressSpace<'_>, base: VirtAddr, header: &Header) -> bool {
    let section = |nr: u16| {
        let at = header.shoff.checked_add(u64::from(nr).checked_mul(header.shdr_bytes())?)?;
        let bytes = space.bytes_at(base.checked_add(at)?, usize::try_from(header.shdr_bytes()).ok()?);
        header.section(&bytes)
    };
    header.shoff >= header.ehdr_bytes()
        && header.shstrndx < header.shnum
        && section(0).is_some_and(|(sh_type, _)| sh_type == 0)
        && section(header.shstrndx).is_some_and(|(sh_type, offset)| sh_type == 3 && offset <= MAX_FILE_BYTES)
}

/// How an image lies there; `None` for a header that its program is not behind, as the loader leaves some on the stack.
fn layout(
    space: &AddressSpace<'_>,
    vma: &Vma,
    base: VirtAddr,
    header: &Header,
    headers: &[ProgramHeader],
    segments: &[ProgramHeader],
    has_sections: bool,
) -> Option<Layout> {
    let bias = bias(base, segments)?;
    let loaded_at = |segment: &ProgramHeader| VirtAddr(segment.vaddr.wrapping_add(bias));
    let is_loadable = space.page_size().is_aligned(base.0) && segments.iter().all(|segment| loaded_at(segment) >= base);
    // The loader maps each segment from the same file.
    let is_of_file = |segment: &ProgramHeader| {
        let at = loaded_at(segment);
        space.map().vma_at(at).is_some_and(|other| {
            let is_same =
                (vma.file.is_some() && other.file == vma.file) || (vma.shmid.is_some() && other.shmid == vma.shmid);
            is_same && other.pgoff.saturating_add(at.0 - other.start.0) == segment.offset
        })
    };
    let has_file = (vma.file.is_some() || vma.shmid.is_some()) && vma.pgoff == 0;
    if is_loadable && has_file && segments.iter().all(is_of_file) {
        let is_one_map = has_sections && base.0.wrapping_add(header.shoff) < vma.end.0;
        return Some(if is_one_map { Layout::File } else { Layout::Loaded });
    }
    if has_sections {
        return Some(Layout::File);
    }
    let is_loadable = is_loadable
        // The addresses of a program of fixed ones are where they must be.
        && (header.e_type != 2 || bias == 0)
        && segments.iter().all(|segment| space.map().vma_at(loaded_at(segment)).is_some());
    let loaded =
        if is_loadable { is_consistent(space, headers, |header| header.vaddr.wrapping_add(bias)) } else { Some(false) };
    let is_exec_there = |segment: &ProgramHeader| {
        segment.flags & 1 == 0 || space.map().vma_at(loaded_at(segment)).is_some_and(|vma| vma.prot & 4 != 0)
    };
    if loaded != Some(false) && segments.iter().all(is_exec_there) {
        return Some(Layout::Loaded);
    }
    let size = segments.iter().map(|it| it.offset.saturating_add(it.filesz)).max()?;
    let is_in_one = base.checked_add(size).is_some_and(|end| end <= vma.end);
    let file = || is_consistent(space, headers, |header| base.0.wrapping_add(header.offset));
    if is_in_one && file() != Some(false) {
        return Some(Layout::File);
    }
    // Put there by hand, and not made executable yet, or not any more.
    (loaded == Some(true)).then_some(Layout::Loaded)
}

/// Whether what stands at a place is what the program headers say: the path of a loader, tags of a dynamic section.
/// `None` where there is nothing to compare; what is not in the checkpoint is no contradiction.
fn is_consistent(
    space: &AddressSpace<'_>,
    headers: &[ProgramHeader],
    place: impl Fn(&ProgramHeader) -> u64,
) -> Option<bool> {
    let compared = headers.iter().filter_map(|header| {
        let start = space.bytes_at(VirtAddr(place(header)), 8);
        match (header.p_type, &start[..]) {
            (PT_INTERP, [first, ..]) => Some(*first == b'/'),
            // Tags are small, or of the ranges of the system and the processor; the first is never the last.
            (PT_DYNAMIC, bytes) => {
                let wide = *bytes.first_chunk::<8>()?;
                let low = *bytes.first_chunk::<4>()?;
                let of_32 = [u32::from_le_bytes(low), u32::from_be_bytes(low)].map(u64::from);
                let of_64 = [u64::from_le_bytes(wide), u64::from_be_bytes(wide)];
                let is_tag = |tag: &u64| matches!(tag, 1..0x100 | 0x6000_0000..0x8000_0000);
                Some(of_32.iter().chain(&of_64).any(is_tag))
            }
            _ => None,
        }
    });
    compared.reduce(|all, one| all && one)
}
