//! The files in their directories.

use std::time::{Duration, Instant};

use egui::{Align2, Key, Rect, ScrollArea, Stroke, Ui};

use super::super::files::kinds::mode_text;
use super::rows::{Rows, matches};
use super::{badges_of, look_of, time_label};
use crate::session::filesystem::{Entry, FileGroup, FileRowId};
use crate::session::{Command, OpenArchive, Target};
use crate::ui::icons;
use crate::ui::text::{counted, grouped};
use crate::ui::tokens::{self, HEADER_HEIGHT, ROW_HEIGHT, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{FilterBox, ListRow, empty_state, icon_button, list_focus, walk};

/// How long a frame may filter.
const SLICE: Duration = Duration::from_millis(4);

/// What stands at the right of a row: title, width, and from which width of the panel on.
const COLUMNS: [(&str, f32, f32); 4] =
    [("Mode", 88.0, 700.0), ("Owner", 76.0, 820.0), ("Modified", 140.0, 560.0), ("Size", 84.0, 0.0)];

/// What the tree keeps.
#[derive(Debug, Default)]
pub(super) struct TreeState {
    filter: String,
    wants_focus: bool,
    rows: Rows,
    /// The node the keyboard is at.
    cursor: Option<u32>,
    scroll_to: Option<u32>,
    /// How far the rows are scrolled, in points.
    offset: f32,
}

/// A file that was gone to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) row: FileRowId,
    /// By walking along the list, not by asking for it.
    pub(super) is_walked: bool,
}

impl TreeState {
    /// Puts the cursor into the filter box.
    pub(super) fn focus_filter(&mut self) {
        self.wants_focus = true;
    }

    /// Brings a file into view.
    pub(super) fn reveal(&mut self, archive: &OpenArchive, row: FileRowId) {
        let tree = archive.files().tree();
        if let Some(node) = tree.node_of(row).filter(|node| self.cursor != Some(*node)) {
            self.cursor = Some(node);
            self.scroll_to = Some(node);
        }
    }

    /// Draws filter box, tree and footer over all that is left; the file that was gone to.
    pub(super) fn show(
        &mut self,
        ui: &mut Ui,
        archive: &OpenArchive,
        group: FileGroup,
        shown: Option<FileRowId>,
        commands: &mut Vec<Command>,
        tools: impl FnOnce(&mut Ui),
    ) -> Option<Opened> {
        let tree = archive.files().tree();
        ui.spacing_mut().item_spacing.y = 0.0;
        ui.add_space(SPACE_XS);
        ui.horizontal(|ui| {
            ui.add_space(SPACE_S);
            let wants_focus = std::mem::take(&mut self.wants_focus);
            FilterBox::new(&mut self.filter, "Filter files").focus(wants_focus).show(ui);
            let is_open = self.rows.is_all_open();
            let (icon, name) = match is_open {
                true => (icons::CARET_RIGHT, "Close all directories"),
                false => (icons::CARET_DOWN, "Open all directories"),
            };
            if icon_button(ui, icon, name).clicked() {
                self.rows.set_all(tree, !is_open);
            }
            tools(ui);
        });
        ui.add_space(SPACE_XS);
        let needle = self.filter.to_lowercase();
        let started = Instant::now();
        if !self.rows.update(archive, group, &needle, || started.elapsed() >= SLICE) {
            ui.ctx().request_repaint();
        }
        if let Some(node) = self.scroll_to {
            self.rows.open_above(tree, node);
        }
        let body = ui.available_rect_before_wrap();
        let list = Rect::from_min_max(body.min, egui::pos2(body.right(), body.bottom() - 22.0));
        let mut opened = None;
        ui.scope_builder(egui::UiBuilder::new().max_rect(list), |ui| {
            if !self.rows.visible().is_empty() {
                let size = egui::vec2(ui.available_width(), HEADER_HEIGHT);
                let (header, _) = ui.allocate_exact_size(size, egui::Sense::hover());
                let width;
                (opened, width) = self.rows_ui(ui, archive, group, &needle, shown, commands);
                header_ui(ui, header, width);
            } else if tree.nodes().is_empty() {
                empty_state(ui, icons::FOLDER, "No files", super::EMPTY_HINT);
            } else {
                let hint = "It looks at paths, link targets and badges. Press Escape in the filter to clear it.";
                empty_state(ui, icons::FILTER, "No files match the filter", hint);
            }
        });
        self.footer_ui(ui, Rect::from_min_max(list.left_bottom(), body.max), archive);
        ui.advance_cursor_after_rect(body);
        opened
    }

