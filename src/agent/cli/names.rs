//! Names and addresses of this node, for its certificate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::agent::disk;

/// Most of /proc/net that is read.
const MAX_BYTES: u64 = 8 << 20;
/// A node with more addresses names those that it needs.
const MAX_ADDRESSES: usize = 32;

/// The host's name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Addresses of the node's interfaces, those of the link only left out.
pub(crate) fn addresses() -> Vec<String> {
    let read = |path: &str| {
        let bytes = disk::read_named(Path::new(path), MAX_BYTES).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let mut found = local_v4(&read("/proc/net/fib_trie"));
    found.extend(local_v6(&read("/proc/net/if_inet6")));
    found.sort();
    found.dedup();
    found.truncate(MAX_ADDRESSES);
    found.iter().map(ToString::to_string).collect()
}

/// In the kernel's table of routes, an address of this host is a line before `/32 host LOCAL`.
fn local_v4(fib_trie: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut address = None;
    for line in fib_trie.lines() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("|-- ") {
            address = text.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(address.map(IpAddr::V4));
        }
    }
    found
}

/// `ADDRESS INDEX LENGTH SCOPE FLAGS NAME`, the address as 32 hex digits; scope 20 is the link's.
fn local_v6(if_inet6: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let bits = u128::from_str_radix(words.next()?, 16).ok()?;
        (words.nth(2)? != "20").then(|| IpAddr::V6(Ipv6Addr::from_bits(bits)))
    };
    if_inet6.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_host_are_told_from_routes() {
        let trie = "Local:\n  +-- 0.0.0.0/0 2 0 2\n     |-- 10.0.0.0\n        /24 link UNICAST\n     |-- 10.0.0.7\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n";
        assert_eq!(local_v4(trie), [IpAddr::from([10, 0, 0, 7])]);
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\nfe800000000000000000000000000001 02 40 20 80     eth0\n20010db8000000000000000000000007 02 40 00 80     eth0\n";
        assert_eq!(local_v6(inet6), ["::1".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
        assert!(addresses().contains(&"127.0.0.1".to_owned()), "{:?}", addresses());
    }
}
