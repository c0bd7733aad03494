//! The trace events that are switched on: calls and their results, forks and ends, and probes of our own for the strings and
//! addresses that arguments point to. Strings are read by the kernel at the beginning of the call; paths that were not in
//! memory yet, and all addresses, are taken from the kernel's own copy, so that nobody can change them in between.
//!
//! No debugger, no seccomp: a process that looks for either sees none. Source: Linux `Documentation/trace/events.rst`,
//! `eprobetrace.rst`, `kprobetrace.rst` (the words of fetch arguments).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;

use rustix::mount::MountFlags;

use super::super::boot::{list, make_dir, mount_at, read, tids, write};
use super::super::{GuestError, watch};
use super::ring::{u32_at, u64_at};
use crate::sandbox::syscalls::{self, MAX_LISTED};
use crate::sandbox::watched::{Abi, MAX_CAPTURED, Trace};

const TRACING: &str = "/sys/kernel/tracing";
/// A buffer of our own.
const INSTANCE: &str = "/sys/kernel/tracing/instances/cryoscope";
/// Of each processor.
const BUFFER_KIB: &str = "2048";
/// Words of 8 bytes that are taken of an address: those of AF_UNIX have 110 bytes.
const ADDRESS_WORDS: usize = 14;

/// One record.
#[derive(Debug, PartialEq)]
pub(super) enum Record {
    /// The moment from which times are counted.
    Mark,
    Enter {
        tid: u32,
        nr: u64,
        args: [u64; 6],
    },
    Exit {
        tid: u32,
        nr: u64,
        result: i64,
    },
    /// Strings of a call: comes before or after its `Enter`.
    Texts {
        tid: u32,
        nr: u64,
        texts: Vec<Option<String>>,
    },
    /// A path, and where it was copied from.
    Path {
        tid: u32,
        pointer: u64,
        path: String,
    },
    /// An address of a socket.
    Address {
        tid: u32,
        address: String,
    },
    /// The call that has begun came by the entry for programs of 32 bits: comes after its `Enter`, before paths and
    /// addresses.
    I386 {
        tid: u32,
        nr: u64,
    },
    Fork {
        parent: u32,
        child: u32,
    },
    /// A thread has ended; the call that it was in does not return.
    Ended {
        tid: u32,
    },
}

/// Where fields of records are, by the number of the event.
#[derive(Debug, Default)]
pub(super) struct Events {
    by_id: BTreeMap<u32, Event>,
}

#[derive(Debug)]
enum Event {
    Mark,
    Enter,
    Exit,
    Fork { parent: usize, child: usize },
    Texts { nr: u64, texts: Vec<usize> },
    Path { pointer: usize, path: usize },
    Address { len: usize, words: Vec<usize> },
    I386 { nr: usize },
    Ended,
}

/// Probes in functions of the kernel: where it checks what it has copied.
const ADDRESS_PROBES: [(&str, &str, &str, &str); 3] = [
    ("connect", "security_socket_connect", "%dx", "(%si)"),
    ("bind", "security_socket_bind", "%dx", "(%si)"),
    ("sendmsg", "security_socket_sendmsg", "+8(%si)", "(+0(%si))"),
];
/// Where the kernel copies paths. Where its compiler took them apart all come through the part, and some, as those of
/// `unlink` and `chdir`, not through the whole.
const PATH_PART: &str = "getname_flags.part.0";
const PATH_WHOLE: [&str; 2] = ["getname", "getname_flags"];
/// Every call of i386 that has a number there goes through it, whatever way it came in.
const I386_PROBE: &str = "ia32_sys_call";

