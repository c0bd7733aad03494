//! Records of one image as a tree: each opens to its fields; below it, the bytes of what is selected.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use egui::{Frame, Panel, ScrollArea, Ui};
use serde_json::Value;

use super::fields::{FieldRow, fields, summary};
use crate::decode::payload::Content as PartContent;
use crate::decode::{Ctx, Part, RawImg, RawRecord, crit_entries, schema};
use crate::session::Command;
use crate::ui::icons;
use crate::ui::text::{self, grouped};
use crate::ui::tokens::{ROW_HEIGHT, SPACE_S, Tone};
use crate::ui::widgets::{
    BytesView, HexView, JsonView, ListRow, empty_state, list_focus, property_ui, tab_strip, walk,
};

/// Records that are listed at first, and more at each press.
const PAGE: usize = 5_000;
/// Largest record that is shown as JSON, its payload included.
const MAX_JSON: usize = 1 << 20;

/// An image that has been read.
#[derive(Clone, Copy)]
pub(super) struct Loaded<'a> {
    pub(super) raw: &'a RawImg,
    pub(super) bytes: &'a Bytes,
    /// Changes with the image.
    pub(super) key: u64,
}

/// What is selected in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    /// A record.
    Record(usize),
    /// A field of an open record.
    Field(usize, usize),
    /// A piece of what follows a record.
    Part(usize, usize),
    /// There are more records.
    More,
}

/// What the tree keeps.
#[derive(Debug, Default)]
pub(super) struct RecordsState {
    nr_listed: usize,
    /// Fields of the records that are open.
    open: BTreeMap<usize, Vec<FieldRow>>,
    /// Messages that were closed, as record and field.
    closed: HashSet<(usize, usize)>,
    rows: Vec<Row>,
    is_stale: bool,
    selected: Option<Row>,
    scroll_to: Option<Row>,
    offset: f32,
    tab: usize,
    hex: HexView,
    bytes: BytesView,
    json: JsonView,
    json_of: Option<(u64, Value)>,
}

impl RecordsState {
    /// The tree of another image.
    pub(super) fn of(loaded: Loaded<'_>) -> RecordsState {
        let mut state = RecordsState { nr_listed: PAGE, is_stale: true, ..RecordsState::default() };
        if loaded.raw.records.len() == 1 {
            state.toggle(loaded, 0);
        }
        state.selected = (!loaded.raw.records.is_empty()).then_some(Row::Record(0));
        state
    }

    /// Opens a record and brings it into view.
    pub(super) fn show_record(&mut self, loaded: Loaded<'_>, at: usize) {
        if at >= loaded.raw.records.len() {
            return;
        }
        self.nr_listed = self.nr_listed.max(at + 1);
        if !self.open.contains_key(&at) {
            self.toggle(loaded, at);
        }
        self.select(Row::Record(at));
        self.scroll_to = self.selected;
        self.tab = 0;
        self.is_stale = true;
    }

    fn select(&mut self, row: Row) {
        if self.selected != Some(row) {
            self.selected = Some(row);
            self.hex = HexView::default();
        }
    }

    fn toggle(&mut self, loaded: Loaded<'_>, at: usize) {
        self.is_stale = true;
        if self.open.remove(&at).is_none()
            && let Some(record) = loaded.raw.records.get(at)
        {
            let message = schema::message(record.message);
            self.open.insert(at, fields(message.as_ref(), &record.body));
        }
    }

    fn flatten(&mut self, raw: &RawImg) {
        self.rows.clear();
        for at in 0..raw.records.len().min(self.nr_listed) {
            self.rows.push(Row::Record(at));
            let Some(fields) = self.open.get(&at) else { continue };
            let mut hidden_below: Option<u32> = None;
            for (n, field) in fields.iter().enumerate() {
                if hidden_below.is_some_and(|depth| field.depth > depth) {
                    continue;
                }
                hidden_below = self.closed.contains(&(at, n)).then_some(field.depth);
                self.rows.push(Row::Field(at, n));
            }
            let nr_parts = raw.records.get(at).map_or(0, |record| record.payload.len());
            self.rows.extend((0..nr_parts).map(|n| Row::Part(at, n)));
        }
        if raw.records.len() > self.nr_listed {
            self.rows.push(Row::More);
        }
        self.is_stale = false;
    }
}

