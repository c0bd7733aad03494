//! Sections that belong to one process: details, files, maps, environment.

use std::io::{self, Write};

use crate::base::{Absent, Fd, Field, Pid, Text, escape_controls};
use crate::checkpoint::files::{FileDetail, PipeEnd, Relation, Watch};
use crate::checkpoint::process::Link;
use crate::checkpoint::sockets::SocketAddress;
use crate::checkpoint::{Checkpoint, OpenFile, Process, Vma};
use crate::decode::{Arch, names};

use super::super::descriptors::{fd_flags, relation_word};
use super::super::maps::dumped_pages;
use super::card::field;
use super::human::{bytes, or_dash, plural};
use super::tree::{command, state_note};
use super::{Align, Cell, Columns, Style, Tone};

/// `1 python3`, the head of a process's part of a section.
pub(super) fn head(out: &mut dyn Write, style: Style, process: &Process) -> io::Result<()> {
    let pid = style.paint(Tone::Id, &process.pid.to_string());
    writeln!(out, "  {pid} {}", style.paint(Tone::Strong, &process.comm_label()))
}

fn nothing(out: &mut dyn Write, why: &str) -> io::Result<()> {
    writeln!(out, "    {why}")
}

fn absent(process: &Process, why: Absent) -> String {
    if process.is_zombie() { "none: a zombie has none".into() } else { why.to_string() }
}

/// Who it is and may do.
pub(super) fn details(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint, process: &Process) -> io::Result<()> {
    head(out, style, process)?;
    let arch = checkpoint.container.arch.unwrap_or(Arch::X86);
    let mut line = |label: &str, value: Option<&str>| {
        write!(out, "  ")?;
        match value.filter(|value| !value.is_empty()) {
            Some(value) => field(out, style, label, Some(value)),
            None => field(out, style, label, Some("-")),
        }
    };
    let id = |id: &Field<Pid>| id.known().map_or_else(|| "?".into(), Pid::to_string);
    let ids = format!("parent {}, group {}, session {}", id(&process.ppid), id(&process.pgid), id(&process.sid));
    line("ids", Some(&ids))?;
    line(
        "state",
        Some(&state_note(process, arch).unwrap_or_else(|| "alive (running or sleeping is not recorded)".into())),
    )?;
    line("arguments", Some(&command(process)))?;
    for (label, link) in [("exe", &process.exe), ("cwd", &process.cwd), ("root", &process.root)] {
        line(label, Some(&link_label(process, link)))?;
    }
    if let Some(credentials) = process.credentials() {
        let ids = |ids: [u32; 4]| format!("real {}, effective {}, saved {}, fs {}", ids[0], ids[1], ids[2], ids[3]);
        line("uids", Some(&ids(credentials.uids)))?;
        line("gids", Some(&ids(credentials.gids)))?;
        let groups: Vec<String> = credentials.groups.iter().map(u32::to_string).collect();
        line("groups", Some(&groups.join(" ")))?;
        let effective = credentials.cap_eff;
        line("effective", Some(&format!("{effective:016x} {}", capabilities(effective))))?;
        for (label, set) in [
            ("permitted", Some(credentials.cap_prm)),
            ("inheritable", Some(credentials.cap_inh)),
            ("bounding", Some(credentials.cap_bnd)),
            ("ambient", credentials.cap_amb),
        ] {
            let text = set.map(|set| match set {
                set if set == effective && set != 0 => format!("{set:016x} as effective"),
                set => format!("{set:016x} {}", capabilities(set)),
            });
            line(label, text.as_deref())?;
        }
        let no_new_privs = credentials.no_new_privs.map(|set| if set { "yes" } else { "no" });
        line("no_new_privs", no_new_privs)?;
        line("lsm profile", credentials.lsm_profile.as_ref().map(Text::label).as_deref())?;
    }
    let seccomp = process.seccomp().map(|seccomp| match seccomp.mode {
        0 => "off".to_owned(),
        1 => "strict".to_owned(),
        2 => plural(seccomp.filters.len(), "filter", "filters"),
        mode => format!("mode {mode}"),
    });
    line("seccomp", seccomp.as_deref())?;
    line("umask", process.umask.known().map(|umask| format!("{umask:04o}")).as_deref())?;
    line("oom score adj", process.oom_score_adj.known().map(i32::to_string).as_deref())?;
    if process.threads.len() > 1 {
        let names = process
            .threads
            .iter()
            .map(|thread| format!("{} {}", thread.tid, thread.comm.known().map_or_else(|| "?".into(), Text::label)));
        line("threads", Some(&names.collect::<Vec<_>>().join(", ")))?;
    }
    if let Field::Known(limits) = &process.rlimits {
        let limit = |limit: Option<u64>| limit.map_or_else(|| "unlimited".into(), |limit| limit.to_string());
        let limits = limits.iter().map(|it| match (it.soft, it.hard) {
            (soft, hard) if soft == hard => format!("{} {}", it.name, limit(soft)),
            (soft, hard) => format!("{} {}/{}", it.name, limit(soft), limit(hard)),
        });
        line("limits", Some(&limits.collect::<Vec<_>>().join(", ")))?;
    }
    Ok(())
}

