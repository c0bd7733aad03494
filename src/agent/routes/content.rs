//! `GET` and `HEAD /v1/archives/{id}/content`: the bytes, whole or a range of them (RFC 9110, section 14).
//!
//! One range is served; of several, or one in another unit, none, so that the whole comes, as the standard allows. The entity tag
//! is the SHA-256 of all bytes: a transfer that is resumed with `If-Range` goes on with the same bytes, or begins again.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::os::unix::fs::FileExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

use crate::acquire::wire::Requester;

use super::super::Agent;
use super::super::audit::Event;
use super::super::problem::{Failure, Outcome};
use super::super::spool::Opened;
use super::archives::transfer;
use super::{blocking, record};

/// Bytes that are read at once.
const PIECE_BYTES: u64 = 256 << 10;

pub(super) async fn content(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    method: Method,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Outcome<Response> {
    let archive = agent.spool.get(&id)?.archive.clone();
    let tag = format!("\"{}\"", archive.sha256);
    let size = archive.size_bytes;
    let range = match wanted(&headers, &tag, size) {
        Wanted::Whole => None,
        Wanted::Range(first, last) => Some((first, last)),
        Wanted::Impossible => {
            let failure = Failure::new(416, "no-such-range", format!("the archive has {size} bytes"));
            let mut response = failure.into_response();
            response.headers_mut().insert(header::CONTENT_RANGE, value(&format!("bytes */{size}"))?);
            return Ok(response);
        }
    };
    let (first, end) = range.map_or((0, size), |(first, last)| (first, last + 1));
    let mut response = Response::new(Body::empty());
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(header::CONTENT_RANGE, value(&format!("bytes {first}-{}/{size}", end - 1))?);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, value(&tag)?);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(end - first));
    let id = archive.id.clone();
    // Also for HEAD: what was changed is not promised.
    let (_, opened) = blocking(&agent, move |agent| agent.spool.open_archive(&id)).await??;
    if method == Method::HEAD {
        return Ok(response);
    }
    let permit = transfer(&agent)?;
    let event = |who: Requester, action, detail: String| Event {
        who,
        action,
        subject: Some(archive.id.clone()),
        status: if range.is_some() { 206 } else { 200 },
        detail: Some(detail),
    };
    record(&agent, event(who.clone(), "download", format!("bytes {first} to {end} of {size}"))).await?;
    let at_end = event(who, "download-end", String::new());
    let download = Download {
        opened: Arc::new(opened),
        at: first,
        end,
        reading: None,
        agent,
        at_end: Some(at_end),
        _permit: permit,
    };
    *response.body_mut() = Body::new(download);
    Ok(response)
}

/// What a request wants of `size` bytes.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    /// From the first to the last byte, both included.
    Range(u64, u64),
    Impossible,
}

fn wanted(headers: &HeaderMap, tag: &str, size: u64) -> Wanted {
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else { return Wanted::Whole };
    // Of another state of the archive: all of it, anew. A weak tag is never good enough.
    if headers.get(header::IF_RANGE).is_some_and(|known| known.as_bytes() != tag.as_bytes()) {
        return Wanted::Whole;
    }
    let Some(range) = range.to_str().ok().and_then(|range| range.strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((first, last)) = range.split_once('-').filter(|_| !range.contains(',')) else { return Wanted::Whole };
    // As many digits as there are; a number beyond all sizes is the largest.
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first.trim(), last.trim()) {
        ("", last) => match number(last) {
            None => Wanted::Whole,
            Some(0) => Wanted::Impossible,
            Some(_) if size == 0 => Wanted::Impossible,
            Some(n) => Wanted::Range(size.saturating_sub(n), size - 1),
        },
        (first, last) => {
            let last = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match (number(first), last) {
                (Some(first), Some(last)) if last < first => Wanted::Whole,
                (Some(first), Some(_)) if size <= first => Wanted::Impossible,
                (Some(first), Some(last)) => Wanted::Range(first, last.min(size - 1)),
                _ => Wanted::Whole,
            }
        }
    }
}

fn value(text: &str) -> Outcome<HeaderValue> {
    HeaderValue::try_from(text).map_err(|error| Failure::internal("a header cannot be written", error))
}

/// Reads a piece when the connection wants one; at most one piece is in memory.
struct Download {
    opened: Arc<Opened>,
    at: u64,
    end: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    agent: Arc<Agent>,
    at_end: Option<Event>,
    _permit: OwnedSemaphorePermit,
}

impl HttpBody for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.end <= self.at {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            let (opened, at, end) = (Arc::clone(&self.opened), self.at, self.end);
            self.reading = Some(tokio::task::spawn_blocking(move || read_piece(&opened, at, end)));
        }
        let Some(reading) = &mut self.reading else { return Poll::Pending };
        let Poll::Ready(read) = Pin::new(reading).poll(cx) else { return Poll::Pending };
        self.reading = None;
        let read = read.map_err(io::Error::other).and_then(|read| read);
        match read {
            Ok(bytes) => {
                self.at += bytes.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Err(error) => {
                tracing::error!("a download broke off: {error}");
                self.end = self.at;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}

/// The last piece goes out only when the archive is still what was opened.
fn read_piece(opened: &Opened, at: u64, end: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from((end - at).min(PIECE_BYTES)).unwrap_or_default()];
    opened.file.read_exact_at(&mut bytes, at)?;
    opened.check()?;
    Ok(bytes.into())
}

impl Drop for Download {
    fn drop(&mut self) {
        let Some(mut event) = self.at_end.take() else { return };
        event.detail =
            Some(if self.at == self.end { "all sent".to_owned() } else { format!("broke off at byte {}", self.at) });
        let agent = Arc::clone(&self.agent);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || {
                if let Err(error) = agent.audit.write(event) {
                    tracing::error!("audit log: {error}");
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, if_range: Option<&str>, expected: Wanted) {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        if let Some(tag) = if_range {
            headers.insert(header::IF_RANGE, tag.parse().unwrap());
        }
        assert_eq!(wanted(&headers, "\"ab\"", 100), expected, "{range} {if_range:?}");
    }

    #[test]
    fn one_good_range_is_served_and_what_is_none_gives_the_whole() {
        check("bytes=0-0", None, Wanted::Range(0, 0));
        check("bytes=10-", None, Wanted::Range(10, 99));
        check("bytes=90-1000", None, Wanted::Range(90, 99));
        check("bytes=-5", None, Wanted::Range(95, 99));
        check("bytes=-500", None, Wanted::Range(0, 99));
        check("bytes=0-99999999999999999999999", None, Wanted::Range(0, 99));
        for whole in [
            "bytes=",
            "bytes=-",
            "bytes=5-4",
            "bytes=a-b",
            "bytes=0-1,5-6",
            "lines=0-1",
            "0-1",
            "bytes=+1-2",
            "bytes=1--2",
        ] {
            check(whole, None, Wanted::Whole);
        }
    }

    #[test]
    fn range_beyond_the_end_is_impossible() {
        for impossible in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-"] {
            check(impossible, None, Wanted::Impossible);
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=-1".parse().unwrap());
        assert_eq!(wanted(&headers, "\"ab\"", 0), Wanted::Impossible);
    }

    #[test]
    fn range_of_another_state_gives_the_whole() {
        check("bytes=10-", Some("\"ab\""), Wanted::Range(10, 99));
        for other in ["\"cd\"", "W/\"ab\"", "ab", "Tue, 24 Nov 2026 17:21:07 GMT"] {
            check("bytes=10-", Some(other), Wanted::Whole);
        }
    }
}
