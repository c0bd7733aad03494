//! Threads; of the one that is selected the stack and the registers.

mod registers;
mod stack;

use std::cmp::Ordering;

use egui::{Frame, Margin, Rect, ScrollArea, Stroke, Ui, UiBuilder};

use super::Shown;
use crate::base::VirtAddr;
use crate::checkpoint::memory_map::MemoryMap;
use crate::checkpoint::process::Process;
use crate::decode::Arch;
use crate::memory::Symbols;
use crate::session::{Command, Target};
use crate::ui::names;
use crate::ui::tokens::{self, SPACE_M, Tokens};
use crate::ui::widgets::{Cell, Column, Loading, Table, TableRows, TableState};
use stack::Stacks;

/// From this width on registers stand beside the stack, in points.
const BESIDE: f32 = 860.0;
/// Least and largest width of the registers beside a stack, in points.
const REGISTERS_WIDTH: (f32, f32) = (400.0, 620.0);

/// What the tab keeps.
#[derive(Debug, Default)]
pub(super) struct ThreadsState {
    pub(super) table: TableState,
    loading: Option<Loading>,
}

const COLUMNS: &[Column] = &[
    Column::right("TID", 80.0, "Inside the container"),
    Column::left("Name", 170.0, "The thread's own name (comm)"),
    Column::right("Program counter", 170.0, "Address of the next instruction"),
    Column::left("In", 320.0, "What is mapped there"),
    Column::left("Scheduling", 150.0, "Policy and nice value or priority"),
    Column::left("Blocked signals", 260.0, "Signals the thread has blocked"),
];

pub(super) fn threads_ui(ui: &mut Ui, shown: Shown<'_>, state: &mut ThreadsState, commands: &mut Vec<Command>) {
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
    let rows_height = (process.threads.len() as f32 * tokens::ROW_HEIGHT + 86.0).min(body.height() * 0.4);
    let top = Rect::from_min_size(body.min, egui::vec2(body.width(), rows_height));
    ui.scope_builder(UiBuilder::new().max_rect(top), |ui| {
        let rows = ThreadRows { process, arch: shown.checkpoint.container.arch };
        commands.extend(Table::new("threads", COLUMNS).show(ui, &mut state.table, &rows, shown.key(), &target, |_| {}));
    });
    let below = Rect::from_min_max(top.left_bottom(), body.max);
    let line = Stroke::new(1.0, Tokens::get(ui).line);
    ui.painter().hline(below.x_range(), below.top(), line);
    let stacks = stack::request(shown, commands);
    if below.width() < BESIDE {
        ui.scope_builder(UiBuilder::new().max_rect(below), |ui| {
            ScrollArea::vertical().id_salt("thread").auto_shrink(false).show(ui, |ui| {
                page(ui, |ui| {
                    stack::stack_ui(ui, shown, selected, &stacks, &mut state.loading, commands);
                    registers::registers_ui(ui, shown, selected, symbols_of(&stacks), commands);
                });
            });
        });
    } else {
        let width = (below.width() * 0.46).clamp(REGISTERS_WIDTH.0, REGISTERS_WIDTH.1);
        let split = (below.right() - width).max(below.left() + 0.4 * below.width()).round();
        let left = Rect::from_min_max(below.min, egui::pos2(split, below.bottom()));
        let right = Rect::from_min_max(egui::pos2(split, below.top()), below.max);
        ui.painter().vline(split, below.y_range(), line);
        ui.scope_builder(UiBuilder::new().max_rect(left), |ui| {
            ScrollArea::vertical().id_salt("stack").auto_shrink(false).show(ui, |ui| {
                page(ui, |ui| stack::stack_ui(ui, shown, selected, &stacks, &mut state.loading, commands));
            });
        });
        ui.scope_builder(UiBuilder::new().max_rect(right), |ui| {
            ScrollArea::vertical().id_salt("registers").auto_shrink(false).show(ui, |ui| {
                page(ui, |ui| registers::registers_ui(ui, shown, selected, symbols_of(&stacks), commands));
            });
        });
    }
    ui.advance_cursor_after_rect(body);
}

fn page(ui: &mut Ui, draw: impl FnOnce(&mut Ui)) {
    Frame::NONE.inner_margin(Margin::same(SPACE_M as i8)).show(ui, draw);
}

fn symbols_of(stacks: &Stacks) -> Option<&Symbols> {
    match stacks {
        Stacks::Ready(stacks) => Some(&stacks.symbols),
        Stacks::Loading | Stacks::Failed(_) => None,
    }
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
