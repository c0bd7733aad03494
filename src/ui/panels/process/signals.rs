//! Signal handlers, pending signals, timers.

use std::cmp::Ordering;

use egui::{Frame, Margin, RichText, ScrollArea, Ui};

use super::Shown;
use crate::base::{Pid, VirtAddr};
use crate::checkpoint::memory_map::MemoryMap;
use crate::checkpoint::signals::{PendingSignal, SignalAction};
use crate::decode::Arch;
use crate::session::{Command, Target};
use crate::ui::tokens::{SPACE_M, Tokens, Tone};
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState, property_ui, section};
use crate::ui::{names, text};

const COLUMNS: &[Column] = &[
    Column::right("No.", 50.0, "Number of the signal"),
    Column::left("Signal", 130.0, ""),
    Column::left("Action", 190.0, "Default, ignored, or the address of the handler"),
    Column::left("Flags", 130.0, "SA_ bits"),
    Column::left("Blocked meanwhile", 420.0, "Signals blocked while the handler runs"),
];

pub(super) fn signals_ui(ui: &mut Ui, shown: Shown<'_>, state: &mut TableState, commands: &mut Vec<Command>) {
    let process = shown.process;
    let timers = &process.timers;
    let has_more = !process.pending.is_empty()
        || process.threads.iter().any(|thread| !thread.pending.is_empty())
        || !timers.interval.is_empty()
        || !timers.posix.is_empty();
    let body = ui.available_rect_before_wrap();
    let split = if has_more { body.top() + body.height() * 0.55 } else { body.bottom() };
    let top = egui::Rect::from_min_max(body.min, egui::pos2(body.right(), split));
    ui.scope_builder(egui::UiBuilder::new().max_rect(top), |ui| {
        let rows = ActionRows {
            pid: process.pid,
            memory: process.memory.known(),
            actions: &process.signal_actions,
            arch: shown.checkpoint.container.arch,
        };
        let table = Table::new("signals", COLUMNS).empty_hint("Signal actions were not recorded for this process.");
        commands.extend(table.show(ui, state, &rows, shown.key(), &Target::Overview, |_| {}));
    });
    if has_more {
        let below = egui::Rect::from_min_max(top.left_bottom(), body.max);
        ui.scope_builder(egui::UiBuilder::new().max_rect(below), |ui| {
            ScrollArea::vertical().id_salt("pending").auto_shrink(false).show(ui, |ui| {
                Frame::NONE.inner_margin(Margin::same(SPACE_M as i8)).show(ui, |ui| pending_ui(ui, shown));
            });
        });
    }
    ui.advance_cursor_after_rect(body);
}

fn pending_ui(ui: &mut Ui, shown: Shown<'_>) {
    let arch = shown.checkpoint.container.arch;
    let process = shown.process;
    let of_threads =
        process.threads.iter().flat_map(|thread| thread.pending.iter().map(|signal| (Some(thread.tid), signal)));
    let pending: Vec<_> = process.pending.iter().map(|signal| (None, signal)).chain(of_threads).take(200).collect();
    if !pending.is_empty() {
        section(ui, "Pending", "sent and not yet delivered", |ui| {
            for (tid, signal) in pending {
                let to = tid.map_or_else(|| "process".to_owned(), |tid| format!("thread {tid}"));
                property_ui(ui, &names::signal(arch, signal.signal), "", |ui| {
                    ui.label(format!("to {to}{}", from(signal)))
                });
            }
        });
    }
    let timers = &process.timers;
    if !timers.interval.is_empty() || !timers.posix.is_empty() {
        section(ui, "Timers", "", |ui| {
            for timer in &timers.interval {
                let every = if timer.interval_us == 0 {
                    "once".to_owned()
                } else {
                    format!("then every {}", text::micros(timer.interval_us))
                };
                property_ui(ui, timer.name, "setitimer", |ui| {
                    ui.label(format!("in {}, {every}", text::micros(timer.value_us)))
                });
            }
            for timer in timers.posix.iter().take(200) {
                let every = if timer.interval_ns == 0 {
                    "once".to_owned()
                } else {
                    format!("then every {}", text::micros(timer.interval_ns / 1000))
                };
                let when = if timer.value_ns == 0 {
                    "disarmed".to_owned()
                } else {
                    format!("in {}, {every}", text::micros(timer.value_ns / 1000))
                };
                property_ui(ui, &format!("Timer {}", timer.id), "timer_create", |ui| {
                    let line = format!(
                        "{when}; sends {}, clock {}, {} missed",
                        names::signal(arch, timer.signal),
                        timer.clock_id,
                        timer.overrun
                    );
                    ui.add(egui::Label::new(RichText::new(line).color(Tokens::get(ui).text)).wrap());
                });
            }
        });
    }
}

fn from(signal: &PendingSignal) -> String {
    match signal.sender {
        Some((pid, uid)) => format!(", from process {pid} of user {uid}"),
        None => format!(", code {}", signal.code),
    }
}

struct ActionRows<'a> {
    pid: Pid,
    memory: Option<&'a MemoryMap>,
    actions: &'a [SignalAction],
    arch: Option<Arch>,
}

impl TableRows for ActionRows<'_> {
    fn len(&self) -> usize {
        self.actions.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(action) = self.actions.get(row) else { return Cell::empty() };
        let is_default = action.handler == 0;
        match column {
            0 => Cell::mono(action.signal.to_string()).muted(),
            1 if is_default => Cell::text(names::signal(self.arch, action.signal)).muted(),
            1 => Cell::text(names::signal(self.arch, action.signal)),
            2 => match action.handler {
                0 => Cell::text("default").muted(),
                1 => Cell::text("ignored").tone(Tone::Accent),
                handler => {
                    let addr = VirtAddr(handler);
                    let cell = Cell::mono(addr.to_string());
                    let is_mapped = self.memory.is_some_and(|memory| memory.vma_at(addr).is_some());
                    if is_mapped { cell.link(Target::Address { pid: self.pid, addr }) } else { cell }
                }
            },
            3 if action.flags == 0 => Cell::empty(),
            3 => Cell::mono(format!("{:#x}", action.flags)),
            _ if action.mask == 0 => Cell::empty(),
            _ => Cell::text(names::signals(self.arch, action.mask)),
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        match (column, self.actions.get(a), self.actions.get(b)) {
            (0 | 1, Some(left), Some(right)) => left.signal.cmp(&right.signal),
            (2, Some(left), Some(right)) => left.handler.cmp(&right.handler),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, _row: usize) -> Option<Target> {
        None
    }
}
