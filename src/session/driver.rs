//! Runs effects: starts jobs, and turns what they find into commands.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Context as _;
use bytes::Bytes;

use super::arrival::SharedArrival;
use super::{
    ArchivesCommand, Command, Effect, ExportCommand, JobEnd, JobId, JobWork, JobsCommand, Loaded, NodesCommand,
    SandboxCommand, SearchCommand, base, content, early, export, nodes, sample, sandbox, search,
};
use crate::base::Progress;
use crate::checkpoint::{self, SuppliedParent};
use crate::evidence::{Evidence, OpenOptions};
use crate::jobs::{self, JobCtx, JobHandle, Outcome, ProgressView, Wake};
use crate::sandbox::run::Order;

/// How long the end of the program waits for settings that are being written.
const SAVING: std::time::Duration = std::time::Duration::from_millis(500);

/// So much of what jobs say is taken in at once: a frame has to fit around it.
const MAX_SAID: usize = 48;

/// Owns the running jobs. Jobs answer with a command, which is applied when they have ended; some have a word to say
/// before.
pub struct Driver {
    wake: Wake,
    running: Vec<Running>,
    said: (Sender<Command>, Receiver<Command>),
    saves_settings: bool,
    /// Settings are written one after the other, the last ones last.
    saving: Option<JobId>,
    unsaved: Option<(JobId, String, JobWork)>,
}

struct Running {
    id: JobId,
    handle: JobHandle<Option<Command>>,
    told: ProgressView,
    /// What an opening job has taken in, and how many members and bytes of it were told.
    arrival: Option<(SharedArrival, (u64, u64))>,
    /// To the machine that it runs.
    orders: Option<Sender<Order>>,
}

impl Driver {
    /// `wake` is called from jobs when [`Driver::poll`] has something to say.
    pub fn new(wake: Wake) -> Driver {
        Driver { wake, running: Vec::new(), said: channel(), saves_settings: true, saving: None, unsaved: None }
    }

    /// From now on settings are not written.
    pub fn keep_settings(&mut self) {
        self.saves_settings = false;
    }

