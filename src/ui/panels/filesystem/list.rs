//! The files as a table, to sort and to compare.

use std::cmp::Ordering;

use super::super::files::kinds::mode_text;
use super::{look_of, notes_of, time_label, tone_of};
use crate::checkpoint::Checkpoint;
use crate::session::Target;
use crate::session::filesystem::{Entry, FileList, FileRowId};
use crate::ui::text::grouped;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, TableRows};

pub(super) const COLUMNS: &[Column] = &[
    Column::left("Path", 330.0, "In the container").at_least(240.0),
    Column::left("Source", 84.0, "Changed or removed in the root filesystem, or where it was recovered from"),
    Column::left("Mode", 96.0, "Type and permissions"),
    Column::left("Owner", 84.0, "User and group"),
    Column::right("Size", 90.0, "In bytes"),
    Column::left("Modified", 148.0, "In UTC"),
    Column::left("Notes", 200.0, "Set-id bits, devices, link targets"),
];

pub(super) struct FileRows<'a> {
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) files: &'a FileList,
    pub(super) rows: &'a [FileRowId],
    /// The selected one.
    pub(super) selected: Option<FileRowId>,
}

impl<'a> FileRows<'a> {
    fn entry(&self, row: usize) -> Option<Entry<'a>> {
        self.files.row(*self.rows.get(row)?)?.entry(self.checkpoint)
    }
}

impl TableRows for FileRows<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(entry) = self.entry(row) else { return Cell::empty() };
        match column {
            0 => {
                let (icon, tone) = look_of(entry);
                Cell::mono(entry.path().label()).icon(icon, tone)
            }
            1 => match entry {
                Entry::Changed(..) => Cell::text("changed").muted(),
                Entry::Deleted { .. } => Cell::text("removed").tone(Tone::Error),
                Entry::Recovered(_, file) => Cell::text(file.source.word()).tone(tone_of(file.source)),
            },
            2 => entry.mode().map_or_else(Cell::empty, |mode| {
                let cell = Cell::mono(mode_text(mode));
                if entry.is_setuid() || entry.is_setgid() { cell.tone(Tone::Warning) } else { cell }
            }),
            3 => entry.owner().map_or_else(Cell::empty, |(uid, gid)| Cell::mono(format!("{uid}:{gid}"))),
            4 => entry.size_bytes().map_or_else(Cell::empty, |size| Cell::mono(grouped(size))),
            5 => entry.mtime().map_or_else(Cell::empty, |mtime| Cell::mono(time_label(mtime)).muted()),
            _ => {
                let (notes, is_alarming) = notes_of(entry);
                if is_alarming { Cell::text(notes).tone(Tone::Warning) } else { Cell::text(notes).muted() }
            }
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(left), Some(right)) = (self.entry(a), self.entry(b)) else { return Ordering::Equal };
        match column {
            0 => left.path().cmp(right.path()),
            3 => left.owner().cmp(&right.owner()),
            4 => left.size_bytes().cmp(&right.size_bytes()),
            5 => left.mtime().cmp(&right.mtime()),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        let row = self.files.row(*self.rows.get(row)?)?;
        Some(Target::RootfsPath(row.name(self.checkpoint)))
    }

    fn is_target(&self, row: usize, _target: &Target) -> bool {
        self.selected.is_some() && self.rows.get(row).copied() == self.selected
    }
}
