//! A new file.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::base::Progress;

/// Zeros of this length, where a block of a file begins, become a hole.
const HOLE_BYTES: usize = 4096;
/// Bytes that are copied between two looks at progress.
const PIECE_BYTES: usize = 1 << 20;

/// Makes a file, in place of another one with `force` only.
///
/// # Errors
/// It would be one of the evidence or lie in it, exists, or cannot be made.
#[expect(clippy::disallowed_methods, reason = "the one file that the analyst asked for")]
pub fn create(path: &Path, force: bool, evidence: &[PathBuf]) -> anyhow::Result<File> {
    let shown = path.display();
    if let Ok(found) = fs::canonicalize(path) {
        anyhow::ensure!(!is_in(&found, evidence), "{shown}: is the evidence, which is never written to");
        anyhow::ensure!(force, "{shown}: exists; --force replaces it");
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Ok(parent) = fs::canonicalize(parent) {
        anyhow::ensure!(!is_in(&parent, evidence), "{shown}: lies in the evidence, which is never written to");
    }
    File::create(path).with_context(|| shown.to_string())
}

/// Copies a file of our own, in place of another one; its length in bytes.
///
/// # Errors
/// Either file refuses, `path` is one of the evidence or lies in it, or the work is cancelled: then nothing is left there.
#[expect(clippy::disallowed_methods, reason = "a file that this program wrote, and the one that the analyst asked for")]
pub fn copy(from: &Path, path: &Path, evidence: &[PathBuf], progress: &dyn Progress) -> anyhow::Result<u64> {
    let mut source = File::open(from).with_context(|| from.display().to_string())?;
    let total = source.metadata().ok().map(|found| found.len());
    let mut file = create(path, true, evidence)?;
    let copied = pieces(&mut source, &mut file, total, progress);
    if copied.is_err() {
        let _ = fs::remove_file(path);
    }
    copied.with_context(|| path.display().to_string())
}

fn pieces(from: &mut File, to: &mut File, total: Option<u64>, progress: &dyn Progress) -> anyhow::Result<u64> {
    let (mut piece, mut done) = (vec![0; PIECE_BYTES], 0);
    loop {
        progress.step(done, total)?;
        let n = from.read(&mut piece)?;
        if n == 0 {
            return Ok(done);
        }
        to.write_all(&piece[..n])?;
        done += n as u64;
    }
}

/// Whether a canonical path is one of the evidence, or lies in it.
pub(super) fn is_in(found: &Path, evidence: &[PathBuf]) -> bool {
    evidence.iter().filter_map(|evidence| fs::canonicalize(evidence).ok()).any(|evidence| found.starts_with(evidence))
}

/// Writes what is not zeros. Blocks are cut where the file's blocks are, so that holes are holes.
///
/// # Errors
/// The file refuses.
pub fn write_sparse(file: &mut File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let head = (HOLE_BYTES as u64 - offset % HOLE_BYTES as u64) % HOLE_BYTES as u64;
    let (head, rest) = bytes.split_at(usize::try_from(head).unwrap_or(0).min(bytes.len()));
    let mut at = 0;
    // Start of a run of blocks with content.
    let mut run = None;
    for block in std::iter::once(head).chain(rest.chunks(HOLE_BYTES)) {
        if block.iter().any(|byte| *byte != 0) {
            run.get_or_insert(at);
        } else if let Some(start) = run.take() {
            file.write_all_at(&bytes[start..at], offset + start as u64)?;
        }
        at += block.len();
    }
    match run {
        Some(start) => file.write_all_at(&bytes[start..], offset + start as u64),
        None => Ok(()),
    }
}
