//! The agent's own file systems in a container, and what stands in for files that only root of the machine may write.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::mount::{MountFlags, mount_bind};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::cgroup::Bounds;
use super::{confine, leave_old_root, wait_until};
use crate::sandbox::container::{Confinement, Limit};
use crate::sandbox::guest::boot::CGROUPS;
use crate::sandbox::guest::boot::{self, make_dir, mount_at, open, read, write};
use crate::sandbox::guest::restore::run_program;
use crate::sandbox::guest::{GuestError, RUN};

/// What criu writes the names of a UTS namespace to; to the namespace itself only root of the machine may.
const NAMES: [&str; 2] = ["hostname", "domainname"];
/// Memory that stays for the agent.
const KEPT_BYTES: u64 = 64 << 20;
/// Longest name that Linux takes.
const MAX_NAME: usize = 64;

/// What must be there before the agent can speak, and what it must not have any more.
pub(in crate::sandbox::guest) fn early(confinement: &Confinement) -> Result<(), GuestError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(GuestError::file("set", "the death signal"))?;
    let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let memory = format!("mode=1777,size={}", confinement.memory_bytes / 2);
    for (fstype, dir, flags, data) in [
        ("proc", "/proc", plain, ""),
        ("sysfs", "/sys", plain, ""),
        // `ip` mounts it anew for each network, which the kernel lets it do while there is another to be seen.
        ("sysfs", "/cryoscope/sys", plain, ""),
        ("tmpfs", "/run", MountFlags::NOSUID | MountFlags::NODEV, "mode=755,size=256M"),
        ("tmpfs", "/tmp", MountFlags::NOSUID | MountFlags::NODEV, "mode=1777,size=256M"),
        ("devpts", "/dev/pts", MountFlags::NOSUID | MountFlags::NOEXEC, "ptmxmode=666,mode=620,gid=5"),
        ("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV, memory.as_str()),
        ("cgroup2", "/sys/fs/cgroup", plain, ""),
    ] {
        mount_at(fstype, fstype, dir, flags, data)?;
    }
    leave_old_root()?;
    make_dir(RUN)?;
    for name in NAMES {
        let stand_in = stand_in(name);
        write(&stand_in, "")?;
        let path = format!("/proc/sys/kernel/{name}");
        mount_bind(&stand_in, &path).map_err(GuestError::file("bind over", path))?;
    }
    make_cgroups(confinement)?;
    confine::confine(confinement)
}

/// Hierarchies in which the container has a group: that of version 2, and those of version 1 that limit it.
pub(in crate::sandbox::guest) fn hierarchies(confinement: &Confinement) -> Vec<String> {
    let mut out = vec![CGROUPS.to_owned()];
    for limit in confinement.limits.iter().filter(|limit| !limit.hierarchy.is_empty()) {
        let dir = hierarchy(limit);
        if !out.contains(&dir) {
            out.push(dir);
        }
    }
    out
}

fn hierarchy(limit: &Limit) -> String {
    if limit.hierarchy.is_empty() { CGROUPS.to_owned() } else { format!("{RUN}/cgroups/{}", limit.hierarchy.join(",")) }
}

/// Groups for the agent and for the container, which gets a little less than all, so that the agent still speaks when it
/// takes all it can.
fn make_cgroups(confinement: &Confinement) -> Result<(), GuestError> {
    let dirs = hierarchies(confinement);
    for dir in &dirs {
        if dir != CGROUPS {
            let options = dir.rsplit('/').next().unwrap_or_default();
            mount_at("cgroup", "cgroup", dir, MountFlags::NOSUID | MountFlags::NODEV, options)?;
        }
        boot::make_cgroups(dir)?;
    }
    boot::enter_cgroup(&dirs, false)?;
    let bounds = Bounds {
        memory_bytes: confinement.memory_bytes.saturating_sub(KEPT_BYTES).max(KEPT_BYTES),
        cpus: confinement.cpus,
        pids: confinement.max_pids,
    };
    for limit in &confinement.limits {
        let is_version_2 = limit.hierarchy.is_empty();
        if is_version_2 {
            let control = format!("{CGROUPS}/cgroup.subtree_control");
            // Not before the keeper has set the one that entered aside.
            wait_until("limits", || Ok(write(&control, &format!("+{}", limit.controller)).is_ok()))?;
        }
        bounds.set(&Path::new(&hierarchy(limit)).join("container"), &limit.controller, is_version_2)?;
    }
    Ok(())
}

fn stand_in(name: &str) -> String {
    format!("{RUN}/{name}")
}

/// What restoring needs.
pub(in crate::sandbox::guest) fn late(confinement: &Confinement) -> Result<(), GuestError> {
    run_program("ip", &["link", "set", "lo", "up"])?;
    // Attributes of overlays are `user.*` where nobody may write `trusted.*`.
    boot::mount_overlay(&format!("size={}", confinement.memory_bytes), ",userxattr")
}

/// The end of the channel that was handed over as standard input, which is empty from now on.
pub(in crate::sandbox::guest) fn channel() -> Result<File, GuestError> {
    let cannot = || GuestError::file("take", "the channel");
    let channel = std::io::stdin().as_fd().try_clone_to_owned().map_err(cannot())?;
    rustix::stdio::dup2_stdin(open("/dev/null")?).map_err(GuestError::file("empty", "standard input"))?;
    Ok(File::from(channel))
}

/// Gives the container the names that criu wanted to give it.
pub(in crate::sandbox::guest) fn set_host_name(pid: u32) -> Result<(), GuestError> {
    let [host, domain] = NAMES.map(|name| read(&stand_in(name)).unwrap_or_default());
    let uts = open(&format!("/proc/{pid}/ns/uts"))?;
    let work = move || {
        let cannot = || GuestError::file("set", "the host name");
        move_into_link_name_space(uts.as_fd(), Some(LinkNameSpaceType::HostNameAndNISDomainName)).map_err(cannot())?;
        let cut = |name: &str| name.trim_end().bytes().take(MAX_NAME).collect::<Vec<u8>>();
        if !host.is_empty() {
            rustix::system::sethostname(&cut(&host)).map_err(cannot())?;
        }
        if !domain.is_empty() {
            rustix::system::setdomainname(&cut(&domain)).map_err(cannot())?;
        }
        Ok(())
    };
    let thread = std::thread::Builder::new().name("names".into()).spawn(work);
    let ended = |_| GuestError::file("set", "the host name")(std::io::Error::other("a thread panicked"));
    thread.map_err(GuestError::file("start", "a thread"))?.join().map_err(ended)?
}
