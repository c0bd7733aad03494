//! Addresses as people write them: `0x7f12…`, `4096`, `libc+0x1f0`, `heap`, `rsp-0x20`.
//!
//! A sum of terms. A term is a number (hex with `0x`, else decimal; digits with a letter from a to f among them are hex
//! too), a register of the first thread, `heap`, `stack`, `vdso`, or a mapped file by its base name, of which the part
//! before a dot or dash is enough.

use crate::base::VirtAddr;
use crate::checkpoint::Process;
use crate::checkpoint::memory_map::{MemoryMap, VmaKind};
use crate::checkpoint::registers::Registers;

/// Longest expression that is looked at, in bytes.
const MAX_LEN: usize = 4096;

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing was written.
    #[error("write an address, as 0x7ffc…, libc+0x1f0 or rsp-0x20")]
    Empty,
    /// No such name.
    #[error("no register, mapped file or area of this process is called “{0}”")]
    UnknownName(String),
    /// Not a number.
    #[error("“{0}” is not a number")]
    NotANumber(String),
    /// A sign without a term.
    #[error("something must follow the {0}")]
    MissingTerm(char),
    /// Two terms without a sign.
    #[error("a + or - is missing before “{0}”")]
    MissingSign(String),
    /// More than 64 bits.
    #[error("that is not an address: it lies outside of 64 bits")]
    OutOfRange,
    /// Longer than any address.
    #[error("that is too long for an address")]
    TooLong,
}

/// What an expression comes to in the address space of a process.
///
/// # Errors
/// What is wrong with it, in words for the analyst.
pub fn parse(text: &str, process: &Process) -> Result<VirtAddr, AddressError> {
    if text.len() > MAX_LEN {
        return Err(AddressError::TooLong);
    }
    let names = Names {
        registers: process.threads.first().and_then(|thread| thread.registers.known()),
        map: process.memory.known(),
    };
    parse_with(text, |rest| names.longest(rest))
}

/// `find` gives the length and the value of the name that a text begins with.
fn parse_with(text: &str, find: impl Fn(&str) -> Option<(usize, u64)>) -> Result<VirtAddr, AddressError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(AddressError::Empty);
    }
    let mut sum = 0i128;
    let mut sign = 1i128;
    let mut sign_char = '+';
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Err(AddressError::MissingTerm(sign_char));
        }
        let (len, value) = term(rest, &find)?;
        // At most MAX_LEN terms of 64 bits: this cannot overflow.
        sum += sign * i128::from(value);
        rest = rest.get(len..).unwrap_or_default().trim_start();
        match rest.chars().next() {
            None => return u64::try_from(sum).map(VirtAddr).map_err(|_out| AddressError::OutOfRange),
            Some(c @ ('+' | '-')) => {
                sign_char = c;
                sign = if c == '+' { 1 } else { -1 };
                rest = rest.get(1..).unwrap_or_default();
            }
            Some(_) => return Err(AddressError::MissingSign(cut(rest))),
        }
    }
}

fn term(rest: &str, find: &impl Fn(&str) -> Option<(usize, u64)>) -> Result<(usize, u64), AddressError> {
    if let Some((len, value)) = find(rest) {
        return Ok((len, value));
    }
    let len = rest.find(|c: char| c == '+' || c == '-' || c.is_whitespace()).unwrap_or(rest.len());
    let word = rest.get(..len).unwrap_or_default();
    let clean: String = word.chars().filter(|c| *c != '_' && *c != '`').collect();
    let (digits, is_hex) = match clean.strip_prefix("0x").or_else(|| clean.strip_prefix("0X")) {
        Some(digits) => (digits, true),
        None => (clean.as_str(), !clean.is_empty() && clean.bytes().any(|byte| byte.is_ascii_alphabetic())),
    };
    let is_number = !digits.is_empty()
        && digits.bytes().all(|byte| if is_hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() });
    if !is_number {
        let begins_as_number = word.starts_with(|c: char| c.is_ascii_digit());
        return Err(match word {
            "" => AddressError::MissingTerm(rest.chars().next().unwrap_or('+')),
            _ if begins_as_number => AddressError::NotANumber(cut(word)),
            _ => AddressError::UnknownName(cut(word)),
        });
    }
    match u64::from_str_radix(digits, if is_hex { 16 } else { 10 }) {
        Ok(value) => Ok((len, value)),
        Err(_) => Err(AddressError::OutOfRange),
    }
}

fn cut(text: &str) -> String {
    let mut out: String = text.chars().take(40).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    crate::base::escape_controls(&out).into_owned()
}

/// What has a name in a process.
struct Names<'a> {
    registers: Option<&'a Registers>,
    map: Option<&'a MemoryMap>,
}

