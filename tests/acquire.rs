//! The workstation against an agent that does everything wrong.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, starts programs and reads its own files"
)]

#[path = "acquire/cli.rs"]
mod cli;
#[cfg(feature = "agent")]
#[path = "acquire/daemon.rs"]
mod daemon;
#[path = "acquire/proxy.rs"]
mod proxy;
#[path = "acquire/stand_in.rs"]
mod stand_in;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cryoscope::acquire::identity::Identity;
use cryoscope::acquire::manifest::SignedManifest;
use cryoscope::acquire::pair::{OperatorFiles, PairError, Wish, add, pair};
use cryoscope::acquire::{
    Client, ClientError, Nodes, PairedNode, Patience, PullControl, PullError, Pulled, Route, Target, pull,
};
use cryoscope::base::{Cancelled, Progress, Silent};
use ed25519_dalek::SigningKey;
use stand_in::{Authority, Fault, Server, StandIn};

/// A workstation of its own.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk { dir: tempfile::tempdir().unwrap() }
    }

    fn nodes(&self) -> Nodes {
        Nodes::in_dir(self.dir.path().join("data/acquire/nodes"))
    }

    fn out(&self) -> PathBuf {
        let out = self.dir.path().join("out");
        fs::create_dir_all(&out).unwrap();
        out
    }

    fn pair(&self, agent: &StandIn) -> (PairedNode, Client) {
        let node = pair(&self.nodes(), &wish(agent), &agent.code()).unwrap();
        let client = Client::new(&node, &Route::default()).unwrap();
        (node, client)
    }
}

fn wish(agent: &StandIn) -> Wish {
    Wish { address: agent.address.to_string().parse().unwrap(), name: None, proxy: None }
}

fn control() -> PullControl {
    PullControl::new(Patience { tries: 3, first_wait: Duration::from_millis(5) })
}

fn content(len: usize) -> Vec<u8> {
    let mut x = 7_u32;
    (0..len)
        .map(|_| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 24) as u8
        })
        .collect()
}

/// Pulls the archive `1`.
fn pull_one(desk: &Desk, agent: &StandIn, client: &Client, control: &PullControl) -> Result<Pulled, PullError> {
    let _ = agent;
    pull(client, "authority", "1", &Target::Dir(desk.out()), control, &Silent)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn pairing_tells_the_secret_to_the_agent_of_the_code_alone() {
    let (agent, impostor, desk) = (StandIn::start(), StandIn::start(), Desk::new());
    let code = agent.code();
    let error = pair(&desk.nodes(), &wish(&impostor), &code).unwrap_err();
    assert!(matches!(error, PairError::OtherAgent { .. }), "{error}");
    assert_eq!(impostor.seen(), [""; 0]);
    let node = pair(&desk.nodes(), &wish(&agent), &code.to_lowercase()).unwrap();
    assert_eq!((&*node.name, &*node.server_name), ("node-a", "node-a"));
    assert_eq!(agent.seen(), ["POST /v1/pair", "GET /v1/node"]);
    assert_eq!(desk.nodes().get("node-a").unwrap(), node);
    // A code is good once, and a name is given once.
    let again = Wish { name: Some("b".into()), ..wish(&agent) };
    let error = pair(&desk.nodes(), &again, &code).unwrap_err().to_string();
    assert!(error.contains("not good any more"), "{error}");
    let error = pair(&desk.nodes(), &Wish { name: Some("node-a".into()), ..again }, &agent.code()).unwrap_err();
    assert!(error.to_string().contains("cryoscope acquire forget node-a"), "{error}");
    assert!(matches!(pair(&desk.nodes(), &wish(&agent), "ABCDE"), Err(PairError::NotACode)));
}

#[test]
fn operators_own_authority_needs_no_code() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (certificate, key) = agent.authority.client("analyst");
    let files = OperatorFiles {
        authority: agent.authority.pem.clone(),
        identity: Identity { certificate, key },
        server_name: Some("node-a".into()),
    };
    let node = add(&desk.nodes(), &Wish { name: Some("a".into()), ..wish(&agent) }, files.clone()).unwrap();
    assert_eq!(node.public_key.len(), 64);
    // By the host of the address, the certificate is for somebody else.
    let error = add(
        &desk.nodes(),
        &Wish { name: Some("b".into()), ..wish(&agent) },
        OperatorFiles { server_name: None, ..files },
    )
    .unwrap_err()
    .to_string();
    assert!(error.contains("for another node"), "{error}");
    assert_eq!(desk.nodes().names().unwrap(), ["a"]);
}

