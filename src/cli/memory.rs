//! `memory`: what lies in the memory of a process, as a hex dump, as JSON lines, or as its bytes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::base::{Absent, Pid, Progress, VirtAddr};
use crate::checkpoint::{Checkpoint, Process, Vma};
use crate::memory::{AddressSpace, Chunk, Content, CoreSummary, write_core};
use crate::report::missing::Tally;
use crate::report::search::{CoreReport, MemoryLine, RawPart};
use crate::report::text::{Align, Cell, Columns, HexDump, Tone, bytes, plural};
use crate::session::export::{RawFile, chosen, chunks, create, write_raw};

use super::args::MemoryArgs;
use super::carve;
use super::code;
use super::context::Context;
use super::search::filter;

/// Bytes on one line of JSON.
const JSON_CHUNK_BYTES: u64 = 4096;
/// Bytes between two looks at Ctrl+C.
const STEP_BYTES: u64 = 1 << 20;

pub(super) fn run(args: &MemoryArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let checkpoint = context.one(&args.archive, &args.which, &args.parents)?;
    context.process(&checkpoint, args.pid)?;
    let archive = checkpoint.outer.name().to_owned();
    let evidence = checkpoint.outer.path().map(Path::to_path_buf);
    let memory = context.memory(Arc::<Checkpoint>::clone(&checkpoint), &args.base)?;
    let space = memory.space(Pid(args.pid)).map_err(|why| match why {
        Absent::NotApplicable => anyhow::anyhow!("{archive}: process {} has no memory: it is a zombie", args.pid),
        why => anyhow::anyhow!("{archive}: memory of process {}: mm-{}.img {why}", args.pid, args.pid),
    })?;
    if let (true, Some(path)) = (args.core, &args.output) {
        let file = create(path, args.force, evidence.as_slice())?;
        let process = checkpoint.process(Pid(args.pid)).with_context(|| format!("{archive}: process {}", args.pid))?;
        return core(process, &space, file, path, context);
    }
    if args.stacks {
        return code::stacks(&memory, &space, context);
    }
    let filter = filter(&args.maps, args.range);
    if args.carve {
        return carve::run(args, &space, &filter, evidence.as_slice(), context);
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
            let file = create(path, args.force, evidence.as_slice())?;
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
    let range = args.range.map(|(start, end)| VirtAddr(start)..VirtAddr(end));
    let bar = context.progress();
    let RawFile { parts, missing, .. } = write_raw(space, chosen, range, &mut file.try_clone()?, &bar)?;
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
