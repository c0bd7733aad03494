//! Printable strings, as a pattern.

use std::fmt;
use std::str::FromStr;

use super::pattern::Pattern;

/// How the letters of a string are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// Printable ASCII and tabs.
    Ascii,
    /// Printable characters in UTF-8, ASCII among them.
    Utf8,
    /// Printable ASCII and Latin-1 as 16-bit units, little endian.
    Utf16Le,
}

impl Encoding {
    /// All.
    pub const ALL: [Encoding; 3] = [Encoding::Ascii, Encoding::Utf8, Encoding::Utf16Le];

    /// The word of the JSON and of `--encoding`.
    pub fn word(self) -> &'static str {
        match self {
            Encoding::Ascii => "ascii",
            Encoding::Utf8 => "utf8",
            Encoding::Utf16Le => "utf16le",
        }
    }

    /// The letters of a string that was found.
    pub fn decode(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Ascii | Encoding::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Encoding::Utf16Le => {
                let units = bytes.chunks_exact(2).map(|pair| match pair {
                    [low, high] => u16::from_le_bytes([*low, *high]),
                    _ => 0,
                });
                char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(word: &str) -> Result<Encoding, String> {
        let known = || Encoding::ALL.map(Encoding::word).join(", ");
        let found = Encoding::ALL.into_iter().find(|encoding| encoding.word() == word);
        found.ok_or_else(|| format!("{word}: not an encoding; there are {}", known()))
    }
}

/// The pattern that finds strings of at least so many letters. A longer one than a match may be comes in pieces.
pub fn strings_pattern(encoding: Encoding, min_letters: usize) -> Pattern {
    const ASCII: &str = r"[\x09\x20-\x7e]";
    let letter = match encoding {
        Encoding::Ascii => ASCII.to_owned(),
        // Well-formed UTF-8 (Unicode 16, table 3-7) without the C1 controls.
        Encoding::Utf8 => [
            ASCII,
            r"\xc2[\xa0-\xbf]",
            r"[\xc3-\xdf][\x80-\xbf]",
            r"\xe0[\xa0-\xbf][\x80-\xbf]",
            r"[\xe1-\xec\xee\xef][\x80-\xbf]{2}",
            r"\xed[\x80-\x9f][\x80-\xbf]",
            r"\xf0[\x90-\xbf][\x80-\xbf]{2}",
            r"[\xf1-\xf3][\x80-\xbf]{3}",
            r"\xf4[\x80-\x8f][\x80-\xbf]{2}",
        ]
        .join("|"),
        Encoding::Utf16Le => r"[\x09\x20-\x7e\xa0-\xff]\x00".to_owned(),
    };
    Pattern::Regex { source: format!("(?:{letter}){{{min_letters},}}"), any_case: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::search::Matcher;

    #[test]
    fn strings_are_found_in_their_encoding_only() {
        let bytes = "\u{1}abcd\u{2}ab\u{0}caf\u{e9} \u{6771}\u{4eac}\u{3}".as_bytes();
        let bytes = [bytes, b"\xff\xfew\0i\0d\0e\0\xe9\0\0"].concat();
        let found = |encoding: Encoding| -> Vec<String> {
            let matcher = Matcher::new(&[strings_pattern(encoding, 4)]).unwrap();
            let found = matcher.find_all(&bytes);
            found.into_iter().map(|(start, len, _)| encoding.decode(&bytes[start..start + len])).collect()
        };
        assert_eq!(found(Encoding::Ascii), ["abcd"]);
        assert_eq!(found(Encoding::Utf8), ["abcd", "caf\u{e9} \u{6771}\u{4eac}"]);
        assert_eq!(found(Encoding::Utf16Le), ["wide\u{e9}"]);
    }
}
