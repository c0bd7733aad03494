//! Where an agent listens, or the near end of a tunnel to it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::wire::DEFAULT_PORT;

/// A host and a port. Written `node-a:7443`, `[fd00::7]:7443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: String,
    port: u16,
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not the address of an agent; give HOST or HOST:PORT, as node-a:{DEFAULT_PORT}")]
pub struct NotAnAddress(String);

impl Address {
    /// Name or number, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether it is this machine: the near end of a tunnel.
    pub fn is_loopback(&self) -> bool {
        let as_number = self.host.parse::<std::net::IpAddr>();
        self.host.eq_ignore_ascii_case("localhost") || as_number.is_ok_and(|ip| ip.is_loopback())
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Address, NotAnAddress> {
        let wrong = || NotAnAddress(text.chars().take(100).collect());
        let plain = text.trim();
        let plain = plain.strip_prefix("https://").unwrap_or(plain).trim_end_matches('/');
        let (host, port) = if let Some(rest) = plain.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<Ipv6Addr>().map_err(|_not_a_number| wrong())?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(wrong)?) })
        } else if plain.parse::<Ipv6Addr>().is_ok() {
            (plain, None)
        } else {
            let (host, port) = plain.split_once(':').map_or((plain, None), |(host, port)| (host, Some(port)));
            let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            if host.is_empty() || host.len() > 253 || !host.chars().all(is_name) {
                return Err(wrong());
            }
            (host, port)
        };
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        Ok(Address { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl TryFrom<String> for Address {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Address, NotAnAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_spelling() {
        let check = |text: &str, read: &str| assert_eq!(text.parse::<Address>().unwrap().to_string(), read, "{text}");
        check("node-a", "node-a:7443");
        check("Node-A:9", "node-a:9");
        check("https://10.0.0.7:7443/", "10.0.0.7:7443");
        check("::1", "[::1]:7443");
        check("[fd00::7]:99", "[fd00::7]:99");
        for wrong in
            ["", ":1", "a:0", "a:65536", "a:+1", "a:1:2", "a b", "http://a", "a/b", "[::1", "[x]:1", "a@b", "a\n"]
        {
            let read = wrong.parse::<Address>();
            assert_eq!(read.is_err(), wrong != "a\n", "{wrong:?}");
        }
        assert!("localhost:1".parse::<Address>().unwrap().is_loopback());
        assert!("[::1]:1".parse::<Address>().unwrap().is_loopback());
        assert!(!"10.0.0.7".parse::<Address>().unwrap().is_loopback());
    }
}
