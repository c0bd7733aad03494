//! Sections about what the kernel keeps for processes: signals, timers, namespaces, cgroups, seccomp filters.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use crate::base::{Pid, Text, escape_controls};
use crate::checkpoint::seccomp::Filter;
use crate::checkpoint::signals::PendingSignal;
use crate::checkpoint::{Checkpoint, Process};
use crate::decode::{Arch, names};

use super::human::{micros, plural};
use super::process::{few, head};
use super::system::heading;
use super::{Align, Cell, Columns, Style, Tone};

/// Most processes that are named in one row.
const MAX_PIDS: usize = 12;
/// Most pending signals and timers that are listed of one process.
const MAX_SIGNALS: usize = 64;
/// Instructions of a filter that are shown.
const MAX_INSTRUCTIONS: usize = 8;
/// Filters that are shown.
const MAX_FILTERS: usize = 32;

fn pids(pids: impl Iterator<Item = Pid>) -> String {
    few(MAX_PIDS, pids, |pid| pid.to_string()).unwrap_or_else(|| "-".into())
}

/// Signals and timers of the processes that have any.
pub(super) fn signals(out: &mut dyn Write, style: Style, arch: Option<Arch>, processes: &[&Process]) -> io::Result<()> {
    let mut is_first = true;
    for process in processes {
        let lines = signal_lines(process, arch.unwrap_or(Arch::X86));
        if lines.is_empty() {
            continue;
        }
        if std::mem::take(&mut is_first) {
            heading(out, style, "Signals and timers")?;
        }
        head(out, style, process)?;
        for (label, text) in lines {
            writeln!(out, "    {} {}", style.paint(Tone::Dim, &format!("{label:<8}")), escape_controls(&text))?;
        }
    }
    Ok(())
}

fn signal_lines(process: &Process, arch: Arch) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let short = |number: u32| names::signal(arch, number).trim_start_matches("SIG").to_owned();
    let actions = |wanted: fn(u64) -> bool| {
        let found = process.signal_actions.iter().filter(|action| wanted(action.handler));
        few(usize::MAX, found, |action| short(action.signal))
    };
    lines.extend(actions(|handler| handler > 1).map(|caught| ("caught", caught)));
    lines.extend(actions(|handler| handler == 1).map(|ignored| ("ignored", ignored)));
    for thread in &process.threads {
        let blocked = thread.blocked.known().copied().unwrap_or_default();
        let signals = (1..=64u32).filter(|number| blocked >> (number - 1) & 1 != 0);
        let whose = if thread.tid == process.pid { String::new() } else { format!(" (thread {})", thread.tid) };
        lines.extend(few(usize::MAX, signals, short).map(|blocked| ("blocked", format!("{blocked}{whose}"))));
    }
    let of_threads = process.threads.iter().flat_map(|thread| thread.pending.iter().map(|it| (Some(thread.tid), it)));
    let pending = process.pending.iter().map(|it| (None, it)).chain(of_threads);
    lines.extend(pending.map(|(tid, signal)| ("pending", pending_text(signal, tid, &short))));
    let every = |interval: u64, unit: fn(u64) -> String| match interval {
        0 => "once".to_owned(),
        interval => format!("then every {}", unit(interval)),
    };
    for timer in &process.timers.interval {
        let every = every(timer.interval_us, micros);
        lines.push(("timer", format!("{}: in {}, {every}", timer.name, micros(timer.value_us))));
    }
    for timer in &process.timers.posix {
        let when = match timer.value_ns {
            0 => "disarmed".to_owned(),
            value => format!("in {}, {}", micros(value / 1000), every(timer.interval_ns, |ns| micros(ns / 1000))),
        };
        let sends = short(timer.signal);
        lines.push((
            "timer",
            format!("{}: {when}, sends {sends}, clock {}, {} missed", timer.id, timer.clock_id, timer.overrun),
        ));
    }
    if let Some(more) = lines.len().checked_sub(MAX_SIGNALS).filter(|more| *more > 0) {
        lines.truncate(MAX_SIGNALS);
        lines.push(("", format!("and {more} more")));
    }
    lines
}

fn pending_text(signal: &PendingSignal, tid: Option<Pid>, short: &dyn Fn(u32) -> String) -> String {
    let from = match signal.sender {
        Some((pid, uid)) => format!("from process {pid} of user {uid}"),
        None => format!("code {}", signal.code),
    };
    let to = tid.map_or_else(String::new, |tid| format!(" to thread {tid}"));
    format!("{}{to}, {from}", short(signal.signal))
}

/// Namespaces, who lives in them, and what is known of each.
pub(super) fn namespaces(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint) -> io::Result<()> {
    let mut columns =
        Columns::new(&[("KIND", Align::Left), ("ID", Align::Right), ("PROCESSES", Align::Left), ("NOTE", Align::Left)]);
    for namespace in &checkpoint.namespaces {
        // A machine without a NIS domain says so.
        let facts = namespace.facts.iter().filter(|(_, value)| !matches!(value.as_bytes(), b"" | b"(none)"));
        let facts = facts.map(|(name, value)| format!("{}: {}", escape_controls(name), value.label()));
        let host = namespace.is_host.then(|| "that of the host".to_owned());
        let mut notes: Vec<String> = host.into_iter().chain(facts).take(9).collect();
        if let Some(more) = namespace.facts.len().checked_sub(8).filter(|more| *more > 0) {
            notes.truncate(8);
            notes.push(format!("{more} more"));
        }
        columns.row([
            namespace.kind.word().into(),
            Cell::new(Tone::Id, namespace.id.to_string()),
            pids(namespace.pids.iter().copied()).into(),
            Cell::new(Tone::Dim, notes.join("; ")),
        ]);
    }
    if columns.is_empty() {
        return Ok(());
    }
    heading(out, style, "Namespaces")?;
    columns.write(out, style, 2)
}

