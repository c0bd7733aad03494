//! A real containerd asked over its CRI socket: a container is frozen by the agent and is at the desk what /proc said; one that
//! somebody else left frozen is found out and cured; a dump that fails is explained by criu's own log. Needs root and the tree that
//! `fixtures/lab/setup` builds, with its containerd 2; says so where they are missing.
#![cfg(feature = "agent")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, starts programs, and says why it cannot run"
)]

#[path = "agent/cri.rs"]
mod cri;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use cri::{Cri, Place, RUNNING};

const AGENT: &str = env!("CARGO_BIN_EXE_cryoscope-agent");
const LAB: &str = "/srv/lab";
const IMAGE: &str = "localhost/small:1";

/// Runs in the lab: containerd with a store of its own and an image of busybox, which is its pods' as well. Its runc waits where
/// there is a file `slow`. Ends when its input does.
const CONTAINERD: &str = r#"
set -eu
dir=$1
export CONTAINERD_ADDRESS=$dir/containerd.sock CONTAINERD_NAMESPACE=k8s.io
mkdir -p $dir/image/bin $dir/path $dir/logs
cp /bin/busybox $dir/image/bin/
for name in sh sleep head rm; do ln -sf busybox $dir/image/bin/$name; done
cat >$dir/path/runc <<END
#!/bin/sh
case " \$* " in *" checkpoint "*) [ ! -e $dir/slow ] || sleep \$(cat $dir/slow);; esac
exec /usr/sbin/runc "\$@"
END
chmod 755 $dir/path/runc
cat >$dir/config.toml <<END
version = 3
root = '$dir/root'
state = '$dir/run'
[grpc]
address = '$dir/containerd.sock'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = 'localhost/small:1'
[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
END
tar -C $dir/image -cf $dir/layer.tar .
layer=$(sha256sum <$dir/layer.tar | cut -d' ' -f1)
printf '{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/bin/sleep","100000"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $layer >$dir/image.json
echo '[{"Config":"image.json","RepoTags":["localhost/small:1"],"Layers":["layer.tar"]}]' >$dir/manifest.json
PATH=$dir/path:$PATH containerd -c $dir/config.toml >$dir/containerd.log 2>&1 &
containerd=$!
trap 'kill $containerd; wait $containerd || true' EXIT
for n in $(seq 100); do [ -S $dir/containerd.sock ] && break; sleep 0.1; done
tar -C $dir -c manifest.json image.json layer.tar | ctr images import --local - >/dev/null
sed -n 's/^[0-9]*:freezer://p' /proc/self/cgroup
cat >/dev/null
"#;

/// A tree with its containerd; dropped, it ends.
struct Lab {
    _dir: tempfile::TempDir,
    /// Its directory, from outside and from inside.
    dir: PathBuf,
    inside: PathBuf,
    place: Place,
    child: Child,
}

impl Drop for Lab {
    fn drop(&mut self) {
        // None outlives the test, frozen or not; containerd ends last.
        for container in self.cri().containers() {
            let _ = self.ctr(&format!("ctr -n k8s.io tasks resume {container}"));
        }
        self.cri().end_pods();
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn enter() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lab/enter"))
}

impl Lab {
    /// `Err` says why it cannot be run here.
    fn start() -> Result<Lab, String> {
        if !rustix::process::geteuid().is_root() || !Path::new(LAB).join("usr/bin/containerd").exists() {
            return Err("this needs root and the lab with containerd 2 (fixtures/lab/setup builds it)".to_owned());
        }
        let probe = enter().args(["sh", "-c", "criu check && grep -q :freezer: /proc/self/cgroup"]).output().unwrap();
        if !probe.status.success() {
            let said = text(&probe.stderr);
            return Err(format!("criu does not work in the lab here, or there is no freezer of version 1: {said}"));
        }
        let temporary = tempfile::tempdir_in(Path::new(LAB).join("var/lib")).unwrap();
        let dir = temporary.path().to_owned();
        let inside = Path::new("/").join(dir.strip_prefix(LAB).unwrap());
        std::fs::copy(AGENT, dir.join("agent")).unwrap();
        let mut child = enter()
            .args(["sh", "-c", CONTAINERD, "sh"])
            .arg(&inside)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut cgroup = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut cgroup).unwrap();
        let log = std::fs::read_to_string(dir.join("containerd.log")).unwrap_or_default();
        assert!(cgroup.starts_with("/lab-"), "containerd does not start: {log}");
        let place = Place { logs: inside.join("logs"), cgroup: format!("{}/pods", cgroup.trim()) };
        Ok(Lab { _dir: temporary, dir, inside, place, child })
    }

    fn cri(&self) -> Cri {
        Cri::new(self.dir.join("containerd.sock"))
    }

    /// Runs one of the commands that the agent advises.
    fn ctr(&self, command: &str) -> Result<(), String> {
        let socket = self.inside.join("containerd.sock");
        let ran = Command::new("chroot")
            .args([LAB, "sh", "-c", command])
            .env("CONTAINERD_ADDRESS", socket)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output();
        let ran = ran.map_err(|error| error.to_string())?;
        ran.status.success().then_some(()).ok_or_else(|| format!("{command}: {}", text(&ran.stderr)))
    }
}

/// The agent in the lab; dropped, it is killed.
struct Agent {
    lab: PathBuf,
    inside: PathBuf,
    child: Child,
    address: String,
}

impl Agent {
    fn start(lab: &Lab) -> Agent {
        let (child, address) = Agent::spawn(&lab.inside, "127.0.0.1:0");
        Agent { lab: lab.dir.clone(), inside: lab.inside.clone(), child, address }
    }

    /// It is the last program of the lab's shell, so that killing one kills the other.
    fn spawn(inside: &Path, listen: &str) -> (Child, String) {
        const SERVE: &str = "echo $$ >$1/agent.pid; exec $1/agent serve --listen $2 --node-name node-a --state-dir $1/state \
            --spool $1/spool --reserve 0 --kubelet-url none --podman none --cri $1/containerd.sock 2>>$1/agent.log";
        let mut command = enter();
        let mut child = command
            .args(["sh", "-c", SERVE, "sh"])
            .arg(inside)
            .arg(listen)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        (child, address)
    }

    /// By the strongest signal, and again at the same address.
    fn restart(&mut self) {
        self.kill();
        (self.child, self.address) = Agent::spawn(&self.inside, &self.address);
    }

    fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = std::fs::read_to_string(self.lab.join("agent.pid")).unwrap();
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let _gone_already = rustix::process::kill_process(pid, signal);
    }

    fn pair(&self, desk: &Desk) {
        let printed =
            Command::new(AGENT).args(["pair", "--json", "--state-dir"]).arg(self.lab.join("state")).output().unwrap();
        let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
        desk.good(&["acquire", "pair", &self.address, printed["code"].as_str().unwrap(), "--name", "node-a"]);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `cryoscope` with notes of its own.
struct Desk(tempfile::TempDir);

impl Desk {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryoscope"));
        command.args(arguments).env("CRYOSCOPE_DATA_DIR", self.0.path().join("data")).current_dir(self.0.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert!(ran.status.success(), "{arguments:?}: {}{}", text(&ran.stdout), text(&ran.stderr));
        text(&ran.stdout)
    }

    fn bad(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {}", text(&ran.stdout));
        text(&ran.stderr)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.good(arguments)).unwrap()
    }

    /// The agent's word on a container.
    fn container(&self, name: &str) -> Value {
        let listed = self.json(&["acquire", "list", "node-a", "--json"]);
        let found = listed["containers"].as_array().unwrap().iter().find(|container| container["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not in {listed}")).clone()
    }

    /// The archive of a container, as `inspect` shows it.
    fn frozen(&self, name: &str) -> Value {
        self.inspect(&self.good(&["acquire", "node-a", name, "-o", "evidence"]))
    }

    /// The archive that was fetched.
    fn inspect(&self, acquired: &str) -> Value {
        self.json(&["inspect", "--all", "--json", acquired.lines().next().unwrap()])
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what}: it did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is compared, by the number inside the container: as `inspect` says it, and as /proc does.
type Processes = BTreeMap<u64, Value>;

fn by_inspect(inspected: &Value) -> Processes {
    let processes = inspected["processes"].as_array().unwrap().iter();
    processes
        .map(|process| {
            let maps: Vec<String> = process["maps"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|map| !map["path"].as_str().unwrap_or_default().starts_with("[v"))
                .map(|map| {
                    let address = |key: &str| map[key].as_str().unwrap().trim_start_matches("0x").to_owned();
                    format!(
                        "{}-{} {} {}",
                        address("start"),
                        address("end"),
                        map["perms"].as_str().unwrap(),
                        map["path"].as_str().unwrap_or_default()
                    )
                })
                .collect();
            let fds: Vec<Value> = process["fds"]
                .as_array()
                .unwrap()
                .iter()
                .map(|fd| serde_json::json!([fd["fd"], fd["target"]]))
                .collect();
            let keys = ["comm", "cmdline", "environ", "exe", "cwd"];
            let mut facts: BTreeMap<&str, Value> = keys.into_iter().map(|key| (key, process[key].clone())).collect();
            facts.insert("maps", maps.into());
            facts.insert("fds", fds.into());
            (process["pid"].as_u64().unwrap(), serde_json::to_value(facts).unwrap())
        })
        .collect()
}

/// The processes of the node that are in a container, by their cgroup.
fn pids(container: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        cgroups.lines().any(|line| line.ends_with(&format!("/{container}")))
    })
    .collect()
}

