//! Registers of a thread, in groups, each value with where it points.

use std::fmt::Write as _;

use egui::{RichText, Sense, Ui};

use super::super::{Shown, address_link};
use crate::base::{Field, VirtAddr, escape_controls};
use crate::checkpoint::process::Thread;
use crate::checkpoint::registers::Registers;
use crate::decode::Arch;
use crate::memory::Symbols;
use crate::session::Command;
use crate::session::space;
use crate::ui::names;
use crate::ui::tokens::{self, SPACE_M, SPACE_S, Tokens};
use crate::ui::widgets::{absent, mono_text, property_ui, section};

/// Width of the name of a register, in points.
const NAME: f32 = 62.0;
/// Most vector registers that are shown.
const MAX_VECTORS: usize = 256;

/// Bits of RFLAGS that programs see: number and name.
const FLAGS: [(u32, &str); 9] =
    [(0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (8, "TF"), (9, "IF"), (10, "DF"), (11, "OF")];

/// What a register is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    General,
    Control,
    Segments,
}

impl Group {
    const ALL: [Group; 3] = [Group::Control, Group::General, Group::Segments];

    fn of(name: &str) -> Group {
        match name {
            "cs" | "ss" | "ds" | "es" | "fs" | "gs" | "fs_base" | "gs_base" => Group::Segments,
            "ip" | "sp" | "bp" | "flags" | "orig_ax" | "pc" | "pstate" | "lr" | "fp" | "cpsr" | "orig_r0" | "nip"
            | "msr" | "ctr" | "link" | "xer" | "ccr" | "trap" | "orig_gpr3" | "psw_mask" | "psw_addr" | "orig_gpr2"
            | "system_call" | "lo" | "hi" | "cp0_epc" | "cp0_badvaddr" | "cp0_status" | "cp0_cause" | "ra" | "x29"
            | "x30" => Group::Control,
            _ => Group::General,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Group::General => "General",
            Group::Control => "Program counter, stack, flags",
            Group::Segments => "Segments",
        }
    }
}

/// Program counter and stack come first, whatever order the manual has.
fn order(name: &str) -> usize {
    const FIRST: [&[&str]; 3] = [&["ip", "pc", "nip", "psw_addr", "cp0_epc"], &["sp"], &["bp", "fp", "x29"]];
    FIRST.iter().position(|names| names.contains(&name)).unwrap_or(FIRST.len())
}

pub(super) fn registers_ui(
    ui: &mut Ui,
    shown: Shown<'_>,
    thread: &Thread,
    symbols: Option<&Symbols>,
    commands: &mut Vec<Command>,
) {
    let registers = match &thread.registers {
        Field::Known(registers) => registers,
        Field::Absent(why) => {
            section(ui, &format!("Registers of thread {}", thread.tid), "", |ui| absent(ui, *why));
            return;
        }
    };
    for (nr, group) in Group::ALL.into_iter().enumerate() {
        let mut in_group: Vec<_> = registers.general.iter().filter(|(name, _)| Group::of(name) == group).collect();
        if in_group.is_empty() {
            continue;
        }
        if group == Group::Control {
            in_group.sort_by_key(|(name, _)| order(name));
        }
        let (title, note) = match nr {
            0 => (format!("Registers of thread {}", thread.tid), if registers.is_compat { "32-bit task" } else { "" }),
            _ => (group.title().to_owned(), ""),
        };
        section(ui, &title, note, |ui| {
            for (name, value) in in_group {
                register_ui(ui, shown, registers, name, *value, symbols, commands);
            }
        });
    }
    thread_ui(ui, shown, thread, registers, commands);
    if !registers.vector.is_empty() {
        section(ui, "Vector and floating point", "least significant byte last", |ui| {
            for (name, bytes) in registers.vector.iter().take(MAX_VECTORS) {
                named(ui, name, |ui| {
                    let mut digits = String::with_capacity(bytes.len() * 2);
                    for byte in bytes.iter().rev().take(256) {
                        let _ = write!(digits, "{byte:02x}");
                    }
                    let is_zero = bytes.iter().all(|byte| *byte == 0);
                    let tokens = Tokens::get(ui);
                    let color = if is_zero { tokens.muted } else { tokens.text };
                    ui.add(egui::Label::new(mono_text(digits).color(color)).wrap().selectable(true));
                });
            }
        });
    }
}

