//! Addresses of sockets in memory, as programs hand them to the kernel.
//!
//! Two bytes say nothing, so every byte has to fit: padding is zero, a port is there, an address is one that is used, a
//! path is text. Addresses that say "any" count only with a port that a socket of the checkpoint has.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::base::{ByteOrder, VirtAddr, escape_controls};

use super::{Field, Structure};

/// Longest of them: `sockaddr_un`.
pub const SOCKADDR_BYTES: usize = 110;

const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Largest index of an interface that is believed.
const MAX_SCOPE: u32 = 1 << 16;

/// Fields of the addresses that begin in the first `len` bytes at an address; those behind may belong to one of them.
/// `ports` are those of the sockets of the checkpoint, sorted.
pub fn socket_addresses(bytes: &[Option<u8>], at: VirtAddr, len: usize, order: ByteOrder, ports: &[u16]) -> Vec<Field> {
    let mut out = Vec::new();
    let mut offset = usize::try_from(at.0.wrapping_neg() % 4).unwrap_or_default();
    while offset < len.min(bytes.len()) {
        let rest = bytes.get(offset..).unwrap_or_default();
        let rest = rest.get(..rest.len().min(SOCKADDR_BYTES)).unwrap_or_default();
        let taken = at.checked_add(offset as u64).and_then(|at| address_at(rest, at, order, ports, &mut out));
        offset += taken.map_or(4, |len| len.next_multiple_of(4));
    }
    out
}

/// Length of the address that begins here, if one does.
fn address_at(
    cells: &[Option<u8>],
    at: VirtAddr,
    order: ByteOrder,
    ports: &[u16],
    out: &mut Vec<Field>,
) -> Option<usize> {
    let family = two(cells, 0)?;
    let family = if order == ByteOrder::Big { u16::from_be_bytes(family) } else { u16::from_le_bytes(family) };
    match family {
        AF_INET => inet(cells, at, ports, out),
        AF_INET6 => inet6(cells, at, order, ports, out),
        AF_UNIX => unix(cells, at, out),
        _ => None,
    }
}

fn two(cells: &[Option<u8>], at: usize) -> Option<[u8; 2]> {
    some::<2>(cells, at)
}

fn some<const N: usize>(cells: &[Option<u8>], at: usize) -> Option<[u8; N]> {
    let mut out = [0; N];
    for (byte, cell) in out.iter_mut().zip(cells.get(at..at.checked_add(N)?)?) {
        *byte = (*cell)?;
    }
    Some(out)
}

struct Put<'a> {
    at: VirtAddr,
    structure: Structure,
    out: &'a mut Vec<Field>,
}

impl Put<'_> {
    fn field(&mut self, bytes: Range<u64>, name: &'static str, value: String) {
        let end = |offset| VirtAddr(self.at.0.saturating_add(offset));
        let range = end(bytes.start)..end(bytes.end);
        self.out.push(Field { range, structure: self.structure, name, value, target: None });
    }
}

fn inet(cells: &[Option<u8>], at: VirtAddr, ports: &[u16], out: &mut Vec<Field>) -> Option<usize> {
    let port = u16::from_be_bytes(two(cells, 2)?);
    let addr = Ipv4Addr::from(some::<4>(cells, 4)?);
    let is_padded = some::<8>(cells, 8)? == [0; 8];
    let [first, ..] = addr.octets();
    let is_used = match first {
        0 => addr.is_unspecified() && ports.binary_search(&port).is_ok(),
        240..=255 => addr.is_broadcast(),
        _ => true,
    };
    if port == 0 || !is_padded || !is_used {
        return None;
    }
    let mut put = Put { at, structure: Structure::SockaddrIn, out };
    put.field(0..2, "sin_family", "AF_INET".into());
    put.field(2..4, "sin_port", port.to_string());
    put.field(4..8, "sin_addr", addr.to_string());
    put.field(8..16, "sin_zero", "0".into());
    Some(16)
}

fn inet6(cells: &[Option<u8>], at: VirtAddr, order: ByteOrder, ports: &[u16], out: &mut Vec<Field>) -> Option<usize> {
    let port = u16::from_be_bytes(two(cells, 2)?);
    let flow = u32::from_be_bytes(some::<4>(cells, 4)?);
    let addr = Ipv6Addr::from(some::<16>(cells, 8)?);
    let scope = some::<4>(cells, 24)?;
    let scope = if order == ByteOrder::Big { u32::from_be_bytes(scope) } else { u32::from_le_bytes(scope) };
    let segment = addr.segments()[0];
    let is_used = addr.is_loopback()
        || addr.to_ipv4_mapped().is_some()
        || (addr.is_unspecified() && ports.binary_search(&port).is_ok())
        || matches!(segment, 0x2000..=0x3fff | 0xfc00..=0xfdff | 0xfe80..=0xfebf | 0xff00..=0xff0f)
        || (segment == 0x64 && addr.segments()[1] == 0xff9b);
    if port == 0 || flow >= 1 << 28 || scope >= MAX_SCOPE || !is_used {
        return None;
    }
    let mut put = Put { at, structure: Structure::SockaddrIn6, out };
    put.field(0..2, "sin6_family", "AF_INET6".into());
    put.field(2..4, "sin6_port", port.to_string());
    put.field(4..8, "sin6_flowinfo", flow.to_string());
    put.field(8..24, "sin6_addr", addr.to_string());
    put.field(24..28, "sin6_scope_id", scope.to_string());
    Some(28)
}

