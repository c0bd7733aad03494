//! Files in the checkpoint: what changed in the root filesystem, what was removed, what could be
//! recovered. A table, and a viewer for the selected one.

mod listing;
mod viewer;

use std::cmp::Ordering;

use egui::{RichText, Ui};

pub(super) use listing::name_of_recovered;
use listing::{Chip, Entry, Listing, Origin, Row};

use super::files::kinds::mode_text;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::recovered::Source;
use crate::session::{ArchiveId, Command, OpenArchive, Target};
use crate::ui::icons::{self, Icon};
use crate::ui::text::grouped;
use crate::ui::tokens::{self, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{Cell, Column, Follow, Table, TableRows, TableState, split_detail};

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct FilesystemState {
    listing: Option<(ArchiveId, Listing)>,
    chip: Chip,
    /// The rows of the chip, and what they were chosen for.
    rows: Vec<Row>,
    rows_of: Option<(ArchiveId, Chip)>,
    /// Changes with the rows.
    version: u64,
    table: TableState,
    follow: Follow<Row>,
    viewer: viewer::ViewerState,
}

impl FilesystemState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        self.table.focus_filter();
    }

    fn update(&mut self, archive: &OpenArchive) {
        let id = archive.id();
        let checkpoint = archive.checkpoint();
        if self.listing.as_ref().is_none_or(|(known, _)| *known != id) {
            self.listing = Some((id, Listing::of(checkpoint)));
            self.chip = Chip::All;
        }
        let Some((_, listing)) = &self.listing else { return };
        let before = self.follow.shown().copied();
        self.follow.update(archive, |target| row_of(checkpoint, listing, target));
        // A place that another panel leads to must not be hidden by a chip.
        if self.follow.shown().copied() != before && self.follow.shown().is_some_and(|row| !self.rows.contains(row)) {
            self.chip = Chip::All;
        }
        if self.rows_of != Some((id, self.chip)) {
            self.rows = listing.chosen(checkpoint, self.chip);
            self.rows_of = Some((id, self.chip));
            self.version += 1;
        }
    }
}

fn row_of(checkpoint: &Checkpoint, listing: &Listing, target: &Target) -> Option<Row> {
    match target {
        Target::RootfsPath(name) => listing.find(checkpoint, name),
        _ => None,
    }
}

/// Draws the panel.
#[must_use]
pub fn filesystem_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut FilesystemState) -> Vec<Command> {
    let mut commands = Vec::new();
    let checkpoint = archive.checkpoint();
    state.update(archive);
    let shown = state.follow.shown().copied();
    let mut is_closed = false;
    let mut asked = Vec::new();
    let detail = shown.map(|row| {
        let (viewer, asked, is_closed) = (&mut state.viewer, &mut asked, &mut is_closed);
        move |ui: &mut Ui| *is_closed = viewer::viewer_ui(ui, archive, row.origin, viewer, asked)
    });
    let mut chip = state.chip;
    split_detail(ui, "filesystem", detail, |ui| {
        let target = shown.map_or(Target::Overview, |row| Target::RootfsPath(row.name(checkpoint)));
        let rows = FileRows { checkpoint, rows: &state.rows };
        let table = Table::new("files", COLUMNS)
            .empty_hint("This archive has no changed files, and no process held a deleted file or a memfd open.");
        let chips = state.listing.as_ref().map(|(_, listing)| listing.chips.as_slice()).unwrap_or_default();
        commands.extend(
            table.show(ui, &mut state.table, &rows, state.version, &target, |ui| chips_ui(ui, chips, &mut chip)),
        );
    });
    state.chip = chip;
    if is_closed {
        state.follow.close();
    }
    if let Some((_, listing)) = &state.listing {
        state.follow.clicked(&commands, |target| row_of(checkpoint, listing, target));
    }
    commands.append(&mut asked);
    commands
}

