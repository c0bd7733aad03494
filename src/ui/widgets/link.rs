//! Names that lead to their object.

use egui::{CursorIcon, FontId, Id, Rect, Response, Role, Sense, Stroke, Ui, WidgetInfo};

use crate::session::{Command, Target};
use crate::ui::tokens::{self, Tokens};

/// A link in body type.
pub fn link(ui: &mut Ui, text: &str) -> Response {
    link_in(ui, text, tokens::body_font())
}

/// A link in monospaced type: numbers, paths, addresses.
pub fn link_mono(ui: &mut Ui, text: &str) -> Response {
    link_in(ui, text, tokens::mono_font())
}

/// A link that goes to `target` when clicked.
pub fn target_link(ui: &mut Ui, commands: &mut Vec<Command>, text: &str, target: Target) -> Response {
    let response = link_mono(ui, text);
    if response.clicked() {
        commands.push(Command::go(target));
    }
    response
}

/// Small words that can be pressed, painted at the left of `rect` and cut at its right.
pub fn link_at(ui: &mut Ui, rect: Rect, id: Id, text: &str) -> Response {
    let accent = Tokens::get(ui).accent;
    let mut job = egui::text::LayoutJob::simple_singleline(text.to_owned(), tokens::small_font(), accent);
    job.wrap = egui::text::TextWrapping::truncate_at_width(rect.width().max(0.0));
    let galley = ui.painter().layout_job(job);
    let at = Rect::from_min_size(egui::pos2(rect.left(), rect.center().y - galley.size().y / 2.0), galley.size());
    let response = ui.interact(at.intersect(rect), id, Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Link, ui.is_enabled(), text));
    ui.painter_at(rect).galley(at.min, galley, accent);
    if response.hovered() || response.has_focus() {
        ui.painter().hline(at.x_range(), at.bottom(), Stroke::new(1.0, accent));
    }
    response.on_hover_cursor(CursorIcon::PointingHand)
}

fn link_in(ui: &mut Ui, text: &str, font: FontId) -> Response {
    let tokens = Tokens::get(ui);
    let mut format = egui::TextFormat::simple(font, tokens.accent);
    format.line_height = Some(17.0);
    let mut job = egui::text::LayoutJob::single_section(text.to_owned(), format);
    job.wrap.max_width = ui.available_width();
    job.wrap.max_rows = 1;
    job.wrap.break_anywhere = true;
    let galley = ui.painter().layout_job(job);
    let (rect, response) = ui.allocate_exact_size(galley.size(), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Link, ui.is_enabled(), text));
    if ui.is_rect_visible(rect) {
        let is_elided = galley.elided;
        ui.painter().galley(rect.min, galley, tokens.accent);
        if response.hovered() || response.has_focus() {
            ui.painter().hline(rect.x_range(), rect.bottom() - 1.0, Stroke::new(1.0, tokens.accent));
        }
        if is_elided {
            return response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(text);
        }
    }
    response.on_hover_cursor(CursorIcon::PointingHand)
}
