//! A checkpoint by Docker: what it says of the container is noted, it writes a directory in the spool, which is packed.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use crate::agent::changes::{self, Changes};
use crate::agent::problem::{Failure, Outcome};
use crate::agent::sources::docker::Docker;
use crate::agent::sources::{docker_errors, host_file};
use crate::agent::spool::{Writing, Written};
use crate::agent::{Agent, docker_archive, doctor};

use super::checkpoint::{blocking, no_such_source, processes_of};
use super::{Order, Running};

/// What was noted, and what Docker is asked.
pub(super) struct Asked {
    pub(super) work: PathBuf,
    pub(super) version: String,
    pub(super) command: String,
}

/// Notes what Docker says of the container, in the spool.
///
/// # Errors
/// Docker does not answer, or makes no checkpoints.
pub(super) async fn prepare(agent: &Arc<Agent>, order: &Order, writing: &Arc<Writing>) -> Outcome<Asked> {
    let docker = docker(agent)?;
    let id = &order.container.id;
    let engine = docker.engine().await?;
    if !engine.is_experimental {
        return Err(docker_errors::explain(501, "", id));
    }
    let container = docker.inspect(id).await?;
    let bundles = docker.bundles(id).await;
    let (version, writing) = (engine.to_string(), Arc::clone(writing));
    let work = blocking(agent, move |_| -> Outcome<PathBuf> {
        let work = writing.work()?;
        let spec = bundles.iter().find_map(|bundle| specification(&bundle.join("config.json")));
        let noted = docker_archive::note(&work, &engine.said, &container, spec.as_deref());
        noted.map_err(|error| Failure::of_disk("the spool cannot be written", error))?;
        Ok(work)
    });
    let work = work.await??;
    Ok(Asked { command: docker.command(id, &work), work, version })
}

/// What the runtime was given.
fn specification(path: &Path) -> Option<Vec<u8>> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        let Some(file) = host_file::open(&doctor::host_root(), path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(docker_archive::MAX_SPEC_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= docker_archive::MAX_SPEC_BYTES))
    };
    read().unwrap_or_else(|error| {
        tracing::warn!("{}: {error}", path.display());
        None
    })
}

/// Docker, if it can be asked.
///
/// # Errors
/// It is not there.
pub(super) fn docker(agent: &Agent) -> Outcome<&Docker> {
    agent.sources.docker.as_ref().filter(|docker| docker.is_there()).ok_or_else(no_such_source)
}

/// Whether the directory that Docker was asked for is whole, as Docker says.
pub(super) async fn is_made(agent: &Arc<Agent>, container: &str, since: Timestamp) -> bool {
    let Ok(docker) = docker(agent) else { return false };
    match docker.has_made(container, since).await {
        Ok(is_made) => is_made,
        Err(failure) => {
            tracing::debug!("late checkpoints of Docker: {failure}");
            false
        }
    }
}

/// Packs what Docker made, with the container's changes.
///
/// # Errors
/// There are no images, no room, or the job was stopped.
pub(super) async fn pack(agent: &Arc<Agent>, order: &Order, job: &Running, writing: &Arc<Writing>) -> Outcome<Written> {
    let pid = processes_of(&order.container.id).await.first().copied();
    let (writing, job) = (Arc::clone(writing), job.clone());
    blocking(agent, move |_| {
        let work = writing.work()?;
        job.step("reads what the container changed on disk");
        let changes = changed(&writing, pid, &job);
        job.check()?;
        job.step("packs and hashes the archive");
        let (mut changes, mut not_read) = (Some(changes), Vec::new());
        let mut pack = |out: &mut dyn io::Write| {
            let changes = changes.take().unwrap_or_else(|| Err("they were packed already".to_owned()));
            not_read = docker_archive::write(&work, changes, out)?;
            Ok(())
        };
        let written = writing.write(&mut pack, &mut |bytes| job.done(bytes))?;
        for what in not_read {
            job.warn(format!("not in the archive: {what}"));
        }
        Ok(written)
    })
    .await?
}

/// The changes as a tar in the spool; an archive without them is better than none.
fn changed(writing: &Writing, pid: Option<u32>, job: &Running) -> Result<Changes, String> {
    let packed = || -> Outcome<Changes> {
        let failed = |error| Failure::internal("what was noted cannot be read", error);
        let noted = docker_archive::noted(&writing.work()?).map_err(failed)?;
        let mut upper = Some(changes::open(noted.get("container").unwrap_or_default(), pid)?);
        let mut changes = Changes::default();
        let mut write = |out: &mut dyn io::Write| {
            let upper = upper.take().ok_or_else(|| io::Error::other("they were packed already"))?;
            changes = changes::write(upper, out)?;
            Ok(())
        };
        writing.write_part(docker_archive::ROOTFS_DIFF, &mut write, &mut |bytes| job.done(bytes))?;
        Ok(changes)
    };
    packed().map_err(|failure| match failure.problem.detail.clone() {
        Some(detail) => format!("{failure}: {detail}"),
        None => failure.to_string(),
    })
}
