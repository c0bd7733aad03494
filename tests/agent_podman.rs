//! From a real container of Podman to the desk: frozen by the agent, fetched with the line cut three times, verified, opened, and
//! compared with what /proc said. Needs root and the tree that `fixtures/lab/setup` builds, since CRIU must fit the kernel; says so
//! where they are missing.
#![cfg(feature = "agent")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, starts programs, and says why it cannot run"
)]

#[path = "agent/daemon.rs"]
#[expect(dead_code, reason = "the other tests use more of it")]
mod daemon;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cryoscope::acquire::manifest::SignedManifest;
use cryoscope::acquire::wire::{Job, JobState, Node, PairCode};
use cryoscope::base::{Field, Silent};
use cryoscope::checkpoint;
use cryoscope::evidence::{Evidence, OpenOptions};
use rcgen::KeyPair;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};

use daemon::{AGENT, Client, pair_request};

/// Runs in the lab: Podman with a store of its own, a container of two processes, the agent. Ends when its input does.
const SCRIPT: &str = r#"
set -eu
dir=$1
podman="podman --root $dir/root --runroot $dir/run --storage-driver overlay"
started=
cleanup() { $podman rm -t 0 -fa >/dev/null 2>&1 || true; kill $started 2>/dev/null || true; wait; }
trap cleanup EXIT
mkdir -p $dir/image/bin
cp /bin/busybox $dir/image/bin/
for name in sh sleep head rm; do ln -sf busybox $dir/image/bin/$name; done
tar -C $dir/image -c . | $podman import -q - localhost/small >/dev/null
$podman system service --time=0 unix://$dir/podman.sock 2>$dir/podman.log &
started=$!
$podman run -d --name looper --network none --env SECRET=RANDOM_1432_KEY localhost/small \
  /bin/sh -c 'while :; do sleep 100000; done' >/dev/null
$podman run -d --name ghost --network none localhost/small \
  /bin/sh -c 'head -c 3000000 /dev/zero >/big; exec 3</big; rm /big; while :; do sleep 100000; done' >/dev/null
for n in $(seq 50); do [ -S $dir/podman.sock ] && break; sleep 0.2; done
$dir/agent serve --listen 127.0.0.1:0 --state-dir $dir/state --spool $dir/spool --reserve 0 --cri none --docker none --kubelet-url none \
  --podman $dir/podman.sock >$dir/listening 2>$dir/agent.log &
started="$started $!"
for n in $(seq 50); do [ -s $dir/listening ] && break; sleep 0.2; done
cat $dir/listening
$dir/agent pair --json --state-dir $dir/state
cat >/dev/null
"#;

