//! Many rows: only those in view are drawn; sorted by a click on a header, filtered by a box,
//! walked by keys. One row follows the selection of the model.
//!
//! A panel gives a [`TableRows`] that reads from the checkpoint, a [`TableState`] it keeps, and a
//! key that changes when the rows do. Order and filter are computed when key, filter or sorting
//! change, never per frame.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::time::{Duration, Instant};

use egui::{Align, Align2, Key, Rect, Role, Sense, Stroke, Ui, Vec2, WidgetInfo};

use super::buttons::paint_icon;
use super::filter::{FilterBox, contains_ignore_case, highlighted};
use super::order::{Criteria, Order};
use super::walk::{list_focus, walk};
use crate::session::{Command, Target};
use crate::ui::icons::{self, Icon};
use crate::ui::text::grouped;
use crate::ui::tokens::{self, HEADER_HEIGHT, ICON_SIZE, ROW_HEIGHT, SPACE_S, SPACE_XS, Tokens, Tone};

/// How long a frame may filter and sort.
const SLICE: Duration = Duration::from_millis(4);

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    help: &'static str,
    min_width: f32,
    max_width: f32,
    is_right: bool,
}

impl Column {
    /// Words and paths; fits its content up to `max_width` points.
    pub const fn left(title: &'static str, max_width: f32, help: &'static str) -> Column {
        Column { title, help, min_width: 0.0, max_width, is_right: false }
    }

    /// Numbers.
    pub const fn right(title: &'static str, max_width: f32, help: &'static str) -> Column {
        Column { title, help, min_width: 0.0, max_width, is_right: true }
    }

    /// At least so wide at first: what comes into view later may be wider than what was fitted.
    pub const fn at_least(mut self, min_width: f32) -> Column {
        self.min_width = min_width;
        self
    }
}

/// What stands in a cell.
#[derive(Clone, Debug, Default)]
pub struct Cell<'a> {
    text: Cow<'a, str>,
    icon: Option<(Icon, Tone)>,
    link: Option<Target>,
    tone: Option<Tone>,
    is_mono: bool,
    is_muted: bool,
    depth: u32,
}

impl<'a> Cell<'a> {
    /// Words.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Cell<'a> {
        Cell { text: text.into(), ..Cell::default() }
    }

    /// Numbers, paths, addresses.
    pub fn mono(text: impl Into<Cow<'a, str>>) -> Cell<'a> {
        Cell { text: text.into(), is_mono: true, ..Cell::default() }
    }

    /// Nothing.
    pub fn empty() -> Cell<'a> {
        Cell::default()
    }

    /// With an icon before it.
    pub fn icon(mut self, icon: Icon, tone: Tone) -> Cell<'a> {
        self.icon = Some((icon, tone));
        self
    }

    /// Leads to another object.
    pub fn link(mut self, target: Target) -> Cell<'a> {
        self.link = Some(target);
        self
    }

    /// Coloured by its meaning; the text says it as well.
    pub fn tone(mut self, tone: Tone) -> Cell<'a> {
        self.tone = Some(tone);
        self
    }

    /// Set in by levels of a tree.
    pub fn depth(mut self, depth: u32) -> Cell<'a> {
        self.depth = depth.min(32);
        self
    }

    /// Order by what is written.
    pub fn text_cmp(&self, other: &Cell<'_>) -> Ordering {
        self.text.cmp(&other.text)
    }

    /// Matters less.
    pub fn muted(mut self) -> Cell<'a> {
        self.is_muted = true;
        self
    }
}

/// Rows as a panel has them, by index.
pub trait TableRows {
    /// How many.
    fn len(&self) -> usize;

    /// What stands where. Called for rows in view, and for all of them when a filter changes.
    fn cell(&self, row: usize, column: usize) -> Cell<'_>;

