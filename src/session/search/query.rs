//! What may be asked of a search.

use std::path::PathBuf;

use crate::base::ByteOrder;
use crate::checkpoint::Checkpoint;
use crate::decode::Arch;
use crate::memory::search::{Encoding, HexPattern, Matcher, Pattern, PatternError, parse_value, strings_pattern};
use crate::report::search::KeptHit;
use crate::session::space;

/// How what is typed is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueryKind {
    /// These bytes.
    #[default]
    Text,
    /// An expression over bytes.
    Regex,
    /// Bytes with wildcards.
    Hex,
    /// A text as UTF-16.
    Utf16,
    /// A number or pointer as it lies in memory.
    Value,
    /// Keys, tokens, passwords by their shape.
    Secrets,
    /// Files of YARA rules.
    Yara,
    /// Printable strings.
    Strings,
}

impl QueryKind {
    /// Those that this program was built with, in the order of the tabs.
    pub fn all() -> impl Iterator<Item = QueryKind> {
        use QueryKind::{Hex, Regex, Secrets, Strings, Text, Utf16, Value, Yara};
        let all = [Text, Regex, Hex, Utf16, Value, Secrets, Yara, Strings];
        all.into_iter().filter(|kind| *kind != Yara || cfg!(feature = "yara"))
    }

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            QueryKind::Text => "Text",
            QueryKind::Regex => "Regex",
            QueryKind::Hex => "Hex",
            QueryKind::Utf16 => "UTF-16",
            QueryKind::Value => "Value",
            QueryKind::Secrets => "Secrets",
            QueryKind::Yara => "YARA",
            QueryKind::Strings => "Strings",
        }
    }

    /// What to type.
    pub fn hint(self) -> &'static str {
        match self {
            QueryKind::Text => "Text to search for, as AKIA or /bin/sh",
            QueryKind::Regex => r"Expression over bytes, as https?://[^\s]+",
            QueryKind::Hex => "Bytes, as 7f 45 4c 46 ?? 01",
            QueryKind::Utf16 => "Text as Windows and Java store it",
            QueryKind::Value => "Number or pointer, as 0x7ffc1234, 443u16be, -1i32",
            QueryKind::Secrets | QueryKind::Yara | QueryKind::Strings => "",
        }
    }

    /// Whether something is typed.
    pub fn has_text(self) -> bool {
        !self.hint().is_empty()
    }

    /// Whether upper and lower case can be the same.
    pub fn has_case(self) -> bool {
        matches!(self, QueryKind::Text | QueryKind::Regex | QueryKind::Utf16)
    }
}

/// What to search for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// How the text is meant.
    pub kind: QueryKind,
    /// What was typed.
    pub text: String,
    /// Upper and lower case are the same.
    pub any_case: bool,
    /// Least letters of a string.
    pub min_letters: u16,
    /// How strings are stored.
    pub encodings: Vec<Encoding>,
    /// Files of YARA rules.
    pub rules: Vec<PathBuf>,
}

impl Default for Query {
    fn default() -> Query {
        Query {
            kind: QueryKind::Text,
            text: String::new(),
            any_case: false,
            min_letters: 8,
            encodings: vec![Encoding::Ascii],
            rules: Vec::new(),
        }
    }
}

impl Query {
    /// A text.
    pub fn text(text: impl Into<String>) -> Query {
        Query::of(QueryKind::Text, text)
    }

    /// A text of a kind.
    pub fn of(kind: QueryKind, text: impl Into<String>) -> Query {
        Query { kind, text: text.into(), ..Query::default() }
    }

    /// What is wrong with it; `None` when it can be run. Whether rules are right their job tells.
    pub fn problem(&self, checkpoint: &Checkpoint) -> Option<String> {
        match self.kind {
            QueryKind::Yara if self.rules.is_empty() => Some("choose files of rules".into()),
            QueryKind::Yara => None,
            QueryKind::Strings if self.encodings.is_empty() => Some("choose an encoding".into()),
            _ => self.matcher(checkpoint).err().map(|why| why.to_string()),
        }
    }

    /// Compiles it.
    ///
    /// # Errors
    /// It is empty, or wrong for its kind.
    pub fn matcher(&self, checkpoint: &Checkpoint) -> Result<Matcher, PatternError> {
        Matcher::new(&self.patterns(checkpoint)?)
    }

