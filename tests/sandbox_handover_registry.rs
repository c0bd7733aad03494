//! Checkpoint images pushed: to Debian's registry, in clear and by TLS, read back by skopeo, and to one that gives tokens.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail; it starts registries and reads what they keep"
)]

mod cli;
mod registry;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cli::cryoscope;
use cryoscope::base::{Cancelled, Progress, Silent};
use cryoscope::checkpoint;
use cryoscope::evidence::{Evidence, OpenOptions};
use cryoscope::sandbox::handover::HandoverError;
use cryoscope::sandbox::handover::auth::Credentials;
use cryoscope::sandbox::handover::image::{self, Config, Image, Packing};
use cryoscope::sandbox::handover::reference::Reference;
use cryoscope::sandbox::handover::registry::{Access, push};
use cryoscope::sandbox::plan::lint;
use registry::{PASSWORD, Registry, USER, skopeo};
use serde_json::Value;
use tempfile::TempDir;

fn fixture(name: &str) -> String {
    format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn image_of(name: &str, options: &OpenOptions) -> Image {
    let evidence = Evidence::open(Path::new(&fixture(name)), options, &Silent).unwrap();
    let checkpoint = checkpoint::load(&evidence, options, &Silent).unwrap().remove(0);
    let config = Config { output: None, force: false, packing: Packing::Gzip, reference: None };
    image::write(&checkpoint, &lint(&checkpoint), &config, options, &Silent).unwrap()
}

fn options(dir: &TempDir) -> OpenOptions {
    OpenOptions { cache_dir: Some(dir.path().join("cache")), ..OpenOptions::default() }
}

#[test]
fn a_real_registry_takes_the_push_and_skopeo_reads_it_back() {
    let registry = Registry::start(false);
    for (name, tag) in
        [("counter.tar.zst", "podman"), ("crio-crun-loop.tar", "cri-o"), ("containerd-runc-loop.tar", "1")]
    {
        let reference = format!("{}/forensics/checkpoint:{tag}", registry.address);
        let words = ["sandbox", "hand-over", &fixture(name), "--to", "oci", "--push", &reference, "--json"];
        let ran = cryoscope(&words);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(report["pushed"]["blobs_sent"], 2, "{name}");
        let again: Value = serde_json::from_str(&cryoscope(&words).out).unwrap();
        assert_eq!(again["pushed"]["blobs_sent"], 0, "{name}");

        let from = format!("docker://{reference}");
        let raw: Value = serde_json::from_slice(&skopeo(&["inspect", "--tls-verify=false", "--raw", &from])).unwrap();
        assert_eq!(raw["annotations"], report["image"]["annotations"], "{name}");
        let back = registry.dir.path().join(tag);
        skopeo(&["copy", "-q", "--src-tls-verify=false", &from, &format!("oci:{}:x", back.display())]);
        let index: Value = serde_json::from_slice(&fs::read(back.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["digest"], report["image"]["manifest_digest"], "{name}");
        let container = |archive: &str| {
            let told: Value = serde_json::from_str(&cryoscope(&["inspect", "--json", archive]).out).unwrap();
            (told["container"]["id"].clone(), told["processes"].clone())
        };
        assert_eq!(container(back.to_str().unwrap()), container(&fixture(name)), "{name}");
    }
    // The Pod names the image by its digest.
    let reference = format!("{}/forensics/loop:1", registry.address);
    let ran = cryoscope(&["sandbox", "hand-over", &fixture("crio-crun-loop.tar"), "--to", "pod", "--push", &reference]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains(&format!("image: \"{}/forensics/loop@sha256:", registry.address)), "{}", ran.out);
    // Nothing is pushed for a file that would not be written.
    let (out, reference) = (registry.dir.path().join("config.yml"), format!("{}/forensics/not:1", registry.address));
    let words = ["sandbox", "hand-over", &fixture("crio-crun-loop.tar"), "--to", "pod", "--push", &reference, "-o"];
    let ran = cryoscope(&[&words[..], &[out.to_str().unwrap()]].concat());
    assert!(ran.code == 2 && ran.err.contains("exists; --force"), "{}", ran.err);
    assert!(!registry.dir.path().join("storage/docker/registry/v2/repositories/forensics/not").exists());
}

#[test]
fn credentials_open_a_registry_and_are_never_shown() {
    let registry = Registry::start(true);
    let reference = format!("{}/forensics/counter:1", registry.address);
    let push = |envs: &[(&str, &str)], more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryoscope"));
        command.args(["sandbox", "hand-over", &fixture("crio-crun-loop.tar"), "--to", "oci", "--push", &reference]);
        command.args(more).env_remove("CRYOSCOPE_REGISTRY_USERNAME").env_remove("CRYOSCOPE_REGISTRY_PASSWORD");
        let ran = command.envs(envs.iter().copied()).output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert!(!said.contains(PASSWORD) && !said.contains("YW5hbHlzdD"), "{said}");
        (ran.status.code(), said)
    };
    let (code, said) = push(&[], &[]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--username") && said.contains("CRYOSCOPE_REGISTRY_PASSWORD"), "{said}");
    let password = "CRYOSCOPE_REGISTRY_PASSWORD";
    assert_eq!(push(&[(password, "wrong")], &["--username", USER]).0, Some(2));
    assert_eq!(push(&[(password, PASSWORD), ("CRYOSCOPE_REGISTRY_USERNAME", USER)], &["--json"]).0, Some(0));
    assert_eq!(push(&[(password, PASSWORD)], &["--username", USER]).0, Some(0));
    let creds = format!("{USER}:{PASSWORD}");
    skopeo(&["inspect", "--tls-verify=false", "--creds", &creds, &format!("docker://{reference}")]);
}

/// Stops when so many bytes are done.
struct StopAt(AtomicU64);

impl Progress for StopAt {
    fn step(&self, done: u64, _total: Option<u64>) -> Result<(), Cancelled> {
        if self.0.load(Ordering::Relaxed) <= done { Err(Cancelled) } else { Ok(()) }
    }
}

#[test]
fn stop_ends_writing_and_pushing_and_leaves_nothing() {
    let registry = Registry::start(false);
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir);
    let reference = Reference::parse(&format!("{}/a/b:c", registry.address)).unwrap();
    let image = image_of("counter.tar.zst", &options);
    let stop = StopAt(AtomicU64::new(image.layer.size_bytes / 2));
    assert!(matches!(push(&image, &reference, &Access::default(), &stop), Err(HandoverError::Cancelled(_))));
    let manifests = registry.dir.path().join("storage/docker/registry/v2/repositories/a/b/_manifests");
    assert!(!manifests.exists(), "a manifest was pushed");
    assert_eq!(push(&image, &reference, &Access::default(), &Silent).unwrap().nr_sent, 2);
    assert!(manifests.exists());
    drop(image);
    assert_eq!(fs::read_dir(dir.path().join("cache")).unwrap().count(), 0, "the image that was only pushed is gone");

    let evidence = Evidence::open(Path::new(&fixture("counter.tar.zst")), &options, &Silent).unwrap();
    let checkpoint = checkpoint::load(&evidence, &options, &Silent).unwrap().remove(0);
    for name in ["out/image.tar", "out/layout"] {
        let out = dir.path().join(name);
        let config = Config { output: Some(&out), force: false, packing: Packing::Gzip, reference: None };
        let stop = StopAt(AtomicU64::new(1 << 20));
        let written = image::write(&checkpoint, &lint(&checkpoint), &config, &options, &stop);
        assert!(matches!(written, Err(HandoverError::Cancelled(_))), "{name}");
    }
    assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 0);
}

