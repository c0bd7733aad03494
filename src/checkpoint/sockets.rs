//! Sockets of every family, with addresses, states and queues.

use std::fmt;

use bytes::Bytes;

use crate::base::{Fd, FileId, NsId, Pid, Place, Text};

/// One socket.
#[derive(Clone, Debug)]
pub struct Socket {
    /// Open file description.
    pub file: FileId,
    /// `tcp`, `tcp6`, `udp`, `unix`, …
    pub proto: &'static str,
    /// `LISTEN`, `ESTABLISHED`, …, as `ss` spells them without abbreviation.
    pub state: Option<SocketState>,
    /// Own address; `None` when unbound or unnamed.
    pub local: Option<SocketAddress>,
    /// Peer's address; `None` when not connected.
    pub peer: Option<SocketAddress>,
    /// Number in `socket:[N]`; CRIU does not record that of a packet socket.
    pub inode: Option<u64>,
    /// `SOCK_` number.
    pub socket_type: u32,
    /// IP protocol, netlink protocol or ethertype.
    pub protocol: Option<u32>,
    /// Network namespace.
    pub ns_id: Option<NsId>,
    /// Received and not yet read; `None` where CRIU does not keep it (UDP, raw).
    pub recv_queue: Option<Queue>,
    /// Written and not yet acknowledged; `None` where CRIU does not keep it.
    pub send_queue: Option<Queue>,
    /// The peer inside this checkpoint.
    pub peer_file: Option<FileId>,
    /// Files sent over it (`SCM_RIGHTS`) and not yet received.
    pub in_flight: Vec<FileId>,
    /// Descriptors that hold it.
    pub owners: Vec<(Pid, Fd)>,
    /// Shut down for reading, for writing.
    pub shutdown: (bool, bool),
    /// Length of the accept queue; only of listening sockets.
    pub backlog: Option<u32>,
    /// Interface it is bound to.
    pub interface: Option<Text>,
    /// Its file was deleted (unix).
    pub is_deleted: bool,
    /// Options worth showing: name and value.
    pub options: Vec<(&'static str, String)>,
    /// A classic BPF filter on it, `code<<48 | jt<<40 | jf<<32 | k` each.
    pub filter: Vec<u64>,
    /// The connection attempt was under way: CRIU stores it as closed, with a destination.
    pub was_connecting: bool,
}

/// State of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketState(pub &'static str);

impl fmt::Display for SocketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

/// Address of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    /// `127.0.0.1:80`, `[::1]:80`.
    Inet(std::net::SocketAddr),
    /// An address without ports: raw sockets have their protocol in `Socket::protocol`.
    Ip(std::net::IpAddr),
    /// A path of a unix socket.
    Path(Text),
    /// An abstract name of a unix socket.
    Abstract(Text),
    /// Port id of a netlink socket.
    Netlink(u32),
    /// Interface index of a packet socket.
    Interface(u32),
}

impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketAddress::Inet(addr) => write!(f, "{addr}"),
            SocketAddress::Ip(addr) => write!(f, "{addr}"),
            SocketAddress::Path(path) => write!(f, "{path}"),
            SocketAddress::Abstract(name) => write!(f, "@{name}"),
            SocketAddress::Netlink(port) => write!(f, "portid {port}"),
            SocketAddress::Interface(index) => write!(f, "if{index}"),
        }
    }
}

/// Bytes waiting in a socket.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Length in bytes.
    pub len_bytes: u64,
    /// Packets, or the one run of bytes of a stream, with where they lie.
    pub packets: Vec<(Bytes, Place)>,
    /// The bytes that were never sent; TCP only.
    pub unsent_bytes: Option<u64>,
}

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::{ByteOrder, Issue};
use crate::decode::schema;

use super::images::Images;

