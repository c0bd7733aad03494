//! Every process, as a tree or as a list.

use std::cmp::Ordering;
use std::collections::HashSet;

use egui::{Key, ScrollArea, Ui};

use crate::base::{Pid, Text};
use crate::checkpoint::process::TaskState;
use crate::checkpoint::{Checkpoint, Process};
use crate::session::{ArchiveId, Command, OpenArchive, ProcessTab, Target};
use crate::ui::icons::{self, Icon};
use crate::ui::text;
use crate::ui::tokens::{self, ROW_HEIGHT, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{
    Cell, Column, FilterBox, ListRow, Table, TableRows, TableState, empty_state, icon_button, list_focus,
    toggle_button, walk,
};

/// Longest command line that is shown in a row or searched by a filter, in bytes.
const MAX_CMDLINE: usize = 400;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct ProcessesState {
    is_list: bool,
    filter: String,
    wants_focus: bool,
    tree: TreeState,
    table: TableState,
}

impl ProcessesState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        if self.is_list {
            self.table.focus_filter();
        } else {
            self.wants_focus = true;
        }
    }
}

#[derive(Debug, Default)]
struct TreeState {
    closed: HashSet<Pid>,
    rows: Vec<TreeRow>,
    /// What a filter looks at, for every process, in lower case.
    haystacks: Vec<String>,
    /// How many of the rows match the filter themselves.
    matching: usize,
    computed_for: Option<(ArchiveId, String, usize)>,
    /// Counts how often branches were opened or closed.
    edits: usize,
    shown_pid: Option<Pid>,
    scroll_to: Option<usize>,
    /// How far the rows are scrolled, in points.
    offset: f32,
}

#[derive(Clone, Copy, Debug)]
struct TreeRow {
    index: usize,
    depth: u32,
    is_open: Option<bool>,
    is_match: bool,
}

/// Draws the panel.
#[must_use]
pub fn processes_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut ProcessesState) -> Vec<Command> {
    if state.is_list {
        let mut is_list = true;
        let rows = ProcessRows(archive.checkpoint());
        let target = Target::process_tab(archive.selected_pid().unwrap_or_default(), ProcessTab::Summary);
        let mut commands = Table::new("processes", COLUMNS).show(
            ui,
            &mut state.table,
            &rows,
            u64::from(archive.id().0),
            &target,
            |ui| is_list = mode_ui(ui, true),
        );
        state.is_list = is_list;
        keep_tab(&mut commands, archive.process_tab());
        return commands;
    }
    tree_ui(ui, archive, state)
}

/// Rows of the list name the summary tab so that they can be compared; a click stays on the tab.
fn keep_tab(commands: &mut [Command], tab: ProcessTab) {
    for command in commands {
        if let Command::Navigate(
            crate::session::NavigateCommand::Go(Target::Process { tab: wanted, .. })
            | crate::session::NavigateCommand::Select(Target::Process { tab: wanted, .. }),
        ) = command
        {
            *wanted = Some(tab);
        }
    }
}

/// Tree or list; what it is from now on.
fn mode_ui(ui: &mut Ui, is_list: bool) -> bool {
    ui.spacing_mut().item_spacing.x = 2.0;
    let tree = toggle_button(ui, icons::TREE, "Show as tree", !is_list).clicked();
    let list = toggle_button(ui, icons::LIST, "Show as list", is_list).clicked();
    if tree { false } else { list || is_list }
}

fn tree_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut ProcessesState) -> Vec<Command> {
    let mut commands = Vec::new();
    let checkpoint = archive.checkpoint();
    ui.spacing_mut().item_spacing.y = 0.0;
    ui.add_space(SPACE_XS);
    ui.horizontal(|ui| {
        ui.add_space(SPACE_S);
        let width = (ui.available_width() - 92.0).clamp(80.0, 260.0);
        let wants_focus = std::mem::take(&mut state.wants_focus);
        FilterBox::new(&mut state.filter, "Filter processes").width(width).focus(wants_focus).show(ui);
        state.is_list = mode_ui(ui, false);
        let all_open = state.tree.closed.is_empty();
        let (icon, name) = if all_open {
            (icons::CARET_RIGHT, "Close all branches")
        } else {
            (icons::CARET_DOWN, "Open all branches")
        };
        if icon_button(ui, icon, name).clicked() {
            state.tree.toggle_all(checkpoint);
        }
    });
    ui.add_space(SPACE_XS);
    let needle = state.filter.to_lowercase();
    state.tree.update(archive, &needle);
    if state.tree.rows.is_empty() {
        if checkpoint.processes.is_empty() {
            empty_state(ui, icons::PROCESS, "No processes", "pstree.img is missing or could not be read; see Issues.");
        } else {
            empty_state(ui, icons::FILTER, "No process matches the filter", "It looks at pid, name and command line.");
        }
        return commands;
    }
    let body = ui.available_rect_before_wrap();
    let list = egui::Rect::from_min_max(body.min, egui::pos2(body.right(), body.bottom() - 22.0));
    ui.scope_builder(egui::UiBuilder::new().max_rect(list), |ui| {
        state.tree.rows_ui(ui, archive, &needle, &mut commands);
    });
    footer_ui(ui, egui::Rect::from_min_max(list.left_bottom(), body.max), &state.tree, checkpoint, !needle.is_empty());
    ui.advance_cursor_after_rect(body);
    commands
}

