//! Instructions at an address: x86 (16 bytes at most each) and AArch64, with the names of where they lead.
//!
//! Decoding is iced-x86's and yaxpeax-arm's. What does not decode is one byte (x86) or one word of data.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Formatter as _, Instruction as X86, IntelFormatter, OpKind};
use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::{InstDecoder, Instruction as A64, Operand};

use crate::base::{Pid, VirtAddr};
use crate::checkpoint::{Arch, Checkpoint};

use super::symbols::{AddressName, Symbols};
use super::{AddressSpace, Missing, Origin};

/// Longest instruction of x86.
const MAX_X86_BYTES: usize = 15;

/// What a run of bytes means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it begins.
    pub addr: VirtAddr,
    /// Its bytes; empty where nothing is there.
    pub bytes: Vec<u8>,
    /// The instruction, `(bad)`, or why nothing is there.
    pub text: String,
    /// Where a jump, a call or an address in it leads.
    pub target: Option<VirtAddr>,
    /// What the target is called.
    pub target_name: Option<AddressName>,
    /// The symbol that begins here.
    pub label: Option<String>,
    /// How far the next line is: the bytes, or those that are not there.
    pub(super) len: u64,
}

impl Line {
    /// How far the next line is, in bytes; also where nothing is there.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }
}

/// Which instructions a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// x86 in 32-bit mode.
    X86,
    /// x86 in 64-bit mode.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Isa {
    /// Of a process; `None` for an architecture that is not disassembled.
    pub fn of(checkpoint: &Checkpoint, pid: Pid) -> Option<Isa> {
        let process = checkpoint.process(pid)?;
        let registers = process.threads.iter().find_map(|thread| thread.registers.known());
        let arch = registers.map_or(checkpoint.container.arch, |registers| Some(registers.arch));
        match arch? {
            Arch::X86 if registers.is_some_and(|registers| registers.is_compat) => Some(Isa::X86),
            Arch::X86 => Some(Isa::X86_64),
            Arch::Aarch64 => Some(Isa::Aarch64),
            _ => None,
        }
    }
}

/// Up to `max` lines from an address on. A range that is not there is one line.
pub fn disassemble(space: &AddressSpace<'_>, symbols: &Symbols, isa: Isa, from: VirtAddr, max: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut at = from;
    while lines.len() < max {
        let bytes = space.bytes_at(at, if isa == Isa::Aarch64 { 4 } else { MAX_X86_BYTES });
        if bytes.is_empty() {
            let Some((line, next)) = gap(space, at) else { break };
            lines.push(line);
            at = next;
            continue;
        }
        let (len, text, target) = match isa {
            Isa::Aarch64 => aarch64(at, &bytes),
            Isa::X86 => x86(32, at, &bytes),
            Isa::X86_64 => x86(64, at, &bytes),
        };
        let name = symbols.name_of(at);
        lines.push(Line {
            addr: at,
            bytes: bytes.get(..len).unwrap_or(&bytes).to_vec(),
            text,
            target: target.map(VirtAddr),
            target_name: target.and_then(|target| symbols.name_of(VirtAddr(target))),
            label: name.filter(|name| name.offset == 0).and_then(|name| name.symbol),
            len: len.max(1) as u64,
        });
        let Some(next) = at.checked_add(len.max(1) as u64) else { break };
        at = next;
    }
    lines
}

/// Where instructions begin from `from` on until `until`; `None` when one of them reaches over `until`, or when bytes
/// between them are not there. The way to walk backwards through code: x86 finds its instructions after a few wrong ones.
pub fn starts_until(space: &AddressSpace<'_>, isa: Isa, from: VirtAddr, until: VirtAddr) -> Option<Vec<VirtAddr>> {
    let len = usize::try_from(until.0.checked_sub(from.0)?).ok()?;
    let bytes = space.bytes_at(from, len.saturating_add(MAX_X86_BYTES));
    if bytes.len() < len {
        return None;
    }
    let mut starts = Vec::new();
    let mut at = 0usize;
    while at < len {
        starts.push(VirtAddr(from.0 + at as u64));
        at += match isa {
            Isa::Aarch64 => 4,
            Isa::X86 => x86_len(32, bytes.get(at..)?),
            Isa::X86_64 => x86_len(64, bytes.get(at..)?),
        };
    }
    (at == len).then_some(starts)
}

fn x86_len(bits: u32, bytes: &[u8]) -> usize {
    let bytes = bytes.get(..bytes.len().min(MAX_X86_BYTES)).unwrap_or_default();
    let instruction: X86 = Decoder::new(bits, bytes, DecoderOptions::NONE).decode();
    if instruction.is_invalid() { 1 } else { instruction.len() }
}

/// The line of a range that is not there, and where the next begins; `None` behind the last one.
fn gap(space: &AddressSpace<'_>, at: VirtAddr) -> Option<(Line, VirtAddr)> {
    let segment = space.segments_from(at).next()?;
    let (end, why) = match segment.origin {
        _ if at < segment.range.start => (segment.range.start, Missing::Unmapped),
        Origin::Absent(why) => (segment.range.end, why),
        // Damaged pages of a segment that else can be read.
        _ => (at.checked_add(space.page_size().bytes() - at.0 % space.page_size().bytes())?, Missing::Damaged),
    };
    let text = format!("{} bytes: {why}", end.0 - at.0);
    let len = end.0 - at.0;
    Some((Line { addr: at, bytes: Vec::new(), text, target: None, target_name: None, label: None, len }, end))
}

fn x86(bits: u32, at: VirtAddr, bytes: &[u8]) -> (usize, String, Option<u64>) {
    let mut decoder = Decoder::with_ip(bits, bytes, at.0, DecoderOptions::NONE);
    let instruction: X86 = decoder.decode();
    if instruction.is_invalid() {
        return (1, "(bad)".into(), None);
    }
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    options.set_branch_leading_zeros(false);
    options.set_rip_relative_addresses(false);
    let mut text = String::new();
    formatter.format(&instruction, &mut text);
    let leads = match instruction.flow_control() {
        FlowControl::Next | FlowControl::Return | FlowControl::Interrupt | FlowControl::Exception => None,
        _ if matches!(instruction.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16) => {
            Some(instruction.near_branch_target())
        }
        _ => None,
    };
    let target = leads.or_else(|| instruction.is_ip_rel_memory_operand().then(|| instruction.ip_rel_memory_address()));
    (instruction.len(), text, target)
}

fn aarch64(at: VirtAddr, bytes: &[u8]) -> (usize, String, Option<u64>) {
    let mut instruction = A64::default();
    let decoded = InstDecoder::default().decode_into(&mut instruction, &mut U8Reader::new(bytes));
    if decoded.is_err() {
        return (bytes.len().min(4), "(bad)".into(), None);
    }
    let target = instruction.operands.iter().find_map(|operand| match operand {
        Operand::PCOffset(offset) => Some(at.0.wrapping_add_signed(*offset)),
        _ => None,
    });
    (4, instruction.to_string(), target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_of_an_instruction_is_told_without_its_text() {
        assert_eq!(x86_len(64, &[0x48, 0x89, 0xe5, 0xc3]), 3);
        assert_eq!(x86_len(32, &[0x48, 0x89, 0xe5, 0xc3]), 1);
        assert_eq!(x86_len(64, &[0x06]), 1);
        assert_eq!(x86_len(64, &[]), 1);
    }
}