    /// Order of two rows by a column; by text unless the panel knows better.
    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        self.cell(a, column).text_cmp(&self.cell(b, column))
    }

    /// Whether a filter, lower case, lets the row through.
    fn matches(&self, row: usize, needle: &str, nr_columns: usize) -> bool {
        (0..nr_columns).any(|column| contains_ignore_case(&self.cell(row, column).text, needle))
    }

    /// Where the row leads to; rows without a place cannot be selected.
    fn target(&self, row: usize) -> Option<Target>;

    /// Whether the row leads to `target`.
    fn is_target(&self, row: usize, target: &Target) -> bool {
        self.target(row).as_ref() == Some(target)
    }

    /// What can be done with the row besides copying it, each with its label.
    fn menu(&self, _row: usize) -> Vec<(&'static str, Command)> {
        Vec::new()
    }

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What an order was computed for: key of the rows, filter, sorting.
type OrderKey = (u64, String, Option<(usize, bool)>);

/// What a panel keeps of its table.
#[derive(Debug, Default)]
pub struct TableState {
    filter: String,
    needle: String,
    sort: Option<(usize, bool)>,
    order: Order,
    is_complete: bool,
    computed_for: Option<OrderKey>,
    /// The target that `selected` was looked up for.
    selected_for: Option<Target>,
    /// Position in `order` of the selected row.
    selected: Option<usize>,
    scroll_to: Option<usize>,
    wants_filter_focus: bool,
}

impl TableState {
    /// Puts the cursor into the filter box when drawn next.
    pub fn focus_filter(&mut self) {
        self.wants_filter_focus = true;
    }

    /// The text in the filter box.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// Filters as if `text` had been typed.
    pub fn set_filter(&mut self, text: impl Into<String>) {
        self.filter = text.into();
    }

    /// Goes on with filtering and sorting for as long as a frame may take; whether that is done.
    fn update(&mut self, key: u64, rows: &dyn TableRows, nr_columns: usize, target: &Target) -> bool {
        let wanted = (key, self.filter.clone(), self.sort);
        if self.computed_for.as_ref() != Some(&wanted) {
            self.needle = self.filter.to_lowercase();
            self.order.restart();
            self.is_complete = false;
            self.computed_for = Some(wanted);
        }
        if !self.is_complete {
            let criteria = Criteria { rows, needle: &self.needle, nr_columns, sort: self.sort };
            let started = Instant::now();
            self.is_complete = self.order.advance(criteria, || started.elapsed() >= SLICE);
            self.selected_for = None;
        }
        if self.selected_for.as_ref() != Some(target) {
            let is_target = |row: &u32| rows.is_target(*row as usize, target);
            self.selected = self.order.rows().iter().position(is_target);
            self.selected_for = Some(target.clone());
            self.scroll_to = self.selected;
        }
        self.is_complete
    }
}

/// A table being built.
#[derive(Debug)]
pub struct Table<'a> {
    name: &'a str,
    columns: &'a [Column],
    empty_hint: &'a str,
}