/// Draws tree, bytes and JSON over all that is left.
pub(super) fn records_ui(
    ui: &mut Ui,
    name: &str,
    loaded: Loaded<'_>,
    state: &mut RecordsState,
    commands: &mut Vec<Command>,
) {
    if loaded.raw.records.is_empty() && !loaded.raw.parts.is_empty() {
        commands.extend(parts_ui(ui, name, loaded, state));
        return;
    }
    let tabs = [("Records", loaded.raw.records.len()), ("JSON as crit prints", 0), ("Bytes of the file", 0)];
    state.tab = tab_strip(ui, &tabs, state.tab);
    match state.tab {
        0 => {
            let height = ui.available_height();
            let panel = Panel::bottom(ui.scope_id().with("bytes of the row")).resizable(true);
            let panel = panel.default_size(height * 0.36).size_range(60.0..=(height - 80.0).max(60.0));
            panel.frame(Frame::NONE).show(ui, |ui| {
                ui.set_min_size(ui.available_size());
                row_bytes_ui(ui, loaded, state);
            });
            egui::CentralPanel::default().frame(Frame::NONE).show(ui, |ui| tree_ui(ui, loaded, state));
        }
        1 => json_ui(ui, loaded, state, commands),
        _ => commands.extend(state.bytes.show(ui, loaded.key, loaded.bytes, 0, name)),
    }
}

/// A file without records: text and pages as they are, messages of the kernel as JSON.
fn parts_ui(ui: &mut Ui, name: &str, loaded: Loaded<'_>, state: &mut RecordsState) -> Vec<Command> {
    let is_netlink = loaded.raw.parts.iter().any(|part| matches!(part.content, PartContent::Netlink { .. }));
    if !is_netlink {
        ui.add_space(SPACE_S / 2.0);
        return state.bytes.show(ui, loaded.key, loaded.bytes, 0, name);
    }
    state.tab = tab_strip(ui, &[("Messages", 0), ("Bytes of the file", 0)], state.tab);
    let mut commands = Vec::new();
    if state.tab == 0 {
        json_ui(ui, loaded, state, &mut commands);
    } else {
        ui.add_space(SPACE_S / 2.0);
        commands.extend(state.bytes.show(ui, loaded.key, loaded.bytes, 0, name));
    }
    commands
}