    /// Runs an effect, or gives it back when it needs a window.
    pub fn run(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::StartJob { work: JobWork::SaveSettings(_), .. } if !self.saves_settings => None,
            Effect::StartJob { id, title, work: work @ JobWork::SaveSettings(_) } => {
                if self.saving.is_some() {
                    self.unsaved = Some((id, title, work));
                } else {
                    self.saving = Some(id);
                    self.start_work(id, title, work);
                }
                None
            }
            Effect::StartJob { id, title, work } => {
                self.start_work(id, title, work);
                None
            }
            Effect::OrderSandbox { job, order } => {
                if let Some(orders) = self.running.iter().find(|it| it.id == job).and_then(|job| job.orders.as_ref()) {
                    // A machine that is gone takes no orders.
                    let _ = orders.send(order);
                }
                None
            }
            Effect::CancelJob(id) => {
                if let Some(job) = self.running.iter().find(|job| job.id == id) {
                    job.handle.cancel();
                }
                None
            }
            Effect::HoldPull { control, is_held } => {
                if is_held {
                    control.pause()
                } else {
                    control.resume()
                }
                None
            }
            effect => Some(effect),
        }
    }

    fn start_work(&mut self, id: JobId, title: String, work: JobWork) {
        let arrival = match &work {
            JobWork::OpenArchive(path) => Some(SharedArrival::new(path.clone())),
            _ => None,
        };
        let options = arrival.as_ref().map(SharedArrival::options).unwrap_or_default();
        let say = Say::new(id, self.said.0.clone(), self.wake.clone());
        let (orders, to_machine) = channel();
        let is_machine = matches!(work, JobWork::RunSandbox { .. });
        self.start(id, title, move |ctx| run_work(work, options, &say, &to_machine, ctx));
        if let Some(job) = self.running.last_mut() {
            job.orders = is_machine.then_some(orders);
            job.arrival = arrival.map(|arrival| (arrival, (0, 0)));
        }
    }

    /// Runs work that the window brings (dialogs) on a thread of its own; `None` says nothing.
    pub fn start<F>(&mut self, id: JobId, title: String, work: F)
    where
        F: FnOnce(&JobCtx) -> anyhow::Result<Option<Command>> + Send + 'static,
    {
        let handle = jobs::spawn(title, self.wake.clone(), work);
        self.running.push(Running { id, handle, told: ProgressView::default(), arrival: None, orders: None });
    }

    /// Writes settings that no job has written yet, and waits for it: the program ends.
    pub fn save_at_exit(&mut self, settings: &super::Settings) {
        if !self.saves_settings || (self.saving.is_none() && self.unsaved.is_none()) {
            return;
        }
        let started = std::time::Instant::now();
        while self.saving.is_some() && started.elapsed() < SAVING {
            self.unsaved = None;
            self.poll();
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        if let Err(err) = settings.save() {
            tracing::warn!("settings are not saved: {err:#}");
        }
    }

    /// What has happened since the last call. Never waits.
    pub fn poll(&mut self) -> Vec<Command> {
        let mut commands: Vec<Command> = self.said.1.try_iter().take(MAX_SAID).collect();
        if commands.len() == MAX_SAID {
            // There may be more, and what a job has said comes before its end.
            (self.wake)();
            return commands;
        }
        self.running.retain_mut(|job| {
            if let Some(outcome) = job.handle.try_take() {
                let end = match outcome {
                    Outcome::Done(answer) => {
                        commands.extend(answer);
                        JobEnd::Done
                    }
                    Outcome::Cancelled => JobEnd::Cancelled,
                    Outcome::Failed(err) => JobEnd::Failed(format!("{err:#}")),
                };
                commands.push(JobsCommand::Ended { id: job.id, end }.into());
                return false;
            }
            if let Some((arrival, told)) = &mut job.arrival
                && let Some(arrival) = arrival.news(*told)
            {
                *told = (arrival.nr_members, arrival.unpacked_bytes);
                commands.push(JobsCommand::Arrived { id: job.id, arrival }.into());
            }
            let progress = job.handle.progress();
            if progress != job.told {
                job.told = progress;
                commands.push(JobsCommand::Progressed { id: job.id, progress }.into());
            }
            true
        });
        if self.saving.is_some_and(|saving| !self.running.iter().any(|job| job.id == saving)) {
            self.saving = None;
            if let Some((id, title, work)) = self.unsaved.take() {
                self.saving = Some(id);
                self.start_work(id, title, work);
            }
        }
        commands
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

/// How a job says something before it has ended.
pub(super) struct Say {
    pub(super) job: JobId,
    commands: Sender<Command>,
    wake: Wake,
}

impl Say {
    pub(super) fn new(job: JobId, commands: Sender<Command>, wake: Wake) -> Say {
        Say { job, commands, wake }
    }

    pub(super) fn say(&self, command: impl Into<Command>) {
        // Who does not listen any more has closed the window.
        if self.commands.send(command.into()).is_ok() {
            (self.wake)();
        }
    }
}

/// `options` are those of an archive that is opened.
fn run_work(
    work: JobWork,
    options: OpenOptions,
    say: &Say,
    orders: &Receiver<Order>,
    ctx: &JobCtx,
) -> anyhow::Result<Option<Command>> {
    match work {
        JobWork::OpenArchive(path) => open_archive(path, &options, say, ctx).map(Some),
        JobWork::OpenWithParents { path, parents } => open_with_parents(path, parents, ctx).map(Some),
        JobWork::OpenSample => open_sample(ctx).map(Some),
        JobWork::HashEvidence { archive, checkpoint } => {
            ctx.stage("hashing");
            let sha256 = crate::base::hex(&checkpoint.outer.sha256(ctx)?);
            let custody = nodes::work::custody(&checkpoint, &sha256).map(Arc::new);
            Ok(Some(ArchivesCommand::Hashed { archive, sha256, custody }.into()))
        }
        JobWork::ReadContent { archive, checkpoint, memory, version, key } => {
            let content = content::read(&checkpoint, &memory, &key, ctx)?;
            Ok(Some(ArchivesCommand::HasRead { archive, key, version, content }.into()))
        }
        JobWork::AttachBase { archive, checkpoint, path } => {
            let (base, memory) = base::attach(&checkpoint, &path, ctx)?;
            let (base, memory) = (Arc::new(base), Arc::new(memory));
            Ok(Some(ArchivesCommand::BaseAttached { archive, job: say.job, base, memory }.into()))
        }
        JobWork::WriteFile { path, bytes, evidence } => {
            let mut file = export::create(&path, true, &evidence)?;
            file.write_all(&bytes).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(Some(ExportCommand::Written { path, len_bytes: bytes.len() as u64 }.into()))
        }
        JobWork::Copy { from, path, evidence } => {
            let len_bytes = export::copy(&from, &path, &evidence, ctx)?;
            Ok(Some(ExportCommand::Written { path, len_bytes }.into()))
        }
        JobWork::Search { archive, id, memory, request } => {
            let job = say.job;
            let tell = |news| say.say(SearchCommand::Found { archive, id, job, news });
            search::run::run(&memory, &request, &tell, ctx).map(|()| None)
        }
        JobWork::CheckRules { archive, paths } => {
            let state = search::run::check_rules(&paths);
            Ok(Some(SearchCommand::RulesChecked { archive, job: say.job, state }.into()))
        }
        JobWork::WriteMemory { checkpoint, memory, pid, what, path, evidence } => {
            let written = export::write_memory(&path, &evidence, &checkpoint, &memory, pid, &what, ctx)?;
            Ok(Some(ExportCommand::MemoryWritten(written).into()))
        }
        JobWork::WriteHits { path, hits, evidence } => {
            let len_bytes = search::run::write(&path, &evidence, &hits, ctx)?;
            Ok(Some(ExportCommand::Written { path, len_bytes }.into()))
        }
        JobWork::CheckSandbox => {
            let parts = Arc::new(sandbox::work::check(ctx));
            Ok(Some(SandboxCommand::Checked { job: say.job, parts }.into()))
        }
        JobWork::InstallSandbox => {
            let parts = Arc::new(sandbox::work::install(ctx)?);
            Ok(Some(SandboxCommand::Checked { job: say.job, parts }.into()))
        }
        JobWork::PlanSandbox { archive, checkpoint, base, wishes } => {
            let planned = Arc::new(sandbox::work::plan(&checkpoint, base.as_ref(), wishes, ctx));
            Ok(Some(SandboxCommand::Planned { archive, job: say.job, planned }.into()))
        }
        JobWork::RunSandbox { archive, checkpoint, base, planned, wishes } => {
            let job = say.job;
            let tell = |event| say.say(SandboxCommand::Happened { archive, job, event: Box::new(event) });
            let records = |path: &Path| say.say(SandboxCommand::Records { archive, job, path: path.to_owned() });
            let ends = sandbox::work::Ends { tell: &tell, records: &records, orders };
            let path = sandbox::work::run(&checkpoint, base.as_ref(), &planned, wishes, ends, ctx)?;
            if let Some(path) = &path {
                let changes = Arc::new(sandbox::work::compare(&checkpoint, path, ctx)?);
                say.say(SandboxCommand::Compared { archive, job, changes });
            }
            // What was frozen again stands on the same image.
            Ok(path.map(|path| match base {
                Some((base, _)) => ArchivesCommand::OpenWithBase { paths: vec![path], base }.into(),
                None => ArchivesCommand::Open(vec![path]).into(),
            }))
        }
        JobWork::ListNodes => Ok(Some(NodesCommand::Listed { job: say.job, rows: nodes::work::list(ctx)? }.into())),
        JobWork::PairNode { address, code, name, proxy } => {
            let name = nodes::work::pair(&address, &code, &name, &proxy, ctx)?;
            Ok(Some(NodesCommand::Paired { job: say.job, name }.into()))
        }
        JobWork::ForgetNode { name } => {
            nodes::work::forget(&name)?;
            Ok(Some(NodesCommand::Forgotten(name).into()))
        }
        JobWork::AskNode { name } => {
            let told = Arc::new(nodes::work::ask(&name, ctx)?);
            Ok(Some(NodesCommand::Told { job: say.job, name, told }.into()))
        }
        JobWork::ChangeOnNode { node, archive, change } => {
            nodes::work::change(&node, &archive, change, ctx)?;
            Ok(Some(NodesCommand::Changed { node }.into()))
        }
        JobWork::Acquire { node, wanted, control } => {
            let job = say.job;
            let pulled = nodes::work::acquire(&node, &wanted, &control, say, ctx)?;
            let (path, sha256) = (pulled.path, pulled.manifest.archive.sha256);
            Ok(Some(NodesCommand::Acquired { job, path, sha256, notes: control.take_notes() }.into()))
        }
        JobWork::SaveSettings(settings) => settings.save().map(|()| None),
    }
}

fn open_archive(path: PathBuf, options: &OpenOptions, say: &Say, ctx: &JobCtx) -> anyhow::Result<Command> {
    ctx.stage("reading the archive");
    let evidence = early::open(&path, options, say, ctx)?;
    let checkpoints = load(&evidence, &[], options, ctx)?;
    Ok(ArchivesCommand::Opened { path, is_sample: false, checkpoints, parents: Vec::new() }.into())
}

fn open_with_parents(path: PathBuf, parents: Vec<PathBuf>, ctx: &JobCtx) -> anyhow::Result<Command> {
    let options = OpenOptions::default();
    let mut supplied = Vec::with_capacity(parents.len());
    for parent in &parents {
        ctx.stage("reading the parent checkpoint");
        let evidence = Evidence::open(parent, &options, ctx)?;
        supplied.push(SuppliedParent::of(&evidence, &options, ctx)?);
    }
    ctx.stage("reading the archive");
    let evidence = Evidence::open(&path, &options, ctx)?;
    let checkpoints = load(&evidence, &supplied, &options, ctx)?;
    Ok(ArchivesCommand::Opened { path, is_sample: false, checkpoints, parents }.into())
}

fn open_sample(ctx: &JobCtx) -> anyhow::Result<Command> {
    let options = OpenOptions::default();
    ctx.stage("unpacking the sample");
    let evidence = Evidence::open_bytes(sample::NAME, Bytes::from_static(sample::ARCHIVE), &options, ctx)?;
    let checkpoints = load(&evidence, &[], &options, ctx)?;
    let parents = Vec::new();
    Ok(ArchivesCommand::Opened { path: sample::NAME.into(), is_sample: true, checkpoints, parents }.into())
}

/// Loads every checkpoint in the evidence, and names what is in them.
fn load(
    evidence: &Evidence,
    parents: &[SuppliedParent],
    options: &OpenOptions,
    ctx: &JobCtx,
) -> anyhow::Result<Vec<Loaded>> {
    let checkpoints = checkpoint::load_with_parents(evidence, parents, options, ctx)?;
    ctx.stage("naming objects");
    Ok(checkpoints.into_iter().map(Loaded::new).collect())
}
