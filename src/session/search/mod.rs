//! Searches that stay: what was asked, where, what was found, what could not be searched.
//!
//! | file | answers |
//! |---|---|
//! | `query` | what may be asked, and what is wrong with it |
//! | `hits` | hits in order, grouped by process and map or by file |
//! | `run` | the job: hits come in batches while it runs |
//! | `rules` | reading files of YARA rules |
//!
//! # Bounds
//! Of a search [`MAX_HITS`] hits and [`MAX_HIT_BYTES`] bytes of them are kept, the rest is counted; of an archive
//! [`MAX_SESSIONS`] searches are kept, the oldest that has ended goes first.

pub mod hits;
pub mod query;
#[cfg(feature = "yara")]
pub mod rules;
pub(super) mod run;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{JobId, Target};
use crate::base::Pid;
use crate::checkpoint::Checkpoint;
use crate::memory::search::{Scope, Source};
use crate::report::missing::Tally;
use crate::report::search::KeptHit;

pub use hits::{Hits, Owner, OwnerGroup, PartGroup};
pub use query::{Query, QueryKind};

/// Most hits of a search that are kept.
pub const MAX_HITS: usize = 100_000;
/// Most bytes of matches and context that are kept of a search.
pub const MAX_HIT_BYTES: usize = 64 << 20;
/// Most searches that are kept of an archive.
pub const MAX_SESSIONS: usize = 32;

/// Names one search of an archive; never used twice in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SearchId(pub u64);

/// What to search for, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchRequest {
    /// What.
    pub query: Query,
    /// Where.
    pub scope: Scope,
}

impl SearchRequest {
    /// What is wrong with it; `None` when it can be run.
    pub fn problem(&self, checkpoint: &Checkpoint) -> Option<String> {
        if let Some(why) = self.query.problem(checkpoint) {
            return Some(why);
        }
        let scope = &self.scope;
        let is_memory = scope.sources.is_empty() || scope.sources.contains(&Source::Memory);
        if !scope.vmas.is_all() && !is_memory {
            return Some("map, permissions and kinds choose memory, and memory is not among the sources".into());
        }
        let perms = scope.vmas.perms.as_deref().unwrap_or_default();
        let is_wrong = |letter: char| !matches!(letter, 'r' | 'w' | 'x' | 's' | 'p' | '-');
        perms.chars().find(|letter| is_wrong(*letter)).map(|letter| {
            format!("{letter}: not a permission; give letters that must be there, or all four as in r-xp")
        })
    }

    /// Where it searches, in words.
    pub fn place(&self) -> String {
        let scope = &self.scope;
        let mut out = match scope.pid {
            Some(pid) => format!("process {pid}"),
            None => "all processes".to_owned(),
        };
        if !scope.sources.is_empty() {
            let words: Vec<_> = scope.sources.iter().map(|source| source.word()).collect();
            out.push_str(&format!(", {}", words.join(", ")));
        }
        let vmas = &scope.vmas;
        let map = vmas.map.as_ref().map(|map| format!("map {map}"));
        let parts = map.into_iter().chain(vmas.perms.clone()).chain(vmas.kinds.iter().cloned());
        parts.for_each(|part| out.push_str(&format!(", {part}")));
        out
    }
}

/// How far a search is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchState {
    /// Its job runs.
    Running,
    /// All was searched that is there.
    Done,
    /// It was told to stop; what it had found is there.
    Cancelled,
    /// It could not; why.
    Failed(String),
}

/// What a running search has to say.
#[derive(Clone, Debug, Default)]
pub struct SearchNews {
    /// Hits since the last news.
    pub hits: Vec<KeptHit>,
    /// All hits so far, also those that are not kept.
    pub total: u64,
    /// All that could not be searched so far.
    pub skipped: Tally,
    /// What the compiler of rules had to say.
    pub notes: Vec<String>,
}

/// One search.
#[derive(Clone, Debug)]
pub struct SearchSession {
    pub(super) id: SearchId,
    pub(super) request: SearchRequest,
    pub(super) job: JobId,
    pub(super) state: SearchState,
    pub(super) hits: Hits,
    pub(super) total: u64,
    pub(super) skipped: Tally,
    pub(super) notes: Vec<String>,
    pub(super) current: Option<usize>,
    pub(super) filter: String,
    pub(super) started: Instant,
    pub(super) first_hit: Option<Duration>,
    pub(super) took: Option<Duration>,
}

impl SearchSession {
    pub(super) fn new(id: SearchId, request: SearchRequest, job: JobId) -> SearchSession {
        SearchSession {
            id,
            request,
            job,
            state: SearchState::Running,
            hits: Hits::default(),
            total: 0,
            skipped: Tally::default(),
            notes: Vec::new(),
            current: None,
            filter: String::new(),
            started: Instant::now(),
            first_hit: None,
            took: None,
        }
    }

    /// Its name.
    pub fn id(&self) -> SearchId {
        self.id
    }

    /// What was asked.
    pub fn request(&self) -> &SearchRequest {
        &self.request
    }

    /// The job that runs it, or has run it last.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// How far it is.
    pub fn state(&self) -> &SearchState {
        &self.state
    }

