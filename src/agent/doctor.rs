//! What makes checkpoints fail on this node, found out before the incident, and how to mend it.
//!
//! In a pod the node's files are looked at through process 1 (`hostPID`), and `criu check` is not run.
#![expect(
    clippy::disallowed_methods,
    reason = "the node is looked at, and `criu check` is the one program that is started"
)]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::acquire::wire::{ContainerState, Source, SourceKind};

use super::config::{self, SourcesConfig};
use super::sources::{Sources, cure, docker_errors};
use super::{disk, processes};

const MAX_FILE_BYTES: u64 = 4 << 20;
const CRIU_DEADLINE: Duration = Duration::from_secs(60);
/// What the kernel must have been built with for criu.
const KERNEL_OPTIONS: [&str; 12] = [
    "CONFIG_CHECKPOINT_RESTORE",
    "CONFIG_NAMESPACES",
    "CONFIG_PID_NS",
    "CONFIG_NET_NS",
    "CONFIG_FHANDLE",
    "CONFIG_EVENTFD",
    "CONFIG_EPOLL",
    "CONFIG_UNIX_DIAG",
    "CONFIG_INET_DIAG",
    "CONFIG_INET_UDP_DIAG",
    "CONFIG_PACKET_DIAG",
    "CONFIG_NETLINK_DIAG",
];

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Fine,
    /// Some checkpoints will fail.
    Weak,
    /// Checkpoints fail.
    Missing,
    /// It cannot be found out from here.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub found: String,
    /// How to mend it.
    pub mend: Option<String>,
}

fn check(name: &'static str, state: State, found: impl Into<String>, mend: &str) -> Check {
    let mend = (state != State::Fine && !mend.is_empty()).then(|| mend.to_owned());
    Check { name, state, found: found.into(), mend }
}

/// Where the node's files are.
pub fn host_root() -> PathBuf {
    let in_pod = Path::new(config::SERVICE_ACCOUNT).exists();
    PathBuf::from(if in_pod { "/proc/1/root" } else { "/" })
}

/// Looks at everything.
pub async fn examine(sources: &SourcesConfig, spool: &Path, reserve_bytes: u64, host: &Path) -> Vec<Check> {
    let mut found = vec![rights()];
    found.extend(criu(host));
    found.push(kernel(host));
    found.push(libcriu(host));
    found.extend(criu_configuration(host));
    found.extend(crio_configuration(host));
    found.extend(asked(sources, host).await);
    found.push(room(spool, reserve_bytes));
    found
}

fn rights() -> Check {
    if !rustix::process::geteuid().is_root() {
        return check(
            "rights",
            State::Missing,
            "not run as root",
            "run the agent as root: sockets of runtimes and /proc need it",
        );
    }
    const CAP_DAC_READ_SEARCH: u32 = 2;
    const CAP_SYS_PTRACE: u32 = 19;
    if ![CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE].into_iter().all(processes::has_capability) {
        let mend = "give the agent the capabilities SYS_PTRACE and DAC_READ_SEARCH";
        return check("rights", State::Weak, "root, without the right to read other processes", mend);
    }
    check("rights", State::Fine, "root, with the right to read other processes", "")
}

fn criu_path(host: &Path) -> Option<PathBuf> {
    let places = ["usr/sbin/criu", "usr/bin/criu", "usr/local/sbin/criu", "usr/local/bin/criu", "sbin/criu"];
    places.iter().map(|place| host.join(place)).find(|path| path.exists())
}

