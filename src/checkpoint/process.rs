//! Processes and threads.

use crate::base::{Field, FileId, NsId, Pid, Text};

use super::credentials::Credentials;
use super::files::FdEntry;
use super::memory_map::MemoryMap;
use super::namespaces::NsKind;
use super::registers::Registers;
use super::seccomp::Seccomp;
use super::signals::{PendingSignal, SignalAction, Timers};

/// What CRIU records of a task's state. Running and sleeping are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TaskState {
    /// Running or sleeping.
    Alive,
    /// Stopped by a signal.
    Stopped {
        /// The signal.
        signal: Option<u32>,
    },
    /// Exited, not yet waited for.
    Zombie {
        /// The wait status word: exit code in bits 8..15, signal in the low 7 bits.
        wait_status: Option<u32>,
    },
    /// A number CRIU does not have.
    Unknown(u32),
}

impl TaskState {
    /// The word of the JSON: `alive`, `stopped`, `zombie`; `None` for a number CRIU does not have.
    pub fn word(self) -> Option<&'static str> {
        match self {
            TaskState::Alive => Some("alive"),
            TaskState::Stopped { .. } => Some("stopped"),
            TaskState::Zombie { .. } => Some("zombie"),
            TaskState::Unknown(_) => None,
        }
    }
}

/// One process: a thread group with what its threads share.
#[derive(Clone, Debug)]
pub struct Process {
    /// Inside the container's outermost pid namespace.
    pub pid: Pid,
    /// 0 for the root of the tree; absent, as the next two, where `pstree.img` is missing or damaged.
    pub ppid: Field<Pid>,
    /// 0 when the leader is outside the container.
    pub pgid: Field<Pid>,
    /// 0 when the leader is outside the container.
    pub sid: Field<Pid>,
    /// Distance from the root of the tree.
    pub depth: u32,
    /// Indexes into [`super::Checkpoint::processes`].
    pub children: Vec<usize>,
    /// Alive, stopped, zombie.
    pub state: Field<TaskState>,
    /// The kernel's name of the leader, at most 15 bytes.
    pub comm: Field<Text>,
    /// Arguments exactly as they lie in the process's memory; empty for a zombie.
    pub cmdline: Field<Vec<Text>>,
    /// Environment exactly as it lies in the process's memory: order, duplicates, oddities kept.
    pub environ: Field<Vec<Text>>,
    /// Program file, as `/proc/PID/exe` reads.
    pub exe: Field<Link>,
    /// Working directory, as `/proc/PID/cwd` reads.
    pub cwd: Field<Link>,
    /// Root directory, as `/proc/PID/root` reads.
    pub root: Field<Link>,
    /// File mode creation mask.
    pub umask: Field<u32>,
    /// Threads, the leader first; empty for a zombie.
    pub threads: Vec<Thread>,
    /// Resource limits by name, in the kernel's order.
    pub rlimits: Field<Vec<Rlimit>>,
    /// `/proc/PID/oom_score_adj`.
    pub oom_score_adj: Field<i32>,
    /// `personality(2)`.
    pub personality: Field<u32>,
    /// `/proc/PID/loginuid`; `u32::MAX` when unset.
    pub loginuid: Field<u32>,
    /// Adopts orphans of its subtree.
    pub child_subreaper: Field<bool>,
    /// Kernel `PF_` flags, informational.
    pub kernel_flags: Field<u32>,
    /// What each signal does, for signals 1 to 64.
    pub signal_actions: Vec<SignalAction>,
    /// Signals pending for the process as a whole.
    pub pending: Vec<PendingSignal>,
    /// Interval and POSIX timers.
    pub timers: Timers,
    /// Namespace of each kind.
    pub namespaces: Vec<(NsKind, NsId)>,
    /// Set in [`super::cgroups::Cgroups`].
    pub cg_set: Option<u32>,
    /// CRIU's number of the descriptor table; processes with the same number share it.
    pub files_id: Option<u32>,
    /// Open descriptors by number.
    pub fds: Vec<FdEntry>,
    /// Address space; a zombie has none.
    pub memory: Field<MemoryMap>,
}

/// A path that a process holds on to, as a link of /proc reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// As `readlink` prints it, ` (deleted)` included.
    pub target: Text,
    /// The open file description behind it.
    pub file: Option<FileId>,
}

