//! Searching one archive of a hunt.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Map, Value};

use super::context::Context;
use super::hunt_archives::Archive;
use super::hunt_args::HuntArgs;
use super::search::{Spelling, pattern};
use crate::base::{Cancelled, Progress as _, hex};
use crate::checkpoint::{self, Checkpoint};
use crate::evidence::{BaseImage, OpenOptions};
use crate::jobs::JobCtx;
use crate::memory::Memory;
#[cfg(feature = "yara")]
use crate::memory::search::yara;
use crate::memory::search::{Hit, Matcher, Pattern, Scope, SearchSink, Skipped, search};
use crate::remote::Remote;
use crate::report::hunt::{ArchiveName, ArchiveRow, CheckpointName, HitRow, IssueRow, Table, row};
use crate::report::missing::Tally;
use crate::report::search::{HitLine, Label};

/// A row on its way to who writes it.
pub(super) type Row = (Table, Map<String, Value>);

/// What to look for, ready for every archive.
pub(super) enum Rules {
    Patterns {
        matcher: Matcher,
        is_secrets: bool,
    },
    #[cfg(feature = "yara")]
    Yara(Box<yara::YaraRules>),
}

impl Rules {
    #[cfg_attr(not(feature = "yara"), expect(unused_variables, reason = "only rules have warnings"))]
    pub(super) fn new(args: &HuntArgs, context: &mut Context<'_>) -> anyhow::Result<Rules> {
        #[cfg(feature = "yara")]
        if !args.yara.is_empty() {
            let rules = crate::session::search::rules::read(&args.yara)?;
            for warning in rules.warnings() {
                context.note(warning)?;
            }
            return Ok(Rules::Yara(Box::new(rules)));
        }
        let spelling =
            Spelling { regex: args.regex, hex: args.hex, utf16: args.utf16, value: false, any_case: args.ignore_case };
        let patterns = if args.secrets {
            vec![Pattern::Secrets]
        } else {
            let read = args.pattern.iter().map(|text| pattern(spelling, text, None));
            read.collect::<anyhow::Result<Vec<_>>>()?
        };
        let matcher = Matcher::new(&patterns).map_err(|why| anyhow::anyhow!("--pattern: {why}"))?;
        Ok(Rules::Patterns { matcher, is_secrets: args.secrets })
    }
}

/// What is done with each archive.
pub(super) struct Hunt {
    pub(super) rules: Rules,
    pub(super) scope: Scope,
    pub(super) options: OpenOptions,
    pub(super) remote: Arc<Remote>,
    /// Images that the containers started from.
    pub(super) bases: Vec<BaseImage>,
    /// Bytes of context.
    pub(super) around: usize,
    /// Most hits of an archive.
    pub(super) max_count: u64,
    pub(super) is_hashed: bool,
}

