//! Why a request was not served: the [`Problem`] for the peer, with the status it travels under.

use std::fmt;
use std::io;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::acquire::wire::Problem;

/// Most of a detail that is passed on: what others said can be of any length.
const MAX_DETAIL_BYTES: usize = 8 << 10;

/// A request that was not served, or a job that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// HTTP status.
    pub status: u16,
    /// What the peer is told.
    pub problem: Box<Problem>,
    /// Seconds after which asking again makes sense.
    pub retry_after: Option<u32>,
}

/// What handlers, sources and the spool give.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// One with a code for programs and a line for people.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Failure {
        let problem =
            Problem { code: code.to_owned(), message: message.into(), hint: None, detail: None, log: Vec::new() };
        Failure { status, problem: Box::new(problem), retry_after: None }
    }

    /// The agent itself failed, not the request.
    pub fn internal(what: &str, error: impl fmt::Display) -> Failure {
        tracing::error!("{what}: {error}");
        Failure::new(500, "agent-failed", format!("{what}: {error}")).hint("the agent's own log says more")
    }

    /// Something could not be written: the disk is full, or worse.
    pub fn of_disk(what: &str, error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::StorageFull => Failure::new(507, "no-room", format!("{what}: the node's disk is full"))
                .hint("make room there; the agent goes on"),
            _ => Failure::internal(what, error),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.problem.hint = Some(hint.into());
        self
    }

    /// What somebody else said, word for word; cut when it is long.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Failure {
        let mut detail = detail.into();
        if MAX_DETAIL_BYTES < detail.len() {
            let end = (0..=MAX_DETAIL_BYTES).rev().find(|end| detail.is_char_boundary(*end)).unwrap_or_default();
            detail.truncate(end);
            detail.push('…');
        }
        self.problem.detail = Some(detail);
        self
    }

    /// What stands out in criu's log.
    #[must_use]
    pub fn log(mut self, lines: Vec<String>) -> Failure {
        self.problem.log = lines;
        self
    }

    /// When to ask again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Failure {
        self.retry_after = Some(seconds);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)?;
        if let Some(detail) = &self.problem.detail {
            write!(f, " ({})", detail.trim())?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.problem)).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_of_any_length_is_cut_between_letters() {
        let failure = Failure::new(500, "x", "y").detail("é".repeat(1 << 20));
        let detail = failure.problem.detail.unwrap();
        assert!(detail.len() <= MAX_DETAIL_BYTES + 4 && detail.ends_with("é…"));
    }
}
