//! Background work as the analyst sees it.

use crate::session::{Effect, HashState, JobEnd, JobId, JobsCommand, Level, Model};

pub(super) fn apply(model: &mut Model, command: JobsCommand) -> Vec<Effect> {
    match command {
        JobsCommand::Cancel(id) => {
            return cancel(model, id);
        }
        JobsCommand::Progressed { id, progress } => {
            if let Some(job) = model.jobs.iter_mut().find(|job| job.id == id) {
                job.progress = progress;
            }
        }
        JobsCommand::Arrived { id, arrival } => {
            if let Some(job) = model.jobs.iter_mut().find(|job| job.id == id) {
                job.arrival = Some(arrival);
            }
        }
        JobsCommand::Ended { id, end } => {
            ended(model, id, end);
            return super::nodes::go_on(model, id);
        }
        JobsCommand::ClearEnded => model.jobs.retain(|job| job.is_running()),
    }
    Vec::new()
}

/// Asks a job to stop.
pub(super) fn cancel(model: &mut Model, id: JobId) -> Vec<Effect> {
    let Some(job) = model.jobs.iter_mut().find(|job| job.id == id && job.is_running()) else {
        return Vec::new();
    };
    job.is_stopping = true;
    vec![Effect::CancelJob(id)]
}

fn ended(model: &mut Model, id: JobId, end: JobEnd) {
    for archive in &mut model.archives {
        if archive.hash == HashState::Running(id) {
            archive.hash = HashState::NotComputed;
        }
    }
    super::archives::close_arriving(model, id);
    let why = match &end {
        JobEnd::Failed(why) => Some(why.as_str()),
        JobEnd::Done | JobEnd::Cancelled => None,
    };
    // Who asked for a content says why there is none; a message would only repeat it.
    if end != JobEnd::Done && model.archives.iter_mut().any(|archive| archive.contents.job_ended(id, why)) {
        return;
    }
    super::base_image::job_ended(model, id, &end);
    let is_told = super::sandbox::job_ended(model, id, &end);
    let is_told = model.nodes.job_ended(id, &end) || is_told;
    let is_search = super::search::job_ended(model, id, &end);
    let title = match model.jobs.iter_mut().find(|job| job.id == id) {
        Some(job) => {
            job.end = Some((end.clone(), job.started.elapsed()));
            job.title.clone()
        }
        None if end == JobEnd::Done => return,
        None => "Background work".into(),
    };
    // The panels of a search and of the sandbox say themselves how it ended.
    if is_search || is_told {
        return;
    }
    match end {
        JobEnd::Done => {}
        JobEnd::Cancelled => {
            model.notifications.push(Level::Info, format!("Cancelled: {title}"), "");
        }
        JobEnd::Failed(why) => {
            model.notifications.push(Level::Error, format!("Failed: {title}"), why);
        }
    }
}
