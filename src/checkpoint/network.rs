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

use crate::base::Issue;

use super::images::Images;
use super::load::ns_id;

/// Network namespaces that have images.
pub(super) fn networks(images: &Images, _issues: &mut Vec<Issue>) -> Vec<NetNamespace> {
    let mut keys: Vec<u64> = images.netns.keys().chain(images.netdev.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .map(|key| {
            let netns = images.netns.get(&key).and_then(|records| records.records.first());
            let rules = |prefix: &str| {
                let img = images.raw.get(&format!("{prefix}-{key}.img"))?;
                Some(Text(img.bytes.clone())).filter(|text| !text.is_empty())
            };
            NetNamespace {
                id: ns_id(key),
                external_key: netns.and_then(|record| record.value.ext_key.clone()).map(Text),
                interfaces: interfaces(images, key),
                routes: Vec::new(),
                rules: Vec::new(),
                iptables: rules("iptables"),
                ip6tables: rules("ip6tables"),
                nftables: rules("nftables"),
                conntrack: Vec::new(),
            }
        })
        .collect()
}

fn interfaces(images: &Images, key: u64) -> Vec<Interface> {
    let records = images.netdev.get(&key).into_iter().flat_map(|records| &records.records);
    records
        .map(|record| {
            let entry = &record.value;
            let kind = match entry.r#type {
                1 => "loopback",
                2 => "veth",
                3 => "tun",
                4 => "external",
                5 => "venet",
                6 => "bridge",
                7 => "macvlan",
                8 => "sit",
                _ => "unknown",
            };
            let mac = entry
                .address
                .as_ref()
                .map(|address| address.iter().take(32).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"));
            Interface {
                name: Text(entry.name.clone()),
                ifindex: entry.ifindex,
                kind,
                mac,
                mtu: entry.mtu,
                flags: entry.flags,
                addresses: Vec::new(),
            }
        })
        .collect()
}