fn by_proc(container: &str) -> Processes {
    let mut found = Processes::new();
    for pid in pids(container) {
        let read = |name: &str| text(&std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default());
        let link = |name: &str| {
            std::fs::read_link(format!("/proc/{pid}/{name}")).map_or(String::new(), |path| path.display().to_string())
        };
        let list = |name: &str| -> Vec<String> { read(name).split_terminator('\0').map(str::to_owned).collect() };
        let maps: Vec<String> = read("maps")
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                let (range, perms) = (words.next()?, words.next()?);
                let path = words.nth(3).unwrap_or_default();
                let (start, end) = range.split_once('-')?;
                let number = |hex: &str| u64::from_str_radix(hex, 16).unwrap();
                (!path.starts_with("[v")).then(|| format!("{:x}-{:x} {perms} {path}", number(start), number(end)))
            })
            .collect();
        let mut fds: Vec<u32> = std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .flatten()
            .map(|fd| fd.file_name().to_str().unwrap().parse().unwrap())
            .collect();
        fds.sort_unstable();
        let fds: Vec<Value> = fds.into_iter().map(|fd| serde_json::json!([fd, link(&format!("fd/{fd}"))])).collect();
        let status = read("status");
        let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        let inside = inside.split_whitespace().last().unwrap().parse().unwrap();
        let facts = serde_json::json!({
            "comm": read("comm").trim_end(), "cmdline": list("cmdline"), "environ": list("environ"), "exe": link("exe"),
            "cwd": link("cwd"), "maps": maps, "fds": fds,
        });
        found.insert(inside, facts);
    }
    found
}

