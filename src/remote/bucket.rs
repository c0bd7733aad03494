//! A bucket of a store that speaks S3: what lies in it, and its objects.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use rusty_s3::{S3Action as _, UrlStyle};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::credentials::Credentials;
use super::error::{Asked, refused};
use super::fetch::{Part, Redirects, ask, patiently};
use super::listing::{MAX_PAGE_BYTES, Page};
use super::s3_uri::{check_bucket, check_key};
use super::settings::{check_endpoint, is_label};
use super::{Fetch, RemoteError, Settings};
use crate::base::Progress;

/// How long what is signed holds: as long as it may take to be asked, with clocks that are a little off.
const VALID: Duration = Duration::from_secs(900);
/// Most keys of a list.
const MAX_KEYS: usize = 5_000_000;
/// Most bytes of all of them.
const MAX_KEYS_BYTES: usize = 1 << 30;
/// Most pages that bring nothing, one after the other: of what was deleted, some stores give such.
const MAX_EMPTY_PAGES: u32 = 1000;

/// A bucket. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bucket {
    inner: rusty_s3::Bucket,
    agent: Agent,
    credentials: Arc<Credentials>,
}

impl Bucket {
    /// With an endpoint the name stands in the path, as most stores want it; with Amazon's in the host.
    pub(super) fn new(
        name: &str,
        settings: &Settings,
        agent: Agent,
        credentials: Arc<Credentials>,
    ) -> Result<Bucket, RemoteError> {
        check_bucket(name).map_err(|why| RemoteError::BadAddress { given: name.to_owned(), why })?;
        let region = settings.region()?;
        let (endpoint, style) = match &settings.endpoint {
            Some(endpoint) => {
                check_endpoint("the endpoint", endpoint)?;
                (endpoint.clone(), UrlStyle::Path)
            }
            None => {
                let style = if is_label(name) { UrlStyle::VirtualHost } else { UrlStyle::Path };
                (format!("https://s3.{region}.{}", settings.domain()?), style)
            }
        };
        let bad = RemoteError::BadSetting { name: "the endpoint", why: "no address can be made of it" };
        let Ok(endpoint) = endpoint.parse() else { return Err(bad) };
        match rusty_s3::Bucket::new(endpoint, style, name.to_owned(), region.to_owned()) {
            Ok(inner) => Ok(Bucket { inner, agent, credentials }),
            Err(_) => Err(bad),
        }
    }

    /// The keys that begin with `prefix`, in the order of the store, at most `max` of them.
    ///
    /// # Errors
    /// The store cannot be reached or refuses; its list goes in a circle, has no end, or tells what was not asked for;
    /// cancel.
    pub fn list(&self, prefix: &str, max: usize, progress: &dyn Progress) -> Result<Vec<String>, RemoteError> {
        let malformed = |what| Err(RemoteError::Malformed { what });
        let (mut keys, mut seen) = (Vec::new(), HashSet::new());
        let hash = RandomState::new();
        let mut tokens = HashSet::new();
        let (mut n_bytes, mut n_empty) = (0_usize, 0_u32);
        let mut token: Option<String> = None;
        loop {
            progress.step(keys.len() as u64, None)?;
            let page = self.page(prefix, max, token.as_deref())?;
            let n_before = keys.len();
            for key in page.keys {
                if !key.starts_with(prefix) {
                    return malformed("a list of keys that were not asked for");
                }
                if !seen.insert(hash.hash_one(&key)) {
                    continue;
                }
                n_bytes = n_bytes.saturating_add(key.len());
                if MAX_KEYS <= keys.len() || MAX_KEYS_BYTES < n_bytes {
                    return malformed("more keys than can be kept; name a longer prefix");
                }
                keys.push(key);
                if max <= keys.len() {
                    return Ok(keys);
                }
            }
            n_empty = if n_before == keys.len() { n_empty.saturating_add(1) } else { 0 };
            let Some(next) = page.next else { return Ok(keys) };
            if !tokens.insert(hash.hash_one(&next)) {
                return malformed("its list goes in a circle");
            }
            if MAX_EMPTY_PAGES < n_empty {
                return malformed("its list has no end");
            }
            token = Some(next);
        }
    }

    /// Opens an object.
    ///
    /// # Errors
    /// The store cannot be reached, or refuses.
    pub fn open(&self, key: &str) -> Result<Fetch, RemoteError> {
        check_key(key).map_err(|why| RemoteError::BadKey { why })?;
        let (bucket, key) = (self.clone(), key.to_owned());
        Fetch::new(Box::new(move |part| bucket.get(&key, &[], part)))
    }

    fn page(&self, prefix: &str, max: usize, token: Option<&str>) -> Result<Page, RemoteError> {
        let max = max.min(1000).to_string();
        let mut query = vec![("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix), ("max-keys", &max)];
        query.extend(token.map(|token| ("continuation-token", token)));
        patiently(|| {
            // A list is what answers for the key that is empty.
            let response = self.get("", &query, None)?;
            let mut body = Vec::new();
            let mut reader = response.into_body().into_reader().take(MAX_PAGE_BYTES);
            reader.read_to_end(&mut body).map_err(|error| RemoteError::from_io(&error))?;
            if MAX_PAGE_BYTES <= body.len() as u64 {
                return Err(RemoteError::Malformed { what: "a page of a list that is too long" });
            }
            Page::parse(&body)
        })
    }

    /// Signed anew each time: signatures expire, and credentials change.
    fn get(&self, key: &str, query: &[(&str, &str)], part: Option<&Part<'_>>) -> Result<Response<Body>, RemoteError> {
        let credentials = self.credentials.current(&self.agent)?;
        let mut action = self.inner.get_object(credentials.as_ref(), key);
        for (name, value) in query {
            action.query_mut().insert(*name, *value);
        }
        let response = ask(&self.agent, action.sign(VALID).as_str(), part, Redirects::Refused)?;
        refused(response, if credentials.is_some() { Asked::Signed } else { Asked::Anonymous })
    }
}
