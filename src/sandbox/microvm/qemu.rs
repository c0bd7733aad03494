//! QEMU: which one, and with what words it is started.

use std::fs::File;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::plan::MachinePlan;
use crate::sandbox::protocol::PORT;
use crate::sandbox::run::{Ending, FIRST_FD, MachineError, Process};
use crate::sandbox::sys::Bounds;

/// The emulator's name, and the package that has it.
const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

const INITRD_FD: RawFd = FIRST_FD;
const DISK_FD: RawFd = FIRST_FD + 1;
const CONTROL_FD: RawFd = FIRST_FD + 2;
const KERNEL_FD: RawFd = FIRST_FD + 3;
const SCRATCH_FD: RawFd = FIRST_FD + 4;

/// What QEMU needs on top of the machine's memory: its own code, translations, buffers.
const OVERHEAD_BYTES: u64 = 6 << 30;

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

/// Files of a machine.
#[derive(Debug)]
pub(super) struct Files<'a> {
    /// Read by QEMU while it starts.
    pub(super) kernel: &'a File,
    /// Read by QEMU while it starts.
    pub(super) initrd: &'a File,
    /// Read-only.
    pub(super) disk: &'a File,
    /// Written by the guest.
    pub(super) scratch: Option<&'a File>,
}

/// Starts QEMU. It ends with the calling thread at the latest.
pub(super) fn start(
    program: &Path,
    plan: &MachinePlan,
    acceleration: Acceleration,
    files: &Files<'_>,
) -> Result<Process, MachineError> {
    let (channel, theirs) = UnixStream::pair().map_err(MachineError::io("make a channel"))?;
    let copy = |file: &File| file.try_clone().map(OwnedFd::from).map_err(MachineError::io("hand over a file"));
    let mut handed = vec![copy(files.initrd)?, copy(files.disk)?, theirs.into(), copy(files.kernel)?];
    if let Some(scratch) = files.scratch {
        handed.push(copy(scratch)?);
    }
    let bounds = Bounds {
        address_space: u64::from(plan.memory_mib).saturating_mul(1 << 20).saturating_add(OVERHEAD_BYTES),
        cpu_seconds: u64::from(plan.max_seconds).saturating_mul(u64::from(plan.cpus) + 2).saturating_add(60),
    };
    #[expect(clippy::disallowed_methods, reason = "the machine's emulator is started here only")]
    let mut command = Command::new(program);
    command.args(arguments(plan, acceleration, files.scratch.is_some()));
    Process::start("QEMU", command, channel, handed, Some(bounds), Ending::Kill)
}

/// The command line: nothing but a processor, memory, one or two disks, one port, and a console that only speaks.
///
/// No network card, no monitor, no display, no devices by default; seccomp on, so that QEMU itself starts no program and
/// raises no privilege. Disks and port are open files; QEMU opens nothing by a name of the evidence.
fn arguments(plan: &MachinePlan, acceleration: Acceleration, has_scratch: bool) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |word: &[&str]| words.extend(word.iter().map(|word| (*word).to_owned()));
    add(&["-name", "cryoscope-sandbox", "-no-user-config", "-nodefaults", "-no-reboot"]);
    add(&["-machine", "q35,usb=off,vmport=off,dump-guest-core=off,graphics=off"]);
    match acceleration {
        Acceleration::Kvm => add(&["-accel", "kvm", "-cpu", "host"]),
        // With a thread for each processor QEMU 7.2 runs code that the kernel is patching: "Oops: int3" in __schedule.
        // In a far return of a program it reads the program's stack as the kernel would, which SMAP forbids ("supervisor read
        // access in user mode"); criu makes one in every process of 32 bits.
        Acceleration::Tcg => add(&["-accel", "tcg,thread=single,tb-size=256", "-cpu", "max,smap=off"]),
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