fn is_frozen(lab: &Lab, container: &str) -> bool {
    let file = format!("/sys/fs/cgroup/freezer{}/{container}/freezer.state", lab.place.cgroup);
    std::fs::read_to_string(file).is_ok_and(|state| state.trim() == "FROZEN")
}

#[test]
fn containers_of_containerd_are_frozen_fetched_explained_and_cured() {
    let lab = match Lab::start() {
        Ok(lab) => lab,
        // Past the harness, which shows nothing of a test that passes.
        Err(why) => return writeln!(std::io::stderr(), "NOT RUN, no containerd: {why}").unwrap(),
    };
    let cri = lab.cri();
    let looper = cri.start(("web", "looper"), IMAGE, "while :; do sleep 100000; done", &lab.place);
    let ghost = "head -c 3000000 /dev/zero >/big; exec 3</big; rm /big; while :; do sleep 100000; done";
    let ghost = cri.start(("odd", "ghost"), IMAGE, ghost, &lab.place);
    wait_for("two processes each", || pids(&looper).len() == 2 && pids(&ghost).len() == 2);
    let mut agent = Agent::start(&lab);
    let desk = Desk(tempfile::tempdir().unwrap());
    agent.pair(&desk);

    is_at_the_desk_what_proc_said(&desk, &looper);
    collection_is_what_proc_said_and_no_checkpoint(&desk, &looper);
    failed_dump_is_explained_by_the_log_of_criu(&desk, &ghost);
    one_that_somebody_left_frozen_is_found_out_and_cured(&lab, &desk, &looper);
    agent_that_is_killed_meanwhile_loses_the_archive_and_not_the_container(&lab, &desk, &mut agent, &looper);
    archive_that_was_written_meanwhile_is_claimed_by_the_next_agent(&lab, &desk, &mut agent, &looper);
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
fn one_that_somebody_left_frozen_is_found_out_and_cured(lab: &Lab, desk: &Desk, looper: &str) {
    std::fs::write(lab.dir.join("slow"), "3").unwrap();
    let given_up = lab.cri().checkpoint(looper, &lab.inside.join("given-up.tar"), Duration::from_secs(1));
    assert!(given_up.is_err());
    std::fs::remove_file(lab.dir.join("slow")).unwrap();
    // Longer than the dump would have taken.
    std::thread::sleep(Duration::from_secs(4));
    assert!(is_frozen(lab, looper), "this containerd lets it go on");
    assert_eq!(lab.cri().state(looper), RUNNING, "containerd knows that it does not run");

    let listed = desk.container("looper");
    assert_eq!(listed["state"], "frozen");
    let problem = listed["problem"].as_str().unwrap().to_owned();
    let doctor = doctor(lab);
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
    assert!(!is_frozen(lab, looper));
    // A list is good for a second.
    wait_for("it runs", || desk.container("looper")["state"] == "running");
    assert_eq!(desk.frozen("looper")["processes"].as_array().unwrap().len(), 2);
}

/// It lies in the spool, half written by nobody's word but the runtime's.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn archive_that_was_written_meanwhile_is_claimed_by_the_next_agent(
    lab: &Lab,
    desk: &Desk,
    agent: &mut Agent,
    looper: &str,
) {
    let n_written = || {
        let log = std::fs::read_to_string(lab.dir.join("containerd.log")).unwrap();
        log.matches("Wrote checkpoint archive").count()
    };
    std::fs::write(lab.dir.join("slow"), "1").unwrap();
    let (before, asked) = (n_written(), desk.start(&["acquire", "node-a", "looper", "-o", "evidence"]));
    wait_for("it is frozen", || is_frozen(lab, looper));
    // It hears nothing of what containerd answers.
    agent.signal(rustix::process::Signal::STOP);
    std::fs::remove_file(lab.dir.join("slow")).unwrap();
    wait_for("the archive is written", || before < n_written());
    agent.restart();
    let ran = asked.wait_with_output().unwrap();
    let said = text(&ran.stderr);
    assert!(ran.status.success() && said.contains("claimed it after its next start"), "{said}");
    assert_eq!(desk.inspect(&text(&ran.stdout))["processes"].as_array().unwrap().len(), 2);
}

