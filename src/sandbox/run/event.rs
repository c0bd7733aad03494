//! What is told of a run, and what may be said to it.

use serde::Serialize;

use crate::sandbox::explain;
use crate::sandbox::microvm::Acceleration;
use crate::sandbox::pcap;
use crate::sandbox::plan::Stream;
use crate::sandbox::protocol::{FromGuest, MAX_PROCESSES, ProcessLine};
use crate::sandbox::syscalls::{self, Attempt, Call};
use crate::sandbox::watched::{
    self, Contact, FileChange, MAX_CALLS, MAX_CHANGES, MAX_CONTACTS, MAX_OPEN_FILES, MAX_SOCKETS, OpenFile, SocketLine,
    bound,
};

/// What happens, in order. Times are milliseconds since the guest was started.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// QEMU was started.
    Booting {
        /// When.
        at_ms: u64,
        /// How instructions are carried out.
        acceleration: Acceleration,
        /// Why it is not the faster way, where that was tried.
        note: Option<String>,
    },
    /// Namespaces of this kernel are made.
    Entering {
        /// When.
        at_ms: u64,
    },
    /// The agent in the machine speaks.
    Booted {
        /// When.
        at_ms: u64,
        /// The machine's kernel.
        kernel: String,
    },
    /// The agent tells what it does.
    Stage {
        /// When.
        at_ms: u64,
        /// In words.
        name: String,
    },
    /// criu is done, the processes go on.
    Restored {
        /// When.
        at_ms: u64,
        /// Milliseconds that preparing and criu took.
        took_ms: u64,
        /// The machine's clock then, in microseconds since 1970: calls and what reached the sink have times since then,
        /// packets those of this clock.
        clock_us: u64,
    },
    /// criu could not restore.
    Failed {
        /// When.
        at_ms: u64,
        /// In words, where the error is known: what it means and what to do.
        explanation: Option<String>,
        /// criu's errors.
        errors: Vec<String>,
        /// The end of criu's log.
        log: Vec<String>,
    },
    /// The processes.
    Processes {
        /// When.
        at_ms: u64,
        /// Each with its pid in the container.
        list: Vec<ProcessLine>,
        /// More that are not listed.
        left_out: u32,
    },
    /// A line of the container's output.
    Output {
        /// When.
        at_ms: u64,
        /// Which.
        stream: Stream,
        /// Without its end.
        line: String,
        /// Lines lost before it.
        dropped: u64,
    },
    /// What came back over a connection.
    Answer {
        /// When.
        at_ms: u64,
        /// Of the request.
        id: u32,
        /// What was received.
        text: String,
        /// Why nothing was.
        error: Option<String>,
    },
    /// The processes stand still, or go on.
    Paused {
        /// When.
        at_ms: u64,
        /// They stand still.
        is_paused: bool,
    },
    /// A system call.
    Call {
        /// When it was told.
        at_ms: u64,
        /// What.
        #[serde(flatten)]
        call: Call,
    },
    /// System calls that are not told, since there were too many.
    CallsLeftOut {
        /// When.
        at_ms: u64,
        /// Seen, and more than are told in a second.
        dropped: u64,
        /// Records that the machine's kernel had no place for, two or three to a call.
        lost: u64,
    },
    /// A process wants to reach an address, whether or not anything answers there.
    Attempt {
        /// When it was told.
        at_ms: u64,
        /// What.
        #[serde(flatten)]
        attempt: Attempt,
    },
    /// The open files, where they are others than before.
    OpenFiles {
        /// When.
        at_ms: u64,
        /// Each with its process.
        list: Vec<OpenFile>,
        /// More that are not listed.
        left_out: u64,
    },
    /// The sockets, where they are others than before.
    Sockets {
        /// When.
        at_ms: u64,
        /// Of IP.
        list: Vec<SocketLine>,
        /// More that are not listed.
        left_out: u64,
    },
    /// A file is new, changed or gone.
    FileChange {
        /// When.
        at_ms: u64,
        /// Which.
        #[serde(flatten)]
        change: FileChange,
    },
    /// Changed files that are not told, since there were too many.
    ChangesLeftOut {
        /// When.
        at_ms: u64,
        /// How many.
        count: u64,
    },
    /// Something reached the sink of the sealed network.
    Contact {
        /// When it was told.
        at_ms: u64,
        /// What.
        #[serde(flatten)]
        contact: Contact,
    },
    /// Records of the sink that are not told, since there were too many.
    ContactsLeftOut {
        /// When.
        at_ms: u64,
        /// How many.
        count: u64,
    },
    /// Packets of the sealed network, checked; not printed, but written to a file where one is wanted.
    Packets {
        /// When.
        at_ms: u64,
        /// As [`crate::sandbox::pcap`] has them.
        #[serde(skip)]
        records: Vec<u8>,
        /// How many there are.
        count: u64,
        /// Packets that are not among them.
        lost: u64,
    },
    /// A new checkpoint was taken.
    Frozen {
        /// When.
        at_ms: u64,
        /// Bytes of the archive.
        size_bytes: u64,
        /// Milliseconds that criu took.
        took_ms: u64,
    },
    /// The agent could not do something.
    Error {
        /// When.
        at_ms: u64,
        /// What.
        what: String,
    },
    /// The root process has ended by itself.
    Exited {
        /// When.
        at_ms: u64,
        /// Its exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// The machine was killed; the last event.
    Stopped {
        /// When.
        at_ms: u64,
        /// Why.
        why: Why,
    },
}

