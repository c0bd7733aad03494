//! A new file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Zeros of this length, where a block of a file begins, become a hole.
const HOLE_BYTES: usize = 4096;

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
