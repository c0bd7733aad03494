//! Runs a search: units in parallel, hits in order.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use crate::base::{Cancelled, Progress};
use crate::memory::{Memory, Missing};

use super::hit::{Hit, SearchSink};
use super::matcher::Matcher;
use super::plan::{Planned, Planner, Unit, UnitBytes};
use super::scope::Scope;
use super::space::{Part, Space};
use super::targets::{self, Opened, Target, Unreadable};

/// Most hits of one pattern and unit that wait for their turn.
const MAX_WAITING_HITS: usize = 1 << 16;
/// Bytes of the first batch: the first hits come soon.
const FIRST_BATCH_BYTES: u64 = 2 << 20;
/// Bytes of the batches that follow, each twice the one before up to this.
const MAX_BATCH_BYTES: u64 = 64 << 20;
/// Most units of a batch, for spaces in small pieces.
const MAX_BATCH_UNITS: usize = 4096;
/// Most units whose hits are kept for the next process that shows the same bytes.
const MAX_KEPT_UNITS: usize = 1 << 17;
/// Most hits in them.
const MAX_KEPT_HITS: u64 = 1 << 21;
/// Most pieces, and pages that are copied, of all address spaces together: a terabyte in single pages. A hostile checkpoint can
/// tell of the same small pieces in each of its processes.
const MAX_EFFORT: u64 = 1 << 28;

