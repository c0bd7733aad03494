//! The bytes of memory as they are, in a sparse file.

use std::fs::File;
use std::ops::Range;

use anyhow::Context as _;

use super::write_sparse;
use crate::base::{Progress, VirtAddr};
use crate::checkpoint::Vma;
use crate::memory::search::VmaFilter;
use crate::memory::{AddressSpace, Chunk, Content, Missing};
use crate::report::missing::Tally;
use crate::report::search::RawPart;

/// Bytes between two looks at progress.
const STEP_BYTES: u64 = 1 << 20;

/// What is where in a file of memory.
#[derive(Clone, Debug)]
pub struct RawFile {
    /// One for each map, in order.
    pub parts: Vec<RawPart>,
    /// Holes that are not zeros.
    pub missing: Tally,
    /// Length of the file.
    pub len_bytes: u64,
}

/// The maps that pass, each with the range that was asked for.
pub fn chosen<'s>(space: &AddressSpace<'s>, filter: &VmaFilter) -> impl Iterator<Item = (&'s Vma, Range<VirtAddr>)> {
    let limits = filter.range.clone().unwrap_or(VirtAddr(0)..VirtAddr(u64::MAX));
    let vmas = space.map().vmas.iter().filter(|vma| filter.has(vma));
    vmas.map(move |vma| (vma, vma.start.max(limits.start)..vma.end.min(limits.end)))
}

/// Chunks of a range, none longer than `max` unless it is zeros or absent.
pub fn chunks<'s>(
    space: &'s AddressSpace<'_>,
    range: Range<VirtAddr>,
    max: u64,
) -> impl Iterator<Item = Chunk> + use<'s> {
    space.read(range).flat_map(move |chunk| {
        let Content::Bytes(all) = chunk.content else { return vec![chunk].into_iter() };
        let start = chunk.range.start.0;
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let pieces = (0..all.len()).step_by(max).map(|from| {
            let to = all.len().min(from.saturating_add(max));
            let range = VirtAddr(start + from as u64)..VirtAddr(start + to as u64);
            Chunk { range, content: Content::Bytes(all.slice(from..to)) }
        });
        pieces.collect::<Vec<_>>().into_iter()
    })
}

/// Writes maps one behind the other; with a `range`, each at its distance from the range's start.
///
/// # Errors
/// The file refuses, or the work is cancelled.
pub fn write_raw(
    space: &AddressSpace<'_>,
    chosen: &[(&Vma, Range<VirtAddr>)],
    range: Option<Range<VirtAddr>>,
    file: &mut File,
    progress: &dyn Progress,
) -> anyhow::Result<RawFile> {
    let (mut missing, mut parts) = (Tally::default(), Vec::new());
    let total: u64 = chosen.iter().map(|(_, range)| range.end.0 - range.start.0).fold(0, u64::saturating_add);
    progress.stage("writing");
    let (mut end, mut done) = (0u64, 0u64);
    for (vma, part) in chosen {
        let len = part.end.0 - part.start.0;
        let offset = range.as_ref().map_or(end, |range| part.start.0 - range.start.0);
        let mut absent_bytes = 0u64;
        for chunk in chunks(space, part.clone(), STEP_BYTES) {
            let chunk_len = chunk.range.end.0 - chunk.range.start.0;
            progress.step(done, Some(total))?;
            done = done.saturating_add(chunk_len);
            match &chunk.content {
                Content::Bytes(bytes) => {
                    let at = offset.saturating_add(chunk.range.start.0 - part.start.0);
                    write_sparse(file, at, bytes)?;
                }
                Content::Zero => {}
                Content::Absent(why) => {
                    absent_bytes = absent_bytes.saturating_add(chunk_len);
                    missing.add_missing(*why, chunk_len);
                }
            }
        }
        parts.push(RawPart::new(offset, part.clone(), vma, absent_bytes));
        end = offset.saturating_add(len);
    }
    if let Some(range) = range {
        end = range.end.0.saturating_sub(range.start.0);
        if let Some(unmapped) = end.checked_sub(total).filter(|unmapped| *unmapped > 0) {
            missing.add_missing(Missing::Unmapped, unmapped);
        }
    }
    file.set_len(end).with_context(|| format!("a file of {end} bytes"))?;
    Ok(RawFile { parts, missing, len_bytes: end })
}