impl<'a> Table<'a> {
    /// `name` is plural and lower case ("sockets"): the footer counts them.
    pub fn new(name: &'a str, columns: &'a [Column]) -> Table<'a> {
        Table { name, columns, empty_hint: "" }
    }

    /// What to say where there are no rows.
    pub fn empty_hint(mut self, hint: &'a str) -> Table<'a> {
        self.empty_hint = hint;
        self
    }

    /// Draws filter box, rows and footer over all that is left. `key` changes when the rows do;
    /// `tools` draws beside the filter box; the row of `target` is the selected one.
    pub fn show(
        self,
        ui: &mut Ui,
        state: &mut TableState,
        rows: &dyn TableRows,
        key: u64,
        target: &Target,
        tools: impl FnOnce(&mut Ui),
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        if !state.update(key, rows, self.columns.len(), target) {
            ui.ctx().request_repaint();
        }
        ui.spacing_mut().item_spacing.y = 0.0;
        ui.add_space(SPACE_XS);
        ui.horizontal(|ui| {
            ui.add_space(SPACE_S);
            let hint = format!("Filter {}", self.name);
            let wants_focus = std::mem::take(&mut state.wants_filter_focus);
            FilterBox::new(&mut state.filter, &hint).focus(wants_focus).show(ui);
            tools(ui);
        });
        ui.add_space(SPACE_XS);
        let footer_height = 22.0;
        let body = ui.available_rect_before_wrap();
        let table_rect = Rect::from_min_max(body.min, egui::pos2(body.right(), body.bottom() - footer_height));
        if state.order.rows().is_empty() {
            ui.scope_builder(egui::UiBuilder::new().max_rect(table_rect), |ui| self.show_empty(ui, rows.is_empty()));
        } else {
            ui.scope_builder(egui::UiBuilder::new().max_rect(table_rect), |ui| {
                self.show_rows(ui, state, rows, &mut commands);
            });
        }
        let footer = Rect::from_min_max(egui::pos2(body.left(), table_rect.bottom()), body.max);
        self.show_footer(ui, footer, state, rows.len());
        ui.advance_cursor_after_rect(body);
        commands
    }

    fn show_empty(&self, ui: &mut Ui, there_are_none: bool) {
        if there_are_none {
            super::empty_state(ui, icons::FILTER, &format!("No {}", self.name), self.empty_hint);
        } else {
            super::empty_state(
                ui,
                icons::FILTER,
                &format!("No {} match the filter", self.name),
                "Press Escape in the filter to clear it.",
            );
        }
    }

    fn show_footer(&self, ui: &Ui, rect: Rect, state: &TableState, all: usize) {
        let tokens = Tokens::get(ui);
        ui.painter().hline(rect.x_range(), rect.top(), Stroke::new(1.0, tokens.line));
        let shown = state.order.rows().len();
        let mut text = match state.selected {
            Some(at) => format!("{} of {}", grouped(at as u64 + 1), grouped(shown as u64)),
            None => grouped(shown as u64),
        };
        if shown != 1 {
            text.push(' ');
            text.push_str(self.name);
        }
        if shown != all {
            text.push_str(&format!(", filtered from {}", grouped(all as u64)));
        }
        let at = egui::pos2(rect.left() + SPACE_S, rect.center().y);
        ui.painter().text(at, Align2::LEFT_CENTER, &text, tokens::small_font(), tokens.muted);
        let response = ui.interact(rect, ui.scope_id().with("footer"), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &text));
    }

    fn show_rows(&self, ui: &mut Ui, state: &mut TableState, rows: &dyn TableRows, commands: &mut Vec<Command>) {
        let focus_id = ui.scope_id().with(self.name);
        let focus = list_focus(ui, focus_id, ui.max_rect(), self.name);
        if focus.has_focus() {
            walk_by_keys(ui, state, rows, commands);
        }
        // Lines between columns are for resizing, not for reading.
        ui.visuals_mut().widgets.noninteractive.bg_stroke.color = Tokens::get(ui).hover;
        let mut columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| {
                let title_width = header_width(ui, column);
                let width = column.max_width.max(title_width);
                egui_table::Column::new(width).range(title_width..=2000.0).resizable(true)
            })
            .collect();
        let mut table = egui_table::Table::new()
            .id_salt(self.name)
            .num_rows(state.order.rows().len() as u64)
            .headers([egui_table::HeaderRow::new(HEADER_HEIGHT)]);
        fill_width(ui, table.get_id(ui), &mut columns);
        table = table.columns(columns);
        if let Some(at) = state.scroll_to.take() {
            table = table.scroll_to_row(at as u64, None);
        }
        let mut delegate = Delegate {
            columns: self.columns,
            rows,
            order: state.order.rows(),
            needle: &state.needle,
            selected: state.selected,
            sort: state.sort,
            focus_id,
            has_focus: focus.has_focus(),
            commands,
            new_sort: None,
        };
        table.show(ui, &mut delegate);
        if let Some(sort) = delegate.new_sort {
            state.sort = sort;
        }
    }
}

