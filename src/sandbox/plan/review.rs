//! What the analyst should know before a restore, all together.

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::decode::Arch;
use crate::evidence::BaseImage;

use super::{Concern, Dangers, NeededFiles, Plan, Processor, concerns, lint, needed_files};

/// What attacks a restorer, what is missing, and what will be other than it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// What attacks a restorer; each must be allowed by its id before anything runs.
    pub dangers: Dangers,
    /// Files that the processes need.
    pub files: NeededFiles,
    /// What will probably fail, and what will be other than it was; the worst first.
    pub concerns: Vec<Concern>,
}

/// Looks through a checkpoint and the image it started from, for a plan and a machine of the architecture `host`.
pub fn review(
    plan: &Plan,
    checkpoint: &Checkpoint,
    base: Option<&BaseImage>,
    processor: Processor,
    host: Arch,
) -> Review {
    let files = needed_files(checkpoint, base);
    let concerns = concerns(checkpoint, &files, plan.restore.tcp, processor, host);
    Review { dangers: lint(checkpoint), files, concerns }
}
