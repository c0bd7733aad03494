//! Compiled patterns, and finding all matches that begin in a window.

use std::fmt::Write as _;

use aho_corasick::{AhoCorasick, MatchKind, Span, packed};
use memchr::memmem;
use regex::bytes::{Regex, RegexBuilder};

use super::pattern::{MAX_LITERAL_BYTES, Pattern, PatternError};
use super::secrets::Secrets;

/// Longest match of a regular expression in bytes.
pub const MAX_MATCH_BYTES: usize = 4096;

/// Bytes behind the end of a match that an expression may look at (`\b`, `$`).
const LOOK_AHEAD_BYTES: usize = 8;
/// After a match that was too long, the expression sees so little more at a time: otherwise it would run to the end of the
/// window again for every start.
const CAREFUL_BYTES: usize = 2 * MAX_MATCH_BYTES;
/// So many steps are careful.
const CAREFUL_STEPS: u32 = 64;

/// Compiled patterns. Used by many threads at once.
#[derive(Debug)]
pub struct Matcher {
    pub(super) groups: Vec<Group>,
    look_ahead: usize,
}

/// Patterns that are found in one pass.
#[derive(Debug)]
pub(super) struct Group {
    finder: Finder,
    /// Numbers of the patterns.
    ids: Vec<u32>,
}

#[derive(Debug)]
enum Finder {
    One(Box<memmem::Finder<'static>>),
    /// A few literals: vectorised, twice as fast as the automaton that takes any number.
    Few(Box<packed::Searcher>),
    Many(AhoCorasick),
    /// A copy for each thread: the caches of one are not shared.
    Regex {
        by_thread: Vec<Regex>,
        max_len: usize,
    },
    Secrets(Secrets),
}

impl Matcher {
    /// Compiles patterns; a hit tells the number of its pattern.
    ///
    /// # Errors
    /// A pattern that is empty, too long, or no expression.
    pub fn new(patterns: &[Pattern]) -> Result<Matcher, PatternError> {
        let mut groups = Vec::new();
        let mut literals: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut look_ahead = 0;
        for (id, pattern) in (0u32..).zip(patterns) {
            let literal = match pattern {
                Pattern::Literal(bytes) => Some(bytes.clone()),
                Pattern::LiteralAnyCase(bytes) if !bytes.iter().any(u8::is_ascii_alphabetic) => Some(bytes.clone()),
                Pattern::Utf16 { text, any_case: false } => Some(utf16(text)),
                Pattern::Hex(hex) => hex.literal(),
                _ => None,
            };
            if let Some(bytes) = literal {
                check_len(bytes.len())?;
                look_ahead = look_ahead.max(bytes.len());
                literals.push((id, bytes));
                continue;
            }
            let (finder, max_len) = Finder::compile(pattern)?;
            look_ahead = look_ahead.max(max_len.saturating_add(LOOK_AHEAD_BYTES));
            groups.push(Group { finder, ids: vec![id] });
        }
        if let Some(group) = Group::of_literals(literals)? {
            groups.insert(0, group);
        }
        if groups.is_empty() { Err(PatternError::Empty) } else { Ok(Matcher { groups, look_ahead }) }
    }

    /// Bytes behind the start of a match that may belong to it or decide on it.
    pub(super) fn look_ahead(&self) -> usize {
        self.look_ahead
    }

    /// All matches in some bytes, as start, length and number of the pattern, ordered by start: for small contents that
    /// lie in memory as a whole.
    pub fn find_all(&self, bytes: &[u8]) -> Vec<(usize, usize, usize)> {
        let mut found = Vec::new();
        for group in &self.groups {
            let _ = group.find(bytes, 0, bytes.len(), usize::MAX, &|| true, &mut |start, len, id| {
                found.push((start, len, usize::try_from(id).unwrap_or(usize::MAX)));
            });
        }
        found.sort_unstable();
        found
    }
}

/// How an expression is kept from running far ahead again and again.
struct Careful<'g> {
    steps_left: u32,
    goes_on: &'g dyn Fn() -> bool,
}

