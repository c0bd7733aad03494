//! Finds members by path: a hash table of member numbers that holds no copy of a path.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::member::Member;

/// Open addressing with linear probing; a slot holds a member's number plus one, 0 is free. Seeded per process, so that
/// no archive can be made to collide.
#[derive(Debug, Default)]
pub(super) struct PathIndex {
    state: RandomState,
    slots: Vec<u32>,
    len: usize,
    /// Of a member whose path came before: the number of that earlier one.
    earlier: HashMap<u32, u32>,
}

impl PathIndex {
    /// Adds the last of `members`. Gives the number of the one with the same path that stood there before.
    ///
    /// The later of two stands for the path, as when tar unpacks, except that one which leaves the tree never takes the
    /// place of one that does not.
    pub(super) fn add_last(&mut self, members: &[Member]) -> Option<u32> {
        let member = members.last()?;
        let number = u32::try_from(members.len()).ok()?;
        if self.slots.len() < members.len().saturating_mul(2) {
            self.grow(members);
        }
        let slot = self.slot(&member.path, members)?;
        match self.slots.get_mut(slot) {
            Some(place @ 0) => {
                *place = number;
                self.len += 1;
                None
            }
            Some(place) => {
                let before = *place;
                let stands = members.get(before as usize - 1);
                if member.leaves_tree && stands.is_some_and(|stands| !stands.leaves_tree) {
                    return Some(before - 1);
                }
                *place = number;
                self.earlier.insert(number - 1, before - 1);
                Some(before - 1)
            }
            None => None,
        }
    }

    /// Number of the member that stands for `path`.
    pub(super) fn get(&self, path: &[u8], members: &[Member]) -> Option<u32> {
        let slot = self.slot(path, members)?;
        self.slots.get(slot)?.checked_sub(1)
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

    /// The slot that holds the path, or the free one where it belongs.
    fn slot(&self, path: &[u8], members: &[Member]) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = self.state.hash_one(path) as usize & mask;
        loop {
            match self.slots.get(slot)?.checked_sub(1) {
                None => return Some(slot),
                Some(number) if members.get(number as usize).is_some_and(|member| member.path == path) => {
                    return Some(slot);
                }
                Some(_) => slot = (slot + 1) & mask,
            }
        }
    }

    fn grow(&mut self, members: &[Member]) {
        let wanted = self.slots.len().saturating_mul(2).max(64);
        let old = std::mem::replace(&mut self.slots, vec![0; wanted]);
        for number in old.into_iter().filter(|number| *number != 0) {
            let Some(member) = members.get(number as usize - 1) else { continue };
            if let Some(place) = self.slot(&member.path, members).and_then(|slot| self.slots.get_mut(slot)) {
                *place = number;
            }
        }
    }
}
