//! Holding a container: the same agent as in the machine, as the first process of namespaces of this kernel.
//!
//! # Processes
//! 1. The keeper (`keep`) is root of this machine. It makes the cgroups and the root file system, starts the next one, and
//!    waits. When its input ends, because the program has ended or wants it to, it kills all, removes the cgroups, and ends.
//! 2. One that enters (`enter`): into a user namespace whose root is nobody on this machine, and from there into all
//!    others. It waits for the agent, and dies with the keeper.
//! 3. The agent, first of its pid namespace, dies with the one that entered. `inside` lays its file systems out.
//!
//! # What criu needs there
//! criu 4.1 runs in a user namespace that it did not make when it is told `--unprivileged`, and when three things
//! stand in for what only root of the machine may do: files for the two sysctls that it writes the host name to (`inside`),
//! and a `tar` that binds devices instead of making them (`tmpfs`). It cannot suspend seccomp of what it restores, nor
//! read filters back; so nothing is frozen again here.

mod cgroup;
mod confine;
mod inside;
mod root;
mod tmpfs;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use rustix::{mount::UnmountFlags, process::pivot_root};

use super::boot::{read, write};
use super::{GuestError, LIBRARIES, LOADER};
use crate::sandbox::container::{CHANNEL, Confinement, DISK, FIRST_ID, INITRD, NR_IDS};
use crate::sandbox::run::FIRST_FD;
use crate::sandbox::sys;

pub(in crate::sandbox) use cgroup::version_2_controllers;
pub(in crate::sandbox) use confine::landlock_ruleset;
pub(super) use inside::{channel, early, hierarchies, late, set_host_name};
pub(super) use tmpfs::tar;

use cgroup::Cgroup;

/// First argument of each.
pub(in crate::sandbox) const KEEP: &str = "keep";
pub(super) const ENTER: &str = "enter";
pub(super) const AGENT: &str = "agent";
/// How long one step of entering may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keeper.
pub(super) fn keep(told: &str) -> Result<(), GuestError> {
    let confinement: Confinement =
        serde_json::from_str(told).map_err(|error| GuestError::file("read", "what the keeper is told")(error))?;
    let file = |number: i32| sys::handed_over(FIRST_FD + number).map_err(GuestError::file("take", "a file"));
    let (initrd, disk, channel): (OwnedFd, OwnedFd, OwnedFd) = (file(INITRD)?, file(DISK)?, file(CHANNEL)?);
    // What is made for the agent it must be able to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let root = root::build(&initrd, &disk)?;
    drop((initrd, disk));
    let cgroup = Cgroup::make(&confinement)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(GuestError::file("become", "the parent of orphans"))?;
    // Killed last when memory runs out; criu sets what each process had. Not every root may.
    let _ = write("/proc/self/oom_score_adj", "-1000");
    let mut child = own_program(&root)
        .args([ENTER, &root.to_string_lossy(), told])
        .stdin(channel)
        .spawn()
        .map_err(GuestError::file("start", "the one that enters"))?;
    let kill = cgroup.killer();
    let is_told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&is_told);
    let entered = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let watch = move || {
        // Nothing is ever written: this returns when the other end is closed.
        let _ = std::io::stdin().read(&mut [0]);
        tell.store(true, Ordering::Relaxed);
        kill();
        // Where cgroups cannot kill: the agent dies with the one that entered.
        if let Some(entered) = entered {
            let _ = rustix::process::kill_process(entered, Signal::KILL);
        }
    };
    let admitted = cgroup.take(child.id()).and_then(|()| admit(child.id())).and_then(|()| {
        wait_until("the cgroup namespace", || differs(child.id(), "cgroup"))?;
        cgroup.set_aside(child.id())
    });
    if admitted.is_err() {
        let _ = child.kill();
    }
    std::thread::Builder::new().name("input".into()).spawn(watch).map_err(GuestError::file("start", "a thread"))?;
    let status = child.wait().map_err(GuestError::file("wait for", "the one that entered"))?;
    // The agent is ours now that its parent is gone; its namespace ends with it.
    while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok_and(|it| it.is_some()) {}
    drop(cgroup);
    admitted?;
    // Killed is how it ends when it shall.
    if is_told.load(Ordering::Relaxed) { Ok(()) } else { ended(status) }
}

