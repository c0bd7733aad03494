//! The daemon as a whole: with a kubelet that does what real ones do, and with clients that do what they should not.
#![cfg(feature = "agent")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and starts programs and reads files"
)]

#[path = "agent/daemon.rs"]
mod daemon;
#[path = "agent/kubelet.rs"]
mod kubelet;

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use cryoscope::acquire::manifest::{Manifest, SignedManifest};
use cryoscope::acquire::wire::{Archive, Job, JobState, Node};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use daemon::{Client, Daemon, pair_request};
use kubelet::{CONTAINER, Kubelet, Mood, OTHER, archive};

struct Site {
    _dir: tempfile::TempDir,
    kubelet: Kubelet,
    daemon: Daemon,
    desk: Client,
}

fn site(arguments: &[&str]) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(dir.path());
    let daemon = Daemon::start(dir.path(), &[kubelet.arguments().as_slice(), arguments].concat());
    let desk = daemon.pair();
    Site { _dir: dir, kubelet, daemon, desk }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn archives(client: &Client) -> Vec<Archive> {
    serde_json::from_value(client.get("/v1/archives").ok()["archives"].clone()).unwrap()
}

#[track_caller]
fn done(job: &Job) -> String {
    assert_eq!(job.state, JobState::Done, "{job:?}");
    job.archive.clone().unwrap()
}

#[test]
fn container_is_frozen_fetched_in_pieces_and_its_manifest_holds() {
    let site = site(&[]);
    let listed = site.desk.get("/v1/containers").ok();
    assert_eq!(listed["containers"].as_array().unwrap().len(), 3, "{listed}");
    *site.kubelet.archive.lock().unwrap() = archive(&[7; 300_000], "Dumping finished successfully");
    let bytes = site.kubelet.archive.lock().unwrap().clone();
    let id = done(&site.desk.freeze(&CONTAINER[..12]));
    assert_eq!(*site.kubelet.asked.lock().unwrap(), ["counter?timeout=2"]);

    let content = format!("/v1/archives/{id}/content");
    let whole = site.desk.get(&content);
    assert_eq!((whole.status, whole.is_whole, &whole.body), (200, true, &bytes));
    let tag = whole.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{}\"", sha256(&bytes)));
    let mut pieces = site.desk.send("GET", &content, "Range: bytes=0-99999\r\n", "").body;
    let rest = format!("Range: bytes={}-\r\nIf-Range: {tag}\r\n", pieces.len());
    let rest = site.desk.send("GET", &content, &rest, "");
    assert_eq!(
        (rest.status, rest.header("content-range").unwrap()),
        (206, &*format!("bytes 100000-{}/{}", bytes.len() - 1, bytes.len()))
    );
    pieces.extend(rest.body);
    assert_eq!(pieces, bytes);
    let other = site.desk.send("GET", &content, "Range: bytes=5-\r\nIf-Range: \"other\"\r\n", "");
    assert_eq!((other.status, other.body.len()), (200, bytes.len()));
    let beyond = site.desk.send("GET", &content, &format!("Range: bytes={}-\r\n", bytes.len()), "");
    assert_eq!((beyond.status, beyond.header("content-range").unwrap()), (416, &*format!("bytes */{}", bytes.len())));
    let head = site.desk.send("HEAD", &content, "", "");
    assert_eq!(
        (head.status, head.body.len(), head.header("content-length").unwrap()),
        (200, 0, &*bytes.len().to_string())
    );

    let node: Node = serde_json::from_value(site.desk.get("/v1/node").ok()).unwrap();
    let signed: SignedManifest =
        serde_json::from_value(site.desk.get(&format!("/v1/archives/{id}/manifest")).ok()).unwrap();
    let manifest: Manifest = signed.verify(&node.public_key).unwrap();
    manifest.archive.check(bytes.len() as u64, &sha256(&bytes)).unwrap();
    assert!(manifest.command.ends_with("/checkpoint/default/counter-node-a/counter?timeout=2"), "{}", manifest.command);
    assert_eq!(manifest.requested_by.name.as_deref(), Some("desk"));
    assert!(manifest.log.last().unwrap().contains("Dumping finished successfully") && manifest.warnings.is_empty());
    let log = site.desk.get(&format!("/v1/archives/{id}/log"));
    assert!(String::from_utf8(log.body).unwrap().contains("RLIMIT_NOFILE"));

    let audit = site.desk.get("/v1/audit").ok();
    let actions: Vec<&str> =
        audit["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    for action in ["pair", "checkpoint", "checkpoint-end", "download", "download-end", "log"] {
        assert!(actions.contains(&action), "{action} is not in {actions:?}");
    }
}

