//! Names of numbers, as people of the field know them; the tables are those of `decode`.

use std::borrow::Cow;

use crate::checkpoint::Arch;
use crate::decode::names::{self, AUXV, CAPABILITY};

/// The numbers of x86 where the dump does not tell: all but MIPS have the same signals.
fn table_of(arch: Arch) -> names::Arch {
    match arch {
        Arch::Unknown | Arch::X86_64 => names::Arch::X86,
        Arch::Arm => names::Arch::Arm,
        Arch::Aarch64 => names::Arch::Aarch64,
        Arch::Ppc64 => names::Arch::Ppc64,
        Arch::S390 => names::Arch::S390,
        Arch::Mips => names::Arch::Mips,
        Arch::Loongarch64 => names::Arch::LoongArch64,
        Arch::Riscv64 => names::Arch::Riscv64,
    }
}

/// `SIGTERM`, `SIGRTMIN+3`.
pub fn signal(arch: Arch, number: u32) -> String {
    names::signal(table_of(arch), number)
}

/// The signals of a mask, bit N-1 for signal N.
pub fn signals(arch: Arch, mask: u64) -> String {
    let names: Vec<_> =
        (1..=64).filter(|number| mask & (1u64 << (number - 1)) != 0).map(|number| signal(arch, number)).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// `CAP_SYS_ADMIN`, or the number.
pub fn capability(number: u32) -> Cow<'static, str> {
    match CAPABILITY.value(names::Arch::X86, u64::from(number)) {
        Some(name) => name.into(),
        None => format!("capability {number}").into(),
    }
}

/// How many capabilities have names.
pub fn nr_capabilities() -> usize {
    CAPABILITY.all(names::Arch::X86).len()
}

/// `AT_PAGESZ`, or the number.
pub fn auxv(arch: Arch, key: u64) -> Cow<'static, str> {
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
        assert_eq!([9, 15, 37].map(|number| signal(Arch::X86_64, number)), ["SIGKILL", "SIGTERM", "SIGRTMIN+3"]);
        assert_eq!(signal(Arch::Mips, 23), "SIGSTOP");
        assert_eq!(signals(Arch::Unknown, 0x4002), "SIGINT, SIGTERM");
        assert_eq!(capability(21), "CAP_SYS_ADMIN");
        assert_eq!(capability(63), "capability 63");
        assert_eq!(auxv(Arch::X86_64, 6), "AT_PAGESZ");
        assert!(nr_capabilities() > 40);
    }
}
