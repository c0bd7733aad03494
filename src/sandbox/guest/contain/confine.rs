//! What the container's processes may not do, whatever they are: taken from the agent before it starts anything.

use std::collections::BTreeMap;

use landlock::{CompatLevel, Compatible as _, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, Scope};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::sandbox::container::Confinement;
use crate::sandbox::guest::GuestError;
use crate::sandbox::guest::boot::write;
use crate::sandbox::syscalls;

/// Capabilities that criu and its helpers never use (see capabilities(7)).
const UNUSED: CapabilitySet = CapabilitySet::LINUX_IMMUTABLE
    .union(CapabilitySet::NET_BROADCAST)
    .union(CapabilitySet::SYS_MODULE)
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::SYS_PACCT)
    .union(CapabilitySet::SYS_BOOT)
    .union(CapabilitySet::SYS_TTY_CONFIG)
    .union(CapabilitySet::LEASE)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::AUDIT_CONTROL)
    .union(CapabilitySet::MAC_OVERRIDE)
    .union(CapabilitySet::MAC_ADMIN)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::WAKE_ALARM)
    .union(CapabilitySet::BLOCK_SUSPEND)
    .union(CapabilitySet::AUDIT_READ)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::BPF);

/// System calls that fail with EPERM: each reaches far into the kernel, and neither criu nor a container needs it. Mounting
/// and tracing stay, since criu does both.
pub(super) const FORBIDDEN: [&str; 38] = [
    "acct",
    "add_key",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "adjtimex",
    "create_module",
    "delete_module",
    "finit_module",
    "init_module",
    "fanotify_init",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "migrate_pages",
    "move_pages",
    "name_to_handle_at",
    "nfsservctl",
    "open_by_handle_at",
    "perf_event_open",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "settimeofday",
    "swapoff",
    "swapon",
    "sysfs",
    "_sysctl",
    "syslog",
    "uselib",
    "vhangup",
];

/// Calls of the x32 ABI have this bit in their number, and one of ours has a number of its own there.
const X32: u64 = 0x4000_0000;
const X32_KEXEC_LOAD: u64 = X32 | 528;

/// Takes it all away, from this thread and from everything that it starts.
pub(super) fn confine(confinement: &Confinement) -> Result<(), GuestError> {
    // Another user namespace would give all capabilities over new networks and mounts.
    write("/proc/sys/user/max_user_namespaces", "0")?;
    for capability in UNUSED.iter() {
        if capability.bits() & confinement.recorded_capabilities == 0 {
            // Kernels do not know those that came after them.
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    if confinement.landlock {
        landlock()?;
    }
    if confinement.seccomp {
        let filter = filter().map_err(GuestError::file("make", "the filter of system calls"))?;
        seccompiler::apply_filter(&filter)
            .map_err(|error| GuestError::file("set", "the filter of system calls")(std::io::Error::other(error)))?;
    }
    Ok(())
}

/// A domain that signals, traces and abstract sockets do not leave.
///
/// Landlock forbids every mount once it handles a single right of file systems, and criu mounts; so it handles none.
fn landlock() -> Result<(), GuestError> {
    let cannot = |error: landlock::RulesetError| GuestError::file("enter", "Landlock")(std::io::Error::other(error));
    let ruleset = landlock_ruleset().map_err(cannot)?;
    // The agent has the right to do without: programs that are restored keep theirs.
    ruleset.no_new_privs(false).restrict_self().map_err(cannot)?;
    Ok(())
}

pub(in crate::sandbox) fn landlock_ruleset() -> Result<landlock::RulesetCreated, landlock::RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()
}

/// A call by the entry for programs of 32 bits ends its process; `concerns` says so of those that are frozen.
fn filter() -> Result<BpfProgram, std::io::Error> {
    let native = FORBIDDEN.iter().filter_map(|name| syscalls::number(name));
    let numbers = native.flat_map(|number| [number, number | X32]).chain([X32_KEXEC_LOAD]);
    let rules: BTreeMap<i64, Vec<_>> =
        numbers.filter_map(|number| Some((i64::try_from(number).ok()?, Vec::new()))).collect();
    let arch = std::env::consts::ARCH.try_into().map_err(std::io::Error::other::<seccompiler::BackendError>)?;
    let denied = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denied, arch).map_err(std::io::Error::other)?;
    filter.try_into().map_err(std::io::Error::other::<seccompiler::BackendError>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forbidden_call_has_a_number_and_the_filter_compiles() {
        let unknown: Vec<_> = FORBIDDEN.iter().filter(|name| syscalls::number(name).is_none()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        assert!(filter().unwrap().len() > 2 * FORBIDDEN.len());
    }
}
