//! The layer of a checkpoint image: the members of the checkpoint's archive as a tar of their own.
//!
//! Members are written in the order of their paths, each path once (the last of that name, as when tar unpacks), with the
//! mode, owner and whole seconds that the evidence has; so the same members give the same bytes, however they were packed.
//! What no engine needs of an archive and what does harm in a layer is left out, with an issue.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bytes::Bytes;
use tar::{Builder, EntryType, Header};

use super::HandoverError;
use crate::base::{Cancelled, Issue, Progress};
use crate::checkpoint::Checkpoint;
use crate::evidence::{Evidence, Member, MemberKind, ReadError};

/// Bytes between two looks at whether to stop.
const PIECE: u64 = 1 << 20;
/// In a layer, a file of such a name takes another one away.
const WHITEOUT: &[u8] = b".wh.";
/// Errors of reading evidence and cancel travel through `tar`, which knows only `io::Error`.
type Inner = std::sync::Mutex<Option<HandoverError>>;

/// Writes the layer.
///
/// # Errors
/// The evidence cannot be read, `out` cannot be written (as `Io` of `path`), or cancel.
pub(super) fn write(
    checkpoint: &Checkpoint,
    out: &mut dyn Write,
    path: &Path,
    progress: &dyn Progress,
) -> Result<Vec<Issue>, HandoverError> {
    progress.stage("writing the layer");
    let mut issues = Vec::new();
    let members = members(checkpoint, &mut issues);
    let total = members.iter().fold(0u64, |sum, (_, member)| sum.saturating_add(member.available_bytes()));
    let mut tar = Builder::new(out);
    let mut done = 0;
    for (name, member) in members {
        progress.step(done, Some(total))?;
        let inner = Inner::default();
        let mut content = Content {
            evidence: &checkpoint.evidence,
            member,
            at: 0,
            len: 0,
            whole: Bytes::new(),
            done,
            total,
            progress,
            inner: &inner,
        };
        let appended = append(&mut tar, &name, &mut content, &mut issues);
        done = done.saturating_add(content.len);
        if let Some(error) = inner.into_inner().unwrap_or_default() {
            return Err(error);
        }
        appended.map_err(HandoverError::io("cannot be written", path))?;
    }
    tar.into_inner().map_err(HandoverError::io("cannot be written", path))?;
    Ok(issues)
}

/// What goes into the layer, by its path in it.
fn members<'a>(checkpoint: &'a Checkpoint, issues: &mut Vec<Issue>) -> Vec<(Vec<u8>, &'a Member)> {
    let evidence = &checkpoint.evidence;
    let base = &checkpoint.base_dir;
    let mut out = Vec::new();
    for member in evidence.members() {
        let name = if base.is_empty() {
            Some(&member.path[..])
        } else {
            member.path.strip_prefix(&base[..]).and_then(|rest| rest.strip_prefix(b"/"))
        };
        let Some(name) = name.filter(|name| !name.is_empty()) else { continue };
        if !evidence.get(&member.path).is_some_and(|last| std::ptr::eq(last, member)) {
            continue;
        }
        match unfit(name, member) {
            Some(why) => issues.push(Issue::new(member.place(), format!("is left out of the layer: {why}"))),
            None => out.push((name.to_vec(), member)),
        }
    }
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out
}

/// Why a member is left out.
fn unfit(name: &[u8], member: &Member) -> Option<&'static str> {
    match &member.kind {
        MemberKind::File | MemberKind::Directory | MemberKind::HardLink { .. } => {}
        MemberKind::Symlink { target } if stays_inside(name, target) => {}
        MemberKind::Symlink { .. } => return Some("it is a link that leads out of it"),
        _ => return Some("it is neither a file nor a directory"),
    }
    name.split(|byte| *byte == b'/')
        .any(|part| part.starts_with(WHITEOUT))
        .then_some("there its name takes another file away")
}

fn stays_inside(name: &[u8], target: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") {
        return false;
    }
    let mut depth = name.iter().filter(|byte| **byte == b'/').count();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            _ => depth = depth.saturating_add(1),
        }
    }
    true
}

