//! System calls of the container, from the kernel's trace events: no process is touched, and none can tell.
//!
//! `probes` switches the events on, `ring` reads their pages, and here beginnings are joined with ends on a thread of its
//! own. So many calls are told a second as a person could read; calls with addresses have a share of their own, so that
//! nobody hides a connection behind a flood. All else is counted.

mod probes;
mod ring;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::watch::Names;
use super::{GuestError, Host};
use crate::sandbox::protocol::{self, FromGuest};
use crate::sandbox::syscalls;
use crate::sandbox::watched::{Abi, MAX_ADDRESSES_A_SECOND, MAX_CALLS, MAX_CALLS_A_SECOND, RawCall, Trace};
use probes::{Events, Record};

/// How often buffers are read.
const INTERVAL: Duration = Duration::from_millis(50);
/// Records of one processor may come this much later than those of another.
const HOLD_NS: u64 = 20_000_000;
/// Calls that last longer are told before they end.
const LONG_NS: u64 = 1_000_000_000;
/// Pages of a processor that are read at a time.
const MAX_PAGES: usize = 512;
/// Threads that are remembered.
const MAX_THREADS: usize = 20_000;
/// How long to wait for the last calls.
const PATIENCE: Duration = Duration::from_secs(2);

const FORKS: [&str; 4] = ["clone", "fork", "vfork", "clone3"];
const EXECS: [&str; 2] = ["execve", "execveat"];
/// The name may be another one afterwards, as after those.
const RENAME: &str = "prctl";

/// The thread that reads.
#[derive(Debug)]
pub(super) struct Tracer {
    asks: SyncSender<SyncSender<()>>,
}

impl Tracer {
    /// Switches the trace on; the processes stand still meanwhile.
    pub(super) fn start(trace: &Trace, host: Host) -> Result<Tracer, GuestError> {
        let (events, has_i386) = probes::start(trace)?;
        if let Err(error) = has_i386 {
            let what = format!("system calls of 32 bits cannot be told from others and may have wrong names: {error}");
            host.say(&FromGuest::Error { what: protocol::cut(what) });
        }
        let buffers = probes::buffers()?;
        let (asks, asked) = sync_channel(1);
        let mut reader = Reader::new(events, buffers, host, *trace != Trace::Addresses);
        let work = move || reader.run(&asked);
        std::thread::Builder::new().name("trace".into()).spawn(work).map_err(GuestError::file("start", "a thread"))?;
        Ok(Tracer { asks })
    }

    /// From now on times are counted.
    pub(super) fn mark() -> Result<(), GuestError> {
        probes::mark()
    }

    /// Tells what is not told yet.
    pub(super) fn flush(&self) {
        let (done, is_done) = sync_channel(1);
        if self.asks.try_send(done).is_ok() {
            let _ = is_done.recv_timeout(PATIENCE);
        }
    }
}

/// A call that has begun.
#[derive(Debug)]
struct Begun {
    time: u64,
    abi: Abi,
    nr: u64,
    args: [u64; 6],
    is_told: bool,
    texts: Vec<Option<String>>,
    address: Option<String>,
}

impl Begun {
    fn is_one_of(&self, names: &[&str]) -> bool {
        syscalls::is_one_of(self.abi, self.nr, names)
    }

    /// It came by the entry for programs of 32 bits, which takes the lower halves of registers.
    fn set_i386(&mut self) {
        self.abi = Abi::I386;
        // Strings come with calls of the machine's own only: these were another call's.
        self.texts.clear();
        self.args = self.args.map(|arg| arg & u64::from(u32::MAX));
    }

    /// Whether a call of that number has ended. One that starts a program ends as `execve` of the program's own table.
    fn ends_as(&self, nr: u64) -> bool {
        let is_execve = |abi| syscalls::is_one_of(abi, nr, &EXECS);
        self.nr == nr || (self.is_one_of(&EXECS) && (is_execve(Abi::X86_64) || is_execve(Abi::I386)))
    }

    /// A path that the kernel has copied, for the argument that pointed there.
    fn path(&mut self, pointer: u64, path: String) {
        let strings = syscalls::captured(self.abi, self.nr).filter(|(_, kind)| *kind == 's').map(|(at, _)| at);
        for (number, _) in strings.enumerate().filter(|(_, at)| self.args.get(*at) == Some(&pointer)) {
            if self.texts.len() <= number {
                self.texts.resize(number + 1, None);
            }
            if let Some(text @ None) = self.texts.get_mut(number) {
                *text = Some(path.clone());
            }
        }
    }
}

