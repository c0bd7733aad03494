//! A checkpoint of a real containerd, handed over to it again as `sandbox hand-over` says: the container that was deleted goes
//! on, on a network that leads nowhere. Needs root and the tree that `fixtures/lab/setup` builds, with its containerd 2 and its
//! network plug-ins; says so where they are missing.
#![cfg(feature = "agent")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, starts programs, and says why it cannot run"
)]

#[path = "agent/containerd.rs"]
#[expect(dead_code, reason = "another test uses more of it")]
mod containerd;
#[path = "agent/cri.rs"]
mod cri;
#[path = "agent/lab.rs"]
#[expect(dead_code, reason = "another test uses more of it")]
mod lab;
#[expect(dead_code, reason = "another test uses more of it")]
mod registry;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use containerd::Containerd;
use cri::{Mount, Place, RUNNING};
use lab::{Desk, LAB, pids, wait_for};
use registry::{Registry, skopeo};
use serde_json::Value;

/// Mounts out of containerd's own directory, which is not where the linter knows it from.
const OWN: [&str; 4] = ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/dev/shm"];

/// Counts in a variable; what it prints is its log.
const COUNTER: &str = "n=0; while :; do n=$((n + 1)); echo count $n; sleep 0.1; done";

#[test]
fn containerd_restores_what_is_handed_over_from_the_archive_and_from_the_image() {
    let has_plugins = Path::new(LAB).join("usr/lib/cni/bridge").exists();
    let lab = match has_plugins.then(Containerd::start).unwrap_or_else(|| Err("no network plug-ins in the lab".into()))
    {
        Ok(lab) => lab,
        // Past the harness, which shows nothing of a test that passes.
        Err(why) => return writeln!(std::io::stderr(), "NOT RUN, no containerd: {why}").unwrap(),
    };
    let (registry, desk, cri) = (Registry::start(false), Desk::new(), lab.cri());
    let image = format!("{}/small:1", registry.address);
    let archive = format!("docker-archive:{}", lab.dir.join("image.tar").display());
    skopeo(&["copy", "--quiet", "--dest-tls-verify=false", &archive, &format!("docker://{image}")]);
    cri.pull(&image);

    std::fs::write(lab.dir.join("hosts"), "127.0.0.1 localhost\n").unwrap();
    let hosts = lab.inside.join("hosts").display().to_string();
    let place = Place {
        logs: lab.place.logs.clone(),
        cgroup: lab.place.cgroup.clone(),
        has_own_network: true,
        mounts: vec![Mount { inside: "/etc/hosts".into(), outside: hosts, is_readonly: false }],
    };
    let counter = cri.start(("web", "counter"), &image, COUNTER, &place);
    let log = lab.dir.join("logs/counter.log");
    wait_for("it counts", || 5 <= counted(&log));
    cri.checkpoint(&counter, &lab.inside.join("evidence.tar"), Duration::from_secs(60)).unwrap();
    cri.end_pods();
    assert!(pids(&counter).is_empty(), "the original has ended");
    let last = counted(&log);

    let (evidence, inside) = (lab.dir.join("evidence.tar"), lab.inside.join("evidence.tar"));
    let evidence = evidence.to_str().unwrap();
    let allow = OWN.map(|path| format!("--allow=bind-source@spec.dump:{path}"));
    let hand_over: Vec<&str> =
        ["sandbox", "hand-over", evidence].into_iter().chain(allow.iter().map(String::as_str)).collect();
    let restore = |name: &str, image: &str| {
        let (dir, node_dir) = (lab.dir.join(name), lab.inside.join(name));
        let more =
            ["--to", "crictl", "-o", dir.to_str().unwrap(), "--node-dir", node_dir.to_str().unwrap(), "--image", image];
        let said = desk.good(&[&hand_over[..], &more, &["--json"]].concat());
        let said: Value = serde_json::from_str(&said).unwrap();
        assert!(said["commands"].to_string().contains("--runtime runc"), "{said}");
        if !image.starts_with('/') {
            cri.pull(image);
        }
        let file = |name: &str| serde_json::from_slice(&std::fs::read(dir.join(name)).unwrap()).unwrap();
        let restored = cri.restore("runc", &file("pod-config.json"), &file("container-config.json"));
        let restored = restored.unwrap_or_else(|error| panic!("{error}\n{}", of_criu(&lab)));
        let log = dir.join("logs/counter.log");
        wait_for("it goes on counting", || last + 20 <= counted(&log));
        assert_eq!(cri.state(&restored), RUNNING);
        // The engine copies the log when the counter runs again already: its end may be printed twice.
        let numbers = numbers(&log);
        let steps: Vec<_> = numbers.windows(2).filter(|step| step[1] != step[0] + 1).collect();
        assert!(steps.len() <= 1 && steps.iter().all(|step| 5 <= step[1] && step[1] <= step[0]), "{numbers:?}");
        cri.end_pods();
    };
    restore("from-archive", inside.to_str().unwrap());

    let frozen = format!("{}/frozen:1", registry.address);
    desk.good(&[&hand_over[..], &["--to", "oci", "--push", &frozen]].concat());
    restore("from-image", &frozen);
}

/// Numbers in a container's log, in its order.
fn numbers(log: &Path) -> Vec<u64> {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    log.lines().filter_map(|line| line.rsplit_once(" count ")?.1.parse().ok()).collect()
}

fn counted(log: &Path) -> u64 {
    numbers(log).last().copied().unwrap_or(0)
}

/// What criu said at last.
fn of_criu(lab: &Containerd) -> String {
    let found = lab.run("find / -xdev -name restore.log -exec tail -n 30 {} +", ("HOME", Path::new("/root")));
    found.unwrap_or_else(|error| error)
}
