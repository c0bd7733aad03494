//! System calls, as strace would write them.

use std::cmp::Ordering;

use egui::Ui;

use crate::base::{Pid, escape_controls};
use crate::sandbox::syscalls::Call;
use crate::sandbox::words;
use crate::session::sandbox::SandboxRun;
use crate::session::{Command, OpenArchive, Target};
use crate::ui::text;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState};

const COLUMNS: &[Column] = &[
    Column::right("Time", 90.0, "Since the processes were restored, by the machine's clock"),
    Column::right("PID", 70.0, "Inside the container"),
    Column::left("Name", 130.0, "comm of the thread"),
    Column::left("Call", 130.0, "Name of the system call; /i386: by the entry for programs of 32 bits"),
    Column::left("Result", 110.0, "What it returned; ? while it goes on"),
    Column::right("Took", 90.0, "From its beginning to its end"),
    Column::left("Arguments", 520.0, "Strings and addresses as the kernel read them"),
];

pub(super) fn calls_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    run: &SandboxRun,
    state: &mut TableState,
    commands: &mut Vec<Command>,
) {
    let rows = Rows { archive, run };
    let hint = "Choose whose calls are told before a run: the kernel tells them, no process is touched.";
    let key = run.version().wrapping_add(u64::from(archive.id().0) << 48);
    let target = archive.selected_pid().map_or(Target::Overview, Target::process);
    let table = Table::new("system calls", COLUMNS).empty_hint(hint);
    commands.extend(table.show(ui, state, &rows, key, &target, |ui| {
        let left_out = run.seen().nr_calls_left_out();
        if left_out > 0 {
            let hint = "More than 2,000 a second are counted only, and of very many the oldest go";
            ui.label(format!("{} more are not listed", text::grouped(left_out))).on_hover_text(hint);
        }
    }));
}

struct Rows<'a> {
    archive: &'a OpenArchive,
    run: &'a SandboxRun,
}

impl Rows<'_> {
    fn call(&self, row: usize) -> Option<&Call> {
        self.run.seen().calls().get(row)
    }
}

/// A pid of the machine's list, which may not be known.
pub(super) fn pid_cell(pid: Option<u32>) -> Cell<'static> {
    pid.map_or_else(|| Cell::text("?").muted(), |pid| Cell::mono(pid.to_string()))
}

pub(super) fn time_cell(time_us: u64) -> Cell<'static> {
    Cell::mono(format!("{:.3} s", time_us as f64 / 1_000_000.0))
}

impl TableRows for Rows<'_> {
    fn len(&self) -> usize {
        self.run.seen().calls().len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(call) = self.call(row) else { return Cell::empty() };
        match column {
            0 => time_cell(call.time_us),
            1 => pid_cell(call.pid),
            2 => Cell::text(escape_controls(&call.comm)),
            3 => Cell::mono(escape_controls(&call.name()).into_owned()),
            4 => {
                let cell = Cell::mono(words::result(call.result, call.error));
                if call.error.is_some() { cell.tone(Tone::Warning) } else { cell }
            }
            5 => call.took_us.map_or_else(Cell::empty, |took| Cell::mono(format!("{:.1} ms", took as f64 / 1000.0))),
            6 => Cell::mono(escape_controls(&call.args.join(", ")).into_owned()),
            _ => Cell::empty(),
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(one), Some(other)) = (self.call(a), self.call(b)) else { return Ordering::Equal };
        match column {
            0 => one.time_us.cmp(&other.time_us),
            1 => one.pid.cmp(&other.pid),
            4 => one.result.cmp(&other.result),
            5 => one.took_us.cmp(&other.took_us),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        let pid = Pid(self.call(row)?.pid?);
        self.archive.checkpoint().process(pid).is_some().then_some(Target::process(pid))
    }
}
