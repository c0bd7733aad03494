//! The job of a search. Hits are told in batches: the first at once, then every 30 ms or 256 hits.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::hits::len_of;
use super::{MAX_HIT_BYTES, MAX_HITS, QueryKind, RulesState, SearchNews, SearchRequest};
use crate::base::{Cancelled, Progress};
use crate::jobs::JobCtx;
use crate::memory::Memory;
#[cfg(feature = "yara")]
use crate::memory::search::yara;
use crate::memory::search::{Hit, SearchSink, Skipped, search};
use crate::report::search::{HitLine, KeptHit, Label};
use crate::session::export::create;

/// How long hits may wait.
const INTERVAL: Duration = Duration::from_millis(30);
/// How many hits may wait.
const MAX_WAITING: usize = 256;
/// Bytes of context on each side.
const CONTEXT: usize = 32;

/// Searches, and tells of what it finds.
pub(in crate::session) fn run(
    memory: &Memory,
    request: &SearchRequest,
    tell: &(dyn Fn(SearchNews) + Sync),
    ctx: &JobCtx,
) -> anyhow::Result<()> {
    let teller = Teller { waiting: Mutex::default(), tell, ctx };
    ctx.stage("compiling");
    let ended = run_into(memory, request, &teller).and_then(|()| Ok(ctx.check()?));
    // Also of a search that was told to stop all is told that it has found.
    teller.lock().tell(tell);
    ended
}

fn run_into(memory: &Memory, request: &SearchRequest, teller: &Teller<'_>) -> anyhow::Result<()> {
    let query = &request.query;
    let mut sink = Sink { teller, is_secrets: query.kind == QueryKind::Secrets };
    if query.kind != QueryKind::Yara {
        let matcher = query.matcher(memory.checkpoint())?;
        return Ok(search(memory, &request.scope, &matcher, teller, &mut sink)?);
    }
    #[cfg(feature = "yara")]
    {
        let rules = super::rules::read(&query.rules)?;
        teller.lock().news.notes = rules.warnings().to_vec();
        Ok(yara::scan(memory, &request.scope, &rules, teller, &mut sink)?)
    }
    #[cfg(not(feature = "yara"))]
    anyhow::bail!("this program was built without YARA")
}

/// Whether files of rules compile.
pub(in crate::session) fn check_rules(paths: &[std::path::PathBuf]) -> RulesState {
    #[cfg(feature = "yara")]
    return match super::rules::read(paths) {
        Ok(rules) => RulesState::Right { nr_rules: rules.infos().len(), warnings: rules.warnings().to_vec() },
        Err(why) => RulesState::Wrong(format!("{why:#}")),
    };
    #[cfg(not(feature = "yara"))]
    RulesState::Wrong(format!("{} files, and this program was built without YARA", paths.len()))
}

/// What waits to be told.
#[derive(Default)]
struct Waiting {
    news: SearchNews,
    is_changed: bool,
    told: Option<Instant>,
    /// Hits that were told or wait, and their bytes.
    nr_kept: usize,
    kept_bytes: usize,
}

impl Waiting {
    fn is_due(&self) -> bool {
        self.is_changed
            && (self.news.hits.len() >= MAX_WAITING || self.told.is_none_or(|told| told.elapsed() >= INTERVAL))
    }

    fn tell(&mut self, tell: &(dyn Fn(SearchNews) + Sync)) {
        let hits = std::mem::take(&mut self.news.hits);
        tell(SearchNews { hits, ..self.news.clone() });
        self.is_changed = false;
        self.told = Some(Instant::now());
    }

    fn add(&mut self, hit: &Hit<'_>, label: impl FnOnce() -> Option<Label>) {
        self.news.total = self.news.total.saturating_add(1);
        self.is_changed = true;
        if self.nr_kept >= MAX_HITS || self.kept_bytes > MAX_HIT_BYTES {
            return;
        }
        let kept = KeptHit::new(hit, CONTEXT, label());
        self.nr_kept += 1;
        self.kept_bytes = self.kept_bytes.saturating_add(len_of(&kept));
        self.news.hits.push(kept);
    }
}

/// Progress that also tells of hits that have waited long enough.
struct Teller<'t> {
    waiting: Mutex<Waiting>,
    tell: &'t (dyn Fn(SearchNews) + Sync),
    ctx: &'t JobCtx,
}

impl Teller<'_> {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, hit: &Hit<'_>, label: impl FnOnce() -> Option<Label>) -> ControlFlow<()> {
        let mut waiting = self.lock();
        waiting.add(hit, label);
        if waiting.is_due() {
            waiting.tell(self.tell);
        }
        // A search with very many hits asks for progress between units only.
        if self.ctx.check().is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn skipped(&self, skipped: &Skipped<'_>) {
        let mut waiting = self.lock();
        waiting.news.skipped.add(skipped);
        waiting.is_changed = true;
    }
}

impl Progress for Teller<'_> {
    fn step(&self, done: u64, total: Option<u64>) -> Result<(), Cancelled> {
        self.ctx.step(done, total)?;
        if let Ok(mut waiting) = self.waiting.try_lock()
            && waiting.is_due()
        {
            waiting.tell(self.tell);
        }
        Ok(())
    }

    fn stage(&self, name: &'static str) {
        self.ctx.stage(name);
    }
}

struct Sink<'s, 't> {
    teller: &'s Teller<'t>,
    is_secrets: bool,
}

impl SearchSink for Sink<'_, '_> {
    fn found(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        self.teller.found(hit, || if self.is_secrets { Label::of_secret(hit) } else { None })
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        self.teller.skipped(skipped);
    }
}

#[cfg(feature = "yara")]
impl yara::YaraSink for Sink<'_, '_> {
    fn found(&mut self, found: &yara::YaraHit<'_>) -> ControlFlow<()> {
        let pattern = found.pattern.map(str::to_owned);
        self.teller.found(&found.hit, || Some(Label { rule: found.rule.name.clone(), pattern, note: None }))
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        self.teller.skipped(skipped);
    }
}

/// Writes hits as `search --json` does, one line each; how many bytes.
pub(in crate::session) fn write(
    path: &Path,
    evidence: &[PathBuf],
    hits: &[Arc<KeptHit>],
    ctx: &JobCtx,
) -> anyhow::Result<u64> {
    ctx.stage("writing");
    let named = || format!("cannot write {}", path.display());
    let mut file = std::io::BufWriter::new(create(path, true, evidence)?);
    let mut len_bytes = 0u64;
    for (nr, hit) in hits.iter().enumerate() {
        ctx.step(nr as u64, Some(hits.len() as u64))?;
        let mut line = serde_json::to_vec(&HitLine::of(hit))?;
        line.push(b'\n');
        len_bytes = len_bytes.saturating_add(line.len() as u64);
        file.write_all(&line).with_context(named)?;
    }
    file.flush().with_context(named)?;
    Ok(len_bytes)
}