#[test]
fn agent_with_wrong_foreign_or_expired_certificate_is_not_asked() {
    let desk = Desk::new();
    let agent = StandIn::start();
    let (node, _) = desk.pair(&agent);
    let check = |server: &StandIn, node: &PairedNode, said: &str| {
        let route = Route { address: Some(server.address.to_string().parse().unwrap()), ..Route::default() };
        let error = Client::new(node, &route).unwrap().node().unwrap_err();
        assert!(matches!(error, ClientError::Trust { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(server.seen(), [""; 0]);
    };
    check(&StandIn::start(), &node, "somebody is in between");
    let server = |name: &str, is_expired| {
        let authority = Authority::new("one");
        let (certificate, key) = authority.client("analyst");
        let mut node = node.clone();
        (node.authority, node.identity) = (authority.pem.clone(), Identity { certificate, key });
        (StandIn::with(authority, Server { name: name.into(), is_expired }), node)
    };
    let (other_name, node_b) = server("node-b", false);
    check(&other_name, &node_b, "for another node of the same authority");
    let (expired, node_c) = server("node-a", true);
    check(&expired, &node_c, "has expired");
}

#[test]
fn workstation_with_a_foreign_certificate_is_told_so() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (mut node, _) = desk.pair(&agent);
    let (certificate, key) = Authority::new("somebody").client("analyst");
    node.identity = Identity { certificate, key };
    let error = Client::new(&node, &Route::default()).unwrap().node().unwrap_err();
    assert!(error.to_string().contains("does not accept this workstation's certificate"), "{error}");
    assert!(!error.is_transient());
}

#[test]
fn tunnel_is_no_hindrance_and_what_does_not_speak_tls_is_said() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (node, _) = desk.pair(&agent);
    // `localhost` is not in the certificate.
    let through =
        Route { address: Some(format!("localhost:{}", agent.address.port()).parse().unwrap()), ..Route::default() };
    assert_eq!(Client::new(&node, &through).unwrap().node().unwrap().name, "node-a");
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = plain.local_addr().unwrap().to_string().parse().unwrap();
    let answer = std::thread::Builder::new()
        .spawn(move || {
            use std::io::{Read as _, Write as _};
            let (mut line, _) = plain.accept().unwrap();
            let _ = line.read(&mut [0; 1000]);
            line.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        })
        .unwrap();
    let error = Client::new(&node, &Route { address: Some(address), ..Route::default() }).unwrap().node().unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    answer.join().unwrap();
    let closed = Route { address: Some("127.0.0.1:1".parse().unwrap()), ..Route::default() };
    let error = Client::new(&node, &closed).unwrap().node().unwrap_err();
    assert!(error.to_string().contains("cryoscope-agent running") && error.is_transient(), "{error}");
}

#[test]
fn answers_that_are_none_too_long_or_refusals_are_told() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    let check = |status: u16, body: Vec<u8>, said: &str| {
        agent.instead("/v1/node", status, body);
        let error = client.node().unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    };
    check(200, b"{}".to_vec(), "cannot be used");
    check(200, vec![b'['; 100_000], "cannot be used");
    check(200, vec![b' '; 5 << 20], "more than 4194304 bytes");
    check(302, Vec::new(), "302");
    check(403, b"Forbidden\x1b[2J".to_vec(), "403");
    let problem =
        br#"{"code": "x", "message": "the kubelet refuses", "hint": "add the rule", "detail": "Forbidden (user=a)"}"#;
    check(403, problem.to_vec(), "the kubelet refuses; add the rule (Forbidden (user=a))");
    check(204, Vec::new(), "cannot be used");
}

#[test]
fn agent_that_dawdles_is_not_waited_for() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (node, _) = desk.pair(&agent);
    let route = Route { patience: Some(Duration::from_millis(300)), ..Route::default() };
    let client = Client::new(&node, &route).unwrap();
    agent.dawdle("/v1/node");
    let begun = Instant::now();
    let error = client.node().unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("no answer in time"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    // An archive that stands still is taken up by the next line.
    let bytes = content(100_000);
    agent.put("1", "a.tar", bytes.clone());
    agent.fault([Fault::Stall(40_000)]);
    let control = control();
    assert_eq!(fs::read(pull_one(&desk, &agent, &client, &control).unwrap().path).unwrap(), bytes);
    assert!(control.take_notes()[0].contains("no answer in time"));
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[test]
fn archive_arrives_over_a_line_that_is_cut_three_times() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    let bytes = content(1 << 20);
    agent.put("1", "checkpoint-web_default-app-2026-11-23T14:42:13Z.tar", bytes.clone());
    agent.fault([Fault::CutAfter(300_000), Fault::CutAfter(200_000), Fault::Status(503), Fault::EndAfter(100_000)]);
    let control = control();
    let pulled = pull_one(&desk, &agent, &client, &control).unwrap();
    assert_eq!(fs::read(&pulled.path).unwrap(), bytes);
    assert_eq!(names(&desk.out()), ["checkpoint-web_default-app-2026-11-23T14:42:13Z.tar"]);
    let offsets = agent.offsets();
    assert_eq!(offsets.len(), 5, "{offsets:?}");
    assert!(offsets.is_sorted() && offsets[1] > 0 && offsets[2] > offsets[1] && offsets[4] > offsets[3], "{offsets:?}");
    assert_eq!(control.take_notes().len(), 4);
    // What is there already is hashed, not fetched.
    assert!(pull_one(&desk, &agent, &client, &control).unwrap().was_there);
    assert_eq!(agent.offsets().len(), 5);
}

