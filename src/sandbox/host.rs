//! What this machine offers to one inside of it.

use super::microvm;
use super::plan::Processor;
use crate::decode::Arch;

/// Machines have the architecture that this program was built for.
pub const ARCH: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86 };

/// The processor of a machine. That KVM may be there is no proof that it works: this is the better case.
pub fn processor() -> Processor {
    if !microvm::may_have_kvm() {
        return Processor::Emulated;
    }
    #[cfg(target_arch = "x86_64")]
    return Processor::Host { has_avx512: std::arch::is_x86_feature_detected!("avx512f") };
    #[cfg(not(target_arch = "x86_64"))]
    return Processor::Host { has_avx512: false };
}
