//! `strings`: printable strings with their addresses.

use std::ops::ControlFlow;

use crate::memory::search::{Encoding, Hit, Matcher, Pattern, SearchSink, Skipped, search, strings_pattern};
use crate::report::missing::Tally;
use crate::report::search::StringLine;
use crate::report::text::HitList;

use super::args::StringsArgs;
use super::context::Context;

pub(super) fn run(args: &StringsArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let checkpoint = context.one(&args.archive, &args.which, &args.parents)?;
    if let Some(pid) = args.pid {
        context.process(&checkpoint, pid)?;
    }
    let mut encodings = args.encoding.clone();
    encodings.sort_unstable();
    encodings.dedup();
    if encodings.contains(&Encoding::Utf8) {
        // Every string of ASCII is one of UTF-8, or a part of one.
        encodings.retain(|encoding| *encoding != Encoding::Ascii);
    }
    let min_letters = usize::from(args.min_length);
    let patterns: Vec<Pattern> = encodings.iter().map(|encoding| strings_pattern(*encoding, min_letters)).collect();
    let matcher = Matcher::new(&patterns)?;
    let scope = super::search::scope(args.pid, &args.maps, &args.sources)?;
    let bar = context.progress_while_printing();
    let memory = context.memory(checkpoint, &args.base)?;
    let mut printer = Printer {
        list: HitList::new(memory.checkpoint(), context.style),
        context,
        encodings: &encodings,
        failed: None,
        missing: Tally::default(),
    };
    search(&memory, &scope, &matcher, &bar, &mut printer)?;
    drop(bar);
    let Printer { context, failed, missing, .. } = printer;
    if let Some(error) = failed {
        return Err(error);
    }
    if let Some(line) = missing.line() {
        context.out.flush()?;
        context.note(&format!("not read: {line}"))?;
    }
    Ok(())
}

struct Printer<'p, 'c> {
    list: HitList<'p>,
    context: &'p mut Context<'c>,
    encodings: &'p [Encoding],
    failed: Option<anyhow::Error>,
    missing: Tally,
}

impl Printer<'_, '_> {
    fn print(&mut self, hit: &Hit<'_>) -> anyhow::Result<()> {
        let Some(encoding) = self.encodings.get(hit.pattern()) else { return Ok(()) };
        if self.context.json {
            return self.context.write_json_line(&StringLine::new(hit, *encoding));
        }
        Ok(self.list.string(self.context.out, hit, *encoding)?)
    }
}

impl SearchSink for Printer<'_, '_> {
    fn found(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        match self.print(hit) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        self.missing.add(skipped);
    }
}
