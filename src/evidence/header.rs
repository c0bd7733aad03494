//! One 512-byte header of a tar archive: v7, ustar, or GNU.
//!
//! Source: POSIX.1-2024 `pax`, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use tar::Header as Layout;

use super::sparse_map::Pairs;

/// Headers and the padding of contents come in blocks of this size.
pub(super) const BLOCK: u64 = 512;
pub(super) type Block = [u8; BLOCK as usize];

/// The size up to the next block.
pub(super) fn padded(size: u64) -> Option<u64> {
    size.checked_next_multiple_of(BLOCK)
}

/// A view of a header block that makes no promise about it.
#[derive(Clone, Copy)]
pub(super) struct Header<'a> {
    block: &'a Block,
    layout: &'a Layout,
}

/// Which fields a header has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// No magic: name, mode, owner, size, time, type, link.
    V7,
    /// `ustar\0`: also devices and a prefix of the name. PAX is this with records before it.
    Ustar,
    /// `ustar  `: also devices, and the map of sparse files where ustar has the prefix.
    Gnu,
}

impl<'a> Header<'a> {
    pub(super) fn new(block: &'a Block) -> Header<'a> {
        Header { block, layout: Layout::from_byte_slice(block) }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.block.iter().all(|byte| *byte == 0)
    }

    pub(super) fn flavour(&self) -> Flavour {
        match self.block.get(257..265) {
            Some(b"ustar  \0") => Flavour::Gnu,
            Some([b'u', b's', b't', b'a', b'r', ..]) => Flavour::Ustar,
            _ => Flavour::V7,
        }
    }

    /// The sum that the header states, and the one that its bytes have.
    pub(super) fn checksums(&self) -> (Option<u64>, u64) {
        let stated = number(&self.layout.as_old().cksum).and_then(|sum| u64::try_from(sum).ok());
        // The field counts as eight spaces.
        let sum: u64 = self.block.iter().map(|byte| u64::from(*byte)).sum();
        let field: u64 = self.layout.as_old().cksum.iter().map(|byte| u64::from(*byte)).sum();
        (stated, sum - field + 8 * 32)
    }

    pub(super) fn has_valid_checksum(&self) -> bool {
        let (stated, sum) = self.checksums();
        if stated == Some(sum) {
            return true;
        }
        // Some old writers summed signed bytes: 256 less for every byte from 0x80 on.
        let cksum = &self.layout.as_old().cksum;
        let high = self.block.iter().filter(|byte| **byte >= 0x80).count();
        let high = high - cksum.iter().filter(|byte| **byte >= 0x80).count();
        high != 0 && stated.is_some_and(|stated| stated == sum.wrapping_sub(256 * high as u64))
    }

    /// A block that can only be a header: magic and checksum.
    pub(super) fn is_certain(&self) -> bool {
        self.flavour() != Flavour::V7 && self.has_valid_checksum()
    }

    /// A block that may start an archive of any age.
    pub(super) fn is_plausible(&self) -> bool {
        self.has_valid_checksum() && (self.flavour() != Flavour::V7 || self.looks_like_v7())
    }

    /// Zeros have the checksum 256 and text may have any: v7 has no magic, so its fields must all make sense.
    fn looks_like_v7(&self) -> bool {
        let old = self.layout.as_old();
        old.name[0] != 0
            && [&old.mode[..], &old.uid, &old.gid, &old.size, &old.mtime].iter().all(|field| number(field).is_some())
            && matches!(self.type_letter(), 0 | b'0'..=b'2')
    }

    pub(super) fn type_letter(&self) -> u8 {
        self.layout.as_old().linkflag[0]
    }

    /// Prefix and name joined, as written.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = until_nul(&self.layout.as_old().name);
        match self.flavour() {
            Flavour::Ustar => {
                let prefix = self.layout.as_ustar().map(|ustar| until_nul(&ustar.prefix)).unwrap_or_default();
                super::member::join(prefix, name)
            }
            _ => name.to_vec(),
        }
    }

