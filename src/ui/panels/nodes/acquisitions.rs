//! Archives on their way here, and those that came.

use egui::{Align, Frame, Label, Layout, Margin, ProgressBar, RichText, ScrollArea, Ui};

use crate::base::escape_controls;
use crate::session::nodes::{Acquisition, AcquisitionEnd, Nodes};
use crate::session::{ArchivesCommand, Command, JobRow, JobsCommand, NodesCommand};
use crate::ui::tokens::{self, SPACE_L, SPACE_M, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{empty_state, icon_button, link, mono_text};
use crate::ui::{icons, text};

pub(super) fn acquisitions_ui(ui: &mut Ui, nodes: &Nodes, jobs: &[JobRow], commands: &mut Vec<Command>) {
    if nodes.acquisitions().is_empty() {
        let hint =
            "Freeze a container, or fetch an archive that waits on a node. Archives are kept with the user's data.";
        empty_state(ui, icons::ARCHIVE, "Nothing was acquired yet", hint);
        return;
    }
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.add_space(SPACE_S);
        for (node, count) in nodes.waiting() {
            waiting_ui(ui, node, count, commands);
        }
        for acquisition in nodes.acquisitions().iter().rev() {
            Frame::NONE.inner_margin(Margin::symmetric(SPACE_L as i8, SPACE_XS as i8)).show(ui, |ui| {
                acquisition_ui(ui, acquisition, jobs, commands);
            });
        }
    });
}

/// More that is to come from a node.
fn waiting_ui(ui: &mut Ui, node: &str, count: usize, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    Frame::NONE.inner_margin(Margin::symmetric(SPACE_L as i8, SPACE_XS as i8)).show(ui, |ui| {
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = SPACE_S;
            ui.label(RichText::new(icons::CLOCK).font(tokens::icon_font(15.0)).color(tokens.muted));
            let words = format!("{} more to come from {}", count, escape_controls(node));
            ui.label(RichText::new(words).color(tokens.muted));
            if link(ui, "Leave them out").clicked() {
                commands.push(NodesCommand::LeaveOut { node: node.to_owned() }.into());
            }
        });
    });
}

fn acquisition_ui(ui: &mut Ui, acquisition: &Acquisition, jobs: &[JobRow], commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    ui.spacing_mut().item_spacing.y = SPACE_XS;
    let (icon, tone) = match &acquisition.end {
        None if acquisition.control.is_paused() => (icons::PAUSE, Tone::Warning),
        None => (icons::JOBS, Tone::Accent),
        Some(AcquisitionEnd::Here(_)) => (icons::SUCCESS, Tone::Success),
        Some(AcquisitionEnd::Failed(_)) => (icons::ERROR, Tone::Error),
        Some(AcquisitionEnd::Cancelled) => (icons::STOP, Tone::Neutral),
    };
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        ui.label(RichText::new(icon).font(tokens::icon_font(15.0)).color(tokens.tone(tone)));
        let called = escape_controls(&acquisition.called).into_owned();
        ui.label(RichText::new(&called).font(tokens::strong_font(tokens::TEXT_BODY)).color(tokens.strong));
        let mut whence = format!("on {}", escape_controls(&acquisition.node));
        if let Some(series) = acquisition.wanted.series() {
            whence.push_str(&format!(", {} of {}", series.number, series.of));
        }
        ui.label(RichText::new(whence).color(tokens.muted));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if acquisition.end.is_some() {
                return;
            }
            if icon_button(ui, icons::CLOSE, &format!("Stop acquiring {called}")).clicked() {
                commands.push(JobsCommand::Cancel(acquisition.job).into());
            }
            let is_held = acquisition.control.is_paused();
            let (icon, name) = if is_held { (icons::PLAY, "Go on") } else { (icons::PAUSE, "Hold the transfer") };
            if icon_button(ui, icon, name).clicked() {
                commands.push(NodesCommand::Hold { job: acquisition.job, is_held: !is_held }.into());
            }
        });
    });
    let wrapped = |ui: &mut Ui, words: &str, color| {
        ui.horizontal_top(|ui| {
            ui.add_space(SPACE_L + SPACE_XS);
            ui.add(Label::new(RichText::new(escape_controls(words)).color(color)).wrap().selectable(true));
        });
    };
    match &acquisition.end {
        None => {
            let progress = jobs.iter().find(|job| job.id == acquisition.job).map(|job| job.progress);
            wrapped(ui, &under_way(acquisition, progress.map(|it| (it.done, it.total))), tokens.muted);
            if let Some(fraction) = progress.and_then(|progress| progress.fraction()) {
                ui.horizontal(|ui| {
                    ui.add_space(SPACE_L + SPACE_XS);
                    let bar = ProgressBar::new(fraction).desired_height(6.0).fill(tokens.accent);
                    ui.add(bar.desired_width((ui.available_width() - SPACE_M).min(420.0)));
                });
            }
            ui.ctx().request_repaint_after(std::time::Duration::from_millis(500));
        }
        Some(AcquisitionEnd::Here(path)) => {
            ui.horizontal_wrapped(|ui| {
                ui.spacing_mut().item_spacing.x = SPACE_S;
                ui.add_space(SPACE_L + SPACE_XS);
                ui.label(mono_text(escape_controls(&path.display().to_string())).color(tokens.muted));
                if link(ui, "Open").clicked() {
                    commands.push(ArchivesCommand::Open(vec![path.clone()]).into());
                }
            });
        }
        Some(AcquisitionEnd::Failed(why)) => wrapped(ui, why, tokens.error),
        Some(AcquisitionEnd::Cancelled) => {
            wrapped(ui, "stopped; what has arrived stays, and fetching it again goes on from there", tokens.muted);
        }
    }
    for note in &acquisition.notes {
        wrapped(ui, note, tokens.warning);
    }
}

/// Step, how far, how fast, how long yet.
fn under_way(acquisition: &Acquisition, progress: Option<(u64, Option<u64>)>) -> String {
    let mut words = acquisition.step.clone();
    if acquisition.control.is_paused() {
        words.push_str(", held");
    }
    let Some((done, Some(total))) = progress else { return words };
    words.push_str(&format!(": {} of {}", text::bytes(done), text::bytes(total)));
    let rate = acquisition.control.bytes_per_second();
    if rate > 0 {
        words.push_str(&format!(", {} a second", text::bytes(rate)));
    }
    if let Some(left) = acquisition.control.left(done, total) {
        words.push_str(&format!(", {} s left", left.as_secs()));
    }
    words
}
