//! The process that holds a guest (QEMU, or the keeper of a container): started, listened to, ended.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read};
use std::net::Shutdown;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::MachineError;
use crate::sandbox::protocol::{self, FromGuest, FromHost, MAX_FROM_GUEST, MAX_FROM_HOST, Meter};
use crate::sandbox::sys::{self, Bounds};

/// Messages that wait between the channel and who handles them; a guest that says more waits in turn.
const QUEUE: usize = 64;
/// Lines kept of console and standard error, and how long each may be.
const MAX_LINES: usize = 60;
const MAX_LINE: u64 = 2000;
/// Numbers of the files that are handed over, from this one on: above those that a process has open when it starts.
pub(in crate::sandbox) const FIRST_FD: RawFd = 100;

/// Lines said last, shared with the threads that read them.
type LastLines = Arc<Mutex<VecDeque<String>>>;

/// A machine that runs. Dropped, it is killed, and nothing of it is left.
#[derive(Debug)]
pub(in crate::sandbox) struct Process {
    name: &'static str,
    child: Child,
    control: UnixStream,
    messages: Receiver<Result<FromGuest, MachineError>>,
    errors: LastLines,
    console: LastLines,
    ending: Ending,
}

/// How what holds the guest is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Ending {
    /// It is killed.
    Kill,
    /// Its standard input ends; it kills what it holds, clears up, and ends itself.
    EndOfInput,
}

/// How long what clears up may take.
const PATIENCE_ENDING: Duration = Duration::from_secs(10);

/// How long last words may be on their way.
const PATIENCE_WORDS: Duration = Duration::from_millis(300);

impl Process {
    /// Starts `command` in a process group of its own and with nothing of our environment; `name` is what errors call it.
    /// `files` become its descriptors from [`FIRST_FD`] on; the channel's other end is among them.
    pub(in crate::sandbox) fn start(
        name: &'static str,
        mut command: Command,
        channel: UnixStream,
        files: Vec<OwnedFd>,
        bounds: Option<Bounds>,
        ending: Ending,
    ) -> Result<Process, MachineError> {
        let stdin = if ending == Ending::EndOfInput { Stdio::piped() } else { Stdio::null() };
        command.env_clear().current_dir("/").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl+C in a terminal is for this program, which then ends the guest.
        command.process_group(0);
        sys::confine(&mut command, files, FIRST_FD, bounds);
        let mut child = command.spawn().map_err(|source| MachineError::NoStart { name, source })?;
        // The command holds the handed files, the guest's end of the channel among them.
        drop(command);
        let console = keep_lines("console", child.stdout.take())?;
        let errors = keep_lines("errors", child.stderr.take())?;
        let (sender, messages) = sync_channel(QUEUE);
        let reader = channel.try_clone().map_err(MachineError::io("copy the channel"))?;
        thread("channel", move || listen(reader, &sender))?;
        Ok(Process { name, child, control: channel, messages, errors, console, ending })
    }

    /// The next message; `None` when none came until `deadline`.
    pub(in crate::sandbox) fn next(&mut self, deadline: Instant) -> Result<Option<FromGuest>, MachineError> {
        use std::sync::mpsc::RecvTimeoutError;
        match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(message) => message.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// Says something to the guest.
    pub(in crate::sandbox) fn say(&mut self, message: &FromHost) -> Result<(), MachineError> {
        Ok(protocol::write(&mut self.control, message, MAX_FROM_HOST)?)
    }

    /// Last lines of its standard error.
    pub(in crate::sandbox) fn errors(&self) -> String {
        joined(&self.errors)
    }

    /// Last lines of its standard output: of a machine, the console.
    pub(in crate::sandbox) fn console(&self) -> String {
        joined(&self.console)
    }

    fn ended(&mut self) -> MachineError {
        self.end();
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        // What it said last may still be on its way through the threads that read.
        let until = Instant::now() + PATIENCE_WORDS;
        while self.errors().is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        let said = [self.errors(), self.console()].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        MachineError::Ended { name: self.name, status, said }
    }

    fn end(&mut self) {
        if self.ending == Ending::EndOfInput {
            drop(self.child.stdin.take());
            let until = Instant::now() + PATIENCE_ENDING;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        let _ = self.child.wait();
        // Ends the thread that listens.
        let _ = self.control.shutdown(Shutdown::Both);
    }
}

/// Reads messages until the channel ends, or until there is one that must not be.
fn listen(mut channel: UnixStream, sender: &SyncSender<Result<FromGuest, MachineError>>) {
    let started = Instant::now();
    let mut meter = Meter::default();
    loop {
        let message = match protocol::read::<FromGuest>(&mut channel, MAX_FROM_GUEST) {
            Ok(Some(_)) if !meter.count(started.elapsed().as_secs()) => {
                Err(MachineError::Flood { max: protocol::MAX_MESSAGES_A_SECOND })
            }
            Ok(Some(message)) => Ok(message),
            Ok(None) => return,
            // It ended within a message: its end is what is told.
            Err(protocol::ChannelError::Io(_)) => return,
            Err(error) => Err(error.into()),
        };
        let is_last = message.is_err();
        if sender.send(message).is_err() || is_last {
            return;
        }
    }
}

/// Keeps the last lines of what a pipe says, on a thread of its own: whoever writes never waits.
fn keep_lines(name: &str, pipe: Option<impl Read + Send + 'static>) -> Result<LastLines, MachineError> {
    let lines = LastLines::default();
    let Some(pipe) = pipe else { return Ok(lines) };
    let kept = Arc::clone(&lines);
    let work = move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if !text.is_empty() {
                kept.push_back(text);
            }
            if MAX_LINES < kept.len() {
                kept.pop_front();
            }
        }
    };
    thread(name, work)?;
    Ok(lines)
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), MachineError> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(MachineError::io("start a thread"))
}

fn joined(lines: &LastLines) -> String {
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    lines.iter().cloned().collect::<Vec<_>>().join("\n")
}
