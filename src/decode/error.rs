//! What could not be decoded: image, offset, what, needed, found.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::base::{CursorError, Issue, Place};

/// Base name of an image file, as `pagemap-1.img`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImgName(Arc<str>);

impl ImgName {
    /// The base name of a path inside the evidence.
    pub fn new(path: &str) -> ImgName {
        ImgName(path.rsplit('/').next().unwrap_or(path).into())
    }
}

impl Deref for ImgName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImgName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ImgName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Something in an image that could not be decoded.
///
/// Shown as `pagemap-1.img+0xa: record body needs 9 bytes, 1 left`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{img}+{offset:#x}: {kind}")]
pub struct DecodeError {
    /// The image.
    pub img: ImgName,
    /// Offset in bytes from the start of the image.
    pub offset: u64,
    /// What is wrong there.
    pub kind: DecodeErrorKind,
}

/// What is wrong with some bytes of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The end comes too early.
    #[error("{what} needs {needed} bytes, {left} left")]
    Short {
        /// What was being read.
        what: &'static str,
        /// Bytes it needs.
        needed: u64,
        /// Bytes that are left.
        left: u64,
    },
    /// A record is longer than we believe.
    #[error("record of {len} bytes, at most {max} are read")]
    RecordTooLarge {
        /// Bytes it says it has.
        len: u64,
        /// The limit.
        max: u64,
    },
    /// More records than we read.
    #[error("more than {max} records, the rest is not read")]
    TooManyRecords {
        /// The limit.
        max: u64,
    },
    /// The file starts with another magic than its name says.
    #[error("magic is {found:#010x}, that of {key} is {expected:#010x}")]
    WrongMagic {
        /// The kind that the name says.
        key: &'static str,
        /// Its magic.
        expected: u32,
        /// What the file starts with.
        found: u32,
    },
    /// The file is of a kind that we do not know.
    #[error("unknown kind of image, magic {magic:#010x}")]
    UnknownKind {
        /// Its own magic.
        magic: u32,
    },
    /// The file holds other records than were asked for.
    #[error("holds {found}, not {wanted}")]
    WrongKind {
        /// Message that was asked for.
        wanted: &'static str,
        /// Message that is there.
        found: &'static str,
    },
    /// A record lacks a field that CRIU always writes; CRIU itself refuses such a record.
    #[error("record lacks {field}, which is always written")]
    MissingField {
        /// The field.
        field: FieldName,
    },
    /// A record is not well formed.
    #[error(transparent)]
    Wire(WireError),
    /// The protobuf decoder refuses what our own check let pass.
    #[error("record cannot be decoded: {0}")]
    Protobuf(prost::DecodeError),
    /// Bytes that belong to nothing.
    #[error("{len} bytes after the last record")]
    Trailing {
        /// How many.
        len: u64,
    },
    /// A netlink message that is too short or too long.
    #[error("netlink message of {len} bytes, {left} left")]
    NetlinkLength {
        /// Bytes it says it has.
        len: u32,
        /// Bytes that are left.
        left: u64,
    },
    /// A run of pages leaves the address space, or the pages file.
    #[error("run of {nr_pages} pages at {vaddr:#x} is too long")]
    RunTooLong {
        /// First address.
        vaddr: u64,
        /// Length in pages.
        nr_pages: u64,
    },
    /// A run of pages begins before the one before it ends.
    #[error("run of pages at {vaddr:#x} begins before {previous_end:#x}, where the one before it ends")]
    RunOutOfOrder {
        /// First address.
        vaddr: u64,
        /// End of the run before.
        previous_end: u64,
    },
    /// Sizes of compressed blocks that do not fit the run of pages.
    #[error("{blocks} compressed blocks of {pages_per_block} pages do not make {nr_pages} pages")]
    BlocksMismatch {
        /// Blocks that are listed.
        blocks: u64,
        /// Pages in each.
        pages_per_block: u32,
        /// Pages of the run.
        nr_pages: u64,
    },
    /// Runs of pages are described by fields that we do not know.
    #[error("entries have field {number}, which is newer than this program: pages may lie elsewhere than it thinks")]
    UnknownPageLayout {
        /// Number of the field.
        number: u32,
    },
    /// `cipher.img`: the dump is encrypted.
    #[error("the checkpoint is encrypted; only the owner of the private key can read it")]
    Encrypted,
    /// `inventory.img` names a version that we do not know.
    #[error("image version {version}, 1 to 3 are known")]
    UnknownImgVersion {
        /// The version.
        version: u32,
    },
    /// Records that are left out of a document.
    #[error("only the first {shown} records are in this document")]
    DocumentTooLarge {
        /// How many are in it.
        shown: u64,
    },
    /// Issues that were counted and not kept.
    #[error("{count} more issues of this image are not listed")]
    MoreIssues {
        /// How many.
        count: u64,
    },
}

