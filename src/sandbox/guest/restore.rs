//! Laying stand-ins ready and running criu.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::boot::{enter_cgroup, hold_script, make_dir, mount_at, open, read, script, write};
use super::{CONTAINER, EVIDENCE, GUEST_TAR, GuestError, Holder, Host, RUN, Start, output, sink};
use crate::sandbox::disk::{FILLS, IMAGES};
use crate::sandbox::plan::{Cgroups, Interface, Netns, RestorePlan, SinkPlan, StandIn, Stream, Tcp};
use crate::sandbox::protocol::cut;
use crate::sandbox::watched::Watching;

use rustix::mount::MountFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Directory of criu's log and pid file.
pub(super) const WORK: &str = "/run/cryoscope/criu";
/// Lines of the end of criu's log that are told.
const MAX_LOG_LINES: usize = 60;
/// Where programs of the bundle are.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
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
pub(super) fn restore(plan: &RestorePlan, holder: &Holder, host: &Host) -> Result<Outcome, GuestError> {
    make_dir(WORK)?;
    let hierarchies = holder.hierarchies();
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
    args.extend(["--action-script".into(), hold_script(&hierarchies)?]);
    args.push(format!("--manage-cgroups={}", if plan.cgroups == Cgroups::Ignore { "ignore" } else { "soft" }));
    match plan.tcp {
        Tcp::None => {}
        Tcp::Established => args.push("--tcp-established".into()),
        Tcp::Close => args.push("--tcp-close".into()),
    }
    if holder.is_container() {
        args.push("--unprivileged".into());
    }
    if plan.file_locks {
        args.push("--file-locks".into());
    }
    if plan.shell_job {
        args.push("--shell-job".into());
    }
    stand_ins(plan, holder, &mut args)?;
    // Kept open until criu has started: a number of a descriptor is what it is told.
    let mut held: Vec<OwnedFd> = Vec::new();
    if plan.sink.is_some() {
        sink::make_netns()?;
    }
    if let (Netns::Machine, Some(sink)) = (&plan.netns, &plan.sink) {
        ip_batch(None, &sink_words(sink))?;
    }
    if let Netns::External { key } = &plan.netns {
        let file = make_netns(plan, holder)?;
        args.extend(["--inherit-fd".into(), format!("fd[{}]:{key}", file.as_raw_fd())]);
        held.push(file.into());
    }
    if plan.netns == Netns::Empty {
        let script = network_script(plan, holder)?;
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
    let mut criu = command("criu");
    criu.args(&args);
    if holder.is_container() {
        let own = format!("/{}", GUEST_TAR.trim_end_matches("/tar"));
        criu.env("PATH", format!("{own}:{PATH}"));
    }
    enter_cgroup(&hierarchies, true)?;
    let child = criu.spawn();
    let status = child.and_then(wait);
    enter_cgroup(&hierarchies, false)?;
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

/// Waits for criu. One of the processes that cannot become what it was says so in the log and ends; criu waits for it for
/// ever, so it is ended then.
fn wait(mut criu: Child) -> std::io::Result<ExitStatus> {
    const INTERVAL: Duration = Duration::from_millis(10);
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut hopeless: Option<Instant> = None;
    let mut looked = Instant::now();
    loop {
        if let Some(status) = criu.try_wait()? {
            return Ok(status);
        }
        if hopeless.is_some_and(|since| since.elapsed() > PATIENCE) {
            criu.kill()?;
            return criu.wait();
        }
        if looked.elapsed() > PATIENCE && hopeless.is_none() {
            let is_restorer = |line: &String| line.contains("pie: ");
            hopeless = log("restore.log").0.iter().any(is_restorer).then(Instant::now);
            looked = Instant::now();
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Joins the restored processes with the sink, and lets it answer.
pub(super) fn join_sink(
    plan: &RestorePlan,
    watching: &Watching,
    pid: u32,
    start: &Start,
    host: &Host,
) -> Result<(), GuestError> {
    let Some(sink) = &plan.sink else { return Ok(()) };
    host.stage("joining the sink");
    if plan.netns == Netns::InImages {
        run_program("ip", &["netns", "attach", NETNS, &pid.to_string()])?;
        ip_batch(Some(NETNS), &sink_words(sink))?;
    }
    sink::start(sink, watching.packets, start, host)
}

/// Takes away the rules that criu held the network still with while it dumped: where they are nft's they are in the
/// images, and criu, which looks for those of iptables-legacy, leaves them.
pub(super) fn unlock_network(pid: u32) -> Result<(), GuestError> {
    let netns = open(&format!("/proc/{pid}/ns/net"))?;
    let work = move || {
        let entered = move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network));
        entered.map_err(GuestError::file("enter the network of", "the container"))?;
        for family in ["ip", "ip6"] {
            // Mostly there are none.
            let _ = run_program("nft", &["flush", "chain", family, "filter", "CRIU"]);
        }
        Ok(())
    };
    let thread = std::thread::Builder::new().name("unlock".into()).spawn(work);
    let ended = |_| GuestError::file("unlock", "the network")(std::io::Error::other("a thread panicked"));
    thread.map_err(GuestError::file("start", "a thread"))?.join().map_err(ended)?
}

/// Tells `ip` several things at once. No word holds white space.
pub(super) fn ip_batch(netns: Option<&str>, lines: &[Vec<String>]) -> Result<(), GuestError> {
    let text: String = lines.iter().map(|words| format!("{}\n", words.join(" "))).collect();
    let path = format!("{RUN}/ip-batch");
    write(&path, &text)?;
    let netns = netns.iter().flat_map(|netns| ["-netns", netns]);
    let args: Vec<&str> = netns.chain(["-batch", path.as_str()]).collect();
    run_program("ip", &args)
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
fn stand_ins(plan: &RestorePlan, holder: &Holder, args: &mut Vec<String>) -> Result<(), GuestError> {
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
            // A device of the machine keeps the flags that it is mounted with, and criu sets those that there were.
            StandIn::DevNull if holder.is_container() => {
                write(&own, "")?;
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
fn make_netns(plan: &RestorePlan, holder: &Holder) -> Result<File, GuestError> {
    run_program("ip", &["netns", "add", NETNS])?;
    for words in network_words(plan, holder) {
        let all: Vec<String> = ["-netns", NETNS].map(str::to_owned).into_iter().chain(words).collect();
        run_program("ip", &all)?;
    }
    let file = open(&format!("/run/netns/{NETNS}"))?;
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).map_err(GuestError::file("unmark", "a namespace"))?;
    Ok(file)
}

/// A script that criu runs when it has made an empty network namespace. What the evidence names goes into it quoted.
fn network_script(plan: &RestorePlan, holder: &Holder) -> Result<String, GuestError> {
    let quote = |word: String| format!("'{}'", word.replace('\'', r"'\''"));
    let mut text = format!(
        "#!/bin/sh\n[ \"$CRTOOLS_SCRIPT_ACTION\" = setup-namespaces ] || exit 0\n\
         ip netns attach {NETNS} \"$CRTOOLS_INIT_PID\" || exit 1\n"
    );
    for words in network_words(plan, holder) {
        let words: Vec<String> = words.into_iter().map(quote).collect();
        text.push_str(&format!("ip -netns {NETNS} {} || exit 1\n", words.join(" ")));
    }
    script("network", &text)
}

/// What `ip` is told to do in a new network namespace.
fn network_words(plan: &RestorePlan, holder: &Holder) -> Vec<Vec<String>> {
    let mut out = vec![words("link set lo up")];
    let leads_to_sink = |interface: &Interface| plan.sink.as_ref().is_some_and(|sink| sink.interface == interface.name);
    for (number, interface) in plan.interfaces.iter().filter(|interface| !leads_to_sink(interface)).enumerate() {
        let name = interface.name.as_str();
        // Kernels of this machine need not have dummies; the other end is the agent's, and nothing is there.
        let kind = if holder.is_container() {
            format!("type veth peer name end{number} netns 1")
        } else {
            "type dummy".to_owned()
        };
        out.push(named("link add", name, &kind));
        for address in &interface.addresses {
            out.push([words("address add"), vec![address.clone()], named("dev", name, "nodad")].concat());
        }
        out.push(named("link set", name, "up"));
    }
    out.extend(plan.sink.iter().flat_map(sink_words));
    out
}

/// What `ip` is told to do for the container's end of the sink's link.
fn sink_words(sink: &SinkPlan) -> Vec<Vec<String>> {
    let name = sink.interface.as_str();
    let mac = sink.mac.iter().flat_map(|mac| ["address".to_owned(), mac.clone()]).collect::<Vec<_>>();
    let peer = format!("type veth peer name {} netns {}", sink::INTERFACE, sink::NETNS);
    let mut out = vec![[named("link add", name, ""), mac, words(&peer)].concat()];
    for link in &sink.links {
        let own = format!("{}/{}", link.own, link.prefix);
        out.push([words("address add"), vec![own], named("dev", name, "nodad")].concat());
    }
    out.push(named("link set", name, "up"));
    for link in &sink.links {
        let via = format!("route replace default via {} dev", link.gateway);
        // The gateway may be outside of the prefix.
        out.push(named(&via, name, "onlink"));
    }
    out
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Words before and after a name of the evidence, which is one word whatever it holds.
fn named(before: &str, name: &str, after: &str) -> Vec<String> {
    [words(before), vec![name.to_owned()], words(after)].concat()
}

/// A program of the bundle, with nothing of the agent's environment.
pub(super) fn command(program: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the machine's own programs, inside the machine")]
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH).env("HOME", "/").stdin(Stdio::null());
    command
}

/// Runs a program of the bundle to its end.
pub(super) fn run_program<S: AsRef<str>>(program: &str, args: &[S]) -> Result<(), GuestError> {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    let output = command(program).args(&args).output().map_err(GuestError::file("run", program))?;
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
