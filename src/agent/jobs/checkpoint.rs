//! A checkpoint: the runtime is asked, what it does wrong is caught, the archive is hashed and signed at once.
//!
//! 1. The container is looked up again, and room is made for about its memory.
//! 2. The source is asked. Two requests of one container never fall into one second: archives of the kubelet are named by it.
//! 3. Of a dump that failed criu's own log is read: runtimes say little of why.
//! 4. A connection that was half open spoils the dump; that is tried once more.
//! 5. After a deadline the archive may still appear: it is waited for, and claimed, by the next agent if need be.
//! 6. Whether the container goes on is looked up in its cgroup; if it does not, a warning says the cure.
//! 7. The archive comes into the spool, its log is read, the manifest is signed.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use crate::acquire::manifest::{self, ArchiveFacts, Manifest};
use crate::acquire::wire::{Container, ContainerState, JobKind, SourceKind};
use crate::agent::problem::{Failure, Outcome};
use crate::agent::sources::{self, failed_dump};
use crate::agent::spool::{Writing, Written, archive_name};
use crate::agent::{Agent, dumplog, processes, stream};

use super::expected::{Expected, Late};
use super::{Order, Running, archive_log, docker, restarted};

/// Between two requests of one container.
const APART: Duration = Duration::from_millis(1100);
/// How long a late archive is waited for, beyond the time that the request was given.
const PATIENCE: Duration = Duration::from_secs(300);
/// The kubelet gives the runtime so long at least.
const SHORTEST: Duration = Duration::from_secs(120);
/// A container that is still frozen so long after its dump stays so.
const THAW_PATIENCE: Duration = Duration::from_secs(3);

/// What a source made.
struct Made {
    name: String,
    written: Written,
    command: String,
    version: Option<String>,
}

/// Makes the archive, and gives its id.
///
/// # Errors
/// What went wrong, and what to do.
pub async fn run(agent: &Arc<Agent>, order: &Order, job: &Running) -> Outcome<String> {
    let container = agent.sources.find(&order.container.id).await?;
    refuse(&container)?;
    let pids = processes_of(&container.id).await;
    // Docker writes it once, and it is packed.
    let n_times = if source(order) == SourceKind::Docker { 2 } else { 1 };
    let estimate = processes::resident_bytes(&pids).saturating_mul(n_times);
    blocking(agent, move |agent| agent.spool.make_room(estimate)).await??;

    let order = Order { container, ..order.clone() };
    let writing = Arc::new(blocking(agent, |agent| agent.spool.begin()).await??);
    let started = Timestamp::now();
    let mut made = ask(agent, &order, job, &writing).await;
    let is_passing = |failure: &Failure| failure.problem.code == "in-flight-connection";
    if made.as_ref().is_err_and(is_passing) {
        job.warn(
            "somebody connected to the container while it was frozen, which spoiled the dump; it is tried once more"
                .into(),
        );
        sleep(APART).await;
        made = ask(agent, &order, job, &writing).await;
    }
    warn_of_harm(&order.container, !pids.is_empty(), job).await;
    let made = made?;
    // Asked for long before the dump was over; then there is nothing to hang up on.
    job.check()?;
    finish(agent, &order, job, &writing, made, started).await
}

/// Takes the archive that an earlier agent had asked for, and gives its id.
///
/// # Errors
/// It did not come, or cannot be taken.
pub async fn claim(agent: &Arc<Agent>, expected: &Expected, job: &Running) -> Outcome<String> {
    job.step("the agent was started again; the archive that the runtime was asked for may still appear");
    let id = expected.archive.clone();
    // The earlier agent may have ended just after it was done.
    if agent.spool.get(&id).is_ok() {
        return Ok(id);
    }
    let writing = Arc::new(blocking(agent, move |agent| agent.spool.resume(&id)).await??);
    let late = expected.wait(agent, job, &writing, expected.until).await;
    warn_of_harm(&expected.order.container, false, job).await;
    let Some(late) = late? else { return Err(restarted()) };
    job.warn("the agent ended while this archive was made, and claimed it after its next start".to_owned());
    let made = take(agent, job, &writing, late, expected).await?;
    finish(agent, &expected.order, job, &writing, made, expected.since).await
}

