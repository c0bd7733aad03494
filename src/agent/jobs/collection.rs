//! A collection: the container's processes by way of /proc, where no checkpoint can be made, or may.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread;

use jiff::Timestamp;

use crate::acquire::manifest::{self, ArchiveFacts, Manifest};
use crate::acquire::wire::{JobKind, SourceKind};
use crate::agent::Agent;
use crate::agent::collect::{self, Held, Issues, Wanted};
use crate::agent::problem::{Failure, Outcome};
use crate::agent::processes;
use crate::agent::spool::archive_name;

use super::checkpoint::{blocking, name_parts, processes_of};
use super::{Order, Running};

/// Makes the archive, and gives its id.
///
/// # Errors
/// What went wrong, and what to do.
pub async fn run(agent: &Arc<Agent>, order: &Order, job: &Running) -> Outcome<String> {
    let container = agent.sources.find(&order.container.id).await?;
    let pids = processes_of(&container.id).await;
    if pids.is_empty() {
        return Err(Failure::new(409, "container-not-running", "the container has no process on this node")
            .hint("in a pod the agent needs hostPID to see the processes of the node"));
    }
    job.step(if order.is_held { "holds the processes and reads them" } else { "reads the processes out of /proc" });
    let (order, job) = (order.clone(), job.clone());
    let work = move |agent: &Arc<Agent>| -> Outcome<String> {
        agent.spool.make_room(processes::resident_bytes(&pids).min(order.memory_limit_bytes))?;
        let writing = agent.spool.begin()?;
        let started = Timestamp::now();
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull => Failure::of_disk("the collection cannot be written", error),
            _ => {
                Failure::new(500, "collection-failed", "the processes could not be collected").detail(error.to_string())
            }
        };
        let file = File::options().write(true).create_new(true).open(writing.path()).map_err(failed)?;
        let mut stopped = None;
        let mut progress = |bytes: u64| {
            let going = if bytes == 0 { job.check() } else { job.done(bytes) };
            let going = going.and_then(|()| agent.spool.make_room(0));
            going.map_err(|failure| {
                stopped = Some(failure);
                io::Error::other("stopped")
            })
        };
        let list = || processes::of_container(&container.id).unwrap_or_default();
        let collect = || {
            let mut issues = Issues::default();
            let held = order.is_held.then(|| Held::new(list, &mut issues));
            // Some may have begun before all were held.
            let pids = if held.is_some() { list() } else { pids };
            let wanted = Wanted {
                container: &container,
                pids: &pids,
                held: held.as_ref(),
                memory_limit_bytes: order.memory_limit_bytes,
                arch: &agent.facts.arch,
                now: started,
            };
            let written = collect::write(&wanted, file, issues, &mut progress);
            drop(held);
            (written, pids)
        };
        // Whatever becomes of a thread, what it holds goes on when it ends.
        let ended = thread::scope(|scope| {
            let thread = thread::Builder::new().name("collect".into()).spawn_scoped(scope, collect)?;
            thread.join().map_err(|_panic| io::Error::other("it came to a bad end"))
        });
        let (written, pids) = ended.map_err(failed)?;
        if let Some(failure) = stopped {
            return Err(failure);
        }
        let not_read = written.map_err(failed)?;
        if !not_read.is_empty() {
            job.warn(format!(
                "not all could be read: {}{}",
                not_read[0],
                if 1 < not_read.len() { " and more; see collection.json in the archive" } else { "" }
            ));
        }
        let written = writing.adopt()?;
        let manifest = Manifest {
            schema: manifest::SCHEMA.to_owned(),
            archive: ArchiveFacts {
                name: archive_name("collection", &name_parts(&container), started),
                kind: JobKind::Collection,
                size_bytes: written.size_bytes,
                sha256: written.sha256,
            },
            container: container.clone(),
            node: agent.facts.clone(),
            requested_by: order.who.clone(),
            reason: order.reason.clone(),
            requested: order.requested,
            started,
            finished: Timestamp::now(),
            source: SourceKind::Proc,
            source_version: None,
            command: format!(
                "read /proc of processes {}{}",
                if order.is_held { "held by ptrace: " } else { "" },
                pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
            ),
            log: Vec::new(),
            warnings: job.warnings(),
        };
        Ok(writing.finish(&manifest, &agent.identity.signing)?.archive.id.clone())
    };
    blocking(agent, work).await?
}
