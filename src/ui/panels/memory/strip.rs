//! Scroll bar and minimap.
//!
//! The bar stands for rows, the minimap for mapped bytes: its left column says where bytes come from, its right column
//! how much information is in them.

use egui::{CursorIcon, Mesh, Pos2, Rect, Response, Role, Sense, Shape, Stroke, StrokeKind, Ui, WidgetInfo};

use super::view::View;
use super::{MemoryState, Shown};
use crate::session::space;
use crate::session::space::shape::{Part, Source};
use crate::ui::text;
use crate::ui::tokens::{self, Tokens};

/// Width of both, in points.
pub(super) const WIDTH: f32 = 54.0;
const BAR: f32 = 10.0;
const SOURCES: f32 = 24.0;
const ENTROPY: f32 = 14.0;
/// Most hits that are marked.
const MAX_MARKS: usize = 4096;
/// Least height of the handle.
const MIN_HANDLE: f32 = 24.0;

pub(super) fn strip_ui(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, state: &mut MemoryState) {
    let tokens = Tokens::get(ui);
    ui.painter().rect_filled(rect, 0.0, tokens.chrome);
    let bar = Rect::from_min_size(rect.min, egui::vec2(BAR, rect.height()));
    bar_ui(ui, bar, shown, &mut state.view);
    let map = Rect::from_min_max(Pos2::new(bar.right() + 2.0, rect.top()), rect.max);
    map_ui(ui, map, shown, state);
}

fn bar_ui(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, view: &mut View) {
    let tokens = Tokens::get(ui);
    let response = ui.interact(rect, ui.scope_id().with("scroll bar"), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::ScrollBar, true, "Scroll memory"));
    let total = shown.rows.len(view.zeros);
    let in_view = view.rows_in_view.max(1);
    let last_top = total.saturating_sub(in_view);
    if last_top == 0 {
        return;
    }
    // Terabytes of rows: more than f32 can count.
    let share = in_view as f64 / total as f64;
    let height = ((f64::from(rect.height()) * share) as f32).clamp(MIN_HANDLE, rect.height());
    let room = f64::from(rect.height() - height).max(1.0);
    if let Some(pos) = response.interact_pointer_pos().filter(|_| response.is_pointer_button_down_on()) {
        let to = (f64::from(pos.y - rect.top() - height / 2.0) / room).clamp(0.0, 1.0);
        view.top = ((last_top as f64 * to) as u64).min(last_top);
        view.above = 0.0;
        view.reveal = None;
    }
    let at = (view.top.min(last_top) as f64 / last_top as f64 * room) as f32;
    let handle = Rect::from_min_size(Pos2::new(rect.left() + 1.0, rect.top() + at), egui::vec2(BAR - 2.0, height));
    let is_hot = response.hovered() || response.dragged();
    ui.painter().rect_filled(handle, 3.0, if is_hot { tokens.muted } else { tokens.faint });
}

