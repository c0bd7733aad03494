//! YARA rules over the same targets as patterns.
//!
//! - The memory of a process is one thing to a rule: `all of them` may be met by matches megabytes apart, and offsets
//!   (`@a`, `$a at`) are addresses. It is scanned in blocks, so a rule that asks for the size or the structure of a file
//!   (`filesize`, `uint16(0)`, modules) does not hold there; matches may cross every border of pages and are at most
//!   [`MAX_BLOCK_MATCH_BYTES`] long.
//! - Queues and recovered files (memfds also where a process maps them) are scanned whole, with all modules, up to [`MAX_WHOLE_BYTES`], and larger ones in blocks.
//!
//! Rules come from the analyst, and are compiled by yara-x; modules that are not built in are left out together with the
//! rules that need them, and a warning says so.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rayon::prelude::*;
use yara_x::{Compiler, ScanError, ScanResults, SourceCode, blocks};

use crate::base::{Cancelled, Progress};
use crate::memory::{Memory, Missing};

use super::engine::gather;
use super::hit::{Hit, Skipped};
use super::plan::{Planned, Planner, UnitBytes};
use super::scope::{Scope, Source};
use super::space::Space;
use super::targets::{self, Target, Unreadable};

/// Longest match that is found across the border of two blocks.
pub const MAX_BLOCK_MATCH_BYTES: usize = 16 << 10;
/// Files up to this size are scanned whole.
pub const MAX_WHOLE_BYTES: u64 = 256 << 20;
/// Matches of one pattern that are told of one target.
const MAX_MATCHES: usize = 10_000;
/// A target whose rules take longer is given up.
const TIMEOUT: Duration = Duration::from_secs(300);
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
        let by_name =
            infos.iter().enumerate().map(|(nr, info)| ((info.namespace.clone(), info.name.clone()), nr)).collect();
        Ok(YaraRules { rules, infos, by_name, warnings })
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
    let scan = Scan { rules, progress, total, done: AtomicU64::new(0) };
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
    absent: Vec<(std::ops::Range<u64>, Missing)>,
    failure: Option<String>,
}

struct Scan<'s> {
    rules: &'s YaraRules,
    progress: &'s dyn Progress,
    total: u64,
    done: AtomicU64,
}

impl<'s> Scan<'s> {
    fn target(&self, scanner: &mut blocks::Scanner<'s>, target: &Target<'_>) -> Result<Found, Cancelled> {
        let size = match &target.space {
            Space::Memory { .. } => None,
            Space::Object { size, .. } | Space::Pieces { size, .. } => Some(*size),
        };
        match (size, &target.space) {
            // A program in a memfd is a file as well, also where a process maps all of it.
            (Some(size), Space::Object { pagemap, .. })
                if size <= MAX_WHOLE_BYTES && target.source == Source::Memfd =>
            {
                self.whole(&Space::Object { pagemap, size, without: Vec::new() }, size)
            }
            (Some(size), space) if size <= MAX_WHOLE_BYTES => self.whole(space, size),
            (_, space) => self.in_blocks(scanner, space),
        }
    }

    fn step(&self, len: u64) -> Result<(), Cancelled> {
        let done = self.done.fetch_add(len, Relaxed).saturating_add(len);
        self.progress.step(done.min(self.total), Some(self.total))
    }

    fn whole(&self, space: &Space<'_>, size: u64) -> Result<Found, Cancelled> {
        self.step(size)?;
        let mut found = Found::default();
        let scan = |start, bytes: &[u8], found: &mut Found| {
            let mut scanner = yara_x::Scanner::new(&self.rules.rules);
            scanner.set_timeout(TIMEOUT).max_matches_per_pattern(MAX_MATCHES);
            match scanner.scan(bytes) {
                Ok(results) => self.collect(&results, start, space, found),
                Err(error) => found.failure = Some(failure(&error)),
            }
        };
        match space {
            // Most files lie in one piece; only the others are copied together.
            Space::Pieces { pieces, .. } if matches!(&pieces[..], [(0, bytes, _)] if bytes.len() as u64 == size) => {
                pieces.iter().for_each(|(_, bytes, _)| scan(0, bytes, &mut found));
            }
            _ => {
                let runs = gather(space, 0..size, &(0..size), &mut found.absent);
                runs.iter().for_each(|(start, bytes)| scan(*start, bytes, &mut found));
            }
        }
        found.hits.sort();
        Ok(found)
    }

    fn in_blocks(&self, scanner: &mut blocks::Scanner<'s>, space: &Space<'_>) -> Result<Found, Cancelled> {
        let mut found = Found::default();
        let mut planner = Planner::new(MAX_BLOCK_MATCH_BYTES);
        scanner.set_timeout(TIMEOUT).max_matches_per_pattern(MAX_MATCHES);
        while let Some(planned) = planner.next(space) {
            let unit = match planned {
                Planned::Unit(unit) => unit,
                Planned::Skipped(range, why) => {
                    found.absent.push((range, why));
                    continue;
                }
            };
            let len = unit.range.end - unit.range.start;
            self.step(len)?;
            // Blocks overlap by the longest match; what lies in both is found twice and told once.
            let mut block = |start: u64, bytes: &[u8]| -> Result<(), ScanError> {
                let base = usize::try_from(start).unwrap_or(usize::MAX);
                scanner.scan(base, bytes).map(|_| ())
            };
            let scanned = match &unit.bytes {
                UnitBytes::InPlace { buffer, from, ahead, .. } => {
                    let end = from.saturating_add(usize::try_from(len).unwrap_or(0)).saturating_add(*ahead);
                    block(unit.range.start, buffer.get(*from..end).unwrap_or_default())
                }
                UnitBytes::Gather { .. } => {
                    let all = unit.range.start..unit.range.end.saturating_add(MAX_BLOCK_MATCH_BYTES as u64);
                    let runs = gather(space, all, &unit.range, &mut found.absent);
                    runs.iter().try_for_each(|(start, bytes)| block(*start, bytes))
                }
            };
            if let Err(error) = scanned {
                found.failure = Some(failure(&error));
                break;
            }
        }
        match scanner.finish() {
            Ok(results) => self.collect(&results, 0, space, &mut found),
            Err(error) => found.failure = Some(failure(&error)),
        }
        found.hits.sort();
        found.hits.dedup();
        found.absent.sort_by_key(|(range, _)| range.start);
        found.absent.dedup();
        Ok(found)
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

fn failure(error: &ScanError) -> String {
    match error {
        ScanError::Timeout => format!("the rules took longer than {} seconds", TIMEOUT.as_secs()),
        error => error.to_string(),
    }
}

fn emit(rules: &YaraRules, target: &Target<'_>, found: &Found, sink: &mut dyn YaraSink) -> ControlFlow<()> {
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
