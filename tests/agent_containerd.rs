//! A real containerd asked over its CRI socket: a container is frozen by the agent and is at the desk what /proc said; one that
//! somebody else left frozen is found out and cured; a dump that fails is explained by criu's own log. Needs root and the tree that
//! `fixtures/lab/setup` builds, with its containerd 2; says so where they are missing.
#![cfg(feature = "agent")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, starts programs, and says why it cannot run"
)]

#[path = "agent/containerd.rs"]
mod containerd;
#[path = "agent/cri.rs"]
#[expect(dead_code, reason = "another test uses more of it")]
mod cri;
#[path = "agent/lab.rs"]
#[expect(dead_code, reason = "another test uses more of it")]
mod lab;

use std::io::Write as _;
use std::time::Duration;

use containerd::{Containerd, IMAGE};
use cri::RUNNING;
use lab::{Agent, Desk, by_inspect, by_proc, pids, text, wait_for};

const SOURCES: &str = "--podman none --docker none --cri $1/containerd.sock";

#[test]
fn containers_of_containerd_are_frozen_fetched_explained_and_cured() {
    let lab = match Containerd::start() {
        Ok(lab) => lab,
        // Past the harness, which shows nothing of a test that passes.
        Err(why) => return writeln!(std::io::stderr(), "NOT RUN, no containerd: {why}").unwrap(),
    };
    let cri = lab.cri();
    let looper = cri.start(("web", "looper"), IMAGE, "while :; do sleep 100000; done", &lab.place);
    let ghost = "head -c 3000000 /dev/zero >/big; exec 3</big; rm /big; while :; do sleep 100000; done";
    let ghost = cri.start(("odd", "ghost"), IMAGE, ghost, &lab.place);
    wait_for("two processes each", || pids(&looper).len() == 2 && pids(&ghost).len() == 2);
    let mut agent = Agent::start(&lab, SOURCES);
    let desk = Desk::new();
    agent.pair(&desk);

    is_at_the_desk_what_proc_said(&desk, &looper);
    collection_is_what_proc_said_and_no_checkpoint(&desk, &looper);
    failed_dump_is_explained_by_the_log_of_criu(&desk, &ghost);
    one_that_somebody_left_frozen_is_found_out_and_cured(&lab, &desk, &looper);
    agent_that_is_killed_meanwhile_loses_the_archive_and_not_the_container(&lab, &desk, &mut agent);
    archive_that_was_written_meanwhile_is_claimed_by_the_next_agent(&lab, &desk, &mut agent);
    agent_that_is_killed_while_containerd_freezes_is_followed_by_one_that_tells(&lab, &desk, &mut agent, &looper);
}

#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn is_at_the_desk_what_proc_said(desk: &Desk, looper: &str) {
    let listed = desk.container("looper");
    let facts =
        ["id", "pod", "namespace", "image", "engine", "source", "state"].map(|key| listed[key].as_str().unwrap());
    assert_eq!(facts, [looper, "web", "default", IMAGE, "containerd", "cri", "running"]);
    assert_eq!((&listed["labels"]["app"], listed["problem"].is_null()), (&"looper".into(), true), "{listed}");
    assert!(pids(looper).contains(&u32::try_from(listed["pid"].as_u64().unwrap()).unwrap()));

    let before = by_proc(looper);
    assert_eq!(before.len(), 2);
    let inspected = desk.frozen("web/looper");
    assert_eq!(by_inspect(&inspected), before);
    let container = &inspected["container"];
    assert_eq!(
        [&container["name"], &container["pod"], &container["namespace"], &container["image"], &container["id"]],
        ["looper", "web", "default", IMAGE, looper]
    );
    assert_eq!(inspected["evidence"]["layout"], "containerd");
    assert_eq!(inspected["issues"].as_array().map(Vec::len), Some(0), "{}", inspected["issues"]);
    assert_eq!(desk.container("looper")["state"], "running", "it goes on");
}

#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn collection_is_what_proc_said_and_no_checkpoint(desk: &Desk, looper: &str) {
    let before = by_proc(looper);
    let inspected = desk.inspect(&desk.good(&["acquire", "node-a", "looper", "--collect", "-o", "evidence"]));
    assert_eq!(by_inspect(&inspected), before);
    assert_eq!(
        (&inspected["evidence"]["layout"], &inspected["container"]["name"]),
        (&"collection".into(), &"looper".into())
    );
    assert!(inspected["container"]["criu_version"].is_null() && inspected["container"]["engine"].is_null());
    let gaps = inspected["coverage"].as_array().unwrap();
    assert!(gaps.iter().any(|gap| gap["what"] == "one moment"), "{gaps:?}");
}

/// containerd says no more than that criu failed; the log is in the bundle of the container.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn failed_dump_is_explained_by_the_log_of_criu(desk: &Desk, ghost: &str) {
    let said = desk.bad(&["acquire", "node-a", "ghost"]);
    for word in
        ["a process uses a big file that was deleted", "ghost-limit", "Can't dump ghost file /big", "Dumping FAILED"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    let jobs = desk.json(&["acquire", "jobs", "node-a", "--json"]);
    let job = jobs["jobs"].as_array().unwrap().iter().find(|job| job["container"] == ghost).unwrap();
    let problem = &job["problem"];
    assert_eq!((job["state"].as_str(), problem["code"].as_str()), (Some("failed"), Some("ghost-file")));
    assert!(problem["log"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("ghost file /big")));
    assert!(problem["detail"].as_str().unwrap().contains("criu failed"), "{problem}");
    assert_eq!(desk.container("ghost")["state"], "running");
}

