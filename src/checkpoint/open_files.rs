//! Joins `files.img` (or the per-type images of older releases) with everything that belongs to an
//! open file: descriptors, deleted names, memfd inodes, terminals, unread bytes.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::base::{Fd, FileId, Issue, MntId, NsId, Pid, Place, Text};
use crate::decode::schema;

use super::files::{
    BpfMap, EpollTarget, FdEntry, FileDetail, FileKind, FileLock, FileOwner, Memfd, OpenFile, PipeEnd, RegFile,
    Relation, Remap, Tty, Watch,
};
use super::images::Images;
use super::sockets;

/// Kinds that others refer to by number.
const REG: u32 = 1;
/// Since 3.18 ordinary shared anonymous memory is written as a memfd with this name.
const SHARED_ANONYMOUS: &[u8] = b"/dev/zero";
/// Access mode of files opened for reading and writing.
const O_RDWR: u32 = 2;

/// Open files while they are joined.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    /// In the order of their ids.
    pub(super) files: Vec<OpenFile>,
    by_id: HashMap<FileId, usize>,
    /// What [`OpenFiles::relate`] has noted.
    related: HashSet<(FileId, Relation, FileId)>,
    is_legacy: bool,
}

/// One record of an open file, whichever image it came from.
pub(super) struct Entry<'a> {
    id: FileId,
    kind: u32,
    place: Place,
    of: Of<'a>,
}

