//! Opening, switching, closing, hashing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{base_image, navigate, save_settings, start_job};
use crate::checkpoint::Checkpoint;
use crate::session::content::Contents;
use crate::session::sandbox::Sandbox;
use crate::session::search::Searches;
use crate::session::{
    ArchiveId, ArchivesCommand, BaseState, ContentKey, Effect, FileChoice, HashState, JobId, JobWork, Level, Loaded,
    Model, OpenArchive, PanelKind, ProcessTab, Requested, Target, sample,
};

pub(super) fn apply(model: &mut Model, command: ArchivesCommand) -> Vec<Effect> {
    match command {
        ArchivesCommand::OpenFileDialog => vec![Effect::ChooseFile(FileChoice::OpenFiles)],
        ArchivesCommand::OpenDirectoryDialog => vec![Effect::ChooseFile(FileChoice::OpenDirectory)],
        ArchivesCommand::Open(paths) => open(model, paths),
        ArchivesCommand::OpenSample => {
            if let Some(open) = model.archives.iter().find(|archive| archive.is_sample) {
                let (id, is_bare) = (open.id, matches!(open.base, BaseState::None));
                let mut effects = activate(model, id);
                if is_bare {
                    effects.extend(base_image::attach(model, id, sample::BASE_NAME.into()));
                }
                return effects;
            }
            model.bases_due.push((sample::NAME.into(), sample::BASE_NAME.into()));
            vec![start_job(model, "Open the bundled sample".into(), JobWork::OpenSample).1]
        }
        ArchivesCommand::Arrives { job, path, checkpoints } => arrives(model, job, &path, checkpoints),
        ArchivesCommand::Opened { path, is_sample, checkpoints, parents } => {
            opened(model, &path, is_sample, checkpoints, parents)
        }
        ArchivesCommand::Activate(id) => activate(model, id),
        ArchivesCommand::ActivateNeighbour { is_forward } => activate_neighbour(model, is_forward),
        ArchivesCommand::Close(id) => close(model, id),
        ArchivesCommand::CloseActive => model.active.map(|id| close(model, id)).unwrap_or_default(),
        ArchivesCommand::Hash(id) => hash(model, id),
        ArchivesCommand::Hashed { archive, sha256, custody } => {
            if let Some(archive) = model.archives.iter_mut().find(|open| open.id == archive) {
                archive.hash = HashState::Known(sha256);
                archive.custody = custody;
            }
            Vec::new()
        }
        ArchivesCommand::Read { archive, key } => read(model, archive, key),
        ArchivesCommand::HasRead { archive, key, version, content } => {
            let is_current = |open: &&mut OpenArchive| !key.is_of_memory() || open.memory_version == version;
            if let Some(archive) = model.archives.iter_mut().find(|open| open.id == archive).filter(is_current) {
                archive.contents.set(key, Requested::Ready(content));
            }
            Vec::new()
        }
        ArchivesCommand::OpenWithBase { paths, base } => base_image::open_with(model, paths, &base),
        ArchivesCommand::AskForBase => base_image::ask(model),
        ArchivesCommand::ChooseBase { is_directory } => {
            let archive = model.active().map(OpenArchive::id);
            let choice = archive.map(|archive| FileChoice::OpenBase { archive, is_directory });
            choice.map(Effect::ChooseFile).into_iter().collect()
        }
        ArchivesCommand::AttachBase { archive, path } => base_image::attach(model, archive, path),
        ArchivesCommand::BaseAttached { archive, job, base, memory } => {
            base_image::attached(model, archive, job, base, memory)
        }
        ArchivesCommand::DetachBase(archive) => base_image::detach(model, archive),
        ArchivesCommand::AskForParent => match model.active() {
            Some(active) if active.arriving.is_none() && !active.is_sample => vec![Effect::AskForParent],
            _ => Vec::new(),
        },
        ArchivesCommand::ChooseParent { is_directory } => {
            let archive = model.active().map(OpenArchive::id);
            let choice = archive.map(|archive| FileChoice::OpenParent { archive, is_directory });
            choice.map(Effect::ChooseFile).into_iter().collect()
        }
        ArchivesCommand::SupplyParent { archive, path } => supply_parent(model, archive, path),
        ArchivesCommand::ForgetRecent(path) => {
            model.settings.forget(&path);
            vec![save_settings(model)]
        }
    }
}