async fn finish(
    agent: &Arc<Agent>,
    order: &Order,
    job: &Running,
    writing: &Arc<Writing>,
    mut made: Made,
    started: Timestamp,
) -> Outcome<String> {
    job.step("reads the log and signs the manifest");
    let log = {
        let writing = Arc::clone(writing);
        blocking(agent, move |_| {
            File::options().read(true).open(writing.path()).and_then(|mut file| archive_log(&mut file))
        })
        .await?
    };
    let highlights = match log {
        Ok(Some(log)) => {
            if !dumplog::is_finished(&log) {
                job.warn("the last line of criu's log does not say that the dump was finished".to_owned());
            }
            dumplog::highlights(&log)
        }
        Ok(None) => Vec::new(),
        Err(error) => {
            job.warn(format!("the archive cannot be read as one: {error}"));
            Vec::new()
        }
    };
    if made.name.is_empty() {
        made.name = archive_name("checkpoint", &name_parts(&order.container), started);
    }
    let manifest = Manifest {
        schema: manifest::SCHEMA.to_owned(),
        archive: ArchiveFacts {
            name: made.name,
            kind: JobKind::Checkpoint,
            size_bytes: made.written.size_bytes,
            sha256: made.written.sha256,
        },
        container: order.container.clone(),
        node: agent.facts.clone(),
        requested_by: order.who.clone(),
        reason: order.reason.clone(),
        requested: order.requested,
        started,
        finished: Timestamp::now(),
        source: source(order),
        source_version: made.version,
        command: made.command,
        log: highlights,
        warnings: job.warnings(),
    };
    let writing = Arc::clone(writing);
    let entry = blocking(agent, move |agent| writing.finish(&manifest, &agent.identity.signing)).await??;
    Ok(entry.archive.id.clone())
}

/// Who is asked.
fn source(order: &Order) -> SourceKind {
    order.source.unwrap_or(order.container.source)
}

/// As the kubelet names archives: pod and namespace, then the container.
pub(super) fn name_parts(container: &Container) -> Vec<&str> {
    let names = [container.pod.as_deref(), container.namespace.as_deref(), Some(container.name.as_str())];
    names.into_iter().flatten().filter(|name| !name.is_empty()).collect()
}

fn refuse(container: &Container) -> Outcome<()> {
    if container.problem.as_deref() == Some(sources::OWN) {
        return Err(Failure::new(409, "own-container", sources::OWN).hint("an agent outside of it can freeze it"));
    }
    match container.state {
        ContainerState::Running | ContainerState::Unknown => Ok(()),
        ContainerState::Frozen => Err(Failure::new(409, "container-frozen", "the container is frozen already")
            .hint(format!("an earlier checkpoint was cut off, or somebody paused it; {}", sources::cure(container)))),
        _ => Err(Failure::new(409, "container-not-running", "the container does not run")
            .hint("only a running container can be frozen")),
    }
}

/// Asks, and has criu's log explain a dump that failed.
async fn ask(agent: &Arc<Agent>, order: &Order, job: &Running, writing: &Arc<Writing>) -> Outcome<Made> {
    job.step("the runtime freezes the container and writes its memory");
    let since = Timestamp::now();
    let asked = match source(order) {
        SourceKind::Kubelet => by_kubelet(agent, order, job, writing).await,
        SourceKind::Cri => by_cri(agent, order, job, writing).await,
        SourceKind::Podman => by_podman(agent, order, job, writing).await,
        SourceKind::Docker => by_docker(agent, order, job, writing).await,
        SourceKind::Proc => Err(Failure::new(501, "unsupported", "checkpoints are not made this way")
            .hint("leave `source` out, or ask for a collection")),
    };
    let Err(failure) = asked else { return asked };
    let (id, sockets) = (order.container.id.clone(), agent.sources.cri_sockets());
    Err(blocking(agent, move |_| failed_dump::explain(failure, &id, &sockets, since)).await?)
}

