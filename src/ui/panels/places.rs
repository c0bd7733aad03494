//! Where the analyst was in other address spaces, of every panel that shows one.

use std::collections::VecDeque;

use crate::session::space::SpaceId;

/// Most places that are remembered.
const MAX_PLACES: usize = 64;

/// The views of the spaces that were left, the last left last.
#[derive(Debug, Default)]
pub(in crate::ui::panels) struct Places<V> {
    shown: Option<SpaceId>,
    left: VecDeque<(SpaceId, V)>,
}

impl<V: Default> Places<V> {
    /// Turns to a space: `view` is kept for the one that is left, and becomes what it was in this one. Whether it is
    /// another.
    pub(in crate::ui::panels) fn turn_to(&mut self, id: SpaceId, view: &mut V) -> bool {
        if self.shown == Some(id) {
            return false;
        }
        let at = self.left.iter().position(|(known, _)| *known == id);
        let next = at.and_then(|at| self.left.remove(at)).map(|(_, view)| view).unwrap_or_default();
        let view = std::mem::replace(view, next);
        if let Some(left) = self.shown.replace(id) {
            if self.left.len() >= MAX_PLACES {
                self.left.pop_front();
            }
            self.left.push_back((left, view));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Pid;
    use crate::session::ArchiveId;

    #[test]
    fn view_of_a_space_is_there_again_until_too_many_others_were_left() {
        let id = |nr| SpaceId { archive: ArchiveId(1), pid: Pid(nr) };
        let (mut places, mut view) = (Places::<u32>::default(), 7);
        assert!(places.turn_to(id(1), &mut view));
        assert_eq!(view, 0);
        view = 11;
        assert!(!places.turn_to(id(1), &mut view));
        assert!(places.turn_to(id(2), &mut view));
        assert_eq!(view, 0);
        assert!(places.turn_to(id(1), &mut view));
        assert_eq!(view, 11);
        for nr in 2..70 {
            places.turn_to(id(nr), &mut view);
        }
        places.turn_to(id(1), &mut view);
        assert_eq!((view, places.left.len()), (0, MAX_PLACES));
    }
}
