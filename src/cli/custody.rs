//! `acquire verify`: whether an archive still is what came from its node.

use std::path::Path;

use serde::Serialize;

use super::acquire_args::VerifyArgs;
use super::context::Context;
use crate::acquire::custody::{Custody, Verified};
use crate::acquire::manifest::Manifest;
use crate::acquire::pull::hash_of;
use crate::acquire::selector::Called;
use crate::base::escape_controls;

/// A line of `acquire verify --json`.
#[derive(Debug, Serialize)]
struct Line {
    path: String,
    sha256: Option<String>,
    is_good: bool,
    problem: Option<String>,
    node: Option<String>,
    address: Option<String>,
    acquired: Option<jiff::Timestamp>,
    acquired_by: Option<String>,
    manifest: Option<Manifest>,
    /// Looks at it before this one.
    checks: usize,
}

pub(super) fn verify(args: &VerifyArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let custody = Custody::open()?;
    let mut n_bad = 0_usize;
    for path in &args.archives {
        let line = match look(&custody, path, context) {
            Ok(line) => line,
            Err(error) if super::is_cancelled(&error) => return Err(error),
            Err(error) => bad(path, format!("{error:#}")),
        };
        n_bad = n_bad.saturating_add(usize::from(!line.is_good));
        if context.json {
            context.write_json_line(&line)?;
            continue;
        }
        let text = match (&line.problem, &line.manifest) {
            (None, Some(manifest)) => format!(
                "good: {} of {}, frozen {:.0}, fetched {:.0} by {}",
                Called(&manifest.container),
                line.node.as_deref().unwrap_or("?"),
                manifest.started,
                line.acquired.unwrap_or_default(),
                line.acquired_by.as_deref().unwrap_or("?"),
            ),
            (problem, _) => format!("NOT GOOD: {}", problem.as_deref().unwrap_or("?")),
        };
        writeln!(context.out, "{}: {}", escape_controls(&line.path), escape_controls(&text))?;
    }
    let n_all = args.archives.len();
    anyhow::ensure!(n_bad == 0, "{n_bad} of {n_all} archives cannot be vouched for");
    Ok(())
}

fn look(custody: &Custody, path: &Path, context: &mut Context<'_>) -> anyhow::Result<Line> {
    let bar = context.progress();
    let sha256 = hash_of(path, &bar)?.ok_or_else(|| anyhow::anyhow!("there is no such file"))?;
    drop(bar);
    let len = std::fs::metadata(path)?.len();
    let Some(record) = custody.find(&sha256)? else {
        return Ok(match custody.find_by_path(path)? {
            Some(before) => {
                let problem = format!("it was changed: it came with the SHA-256 {before} and has {sha256} now");
                custody.note_checked(&before, path, Some(problem.clone()))?;
                Line { sha256: Some(sha256), ..bad(path, problem) }
            }
            None => {
                let problem =
                    "nothing is known of it here: it did not come by `cryoscope acquire`, or was changed and moved";
                Line { sha256: Some(sha256), ..bad(path, problem.to_owned()) }
            }
        });
    };
    for issue in &record.issues {
        context.note(issue)?;
    }
    let checks = record.entries.len().saturating_sub(1);
    let verified = record.verify(len, &sha256);
    let line = match verified {
        Some(Ok(Verified { acquired, at, who, manifest })) => Line {
            path: path.display().to_string(),
            sha256: Some(sha256.clone()),
            is_good: true,
            problem: None,
            node: Some(acquired.node),
            address: Some(acquired.address),
            acquired: Some(at),
            acquired_by: Some(who),
            manifest: Some(manifest),
            checks,
        },
        Some(Err(error)) => Line { sha256: Some(sha256.clone()), checks, ..bad(path, error.to_string()) },
        None => {
            let problem = "its custody record does not say how it came".to_owned();
            Line { sha256: Some(sha256.clone()), checks, ..bad(path, problem) }
        }
    };
    custody.note_checked(&sha256, path, line.problem.clone())?;
    Ok(line)
}

fn bad(path: &Path, problem: String) -> Line {
    Line {
        path: path.display().to_string(),
        sha256: None,
        is_good: false,
        problem: Some(problem),
        node: None,
        address: None,
        acquired: None,
        acquired_by: None,
        manifest: None,
        checks: 0,
    }
}