#[test]
fn line_that_brings_nothing_is_given_up_and_a_later_pull_goes_on() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    let bytes = content(500_000);
    agent.put("1", "a.tar", bytes.clone());
    agent.fault([Fault::CutAfter(123_456), Fault::CutAfter(0), Fault::CutAfter(0)]);
    let error = pull_one(&desk, &agent, &client, &control()).unwrap_err();
    assert!(matches!(error, PullError::GaveUp { tries: 3, .. }), "{error}");
    assert!(error.to_string().contains("of 500000 bytes are in"), "{error}");
    assert_eq!(names(&desk.out()), ["a.tar.part", "a.tar.part.json"]);
    let before = agent.offsets().len();
    let pulled = pull_one(&desk, &agent, &client, &control()).unwrap();
    assert_eq!(fs::read(pulled.path).unwrap(), bytes);
    assert!(agent.offsets()[before] > 100_000, "{:?}", agent.offsets());
}

#[test]
fn other_bytes_than_were_signed_for_never_become_an_archive() {
    let check = |faults: &[Fault], said: &str, left: &[&str]| {
        let (agent, desk) = (StandIn::start(), Desk::new());
        let (_, client) = desk.pair(&agent);
        agent.put("1", "a.tar", content(100_000));
        agent.fault(faults.to_vec());
        let error = pull_one(&desk, &agent, &client, &control()).unwrap_err().to_string();
        assert!(error.contains(said), "{faults:?}: {error}");
        assert_eq!(names(&desk.out()), left, "{faults:?}");
    };
    let parts = ["a.tar.part", "a.tar.part.json"];
    check(&[Fault::WrongByteAt(50_000)], "SHA-256", &[]);
    check(&[Fault::More(1)], "sends more than the 100000 bytes", &parts);
    check(&[Fault::WrongLength(99_999)], "signed for 100000 bytes, and sends 99999", &parts);
    check(&[Fault::CutAfter(60_000), Fault::WrongRange], "was asked for the bytes from", &parts);
}

#[test]
fn wrong_bytes_of_an_earlier_line_are_fetched_again() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    let bytes = content(100_000);
    agent.put("1", "a.tar", bytes.clone());
    agent.fault([Fault::WrongByteAt(10), Fault::CutAfter(0), Fault::CutAfter(0)]);
    // The first line brings a wrong byte; as it is all of this pull, the agent is to blame.
    assert!(matches!(pull_one(&desk, &agent, &client, &control()), Err(PullError::Manifest { .. })));
    // A part of an earlier pull that is wrong is begun anew instead.
    let part = desk.out().join("a.tar.part");
    agent.state.lock().unwrap().faults.clear();
    agent.fault([Fault::CutAfter(50_000), Fault::CutAfter(0), Fault::CutAfter(0)]);
    assert!(matches!(pull_one(&desk, &agent, &client, &control()), Err(PullError::GaveUp { .. })));
    let mut text = fs::read(&part).unwrap();
    text[7] ^= 1;
    fs::write(&part, text).unwrap();
    let control = control();
    assert_eq!(fs::read(pull_one(&desk, &agent, &client, &control).unwrap().path).unwrap(), bytes);
    assert!(control.take_notes()[0].contains("was changed since"));
}

#[test]
fn archive_that_changes_meanwhile_is_begun_anew_and_said() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    agent.put("1", "a.tar", content(100_000));
    let newer = content(70_000);
    agent.fault([Fault::CutAfter(90_000), Fault::Change(newer.clone())]);
    let control = control();
    let pulled = pull_one(&desk, &agent, &client, &control).unwrap();
    assert_eq!(fs::read(pulled.path).unwrap(), newer);
    assert!(control.take_notes().iter().any(|note| note.contains("has changed on the node")));
    // One that changes with every line is given up.
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    agent.put("1", "a.tar", content(1000));
    agent.fault((1..10).map(|n| Fault::Change(content(n * 100))));
    let error = pull_one(&desk, &agent, &client, &control).unwrap_err();
    assert!(matches!(error, PullError::Changes { .. }), "{error}");
}

