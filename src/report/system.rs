//! What the container has once: sockets, mounts, namespaces, networks, locks, file system changes.

use std::borrow::Cow;

use serde::Serialize;

use crate::base::{FileId, Issue};
use crate::checkpoint::files::FileLock;
use crate::checkpoint::namespaces::Namespace;
use crate::checkpoint::network::NetNamespace;
use crate::checkpoint::rootfs::{RootfsDiff, RootfsEntry};
use crate::checkpoint::seccomp::Filter;
use crate::checkpoint::sockets::SocketAddress;
use crate::checkpoint::{Gap, Mount, Socket};

use super::descriptors::OwnerReport;
use super::value::{Map, octal_mode, optional_text, text, texts};

/// One item of `sockets`.
#[derive(Debug, Serialize)]
pub(super) struct SocketReport<'a> {
    proto: &'static str,
    state: Option<&'static str>,
    local: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_hex: Option<String>,
    peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_hex: Option<String>,
    /// `null` where CRIU does not write it (packet sockets).
    inode: Option<u64>,
    recv_queue_bytes: Option<u64>,
    send_queue_bytes: Option<u64>,
    unsent_bytes: Option<u64>,
    owners: Vec<OwnerReport>,
    file_id: u32,
    peer_file_id: Option<u32>,
    socket_type: u32,
    protocol: Option<u32>,
    net_ns: Option<u32>,
    backlog: Option<u32>,
    interface: Option<Cow<'a, str>>,
    shutdown_read: bool,
    shutdown_write: bool,
    was_connecting: bool,
    deleted: bool,
    options: Map<&'static str, &'a str>,
}

impl<'a> SocketReport<'a> {
    pub(super) fn new(socket: &'a Socket) -> SocketReport<'a> {
        SocketReport {
            proto: socket.proto,
            state: socket.state.map(|state| state.0),
            local: socket.local.as_ref().map(ToString::to_string),
            local_hex: address_hex(socket.local.as_ref()),
            peer: socket.peer.as_ref().map(ToString::to_string),
            peer_hex: address_hex(socket.peer.as_ref()),
            inode: socket.inode,
            recv_queue_bytes: socket.recv_queue.as_ref().map(|queue| queue.len_bytes),
            send_queue_bytes: socket.send_queue.as_ref().map(|queue| queue.len_bytes),
            unsent_bytes: socket.send_queue.as_ref().and_then(|queue| queue.unsent_bytes),
            owners: socket.owners.iter().map(|(pid, fd)| OwnerReport { pid: pid.0, fd: fd.0 }).collect(),
            file_id: socket.file.0,
            peer_file_id: socket.peer_file.map(|FileId(id)| id),
            socket_type: socket.socket_type,
            protocol: socket.protocol,
            net_ns: socket.ns_id.map(|id| id.0),
            backlog: socket.backlog,
            interface: socket.interface.as_ref().map(|name| name.to_lossless()),
            shutdown_read: socket.shutdown.0,
            shutdown_write: socket.shutdown.1,
            was_connecting: socket.was_connecting,
            deleted: socket.is_deleted,
            options: Map(socket.options.iter().map(|(name, value)| (*name, value.as_str())).collect()),
        }
    }
}

fn address_hex(address: Option<&SocketAddress>) -> Option<String> {
    match address {
        Some(SocketAddress::Path(name) | SocketAddress::Abstract(name)) => name.hex_if_not_utf8(),
        _ => None,
    }
}

/// One item of `mounts`.
#[derive(Debug, Serialize)]
pub(super) struct MountReport<'a> {
    mnt_id: u32,
    parent_mnt_id: u32,
    mountpoint: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mountpoint_hex: Option<String>,
    root: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_hex: Option<String>,
    fstype: Option<Cow<'a, str>>,
    source: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_hex: Option<String>,
    options: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    options_hex: Option<String>,
    mnt_ns: u32,
    flags: String,
    sb_flags: Option<String>,
    dev: String,
    shared_id: Option<u32>,
    master_id: Option<u32>,
    external_key: Option<Cow<'a, str>>,
    deleted: bool,
    content_img: Option<&'a str>,
}

