//! What was frozen again, against what it was before.

use egui::Ui;

use crate::base::{Pid, escape_controls};
use crate::report::changes::{Changes, Difference};
use crate::session::sandbox::SandboxRun;
use crate::session::{Command, OpenArchive, Target};
use crate::ui::text;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState};

const COLUMNS: &[Column] = &[
    Column::left("What", 110.0, "Process, descriptor, map, memory, socket, file"),
    Column::right("PID", 80.0, "Inside the container"),
    Column::left("Change", 100.0, "Against the checkpoint that it was restored from"),
    Column::left("Which", 700.0, "Numbers that each dump gives anew are left out"),
];

pub(super) fn changes_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    run: &SandboxRun,
    state: &mut TableState,
    commands: &mut Vec<Command>,
) {
    let list = run.seen().changes().map(rows).unwrap_or_default();
    let rows = Rows { archive, list };
    let hint = "Tick \"freeze again\" before a run: what is frozen at its end is compared with this checkpoint.";
    let key = run.version().wrapping_add(u64::from(archive.id().0) << 48);
    let target = archive.selected_pid().map_or(Target::Overview, Target::process);
    let table = Table::new("changes", COLUMNS).empty_hint(hint);
    commands.extend(table.show(ui, state, &rows, key, &target, |ui| {
        if let Some(changes) = run.seen().changes() {
            let words = text::counted(changes.nr_unchanged, "process is", "processes are");
            ui.label(format!("{words} as before"));
        }
    }));
}

/// One difference.
struct Row {
    what: &'static str,
    pid: Option<u32>,
    change: &'static str,
    which: String,
}

fn rows(changes: &Changes) -> Vec<Row> {
    let mut out = Vec::new();
    for process in &changes.processes {
        let pid = Some(process.pid);
        let comm = process.comm.as_deref().unwrap_or("–");
        let exe = process.exe.as_deref().unwrap_or_default();
        out.push(Row { what: "process", pid, change: process.change, which: format!("{comm}  {exe}") });
        if let Some(pages) = process.pages.filter(|pages| pages.changed > 0) {
            let size = text::bytes(pages.changed.saturating_mul(pages.page_bytes));
            let which = format!("{} pages with other content ({size})", text::grouped(pages.changed));
            out.push(Row { what: "memory", pid, change: "changed", which });
        }
        push(&mut out, "descriptor", pid, &process.fds);
        push(&mut out, "map", pid, &process.maps);
    }
    push(&mut out, "socket", None, &changes.sockets);
    push(&mut out, "file", None, &changes.files);
    out
}

fn push(out: &mut Vec<Row>, what: &'static str, pid: Option<u32>, difference: &Difference) {
    for (change, list) in [("new", &difference.added), ("gone", &difference.removed)] {
        out.extend(list.iter().map(|which| Row { what, pid, change, which: which.clone() }));
    }
    if difference.left_out > 0 {
        let which = format!("{} more are not listed", difference.left_out);
        out.push(Row { what, pid, change: "", which });
    }
}

struct Rows<'a> {
    archive: &'a OpenArchive,
    list: Vec<Row>,
}

impl TableRows for Rows<'_> {
    fn len(&self) -> usize {
        self.list.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(row) = self.list.get(row) else { return Cell::empty() };
        match column {
            0 => Cell::text(row.what),
            1 => row.pid.map_or_else(Cell::empty, |pid| Cell::mono(pid.to_string())),
            2 => match row.change {
                "new" => Cell::text("new").tone(Tone::Success),
                "gone" => Cell::text("gone").tone(Tone::Error),
                other => Cell::text(other).tone(Tone::Warning),
            },
            3 => Cell::mono(escape_controls(&row.which)),
            _ => Cell::empty(),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        let pid = Pid(self.list.get(row)?.pid?);
        self.archive.checkpoint().process(pid).is_some().then_some(Target::process(pid))
    }
}