/// Starts a job for each path that is not open; one that is open is shown.
pub(super) fn open(model: &mut Model, paths: Vec<PathBuf>) -> Vec<Effect> {
    let mut effects = Vec::new();
    for path in paths {
        match model.archives.iter().find(|archive| archive.path == path && !archive.is_sample) {
            Some(open) => effects.extend(activate(model, open.id)),
            None => effects.push(start_opening(model, path).1),
        }
    }
    effects
}

/// Opens what the job has fetched; what was seen of it on its way stays until then.
pub(super) fn open_fetched(model: &mut Model, fetched_by: JobId, path: PathBuf) -> Vec<Effect> {
    let is_early = |archive: &OpenArchive| archive.arriving == Some(fetched_by);
    if !model.archives.iter().any(is_early) {
        return open(model, vec![path]);
    }
    let (job, effect) = start_opening(model, path);
    model.archives.iter_mut().filter(|archive| is_early(archive)).for_each(|archive| archive.arriving = Some(job));
    vec![effect]
}

fn start_opening(model: &mut Model, path: PathBuf) -> (JobId, Effect) {
    let title = format!("Open {}", file_name(&path));
    start_job(model, title, JobWork::OpenArchive(path))
}

/// Shows what has passed of an archive, in place of an earlier look at it.
fn arrives(model: &mut Model, job: JobId, path: &Path, checkpoints: Vec<Loaded>) -> Vec<Effect> {
    if model.nodes.acquisition_mut(job).is_some_and(|acquisition| !acquisition.is_shown) {
        return Vec::new();
    }
    match put(model, path, false, Some(job), checkpoints, Vec::new()) {
        Put::Replaced => Vec::new(),
        Put::New(first) => first.map(|first| activate(model, first)).unwrap_or_default(),
    }
}

fn opened(
    model: &mut Model,
    path: &Path,
    is_sample: bool,
    checkpoints: Vec<Loaded>,
    parents: Vec<PathBuf>,
) -> Vec<Effect> {
    let Some(first) = checkpoints.first() else {
        model.notifications.push(
            Level::Error,
            format!("No checkpoint in {}", file_name(path)),
            "No inventory.img was found in it. Open an archive made by a kubelet, Podman, CRI-O or containerd, or a directory of CRIU images.",
        );
        return Vec::new();
    };
    if !is_sample {
        model.settings.remember(path.to_path_buf(), title(path, first), jiff::Timestamp::now().to_string());
    }
    for loaded in &checkpoints {
        report(model, &title(path, loaded), &loaded.checkpoint);
    }
    let mut effects = match put(model, path, is_sample, None, checkpoints, parents) {
        Put::Replaced => Vec::new(),
        Put::New(first) => first.map(|first| activate(model, first)).unwrap_or_default(),
    };
    if !is_sample {
        effects.push(save_settings(model));
    }
    effects.extend(base_image::attach_due(model, path, is_sample));
    if model.hashes_due.extract_if(.., |due| due == path).count() > 0 {
        let ids: Vec<ArchiveId> = model.archives.iter().filter(|open| open.path == path).map(OpenArchive::id).collect();
        effects.extend(ids.into_iter().flat_map(|id| hash(model, id)).collect::<Vec<_>>());
    }
    effects
}

/// What became of checkpoints.
enum Put {
    /// They are in the places of an early look, with what was selected there.
    Replaced,
    /// They are behind the others; the first of them.
    New(Option<ArchiveId>),
}

