//! `acquire freeze` and `acquire pull`: one node, one container or archive at a time.

use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use serde::Serialize;

use super::acquire::client;
use super::acquire_args::{FreezeArgs, FreezeOptions, PullArgs};
use super::context::Context;
use crate::acquire::freeze::{self, Method, Step, Way, Wishes};
use crate::acquire::manifest::Manifest;
use crate::acquire::selector::Called;
use crate::acquire::wire::{Container, Job, JobKind};
use crate::acquire::{Client, PairedNode, PullControl, Pulled, Target};
use crate::base::escape_controls;
use crate::report::text::bytes as human_size;

/// A line of JSON for what happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Line<'a> {
    /// The node was asked, or its job moved.
    Job { node: &'a str, container: &'a str, job: &'a Job },
    /// The archive is fetched.
    Pulling { node: &'a str, container: Option<&'a str>, archive: &'a str },
    /// It is here, whole, verified and noted.
    Done {
        node: &'a str,
        container: Option<&'a str>,
        path: String,
        size_bytes: u64,
        sha256: &'a str,
        verified: bool,
        was_there: bool,
        manifest: &'a Manifest,
    },
    /// There is none.
    Failed { node: &'a str, container: Option<&'a str>, problem: String },
    /// The analyst should know.
    Note { node: &'a str, text: String },
}

impl<'a> Line<'a> {
    pub(super) fn done(node: &'a str, container: Option<&'a str>, pulled: &'a Pulled) -> Line<'a> {
        Line::Done {
            node,
            container,
            path: pulled.path.display().to_string(),
            size_bytes: pulled.manifest.archive.size_bytes,
            sha256: &pulled.manifest.archive.sha256,
            verified: true,
            was_there: pulled.was_there,
            manifest: &pulled.manifest,
        }
    }
}

pub(super) fn wishes(options: &FreezeOptions) -> Wishes {
    Wishes {
        timeout_seconds: options.timeout.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX)),
        reason: options.reason.clone(),
        method: match (options.collect, options.hold) {
            (false, _) => Method::Checkpoint,
            (true, false) => Method::Collection,
            (true, true) => Method::HeldCollection,
        },
    }
}

pub(super) fn make_dir(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("{}: cannot be made", dir.display()))
}

pub(super) fn freeze(args: &FreezeArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (node, client) = client(&args.on)?;
    let container = freeze::container(&client, &args.container)?;
    let called = Called(&container).to_string();
    make_dir(&args.options.output)?;
    let target = Target::Dir(args.options.output.clone());
    let wishes = wishes(&args.options);
    let series = args.options.series.unwrap_or(1);
    let mut n_bad = 0_u32;
    for n in 1..=series {
        let begun = Instant::now();
        match one(&Asked { node: &node, client: &client, container: &container }, &target, &wishes, context) {
            Ok(()) => {}
            // One that fails does not end a series: a client that connected just then spoils no more than that.
            Err(error) if series > 1 && !super::is_cancelled(&error) && !super::is_closed_pipe(&error) => {
                n_bad += 1;
                if context.json {
                    let problem = format!("{error:#}");
                    context.write_json_line(&Line::Failed { node: &node.name, container: Some(&called), problem })?;
                    context.out.flush()?;
                } else {
                    context.error(&error)?;
                }
            }
            Err(error) => return Err(error),
        }
        if n < series {
            let bar = context.progress();
            freeze::sleep(args.options.every.saturating_sub(begun.elapsed()), &bar)?;
        }
    }
    anyhow::ensure!(n_bad == 0, "{n_bad} of {series} checkpoints were not acquired");
    Ok(())
}

/// Of whom a checkpoint is asked.
struct Asked<'a> {
    node: &'a PairedNode,
    client: &'a Client,
    container: &'a Container,
}

/// One checkpoint.
fn one(asked: &Asked<'_>, target: &Target, wishes: &Wishes, context: &mut Context<'_>) -> anyhow::Result<()> {
    let Asked { node, client, container } = *asked;
    let called = Called(container).to_string();
    let control = PullControl::default();
    let bar = context.progress();
    let way = Way { node, client, target, control: &control, progress: &bar };
    let mut failed = None;
    let is_json = context.json;
    let pulled = way.freeze(container, wishes, &mut |step| {
        let written = match &step {
            Step::Asked(job) | Step::Job(job) if is_json => {
                context.write_json_line(&Line::Job { node: &node.name, container: &called, job })
            }
            Step::Pulling { archive } if is_json => {
                context.write_json_line(&Line::Pulling { node: &node.name, container: Some(&called), archive })
            }
            _ => Ok(()),
        };
        // Who reads it sees what happens while it does.
        let written = written.and_then(|()| Ok(context.out.flush()?));
        failed = failed.take().or(written.err());
    });
    drop(bar);
    notes(&node.name, &control, context)?;
    if matches!(pulled, Err(freeze::FreezeError::Cancelled(_))) {
        let name = &node.name;
        context.note(&format!(
            "{name} goes on: `cryoscope acquire jobs {name}` shows how it ends, `cryoscope acquire pull {name} ARCHIVE` fetches what came of it"
        ))?;
    }
    let pulled = pulled?;
    failed.map_or(Ok(()), Err)?;
    done(&node.name, Some(&called), &pulled, context)
}

pub(super) fn pull(args: &PullArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let (node, client) = client(&args.on)?;
    let target = match &args.to {
        Some(file) => Target::File(file.clone()),
        None => {
            make_dir(&args.output)?;
            Target::Dir(args.output.clone())
        }
    };
    if context.json {
        context.write_json_line(&Line::Pulling { node: &node.name, container: None, archive: &args.archive })?;
        context.out.flush()?;
    }
    let control = PullControl::default();
    let bar = context.progress();
    let way = Way { node: &node, client: &client, target: &target, control: &control, progress: &bar };
    let pulled = way.fetch(&args.archive);
    drop(bar);
    notes(&node.name, &control, context)?;
    done(&node.name, None, &pulled?, context)
}

fn notes(node: &str, control: &PullControl, context: &mut Context<'_>) -> anyhow::Result<()> {
    for text in control.take_notes() {
        if context.json {
            context.write_json_line(&Line::Note { node, text })?;
        } else {
            context.note(&text)?;
        }
    }
    Ok(())
}

fn done(node: &str, container: Option<&str>, pulled: &Pulled, context: &mut Context<'_>) -> anyhow::Result<()> {
    if context.json {
        context.write_json_line(&Line::done(node, container, pulled))?;
        return Ok(context.out.flush()?);
    }
    let manifest = &pulled.manifest;
    let was = if pulled.was_there { ", was there already" } else { "" };
    let called = Called(&manifest.container).to_string();
    let kind = super::acquire::spelled(&manifest.source);
    let how = if manifest.archive.kind == JobKind::Collection { "read" } else { "frozen" };
    let lines = [
        pulled.path.display().to_string(),
        format!("  {called} of {node}, {how} {:.0} by {kind}{was}", manifest.started),
        format!("  {}, SHA-256 {}", human_size(manifest.archive.size_bytes), manifest.archive.sha256),
        "  verified: length, SHA-256 and the node's signature agree; noted in its custody record".to_owned(),
    ];
    for line in lines {
        writeln!(context.out, "{}", escape_controls(&line))?;
    }
    // Of a container that was frozen just now they were told already.
    for warning in manifest.warnings.iter().filter(|_| container.is_none()) {
        context.note(warning)?;
    }
    Ok(context.out.flush()?)
}
