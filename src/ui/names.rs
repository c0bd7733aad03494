//! Names of numbers, as people of the field know them; the tables are those of `decode`.

use std::borrow::Cow;

use crate::decode::Arch;
use crate::decode::names::{self, AUXV, CAPABILITY};

/// The numbers of x86 where the dump does not tell: all but MIPS have the same signals.
fn table_of(arch: Option<Arch>) -> Arch {
    arch.unwrap_or(Arch::X86)
}

/// `SIGTERM`, `SIGRTMIN+3`.
pub fn signal(arch: Option<Arch>, number: u32) -> String {
    names::signal(table_of(arch), number)
}

/// The signals of a mask, bit N-1 for signal N.
pub fn signals(arch: Option<Arch>, mask: u64) -> String {
    let names: Vec<_> =
        (1..=64).filter(|number| mask & (1u64 << (number - 1)) != 0).map(|number| signal(arch, number)).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// `CAP_SYS_ADMIN`, or the number.
pub fn capability(number: u32) -> Cow<'static, str> {
    match CAPABILITY.value(Arch::X86, u64::from(number)) {
        Some(name) => name.into(),
        None => format!("capability {number}").into(),
    }
}

/// How many capabilities have names.
pub fn nr_capabilities() -> usize {
    CAPABILITY.all(Arch::X86).len()
}

/// `AT_PAGESZ`, or the number.
pub fn auxv(arch: Option<Arch>, key: u64) -> Cow<'static, str> {
    match AUXV.value(table_of(arch), key) {
        Some(name) => name.into(),
        None => format!("AT_{key}").into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_names_of_the_field() {
        assert_eq!([9, 15, 37].map(|number| signal(Some(Arch::X86), number)), ["SIGKILL", "SIGTERM", "SIGRTMIN+3"]);
        assert_eq!(signal(Some(Arch::Mips), 23), "SIGSTOP");
        assert_eq!(signals(None, 0x4002), "SIGINT, SIGTERM");
        assert_eq!(capability(21), "CAP_SYS_ADMIN");
        assert_eq!(capability(63), "capability 63");
        assert_eq!(auxv(Some(Arch::X86), 6), "AT_PAGESZ");
        assert!(nr_capabilities() > 40);
    }
}