impl Hunt {
    /// Searches an archive, and hands its hits and issues over.
    pub(super) fn archive(
        &self,
        archive: &Archive,
        rows: &SyncSender<Row>,
        ctx: &JobCtx,
    ) -> anyhow::Result<ArchiveRow> {
        let begun = Instant::now();
        let evidence = archive.open(&self.remote, &self.options, ctx)?;
        let sha256 = if self.is_hashed { Some(hex(&evidence.sha256(ctx)?)) } else { None };
        let name = ArchiveName { archive: archive.name(), sha256 };
        let checkpoints = checkpoint::load(&evidence, &self.options, ctx)?;
        let mut done = ArchiveRow {
            name: name.clone(),
            state: "searched",
            size_bytes: Some(evidence.size_bytes()),
            checkpoints: Some(checkpoints.len() as u64),
            ..ArchiveRow::default()
        };
        if let Some(first) = checkpoints.first() {
            let container = &first.container;
            done.container.clone_from(&container.name);
            done.pod.clone_from(&container.pod);
            done.namespace.clone_from(&container.namespace);
            done.image.clone_from(&container.image);
            done.engine = container.engine;
            done.checkpointed.clone_from(&container.checkpointed);
        }
        for checkpoint in checkpoints {
            self.checkpoint(checkpoint, &name, &mut done, rows, ctx)?;
        }
        done.seconds = (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        Ok(done)
    }

    /// Memory with the image that has most of the mapped files, and that image.
    fn memory(&self, checkpoint: Arc<Checkpoint>) -> (Memory, Option<&BaseImage>) {
        // Of those that have as many the first one counts.
        let with = self.bases.iter().rev().map(|base| (Memory::with_base(Arc::clone(&checkpoint), base), base));
        match with.max_by_key(|(memory, _)| memory.nr_files_of_base()) {
            Some((memory, base)) if memory.nr_files_of_base() > 0 => (memory, Some(base)),
            _ => (Memory::new(checkpoint), None),
        }
    }

    fn checkpoint(
        &self,
        checkpoint: Arc<Checkpoint>,
        name: &ArchiveName,
        done: &mut ArchiveRow,
        rows: &SyncSender<Row>,
        ctx: &JobCtx,
    ) -> anyhow::Result<()> {
        let within = CheckpointName::new(&checkpoint);
        let mut issues: Vec<IssueRow> =
            checkpoint.issues.iter().map(|issue| IssueRow::of(name, &within, issue)).collect();
        let (memory, base) = self.memory(checkpoint);
        if let Some(base) = base {
            done.rootfs.get_or_insert_with(|| base.name().to_owned());
            // What is wrong with the image itself comes first, and was told when it was opened.
            let of_archive = memory.issues().iter().skip(base.issues().len());
            issues.extend(of_archive.map(|issue| IssueRow { kind: "rootfs", ..IssueRow::of(name, &within, issue) }));
        }
        let mut sink = Sink {
            hunt: self,
            name,
            within: &within,
            rows,
            count: done.hits,
            is_gone: false,
            missing: Tally::default(),
        };
        if sink.count < self.max_count {
            match &self.rules {
                Rules::Patterns { matcher, .. } => search(&memory, &self.scope, matcher, ctx, &mut sink)?,
                #[cfg(feature = "yara")]
                Rules::Yara(rules) => yara::scan(&memory, &self.scope, rules, ctx, &mut sink)?,
            }
        }
        let Sink { count, is_gone, missing, .. } = sink;
        done.hits = count;
        let of_all = |kind, what| IssueRow {
            name: name.clone(),
            images_dir: Some(within.images_dir.clone()),
            kind,
            r#where: None,
            what,
        };
        if base.is_none() && !self.bases.is_empty() {
            issues.push(of_all("rootfs", "no file that it maps is in an image that was given, as it was".to_owned()));
        }
        issues.extend(missing.parts().into_iter().map(|what| of_all("not-searched", what)));
        if self.max_count <= count {
            done.state = "stopped";
            issues.push(of_all("not-searched", format!("it has more than {} hits: the rest was left", self.max_count)));
        }
        for issue in issues {
            done.issues = done.issues.saturating_add(1);
            if is_gone || rows.send((Table::Issues, row(Table::Issues, &issue))).is_err() {
                return Err(Cancelled.into());
            }
        }
        ctx.step(0, None)?;
        Ok(())
    }
}

/// Opens the images that containers started from.
pub(super) fn bases(args: &HuntArgs, remote: &Remote, context: &mut Context<'_>) -> anyhow::Result<Vec<BaseImage>> {
    let mut bases = Vec::new();
    for path in &args.rootfs {
        let archive = Archive::named(path)?;
        let bar = context.progress();
        let open = || {
            let evidence = archive.open(remote, &context.options, &bar)?;
            anyhow::Ok(BaseImage::of(evidence, &context.options, &bar)?)
        };
        let base = open().with_context(|| match archive {
            // What is wrong with a file is told with its path.
            Archive::Path(_) => "--rootfs".to_owned(),
            _ => format!("--rootfs: {}", archive.name()),
        })?;
        drop(bar);
        for issue in base.issues() {
            context.note(&format!("--rootfs: {issue}"))?;
        }
        bases.push(base);
    }
    Ok(bases)
}

struct Sink<'a> {
    hunt: &'a Hunt,
    name: &'a ArchiveName,
    within: &'a CheckpointName,
    rows: &'a SyncSender<Row>,
    /// Hits of the archive so far.
    count: u64,
    /// Nobody takes rows any more.
    is_gone: bool,
    missing: Tally,
}

impl Sink<'_> {
    fn take(&mut self, hit: &Hit<'_>, label: Option<Label>) -> ControlFlow<()> {
        let found =
            HitRow { name: self.name, checkpoint: self.within, hit: HitLine::new(hit, self.hunt.around, label) };
        if self.rows.send((Table::Hits, row(Table::Hits, &found))).is_err() {
            self.is_gone = true;
            return ControlFlow::Break(());
        }
        self.count = self.count.saturating_add(1);
        if self.hunt.max_count <= self.count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl SearchSink for Sink<'_> {
    fn found(&mut self, hit: &Hit<'_>) -> ControlFlow<()> {
        let is_secrets = matches!(self.hunt.rules, Rules::Patterns { is_secrets: true, .. });
        let label = if is_secrets { Label::of_secret(hit) } else { None };
        self.take(hit, label)
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        self.missing.add(skipped);
    }
}

#[cfg(feature = "yara")]
impl yara::YaraSink for Sink<'_> {
    fn found(&mut self, found: &yara::YaraHit<'_>) -> ControlFlow<()> {
        let label = Label { rule: found.rule.name.clone(), pattern: found.pattern.map(str::to_owned), note: None };
        self.take(&found.hit, Some(label))
    }

    fn skipped(&mut self, skipped: &Skipped<'_>) {
        self.missing.add(skipped);
    }
}
