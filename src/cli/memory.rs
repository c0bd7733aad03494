//! `memory`: what lies in the memory of a process, as a hex dump, as JSON lines, or as its bytes.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::base::{Absent, Pid, Progress, VirtAddr};
use crate::checkpoint::{Checkpoint, Process, Vma};
use crate::memory::search::VmaFilter;
use crate::memory::{AddressSpace, Chunk, Content, CoreSummary, Missing, write_core};
use crate::report::missing::Tally;
use crate::report::search::{CoreReport, MemoryLine, RawPart};
use crate::report::text::{Align, Cell, Columns, HexDump, Tone, bytes, plural};

use super::args::MemoryArgs;
use super::carve;
use super::code;
use super::context::Context;
use super::extract::write_sparse;
use super::search::filter;

/// Bytes on one line of JSON.
const JSON_CHUNK_BYTES: u64 = 4096;
/// Bytes between two looks at Ctrl+C.
const STEP_BYTES: u64 = 1 << 20;

pub(super) fn run(args: &MemoryArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let checkpoint = context.one(&args.archive, &args.which, &args.parents)?;
    context.process(&checkpoint, args.pid)?;
    let archive = checkpoint.outer.name().to_owned();
    let evidence = checkpoint.outer.path().and_then(|path| fs::canonicalize(path).ok());
    let memory = context.memory(Arc::<Checkpoint>::clone(&checkpoint), &args.base)?;
    let space = memory.space(Pid(args.pid)).map_err(|why| match why {
        Absent::NotApplicable => anyhow::anyhow!("{archive}: process {} has no memory: it is a zombie", args.pid),
        why => anyhow::anyhow!("{archive}: memory of process {}: mm-{}.img {why}", args.pid, args.pid),
    })?;
    if let (true, Some(path)) = (args.core, &args.output) {
        let file = create(path, args.force, evidence.as_deref())?;
        let process = checkpoint.process(Pid(args.pid)).with_context(|| format!("{archive}: process {}", args.pid))?;
        return core(process, &space, file, path, context);
    }
    if args.stacks {
        return code::stacks(&memory, &space, context);
    }
    let filter = filter(&args.maps, args.range);
    if args.carve {
        return carve::run(args, &space, &filter, evidence.as_deref(), context);
    }
    let chosen: Vec<(&Vma, Range<VirtAddr>)> = chosen(&space, &filter).collect();
    if chosen.is_empty() {
        let maps = format!("`cryoscope inspect {archive} --pid {} --maps` lists its maps", args.pid);
        anyhow::bail!("{archive}: process {} has nothing mapped there; {maps}", args.pid);
    }
    if let (true, Some((start, end))) = (args.disassemble, args.range) {
        return code::disassembly(&memory, &space, VirtAddr(start)..VirtAddr(end), context);
    }
    match &args.output {
        None if args.raw => raw_to_stdout(args, &space, &chosen, context),
        None => {
            let mut missing = Tally::default();
            let bar = context.progress_while_printing();
            if context.json {
                json(&space, &chosen, &bar, context.out, &mut missing)?;
            } else {
                let mut dump = HexDump::new(context.style);
                hex(&mut dump, &space, &chosen, &bar, context.out, &mut missing)?;
            }
            Ok(())
        }
        Some(path) => {
            let file = create(path, args.force, evidence.as_deref())?;
            if args.raw {
                return raw_to_file(args, &space, &chosen, &file, context);
            }
            let mut out = BufWriter::new(file);
            let (bar, mut missing) = (context.progress(), Tally::default());
            if context.json {
                json(&space, &chosen, &bar, &mut out, &mut missing)?;
            } else {
                let mut dump = HexDump::new(crate::report::text::Style::default());
                hex(&mut dump, &space, &chosen, &bar, &mut out, &mut missing)?;
            }
            out.flush().with_context(|| path.display().to_string())
        }
    }
}

/// A core file, and one line about it.
fn core(
    process: &Process,
    space: &AddressSpace<'_>,
    file: File,
    path: &Path,
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    let bar = context.progress();
    let summary = write_core(process, space, &mut BufWriter::with_capacity(1 << 20, file), &bar);
    drop(bar);
    let CoreSummary { threads, segments, memory_bytes, absent_bytes, untouched_bytes, file_bytes, files_left_out } =
        summary.with_context(|| path.display().to_string())?;
    if context.json {
        return context.write_json(&CoreReport {
            threads,
            segments,
            memory_bytes,
            absent_bytes,
            untouched_bytes,
            file_bytes,
            files_left_out,
        });
    }
    let absent = match absent_bytes {
        0 => String::new(),
        absent => format!("; {} are not in the checkpoint, give gdb the program and its libraries", bytes(absent)),
    };
    if untouched_bytes > 0 {
        let untouched = bytes(untouched_bytes);
        context
            .note(&format!("{untouched} of memory that was never touched, and would be zeros, are not in the file"))?;
    }
    if files_left_out > 0 {
        context
            .note(&format!("{files_left_out} maps of files are not named in it: their names are too long together"))?;
    }
    let threads = plural(threads, "thread", "threads");
    Ok(writeln!(context.out, "{threads}, {} of memory in {segments} segments{absent}", bytes(memory_bytes))?)
}

