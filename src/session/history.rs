//! Back and forward through places.

/// Most places that are remembered.
const MAX_PLACES: usize = 256;

/// A list of visited places and where in it we are. Going somewhere new drops what lay ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<T> {
    places: Vec<T>,
    /// Index of the current place; meaningless while `places` is empty.
    at: usize,
}

impl<T> Default for History<T> {
    fn default() -> History<T> {
        History { places: Vec::new(), at: 0 }
    }
}

impl<T: PartialEq> History<T> {
    /// Where we are.
    pub fn current(&self) -> Option<&T> {
        self.places.get(self.at)
    }

    /// Goes to a new place; staying where we are is not a visit.
    pub fn visit(&mut self, place: T) {
        if self.current() == Some(&place) {
            return;
        }
        self.places.truncate(if self.places.is_empty() { 0 } else { self.at + 1 });
        if self.places.len() == MAX_PLACES {
            self.places.remove(0);
        }
        self.places.push(place);
        self.at = self.places.len() - 1;
    }

    /// Whether there is a place to go back to.
    pub fn can_go_back(&self) -> bool {
        self.at > 0
    }

    /// Whether there is a place to go forward to.
    pub fn can_go_forward(&self) -> bool {
        self.at + 1 < self.places.len()
    }

    /// One place back.
    pub fn back(&mut self) -> Option<&T> {
        self.at = self.at.checked_sub(1)?;
        self.current()
    }

    /// One place forward.
    pub fn forward(&mut self) -> Option<&T> {
        if !self.can_go_forward() {
            return None;
        }
        self.at += 1;
        self.current()
    }

    /// Some places back, or forward where `by` is positive; `None` where there are not so many.
    pub fn step(&mut self, by: isize) -> Option<&T> {
        self.at = self.at.checked_add_signed(by).filter(|at| *at < self.places.len())?;
        self.current()
    }

    /// The places that forward leads to, nearest first.
    pub fn ahead(&self) -> impl Iterator<Item = &T> {
        self.places.get(self.at + 1..).unwrap_or_default().iter()
    }

    /// The places that back leads to, nearest first.
    pub fn behind(&self) -> impl Iterator<Item = &T> {
        self.places.get(..self.at).unwrap_or_default().iter().rev()
    }

    /// Changes every place.
    pub fn update(&mut self, change: impl FnMut(&mut T)) {
        self.places.iter_mut().for_each(change);
    }

    /// Forgets every place that `keep` refuses.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        let mut at = self.at;
        let mut index = 0;
        let current = self.at;
        self.places.retain(|place| {
            let kept = keep(place);
            if !kept && index <= current {
                at = at.saturating_sub(1);
            }
            index += 1;
            kept
        });
        self.places.dedup();
        self.at = at.min(self.places.len().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(places: &[u32]) -> History<u32> {
        let mut history = History::default();
        for place in places {
            history.visit(*place);
        }
        history
    }

    #[test]
    fn back_and_forward_walk_the_same_places() {
        let mut history = visited(&[1, 2, 3]);
        assert_eq!(history.back(), Some(&2));
        assert_eq!(history.back(), Some(&1));
        assert_eq!(history.back(), None);
        assert_eq!(history.current(), Some(&1));
        assert_eq!(history.forward(), Some(&2));
        assert_eq!(history.forward(), Some(&3));
        assert_eq!(history.forward(), None);
    }

    #[test]
    fn steps_lead_to_places_that_are_there() {
        let mut history = visited(&[1, 2, 3, 4]);
        assert_eq!(history.step(-2), Some(&2));
        assert_eq!(history.ahead().copied().collect::<Vec<_>>(), [3, 4]);
        assert_eq!(history.step(3), None);
        assert_eq!(history.step(-2), None);
        assert_eq!(history.current(), Some(&2));
        assert_eq!(history.step(2), Some(&4));
        assert_eq!(history.ahead().count(), 0);
    }

    #[test]
    fn new_place_drops_what_lay_ahead() {
        let mut history = visited(&[1, 2, 3]);
        history.back();
        history.visit(9);
        assert!(!history.can_go_forward());
        assert_eq!(history.behind().copied().collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn staying_is_not_a_visit() {
        assert_eq!(visited(&[1, 1, 1]).behind().count(), 0);
    }

    #[test]
    fn oldest_places_are_forgotten() {
        let history = visited(&(0..1000).collect::<Vec<_>>());
        assert_eq!(history.behind().count(), MAX_PLACES - 1);
        assert_eq!(history.current(), Some(&999));
    }

    #[test]
    fn closed_places_are_forgotten_and_the_current_one_stays() {
        let mut history = visited(&[1, 2, 3, 4, 5]);
        history.back();
        history.retain(|place| place % 2 == 0);
        assert_eq!(history.current(), Some(&4));
        assert_eq!(history.back(), Some(&2));
        history.retain(|_| false);
        assert_eq!(history.current(), None);
        assert!(!history.can_go_back() && !history.can_go_forward());
    }
}
