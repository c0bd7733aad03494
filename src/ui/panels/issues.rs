//! What could not be read, and what a checkpoint like this one cannot show. Silence never reads as
//! "clean".

use std::cmp::Ordering;

use egui::{RichText, Ui};

use crate::base::{Issue, escape_controls};
use crate::checkpoint::Checkpoint;
use crate::session::{ArchiveId, BaseState, Command, OpenArchive, Target};
use crate::ui::icons;
use crate::ui::tokens::{Tokens, Tone};
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState, detail_page, empty_state, tab_strip};

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct IssuesState {
    tab: usize,
    table: TableState,
    base: TableState,
    seen: Option<Target>,
    /// The memory whose base image was taken in last.
    version: Option<(ArchiveId, u32)>,
}

impl IssuesState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        self.table.focus_filter();
    }
}

/// Draws the panel.
#[must_use]
pub fn issues_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut IssuesState) -> Vec<Command> {
    let mut commands = Vec::new();
    let checkpoint = archive.checkpoint();
    if state.seen.as_ref() != Some(archive.target()) {
        if matches!(archive.target(), Target::Issue(_)) {
            state.tab = 0;
        }
        state.seen = Some(archive.target().clone());
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    let base = match archive.base() {
        BaseState::Attached(base) if !base.issues.is_empty() => base.issues.as_slice(),
        _ => &[],
    };
    let tabs = [
        ("Could not be read", checkpoint.issues.len()),
        ("Cannot be shown", checkpoint.coverage.len()),
        ("Base image", base.len()),
    ];
    // Who has just attached an image comes for what is wrong with it.
    let version = (archive.id(), archive.memory_version());
    if state.version.replace(version) != Some(version) && !base.is_empty() {
        state.tab = 2;
    }
    let nr_tabs = if base.is_empty() { 2 } else { 3 };
    state.tab = tab_strip(ui, tabs.get(..nr_tabs).unwrap_or(&tabs), state.tab.min(nr_tabs - 1));
    match state.tab {
        0 if checkpoint.issues.is_empty() => {
            let hint = "Every record of every image was read. What such a checkpoint cannot show stands beside.";
            empty_state(ui, icons::SUCCESS, "Nothing was unreadable", hint);
        }
        0 => {
            let table = Table::new("issues", COLUMNS);
            let key = u64::from(archive.id().0);
            let rows = IssueRows { checkpoint, issues: &checkpoint.issues, is_base: false };
            commands.extend(table.show(ui, &mut state.table, &rows, key, archive.target(), |_| {}));
        }
        1 => coverage_ui(ui, archive, &mut commands),
        _ => {
            let table = Table::new("base image", COLUMNS);
            let key = u64::from(archive.id().0) << 32 | u64::from(archive.memory_version());
            let rows = IssueRows { checkpoint, issues: base, is_base: true };
            commands.extend(table.show(ui, &mut state.base, &rows, key, archive.target(), |_| {}));
        }
    }
    commands
}

fn coverage_ui(ui: &mut Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
    let gaps = &archive.checkpoint().coverage;
    if gaps.is_empty() {
        empty_state(ui, icons::GAP, "No gaps are known", "Everything that CRIU records is in this checkpoint.");
        return;
    }
    detail_page(ui, u64::from(archive.id().0), |ui| {
        let intro =
            "What this checkpoint cannot show. That something does not appear is no sign that it was not there.";
        ui.add(egui::Label::new(RichText::new(intro).color(Tokens::get(ui).muted)).wrap());
        for gap in gaps {
            super::base::gap_ui(ui, archive, gap, commands);
        }
    });
}

const COLUMNS: &[Column] = &[
    Column::left("Place", 300.0, "Member and byte offset; links to it where a panel shows it"),
    Column::left("What", 600.0, "What could not be read; the rest is shown"),
];

struct IssueRows<'a> {
    checkpoint: &'a Checkpoint,
    issues: &'a [Issue],
    /// They are about the base image.
    is_base: bool,
}

impl TableRows for IssueRows<'_> {
    fn len(&self) -> usize {
        self.issues.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(issue) = self.issues.get(row) else { return Cell::empty() };
        match column {
            0 => {
                let label = escape_controls(&issue.place.to_string()).into_owned();
                let cell = Cell::mono(label).icon(icons::ISSUE, Tone::Warning);
                match Target::of_place(self.checkpoint, &issue.place) {
                    Some(target) => cell.link(target),
                    None => cell,
                }
            }
            _ => Cell::text(escape_controls(&issue.what)),
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(left), Some(right)) = (self.issues.get(a), self.issues.get(b)) else { return Ordering::Equal };
        if column == 0 { left.place.cmp(&right.place) } else { left.what.cmp(&right.what) }
    }

    fn matches(&self, row: usize, needle: &str, _nr_columns: usize) -> bool {
        let Some(issue) = self.issues.get(row) else { return false };
        crate::ui::widgets::contains_ignore_case(&issue.to_string(), needle)
    }

    fn target(&self, row: usize) -> Option<Target> {
        (row < self.issues.len() && !self.is_base).then_some(Target::Issue(row))
    }
}
