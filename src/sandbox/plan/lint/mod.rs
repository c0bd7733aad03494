//! What in the evidence attacks whoever restores it.
//!
//! An archive says what its restorer shall do as root: which paths to remove, which programs to run as hooks, what of the
//! host to mount. Real restorers did as told (podman#27977; CVE-2026-53489, CVE-2026-53492). Cryoscope's own machine does
//! none of it, so a danger is a finding about the archive as well; yet nothing is restored before the analyst has allowed
//! each danger by its id, and the plan keeps what was allowed.
//!
//! | file | looks at |
//! |---|---|
//! | `members` | names, links and devices of the archive and of those inside it, `deleted.files` |
//! | `spec` | hooks, annotations, bind mounts, namespaces and rights of the specification |
//! | `images` | devices and mounts that CRIU itself would make |

mod images;
mod members;
mod spec;

use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;

/// Most dangers of one rule that are listed, and can be allowed.
const MAX_OF_RULE: usize = 200;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The name of a member leads out of the directory that it is unpacked into.
    LeavesTree,
    /// A member is written through a link of the same archive.
    ThroughLink,
    /// One of the engine's own files is a link or a device.
    NotAFile,
    /// A path to be removed leads out of the root file system, or is all of it.
    DeletedFiles,
    /// A device is made that is more than the harmless ones of every container.
    DeviceNode,
    /// Programs of the host are run.
    Hooks,
    /// Devices and mounts of the host are injected by name.
    Cdi,
    /// A part of the host that controls it is mounted.
    BindSource,
    /// CRIU would mount a file system of a device itself.
    DeviceMount,
    /// The container has namespaces or rights of the host.
    HostAccess,
    /// Something that shall isolate the container is not had on this machine.
    NoIsolation,
}

impl Rule {
    /// Every rule, in the order of the report.
    pub const ALL: [Rule; 11] = [
        Rule::LeavesTree,
        Rule::ThroughLink,
        Rule::NotAFile,
        Rule::DeletedFiles,
        Rule::DeviceNode,
        Rule::Hooks,
        Rule::Cdi,
        Rule::BindSource,
        Rule::DeviceMount,
        Rule::HostAccess,
        Rule::NoIsolation,
    ];

    /// The word of ids and of the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Rule::LeavesTree => "leaves-tree",
            Rule::ThroughLink => "through-link",
            Rule::NotAFile => "not-a-file",
            Rule::DeletedFiles => "deleted-files",
            Rule::DeviceNode => "device-node",
            Rule::Hooks => "hooks",
            Rule::Cdi => "cdi",
            Rule::BindSource => "bind-source",
            Rule::DeviceMount => "device-mount",
            Rule::HostAccess => "host-access",
            Rule::NoIsolation => "no-isolation",
        }
    }

    /// What a restorer that does as it is told would do.
    pub fn attack(self) -> &'static str {
        match self {
            Rule::LeavesTree => "unpacking writes outside of the container's directory",
            Rule::ThroughLink => "unpacking writes wherever the link leads, outside of the container's directory too",
            Rule::NotAFile => "opening it as root reads, writes or truncates what the link leads to",
            Rule::DeletedFiles => "removing it as root removes files of the host",
            Rule::DeviceNode => "the device gives access to disks, memory or drivers of the host",
            Rule::Hooks => "the runtime runs these programs on the host, as root",
            Rule::Cdi => "the engine looks the name up and gives devices, mounts and hooks of the host",
            Rule::BindSource => "whoever writes there controls the host",
            Rule::DeviceMount => "CRIU mounts the device as root, and hands what lies on it to the container",
            Rule::HostAccess => "the restored processes reach processes, network or hardware of the host",
            Rule::NoIsolation => "one thing less stands between the restored processes and this machine",
        }
    }

    /// What Cryoscope's own machine or container does with it once it is allowed.
    pub fn here(self, isolation: Isolation) -> &'static str {
        match self {
            Rule::DeviceNode | Rule::DeviceMount if isolation == Isolation::Namespaces => {
                "refused by the kernel: in a user namespace there are no devices"
            }
            Rule::HostAccess if isolation == Isolation::Namespaces => {
                "that of the container, whose kernel is this machine's"
            }
            Rule::NoIsolation => "done without",
            Rule::LeavesTree => "written inside of the root file system, by what remains of its name",
            Rule::ThroughLink => "links are never followed when the disk is made",
            Rule::NotAFile => "not read",
            Rule::DeletedFiles => "removed inside of the root file system only",
            Rule::DeviceNode => "made, and leads to a device of the machine if it has such a one",
            Rule::Hooks | Rule::Cdi => "left out",
            Rule::BindSource => "an empty stand-in",
            Rule::DeviceMount => "mounted if the machine has such a device",
            Rule::HostAccess => "that of the machine",
        }
    }
}