/// One thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Inside the container's outermost pid namespace.
    pub tid: Pid,
    /// The thread's own name.
    pub comm: Field<Text>,
    /// Credentials are per thread.
    pub credentials: Field<Credentials>,
    /// Seccomp mode and filters.
    pub seccomp: Field<Seccomp>,
    /// Registers at the freeze.
    pub registers: Field<Registers>,
    /// Blocked signals: bit N-1 for signal N.
    pub blocked: Field<u64>,
    /// Signals pending for this thread.
    pub pending: Vec<PendingSignal>,
    /// Scheduling.
    pub sched: Field<Sched>,
    /// Signal sent when the parent dies.
    pub pdeath_sig: Option<u32>,
    /// Address and size of the alternate signal stack.
    pub alt_stack: Option<(u64, u64)>,
    /// Address of the robust futex list head.
    pub robust_list: Option<u64>,
    /// Address of the restartable sequence area.
    pub rseq: Option<u64>,
    /// Address cleared when the thread exits.
    pub clear_tid: Option<u64>,
    /// Cgroup set of the thread, where it has one of its own.
    pub cg_set: Option<u32>,
}

/// Scheduling of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sched {
    /// `SCHED_` number.
    pub policy: u32,
    /// `SCHED_OTHER` and so on, where it has a name.
    pub policy_name: Option<&'static str>,
    /// -20 to 19.
    pub nice: i32,
    /// Only for FIFO and RR.
    pub priority: Option<u32>,
}

/// One resource limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// `NOFILE`, without the prefix; `RLIMIT_N` for a number without a name.
    pub name: &'static str,
    /// Soft limit.
    pub soft: Option<u64>,
    /// Hard limit.
    pub hard: Option<u64>,
}

impl Process {
    /// `comm` for a label; `?` when it could not be read.
    pub fn comm_label(&self) -> String {
        self.comm.known().map_or_else(|| "?".into(), Text::label)
    }

    /// Credentials of the leader.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.threads.first().and_then(|leader| leader.credentials.known())
    }

    /// Seccomp state of the leader.
    pub fn seccomp(&self) -> Option<&Seccomp> {
        self.threads.first().and_then(|leader| leader.seccomp.known())
    }

    /// Whether the process has exited and waits for its parent.
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, Field::Known(TaskState::Zombie { .. }))
    }
}

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::{Absent, Issue, Limits, Place, VirtAddr};
use crate::decode::names;
use crate::decode::{Arch, schema};

use super::images::Images;
use super::registers;
use super::seccomp::{Chains, Filter};
use super::signals;

/// What processes are joined with.
pub(super) struct Around<'a> {
    pub(super) images: &'a Images,
    pub(super) arch: Arch,
    pub(super) limits: &'a Limits,
    pub(super) filters: &'a [Filter],
    /// Their chains.
    pub(super) chains: &'a Chains,
    /// What is left out of processes for its size.
    pub(super) omitted: &'a Omitted,
    /// Path of an open file, as a link of /proc reads.
    pub(super) link: &'a (dyn Fn(u32) -> Option<Link> + Sync),
    /// Address space of a process.
    pub(super) memory: &'a (dyn Fn(u32, &mut Vec<Issue>) -> Field<MemoryMap> + Sync),
    /// Descriptor table by CRIU's number.
    pub(super) fds: &'a (dyn Fn(u32, &mut Vec<Issue>) -> Vec<FdEntry> + Sync),
}

/// Parts of processes that would take more memory than all of them together may have.
#[derive(Debug)]
pub(super) struct Omitted {
    /// Processes whose descriptors are not listed.
    fds: HashSet<u32>,
    /// Processes whose table was told of by another one that shares it.
    told: HashSet<u32>,
    /// Processes whose arguments and environment are not read.
    args: HashSet<u32>,
    /// Arguments and variables that may still be told apart.
    pieces_left: AtomicUsize,
}

/// Most arguments and variables of all processes.
const MAX_PIECES: usize = 4_000_000;

