//! Open files of the whole container: a table, and all about the selected one.

mod detail;
pub(super) mod kinds;
pub(super) mod links;

use std::cmp::Ordering;

use egui::Ui;

use super::process::icon_of;
use crate::base::FileId;
use crate::checkpoint::files::{FileDetail, Hold};
use crate::checkpoint::{Checkpoint, OpenFile};
use crate::decode::names;
use crate::session::{Command, OpenArchive, Target};
use crate::ui::icons;
use crate::ui::text::grouped;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Follow, Table, TableRows, TableState};

/// Most holders that are named in a row.
const MAX_HOLDERS: usize = 4;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct FilesState {
    table: TableState,
    follow: Follow<FileId>,
    detail: detail::DetailState,
}

impl FilesState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        self.table.focus_filter();
    }
}

/// Draws the panel.
#[must_use]
pub fn files_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut FilesState) -> Vec<Command> {
    let checkpoint = archive.checkpoint();
    let of = |target: &Target| match target {
        Target::File(id) | Target::Socket(id) => Some(*id),
        Target::Fd { pid, fd } => checkpoint.fd(*pid, *fd).map(|entry| entry.file),
        _ => None,
    };
    state.follow.update(archive, of);
    let FilesState { table, follow, detail } = state;
    follow.split_ui(
        ui,
        "files",
        of,
        |ui, id, commands| detail::detail_ui(ui, archive, id, detail, commands),
        |ui, shown| {
            let target = shown.map_or(Target::Overview, Target::File);
            let key = u64::from(archive.id().0);
            let hint = "No files image could be read; see Issues and Documents.";
            let list = Table::new("open files", COLUMNS).empty_hint(hint);
            list.show(ui, table, &FileRows(checkpoint), key, &target, |_| {}).into_iter().collect()
        },
    )
}

/// Bytes that were written into a file and not yet read by anybody.
pub(super) fn unread_bytes(checkpoint: &Checkpoint, file: &OpenFile) -> u64 {
    let of_bytes = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
    match &file.detail {
        FileDetail::Pipe(end) | FileDetail::Fifo(end) => of_bytes(&end.unread),
        FileDetail::Tty(tty) => of_bytes(&tty.unread),
        FileDetail::Socket => {
            checkpoint.socket(file.id).and_then(|socket| socket.recv_queue.as_ref()).map_or(0, |queue| queue.len_bytes)
        }
        _ => 0,
    }
}

/// How a process holds a file without a descriptor, in a word.
fn hold_word(hold: Hold) -> &'static str {
    match hold {
        Hold::Exe => "exe",
        Hold::Cwd => "cwd",
        Hold::Root => "root",
        Hold::Map => "map",
        Hold::InFlight => "in flight",
    }
}

const COLUMNS: &[Column] = &[
    Column::right("ID", 56.0, "CRIU's number of the open file description, which descriptors share"),
    Column::left("Kind", 100.0, "CRIU's word for the kind of file"),
    Column::left("Target", 300.0, "As the link in /proc/PID/fd reads").at_least(240.0),
    Column::left("Flags", 180.0, "Of open(2), of the open file description"),
    Column::right("Position", 104.0, "File position in bytes"),
    Column::right("Unread", 70.0, "Bytes written and not yet read by anybody"),
    Column::left("Held by", 220.0, "Descriptors as pid:fd, and processes that map it, run it or stand in it"),
];

struct FileRows<'a>(&'a Checkpoint);

impl FileRows<'_> {
    fn holders(file: &OpenFile) -> String {
        let mut words: Vec<String> = file.fds.iter().take(MAX_HOLDERS).map(|(pid, fd)| format!("{pid}:{fd}")).collect();
        let left = MAX_HOLDERS - words.len();
        words.extend(file.held_by.iter().take(left).map(|(pid, hold)| format!("{pid} {}", hold_word(*hold))));
        let all = file.fds.len() + file.held_by.len();
        if all > words.len() {
            words.push(format!("{} more", grouped((all - words.len()) as u64)));
        }
        words.join(", ")
    }
}

impl TableRows for FileRows<'_> {
    fn len(&self) -> usize {
        self.0.files.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(file) = self.0.files.get(row) else { return Cell::empty() };
        match column {
            0 => Cell::mono(file.id.to_string()),
            1 if file.is_deleted => Cell::text(file.kind.word()).icon(icons::FILE_DELETED, Tone::Warning),
            1 => Cell::text(file.kind.word()).icon(icon_of(file.kind), Tone::Neutral),
            2 => match &file.target {
                Some(target) if file.is_deleted => Cell::mono(target.label()).tone(Tone::Warning),
                Some(target) => Cell::mono(target.label()),
                None => Cell::text(links::label_without_target(self.0, file)).muted(),
            },
            3 => file.flags.map_or_else(Cell::empty, |flags| {
                let arch = self.0.container.arch.unwrap_or_default();
                // Set on every file by 64-bit programs: noise in a list.
                Cell::mono(names::open_flags(arch, u64::from(flags)).replace("|O_LARGEFILE", ""))
            }),
            4 => file.pos.map_or_else(Cell::empty, |pos| Cell::mono(grouped(pos))),
            5 => match unread_bytes(self.0, file) {
                0 => Cell::empty(),
                bytes => Cell::mono(grouped(bytes)).tone(Tone::Accent),
            },
            _ => {
                let cell = Cell::mono(FileRows::holders(file));
                match (file.fds.first(), file.held_by.first()) {
                    (Some((pid, fd)), _) => cell.link(Target::Fd { pid: *pid, fd: *fd }),
                    (None, Some((pid, _))) => cell.link(Target::process(*pid)),
                    (None, None) => Cell::text("nobody").muted(),
                }
            }
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(left), Some(right)) = (self.0.files.get(a), self.0.files.get(b)) else { return Ordering::Equal };
        match column {
            0 => left.id.cmp(&right.id),
            1 => (left.kind.word(), left.id).cmp(&(right.kind.word(), right.id)),
            3 => left.flags.cmp(&right.flags),
            4 => left.pos.cmp(&right.pos),
            5 => unread_bytes(self.0, left).cmp(&unread_bytes(self.0, right)),
            6 => (left.fds.first(), left.held_by.first()).cmp(&(right.fds.first(), right.held_by.first())),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        self.0.files.get(row).map(|file| Target::File(file.id))
    }
}
