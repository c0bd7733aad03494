//! Which parts of the sandbox are there.

use egui::{Label, ProgressBar, RichText, Ui};

use crate::base::escape_controls;
use crate::sandbox::backend::Backend;
use crate::session::sandbox::{Parts, Readiness};
use crate::session::{Command, JobId, JobRow, JobsCommand, SandboxCommand};
use crate::ui::tokens::{SPACE_S, Tokens, Tone};
use crate::ui::widgets::{button, link, paint_icon, primary_button, section};
use crate::ui::{icons, text};

pub(super) fn ready_ui(
    ui: &mut Ui,
    readiness: &Readiness,
    backend: Backend,
    jobs: &[JobRow],
    commands: &mut Vec<Command>,
) {
    match readiness {
        Readiness::Unknown => {}
        Readiness::Checking(_) => {
            section(ui, "Sandbox", "", |ui| {
                ui.label(RichText::new("Looking for its parts…").color(Tokens::get(ui).muted));
            });
        }
        Readiness::Installing(job) => {
            section(ui, "Sandbox", "", |ui| installing_ui(ui, *job, jobs, commands));
        }
        Readiness::Known(parts) => known_ui(ui, parts, backend, commands),
    }
}

fn known_ui(ui: &mut Ui, parts: &Parts, backend: Backend, commands: &mut Vec<Command>) {
    let is_ready = parts.is_ready(backend);
    let note = match (is_ready, parts.may_have_kvm) {
        (false, _) => "parts are missing",
        (true, _) if backend == Backend::Container => "ready; shares this machine's kernel",
        (true, true) => "ready",
        (true, false) => "ready; without KVM, so slower",
    };
    section(ui, "Sandbox", note, |ui| {
        for (name, found) in parts.rows(backend) {
            match found {
                Ok(what) => row_ui(ui, icons::SUCCESS, Tone::Success, name, what),
                Err(why) => row_ui(ui, icons::ERROR, Tone::Error, name, why),
            }
        }
        if is_ready {
            return;
        }
        ui.add_space(SPACE_S);
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = SPACE_S;
            if parts.bundle.is_err() {
                let hint = "Fetches about 50 MB of signed packages from a Debian mirror; needs no root";
                if primary_button(ui, icons::SAVE, "Install the bundle").on_hover_text(hint).clicked() {
                    commands.push(SandboxCommand::Install.into());
                }
            }
            if button(ui, icons::REFRESH, "Look again").clicked() {
                commands.push(SandboxCommand::Check.into());
            }
        });
        if parts.bundle.is_err() {
            let words = "Without a network: cryoscope sandbox install --export FILE elsewhere, then --from FILE here.";
            ui.add(Label::new(RichText::new(words).color(Tokens::get(ui).muted)).wrap());
        }
    });
}

fn installing_ui(ui: &mut Ui, id: JobId, jobs: &[JobRow], commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let Some(job) = jobs.iter().find(|job| job.id == id) else { return };
    ui.label(format!("The bundle is being made: {}", job.progress.stage));
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        match (job.progress.fraction(), job.progress.total) {
            (Some(fraction), Some(total)) => {
                ui.add(ProgressBar::new(fraction).desired_width(240.0).desired_height(6.0).fill(tokens.accent));
                let words = format!("{} of {}", text::bytes(job.progress.done), text::bytes(total));
                ui.label(RichText::new(words).color(tokens.muted));
            }
            _ => {
                ui.spinner();
            }
        }
        if link(ui, "Cancel").clicked() {
            commands.push(JobsCommand::Cancel(id).into());
        }
    });
}

/// An icon, a name, and what there is to say.
pub(super) fn row_ui(ui: &mut Ui, icon: icons::Icon, tone: Tone, name: &str, what: &str) {
    let tokens = Tokens::get(ui);
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        let (rect, _) = ui.allocate_exact_size(egui::vec2(16.0, 18.0), egui::Sense::hover());
        paint_icon(ui, rect, icon, 15.0, tokens.tone(tone));
        if !name.is_empty() {
            ui.allocate_ui_with_layout(egui::vec2(110.0, 18.0), egui::Layout::left_to_right(egui::Align::Min), |ui| {
                ui.set_min_width(110.0);
                ui.label(RichText::new(name).color(tokens.muted));
            });
        }
        ui.add(Label::new(escape_controls(what)).wrap().selectable(true));
    });
}
