//! A tree of its own in which a real engine runs with an agent, and a desk that is paired with it: what is frozen there must be at
//! the desk what /proc said.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_cryoscope-agent");
pub(crate) const LAB: &str = "/srv/lab";

/// Beginning of what is run there: an image of busybox at `$dir/image`, and a runc that waits before a dump where there is a file
/// `slow`, with a file `dumping` meanwhile, and behind a freeze where there is a file `slow-pause`, with a file `paused` then.
const IMAGE: &str = r#"
set -eu
dir=$1
mkdir -p $dir/image/bin $dir/path
cp /bin/busybox $dir/image/bin/
for name in sh sleep head rm; do ln -sf busybox $dir/image/bin/$name; done
cat >$dir/path/runc <<END
#!/bin/sh
case " \$* " in *" checkpoint "*)
  if [ -e $dir/slow ]; then touch $dir/dumping; sleep \$(cat $dir/slow); rm -f $dir/dumping; fi;;
*" pause "*)
  if [ -e $dir/slow-pause ]; then /usr/sbin/runc "\$@"; touch $dir/paused; sleep 2; exit 0; fi;;
esac
exec /usr/sbin/runc "\$@"
END
chmod 755 $dir/path/runc
"#;

/// A tree with an engine in it; dropped, it ends.
pub(crate) struct Lab {
    _dir: tempfile::TempDir,
    /// Its directory, from outside and from inside.
    pub(crate) dir: PathBuf,
    pub(crate) inside: PathBuf,
    /// Its cgroup.
    pub(crate) cgroup: String,
    child: Child,
    answers: BufReader<ChildStdout>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn enter() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lab/enter"))
}