fn tree_ui(ui: &mut Ui, loaded: Loaded<'_>, state: &mut RecordsState) {
    if loaded.raw.records.is_empty() {
        empty_state(ui, icons::RAW, "No records", "The file ends after its header, or nothing after it could be read.");
        return;
    }
    if state.is_stale {
        state.flatten(loaded.raw);
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    let focus = list_focus(ui, ui.scope_id().with("records"), ui.available_rect_before_wrap(), "Records");
    if focus.has_focus() {
        keys(ui, loaded, state);
    }
    let mut area = ScrollArea::vertical().id_salt(("records", loaded.key)).auto_shrink(false);
    if let Some(row) = state.scroll_to.take()
        && let Some(at) = state.rows.iter().position(|other| *other == row)
    {
        let (top, height) = (at as f32 * ROW_HEIGHT, ui.available_height());
        if top < state.offset || top + ROW_HEIGHT > state.offset + height {
            area = area.vertical_scroll_offset((top - height / 3.0).max(0.0));
        }
    }
    let mut toggled = None;
    let rows = std::mem::take(&mut state.rows);
    let shown = area.show_rows(ui, ROW_HEIGHT, rows.len(), |ui, range| {
        for row in rows.get(range).unwrap_or_default() {
            let drawn = row_ui(ui, loaded, state, *row);
            if drawn.is_toggled || drawn.response.double_clicked() || (*row == Row::More && drawn.response.clicked()) {
                toggled = Some(*row);
            }
            if drawn.response.clicked() {
                state.select(*row);
                ui.memory_mut(|memory| memory.request_focus(focus.id));
            }
        }
    });
    state.offset = shown.state.clamped_offset().y;
    state.rows = rows;
    if let Some(row) = toggled {
        toggle_row(loaded, state, row);
    }
}

fn toggle_row(loaded: Loaded<'_>, state: &mut RecordsState, row: Row) {
    match row {
        Row::Record(at) => state.toggle(loaded, at),
        Row::Field(record, field) => {
            if !state.closed.remove(&(record, field)) {
                state.closed.insert((record, field));
            }
        }
        Row::Part(..) => {}
        Row::More => state.nr_listed = state.nr_listed.saturating_add(PAGE),
    }
    state.is_stale = true;
}

fn keys(ui: &Ui, loaded: Loaded<'_>, state: &mut RecordsState) {
    let at = state.rows.iter().position(|row| Some(*row) == state.selected);
    if let Some(to) = walk(ui, at, state.rows.len(), ui.available_height())
        && let Some(row) = state.rows.get(to).copied()
    {
        state.select(row);
        state.scroll_to = Some(row);
    }
    let Some(row) = state.selected else { return };
    let is_open = match row {
        Row::Record(at) => Some(state.open.contains_key(&at)),
        Row::Field(record, field) => {
            let row = state.open.get(&record).and_then(|fields| fields.get(field));
            row.filter(|row| row.is_message).map(|_| !state.closed.contains(&(record, field)))
        }
        Row::Part(..) | Row::More => None,
    };
    let (left, right, enter) = ui.input(|input| {
        let pressed = |key| input.key_pressed(key);
        (pressed(egui::Key::ArrowLeft), pressed(egui::Key::ArrowRight), pressed(egui::Key::Enter))
    });
    let is_entered = enter && (is_open.is_some() || row == Row::More);
    if (left && is_open == Some(true)) || (right && is_open == Some(false)) || is_entered {
        toggle_row(loaded, state, row);
    } else if left && let Row::Field(at, _) | Row::Part(at, _) = row {
        state.select(Row::Record(at));
        state.scroll_to = state.selected;
    }
}

fn row_ui(ui: &mut Ui, loaded: Loaded<'_>, state: &RecordsState, row: Row) -> crate::ui::widgets::RowResponse {
    let is_selected = state.selected == Some(row);
    match row {
        Row::Record(at) => {
            let Some(record) = loaded.raw.records.get(at) else { return ListRow::new("").show(ui) };
            let message = schema::message(record.message);
            let trailing = format!("+{:#x}  {}", record.offset, text::bytes(record.body.len() as u64));
            ListRow::new(&format!("{at}  {}", record.message))
                .name(&format!("Record {at}"))
                .icon(icons::RAW, Tone::Accent)
                .secondary(&summary(message.as_ref(), &record.body))
                .trailing(&trailing)
                .branch(Some(state.open.contains_key(&at)))
                .selected(is_selected)
                .show(ui)
        }
        Row::Field(at, n) => {
            let field = state.open.get(&at).and_then(|fields| fields.get(n));
            let (Some(record), Some(field)) = (loaded.raw.records.get(at), field) else {
                return ListRow::new("").show(ui);
            };
            let trailing = format!("+{:#x}", body_offset(loaded, record) + field.offset as u64);
            let value = if field.is_message { field.kind.as_str() } else { field.value.as_str() };
            let (icon, tone) = match (field.is_unknown, field.is_message) {
                (true, _) => (icons::QUESTION, Tone::Warning),
                (false, true) => (icons::BRACES, Tone::Neutral),
                (false, false) => ("", Tone::Neutral),
            };
            let row = ListRow::new(&field.name).mono().icon(icon, tone);
            let row = if field.is_message { row.secondary(value) } else { row.value(value) };
            let name = format!("{} {value}", field.name);
            let drawn = row
                .name(&name)
                .trailing(&trailing)
                .depth(field.depth + 1)
                .branch(field.is_message.then(|| !state.closed.contains(&(at, n))))
                .selected(is_selected)
                .show(ui);
            let what = if field.is_unknown { "not in the schema: " } else { "" };
            let hint = format!("{what}{}, field {}, {} bytes\n{}", field.kind, field.number, field.len, field.value);
            drawn.response.clone().on_hover_text(hint.trim_end());
            drawn
        }
        Row::Part(at, n) => {
            let part = loaded.raw.records.get(at).and_then(|record| record.payload.get(n));
            let Some(part) = part else { return ListRow::new("").show(ui) };
            let size = text::bytes(part.content.bytes().len() as u64);
            ListRow::new(part.name)
                .name(&format!("{} {size}", part.name))
                .mono()
                .icon(icons::BINARY, Tone::Accent)
                .secondary(&part_label(part))
                .trailing(&format!("+{:#x}  {size}", part.offset))
                .depth(1)
                .selected(is_selected)
                .show(ui)
        }
        Row::More => {
            let left = loaded.raw.records.len().saturating_sub(state.nr_listed);
            let label = format!("Show more: {} records are not listed yet", grouped(left as u64));
            ListRow::new(&label).icon(icons::PLUS, Tone::Accent).selected(is_selected).show(ui)
        }
    }
}

fn part_label(part: &Part) -> String {
    match &part.content {
        PartContent::Bytes(_) => "payload after the record".to_owned(),
        PartContent::U16s(_) => "payload: 16-bit numbers".to_owned(),
        PartContent::Text(_) => "payload: text".to_owned(),
        PartContent::Netlink { .. } => "payload: netlink messages".to_owned(),
        PartContent::Record { parts, .. } => {
            let data: u64 = parts.iter().map(|part| part.content.bytes().len() as u64).sum();
            format!("record in the payload, with {} of data", text::bytes(data))
        }
    }
}

/// Where the protobuf bytes of a record start in the file: they borrow from it.
fn body_offset(loaded: Loaded<'_>, record: &RawRecord) -> u64 {
    let (file, body) = (loaded.bytes.as_ptr() as usize, record.body.as_ptr() as usize);
    match body.checked_sub(file) {
        Some(offset) if offset + record.body.len() <= loaded.bytes.len() => offset as u64,
        // Not a part of the file: the length word is 4 bytes in nearly every kind.
        _ => record.offset + 4,
    }
}

/// What the selected row is in bytes, with its offset in the file.
fn selected_bytes<'a>(loaded: Loaded<'a>, state: &RecordsState) -> Option<(&'a [u8], u64)> {
    match state.selected? {
        Row::Record(at) => {
            let record = loaded.raw.records.get(at)?;
            Some((&record.body, body_offset(loaded, record)))
        }
        Row::Field(at, n) => {
            let record = loaded.raw.records.get(at)?;
            let field = state.open.get(&at)?.get(n)?;
            let bytes = record.body.get(field.offset..field.offset.checked_add(field.len)?)?;
            Some((bytes, body_offset(loaded, record) + field.offset as u64))
        }
        Row::Part(at, n) => {
            let part = loaded.raw.records.get(at)?.payload.get(n)?;
            if let PartContent::Record { parts, .. } = &part.content
                && let Some(data) = parts.first()
            {
                return Some((data.content.bytes(), data.offset));
            }
            Some((part.content.bytes(), part.offset))
        }
        Row::More => None,
    }
}