fn unix(cells: &[Option<u8>], at: VirtAddr, out: &mut Vec<Field>) -> Option<usize> {
    let is_abstract = (*cells.get(2)?)? == 0;
    let from = if is_abstract { 3 } else { 2 };
    let mut path = Vec::new();
    let mut has_end = false;
    for cell in cells.get(from..)? {
        match (*cell)? {
            0 => {
                has_end = true;
                break;
            }
            byte @ 0x20..=0x7e => path.push(byte),
            _ => return None,
        }
    }
    // A path that fills all of it has no zero behind it.
    let is_whole = has_end || cells.len() == SOCKADDR_BYTES;
    let is_path = if is_abstract { path.len() >= 4 } else { path.len() >= 2 && path.starts_with(b"/") };
    if !is_whole || !is_path {
        return None;
    }
    let text = String::from_utf8_lossy(&path).into_owned();
    let value = format!("{}{}", if is_abstract { "@" } else { "" }, escape_controls(&text));
    let end = from + path.len();
    let mut put = Put { at, structure: Structure::SockaddrUn, out };
    put.field(0..2, "sun_family", "AF_UNIX".into());
    put.field(2..end as u64, "sun_path", value);
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in bytes, each structure on one line.
    fn found(bytes: &[u8], ports: &[u16]) -> Vec<String> {
        let cells: Vec<Option<u8>> = bytes.iter().map(|byte| Some(*byte)).collect();
        let fields = socket_addresses(&cells, VirtAddr(0x1000), cells.len(), ByteOrder::Little, ports);
        let mut lines: Vec<String> = Vec::new();
        for field in &fields {
            if field.name.ends_with("family") {
                lines.push(format!("{:#x} {}", field.range.start.0, field.value));
            } else if let Some(line) = lines.last_mut() {
                line.push_str(&format!(" {}", field.value));
            }
        }
        assert!(fields.windows(2).all(|pair| pair[0].range.end <= pair[1].range.start));
        lines
    }

    #[test]
    fn addresses_of_each_family_are_found_one_behind_the_other() {
        let mut bytes = vec![2, 0, 0x1f, 0x90, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([10, 0, 0, 80, 0, 0, 0, 0]);
        bytes.extend(Ipv6Addr::LOCALHOST.octets());
        bytes.extend([0; 4]);
        bytes.extend(b"\x01\0/run/a.sock\0");
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(b"\x01\0\0name\0");
        assert_eq!(
            found(&bytes, &[]),
            [
                "0x1000 AF_INET 8080 10.0.0.7 0",
                "0x1010 AF_INET6 80 0 ::1 0",
                "0x102c AF_UNIX /run/a.sock",
                "0x103c AF_UNIX @name"
            ]
        );
    }

    #[test]
    fn what_only_begins_like_one_is_none() {
        for bytes in [
            // Padding that is none, no port, an address that nobody has.
            &[2, 0, 0x1f, 0x90, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 1][..],
            &[2, 0, 0, 0, 10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0x1f, 0x90, 250, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            // Cut off, and words that are no path.
            &[2, 0, 0x1f, 0x90, 10, 0, 0, 7],
            b"\x01\0\0\0\0\0\0\0",
            b"\x01\0/",
            b"\x01\0/run/\xff\0",
            &[1, 0],
            &[10, 0, 0, 80, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        ] {
            assert_eq!(found(bytes, &[]), [""; 0], "{bytes:x?}");
        }
    }

    #[test]
    fn any_address_counts_with_a_port_that_is_known() {
        let bytes = [2, 0, 0x1f, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(found(&bytes, &[22, 8080]), ["0x1000 AF_INET 8080 0.0.0.0 0"]);
    }

    #[test]
    fn bytes_that_are_not_there_and_the_end_of_memory_are_no_address() {
        let mut cells = vec![Some(2), Some(0), Some(1), Some(1), Some(10), Some(0), Some(0), Some(7)];
        cells.extend([Some(0); 7]);
        cells.push(None);
        assert_eq!(socket_addresses(&cells, VirtAddr(0), 16, ByteOrder::Little, &[]), []);
        let all = vec![Some(0x41); 300];
        assert_eq!(socket_addresses(&all, VirtAddr(u64::MAX - 99), 300, ByteOrder::Little, &[]), []);
    }
}