fn criu(host: &Path) -> Vec<Check> {
    if !host.join("usr").exists() {
        let found = format!("the node's files cannot be seen at {}", host.display());
        let mend = "in a pod: hostPID and the capability SYS_PTRACE; --host-root names another place";
        return vec![check("criu", State::Unknown, found, mend)];
    }
    let Some(path) = criu_path(host) else {
        let mend = "install the package criu (3.16 or newer) on the node; without it only a collection by way of /proc is possible";
        return vec![check("criu", State::Missing, "no criu in /usr/sbin, /usr/bin or /usr/local", mend)];
    };
    if host != Path::new("/") {
        let found = format!("{} is there; it is not run from within a pod", path.display());
        return vec![
            check("criu", State::Fine, found, ""),
            check("criu check", State::Unknown, "not run", "run `criu check` on the node"),
        ];
    }
    let version = run(&path, "--version");
    let version = version.as_ref().map_or("no version", |(_, text)| text.lines().next().unwrap_or_default());
    let mut found = vec![check("criu", State::Fine, format!("{} {version}", path.display()), "")];
    found.push(match run(&path, "check") {
        Some((true, text)) if text.contains("Looks good") => check("criu check", State::Fine, "Looks good.", ""),
        Some((_, text)) => {
            let lines: Vec<&str> =
                text.lines().filter(|line| line.contains("Error") || line.contains("Warn")).collect();
            let said = if lines.is_empty() { text.trim().to_owned() } else { lines.join("; ") };
            let mend = "criu and this kernel do not fit: what it says names the feature; a newer criu often helps";
            check("criu check", State::Missing, said.chars().take(800).collect::<String>(), mend)
        }
        None => check(
            "criu check",
            State::Missing,
            "criu could not be run, or did not end within a minute",
            "run `criu check` by hand",
        ),
    });
    found
}

/// Whether a program ended well, and what it said.
fn run(program: &Path, argument: &str) -> Option<(bool, String)> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let until = Instant::now() + CRIU_DEADLINE;
    let status = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if until <= Instant::now() => {
                let _ended_meanwhile = child.kill();
                let _reaped = child.wait();
                return None;
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut text = String::new();
    let _not_text = child.stdout.take()?.take(MAX_FILE_BYTES).read_to_string(&mut text);
    let _not_text = child.stderr.take()?.take(MAX_FILE_BYTES).read_to_string(&mut text);
    Some((status.success(), text))
}

fn kernel(host: &Path) -> Check {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let configuration = kernel_configuration(host, &release);
    match configuration {
        Some(text) => {
            let is_on =
                |option: &&str| text.lines().any(|line| line == format!("{option}=y") || line == format!("{option}=m"));
            let off: Vec<&str> = KERNEL_OPTIONS.into_iter().filter(|option| !is_on(option)).collect();
            let mend = "use a kernel that is built with these options";
            match off.contains(&"CONFIG_CHECKPOINT_RESTORE") {
                true => check("kernel", State::Missing, format!("{release} is built without {}", off.join(", ")), mend),
                false if off.is_empty() => check("kernel", State::Fine, format!("{release} has what criu needs"), ""),
                false => check("kernel", State::Weak, format!("{release} is built without {}", off.join(", ")), mend),
            }
        }
        // These files are there only with CONFIG_CHECKPOINT_RESTORE and CONFIG_PROC_CHILDREN.
        None if Path::new("/proc/self/task").join(std::process::id().to_string()).join("children").exists() => check(
            "kernel",
            State::Fine,
            format!("{release}: its configuration is not shown, /proc has what criu needs"),
            "",
        ),
        None => check(
            "kernel",
            State::Missing,
            format!("{release}: /proc has no list of children"),
            "use a kernel built with CONFIG_CHECKPOINT_RESTORE",
        ),
    }
}

