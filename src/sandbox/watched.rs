//! What the guest sees of the processes while they run: system calls, open files, changed files, what reached the sink.
//!
//! It is seen beside the suspect's code and comes over the channel, so it is believed no more than that: bounds here are
//! kept by the guest and cut again by the host ([`bound`]). What is too much is counted, never silent.

use serde::{Deserialize, Serialize};

/// Most system calls in one message.
pub const MAX_CALLS: usize = 64;
/// System calls that are told in a second; more are counted.
pub const MAX_CALLS_A_SECOND: u32 = 2000;
/// Calls with an address that are told in a second, whatever else there is.
pub const MAX_ADDRESSES_A_SECOND: u32 = 200;
/// Most bytes of one captured string.
pub const MAX_CAPTURED: usize = 256;
/// Most strings of one call.
pub const MAX_TEXTS: usize = 8;
/// Most open files in one message.
pub const MAX_OPEN_FILES: usize = 512;
/// Most sockets in one message.
pub const MAX_SOCKETS: usize = 512;
/// Most changed files in one message.
pub const MAX_CHANGES: usize = 256;
/// Most records of the sink in one message.
pub const MAX_CONTACTS: usize = 64;
/// Records of the sink that are told in a second; more are counted.
pub const MAX_CONTACTS_A_SECOND: u32 = 100;

/// What is watched, and how the run starts: goes to the guest with the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watching {
    /// Whose system calls are told.
    pub trace: Trace,
    /// Restored, the processes stand still until they are told to go on.
    pub is_stopped: bool,
    /// Whether packets of the sealed network are sent to the host.
    pub packets: bool,
}

/// Whose system calls are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "of", content = "pids")]
pub enum Trace {
    /// Those with an address only: attempted connections.
    #[default]
    Addresses,
    /// All of every process.
    All,
    /// All of these processes, by their pids inside the container, and of what they start.
    Processes(Vec<u32>),
}

/// Whose numbers a system call has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abi {
    /// Those of x86-64.
    #[default]
    #[serde(rename = "x86-64")]
    X86_64,
    /// Those of i386: of programs of 32 bits, and of any program that enters the kernel as they do.
    #[serde(rename = "i386")]
    I386,
}

impl Abi {
    /// Those of the machine itself.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_native(&self) -> bool {
        *self == Abi::X86_64
    }
}

/// A system call as the kernel's trace events have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawCall {
    /// Microseconds since the processes were restored.
    pub time_us: u64,
    /// Process inside the container, where it could still be looked at.
    pub pid: Option<u32>,
    /// Thread inside the container.
    pub tid: Option<u32>,
    /// Short name of the thread.
    pub comm: String,
    /// Whose number it is.
    #[serde(default, skip_serializing_if = "Abi::is_native")]
    pub abi: Abi,
    /// Number of the call.
    pub nr: u64,
    /// Registers of its arguments; of i386 their lower halves.
    pub args: [u64; 6],
    /// Strings that arguments point to, in their order, lists as their first few; `None` for what could not be read.
    pub texts: Vec<Option<String>>,
    /// Bytes of the socket address that an argument points to, in hexadecimal.
    pub address: Option<String>,
    /// What it returned.
    pub result: Option<i64>,
    /// Microseconds it took.
    pub took_us: Option<u64>,
}

/// A descriptor of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenFile {
    /// Process inside the container.
    pub pid: u32,
    /// Number.
    pub fd: u32,
    /// What the link in /proc/PID/fd says.
    pub target: String,
}

/// A socket of the container's network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketLine {
    /// `tcp`, `tcp6`, `udp`, `udp6`.
    pub proto: String,
    /// Own address and port.
    pub local: String,
    /// The peer's.
    pub remote: String,
    /// As ss names it.
    pub state: String,
    /// As in the targets of open files: `socket:[inode]`.
    pub inode: u64,
}