impl<'a> MountReport<'a> {
    pub(super) fn new(mount: &'a Mount) -> MountReport<'a> {
        let (mountpoint, mountpoint_hex) = text(&mount.mountpoint);
        let (root, root_hex) = text(&mount.root);
        let (source, source_hex) = text(&mount.source);
        let (options, options_hex) = text(&mount.options);
        MountReport {
            mnt_id: mount.mnt_id.0,
            parent_mnt_id: mount.parent_mnt_id.0,
            mountpoint,
            mountpoint_hex,
            root,
            root_hex,
            fstype: mount.fstype.as_ref().map(|it| it.to_lossless()),
            source,
            source_hex,
            options,
            options_hex,
            mnt_ns: mount.ns_id.0,
            flags: format!("{:#x}", mount.flags),
            sb_flags: mount.sb_flags.map(|flags| format!("{flags:#x}")),
            dev: format!("{}:{}", mount.dev.0, mount.dev.1),
            shared_id: mount.shared_id,
            master_id: mount.master_id,
            external_key: mount.external_key.as_ref().map(|it| it.to_lossless()),
            deleted: mount.is_deleted,
            content_img: mount.content_img.as_deref(),
        }
    }
}

/// One item of `namespaces`.
#[derive(Debug, Serialize)]
pub(super) struct NamespaceReport<'a> {
    kind: &'static str,
    id: u32,
    pids: Vec<u32>,
    is_host: bool,
    facts: Map<&'a str, Cow<'a, str>>,
}

impl<'a> NamespaceReport<'a> {
    pub(super) fn new(namespace: &'a Namespace) -> NamespaceReport<'a> {
        NamespaceReport {
            kind: namespace.kind.word(),
            id: namespace.id.0,
            pids: namespace.pids.iter().map(|pid| pid.0).collect(),
            is_host: namespace.is_host,
            facts: Map(namespace.facts.iter().map(|(name, value)| (name.as_str(), value.to_lossless())).collect()),
        }
    }
}

/// One item of `net_namespaces`: the network inside.
#[derive(Debug, Serialize)]
pub(super) struct NetNamespaceReport<'a> {
    id: u32,
    external_key: Option<Cow<'a, str>>,
    interfaces: Vec<InterfaceReport<'a>>,
    routes: Vec<RouteReport<'a>>,
    rules: &'a [String],
    iptables: Option<Cow<'a, str>>,
    ip6tables: Option<Cow<'a, str>>,
    nftables: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize)]
struct InterfaceReport<'a> {
    name: Cow<'a, str>,
    ifindex: u32,
    kind: &'static str,
    mac: Option<&'a str>,
    mtu: u32,
    flags: String,
    addresses: &'a [String],
}

#[derive(Debug, Serialize)]
struct RouteReport<'a> {
    destination: &'a str,
    gateway: Option<&'a str>,
    interface: Option<&'a str>,
    table: u32,
    detail: &'a str,
}

impl<'a> NetNamespaceReport<'a> {
    pub(super) fn new(network: &'a NetNamespace) -> NetNamespaceReport<'a> {
        let interfaces = network.interfaces.iter().map(|it| InterfaceReport {
            name: it.name.to_lossless(),
            ifindex: it.ifindex,
            kind: it.kind,
            mac: it.mac.as_deref(),
            mtu: it.mtu,
            flags: format!("{:#x}", it.flags),
            addresses: &it.addresses,
        });
        let routes = network.routes.iter().map(|it| RouteReport {
            destination: &it.destination,
            gateway: it.gateway.as_deref(),
            interface: it.interface.as_deref(),
            table: it.table,
            detail: &it.detail,
        });
        NetNamespaceReport {
            id: network.id.0,
            external_key: network.external_key.as_ref().map(|it| it.to_lossless()),
            interfaces: interfaces.collect(),
            routes: routes.collect(),
            rules: &network.rules,
            iptables: network.iptables.as_ref().map(|it| it.to_lossless()),
            ip6tables: network.ip6tables.as_ref().map(|it| it.to_lossless()),
            nftables: network.nftables.as_ref().map(|it| it.to_lossless()),
        }
    }
}

/// One item of `locks`.
#[derive(Debug, Serialize)]
pub(super) struct LockReport<'a> {
    kind: &'a str,
    access: &'a str,
    pid: u32,
    fd: u32,
    start: u64,
    /// `null` is to the end of the file.
    len_bytes: Option<u64>,
}

