//! Programs and libraries in memory, rebuilt as files.

use std::fs;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::file::is_in;
use super::{create, write_sparse};
use crate::base::Progress;
use crate::memory::carve::ElfImage;
use crate::memory::{AddressSpace, Content};

/// Rebuilt files together take at most twice the memory that the process has in the evidence, and this: hostile images may
/// overlap, others do not.
const SPARE_BYTES: u64 = 64 << 20;
/// What a piece of memory counts besides its bytes.
const STEP_COST_BYTES: u64 = 4096;
/// Written at a time.
const STEP_BYTES: usize = 1 << 20;
/// Longest part of a name of a map that goes into the name of a file.
const MAX_NAME_BYTES: usize = 100;

/// Where rebuilt files go, and how many bytes they may still take.
#[derive(Debug)]
pub struct CarveDir<'a> {
    path: PathBuf,
    force: bool,
    evidence: &'a [PathBuf],
    left_bytes: u64,
}

impl<'a> CarveDir<'a> {
    /// Makes the directory if it is not there; for the images of one process.
    ///
    /// # Errors
    /// It lies in the evidence, or cannot be made.
    pub fn new(
        path: &Path,
        force: bool,
        evidence: &'a [PathBuf],
        space: &AddressSpace<'_>,
    ) -> anyhow::Result<CarveDir<'a>> {
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
        if let Some(found) = found {
            anyhow::ensure!(!is_in(&found, evidence), "{shown}: lies in the evidence, which is never written to");
        }
        fs::create_dir_all(path).with_context(|| shown.to_string())?;
        let stored = space.segments().filter(|segment| segment.origin.is_stored()).map(|segment| segment.len_bytes());
        let left_bytes = stored.fold(0, u64::saturating_add).saturating_mul(2).saturating_add(SPARE_BYTES);
        Ok(CarveDir { path: path.to_owned(), force, evidence, left_bytes })
    }

    /// What was carved, for those who find the directory later.
    ///
    /// # Errors
    /// The file exists, or cannot be made.
    pub fn lines(&self) -> anyhow::Result<BufWriter<fs::File>> {
        Ok(BufWriter::new(create(&self.path.join("carved.jsonl"), self.force, self.evidence)?))
    }

    /// Writes the file of an image; its path, or why it is not written.
    ///
    /// # Errors
    /// The file exists or refuses, or the work is cancelled.
    pub fn rebuild(
        &mut self,
        space: &AddressSpace<'_>,
        image: &ElfImage<'_>,
        progress: &dyn Progress,
    ) -> anyhow::Result<Result<String, String>> {
        if self.left_bytes == 0 {
            let what =
                "the files before it have more than all of the memory; --range, --map or --kind choose among them";
            return Ok(Err(what.into()));
        }
        let path = self.path.join(file_name(image));
        let mut file = create(&path, self.force, self.evidence)?;
        progress.stage("rebuilding");
        let mut end = image.size_bytes();
        for (range, content) in image.content(space) {
            // Pieces cost as well.
            self.left_bytes = self.left_bytes.saturating_sub(STEP_COST_BYTES);
            let Content::Bytes(content) = content else { continue };
            for (nr, piece) in content.chunks(STEP_BYTES).enumerate() {
                progress.step(range.start, Some(end))?;
                let offset = range.start.saturating_add((nr * STEP_BYTES) as u64);
                write_sparse(&mut file, offset, piece).with_context(|| path.display().to_string())?;
                self.left_bytes = self.left_bytes.saturating_sub(piece.len() as u64);
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
