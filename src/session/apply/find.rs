//! Finding in the memory of a process: one find at a time for each archive.

use std::sync::Arc;

use crate::jobs::ProgressView;
use crate::session::space::find::{Find, Summary};
use crate::session::{Effect, FindCommand, JobEnd, JobId, JobWork, Model};

pub(super) fn apply(model: &mut Model, command: FindCommand) -> Vec<Effect> {
    match command {
        FindCommand::Start { pid, query } => {
            let mut effects = close(model);
            // The panel that asked shows how far it is.
            model.next_job.0 += 1;
            let job = model.next_job;
            let Some(archive) = model.active_mut() else { return effects };
            let work = JobWork::Find { memory: Arc::clone(&archive.memory), pid, query: query.clone() };
            archive.find = Some(Find {
                pid,
                query,
                job,
                is_running: true,
                progress: ProgressView::default(),
                hits: Vec::new(),
                summary: Summary::default(),
                failed: None,
            });
            effects.push(Effect::StartJob { id: job, title: "Find".into(), work });
            effects
        }
        FindCommand::Found { job, hits } => {
            if let Some(find) = find_mut(model, job) {
                find.hits.extend(hits);
            }
            Vec::new()
        }
        FindCommand::Summed { job, summary } => {
            if let Some(find) = find_mut(model, job) {
                find.summary = summary;
            }
            Vec::new()
        }
        FindCommand::Close => close(model),
    }
}

/// Forgets the find of the active archive, and stops it.
fn close(model: &mut Model) -> Vec<Effect> {
    let find = model.active_mut().and_then(|archive| archive.find.take());
    find.filter(|find| find.is_running).map(|find| Effect::CancelJob(find.job)).into_iter().collect()
}

pub(super) fn find_mut(model: &mut Model, job: JobId) -> Option<&mut Find> {
    model.archives.iter_mut().filter_map(|archive| archive.find.as_mut()).find(|find| find.job == job)
}

/// Whether the job was a find.
pub(super) fn ended(model: &mut Model, job: JobId, end: &JobEnd) -> bool {
    let Some(find) = find_mut(model, job) else { return false };
    find.is_running = false;
    if let JobEnd::Failed(why) = end {
        find.failed = Some(why.clone());
    }
    true
}