fn chips_ui(ui: &mut Ui, chips: &[(Chip, usize)], current: &mut Chip) {
    // Two chips say the same: all of one kind.
    if chips.len() <= 2 {
        return;
    }
    ui.spacing_mut().item_spacing.x = SPACE_XS;
    for (chip, count) in chips {
        let tokens = Tokens::get(ui);
        let color = if chip == current { tokens.accent } else { tokens.text };
        let text = RichText::new(format!("{} {}", chip.title(), grouped(*count as u64)));
        let text = text.font(tokens::small_font()).color(color);
        let response = ui.add(egui::Button::selectable(chip == current, text).min_size(egui::vec2(0.0, 22.0)));
        if response.on_hover_text(chip.help()).clicked() {
            *current = *chip;
        }
    }
}

/// Icon of an entry, and its meaning.
fn look_of(entry: Entry<'_>) -> (Icon, Tone) {
    match (entry, entry.kind()) {
        (Entry::Deleted(_), _) => (icons::FILE_DELETED, Tone::Error),
        (_, "directory") => (icons::FOLDER, Tone::Neutral),
        (_, "symlink" | "hardlink") => (icons::LINK, Tone::Neutral),
        (_, "chardev" | "blockdev") if entry.is_odd_device() => (icons::DEVICE, Tone::Warning),
        (_, "chardev" | "blockdev") => (icons::DEVICE, Tone::Neutral),
        (_, "fifo") => (icons::PIPE, Tone::Neutral),
        (_, "socket") => (icons::SOCKET, Tone::Neutral),
        (Entry::Recovered(_, file), _) => match file.source {
            Source::Ghost => (icons::GHOST, Tone::Warning),
            Source::Memfd | Source::Shm => (icons::MEMORY, Tone::Accent),
            Source::Tmpfs | Source::DevShm | Source::Volume => (icons::FILE, Tone::Neutral),
        },
        _ => (icons::FILE, Tone::Neutral),
    }
}

/// Content that was meant to be gone, content that was never in a file, and ordinary files.
fn tone_of(source: Source) -> Tone {
    match source {
        Source::Ghost => Tone::Warning,
        Source::Memfd | Source::Shm => Tone::Accent,
        Source::Tmpfs | Source::DevShm | Source::Volume => Tone::Neutral,
    }
}

/// What deserves a look, in words; true when it deserves more than one.
fn notes_of(entry: Entry<'_>) -> (String, bool) {
    let mut notes: Vec<String> = Vec::new();
    notes.extend(entry.is_setuid().then(|| "setuid".to_owned()));
    notes.extend(entry.is_setgid().then(|| "setgid".to_owned()));
    notes.extend(entry.is_odd_device().then(|| "device".to_owned()));
    let is_alarming = !notes.is_empty();
    if let Entry::Changed(_, changed) = entry {
        notes.extend(changed.is_opaque.then(|| "hides what the image had in it".to_owned()));
    }
    if let Entry::Recovered(_, file) = entry
        && !file.files.is_empty()
    {
        notes.push(format!("open in {}", crate::ui::text::counted(file.files.len(), "file", "files")));
    }
    notes.extend(entry.link_target().map(|target| format!("→ {}", target.label())));
    (notes.join(", "), is_alarming)
}

/// `2026-11-24 06:13:42`, in UTC; the number where it is no time.
fn time_label(seconds: i64) -> String {
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => seconds.to_string(),
    }
}

const COLUMNS: &[Column] = &[
    Column::left("Path", 330.0, "In the container").at_least(240.0),
    Column::left("Source", 84.0, "Changed or removed in the root filesystem, or where it was recovered from"),
    Column::left("Mode", 96.0, "Type and permissions"),
    Column::left("Owner", 84.0, "User and group"),
    Column::right("Size", 90.0, "In bytes"),
    Column::left("Modified", 148.0, "In UTC"),
    Column::left("Notes", 200.0, "Set-id bits, devices, link targets"),
];

struct FileRows<'a> {
    checkpoint: &'a Checkpoint,
    rows: &'a [Row],
}

impl<'a> FileRows<'a> {
    fn entry(&self, row: usize) -> Option<Entry<'a>> {
        self.rows.get(row)?.origin.entry(self.checkpoint)
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
                Entry::Deleted(_) => Cell::text("removed").tone(Tone::Error),
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
        self.rows.get(row).map(|row| Target::RootfsPath(row.name(self.checkpoint)))
    }
}
