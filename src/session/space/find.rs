//! Finding text or bytes in the memory of one process: what is looked for, and what was found so far.

use std::ops::{ControlFlow, Range};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::base::{Cancelled, Pid, Progress, VirtAddr};
use crate::jobs::{JobCtx, ProgressView};
use crate::memory::Memory;
use crate::memory::search::{
    self, HexPattern, Hit, Matcher, Pattern, PatternError, Scope, SearchSink, Skipped, Source, WhySkipped,
};
use crate::session::JobId;

/// Most hits that are kept.
const MAX_HITS: usize = 200_000;
/// Between one word and the next.
const PAUSE: Duration = Duration::from_millis(40);

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// As it was written.
    pub text: String,
    /// Letters of ASCII in either case.
    pub is_any_case: bool,
}

impl Query {
    /// Pairs of hex digits apart by blanks, with `?` for any, are bytes: `7f 45 ?? 4c`; so are digits behind `0x`. All
    /// else is text; in quotes also what looks like bytes.
    pub fn is_hex(&self) -> bool {
        let text = self.text.trim();
        if let Some(digits) = text.strip_prefix("0x") {
            return digits.len() > 1 && digits.chars().all(|c| c.is_ascii_hexdigit() || c == '?' || c == ' ');
        }
        let is_byte =
            |word: &str| (word.len() == 2 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '?')) || word == "?";
        text.split_whitespace().count() > 1 && text.split_whitespace().all(is_byte)
    }

    /// The same for the engine.
    ///
    /// # Errors
    /// Nothing is looked for, too much, or hex that is none.
    pub fn pattern(&self) -> Result<Pattern, PatternError> {
        if self.is_hex() {
            return HexPattern::parse(&self.text).map(Pattern::Hex);
        }
        let unquoted = self.text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let bytes = unquoted.unwrap_or(&self.text).as_bytes().to_vec();
        Ok(if self.is_any_case { Pattern::LiteralAnyCase(bytes) } else { Pattern::Literal(bytes) })
    }
}

/// A find in the memory of one process.
#[derive(Clone, Debug)]
pub struct Find {
    pub(in crate::session) pid: Pid,
    pub(in crate::session) query: Query,
    pub(in crate::session) job: JobId,
    pub(in crate::session) is_running: bool,
    pub(in crate::session) progress: ProgressView,
    pub(in crate::session) hits: Vec<Range<VirtAddr>>,
    pub(in crate::session) summary: Summary,
    pub(in crate::session) failed: Option<String>,
}

/// What a find says at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Mapped bytes that are not in the evidence, and were not searched.
    pub missing_bytes: u64,
    /// There are more hits than are kept.
    pub is_cut: bool,
}

impl Find {
    /// Whose memory.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// What is looked for.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Names this find among others.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Whether more may be found.
    pub fn is_running(&self) -> bool {
        self.is_running
    }

    /// How far it is.
    pub fn progress(&self) -> ProgressView {
        self.progress
    }

    /// What was found so far, by address.
    pub fn hits(&self) -> &[Range<VirtAddr>] {
        &self.hits
    }

    /// What there is to say at the end.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// Why it gave up.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// The number of the first hit that begins behind an address; of the first of all when there is none.
    pub fn next_after(&self, addr: VirtAddr) -> Option<usize> {
        let at = self.hits.partition_point(|hit| hit.start <= addr);
        if at < self.hits.len() { Some(at) } else { (!self.hits.is_empty()).then_some(0) }
    }

    /// The number of the last hit that begins before an address; of the last of all when there is none.
    pub fn last_before(&self, addr: VirtAddr) -> Option<usize> {
        let at = self.hits.partition_point(|hit| hit.start < addr);
        at.checked_sub(1).or_else(|| self.hits.len().checked_sub(1))
    }

    /// The hits that touch a range.
    pub fn hits_in(&self, range: &Range<VirtAddr>) -> impl Iterator<Item = &Range<VirtAddr>> {
        // Hits of one pattern do not overlap, so that their ends are in order too.
        let first = self.hits.partition_point(|hit| hit.end <= range.start);
        let end = range.end;
        self.hits.get(first..).unwrap_or_default().iter().take_while(move |hit| hit.start < end)
    }
}