/// Starts the job that reads it again, behind the parents that it has.
fn supply_parent(model: &mut Model, id: ArchiveId, parent: PathBuf) -> Vec<Effect> {
    let Some(archive) = model.archive(id).filter(|archive| archive.arriving.is_none() && !archive.is_sample) else {
        return Vec::new();
    };
    let title = format!("Read {} with its parent {}", file_name(&archive.path), file_name(&parent));
    let path = archive.path.clone();
    let parents = archive.parents.iter().cloned().chain([parent]).collect();
    vec![start_job(model, title, JobWork::OpenWithParents { path, parents }).1]
}

/// Puts checkpoints into the list: in place of an early look at the same evidence, if there was one, or of what was read of
/// it without its parents.
fn put(
    model: &mut Model,
    path: &Path,
    is_sample: bool,
    arriving: Option<JobId>,
    checkpoints: Vec<Loaded>,
    parents: Vec<PathBuf>,
) -> Put {
    let is_again = !parents.is_empty();
    let is_stale =
        |archive: &OpenArchive| archive.path == path && !archive.is_sample && (archive.arriving.is_some() || is_again);
    let at = model.archives.iter().position(is_stale);
    let stale: Vec<OpenArchive> = model.archives.extract_if(.., |archive| is_stale(archive)).collect();
    let at = at.unwrap_or(model.archives.len());
    if let Some(BaseState::Attached(base)) = stale.iter().map(|archive| &archive.base).find(|base| base.is_attached()) {
        model.bases_due.push((path.to_path_buf(), base.path.clone()));
    }
    let mut fresh = Vec::with_capacity(checkpoints.len());
    for (index, loaded) in checkpoints.into_iter().enumerate() {
        let before = stale.get(index);
        let title = title(path, &loaded);
        let Loaded { checkpoint, objects, files, memory } = loaded;
        model.next_archive.0 += 1;
        let selected = before.and_then(|archive| archive.pid).filter(|pid| checkpoint.process(*pid).is_some());
        fresh.push(OpenArchive {
            // A name of its own, since views keep what they have computed under it.
            id: model.next_archive,
            path: path.to_path_buf(),
            title,
            is_sample,
            arriving,
            pid: selected.or_else(|| checkpoint.processes.first().map(|process| process.pid)),
            checkpoint,
            objects,
            files,
            plain_memory: Arc::clone(&memory),
            memory,
            memory_version: 0,
            base: BaseState::None,
            parents: parents.clone(),
            arrivals: 0,
            target: before.map_or(Target::Overview, |archive| archive.target.clone()),
            tab: before.map_or(ProcessTab::Summary, |archive| archive.tab),
            hash: if arriving.is_some() { HashState::NotYet } else { HashState::NotComputed },
            custody: None,
            contents: Contents::default(),
            searches: Searches::default(),
            sandbox: Sandbox::default(),
        });
    }
    let ids: Vec<ArchiveId> = fresh.iter().map(|archive| archive.id).collect();
    model.archives.splice(at..at, fresh);
    if stale.is_empty() {
        return Put::New(ids.first().copied());
    }
    let now = |id: ArchiveId| match stale.iter().position(|archive| archive.id == id) {
        Some(index) => ids.get(index).or(ids.first()).copied(),
        None => Some(id),
    };
    model.active = model.active.and_then(now);
    model.history.update(|place| place.archive = now(place.archive).unwrap_or(place.archive));
    Put::Replaced
}

/// Name of the container, or of the file.
fn title(path: &Path, loaded: &Loaded) -> String {
    let name = loaded.checkpoint.container.name.clone().unwrap_or_else(|| file_name(path));
    crate::base::escape_controls(&name).into_owned()
}

/// Says what an opened archive could not give.
fn report(model: &mut Model, title: &str, checkpoint: &Checkpoint) {
    let issues = checkpoint.issues.len();
    if issues > 0 {
        let plural = if issues == 1 { "issue" } else { "issues" };
        model.notifications.push_offer(
            Level::Warning,
            format!("{title}: opened with {issues} {plural}"),
            "Part of the archive could not be read. The rest is shown.",
            ("Show issues", crate::session::Command::go(Target::Panel(PanelKind::Issues))),
        );
    }
}

