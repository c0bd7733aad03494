//! The processes as they are now.

use std::cmp::Ordering;

use egui::Ui;

use crate::base::{Pid, escape_controls};
use crate::sandbox::protocol::ProcessLine;
use crate::session::sandbox::SandboxRun;
use crate::session::{Command, OpenArchive, Target};
use crate::ui::text;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState};

const COLUMNS: &[Column] = &[
    Column::right("PID", 80.0, "Inside the container, as in the checkpoint"),
    Column::left("Name", 260.0, "comm"),
    Column::left("State", 120.0, "R running, S sleeping, D waiting for a device, T stopped, Z zombie"),
    Column::right("CPU", 100.0, "Processor time since it was restored"),
    Column::right("Memory", 110.0, "Resident"),
    Column::right("Threads", 80.0, "How many"),
    Column::left("In the checkpoint", 200.0, "Whether it was there when the container was frozen"),
];

pub(super) fn processes_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    run: &SandboxRun,
    state: &mut TableState,
    commands: &mut Vec<Command>,
) {
    let rows = Rows { archive, list: run.processes() };
    let hint = "They are told every second, once the container is restored.";
    let table = Table::new("processes", COLUMNS).empty_hint(hint);
    let target = archive.selected_pid().map_or(Target::Overview, Target::process);
    let key = run.version().wrapping_add(u64::from(archive.id().0) << 48);
    commands.extend(table.show(ui, state, &rows, key, &target, |ui| {
        if run.nr_more_processes() > 0 {
            ui.label(format!("{} more are not listed", text::grouped(u64::from(run.nr_more_processes()))));
        }
    }));
}

struct Rows<'a> {
    archive: &'a OpenArchive,
    list: &'a [ProcessLine],
}

impl Rows<'_> {
    /// The process of the checkpoint with the same pid and name.
    fn in_checkpoint(&self, line: &ProcessLine) -> bool {
        self.archive.checkpoint().process(Pid(line.ns_pid)).is_some()
    }
}

impl TableRows for Rows<'_> {
    fn len(&self) -> usize {
        self.list.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(line) = self.list.get(row) else { return Cell::empty() };
        match column {
            0 => Cell::mono(line.ns_pid.to_string()),
            1 => Cell::text(escape_controls(&line.comm)),
            2 => Cell::text(match line.state.as_str() {
                "R" => "running",
                "S" => "sleeping",
                "D" => "waiting",
                "T" | "t" => "stopped",
                "Z" => "zombie",
                "I" => "idle",
                _ => "other",
            }),
            3 => Cell::mono(format!("{:.1} s", line.cpu_ms as f64 / 1000.0)),
            4 => Cell::mono(text::bytes(line.rss_kib.saturating_mul(1024))),
            5 => Cell::mono(line.threads.to_string()),
            6 if self.in_checkpoint(line) => Cell::text("as frozen").muted(),
            6 => Cell::text("new").tone(Tone::Warning),
            _ => Cell::empty(),
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(one), Some(other)) = (self.list.get(a), self.list.get(b)) else { return Ordering::Equal };
        match column {
            0 => one.ns_pid.cmp(&other.ns_pid),
            3 => one.cpu_ms.cmp(&other.cpu_ms),
            4 => one.rss_kib.cmp(&other.rss_kib),
            5 => one.threads.cmp(&other.threads),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        let line = self.list.get(row)?;
        self.in_checkpoint(line).then_some(Target::process(Pid(line.ns_pid)))
    }
}
