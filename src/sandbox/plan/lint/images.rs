//! Devices and mounts that CRIU itself makes when it restores.

use std::collections::HashSet;

use crate::checkpoint::recovered::Source;
use crate::checkpoint::{Checkpoint, Mount};
use crate::evidence::MemberKind;

use super::{Found, Rule};

const S_IFMT: u32 = 0o170_000;
const S_IFCHR: u32 = 0o020_000;
const S_IFBLK: u32 = 0o060_000;

pub(super) fn look(checkpoint: &Checkpoint, found: &mut Found) {
    // A deleted file is made again, whatever its type is.
    for file in checkpoint.recovered.iter().filter(|file| file.source == Source::Ghost) {
        let kind = match file.mode.map(|mode| mode & S_IFMT) {
            Some(S_IFCHR) => MemberKind::CharDevice { major: 0, minor: 0 },
            Some(S_IFBLK) => MemberKind::BlockDevice { major: 0, minor: 0 },
            _ => continue,
        };
        found.add(Rule::DeviceNode, &file.place, || format!("{} is made as a {}", file.path.label(), kind.name()));
    }
    // Further mounts of what the runtime hands in are bound from there, not mounted from a device.
    let is_handed_in = |mount: &&Mount| mount.external_key.is_some() || mount.depth == 0;
    let handed_in: HashSet<(u32, u32)> = checkpoint.mounts.iter().filter(is_handed_in).map(|mount| mount.dev).collect();
    for mount in &checkpoint.mounts {
        if mount.source.as_bytes().starts_with(b"/dev/") && !handed_in.contains(&mount.dev) {
            let fstype = mount.fstype.as_ref().map_or_else(|| "unknown".to_owned(), |fstype| fstype.label());
            found.add(Rule::DeviceMount, &mount.place, || {
                format!("{} with {fstype} on {}", mount.source.label(), mount.mountpoint.label())
            });
        }
    }
}
