//! What keys and pointer do in the listing.

use egui::{Event, EventFilter, Key, Modifiers, Response, Ui};

use super::Shown;
use super::view::View;
use crate::base::VirtAddr;
use crate::session::space::listing::{Listing, Row};
use crate::session::{Command, Target};
use crate::ui::icons;
use crate::ui::widgets::ListRow;

/// Takes the input of a frame.
pub(super) fn take(ui: &Ui, response: &Response, shown: &Shown<'_>, view: &mut View, commands: &mut Vec<Command>) {
    if std::mem::take(&mut view.wants_focus) {
        response.request_focus();
    }
    if response.contains_pointer() {
        let delta = ui.input(|input| input.smooth_scroll_delta().y);
        if delta != 0.0 {
            view.scroll(&shown.listing(view), -delta);
        }
    }
    if !response.has_focus() {
        return;
    }
    ui.memory_mut(|memory| {
        let filter = EventFilter { vertical_arrows: true, horizontal_arrows: false, tab: false, escape: true };
        memory.set_focus_lock_filter(response.id, filter);
    });
    for event in ui.input(|input| input.events.clone()) {
        match event {
            Event::Key { key, pressed: true, modifiers, .. } => press(key, modifiers, response, shown, view, commands),
            Event::Copy => commands.extend(copy(&shown.listing(view), view)),
            _ => {}
        }
    }
}

fn press(
    key: Key,
    modifiers: Modifiers,
    response: &Response,
    shown: &Shown<'_>,
    view: &mut View,
    commands: &mut Vec<Command>,
) {
    if modifiers.alt || modifiers.command {
        return;
    }
    let listing = shown.listing(view);
    let page = isize::try_from(view.rows_in_view.saturating_sub(1).max(1)).unwrap_or(1);
    match key {
        Key::ArrowUp => view.step(&listing, -1),
        Key::ArrowDown => view.step(&listing, 1),
        Key::PageUp => view.step(&listing, -page),
        Key::PageDown => view.step(&listing, page),
        Key::Enter => commands.extend(follow(shown, view)),
        Key::Escape => response.surrender_focus(),
        _ => {}
    }
}

/// Goes where the instruction under the cursor leads; an area that is one row is opened.
pub(super) fn follow(shown: &Shown<'_>, view: &mut View) -> Vec<Command> {
    match row_at(&shown.listing(view), view.cursor) {
        Some(Row::Code(line)) => line.target.map(|target| shown.jump(view.cursor, target)).unwrap_or_default(),
        Some(Row::Data(vma)) => {
            view.open(vma.start);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// The row that a cursor stands on.
pub(super) fn row_at<'a>(listing: &Listing<'a>, cursor: Option<VirtAddr>) -> Option<Row<'a>> {
    listing.at(cursor?).into_iter().next_back()
}

/// Address, bytes and text of the instruction under the cursor.
fn copy(listing: &Listing<'_>, view: &View) -> Option<Command> {
    match row_at(listing, view.cursor)? {
        Row::Code(line) => {
            let text = format!("{:#x}  {}  {}", line.addr, crate::base::hex(&line.bytes), line.text);
            Some(Command::copy("instruction", text))
        }
        _ => None,
    }
}

/// The menu of the row under the cursor.
pub(super) fn menu(response: &Response, shown: &Shown<'_>, view: &mut View, commands: &mut Vec<Command>) {
    response.context_menu(|ui| {
        ui.set_width(240.0);
        ui.spacing_mut().item_spacing.y = 0.0;
        let Some(addr) = view.cursor else { return };
        let listing = shown.listing(view);
        let row = row_at(&listing, view.cursor);
        let mut is_chosen = false;
        let mut item = |icon, label: &str, key: &str| {
            let row = ListRow::new(label).icon(icon, Default::default()).trailing(key).flat();
            let is_clicked = row.show(ui).response.clicked();
            is_chosen |= is_clicked;
            is_clicked
        };
        let leads = matches!(&row, Some(Row::Code(line)) if line.target.is_some());
        if leads && item(icons::FORWARD, "Follow", "Enter") {
            commands.extend(follow(shown, view));
        }
        if item(icons::MEMORY, "Show the bytes", "") {
            commands.push(Command::go(Target::Address { pid: shown.pid, addr }));
        }
        if let Some(vma) = shown.space.map().vma_at(addr)
            && item(icons::LIST, "Show in the memory map", "")
        {
            commands.push(Command::go(Target::Vma { pid: shown.pid, start: vma.start }));
        }
        if matches!(row, Some(Row::Code(_))) && item(icons::COPY, "Copy the instruction", "Ctrl+C") {
            commands.extend(copy(&listing, view));
        }
        if item(icons::COPY, "Copy the address", "") {
            commands.push(Command::copy("address", addr.to_string()));
        }
        if is_chosen {
            ui.close();
        }
    });
}
