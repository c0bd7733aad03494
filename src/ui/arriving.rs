//! The strip above the panels while an archive is still unpacked or fetched.

use egui::{Align, Layout, ProgressBar, RichText, Ui};

use super::app::bar;
use super::icons;
use super::text;
use super::tokens::{SPACE_M, SPACE_S, Tokens, Tone};
use super::widgets::{button, paint_icon};
use crate::session::{Command, JobsCommand, Model};

/// Says that what is shown is not all, how far the rest is, and offers to stop.
#[must_use]
pub fn arriving_ui(ui: &mut Ui, model: &Model) -> Vec<Command> {
    let mut commands = Vec::new();
    let Some(archive) = model.active() else { return commands };
    let Some(job) = archive.arriving().and_then(|id| model.jobs().iter().find(|job| job.id == id)) else {
        return commands;
    };
    bar(egui::Panel::top("arriving"), ui, 32.0, |ui| {
        let tokens = Tokens::get(ui);
        ui.add_space(SPACE_M);
        let (rect, _) = ui.allocate_exact_size(egui::vec2(16.0, 20.0), egui::Sense::hover());
        paint_icon(ui, rect, icons::ARCHIVE, 15.0, tokens.tone(Tone::Accent));
        let is_fetched = model.nodes().acquisitions().iter().any(|acquisition| acquisition.job == job.id);
        let doing = if is_fetched { "Still being fetched" } else { "Still unpacking" };
        ui.label(RichText::new(doing).color(tokens.strong));
        let progress = job.progress;
        let far = match progress.total {
            Some(total) => format!("{} of {}", text::bytes(progress.done), text::bytes(total)),
            None => text::bytes(progress.done),
        };
        if let Some(fraction) = progress.fraction() {
            ui.add(ProgressBar::new(fraction).desired_width(160.0).desired_height(6.0).fill(tokens.accent));
        }
        ui.label(RichText::new(far).color(tokens.muted));
        let members = archive.checkpoint().evidence.members().len();
        let note = format!(
            "{} so far; memory and what lies behind it is not here yet",
            text::counted(members, "member", "members")
        );
        ui.label(RichText::new(note).color(tokens.muted));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            if button(ui, icons::CLOSE, if is_fetched { "Cancel fetching" } else { "Cancel opening" }).clicked() {
                commands.push(JobsCommand::Cancel(job.id).into());
            }
        });
    });
    commands
}
