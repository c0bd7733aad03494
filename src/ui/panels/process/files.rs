//! The descriptors of the process.

use std::cmp::Ordering;

use egui::Ui;

use super::Shown;
use crate::checkpoint::files::{FdEntry, FileKind};
use crate::checkpoint::{Checkpoint, Process};
use crate::session::{Command, Target};
use crate::ui::icons::{self, Icon};
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState};

const COLUMNS: &[Column] = &[
    Column::right("FD", 60.0, "Number in this process"),
    Column::left("Kind", 110.0, "CRIU's word for the kind of file"),
    Column::left("Target", 460.0, "As the link in /proc/PID/fd reads"),
    Column::left("Flags", 110.0, "Octal, as in /proc/PID/fdinfo, O_CLOEXEC included"),
    Column::right("Position", 100.0, "File position in bytes"),
    Column::left("Shared with", 220.0, "Other descriptors of the same open file"),
];

pub(super) fn files_ui(ui: &mut Ui, shown: Shown<'_>, state: &mut TableState, commands: &mut Vec<Command>) {
    let rows = FdRows { checkpoint: shown.checkpoint, process: shown.process };
    let target = shown.archive.target();
    let table = Table::new("descriptors", COLUMNS).empty_hint("A zombie has none; otherwise see Issues.");
    commands.extend(table.show(ui, state, &rows, shown.key(), target, |_| {}));
}

/// Icon of a kind of file.
pub(in crate::ui::panels) fn icon_of(kind: FileKind) -> Icon {
    match kind.word() {
        "reg" | "ext" => icons::FILE,
        "pipe" | "fifo" | "autofs_pipe" => icons::PIPE,
        "inetsk" | "unixsk" | "packetsk" | "netlinksk" => icons::SOCKET,
        "eventfd" | "eventpoll" | "signalfd" => icons::EVENT,
        "inotify" | "fanotify" => icons::VIEW,
        "tty" | "ctl_tty" => icons::ENVIRONMENT,
        "timerfd" => icons::TIMER,
        "memfd" => icons::MEMORY,
        "ns" => icons::NAMESPACE,
        "tunf" => icons::NETWORK,
        "pidfd" => icons::PROCESS,
        "bpfmap" => icons::BINARY,
        _ => icons::QUESTION,
    }
}

struct FdRows<'a> {
    checkpoint: &'a Checkpoint,
    process: &'a Process,
}

impl FdRows<'_> {
    fn fd(&self, row: usize) -> Option<&FdEntry> {
        self.process.fds.get(row)
    }
}

impl TableRows for FdRows<'_> {
    fn len(&self) -> usize {
        self.process.fds.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(entry) = self.fd(row) else { return Cell::empty() };
        let file = self.checkpoint.file(entry.file);
        match column {
            0 => Cell::mono(entry.fd.to_string()),
            1 => {
                let is_deleted = file.is_some_and(|file| file.is_deleted);
                let (icon, tone) = if is_deleted {
                    (icons::FILE_DELETED, Tone::Warning)
                } else {
                    (icon_of(entry.kind), Tone::Neutral)
                };
                Cell::text(entry.kind.word()).icon(icon, tone)
            }
            2 => {
                let to = if self.checkpoint.socket(entry.file).is_some() {
                    Target::Socket(entry.file)
                } else {
                    Target::File(entry.file)
                };
                match file {
                    Some(file) => {
                        let label = file
                            .target
                            .as_ref()
                            .map_or_else(|| format!("file {}", entry.file), |target| target.label());
                        Cell::mono(label).link(to)
                    }
                    None => Cell::text(format!("file {} is not in the checkpoint", entry.file)).tone(Tone::Warning),
                }
            }
            3 => {
                let cloexec = if entry.cloexec { 0o2_000_000 } else { 0 };
                file.and_then(|file| file.flags)
                    .map_or_else(Cell::empty, |flags| Cell::mono(format!("0{:o}", flags | cloexec)))
            }
            4 => file.and_then(|file| file.pos).map_or_else(Cell::empty, |pos| Cell::mono(pos.to_string())),
            _ => {
                let others = file.map(|file| file.fds.as_slice()).unwrap_or_default().iter();
                let others: Vec<_> = others
                    .filter(|(pid, fd)| (*pid, *fd) != (self.process.pid, entry.fd))
                    .take(12)
                    .map(
                        |(pid, fd)| {
                            if *pid == self.process.pid { format!("fd {fd}") } else { format!("{pid} fd {fd}") }
                        },
                    )
                    .collect();
                Cell::mono(others.join(", ")).muted()
            }
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(left), Some(right)) = (self.fd(a), self.fd(b)) else { return Ordering::Equal };
        let pos = |entry: &FdEntry| self.checkpoint.file(entry.file).and_then(|file| file.pos);
        match column {
            0 => left.fd.cmp(&right.fd),
            4 => pos(left).cmp(&pos(right)),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        self.fd(row).map(|entry| Target::Fd { pid: self.process.pid, fd: entry.fd })
    }
}
