//! Finds members by path: a hash table of member numbers that holds no copy of a path.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::member::Member;

/// Open addressing with linear probing, at most three quarters full. Seeded per process, so that no archive can be made
/// to collide.
#[derive(Debug, Default)]
pub(super) struct PathIndex {
    state: RandomState,
    slots: Vec<Slot>,
    len: usize,
    /// Of a member whose path came before: the number of that earlier one.
    earlier: HashMap<u32, u32>,
}

/// Free, or a member's number plus one with the hash of its path, so that other paths need not be looked at.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u32,
    number: u32,
}

impl PathIndex {
    /// Adds the last of `members`. Gives the number of the one with the same path that stood there before.
    ///
    /// The later of two stands for the path, as when tar unpacks, except that one which leaves the tree never takes the
    /// place of one that does not.
    pub(super) fn add_last(&mut self, members: &[Member]) -> Option<u32> {
        let member = members.last()?;
        let number = u32::try_from(members.len()).ok()?;
        if self.slots.len() / 4 * 3 <= self.len {
            self.grow();
        }
        let hash = self.hash(&member.path);
        let at = self.find(hash, &member.path, members)?;
        let slot = self.slots.get_mut(at)?;
        if slot.number == 0 {
            *slot = Slot { hash, number };
            self.len += 1;
            return None;
        }
        let before = slot.number - 1;
        let stands = members.get(before as usize);
        if !member.leaves_tree || stands.is_none_or(|stands| stands.leaves_tree) {
            slot.number = number;
            self.earlier.insert(number - 1, before);
        }
        Some(before)
    }

    /// Number of the member that stands for `path`.
    pub(super) fn get(&self, path: &[u8], members: &[Member]) -> Option<u32> {
        let at = self.find(self.hash(path), path, members)?;
        self.slots.get(at)?.number.checked_sub(1)
    }

    /// The last one of that path before the member `before`.
    pub(super) fn get_before(&self, path: &[u8], before: u32, members: &[Member]) -> Option<u32> {
        let mut found = self.get(path, members)?;
        while found >= before {
            // Each step goes to a smaller number.
            found = *self.earlier.get(&found)?;
        }
        Some(found)
    }

    fn hash(&self, path: &[u8]) -> u32 {
        // The low half is as good as the whole.
        self.state.hash_one(path) as u32
    }

    /// The slot that holds the path, or the free one where it belongs. `None` while there are no slots.
    fn find(&self, hash: u32, path: &[u8], members: &[Member]) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots.get(at)?;
            let Some(number) = slot.number.checked_sub(1) else { return Some(at) };
            if slot.hash == hash && members.get(number as usize).is_some_and(|member| member.path == path) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let wanted = self.slots.len().saturating_mul(2).max(64);
        let old = std::mem::replace(&mut self.slots, vec![Slot::default(); wanted]);
        let mask = wanted - 1;
        for slot in old.into_iter().filter(|slot| slot.number != 0) {
            let mut at = slot.hash as usize & mask;
            while self.slots.get(at).is_some_and(|taken| taken.number != 0) {
                at = (at + 1) & mask;
            }
            if let Some(free) = self.slots.get_mut(at) {
                *free = slot;
            }
        }
    }
}