impl Event {
    /// Milliseconds since the guest was started.
    pub fn at_ms(&self) -> u64 {
        match self {
            Event::Booting { at_ms, .. }
            | Event::Entering { at_ms }
            | Event::Booted { at_ms, .. }
            | Event::Stage { at_ms, .. }
            | Event::Restored { at_ms, .. }
            | Event::Failed { at_ms, .. }
            | Event::Processes { at_ms, .. }
            | Event::Output { at_ms, .. }
            | Event::Answer { at_ms, .. }
            | Event::Paused { at_ms, .. }
            | Event::Call { at_ms, .. }
            | Event::CallsLeftOut { at_ms, .. }
            | Event::Attempt { at_ms, .. }
            | Event::OpenFiles { at_ms, .. }
            | Event::Sockets { at_ms, .. }
            | Event::FileChange { at_ms, .. }
            | Event::ChangesLeftOut { at_ms, .. }
            | Event::Contact { at_ms, .. }
            | Event::ContactsLeftOut { at_ms, .. }
            | Event::Packets { at_ms, .. }
            | Event::Frozen { at_ms, .. }
            | Event::Error { at_ms, .. }
            | Event::Exited { at_ms, .. }
            | Event::Stopped { at_ms, .. } => *at_ms,
        }
    }
}

/// Why a machine was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The time that was asked for is over.
    TimeOver,
    /// The processes have ended.
    Exited,
    /// criu could not restore.
    NotRestored,
    /// The caller said so.
    Told,
}

/// What a caller may say while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Stop all processes where they are.
    Pause,
    /// Let them go on.
    Resume,
    /// Let them go on for so long, and stop them again.
    Step {
        /// Milliseconds.
        ms: u64,
    },
    /// Connect inside the container's network, send, and tell what comes back.
    Connect {
        /// Comes back in the answer.
        id: u32,
        /// As `127.0.0.1:8088`.
        address: String,
        /// What is sent.
        send: String,
    },
    /// Take a new checkpoint.
    Freeze {
        /// Whether the processes go on.
        leave_running: bool,
    },
    /// End as if the time were over.
    End,
    /// Kill the machine.
    Stop,
}

