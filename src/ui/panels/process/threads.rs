//! Threads, and the registers of the one that is selected.

use std::cmp::Ordering;
use std::fmt::Write as _;

use egui::{Frame, Margin, ScrollArea, Ui};

use super::Shown;
use crate::base::{Field, VirtAddr};
use crate::checkpoint::memory_map::MemoryMap;
use crate::checkpoint::process::{Process, Thread};
use crate::checkpoint::registers::Registers;
use crate::decode::Arch;
use crate::session::{Command, Target};
use crate::ui::names;
use crate::ui::tokens::{self, SPACE_L, SPACE_M, Tokens};
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState, absent, mono_text, property_ui, section};

const COLUMNS: &[Column] = &[
    Column::right("TID", 80.0, "Inside the container"),
    Column::left("Name", 170.0, "The thread's own name (comm)"),
    Column::right("Program counter", 170.0, "Address of the next instruction"),
    Column::left("In", 320.0, "What is mapped there"),
    Column::left("Scheduling", 150.0, "Policy and nice value or priority"),
    Column::left("Blocked signals", 260.0, "Signals the thread has blocked"),
];

pub(super) fn threads_ui(ui: &mut Ui, shown: Shown<'_>, state: &mut TableState, commands: &mut Vec<Command>) {
    let process = shown.process;
    let selected = match shown.archive.target() {
        Target::Thread { pid, tid } if *pid == process.pid => process.threads.iter().find(|thread| thread.tid == *tid),
        _ => None,
    }
    .or(process.threads.first());
    let Some(selected) = selected else {
        crate::ui::widgets::empty_state(ui, crate::ui::icons::CPU, "No threads", "A zombie has none.");
        return;
    };
    let target = Target::Thread { pid: process.pid, tid: selected.tid };
    let body = ui.available_rect_before_wrap();
    // A single thread needs no more than its row; many share the height.
    let rows_height = (process.threads.len() as f32 * tokens::ROW_HEIGHT + 86.0).min(body.height() * 0.45);
    let top = egui::Rect::from_min_size(body.min, egui::vec2(body.width(), rows_height));
    ui.scope_builder(egui::UiBuilder::new().max_rect(top), |ui| {
        let rows = ThreadRows { process, arch: shown.checkpoint.container.arch };
        commands.extend(Table::new("threads", COLUMNS).show(ui, state, &rows, shown.key(), &target, |_| {}));
    });
    let below = egui::Rect::from_min_max(top.left_bottom(), body.max);
    let line = Tokens::get(ui).line;
    ui.painter().hline(below.x_range(), below.top(), egui::Stroke::new(1.0, line));
    ui.scope_builder(egui::UiBuilder::new().max_rect(below), |ui| {
        ScrollArea::vertical().id_salt("registers").auto_shrink(false).show(ui, |ui| {
            Frame::NONE
                .inner_margin(Margin::same(SPACE_M as i8))
                .show(ui, |ui| thread_ui(ui, shown, selected, commands));
        });
    });
    ui.advance_cursor_after_rect(body);
}

