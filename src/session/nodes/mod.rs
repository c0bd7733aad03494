//! Nodes with an agent: which there are, what is on them, and what is fetched from them.
//!
//! | file | answers |
//! |---|---|
//! | `work` | the jobs: listing, pairing, asking, acquiring |

pub(super) mod work;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{JobEnd, JobId};
use crate::acquire::PullControl;
use crate::acquire::freeze::Method;
use crate::acquire::wire::{Archives, Containers, Node};

/// All that is known of nodes.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    pub(super) list: ListState,
    pub(super) rows: Vec<NodeRow>,
    pub(super) selected: Option<String>,
    /// All are shown as one.
    pub(super) shows_all: bool,
    pub(super) pairing: Pairing,
    pub(super) acquisitions: Vec<Acquisition>,
    /// What is acquired next from each node; none is empty.
    pub(super) waiting: BTreeMap<String, VecDeque<Order>>,
}

/// An archive to be acquired with others: one after another from a node, from all nodes at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// From which node.
    pub node: String,
    /// Of which container, as people call it.
    pub called: String,
    /// What of it.
    pub wanted: Wanted,
}

/// Whether the user's nodes were listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListState {
    /// Nobody looked.
    #[default]
    Unknown,
    /// A job looks.
    Looking(JobId),
    /// They are known.
    Known,
    /// They cannot be listed; why.
    Failed(String),
}

/// How pairing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pairing {
    /// It does not.
    #[default]
    Idle,
    /// A job pairs.
    Running(JobId),
    /// It did not work; why, and what to do.
    Failed(String),
}

/// A node that this workstation is paired with.
#[derive(Clone, Debug)]
pub struct NodeRow {
    /// What the analyst calls it.
    pub name: String,
    /// Where its agent is asked.
    pub address: String,
    /// SHA-256 of its authority, in hex.
    pub fingerprint: String,
    /// Since when.
    pub paired: Timestamp,
    /// Its file cannot be read; why.
    pub problem: Option<String>,
    /// What it says.
    pub state: NodeState,
}

/// What a node says.
#[derive(Clone, Debug, Default)]
pub enum NodeState {
    /// Nobody asked.
    #[default]
    Unknown,
    /// A job asks; what it said before.
    Asking(JobId, Option<Arc<Told>>),
    /// This.
    Told(Arc<Told>),
    /// Nothing; why.
    Failed(String),
}

/// What a node has said.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The node and its sources.
    pub node: Node,
    /// What runs there.
    pub containers: Containers,
    /// What waits there.
    pub archives: Archives,
}

/// An archive on its way here.
#[derive(Clone, Debug)]
pub struct Acquisition {
    /// The job.
    pub job: JobId,
    /// From which node.
    pub node: String,
    /// Of which container, as people call it.
    pub called: String,
    /// What was asked for.
    pub wanted: Wanted,
    /// Where it stands, in words.
    pub step: String,
    /// Lines that broke, warnings of the node.
    pub notes: Vec<String>,
    /// Its rate, and how it is held.
    pub control: Arc<PullControl>,
    /// Whether it is opened when it is here, and shown before: not in a series, nor among many, nor when that early look was
    /// closed.
    pub is_shown: bool,
    /// The next of its node's begins when this one has ended.
    pub is_of_many: bool,
    /// How it ended.
    pub end: Option<AcquisitionEnd>,
}

/// How an acquisition ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcquisitionEnd {
    /// The archive is here, whole and verified.
    Here(PathBuf),
    /// It is not; why.
    Failed(String),
    /// The analyst stopped it.
    Cancelled,
}

/// What is to be acquired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A container is frozen first.
    Freeze {
        /// Its id.
        container: String,
        /// How its state is taken.
        method: Method,
        /// For the manifest and the node's audit log.
        reason: Option<String>,
        /// One of several.
        series: Option<Series>,
    },
    /// An archive that is there.
    Fetch {
        /// Its id on the node.
        archive: String,
    },
}

/// What can be done with an archive that waits on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stays when room is needed there, or need not any more.
    Keep(bool),
    /// It goes.
    Delete,
}

