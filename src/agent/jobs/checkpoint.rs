//! A checkpoint: the runtime is asked, what it does wrong is caught, the archive is hashed and signed at once.
//!
//! 1. The container is looked up again, and room is made for about its memory.
//! 2. The source is asked. Two requests of one container never fall into one second: archives of the kubelet are named by it.
//! 3. A connection that was half open spoils the dump; that is tried once more.
//! 4. After a deadline the archive may still appear: it is waited for, and claimed.
//! 5. Whether the container goes on is looked up in its cgroup; if it does not, a warning says the cure.
//! 6. The archive comes into the spool, its log is read, the manifest is signed.

use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::time::sleep;

use crate::acquire::manifest::{self, ArchiveFacts, Manifest};
use crate::acquire::wire::{Container, ContainerState, JobKind, SourceKind};
use crate::agent::problem::{Failure, Outcome};
use crate::agent::sources::{self, late};
use crate::agent::spool::{Writing, Written, archive_name};
use crate::agent::{Agent, dumplog, processes, stream};

use super::{Order, Running, archive_log};

/// Between two requests of one container.
const APART: Duration = Duration::from_millis(1100);
/// How long a late archive is waited for, beyond the time that the request was given.
const PATIENCE: Duration = Duration::from_secs(300);
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
    let source = order.source.unwrap_or(container.source);
    refuse(&container)?;
    let pids = processes_of(&container.id).await;
    let estimate = processes::resident_bytes(&pids);
    blocking(agent, move |agent| agent.spool.make_room(estimate)).await??;

    let writing = Arc::new(blocking(agent, |agent| agent.spool.begin()).await??);
    let started = Timestamp::now();
    let mut made = ask(agent, order, job, source, &container, &writing).await;
    let is_passing = |failure: &Failure| failure.problem.code == "in-flight-connection";
    if made.as_ref().is_err_and(is_passing) {
        job.warn(
            "somebody connected to the container while it was frozen, which spoiled the dump; it is tried once more"
                .into(),
        );
        sleep(APART).await;
        made = ask(agent, order, job, source, &container, &writing).await;
    }
    warn_of_harm(&container, !pids.is_empty(), job).await;
    let mut made = made?;
    // Asked for long before the dump was over; then there is nothing to hang up on.
    job.check()?;

    job.step("reads the log and signs the manifest");
    let log = {
        let writing = Arc::clone(&writing);
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
        made.name = archive_name("checkpoint", &name_parts(&container), started);
    }
    let manifest = Manifest {
        schema: manifest::SCHEMA.to_owned(),
        archive: ArchiveFacts {
            name: made.name,
            kind: JobKind::Checkpoint,
            size_bytes: made.written.size_bytes,
            sha256: made.written.sha256,
        },
        container,
        node: agent.facts.clone(),
        requested_by: order.who.clone(),
        reason: order.reason.clone(),
        requested: order.requested,
        started,
        finished: Timestamp::now(),
        source,
        source_version: made.version,
        command: made.command,
        log: highlights,
        warnings: job.warnings(),
    };
    let entry = blocking(agent, move |agent| writing.finish(&manifest, &agent.identity.signing)).await??;
    Ok(entry.archive.id.clone())
}

/// As the kubelet names archives: pod and namespace, then the container.
pub(super) fn name_parts(container: &Container) -> Vec<&str> {
    let names = [container.pod.as_deref(), container.namespace.as_deref(), Some(container.name.as_str())];
    names.into_iter().flatten().filter(|name| !name.is_empty()).collect()
}

fn refuse(container: &Container) -> Outcome<()> {
    match container.state {
        ContainerState::Running | ContainerState::Unknown => Ok(()),
        ContainerState::Frozen => Err(Failure::new(409, "container-frozen", "the container is frozen already")
            .hint(format!("an earlier checkpoint was cut off, or somebody paused it; {}", sources::cure(container)))),
        _ => Err(Failure::new(409, "container-not-running", "the container does not run")
            .hint("only a running container can be frozen")),
    }
}