/// The deadline of a kubelet goes with its request to the shim, which then cannot let the container go on; containerd calls it
/// running.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn one_that_somebody_left_frozen_is_found_out_and_cured(lab: &Containerd, desk: &Desk, looper: &str) {
    lab.slow(Some("3"));
    let given_up = lab.cri().checkpoint(looper, &lab.inside.join("given-up.tar"), Duration::from_secs(1));
    assert!(given_up.is_err());
    lab.slow(None);
    // Longer than the dump would have taken.
    std::thread::sleep(Duration::from_secs(4));
    assert!(lab.is_frozen(looper), "this containerd lets it go on");
    assert_eq!(lab.cri().state(looper), RUNNING, "containerd knows that it does not run");

    let listed = desk.container("looper");
    assert_eq!(listed["state"], "frozen");
    let problem = listed["problem"].as_str().unwrap().to_owned();
    let socket = lab.dir.join("containerd.sock");
    let sources = ["--kubelet-url", "none", "--podman", "none", "--docker", "none", "--cri", socket.to_str().unwrap()];
    let doctor = lab.doctor(&sources);
    let told = doctor.iter().find(|check| check["name"] == "frozen container").unwrap();
    assert!(told["found"].as_str().unwrap().starts_with("looper") && told["mend"].as_str().unwrap().contains("resume"));
    assert!(
        doctor.iter().any(|check| check["name"] == "source" && check["found"].to_string().contains("containerd 2."))
    );
    let said = desk.bad(&["acquire", "node-a", "looper"]);
    assert!(said.contains("frozen already"), "{said}");
    for said in [problem, said] {
        let cure = said.split('`').nth(1).unwrap().to_owned();
        assert_eq!(cure, format!("ctr -n k8s.io tasks resume {looper}"), "{said}");
    }
    lab.ctr(&format!("ctr -n k8s.io tasks resume {looper}")).unwrap();
    assert!(!lab.is_frozen(looper));
    // A list is good for a second.
    wait_for("it runs", || desk.container("looper")["state"] == "running");
    assert_eq!(desk.frozen("looper")["processes"].as_array().unwrap().len(), 2);
}

/// containerd hears of the hang-up before it knows that the container is frozen, and then lets nobody go on.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn agent_that_is_killed_while_containerd_freezes_is_followed_by_one_that_tells(
    lab: &Containerd,
    desk: &Desk,
    agent: &mut Agent,
    looper: &str,
) {
    std::fs::write(lab.dir.join("slow-pause"), "").unwrap();
    let asked = desk.start(&["acquire", "node-a", "looper", "-o", "evidence"]);
    wait_for("it is frozen", || lab.dir.join("paused").exists());
    agent.restart();
    assert_eq!(asked.wait_with_output().unwrap().status.code(), Some(2));
    std::fs::remove_file(lab.dir.join("slow-pause")).unwrap();
    // Longer than the freeze takes.
    std::thread::sleep(Duration::from_secs(4));
    assert!(lab.is_frozen(looper), "this containerd lets it go on");
    let listed = desk.container("looper");
    assert_eq!(listed["state"], "frozen");
    assert!(listed["problem"].as_str().unwrap().contains("tasks resume"));
    lab.ctr(&format!("ctr -n k8s.io tasks resume {looper}")).unwrap();
    wait_for("it runs", || desk.container("looper")["state"] == "running");
}

/// It lies in the spool, half written by nobody's word but the runtime's.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn archive_that_was_written_meanwhile_is_claimed_by_the_next_agent(lab: &Containerd, desk: &Desk, agent: &mut Agent) {
    let n_written = || {
        let log = std::fs::read_to_string(lab.dir.join("log")).unwrap();
        log.matches("Wrote checkpoint archive").count()
    };
    lab.slow(Some("1"));
    let (before, asked) = (n_written(), desk.start(&["acquire", "node-a", "looper", "-o", "evidence"]));
    lab.wait_for_dump();
    // It hears nothing of what containerd answers.
    agent.signal(rustix::process::Signal::STOP);
    lab.slow(None);
    wait_for("the archive is written", || before < n_written());
    agent.restart();
    let ran = asked.wait_with_output().unwrap();
    let said = text(&ran.stderr);
    assert!(ran.status.success() && said.contains("claimed it after its next start"), "{said}");
    assert_eq!(desk.inspect(&text(&ran.stdout))["processes"].as_array().unwrap().len(), 2);
}

/// The agent's end is a hang-up: the archive is lost, and the shim lets the container go on. The next agent says so.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn agent_that_is_killed_meanwhile_loses_the_archive_and_not_the_container(
    lab: &Containerd,
    desk: &Desk,
    agent: &mut Agent,
) {
    lab.slow(Some("3"));
    let asked = desk.start(&["acquire", "node-a", "looper", "-o", "evidence"]);
    lab.wait_for_dump();
    agent.restart();
    lab.slow(None);
    // Who follows the job is told by the next agent.
    let ran = asked.wait_with_output().unwrap();
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("the agent ended while this job was under way"), "{said}");
    wait_for("it runs", || desk.container("looper")["state"] == "running");
    assert_eq!(std::fs::read_dir(lab.dir.join("state/jobs")).unwrap().count(), 0);
    desk.good(&["acquire", "node-a", "looper", "-o", "evidence"]);
}