/// Switches everything on, for the processes that are there now and what they start. They stand still meanwhile. Where
/// calls of i386 cannot be told from others, the error says why.
pub(super) fn start(trace: &Trace) -> Result<(Events, Result<(), GuestError>), GuestError> {
    mount_at("tracefs", "tracefs", TRACING, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "")?;
    make_dir(INSTANCE)?;
    for (name, value) in [("trace_clock", "mono"), ("buffer_size_kb", BUFFER_KIB), ("options/event-fork", "1")] {
        write(format!("{INSTANCE}/{name}"), value)?;
    }
    set_pids(trace)?;
    let mut events = Events::default();
    for (name, function, len, address) in ADDRESS_PROBES {
        let words = (0..ADDRESS_WORDS).map(|at| format!("a{at}=+{}{address}:x64", at * 8)).collect::<Vec<_>>();
        define(&format!("p:cryoscope/{name} {function} len={len}:x32 {}", words.join(" ")))?;
        events.add(&format!("cryoscope/{name}"), |format| {
            let words = (0..).map_while(|at| offset(format, &format!("a{at}"))).collect();
            Some(Event::Address { len: offset(format, "len")?, words })
        })?;
    }
    let has_i386 = define(&format!("p:cryoscope/i386 {I386_PROBE} nr=%si:x32"))
        .and_then(|()| events.add("cryoscope/i386", |format| Some(Event::I386 { nr: offset(format, "nr")? })));
    if *trace == Trace::Addresses {
        let filter = is_any("id", syscalls::reaching(Abi::X86_64).chain(syscalls::reaching(Abi::I386)));
        for event in ["sys_enter", "sys_exit"] {
            write(format!("{INSTANCE}/events/raw_syscalls/{event}/filter"), &filter)?;
        }
        if has_i386.is_ok() {
            write(format!("{INSTANCE}/events/cryoscope/i386/filter"), &is_any("nr", syscalls::reaching(Abi::I386)))?;
        }
    } else {
        if paths("path", PATH_PART, &mut events).is_err() {
            PATH_WHOLE.into_iter().try_for_each(|function| paths(function, function, &mut events))?;
        }
        syscalls::numbers(Abi::X86_64).try_for_each(|nr| probe(nr, &mut events))?;
    }
    events.add("raw_syscalls/sys_enter", |_| Some(Event::Enter))?;
    events.add("raw_syscalls/sys_exit", |_| Some(Event::Exit))?;
    events.add("ftrace/print", |_| Some(Event::Mark))?;
    events.add("sched/sched_process_fork", |format| {
        Some(Event::Fork { parent: offset(format, "parent_pid")?, child: offset(format, "child_pid")? })
    })?;
    events.add("sched/sched_process_exit", |_| Some(Event::Ended))?;
    for event in ["raw_syscalls", "sched/sched_process_fork", "sched/sched_process_exit", "cryoscope"] {
        write(format!("{INSTANCE}/events/{event}/enable"), "1")?;
    }
    Ok((events, has_i386))
}

/// A filter of events.
fn is_any(field: &str, numbers: impl Iterator<Item = u64>) -> String {
    numbers.map(|nr| format!("{field} == {nr}")).collect::<Vec<_>>().join(" || ")
}

/// Marks this moment in the buffer.
pub(super) fn mark() -> Result<(), GuestError> {
    write(format!("{INSTANCE}/trace_marker"), "start")
}

/// The buffers of all processors; reading does not wait.
pub(super) fn buffers() -> Result<Vec<File>, GuestError> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let dir = format!("{INSTANCE}/per_cpu");
    let open = |cpu: String| {
        let path = format!("{dir}/{cpu}/trace_pipe_raw");
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        OpenOptions::new().read(true).custom_flags(flags).open(&path).map_err(GuestError::file("open", &path))
    };
    list(&dir)?.into_iter().map(open).collect()
}

fn set_pids(trace: &Trace) -> Result<(), GuestError> {
    let wanted: Vec<u32> = match trace {
        Trace::Addresses | Trace::All => tids(),
        Trace::Processes(pids) => {
            let is_wanted = |tid: &u32| {
                watch::Names::look(*tid).is_some_and(|names| names.pid.is_some_and(|pid| pids.contains(&pid)))
            };
            tids().into_iter().filter(is_wanted).collect()
        }
    };
    let path = format!("{INSTANCE}/set_event_pid");
    let mut file =
        OpenOptions::new().write(true).truncate(true).open(&path).map_err(GuestError::file("open", &path))?;
    // The kernel takes words that are whole in one write only. An empty list would be everybody.
    let none = [u32::MAX >> 1];
    let all = if wanted.is_empty() { &none[..] } else { &wanted };
    all.iter().try_for_each(|tid| writeln!(file, "{tid}")).map_err(GuestError::file("write", &path))
}

/// A probe for the paths that a function of the kernel copies.
fn paths(name: &str, function: &str, events: &mut Events) -> Result<(), GuestError> {
    define(&format!("r:cryoscope/{name} {function} ptr=$arg1:x64 path=+0(+0($retval)):string"))?;
    events.add(&format!("cryoscope/{name}"), |format| {
        Some(Event::Path { pointer: offset(format, "ptr")?, path: offset(format, "path")? })
    })
}

