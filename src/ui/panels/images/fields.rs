//! A record field by field, as it lies in the file: name, value, and which bytes it is. Fields that
//! the schema does not have are there too, and so is what is no field at all.

use std::fmt::Write as _;

use prost_reflect::{Kind, MessageDescriptor};

use crate::base::{escape, escape_controls, hex};
use crate::decode::schema;

/// Most fields of one record.
const MAX_FIELDS: usize = 20_000;
/// Deepest nesting.
const MAX_DEPTH: u32 = 32;
/// Most bytes of a value that are shown, and most numbers of a packed list.
const MAX_SHOWN: usize = 96;

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldRow {
    /// Level in the record, from 0.
    pub(super) depth: u32,
    /// Name in the schema, or `field N`.
    pub(super) name: String,
    /// Number in the message; 0 for what is no field.
    pub(super) number: u32,
    /// `uint32`, `bytes`, the name of a message, or what the wire says of an unknown one.
    pub(super) kind: String,
    /// For people; empty for a message.
    pub(super) value: String,
    /// First byte, its tag included, from the start of the record's body.
    pub(super) offset: usize,
    /// Length in bytes, its tag included.
    pub(super) len: usize,
    /// It holds fields, which follow.
    pub(super) is_message: bool,
    /// The schema does not have it, or the bytes make no sense.
    pub(super) is_unknown: bool,
}

/// All fields of a record's body, a message before its own fields.
pub(super) fn fields(message: Option<&MessageDescriptor>, body: &[u8]) -> Vec<FieldRow> {
    let mut rows = Vec::new();
    walk(message, body, 0, 0, false, &mut rows);
    rows
}

/// The first simple fields on one line: `pid 7, ppid 1`.
pub(super) fn summary(message: Option<&MessageDescriptor>, body: &[u8]) -> String {
    let mut out = String::new();
    let mut reader = Reader { body, at: 0 };
    for _ in 0..24 {
        let Some(field) = reader.field() else { break };
        let row = row_of(message, &field, 0, 0, false);
        if row.is_message || row.value.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push_str("  ");
        }
        let value: String = row.value.chars().take(48).collect();
        let _ = write!(out, "{} {value}", row.name);
        if out.len() > 120 {
            break;
        }
    }
    out
}

fn walk(
    message: Option<&MessageDescriptor>,
    body: &[u8],
    base: usize,
    depth: u32,
    is_hex: bool,
    rows: &mut Vec<FieldRow>,
) {
    let mut reader = Reader { body, at: 0 };
    while reader.at < body.len() {
        if rows.len() >= MAX_FIELDS {
            rows.push(rest_row(depth, "more", "fields that are not shown", base + reader.at, body.len() - reader.at));
            return;
        }
        let start = reader.at;
        let Some(field) = reader.field() else {
            let what = "bytes that are no field";
            rows.push(rest_row(depth, "undecodable", what, base + start, body.len() - start));
            return;
        };
        let row = row_of(message, &field, base, depth, is_hex);
        let is_message = row.is_message;
        rows.push(row);
        if is_message && let Wire::Bytes(inner) = field.value {
            let descriptor = message.and_then(|message| message.get_field(field.number));
            let is_hex = is_hex || descriptor.as_ref().is_some_and(|field| schema::show(field).hex());
            let inner_message = descriptor.and_then(|field| field.kind().as_message().cloned());
            let inner_base = base + field.offset + field.len - inner.len();
            walk(inner_message.as_ref(), inner, inner_base, depth + 1, is_hex, rows);
        }
    }
}

fn rest_row(depth: u32, name: &str, what: &str, offset: usize, len: usize) -> FieldRow {
    FieldRow {
        depth,
        name: name.to_owned(),
        number: 0,
        kind: what.to_owned(),
        value: format!("{len} {what}"),
        offset,
        len,
        is_message: false,
        is_unknown: true,
    }
}