    fn footer_ui(&self, ui: &Ui, rect: Rect, archive: &OpenArchive) {
        let tokens = Tokens::get(ui);
        let all = counted(archive.files().rows().len(), "file", "files");
        let label = match self.rows.nr_matching() {
            Some(matching) => format!("{} of {all}", grouped(matching as u64)),
            None => all,
        };
        ui.painter().hline(rect.x_range(), rect.top(), Stroke::new(1.0, tokens.line));
        let at = egui::pos2(rect.left() + SPACE_S, rect.center().y);
        ui.painter().text(at, Align2::LEFT_CENTER, &label, tokens::small_font(), tokens.muted);
        let response = ui.interact(rect, ui.scope_id().with("footer"), egui::Sense::hover());
        response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, &label));
    }

    fn rows_ui(
        &mut self,
        ui: &mut Ui,
        archive: &OpenArchive,
        group: FileGroup,
        needle: &str,
        shown: Option<FileRowId>,
        commands: &mut Vec<Command>,
    ) -> (Option<Opened>, f32) {
        let files = archive.files();
        let mut opened = None;
        let focus = list_focus(ui, ui.scope_id().with("files"), ui.max_rect(), "Files");
        if focus.has_focus() {
            opened = self.keys(ui, archive, commands);
        }
        let mut area = ScrollArea::vertical().auto_shrink(false);
        if let Some(at) = self.scroll_to.take().and_then(|node| self.rows.position(node)) {
            // Only when the row is out of sight.
            let (top, height) = (at as f32 * ROW_HEIGHT, ui.available_height());
            if top < self.offset || top + ROW_HEIGHT > self.offset + height {
                area = area.vertical_scroll_offset((top - height / 2.0).max(0.0));
            }
        }
        let mut toggled = None;
        let drawn = area.show_rows(ui, ROW_HEIGHT, self.rows.visible().len(), |ui, range| {
            for at in self.rows.visible().get(range).unwrap_or_default() {
                let row = files.tree().node(*at).and_then(|node| node.row());
                let is_shown = row.is_some() && row == shown;
                let is_match =
                    self.rows.nr_matching().is_none() || matches(archive.checkpoint(), files, group, needle, *at);
                let look = Look { needle, is_match, is_selected: is_shown || self.cursor == Some(*at) };
                let (is_toggled, response) = self.row_ui(ui, archive, *at, look);
                let is_folding = if row.is_none() { response.clicked() } else { response.double_clicked() };
                if is_toggled || is_folding {
                    toggled = Some(*at);
                }
                if response.clicked() && !is_toggled {
                    self.cursor = Some(*at);
                    ui.memory_mut(|memory| memory.request_focus(focus.id));
                    if let Some(target) = row.and_then(|row| target_of(archive, row)) {
                        commands.push(Command::select(target));
                        opened = row.map(|row| Opened { row, is_walked: false });
                    }
                }
                response.context_menu(|ui| {
                    if ui.button("Copy path").clicked() {
                        let path = files.tree().path(archive.checkpoint(), files.rows(), *at);
                        commands.push(Command::copy("path", path));
                        ui.close();
                    }
                });
            }
        });
        self.offset = drawn.state.clamped_offset().y;
        if let Some(at) = toggled.filter(|at| files.tree().is_branch(*at)) {
            self.rows.toggle(files.tree(), at);
        }
        (opened, drawn.inner_rect.width())
    }

    fn row_ui(&self, ui: &mut Ui, archive: &OpenArchive, at: u32, look: Look<'_>) -> (bool, egui::Response) {
        let (checkpoint, files) = (archive.checkpoint(), archive.files());
        let tree = files.tree();
        let name = tree.name(checkpoint, files.rows(), at);
        let path = tree.path(checkpoint, files.rows(), at);
        let node = tree.node(at);
        let entry = node.and_then(|node| node.row()).and_then(|row| files.row(row)?.entry(checkpoint));
        let is_branch = tree.is_branch(at);
        let is_open = is_branch.then(|| self.rows.is_open(at));
        let (icon, tone) = match entry {
            Some(entry) => look_of(entry),
            None if node.is_some_and(|node| node.group.is_some()) => (icons::MEMORY, Tone::Accent),
            None => (icons::FOLDER, Tone::Neutral),
        };
        let badges = entry.map(badges_of).unwrap_or_default();
        let badges: Vec<_> = badges.iter().map(|(word, tone, _)| (*word, *tone)).collect();
        let secondary = match entry.and_then(|entry| entry.link_target()) {
            Some(target) => format!("→ {}", target.label()),
            None if is_branch => counted(node.map_or(0, |node| node.nr_files as usize), "file", "files"),
            None => String::new(),
        };
        let columns: f32 = columns_of(ui).map(|(_, width)| width).sum();
        let drawn = ListRow::new(&name)
            .name(&path)
            .icon(icon, tone)
            .badges(&badges)
            .secondary(&secondary)
            .needle(look.needle)
            .depth(node.map_or(0, |node| node.depth.into()))
            .branch(is_open)
            .muted(!look.is_match)
            .selected(look.is_selected)
            .reserve(columns)
            .show(ui);
        if let Some(entry) = entry {
            paint_columns(ui, drawn.response.rect, entry);
        }
        (drawn.is_toggled, drawn.response)
    }

    /// Arrows walk and fold, Enter opens.
    fn keys(&mut self, ui: &Ui, archive: &OpenArchive, commands: &mut Vec<Command>) -> Option<Opened> {
        let tree = archive.files().tree();
        let at = self.cursor.and_then(|cursor| self.rows.position(cursor));
        let (left, right, enter) = ui.input(|input| {
            (input.key_pressed(Key::ArrowLeft), input.key_pressed(Key::ArrowRight), input.key_pressed(Key::Enter))
        });
        if let Some(to) = walk(ui, at, self.rows.visible().len(), ui.max_rect().height()) {
            return self.walk_to(archive, *self.rows.visible().get(to)?, commands);
        }
        let cursor = self.cursor.filter(|_| at.is_some())?;
        let is_open = tree.is_branch(cursor).then(|| self.rows.is_open(cursor));
        match is_open {
            Some(true) if left => self.rows.toggle(tree, cursor),
            Some(false) if right => self.rows.toggle(tree, cursor),
            Some(true) if right => return self.walk_to(archive, cursor + 1, commands),
            _ if left => return self.walk_to(archive, tree.node(cursor)?.parent()?, commands),
            _ if enter => match tree.node(cursor)?.row() {
                Some(row) => {
                    commands.push(Command::go(target_of(archive, row)?));
                    return Some(Opened { row, is_walked: false });
                }
                None => self.rows.toggle(tree, cursor),
            },
            _ => {}
        }
        None
    }

    fn walk_to(&mut self, archive: &OpenArchive, node: u32, commands: &mut Vec<Command>) -> Option<Opened> {
        self.cursor = Some(node);
        self.scroll_to = Some(node);
        let row = archive.files().tree().node(node)?.row()?;
        commands.push(Command::select(target_of(archive, row)?));
        Some(Opened { row, is_walked: true })
    }
}

