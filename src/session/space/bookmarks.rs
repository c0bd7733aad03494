//! Places in memory with a note, kept with the user's settings under the name of the evidence.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::{Pid, VirtAddr};

/// Most bookmarks that are kept; the oldest go.
const MAX_BOOKMARKS: usize = 1000;
/// Longest note in characters.
pub const MAX_NOTE: usize = 200;

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    /// Base name of the evidence, which may be moved between directories.
    pub evidence: String,
    /// Whose memory.
    pub pid: u32,
    /// Where.
    pub addr: u64,
    /// What the analyst has to say of it.
    pub note: String,
}

/// The name that bookmarks of an archive are kept under.
pub fn evidence_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().chars().take(255).collect()
}

/// Adds a bookmark, or changes the note of the one that is there.
pub(in crate::session) fn set(all: &mut Vec<Bookmark>, evidence: String, pid: Pid, addr: VirtAddr, note: &str) {
    let note: String = note.chars().filter(|c| !c.is_control()).take(MAX_NOTE).collect();
    match all.iter_mut().find(|known| is_at(known, &evidence, pid, addr)) {
        Some(known) => known.note = note,
        None => all.push(Bookmark { evidence, pid: pid.0, addr: addr.0, note }),
    }
    trim(all);
}

/// Drops the oldest of too many.
pub(in crate::session) fn trim(all: &mut Vec<Bookmark>) {
    let excess = all.len().saturating_sub(MAX_BOOKMARKS);
    all.drain(..excess);
}

pub(in crate::session) fn remove(all: &mut Vec<Bookmark>, evidence: &str, pid: Pid, addr: VirtAddr) {
    all.retain(|known| !is_at(known, evidence, pid, addr));
}

/// Whether a bookmark is at this place.
pub fn is_at(bookmark: &Bookmark, evidence: &str, pid: Pid, addr: VirtAddr) -> bool {
    bookmark.addr == addr.0 && bookmark.pid == pid.0 && bookmark.evidence == evidence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_one_note_and_the_oldest_places_go() {
        let mut all = Vec::new();
        set(&mut all, "a.tar".into(), Pid(1), VirtAddr(16), "one");
        set(&mut all, "a.tar".into(), Pid(1), VirtAddr(16), "two\n");
        set(&mut all, "b.tar".into(), Pid(1), VirtAddr(16), "other");
        assert_eq!(all.iter().map(|known| known.note.as_str()).collect::<Vec<_>>(), ["two", "other"]);
        remove(&mut all, "a.tar", Pid(1), VirtAddr(16));
        assert_eq!(all.len(), 1);
        for n in 0..2000 {
            set(&mut all, "c.tar".into(), Pid(1), VirtAddr(n), "");
        }
        assert_eq!((all.len(), all[0].addr), (MAX_BOOKMARKS, 1000));
    }

    #[test]
    fn evidence_is_known_by_its_base_name() {
        assert_eq!(evidence_name(Path::new("/cases/7/checkpoint-a.tar")), "checkpoint-a.tar");
        assert_eq!(evidence_name(Path::new("bundled sample")), "bundled sample");
    }
}
