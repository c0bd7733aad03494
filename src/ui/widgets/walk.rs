//! Walking a list by keys: one focus for the whole list, arrows move the selection.

use egui::{EventFilter, Id, Key, Rect, Response, Role, Sense, Ui, WidgetInfo};

use crate::ui::tokens::ROW_HEIGHT;

/// The keyboard's place for a list that fills `rect`. Ask for its focus when a row is clicked.
pub fn list_focus(ui: &Ui, id: Id, rect: Rect, name: &str) -> Response {
    let response = ui.interact(rect, id, Sense::focusable_noninteractive());
    response.widget_info(|| WidgetInfo::labeled(Role::List, ui.is_enabled(), name));
    if response.has_focus() {
        ui.memory_mut(|memory| {
            let filter = EventFilter { vertical_arrows: true, horizontal_arrows: true, tab: false, escape: false };
            memory.set_focus_lock_filter(id, filter);
        });
    }
    response
}

/// Where the keys pressed in this frame lead to from `at` in a list of `len` rows.
pub fn walk(ui: &Ui, at: Option<usize>, len: usize, height: f32) -> Option<usize> {
    let last = len.checked_sub(1)?;
    let page = ((height / ROW_HEIGHT) as usize).max(1);
    let wanted = ui.input(|input| {
        let pressed = |key| input.key_pressed(key);
        if pressed(Key::ArrowDown) {
            Some(at.map_or(0, |at| at + 1))
        } else if pressed(Key::ArrowUp) {
            Some(at.map_or(last, |at| at.saturating_sub(1)))
        } else if pressed(Key::PageDown) {
            Some(at.map_or(0, |at| at + page))
        } else if pressed(Key::PageUp) {
            Some(at.unwrap_or_default().saturating_sub(page))
        } else if pressed(Key::Home) {
            Some(0)
        } else if pressed(Key::End) {
            Some(last)
        } else {
            None
        }
    });
    wanted.map(|wanted| wanted.min(last))
}
