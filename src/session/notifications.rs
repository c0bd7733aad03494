//! What the program tells the analyst, with history.

use jiff::Timestamp;

use super::Command;

/// Most notifications that are kept.
const MAX_KEPT: usize = 500;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something asked for is done.
    Success,
    /// Done in part.
    Warning,
    /// Not done.
    Error,
}

/// Names one notification; never used twice in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NotificationId(pub u64);

/// One message.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Its name.
    pub id: NotificationId,
    /// How much it matters.
    pub level: Level,
    /// One line: what happened.
    pub title: String,
    /// Where, why, and what to do; may be empty.
    pub detail: String,
    /// When.
    pub at: Timestamp,
    /// What the analyst may want to do about it: label of the button, and what it asks for.
    pub offer: Option<(&'static str, Box<Command>)>,
    /// Whether the analyst has dismissed it or seen the list with it.
    pub seen: bool,
}

/// All of them, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Notifications {
    all: Vec<Notification>,
    last: NotificationId,
}

impl Notifications {
    /// Adds one; the oldest is forgotten when there are too many.
    pub(super) fn push(&mut self, level: Level, title: impl Into<String>, detail: impl Into<String>) -> NotificationId {
        if self.all.len() >= MAX_KEPT {
            self.all.remove(0);
        }
        self.last.0 += 1;
        self.all.push(Notification {
            id: self.last,
            level,
            title: title.into(),
            detail: detail.into(),
            at: Timestamp::now(),
            offer: None,
            seen: false,
        });
        self.last
    }

    /// Adds one with a button.
    pub(super) fn push_offer(
        &mut self,
        level: Level,
        title: impl Into<String>,
        detail: impl Into<String>,
        offer: (&'static str, Command),
    ) {
        self.push(level, title, detail);
        if let Some(last) = self.all.last_mut() {
            last.offer = Some((offer.0, Box::new(offer.1)));
        }
    }

    pub(super) fn see(&mut self, id: NotificationId) {
        if let Some(notification) = self.all.iter_mut().find(|n| n.id == id) {
            notification.seen = true;
        }
    }

    pub(super) fn see_all(&mut self) {
        for notification in &mut self.all {
            notification.seen = true;
        }
    }

    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// All that are kept, newest first.
    pub fn newest_first(&self) -> impl ExactSizeIterator<Item = &Notification> {
        self.all.iter().rev()
    }

    /// How many the analyst has not seen.
    pub fn unseen(&self) -> usize {
        self.all.iter().filter(|n| !n.seen).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_are_forgotten_and_ids_go_on() {
        let mut notifications = Notifications::default();
        for n in 0..MAX_KEPT + 3 {
            notifications.push(Level::Info, format!("{n}"), "");
        }
        assert_eq!(notifications.newest_first().len(), MAX_KEPT);
        assert_eq!(notifications.newest_first().next().map(|n| n.id.0), Some(MAX_KEPT as u64 + 3));
    }

    #[test]
    fn seeing_one_leaves_the_others_unseen() {
        let mut notifications = Notifications::default();
        let first = notifications.push(Level::Error, "first", "");
        notifications.push(Level::Info, "second", "");
        notifications.see(first);
        assert_eq!(notifications.unseen(), 1);
        notifications.see_all();
        assert_eq!(notifications.unseen(), 0);
        assert!(!notifications.is_empty());
    }
}
