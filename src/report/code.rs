//! Lines of `memory --disassemble --json` and `memory --stacks --json`.

use serde::Serialize;

use crate::base::{Pid, hex};
use crate::memory::disassembly::Line;
use crate::memory::stack::{Stack, StackEnd};

use super::value::address;

/// One line of `memory --disassemble --json`.
#[derive(Debug, Serialize)]
pub struct CodeLine {
    vaddr: String,
    /// `null` where nothing is there; then `text` says why.
    hex: Option<String>,
    text: String,
    /// Where it leads.
    target: Option<String>,
    target_name: Option<String>,
    /// The symbol that begins here.
    label: Option<String>,
}

impl CodeLine {
    /// Of a line.
    pub fn new(line: &Line) -> CodeLine {
        CodeLine {
            vaddr: address(line.addr),
            hex: (!line.bytes.is_empty()).then(|| hex(&line.bytes)),
            text: line.text.clone(),
            target: line.target.map(address),
            target_name: line.target_name.as_ref().map(ToString::to_string),
            label: line.label.clone(),
        }
    }
}

/// One line of `memory --stacks --json`: a thread.
#[derive(Debug, Serialize)]
pub struct StackLine {
    pid: u32,
    tid: u32,
    /// `null` where stacks are not unwound.
    frames: Option<Vec<FrameReport>>,
    /// `outermost`, `lost`, `too-many`.
    end: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct FrameReport {
    vaddr: String,
    module: Option<String>,
    symbol: Option<String>,
    offset: Option<u64>,
    has_tables: bool,
}

impl StackLine {
    /// Of the stack of a thread.
    pub fn new(pid: Pid, tid: Pid, stack: Option<&Stack>) -> StackLine {
        let frames = stack.map(|stack| {
            let frames = stack.frames.iter().map(|frame| FrameReport {
                vaddr: address(frame.addr),
                module: frame.name.as_ref().map(|name| name.module.clone()),
                symbol: frame.name.as_ref().and_then(|name| name.symbol.clone()),
                offset: frame.name.as_ref().map(|name| name.offset),
                has_tables: frame.has_tables,
            });
            frames.collect()
        });
        let end = stack.map(|stack| match stack.end {
            StackEnd::Outermost => "outermost",
            StackEnd::Lost => "lost",
            StackEnd::TooMany => "too-many",
        });
        StackLine { pid: pid.0, tid: tid.0, frames, end }
    }
}
