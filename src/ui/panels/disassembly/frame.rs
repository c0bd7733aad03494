//! The bar above the listing, the line below it that says where the cursor is, and the scroll bar.

use egui::{Align, Layout, Pos2, Rect, RichText, Role, Sense, Stroke, Ui, WidgetInfo};

use super::view::View;
use super::{DisassemblyState, Shown};
use crate::base::{VirtAddr, escape_controls};
use crate::memory::disassembly::Isa;
use crate::session::space::listing::Spot;
use crate::session::{Command, Target};
use crate::ui::icons;
use crate::ui::panels::address_rows::place_ui;
use crate::ui::tokens::{self, BAR_HEIGHT, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{icon_button, icon_menu};

/// Width of the scroll bar, in points.
pub(super) const SCROLL_WIDTH: f32 = 16.0;
/// Height of its handle.
const HANDLE: f32 = 28.0;
/// Most threads that are offered and marked.
const MAX_THREADS: usize = 512;

pub(super) fn bar_ui(ui: &mut Ui, shown: &Shown<'_>, state: &mut DisassemblyState, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let size = egui::vec2(ui.available_width(), BAR_HEIGHT + 4.0);
    let row = ui.allocate_ui_with_layout(size, Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.add_space(SPACE_S);
        let cursor = state.view.cursor;
        ui.add_enabled_ui(cursor.is_some(), |ui| {
            if icon_button(ui, icons::MEMORY, "Show the bytes of this instruction").clicked()
                && let Some(addr) = cursor
            {
                commands.push(Command::go(Target::Address { pid: shown.pid, addr }));
            }
        });
        threads_ui(ui, shown, &state.view, commands);
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = SPACE_XS;
            ui.add_space(SPACE_S);
            if let Some(addr) = state.address.show(ui, shown.process, shown.space) {
                let pid = shown.pid;
                let left = state.view.cursor.map(|addr| Command::select(Target::Code { pid, addr }));
                commands.extend(left);
                commands.push(Command::go(Target::Code { pid, addr }));
            }
        });
    });
    let y = row.response.rect.bottom();
    ui.painter().hline(ui.max_rect().x_range(), y - 0.5, Stroke::new(1.0, tokens.line));
}

/// A menu of where threads stand.
fn threads_ui(ui: &mut Ui, shown: &Shown<'_>, view: &View, commands: &mut Vec<Command>) {
    if shown.code.threads().is_empty() {
        return;
    }
    icon_menu(ui, icons::CPU, "Where threads stand", 320.0, |ui| {
        egui::ScrollArea::vertical().max_height(320.0).show(ui, |ui| {
            for (addr, tid) in shown.code.threads().iter().take(MAX_THREADS) {
                let name = shown.code.symbols.name_of(*addr).map(|name| name.to_string()).unwrap_or_default();
                let label = format!("Thread {tid}  {}", escape_controls(&name));
                if ui.button(label).on_hover_text(addr.to_string()).clicked() {
                    commands.extend(shown.jump(view.cursor, *addr));
                    ui.close();
                }
            }
        });
    });
}

/// Address, symbol, area, origin.
pub(super) fn where_ui(ui: &mut Ui, shown: &Shown<'_>, view: &View, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let top = ui.max_rect().top();
    ui.painter().hline(ui.max_rect().x_range(), top + 0.5, Stroke::new(1.0, tokens.line));
    let small = |text: String| RichText::new(text).font(tokens::small_font()).color(tokens.muted);
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        ui.add_space(SPACE_S);
        ui.label(small(
            match shown.isa {
                Isa::X86 => "x86, 32 bits",
                Isa::X86_64 => "x86-64",
                Isa::Aarch64 => "AArch64",
            }
            .to_owned(),
        ));
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            let Some(at) = view.cursor else { return };
            let name = shown.code.symbols.name_of(at).filter(|name| name.symbol.is_some());
            place_ui(ui, shown.archive, shown.space, at, name.as_ref(), commands);
        });
    });
}

/// A handle for the place in the listing, and a mark for each thread.
pub(super) fn scroll_ui(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, view: &mut View) {
    let tokens = Tokens::get(ui);
    ui.painter().rect_filled(rect, 0.0, tokens.chrome);
    let response = ui.interact(rect, ui.scope_id().with("scroll bar"), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::ScrollBar, true, "Scroll the listing"));
    let map = shown.space.map();
    let room = f64::from(rect.height() - HANDLE).max(1.0);
    if let Some(pos) = response.interact_pointer_pos().filter(|_| response.is_pointer_button_down_on()) {
        let share = (f64::from(pos.y - rect.top() - HANDLE / 2.0) / room).clamp(0.0, 1.0);
        let addr = shown.listing(view).nearest(shown.code.address_at(map, share));
        view.top = Spot { addr, part: 0 };
        view.above = 0.0;
    }
    let y_of = |addr: VirtAddr| rect.top() + (shown.code.share_of(map, addr) * room) as f32;
    for (addr, _) in shown.code.threads().iter().take(MAX_THREADS) {
        let y = (y_of(*addr) + HANDLE / 2.0).round();
        let mark = Rect::from_min_size(Pos2::new(rect.left() + 2.0, y - 1.0), egui::vec2(rect.width() - 4.0, 2.0));
        ui.painter().rect_filled(mark, 0.0, tokens.accent);
    }
    let is_hot = response.hovered() || response.dragged();
    let handle =
        Rect::from_min_size(Pos2::new(rect.left() + 4.0, y_of(view.top.addr)), egui::vec2(rect.width() - 8.0, HANDLE));
    ui.painter().rect_filled(handle, 3.0, if is_hot { tokens.muted } else { tokens.faint });
}