/// What stands between the restored processes and the analyst's machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// A kernel of their own, in a virtual machine.
    Machine,
    /// Namespaces of this kernel.
    Namespaces,
    /// Whatever another engine does.
    Engine,
}

/// One thing that attacks a restorer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Danger {
    /// `RULE@WHERE`, unique; what `--allow` takes.
    pub id: String,
    /// Which rule it breaks.
    pub rule: Rule,
    /// What it is, in words.
    pub what: String,
    /// The analyst allowed it.
    pub allowed: bool,
}

/// Everything found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dangers {
    /// In the order of rules, then as they stand in the evidence.
    pub list: Vec<Danger>,
    /// How many more there are of each rule than are listed; these cannot be allowed.
    pub left_out: Vec<(Rule, usize)>,
}

impl Dangers {
    /// What forbids to restore. Rights of the host do no harm in a machine that is not the host.
    pub fn refusing(&self, isolation: Isolation) -> impl Iterator<Item = &Danger> {
        self.list.iter().filter(move |danger| !danger.allowed && is_refused(danger.rule, isolation))
    }

    /// Whether restoring is refused.
    pub fn is_refused(&self, isolation: Isolation) -> bool {
        self.left_out.iter().any(|(rule, _)| is_refused(*rule, isolation)) || self.refusing(isolation).next().is_some()
    }

    /// Allows dangers by their ids.
    ///
    /// # Errors
    /// The id that no danger has.
    pub fn allow(&mut self, ids: &[String]) -> Result<(), String> {
        for id in ids {
            let danger = self.list.iter_mut().find(|danger| danger.id == *id);
            danger.ok_or_else(|| id.clone())?.allowed = true;
        }
        Ok(())
    }
}

fn is_refused(rule: Rule, isolation: Isolation) -> bool {
    rule != Rule::HostAccess || isolation != Isolation::Machine
}

/// Looks through a checkpoint.
pub fn lint(checkpoint: &Checkpoint) -> Dangers {
    let mut found = Found::default();
    members::look(checkpoint, &mut found);
    spec::look(checkpoint, &mut found);
    images::look(checkpoint, &mut found);
    found.finish()
}

/// Collects, with a bound for each rule.
#[derive(Debug, Default)]
struct Found {
    list: Vec<Danger>,
    counts: [usize; Rule::ALL.len()],
}

impl Found {
    /// `place` is where it stands, which together with the rule makes the id.
    fn add(&mut self, rule: Rule, place: impl std::fmt::Display, what: impl FnOnce() -> String) {
        let Some(count) = self.counts.get_mut(rule as usize) else { return };
        *count += 1;
        if *count <= MAX_OF_RULE {
            let id = format!("{}@{place}", rule.word());
            self.list.push(Danger { id, rule, what: what(), allowed: false });
        }
    }

    fn finish(mut self) -> Dangers {
        self.list.sort_by_key(|danger| danger.rule);
        // The same place twice (a name that an archive has twice) is one to allow.
        let mut seen = std::collections::HashSet::new();
        self.list.retain(|danger| seen.insert(danger.id.clone()));
        let over = |rule: &Rule| self.counts.get(*rule as usize).map_or(0, |count| count.saturating_sub(MAX_OF_RULE));
        let left_out = Rule::ALL.into_iter().map(|rule| (rule, over(&rule))).filter(|(_, count)| *count > 0).collect();
        Dangers { list: self.list, left_out }
    }
}
