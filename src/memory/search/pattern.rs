//! What may be searched for.

use std::fmt::Write as _;

use crate::base::ByteOrder;

/// One pattern. Others (rules) may come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pattern {
    /// Exactly these bytes.
    Literal(Vec<u8>),
    /// These bytes, letters of ASCII in either case.
    LiteralAnyCase(Vec<u8>),
    /// A text as UTF-16, little endian.
    Utf16 {
        /// The text.
        text: String,
        /// Letters in either case.
        any_case: bool,
    },
    /// Bytes with wildcards.
    Hex(HexPattern),
    /// A regular expression over bytes: `.` is any byte, classes are of ASCII unless `(?u)` says otherwise.
    Regex {
        /// In the syntax of the regex crate.
        source: String,
        /// Letters in either case.
        any_case: bool,
    },
    /// Everything that looks like a secret: see [`super::secrets`].
    Secrets,
}

/// Longest literal in bytes.
pub(super) const MAX_LITERAL_BYTES: usize = 16 << 10;

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// Nothing would match everywhere.
    #[error("the pattern is empty")]
    Empty,
    /// A literal that is too long.
    #[error("the pattern has {len} bytes, the limit is {MAX_LITERAL_BYTES}")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// Hex that is none.
    #[error("{text}: not hex; give bytes as 7f 45 4c 46, with ? for any digit")]
    Hex {
        /// The part that is wrong.
        text: String,
    },
    /// Only wildcards.
    #[error("the hex pattern has wildcards only")]
    OnlyWildcards,
    /// A regular expression that is none.
    #[error("{}", regex_message(.0))]
    Regex(String),
    /// A regular expression that matches nothing at all everywhere.
    #[error("the expression matches the empty string, which is everywhere")]
    MatchesEmpty,
    /// A number that is none.
    #[error("{text}: not a number; give 1234 or 0x7f12, with a width as 443u16 or 443u16be where it is no pointer")]
    Value {
        /// What was given.
        text: String,
    },
}