/// The maps that pass, each with the range that was asked for.
fn chosen<'s>(space: &AddressSpace<'s>, filter: &VmaFilter) -> impl Iterator<Item = (&'s Vma, Range<VirtAddr>)> {
    let limits = filter.range.clone().unwrap_or(VirtAddr(0)..VirtAddr(u64::MAX));
    let vmas = space.map().vmas.iter().filter(|vma| filter.has(vma));
    vmas.map(move |vma| (vma, vma.start.max(limits.start)..vma.end.min(limits.end)))
}

/// Chunks of a range, none longer than `max` unless it is zeros or absent.
fn chunks<'s>(space: &'s AddressSpace<'_>, range: Range<VirtAddr>, max: u64) -> impl Iterator<Item = Chunk> + 's {
    space.read(range).flat_map(move |chunk| {
        let Content::Bytes(all) = chunk.content else { return vec![chunk].into_iter() };
        let start = chunk.range.start.0;
        let pieces = (0..all.len()).step_by(usize::try_from(max).unwrap_or(usize::MAX)).map(|from| {
            let to = all.len().min(from.saturating_add(usize::try_from(max).unwrap_or(usize::MAX)));
            let range = VirtAddr(start + from as u64)..VirtAddr(start + to as u64);
            Chunk { range, content: Content::Bytes(all.slice(from..to)) }
        });
        pieces.collect::<Vec<_>>().into_iter()
    })
}

fn hex(
    dump: &mut HexDump,
    space: &AddressSpace<'_>,
    chosen: &[(&Vma, Range<VirtAddr>)],
    progress: &dyn Progress,
    out: &mut dyn Write,
    missing: &mut Tally,
) -> anyhow::Result<()> {
    let mut is_first = true;
    for (vma, range) in chosen {
        if !std::mem::take(&mut is_first) {
            dump.finish(out)?;
            writeln!(out)?;
        }
        dump.map(out, space, vma)?;
        for chunk in chunks(space, range.clone(), STEP_BYTES) {
            progress.step(0, None)?;
            note(missing, &chunk);
            dump.chunk(out, &chunk)?;
        }
    }
    Ok(dump.finish(out)?)
}

fn json(
    space: &AddressSpace<'_>,
    chosen: &[(&Vma, Range<VirtAddr>)],
    progress: &dyn Progress,
    out: &mut dyn Write,
    missing: &mut Tally,
) -> anyhow::Result<()> {
    for (vma, range) in chosen {
        for chunk in chunks(space, range.clone(), JSON_CHUNK_BYTES) {
            progress.step(0, None)?;
            note(missing, &chunk);
            serde_json::to_writer(&mut *out, &MemoryLine::new(space, vma, &chunk))?;
            writeln!(out)?;
        }
    }
    Ok(())
}

fn note(missing: &mut Tally, chunk: &Chunk) {
    if let Content::Absent(why) = chunk.content {
        missing.add_missing(why, chunk.range.end.0 - chunk.range.start.0);
    }
}

/// Bytes of one range; what is not there cannot be told in them, and is refused.
fn raw_to_stdout(
    args: &MemoryArgs,
    space: &AddressSpace<'_>,
    chosen: &[(&Vma, Range<VirtAddr>)],
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    let ranges: Vec<Range<VirtAddr>> = match args.range {
        Some((start, end)) => vec![VirtAddr(start)..VirtAddr(end)],
        None => chosen.iter().map(|(_, range)| range.clone()).collect(),
    };
    let absent = ranges.iter().flat_map(|range| space.read(range.clone())).find_map(|chunk| match chunk.content {
        Content::Absent(why) => Some((chunk.range, why)),
        _ => None,
    });
    if let Some((range, why)) = absent {
        let all = format!("{}..{}", range.start, range.end);
        anyhow::bail!("{all}: {why}; -o FILE writes what is there, with holes for the rest");
    }
    const ZEROS: [u8; 1 << 14] = [0; 1 << 14];
    let bar = context.progress_while_printing();
    for chunk in ranges.into_iter().flat_map(|range| chunks(space, range, STEP_BYTES)) {
        bar.step(0, None)?;
        match chunk.content {
            Content::Bytes(bytes) => context.out.write_all(&bytes)?,
            _ => {
                let mut left = chunk.range.end.0 - chunk.range.start.0;
                while left > 0 {
                    bar.step(0, None)?;
                    let len = left.min(ZEROS.len() as u64);
                    context.out.write_all(&ZEROS[..usize::try_from(len).unwrap_or(0)])?;
                    left -= len;
                }
            }
        }
    }
    Ok(())
}