#[test]
fn agent_that_ignores_ranges_is_borne() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    let bytes = content(100_000);
    agent.put("1", "a.tar", bytes.clone());
    agent.fault([Fault::CutAfter(90_000), Fault::IgnoreRange]);
    assert_eq!(fs::read(pull_one(&desk, &agent, &client, &control()).unwrap().path).unwrap(), bytes);
}

#[test]
fn foreign_or_changed_manifest_fetches_nothing() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    let bytes = content(1000);
    agent.put("1", "a.tar", bytes.clone());
    let right = agent.state.lock().unwrap().archives["1"].signed.clone();
    let foreign = stand_in::sign(&SigningKey::from_bytes(&[9; 32]), "a.tar", &bytes);
    let claims = SignedManifest { public_key: right.public_key.clone(), ..foreign.clone() };
    let changed = SignedManifest { manifest: right.manifest.replace("1000", "1001"), ..right };
    for signed in [foreign, claims, changed] {
        agent.state.lock().unwrap().archives.get_mut("1").unwrap().signed = signed;
        let error = pull_one(&desk, &agent, &client, &control()).unwrap_err();
        assert!(matches!(error, PullError::Manifest { .. }), "{error}");
        assert!(error.to_string().contains("nothing was fetched"), "{error}");
    }
    assert_eq!(agent.offsets(), [0; 0]);
    assert_eq!(names(&desk.out()), [""; 0]);
}

#[test]
fn names_with_path_tricks_stay_in_the_directory_and_overwrite_nothing() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    for (name, kept) in [("../../outside.tar", "_.._outside.tar"), ("/etc/cron.d/x", "_etc_cron.d_x"), (".ssh", "ssh")]
    {
        agent.put("1", name, content(1000));
        assert_eq!(pull_one(&desk, &agent, &client, &control()).unwrap().path, desk.out().join(kept));
    }
    agent.put("1", "mine.txt", content(1000));
    fs::write(desk.out().join("mine.txt"), "mine").unwrap();
    let error = pull_one(&desk, &agent, &client, &control()).unwrap_err();
    assert!(matches!(error, PullError::Exists { .. }), "{error}");
    assert_eq!(fs::read(desk.out().join("mine.txt")).unwrap(), b"mine");
    // A link in the place of the part is not followed.
    agent.put("1", "link.tar", content(1000));
    let victim = desk.dir.path().join("victim");
    fs::write(&victim, "mine").unwrap();
    std::os::unix::fs::symlink(&victim, desk.out().join("link.tar.part")).unwrap();
    assert!(matches!(pull_one(&desk, &agent, &client, &control()), Err(PullError::Io { .. })));
    assert_eq!(fs::read(&victim).unwrap(), b"mine");
}

#[test]
fn pull_that_is_paused_gives_up_its_line_and_goes_on() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    let bytes = content(3 << 20);
    agent.put("1", "a.tar", bytes.clone());
    agent.fault([Fault::Slow]);
    let control = control();
    let out = desk.out();
    std::thread::scope(|scope| {
        let pulling = scope.spawn(|| pull(&client, "authority", "1", &Target::Dir(out.clone()), &control, &Silent));
        let until = Instant::now() + Duration::from_secs(20);
        let part = out.join("a.tar.part");
        while fs::metadata(&part).map_or(0, |data| data.len()) < 300_000 {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(5));
        }
        control.pause();
        while agent.offsets().len() == 1 && !out.join("a.tar.part.json").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(300));
        let len = fs::metadata(&part).unwrap().len();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(fs::metadata(&part).unwrap().len(), len);
        assert_eq!(control.bytes_per_second(), 0);
        control.resume();
        let pulled = pulling.join().unwrap().unwrap();
        assert_eq!(fs::read(pulled.path).unwrap(), bytes);
    });
    assert_eq!(agent.offsets().len(), 2);
}

#[test]
fn pull_that_is_stopped_keeps_what_came() {
    struct StopAt(u64);
    impl Progress for StopAt {
        fn step(&self, done: u64, total: Option<u64>) -> Result<(), Cancelled> {
            if total == Some(1 << 20) && self.0 <= done { Err(Cancelled) } else { Ok(()) }
        }
    }
    let (agent, desk) = (StandIn::start(), Desk::new());
    let (_, client) = desk.pair(&agent);
    let bytes = content(1 << 20);
    agent.put("1", "a.tar", bytes.clone());
    let target = Target::Dir(desk.out());
    let error = pull(&client, "authority", "1", &target, &control(), &StopAt(400_000)).unwrap_err();
    assert!(matches!(error, PullError::Cancelled(_)), "{error}");
    let pulled = pull(&client, "authority", "1", &target, &control(), &Silent).unwrap();
    assert_eq!(fs::read(pulled.path).unwrap(), bytes);
    assert!(agent.offsets()[1] >= 400_000, "{:?}", agent.offsets());
}