/// An authority, and a certificate of it for this machine with its key, in PEM.
fn authority(name: &str) -> (String, String, String) {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let authority = params.self_signed(&authority_key).unwrap();
    let mut leaf = CertificateParams::default();
    leaf.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let certificate = leaf.signed_by(&key, &Issuer::new(params, authority_key)).unwrap();
    (authority.pem(), certificate.pem(), key.serialize_pem())
}

#[test]
fn a_registry_of_the_house_is_believed_by_its_authority_and_by_no_other() {
    let (authority, certificate, key) = authority("the house");
    let (other, _, _) = self::authority("another house");
    let registry = Registry::start_with(true, Some((&certificate, &key)));
    let reference = format!("{}/forensics/counter:1", registry.address);
    let file = |name: &str, text: &str| {
        let path = registry.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let push = |ca: Option<&str>, of_system: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryoscope"));
        command.args(["sandbox", "hand-over", &fixture("crio-crun-loop.tar"), "--to", "oci", "--push", &reference]);
        command.args(ca.map(|ca| format!("--ca={ca}"))).args(["--json", "--username", USER]);
        let ran =
            command.env("CRYOSCOPE_REGISTRY_PASSWORD", PASSWORD).env("SSL_CERT_FILE", of_system).output().unwrap();
        (
            ran.status.code(),
            String::from_utf8_lossy(&ran.stdout).into_owned(),
            String::from_utf8_lossy(&ran.stderr).into_owned(),
        )
    };
    let right = file("ca.pem", &authority);
    let other = file("other.pem", &other);
    let (code, out, err) = push(Some(&right), &other);
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["pushed"]["blobs_sent"], 2);
    // No word of leaving TLS out.
    assert!(!out.contains("tls-verify=false"), "{out}");
    fs::create_dir(registry.dir.path().join("certs")).unwrap();
    file("certs/ca.crt", &authority);
    let certs = registry.dir.path().join("certs").display().to_string();
    let creds = format!("{USER}:{PASSWORD}");
    let from = format!("docker://{reference}");
    let raw = skopeo(&["inspect", "--cert-dir", &certs, "--creds", &creds, "--raw", &from]);
    assert_eq!(serde_json::from_slice::<Value>(&raw).unwrap()["annotations"], report["image"]["annotations"]);
    // What this machine believes is believed as well.
    let (code, out, err) = push(Some(&other), &right);
    assert!(code == Some(0) && out.contains("\"blobs_sent\": 0"), "{out}{err}");
    // Another authority is not it, what is none is told, and without one it is asked in clear, as any on this machine.
    let (code, _, err) = push(Some(&other), &other);
    assert!(code == Some(2) && err.contains("UnknownIssuer"), "{err}");
    let (code, _, err) = push(Some(&file("none.pem", &key)), &right);
    assert!(code == Some(2) && err.contains("none.pem") && err.contains("no certificate"), "{err}");
    assert_eq!(push(None, &right).0, Some(2));
}

