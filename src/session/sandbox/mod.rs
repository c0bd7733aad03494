//! Restoring an archive in the sandbox: what is ready, what the plan says, how a run goes.
//!
//! | file | answers |
//! |---|---|
//! | `readiness` | whether the bundle, QEMU and the guest's program are there |
//! | `run` | what a run has told so far |
//! | `seen` | what the processes did in it: calls, connections, files |
//! | `work` | the jobs: looking, installing, planning, running |

mod readiness;
mod run;
mod seen;
pub(super) mod work;

use std::sync::Arc;

use crate::sandbox::backend::Backend;
use crate::sandbox::plan::{Isolation, NetworkMode, Plan, Review};

use super::JobId;
use crate::base::Pid;

pub use readiness::{Parts, Readiness};
pub use run::{Ended, Line, LineKind, MAX_LINES, Phase, SandboxRun};
pub use seen::{MAX_SEEN, Reached, Seen};

/// What the sandbox of one archive is at.
#[derive(Clone, Debug, Default)]
pub struct Sandbox {
    pub(super) plan: PlanState,
    pub(super) wishes: Wishes,
    pub(super) run: Option<Box<SandboxRun>>,
}

impl Sandbox {
    /// What a restore would do.
    pub fn plan(&self) -> &PlanState {
        &self.plan
    }

    /// What the analyst has set.
    pub fn wishes(&self) -> Wishes {
        self.wishes
    }

    /// The last run, or the one that is under way.
    pub fn run(&self) -> Option<&SandboxRun> {
        self.run.as_deref()
    }

    /// Whether a machine runs, or is being made.
    pub fn is_running(&self) -> bool {
        self.run().is_some_and(SandboxRun::is_running)
    }

    /// Jobs that work for it.
    pub(super) fn jobs(&self) -> impl Iterator<Item = JobId> {
        let making = match self.plan {
            PlanState::Making(job) => Some(job),
            _ => None,
        };
        making.into_iter().chain(self.run().filter(|run| run.is_running()).map(|run| run.job))
    }
}

/// What the analyst sets for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// What the processes are restored in.
    pub backend: Backend,
    /// Seconds that the processes may go on.
    pub seconds: u32,
    /// Memory of the machine in MiB.
    pub memory_mib: u32,
    /// Processors of the machine.
    pub cpus: u32,
    /// Whether a new checkpoint is taken when the time is over, and opened.
    pub freezes_again: bool,
    /// What the processes can reach.
    pub network: NetworkMode,
    /// Whose system calls are told.
    pub traced: Traced,
    /// Whether the processes stand still at first.
    pub starts_stopped: bool,
}

impl Default for Wishes {
    fn default() -> Wishes {
        Wishes {
            backend: Backend::default(),
            seconds: 60,
            memory_mib: 1024,
            cpus: 2,
            freezes_again: false,
            network: NetworkMode::None,
            traced: Traced::Nobody,
            starts_stopped: false,
        }
    }
}

/// Whose system calls are told. In a machine attempted connections are told of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Traced {
    /// Of no process.
    #[default]
    Nobody,
    /// Of this one, and of what it starts.
    Process(Pid),
    /// Of every one.
    All,
}

/// What is known of the plan.
#[derive(Clone, Debug, Default)]
pub enum PlanState {
    /// Nobody asked, or what it depends on has changed.
    #[default]
    Unknown,
    /// A job makes it.
    Making(JobId),
    /// It is there.
    Made(Arc<Planned>),
    /// It could not be made; why.
    Failed(String),
}

/// The plan of a restore, and what speaks against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// What will be done.
    pub plan: Plan,
    /// What to know before.
    pub review: Review,
    /// What it would run in.
    pub backend: Backend,
}

impl Planned {
    /// Whether a danger is not allowed.
    pub fn is_refused(&self) -> bool {
        self.review.dangers.is_refused(self.isolation())
    }

    /// What would stand between the processes and this machine.
    pub fn isolation(&self) -> Isolation {
        self.backend.isolation()
    }
}