impl Omitted {
    pub(super) fn new(nodes: &[Node<'_>], images: &Images, limits: &Limits) -> Omitted {
        let (mut fds, mut told, mut args) = (HashSet::new(), HashSet::new(), HashSet::new());
        let mut tables = HashSet::new();
        let (mut fds_left, mut args_left) = (limits.max_fds, limits.max_all_args_bytes);
        for node in nodes {
            let pid = node.pid;
            if let Some(table) = table_of(images, pid) {
                if !tables.insert(table) {
                    told.insert(pid);
                }
                let size = images.fdinfo.get(&u64::from(table)).map_or(0, |records| records.records.len());
                match fds_left.checked_sub(size) {
                    Some(left) => fds_left = left,
                    None => {
                        fds.insert(pid);
                    }
                }
            }
            let mm = images.mm.get(&u64::from(pid)).and_then(|records| records.records.first());
            if let Some(mm) = mm.map(|record| &record.value) {
                let area = |start: u64, end: u64| end.saturating_sub(start).min(limits.max_args_bytes);
                let size = area(mm.mm_arg_start, mm.mm_arg_end) + area(mm.mm_env_start, mm.mm_env_end);
                match args_left.checked_sub(size) {
                    Some(left) => args_left = left,
                    None => {
                        args.insert(pid);
                    }
                }
            }
        }
        Omitted { fds, told, args, pieces_left: AtomicUsize::new(MAX_PIECES) }
    }

    /// Pieces between NULs, unless there are more than all processes may have.
    fn split(&self, bytes: Vec<u8>) -> Result<Vec<Text>, Absent> {
        let pieces = bytes.iter().filter(|byte| **byte == 0).count() + 1;
        let taken = self.pieces_left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(pieces));
        if taken.is_ok() { Ok(split_at_nul(bytes)) } else { Err(Absent::Unparsable) }
    }
}

/// The core of a process or a thread.
fn core_of(images: &Images, tid: u32) -> Option<&schema::CoreEntry> {
    images.core.get(&u64::from(tid)).and_then(|records| records.records.first()).map(|record| &record.value)
}

/// CRIU's numbers of what a process shares with others.
fn ids_of(images: &Images, pid: u32) -> Option<&schema::TaskKobjIdsEntry> {
    let own = images.ids.get(&u64::from(pid)).and_then(|records| records.records.first()).map(|record| &record.value);
    own.or_else(|| core_of(images, pid).and_then(|core| core.ids.as_ref()))
}

/// CRIU's number of the descriptor table; `None` for a zombie, which has none.
fn table_of(images: &Images, pid: u32) -> Option<u32> {
    if is_zombie(images, pid) {
        return None;
    }
    Some(ids_of(images, pid).map(|ids| ids.files_id).filter(|_| images.fdinfo_is_per_id()).unwrap_or(pid))
}

fn is_zombie(images: &Images, pid: u32) -> bool {
    let task = core_of(images, pid).and_then(|core| core.tc.as_deref());
    task.is_some_and(|task| matches!(task_state(task), TaskState::Zombie { .. }))
}

/// First filters of the chains that threads name.
pub(super) fn oldest_filters<'a>(images: &'a Images) -> impl Iterator<Item = u32> + 'a {
    images.core.values().flat_map(|records| &records.records).filter_map(|record| {
        let core = &record.value;
        let thread = core.thread_core.as_deref().and_then(|thread| thread.seccomp_filter);
        thread.or_else(|| core.tc.as_deref().and_then(|task| task.old_seccomp_filter))
    })
}

/// One node of the tree, in the order in which processes are listed.
pub(super) struct Node<'a> {
    pub(super) pid: u32,
    /// `None` for a process that only its core image tells of.
    pub(super) entry: Option<&'a schema::PstreeEntry>,
    /// Its threads, each of them once in the whole tree; of a zombie garbage.
    pub(super) threads: Vec<u32>,
    pub(super) place: Place,
    pub(super) depth: u32,
    pub(super) children: Vec<usize>,
}