/// The events that a message of the guest is, and why the run ends, if it does. Lists are cut to their bounds here again:
/// the guest is not trusted to keep them.
pub(super) fn of(message: FromGuest, at_ms: u64) -> (Vec<Event>, Option<Why>) {
    let event = match message {
        FromGuest::Hello { .. } | FromGuest::Finished => return (Vec::new(), None),
        FromGuest::Stage { name } => Event::Stage { at_ms, name },
        FromGuest::Restored { took_ms, clock_us, .. } => Event::Restored { at_ms, took_ms, clock_us },
        FromGuest::Failed { errors, log } => {
            let explanation = explain::explain(&errors);
            return (vec![Event::Failed { at_ms, explanation, errors, log }], Some(Why::NotRestored));
        }
        FromGuest::Processes { mut list, left_out, .. } => {
            let more = u32::try_from(bound(&mut list, MAX_PROCESSES)).unwrap_or(u32::MAX);
            Event::Processes { at_ms, list, left_out: left_out.saturating_add(more) }
        }
        FromGuest::Output { stream, text, dropped } => return (output(stream, &text, dropped, at_ms), None),
        FromGuest::Answer { id, text, error } => Event::Answer { at_ms, id, text, error },
        FromGuest::Paused { is_paused } => Event::Paused { at_ms, is_paused },
        FromGuest::Calls { list, dropped, lost } => return (calls(list, dropped, lost, at_ms), None),
        FromGuest::OpenFiles { mut list, left_out } => {
            let left_out = left_out.saturating_add(bound(&mut list, MAX_OPEN_FILES));
            Event::OpenFiles { at_ms, list, left_out }
        }
        FromGuest::Sockets { mut list, left_out } => {
            let left_out = left_out.saturating_add(bound(&mut list, MAX_SOCKETS));
            Event::Sockets { at_ms, list, left_out }
        }
        FromGuest::Changes { mut list, left_out } => {
            let count = left_out.saturating_add(bound(&mut list, MAX_CHANGES));
            let mut events: Vec<Event> = list.into_iter().map(|change| Event::FileChange { at_ms, change }).collect();
            events.extend((count > 0).then_some(Event::ChangesLeftOut { at_ms, count }));
            return (events, None);
        }
        FromGuest::Contacts { mut list, dropped } => {
            let count = dropped.saturating_add(bound(&mut list, MAX_CONTACTS));
            let mut events: Vec<Event> = list.into_iter().map(|contact| Event::Contact { at_ms, contact }).collect();
            events.extend((count > 0).then_some(Event::ContactsLeftOut { at_ms, count }));
            return (events, None);
        }
        FromGuest::Packets { records, lost } => {
            let mut records = pcap::from_base64(&records).unwrap_or_default();
            let (whole, count) = pcap::checked(&records);
            let (len, is_cut) = (whole.len(), whole.len() < records.len());
            records.truncate(len);
            Event::Packets { at_ms, records, count, lost: lost.saturating_add(u64::from(is_cut)) }
        }
        FromGuest::Frozen { size_bytes, took_ms } => Event::Frozen { at_ms, size_bytes, took_ms },
        FromGuest::Error { what } => Event::Error { at_ms, what },
        FromGuest::Exited { code, signal } => {
            return (vec![Event::Exited { at_ms, code, signal }], Some(Why::Exited));
        }
    };
    (vec![event], None)
}

fn output(stream: Stream, text: &str, dropped: u64, at_ms: u64) -> Vec<Event> {
    let lines = text.lines().enumerate().map(|(number, line)| {
        let dropped = if number == 0 { dropped } else { 0 };
        Event::Output { at_ms, stream, line: line.to_owned(), dropped }
    });
    lines.collect()
}

fn calls(mut list: Vec<watched::RawCall>, dropped: u64, lost: u64, at_ms: u64) -> Vec<Event> {
    let dropped = dropped.saturating_add(bound(&mut list, MAX_CALLS));
    let mut events = Vec::new();
    for raw in &list {
        events.extend(syscalls::attempt(raw).map(|attempt| Event::Attempt { at_ms, attempt }));
        events.push(Event::Call { at_ms, call: syscalls::decode(raw) });
    }
    if dropped > 0 || lost > 0 {
        events.push(Event::CallsLeftOut { at_ms, dropped, lost });
    }
    events
}
