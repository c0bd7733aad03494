//! Bytes as other programs want them.

use std::fmt::Write as _;

use crate::base::{VirtAddr, escape, escape_controls};

/// Most bytes that are copied at once.
pub const MAX_COPIED: usize = 1 << 20;

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CopyFormat {
    /// `7f 45 4c 46`.
    Hex,
    /// A C array.
    C,
    /// A Rust array.
    Rust,
    /// A Python bytes literal.
    Python,
    /// Base64 with padding.
    Base64,
    /// A hex string of YARA; `??` for what is not there.
    Yara,
    /// As text; what is no text is spelled.
    Text,
    /// As `hexdump -C` prints; `??` for what is not there.
    Hexdump,
}

impl CopyFormat {
    /// Every format, in the order of the menu.
    pub const ALL: [CopyFormat; 8] = [
        CopyFormat::Hex,
        CopyFormat::C,
        CopyFormat::Rust,
        CopyFormat::Python,
        CopyFormat::Base64,
        CopyFormat::Yara,
        CopyFormat::Text,
        CopyFormat::Hexdump,
    ];

    /// What it is called in the menu.
    pub fn title(self) -> &'static str {
        match self {
            CopyFormat::Hex => "hex",
            CopyFormat::C => "C array",
            CopyFormat::Rust => "Rust array",
            CopyFormat::Python => "Python bytes",
            CopyFormat::Base64 => "base64",
            CopyFormat::Yara => "YARA string",
            CopyFormat::Text => "text",
            CopyFormat::Hexdump => "hexdump",
        }
    }

    /// Writes bytes, the first of which lies at `start`; `None` stands for a byte that is not there.
    ///
    /// # Errors
    /// The first address that has no byte, for formats that cannot say so.
    pub fn write(self, start: VirtAddr, cells: &[Option<u8>]) -> Result<String, VirtAddr> {
        match self {
            CopyFormat::Yara => return Ok(yara(cells)),
            CopyFormat::Hexdump => return Ok(hexdump(start, cells)),
            _ => {}
        }
        if let Some(at) = cells.iter().position(Option::is_none) {
            return Err(VirtAddr(start.0.saturating_add(at as u64)));
        }
        let bytes: Vec<u8> = cells.iter().flatten().copied().collect();
        Ok(match self {
            CopyFormat::Hex => joined(&bytes, " ", |out, byte| write!(out, "{byte:02x}")),
            CopyFormat::C => format!("unsigned char bytes[{}] = {{\n{}\n}};\n", bytes.len(), lines(&bytes)),
            CopyFormat::Rust => format!("const BYTES: [u8; {}] = [\n{}\n];\n", bytes.len(), lines(&bytes)),
            CopyFormat::Python => format!("b\"{}\"", joined(&bytes, "", |out, byte| write!(out, "\\x{byte:02x}"))),
            CopyFormat::Base64 => base64(&bytes),
            _ => text(&bytes),
        })
    }
}

fn joined(bytes: &[u8], between: &str, write: impl Fn(&mut String, u8) -> std::fmt::Result) -> String {
    let mut out = String::with_capacity(bytes.len() * 4);
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            out.push_str(between);
        }
        let _ = write(&mut out, *byte);
    }
    out
}

/// `0x7f, 0x45,` in lines of 12.
fn lines(bytes: &[u8]) -> String {
    let line = |chunk: &[u8]| format!("    {},", joined(chunk, ", ", |out, byte| write!(out, "0x{byte:02x}")));
    bytes.chunks(12).map(line).collect::<Vec<_>>().join("\n")
}

/// Line breaks and tabs of a text stay; other control characters are spelled.
fn text(bytes: &[u8]) -> String {
    let text = escape(bytes);
    text.split_inclusive(['\n', '\t'])
        .map(|part| match part.strip_suffix(['\n', '\t']) {
            Some(body) => format!("{}{}", escape_controls(body), part.get(body.len()..).unwrap_or_default()),
            None => escape_controls(part).into_owned(),
        })
        .collect()
}

fn yara(cells: &[Option<u8>]) -> String {
    let mut out = String::with_capacity(cells.len() * 3 + 4);
    out.push('{');
    for cell in cells {
        let _ = match cell {
            Some(byte) => write!(out, " {byte:02X}"),
            None => write!(out, " ??"),
        };
    }
    out.push_str(" }");
    out
}

fn hexdump(start: VirtAddr, cells: &[Option<u8>]) -> String {
    let mut out = String::with_capacity(cells.len() * 5);
    for (row, chunk) in cells.chunks(16).enumerate() {
        let _ = write!(out, "{:08x} ", start.0.saturating_add(row as u64 * 16));
        for at in 0..16 {
            if at == 8 {
                out.push(' ');
            }
            let _ = match chunk.get(at) {
                Some(Some(byte)) => write!(out, " {byte:02x}"),
                Some(None) => write!(out, " ??"),
                None => write!(out, "   "),
            };
        }
        out.push_str("  |");
        out.extend(chunk.iter().map(|cell| match cell {
            Some(byte @ 0x20..=0x7e) => char::from(*byte),
            Some(_) => '.',
            None => ' ',
        }));
        out.push_str("|\n");
    }
    out
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS.get((bits >> shift & 63) as usize).copied().unwrap_or(b'=');
            out.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: CopyFormat, bytes: &[u8], expected: &str) {
        let cells: Vec<_> = bytes.iter().map(|byte| Some(*byte)).collect();
        assert_eq!(format.write(VirtAddr(0x1000), &cells).as_deref(), Ok(expected), "{format:?}");
    }

    #[test]
    fn every_format_writes_what_its_program_reads() {
        check(CopyFormat::Hex, b"\x7fELF", "7f 45 4c 46");
        check(CopyFormat::C, b"\x01\x02", "unsigned char bytes[2] = {\n    0x01, 0x02,\n};\n");
        check(CopyFormat::Rust, b"\x01\x02", "const BYTES: [u8; 2] = [\n    0x01, 0x02,\n];\n");
        check(CopyFormat::Python, b"a\0", "b\"\\x61\\x00\"");
        check(CopyFormat::Yara, b"\x7fEL", "{ 7F 45 4C }");
        check(CopyFormat::Text, b"a\x1b[2Jb\nc\xff", "a\\x1b[2Jb\nc\\xff");
        for (bytes, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            check(CopyFormat::Base64, bytes.as_bytes(), expected);
        }
        check(
            CopyFormat::Hexdump,
            b"0123456789abcdef!",
            "00001000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|\n\
             00001010  21                                                |!|\n",
        );
    }

    #[test]
    fn bytes_that_are_not_there_are_never_written_as_zeros() {
        let cells = [Some(1), None, Some(3)];
        for format in CopyFormat::ALL {
            let written = format.write(VirtAddr(0x10), &cells);
            match format {
                CopyFormat::Yara => assert_eq!(written.as_deref(), Ok("{ 01 ?? 03 }")),
                CopyFormat::Hexdump => assert!(written.unwrap().contains(" 01 ?? 03 ")),
                _ => assert_eq!(written, Err(VirtAddr(0x11)), "{format:?}"),
            }
        }
    }
}
