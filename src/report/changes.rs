//! What is different between two checkpoints of a container: what it did in the meantime.
//!
//! Processes are the same where their pids are and the program behind them did not change its start; descriptors, maps and
//! sockets are compared by what they lead to, never by CRIU's numbers, which each dump gives anew. Lists are bounded and
//! say how much they leave out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::base::{Cancelled, Pid, Progress};
use crate::checkpoint::{Checkpoint, Process, Vma};
use crate::memory::{AddressSpace, Chunk, Content, Memory};

use super::value::address;

/// Names the shape of the JSON.
pub const SCHEMA: &str = "cryoscope.compare/1";
/// Most entries of one list.
const MAX_LISTED: usize = 1000;

/// `compare --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The earlier archive.
    pub before: String,
    /// The later one.
    pub after: String,
    /// Processes that are new, gone, or changed, by pid.
    pub processes: Vec<ProcessChange>,
    /// Processes in both without any change.
    pub nr_unchanged: usize,
    /// Sockets, by protocol, addresses and state.
    pub sockets: Difference,
    /// Paths of the root file system that were changed, made or removed.
    pub files: Difference,
}

/// What came and what went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In the later one only.
    pub added: Vec<String>,
    /// In the earlier one only.
    pub removed: Vec<String>,
    /// Entries that are not listed.
    pub left_out: usize,
}

/// A process that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessChange {
    /// Inside the container.
    pub pid: u32,
    /// Its short name, the later one where there are two.
    pub comm: Option<String>,
    /// `new`, `gone`, `changed`.
    pub change: &'static str,
    /// What it is started from, the later where there are two.
    pub exe: Option<String>,
    /// Descriptors, as `3 → /path`.
    pub fds: Difference,
    /// Mapped memory, as `0x1000-0x2000 r-xp /path`.
    pub maps: Difference,
    /// Pages with other content; `None` where one of them has no memory to compare.
    pub pages: Option<Pages>,
}

/// Pages of memory that both have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pages {
    /// With other content.
    pub changed: u64,
    /// Bytes of a page.
    pub page_bytes: u64,
    /// In one of the checkpoints only, the other having no bytes for them (clean pages of files, for example).
    pub not_compared: u64,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.left_out == 0
    }

    fn of(before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) -> Difference {
        let only = |one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>| -> Vec<String> {
            let more = |(entry, count): (&String, &usize)| {
                let count = count.saturating_sub(other.get(entry).copied().unwrap_or_default());
                (count > 0).then(|| if count > 1 { format!("{entry} ({count} times)") } else { entry.clone() })
            };
            one.iter().filter_map(more).collect()
        };
        let mut out = Difference { added: only(after, before), removed: only(before, after), left_out: 0 };
        for list in [&mut out.added, &mut out.removed] {
            out.left_out += list.len().saturating_sub(MAX_LISTED);
            list.truncate(MAX_LISTED);
        }
        out
    }
}

impl Changes {
    /// Compares two checkpoints; the memory of both is read.
    ///
    /// # Errors
    /// It was cancelled.
    pub fn between(before: &Memory, after: &Memory, progress: &dyn Progress) -> Result<Changes, Cancelled> {
        let (old, new) = (before.checkpoint(), after.checkpoint());
        progress.stage("comparing");
        let pids: BTreeSet<Pid> = old.processes.iter().chain(&new.processes).map(|process| process.pid).collect();
        let (mut processes, mut nr_unchanged) = (Vec::new(), 0);
        for (done, pid) in pids.iter().enumerate() {
            progress.step(done as u64, Some(pids.len() as u64))?;
            let change = match (old.process(*pid), new.process(*pid)) {
                (None, Some(process)) => one(new, process, "new"),
                (Some(process), None) => one(old, process, "gone"),
                (Some(earlier), Some(later)) => both((before, earlier), (after, later), progress)?,
                (None, None) => continue,
            };
            match change {
                Some(change) => processes.push(change),
                None => nr_unchanged += 1,
            }
        }
        Ok(Changes {
            schema: SCHEMA,
            before: old.outer.name().to_owned(),
            after: new.outer.name().to_owned(),
            processes,
            nr_unchanged,
            sockets: Difference::of(&sockets(old), &sockets(new)),
            files: Difference::of(&files(old), &files(new)),
        })
    }
}

