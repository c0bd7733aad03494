//! Mounts of every mount namespace as a tree, and the namespaces themselves.

mod detail;
mod namespaces;

use std::cmp::Ordering;

use egui::Ui;

use crate::base::MntId;
use crate::checkpoint::{Checkpoint, Mount};
use crate::session::{Command, OpenArchive, Target};
use crate::ui::icons;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Follow, Table, TableRows, TableState, tab_strip};

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct MountsState {
    tab: usize,
    table: TableState,
    follow: Follow<MntId>,
    detail: detail::DetailState,
    namespaces: namespaces::NamespacesState,
}

impl MountsState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        match self.tab {
            0 => self.table.focus_filter(),
            _ => self.namespaces.focus_filter(),
        }
    }
}

/// Draws the panel.
#[must_use]
pub fn mounts_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut MountsState) -> Vec<Command> {
    let checkpoint = archive.checkpoint();
    let before = state.follow.shown().copied();
    state.follow.update(archive, mount_of);
    if state.follow.shown().copied() != before {
        state.tab = 0;
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    let tabs = [("Mounts", checkpoint.mounts.len()), ("Namespaces", checkpoint.namespaces.len())];
    state.tab = tab_strip(ui, &tabs, state.tab);
    if state.tab == 1 {
        let mut commands = Vec::new();
        namespaces::namespaces_ui(ui, archive, &mut state.namespaces, &mut commands);
        return commands;
    }
    let MountsState { table, follow, detail, .. } = state;
    follow.split_ui(
        ui,
        "mounts",
        mount_of,
        |ui, id, commands| detail::detail_ui(ui, archive, id, detail, commands),
        |ui, shown| {
            let target = shown.map_or(Target::Overview, Target::Mount);
            let key = u64::from(archive.id().0);
            let ends = checkpoint.mounts.first().zip(checkpoint.mounts.last());
            let has_namespaces = ends.is_some_and(|(first, last)| first.ns_id != last.ns_id);
            let list = Table::new("mounts", COLUMNS).empty_hint("No mountpoints image could be read; see Issues.");
            let rows = MountRows { checkpoint, has_namespaces };
            list.show(ui, table, &rows, key, &target, |_| {}).into_iter().collect()
        },
    )
}

fn mount_of(target: &Target) -> Option<MntId> {
    match target {
        Target::Mount(id) => Some(*id),
        _ => None,
    }
}

/// How mounts and unmounts spread: `shared:4 master:2`, as in mountinfo.
fn propagation(mount: &Mount) -> String {
    let mut words = Vec::new();
    words.extend(mount.shared_id.map(|id| format!("shared:{id}")));
    words.extend(mount.master_id.map(|id| format!("master:{id}")));
    if words.is_empty() { "private".to_owned() } else { words.join(" ") }
}

const COLUMNS: &[Column] = &[
    Column::left("Mount point", 270.0, "In the order of the tree until it is sorted by another column").at_least(180.0),
    Column::left("Type", 84.0, "File system"),
    Column::left("Source", 140.0, "Device or source"),
    Column::left("Flags", 210.0, "Of the mount, as in mountinfo"),
    Column::left("Propagation", 96.0, "Peer groups: whether mounts made here show elsewhere"),
    Column::left("External", 130.0, "Name by which the runtime hands it in at restore; its content is outside"),
    Column::left("Options", 200.0, "Of the super block"),
];

struct MountRows<'a> {
    checkpoint: &'a Checkpoint,
    has_namespaces: bool,
}

impl TableRows for MountRows<'_> {
    fn len(&self) -> usize {
        self.checkpoint.mounts.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(mount) = self.checkpoint.mounts.get(row) else { return Cell::empty() };
        match column {
            0 => {
                let mut label = mount.mountpoint.label();
                if self.has_namespaces && mount.depth == 0 {
                    label.push_str(&format!("  (namespace {})", mount.ns_id));
                }
                let cell = Cell::mono(label).depth(mount.depth);
                match (mount.is_deleted, &mount.content_img) {
                    (true, _) => cell.icon(icons::FILE_DELETED, Tone::Warning),
                    (false, Some(_)) => cell.icon(icons::MEMORY, Tone::Success),
                    (false, None) => cell.icon(icons::DEVICE, Tone::Neutral),
                }
            }
            1 => match &mount.fstype {
                Some(fstype) => Cell::mono(fstype.label()),
                None => Cell::text("unknown").muted(),
            },
            2 => Cell::mono(mount.source.label()),
            3 => Cell::mono(mount.flag_names()),
            4 => {
                let cell = Cell::mono(propagation(mount));
                if mount.shared_id.is_none() && mount.master_id.is_none() { cell.muted() } else { cell }
            }
            5 => mount.external_key.as_ref().map_or_else(Cell::empty, |key| Cell::mono(key.label())),
            _ => Cell::mono(mount.options.label()).muted(),
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        self.cell(a, column).text_cmp(&self.cell(b, column))
    }

    fn target(&self, row: usize) -> Option<Target> {
        self.checkpoint.mounts.get(row).map(|mount| Target::Mount(mount.mnt_id))
    }
}