/// A sparse file, and a table of what is where in it.
fn raw_to_file(
    args: &MemoryArgs,
    space: &AddressSpace<'_>,
    chosen: &[(&Vma, Range<VirtAddr>)],
    file: &File,
    context: &mut Context<'_>,
) -> anyhow::Result<()> {
    let mut file = file.try_clone()?;
    let (mut missing, mut parts) = (Tally::default(), Vec::new());
    let total: u64 = chosen.iter().map(|(_, range)| range.end.0 - range.start.0).fold(0, u64::saturating_add);
    let bar = context.progress();
    bar.stage("writing");
    let (mut end, mut done) = (0u64, 0u64);
    for (vma, range) in chosen {
        let len = range.end.0 - range.start.0;
        let offset = args.range.map_or(end, |(start, _)| range.start.0 - start);
        let mut absent_bytes = 0u64;
        for chunk in chunks(space, range.clone(), STEP_BYTES) {
            let chunk_len = chunk.range.end.0 - chunk.range.start.0;
            bar.step(done, Some(total))?;
            done = done.saturating_add(chunk_len);
            match &chunk.content {
                Content::Bytes(bytes) => {
                    let at = offset.saturating_add(chunk.range.start.0 - range.start.0);
                    write_sparse(&mut file, at, bytes)?;
                }
                Content::Zero => {}
                Content::Absent(why) => {
                    absent_bytes = absent_bytes.saturating_add(chunk_len);
                    missing.add_missing(*why, chunk_len);
                }
            }
        }
        parts.push(RawPart::new(offset, range.clone(), vma, absent_bytes));
        end = offset.saturating_add(len);
    }
    if let Some((start, until)) = args.range {
        let mapped = total;
        if let Some(unmapped) = (until - start).checked_sub(mapped).filter(|unmapped| *unmapped > 0) {
            missing.add_missing(Missing::Unmapped, unmapped);
        }
        end = until - start;
    }
    file.set_len(end).with_context(|| format!("a file of {end} bytes"))?;
    drop(bar);
    if context.json {
        parts.iter().try_for_each(|part| context.write_json_line(part))?;
    } else {
        table(&parts, chosen, context)?;
    }
    if let Some(line) = missing.line() {
        context.out.flush()?;
        context.note(&format!("holes in the file that are not zeros: {line}"))?;
    }
    Ok(())
}

fn table(parts: &[RawPart], chosen: &[(&Vma, Range<VirtAddr>)], context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut columns = Columns::new(&[
        ("OFFSET", Align::Right),
        ("START", Align::Right),
        ("END", Align::Right),
        ("PERMS", Align::Left),
        ("SIZE", Align::Right),
        ("ABSENT", Align::Right),
        ("KIND", Align::Left),
        ("PATH", Align::Left),
    ]);
    let style = context.style;
    for (part, (vma, range)) in parts.iter().zip(chosen) {
        let absent = if part.absent_bytes == 0 { "-".to_owned() } else { bytes(part.absent_bytes) };
        columns.row([
            format!("{:#x}", part.file_offset).into(),
            format!("{:#x}", range.start).into(),
            format!("{:#x}", range.end).into(),
            vma.perms().into(),
            bytes(part.length).into(),
            Cell::new(if part.absent_bytes == 0 { Tone::Plain } else { Tone::Alert }, absent),
            vma.kind.word().into(),
            vma.path.label().into(),
        ]);
        columns.write_when_many(context.out, style, 0)?;
    }
    Ok(columns.write(context.out, style, 0)?)
}

/// A new file; never the evidence.
#[expect(clippy::disallowed_methods, reason = "the one file that the analyst asked for")]
pub(super) fn create(path: &Path, force: bool, evidence: Option<&Path>) -> anyhow::Result<File> {
    let shown = path.display();
    if let Ok(found) = fs::canonicalize(path) {
        let is_evidence = evidence.is_some_and(|evidence| found.starts_with(evidence));
        anyhow::ensure!(!is_evidence, "{shown}: is the evidence, which is never written to");
        anyhow::ensure!(force, "{shown}: exists; --force replaces it");
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let (Ok(parent), Some(evidence)) = (fs::canonicalize(parent), evidence) {
        anyhow::ensure!(!parent.starts_with(evidence), "{shown}: lies in the evidence, which is never written to");
    }
    File::create(path).with_context(|| shown.to_string())
}
