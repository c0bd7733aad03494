//! The code of the selected process, instruction by instruction.
//!
//! | file | draws |
//! |---|---|
//! | `view` | which row is on top, where the cursor is |
//! | `rows` | the rows in view |
//! | `input` | what keys and pointer do there |
//! | `frame` | bar above, line below, scroll bar |
//!
//! Only the rows in view are decoded. Instructions have no numbers, so a position is an address.

mod frame;
mod input;
mod rows;
mod view;

use std::sync::Arc;

use egui::{Frame, Panel, Rect, Ui};

use super::address_field::AddressField;
use super::places::Places;
use crate::base::{Pid, VirtAddr};
use crate::checkpoint::Process;
use crate::memory::AddressSpace;
use crate::memory::disassembly::Isa;
use crate::session::space::SpaceId;
use crate::session::space::code::{Code, is_code};
use crate::session::space::listing::Listing;
use crate::session::{ArchiveId, ArchivesCommand, Command, Content, ContentKey, OpenArchive, Requested, Target};
use crate::ui::icons;
use crate::ui::tokens::Tokens;
use crate::ui::widgets::{Loading, empty_state};
use view::View;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct DisassemblyState {
    /// The selection that was taken in last.
    seen: Option<(ArchiveId, u64)>,
    view: View,
    /// Where the analyst was in other processes.
    places: Places<View>,
    address: AddressField,
    loading: Option<Loading>,
    /// The frame it was drawn in last.
    drawn: u64,
}

impl DisassemblyState {
    /// Puts the cursor into the address field.
    pub fn focus_address(&mut self) {
        self.address.focus();
    }

    /// Takes in which process is shown and where the analyst has gone.
    fn follow(&mut self, archive: &OpenArchive, process: &Process, id: SpaceId) {
        self.places.turn_to(id, &mut self.view);
        let seen = (archive.id(), archive.arrivals());
        if self.seen != Some(seen) {
            self.seen = Some(seen);
            match archive.target() {
                Target::Code { pid, addr } if *pid == id.pid => self.view.go(process, *addr),
                Target::Thread { pid, tid } if *pid == id.pid => {
                    let thread = process.threads.iter().find(|thread| thread.tid == *tid);
                    if let Some(registers) = thread.and_then(|thread| thread.registers.known()) {
                        self.view.go(process, VirtAddr(registers.pc));
                    }
                    self.view.wants_focus = false;
                }
                _ => {}
            }
        }
        // Who has not been here yet begins where the first thread stands.
        if self.view.cursor.is_none() {
            let first = process.threads.iter().find_map(|thread| thread.registers.known());
            let code = || Some(process.memory.known()?.vmas.iter().find(|vma| is_code(vma))?.start);
            let at = first.map(|registers| VirtAddr(registers.pc)).or_else(code).unwrap_or_default();
            self.view.go(process, at);
            self.view.wants_focus = false;
        }
    }
}

/// What the parts of the panel draw from.
struct Shown<'a> {
    pid: Pid,
    process: &'a Process,
    archive: &'a OpenArchive,
    space: &'a AddressSpace<'a>,
    code: &'a Code,
    isa: Isa,
}

impl<'a> Shown<'a> {
    fn listing(&self, view: &View) -> Listing<'a> {
        Listing { space: self.space, code: self.code, isa: self.isa, opened: view.opened, pinned: view.pinned }
    }

    /// Goes to an address; the place that is left can be returned to.
    fn jump(&self, left: Option<VirtAddr>, addr: VirtAddr) -> Vec<Command> {
        let pid = self.pid;
        let left = left.map(|addr| Command::select(Target::Code { pid, addr }));
        left.into_iter().chain([Command::go(self.target(addr))]).collect()
    }

    /// Code is shown here, all else as bytes.
    fn target(&self, addr: VirtAddr) -> Target {
        let pid = self.pid;
        let is_code = self.space.map().vma_at(addr).is_some_and(is_code);
        if is_code { Target::Code { pid, addr } } else { Target::Address { pid, addr } }
    }
}

/// Draws the panel.
#[must_use]
pub fn disassembly_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut DisassemblyState) -> Vec<Command> {
    let mut commands = Vec::new();
    let Some((pid, process)) = archive.selected_pid().and_then(|pid| Some((pid, archive.checkpoint().process(pid)?)))
    else {
        empty_state(ui, icons::CODE, "No process is selected", "Pick one in the tree at the left, or with Ctrl+K.");
        return commands;
    };
    let space = match archive.memory().space(pid) {
        Ok(space) => space,
        Err(why) => {
            let hint = if process.is_zombie() {
                "A zombie has given its memory back.".to_owned()
            } else {
                format!("Its memory map {why}; see Issues.")
            };
            empty_state(ui, icons::CODE, &format!("Process {pid} has no code"), &hint);
            return commands;
        }
    };
    let key = ContentKey::Code(pid);
    let code = match archive.content(&key) {
        Some(Requested::Ready(Content::Code(code))) => Arc::clone(code),
        Some(Requested::Failed(why)) => {
            empty_state(ui, icons::ERROR, "The code cannot be shown", why);
            return commands;
        }
        requested => {
            if requested.is_none() {
                commands.push(ArchivesCommand::Read { archive: archive.id(), key }.into());
            }
            state.loading.get_or_insert_with(Loading::start).show(ui, "Reading symbols…");
            return commands;
        }
    };
    state.loading = None;
    let Some(isa) = code.isa else {
        let arch = archive.checkpoint().container.arch.map_or("this architecture", |arch| arch.name());
        let title = format!("Instructions of {arch} are not known here");
        empty_state(ui, icons::CODE, &title, "Those of x86 and AArch64 are. The bytes are in the memory panel.");
        return commands;
    };
    if space.map().vmas.is_empty() {
        empty_state(ui, icons::CODE, "Nothing is mapped", "The process had no address space left.");
        return commands;
    }
    state.follow(archive, process, SpaceId { archive: archive.id(), pid });
    let shown = Shown { pid, process, archive, space: &space, code: &code, isa };
    panel_ui(ui, &shown, state, &mut commands);
    commands
}

fn panel_ui(ui: &mut Ui, shown: &Shown<'_>, state: &mut DisassemblyState, commands: &mut Vec<Command>) {
    let frame_nr = ui.ctx().cumulative_frame_nr();
    let has_come_to_front = frame_nr > state.drawn.saturating_add(2);
    state.drawn = frame_nr;
    if has_come_to_front && ui.memory(|memory| memory.focused().is_none()) {
        state.view.wants_focus = true;
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    frame::bar_ui(ui, shown, state, commands);
    let surface = Tokens::get(ui).surface;
    Panel::bottom(ui.scope_id().with("where"))
        .exact_size(24.0)
        .resizable(false)
        .frame(Frame::NONE.fill(surface))
        .show(ui, |ui| frame::where_ui(ui, shown, &state.view, commands));
    egui::CentralPanel::default().frame(Frame::NONE).show(ui, |ui| {
        let rect = ui.available_rect_before_wrap();
        let split = rect.right() - frame::SCROLL_WIDTH;
        let listing = Rect::from_min_max(rect.min, egui::pos2(split, rect.bottom()));
        let beside = Rect::from_min_max(egui::pos2(split, rect.top()), rect.max);
        rows::rows_ui(ui, listing, shown, &mut state.view, commands);
        frame::scroll_ui(ui, beside, shown, &mut state.view);
        ui.advance_cursor_after_rect(rect);
    });
}
