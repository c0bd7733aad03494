//! `memory --disassemble` and `memory --stacks`: memory as code, and where threads stand in it.

use std::ops::Range;

use crate::base::VirtAddr;
use crate::memory::disassembly::{Isa, disassemble};
use crate::memory::stack::{StackEnd, Stacks};
use crate::memory::{AddressSpace, Memory, Symbols};
use crate::report::code::{CodeLine, StackLine};
use crate::report::text::Tone;

use super::context::Context;

/// Lines between two looks at Ctrl+C.
const STEP_LINES: usize = 256;
/// Columns of the bytes of an instruction: ten of them, as most have fewer.
const BYTES_WIDTH: usize = 20;

pub(super) fn disassembly(
    memory: &Memory,
    space: &AddressSpace<'_>,
    range: Range<VirtAddr>,
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    use crate::base::Progress as _;
    let isa = Isa::of(memory.checkpoint(), space.pid());
    let Some(isa) = isa else {
        anyhow::bail!("instructions of this architecture are not known here: x86 and AArch64 are")
    };
    let symbols = Symbols::new(memory, space);
    let bar = context.progress_while_printing();
    let style = context.style;
    let mut at = range.start;
    while at < range.end {
        bar.step(0, None)?;
        let lines = disassemble(space, &symbols, isa, at, STEP_LINES);
        let Some(last) = lines.last() else { break };
        let next = last.addr.checked_add(last.len_bytes());
        for line in lines.iter().filter(|line| line.addr < range.end) {
            if context.json {
                context.write_json_line(&CodeLine::new(line))?;
                continue;
            }
            if let Some(label) = &line.label {
                writeln!(context.out, "{}:", style.paint(Tone::Strong, &crate::base::escape_controls(label)))?;
            }
            let addr = style.paint(Tone::Id, &format!("{:#014x}", line.addr));
            let bytes = crate::base::hex(&line.bytes);
            let name = line.target_name.as_ref().map(|name| format!("  ; {name}")).unwrap_or_default();
            let name = style.paint(Tone::Dim, &crate::base::escape_controls(&name));
            let tone = if line.bytes.is_empty() { Tone::Alert } else { Tone::Plain };
            let text = style.paint(tone, &line.text);
            writeln!(context.out, "  {addr}  {bytes:BYTES_WIDTH$}  {text}{name}")?;
        }
        match next {
            Some(next) if at < next => at = next,
            _ => break,
        }
    }
    Ok(())
}

pub(super) fn stacks(memory: &Memory, space: &AddressSpace<'_>, context: &mut Context<'_>) -> anyhow::Result<()> {
    use crate::base::Progress as _;
    let Some(process) = memory.checkpoint().process(space.pid()) else { return Ok(()) };
    let bar = context.progress_while_printing();
    bar.stage("reading symbols");
    let stacks = Stacks::new(memory, space);
    let style = context.style;
    for (nr, thread) in process.threads.iter().enumerate() {
        bar.step(0, None)?;
        let tid = thread.tid;
        let stack = thread.registers.known().and_then(|registers| stacks.unwind(registers));
        if context.json {
            context.write_json_line(&StackLine::new(space.pid(), tid, stack.as_ref()))?;
            continue;
        }
        if nr > 0 {
            writeln!(context.out)?;
        }
        let comm = thread.comm.known().map_or_else(|| "?".into(), |comm| comm.label());
        writeln!(context.out, "{} {}", style.paint(Tone::Id, &tid.to_string()), style.paint(Tone::Strong, &comm))?;
        let Some(stack) = stack else {
            writeln!(context.out, "  no registers, or of an architecture whose stacks are not unwound")?;
            continue;
        };
        for (nr, frame) in stack.frames.iter().enumerate() {
            let name = frame.name.as_ref().map_or_else(|| "?".into(), ToString::to_string);
            let addr = style.paint(Tone::Id, &format!("{:#014x}", frame.addr));
            let guess = if frame.has_tables || nr + 1 == stack.frames.len() { "" } else { "  (next by frame pointer)" };
            let name = crate::base::escape_controls(&name);
            writeln!(context.out, "  {nr:>2}  {addr}  {name}{}", style.paint(Tone::Dim, guess))?;
        }
        let end = match stack.end {
            StackEnd::Outermost => continue,
            StackEnd::Lost if stack.frames.last().is_some_and(|frame| frame.has_tables) => {
                "the next frame cannot be found"
            }
            StackEnd::Lost => "the next frame cannot be found; with --rootfs IMAGE it may be",
            StackEnd::TooMany => "more frames are not shown",
        };
        writeln!(context.out, "      {}", style.paint(Tone::Dim, end))?;
    }
    Ok(())
}
