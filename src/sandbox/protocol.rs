//! What host and guest say to each other over the one channel of the machine.
//!
//! A message is a length (u32, little-endian) and so many bytes of JSON. The guest runs the suspect's code, so the host
//! believes nothing of it: a message is at most [`MAX_FROM_GUEST`] long, lists in it are cut to what is shown, and whoever
//! sends more than [`MAX_MESSAGES_A_SECOND`] over a while is cut off. The guest believes the host, within bounds.
//!
//! Both ends are of one build; [`VERSION`] says so when they are not.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::plan::{RestorePlan, Stream};
use super::watched::{Contact, FileChange, OpenFile, RawCall, SocketLine, Watching};

/// Of the protocol; both ends must agree.
pub const VERSION: u32 = 3;
/// Name of the port in the machine.
pub const PORT: &str = "cryoscope.control";
/// Longest message of the guest, in bytes.
pub const MAX_FROM_GUEST: u32 = 256 << 10;
/// Longest message of the host, in bytes.
pub const MAX_FROM_HOST: u32 = 8 << 20;
/// Messages that a guest may send a second, over [`RATE_WINDOW_SECONDS`].
pub const MAX_MESSAGES_A_SECOND: u32 = 400;
/// Over how long the rate is looked at.
pub const RATE_WINDOW_SECONDS: u32 = 5;
/// Most processes in one message.
pub const MAX_PROCESSES: usize = 512;
/// Longest text in a message of the guest, in bytes; longer ones are cut by the sender.
pub const MAX_TEXT: usize = 16 << 10;

/// What the guest says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromGuest {
    /// The first message: the agent is up.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The kernel's release.
        kernel: String,
        /// Milliseconds since the kernel started.
        uptime_ms: u64,
    },
    /// What it does now.
    Stage {
        /// In words: "loading modules".
        name: String,
    },
    /// criu is done, the processes go on.
    Restored {
        /// The root process in the machine's pid namespace.
        pid: u32,
        /// Milliseconds that criu took.
        took_ms: u64,
        /// The machine's clock then, in microseconds since 1970: times are counted from here.
        clock_us: u64,
    },
    /// criu could not restore.
    Failed {
        /// Errors of its log, the first one first.
        errors: Vec<String>,
        /// The end of its log.
        log: Vec<String>,
    },
    /// The processes, looked at once.
    Processes {
        /// Milliseconds since they were restored.
        at_ms: u64,
        /// At most [`MAX_PROCESSES`].
        list: Vec<ProcessLine>,
        /// How many there are more.
        left_out: u32,
    },
    /// Something was written to standard output or error.
    Output {
        /// Which.
        stream: Stream,
        /// A line or a piece of one, bytes that are not UTF-8 replaced.
        text: String,
        /// Lines that were not sent before this one, since there were too many.
        dropped: u64,
    },
    /// What came back over a connection that was asked for.
    Answer {
        /// Of the request.
        id: u32,
        /// What was received, bytes that are not UTF-8 replaced.
        text: String,
        /// Why there is none.
        error: Option<String>,
    },
    /// A new checkpoint was taken and lies on the second disk.
    Frozen {
        /// Bytes of the archive, from the start of that disk.
        size_bytes: u64,
        /// Milliseconds that criu took.
        took_ms: u64,
    },
    /// The processes stand still, or go on.
    Paused {
        /// They stand still.
        is_paused: bool,
    },
    /// System calls, in their order.
    Calls {
        /// At most [`super::watched::MAX_CALLS`].
        list: Vec<RawCall>,
        /// Calls that were not sent before these, since there were too many.
        dropped: u64,
        /// Records that the kernel itself had no place for.
        lost: u64,
    },
    /// All open files, where they are others than before.
    OpenFiles {
        /// At most [`super::watched::MAX_OPEN_FILES`].
        list: Vec<OpenFile>,
        /// How many there are more.
        left_out: u64,
    },
    /// All sockets of the network, where they are others than before.
    Sockets {
        /// At most [`super::watched::MAX_SOCKETS`].
        list: Vec<SocketLine>,
        /// How many there are more.
        left_out: u64,
    },
    /// Files that are new, changed or gone since the last such message.
    Changes {
        /// At most [`super::watched::MAX_CHANGES`].
        list: Vec<FileChange>,
        /// How many there are more.
        left_out: u64,
    },
    /// What reached the sink.
    Contacts {
        /// At most [`super::watched::MAX_CONTACTS`].
        list: Vec<Contact>,
        /// Records that were not sent before these, since there were too many.
        dropped: u64,
    },
    /// Packets of the sealed network.
    Packets {
        /// Records as [`super::pcap`] has them, in base64.
        records: String,
        /// Packets that are not among them.
        lost: u64,
    },
    /// All that was seen has been told: the answer to [`FromHost::Finish`].
    Finished,
    /// No process of the container is left.
    Exited {
        /// Exit code of the root process, where it ended by itself.
        code: Option<i32>,
        /// Signal that ended it.
        signal: Option<i32>,
    },
    /// Something went wrong in the agent itself.
    Error {
        /// What, and where.
        what: String,
    },
}

/// A process in the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessLine {
    /// In the machine.
    pub pid: u32,
    /// Inside the container, as in the checkpoint.
    pub ns_pid: u32,
    /// Parent, in the machine.
    pub ppid: u32,
    /// As in /proc: one letter.
    pub state: String,
    /// The short name.
    pub comm: String,
    /// Processor time since it was restored, in milliseconds.
    pub cpu_ms: u64,
    /// Resident memory in KiB.
    pub rss_kib: u64,
    /// Threads.
    pub threads: u32,
}

