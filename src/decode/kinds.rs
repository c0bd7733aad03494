//! What an image file is, by its name: kind, header, framing, message, payload.
//!
//! Names are matched as CRIU writes them (`core-<N>.img`, ids decimal, or hexadecimal in lower case for ghost files
//! and TCP streams). An id that overflows 64 bits matches nothing.

use std::sync::LazyLock;

use super::kinds_table::KINDS;

/// The first word of every image since CRIU 1.6.
pub const COMMON_MAGIC: u32 = 0x5456_4319;
/// The first word of statistics and caches since CRIU 1.6.
pub const SERVICE_MAGIC: u32 = 0x5510_5940;
/// Own magic of a kind whose magic is not known.
pub const ANY_MAGIC: u32 = 0;

/// One kind of image file.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// Our key, which is crit's where crit has one: `PSTREE`, `MNTS`.
    pub key: &'static str,
    /// The key that crit prints as `magic`: kinds that share a magic share it.
    pub crit_key: &'static str,
    /// Base name; `<N>` stands for a decimal number, `<X>` for a hexadecimal one, `<S>` for a word.
    pub pattern: &'static str,
    /// What comes before the records.
    pub head: Head,
    /// The kind's own magic; [`ANY_MAGIC`] for files without one.
    pub magic: u32,
    /// How records follow each other.
    pub framing: Framing,
    /// Message of the records, as `pstree_entry`; empty for raw files.
    pub entry: &'static str,
    /// What follows each record; for raw files: what the file is.
    pub payload: &'static [Step],
    /// Whether only releases before 3.4 wrote it.
    pub legacy: bool,
}

/// The words before the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// [`COMMON_MAGIC`], then the own magic; before 1.6 the own magic alone.
    Common,
    /// [`SERVICE_MAGIC`], then the own magic; before 1.6 the own magic alone.
    Service,
    /// The own magic alone, in every release.
    OwnOnly,
    /// Nothing.
    Raw,
}

/// How records follow each other. A record is a u32 count of bytes, then so many bytes of protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One record.
    Single,
    /// Records to the end of the file.
    Array,
    /// One `pagemap_head`, then records to the end of the file.
    HeadThenArray,
    /// A u64 count of bytes, then one message of that size.
    SizedMessage,
    /// A u64 count of bytes, then so many bytes.
    SizedBytes,
    /// No records.
    Raw,
}

/// One step of what follows a record. Numbers of fields are those of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// As many bytes as field `len` says, then up to a multiple of `pad_to`, counted from their start.
    Bytes {
        /// What the bytes are.
        name: &'static str,
        /// Field that holds the count.
        len: u32,
        /// Granularity.
        pad_to: u64,
        /// Condition.
        when: When,
    },
    /// As many 16-bit numbers as field `count` says.
    U16s {
        /// What the numbers are.
        name: &'static str,
        /// Field that holds the count.
        count: u32,
        /// Granularity in bytes.
        pad_to: u64,
    },
    /// As many framed records as field `count` says, each with its own steps.
    Repeat {
        /// Field that holds the count.
        count: u32,
        /// Message of the records.
        message: &'static str,
        /// Steps after each of them.
        then: &'static [Step],
    },
    /// Framed records to the end of the file, each with its own steps.
    RepeatToEnd {
        /// Message of the records.
        message: &'static str,
        /// Steps after each of them.
        then: &'static [Step],
        /// Condition.
        when: When,
    },
    /// Everything to the end of the file.
    Rest {
        /// What it is.
        name: &'static str,
        /// Condition.
        when: When,
    },
    /// Text to the end of the file.
    Text {
        /// What it is.
        name: &'static str,
    },
    /// A word that must be this.
    Magic(u32),
    /// Netlink messages to the end of the file, each starting at a multiple of `align`.
    Netlink {
        /// In bytes.
        align: u64,
    },
}

/// When a step applies. An absent field counts as false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// Only if this field is true.
    Set(u32),
    /// Only if this field is false or absent.
    NotSet(u32),
}

/// A kind with a header and records.
pub(super) const fn records(
    key: &'static str,
    pattern: &'static str,
    magic: u32,
    framing: Framing,
    entry: &'static str,
) -> Kind {
    Kind { key, crit_key: key, pattern, head: Head::Common, magic, framing, entry, payload: &[], legacy: false }
}

/// A kind without header and records.
pub(super) const fn raw(key: &'static str, pattern: &'static str, payload: &'static [Step]) -> Kind {
    records(key, pattern, ANY_MAGIC, Framing::Raw, "").head(Head::Raw).payload(payload)
}

/// A file of a plugin: no header.
pub(super) const fn plugin(key: &'static str, pattern: &'static str, framing: Framing, entry: &'static str) -> Kind {
    records(key, pattern, ANY_MAGIC, framing, entry).head(Head::Raw)
}

impl Kind {
    pub(super) const fn payload(mut self, payload: &'static [Step]) -> Kind {
        self.payload = payload;
        self
    }

