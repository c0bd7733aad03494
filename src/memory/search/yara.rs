//! YARA rules over the same targets as patterns.
//!
//! - The memory of a process is one thing to a rule: `all of them` may be met by matches megabytes apart, and offsets
//!   (`@a`, `$a at`) are addresses. It is scanned in blocks, so a rule that asks for the size or the structure of a file
//!   (`filesize`, `uint16(0)`, modules) does not hold there; matches may cross every border of pages and are at most
//!   [`MAX_BLOCK_MATCH_BYTES`] long. A condition needs the matches of all blocks in one scanner, which is of one thread:
//!   so all threads look first for blocks that any pattern matches in, and the scanner gets these, in order. It finds the
//!   same, and sees little of the memory. (Not with private or global rules.)
//! - Queues and recovered files (memfds also where a process maps them) are scanned whole, with all modules, up to [`MAX_WHOLE_BYTES`], and larger ones in blocks.
//!
//! Rules come from the analyst, and are compiled by yara-x; modules that are not built in are left out together with the
//! rules that need them, and a warning says so.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rayon::prelude::*;
use yara_x::{Compiler, ScanError, ScanResults, SourceCode, blocks};

use crate::base::{Cancelled, Progress};
use crate::memory::{Memory, Missing};

use super::engine::gather;
use super::hit::{Hit, Skipped};
use super::plan::{Planned, Planner, Unit, UnitBytes};
use super::scope::Scope;
use super::space::Space;
use super::targets::{self, Target, Unreadable};

/// Longest match that is found across the border of two blocks.
pub const MAX_BLOCK_MATCH_BYTES: usize = 16 << 10;
/// Files up to this size are scanned whole.
pub const MAX_WHOLE_BYTES: u64 = 256 << 20;
/// Matches of one pattern that are told of one target.
const MAX_MATCHES: usize = 10_000;
/// A target whose rules take longer is given up; of memory it is a second for each MiB more.
const TIMEOUT: Duration = Duration::from_secs(300);
/// After so many targets were given up, the others have less time.
const MAX_GIVEN_UP: usize = 8;
/// Which is this.
const SHORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Most zeros that files are filled up with to be scanned whole, in one scan. Evidence may claim many large files that are
/// all hole; those behind it are scanned in blocks, which leaves holes out.
const MAX_HOLE_BYTES: u64 = 1 << 30;
/// Files from this size on are copied together one at a time.
const LARGE_BYTES: u64 = 16 << 20;
/// Blocks that a thread looks through at a time: first so many, then more.
const FIRST_BLOCKS: usize = 4;
const MAX_BLOCKS: usize = 64;
/// Targets under way at once, for each thread.
const TARGETS_PER_THREAD: usize = 8;
/// Modules of YARA that are not built in.
const LEFT_OUT: [&str; 12] =
    ["androguard", "crx", "cuckoo", "dex", "dotnet", "lnk", "macho", "magic", "msi", "pe", "vba", "vt"];

/// A file of rules.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// For messages, and the namespace of its rules.
    pub name: String,
    /// Its text.
    pub source: Vec<u8>,
    /// Where `include` looks.
    pub dir: Option<PathBuf>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Name of the file that it stands in.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
}

/// Rules that are wrong, as the compiler tells it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RulesError(String);

/// Compiled rules.
#[derive(Debug)]
pub struct YaraRules {
    rules: yara_x::Rules,
    infos: Vec<RuleInfo>,
    by_name: HashMap<(String, String), usize>,
    warnings: Vec<String>,
    /// Whether matches of rules that do not hold can be listed: yara-x 1.22 counts private rules wrongly that it did not
    /// have to look at, and global ones take others with them.
    has_plain_rules: bool,
}

impl YaraRules {
    /// Compiles rules.
    ///
    /// # Errors
    /// One of them is wrong; the message has its place.
    pub fn compile(files: &[RuleFile]) -> Result<YaraRules, RulesError> {
        let mut compiler = Compiler::new();
        for module in LEFT_OUT {
            compiler.ignore_module(module);
        }
        for dir in files.iter().filter_map(|file| file.dir.as_ref()) {
            compiler.add_include_dir(dir);
        }
        for file in files {
            compiler.new_namespace(&file.name);
            let source = SourceCode::from(file.source.as_slice()).with_origin(file.name.as_str());
            compiler.add_source(source).map_err(|error| RulesError(in_a_line(error.title(), error.labels())))?;
        }
        let warnings = compiler.warnings().iter().map(|it| in_a_line(it.title(), it.labels())).collect();
        let rules = compiler.build();
        let infos: Vec<RuleInfo> = rules
            .iter()
            .map(|rule| RuleInfo {
                namespace: rule.namespace().to_owned(),
                name: rule.identifier().to_owned(),
                tags: rule.tags().map(|tag| tag.identifier().to_owned()).collect(),
            })
            .collect();
        let has_plain_rules = !rules.iter().any(|rule| rule.is_private() || rule.is_global());
        let by_name =
            infos.iter().enumerate().map(|(nr, info)| ((info.namespace.clone(), info.name.clone()), nr)).collect();
        Ok(YaraRules { rules, infos, by_name, warnings, has_plain_rules })
    }