pub(super) fn no_such_source() -> Failure {
    Failure::new(409, "no-such-source", "this source is not there for this container")
        .hint("GET /v1/node lists the sources; leave `source` out to have the first that can")
}

async fn by_podman(agent: &Arc<Agent>, order: &Order, job: &Running, writing: &Arc<Writing>) -> Outcome<Made> {
    let podman = agent.sources.podman.as_ref().ok_or_else(no_such_source)?;
    let version = podman.version().await?;
    let command = podman.command(&order.container.id);
    let pieces = podman.checkpoint(&order.container.id, order.timeout_seconds).await?;
    job.step("takes the archive");
    let (writing, job) = (Arc::clone(writing), job.clone());
    let copy = move |_: &Arc<Agent>| writing.copy(&mut stream::Reader::new(pieces), &mut |bytes| job.done(bytes));
    let written = blocking(agent, copy).await??;
    Ok(Made { name: String::new(), written, command, version: Some(version) })
}

async fn by_cri(agent: &Arc<Agent>, order: &Order, job: &Running, writing: &Arc<Writing>) -> Outcome<Made> {
    let container = &order.container;
    for cri in agent.sources.cri.iter().filter(|cri| cri.is_there()) {
        let version = cri.version().await?;
        if !version.to_lowercase().starts_with(&container.engine) {
            continue;
        }
        let path = writing.path();
        let command = cri.command(&container.id, &path, order.timeout_seconds);
        let expected = expect(order, SourceKind::Cri, writing, command, Some(version));
        job.expect(expected.clone());
        let late = match cri.checkpoint(&container.id, &path, order.timeout_seconds).await {
            Ok(()) => Late::InSpool,
            Err(failure) => wait(agent, job, writing, &expected, failure).await?,
        };
        return take(agent, job, writing, late, &expected).await;
    }
    Err(no_such_source())
}

async fn by_kubelet(agent: &Arc<Agent>, order: &Order, job: &Running, writing: &Arc<Writing>) -> Outcome<Made> {
    let kubelet = agent.sources.kubelet.as_ref();
    let kubelet = kubelet.filter(|_| order.container.pod.is_some()).ok_or_else(|| {
        Failure::new(409, "no-such-source", "the kubelet knows no such container").hint("name another source, or none")
    })?;
    // The next request of this container comes in another second.
    sleep(APART).await;
    let command = kubelet.command(&order.container, order.timeout_seconds)?;
    let expected = expect(order, SourceKind::Kubelet, writing, command, None);
    job.expect(expected.clone());
    let late = match kubelet.checkpoint(&order.container, order.timeout_seconds).await {
        Ok((name, file)) => Late::OfKubelet(name, file),
        Err(failure) => wait(agent, job, writing, &expected, failure).await?,
    };
    take(agent, job, writing, late, &expected).await
}

async fn by_docker(agent: &Arc<Agent>, order: &Order, job: &Running, writing: &Arc<Writing>) -> Outcome<Made> {
    let asked = docker::prepare(agent, order, writing).await?;
    let expected = expect(order, SourceKind::Docker, writing, asked.command, Some(asked.version));
    job.expect(expected.clone());
    let made = docker::docker(agent)?.checkpoint(&order.container.id, &asked.work, order.timeout_seconds).await;
    let late = match made {
        Ok(()) => Late::ToPack,
        Err(failure) => wait(agent, job, writing, &expected, failure).await?,
    };
    take(agent, job, writing, late, &expected).await
}

