//! Hits for people: under a heading for each process, queue or file, one line each.

use std::io::{self, Write};

use crate::base::{Pid, escape_controls};
use crate::checkpoint::{Checkpoint, Vma};
use crate::memory::search::{Encoding, Hit, Source};
use crate::report::search::Label;

use super::hex::printable;
use super::{Style, Tone};

/// Most bytes of a match on a line.
const MAX_SHOWN_BYTES: usize = 512;
/// Columns of a name of a map.
const NAME_WIDTH: usize = 20;

/// Writes hits in the order of the search.
#[derive(Debug)]
pub struct HitList<'c> {
    checkpoint: &'c Checkpoint,
    style: Style,
    /// What the last heading was about.
    under: Option<(Source, Option<Pid>, String)>,
}

impl<'c> HitList<'c> {
    /// An empty list.
    pub fn new(checkpoint: &'c Checkpoint, style: Style) -> HitList<'c> {
        HitList { checkpoint, style, under: None }
    }

    /// A line for a hit, with so many bytes of context on each side; headed where something new begins.
    ///
    /// # Errors
    /// The writer fails.
    pub fn hit(&mut self, out: &mut dyn Write, hit: &Hit<'_>, context: usize, label: Option<&Label>) -> io::Result<()> {
        self.heading(out, hit)?;
        let style = self.style;
        let bytes = hit.bytes(MAX_SHOWN_BYTES);
        let mut start = format!("  {}", style.paint(Tone::Id, &at(hit)));
        let mut used = 2 + at(hit).len();
        if let Some(vma) = hit.vma() {
            let name = map_name(vma);
            start.push_str(&format!("  {}  {name:NAME_WIDTH$}", vma.perms()));
            used += 2 + 4 + 2 + name.chars().count().max(NAME_WIDTH);
        }
        if let Some(label) = label {
            let pattern = label.pattern.as_ref().map(|pattern| format!(" {pattern}")).unwrap_or_default();
            let name = escape_controls(&format!("{}{pattern}", label.rule)).into_owned();
            start.push_str(&format!("  {}", style.paint(Tone::Strong, &name)));
            used += 2 + name.len();
        }
        let (before, shown, after) = self.fitted(hit, used + 2, context, &bytes);
        let cut =
            if (bytes.len() as u64) < hit.len_bytes() || shown.chars().count() < bytes.len() { "…" } else { "" };
        let text = format!(
            "{}{}{cut}{}",
            style.paint(Tone::Dim, &before),
            style.paint(Tone::Alert, &shown),
            style.paint(Tone::Dim, &after)
        );
        writeln!(out, "{}", format!("{start}  {text}").trim_end())?;
        match label.and_then(|label| label.note.as_ref()) {
            Some(note) => {
                let note = style.fit(4, &escape_controls(note));
                writeln!(out, "    {}", style.paint(Tone::Dim, &note))
            }
            None => Ok(()),
        }
    }

    /// Context and match, cut to what is left of the line.
    fn fitted(&self, hit: &Hit<'_>, used: usize, context: usize, bytes: &[u8]) -> (String, String, String) {
        let text = |bytes: &[u8]| bytes.iter().map(|byte| printable(*byte)).collect::<String>();
        let room = self.style.width.map_or(usize::MAX, |width| width.saturating_sub(used).max(16));
        let shown = bytes.len().min(room);
        let around = room - shown;
        let before = context.min(around / 3);
        let after = context.min(around.saturating_sub(before).saturating_sub(1));
        (text(&hit.before(before)), text(bytes.get(..shown).unwrap_or_default()), text(&hit.after(after)))
    }

    fn heading(&mut self, out: &mut dyn Write, hit: &Hit<'_>) -> io::Result<()> {
        let name = if hit.source() == Source::Memory { String::new() } else { hit.name().label() };
        let under = (hit.source(), hit.pid(), name);
        if self.under.as_ref() == Some(&under) {
            return Ok(());
        }
        let style = self.style;
        let process = hit.pid().map(|pid| {
            let comm = self.checkpoint.process(pid).map(|process| process.comm_label().to_string());
            format!(
                "{} {}",
                style.paint(Tone::Id, &pid.to_string()),
                style.paint(Tone::Strong, &comm.unwrap_or_default())
            )
        });
        let what = match (hit.source(), process) {
            (Source::Memory, Some(process)) => process,
            (source, Some(process)) => {
                format!("{source} {}  {} {process}", style.paint(Tone::Strong, &under.2), style.paint(Tone::Dim, "of"))
            }
            (source, None) => format!("{source} {}", style.paint(Tone::Strong, &under.2)),
        };
        if self.under.is_some() {
            writeln!(out)?;
        }
        self.under = Some(under);
        writeln!(out, "{what}")
    }

    /// A line for a string: process, address, letters; made to be searched by other programs.
    ///
    /// # Errors
    /// The writer fails.
    pub fn string(&mut self, out: &mut dyn Write, hit: &Hit<'_>, encoding: Encoding) -> io::Result<()> {
        let letters = encoding.decode(&hit.bytes(usize::MAX));
        let who = match hit.source() {
            Source::Memory => hit.pid().map(|pid| pid.to_string()).unwrap_or_default(),
            source => format!("{source}:{}", hit.name().label()),
        };
        let style = self.style;
        writeln!(out, "{who} {} {}", style.paint(Tone::Id, &at(hit)), escape_controls(&letters))
    }
}

/// The address, or the offset in a queue or file.
fn at(hit: &Hit<'_>) -> String {
    match hit.vaddr() {
        Some(vaddr) => format!("{vaddr:#014x}"),
        None if hit.len_bytes() == 0 => "(all of it)".into(),
        None => format!("+{:#x}", hit.offset()),
    }
}

/// The end of a long name says more than its start.
fn map_name(vma: &Vma) -> String {
    let name = vma.path.label();
    let name = if name.is_empty() { format!("({})", vma.kind.word()) } else { name };
    let len = name.chars().count();
    if len <= NAME_WIDTH {
        return name;
    }
    let tail: String = name.chars().skip(len + 1 - NAME_WIDTH).collect();
    format!("…{tail}")
}
