//! Work that takes a while: one job at a time for a container, a few at a time for the node, each followed by long polls.
//!
//! - [`checkpoint`] has an archive made, by Docker a directory that is packed (`docker`); [`collection`] makes one out of /proc.
//! - A job that was under way when the agent ended waits after the next start for the archive that a runtime may still write
//!   ([`expected`]), or is shown as failed.

pub mod checkpoint;
pub mod collection;
mod docker;
pub mod expected;
mod log;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};

use crate::acquire::wire::{Container, Job, JobKind, JobState, Jobs, Requester, SourceKind};
use crate::base::hex;

use super::audit::Event;
use super::problem::{Failure, Outcome};
use super::{Agent, disk, identity};

use expected::{Expected, Noted};
pub use log::archive_log;

/// Jobs that wait or run, of all containers and of one.
const MAX_UNFINISHED: usize = 64;
const MAX_UNFINISHED_OF_ONE: usize = 8;
/// Jobs that run at once.
const MAX_RUNNING: usize = 4;
/// Ended jobs that are remembered.
const MAX_REMEMBERED: usize = 200;
const MAX_JOB_BYTES: u64 = 1 << 20;

/// What a job is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// Of this container.
    pub container: Container,
    /// What.
    pub kind: JobKind,
    /// For a checkpoint: how long the runtime may take, and whom to ask.
    pub timeout_seconds: u32,
    /// See [`Order::timeout_seconds`].
    pub source: Option<SourceKind>,
    /// For a collection: most bytes of memory.
    pub memory_limit_bytes: u64,
    /// For a collection: the processes stand still meanwhile.
    #[serde(default)]
    pub is_held: bool,
    /// Who asked.
    pub who: Requester,
    /// In their words.
    pub reason: Option<String>,
    /// When.
    pub requested: Timestamp,
}

/// A job under way: what it reports through, and how it learns that it shall stop.
#[derive(Clone, Debug)]
pub struct Running {
    /// Its id.
    pub id: String,
    file: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    job: watch::Sender<Job>,
    is_cancelled: AtomicBool,
}

impl Running {
    /// Says what is done now.
    pub fn step(&self, step: &str) {
        self.shared.job.send_modify(|job| step.clone_into(&mut job.step));
    }

    /// Says how many bytes there are; `Err` once it shall stop.
    ///
    /// # Errors
    /// Somebody stopped it.
    pub fn done(&self, bytes: u64) -> Outcome<()> {
        // Readers are woken for what they can see.
        if self.shared.job.borrow().done_bytes.is_none_or(|last| bytes < last || last + (8 << 20) <= bytes) {
            self.shared.job.send_modify(|job| job.done_bytes = Some(bytes));
        }
        self.check()
    }

    /// Whether it shall go on.
    ///
    /// # Errors
    /// Somebody stopped it.
    pub fn check(&self) -> Outcome<()> {
        if self.shared.is_cancelled.load(Relaxed) {
            return Err(Failure::new(409, "cancelled", "the job was stopped"));
        }
        Ok(())
    }

    /// What the operator should know although nothing failed.
    pub fn warn(&self, warning: String) {
        tracing::warn!("job {}: {warning}", self.id);
        self.shared.job.send_modify(|job| job.warnings.push(warning));
    }

    /// Notes the archive that a runtime is about to write, for the case that the agent ends meanwhile.
    pub fn expect(&self, expected: Expected) {
        self.note(Some(expected));
    }

    fn note(&self, expected: Option<Expected>) {
        let noted = Noted { job: self.shared.job.borrow().clone(), expected };
        if let Err(error) = noted.write(&self.file) {
            tracing::warn!("job {}: not noted for the case that the agent ends: {error}", self.id);
        }
    }

    /// What was warned of so far.
    pub fn warnings(&self) -> Vec<String> {
        self.shared.job.borrow().warnings.clone()
    }
}

/// All jobs.
#[derive(Debug)]
pub struct JobTable {
    dir: PathBuf,
    jobs: Mutex<BTreeMap<String, Arc<Shared>>>,
    turns: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
    running: Semaphore,
    /// What jobs of an earlier agent wait for.
    left: Mutex<Vec<(Arc<Shared>, Expected)>>,
}

