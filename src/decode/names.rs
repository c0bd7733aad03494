//! Names for the numbers of the kernel and of CRIU: signals, capabilities, flags, families.
//!
//! The tables are in `assets/schema/names.json`: those of x86 and of the generic Linux ABI, and what differs on other
//! architectures. Names of protobuf enums are in the schema.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use super::schema::core_entry::March;

/// Instruction set of the dumped machine, where numbers depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86, also with 32-bit tasks.
    #[default]
    X86,
    /// 32-bit ARM.
    Arm,
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit POWER.
    Ppc64,
    /// z/Architecture; big endian.
    S390,
    /// MIPS.
    Mips,
    /// 64-bit LoongArch.
    LoongArch64,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Arch {
    /// From `core_entry.mtype`; `None` for a number that CRIU does not have.
    pub fn from_mtype(mtype: i32) -> Option<Arch> {
        Some(match March::try_from(mtype).ok()? {
            March::Unknown => return None,
            March::X8664 => Arch::X86,
            March::Arm => Arch::Arm,
            March::Aarch64 => Arch::Aarch64,
            March::Ppc64 => Arch::Ppc64,
            March::S390 => Arch::S390,
            March::Mips => Arch::Mips,
            March::Loongarch64 => Arch::LoongArch64,
            March::Riscv64 => Arch::Riscv64,
        })
    }

    /// The name that `uname -m` prints.
    pub fn name(self) -> &'static str {
        match self {
            Arch::X86 => "x86_64",
            Arch::Arm => "arm",
            Arch::Aarch64 => "aarch64",
            Arch::Ppc64 => "ppc64",
            Arch::S390 => "s390x",
            Arch::Mips => "mips",
            Arch::LoongArch64 => "loongarch64",
            Arch::Riscv64 => "riscv64",
        }
    }

    /// Number of SIGSTOP, which with SIGKILL has no place in `task_core_entry.sigactions`.
    pub fn sigstop(self) -> u32 {
        if self == Arch::Mips { 23 } else { 19 }
    }

    /// The signal at a place of `task_core_entry.sigactions`, counted from 0.
    pub fn signal_of_sigaction(self, index: u32) -> u32 {
        let mut signal = index.saturating_add(1);
        if 9 <= signal {
            signal = signal.saturating_add(1);
        }
        if self.sigstop() <= signal {
            signal = signal.saturating_add(1);
        }
        signal
    }
}

/// A table of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names(&'static str);

