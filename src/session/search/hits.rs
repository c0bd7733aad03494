//! Hits in the order of the search, and the groups that they fall into: an owner (a process, or one kind of source), and
//! in it parts (a map, or a queue or file). Groups are runs of hits, so that they grow while hits arrive.

use std::ops::Range;
use std::sync::Arc;

use super::{MAX_HIT_BYTES, MAX_HITS};
use crate::base::{Pid, VirtAddr};
use crate::memory::search::Source;
use crate::report::search::KeptHit;

/// Who holds hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// The memory of a process.
    Process(Pid),
    /// Queues or files of one kind.
    Source(Source),
}

impl Owner {
    fn of(hit: &KeptHit) -> Owner {
        match (hit.source, hit.pid) {
            (Source::Memory, Some(pid)) => Owner::Process(pid),
            (source, _) => Owner::Source(source),
        }
    }
}

/// Hits of one owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerGroup {
    /// Who.
    pub owner: Owner,
    /// Numbers of its hits.
    pub hits: Range<usize>,
    /// Numbers of its parts.
    pub parts: Range<usize>,
}

/// Hits of one map, queue or file. Its first hit has its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartGroup {
    /// Number of its owner's group.
    pub group: usize,
    /// Numbers of its hits.
    pub hits: Range<usize>,
}

/// Hits that are kept.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    all: Vec<Arc<KeptHit>>,
    groups: Vec<OwnerGroup>,
    parts: Vec<PartGroup>,
    len_bytes: usize,
}

impl Hits {
    /// How many are kept.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The hit of a number.
    pub fn get(&self, nr: usize) -> Option<&KeptHit> {
        self.all.get(nr).map(Arc::as_ref)
    }

    /// All of them, for what leaves the program.
    pub fn to_vec(&self) -> Vec<Arc<KeptHit>> {
        self.all.clone()
    }

    /// Owners, in order.
    pub fn groups(&self) -> &[OwnerGroup] {
        &self.groups
    }

    /// Parts of all owners, in order.
    pub fn parts(&self) -> &[PartGroup] {
        &self.parts
    }

    /// The part that a hit lies in, by its number.
    pub fn part_of(&self, nr: usize) -> Option<usize> {
        self.parts.partition_point(|part| part.hits.start <= nr).checked_sub(1)
    }

    /// Takes in a hit; one that is too many is dropped.
    pub(in crate::session) fn push(&mut self, hit: KeptHit) {
        let len_bytes = self.len_bytes.saturating_add(len_of(&hit));
        let nr = self.all.len();
        if nr >= MAX_HITS || len_bytes > MAX_HIT_BYTES {
            return;
        }
        self.len_bytes = len_bytes;
        let owner = Owner::of(&hit);
        let is_same_owner = self.groups.last().is_some_and(|group| group.owner == owner);
        let last = self.all.last();
        let is_same_part = is_same_owner
            && last.is_some_and(|last| last.map_start == hit.map_start && last.pid == hit.pid && last.name == hit.name);
        if !is_same_owner {
            let nr_parts = self.parts.len();
            self.groups.push(OwnerGroup { owner, hits: nr..nr, parts: nr_parts..nr_parts });
        }
        if !is_same_part {
            self.parts.push(PartGroup { group: self.groups.len().saturating_sub(1), hits: nr..nr });
        }
        if let (Some(group), Some(part)) = (self.groups.last_mut(), self.parts.last_mut()) {
            group.hits.end = nr + 1;
            part.hits.end = nr + 1;
            group.parts.end = self.parts.len();
        }
        self.all.push(Arc::new(hit));
    }

    /// Hits in the memory of a process that reach into a range, with their numbers, by address.
    pub fn in_memory(&self, pid: Pid, range: Range<VirtAddr>) -> impl Iterator<Item = (usize, &KeptHit)> {
        /// A long match may begin so many hits before.
        const BEFORE: usize = 4;
        let group = self.groups.iter().find(|group| group.owner == Owner::Process(pid));
        let base = group.map_or(0, |group| group.hits.start);
        let of_pid = group.and_then(|group| self.all.get(group.hits.clone())).unwrap_or_default();
        let first = of_pid.partition_point(|hit| hit.offset < range.start.0).saturating_sub(BEFORE);
        let in_reach = of_pid.iter().enumerate().skip(first).take_while(move |(_, hit)| hit.offset < range.end.0);
        in_reach
            .filter(move |(_, hit)| range.start.0 < hit.offset.saturating_add(hit.len_bytes))
            .map(move |(nr, hit)| (base + nr, hit.as_ref()))
    }
}