impl Names<'_> {
    /// The longest name that the text begins with: its length in bytes and its value.
    fn longest(&self, text: &str) -> Option<(usize, u64)> {
        let word_len = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let word = text.get(..word_len).filter(|word| !word.is_empty());
        let mut best = word.and_then(|word| self.register(word)).map(|value| (word_len, value));
        let mut consider = |found: Option<usize>, value: VirtAddr| {
            if let Some(len) = found.filter(|len| best.is_none_or(|(best, _)| best < *len)) {
                best = Some((len, value.0));
            }
        };
        for vma in self.map.into_iter().flat_map(|map| &map.vmas) {
            let keyword = match vma.kind {
                VmaKind::Heap => "heap",
                VmaKind::Stack => "stack",
                VmaKind::Vdso => "vdso",
                VmaKind::Vvar => "vvar",
                _ => "",
            };
            if !keyword.is_empty() {
                consider(begins_with(text, keyword), vma.start);
            }
            if !vma.path.is_empty() {
                let path = vma.path.to_lossless();
                let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
                consider(begins_with_name(text, path.rsplit('/').next().unwrap_or_default()), vma.start);
            }
        }
        best
    }

    /// By the name that CRIU has, or the one of the manual (`rsp`, `esp` for `sp`).
    fn register(&self, word: &str) -> Option<u64> {
        let registers = self.registers?;
        let word = word.to_ascii_lowercase();
        let named = |name: &str| registers.general.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        if let Some(value) = named(&word) {
            return Some(value);
        }
        match word.as_str() {
            "pc" => return Some(registers.pc),
            "sp" => return Some(registers.sp),
            _ => {}
        }
        let short =
            word.strip_prefix(['r', 'e']).filter(|short| short.len() == 2 && short.chars().all(char::is_alphabetic));
        short.and_then(named)
    }
}

/// Length of `name` when the text begins with it as a whole word.
fn begins_with(text: &str, name: &str) -> Option<usize> {
    let rest = text.strip_prefix(name)?;
    rest.chars().next().is_none_or(|c| c == '+' || c == '-' || c.is_whitespace()).then_some(name.len())
}

/// As [`begins_with`], of a name or of its part before any dot or dash, the longest that fits.
fn begins_with_name(text: &str, name: &str) -> Option<usize> {
    if name.is_empty() {
        return None;
    }
    let parts = name.match_indices(['.', '-']).map(|(at, _)| at).chain([name.len()]);
    parts.filter_map(|end| begins_with(text, name.get(..end).filter(|part| !part.is_empty())?)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str) -> Option<(usize, u64)> {
        let names =
            [("libstdc++.so.6", 0x5000), ("libc.so.6", 0x1000), ("ld-linux-x86-64.so.2", 0x3000), ("rsp", 0x9000)];
        names
            .iter()
            .filter_map(|(name, value)| Some((begins_with_name(text, name)?, *value)))
            .max_by_key(|(len, _)| *len)
    }

    fn check(text: &str, expected: Result<u64, AddressError>) {
        assert_eq!(parse_with(text, find), expected.map(VirtAddr), "{text}");
    }

    #[test]
    fn numbers_are_decimal_unless_they_say_that_they_are_hex() {
        check("0x7ffc12345678", Ok(0x7ffc_1234_5678));
        check(" 4096 ", Ok(4096));
        check("7f12ab34c000", Ok(0x7f12_ab34_c000));
        check("0x7f12`ab34_c000", Ok(0x7f12_ab34_c000));
        check("0xffffffffffffffff", Ok(u64::MAX));
    }

    #[test]
    fn names_and_offsets_are_added_up() {
        check("libc+0x1f0", Ok(0x11f0));
        check("libc.so.6 + 16 - 0x10", Ok(0x1000));
        check("rsp-0x20", Ok(0x8fe0));
        check("0x20+rsp", Ok(0x9020));
    }

    #[test]
    fn names_may_hold_signs_themselves() {
        check("libstdc+++8", Ok(0x5008));
        check("libstdc++.so.6-8", Ok(0x4ff8));
        check("ld-linux-x86-64.so.2-0x10", Ok(0x2ff0));
        check("ld-16", Ok(0x2ff0));
    }

    #[test]
    fn what_is_wrong_is_said() {
        check("", Err(AddressError::Empty));
        check("lbc+8", Err(AddressError::UnknownName("lbc".into())));
        check("0xzz", Err(AddressError::NotANumber("0xzz".into())));
        check("12q", Err(AddressError::NotANumber("12q".into())));
        check("libc+", Err(AddressError::MissingTerm('+')));
        check("libc+-8", Err(AddressError::MissingTerm('-')));
        check("libc 8", Err(AddressError::MissingSign("8".into())));
        check("0x1ffffffffffffffff", Err(AddressError::OutOfRange));
        check("rsp-0x10000", Err(AddressError::OutOfRange));
        check("0xffffffffffffffff+1", Err(AddressError::OutOfRange));
        let process = &crate::session::sample_process();
        assert_eq!(parse(&"1+".repeat(9000), process), Err(AddressError::TooLong));
    }

    #[test]
    fn registers_and_areas_of_a_real_process_have_names() {
        let process = &crate::session::sample_process();
        let registers = process.threads[0].registers.known().unwrap();
        let map = process.memory.known().unwrap();
        let start = |kind| map.vmas.iter().find(|vma| vma.kind == kind).unwrap().start;
        assert_eq!(parse("rsp-0x20", process), Ok(VirtAddr(registers.sp - 0x20)));
        assert_eq!(parse("RIP", process), Ok(VirtAddr(registers.pc)));
        assert_eq!(parse("heap", process), Ok(start(VmaKind::Heap)));
        assert_eq!(parse("[stack]+8", process), Ok(VirtAddr(start(VmaKind::Stack).0 + 8)));
        let libc = map.vmas.iter().find(|vma| vma.path.label().contains("/libc.so")).unwrap().start;
        assert_eq!(parse("libc+0x1f0", process), Ok(VirtAddr(libc.0 + 0x1f0)));
        assert!(matches!(parse("r99", process), Err(AddressError::UnknownName(_))));
    }
}
