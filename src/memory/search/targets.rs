//! Everything that may be searched, in the order of the hits.

use std::collections::HashSet;
use std::ops::Range;

use bytes::Bytes;

use crate::base::{Absent, Pid, Place, Text};
use crate::checkpoint::files::FileDetail;
use crate::checkpoint::recovered::{Content, RecoveredFile, Source as FileSource};
use crate::checkpoint::sockets::Queue;
use crate::checkpoint::{Checkpoint, OpenFile, Socket};
use crate::memory::mapped_file::place_of_piece;
use crate::memory::{Memory, Missing};

use super::hit::{Skipped, WhySkipped};
use super::scope::{Scope, Source};
use super::space::Space;

/// One thing to search.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) source: Source,
    pub(super) pid: Option<Pid>,
    pub(super) name: Text,
    pub(super) space: Space<'a>,
}

#[cfg(feature = "yara")]
impl<'a> Target<'a> {
    /// A program in a memfd is a file as well, also where a process maps all of it: the whole of one of which ranges are
    /// left out.
    pub(super) fn as_file(&self) -> Option<Target<'a>> {
        let Target { source, pid, name, space } = self;
        match space {
            Space::Object { pagemap, size, without } if *source == Source::Memfd && !without.is_empty() => {
                let space = Space::Object { pagemap, size: *size, without: Vec::new() };
                Some(Target { source: *source, pid: *pid, name: name.clone(), space })
            }
            _ => None,
        }
    }
}

/// A target, or why there is none.
pub(super) type Opened<'a> = Result<Target<'a>, Unreadable>;

/// Something that should have been searched.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) source: Source,
    pub(super) pid: Option<Pid>,
    pub(super) name: String,
    pub(super) why: String,
}

impl Target<'_> {
    /// Tells of a range that is missing, if the process could have read there.
    pub(super) fn tell_missing(&self, range: Range<u64>, why: Missing, tell: &mut dyn FnMut(&Skipped<'_>)) {
        if why.is_loss() {
            let name = self.name.label();
            let why = WhySkipped::Missing(why);
            tell(&Skipped { source: self.source, pid: self.pid, range, name: &name, why });
        }
    }
}

impl Unreadable {
    /// For the sink.
    pub(super) fn skipped(&self) -> Skipped<'_> {
        let Unreadable { source, pid, name, why } = self;
        Skipped { source: *source, pid: *pid, range: 0..0, name, why: WhySkipped::Unreadable(why) }
    }
}

/// A stream is one run of bytes.
const SOCK_STREAM: u32 = 1;

/// All targets of a scope. Each is opened when its turn comes.
pub(super) fn targets<'a>(memory: &'a Memory, scope: &'a Scope) -> Box<dyn Iterator<Item = Opened<'a>> + 'a> {
    let chosen = Source::ALL.into_iter().filter(|source| scope.has(*source));
    Box::new(chosen.flat_map(move |source| of_source(memory, scope, source)))
}

/// Bytes that are to be scanned, for progress; about.
pub(super) fn total_bytes(memory: &Memory, scope: &Scope) -> u64 {
    let checkpoint = memory.checkpoint();
    let mut total = 0u64;
    let mut add = |bytes: u64| total = total.saturating_add(bytes);
    if scope.has(Source::Memory) {
        for process in checkpoint.processes.iter().filter(|it| scope.pid.is_none_or(|pid| pid == it.pid)) {
            let Some(map) = process.memory.known() else { continue };
            for vma in map.vmas.iter().filter(|vma| scope.vmas.has(vma)) {
                let pages = vma.pages.dumped.saturating_add(vma.pages.shared).saturating_add(vma.pages.parent);
                add(pages.saturating_mul(map.pagemap.page_size.bytes()));
            }
        }
    }
    if scope.has(Source::Rootfs) && scope.pid.is_none() {
        checkpoint.rootfs.entries.iter().filter(|entry| entry.kind == "file").for_each(|entry| add(entry.size_bytes));
    }
    for file in &checkpoint.recovered {
        if scope.has(source_of(file)) && scope.pid.is_none() {
            add(file.size_bytes);
        }
    }
    total
}