/// Searches a scope and hands every match to the sink, in order.
///
/// `Break` of the sink ends the search early, which is no error.
///
/// # Errors
/// `Cancelled`, once `progress` says so.
pub fn search(
    memory: &Memory,
    scope: &Scope,
    matcher: &Matcher,
    progress: &dyn Progress,
    sink: &mut dyn SearchSink,
) -> Result<(), Cancelled> {
    progress.stage("searching");
    let total = targets::total_bytes(memory, scope);
    let scan = Scan {
        matcher,
        progress,
        total,
        done: AtomicU64::new(0),
        is_over: AtomicBool::new(false),
        kept_hits: AtomicU64::new(0),
    };
    let mut feed = Feed::new(memory, scope, matcher.look_ahead());
    let mut emit = Emit { scan: &scan, ends: vec![0; matcher.groups.len()], target: usize::MAX };
    let mut batch_bytes = FIRST_BATCH_BYTES;
    let mut scanned: Option<(Vec<Job<'_>>, Vec<Found>)> = None;
    loop {
        scan.step()?;
        let batch = feed.batch(batch_bytes);
        batch_bytes = batch_bytes.saturating_mul(2).min(MAX_BATCH_BYTES);
        if batch.is_empty() && scanned.is_none() {
            return Ok(());
        }
        // The next batch is scanned while the hits of this one are handed on.
        let mut found = Ok(Vec::new());
        let flow = rayon::in_place_scope(|scope| {
            let (found, batch) = (&mut found, &batch);
            if !batch.is_empty() {
                scope.spawn(|_| *found = batch.par_iter().map(|job| scan.job(job)).collect());
            }
            let flow =
                scanned.take().map_or(Ok(ControlFlow::Continue(())), |(jobs, found)| emit.batch(jobs, found, sink));
            if !matches!(flow, Ok(ControlFlow::Continue(()))) {
                scan.is_over.store(true, Ordering::Relaxed);
            }
            flow
        })?;
        if flow.is_break() {
            return Ok(());
        }
        let found = found?;
        scanned = (!batch.is_empty()).then_some((batch, found));
    }
}

/// One step of the search.
enum Job<'a> {
    /// To be scanned.
    Scan {
        target: Arc<(usize, Target<'a>)>,
        unit: Unit,
        /// Shared with the units of other processes that show the same bytes.
        kept: Option<Arc<OnceLock<Found>>>,
    },
    Skipped(Arc<(usize, Target<'a>)>, Range<u64>, Missing),
    Unreadable(Unreadable),
}

/// Matches of one unit, for each group of patterns.
#[derive(Clone, Debug, Default)]
struct Found {
    groups: Vec<OfGroup>,
    /// What turned out not to be readable.
    absent: Vec<(Range<u64>, Missing)>,
}

#[derive(Clone, Debug, Default)]
struct OfGroup {
    /// Start, counted from the start of the unit, length, pattern.
    hits: Vec<(u32, u32, u32)>,
    /// Where to go on after so many hits that no more are kept, counted from the start of the unit.
    resume: Option<u32>,
}

/// Makes jobs out of targets.
struct Feed<'a> {
    targets: Box<dyn Iterator<Item = Opened<'a>> + 'a>,
    nr_targets: usize,
    current: Option<(Arc<(usize, Target<'a>)>, Planner)>,
    look_ahead: usize,
    kept: HashMap<(usize, u64, usize, usize), Arc<OnceLock<Found>>>,
    /// Spent on targets before the current one.
    effort: u64,
}

impl<'a> Feed<'a> {
    fn new(memory: &'a Memory, scope: &'a Scope, look_ahead: usize) -> Feed<'a> {
        let targets = targets::targets(memory, scope);
        Feed { targets, nr_targets: 0, current: None, look_ahead, kept: HashMap::new(), effort: 0 }
    }

    fn batch(&mut self, max_bytes: u64) -> Vec<Job<'a>> {
        let mut jobs = Vec::new();
        let mut bytes = 0u64;
        while bytes < max_bytes && jobs.len() < MAX_BATCH_UNITS {
            let Some(job) = self.next() else { break };
            if let Job::Scan { unit, .. } = &job {
                bytes = bytes.saturating_add(unit.range.end - unit.range.start);
            }
            jobs.push(job);
        }
        jobs
    }

    fn next(&mut self) -> Option<Job<'a>> {
        loop {
            if let Some((target, planner)) = &mut self.current {
                if self.effort.saturating_add(planner.effort()) > MAX_EFFORT {
                    let Target { source, pid, name, .. } = &target.1;
                    let why = format!("what is searched lies in more than {MAX_EFFORT} pieces; the rest is left out");
                    let unreadable = Unreadable { source: *source, pid: *pid, name: name.label(), why };
                    self.current = None;
                    self.effort = MAX_EFFORT;
                    return Some(Job::Unreadable(unreadable));
                }
                match planner.next(&target.1.space) {
                    Some(Planned::Unit(unit)) => {
                        let target = Arc::clone(target);
                        // Only these buffers live as long as the search, so that an address names one of them.
                        let kept = if target.1.space.is_memory() { self.kept(&unit) } else { None };
                        return Some(Job::Scan { target, unit, kept });
                    }
                    Some(Planned::Skipped(range, why)) => return Some(Job::Skipped(Arc::clone(target), range, why)),
                    None => {
                        self.effort = self.effort.saturating_add(planner.effort());
                        self.current = None;
                    }
                }
            }
            match self.targets.next()? {
                Ok(target) => {
                    self.nr_targets += 1;
                    self.current = Some((Arc::new((self.nr_targets, target)), Planner::new(self.look_ahead)));
                }
                Err(unreadable) => return Some(Job::Unreadable(unreadable)),
            }
        }
    }

    fn kept(&mut self, unit: &Unit) -> Option<Arc<OnceLock<Found>>> {
        let UnitBytes::InPlace { buffer, from, behind, ahead } = &unit.bytes else { return None };
        if self.kept.len() >= MAX_KEPT_UNITS {
            self.kept.clear();
        }
        let key = (buffer.as_ptr().addr().wrapping_add(*from), unit.range.end - unit.range.start, *behind, *ahead);
        Some(Arc::clone(self.kept.entry(key).or_default()))
    }
}

/// What all threads share.
struct Scan<'s> {
    matcher: &'s Matcher,
    progress: &'s dyn Progress,
    total: u64,
    done: AtomicU64,
    is_over: AtomicBool,
    kept_hits: AtomicU64,
}

