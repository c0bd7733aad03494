//! The address space of the selected process, byte by byte.
//!
//! | file | draws |
//! |---|---|
//! | `grid` | the rows in view |
//! | `input` | what keys and pointer do there |
//! | `strip` | scroll bar and minimap |
//! | `side` | inspector and bookmarks |
//! | `bar` | address field, buttons; the line below that says where the cursor is |
//! | `copy` | the menu of formats |
//!
//! Only rows in view are read. Positions are row numbers and addresses, never points from the top: the scroll may be
//! terabytes long.

mod bar;
mod copy;
mod grid;
mod input;
mod side;
mod strip;
mod view;

use std::sync::Arc;

use egui::{Frame, Panel, Rect, Ui};

use super::address_field::AddressField;
use super::places::Places;
use crate::base::{ByteOrder, Pid, VirtAddr};
use crate::checkpoint::Process;
use crate::memory::AddressSpace;
use crate::memory::overlay::Fields;
use crate::session::space::bookmarks::{self, Bookmark};
use crate::session::space::rows::Rows;
use crate::session::space::shape::Shape;
use crate::session::space::{self, SpaceId};
use crate::session::{ArchiveId, ArchivesCommand, Command, Content, ContentKey, OpenArchive, Requested, Target};
use crate::ui::icons;
use crate::ui::tokens::Tokens;
use crate::ui::widgets::{Loading, empty_state};
use copy::CopyMenu;
use side::SideState;
use view::View;

/// What bytes and text of a row need, in points.
const ROOM: f32 = 602.0;
/// From this width on the inspector stands beside the bytes.
const BESIDE: f32 = ROOM + strip::WIDTH + 210.0;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct MemoryState {
    /// The selection that was taken in last.
    seen: Option<(ArchiveId, u64)>,
    /// Of the memory that is shown, and the address on top.
    version: u32,
    top: Option<VirtAddr>,
    view: View,
    /// Where the analyst was in other spaces.
    places: Places<View>,
    address: AddressField,
    copy: CopyMenu,
    side: SideState,
    loading: Option<Loading>,
    /// The frame it was drawn in last.
    drawn: u64,
    pages: grid::PageCache,
    /// Structures are not looked for.
    hides_fields: bool,
}

impl MemoryState {
    /// Puts the cursor into the address field.
    pub fn focus_address(&mut self) {
        self.address.focus();
    }

    /// Takes in which space is shown and where the analyst has gone.
    fn follow(&mut self, archive: &OpenArchive, id: SpaceId) {
        if self.places.turn_to(id, &mut self.view) {
            self.side.forget();
        }
        if self.version != archive.memory_version() {
            self.version = archive.memory_version();
            self.side.forget();
            // Rows have other numbers now.
            self.view.reveal = self.view.cursor.or(self.top).map(view::Reveal::Place);
        }
        let seen = (archive.id(), archive.arrivals());
        if self.seen == Some(seen) {
            return;
        }
        self.seen = Some(seen);
        match archive.target() {
            Target::Address { pid, addr } if *pid == id.pid => {
                self.view.go(*addr);
                let hit = archive.searches().current_in(id.pid).filter(|hit| hit.vaddr == Some(*addr));
                if let Some(hit) = hit {
                    self.view.anchor = Some(VirtAddr(addr.0.saturating_add(hit.len_bytes.max(1) - 1)));
                }
                // Who walks hits keeps the keyboard where it is.
                self.view.wants_focus = hit.is_none();
            }
            Target::Vma { pid, start } if *pid == id.pid => self.view.go(*start),
            _ => {}
        }
    }
}

/// What the parts of the panel draw from.
struct Shown<'a> {
    pid: Pid,
    process: &'a Process,
    archive: &'a OpenArchive,
    space: AddressSpace<'a>,
    rows: Arc<Rows>,
    shape: Option<Arc<Shape>>,
    /// Of structures; `None` where they are not shown.
    fields: Option<Arc<Fields>>,
    /// Of the dump.
    order: ByteOrder,
    pointer_len: u64,
    /// Of this evidence, any process.
    bookmarks: Vec<&'a Bookmark>,
}

impl Shown<'_> {
    fn target(&self, addr: VirtAddr) -> Target {
        Target::Address { pid: self.pid, addr }
    }

    /// Goes to an address; the place that is left can be returned to.
    fn jump(&self, view: &View, addr: VirtAddr) -> Vec<Command> {
        let left = view.cursor.map(|cursor| Command::select(self.target(cursor)));
        left.into_iter().chain([Command::go(self.target(addr))]).collect()
    }

    fn bookmark_at(&self, addr: VirtAddr) -> Option<&Bookmark> {
        self.bookmarks.iter().find(|known| known.pid == self.pid.0 && known.addr == addr.0).copied()
    }
}