impl<'a> LockReport<'a> {
    pub(super) fn new(lock: &'a FileLock) -> LockReport<'a> {
        LockReport {
            kind: &lock.kind,
            access: &lock.access,
            pid: lock.pid.0,
            fd: lock.fd.0,
            start: lock.start,
            len_bytes: lock.len,
        }
    }
}

/// One item of `seccomp`: a filter, by its index in seccomp.img.
#[derive(Debug, Serialize)]
pub(super) struct SeccompFilterReport {
    index: usize,
    /// `SECCOMP_FILTER_FLAG_` bits.
    flags: u32,
    /// Index of the filter that was added after it and runs before it.
    newer: Option<usize>,
    /// The program: one text for each instruction, jumps by index.
    instructions: Vec<String>,
}

impl SeccompFilterReport {
    pub(super) fn new((index, filter): (usize, &Filter)) -> SeccompFilterReport {
        let instructions = filter.program.iter().enumerate().map(|(at, instruction)| instruction.text(at)).collect();
        SeccompFilterReport { index, flags: filter.flags, newer: filter.newer, instructions }
    }
}

/// `rootfs_diff`. `archive` is `null` where the checkpoint has no archive of changed files.
#[derive(Debug, Serialize)]
pub(super) struct RootfsReport<'a> {
    archive: Option<&'a str>,
    entries: Vec<RootfsEntryReport<'a>>,
    deleted: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_hex: Option<Vec<String>>,
}

/// One item of `rootfs_diff.entries`.
#[derive(Debug, Serialize)]
pub(super) struct RootfsEntryReport<'a> {
    path: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    r#type: &'static str,
    mode: String,
    uid: u64,
    gid: u64,
    size_bytes: u64,
    /// Seconds since 1970.
    mtime: Option<i64>,
    link_target: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link_target_hex: Option<String>,
    /// The directory hides what the image had in it.
    is_opaque: bool,
}

impl<'a> RootfsReport<'a> {
    pub(super) fn new(rootfs: &'a RootfsDiff) -> RootfsReport<'a> {
        let (deleted, deleted_hex) = texts(&rootfs.deleted);
        RootfsReport {
            archive: rootfs.archive.as_ref().map(|archive| archive.name()),
            entries: rootfs.entries.iter().map(RootfsEntryReport::new).collect(),
            deleted,
            deleted_hex,
        }
    }
}

impl<'a> RootfsEntryReport<'a> {
    fn new(entry: &'a RootfsEntry) -> RootfsEntryReport<'a> {
        let (path, path_hex) = text(&entry.path);
        let (link_target, link_target_hex) = optional_text(entry.link_target.as_ref());
        RootfsEntryReport {
            path,
            path_hex,
            r#type: entry.kind,
            mode: octal_mode(entry.mode),
            uid: entry.uid,
            gid: entry.gid,
            size_bytes: entry.size_bytes,
            mtime: entry.mtime,
            link_target,
            link_target_hex,
            is_opaque: entry.is_opaque,
        }
    }
}

/// One item of `issues`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IssueReport {
    /// Member and offset.
    pub r#where: String,
    /// What could not be read.
    pub what: String,
}

impl IssueReport {
    /// Of an issue.
    pub(super) fn new(issue: &Issue) -> IssueReport {
        IssueReport { r#where: issue.place.to_string(), what: issue.what.clone() }
    }
}

/// One item of `coverage`: what this checkpoint cannot show.
#[derive(Debug, Serialize)]
pub(super) struct GapReport<'a> {
    what: &'a str,
    why: &'a str,
}

impl<'a> GapReport<'a> {
    pub(super) fn new(gap: &'a Gap) -> GapReport<'a> {
        GapReport { what: gap.what, why: &gap.why }
    }
}