fn kernel_configuration(host: &Path, release: &str) -> Option<String> {
    if let Ok(bytes) = disk::read_named(&host.join(format!("boot/config-{release}")), MAX_FILE_BYTES) {
        return Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    let packed = disk::read_named(Path::new("/proc/config.gz"), MAX_FILE_BYTES).ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed.as_slice()).take(MAX_FILE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn libcriu(host: &Path) -> Check {
    let has = |path: &str| host.join(path).exists();
    if !has("usr/bin/crun") && !has("usr/local/bin/crun") {
        return check("libcriu", State::Fine, "not needed: there is no crun", "");
    }
    let dirs = ["usr/lib64", "usr/lib", "usr/local/lib", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu"];
    let found = dirs.iter().map(|dir| host.join(dir).join("libcriu.so.2")).find(|path| path.exists());
    match found {
        Some(path) => check("libcriu", State::Fine, path.display().to_string(), ""),
        None => check(
            "libcriu",
            State::Missing,
            "crun is there, libcriu.so.2 is not",
            "install the package libcriu2 (criu-libs), without which crun makes no checkpoints",
        ),
    }
}

/// crun reads crun.conf if it is there, else runc.conf; default.conf has no effect with it.
fn criu_configuration(host: &Path) -> Vec<Check> {
    let read = |name: &str| {
        let bytes = disk::read_named(&host.join("etc/criu").join(name), MAX_FILE_BYTES).ok()?;
        Some((format!("/etc/criu/{name}"), String::from_utf8_lossy(&bytes).into_owned()))
    };
    let files: Vec<(String, String)> = match read("crun.conf") {
        Some(crun) => [Some(crun), read("runc.conf")].into_iter().flatten().collect(),
        None => read("runc.conf").into_iter().collect(),
    };
    let options = [
        ("tcp-established", State::Weak, "a container with an open TCP connection cannot be dumped"),
        ("skip-in-flight", State::Weak, "somebody who connects during the freeze spoils the dump"),
        (
            "ghost-limit",
            State::Weak,
            "a container with a deleted file of more than 1 MiB in use cannot be dumped: malware that deletes its own program",
        ),
        ("file-locks", State::Weak, "a container with file locks cannot be dumped, except by CRI-O, which asks for it"),
    ];
    let mut found = Vec::new();
    for (option, state, without) in options {
        let lacks: Vec<&str> =
            files.iter().filter(|(_, text)| !has_option(text, option)).map(|(name, _)| name.as_str()).collect();
        let mend = match option {
            "ghost-limit" => "add the line `ghost-limit 1073741824` to /etc/criu/runc.conf (and to crun.conf, if there is one); it holds at once".to_owned(),
            _ => format!("add the line `{option}` to /etc/criu/runc.conf (and to crun.conf, if there is one); it holds at once"),
        };
        found.push(match (files.is_empty(), lacks.is_empty()) {
            (false, true) => check(option, State::Fine, "set", ""),
            (true, _) => check(option, state, format!("not set: {without}"), &mend),
            (false, false) => check(option, state, format!("not set in {}: {without}", lacks.join(", ")), &mend),
        });
    }
    found
}

fn has_option(text: &str, option: &str) -> bool {
    let words = |line: &str| line.split('#').next().unwrap_or_default().trim().trim_start_matches("--").to_owned();
    text.lines().any(|line| words(line).split([' ', '=', '\t']).next() == Some(option))
}

fn crio_configuration(host: &Path) -> Option<Check> {
    let dir = host.join("etc/crio");
    let mut files = vec![dir.join("crio.conf")];
    let more = fs::read_dir(dir.join("crio.conf.d")).into_iter().flatten().flatten();
    let mut more: Vec<PathBuf> = more.take(1000).map(|entry| entry.path()).collect();
    more.sort();
    files.extend(more);
    let texts: Vec<String> = files
        .iter()
        .filter_map(|path| disk::read_named(path, MAX_FILE_BYTES).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .collect();
    if texts.is_empty() {
        return None;
    }
    let set =
        texts.iter().flat_map(|text| text.lines()).rfind(|line| line.trim_start().starts_with("enable_criu_support"));
    let is_off = set.is_some_and(|line| line.split('#').next().unwrap_or_default().contains("false"));
    Some(if is_off {
        check(
            "cri-o",
            State::Missing,
            "enable_criu_support = false",
            "set it to true in /etc/crio/crio.conf.d, and restart CRI-O",
        )
    } else {
        check("cri-o", State::Fine, "enable_criu_support is on", "")
    })
}

/// Docker, by what it says of itself. Where somebody else makes checkpoints, it alone makes none.
fn docker(said: &Source, has_other: bool, has_criu: bool) -> Check {
    let Source { address, version, problem, .. } = said;
    let lacking = if has_other { State::Weak } else { State::Missing };
    match (version, problem) {
        (None, problem) => {
            let problem = problem.as_deref().unwrap_or("does not answer");
            check("docker", lacking, format!("{address}: {problem}"), "see what it says")
        }
        (Some(version), Some(_)) => {
            let found = format!("{address}: {version}, its experimental features are off: it makes no checkpoints");
            check("docker", lacking, found, docker_errors::MEND)
        }
        (Some(version), None) if !has_criu => {
            let found = format!("{address}: {version}, experimental, and without criu: it makes no checkpoints");
            check("docker", lacking, found, "install the package criu; Docker need not be restarted")
        }
        (Some(version), None) => {
            check("docker", State::Fine, format!("{address}: {version}, experimental: it makes checkpoints"), "")
        }
    }
}

/// One whose socket is not where the agent looks: in a pod it must be mounted.
fn docker_out_of_reach(socket: &Path, host: &Path) -> Option<Check> {
    let is_on_node = host.join("run/docker.sock").exists();
    is_on_node.then(|| {
        let found = format!("Docker runs on this node, and there is no socket {}", socket.display());
        let mend = "mount /run/docker.sock into the pod, or say by --docker where it is; `--docker none` leaves it out";
        check("docker", State::Weak, found, mend)
    })
}

async fn asked(config: &SourcesConfig, host: &Path) -> Vec<Check> {
    let sources = match Sources::new(config) {
        Ok(sources) => sources,
        Err(error) => return vec![check("sources", State::Missing, format!("{error:#}"), "correct the option")],
    };
    let mut found = Vec::new();
    let described = sources.describe().await;
    let others = described.iter().filter(|source| !matches!(source.kind, SourceKind::Docker | SourceKind::Proc));
    let has_other = others.into_iter().any(|source| source.ready);
    for source in described.into_iter().filter(|source| source.kind != SourceKind::Proc) {
        if source.kind == SourceKind::Docker {
            found.push(docker(&source, has_other, criu_path(host).is_some()));
            continue;
        }
        let state = if source.ready { State::Fine } else { State::Missing };
        let said = source.problem.or(source.version).unwrap_or_else(|| "answers".to_owned());
        found.push(check("source", state, format!("{}: {said}", source.address), "see what it says"));
    }
    if let Some(socket) = config.docker.as_ref().filter(|socket| !socket.exists()) {
        found.extend(docker_out_of_reach(socket, host));
    }
    let frozen = sources.containers().await.containers.into_iter().filter(|one| one.state == ContainerState::Frozen);
    found.extend(frozen.map(|one| {
        let said = format!("{} ({:.12}) is frozen, whatever its runtime says", one.name, one.id);
        check("frozen container", State::Weak, said, &cure(&one))
    }));
    if let Some(kubelet) = &sources.kubelet {
        found.push(match kubelet.may_checkpoint().await {
            Ok(()) => check("checkpoint endpoint", State::Fine, "the kubelet has it, and lets us", ""),
            Err(failure) => {
                let is_known = matches!(failure.problem.code.as_str(), "checkpoint-gate-off" | "kubelet-forbidden");
                let state = if is_known { State::Missing } else { State::Unknown };
                check("checkpoint endpoint", state, failure.to_string(), failure.problem.hint.as_deref().unwrap_or(""))
            }
        });
        found.push(directory(kubelet.checkpoints()));
    }
    if found.is_empty() {
        let mend = "name one: --kubelet-url, --cri, --podman, --docker; Podman's socket comes with `systemctl enable --now podman.socket`";
        let what = "there is no kubelet, no CRI-O, no containerd, no Podman and no Docker";
        found.push(check("source", State::Missing, what, mend));
    }
    found
}

/// The kubelet never deletes an archive.
fn directory(path: &Path) -> Check {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries.flatten().take(100_000),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return check("kubelet's archives", State::Fine, format!("{}: none was made yet", path.display()), "");
        }
        Err(error) => {
            let mend = "in a pod mount the directory at the same path";
            return check("kubelet's archives", State::Missing, format!("{}: {error}", path.display()), mend);
        }
    };
    let sizes: Vec<u64> = entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect();
    let found = format!(
        "{}: {} files, {} MiB; the kubelet never deletes them",
        path.display(),
        sizes.len(),
        sizes.iter().sum::<u64>() >> 20
    );
    check("kubelet's archives", State::Fine, found, "")
}

fn room(spool: &Path, reserve_bytes: u64) -> Check {
    let place = spool.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(place) {
        Ok(found) => {
            let free = found.f_bavail.saturating_mul(found.f_frsize);
            let text = format!(
                "{} MiB are free at {}, {} MiB are left free whatever happens",
                free >> 20,
                spool.display(),
                reserve_bytes >> 20
            );
            let state = if free <= reserve_bytes { State::Missing } else { State::Fine };
            check("room", state, text, "make room on the node's disk, or lower --reserve")
        }
        Err(error) => check("room", State::Unknown, format!("{}: {error}", spool.display()), ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn machine_without_criu_is_told_so() {
        let unseen = host(&[]);
        assert_eq!(criu(unseen.path())[0].state, State::Unknown, "as in a pod that may not look");
        let host = host(&[("usr/bin/true", "")]);
        let found = criu(host.path());
        assert_eq!((found.len(), found[0].state), (1, State::Missing));
        assert!(found[0].mend.as_ref().unwrap().contains("install the package criu"));
        assert_eq!(libcriu(host.path()).state, State::Fine);
    }

    #[test]
    fn options_of_criu_count_where_the_runtime_reads_them() {
        let states = |files: &[(&str, &str)]| {
            let host = host(files);
            criu_configuration(host.path()).into_iter().map(|check| check.state).collect::<Vec<_>>()
        };
        use State::{Fine, Weak};
        assert_eq!(states(&[]), [Weak; 4]);
        assert_eq!(states(&[("etc/criu/default.conf", "tcp-established")]), [Weak; 4], "it has no effect");
        let all = "tcp-established\n--skip-in-flight # x\nghost-limit=1073741824\nfile-locks\n";
        assert_eq!(states(&[("etc/criu/runc.conf", all)]), [Fine; 4]);
        assert_eq!(states(&[("etc/criu/runc.conf", all), ("etc/criu/crun.conf", "# tcp-established")]), [Weak; 4]);
        assert_eq!(states(&[("etc/criu/runc.conf", "tcp-established\n")]), [Fine, Weak, Weak, Weak]);
    }

    #[test]
    fn kernel_and_crio_are_read_from_their_configuration() {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let config = format!("boot/config-{release}");
        let all: String = KERNEL_OPTIONS.iter().map(|option| format!("{option}=y\n")).collect();
        assert_eq!(kernel(host(&[(&config, &all)]).path()).state, State::Fine);
        assert_eq!(kernel(host(&[(&config, &all.replace("CONFIG_UNIX_DIAG=y", ""))]).path()).state, State::Weak);
        let without = all.replace("CONFIG_CHECKPOINT_RESTORE=y", "# CONFIG_CHECKPOINT_RESTORE is not set");
        assert_eq!(kernel(host(&[(&config, &without)]).path()).state, State::Missing);
        let crio =
            |text| crio_configuration(host(&[("etc/crio/crio.conf.d/10.conf", text)]).path()).map(|check| check.state);
        assert_eq!(crio("[crio.runtime]\nenable_criu_support = false\n"), Some(State::Missing));
        assert_eq!(crio("#enable_criu_support = false\n"), Some(State::Fine));
        assert_eq!(crio_configuration(host(&[]).path()), None);
    }

    #[test]
    fn docker_makes_checkpoints_when_it_is_experimental_and_has_criu() {
        let said = |version: Option<&str>, problem: Option<&str>| Source {
            kind: SourceKind::Docker,
            address: "/run/docker.sock".to_owned(),
            version: version.map(str::to_owned),
            ready: problem.is_none(),
            problem: problem.map(str::to_owned),
        };
        assert_eq!(docker(&said(Some("docker 28"), None), false, true).state, State::Fine);
        let off = said(Some("docker 28"), Some("off"));
        for (has_other, state) in [(false, State::Missing), (true, State::Weak)] {
            let told = docker(&off, has_other, true);
            assert!(told.state == state && told.mend.unwrap().contains("daemon.json"));
            assert_eq!(docker(&said(Some("docker 28"), None), has_other, false).state, state);
            assert_eq!(docker(&said(None, Some("does not answer")), has_other, true).state, state);
        }
    }

    #[test]
    fn docker_whose_socket_is_not_in_the_pod_is_told_of() {
        let socket = Path::new("/run/docker.sock");
        assert_eq!(docker_out_of_reach(socket, host(&[]).path()), None);
        assert!(docker_out_of_reach(socket, host(&[("run/docker.sock", "")]).path()).unwrap().state == State::Weak);
    }

    #[test]
    fn program_that_hangs_or_fails_is_no_good() {
        assert_eq!(run(Path::new("/bin/false"), "check").map(|(is_good, _)| is_good), Some(false));
        assert_eq!(run(Path::new("/nothing"), "check"), None);
    }
}