fn of_source<'a>(memory: &'a Memory, scope: &'a Scope, source: Source) -> Box<dyn Iterator<Item = Opened<'a>> + 'a> {
    let checkpoint = memory.checkpoint();
    let is_for_all = scope.pid.is_none();
    match source {
        Source::Memory => Box::new(spaces(memory, scope)),
        Source::Pipe => Box::new(pipes(checkpoint, scope)),
        Source::Socket => Box::new(checkpoint.sockets.iter().flat_map(move |socket| queues(socket, scope))),
        Source::Ghost | Source::Tmpfs | Source::Memfd => Box::new(recovered(memory, scope, source)),
        Source::Shm => Box::new(recovered(memory, scope, source).chain(unnamed(memory, scope))),
        Source::Rootfs => {
            let changed = checkpoint.rootfs.entries.iter().filter(move |entry| is_for_all && entry.kind == "file");
            let changed = changed.filter_map(move |entry| {
                let archive = checkpoint.rootfs.archive.as_ref()?;
                let member = archive.members().get(entry.member)?;
                let place = Place::at(format!("{}/{}", archive.name(), member.display_path()), 0);
                let bytes = archive.read(member).map_err(|error| error.to_string());
                Some(whole(source, entry.path.clone(), place, bytes))
            });
            Box::new(changed.chain(recovered(memory, scope, source)))
        }
        Source::Metadata => Box::new(checkpoint.documents.iter().filter(move |_| is_for_all).map(move |document| {
            let place = Place::at(document.name.as_str(), 0);
            whole(source, Text::from(document.name.clone()), place, Ok(document.bytes.clone()))
        })),
        Source::Image => Box::new(images(checkpoint, scope)),
    }
}

fn whole<'a>(source: Source, name: Text, place: Place, bytes: Result<Bytes, String>) -> Opened<'a> {
    match bytes {
        Ok(bytes) => {
            let size = bytes.len() as u64;
            Ok(Target { source, pid: None, name, space: Space::Pieces { pieces: vec![(0, bytes, Some(place))], size } })
        }
        Err(why) => Err(Unreadable { source, pid: None, name: name.label(), why }),
    }
}

fn spaces<'a>(memory: &'a Memory, scope: &'a Scope) -> impl Iterator<Item = Opened<'a>> + 'a {
    let mut pids: Vec<Pid> = memory.checkpoint().processes.iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    pids.into_iter().filter(|pid| scope.pid.is_none_or(|wanted| wanted == *pid)).filter_map(|pid| {
        match memory.space(pid) {
            Ok(space) => {
                let space = Space::Memory { space, filter: &scope.vmas };
                Some(Ok(Target { source: Source::Memory, pid: Some(pid), name: Text::default(), space }))
            }
            // A zombie has none.
            Err(Absent::NotApplicable) => None,
            Err(why) => {
                let name = format!("mm-{pid}.img");
                Some(Err(Unreadable { source: Source::Memory, pid: Some(pid), name, why: why.to_string() }))
            }
        }
    })
}

/// The process that has a file open, if it is in the scope: the one asked for, or the first.
fn owner(scope: &Scope, file: &OpenFile) -> Option<Option<Pid>> {
    let pids = || file.fds.iter().map(|(pid, _)| *pid).chain(file.held_by.iter().map(|(pid, _)| *pid));
    match scope.pid {
        Some(wanted) => pids().any(|pid| pid == wanted).then_some(Some(wanted)),
        None => Some(pids().min()),
    }
}

