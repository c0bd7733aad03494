//! What follows a record: bytes of a pipe, packets, queues, chunks of a ghost file, messages.
//!
//! The steps are in the table of kinds. Everything found is a slice of the image with its offset; a length that goes
//! beyond the end gives what is there, and an issue.

use bytes::Bytes;

use crate::base::{ByteOrder, Cursor, Limits};

use super::error::DecodeErrorKind;
use super::img;
use super::kinds::{Step, When};
use super::wire;

/// A piece of what follows a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is: `data`, `inq`, `outq`, `keys`, `values`, or a message's name.
    pub name: &'static str,
    /// Offset of its first byte in the image.
    pub offset: u64,
    /// The piece.
    pub content: Content,
}

/// Form of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Bytes.
    Bytes(Bytes),
    /// 16-bit numbers in the byte order of the dumping machine.
    U16s(Bytes),
    /// Text for people, as a tool wrote it.
    Text(Bytes),
    /// Netlink messages, each starting at a multiple of `align`.
    Netlink {
        /// All of them.
        bytes: Bytes,
        /// In bytes.
        align: u64,
    },
    /// Another record with what follows it; `name` is its message.
    Record {
        /// Its protobuf bytes.
        body: Bytes,
        /// What follows it.
        parts: Vec<Part>,
    },
}

impl Content {
    /// The bytes, whatever their form; of a record its protobuf bytes.
    pub fn bytes(&self) -> &Bytes {
        match self {
            Content::Bytes(bytes) | Content::U16s(bytes) | Content::Text(bytes) => bytes,
            Content::Netlink { bytes, .. } => bytes,
            Content::Record { body, .. } => body,
        }
    }
}

/// The first piece of that name.
pub fn part<'a>(parts: &'a [Part], name: &str) -> Option<&'a Part> {
    parts.iter().find(|part| part.name == name)
}

/// 16-bit numbers in the byte order of the dumping machine; an odd byte at the end is left out.
pub fn u16s(bytes: &[u8], order: ByteOrder) -> Vec<u16> {
    let (pairs, _) = bytes.as_chunks::<2>();
    pairs
        .iter()
        .map(|&pair| match order {
            ByteOrder::Little => u16::from_le_bytes(pair),
            ByteOrder::Big => u16::from_be_bytes(pair),
        })
        .collect()
}

/// Evaluates steps.
#[derive(Debug)]
pub(super) struct Reader<'a, 'b> {
    pub(super) bytes: &'b Bytes,
    pub(super) cursor: &'b mut Cursor<'a>,
    pub(super) limits: &'b Limits,
    /// Records that may still be read from this image.
    pub(super) left: usize,
}

type Failure = (u64, DecodeErrorKind);

impl Reader<'_, '_> {
    /// Follows the steps after a record, and adds what it finds to `parts`.
    ///
    /// # Errors
    /// A length that goes beyond the end, or is beyond the limits; what was found before is in `parts`.
    pub(super) fn steps(&mut self, steps: &[Step], record: &Bytes, parts: &mut Vec<Part>) -> Result<(), Failure> {
        for step in steps {
            self.step(step, record, parts)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, record: &Bytes, parts: &mut Vec<Part>) -> Result<(), Failure> {
        match *step {
            Step::Bytes { name, len, pad_to, when } if holds(when, record) => {
                let len = wire::number(record, len).unwrap_or(0);
                self.sized(name, len, pad_to, Content::Bytes, parts)
            }
            Step::U16s { name, count, pad_to } => {
                let len = wire::number(record, count).unwrap_or(0).saturating_mul(2);
                self.sized(name, len, pad_to, Content::U16s, parts)
            }
            Step::Repeat { count, message, then } => {
                for _ in 0..wire::number(record, count).unwrap_or(0) {
                    self.framed(message, then, parts)?;
                }
                Ok(())
            }
            Step::RepeatToEnd { message, then, when } if holds(when, record) => {
                while !self.cursor.is_empty() {
                    self.framed(message, then, parts)?;
                }
                Ok(())
            }
            Step::Rest { name, when } if holds(when, record) => {
                let left = self.cursor.left();
                if 0 < left {
                    self.sized(name, left, 1, Content::Bytes, parts)?;
                }
                Ok(())
            }
            Step::Text { name } => self.sized(name, self.cursor.left(), 1, Content::Text, parts),
            Step::Magic(expected) => {
                let offset = self.cursor.offset();
                let found = self.cursor.u32("magic").map_err(|err| (offset, err.into()))?;
                if found == expected {
                    return Ok(());
                }
                Err((offset, DecodeErrorKind::WrongMagic { key: "the saved table", expected, found }))
            }
            Step::Netlink { align } => {
                let form = |bytes| Content::Netlink { bytes, align };
                self.sized("messages", self.cursor.left(), 1, form, parts)
            }
            Step::Bytes { .. } | Step::RepeatToEnd { .. } | Step::Rest { .. } => Ok(()),
        }
    }

    fn sized(
        &mut self,
        name: &'static str,
        len: u64,
        pad_to: u64,
        form: impl FnOnce(Bytes) -> Content,
        parts: &mut Vec<Part>,
    ) -> Result<(), Failure> {
        let offset = self.cursor.offset();
        let (taken, res) = match self.cursor.take(len, name) {
            Ok(taken) => (taken, Ok(())),
            Err(err) => {
                let left = self.cursor.left();
                (self.cursor.take(left, name).unwrap_or_default(), Err((offset, err.into())))
            }
        };
        parts.push(Part { name, offset, content: form(self.bytes.slice_ref(taken)) });
        res?;
        // The padding of the last piece may be missing.
        let padding = len.checked_next_multiple_of(pad_to).and_then(|padded| padded.checked_sub(len)).unwrap_or(0);
        let padding = padding.min(self.cursor.left());
        self.cursor.take(padding, "padding").map(|_| ()).map_err(|err| (offset, err.into()))
    }

    fn framed(&mut self, message: &'static str, then: &[Step], parts: &mut Vec<Part>) -> Result<(), Failure> {
        let offset = self.cursor.offset();
        let Some(left) = self.left.checked_sub(1) else {
            let max = u64::try_from(self.limits.max_records_per_img).unwrap_or(u64::MAX);
            return Err((offset, DecodeErrorKind::TooManyRecords { max }));
        };
        self.left = left;
        let body = img::body(self.cursor, false, false, self.limits)?;
        let body = self.bytes.slice_ref(body);
        let mut inner = Vec::new();
        let res = self.steps(then, &body, &mut inner);
        parts.push(Part { name: message, offset, content: Content::Record { body, parts: inner } });
        res
    }
}

fn holds(when: When, record: &[u8]) -> bool {
    match when {
        When::Always => true,
        When::Set(field) => wire::number(record, field).unwrap_or(0) != 0,
        When::NotSet(field) => wire::number(record, field).unwrap_or(0) == 0,
    }
}