/// A probe for the strings that the arguments of a call point to, if it has any. The kernel has no such events for calls of
/// i386.
fn probe(nr: u64, events: &mut Events) -> Result<(), GuestError> {
    let captured: Vec<(usize, char)> = syscalls::captured(Abi::X86_64, nr).filter(|(_, kind)| *kind != 'a').collect();
    let name = syscalls::name(Abi::X86_64, nr);
    // The kernel names some by the function behind the call.
    let names = [name.clone(), format!("new{name}"), name.trim_end_matches('2').to_owned()];
    let format = |name: &String| read(&format!("{TRACING}/events/syscalls/sys_enter_{name}/format")).ok();
    let found = names.iter().filter(|_| !captured.is_empty()).find_map(|name| Some((name, format(name)?)));
    let Some((name, format)) = found else { return Ok(()) };
    let arguments = arguments(&format);
    let mut fetches = Vec::new();
    for (at, kind) in captured {
        let Some(field) = arguments.get(at) else { continue };
        if kind == 'v' {
            fetches.extend((0..MAX_LISTED).map(|at| format!("+0(+u{}(${field}))", at * 8)));
        } else {
            fetches.push(format!("+0(${field})"));
        }
    }
    let words: Vec<String> = fetches.iter().enumerate().map(|(at, fetch)| format!("t{at}={fetch}:ustring")).collect();
    define(&format!("e:cryoscope/c{nr} syscalls.sys_enter_{name} {}", words.join(" ")))?;
    events.add(&format!("cryoscope/c{nr}"), |format| {
        let texts = (0..).map_while(|at| offset(format, &format!("t{at}"))).collect();
        Some(Event::Texts { nr, texts })
    })
}

fn define(definition: &str) -> Result<(), GuestError> {
    let path = format!("{TRACING}/dynamic_events");
    let mut file = OpenOptions::new().append(true).open(&path).map_err(GuestError::file("open", &path))?;
    file.write_all(format!("{definition}\n").as_bytes()).map_err(GuestError::file("define a probe in", &path))
}

/// Names of a call's arguments.
fn arguments(format: &str) -> Vec<String> {
    let fields = format.lines().filter_map(field).skip_while(|(name, _)| *name != "__syscall_nr").skip(1);
    fields.map(|(name, _)| name.to_owned()).collect()
}

/// Name and offset in a line like `field:const char * filename; offset:24; size:8; signed:0;`, with tabs between.
fn field(line: &str) -> Option<(&str, usize)> {
    let (declared, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
    let name = declared.rsplit([' ', '*']).next()?;
    let name = name.split('[').next()?;
    let offset = rest.trim().strip_prefix("offset:")?.split(';').next()?.parse().ok()?;
    Some((name, offset))
}

fn offset(format: &str, wanted: &str) -> Option<usize> {
    format.lines().filter_map(field).find(|(name, _)| *name == wanted).map(|(_, offset)| offset)
}

impl Events {
    fn add(&mut self, event: &str, make: impl FnOnce(&str) -> Option<Event>) -> Result<(), GuestError> {
        let path = format!("{INSTANCE}/events/{event}/format");
        let format = read(&path)?;
        let id = format.lines().find_map(|line| line.strip_prefix("ID: ")?.trim().parse().ok());
        let (Some(id), Some(event)) = (id, make(&format)) else {
            return Err(GuestError::file("understand", path)(std::io::Error::other("fields are missing")));
        };
        self.by_id.insert(id, event);
        Ok(())
    }

    /// What a record says; `None` for those that are not ours.
    pub(super) fn parse(&self, data: &[u8]) -> Option<Record> {
        let id = u32::from(u16::from_le_bytes(*data.first_chunk()?));
        let tid = u32_at(data, 4)?;
        match self.by_id.get(&id)? {
            Event::Mark => Some(Record::Mark),
            Event::Enter => {
                let mut args = [0; 6];
                for (at, arg) in args.iter_mut().enumerate() {
                    *arg = u64_at(data, 16 + at * 8)?;
                }
                Some(Record::Enter { tid, nr: u64_at(data, 8)?, args })
            }
            Event::Exit => Some(Record::Exit { tid, nr: u64_at(data, 8)?, result: u64_at(data, 16)? as i64 }),
            Event::I386 { nr } => Some(Record::I386 { tid, nr: u64::from(u32_at(data, *nr)?) }),
            Event::Ended => Some(Record::Ended { tid }),
            Event::Fork { parent, child } => {
                Some(Record::Fork { parent: u32_at(data, *parent)?, child: u32_at(data, *child)? })
            }
            Event::Texts { nr, texts } => {
                Some(Record::Texts { tid, nr: *nr, texts: texts.iter().map(|at| text(data, *at)).collect() })
            }
            Event::Path { pointer, path } => {
                Some(Record::Path { tid, pointer: u64_at(data, *pointer)?, path: text(data, *path)? })
            }
            Event::Address { len, words } => {
                let len = u32_at(data, *len)? as usize;
                let words = words.iter().filter_map(|at| u64_at(data, *at));
                let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).take(len).collect();
                (!bytes.is_empty()).then(|| Record::Address { tid, address: crate::base::hex(&bytes) })
            }
        }
    }
}

