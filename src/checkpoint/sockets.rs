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
    /// Number in `socket:[N]`.
    pub inode: u64,
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
