//! Memory of a process as files: a core file, raw bytes, the programs in it.

use std::fs::File;
use std::io::BufWriter;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{CarveDir, chosen, create, write_raw};
use crate::base::{Pid, Progress, VirtAddr};
use crate::checkpoint::Checkpoint;
use crate::jobs::JobCtx;
use crate::memory::carve::{MAX_ABSENT, find_images};
use crate::memory::search::VmaFilter;
use crate::memory::{AddressSpace, Memory, write_core};
use crate::report::carve::CarvedLine;
use crate::report::text::{bytes, plural};

/// What of the memory of a process is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryExport {
    /// A core file for debuggers.
    Core,
    /// The bytes of a range, holes where there are none.
    Raw(Range<VirtAddr>),
    /// Every program and library in it, rebuilt, in a directory.
    Carved,
}

impl MemoryExport {
    /// Proposed name of the file; nothing where a directory is chosen.
    pub fn file_name(&self, pid: Pid) -> Option<String> {
        match self {
            MemoryExport::Core => Some(format!("core.{pid}")),
            MemoryExport::Raw(range) => Some(format!("{pid}-{:x}-{:x}.bin", range.start, range.end)),
            MemoryExport::Carved => None,
        }
    }

    /// What is asked for, in words.
    pub fn title(&self) -> &'static str {
        match self {
            MemoryExport::Core => "Save a core file",
            MemoryExport::Raw(_) => "Save bytes of memory",
            MemoryExport::Carved => "Directory for programs and libraries",
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file or directory.
    pub path: PathBuf,
    /// What is in it, and what is not.
    pub detail: String,
    /// Whether something is not.
    pub lacks_some: bool,
}

/// Writes. Work for a job; the system's dialog has asked before it names a file that exists.
pub(in crate::session) fn write(
    path: &Path,
    evidence: &[PathBuf],
    checkpoint: &Checkpoint,
    memory: &Memory,
    pid: Pid,
    what: &MemoryExport,
    ctx: &JobCtx,
) -> anyhow::Result<Written> {
    let space = memory.space(pid).map_err(|why| anyhow::anyhow!("memory of process {pid}: {why}"))?;
    let (detail, lacks_some) = match what {
        MemoryExport::Core => core(checkpoint, pid, &space, create(path, true, evidence)?, ctx)
            .with_context(|| path.display().to_string())?,
        MemoryExport::Raw(range) => {
            let filter = VmaFilter { range: Some(range.clone()), ..VmaFilter::default() };
            let maps: Vec<_> = chosen(&space, &filter).collect();
            anyhow::ensure!(!maps.is_empty(), "nothing is mapped from {} to {}", range.start, range.end);
            let mut file = create(path, true, evidence)?;
            let raw = write_raw(&space, &maps, Some(range.clone()), &mut file, ctx)?;
            let holes = raw.missing.line().map(|line| format!("; holes that are not zeros: {line}"));
            (format!("{}{}", bytes(raw.len_bytes), holes.as_deref().unwrap_or_default()), holes.is_some())
        }
        MemoryExport::Carved => carve(path, evidence, &space, ctx)?,
    };
    Ok(Written { path: path.to_path_buf(), detail, lacks_some })
}

fn core(
    checkpoint: &Checkpoint,
    pid: Pid,
    space: &AddressSpace<'_>,
    file: File,
    ctx: &JobCtx,
) -> anyhow::Result<(String, bool)> {
    let process = checkpoint.process(pid).with_context(|| format!("there is no process {pid}"))?;
    ctx.stage("writing");
    let core = write_core(process, space, &mut BufWriter::with_capacity(1 << 20, file), ctx)?;
    let threads = plural(core.threads, "thread", "threads");
    let mut detail = format!("{threads}, {} of memory in {} segments", bytes(core.memory_bytes), core.segments);
    if core.absent_bytes > 0 {
        let absent = bytes(core.absent_bytes);
        detail.push_str(&format!("; {absent} are not in the checkpoint, give gdb the program and its libraries"));
    }
    if core.untouched_bytes > 0 {
        let untouched = bytes(core.untouched_bytes);
        detail.push_str(&format!("; {untouched} that were never touched, and would be zeros, are left out"));
    }
    if core.files_left_out > 0 {
        detail.push_str(&format!("; {} maps of files are not named in it", core.files_left_out));
    }
    Ok((detail, core.absent_bytes > 0 || core.untouched_bytes > 0 || core.files_left_out > 0))
}

fn carve(path: &Path, evidence: &[PathBuf], space: &AddressSpace<'_>, ctx: &JobCtx) -> anyhow::Result<(String, bool)> {
    ctx.stage("looking for programs");
    let carved = find_images(space, &VmaFilter::default(), ctx)?;
    anyhow::ensure!(!carved.images.is_empty(), "no program or library lies in this memory");
    let mut dir = CarveDir::new(path, true, evidence, space)?;
    let mut lines = dir.lines()?;
    let (mut nr_written, mut nr_failed, mut nr_whole) = (0usize, 0usize, 0usize);
    for image in &carved.images {
        let absent = image.absent(space);
        let written = if absent.len() >= MAX_ABSENT {
            Err("too many stretches of it are missing".to_owned())
        } else {
            dir.rebuild(space, image, ctx)?
        };
        nr_whole += usize::from(absent.is_empty() && written.is_ok());
        *(if written.is_ok() { &mut nr_written } else { &mut nr_failed }) += 1;
        serde_json::to_writer(&mut lines, &CarvedLine::new(space, image, &absent, Some(written)))?;
        writeln!(lines)?;
    }
    lines.flush()?;
    let mut detail = format!(
        "{}, {nr_whole} of them whole; carved.jsonl says what is missing of each",
        plural(nr_written, "program or library", "programs and libraries")
    );
    if nr_failed > 0 {
        detail.push_str(&format!("; {nr_failed} could not be written"));
    }
    if !carved.is_whole {
        detail.push_str("; there are more places that begin like a program");
    }
    if !carved.headless.is_empty() {
        let nr = carved.headless.len();
        detail.push_str(&format!("; of {} the header is not in the checkpoint", plural(nr, "file", "files")));
    }
    Ok((detail, nr_whole < carved.images.len() || !carved.is_whole || !carved.headless.is_empty()))
}