fn counted(entries: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    entries.for_each(|entry| *out.entry(entry).or_default() += 1);
    out
}

fn comm(process: &Process) -> Option<String> {
    process.comm.known().map(|comm| comm.to_lossless().into_owned())
}

fn exe(process: &Process) -> Option<String> {
    process.exe.known().map(|exe| exe.target.to_lossless().into_owned())
}

/// A process that is in one of them.
fn one(checkpoint: &Checkpoint, process: &Process, change: &'static str) -> Option<ProcessChange> {
    let (nothing, all) = (BTreeMap::new(), fds(checkpoint, process));
    let fds = if change == "new" { Difference::of(&nothing, &all) } else { Difference::of(&all, &nothing) };
    let (pid, maps) = (process.pid.0, Difference::default());
    Some(ProcessChange { pid, comm: comm(process), change, exe: exe(process), fds, maps, pages: None })
}

/// A process that is in both; `None` when nothing is different.
fn both(
    (before, earlier): (&Memory, &Process),
    (after, later): (&Memory, &Process),
    progress: &dyn Progress,
) -> Result<Option<ProcessChange>, Cancelled> {
    let fds = Difference::of(&fds(before.checkpoint(), earlier), &fds(after.checkpoint(), later));
    let maps = Difference::of(&maps(earlier), &maps(later));
    let pages = match (before.space(earlier.pid), after.space(later.pid)) {
        (Ok(one), Ok(other)) if one.page_size() == other.page_size() => Some(pages(&one, &other, progress)?),
        _ => None,
    };
    let is_same = comm(earlier) == comm(later) && exe(earlier) == exe(later) && earlier.state == later.state;
    let has_no_pages = pages.is_none_or(|pages| pages.changed == 0);
    if is_same && fds.is_empty() && maps.is_empty() && has_no_pages {
        return Ok(None);
    }
    let pid = later.pid.0;
    Ok(Some(ProcessChange { pid, comm: comm(later), change: "changed", exe: exe(later), fds, maps, pages }))
}

/// Descriptors by number and target; the numbers of pipes and sockets are given anew by each restore, so their kind stands
/// for them.
fn fds(checkpoint: &Checkpoint, process: &Process) -> BTreeMap<String, usize> {
    let entries = process.fds.iter().map(|entry| {
        let target = checkpoint.file(entry.file).and_then(|file| file.target.as_ref());
        let target = target.map_or_else(|| entry.kind.word().to_owned(), |target| target.to_lossless().into_owned());
        let target = match target.split_once(":[") {
            Some((kind, _)) => kind.to_owned(),
            None => target,
        };
        format!("{} → {target}", entry.fd.0)
    });
    counted(entries)
}

fn maps(process: &Process) -> BTreeMap<String, usize> {
    let vmas = process.memory.known().map(|map| map.vmas.as_slice()).unwrap_or_default();
    let line = |vma: &Vma| {
        let bit = |bit: u32, letter: char| if vma.prot & bit == 0 { '-' } else { letter };
        let perms: String =
            [bit(1, 'r'), bit(2, 'w'), bit(4, 'x'), if vma.is_shared { 's' } else { 'p' }].iter().collect();
        format!("{}-{} {perms} {}", address(vma.start), address(vma.end), vma.path.to_lossless())
    };
    counted(vmas.iter().map(line))
}

fn sockets(checkpoint: &Checkpoint) -> BTreeMap<String, usize> {
    let entries = checkpoint.sockets.iter().map(|socket| {
        let local = socket.local.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let peer = socket.peer.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        format!("{} {local} {peer} {}", socket.proto, socket.state.map_or("-", |state| state.0))
    });
    counted(entries)
}

/// Changed paths with what a look at them tells.
fn files(checkpoint: &Checkpoint) -> BTreeMap<String, usize> {
    // Attributes of directories change with what is in them.
    let entries = checkpoint.rootfs.entries.iter().map(|entry| {
        let path = entry.path.to_lossless();
        match entry.kind {
            "directory" => format!("{path} (directory)"),
            kind => format!("{path} ({kind}, {} bytes, mode {:04o})", entry.size_bytes, entry.mode),
        }
    });
    let deleted = checkpoint.rootfs.deleted.iter().map(|path| format!("{} (removed)", path.to_lossless()));
    counted(entries.chain(deleted))
}