/// The last line of the crate's message; the lines before draw the place.
fn regex_message(message: &str) -> String {
    let line = message.lines().next_back().unwrap_or(message);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Bytes of which some or halves of some may be anything: value and mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HexPattern(Vec<(u8, u8)>);

impl HexPattern {
    /// Parses `7f 45 4c 46 ?? 01`, with or without blanks, `?` for any half.
    ///
    /// # Errors
    /// Other letters, half a byte, nothing, or wildcards only.
    pub fn parse(text: &str) -> Result<HexPattern, PatternError> {
        let mut bytes = Vec::new();
        for word in text.split([' ', '\t', '\n', ',', ':']).filter(|word| !word.is_empty()) {
            let digits: Vec<char> = word.strip_prefix("0x").unwrap_or(word).chars().collect();
            let wrong = || PatternError::Hex { text: word.chars().take(40).collect() };
            // A lone ? is a whole byte, as in YARA's rules.
            let digits = if digits == ['?'] { vec!['?', '?'] } else { digits };
            if digits.is_empty() || digits.len() % 2 != 0 {
                return Err(wrong());
            }
            for pair in digits.chunks_exact(2) {
                let (mut value, mut mask) = (0u8, 0u8);
                for digit in pair {
                    let half = if *digit == '?' { None } else { Some(digit.to_digit(16).ok_or_else(wrong)?) };
                    value = value << 4 | half.and_then(|half| u8::try_from(half).ok()).unwrap_or(0);
                    mask = mask << 4 | if half.is_some() { 0xf } else { 0 };
                }
                bytes.push((value, mask));
            }
        }
        match bytes.len() {
            0 => Err(PatternError::Empty),
            len if len > MAX_LITERAL_BYTES => Err(PatternError::TooLong { len }),
            _ if bytes.iter().all(|(_, mask)| *mask == 0) => Err(PatternError::OnlyWildcards),
            _ => Ok(HexPattern(bytes)),
        }
    }

    /// The bytes, if none is a wildcard.
    pub(super) fn literal(&self) -> Option<Vec<u8>> {
        self.0.iter().map(|(value, mask)| (*mask == 0xff).then_some(*value)).collect()
    }

    /// The same as an expression.
    pub(super) fn regex(&self) -> String {
        let mut out = String::new();
        for (value, mask) in &self.0 {
            let _ = match mask {
                0xff => write!(out, "\\x{value:02x}"),
                0 => write!(out, "."),
                0xf0 => write!(out, "[\\x{value:02x}-\\x{:02x}]", value | 0xf),
                _ => {
                    out.push('[');
                    for high in 0..16u8 {
                        let _ = write!(out, "\\x{:02x}", high << 4 | value);
                    }
                    out.push(']');
                    Ok(())
                }
            };
        }
        out
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The bytes of a number in memory: `0x7f12` is a pointer of `word_bytes`, `443u16` a number of 16 bits, `443u16be` in
/// the other byte order; `-1i32` is signed.
///
/// # Errors
/// Not a number, or too large for its width.
pub fn parse_value(text: &str, word_bytes: usize, order: ByteOrder) -> Result<Vec<u8>, PatternError> {
    let wrong = || PatternError::Value { text: text.chars().take(60).collect() };
    let lower = text.trim().to_ascii_lowercase();
    let (rest, order) = match (lower.strip_suffix("be"), lower.strip_suffix("le")) {
        // Hex digits end in be as well.
        (Some(rest), _) if rest.contains(['u', 'i']) => (rest, ByteOrder::Big),
        (_, Some(rest)) => (rest, ByteOrder::Little),
        _ => (lower.as_str(), order),
    };
    let (digits, bits) = match rest.rsplit_once(['u', 'i']) {
        Some((digits, bits)) => (digits, bits.parse::<u32>().map_err(|_not_a_width| wrong())?),
        None => (rest, u32::try_from(word_bytes.saturating_mul(8)).map_err(|_too_wide| wrong())?),
    };
    if !matches!(bits, 8 | 16 | 32 | 64) {
        return Err(wrong());
    }
    let (is_negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(&hex.replace('_', ""), 16),
        None => digits.replace('_', "").parse::<u64>(),
    };
    let magnitude = magnitude.map_err(|_not_a_number| wrong())?;
    let max = if bits == 64 { u64::MAX } else { (1u64 << bits) - 1 };
    if magnitude > if is_negative { max / 2 + 1 } else { max } {
        return Err(wrong());
    }
    let value = if is_negative { magnitude.wrapping_neg() } else { magnitude };
    let len = usize::try_from(bits / 8).unwrap_or(8);
    Ok(match order {
        ByteOrder::Little => value.to_le_bytes().get(..len).unwrap_or_default().to_vec(),
        ByteOrder::Big => value.to_be_bytes().get(8 - len..).unwrap_or_default().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_wildcards_of_bytes_and_of_halves() {
        let regex = |text| HexPattern::parse(text).map(|hex| hex.regex());
        assert_eq!(
            regex("7f 45 ?? 4? ?c").as_deref(),
            Ok(
                "\\x7f\\x45.[\\x40-\\x4f][\\x0c\\x1c\\x2c\\x3c\\x4c\\x5c\\x6c\\x7c\\x8c\\x9c\\xac\\xbc\\xcc\\xdc\\xec\\xfc]"
            )
        );
        assert_eq!(HexPattern::parse("7F454c46").unwrap().literal(), Some(b"\x7fELF".to_vec()));
        assert_eq!(HexPattern::parse("0x7f,0x45").unwrap().literal(), Some(b"\x7fE".to_vec()));
        assert_eq!(regex("7f ? 01").as_deref(), Ok("\\x7f.\\x01"));
        for wrong in ["7", "7f4", "xy", "7f 4g"] {
            assert!(matches!(regex(wrong), Err(PatternError::Hex { .. })), "{wrong}");
        }
        assert_eq!(regex("?? ??"), Err(PatternError::OnlyWildcards));
        assert_eq!(regex("  "), Err(PatternError::Empty));
    }

    #[test]
    fn numbers_have_the_width_and_order_of_the_dump_unless_they_say_so() {
        let value = |text| parse_value(text, 8, ByteOrder::Little);
        assert_eq!(value("0x7f12"), Ok(vec![0x12, 0x7f, 0, 0, 0, 0, 0, 0]));
        assert_eq!(value("443u16"), Ok(vec![0xbb, 1]));
        assert_eq!(value("443u16be"), Ok(vec![1, 0xbb]));
        assert_eq!(value("0xbe"), Ok(vec![0xbe, 0, 0, 0, 0, 0, 0, 0]));
        assert_eq!(value("-2i32"), Ok(vec![0xfe, 0xff, 0xff, 0xff]));
        assert_eq!(parse_value("1", 4, ByteOrder::Big), Ok(vec![0, 0, 0, 1]));
        for wrong in ["", "x", "70000u16", "1u7", "1.5", "-40000i16"] {
            assert!(value(wrong).is_err(), "{wrong}");
        }
    }
}