/// A registry that wants tokens, and uploads to another place. Keeps the first line and the authorization of what is asked.
fn token_registry() -> (String, Arc<Mutex<Vec<String>>>) {
    let (own, elsewhere) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = own.local_addr().unwrap().to_string();
    let other = elsewhere.local_addr().unwrap().to_string();
    let seen = Arc::new(Mutex::new(Vec::new()));
    for listener in [own, elsewhere] {
        let (address, other, seen) = (address.clone(), other.clone(), Arc::clone(&seen));
        let serve = move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &address, &other, &seen);
            }
        };
        std::thread::Builder::new().name("registry".into()).spawn(serve).unwrap();
    }
    (address, seen)
}

/// First line, authorization and length of the body of a request, which is read to its end.
fn asked(stream: &TcpStream) -> (String, Option<String>, u64) {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let header = |name: &str| {
        let found = lines.iter().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
        found.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned())
    };
    let len: u64 = header("content-length").map_or(0, |len| len.parse().unwrap());
    let body = std::io::copy(&mut reader.take(len), &mut std::io::sink()).unwrap();
    (lines.first().cloned().unwrap_or_default(), header("authorization"), body)
}

fn answer(stream: TcpStream, address: &str, other: &str, seen: &Mutex<Vec<String>>) {
    let (request, authorization, body) = asked(&stream);
    seen.lock().unwrap().push(format!("{request} {} {body}", authorization.as_deref().unwrap_or("nobody")));
    let (status, more, text) = if request.starts_with("GET /token") {
        ("200 OK", String::new(), r#"{"token":"t0k3n"}"#)
    } else if request.contains("/elsewhere") {
        ("201 Created", String::new(), "")
    } else if authorization.as_deref() != Some("Bearer t0k3n") {
        let ask = format!("WWW-Authenticate: Bearer realm=\"http://{address}/token\",service=\"s\"\r\n");
        ("401 Unauthorized", ask, "")
    } else if request.starts_with("POST") {
        ("202 Accepted", format!("Location: http://{other}/elsewhere?x=1\r\n"), "")
    } else if request.starts_with("PUT") {
        ("201 Created", String::new(), "")
    } else {
        ("404 Not Found", String::new(), "")
    };
    let head = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
    let _ = (&stream).write_all(head.as_bytes());
}

fn as_analyst() -> Access {
    Access { credentials: Some(Credentials::new(USER, PASSWORD)), ..Access::default() }
}

/// A registry whose tokens are good for so many requests, and which takes blobs itself. Keeps what it answered.
fn hasty_registry(lifetime: u32) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (own, seen) = (address.clone(), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&seen);
    let serve = move || {
        let (mut nr_tokens, mut left) = (0, 0);
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let (request, authorization, body) = asked(&stream);
            let is_known = left > 0 && authorization.as_deref() == Some(&format!("Bearer t{nr_tokens}"));
            let (status, more, text) = match request.split(' ').next().unwrap_or_default() {
                "GET" => {
                    (nr_tokens, left) = (nr_tokens + 1, lifetime);
                    (200, String::new(), format!("{{\"token\":\"t{nr_tokens}\"}}"))
                }
                _ if !is_known => {
                    (401, format!("WWW-Authenticate: Bearer realm=\"http://{own}/token\"\r\n"), String::new())
                }
                "HEAD" => (404, String::new(), String::new()),
                "POST" => (202, "Location: /v2/a/blobs/uploads/1\r\n".to_owned(), String::new()),
                _ => (201, String::new(), String::new()),
            };
            left -= u32::from(is_known);
            told.lock().unwrap().push(format!("{status} {} {body}", request.split(' ').next().unwrap()));
            let len = text.len();
            let head = format!("HTTP/1.1 {status} x\r\n{more}Content-Length: {len}\r\nConnection: close\r\n\r\n{text}");
            let _ = (&stream).write_all(head.as_bytes());
        }
    };
    std::thread::Builder::new().name("registry".into()).spawn(serve).unwrap();
    (address, seen)
}

