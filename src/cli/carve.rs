//! `memory --carve`: programs and libraries in memory, listed or rebuilt as files.

use std::fs;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::base::{Progress, VirtAddr};
use crate::memory::carve::{Carved, ElfImage, MAX_ABSENT, find_images};
use crate::memory::search::VmaFilter;
use crate::memory::{AddressSpace, Content, Missing};
use crate::report::carve::CarvedLine;
use crate::report::text::{Align, Cell, Columns, Tone, bytes};

use super::args::MemoryArgs;
use super::context::Context;
use super::extract::write_sparse;
use super::memory::create;

/// Rebuilt files together take at most twice the memory that the process has in the evidence, and this: hostile images may
/// overlap, others do not.
const SPARE_BYTES: u64 = 64 << 20;
/// What a piece of memory counts besides its bytes.
const STEP_COST_BYTES: u64 = 4096;
/// Written at a time.
const STEP_BYTES: usize = 1 << 20;
/// Longest part of a name of a map that goes into the name of a file.
const MAX_NAME_BYTES: usize = 100;
/// Files whose header is missing that are named in the note.
const MAX_NAMED: usize = 8;

type Absent = Vec<(Range<u64>, VirtAddr, Missing)>;

pub(super) fn run(
    args: &MemoryArgs,
    space: &AddressSpace<'_>,
    filter: &VmaFilter,
    evidence: Option<&Path>,
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    let dir = args.output.as_deref().map(|dir| Dir::new(dir, args.force, evidence)).transpose()?;
    let carved = find_images(space, filter, &context.progress())?;
    let mut lines = dir.as_ref().map(Dir::lines).transpose()?;
    let mut columns = columns();
    let stored = space.segments().filter(|segment| segment.origin.is_stored()).map(|segment| segment.len_bytes());
    let mut left = stored.fold(0, u64::saturating_add).saturating_mul(2).saturating_add(SPARE_BYTES);
    for image in &carved.images {
        let absent = image.absent(space);
        let written = match &dir {
            Some(_) if absent.len() >= MAX_ABSENT => Some(Err(format!(
                "more than {MAX_ABSENT} stretches of it are missing, and none was listed behind these"
            ))),
            Some(dir) => Some(dir.rebuild(space, image, &mut left, context)?),
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

/// Where rebuilt files go.
struct Dir<'a> {
    path: PathBuf,
    force: bool,
    evidence: Option<&'a Path>,
}

impl<'a> Dir<'a> {
    /// Makes the directory if it is not there.
    fn new(path: &Path, force: bool, evidence: Option<&'a Path>) -> anyhow::Result<Dir<'a>> {
        let shown = path.display();
        // A directory in the evidence must not even be made.
        let mut above = path;
        let found = loop {
            match fs::canonicalize(if above.as_os_str().is_empty() { Path::new(".") } else { above }) {
                Ok(found) => break Some(found),
                Err(_) => match above.parent() {
                    Some(parent) => above = parent,
                    None => break None,
                },
            }
        };
        if let (Some(found), Some(evidence)) = (found, evidence) {
            anyhow::ensure!(!found.starts_with(evidence), "{shown}: lies in the evidence, which is never written to");
        }
        fs::create_dir_all(path).with_context(|| shown.to_string())?;
        Ok(Dir { path: path.to_owned(), force, evidence })
    }

    /// What was carved, for those who find the directory later.
    fn lines(&self) -> anyhow::Result<BufWriter<fs::File>> {
        Ok(BufWriter::new(create(&self.path.join("carved.jsonl"), self.force, self.evidence)?))
    }

    /// Writes the file of an image; its path, or why it is not written.
    fn rebuild(
        &self,
        space: &AddressSpace<'_>,
        image: &ElfImage<'_>,
        left: &mut u64,
        context: &mut Context<'_>,
    ) -> anyhow::Result<Result<String, String>> {
        if *left == 0 {
            let what =
                "the files before it have more than all of the memory; --range, --map or --kind choose among them";
            return Ok(Err(what.into()));
        }
        let path = self.path.join(file_name(image));
        let mut file = create(&path, self.force, self.evidence)?;
        let bar = context.progress();
        bar.stage("rebuilding");
        let mut end = image.size_bytes();
        for (range, content) in image.content(space) {
            // Pieces cost as well.
            *left = left.saturating_sub(STEP_COST_BYTES);
            let Content::Bytes(content) = content else { continue };
            for (nr, piece) in content.chunks(STEP_BYTES).enumerate() {
                bar.step(range.start, Some(end))?;
                let offset = range.start.saturating_add((nr * STEP_BYTES) as u64);
                write_sparse(&mut file, offset, piece).with_context(|| path.display().to_string())?;
                *left = left.saturating_sub(piece.len() as u64);
            }
        }
        for (offset, made) in image.made(space).bytes {
            use std::os::unix::fs::FileExt as _;
            end = end.max(offset.saturating_add(made.len() as u64));
            file.write_all_at(&made, offset).with_context(|| path.display().to_string())?;
        }
        file.set_len(end).with_context(|| path.display().to_string())?;
        Ok(Ok(path.display().to_string()))
    }
}

/// The address and the name of the map, with letters that are safe everywhere.
fn file_name(image: &ElfImage<'_>) -> String {
    let name = image.name().unwrap_or_else(|| "anonymous".into());
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(safe).take(MAX_NAME_BYTES).collect();
    format!("{:x}-{name}.elf", image.base)
}
