//! `search`: finds bytes in memory, queues and files.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

use anyhow::Context as _;

use crate::base::{ByteOrder, Pid};
use crate::checkpoint::{Arch, Checkpoint};
#[cfg(feature = "yara")]
use crate::memory::search::yara;
use crate::memory::search::{
    HexPattern, Hit, Matcher, Pattern, Scope, SearchSink, Skipped, Source, VmaFilter, parse_value, search,
};
use crate::report::missing::Tally;
use crate::report::search::{CountLine, HitLine, Label};
use crate::report::text::HitList;

use super::args::{Maps, SearchArgs};
use super::context::Context;

/// Bytes of context where none were asked for.
const CONTEXT_BYTES: u32 = 32;

/// Whether something was found.
pub(super) fn run(args: &SearchArgs, context: &mut Context<'_>) -> anyhow::Result<bool> {
    let checkpoint = context.one(&args.archive, &args.which, &args.parents)?;
    if let Some(pid) = args.pid {
        context.process(&checkpoint, pid)?;
    }
    let what = What::new(args, &checkpoint, context)?;
    let scope = scope(args.pid, &args.maps, &args.sources)?;
    let memory = context.memory(checkpoint, &args.base)?;
    let bar = context.progress_while_printing();
    let mut printer = Printer {
        list: HitList::new(memory.checkpoint(), context.style),
        context,
        args,
        count: 0,
        failed: None,
        missing: Tally::default(),
    };
    if args.max_count != Some(0) {
        match &what {
            What::Patterns(matcher) => search(&memory, &scope, matcher, &bar, &mut printer)?,
            #[cfg(feature = "yara")]
            What::Rules(rules) => yara::scan(&memory, &scope, rules, &bar, &mut printer)?,
        }
    }
    drop(bar);
    let Printer { context, count, failed, missing, .. } = printer;
    if let Some(error) = failed {
        return Err(error);
    }
    if args.count {
        if context.json {
            context.write_json_line(&CountLine { count })?;
        } else {
            writeln!(context.out, "{count}")?;
        }
    }
    if let Some(line) = missing.line() {
        // Behind the hits, also where both go to one terminal.
        context.out.flush()?;
        context.note(&format!("not searched: {line}"))?;
    }
    Ok(count > 0)
}

/// What to look for, ready.
enum What {
    Patterns(Matcher),
    #[cfg(feature = "yara")]
    Rules(Box<yara::YaraRules>),
}

impl What {
    #[cfg_attr(not(feature = "yara"), expect(unused_variables, reason = "only rules have warnings"))]
    fn new(args: &SearchArgs, checkpoint: &Checkpoint, context: &mut Context<'_>) -> anyhow::Result<What> {
        #[cfg(feature = "yara")]
        if !args.yara.is_empty() {
            let rules = crate::session::search::rules::read(&args.yara)?;
            for warning in rules.warnings() {
                context.note(warning)?;
            }
            return Ok(What::Rules(Box::new(rules)));
        }
        let patterns = patterns(args, checkpoint)?;
        Ok(What::Patterns(Matcher::new(&patterns).map_err(|why| refused(args, &why))?))
    }
}

/// Where to search.
pub(super) fn scope(pid: Option<u32>, maps: &Maps, sources: &[Source]) -> anyhow::Result<Scope> {
    let vmas = filter(maps, None);
    let is_memory = sources.is_empty() || sources.contains(&Source::Memory);
    anyhow::ensure!(
        vmas.is_all() || is_memory,
        "--map, --perms and --kind choose memory, and --in leaves it out; add memory to --in"
    );
    Ok(Scope { sources: sources.to_vec(), pid: pid.map(Pid), vmas })
}

/// Which vmas.
pub(super) fn filter(maps: &Maps, range: Option<(u64, u64)>) -> VmaFilter {
    let address = crate::base::VirtAddr;
    VmaFilter {
        map: maps.map.clone(),
        perms: maps.perms.clone(),
        kinds: maps.kind.clone(),
        range: range.map(|(start, end)| address(start)..address(end)),
    }
}

