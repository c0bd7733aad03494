//! The stack of a thread: return addresses, by unwind tables where the file is at hand, else by frame pointers.
//!
//! Unwinding is framehop's. It needs the tables (`.eh_frame`) of the files that the code comes from, which a checkpoint
//! does not hold unless they were changed or deleted; with a base image they are there. Where they are not, frame pointers
//! are followed, which most programs do not keep: [`Frame::has_tables`] and [`Stack::end`] say what can be relied on.
//! Tables whose following might not end are not taken.

use bytes::Bytes;
use framehop::aarch64::{CacheAarch64, UnwindRegsAarch64, UnwinderAarch64};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module as Tables, Unwinder};
use object::Architecture;

use crate::base::VirtAddr;
use crate::checkpoint::Arch;
use crate::checkpoint::registers::Registers;

use super::elf::Section;
use super::symbols::{AddressName, Module, Symbols};
use super::{AddressSpace, Memory};

/// Most frames of one stack.
pub const MAX_FRAMES: usize = 512;

/// One frame, the innermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it is, or where it goes on when the inner one returns.
    pub addr: VirtAddr,
    /// What that is called.
    pub name: Option<AddressName>,
    /// Whether the file at `addr` has tables, so that the next frame is certain.
    pub has_tables: bool,
}

/// Why there are no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackEnd {
    /// It is the outermost frame.
    Outermost,
    /// The next one could not be found: memory is missing, or there are neither tables nor frame pointers.
    Lost,
    /// There are more than [`MAX_FRAMES`].
    TooMany,
}

/// Return addresses of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The innermost first.
    pub frames: Vec<Frame>,
    /// Why it ends.
    pub end: StackEnd,
}

/// Unwinds the stacks of a process, one at a time.
pub struct Stacks<'a> {
    space: &'a AddressSpace<'a>,
    symbols: Symbols,
    unwinders: Unwinders,
}

impl<'a> Stacks<'a> {
    /// Reads the files that the process maps: work for a job.
    pub fn new(memory: &Memory, space: &'a AddressSpace<'a>) -> Stacks<'a> {
        let symbols = Symbols::new(memory, space);
        let unwinders = Unwinders::new(&symbols);
        Stacks { space, symbols, unwinders }
    }

    /// Names of addresses, which the tables were read with.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The stack of a thread; `None` for an architecture whose stacks are not unwound.
    pub fn unwind(&self, registers: &Registers) -> Option<Stack> {
        self.unwinders.unwind(&self.symbols, registers, &mut |addr| {
            let bytes = self.space.bytes_at(VirtAddr(addr), 8);
            <[u8; 8]>::try_from(bytes).map(u64::from_le_bytes).map_err(|_short| ())
        })
    }
}

/// The unwind tables of all files of a process.
pub(super) struct Unwinders {
    x86_64: UnwinderX86_64<Bytes>,
    aarch64: UnwinderAarch64<Bytes>,
}

impl Unwinders {
    pub(super) fn new(symbols: &Symbols) -> Unwinders {
        let (mut x86_64, mut aarch64) = (UnwinderX86_64::new(), UnwinderAarch64::new());
        for module in symbols.modules() {
            match tables_of(module) {
                Some((Architecture::X86_64, tables)) => x86_64.add_module(tables),
                Some((Architecture::Aarch64, tables)) => aarch64.add_module(tables),
                _ => {}
            }
        }
        Unwinders { x86_64, aarch64 }
    }

    /// The stack of a thread whose memory `read` gives, eight bytes at an address.
    pub(super) fn unwind(
        &self,
        symbols: &Symbols,
        registers: &Registers,
        mut read: &mut dyn FnMut(u64) -> Result<u64, ()>,
    ) -> Option<Stack> {
        let general = |name: &str| registers.general.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        match registers.arch {
            Arch::X86 if !registers.is_compat => {
                let regs = UnwindRegsX86_64::new(registers.pc, registers.sp, general("bp")?);
                let mut cache = CacheX86_64::<_>::new();
                Some(walk(symbols, self.x86_64.iter_frames(registers.pc, regs, &mut cache, &mut read)))
            }
            Arch::Aarch64 => {
                let regs = UnwindRegsAarch64::new(general("x30")?, registers.sp, general("x29")?);
                let mut cache = CacheAarch64::<_>::new();
                Some(walk(symbols, self.aarch64.iter_frames(registers.pc, regs, &mut cache, &mut read)))
            }
            _ => None,
        }
    }
}

impl std::fmt::Debug for Stacks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stacks").field("symbols", &self.symbols).finish_non_exhaustive()
    }
}

fn walk<U: Unwinder, F: FnMut(u64) -> Result<u64, ()>>(
    symbols: &Symbols,
    mut frames: framehop::UnwindIterator<'_, '_, '_, U, F>,
) -> Stack {
    let mut out = Vec::new();
    loop {
        if out.len() == MAX_FRAMES {
            return Stack { frames: out, end: StackEnd::TooMany };
        }
        match frames.next() {
            Ok(Some(frame)) => {
                let addr = VirtAddr(frame.address());
                // A call may be the last thing that a function does: the name is that of the call, not of what follows it.
                let inside = match frame {
                    FrameAddress::InstructionPointer(addr) => addr,
                    FrameAddress::ReturnAddress(addr) => addr.get() - 1,
                };
                let name = symbols
                    .name_of(VirtAddr(inside))
                    .map(|name| AddressName { offset: name.offset + (addr.0 - inside), ..name });
                let has_tables = symbols.module_at(VirtAddr(inside)).is_some_and(has_tables);
                out.push(Frame { addr, name, has_tables });
            }
            Ok(None) => return Stack { frames: out, end: StackEnd::Outermost },
            Err(_lost) => return Stack { frames: out, end: StackEnd::Lost },
        }
    }
}

fn has_tables(module: &Module) -> bool {
    module.elf.as_ref().is_some_and(|elf| elf.eh_frame.is_some())
}

/// What framehop has to know of a file. It makes its own index: that of the file (`.eh_frame_hdr`) may lead anywhere.
fn tables_of(module: &Module) -> Option<(Architecture, Tables<Bytes>)> {
    let elf = module.elf.as_ref()?;
    let bytes = |section: &Option<Section>| section.as_ref().map(|it| it.bytes.clone());
    let range = |section: &Option<Section>| section.as_ref().map(|it| it.range.clone());
    let info = ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma: range(&elf.text),
        text: bytes(&elf.text),
        eh_frame_svma: range(&elf.eh_frame),
        eh_frame: bytes(&elf.eh_frame),
        ..ExplicitModuleSectionInfo::default()
    };
    let addresses = module.range.start.0..module.range.end.0;
    Some((elf.machine, Tables::new(module.name(), addresses, module.bias, info)))
}
