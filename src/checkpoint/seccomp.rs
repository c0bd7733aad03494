//! Seccomp: mode, filter chains, and the filters' programs as text.

use std::collections::HashMap;
use std::sync::Arc;

/// Seccomp state of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seccomp {
    /// 0 off, 1 strict, 2 filter.
    pub mode: u32,
    /// Indexes into [`super::Checkpoint::seccomp_filters`], newest first, as the kernel runs them.
    pub filters: Arc<[usize]>,
}

/// One filter of `seccomp.img`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Classic BPF instructions.
    pub program: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_` bits.
    pub flags: u32,
    /// The next newer filter of the chain.
    pub newer: Option<usize>,
}

/// One classic BPF instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when true.
    pub jt: u8,
    /// Instructions to skip when false.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

use crate::base::{ByteOrder, Cursor, Issue, Limits, Place};
use crate::decode::names;
use crate::decode::{Arch, schema};

/// Longest program the kernel takes, in instructions.
const MAX_INSTRUCTIONS: usize = 4096;

/// The filters of `seccomp.img`, in its order.
pub(super) fn filters(entry: &schema::SeccompEntry, order: ByteOrder, place: &Place) -> (Vec<Filter>, Vec<Issue>) {
    let mut issues = Vec::new();
    let filters = entry
        .seccomp_filters
        .iter()
        .enumerate()
        .map(|(index, filter)| {
            if filter.filter.len() % 8 != 0 || filter.filter.len() > MAX_INSTRUCTIONS * 8 {
                let what = format!(
                    "filter {index} has {} bytes: not a program of at most {MAX_INSTRUCTIONS} instructions of 8 bytes",
                    filter.filter.len()
                );
                issues.push(Issue::new(place.clone(), what));
            }
            let newer = filter.prev.and_then(|prev| usize::try_from(prev).ok());
            Filter { program: program(&filter.filter, order), flags: filter.flags.unwrap_or_default(), newer }
        })
        .collect();
    (filters, issues)
}

fn program(bytes: &[u8], order: ByteOrder) -> Vec<Instruction> {
    bytes
        .chunks_exact(8)
        .take(MAX_INSTRUCTIONS)
        .filter_map(|chunk| {
            let mut cursor = Cursor::new(chunk, order);
            let code = cursor.u16("code").ok()?;
            let jumps = cursor.take(2, "jumps").ok()?;
            let k = cursor.u32("k").ok()?;
            let [jt, jf] = *jumps else { return None };
            Some(Instruction { code, jt, jf, k })
        })
        .collect()
}

/// The chain that starts at the oldest filter, newest first, as the kernel runs it.
///
/// A task names its oldest filter, and `prev` of each leads to the next newer one (seen: the first
/// filter installed has index 1 and `prev` 0).
pub(super) fn chain(filters: &[Filter], oldest: u32, limits: &Limits) -> Result<Vec<usize>, String> {
    let mut chain = Vec::new();
    let mut next = usize::try_from(oldest).ok();
    while let Some(index) = next {
        let Some(filter) = filters.get(index) else {
            return Err(format!("seccomp filter {index} is named, {} are recorded", filters.len()));
        };
        // A chain with more filters than there are has been somewhere twice.
        if chain.len() >= limits.max_chain.min(filters.len()) {
            return Err(format!("seccomp filter {index} leads back to itself"));
        }
        chain.push(index);
        next = filter.newer;
    }
    chain.reverse();
    Ok(chain)
}

/// Chains by the filter they begin with, each followed once however many threads share it.
#[derive(Debug, Default)]
pub(super) struct Chains(HashMap<u32, Result<Arc<[usize]>, String>>);

impl Chains {
    /// Most filters in all different chains together.
    const MAX_LINKS: usize = 4_000_000;

    /// Follows the chains that begin with these filters.
    pub(super) fn new(filters: &[Filter], oldest: impl Iterator<Item = u32>, limits: &Limits) -> Chains {
        let mut chains = Chains::default();
        let mut left = Chains::MAX_LINKS;
        for oldest in oldest {
            if chains.0.contains_key(&oldest) {
                continue;
            }
            let found = chain(filters, oldest, limits).and_then(|found| {
                left = left.checked_sub(found.len()).ok_or_else(|| {
                    format!(
                        "chain of seccomp filter {oldest} is not followed: all have more than {} links",
                        Chains::MAX_LINKS
                    )
                })?;
                Ok(found.into())
            });
            chains.0.insert(oldest, found);
        }
        chains
    }

    /// The chain that begins with this filter, newest first.
    pub(super) fn get(&self, oldest: u32) -> Result<Arc<[usize]>, String> {
        self.0.get(&oldest).cloned().unwrap_or_else(|| Err(format!("seccomp filter {oldest} is not in a chain")))
    }
}

impl Instruction {
    /// The instruction as `seccomp-tools` and `tcpdump -d` people know it; `at` is its index.
    pub fn text(&self, at: usize) -> String {
        const SIZES: [&str; 4] = ["", "h", "b", "?"];
        let Instruction { code, jt, jf, k } = *self;
        let size = SIZES[usize::from(code >> 3 & 3)];
        let source = if code & 8 == 0 { format!("#{k:#x}") } else { "x".to_owned() };
        let target = |skip: u32| at as u64 + 1 + u64::from(skip);
        let load = |reg: &str| match code & 0xe0 {
            0x00 => format!("ld{reg} #{k:#x}"),
            0x20 => format!("ld{reg}{size} [{k:#x}]{}", data_name(k)),
            0x40 => format!("ld{reg}{size} [x + {k:#x}]"),
            0x60 => format!("ld{reg} M[{k}]"),
            0x80 => format!("ld{reg} len"),
            _ => format!("ld{reg} ?{code:#x}"),
        };
        match code & 7 {
            0 => load(""),
            1 => load("x"),
            2 => format!("st M[{k}]"),
            3 => format!("stx M[{k}]"),
            4 => {
                let op = ["add", "sub", "mul", "div", "or", "and", "lsh", "rsh", "neg", "mod", "xor"];
                match op.get(usize::from(code >> 4 & 0xf)) {
                    Some(&"neg") => "neg".to_owned(),
                    Some(op) => format!("{op} {source}"),
                    None => format!("alu ?{code:#x}"),
                }
            }
            5 => match code >> 4 & 0xf {
                0 => format!("ja {}", target(k)),
                op @ 1..=4 => {
                    let name = ["jeq", "jgt", "jge", "jset"][usize::from(op - 1)];
                    format!("{name} {source}, {}, {}", target(u32::from(jt)), target(u32::from(jf)))
                }
                _ => format!("jmp ?{code:#x}"),
            },
            6 => match code & 0x18 {
                0x10 => "ret a".to_owned(),
                _ => format!("ret {}", action(k)),
            },
            _ => if code & 0x80 == 0 { "tax" } else { "txa" }.to_owned(),
        }
    }
}

/// What offset `k` of `struct seccomp_data` is, as a comment.
fn data_name(k: u32) -> String {
    let low = names::SECCOMP_DATA.value(Arch::default(), u64::from(k)).map(|name| format!("  ; {name}"));
    let high =
        || Some(format!("  ; {} + 4", names::SECCOMP_DATA.value(Arch::default(), u64::from(k.checked_sub(4)?))?));
    low.or_else(high).unwrap_or_default()
}

/// The answer of a filter, without the prefix that all names share.
fn action(k: u32) -> String {
    let data = k & 0xffff;
    let name = names::SECCOMP_ACTION.value(Arch::default(), u64::from(k & 0xffff_0000));
    match name.map(|name| name.trim_start_matches("SECCOMP_RET_")) {
        Some(name @ ("ERRNO" | "TRACE" | "TRAP")) if data != 0 => format!("{name}({data})"),
        Some(name) => name.to_owned(),
        None => format!("{k:#x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_runs_newest_first_and_ends_on_a_loop() {
        let filter = |newer| Filter { program: Vec::new(), flags: 0, newer };
        let filters = [filter(None), filter(Some(0)), filter(Some(2))];
        assert_eq!(chain(&filters, 1, &Limits::default()), Ok(vec![0, 1]));
        assert!(chain(&filters, 2, &Limits::default()).is_err_and(|what| what.contains("leads back")));
        assert!(chain(&filters, 9, &Limits::default()).is_err_and(|what| what.contains("3 are recorded")));
    }

    #[test]
    fn instructions_read_as_text() {
        let at = |code, jt, jf, k| Instruction { code, jt, jf, k };
        assert_eq!(at(0x20, 0, 0, 4).text(0), "ld [0x4]  ; arch");
        assert_eq!(at(0x15, 1, 3, 0xc000_003e).text(1), "jeq #0xc000003e, 3, 5");
        assert_eq!(at(0x06, 0, 0, 0x0005_0001).text(9), "ret ERRNO(1)");
        assert_eq!(at(0x06, 0, 0, 0x7fff_0000).text(9), "ret ALLOW");
    }
}
