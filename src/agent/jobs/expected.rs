//! What a job waits for, noted on disk: an agent that ended meanwhile claims it after its next start.
//!
//! ```text
//! STATE/jobs/<id>.json   the job and, once a runtime was asked, the archive that it may still write; removed when the job is over
//! ```
//! A runtime does not stop because the agent ended: the kubelet's archive may be whole already, CRI-O goes on in any case. So the
//! archive is looked for as long as it may come: until its time is over, or the container goes on without one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use crate::acquire::wire::{Job, SourceKind};
use crate::agent::problem::Outcome;
use crate::agent::sources::late;
use crate::agent::spool::Writing;
use crate::agent::{Agent, disk, processes};

use super::checkpoint::processes_of;
use super::{Order, Running, docker};

/// A container of containerd that stays frozen makes no archive any more; the archive may have been there already.
const SHORT: Duration = Duration::from_secs(3);
/// How long an archive is waited for whose container goes on: both runtimes write it before that.
const GRACE: Duration = Duration::from_secs(20);

/// A job, as it is noted.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Noted {
    #[serde(flatten)]
    pub(super) job: Job,
    #[serde(default)]
    pub(super) expected: Option<Expected>,
}

impl Noted {
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        disk::write(file, &serde_json::to_vec(self)?)
    }
}

/// An archive that a runtime may still write.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Expected {
    /// What was ordered, the container as it was found then.
    pub order: Order,
    /// Who was asked.
    pub source: SourceKind,
    /// When.
    pub since: Timestamp,
    /// It may come until then.
    pub until: Timestamp,
    /// What was sent.
    pub command: String,
    /// Of the runtime.
    pub version: Option<String>,
    /// Id that the archive is to have; the runtime of a CRI socket writes it into the spool itself, Docker what it is packed of.
    pub archive: String,
}

/// An archive that came late.
#[derive(Debug)]
pub(super) enum Late {
    /// In the kubelet's directory, by its name.
    OfKubelet(String, std::fs::File),
    /// Where it was asked for, in the spool.
    InSpool,
    /// A directory in the spool that is to be packed.
    ToPack,
}

impl Expected {
    /// Waits for the archive; none when there is not going to be one.
    ///
    /// # Errors
    /// The job was stopped, or a name of the container cannot be one.
    pub(super) async fn wait(
        &self,
        agent: &Arc<Agent>,
        job: &Running,
        writing: &Writing,
        until: Timestamp,
    ) -> Outcome<Option<Late>> {
        let container = &self.order.container;
        let mut going_on = Duration::ZERO;
        loop {
            let found = match (self.source, &agent.sources.kubelet) {
                (SourceKind::Kubelet, Some(kubelet)) => {
                    late::of_kubelet(kubelet.checkpoints(), container, self.since, SHORT)
                        .await?
                        .map(|(name, file)| Late::OfKubelet(name, file))
                }
                (SourceKind::Docker, _) => {
                    let is_made = docker::is_made(agent, &container.id, self.since).await;
                    sleep(if is_made { Duration::ZERO } else { SHORT }).await;
                    is_made.then_some(Late::ToPack)
                }
                (SourceKind::Cri, _) => late::at(&writing.path(), SHORT).await.then_some(Late::InSpool),
                _ => None,
            };
            let is_over = container.engine == "containerd" || until <= Timestamp::now() || GRACE <= going_on;
            if found.is_some() || is_over {
                return Ok(found);
            }
            job.check()?;
            let pids = processes_of(&container.id).await;
            let is_frozen = pids.iter().any(|pid| processes::is_frozen(*pid) == Some(true));
            going_on = if pids.is_empty() || is_frozen { Duration::ZERO } else { going_on + SHORT };
        }
    }
}