macro_rules! tables {
    ($($(#[$doc:meta])* $constant:ident = $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: Names = Names($name);)*
        #[cfg(test)]
        const ALL: &[Names] = &[$($constant),*];
    };
}

tables! {
    /// Protection of a mapping.
    MMAP_PROT = "mmap_prot";
    /// Flags of mmap(2).
    MMAP_FLAGS = "mmap_flags";
    /// Log2 of the size of huge pages, bits 26 to 31 of the mmap flags.
    HUGETLB_SIZE = "hugetlb_size";
    /// `vma_entry.status`.
    VMA_STATUS = "vma_status";
    /// Advice of madvise(2); `vma_entry.madv` has a bit for each.
    MADV = "madv";
    /// `pagemap_entry.flags`.
    PAGEMAP_FLAGS = "pagemap_flags";
    /// `task_core_entry.membarrier_registration_mask`.
    MEMBARRIER = "membarrier_registration";
    /// `mm_entry.dumpable`.
    DUMPABLE = "dumpable";
    /// Keys of the auxiliary vector.
    AUXV = "auxv";
    /// Flags of open(2) but for the access mode; see [`open_flags`].
    OPEN_FLAGS = "open_flags";
    /// `fdinfo_entry.flags`.
    FD_FLAGS = "fd_flags";
    /// Type of a file: mode & 0xf000.
    FILE_TYPE = "file_mode_type";
    /// `fown_entry.pid_type`.
    FOWN_PID_TYPE = "fown_pid_type";
    /// `file_lock_entry.flag`.
    FILE_LOCK_KIND = "file_lock_kind";
    /// `file_lock_entry.type`.
    FILE_LOCK_TYPE = "file_lock_type";
    /// Events of epoll.
    EPOLL_EVENTS = "epoll_events";
    /// Mask of an inotify watch.
    INOTIFY_MASK = "inotify_mask";
    /// `fanotify_file_entry.faflags`.
    FANOTIFY_INIT_FLAGS = "fanotify_init_flags";
    /// `fanotify_file_entry.evflags`.
    FANOTIFY_EVENT_FLAGS = "fanotify_event_flags";
    /// Mask of a fanotify mark.
    FANOTIFY_MASK = "fanotify_mask";
    /// `fanotify_mark_entry.mflags`.
    FANOTIFY_MARK_FLAGS = "fanotify_mark_flags";
    /// `timerfd_entry.settime_flags`.
    TIMERFD_SETTIME_FLAGS = "timerfd_settime_flags";
    /// `memfd_inode_entry.seals`.
    MEMFD_SEALS = "memfd_seals";
    /// `bpfmap_file_entry.map_type`.
    BPF_MAP_TYPE = "bpf_map_type";
    /// `bpfmap_file_entry.map_flags`.
    BPF_MAP_FLAGS = "bpf_map_flags";
    /// `tun_link_entry.flags`.
    TUN_FLAGS = "tun_flags";
    /// Places in `termios_entry.c_cc`.
    TERMIOS_CC = "termios_cc_index";
    /// Socket families.
    SOCKET_FAMILY = "socket_family";
    /// Socket types.
    SOCKET_TYPE = "socket_type";
    /// IP protocols.
    IP_PROTO = "ip_proto";
    /// TCP states, which other sockets use too.
    TCP_STATE = "tcp_state";
    /// `tcp_stream_entry.opt_mask`.
    TCPI_OPT = "tcpi_opt";
    /// `unix_sk_entry.uflags`.
    UNIX_UFLAGS = "unix_uflags";
    /// `scm_entry.type`.
    SCM_TYPE = "scm_type";
    /// `netlink_sk_entry.protocol`.
    NETLINK_PROTO = "netlink_proto";
    /// `packet_sock_entry.version`.
    PACKET_VERSION = "packet_version";
    /// `packet_mclist.type`.
    PACKET_MCLIST_TYPE = "packet_mclist_type";
    /// Upper half of `packet_sock_entry.fanout`.
    PACKET_FANOUT_TYPE = "packet_fanout_type";
    /// Ethernet protocols in host order; see [`packet_protocol`].
    ETHERTYPE = "ethertype";
    /// `task_core_entry.task_state`.
    TASK_STATE = "task_state";
    /// Signals; see [`signal`].
    SIGNAL = "signal";
    /// `sa_entry.flags`.
    SA_FLAGS = "sa_flags";
    /// `posix_timer_entry.it_sigev_notify`.
    SIGEV_NOTIFY = "sigev_notify";
    /// `thread_sas_entry.ss_flags`.
    SS_FLAGS = "ss_flags";
    /// Clocks of timers.
    CLOCK_ID = "clock_id";
    /// `thread_core_entry.sched_policy`, but for bit 0x40000000 (reset on fork).
    SCHED_POLICY = "sched_policy";
    /// Places in `task_rlimits_entry.rlimits`.
    RLIMIT = "rlimit";
    /// Capabilities by bit number.
    CAPABILITY = "capability";
    /// `creds_entry.secbits`.
    SECUREBITS = "securebits";
    /// Kinds of namespaces as flags of clone(2).
    CLONE_NS_FLAGS = "clone_ns_flags";
    /// `seccomp_filter.flags`.
    SECCOMP_FILTER_FLAGS = "seccomp_filter_flags";
    /// Answer of a seccomp filter & 0xffff0000.
    SECCOMP_ACTION = "seccomp_ret_action";
    /// What a seccomp filter loads, by offset.
    SECCOMP_DATA = "seccomp_data_offsets";
    /// Architectures as seccomp filters compare them.
    AUDIT_ARCH = "audit_arch";
    /// `task_core_entry.personality` above the low byte.
    PERSONALITY = "personality";
    /// Flags of mount(2).
    MOUNT_FLAGS = "mount_flags";
    /// Flags of an interface.
    IF_FLAGS = "if_flags";
    /// `macvlan_link_entry.mode`.
    MACVLAN_MODE = "macvlan_mode";
    /// Netlink messages in the raw dumps.
    NLMSG_TYPE = "nlmsg_type";
    /// `inventory_entry.network_lock_method`.
    NETWORK_LOCK_METHOD = "network_lock_method";
    /// `inventory_entry.pre_dump_mode`.
    PRE_DUMP_MODE = "pre_dump_mode";
    /// Names of `conf4` sysctls by place.
    DEVCONFS4 = "devconfs4";
    /// Names of `conf6` sysctls by place.
    DEVCONFS6 = "devconfs6";
    /// Names of `unix_conf` sysctls by place.
    UNIX_CONF = "unix_conf";
    /// Names of `ipv4_sysctl` by place.
    IPV4_SYSCTL = "ipv4_sysctl";
    /// Names of `ipc_var_entry.sem_ctls` by place.
    SEM_CTLS = "sem_ctls";
}

/// Number to name; where several names have a number, the first one of the file.
#[derive(Debug, Default)]
struct Table {
    names: Vec<(u64, String)>,
    overrides: BTreeMap<&'static str, Vec<(u64, String)>>,
}

static TABLES: LazyLock<BTreeMap<String, Table>> = LazyLock::new(|| {
    let json: Value = serde_json::from_str(include_str!("../../assets/schema/names.json")).unwrap_or_default();
    let list = |names: &Value| {
        let names = names.as_object().into_iter().flatten();
        names.filter_map(|(name, number)| Some((number.as_u64()?, name.clone()))).collect::<Vec<_>>()
    };
    let mut tables = BTreeMap::new();
    for (name, table) in json.as_object().into_iter().flatten() {
        let names = list(table.get("names").unwrap_or(&Value::Null));
        let mut overrides = BTreeMap::new();
        for arch in ["arm", "aarch64", "ppc64", "mips"] {
            if let Some(own) = table.get(arch) {
                let own = list(own);
                // A name has one number: that of the architecture hides the generic one.
                let generic = names.iter().filter(|(_, name)| own.iter().all(|(_, other)| other != name));
                let merged = own.iter().chain(generic).cloned().collect();
                overrides.insert(arch, merged);
            }
        }
        tables.insert(name.clone(), Table { names, overrides });
    }
    tables
});

impl Names {
    /// All numbers and names of the table.
    pub fn all(self, arch: Arch) -> &'static [(u64, String)] {
        let table = TABLES.get(self.0);
        let own = table.and_then(|table| table.overrides.get(arch.name()));
        own.or(table.map(|table| &table.names)).map_or(&[], Vec::as_slice)
    }

    /// The name of one number.
    pub fn value(self, arch: Arch, number: u64) -> Option<&'static str> {
        self.all(arch).iter().find(|(known, _)| *known == number).map(|(_, name)| name.as_str())
    }

    /// The name of one number, or the number.
    pub fn value_or_number(self, arch: Arch, number: u64) -> String {
        self.value(arch, number).map_or_else(|| number.to_string(), str::to_owned)
    }

    /// The names of the bits that are set, and the rest in hexadecimal: `O_RDWR|O_APPEND|0x40000000`. `0` for none.
    pub fn bits(self, arch: Arch, value: u64) -> String {
        let mut rest = value;
        let mut words = Vec::new();
        for (bits, name) in self.all(arch) {
            if *bits != 0 && rest & bits == *bits {
                words.push(name.clone());
                rest &= !bits;
            }
        }
        if rest != 0 || words.is_empty() {
            words.push(format!("{rest:#x}").replace("0x0", "0"));
        }
        words.join("|")
    }

    /// The names of the places whose bit is set, for sets like capabilities: `CAP_CHOWN`, …
    pub fn of_bit_set(self, arch: Arch, set: u64) -> Vec<String> {
        let bits = (0..64_u32).filter(|bit| set >> bit & 1 == 1);
        bits.map(|bit| self.value_or_number(arch, u64::from(bit))).collect()
    }
}