    pub(super) fn link(&self) -> &'a [u8] {
        until_nul(&self.layout.as_old().linkname)
    }

    /// Size of what follows in the archive; an error is the field's text.
    pub(super) fn size(&self) -> Option<u64> {
        number(&self.layout.as_old().size).and_then(|size| u64::try_from(size).ok())
    }

    pub(super) fn mode(&self) -> Option<u32> {
        number(&self.layout.as_old().mode).and_then(|mode| u32::try_from(mode & 0o7777).ok())
    }

    pub(super) fn uid(&self) -> Option<u64> {
        number(&self.layout.as_old().uid).and_then(|uid| u64::try_from(uid).ok())
    }

    pub(super) fn gid(&self) -> Option<u64> {
        number(&self.layout.as_old().gid).and_then(|gid| u64::try_from(gid).ok())
    }

    /// `None` where the field is empty or makes no sense.
    pub(super) fn mtime(&self) -> Option<i64> {
        let field = &self.layout.as_old().mtime;
        if field.iter().all(|byte| matches!(byte, 0 | b' ')) {
            return None;
        }
        number(field).and_then(|mtime| i64::try_from(mtime).ok())
    }

    /// Major and minor number.
    pub(super) fn device(&self) -> (u32, u32) {
        let (major, minor) = match (self.flavour(), self.layout.as_ustar(), self.layout.as_gnu()) {
            (Flavour::Ustar, Some(ustar), _) => (number(&ustar.dev_major), number(&ustar.dev_minor)),
            (Flavour::Gnu, _, Some(gnu)) => (number(&gnu.dev_major), number(&gnu.dev_minor)),
            _ => (None, None),
        };
        let narrow = |number: Option<i128>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        (narrow(major), narrow(minor))
    }

    /// Of an old GNU sparse member: its real size and the first pairs of its map (offset, length).
    pub(super) fn gnu_sparse(&self) -> Option<(u64, Pairs)> {
        let gnu = self.layout.as_gnu()?;
        let real_size = u64::try_from(number(&gnu.realsize)?).ok()?;
        let mut pairs = Vec::new();
        for pair in &gnu.sparse {
            push_pair(&mut pairs, &pair.offset, &pair.numbytes)?;
        }
        Some((real_size, pairs))
    }

    /// Whether blocks with more pairs follow.
    pub(super) fn has_gnu_sparse_extension(&self) -> bool {
        self.layout.as_gnu().is_some_and(|gnu| gnu.isextended[0] != 0)
    }
}

/// A block of more pairs of a GNU sparse map: 21 of them, then whether another block follows.
pub(super) fn gnu_sparse_extension(block: &Block, pairs: &mut Pairs) -> Option<bool> {
    let (entries, rest) = block.split_at_checked(21 * 24)?;
    for entry in entries.chunks_exact(24) {
        let (offset, len) = entry.split_at_checked(12)?;
        push_pair(pairs, offset, len)?;
    }
    rest.first().map(|flag| *flag != 0)
}

/// An unused pair is all zeros.
fn push_pair(pairs: &mut Pairs, offset: &[u8], len: &[u8]) -> Option<()> {
    if offset.first() == Some(&0) && len.first() == Some(&0) {
        return Some(());
    }
    let offset = u64::try_from(number(offset)?).ok()?;
    let len = u64::try_from(number(len)?).ok()?;
    pairs.push((offset, len));
    Some(())
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A number field: octal digits between spaces and zeros, or, with the top bit set, two's complement big-endian
/// ("base-256", GNU and star). An empty field is 0. `None` for anything else.
fn number(field: &[u8]) -> Option<i128> {
    match field.split_first()? {
        (first @ 0x80.., rest) => {
            if 12 < field.len() {
                return None;
            }
            // Bit 7 says that it is binary, bit 6 is the sign.
            let start = if first & 0x40 == 0 { i128::from(first & 0x3f) } else { i128::from(first & 0x3f) - 0x40 };
            Some(rest.iter().fold(start, |sum, byte| (sum << 8) | i128::from(*byte)))
        }
        _ => {
            let start = field.iter().position(|byte| *byte != b' ').unwrap_or(field.len());
            let digits = field.get(start..)?;
            let end = digits.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(digits.len());
            let (digits, tail) = digits.split_at_checked(end)?;
            if !tail.iter().all(|byte| matches!(byte, 0 | b' ')) {
                return None;
            }
            digits.iter().try_fold(0_i128, |sum, digit| match digit {
                b'0'..=b'7' => Some((sum << 3) | i128::from(digit - b'0')),
                _ => None,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary_of_both_signs() {
        let check = |field: &[u8], expected: Option<i128>| assert_eq!(number(field), expected, "{field:?}");
        check(b"0000644\0", Some(0o644));
        check(b"   644 \0", Some(0o644));
        check(b"\0\0\0\0\0\0\0\0", Some(0));
        check(b"00000000000 ", Some(0));
        check(b"777777777777", Some(0o777_777_777_777));
        check(b"0000648\0", None);
        check(b"64\0x\0\0\0\0", None);
        check(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0], Some(8 << 30));
        check(&[0xff; 12], Some(-1));
        check(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Some((1 << 94) - 1));
    }
}