impl Scan<'_> {
    fn job(&self, job: &Job<'_>) -> Result<Found, Cancelled> {
        let Job::Scan { target, unit, kept } = job else { return Ok(Found::default()) };
        if self.is_over.load(Ordering::Relaxed) {
            return Ok(Found::default());
        }
        let len = unit.range.end - unit.range.start;
        self.done.fetch_add(len, Ordering::Relaxed);
        self.step()?;
        let kept = kept.as_ref().filter(|_| self.kept_hits.load(Ordering::Relaxed) < MAX_KEPT_HITS);
        let Some(kept) = kept else { return Ok(self.unit(&target.1.space, unit)) };
        let found = kept.get_or_init(|| {
            let found = self.unit(&target.1.space, unit);
            let nr_hits: usize = found.groups.iter().map(|group| group.hits.len()).sum();
            self.kept_hits.fetch_add(nr_hits as u64, Ordering::Relaxed);
            found
        });
        Ok(found.clone())
    }

    /// Tells how far the search is.
    fn step(&self) -> Result<(), Cancelled> {
        self.progress.step(self.done.load(Ordering::Relaxed).min(self.total), Some(self.total))
    }

    fn unit(&self, space: &Space<'_>, unit: &Unit) -> Found {
        let mut found = Found::default();
        for nr in 0..self.matcher.groups.len() {
            let of_group = self.group(space, unit, nr, 0, MAX_WAITING_HITS, &mut found.absent);
            found.groups.push(of_group);
        }
        found.absent.sort_by_key(|(range, _)| range.start);
        found.absent.dedup();
        found
    }

    /// The matches of one group that begin in a unit, from an offset in it on.
    fn group(
        &self,
        space: &Space<'_>,
        unit: &Unit,
        nr: usize,
        from: u32,
        max: usize,
        absent: &mut Vec<(Range<u64>, Missing)>,
    ) -> OfGroup {
        let mut out = OfGroup::default();
        let Some(group) = self.matcher.groups.get(nr) else { return out };
        let len = usize::try_from(unit.range.end - unit.range.start).unwrap_or(0);
        let goes_on = || !self.is_over.load(Ordering::Relaxed) && self.step().is_ok();
        match &unit.bytes {
            UnitBytes::InPlace { buffer, from: start, behind, ahead } => {
                let bytes = buffer.get(start - behind..start + len + ahead).unwrap_or_default();
                let shift = |at: usize| u32::try_from(at - behind).unwrap_or(u32::MAX);
                let hits = &mut out.hits;
                let resume =
                    group.find(bytes, behind + from as usize, behind + len, max, &goes_on, &mut |at, len, id| {
                        hits.push((shift(at), u32::try_from(len).unwrap_or(u32::MAX), id));
                    });
                out.resume = resume.map(shift);
            }
            UnitBytes::Gather { behind } => {
                let all = unit.range.start - behind..unit.range.end.saturating_add(self.matcher.look_ahead() as u64);
                for (start, bytes) in gather(space, all, &unit.range, absent) {
                    let first = unit.range.start.saturating_add(u64::from(from)).max(start);
                    let size = |addr: u64| usize::try_from(addr.saturating_sub(start)).unwrap_or(usize::MAX);
                    let core_end = size(unit.range.end).min(bytes.len());
                    let shift = |at: usize| u32::try_from(start + at as u64 - unit.range.start).unwrap_or(u32::MAX);
                    let hits = &mut out.hits;
                    let left = max.saturating_sub(hits.len());
                    let resume = group.find(&bytes, size(first), core_end, left, &goes_on, &mut |at, len, id| {
                        let range = start + at as u64..start + (at + len) as u64;
                        if !space.is_untouched(range) {
                            hits.push((shift(at), u32::try_from(len).unwrap_or(u32::MAX), id));
                        }
                    });
                    if let Some(resume) = resume {
                        out.resume = Some(shift(resume));
                        break;
                    }
                }
            }
        }
        out
    }
}