    /// All rules, in the order of their files.
    pub fn infos(&self) -> &[RuleInfo] {
        &self.infos
    }

    /// What the compiler had to say.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// What the compiler says, as `rules.yar:1:21: unknown identifier: this identifier has not been declared`.
fn in_a_line(title: &str, mut labels: impl Iterator<Item = impl serde::Serialize>) -> String {
    let label = labels.next().and_then(|label| serde_json::to_value(label).ok()).unwrap_or_default();
    let (origin, text) = (label["code_origin"].as_str(), label["text"].as_str());
    match (origin, label["line"].as_u64(), label["column"].as_u64(), text) {
        (Some(origin), Some(line), Some(column), Some(text)) => format!("{origin}:{line}:{column}: {title}: {text}"),
        _ => title.to_owned(),
    }
}

/// A match of a pattern of a rule that holds.
#[derive(Clone, Copy, Debug)]
pub struct YaraHit<'h> {
    /// The rule.
    pub rule: &'h RuleInfo,
    /// `$name` of the pattern; `None` for a rule that holds without one.
    pub pattern: Option<&'h str>,
    /// Where. Of a rule that holds without a pattern it has no bytes and no address.
    pub hit: Hit<'h>,
}

/// Receives the matches, in the order of the targets, and of each by address.
pub trait YaraSink {
    /// One match; `Break` ends the scan.
    fn found(&mut self, found: &YaraHit<'_>) -> ControlFlow<()>;

    /// Something that should have been scanned and is not there.
    fn skipped(&mut self, skipped: &Skipped<'_>);
}

/// Scans a scope and hands every match of every rule that holds to the sink.
///
/// # Errors
/// `Cancelled`, once `progress` says so.
pub fn scan(
    memory: &Memory,
    scope: &Scope,
    rules: &YaraRules,
    progress: &dyn Progress,
    sink: &mut dyn YaraSink,
) -> Result<(), Cancelled> {
    progress.stage("scanning");
    let total = targets::total_bytes(memory, scope);
    let scan = Scan {
        rules,
        progress,
        total,
        done: AtomicU64::new(0),
        given_up: AtomicUsize::new(0),
        hole_bytes: AtomicU64::new(0),
        one_large: Mutex::new(()),
    };
    let mut opened = targets::targets(memory, scope);
    let at_once = rayon::current_num_threads().max(1).saturating_mul(TARGETS_PER_THREAD);
    loop {
        let batch: Vec<_> = opened.by_ref().take(at_once).collect();
        if batch.is_empty() {
            return Ok(());
        }
        let found: Vec<Option<Found>> = batch
            .par_iter()
            .map_init(
                || blocks::Scanner::new(&rules.rules),
                |scanner, target| target.as_ref().ok().map(|target| scan.target(scanner, target)).transpose(),
            )
            .collect::<Result<_, Cancelled>>()?;
        for (target, found) in batch.iter().zip(found) {
            match target {
                Ok(target) => {
                    if emit(rules, target, &found.unwrap_or_default(), sink).is_break() {
                        return Ok(());
                    }
                }
                Err(unreadable) => sink.skipped(&unreadable.skipped()),
            }
        }
    }
}

/// What the rules say of one target.
#[derive(Debug, Default)]
struct Found {
    /// Start, length, rule, `$name`.
    hits: Vec<(u64, u64, usize, Option<String>)>,
    absent: Vec<Lost>,
    failure: Option<String>,
    /// It was scanned as a file.
    is_whole: bool,
}

struct Scan<'s> {
    rules: &'s YaraRules,
    progress: &'s dyn Progress,
    total: u64,
    done: AtomicU64,
    given_up: AtomicUsize,
    hole_bytes: AtomicU64,
    one_large: Mutex<()>,
}

impl<'s> Scan<'s> {
    fn target(&self, scanner: &mut blocks::Scanner<'s>, target: &Target<'_>) -> Result<Found, Cancelled> {
        let size = match &target.space {
            Space::Memory { .. } => None,
            Space::Object { size, .. } | Space::Pieces { size, .. } => Some(*size),
        };
        match (size, &target.space) {
            (Some(size), space) if self.may_be_whole(space, size) => {
                let file = target.as_file();
                let found = self.whole(file.as_ref().map_or(space, |file| &file.space), size)?;
                Ok(Found { is_whole: true, ..found })
            }
            (_, space) => self.in_blocks(scanner, space),
        }
    }

