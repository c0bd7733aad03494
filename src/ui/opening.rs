//! The screen while an archive unpacks and nothing else is open: what has come out of it so far.

use std::time::Duration;

use egui::{Layout, ProgressBar, Rect, RichText, Sense, Ui};

use super::tokens::{self, ROW_HEIGHT, SPACE_L, SPACE_S, SPACE_XS, Tokens, Tone};
use super::widgets::{ListRow, button, paint_icon, section_header};
use super::{icons, text};
use crate::base::escape_controls;
use crate::session::{Arrival, Command, JobRow, JobsCommand, Model};

/// Says nothing for so long, so that quick work does not flicker.
const SILENT: Duration = Duration::from_millis(200);

/// The archive that has been opening for long enough to be shown.
#[must_use]
pub fn opening_of<'a>(ui: &Ui, model: &'a Model) -> Option<(&'a JobRow, &'a Arrival)> {
    let (job, arrival) = model.running_jobs().find_map(|job| Some((job, job.arrival.as_ref()?)))?;
    let waited = job.started.elapsed();
    if waited < SILENT {
        ui.ctx().request_repaint_after(SILENT.saturating_sub(waited));
        return None;
    }
    Some((job, arrival))
}

/// Draws the screen.
#[must_use]
pub fn opening_ui(ui: &mut Ui, job: &JobRow, arrival: &Arrival) -> Vec<Command> {
    let mut commands = Vec::new();
    let tokens = Tokens::get(ui);
    let rect = ui.available_rect_before_wrap();
    ui.painter().rect_filled(rect, 0.0, tokens.surface);
    let width = 600.0_f32.min(rect.width() - 48.0);
    let column = Rect::from_center_size(rect.center(), egui::vec2(width, rect.height()));
    ui.scope_builder(egui::UiBuilder::new().max_rect(column).layout(Layout::top_down(egui::Align::Min)), |ui| {
        ui.add_space(((rect.height() - 470.0) * 0.42).max(SPACE_L));
        title_ui(ui, arrival);
        ui.add_space(SPACE_L);
        progress_ui(ui, job, arrival);
        ui.add_space(SPACE_S);
        let label = if job.is_stopping { "Stopping…" } else { "Cancel" };
        if button(ui, icons::STOP, label).clicked() && !job.is_stopping {
            commands.push(JobsCommand::Cancel(job.id).into());
        }
        ui.add_space(SPACE_L);
        newest_ui(ui, arrival);
    });
    // Time passes also where nothing arrives.
    ui.ctx().request_repaint_after(Duration::from_millis(250));
    commands
}

fn title_ui(ui: &mut Ui, arrival: &Arrival) {
    let tokens = Tokens::get(ui);
    let path = escape_controls(&arrival.path.display().to_string()).into_owned();
    let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
    ui.horizontal(|ui| {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(32.0, 32.0), Sense::hover());
        paint_icon(ui, rect, icons::ARCHIVE, 28.0, tokens.accent);
        let title = RichText::new(format!("Opening {name}")).font(tokens::strong_font(20.0)).color(tokens.strong);
        ui.add(egui::Label::new(title).truncate());
    });
    ui.add(egui::Label::new(RichText::new(path).font(tokens::mono_font()).color(tokens.muted)).truncate());
}

fn progress_ui(ui: &mut Ui, job: &JobRow, arrival: &Arrival) {
    let tokens = Tokens::get(ui);
    let progress = &job.progress;
    match progress.fraction() {
        Some(fraction) => {
            ui.add(
                ProgressBar::new(fraction).desired_width(ui.available_width()).desired_height(6.0).fill(tokens.accent),
            );
        }
        None => {
            ui.spinner();
        }
    }
    ui.add_space(SPACE_XS);
    let stage = if progress.stage.is_empty() { "working" } else { progress.stage };
    let mut line = vec![stage.to_owned()];
    // These stages count bytes of the file.
    if let (Some(total), true) = (progress.total, counts_bytes(progress.stage)) {
        line.push(format!("{} of {}", text::bytes(progress.done), text::bytes(total)));
        if let Some(ratio) = ratio(arrival.unpacked_bytes, progress.done) {
            line.push(format!("{} unpacked, {ratio}", text::bytes(arrival.unpacked_bytes)));
        }
    }
    line.push(format!("{:.0} s", job.started.elapsed().as_secs_f64()));
    ui.label(RichText::new(line.join("  ·  ")).color(tokens.muted));
}

fn counts_bytes(stage: &str) -> bool {
    matches!(stage, "reading" | "decompressing")
}

/// `4.1 times as much`; `None` before anything is known.
fn ratio(unpacked: u64, packed: u64) -> Option<String> {
    (packed > 0 && unpacked > 0).then(|| format!("{:.1} times as much", unpacked as f64 / packed as f64))
}

fn newest_ui(ui: &mut Ui, arrival: &Arrival) {
    if arrival.nr_members == 0 {
        return;
    }
    let count = |count: u64, one, many| text::counted(usize::try_from(count).unwrap_or(usize::MAX), one, many);
    let note = [
        count(arrival.nr_members, "member", "members"),
        count(arrival.nr_images, "image", "images"),
        count(arrival.nr_tasks, "task", "tasks"),
    ];
    section_header(ui, "Arrived so far", &note.join(", "));
    ui.spacing_mut().item_spacing.y = 0.0;
    let room = (ui.available_height() / ROW_HEIGHT) as usize;
    for (name, size) in arrival.newest.iter().take(room) {
        let is_image = name.ends_with(".img");
        let icon = if is_image { icons::IMAGES } else { icons::FILE };
        ListRow::new(name).flat().mono().icon(icon, Tone::Neutral).trailing(&text::bytes(*size)).show(ui);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_said_once_both_sides_are_known() {
        assert_eq!(ratio(0, 10), None);
        assert_eq!(ratio(10, 0), None);
        assert_eq!(ratio(41, 10).as_deref(), Some("4.1 times as much"));
    }
}
