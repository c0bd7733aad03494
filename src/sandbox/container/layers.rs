//! What isolates a container, and what of it this machine has.

use serde::Serialize;

use super::cgroups::{self, CONTROLLERS, Limit};
use crate::sandbox::guest::contain;
use crate::sandbox::plan::{Danger, Rule};
use crate::sandbox::run::MachineError;

/// Namespaces by their names in /proc, each with what it keeps apart.
const NAMESPACES: [(&str, &str); 7] = [
    ("user", "root inside is nobody on this machine"),
    ("pid", "no process of this machine is seen"),
    ("net", "no network device but its own"),
    ("mnt", "no file system of this machine is seen"),
    ("ipc", "no shared memory or queue of this machine"),
    ("uts", "a host name of its own"),
    ("cgroup", "no cgroup of this machine is seen"),
];

/// One thing that isolates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// `user-namespace`, `memory-limit`.
    pub id: String,
    /// What it does.
    pub what: String,
    /// Why it cannot be had here; `None` where it is.
    pub missing: Option<String>,
    /// Without it nothing runs, whatever is allowed.
    pub is_essential: bool,
}

/// What a machine has, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The program has all rights of root that are needed.
    pub is_root: bool,
    /// Namespaces that cannot be made, with why.
    pub no_namespaces: Vec<(&'static str, String)>,
    /// File systems of the kernel that are missing.
    pub no_file_systems: Vec<&'static str>,
    /// Limits that can be set.
    pub limits: Vec<Limit>,
    /// System calls can be filtered.
    pub has_seccomp: bool,
    /// Landlock keeps signals and abstract sockets apart (from Linux 6.12 on).
    pub has_landlock: bool,
}

impl Facts {
    /// Those of this machine.
    pub fn probe() -> Facts {
        let read = |path: &str| {
            #[expect(clippy::disallowed_methods, reason = "what the kernel of this machine has")]
            std::fs::read_to_string(path).unwrap_or_default()
        };
        let file_systems = read("/proc/filesystems");
        let is_there = |name: &&str| file_systems.lines().any(|line| line.split('\t').next_back() == Some(*name));
        let no_namespaces = NAMESPACES.iter().filter_map(|(name, _)| {
            if !std::path::Path::new("/proc/self/ns").join(name).exists() {
                return Some((*name, "the kernel has none".to_owned()));
            }
            let bound = format!("/proc/sys/user/max_{name}_namespaces");
            (read(&bound).trim() == "0").then(|| (*name, format!("{bound} is 0")))
        });
        let is_root = is_root(&read("/proc/self/status"));
        let version_2 = if is_root { contain::version_2_controllers() } else { None };
        Facts {
            is_root,
            no_namespaces: no_namespaces.collect(),
            no_file_systems: ["erofs", "overlay", "tmpfs", "cgroup2"].into_iter().filter(|it| !is_there(it)).collect(),
            limits: cgroups::limits(&read("/proc/self/cgroup"), &version_2.unwrap_or_default()),
            has_seccomp: read("/proc/sys/kernel/seccomp/actions_avail").contains("errno"),
            has_landlock: contain::landlock_ruleset().is_ok(),
        }
    }
}

/// User 0, with the capabilities that the keeper uses: `CHOWN`, `KILL`, `SETGID`, `SETUID`, `SYS_ADMIN`.
fn is_root(status: &str) -> bool {
    const NEEDED: u64 = 1 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 21;
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let user = value("Uid:").and_then(|ids| ids.split_ascii_whitespace().nth(1));
    let capabilities = value("CapEff:").and_then(|set| u64::from_str_radix(set, 16).ok());
    user == Some("0") && capabilities.is_some_and(|set| set & NEEDED == NEEDED)
}

