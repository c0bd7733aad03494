//! The address space of a process: vmas and how many of their pages are in the dump.

use std::ops::Range;

use bytes::Bytes;

use crate::base::{FileId, Text, VirtAddr};

use super::pages::Pagemap;

/// What `mm-PID.img` and `pagemap-PID.img` say.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    /// Sorted, not overlapping; guard regions are in `guards`.
    pub vmas: Vec<Vma>,
    /// Guard regions (CRIU 4.2): accesses fault.
    pub guards: Vec<Range<VirtAddr>>,
    /// Runs of pages of this process.
    pub pagemap: Pagemap,
    /// Program text.
    pub code: Range<VirtAddr>,
    /// Initialised data.
    pub data: Range<VirtAddr>,
    /// Heap.
    pub brk: Range<VirtAddr>,
    /// Bottom of the first thread's stack.
    pub start_stack: VirtAddr,
    /// Arguments.
    pub args: Range<VirtAddr>,
    /// Environment.
    pub env: Range<VirtAddr>,
    /// Auxiliary vector: key and value.
    pub auxv: Vec<(u64, u64)>,
    /// `/proc/PID` dumpable state.
    pub dumpable: Option<i32>,
}

/// What kind of memory a vma is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VmaKind {
    /// `[heap]`.
    Heap,
    /// Stack of the first thread.
    Stack,
    /// Anonymous, private.
    AnonPrivate,
    /// Anonymous, shared.
    AnonShared,
    /// A file, copied on write.
    FilePrivate,
    /// A file, shared.
    FileShared,
    /// A memfd.
    Memfd,
    /// System V shared memory.
    Sysv,
    /// `[vdso]`.
    Vdso,
    /// `[vvar]`.
    Vvar,
    /// `[vsyscall]`.
    Vsyscall,
    /// Ring of a packet socket.
    Socket,
    /// Ring of asynchronous IO.
    AioRing,
    /// Shadow stack.
    ShadowStack,
    /// `[uprobes]`.
    Uprobes,
    /// Memory of a device, kept by a plugin.
    Device,
    /// None of these.
    Other,
}

impl VmaKind {
    /// The word of the JSON and of `--kind`.
    pub fn word(self) -> &'static str {
        match self {
            VmaKind::Heap => "heap",
            VmaKind::Stack => "stack",
            VmaKind::AnonPrivate => "anon-private",
            VmaKind::AnonShared => "anon-shared",
            VmaKind::FilePrivate => "file-private",
            VmaKind::FileShared => "file-shared",
            VmaKind::Memfd => "memfd",
            VmaKind::Sysv => "sysv",
            VmaKind::Vdso => "vdso",
            VmaKind::Vvar => "vvar",
            VmaKind::Vsyscall => "vsyscall",
            VmaKind::Socket => "socket",
            VmaKind::AioRing => "aio-ring",
            VmaKind::ShadowStack => "shadow-stack",
            VmaKind::Uprobes => "uprobes",
            VmaKind::Device => "device",
            VmaKind::Other => "other",
        }
    }
}

/// One virtual memory area, half-open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vma {
    /// First address.
    pub start: VirtAddr,
    /// One past the last.
    pub end: VirtAddr,
    /// `PROT_` bits.
    pub prot: u32,
    /// `MAP_` bits, in the numbers of the dump's architecture.
    pub flags: u32,
    /// `VMA_` status bits of CRIU.
    pub status: u32,
    /// `MADV_` bits: bit N for advice N.
    pub madv: u64,
    /// Offset of `start` in the file or object, in bytes.
    pub pgoff: u64,
    /// Shared or private.
    pub is_shared: bool,
    /// What kind of memory it is.
    pub kind: VmaKind,
    /// As `/proc/PID/maps` shows it: a path, `[heap]`, or empty.
    pub path: Text,
    /// The mapped file, if any.
    pub file: Option<FileId>,
    /// Id of the shared-memory object that holds the pages, if any.
    pub shmid: Option<u64>,
    /// Build id of the mapped file, where recorded.
    pub build_id: Option<Bytes>,
    /// How its pages stand.
    pub pages: PageCounts,
}

/// Pages of a vma, by where their content is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageCounts {
    /// All.
    pub total: u64,
    /// In this dump, in the process's own pages file.
    pub dumped: u64,
    /// In this dump, in the pages file of a shared object.
    pub shared: u64,
    /// In a parent dump.
    pub parent: u64,
    /// Left to a lazy server: not in the dump.
    pub lazy: u64,
}

impl Vma {
    /// `rw-p`, as in /proc/PID/maps.
    pub fn perms(&self) -> String {
        let bit = |mask: u32, c: char| if self.prot & mask == 0 { '-' } else { c };
        [bit(1, 'r'), bit(2, 'w'), bit(4, 'x'), if self.is_shared { 's' } else { 'p' }].iter().collect()
    }

    /// Size in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }
}
