//! What the bytes at an address may mean: the data inspector.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::base::{ByteOrder, escape_controls};

/// Most bytes that a reading looks at: `sockaddr_un`.
pub const MAX_BYTES: usize = 128;

/// How many of the readings, from the first on, are numbers.
pub const NUMBERS: usize = 12;

/// One reading of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Which type.
    pub label: &'static str,
    /// What the type is, for a tooltip.
    pub help: &'static str,
    /// What it says; `None` when that makes no sense or too few bytes are there.
    pub text: Option<String>,
}

/// Every reading of `bytes`, in the order they are shown.
pub fn readings(bytes: &[u8], order: ByteOrder) -> Vec<Reading> {
    let at = Bytes { bytes, order };
    let row = |label, help, text| Reading { label, help, text };
    let binary = |byte: u8| format!("{:04b} {:04b}", byte >> 4, byte & 15);
    vec![
        row("hex", "Eight bytes as one number", at.u64().map(|value| format!("{value:#018x}"))),
        row("binary", "The byte under the cursor, bit 7 first", at.u8().map(binary)),
        row("u8", "Unsigned, 8 bits", at.u8().map(|value| value.to_string())),
        row("i8", "Signed, 8 bits", at.u8().map(|value| value.cast_signed().to_string())),
        row("u16", "Unsigned, 16 bits", at.u16().map(|value| value.to_string())),
        row("i16", "Signed, 16 bits", at.u16().map(|value| value.cast_signed().to_string())),
        row("u32", "Unsigned, 32 bits", at.u32().map(|value| value.to_string())),
        row("i32", "Signed, 32 bits", at.u32().map(|value| value.cast_signed().to_string())),
        row("u64", "Unsigned, 64 bits", at.u64().map(|value| value.to_string())),
        row("i64", "Signed, 64 bits", at.u64().map(|value| value.cast_signed().to_string())),
        row("f32", "IEEE 754, 32 bits", at.u32().map(|value| format!("{:?}", f32::from_bits(value)))),
        row("f64", "IEEE 754, 64 bits", at.u64().map(|value| format!("{:?}", f64::from_bits(value)))),
        row("UTF-8", "The character that begins here", character(bytes)),
        row(
            "time 32",
            "Seconds since 1970 in 32 bits, UTC",
            at.u32().and_then(|value| time(i64::from(value.cast_signed()))),
        ),
        row("time 64", "Seconds since 1970 in 64 bits, UTC", at.u64().and_then(|value| time(value.cast_signed()))),
        row("IPv4", "Four bytes in network order", first::<4>(bytes).map(|octets| Ipv4Addr::from(octets).to_string())),
        row("sockaddr", "Address family, then port and address or path", sockaddr(&at)),
        row("uuid", "16 bytes; of little endian the first three fields are numbers, as in a GUID", uuid(&at)),
    ]
}

