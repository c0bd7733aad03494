//! PAX records: the lines `LENGTH KEY=VALUE\n` that stand before a member and overrule its header.
//!
//! Source: POSIX.1-2024 `pax`, "pax Extended Header"; GNU tar manual, "Storing Sparse Files" for `GNU.sparse.*`; star(5)
//! for `SCHILY.xattr.*`.

use super::header::Header;
use super::member::Xattr;

/// What the records before one member say; what they do not say is `None` or empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    /// Of the GNU headers `L` and `K`, which stand for the same.
    pub(super) long_path: Option<Vec<u8>>,
    pub(super) long_link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Seconds and nanoseconds.
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: PaxSparse,
}

/// `GNU.sparse.*` in its three versions.
#[derive(Clone, Debug, Default)]
pub(super) struct PaxSparse {
    /// `name`: the real path (0.1, 1.0).
    pub(super) name: Option<Vec<u8>>,
    /// `size` (0.0, 0.1) or `realsize` (1.0): size with holes.
    pub(super) real_size: Option<u64>,
    /// Pairs of 0.0 (`offset`, `numbytes`) or 0.1 (`map`).
    pub(super) pairs: Option<Vec<(u64, u64)>>,
    /// 1.0: the map stands at the head of the content.
    pub(super) map_in_content: bool,
    offset: Option<u64>,
}

impl Pax {
    /// Takes over one record. `false`: the value makes no sense and is left out.
    fn apply(&mut self, key: &[u8], value: &[u8]) -> bool {
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => return set(&mut self.size, decimal(value)),
            b"mtime" => return set(&mut self.mtime, timestamp(value)),
            b"uid" => return set(&mut self.uid, decimal(value)),
            b"gid" => return set(&mut self.gid, decimal(value)),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => return set(&mut self.sparse.real_size, decimal(value)),
            b"GNU.sparse.major" => self.sparse.map_in_content = value == b"1",
            b"GNU.sparse.numblocks" => self.sparse.pairs.get_or_insert_default().clear(),
            b"GNU.sparse.offset" => return set(&mut self.sparse.offset, decimal(value)),
            b"GNU.sparse.numbytes" => match (self.sparse.offset.take(), decimal(value)) {
                (Some(offset), Some(len)) => self.sparse.pairs.get_or_insert_default().push((offset, len)),
                _ => return false,
            },
            b"GNU.sparse.map" => return set(&mut self.sparse.pairs, pairs_of_map(value)),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.push((name.into(), value.into()));
                }
            }
        }
        true
    }

    /// Takes over a block of records. On an error the records before it stand.
    ///
    /// # Errors
    /// A length that does not fit or a value that makes no sense, in words.
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<(), String> {
        let whole = records.len();
        let mut bad = None;
        loop {
            // Padding by zeros is not in the standard and seen.
            if records.iter().take(1).all(|byte| *byte == 0) {
                return bad.map_or(Ok(()), Err);
            }
            let Some((record, rest)) = split_record(records) else {
                let at = whole.saturating_sub(records.len());
                return Err(format!("record at byte {at} of the extended header has a length that does not fit"));
            };
            records = rest;
            let mut parts = record.splitn(2, |byte| *byte == b'=');
            let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if !self.apply(key, value) {
                bad = Some(format!("the value of {} makes no sense", crate::base::escape(key)));
            }
        }
    }

    /// The path that counts, of all that stand before and in the header.
    pub(super) fn raw_path(&self, header: &Header<'_>) -> Vec<u8> {
        let real = self.sparse.name.as_ref().filter(|_| self.sparse.is_used());
        real.or(self.path.as_ref()).or(self.long_path.as_ref()).cloned().unwrap_or_else(|| header.path())
    }

    /// What a global header may say about all members that follow. A path, a link, a size or attributes that hold
    /// for every member make no sense, and would let a small archive grow large in memory.
    pub(super) fn keep_global(&mut self) -> bool {
        let is_odd = self.path.take().is_some() | self.link.take().is_some() | self.size.take().is_some();
        let is_odd = is_odd | !self.xattrs.is_empty() | self.sparse.is_used();
        self.xattrs.clear();
        self.sparse = PaxSparse::default();
        !is_odd
    }
}

impl PaxSparse {
    pub(super) fn is_used(&self) -> bool {
        self.map_in_content || self.pairs.is_some()
    }
}

fn set<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_good = value.is_some();
    if is_good {
        *place = value;
    }
    is_good
}

/// `KEY=VALUE` of the first record, and what follows it.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = records.iter().take(20).position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(records.get(..space)?)?).ok()?;
    let (record, rest) = records.split_at_checked(len)?;
    let record = record.get(space.checked_add(1)?..)?.strip_suffix(b"\n")?;
    Some((record, rest))
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `-12.5` is 13 seconds before 1970 and half a second on.
fn timestamp(text: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: u32 = format!("{:0<9.9}", fraction).parse().ok()?;
    if whole.starts_with('-') && nanos != 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanos));
    }
    Some((seconds, nanos))
}

fn pairs_of_map(text: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut numbers = text.split(|byte| *byte == b',');
    let mut pairs = Vec::new();
    while let Some(offset) = numbers.next() {
        pairs.push((decimal(offset)?, decimal(numbers.next()?)?));
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_newlines_and_equal_signs_are_whole() {
        let mut pax = Pax::default();
        pax.read(b"12 path=a=b\n27 SCHILY.xattr.user.a=1\n2\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a=b"[..]));
        assert_eq!(pax.xattrs, [(b"user.a"[..].into(), b"1\n2"[..].into())]);
    }

    #[test]
    fn a_length_that_does_not_fit_keeps_the_records_before_it() {
        let mut pax = Pax::default();
        assert!(pax.read(b"8 uid=7\n999999 path=a\n").unwrap_err().contains("byte 8"));
        assert_eq!(pax.uid, Some(7));
        assert!(Pax::default().read(b"0 path=a\n").is_err());
        assert!(Pax::default().read(b"3 p\n").is_err());
    }

    #[test]
    fn times_before_1970_and_fractions_are_read() {
        assert_eq!(timestamp(b"12"), Some((12, 0)));
        assert_eq!(timestamp(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(timestamp(b"-12.5"), Some((-13, 500_000_000)));
        assert_eq!(timestamp(b"1.0000000019"), Some((1, 1)));
        assert_eq!(timestamp(b"1.x"), None);
        assert_eq!(timestamp(b""), None);
    }
}