fn footer_ui(ui: &Ui, rect: egui::Rect, tree: &TreeState, checkpoint: &Checkpoint, is_filtered: bool) {
    let tokens = Tokens::get(ui);
    let all = text::counted(checkpoint.processes.len(), "process", "processes");
    let label = if is_filtered { format!("{} of {all}", text::grouped(tree.matching as u64)) } else { all };
    ui.painter().hline(rect.x_range(), rect.top(), egui::Stroke::new(1.0, tokens.line));
    let at = egui::pos2(rect.left() + SPACE_S, rect.center().y);
    ui.painter().text(at, egui::Align2::LEFT_CENTER, &label, tokens::small_font(), tokens.muted);
    let response = ui.interact(rect, ui.scope_id().with("footer"), egui::Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &label));
}

impl TreeState {
    fn toggle_all(&mut self, checkpoint: &Checkpoint) {
        self.edits += 1;
        if self.closed.is_empty() {
            let branches = checkpoint.processes.iter().filter(|process| !process.children.is_empty());
            self.closed = branches.map(|process| process.pid).collect();
        } else {
            self.closed.clear();
        }
    }

    fn update(&mut self, archive: &OpenArchive, needle: &str) {
        let wanted = (archive.id(), needle.to_owned(), self.edits);
        if self.computed_for.as_ref() != Some(&wanted) {
            if self.computed_for.as_ref().is_none_or(|(id, ..)| *id != archive.id()) {
                self.closed.clear();
                self.haystacks = archive.checkpoint().processes.iter().map(haystack).collect();
            }
            self.flatten(archive.checkpoint(), needle);
            self.computed_for = Some(wanted);
            self.shown_pid = None;
        }
        if self.shown_pid != archive.selected_pid() {
            self.shown_pid = archive.selected_pid();
            self.scroll_to = self.position(archive);
        }
    }

    fn position(&self, archive: &OpenArchive) -> Option<usize> {
        let pid = archive.selected_pid()?;
        self.rows
            .iter()
            .position(|row| archive.checkpoint().processes.get(row.index).is_some_and(|process| process.pid == pid))
    }

    /// The rows in view: open branches; under a filter, what matches with its ancestors.
    fn flatten(&mut self, checkpoint: &Checkpoint, needle: &str) {
        let processes = &checkpoint.processes;
        let matches: Vec<bool> = self.haystacks.iter().map(|haystack| haystack.contains(needle)).collect();
        // A parent always comes before its children: from the end, every child is known.
        let mut is_kept = matches.clone();
        let mut parent_of = vec![None; processes.len()];
        for (index, process) in processes.iter().enumerate() {
            for child in &process.children {
                if let Some(parent) = parent_of.get_mut(*child).filter(|_| *child != index) {
                    *parent = Some(index);
                }
            }
        }
        for index in (0..processes.len()).rev() {
            if is_kept[index]
                && let Some(parent) = parent_of[index].filter(|parent| *parent < index)
            {
                is_kept[parent] = true;
            }
        }
        self.matching = matches.iter().filter(|is_match| **is_match).count();
        self.rows.clear();
        let roots = (0..processes.len()).rev().filter(|index| parent_of[*index].is_none_or(|parent| parent >= *index));
        let mut stack: Vec<(usize, u32)> = roots.map(|index| (index, 0)).collect();
        while let Some((index, depth)) = stack.pop() {
            if !is_kept[index] {
                continue;
            }
            let Some(process) = processes.get(index) else { continue };
            let is_branch = process.children.iter().any(|child| *child > index && is_kept.get(*child) == Some(&true));
            let is_open = !needle.is_empty() || !self.closed.contains(&process.pid);
            self.rows.push(TreeRow { index, depth, is_open: is_branch.then_some(is_open), is_match: matches[index] });
            if is_open {
                let children =
                    process.children.iter().rev().filter(|child| **child > index && **child < processes.len());
                stack.extend(children.map(|child| (*child, depth + 1)));
            }
        }
    }

