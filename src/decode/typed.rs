//! Records as Rust types: what the model is built from.
//!
//! A record that lacks a required field, or is not well formed, is left out with an issue; the others stay. The raw
//! view (`raw.rs`) keeps all.

use std::borrow::Cow;

use bytes::Bytes;
use prost::{Message, Name};

use super::error::WireError;
use super::error::{DecodeErrorKind, Decoded, Issues};
use super::img::{Ctx, Framed, Img, Records};
use super::kinds::Framing;
use super::payload::{self, Content, Part};
use super::schema::{GhostChunkEntry, GhostFileEntry, IpcMsg, IpcMsgEntry, PagemapEntry};
use super::wire::{self, Findings, Rules};

/// A record that was decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<M> {
    /// Offset of its length word in the image.
    pub offset: u64,
    /// Bytes of protobuf.
    pub len: u64,
    /// The message.
    pub value: M,
    /// What follows it.
    pub payload: Vec<Part>,
}

impl<M> Record<M> {
    /// The bytes of the payload with that name: `data`, `inq`, `outq`, `keys`, `values`.
    ///
    /// `None` if the record has no such payload. Fewer bytes than the record says if the image ends before; an
    /// issue says so.
    pub fn bytes(&self, name: &str) -> Option<&Bytes> {
        payload::part(&self.payload, name).map(|part| part.content.bytes())
    }
}

/// All records of an image whose message is `M`.
///
/// Of a pagemap, `PagemapHead` gives the first record and `PagemapEntry` the others.
///
/// # Examples
/// ```
/// use bytes::Bytes;
/// use cryoscope::decode::{Ctx, Img, schema::PstreeEntry, typed};
///
/// let bytes = b"\x19\x43\x56\x54\x30\x30\x27\x50\x08\0\0\0\x08\x01\x10\0\x18\x01\x20\x01";
/// let img = Img::new("pstree.img", Bytes::from_static(bytes));
/// let tree = typed::<PstreeEntry>(&img, &Ctx::default());
/// assert_eq!(tree.value[0].value.pid, 1);
/// ```
pub fn typed<M: Message + Default + Name>(img: &Img, ctx: &Ctx) -> Decoded<Vec<Record<M>>> {
    let mut issues = Issues::new(ctx.limits.max_issues_per_img);
    let mut findings = Findings::new(ctx.limits.max_values);
    let mut value = Vec::new();
    let holds = |message: &str| message == M::NAME;
    match (img.kind, wire::rules(M::NAME)) {
        (Some(kind), Some(rules)) if holds(kind.entry) || kind.framing == Framing::HeadThenArray => {
            for framed in Records::new(img, ctx) {
                match framed {
                    Ok(framed) if holds(framed.message) => match decode(&framed.body, rules, ctx, &mut findings) {
                        Ok(message) => value.push(record(framed, message)),
                        Err(err) => {
                            let is_over = matches!(err, DecodeErrorKind::Wire(WireError::TooManyValuesInAll { .. }));
                            issues.push(img.error(framed.offset, err));
                            if is_over {
                                break;
                            }
                        }
                    },
                    Ok(_) => {}
                    Err(err) => issues.push(err),
                }
            }
        }
        (kind, _) => {
            let found = kind.map_or("records of an unknown kind", |kind| kind.entry);
            issues.push(img.error(0, DecodeErrorKind::WrongKind { wanted: M::NAME, found }));
        }
    }
    Decoded { value, issues: issues.finish(), unknown: findings.unknown }
}

fn record<M>(framed: Framed, value: M) -> Record<M> {
    let len = u64::try_from(framed.body.len()).unwrap_or(u64::MAX);
    Record { offset: framed.offset, len, value, payload: framed.payload }
}

/// The only record of an image, for kinds that have one: `mm-N.img`, `core-N.img`.
pub fn single<M: Message + Default + Name>(img: &Img, ctx: &Ctx) -> Decoded<Option<Record<M>>> {
    typed(img, ctx).map(|records| records.into_iter().next())
}

/// Values in all records of an image as [`crate::base::Limits::max_values`] counts them, at least: of a record that is no
/// message, those before its error.
pub fn count_values(img: &Img, ctx: &Ctx) -> u64 {
    let mut findings = Findings::default();
    for framed in Records::new(img, ctx).flatten() {
        findings.next_record();
        if let Some(rules) = wire::rules(framed.message) {
            // What is wrong with it is told when it is decoded.
            let _ = wire::check(&framed.body, rules, ctx.limits.max_nesting, &mut findings);
        }
    }
    findings.all_values()
}