fn pipes<'a>(checkpoint: &'a Checkpoint, scope: &'a Scope) -> impl Iterator<Item = Opened<'a>> + 'a {
    // Both ends of a pipe tell of the same bytes.
    let mut seen: HashSet<(*const u8, usize)> = HashSet::new();
    checkpoint.files.iter().filter_map(move |file| {
        let (unread, place) = match &file.detail {
            FileDetail::Pipe(end) | FileDetail::Fifo(end) => (end.unread.as_ref()?, end.unread_place.clone()),
            FileDetail::Tty(tty) => (tty.unread.as_ref()?, None),
            _ => return None,
        };
        let pid = owner(scope, file)?;
        if unread.is_empty() || !seen.insert((unread.as_ptr(), unread.len())) {
            return None;
        }
        let size = unread.len() as u64;
        let space = Space::Pieces { pieces: vec![(0, unread.clone(), place)], size };
        Some(Ok(Target { source: Source::Pipe, pid, name: file.target.clone().unwrap_or_default(), space }))
    })
}

fn queues<'a>(socket: &'a Socket, scope: &'a Scope) -> impl Iterator<Item = Opened<'a>> + 'a {
    let owners = || socket.owners.iter().map(|(pid, _)| *pid);
    let pid = match scope.pid {
        Some(wanted) => owners().any(|pid| pid == wanted).then_some(Some(wanted)),
        None => Some(owners().min()),
    };
    let both = [("receive", &socket.recv_queue), ("send", &socket.send_queue)];
    pid.into_iter().flat_map(move |pid| {
        both.into_iter().filter_map(|(way, queue)| Some((way, queue.as_ref()?))).flat_map(move |(way, queue)| {
            let inode = socket.inode.map_or_else(|| "?".into(), |inode| inode.to_string());
            let name = Text::from(format!("socket:[{inode}] {} {way} queue", socket.proto));
            contents(queue, socket.socket_type == SOCK_STREAM)
                .into_iter()
                .map(move |space| Ok(Target { source: Source::Socket, pid, name: name.clone(), space }))
        })
    })
}

/// A stream is one run of bytes; each packet of others stands for itself.
fn contents<'a>(queue: &Queue, is_stream: bool) -> Vec<Space<'a>> {
    let packets = queue.packets.iter().filter(|(bytes, _)| !bytes.is_empty());
    let mut out: Vec<Space<'a>> = Vec::new();
    for (bytes, place) in packets {
        let len = bytes.len() as u64;
        match out.last_mut() {
            Some(Space::Pieces { pieces, size }) if is_stream => {
                pieces.push((*size, bytes.clone(), Some(place.clone())));
                *size = size.saturating_add(len);
            }
            _ => out.push(Space::Pieces { pieces: vec![(0, bytes.clone(), Some(place.clone()))], size: len }),
        }
    }
    out
}

fn source_of(file: &RecoveredFile) -> Source {
    match file.source {
        FileSource::Ghost => Source::Ghost,
        FileSource::Memfd => Source::Memfd,
        FileSource::Shm => Source::Shm,
        FileSource::Tmpfs | FileSource::DevShm => Source::Tmpfs,
        FileSource::Volume => Source::Rootfs,
    }
}

