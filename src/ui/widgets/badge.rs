//! A short word with a meaning.

use egui::{Response, Role, Sense, Ui, Vec2, WidgetInfo};

use crate::ui::tokens::{self, Tokens, Tone};

/// A word in a tinted pill.
pub fn badge(ui: &mut Ui, text: &str, tone: Tone) -> Response {
    let tokens = Tokens::get(ui);
    let color = tokens.tone(tone);
    let galley = ui.painter().layout_no_wrap(text.to_owned(), tokens::small_font(), color);
    let size = Vec2::new(galley.size().x + 2.0 * 6.0, 17.0);
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, text));
    if ui.is_rect_visible(rect) {
        ui.painter().rect_filled(rect, tokens::RADIUS, color.gamma_multiply(0.14));
        let at = rect.center() - galley.size() / 2.0;
        ui.painter().galley(at, galley, color);
    }
    response
}