/// The message inside a `file_entry`, or the record of a per-type image.
enum Of<'a> {
    Reg(&'a schema::RegFileEntry),
    Inet(&'a schema::InetSkEntry),
    Unix(&'a schema::UnixSkEntry),
    Packet(&'a schema::PacketSockEntry),
    Netlink(&'a schema::NetlinkSkEntry),
    Ns(&'a schema::NsFileEntry),
    Eventfd(&'a schema::EventfdFileEntry),
    Eventpoll(&'a schema::EventpollFileEntry),
    Signalfd(&'a schema::SignalfdEntry),
    Tun(&'a schema::TunfileEntry),
    Timerfd(&'a schema::TimerfdEntry),
    Inotify(&'a schema::InotifyFileEntry),
    Fanotify(&'a schema::FanotifyFileEntry),
    Ext(&'a schema::ExtFileEntry),
    Fifo(&'a schema::FifoEntry),
    Pipe(&'a schema::PipeEntry),
    Tty(&'a schema::TtyFileEntry),
    Memfd(&'a schema::MemfdFileEntry),
    Bpf(&'a schema::BpfmapFileEntry),
    Pidfd(&'a schema::PidfdEntry),
    Unknown,
}

impl OpenFiles {
    /// The file with CRIU's number, of any kind.
    pub(super) fn get(&self, id: FileId) -> Option<&OpenFile> {
        self.by_id.get(&id).and_then(|at| self.files.get(*at))
    }

    /// The file that a record names by its number as a regular file.
    pub(super) fn reg(&self, id: u32) -> Option<&OpenFile> {
        self.get(self.reg_id(id))
    }

    fn reg_id(&self, id: u32) -> FileId {
        file_id(self.is_legacy, REG, id)
    }

    /// Positions by id, for the finished checkpoint.
    pub(super) fn index(&self) -> HashMap<FileId, usize> {
        self.by_id.clone()
    }

    /// Joins all open files of the checkpoint.
    pub(super) fn build(images: &Images, entries: &[Entry<'_>], issues: &mut Vec<Issue>) -> OpenFiles {
        let is_legacy = is_legacy(images);
        let mut table = OpenFiles {
            files: Vec::with_capacity(entries.len()),
            by_id: HashMap::new(),
            related: HashSet::new(),
            is_legacy,
        };
        let joins = Joins::new(images, is_legacy, issues);
        for entry in entries {
            let file = joins.open_file(entry);
            let at = table.files.len();
            match table.by_id.entry(file.id) {
                Slot::Vacant(free) => {
                    free.insert(at);
                }
                Slot::Occupied(mut taken) => {
                    // A tun file has a path entry and a tun entry with one id; others must not.
                    let first = table.files.get(*taken.get()).map(|file| file.kind.0);
                    if first == Some(REG) && file.kind.0 == 15 {
                        taken.insert(at);
                    } else if !(first == Some(15) && file.kind.0 == REG) {
                        let what = format!("file id {:#x} was already used", file.id.0);
                        issues.push(Issue::new(file.place.clone(), what));
                    }
                }
            }
            table.files.push(file);
        }
        table.join_paths(entries, issues);
        table
    }

    /// Descriptors of one table, in the order of their numbers.
    pub(super) fn fds(&self, images: &Images, table: u32, issues: &mut Vec<Issue>) -> Vec<FdEntry> {
        let Some(records) = images.fdinfo.get(&u64::from(table)) else { return Vec::new() };
        let mut fds: Vec<FdEntry> = records
            .records
            .iter()
            .map(|record| {
                let kind = record.value.r#type.cast_unsigned();
                let entry = FdEntry {
                    fd: Fd(record.value.fd),
                    file: file_id(self.is_legacy, kind, record.value.id),
                    cloexec: record.value.flags & 1 != 0,
                    kind: FileKind(kind),
                };
                if self.get(entry.file).is_none() {
                    let what = format!("descriptor {} names file {:#x}, which is not recorded", entry.fd, entry.file.0);
                    issues.push(Issue::new(records.place(record), what));
                }
                entry
            })
            .collect();
        fds.sort_by_key(|entry| entry.fd);
        fds
    }

    /// Paths that are kept in another entry: fifos and terminals; deleted names; the other ends.
    fn join_paths(&mut self, entries: &[Entry<'_>], issues: &mut Vec<Issue>) {
        let mut links: Vec<(usize, FileId)> = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            let regf_id = match &entry.of {
                Of::Fifo(fifo) => fifo.regf_id,
                Of::Tty(tty) => tty.regf_id,
                _ => None,
            };
            // Before 3.6 a fifo had the id of its path entry.
            let path_id = match (&entry.of, regf_id) {
                (Of::Fifo(fifo), None) => Some(self.reg_id(fifo.id)),
                (_, Some(id)) => Some(self.reg_id(id)),
                _ => None,
            };
            if let Some(path_id) = path_id.filter(|path_id| *path_id != entry.id) {
                links.push((at, path_id));
            }
        }
        for (at, path_id) in links {
            let Some(path) = self.get(path_id) else {
                let place = self.files.get(at).map(|file| file.place.clone());
                if let Some(place) = place {
                    issues.push(Issue::new(place, format!("its path is file {:#x}, which is not recorded", path_id.0)));
                }
                continue;
            };
            let (target, flags, is_deleted) = (path.target.clone(), path.flags, path.is_deleted);
            if let Some(file) = self.files.get_mut(at) {
                file.target = target;
                file.flags = file.flags.or(flags);
                file.is_deleted = is_deleted;
                file.related.push((Relation::PathOf, path_id));
            }
        }
        self.join_groups(issues);
    }

    /// Files that share an inode: both ends of a pipe, the descriptors of a memfd, a pty pair.
    fn join_groups(&mut self, issues: &mut Vec<Issue>) {
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum Shared {
            Pipe(u32),
            Memfd(u32),
            Pty(u32),
        }
        let mut groups: BTreeMap<Shared, Vec<usize>> = BTreeMap::new();
        for (at, file) in self.files.iter().enumerate() {
            let shared = match &file.detail {
                FileDetail::Pipe(end) | FileDetail::Fifo(end) => Shared::Pipe(end.pipe_id),
                FileDetail::Memfd(memfd) => Shared::Memfd(memfd.inode_id),
                FileDetail::Tty(tty) if matches!(tty.driver, Some("ptmx" | "pts")) => match tty.index {
                    Some(index) => Shared::Pty(index),
                    None => continue,
                },
                _ => continue,
            };
            groups.entry(shared).or_default().push(at);
        }
        // A hostile dump may put a million ends on one pipe: relations are for people.
        const MAX_RELATED: usize = 64;
        const MAX_OF_GROUP: usize = 1 << 20;
        for (shared, members) in &groups {
            let relation = match shared {
                Shared::Pipe(_) => Relation::PipeEnd,
                Shared::Memfd(_) => Relation::SameMemfd,
                Shared::Pty(_) => Relation::PtyPair,
            };
            let ids: Vec<FileId> = members.iter().filter_map(|at| self.files.get(*at).map(|file| file.id)).collect();
            let max = (MAX_OF_GROUP / ids.len().max(1)).clamp(1, MAX_RELATED);
            if let Some(first) = members.first().and_then(|at| self.files.get(*at)).filter(|_| ids.len() > max + 1) {
                let what = format!("belongs to a group of {} files; at most {max} are told of each", ids.len());
                issues.push(Issue::new(first.place.clone(), what));
            }
            for at in members {
                if let Some(file) = self.files.get_mut(*at) {
                    let own = file.id;
                    let others = ids.iter().filter(|id| **id != own).take(max);
                    file.related.extend(others.map(|id| (relation, *id)));
                }
            }
        }
    }

    /// Notes which descriptors share each file.
    pub(super) fn note_fd(&mut self, id: FileId, pid: Pid, fd: Fd) {
        if let Some(file) = self.by_id.get(&id).and_then(|at| self.files.get_mut(*at)) {
            file.fds.push((pid, fd));
        }
    }

    /// Notes who holds each file without a descriptor.
    pub(super) fn note_hold(&mut self, id: FileId, pid: Pid, hold: super::files::Hold) {
        if let Some(file) = self.by_id.get(&id).and_then(|at| self.files.get_mut(*at))
            && file.held_by.last() != Some(&(pid, hold))
        {
            file.held_by.push((pid, hold));
        }
    }

    /// Notes that two files belong together, seen from the first.
    pub(super) fn relate(&mut self, id: FileId, relation: Relation, other: FileId) {
        if let Some(file) = self.by_id.get(&id).and_then(|at| self.files.get_mut(*at))
            && self.related.insert((id, relation, other))
        {
            file.related.push((relation, other));
        }
    }
}

/// Number of an open file. Before 3.4 ids were unique for each kind only; the kind goes into the
/// number then, so that one number still names one file.
pub(super) fn file_id(is_legacy: bool, kind: u32, id: u32) -> FileId {
    if is_legacy { FileId(id.wrapping_add(kind << 24)) } else { FileId(id) }
}

/// Whether a release before 3.4 made the dump: an image for each type of open file.
fn is_legacy(images: &Images) -> bool {
    images.files.is_empty()
}

/// The records of all open files, in the order of their ids.
pub(super) fn entries<'a>(images: &'a Images, issues: &mut Vec<Issue>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = Vec::new();
    for records in images.files.values() {
        for record in &records.records {
            let place = records.place(record);
            let entry = &record.value;
            let of = inner(entry);
            if matches!(of, Of::Unknown) {
                let what = format!("file {:#x} of type {} holds no record of that type", entry.id, entry.r#type);
                issues.push(Issue::new(place.clone(), what));
            }
            let kind = entry.r#type.cast_unsigned();
            entries.push(Entry { id: FileId(entry.id), kind, place, of });
        }
    }
    if is_legacy(images) {
        macro_rules! legacy {
            ($($field:ident $kind:literal $of:ident),*) => {
                $(for records in images.$field.values() {
                    for record in &records.records {
                        let id = file_id(true, $kind, record.value.id);
                        entries.push(Entry { id, kind: $kind, place: records.place(record), of: Of::$of(&record.value) });
                    }
                })*
            };
        }
        legacy!(reg_files 1 Reg, pipes 2 Pipe, fifos 3 Fifo, inet_sockets 4 Inet, unix_sockets 5 Unix, eventfds 6 Eventfd,
            eventpolls 7 Eventpoll, inotifies 8 Inotify, signalfds 9 Signalfd, packet_sockets 10 Packet, ttys 11 Tty,
            fanotifies 12 Fanotify, netlink_sockets 13 Netlink, ns_files 14 Ns, tuns 15 Tun, ext_files 16 Ext,
            timerfds 17 Timerfd);
    }
    entries.sort_by_key(|entry| entry.id);
    entries
}

/// The inner message that the type of the entry says; another one does not count.
fn inner(entry: &schema::FileEntry) -> Of<'_> {
    match entry.r#type {
        1 => entry.reg.as_deref().map(Of::Reg),
        2 => entry.pipe.as_deref().map(Of::Pipe),
        3 => entry.fifo.as_deref().map(Of::Fifo),
        4 => entry.isk.as_deref().map(Of::Inet),
        5 => entry.usk.as_deref().map(Of::Unix),
        6 => entry.efd.as_deref().map(Of::Eventfd),
        7 => entry.epfd.as_deref().map(Of::Eventpoll),
        8 => entry.ify.as_deref().map(Of::Inotify),
        9 => entry.sgfd.as_deref().map(Of::Signalfd),
        10 => entry.psk.as_deref().map(Of::Packet),
        11 => entry.tty.as_deref().map(Of::Tty),
        12 => entry.ffy.as_deref().map(Of::Fanotify),
        13 => entry.nlsk.as_deref().map(Of::Netlink),
        14 => entry.nsf.as_deref().map(Of::Ns),
        15 => entry.tunf.as_deref().map(Of::Tun),
        16 => entry.ext.as_deref().map(Of::Ext),
        17 => entry.tfd.as_deref().map(Of::Timerfd),
        18 => entry.memfd.as_deref().map(Of::Memfd),
        19 => entry.bpf.as_deref().map(Of::Bpf),
        20 => entry.pidfd.as_deref().map(Of::Pidfd),
        _ => None,
    }
    .unwrap_or(Of::Unknown)
}

/// Other images by the number that open files name them with.
struct Joins<'a> {
    images: &'a Images,
    remaps: HashMap<FileId, Remap>,
    /// Inodes of memfds, with the target of those that have them open.
    memfds: HashMap<u64, (&'a schema::MemfdInodeEntry, Text)>,
    /// Targets of epolls by the number of the epoll, from the file that releases before 1.4 kept for them.
    epoll_targets: HashMap<u32, Vec<&'a schema::EventpollTfdEntry>>,
    ttys: HashMap<u32, &'a schema::TtyInfoEntry>,
    tty_data: HashMap<u32, bytes::Bytes>,
    /// Unread bytes and capacity by pipe id, with their place.
    pipe_data: HashMap<u32, (bytes::Bytes, Place, Option<u32>)>,
    bpf: HashMap<u32, Arc<[(bytes::Bytes, bytes::Bytes)]>>,
}

/// Most entries of BPF maps that are told apart.
const MAX_BPF_ENTRIES: usize = 1_000_000;
/// Longest name of a file; Linux has none over 4096 bytes.
const MAX_NAME_BYTES: usize = 4096;

/// A name as far as the kernel could have had it.
fn name_of(name: &bytes::Bytes) -> Text {
    Text(name.slice(..name.len().min(MAX_NAME_BYTES)))
}

impl<'a> Joins<'a> {
    fn new(images: &'a Images, is_legacy: bool, issues: &mut Vec<Issue>) -> Joins<'a> {
        let mut joins = Joins {
            images,
            remaps: HashMap::new(),
            memfds: HashMap::new(),
            epoll_targets: HashMap::new(),
            ttys: HashMap::new(),
            tty_data: HashMap::new(),
            pipe_data: HashMap::new(),
            bpf: HashMap::new(),
        };
        for record in images.remap.values().flat_map(|records| &records.records) {
            let entry = &record.value;
            // Before 1.4 the top bit of the number said that it is a ghost.
            let (kind, id) = match entry.remap_type {
                Some(kind) => (kind, entry.remap_id),
                None if entry.remap_id >> 31 != 0 => (1, entry.remap_id & !(1 << 31)),
                None => (0, entry.remap_id),
            };
            let remap = match kind {
                0 => Remap::Linked { file: file_id(is_legacy, REG, id) },
                1 => Remap::Ghost { img: format!("ghost-file-{id:x}.img") },
                2 => Remap::Procfs { pid: id },
                other => Remap::Unknown(other.cast_unsigned()),
            };
            joins.remaps.insert(file_id(is_legacy, REG, entry.orig_id), remap);
        }
        for record in images.memfd_inode.values().flat_map(|records| &records.records) {
            let name = name_of(&record.value.name);
            let prefix: &[u8] = if name.as_bytes() == SHARED_ANONYMOUS { b"" } else { b"/memfd:" };
            let target = Text([prefix, name.as_bytes(), b" (deleted)"].concat().into());
            joins.memfds.insert(record.value.inode_id, (&record.value, target));
        }
        for record in images.eventpoll_tfds.values().flat_map(|records| &records.records) {
            joins.epoll_targets.entry(record.value.id).or_default().push(&record.value);
        }
        for record in images.tty_info.values().flat_map(|records| &records.records) {
            joins.ttys.insert(record.value.id, &record.value);
        }
        for record in images.tty_data.values().flat_map(|records| &records.records) {
            joins.tty_data.insert(record.value.tty_id, record.value.data.clone());
        }
        for records in images.pipes_data.values().chain(images.fifo_data.values()) {
            for record in &records.records {
                let (data, place) =
                    records.payload(record, "data").unwrap_or_else(|| (bytes::Bytes::new(), records.place(record)));
                joins.pipe_data.insert(record.value.pipe_id, (data, place, record.value.size));
            }
        }
        let mut bpf_left = MAX_BPF_ENTRIES;
        for records in images.bpfmap_data.values() {
            for record in &records.records {
                let part = |name| records.payload(record, name).map(|(bytes, _)| bytes).unwrap_or_default();
                let entries = split_pairs(&part("keys"), &part("values"), record.value.count);
                if bpf_left < entries.len() {
                    let what =
                        format!("more than {MAX_BPF_ENTRIES} entries in all maps; those of this map are not listed");
                    issues.push(Issue::new(records.place(record), what));
                    continue;
                }
                bpf_left -= entries.len();
                joins.bpf.insert(record.value.map_id, entries.into());
            }
        }
        joins
    }

    fn open_file(&self, entry: &Entry<'_>) -> OpenFile {
        let mut file = OpenFile {
            id: entry.id,
            kind: FileKind(entry.kind),
            place: entry.place.clone(),
            target: None,
            flags: None,
            pos: None,
            is_deleted: false,
            detail: FileDetail::Unknown,
            owner: None,
            fds: Vec::new(),
            held_by: Vec::new(),
            related: Vec::new(),
        };
        match &entry.of {
            Of::Reg(reg) => self.reg(reg, &mut file),
            Of::Pipe(pipe) => {
                file.set(format!("pipe:[{}]", pipe.pipe_id), pipe.flags, Some(&pipe.fown));
                file.detail = FileDetail::Pipe(self.pipe_end(pipe.pipe_id));
                file.pos = Some(0);
            }
            Of::Fifo(fifo) => {
                file.detail = FileDetail::Fifo(self.pipe_end(fifo.pipe_id));
                file.pos = Some(0);
            }
            Of::Inet(socket) => file.socket(Some(u64::from(socket.ino)), socket.flags, &socket.fown),
            Of::Unix(socket) => file.socket(Some(u64::from(socket.ino)), socket.flags, &socket.fown),
            Of::Netlink(socket) => file.socket(Some(u64::from(socket.ino)), socket.flags, &socket.fown),
            Of::Packet(socket) => file.socket(None, socket.flags, &socket.fown),
            Of::Eventfd(eventfd) => {
                file.set("anon_inode:[eventfd]", eventfd.flags, Some(&eventfd.fown));
                file.detail = FileDetail::Eventfd { counter: eventfd.counter };
            }
            Of::Eventpoll(epoll) => {
                file.set("anon_inode:[eventpoll]", epoll.flags, Some(&epoll.fown));
                let old = self.epoll_targets.get(&epoll.id).into_iter().flatten().copied();
                file.detail = FileDetail::Eventpoll(epoll.tfd.iter().chain(old).map(epoll_target).collect());
            }
            Of::Inotify(inotify) => {
                file.set("anon_inode:inotify", inotify.flags, Some(&inotify.fown));
                file.detail = FileDetail::Inotify(inotify.wd.iter().map(inotify_watch).collect());
            }
            Of::Fanotify(fanotify) => {
                file.set("anon_inode:[fanotify]", fanotify.flags, Some(&fanotify.fown));
                file.detail = FileDetail::Fanotify {
                    flags: fanotify.faflags,
                    event_flags: fanotify.evflags,
                    marks: fanotify.mark.iter().map(fanotify_mark).collect(),
                };
            }
            Of::Signalfd(signalfd) => {
                file.set("anon_inode:[signalfd]", signalfd.flags, Some(&signalfd.fown));
                file.detail = FileDetail::Signalfd { mask: signalfd.sigmask };
            }
            Of::Timerfd(timerfd) => {
                file.set("anon_inode:[timerfd]", timerfd.flags, Some(&timerfd.fown));
                let nanos = |sec: u64, nsec: u64| sec.saturating_mul(1_000_000_000).saturating_add(nsec);
                file.detail = FileDetail::Timerfd {
                    clock_id: timerfd.clockid,
                    ticks: timerfd.ticks,
                    value_ns: nanos(timerfd.vsec, timerfd.vnsec),
                    interval_ns: nanos(timerfd.isec, timerfd.insec),
                    settime_flags: timerfd.settime_flags,
                };
            }
            Of::Tty(tty) => {
                file.flags = Some(tty.flags);
                file.owner = owner(&tty.fown);
                file.detail = FileDetail::Tty(self.tty(tty.tty_info_id));
            }
            Of::Memfd(memfd) => self.memfd(memfd, &mut file),
            Of::Ns(ns) => {
                file.flags = Some(ns.flags);
                file.detail = FileDetail::Ns { ns_id: NsId(ns.ns_id), clone_flag: ns.ns_cflag };
            }
            Of::Tun(tun) => {
                file.target = Some(Text::from("/dev/net/tun"));
                file.detail = FileDetail::Tun { netdev: tun.netdev.clone().map(Text) };
            }
            Of::Bpf(bpf) => {
                file.set("anon_inode:bpf-map", bpf.flags, Some(&bpf.fown));
                file.pos = Some(bpf.pos);
                file.detail = FileDetail::BpfMap(BpfMap {
                    map_id: bpf.map_id,
                    map_type: bpf.map_type,
                    key_size: bpf.key_size,
                    value_size: bpf.value_size,
                    max_entries: bpf.max_entries,
                    name: Some(Text(bpf.map_name.clone())),
                    entries: self.bpf.get(&bpf.map_id).cloned().unwrap_or_default(),
                });
            }
            Of::Pidfd(pidfd) => {
                // Recorded without the O_RDWR that every pidfd has.
                file.set("anon_inode:[pidfd]", pidfd.flags | O_RDWR, Some(&pidfd.fown));
                let pid = (pidfd.nspid >= 0).then_some(i64::from(pidfd.nspid));
                file.detail = FileDetail::Pidfd { pid, inode: Some(u64::from(pidfd.ino)) };
            }
            Of::Ext(ext) => {
                file.owner = owner(&ext.fown);
                file.detail = FileDetail::Ext;
            }
            Of::Unknown => {}
        }
        file
    }

    fn reg(&self, reg: &schema::RegFileEntry, file: &mut OpenFile) {
        let remap = self.remaps.get(&file.id).cloned();
        file.is_deleted = remap.is_some();
        // The name is recorded without the mark that /proc puts behind it.
        let target = match &remap {
            // Of a file below /proc/PID of a dead process, /proc shows the name as it was.
            Some(Remap::Procfs { .. }) | None => name_of(&reg.name),
            Some(_) => Text([name_of(&reg.name).as_bytes(), b" (deleted)"].concat().into()),
        };
        file.target = Some(target);
        file.flags = Some(reg.flags);
        file.owner = owner(&reg.fown);
        file.pos = (reg.pos != u64::MAX).then_some(reg.pos);
        file.detail = FileDetail::Reg(RegFile {
            name: name_of(&reg.name),
            mnt_id: reg.mnt_id.and_then(|id| u32::try_from(id).ok()).map(MntId),
            mode: reg.mode,
            size_bytes: reg.size,
            build_id: build_id(&reg.build_id, self.images.ctx.order),
            is_external: reg.ext.unwrap_or_default(),
            remap,
        });
    }

    fn pipe_end(&self, pipe_id: u32) -> PipeEnd {
        let data = self.pipe_data.get(&pipe_id);
        PipeEnd {
            pipe_id,
            capacity_bytes: data.and_then(|(_, _, size)| *size),
            unread: data.map(|(bytes, _, _)| bytes.clone()),
            unread_place: data.map(|(_, place, _)| place.clone()),
        }
    }

    fn memfd(&self, memfd: &schema::MemfdFileEntry, file: &mut OpenFile) {
        let inode = self.memfds.get(&u64::from(memfd.inode_id));
        let target = inode.map(|(_, target)| target.clone());
        let inode = inode.map(|(inode, _)| *inode);
        let name = inode.map(|inode| name_of(&inode.name));
        let is_shared_anonymous = name.as_ref().is_some_and(|name| name.as_bytes() == SHARED_ANONYMOUS);
        file.target = target;
        file.is_deleted = true;
        file.flags = Some(memfd.flags);
        file.pos = Some(memfd.pos);
        file.owner = owner(&memfd.fown);
        file.detail = FileDetail::Memfd(Memfd {
            inode_id: memfd.inode_id,
            name,
            size_bytes: inode.map(|inode| inode.size),
            seals: inode.map(|inode| inode.seals),
            mode: inode.and_then(|inode| inode.mode),
            owner: inode.map(|inode| (inode.uid, inode.gid)),
            shmid: inode.map(|inode| u64::from(inode.shmid)),
            is_shared_anonymous,
        });
    }

    fn tty(&self, info_id: u32) -> Tty {
        let Some(info) = self.ttys.get(&info_id) else { return Tty::default() };
        let nonzero = |value: u32| (value != 0).then_some(value);
        let number = info_id / 2;
        let driver = match (info_id & 1, number) {
            (1, 0..=1000) => "ptmx",
            (_, 0..=1000) => "pts",
            (_, 1002) => "console",
            (_, 1004) => "vt",
            (_, 1006) => "ctty",
            (_, 1010) => "serial",
            _ => "ext",
        };
        Tty {
            driver: Some(driver),
            index: info.pty.as_ref().map(|pty| pty.index),
            sid: nonzero(info.sid),
            pgrp: nonzero(info.pgrp),
            winsize: info.winsize.as_ref().map(|size| (size.ws_col, size.ws_row)),
            unread: self.tty_data.get(&info_id).cloned(),
        }
    }
}

impl OpenFile {
    fn set(&mut self, target: impl Into<String>, flags: u32, fown: Option<&schema::FownEntry>) {
        self.target = Some(Text::from(target.into()));
        self.flags = Some(flags);
        self.owner = fown.and_then(owner);
        self.pos = Some(0);
    }

    fn socket(&mut self, inode: Option<u64>, flags: u32, fown: &schema::FownEntry) {
        self.target = inode.map(|inode| Text::from(format!("socket:[{inode}]")));
        self.flags = Some(flags);
        self.owner = owner(fown);
        self.pos = Some(0);
        self.detail = FileDetail::Socket;
    }
}

fn owner(fown: &schema::FownEntry) -> Option<FileOwner> {
    (fown.pid != 0).then_some(FileOwner { pid: fown.pid, pid_type: fown.pid_type, signum: fown.signum })
}

fn epoll_target(target: &schema::EventpollTfdEntry) -> EpollTarget {
    EpollTarget {
        fd: target.tfd,
        events: target.events,
        data: target.data,
        dev_inode: target.dev.zip(target.inode).map(|(dev, inode)| (u64::from(dev), inode)),
    }
}

fn inotify_watch(watch: &schema::InotifyWdEntry) -> Watch {
    Watch {
        wd: Some(watch.wd),
        mask: u64::from(watch.mask),
        ignored_mask: None,
        inode: Some(watch.i_ino),
        dev: Some(watch.s_dev),
        mnt_id: watch.f_handle.mnt_id.map(MntId),
        path: watch.f_handle.path.clone().map(Text),
    }
}

fn fanotify_mark(mark: &schema::FanotifyMarkEntry) -> Watch {
    let inode = mark.ie.as_ref();
    let mount = mark.me.as_ref();
    Watch {
        wd: None,
        mask: u64::from(mark.mask),
        ignored_mask: Some(mark.ignored_mask),
        inode: inode.map(|inode| inode.i_ino),
        dev: Some(mark.s_dev),
        mnt_id: mount.map(|mount| MntId(mount.mnt_id)),
        path: inode
            .and_then(|inode| inode.f_handle.path.clone())
            .or_else(|| mount.and_then(|mount| mount.path.clone()))
            .map(Text),
    }
}

/// Build id: 32-bit words in the order of the dump, the last one padded with zeros.
fn build_id(words: &[u32], order: crate::base::ByteOrder) -> Option<bytes::Bytes> {
    // The longest in use is a SHA-256.
    const MAX_WORDS: usize = 16;
    if words.is_empty() || words.len() > MAX_WORDS {
        return None;
    }
    let bytes: Vec<u8> = words
        .iter()
        .flat_map(|word| match order {
            crate::base::ByteOrder::Little => word.to_le_bytes(),
            crate::base::ByteOrder::Big => word.to_be_bytes(),
        })
        .collect();
    Some(bytes.into())
}

/// Keys and values of a BPF map: all keys, then all values, `count` each.
fn split_pairs(keys: &bytes::Bytes, values: &bytes::Bytes, count: u32) -> Vec<(bytes::Bytes, bytes::Bytes)> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count == 0
        || count > MAX_BPF_ENTRIES
        || !keys.len().is_multiple_of(count)
        || !values.len().is_multiple_of(count)
        || keys.is_empty()
    {
        return Vec::new();
    }
    let (key_size, value_size) = (keys.len() / count, values.len() / count);
    (0..count)
        .map(|nr| {
            let key = keys.slice(nr * key_size..(nr + 1) * key_size);
            (key, values.slice(nr * value_size..(nr + 1) * value_size))
        })
        .collect()
}

/// Locks on files.
pub(super) fn locks(images: &Images) -> Vec<FileLock> {
    images
        .file_locks
        .values()
        .flat_map(|records| &records.records)
        .filter_map(|record| {
            let entry = &record.value;
            let kind = match entry.flag {
                1 => "posix".to_owned(),
                2 => "flock".to_owned(),
                4 => "ofd".to_owned(),
                8 => "lease".to_owned(),
                other => format!("{other:#x}"),
            };
            let access = match entry.r#type {
                0 => "read".to_owned(),
                1 => "write".to_owned(),
                2 => "none".to_owned(),
                other => format!("{other:#x}"),
            };
            Some(FileLock {
                kind,
                access,
                pid: Pid(u32::try_from(entry.pid).ok()?),
                fd: Fd(u32::try_from(entry.fd).ok()?),
                start: u64::try_from(entry.start).unwrap_or_default(),
                len: u64::try_from(entry.len).ok().filter(|len| *len != 0),
            })
        })
        .collect()
}

/// Sockets of all open files, joined with their queues and with each other.
pub(super) fn sockets(images: &Images, entries: &[Entry<'_>], issues: &mut Vec<Issue>) -> Vec<sockets::Socket> {
    let mut builder = sockets::Builder::new(images);
    for entry in entries {
        match &entry.of {
            Of::Inet(socket) => builder.inet(entry.id, socket),
            Of::Unix(socket) => builder.unix(entry.id, socket),
            Of::Netlink(socket) => builder.netlink(entry.id, socket),
            Of::Packet(socket) => builder.packet(entry.id, socket),
            _ => {}
        }
    }
    builder.finish(issues)
}