/// Everything that isolates, in the order in which it is shown.
pub fn layers(facts: &Facts) -> Vec<Layer> {
    let layer = |id: String, what: &str, missing: Option<String>, is_essential| Layer {
        id,
        what: what.to_owned(),
        missing,
        is_essential,
    };
    let no_root = "it takes root of this machine to make it: run the program with sudo";
    let mut out = vec![layer(
        "root".into(),
        "the keeper makes all of this as root, and none of what runs inside is",
        (!facts.is_root).then(|| no_root.to_owned()),
        true,
    )];
    for (name, what) in NAMESPACES {
        let missing = facts.no_namespaces.iter().find(|(missing, _)| *missing == name).map(|(_, why)| why.clone());
        let word = if name == "mnt" { "mount" } else { name };
        out.push(layer(format!("{word}-namespace"), what, missing, true));
    }
    let no_file_systems = (!facts.no_file_systems.is_empty())
        .then(|| format!("the kernel has not loaded {}: try modprobe", facts.no_file_systems.join(", ")));
    let what = "root file system and images on a read-only disk, changes in memory";
    out.push(layer("disk".into(), what, no_file_systems, true));
    for (controller, what) in CONTROLLERS {
        let has = facts.limits.iter().any(|limit| limit.controller == controller);
        let id = format!("{}-limit", if controller == "pids" { "process" } else { controller });
        let missing = (!has).then(|| format!("no cgroup limits {what} here"));
        // Who is not root of this machine cannot look.
        out.push(layer(id, &format!("a cgroup limits {what}"), missing.filter(|_| facts.is_root), false));
    }
    let what = "system calls that reach far into the kernel fail";
    out.push(layer("seccomp".into(), what, (!facts.has_seccomp).then(|| "the kernel has no filters".into()), false));
    let what = "signals, tracing and abstract sockets stay inside; files cannot be ruled, since criu mounts";
    let missing = (!facts.has_landlock).then(|| "Landlock is not enabled, or older than Linux 6.12".to_owned());
    out.push(layer("landlock".into(), what, missing, false));
    out
}

/// Refuses where something is missing that cannot be done without.
///
/// # Errors
/// What is missing.
pub fn essential(layers: &[Layer]) -> Result<(), MachineError> {
    let missing = layers.iter().filter(|layer| layer.is_essential);
    let missing: Vec<String> =
        missing.filter_map(|layer| Some(format!("{} ({})", layer.id, layer.missing.as_ref()?))).collect();
    if missing.is_empty() { Ok(()) } else { Err(MachineError::NoContainer { what: missing.join("; ") }) }
}

/// What is missing and may be allowed, item by item.
pub fn dangers(layers: &[Layer]) -> Vec<Danger> {
    let missing = layers.iter().filter(|layer| !layer.is_essential);
    let danger = |layer: &Layer| {
        let why = layer.missing.as_ref()?;
        let id = format!("{}@{}", Rule::NoIsolation.word(), layer.id);
        let what = format!("not had on this machine: {}; {why}", layer.what);
        Some(Danger { id, rule: Rule::NoIsolation, what, allowed: false })
    };
    missing.filter_map(danger).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::plan::{Dangers, Isolation};

    fn all() -> Facts {
        let limit = |controller: &str| Limit { controller: controller.into(), hierarchy: Vec::new() };
        Facts {
            is_root: true,
            limits: ["memory", "pids", "cpu"].map(limit).to_vec(),
            has_seccomp: true,
            has_landlock: true,
            ..Facts::default()
        }
    }

    #[test]
    fn what_is_missing_and_cannot_be_done_without_is_a_refusal_with_the_reason() {
        assert!(essential(&layers(&all())).is_ok());
        assert!(dangers(&layers(&all())).is_empty());
        let refused = |facts: &Facts| essential(&layers(facts)).unwrap_err().to_string();
        assert!(refused(&Facts { is_root: false, ..all() }).contains("sudo"));
        let why = "/proc/sys/user/max_user_namespaces is 0";
        let error = refused(&Facts { no_namespaces: vec![("user", why.into())], ..all() });
        assert!(error.contains("user-namespace (/proc/sys/user/max_user_namespaces is 0)"), "{error}");
        assert!(error.contains("--backend microvm"), "{error}");
        assert!(refused(&Facts { no_file_systems: vec!["erofs"], ..all() }).contains("modprobe"));
    }

    #[test]
    fn what_can_be_done_without_must_be_allowed_item_by_item() {
        let facts = Facts { has_seccomp: false, limits: Vec::new(), ..all() };
        assert!(essential(&layers(&facts)).is_ok());
        let mut dangers = Dangers { list: dangers(&layers(&facts)), left_out: Vec::new() };
        let ids: Vec<String> = dangers.list.iter().map(|danger| danger.id.clone()).collect();
        let expected = ["memory-limit", "process-limit", "cpu-limit", "seccomp"];
        assert_eq!(ids, expected.map(|id| format!("no-isolation@{id}")));
        for id in ids {
            assert!(dangers.is_refused(Isolation::Namespaces));
            dangers.allow(&[id]).unwrap();
        }
        assert!(!dangers.is_refused(Isolation::Namespaces));
    }

    #[test]
    fn root_without_rights_is_none() {
        let status = |uid: u32, set: &str| format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{set}\n");
        assert!(is_root(&status(0, "000001fffeffffff")));
        assert!(!is_root(&status(0, "00000000a80425fb")));
        assert!(!is_root(&status(1000, "000001ffffffffff")));
        assert!(!is_root(""));
    }
}
