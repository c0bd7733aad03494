//! What each kind of file holds, as rows of properties.

use egui::Ui;

use super::links::{MAX_LINKS, file_link, more_label, mount_link, process_link};
use crate::base::{Fd, NsId, Pid, Text, hex};
use crate::checkpoint::files::{BpfMap, EpollTarget, FileDetail, Memfd, PipeEnd, RegFile, Remap, Tty, Watch};
use crate::checkpoint::{Checkpoint, OpenFile};
use crate::decode::Arch;
use crate::decode::names::{self, Names};
use crate::session::{Command, Target};
use crate::ui::text::{bytes, counted, grouped};
use crate::ui::tokens::Tokens;
use crate::ui::widgets::{Value, link_row, mono_text, property, property_ui, section, target_link};

/// What rows are drawn with.
struct Rows<'a> {
    ui: &'a mut Ui,
    checkpoint: &'a Checkpoint,
    arch: Arch,
    commands: &'a mut Vec<Command>,
}

impl Rows<'_> {
    fn mono(&mut self, label: &'static str, help: &str, value: impl AsRef<str>) {
        property(self.ui, self.commands, label, help, Value::Mono(value.as_ref()));
    }

    fn opt(&mut self, label: &'static str, help: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.mono(label, help, value.to_string());
        }
    }

    fn text(&mut self, label: &'static str, help: &str, value: Option<&Text>) {
        if let Some(value) = value {
            self.mono(label, help, value.label());
        }
    }

    fn bits(&mut self, label: &'static str, help: &str, table: Names, value: u64) {
        let line = format!("{}  ({value:#x})", table.bits(self.arch, value));
        self.mono(label, help, line);
    }

    fn owner(&mut self, owner: Option<(u32, u32)>) {
        self.opt("Owner", "User and group", owner.map(|(uid, gid)| format!("{uid}:{gid}")));
    }

    fn mode(&mut self, mode: Option<u32>) {
        self.opt("Mode", "Type and permissions", mode.map(mode_label));
    }
}

/// `-rwxr-xr-x (0100755)`.
pub(in crate::ui::panels) fn mode_label(mode: u32) -> String {
    format!("{} (0{mode:o})", mode_text(mode))
}