/// Checks and decodes one message.
pub(super) fn decode<M: Message + Default>(
    body: &Bytes,
    rules: &'static Rules,
    ctx: &Ctx,
    findings: &mut Findings,
) -> Result<M, DecodeErrorKind> {
    let body = checked(body, rules, ctx, findings)?;
    if let Some(field) = findings.missing.take() {
        return Err(DecodeErrorKind::MissingField { field });
    }
    // Counting references costs as much as decoding a small message: only where bytes are kept.
    let message = match (rules.holds_bytes, &body) {
        (true, Cow::Borrowed(body)) => M::decode((*body).clone()),
        (true, Cow::Owned(body)) => M::decode(body.clone()),
        (false, body) => M::decode(&***body),
    };
    message.map_err(DecodeErrorKind::Protobuf)
}

/// Checks one message; its bytes are changed only where an early layout of compressed pages asks for it.
pub(super) fn checked<'a>(
    body: &'a Bytes,
    rules: &'static Rules,
    ctx: &Ctx,
    findings: &mut Findings,
) -> Result<Cow<'a, Bytes>, DecodeErrorKind> {
    findings.next_record();
    let Err(err) = wire::check(body, rules, ctx.limits.max_nesting, findings) else {
        return Ok(Cow::Borrowed(body));
    };
    let moved = wire::rules(PagemapEntry::NAME).filter(|pagemap| std::ptr::eq(*pagemap, rules));
    let moved = moved.and_then(|_| wire::renumber(body, 6, 60)).map(Bytes::from);
    match moved {
        Some(body) => {
            findings.next_record();
            wire::check(&body, rules, ctx.limits.max_nesting, findings).map_err(DecodeErrorKind::Wire)?;
            Ok(Cow::Owned(body))
        }
        None => Err(DecodeErrorKind::Wire(err)),
    }
}

/// An unlinked file that CRIU kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Ghost {
    /// Owner, mode, times, size.
    pub entry: GhostFileEntry,
    /// The bytes that are there, with their offset in the file; what lies between is zero.
    pub chunks: Vec<GhostChunk>,
}

/// Some bytes of a ghost file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GhostChunk {
    /// Offset in the file.
    pub file_offset: u64,
    /// Offset in the image.
    pub img_offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// The file in a `ghost-file-X.img`.
///
/// Never allocates the size that the file claims to have: it may be sparse, or a lie.
pub fn ghost(img: &Img, ctx: &Ctx) -> Decoded<Option<Ghost>> {
    let mut decoded = single::<GhostFileEntry>(img, ctx);
    let mut issues = std::mem::take(&mut decoded.issues);
    let value = decoded.value.map(|record| {
        let mut chunks = Vec::new();
        let mut findings = Findings::default();
        for part in &record.payload {
            match &part.content {
                Content::Record { body, parts } => {
                    let rules = wire::rules(GhostChunkEntry::NAME);
                    let chunk = rules.map(|rules| decode::<GhostChunkEntry>(body, rules, ctx, &mut findings));
                    match (chunk, parts.first()) {
                        (Some(Ok(chunk)), Some(data)) => chunks.push(GhostChunk {
                            file_offset: chunk.off,
                            img_offset: data.offset,
                            bytes: data.content.bytes().clone(),
                        }),
                        (Some(Err(err)), _) => issues.push(img.error(part.offset, err)),
                        _ => {}
                    }
                }
                content => {
                    chunks.push(GhostChunk { file_offset: 0, img_offset: part.offset, bytes: content.bytes().clone() })
                }
            }
        }
        Ghost { entry: record.value, chunks }
    });
    Decoded { value, issues, unknown: decoded.unknown }
}