/// What the host says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum FromHost {
    /// Restore; once.
    Restore {
        /// How.
        plan: Box<RestorePlan>,
        /// What is watched.
        watching: Watching,
    },
    /// Stop all processes where they are.
    Pause,
    /// Let them go on.
    Resume,
    /// Let them go on for so long, and stop them again.
    Step {
        /// Milliseconds.
        ms: u64,
    },
    /// Stop all processes, and tell what was seen and is not told yet.
    Finish,
    /// Connect to a TCP port inside the container's network and send something.
    Connect {
        /// Comes back in the answer.
        id: u32,
        /// As `127.0.0.1:8088`.
        address: String,
        /// What is sent.
        send: String,
    },
    /// Take a new checkpoint, onto the second disk.
    Freeze {
        /// Whether the processes go on afterwards.
        leave_running: bool,
    },
}

/// Why the channel cannot be used any more.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// A message is longer than the other end may send.
    #[error("a message of {len} bytes, and at most {max} are borne")]
    TooLong {
        /// As the sender says.
        len: u32,
        /// The bound.
        max: u32,
    },
    /// A message makes no sense.
    #[error("a message that makes no sense: {0}")]
    Garbled(#[from] serde_json::Error),
    /// The channel is closed or broken.
    #[error("the channel: {0}")]
    Io(#[from] io::Error),
}

/// Writes one message.
///
/// # Errors
/// It is too long, or the channel is broken.
pub fn write<T: Serialize>(out: &mut dyn Write, message: &T, max: u32) -> Result<(), ChannelError> {
    let body = serde_json::to_vec(message)?;
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if max < len {
        return Err(ChannelError::TooLong { len, max });
    }
    // In one piece: others may write between two.
    let mut whole = len.to_le_bytes().to_vec();
    whole.extend_from_slice(&body);
    out.write_all(&whole)?;
    Ok(out.flush()?)
}

/// Reads one message; `None` at an end between messages.
///
/// # Errors
/// It is too long or makes no sense, or the channel is broken.
pub fn read<T: DeserializeOwned>(from: &mut dyn Read, max: u32) -> Result<Option<T>, ChannelError> {
    let mut len = [0; 4];
    match from.read(&mut len[..1])? {
        0 => return Ok(None),
        _ => from.read_exact(&mut len[1..])?,
    }
    let len = u32::from_le_bytes(len);
    if max < len {
        return Err(ChannelError::TooLong { len, max });
    }
    let mut body = Vec::new();
    from.take(u64::from(len)).read_to_end(&mut body)?;
    if body.len() < len as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Cuts a text to at most [`MAX_TEXT`] bytes, at a character.
pub fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let mut end = MAX_TEXT;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Counts messages, and says when there are too many: more than the rate over the whole window.
#[derive(Debug, Default)]
pub struct Meter {
    window: u64,
    count: u32,
}

impl Meter {
    /// One more message, at a time in seconds; `false` when it is one too many.
    pub fn count(&mut self, now_seconds: u64) -> bool {
        let window = now_seconds / u64::from(RATE_WINDOW_SECONDS);
        if window != self.window {
            *self = Meter { window, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= MAX_MESSAGES_A_SECOND * RATE_WINDOW_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> FromGuest {
        FromGuest::Hello { version: VERSION, kernel: "6.12".into(), uptime_ms: 7 }
    }

    #[test]
    fn messages_come_back_as_they_were_sent_and_the_end_is_no_error() {
        let mut bytes = Vec::new();
        write(&mut bytes, &hello(), MAX_FROM_GUEST).unwrap();
        write(&mut bytes, &FromGuest::Stage { name: "x".into() }, MAX_FROM_GUEST).unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(read(&mut from, MAX_FROM_GUEST).unwrap(), Some(hello()));
        assert_eq!(read(&mut from, MAX_FROM_GUEST).unwrap(), Some(FromGuest::Stage { name: "x".into() }));
        assert_eq!(read::<FromGuest>(&mut from, MAX_FROM_GUEST).unwrap(), None);
    }

    #[test]
    fn lengths_are_not_believed_and_cut_or_garbled_messages_are_errors() {
        let check = |bytes: &[u8], message: &str| {
            let error = read::<FromGuest>(&mut &bytes[..], 16).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        };
        check(&[0xff; 8], "a message of 4294967295 bytes, and at most 16 are borne");
        check(&[17, 0, 0, 0], "a message of 17 bytes");
        check(&[9, 0], "the channel: ");
        check(&[9, 0, 0, 0, b'{'], "the channel: ");
        check(&[2, 0, 0, 0, b'{', b'}'], "a message that makes no sense");
        check(&[4, 0, 0, 0, 0xff, 0xfe, 0, 0], "a message that makes no sense");
        assert!(matches!(write(&mut Vec::new(), &hello(), 4), Err(ChannelError::TooLong { max: 4, .. })));
    }

    #[test]
    fn whatever_bytes_arrive_nothing_panics() {
        let mut whole = Vec::new();
        write(&mut whole, &hello(), MAX_FROM_GUEST).unwrap();
        for at in 0..whole.len() {
            let _ = read::<FromGuest>(&mut &whole[..at], MAX_FROM_GUEST);
            for flip in [1, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] ^= flip;
                let _ = read::<FromGuest>(&mut changed.as_slice(), MAX_FROM_GUEST);
            }
        }
    }

    #[test]
    fn flood_is_seen_and_a_burst_is_not_one() {
        let mut meter = Meter::default();
        assert!((0..2000).all(|_| meter.count(100)));
        assert!(!meter.count(104));
        assert!(meter.count(105));
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let text = cut("é".repeat(MAX_TEXT));
        assert!(text.len() <= MAX_TEXT + 3 && text.ends_with("é…"));
        assert_eq!(cut("short".into()), "short");
    }
}