struct Lab(Child);

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn container_of_podman_is_frozen_fetched_over_a_broken_line_and_is_what_proc_said() {
    let enter = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lab/enter");
    if !rustix::process::geteuid().is_root() || !Path::new("/srv/lab/.ready").exists() {
        eprintln!("not run: this needs root and the lab (fixtures/lab/setup builds it)");
        return;
    }
    // A machine whose kernel or whose own container does not let criu work has nothing to show.
    let probe = Command::new(&enter).args(["sh", "-c", "criu check && podman info >/dev/null"]).output().unwrap();
    if !probe.status.success() {
        eprintln!("not run: criu does not work in the lab here: {}", String::from_utf8_lossy(&probe.stderr));
        return;
    }
    let dir = tempfile::tempdir_in("/srv/lab/var/lib").unwrap();
    let inside = Path::new("/").join(dir.path().strip_prefix("/srv/lab").unwrap());
    std::fs::copy(AGENT, dir.path().join("agent")).unwrap();
    let mut child = Command::new(enter)
        .args(["sh", "-c", SCRIPT, "sh"])
        .arg(&inside)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let _lab = Lab(child);
    let logs = || {
        ["podman.log", "agent.log"]
            .map(|name| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default())
            .join("\n")
    };
    let mut line = || lines.next().unwrap_or_else(|| panic!("the lab ended: {}", logs())).unwrap();
    let address = line().strip_prefix("listening on ").unwrap().parse().unwrap();
    let code: serde_json::Value = serde_json::from_str(&line()).unwrap();
    let code = PairCode::parse(code["code"].as_str().unwrap()).unwrap();

    let authority = CertificateDer::from_pem_file(dir.path().join("state/authority.pem")).unwrap();
    let key = KeyPair::generate().unwrap();
    let paired = Client::new(address, &authority, None).post("/v1/pair", &pair_request(&code.secret, &key)).ok();
    let certificate = CertificateDer::from_pem_slice(paired["certificate"].as_str().unwrap().as_bytes()).unwrap();
    let desk = Client::new(
        address,
        &authority,
        Some((vec![certificate], PrivateKeyDer::try_from(key.serialize_der()).unwrap())),
    );
    let node: Node = serde_json::from_value(desk.get("/v1/node").ok()).unwrap();

    let listed = desk.get("/v1/containers").ok();
    let [ghost, container] = [0, 1].map(|n| listed["containers"][n]["id"].as_str().unwrap_or_default().to_owned());
    let facts = [0, 1].map(|n| ["name", "state"].map(|key| listed["containers"][n][key].as_str().unwrap_or_default()));
    assert_eq!(facts, [["ghost", "running"], ["looper", "running"]], "{listed}");
    let processes = processes_of(&container);
    assert_eq!(processes.len(), 2, "{processes:?}");

    let job = desk.post("/v1/checkpoints", &serde_json::json!({"container": container, "reason": "case 7"})).ok();
    let frozen = fetch(&desk, &node, &desk.end_of(job["id"].as_str().unwrap()), dir.path());
    assert_eq!(frozen, processes, "the tree of the archive is that of /proc");
    // A sleep that was interrupted may have ended early; the shell begins another.
    let goes_on: Vec<String> = processes_of(&container).into_values().collect();
    assert_eq!(goes_on, ["sh", "sleep"], "the container goes on");

    // What Podman says is little; criu's log tells why.
    let job = desk.post("/v1/checkpoints", &serde_json::json!({"container": ghost})).ok();
    let job = desk.end_of(job["id"].as_str().unwrap());
    let problem = job.problem.unwrap_or_else(|| panic!("{:?}", job.state));
    assert_eq!(problem.code, "ghost-file", "{problem:?}");
    assert!(problem.log.iter().any(|line| line.contains("Can't dump ghost file /big")), "{problem:?}");

    let processes = processes_of(&container);
    let job = desk.post("/v1/collections", &serde_json::json!({"container": container})).ok();
    let collected = fetch(&desk, &node, &desk.end_of(job["id"].as_str().unwrap()), dir.path());
    assert_eq!(collected, processes);

    let rootfs = desk.get(&format!("/v1/containers/{container}/rootfs"));
    assert_eq!(rootfs.status, 200, "{}", String::from_utf8_lossy(&rootfs.body));
    let body = dechunked(&rootfs.body);
    let mut names: Vec<String> = tar::Archive::new(body.as_slice())
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    names.sort();
    for name in ["bin", "bin/busybox", "bin/sh"] {
        assert!(names.iter().any(|found| found.trim_end_matches('/') == name), "{name} is not in {names:?}");
    }
}

/// Fetches the archive of a job in four pieces, the line cut after each of three, verifies it, and gives its processes.
fn fetch(desk: &Client, node: &Node, job: &Job, dir: &Path) -> BTreeMap<u32, String> {
    assert_eq!(job.state, JobState::Done, "{job:?}");
    let id = job.archive.clone().unwrap();
    let path = format!("/v1/archives/{id}/content");
    let size: usize = desk.send("HEAD", &path, "", "").header("content-length").unwrap().parse().unwrap();
    let mut bytes = Vec::new();
    for cut in 1..=3 {
        let mut stream = desk.connect().unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nRange: bytes={}-\r\n\r\n", bytes.len()).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let mut piece = vec![0; size * cut / 4 - bytes.len()];
        stream.read_exact(&mut piece).unwrap();
        bytes.extend(piece);
    }
    bytes.extend(desk.send("GET", &path, &format!("Range: bytes={}-\r\n", bytes.len()), "").body);
    let signed: SignedManifest = serde_json::from_value(desk.get(&format!("/v1/archives/{id}/manifest")).ok()).unwrap();
    let manifest = signed.verify(&node.public_key).unwrap();
    let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    manifest.archive.check(bytes.len() as u64, &hash).unwrap();
    let file = dir.join(format!("{id}.tar"));
    std::fs::write(&file, bytes).unwrap();
    let options = OpenOptions::default();
    let evidence = Evidence::open(&file, &options, &Silent).unwrap();
    let found = checkpoint::load(&evidence, &options, &Silent).unwrap();
    let comm = |process: &checkpoint::Process| match &process.comm {
        Field::Known(comm) => comm.to_string(),
        Field::Absent(why) => panic!("no name: {why:?}"),
    };
    found[0].processes.iter().map(|process| (process.pid.0, comm(process))).collect()
}

/// Numbers inside the container and names, by /proc.
fn processes_of(container: &str) -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        if read("cgroup").lines().any(|line| line.contains(&format!("libpod-{container}"))) {
            let status = read("status");
            let inside =
                status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap().split_whitespace().last().unwrap();
            found.insert(inside.parse().unwrap(), read("comm").trim().to_owned());
        }
    }
    found
}

/// A body of unknown length comes in chunks.
fn dechunked(mut body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let end = body.windows(2).position(|window| window == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return out;
        }
        out.extend_from_slice(&body[end + 2..end + 2 + length]);
        body = &body[end + 4 + length..];
    }
}