/// What became of a file since the processes were restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Path inside the container.
    pub path: String,
    /// What.
    pub change: Change,
    /// Its size now.
    pub size_bytes: u64,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there before.
    New,
    /// Written, or its attributes changed.
    Changed,
    /// It is gone.
    Removed,
}

impl Change {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            Change::New => "new",
            Change::Changed => "changed",
            Change::Removed => "removed",
        }
    }
}

/// Something reached the sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Microseconds since the processes were restored.
    pub time_us: u64,
    /// `tcp`, `udp`.
    pub proto: String,
    /// Address and port that it came from.
    pub from: String,
    /// Address and port that it was meant for.
    pub to: String,
    /// The name that was asked for and got this address as its answer.
    pub name: Option<String>,
    /// What it said.
    #[serde(flatten)]
    pub saw: Saw,
}

/// What somebody said to the sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "saw")]
pub enum Saw {
    /// A connection, and nothing yet.
    Connection,
    /// A question for a name.
    Dns {
        /// The name.
        question: String,
        /// What is asked of it: `A`, `AAAA`, `TXT`, a number.
        kind: String,
        /// The answer, where there is one.
        answer: Option<String>,
    },
    /// A request of HTTP.
    Http {
        /// Its first line.
        request: String,
        /// The header `Host`.
        host: Option<String>,
        /// The header `User-Agent`.
        user_agent: Option<String>,
    },
    /// A greeting of TLS.
    Tls {
        /// The server's name in it.
        server_name: Option<String>,
    },
    /// Anything else.
    Data {
        /// The first bytes, what is no text as `\xNN`.
        first: String,
    },
}

impl Saw {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Saw::Connection => "connected".to_owned(),
            Saw::Dns { question, kind, answer } => {
                format!("asks for {kind} of {question}: {}", answer.as_deref().unwrap_or("no answer"))
            }
            Saw::Http { request, host, .. } => {
                format!("HTTP {request}{}", host.as_ref().map_or_else(String::new, |host| format!(" (host {host})")))
            }
            Saw::Tls { server_name } => format!("TLS for {}", server_name.as_deref().unwrap_or("no name")),
            Saw::Data { first } => format!("says {first}"),
        }
    }
}

/// Cuts a list to what may be in it; how many were too many.
pub fn bound<T>(list: &mut Vec<T>, max: usize) -> u64 {
    let more = list.len().saturating_sub(max) as u64;
    list.truncate(max);
    more
}

/// Cuts a list to what a message holds, by number and by bytes; how many were too many.
pub fn fit<T: Serialize>(list: &mut Vec<T>, max: usize) -> u64 {
    /// Leaves place for what a message has beside its list.
    const MAX_BYTES: usize = 200 << 10;
    let mut len = 0;
    let fitting = list.iter().take(max).take_while(|item| {
        len += serde_json::to_vec(item).map_or(usize::MAX / 2, |bytes| bytes.len() + 1);
        len <= MAX_BYTES
    });
    let count = fitting.count();
    bound(list, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_by_number_and_by_bytes() {
        let mut list = vec!["x".to_owned(); 10];
        assert_eq!((fit(&mut list, 7), list.len()), (3, 7));
        // Controls take six bytes each.
        let mut list = vec!["\u{1}".repeat(10_000); 10];
        assert_eq!((fit(&mut list, 100), list.len()), (7, 3));
    }

    #[test]
    fn what_reached_the_sink_reads_as_one_document() {
        let contact = Contact {
            time_us: 1,
            proto: "udp".into(),
            from: "10.0.2.15:1".into(),
            to: "198.51.100.53:53".into(),
            name: None,
            saw: Saw::Dns { question: "c2.example.net".into(), kind: "A".into(), answer: Some("198.18.0.1".into()) },
        };
        let text = serde_json::to_string(&contact).unwrap();
        assert!(text.contains(r#""saw":"dns","question":"c2.example.net""#), "{text}");
        assert_eq!(serde_json::from_str::<Contact>(&text).unwrap(), contact);
        assert_eq!(contact.saw.words(), "asks for A of c2.example.net: 198.18.0.1");
    }
}
