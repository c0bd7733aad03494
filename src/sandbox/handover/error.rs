//! Why a hand-over ends.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::base::{Cancelled, escape_controls};
use crate::evidence::{OpenError, ReadError};

/// Most ids of dangers in a message.
const SHOWN_IDS: usize = 8;

/// Why a hand-over ends. The text says what, where and what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandoverError {
    /// It attacks whoever restores it.
    #[error("attacks the engine that restores it ({}); `sandbox plan` explains each, --allow ID hands it over all the same", shown(ids, *left_out))]
    Refused {
        /// Ids of dangers that are not allowed.
        ids: Vec<String>,
        /// How many more have no id.
        left_out: usize,
    },
    /// The engine would give things of this machine to it.
    #[error("would be given what is this machine's: {}; --allow ID hands it over all the same", escape_controls(&list.join(", ")))]
    Exposed {
        /// Each as `what (id)`.
        list: Vec<String>,
    },
    /// No engine takes it.
    #[error("cannot be handed over: {what}; `sandbox run` restores it without an engine")]
    NoEngine {
        /// What is missing.
        what: &'static str,
    },
    /// Another engine than the one it is handed to wrote it.
    #[error("was written by {wrote}, and {asked} restores only its own; hand it over {hint}")]
    OtherEngine {
        /// Who wrote it.
        wrote: &'static str,
        /// Who was asked for.
        asked: &'static str,
        /// `--to` that fits.
        hint: &'static str,
    },
    /// Its pages are in other checkpoints too.
    #[error(
        "was taken on top of other checkpoints, without which no engine can restore it; `sandbox run` can, with --parent"
    )]
    NeedsParents,
    /// The engine cannot find it.
    #[error("{what}")]
    NoPath {
        /// What is missing, and what to do.
        what: &'static str,
    },
    /// Something lies there.
    #[error("{}: exists; --force replaces it", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// Something else lies there than what this command writes.
    #[error("{}: is not {what} and is not replaced; name another output", path.display())]
    NotOurs {
        /// The output.
        path: PathBuf,
        /// What would be.
        what: &'static str,
    },
    /// The output would change the evidence.
    #[error("{}: lies in the evidence, which is never written to; name another output", path.display())]
    InEvidence {
        /// The output.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("{}: {what}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// A part of the evidence cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The cache directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No name of an image.
    #[error(
        "{}: is no name of an image: {why}; as registry.example:5000/checkpoints/counter:1",
        escape_controls(given)
    )]
    BadReference {
        /// What was given.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The registry did not answer, or not as it should.
    #[error("{}: {}", escape_controls(url), escape_controls(what))]
    Registry {
        /// The address.
        url: String,
        /// What it said.
        what: String,
    },
    /// The registry wants to know who asks.
    #[error(
        "{host}: the registry refuses without the right credentials; give --username, and the password in {}",
        super::auth::PASSWORD_VARIABLE
    )]
    Unauthorized {
        /// The registry.
        host: String,
    },
    /// It cannot run, or not as isolated as planned.
    #[error("not run: {what}")]
    NotRun {
        /// What is missing.
        what: String,
    },
    /// The engine failed.
    #[error("{program} ended with {status}{}", first_line(said))]
    Engine {
        /// The program.
        program: &'static str,
        /// Its exit status.
        status: String,
        /// What it said.
        said: String,
    },
    /// Stopped.
    #[error("{0}")]
    Cancelled(#[from] Cancelled),
}

impl HandoverError {
    /// An error of the file system, with what was being done to which file.
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> HandoverError {
        let path = path.into();
        move |source| HandoverError::Io { what, path, source }
    }
}

fn shown(ids: &[String], left_out: usize) -> String {
    let mut out = ids.iter().take(SHOWN_IDS).map(|id| escape_controls(id)).collect::<Vec<_>>().join(", ");
    let more = ids.len().saturating_sub(SHOWN_IDS).saturating_add(left_out);
    if more > 0 {
        out.push_str(&format!(" and {more} more"));
    }
    out
}

fn first_line(said: &str) -> String {
    let line = said.lines().rev().find(|line| line.contains("Error")).or_else(|| said.lines().next_back());
    line.map_or_else(String::new, |line| format!(": {}", escape_controls(line)))
}