impl JobTable {
    /// Opens the table; jobs that were under way when the agent ended have failed, except those whose archive may still come.
    ///
    /// # Errors
    /// The directory for them cannot be used.
    #[expect(clippy::disallowed_methods, reason = "the state directory is the agent's own")]
    pub fn open(state: &Path) -> std::io::Result<JobTable> {
        let dir = state.join("jobs");
        disk::private_dir(&dir)?;
        let mut jobs = BTreeMap::new();
        let mut left = Vec::new();
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            let noted = disk::read(&path, MAX_JOB_BYTES).ok();
            let noted = noted.and_then(|bytes| serde_json::from_slice::<Noted>(&bytes).ok());
            match noted.filter(|noted| is_id(&noted.job.id)) {
                Some(Noted { job, expected: Some(expected) }) => {
                    let shared = Arc::new(Shared::new(job.clone()));
                    jobs.insert(job.id, Arc::clone(&shared));
                    left.push((shared, expected));
                }
                Some(Noted { mut job, expected: None }) => {
                    job.state = JobState::Failed;
                    job.finished = Some(Timestamp::now());
                    job.problem = Some(*restarted().problem);
                    jobs.insert(job.id.clone(), Arc::new(Shared::new(job)));
                    disk::remove(&path)?;
                }
                None => disk::remove(&path)?,
            }
        }
        let (turns, running) = (Mutex::default(), Semaphore::new(MAX_RUNNING));
        Ok(JobTable { dir, jobs: Mutex::new(jobs), turns, running, left: Mutex::new(left) })
    }

    /// Archives in the spool that runtimes may still write.
    pub fn expected_in_spool(&self) -> Vec<String> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let is_in_spool = |source| matches!(source, SourceKind::Cri | SourceKind::Docker);
        let in_spool = left.iter().filter(|(_, expected)| is_in_spool(expected.source));
        in_spool.map(|(_, expected)| expected.archive.clone()).collect()
    }

    /// All that are remembered, the newest first.
    pub fn list(&self) -> Jobs {
        Jobs { jobs: self.lock().values().rev().map(|shared| shared.job.borrow().clone()).collect() }
    }

    /// One of them; when it is not over, as it is after its next change or after `wait`.
    ///
    /// # Errors
    /// There is none with this id.
    pub async fn get(&self, id: &str, wait: Duration) -> Outcome<Job> {
        let shared = self.lock().get(id).cloned();
        let shared = shared.ok_or_else(|| Failure::new(404, "no-such-job", "there is no job with this id"))?;
        let mut changes = shared.job.subscribe();
        let now = changes.borrow_and_update().clone();
        if now.state.is_final() || wait.is_zero() {
            return Ok(now);
        }
        let _late_or_changed = tokio::time::timeout(wait, changes.changed()).await;
        let now = changes.borrow().clone();
        Ok(now)
    }

    /// Asks one of them to stop.
    ///
    /// # Errors
    /// There is none with this id.
    pub fn cancel(&self, id: &str) -> Outcome<Job> {
        let shared = self.lock().get(id).cloned();
        let shared = shared.ok_or_else(|| Failure::new(404, "no-such-job", "there is no job with this id"))?;
        shared.is_cancelled.store(true, Relaxed);
        shared.job.send_if_modified(|job| {
            let waits = job.state == JobState::Queued;
            if waits {
                job.state = JobState::Cancelled;
                job.finished = Some(Timestamp::now());
            }
            waits
        });
        let now = shared.job.borrow().clone();
        Ok(now)
    }

    /// Begins no job any more, and waits for those under way, but no longer than `patience`.
    pub async fn stop(&self, patience: Duration) {
        self.running.close();
        let mut changes: Vec<_> = self.lock().values().map(|shared| shared.job.subscribe()).collect();
        let ended = async {
            for job in &mut changes {
                // An error means that nobody changes it any more.
                let _gone = job.wait_for(|job| job.state != JobState::Running).await;
            }
        };
        if tokio::time::timeout(patience, ended).await.is_err() {
            tracing::warn!("a job is still under way; the next start of the agent looks for its archive");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Shared>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, order: &Order) -> Outcome<Arc<Shared>> {
        let random = identity::random::<4>().map_err(|error| Failure::internal("no id for a job", error))?;
        let id = format!("{:012x}{}", Timestamp::now().as_millisecond() & 0xffff_ffff_ffff, hex(&random));
        let mut jobs = self.lock();
        let unfinished = jobs.values().filter(|shared| !shared.job.borrow().state.is_final());
        let (mut n_all, mut n_same) = (0, 0);
        for shared in unfinished {
            n_all += 1;
            n_same += usize::from(shared.job.borrow().container == order.container.id);
        }
        if MAX_UNFINISHED <= n_all || MAX_UNFINISHED_OF_ONE <= n_same {
            return Err(Failure::new(429, "too-many-jobs", "too many jobs wait already").retry_after(30));
        }
        while MAX_REMEMBERED <= jobs.len() {
            let ended = jobs.iter().find(|(_, shared)| shared.job.borrow().state.is_final()).map(|(id, _)| id.clone());
            let Some(ended) = ended else { break };
            jobs.remove(&ended);
        }
        let shared = Arc::new(Shared::new(Job {
            id: id.clone(),
            kind: order.kind,
            container: order.container.id.clone(),
            state: JobState::Queued,
            step: "waits for its turn".to_owned(),
            requested: order.requested,
            finished: None,
            done_bytes: None,
            archive: None,
            problem: None,
            warnings: Vec::new(),
        }));
        jobs.insert(id, Arc::clone(&shared));
        Ok(shared)
    }

    /// Jobs of one container have it one after the other, in the order of their coming.
    fn turn_of(&self, container: &str) -> Arc<AsyncMutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| 1 < Arc::strong_count(turn));
        Arc::clone(turns.entry(container.to_owned()).or_default())
    }
}