fn patterns(args: &SearchArgs, checkpoint: &Checkpoint) -> anyhow::Result<Vec<Pattern>> {
    if args.secrets {
        return Ok(vec![Pattern::Secrets]);
    }
    let spelling =
        Spelling { regex: args.regex, hex: args.hex, utf16: args.utf16, value: args.value, any_case: args.ignore_case };
    let arch = checkpoint.container.arch;
    args.pattern.iter().chain(&args.also).map(|text| pattern(spelling, text, arch)).collect()
}

/// How a pattern is written.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Spelling {
    pub(super) regex: bool,
    pub(super) hex: bool,
    pub(super) utf16: bool,
    pub(super) value: bool,
    pub(super) any_case: bool,
}

/// Reads a pattern; numbers are written as a machine of this architecture has them.
pub(super) fn pattern(spelling: Spelling, given: &OsStr, arch: Option<Arch>) -> anyhow::Result<Pattern> {
    let Spelling { regex, hex, utf16, value, any_case } = spelling;
    if !(regex || hex || utf16 || value) {
        let bytes = given.as_bytes().to_vec();
        return Ok(if any_case { Pattern::LiteralAnyCase(bytes) } else { Pattern::Literal(bytes) });
    }
    let text = given.to_str().with_context(|| format!("{}: not UTF-8; --hex takes any bytes", given.display()))?;
    Ok(if regex {
        Pattern::Regex { source: text.to_owned(), any_case }
    } else if utf16 {
        Pattern::Utf16 { text: text.to_owned(), any_case }
    } else if hex {
        Pattern::Hex(HexPattern::parse(text)?)
    } else {
        let arch = arch.unwrap_or_default();
        let word_bytes = if arch == Arch::Arm { 4 } else { 8 };
        let order = if arch == Arch::S390 { ByteOrder::Big } else { ByteOrder::Little };
        Pattern::Literal(parse_value(text, word_bytes, order)?)
    })
}

fn refused(args: &SearchArgs, why: &dyn std::fmt::Display) -> anyhow::Error {
    match &args.pattern {
        Some(pattern) if args.regex => anyhow::anyhow!("{}: {why}", pattern.display()),
        _ => anyhow::anyhow!("{why}"),
    }
}

struct Printer<'p, 'c> {
    list: HitList<'p>,
    context: &'p mut Context<'c>,
    args: &'p SearchArgs,
    count: u64,
    failed: Option<anyhow::Error>,
    missing: Tally,
}

impl Printer<'_, '_> {
    fn print(&mut self, hit: &Hit<'_>, label: Option<Label>) -> anyhow::Result<()> {
        if self.args.count {
            return Ok(());
        }
        let around = usize::try_from(self.args.context.unwrap_or(CONTEXT_BYTES)).unwrap_or(0);
        if self.context.json {
            return self.context.write_json_line(&HitLine::new(hit, around, label));
        }
        Ok(self.list.hit(self.context.out, hit, around, label.as_ref())?)
    }

    fn take(&mut self, hit: &Hit<'_>, label: Option<Label>) -> ControlFlow<()> {
        self.count = self.count.saturating_add(1);
        if let Err(error) = self.print(hit, label) {
            self.failed = Some(error);
            return ControlFlow::Break(());
        }
        if self.args.max_count.is_some_and(|max| max <= self.count) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

impl SearchSink for Printer<'_, '_> {
    fn found(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        let label = if self.args.secrets { Label::of_secret(hit) } else { None };
        self.take(hit, label)
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        self.missing.add(skipped);
    }
}

#[cfg(feature = "yara")]
impl yara::YaraSink for Printer<'_, '_> {
    fn found(&mut self, found: &yara::YaraHit<'_>) -> ControlFlow<()> {
        let label = Label { rule: found.rule.name.clone(), pattern: found.pattern.map(str::to_owned), note: None };
        self.take(&found.hit, Some(label))
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        self.missing.add(skipped);
    }
}
