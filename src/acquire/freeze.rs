//! From a container to an archive at the desk: freeze, follow, fetch, verify, note.
//!
//! Work on a node goes on when the workstation goes: nothing here stops it but [`Client::stop_job`], since a runtime that
//! is cut off may leave its container frozen.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use super::client::Client;
use super::control::PullControl;
use super::custody::{Custody, CustodyError};
use super::error::{ClientError, said};
use super::nodes::PairedNode;
use super::pull::{PullError, Pulled, Target, pull};
use super::selector::{Called, NotFound, find};
use super::wire::{CheckpointRequest, CollectionRequest, Container, Job, JobState, Problem};
use crate::base::{Cancelled, Progress};

/// How long one question for news may take.
const WAIT_SECONDS: u32 = 10;
/// How many broken lines in a row are borne while a job is followed.
const TRIES: u32 = 10;

/// What is asked of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// How long the runtime may take; generous when not given.
    pub timeout_seconds: Option<u32>,
    /// For the manifest and the node's audit log: a case number.
    pub reason: Option<String>,
    /// By whom.
    pub method: Method,
}

/// How the state of a container is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// A checkpoint, by CRIU.
    #[default]
    Checkpoint,
    /// The processes by way of /proc, while they run.
    Collection,
    /// The same while they stand still.
    HeldCollection,
}

/// Where the way of one container stands; told to whoever watches.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The node was asked to freeze it.
    Asked(Box<Job>),
    /// The job there has moved.
    Job(Box<Job>),
    /// The archive is fetched.
    Pulling {
        /// Its id on the node.
        archive: String,
    },
    /// It is here, whole, verified and noted.
    Done(Box<Pulled>),
}

