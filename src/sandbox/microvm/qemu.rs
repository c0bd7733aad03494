//! QEMU: which one, and with what words it is started.

use std::os::fd::RawFd;
use std::path::PathBuf;

use super::MachineError;
use crate::sandbox::plan::MachinePlan;
use crate::sandbox::protocol::PORT;

/// The emulator's name, and the package that has it.
const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// Numbers of the files that are handed over, from this one on: above those that a process has open when it starts.
pub(super) const FIRST_FD: RawFd = 100;
const INITRD_FD: RawFd = FIRST_FD;
const DISK_FD: RawFd = FIRST_FD + 1;
const CONTROL_FD: RawFd = FIRST_FD + 2;
const KERNEL_FD: RawFd = FIRST_FD + 3;
const SCRATCH_FD: RawFd = FIRST_FD + 4;

/// How instructions are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Acceleration {
    /// By the processor.
    Kvm,
    /// By translation, about ten times slower.
    Tcg,
}

/// The emulator, where `PATH` has it.
///
/// # Errors
/// It is not installed.
pub fn find() -> Result<PathBuf, MachineError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|dir| dir.join(PROGRAM));
    places.find(|place| place.is_file()).ok_or(MachineError::NoQemu { program: PROGRAM, package: PACKAGE })
}

/// Whether `/dev/kvm` may be opened: no promise that it works.
pub fn may_have_kvm() -> bool {
    std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok()
}

/// The command line: nothing but a processor, memory, one or two disks, one port, and a console that only speaks.
///
/// No network card, no monitor, no display, no devices by default; seccomp on, so that QEMU itself starts no program and
/// raises no privilege. Disks and port are open files; QEMU opens nothing by a name of the evidence.
pub(super) fn arguments(plan: &MachinePlan, acceleration: Acceleration, has_scratch: bool) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |word: &[&str]| words.extend(word.iter().map(|word| (*word).to_owned()));
    add(&["-name", "cryoscope-sandbox", "-no-user-config", "-nodefaults", "-no-reboot"]);
    add(&["-machine", "q35,usb=off,vmport=off,dump-guest-core=off,graphics=off"]);
    match acceleration {
        Acceleration::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
        // With a thread for each processor QEMU 7.2 runs code that the kernel is patching: "Oops: int3" in __schedule.
        Acceleration::Tcg => add(&["-accel", "tcg,thread=single,tb-size=256", "-cpu", "max"]),
    }
    add(&["-smp", &plan.cpus.to_string(), "-m", &format!("{}M", plan.memory_mib)]);
    add(&["-nic", "none", "-display", "none", "-vga", "none", "-monitor", "none", "-parallel", "none"]);
    add(&["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    add(&["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    add(&["-kernel", &format!("/proc/self/fd/{KERNEL_FD}"), "-initrd", &format!("/proc/self/fd/{INITRD_FD}")]);
    add(&["-append", "console=ttyS0 quiet panic=-1 rdinit=/init tsc=reliable random.trust_cpu=on"]);
    add(&["-blockdev", &blockdev("evidence", DISK_FD, true), "-device", "virtio-blk-pci,drive=evidence"]);
    if has_scratch {
        add(&["-blockdev", &blockdev("scratch", SCRATCH_FD, false), "-device", "virtio-blk-pci,drive=scratch"]);
    }
    add(&["-device", "virtio-serial-pci,max_ports=2", "-chardev", &format!("socket,id=control,fd={CONTROL_FD}")]);
    add(&["-device", &format!("virtserialport,chardev=control,name={PORT}")]);
    words
}

fn blockdev(name: &str, fd: RawFd, is_read_only: bool) -> String {
    let read_only = if is_read_only { "on" } else { "off" };
    format!(
        "driver=raw,node-name={name},read-only={read_only},file.driver=file,file.filename=/proc/self/fd/{fd},\
         file.locking=off,file.read-only={read_only}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::plan::NetworkMode;

    #[test]
    fn machine_has_no_network_no_monitor_and_a_read_only_disk() {
        let plan = MachinePlan { memory_mib: 512, cpus: 2, network: NetworkMode::None, max_seconds: 60 };
        for acceleration in [Acceleration::Kvm, Acceleration::Tcg] {
            let words = arguments(&plan, acceleration, false).join(" ");
            for wanted in ["-nodefaults", "-nic none", "-monitor none", "-sandbox on,", "spawn=deny", "read-only=on"] {
                assert!(words.contains(wanted), "{wanted}: {words}");
            }
            for unwanted in ["netdev", "virtfs", "virtiofs", "9p", "usb-", "read-only=off", "qmp", "gdb"] {
                assert!(!words.contains(unwanted), "{unwanted}: {words}");
            }
            assert_eq!(words.matches("-device").count(), 3);
        }
    }
}
