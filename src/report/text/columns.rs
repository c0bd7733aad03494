//! Aligned columns. The last one is not padded, so that no line ends in spaces.

use std::io::{self, Write};

use super::{Style, Tone};

/// On which side a column is flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Widest that a column becomes; a longer cell pushes what follows in its own row.
const MAX_WIDTH: usize = 256;
/// Rows that are kept to find the widths.
const MAX_ROWS: usize = 20_000;

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A cell in a tone. `text` has no control characters.
    pub fn new(tone: Tone, text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell::new(Tone::Plain, text)
    }
}

/// A table without lines.
#[derive(Clone, Debug)]
pub struct Columns {
    heads: &'static [(&'static str, Align)],
    widths: Vec<usize>,
    rows: Vec<Vec<Cell>>,
    /// Rows that were written before those that are kept.
    written: usize,
}

impl Columns {
    /// An empty table with these heads.
    pub fn new(heads: &'static [(&'static str, Align)]) -> Columns {
        let widths = heads.iter().map(|(head, _)| head.len()).collect();
        Columns { heads, widths, rows: Vec::new(), written: 0 }
    }

    /// Adds a row with a cell for each head.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.heads.len());
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.text.chars().count().min(MAX_WIDTH));
        }
        self.rows.push(cells.into());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.written == 0
    }

    /// Writes what is there once it is much, so that a table of a million rows does not stand in memory as a whole.
    /// Columns that become wider later are wider from there on.
    ///
    /// # Errors
    /// The writer fails.
    pub fn write_when_many(&mut self, out: &mut dyn Write, style: Style, indent: usize) -> io::Result<()> {
        if self.rows.len() < MAX_ROWS {
            return Ok(());
        }
        self.write(out, style, indent)?;
        self.written = self.written.saturating_add(self.rows.len());
        self.rows.clear();
        Ok(())
    }

    /// Writes heads (once) and rows, each line after `indent` spaces.
    ///
    /// # Errors
    /// The writer fails.
    pub fn write(&self, out: &mut dyn Write, style: Style, indent: usize) -> io::Result<()> {
        let heads: Vec<Cell> = self.heads.iter().map(|(head, _)| Cell::new(Tone::Dim, *head)).collect();
        if self.written == 0 {
            self.line(out, style, indent, &heads)?;
        }
        self.rows.iter().try_for_each(|row| self.line(out, style, indent, row))
    }

    fn line(&self, out: &mut dyn Write, style: Style, indent: usize, cells: &[Cell]) -> io::Result<()> {
        let mut line = " ".repeat(indent);
        // Spaces that wait for a cell with text behind them.
        let mut pending = 0;
        for ((cell, width), (_, align)) in cells.iter().zip(&self.widths).zip(self.heads) {
            let pad = width.saturating_sub(cell.text.chars().count());
            let (before, after) = match align {
                Align::Left => (0, pad),
                Align::Right => (pad, 0),
            };
            if cell.text.is_empty() {
                pending += pad + 2;
                continue;
            }
            line.extend(std::iter::repeat_n(' ', pending + before));
            line.push_str(&style.paint(cell.tone, &cell.text));
            pending = after + 2;
        }
        writeln!(out, "{}", line.trim_end_matches(' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tables_are_written_in_pieces_under_one_head() {
        let mut columns = Columns::new(&[("N", Align::Right), ("NAME", Align::Left)]);
        let mut out = Vec::new();
        for n in 0..MAX_ROWS + 1 {
            columns.row([n.to_string().into(), "x".into()]);
            columns.write_when_many(&mut out, Style::default(), 0).unwrap();
        }
        assert_eq!(columns.rows.len(), 1);
        columns.write(&mut out, Style::default(), 0).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), MAX_ROWS + 2);
        assert_eq!(out.matches("NAME").count(), 1);
    }

    #[test]
    fn one_endless_cell_does_not_pad_the_others() {
        let mut columns = Columns::new(&[("A", Align::Left), ("B", Align::Left)]);
        columns.row(["x".repeat(100_000).into(), "1".into()]);
        columns.row(["y".into(), "2".into()]);
        let mut out = Vec::new();
        columns.write(&mut out, Style::default(), 0).unwrap();
        assert!(out.split(|byte| *byte == b'\n').nth(2).unwrap().len() < 300);
    }

    #[test]
    fn columns_align_and_lines_do_not_end_in_spaces() {
        let mut columns = Columns::new(&[("FD", Align::Right), ("KIND", Align::Left), ("TARGET", Align::Left)]);
        columns.row(["0".into(), "reg".into(), "/dev/null".into()]);
        columns.row(["10".into(), "eventfd".into(), "".into()]);
        columns.row(["11".into(), "".into(), "x".into()]);
        let mut out = Vec::new();
        columns.write(&mut out, Style::default(), 2).unwrap();
        let expected = "  FD  KIND     TARGET\n   0  reg      /dev/null\n  10  eventfd\n  11           x\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
