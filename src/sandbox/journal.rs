//! The log of what was restored: a line of JSON when a machine is started and one when it is gone, appended to a file beside
//! the user's other data of this program, never beside the evidence.
//!
//! A run that cannot be noted is not started.

use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::home::{self, DATA_DIR_VARIABLE, HomeError};

/// Name of the file.
const FILE: &str = "sandbox-log.jsonl";
/// Names the shape of a line.
const SCHEMA: &str = "cryoscope.sandbox-log/1";

/// Why a run was not noted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// There is no place for data.
    #[error("no directory for the log of runs: set HOME, or {DATA_DIR_VARIABLE}")]
    NoDataDir,
    /// The file refuses.
    #[error("the log of runs: {0}")]
    Write(#[from] HomeError),
}

/// One line.
#[derive(Debug, Serialize)]
struct Line<'a, T> {
    schema: &'static str,
    /// RFC 3339.
    at: String,
    /// The same for the start and the end of a run.
    run: &'a str,
    event: &'static str,
    program: &'static str,
    #[serde(flatten)]
    what: T,
}

/// A run that was noted.
#[derive(Debug)]
pub(super) struct Noted {
    path: PathBuf,
    run: String,
}

/// Notes that a run starts.
pub(super) fn start(what: &impl Serialize) -> Result<Noted, JournalError> {
    start_in(&data_dir()?, what)
}

fn start_in(dir: &Path, what: &impl Serialize) -> Result<Noted, JournalError> {
    let path = dir.join(FILE);
    let now = jiff::Timestamp::now();
    let noted = Noted { path, run: format!("{}-{}", now.as_nanosecond(), std::process::id()) };
    noted.append("started", what)?;
    Ok(noted)
}

impl Noted {
    /// Notes how it ended.
    pub(super) fn end(self, what: &impl Serialize) -> Result<(), JournalError> {
        self.append("ended", what)
    }

    fn append(&self, event: &'static str, what: &impl Serialize) -> Result<(), JournalError> {
        let at = jiff::Timestamp::now().to_string();
        let program = concat!("cryoscope ", env!("CARGO_PKG_VERSION"));
        let line = Line { schema: SCHEMA, at, run: &self.run, event, program, what };
        let bytes = serde_json::to_vec(&line).unwrap_or_default();
        Ok(home::append_line(&self.path, &bytes)?)
    }
}

/// Where a new checkpoint of a container is written when the analyst names no place: a name that is not taken, beside the log.
///
/// # Errors
/// There is no directory for data, or it cannot be made.
pub fn place_for_checkpoint(container: &str) -> Result<PathBuf, JournalError> {
    let dir = data_dir()?.join("refrozen");
    home::make_dir(&dir)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = container.chars().filter(|c| is_plain(*c)).take(64).collect();
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ").to_string();
    Ok(dir.join(format!("{}-{now}.tar", if name.is_empty() { "container" } else { &name })))
}

/// Where packets of a run are written: beside its new checkpoints.
///
/// # Errors
/// As [`place_for_checkpoint`].
pub fn place_for_packets(container: &str) -> Result<PathBuf, JournalError> {
    Ok(place_for_checkpoint(container)?.with_extension("pcap"))
}

fn data_dir() -> Result<PathBuf, JournalError> {
    home::data_dir().map_err(|_home| JournalError::NoDataDir)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test reads its own file")]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_and_never_rewritten() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("data");
        for archive in ["a.tar", "b.tar"] {
            let noted = start_in(&below, &serde_json::json!({"archive": archive})).unwrap();
            noted.end(&serde_json::json!({"outcome": "time-over"})).unwrap();
        }
        let text = std::fs::read_to_string(below.join(FILE)).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let words: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(words, ["started", "ended", "started", "ended"]);
        assert_eq!((&lines[2]["archive"], &lines[3]["outcome"]), (&"b.tar".into(), &"time-over".into()));
        assert_eq!(lines[2]["run"], lines[3]["run"]);
        assert_ne!(lines[0]["run"], lines[2]["run"]);
    }

    #[test]
    fn a_log_that_cannot_be_written_is_told_with_its_path() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = start_in(&file.path().join("below"), &()).unwrap_err().to_string();
        assert!(error.contains("the log of runs: cannot make the directory"), "{error}");
    }
}