impl Shared {
    fn new(job: Job) -> Shared {
        Shared { job: watch::Sender::new(job), is_cancelled: AtomicBool::new(false) }
    }
}

/// Takes an order, and starts it when its turn comes.
///
/// # Errors
/// Too many wait already.
pub fn submit(agent: &Arc<Agent>, order: Order) -> Outcome<Job> {
    let shared = agent.jobs.add(&order)?;
    let job = shared.job.borrow().clone();
    tokio::spawn(run(Arc::clone(agent), order, shared, None));
    Ok(job)
}

/// Goes on with the jobs of an earlier agent whose archives may still come.
pub fn go_on(agent: &Arc<Agent>) {
    let left = std::mem::take(&mut *agent.jobs.left.lock().unwrap_or_else(PoisonError::into_inner));
    for (shared, expected) in left {
        tokio::spawn(run(Arc::clone(agent), expected.order.clone(), shared, Some(expected)));
    }
}

/// Why a job of an earlier agent made no archive.
fn restarted() -> Failure {
    Failure::new(500, "agent-restarted", "the agent ended while this job was under way").hint(
        "look whether the container is frozen; an archive that the kubelet made may lie in its directory of checkpoints",
    )
}

/// Does what was ordered, or waits for what an earlier agent `expected`.
async fn run(agent: Arc<Agent>, order: Order, shared: Arc<Shared>, expected: Option<Expected>) {
    let turn = agent.jobs.turn_of(&order.container.id);
    let _turn = turn.lock().await;
    let Ok(_running) = agent.jobs.running.acquire().await else { return };
    let is_on = shared.job.send_if_modified(|job| {
        let is_on = !job.state.is_final();
        if is_on {
            job.state = JobState::Running;
        }
        is_on
    });
    if !is_on {
        return;
    }
    let id = shared.job.borrow().id.clone();
    let file = agent.jobs.dir.join(format!("{id}.json"));
    let running = Running { id, file: file.clone(), shared: Arc::clone(&shared) };
    let done = match (expected, order.kind) {
        (Some(expected), _) => checkpoint::claim(&agent, &expected, &running).await,
        (None, JobKind::Checkpoint) => {
            running.note(None);
            checkpoint::run(&agent, &order, &running).await
        }
        (None, JobKind::Collection) => {
            running.note(None);
            collection::run(&agent, &order, &running).await
        }
    };
    end(&agent, &order, &running, done).await;
    if let Err(error) = disk::remove(&file) {
        tracing::warn!("{}: {error}", file.display());
    }
}

/// Writes down how a job ended, and tells who follows it.
async fn end(agent: &Arc<Agent>, order: &Order, running: &Running, done: Outcome<String>) {
    let (status, detail) = match &done {
        Ok(archive) => (200, archive.clone()),
        Err(failure) => (failure.status, failure.problem.code.clone()),
    };
    let event = Event {
        who: order.who.clone(),
        action: if order.kind == JobKind::Checkpoint { "checkpoint-end" } else { "collection-end" },
        subject: Some(order.container.id.clone()),
        status,
        detail: Some(detail),
    };
    let logged = Arc::clone(agent);
    let written = tokio::task::spawn_blocking(move || logged.audit.write(event)).await;
    if !matches!(written, Ok(Ok(()))) {
        running.warn("the end of this job could not be written to the audit log".to_owned());
    }
    running.shared.job.send_modify(|job| {
        job.finished = Some(Timestamp::now());
        match done {
            Ok(archive) => {
                job.state = JobState::Done;
                job.done_bytes =
                    agent.spool.get(&archive).ok().map(|entry| entry.archive.size_bytes).or(job.done_bytes);
                job.archive = Some(archive);
                "done".clone_into(&mut job.step);
            }
            Err(failure) if failure.problem.code == "cancelled" => {
                job.state = JobState::Cancelled;
                "stopped".clone_into(&mut job.step);
            }
            Err(failure) => {
                job.state = JobState::Failed;
                job.problem = Some(*failure.problem);
                "failed".clone_into(&mut job.step);
            }
        }
    });
}

fn is_id(id: &str) -> bool {
    id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}