/// Pages that both have, compared.
fn pages(before: &AddressSpace<'_>, after: &AddressSpace<'_>, progress: &dyn Progress) -> Result<Pages, Cancelled> {
    let page_bytes = before.page_size().bytes();
    let mut out = Pages { page_bytes, ..Pages::default() };
    for vma in &before.map().vmas {
        let range = vma.start..vma.end;
        let (mut ones, mut others) = (before.read(range.clone()), after.read(range));
        let (mut one, mut other) = (ones.next(), others.next());
        while let (Some(a), Some(b)) = (&one, &other) {
            progress.step(0, None)?;
            let start = a.range.start.0.max(b.range.start.0);
            let end = a.range.end.0.min(b.range.end.0);
            if start < end {
                overlap(a, b, start..end, &mut out);
            }
            // Ends at the same place: both go on.
            let (a_end, b_end) = (a.range.end.0, b.range.end.0);
            if a_end <= b_end {
                one = ones.next();
            }
            if b_end <= a_end {
                other = others.next();
            }
        }
    }
    Ok(out)
}

fn overlap(a: &Chunk, b: &Chunk, range: std::ops::Range<u64>, out: &mut Pages) {
    let nr_pages = (range.end - range.start).div_ceil(out.page_bytes.max(1));
    match (&a.content, &b.content) {
        (Content::Zero, Content::Zero) | (Content::Absent(_), Content::Absent(_)) => {}
        (Content::Absent(_), _) | (_, Content::Absent(_)) => {
            out.not_compared = out.not_compared.saturating_add(nr_pages)
        }
        _ => {
            for nr in 0..nr_pages {
                let from = range.start + nr * out.page_bytes;
                let to = range.end.min(from + out.page_bytes);
                let is_same = match (slice(a, from, to), slice(b, from, to)) {
                    (Some(one), Some(other)) => one == other,
                    (Some(bytes), None) | (None, Some(bytes)) => bytes.iter().all(|byte| *byte == 0),
                    (None, None) => true,
                };
                out.changed += u64::from(!is_same);
            }
        }
    }
}

/// Bytes of a chunk at addresses; `None` for zeros.
fn slice(chunk: &Chunk, from: u64, to: u64) -> Option<&[u8]> {
    let Content::Bytes(bytes) = &chunk.content else { return None };
    let at = |addr: u64| usize::try_from(addr.saturating_sub(chunk.range.start.0)).ok();
    bytes.get(at(from)?..at(to)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::VirtAddr;

    #[test]
    fn what_came_and_what_went_is_counted() {
        let of = |entries: &[&str]| counted(entries.iter().map(|it| (*it).to_owned()));
        let difference = Difference::of(&of(&["a", "b", "b", "c"]), &of(&["a", "b", "d", "d"]));
        assert_eq!(difference.added, ["d (2 times)"]);
        assert_eq!(difference.removed, ["b", "c"]);
        let many: BTreeMap<String, usize> = (0..1500).map(|nr| (nr.to_string(), 1)).collect();
        let difference = Difference::of(&many, &BTreeMap::new());
        assert_eq!((difference.removed.len(), difference.left_out), (1000, 500));
    }

    #[test]
    fn pages_are_compared_where_both_have_bytes() {
        let chunk = |start: u64, content| {
            let len = if let Content::Bytes(bytes) = &content { bytes.len() as u64 } else { 12 };
            Chunk { range: VirtAddr(start)..VirtAddr(start + len), content }
        };
        let bytes = |text: &'static [u8]| Content::Bytes(text.into());
        let check = |a: &Chunk, b: &Chunk, changed, not_compared| {
            let mut out = Pages { page_bytes: 4, ..Pages::default() };
            overlap(a, b, a.range.start.0.max(b.range.start.0)..a.range.end.0.min(b.range.end.0), &mut out);
            assert_eq!((out.changed, out.not_compared), (changed, not_compared));
        };
        check(&chunk(8, bytes(b"aaaabbbbcccc")), &chunk(12, bytes(b"bbbbcccXdddd")), 1, 0);
        check(&chunk(8, bytes(b"\0\0\0\0bbbb\0\0\0\0")), &chunk(8, Content::Zero), 1, 0);
        check(&chunk(8, Content::Zero), &chunk(8, Content::Zero), 0, 0);
    }
}
