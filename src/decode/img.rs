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
    /// Whether it is made of records, by its kind alone.
    pub fn has_records(&self) -> bool {
        self.kind.is_some_and(|kind| kind.framing != Framing::Raw)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: [u8; 4] = COMMON_MAGIC.to_le_bytes();

    /// Frames an image and writes down what comes of it.
    fn check(name: &str, bytes: &[u8], expected: &str) {
        check_with(name, bytes, &Ctx::default(), expected);
    }

    fn check_with(name: &str, bytes: &[u8], ctx: &Ctx, expected: &str) {
        let img = Img::new(name, Bytes::copy_from_slice(bytes));
        let mut out = String::new();
        for framed in Records::new(&img, ctx) {
            match framed {
                Ok(framed) => {
                    out.push_str(&format!("{} {} bytes", framed.message, framed.body.len()));
                    for part in framed.payload {
                        let len = part.content.bytes().len();
                        out.push_str(&format!(", {} {len} at {:#x}", part.name, part.offset));
                    }
                    out.push('\n');
                }
                Err(err) => out.push_str(&format!("issue {err}\n")),
            }
        }
        assert_eq!(out, expected);
    }

    fn with_head(own: u32, rest: &[u8]) -> Vec<u8> {
        [&HEAD, &own.to_le_bytes(), rest].concat()
    }

    #[test]
    fn record_length_past_end_keeps_earlier_records() {
        let pstree = with_head(0x5027_3030, b"\x02\0\0\0\x08\x01\x09\0\0\0c");
        check(
            "pstree.img",
            &pstree,
            "pstree_entry 2 bytes\nissue pstree.img+0x12: record body needs 9 bytes, 1 left\n",
        );
        check(
            "pstree.img",
            &pstree[..16],
            "pstree_entry 2 bytes\nissue pstree.img+0xe: record length needs 4 bytes, 2 left\n",
        );
    }

    #[test]
    fn a_length_of_four_gigabytes_is_not_believed() {
        let pstree = with_head(0x5027_3030, &[0xff; 8]);
        check("pstree.img", &pstree, "issue pstree.img+0x8: record of 4294967295 bytes, at most 67108864 are read\n");
    }

    #[test]
    fn files_without_records_are_told_apart_from_truncated_ones() {
        check("pstree.img", b"", "issue pstree.img+0x0: magic needs 4 bytes, 0 left\n");
        check("pstree.img", &HEAD, "issue pstree.img+0x4: magic needs 4 bytes, 0 left\n");
        check("pstree.img", &with_head(0x5027_3030, b""), "");
        check(
            "seccomp.img",
            &with_head(0x6441_3049, b""),
            "issue seccomp.img+0x8: record length needs 4 bytes, 0 left\n",
        );
        check(
            "pagemap-1.img",
            &with_head(0x5608_4025, b""),
            "issue pagemap-1.img+0x8: record length needs 4 bytes, 0 left\n",
        );
        check("pages-1.img", b"\x01\x02", "");
        check("pstree.img", &with_head(0x5027_3030, &[0; 8]), "pstree_entry 0 bytes\npstree_entry 0 bytes\n");
    }

    #[test]
    fn images_before_1_6_have_their_own_magic_alone() {
        check(
            "pstree.img",
            &[&0x5027_3030_u32.to_le_bytes()[..], &[2, 0, 0, 0, 8, 1]].concat(),
            "pstree_entry 2 bytes\n",
        );
    }

    #[test]
    fn a_wrong_magic_is_said_and_the_records_are_read() {
        let bytes = with_head(0x1111_1111, &[2, 0, 0, 0, 8, 1]);
        let issue = "issue pstree.img+0x4: magic is 0x11111111, that of PSTREE is 0x50273030\n";
        check("pstree.img", &bytes, &format!("{issue}pstree_entry 2 bytes\n"));
        check(
            "pstree.img",
            b"\x7fELF....",
            "issue pstree.img+0x0: magic is 0x464c457f, that of PSTREE is 0x50273030\n",
        );
    }

    #[test]
    fn big_endian_dumps_are_read_as_such() {
        let inventory = [0x58, 0x31, 0x31, 0x16, 0, 0, 0, 2, 8, 2];
        let inventory = Img::new("inventory.img", Bytes::copy_from_slice(&inventory));
        let (ctx, issues) = Ctx::detect(&inventory, &Limits::default());
        assert_eq!((ctx.order, issues), (ByteOrder::Big, vec![]));
        let pstree = [0x54, 0x56, 0x43, 0x19, 0x50, 0x27, 0x30, 0x30, 0, 0, 0, 2, 8, 1];
        check_with("pstree.img", &pstree, &ctx, "pstree_entry 2 bytes\n");
        assert_eq!(Ctx::order_of(&pstree), Some(ByteOrder::Big));
    }

    #[test]
    fn an_unknown_image_version_is_said() {
        let inventory = [0x16, 0x31, 0x31, 0x58, 2, 0, 0, 0, 8, 9];
        let (_, issues) =
            Ctx::detect(&Img::new("inventory.img", Bytes::copy_from_slice(&inventory)), &Limits::default());
        assert_eq!(issues[0].to_string(), "inventory.img+0x4: image version 9, 1 to 3 are known");
    }

    #[test]
    fn the_kind_comes_from_the_magic_when_the_name_says_nothing() {
        let img = Img::new("lost+found/#1234", with_head(0x5027_3030, &[2, 0, 0, 0, 8, 1]).into());
        assert_eq!(img.kind.map(|kind| kind.key), Some("PSTREE"));
        assert_eq!(Img::new("notes.txt", Bytes::from_static(b"hello")).kind, None);
    }

    #[test]
    fn trailing_bytes_of_a_single_record_are_said() {
        let bytes = with_head(0x6441_3049, b"\0\0\0\0xyz");
        check("seccomp.img", &bytes, "seccomp_entry 0 bytes\nissue seccomp.img+0xc: 3 bytes after the last record\n");
    }

    #[test]
    fn payloads_follow_their_record() {
        // Two pipes, the second one cut short.
        let pipes = with_head(0x5645_3709, b"\x04\0\0\0\x08\x01\x10\x03abc\x04\0\0\0\x08\x02\x10\x09xy");
        check(
            "pipes-data.img",
            &pipes,
            "pipe_data_entry 4 bytes, data 3 at 0x10\npipe_data_entry 4 bytes, data 2 at 0x1b\n\
             issue pipes-data.img+0x1b: data needs 9 bytes, 2 left\n",
        );
        let queues = with_head(0x5146_5506, b"\x04\0\0\0\x08\x02\x18\x01abc");
        check("tcp-stream-1f.img", &queues, "tcp_stream_entry 4 bytes, inq 2 at 0x10, outq 1 at 0x12\n");
        // Three semaphores, padded to 8 bytes.
        let sems = with_head(0x5957_3019, b"\x02\0\0\0\x10\x03\x01\0\x02\0\x03\0\0\0\0\0\0\0");
        check(
            "ipcns-sem-9.img",
            &sems,
            "ipc_sem_entry 2 bytes, values 6 at 0xe\nipc_sem_entry 0 bytes, values 0 at 0x1a\n",
        );
    }

    #[test]
    fn shared_memory_in_a_pagemap_has_no_bytes_here() {
        let shm = with_head(0x4628_3044, b"\x04\0\0\0\x10\x05\x18\x01\x02\0\0\0\x10\x05abcde\0\0\0");
        check("ipcns-shm-9.img", &shm, "ipc_shm_entry 4 bytes\nipc_shm_entry 2 bytes, data 5 at 0x16\n");
    }

    #[test]
    fn ghosts_have_chunks_or_a_rest() {
        let chunks = with_head(0x5258_3605, b"\x02\0\0\0\x48\x01\x04\0\0\0\x08\x03\x10\x40abc\x02\0\0\0\x08\x7f");
        check(
            "ghost-file-1.img",
            &chunks,
            "ghost_file_entry 2 bytes, ghost_chunk_entry 4 at 0xe, ghost_chunk_entry 2 at 0x19\n\
             issue ghost-file-1.img+0x1f: data needs 127 bytes, 0 left\n",
        );
        let rest = with_head(0x5258_3605, b"\0\0\0\0whole file");
        check("ghost-file-1.img", &rest, "ghost_file_entry 0 bytes, data 10 at 0xc\n");
    }

    #[test]
    fn a_count_of_messages_that_lies_ends_with_the_file() {
        let queue = with_head(0x5545_3737, b"\x06\0\0\0\x18\xff\xff\xff\xff\x0f\x02\0\0\0\x10\x02hi\0\0\0\0\0\0");
        check(
            "ipcns-msg-9.img",
            &queue,
            "ipc_msg_entry 6 bytes, ipc_msg 2 at 0x12\n\
             issue ipcns-msg-9.img+0x20: record length needs 4 bytes, 0 left\n",
        );
    }

    #[test]
    fn the_number_of_records_is_limited() {
        let limits = Limits { max_records_per_img: 2, ..Limits::default() };
        let ctx = Ctx { limits, ..Ctx::default() };
        let expected = "pstree_entry 0 bytes\npstree_entry 0 bytes\nissue pstree.img+0x10: more than 2 records, the rest is not read\n";
        check_with("pstree.img", &with_head(0x5027_3030, &[0; 40]), &ctx, expected);
    }

    #[test]
    fn plugin_files_have_a_64_bit_length() {
        check("amdgpu-kfd-7.img", b"\x02\0\0\0\0\0\0\0\x08\x01", "criu_kfd 2 bytes\n");
        check("amdgpu-pages-7-1002.img", b"\x03\0\0\0\0\0\0\0abc", " 0 bytes, data 3 at 0x8\n");
        check(
            "amdgpu-kfd-7.img",
            &[0xff; 9],
            "issue amdgpu-kfd-7.img+0x0: record of 18446744073709551615 bytes, at most 67108864 are read\n",
        );
    }
}