    fn patterns(&self, checkpoint: &Checkpoint) -> Result<Vec<Pattern>, PatternError> {
        let any_case = self.any_case;
        let text = self.text.clone();
        if self.kind.has_text() && text.is_empty() {
            return Err(PatternError::Empty);
        }
        Ok(vec![match self.kind {
            QueryKind::Text if any_case => Pattern::LiteralAnyCase(text.into_bytes()),
            QueryKind::Text => Pattern::Literal(text.into_bytes()),
            QueryKind::Regex => Pattern::Regex { source: text, any_case },
            QueryKind::Hex => Pattern::Hex(HexPattern::parse(&text)?),
            QueryKind::Utf16 => Pattern::Utf16 { text, any_case },
            QueryKind::Value => {
                let word_bytes = if checkpoint.container.arch == Some(Arch::Arm) { 4 } else { 8 };
                let order: ByteOrder = space::byte_order(checkpoint);
                Pattern::Literal(parse_value(&text, word_bytes, order)?)
            }
            QueryKind::Secrets => Pattern::Secrets,
            QueryKind::Yara => return Err(PatternError::Empty),
            QueryKind::Strings => {
                let min_letters = usize::from(self.min_letters);
                return Ok(self.stored_as().map(|encoding| strings_pattern(encoding, min_letters)).collect());
            }
        }])
    }

    /// Encodings of strings without those that another one has in it.
    fn stored_as(&self) -> impl Iterator<Item = Encoding> {
        // Every string of ASCII is one of UTF-8, or a part of one.
        let has_utf8 = self.encodings.contains(&Encoding::Utf8);
        let is_asked = |encoding: &Encoding| self.encodings.contains(encoding);
        Encoding::ALL.into_iter().filter(is_asked).filter(move |encoding| *encoding != Encoding::Ascii || !has_utf8)
    }

    /// What it is called in a list.
    pub fn title(&self) -> String {
        match self.kind {
            QueryKind::Text => crate::base::escape_controls(&self.text).into_owned(),
            QueryKind::Regex => format!("/{}/{}", self.text, if self.any_case { "i" } else { "" }),
            QueryKind::Hex => self.text.clone(),
            QueryKind::Utf16 => format!("{} in UTF-16", self.text),
            QueryKind::Value => format!("value {}", self.text),
            QueryKind::Secrets => "Secrets".to_owned(),
            QueryKind::Yara => {
                let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let first = self.rules.first().map(name).unwrap_or_default();
                match self.rules.len() {
                    0 | 1 => format!("YARA {first}"),
                    len => format!("YARA {first} and {} more", len - 1),
                }
            }
            QueryKind::Strings => {
                let words: Vec<_> = self.stored_as().map(Encoding::word).collect();
                format!("Strings of {} letters, {}", self.min_letters, words.join(", "))
            }
        }
    }

    /// A match as text on one line.
    pub fn text_of(&self, hit: &KeptHit) -> String {
        let encoding = match self.kind {
            QueryKind::Utf16 => Some(Encoding::Utf16Le),
            QueryKind::Strings => self.stored_as().nth(hit.pattern),
            _ => None,
        };
        match encoding {
            Some(Encoding::Utf16Le) => visible(&Encoding::Utf16Le.decode(&hit.bytes)),
            _ => match std::str::from_utf8(&hit.bytes) {
                Ok(text) => visible(text),
                Err(_) => printable(&hit.bytes),
            },
        }
    }
}

/// A secret with enough of it to be told from others: its kind stands beside it. Its length is not told either.
pub fn masked(text: &str) -> String {
    const HIDDEN: &str = "••••••••";
    let letters = text.chars().count();
    // Of short ones each letter says too much.
    let (first, last) = if letters >= 16 { (4, 2) } else { (0, 0) };
    let head: String = text.chars().take(first).collect();
    let tail: String = text.chars().skip(letters - last).collect();
    format!("{head}{HIDDEN}{tail}")
}

/// Bytes as letters of ASCII, a dot for each other.
pub fn printable(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if matches!(byte, 0x20..=0x7e) { char::from(*byte) } else { '.' }).collect()
}

/// A dot for each letter that is none to look at.
fn visible(text: &str) -> String {
    let is_odd = |letter: char| {
        letter.is_control()
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|letter| if is_odd(letter) { '.' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn masked_secret_keeps_its_beginning_and_says_nothing_of_its_length() {
        assert_eq!(masked("AKIAIOSFODNN7EXAMPLE"), "AKIA••••••••LE");
        assert_eq!(masked(&format!("ghp_{}", "x".repeat(400))), "ghp_••••••••xx");
        assert_eq!(masked("hunter2"), "••••••••");
        assert_eq!(masked(""), "••••••••");
    }
}
