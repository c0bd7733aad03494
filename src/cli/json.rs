//! JSON that may go to a terminal: control characters that JSON allows as they are become escapes.

use std::io::{self, Write};

/// A writer for JSON text. DEL and the controls U+0080 to U+009F, which some terminals obey and which can stand only
/// inside of strings, become `\u007f` to `\u009f`: the same document for who parses it.
///
/// A character must come whole within one `write`, as it does from a serialiser.
pub(super) struct Escaping<W>(pub(super) W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| matches!(byte, 0x7f | 0xc2)) {
            let (before, from) = rest.split_at(at);
            self.0.write_all(before)?;
            let taken = match from {
                [0xc2, control @ 0x80..=0x9f, ..] => {
                    write!(self.0, "\\u00{control:02x}")?;
                    2
                }
                [0x7f, ..] => {
                    self.0.write_all(b"\\u007f")?;
                    1
                }
                _ => {
                    self.0.write_all(&from[..1])?;
                    1
                }
            };
            rest = &from[taken..];
        }
        self.0.write_all(rest)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_of_terminals_are_escaped_and_other_text_stays() {
        let text = "\u{1b}[ \u{7f} \u{9b}31m \u{80} \u{a0} é \u{c2} \u{202e}";
        let mut out = Vec::new();
        serde_json::to_writer(Escaping(&mut out), text).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out, "\"\\u001b[ \\u007f \\u009b31m \\u0080 \u{a0} é \u{c2} \u{202e}\"");
        assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
    }
}