fn row_of(message: Option<&MessageDescriptor>, field: &Field<'_>, base: usize, depth: u32, is_hex: bool) -> FieldRow {
    let known = message.and_then(|message| message.get_field(field.number));
    let mut row = FieldRow {
        depth,
        name: known.as_ref().map_or_else(|| format!("field {}", field.number), |known| known.name().to_owned()),
        number: field.number,
        kind: field.value.word().to_owned(),
        value: String::new(),
        offset: base + field.offset,
        len: field.len,
        is_message: false,
        is_unknown: known.is_none(),
    };
    let Some(known) = known else {
        row.value = field.value.unknown_label();
        return row;
    };
    let show = schema::show(&known);
    let is_hex = is_hex || show.hex();
    let kind = known.kind();
    row.kind = kind_word(&kind);
    row.value = match (&field.value, &kind) {
        (Wire::Bytes(_), Kind::Message(_)) if depth < MAX_DEPTH => {
            row.is_message = true;
            String::new()
        }
        (Wire::Bytes(bytes), Kind::Message(_)) => bytes_label(bytes),
        (Wire::Bytes(bytes), Kind::String) => text_label(bytes),
        (Wire::Bytes(bytes), Kind::Bytes) if show.text() => text_label(bytes),
        (Wire::Bytes(bytes), Kind::Bytes) => bytes_label(bytes),
        (Wire::Bytes(bytes), kind) => packed_label(bytes, kind, is_hex),
        (Wire::Varint(number) | Wire::Fixed64(number), kind) if show.dev() || show.odev() => {
            let number = *number;
            format!("{}:{} ({})", number >> 20, number & 0xf_ffff, number_label(number, kind, is_hex))
        }
        (Wire::Varint(number) | Wire::Fixed64(number), kind) => number_label(*number, kind, is_hex),
        (Wire::Fixed32(number), kind) => number_label(u64::from(*number), kind, is_hex),
    };
    row
}

fn kind_word(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.name().to_owned(),
        Kind::Enum(values) => values.name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn text_label(bytes: &[u8]) -> String {
    let part = bytes.get(..bytes.len().min(4 * MAX_SHOWN)).unwrap_or_default();
    let text = escape_controls(&escape(part)).into_owned();
    if part.len() < bytes.len() { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

fn bytes_label(bytes: &[u8]) -> String {
    let part = bytes.get(..bytes.len().min(MAX_SHOWN / 2)).unwrap_or_default();
    let is_text = !part.is_empty() && part.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    let dots = if part.len() < bytes.len() { "…" } else { "" };
    let digits = hex(part);
    if is_text {
        format!("\"{}{dots}\" ({} bytes)", escape(part), bytes.len())
    } else {
        format!("{digits}{dots} ({} bytes)", bytes.len())
    }
}

fn number_label(number: u64, kind: &Kind, is_hex: bool) -> String {
    let low = number as u32;
    match kind {
        Kind::Bool => if number == 0 { "false" } else { "true" }.to_owned(),
        Kind::Enum(values) => match values.get_value(low as i32) {
            Some(value) => format!("{} ({})", value.name(), low as i32),
            None => (low as i32).to_string(),
        },
        Kind::Int32 | Kind::Sfixed32 if !is_hex => (low as i32).to_string(),
        Kind::Int64 | Kind::Sfixed64 if !is_hex => (number as i64).to_string(),
        Kind::Sint32 | Kind::Sint64 => ((number >> 1) as i64 ^ -((number & 1) as i64)).to_string(),
        Kind::Float => f32::from_bits(low).to_string(),
        Kind::Double => f64::from_bits(number).to_string(),
        _ if is_hex => format!("{number:#x}"),
        _ => number.to_string(),
    }
}

fn packed_label(bytes: &[u8], kind: &Kind, is_hex: bool) -> String {
    let mut reader = Reader { body: bytes, at: 0 };
    let mut out = String::from("[");
    let mut count = 0usize;
    while reader.at < bytes.len() {
        let number = match kind {
            Kind::Fixed64 | Kind::Sfixed64 | Kind::Double => reader.take::<8>().map(u64::from_le_bytes),
            Kind::Fixed32 | Kind::Sfixed32 | Kind::Float => {
                reader.take::<4>().map(|word| u64::from(u32::from_le_bytes(word)))
            }
            _ => reader.varint(),
        };
        let Some(number) = number else {
            out.push_str(" …cut off");
            break;
        };
        count += 1;
        if count <= MAX_SHOWN {
            if count > 1 {
                out.push_str(", ");
            }
            out.push_str(&number_label(number, kind, is_hex));
        }
    }
    if count > MAX_SHOWN {
        let _ = write!(out, ", … {count} in all");
    }
    out.push(']');
    out
}

/// One field on the wire.
struct Field<'a> {
    number: u32,
    value: Wire<'a>,
    offset: usize,
    len: usize,
}

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl Wire<'_> {
    fn word(&self) -> &'static str {
        match self {
            Wire::Varint(_) => "varint",
            Wire::Fixed64(_) => "64 bits",
            Wire::Fixed32(_) => "32 bits",
            Wire::Bytes(_) => "bytes",
        }
    }

    fn unknown_label(&self) -> String {
        match self {
            Wire::Varint(number) | Wire::Fixed64(number) => format!("{number} ({number:#x})"),
            Wire::Fixed32(number) => format!("{number} ({number:#x})"),
            Wire::Bytes(bytes) => bytes_label(bytes),
        }
    }
}

struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next field; `None` at the end and where the bytes are none.
    fn field(&mut self) -> Option<Field<'a>> {
        let offset = self.at;
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number != 0)?;
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.take()?)),
            5 => Wire::Fixed32(u32::from_le_bytes(self.take()?)),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                let bytes = self.body.get(self.at..self.at.checked_add(len)?)?;
                self.at += len;
                Wire::Bytes(bytes)
            }
            _ => return None,
        };
        Some(Field { number, value, offset, len: self.at - offset })
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.body.get(self.at)?;
            self.at += 1;
            if shift < 64 {
                number |= u64::from(byte & 0x7f) << shift;
            }
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let array = self.body.get(self.at..)?.first_chunk::<N>().copied()?;
        self.at += N;
        Some(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, body: &[u8], expected: &[&str]) {
        let descriptor = schema::message(message).unwrap();
        let lines: Vec<String> = fields(Some(&descriptor), body)
            .iter()
            .map(|row| {
                let indent = "  ".repeat(row.depth as usize);
                format!("{indent}{} {} @{}+{}", row.name, row.value, row.offset, row.len)
            })
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn fields_say_which_bytes_they_are() {
        // pstree_entry: pid 1, ppid 0, pgid 1, sid 1, packed or plain threads.
        let body = [8, 1, 16, 0, 24, 1, 32, 1, 40, 1];
        let expected = ["pid 1 @0+2", "ppid 0 @2+2", "pgid 1 @4+2", "sid 1 @6+2", "threads 1 @8+2"];
        check("pstree_entry", &body, &expected);
    }

    #[test]
    fn fields_of_messages_are_placed_in_the_record() {
        let descriptor = schema::message("core_entry").unwrap();
        let tc = descriptor.get_field_by_name("tc").unwrap();
        let mut body = vec![8, 1];
        body.extend([u8::try_from(tc.number() << 3 | 2).unwrap(), 2, 8, 5]);
        let rows = fields(Some(&descriptor), &body);
        let tc = rows.iter().find(|row| row.name == "tc").unwrap();
        assert!(tc.is_message);
        let inner = rows.iter().find(|row| row.depth == 1).unwrap();
        assert_eq!((inner.offset, inner.len), (4, 2));
    }

    #[test]
    fn unknown_fields_and_rubbish_are_shown() {
        check(
            "pstree_entry",
            &[8, 1, 0xf8, 0x07, 7, 0x07],
            &["pid 1 @0+2", "field 127 7 (0x7) @2+3", "undecodable 1 bytes that are no field @5+1"],
        );
    }

    #[test]
    fn a_length_beyond_the_end_ends_the_record() {
        check(
            "pstree_entry",
            &[8, 1, 42, 0xff, 0xff, 0xff, 0xff, 0x0f, 1],
            &["pid 1 @0+2", "undecodable 7 bytes that are no field @2+7"],
        );
    }

    #[test]
    fn nesting_and_number_of_fields_are_bounded() {
        let mut body = vec![];
        for _ in 0..MAX_FIELDS + 5 {
            body.extend([8, 1]);
        }
        let rows = fields(schema::message("pstree_entry").as_ref(), &body);
        assert_eq!(rows.len(), MAX_FIELDS + 1);
        assert_eq!(rows.last().unwrap().name, "more");
    }

    #[test]
    fn summary_names_the_first_simple_fields() {
        let descriptor = schema::message("pstree_entry");
        assert_eq!(summary(descriptor.as_ref(), &[8, 7, 16, 1]), "pid 7  ppid 1");
    }
}