fn row_bytes_ui(ui: &mut Ui, loaded: Loaded<'_>, state: &mut RecordsState) {
    ui.add_space(SPACE_S / 2.0);
    match selected_bytes(loaded, state) {
        Some((bytes, base)) => state.hex.show(ui, "bytes of the row", bytes, base),
        None => empty_state(ui, icons::BINARY, "Nothing is selected", "Pick a record or a field to see its bytes."),
    }
}

fn json_ui(ui: &mut Ui, loaded: Loaded<'_>, state: &mut RecordsState, commands: &mut Vec<Command>) {
    let at = match state.selected {
        Some(Row::Record(at) | Row::Field(at, _) | Row::Part(at, _)) => at,
        _ => 0,
    };
    let key = loaded.key.wrapping_mul(1_000_003).wrapping_add(at as u64);
    if state.json_of.as_ref().is_none_or(|(known, _)| *known != key) {
        state.json_of = json_of(loaded, at).map(|value| (key, value));
    }
    let Some((_, value)) = &state.json_of else {
        let hint = "Records of more than 1 MiB are shown as fields and as bytes only.";
        empty_state(ui, icons::BRACES, "Too large for JSON", hint);
        return;
    };
    ui.add_space(SPACE_S / 2.0);
    ui.horizontal(|ui| {
        ui.add_space(SPACE_S);
        let (label, help) = if loaded.raw.records.is_empty() {
            ("Messages".to_owned(), "Netlink messages of the kernel, in the words of ip")
        } else {
            (format!("Record {at}"), "As crit show prints it; pick another one in Records")
        };
        property_ui(ui, &label, help, |ui| {
            if crate::ui::widgets::link(ui, "Copy JSON").clicked() {
                commands.push(Command::copy("JSON", serde_json::to_string_pretty(value).unwrap_or_default()));
            }
        });
    });
    commands.extend(state.json.show(ui, "record as JSON", key, value, ""));
}

/// The selected record as crit prints it, or a file without records as a whole.
fn json_of(loaded: Loaded<'_>, at: usize) -> Option<Value> {
    let ctx = Ctx { order: Ctx::order_of(loaded.bytes).unwrap_or_default(), ..Ctx::default() };
    let len = |parts: &[Part]| parts.iter().map(|part| part.content.bytes().len()).sum::<usize>();
    let one = match loaded.raw.records.get(at) {
        Some(record) => {
            let all_parts: usize = record
                .payload
                .iter()
                .map(|part| match &part.content {
                    PartContent::Record { body, parts } => body.len() + len(parts),
                    content => content.bytes().len(),
                })
                .sum();
            if record.body.len() + all_parts > MAX_JSON {
                return None;
            }
            RawImg { kind: loaded.raw.kind, records: vec![record.clone()], parts: Vec::new() }
        }
        None if loaded.bytes.len() > MAX_JSON => return None,
        None => RawImg { kind: loaded.raw.kind, records: Vec::new(), parts: loaded.raw.parts.clone() },
    };
    let mut entries: Vec<Value> = crit_entries(&one, &ctx).collect();
    Some(if entries.len() == 1 { entries.pop().unwrap_or_default() } else { Value::Array(entries) })
}
