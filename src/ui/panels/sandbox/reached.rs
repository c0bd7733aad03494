//! Attempted connections, and what the sink of the sealed network heard.

use std::cmp::Ordering;
use std::path::Path;

use egui::Ui;

use super::calls::{pid_cell, time_cell};
use crate::base::{Pid, escape_controls};
use crate::sandbox::words;
use crate::session::sandbox::{Reached, SandboxRun};
use crate::session::{Command, ExportCommand, OpenArchive, Target};
use crate::ui::text;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState, link};

const COLUMNS: &[Column] = &[
    Column::right("Time", 90.0, "Since the processes were restored, by the machine's clock"),
    Column::left("Seen", 90.0, "By a system call of a process, or at the other end by the sink"),
    Column::right("PID", 70.0, "Inside the container; the sink does not know it"),
    Column::left("Name", 130.0, "comm of the thread"),
    Column::left("Address", 220.0, "That was to be reached"),
    Column::left("Host name", 180.0, "That was asked for and got this address as its answer"),
    Column::left("What", 460.0, "The call and what it returned, or what was said to the sink"),
];

pub(super) fn reached_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    run: &SandboxRun,
    state: &mut TableState,
    commands: &mut Vec<Command>,
) {
    let rows = Rows { archive, run };
    let hint = "No process has tried to reach an address yet. With the sink as network, names resolve and connections \
                are answered, all inside the sandbox. In a container only what reaches the sink is seen.";
    let key = run.version().wrapping_add(u64::from(archive.id().0) << 48);
    let target = archive.selected_pid().map_or(Target::Overview, Target::process);
    let table = Table::new("entries", COLUMNS).empty_hint(hint);
    let mut chosen = None;
    let shown = table.show(ui, state, &rows, key, &target, |ui| {
        let sockets = run.seen().sockets();
        let open = sockets.iter().filter(|socket| socket.state == "ESTAB").count();
        if !sockets.is_empty() {
            let lines =
                sockets.iter().take(40).map(|it| format!("{} {} {} {}", it.proto, it.state, it.local, it.remote));
            let lines = lines.map(|line| escape_controls(&line).into_owned()).collect::<Vec<_>>().join("\n");
            let words = format!("{}, {open} established", text::counted(sockets.len(), "socket now", "sockets now"));
            ui.label(words).on_hover_text(lines);
        }
        chosen = run.packets().and_then(|path| packets_ui(ui, path, run.is_running()));
    });
    commands.extend(shown);
    commands.extend(chosen);
}

/// What can be done with the packets of a run: a copy of them once all are there.
fn packets_ui(ui: &mut Ui, path: &Path, is_running: bool) -> Option<Command> {
    let hint = "A copy of all packets, as tcpdump and Wireshark read them; once the run has ended";
    let save = ui.add_enabled_ui(!is_running, |ui| link(ui, "Save packets as…")).inner;
    let is_saved = save.on_hover_text(hint).on_disabled_hover_text(hint).clicked();
    let shown = path.display().to_string();
    let hint = format!("All packets are recorded in {shown}, which Wireshark reads");
    let is_copied = link(ui, "Copy path of packets").on_hover_text(hint).clicked();
    let copied = is_copied.then(|| Command::copy("path of packets", shown));
    is_saved.then(|| ExportCommand::SaveCopy(path.to_owned()).into()).or(copied)
}

struct Rows<'a> {
    archive: &'a OpenArchive,
    run: &'a SandboxRun,
}

impl Rows<'_> {
    fn reached(&self, row: usize) -> Option<&Reached> {
        self.run.seen().reached().get(row)
    }
}

impl TableRows for Rows<'_> {
    fn len(&self) -> usize {
        self.run.seen().reached().len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(reached) = self.reached(row) else { return Cell::empty() };
        match (column, reached) {
            (0, _) => time_cell(reached.time_us()),
            (1, Reached::Attempt(_)) => Cell::text("attempt"),
            (1, Reached::Contact(_)) => Cell::text("sink").tone(Tone::Accent),
            (2, Reached::Attempt(attempt)) => pid_cell(attempt.pid),
            (3, Reached::Attempt(attempt)) => Cell::text(escape_controls(&attempt.comm)),
            (4, Reached::Attempt(attempt)) => Cell::mono(escape_controls(&attempt.to)),
            (4, Reached::Contact(contact)) => Cell::mono(escape_controls(&contact.to)),
            (5, Reached::Contact(contact)) => {
                contact.name.as_ref().map_or_else(Cell::empty, |name| Cell::text(escape_controls(name)))
            }
            (6, Reached::Attempt(attempt)) => {
                let result = words::result(attempt.result, attempt.error);
                Cell::mono(escape_controls(&format!("{} = {result}", attempt.call)).into_owned())
            }
            (6, Reached::Contact(contact)) => Cell::text(escape_controls(&contact.saw.words()).into_owned()),
            _ => Cell::empty(),
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(one), Some(other)) = (self.reached(a), self.reached(b)) else { return Ordering::Equal };
        match column {
            0 => one.time_us().cmp(&other.time_us()),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        let Reached::Attempt(attempt) = self.reached(row)? else { return None };
        let pid = Pid(attempt.pid?);
        self.archive.checkpoint().process(pid).is_some().then_some(Target::process(pid))
    }
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable as _;

    use super::*;

    #[test]
    fn packets_are_saved_once_the_run_has_ended() {
        for is_running in [true, false] {
            let path = Path::new("/runs/webapp-1.pcap");
            let mut harness = Harness::new_ui_state(
                |ui, asked: &mut Vec<Command>| asked.extend(packets_ui(ui, path, is_running)),
                Vec::new(),
            );
            harness.get_by_label("Save packets as…").click();
            harness.run();
            harness.get_by_label("Copy path of packets").click();
            harness.run();
            let asked: Vec<bool> = harness
                .state()
                .iter()
                .map(|asked| match asked {
                    Command::Export(ExportCommand::SaveCopy(from)) => from == path,
                    _ => false,
                })
                .collect();
            assert_eq!(asked, if is_running { vec![false] } else { vec![true, false] });
        }
    }
}
