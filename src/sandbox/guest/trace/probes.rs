//! The trace events that are switched on: calls and their results, forks, and probes of our own for the strings and
//! addresses that arguments point to, read by the kernel at the moment of the call.
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
use crate::sandbox::watched::{MAX_CAPTURED, Trace};

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
    /// Comes before its `Enter`.
    Captured {
        tid: u32,
        texts: Vec<Option<String>>,
        address: Option<String>,
    },
    Fork {
        parent: u32,
        child: u32,
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
    Captured { texts: Vec<usize>, address: Vec<usize> },
}

/// Switches everything on, for the processes that are there now and what they start. They stand still meanwhile.
pub(super) fn start(trace: &Trace) -> Result<Events, GuestError> {
    mount_at("tracefs", "tracefs", TRACING, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "")?;
    make_dir(INSTANCE)?;
    for (name, value) in [("trace_clock", "mono"), ("buffer_size_kb", BUFFER_KIB), ("options/event-fork", "1")] {
        write(format!("{INSTANCE}/{name}"), value)?;
    }
    set_pids(trace)?;
    let mut events = Events::default();
    let mut filter = Vec::new();
    for nr in syscalls::numbers() {
        let is_wanted = *trace != Trace::Addresses
            || (syscalls::captured(nr).any(|(_, kind)| kind == 'a') && syscalls::name(nr) != "bind");
        if is_wanted && probe(nr, &mut events)? {
            filter.push(format!("id == {nr}"));
        }
    }
    if *trace == Trace::Addresses {
        for event in ["sys_enter", "sys_exit"] {
            write(format!("{INSTANCE}/events/raw_syscalls/{event}/filter"), &filter.join(" || "))?;
        }
    }
    events.add("raw_syscalls/sys_enter", |_| Some(Event::Enter))?;
    events.add("raw_syscalls/sys_exit", |_| Some(Event::Exit))?;
    events.add("ftrace/print", |_| Some(Event::Mark))?;
    events.add("sched/sched_process_fork", |format| {
        Some(Event::Fork { parent: offset(format, "parent_pid")?, child: offset(format, "child_pid")? })
    })?;
    for event in ["raw_syscalls", "sched/sched_process_fork", "cryoscope"] {
        write(format!("{INSTANCE}/events/{event}/enable"), "1")?;
    }
    Ok(events)
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
            let is_wanted =
                |tid: &u32| watch::Names::look(*tid).is_some_and(|names| names.pid.is_some_and(|pid| pids.contains(&pid)));
            tids().into_iter().filter(is_wanted).collect()
        }
    };
    let path = format!("{INSTANCE}/set_event_pid");
    let mut file = OpenOptions::new().write(true).truncate(true).open(&path).map_err(GuestError::file("open", &path))?;
    // The kernel takes words that are whole in one write only. An empty list would be everybody.
    let none = [u32::MAX >> 1];
    let all = if wanted.is_empty() { &none[..] } else { &wanted };
    all.iter().try_for_each(|tid| writeln!(file, "{tid}")).map_err(GuestError::file("write", &path))
}

/// A probe for what the arguments of a call point to; whether there is one.
fn probe(nr: u64, events: &mut Events) -> Result<bool, GuestError> {
    let captured: Vec<(usize, char)> = syscalls::captured(nr).collect();
    if captured.is_empty() {
        return Ok(false);
    }
    let name = syscalls::name(nr);
    // The kernel names some by the function behind the call.
    let names = [name.clone(), format!("new{name}"), name.trim_end_matches('2').to_owned()];
    let format = |name: &String| read(&format!("{TRACING}/events/syscalls/sys_enter_{name}/format")).ok();
    let Some((name, format)) = names.iter().find_map(|name| Some((name, format(name)?))) else { return Ok(false) };
    let arguments = arguments(&format);
    let mut words = Vec::new();
    let mut nr_texts = 0;
    for (at, kind) in captured {
        let Some(field) = arguments.get(at) else { continue };
        let mut text = |fetch: String| {
            words.push(format!("t{nr_texts}={fetch}:ustring"));
            nr_texts += 1;
        };
        match kind {
            's' => text(format!("+0(${field})")),
            'v' => (0..MAX_LISTED).for_each(|at| text(format!("+0(+u{}(${field}))", at * 8))),
            _ => words.extend((0..ADDRESS_WORDS).map(|at| format!("a{at}=+u{}(${field}):x64", at * 8))),
        }
    }
    let definition = format!("e:cryoscope/c{nr} syscalls.sys_enter_{name} {}\n", words.join(" "));
    let path = format!("{TRACING}/dynamic_events");
    let mut file = OpenOptions::new().append(true).open(&path).map_err(GuestError::file("open", &path))?;
    file.write_all(definition.as_bytes()).map_err(GuestError::file("write", &path))?;
    events.add(&format!("cryoscope/c{nr}"), |format| {
        let of = |letter: char| (0..).map_while(|at| offset(format, &format!("{letter}{at}"))).collect();
        Some(Event::Captured { texts: of('t'), address: of('a') })
    })?;
    Ok(true)
}

/// Names of a call's arguments.
fn arguments(format: &str) -> Vec<String> {
    let fields = format.lines().filter_map(field).skip_while(|(name, _)| *name != "__syscall_nr").skip(1);
    fields.map(|(name, _)| name.to_owned()).collect()
}

/// Name and offset in a line like `field:const char * filename;	offset:24;	size:8;	signed:0;`.
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
            Event::Fork { parent, child } => {
                Some(Record::Fork { parent: u32_at(data, *parent)?, child: u32_at(data, *child)? })
            }
            Event::Captured { texts, address } => {
                let texts = texts.iter().map(|at| text(data, *at)).collect();
                let bytes: Vec<u8> =
                    address.iter().filter_map(|at| u64_at(data, *at)).flat_map(u64::to_le_bytes).collect();
                // What could not be read is zeros.
                let is_read = bytes.iter().any(|byte| *byte != 0);
                Some(Record::Captured { tid, texts, address: is_read.then(|| crate::base::hex(&bytes)) })
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
        events.by_id.insert(8, Event::Captured { texts: vec![8, 12], address: vec![] });
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
        assert_eq!(events.parse(&captured), Some(Record::Captured { tid: 9, texts, address: None }));
    }
}
