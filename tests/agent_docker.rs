//! A real Docker asked over its socket: a container is frozen by the agent and is at the desk what /proc said, with what it changed
//! on disk; a dump goes on without the agent, and is claimed by the next one; a container that a dockerd left frozen is found out
//! and cured; failures are explained, and a Docker that makes no checkpoints at all. Needs root and the tree that
//! `fixtures/lab/setup` builds, with its Docker; says so where they are missing.
#![cfg(feature = "agent")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, starts programs, and says why it cannot run"
)]

#[path = "agent/lab.rs"]
mod lab;

use std::io::Write as _;
use std::ops::{Deref, DerefMut};

use serde_json::Value;

use lab::{Agent, Desk, Lab, by_inspect, by_proc, is_frozen, pids, text, wait_for};

const IMAGE: &str = "localhost/small:1";
const SOURCES: &str = "--podman none --cri none --docker $1/docker.sock";

/// Runs in the lab: Docker with a store of its own and an image of busybox. A line `start` starts it again with these options, after
/// the signal before them. Ends when its input does, its containers first.
const DOCKER: &str = r#"
export DOCKER_HOST=unix://$dir/docker.sock CONTAINERD_ADDRESS=$dir/run/containerd/containerd.sock
cgroup=$(sed -n 's/^[0-9]*:freezer://p' /proc/self/cgroup)
start() {
  PATH=$dir/path:$PATH dockerd $1 --live-restore --iptables=false --ip6tables=false --ip-forward=false --bridge=none \
    --data-root $dir/root --exec-root $dir/run --pidfile $dir/dockerd.pid --host $DOCKER_HOST --storage-driver overlay2 \
    --cgroup-parent $cgroup >>$dir/log 2>&1 &
  dockerd=$!
  for n in $(seq 300); do docker version >/dev/null 2>&1 && return; sleep 0.1; done
}
cleanup() {
  for container in $(docker ps -aq --no-trunc); do
    ctr -n moby tasks resume $container || true
    docker rm -f $container || true
  done >/dev/null 2>&1
  kill $dockerd; wait $dockerd || true
}
trap cleanup EXIT
start --experimental
tar -C $dir/image -c . | docker import - localhost/small:1 >/dev/null
echo $cgroup
while read -r signal options; do
  kill -$signal $dockerd; wait $dockerd || true
  start "$options"
  echo ready
done
"#;

/// A lab with its Docker.
struct Docker(Lab);

impl Deref for Docker {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl DerefMut for Docker {
    fn deref_mut(&mut self) -> &mut Lab {
        &mut self.0
    }
}

impl Docker {
    fn docker(&self, command: &str) -> Result<String, String> {
        let sockets =
            "DOCKER_HOST=unix://$inside/docker.sock CONTAINERD_ADDRESS=$inside/run/containerd/containerd.sock";
        self.run(&format!("{sockets} {command}"), ("inside", &self.inside))
    }

    /// Starts a container, and gives its id.
    fn start(&self, name: &str, script: &str) -> String {
        let command = format!(
            "docker run -d --name {name} --label app={name} --network none --env SECRET=RANDOM_1432_KEY {IMAGE} /bin/sh -c '{script}'"
        );
        self.docker(&command).unwrap().trim().to_owned()
    }

    fn is_frozen(&self, container: &str) -> bool {
        is_frozen(&self.cgroup, container)
    }

    fn examine(&self) -> Vec<Value> {
        let socket = self.dir.join("docker.sock");
        let socket = socket.to_str().unwrap();
        self.doctor(&[
            "--kubelet-url",
            "none",
            "--podman",
            "none",
            "--cri",
            "none",
            "--docker",
            socket,
            "--host-root",
            lab::LAB,
        ])
    }

