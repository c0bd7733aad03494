//! An ELF core file of a process, for gdb and its like: registers of every thread, what was mapped, and the memory that is
//! there.
//!
//! Written for x86-64 and AArch64. Memory that the checkpoint does not hold is a segment without bytes: debuggers then
//! take clean pages of files from the files themselves. Zeros become holes of the file; long stretches of memory that was
//! reserved and never touched, of which programs have terabytes, are segments without bytes as well, since file systems
//! bear no hole of that size. More than 65,534 segments are
//! counted in section header 0 (`PN_XNUM`). Layouts: System V ABI (ELF), core(5), `struct elf_prstatus` and
//! `struct elf_prpsinfo` of Linux's UAPI headers.

use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;

use crate::base::{Cancelled, Field, Pid, Progress, VirtAddr};
use crate::checkpoint::process::{TaskState, Thread};
use crate::checkpoint::registers::Registers;
use crate::checkpoint::{Arch, Process, Vma};

use super::{AddressSpace, Content, Origin};

/// Why there is no core file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// Debuggers want registers in a layout of their own for every architecture.
    #[error("core files are written of x86-64 and AArch64 processes, and this one is {0}")]
    Architecture(String),
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Stopped by the analyst.
    #[error("{0}")]
    Cancelled(#[from] Cancelled),
}

/// What is in a core file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreSummary {
    /// Threads with registers.
    pub threads: usize,
    /// `PT_LOAD` segments.
    pub segments: usize,
    /// Bytes of memory in it, zeros included.
    pub memory_bytes: u64,
    /// Bytes of memory that were mapped and are not in the checkpoint.
    pub absent_bytes: u64,
    /// Bytes of memory that was never touched and is left out: it would be zeros.
    pub untouched_bytes: u64,
    /// Size of the file, holes included.
    pub file_bytes: u64,
    /// Maps of files that the note about these has no room for.
    pub files_left_out: usize,
}

/// Most bytes of the note that names mapped files: as much as Linux writes at most.
const MAX_FILES_BYTES: usize = 16 << 20;

const EHDR_BYTES: u64 = 64;
const PHDR_BYTES: u64 = 56;
const SHDR_BYTES: u64 = 64;
/// From here on `e_phnum` holds this, and section header 0 the number.
const PN_XNUM: usize = 0xffff;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Written at a time.
const STEP_BYTES: u64 = 1 << 20;

/// Untouched stretches from this size on are left out.
const MAX_UNTOUCHED_BYTES: u64 = 1 << 30;
/// Shorter ones only once there are so many: no file of ext4 is larger than 16 TiB.
const MAX_ALL_UNTOUCHED_BYTES: u64 = 1 << 40;

/// A `PT_LOAD` segment.
struct Load {
    range: Range<VirtAddr>,
    prot: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes or zeros in the file.
    There,
    /// Zeros that are not in the file.
    Untouched,
    Absent,
}

