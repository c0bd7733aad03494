//! Which processes of this node belong to a container, and whether they are frozen, by /proc and the cgroups alone: what
//! runtimes say about it is wrong just when it matters (containerd calls a container that stayed frozen running).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::disk;

/// Most of one file of /proc.
const MAX_BYTES: u64 = 1 << 20;
/// Most processes that are looked at.
const MAX_PROCESSES: usize = 200_000;

/// Process ids by container id.
pub type ByContainer = BTreeMap<String, Vec<u32>>;

/// Looks at every process of the node once. A container's id is 64 hex digits somewhere in the path of its cgroup.
///
/// # Errors
/// /proc cannot be listed.
pub fn by_container() -> io::Result<ByContainer> {
    let mut found = ByContainer::new();
    for pid in all()? {
        let cgroups = disk::read_named(&proc_file(pid, "cgroup"), MAX_BYTES).unwrap_or_default();
        if let Some(id) = container_id(&String::from_utf8_lossy(&cgroups)) {
            found.entry(id).or_default().push(pid);
        }
    }
    for pids in found.values_mut() {
        pids.sort_unstable();
    }
    Ok(found)
}

/// The processes of one container, its root process first where it can be told.
///
/// # Errors
/// /proc cannot be listed.
pub fn of_container(id: &str) -> io::Result<Vec<u32>> {
    let mut pids = by_container()?.remove(id).unwrap_or_default();
    if let Some(root) = root_of(&pids)
        && let Some(at) = pids.iter().position(|pid| *pid == root)
    {
        pids[..=at].rotate_right(1);
    }
    Ok(pids)
}

/// The process whose parent is not among them; of several the one that is process 1 inside.
pub fn root_of(pids: &[u32]) -> Option<u32> {
    let is_root = |pid: &&u32| parent(**pid).is_some_and(|parent| !pids.contains(&parent));
    let roots: Vec<u32> = pids.iter().filter(is_root).copied().collect();
    roots.iter().copied().find(|pid| pid_inside(*pid) == Some(1)).or(roots.first().copied())
}

/// Its memory in bytes, as far as it lies in memory.
pub fn resident_bytes(pids: &[u32]) -> u64 {
    // In kibibytes: `VmRSS:     1234 kB`.
    let resident = |pid: &u32| status_line(*pid, "VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok();
    pids.iter().filter_map(resident).fold(0_u64, |sum, kib| sum.saturating_add(kib.saturating_mul(1024)))
}

/// Whether a process is stopped by the freezer; `None` when that cannot be found out.
pub fn is_frozen(pid: u32) -> Option<bool> {
    let cgroups = disk::read_named(&proc_file(pid, "cgroup"), MAX_BYTES).ok()?;
    let by_cgroup = freezer_files(&String::from_utf8_lossy(&cgroups)).into_iter().find_map(|(path, frozen)| {
        let text = disk::read_named(&path, MAX_BYTES).ok()?;
        Some(String::from_utf8_lossy(&text).lines().any(|line| line == frozen))
    });
    by_cgroup.or_else(|| {
        let place = disk::read_named(&proc_file(pid, "wchan"), MAX_BYTES).ok()?;
        let place = String::from_utf8_lossy(&place).into_owned();
        (place != "0").then(|| place.contains("freezer") || place.contains("refrigerator"))
    })
}

/// Files that tell of the freezer, with the line that says frozen.
fn freezer_files(cgroups: &str) -> Vec<(PathBuf, &'static str)> {
    let mut found = Vec::new();
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let path = path.trim_start_matches('/');
        if controllers.split(',').any(|name| name == "freezer") {
            found.push((Path::new("/sys/fs/cgroup/freezer").join(path).join("freezer.state"), "FROZEN"));
        } else if controllers.is_empty() {
            found.push((Path::new("/sys/fs/cgroup").join(path).join("cgroup.events"), "frozen 1"));
            found.push((Path::new("/sys/fs/cgroup/unified").join(path).join("cgroup.events"), "frozen 1"));
        }
    }
    // The freezer of version 1 decides where it is mounted.
    found.sort_by_key(|(_, line)| *line);
    found
}

/// The container of a process, by its cgroups; monitors of a container are not in it.
fn container_id(cgroups: &str) -> Option<String> {
    cgroups.lines().flat_map(|line| line.split('/')).filter(|part| !part.contains("conmon")).find_map(|part| {
        let mut runs = part.split(|c: char| !matches!(c, '0'..='9' | 'a'..='f'));
        runs.find(|run| run.len() == 64).map(str::to_owned)
    })
}

fn parent(pid: u32) -> Option<u32> {
    status_line(pid, "PPid:")?.trim().parse().ok()
}

/// Whether this program has a capability in effect.
pub fn has_capability(number: u32) -> bool {
    let effective = status_line(std::process::id(), "CapEff:");
    effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|set| set >> number & 1 == 1)
}

/// Whether a process, or a thread, has ended and was not waited for.
pub fn is_zombie(pid: u32) -> bool {
    status_line(pid, "State:").is_some_and(|state| state.trim_start().starts_with(['Z', 'X']))
}

/// Its number in its own namespace.
pub fn pid_inside(pid: u32) -> Option<u32> {
    status_line(pid, "NSpid:")?.split_whitespace().last()?.parse().ok()
}

fn status_line(pid: u32, name: &str) -> Option<String> {
    let text = disk::read_named(&proc_file(pid, "status"), MAX_BYTES).ok()?;
    String::from_utf8_lossy(&text).lines().find_map(|line| line.strip_prefix(name).map(str::to_owned))
}

#[expect(clippy::disallowed_methods, reason = "/proc is the node's own, not evidence")]
fn all() -> io::Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(MAX_PROCESSES).collect())
}

/// A file of a process.
pub fn proc_file(pid: u32, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_is_told_from_its_monitor_and_from_other_cgroups() {
        let id = "0123456789abcdef".repeat(4);
        for (cgroups, expected) in [
            (format!("6:freezer:/libpod_parent/libpod-{id}\n0::/x"), Some(id.clone())),
            (format!("0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{id}.scope"), Some(id.clone())),
            (format!("1:cpu:/kubepods/burstable/pod1/{id}"), Some(id.clone())),
            (format!("0::/machine.slice/libpod-conmon-{id}.scope"), None),
            (format!("0::/x{}", &id[1..]), None),
            ("0::/user.slice".to_owned(), None),
        ] {
            assert_eq!(container_id(&cgroups), expected, "{cgroups}");
        }
    }

    #[test]
    fn freezer_is_looked_for_where_both_versions_have_it() {
        let files = freezer_files("6:freezer:/a/b\n3:cpu,cpuacct:/a\n0::/c\n");
        let files: Vec<_> = files.iter().map(|(path, line)| (path.to_str().unwrap(), *line)).collect();
        assert_eq!(
            files,
            [
                ("/sys/fs/cgroup/freezer/a/b/freezer.state", "FROZEN"),
                ("/sys/fs/cgroup/c/cgroup.events", "frozen 1"),
                ("/sys/fs/cgroup/unified/c/cgroup.events", "frozen 1"),
            ]
        );
        // The root cgroup cannot be frozen, and does not say so.
        assert_ne!(is_frozen(std::process::id()), Some(true));
    }

    #[test]
    fn processes_of_this_test_have_memory_and_a_parent() {
        let me = std::process::id();
        assert!(resident_bytes(&[me]) > 100_000);
        assert_eq!(root_of(&[me]), Some(me));
        assert!(all().unwrap().contains(&me));
    }
}
