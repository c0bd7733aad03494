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

use std::collections::HashMap;

use crate::base::Issue;
use crate::decode::names;
use crate::decode::{self, Arch, netlink};

use super::images::Images;
use super::load::ns_id;

/// Network namespaces that have images.
pub(super) fn networks(images: &Images, issues: &mut Vec<Issue>) -> Vec<NetNamespace> {
    let mut keys: Vec<u64> = images.netns.keys().chain(images.netdev.keys()).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter()
        .map(|key| {
            let netns = images.netns.get(&key).and_then(|records| records.records.first());
            let mut messages = |prefix: &str| {
                let img = images.kept.get(&format!("{prefix}-{key}.img")).filter(|img| !img.bytes.is_empty());
                let decoded = img.map(|img| decode::netlink::netlink(img, &images.ctx));
                decoded.map_or_else(Vec::new, |decoded| {
                    issues.extend(decoded.issues.into_iter().map(Issue::from));
                    decoded.value
                })
            };
            let addresses: Vec<netlink::Address> =
                messages("ifaddr").iter().filter_map(netlink::NlMsg::address).collect();
            let routes = [messages("route"), messages("route6")].concat();
            let rules: Vec<netlink::NlMsg> = messages("rule");
            let interfaces = interfaces(images, key, &addresses);
            let names: HashMap<u32, &Text> = interfaces.iter().rev().map(|it| (it.ifindex, &it.name)).collect();
            let text = |prefix: &str| {
                let img = images.kept.get(&format!("{prefix}-{key}.img"))?;
                Some(Text(img.bytes.clone())).filter(|text| !text.is_empty())
            };
            NetNamespace {
                id: ns_id(key),
                external_key: netns.and_then(|record| record.value.ext_key.clone()).map(Text),
                routes: routes.iter().filter_map(netlink::NlMsg::route).map(|it| route(&it, &names)).collect(),
                rules: rules.iter().filter_map(netlink::NlMsg::rule).map(|it| rule(&it)).collect(),
                iptables: text("iptables"),
                ip6tables: text("ip6tables"),
                nftables: text("nftables"),
                interfaces,
            }
        })
        .collect()
}

fn interfaces(images: &Images, key: u64, addresses: &[netlink::Address]) -> Vec<Interface> {
    // Each address goes to the first interface of its number.
    let mut by_index: HashMap<u32, Vec<String>> = HashMap::new();
    for own in addresses {
        if let Some(address) = own.address {
            by_index.entry(own.ifindex).or_default().push(format!("{address}/{}", own.prefix_len));
        }
    }
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
                addresses: by_index.remove(&entry.ifindex).unwrap_or_default(),
            }
        })
        .collect()
}

fn route(route: &netlink::Route, names: &HashMap<u32, &Text>) -> Route {
    let interface = route.oif.map(|oif| names.get(&oif).map_or_else(|| format!("if{oif}"), |name| name.label()));
    let destination = match route.dst {
        Some(dst) => format!("{dst}/{}", route.dst_len),
        None => "default".to_owned(),
    };
    let kind = match route.route_type {
        1 => None,
        2 => Some("local".to_owned()),
        3 => Some("broadcast".to_owned()),
        5 => Some("multicast".to_owned()),
        6 => Some("blackhole".to_owned()),
        7 => Some("unreachable".to_owned()),
        8 => Some("prohibit".to_owned()),
        other => Some(format!("type {other}")),
    };
    let parts =
        [kind, route.prefsrc.map(|src| format!("src {src}")), route.priority.map(|metric| format!("metric {metric}"))];
    Route {
        destination,
        gateway: route.gateway.map(|gateway| gateway.to_string()),
        interface,
        table: route.table,
        detail: parts.into_iter().flatten().collect::<Vec<_>>().join(" "),
    }
}

/// As `ip rule` prints it.
fn rule(rule: &netlink::Rule) -> String {
    let name = |name: &bytes::Bytes| Text(name.clone()).label();
    let table = match rule.table {
        253 => "default".to_owned(),
        254 => "main".to_owned(),
        255 => "local".to_owned(),
        other => other.to_string(),
    };
    let action = match rule.action {
        1 => format!("lookup {table}"),
        6 => "blackhole".to_owned(),
        7 => "unreachable".to_owned(),
        8 => "prohibit".to_owned(),
        other => format!("action {other}"),
    };
    let parts = [
        Some(rule.src.map_or_else(|| "from all".to_owned(), |src| format!("from {src}/{}", rule.src_len))),
        rule.dst.map(|dst| format!("to {dst}/{}", rule.dst_len)),
        rule.fwmark.map(|mark| format!("fwmark {mark:#x}")),
        rule.iif.as_ref().map(|iif| format!("iif {}", name(iif))),
        rule.oif.as_ref().map(|oif| format!("oif {}", name(oif))),
        Some(action),
    ];
    format!("{}: {}", rule.priority, parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

impl Interface {
    /// Flags by name.
    pub fn flag_names(&self) -> String {
        names::IF_FLAGS.bits(Arch::default(), u64::from(self.flags))
    }
}