/// How a row is drawn.
#[derive(Clone, Copy, Debug)]
struct Look<'a> {
    needle: &'a str,
    is_match: bool,
    is_selected: bool,
}

fn target_of(archive: &OpenArchive, row: FileRowId) -> Option<Target> {
    archive.files().row(row).map(|row| Target::RootfsPath(row.name(archive.checkpoint())))
}

/// The columns there is room for, from left to right: index and width.
fn columns_of(ui: &Ui) -> impl Iterator<Item = (usize, f32)> + use<> {
    let available = ui.max_rect().width();
    let has_room = move |(_, (_, _, from)): &(usize, (&str, f32, f32))| available >= *from;
    COLUMNS.into_iter().enumerate().filter(has_room).map(|(at, (_, width, _))| (at, width))
}

/// Titles of the columns over rows that are `width` wide: a scroll bar takes some of theirs.
fn header_ui(ui: &Ui, rect: Rect, width: f32) {
    let tokens = Tokens::get(ui);
    ui.painter().hline(rect.x_range(), rect.bottom(), Stroke::new(1.0, tokens.line));
    let y = rect.center().y;
    let font = tokens::small_font();
    ui.painter().text(egui::pos2(rect.left() + SPACE_S, y), Align2::LEFT_CENTER, "Name", font.clone(), tokens.muted);
    let rect = Rect::from_min_size(rect.min, egui::vec2(width, rect.height()));
    each_column(ui, rect, |ui, column, anchor, at| {
        if let Some((title, ..)) = COLUMNS.get(column) {
            ui.painter().text(at, anchor, *title, font.clone(), tokens.muted);
        }
    });
}

/// Where each column stands in a row: numbers at the right edge of theirs, the rest at the left.
fn each_column(ui: &Ui, rect: Rect, mut draw: impl FnMut(&Ui, usize, Align2, egui::Pos2)) {
    let total: f32 = columns_of(ui).map(|(_, width)| width).sum();
    let mut x = rect.right() - total;
    let y = rect.center().y;
    for (column, width) in columns_of(ui) {
        if column == COLUMNS.len() - 1 {
            draw(ui, column, Align2::RIGHT_CENTER, egui::pos2(x + width - SPACE_S, y));
        } else {
            draw(ui, column, Align2::LEFT_CENTER, egui::pos2(x + SPACE_S, y));
        }
        x += width;
    }
}

fn paint_columns(ui: &Ui, rect: Rect, entry: Entry<'_>) {
    let tokens = Tokens::get(ui);
    each_column(ui, rect, |ui, column, anchor, at| {
        let (text, color) = match column {
            0 => {
                let color = if entry.is_setuid() || entry.is_setgid() { tokens.warning } else { tokens.muted };
                (entry.mode().map(mode_text), color)
            }
            1 => (entry.owner().map(|(uid, gid)| format!("{uid}:{gid}")), tokens.muted),
            2 => (entry.mtime().map(time_label), tokens.muted),
            _ => (entry.size_bytes().map(grouped), tokens.text),
        };
        if let Some(text) = text {
            ui.painter().text(at, anchor, text, tokens::mono_font(), color);
        }
    });
}
