//! The bar over the bytes, and the line below them that says where the cursor is.

use egui::{Align, Layout, RichText, Ui};

use super::view::View;
use super::{MemoryState, Shown, copy, input};
use crate::session::export::MemoryExport;
use crate::session::space::rows::Zeros;
use crate::session::{Command, ExportCommand, SearchCommand};
use crate::ui::panels::address_rows::place_ui;
use crate::ui::tokens::{self, BAR_HEIGHT, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{ListRow, icon_button, icon_menu, toggle_button};
use crate::ui::{icons, text};

pub(super) fn bar_ui(ui: &mut Ui, shown: &Shown<'_>, state: &mut MemoryState, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let row = ui.allocate_ui_with_layout(
        egui::vec2(ui.available_width(), BAR_HEIGHT + 4.0),
        Layout::right_to_left(Align::Center),
        |ui| {
            ui.spacing_mut().item_spacing.x = 2.0;
            ui.add_space(SPACE_S);
            if toggle_button(ui, icons::VIEW, "Inspector and bookmarks", state.side.is_open).clicked() {
                state.side.is_open = !state.side.is_open;
            }
            let is_marked = state.view.cursor.is_some_and(|at| shown.bookmark_at(at).is_some());
            let name = if is_marked { "Remove the bookmark (B)" } else { "Bookmark this address (B)" };
            let can_mark = state.view.cursor.is_some();
            let mark = ui.add_enabled_ui(can_mark, |ui| toggle_button(ui, icons::BOOKMARK, name, is_marked));
            if mark.inner.clicked() {
                commands.extend(input::toggle_bookmark(shown, &state.view));
                state.side.is_open = true;
            }
            let name = "Name the fields of structures: ELF headers, link_map, sockaddr";
            if toggle_button(ui, icons::BRACES, name, !state.hides_fields).clicked() {
                state.hides_fields = !state.hides_fields;
            }
            let is_open = state.view.zeros == Zeros::Open;
            let name = if is_open { "Fold long stretches of zeros" } else { "Show zeros byte by byte" };
            if toggle_button(ui, icons::UNFOLD, name, is_open).clicked() {
                let zeros = if is_open { Zeros::Folded } else { Zeros::Open };
                state.view.set_zeros(&shown.space, &shown.rows, zeros);
            }
            if icon_button(ui, icons::SEARCH, "Search this memory (Ctrl+F)").clicked() {
                commands.push(SearchCommand::Ask { pid: Some(shown.pid) }.into());
            }
            save_menu_ui(ui, shown, &state.view, commands);
            ui.add_enabled_ui(can_mark, |ui| {
                icon_menu(ui, icons::COPY, "Copy as", 220.0, |ui| {
                    if copy::menu_ui(ui, shown, &state.view, &mut state.copy, commands) {
                        ui.close();
                    }
                });
            });
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.spacing_mut().item_spacing.x = SPACE_XS;
                ui.add_space(SPACE_S);
                if let Some(addr) = state.address.show(ui, shown.process, &shown.space) {
                    commands.extend(shown.jump(&state.view, addr));
                }
            });
        },
    );
    let y = row.response.rect.bottom();
    ui.painter().hline(ui.max_rect().x_range(), y - 0.5, egui::Stroke::new(1.0, tokens.line));
}

/// What of this memory can be written to files.
fn save_menu_ui(ui: &mut Ui, shown: &Shown<'_>, view: &View, commands: &mut Vec<Command>) {
    icon_menu(ui, icons::SAVE, "Save memory", 250.0, |ui| {
        let map = view.cursor.and_then(|at| shown.space.segment_at(at)).map(|segment| segment.vma);
        let choices = [
            ("Save the selected bytes…", view.selection().filter(|_| view.anchor.is_some()).map(MemoryExport::Raw)),
            ("Save the bytes of this map…", map.map(|vma| MemoryExport::Raw(vma.start..vma.end))),
            ("Save a core file for gdb…", Some(MemoryExport::Core)),
            ("Save all programs and libraries…", Some(MemoryExport::Carved)),
        ];
        for (label, what) in choices {
            let row = ui.add_enabled_ui(what.is_some(), |ui| ListRow::new(label).flat().show(ui).response).inner;
            if let (true, Some(what)) = (row.clicked(), what) {
                commands.push(ExportCommand::SaveMemory { pid: shown.pid, what }.into());
                ui.close();
            }
        }
    });
}

/// Address, area, origin, place in the evidence, size of the selection.
pub(super) fn where_ui(ui: &mut Ui, shown: &Shown<'_>, view: &View, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let top = ui.max_rect().top();
    ui.painter().hline(ui.max_rect().x_range(), top + 0.5, egui::Stroke::new(1.0, tokens.line));
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        ui.add_space(SPACE_S);
        let small = |text: String| RichText::new(text).font(tokens::small_font()).color(tokens.muted);
        let size = small(format!("{} mapped", text::bytes(shown.space.mapped_bytes())));
        ui.label(size);
        if let Some(selection) = view.selection().filter(|_| view.anchor.is_some()) {
            let len = selection.end.0.saturating_sub(selection.start.0);
            ui.label(small(format!(
                "{} selected",
                text::counted(usize::try_from(len).unwrap_or(usize::MAX), "byte", "bytes")
            )));
        }
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            let Some(at) = view.cursor else {
                ui.label(small("Click a byte, or go to an address with Ctrl+G".to_owned()));
                return;
            };
            place_ui(ui, shown.archive, &shown.space, at, None, commands);
        });
    });
}
