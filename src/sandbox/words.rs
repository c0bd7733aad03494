//! Events of a run in words, one place for command line and window. Texts are those of an untrusted machine: whoever
//! shows them escapes controls.

use std::borrow::Cow;

use super::microvm::Acceleration;
use super::plan::Stream;
use super::run::{Event, Why};
use super::syscalls::{Attempt, Call};
use super::watched::Abi;
use crate::report::text::plural;

/// One line of what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is.
    pub kind: LineKind,
    /// The line.
    pub text: String,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// The machine and its agent.
    Machine,
    /// Belongs to the line before it.
    Detail,
    /// Output of the container.
    Output(Stream),
    /// What the processes do: calls, connections, files.
    Deed,
    /// Something went wrong, or is not told.
    Error,
}

impl Stream {
    /// `out`, `err`.
    pub fn word(self) -> &'static str {
        match self {
            Stream::Stdin => "in",
            Stream::Stdout => "out",
            Stream::Stderr => "err",
        }
    }
}

impl Why {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Why::TimeOver => "the time is over",
            Why::Exited => "the processes have ended",
            Why::NotRestored => "it could not be restored",
            Why::Told => "it was told to",
        }
    }
}

impl Call {
    /// Its name, with the table that it is from where that is not the machine's own: `openat`, `open/i386`.
    pub fn name(&self) -> Cow<'_, str> {
        match self.abi {
            Abi::X86_64 => Cow::Borrowed(&self.call),
            Abi::I386 => Cow::Owned(format!("{}/i386", self.call)),
        }
    }

    /// As strace writes it: `openat(AT_FDCWD, "/x", O_RDONLY) = -2 ENOENT`.
    pub fn words(&self) -> String {
        format!("{}({}) = {}", self.name(), self.args.join(", "), result(self.result, self.error))
    }
}

impl Attempt {
    /// `connect to 203.0.113.7:4444 = -115 EINPROGRESS`.
    pub fn words(&self) -> String {
        format!("{} to {} = {}", self.call, self.to, result(self.result, self.error))
    }
}

/// A result with the name of its error; `?` where there is none.
pub fn result(result: Option<i64>, error: Option<&str>) -> String {
    match (result, error) {
        (None, _) => "?".to_owned(),
        (Some(result), None) => result.to_string(),
        (Some(result), Some(error)) => format!("{result} {error}"),
    }
}

/// `beacon[7]`.
fn who(comm: &str, pid: Option<u32>) -> String {
    pid.map_or_else(|| format!("{comm}[?]"), |pid| format!("{comm}[{pid}]"))
}

fn counted(listed: usize, left_out: u64) -> usize {
    listed.saturating_add(usize::try_from(left_out).unwrap_or(usize::MAX))
}

fn seconds(ms: u64) -> String {
    format!("{:.1} s", ms as f64 / 1000.0)
}

/// What an event says; lists of processes, open files and sockets say how many there are.
pub fn lines(event: &Event) -> Vec<Line> {
    let line = |kind, text: String| Line { kind, text };
    let machine = |text: String| vec![line(LineKind::Machine, text)];
    let deed = |text: String| vec![line(LineKind::Deed, text)];
    let error = |text: String| vec![line(LineKind::Error, text)];
    match event {
        Event::Booting { acceleration, note, .. } => {
            let by = match acceleration {
                Acceleration::Kvm => "KVM",
                Acceleration::Tcg => "emulation (slower than KVM)",
            };
            machine(format!("booting by {by}{}", note.as_ref().map_or_else(String::new, |note| format!("; {note}"))))
        }
        Event::Entering { .. } => machine("entering namespaces of this machine's kernel".into()),
        Event::Booted { kernel, .. } => machine(format!("booted: Linux {kernel}")),
        Event::Stage { name, .. } => machine(name.clone()),
        Event::Restored { took_ms, .. } => machine(format!("restored in {}", seconds(*took_ms))),
        Event::Failed { explanation, errors, log, .. } => {
            let why = explanation.as_ref().map_or_else(String::new, |text| format!(": {text}"));
            let list = if errors.is_empty() { log } else { errors };
            let details = list.iter().map(|text| line(LineKind::Detail, text.clone()));
            std::iter::once(line(LineKind::Error, format!("not restored{why}"))).chain(details).collect()
        }
        Event::Processes { list, left_out, .. } => {
            machine(plural(list.len().saturating_add(*left_out as usize), "process", "processes"))
        }
        Event::Output { stream, line: text, dropped, .. } => {
            let lost =
                (*dropped > 0).then(|| line(LineKind::Error, format!("{dropped} lines were too many and are lost")));
            lost.into_iter().chain([line(LineKind::Output(*stream), text.clone())]).collect()
        }
        Event::Answer { error: Some(why), .. } => error(format!("no answer: {why}")),
        Event::Answer { text, .. } => {
            let details = text.lines().map(|text| line(LineKind::Detail, text.to_owned()));
            std::iter::once(line(LineKind::Machine, "answer".into())).chain(details).collect()
        }
        Event::Paused { is_paused: true, .. } => machine("the processes stand still".into()),
        Event::Paused { is_paused: false, .. } => machine("the processes go on".into()),
        Event::Call { call, .. } => deed(format!("{} {}", who(&call.comm, call.pid), call.words())),
        Event::CallsLeftOut { dropped, lost, .. } => error(format!(
            "{dropped} system calls were too many and are not told; the kernel had no place for {lost} records"
        )),
        Event::Attempt { attempt, .. } => deed(format!("{} {}", who(&attempt.comm, attempt.pid), attempt.words())),
        Event::OpenFiles { list, left_out, .. } => {
            deed(plural(counted(list.len(), *left_out), "open file", "open files"))
        }
        Event::Sockets { list, left_out, .. } => deed(plural(counted(list.len(), *left_out), "socket", "sockets")),
        Event::FileChange { change, .. } => {
            deed(format!("{} {} ({} bytes)", change.change.word(), change.path, change.size_bytes))
        }
        Event::ChangesLeftOut { count, .. } => error(format!("{count} more files changed")),
        Event::Contact { contact, .. } => {
            let name = contact.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            deed(format!("{} {}{name} {}", contact.proto, contact.to, contact.saw.words()))
        }
        Event::ContactsLeftOut { count, .. } => error(format!("the sink saw {count} more, which are not told")),
        Event::Packets { lost, .. } if *lost > 0 => error(format!("{lost} packets were too many and are not recorded")),
        Event::Packets { .. } => Vec::new(),
        Event::Frozen { size_bytes, took_ms, .. } => {
            machine(format!("frozen again in {}, {size_bytes} bytes", seconds(*took_ms)))
        }
        Event::Error { what, .. } => error(what.clone()),
        Event::Exited { code: Some(code), .. } => machine(format!("the first process exited with code {code}")),
        Event::Exited { signal: Some(signal), .. } => {
            machine(format!("the first process was ended by signal {signal}"))
        }
        Event::Exited { .. } => machine("the first process has ended".into()),
        Event::Stopped { why, .. } => machine(format!("stopped: {}", why.words())),
    }
}