/// Bytes that are kept of a hit.
pub(in crate::session) fn len_of(hit: &KeptHit) -> usize {
    let label = hit.label.as_ref().map_or(0, |label| label.rule.len() + label.note.as_ref().map_or(0, String::len));
    hit.bytes.len() + hit.before.len() + hit.after.len() + label
}

#[cfg(test)]
pub(in crate::session) mod tests {
    use super::*;

    /// A match of four bytes in the memory of a process.
    pub(in crate::session) fn hit(pid: u32, map: u64, at: u64) -> KeptHit {
        KeptHit {
            pid: Some(Pid(pid)),
            vaddr: Some(VirtAddr(at)),
            offset: at,
            len_bytes: 4,
            source: Source::Memory,
            name: "[heap]".into(),
            map_start: Some(VirtAddr(map)),
            perms: Some("rw-p".into()),
            kind: Some("heap"),
            place: None,
            pattern: 0,
            label: None,
            bytes: b"ABCD"[..].into(),
            before: b"before"[..].into(),
            after: b"after"[..].into(),
        }
    }

    #[test]
    fn hits_fall_into_runs_of_owners_and_parts() {
        let mut hits = Hits::default();
        for (pid, map, at) in [(1, 0x1000, 0x1000), (1, 0x1000, 0x1010), (1, 0x5000, 0x5000), (4, 0x1000, 0x1000)] {
            hits.push(hit(pid, map, at));
        }
        let file =
            KeptHit { source: Source::Rootfs, vaddr: None, map_start: None, name: "/etc/x".into(), ..hit(4, 0, 7) };
        hits.push(file);
        let groups: Vec<_> = hits.groups().iter().map(|group| (group.owner, group.hits.clone())).collect();
        assert_eq!(
            groups,
            [(Owner::Process(Pid(1)), 0..3), (Owner::Process(Pid(4)), 3..4), (Owner::Source(Source::Rootfs), 4..5)]
        );
        let parts: Vec<_> = hits.parts().iter().map(|part| (part.group, part.hits.clone())).collect();
        assert_eq!(parts, [(0, 0..2), (0, 2..3), (1, 3..4), (2, 4..5)]);
        assert_eq!(hits.groups()[0].parts, 0..2);
        assert_eq!((hits.part_of(1), hits.part_of(2), hits.part_of(4)), (Some(0), Some(1), Some(3)));
    }

    #[test]
    fn hits_of_a_row_of_memory_are_those_that_reach_into_it() {
        let mut hits = Hits::default();
        for (pid, at) in [(1, 0x0fe), (1, 0x10e), (1, 0x10f), (1, 0x120), (4, 0x100)] {
            hits.push(hit(pid, 0, at));
        }
        let found = |pid, from, to| -> Vec<usize> {
            hits.in_memory(Pid(pid), VirtAddr(from)..VirtAddr(to)).map(|(nr, _)| nr).collect()
        };
        assert_eq!(found(1, 0x100, 0x110), [0, 1, 2]);
        assert_eq!(found(1, 0x110, 0x120), [1, 2]);
        assert_eq!(found(1, 0x130, 0x140), Vec::<usize>::new());
        assert_eq!(found(4, 0x100, 0x110), [4]);
        assert_eq!(found(9, 0x100, 0x110), Vec::<usize>::new());
    }

    #[test]
    fn no_more_hits_are_kept_than_the_limits_say() {
        let mut hits = Hits::default();
        for at in 0..MAX_HITS as u64 + 10 {
            hits.push(hit(1, 0, at));
        }
        assert_eq!(hits.len(), MAX_HITS);
        let mut hits = Hits::default();
        for at in 0..2000 {
            hits.push(KeptHit { bytes: vec![0; 64 << 10].into(), ..hit(1, 0, at) });
        }
        assert_eq!(hits.len(), MAX_HIT_BYTES / (64 << 10) - 1);
    }
}
