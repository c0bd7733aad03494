//! `show`: one table row for each archive.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};

use crate::base::escape_controls;
use crate::report::overview::Overview;
use crate::report::text::{Style, bytes, plural};

use super::args::{Parents, ShowArgs};
use super::context::Context;

/// Digits of an id that are shown, as engines do.
const SHORT_ID: usize = 12;

pub(super) fn run(args: &ShowArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    let mut failure = None;
    for archive in &args.archives {
        let checkpoints = match context.checkpoints(archive, &Parents::default()) {
            Ok(checkpoints) => checkpoints,
            Err(error) if super::is_cancelled(&error) => return Err(error),
            // One bad archive does not hide the others; the last error is told at the end.
            Err(error) => {
                if let Some(earlier) = failure.replace(error) {
                    context.error(&earlier)?;
                }
                continue;
            }
        };
        let mut sha256 = None;
        for checkpoint in &checkpoints {
            if args.hash && sha256.is_none() {
                sha256 = Some(context.sha256(&checkpoint.outer)?);
            }
            let row = Overview::from_checkpoint(checkpoint, sha256.as_ref().map(|it| &it[..]));
            if context.json {
                context.write_json_line(&row)?;
            } else {
                rows.push((row, checkpoints.len()));
            }
        }
    }
    if context.json || rows.is_empty() {
        return failure.map_or(Ok(()), Err);
    }
    let mut heads =
        vec!["CONTAINER", "IMAGE", "ID", "RUNTIME", "CREATED", "ENGINE", "SIZE", "PAGES", "ROOTFS DIFF", "ARCHIVE"];
    if args.hash {
        heads.push("SHA-256");
    }
    let mut table = table(context.style, &heads);
    for (row, nr_checkpoints) in &rows {
        let mut cells = vec![
            word(row.container.as_deref()),
            word(row.image.as_deref()),
            word(row.id.as_deref().map(short_id)),
            word(row.runtime.as_deref()),
            word(row.created.as_deref()),
            word(row.engine.or(Some(row.evidence.layout))),
            size(Some(row.evidence.size_bytes)),
            size(row.sizes.map(|sizes| sizes.pages_bytes)),
            size(row.sizes.and_then(|sizes| sizes.rootfs_diff_bytes)),
            word(Some(&archive_label(row, *nr_checkpoints))),
        ];
        if args.hash {
            cells.push(word(row.evidence.sha256.as_deref()));
        }
        table.add_row(cells);
    }
    write_table(context, &table)?;
    // One note for each archive, however many checkpoints it holds.
    for rows in rows.chunk_by(|(one, _), (other, _)| one.evidence.path == other.evidence.path) {
        let issues = rows.iter().filter_map(|(row, _)| row.issues).fold(0, usize::saturating_add);
        if let (1.., Some((row, _))) = (issues, rows.first()) {
            let what = plural(issues, "issue", "issues");
            context
                .note(&format!("{}: {what}; `cryoscope inspect` lists what could not be read", row.evidence.path))?;
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The archive, and where in it when it holds several checkpoints.
pub(super) fn archive_label(row: &Overview, nr_checkpoints: usize) -> String {
    let evidence = &row.evidence;
    if nr_checkpoints > 1 { format!("{} [{}]", evidence.path, evidence.images_dir) } else { evidence.path.clone() }
}

/// A table without lines that wraps cells only on a terminal.
pub(super) fn table(style: Style, heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).force_no_tty();
    if style.is_coloured {
        table.enforce_styling();
    }
    table.set_content_arrangement(match style.width {
        Some(_) => ContentArrangement::Dynamic,
        None => ContentArrangement::Disabled,
    });
    if let Some(width) = style.width {
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
    }
    table.set_header(heads.iter().map(|head| Cell::new(head).add_attribute(Attribute::Dim)));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Writes the table, without blanks at the ends of lines.
pub(super) fn write_table(context: &mut Context<'_>, table: &Table) -> anyhow::Result<()> {
    for line in table.lines() {
        writeln!(context.out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A cell with text of the evidence.
pub(super) fn word(text: Option<&str>) -> Cell {
    Cell::new(text.map_or("-".into(), escape_controls))
}

/// A cell with a size.
pub(super) fn size(size: Option<u64>) -> Cell {
    Cell::new(size.map_or_else(|| "-".into(), bytes)).set_alignment(CellAlignment::Right)
}

pub(super) fn short_id(id: &str) -> &str {
    id.char_indices().nth(SHORT_ID).map_or(id, |(end, _)| &id[..end])
}
