//! What this machine offers to one inside of it, and what a restore on it will be like.

use super::backend::Backend;
use super::plan::{self, Plan, Processor, Review};
use super::{container, microvm};
use crate::checkpoint::Checkpoint;
use crate::decode::Arch;
use crate::evidence::BaseImage;

/// Machines have the architecture that this program was built for.
pub const ARCH: Arch = if cfg!(target_arch = "aarch64") { Arch::Aarch64 } else { Arch::X86 };

/// Looks through a checkpoint for a restore on this machine. Isolation that a container would not have here is among the
/// dangers.
pub fn review(plan: &Plan, checkpoint: &Checkpoint, base: Option<&BaseImage>, backend: Backend) -> Review {
    let mut review = plan::review(plan, checkpoint, base, processor(backend), ARCH);
    if backend == Backend::Container {
        let layers = container::layers(&container::Facts::probe());
        review.dangers.list.extend(container::dangers(&layers));
        review.concerns.extend(container::concerns(checkpoint));
        review.concerns.sort_by_key(|concern| concern.weight);
    }
    review
}

/// The processor that processes get. That KVM may be there is no proof that it works: this is the better case.
fn processor(backend: Backend) -> Processor {
    if backend == Backend::Microvm && !microvm::may_have_kvm() {
        return Processor::Emulated;
    }
    #[cfg(target_arch = "x86_64")]
    return Processor::Host { has_avx512: std::arch::is_x86_feature_detected!("avx512f") };
    #[cfg(not(target_arch = "x86_64"))]
    return Processor::Host { has_avx512: false };
}
