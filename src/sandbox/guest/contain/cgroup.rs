//! The container's cgroups: one of version 2, which holds its processes together and stops them, and those of version 1
//! whose limits this machine gives.
//!
//! They are reached over mounts of our own that have no place, so that it does not matter where, or whether, this
//! machine has mounted them.

use std::fs;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsmount, fsopen};

use crate::sandbox::container::{Confinement, FIRST_ID, Limit};
use crate::sandbox::guest::GuestError;
use crate::sandbox::guest::boot::{list, read, write};

/// Begins the name of each; the keeper's pid follows.
const PREFIX: &str = "cryoscope-sandbox-";
/// Processes and threads that the agent may have on top of the container's.
const AGENT_PIDS: u32 = 200;
/// How long processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// Deepest cgroup that is removed: processes may make some below theirs.
const MAX_DEPTH: usize = 32;

/// The cgroups of one container. Dropped, what is in them is killed, and they are removed.
#[derive(Debug)]
pub(super) struct Cgroup {
    /// The first is that of version 2.
    dirs: Vec<PathBuf>,
    /// The mounts that `dirs` are in.
    _mounts: Vec<OwnedFd>,
}

impl Cgroup {
    pub(super) fn make(confinement: &Confinement) -> Result<Cgroup, GuestError> {
        let mut made = Cgroup { dirs: Vec::new(), _mounts: Vec::new() };
        made.add("cgroup2", &[])?;
        let unified = made.dirs[0].clone();
        let bounds = Bounds {
            memory_bytes: confinement.memory_bytes,
            cpus: confinement.cpus,
            pids: confinement.max_pids.saturating_add(AGENT_PIDS),
        };
        // Two controllers may share one.
        let mut hierarchies: Vec<(&Vec<String>, PathBuf)> = Vec::new();
        for Limit { controller, hierarchy } in &confinement.limits {
            if hierarchy.is_empty() {
                // Mostly it is there already.
                let control = unified.with_file_name("cgroup.subtree_control");
                write(control, &format!("+{controller}"))?;
            }
            let dir = match hierarchies.iter().find(|(known, _)| *known == hierarchy) {
                Some((_, dir)) => dir.clone(),
                None if hierarchy.is_empty() => unified.clone(),
                None => made.add("cgroup", hierarchy)?,
            };
            bounds.set(&dir, controller, hierarchy.is_empty())?;
            hierarchies.push((hierarchy, dir));
        }
        // The agent makes groups below and limits them more; these limits are not among what it gets.
        for dir in &made.dirs {
            for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
                let path = dir.join(file);
                if path.exists() {
                    give(&path)?;
                }
            }
        }
        let agents = made.agents();
        fs::create_dir(&agents).map_err(GuestError::file("make the cgroup", &agents))?;
        give(&agents)?;
        give(&agents.join("cgroup.procs"))?;
        Ok(made)
    }

    /// Mounts a hierarchy, clears away what keepers that were killed have left there, and makes our own.
    fn add(&mut self, fstype: &str, controllers: &[String]) -> Result<PathBuf, GuestError> {
        let cannot = || GuestError::file("mount", format!("{fstype} {}", controllers.join(",")));
        let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC).map_err(cannot())?;
        for controller in controllers {
            match controller.strip_prefix("name=") {
                Some(name) => rustix::mount::fsconfig_set_string(&context, "name", name).map_err(cannot())?,
                None => fsconfig_set_flag(&context, controller.as_str()).map_err(cannot())?,
            }
        }
        fsconfig_create(&context).map_err(cannot())?;
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(cannot())?;
        let root = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        for name in list(&root.to_string_lossy())? {
            let pid = name.strip_prefix(PREFIX).and_then(|pid| pid.parse::<u32>().ok());
            if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
                remove(&root.join(name), 0);
            }
        }
        let dir = root.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&dir).map_err(GuestError::file("make the cgroup", &dir))?;
        self.dirs.push(dir.clone());
        self._mounts.push(mount);
        Ok(dir)
    }

    /// Takes a process in; what it starts is in, too.
    pub(super) fn take(&self, pid: u32) -> Result<(), GuestError> {
        self.dirs.iter().try_for_each(|dir| write(dir.join("cgroup.procs"), &pid.to_string()))
    }

    /// Where processes are that are not of the container.
    fn agents(&self) -> PathBuf {
        self.dirs[0].join("agent")
    }

    /// Takes one away from the root of its cgroup namespace: only then that can limit what is below.
    pub(super) fn set_aside(&self, pid: u32) -> Result<(), GuestError> {
        write(self.agents().join("cgroup.procs"), &pid.to_string())
    }

    /// How another thread kills everything inside.
    pub(super) fn killer(&self) -> impl Fn() + Send + use<> {
        let file = self.dirs[0].join("cgroup.kill");
        // Kernels before 5.14 do not have it.
        move || drop(write(&file, "1"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if !self.dirs.is_empty() {
            self.killer()();
        }
        let until = Instant::now() + PATIENCE;
        while self.dirs.iter().any(|dir| !remove(dir, 0)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Removes a cgroup and those in it; whether it is gone.
fn remove(dir: &Path, depth: usize) -> bool {
    if depth < MAX_DEPTH {
        for name in list(&dir.to_string_lossy()).unwrap_or_default() {
            let path = dir.join(name);
            if path.is_dir() {
                remove(&path, depth + 1);
            }
        }
    }
    fs::remove_dir(dir).is_ok() || !dir.exists()
}

/// Gives a file to root of the container.
fn give(path: &Path) -> Result<(), GuestError> {
    std::os::unix::fs::chown(path, Some(FIRST_ID), Some(FIRST_ID)).map_err(GuestError::file("give away", path))
}

/// Limits of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) memory_bytes: u64,
    pub(super) cpus: u32,
    pub(super) pids: u32,
}

impl Bounds {
    /// Sets the one of a controller.
    pub(super) fn set(self, dir: &Path, controller: &str, is_version_2: bool) -> Result<(), GuestError> {
        const PERIOD_US: u64 = 100_000;
        let set = |file: &str, value: &str| write(dir.join(file), value);
        let memory = self.memory_bytes.to_string();
        let quota = u64::from(self.cpus).saturating_mul(PERIOD_US);
        match (controller, is_version_2) {
            ("pids", _) => set("pids.max", &self.pids.to_string()),
            ("memory", true) => {
                // Not on machines without swap.
                let _ = set("memory.swap.max", "0");
                set("memory.max", &memory)
            }
            ("memory", false) => {
                set("memory.limit_in_bytes", &memory)?;
                // Of memory and swap together; not there where swap is not accounted.
                let _ = set("memory.memsw.limit_in_bytes", &memory);
                Ok(())
            }
            ("cpu", true) => set("cpu.max", &format!("{quota} {PERIOD_US}")),
            ("cpu", false) => {
                set("cpu.cfs_period_us", &PERIOD_US.to_string())?;
                set("cpu.cfs_quota_us", &quota.to_string())
            }
            _ => Ok(()),
        }
    }
}

/// Controllers that the hierarchy of version 2 has.
pub(in crate::sandbox) fn version_2_controllers() -> Option<String> {
    let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC).ok()?;
    fsconfig_create(&context).ok()?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).ok()?;
    read(&format!("/proc/self/fd/{}/cgroup.controllers", mount.as_raw_fd())).ok()
}