/// Flags of open(2) with the access mode first: `O_RDONLY|O_CLOEXEC`.
pub fn open_flags(arch: Arch, flags: u64) -> String {
    let access = match flags & 3 {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        2 => "O_RDWR",
        _ => "0x3",
    };
    match flags & !3 {
        0 => access.to_owned(),
        rest => format!("{access}|{}", OPEN_FLAGS.bits(arch, rest)),
    }
}

/// The name of a signal: `SIGTERM`, `SIGRTMIN+1` (as kill(1) counts them).
pub fn signal(arch: Arch, number: u32) -> String {
    match number {
        34 => "SIGRTMIN".to_owned(),
        35..=49 => format!("SIGRTMIN+{}", number.saturating_sub(34)),
        50..=63 => format!("SIGRTMAX-{}", 64_u32.saturating_sub(number)),
        _ => SIGNAL.value(arch, u64::from(number)).map_or_else(|| format!("SIG{number}"), str::to_owned),
    }
}

/// The protocol of a packet socket, which is stored in network byte order: 768 is `ETH_P_ALL`.
pub fn packet_protocol(stored: u32) -> String {
    let swapped = u16::try_from(stored).map_or(stored, |protocol| u32::from(protocol.swap_bytes()));
    ETHERTYPE.value(Arch::X86, u64::from(swapped)).map_or_else(|| format!("{swapped:#06x}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_in_the_file() {
        for names in ALL {
            assert!(!names.all(Arch::X86).is_empty(), "{names:?}");
        }
    }

    #[test]
    fn bits_are_named_and_the_rest_is_a_number() {
        assert_eq!(open_flags(Arch::X86, 0o2), "O_RDWR");
        assert_eq!(open_flags(Arch::X86, 0x4000_0402), "O_RDWR|O_APPEND|0x40000000");
        assert_eq!(open_flags(Arch::X86, 0x10000), "O_RDONLY|O_DIRECTORY");
        assert_eq!(open_flags(Arch::Aarch64, 0x10000), "O_RDONLY|O_DIRECT");
        assert_eq!(open_flags(Arch::Mips, 8), "O_RDONLY|O_APPEND");
        assert_eq!(MMAP_PROT.bits(Arch::X86, 5), "PROT_READ|PROT_EXEC");
        assert_eq!(MMAP_PROT.bits(Arch::X86, 0), "0");
    }

    #[test]
    fn signals_are_those_of_the_architecture() {
        assert_eq!(signal(Arch::X86, 10), "SIGUSR1");
        assert_eq!(signal(Arch::Mips, 10), "SIGBUS");
        assert_eq!(signal(Arch::X86, 34), "SIGRTMIN");
        assert_eq!(signal(Arch::X86, 50), "SIGRTMAX-14");
        assert_eq!(signal(Arch::X86, 64), "SIGRTMAX");
        assert_eq!(signal(Arch::X86, 99), "SIG99");
    }

    #[test]
    fn sigactions_skip_two_signals() {
        let signals: Vec<u32> = (0..62).map(|index| Arch::X86.signal_of_sigaction(index)).collect();
        assert_eq!(signals[7..9], [8, 10]);
        assert_eq!(signals[16..18], [18, 20]);
        assert_eq!(signals[61], 64);
        assert_eq!(Arch::Mips.signal_of_sigaction(21), 24);
    }

    #[test]
    fn packet_protocols_are_swapped() {
        assert_eq!(packet_protocol(768), "ETH_P_ALL");
        assert_eq!(packet_protocol(8), "ETH_P_IP");
        assert_eq!(packet_protocol(0xdd86), "ETH_P_IPV6");
    }

    #[test]
    fn single_values_and_bit_sets_have_names() {
        assert_eq!(CAPABILITY.of_bit_set(Arch::X86, 0b11), ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
        assert_eq!(CAPABILITY.of_bit_set(Arch::X86, 1 << 63), ["63"]);
        assert_eq!(RLIMIT.value(Arch::X86, 7), Some("RLIMIT_NOFILE"));
        assert_eq!(RLIMIT.value(Arch::Mips, 5), Some("RLIMIT_NOFILE"));
        assert_eq!(TASK_STATE.value(Arch::X86, 2), Some("DEAD"));
        assert_eq!(TASK_STATE.value_or_number(Arch::X86, 99), "99");
    }
}