/// Arrow keys move the selection, Enter goes there.
fn walk_by_keys(ui: &Ui, state: &TableState, rows: &dyn TableRows, commands: &mut Vec<Command>) {
    if let Some(at) = walk(ui, state.selected, state.order.rows().len(), ui.max_rect().height())
        && let Some(target) = target_at(state, rows, at)
    {
        commands.push(Command::select(target));
    } else if ui.input(|input| input.key_pressed(Key::Enter))
        && let Some(target) = state.selected.and_then(|at| target_at(state, rows, at))
    {
        commands.push(Command::go(target));
    }
}

fn target_at(state: &TableState, rows: &dyn TableRows, at: usize) -> Option<Target> {
    state.order.rows().get(at).and_then(|row| rows.target(*row as usize))
}

/// Lets the last column take what the others leave.
fn fill_width(ui: &Ui, table: egui::Id, columns: &mut [egui_table::Column]) {
    let Some(known) = egui_table::TableState::load(ui.ctx(), table) else { return };
    let Some((last, others)) = columns.split_last_mut() else { return };
    let width_of = |(at, column): (usize, &egui_table::Column)| {
        known.col_widths.get(&column.id_for(at)).copied().unwrap_or(column.current)
    };
    let taken: f32 = others.iter().enumerate().map(width_of).sum();
    last.range.min = last.range.min.max(ui.available_width() - taken);
    last.resizable = false;
}

fn header_width(ui: &Ui, column: &Column) -> f32 {
    let galley = ui.painter().layout_no_wrap(column.title.to_owned(), tokens::small_font(), egui::Color32::PLACEHOLDER);
    galley.size().x + 2.0 * SPACE_S + 14.0
}

struct Delegate<'a> {
    columns: &'a [Column],
    rows: &'a dyn TableRows,
    order: &'a [u32],
    needle: &'a str,
    selected: Option<usize>,
    sort: Option<(usize, bool)>,
    focus_id: egui::Id,
    has_focus: bool,
    commands: &'a mut Vec<Command>,
    /// Set when a header was clicked: the sorting from now on.
    new_sort: Option<Option<(usize, bool)>>,
}