struct Bytes<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl Bytes<'_> {
    fn u8(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    fn u16(&self) -> Option<u16> {
        let bytes = first(self.bytes)?;
        Some(if self.order == ByteOrder::Big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self) -> Option<u32> {
        let bytes = first(self.bytes)?;
        Some(if self.order == ByteOrder::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn u64(&self) -> Option<u64> {
        let bytes = first(self.bytes)?;
        Some(if self.order == ByteOrder::Big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }
}

fn first<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk::<N>().copied()
}

fn time(seconds: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(seconds).ok()?;
    Some(time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

fn character(bytes: &[u8]) -> Option<String> {
    let part = bytes.get(..bytes.len().min(4))?;
    let valid = match std::str::from_utf8(part) {
        Ok(text) => text,
        Err(err) => std::str::from_utf8(part.get(..err.valid_up_to())?).ok()?,
    };
    let c = valid.chars().next()?;
    Some(format!("{}  U+{:04X}", escape_controls(&c.to_string()), u32::from(c)))
}

/// The family is in the machine's order, port and address are in network order.
fn sockaddr(at: &Bytes<'_>) -> Option<String> {
    let port = || at.bytes.get(2..4)?.try_into().ok().map(u16::from_be_bytes);
    match at.u16()? {
        1 => {
            let path = at.bytes.get(2..at.bytes.len().min(110))?;
            let (path, is_abstract) = match path.split_first() {
                Some((0, rest)) => (rest, true),
                _ => (path, false),
            };
            let path = path.split(|byte| *byte == 0).next().filter(|path| !path.is_empty())?;
            let path = std::str::from_utf8(path).ok()?;
            Some(format!("AF_UNIX {}{}", if is_abstract { "@" } else { "" }, escape_controls(path)))
        }
        2 => {
            let octets: [u8; 4] = at.bytes.get(4..8)?.try_into().ok()?;
            Some(format!("AF_INET {}:{}", Ipv4Addr::from(octets), port()?))
        }
        10 => {
            let octets: [u8; 16] = at.bytes.get(8..24)?.try_into().ok()?;
            Some(format!("AF_INET6 [{}]:{}", Ipv6Addr::from(octets), port()?))
        }
        16 => {
            let pid: [u8; 4] = at.bytes.get(4..8)?.try_into().ok()?;
            let pid = if at.order == ByteOrder::Big { u32::from_be_bytes(pid) } else { u32::from_le_bytes(pid) };
            let is_padded = at.bytes.get(2..4)? == [0, 0];
            is_padded.then(|| format!("AF_NETLINK port {pid}"))
        }
        _ => None,
    }
}

fn uuid(at: &Bytes<'_>) -> Option<String> {
    let mut bytes: [u8; 16] = first(at.bytes)?;
    if at.order == ByteOrder::Little {
        for field in [0..4, 4..6, 6..8] {
            bytes.get_mut(field)?.reverse();
        }
    }
    let digits = crate::base::hex(&bytes);
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    Some(format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], order: ByteOrder, label: &str) -> Option<String> {
        readings(bytes, order).into_iter().find(|reading| reading.label == label).unwrap().text
    }

    #[test]
    fn numbers_follow_the_byte_order() {
        let bytes = [0xfe, 0xff, 0xff, 0xff, 0, 0, 0, 0x80];
        for (label, little, big) in [
            ("u8", "254", "254"),
            ("i8", "-2", "-2"),
            ("u16", "65534", "65279"),
            ("i16", "-2", "-257"),
            ("i32", "-2", "-16777217"),
            ("u64", "9223372041149743102", "18374686475376656512"),
            ("hex", "0x80000000fffffffe", "0xfeffffff00000080"),
        ] {
            assert_eq!(text(&bytes, ByteOrder::Little, label).as_deref(), Some(little), "{label}");
            assert_eq!(text(&bytes, ByteOrder::Big, label).as_deref(), Some(big), "{label}");
        }
        assert_eq!(text(&1.5f64.to_le_bytes(), ByteOrder::Little, "f64").as_deref(), Some("1.5"));
        assert_eq!(text(&[0xa5], ByteOrder::Little, "binary").as_deref(), Some("1010 0101"));
    }

    #[test]
    fn numbers_come_first() {
        let all = readings(&[0; 16], ByteOrder::Little);
        assert_eq!((all[NUMBERS - 1].label, all[NUMBERS].label), ("f64", "UTF-8"));
    }

    #[test]
    fn too_few_bytes_have_no_reading() {
        assert_eq!(text(&[1, 2, 3], ByteOrder::Little, "u32"), None);
        assert_eq!(text(&[], ByteOrder::Little, "u8"), None);
        assert_eq!(text(&[0xe2, 0x82], ByteOrder::Little, "UTF-8"), None);
    }

    #[test]
    fn times_characters_and_uuids_are_read() {
        let time = 1_700_000_000u64.to_le_bytes();
        assert_eq!(text(&time, ByteOrder::Little, "time 32").as_deref(), Some("2023-11-14 22:13:20"));
        assert_eq!(text(&time, ByteOrder::Little, "time 64").as_deref(), Some("2023-11-14 22:13:20"));
        assert_eq!(text(&[0xff; 8], ByteOrder::Little, "time 32").as_deref(), Some("1969-12-31 23:59:59"));
        assert_eq!(text(&(i64::MAX as u64).to_le_bytes(), ByteOrder::Little, "time 64"), None);
        assert_eq!(text("€x".as_bytes(), ByteOrder::Little, "UTF-8").as_deref(), Some("€  U+20AC"));
        assert_eq!(text(b"\n", ByteOrder::Little, "UTF-8").as_deref(), Some("\\n  U+000A"));
        let bytes: Vec<u8> = (0..16).collect();
        let (little, big) = (text(&bytes, ByteOrder::Little, "uuid"), text(&bytes, ByteOrder::Big, "uuid"));
        assert_eq!(little.as_deref(), Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
        assert_eq!(big.as_deref(), Some("00010203-0405-0607-0809-0a0b0c0d0e0f"));
    }

    #[test]
    fn socket_addresses_of_the_kernel_are_read() {
        let inet = [2, 0, 0x1f, 0x90, 10, 0, 0, 7];
        assert_eq!(text(&inet, ByteOrder::Little, "sockaddr").as_deref(), Some("AF_INET 10.0.0.7:8080"));
        assert_eq!(text(&inet, ByteOrder::Big, "sockaddr"), None);
        let mut inet6 = vec![10, 0, 0, 80, 0, 0, 0, 0];
        inet6.extend(Ipv6Addr::LOCALHOST.octets());
        assert_eq!(text(&inet6, ByteOrder::Little, "sockaddr").as_deref(), Some("AF_INET6 [::1]:80"));
        assert_eq!(
            text(b"\x01\0/run/a.sock\0zz", ByteOrder::Little, "sockaddr").as_deref(),
            Some("AF_UNIX /run/a.sock")
        );
        assert_eq!(text(b"\x01\0\0abc\0", ByteOrder::Little, "sockaddr").as_deref(), Some("AF_UNIX @abc"));
        assert_eq!(text(&[127, 0, 0, 1], ByteOrder::Little, "IPv4").as_deref(), Some("127.0.0.1"));
    }
}
