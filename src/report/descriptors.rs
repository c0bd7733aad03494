//! A descriptor in JSON, with the open file description behind it.

use std::borrow::Cow;

use serde::Serialize;

use crate::base::Pid;
use crate::checkpoint::files::{EpollTarget, FileDetail, Relation, Remap, Watch};
use crate::checkpoint::{Checkpoint, FdEntry, OpenFile};

use super::value::{bit_set, octal_flags, octal_mode, optional_text};

/// `O_CLOEXEC`, the same on every architecture that CRIU has.
pub(super) const O_CLOEXEC: u32 = 0o2_000_000;

/// One item of `fds`.
#[derive(Debug, Serialize)]
pub(super) struct FdReport<'a> {
    fd: u32,
    kind: &'static str,
    target: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_hex: Option<String>,
    flags: Option<String>,
    pos: Option<u64>,
    deleted: Option<bool>,
    file_id: u32,
    /// Other descriptors that share the open file description.
    shared_with: Vec<OwnerReport>,
    /// How many more share it; left out when none do.
    #[serde(skip_serializing_if = "is_zero")]
    shared_with_omitted: usize,
    /// Open files at the other end, watched, or otherwise belonging to it.
    related: Vec<RelatedReport>,
    /// How many more there are; left out when there are none.
    #[serde(skip_serializing_if = "is_zero")]
    related_omitted: usize,
    detail: Option<DetailReport<'a>>,
}

/// Most descriptors that are listed of one open file at one place: a file that all of 50,000 processes share would be
/// listed 2,500,000,000 times.
const MAX_OWNERS: usize = 256;
/// Fewer where so many are listed of one open file at all its places together.
const MAX_OWNERS_OF_FILE: usize = 1 << 16;
/// Most connected files that are listed of one descriptor.
const MAX_RELATED: usize = 4096;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A descriptor of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct OwnerReport {
    /// Process.
    pub pid: u32,
    /// Number in it.
    pub fd: u32,
}

#[derive(Debug, Serialize)]
struct RelatedReport {
    relation: &'static str,
    file_id: u32,
    owners: Vec<OwnerReport>,
}

impl<'a> FdReport<'a> {
    pub(super) fn new(checkpoint: &'a Checkpoint, pid: Pid, entry: &'a FdEntry) -> FdReport<'a> {
        let file = checkpoint.file(entry.file);
        let (target, target_hex) = optional_text(file.and_then(|file| file.target.as_ref()));
        FdReport {
            fd: entry.fd.0,
            kind: entry.kind.word(),
            target,
            target_hex,
            flags: file.and_then(|file| file.flags).map(|flags| octal_flags(fd_flags(flags, entry.cloexec))),
            pos: file.and_then(|file| file.pos),
            deleted: file.map(|file| file.is_deleted),
            file_id: entry.file.0,
            shared_with: file.map_or_else(Vec::new, |file| {
                owners(file)
                    .filter(|owner| (owner.pid, owner.fd) != (pid.0, entry.fd.0))
                    .take(max_owners(file))
                    .collect()
            }),
            shared_with_omitted: file.map_or(0, |file| file.fds.len().saturating_sub(1 + max_owners(file))),
            related: file.map_or_else(Vec::new, |file| {
                file.related.iter().take(MAX_RELATED).map(|it| related(checkpoint, it)).collect()
            }),
            related_omitted: file.map_or(0, |file| file.related.len().saturating_sub(MAX_RELATED)),
            detail: file.and_then(DetailReport::new),
        }
    }
}

/// Flags as fdinfo shows them: those of the open file description, and the descriptor's own.
pub(super) fn fd_flags(flags: u32, cloexec: bool) -> u32 {
    if cloexec { flags | O_CLOEXEC } else { flags & !O_CLOEXEC }
}

/// How many descriptors of a file are listed at each place.
fn max_owners(file: &OpenFile) -> usize {
    (MAX_OWNERS_OF_FILE / file.fds.len().max(1)).clamp(8, MAX_OWNERS)
}

fn owners(file: &OpenFile) -> impl Iterator<Item = OwnerReport> {
    file.fds.iter().map(|(pid, fd)| OwnerReport { pid: pid.0, fd: fd.0 })
}

fn related(checkpoint: &Checkpoint, (relation, id): &(Relation, crate::base::FileId)) -> RelatedReport {
    RelatedReport {
        relation: relation_word(*relation),
        file_id: id.0,
        owners: checkpoint.file(*id).map_or_else(Vec::new, |file| owners(file).take(max_owners(file)).collect()),
    }
}

/// The word of the JSON and of the text.
pub(super) fn relation_word(relation: Relation) -> &'static str {
    match relation {
        Relation::PipeEnd => "other end",
        Relation::Peer => "peer",
        Relation::EpollTarget => "watches",
        Relation::PathOf => "path",
        Relation::PtyPair => "pty pair",
        Relation::SameMemfd => "same memfd",
        Relation::InFlight => "in flight",
    }
}