/// Orders `pstree.img` so that a parent stands before its children, whatever the file says.
///
/// Unknown parents, second roots, cycles and duplicate pids become issues; no process is lost but
/// the second of two with one pid, which the raw view still has.
pub(super) fn tree<'a>(images: &'a Images, limits: &Limits) -> (Vec<Node<'a>>, Vec<Issue>) {
    let mut issues = Vec::new();
    let mut left_out = 0usize;
    let mut entries: Vec<(&schema::PstreeEntry, Place)> = Vec::new();
    let mut by_pid: HashMap<u32, usize> = HashMap::new();
    for records in images.pstree.values() {
        for record in &records.records {
            if entries.len() >= limits.max_tasks {
                left_out += 1;
                continue;
            }
            let place = records.place(record);
            if let Some(first) = by_pid.get(&record.value.pid) {
                let what = format!("pid {} was already listed as process {}", record.value.pid, first + 1);
                issues.push(Issue::new(place, what));
                continue;
            }
            by_pid.insert(record.value.pid, entries.len());
            entries.push((&record.value, place));
        }
    }
    if left_out > 0 {
        let what = format!("{left_out} more processes than {} are not shown; the raw view has them", limits.max_tasks);
        issues.push(Issue::new(Place::member("pstree.img"), what));
    }
    let mut threads = threads_once(images, &entries, &by_pid, limits, &mut issues);
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); entries.len()];
    let mut roots = Vec::new();
    for (at, (entry, place)) in entries.iter().enumerate() {
        match by_pid.get(&entry.ppid) {
            Some(parent) if *parent != at => children[*parent].push(at),
            Some(_) => {
                issues.push(Issue::new(place.clone(), format!("process {} is its own parent", entry.pid)));
                roots.push(at);
            }
            None => {
                if entry.ppid != 0 {
                    let what = format!("parent {} of process {} is not in the tree", entry.ppid, entry.pid);
                    issues.push(Issue::new(place.clone(), what));
                } else if !roots.is_empty() {
                    issues.push(Issue::new(place.clone(), format!("process {} is a second root", entry.pid)));
                }
                roots.push(at);
            }
        }
    }
    let mut order: Vec<(usize, u32)> = Vec::with_capacity(entries.len());
    let mut is_listed = vec![false; entries.len()];
    let mut next_unlisted = 0;
    loop {
        let mut stack: Vec<(usize, u32)> = roots.drain(..).rev().map(|root| (root, 0)).collect();
        while let Some((at, depth)) = stack.pop() {
            if std::mem::replace(&mut is_listed[at], true) {
                continue;
            }
            order.push((at, depth));
            stack.extend(children[at].iter().rev().map(|child| (*child, depth.saturating_add(1))));
        }
        // Whoever is left is in a cycle, or below one.
        while is_listed.get(next_unlisted) == Some(&true) {
            next_unlisted += 1;
        }
        let Some((entry, place)) = entries.get(next_unlisted) else { break };
        issues.push(Issue::new(place.clone(), format!("process {} is its own ancestor", entry.pid)));
        roots.push(next_unlisted);
    }
    let mut position = vec![0; entries.len()];
    for (new, (old, _)) in order.iter().enumerate() {
        position[*old] = new;
    }
    let mut nodes: Vec<Node<'a>> = order
        .iter()
        .map(|(old, depth)| Node {
            pid: entries[*old].0.pid,
            entry: Some(entries[*old].0),
            threads: std::mem::take(&mut threads[*old]),
            place: entries[*old].1.clone(),
            depth: *depth,
            children: children[*old]
                .iter()
                .map(|child| position[*child])
                .filter(|child| position[*old] < *child)
                .collect(),
        })
        .collect();
    let known = by_pid.into_keys().chain(entries.iter().flat_map(|(entry, _)| entry.threads.iter().copied())).collect();
    nodes.extend(strays(images, &known, limits.max_tasks.saturating_sub(nodes.len()), &mut issues));
    (nodes, issues)
}

/// Processes that `pstree.img` does not tell of, by their core images: it is missing, or a record of it is. An archive
/// that was cut off in its pages has lost it, and nothing else of its processes.
fn strays<'a>(images: &Images, known: &HashSet<u32>, max: usize, issues: &mut Vec<Issue>) -> Vec<Node<'a>> {
    let (mut nodes, mut threads, mut left_out) = (Vec::new(), 0usize, 0usize);
    for (key, records) in &images.core {
        let (Ok(pid), Some(record)) = (u32::try_from(*key), records.records.first()) else { continue };
        if known.contains(&pid) {
            continue;
        }
        // Threads have no part of the task.
        if record.value.tc.is_none() {
            threads += 1;
        } else if nodes.len() < max {
            let place = Place::member(records.name.as_str());
            let what =
                format!("process {pid} is not in pstree.img: its parent, group, session and threads are not known");
            issues.push(Issue::new(place.clone(), what));
            nodes.push(Node { pid, entry: None, threads: Vec::new(), place, depth: 0, children: Vec::new() });
        } else {
            left_out += 1;
        }
    }
    if threads > 0 {
        let what = format!("{threads} threads have a core image and are not listed here: whose they are is not known");
        issues.push(Issue::new(Place::member("pstree.img"), what));
    }
    if left_out > 0 {
        let what = format!("{left_out} more processes that are not listed here are not shown; the raw view has them");
        issues.push(Issue::new(Place::member("pstree.img"), what));
    }
    nodes
}