/// Cgroups that processes are in.
pub(super) fn cgroups(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint) -> io::Result<()> {
    let mut columns = Columns::new(&[
        ("SET", Align::Right),
        ("PROCESSES", Align::Left),
        ("CONTROLLERS", Align::Left),
        ("PATH", Align::Left),
    ]);
    let mut users: BTreeMap<u32, Vec<Pid>> = BTreeMap::new();
    for process in &checkpoint.processes {
        if let Some(set) = process.cg_set {
            users.entry(set).or_default().push(process.pid);
        }
    }
    for (id, users) in users {
        let members = checkpoint.cgroups.set(id).map(|set| set.members.as_slice()).unwrap_or_default();
        if members.is_empty() {
            let path = Cell::new(Tone::Dim, "not in cgroup.img");
            columns.row([Cell::new(Tone::Id, id.to_string()), pids(users.iter().copied()).into(), "-".into(), path]);
        }
        for (n, members) in members.chunk_by(|(_, one), (_, other)| one == other).enumerate() {
            let (id, users) =
                if n == 0 { (id.to_string(), pids(users.iter().copied())) } else { (String::new(), String::new()) };
            let name = |(controller, _): &(Text, Text)| match controller.is_empty() {
                true => "cgroup2".to_owned(),
                false => controller.label(),
            };
            let controllers = few(MAX_PIDS, members.iter(), name).unwrap_or_default();
            let path = members.first().map(|(_, path)| path.label()).unwrap_or_default();
            columns.row([Cell::new(Tone::Id, id), users.into(), controllers.into(), path.into()]);
        }
    }
    if columns.is_empty() {
        return Ok(());
    }
    heading(out, style, "Cgroups")?;
    columns.write(out, style, 2)
}

/// Seccomp filters with the beginnings of their programs.
pub(super) fn seccomp(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint) -> io::Result<()> {
    let filters = &checkpoint.seccomp_filters;
    if filters.is_empty() {
        return Ok(());
    }
    heading(out, style, "Seccomp filters")?;
    let users = seccomp_users(checkpoint);
    for (index, filter) in filters.iter().enumerate().take(MAX_FILTERS) {
        let users = match users.get(&index) {
            Some(count) => format!("of {}", plural(*count, "process", "processes")),
            None => "of no process".to_owned(),
        };
        let parts = [plural(filter.program.len(), "instruction", "instructions"), users];
        let parts: Vec<String> = parts.into_iter().chain(flags(filter)).collect();
        writeln!(out, "  {}: {}", style.paint(Tone::Id, &index.to_string()), parts.join(", "))?;
        for (at, instruction) in filter.program.iter().enumerate().take(MAX_INSTRUCTIONS) {
            writeln!(out, "    {at:>4}  {}", instruction.text(at))?;
        }
        if let Some(more) = filter.program.len().checked_sub(MAX_INSTRUCTIONS).filter(|more| *more > 0) {
            writeln!(out, "          {}", style.paint(Tone::Dim, &format!("and {more} more; --json has them")))?;
        }
    }
    if let Some(more) = filters.len().checked_sub(MAX_FILTERS).filter(|more| *more > 0) {
        writeln!(out, "  {}", style.paint(Tone::Dim, &format!("and {more} more filters; --json has them")))?;
    }
    Ok(())
}

fn flags(filter: &Filter) -> Option<String> {
    const NAMES: [&str; 6] = ["TSYNC", "LOG", "SPEC_ALLOW", "NEW_LISTENER", "TSYNC_ESRCH", "WAIT_KILLABLE_RECV"];
    let named = NAMES.iter().enumerate().filter(|(bit, _)| filter.flags >> bit & 1 != 0);
    let mut words: Vec<String> = named.map(|(_, name)| (*name).to_owned()).collect();
    let rest = filter.flags >> NAMES.len() << NAMES.len();
    words.extend((rest != 0).then(|| format!("{rest:#x}")));
    (!words.is_empty()).then(|| format!("flags {}", words.join("|")))
}

/// How many processes run each filter. Chains are shared: each is walked once.
fn seccomp_users(checkpoint: &Checkpoint) -> HashMap<usize, usize> {
    let mut chains: HashMap<*const usize, (&[usize], usize)> = HashMap::new();
    for seccomp in checkpoint.processes.iter().filter_map(Process::seccomp) {
        chains.entry(seccomp.filters.as_ptr()).or_insert((&seccomp.filters, 0)).1 += 1;
    }
    let mut users = HashMap::new();
    for (chain, count) in chains.into_values() {
        for filter in chain {
            *users.entry(*filter).or_insert(0) += count;
        }
    }
    users
}
