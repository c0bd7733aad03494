//! Pushing an image by the OCI distribution API: blobs that the registry has not, then the manifest under its tag.
//!
//! A blob goes in one piece (`POST` for a place, `PUT` with the bytes), read from disk as it is sent. Nothing is followed
//! elsewhere: a place on another host gets no credentials. A token that has run out is asked for anew. Plain HTTP is spoken
//! on this machine only, and there only where no authority is named; what this machine believes is believed, too.
//!
//! Source: OCI Distribution Specification v1.1, "Push".

use std::io::{self, Read};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use serde_json::Value;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, SendBody};

use super::HandoverError;
use super::auth::{Challenge, Credentials};
use super::image::{Blob, Image, MANIFEST};
use super::reference::Reference;
use crate::base::{Cancelled, Progress};

/// How long to wait for a connection and for answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a registry may take to check a whole layer before it answers.
const CHECK_PATIENCE: Duration = Duration::from_secs(900);
/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 64 << 10;
/// How often a blob is sent anew when the connection breaks.
const TRIES: u32 = 3;

/// Who asks a registry, and whom it is believed to be by.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Who asks; nobody in particular without.
    pub credentials: Option<Credentials>,
    /// Certificates of authorities that are believed beside those of this machine.
    pub authorities: Vec<CertificateDer<'static>>,
}

impl Access {
    /// Those of this machine and those that were named.
    fn tls(&self) -> TlsConfig {
        let roots = if self.authorities.is_empty() {
            RootCerts::PlatformVerifier
        } else {
            // What cannot be read of this machine's is not believed.
            let own = rustls_native_certs::load_native_certs().certs;
            let all = own.iter().chain(&self.authorities).map(|it| Certificate::from_der(it).to_owned());
            RootCerts::from(all.collect::<Vec<_>>())
        };
        TlsConfig::builder().root_certs(roots).build()
    }

    /// Whether a registry is asked in clear.
    pub fn is_clear(&self, to: &Reference) -> bool {
        to.is_local() && self.authorities.is_empty()
    }
}

/// What was pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Name and tag.
    pub reference: Reference,
    /// Digest of the manifest.
    pub digest: String,
    /// Blobs that were sent; the registry had the others.
    pub nr_sent: usize,
}

/// Pushes an image.
///
/// # Errors
/// The registry cannot be reached, refuses, or has another digest afterwards; the image cannot be read; cancel.
pub fn push(image: &Image, to: &Reference, access: &Access, progress: &dyn Progress) -> Result<Pushed, HandoverError> {
    progress.stage("pushing");
    let mut registry = Registry::new(to, access);
    let total = image.layer.size_bytes.saturating_add(image.config.size_bytes);
    let mut nr_sent = 0;
    let mut done = 0;
    for blob in [&image.layer, &image.config] {
        progress.step(done, Some(total))?;
        if !registry.has(blob)? {
            registry.send(image, blob, progress, (done, total))?;
            nr_sent += 1;
        }
        done = done.saturating_add(blob.size_bytes);
    }
    progress.step(total, Some(total))?;
    registry.manifest(image)?;
    Ok(Pushed { reference: to.clone(), digest: image.manifest.digest.clone(), nr_sent })
}

struct Registry<'a> {
    to: &'a Reference,
    access: &'a Access,
    agent: Agent,
    base: String,
    /// `Authorization`, once the registry has asked for it.
    authorization: Option<String>,
}

