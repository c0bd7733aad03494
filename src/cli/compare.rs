//! `compare`: what is different between two checkpoints of a container.

use std::io;
use std::sync::Arc;

use super::args::{CompareArgs, Parents};
use super::context::Context;
use crate::base::{Progress, escape_controls};
use crate::checkpoint::Checkpoint;
use crate::memory::Memory;
use crate::report::changes::{Changes, Difference};
use crate::report::text::{Style, Tone, bytes, plural};

/// Entries of a list that people see; JSON has more.
const SHOWN: usize = 40;

pub(super) fn run(args: &CompareArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let mut one = |path| -> anyhow::Result<Arc<Checkpoint>> {
        // Of a chain the last: that is what the container was.
        let mut all = context.checkpoints(path, &Parents::default())?;
        all.pop().ok_or_else(|| anyhow::anyhow!("{}: has no checkpoint", path.display()))
    };
    let (before, after) = (one(&args.before)?, one(&args.after)?);
    let bar = context.progress();
    let changes = between(before, after, &bar)?;
    drop(bar);
    print(&changes, context)
}

/// Compares two checkpoints.
///
/// # Errors
/// It was cancelled.
pub(super) fn between(
    before: Arc<Checkpoint>,
    after: Arc<Checkpoint>,
    progress: &dyn Progress,
) -> anyhow::Result<Changes> {
    Ok(Changes::between(&Memory::new(before), &Memory::new(after), progress)?)
}

pub(super) fn print(changes: &Changes, context: &mut Context<'_>) -> anyhow::Result<()> {
    if context.json {
        return context.write_json(changes);
    }
    let style = context.style;
    let out = &mut *context.out;
    writeln!(out, "{}", style.paint(Tone::Strong, "Processes"))?;
    for process in &changes.processes {
        let comm = process.comm.as_deref().unwrap_or("-");
        let exe = process.exe.as_deref().unwrap_or("-");
        writeln!(
            out,
            "  {:>6} {:<8} {}  {}",
            process.pid,
            process.change,
            escape_controls(comm),
            escape_controls(exe)
        )?;
        if let Some(pages) = &process.pages {
            let changed = usize::try_from(pages.changed).unwrap_or(usize::MAX);
            let size = bytes(pages.changed.saturating_mul(pages.page_bytes));
            writeln!(out, "           {} ({size}) with other content", plural(changed, "page", "pages"))?;
        }
        list(&process.fds, "fd ", style, out)?;
        list(&process.maps, "map ", style, out)?;
    }
    writeln!(out, "  {} as before", plural(changes.nr_unchanged, "process", "processes"))?;
    for (name, difference) in [("Sockets", &changes.sockets), ("Files", &changes.files)] {
        writeln!(out, "{}", style.paint(Tone::Strong, name))?;
        if difference.is_empty() {
            writeln!(out, "  as before")?;
        }
        list(difference, "", style, out)?;
    }
    Ok(())
}

fn list(difference: &Difference, what: &str, style: Style, out: &mut dyn io::Write) -> io::Result<()> {
    for (mark, entries) in [("+", &difference.added), ("-", &difference.removed)] {
        for entry in entries.iter().take(SHOWN) {
            writeln!(out, "           {mark} {what}{}", escape_controls(entry))?;
        }
        let more = entries.len().saturating_sub(SHOWN);
        if more > 0 {
            writeln!(out, "           {}", style.paint(Tone::Dim, &format!("{mark} {more} more: see --json")))?;
        }
    }
    if difference.left_out > 0 {
        writeln!(out, "           {} more are not listed", difference.left_out)?;
    }
    Ok(())
}
