//! Making a machine out of a kernel: mounts, modules, the disk.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount, mount_bind, mount_move};

use super::restore::run_program;
use super::{CONTAINER, EVIDENCE, GuestError, Host, RUN, modules};
use crate::sandbox::disk::ROOTFS;
use crate::sandbox::protocol::PORT;

/// Cgroup of everything that is restored, and that of the agent.
const CGROUP: &str = "/sys/fs/cgroup/container";
/// Where cgroups are; each hierarchy has `container` and `agent`.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";

/// Processes and threads that the container may have.
const MAX_PIDS: &str = "20000";
/// Memory that stays for the agent and the kernel.
const KEPT_BYTES: u64 = 96 << 20;

/// What must be there before the agent can speak: file systems of the kernel, and a root that criu can leave.
pub(super) fn early() -> Result<(), GuestError> {
    leave_initramfs()?;
    let plain = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for (fstype, dir, flags, data) in [
        ("proc", "/proc", plain, ""),
        ("sysfs", "/sys", plain, ""),
        ("devtmpfs", "/dev", MountFlags::NOSUID, "mode=755"),
        ("tmpfs", "/run", MountFlags::NOSUID | MountFlags::NODEV, "mode=755"),
        ("tmpfs", "/tmp", MountFlags::NOSUID | MountFlags::NODEV, "mode=1777"),
        ("devpts", "/dev/pts", MountFlags::NOSUID, "ptmxmode=666,mode=620,gid=5"),
        ("tmpfs", "/dev/shm", MountFlags::NOSUID | MountFlags::NODEV, "mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", plain, ""),
    ] {
        mount_at(fstype, fstype, dir, flags, data)?;
    }
    make_dir(RUN)?;
    make_cgroups(CGROUPS)?;
    enter_cgroup(&[CGROUPS.to_owned()], false)?;
    limit_container()
}

pub(super) fn make_cgroups(hierarchy: &str) -> Result<(), GuestError> {
    ["container", "agent"].iter().try_for_each(|name| make_dir(&format!("{hierarchy}/{name}")))
}

/// What the processes may take, so that the agent still speaks when they take all they can.
fn limit_container() -> Result<(), GuestError> {
    write("/sys/fs/cgroup/cgroup.subtree_control", "+pids +memory +cpu")?;
    write(format!("{CGROUP}/pids.max"), MAX_PIDS)?;
    let kib = |text: &str| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    let total = read("/proc/meminfo")?.lines().find(|line| line.starts_with("MemTotal:")).and_then(kib);
    let bytes = total.unwrap_or_default().saturating_mul(1024).saturating_sub(KEPT_BYTES);
    write(format!("{CGROUP}/memory.max"), &bytes.max(KEPT_BYTES).to_string())
}

/// The first root (initramfs) is no mount that pivot_root can leave: bound onto itself and moved over, it is one.
fn leave_initramfs() -> Result<(), GuestError> {
    make_dir("/newroot")?;
    mount_bind("/", "/newroot").map_err(GuestError::file("bind", "/newroot"))?;
    std::env::set_current_dir("/newroot").map_err(GuestError::file("enter", "/newroot"))?;
    mount_move(".", "/").map_err(GuestError::file("move over /", "/newroot"))?;
    rustix::process::chroot(".").map_err(GuestError::file("change the root to", "/newroot"))?;
    std::env::set_current_dir("/").map_err(GuestError::file("enter", "/"))
}

/// What restoring needs.
pub(super) fn late(host: &Host) -> Result<(), GuestError> {
    for group in ["disk", "criu"] {
        modules::load_group(group, host)?;
    }
    run_program("ip", &["link", "set", "lo", "up"])?;
    // criu gives the processes their old pids.
    write("/proc/sys/kernel/pid_max", "4194304")?;
    mount_at("erofs", "/dev/vda", EVIDENCE, MountFlags::RDONLY | MountFlags::NOSUID, "")?;
    mount_overlay("size=100%", "")
}

/// Lays a writable layer of memory over the disk.
pub(super) fn mount_overlay(size: &str, options: &str) -> Result<(), GuestError> {
    let layers = format!("{RUN}/layers");
    mount_at("tmpfs", "layers", &layers, MountFlags::empty(), &format!("mode=755,{size}"))?;
    for dir in ["upper", "work"] {
        make_dir(&format!("{layers}/{dir}"))?;
    }
    copy_mode(&format!("{EVIDENCE}/{ROOTFS}"), &format!("{layers}/upper"))?;
    let data = format!("lowerdir={EVIDENCE}/{ROOTFS},upperdir={layers}/upper,workdir={layers}/work{options}");
    mount_at("overlay", "overlay", CONTAINER, MountFlags::empty(), &data)
}

/// Root of an overlay has the attributes of its upper directory.
fn copy_mode(from: &str, to: &str) -> Result<(), GuestError> {
    let data = fs::metadata(from).map_err(GuestError::file("look at", from))?;
    fs::set_permissions(to, data.permissions()).map_err(GuestError::file("change the mode of", to))
}

