//! Registers of a thread, of every architecture, as names and numbers.

use super::container::Arch;

/// Registers at the freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Which names to expect.
    pub arch: Arch,
    /// Whether a 64-bit kernel ran a 32-bit task.
    pub is_compat: bool,
    /// Integer registers in the order of the architecture's manual.
    pub general: Vec<(&'static str, u64)>,
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Thread pointer, where it is kept apart.
    pub tls: Option<u64>,
    /// Vector and floating point registers: name and bytes, least significant first.
    pub vector: Vec<(String, Vec<u8>)>,
}