    /// Whether its job runs.
    pub fn is_running(&self) -> bool {
        self.state == SearchState::Running
    }

    /// What is kept of what was found.
    pub fn hits(&self) -> &Hits {
        &self.hits
    }

    /// How much was found, also what is not kept.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What could not be searched.
    pub fn skipped(&self) -> &Tally {
        &self.skipped
    }

    /// What the compiler of rules had to say.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The hit that the analyst is at, by its number.
    pub fn current(&self) -> Option<usize> {
        self.current
    }

    /// The hit that the analyst is at.
    pub fn current_hit(&self) -> Option<&KeptHit> {
        self.hits.get(self.current?)
    }

    /// What hits must have in them to be shown, as it was typed.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// When the first hit was there, counted from the start.
    pub fn first_hit(&self) -> Option<Duration> {
        self.first_hit
    }

    /// How long it took.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// Whether a filter, lower case, lets a hit through: it looks at the match, the name of map or file and of the rule.
    pub fn matches(&self, hit: &KeptHit, needle: &str) -> bool {
        let has = |text: &str| text.to_lowercase().contains(needle);
        let label = hit.label.as_ref();
        needle.is_empty()
            || has(&self.request.query.text_of(hit))
            || has(&hit.name.to_lossless())
            || label.is_some_and(|label| has(&label.rule) || label.note.as_deref().is_some_and(has))
            || hit.vaddr.is_some_and(|vaddr| has(&vaddr.to_string()))
    }

    /// The next hit from the one the analyst is at, or the one before, that the filter lets through; behind the last the
    /// first follows.
    pub(super) fn neighbour(&self, is_forward: bool) -> Option<usize> {
        let len = self.hits.len();
        let needle = self.filter.to_lowercase();
        let start = match (self.current, is_forward) {
            (Some(at), true) => at + 1,
            (Some(at), false) => at + len - 1,
            (None, true) => 0,
            (None, false) => len.checked_sub(1)?,
        };
        let nth = |nr: usize| if is_forward { (start + nr) % len } else { (start + len - nr) % len };
        (0..len).map(nth).find(|at| self.hits.get(*at).is_some_and(|hit| self.matches(hit, &needle)))
    }
}

/// What is known of the files of rules that were chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RulesState {
    /// They were not looked at.
    #[default]
    Unchecked,
    /// They compile.
    Right {
        /// Rules in them.
        nr_rules: usize,
        /// What the compiler had to say.
        warnings: Vec<String>,
    },
    /// One cannot be read, or a rule is wrong; the message has its place.
    Wrong(String),
}

/// The searches of an archive, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Searches {
    pub(super) sessions: Vec<SearchSession>,
    pub(super) shown: Option<SearchId>,
    pub(super) rules: Vec<PathBuf>,
    pub(super) rules_state: RulesState,
    /// The job that looks at them.
    pub(super) rules_job: Option<JobId>,
}

impl Searches {
    /// All, the oldest first.
    pub fn sessions(&self) -> &[SearchSession] {
        &self.sessions
    }

    /// The one of this name, if it was not closed.
    pub fn get(&self, id: SearchId) -> Option<&SearchSession> {
        self.sessions.iter().find(|session| session.id == id)
    }

    /// The one whose hits are shown and walked.
    pub fn shown(&self) -> Option<&SearchSession> {
        self.shown.and_then(|id| self.get(id))
    }

    /// Files of YARA rules that were chosen last.
    pub fn rules(&self) -> &[PathBuf] {
        &self.rules
    }

    /// Whether these compile.
    pub fn rules_state(&self) -> &RulesState {
        &self.rules_state
    }

    /// Whether they are being looked at.
    pub fn is_checking_rules(&self) -> bool {
        self.rules_job.is_some()
    }

    /// The hit that the analyst is at, if it lies in the memory of a process.
    pub fn current_in(&self, pid: Pid) -> Option<&KeptHit> {
        self.shown()?.current_hit().filter(|hit| hit.vaddr.is_some() && hit.pid == Some(pid))
    }

    pub(super) fn get_mut(&mut self, id: SearchId) -> Option<&mut SearchSession> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }
}

/// Where a hit is shown.
pub fn target_of(checkpoint: &Checkpoint, hit: &KeptHit) -> Option<Target> {
    let of_place = || Target::of_place(checkpoint, hit.place.as_ref()?);
    match hit.source {
        Source::Memory => match (hit.pid?, hit.vaddr) {
            (pid, Some(addr)) => Some(Target::Address { pid, addr }),
            (pid, None) => Some(Target::process(pid)),
        },
        Source::Pipe | Source::Socket | Source::Image => of_place(),
        Source::Metadata => Some(Target::Document(hit.name.to_lossless().into_owned())),
        Source::Ghost | Source::Tmpfs | Source::Memfd | Source::Shm | Source::Rootfs => {
            let is_listed = checkpoint.recovered.iter().any(|file| file.path == hit.name)
                || checkpoint.rootfs.entries.iter().any(|entry| entry.path == hit.name);
            if is_listed { Some(Target::RootfsPath(hit.name.to_lossless().into_owned())) } else { of_place() }
        }
    }
}