    /// Whether a file is scanned whole: it is not too large, and its holes are among those that may be filled.
    fn may_be_whole(&self, space: &Space<'_>, size: u64) -> bool {
        if size > MAX_WHOLE_BYTES {
            return false;
        }
        let stored = match space {
            Space::Pieces { pieces, .. } => pieces.iter().map(|(_, bytes, _)| bytes.len() as u64).sum(),
            Space::Object { pagemap, .. } => {
                let stored = pagemap.runs.iter().filter(|run| run.stored.is_some() || run.flags.is_in_parent());
                let ranges = stored.map(|run| pagemap.range(run));
                ranges.map(|range| range.end.0 - range.start.0).fold(0, u64::saturating_add)
            }
            Space::Memory { .. } => size,
        };
        let holes = size.saturating_sub(stored);
        holes <= stored || self.hole_bytes.fetch_add(holes, Relaxed).saturating_add(holes) <= MAX_HOLE_BYTES
    }

    fn timeout(&self) -> Duration {
        if self.given_up.load(Relaxed) < MAX_GIVEN_UP { TIMEOUT } else { SHORT_TIMEOUT }
    }

    fn failure(&self, error: &ScanError, timeout: Duration) -> String {
        match error {
            ScanError::Timeout => {
                self.given_up.fetch_add(1, Relaxed);
                format!("the rules took longer than {} seconds", timeout.as_secs())
            }
            error => error.to_string(),
        }
    }

    fn step(&self, len: u64) -> Result<(), Cancelled> {
        let done = self.done.fetch_add(len, Relaxed).saturating_add(len);
        self.progress.step(done.min(self.total), Some(self.total))
    }

    fn whole(&self, space: &Space<'_>, size: u64) -> Result<Found, Cancelled> {
        self.step(size)?;
        let mut found = Found::default();
        let timeout = self.timeout();
        let scan = |start, bytes: &[u8], found: &mut Found| {
            let mut scanner = yara_x::Scanner::new(&self.rules.rules);
            scanner.set_timeout(timeout).max_matches_per_pattern(MAX_MATCHES);
            match scanner.scan(bytes) {
                Ok(results) => self.collect(&results, start, space, found),
                Err(error) => found.failure = Some(self.failure(&error, timeout)),
            }
        };
        match space {
            // Most files lie in one piece; only the others are copied together.
            Space::Pieces { pieces, .. } if matches!(&pieces[..], [(0, bytes, _)] if bytes.len() as u64 == size) => {
                pieces.iter().for_each(|(_, bytes, _)| scan(0, bytes, &mut found));
            }
            _ => {
                // A panic of another thread leaves nothing behind that matters.
                let one = (LARGE_BYTES <= size).then(|| self.one_large.lock().unwrap_or_else(PoisonError::into_inner));
                let runs = gather(space, 0..size, &(0..size), &mut found.absent);
                runs.iter().for_each(|(start, bytes)| scan(*start, bytes, &mut found));
                drop(one);
            }
        }
        found.hits.sort();
        Ok(found)
    }

