//! An image file: what it is, its header, and its records one after the other.
//!
//! A record is a u32 count of bytes in the byte order of the dumping machine, then so many bytes of protobuf. Some kinds
//! have a payload after each record (`payload.rs`). After a bad length the rest of the file cannot be framed: what
//! came before is kept, and reading ends. Source: CRIU `criu/protobuf.c` and `criu/include/magic.h`.

use bytes::Bytes;

use crate::base::{ByteOrder, Cursor, Limits};

use super::error::{DecodeError, DecodeErrorKind, ImgName};
use super::kinds::{self, COMMON_MAGIC, Framing, Head, Kind, SERVICE_MAGIC};
use super::payload::{self, Part};
use super::wire;

/// An image file of a checkpoint.
#[derive(Clone, Debug)]
pub struct Img {
    /// Base name, as issues show it.
    pub name: ImgName,
    /// What it is; `None` for a file that neither name nor magic tells.
    pub kind: Option<&'static Kind>,
    /// The number in its name.
    pub id: Option<u64>,
    /// The whole file. Everything decoded borrows from it.
    pub bytes: Bytes,
}

impl Img {
    /// An image by its path inside the evidence, or any name it is known by.
    ///
    /// The kind comes from the base name, or from the magic where the name says nothing.
    pub fn new(path: &str, bytes: Bytes) -> Img {
        let name = ImgName::new(path);
        let (kind, id) = match kinds::kind_of(&name) {
            Some((kind, id)) => (Some(kind), id),
            None => (kind_by_magic(&bytes), None),
        };
        Img { name, kind, id, bytes }
    }

    /// An error at a byte of this image.
    pub(super) fn error(&self, offset: u64, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { img: self.name.clone(), offset, kind }
    }
}

fn kind_by_magic(bytes: &[u8]) -> Option<&'static Kind> {
    let (order, own) = [ByteOrder::Little, ByteOrder::Big].into_iter().find_map(|order| {
        let head = Cursor::new(bytes, order).u32("head magic").ok()?;
        matches!(head, COMMON_MAGIC | SERVICE_MAGIC).then_some((order, 4))
    })?;
    let own = bytes.get(own..)?;
    kinds::kind_of_magic(Cursor::new(own, order).u32("magic").ok()?)
}

/// What all images of one checkpoint have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ctx {
    /// Byte order of the dumping machine.
    pub order: ByteOrder,
    /// What is believed of lengths.
    pub limits: Limits,
}

impl Ctx {
    /// The context of a checkpoint by its `inventory.img`.
    ///
    /// Issues: another magic than the inventory's, or an image version that we do not know. Little endian is assumed
    /// where the magic does not tell.
    pub fn detect(inventory: &Img, limits: &Limits) -> (Ctx, Vec<DecodeError>) {
        let mut ctx = Ctx { order: ByteOrder::Little, limits: limits.clone() };
        let magic = |order| Cursor::new(&inventory.bytes, order).u32("magic").ok();
        if magic(ByteOrder::Big) == kinds::kind("INVENTORY").map(|kind| kind.magic) {
            ctx.order = ByteOrder::Big;
        }
        let mut issues = Vec::new();
        if let Some(Ok(record)) = Records::new(inventory, &ctx).next() {
            let version = wire::number(&record.body, 1).and_then(|version| u32::try_from(version).ok());
            match version {
                // 1: no common magic (CRIU before 1.6). 2: common magic. 3: as 2, with compressed pages.
                Some(1..=3) | None => {}
                Some(version) => {
                    issues.push(inventory.error(record.offset, DecodeErrorKind::UnknownImgVersion { version }));
                }
            }
        }
        (ctx, issues)
    }

    /// The byte order by the first word of any image with a header; `None` for files without.
    pub fn order_of(bytes: &[u8]) -> Option<ByteOrder> {
        [ByteOrder::Little, ByteOrder::Big].into_iter().find(|&order| {
            let word = Cursor::new(bytes, order).u32("magic").ok();
            word.is_some_and(|word| {
                matches!(word, COMMON_MAGIC | SERVICE_MAGIC) || kinds::kind_of_magic(word).is_some()
            })
        })
    }
}

/// A record, framed and not yet decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Framed {
    /// Offset of its length word.
    pub offset: u64,
    /// Its message, by CRIU's name.
    pub message: &'static str,
    /// Its protobuf bytes.
    pub body: Bytes,
    /// What follows it.
    pub payload: Vec<Part>,
}

/// The records of an image; ends after the first error in the framing.
#[derive(Debug)]
pub struct Records<'a> {
    img: &'a Img,
    ctx: &'a Ctx,
    cursor: Cursor<'a>,
    state: State,
    left: usize,
    pending: Option<DecodeErrorKind>,
    pending_offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    First,
    Next,
    Done,
}