#[test]
fn a_token_that_runs_out_is_fetched_anew_and_the_layer_sent_again() {
    let dir = tempfile::tempdir().unwrap();
    let image = image_of("crio-crun-loop.tar", &options(&dir));
    // Good for HEAD and POST: it runs out right before the layer.
    let (address, seen) = hasty_registry(2);
    let reference = Reference::parse(&format!("{address}/a:1")).unwrap();
    push(&image, &reference, &as_analyst(), &Silent).unwrap();
    let seen = seen.lock().unwrap();
    let (layer, config) = (image.layer.size_bytes, image.config.size_bytes);
    let layers: Vec<&String> = seen.iter().filter(|line| line.ends_with(&format!("PUT {layer}"))).collect();
    assert_eq!(layers, [&format!("401 PUT {layer}"), &format!("201 PUT {layer}")], "{seen:#?}");
    assert!(seen.contains(&format!("201 PUT {config}")), "{seen:#?}");
    assert_eq!(seen.last(), Some(&format!("201 PUT {}", image.manifest_bytes.len())), "{seen:#?}");

    // One that never lasts ends the push, and not in a circle.
    let (address, seen) = hasty_registry(1);
    let reference = Reference::parse(&format!("{address}/a:1")).unwrap();
    assert!(push(&image, &reference, &as_analyst(), &Silent).is_err());
    assert!(seen.lock().unwrap().len() < 20, "{seen:#?}");
}

#[test]
fn tokens_are_fetched_and_go_to_the_registry_only() {
    let dir = tempfile::tempdir().unwrap();
    let image = image_of("crio-crun-loop.tar", &options(&dir));
    let (address, seen) = token_registry();
    let reference = Reference::parse(&format!("{address}/a:1")).unwrap();
    push(&image, &reference, &as_analyst(), &Silent).unwrap();
    let seen = seen.lock().unwrap();
    let basic: Vec<&String> = seen.iter().filter(|line| line.contains("Basic ")).collect();
    assert_eq!(basic.len(), 1, "{seen:#?}");
    assert!(basic[0].starts_with("GET /token?service=s&scope=repository%3Aa%3Apull%2Cpush "), "{basic:?}");
    let elsewhere: Vec<&String> =
        seen.iter().filter(|line| line.starts_with("PUT /elsewhere?x=1&digest=sha256%3A")).collect();
    assert_eq!(elsewhere.len(), 2, "{seen:#?}");
    assert!(elsewhere.iter().all(|line| line.contains(" nobody ")), "{elsewhere:?}");
    assert!(elsewhere[0].ends_with(&format!(" {}", image.layer.size_bytes)), "{elsewhere:?}");
    let last = format!("PUT /v2/a/manifests/1 HTTP/1.1 Bearer t0k3n {}", image.manifest_bytes.len());
    assert_eq!(seen.last(), Some(&last));
}

#[test]
fn what_a_registry_says_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let image = image_of("crio-crun-loop.tar", &options(&dir));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reference = Reference::parse(&format!("{}/a:1", listener.local_addr().unwrap())).unwrap();
    let serve = move || {
        for (nr, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let body = "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\\u001b[2J room\"}]}";
            let status = if nr == 0 { "404 Not Found" } else { "507 Insufficient Storage" };
            let body = if nr == 0 { "" } else { body };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(head.as_bytes());
        }
    };
    std::thread::Builder::new().name("registry".into()).spawn(serve).unwrap();
    let error = push(&image, &reference, &Access::default(), &Silent).unwrap_err().to_string();
    assert!(error.contains("507") && error.contains("DENIED no\\x1b[2J room"), "{error}");
}