impl<'a> Registry<'a> {
    fn new(to: &'a Reference, access: &'a Access) -> Registry<'a> {
        let mut config = Agent::config_builder()
            .timeout_connect(Some(PATIENCE))
            .timeout_per_read(Some(CHECK_PATIENCE))
            .timeout_per_write(Some(PATIENCE))
            .timeout_recv_response(Some(CHECK_PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .tls_config(access.tls())
            .user_agent(concat!("cryoscope/", env!("CARGO_PKG_VERSION")));
        if to.is_local() {
            config = config.proxy(None);
        }
        let base = to.base(access.is_clear(to));
        Registry { to, access, agent: config.build().into(), base, authorization: None }
    }

    fn has(&mut self, blob: &Blob) -> Result<bool, HandoverError> {
        let url = format!("{}/v2/{}/blobs/{}", self.base, self.to.name, blob.digest);
        let response = self.call(&url, |agent, url, authorization| with(agent.head(url), authorization).call())?;
        match response.status().as_u16() {
            // Storage of large registries is elsewhere: where it leads to is not asked.
            200 | 302 | 303 | 307 | 308 => Ok(true),
            404 => Ok(false),
            _ => Err(self.failed(&url, response)),
        }
    }

    fn send(
        &mut self,
        image: &Image,
        blob: &Blob,
        progress: &dyn Progress,
        (done, total): (u64, u64),
    ) -> Result<(), HandoverError> {
        let mut tries = TRIES;
        let mut is_renewed = false;
        loop {
            tries -= 1;
            let url = format!("{}/v2/{}/blobs/uploads/", self.base, self.to.name);
            let response =
                self.call(&url, |agent, url, authorization| with(agent.post(url), authorization).send_empty())?;
            if response.status().as_u16() != 202 {
                return Err(self.failed(&url, response));
            }
            let place = response.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let place = place_of(&self.base, place).ok_or_else(|| HandoverError::Registry {
                url: url.clone(),
                what: format!("it names no place to upload to ({place})"),
            })?;
            let mark = if place.contains('?') { '&' } else { '?' };
            let address = format!("{place}{mark}digest={}", super::auth::percent(&blob.digest));
            let is_own = place.strip_prefix(&self.base).is_some_and(|rest| rest.starts_with('/'));
            let authorization = self.authorization.as_deref().filter(|_| is_own);
            let mut reader =
                Watched { inner: image.kept.open(blob)?, at: 0, done, total, progress, is_cancelled: false };
            let request = with(self.agent.put(&address), authorization)
                .header("Content-Type", "application/octet-stream")
                .header("Content-Length", blob.size_bytes.to_string());
            let sent = request.send(SendBody::from_reader(&mut reader));
            if reader.is_cancelled {
                return Err(Cancelled.into());
            }
            match sent {
                Ok(response) if response.status().as_u16() == 201 => return Ok(()),
                // What was asked with has run out meanwhile: asked without, the registry says what it wants now.
                Ok(response) if response.status().as_u16() == 401 && is_own && !is_renewed => {
                    (self.authorization, is_renewed) = (None, true);
                }
                Ok(response) => return Err(self.failed(&place, response)),
                Err(_) if tries > 0 => progress.step(done, Some(total))?,
                Err(error) => return Err(HandoverError::Registry { url: place, what: error.to_string() }),
            }
        }
    }

    fn manifest(&mut self, image: &Image) -> Result<(), HandoverError> {
        let url = format!("{}/v2/{}/manifests/{}", self.base, self.to.name, self.to.tag);
        let response = self.call(&url, |agent, url, authorization| {
            with(agent.put(url), authorization).header("Content-Type", MANIFEST).send(&image.manifest_bytes[..])
        })?;
        if response.status().as_u16() != 201 {
            return Err(self.failed(&url, response));
        }
        let digest = response.headers().get("docker-content-digest").and_then(|value| value.to_str().ok());
        match digest {
            Some(digest) if digest != image.manifest.digest => Err(HandoverError::Registry {
                url,
                what: format!("it says the manifest is {digest}, it is {}", image.manifest.digest),
            }),
            _ => Ok(()),
        }
    }

    /// Asks; when the registry wants to know who asks, once more with that.
    fn call(
        &mut self,
        url: &str,
        ask: impl Fn(&Agent, &str, Option<&str>) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, HandoverError> {
        let failed = |error: ureq::Error| HandoverError::Registry { url: url.to_owned(), what: error.to_string() };
        let response = ask(&self.agent, url, self.authorization.as_deref()).map_err(failed)?;
        if response.status().as_u16() != 401 {
            return Ok(response);
        }
        let unauthorized = || HandoverError::Unauthorized { host: self.to.host.clone() };
        let header = response.headers().get("www-authenticate").and_then(|value| value.to_str().ok());
        let challenge = header.and_then(Challenge::parse).ok_or_else(unauthorized)?;
        let authorization = match &challenge {
            Challenge::Basic => self.credentials().map(Credentials::basic),
            Challenge::Bearer { .. } => self.token(&challenge)?,
        };
        self.authorization = Some(authorization.ok_or_else(unauthorized)?);
        let response = ask(&self.agent, url, self.authorization.as_deref()).map_err(failed)?;
        if response.status().as_u16() == 401 {
            return Err(HandoverError::Unauthorized { host: self.to.host.clone() });
        }
        Ok(response)
    }

    fn credentials(&self) -> Option<&Credentials> {
        self.access.credentials.as_ref()
    }

    /// The token of a realm, for the credentials or for nobody.
    fn token(&self, challenge: &Challenge) -> Result<Option<String>, HandoverError> {
        let Some(url) = challenge.token_address(&self.to.name, self.access.is_clear(self.to)) else { return Ok(None) };
        let basic = self.credentials().map(Credentials::basic);
        let response = with(self.agent.get(&url), basic.as_deref()).call();
        let mut response = response.map_err(|error| HandoverError::Registry { url, what: error.to_string() })?;
        if response.status().as_u16() != 200 {
            return Ok(None);
        }
        let answer: Option<Value> = serde_json::from_slice(&read(&mut response)).ok();
        let token = answer.as_ref().and_then(|answer| answer.get("token").or_else(|| answer.get("access_token")));
        let token = token.and_then(Value::as_str).filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
        Ok(token.map(|token| format!("Bearer {token}")))
    }

    /// What a registry says when it refuses: `{"errors": [{"code", "message"}]}`.
    fn failed(&self, url: &str, mut response: Response<Body>) -> HandoverError {
        let status = response.status();
        let body = read(&mut response);
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        let error = answer.as_ref().and_then(|answer| answer.pointer("/errors/0"));
        let text = |key: &str| error.and_then(|error| error.get(key)).and_then(Value::as_str).unwrap_or_default();
        let what = format!("the registry answers {status} {} {}", text("code"), text("message"));
        HandoverError::Registry { url: url.to_owned(), what: what.trim().to_owned() }
    }
}

fn with<B>(request: ureq::RequestBuilder<B>, authorization: Option<&str>) -> ureq::RequestBuilder<B> {
    match authorization {
        Some(value) => request.header("Authorization", value),
        None => request,
    }
}

fn read(response: &mut Response<Body>) -> Vec<u8> {
    let mut out = Vec::new();
    // Of an answer that breaks off, what came.
    let _ = response.body_mut().as_reader().take(MAX_ANSWER_BYTES).read_to_end(&mut out);
    out
}

/// Where to upload: an address, or a path on the registry.
fn place_of(base: &str, location: &str) -> Option<String> {
    if location.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return None;
    }
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(format!("{base}{location}"));
    }
    // Bytes of evidence never go over a network in clear that the registry itself is not asked in.
    let is_safe = location.starts_with("https://") || (base.starts_with("http://") && location.starts_with("http://"));
    is_safe.then(|| location.to_owned())
}

/// Reads a blob, and looks whether to stop.
struct Watched<'a, R> {
    inner: R,
    at: u64,
    done: u64,
    total: u64,
    progress: &'a dyn Progress,
    is_cancelled: bool,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.progress.step(self.done.saturating_add(self.at), Some(self.total)).is_err() {
            self.is_cancelled = true;
            return Err(io::Error::other(Cancelled));
        }
        let n = self.inner.read(buf)?;
        self.at = self.at.saturating_add(n as u64);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_upload_to_are_found_and_never_less_safe() {
        let check = |base: &str, location: &str, place: Option<&str>| {
            assert_eq!(place_of(base, location).as_deref(), place, "{location}");
        };
        check("https://r.example", "/v2/a/blobs/uploads/1?x=y", Some("https://r.example/v2/a/blobs/uploads/1?x=y"));
        check("https://r.example", "https://s.example/1", Some("https://s.example/1"));
        check("https://r.example", "http://r.example/1", None);
        check("https://r.example", "//s.example/1", None);
        check("https://r.example", "", None);
        check("https://r.example", "/a\r\nX: y", None);
        check("http://localhost:1", "http://localhost:1/2", Some("http://localhost:1/2"));
    }
}