impl Group {
    fn of_literals(mut literals: Vec<(u32, Vec<u8>)>) -> Result<Option<Group>, PatternError> {
        let ids = literals.iter().map(|(id, _)| *id).collect();
        let finder = match literals.len() {
            0 => return Ok(None),
            1 => {
                let (_, bytes) = literals.swap_remove(0);
                Finder::One(Box::new(memmem::Finder::new(&bytes).into_owned()))
            }
            _ => {
                let literals = || literals.iter().map(|(_, bytes)| bytes);
                let few = packed::Config::new()
                    .match_kind(packed::MatchKind::LeftmostLongest)
                    .builder()
                    .extend(literals())
                    .build();
                match few {
                    Some(few) => Finder::Few(Box::new(few)),
                    None => {
                        let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(literals());
                        Finder::Many(built.map_err(|error| PatternError::Regex(error.to_string()))?)
                    }
                }
            }
        };
        Ok(Some(Group { finder, ids }))
    }

    /// Hands on every match that begins in `from..core_end`, as start, length, pattern. What is behind `core_end` may be
    /// a part of a match only.
    ///
    /// Returns where to go on when `max` was reached. An expression that makes slow progress asks `goes_on` at every
    /// step, and ends early when the answer is no.
    pub(super) fn find(
        &self,
        bytes: &[u8],
        from: usize,
        core_end: usize,
        max: usize,
        goes_on: &dyn Fn() -> bool,
        found: &mut dyn FnMut(usize, usize, u32),
    ) -> Option<usize> {
        let mut at = from;
        let mut careful = Careful { steps_left: 0, goes_on };
        let mut left = max;
        while at < core_end {
            let Some((start, end, nr)) = self.finder.next(bytes, at, core_end, &mut careful) else { break };
            if core_end <= start {
                break;
            }
            if left == 0 {
                return Some(at);
            }
            left -= 1;
            found(start, end - start, self.ids.get(nr).copied().unwrap_or_default());
            at = end.max(start + 1);
        }
        None
    }
}

impl Finder {
    /// The finder of a pattern that is no literal, and its longest match.
    fn compile(pattern: &Pattern) -> Result<(Finder, usize), PatternError> {
        match pattern {
            Pattern::LiteralAnyCase(bytes) => {
                check_len(bytes.len())?;
                let source = bytes.iter().fold(String::new(), |mut out, byte| {
                    let _ = write!(out, "\\x{byte:02x}");
                    out
                });
                Ok((Finder::regex(&source, true, bytes.len())?, bytes.len()))
            }
            Pattern::Utf16 { text, .. } => {
                let len = utf16(text).len();
                check_len(len)?;
                // Letters whose other case has another length stay as they are.
                let both_cases = |letter: char| {
                    let one = |mut cases: Vec<char>| if cases.len() == 1 { cases.pop() } else { None };
                    let cases = [one(letter.to_lowercase().collect()), one(letter.to_uppercase().collect())];
                    let mut spelled: Vec<String> = std::iter::once(Some(letter))
                        .chain(cases)
                        .flatten()
                        .map(|letter| utf16(letter.encode_utf8(&mut [0; 4])))
                        .filter(|bytes| bytes.len() == letter.len_utf16() * 2)
                        .map(|bytes| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect())
                        .collect();
                    spelled.sort();
                    spelled.dedup();
                    format!("(?:{})", spelled.join("|"))
                };
                Ok((Finder::regex(&text.chars().map(both_cases).collect::<String>(), false, len)?, len))
            }
            Pattern::Hex(hex) => Ok((Finder::regex(&hex.regex(), false, hex.len())?, hex.len())),
            Pattern::Regex { source, any_case } => {
                Ok((Finder::regex(source, *any_case, MAX_MATCH_BYTES)?, MAX_MATCH_BYTES))
            }
            Pattern::Secrets => {
                let secrets = Secrets::new().map_err(|error| PatternError::Regex(error.to_string()))?;
                Ok((Finder::Secrets(secrets), super::secrets::MAX_SECRET_BYTES))
            }
            Pattern::Literal(_) => Err(PatternError::Empty),
        }
    }

