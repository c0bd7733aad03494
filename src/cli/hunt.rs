//! `hunt`: searches many archives, here or as a job of Kubernetes.
//!
//! Each archive is a job with a thread; so many run at once as were asked for, and hand rows over a bounded channel to the
//! one that writes. An archive that cannot be opened, or that breaks the search, is a row of `issues`.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::context::Context;
use super::hunt_archives::{self, Archive};
use super::hunt_args::{HuntArgs, Shard};
use super::hunt_output::Output;
use super::hunt_search::{self, Hunt, Row, Rules};
use super::{hunt_kubernetes, search};
use crate::base::{Progress as _, escape_controls};
use crate::jobs::{self, JobHandle, Outcome};
use crate::remote::{Remote, Settings};
use crate::report::hunt::{ArchiveName, ArchiveRow, IssueRow, Table, row};
use crate::report::text::plural;

/// Rows that wait to be written.
const MAX_WAITING: usize = 1024;
/// How long to wait for a row before looking whether jobs have ended.
const TICK: Duration = Duration::from_millis(20);

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Summary {
    schema: &'static str,
    shard: Option<String>,
    archives: u64,
    unreadable: u64,
    archives_with_hits: u64,
    hits: u64,
    issues: u64,
    files: Vec<String>,
}

/// Whether something was found.
pub(super) fn run(args: &HuntArgs, context: &mut Context<'_>) -> anyhow::Result<bool> {
    if args.kubernetes {
        hunt_kubernetes::print(args, context)?;
        return Ok(true);
    }
    anyhow::ensure!(
        !(args.paths.is_empty() && args.list.is_empty()),
        "name archives, directories or buckets, or a --list of them"
    );
    let rules = Rules::new(args, context)?;
    let remote = Arc::new(Remote::new(settings(args)));
    let scope = search::scope(None, &args.maps, &args.sources)?;
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let (archives, issues) = hunt_archives::find(args, shard, &remote, context)?;
    let bases = hunt_search::bases(args, &remote, context)?;
    let around = usize::try_from(args.context).unwrap_or(0);
    let options = context.options.clone();
    let hunt = Arc::new(Hunt {
        rules,
        scope,
        options,
        remote,
        bases,
        around,
        max_count: args.max_count,
        is_hashed: args.hash,
    });
    let mut writer = Writer {
        n_denied: 0,
        is_whole: args.shard.is_none(),
        output: args.output.as_ref().map(|dir| Output::new(dir, shard, args.force)).transpose()?,
        summary: Summary { schema: "cryoscope.hunt/1", ..Summary::default() },
        context,
    };
    writer.summary.shard = args.shard.map(|shard| format!("{}/{}", shard.index, shard.count));
    for issue in issues {
        writer.write(Table::Issues, row(Table::Issues, &issue))?;
    }
    let at_once = args.jobs.map_or_else(|| rayon::current_num_threads().clamp(1, 4), usize::from);
    hunt_all(&hunt, archives, at_once, &mut writer)?;
    let found = writer.finish()?;
    // A share without hits is no failure of the pod that searched it.
    Ok(found || args.shard.is_some())
}

/// Where buckets are: as the command line says, else the environment.
fn settings(args: &HuntArgs) -> Settings {
    let of_environment = Settings::from_vars(|name| std::env::var(name).ok());
    Settings {
        endpoint: args.store.endpoint.clone().or(of_environment.endpoint),
        region: args.store.region.clone().or(of_environment.region),
        ..of_environment
    }
}

