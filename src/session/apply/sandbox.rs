//! The sandbox: looking, installing, planning, running.

use std::path::PathBuf;
use std::sync::Arc;

use super::start_job;
use crate::evidence::BaseImage;
use crate::sandbox::run::Order;
use crate::session::sandbox::{Ended, PlanState, Readiness, SandboxRun, Traced, Wishes};
use crate::session::{
    ArchiveId, BaseState, Effect, JobEnd, JobId, JobWork, Model, OpenArchive, PanelKind, SandboxCommand,
};

pub(super) fn apply(model: &mut Model, command: SandboxCommand) -> Vec<Effect> {
    match command {
        SandboxCommand::Check => check(model),
        SandboxCommand::Install => install(model),
        SandboxCommand::Checked { job, parts } => {
            let is_asked = matches!(model.readiness, Readiness::Checking(at) | Readiness::Installing(at) if at == job);
            if is_asked {
                model.readiness = Readiness::Known(parts);
            }
            Vec::new()
        }
        SandboxCommand::Plan(id) => plan(model, id),
        SandboxCommand::Planned { archive, job, planned } => {
            if let Some(open) = model.archive_mut(archive)
                && matches!(open.sandbox.plan, PlanState::Making(at) if at == job)
            {
                open.sandbox.plan = PlanState::Made(planned);
            }
            Vec::new()
        }
        SandboxCommand::Allow { archive, danger, is_allowed } => {
            if let Some(open) = model.archive_mut(archive)
                && let PlanState::Made(planned) = &mut open.sandbox.plan
            {
                let planned = Arc::make_mut(planned);
                for found in planned.review.dangers.list.iter_mut().filter(|found| found.id == danger) {
                    found.allowed = is_allowed;
                }
            }
            Vec::new()
        }
        SandboxCommand::Wish { archive, wishes } => {
            if let Some(open) = model.archive_mut(archive) {
                let before = std::mem::replace(&mut open.sandbox.wishes, bounded(wishes));
                if (before.network, before.backend) != (wishes.network, wishes.backend) {
                    forget_plan(open);
                }
            }
            Vec::new()
        }
        SandboxCommand::Start(id) => start(model, id),
        SandboxCommand::Happened { archive, job, event } => {
            if let Some(run) = run_mut(model, archive, job) {
                run.take(*event);
            }
            Vec::new()
        }
        SandboxCommand::Records { archive, job, path } => {
            if let Some(run) = run_mut(model, archive, job) {
                run.packets = Some(path);
            }
            Vec::new()
        }
        SandboxCommand::Compared { archive, job, changes } => {
            if let Some(run) = run_mut(model, archive, job) {
                run.compared(changes);
            }
            Vec::new()
        }
        SandboxCommand::Step { archive, ms } => {
            let run = model.archive(archive).and_then(|open| open.sandbox.run());
            let run = run.filter(|run| run.is_running() && run.is_paused());
            run.map(|run| Effect::OrderSandbox { job: run.job, order: Order::Step { ms } }).into_iter().collect()
        }
        SandboxCommand::Stop(id) => {
            let job = model.archive(id).and_then(|open| open.sandbox.run()).filter(|run| run.is_running());
            job.map(|run| run.job).map(|job| super::jobs::cancel(model, job)).unwrap_or_default()
        }
        SandboxCommand::Pause { archive, is_paused } => {
            let Some(run) = model.archive_mut(archive).and_then(|open| open.sandbox.run.as_mut()) else {
                return Vec::new();
            };
            if !run.is_running() {
                return Vec::new();
            }
            run.set_paused(is_paused);
            let order = if is_paused { Order::Pause } else { Order::Resume };
            vec![Effect::OrderSandbox { job: run.job, order }]
        }
    }
}

/// As far as the machine and the backend are able to.
fn bounded(wishes: Wishes) -> Wishes {
    let Wishes { backend, freezes_again, traced, .. } = wishes;
    Wishes {
        freezes_again: freezes_again && backend.lacks(false, true).is_none(),
        traced: if backend.lacks(true, false).is_none() { traced } else { Traced::Nobody },
        seconds: wishes.seconds.clamp(1, 24 * 3600),
        memory_mib: wishes.memory_mib.clamp(256, 1 << 20),
        cpus: wishes.cpus.clamp(1, 64),
        ..wishes
    }
}