#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn doctor(lab: &Lab) -> Vec<Value> {
    let ran = Command::new(AGENT)
        .args(["doctor", "--json", "--kubelet-url", "none", "--podman", "none", "--cri"])
        .arg(lab.dir.join("containerd.sock"))
        .output()
        .unwrap();
    serde_json::from_slice::<Value>(&ran.stdout).unwrap()["checks"].as_array().unwrap().clone()
}

/// The agent's end is a hang-up: the archive is lost, and the shim lets the container go on. The next agent says so.
#[expect(clippy::unwrap_used, reason = "a part of the test")]
fn agent_that_is_killed_meanwhile_loses_the_archive_and_not_the_container(
    lab: &Lab,
    desk: &Desk,
    agent: &mut Agent,
    looper: &str,
) {
    std::fs::write(lab.dir.join("slow"), "3").unwrap();
    let asked = desk.start(&["acquire", "node-a", "looper", "-o", "evidence"]);
    wait_for("it is frozen", || is_frozen(lab, looper));
    agent.restart();
    std::fs::remove_file(lab.dir.join("slow")).unwrap();
    // Who follows the job is told by the next agent.
    let ran = asked.wait_with_output().unwrap();
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("the agent ended while this job was under way"), "{said}");
    wait_for("it runs", || desk.container("looper")["state"] == "running");
    assert_eq!(std::fs::read_dir(lab.dir.join("state/jobs")).unwrap().count(), 0);
    desk.good(&["acquire", "node-a", "looper", "-o", "evidence"]);
}