fn thread_ui(ui: &mut Ui, shown: Shown<'_>, thread: &Thread, commands: &mut Vec<Command>) {
    let registers = match &thread.registers {
        Field::Known(registers) => registers,
        Field::Absent(why) => {
            absent(ui, *why);
            return;
        }
    };
    let note = if registers.is_compat {
        "32-bit task; a value in blue lies in mapped memory"
    } else {
        "a value in blue lies in mapped memory"
    };
    section(ui, &format!("Registers of thread {}", thread.tid), note, |ui| {
        registers_ui(ui, shown, registers, commands)
    });
    section(ui, "Thread", "", |ui| {
        let mut address = |label: &'static str, help: &str, value: Option<u64>| {
            if let Some(value) = value.filter(|value| *value != 0) {
                property_ui(ui, label, help, |ui| address_ui(ui, shown, value, commands));
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
    if !registers.vector.is_empty() {
        section(ui, "Vector and floating point", "least significant byte last", |ui| {
            for (name, bytes) in registers.vector.iter().take(256) {
                property_ui(ui, name, "", |ui| {
                    let mut digits = String::with_capacity(bytes.len() * 2);
                    for byte in bytes.iter().rev().take(256) {
                        let _ = write!(digits, "{byte:02x}");
                    }
                    ui.add(egui::Label::new(mono_text(digits)).wrap().selectable(true))
                });
            }
        });
    }
}

/// Name and value in columns, as debuggers print them.
fn registers_ui(ui: &mut Ui, shown: Shown<'_>, registers: &Registers, commands: &mut Vec<Command>) {
    let columns = ((ui.available_width() / 240.0) as usize).clamp(1, 4);
    let rows = registers.general.len().div_ceil(columns);
    egui::Grid::new("registers").num_columns(columns).spacing([SPACE_L, 2.0]).min_row_height(18.0).show(ui, |ui| {
        for row in 0..rows {
            for column in 0..columns {
                let Some((name, value)) = registers.general.get(column * rows + row) else { continue };
                ui.horizontal(|ui| {
                    ui.set_width(220.0);
                    let (rect, _) = ui.allocate_exact_size(egui::vec2(64.0, 18.0), egui::Sense::hover());
                    let color = Tokens::get(ui).muted;
                    ui.painter().text(rect.left_center(), egui::Align2::LEFT_CENTER, *name, tokens::mono_font(), color);
                    address_ui(ui, shown, *value, commands);
                });
            }
            ui.end_row();
        }
    });
}

/// A number; a link to its bytes when it lies in mapped memory.
fn address_ui(ui: &mut Ui, shown: Shown<'_>, value: u64, commands: &mut Vec<Command>) {
    super::address_link(ui, shown, VirtAddr(value), &format!("{value:016x}"), commands);
}

/// Start and name of the vma around an address.
fn vma_at(memory: &MemoryMap, at: VirtAddr) -> Option<(VirtAddr, String)> {
    let behind = memory.vmas.partition_point(|vma| vma.start <= at);
    let vma = memory.vmas.get(behind.checked_sub(1)?).filter(|vma| at < vma.end)?;
    let name = if vma.path.is_empty() { vma.kind.word().to_owned() } else { vma.path.label() };
    Some((vma.start, name))
}

struct ThreadRows<'a> {
    process: &'a Process,
    arch: Option<Arch>,
}

impl TableRows for ThreadRows<'_> {
    fn len(&self) -> usize {
        self.process.threads.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(thread) = self.process.threads.get(row) else { return Cell::empty() };
        let registers = thread.registers.known();
        match column {
            0 => Cell::mono(thread.tid.to_string()),
            1 => Cell::text(thread.comm.known().map_or_else(|| "?".to_owned(), |comm| comm.label())),
            2 => registers.map_or_else(Cell::empty, |registers| {
                let addr = VirtAddr(registers.pc);
                let cell = Cell::mono(addr.to_string());
                let is_mapped = self.process.memory.known().is_some_and(|memory| memory.vma_at(addr).is_some());
                if is_mapped { cell.link(Target::Address { pid: self.process.pid, addr }) } else { cell }
            }),
            3 => {
                let vma = registers
                    .zip(self.process.memory.known())
                    .and_then(|(registers, memory)| vma_at(memory, VirtAddr(registers.pc)));
                match vma {
                    Some((start, name)) => Cell::mono(name).link(Target::Vma { pid: self.process.pid, start }),
                    None => Cell::text("not mapped").muted(),
                }
            }
            4 => Cell::text(thread.sched.known().map(sched_label).unwrap_or_default()),
            _ => match thread.blocked.known() {
                Some(0) => Cell::text("none").muted(),
                Some(mask) => Cell::text(names::signals(self.arch, *mask)),
                None => Cell::empty(),
            },
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        match (column, self.process.threads.get(a), self.process.threads.get(b)) {
            (0, Some(left), Some(right)) => left.tid.cmp(&right.tid),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        self.process.threads.get(row).map(|thread| Target::Thread { pid: self.process.pid, tid: thread.tid })
    }
}

fn sched_label(sched: &crate::checkpoint::process::Sched) -> String {
    let policy = sched.policy_name.map_or_else(|| format!("policy {}", sched.policy), ToOwned::to_owned);
    match sched.priority {
        Some(priority) => format!("{policy} {priority}"),
        None => format!("{policy} {}", sched.nice),
    }
}