/// A string in a record: offset in the lower and length in the upper half of a word.
fn text(data: &[u8], at: usize) -> Option<String> {
    let place = u32_at(data, at)?;
    let (start, len) = ((place & 0xffff) as usize, (place >> 16) as usize);
    let bytes = data.get(start..start.checked_add(len)?)?;
    let bytes = bytes.split(|byte| *byte == 0).next()?;
    // The kernel's word for what it could not read.
    if bytes == b"(fault)" || len == 0 {
        return None;
    }
    let cut = bytes.get(..MAX_CAPTURED).unwrap_or(bytes);
    let more = if cut.len() < bytes.len() { "…" } else { "" };
    Some(format!("{}{more}", String::from_utf8_lossy(cut)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENAT: &str = "name: sys_enter_openat\nID: 749\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;\n\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;\n\tfield:__data_loc char[] t0;\toffset:32;\tsize:4;\tsigned:1;\n";

    #[test]
    fn formats_are_read() {
        assert_eq!(arguments(OPENAT), ["dfd", "filename", "t0"]);
        assert_eq!((offset(OPENAT, "filename"), offset(OPENAT, "t0"), offset(OPENAT, "x")), (Some(24), Some(32), None));
    }

    #[test]
    fn records_are_read_and_short_ones_are_none() {
        let mut events = Events::default();
        events.by_id.insert(7, Event::Enter);
        events.by_id.insert(8, Event::Texts { nr: 257, texts: vec![8, 12] });
        events.by_id.insert(9, Event::Address { len: 8, words: vec![16, 24] });
        let mut enter = vec![7, 0, 0, 0, 9, 0, 0, 0];
        for word in [257u64, 1, 2, 3, 4, 5, 6] {
            enter.extend(word.to_le_bytes());
        }
        assert_eq!(events.parse(&enter), Some(Record::Enter { tid: 9, nr: 257, args: [1, 2, 3, 4, 5, 6] }));
        (0..enter.len()).for_each(|len| assert_eq!(events.parse(&enter[..len]), None));
        let mut captured = vec![8, 0, 0, 0, 9, 0, 0, 0];
        captured.extend((16u32 | 5 << 16).to_le_bytes());
        captured.extend((0xffffu32 | 0xffff << 16).to_le_bytes());
        captured.extend(b"/tmp\0");
        let texts = vec![Some("/tmp".to_owned()), None];
        assert_eq!(events.parse(&captured), Some(Record::Texts { tid: 9, nr: 257, texts }));
        events.by_id.insert(10, Event::I386 { nr: 16 });
        events.by_id.insert(11, Event::Ended);
        let mut old = vec![10, 0, 0, 0, 9, 0, 0, 0];
        old.extend([0xff; 8]);
        old.extend(102u32.to_le_bytes());
        assert_eq!(events.parse(&old), Some(Record::I386 { tid: 9, nr: 102 }));
        (0..old.len()).for_each(|len| assert_eq!(events.parse(&old[..len]), None));
        assert_eq!(events.parse(&[11, 0, 0, 0, 9, 0, 0, 0]), Some(Record::Ended { tid: 9 }));
        let mut address = vec![9, 0, 0, 0, 9, 0, 0, 0];
        address.extend(10u64.to_le_bytes());
        address.extend([0xab; 16]);
        let expected = Record::Address { tid: 9, address: "ab".repeat(10) };
        assert_eq!(events.parse(&address), Some(expected));
    }
}
