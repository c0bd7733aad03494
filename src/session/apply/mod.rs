//! The only writer of the model.

mod archives;
mod base_image;
mod jobs;
mod navigate;
mod nodes;
mod rest;
mod sandbox;
mod search;
#[cfg(test)]
mod tests;

use super::{Arrival, Command, Effect, JobId, JobRow, JobWork, Model};
use crate::jobs::ProgressView;

/// Carries out one command; what has to happen outside the model comes back.
#[must_use]
pub fn apply(model: &mut Model, command: Command) -> Vec<Effect> {
    match command {
        Command::Archives(command) => archives::apply(model, command),
        Command::Navigate(command) => navigate::apply(model, command),
        Command::View(command) => rest::apply_view(model, command),
        Command::Jobs(command) => jobs::apply(model, command),
        Command::Notifications(command) => rest::apply_notifications(model, command),
        Command::Export(command) => rest::apply_export(model, command),
        Command::Search(command) => search::apply(model, command),
        Command::Sandbox(command) => sandbox::apply(model, command),
        Command::Nodes(command) => nodes::apply(model, command),
        Command::Bookmarks(command) => rest::apply_bookmarks(model, command),
        Command::Quit => vec![Effect::Quit],
    }
}

/// Adds a row for a job and says that it shall be started.
fn start_job(model: &mut Model, title: String, work: JobWork) -> (JobId, Effect) {
    model.next_job.0 += 1;
    let id = model.next_job;
    let arrival = match &work {
        JobWork::OpenArchive(path) => Some(Arrival { path: path.clone(), ..Arrival::default() }),
        _ => None,
    };
    model.jobs.push(JobRow {
        id,
        title: title.clone(),
        progress: ProgressView::default(),
        started: std::time::Instant::now(),
        end: None,
        arrival,
        is_stopping: false,
    });
    (id, Effect::StartJob { id, title, work })
}

/// Writes the settings, without a row in the list of jobs unless it fails.
fn save_settings(model: &mut Model) -> Effect {
    model.next_job.0 += 1;
    Effect::StartJob {
        id: model.next_job,
        title: "Save settings".into(),
        work: JobWork::SaveSettings(model.settings.clone()),
    }
}
