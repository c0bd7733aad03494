//! `acquire verify`: whether an archive still is what came from its node.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::acquire_args::VerifyArgs;
use super::context::Context;
use crate::acquire::custody::{Custody, Verified};
use crate::acquire::manifest::{Manifest, ManifestError};
use crate::acquire::pull::hash_of;
use crate::acquire::selector::Called;
use crate::base::escape_controls;

/// What is known of how an archive came.
#[derive(Debug, Default, Serialize)]
pub(super) struct Known {
    is_good: bool,
    problem: Option<String>,
    node: Option<String>,
    address: Option<String>,
    acquired: Option<jiff::Timestamp>,
    acquired_by: Option<String>,
    manifest: Option<Manifest>,
}

impl Known {
    fn bad(problem: String) -> Known {
        Known { problem: Some(problem), ..Known::default() }
    }

    fn new(verified: Result<Verified, ManifestError>) -> Known {
        match verified {
            Ok(Verified { acquired, at, who, manifest }) => Known {
                is_good: true,
                problem: None,
                node: Some(acquired.node),
                address: Some(acquired.address),
                acquired: Some(at),
                acquired_by: Some(who),
                manifest: Some(manifest),
            },
            Err(error) => Known::bad(error.to_string()),
        }
    }
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (None, Some(manifest)) = (&self.problem, &self.manifest) else {
            return write!(f, "NOT GOOD: {}", self.problem.as_deref().unwrap_or("?"));
        };
        write!(
            f,
            "good: {} of {}, frozen {:.0}, fetched {:.0} by {}",
            Called(&manifest.container),
            self.node.as_deref().unwrap_or("?"),
            manifest.started,
            self.acquired.unwrap_or_default(),
            self.acquired_by.as_deref().unwrap_or("?"),
        )
    }
}

/// How an archive came, if that is known; for `inspect --hash`.
pub(super) fn of(sha256: &str, size_bytes: u64) -> Option<Known> {
    // Without a directory for data there are no records.
    let record = Custody::open().ok()?.find(sha256);
    match record {
        Ok(record) => record?.verify(size_bytes, sha256).map(Known::new),
        Err(error) => Some(Known::bad(error.to_string())),
    }
}

/// A line of `acquire verify --json`.
#[derive(Debug, Serialize)]
struct Line {
    path: String,
    sha256: Option<String>,
    #[serde(flatten)]
    known: Known,
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
            Err(error) => line(path, None, Known::bad(format!("{error:#}")), 0),
        };
        n_bad = n_bad.saturating_add(usize::from(!line.known.is_good));
        if context.json {
            context.write_json_line(&line)?;
        } else {
            writeln!(context.out, "{}: {}", escape_controls(&line.path), escape_controls(&line.known.to_string()))?;
        }
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
        let problem = match custody.find_by_path(path)? {
            Some(before) => {
                let problem = format!("it was changed: it came with the SHA-256 {before} and has {sha256} now");
                custody.note_checked(&before, path, Some(problem.clone()))?;
                problem
            }
            None => "nothing is known of it here: it did not come by `cryoscope acquire`, or was changed and moved"
                .to_owned(),
        };
        return Ok(line(path, Some(sha256), Known::bad(problem), 0));
    };
    for issue in &record.issues {
        context.note(issue)?;
    }
    let known = match record.verify(len, &sha256) {
        Some(verified) => Known::new(verified),
        None => Known::bad("its custody record does not say how it came".to_owned()),
    };
    custody.note_checked(&sha256, path, known.problem.clone())?;
    Ok(line(path, Some(sha256), known, record.entries.len().saturating_sub(1)))
}

fn line(path: &Path, sha256: Option<String>, known: Known, checks: usize) -> Line {
    Line { path: path.display().to_string(), sha256, known, checks }
}
