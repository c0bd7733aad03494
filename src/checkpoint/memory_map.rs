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
    /// All kinds.
    pub const ALL: [VmaKind; 17] = [
        VmaKind::Heap,
        VmaKind::Stack,
        VmaKind::AnonPrivate,
        VmaKind::AnonShared,
        VmaKind::FilePrivate,
        VmaKind::FileShared,
        VmaKind::Memfd,
        VmaKind::Sysv,
        VmaKind::Vdso,
        VmaKind::Vvar,
        VmaKind::Vsyscall,
        VmaKind::Socket,
        VmaKind::AioRing,
        VmaKind::ShadowStack,
        VmaKind::Uprobes,
        VmaKind::Device,
        VmaKind::Other,
    ];

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
    /// In this dump, in the pages file of a shared object, and in none of the process's own.
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

use std::collections::BTreeMap;

use crate::base::{Absent, Issue, Limits, Place};
use crate::decode::schema;

use super::files::{FileDetail, OpenFile};
use super::pages::SharedMemory;

/// Status bits of CRIU, `VMA_AREA_*` and `VMA_*`.
mod status {
    pub(super) const VSYSCALL: u32 = 1 << 2;
    pub(super) const VDSO: u32 = 1 << 3;
    pub(super) const HEAP: u32 = 1 << 5;
    pub(super) const FILE_PRIVATE: u32 = 1 << 6;
    pub(super) const FILE_SHARED: u32 = 1 << 7;
    pub(super) const ANON_SHARED: u32 = 1 << 8;
    pub(super) const ANON_PRIVATE: u32 = 1 << 9;
    pub(super) const SYSVIPC: u32 = 1 << 10;
    pub(super) const SOCKET: u32 = 1 << 11;
    pub(super) const VVAR: u32 = 1 << 12;
    pub(super) const AIORING: u32 = 1 << 13;
    pub(super) const MEMFD: u32 = 1 << 14;
    pub(super) const SHSTK: u32 = 1 << 15;
    /// Stands alone: a guard region inside another vma.
    pub(super) const GUARD: u32 = 1 << 16;
    pub(super) const UPROBES: u32 = 1 << 17;
    pub(super) const EXT_PLUGIN: u32 = 1 << 27;
}

/// `MAP_SHARED`, the same number on every architecture.
const MAP_SHARED: u32 = 1;

/// What the vmas of a process are looked up in.
pub(super) struct Surroundings<'a> {
    /// Open files by id, of any kind.
    pub(super) file: &'a dyn Fn(u32) -> Option<&'a OpenFile>,
    /// Pagemaps of shared-memory objects by their id.
    pub(super) shmem: &'a BTreeMap<u64, SharedMemory>,
    /// Keys of System V segments by their id.
    pub(super) sysv_keys: &'a BTreeMap<u64, u32>,
}

impl MemoryMap {
    /// Joins `mm-PID.img` with its pagemap. `img` is the name of the image, for issues.
    pub(super) fn build(
        img: &str,
        mm: &schema::MmEntry,
        vmas: &[schema::VmaEntry],
        pagemap: Pagemap,
        around: &Surroundings<'_>,
    ) -> (MemoryMap, Vec<Issue>) {
        let mut issues = Vec::new();
        let page_size = pagemap.page_size;
        let mut map = MemoryMap {
            vmas: Vec::with_capacity(vmas.len()),
            guards: Vec::new(),
            pagemap,
            code: VirtAddr(mm.mm_start_code)..VirtAddr(mm.mm_end_code),
            data: VirtAddr(mm.mm_start_data)..VirtAddr(mm.mm_end_data),
            brk: VirtAddr(mm.mm_start_brk)..VirtAddr(mm.mm_brk),
            start_stack: VirtAddr(mm.mm_start_stack),
            args: VirtAddr(mm.mm_arg_start)..VirtAddr(mm.mm_arg_end),
            env: VirtAddr(mm.mm_env_start)..VirtAddr(mm.mm_env_end),
            auxv: mm
                .mm_saved_auxv
                .chunks_exact(2)
                .map(|pair| (pair[0], pair[1]))
                .take_while(|(key, _)| *key != 0)
                .collect(),
            dumpable: mm.dumpable,
        };
        for entry in vmas {
            let (start, end) = (VirtAddr(entry.start), VirtAddr(entry.end));
            if end <= start || !page_size.is_aligned(entry.start) || !page_size.is_aligned(entry.end) {
                issues.push(Issue::new(Place::member(img), format!("vma {start}-{end} is not a range of pages")));
                continue;
            }
            if entry.status == status::GUARD {
                map.guards.push(start..end);
                continue;
            }
            map.vmas.push(vma(entry, &map, around));
        }
        if !map.vmas.is_sorted_by_key(|vma| vma.start) {
            issues.push(Issue::new(Place::member(img), "vmas are not in ascending order"));
            map.vmas.sort_by_key(|vma| vma.start);
        }
        let mut end_of_last = VirtAddr(0);
        map.vmas.retain(|vma| {
            if vma.start < end_of_last {
                let what = format!("vma {}-{} overlaps the one before it and is left out", vma.start, vma.end);
                issues.push(Issue::new(Place::member(img), what));
                return false;
            }
            end_of_last = vma.end;
            true
        });
        count_pages(&mut map.vmas, &map.pagemap);
        for vma in &mut map.vmas {
            if let Some(object) = vma.shmid.and_then(|shmid| around.shmem.get(&shmid)) {
                vma.pages.shared = shared_pages(vma, &map.pagemap, object);
            }
        }
        (map, issues)
    }