    fn in_blocks(&self, scanner: &mut blocks::Scanner<'s>, space: &Space<'_>) -> Result<Found, Cancelled> {
        let mut found = Found::default();
        let mut planner = Planner::new(MAX_BLOCK_MATCH_BYTES);
        let timeout = self.timeout().saturating_add(Duration::from_secs(stored_mib(space)));
        scanner.set_timeout(timeout).max_matches_per_pattern(MAX_MATCHES);
        if let Err(error) = start(scanner) {
            found.failure = Some(self.failure(&error, timeout));
            return Ok(found);
        }
        let threads = rayon::current_num_threads().max(1);
        // Where most blocks match, looking first is work for nothing.
        let (mut at_once, mut is_dense) = (FIRST_BLOCKS, threads == 1 || !self.rules.has_plain_rules);
        loop {
            let mut units = Vec::new();
            while units.len() < at_once.saturating_mul(threads) {
                match planner.next(space) {
                    Some(Planned::Unit(unit)) => units.push(unit),
                    Some(Planned::Skipped(range, why)) => found.absent.push((range, why)),
                    None => break,
                }
            }
            if units.is_empty() {
                break;
            }
            if !is_dense {
                let all = units.len();
                units = self.with_matches(space, units, timeout, &mut found)?;
                is_dense = units.len() * 2 > all;
                at_once = at_once.saturating_mul(2).min(MAX_BLOCKS);
            } else {
                units.iter().try_for_each(|unit| self.step(unit.range.end - unit.range.start))?;
            }
            for unit in &units {
                self.step(0)?;
                if let Err(error) = block(scanner, space, unit, &mut found.absent) {
                    found.failure = Some(self.failure(&error, timeout));
                    break;
                }
            }
            if found.failure.is_some() {
                break;
            }
        }
        match scanner.finish() {
            Ok(results) => self.collect(&results, 0, space, &mut found),
            Err(error) => found.failure = Some(self.failure(&error, timeout)),
        }
        found.hits.sort();
        found.hits.dedup();
        found.absent.sort_by_key(|(range, _)| range.start);
        found.absent.dedup();
        Ok(found)
    }

    /// The units in which any pattern matches, found by all threads.
    fn with_matches(
        &self,
        space: &Space<'_>,
        units: Vec<Unit>,
        timeout: Duration,
        found: &mut Found,
    ) -> Result<Vec<Unit>, Cancelled> {
        let size = units.len().div_ceil(rayon::current_num_threads().max(1)).max(1);
        let parts: Vec<(Vec<bool>, Vec<Lost>)> = units
            .par_chunks(size)
            .map(|units| {
                let mut scanner = blocks::Scanner::new(&self.rules.rules);
                scanner.set_timeout(timeout).max_matches_per_pattern(MAX_MATCHES);
                self.marked(&mut scanner, space, units)
            })
            .collect::<Result<_, Cancelled>>()?;
        let mut marks = Vec::with_capacity(units.len());
        for (part, absent) in parts {
            marks.extend(part);
            found.absent.extend(absent);
        }
        Ok(units.into_iter().zip(marks).filter_map(|(unit, is_marked)| is_marked.then_some(unit)).collect())
    }

    /// Of each unit whether a pattern of any rule matches in it.
    fn marked(
        &self,
        scanner: &mut blocks::Scanner<'s>,
        space: &Space<'_>,
        units: &[Unit],
    ) -> Result<(Vec<bool>, Vec<Lost>), Cancelled> {
        let mut absent = Vec::new();
        if start(scanner).is_err() {
            return Ok((vec![true; units.len()], absent));
        }
        for unit in units {
            self.step(unit.range.end - unit.range.start)?;
            // The scanner of all units says what is wrong.
            if block(scanner, space, unit, &mut absent).is_err() {
                return Ok((vec![true; units.len()], absent));
            }
        }
        let mut marks = vec![false; units.len()];
        let Ok(results) = scanner.finish() else { return Ok((vec![true; units.len()], absent)) };
        for rule in results.matching_rules().chain(results.non_matching_rules()) {
            for matched in rule.patterns().include_private(true).flat_map(|pattern| pattern.matches()) {
                let at = matched.range().start as u64;
                // A block reaches into the next one, and may have found it there.
                let after = units.partition_point(|unit| unit.range.start <= at);
                let before = units.get(..after).unwrap_or_default();
                for (nr, unit) in before.iter().enumerate().rev() {
                    if unit.range.end.saturating_add(MAX_BLOCK_MATCH_BYTES as u64) <= at {
                        break;
                    }
                    if let Some(mark) = marks.get_mut(nr) {
                        *mark = true;
                    }
                }
            }
        }
        Ok((marks, absent))
    }

