//! Files that the restored processes need: which there are, which are missing, which are others.
//!
//! CRIU opens every file again by its path and compares type, permissions and size with what it recorded; build ids it
//! compares only when told to. Pages of a mapped file that were not changed are not in the checkpoint, so a file of the same
//! size and another build id is restored without a word and crashes later: it is told here.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::base::{Text, hex};
use crate::checkpoint::files::{FileDetail, Hold, RegFile};
use crate::checkpoint::{Checkpoint, OpenFile};
use crate::evidence::{BaseImage, Member, MemberKind};
use crate::memory::build_id;

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;
/// Permission bits with set-id and sticky.
const PERMISSIONS: u32 = 0o7777;
/// Most files that are listed.
const MAX_LISTED: usize = 2000;

/// Where the files come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededFiles {
    /// Files on the root file system that processes have open, mapped, or stand in.
    pub total: usize,
    /// Found among the changes of the container.
    pub in_diff: usize,
    /// Found in the base image.
    pub in_base: usize,
    /// Those that are missing or others, in the order of their paths.
    pub problems: Vec<FileProblem>,
    /// How many problems are not listed.
    pub left_out: usize,
}

/// A file that is missing, or is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileProblem {
    /// Path in the container.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
    /// In words, with what was recorded and what was found.
    pub what: String,
    /// Build id as recorded, in hex: names the package that has the file, at debuginfod for example.
    pub build_id: Option<String>,
    /// Size in bytes as recorded.
    pub size_bytes: Option<u64>,
    /// How processes use it (`exe of 1`, `mapped by 1 and 7`, `fd 3 of 1`).
    pub used_as: Vec<String>,
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Problem {
    /// Neither the base image nor the changes of the container have it: CRIU fails.
    Missing,
    /// It was removed in the container.
    Deleted,
    /// Another type or other permissions: CRIU fails.
    OtherMode,
    /// Another size: CRIU fails.
    OtherSize,
    /// Another build id: restored, and crashes where code differs.
    OtherBuildId,
}

impl Problem {
    /// Whether CRIU notices, and fails.
    pub fn is_fatal(self) -> bool {
        self != Problem::OtherBuildId
    }
}

/// Compares what the checkpoint recorded of its files with what the root file system will have.
pub fn needed_files(checkpoint: &Checkpoint, base: Option<&BaseImage>) -> NeededFiles {
    let changed: HashMap<&Text, usize> =
        checkpoint.rootfs.entries.iter().enumerate().map(|(at, entry)| (&entry.path, at)).collect();
    let deleted: std::collections::HashSet<&Text> = checkpoint.rootfs.deleted.iter().collect();
    let mut out = NeededFiles::default();
    let mut seen: HashMap<&Text, ()> = HashMap::new();
    let mut problems: Vec<FileProblem> = Vec::new();
    for file in &checkpoint.files {
        let FileDetail::Reg(reg) = &file.detail else { continue };
        if reg.is_external || reg.remap.is_some() || !checkpoint.is_on_root(reg) || seen.insert(&reg.name, ()).is_some()
        {
            continue;
        }
        // The root directory is made by the plan, with the mode that was recorded.
        if matches!(reg.name.as_bytes(), b"/" | b"." | b"") {
            continue;
        }
        out.total += 1;
        let found = match changed.get(&reg.name) {
            Some(at) => {
                out.in_diff += 1;
                in_diff(checkpoint, *at, reg)
            }
            None if deleted.contains(&reg.name) => Some((Problem::Deleted, "was removed in the container".to_owned())),
            None => match base.and_then(|base| base.get(reg.name.as_bytes())) {
                Some((layer, member)) => {
                    out.in_base += 1;
                    compare(reg, member, &|| layer.read(member).ok().and_then(|bytes| build_id(&bytes)))
                }
                None => Some((Problem::Missing, missing(base))),
            },
        };
        if let Some((problem, what)) = found {
            problems.push(FileProblem {
                path: reg.name.label(),
                problem,
                what,
                build_id: reg.build_id.as_deref().map(hex),
                size_bytes: reg.size_bytes,
                used_as: used_as(file),
            });
        }
    }
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    out.left_out = problems.len().saturating_sub(MAX_LISTED);
    problems.truncate(MAX_LISTED);
    out.problems = problems;
    out
}

fn missing(base: Option<&BaseImage>) -> String {
    match base {
        Some(base) => format!("is not in {}", base.name()),
        None => "comes from the image, which was not given".into(),
    }
}

fn in_diff(checkpoint: &Checkpoint, at: usize, reg: &RegFile) -> Option<(Problem, String)> {
    let archive = checkpoint.rootfs.archive.as_ref()?;
    let member = archive.members().get(checkpoint.rootfs.entries.get(at)?.member)?;
    compare(reg, member, &|| archive.read(member).ok().and_then(|bytes| build_id(&bytes)))
}

fn compare(reg: &RegFile, member: &Member, read_build_id: &dyn Fn() -> Option<Vec<u8>>) -> Option<(Problem, String)> {
    let kind = match member.kind {
        MemberKind::File | MemberKind::HardLink { .. } => Some(S_IFREG),
        MemberKind::Directory => Some(S_IFDIR),
        _ => None,
    };
    if let Some(mode) = reg.mode {
        let is_other_kind = kind.is_some_and(|kind| kind != mode & S_IFMT);
        if is_other_kind || member.mode & PERMISSIONS != mode & PERMISSIONS {
            let what =
                format!("is a {} of mode {:04o} and was {:06o}", member.kind.name(), member.mode & PERMISSIONS, mode);
            return Some((Problem::OtherMode, what));
        }
    }
    let is_plain = member.kind == MemberKind::File;
    if let Some(recorded) = reg.size_bytes.filter(|recorded| is_plain && *recorded != member.size_bytes) {
        return Some((Problem::OtherSize, format!("has {} bytes and had {recorded}", member.size_bytes)));
    }
    let recorded = reg.build_id.as_deref()?;
    let found = read_build_id();
    (found.as_deref() != Some(recorded)).then(|| {
        let found = found.map_or_else(|| "no build id".into(), |id| format!("build id {}", hex(&id)));
        (Problem::OtherBuildId, format!("has {found} and had {}", hex(recorded)))
    })
}

/// In words. A library may be mapped by thousands, of which a few are named.
fn used_as(file: &OpenFile) -> Vec<String> {
    const MAX_PIDS: usize = 8;
    const MAX_USES: usize = 16;
    let held = [(Hold::Exe, "exe of"), (Hold::Cwd, "cwd of"), (Hold::Root, "root of"), (Hold::Map, "mapped by")];
    let of = |(hold, words): (Hold, &str)| {
        let mut pids: Vec<u32> = file.held_by.iter().filter(|(_, by)| *by == hold).map(|(pid, _)| pid.0).collect();
        pids.sort_unstable();
        pids.dedup();
        let named = pids.iter().take(MAX_PIDS).map(u32::to_string).collect::<Vec<_>>().join(", ");
        match pids.len().saturating_sub(MAX_PIDS) {
            _ if pids.is_empty() => None,
            0 => Some(format!("{words} {named}")),
            more => Some(format!("{words} {named} and {more} more")),
        }
    };
    let fds = file.fds.iter().map(|(pid, fd)| format!("fd {fd} of {pid}"));
    held.into_iter().filter_map(of).chain(fds).take(MAX_USES).collect()
}