/// The messages that wait in a System V queue, with their bytes.
pub fn ipc_messages(queue: &Record<IpcMsgEntry>) -> Vec<(IpcMsg, Bytes)> {
    let messages = queue.payload.iter().filter_map(|part| match &part.content {
        Content::Record { body, parts } => {
            let message = IpcMsg::decode(body.clone()).ok()?;
            let data = payload::part(parts, "data").map(|data| data.content.bytes().clone());
            Some((message, data.unwrap_or_default()))
        }
        _ => None,
    });
    messages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::schema::{PagemapHead, PipeDataEntry, PstreeEntry, RegFileEntry, RlimitEntry};

    fn image(name: &str, own: u32, rest: &[u8]) -> Img {
        Img::new(name, [&0x5456_4319_u32.to_le_bytes(), &own.to_le_bytes(), rest].concat().into())
    }

    #[test]
    fn one_bad_record_keeps_the_rest() {
        let records = b"\x04\0\0\0\x08\x01\x10\x02\x02\0\0\0\x08\x01\x01\0\0\0\x08\x04\0\0\0\x08\x03\x10\x04";
        let found = typed::<RlimitEntry>(&image("rlimit-1.img", 0x5711_3925, records), &Ctx::default());
        let limits: Vec<(u64, u64)> = found.value.iter().map(|record| (record.value.cur, record.value.max)).collect();
        assert_eq!(limits, [(1, 2), (3, 4)]);
        let issues: Vec<String> = found.issues.iter().map(ToString::to_string).collect();
        assert_eq!(
            issues,
            [
                "rlimit-1.img+0x10: record lacks rlimit_entry.max, which is always written",
                "rlimit-1.img+0x16: message ends inside a number"
            ]
        );
        assert_eq!(found.value[1].offset, 0x1b);
    }

    #[test]
    fn numbers_may_come_packed() {
        let records = b"\x0c\0\0\0\x08\x01\x10\0\x18\x01\x20\x01\x2a\x02\x07\x08";
        let found = typed::<PstreeEntry>(&image("pstree.img", 0x5027_3030, records), &Ctx::default());
        assert_eq!(found.value[0].value.threads, [7, 8]);
    }

    #[test]
    fn text_that_is_not_utf8_and_unknown_fields_are_kept_apart() {
        let fown = b"\x2a\x0a\x08\0\x10\0\x18\0\x20\0\x28\0";
        let body = [&b"\x08\x01\x10\0\x18\0"[..], fown, b"\x32\x03/\xff\xfe\xa0\x06\x01"].concat();
        let records = [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], &body].concat();
        let found = typed::<RegFileEntry>(&image("reg-files.img", 0x5036_3636, &records), &Ctx::default());
        assert_eq!(found.issues, []);
        assert_eq!(&found.value[0].value.name[..], b"/\xff\xfe");
        assert_eq!(
            (found.unknown[0].message, found.unknown[0].number, found.unknown[0].count),
            ("reg_file_entry", 100, 1)
        );
    }

    #[test]
    fn bytes_of_the_payload_are_slices_of_the_image() {
        let img = image("pipes-data.img", 0x5645_3709, b"\x04\0\0\0\x08\x01\x10\x03abc");
        let found = typed::<PipeDataEntry>(&img, &Ctx::default());
        let data = found.value[0].bytes("data").unwrap();
        assert_eq!(data, "abc");
        assert!(img.bytes.as_ptr_range().contains(&data.as_ptr()));
        assert_eq!(found.value[0].bytes("inq"), None);
    }

    #[test]
    fn the_head_of_a_pagemap_is_no_entry() {
        let img = image("pagemap-1.img", 0x5608_4025, b"\x02\0\0\0\x08\x07\x04\0\0\0\x08\0\x10\x01");
        assert_eq!(typed::<PagemapHead>(&img, &Ctx::default()).value[0].value.pages_id, 7);
        assert_eq!(typed::<PagemapEntry>(&img, &Ctx::default()).value[0].value.compat_nr_pages, 1);
    }

    #[test]
    fn records_of_another_kind_are_not_taken_for_these() {
        let found = typed::<RlimitEntry>(&image("pstree.img", 0x5027_3030, b""), &Ctx::default());
        assert_eq!(found.issues[0].to_string(), "pstree.img+0x0: holds pstree_entry, not rlimit_entry");
    }

    #[test]
    fn a_chunked_ghost_has_offsets() {
        let entry = b"\x0a\0\0\0\x08\0\x10\0\x18\0\x48\x01\x50\x64";
        let img = image("ghost-file-1.img", 0x5258_3605, &[&entry[..], b"\x04\0\0\0\x08\x03\x10\x40abc"].concat());
        let found = ghost(&img, &Ctx::default());
        let ghost = found.value.unwrap();
        assert_eq!(ghost.entry.size, Some(100));
        assert_eq!((ghost.chunks[0].file_offset, ghost.chunks[0].bytes.as_ref()), (64, &b"abc"[..]));
    }
}
