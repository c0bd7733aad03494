//! `memory --carve`: programs and libraries in memory, listed or rebuilt as files.

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use crate::base::VirtAddr;
use crate::memory::carve::{Carved, ElfImage, MAX_ABSENT, find_images};
use crate::memory::search::VmaFilter;
use crate::memory::{AddressSpace, Missing};
use crate::report::carve::CarvedLine;
use crate::report::text::{Align, Cell, Columns, Tone, bytes};
use crate::session::export::CarveDir;

use super::args::MemoryArgs;
use super::context::Context;

/// Files whose header is missing that are named in the note.
const MAX_NAMED: usize = 8;

type Absent = Vec<(Range<u64>, VirtAddr, Missing)>;

pub(super) fn run(
    args: &MemoryArgs,
    space: &AddressSpace<'_>,
    filter: &VmaFilter,
    evidence: &[PathBuf],
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    let mut dir = args.output.as_deref().map(|dir| CarveDir::new(dir, args.force, evidence, space)).transpose()?;
    let carved = find_images(space, filter, &context.progress())?;
    let mut lines = dir.as_ref().map(CarveDir::lines).transpose()?;
    let mut columns = columns();
    for image in &carved.images {
        let absent = image.absent(space);
        let written = match &mut dir {
            Some(_) if absent.len() >= MAX_ABSENT => Some(Err(format!(
                "more than {MAX_ABSENT} stretches of it are missing, and none was listed behind these"
            ))),
            Some(dir) => Some(dir.rebuild(space, image, &context.progress())?),
            None => None,
        };
        if let Some(Err(why)) = &written {
            context.note(&format!("{}: not written: {why}", image.base))?;
        }
        row(&mut columns, image, &absent, written.as_ref());
        let line = CarvedLine::new(space, image, &absent, written);
        if let Some(lines) = &mut lines {
            serde_json::to_writer(&mut *lines, &line)?;
            writeln!(lines)?;
        }
        if context.json {
            context.write_json_line(&line)?;
        } else {
            columns.write_when_many(context.out, context.style, 0)?;
        }
    }
    if let Some(lines) = &mut lines {
        lines.flush()?;
    }
    if !context.json && !carved.images.is_empty() {
        columns.write(context.out, context.style, 0)?;
    }
    context.out.flush()?;
    notes(&carved, args, context)
}

fn notes(carved: &Carved<'_>, args: &MemoryArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    if carved.images.is_empty() {
        context.note("no program or library lies in this memory")?;
    }
    if !carved.is_whole {
        context.note("there are more places that begin like a program; --range chooses among them")?;
    }
    let headless: Vec<String> = carved.headless.iter().take(MAX_NAMED).map(|vma| vma.path.label()).collect();
    if !headless.is_empty() {
        let more = carved.headless.len() - headless.len();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let help = if args.base.rootfs.is_some() { "" } else { "; --rootfs IMAGE supplies them" };
        let names = headless.join(", ");
        context
            .note(&format!("clean pages that hold the ELF header are not in the checkpoint: {names}{more}{help}"))?;
    }
    Ok(())
}

fn columns() -> Columns {
    Columns::new(&[
        ("START", Align::Right),
        ("TYPE", Align::Left),
        ("MACHINE", Align::Left),
        ("LAYOUT", Align::Left),
        ("SIZE", Align::Right),
        ("ABSENT", Align::Right),
        ("PERMS", Align::Left),
        ("KIND", Align::Left),
        ("PATH", Align::Left),
        ("FILE", Align::Left),
    ])
}

fn row(columns: &mut Columns, image: &ElfImage<'_>, absent: &Absent, written: Option<&Result<String, String>>) {
    let lost = absent.iter().map(|(file, ..)| file.end - file.start).fold(0, u64::saturating_add);
    let shown = if lost == 0 { "-".to_owned() } else { bytes(lost) };
    let path = image.vma.path.label();
    columns.row([
        format!("{:#x}", image.base).into(),
        image.type_word().into(),
        image.machine().into(),
        image.layout.word().into(),
        bytes(image.size_bytes()).into(),
        Cell::new(if lost == 0 { Tone::Plain } else { Tone::Alert }, shown),
        image.vma.perms().into(),
        image.vma.kind.word().into(),
        if path.is_empty() { "-".into() } else { path.into() },
        match written {
            Some(Ok(file)) => file.clone().into(),
            Some(Err(_)) | None => "-".into(),
        },
    ]);
}