fn capabilities(set: u64) -> String {
    if set == 0 {
        return "none".into();
    }
    let names = names::CAPABILITY.of_bit_set(Arch::X86, set);
    let names = names.iter().map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_lowercase());
    names.collect::<Vec<_>>().join(" ")
}

fn link_label(process: &Process, link: &Field<Link>) -> String {
    match link {
        Field::Known(link) => link.target.label(),
        Field::Absent(why) => absent(process, *why),
    }
}

/// Its descriptors.
pub(super) fn files(out: &mut dyn Write, style: Style, checkpoint: &Checkpoint, process: &Process) -> io::Result<()> {
    head(out, style, process)?;
    if process.fds.is_empty() {
        let why = if process.is_zombie() { "none: a zombie has none" } else { "no descriptor" };
        return nothing(out, why);
    }
    let mut columns = Columns::new(&[
        ("FD", Align::Right),
        ("KIND", Align::Left),
        ("FLAGS", Align::Left),
        ("POS", Align::Right),
        ("TARGET", Align::Left),
        ("NOTE", Align::Left),
    ]);
    let arch = checkpoint.container.arch.unwrap_or(Arch::X86);
    for entry in &process.fds {
        let file = checkpoint.file(entry.file);
        let flags = file.and_then(|file| file.flags).map(|flags| flag_words(arch, fd_flags(flags, entry.cloexec)));
        let target = file.map_or_else(
            || format!("? (file {} is not in the images)", entry.file),
            |file| file.target.as_ref().map_or_else(|| "? (its number is not recorded)".into(), Text::label),
        );
        let tone = if file.is_some_and(|file| file.is_deleted) { Tone::Alert } else { Tone::Plain };
        columns.row([
            Cell::new(Tone::Id, entry.fd.to_string()),
            entry.kind.word().into(),
            or_dash(flags).into(),
            or_dash(file.and_then(|file| file.pos)).into(),
            Cell::new(tone, target),
            Cell::new(Tone::Dim, file.map_or_else(String::new, |file| file_note(checkpoint, process, file))),
        ]);
        columns.write_when_many(out, style, 4)?;
    }
    columns.write(out, style, 4)
}

/// `RDWR|APPEND|CLOEXEC`: names of open(2) without their prefix, and without `O_LARGEFILE`, which the kernel sets for
/// every file of a 64-bit process.
/// Most connected files that are told of.
const MAX_RELATED: usize = 8;
/// Most descriptors of one file that are counted.
const MAX_OWNERS: usize = 1000;

fn flag_words(arch: Arch, flags: u32) -> String {
    let names = names::open_flags(arch, u64::from(flags));
    let words = names.split('|').filter(|word| *word != "O_LARGEFILE");
    words.map(|word| word.strip_prefix("O_").unwrap_or(word)).collect::<Vec<_>>().join("|")
}