    fn rows_ui(&mut self, ui: &mut Ui, archive: &OpenArchive, needle: &str, commands: &mut Vec<Command>) {
        let checkpoint = archive.checkpoint();
        let focus = list_focus(ui, ui.scope_id().with("tree"), ui.max_rect(), "Process tree");
        if focus.has_focus() {
            self.keys(ui, archive, commands);
        }
        let mut area = ScrollArea::vertical().auto_shrink(false);
        if let Some(at) = self.scroll_to.take() {
            // Only when the row is out of sight.
            let (top, height) = (at as f32 * ROW_HEIGHT, ui.available_height());
            if top < self.offset || top + ROW_HEIGHT > self.offset + height {
                area = area.vertical_scroll_offset((top - height / 2.0).max(0.0));
            }
        }
        let mut toggled = None;
        let shown = area.show_rows(ui, ROW_HEIGHT, self.rows.len(), |ui, range| {
            for row in self.rows.get(range).unwrap_or_default() {
                let Some(process) = checkpoint.processes.get(row.index) else { continue };
                let comm = process.comm_label();
                let pid = process.pid.to_string();
                let (icon, tone, state) = look_of(process);
                let drawn = ListRow::new(&comm)
                    .name(&format!("{pid} {comm}"))
                    .icon(icon, tone)
                    .secondary(&cmdline_label(process))
                    .trailing(&pid)
                    .needle(needle)
                    .depth(row.depth)
                    .branch(row.is_open)
                    .muted(!row.is_match)
                    .selected(archive.selected_pid() == Some(process.pid))
                    .show(ui);
                if drawn.is_toggled {
                    toggled = Some(process.pid);
                } else if drawn.response.clicked() {
                    commands.push(Command::go(Target::process(process.pid)));
                    ui.memory_mut(|memory| memory.request_focus(focus.id));
                }
                drawn.response.context_menu(|ui| context_menu(ui, process, commands));
                if let Some(state) = state {
                    drawn.response.on_hover_text(state);
                }
            }
        });
        self.offset = shown.state.clamped_offset().y;
        if let Some(pid) = toggled {
            self.toggle(pid);
        }
    }

    fn toggle(&mut self, pid: Pid) {
        self.edits += 1;
        if !self.closed.remove(&pid) {
            self.closed.insert(pid);
        }
    }

    fn keys(&mut self, ui: &Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
        let processes = &archive.checkpoint().processes;
        let at = self.position(archive);
        if let Some(to) = walk(ui, at, self.rows.len(), ui.max_rect().height())
            && let Some(process) = self.rows.get(to).and_then(|row| processes.get(row.index))
        {
            commands.push(Command::select(Target::process(process.pid)));
        }
        let Some((row, process)) =
            at.and_then(|at| self.rows.get(at)).and_then(|row| Some((row, processes.get(row.index)?)))
        else {
            return;
        };
        let (left, right, enter) = ui.input(|input| {
            (input.key_pressed(Key::ArrowLeft), input.key_pressed(Key::ArrowRight), input.key_pressed(Key::Enter))
        });
        if (left && row.is_open == Some(true)) || (right && row.is_open == Some(false)) {
            let pid = process.pid;
            self.toggle(pid);
        } else if left && let Some(parent) = archive.checkpoint().parent(process) {
            commands.push(Command::select(Target::process(parent.pid)));
        } else if enter {
            commands.push(Command::go(Target::process(process.pid)));
        }
    }
}

fn context_menu(ui: &mut Ui, process: &Process, commands: &mut Vec<Command>) {
    for tab in ProcessTab::ALL {
        if ui.button(tab.title()).clicked() {
            commands.push(Command::go(Target::process_tab(process.pid, tab)));
            ui.close();
        }
    }
    ui.separator();
    if ui.button("Copy command line").clicked() {
        commands.push(Command::copy("command line", cmdline_label(process)));
        ui.close();
    }
    if ui.button("Copy pid").clicked() {
        commands.push(Command::copy("pid", process.pid.to_string()));
        ui.close();
    }
}

