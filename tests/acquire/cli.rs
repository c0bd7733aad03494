//! `cryoscope acquire` as a program, against an agent stand-in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cryoscope::acquire::wire::JobState;
use serde_json::Value;

use super::stand_in::{Fault, StandIn, container};

pub(super) struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    pub(super) fn new() -> Desk {
        Desk { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn out(&self) -> PathBuf {
        self.dir.path().join("evidence")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryoscope"));
        command.arg("acquire").args(args).env("CRYOSCOPE_DATA_DIR", self.data());
        command.env_remove("HTTPS_PROXY").env_remove("https_proxy").env("USER", "analyst");
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(super) fn good(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert!(ran.status.success(), "{args:?}: {}", text(&ran.stderr));
        text(&ran.stdout)
    }

    pub(super) fn bad(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.status.code(), Some(2), "{args:?}: {}", text(&ran.stdout));
        text(&ran.stderr)
    }

    fn pair(&self, agent: &StandIn, name: &str) {
        self.good(&["pair", &agent.address.to_string(), &agent.code(), "--name", name]);
    }
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(super) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub(super) fn wait_for(what: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !what() {
        assert!(Instant::now() < until, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill_9(child: &mut Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

const NAME: &str = "checkpoint-web_default-app-2026-11-23T14:42:13Z.tar";

#[test]
fn container_is_frozen_fetched_verified_and_noted() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    desk.pair(&agent, "node-a");
    assert!(desk.good(&["nodes"]).contains("node-a"));
    assert!(desk.good(&["list", "node-a"]).contains("default/web/app"));
    agent.put("1", NAME, content(200_000));
    let ran = desk.run(&["node-a", "web/app", "-o", "evidence", "--reason", "case 1432"]);
    let (out, err) = (text(&ran.stdout), text(&ran.stderr));
    assert!(ran.status.success(), "{err}");
    assert!(out.contains("signature agree"), "{out}");
    assert!(err.contains("the container stayed frozen"), "{err}");
    let path = desk.out().join(NAME);
    assert_eq!(fs::read(&path).unwrap(), content(200_000));
    let shown = path.to_str().unwrap();
    let line = &lines(&desk.good(&["verify", "--json", shown]))[0];
    assert_eq!(
        (&line["is_good"], &line["acquired_by"].as_str().unwrap().starts_with("analyst@")),
        (&true.into(), &true)
    );
    assert_eq!((&line["node"], &line["checks"]), (&"node-a".into(), &0.into()));
    // Copied elsewhere, it still is known; changed, it is not.
    fs::copy(&path, desk.dir.path().join("copy.tar")).unwrap();
    assert!(desk.good(&["verify", "copy.tar"]).starts_with("copy.tar: good: default/web/app of node-a"));
    let mut bytes = content(200_000);
    bytes[1000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let ran = desk.run(&["verify", shown]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stdout).contains("NOT GOOD: it was changed"), "{}", text(&ran.stdout));
    fs::write(desk.dir.path().join("foreign.tar"), "x").unwrap();
    let ran = desk.run(&["verify", "foreign.tar", "missing.tar"]);
    assert!(text(&ran.stdout).contains("nothing is known of it here"), "{}", text(&ran.stdout));
    assert!(text(&ran.stderr).contains("2 of 2"), "{}", text(&ran.stderr));
}

#[test]
fn puller_that_is_killed_goes_on_where_it_was() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    desk.pair(&agent, "node-a");
    let bytes = content(8 << 20);
    agent.put("1", NAME, bytes.clone());
    let part = desk.out().join(format!("{NAME}.part"));
    let mut before = 0;
    for _ in 0..3 {
        agent.fault([Fault::Slow]);
        let mut child = desk.command(&["pull", "node-a", "1", "-o", "evidence"]).stdout(Stdio::null()).spawn().unwrap();
        wait_for(|| fs::metadata(&part).map_or(0, |data| data.len()) > before + 500_000);
        kill_9(&mut child);
        before = fs::metadata(&part).unwrap().len();
        assert!(!desk.out().join(NAME).exists());
    }
    let out = desk.good(&["pull", "node-a", "1", "-o", "evidence", "--json"]);
    let done = lines(&out).pop().unwrap();
    assert_eq!((&done["event"], &done["verified"]), (&"done".into(), &true.into()));
    assert_eq!(fs::read(desk.out().join(NAME)).unwrap(), bytes);
    let offsets = agent.offsets();
    assert!(offsets.len() == 4 && offsets.is_sorted() && offsets[3] == before, "{offsets:?} {before}");
    assert_eq!(fs::read_dir(desk.out()).unwrap().count(), 1);
}

#[test]
fn full_disk_is_said_and_what_came_stays() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    desk.pair(&agent, "node-a");
    let Some(small) = Mounted::new(desk.dir.path().join("small"), "3m") else {
        eprintln!("not run: a small file system is mounted, which needs root");
        return;
    };
    let bytes = content(2 << 20);
    agent.put("1", NAME, bytes.clone());
    // No room from the beginning: nothing is fetched.
    fs::write(small.0.join("ballast"), vec![0; 2 << 20]).unwrap();
    let err = desk.bad(&["pull", "node-a", "1", "-o", "small"]);
    assert!(err.contains("the disk is full: 2097152 bytes are needed"), "{err}");
    assert_eq!(agent.offsets(), [0; 0]);
    // The room goes away while it is fetched.
    fs::remove_file(small.0.join("ballast")).unwrap();
    agent.fault([Fault::Slow]);
    let child =
        desk.command(&["pull", "node-a", "1", "-o", "small"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn();
    let part = small.0.join(format!("{NAME}.part"));
    wait_for(|| fs::metadata(&part).map_or(0, |data| data.len()) > 200_000);
    fs::write(small.0.join("ballast"), vec![0; 2 << 20]).unwrap();
    let ran = child.unwrap().wait_with_output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("the disk is full"), "{}", text(&ran.stderr));
    let there = fs::metadata(&part).unwrap().len();
    assert!(there > 200_000);
    fs::remove_file(small.0.join("ballast")).unwrap();
    desk.good(&["pull", "node-a", "1", "-o", "small"]);
    assert_eq!(fs::read(small.0.join(NAME)).unwrap(), bytes);
    assert_eq!(agent.offsets()[1], there);
}

/// A file system in memory, gone when dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` for who may not mount.
    fn new(dir: PathBuf, size: &str) -> Option<Mounted> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        fs::create_dir(&dir).unwrap();
        let ran = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(&dir).status();
        assert!(ran.unwrap().success(), "a small file system cannot be mounted");
        Some(Mounted(dir))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn series_makes_one_archive_after_another() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    desk.pair(&agent, "node-a");
    for n in 1..=3_usize {
        agent.put(&n.to_string(), &format!("c-{n}.tar"), content(1000 * n));
    }
    let args = ["freeze", "node-a", "app", "-o", "evidence", "--series", "2", "--every", "1s", "--json"];
    let begun = Instant::now();
    let out = lines(&desk.good(&args));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let events: Vec<&str> = out.iter().map(|line| line["event"].as_str().unwrap()).collect();
    let one = ["job", "job", "job", "pulling", "note", "done"];
    assert_eq!(events, [one, one].concat());
    // The stand-in has the same archive for both: the second time it is there.
    assert_eq!((&out[5]["was_there"], &out[11]["was_there"]), (&false.into(), &true.into()));
}

#[test]
fn series_goes_on_after_one_that_fails() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    desk.pair(&agent, "node-a");
    agent.put("1", "a.tar", content(1000));
    agent.state.lock().unwrap().job_states = vec![JobState::Failed];
    let ran = desk.run(&["node-a", "app", "-o", "evidence", "--series", "2", "--every", "0", "--json"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("2 of 2 checkpoints were not acquired"), "{}", text(&ran.stderr));
    let out = lines(&text(&ran.stdout));
    assert_eq!(out.iter().filter(|line| line["event"] == "failed").count(), 2);
    let is_log = |line: &&Value| line["text"].as_str().is_some_and(|text| text.contains("criu's log: (00.1) Error"));
    assert_eq!(out.iter().filter(is_log).count(), 2, "what stands out in the log of each: {out:?}");
}

#[test]
fn labels_choose_containers_of_many_nodes_and_one_failure_keeps_no_other() {
    let (one, two, gone, desk) = (StandIn::start(), StandIn::start(), StandIn::start(), Desk::new());
    desk.pair(&one, "one");
    desk.pair(&two, "two");
    desk.pair(&gone, "gone");
    drop(gone);
    one.put("1", "one.tar", content(1000));
    two.put("1", "two.tar", content(2000));
    one.state.lock().unwrap().containers.push(container("dddddddddddd", "db", "db", &[("app", "db")]));
    let out = desk.run(&["--selector", "app=web", "-o", "evidence", "--on", "one,two"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let table = text(&out.stdout);
    assert_eq!(table.matches("verified").count(), 2, "{table}");
    assert!(!table.contains("db/db"), "{table}");
    two.state.lock().unwrap().job_states = vec![JobState::Running, JobState::Failed];
    let ran = desk.run(&["-l", "app=web", "-o", "second", "--json"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("2 of 3 were not acquired"), "{}", text(&ran.stderr));
    let out = lines(&text(&ran.stdout));
    let of = |node: &str, event: &str| out.iter().find(|line| line["node"] == node && line["event"] == event).cloned();
    assert_eq!(of("one", "done").unwrap()["verified"], true);
    let problem = of("two", "failed").unwrap()["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("set tcp-established"), "{problem}");
    assert!(of("gone", "failed").is_some());
    let err = desk.bad(&["-l", "app=none", "--on", "one"]);
    assert!(err.contains("no running container"), "{err}");
}

#[test]
fn agent_that_forgot_a_job_when_it_was_started_again_is_asked_for_the_archive() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    desk.pair(&agent, "node-a");
    agent.put("1", "checkpoint.tar", content(100_000));
    let forgotten =
        r#"{"code": "no-such-job", "message": "there is no job with this id", "hint": null, "detail": null}"#;
    agent.instead("/v1/jobs/job-1", 404, forgotten);
    desk.good(&["node-a", "web/app", "-o", "evidence"]);
    assert_eq!(fs::read(desk.out().join("checkpoint.tar")).unwrap(), content(100_000));
    agent.state.lock().unwrap().archives.clear();
    let said = desk.bad(&["node-a", "web/app", "-o", "evidence"]);
    assert!(said.contains("has no archive of this job; look whether the container is frozen"), "{said}");
}

#[test]
fn wrong_requests_are_told_in_one_line() {
    let (agent, desk) = (StandIn::start(), Desk::new());
    let check = |args: &[&str], said: &str| {
        let err = desk.bad(args);
        assert!(err.contains(said), "{args:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    };
    check(&["list", "node-a"], "cryoscope acquire pair ADDRESS CODE");
    check(&[], "cryoscope acquire --help");
    check(&["pair", &agent.address.to_string(), "ABCDE"], "40 letters");
    desk.pair(&agent, "node-a");
    check(&["list", "../node-a"], "no name for a node");
    check(&["node-a", "nothing"], "there are: default/web/app");
    check(&["pull", "node-a", "9"], "there is no such archive; try the right one");
    check(&["list", "node-a", "--proxy", "ftp://x"], "is no proxy: give http://HOST:PORT");
    agent.instead("/v1/containers", 403, "Forbidden\x1b[2J\n\nnow");
    check(&["list", "node-a"], "403");
    desk.good(&["forget", "node-a"]);
    check(&["forget", "node-a"], "no node of this name");
}

#[test]
fn key_and_record_are_readable_by_the_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    fn check(dir: &Path, found: &mut usize) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            *found += 1;
            if path.is_dir() {
                assert_eq!(mode, 0o700, "{}", path.display());
                check(&path, found);
            } else {
                assert_eq!(mode, 0o600, "{}", path.display());
            }
        }
    }
    let (agent, desk) = (StandIn::start(), Desk::new());
    desk.pair(&agent, "node-a");
    agent.put("1", NAME, content(1000));
    desk.good(&["pull", "node-a", "1", "-o", "evidence"]);
    let mut found = 0;
    check(&desk.dir.path().join("data"), &mut found);
    assert_eq!(found, 5);
}
