//! What keys and pointer do in the grid of bytes.

use egui::{Event, EventFilter, Key, Modifiers, Pos2, Response, Ui};

use super::grid::{Metrics, is_folded_zero};
use super::view::View;
use super::{MemoryState, Shown, copy};
use crate::base::VirtAddr;
use crate::session::space::cursor::{self, Step};
use crate::session::space::rows::{Row, Zeros};
use crate::session::{BookmarksCommand, Command, Target};
use crate::ui::icons;
use crate::ui::panels::address_rows::ROW;
use crate::ui::widgets::ListRow;

/// Takes the input of a frame.
pub(super) fn take(
    ui: &Ui,
    response: &Response,
    metrics: &Metrics,
    shown: &Shown<'_>,
    state: &mut MemoryState,
    commands: &mut Vec<Command>,
) {
    if std::mem::take(&mut state.view.wants_focus) {
        response.request_focus();
    }
    if response.contains_pointer() {
        let delta = ui.input(|input| input.smooth_scroll_delta().y);
        if delta != 0.0 {
            state.view.scroll(-delta);
        }
    }
    pointer(ui, response, metrics, shown, state, commands);
    menu(response, metrics, shown, state, commands);
    if response.has_focus() {
        ui.memory_mut(|memory| {
            let filter = EventFilter { vertical_arrows: true, horizontal_arrows: true, tab: false, escape: true };
            memory.set_focus_lock_filter(response.id, filter);
        });
        let events = ui.input(|input| input.events.clone());
        for event in events {
            match event {
                Event::Key { key, pressed: true, modifiers, .. } => {
                    press(key, modifiers, response, shown, state, commands);
                }
                Event::Copy => commands.extend(copy::copy(shown, &state.view, &mut state.copy, None)),
                _ => {}
            }
        }
    }
}

/// The byte at a place; of a row without bytes its first address.
pub(super) fn address_at(pos: Pos2, metrics: &Metrics, shown: &Shown<'_>, view: &View) -> Option<VirtAddr> {
    match row_at(pos, metrics, shown, view)? {
        Row::Bytes { base, range } => {
            let addr = VirtAddr(base.0.saturating_add(metrics.column_at(pos.x)));
            Some(addr.max(range.start).min(VirtAddr(range.end.0.saturating_sub(1))))
        }
        Row::Folded(segment) => Some(segment.range.start),
        Row::Gap(_) | Row::Border(_) => None,
    }
}

fn row_at<'a>(pos: Pos2, metrics: &Metrics, shown: &Shown<'a>, view: &View) -> Option<Row<'a>> {
    shown.rows.get(&shown.space, view.top.saturating_add(metrics.row_at(pos.y, view)), view.zeros)
}

fn pointer(
    ui: &Ui,
    response: &Response,
    metrics: &Metrics,
    shown: &Shown<'_>,
    state: &mut MemoryState,
    commands: &mut Vec<Command>,
) {
    let Some(pos) = response.interact_pointer_pos() else { return };
    let (is_pressed, is_second, modifiers) =
        ui.input(|input| (input.pointer.primary_pressed(), input.pointer.secondary_pressed(), input.modifiers));
    let inside = Pos2::new(pos.x, pos.y.clamp(metrics.rect.top(), metrics.rect.bottom() - 1.0));
    let at = address_at(inside, metrics, shown, &state.view);
    if is_pressed || is_second {
        response.request_focus();
        state.view.is_selecting = is_pressed && at.is_some();
        if let Some(at) = at {
            let is_selected = state.view.selection().is_some_and(|selection| selection.contains(&at));
            if !is_second || !is_selected {
                state.view.move_to(at, modifiers.shift && is_pressed);
            }
        }
    } else if response.dragged_by(egui::PointerButton::Primary) && state.view.is_selecting {
        let beyond = pos.y - inside.y;
        if beyond != 0.0 {
            state.view.scroll((beyond * 0.3).clamp(-8.0 * ROW, 8.0 * ROW));
            ui.ctx().request_repaint();
        }
        if let Some(at) = at.filter(|at| state.view.cursor != Some(*at)) {
            state.view.move_to(at, true);
        }
    }
    if response.double_clicked() {
        let row = row_at(inside, metrics, shown, &state.view);
        if row.is_some_and(|row| is_folded_zero(&row, state.view.zeros)) {
            state.view.set_zeros(&shown.space, &shown.rows, Zeros::Open);
        } else {
            commands.extend(follow(shown, &state.view));
        }
    } else if response.clicked() && modifiers.command {
        commands.extend(follow(shown, &state.view));
    }
}

/// Goes where the pointer under the cursor leads.
pub(super) fn follow(shown: &Shown<'_>, view: &View) -> Vec<Command> {
    let found = view.cursor.and_then(|at| cursor::pointer_under(&shown.space, at, shown.pointer_len, shown.order));
    found.map(|(_, to)| shown.jump(view, to)).unwrap_or_default()
}

