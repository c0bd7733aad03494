//! What criu cannot restore in a user namespace, or the container's filter of system calls would end, told before it tries.

use super::NR_IDS;
use crate::checkpoint::namespaces::NsKind;
use crate::checkpoint::process::Thread;
use crate::checkpoint::{Checkpoint, credentials::Credentials};
use crate::sandbox::plan::{Concern, Weight};

/// Scheduling that is no ordinary one: real time and deadlines.
const REAL_TIME: [u32; 3] = [1, 2, 6];

fn threads(checkpoint: &Checkpoint) -> impl Iterator<Item = &Thread> {
    checkpoint.processes.iter().flat_map(|process| &process.threads)
}

fn credentials(checkpoint: &Checkpoint) -> impl Iterator<Item = &Credentials> {
    threads(checkpoint).filter_map(|thread| thread.credentials.known())
}

/// Capabilities that some thread had, bit N for capability N.
pub(super) fn capabilities(checkpoint: &Checkpoint) -> u64 {
    let sets = credentials(checkpoint).map(|it| it.cap_prm | it.cap_inh | it.cap_eff | it.cap_amb.unwrap_or_default());
    sets.fold(0, |all, set| all | set)
}

/// As many processes and threads as there were, and as many more; numbers for them are few on this machine, and its kernel
/// tells each of them when memory runs out.
pub(super) fn max_pids(checkpoint: &Checkpoint) -> u32 {
    const LEAST: u32 = 1024;
    u32::try_from(threads(checkpoint).count()).unwrap_or(u32::MAX).saturating_mul(2).saturating_add(LEAST)
}

/// What will fail, and what may.
pub fn concerns(checkpoint: &Checkpoint) -> Vec<Concern> {
    const HINT: &str = "restore it in the microVM";
    let mut out = Vec::new();
    let mut add = |weight, count: usize, what: &str| {
        if count > 0 {
            out.push(Concern { weight, what: format!("{count} {what}"), hint: HINT.to_owned() });
        }
    };
    let is_foreign = |it: &&Credentials| {
        let ids = it.uids.iter().chain(&it.gids).chain(it.groups.iter());
        ids.into_iter().any(|id| *id >= NR_IDS)
    };
    let foreign = credentials(checkpoint).filter(is_foreign).count();
    add(Weight::Fatal, foreign, "threads have user or group ids that the container's namespace does not have");
    let in_mode = |mode: u32| {
        threads(checkpoint).filter(|it| it.seccomp.known().is_some_and(|seccomp| seccomp.mode == mode)).count()
    };
    add(Weight::Fatal, in_mode(1), "threads are in strict seccomp mode, which criu cannot suspend in a user namespace");
    let what = "threads have filters of system calls, which criu cannot suspend in a user namespace: where they forbid its \
                last steps, the process ends";
    add(Weight::Risky, in_mode(2), what);
    let is_real_time = |it: &&Thread| it.sched.known().is_some_and(|sched| REAL_TIME.contains(&sched.policy));
    add(
        Weight::Fatal,
        threads(checkpoint).filter(is_real_time).count(),
        "threads run in real time, which nobody may ask for in a user namespace",
    );
    let of_32_bits = threads(checkpoint).filter(|it| it.registers.known().is_some_and(|it| it.is_compat)).count();
    let what = "threads are of programs of 32 bits, and a call by their entry into the kernel ends its process";
    add(Weight::Fatal, of_32_bits, what);
    let nested = checkpoint.namespaces.iter().filter(|it| it.kind == NsKind::User && !it.is_host).count();
    add(Weight::Fatal, nested, "user namespaces would have to be made inside the container's");
    out
}