    /// Names in the spool, what lies within archives in brackets.
    fn spool(&self) -> Vec<String> {
        let names = |dir: &std::path::Path| {
            let mut names: Vec<String> = std::fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
                .collect();
            names.sort();
            names
        };
        let spool = self.dir.join("spool");
        names(&spool).into_iter().flat_map(|id| names(&spool.join(id))).collect()
    }
}

#[test]
fn containers_of_docker_are_frozen_fetched_explained_and_cured() {
    let mut docker = match Lab::start("sbin/dockerd", DOCKER) {
        Ok(lab) => Docker(lab),
        // Past the harness, which shows nothing of a test that passes.
        Err(why) => return writeln!(std::io::stderr(), "NOT RUN, no Docker: {why}").unwrap(),
    };
    let looper = docker.start("looper", "echo changed >/note; rm /bin/head; while :; do sleep 100000; done");
    let ghost = "head -c 3000000 /dev/zero >/big; exec 3</big; rm /big; while :; do sleep 100000; done";
    let ghost = docker.start("ghost", ghost);
    let ended = docker.start("ended", "true");
    wait_for("two processes each", || pids(&looper).len() == 2 && pids(&ghost).len() == 2 && pids(&ended).is_empty());
    let mut agent = Agent::start(&docker, SOURCES);
    let desk = Desk::new();
    agent.pair(&desk);

    is_at_the_desk_what_proc_said(&docker, &desk, &looper);
    failures_are_explained(&desk, &ghost);
    dump_goes_on_without_the_agent_and_is_claimed_by_the_next_one(&docker, &desk, &mut agent, &looper);
    one_that_docker_left_frozen_is_found_out_and_cured(&mut docker, &desk, &looper);
    docker_that_is_not_experimental_says_what_to_do(&mut docker, &desk);
    drop(agent);
    drop(docker);
    assert_eq!([&looper, &ghost].map(|container| pids(container).len()), [0, 0], "none outlives the test");
}

#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn is_at_the_desk_what_proc_said(docker: &Docker, desk: &Desk, looper: &str) {
    let listed = desk.container("looper");
    let facts = ["id", "image", "engine", "source", "state"].map(|key| listed[key].as_str().unwrap());
    assert_eq!(facts, [looper, IMAGE, "docker", "docker", "running"]);
    assert_eq!((&listed["labels"]["app"], listed["problem"].is_null()), (&"looper".into(), true), "{listed}");
    assert!(pids(looper).contains(&u32::try_from(listed["pid"].as_u64().unwrap()).unwrap()));

    let before = by_proc(looper);
    assert_eq!(before.len(), 2);
    let inspected = desk.frozen("looper");
    assert_eq!(by_inspect(&inspected), before);
    let container = &inspected["container"];
    assert_eq!(
        ["name", "id", "image", "engine", "runtime"].map(|key| &container[key]),
        ["looper", looper, IMAGE, "Docker", "runc"]
    );
    let version = docker.docker("docker version --format '{{.Server.Version}}'").unwrap();
    assert_eq!(container["engine_version"], version.trim());
    assert_eq!(container["labels"]["app"], "looper");
    assert_eq!(container["args"][0], "/bin/sh");
    assert!(container["created"].is_string() && container["checkpointed"].is_string(), "{container}");
    assert_eq!(inspected["evidence"]["layout"], "docker");
    assert_eq!(inspected["issues"].as_array().map(Vec::len), Some(0), "{}", inspected["issues"]);

    let changes = &inspected["rootfs_diff"];
    let entries = changes["entries"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["path"] == "/note" && entry["size_bytes"] == 8), "{changes}");
    assert_eq!(changes["deleted"], serde_json::json!(["/bin/head"]));
    assert_eq!(docker.spool(), ["archive.tar", "manifest.json", "record.json"], "what was packed is removed");
    assert_eq!(desk.container("looper")["state"], "running", "it goes on");
    assert!(!docker.is_frozen(looper));
    let told = docker.examine();
    let told = told.iter().find(|check| check["name"] == "docker").unwrap();
    assert_eq!(told["state"], "fine", "{told}");
}

/// containerd says no more than that criu failed; the log is in the bundle of the container.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn failures_are_explained(desk: &Desk, ghost: &str) {
    let said = desk.bad(&["acquire", "node-a", "ghost"]);
    for word in
        ["a process uses a big file that was deleted", "ghost-limit", "Can't dump ghost file /big", "Dumping FAILED"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    let jobs = desk.json(&["acquire", "jobs", "node-a", "--json"]);
    let job = jobs["jobs"].as_array().unwrap().iter().find(|job| job["container"] == ghost).unwrap();
    assert_eq!((job["state"].as_str(), job["problem"]["code"].as_str()), (Some("failed"), Some("ghost-file")));
    assert_eq!(desk.container("ghost")["state"], "running");

    let ended = desk.container("ended");
    assert_eq!((ended["state"].as_str(), ended["problem"].as_str()), (Some("exited"), Some("it does not run")));
    let said = desk.bad(&["acquire", "node-a", "ended"]);
    assert!(said.contains("does not run"), "{said}");
}

