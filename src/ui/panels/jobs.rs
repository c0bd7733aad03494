//! Work in the background: what runs, how far it is, how it ended.

use egui::{Align, Layout, ProgressBar, RichText, ScrollArea, Ui};

use crate::session::{Command, JobEnd, JobRow, JobsCommand, Model};
use crate::ui::tokens::{ROW_HEIGHT, SPACE_S, Tokens, Tone};
use crate::ui::widgets::{button, empty_state, icon_button, paint_icon};
use crate::ui::{icons, text};

/// Draws the panel.
#[must_use]
pub fn jobs_ui(ui: &mut Ui, model: &Model) -> Vec<Command> {
    let mut commands = Vec::new();
    if model.jobs().is_empty() {
        empty_state(ui, icons::JOBS, "Nothing runs", "Opening, hashing and saving show here, with progress.");
        return commands;
    }
    ui.add_space(SPACE_S);
    ScrollArea::vertical().auto_shrink(false).show_rows(ui, ROW_HEIGHT, model.jobs().len(), |ui, range| {
        let newest_first: Vec<_> = model.jobs().iter().rev().skip(range.start).take(range.len()).collect();
        for job in newest_first {
            job_ui(ui, job, &mut commands);
        }
    });
    let has_ended = model.jobs().iter().any(|job| !job.is_running());
    if has_ended && model.jobs().len() > 8 && button(ui, icons::CLOSE, "Clear ended").clicked() {
        commands.push(JobsCommand::ClearEnded.into());
    }
    commands
}

fn job_ui(ui: &mut Ui, job: &JobRow, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let (icon, tone, state) = match &job.end {
        None if job.is_stopping => (icons::STOP, Tone::Warning, "stopping".to_owned()),
        None => (icons::JOBS, Tone::Accent, progress_label(job)),
        Some((JobEnd::Done, took)) => (icons::SUCCESS, Tone::Success, format!("done in {}", duration(*took))),
        Some((JobEnd::Cancelled, _)) => (icons::STOP, Tone::Neutral, "cancelled".to_owned()),
        Some((JobEnd::Failed(why), _)) => (icons::ERROR, Tone::Error, why.clone()),
    };
    ui.horizontal(|ui| {
        ui.set_min_height(ROW_HEIGHT - 4.0);
        ui.add_space(SPACE_S);
        let (rect, _) = ui.allocate_exact_size(egui::vec2(16.0, 18.0), egui::Sense::hover());
        paint_icon(ui, rect, icon, 15.0, tokens.tone(tone));
        ui.label(&job.title);
        let state = egui::Label::new(RichText::new(state).color(tokens.muted)).truncate();
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            if job.is_running() {
                if icon_button(ui, icons::CLOSE, &format!("Cancel: {}", job.title)).clicked() {
                    commands.push(JobsCommand::Cancel(job.id).into());
                }
                if let Some(fraction) = job.progress.fraction() {
                    ui.add(ProgressBar::new(fraction).desired_width(140.0).desired_height(6.0).fill(tokens.accent));
                }
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| ui.add(state));
        });
    });
}

fn progress_label(job: &JobRow) -> String {
    let progress = &job.progress;
    let stage = if progress.stage.is_empty() { "working" } else { progress.stage };
    match (progress.total, progress.done) {
        (Some(total), done) => format!("{stage}, {} of {}", text::grouped(done), text::grouped(total)),
        (None, 0) => stage.to_owned(),
        (None, done) => format!("{stage}, {}", text::grouped(done)),
    }
}

fn duration(took: std::time::Duration) -> String {
    text::micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_what_and_how_far() {
        let mut job = JobRow {
            id: crate::session::JobId(1),
            title: "Hash a.tar".into(),
            progress: crate::jobs::ProgressView { stage: "hashing", done: 1_000, total: Some(24_583) },
            started: std::time::Instant::now(),
            end: None,
            arrival: None,
            is_stopping: false,
        };
        assert_eq!(progress_label(&job), "hashing, 1,000 of 24,583");
        job.progress = crate::jobs::ProgressView::default();
        assert_eq!(progress_label(&job), "working");
    }
}
