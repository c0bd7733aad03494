//! Attaching the image that a container started from, and removing it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{archives, start_job};
use crate::memory::Memory;
use crate::session::{
    ArchiveId, AttachedBase, BaseState, Command, Effect, JobEnd, JobId, JobWork, Level, Model, OpenArchive, PanelKind,
    Target, sample,
};

/// Most archives that wait for a base image.
const MAX_DUE: usize = 64;

/// Opens archives; each gets its base image as soon as it is there.
pub(super) fn open_with(model: &mut Model, paths: Vec<PathBuf>, base: &Path) -> Vec<Effect> {
    model.bases_due.extend(paths.iter().take(MAX_DUE).map(|path| (path.clone(), base.to_path_buf())));
    archives::open(model, paths)
}

/// Starts what an archive that has just been opened was waiting for.
pub(super) fn attach_due(model: &mut Model, path: &Path, is_sample: bool) -> Vec<Effect> {
    let due: Vec<PathBuf> =
        model.bases_due.extract_if(.., |(archive, _)| archive == path).map(|(_, base)| base).collect();
    let is_meant = |open: &&OpenArchive| open.path == path && open.is_sample == is_sample;
    let ids: Vec<ArchiveId> = model.archives.iter().filter(is_meant).map(OpenArchive::id).collect();
    due.iter()
        .take(1)
        .flat_map(|base| ids.iter().flat_map(|id| attach(model, *id, base.clone())).collect::<Vec<_>>())
        .collect()
}

pub(super) fn ask(model: &Model) -> Vec<Effect> {
    match model.active() {
        Some(active) if active.arriving.is_none() => vec![Effect::AskForBase],
        _ => Vec::new(),
    }
}

/// Starts the job that opens it; one that is being opened is given up.
pub(super) fn attach(model: &mut Model, id: ArchiveId, path: PathBuf) -> Vec<Effect> {
    let Some(archive) = model.archive(id).filter(|archive| archive.arriving.is_none()) else { return Vec::new() };
    let mut effects = Vec::new();
    if let BaseState::Opening { job, .. } = archive.base {
        effects.push(Effect::CancelJob(job));
    }
    let work = JobWork::AttachBase { archive: id, checkpoint: Arc::clone(&archive.checkpoint), path: path.clone() };
    let (job, effect) = start_job(model, format!("Attach base image {}", archives::file_name(&path)), work);
    effects.push(effect);
    if let Some(archive) = model.archive_mut(id) {
        // The image before it, if there was one, counts no more.
        if archive.has_base() {
            let plain = Arc::clone(&archive.plain_memory);
            set_memory(archive, plain);
        }
        archive.base = BaseState::Opening { job, path };
    }
    effects
}

pub(super) fn attached(
    model: &mut Model,
    id: ArchiveId,
    job: JobId,
    base: Arc<AttachedBase>,
    memory: Arc<Memory>,
) -> Vec<Effect> {
    let Some(archive) = model.archive_mut(id) else { return Vec::new() };
    // Another one was asked for meanwhile, or none.
    if !matches!(archive.base, BaseState::Opening { job: current, .. } if current == job) {
        return Vec::new();
    }
    let name = archives::file_name(&base.path);
    let (nr_files, nr_issues) = (base.nr_files, base.issues.len());
    // The sample brings it along: nobody asked for it.
    let is_unasked = base.path == Path::new(sample::BASE_NAME);
    archive.base = BaseState::Attached(base);
    set_memory(archive, memory);
    let differ = match nr_issues {
        0 => String::new(),
        1 => " One differs, or could not be read, and is not used.".to_owned(),
        len => format!(" {len} differ, or could not be read, and are not used."),
    };
    let told = if nr_files == 0 {
        let detail = format!(
            "No file that a process maps was found in it with the same path, size and build id: is it the image of this container?{differ}"
        );
        (Level::Warning, format!("{name} has none of the mapped files"), detail)
    } else {
        let files = if nr_files == 1 { "One mapped file is".into() } else { format!("{nr_files} mapped files are") };
        let level = if nr_issues == 0 { Level::Success } else { Level::Warning };
        (level, format!("Base image attached: {name}"), format!("{files} read from it.{differ}"))
    };
    if nr_issues > 0 {
        let offer = ("Show issues", Command::go(Target::Panel(PanelKind::Issues)));
        model.notifications.push_offer(told.0, told.1, told.2, offer);
    } else if !is_unasked {
        model.notifications.push(told.0, told.1, told.2);
    }
    Vec::new()
}

/// Memory is that of the checkpoint alone again; a job that opens an image is stopped.
pub(super) fn detach(model: &mut Model, id: ArchiveId) -> Vec<Effect> {
    let Some(archive) = model.archive_mut(id) else { return Vec::new() };
    match std::mem::take(&mut archive.base) {
        BaseState::Opening { job, .. } => return super::jobs::cancel(model, job),
        BaseState::Attached(_) => {
            let plain = Arc::clone(&archive.plain_memory);
            set_memory(archive, plain);
        }
        BaseState::None | BaseState::Failed { .. } => {}
    }
    Vec::new()
}

/// A job has ended that was to open an image, and has not.
pub(super) fn job_ended(model: &mut Model, id: JobId, end: &JobEnd) {
    for archive in &mut model.archives {
        let BaseState::Opening { job, path } = &archive.base else { continue };
        if *job != id {
            continue;
        }
        archive.base = match end {
            JobEnd::Failed(why) => BaseState::Failed { path: path.clone(), why: why.clone() },
            JobEnd::Done | JobEnd::Cancelled => BaseState::None,
        };
    }
}

fn set_memory(archive: &mut OpenArchive, memory: Arc<Memory>) {
    archive.memory = memory;
    archive.memory_version = archive.memory_version.wrapping_add(1);
    archive.contents.forget_memory();
    super::sandbox::forget_plan(archive);
}
