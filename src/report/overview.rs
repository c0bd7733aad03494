//! One archive in a row: the documents of `show --json` and `list --json`.

use serde::Serialize;

use crate::checkpoint::Checkpoint;

use super::container::{EvidenceReport, SizesReport};

/// One archive, in short.
#[derive(Debug, Serialize)]
pub struct Overview {
    /// The file.
    pub evidence: EvidenceReport,
    /// Short name of the container.
    pub container: Option<String>,
    /// Image reference.
    pub image: Option<String>,
    /// Engine's id, whole.
    pub id: Option<String>,
    /// Runtime.
    pub runtime: Option<String>,
    /// RFC 3339.
    pub created: Option<String>,
    /// RFC 3339.
    pub checkpointed: Option<String>,
    /// Engine.
    pub engine: Option<&'static str>,
    /// Kubernetes pod.
    pub pod: Option<String>,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Number of processes, zombies included; `null` where only the beginning was read.
    pub processes: Option<usize>,
    /// Bytes of the parts; `null` where only the beginning was read.
    pub sizes: Option<SizesReport>,
    /// How many issues `inspect` lists; `null` where only the beginning was read.
    pub issues: Option<usize>,
}

impl Overview {
    /// The row of a checkpoint; `sha256` of the evidence where it was asked for.
    pub fn from_checkpoint(checkpoint: &Checkpoint, sha256: Option<&[u8]>) -> Overview {
        let container = &checkpoint.container;
        Overview {
            evidence: EvidenceReport::new(checkpoint, sha256),
            container: container.name.clone(),
            image: container.image.clone(),
            id: container.id.clone(),
            runtime: container.runtime.clone(),
            created: container.created.clone(),
            checkpointed: container.checkpointed.clone(),
            engine: container.engine,
            pod: container.pod.clone(),
            namespace: container.namespace.clone(),
            processes: Some(checkpoint.processes.len()),
            sizes: Some(SizesReport::new(&checkpoint.sizes)),
            issues: Some(checkpoint.issues.len()),
        }
    }

    /// The row of an archive of which only the beginning was read: what would be counted is not known.
    #[must_use]
    pub fn of_beginning(self, size_bytes: u64) -> Overview {
        let evidence = EvidenceReport { size_bytes, members: None, ..self.evidence };
        Overview { evidence, processes: None, sizes: None, issues: None, ..self }
    }
}
