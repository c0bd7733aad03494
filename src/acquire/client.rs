//! Asking an agent: one method for each request of [`wire`](super::wire).
//!
//! Every answer has a bound on its size and on the time it may take. What an agent sends is data of a peer that may be
//! hostile: ids go into a path only with everything but plain letters spelled as `%NN`, redirects are not followed.

use std::io::Read;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, SocksConnector, TcpConnector};
use ureq::{Agent, Body, Proxy, http};

use super::address::Address;
use super::error::ClientError;
use super::manifest::SignedManifest;
use super::nodes::PairedNode;
use super::tls::{NodeTls, ProxyTls};
use super::wire::{
    Archive, Archives, Audit, CheckpointRequest, CollectionRequest, Containers, Job, Jobs, NOTE, Node, PairAnswer,
    PairRequest, Problem,
};

/// How long a connection may take, TLS included.
const CONNECT: Duration = Duration::from_secs(15);
/// How long an agent may take until it begins to answer.
const ANSWER: Duration = Duration::from_secs(60);
/// How long a small answer may take to arrive.
const ARRIVE: Duration = Duration::from_secs(60);
/// How long an archive may stand still.
const STILL: Duration = Duration::from_secs(30);
/// Most bytes of headers.
const MAX_HEADERS: usize = 16 << 10;
/// Most bytes of an answer about one thing, and of one about many.
const MAX_ONE: u64 = 4 << 20;
const MAX_MANY: u64 = 64 << 20;
/// Most bytes of a log that are fetched; dumps of nodes with many cgroups write as much.
const MAX_LOG: u64 = 64 << 20;
/// Most bytes of an explanation.
const MAX_PROBLEM: u64 = 64 << 10;

/// Another way to a node than the one that is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// Where to connect: the near end of a tunnel.
    pub address: Option<Address>,
    /// Through which proxy, as `http://proxy:3128` or `socks5h://proxy:1080`; without one, as the environment says.
    pub proxy: Option<String>,
    /// How long to wait for a connection, for an answer to begin and to arrive, and for an archive that stands still; the
    /// default is 15 seconds for the first, 60 for the next two and 30 for the last.
    pub patience: Option<Duration>,
}

/// The way to one agent.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    base: String,
    node: String,
    public_key: String,
    still: Duration,
}

/// A part of an archive, as it arrives.
pub(super) struct Content {
    /// Which bytes they are.
    pub(super) kind: ContentKind,
    /// SHA-256 of the whole, as the agent names it.
    pub(super) etag: Option<String>,
    /// The bytes.
    pub(super) reader: Box<dyn Read + Send>,
}

/// Which bytes of an archive arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentKind {
    /// All, of so many where it is said.
    Whole(Option<u64>),
    /// Those from `start`, of `total`.
    From {
        /// The first.
        start: u64,
        /// Of the whole.
        total: u64,
    },
}

impl Client {
    /// The way to a paired node. Nothing is sent yet.
    ///
    /// # Errors
    /// The kept certificates or the proxy's address make no sense.
    pub fn new(node: &PairedNode, route: &Route) -> Result<Client, ClientError> {
        let address = route.address.as_ref().unwrap_or(&node.address);
        let proxy = route.proxy.as_deref().or(node.proxy.as_deref());
        let tls = NodeTls::paired(&node.authority, &node.server_name, &node.identity);
        let tls = tls.map_err(|source| ClientError::Identity { node: node.name.clone(), source })?;
        let agent = agent(tls, address, proxy, route.patience)?;
        Ok(Client {
            agent,
            base: format!("https://{address}"),
            node: node.name.clone(),
            public_key: node.public_key.clone(),
            still: route.patience.unwrap_or(STILL),
        })
    }

    /// The way to an agent that is not paired.
    pub(super) fn stranger(tls: NodeTls, address: &Address, proxy: Option<&str>) -> Result<Client, ClientError> {
        let agent = agent(tls, address, proxy, None)?;
        let (base, node) = (format!("https://{address}"), address.to_string());
        Ok(Client { agent, base, node, public_key: String::new(), still: STILL })
    }