    fn regex(source: &str, any_case: bool, max_len: usize) -> Result<Finder, PatternError> {
        let built =
            RegexBuilder::new(source).unicode(false).dot_matches_new_line(true).case_insensitive(any_case).build();
        let regex = built.map_err(|error| PatternError::Regex(error.to_string()))?;
        if regex.is_match(b"") {
            return Err(PatternError::MatchesEmpty);
        }
        let nr_threads = rayon::current_num_threads().saturating_add(1);
        Ok(Finder::Regex { by_thread: vec![regex; nr_threads], max_len })
    }

    /// The next match from `at` on that begins before `core_end`, and maybe one behind it.
    fn next(
        &self,
        bytes: &[u8],
        at: usize,
        core_end: usize,
        careful: &mut Careful<'_>,
    ) -> Option<(usize, usize, usize)> {
        match self {
            Finder::One(finder) => {
                let len = finder.needle().len();
                let reach = core_end.saturating_add(len - 1).min(bytes.len());
                let start = at + finder.find(bytes.get(at..reach)?)?;
                Some((start, start + len, 0))
            }
            Finder::Few(finder) => {
                let found = finder.find_in(bytes, Span { start: at, end: bytes.len() })?;
                Some((found.start(), found.end(), found.pattern().as_usize()))
            }
            Finder::Many(finder) => {
                let found = finder.find(aho_corasick::Input::new(bytes).range(at..bytes.len()))?;
                Some((found.start(), found.end(), found.pattern().as_usize()))
            }
            Finder::Secrets(secrets) => secrets.next(bytes, at, core_end),
            Finder::Regex { by_thread, max_len } => {
                let nr = rayon::current_thread_index().map_or(0, |nr| nr + 1);
                let regex = by_thread.get(nr).or_else(|| by_thread.first())?;
                next_of_regex(regex, *max_len, bytes, at, core_end, careful).map(|(start, end)| (start, end, 0))
            }
        }
    }
}

/// The next match that is not longer than `max_len`, as if the bytes ended there.
fn next_of_regex(
    regex: &Regex,
    max_len: usize,
    bytes: &[u8],
    mut at: usize,
    core_end: usize,
    careful: &mut Careful<'_>,
) -> Option<(usize, usize)> {
    while at < core_end {
        let end_of_step =
            if careful.steps_left > 0 { at.saturating_add(CAREFUL_BYTES).min(core_end) } else { core_end };
        careful.steps_left = careful.steps_left.saturating_sub(1);
        let reach = end_of_step.saturating_add(max_len).saturating_add(LOOK_AHEAD_BYTES).min(bytes.len());
        let Some(found) = regex.find_at(bytes.get(..reach)?, at).filter(|found| found.start() < end_of_step) else {
            at = end_of_step;
            continue;
        };
        if found.is_empty() {
            at = found.start() + 1;
            continue;
        }
        if found.len() <= max_len {
            return Some((found.start(), found.end()));
        }
        careful.steps_left = CAREFUL_STEPS;
        if !(careful.goes_on)() {
            return None;
        }
        let cut = bytes.get(..found.start() + max_len)?;
        match regex.find_at(cut, found.start()) {
            Some(again) if again.start() == found.start() && !again.is_empty() => {
                return Some((again.start(), again.end()));
            }
            _ => at = found.start() + 1,
        }
    }
    None
}

