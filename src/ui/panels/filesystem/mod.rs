//! Files in the checkpoint: what changed in the root filesystem, what was removed, what could be
//! recovered. A tree or a table, and a viewer for the selected one.

mod list;
mod rows;
mod tree;
mod viewer;

use egui::{RichText, Ui};

use crate::checkpoint::recovered::Source;
use crate::session::filesystem::{Entry, FileGroup, FileRowId};
use crate::session::{ArchiveId, Command, OpenArchive, Target};
use crate::ui::icons::{self, Icon};
use crate::ui::text::grouped;
use crate::ui::tokens::{self, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{Follow, Table, TableState, split_detail, toggle_button};

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct FilesystemState {
    archive: Option<ArchiveId>,
    is_list: bool,
    group: FileGroup,
    /// Changes with the rows of the table.
    version: u64,
    table: TableState,
    tree: tree::TreeState,
    follow: Follow<FileRowId>,
    viewer: viewer::ViewerState,
}

impl FilesystemState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        if self.is_list {
            self.table.focus_filter();
        } else {
            self.tree.focus_filter();
        }
    }

    fn update(&mut self, archive: &OpenArchive) {
        if self.archive != Some(archive.id()) {
            self.archive = Some(archive.id());
            self.set_group(FileGroup::All);
        }
        let before = self.follow.shown().copied();
        self.follow.update(archive, |target| row_of(archive, target));
        let Some(row) = self.follow.shown().copied().filter(|row| Some(*row) != before) else { return };
        // A place that another panel leads to must not be hidden.
        if !archive.files().row(row).is_some_and(|row| self.group.holds(archive.checkpoint(), row.origin)) {
            self.set_group(FileGroup::All);
        }
        self.tree.reveal(archive, row);
    }

    fn set_group(&mut self, group: FileGroup) {
        self.group = group;
        self.version += 1;
    }
}

fn row_of(archive: &OpenArchive, target: &Target) -> Option<FileRowId> {
    match target {
        Target::RootfsPath(name) => archive.files().find(archive.checkpoint(), name),
        _ => None,
    }
}

/// Draws the panel.
#[must_use]
pub fn filesystem_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut FilesystemState) -> Vec<Command> {
    let mut commands = Vec::new();
    state.update(archive);
    let files = archive.files();
    let shown = state.follow.shown().copied();
    let mut is_closed = false;
    let mut asked = Vec::new();
    let detail = shown.and_then(|row| files.row(row)).map(|row| {
        let (viewer, asked, is_closed) = (&mut state.viewer, &mut asked, &mut is_closed);
        move |ui: &mut Ui| *is_closed = viewer::viewer_ui(ui, archive, row.origin, viewer, asked)
    });
    let mut group = state.group;
    let mut is_list = state.is_list;
    let mut opened = None;
    split_detail(ui, "filesystem", detail, |ui| {
        let tools = |ui: &mut Ui| {
            is_list = mode_ui(ui, is_list);
            groups_ui(ui, archive, &mut group);
        };
        if !state.is_list {
            opened = state.tree.show(ui, archive, state.group, shown, &mut commands, tools);
            return;
        }
        let checkpoint = archive.checkpoint();
        let target = match shown.and_then(|row| files.row(row)) {
            Some(row) => Target::RootfsPath(row.name(checkpoint)),
            None => Target::Overview,
        };
        let rows = list::FileRows { checkpoint, files, rows: files.of_group(state.group), selected: shown };
        let table = Table::new("files", list::COLUMNS).empty_hint(EMPTY_HINT);
        commands.extend(table.show(ui, &mut state.table, &rows, state.version, &target, tools));
    });
    state.is_list = is_list;
    if group != state.group {
        state.set_group(group);
    }
    if is_closed {
        state.follow.close();
    }
    match opened {
        // Walking past a file does not open the viewer that was closed.
        Some(tree::Opened { row, is_walked: true }) if shown.is_none() => {
            state
                .follow
                .pass(archive, files.row(row).map(|row| row.name(archive.checkpoint())).map(Target::RootfsPath));
        }
        _ => state.follow.clicked(&commands, |target| row_of(archive, target)),
    }
    commands.append(&mut asked);
    commands
}

