//! An agent that lies, breaks off, dawdles and sends what was not asked for, on request.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cryoscope::acquire::manifest::{ArchiveFacts, Manifest, NodeFacts, SCHEMA, SignedManifest};
use cryoscope::acquire::wire::{
    Archive, Archives, Container, ContainerState, Containers, Job, JobKind, JobState, Node, PairAnswer, PairCode,
    PairRequest, Problem, Requester, SourceKind, Spool,
};
use cryoscope::base::hex;
use ed25519_dalek::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::FromDer as _;

/// What is done wrong with the next request for an archive's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The line is cut after so many bytes of the answer.
    CutAfter(usize),
    /// The answer ends after so many bytes as if that were all.
    EndAfter(usize),
    /// So many bytes more than there are.
    More(usize),
    /// The byte at this offset is another one.
    WrongByteAt(usize),
    /// Bytes from another place than was asked for.
    WrongRange,
    /// All bytes, whatever was asked for.
    IgnoreRange,
    /// The archive becomes this one first.
    Change(Vec<u8>),
    /// Bytes of another archive under the old ETag.
    WrongLength(usize),
    /// So many bytes, then nothing for a while, then a cut.
    Stall(usize),
    /// A byte a millisecond or so: slow, but it comes.
    Slow,
    /// An error of HTTP.
    Status(u16),
}

/// An archive on the node.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) signed: SignedManifest,
}

pub(crate) struct State {
    pub(crate) archives: BTreeMap<String, Held>,
    pub(crate) containers: Vec<Container>,
    pub(crate) faults: VecDeque<Fault>,
    /// Answers that stand in the place of the right ones: path, status, body.
    pub(crate) instead: BTreeMap<String, (u16, Vec<u8>)>,
    /// Paths whose answers come a byte at a time.
    dawdled: Vec<String>,
    /// Requests, as `GET /v1/node`.
    pub(crate) seen: Vec<String>,
    /// The offset of each request for content.
    pub(crate) offsets: Vec<u64>,
    /// The code that is good once.
    pub(crate) secret: Option<[u8; 10]>,
    /// States that a new job goes through.
    pub(crate) job_states: Vec<JobState>,
    job_at: usize,
    signing: SigningKey,
}

pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) authority: Authority,
    stop: Arc<AtomicBool>,
}

/// An authority with the certificate that it made for the server.
pub(crate) struct Authority {
    pub(crate) pem: String,
    pub(crate) der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

struct Asked(Vec<u8>);

impl PublicKeyData for Asked {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { pem: certificate.pem(), der: certificate.der().to_vec(), issuer: Issuer::new(params, key) }
    }

    /// Certificate and key, in PEM.
    pub(crate) fn client(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (self.sign(name, &key, ExtendedKeyUsagePurpose::ClientAuth, &[], |_| {}), key.serialize_pem())
    }

    pub(crate) fn sign(
        &self,
        name: &str,
        key: &impl PublicKeyData,
        usage: ExtendedKeyUsagePurpose,
        names: &[String],
        change: impl FnOnce(&mut CertificateParams),
    ) -> String {
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        change(&mut params);
        params.signed_by(key, &self.issuer).unwrap().pem()
    }
}

pub(crate) fn der(pem: &str) -> Vec<u8> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1.contents
}

/// How the server's certificate is made.
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) is_expired: bool,
}

impl StandIn {
    pub(crate) fn start() -> StandIn {
        StandIn::with(Authority::new("agent of node-a"), Server { name: "node-a".into(), is_expired: false })
    }

