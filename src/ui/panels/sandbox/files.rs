//! Open files as they are now, and files that changed since the processes were restored.

use std::cmp::Ordering;

use egui::Ui;

use crate::base::{Pid, escape_controls};
use crate::sandbox::watched::{Change, FileChange, OpenFile};
use crate::session::sandbox::SandboxRun;
use crate::session::{Command, OpenArchive, Target};
use crate::ui::text;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState};

const COLUMNS: &[Column] = &[
    Column::left("What", 100.0, "Changed since the processes were restored, or open now"),
    Column::right("PID", 70.0, "Who has it open"),
    Column::right("FD", 60.0, "As which descriptor"),
    Column::right("Size", 100.0, "Of a file that changed, when it was looked at"),
    Column::left("Path", 560.0, "In the container, or what the descriptor leads to"),
];

pub(super) fn files_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    run: &SandboxRun,
    state: &mut TableState,
    commands: &mut Vec<Command>,
) {
    let seen = run.seen();
    let changed = seen.changed_files().map(File::Changed);
    let rows = Rows { archive, list: changed.chain(seen.open_files().iter().map(File::Open)).collect() };
    let key = run.version().wrapping_add(u64::from(archive.id().0) << 48);
    let target = archive.selected_pid().map_or(Target::Overview, Target::process);
    let table =
        Table::new("files", COLUMNS).empty_hint("They are looked at every second, once the container is restored.");
    commands.extend(table.show(ui, state, &rows, key, &target, |ui| {
        ui.label(format!(
            "{} changed, {} open",
            text::grouped(seen.changed_files().len() as u64),
            text::grouped(seen.open_files().len() as u64)
        ));
        if seen.nr_changes_left_out() > 0 {
            ui.label(format!("{} more changes are not listed", text::grouped(seen.nr_changes_left_out())));
        }
    }));
}

#[derive(Clone, Copy)]
enum File<'a> {
    Changed(&'a FileChange),
    Open(&'a OpenFile),
}

struct Rows<'a> {
    archive: &'a OpenArchive,
    list: Vec<File<'a>>,
}

impl TableRows for Rows<'_> {
    fn len(&self) -> usize {
        self.list.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        match (column, self.list.get(row)) {
            (0, Some(File::Changed(change))) => {
                let cell = Cell::text(change.change.word());
                if change.change == Change::Removed { cell.tone(Tone::Error) } else { cell.tone(Tone::Warning) }
            }
            (0, Some(File::Open(_))) => Cell::text("open").muted(),
            (1, Some(File::Open(file))) => Cell::mono(file.pid.to_string()),
            (2, Some(File::Open(file))) => Cell::mono(file.fd.to_string()),
            (3, Some(File::Changed(change))) if change.change != Change::Removed => {
                Cell::mono(text::bytes(change.size_bytes))
            }
            (4, Some(File::Changed(change))) => Cell::mono(escape_controls(&change.path)),
            (4, Some(File::Open(file))) => Cell::mono(escape_controls(&file.target)),
            _ => Cell::empty(),
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let number = |row: usize| match (column, self.list.get(row)) {
            (1, Some(File::Open(file))) => Some(u64::from(file.pid)),
            (2, Some(File::Open(file))) => Some(u64::from(file.fd)),
            (3, Some(File::Changed(change))) => Some(change.size_bytes),
            _ => None,
        };
        if matches!(column, 0 | 4) {
            self.cell(a, column).text_cmp(&self.cell(b, column))
        } else {
            number(a).cmp(&number(b))
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        let File::Open(file) = self.list.get(row)? else { return None };
        let pid = Pid(file.pid);
        self.archive.checkpoint().process(pid).is_some().then_some(Target::process(pid))
    }
}