impl SocketState {
    /// From the kernel's TCP numbers, which all families use.
    ///
    /// `ss` calls a datagram socket without a peer UNCONN, which has the number of CLOSE.
    fn from_number(number: u32, is_stream: bool) -> Option<SocketState> {
        Some(SocketState(match number {
            1 => "ESTABLISHED",
            2 => "SYN_SENT",
            3 => "SYN_RECV",
            4 => "FIN_WAIT1",
            5 => "FIN_WAIT2",
            6 => "TIME_WAIT",
            7 if is_stream => "CLOSE",
            7 => "UNCONN",
            8 => "CLOSE_WAIT",
            9 => "LAST_ACK",
            10 => "LISTEN",
            11 => "CLOSING",
            _ => return None,
        }))
    }
}

/// Joins sockets one by one, then with each other.
pub(super) struct Builder<'a> {
    images: &'a Images,
    sockets: Vec<Socket>,
    /// Inode of the peer of a unix socket.
    unix_peers: Vec<(usize, u64)>,
    /// Packets by the file id of the socket that received them.
    packets: HashMap<u32, Queue>,
    /// Files in flight by the file id of the socket that will receive them.
    in_flight: HashMap<u32, Vec<FileId>>,
    tcp: HashMap<u64, (Queue, Queue)>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(images: &'a Images) -> Builder<'a> {
        const SCM_RIGHTS: u32 = 1;
        let mut packets: HashMap<u32, Queue> = HashMap::new();
        let mut in_flight: HashMap<u32, Vec<FileId>> = HashMap::new();
        for records in images.sk_queues.values() {
            for record in &records.records {
                let queue = packets.entry(record.value.id_for).or_default();
                queue.len_bytes = queue.len_bytes.saturating_add(u64::from(record.value.length));
                if let Some(packet) = records.payload(record, "data") {
                    queue.packets.push(packet);
                }
                for scm in record.value.scm.iter().filter(|scm| scm.r#type == SCM_RIGHTS) {
                    in_flight.entry(record.value.id_for).or_default().extend(scm.rights.iter().copied().map(FileId));
                }
            }
        }
        let mut tcp = HashMap::new();
        for (inode, records) in &images.tcp_stream {
            let Some(record) = records.records.first() else { continue };
            let queue = |name, len: u32, unsent: Option<u32>| Queue {
                len_bytes: u64::from(len),
                packets: records.payload(record, name).filter(|(bytes, _)| !bytes.is_empty()).into_iter().collect(),
                unsent_bytes: unsent.map(u64::from),
            };
            let stream = &record.value;
            let queues = (queue("inq", stream.inq_len, None), queue("outq", stream.outq_len, stream.unsq_len));
            tcp.insert(*inode, queues);
        }
        Builder { images, sockets: Vec::new(), unix_peers: Vec::new(), packets, in_flight, tcp }
    }

    pub(super) fn inet(&mut self, file: FileId, entry: &schema::InetSkEntry) {
        let is_v6 = entry.family == 10;
        let is_tcp = entry.r#type == 1;
        let is_raw = entry.r#type == 3;
        let proto = match (entry.r#type, entry.proto, is_v6) {
            (3, _, false) => "raw",
            (3, _, true) => "raw6",
            (_, 6, false) => "tcp",
            (_, 6, true) => "tcp6",
            (_, 17, false) => "udp",
            (_, 17, true) => "udp6",
            (_, 136, false) => "udplite",
            (_, 136, true) => "udplite6",
            (_, 1 | 58, false) => "icmp",
            (_, 1 | 58, true) => "icmp6",
            (_, 132, _) => "sctp",
            _ => "inet",
        };
        let order = self.images.ctx.order;
        let address = |words: &[u32], port: u32| {
            let ip = ip_address(words, order)?;
            if is_raw {
                return (!ip.is_unspecified()).then_some(SocketAddress::Ip(ip));
            }
            let port = u16::try_from(port).ok()?;
            (port != 0 || !ip.is_unspecified()).then_some(SocketAddress::Inet(SocketAddr::new(ip, port)))
        };
        let mut socket = Socket::new(file, proto, Some(u64::from(entry.ino)), entry.r#type);
        socket.state = SocketState::from_number(entry.state, is_tcp);
        socket.local = address(&entry.src_addr, entry.src_port);
        socket.peer = address(&entry.dst_addr, entry.dst_port);
        // A raw socket keeps its protocol where others keep their port.
        socket.protocol = Some(if is_raw { entry.src_port } else { entry.proto });
        socket.ns_id = entry.ns_id.map(NsId);
        socket.backlog = (entry.state == 10).then_some(entry.backlog);
        socket.interface = entry.ifname.clone().or_else(|| entry.opts.so_bound_dev.clone()).map(Text);
        socket.set_shutdown(entry.shutdown);
        if let Some((inq, outq)) = self.tcp.remove(&u64::from(entry.ino)) {
            socket.recv_queue = Some(inq);
            socket.send_queue = Some(outq);
        } else {
            // Seen: a socket in SYN_SENT is written as CLOSE, with its destination and without a stream.
            socket.was_connecting = is_tcp && entry.state == 7 && entry.dst_port != 0;
        }
        socket.set_options(&entry.opts);
        if let Some(ip) = &entry.ip_opts {
            let flag = |set: Option<bool>, name| set.filter(|set| *set).map(|_| (name, "on".to_owned()));
            socket.options.extend(flag(ip.freebind, "IP_FREEBIND"));
            socket.options.extend(flag(ip.pktinfo, "IP_PKTINFO"));
            socket.options.extend(ip.ttl.map(|ttl| ("IP_TTL", ttl.to_string())));
            socket.options.extend(ip.tos.map(|tos| ("IP_TOS", format!("{tos:#x}"))));
        }
        if entry.v6only == Some(true) {
            socket.options.push(("IPV6_V6ONLY", "on".to_owned()));
        }
        self.sockets.push(socket);
    }

    pub(super) fn unix(&mut self, file: FileId, entry: &schema::UnixSkEntry) {
        let mut socket = Socket::new(file, "unix", Some(u64::from(entry.ino)), entry.r#type);
        // The kernel, and ss, know an unconnected unix stream socket as UNCONN.
        socket.state = SocketState::from_number(entry.state, false);
        socket.local = unix_address(&entry.name, entry.name_dir.as_deref());
        socket.ns_id = entry.ns_id.map(NsId);
        // Only listening sockets have it; CRIU writes rubbish for the others.
        socket.backlog = (entry.state == 10).then_some(entry.backlog);
        socket.is_deleted = entry.deleted.unwrap_or_default();
        socket.set_shutdown(entry.shutdown);
        socket.recv_queue = Some(self.packets.remove(&entry.id).unwrap_or_default());
        socket.in_flight = self.in_flight.remove(&entry.id).unwrap_or_default();
        socket.set_options(&entry.opts);
        if entry.peer != 0 {
            self.unix_peers.push((self.sockets.len(), u64::from(entry.peer)));
        }
        self.sockets.push(socket);
    }

    pub(super) fn netlink(&mut self, file: FileId, entry: &schema::NetlinkSkEntry) {
        let mut socket = Socket::new(file, "netlink", Some(u64::from(entry.ino)), 3);
        socket.state = SocketState::from_number(entry.state, false);
        socket.local = (entry.portid != 0).then_some(SocketAddress::Netlink(entry.portid));
        socket.peer = (entry.dst_portid != 0).then_some(SocketAddress::Netlink(entry.dst_portid));
        socket.protocol = Some(entry.protocol);
        socket.ns_id = entry.ns_id.map(NsId);
        socket.set_options(&entry.opts);
        let groups: Vec<String> = entry.groups.iter().take(32).map(|word| format!("{word:#010x}")).collect();
        if !groups.is_empty() {
            socket.options.push(("groups", groups.join(" ")));
        }
        self.sockets.push(socket);
    }

    pub(super) fn packet(&mut self, file: FileId, entry: &schema::PacketSockEntry) {
        let mut socket = Socket::new(file, "packet", None, entry.r#type);
        socket.state = SocketState::from_number(7, false);
        // Stored in network byte order: 768 is ETH_P_ALL.
        let protocol = u16::try_from(entry.protocol).map(u16::swap_bytes).unwrap_or_default();
        socket.protocol = Some(u32::from(protocol));
        socket.local = (entry.ifindex != 0).then_some(SocketAddress::Interface(entry.ifindex));
        socket.ns_id = entry.ns_id.map(NsId);
        socket.set_options(&entry.opts);
        self.sockets.push(socket);
    }

    /// Joins peers with each other and ends.
    pub(super) fn finish(mut self, issues: &mut Vec<Issue>) -> Vec<Socket> {
        let unix = self.sockets.iter().filter(|socket| socket.proto == "unix");
        let by_inode: HashMap<u64, (FileId, Option<SocketAddress>)> =
            unix.filter_map(|socket| Some((socket.inode?, (socket.file, socket.local.clone())))).collect();
        for (at, peer) in &self.unix_peers {
            let Some(socket) = self.sockets.get_mut(*at) else { continue };
            match by_inode.get(peer) {
                Some((file, name)) => {
                    socket.peer_file = Some(*file);
                    socket.peer = name.clone();
                }
                None => socket.options.push(("peer inode", format!("{peer} (outside the checkpoint)"))),
            }
        }
        let mut ends: HashMap<(&'static str, SocketAddr, SocketAddr), FileId> = HashMap::new();
        for socket in &self.sockets {
            if let (Some(SocketAddress::Inet(local)), Some(SocketAddress::Inet(peer))) = (&socket.local, &socket.peer) {
                ends.insert((socket.proto, *local, *peer), socket.file);
            }
        }
        for socket in &mut self.sockets {
            if let (Some(SocketAddress::Inet(local)), Some(SocketAddress::Inet(peer))) = (&socket.local, &socket.peer) {
                socket.peer_file =
                    ends.get(&(socket.proto, *peer, *local)).copied().filter(|peer| *peer != socket.file);
            }
        }
        let mut orphans: Vec<u64> = self.tcp.keys().copied().collect();
        orphans.sort_unstable();
        for inode in orphans {
            let place = Place::member(format!("tcp-stream-{inode:x}.img"));
            issues.push(Issue::new(place, format!("belongs to socket:[{inode}], which is not among the open files")));
        }
        self.sockets
    }
}

impl Socket {
    fn new(file: FileId, proto: &'static str, inode: Option<u64>, socket_type: u32) -> Socket {
        Socket {
            file,
            proto,
            state: None,
            local: None,
            peer: None,
            inode,
            socket_type,
            protocol: None,
            ns_id: None,
            recv_queue: None,
            send_queue: None,
            peer_file: None,
            in_flight: Vec::new(),
            owners: Vec::new(),
            shutdown: (false, false),
            backlog: None,
            interface: None,
            is_deleted: false,
            options: Vec::new(),
            filter: Vec::new(),
            was_connecting: false,
        }
    }

    fn set_shutdown(&mut self, shutdown: Option<i32>) {
        let bits = shutdown.unwrap_or_default();
        self.shutdown = (bits & 1 != 0, bits & 2 != 0);
    }

    fn set_options(&mut self, opts: &schema::SkOptsEntry) {
        let flags = [
            (opts.reuseaddr, "SO_REUSEADDR"),
            (opts.so_reuseport, "SO_REUSEPORT"),
            (opts.so_keepalive, "SO_KEEPALIVE"),
            (opts.so_broadcast, "SO_BROADCAST"),
            (opts.so_passcred, "SO_PASSCRED"),
            (opts.so_passsec, "SO_PASSSEC"),
            (opts.so_dontroute, "SO_DONTROUTE"),
            (opts.so_no_check, "SO_NO_CHECK"),
        ];
        self.options
            .extend(flags.iter().filter(|(set, _)| *set == Some(true)).map(|(_, name)| (*name, "on".to_owned())));
        let numbers = [
            (opts.so_mark, "SO_MARK"),
            (opts.so_priority, "SO_PRIORITY"),
            (opts.so_linger, "SO_LINGER"),
            (opts.tcp_keepidle, "TCP_KEEPIDLE"),
            (opts.tcp_keepintvl, "TCP_KEEPINTVL"),
            (opts.tcp_keepcnt, "TCP_KEEPCNT"),
        ];
        let numbers =
            numbers.iter().filter_map(|(value, name)| Some((*name, (*value).filter(|value| *value != 0)?.to_string())));
        self.options.extend(numbers);
        self.options.push(("SO_SNDBUF", opts.so_sndbuf.to_string()));
        self.options.push(("SO_RCVBUF", opts.so_rcvbuf.to_string()));
        if let Some(device) = &opts.so_bound_dev {
            self.interface = Some(Text(device.clone()));
        }
        self.filter = opts.so_filter.clone();
    }
}

/// Address from words whose memory image is the address in network order.
fn ip_address(words: &[u32], order: ByteOrder) -> Option<IpAddr> {
    let octets = |word: u32| match order {
        ByteOrder::Little => word.to_le_bytes(),
        ByteOrder::Big => word.to_be_bytes(),
    };
    match *words {
        [word] => Some(IpAddr::V4(Ipv4Addr::from(octets(word)))),
        [a, b, c, d] => {
            let mut all = [0u8; 16];
            for (part, word) in all.chunks_exact_mut(4).zip([a, b, c, d]) {
                part.copy_from_slice(&octets(word));
            }
            Some(IpAddr::V6(Ipv6Addr::from(all)))
        }
        _ => None,
    }
}

/// Empty is unnamed, a leading NUL is abstract, else a path with a trailing NUL; a relative path is
/// completed by the directory it was bound in.
fn unix_address(name: &Bytes, dir: Option<&[u8]>) -> Option<SocketAddress> {
    match name.first() {
        None => None,
        Some(0) => Some(SocketAddress::Abstract(Text(name.slice(1..)))),
        Some(first) => {
            let path = name.strip_suffix(&[0]).unwrap_or(name);
            Some(SocketAddress::Path(match dir {
                Some(dir) if *first != b'/' => Text([dir, b"/", path].concat().into()),
                _ => Text(name.slice_ref(path)),
            }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_memory_images_of_network_order() {
        let v4 = ip_address(&[0x0100_007f], ByteOrder::Little);
        assert_eq!(v4.map(|ip| ip.to_string()).as_deref(), Some("127.0.0.1"));
        let v6 = ip_address(&[0, 0, 0, 0x0100_0000], ByteOrder::Little);
        assert_eq!(v6.map(|ip| ip.to_string()).as_deref(), Some("::1"));
        let big = ip_address(&[0x7f00_0001], ByteOrder::Big);
        assert_eq!(big.map(|ip| ip.to_string()).as_deref(), Some("127.0.0.1"));
        assert_eq!(ip_address(&[1, 2], ByteOrder::Little), None);
    }

    #[test]
    fn unix_names_are_paths_abstract_or_nothing() {
        let name = |bytes: &'static [u8], dir: Option<&[u8]>| {
            unix_address(&Bytes::from_static(bytes), dir).map(|address| address.to_string())
        };
        assert_eq!(name(b"", None), None);
        assert_eq!(name(b"\0bus\0x", None).as_deref(), Some("@bus\0x"));
        assert_eq!(name(b"/run/s\0", None).as_deref(), Some("/run/s"));
        assert_eq!(name(b"s\0", Some(b"/run")).as_deref(), Some("/run/s"));
    }
}
