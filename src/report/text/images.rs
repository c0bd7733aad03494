//! Image files for people: the table, and the records of one.

use std::io::{self, Write};

use serde_json::Value;

use crate::base::escape_controls;
use crate::decode::payload::{Content, Part};

use crate::decode::{Ctx, Img, RawImg, crit_entries, raw};

use super::super::images::{ImageList, magic};
use super::human::{bytes, or_dash, plural};
use super::{Align, Cell, Columns, Style, Tone};

/// So much of a payload is shown.
const PREVIEW_BYTES: usize = 256;

/// The table of image files.
///
/// # Errors
/// The writer fails.
pub fn images(out: &mut dyn Write, style: Style, list: &ImageList) -> io::Result<()> {
    let mut columns = Columns::new(&[
        ("NAME", Align::Left),
        ("KIND", Align::Left),
        ("MAGIC", Align::Left),
        ("RECORDS", Align::Right),
        ("SIZE", Align::Right),
        ("ISSUES", Align::Left),
    ]);
    for row in &list.images {
        let issues = match &row.issues[..] {
            [] => String::new(),
            [issue] => escape_controls(&format!("{}: {}", issue.r#where, issue.what)).into_owned(),
            [issue, more @ ..] => {
                escape_controls(&format!("{}: {}; {} more", issue.r#where, issue.what, more.len())).into_owned()
            }
        };
        columns.row([
            Cell::new(Tone::Strong, escape_controls(&row.name)),
            row.kind.unwrap_or("unknown").into(),
            or_dash(row.magic.as_ref()).into(),
            or_dash(row.records).into(),
            bytes(row.size_bytes).into(),
            Cell::new(Tone::Alert, issues),
        ]);
    }
    if columns.is_empty() { writeln!(out, "no image file") } else { columns.write(out, style, 0) }
}

/// Every record of an image with its offset, then its issues.
///
/// # Errors
/// The writer fails.
pub fn records(out: &mut dyn Write, style: Style, img: &Img, ctx: &Ctx) -> io::Result<()> {
    let decoded = raw(img, ctx);
    let RawImg { kind, records, parts } = &decoded.value;
    let mut entries = crit_entries(&decoded.value, ctx);
    let mut facts = vec![kind.key.to_owned()];
    facts.extend(magic(img, ctx).map(|magic| format!("magic {magic}")));
    facts.push(plural(records.len(), "record", "records"));
    facts.push(bytes(img.bytes.len() as u64));
    writeln!(out, "{}  {}", style.paint(Tone::Strong, &escape_controls(&img.name)), facts.join(", "))?;
    for record in records {
        let offset = style.paint(Tone::Id, &format!("+{:#x}", record.offset));
        let len = plural(record.body.len(), "byte", "bytes");
        writeln!(out, "\n{offset} {} {}", style.paint(Tone::Strong, record.message), style.paint(Tone::Dim, &len))?;
        // A record is one entry, and so is each record that follows it (chunks of a ghost file).
        let inner = record.payload.iter().filter(|part| matches!(part.content, Content::Record { .. })).count();
        let nr_entries = if record.message == "ghost_file_entry" { 1 + inner } else { 1 };
        for (n, entry) in entries.by_ref().take(nr_entries).enumerate() {
            if n > 0 {
                writeln!(out, "  chunk")?;
            }
            fields(out, style, &entry, if n > 0 { 4 } else { 2 })?;
        }
        record.payload.iter().try_for_each(|part| payload(out, style, part, 2))?;
    }
    parts.iter().try_for_each(|part| payload(out, style, part, 0))?;
    if parts.iter().any(|part| matches!(part.content, Content::Netlink { .. })) {
        for entry in entries {
            writeln!(out)?;
            fields(out, style, &entry, 2)?;
        }
    }
    for issue in &decoded.issues {
        writeln!(out, "\n{} {}", style.paint(Tone::Alert, "issue"), escape_controls(&issue.to_string()))?;
    }
    Ok(())
}

/// Fields of a message, one a line. What follows a record is left to [`payload`].
fn fields(out: &mut dyn Write, style: Style, entry: &Value, indent: usize) -> io::Result<()> {
    let Value::Object(map) = entry else { return value(out, style, entry, indent) };
    for (name, field) in map.iter().filter(|(name, _)| name.as_str() != "extra") {
        write!(out, "{:indent$}{}", "", style.paint(Tone::Dim, &format!("{}:", escape_controls(name))))?;
        value(out, style, field, indent)?;
    }
    Ok(())
}

fn value(out: &mut dyn Write, style: Style, value: &Value, indent: usize) -> io::Result<()> {
    match value {
        Value::Object(map) if map.is_empty() => writeln!(out, " (empty)"),
        Value::Object(_) => {
            writeln!(out)?;
            fields(out, style, value, indent + 2)
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            writeln!(out)?;
            for item in items {
                writeln!(out, "{:indent$}  -", "")?;
                fields(out, style, item, indent + 4)?;
            }
            Ok(())
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(scalar).collect();
            writeln!(out, " [{}]", items.join(", "))
        }
        scalar_value => writeln!(out, " {}", scalar(scalar_value)),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        // Base64 comes in lines.
        Value::String(text) if text.ends_with('\n') => text.split('\n').collect(),
        Value::String(text) if text.is_empty() => "\"\"".into(),
        Value::String(text) => escape_controls(text).into_owned(),
        other => other.to_string(),
    }
}

/// What follows a record: where, how long, and its beginning.
fn payload(out: &mut dyn Write, style: Style, part: &Part, indent: usize) -> io::Result<()> {
    let content = part.content.bytes();
    let offset = style.paint(Tone::Id, &format!("+{:#x}", part.offset));
    let len = plural(content.len(), "byte", "bytes");
    writeln!(out, "{:indent$}{offset} {}: {len}", "", part.name)?;
    match &part.content {
        Content::Record { parts, .. } => parts.iter().try_for_each(|part| payload(out, style, part, indent + 2)),
        Content::Text(text) => {
            let text = crate::base::escape(text);
            text.lines().try_for_each(|line| writeln!(out, "{:indent$}  {}", "", escape_controls(line)))
        }
        Content::Netlink { .. } => Ok(()),
        Content::Bytes(_) | Content::U16s(_) => {
            for (n, row) in content.chunks(16).take(PREVIEW_BYTES / 16).enumerate() {
                let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
                let ascii: String =
                    row.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '.' }).collect();
                writeln!(out, "{:indent$}  {:04x}  {:<47}  {ascii}", "", n * 16, hex.join(" "))?;
            }
            if content.len() > PREVIEW_BYTES {
                writeln!(out, "{:indent$}  … {} more bytes", "", content.len() - PREVIEW_BYTES)?;
            }
            Ok(())
        }
    }
}