/// Checkpoints of one container, one after another. Each is an acquisition of its own, and the next begins when one has
/// ended, be it badly; stopping one ends the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Which one this is, from 1.
    pub number: u32,
    /// How many are wanted.
    pub of: u32,
    /// From the beginning of one to that of the next, at least.
    pub every: Duration,
    /// When this one begins.
    pub due: Instant,
}

impl Series {
    /// The first of so many.
    pub fn new(of: u32, every: Duration) -> Series {
        Series { number: 1, of, every, due: Instant::now() }
    }

    /// The one behind this one; `None` behind the last.
    fn next(self) -> Option<Series> {
        let due = self.due.checked_add(self.every)?.max(Instant::now());
        (self.number < self.of).then(|| Series { number: self.number.saturating_add(1), due, ..self })
    }
}

impl Wanted {
    /// Which of a series it is.
    pub fn series(&self) -> Option<Series> {
        match self {
            Wanted::Freeze { series, .. } => *series,
            Wanted::Fetch { .. } => None,
        }
    }

    /// What is wanted when this has come.
    pub(super) fn next(&self) -> Option<Wanted> {
        let next = self.series()?.next()?;
        match self.clone() {
            Wanted::Freeze { container, method, reason, .. } => {
                Some(Wanted::Freeze { container, method, reason, series: Some(next) })
            }
            Wanted::Fetch { .. } => None,
        }
    }
}

impl Nodes {
    /// Whether they were listed.
    pub fn list(&self) -> &ListState {
        &self.list
    }

    /// Those there are, by name.
    pub fn rows(&self) -> &[NodeRow] {
        &self.rows
    }

    /// The one that is shown.
    pub fn selected(&self) -> Option<&NodeRow> {
        self.rows.iter().find(|row| !self.shows_all && Some(&row.name) == self.selected.as_ref())
    }

    /// Whether all are shown as one.
    pub fn shows_all(&self) -> bool {
        self.shows_all
    }

    /// Nodes from which more is to be acquired, and how much.
    pub fn waiting(&self) -> impl Iterator<Item = (&str, usize)> {
        self.waiting.iter().map(|(node, orders)| (node.as_str(), orders.len()))
    }

    /// How pairing goes.
    pub fn pairing(&self) -> &Pairing {
        &self.pairing
    }

    /// Archives on their way and those that came, the oldest first.
    pub fn acquisitions(&self) -> &[Acquisition] {
        &self.acquisitions
    }

    pub(super) fn row_mut(&mut self, name: &str) -> Option<&mut NodeRow> {
        self.rows.iter_mut().find(|row| row.name == name)
    }

    pub(super) fn acquisition_mut(&mut self, job: JobId) -> Option<&mut Acquisition> {
        self.acquisitions.iter_mut().find(|acquisition| acquisition.job == job)
    }

    /// A job has ended; whether the panel says how.
    pub(super) fn job_ended(&mut self, id: JobId, end: &JobEnd) -> bool {
        let why = match end {
            JobEnd::Failed(why) => Some(why.clone()),
            JobEnd::Done | JobEnd::Cancelled => None,
        };
        if self.list == ListState::Looking(id) {
            self.list = why.map_or(ListState::Unknown, ListState::Failed);
            return true;
        }
        if self.pairing == Pairing::Running(id) {
            self.pairing = why.map_or(Pairing::Idle, Pairing::Failed);
            return true;
        }
        for row in &mut self.rows {
            if let NodeState::Asking(job, before) = &row.state
                && *job == id
            {
                row.state = match (why, before) {
                    (Some(why), _) => NodeState::Failed(why),
                    (None, Some(told)) => NodeState::Told(Arc::clone(told)),
                    (None, None) => NodeState::Unknown,
                };
                return true;
            }
        }
        let Some(acquisition) = self.acquisition_mut(id) else { return false };
        if acquisition.end.is_none() {
            acquisition.end = Some(why.map_or(AcquisitionEnd::Cancelled, AcquisitionEnd::Failed));
        }
        // What failed is worth a message wherever the analyst is.
        !matches!(end, JobEnd::Failed(_))
    }
}

impl NodeState {
    /// The last that it said.
    pub fn told(&self) -> Option<&Told> {
        match self {
            NodeState::Told(told) | NodeState::Asking(_, Some(told)) => Some(told),
            _ => None,
        }
    }
}