impl egui_table::TableDelegate for Delegate<'_> {
    fn default_row_height(&self) -> f32 {
        ROW_HEIGHT
    }

    fn header_cell_ui(&mut self, ui: &mut Ui, cell: &egui_table::HeaderCellInfo) {
        let index = cell.col_range.start;
        let Some(column) = self.columns.get(index) else { return };
        let tokens = Tokens::get(ui);
        let rect = ui.max_rect();
        let sorted = self.sort.filter(|(sorted, _)| *sorted == index).map(|(_, is_ascending)| is_ascending);
        let response = ui.interact(rect, ui.scope_id().with("sort"), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::ColumnHeader, true, format!("Sort by {}", column.title)));
        ui.painter().rect_filled(rect, 0.0, if response.hovered() { tokens.hover } else { tokens.surface });
        ui.painter().hline(rect.x_range(), rect.bottom(), Stroke::new(1.0, tokens.line));
        let color = if sorted.is_some() { tokens.accent } else { tokens.muted };
        let (anchor, x) = if column.is_right {
            (Align2::RIGHT_CENTER, rect.right() - SPACE_S)
        } else {
            (Align2::LEFT_CENTER, rect.left() + SPACE_S)
        };
        let drawn =
            ui.painter().text(egui::pos2(x, rect.center().y), anchor, column.title, tokens::small_font(), color);
        if let Some(is_ascending) = sorted {
            let icon = if is_ascending { icons::CARET_UP } else { icons::CARET_DOWN };
            let x = if column.is_right { drawn.left() - 12.0 } else { drawn.right() + 2.0 };
            let mark = Rect::from_min_size(egui::pos2(x, rect.top()), Vec2::new(10.0, rect.height()));
            paint_icon(ui, mark, icon, 10.0, color);
        }
        if ui.is_sizing_pass() {
            ui.allocate_space(Vec2::new(header_width(ui, column), HEADER_HEIGHT));
        }
        if response.clicked() {
            // Ascending, descending, as recorded.
            self.new_sort = Some(match sorted {
                None => Some((index, true)),
                Some(true) => Some((index, false)),
                Some(false) => None,
            });
        }
        if !column.help.is_empty() {
            response.on_hover_text(column.help);
        }
    }

    fn row_ui(&mut self, ui: &mut Ui, row_nr: u64) {
        // The table draws rows once more for sticky columns, of which we have none.
        if ui.clip_rect().width() < 1.0 {
            return;
        }
        let at = row_nr as usize;
        let Some(row) = self.order.get(at).map(|row| *row as usize) else { return };
        let tokens = Tokens::get(ui);
        let rect = Rect::from_min_max(ui.max_rect().min, egui::pos2(ui.clip_rect().right(), ui.max_rect().bottom()));
        let response = ui.interact(rect, ui.scope_id().with("row"), Sense::click());
        let is_selected = self.selected == Some(at);
        response.widget_info(|| {
            let name = self.rows.cell(row, 0).text;
            let mut info = WidgetInfo::selected(Role::Row, true, is_selected, name);
            info.role = Role::Row;
            info
        });
        if is_selected {
            ui.painter().rect_filled(rect, 0.0, tokens.selected);
            if self.has_focus {
                let bar = Rect::from_min_size(rect.min, Vec2::new(2.0, rect.height()));
                ui.painter().rect_filled(bar, 0.0, tokens.accent);
            }
        } else if response.hovered() {
            ui.painter().rect_filled(rect, 0.0, tokens.hover);
        } else if at % 2 == 1 {
            ui.painter().rect_filled(rect, 0.0, tokens.stripe);
        }
        if let Some(target) = self.rows.target(row) {
            if response.double_clicked() {
                self.commands.push(Command::go(target));
            } else if response.clicked() {
                self.commands.push(Command::select(target));
                ui.memory_mut(|memory| memory.request_focus(self.focus_id));
            }
        }
        response.context_menu(|ui| {
            let line = || {
                let cells = (0..self.columns.len()).map(|column| self.rows.cell(row, column).text.into_owned());
                cells.collect::<Vec<_>>().join("\t")
            };
            if ui.button("Copy row").clicked() {
                self.commands.push(Command::copy("row", line()));
                ui.close();
            }
            for (label, command) in self.rows.menu(row) {
                if ui.button(label).clicked() {
                    self.commands.push(command);
                    ui.close();
                }
            }
        });
    }

    fn cell_ui(&mut self, ui: &mut Ui, cell: &egui_table::CellInfo) {
        let Some(row) = self.order.get(cell.row_nr as usize).map(|row| *row as usize) else { return };
        let Some(column) = self.columns.get(cell.col_nr) else { return };
        let is_selected = self.selected == Some(cell.row_nr as usize);
        let content = self.rows.cell(row, cell.col_nr);
        if let Some(target) = draw_cell(ui, column, &content, self.needle, is_selected) {
            self.commands.push(Command::go(target));
        }
    }
}