/// Writes the core file of `process`, whose memory `space` is, to the start of `out`, which must be empty.
///
/// # Errors
/// Another architecture, `out` fails, or cancel.
pub fn write_core(
    process: &Process,
    space: &AddressSpace<'_>,
    out: &mut (impl Write + Seek),
    progress: &dyn Progress,
) -> Result<CoreSummary, CoreError> {
    let machine = Machine::of(process)?;
    let (notes, files_left_out) = notes(process, space, machine);
    let loads = loads(space);
    let count = loads.len() + 1;
    let is_many = count >= PN_XNUM;
    let phdrs_end = EHDR_BYTES + PHDR_BYTES * count as u64;
    let notes_at = phdrs_end + if is_many { SHDR_BYTES } else { 0 };
    let page = space.page_size().bytes();
    let memory_at = (notes_at + notes.len() as u64).next_multiple_of(page);

    let mut head = Record::default();
    head.bytes(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0").u16(4).u16(machine.e_machine()).u32(1);
    head.u64(0).u64(EHDR_BYTES).u64(if is_many { phdrs_end } else { 0 }).u32(0);
    head.u16(EHDR_BYTES as u16).u16(PHDR_BYTES as u16).u16(if is_many { 0xffff } else { count as u16 });
    head.u16(SHDR_BYTES as u16).u16(u16::from(is_many)).u16(0);
    head.u32(PT_NOTE).u32(4).u64(notes_at).u64(0).u64(0).u64(notes.len() as u64).u64(0).u64(4);
    let mut summary = CoreSummary {
        files_left_out,
        threads: with_registers(process).count(),
        segments: loads.len(),
        ..CoreSummary::default()
    };
    let mut at = memory_at;
    for load in &loads {
        let len = load.range.end.0 - load.range.start.0;
        let in_file = if load.state == State::There { len } else { 0 };
        // ELF has the bits the other way round.
        let flags = (load.prot & 1) << 2 | (load.prot & 2) | (load.prot & 4) >> 2;
        head.u32(PT_LOAD).u32(flags).u64(at).u64(load.range.start.0).u64(0).u64(in_file).u64(len).u64(page);
        at = at.saturating_add(in_file);
        match load.state {
            State::There => summary.memory_bytes += len,
            State::Untouched => summary.untouched_bytes += len,
            State::Absent => summary.absent_bytes += len,
        }
    }
    if is_many {
        head.u32(0)
            .u32(0)
            .u64(0)
            .u64(0)
            .u64(0)
            .u64(0)
            .u32(0)
            .u32(u32::try_from(count).unwrap_or(u32::MAX))
            .u64(0)
            .u64(0);
    }
    summary.file_bytes = at;
    out.write_all(&head.0)?;
    out.write_all(&notes)?;

    progress.stage("writing memory");
    let (mut at, mut done, mut written_to) = (memory_at, 0, notes_at + notes.len() as u64);
    for load in loads.iter().filter(|load| load.state == State::There) {
        for chunk in space.read(load.range.clone()) {
            let from = at + (chunk.range.start.0 - load.range.start.0);
            let Content::Bytes(bytes) = &chunk.content else { continue };
            for (nr, piece) in bytes.chunks(STEP_BYTES as usize).enumerate() {
                progress.step(done, Some(summary.memory_bytes))?;
                done += piece.len() as u64;
                if piece.iter().any(|byte| *byte != 0) {
                    let from = from + nr as u64 * STEP_BYTES;
                    out.seek(SeekFrom::Start(from))?;
                    out.write_all(piece)?;
                    written_to = from + piece.len() as u64;
                }
            }
        }
        at += load.range.end.0 - load.range.start.0;
    }
    // A hole at the end counts as well.
    if written_to < at {
        out.seek(SeekFrom::Start(at - 1))?;
        out.write_all(&[0])?;
    }
    out.flush()?;
    Ok(summary)
}

/// Segments in one state, and neighbours, become one.
fn loads(space: &AddressSpace<'_>) -> Vec<Load> {
    let mut loads: Vec<Load> = Vec::new();
    let mut left = MAX_ALL_UNTOUCHED_BYTES;
    for segment in space.segments() {
        let prot = segment.vma.prot;
        let state = match segment.origin {
            Origin::Absent(_) => State::Absent,
            Origin::Zero if prot == 0 || segment.len_bytes() >= MAX_UNTOUCHED_BYTES => State::Untouched,
            Origin::Zero => match left.checked_sub(segment.len_bytes()) {
                Some(after) => {
                    left = after;
                    State::There
                }
                None => State::Untouched,
            },
            _ => State::There,
        };
        match loads.last_mut() {
            Some(last) if last.range.end == segment.range.start && (last.prot, last.state) == (prot, state) => {
                last.range.end = segment.range.end;
            }
            _ => loads.push(Load { range: segment.range, prot, state }),
        }
    }
    loads
}

fn with_registers(process: &Process) -> impl Iterator<Item = (&Thread, &Registers)> {
    process.threads.iter().filter_map(|thread| Some((thread, thread.registers.known()?)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Machine {
    X86_64,
    Aarch64,
}

impl Machine {
    fn of(process: &Process) -> Result<Machine, CoreError> {
        let Some((_, registers)) = with_registers(process).next() else {
            return Err(CoreError::Architecture("without registers in the checkpoint".into()));
        };
        match registers.arch {
            Arch::X86 if registers.is_compat => Err(CoreError::Architecture("a 32-bit one".into())),
            Arch::X86 => Ok(Machine::X86_64),
            Arch::Aarch64 => Ok(Machine::Aarch64),
            other => Err(CoreError::Architecture(other.name().into())),
        }
    }

    fn e_machine(self) -> u16 {
        match self {
            Machine::X86_64 => 62,
            Machine::Aarch64 => 183,
        }
    }

    /// Registers in the order of `user_regs_struct`, or of `user_pt_regs`.
    fn general(self) -> &'static [&'static str] {
        match self {
            Machine::X86_64 => &[
                "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di",
                "orig_ax", "ip", "cs", "flags", "sp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
            ],
            Machine::Aarch64 => &[
                "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
                "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29",
                "x30", "sp", "pc", "pstate",
            ],
        }
    }
}

/// Types of notes.
mod nt {
    pub(super) const PRSTATUS: u32 = 1;
    pub(super) const FPREGSET: u32 = 2;
    pub(super) const PRPSINFO: u32 = 3;
    pub(super) const AUXV: u32 = 6;
    pub(super) const X86_XSTATE: u32 = 0x202;
    pub(super) const ARM_TLS: u32 = 0x401;
    pub(super) const FILE: u32 = 0x4649_4c45;
}

/// The notes in the order of the kernel: the first thread, the process, the other threads.
fn notes(process: &Process, space: &AddressSpace<'_>, machine: Machine) -> (Vec<u8>, usize) {
    let mut notes = Record::default();
    let mut left_out = 0;
    for (nr, (thread, registers)) in with_registers(process).enumerate() {
        notes.note(b"CORE\0", nt::PRSTATUS, &prstatus(process, thread, registers, machine));
        if nr == 0 {
            notes.note(b"CORE\0", nt::PRPSINFO, &prpsinfo(process));
            notes.note(b"CORE\0", nt::AUXV, &auxv(space));
            let (files, more) = files(space);
            left_out = more;
            notes.note(b"CORE\0", nt::FILE, &files);
        }
        match machine {
            Machine::X86_64 => {
                let fxsave = fxsave(registers);
                notes.note(b"CORE\0", nt::FPREGSET, &fxsave);
                if let Some(xstate) = xstate(registers, fxsave) {
                    notes.note(b"LINUX\0", nt::X86_XSTATE, &xstate);
                }
            }
            Machine::Aarch64 => {
                notes.note(b"CORE\0", nt::FPREGSET, &fpsimd(registers));
                if let Some(tls) = registers.tls {
                    notes.note(b"LINUX\0", nt::ARM_TLS, &tls.to_le_bytes());
                }
            }
        }
    }
    (notes.0, left_out)
}

fn number(pid: &Field<Pid>) -> u32 {
    pid.known().map_or(0, |pid| pid.0)
}

fn prstatus(process: &Process, thread: &Thread, registers: &Registers, machine: Machine) -> Vec<u8> {
    let signal = match process.state.known() {
        Some(TaskState::Stopped { signal }) => signal.unwrap_or_default(),
        _ => 0,
    };
    let mut out = Record::default();
    out.u32(signal).u32(0).u32(0).u16(signal as u16).u16(0);
    out.u64(0).u64(thread.blocked.known().copied().unwrap_or_default());
    out.u32(thread.tid.0).u32(number(&process.ppid)).u32(number(&process.pgid)).u32(number(&process.sid));
    // Times are not in a checkpoint.
    out.bytes(&[0; 64]);
    for name in machine.general() {
        let found = registers.general.iter().find(|(known, _)| known == name);
        out.u64(found.map_or(0, |(_, value)| *value));
    }
    out.u32(1).u32(0);
    out.0
}

fn prpsinfo(process: &Process) -> Vec<u8> {
    let is_stopped = matches!(process.state.known(), Some(TaskState::Stopped { .. }));
    let nice = process.threads.first().and_then(|leader| leader.sched.known()).map_or(0, |sched| sched.nice);
    let (uid, gid) = process.credentials().map_or((0, 0), |credentials| (credentials.uids[0], credentials.gids[0]));
    let mut out = Record::default();
    out.bytes(&[if is_stopped { 3 } else { 0 }, if is_stopped { b'T' } else { b'R' }, 0, nice as u8, 0, 0, 0, 0]);
    out.u64(process.kernel_flags.known().copied().unwrap_or_default().into()).u32(uid).u32(gid);
    out.u32(process.pid.0).u32(number(&process.ppid)).u32(number(&process.pgid)).u32(number(&process.sid));
    out.text(process.comm.known().map_or(&[][..], |comm| comm.as_bytes()), 16);
    let arguments: Vec<&[u8]> =
        process.cmdline.known().into_iter().flatten().map(|argument| argument.as_bytes()).collect();
    out.text(&arguments.join(&b' '), 80);
    out.0
}

fn auxv(space: &AddressSpace<'_>) -> Vec<u8> {
    let mut out = Record::default();
    for (key, value) in &space.map().auxv {
        out.u64(*key).u64(*value);
    }
    out.u64(0).u64(0);
    out.0
}

/// Mapped files: from where to where, at which page of the file, under which name; and how many there is no room for.
fn files(space: &AddressSpace<'_>) -> (Vec<u8>, usize) {
    let page = space.page_size().bytes();
    let is_of_file = |vma: &&Vma| vma.file.is_some() && !vma.path.as_bytes().is_empty();
    let mut vmas: Vec<&Vma> = space.map().vmas.iter().filter(is_of_file).collect();
    let all = vmas.len();
    let mut room = MAX_FILES_BYTES;
    vmas.retain(|vma| {
        let rest = room.checked_sub(vma.path.as_bytes().len().saturating_add(25));
        room = rest.unwrap_or(room);
        rest.is_some()
    });
    let mut out = Record::default();
    out.u64(vmas.len() as u64).u64(page);
    for vma in &vmas {
        out.u64(vma.start.0).u64(vma.end.0).u64(vma.pgoff / page);
    }
    for vma in &vmas {
        out.bytes(vma.path.as_bytes()).bytes(&[0]);
    }
    (out.0, all - vmas.len())
}

/// Bytes of a vector or control register.
fn vector<'a>(registers: &'a Registers, name: &str) -> &'a [u8] {
    registers.vector.iter().find(|(known, _)| known == name).map_or(&[], |(_, bytes)| bytes)
}

/// `user_fpregs_struct`: 512 bytes as `fxsave` stores them.
fn fxsave(registers: &Registers) -> Vec<u8> {
    let mut out = Record::default();
    let field = |name: &str, len: usize| -> Vec<u8> {
        let mut bytes = vector(registers, name).to_vec();
        bytes.resize(len, 0);
        bytes
    };
    for (name, len) in
        [("fcw", 2), ("fsw", 2), ("ftw", 2), ("fop", 2), ("fip", 8), ("fdp", 8), ("mxcsr", 4), ("mxcsr_mask", 4)]
    {
        out.bytes(&field(name, len));
    }
    for nr in 0..8 {
        out.bytes(&field(&format!("st{nr}"), 16));
    }
    for nr in 0..16 {
        let ymm = vector(registers, &format!("ymm{nr}"));
        let mut low = if ymm.is_empty() { vector(registers, &format!("xmm{nr}")).to_vec() } else { ymm.to_vec() };
        low.resize(16, 0);
        out.bytes(&low);
    }
    out.0.resize(512, 0);
    out.0
}

/// The standard form of `xsave` with the upper halves of ymm; `None` where these are not recorded.
fn xstate(registers: &Registers, mut fxsave: Vec<u8>) -> Option<Vec<u8>> {
    const X87_SSE_AVX: u64 = 7;
    if vector(registers, "ymm0").is_empty() {
        return None;
    }
    // XCR0 stands where software may keep it.
    fxsave.get_mut(464..472)?.copy_from_slice(&X87_SSE_AVX.to_le_bytes());
    let mut out = Record(fxsave);
    out.u64(X87_SSE_AVX).bytes(&[0; 56]);
    for nr in 0..16 {
        let mut high = vector(registers, &format!("ymm{nr}")).get(16..).unwrap_or_default().to_vec();
        high.resize(16, 0);
        out.bytes(&high);
    }
    Some(out.0)
}

/// `user_fpsimd_state` of AArch64.
fn fpsimd(registers: &Registers) -> Vec<u8> {
    let mut out = Record::default();
    for nr in 0..32 {
        let mut bytes = vector(registers, &format!("v{nr}")).to_vec();
        bytes.resize(16, 0);
        out.bytes(&bytes);
    }
    for name in ["fpsr", "fpcr"] {
        let mut bytes = vector(registers, name).to_vec();
        bytes.resize(4, 0);
        out.bytes(&bytes);
    }
    out.u64(0);
    out.0
}

/// Little-endian bytes under construction.
#[derive(Debug, Default)]
struct Record(Vec<u8>);

impl Record {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Record {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Record {
        self.bytes(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Record {
        self.bytes(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Record {
        self.bytes(&value.to_le_bytes())
    }

    /// Text in a field of `len` bytes, with a NUL at its end at least.
    fn text(&mut self, text: &[u8], len: usize) -> &mut Record {
        let mut field = text.get(..len - 1).unwrap_or(text).to_vec();
        field.resize(len, 0);
        self.bytes(&field)
    }

    /// A note: name with its NUL, content, each filled up to four bytes.
    fn note(&mut self, name: &[u8], kind: u32, content: &[u8]) {
        self.u32(name.len() as u32).u32(u32::try_from(content.len()).unwrap_or(u32::MAX)).u32(kind);
        for part in [name, content] {
            self.bytes(part);
            self.0.resize(self.0.len().next_multiple_of(4), 0);
        }
    }
}