/// The threads of every process. One thread belongs to one process: a second mention is an issue.
fn threads_once(
    images: &Images,
    entries: &[(&schema::PstreeEntry, Place)],
    by_pid: &HashMap<u32, usize>,
    limits: &Limits,
    issues: &mut Vec<Issue>,
) -> Vec<Vec<u32>> {
    let mut seen: HashSet<u32> = HashSet::new();
    let mut left = limits.max_tasks.saturating_sub(entries.len());
    let of_entry = |(entry, place): &(&schema::PstreeEntry, Place)| {
        if is_zombie(images, entry.pid) {
            return Vec::new();
        }
        let (mut again, mut left_out, mut has_leader) = (0usize, 0usize, false);
        let mut threads = Vec::new();
        for tid in &entry.threads {
            if *tid == entry.pid && !std::mem::replace(&mut has_leader, true) {
                threads.push(*tid);
            } else if by_pid.contains_key(tid) || !seen.insert(*tid) {
                again += 1;
            } else if left == 0 {
                left_out += 1;
            } else {
                left -= 1;
                threads.push(*tid);
            }
        }
        if again > 0 {
            let what = format!("{again} threads of process {} are listed elsewhere too, and shown there", entry.pid);
            issues.push(Issue::new(place.clone(), what));
        }
        if left_out > 0 {
            let what = format!("{left_out} threads of process {} are not shown: too many in all", entry.pid);
            issues.push(Issue::new(place.clone(), what));
        }
        threads
    };
    entries.iter().map(of_entry).collect()
}