/// What to say where there are no files.
const EMPTY_HINT: &str = "This archive has no changed files, and no process held a deleted file or a memfd open.";

/// Tree or table; what it is from now on.
fn mode_ui(ui: &mut Ui, is_list: bool) -> bool {
    ui.spacing_mut().item_spacing.x = 2.0;
    let tree = toggle_button(ui, icons::TREE, "Show files as tree", !is_list).clicked();
    let list = toggle_button(ui, icons::LIST, "Show files as list", is_list).clicked();
    ui.add_space(SPACE_XS);
    if tree { false } else { list || is_list }
}

fn groups_ui(ui: &mut Ui, archive: &OpenArchive, current: &mut FileGroup) {
    let groups = archive.files().groups();
    // Two chips say the same: all of one kind.
    if groups.len() <= 2 {
        return;
    }
    ui.spacing_mut().item_spacing.x = SPACE_XS;
    let label =
        |(group, rows): &(FileGroup, Vec<FileRowId>)| format!("{} {}", group.title(), grouped(rows.len() as u64));
    let width_of = |known: &(FileGroup, Vec<FileRowId>)| {
        let galley = ui.painter().layout_no_wrap(label(known), tokens::small_font(), egui::Color32::PLACEHOLDER);
        galley.size().x + 2.0 * ui.spacing().button_padding.x + SPACE_XS
    };
    if groups.iter().map(width_of).sum::<f32>() > ui.available_width() {
        let shown = groups.iter().find(|(group, _)| group == current).map(label).unwrap_or_default();
        ui.menu_button(format!("{shown} …"), |ui| {
            for known in groups {
                let response = ui.selectable_label(known.0 == *current, label(known));
                if response.on_hover_text(known.0.help()).clicked() {
                    *current = known.0;
                    ui.close();
                }
            }
        });
        return;
    }
    for (group, rows) in groups {
        let tokens = Tokens::get(ui);
        let color = if group == current { tokens.accent } else { tokens.text };
        let text = RichText::new(format!("{} {}", group.title(), grouped(rows.len() as u64)));
        let text = text.font(tokens::small_font()).color(color);
        let response = ui.add(egui::Button::selectable(group == current, text).min_size(egui::vec2(0.0, 22.0)));
        if response.on_hover_text(group.help()).clicked() {
            *current = *group;
        }
    }
}

/// Icon of an entry, and its meaning.
fn look_of(entry: Entry<'_>) -> (Icon, Tone) {
    match (entry, entry.kind()) {
        (Entry::Deleted { .. }, _) => (icons::FILE_DELETED, Tone::Error),
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

/// Short words for where an entry comes from and what is odd about it: word, meaning, one sentence.
fn badges_of(entry: Entry<'_>) -> Vec<(&'static str, Tone, &'static str)> {
    let mut badges = match entry {
        Entry::Changed(..) => vec![("changed", Tone::Neutral, FileGroup::Changed.help())],
        Entry::Deleted { is_whiteout: false, .. } => vec![("removed", Tone::Error, FileGroup::Deleted.help())],
        Entry::Deleted { is_whiteout: true, .. } => {
            vec![("whiteout", Tone::Error, "Was in the container's image; a mark in the archive hides it")]
        }
        Entry::Recovered(_, file) => {
            vec![(file.source.word(), tone_of(file.source), FileGroup::Recovered(file.source).help())]
        }
    };
    if let Entry::Changed(_, changed) = entry
        && changed.is_opaque
    {
        badges.push(("opaque", Tone::Warning, "The directory hides what the image had in it"));
    }
    if entry.is_setuid() {
        badges.push(("setuid", Tone::Warning, "Runs with the rights of its owner"));
    }
    if entry.is_setgid() {
        badges.push(("setgid", Tone::Warning, "Runs with the rights of its group"));
    }
    if entry.is_odd_device() {
        badges.push(("device", Tone::Warning, "A device node: leads around the file system"));
    }
    badges
}