/// Searches; `say` is told of hits while it goes on, in order.
pub(in crate::session) fn run(
    memory: &Memory,
    pid: Pid,
    query: &Query,
    say: impl Fn(Vec<Range<VirtAddr>>) + Sync,
    ctx: &JobCtx,
) -> anyhow::Result<Summary> {
    let matcher = Matcher::new(&[query.pattern()?]).context("cannot search for that")?;
    let scope = Scope { sources: vec![Source::Memory], pid: Some(pid), ..Scope::default() };
    let telling = Telling { ctx, say: &say, waiting: Mutex::new((Vec::new(), None)) };
    let mut sink = Sink { telling: &telling, count: 0, summary: Summary::default() };
    search::search(memory, &scope, &matcher, &telling, &mut sink)?;
    let summary = sink.summary;
    telling.tell(true);
    Ok(summary)
}

/// Hits that wait to be told, and when some were told last. What waits is told also where nothing more is found.
struct Telling<'a> {
    ctx: &'a JobCtx,
    say: &'a (dyn Fn(Vec<Range<VirtAddr>>) + Sync),
    waiting: Mutex<(Vec<Range<VirtAddr>>, Option<Instant>)>,
}

impl Telling<'_> {
    fn add(&self, hit: Range<VirtAddr>) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).0.push(hit);
        self.tell(false);
    }

    fn tell(&self, is_end: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (hits, last) = &mut *waiting;
        let is_due = is_end || last.is_none_or(|last| last.elapsed() >= PAUSE);
        if is_due && !hits.is_empty() {
            *last = Some(Instant::now());
            (self.say)(std::mem::take(hits));
        }
    }
}

impl Progress for Telling<'_> {
    fn step(&self, done: u64, total: Option<u64>) -> Result<(), Cancelled> {
        self.tell(false);
        self.ctx.step(done, total)
    }

    fn stage(&self, name: &'static str) {
        self.ctx.stage(name);
    }
}

struct Sink<'a> {
    telling: &'a Telling<'a>,
    count: usize,
    summary: Summary,
}

impl SearchSink for Sink<'_> {
    fn found(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        if self.count >= MAX_HITS {
            self.summary.is_cut = true;
            return ControlFlow::Break(());
        }
        if let Some(start) = hit.vaddr() {
            self.count += 1;
            self.telling.add(start..VirtAddr(start.0.saturating_add(hit.len_bytes())));
        }
        ControlFlow::Continue(())
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        let is_loss = match skipped.why {
            WhySkipped::Missing(why) => why.is_loss(),
            WhySkipped::Unreadable(_) => true,
        };
        if is_loss {
            let len = skipped.range.end.saturating_sub(skipped.range.start);
            self.summary.missing_bytes = self.summary.missing_bytes.saturating_add(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query { text: text.into(), is_any_case: false }
    }

    #[test]
    fn bytes_and_text_are_told_apart() {
        for hex in ["7f 45 ?? 4c", "0x7f454c46", "de ad", "7f ? 01", "4? 45"] {
            assert!(query(hex).is_hex(), "{hex}");
            assert!(matches!(query(hex).pattern(), Ok(Pattern::Hex(_))), "{hex}");
        }
        for text in ["root", "dead", "a b", "be", "0x", "\"de ad\"", "7f 45 zz"] {
            assert!(!query(text).is_hex(), "{text}");
        }
        assert_eq!(query("\"de ad\"").pattern(), Ok(Pattern::Literal(b"de ad".to_vec())));
        assert_eq!(query("?? ??").pattern(), Err(PatternError::OnlyWildcards));
    }

    #[test]
    fn next_and_previous_go_around() {
        let hits = [0x10, 0x20, 0x30].map(|at| VirtAddr(at)..VirtAddr(at + 4)).to_vec();
        let find = Find {
            pid: Pid(1),
            query: query("x"),
            job: JobId(1),
            is_running: false,
            progress: ProgressView::default(),
            hits,
            summary: Summary::default(),
            failed: None,
        };
        assert_eq!((find.next_after(VirtAddr(0x10)), find.next_after(VirtAddr(0x31))), (Some(1), Some(0)));
        assert_eq!((find.last_before(VirtAddr(0x20)), find.last_before(VirtAddr(0x10))), (Some(0), Some(2)));
        let touched = |from, to| find.hits_in(&(VirtAddr(from)..VirtAddr(to))).count();
        assert_eq!((touched(0x12, 0x13), touched(0x14, 0x20), touched(0x13, 0x31)), (1, 0, 3));
    }
}