impl Lab {
    /// Starts what `script` starts: it prints its cgroup when it is ready, and ends when its input does. Its log is `$dir/log`.
    /// `Err` says why it cannot be run here.
    pub(crate) fn start(program: &str, script: &str) -> Result<Lab, String> {
        if !rustix::process::geteuid().is_root() || !Path::new(LAB).join("usr").join(program).exists() {
            return Err(format!("this needs root and the lab with {program} (fixtures/lab/setup builds it)"));
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
            .args(["sh", "-c", &format!("{IMAGE}{script}"), "sh"])
            .arg(&inside)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut cgroup = String::new();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        answers.read_line(&mut cgroup).unwrap();
        let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(cgroup.starts_with("/lab-"), "{program} does not start: {log}");
        Ok(Lab { _dir: temporary, dir, inside, cgroup: cgroup.trim().to_owned(), child, answers })
    }

    /// Tells the script something, and waits for its answer.
    pub(crate) fn tell(&mut self, line: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    /// How long dumps wait before they begin.
    pub(crate) fn slow(&self, seconds: Option<&str>) {
        // Of one that was killed.
        let _ = std::fs::remove_file(self.dir.join("dumping"));
        match seconds {
            Some(seconds) => std::fs::write(self.dir.join("slow"), seconds).unwrap(),
            None => std::fs::remove_file(self.dir.join("slow")).unwrap(),
        }
    }

    /// Waits until a dump does. Not before: who hangs up while an engine still freezes may leave the container frozen.
    pub(crate) fn wait_for_dump(&self) {
        wait_for("it is dumped", || self.dir.join("dumping").exists());
    }

    /// Runs one of the commands that the agent advises.
    pub(crate) fn run(&self, command: &str, environment: (&str, &Path)) -> Result<String, String> {
        let ran = Command::new("chroot")
            .args([LAB, "sh", "-c", command])
            .env(environment.0, environment.1)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output();
        let ran = ran.map_err(|error| error.to_string())?;
        ran.status.success().then(|| text(&ran.stdout)).ok_or_else(|| format!("{command}: {}", text(&ran.stderr)))
    }

    /// What the agent's doctor says of such sources.
    pub(crate) fn doctor(&self, sources: &[&str]) -> Vec<Value> {
        let ran = Command::new(AGENT).args(["doctor", "--json"]).args(sources).output().unwrap();
        serde_json::from_slice::<Value>(&ran.stdout).unwrap()["checks"].as_array().unwrap().clone()
    }
}

/// The agent in the lab; dropped, it is killed.
pub(crate) struct Agent {
    lab: PathBuf,
    inside: PathBuf,
    sources: &'static str,
    child: Child,
    address: String,
}

impl Agent {
    /// With these sources, given as options; `$1` is the directory of the lab.
    pub(crate) fn start(lab: &Lab, sources: &'static str) -> Agent {
        let (child, address) = Agent::spawn(&lab.inside, "127.0.0.1:0", sources);
        Agent { lab: lab.dir.clone(), inside: lab.inside.clone(), sources, child, address }
    }

    /// It is the last program of the lab's shell, so that killing one kills the other.
    fn spawn(inside: &Path, listen: &str, sources: &str) -> (Child, String) {
        let serve = format!(
            "echo $$ >$1/agent.pid; exec $1/agent serve --listen $2 --node-name node-a --state-dir $1/state --spool $1/spool \
                --reserve 0 --kubelet-url none {sources} 2>>$1/agent.log"
        );
        let mut command = enter();
        let mut child = command
            .args(["sh", "-c", &serve, "sh"])
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
    pub(crate) fn restart(&mut self) {
        self.kill();
        (self.child, self.address) = Agent::spawn(&self.inside, &self.address, self.sources);
    }

    pub(crate) fn kill(&mut self) {
        self.signal(rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = std::fs::read_to_string(self.lab.join("agent.pid")).unwrap();
        let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        let _gone_already = rustix::process::kill_process(pid, signal);
    }

    pub(crate) fn pair(&self, desk: &Desk) {
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
pub(crate) struct Desk(tempfile::TempDir);

impl Desk {
    pub(crate) fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap())
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cryoscope"));
        command.args(arguments).env("CRYOSCOPE_DATA_DIR", self.0.path().join("data")).current_dir(self.0.path());
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert!(ran.status.success(), "{arguments:?}: {}{}", text(&ran.stdout), text(&ran.stderr));
        text(&ran.stdout)
    }

    pub(crate) fn bad(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {}", text(&ran.stdout));
        text(&ran.stderr)
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.good(arguments)).unwrap()
    }

    /// The agent's word on a container.
    pub(crate) fn container(&self, name: &str) -> Value {
        let listed = self.json(&["acquire", "list", "node-a", "--json"]);
        let found = listed["containers"].as_array().unwrap().iter().find(|container| container["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not in {listed}")).clone()
    }

    /// The archive of a container, as `inspect` shows it.
    pub(crate) fn frozen(&self, name: &str) -> Value {
        self.inspect(&self.good(&["acquire", "node-a", name, "-o", "evidence"]))
    }

    /// The archive that was fetched.
    pub(crate) fn inspect(&self, acquired: &str) -> Value {
        self.json(&["inspect", "--all", "--json", acquired.lines().next().unwrap()])
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < until, "{what}: it did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What is compared, by the number inside the container: as `inspect` says it, and as /proc does.
pub(crate) type Processes = BTreeMap<u64, Value>;

pub(crate) fn by_inspect(inspected: &Value) -> Processes {
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
pub(crate) fn pids(container: &str) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        cgroups.lines().any(|line| line.ends_with(&format!("/{container}")))
    })
    .collect()
}

pub(crate) fn by_proc(container: &str) -> Processes {
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

/// By the freezer, whatever an engine says.
pub(crate) fn is_frozen(cgroup: &str, container: &str) -> bool {
    let file = format!("/sys/fs/cgroup/freezer{cgroup}/{container}/freezer.state");
    std::fs::read_to_string(file).is_ok_and(|state| state.trim() == "FROZEN")
}
