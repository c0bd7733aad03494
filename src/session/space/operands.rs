//! Words of an instruction by their meaning, so that a view can colour them.

use std::ops::Range;

/// What a word of an instruction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// What is done.
    Mnemonic,
    /// What is done, where that is to go elsewhere: jumps, calls, returns, traps.
    Flow,
    /// A register.
    Register,
    /// A number or an address.
    Number,
    /// `qword ptr`, `lsl`.
    Keyword,
    /// Brackets, commas, signs.
    Punctuation,
}

/// What stands before the mnemonic of x86.
const PREFIXES: [&str; 10] =
    ["lock", "rep", "repe", "repne", "repz", "repnz", "bnd", "notrack", "xacquire", "xrelease"];
/// Words in operands that are no registers.
const KEYWORDS: [&str; 39] = [
    "ptr", "byte", "word", "dword", "qword", "fword", "tbyte", "oword", "xmmword", "ymmword", "zmmword", "mmword",
    "bcst", "short", "near", "far", "sae", "rn", "rd", "ru", "rz", "mem", "fpuenv14", "fpuenv28", "lsl", "lsr", "asr",
    "ror", "uxtb", "uxth", "uxtw", "uxtx", "sxtb", "sxth", "sxtw", "sxtx", "msl", "mul", "vl",
];

/// All words of the text of an instruction, in order, without the spaces between them.
pub fn words(text: &str) -> Vec<(Range<usize>, Word)> {
    let mut out = Vec::new();
    let mut has_mnemonic = false;
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let len = if is_part(c) || (c == '#' && !has_mnemonic) {
            text.get(at..).unwrap_or_default().find(|c: char| !is_part(c)).unwrap_or(text.len() - at)
        } else {
            c.len_utf8()
        };
        let range = at..at + len.max(1);
        at = range.end;
        let word = text.get(range.clone()).unwrap_or_default();
        let kind = if !is_part(c) {
            Word::Punctuation
        } else if !has_mnemonic {
            has_mnemonic = !PREFIXES.contains(&word);
            if is_flow(word) { Word::Flow } else { Word::Mnemonic }
        } else if c.is_ascii_digit() {
            Word::Number
        } else if KEYWORDS.contains(&word) {
            Word::Keyword
        } else {
            Word::Register
        };
        out.push((range, kind));
    }
    out
}

/// Jumps, calls, returns, traps and system calls of x86 and AArch64.
fn is_flow(word: &str) -> bool {
    matches!(
        word,
        "b" | "bl"
            | "br"
            | "blr"
            | "cbz"
            | "cbnz"
            | "tbz"
            | "tbnz"
            | "brk"
            | "svc"
            | "eret"
            | "hlt"
            | "ud0"
            | "ud1"
            | "ud2"
            | "syscall"
            | "sysenter"
            | "sysexit"
            | "sysret"
            | "int"
            | "int1"
            | "int3"
            | "into"
            | "iret"
            | "iretd"
            | "iretq"
    ) || ["j", "call", "ret", "loop", "b."].iter().any(|start| word.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(&str, Word)]) {
        let found: Vec<(&str, Word)> = words(text).into_iter().map(|(range, word)| (&text[range], word)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_of_both_architectures_have_their_kinds() {
        use Word::{Flow, Keyword, Mnemonic, Number, Punctuation, Register};
        check("call 0x401000", &[("call", Flow), ("0x401000", Number)]);
        check(
            "mov rax, qword ptr [rip+0x10]",
            &[
                ("mov", Mnemonic),
                ("rax", Register),
                (",", Punctuation),
                ("qword", Keyword),
                ("ptr", Keyword),
                ("[", Punctuation),
                ("rip", Register),
                ("+", Punctuation),
                ("0x10", Number),
                ("]", Punctuation),
            ],
        );
        check("rep stosq", &[("rep", Mnemonic), ("stosq", Mnemonic)]);
        check("b.eq $+0x10", &[("b.eq", Flow), ("$", Punctuation), ("+", Punctuation), ("0x10", Number)]);
        check("", &[]);
    }

    #[test]
    fn any_text_is_taken_apart_without_a_loss() {
        for text in ["é#ü", "(bad)", "#", "a\u{202e}b", "7 bytes: not mapped", "..", "mov é, [€]"] {
            let found = words(text);
            let joined: String = found.iter().map(|(range, _)| &text[range.clone()]).collect();
            assert_eq!(joined, text.split_whitespace().collect::<String>());
        }
    }
}
