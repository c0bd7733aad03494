//! Every record of every image by reflection: for people, and for records newer than our types.
//!
//! Nothing is left out: a record without a required field is there, fields that the schema does not have are kept in
//! the message, and a record that is no protobuf message at all is there as bytes.

use bytes::Bytes;
use prost_reflect::DynamicMessage;

use crate::base::Cursor;

use super::error::{DecodeErrorKind, Decoded, Issues};
use super::img::{Ctx, Img, Records};
use super::kinds::{Framing, Kind};
use super::kinds_table::UNKNOWN;
use super::payload::{self, Part};
use super::wire::{self, Findings};
use super::{schema, typed};

/// An image for the raw view.
#[derive(Clone, Debug, PartialEq)]
pub struct RawImg {
    /// What it is; `UNKNOWN` for an image of a kind that we do not know.
    pub kind: &'static Kind,
    /// Its records.
    pub records: Vec<RawRecord>,
    /// What a file without records holds.
    pub parts: Vec<Part>,
}

/// A record for the raw view.
#[derive(Clone, Debug, PartialEq)]
pub struct RawRecord {
    /// Offset of its length word in the image.
    pub offset: u64,
    /// Its message, by CRIU's name.
    pub message: &'static str,
    /// Its protobuf bytes.
    pub body: Bytes,
    /// What follows it.
    pub payload: Vec<Part>,
}

impl RawRecord {
    /// Its fields, unknown ones included; `None` if the bytes are no such message, and for files of a plugin that hold
    /// none.
    ///
    /// Decoded at each call: an image may have millions of records, and a window shows fifty.
    pub fn fields(&self) -> Option<DynamicMessage> {
        message(self.message, &self.body)
    }
}

/// All of an image by reflection.
pub fn raw(img: &Img, ctx: &Ctx) -> Decoded<RawImg> {
    let mut issues = Issues::new(ctx.limits.max_issues_per_img);
    let mut findings = Findings::default();
    let kind = img.kind.unwrap_or(&UNKNOWN);
    let mut value = RawImg { kind, records: Vec::new(), parts: Vec::new() };
    if kind == &UNKNOWN {
        let word = img.bytes.get(4..).unwrap_or_default();
        let magic = Cursor::new(word, ctx.order).u32("magic").unwrap_or(0);
        issues.push(img.error(4, DecodeErrorKind::UnknownKind { magic }));
    }
    if kind.key == "CIPHER" {
        issues.push(img.error(0, DecodeErrorKind::Encrypted));
    }
    if kind.framing == Framing::Raw && kind.entry.is_empty() {
        let (parts, res) = parts(img, kind, ctx);
        value.parts = parts;
        if let Err((offset, err)) = res {
            issues.push(img.error(offset, err));
        }
        return Decoded { value, issues: issues.finish(), unknown: Vec::new() };
    }
    let as_kind = Img { kind: Some(kind), ..img.clone() };
    for framed in Records::new(&as_kind, ctx) {
        match framed {
            Ok(framed) => {
                if let Some(rules) = wire::rules(framed.message)
                    && let Err(err) = typed::checked(&framed.body, rules, ctx, &mut findings)
                {
                    issues.push(img.error(framed.offset, err));
                }
                if let Some(field) = findings.missing.take() {
                    issues.push(img.error(framed.offset, DecodeErrorKind::MissingField { field }));
                }
                value.records.push(RawRecord {
                    offset: framed.offset,
                    message: framed.message,
                    body: framed.body,
                    payload: framed.payload,
                });
            }
            Err(err) => issues.push(err),
        }
    }
    Decoded { value, issues: issues.finish(), unknown: findings.unknown }
}

/// How many records an image has, and whether the framing holds to its end; `None` for a file without records.
///
/// Reads lengths and payloads, decodes nothing.
pub fn count_records(img: &Img, ctx: &Ctx) -> Option<(usize, bool)> {
    if !img.has_records() {
        return None;
    }
    let mut count = (0usize, true);
    for framed in Records::new(img, ctx) {
        match framed {
            Ok(_) => count.0 = count.0.saturating_add(1),
            Err(_) => count.1 = false,
        }
    }
    Some(count)
}

/// A message by reflection; `None` if the bytes are no such message.
pub(super) fn message(name: &'static str, body: &Bytes) -> Option<DynamicMessage> {
    let body = typed::checked(body, wire::rules(name)?, &Ctx::default(), &mut Findings::default()).ok()?;
    DynamicMessage::decode(schema::message(name)?, body.into_owned()).ok()
}

/// What a file without records holds. An empty file is normal: the tool that should have filled it said nothing.
pub(super) fn parts(img: &Img, kind: &'static Kind, ctx: &Ctx) -> (Vec<Part>, Result<(), (u64, DecodeErrorKind)>) {
    let mut parts = Vec::new();
    if img.bytes.is_empty() {
        return (parts, Ok(()));
    }
    let mut cursor = Cursor::new(&img.bytes, ctx.order);
    let mut reader = payload::Reader {
        bytes: &img.bytes,
        cursor: &mut cursor,
        limits: &ctx.limits,
        left: ctx.limits.max_records_per_img,
    };
    let res = reader.steps(kind.payload, &Bytes::new(), &mut parts);
    (parts, res)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, own_magic: u32, records: &[&[u8]]) -> Img {
        let mut bytes = 0x5456_4319_u32.to_le_bytes().to_vec();
        bytes.extend(own_magic.to_le_bytes());
        for record in records {
            bytes.extend(u32::try_from(record.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(record);
        }
        Img::new(name, Bytes::from(bytes))
    }

    #[test]
    fn a_record_without_a_required_field_stays_with_an_issue() {
        let raw = raw(&image("rlimit-1.img", 0x5711_3925, &[&[8, 1], &[8, 1, 16, 2]]), &Ctx::default());
        assert_eq!(raw.value.records.len(), 2);
        assert!(raw.value.records[0].fields().is_some());
        assert_eq!(raw.issues.len(), 1);
        assert_eq!(
            raw.issues[0].to_string(),
            "rlimit-1.img+0x8: record lacks rlimit_entry.max, which is always written"
        );
    }

    #[test]
    fn an_unknown_kind_shows_its_fields() {
        let raw = raw(&image("future.img", 0x1234_5678, &[&[8, 7]]), &Ctx::default());
        assert_eq!(raw.value.kind.key, "UNKNOWN");
        let fields = raw.value.records[0].fields().unwrap();
        assert_eq!(fields.unknown_fields().count(), 1);
        assert_eq!(raw.issues[0].to_string(), "future.img+0x4: unknown kind of image, magic 0x12345678");
        assert_eq!(raw.unknown[0].number, 1);
    }

    #[test]
    fn an_encrypted_dump_is_said() {
        let raw = raw(&image("cipher.img", 0x1234_5678, &[&[10, 1, 0]]), &Ctx::default());
        assert_eq!(raw.issues[0].kind, DecodeErrorKind::Encrypted);
        assert_eq!(raw.issues.len(), 1);
    }
}
