//! Packets of the sealed network in the shape of tcpdump's files: what the guest sends is checked record by record, and
//! written under a header of our own.
//!
//! ```text
//! header   magic a1b2c3d4, version 2.4, 0, 0, longest packet, link type 1 (Ethernet); all little-endian
//! record   seconds u32, microseconds u32, bytes here u32, bytes on the wire u32, and the bytes
//! ```
//! Source: the pcap file format (`draft-ietf-opsawg-pcap`).

use std::io::{self, Write};

/// Longest packet.
pub const MAX_PACKET: u32 = 65_535;
/// Most bytes of a run's packets.
pub const MAX_BYTES: u64 = 256 << 20;
/// Bytes of records that one message holds.
pub const MAX_MESSAGE: usize = 96 << 10;
/// Bytes of a record before its packet.
const RECORD: usize = 16;

/// Writes the header of a file.
///
/// # Errors
/// Those of `out`.
pub fn header(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0])?;
    out.write_all(&[0; 8])?;
    out.write_all(&MAX_PACKET.to_le_bytes())?;
    out.write_all(&1u32.to_le_bytes())
}

/// Adds one packet to `records`.
pub fn push(records: &mut Vec<u8>, time_us: u64, packet: &[u8]) {
    let kept = packet.get(..MAX_PACKET as usize).unwrap_or(packet);
    let word = |value: u64| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    records.extend(word(time_us / 1_000_000));
    records.extend(word(time_us % 1_000_000));
    records.extend(word(kept.len() as u64));
    records.extend(word(packet.len() as u64));
    records.extend_from_slice(kept);
}

/// Records that are whole, at the front of `records`: bytes and number. What follows makes no sense.
pub fn checked(records: &[u8]) -> (&[u8], u64) {
    let (mut at, mut count) = (0, 0);
    let word = |at: usize| Some(u32::from_le_bytes(*records.get(at..)?.first_chunk()?));
    while let (Some(micros), Some(here), Some(wire)) = (word(at + 4), word(at + 8), word(at + 12)) {
        let end = at.saturating_add(RECORD).saturating_add(here as usize);
        if here > MAX_PACKET || here > wire || micros >= 1_000_000 || end > records.len() {
            break;
        }
        at = end;
        count += 1;
    }
    (records.get(..at).unwrap_or_default(), count)
}

/// RFC 4648, with padding.
pub fn to_base64(bytes: &[u8]) -> String {
    super::handover::auth::base64(bytes)
}

/// RFC 4648, with padding; `None` for what is not that.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(u32::from(letter - b'A')),
        b'a'..=b'z' => Some(u32::from(letter - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(letter - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let bytes = text.as_bytes();
    let (body, nr_padding) = match bytes {
        [body @ .., b'=', b'='] => (body, 2),
        [body @ .., b'='] => (body, 1),
        body => (body, 0),
    };
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let mut out = Vec::with_capacity(bytes.len() / 4 * 3);
    for group in body.chunks(4) {
        let mut bits = 0;
        for at in 0..4 {
            bits = bits << 6 | group.get(at).map_or(Some(0), |letter| value(*letter))?;
        }
        out.extend_from_slice(bits.to_be_bytes().get(1..)?);
    }
    out.truncate(out.len().saturating_sub(nr_padding));
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_what_makes_no_sense_is_left_out() {
        let mut records = Vec::new();
        push(&mut records, 1_500_000, b"one");
        push(&mut records, 2_000_001, b"");
        assert_eq!(checked(&records), (records.as_slice(), 2));
        let whole = records.len();
        push(&mut records, 3, &[7; 100]);
        for cut in whole..records.len() {
            assert_eq!(checked(&records[..cut]), (&records[..whole], 2), "{cut}");
        }
        records[whole + 8..whole + 12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(checked(&records).1, 2);
        let mut long = Vec::new();
        push(&mut long, 0, &vec![0; 70_000]);
        assert_eq!(checked(&long).1, 1);
        assert_eq!(long.len(), 16 + 65_535);
    }

    #[test]
    fn base64_goes_both_ways_and_other_text_is_refused() {
        for bytes in [&b""[..], b"f", b"fo", b"foo", b"\xff\x00\xfe\x80"] {
            assert_eq!(from_base64(&to_base64(bytes)).as_deref(), Some(bytes));
        }
        for other in ["a", "abc", "====", "a===", "Zm9*", "é123"] {
            assert_eq!(from_base64(other), None, "{other}");
        }
    }
}
