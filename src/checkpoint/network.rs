//! Network namespaces: interfaces, addresses, routes, rules, packet filters.

use crate::base::{NsId, Text};

/// What is known of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct NetNamespace {
    /// CRIU's number.
    pub id: NsId,
    /// Handed in by the runtime: its inside is not in the dump.
    pub external_key: Option<Text>,
    /// Interfaces.
    pub interfaces: Vec<Interface>,
    /// Routes of both families, as `ip route` prints them.
    pub routes: Vec<Route>,
    /// Policy rules, as `ip rule` prints them.
    pub rules: Vec<String>,
    /// Text of `iptables-save`.
    pub iptables: Option<Text>,
    /// Text of `ip6tables-save`.
    pub ip6tables: Option<Text>,
    /// Text of the nftables rule set.
    pub nftables: Option<Text>,
    /// Tracked connections, one line each.
    pub conntrack: Vec<String>,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: Text,
    /// Index.
    pub ifindex: u32,
    /// `loopback`, `veth`, …
    pub kind: &'static str,
    /// Hardware address, `aa:bb:…`.
    pub mac: Option<String>,
    /// Largest packet.
    pub mtu: u32,
    /// `IFF_` bits.
    pub flags: u32,
    /// Addresses with prefix length and scope.
    pub addresses: Vec<String>,
}

/// One route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// `default` or an address with prefix length.
    pub destination: String,
    /// Next hop.
    pub gateway: Option<String>,
    /// Interface.
    pub interface: Option<String>,
    /// Table number.
    pub table: u32,
    /// The rest, as `ip route` prints it.
    pub detail: String,
}