/// Copies a range together, as runs of contiguous bytes; what is missing in `core` is noted.
pub(super) fn gather(
    space: &Space<'_>,
    range: Range<u64>,
    core: &Range<u64>,
    absent: &mut Vec<(Range<u64>, Missing)>,
) -> Vec<(u64, Vec<u8>)> {
    let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
    space.read(range, &mut |range, part| {
        if let Part::Absent(why) = part {
            let inside = range.start.max(core.start)..range.end.min(core.end);
            if inside.start < inside.end {
                absent.push((inside, why));
            }
            return;
        }
        let is_next = runs.last().is_some_and(|(start, bytes)| start + bytes.len() as u64 == range.start);
        if !is_next {
            runs.push((range.start, Vec::new()));
        }
        let Some((_, bytes)) = runs.last_mut() else { return };
        match part {
            Part::Bytes(part) => bytes.extend_from_slice(part),
            _ => bytes.resize(bytes.len() + usize::try_from(range.end - range.start).unwrap_or(0), 0),
        }
    });
    runs
}

/// Hands hits on in order.
struct Emit<'s> {
    scan: &'s Scan<'s>,
    /// End of the last match of each group.
    ends: Vec<u64>,
    /// The target that they are of.
    target: usize,
}

impl Emit<'_> {
    fn batch(
        &mut self,
        jobs: Vec<Job<'_>>,
        found: Vec<Found>,
        sink: &mut dyn SearchSink,
    ) -> Result<ControlFlow<()>, Cancelled> {
        for (job, found) in jobs.into_iter().zip(found) {
            match job {
                Job::Unreadable(unreadable) => sink.skipped(&unreadable.skipped()),
                Job::Skipped(target, range, why) => target.1.tell_missing(range, why, &mut |it| sink.skipped(it)),
                Job::Scan { target, unit, .. } => {
                    for (range, why) in &found.absent {
                        target.1.tell_missing(range.clone(), *why, &mut |it| sink.skipped(it));
                    }
                    if target.0 != self.target {
                        self.target = target.0;
                        self.ends.fill(0);
                    }
                    if self.unit(&target.1, &unit, found, sink)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn unit(
        &mut self,
        target: &Target<'_>,
        unit: &Unit,
        found: Found,
        sink: &mut dyn SearchSink,
    ) -> Result<ControlFlow<()>, Cancelled> {
        let mut hits: Vec<(u64, u64, u32)> = Vec::new();
        for (nr, mut of_group) in found.groups.into_iter().enumerate() {
            let end = self.ends.get(nr).copied().unwrap_or_default();
            let start = unit.range.start;
            // A match that began in the unit before reaches into this one, over the start of another.
            if of_group.hits.first().is_some_and(|(at, ..)| start + u64::from(*at) < end) {
                let from = u32::try_from(end - start).unwrap_or(u32::MAX);
                of_group = self.scan.group(&target.space, unit, nr, from, MAX_WAITING_HITS, &mut Vec::new());
            }
            let mut last = None;
            loop {
                last = of_group.hits.last().copied().or(last);
                hits.extend(of_group.hits.iter().map(|(at, len, id)| (start + u64::from(*at), u64::from(*len), *id)));
                let Some(resume) = of_group.resume else { break };
                self.scan.step()?;
                of_group = self.scan.group(&target.space, unit, nr, resume, MAX_WAITING_HITS, &mut Vec::new());
            }
            if let (Some((at, len, _)), Some(end)) = (last, self.ends.get_mut(nr)) {
                *end = start + u64::from(at) + u64::from(len);
            }
        }
        if self.ends.len() > 1 {
            hits.sort_by_key(|(at, _, id)| (*at, *id));
        }
        for (at, len, id) in hits {
            let hit = Hit { target, at, len, pattern: usize::try_from(id).unwrap_or(usize::MAX) };
            if sink.found(&hit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}