fn file_note(checkpoint: &Checkpoint, process: &Process, file: &OpenFile) -> String {
    let mut notes = Vec::new();
    if let Some(socket) = checkpoint.socket(file.id) {
        let label = |it: &SocketAddress| escape_controls(&it.to_string()).into_owned();
        let addresses = [&socket.local, &socket.peer].map(|it| it.as_ref().map(label));
        let parts = [Some(socket.proto.to_owned()), socket.state.map(|state| state.to_string())];
        let peer = addresses[1].as_ref().map(|peer| format!("-> {peer}"));
        notes.push(parts.into_iter().flatten().chain(addresses[0].clone()).chain(peer).collect::<Vec<_>>().join(" "));
    }
    match &file.detail {
        FileDetail::Reg(reg) => {
            notes.extend(reg.size_bytes.map(bytes));
            if reg.is_external {
                notes.push("given by the runtime".into());
            }
        }
        FileDetail::Pipe(pipe) | FileDetail::Fifo(pipe) => notes.extend(unread(pipe)),
        FileDetail::Eventfd { counter } => notes.push(format!("counter {counter}")),
        FileDetail::Eventpoll(targets) => {
            let watched = few(16, targets.iter(), |target| target.fd.to_string());
            notes.push(format!("watches {}", watched.unwrap_or_else(|| "nothing".into())));
        }
        FileDetail::Inotify(watches) | FileDetail::Fanotify { marks: watches, .. } => {
            let label = |watch: &Watch| match &watch.path {
                Some(path) => path.label(),
                None => watch.inode.map_or_else(|| "?".into(), |inode| format!("inode {inode:#x}")),
            };
            notes.push(format!("watches {}", few(16, watches.iter(), label).unwrap_or_else(|| "nothing".into())));
        }
        FileDetail::Signalfd { mask } => notes.push(format!("signals {mask:016x}")),
        FileDetail::Timerfd { value_ns, interval_ns, .. } => notes.push(match (value_ns, interval_ns) {
            (0, _) => "disarmed".into(),
            (value, 0) => format!("in {} ns, once", value),
            (value, interval) => format!("in {value} ns, every {interval} ns"),
        }),
        FileDetail::Memfd(memfd) => {
            notes.extend(memfd.size_bytes.map(bytes));
            if memfd.is_shared_anonymous {
                notes.push("shared anonymous memory".into());
            }
        }
        FileDetail::Tty(tty) => {
            notes.extend(tty.sid.filter(|sid| *sid != 0).map(|sid| format!("controls session {sid}")))
        }
        FileDetail::Pidfd { pid, .. } => {
            notes.push(pid.map_or_else(|| "a process that is gone".into(), |pid| format!("process {pid}")));
        }
        FileDetail::Tun { netdev } => notes.extend(netdev.as_ref().map(Text::label)),
        FileDetail::BpfMap(map) => notes.push(plural(map.entries.len(), "entry", "entries")),
        FileDetail::Socket | FileDetail::Ns { .. } | FileDetail::Ext | FileDetail::Unknown => {}
    }
    let others = file.fds.iter().filter(|(pid, _)| *pid != process.pid);
    notes.extend(few_descriptors(others).map(|others| format!("shared with {others}")));
    // What an epoll watches stands there already, by the numbers it was told.
    let related = file.related.iter().filter(|(relation, _)| *relation != Relation::EpollTarget);
    for (relation, id) in related.take(MAX_RELATED) {
        let owners = checkpoint.file(*id).map_or(&[][..], |file| &file.fds);
        notes.extend(few_descriptors(owners.iter()).map(|owners| format!("{} {owners}", relation_word(*relation))));
    }
    notes.join(", ")
}