#[derive(Debug)]
struct Reader {
    events: Events,
    buffers: Vec<File>,
    host: Host,
    /// Whether calls without an address are told.
    tells_all: bool,
    start: u64,
    held: Vec<(u64, Record)>,
    /// Strings of calls whose beginning comes after them.
    texts: HashMap<u32, (u64, Vec<Option<String>>)>,
    begun: BTreeMap<u32, Begun>,
    names: HashMap<u32, (Names, Instant)>,
    /// Parent of a fork that has not returned, and the child.
    forks: HashMap<u32, u32>,
    list: Vec<RawCall>,
    dropped: u64,
    lost: u64,
    budget: Budget,
}

/// What may still be told in this second.
#[derive(Debug)]
struct Budget {
    second: Instant,
    calls: u32,
    addresses: u32,
}

impl Budget {
    fn new() -> Budget {
        Budget { second: Instant::now(), calls: 0, addresses: 0 }
    }

    fn allows(&mut self, has_address: bool) -> bool {
        if self.second.elapsed() >= Duration::from_secs(1) {
            *self = Budget::new();
        }
        let (count, max) = if has_address {
            (&mut self.addresses, MAX_ADDRESSES_A_SECOND)
        } else {
            (&mut self.calls, MAX_CALLS_A_SECOND)
        };
        *count = count.saturating_add(1);
        *count <= max
    }
}

impl Reader {
    fn new(events: Events, buffers: Vec<File>, host: Host, tells_all: bool) -> Reader {
        Reader {
            events,
            buffers,
            host,
            tells_all,
            start: 0,
            held: Vec::new(),
            texts: HashMap::new(),
            begun: BTreeMap::new(),
            names: HashMap::new(),
            forks: HashMap::new(),
            list: Vec::new(),
            dropped: 0,
            lost: 0,
            budget: Budget::new(),
        }
    }

