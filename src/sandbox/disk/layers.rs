//! Laying archives over each other in a tree: layers of an image, the rootfs diff, the images of the checkpoint.

use std::collections::BTreeMap;

use super::DiskError;
use super::tree::{Attributes, Content, FileTree, Ino, Kind};
use crate::base::{Issue, escape};
use crate::evidence::{Evidence, Member, MemberKind};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Most issues that are told.
const MAX_ISSUES: usize = 100;

/// Lays all members of `layer` over what is below `dir`, with the whiteouts of the OCI image format and of overlayfs.
///
/// What cannot be laid there (unknown types, hard links to nowhere) is an issue.
///
/// # Errors
/// The tree is full.
pub(super) fn lay_over(
    tree: &mut FileTree,
    dir: &[u8],
    layer: &Evidence,
    issues: &mut Vec<Issue>,
) -> Result<(), DiskError> {
    // Whiteouts hide what is below the layer, whatever the order of its members.
    for member in layer.members() {
        let name = member.file_name();
        if name == OPAQUE {
            tree.clear(&join(dir, member.parent()));
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            tree.remove(&join(dir, &join(member.parent(), hidden)));
        } else if is_overlay_whiteout(member) {
            tree.remove(&join(dir, &member.path));
        }
    }
    for member in layer.members() {
        if member.file_name().starts_with(WHITEOUT) || is_overlay_whiteout(member) {
            continue;
        }
        if let Err(what) = lay(tree, dir, layer, member)?
            && issues.len() < MAX_ISSUES
        {
            issues.push(Issue::new(member.place(), what));
        }
    }
    Ok(())
}

fn is_overlay_whiteout(member: &Member) -> bool {
    member.kind == MemberKind::CharDevice { major: 0, minor: 0 }
}

/// Lays one member; the inner error is an issue.
fn lay(tree: &mut FileTree, dir: &[u8], layer: &Evidence, member: &Member) -> Result<Result<(), String>, DiskError> {
    let kind = match &member.kind {
        MemberKind::File => Kind::File(Content::Member(layer.clone(), Box::new(member.clone()))),
        MemberKind::Directory => Kind::Directory(BTreeMap::new()),
        MemberKind::Symlink { target } => Kind::Symlink(target.clone()),
        MemberKind::CharDevice { major, minor } => Kind::CharDevice(*major, *minor),
        MemberKind::BlockDevice { major, minor } => Kind::BlockDevice(*major, *minor),
        MemberKind::Fifo => Kind::Fifo,
        MemberKind::Socket => Kind::Socket,
        MemberKind::HardLink { target } => {
            let Some(ino) = tree.find(&join(dir, target)) else {
                return Ok(Err(format!("is a link to {}, which is not there", escape(target))));
            };
            tree.put_link(&join(dir, &member.path), ino)?;
            return Ok(Ok(()));
        }
        MemberKind::Other(letter) => return Ok(Err(format!("is of the unknown type {letter}"))),
    };
    tree.put(&join(dir, &member.path), kind, attributes(member))?;
    Ok(match member.truncated {
        Some(there) => Err(format!("is cut off after {there} of {} bytes", member.size_bytes)),
        None => Ok(()),
    })
}

/// Lays one member at a path of its own; whether it has content.
pub(super) fn lay_at(
    tree: &mut FileTree,
    path: &[u8],
    evidence: &Evidence,
    member: &Member,
) -> Result<Option<Ino>, DiskError> {
    if !member.is_file() {
        return Ok(None);
    }
    let content = Content::Member(evidence.clone(), Box::new(member.clone()));
    Ok(Some(tree.put(path, Kind::File(content), attributes(member))?))
}

fn attributes(member: &Member) -> Attributes {
    Attributes {
        mode: member.mode & 0o7777,
        // Ids that do not fit are nobody's, as in the kernel.
        uid: u32::try_from(member.uid).unwrap_or(65534),
        gid: u32::try_from(member.gid).unwrap_or(65534),
        mtime: member.mtime.unwrap_or_default(),
        mtime_nanos: member.mtime_nanos.min(999_999_999),
        xattrs: member.xattrs.clone(),
    }
}

/// A directory and a path below it.
pub(super) fn join(dir: &[u8], path: &[u8]) -> Vec<u8> {
    match (dir, path) {
        (b"", path) => path.to_vec(),
        (dir, b"") => dir.to_vec(),
        (dir, path) => [dir, b"/", path].concat(),
    }
}
