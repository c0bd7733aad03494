//! Beside the bytes: what those under the cursor may mean, who else sees them, and bookmarks.

use egui::{Align, Frame, Label, Layout, Margin, RichText, ScrollArea, Sense, TextEdit, Ui};

use super::Shown;
use super::grid::structure_color;
use super::view::View;
use crate::base::{ByteOrder, Pid, VirtAddr};
use crate::memory::overlay::Field;
use crate::session::space::bookmarks::{Bookmark, MAX_NOTE};
use crate::session::space::readings::{self, Reading};
use crate::session::space::{self};
use crate::session::{BookmarksCommand, Command, Target};
use crate::ui::icons;
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{icon_button, link_mono, mono_text, section_header, tab_strip, target_link};

/// Width of the labels, in points.
const LABEL: f32 = 66.0;
/// From this width on bookmarks stand beside the readings, in points.
const BESIDE: f32 = 520.0;
/// Most other places that are listed.
const MAX_SHARED: usize = 8;

/// What is kept of it.
#[derive(Debug)]
pub(super) struct SideState {
    pub(super) is_open: bool,
    /// The byte order that was chosen; that of the dump until then.
    order: Option<ByteOrder>,
    readings: Option<Read>,
    /// The note being written, and of which bookmark.
    note: Option<(u64, String)>,
}

impl Default for SideState {
    fn default() -> SideState {
        SideState { is_open: true, order: None, readings: None, note: None }
    }
}

impl SideState {
    /// Another space is shown.
    pub(super) fn forget(&mut self) {
        self.readings = None;
        self.note = None;
    }
}

/// What was read at an address.
#[derive(Debug)]
struct Read {
    at: VirtAddr,
    order: ByteOrder,
    readings: Vec<Reading>,
    /// In the other byte order.
    others: Vec<Reading>,
    pointer: Option<VirtAddr>,
    shared: Vec<(Pid, VirtAddr)>,
}

impl Read {
    fn new(shown: &Shown<'_>, at: VirtAddr, order: ByteOrder) -> Read {
        let bytes = shown.space.bytes_at(at, readings::MAX_BYTES);
        let other = if order == ByteOrder::Little { ByteOrder::Big } else { ByteOrder::Little };
        let mut shared = shown.archive.memory().mappings_of(&shown.space, at, MAX_SHARED + 1);
        shared.retain(|place| *place != (shown.pid, at));
        Read {
            at,
            order,
            readings: readings::readings(&bytes, order),
            others: readings::readings(&bytes, other),
            pointer: space::pointer_at(&shown.space, at, shown.pointer_len, order),
            shared,
        }
    }
}

pub(super) fn side_ui(
    ui: &mut Ui,
    shown: &Shown<'_>,
    state: &mut SideState,
    view: &View,
    field: Option<&Field>,
    commands: &mut Vec<Command>,
) {
    ScrollArea::vertical().id_salt("side").auto_shrink(false).show(ui, |ui| {
        Frame::NONE.inner_margin(Margin { left: 10, right: 8, top: 4, bottom: 8 }).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 1.0;
            ui.spacing_mut().interact_size.y = 18.0;
            if let Some(field) = field {
                field_ui(ui, shown, view, field, commands);
            }
            if ui.available_width() < BESIDE {
                order_ui(ui, shown, state);
                readings_ui(ui, shown, state, view, Readings::All, commands);
                ui.add_space(SPACE_S);
                bookmarks_ui(ui, shown, state, view, commands);
                return;
            }
            ui.columns(3, |columns| {
                if let [left, middle, right] = columns {
                    order_ui(left, shown, state);
                    readings_ui(left, shown, state, view, Readings::Numbers, commands);
                    readings_ui(middle, shown, state, view, Readings::Others, commands);
                    bookmarks_ui(right, shown, state, view, commands);
                }
            });
        });
    });
}

