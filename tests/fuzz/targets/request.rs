//! A client's bytes, as they come out of TLS: parsed as HTTP/1 and answered by the agent's whole router, with an archive
//! to ask for. No request is answered with an error of the agent's own, and every connection ends.
//!
//! The agent's state lies in a temporary directory. The first byte says who asks: a paired workstation or nobody. `ID` in
//! the rest stands for the id of the archive.
#![no_main]

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use cryoscope::acquire::manifest::{ArchiveFacts, Manifest, SCHEMA};
use cryoscope::acquire::wire::{Container, ContainerState, JobKind, Requester, SourceKind};
use cryoscope::agent::config::{Config, SourcesConfig, SpoolConfig};
use cryoscope::agent::server::{self, Peer};
use cryoscope::agent::tls::PeerCertificate;
use cryoscope::agent::{Agent, routes};
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::Runtime;

struct Served {
    runtime: Runtime,
    router: Router,
    archive: String,
    _state: tempfile::TempDir,
}

fuzz_target!(|bytes: &[u8]| {
    static SERVED: OnceLock<Served> = OnceLock::new();
    static CLIENT: AtomicU64 = AtomicU64::new(0);
    let served = SERVED.get_or_init(serve);
    let Some((who, request)) = bytes.split_first() else { return };
    // A client of its own each time: how many requests one may make is not what is tried here.
    let nr = CLIENT.fetch_add(1, Relaxed);
    let certificate = PeerCertificate { fingerprint: format!("{nr:064x}"), name: "fuzz".into() };
    let [_, _, _, _, _, a, b, c] = nr.to_be_bytes();
    let address = SocketAddr::from(([10, a, b, c], 1));
    let peer = Peer { address, certificate: (who % 8 != 0).then_some(certificate) };
    let request = String::from_utf8_lossy(request).replace("ID", &served.archive);
    let answer = served.runtime.block_on(answer(&served.router, peer, request.as_bytes()));
    let head = answer.get(..12).unwrap_or(&answer);
    assert!(!head.starts_with(b"HTTP/1.1 5"), "{}", String::from_utf8_lossy(&answer));
});

async fn answer(router: &Router, peer: Peer, request: &[u8]) -> Vec<u8> {
    let (mut client, agents) = tokio::io::duplex(64 << 10);
    let serving = server::talk(agents, peer, router.clone(), std::future::pending());
    let talking = async move {
        // The agent may hang up before all is said.
        let _ = client.write_all(request).await;
        let _ = client.shutdown().await;
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    let both = async { tokio::join!(serving, talking) };
    let ((), answer) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("a connection that never ends");
    answer
}

fn serve() -> Served {
    let state = tempfile::tempdir().unwrap();
    let spool = SpoolConfig { path: state.path().join("spool"), limit_bytes: 1 << 30, reserve_bytes: 0 };
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        node_name: "fuzz".into(),
        names: vec!["localhost".into()],
        state: state.path().join("state"),
        client_ca: None,
        server_certificate: None,
        may_pair: true,
        client_life: Duration::from_secs(3600),
        spool,
        may_delete: false,
        sources: SourcesConfig::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build().unwrap();
    let agent = runtime.block_on(async { Agent::start(config) }).unwrap();
    let writing = agent.spool.begin().unwrap();
    let written = writing.copy(&mut &b"the bytes of an archive"[..], &mut |_| Ok(())).unwrap();
    let now = jiff::Timestamp::now();
    let archive = ArchiveFacts {
        name: "a.tar".into(),
        kind: JobKind::Checkpoint,
        size_bytes: written.size_bytes,
        sha256: written.sha256,
    };
    let container = Container {
        id: "c".into(),
        name: "c".into(),
        pod: None,
        namespace: None,
        image: None,
        image_id: None,
        engine: "podman".into(),
        source: SourceKind::Podman,
        state: ContainerState::Running,
        created: None,
        pid: None,
        labels: std::collections::BTreeMap::new(),
        problem: None,
        caution: None,
    };
    let manifest = Manifest {
        schema: SCHEMA.into(),
        archive,
        container,
        node: agent.facts.clone(),
        requested_by: Requester { name: None, fingerprint: None, address: None },
        reason: None,
        requested: now,
        started: now,
        finished: now,
        source: SourceKind::Podman,
        source_version: None,
        command: String::new(),
        log: Vec::new(),
        warnings: Vec::new(),
    };
    let archive = writing.finish(&manifest, &agent.identity.signing).unwrap().view().id;
    Served { runtime, router: routes::router(agent), archive, _state: state }
}