/// Icon, meaning, and what the state is in words where it is not the usual one.
pub fn look_of(process: &Process) -> (Icon, Tone, Option<&'static str>) {
    match process.state.known() {
        Some(TaskState::Zombie { .. }) => (icons::GHOST, Tone::Neutral, Some("Zombie: has exited, not yet waited for")),
        Some(TaskState::Stopped { .. }) => (icons::PAUSE, Tone::Warning, Some("Stopped by a signal")),
        Some(TaskState::Alive) if runs_deleted_file(process) => (
            icons::FILE_DELETED,
            Tone::Warning,
            Some("Program deleted: its path no longer leads to the file it runs, or it never had one"),
        ),
        Some(TaskState::Alive) => (icons::PROCESS, Tone::Neutral, None),
        Some(TaskState::Unknown(_)) | None => (icons::QUESTION, Tone::Neutral, Some("State could not be read")),
    }
}

/// Whether /proc/PID/exe would read "(deleted)".
pub fn runs_deleted_file(process: &Process) -> bool {
    process.exe.known().is_some_and(|exe| exe.target.as_bytes().ends_with(b" (deleted)"))
}

/// The command line on one line, cut after `MAX_CMDLINE` bytes.
pub fn cmdline_label(process: &Process) -> String {
    let mut line = String::new();
    for argument in process.cmdline.known().into_iter().flatten() {
        if !line.is_empty() {
            line.push(' ');
        }
        let bytes = argument.as_bytes();
        let cut = bytes.get(..bytes.len().min(MAX_CMDLINE)).unwrap_or_default();
        line.push_str(&Text::from(bytes::Bytes::copy_from_slice(cut)).label());
        if line.len() > MAX_CMDLINE {
            line.push('…');
            break;
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// Pid, name and command line in lower case.
fn haystack(process: &Process) -> String {
    format!("{} {} {}", process.pid, process.comm_label(), cmdline_label(process)).to_lowercase()
}

const COLUMNS: &[Column] = &[
    Column::right("PID", 70.0, "Inside the container"),
    Column::left("Name", 160.0, "The kernel's name of the task (comm), at most 15 bytes"),
    Column::right("PPID", 70.0, "Parent"),
    Column::left("State", 90.0, "CRIU records alive, stopped and zombie; running and sleeping are not told apart"),
    Column::right("UID", 70.0, "Effective user id, inside the user namespace"),
    Column::right("Threads", 80.0, ""),
    Column::right("Files", 70.0, "Open descriptors"),
    Column::left("Command line", 600.0, "As it lies in the memory of the process"),
];

struct ProcessRows<'a>(&'a Checkpoint);

impl TableRows for ProcessRows<'_> {
    fn len(&self) -> usize {
        self.0.processes.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(process) = self.0.processes.get(row) else { return Cell::empty() };
        match column {
            0 => Cell::mono(process.pid.to_string()),
            1 => {
                let (icon, tone, _) = look_of(process);
                Cell::text(process.comm_label()).icon(icon, tone)
            }
            2 => match (process.ppid.known(), self.0.parent(process)) {
                (Some(_), Some(parent)) => Cell::mono(parent.pid.to_string()).link(Target::process(parent.pid)),
                (Some(ppid), None) => Cell::mono(ppid.to_string()).muted(),
                (None, _) => Cell::text("unknown").muted(),
            },
            3 => Cell::text(process.state.known().and_then(|state| state.word()).unwrap_or("unknown")),
            4 => process
                .credentials()
                .map_or_else(Cell::empty, |credentials| Cell::mono(credentials.uids[1].to_string())),
            5 => Cell::mono(process.threads.len().to_string()),
            6 => Cell::mono(process.fds.len().to_string()),
            _ => Cell::mono(cmdline_label(process)),
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(left), Some(right)) = (self.0.processes.get(a), self.0.processes.get(b)) else {
            return Ordering::Equal;
        };
        let uid = |process: &Process| process.credentials().map(|credentials| credentials.uids[1]);
        match column {
            0 => left.pid.cmp(&right.pid),
            2 => left.ppid.known().cmp(&right.ppid.known()),
            4 => uid(left).cmp(&uid(right)),
            5 => left.threads.len().cmp(&right.threads.len()),
            6 => left.fds.len().cmp(&right.fds.len()),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        self.0.processes.get(row).map(|process| Target::process_tab(process.pid, ProcessTab::Summary))
    }
}
