//! Mounts of every mount namespace.

use crate::base::{MntId, NsId, Place, Text};

/// One mount.
#[derive(Clone, Debug)]
pub struct Mount {
    /// As in mountinfo.
    pub mnt_id: MntId,
    /// Its parent; the root's lies outside the container.
    pub parent_mnt_id: MntId,
    /// Namespace it belongs to.
    pub ns_id: NsId,
    /// Where it is mounted.
    pub mountpoint: Text,
    /// The subtree of the file system that is mounted.
    pub root: Text,
    /// File system type (`overlay`, `tmpfs`); `None` when CRIU records that it does not know it.
    pub fstype: Option<Text>,
    /// Device or source.
    pub source: Text,
    /// Options of the super block, as CRIU keeps them.
    pub options: Text,
    /// `MS_` flags of the mount.
    pub flags: u32,
    /// `MS_` flags of the super block.
    pub sb_flags: Option<u32>,
    /// Device, as `major:minor`.
    pub dev: (u32, u32),
    /// Peer group it shares with.
    pub shared_id: Option<u32>,
    /// Peer group it is a slave of.
    pub master_id: Option<u32>,
    /// Name by which the runtime hands it in at restore.
    pub external_key: Option<Text>,
    /// Its root was unlinked.
    pub is_deleted: bool,
    /// Distance from the root mount.
    pub depth: u32,
    /// Base name of the image with its content (tmpfs), if there is one.
    pub content_img: Option<String>,
    /// Where it is recorded.
    pub place: Place,
}

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::base::Issue;
use crate::decode::schema;

use super::images::Images;

/// Names of CRIU's own numbers for file systems; 0 and 16 are told by other fields.
const FSTYPES: [(u32, &str); 19] = [
    (1, "proc"),
    (2, "sysfs"),
    (3, "devtmpfs"),
    (4, "binfmt_misc"),
    (5, "tmpfs"),
    (6, "devpts"),
    (7, "simfs"),
    (8, "pstore"),
    (9, "securityfs"),
    (10, "fusectl"),
    (11, "debugfs"),
    (12, "cgroup"),
    (13, "aufs"),
    (14, "mqueue"),
    (15, "fuse"),
    (17, "overlay"),
    (18, "autofs"),
    (19, "tracefs"),
    (23, "cgroup2"),
];

/// Mounts of all namespaces, a parent before its children, whatever order the images have (CRIU
/// writes children first). Cycles and duplicate ids become issues, and the mounts are kept.
pub(super) fn mounts(images: &Images, has_member: &dyn Fn(&str) -> bool, issues: &mut Vec<Issue>) -> Vec<Mount> {
    let mut out = Vec::new();
    for (ns_id, records) in &images.mounts {
        let ns_id = NsId(u32::try_from(*ns_id).unwrap_or_default());
        let mut by_id: HashMap<u32, usize> = HashMap::new();
        let mut mounts: Vec<Mount> = Vec::new();
        for record in &records.records {
            let mount = mount(&record.value, ns_id, records.place(record), has_member);
            match by_id.entry(mount.mnt_id.0) {
                Entry::Vacant(free) => {
                    free.insert(mounts.len());
                }
                Entry::Occupied(_) => {
                    issues.push(Issue::new(mount.place.clone(), format!("mount id {} was already used", mount.mnt_id)));
                }
            }
            mounts.push(mount);
        }
        order(mounts, &by_id, issues, &mut out);
    }
    out
}

fn order(mounts: Vec<Mount>, by_id: &HashMap<u32, usize>, issues: &mut Vec<Issue>, out: &mut Vec<Mount>) {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); mounts.len()];
    let mut roots = Vec::new();
    for (at, mount) in mounts.iter().enumerate() {
        match by_id.get(&mount.parent_mnt_id.0) {
            Some(parent) if *parent != at => children[*parent].push(at),
            _ => roots.push(at),
        }
    }
    for siblings in &mut children {
        siblings.sort_by(|a, b| mounts[*a].mountpoint.cmp(&mounts[*b].mountpoint));
    }
    let mut listed = HashSet::new();
    let mut ordered: Vec<(usize, u32)> = Vec::with_capacity(mounts.len());
    let mut next = 0;
    loop {
        let mut stack: Vec<(usize, u32)> = roots.drain(..).rev().map(|root| (root, 0)).collect();
        while let Some((at, depth)) = stack.pop() {
            if listed.insert(at) {
                ordered.push((at, depth));
                stack.extend(children[at].iter().rev().map(|child| (*child, depth.saturating_add(1))));
            }
        }
        while listed.contains(&next) {
            next += 1;
        }
        let Some(mount) = mounts.get(next) else { break };
        issues.push(Issue::new(mount.place.clone(), format!("mount {} is its own ancestor", mount.mnt_id)));
        roots.push(next);
    }
    let mut mounts: Vec<Option<Mount>> = mounts.into_iter().map(Some).collect();
    for (at, depth) in ordered {
        if let Some(mut mount) = mounts.get_mut(at).and_then(Option::take) {
            mount.depth = depth;
            out.push(mount);
        }
    }
}

fn mount(entry: &schema::MntEntry, ns_id: NsId, place: Place, has_member: &dyn Fn(&str) -> bool) -> Mount {
    let fstype = match entry.fstype {
        16 => entry.fsname.clone().map(Text),
        number => FSTYPES.iter().find(|(known, _)| *known == number).map(|(_, name)| Text::from(*name)),
    };
    let nonzero = |id: Option<u32>| id.filter(|id| *id != 0);
    // Private tmpfs and devtmpfs are packed under the number of their device.
    let content_img =
        [format!("tmpfs-dev-{}.tar.gz.img", entry.root_dev), format!("tmpfs-{}.tar.gz.img", entry.mnt_id)]
            .into_iter()
            .find(|name| has_member(name));
    Mount {
        mnt_id: MntId(entry.mnt_id),
        parent_mnt_id: MntId(entry.parent_mnt_id),
        ns_id,
        mountpoint: Text(entry.mountpoint.clone()),
        root: Text(entry.root.clone()),
        fstype,
        source: Text(entry.source.clone()),
        options: Text(entry.options.clone()),
        flags: entry.flags,
        sb_flags: entry.sb_flags,
        dev: (entry.root_dev >> 20, entry.root_dev & 0xf_ffff),
        shared_id: nonzero(entry.shared_id),
        master_id: nonzero(entry.master_id),
        external_key: entry.ext_key.clone().map(Text),
        is_deleted: entry.deleted.unwrap_or_default(),
        depth: 0,
        content_img,
        place,
    }
}

impl Mount {
    /// Flags of the mount as mountinfo spells them (`ro,nosuid,nodev`).
    pub fn flag_names(&self) -> String {
        let names = [
            (0x2, "nosuid"),
            (0x4, "nodev"),
            (0x8, "noexec"),
            (0x400, "noatime"),
            (0x800, "nodiratime"),
            (0x20_0000, "relatime"),
        ];
        let mut out = vec![if self.flags & 1 == 0 { "rw" } else { "ro" }];
        out.extend(names.iter().filter(|(bit, _)| self.flags & bit != 0).map(|(_, name)| *name));
        out.join(",")
    }
}
