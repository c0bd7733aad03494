//! The screen without an archive: what this is, and three ways to begin.

use egui::{Align2, Frame, Layout, Rect, RichText, Role, ScrollArea, Sense, Stroke, Ui, WidgetInfo};

use super::icons;
use super::panels::Panels;
use super::tokens::{self, SPACE_L, SPACE_M, SPACE_S, SPACE_XS, Tokens, Tone};
use super::widgets::{ListRow, button, icon_button, paint_icon, primary_button, section_header};
use crate::session::{ArchivesCommand, Command, Model, PanelKind, ViewCommand};

/// Draws the screen.
#[must_use]
pub fn start_ui(ui: &mut Ui, model: &Model) -> Vec<Command> {
    let mut commands = Vec::new();
    let tokens = Tokens::get(ui);
    let width = 600.0_f32.min(ui.available_width() - 48.0);
    let rect = ui.available_rect_before_wrap();
    ui.painter().rect_filled(rect, 0.0, tokens.surface);
    let column = Rect::from_center_size(rect.center(), egui::vec2(width, rect.height()));
    ui.scope_builder(egui::UiBuilder::new().max_rect(column).layout(Layout::top_down(egui::Align::Min)), |ui| {
        let recent = model.settings().recent.len().min(8) as f32;
        let content = 330.0 + if recent > 0.0 { 50.0 + recent * tokens::ROW_HEIGHT } else { 0.0 };
        ui.add_space(((rect.height() - content) * 0.42).max(SPACE_L));
        title_ui(ui);
        ui.add_space(SPACE_L + SPACE_S);
        drop_ui(ui, &mut commands);
        ui.add_space(SPACE_L);
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = SPACE_S;
            if primary_button(ui, icons::FOLDER_OPEN, "Open archive…").clicked() {
                commands.push(ArchivesCommand::OpenFileDialog.into());
            }
            if button(ui, icons::FOLDER, "Open directory…").clicked() {
                commands.push(ArchivesCommand::OpenDirectoryDialog.into());
            }
            if button(ui, icons::NODES, "Nodes…").on_hover_text("Freeze containers and fetch archives").clicked() {
                commands.push(ViewCommand::ShowPanel(PanelKind::Nodes).into());
            }
            if button(ui, icons::SAMPLE, "Open the bundled sample").clicked() {
                commands.push(ArchivesCommand::OpenSample.into());
            }
        });
        ui.add_space(SPACE_L + SPACE_S);
        recent_ui(ui, model, &mut commands);
    });
    commands
}

/// Nodes before there is an archive, with a way back.
#[must_use]
pub(super) fn nodes_ui(ui: &mut Ui, model: &Model, panels: &mut Panels, is_shown: &mut bool) -> Vec<Command> {
    let rect = ui.available_rect_before_wrap();
    let tokens = Tokens::get(ui);
    ui.painter().rect_filled(rect, 0.0, tokens.surface);
    ui.horizontal(|ui| {
        ui.set_height(tokens::BAR_HEIGHT + 4.0);
        ui.spacing_mut().item_spacing.x = SPACE_S;
        ui.add_space(SPACE_S);
        if icon_button(ui, icons::BACK, "Back").clicked() {
            *is_shown = false;
        }
        ui.label(RichText::new("Nodes").font(tokens::strong_font(tokens::TEXT_BODY)).color(tokens.strong));
    });
    let y = ui.cursor().top() - 0.5;
    ui.painter().hline(rect.x_range(), y, Stroke::new(1.0, tokens.line));
    panels.ui(ui, PanelKind::Nodes, model)
}

fn title_ui(ui: &mut Ui) {
    let tokens = Tokens::get(ui);
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(44.0, 44.0), Sense::hover());
        paint_icon(ui, rect, icons::SNOWFLAKE, 40.0, tokens.accent);
        ui.add_space(SPACE_XS);
        ui.label(RichText::new("Cryoscope").font(tokens::strong_font(tokens::TEXT_TITLE)).color(tokens.strong));
    });
    ui.add_space(SPACE_S);
    let what = "Look into a frozen container: what ran, what it held open, who it talked to, what it hid.";
    ui.add(egui::Label::new(RichText::new(what).size(14.0).color(tokens.text)).wrap());
}

/// The place to drop on; a click asks for files.
fn drop_ui(ui: &mut Ui, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let (rect, response) = ui.allocate_exact_size(egui::vec2(ui.available_width(), 104.0), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Drop a checkpoint here"));
    let is_hot = response.hovered() || response.has_focus();
    ui.painter().rect_filled(rect, 6.0, if is_hot { tokens.hover } else { tokens.well });
    let color = if is_hot { tokens.accent } else { tokens.faint };
    dashed_frame(ui, rect.shrink(0.5), color);
    let center = rect.center();
    let icon_rect = Rect::from_center_size(center - egui::vec2(0.0, 22.0), egui::vec2(28.0, 28.0));
    paint_icon(ui, icon_rect, icons::ARCHIVE, 26.0, if is_hot { tokens.accent } else { tokens.muted });
    let line = |offset: f32, text: &str, font: egui::FontId, color| {
        ui.painter().text(center + egui::vec2(0.0, offset), Align2::CENTER_CENTER, text, font, color);
    };
    line(8.0, "Drop a checkpoint here", tokens::strong_font(tokens::TEXT_BODY), tokens.text);
    line(
        28.0,
        "Kubernetes, CRI-O, containerd, Podman, Docker, runc, CRIU; packed or not",
        tokens::small_font(),
        tokens.muted,
    );
    if response.clicked() {
        commands.push(ArchivesCommand::OpenFileDialog.into());
    }
}

fn dashed_frame(ui: &Ui, rect: Rect, color: egui::Color32) {
    let stroke = Stroke::new(1.0, color);
    let corners = [rect.left_top(), rect.right_top(), rect.right_bottom(), rect.left_bottom(), rect.left_top()];
    for side in corners.windows(2) {
        ui.painter().extend(egui::Shape::dashed_line(side, stroke, 5.0, 4.0));
    }
}

fn recent_ui(ui: &mut Ui, model: &Model, commands: &mut Vec<Command>) {
    let recent = &model.settings().recent;
    if recent.is_empty() {
        return;
    }
    section_header(ui, "Recent", "");
    Frame::NONE.show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        let height = ui.available_height() - SPACE_M;
        ScrollArea::vertical().max_height(height).show(ui, |ui| {
            for archive in recent {
                let path = crate::base::escape_controls(&archive.path.display().to_string()).into_owned();
                let day = archive.opened.get(..10).unwrap_or_default();
                let row = ListRow::new(&archive.title)
                    .flat()
                    .icon(icons::ARCHIVE, Tone::Neutral)
                    .secondary(&path)
                    .trailing(day)
                    .show(ui);
                if row.response.clicked() {
                    commands.push(ArchivesCommand::Open(vec![archive.path.clone()]).into());
                }
                row.response.on_hover_text(&path).context_menu(|ui| {
                    if ui.button("Remove from this list").clicked() {
                        commands.push(ArchivesCommand::ForgetRecent(archive.path.clone()).into());
                        ui.close();
                    }
                });
            }
        });
    });
}
