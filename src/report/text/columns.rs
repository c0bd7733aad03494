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
}

impl Columns {
    /// An empty table with these heads.
    pub fn new(heads: &'static [(&'static str, Align)]) -> Columns {
        let widths = heads.iter().map(|(head, _)| head.len()).collect();
        Columns { heads, widths, rows: Vec::new() }
    }

    /// Adds a row with a cell for each head.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.heads.len());
        for (width, cell) in self.widths.iter_mut().zip(&cells) {
            *width = (*width).max(cell.text.chars().count());
        }
        self.rows.push(cells.into());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes heads and rows, each line after `indent` spaces.
    ///
    /// # Errors
    /// The writer fails.
    pub fn write(&self, out: &mut dyn Write, style: Style, indent: usize) -> io::Result<()> {
        let heads: Vec<Cell> = self.heads.iter().map(|(head, _)| Cell::new(Tone::Dim, *head)).collect();
        self.line(out, style, indent, &heads)?;
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
