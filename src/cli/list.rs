//! `list`: the archives in directories, each told from its beginning.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use comfy_table::Cell;
use serde::Serialize;

use crate::base::Progress as _;
use crate::checkpoint;
use crate::evidence::{Compression, Evidence};
use crate::report::overview::Overview;

use super::args::{ListArgs, Parents};
use super::context::Context;
use super::show::{self, size, word};

/// Of a compressed archive so much is read: engines write first what they say of the container.
const PEEK_BYTES: u64 = 4 << 20;

/// One of these lies in a directory that is a checkpoint.
const MARKS: [&str; 5] = ["inventory.img", "checkpoint/inventory.img", "config.dump", "spec.dump", "oci-layout"];

/// A file that is no checkpoint, or cannot be read.
#[derive(Debug, Serialize)]
struct Unreadable {
    path: String,
    size_bytes: Option<u64>,
    error: String,
}

pub(super) fn run(args: &ListArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let heads = ["ARCHIVE", "SIZE", "ENGINE", "CONTAINER", "POD", "IMAGE", "CHECKPOINTED", "NOTE"];
    let mut table = show::table(context.style, &heads);
    let mut is_empty = true;
    for dir in &args.dirs {
        anyhow::ensure!(!dir.is_file(), "{}: is a file and no directory; `cryoscope show` tells of it", dir.display());
        let paths = entries(dir).with_context(|| format!("{}: cannot be listed", dir.display()))?;
        let bar = context.progress();
        bar.stage("looking at archives");
        for (n, path) in paths.iter().enumerate() {
            bar.step(n as u64, Some(paths.len() as u64))?;
            is_empty = false;
            match peek(path, context) {
                Err(error) if super::is_cancelled(&error) => return Err(error),
                Ok(found) if context.json => found.iter().try_for_each(|row| context.write_json_line(row))?,
                Err(error) if context.json => context.write_json_line(&unreadable(path, &error))?,
                Ok(found) => {
                    table.add_rows(found.iter().map(|overview| row(overview, found.len())));
                }
                Err(error) => {
                    let it = unreadable(path, &error);
                    // What to do about it is for whoever opens that file.
                    let why = it.error.split("; ").next().unwrap_or_default();
                    let mut cells = vec![word(Some(&it.path)), size(it.size_bytes)];
                    cells.resize_with(heads.len() - 1, || word(None));
                    cells.push(word(Some(&format!("unreadable: {why}"))));
                    table.add_row(cells);
                }
            }
        }
    }
    if is_empty && !context.json {
        let dirs: Vec<String> = args.dirs.iter().map(|dir| dir.display().to_string()).collect();
        context.note(&format!("{}: no archive in it", dirs.join(", ")))?;
    } else if !context.json {
        show::write_table(context, &table)?;
    }
    Ok(())
}

fn row(overview: &Overview, nr_checkpoints: usize) -> Vec<Cell> {
    vec![
        word(Some(&show::archive_label(overview, nr_checkpoints))),
        size(Some(overview.evidence.size_bytes)),
        word(overview.engine.or(Some(overview.evidence.layout))),
        word(overview.container.as_deref()),
        word(overview.pod.as_deref()),
        word(overview.image.as_deref()),
        word(overview.checkpointed.as_deref()),
        word(Some(if overview.processes.is_none() { "only the beginning was read" } else { "" })),
    ]
}

fn unreadable(path: &Path, error: &anyhow::Error) -> Unreadable {
    let shown = path.display().to_string();
    let error = format!("{error:#}");
    // The path stands in a column of its own.
    let error = error.strip_prefix(&format!("{shown}: ")).unwrap_or(&error).to_owned();
    let size_bytes = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|found| found.len());
    Unreadable { path: shown, size_bytes, error }
}

/// Whether a directory is a checkpoint.
pub(super) fn is_checkpoint_dir(path: &Path) -> bool {
    MARKS.iter().any(|mark| path.join(mark).exists())
}

/// The same of a bucket: the directory, with its slash, that an object makes a checkpoint.
pub(super) fn checkpoint_dir_of(key: &str) -> Option<&str> {
    // The longer of two marks that fit is the one that names the directory.
    let dirs = MARKS.iter().filter_map(|mark| key.strip_suffix(mark));
    dirs.filter(|dir| dir.is_empty() || dir.ends_with('/')).min_by_key(|dir| dir.len())
}

/// Files, and directories that are checkpoints, by name.
#[expect(clippy::disallowed_methods, reason = "looks for evidence; what is found is opened by src/evidence")]
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let Ok(found) = fs::metadata(&path) else {
            paths.push(path);
            continue;
        };
        if found.is_file() || (found.is_dir() && is_checkpoint_dir(&path)) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// What an archive is. A compressed one is not unpacked: its beginning tells.
#[expect(clippy::disallowed_methods, reason = "hands the beginning of the file to src/evidence")]
fn peek(path: &Path, context: &mut Context<'_>) -> anyhow::Result<Vec<Overview>> {
    let is_compressed = |file: &File| {
        let mut head = [0; 16];
        let read = file.take(head.len() as u64).read(&mut head)?;
        Ok::<_, io::Error>(Compression::detect(&head[..read]) != Compression::None)
    };
    let found = fs::metadata(path).with_context(|| path.display().to_string())?;
    if found.is_file() && found.len() > PEEK_BYTES {
        let opened = File::open(path).and_then(|file| Ok((is_compressed(&file)?, file)));
        if let (true, _) = opened.with_context(|| path.display().to_string())? {
            let beginning = File::open(path).with_context(|| path.display().to_string())?.take(PEEK_BYTES);
            let name = path.display().to_string();
            let evidence = Evidence::open_reader(&name, Box::new(beginning), &context.options, &context.progress())?;
            let found_in = checkpoint::load(&evidence, &context.options, &context.progress())?;
            let rows = found_in.iter().map(|it| Overview::from_checkpoint(it, None).of_beginning(found.len()));
            return Ok(rows.collect());
        }
    }
    let checkpoints = context.checkpoints(path, &Parents::default())?;
    Ok(checkpoints.iter().map(|it| Overview::from_checkpoint(it, None)).collect())
}