/// The field that the cursor is in, and what it says.
fn field_ui(ui: &mut Ui, shown: &Shown<'_>, view: &View, field: &Field, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let color = structure_color(&tokens.structures, field.structure);
    section_header(ui, &field.structure.to_string(), "");
    let help = "A field of this structure, as the bytes say it";
    row(ui, "field", help, |ui| ui.add(Label::new(mono_text(field.name).color(color)).truncate()));
    row(ui, "value", help, |ui| match field.target.and_then(|to| Some((to, shown.space.map().vma_at(to)?))) {
        Some((to, vma)) => {
            let tip = format!("{} {}\nGo there; Back returns", space::name_of(vma, to), vma.perms());
            if link_mono(ui, &field.value).on_hover_text(tip).clicked() {
                commands.extend(shown.jump(view, to));
            }
        }
        None => {
            let value = mono_text(&field.value).color(tokens.text);
            ui.add(Label::new(value).truncate().selectable(true)).on_hover_text(&field.value);
        }
    });
    ui.add_space(SPACE_S);
}

/// Which of the readings stand in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readings {
    All,
    Numbers,
    Others,
}

/// The choice of the byte order.
fn order_ui(ui: &mut Ui, shown: &Shown<'_>, state: &mut SideState) {
    let order = state.order.unwrap_or(shown.order);
    let chosen = tab_strip(ui, &[("Little endian", 0), ("Big endian", 0)], usize::from(order == ByteOrder::Big));
    let order = if chosen == 1 { ByteOrder::Big } else { ByteOrder::Little };
    if order != state.order.unwrap_or(shown.order) {
        state.order = Some(order);
    }
    ui.add_space(SPACE_XS);
}

fn readings_ui(
    ui: &mut Ui,
    shown: &Shown<'_>,
    state: &mut SideState,
    view: &View,
    which: Readings,
    commands: &mut Vec<Command>,
) {
    let order = state.order.unwrap_or(shown.order);
    let Some(at) = view.cursor else {
        if which != Readings::Others {
            let hint = RichText::new("Click a byte to read it as numbers, times, addresses.");
            ui.label(hint.color(Tokens::get(ui).muted));
        }
        return;
    };
    if state.readings.as_ref().is_none_or(|read| (read.at, read.order) != (at, order)) {
        state.readings = Some(Read::new(shown, at, order));
    }
    let Some(read) = &state.readings else { return };
    let numbers = readings::NUMBERS.min(read.readings.len());
    let wanted = match which {
        Readings::All => 0..read.readings.len(),
        Readings::Numbers => 0..numbers,
        Readings::Others => numbers..read.readings.len(),
    };
    for (reading, other) in read.readings.iter().zip(&read.others).take(wanted.end).skip(wanted.start) {
        reading_ui(ui, reading, other, commands);
    }
    if which == Readings::Numbers {
        return;
    }
    pointer_ui(ui, shown, view, read, commands);
    if !read.shared.is_empty() {
        row(ui, "also at", "The same memory, mapped elsewhere", |ui| {
            ui.vertical(|ui| {
                for (pid, addr) in read.shared.iter().take(MAX_SHARED) {
                    target_link(ui, commands, &format!("{pid}: {addr}"), Target::Address { pid: *pid, addr: *addr });
                }
                if read.shared.len() > MAX_SHARED {
                    ui.label(RichText::new("and more").color(Tokens::get(ui).muted));
                }
            });
        });
    }
}

fn row<R>(ui: &mut Ui, label: &str, help: &str, draw: impl FnOnce(&mut Ui) -> R) -> R {
    let tokens = Tokens::get(ui);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_XS;
        let (rect, response) = ui.allocate_exact_size(egui::vec2(LABEL, 18.0), Sense::hover());
        let at = rect.left_center();
        ui.painter().text(at, egui::Align2::LEFT_CENTER, label, tokens::body_font(), tokens.muted);
        response.on_hover_text(help);
        draw(ui)
    })
    .inner
}