fn append(
    tar: &mut Builder<&mut dyn Write>,
    name: &[u8],
    content: &mut Content<'_>,
    issues: &mut Vec<Issue>,
) -> io::Result<()> {
    let member = content.member;
    let path = Path::new(OsStr::from_bytes(name));
    let mut header = Header::new_gnu();
    header.set_mode(member.mode & 0o7777);
    header.set_uid(member.uid);
    header.set_gid(member.gid);
    header.set_mtime(member.mtime.and_then(|mtime| u64::try_from(mtime).ok()).unwrap_or(0));
    header.set_size(0);
    match &member.kind {
        MemberKind::Directory => {
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, path, io::empty())
        }
        MemberKind::Symlink { target } => {
            header.set_entry_type(EntryType::Symlink);
            tar.append_link(&mut header, path, Path::new(OsStr::from_bytes(target)))
        }
        _ => {
            // Hard links too become files of their own: nothing else need be there for them.
            if let Err(error) = content.open() {
                issues.push(Issue::new(member.place(), format!("is left out of the layer: {error}")));
                return Ok(());
            }
            if let Some(available) = member.truncated {
                let what = format!("is cut off in the layer too: {available} of {} bytes are there", member.size_bytes);
                issues.push(Issue::new(member.place(), what));
            }
            header.set_entry_type(EntryType::Regular);
            header.set_size(content.len);
            tar.append_data(&mut header, path, content)
        }
    }
}

/// Bytes of a member, piece by piece.
struct Content<'a> {
    evidence: &'a Evidence,
    member: &'a Member,
    at: u64,
    len: u64,
    /// All of it where it lies in one piece (borrowed, not read yet); else what was read last.
    whole: Bytes,
    done: u64,
    total: u64,
    progress: &'a dyn Progress,
    inner: &'a Inner,
}

impl Content<'_> {
    /// Finds the bytes and their number.
    fn open(&mut self) -> Result<(), ReadError> {
        match self.evidence.read(self.member) {
            Ok(bytes) => {
                self.len = bytes.len() as u64;
                self.whole = bytes;
            }
            // A large file with holes, which is put together in pieces.
            Err(ReadError::TooLarge { needed_bytes, .. }) => self.len = needed_bytes,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn next(&mut self, max: usize) -> Result<Bytes, HandoverError> {
        let left = self.len.saturating_sub(self.at);
        let n = left.min(PIECE).min(max as u64);
        let is_here = !self.whole.is_empty();
        // Cancel is looked for once a piece, however small the reader's buffer is.
        if self.at % PIECE < max as u64 {
            self.progress.step(self.done.saturating_add(self.at), Some(self.total))?;
        }
        let range = self.at..self.at.saturating_add(n);
        self.at = range.end;
        if is_here {
            let from = usize::try_from(range.start).unwrap_or(usize::MAX);
            let to = usize::try_from(range.end).unwrap_or(usize::MAX);
            return Ok(self.whole.slice(from..to));
        }
        Ok(self.evidence.read_range(self.member, range)?)
    }
}

impl Read for Content<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.len {
            return Ok(0);
        }
        match self.next(buf.len()) {
            Ok(bytes) => {
                let Some(to) = buf.get_mut(..bytes.len()) else { return Ok(0) };
                to.copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Err(error) => {
                if let Ok(mut inner) = self.inner.lock() {
                    *inner = Some(error);
                }
                Err(io::Error::other(Cancelled))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_that_leave_the_layer_are_seen() {
        for (name, target) in [("a", "/etc"), ("a", "../x"), ("a/b", "../../x"), ("a/b", "c/../../../d"), ("a", "")] {
            assert!(!stays_inside(name.as_bytes(), target.as_bytes()), "{name} {target}");
        }
        for (name, target) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d"), ("a", "./b//c")] {
            assert!(stays_inside(name.as_bytes(), target.as_bytes()), "{name} {target}");
        }
    }
}