fn thread_ui(ui: &mut Ui, shown: Shown<'_>, thread: &Thread, registers: &Registers, commands: &mut Vec<Command>) {
    section(ui, "Thread", "", |ui| {
        let mut address = |label: &'static str, help: &str, value: Option<u64>| {
            if let Some(value) = value.filter(|value| *value != 0) {
                property_ui(ui, label, help, |ui| {
                    address_link(ui, shown, VirtAddr(value), &format!("{value:016x}"), commands);
                });
            }
        };
        address("Thread pointer", "Where thread-local storage is", registers.tls);
        address("Robust futex list", "Head of the list that the kernel walks when the thread dies", thread.robust_list);
        address("Restartable sequence", "Area of rseq(2)", thread.rseq);
        address("Cleared at exit", "set_tid_address(2)", thread.clear_tid);
        address("Signal stack", "Alternate signal stack", thread.alt_stack.map(|(at, _)| at));
        if let Some(signal) = thread.pdeath_sig.filter(|signal| *signal != 0) {
            property_ui(ui, "When the parent dies", "PR_SET_PDEATHSIG", |ui| {
                ui.label(names::signal(shown.checkpoint.container.arch, signal))
            });
        }
    });
}

fn named(ui: &mut Ui, name: &str, draw: impl FnOnce(&mut Ui)) {
    let tokens = Tokens::get(ui);
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_M;
        let (rect, _) = ui.allocate_exact_size(egui::vec2(NAME, 18.0), Sense::hover());
        ui.painter().text(rect.left_center(), egui::Align2::LEFT_CENTER, name, tokens::mono_font(), tokens.muted);
        draw(ui);
    });
}

fn register_ui(
    ui: &mut Ui,
    shown: Shown<'_>,
    registers: &Registers,
    name: &str,
    value: u64,
    symbols: Option<&Symbols>,
    commands: &mut Vec<Command>,
) {
    named(ui, name, |ui| {
        let addr = VirtAddr(value);
        address_link(ui, shown, addr, &format!("{value:016x}"), commands);
        let note = if name == "flags" && registers.arch == Arch::X86 {
            flags(value)
        } else {
            points_to(shown, addr, symbols).map(|name| format!("→ {name}")).unwrap_or_default()
        };
        if !note.is_empty() {
            let tokens = Tokens::get(ui);
            ui.spacing_mut().item_spacing.x = SPACE_S;
            let text = RichText::new(escape_controls(&note)).font(tokens::mono_font()).color(tokens.muted);
            ui.add(egui::Label::new(text.line_height(Some(17.0))).truncate().selectable(true));
        }
    });
}

/// The symbol at an address where one is known, else the area and how far inside of it.
fn points_to(shown: Shown<'_>, addr: VirtAddr, symbols: Option<&Symbols>) -> Option<String> {
    let vma = shown.process.memory.known()?.vma_at(addr)?;
    let symbol = symbols.and_then(|symbols| symbols.name_of(addr)).filter(|name| name.symbol.is_some());
    Some(symbol.map_or_else(|| space::name_of(vma, addr), |name| name.to_string()))
}

fn flags(value: u64) -> String {
    let names: Vec<&str> = FLAGS.into_iter().filter(|(bit, _)| value & 1 << bit != 0).map(|(_, name)| name).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_named_and_registers_are_in_their_groups() {
        assert_eq!(flags(0x246), "PF ZF IF");
        assert_eq!(flags(2), "");
        assert_eq!(
            ["ip", "r12", "fs_base", "x30", "x3"].map(Group::of),
            [Group::Control, Group::General, Group::Segments, Group::Control, Group::General]
        );
    }
}