/// What is noted before a runtime is asked: the time that it has, the time that we wait longer, the time that it may be late.
fn expect(order: &Order, source: SourceKind, writing: &Writing, command: String, version: Option<String>) -> Expected {
    let since = Timestamp::now();
    let time = Duration::from_secs(u64::from(order.timeout_seconds)).max(SHORTEST) + sources::LONGER + PATIENCE;
    Expected {
        order: order.clone(),
        source,
        since,
        until: since.checked_add(time).unwrap_or(since),
        command,
        version,
        archive: writing.id().to_owned(),
    }
}

/// The archive of a request that failed, if it was only too slow.
async fn wait(
    agent: &Arc<Agent>,
    job: &Running,
    writing: &Arc<Writing>,
    expected: &Expected,
    failure: Failure,
) -> Outcome<Late> {
    if failure.problem.code != "runtime-timeout" {
        return Err(failure);
    }
    job.step("the runtime took too long; its archive may still appear");
    let given = expected.order.timeout_seconds;
    let patience = Duration::from_secs(u64::from(given)).clamp(THAW_PATIENCE, PATIENCE);
    let until = Timestamp::now().checked_add(patience).unwrap_or(expected.until);
    let late = expected.wait(agent, job, writing, until).await?.ok_or(failure)?;
    job.warn(format!(
        "the runtime took longer than it was given ({given} s); the archive appeared late and was claimed"
    ));
    Ok(late)
}

/// Takes an archive into the spool, or as it lies there.
async fn take(
    agent: &Arc<Agent>,
    job: &Running,
    writing: &Arc<Writing>,
    late: Late,
    expected: &Expected,
) -> Outcome<Made> {
    job.step("copies and hashes the archive");
    let (writing, copying) = (Arc::clone(writing), job.clone());
    let (name, written) = match late {
        Late::OfKubelet(name, mut file) => {
            let copy = move |_: &Arc<Agent>| writing.copy(&mut file, &mut |bytes| copying.done(bytes));
            (name, blocking(agent, copy).await??)
        }
        Late::InSpool => (String::new(), blocking(agent, move |_| writing.adopt()).await??),
        Late::ToPack => (String::new(), docker::pack(agent, &expected.order, job, &writing).await?),
    };
    Ok(Made { name, written, command: expected.command.clone(), version: expected.version.clone() })
}

/// A container that stays frozen is reported running by everybody but its cgroup; one that ended since is told, too.
async fn warn_of_harm(container: &Container, had_processes: bool, job: &Running) {
    let until = tokio::time::Instant::now() + THAW_PATIENCE;
    loop {
        let pids = processes_of(&container.id).await;
        if pids.is_empty() && had_processes {
            let what = "no process of the container is left: it did not go on after the freeze, or ended by itself (some programs take the interruption of a wait for its end)";
            let caution = container.caution.iter().map(|caution| format!("; {caution}"));
            job.warn(format!("{what}{}", caution.collect::<String>()));
            return;
        }
        if !pids.iter().any(|pid| processes::is_frozen(*pid) == Some(true)) {
            return;
        }
        if until <= tokio::time::Instant::now() {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    job.warn(format!("the container stayed frozen, though others report it running: {}", sources::cure(container)));
}

pub(super) async fn processes_of(id: &str) -> Vec<u32> {
    let id = id.to_owned();
    let looked = tokio::task::spawn_blocking(move || processes::of_container(&id)).await;
    looked.ok().and_then(Result::ok).unwrap_or_default()
}

pub(super) async fn blocking<T: Send + 'static>(
    agent: &Arc<Agent>,
    work: impl FnOnce(&Arc<Agent>) -> T + Send + 'static,
) -> Outcome<T> {
    let agent = Arc::clone(agent);
    tokio::task::spawn_blocking(move || work(&agent))
        .await
        .map_err(|error| Failure::internal("a job came to a bad end", error))
}
