//! What the processes of a run were seen doing. Lists are bounded: the oldest go first, and are counted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::report::changes::Changes;
use crate::sandbox::run::Event;
use crate::sandbox::syscalls::{Attempt, Call};
use crate::sandbox::watched::{Contact, FileChange, OpenFile, SocketLine};

/// Most entries of a list.
pub const MAX_SEEN: usize = 50_000;

/// See above.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    calls: VecDeque<Call>,
    nr_calls_left_out: u64,
    reached: VecDeque<Reached>,
    open_files: Vec<OpenFile>,
    sockets: Vec<SocketLine>,
    changed_files: BTreeMap<String, FileChange>,
    nr_changes_left_out: u64,
    pub(super) changes: Option<Arc<Changes>>,
}

/// Somebody wanted to reach an address, or reached the sink.
#[derive(Clone, Debug)]
pub enum Reached {
    /// A system call.
    Attempt(Attempt),
    /// At the other end.
    Contact(Contact),
}

impl Reached {
    /// Microseconds since the processes were restored, by the machine's clock.
    pub fn time_us(&self) -> u64 {
        match self {
            Reached::Attempt(attempt) => attempt.time_us,
            Reached::Contact(contact) => contact.time_us,
        }
    }
}

impl Seen {
    /// System calls, oldest first.
    pub fn calls(&self) -> &VecDeque<Call> {
        &self.calls
    }

    /// Calls that are not among them.
    pub fn nr_calls_left_out(&self) -> u64 {
        self.nr_calls_left_out
    }

    /// Attempted connections, and what the sink heard, oldest first.
    pub fn reached(&self) -> &VecDeque<Reached> {
        &self.reached
    }

    /// Descriptors, as they were told last.
    pub fn open_files(&self) -> &[OpenFile] {
        &self.open_files
    }

    /// Sockets, as they were told last.
    pub fn sockets(&self) -> &[SocketLine] {
        &self.sockets
    }

    /// Files that are new, changed or gone since the processes were restored, by path.
    pub fn changed_files(&self) -> impl ExactSizeIterator<Item = &FileChange> {
        self.changed_files.values()
    }

    /// Changes that are not among them.
    pub fn nr_changes_left_out(&self) -> u64 {
        self.nr_changes_left_out
    }

    /// What the new checkpoint has that the first had not, and the other way round.
    pub fn changes(&self) -> Option<&Changes> {
        self.changes.as_deref()
    }

    /// Takes in what is of its kind.
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Call { call, .. } => self.nr_calls_left_out += push(&mut self.calls, call),
            Event::CallsLeftOut { dropped, .. } => {
                self.nr_calls_left_out = self.nr_calls_left_out.saturating_add(dropped);
            }
            Event::Attempt { attempt, .. } => self.reach(Reached::Attempt(attempt)),
            Event::Contact { contact, .. } => self.reach(Reached::Contact(contact)),
            Event::OpenFiles { list, .. } => self.open_files = list,
            Event::Sockets { list, .. } => self.sockets = list,
            Event::FileChange { change, .. }
                if self.changed_files.len() < MAX_SEEN || self.changed_files.contains_key(&change.path) =>
            {
                self.changed_files.insert(change.path.clone(), change);
            }
            Event::FileChange { .. } => self.nr_changes_left_out = self.nr_changes_left_out.saturating_add(1),
            Event::ChangesLeftOut { count, .. } => {
                self.nr_changes_left_out = self.nr_changes_left_out.saturating_add(count);
            }
            _ => {}
        }
    }

    /// Puts it at its time: the sink tells of a connection before the process' call has returned.
    fn reach(&mut self, reached: Reached) {
        if self.reached.len() >= MAX_SEEN {
            self.reached.pop_front();
        }
        let at = self.reached.partition_point(|other| other.time_us() <= reached.time_us());
        self.reached.insert(at, reached);
    }
}

/// Adds at the end; how many had to go at the front.
fn push<T>(list: &mut VecDeque<T>, item: T) -> u64 {
    let is_full = list.len() >= MAX_SEEN;
    if is_full {
        list.pop_front();
    }
    list.push_back(item);
    u64::from(is_full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::watched::{Abi, Change, Saw};

    #[test]
    fn what_is_reached_stands_in_the_order_of_time() {
        let mut seen = Seen::default();
        let contact = |time_us| Contact {
            time_us,
            proto: "tcp".into(),
            from: String::new(),
            to: String::new(),
            name: None,
            saw: Saw::Connection,
        };
        let attempt = |time_us| Attempt {
            time_us,
            pid: None,
            comm: String::new(),
            call: "connect".into(),
            to: String::new(),
            result: None,
            error: None,
        };
        // The sink tells of a connection at once, the trace when the call is over.
        for time_us in [11, 21] {
            seen.take(Event::Contact { at_ms: 0, contact: contact(time_us) });
        }
        for time_us in [10, 20] {
            seen.take(Event::Attempt { at_ms: 0, attempt: attempt(time_us) });
        }
        assert_eq!(seen.reached().iter().map(Reached::time_us).collect::<Vec<_>>(), [10, 11, 20, 21]);
    }

    #[test]
    fn what_is_seen_is_bounded_and_files_stand_once() {
        let mut seen = Seen::default();
        let call = Call {
            time_us: 0,
            pid: None,
            tid: None,
            comm: String::new(),
            call: "read".into(),
            abi: Abi::X86_64,
            args: Vec::new(),
            result: None,
            error: None,
            took_us: None,
        };
        (0..MAX_SEEN + 3).for_each(|_| seen.take(Event::Call { at_ms: 0, call: call.clone() }));
        seen.take(Event::CallsLeftOut { at_ms: 0, dropped: 4, lost: 9 });
        assert_eq!((seen.calls().len(), seen.nr_calls_left_out()), (MAX_SEEN, 7));
        for (change, size_bytes) in [(Change::New, 1), (Change::Changed, 2)] {
            let change = FileChange { path: "/x".into(), change, size_bytes };
            seen.take(Event::FileChange { at_ms: 0, change });
        }
        assert_eq!(seen.changed_files().map(|it| it.size_bytes).collect::<Vec<_>>(), [2]);
    }
}
