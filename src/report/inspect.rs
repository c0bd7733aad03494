//! The document of `inspect --json`.

use serde::{Serialize, Serializer};

use crate::base::Pid;
use crate::checkpoint::Checkpoint;

use super::container::{ContainerReport, EvidenceReport, SizesReport, StatsReport};
use super::process::ProcessReport;
use super::system::{
    GapReport, IssueReport, LockReport, MountReport, NamespaceReport, NetNamespaceReport, RootfsReport,
    SeccompFilterReport, SocketReport,
};
use super::value::Each;

/// Version of the document.
pub const SCHEMA: &str = "cryoscope.inspect/1";

/// All that a checkpoint tells, for programs.
///
/// Every key is always there. Borrows from the checkpoint; what is long is made while it is written.
#[derive(Debug)]
pub struct Inspect<'a> {
    checkpoint: &'a Checkpoint,
    evidence: EvidenceReport,
    only: Option<Pid>,
}

impl<'a> Inspect<'a> {
    /// The document of a checkpoint; `sha256` of the evidence where it was asked for.
    pub fn from_checkpoint(checkpoint: &'a Checkpoint, sha256: Option<&[u8]>) -> Inspect<'a> {
        Inspect { checkpoint, evidence: EvidenceReport::new(checkpoint, sha256), only: None }
    }

    /// Says how the evidence came from a node.
    #[must_use]
    pub fn with_custody(mut self, custody: Option<serde_json::Value>) -> Inspect<'a> {
        self.evidence.custody = custody;
        self
    }

    /// Leaves only this process in `processes`.
    #[must_use]
    pub fn only(self, pid: Option<Pid>) -> Inspect<'a> {
        Inspect { only: pid, ..self }
    }
}

impl Serialize for Inspect<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let checkpoint = self.checkpoint;
        let processes = || {
            let kept = checkpoint.processes.iter().filter(|process| self.only.is_none_or(|pid| pid == process.pid));
            kept.map(|process| ProcessReport::new(checkpoint, process))
        };
        let mut document = serializer.serialize_struct("Inspect", 16)?;
        document.serialize_field("schema", SCHEMA)?;
        document.serialize_field("evidence", &self.evidence)?;
        document.serialize_field("container", &ContainerReport::new(&checkpoint.container))?;
        document.serialize_field("stats", &StatsReport::new(checkpoint.stats.as_ref()))?;
        document.serialize_field("sizes", &SizesReport::new(&checkpoint.sizes))?;
        document.serialize_field("processes", &Each(processes))?;
        document.serialize_field("sockets", &Each(|| checkpoint.sockets.iter().map(SocketReport::new)))?;
        document.serialize_field("mounts", &Each(|| checkpoint.mounts.iter().map(MountReport::new)))?;
        document.serialize_field("namespaces", &Each(|| checkpoint.namespaces.iter().map(NamespaceReport::new)))?;
        document
            .serialize_field("net_namespaces", &Each(|| checkpoint.networks.iter().map(NetNamespaceReport::new)))?;
        document.serialize_field("locks", &Each(|| checkpoint.locks.iter().map(LockReport::new)))?;
        let filters = || checkpoint.seccomp_filters.iter().enumerate().map(SeccompFilterReport::new);
        document.serialize_field("seccomp", &Each(filters))?;
        document.serialize_field("rootfs_diff", &RootfsReport::new(&checkpoint.rootfs))?;
        document.serialize_field("coverage", &Each(|| checkpoint.coverage.iter().map(GapReport::new)))?;
        document.serialize_field("issues", &Each(|| checkpoint.issues.iter().map(IssueReport::new)))?;
        document.end()
    }
}