fn check(model: &mut Model) -> Vec<Effect> {
    if matches!(model.readiness, Readiness::Checking(_) | Readiness::Installing(_)) {
        return Vec::new();
    }
    let (job, effect) = start_job(model, "Look for the sandbox's parts".into(), JobWork::CheckSandbox);
    model.readiness = Readiness::Checking(job);
    vec![effect]
}

fn install(model: &mut Model) -> Vec<Effect> {
    if matches!(model.readiness, Readiness::Installing(_)) {
        return Vec::new();
    }
    let (job, effect) = start_job(model, "Install the sandbox's bundle".into(), JobWork::InstallSandbox);
    model.readiness = Readiness::Installing(job);
    vec![effect]
}

/// The base image of an archive, with where it lies.
fn base_of(open: &OpenArchive) -> Option<(PathBuf, Arc<BaseImage>)> {
    match &open.base {
        BaseState::Attached(base) => Some((base.path.clone(), Arc::clone(&base.image))),
        _ => None,
    }
}

fn plan(model: &mut Model, id: ArchiveId) -> Vec<Effect> {
    let Some(open) = model.archive(id).filter(|open| open.arriving.is_none()) else { return Vec::new() };
    if matches!(open.sandbox.plan, PlanState::Making(_)) {
        return Vec::new();
    }
    let work = JobWork::PlanSandbox {
        archive: id,
        checkpoint: Arc::clone(&open.checkpoint),
        base: base_of(open),
        wishes: open.sandbox.wishes,
    };
    let title = format!("Plan a restore of {}", open.title);
    let (job, effect) = start_job(model, title, work);
    if let Some(open) = model.archive_mut(id) {
        open.sandbox.plan = PlanState::Making(job);
    }
    vec![effect]
}

/// What a plan was made from has changed.
pub(super) fn forget_plan(open: &mut OpenArchive) {
    open.sandbox.plan = PlanState::Unknown;
}

fn start(model: &mut Model, id: ArchiveId) -> Vec<Effect> {
    let Some(open) = model.archive(id).filter(|open| !open.sandbox.is_running()) else { return Vec::new() };
    if !model.readiness.is_ready(open.sandbox.wishes.backend) {
        return Vec::new();
    }
    let PlanState::Made(planned) = open.sandbox.plan() else { return Vec::new() };
    if planned.is_refused() {
        return Vec::new();
    }
    let work = JobWork::RunSandbox {
        archive: id,
        checkpoint: Arc::clone(&open.checkpoint),
        base: base_of(open),
        planned: Arc::clone(planned),
        wishes: open.sandbox.wishes,
    };
    let (job, effect) = start_job(model, format!("Run {} in the sandbox", open.title), work);
    if let Some(open) = model.archive_mut(id) {
        open.sandbox.run = Some(Box::new(SandboxRun::new(job)));
    }
    vec![Effect::ShowPanel(PanelKind::Sandbox), effect]
}

/// A job has ended; whether the panel of the sandbox says how.
pub(super) fn job_ended(model: &mut Model, id: JobId, end: &JobEnd) -> bool {
    if matches!(model.readiness, Readiness::Checking(job) | Readiness::Installing(job) if job == id) {
        model.readiness = Readiness::Unknown;
    }
    for open in &mut model.archives {
        if matches!(open.sandbox.plan, PlanState::Making(job) if job == id) {
            open.sandbox.plan = match end {
                JobEnd::Failed(why) => PlanState::Failed(why.clone()),
                JobEnd::Done => PlanState::Unknown,
                JobEnd::Cancelled => PlanState::Failed("cancelled".into()),
            };
            return true;
        }
        if let Some(run) = open.sandbox.run.as_mut().filter(|run| run.job == id) {
            run.end(match end {
                JobEnd::Done | JobEnd::Cancelled => Ended::Cancelled,
                JobEnd::Failed(why) => Ended::Failed(why.clone()),
            });
            return true;
        }
    }
    false
}

fn run_mut(model: &mut Model, id: ArchiveId, job: JobId) -> Option<&mut SandboxRun> {
    model.archive_mut(id)?.sandbox.run.as_deref_mut().filter(|run| run.job == job)
}
