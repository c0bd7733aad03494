//! Things to press. Icons have a name for those who do not see them.

use egui::{Align2, Color32, CornerRadius, Rect, Response, Role, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo};

use crate::ui::icons::Icon;
use crate::ui::tokens::{self, ICON_SIZE, SPACE_S, Tokens};

/// Paints an icon in the middle of `rect`.
pub fn paint_icon(ui: &Ui, rect: Rect, icon: Icon, size: f32, color: Color32) {
    ui.painter().text(rect.center(), Align2::CENTER_CENTER, icon, tokens::icon_font(size), color);
}

/// A bare icon; `name` is its tooltip and its accessible name.
pub fn icon_button(ui: &mut Ui, icon: Icon, name: &str) -> Response {
    icon_toggle(ui, icon, name, false, ui.is_enabled())
}

/// An icon that is on or off.
pub fn toggle_button(ui: &mut Ui, icon: Icon, name: &str, is_on: bool) -> Response {
    icon_toggle(ui, icon, name, is_on, ui.is_enabled())
}

/// A bare icon that opens a menu; `name` is its tooltip and its accessible name.
pub fn icon_menu(ui: &mut Ui, icon: Icon, name: &str, width: f32, content: impl FnOnce(&mut Ui)) {
    let response = icon_button(ui, icon, name);
    egui::Popup::menu(&response).width(width).show(|ui| {
        ui.set_width(width);
        ui.spacing_mut().item_spacing.y = 0.0;
        content(ui);
    });
}

fn icon_toggle(ui: &mut Ui, icon: Icon, name: &str, is_on: bool, enabled: bool) -> Response {
    let tokens = Tokens::get(ui);
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(24.0), Sense::click());
    response.widget_info(|| {
        if is_on {
            WidgetInfo::selected(Role::Button, enabled, true, name)
        } else {
            WidgetInfo::labeled(Role::Button, enabled, name)
        }
    });
    if ui.is_rect_visible(rect) {
        let hovered = response.hovered() || response.has_focus();
        if is_on {
            ui.painter().rect_filled(rect, tokens::RADIUS, tokens.selected);
        } else if hovered {
            ui.painter().rect_filled(rect, tokens::RADIUS, tokens.hover);
        }
        focus_ring(ui, &response);
        let color = if !enabled {
            tokens.faint
        } else if is_on {
            tokens.accent
        } else if hovered {
            tokens.strong
        } else {
            tokens.muted
        };
        paint_icon(ui, rect, icon, ICON_SIZE + 1.0, color);
    }
    response.on_hover_text(name)
}

/// A button with an icon and a text.
pub fn button(ui: &mut Ui, icon: Icon, text: &str) -> Response {
    text_button(ui, icon, text, false)
}

/// The one button that is meant to be pressed.
pub fn primary_button(ui: &mut Ui, icon: Icon, text: &str) -> Response {
    text_button(ui, icon, text, true)
}

fn text_button(ui: &mut Ui, icon: Icon, text: &str, is_primary: bool) -> Response {
    let tokens = Tokens::get(ui);
    let enabled = ui.is_enabled();
    let color = if is_primary { tokens.on_accent } else { tokens.text };
    let font = if is_primary { tokens::strong_font(tokens::TEXT_BODY) } else { tokens::body_font() };
    let galley = ui.painter().layout_no_wrap(text.to_owned(), font, color);
    let icon_width = if icon.is_empty() { 0.0 } else { ICON_SIZE + SPACE_S };
    let size = Vec2::new(galley.size().x + icon_width + 2.0 * 10.0, 28.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, text));
    if ui.is_rect_visible(rect) {
        let is_hot = response.hovered() || response.has_focus();
        let (fill, stroke) = match (is_primary, is_hot) {
            (true, false) => (tokens.accent, Stroke::NONE),
            (true, true) => (tokens.accent.gamma_multiply(0.88), Stroke::NONE),
            (false, false) => (tokens.hover, Stroke::new(1.0, tokens.line)),
            (false, true) => (tokens.line, Stroke::new(1.0, tokens.faint)),
        };
        ui.painter().rect(rect, CornerRadius::same(tokens::RADIUS), fill, stroke, StrokeKind::Inside);
        focus_ring(ui, &response);
        let mut x = rect.left() + 10.0;
        if !icon.is_empty() {
            let icon_rect = Rect::from_min_size(egui::pos2(x, rect.top()), Vec2::new(ICON_SIZE, rect.height()));
            paint_icon(ui, icon_rect, icon, ICON_SIZE, color);
            x += icon_width;
        }
        ui.painter().galley(egui::pos2(x, rect.center().y - galley.size().y / 2.0), galley, color);
    }
    response
}

/// Draws a ring around what has the keyboard.
pub(super) fn focus_ring(ui: &Ui, response: &Response) {
    if response.has_focus() {
        let stroke = Stroke::new(1.5, Tokens::get(ui).accent);
        ui.painter().rect_stroke(response.rect.shrink(0.5), tokens::RADIUS, stroke, StrokeKind::Inside);
    }
}