impl Process {
    /// Joins everything that is recorded of one process.
    pub(super) fn build(node: &Node<'_>, around: &Around<'_>) -> (Process, Vec<Issue>) {
        let mut issues = Vec::new();
        let Around { images, arch, limits, .. } = *around;
        let order = images.ctx.order;
        let pid = node.pid;
        let key = u64::from(pid);
        let core = core_of(images, pid);
        let in_tree = |number: fn(&schema::PstreeEntry) -> u32| match node.entry {
            Some(entry) => Field::Known(Pid(number(entry))),
            None => Field::Absent(Absent::Unreadable),
        };
        if core.is_none() {
            let what = format!("process {pid} is in the tree and its core image is missing or damaged");
            issues.push(Issue::new(Place::member(format!("core-{pid}.img")), what));
        }
        let task = core.and_then(|core| core.tc.as_deref());
        let missing = if core.is_some() { Absent::NotRecorded } else { Absent::Unreadable };
        let from_task = |field: Option<Field<u32>>| field.unwrap_or(Field::Absent(missing));
        let state = task.map_or(Field::Absent(missing), |task| Field::Known(task_state(task)));
        let is_zombie = matches!(state, Field::Known(TaskState::Zombie { .. }));
        let gone = if is_zombie { Absent::NotApplicable } else { Absent::Unreadable };

        let ids = ids_of(images, pid);
        let fs = images.fs.get(&key).and_then(|records| records.records.first()).map(|record| &record.value);
        if !is_zombie && core.is_some() {
            for (img, is_missing) in [("fs", fs.is_none()), ("ids", ids.is_none())] {
                if is_missing {
                    let what = format!("process {pid}: this image is missing or damaged");
                    issues.push(Issue::new(Place::member(format!("{img}-{pid}.img")), what));
                }
            }
        }
        let mut link = |id: Option<u32>| match id {
            Some(id) => (around.link)(id).map_or_else(
                || {
                    let what = format!("process {pid} names file {id:#x}, which is not recorded");
                    issues.push(Issue::new(node.place.clone(), what));
                    Field::Absent(Absent::Unreadable)
                },
                Field::Known,
            ),
            None => Field::Absent(gone),
        };
        let cwd = link(fs.map(|fs| fs.cwd_id));
        let root = link(fs.map(|fs| fs.root_id));
        let mm = images.mm.get(&key).and_then(|records| records.records.first()).map(|record| &record.value);
        let exe = link(mm.map(|mm| mm.exe_file_id));
        let memory = if is_zombie { Field::Absent(Absent::NotApplicable) } else { (around.memory)(pid, &mut issues) };
        let is_omitted = around.omitted.args.contains(&pid);
        let split = |bytes: Vec<u8>| around.omitted.split(bytes);
        let cmdline = match is_zombie {
            true => Field::Known(Vec::new()),
            false if is_omitted => Field::Absent(Absent::Unreadable),
            false => into_field(read_cmdline(&memory, limits, gone).and_then(split)),
        };
        let environ = match memory.known() {
            Some(_) if is_omitted => Field::Absent(Absent::Unreadable),
            Some(memory) => into_field(memory.read_private(memory.env.clone(), limits).and_then(split)),
            None => Field::Absent(gone),
        };
        if is_omitted {
            let what = format!(
                "arguments and environment of process {pid} are not read: all have more than {} bytes",
                limits.max_all_args_bytes
            );
            issues.push(Issue::new(Place::member(format!("mm-{pid}.img")), what));
        }
        if let (Field::Absent(why), false) = (&cmdline, is_zombie || is_omitted) {
            let what = format!("arguments of process {pid}: the pages {why}");
            issues.push(Issue::new(Place::member(format!("pagemap-{pid}.img")), what));
        }

        let files_id = ids.map(|ids| ids.files_id).filter(|_| images.fdinfo_is_per_id());
        let fds = match table_of(images, pid) {
            Some(table) if around.omitted.fds.contains(&pid) => {
                let what = format!(
                    "descriptors of process {pid} are not listed: the tables of all processes have more than {}",
                    limits.max_fds
                );
                issues.push(Issue::new(Place::member(format!("fdinfo-{table}.img")), what));
                Vec::new()
            }
            // What is wrong with a shared table is told once.
            Some(table) if around.omitted.told.contains(&pid) => (around.fds)(table, &mut Vec::new()),
            Some(table) => (around.fds)(table, &mut issues),
            None => Vec::new(),
        };

        let threads = if is_zombie { Vec::new() } else { threads(node, core, around, &mut issues) };
        let sigacts = images.sigacts.get(&key).map(|records| records.records.as_slice()).unwrap_or_default();
        let signal_actions = match task {
            Some(task) if !task.sigactions.is_empty() => signals::actions(task.sigactions.iter(), arch),
            _ => signals::actions(sigacts.iter().map(|record| &record.value), arch),
        };
        let timers = match task.and_then(|task| task.timers.as_ref()) {
            Some(timers) => Timers::new([&timers.real, &timers.virt, &timers.prof].into_iter(), timers.posix.iter()),
            None => Timers::new(
                images.itimers.get(&key).into_iter().flat_map(|records| &records.records).map(|record| &record.value),
                images
                    .posix_timers
                    .get(&key)
                    .into_iter()
                    .flat_map(|records| &records.records)
                    .map(|record| &record.value),
            ),
        };
        let rlimits = match task.and_then(|task| task.rlimits.as_ref()) {
            Some(rlimits) => Field::Known(rlimits_by_name(rlimits.rlimits.iter(), arch)),
            None => match images.rlimits.get(&key) {
                Some(records) => {
                    Field::Known(rlimits_by_name(records.records.iter().map(|record| &record.value), arch))
                }
                None => Field::Absent(if is_zombie { Absent::NotApplicable } else { missing }),
            },
        };
        let process = Process {
            pid: Pid(pid),
            ppid: in_tree(|entry| entry.ppid),
            pgid: in_tree(|entry| entry.pgid),
            sid: in_tree(|entry| entry.sid),
            depth: node.depth,
            children: node.children.clone(),
            state,
            comm: task.map_or(Field::Absent(missing), |task| Field::Known(Text(task.comm.clone()))),
            cmdline,
            environ,
            exe,
            cwd,
            root,
            umask: fs.map_or(Field::Absent(gone), |fs| Field::recorded(fs.umask)),
            threads,
            rlimits,
            oom_score_adj: task.map_or(Field::Absent(missing), |task| Field::recorded(task.oom_score_adj)),
            personality: from_task(task.map(|task| Field::Known(task.personality))),
            loginuid: from_task(task.map(|task| Field::recorded(task.loginuid))),
            child_subreaper: task.map_or(Field::Absent(missing), |task| Field::recorded(task.child_subreaper)),
            kernel_flags: from_task(task.map(|task| Field::Known(task.flags))),
            signal_actions,
            pending: signals::pending(task.and_then(|task| task.signals_s.as_ref()), order, arch),
            timers,
            namespaces: ids.map(namespaces_of).unwrap_or_default(),
            cg_set: core
                .and_then(|core| core.thread_core.as_deref())
                .and_then(|thread| thread.cg_set)
                .or_else(|| task.and_then(|task| task.cg_set)),
            files_id,
            fds,
            memory,
        };
        (process, issues)
    }
}

fn into_field<T>(result: Result<T, Absent>) -> Field<T> {
    match result {
        Ok(value) => Field::Known(value),
        Err(why) => Field::Absent(why),
    }
}

fn task_state(task: &schema::TaskCoreEntry) -> TaskState {
    match task.task_state {
        1 => TaskState::Alive,
        3 => TaskState::Stopped { signal: task.stop_signo },
        2 | 6 => TaskState::Zombie { wait_status: Some(task.exit_code) },
        other => TaskState::Unknown(other),
    }
}

