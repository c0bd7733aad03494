//! The sealed network: one interface of the container leads to a sink that lives in the machine with it, and all addresses
//! are behind it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::Interface;
use crate::checkpoint::container::EngineNetwork;

/// For containers without an address of their own: what QEMU's own network would give.
const ADDRESS: Link = Link { own: IpAddr::V4(Ipv4Addr::new(10, 0, 2, 15)), prefix: 24, gateway: IpAddr::V4(GATEWAY) };
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// For those without one of IPv6: unique local ones.
const ADDRESS_6: Link = Link {
    own: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x5ea1, 0, 0, 0, 0, 0, 0xf)),
    prefix: 64,
    gateway: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x5ea1, 0, 0, 0, 0, 0, 2)),
};

/// What leads to the sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkPlan {
    /// Interface of the container.
    pub interface: String,
    /// Its hardware address, as it was.
    pub mac: Option<String>,
    /// Its addresses; of each kind there is one at least.
    pub links: Vec<Link>,
}

/// An address of the container, and the sink's on the same link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The container's.
    pub own: IpAddr,
    /// Length of the prefix.
    pub prefix: u8,
    /// The sink's: gateway and name server.
    pub gateway: IpAddr,
}

impl SinkPlan {
    /// The interface that the container had first takes the place, with its addresses.
    pub(super) fn make(interfaces: &[Interface], networks: &[EngineNetwork]) -> SinkPlan {
        let first = interfaces.first();
        let network = networks.first();
        let recorded = network.and_then(|network| network.gateway.as_ref()?.parse().ok());
        let addresses = first.map(|interface| interface.addresses.as_slice()).unwrap_or_default();
        let mut links: Vec<Link> = addresses.iter().filter_map(|address| link(address, recorded)).take(8).collect();
        for other in [ADDRESS, ADDRESS_6] {
            if !links.iter().any(|link| link.own.is_ipv4() == other.own.is_ipv4()) {
                links.push(other);
            }
        }
        SinkPlan {
            interface: first
                .map(|interface| interface.name.clone())
                .filter(|name| is_name(name))
                .unwrap_or_else(|| "eth0".to_owned()),
            mac: network.and_then(|network| network.mac.clone()).filter(|mac| is_mac(mac)),
            links,
        }
    }

    /// Addresses of the sink.
    pub fn gateways(&self) -> Vec<String> {
        let mut out: Vec<String> = self.links.iter().map(|link| link.gateway.to_string()).collect();
        out.dedup();
        out
    }

    /// What stands in for /etc/resolv.conf.
    pub(super) fn resolv_conf(&self) -> String {
        self.gateways().iter().map(|gateway| format!("nameserver {gateway}\n")).collect()
    }
}

/// The sink's address is the gateway that the engine recorded, where that is of the same kind; else a near one.
fn link(address: &str, recorded: Option<IpAddr>) -> Option<Link> {
    let (own, prefix) = address.split_once('/').unwrap_or((address, ""));
    let own: IpAddr = own.parse().ok()?;
    let most = if own.is_ipv4() { 32 } else { 128 };
    let prefix = if prefix.is_empty() { most } else { prefix.parse().ok().filter(|prefix| *prefix <= most)? };
    let is_usable =
        |gateway: &IpAddr| gateway.is_ipv4() == own.is_ipv4() && *gateway != own && !gateway.is_unspecified();
    let near = |last: u8| match own {
        IpAddr::V4(own) => {
            let [a, b, c, _] = own.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, last))
        }
        IpAddr::V6(own) => {
            let [a, b, c, d, e, f, g, _] = own.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, u16::from(last)))
        }
    };
    let gateway = recorded.into_iter().chain([near(1), near(2)]).find(is_usable)?;
    Some(Link { own, prefix, gateway })
}

/// What the kernel takes as a name of an interface, and nothing that could be more than a word.
fn is_name(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..16).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with(['-', '.'])
}

fn is_mac(text: &str) -> bool {
    text.len() == 17 && text.split(':').all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(addresses: &[&str], gateway: Option<&str>) -> SinkPlan {
        let addresses: Vec<String> = addresses.iter().map(|it| (*it).to_owned()).collect();
        let interface = Interface { name: "eth1".into(), addresses };
        let network = EngineNetwork {
            gateway: gateway.map(str::to_owned),
            mac: Some("0a:00:00:00:00:zz".into()),
            ..EngineNetwork::default()
        };
        SinkPlan::make(&[interface], &[network])
    }

    #[test]
    fn container_keeps_its_addresses_and_its_gateway() {
        let sink = plan(&["10.88.0.7/16"], Some("10.88.0.1"));
        assert_eq!((sink.interface.as_str(), sink.mac.as_deref()), ("eth1", None));
        assert_eq!(sink.gateways(), ["10.88.0.1", "fd00:5ea1::2"]);
        assert_eq!(sink.resolv_conf(), "nameserver 10.88.0.1\nnameserver fd00:5ea1::2\n");
        assert_eq!(plan(&["10.1.2.1/24", "fd00::9/64"], None).gateways(), ["10.1.2.2", "fd00::1"]);
    }

    #[test]
    fn without_addresses_or_with_nonsense_there_are_ours() {
        for addresses in [&[][..], &["x"], &["10.0.0.1/99"], &["/"]] {
            assert_eq!(plan(addresses, Some("nonsense")).gateways(), ["10.0.2.2", "fd00:5ea1::2"], "{addresses:?}");
        }
        assert_eq!(SinkPlan::make(&[], &[]).interface, "eth0");
    }
}
