//! One QEMU process: started, listened to, ended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::MachineError;
use super::qemu::{self, Acceleration, FIRST_FD};
use crate::sandbox::plan::MachinePlan;
use crate::sandbox::protocol::{self, FromGuest, FromHost, MAX_FROM_GUEST, MAX_FROM_HOST, Meter};
use crate::sandbox::sys::{self, Bounds};

/// Messages that wait between the channel and who handles them; a guest that says more waits in turn.
const QUEUE: usize = 64;
/// Lines kept of console and standard error, and how long each may be.
const MAX_LINES: usize = 60;
const MAX_LINE: u64 = 2000;
/// What QEMU needs on top of the machine's memory: its own code, translations, buffers.
const OVERHEAD_BYTES: u64 = 6 << 30;

/// Lines said last, shared with the threads that read them.
pub(super) type LastLines = Arc<Mutex<VecDeque<String>>>;

/// A machine that runs. Dropped, it is killed, and nothing of it is left.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    control: UnixStream,
    messages: Receiver<Result<FromGuest, MachineError>>,
    errors: LastLines,
    console: LastLines,
}

/// Files of a machine.
#[derive(Debug)]
pub(super) struct Files<'a> {
    /// Read by QEMU while it starts.
    pub(super) kernel: &'a File,
    /// Read by QEMU while it starts.
    pub(super) initrd: &'a File,
    /// Read-only.
    pub(super) disk: &'a File,
    /// Written by the guest.
    pub(super) scratch: Option<&'a File>,
}

impl Process {
    /// Starts QEMU. It ends with the calling thread at the latest.
    pub(super) fn start(
        program: &Path,
        plan: &MachinePlan,
        acceleration: Acceleration,
        files: &Files<'_>,
    ) -> Result<Process, MachineError> {
        let (control, theirs) = UnixStream::pair().map_err(MachineError::io("make a channel"))?;
        let copy = |file: &File| file.try_clone().map(OwnedFd::from).map_err(MachineError::io("hand over a file"));
        let mut handed = vec![copy(files.initrd)?, copy(files.disk)?, theirs.into(), copy(files.kernel)?];
        if let Some(scratch) = files.scratch {
            handed.push(copy(scratch)?);
        }
        let bounds = Bounds {
            address_space: u64::from(plan.memory_mib).saturating_mul(1 << 20).saturating_add(OVERHEAD_BYTES),
            cpu_seconds: u64::from(plan.max_seconds).saturating_mul(u64::from(plan.cpus) + 2).saturating_add(60),
        };
        #[expect(clippy::disallowed_methods, reason = "the machine's emulator is started here only")]
        let mut command = Command::new(program);
        command.args(qemu::arguments(plan, acceleration, files.scratch.is_some()));
        command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl+C in a terminal is for this program, which then ends the machine.
        command.process_group(0);
        sys::confine(&mut command, handed, FIRST_FD, bounds);
        let mut child = command.spawn().map_err(MachineError::io("start QEMU"))?;
        // The command holds the handed files, the guest's end of the channel among them.
        drop(command);
        let console = keep_lines("console", child.stdout.take())?;
        let errors = keep_lines("qemu", child.stderr.take())?;
        let (sender, messages) = sync_channel(QUEUE);
        let reader = control.try_clone().map_err(MachineError::io("copy the channel"))?;
        thread("channel", move || listen(reader, &sender))?;
        Ok(Process { child, control, messages, errors, console })
    }

    /// The next message; `None` when none came until `deadline`.
    pub(super) fn next(&mut self, deadline: Instant) -> Result<Option<FromGuest>, MachineError> {
        use std::sync::mpsc::RecvTimeoutError;
        match self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(message) => message.map(Some),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// Says something to the guest.
    pub(super) fn say(&mut self, message: &FromHost) -> Result<(), MachineError> {
        Ok(protocol::write(&mut self.control, message, MAX_FROM_HOST)?)
    }

    /// Last lines of QEMU's standard error.
    pub(super) fn errors(&self) -> String {
        joined(&self.errors)
    }

    /// Last lines of the machine's console.
    pub(super) fn console(&self) -> String {
        joined(&self.console)
    }

    fn ended(&mut self) -> MachineError {
        let _ = self.child.kill();
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let said = [self.errors(), self.console()].into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        MachineError::QemuEnded { status, said }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
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
            // QEMU ended within a message: its end is what is told.
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
