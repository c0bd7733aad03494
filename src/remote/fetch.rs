//! Reading an answer to its end, over as many lines as it takes.

use std::fmt;
use std::io::{self, Read};
use std::thread;
use std::time::Duration;

use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use super::RemoteError;

/// How often something is asked for that could not be had, one time after the other.
const TRIES: u32 = 4;
/// Wait before the second try; each further one waits twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// So much further than where the last line broke, and all tries are left again.
const FORGIVEN_BYTES: u64 = 64 << 20;

/// What is left of something, and by what it is known to be the same.
#[derive(Debug)]
pub(super) struct Part<'a> {
    from: u64,
    version: &'a Version,
}

/// By what a server tells versions of the same thing apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    /// A strong entity tag.
    Tag(String),
    /// When it was last changed.
    Modified(String),
}

impl Version {
    fn of(headers: &HeaderMap) -> Option<Version> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let strong = header("etag").filter(|tag| tag.starts_with('"'));
        strong.map(Version::Tag).or_else(|| header("last-modified").map(Version::Modified))
    }
}

/// Whether what sends on to another address is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redirects {
    /// Up to ten times, not from https to http.
    Followed,
    /// Not at all: a signature holds for one host.
    Refused,
}

/// Asks once, for all or for a part.
///
/// # Errors
/// No answer came. One that refuses is an answer.
pub(super) fn ask(
    agent: &Agent,
    url: &str,
    part: Option<&Part<'_>>,
    redirects: Redirects,
) -> Result<Response<Body>, RemoteError> {
    let max = if redirects == Redirects::Followed { 10 } else { 0 };
    let is_https = url.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
    let config = agent.get(url).config().max_redirects(max).max_redirects_will_error(max > 0).https_only(is_https);
    let mut request = config.build();
    if let Some(Part { from, version }) = part {
        request = request.header("Range", format!("bytes={from}-"));
        request = match version {
            Version::Tag(tag) => request.header("If-Match", tag),
            Version::Modified(date) => request.header("If-Unmodified-Since", date),
        };
    }
    request.call().map_err(|error| RemoteError::from_ureq(&error))
}

/// Tries again as long as that may help.
///
/// # Errors
/// The last one.
pub(super) fn patiently<T>(mut once: impl FnMut() -> Result<T, RemoteError>) -> Result<T, RemoteError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match once() {
            Err(error) if error.is_transient() && tries < TRIES => wait(tries),
            done => return done,
        }
    }
}

/// Before another try, the first of which is the second.
fn wait(tries: u32) {
    thread::sleep(FIRST_DELAY.saturating_mul(1 << tries.saturating_sub(1).min(8)));
}