#[test]
fn every_bad_answer_of_a_kubelet_has_a_name_and_leaves_no_archive() {
    let site = site(&[]);
    std::fs::write(site.daemon.dir.join("secret.tar"), archive(b"x", "y")).unwrap();
    let link = site.kubelet.checkpoints.join("checkpoint-link.tar");
    std::os::unix::fs::symlink(site.daemon.dir.join("secret.tar"), &link).unwrap();
    let in_dir = |name: &str| format!("{}/{name}", site.kubelet.checkpoints.display());
    for (mood, expected) in [
        (Mood::Says(404, "pod does not exist"), "no-such-pod"),
        (Mood::Says(404, "404 page not found\n"), "checkpoint-gate-off"),
        (
            Mood::Says(
                403,
                "Forbidden (user=limited-user, verb=create, resource=nodes, subresource(s)=[checkpoint])\n",
            ),
            "kubelet-forbidden",
        ),
        (
            Mood::Says(500, "checkpointing of x failed (criu failed: type DUMP errno 0 path= /x/criu-dump.log)"),
            "checkpoint-failed",
        ),
        (Mood::Says(500, "x (Connected TCP socket, consider using --tcp-established option)"), "tcp-established"),
        (Mood::Says(200, "not json"), "kubelet-talks-nonsense"),
        (Mood::Says(307, ""), "runtime-failed"),
        (Mood::NamesTwo, "kubelet-talks-nonsense"),
        (Mood::Names(in_dir("checkpoint-gone.tar")), "archive-missing"),
        (Mood::Names(in_dir("checkpoint-link.tar")), "archive-missing"),
        (Mood::Names(in_dir("../secret.tar")), "path-outside"),
        (Mood::Names("/etc/shadow".to_owned()), "path-outside"),
        (Mood::HangsUp, "kubelet-talks-nonsense"),
        (Mood::Floods, "kubelet-talks-nonsense"),
    ] {
        site.kubelet.be(mood.clone());
        let job = site.desk.freeze(CONTAINER);
        let problem = job.problem.unwrap_or_else(|| panic!("{mood:?}: {:?}", job.state));
        assert_eq!((job.state, problem.code.as_str()), (JobState::Failed, expected), "{mood:?}: {problem:?}");
    }
    assert_eq!(archives(&site.desk), []);
    let left: Vec<_> = std::fs::read_dir(site.daemon.dir.join("spool")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    std::fs::write(&site.kubelet.token, "wrong").unwrap();
    assert!(site.desk.get("/v1/containers").ok()["issues"][0].as_str().unwrap().contains("kubelet"));
}

#[test]
fn archive_that_appears_late_is_claimed_with_a_warning() {
    let site = site(&[]);
    site.kubelet.be(Mood::Late(Duration::from_millis(800)));
    let job = site.desk.freeze(CONTAINER);
    let id = done(&job);
    assert!(job.warnings.iter().any(|warning| warning.contains("appeared late")), "{:?}", job.warnings);
    let bytes = site.kubelet.archive.lock().unwrap().clone();
    assert_eq!(site.desk.get(&format!("/v1/archives/{id}/content")).body, bytes);
}

#[test]
fn connection_in_flight_is_tried_once_more_and_an_unfinished_log_is_told() {
    let site = site(&[]);
    *site.kubelet.archive.lock().unwrap() = archive(b"x", "Dumping FAILED.");
    site.kubelet
        .be(Mood::Once(500, "checkpointing failed (crun: Error (criu/sk-inet.c): In-flight connection (l) for 7)"));
    let job = site.desk.freeze(CONTAINER);
    done(&job);
    assert_eq!(site.kubelet.asked.lock().unwrap().len(), 2);
    assert!(job.warnings.iter().any(|warning| warning.contains("tried once more")), "{:?}", job.warnings);
    assert!(job.warnings.iter().any(|warning| warning.contains("last line")), "{:?}", job.warnings);
}

#[test]
fn requests_of_one_container_never_share_a_second_and_lose_nothing() {
    let site = site(&[]);
    let request = serde_json::json!({"container": CONTAINER});
    let jobs: Vec<String> =
        (0..3).map(|_| site.desk.post("/v1/checkpoints", &request).ok()["id"].as_str().unwrap().to_owned()).collect();
    let other = done(&site.desk.freeze(OTHER));
    let mut ids: Vec<String> = jobs.iter().map(|job| done(&site.desk.end_of(job))).collect();
    ids.push(other);
    let names: std::collections::BTreeSet<String> =
        archives(&site.desk).into_iter().map(|archive| archive.name).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for id in ids {
        assert!(site.desk.get(&format!("/v1/archives/{id}/content")).is_whole);
    }
}

#[test]
fn job_that_waits_is_stopped_and_makes_nothing() {
    let site = site(&[]);
    let request = serde_json::json!({"container": CONTAINER});
    let first = site.desk.post("/v1/checkpoints", &request).ok();
    let second = site.desk.post("/v1/checkpoints", &request).ok();
    let path = format!("/v1/jobs/{}", second["id"].as_str().unwrap());
    assert_eq!(site.desk.send("DELETE", &path, "", "").ok()["state"], "cancelled");
    done(&site.desk.end_of(first["id"].as_str().unwrap()));
    assert_eq!(archives(&site.desk).len(), 1);
}

/// A certificate signed by the agent's own authority, whose key lies in the state directory.
fn signed(daemon: &Daemon, usage: ExtendedKeyUsagePurpose, change: impl FnOnce(&mut CertificateParams)) -> Client {
    let issuer_key =
        KeyPair::from_pem(&std::fs::read_to_string(daemon.state().join("authority-key.pem")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_der(&daemon.authority(), issuer_key).unwrap();
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![usage];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    daemon.client(Some((vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())))
}

#[test]
fn nobody_gets_in_without_a_good_certificate() {
    let site = site(&[]);
    let nobody = site.daemon.client(None);
    let id = done(&site.desk.freeze(CONTAINER));
    let paths =
        ["/v1/node", "/v1/containers", "/v1/jobs", "/v1/archives", "/v1/audit", "/v1/openapi.json", "/x", "/v1/pair/"];
    for path in paths.iter().map(|path| (*path).to_owned()).chain([format!("/v1/archives/{id}/content")]) {
        let answer = nobody.get(&path);
        assert_eq!((answer.status, answer.code().as_str()), (401, "certificate-needed"), "{path}");
    }
    let refused = nobody.post("/v1/checkpoints", &serde_json::json!({"container": CONTAINER}));
    assert_eq!(refused.status, 401);

    let good = signed(&site.daemon, ExtendedKeyUsagePurpose::ClientAuth, |_| {});
    good.get("/v1/node").ok();
    let request = b"GET /v1/node HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let expired = signed(&site.daemon, ExtendedKeyUsagePurpose::ClientAuth, |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    let server = signed(&site.daemon, ExtendedKeyUsagePurpose::ServerAuth, |_| {});
    let key = KeyPair::generate().unwrap();
    let foreign = CertificateParams::default().self_signed(&key).unwrap();
    let foreign =
        site.daemon.client(Some((vec![foreign.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())));
    for (client, who) in [(expired, "expired"), (server, "a server's"), (foreign, "foreign")] {
        let refused = client.raw(request);
        assert!(refused.is_err(), "{who}: {refused:?}");
    }
    site.daemon.command(&["revoke", "desk"]);
    let revoked = site.desk.get("/v1/node");
    assert_eq!((revoked.status, revoked.code().as_str()), (403, "certificate-revoked"));
}

#[test]
fn code_lets_one_in_and_few_wrong_ones_close_it() {
    let site = site(&[]);
    let key = KeyPair::generate().unwrap();
    let nobody = site.daemon.client(None);
    let code = site.daemon.code();
    assert_eq!(code.authority[..], Sha256::digest(site.daemon.authority().as_ref())[..15]);
    nobody.post("/v1/pair", &pair_request(&code.secret, &key)).ok();
    let again = nobody.post("/v1/pair", &pair_request(&code.secret, &key));
    assert_eq!((again.status, again.code().as_str()), (403, "pairing-refused"));
    let code = site.daemon.code();
    for _ in 0..5 {
        assert_eq!(nobody.post("/v1/pair", &pair_request(&[0; 10], &key)).status, 403);
    }
    assert_eq!(nobody.post("/v1/pair", &pair_request(&code.secret, &key)).status, 403);
    let many: Vec<u16> = (0..20).map(|_| nobody.post("/v1/pair", &pair_request(&[0; 10], &key)).status).collect();
    assert!(many.contains(&429), "{many:?}");
    site.desk.get("/v1/node").ok();
}

#[test]
fn no_trick_with_a_path_a_range_or_a_body_gets_anything() {
    let site = site(&[]);
    let id = done(&site.desk.freeze(CONTAINER));
    for name in [
        "..",
        "%2e%2e",
        "..%2f..%2fstate",
        "%2fetc%2fpasswd",
        "a%00b",
        "new-x",
        "",
        "%ff%fe",
        &"a".repeat(4000),
        &format!("{id}%2f..%2f{id}"),
    ] {
        for (method, rest) in [("GET", ""), ("GET", "/content"), ("GET", "/manifest"), ("PUT", "/keep"), ("DELETE", "")]
        {
            let answer = site.desk.send(method, &format!("/v1/archives/{name}{rest}"), "", "");
            assert!(matches!(answer.status, 400 | 404 | 405), "{method} {name} {rest}: {}", answer.status);
        }
        let answer = site.desk.get(&format!("/v1/jobs/{name}"));
        assert!(matches!(answer.status, 400 | 404), "{name}: {}", answer.status);
    }
    for body in [
        "",
        "{",
        "[]",
        "{\"container\": 7}",
        "{\"container\": \"../../etc\"}",
        "{\"container\": \"\"}",
        &format!("{{\"container\": \"{CONTAINER}\", \"timeout_seconds\": 0}}"),
        &format!("{{\"container\": \"{CONTAINER}\", \"timeout_seconds\": 99999999999}}"),
        &"[".repeat(60_000),
    ] {
        let answer = site.desk.send("POST", "/v1/checkpoints", "", body);
        assert_eq!(answer.status, 400, "{body:.60}");
    }
    let large = site.desk.send("POST", "/v1/checkpoints", "", &" ".repeat(70_000));
    assert_eq!((large.status, large.code().as_str()), (413, "too-large"));
    let claims = format!(
        "POST /v1/checkpoints HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        u64::MAX - 1
    );
    assert!(site.desk.raw(claims.as_bytes()).unwrap().status >= 400);
    let long = format!("GET /v1/node HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    assert!(site.desk.raw(long.as_bytes()).map_or(431, |answer| answer.status) >= 400);
    assert!(site.desk.raw(b"\x00\xff not http\r\n\r\n").map_or(400, |answer| answer.status) >= 400);
    let patch = site.desk.send("PATCH", "/v1/node", "", "");
    assert_eq!((patch.status, patch.code().as_str()), (405, "wrong-method"));
    assert_eq!(site.desk.send("DELETE", &format!("/v1/archives/{id}"), "", "").code(), "may-not-delete");
    assert_eq!(archives(&site.desk).len(), 1);
}

#[test]
fn slow_clients_are_dropped_and_hold_up_nobody() {
    let site = site(&[]);
    // Some say nothing, some half a request, some half a body.
    let silent: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(site.daemon.address).unwrap()).collect();
    let mut half_body = site.desk.connect().unwrap();
    half_body
        .write_all(b"POST /v1/checkpoints HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n\r\n{")
        .unwrap();
    let began = Instant::now();
    site.desk.get("/v1/node").ok();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(daemon::read_answer(&mut half_body).unwrap().status, 408);
    for mut stream in silent {
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "a silent connection is closed");
    }
}

#[test]
fn agent_that_is_killed_during_a_download_goes_on_with_the_same_bytes() {
    let mut site = site(&[]);
    *site.kubelet.archive.lock().unwrap() = archive(&vec![5; 40 << 20], "Dumping finished successfully");
    let bytes = site.kubelet.archive.lock().unwrap().clone();
    let id = done(&site.desk.freeze(CONTAINER));
    let content = format!("/v1/archives/{id}/content");
    let mut stream = site.desk.connect().unwrap();
    stream.write_all(format!("GET {content} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut first = vec![0; 1 << 20];
    stream.read_exact(&mut first).unwrap();
    site.daemon.kill();
    let mut rest = Vec::new();
    let _broken = stream.read_to_end(&mut rest);
    first.extend(rest);
    assert!(first.len() < bytes.len(), "it broke off");
    site.daemon.restart();
    site.desk.address = site.daemon.address;
    let body = first.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut got = first.split_off(body);
    let headers = format!("Range: bytes={}-\r\nIf-Range: \"{}\"\r\n", got.len(), sha256(&bytes));
    let resumed = site.desk.send("GET", &content, &headers, "");
    assert_eq!(resumed.status, 206);
    got.extend(resumed.body);
    assert_eq!(sha256(&got), sha256(&bytes));
}

#[test]
fn agent_that_is_killed_while_it_takes_an_archive_takes_it_anew() {
    let mut site = site(&[]);
    *site.kubelet.archive.lock().unwrap() = archive(&vec![5; 200 << 20], "Dumping finished successfully");
    let job = site.desk.post("/v1/checkpoints", &serde_json::json!({"container": CONTAINER})).ok();
    let spool = site.daemon.dir.join("spool");
    wait_for(|| 8 << 20 < half_written(&spool));
    site.daemon.restart();
    site.desk.address = site.daemon.address;
    // What was half written is gone; the kubelet's own is whole.
    let job = site.desk.end_of(job["id"].as_str().unwrap());
    let id = done(&job);
    assert!(job.warnings.iter().any(|warning| warning.contains("after its next start")), "{:?}", job.warnings);
    assert_eq!(names(&spool), [id.as_str()]);
    let bytes = site.kubelet.archive.lock().unwrap().clone();
    assert_eq!(sha256(&site.desk.get(&format!("/v1/archives/{id}/content")).body), sha256(&bytes));
}

/// Asks for a checkpoint, and kills the agent as soon as the kubelet has been asked.
#[expect(clippy::unwrap_used, reason = "a part of tests")]
fn killed_meanwhile(site: &mut Site) -> String {
    let n_asked = site.kubelet.asked.lock().unwrap().len();
    let request = serde_json::json!({"container": CONTAINER, "timeout_seconds": 2, "reason": "case 1432"});
    let job = site.desk.post("/v1/checkpoints", &request).ok();
    wait_for(|| n_asked < site.kubelet.asked.lock().unwrap().len());
    site.daemon.kill();
    job["id"].as_str().unwrap().to_owned()
}

#[test]
fn archive_that_appears_after_the_agent_was_killed_is_claimed_by_the_next() {
    let mut site = site(&[]);
    // While no agent runs, and when the next runs already.
    for (after, is_awaited) in [(Duration::from_millis(300), true), (Duration::from_secs(4), false)] {
        site.kubelet.be(Mood::Deaf(after));
        let n_before = names(&site.kubelet.checkpoints).len();
        let job = killed_meanwhile(&mut site);
        if is_awaited {
            wait_for(|| n_before < names(&site.kubelet.checkpoints).len());
        }
        site.daemon.restart();
        site.desk.address = site.daemon.address;
        let running = site.desk.get(&format!("/v1/jobs/{job}")).ok();
        assert_eq!(running["state"], "running", "{running}");
        let job = site.desk.end_of(&job);
        let id = done(&job);
        assert!(job.warnings.iter().any(|warning| warning.contains("after its next start")), "{:?}", job.warnings);
        let bytes = site.kubelet.archive.lock().unwrap().clone();
        assert_eq!(site.desk.get(&format!("/v1/archives/{id}/content")).body, bytes);
        let manifest = site.desk.get(&format!("/v1/archives/{id}/manifest")).ok().to_string();
        assert!(manifest.contains("case 1432") && manifest.contains("counter?timeout=2"), "{manifest}");
        assert!(names(&site.daemon.state().join("jobs")).is_empty());
    }
    assert_eq!(archives(&site.desk).len(), 2);
}

#[test]
fn archive_that_does_not_appear_is_not_waited_for_for_ever() {
    let mut site = site(&[]);
    site.kubelet.be(Mood::Deaf(Duration::from_secs(600)));
    let job = killed_meanwhile(&mut site);
    // As if it were long ago.
    let file = site.daemon.state().join("jobs").join(format!("{job}.json"));
    let mut noted: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let until = &mut noted["expected"]["until"];
    let left = until.as_str().unwrap().parse::<jiff::Timestamp>().unwrap().duration_since(jiff::Timestamp::now());
    assert!((60..=600).contains(&left.as_secs()), "it is bounded: {left}");
    *until = "2026-01-01T00:00:00Z".into();
    std::fs::write(&file, noted.to_string()).unwrap();
    site.daemon.restart();
    site.desk.address = site.daemon.address;
    let job = site.desk.end_of(&job);
    assert_eq!((job.state, job.problem.unwrap().code.as_str()), (JobState::Failed, "agent-restarted"));
    assert!(names(&site.daemon.state().join("jobs")).is_empty());
    assert!(names(&site.daemon.dir.join("spool")).is_empty());
}

#[test]
fn agent_that_is_asked_to_stop_waits_for_the_runtime() {
    let mut site = site(&[]);
    site.kubelet.be(Mood::Deaf(Duration::from_secs(2)));
    let request = serde_json::json!({"container": CONTAINER, "timeout_seconds": 2});
    site.desk.post("/v1/checkpoints", &request).ok();
    wait_for(|| !site.kubelet.asked.lock().unwrap().is_empty());
    let pid = rustix::process::Pid::from_child(&site.daemon.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(site.daemon.child.wait().unwrap().success());
    site.daemon.restart();
    site.desk.address = site.daemon.address;
    assert_eq!(archives(&site.desk).len(), 1);
}

fn wait_for(is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < until, "it did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[expect(clippy::unwrap_used, reason = "a part of tests")]
fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Bytes of the archive that is being written into a spool.
fn half_written(spool: &std::path::Path) -> u64 {
    let half = names(spool).into_iter().find(|name| name.starts_with("new-"));
    half.and_then(|name| std::fs::metadata(spool.join(name).join("archive.tar")).ok()).map_or(0, |found| found.len())
}

#[test]
fn disk_that_is_full_leaves_nothing_half_written_and_the_agent_goes_on() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("NOT RUN: a small disk is mounted, which needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::start(dir.path());
    // The archive fills whole pages, so that a disk can be filled by it exactly.
    let bytes = archive(&vec![5; 40 << 20], "Dumping finished successfully");
    let bytes = [bytes.clone(), vec![0; bytes.len().next_multiple_of(4096) - bytes.len()]].concat();
    *kubelet.archive.lock().unwrap() = bytes.clone();
    let more = 8 << 20;
    let mut daemon = Daemon::start_on(dir.path(), &kubelet.arguments(), Some(bytes.len() + more));
    let desk = daemon.pair();
    let (spool, ballast) = (daemon.spool(), daemon.spool().join("ballast"));
    let is_full = |job: &Job| {
        assert_eq!(job.problem.as_ref().map(|problem| problem.code.as_str()), Some("no-room"), "{job:?}");
        assert_eq!((names(&spool), archives(&desk)), (vec!["ballast".to_owned()], Vec::new()));
    };

    // There is room for the archive and none for its manifest.
    std::fs::write(&ballast, vec![0; more]).unwrap();
    is_full(&desk.freeze(CONTAINER));

    // The room goes away while the archive is written.
    std::fs::write(&ballast, "").unwrap();
    let job = desk.post("/v1/checkpoints", &serde_json::json!({"container": CONTAINER})).ok();
    wait_for(|| 1 << 20 < half_written(&spool));
    let filled = std::fs::write(&ballast, vec![0; bytes.len() + more]);
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    is_full(&desk.end_of(job["id"].as_str().unwrap()));

    std::fs::remove_file(&ballast).unwrap();
    let id = done(&desk.freeze(CONTAINER));
    assert_eq!(sha256(&desk.get(&format!("/v1/archives/{id}/content")).body), sha256(&bytes));
    assert!(daemon.child.try_wait().unwrap().is_none(), "it is the same agent still");
}

#[test]
fn full_spool_costs_the_oldest_and_never_what_is_kept() {
    let site = site(&["--spool-limit", "100K", "--allow-delete"]);
    *site.kubelet.archive.lock().unwrap() = archive(&[5; 40_000], "Dumping finished successfully");
    let kept = done(&site.desk.freeze(CONTAINER));
    site.desk.send("PUT", &format!("/v1/archives/{kept}/keep"), "", "").ok();
    let second = done(&site.desk.freeze(OTHER));
    let third = done(&site.desk.freeze(CONTAINER));
    let ids = || archives(&site.desk).into_iter().map(|archive| archive.id).collect::<Vec<_>>();
    assert_eq!(ids(), [third.clone(), kept.clone()], "{second} made room");
    *site.kubelet.archive.lock().unwrap() = archive(&[5; 90_000], "Dumping finished successfully");
    assert_eq!(site.desk.freeze(OTHER).problem.unwrap().code, "no-room");
    assert!(ids().contains(&kept));
    assert_eq!(site.desk.send("DELETE", &format!("/v1/archives/{kept}"), "", "").code(), "kept");
    site.desk.send("DELETE", &format!("/v1/archives/{kept}/keep"), "", "").ok();
    assert_eq!(site.desk.send("DELETE", &format!("/v1/archives/{kept}"), "", "").status, 204);
    assert_eq!(site.desk.get(&format!("/v1/archives/{kept}")).status, 404);
}

#[test]
fn archive_that_is_changed_on_disk_is_not_served() {
    let site = site(&[]);
    let id = done(&site.desk.freeze(CONTAINER));
    let path = site.daemon.dir.join("spool").join(&id).join("archive.tar");
    std::fs::OpenOptions::new().write(true).open(path).unwrap().write_all(b"x").unwrap();
    for method in ["GET", "HEAD"] {
        assert_eq!(site.desk.send(method, &format!("/v1/archives/{id}/content"), "", "").status, 409);
    }
}

#[test]
fn second_daemon_on_the_same_state_and_a_code_without_a_daemon_are_refused() {
    let mut site = site(&[]);
    let state = site.daemon.state().to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| std::process::Command::new(daemon::AGENT).args(arguments).output().unwrap();
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--state-dir", &state, "--spool", &state]);
    assert!(second.status.code() == Some(2) && String::from_utf8_lossy(&second.stderr).contains("another daemon"));
    site.daemon.kill();
    let pair = run(&["pair", "--state-dir", &state]);
    assert!(pair.status.code() == Some(2) && String::from_utf8_lossy(&pair.stderr).contains("start it, then pair"));
    let key = std::fs::metadata(site.daemon.state().join("signing-key.pem")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    assert!(CertificateDer::from_pem_file(site.daemon.state().join("server.pem")).is_ok());
}
