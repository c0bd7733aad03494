//! The bar at the bottom: what is open, whether it can be trusted, what runs.

use egui::{Align, Layout, ProgressBar, RichText, Ui};

use super::app::bar;
use super::icons::{self, Icon};
use super::text;
use super::tokens::{self, SPACE_M, SPACE_S, SPACE_XS, Tokens, Tone};
use super::widgets::{icon_button, paint_icon};
use crate::session::{
    ArchivesCommand, Command, HashState, JobsCommand, Model, OpenArchive, PanelKind, Target, ViewCommand,
};

/// Draws the bar.
#[must_use]
pub fn status_bar_ui(ui: &mut Ui, model: &Model) -> Vec<Command> {
    let mut commands = Vec::new();
    bar(egui::Panel::bottom("status bar"), ui, 26.0, |ui| {
        ui.spacing_mut().item_spacing.x = SPACE_XS;
        ui.add_space(SPACE_S);
        match model.active() {
            Some(archive) => archive_ui(ui, archive, &mut commands),
            None => {
                item(ui, icons::ARCHIVE, "No archive open", Tone::Neutral, "");
            }
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            let zoom = model.settings().zoom_percent;
            if zoom != 100
                && item_button(ui, icons::SEARCH, &format!("{zoom} %"), Tone::Neutral, "Zoom; click for 100 %")
            {
                commands.push(ViewCommand::ZoomReset.into());
            }
            jobs_ui(ui, model, &mut commands);
        });
    });
    let tokens = Tokens::get(ui);
    let y = ui.available_rect_before_wrap().bottom();
    ui.painter().hline(ui.max_rect().x_range(), y + 0.5, egui::Stroke::new(1.0, tokens.line));
    commands
}

fn archive_ui(ui: &mut Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
    let checkpoint = archive.checkpoint();
    let path = crate::base::escape_controls(&archive.path().display().to_string()).into_owned();
    let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    item(ui, icons::ARCHIVE, &name, Tone::Neutral, &path);
    let container = &checkpoint.container;
    let mut made_by = container.layout.word().to_owned();
    if let Some(version) = &container.criu_version {
        made_by.push_str(", CRIU ");
        made_by.push_str(version);
    }
    if let Some(arch) = container.arch.map(|arch| arch.name()) {
        made_by.push_str(", ");
        made_by.push_str(arch);
    }
    item(
        ui,
        icons::CONTAINER,
        &made_by,
        Tone::Neutral,
        "Layout of the archive, CRIU's release and the architecture of the dump",
    );
    match archive.hash() {
        HashState::NotYet => {}
        HashState::NotComputed => {
            if item_button(ui, icons::HASH, "not hashed", Tone::Neutral, "SHA-256 of the evidence; click to compute") {
                commands.push(ArchivesCommand::Hash(archive.id()).into());
            }
        }
        HashState::Running(_) => {
            item(ui, icons::HASH, "hashing…", Tone::Accent, "SHA-256 of the evidence is being computed");
        }
        HashState::Known(sha256) => {
            let short = format!("sha256 {}…", sha256.get(..12).unwrap_or(sha256));
            if item_button(ui, icons::SHIELD, &short, Tone::Success, &format!("{sha256}\nClick to copy")) {
                commands.push(Command::copy("SHA-256", sha256.clone()));
            }
        }
    }
    let issues = checkpoint.issues.len();
    let (label, tone) = match issues {
        0 => ("no issues".to_owned(), Tone::Neutral),
        _ => (text::counted(issues, "issue", "issues"), Tone::Warning),
    };
    if item_button(ui, icons::ISSUE, &label, tone, "What could not be read; click to see") {
        commands.push(Command::go(Target::Panel(PanelKind::Issues)));
    }
}

fn jobs_ui(ui: &mut Ui, model: &Model, commands: &mut Vec<Command>) {
    let mut running = model.running_jobs();
    let Some(job) = running.next() else { return };
    let more = running.count();
    if icon_button(ui, icons::CLOSE, &format!("Cancel: {}", job.title)).clicked() {
        commands.push(JobsCommand::Cancel(job.id).into());
    }
    let tokens = Tokens::get(ui);
    match job.progress.fraction() {
        Some(fraction) => {
            ui.add(ProgressBar::new(fraction).desired_width(110.0).desired_height(6.0).fill(tokens.accent));
        }
        None => {
            ui.add(egui::Spinner::new().size(12.0));
        }
    }
    let mut label = job.title.clone();
    if job.is_stopping {
        label.push_str(": stopping");
    } else if !job.progress.stage.is_empty() {
        label.push_str(": ");
        label.push_str(job.progress.stage);
    }
    if more > 0 {
        label.push_str(&format!(", {more} more"));
    }
    if item_button(ui, icons::JOBS, &label, Tone::Neutral, "Background work; click for all jobs") {
        commands.push(ViewCommand::ShowPanel(PanelKind::Jobs).into());
    }
}

fn item(ui: &mut Ui, icon: Icon, label: &str, tone: Tone, help: &str) {
    draw_item(ui, icon, label, tone, help, egui::Sense::hover());
}

fn item_button(ui: &mut Ui, icon: Icon, label: &str, tone: Tone, help: &str) -> bool {
    draw_item(ui, icon, label, tone, help, egui::Sense::click()).clicked()
}

fn draw_item(ui: &mut Ui, icon: Icon, label: &str, tone: Tone, help: &str, sense: egui::Sense) -> egui::Response {
    let tokens = Tokens::get(ui);
    let color = if tone == Tone::Neutral { tokens.muted } else { tokens.tone(tone) };
    let galley = ui.painter().layout_no_wrap(label.to_owned(), tokens::small_font(), color);
    let size = egui::vec2(18.0 + galley.size().x + SPACE_M, 20.0);
    let (rect, response) = ui.allocate_exact_size(size, sense);
    let role = if sense.senses_click() { egui::Role::Button } else { egui::Role::Label };
    response.widget_info(|| egui::WidgetInfo::labeled(role, true, label));
    if sense.senses_click() && (response.hovered() || response.has_focus()) {
        ui.painter().rect_filled(rect, tokens::RADIUS, tokens.hover);
    }
    let icon_rect = egui::Rect::from_min_size(rect.min + egui::vec2(2.0, 0.0), egui::vec2(14.0, rect.height()));
    paint_icon(ui, icon_rect, icon, 13.0, color);
    ui.painter().galley(egui::pos2(rect.left() + 19.0, rect.center().y - galley.size().y / 2.0), galley, color);
    if help.is_empty() { response } else { response.on_hover_text(RichText::new(help)) }
}