fn check_len(len: usize) -> Result<(), PatternError> {
    match len {
        0 => Err(PatternError::Empty),
        len if len > MAX_LITERAL_BYTES => Err(PatternError::TooLong { len }),
        _ => Ok(()),
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::search::HexPattern;

    fn check(patterns: &[Pattern], bytes: &[u8], expected: &[(usize, usize, usize)]) {
        assert_eq!(Matcher::new(patterns).unwrap().find_all(bytes), expected, "{patterns:?}");
    }

    fn regex(source: &str) -> Pattern {
        Pattern::Regex { source: source.into(), any_case: false }
    }

    #[test]
    fn every_kind_of_pattern_finds_what_it_means() {
        let bytes = b"one Two \xff\x00 tWo t\0w\0O\0 7f";
        check(&[Pattern::Literal(b"Two".into())], bytes, &[(4, 3, 0)]);
        check(&[Pattern::LiteralAnyCase(b"two".into())], bytes, &[(4, 3, 0), (11, 3, 0)]);
        check(&[Pattern::Utf16 { text: "two".into(), any_case: false }], bytes, &[]);
        check(&[Pattern::Utf16 { text: "two".into(), any_case: true }], bytes, &[(15, 6, 0)]);
        check(&[Pattern::Hex(HexPattern::parse("ff ?0 20").unwrap())], bytes, &[(8, 3, 0)]);
        check(&[regex("[^ -~]+")], bytes, &[(8, 2, 0), (16, 1, 0), (18, 1, 0), (20, 1, 0)]);
        check(&[Pattern::Literal(b"o".into()), regex("T..")], bytes, &[(0, 1, 0), (4, 3, 1), (6, 1, 0), (13, 1, 0)]);
    }

    #[test]
    fn of_literals_that_begin_together_the_longest_is_told() {
        let literals =
            [Pattern::Literal(b"ab".into()), Pattern::Literal(b"abcd".into()), Pattern::Literal(b"x".into())];
        check(&literals, b"abc abcd x", &[(0, 2, 0), (4, 4, 1), (9, 1, 2)]);
    }

    #[test]
    fn any_number_of_literals_finds_the_same() {
        let words: Vec<String> = (0..200).map(|nr| format!("word-{nr:03}-x")).collect();
        let text = words.iter().rev().map(|word| format!("{word} {}", &word[..5])).collect::<String>();
        for count in [2, 63, 64, 65, 200] {
            let patterns: Vec<Pattern> =
                words[..count].iter().map(|word| Pattern::Literal(word.clone().into_bytes())).collect();
            let found = Matcher::new(&patterns).unwrap().find_all(text.as_bytes());
            let expected: Vec<usize> = (0..count).rev().collect();
            assert_eq!(found.iter().map(|(_, _, nr)| *nr).collect::<Vec<_>>(), expected, "{count}");
            assert!(found.iter().all(|(start, len, nr)| text[*start..start + len] == words[*nr]));
        }
    }

    #[test]
    fn matches_without_bound_end_at_the_limit() {
        let bytes = [b"a".repeat(10_000), b"b".to_vec()].concat();
        check(&[regex("a+")], &bytes, &[(0, 4096, 0), (4096, 4096, 0), (8192, 1808, 0)]);
        // The b is too far from all but the last starts.
        check(&[regex("a.*b")], &bytes, &[(10_001 - 4096, 4096, 0)]);
        // Greedy inside the limit.
        let bytes = [&b"a--b"[..], &[b'-'; 5000], b"b"].concat();
        check(&[regex("a.*b")], &bytes, &[(0, 4, 0)]);
    }

    #[test]
    fn patterns_that_match_nothing_or_everything_are_refused() {
        let refused = |pattern: Pattern| Matcher::new(&[pattern]).map(|_| ()).unwrap_err().to_string();
        assert_eq!(refused(Pattern::Literal(Vec::new())), "the pattern is empty");
        assert_eq!(refused(regex("a*")), "the expression matches the empty string, which is everywhere");
        assert_eq!(refused(regex("(")), "unclosed group");
        assert!(refused(Pattern::Literal(vec![b'x'; 1 << 20])).contains("the limit is 16384"));
        assert!(Matcher::new(&[]).is_err());
    }

    #[test]
    fn a_dense_group_stops_at_its_limit_and_goes_on_from_there() {
        let matcher = Matcher::new(&[Pattern::Literal(b"aa".into())]).unwrap();
        let mut found = Vec::new();
        let resume = matcher.groups[0].find(b"aaaaaaaa", 0, 8, 2, &|| true, &mut |start, _, _| found.push(start));
        assert_eq!((resume, &found[..]), (Some(4), &[0, 2][..]));
        assert_eq!(matcher.groups[0].find(b"aaaaaaaa", 4, 8, 9, &|| true, &mut |start, _, _| found.push(start)), None);
        assert_eq!(found, [0, 2, 4, 6]);
    }
}