fn reading_ui(ui: &mut Ui, reading: &Reading, other: &Reading, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    row(ui, reading.label, reading.help, |ui| match &reading.text {
        Some(text) => {
            let rich = RichText::new(text).font(tokens::mono_font()).color(tokens.text);
            let response = ui.add(Label::new(rich).truncate().sense(Sense::click()));
            response.widget_info(|| {
                egui::WidgetInfo::labeled(egui::Role::Button, true, format!("{}: {text}", reading.label))
            });
            let tip = match &other.text {
                Some(other) if other != text => format!("{text}\nother byte order: {other}\nClick to copy"),
                _ => format!("{text}\nClick to copy"),
            };
            if response.clicked() {
                commands.push(Command::copy(reading.label, text.as_str()));
            }
            response.on_hover_cursor(egui::CursorIcon::PointingHand).on_hover_text(tip);
        }
        None => {
            ui.label(RichText::new("–").font(tokens::mono_font()).color(tokens.muted));
        }
    });
}

fn pointer_ui(ui: &mut Ui, shown: &Shown<'_>, view: &View, read: &Read, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    row(ui, "pointer", "An address of this process, and what is there", |ui| match read.pointer {
        Some(to) => match shown.space.map().vma_at(to) {
            Some(vma) => {
                let tip = format!("{to} {}\nGo there; Back returns", vma.perms());
                if link_mono(ui, &space::name_of(vma, to)).on_hover_text(tip).clicked() {
                    commands.extend(shown.jump(view, to));
                }
            }
            None => {
                let text = RichText::new("not mapped").color(tokens.muted);
                ui.label(text).on_hover_text(to.to_string());
            }
        },
        None => {
            ui.label(RichText::new("–").font(tokens::mono_font()).color(tokens.muted));
        }
    });
}

fn bookmarks_ui(ui: &mut Ui, shown: &Shown<'_>, state: &mut SideState, view: &View, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let count = shown.bookmarks.len();
    section_header(ui, "Bookmarks", &if count == 0 { String::new() } else { count.to_string() });
    if let Some(here) = view.cursor.and_then(|at| shown.bookmark_at(at)) {
        note_ui(ui, here, state, commands);
    } else {
        state.note = None;
    }
    if shown.bookmarks.is_empty() {
        ui.label(RichText::new("Press B on a byte to keep its place with a note.").color(tokens.muted));
    }
    for bookmark in &shown.bookmarks {
        let (pid, addr) = (Pid(bookmark.pid), VirtAddr(bookmark.addr));
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = SPACE_XS;
            let label = if pid == shown.pid { addr.to_string() } else { format!("{pid}: {addr}") };
            if link_mono(ui, &label).clicked() {
                let left = view.cursor.map(|cursor| Command::select(shown.target(cursor)));
                commands.extend(left);
                commands.push(Command::go(Target::Address { pid, addr }));
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if icon_button(ui, icons::CLOSE, &format!("Remove the bookmark at {addr}")).clicked() {
                    commands.push(BookmarksCommand::Remove { pid, addr }.into());
                }
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                    ui.add(Label::new(RichText::new(&bookmark.note).color(tokens.text)).truncate());
                });
            });
        });
    }
}

/// The note of the bookmark under the cursor; kept when Enter is pressed or the field is left.
fn note_ui(ui: &mut Ui, here: &Bookmark, state: &mut SideState, commands: &mut Vec<Command>) {
    if state.note.as_ref().is_none_or(|(addr, _)| *addr != here.addr) {
        state.note = Some((here.addr, here.note.clone()));
    }
    let Some((_, note)) = &mut state.note else { return };
    let edit = TextEdit::singleline(note).hint_text("Note on this bookmark").char_limit(MAX_NOTE);
    let response = ui.add(edit.desired_width(f32::INFINITY));
    if response.lost_focus() && *note != here.note {
        let set = BookmarksCommand::Set { pid: Pid(here.pid), addr: VirtAddr(here.addr), note: note.clone() };
        commands.push(set.into());
    }
    ui.add_space(SPACE_XS);
}