/// The port of the channel, found by its name.
pub(super) fn open_port() -> Result<File, GuestError> {
    let dir = "/sys/class/virtio-ports";
    for entry in list(dir)? {
        let name = read(&format!("{dir}/{entry}/name")).unwrap_or_default();
        if name.trim() == PORT {
            let path = format!("/dev/{entry}");
            let file = OpenOptions::new().read(true).write(true).open(&path);
            return file.map_err(GuestError::file("open", path));
        }
    }
    Err(GuestError::NoPort)
}

/// Stops all restored processes where they are, or lets them go on.
pub(super) fn freeze_cgroup(is_frozen: bool) -> Result<(), GuestError> {
    /// Processes in the middle of a call of the kernel stop at its end.
    const PATIENCE: Duration = Duration::from_secs(2);
    write(format!("{CGROUP}/cgroup.freeze"), if is_frozen { "1" } else { "0" })?;
    let since = Instant::now();
    while is_frozen && since.elapsed() < PATIENCE && !read(&format!("{CGROUP}/cgroup.events"))?.contains("frozen 1") {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A script for criu: when all is restored and nothing goes on yet, the container's cgroup is stopped. criu
/// and the agent, which are in it, leave it before that: they are the parents of the script.
pub(super) fn hold_script(hierarchies: &[String]) -> Result<String, GuestError> {
    let leave: String =
        hierarchies.iter().map(|dir| format!("echo \"$pid\" > {dir}/agent/cgroup.procs || exit 1\n")).collect();
    let text = format!(
        "#!/bin/sh\n[ \"$CRTOOLS_SCRIPT_ACTION\" = pre-resume ] || exit 0\n\
         pid=$$\n\
         while [ \"$pid\" -gt 0 ]; do\n\
         {leave}\
         read -r own comm state pid rest < \"/proc/$pid/stat\" || exit 1\n\
         done\n\
         echo 1 > {CGROUP}/cgroup.freeze\n"
    );
    script("hold", &text)
}

/// Writes a program of `sh`.
pub(super) fn script(name: &str, text: &str) -> Result<String, GuestError> {
    let path = format!("{RUN}/{name}");
    write(&path, text)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&path, mode).map_err(GuestError::file("change the mode of", &path))?;
    Ok(path)
}

/// Moves the agent, and so what it starts, into the container's cgroup or out of it.
pub(super) fn enter_cgroup(hierarchies: &[String], is_inside: bool) -> Result<(), GuestError> {
    let name = if is_inside { "container" } else { "agent" };
    hierarchies.iter().try_for_each(|dir| write(format!("{dir}/{name}/cgroup.procs"), "1"))
}

/// Processes of the container, in the machine's numbers.
pub(super) fn pids() -> Vec<u32> {
    let list = read(&format!("{CGROUP}/cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<u32> = list.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 1).collect();
    pids.sort_unstable();
    pids
}

/// Threads of the container, in the machine's numbers.
pub(super) fn tids() -> Vec<u32> {
    let list = read(&format!("{CGROUP}/cgroup.threads")).unwrap_or_default();
    list.lines().filter_map(|line| line.parse().ok()).filter(|tid| *tid != 1).collect()
}

pub(super) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

pub(super) fn uptime_ms() -> u64 {
    let text = read("/proc/uptime").unwrap_or_default();
    let seconds = text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    seconds.map_or(0, |seconds| (seconds * 1000.0) as u64)
}

pub(super) fn mount_at(fstype: &str, source: &str, dir: &str, flags: MountFlags, data: &str) -> Result<(), GuestError> {
    make_dir(dir)?;
    let data = std::ffi::CString::new(data).unwrap_or_default();
    mount(source, dir, fstype, flags, data.as_c_str()).map_err(GuestError::file("mount", dir))
}

pub(super) fn make_dir(path: &str) -> Result<(), GuestError> {
    fs::create_dir_all(path).map_err(GuestError::file("make the directory", path))
}

pub(super) fn write(path: impl AsRef<Path>, text: &str) -> Result<(), GuestError> {
    #[expect(clippy::disallowed_methods, reason = "the machine's own files")]
    fs::write(&path, text).map_err(GuestError::file("write", &path))
}

pub(super) fn read(path: &str) -> Result<String, GuestError> {
    #[expect(clippy::disallowed_methods, reason = "the machine's own files")]
    let bytes = fs::read(path).map_err(GuestError::file("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub(super) fn open(path: &str) -> Result<File, GuestError> {
    #[expect(clippy::disallowed_methods, reason = "the machine's own files")]
    File::open(path).map_err(GuestError::file("open", path))
}

pub(super) fn list(path: &str) -> Result<Vec<String>, GuestError> {
    #[expect(clippy::disallowed_methods, reason = "the machine's own files")]
    let entries = fs::read_dir(path).map_err(GuestError::file("list", path))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}