/// Argument bytes as procfs gives them.
///
/// A process that has overwritten its title may have run on into the environment: where the last
/// byte of the area is not NUL, the kernel gives what stands from its start to the first NUL, at
/// most a page.
fn read_cmdline(memory: &Field<MemoryMap>, limits: &Limits, gone: Absent) -> Result<Vec<u8>, Absent> {
    let Some(memory) = memory.known() else { return Err(gone) };
    let args = memory.args.clone();
    if args.is_empty() {
        return Ok(Vec::new());
    }
    let bytes = memory.read_private(args.clone(), limits)?;
    if bytes.last() == Some(&0) {
        return Ok(bytes);
    }
    let page = memory.pagemap.page_size.bytes();
    let runs_on = memory.env.start == args.end && memory.env.start <= memory.env.end;
    let end = if runs_on { memory.env.end } else { args.end };
    let end = VirtAddr(end.0.min(args.start.0.saturating_add(page)));
    let mut title = match memory.read_private(args.start..end, limits) {
        Ok(title) => title,
        Err(_) => bytes,
    };
    if let Some(nul) = title.iter().position(|byte| *byte == 0) {
        title.truncate(nul + 1);
    }
    Ok(title)
}

/// Pieces between NULs; the last NUL ends the last piece.
fn split_at_nul(mut bytes: Vec<u8>) -> Vec<Text> {
    if bytes.is_empty() {
        return Vec::new();
    }
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    let bytes = bytes::Bytes::from(bytes);
    bytes.split(|byte| *byte == 0).map(|piece| Text(bytes.slice_ref(piece))).collect()
}

fn rlimits_by_name<'a>(entries: impl Iterator<Item = &'a schema::RlimitEntry>, arch: Arch) -> Vec<Rlimit> {
    let limit = |value: u64| (value != u64::MAX).then_some(value);
    let name = |number: u64| Some(names::RLIMIT.value(arch, number)?.trim_start_matches("RLIMIT_"));
    (0..)
        .map_while(name)
        .zip(entries)
        .map(|(name, entry)| Rlimit { name, soft: limit(entry.cur), hard: limit(entry.max) })
        .collect()
}

fn namespaces_of(ids: &schema::TaskKobjIdsEntry) -> Vec<(NsKind, NsId)> {
    [
        (NsKind::Pid, ids.pid_ns_id),
        (NsKind::Net, ids.net_ns_id),
        (NsKind::Ipc, ids.ipc_ns_id),
        (NsKind::Uts, ids.uts_ns_id),
        (NsKind::Mnt, ids.mnt_ns_id),
        (NsKind::User, ids.user_ns_id),
        (NsKind::Cgroup, ids.cgroup_ns_id),
        (NsKind::Time, ids.time_ns_id),
    ]
    .into_iter()
    .filter_map(|(kind, id)| id.filter(|id| *id != 0).map(|id| (kind, NsId(id))))
    .collect()
}

fn threads(
    node: &Node<'_>,
    leader: Option<&schema::CoreEntry>,
    around: &Around<'_>,
    issues: &mut Vec<Issue>,
) -> Vec<Thread> {
    let pid = node.pid;
    let mut tids = node.threads.clone();
    if tids.first() != Some(&pid) {
        if !tids.is_empty() {
            let what = format!("the first thread of process {pid} is {}", tids.first().copied().unwrap_or_default());
            issues.push(Issue::new(node.place.clone(), what));
        }
        tids.retain(|tid| *tid != pid);
        tids.insert(0, pid);
    }
    let task = leader.and_then(|core| core.tc.as_deref());
    let leader_thread = leader.and_then(|core| core.thread_core.as_deref());
    let leader_seccomp = seccomp_of(leader_thread, task, None, around, &node.place, issues);
    // Before 1.4 the threads of a process had one file of credentials.
    let creds = around.images.creds.get(&u64::from(pid)).and_then(|records| records.records.first());
    let creds = creds.map(|record| Credentials::from_entry(&record.value));
    tids.iter()
        .map(|tid| {
            let is_leader = *tid == pid;
            let core = if is_leader { leader } else { core_of(around.images, *tid) };
            if core.is_none() && !is_leader {
                let what = format!("thread {tid} of process {pid}: its core image is missing or damaged");
                issues.push(Issue::new(Place::member(format!("core-{tid}.img")), what));
            }
            let thread = core.and_then(|core| core.thread_core.as_deref());
            let seccomp = if is_leader {
                leader_seccomp.clone()
            } else {
                seccomp_of(thread, None, leader_seccomp.known(), around, &node.place, issues)
            };
            build_thread(*tid, core, task.filter(|_| is_leader), seccomp, creds.as_ref(), around)
        })
        .collect()
}

