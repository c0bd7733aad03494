//! Laying stand-ins ready and running criu.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::Command;

use super::boot::{enter_cgroup, hold_script, make_dir, mount_at, open, read, script, write};
use super::{CONTAINER, EVIDENCE, GuestError, Host, RUN, output};
use crate::sandbox::disk::{FILLS, IMAGES};
use crate::sandbox::plan::{Cgroups, Interface, Netns, RestorePlan, StandIn, Stream, Tcp};
use crate::sandbox::protocol::cut;

use rustix::mount::MountFlags;

/// Directory of criu's log and pid file.
pub(super) const WORK: &str = "/run/cryoscope/criu";
/// Lines of the end of criu's log that are told.
const MAX_LOG_LINES: usize = 60;
/// Name of the made network namespace.
const NETNS: &str = "container";

/// How it went.
pub(super) enum Outcome {
    /// The processes go on; the root one is this.
    Restored {
        pid: u32,
    },
    Failed {
        errors: Vec<String>,
        log: Vec<String>,
    },
}

/// Lets criu do it; afterwards the processes stand still.
pub(super) fn restore(plan: &RestorePlan, host: &Host) -> Result<Outcome, GuestError> {
    make_dir(WORK)?;
    let mut args: Vec<String> = [
        "restore",
        "--images-dir",
        &format!("{EVIDENCE}/{IMAGES}"),
        "--work-dir",
        WORK,
        "--log-file",
        "restore.log",
        "-v3",
        "--root",
        CONTAINER,
        "--restore-detached",
        "--pidfile",
        "pid",
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend(["--action-script".into(), hold_script()?]);
    args.push(format!("--manage-cgroups={}", if plan.cgroups == Cgroups::Ignore { "ignore" } else { "soft" }));
    match plan.tcp {
        Tcp::None => {}
        Tcp::Established => args.push("--tcp-established".into()),
        Tcp::Close => args.push("--tcp-close".into()),
    }
    if plan.file_locks {
        args.push("--file-locks".into());
    }
    if plan.shell_job {
        args.push("--shell-job".into());
    }
    stand_ins(plan, &mut args)?;
    // Kept open until criu has started: a number of a descriptor is what it is told.
    let mut held: Vec<OwnedFd> = Vec::new();
    if let Netns::External { key } = &plan.netns {
        let file = make_netns(&plan.interfaces)?;
        args.extend(["--inherit-fd".into(), format!("fd[{}]:{key}", file.as_raw_fd())]);
        held.push(file.into());
    }
    if plan.netns == Netns::Empty {
        let script = network_script(&plan.interfaces)?;
        args.extend(["--empty-ns".into(), "net".into(), "--action-script".into(), script]);
    }
    for inherit in &plan.inherit_fds {
        // Without CLOEXEC: criu gets them by their numbers.
        let (reader, writer) = rustix::pipe::pipe().map_err(GuestError::file("make", "a pipe"))?;
        let (mine, theirs) = if inherit.stream == Stream::Stdin { (writer, reader) } else { (reader, writer) };
        rustix::io::fcntl_setfd(&mine, rustix::io::FdFlags::CLOEXEC).map_err(GuestError::file("mark", "a pipe"))?;
        args.extend(["--inherit-fd".into(), format!("fd[{}]:{}", theirs.as_raw_fd(), inherit.key)]);
        held.push(theirs);
        output::start(File::from(mine), inherit.stream, host.clone());
    }
    args.extend(plan.more_args.iter().cloned());
    host.stage("restoring");
    enter_cgroup(true)?;
    let status = command("criu").args(&args).status();
    enter_cgroup(false)?;
    drop(held);
    let status = status.map_err(GuestError::file("run", "criu"))?;
    let pid = read(&format!("{WORK}/pid")).ok().and_then(|text| text.trim().parse().ok());
    match (status.success(), pid) {
        (true, Some(pid)) => Ok(Outcome::Restored { pid }),
        _ => {
            let (errors, log) = log("restore.log");
            Ok(Outcome::Failed { errors, log })
        }
    }
}

/// Errors of a log of criu, and its end.
pub(super) fn log(name: &str) -> (Vec<String>, Vec<String>) {
    let text = read(&format!("{WORK}/{name}")).unwrap_or_default();
    // Programs that criu runs say "Error:" of what does not matter.
    let is_error = |line: &&str| line.contains("Error (");
    let errors = text.lines().filter(is_error).take(MAX_LOG_LINES).map(|line| cut(line.to_owned())).collect();
    let mut lines: Vec<String> = text.lines().rev().take(MAX_LOG_LINES).map(|line| cut(line.to_owned())).collect();
    lines.reverse();
    (errors, lines)
}

/// Makes what stands in for mounts of the engine, and fills it.
fn stand_ins(plan: &RestorePlan, args: &mut Vec<String>) -> Result<(), GuestError> {
    let dir = format!("{RUN}/stand-ins");
    mount_at("tmpfs", "stand-ins", &dir, MountFlags::empty(), "mode=755")?;
    for (number, mount) in plan.ext_mounts.iter().enumerate() {
        let own = format!("{dir}/{number}");
        let path = match &mount.stand_in {
            StandIn::EmptyDir => {
                // Of its own each, so that it is a root of a file system as the engine's was.
                mount_at("tmpfs", "stand-in", &own, MountFlags::empty(), "mode=1777")?;
                own
            }
            StandIn::EmptyFile => {
                write(&own, "")?;
                own
            }
            StandIn::File { text } => {
                write(&own, text)?;
                own
            }
            StandIn::DevNull => "/dev/null".to_owned(),
            StandIn::Rootfs { path } => format!("{CONTAINER}{path}"),
        };
        for (at, fill) in plan.fills.iter().enumerate().filter(|(_, fill)| fill.mountpoint == mount.mountpoint) {
            let archive = format!("{EVIDENCE}/{FILLS}/{at}.tar");
            let _ = &fill.member;
            run_program("tar", &["--extract", "--numeric-owner", "--file", &archive, "--directory", &path])?;
        }
        args.extend(["--ext-mount-map".into(), format!("{}:{path}", mount.key)]);
    }
    Ok(())
}

/// A network namespace with a loopback device and interfaces that lead nowhere.
fn make_netns(interfaces: &[Interface]) -> Result<File, GuestError> {
    run_program("ip", &["netns", "add", NETNS])?;
    for words in network_words(interfaces) {
        let all: Vec<&str> = ["-netns", NETNS].into_iter().chain(words).collect();
        run_program("ip", &all)?;
    }
    let file = open(&format!("/run/netns/{NETNS}"))?;
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).map_err(GuestError::file("unmark", "a namespace"))?;
    Ok(file)
}