/// `drwxr-xr-x`, as ls prints it; `?` for a type that is none.
pub(in crate::ui::panels) fn mode_text(mode: u32) -> String {
    let mut out = String::with_capacity(10);
    out.push(match mode & 0o170_000 {
        0o100_000 => '-',
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o020_000 => 'c',
        0o060_000 => 'b',
        0o010_000 => 'p',
        0o140_000 => 's',
        _ => '?',
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        out.push(if bits & 4 != 0 { 'r' } else { '-' });
        out.push(if bits & 2 != 0 { 'w' } else { '-' });
        out.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    out
}

/// Draws the section of the file's kind.
pub(super) fn kind_ui(ui: &mut Ui, checkpoint: &Checkpoint, file: &OpenFile, commands: &mut Vec<Command>) {
    let (title, note) = title_of(file);
    let Some(title) = title else { return };
    section(ui, title, &note, |ui| {
        let arch = checkpoint.container.arch.unwrap_or_default();
        let mut rows = Rows { ui, checkpoint, arch, commands };
        match &file.detail {
            FileDetail::Reg(reg) => rows.reg(reg),
            FileDetail::Pipe(end) | FileDetail::Fifo(end) => rows.pipe(end),
            FileDetail::Socket => rows.socket(file),
            FileDetail::Eventfd { counter } => rows.mono("Counter", "What the next read returns", grouped(*counter)),
            FileDetail::Eventpoll(targets) => rows.epoll(file, targets),
            FileDetail::Inotify(watches) => rows.watches(watches, names::INOTIFY_MASK),
            FileDetail::Fanotify { flags, event_flags, marks } => {
                rows.bits("Init flags", "Of fanotify_init(2)", names::FANOTIFY_INIT_FLAGS, u64::from(*flags));
                let table = names::FANOTIFY_EVENT_FLAGS;
                rows.bits("Event flags", "Of the descriptors it hands out", table, u64::from(*event_flags));
                rows.watches(marks, names::FANOTIFY_MASK);
            }
            FileDetail::Signalfd { mask } => {
                let signals = crate::ui::names::signals(checkpoint.container.arch, *mask);
                rows.mono("Signals", "That it receives", signals);
            }
            FileDetail::Timerfd { clock_id, ticks, value_ns, interval_ns, settime_flags } => {
                let clock = names::CLOCK_ID.value_or_number(arch, u64::from(*clock_id));
                rows.mono("Clock", "The clock it counts by", clock);
                let left = if *value_ns == 0 { "disarmed".to_owned() } else { duration(*value_ns) };
                rows.mono("Expires in", "Time left until the next expiration", left);
                let interval = if *interval_ns == 0 { "once".to_owned() } else { duration(*interval_ns) };
                rows.mono("Repeats every", "Between expirations", interval);
                rows.mono("Expirations", "Not yet read", grouped(*ticks));
                let table = names::TIMERFD_SETTIME_FLAGS;
                rows.bits("Flags", "Of timerfd_settime(2)", table, u64::from(*settime_flags));
            }
            FileDetail::Tty(tty) => rows.tty(tty),
            FileDetail::Memfd(memfd) => rows.memfd(memfd),
            FileDetail::Ns { ns_id, clone_flag } => rows.namespace(*ns_id, *clone_flag),
            FileDetail::Tun { netdev } => rows.text("Device", "The interface it is attached to", netdev.as_ref()),
            FileDetail::BpfMap(map) => rows.bpf_map(map),
            FileDetail::Pidfd { pid, inode } => rows.pidfd(*pid, *inode),
            FileDetail::Ext | FileDetail::Unknown => {}
        }
    });
}

fn title_of(file: &OpenFile) -> (Option<&'static str>, String) {
    let title = match &file.detail {
        FileDetail::Reg(_) => "Path",
        FileDetail::Pipe(_) => "Pipe",
        FileDetail::Fifo(_) => "Named pipe",
        FileDetail::Socket => "Socket",
        FileDetail::Eventfd { .. } => "Eventfd",
        FileDetail::Eventpoll(targets) => return (Some("Epoll"), counted(targets.len(), "descriptor", "descriptors")),
        FileDetail::Inotify(watches) => return (Some("Inotify"), counted(watches.len(), "watch", "watches")),
        FileDetail::Fanotify { marks, .. } => return (Some("Fanotify"), counted(marks.len(), "mark", "marks")),
        FileDetail::Signalfd { .. } => "Signalfd",
        FileDetail::Timerfd { .. } => "Timer",
        FileDetail::Tty(_) => "Terminal",
        FileDetail::Memfd(_) => "Memfd",
        FileDetail::Ns { .. } => "Namespace",
        FileDetail::Tun { .. } => "Tun device",
        FileDetail::BpfMap(map) => return (Some("BPF map"), counted(map.entries.len(), "entry", "entries")),
        FileDetail::Pidfd { .. } => "Pidfd",
        FileDetail::Ext | FileDetail::Unknown => return (None, String::new()),
    };
    (Some(title), String::new())
}

impl Rows<'_> {
    fn reg(&mut self, reg: &RegFile) {
        self.mono("Name", "As CRIU recorded it, in the mount namespace", reg.name.label());
        if let Some(mnt_id) = reg.mnt_id {
            let (checkpoint, commands) = (self.checkpoint, &mut *self.commands);
            property_ui(self.ui, "Mount", "The mount it lies on", |ui| mount_link(ui, checkpoint, mnt_id, commands));
        }
        self.mode(reg.mode);
        let size = reg.size_bytes.map(|size| format!("{} ({})", grouped(size), bytes(size)));
        self.opt("Size", "In bytes, at the dump", size);
        self.opt("Build ID", "Of the program or library", reg.build_id.as_ref().map(|id| hex(id)));
        let Some(remap) = &reg.remap else { return };
        let (checkpoint, commands) = (self.checkpoint, &mut *self.commands);
        let help = "How CRIU keeps a file whose name no longer leads to it";
        property_ui(self.ui, "Kept as", help, |ui| match remap {
            Remap::Linked { file } => {
                link_row(ui, |ui| {
                    ui.label("hard link");
                    file_link(ui, checkpoint, *file, commands);
                });
            }
            Remap::Ghost { img } => {
                link_row(ui, |ui| {
                    ui.label("copy in");
                    target_link(ui, commands, img, Target::image(img.clone()));
                });
            }
            Remap::Procfs { pid } => {
                ui.label(format!("a path under /proc of process {pid}, which was dead"));
            }
            Remap::Unknown(kind) => {
                ui.label(format!("a way of CRIU that is not known, number {kind}"));
            }
        });
    }

    fn pipe(&mut self, end: &PipeEnd) {
        self.mono("Inode", "Both ends share it", end.pipe_id.to_string());
        self.opt("Capacity", "In bytes", end.capacity_bytes.map(|size| grouped(u64::from(size))));
        let unread = end.unread.as_ref().map_or(0, |unread| unread.len() as u64);
        self.mono("Unread", "Bytes written and not yet read", grouped(unread));
    }

    fn socket(&mut self, file: &OpenFile) {
        let Some(socket) = self.checkpoint.socket(file.id) else { return };
        let state = socket.state.map(|state| state.0).unwrap_or_default();
        let commands = &mut *self.commands;
        property_ui(self.ui, "Socket", "Addresses, options and queues are in Sockets", |ui| {
            let label = super::super::sockets::label_of(socket);
            target_link(ui, commands, &label, Target::Socket(file.id));
        });
        if !state.is_empty() {
            self.mono("State", "", state);
        }
    }

    fn epoll(&mut self, file: &OpenFile, targets: &[EpollTarget]) {
        // Numbers of descriptors are those of the process that added them: any that has the epoll.
        let pid = file.fds.first().map(|(pid, _)| *pid);
        for target in targets.iter().take(MAX_LINKS) {
            let (checkpoint, arch, commands) = (self.checkpoint, self.arch, &mut *self.commands);
            property_ui(self.ui, &format!("fd {}", target.fd), "Number it was added by", |ui| {
                link_row(ui, |ui| {
                    let fd = Fd(target.fd);
                    let found = pid.and_then(|pid| Some((pid, checkpoint.fd(pid, fd)?)));
                    match found {
                        Some((_, entry)) => file_link(ui, checkpoint, entry.file, commands),
                        None => {
                            ui.label("not open any more");
                        }
                    }
                    let events = names::EPOLL_EVENTS.bits(arch, u64::from(target.events));
                    let line = format!("{events}  data {:#x}", target.data);
                    ui.label(mono_text(line).color(Tokens::get(ui).muted));
                })
            });
        }
        more_label(self.ui, targets.len());
    }

    fn watches(&mut self, watches: &[Watch], table: Names) {
        for watch in watches.iter().take(MAX_LINKS) {
            let (checkpoint, arch, commands) = (self.checkpoint, self.arch, &mut *self.commands);
            let label = watch.wd.map_or_else(|| "mark".to_owned(), |wd| format!("wd {wd}"));
            property_ui(self.ui, &label, "Watch descriptor", |ui| {
                link_row(ui, |ui| {
                    match (&watch.path, watch.mnt_id, watch.inode) {
                        (Some(path), _, _) => {
                            ui.label(mono_text(path.label()));
                        }
                        (None, Some(mnt_id), None) => mount_link(ui, checkpoint, mnt_id, commands),
                        (None, _, Some(inode)) => {
                            ui.label(mono_text(format!("inode {inode}")));
                        }
                        (None, None, None) => {
                            ui.label("what it watches is not recorded");
                        }
                    }
                    let mut line = table.bits(arch, watch.mask);
                    if let Some(ignored) = watch.ignored_mask.filter(|ignored| *ignored != 0) {
                        line = format!("{line}, ignores {}", table.bits(arch, u64::from(ignored)));
                    }
                    ui.label(mono_text(line).color(Tokens::get(ui).muted));
                })
            });
        }
        more_label(self.ui, watches.len());
    }

    fn tty(&mut self, tty: &Tty) {
        self.opt("Driver", "Kind of terminal", tty.driver);
        self.opt("Index", "Number of the pseudo terminal", tty.index);
        self.opt("Size", "Columns and rows", tty.winsize.map(|(columns, rows)| format!("{columns} x {rows}")));
        for (label, help, pid) in [
            ("Session", "Of which it is the controlling terminal", tty.sid),
            ("Foreground group", "Group that reads from it", tty.pgrp),
        ] {
            let Some(pid) = pid.filter(|pid| *pid != 0) else { continue };
            let (checkpoint, commands) = (self.checkpoint, &mut *self.commands);
            property_ui(self.ui, label, help, |ui| process_link(ui, checkpoint, Pid(pid), commands));
        }
    }

    fn memfd(&mut self, memfd: &Memfd) {
        if memfd.is_shared_anonymous {
            let what = "shared anonymous memory, which CRIU keeps as a memfd";
            property(self.ui, self.commands, "Really", "", Value::Text(what));
        }
        self.text("Name", "Given to memfd_create(2)", memfd.name.as_ref());
        let size = memfd.size_bytes.map(|size| format!("{} ({})", grouped(size), bytes(size)));
        self.opt("Size", "In bytes", size);
        if let Some(seals) = memfd.seals {
            self.bits("Seals", "What can no longer be done to it", names::MEMFD_SEALS, u64::from(seals));
        }
        self.mode(memfd.mode);
        self.owner(memfd.owner);
        self.mono("Inode", "CRIU's number of the inode", memfd.inode_id.to_string());
        if let Some(shmid) = memfd.shmid {
            let name = format!("pagemap-shmem-{shmid}.img");
            let commands = &mut *self.commands;
            let known = self.checkpoint.image(&name).is_some();
            property_ui(self.ui, "Pages", "Shared memory that holds the content", |ui| {
                if known {
                    target_link(ui, commands, &name, Target::image(name.clone()));
                } else {
                    ui.label(mono_text(name.clone()).color(Tokens::get(ui).muted));
                }
            });
        }
    }

    fn namespace(&mut self, ns_id: NsId, clone_flag: u32) {
        let kind = names::CLONE_NS_FLAGS.value_or_number(self.arch, u64::from(clone_flag));
        self.mono("Kind", "Flag of clone(2)", kind);
        self.mono("Number", "CRIU's own number of the namespace", ns_id.to_string());
        let inside = self.checkpoint.namespaces.iter().find(|ns| ns.id == ns_id);
        let Some(namespace) = inside else { return };
        let (checkpoint, commands) = (self.checkpoint, &mut *self.commands);
        property_ui(self.ui, "Processes in it", "", |ui| {
            link_row(ui, |ui| {
                for pid in namespace.pids.iter().take(12) {
                    process_link(ui, checkpoint, *pid, commands);
                }
            })
        });
    }

    fn bpf_map(&mut self, map: &BpfMap) {
        self.text("Name", "", map.name.as_ref());
        let kind = names::BPF_MAP_TYPE.value_or_number(self.arch, u64::from(map.map_type));
        self.mono("Type", "", kind);
        self.mono("Map ID", "The kernel's number", map.map_id.to_string());
        let sizes = format!("{} bytes to {} bytes", map.key_size, map.value_size);
        self.mono("Keys to values", "Sizes", sizes);
        self.mono("Capacity", "Most entries", grouped(u64::from(map.max_entries)));
        for (at, (key, value)) in map.entries.iter().take(MAX_LINKS).enumerate() {
            let cut = |bytes: &bytes::Bytes| {
                let part = hex(bytes.get(..bytes.len().min(32)).unwrap_or_default());
                if bytes.len() > 32 { format!("{part}…") } else { part }
            };
            let line = format!("{} = {}", cut(key), cut(value));
            property_ui(self.ui, &format!("Entry {at}"), "Key and value in hex", |ui| {
                ui.add(egui::Label::new(mono_text(line)).wrap().selectable(true))
            });
        }
        more_label(self.ui, map.entries.len());
    }

    fn pidfd(&mut self, pid: Option<i64>, inode: Option<u64>) {
        match pid.and_then(|pid| u32::try_from(pid).ok()) {
            Some(pid) => {
                let (checkpoint, commands) = (self.checkpoint, &mut *self.commands);
                property_ui(self.ui, "Process", "That it names", |ui| {
                    process_link(ui, checkpoint, Pid(pid), commands);
                });
            }
            None => {
                property(self.ui, self.commands, "Process", "", Value::Text("dead when the dump was made"));
            }
        }
        self.opt("Inode", "Equal for the same process", inode);
    }
}

fn duration(ns: u64) -> String {
    let whole = ns / 1_000_000_000;
    format!("{}.{:09} s", grouped(whole), ns % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_ls_prints_them() {
        let cases = [
            (0o100_755, "-rwxr-xr-x"),
            (0o104_755, "-rwsr-xr-x"),
            (0o104_644, "-rwSr--r--"),
            (0o041_777, "drwxrwxrwt"),
            (0o102_710, "-rwx--s---"),
            (0o120_777, "lrwxrwxrwx"),
            (0, "?---------"),
        ];
        for (mode, text) in cases {
            assert_eq!(mode_text(mode), text, "{mode:o}");
        }
    }
}