    fn collect(&self, results: &ScanResults<'_, '_>, start: u64, space: &Space<'_>, found: &mut Found) {
        for rule in results.matching_rules() {
            let name = (rule.namespace().to_owned(), rule.identifier().to_owned());
            let Some(nr) = self.rules.by_name.get(&name).copied() else { continue };
            let mut has_match = false;
            for pattern in rule.patterns() {
                for matched in pattern.matches() {
                    let range = matched.range();
                    let (at, len) = (start.saturating_add(range.start as u64), range.len() as u64);
                    has_match = true;
                    if len > 0 && !space.is_untouched(at..at.saturating_add(len)) {
                        found.hits.push((at, len, nr, Some(pattern.identifier().to_owned())));
                    }
                }
            }
            if !has_match {
                found.hits.push((0, 0, nr, None));
            }
        }
    }
}

/// What is not there of a target.
type Lost = (Range<u64>, Missing);

/// Begins with a block of nothing: a scanner that was given none fails when it comes to the conditions. Not at address 0,
/// where it would look for what a file begins with.
fn start(scanner: &mut blocks::Scanner<'_>) -> Result<(), ScanError> {
    scanner.scan(1, b"").map(|_| ())
}

/// Gives a unit to a scanner. Blocks overlap by the longest match; what lies in two of them is found twice and told once.
fn block(
    scanner: &mut blocks::Scanner<'_>,
    space: &Space<'_>,
    unit: &Unit,
    absent: &mut Vec<Lost>,
) -> Result<(), ScanError> {
    let mut scan = |start: u64, bytes: &[u8]| {
        let base = usize::try_from(start).unwrap_or(usize::MAX);
        scanner.scan(base, bytes).map(|_| ())
    };
    match &unit.bytes {
        UnitBytes::InPlace { buffer, from, ahead, .. } => {
            let len = usize::try_from(unit.range.end - unit.range.start).unwrap_or(0);
            let end = from.saturating_add(len).saturating_add(*ahead);
            scan(unit.range.start, buffer.get(*from..end).unwrap_or_default())
        }
        UnitBytes::Gather { .. } => {
            let all = unit.range.start..unit.range.end.saturating_add(MAX_BLOCK_MATCH_BYTES as u64);
            let runs = gather(space, all, &unit.range, absent);
            runs.iter().try_for_each(|(start, bytes)| scan(*start, bytes))
        }
    }
}

/// Memory that a process has in the evidence.
fn stored_mib(space: &Space<'_>) -> u64 {
    let Space::Memory { space, .. } = space else { return 0 };
    let pages = space
        .map()
        .vmas
        .iter()
        .map(|vma| vma.pages.dumped.saturating_add(vma.pages.shared).saturating_add(vma.pages.parent));
    pages.fold(0, u64::saturating_add).saturating_mul(space.page_size().bytes()) >> 20
}

fn emit(rules: &YaraRules, target: &Target<'_>, found: &Found, sink: &mut dyn YaraSink) -> ControlFlow<()> {
    let file = target.as_file().filter(|_| found.is_whole);
    let target = file.as_ref().unwrap_or(target);
    for (range, why) in &found.absent {
        target.tell_missing(range.clone(), *why, &mut |it| sink.skipped(it));
    }
    if let Some(why) = &found.failure {
        let (source, pid, name) = (target.source, target.pid, target.name.label());
        sink.skipped(&Unreadable { source, pid, name, why: why.clone() }.skipped());
    }
    for (at, len, nr, pattern) in &found.hits {
        let Some(rule) = rules.infos.get(*nr) else { continue };
        let hit = Hit { target, at: *at, len: *len, pattern: *nr };
        sink.found(&YaraHit { rule, pattern: pattern.as_deref(), hit })?;
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::Silent;

    #[test]
    fn files_that_claim_to_be_large_and_are_holes_are_filled_up_to_a_sum() {
        let file = RuleFile { name: "r".into(), source: b"rule r { condition: filesize > 0 }".to_vec(), dir: None };
        let rules = YaraRules::compile(&[file]).unwrap();
        let scan = Scan {
            rules: &rules,
            progress: &Silent,
            total: 0,
            done: AtomicU64::new(0),
            given_up: AtomicUsize::new(0),
            hole_bytes: AtomicU64::new(0),
            one_large: Mutex::new(()),
        };
        let of = |stored: usize, size| Space::Pieces { pieces: vec![(0, Bytes::from(vec![1; stored]), None)], size };
        let is_whole = |stored, size| scan.may_be_whole(&of(stored, size), size);
        assert!(is_whole(1 << 20, 1 << 20) && !is_whole(0, MAX_WHOLE_BYTES + 1));
        let whole = (0..100).filter(|_| is_whole(10, 200 << 20)).count();
        assert_eq!(whole as u64, MAX_HOLE_BYTES / (200 << 20));
        // Files that are there are scanned whole all the same.
        assert!(is_whole(1 << 20, 3 << 19));
        assert_eq!(scan.timeout(), TIMEOUT);
        (0..MAX_GIVEN_UP).for_each(|_| drop(scan.failure(&ScanError::Timeout, TIMEOUT)));
        assert_eq!(scan.timeout(), SHORT_TIMEOUT);
    }
}