/// A field of a message, shown as `fown_entry.pid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldName {
    /// The message.
    pub message: &'static str,
    /// The field.
    pub field: &'static str,
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.message, self.field)
    }
}

/// Why bytes are not a protobuf message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The message ends in the middle of something.
    #[error("message ends inside {what}")]
    Truncated {
        /// What it ends in.
        what: &'static str,
    },
    /// A number longer than ten bytes.
    #[error("number longer than 64 bits")]
    Overlong,
    /// A key with number 0 or an unknown wire type.
    #[error("impossible field key {key:#x}")]
    Key {
        /// The key.
        key: u64,
    },
    /// A field has another wire type than its declaration.
    #[error("{field} has wire type {found}")]
    WireType {
        /// The field.
        field: FieldName,
        /// Wire type that was found.
        found: u8,
    },
    /// More values than a record is read with.
    #[error("more than {max} values")]
    TooManyValues {
        /// The limit for one record.
        max: u64,
    },
    /// More values in this record and those before it than are left for the image.
    #[error("more than {max} values in this image, a record counted as 16 more; it is not decoded from here on")]
    TooManyValuesInAll {
        /// The limit for the image.
        max: u64,
    },
    /// Messages inside messages inside messages.
    #[error("messages are nested too deeply")]
    Nesting,
}

impl From<CursorError> for DecodeErrorKind {
    fn from(err: CursorError) -> DecodeErrorKind {
        DecodeErrorKind::Short { what: err.what, needed: err.needed, left: err.left }
    }
}

impl From<DecodeError> for Issue {
    fn from(err: DecodeError) -> Issue {
        Issue::new(Place::at(&*err.img, err.offset), err.kind.to_string())
    }
}

/// What was decoded, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decoded<T> {
    /// What was decoded; the good records when some are bad.
    pub value: T,
    /// What could not be decoded, in the order of the file.
    pub issues: Vec<DecodeError>,
    /// Fields that our schema does not have, as forks and newer releases write them.
    pub unknown: Vec<UnknownField>,
}

impl<T> Decoded<T> {
    /// Applies `f` to the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Decoded<U> {
        Decoded { value: f(self.value), issues: self.issues, unknown: self.unknown }
    }
}

/// A field that our schema does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownField {
    /// The message it was found in.
    pub message: &'static str,
    /// Its number.
    pub number: u32,
    /// Its wire type.
    pub wire_type: u8,
    /// How often it was found.
    pub count: u64,
}

/// Collects errors up to a limit, and counts the rest.
#[derive(Debug)]
pub(super) struct Issues {
    kept: Vec<DecodeError>,
    max: usize,
    more: u64,
}

impl Issues {
    pub(super) fn new(max: usize) -> Issues {
        Issues { kept: Vec::new(), max, more: 0 }
    }

    pub(super) fn push(&mut self, issue: DecodeError) {
        if self.kept.len() < self.max {
            self.kept.push(issue);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }

    pub(super) fn finish(mut self) -> Vec<DecodeError> {
        if let (Some(last), 1..) = (self.kept.last(), self.more) {
            let kind = DecodeErrorKind::MoreIssues { count: self.more };
            self.kept.push(DecodeError { img: last.img.clone(), offset: last.offset, kind });
        }
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_image_offset_needed_and_found() {
        let kind = DecodeErrorKind::Short { what: "record body", needed: 9, left: 1 };
        let err = DecodeError { img: ImgName::new("checkpoint/pagemap-1.img"), offset: 10, kind };
        assert_eq!(err.to_string(), "pagemap-1.img+0xa: record body needs 9 bytes, 1 left");
        assert_eq!(Issue::from(err).to_string(), "pagemap-1.img+0xa: record body needs 9 bytes, 1 left");
    }

    #[test]
    fn issues_beyond_the_limit_are_counted() {
        let mut issues = Issues::new(2);
        for offset in 0..5 {
            issues.push(DecodeError { img: ImgName::new("a"), offset, kind: DecodeErrorKind::Encrypted });
        }
        let kept = issues.finish();
        assert_eq!(kept.len(), 3);
        assert_eq!(kept[2].kind, DecodeErrorKind::MoreIssues { count: 3 });
    }
}