/// The first few, and how many more.
/// At most `max` items, or one less and how many more there are. Only what is shown is spelled.
pub(super) fn few<T>(max: usize, items: impl Iterator<Item = T>, text: impl Fn(T) -> String) -> Option<String> {
    let mut items = items;
    let mut shown: Vec<String> = items.by_ref().take(max).map(text).collect();
    let more = items.count();
    if more > 0 {
        shown.pop();
        return Some(format!("{} and {} more", shown.join(" "), more + 1));
    }
    (!shown.is_empty()).then(|| shown.join(" "))
}

/// Descriptors of other processes. They are looked through for every descriptor that shares the file: not to the end.
fn few_descriptors<'a>(descriptors: impl Iterator<Item = &'a (Pid, Fd)>) -> Option<String> {
    few(5, descriptors.take(MAX_OWNERS), |(pid, fd)| format!("{pid}/{fd}"))
}

fn unread(pipe: &PipeEnd) -> Option<String> {
    pipe.unread
        .as_ref()
        .filter(|unread| !unread.is_empty())
        .map(|unread| format!("{} unread", bytes(unread.len() as u64)))
}

/// Its memory map.
pub(super) fn maps(out: &mut dyn Write, style: Style, process: &Process) -> io::Result<()> {
    head(out, style, process)?;
    let memory = match &process.memory {
        Field::Known(memory) => memory,
        Field::Absent(why) => return nothing(out, &absent(process, *why)),
    };
    let mut columns = Columns::new(&[
        ("START", Align::Right),
        ("END", Align::Right),
        ("PERMS", Align::Left),
        ("SIZE", Align::Right),
        ("DUMPED", Align::Right),
        ("KIND", Align::Left),
        ("OFFSET", Align::Right),
        ("PATH", Align::Left),
    ]);
    for vma in &memory.vmas {
        columns.row([
            format!("{:#x}", vma.start).into(),
            format!("{:#x}", vma.end).into(),
            // Writable and executable at once is how injected code lives.
            Cell::new(if vma.prot & 6 == 6 { Tone::Alert } else { Tone::Plain }, vma.perms()),
            bytes(vma.len_bytes()).into(),
            dumped(vma).into(),
            vma.kind.word().into(),
            if vma.file.is_some() { format!("{:#x}", vma.pgoff).into() } else { "-".into() },
            vma.path.label().into(),
        ]);
        columns.write_when_many(out, style, 4)?;
    }
    columns.write(out, style, 4)
}

fn dumped(vma: &Vma) -> String {
    let pages = &vma.pages;
    let mut parts = vec![format!("{}/{}", dumped_pages(pages), pages.total)];
    if pages.parent > 0 {
        parts.push(format!("{} in parent", pages.parent));
    }
    if pages.lazy > 0 {
        parts.push(format!("{} lazy", pages.lazy));
    }
    parts.join(", ")
}

/// Its environment, as it lies in memory.
pub(super) fn environment(out: &mut dyn Write, style: Style, process: &Process) -> io::Result<()> {
    head(out, style, process)?;
    match &process.environ {
        Field::Known(environ) if environ.is_empty() => nothing(out, "empty"),
        Field::Known(environ) => environ.iter().try_for_each(|entry| {
            let label = if entry.is_empty() { "''".to_owned() } else { entry.label() };
            writeln!(out, "    {label}")
        }),
        Field::Absent(why) => nothing(out, &absent(process, *why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_flags_are_words() {
        assert_eq!(flag_words(Arch::X86, 0o2_102_001), "WRONLY|APPEND|CLOEXEC");
        assert_eq!(flag_words(Arch::X86, 0), "RDONLY");
        assert_eq!(flag_words(Arch::Mips, 0o10), "RDONLY|APPEND");
    }

    #[test]
    fn long_lists_are_cut_and_counted() {
        let few = |n: u32| few(5, 1..=n, |n| n.to_string());
        assert_eq!(few(5).as_deref(), Some("1 2 3 4 5"));
        assert_eq!(few(6).as_deref(), Some("1 2 3 4 and 2 more"));
        assert_eq!(few(0), None);
    }
}
