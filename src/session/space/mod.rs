//! The address space of a process as a window shows it: rows, expressions, readings, copies, bookmarks.
//!
//! | file | answers |
//! |---|---|
//! | [`rows`] | which row of the scroll is at which address, in O(log n) |
//! | [`address`] | what address `libc+0x1f0` or `rsp-0x20` is |
//! | [`readings`] | what the bytes at an address may mean |
//! | [`cursor`] | moving through rows; pointers |
//! | [`copy`] | bytes as C, Rust, Python, YARA and so on |
//! | [`shape`] | the whole space squeezed into a strip: origins and entropy |
//! | [`code`], [`listing`], [`operands`] | memory as instructions: rows in view, what their words are |
//! | [`stacks`] | where each thread stands, and who called |
//! | [`bookmarks`] | places with a note, kept with the settings |
//!
//! Rows, shape, code and stacks are made by jobs ([`super::ContentKey`]); all else is cheap enough for a frame.

pub mod address;
pub mod bookmarks;
pub mod code;
pub mod copy;
pub mod cursor;
pub mod listing;
pub mod operands;
pub mod readings;
pub mod rows;
pub mod shape;
pub mod stacks;

use crate::base::{ByteOrder, Pid, VirtAddr};
use crate::checkpoint::{Checkpoint, Process, Vma};
use crate::decode::Arch;
use crate::memory::{AddressSpace, Content};

/// Byte order of the machine that was frozen.
pub fn byte_order(checkpoint: &Checkpoint) -> ByteOrder {
    if checkpoint.container.arch == Some(Arch::S390) { ByteOrder::Big } else { ByteOrder::Little }
}

/// Bytes of a pointer of a process: 4 for 32-bit tasks, else 8.
pub fn pointer_len(checkpoint: &Checkpoint, process: &Process) -> u64 {
    let is_compat = process
        .threads
        .first()
        .and_then(|thread| thread.registers.known())
        .is_some_and(|registers| registers.is_compat);
    if is_compat || checkpoint.container.arch == Some(Arch::Arm) { 4 } else { 8 }
}

/// The pointer at an address, when all of its bytes are there.
pub fn pointer_at(space: &AddressSpace<'_>, addr: VirtAddr, len: u64, order: ByteOrder) -> Option<VirtAddr> {
    let bytes = space.bytes_at(addr, usize::try_from(len).ok()?);
    if bytes.len() as u64 != len { None } else { pointer_of(&bytes, order) }
}

/// Bytes of a pointer as an address.
pub fn pointer_of(bytes: &[u8], order: ByteOrder) -> Option<VirtAddr> {
    let value = match bytes.len() {
        4 => {
            let bytes = bytes.try_into().ok()?;
            u64::from(if order == ByteOrder::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
        }
        8 => {
            let bytes = bytes.try_into().ok()?;
            if order == ByteOrder::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
        }
        _ => return None,
    };
    Some(VirtAddr(value))
}

/// `[heap]+0x120`, `libc.so.6+0x1f0` (offset in the file), `anon-private+0x0`: where an address lies, for people.
pub fn name_of(vma: &Vma, addr: VirtAddr) -> String {
    let inside = addr.0.saturating_sub(vma.start.0);
    let name = vma_name(vma);
    match vma.file {
        Some(_) => format!("{name}+{:#x}", vma.pgoff.saturating_add(inside)),
        None => format!("{name}+{inside:#x}"),
    }
}

/// Base name of the path of a vma, or the word of its kind.
pub fn vma_name(vma: &Vma) -> String {
    let label = vma.path.label();
    match label.rsplit('/').next() {
        Some(base) if !base.is_empty() => base.to_owned(),
        _ => vma.kind.word().to_owned(),
    }
}

/// Bytes of a range one by one; `None` where there is none. At most `max`.
pub fn cells(space: &AddressSpace<'_>, range: std::ops::Range<VirtAddr>, max: usize) -> Vec<Option<u8>> {
    let mut out: Vec<Option<u8>> = Vec::new();
    for chunk in space.read(range) {
        let len = usize::try_from(chunk.range.end.0.saturating_sub(chunk.range.start.0)).unwrap_or(usize::MAX);
        let end = out.len().saturating_add(len).min(max);
        match chunk.content {
            Content::Bytes(bytes) => out.extend(bytes.iter().take(end - out.len()).map(|byte| Some(*byte))),
            Content::Zero => out.resize(end, Some(0)),
            Content::Absent(_) => out.resize(end, None),
        }
        if out.len() >= max {
            break;
        }
    }
    out
}

/// Names one address space of an archive, for what views keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpaceId {
    /// Which archive.
    pub archive: super::ArchiveId,
    /// Whose space.
    pub pid: Pid,
}