async fn ask(
    agent: &Arc<Agent>,
    order: &Order,
    job: &Running,
    source: SourceKind,
    container: &Container,
    writing: &Arc<Writing>,
) -> Outcome<Made> {
    let missing = || {
        Failure::new(409, "no-such-source", "this source is not there for this container")
            .hint("GET /v1/node lists the sources; leave `source` out to have the first that can")
    };
    job.step("the runtime freezes the container and writes its memory");
    match source {
        SourceKind::Kubelet => by_kubelet(agent, order, job, container, writing).await,
        SourceKind::Cri => {
            let engine = container.engine.as_str();
            for cri in agent.sources.cri.iter().filter(|cri| cri.is_there()) {
                let version = cri.version().await?;
                if !version.to_lowercase().starts_with(engine) {
                    continue;
                }
                let path = writing.path();
                let command = cri.command(&container.id, &path, order.timeout_seconds);
                cri.checkpoint(&container.id, &path, order.timeout_seconds).await?;
                job.step("hashes the archive");
                let hashed = Arc::clone(writing);
                let written = blocking(agent, move |_| hashed.adopt()).await??;
                return Ok(Made { name: String::new(), written, command, version: Some(version) });
            }
            Err(missing())
        }
        SourceKind::Podman => {
            let podman = agent.sources.podman.as_ref().ok_or_else(missing)?;
            let version = podman.version().await?;
            let command = podman.command(&container.id);
            let pieces = podman.checkpoint(&container.id, order.timeout_seconds).await?;
            job.step("takes the archive");
            let (writing, job) = (Arc::clone(writing), job.clone());
            let copy =
                move |_: &Arc<Agent>| writing.copy(&mut stream::Reader::new(pieces), &mut |bytes| job.done(bytes));
            let written = blocking(agent, copy).await??;
            Ok(Made { name: String::new(), written, command, version: Some(version) })
        }
        SourceKind::Docker | SourceKind::Proc => {
            Err(Failure::new(501, "unsupported", "checkpoints are not made this way")
                .hint("Docker's checkpoints are not supported; a collection by way of /proc is"))
        }
    }
}

async fn by_kubelet(
    agent: &Arc<Agent>,
    order: &Order,
    job: &Running,
    container: &Container,
    writing: &Arc<Writing>,
) -> Outcome<Made> {
    let kubelet = agent.sources.kubelet.as_ref();
    let kubelet = kubelet.filter(|_| container.pod.is_some()).ok_or_else(|| {
        Failure::new(409, "no-such-source", "the kubelet knows no such container").hint("name another source, or none")
    })?;
    // The next request of this container comes in another second.
    sleep(APART).await;
    let command = kubelet.command(container, order.timeout_seconds)?;
    let since = SystemTime::now();
    let asked = kubelet.checkpoint(container, order.timeout_seconds).await;
    let (name, mut file) = match asked {
        Ok(made) => made,
        Err(failure) if failure.problem.code == "runtime-timeout" => {
            job.step("the runtime took too long; its archive may still appear");
            let patience = Duration::from_secs(u64::from(order.timeout_seconds)).min(PATIENCE);
            let patience = if container.engine == "containerd" { THAW_PATIENCE } else { patience.max(THAW_PATIENCE) };
            let found = late::wait_for(kubelet.checkpoints(), container, since, patience).await?;
            let Some(found) = found else { return Err(failure) };
            job.warn(format!(
                "the runtime took longer than it was given ({} s); the archive appeared late and was claimed",
                order.timeout_seconds
            ));
            found
        }
        Err(failure) => return Err(failure),
    };
    job.step("copies and hashes the archive");
    let (writing, copying) = (Arc::clone(writing), job.clone());
    let copy = move |_: &Arc<Agent>| writing.copy(&mut file, &mut |bytes| copying.done(bytes));
    let written = blocking(agent, copy).await??;
    Ok(Made { name, written, command, version: None })
}

/// A container that stays frozen is reported running by everybody but its cgroup; one that ended since is told, too.
async fn warn_of_harm(container: &Container, had_processes: bool, job: &Running) {
    let until = tokio::time::Instant::now() + THAW_PATIENCE;
    loop {
        let pids = processes_of(&container.id).await;
        if pids.is_empty() && had_processes {
            job.warn(
                "no process of the container is left: it did not go on after the freeze, or ended by itself (some programs take the interruption of a wait for its end)"
                    .to_owned(),
            );
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