    /// The vma that holds `addr`.
    pub fn vma_at(&self, addr: VirtAddr) -> Option<&Vma> {
        let after = self.vmas.partition_point(|vma| vma.start <= addr);
        self.vmas.get(after.checked_sub(1)?).filter(|vma| addr < vma.end)
    }

    /// Value of an entry of the auxiliary vector.
    pub fn auxv_value(&self, key: u64) -> Option<u64> {
        self.auxv.iter().find(|(found, _)| *found == key).map(|(_, value)| *value)
    }

    /// Private memory of `range`, copied. A page that was never written reads as zeros, as the
    /// kernel has it.
    ///
    /// # Errors
    /// Why a part of the range is not there; longer than `limits.max_args_bytes` is `Unparsable`.
    pub fn read_private(&self, range: Range<VirtAddr>, limits: &Limits) -> Result<Vec<u8>, Absent> {
        let len = range.end.0.checked_sub(range.start.0).ok_or(Absent::Unparsable)?;
        if len > limits.max_args_bytes {
            return Err(Absent::Unparsable);
        }
        let mut out = Vec::new();
        let mut addr = range.start;
        while addr < range.end {
            let left = range.end.0 - addr.0;
            let step = match self.pagemap.read_at(addr, left)? {
                Some(bytes) => {
                    out.extend_from_slice(&bytes);
                    bytes.len() as u64
                }
                None => {
                    let vma = self.vma_at(addr).ok_or(Absent::Unreadable)?;
                    if !matches!(vma.kind, VmaKind::Stack | VmaKind::AnonPrivate | VmaKind::Heap) {
                        return Err(Absent::NotRecorded);
                    }
                    let page = self.pagemap.page_size.bytes();
                    let step = (page - addr.0 % page).min(left);
                    out.resize(out.len() + usize::try_from(step).map_err(|_too_big| Absent::Unparsable)?, 0);
                    step
                }
            };
            addr = addr.checked_add(step).ok_or(Absent::Unparsable)?;
        }
        Ok(out)
    }
}