/// A script that criu runs when it has made an empty network namespace. What the evidence names goes into it quoted.
fn network_script(interfaces: &[Interface]) -> Result<String, GuestError> {
    let quote = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let mut text = format!(
        "#!/bin/sh\n[ \"$CRTOOLS_SCRIPT_ACTION\" = setup-namespaces ] || exit 0\n\
         ip netns attach {NETNS} \"$CRTOOLS_INIT_PID\" || exit 1\n"
    );
    for words in network_words(interfaces) {
        let words: Vec<String> = words.into_iter().map(quote).collect();
        text.push_str(&format!("ip -netns {NETNS} {} || exit 1\n", words.join(" ")));
    }
    script("network", &text)
}

/// What `ip` is told to do in a new network namespace.
fn network_words(interfaces: &[Interface]) -> Vec<Vec<&str>> {
    let mut out = vec![vec!["link", "set", "lo", "up"]];
    for interface in interfaces {
        let name = interface.name.as_str();
        out.push(vec!["link", "add", name, "type", "dummy"]);
        out.extend(
            interface.addresses.iter().map(|address| vec!["address", "add", address.as_str(), "dev", name, "nodad"]),
        );
        out.push(vec!["link", "set", name, "up"]);
    }
    out
}

/// A program of the bundle, with nothing of the agent's environment.
pub(super) fn command(program: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the machine's own programs, inside the machine")]
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/");
    command
}

/// Runs a program of the bundle to its end.
pub(super) fn run_program(program: &str, args: &[&str]) -> Result<(), GuestError> {
    let output = command(program).args(args).output().map_err(GuestError::file("run", program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(GuestError::Program {
        program: program.to_owned(),
        args: args.join(" "),
        status: output.status.to_string(),
        said: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