/// Sets a bookmark at the cursor, or drops the one that is there.
pub(super) fn toggle_bookmark(shown: &Shown<'_>, view: &View) -> Option<Command> {
    let addr = view.cursor?;
    let pid = shown.pid;
    Some(match shown.bookmark_at(addr) {
        Some(_) => BookmarksCommand::Remove { pid, addr }.into(),
        None => BookmarksCommand::Set { pid, addr, note: String::new() }.into(),
    })
}

fn press(
    key: Key,
    modifiers: Modifiers,
    response: &Response,
    shown: &Shown<'_>,
    state: &mut MemoryState,
    commands: &mut Vec<Command>,
) {
    let page = state.view.rows_in_view.saturating_sub(1).max(1);
    let step = match key {
        Key::ArrowLeft if !modifiers.alt => Step::Left,
        Key::ArrowRight if !modifiers.alt => Step::Right,
        Key::ArrowUp => Step::Up,
        Key::ArrowDown => Step::Down,
        Key::PageUp => Step::PageUp(page),
        Key::PageDown => Step::PageDown(page),
        Key::Home if modifiers.command => Step::First,
        Key::End if modifiers.command => Step::Last,
        Key::Home => Step::RowStart,
        Key::End => Step::RowEnd,
        Key::Enter if modifiers.is_none() => return commands.extend(follow(shown, &state.view)),
        Key::B if modifiers.is_none() => {
            commands.extend(toggle_bookmark(shown, &state.view));
            state.side.is_open = true;
            return;
        }
        Key::D if modifiers.is_none() => {
            let code = state.view.cursor.map(|addr| Target::Code { pid: shown.pid, addr });
            return commands.extend(code.map(Command::go));
        }
        Key::Escape => {
            if state.view.anchor.take().is_none() {
                response.surrender_focus();
            }
            return;
        }
        _ => return,
    };
    let zeros = state.view.zeros;
    let top = || shown.rows.get(&shown.space, state.view.top, zeros).map(|row| row.range().start);
    let from = state.view.cursor.or_else(top).unwrap_or_default();
    let to = cursor::step(&shown.space, &shown.rows, zeros, from, step);
    state.view.move_to(to, modifiers.shift);
    if let Step::PageUp(by) | Step::PageDown(by) = step {
        // The page turns under a cursor that stays where it is on the screen.
        let points = by as f32 * ROW;
        state.view.scroll(if matches!(step, Step::PageUp(_)) { -points } else { points });
    }
}

fn menu(
    response: &Response,
    metrics: &Metrics,
    shown: &Shown<'_>,
    state: &mut MemoryState,
    commands: &mut Vec<Command>,
) {
    // A press on a border or a gap asks for nothing.
    let is_on_bytes = state.view.cursor.is_some() && metrics.rect.is_positive();
    if !is_on_bytes {
        return;
    }
    response.context_menu(|ui| {
        ui.set_width(240.0);
        ui.spacing_mut().item_spacing.y = 0.0;
        let Some(at) = state.view.cursor else { return };
        let mut chosen = false;
        if let Some((_, to)) = cursor::pointer_under(&shown.space, at, shown.pointer_len, shown.order) {
            let row = ListRow::new("Follow pointer").icon(icons::FORWARD, Default::default()).trailing("Enter").flat();
            if row.show(ui).response.on_hover_text(to.to_string()).clicked() {
                commands.extend(follow(shown, &state.view));
                chosen = true;
            }
        }
        let row = ListRow::new("Disassemble here").icon(icons::CODE, Default::default()).trailing("D").flat();
        if row.show(ui).response.clicked() {
            commands.push(Command::go(Target::Code { pid: shown.pid, addr: at }));
            chosen = true;
        }
        let label = if shown.bookmark_at(at).is_some() { "Remove bookmark" } else { "Bookmark" };
        if ListRow::new(label)
            .icon(icons::BOOKMARK, Default::default())
            .trailing("B")
            .flat()
            .show(ui)
            .response
            .clicked()
        {
            commands.extend(toggle_bookmark(shown, &state.view));
            chosen = true;
        }
        if let Some(vma) = shown.space.map().vma_at(at) {
            if ListRow::new("Select the area")
                .icon(icons::MEMORY, Default::default())
                .flat()
                .show(ui)
                .response
                .clicked()
            {
                state.view.anchor = Some(vma.start);
                state.view.cursor = Some(VirtAddr(vma.end.0.saturating_sub(1)));
                chosen = true;
            }
            let row = ListRow::new("Show in the memory map").icon(icons::LIST, Default::default()).flat();
            if row.show(ui).response.clicked() {
                commands.push(Command::go(Target::Vma { pid: shown.pid, start: vma.start }));
                chosen = true;
            }
        }
        ui.separator();
        chosen |= copy::menu_ui(ui, shown, &state.view, &mut state.copy, commands);
        if chosen {
            ui.close();
        }
    });
}