    /// What the analyst calls the node.
    pub fn node_name(&self) -> &str {
        &self.node
    }

    /// How long an archive may stand still.
    pub(super) fn still(&self) -> Duration {
        self.still
    }

    /// The key that manifests of the node are signed by, in hex.
    pub fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The node, its agent, and whom it can ask.
    ///
    /// # Errors
    /// See [`ClientError`]; so everywhere below.
    pub fn node(&self) -> Result<Node, ClientError> {
        self.get("/v1/node", MAX_ONE)
    }

    /// Its containers.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn containers(&self) -> Result<Containers, ClientError> {
        self.get("/v1/containers", MAX_MANY)
    }

    /// Starts a checkpoint.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn checkpoint(&self, request: &CheckpointRequest) -> Result<Job, ClientError> {
        self.post("/v1/checkpoints", request)
    }

    /// Starts a collection out of /proc.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn collect(&self, request: &CollectionRequest) -> Result<Job, ClientError> {
        self.post("/v1/collections", request)
    }

    /// The jobs that the agent has not forgotten.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn jobs(&self) -> Result<Jobs, ClientError> {
        self.get("/v1/jobs", MAX_MANY)
    }

    /// A job; with `wait` when it changes, or after so many seconds.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn job(&self, id: &str, wait_seconds: u32) -> Result<Job, ClientError> {
        self.get(&format!("/v1/jobs/{}?wait={}", segment(id), wait_seconds.min(50)), MAX_ONE)
    }

    /// Asks a job to stop.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn stop_job(&self, id: &str) -> Result<Job, ClientError> {
        let path = format!("/v1/jobs/{}", segment(id));
        self.read(&path, self.agent.delete(self.url(&path)).call(), MAX_ONE)
    }

    /// The archives that wait on the node.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn archives(&self) -> Result<Archives, ClientError> {
        self.get("/v1/archives", MAX_MANY)
    }

    /// An archive.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn archive(&self, id: &str) -> Result<Archive, ClientError> {
        self.get(&format!("/v1/archives/{}", segment(id)), MAX_ONE)
    }

    /// How an archive was made. Not checked here: [`SignedManifest::verify`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn manifest(&self, id: &str) -> Result<SignedManifest, ClientError> {
        self.get(&format!("/v1/archives/{}/manifest", segment(id)), MAX_ONE)
    }

    /// criu's log of an archive, bytes as they are; cut after 64 MiB.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn log(&self, id: &str) -> Result<Vec<u8>, ClientError> {
        let path = format!("/v1/archives/{}/log", segment(id));
        let response = self.accepted(&path, self.agent.get(self.url(&path)).call())?;
        let mut bytes = Vec::new();
        let mut reader = response.into_body().into_reader().take(MAX_LOG);
        reader.read_to_end(&mut bytes).map_err(|error| ClientError::from_io(&self.node, error))?;
        Ok(bytes)
    }

    /// Keeps an archive on the node, or lets it go when room is needed.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn keep(&self, id: &str, is_kept: bool) -> Result<Archive, ClientError> {
        let path = format!("/v1/archives/{}/keep", segment(id));
        let url = self.url(&path);
        let answer = if is_kept { self.agent.put(url).send_empty() } else { self.agent.delete(url).call() };
        self.read(&path, answer, MAX_ONE)
    }

    /// Deletes an archive on the node, where the operator allows it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn delete(&self, id: &str) -> Result<(), ClientError> {
        let path = format!("/v1/archives/{}", segment(id));
        self.accepted(&path, self.agent.delete(self.url(&path)).call()).map(|_empty| ())
    }

    /// What the agent did, from entry `after` on.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn audit(&self, after: u64) -> Result<Audit, ClientError> {
        self.get(&format!("/v1/audit?after={after}"), MAX_MANY)
    }

    /// The base root file system of a container, as a tar that the agent makes while it sends it, and what should be known of it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn rootfs(&self, container: &str) -> Result<(impl Read + Send + use<>, Option<String>), ClientError> {
        let path = format!("/v1/containers/{}/rootfs", segment(container));
        let request = self.agent.get(self.url(&path)).config().timeout_recv_body(None).build();
        let response = self.accepted(&path, request.call())?;
        let note = response.headers().get(NOTE).and_then(|note| note.to_str().ok()).map(str::to_owned);
        Ok((response.into_body().into_reader(), note))
    }

    /// Exchanges a code for certificates.
    pub(super) fn pair(&self, request: &PairRequest) -> Result<PairAnswer, ClientError> {
        self.post("/v1/pair", request)
    }

    /// The bytes of an archive from `start` on, if it still is the one of this SHA-256; otherwise all of what it is now.
    pub(super) fn content(&self, id: &str, start: u64, sha256: &str) -> Result<Content, ClientError> {
        let path = format!("/v1/archives/{}/content", segment(id));
        let mut request = self.agent.get(self.url(&path));
        if start > 0 {
            request = request.header("Range", format!("bytes={start}-")).header("If-Range", format!("\"{sha256}\""));
        }
        let request = request.config().timeout_recv_body(None).timeout_per_read(Some(self.still)).build();
        let response = self.accepted(&path, request.call())?;
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let etag = header("etag").map(|tag| tag.trim().trim_matches('"').to_ascii_lowercase());
        let kind = if response.status() == http::StatusCode::PARTIAL_CONTENT {
            let range = header("content-range").and_then(content_range);
            let (start, total) = range.ok_or_else(|| self.malformed(&path, "its Content-Range makes no sense"))?;
            ContentKind::From { start, total }
        } else {
            ContentKind::Whole(response.body().content_length())
        };
        Ok(Content { kind, etag, reader: Box::new(response.into_body().into_reader()) })
    }

    fn get<T: DeserializeOwned>(&self, path: &str, max_bytes: u64) -> Result<T, ClientError> {
        self.read(path, self.agent.get(self.url(path)).call(), max_bytes)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, message: &impl Serialize) -> Result<T, ClientError> {
        let text = serde_json::to_vec(message).map_err(|error| self.malformed(path, &error.to_string()))?;
        let request = self.agent.post(self.url(path)).header("Content-Type", "application/json");
        self.read(path, request.send(&text[..]), MAX_ONE)
    }

    /// The message of an answer.
    fn read<T: DeserializeOwned>(&self, path: &str, answer: Answer, max_bytes: u64) -> Result<T, ClientError> {
        let response = self.accepted(path, answer)?;
        let mut bytes = Vec::new();
        let mut reader = response.into_body().into_reader().take(max_bytes.saturating_add(1));
        reader.read_to_end(&mut bytes).map_err(|error| ClientError::from_io(&self.node, error))?;
        if max_bytes < bytes.len() as u64 {
            return Err(self.malformed(path, &format!("it has more than {max_bytes} bytes")));
        }
        serde_json::from_slice(&bytes).map_err(|error| self.malformed(path, &error.to_string()))
    }

    /// The answer, if the request was served.
    fn accepted(&self, path: &str, answer: Answer) -> Result<http::Response<Body>, ClientError> {
        let response = answer.map_err(|error| self.unanswered(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let mut bytes = Vec::new();
        let mut reader = response.into_body().into_reader().take(MAX_PROBLEM);
        // What cannot be read of an explanation is left out; the status says enough.
        let _ = reader.read_to_end(&mut bytes);
        let problem = serde_json::from_slice(&bytes).unwrap_or_else(|_plain_text| Problem {
            code: "none-given".into(),
            message: format!("it answers {status} to {path}"),
            hint: None,
            detail: Some(String::from_utf8_lossy(&bytes).chars().take(500).collect::<String>())
                .filter(|text| !text.is_empty()),
            log: Vec::new(),
        });
        Err(ClientError::Refused { node: self.node.clone(), status: status.as_u16(), problem: Box::new(problem) })
    }

    fn malformed(&self, path: &str, what: &str) -> ClientError {
        ClientError::Malformed { node: self.node.clone(), path: path.to_owned(), what: what.to_owned() }
    }

    /// A proxy on the way is named: what goes wrong may be its doing.
    fn unanswered(&self, error: ureq::Error) -> ClientError {
        let mut error = ClientError::from_ureq(&self.node, error);
        if let (ClientError::Line { what, .. }, Some(proxy)) = (&mut error, self.agent.config().proxy()) {
            what.push_str(&format!("; by way of the proxy {}:{}", proxy.host(), proxy.port()));
        }
        error
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

type Answer = Result<http::Response<Body>, ureq::Error>;

fn agent(
    tls: NodeTls,
    address: &Address,
    proxy: Option<&str>,
    patience: Option<Duration>,
) -> Result<Agent, ClientError> {
    let proxy = match proxy {
        Some(given) => Some(named_proxy(given)?),
        // A tunnel's near end is not looked for behind a proxy.
        None if address.is_loopback() => None,
        None => Proxy::try_from_env(),
    };
    let proxy_tls = proxy.as_ref().map(ProxyTls::new).unwrap_or_default();
    let config = Agent::config_builder()
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(MAX_HEADERS)
        .max_idle_age(Duration::from_secs(20))
        .timeout_connect(Some(patience.unwrap_or(CONNECT)))
        .timeout_resolve(Some(patience.unwrap_or(CONNECT)))
        .timeout_send_request(Some(patience.unwrap_or(ANSWER)))
        .timeout_send_body(Some(patience.unwrap_or(ANSWER)))
        .timeout_recv_response(Some(patience.unwrap_or(ANSWER)))
        .timeout_recv_body(Some(patience.unwrap_or(ARRIVE)))
        .user_agent(concat!("cryoscope/", env!("CARGO_PKG_VERSION")))
        // For the proxy alone: a node is known by its own authority.
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
        .proxy(proxy)
        .build();
    let connector =
        ().chain(SocksConnector::default())
            .chain(ConnectProxyConnector::default())
            .chain(TcpConnector::default())
            .chain(proxy_tls)
            .chain(tls);
    Ok(Agent::with_parts(config, connector, DefaultResolver::default()))
}

/// A proxy that was asked for.
fn named_proxy(given: &str) -> Result<Proxy, ClientError> {
    let wrong = || ClientError::BadProxy { given: given.to_owned() };
    Proxy::new(given).map_err(|_no_address| wrong())
}

/// An id as one segment of a path.
fn segment(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    // A dot is plain, but segments of dots alone are directions.
    let is_all_dots = id.bytes().all(|byte| byte == b'.');
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || (byte == b'.' && !is_all_dots) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// First byte and length of the whole, of `bytes 5-9/10`; the last byte must be the last of the whole.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end, total): (u64, u64, u64) = (start.parse().ok()?, end.parse().ok()?, total.parse().ok()?);
    (start <= end && end.checked_add(1)? == total).then_some((start, total))
}

/// The clock here, for messages about certificates.
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_peer_cannot_leave_their_place_in_a_path() {
        let check = |id: &str, spelled: &str| assert_eq!(segment(id), spelled);
        check("20261123-a_b.tar", "20261123-a_b.tar");
        check("..", "%2E%2E");
        check("../../v1/pair", "..%2F..%2Fv1%2Fpair");
        check("a?b#c\r\nHost: x", "a%3Fb%23c%0D%0AHost%3A%20x");
    }

    #[test]
    fn content_range_must_reach_the_end() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 10)));
        for wrong in [
            "",
            "bytes 5-8/10",
            "bytes 9-5/10",
            "bytes */10",
            "bytes 5-9/*",
            "5-9/10",
            "bytes 0-18446744073709551615/0",
        ] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn proxies_are_named_by_address_and_kind() {
        for right in ["http://proxy:3128", "proxy:3128", "https://u:p@proxy", "socks5h://proxy:1", "socks4://[::1]:1"] {
            assert!(named_proxy(right).is_ok(), "{right}");
        }
        for wrong in ["ftp://proxy", "http://", "::"] {
            let error = named_proxy(wrong).unwrap_err().to_string();
            assert!(error.contains("http://"), "{error}");
        }
    }
}
