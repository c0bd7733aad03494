//! Names, links and devices of the archive and of those inside it; `deleted.files`.

use std::collections::{HashMap, HashSet};

use crate::base::escape;
use crate::checkpoint::recovered::Content;
use crate::checkpoint::{Checkpoint, RecoveredFile};
use crate::evidence::{Evidence, Form, Member, MemberKind};

use super::{Found, Rule};

/// Character devices that every container has: null, zero, full, random, urandom; tty, console, ptmx.
const HARMLESS: [(u32, u32); 8] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];

/// Files that an engine opens by name, as root, when it restores.
const OPENED_BY_NAME: [&[u8]; 16] = [
    b"spec.dump",
    b"config.dump",
    b"config.json",
    b"status",
    b"status.dump",
    b"network.status",
    b"bind.mounts",
    b"deleted.files",
    b"rootfs-diff.tar",
    b"devshm-checkpoint.tar",
    b"ctr.log",
    b"container.log",
    b"dump.log",
    b"restore.log",
    b"stats-dump",
    b"io.kubernetes.cri-o.LogPath",
];

pub(super) fn look(checkpoint: &Checkpoint, found: &mut Found) {
    let evidence = &checkpoint.evidence;
    archive(evidence, "", found);
    let of_engine = |member: &&Member| {
        let dir = member.parent();
        (dir == checkpoint.base_dir || dir == checkpoint.images_dir)
            && (OPENED_BY_NAME.contains(&member.file_name()) || member.file_name().ends_with(b".img"))
            && !member.is_file()
            && !member.is_dir()
    };
    for member in evidence.members().iter().filter(of_engine) {
        // CRIU's own link to the checkpoint before this one has another name.
        found.add(Rule::NotAFile, member.display_path(), || format!("is a {}{}", member.kind.name(), target(member)));
    }
    for inner in inner_archives(checkpoint) {
        archive(&inner, &format!("{}/", base_name(inner.name())), found);
    }
    deleted(checkpoint, found);
}

/// Archives that are unpacked inside of the container: changes of the root file system, tmpfs, /dev/shm, volumes.
fn inner_archives(checkpoint: &Checkpoint) -> Vec<Evidence> {
    let mut out: Vec<Evidence> = checkpoint.rootfs.archive.iter().cloned().collect();
    let mut seen: HashSet<String> = out.iter().map(|archive| archive.name().to_owned()).collect();
    for file in &checkpoint.recovered {
        if let RecoveredFile { content: Content::Member { archive, .. }, .. } = file
            && seen.insert(archive.name().to_owned())
        {
            out.push(archive.clone());
        }
    }
    out
}

fn base_name(name: &str) -> &str {
    name.rsplit(['/', '!']).next().unwrap_or(name)
}

fn target(member: &Member) -> String {
    match &member.kind {
        MemberKind::Symlink { target } | MemberKind::HardLink { target } => format!(" to {}", escape(target)),
        _ => String::new(),
    }
}

fn archive(evidence: &Evidence, prefix: &str, found: &mut Found) {
    // Of a directory nothing is unpacked.
    let is_unpacked = evidence.form() == Form::Tar;
    let mut links: HashMap<&[u8], &Member> = HashMap::new();
    for member in evidence.members() {
        let place = || format!("{prefix}{}", member.display_path());
        if member.leaves_tree {
            found.add(Rule::LeavesTree, place(), || "its name as written is absolute or climbs out by ..".into());
        }
        if let MemberKind::CharDevice { major, minor } | MemberKind::BlockDevice { major, minor } = member.kind {
            device(&member.kind, (major, minor), place(), found);
        }
        if !is_unpacked {
            continue;
        }
        if let Some(link) = through(&links, &member.path, member) {
            found.add(Rule::ThroughLink, place(), || {
                format!("lies behind {}, a {}{}", link.display_path(), link.kind.name(), target(link))
            });
        }
        match &member.kind {
            MemberKind::Symlink { .. } => {
                links.insert(&member.path, member);
            }
            _ => {
                links.remove(member.path.as_slice());
            }
        }
    }
}

/// The link of the archive that a member would be written through: as a directory of its path, or under its own name.
fn through<'a>(links: &HashMap<&[u8], &'a Member>, path: &[u8], member: &Member) -> Option<&'a Member> {
    if links.is_empty() {
        return None;
    }
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let own = member.is_file().then_some(path.len());
    ends.chain(own).find_map(|end| links.get(path.get(..end)?).copied())
}

fn device(kind: &MemberKind, number: (u32, u32), place: String, found: &mut Found) {
    let is_char = matches!(kind, MemberKind::CharDevice { .. });
    // 0, 0 is overlayfs's mark for a removed file.
    if is_char && (HARMLESS.contains(&number) || number == (0, 0)) {
        return;
    }
    found.add(Rule::DeviceNode, place, || format!("is {} {}:{}", kind.name(), number.0, number.1));
}

fn deleted(checkpoint: &Checkpoint, found: &mut Found) {
    for path in checkpoint.rootfs.deleted.iter().take(checkpoint.rootfs.nr_listed_deleted) {
        let parts = || path.as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
        let why = if parts().any(|part| part == b"..") {
            "climbs out by .."
        } else if parts().next().is_none() {
            "is the root file system itself"
        } else if path.as_bytes().contains(&0) {
            "holds a zero byte"
        } else {
            continue;
        };
        found.add(Rule::DeletedFiles, format!("deleted.files:{}", path.label()), || why.into());
    }
}