/// The agent's end is a hang-up: Docker writes all the same, and the next agent packs what it finds in the spool.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn dump_goes_on_without_the_agent_and_is_claimed_by_the_next_one(
    docker: &Docker,
    desk: &Desk,
    agent: &mut Agent,
    looper: &str,
) {
    let before = by_proc(looper);
    docker.slow(Some("3"));
    let asked = desk.start(&["acquire", "node-a", "looper", "-o", "evidence"]);
    docker.wait_for_dump();
    agent.restart();
    docker.slow(None);
    let ran = asked.wait_with_output().unwrap();
    let said = text(&ran.stderr);
    assert!(ran.status.success() && said.contains("claimed it after its next start"), "{said}");
    let inspected = desk.inspect(&text(&ran.stdout));
    assert_eq!(by_inspect(&inspected), before);
    assert_eq!(
        (&inspected["container"]["name"], inspected["issues"].as_array().map(Vec::len)),
        (&"looper".into(), Some(0))
    );
    let twice = ["archive.tar", "manifest.json", "record.json"];
    assert_eq!(docker.spool(), [twice, twice].concat());
    assert_eq!(std::fs::read_dir(docker.dir.join("state/jobs")).unwrap().count(), 0);
}

/// Only dockerd lets it go on: where that is killed meanwhile, nobody does.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn one_that_docker_left_frozen_is_found_out_and_cured(docker: &mut Docker, desk: &Desk, looper: &str) {
    docker.slow(Some("2"));
    let asked = desk.start(&["acquire", "node-a", "looper"]);
    wait_for("it is frozen", || docker.is_frozen(looper));
    assert_eq!(docker.tell("KILL --experimental"), "ready");
    docker.slow(None);
    let ran = asked.wait_with_output().unwrap();
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(docker.is_frozen(looper), "this Docker lets it go on");
    wait_for("it is known as frozen", || desk.container("looper")["state"] == "frozen");
    let problem = desk.container("looper")["problem"].as_str().unwrap_or_default().to_owned();
    let refused = desk.bad(&["acquire", "node-a", "looper"]);
    assert!(refused.contains("frozen already"), "{refused}");
    let (unpause, resume) = (format!("docker unpause {looper}"), format!("ctr -n moby tasks resume {looper}"));
    let checks = docker.examine();
    let told = checks.iter().find(|check| check["name"] == "frozen container").map(|check| check["mend"].to_string());
    for said in [problem, refused, said, told.unwrap_or_default()] {
        let cures: Vec<&str> = said.split('`').filter(|part| part.ends_with(looper)).collect();
        assert_eq!(cures[..2], [unpause.as_str(), resume.as_str()], "{said}");
    }
    // Whether it heard of the freeze before it was killed, is a matter of chance.
    docker.docker(&unpause).or_else(|_not_paused| docker.docker(&resume)).unwrap();
    assert!(!docker.is_frozen(looper));
    wait_for("it runs", || desk.container("looper")["state"] == "running");
    assert_eq!(desk.frozen("looper")["processes"].as_array().map(Vec::len), Some(2));
}

fn docker_that_is_not_experimental_says_what_to_do(docker: &mut Docker, desk: &Desk) {
    assert_eq!(docker.tell("TERM --experimental=false"), "ready");
    wait_for("its containers tell", || desk.container("looper")["problem"].to_string().contains("experimental"));
    let listed = desk.container("looper");
    assert_eq!(listed["state"], "running");
    let said = desk.bad(&["acquire", "node-a", "looper"]);
    assert!(said.contains("experimental") && said.contains("daemon.json"), "{said}");
    let checks = docker.examine();
    let told = checks.iter().find(|check| check["name"] == "docker").unwrap();
    assert!(told["state"] == "missing" && told["mend"].to_string().contains("daemon.json"), "{told}");
}