/// Draws the panel.
#[must_use]
pub fn memory_ui(ui: &mut Ui, archive: &OpenArchive, bookmarks: &[Bookmark], state: &mut MemoryState) -> Vec<Command> {
    let mut commands = Vec::new();
    let Some((pid, process)) = archive.selected_pid().and_then(|pid| Some((pid, archive.checkpoint().process(pid)?)))
    else {
        empty_state(ui, icons::MEMORY, "No process is selected", "Pick one in the tree at the left, or with Ctrl+K.");
        return commands;
    };
    let space = match archive.memory().space(pid) {
        Ok(space) => space,
        Err(why) => {
            let title = format!("Process {pid} has no memory");
            let hint = if process.is_zombie() {
                "A zombie has given its memory back.".to_owned()
            } else {
                format!("Its memory map {why}; see Issues.")
            };
            empty_state(ui, icons::MEMORY, &title, &hint);
            return commands;
        }
    };
    let id = SpaceId { archive: archive.id(), pid };
    state.follow(archive, id);
    let rows = match archive.content(&ContentKey::Rows(pid)) {
        Some(Requested::Ready(Content::Rows(rows))) => Arc::clone(rows),
        Some(Requested::Failed(why)) => {
            empty_state(ui, icons::ERROR, "The memory cannot be shown", why);
            return commands;
        }
        requested => {
            if requested.is_none() {
                commands.push(ArchivesCommand::Read { archive: archive.id(), key: ContentKey::Rows(pid) }.into());
            }
            state.loading.get_or_insert_with(Loading::start).show(ui, "Laying out the address space…");
            return commands;
        }
    };
    state.loading = None;
    if rows.is_empty() {
        empty_state(ui, icons::MEMORY, "Nothing is mapped", "The process had no address space left.");
        return commands;
    }
    let shape = match archive.content(&ContentKey::Shape(pid)) {
        Some(Requested::Ready(Content::Shape(shape))) => Some(Arc::clone(shape)),
        None => {
            commands.push(ArchivesCommand::Read { archive: archive.id(), key: ContentKey::Shape(pid) }.into());
            None
        }
        Some(_) => None,
    };
    let fields = match archive.content(&ContentKey::Fields(pid)) {
        _ if state.hides_fields => None,
        Some(Requested::Ready(Content::Fields(fields))) => Some(Arc::clone(fields)),
        None => {
            commands.push(ArchivesCommand::Read { archive: archive.id(), key: ContentKey::Fields(pid) }.into());
            None
        }
        Some(_) => None,
    };
    let evidence = bookmarks::evidence_name(archive.path());
    let shown = Shown {
        pid,
        process,
        archive,
        space,
        rows,
        shape,
        fields,
        order: space::byte_order(archive.checkpoint()),
        pointer_len: space::pointer_len(archive.checkpoint(), process),
        bookmarks: bookmarks.iter().filter(|known| known.evidence == evidence).collect(),
    };
    panel_ui(ui, &shown, state, &mut commands);
    commands
}

fn panel_ui(ui: &mut Ui, shown: &Shown<'_>, state: &mut MemoryState, commands: &mut Vec<Command>) {
    let frame = ui.ctx().cumulative_frame_nr();
    let has_come_to_front = frame > state.drawn.saturating_add(2);
    state.drawn = frame;
    // The bytes have the keyboard from the start, unless somebody else holds it.
    if has_come_to_front && ui.memory(|memory| memory.focused().is_none()) {
        state.view.wants_focus = true;
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    state.pages.open(shown);
    bar::bar_ui(ui, shown, state, commands);
    let surface = Tokens::get(ui).surface;
    Panel::bottom(ui.scope_id().with("where"))
        .exact_size(24.0)
        .resizable(false)
        .frame(Frame::NONE.fill(surface))
        .show(ui, |ui| bar::where_ui(ui, shown, &state.view, commands));
    if state.side.is_open {
        let size = ui.available_size();
        let panel = if size.x >= BESIDE {
            let panel = Panel::right(ui.scope_id().with("side"));
            let width = (size.x - ROOM - strip::WIDTH).clamp(210.0, 350.0);
            panel.default_size(width).size_range(200.0..=(size.x - 380.0).max(200.0))
        } else {
            let panel = Panel::bottom(ui.scope_id().with("side below"));
            panel.default_size(size.y * 0.42).size_range(96.0..=(size.y - 110.0).max(96.0))
        };
        let field = state.view.cursor.and_then(|at| state.pages.field_at(shown, at));
        panel.resizable(true).frame(Frame::NONE.fill(surface)).show(ui, |ui| {
            ui.set_min_size(ui.available_size());
            side::side_ui(ui, shown, &mut state.side, &state.view, field.as_ref(), commands);
        });
    }
    egui::CentralPanel::default().frame(Frame::NONE).show(ui, |ui| {
        let rect = ui.available_rect_before_wrap();
        let split = rect.right() - strip::WIDTH;
        let bytes = Rect::from_min_max(rect.min, egui::pos2(split, rect.bottom()));
        let beside = Rect::from_min_max(egui::pos2(split, rect.top()), rect.max);
        grid::grid_ui(ui, bytes, shown, state, commands);
        strip::strip_ui(ui, beside, shown, state);
        state.top = shown.rows.get(&shown.space, state.view.top, state.view.zeros).map(|row| row.range().start);
        ui.advance_cursor_after_rect(rect);
    });
}
