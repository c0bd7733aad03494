//! Hex dumps: sixteen bytes a row, equal rows folded, what is absent said in words.

use std::io::{self, Write};

use crate::base::VirtAddr;
use crate::checkpoint::Vma;
use crate::memory::{AddressSpace, Chunk, Content};

use super::human::bytes;
use super::{Style, Tone};

const ROW_BYTES: u64 = 16;

/// Writes chunks of ascending addresses as one dump.
#[derive(Debug)]
pub struct HexDump {
    style: Style,
    /// Bytes of a row that is not full yet, and the address of the row.
    row: Vec<Option<u8>>,
    row_at: u64,
    last: Vec<Option<u8>>,
    is_folding: bool,
    /// A stretch of one reason, which may come in pieces.
    pending: Option<(u64, u64, String, Tone)>,
}

impl HexDump {
    /// An empty dump.
    pub fn new(style: Style) -> HexDump {
        HexDump { style, row: Vec::new(), row_at: 0, last: Vec::new(), is_folding: false, pending: None }
    }

    /// A line about the map that follows.
    ///
    /// # Errors
    /// The writer fails.
    pub fn map(&mut self, out: &mut dyn Write, space: &AddressSpace<'_>, vma: &Vma) -> io::Result<()> {
        self.finish(out)?;
        let range = format!("{:x}-{:x}", vma.start, vma.end).replace("0x", "");
        let place = space.place_of(vma.start).map(|place| format!("  {place}")).unwrap_or_default();
        let name = vma.path.label();
        let name = if name.is_empty() { name } else { format!("  {}", self.style.paint(Tone::Strong, &name)) };
        let size = bytes(vma.len_bytes());
        let place = self.style.paint(Tone::Dim, &place);
        let range = self.style.paint(Tone::Id, &range);
        writeln!(out, "{range} {} {}  {size}{name}{place}", vma.perms(), vma.kind.word())
    }

    /// The next chunk.
    ///
    /// # Errors
    /// The writer fails.
    pub fn chunk(&mut self, out: &mut dyn Write, chunk: &Chunk) -> io::Result<()> {
        let (start, end) = (chunk.range.start.0, chunk.range.end.0);
        match &chunk.content {
            Content::Bytes(bytes) => {
                self.pending(out)?;
                self.bytes(out, start, bytes)
            }
            Content::Zero => self.stretch(out, start, end, "zeros, never written to".into(), Tone::Dim),
            Content::Absent(why) => self.stretch(out, start, end, why.to_string(), Tone::Alert),
        }
    }

    fn stretch(&mut self, out: &mut dyn Write, start: u64, end: u64, what: String, tone: Tone) -> io::Result<()> {
        self.row(out)?;
        self.fold_ends(out)?;
        if let Some((_, until, known, _)) = &mut self.pending
            && *until == start
            && *known == what
        {
            *until = end;
            return Ok(());
        }
        self.pending(out)?;
        self.pending = Some((start, end, what, tone));
        Ok(())
    }

    fn pending(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Some((start, end, what, tone)) = self.pending.take() else { return Ok(()) };
        self.last.clear();
        let line = format!("{what} ({})", bytes(end - start));
        writeln!(out, "{}  {}", self.style.paint(Tone::Dim, &format!("{start:012x}")), self.style.paint(tone, &line))
    }

    fn bytes(&mut self, out: &mut dyn Write, start: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.row.is_empty() && self.row_at + self.row.len() as u64 != start {
            self.row(out)?;
        }
        for (at, byte) in (start..).zip(bytes) {
            if self.row.is_empty() {
                self.row_at = at - at % ROW_BYTES;
                let nr_before = usize::try_from(at % ROW_BYTES).unwrap_or(0);
                self.row.resize(nr_before, None);
            }
            self.row.push(Some(*byte));
            if self.row.len() as u64 == ROW_BYTES {
                self.row(out)?;
            }
        }
        Ok(())
    }

    fn row(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.row.is_empty() {
            return Ok(());
        }
        if self.row == self.last {
            self.row.clear();
            if !self.is_folding {
                self.is_folding = true;
                writeln!(out, "*")?;
            }
            return Ok(());
        }
        self.is_folding = false;
        let address = self.style.paint(Tone::Dim, &format!("{:012x}", self.row_at));
        let mut digits = String::with_capacity(50);
        let mut letters = String::with_capacity(16);
        for nr in 0..16 {
            if nr == 8 {
                digits.push(' ');
            }
            match self.row.get(nr).copied().flatten() {
                Some(byte) => {
                    digits.push_str(&format!("{byte:02x} "));
                    letters.push(printable(byte));
                }
                None => {
                    digits.push_str("   ");
                    letters.push(' ');
                }
            }
        }
        writeln!(out, "{address}  {digits} |{letters}|")?;
        self.last = std::mem::take(&mut self.row);
        Ok(())
    }

    fn fold_ends(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if std::mem::take(&mut self.is_folding) {
            let end = VirtAddr(self.row_at.saturating_add(ROW_BYTES));
            writeln!(out, "{}", self.style.paint(Tone::Dim, &format!("{:012x}", end.0)))?;
        }
        self.last.clear();
        Ok(())
    }

    /// Writes what is waiting; the dump may go on.
    ///
    /// # Errors
    /// The writer fails.
    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.row(out)?;
        self.fold_ends(out)?;
        self.pending(out)
    }
}

/// The letter of a byte, or a dot.
pub(super) fn printable(byte: u8) -> char {
    if (0x20..0x7f).contains(&byte) { char::from(byte) } else { '.' }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::memory::Missing;

    #[test]
    fn rows_fold_and_absence_is_said() {
        let chunk = |start: u64, content, len: u64| Chunk { range: VirtAddr(start)..VirtAddr(start + len), content };
        let chunks = [
            chunk(0x100e, Content::Bytes(Bytes::from_static(b"\x7fELF")), 4),
            chunk(0x1012, Content::Bytes(Bytes::from(vec![0; 0x4e])), 0x4e),
            chunk(0x1060, Content::Zero, 0x1000),
            chunk(0x2060, Content::Zero, 0x1000),
            chunk(0x3060, Content::Absent(Missing::FilePage), 0x1000),
        ];
        let mut out = Vec::new();
        let mut dump = HexDump::new(Style::default());
        chunks.iter().for_each(|chunk| dump.chunk(&mut out, chunk).unwrap());
        dump.finish(&mut out).unwrap();
        let expected = "\
000000001000                                             7f 45  |              .E|
000000001010  4c 46 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |LF..............|
000000001020  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|
*
000000001060
000000001060  zeros, never written to (8.0 KiB)
000000003060  clean page of a file: not in the checkpoint (4.0 KiB)
";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