/// Why there is no archive.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FreezeError {
    /// No container is meant.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The agent cannot be asked, or refuses.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The job there made none.
    #[error("{node}: no archive of {called}: {what}")]
    Job {
        /// The node.
        node: String,
        /// What people call the container.
        called: String,
        /// The job.
        job: Box<Job>,
        /// Why.
        what: String,
    },
    /// The archive did not arrive.
    #[error(transparent)]
    Pull(#[from] PullError),
    /// It arrived, and that cannot be noted.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// Stopped here; the node goes on.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Finds the container that is called `wanted`.
///
/// # Errors
/// None or several are called so, or the agent cannot be asked.
pub fn container(client: &Client, wanted: &str) -> Result<Container, FreezeError> {
    let containers = client.containers()?;
    match find(&containers.containers, wanted) {
        Ok(found) => Ok(found.clone()),
        // What the agent could not ask explains best why a container is missing.
        Err(NotFound::None { wanted, there, .. }) => {
            let unasked = containers.issues.iter().take(5).cloned().collect();
            Err(NotFound::None { wanted, there, unasked }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Asks for a checkpoint or a collection of a container.
///
/// # Errors
/// The agent cannot be asked, or refuses.
pub fn start(client: &Client, container: &Container, wishes: &Wishes) -> Result<Job, ClientError> {
    let (container, reason) = (container.id.clone(), wishes.reason.clone());
    if wishes.method != Method::Checkpoint {
        let hold = wishes.method == Method::HeldCollection;
        return client.collect(&CollectionRequest { container, memory_limit_bytes: None, hold, reason });
    }
    let timeout_seconds = wishes.timeout_seconds.unwrap_or_else(super::wire::default_timeout_seconds);
    client.checkpoint(&CheckpointRequest { container, timeout_seconds, source: None, reason })
}

/// Follows a job to its end; broken lines are borne.
///
/// # Errors
/// It failed or was stopped, the agent cannot be asked any more, or cancel; the node goes on then.
pub fn follow(
    client: &Client,
    container: &Container,
    mut job: Job,
    progress: &dyn Progress,
    watch: &mut dyn FnMut(Step),
) -> Result<Job, FreezeError> {
    progress.stage("freezing");
    let mut n_broken = 0;
    while !job.state.is_final() {
        progress.step(job.done_bytes.unwrap_or(0), None)?;
        match client.job(&job.id, WAIT_SECONDS) {
            Ok(news) => {
                n_broken = 0;
                let is_news = news != job;
                job = news;
                if is_news {
                    watch(Step::Job(Box::new(job.clone())));
                }
                // An agent that answers at once, whatever happens, is not asked in a circle.
                sleep(Duration::from_millis(100), progress)?;
            }
            Err(error) if error.is_transient() && n_broken < TRIES => {
                n_broken += 1;
                sleep(Duration::from_secs(2), progress)?;
            }
            // An agent that was started again forgets its jobs, and keeps their archives.
            Err(ClientError::Refused { problem, .. }) if problem.code == "no-such-job" => {
                job = of_archive(client, job)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    if job.state == JobState::Done {
        return Ok(job);
    }
    let what = match (&job.problem, job.state) {
        (Some(problem), _) => said(problem),
        (None, JobState::Cancelled) => "somebody stopped it".to_owned(),
        (None, _) => "the agent does not say why".to_owned(),
    };
    let (node, called) = (client.node_name().to_owned(), Called(container).to_string());
    Err(FreezeError::Job { node, called, job: Box::new(job), what })
}

/// The end of a job that the agent has forgotten, by the archive that it made.
fn of_archive(client: &Client, job: Job) -> Result<Job, ClientError> {
    let archives = client.archives()?.archives.into_iter();
    let made =
        archives.filter(|it| it.container == job.container && it.kind == job.kind && job.requested <= it.created);
    // The earliest: others were asked for later.
    Ok(match made.min_by_key(|archive| archive.created) {
        Some(archive) => Job { state: JobState::Done, archive: Some(archive.id), ..job },
        None => {
            let message = "the agent was started again, and has no archive of this job".to_owned();
            let (code, hint) = ("agent-restarted".to_owned(), Some("look whether the container is frozen".to_owned()));
            let problem = Problem { code, message, hint, detail: None, log: Vec::new() };
            Job { state: JobState::Failed, problem: Some(problem), ..job }
        }
    })
}

/// The way from one node to one place here.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// The node.
    pub node: &'a PairedNode,
    /// How it is asked.
    pub client: &'a Client,
    /// Where archives go.
    pub target: &'a Target,
    /// What is seen of a pull, and how it is held.
    pub control: &'a PullControl,
    /// Progress and cancel.
    pub progress: &'a dyn Progress,
}

impl fmt::Debug for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("node", &self.node.name).field("target", &self.target).finish_non_exhaustive()
    }
}

impl Way<'_> {
    /// Fetches an archive, and notes where it came from.
    ///
    /// # Errors
    /// See [`PullError`], or the note cannot be written.
    pub fn fetch(&self, archive: &str) -> Result<Pulled, FreezeError> {
        let custody = Custody::open()?;
        let authority = self.node.fingerprint().unwrap_or_default();
        let pulled = pull(self.client, &authority, archive, self.target, self.control, self.progress)?;
        custody.note_acquired(self.node, archive, &pulled)?;
        Ok(pulled)
    }

    /// Freezes a container and fetches the archive.
    ///
    /// # Errors
    /// See [`FreezeError`].
    pub fn freeze(
        &self,
        container: &Container,
        wishes: &Wishes,
        watch: &mut dyn FnMut(Step),
    ) -> Result<Pulled, FreezeError> {
        self.progress.stage("asking the node");
        self.progress.step(0, None)?;
        let job = start(self.client, container, wishes)?;
        watch(Step::Asked(Box::new(job.clone())));
        let followed = follow(self.client, container, job, self.progress, watch);
        let ended = match &followed {
            Ok(job) => Some(job),
            Err(FreezeError::Job { job, .. }) => Some(job.as_ref()),
            Err(_) => None,
        };
        let warnings = ended.into_iter().flat_map(|job| job.warnings.iter().cloned());
        let log = ended.and_then(|job| job.problem.as_ref()).into_iter().flat_map(|problem| &problem.log);
        for text in warnings.chain(log.map(|line| format!("criu's log: {line}"))) {
            self.control.note(format!("{}: {text}", Called(container)));
        }
        let job = followed?;
        let Some(archive) = job.archive.clone() else {
            let what = "the agent says it is done and names no archive".to_owned();
            let (node, called) = (self.node.name.clone(), Called(container).to_string());
            return Err(FreezeError::Job { node, called, job: Box::new(job), what });
        };
        watch(Step::Pulling { archive: archive.clone() });
        let pulled = self.fetch(&archive)?;
        watch(Step::Done(Box::new(pulled.clone())));
        Ok(pulled)
    }
}

/// Waits, and notices cancel meanwhile.
///
/// # Errors
/// Cancel.
pub fn sleep(how_long: Duration, progress: &dyn Progress) -> Result<(), Cancelled> {
    let until = std::time::Instant::now() + how_long;
    loop {
        progress.step(0, None)?;
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}
