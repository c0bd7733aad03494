//! What criu's errors mean, and what to do about them.

/// Words of criu, and ours for them. The first that fits counts: the order is from cause to consequence.
const KNOWN: [(&str, &str); 23] = [
    (
        "Unable to set real, effective and saved",
        "a process has a user or group id that the container's user namespace does not have; the microVM has all",
    ),
    (
        "a device that is none of every container's",
        "a device cannot be made in a user namespace; the microVM can make it",
    ),
    (
        "suspending seccomp failed",
        "processes have filters of system calls, and criu cannot suspend them in a user namespace; the microVM can",
    ),
    (
        "killed by signal 31",
        "the container's filter of system calls ended a process, as it does with every program of 32 bits; the microVM has none",
    ),
    ("Can't setns", "a process holds a descriptor of a namespace that criu cannot open again"),
    ("No entry for reg-file-ID", "a process runs a program that is no file (a memfd); criu cannot restore that yet"),
    (
        "link_remap.",
        "a file whose name was deleted while other names were left is not in the checkpoint: the runtime takes such links away after the dump",
    ),
    (
        "has bad mode",
        "a file of the root file system has other permission bits than when it was frozen: the base image (--rootfs) is another one",
    ),
    (
        "has bad size",
        "a file of the root file system has another size than when it was frozen: the base image (--rootfs) is another version",
    ),
    (
        "build-ID",
        "a program or library of the root file system is another build than the one that ran: the base image (--rootfs) is another version",
    ),
    (
        "build_id",
        "a program or library of the root file system is another build than the one that ran: the base image (--rootfs) is another version",
    ),
    ("No mapping for", "a mount that the engine had handed in has no stand-in; the plan lists them"),
    (
        "Can't open file",
        "a file that a process had open or mapped is not in the root file system: give the image that the container started from by --rootfs",
    ),
    (
        "Can't open vma",
        "a program or library is not in the root file system: give the image that the container started from by --rootfs",
    ),
    (
        "CPU instruction capabilities do not match",
        "the processes use instructions that the machine's processor does not have",
    ),
    ("CPU", "the machine's processor is not what the processes ran on"),
    ("fpu", "the machine's processor has other floating-point registers than the one that the processes ran on"),
    ("extRootNetNS", "the network namespace that the engine had made was not handed in"),
    (
        "Can't fork for",
        "the pids of the processes are taken in the machine; a checkpoint without a pid namespace needs them free",
    ),
    ("inherit fd", "a descriptor that led to the engine was not handed in"),
    ("ip6tables", "packet filters of the network namespace could not be restored"),
    ("iptables", "packet filters of the network namespace could not be restored"),
    ("Can't bind", "a socket's address or port cannot be had in the machine's network"),
];

/// The explanation of the first error that is known.
pub fn explain(errors: &[String]) -> Option<String> {
    errors.iter().find_map(|error| {
        let (_, meaning) = KNOWN.iter().find(|(words, _)| error.contains(words))?;
        Some((*meaning).to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_known_error_is_explained() {
        let errors = [
            "(00.1) Error (criu/cr-restore.c:1): Restoring failed",
            "(00.1)      1: Error (criu/files-reg.c:2155): File . has bad mode 040755 (expect 040555)",
            "(00.1) Error (criu/x.c:1): No mapping for 118:(null) mountpoint",
        ];
        let explained = explain(&errors.map(str::to_owned)).unwrap();
        assert!(explained.contains("permission bits"), "{explained}");
        assert_eq!(explain(&["something new".to_owned()]), None);
    }
}
