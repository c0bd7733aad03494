//! `files`: what a checkpoint keeps of file systems.

use std::io::{self, Write};

use crate::checkpoint::Checkpoint;
use crate::report::files::{FileList, FileRow};
use crate::report::text::{Align, Cell, Columns, Tone, bytes, plural, unix_time};

use super::args::{FilesAction, FilesArgs};
use super::context::Context;
use super::{content, extract};

pub(super) fn run(args: &FilesArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let checkpoint = context.one(&args.archive, &args.which, &args.parents)?;
    let files = FileList::from_checkpoint(&checkpoint);
    match &args.action {
        None | Some(FilesAction::List) => list(&checkpoint, &files, context),
        Some(FilesAction::Cat { path }) => cat(&checkpoint, &files, path, context),
        Some(FilesAction::Extract(args)) => extract::run(args, &checkpoint, &files, context),
    }
}

fn list(checkpoint: &Checkpoint, files: &FileList<'_>, context: &mut Context<'_>) -> anyhow::Result<()> {
    if context.json {
        return context.write_json(files);
    }
    if files.files.is_empty() {
        writeln!(context.out, "no file content in this checkpoint, and no path deleted")?;
        return Ok(());
    }
    let mut columns = Columns::new(&[
        ("TYPE", Align::Left),
        ("MODE", Align::Right),
        ("OWNER", Align::Right),
        ("SIZE", Align::Right),
        ("MODIFIED", Align::Left),
        ("NAME", Align::Left),
    ]);
    for row in &files.files {
        let owner = row.uid.zip(row.gid).map(|(uid, gid)| format!("{uid}:{gid}"));
        let target = row.link_target.as_ref().map_or_else(String::new, |target| format!(" -> {target}"));
        let name = format!("{}{target}", row.name);
        let tone = if matches!(row.source, "deleted" | "ghost") { Tone::Alert } else { Tone::Plain };
        let size = row.size_bytes.filter(|_| row.has_content);
        columns.row([
            row.r#type.into(),
            row.mode.clone().unwrap_or_else(|| "-".into()).into(),
            owner.unwrap_or_else(|| "-".into()).into(),
            size.map_or_else(|| "-".into(), bytes).into(),
            row.mtime.map_or_else(|| "-".into(), unix_time).into(),
            Cell::new(tone, crate::base::escape_controls(&name)),
        ]);
        columns.write_when_many(context.out, context.style, 0)?;
    }
    let style = context.style;
    columns.write(context.out, style, 0)?;
    if !checkpoint.issues.is_empty() {
        let issues = plural(checkpoint.issues.len(), "issue", "issues");
        context.note(&format!("{issues}; `cryoscope inspect` lists what could not be read"))?;
    }
    Ok(())
}

fn cat(checkpoint: &Checkpoint, files: &FileList<'_>, path: &str, context: &mut Context<'_>) -> anyhow::Result<()> {
    let found: Vec<&FileRow<'_>> = files.exact(path).collect();
    let row = match found[..] {
        [row] => row,
        [] => anyhow::bail!("{path}: no such file in {}; `files … list` names them", checkpoint.outer.name()),
        ref several => {
            // Of a path that was deleted and is still held, the one with content is meant.
            let mut readable = several.iter().filter(|row| row.has_content);
            match (readable.next(), readable.next()) {
                (Some(row), None) => row,
                _ => {
                    let mut names: Vec<&str> = several.iter().take(8).map(|row| row.name.as_str()).collect();
                    if names.len() < several.len() {
                        names.push("…");
                    }
                    anyhow::bail!("{path}: several files have this path, name one: {}", names.join(", "))
                }
            }
        }
    };
    // No bar: it would run through what is being printed.
    let progress = super::progress::Bar::new(false);
    let mut out = Zeros { out: &mut *context.out, at: 0 };
    let size = content::read(checkpoint, row, &progress, &mut |offset, bytes| {
        out.fill_to(offset)?;
        Ok(out.write(bytes)?)
    })?;
    Ok(out.fill_to(size)?)
}

/// Writes holes as zeros.
struct Zeros<'a> {
    out: &'a mut dyn Write,
    at: u64,
}

impl Zeros<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at = self.at.saturating_add(bytes.len() as u64);
        self.out.write_all(bytes)
    }

    fn fill_to(&mut self, offset: u64) -> io::Result<()> {
        const ZEROS: [u8; 1 << 14] = [0; 1 << 14];
        while self.at < offset {
            let len = usize::try_from(offset - self.at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.write(&ZEROS[..len])?;
        }
        Ok(())
    }
}