    fn run(&mut self, asked: &Receiver<SyncSender<()>>) {
        loop {
            let done = match asked.recv_timeout(INTERVAL) {
                Ok(done) => Some(done),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let is_idle = self.read() == 0;
            self.take(is_idle || done.is_some());
            self.send();
            if let Some(done) = done {
                let _ = done.send(());
            }
        }
    }

    /// Reads what is there; how many records.
    fn read(&mut self) -> usize {
        let before = self.held.len();
        let mut page = vec![0; ring::PAGE];
        for buffer in &mut self.buffers {
            for _page in 0..MAX_PAGES {
                match buffer.read(&mut page) {
                    Ok(n) if n > 0 => {
                        let (events, held) = (&self.events, &mut self.held);
                        let each = |time, data: &[u8]| held.extend(events.parse(data).map(|record| (time, record)));
                        let lost = ring::records(page.get(..n).unwrap_or_default(), each);
                        self.lost = self.lost.saturating_add(lost);
                    }
                    _ => break,
                }
            }
        }
        self.held.len() - before
    }

    /// Takes records in their order: all, or those that no other processor can have an earlier one to.
    fn take(&mut self, all: bool) {
        // Stable: records of one thread at the same time keep their order.
        self.held.sort_by_key(|(time, _)| *time);
        let Some(last) = self.held.last().map(|(time, _)| *time) else { return self.long(None) };
        let until = if all { u64::MAX } else { last.saturating_sub(HOLD_NS) };
        let count = self.held.partition_point(|(time, _)| *time <= until);
        let taken: Vec<(u64, Record)> = self.held.drain(..count).collect();
        let now = taken.last().map(|(time, _)| *time);
        taken.into_iter().for_each(|(time, record)| self.record(time, record));
        self.long(now);
    }

    fn record(&mut self, time: u64, record: Record) {
        match record {
            Record::Mark => self.start = time,
            Record::Texts { tid, nr, texts } => match self.begun.get_mut(&tid).filter(|begun| begun.nr == nr) {
                Some(begun) if begun.texts.is_empty() => begun.texts = texts,
                _ if self.texts.len() < MAX_THREADS => drop(self.texts.insert(tid, (nr, texts))),
                _ => self.texts.clear(),
            },
            Record::Path { tid, pointer, path } => {
                if let Some(begun) = self.begun.get_mut(&tid) {
                    begun.path(pointer, path);
                }
            }
            Record::Address { tid, address } => {
                if let Some(begun) = self.begun.get_mut(&tid) {
                    begun.address.get_or_insert(address);
                }
            }
            Record::Enter { tid, nr, args } => {
                let texts = self.texts.remove(&tid).filter(|(of, _)| *of == nr).map(|(_, texts)| texts);
                let texts = texts.unwrap_or_default();
                let begun = Begun { time, abi: Abi::X86_64, nr, args, is_told: false, texts, address: None };
                if self.begun.len() < MAX_THREADS || self.begun.contains_key(&tid) {
                    self.begun.insert(tid, begun);
                } else {
                    self.dropped = self.dropped.saturating_add(1);
                    self.begun.clear();
                }
            }
            Record::I386 { tid, nr } => {
                if let Some(begun) = self.begun.get_mut(&tid).filter(|begun| begun.nr == nr) {
                    begun.set_i386();
                }
            }
            Record::Exit { tid, nr, result } => {
                let Some(begun) = self.begun.remove(&tid).filter(|begun| begun.ends_as(nr)) else { return };
                let took_us = time.saturating_sub(begun.time) / 1000;
                self.tell(tid, &begun, Some(result), Some(took_us));
                if (begun.is_one_of(&EXECS) || begun.is_one_of(&[RENAME]))
                    && let Some(names) = Names::look(tid)
                {
                    self.names.insert(tid, (names, Instant::now()));
                }
                if begun.is_one_of(&FORKS) {
                    self.forked(tid, result);
                }
            }
            Record::Ended { tid } => {
                if let Some(begun) = self.begun.remove(&tid).filter(|begun| !begun.is_told) {
                    self.tell(tid, &begun, None, None);
                }
            }
            Record::Fork { parent, child } => {
                if self.forks.len() < MAX_THREADS {
                    self.forks.insert(parent, child);
                }
            }
        }
    }

    /// A fork returned the child's pid inside the container: good to know when the child is gone before it is looked at.
    fn forked(&mut self, parent: u32, result: i64) {
        let Some(child) = self.forks.remove(&parent) else { return };
        let Ok(tid) = u32::try_from(result) else { return };
        let known = self.look(parent);
        if Names::look(child).is_none() && self.names.len() < MAX_THREADS {
            let names = Names { pid: Some(tid), tid: Some(tid), comm: known.comm };
            self.names.insert(child, (names, Instant::now()));
        }
    }

    /// Tells calls that go on for long, once.
    fn long(&mut self, now: Option<u64>) {
        let Some(now) = now else { return };
        let mut long: Vec<u32> = Vec::new();
        for (tid, begun) in &mut self.begun {
            if !begun.is_told && now.saturating_sub(begun.time) > LONG_NS {
                begun.is_told = true;
                long.push(*tid);
            }
        }
        for tid in long {
            if let Some(begun) = self.begun.remove(&tid) {
                self.tell(tid, &begun, None, None);
                self.begun.insert(tid, begun);
            }
        }
    }

    fn tell(&mut self, tid: u32, begun: &Begun, result: Option<i64>, took_us: Option<u64>) {
        if !self.tells_all && begun.address.is_none() {
            return;
        }
        if !self.budget.allows(begun.address.is_some()) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let Names { pid, tid, comm } = self.look(tid);
        self.list.push(RawCall {
            time_us: begun.time.saturating_sub(self.start) / 1000,
            pid,
            tid,
            comm,
            abi: begun.abi,
            nr: begun.nr,
            args: begun.args,
            texts: begun.texts.clone(),
            address: begun.address.clone(),
            result,
            took_us,
        });
        if self.list.len() >= MAX_CALLS {
            self.send();
        }
    }

    fn look(&mut self, tid: u32) -> Names {
        const FRESH: Duration = Duration::from_secs(2);
        if let Some((names, _)) = self.names.get(&tid).filter(|(_, at)| at.elapsed() < FRESH) {
            return names.clone();
        }
        if self.names.len() >= MAX_THREADS {
            self.names.clear();
        }
        let old = self.names.remove(&tid).map(|(names, _)| names);
        let names = Names::look(tid).or(old).unwrap_or_default();
        self.names.insert(tid, (names.clone(), Instant::now()));
        names
    }

    fn send(&mut self) {
        if self.list.is_empty() && self.dropped == 0 && self.lost == 0 {
            return;
        }
        let list = std::mem::take(&mut self.list);
        let (dropped, lost) = (std::mem::take(&mut self.dropped), std::mem::take(&mut self.lost));
        self.host.say(&FromGuest::Calls { list, dropped, lost });
    }
}