    pub(super) const fn head(mut self, head: Head) -> Kind {
        self.head = head;
        self
    }

    pub(super) const fn crit(mut self, crit_key: &'static str) -> Kind {
        self.crit_key = crit_key;
        self
    }

    pub(super) const fn legacy(mut self) -> Kind {
        self.legacy = true;
        self
    }
}

/// A piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Text(&'static str),
    Decimal,
    Hex,
    Word,
}

static PATTERNS: LazyLock<Vec<(Vec<Piece>, &'static Kind)>> =
    LazyLock::new(|| KINDS.iter().map(|kind| (pieces(kind.pattern), kind)).collect());

fn pieces(pattern: &'static str) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('<') {
        out.push(Piece::Text(before));
        let (form, after) = after.split_once('>').unwrap_or((after, ""));
        out.push(match form {
            "N" => Piece::Decimal,
            "X" => Piece::Hex,
            _ => Piece::Word,
        });
        rest = after;
    }
    out.push(Piece::Text(rest));
    out
}

/// The kind of an image by the base name of its file, and the first number in the name.
pub fn kind_of(file_name: &str) -> Option<(&'static Kind, Option<u64>)> {
    PATTERNS.iter().find_map(|(pieces, kind)| matched(pieces, file_name).map(|id| (*kind, id)))
}

/// `None`: no match; `Some(None)`: a match without a number.
fn matched(pieces: &[Piece], name: &str) -> Option<Option<u64>> {
    let mut rest = name;
    let mut id = None;
    for piece in pieces {
        let number = match piece {
            Piece::Text(text) => {
                rest = rest.strip_prefix(text)?;
                continue;
            }
            Piece::Decimal => {
                let (digits, after) = leading(rest, |c| c.is_ascii_digit())?;
                rest = after;
                Some(digits.parse().ok()?)
            }
            Piece::Hex => {
                let (digits, after) = leading(rest, |c| matches!(c, '0'..='9' | 'a'..='f'))?;
                rest = after;
                Some(u64::from_str_radix(digits, 16).ok()?)
            }
            Piece::Word => {
                rest = leading(rest, |c| c.is_ascii_lowercase())?.1;
                None
            }
        };
        id = id.or(number);
    }
    rest.is_empty().then_some(id)
}

fn leading(text: &str, wanted: impl Fn(char) -> bool) -> Option<(&str, &str)> {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    let (taken, rest) = text.split_at_checked(end)?;
    (!taken.is_empty()).then_some((taken, rest))
}

/// The kind of an image by its own magic, for a file whose name says nothing.
pub fn kind_of_magic(magic: u32) -> Option<&'static Kind> {
    (magic != ANY_MAGIC).then(|| KINDS.iter().find(|kind| kind.magic == magic)).flatten()
}

/// The kind with this key.
pub fn kind(key: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<(&str, Option<u64>)>) {
        assert_eq!(kind_of(name).map(|(kind, id)| (kind.key, id)), expected, "{name}");
    }

    #[test]
    fn names_are_matched_whole() {
        check("pstree.img", Some(("PSTREE", None)));
        check("core-1.img", Some(("CORE", Some(1))));
        check("pagemap-shmem-35.img", Some(("SHMEM_PAGEMAP", Some(35))));
        check("netns-ct-9.img", Some(("NETNF_CT", Some(9))));
        check("netns-9.img", Some(("NETNS", Some(9))));
        check("ghost-file-1f.img", Some(("GHOST_FILE", Some(0x1f))));
        check("tmpfs-dev-47.tar.gz.img", Some(("TMPFS_DEV", Some(47))));
        check("stats-dump", Some(("STATS", None)));
        check("binfmt-misc.img", Some(("BINFMT_MISC", None)));
        check("binfmt-misc-2.img", Some(("BINFMT_MISC_OLD", Some(2))));
        check("cipher.img", Some(("CIPHER", None)));
        check("amdgpu-pages-7-1002.img", Some(("AMDGPU_PAGES", Some(7))));
        check("core-1.img.bak", None);
        check("xcore-1.img", None);
        check("core-.img", None);
    }

    #[test]
    fn numbers_in_names_are_checked() {
        check("core-007.img", Some(("CORE", Some(7))));
        check("core-18446744073709551615.img", Some(("CORE", Some(u64::MAX))));
        check("core-18446744073709551616.img", None);
        check("ghost-file-1F.img", None);
        check("core-+1.img", None);
    }

    #[test]
    fn the_table_holds_what_it_names() {
        for kind in &KINDS {
            let has_message = !kind.entry.is_empty();
            assert_eq!(has_message, super::super::schema::message(kind.entry).is_some(), "{}", kind.key);
            assert_eq!(
                kind.framing == Framing::Raw || kind.framing == Framing::SizedBytes,
                !has_message,
                "{}",
                kind.key
            );
        }
    }
}