fn build_thread(
    tid: u32,
    core: Option<&schema::CoreEntry>,
    task: Option<&schema::TaskCoreEntry>,
    seccomp: Field<Seccomp>,
    shared_creds: Option<&Credentials>,
    around: &Around<'_>,
) -> Thread {
    let Around { images, arch, .. } = *around;
    let thread = core.and_then(|core| core.thread_core.as_deref());
    let missing = if core.is_some() { Absent::NotRecorded } else { Absent::Unreadable };
    let creds = thread.and_then(|thread| thread.creds.as_ref()).map(Credentials::from_entry);
    let creds = creds.or_else(|| shared_creds.cloned());
    let comm = thread.and_then(|thread| thread.comm.clone()).or_else(|| task.map(|task| task.comm.clone()));
    let blocked = task.map(|task| task.blk_sigset).or_else(|| thread.and_then(|thread| thread.blk_sigset));
    let nonzero = |value: u64| (value != 0).then_some(value);
    Thread {
        tid: Pid(tid),
        comm: comm.map_or(Field::Absent(missing), |comm| Field::Known(Text(comm))),
        credentials: creds.map_or(Field::Absent(missing), Field::Known),
        seccomp,
        registers: core.and_then(Registers::from_core).map_or(Field::Absent(missing), Field::Known),
        blocked: blocked.map_or(Field::Absent(missing), Field::Known),
        pending: signals::pending(thread.and_then(|thread| thread.signals_p.as_ref()), images.ctx.order, arch),
        sched: thread.map_or(Field::Absent(missing), |thread| Field::Known(sched(thread))),
        pdeath_sig: thread.and_then(|thread| thread.pdeath_sig).filter(|signal| *signal != 0),
        alt_stack: thread
            .and_then(|thread| thread.sas.as_ref())
            .filter(|sas| sas.ss_flags & 2 == 0)
            .map(|sas| (sas.ss_sp, sas.ss_size)),
        robust_list: thread.and_then(|thread| nonzero(thread.futex_rla)),
        rseq: thread.and_then(|thread| thread.rseq_entry.as_ref()).and_then(|rseq| nonzero(rseq.rseq_abi_pointer)),
        clear_tid: core.and_then(registers::clear_tid),
        cg_set: thread.and_then(|thread| thread.cg_set),
    }
}

fn sched(thread: &schema::ThreadCoreEntry) -> Sched {
    // 0x40000000 is SCHED_RESET_ON_FORK.
    let policy = thread.sched_policy.unwrap_or_default();
    let policy_name = names::SCHED_POLICY.value(Arch::default(), u64::from(policy & !0x4000_0000));
    Sched { policy, policy_name, nice: thread.sched_nice.unwrap_or_default(), priority: thread.sched_prio }
}

/// Seccomp state of a thread.
///
/// When all threads have the same chain only the leader's record has it, and the others look
/// unfiltered (flag TSYNC): they get the leader's.
fn seccomp_of(
    thread: Option<&schema::ThreadCoreEntry>,
    task: Option<&schema::TaskCoreEntry>,
    leader: Option<&Seccomp>,
    around: &Around<'_>,
    place: &Place,
    issues: &mut Vec<Issue>,
) -> Field<Seccomp> {
    const TSYNC: u32 = 1;
    let Some(thread) = thread else { return Field::Absent(Absent::Unreadable) };
    let mode = thread.seccomp_mode.or_else(|| task.and_then(|task| task.old_seccomp_mode)).unwrap_or_default();
    let mode = u32::try_from(mode).unwrap_or_default();
    if mode == 0
        && let Some(leader) = leader
        && leader.filters.iter().any(|at| around.filters.get(*at).is_some_and(|filter| filter.flags & TSYNC != 0))
    {
        return Field::Known(leader.clone());
    }
    let oldest = thread.seccomp_filter.or_else(|| task.and_then(|task| task.old_seccomp_filter));
    let filters = match oldest {
        Some(oldest) if mode == 2 => match around.chains.get(oldest) {
            Ok(chain) => chain,
            Err(what) => {
                issues.push(Issue::new(place.clone(), what));
                Arc::default()
            }
        },
        _ => Arc::default(),
    };
    Field::Known(Seccomp { mode, filters })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_empty_pieces_and_the_unterminated_last_one() {
        let pieces = |bytes: &[u8]| split_at_nul(bytes.to_vec()).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(pieces(b"a\0\0b\0"), ["a", "", "b"]);
        assert_eq!(pieces(b"a\0b"), ["a", "b"]);
        assert_eq!(pieces(b"\0"), [""]);
        assert!(pieces(b"").is_empty());
    }
}