fn vma(entry: &schema::VmaEntry, map: &MemoryMap, around: &Surroundings<'_>) -> Vma {
    let has = |bit: u32| entry.status & bit != 0;
    let (start, end) = (VirtAddr(entry.start), VirtAddr(entry.end));
    let file = if has(status::FILE_PRIVATE | status::FILE_SHARED | status::SOCKET) {
        u32::try_from(entry.shmid).ok().and_then(|id| (around.file)(id))
    } else {
        None
    };
    let memfd = file.and_then(|file| match &file.detail {
        FileDetail::Memfd(memfd) => Some(memfd),
        _ => None,
    });
    // The kernel's own test for `[stack]`: no status bit is ever set for it.
    let is_stack = start <= map.start_stack && map.start_stack <= end;
    let kind = if has(status::VSYSCALL) {
        VmaKind::Vsyscall
    } else if has(status::VDSO) {
        VmaKind::Vdso
    } else if has(status::VVAR) {
        VmaKind::Vvar
    } else if has(status::UPROBES) {
        VmaKind::Uprobes
    } else if has(status::EXT_PLUGIN) {
        VmaKind::Device
    } else if has(status::SYSVIPC) {
        VmaKind::Sysv
    } else if has(status::SOCKET) {
        VmaKind::Socket
    } else if has(status::AIORING) {
        VmaKind::AioRing
    } else if has(status::SHSTK) {
        VmaKind::ShadowStack
    } else if has(status::MEMFD) {
        // Since 3.18 shared anonymous memory is written as a memfd named /dev/zero.
        if memfd.is_some_and(|memfd| memfd.is_shared_anonymous) { VmaKind::AnonShared } else { VmaKind::Memfd }
    } else if has(status::FILE_PRIVATE) {
        VmaKind::FilePrivate
    } else if has(status::FILE_SHARED) {
        VmaKind::FileShared
    } else if has(status::ANON_SHARED) {
        VmaKind::AnonShared
    } else if has(status::HEAP) {
        VmaKind::Heap
    } else if is_stack {
        VmaKind::Stack
    } else if has(status::ANON_PRIVATE) {
        VmaKind::AnonPrivate
    } else {
        VmaKind::Other
    };
    let shmid = match kind {
        VmaKind::Sysv => Some(entry.shmid),
        VmaKind::AnonShared | VmaKind::Memfd => Some(memfd.and_then(|memfd| memfd.shmid).unwrap_or(entry.shmid)),
        _ => None,
    };
    let path = match kind {
        VmaKind::Vsyscall => Text::from("[vsyscall]"),
        VmaKind::Vdso => Text::from("[vdso]"),
        VmaKind::Vvar => Text::from("[vvar]"),
        VmaKind::Uprobes => Text::from("[uprobes]"),
        VmaKind::Heap => Text::from("[heap]"),
        VmaKind::Stack => Text::from("[stack]"),
        VmaKind::AioRing => Text::from("/[aio] (deleted)"),
        VmaKind::Sysv => {
            let key = around.sysv_keys.get(&entry.shmid).copied();
            key.map_or_else(Text::default, |key| Text::from(format!("/SYSV{key:08x} (deleted)")))
        }
        VmaKind::AnonShared => Text::from("/dev/zero (deleted)"),
        _ => file.and_then(|file| file.target.clone()).unwrap_or_default(),
    };
    let build_id = file.and_then(|file| match &file.detail {
        FileDetail::Reg(reg) => reg.build_id.clone(),
        _ => None,
    });
    Vma {
        start,
        end,
        prot: entry.prot,
        flags: entry.flags,
        status: entry.status,
        madv: entry.madv.unwrap_or_default(),
        pgoff: entry.pgoff,
        is_shared: entry.flags & MAP_SHARED != 0,
        kind,
        path,
        file: file.map(|file| file.id),
        shmid,
        build_id,
        pages: PageCounts { total: (end.0 - start.0) / map.pagemap.page_size.bytes(), ..PageCounts::default() },
    }
}

/// Counts the pages of every vma in one sweep: both lists are sorted and do not overlap.
fn count_pages(vmas: &mut [Vma], pagemap: &Pagemap) {
    let mut first = 0;
    for vma in vmas {
        while pagemap.runs.get(first).is_some_and(|run| pagemap.range(run).end <= vma.start) {
            first += 1;
        }
        for run in pagemap.runs.get(first..).unwrap_or_default() {
            if vma.end <= run.vaddr {
                break;
            }
            let range = pagemap.range(run);
            let overlap = range.end.min(vma.end).0.saturating_sub(range.start.max(vma.start).0);
            let pages = overlap / pagemap.page_size.bytes();
            if run.stored.is_some() {
                vma.pages.dumped += pages;
            } else if run.flags.is_in_parent() {
                vma.pages.parent += pages;
            } else {
                vma.pages.lazy += pages;
            }
        }
    }
}

/// Pages of a vma whose content is in its shared-memory object: those that the process has no page of
/// its own for (a private map of a memfd has both).
fn shared_pages(vma: &Vma, pagemap: &Pagemap, object: &SharedMemory) -> u64 {
    let offset = |addr: VirtAddr| vma.pgoff.saturating_add(addr.0.saturating_sub(vma.start.0));
    let first = pagemap.runs.partition_point(|run| pagemap.range(run).end <= vma.start);
    let own = pagemap.runs.iter().skip(first).take_while(|run| run.vaddr < vma.end);
    let mut shared = 0u64;
    let mut at = vma.start;
    for run in own {
        let range = pagemap.range(run);
        shared = shared.saturating_add(object.pages_in(offset(at)..offset(range.start.max(at))));
        at = range.end.min(vma.end).max(at);
    }
    shared.saturating_add(object.pages_in(offset(at)..offset(vma.end)))
}