    pub(crate) fn with(authority: Authority, server: Server) -> StandIn {
        let key = KeyPair::generate().unwrap();
        let certificate = authority.sign(
            &server.name,
            &key,
            ExtendedKeyUsagePurpose::ServerAuth,
            std::slice::from_ref(&server.name),
            |params| {
                if server.is_expired {
                    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
                }
            },
        );
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der.clone())).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = verifier.allow_unauthenticated().build().unwrap();
        let chain = vec![CertificateDer::from(der(&certificate)), CertificateDer::from(authority.der.clone())];
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        let signing = SigningKey::from_bytes(&[7; 32]);
        let state = Arc::new(Mutex::new(State {
            archives: BTreeMap::new(),
            containers: vec![container("c0ffee00c0ffee00", "web", "app", &[("app", "web")])],
            faults: VecDeque::new(),
            instead: BTreeMap::new(),
            dawdled: Vec::new(),
            seen: Vec::new(),
            offsets: Vec::new(),
            secret: None,
            job_states: vec![JobState::Queued, JobState::Running, JobState::Done],
            job_at: 0,
            signing,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let shared = (Arc::clone(&state), Arc::clone(&stop), Arc::new(config));
        let issuer = Arc::new(Authority {
            pem: authority.pem.clone(),
            der: authority.der.clone(),
            issuer: copy(&authority.issuer, &authority.der),
        });
        std::thread::Builder::new()
            .spawn(move || {
                let (state, stop, config) = shared;
                for line in listener.incoming() {
                    if stop.load(SeqCst) {
                        return;
                    }
                    let (state, config, issuer) = (Arc::clone(&state), Arc::clone(&config), Arc::clone(&issuer));
                    let Ok(line) = line else { continue };
                    // A line that ends badly is what these tests are about.
                    std::thread::Builder::new().spawn(move || drop(serve(line, config, &state, &issuer))).unwrap();
                }
            })
            .unwrap();
        StandIn { address, state, authority, stop }
    }

    /// A code that is good once.
    pub(crate) fn code(&self) -> String {
        let secret = *b"0123456789";
        self.state.lock().unwrap().secret = Some(secret);
        let digest = Sha256::digest(&self.authority.der);
        PairCode { secret, authority: digest[..15].try_into().unwrap() }.to_text()
    }

    pub(crate) fn put(&self, id: &str, name: &str, bytes: Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let signed = sign(&state.signing, name, &bytes);
        state.archives.insert(id.into(), Held { name: name.into(), bytes, signed });
    }

    pub(crate) fn fault(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    pub(crate) fn instead(&self, path: &str, status: u16, body: impl Into<Vec<u8>>) {
        self.state.lock().unwrap().instead.insert(path.into(), (status, body.into()));
    }

    pub(crate) fn dawdle(&self, path: &str) {
        self.state.lock().unwrap().dawdled.push(path.into());
    }

    pub(crate) fn offsets(&self) -> Vec<u64> {
        self.state.lock().unwrap().offsets.clone()
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.state.lock().unwrap().seen.clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn copy(issuer: &Issuer<'static, KeyPair>, der: &[u8]) -> Issuer<'static, KeyPair> {
    let key = KeyPair::from_pem(&issuer.key().serialize_pem()).unwrap();
    let (_, read) = x509_parser::parse_x509_certificate(der).unwrap();
    let name = read.subject().iter_common_name().next().unwrap().as_str().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    Issuer::new(params, key)
}

pub(crate) fn sign(key: &SigningKey, name: &str, bytes: &[u8]) -> SignedManifest {
    let at = "2026-11-23T14:42:13Z".parse().unwrap();
    let manifest = Manifest {
        schema: SCHEMA.into(),
        archive: ArchiveFacts {
            name: name.into(),
            kind: JobKind::Checkpoint,
            size_bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(bytes)),
        },
        container: container("c0ffee00c0ffee00", "web", "app", &[("app", "web")]),
        node: NodeFacts {
            name: "node-a".into(),
            kernel: "6.12".into(),
            arch: "x86_64".into(),
            agent_version: "0.1.0".into(),
        },
        requested_by: Requester::default(),
        reason: None,
        requested: at,
        started: at,
        finished: at,
        source: SourceKind::Kubelet,
        source_version: None,
        command: "POST /checkpoint/default/web/app".into(),
        log: vec!["Dumping finished successfully".into()],
        warnings: Vec::new(),
    };
    SignedManifest::sign(&manifest, key).unwrap()
}

pub(crate) fn container(id: &str, pod: &str, name: &str, labels: &[(&str, &str)]) -> Container {
    Container {
        id: id.into(),
        name: name.into(),
        pod: Some(pod.into()),
        namespace: Some("default".into()),
        image: Some("web:1".into()),
        image_id: None,
        engine: "cri-o".into(),
        source: SourceKind::Kubelet,
        state: ContainerState::Running,
        created: None,
        pid: Some(7),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        problem: None,
        caution: None,
    }
}

type Line = StreamOwned<ServerConnection, TcpStream>;

fn serve(
    line: TcpStream,
    config: Arc<ServerConfig>,
    state: &Mutex<State>,
    issuer: &Authority,
) -> Result<(), Box<dyn std::error::Error>> {
    line.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut line = StreamOwned::new(ServerConnection::new(config)?, line);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            line.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head)?;
        let header = |wanted: &str| {
            head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
            })
        };
        let len = header("content-length").map_or(Ok(0), |len| len.parse())?;
        let mut body = vec![0; len];
        line.read_exact(&mut body)?;
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
        let path = target.split('?').next().unwrap().to_owned();
        let is_known = line.conn.peer_certificates().is_some();
        state.lock().unwrap().seen.push(format!("{method} {path}"));
        if state.lock().unwrap().dawdled.contains(&path) {
            line.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
            for _ in 0..100 {
                line.write_all(b" ")?;
                line.flush()?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let instead = state.lock().unwrap().instead.get(&path).cloned();
        if let Some((status, body)) = instead {
            answer(&mut line, status, &body)?;
            continue;
        }
        if !is_known && path != "/v1/pair" {
            problem(&mut line, 401, "who-are-you", "a certificate is needed")?;
            continue;
        }
        let id = path.split('/').nth(3).unwrap_or_default();
        match (&*method, &*path) {
            ("POST", "/v1/pair") => pair(&mut line, &body, state, issuer)?,
            ("GET", "/v1/node") => {
                let node = node(&state.lock().unwrap().signing);
                json(&mut line, 200, &node)?;
            }
            ("GET", "/v1/containers") => {
                let containers = state.lock().unwrap().containers.clone();
                json(&mut line, 200, &Containers { containers, issues: Vec::new() })?;
            }
            ("POST", "/v1/checkpoints") => {
                let job = {
                    let mut state = state.lock().unwrap();
                    state.job_at = 0;
                    job(&state)
                };
                json(&mut line, 202, &job)?;
            }
            ("GET", path) if path.starts_with("/v1/jobs/") => {
                let job = {
                    let mut state = state.lock().unwrap();
                    state.job_at = (state.job_at + 1).min(state.job_states.len() - 1);
                    job(&state)
                };
                json(&mut line, 200, &job)?;
            }
            ("GET", "/v1/archives") => {
                let archives = state.lock().unwrap().archives.iter().map(|(id, held)| archive(id, held)).collect();
                json(&mut line, 200, &Archives { archives })?;
            }
            ("GET", path) if path.starts_with("/v1/archives/") => {
                let held = state.lock().unwrap().archives.get(id).cloned();
                let Some(held) = held else {
                    problem(&mut line, 404, "no-such-archive", "there is no such archive")?;
                    continue;
                };
                match path.rsplit('/').next() {
                    Some("manifest") => json(&mut line, 200, &held.signed)?,
                    Some("content") => content(&mut line, id, held, header("range"), header("if-range"), state)?,
                    _ => json(&mut line, 200, &archive(id, &held))?,
                }
            }
            _ => problem(&mut line, 404, "no-such-path", "there is no such path")?,
        }
    }
}

fn node(signing: &SigningKey) -> Node {
    Node {
        name: "node-a".into(),
        agent_version: "0.1.0".into(),
        kernel: "6.12".into(),
        arch: "x86_64".into(),
        now: "2026-11-23T14:42:13Z".parse().unwrap(),
        public_key: hex(signing.verifying_key().as_bytes()),
        sources: Vec::new(),
        spool: Spool { used_bytes: 1, limit_bytes: 2, free_bytes: 3, reserve_bytes: 4 },
        may_delete: false,
    }
}

fn job(state: &State) -> Job {
    let now = state.job_states[state.job_at];
    Job {
        id: "job-1".into(),
        kind: JobKind::Checkpoint,
        container: "c0ffee00c0ffee00".into(),
        state: now,
        step: format!("{now:?}"),
        requested: "2026-11-23T14:42:13Z".parse().unwrap(),
        finished: None,
        done_bytes: None,
        archive: (now == JobState::Done).then(|| state.archives.keys().next_back().cloned()).flatten(),
        problem: (now == JobState::Failed).then(|| Problem {
            code: "dump-failed".into(),
            message: "criu could not dump it".into(),
            hint: Some("set tcp-established in /etc/criu/runc.conf".into()),
            detail: Some("Connected TCP socket".into()),
            log: vec!["(00.1) Error (criu/cr-dump.c:2111): Dumping FAILED.".into()],
        }),
        warnings: vec!["the container stayed frozen".into()],
    }
}

fn archive(id: &str, held: &Held) -> Archive {
    Archive {
        id: id.into(),
        name: held.name.clone(),
        size_bytes: held.bytes.len() as u64,
        sha256: hex(&Sha256::digest(&held.bytes)),
        created: "2026-11-23T14:42:13Z".parse().unwrap(),
        kind: JobKind::Checkpoint,
        container: "c0ffee00c0ffee00".into(),
        container_name: "app".into(),
        pod: Some("web".into()),
        namespace: Some("default".into()),
        keep: false,
    }
}

fn pair(line: &mut Line, body: &[u8], state: &Mutex<State>, issuer: &Authority) -> Result<(), std::io::Error> {
    let request: PairRequest = serde_json::from_slice(body)?;
    let mut state = state.lock().unwrap();
    if state.secret.take().map(|secret| hex(&secret)) != Some(request.secret) {
        return problem(line, 403, "wrong-code", "this code is not good any more");
    }
    let csr = der(&request.csr);
    let (_, csr) = x509_parser::certification_request::X509CertificationRequest::from_der(&csr).unwrap();
    let key = Asked(csr.certification_request_info.subject_pki.subject_public_key.data.to_vec());
    let certificate = issuer.sign("analyst", &key, ExtendedKeyUsagePurpose::ClientAuth, &[], |_| {});
    let public_key = hex(state.signing.verifying_key().as_bytes());
    let answer = PairAnswer { certificate, authority: issuer.pem.clone(), node: "node-a".into(), public_key };
    json(line, 200, &answer)
}

fn content(
    line: &mut Line,
    id: &str,
    mut held: Held,
    range: Option<String>,
    if_range: Option<String>,
    state: &Mutex<State>,
) -> Result<(), Box<dyn std::error::Error>> {
    let asked = range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let fault = {
        let mut state = state.lock().unwrap();
        state.offsets.push(asked.unwrap_or(0));
        let fault = state.faults.pop_front();
        if let Some(Fault::Change(bytes)) = &fault {
            held.signed = sign(&state.signing, &held.name, bytes);
            held.bytes.clone_from(bytes);
            state.archives.insert(id.to_owned(), held.clone());
        }
        fault
    };
    if let Some(Fault::Status(status)) = fault {
        return Ok(problem(line, status, "busy", "not now")?);
    }
    let etag = format!("\"{}\"", hex(&Sha256::digest(&held.bytes)));
    let is_same = if_range.is_none_or(|tag| tag == etag);
    let mut start = asked.filter(|_| is_same && !matches!(fault, Some(Fault::IgnoreRange))).unwrap_or(0) as usize;
    if matches!(fault, Some(Fault::WrongRange)) {
        start = start.saturating_sub(1);
    }
    let total = held.bytes.len();
    if total < start {
        return Ok(problem(line, 416, "no-such-range", "the archive is shorter")?);
    }
    if let Some(Fault::WrongByteAt(at)) = fault {
        held.bytes[at] ^= 1;
    }
    let mut bytes = held.bytes[start..].to_vec();
    let status = if start > 0 { "206 Partial Content" } else { "200 OK" };
    let mut head = format!("HTTP/1.1 {status}\r\nETag: {etag}\r\n");
    if start > 0 {
        head.push_str(&format!("Content-Range: bytes {start}-{}/{total}\r\n", total - 1));
    }
    let is_chunked = matches!(fault, Some(Fault::EndAfter(_) | Fault::More(_)));
    match fault {
        Some(Fault::EndAfter(n)) => bytes.truncate(n),
        Some(Fault::More(n)) => bytes.extend(vec![0; n]),
        Some(Fault::WrongLength(n)) => bytes.truncate(n),
        _ => {}
    }
    if is_chunked {
        head.push_str("Transfer-Encoding: chunked\r\n\r\n");
        line.write_all(head.as_bytes())?;
        for chunk in bytes.chunks(1000) {
            line.write_all(format!("{:x}\r\n", chunk.len()).as_bytes())?;
            line.write_all(chunk)?;
            line.write_all(b"\r\n")?;
        }
        line.write_all(b"0\r\n\r\n")?;
        return Ok(line.flush()?);
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", bytes.len()));
    line.write_all(head.as_bytes())?;
    match fault {
        Some(Fault::CutAfter(n)) => {
            line.write_all(&bytes[..n.min(bytes.len())])?;
            line.flush()?;
            return Err("cut".into());
        }
        Some(Fault::Stall(n)) => {
            line.write_all(&bytes[..n.min(bytes.len())])?;
            line.flush()?;
            std::thread::sleep(Duration::from_secs(4));
            return Err("cut".into());
        }
        Some(Fault::Slow) => {
            for chunk in bytes.chunks(64 << 10) {
                line.write_all(chunk)?;
                line.flush()?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        _ => line.write_all(&bytes)?,
    }
    Ok(line.flush()?)
}

fn json(line: &mut Line, status: u16, message: &impl serde::Serialize) -> Result<(), std::io::Error> {
    answer(line, status, &serde_json::to_vec(message)?)
}

fn problem(line: &mut Line, status: u16, code: &str, message: &str) -> Result<(), std::io::Error> {
    let hint = Some("try the right one".to_owned());
    json(line, status, &Problem { code: code.into(), message: message.into(), hint, detail: None, log: Vec::new() })
}

fn answer(line: &mut Line, status: u16, body: &[u8]) -> Result<(), std::io::Error> {
    let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n", body.len());
    line.write_all(head.as_bytes())?;
    line.write_all(body)?;
    line.flush()
}