impl<'a> Records<'a> {
    /// Starts before the header.
    pub fn new(img: &'a Img, ctx: &'a Ctx) -> Records<'a> {
        Records {
            img,
            ctx,
            cursor: Cursor::new(&img.bytes, ctx.order),
            state: State::Header,
            left: ctx.limits.max_records_per_img,
            pending: None,
            pending_offset: 0,
        }
    }

    fn fail(&mut self, offset: u64, kind: DecodeErrorKind) -> Option<Result<Framed, DecodeError>> {
        self.state = State::Done;
        Some(Err(self.img.error(offset, kind)))
    }

    /// Reads the magic. A wrong own magic after the right head is said, and the records are read all the same: each
    /// of them is checked for itself.
    fn header(&mut self, kind: &'static Kind) -> Result<(), (u64, DecodeErrorKind)> {
        let expected_head = match kind.head {
            Head::Raw => return Ok(()),
            Head::OwnOnly => None,
            Head::Common => Some(COMMON_MAGIC),
            Head::Service => Some(SERVICE_MAGIC),
        };
        let first = self.cursor.u32("magic").map_err(|err| (err.offset, err.into()))?;
        let (offset, own) = match expected_head {
            Some(head) if first == head => {
                let offset = self.cursor.offset();
                (offset, self.cursor.u32("magic").map_err(|err| (err.offset, err.into()))?)
            }
            _ => (0, first),
        };
        if own == kind.magic || (kind.magic == kinds::ANY_MAGIC && offset != 0) {
            return Ok(());
        }
        Err((offset, DecodeErrorKind::WrongMagic { key: kind.key, expected: kind.magic, found: own }))
    }

    fn record(&mut self, kind: &'static Kind) -> Option<Result<Framed, DecodeError>> {
        let first = self.state == State::First;
        self.state = State::Next;
        if self.cursor.is_empty() && !(first && kind.framing != Framing::Array) {
            self.state = State::Done;
            return None;
        }
        let offset = self.cursor.offset();
        let message = match kind.framing {
            Framing::HeadThenArray if first => "pagemap_head",
            Framing::Single | Framing::SizedMessage | Framing::SizedBytes if !first => {
                let len = self.cursor.left();
                return self.fail(offset, DecodeErrorKind::Trailing { len });
            }
            Framing::Raw => {
                self.state = State::Done;
                return None;
            }
            _ => kind.entry,
        };
        let Some(left) = self.left.checked_sub(1) else {
            let max = u64::try_from(self.ctx.limits.max_records_per_img).unwrap_or(u64::MAX);
            return self.fail(offset, DecodeErrorKind::TooManyRecords { max });
        };
        self.left = left;
        let sized = matches!(kind.framing, Framing::SizedMessage | Framing::SizedBytes);
        let body = match body(&mut self.cursor, sized, kind.framing == Framing::SizedBytes, &self.ctx.limits) {
            Ok(body) => self.img.bytes.slice_ref(body),
            Err((offset, kind)) => return self.fail(offset, kind),
        };
        if kind.framing == Framing::SizedBytes {
            let at = self.cursor.offset().saturating_sub(u64::try_from(body.len()).unwrap_or(0));
            let part = Part { name: "data", offset: at, content: payload::Content::Bytes(body) };
            return Some(Ok(Framed { offset, message, body: Bytes::new(), payload: vec![part] }));
        }
        let mut parts = Vec::new();
        if !kind.payload.is_empty() && message == kind.entry {
            let mut reader =
                payload::Reader { bytes: &self.img.bytes, cursor: &mut self.cursor, limits: &self.ctx.limits, left };
            if let Err((offset, kind)) = reader.steps(kind.payload, &body, &mut parts) {
                self.pending = Some(kind);
                self.pending_offset = offset;
            }
            self.left = reader.left;
        }
        Some(Ok(Framed { offset, message, body, payload: parts }))
    }
}

/// Reads one length and as many bytes.
pub(super) fn body<'a>(
    cursor: &mut Cursor<'a>,
    is_u64: bool,
    is_bulk: bool,
    limits: &Limits,
) -> Result<&'a [u8], (u64, DecodeErrorKind)> {
    let offset = cursor.offset();
    let len = if is_u64 { cursor.u64("length") } else { cursor.u32("record length").map(u64::from) };
    let len = len.map_err(|err| (offset, err.into()))?;
    let max = u64::from(limits.max_record_bytes);
    if max < len && !is_bulk {
        return Err((offset, DecodeErrorKind::RecordTooLarge { len, max }));
    }
    cursor.take(len, "record body").map_err(|err| (err.offset, err.into()))
}

impl Iterator for Records<'_> {
    type Item = Result<Framed, DecodeError>;

    fn next(&mut self) -> Option<Result<Framed, DecodeError>> {
        if let Some(kind) = self.pending.take() {
            return self.fail(self.pending_offset, kind);
        }
        if self.state == State::Done {
            return None;
        }
        let Some(kind) = self.img.kind else {
            self.state = State::Done;
            return None;
        };
        if self.state == State::Header {
            self.state = State::First;
            if let Err((offset, err)) = self.header(kind) {
                if offset == 0 && kind.head != Head::OwnOnly || matches!(err, DecodeErrorKind::Short { .. }) {
                    return self.fail(offset, err);
                }
                return Some(Err(self.img.error(offset, err)));
            }
        }
        self.record(kind)
    }
}
