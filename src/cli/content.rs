//! Reading a file of a checkpoint piece by piece, so that its size does not matter.

use crate::base::{Progress, VirtAddr};
use crate::checkpoint::Checkpoint;
use crate::evidence::{Evidence, Member, MemberKind};
use crate::report::files::{FileContent, FileRow};

/// Of reading members.
const PIECE_BYTES: u64 = 1 << 20;

/// Gets pieces in ascending order of their offsets; what is between them is zeros.
pub(super) type Sink<'a> = dyn FnMut(u64, &[u8]) -> anyhow::Result<()> + 'a;

/// Hands all bytes of a file to `sink`. Returns the size in bytes, up to which zeros follow the last piece.
///
/// # Errors
/// It cannot be read, the sink fails, or cancel.
pub(super) fn read(
    checkpoint: &Checkpoint,
    row: &FileRow<'_>,
    progress: &dyn Progress,
    sink: &mut Sink<'_>,
) -> anyhow::Result<u64> {
    let size = row.size_bytes.unwrap_or(0);
    match &row.content {
        FileContent::None => anyhow::bail!("{}: {}", row.name, why_empty(row)),
        FileContent::Bytes(bytes) => {
            sink(0, bytes)?;
            Ok(bytes.len() as u64)
        }
        FileContent::Chunks(chunks) => {
            let mut end = 0;
            for (offset, bytes) in *chunks {
                progress.step(end, Some(size))?;
                anyhow::ensure!(*offset >= end, "{}: pieces overlap at offset {offset:#x}", row.name);
                sink(*offset, bytes)?;
                end = offset.saturating_add(bytes.len() as u64);
            }
            Ok(size.max(end))
        }
        FileContent::Member { archive, member } => {
            let member = archive.members().get(*member);
            let member = member.ok_or_else(|| anyhow::anyhow!("{}: not in {}", row.name, archive.name()))?;
            member_pieces(archive, member, progress, sink)
        }
        FileContent::Shmem(id) => {
            let shared = checkpoint.shared_memory.get(id);
            let shared = shared.ok_or_else(|| anyhow::anyhow!("{}: its pages are not in the checkpoint", row.name))?;
            let pagemap = &shared.pagemap;
            for run in &pagemap.runs {
                let range = pagemap.range(run);
                let mut at = range.start;
                while at < range.end && at.0 < size {
                    progress.step(at.0, Some(size))?;
                    let left = range.end.0.min(size) - at.0;
                    let read = pagemap.read_at(at, left);
                    let read = read.map_err(|why| anyhow::anyhow!("{}: page at {at:#x}: {why}", row.name))?;
                    let Some(bytes) = read.filter(|bytes| !bytes.is_empty()) else { break };
                    sink(at.0, &bytes)?;
                    at = VirtAddr(at.0.saturating_add(bytes.len() as u64));
                }
            }
            Ok(size)
        }
    }
}

/// Why a row has nothing to read.
pub(super) fn why_empty(row: &FileRow<'_>) -> String {
    match row.r#type {
        "deleted" => "was deleted, and nothing held it open: its content is not in the checkpoint".into(),
        "file" => "its content is not in the checkpoint".into(),
        "symlink" => match &row.link_target {
            Some(target) => format!("is a symbolic link to {target}, which is not followed"),
            None => "is a symbolic link".into(),
        },
        kind => format!("is a {kind} and has no content"),
    }
}

fn member_pieces(
    archive: &Evidence,
    member: &Member,
    progress: &dyn Progress,
    sink: &mut Sink<'_>,
) -> anyhow::Result<u64> {
    if matches!(member.kind, MemberKind::HardLink { .. }) {
        let bytes = archive.read(member)?;
        sink(0, &bytes)?;
        return Ok(bytes.len() as u64);
    }
    let size = member.available_bytes();
    let mut at = 0;
    while at < size {
        progress.step(at, Some(size))?;
        let end = at.saturating_add(PIECE_BYTES).min(size);
        sink(at, &archive.read_range(member, at..end)?)?;
        at = end;
    }
    Ok(size)
}