fn activate(model: &mut Model, id: ArchiveId) -> Vec<Effect> {
    if model.archive(id).is_none() {
        return Vec::new();
    }
    model.active = Some(id);
    navigate::visit_current(model);
    Vec::new()
}

fn activate_neighbour(model: &mut Model, is_forward: bool) -> Vec<Effect> {
    let count = model.archives.len();
    let Some(at) = model.archives.iter().position(|archive| Some(archive.id) == model.active) else {
        return Vec::new();
    };
    let next = (at + if is_forward { 1 } else { count - 1 }) % count;
    let id = model.archives[next].id;
    activate(model, id)
}

fn close(model: &mut Model, id: ArchiveId) -> Vec<Effect> {
    let Some(at) = model.archives.iter().position(|archive| archive.id == id) else {
        return Vec::new();
    };
    let closed = model.archives.remove(at);
    model.history.retain(|place| place.archive != id);
    if model.active == Some(id) {
        let neighbour = model.archives.get(at).or(model.archives.last());
        model.active = neighbour.map(|archive| archive.id);
        navigate::visit_current(model);
    }
    let mut effects = Vec::new();
    if let HashState::Running(job) = closed.hash {
        effects.push(Effect::CancelJob(job));
    }
    let searching = closed.searches.sessions().iter().filter(|session| session.is_running());
    effects.extend(searching.map(|session| Effect::CancelJob(session.job())));
    if let BaseState::Opening { job, .. } = closed.base {
        effects.push(Effect::CancelJob(job));
    }
    effects.extend(closed.sandbox.jobs().map(Effect::CancelJob));
    match closed.arriving.map(|job| (job, model.nodes.acquisition_mut(job))) {
        // It goes on to come here, to be opened another time.
        Some((_, Some(acquisition))) => acquisition.is_shown = false,
        // Whoever closes an early look does not want the rest.
        Some((job, None)) => effects.push(Effect::CancelJob(job)),
        None => {}
    }
    effects
}

/// A job has ended and left an early look without its rest.
pub(super) fn close_arriving(model: &mut Model, job: JobId) {
    while let Some(id) = model.archives.iter().find(|archive| archive.arriving == Some(job)).map(|archive| archive.id) {
        close(model, id);
    }
}

fn hash(model: &mut Model, id: ArchiveId) -> Vec<Effect> {
    let Some(archive) = model.archive(id) else {
        return Vec::new();
    };
    if archive.hash != HashState::NotComputed {
        return Vec::new();
    }
    let work = JobWork::HashEvidence { archive: id, checkpoint: Arc::clone(&archive.checkpoint) };
    let title = format!("Hash {}", file_name(&archive.path));
    let (job, effect) = start_job(model, title, work);
    if let Some(archive) = model.archives.iter_mut().find(|open| open.id == id) {
        archive.hash = HashState::Running(job);
    }
    vec![effect]
}

/// Asks once: what is there, under way or has failed is not asked for again.
fn read(model: &mut Model, id: ArchiveId, key: ContentKey) -> Vec<Effect> {
    let Some(archive) = model.archive(id).filter(|archive| archive.content(&key).is_none()) else {
        return Vec::new();
    };
    let work = JobWork::ReadContent {
        archive: id,
        checkpoint: Arc::clone(&archive.checkpoint),
        memory: Arc::clone(&archive.memory),
        version: archive.memory_version,
        key: key.clone(),
    };
    // Too quick and too many for the list of jobs.
    model.next_job.0 += 1;
    let job = model.next_job;
    if let Some(archive) = model.archives.iter_mut().find(|open| open.id == id) {
        archive.contents.set(key, Requested::Loading(job));
    }
    vec![Effect::StartJob { id: job, title: "Read".into(), work }]
}

pub(super) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    crate::base::escape_controls(&name.to_string_lossy()).into_owned()
}