/// Draws one cell; the target of its link when that was clicked.
fn draw_cell(ui: &mut Ui, column: &Column, cell: &Cell<'_>, needle: &str, is_selected: bool) -> Option<Target> {
    let tokens = Tokens::get(ui);
    let mut rect = ui.max_rect().shrink2(Vec2::new(SPACE_S, 0.0));
    let indent = cell.depth as f32 * tokens::INDENT;
    for level in 0..cell.depth {
        let x = rect.left() + level as f32 * tokens::INDENT + 5.0;
        ui.painter().vline(x, rect.y_range(), Stroke::new(1.0, tokens.line));
    }
    rect.min.x = (rect.min.x + indent).min(rect.max.x);
    let icon_width = if cell.icon.is_some() { ICON_SIZE + 6.0 } else { 0.0 };
    let font = if cell.is_mono { tokens::mono_font() } else { tokens::body_font() };
    let color = match (&cell.link, cell.tone, cell.is_muted) {
        (Some(_), _, _) => tokens.accent,
        (None, Some(tone), _) => tokens.tone(tone),
        (None, None, true) => tokens.muted,
        (None, None, false) if is_selected => tokens.strong,
        (None, None, false) => tokens.text,
    };
    let mut job = highlighted(&cell.text, needle, font, color, tokens);
    let is_sizing = ui.is_sizing_pass();
    job.wrap.max_width = if is_sizing { column.max_width } else { (rect.width() - icon_width).max(0.0) };
    let galley = ui.painter().layout_job(job);
    if is_sizing {
        let width = galley.size().x + icon_width + indent + 2.0 * SPACE_S + 1.0;
        ui.allocate_space(Vec2::new(width.max(column.min_width), ROW_HEIGHT));
        return None;
    }
    let mut x = if column.is_right { rect.right() - galley.size().x } else { rect.left() };
    if let Some((icon, tone)) = cell.icon {
        let icon_rect = Rect::from_min_size(egui::pos2(x, rect.top()), Vec2::new(ICON_SIZE, rect.height()));
        paint_icon(ui, icon_rect, icon, ICON_SIZE - 1.0, tokens.tone(tone));
        x += icon_width;
    }
    let at = egui::pos2(x, Align::Center.align_size_within_range(galley.size().y, rect.y_range()).min);
    let text_rect = Rect::from_min_size(at, galley.size());
    let is_elided = galley.elided;
    ui.painter().galley(at, galley, color);
    if let Some(target) = &cell.link {
        let response = ui.interact(text_rect, ui.scope_id().with("link"), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::Link, true, &cell.text));
        if response.hovered() || response.has_focus() {
            ui.painter().hline(text_rect.x_range(), text_rect.bottom() - 1.0, Stroke::new(1.0, color));
        }
        if response.on_hover_cursor(egui::CursorIcon::PointingHand).on_hover_text(target.to_string()).clicked() {
            return Some(target.clone());
        }
    } else if is_elided {
        ui.interact(text_rect, ui.scope_id().with("whole"), Sense::hover()).on_hover_text(cell.text.as_ref());
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::Pid;

    /// Rows of one number each.
    pub(in crate::ui::widgets) struct Numbers(pub(in crate::ui::widgets) Vec<u32>);

    impl TableRows for Numbers {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn cell(&self, row: usize, _column: usize) -> Cell<'_> {
            Cell::mono(self.0[row].to_string())
        }
        fn compare(&self, a: usize, b: usize, _column: usize) -> Ordering {
            self.0[a].cmp(&self.0[b])
        }
        fn target(&self, row: usize) -> Option<Target> {
            Some(Target::process(Pid(self.0[row])))
        }
    }

    #[test]
    fn rows_are_filtered_then_sorted_then_the_selected_one_found() {
        let rows = Numbers(vec![30, 4, 13, 3, 7]);
        let mut state = TableState { sort: Some((0, true)), ..TableState::default() };
        state.set_filter("3");
        state.update(1, &rows, 1, &Target::process(Pid(13)));
        assert_eq!(state.order.rows(), [3, 2, 0]);
        assert_eq!((state.selected, state.scroll_to), (Some(1), Some(1)));
        state.sort = Some((0, false));
        state.update(1, &rows, 1, &Target::process(Pid(13)));
        assert_eq!(state.order.rows(), [0, 2, 3]);
        state.set_filter("");
        state.sort = None;
        state.update(2, &rows, 1, &Target::Overview);
        assert_eq!((state.order.rows().len(), state.selected), (5, None));
    }

    #[test]
    fn rows_outside_the_view_cost_nothing() {
        let rows = Numbers((0..1_000_000).collect());
        let mut state = TableState::default();
        let columns = [Column::right("Number", 120.0, "")];
        let mut harness = egui_kittest::Harness::builder()
            .with_size([400.0, 300.0])
            .with_context_setup(crate::ui::install)
            .build_ui(|ui| {
                let commands =
                    Table::new("numbers", &columns).show(ui, &mut state, &rows, 1, &Target::Overview, |_| {});
                assert!(commands.is_empty());
            });
        harness.run_steps(2);
        let started = std::time::Instant::now();
        harness.run_steps(10);
        assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
    }
}