/// Asks for all, or for a part, and lets no refusal through.
type Asking = Box<dyn Fn(Option<&Part<'_>>) -> Result<Response<Body>, RemoteError> + Send>;

/// Something that is being fetched, as it comes. Where a line breaks, the rest is asked for, provided that the server tells
/// that it is still the same; the reader sees nothing of it.
pub struct Fetch {
    ask: Asking,
    body: Box<dyn Read + Send>,
    at: u64,
    /// Where the server says that it ends.
    len: Option<u64>,
    version: Option<Version>,
    tries: u32,
    broke_at: u64,
    /// What ended it. It stays at that: what breaks off is never taken for the end.
    failed: Option<String>,
}

impl Fetch {
    pub(super) fn new(ask: Asking) -> Result<Fetch, RemoteError> {
        let response = patiently(|| ask(None))?;
        if response.status().as_u16() == 206 {
            return Err(RemoteError::Malformed { what: "a part came where all was asked for" });
        }
        let len = response.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let version = Version::of(response.headers());
        let body = Box::new(response.into_body().into_reader());
        Ok(Fetch { ask, body, at: 0, len, version, tries: TRIES, broke_at: 0, failed: None })
    }

    /// Asks for the rest.
    fn go_on(&mut self, broken: RemoteError) -> Result<(), RemoteError> {
        if self.broke_at.saturating_add(FORGIVEN_BYTES) <= self.at {
            self.tries = TRIES;
        }
        self.broke_at = self.at;
        let told = |broken: &RemoteError, and: &str| {
            let len = self.len.map_or_else(|| "some".to_owned(), |len| len.to_string());
            let what = format!("{broken} after {} of {len} bytes{and}", self.at);
            RemoteError::Line { what, is_transient: false }
        };
        let Some(version) = &self.version else {
            return Err(told(&broken, ", and the server does not tell whether the rest would be of the same"));
        };
        let mut broken = broken;
        loop {
            let Some(left) = self.tries.checked_sub(1) else { return Err(told(&broken, "")) };
            self.tries = left;
            wait(TRIES.saturating_sub(left));
            let response = match (self.ask)(Some(&Part { from: self.at, version })) {
                Ok(response) => response,
                Err(error) if error.is_transient() => {
                    broken = error;
                    continue;
                }
                Err(RemoteError::Refused { status: 412, .. }) => return Err(RemoteError::Changed),
                Err(error) => return Err(error),
            };
            if response.status().as_u16() != 206 {
                return Err(told(&broken, ", and the server does not give the rest alone"));
            }
            let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
            if !range.is_some_and(|range| is_rest(range, self.at, self.len)) {
                return Err(RemoteError::Malformed { what: "another part came than the one that was asked for" });
            }
            // A server that does not know the condition shows by this that it is another version.
            if Version::of(response.headers()).is_some_and(|now| now != *version) {
                return Err(RemoteError::Changed);
            }
            self.body = Box::new(response.into_body().into_reader());
            return Ok(());
        }
    }
}

impl Read for Fetch {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if let Some(what) = &self.failed {
            return Err(io::Error::other(what.clone()));
        }
        loop {
            let broken = match self.body.read(buf) {
                Ok(0) if buf.is_empty() || self.len.is_none_or(|len| len <= self.at) => return Ok(0),
                Ok(0) => RemoteError::from_io(&io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.at = self.at.saturating_add(read as u64);
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => RemoteError::from_io(&error),
            };
            if let Err(error) = self.go_on(broken) {
                self.failed = Some(error.to_string());
                return Err(io::Error::other(error));
            }
        }
    }
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("at", &self.at).field("len", &self.len).finish_non_exhaustive()
    }
}

/// Whether a `Content-Range` (`bytes FROM-LAST/LEN`) is all from there on.
fn is_rest(range: &str, from: u64, len: Option<u64>) -> bool {
    let parts = range.strip_prefix("bytes ").and_then(|rest| rest.split_once('/'));
    let Some((span, whole)) = parts else { return false };
    let Some((first, last)) = span.split_once('-') else { return false };
    let (Ok(first), Ok(last)) = (first.parse::<u64>(), last.parse::<u64>()) else { return false };
    let is_whole = match (whole.parse::<u64>(), len) {
        (Ok(whole), Some(len)) => whole == len,
        _ => true,
    };
    first == from && is_whole && len.is_none_or(|len| last.checked_add(1) == Some(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_all_that_is_left_counts_as_the_rest() {
        assert!(is_rest("bytes 5-9/10", 5, Some(10)) && is_rest("bytes 5-9/*", 5, Some(10)));
        assert!(is_rest("bytes 5-9/10", 5, None));
        for wrong in
            ["", "bytes */10", "bytes 4-9/10", "bytes 5-8/10", "bytes 5-9/11", "bytes 5-99999999999999999999/10"]
        {
            assert!(!is_rest(wrong, 5, Some(10)), "{wrong}");
        }
    }

    #[test]
    fn weak_tags_are_not_believed() {
        let headers = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a header"));
            headers
        };
        assert_eq!(Version::of(&headers("etag", "\"a\"")), Some(Version::Tag("\"a\"".into())));
        assert_eq!(Version::of(&headers("etag", "W/\"a\"")), None);
        assert!(matches!(Version::of(&headers("last-modified", "x")), Some(Version::Modified(_))));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let check = |is_transient: bool, wanted: u32| {
            let mut asked = 0;
            let done: Result<(), RemoteError> = patiently(|| {
                asked += 1;
                Err(RemoteError::Line { what: "broke".into(), is_transient })
            });
            assert!(done.is_err() && asked == wanted, "{asked}");
        };
        check(false, 1);
        check(true, TRIES);
    }
}