fn recovered<'a>(memory: &'a Memory, scope: &'a Scope, source: Source) -> impl Iterator<Item = Opened<'a>> + 'a {
    let checkpoint = memory.checkpoint();
    checkpoint.recovered.iter().filter(move |file| source_of(file) == source).filter_map(move |file| {
        let mut owners = file.files.iter().filter_map(|id| checkpoint.file(*id)).filter_map(|it| owner(scope, it));
        let pid = match scope.pid {
            Some(_) => owners.next()?,
            None => owners.flatten().min(),
        };
        let target = |space| Some(Ok(Target { source, pid, name: file.path.clone(), space }));
        let unreadable = |why: String| Some(Err(Unreadable { source, pid, name: file.path.label(), why }));
        match &file.content {
            Content::None => None,
            Content::Chunks(chunks) => {
                let mut pieces: Vec<(u64, Bytes, Option<Place>)> = Vec::new();
                for (offset, bytes) in chunks {
                    let is_behind =
                        pieces.last().is_none_or(|(start, last, _)| start.saturating_add(last.len() as u64) <= *offset);
                    if !is_behind {
                        return unreadable("its pieces overlap".into());
                    }
                    pieces.push((*offset, bytes.clone(), Some(place_of_piece(file, chunks, bytes))));
                }
                target(Space::Pieces { pieces, size: file.size_bytes })
            }
            Content::Member { archive, member } => {
                let member = archive.members().get(*member).filter(|member| member.is_file())?;
                match archive.read(member) {
                    Ok(bytes) => {
                        let size = bytes.len() as u64;
                        let place = Place { offset: Some(0), ..file.place.clone() };
                        target(Space::Pieces { pieces: vec![(0, bytes, Some(place))], size })
                    }
                    Err(error) => unreadable(error.to_string()),
                }
            }
            Content::Shmem(shmid) => {
                let Some(object) = checkpoint.shared_memory.get(shmid) else {
                    return unreadable("its pages are not in the checkpoint".into());
                };
                // What processes map is searched there, once for each map.
                let without =
                    if scope.has(Source::Memory) { memory.mapped_ranges_of_object(*shmid) } else { Vec::new() };
                target(Space::Object { pagemap: &object.pagemap, size: file.size_bytes, without })
            }
        }
    })
}

/// Shared-memory objects that no recovered file tells of: System V segments, shared memory of older releases.
fn unnamed<'a>(memory: &'a Memory, scope: &'a Scope) -> impl Iterator<Item = Opened<'a>> + 'a {
    let checkpoint = memory.checkpoint();
    let named: HashSet<u64> = checkpoint
        .recovered
        .iter()
        .filter_map(|file| if let Content::Shmem(shmid) = file.content { Some(shmid) } else { None })
        .collect();
    let objects = checkpoint.shared_memory.iter().filter(move |(shmid, _)| !named.contains(shmid));
    objects.filter(|_| scope.pid.is_none()).map(move |(shmid, object)| {
        let pagemap = &object.pagemap;
        let size = pagemap.runs.last().map_or(0, |run| pagemap.range(run).end.0);
        let without = if scope.has(Source::Memory) { memory.mapped_ranges_of_object(*shmid) } else { Vec::new() };
        let space = Space::Object { pagemap, size, without };
        Ok(Target { source: Source::Shm, pid: None, name: Text::from(format!("shmid {shmid}")), space })
    })
}

/// Image files, but for those whose content another source of the scope has.
fn images<'a>(checkpoint: &'a Checkpoint, scope: &'a Scope) -> impl Iterator<Item = Opened<'a>> + 'a {
    let is_elsewhere = |kind: Option<&str>| match kind {
        Some("PAGES") => [Source::Memory, Source::Memfd, Source::Shm].iter().any(|source| scope.has(*source)),
        Some("PIPES_DATA" | "FIFO_DATA" | "TTY_DATA") => scope.has(Source::Pipe),
        Some("SK_QUEUES" | "TCP_STREAM") => scope.has(Source::Socket),
        Some("GHOST_FILE") => scope.has(Source::Ghost),
        // Packed archives: their bytes say nothing.
        Some("TMPFS_DEV" | "TMPFS_IMG") => true,
        _ => false,
    };
    let images = checkpoint.images.iter().filter(move |image| scope.pid.is_none() && !is_elsewhere(image.kind));
    images.filter_map(|image| {
        let member = checkpoint.evidence.get(&image.path)?;
        let bytes = checkpoint.evidence.read(member).map_err(|error| error.to_string());
        Some(whole(Source::Image, Text::from(image.name.clone()), Place::at(image.name.as_str(), 0), bytes))
    })
}