/// Says which ids of this machine those of the container are, as soon as its user namespace is there.
fn admit(pid: u32) -> Result<(), GuestError> {
    wait_until("the user namespace", || differs(pid, "user"))?;
    let map = format!("0 {FIRST_ID} {NR_IDS}\n");
    write(format!("/proc/{pid}/gid_map"), &map)?;
    write(format!("/proc/{pid}/uid_map"), &map)
}

/// Whether a process has left one of our namespaces.
fn differs(pid: u32, namespace: &str) -> Result<bool, GuestError> {
    let of = |pid: &str| {
        let path = format!("/proc/{pid}/ns/{namespace}");
        std::fs::read_link(&path).map_err(GuestError::file("look at", path))
    };
    Ok(of(&pid.to_string())? != of("self")?)
}

/// The one that enters.
pub(super) fn enter(root: &str, told: &str) -> Result<(), GuestError> {
    // Whoever has no session of its own inside must not have the analyst's terminal.
    rustix::process::setsid().map_err(GuestError::file("leave", "the session"))?;
    sys::unshare(UnshareFlags::NEWUSER).map_err(GuestError::file("enter", "a user namespace"))?;
    wait_until("ids", || Ok(!read("/proc/self/uid_map")?.is_empty()))?;
    let (uid, gid) = (rustix::process::Uid::ROOT, rustix::process::Gid::ROOT);
    set_thread_groups(&[]).map_err(GuestError::file("leave", "all groups"))?;
    set_thread_res_gid(gid, gid, gid).map_err(GuestError::file("become", "group 0"))?;
    set_thread_res_uid(uid, uid, uid).map_err(GuestError::file("become", "user 0"))?;
    // Not before: another user is another process to the kernel.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(GuestError::file("set", "the death signal"))?;
    let others = [
        UnshareFlags::NEWCGROUP,
        UnshareFlags::NEWNS,
        UnshareFlags::NEWPID,
        UnshareFlags::NEWNET,
        UnshareFlags::NEWIPC,
        UnshareFlags::NEWUTS,
    ];
    sys::unshare(others.into_iter().collect()).map_err(GuestError::file("enter", "namespaces"))?;
    // What was mounted outside cannot be moved; a copy can.
    rustix::mount::mount_bind_recursive(root, root).map_err(GuestError::file("bind", root))?;
    std::env::set_current_dir(root).map_err(GuestError::file("enter", root))?;
    pivot_root(".", root::OLD).map_err(GuestError::file("change the root to", root))?;
    std::env::set_current_dir("/").map_err(GuestError::file("enter", "/"))?;
    let mut agent = own_program(Path::new("/"));
    let mut child = agent.args([AGENT, told]).spawn().map_err(GuestError::file("start", "the agent"))?;
    ended(child.wait().map_err(GuestError::file("wait for", "the agent"))?)
}

/// The agent's program by the loader beside it, which works under the root of this machine as well.
fn own_program(root: &Path) -> Command {
    let loader = root.join(LOADER);
    let mut command = if loader.exists() {
        let mut command = super::restore::command(&loader.to_string_lossy());
        command.arg("--library-path").arg(root.join(LIBRARIES)).arg(root.join("init"));
        command
    } else {
        super::restore::command(&root.join("init").to_string_lossy())
    };
    command.stdin(Stdio::inherit());
    command
}

fn ended(status: ExitStatus) -> Result<(), GuestError> {
    if status.success() {
        return Ok(());
    }
    Err(GuestError::file("hold", "the container")(std::io::Error::other(status.to_string())))
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool, GuestError>) -> Result<(), GuestError> {
    let until = Instant::now() + PATIENCE;
    while !is_so()? {
        if until < Instant::now() {
            return Err(GuestError::file("wait for", what)(std::io::Error::from(std::io::ErrorKind::TimedOut)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Takes the old root away; all that is in it goes out of sight.
fn leave_old_root() -> Result<(), GuestError> {
    let old = format!("/{}", root::OLD);
    rustix::mount::unmount(&old, UnmountFlags::DETACH).map_err(GuestError::file("unmount", old))
}