/// What the kind of file holds; the keys depend on the kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum DetailReport<'a> {
    Reg {
        mnt_id: Option<u32>,
        mode: Option<String>,
        size_bytes: Option<u64>,
        is_external: bool,
        kept_as: Option<String>,
    },
    Pipe {
        pipe_id: u32,
        capacity_bytes: Option<u32>,
        unread_bytes: usize,
    },
    Eventfd {
        counter: u64,
    },
    Epoll {
        watched: Vec<EpollReport>,
    },
    Watches {
        watches: Vec<WatchReport<'a>>,
    },
    Signalfd {
        mask: String,
    },
    Timerfd {
        clock_id: u32,
        ticks: u64,
        value_ns: u64,
        interval_ns: u64,
    },
    Tty {
        driver: Option<&'static str>,
        index: Option<u32>,
        sid: Option<u32>,
        pgrp: Option<u32>,
        unread_bytes: usize,
    },
    Memfd {
        name: Option<Cow<'a, str>>,
        size_bytes: Option<u64>,
        seals: Option<u32>,
        shmid: Option<u64>,
        is_shared_anonymous: bool,
    },
    Ns {
        ns_id: u32,
    },
    Tun {
        netdev: Option<Cow<'a, str>>,
    },
    BpfMap {
        map_id: u32,
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        name: Option<Cow<'a, str>>,
        entries: usize,
    },
    Pidfd {
        pid: Option<i64>,
    },
}

#[derive(Debug, Serialize)]
struct EpollReport {
    fd: u32,
    events: String,
    data: String,
}

#[derive(Debug, Serialize)]
struct WatchReport<'a> {
    wd: Option<u32>,
    mask: String,
    inode: Option<u64>,
    path: Option<Cow<'a, str>>,
}

impl<'a> DetailReport<'a> {
    fn new(file: &'a OpenFile) -> Option<DetailReport<'a>> {
        Some(match &file.detail {
            FileDetail::Reg(reg) => DetailReport::Reg {
                mnt_id: reg.mnt_id.map(|id| id.0),
                mode: reg.mode.map(octal_mode),
                size_bytes: reg.size_bytes,
                is_external: reg.is_external,
                kept_as: reg.remap.as_ref().map(remap_word),
            },
            FileDetail::Pipe(pipe) | FileDetail::Fifo(pipe) => DetailReport::Pipe {
                pipe_id: pipe.pipe_id,
                capacity_bytes: pipe.capacity_bytes,
                unread_bytes: pipe.unread.as_ref().map_or(0, |bytes| bytes.len()),
            },
            FileDetail::Eventfd { counter } => DetailReport::Eventfd { counter: *counter },
            FileDetail::Eventpoll(targets) => {
                DetailReport::Epoll { watched: targets.iter().map(EpollReport::new).collect() }
            }
            FileDetail::Inotify(watches) | FileDetail::Fanotify { marks: watches, .. } => {
                DetailReport::Watches { watches: watches.iter().map(WatchReport::new).collect() }
            }
            FileDetail::Signalfd { mask } => DetailReport::Signalfd { mask: bit_set(*mask) },
            FileDetail::Timerfd { clock_id, ticks, value_ns, interval_ns, .. } => DetailReport::Timerfd {
                clock_id: *clock_id,
                ticks: *ticks,
                value_ns: *value_ns,
                interval_ns: *interval_ns,
            },
            FileDetail::Tty(tty) => DetailReport::Tty {
                driver: tty.driver,
                index: tty.index,
                sid: tty.sid,
                pgrp: tty.pgrp,
                unread_bytes: tty.unread.as_ref().map_or(0, |bytes| bytes.len()),
            },
            FileDetail::Memfd(memfd) => DetailReport::Memfd {
                name: memfd.name.as_ref().map(|name| name.to_lossless()),
                size_bytes: memfd.size_bytes,
                seals: memfd.seals,
                shmid: memfd.shmid,
                is_shared_anonymous: memfd.is_shared_anonymous,
            },
            FileDetail::Ns { ns_id, .. } => DetailReport::Ns { ns_id: ns_id.0 },
            FileDetail::Tun { netdev } => DetailReport::Tun { netdev: netdev.as_ref().map(|name| name.to_lossless()) },
            FileDetail::BpfMap(map) => DetailReport::BpfMap {
                map_id: map.map_id,
                map_type: map.map_type,
                key_size: map.key_size,
                value_size: map.value_size,
                max_entries: map.max_entries,
                name: map.name.as_ref().map(|name| name.to_lossless()),
                entries: map.entries.len(),
            },
            FileDetail::Pidfd { pid, .. } => DetailReport::Pidfd { pid: *pid },
            FileDetail::Socket | FileDetail::Ext | FileDetail::Unknown => return None,
        })
    }
}

fn remap_word(remap: &Remap) -> String {
    match remap {
        Remap::Linked { file } => format!("link, file {file}"),
        Remap::Ghost { img } => img.clone(),
        Remap::Procfs { pid } => format!("of dead process {pid}"),
        Remap::Unknown(number) => format!("unknown remap {number}"),
    }
}

impl EpollReport {
    fn new(target: &EpollTarget) -> EpollReport {
        EpollReport { fd: target.fd, events: format!("{:#x}", target.events), data: format!("{:#x}", target.data) }
    }
}

impl<'a> WatchReport<'a> {
    fn new(watch: &'a Watch) -> WatchReport<'a> {
        WatchReport {
            wd: watch.wd,
            mask: format!("{:#x}", watch.mask),
            inode: watch.inode,
            path: watch.path.as_ref().map(|path| path.to_lossless()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_on_exec_belongs_to_the_descriptor() {
        assert_eq!(fd_flags(0o2, true), 0o2_000_002);
        assert_eq!(fd_flags(0o2_000_002, false), 0o2);
    }
}
