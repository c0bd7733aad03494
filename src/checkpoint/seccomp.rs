//! Seccomp: mode, filter chains, and the filters' programs as text.

/// Seccomp state of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seccomp {
    /// 0 off, 1 strict, 2 filter.
    pub mode: u32,
    /// Indexes into [`super::Checkpoint::seccomp_filters`], newest first, as the kernel runs them.
    pub filters: Vec<usize>,
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