fn hunt_all(
    hunt: &Arc<Hunt>,
    archives: Vec<Archive>,
    at_once: usize,
    writer: &mut Writer<'_, '_>,
) -> anyhow::Result<()> {
    let (sender, rows) = mpsc::sync_channel::<Row>(MAX_WAITING);
    let total = archives.len() as u64;
    let mut left = archives.into_iter();
    let mut running: Vec<(Archive, JobHandle<ArchiveRow>)> = Vec::new();
    let bar = if writer.prints_rows() { writer.context.progress_while_printing() } else { writer.context.progress() };
    bar.stage("hunting");
    let mut n_done = 0_u64;
    loop {
        // Dropping the jobs on an error cancels them.
        bar.step(n_done, Some(total))?;
        while running.len() < at_once {
            let Some(archive) = left.next() else { break };
            let (hunt, sender, searched) = (Arc::clone(hunt), sender.clone(), archive.clone());
            let job = jobs::spawn("hunt", Arc::new(|| {}), move |ctx| hunt.archive(&searched, &sender, ctx));
            running.push((archive, job));
        }
        if running.is_empty() {
            break;
        }
        match rows.recv_timeout(TICK) {
            Ok((table, fields)) => writer.write(table, fields)?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        while let Ok((table, fields)) = rows.try_recv() {
            writer.write(table, fields)?;
        }
        let mut still = Vec::new();
        for (archive, job) in running {
            match job.try_take() {
                None => still.push((archive, job)),
                Some(outcome) => {
                    n_done += 1;
                    writer.ended(&archive, outcome)?;
                }
            }
        }
        running = still;
    }
    while let Ok((table, fields)) = rows.try_recv() {
        writer.write(table, fields)?;
    }
    Ok(())
}

struct Writer<'w, 'c> {
    /// Archives that this user may not read.
    n_denied: u64,
    /// Not a share.
    is_whole: bool,
    output: Option<Output>,
    summary: Summary,
    context: &'w mut Context<'c>,
}

impl Writer<'_, '_> {
    fn prints_rows(&self) -> bool {
        self.output.is_none()
    }

    fn write(&mut self, table: Table, fields: Map<String, Value>) -> anyhow::Result<()> {
        match table {
            Table::Hits => self.summary.hits += 1,
            Table::Issues => self.summary.issues += 1,
            Table::Archives => {}
        }
        if let Some(output) = &mut self.output {
            return output.push(table, fields);
        }
        if self.context.json {
            let mut line = Map::new();
            let word = table.word().trim_end_matches('s');
            line.insert("row".to_owned(), word.into());
            line.extend(fields);
            return self.context.write_json_line(&line);
        }
        match table {
            Table::Hits => Ok(writeln!(self.context.out, "{}", hit_line(&fields))?),
            Table::Issues if fields.get("kind").and_then(Value::as_str) == Some("archive") => {
                let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                Ok(self.context.note(&format!("{}: {}", text("archive"), text("what")))?)
            }
            // Issues of evidence are for who reads tables; here they would bury the hits.
            Table::Issues | Table::Archives => Ok(()),
        }
    }

    fn ended(&mut self, archive: &Archive, outcome: Outcome<ArchiveRow>) -> anyhow::Result<()> {
        let done = match outcome {
            Outcome::Done(done) => done,
            Outcome::Cancelled => return Err(crate::base::Cancelled.into()),
            Outcome::Failed(error) => {
                let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
                self.n_denied += u64::from(causes.any(|cause| cause.kind() == io::ErrorKind::PermissionDenied));
                let name = ArchiveName { archive: archive.name(), sha256: None };
                let what = format!("{error:#}");
                let what = what.strip_prefix(&format!("{}: ", name.archive)).unwrap_or(&what).to_owned();
                let issue = IssueRow { name: name.clone(), images_dir: None, kind: "archive", r#where: None, what };
                self.write(Table::Issues, row(Table::Issues, &issue))?;
                ArchiveRow { name, state: "unreadable", issues: 1, ..ArchiveRow::default() }
            }
        };
        self.summary.archives += 1;
        self.summary.unreadable += u64::from(done.state == "unreadable");
        self.summary.archives_with_hits += u64::from(done.hits > 0);
        self.write(Table::Archives, row(Table::Archives, &done))
    }

    /// Whether something was found. Where nothing could be read, nothing found says nothing.
    fn finish(mut self) -> anyhow::Result<bool> {
        self.tell()?;
        let Summary { archives, unreadable, .. } = self.summary;
        let is_denied = archives > 0 && self.n_denied == archives;
        anyhow::ensure!(
            !is_denied,
            "this user may read none of the archives ({archives}): see their modes, in a pod `fsGroup`"
        );
        // A share may hold nothing but broken ones.
        anyhow::ensure!(!self.is_whole || unreadable == 0 || unreadable < archives, "no archive could be read");
        Ok(self.summary.hits > 0)
    }

    fn tell(&mut self) -> anyhow::Result<()> {
        let Some(output) = self.output.take() else {
            if !self.context.json {
                self.context.out.flush()?;
                let line = self.line();
                self.context.note(&line)?;
            }
            return Ok(());
        };
        self.summary.files = output.finish()?;
        if self.context.json {
            self.context.write_json(&self.summary)?;
        } else {
            let line = self.line();
            writeln!(self.context.out, "{line}")?;
            for file in &self.summary.files {
                writeln!(self.context.out, "{}", escape_controls(file))?;
            }
        }
        Ok(())
    }

    fn line(&self) -> String {
        let Summary { archives, unreadable, archives_with_hits, hits, issues, .. } = self.summary;
        let n = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        format!(
            "{} in {} of {}; {unreadable} could not be read; {}",
            plural(n(hits), "hit", "hits"),
            archives_with_hits,
            plural(n(archives), "archive", "archives"),
            plural(n(issues), "issue", "issues"),
        )
    }
}

/// A hit for people.
fn hit_line(fields: &Map<String, Value>) -> String {
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let place = match (text("pid"), text("vaddr"), text("offset")) {
        (Some(pid), Some(vaddr), _) => format!("pid {pid} {vaddr}"),
        (_, _, Some(offset)) => format!("{} +{offset}", text("source").unwrap_or_default()),
        _ => text("source").unwrap_or_default(),
    };
    let parts = [text("archive"), Some(place), text("map"), text("rule"), text("match").map(|it| short(&it))];
    let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    escape_controls(&parts.join("  ")).into_owned()
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}
