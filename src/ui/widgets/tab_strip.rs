//! Tabs inside a panel.

use egui::text::LayoutJob;
use egui::{Rect, Role, Sense, Stroke, TextFormat, Ui, WidgetInfo};

use crate::ui::text::grouped;
use crate::ui::tokens::{self, SPACE_S, Tokens};

/// One tab: its title, and a count beside it unless that is 0.
pub type Tab<'a> = (&'a str, usize);

/// Draws tabs with a line under them; which one is in front from now on.
pub fn tab_strip(ui: &mut Ui, tabs: &[Tab<'_>], current: usize) -> usize {
    let tokens = Tokens::get(ui);
    let mut chosen = current;
    let response = ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        ui.add_space(SPACE_S);
        for (at, (title, count)) in tabs.iter().enumerate() {
            if tab_ui(ui, title, *count, at == current) {
                chosen = at;
            }
        }
    });
    let y = response.response.rect.bottom();
    ui.painter().hline(ui.max_rect().x_range(), y - 0.5, Stroke::new(1.0, tokens.line));
    chosen
}

fn tab_ui(ui: &mut Ui, title: &str, count: usize, is_current: bool) -> bool {
    let tokens = Tokens::get(ui);
    let color = if is_current { tokens.strong } else { tokens.muted };
    let mut job = LayoutJob::simple_singleline(title.to_owned(), egui::FontId::proportional(12.5), color);
    if count > 0 {
        let format = TextFormat::simple(tokens::small_font(), tokens.muted);
        job.append(&grouped(count as u64), 5.0, format);
    }
    let galley = ui.painter().layout_job(job);
    let (rect, response) = ui.allocate_exact_size(egui::vec2(galley.size().x + 2.0 * 9.0, 28.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::Tab, true, is_current, title));
    if response.hovered() && !is_current {
        ui.painter().rect_filled(rect.shrink2(egui::vec2(0.0, 2.0)), tokens::RADIUS, tokens.hover);
    }
    let at = egui::pos2(rect.left() + 9.0, rect.center().y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, color);
    if is_current || response.has_focus() {
        let min = egui::pos2(rect.left() + 5.0, rect.bottom() - 2.0);
        let line = Rect::from_min_max(min, egui::pos2(rect.right() - 5.0, rect.bottom()));
        ui.painter().rect_filled(line, 1.0, tokens.accent);
    }
    response.clicked()
}