fn map_ui(ui: &mut Ui, rect: Rect, shown: &Shown<'_>, state: &mut MemoryState) {
    let view = &state.view;
    let tokens = Tokens::get(ui);
    let response = ui.interact(rect, ui.scope_id().with("minimap"), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Slider, true, "Minimap"));
    let Some(shape) = shown.shape.as_ref().filter(|shape| !shape.parts.is_empty()) else { return };
    let count = shape.parts.len();
    let y_of = |part: f32| rect.top() + rect.height() * part / count as f32;
    let mut mesh = Mesh::default();
    let left = rect.left() + 1.0;
    let right = left + SOURCES + 2.0;
    for (nr, part) in shape.parts.iter().enumerate() {
        let (top, bottom) = (y_of(nr as f32), y_of(nr as f32 + 1.0));
        part_mesh(&mut mesh, part, Rect::from_min_max(Pos2::new(left, top), Pos2::new(left + SOURCES, bottom)), tokens);
        if let Some(bits) = part.entropy {
            let width = (ENTROPY * bits / 8.0).clamp(1.0, ENTROPY);
            let bar = Rect::from_min_max(Pos2::new(right, top), Pos2::new(right + width, bottom));
            mesh.add_colored_rect(bar, if bits > 7.2 { tokens.origins.entropy } else { tokens.muted });
        }
    }
    ui.painter().add(Shape::mesh(mesh));
    let part_of = |addr| shown.space.mapped_before(addr) as f64 / shape.part_bytes as f64;
    let row_addr = |row| shown.rows.get(&shown.space, row, view.zeros).map(|row| row.range().start);
    let last = view.top.saturating_add(view.rows_in_view).min(shown.rows.len(view.zeros).saturating_sub(1));
    if let (Some(from), Some(to)) = (row_addr(view.top), row_addr(last)) {
        let (from, to) = (y_of(part_of(from) as f32), y_of(part_of(to) as f32));
        let frame = Rect::from_min_max(
            Pos2::new(rect.left(), from - 1.0),
            Pos2::new(right + ENTROPY + 1.0, to.max(from + 2.0) + 1.0),
        );
        ui.painter().rect_filled(frame, 0.0, tokens.strong.gamma_multiply(0.16));
        ui.painter().rect_stroke(frame, 1.0, Stroke::new(1.0, tokens.strong), StrokeKind::Inside);
    }
    // A line for every hit would be more than there are pixels.
    let mut marked = f32::NEG_INFINITY;
    for (_, hit) in shown.archive.searches().shown().into_iter().flat_map(|session| {
        session.hits().in_memory(shown.pid, crate::base::VirtAddr(0)..crate::base::VirtAddr(u64::MAX)).take(MAX_MARKS)
    }) {
        let y = y_of(part_of(crate::base::VirtAddr(hit.offset)) as f32);
        if y >= marked + 1.0 {
            ui.painter().hline(right..=right + ENTROPY, y, Stroke::new(1.5, tokens.warning));
            marked = y;
        }
    }
    for bookmark in shown.bookmarks.iter().filter(|known| known.pid == shown.pid.0) {
        let y = y_of(part_of(crate::base::VirtAddr(bookmark.addr)) as f32);
        ui.painter().hline(rect.left()..=right + ENTROPY, y, Stroke::new(2.0, tokens.warning));
    }
    let view = &mut state.view;
    let part_at = |pos: Pos2| (f64::from(pos.y - rect.top()) / f64::from(rect.height()) * count as f64).max(0.0);
    if let Some(pos) = response.interact_pointer_pos().filter(|_| response.is_pointer_button_down_on()) {
        let last = shown.space.mapped_bytes().saturating_sub(1);
        let nth = ((part_at(pos) * shape.part_bytes as f64) as u64).min(last);
        if let Some(addr) = shown.space.nth_mapped(nth) {
            view.top = shown.rows.row_of(&shown.space, addr, view.zeros).saturating_sub(view.rows_in_view / 3);
            view.above = 0.0;
            view.reveal = None;
        }
    }
    tip(response, shown, |pos| shape.parts.get((part_at(pos) as usize).min(count - 1)));
}

/// Shares of the sources; what is stored is seen however little it is.
fn part_mesh(mesh: &mut Mesh, part: &Part, rect: Rect, tokens: &Tokens) {
    let total: u64 = part.bytes.iter().sum();
    let mut left = rect.left();
    for (source, bytes) in Source::ALL.into_iter().zip(part.bytes) {
        if bytes == 0 || total == 0 {
            continue;
        }
        let least = if matches!(source, Source::Zero | Source::Absent) { 1.0 } else { 5.0 };
        let width = (rect.width() * (bytes as f64 / total as f64) as f32).max(least);
        let right = (left + width).min(rect.right());
        let bar = Rect::from_min_max(Pos2::new(left, rect.top()), Pos2::new(right, rect.bottom()));
        mesh.add_colored_rect(bar, super::grid::source_color(&tokens.origins, source));
        left = right;
    }
}

fn tip<'a>(response: Response, shown: &Shown<'_>, part_at: impl Fn(Pos2) -> Option<&'a Part>) {
    let Some(part) = response.hover_pos().and_then(part_at) else { return };
    response.on_hover_cursor(CursorIcon::PointingHand).on_hover_ui_at_pointer(|ui| {
        let name = shown.space.map().vma_at(part.start).map(space::vma_name).unwrap_or_default();
        ui.label(egui::RichText::new(format!("{}  {name}", part.start)).font(tokens::mono_font()));
        let tokens = Tokens::get(ui);
        for (source, bytes) in Source::ALL.into_iter().zip(part.bytes).filter(|(_, bytes)| *bytes > 0) {
            ui.horizontal(|ui| {
                let (mark, _) = ui.allocate_exact_size(egui::vec2(9.0, 9.0), Sense::hover());
                ui.painter().rect_filled(mark, 2.0, super::grid::source_color(&tokens.origins, source));
                ui.label(format!("{} {}", text::bytes(bytes), source.word()));
            });
        }
        let entropy = match part.entropy {
            Some(bits) if bits > 7.2 => format!("{bits:.1} bits a byte: packed, encrypted or random"),
            Some(bits) => format!("{bits:.1} bits a byte"),
            None => "nothing is stored here".to_owned(),
        };
        ui.label(entropy);
    });
}
