//! The table of image kinds: one row for every file that CRIU or one of its plugins writes, or wrote.
//!
//! A new kind is a row here, its message in `assets/schema`, and nothing else unless its payload is of a new shape.

use super::kinds::{ANY_MAGIC, Framing, Head, Kind, Step, When, plugin, raw, records};

// Payloads. The numbers are fields of the record that the payload follows.
const DATA: [Step; 1] = [Step::Bytes { name: "data", len: 2, pad_to: 1, when: When::Always }];
const BPF_MAP: [Step; 2] = [
    Step::Bytes { name: "keys", len: 2, pad_to: 1, when: When::Always },
    Step::Bytes { name: "values", len: 3, pad_to: 1, when: When::Always },
];
const SHM: [Step; 1] = [Step::Bytes { name: "data", len: 2, pad_to: 4, when: When::NotSet(3) }];
const MESSAGE: [Step; 1] = [Step::Bytes { name: "data", len: 2, pad_to: 8, when: When::Always }];
const MESSAGES: [Step; 1] = [Step::Repeat { count: 3, message: "ipc_msg", then: &MESSAGE }];
const SEMAPHORES: [Step; 1] = [Step::U16s { name: "values", count: 2, pad_to: 8 }];
const CHUNK: [Step; 1] = [Step::Bytes { name: "data", len: 1, pad_to: 1, when: When::Always }];
const GHOST: [Step; 2] = [
    Step::RepeatToEnd { message: "ghost_chunk_entry", then: &CHUNK, when: When::Set(9) },
    Step::Rest { name: "data", when: When::NotSet(9) },
];
const TCP_QUEUES: [Step; 2] = [
    Step::Bytes { name: "inq", len: 1, pad_to: 1, when: When::Always },
    Step::Bytes { name: "outq", len: 3, pad_to: 1, when: When::Always },
];
const ADDRESSES: [Step; 2] = [Step::Magic(0x4736_1222), Step::Netlink { align: 4 }];
const ROUTES: [Step; 2] = [Step::Magic(0x4531_1224), Step::Netlink { align: 4 }];
const RULES: [Step; 2] = [Step::Magic(0x7170_6986), Step::Netlink { align: 4 }];
const CONNTRACK: [Step; 1] = [Step::Netlink { align: 1 }];
const TEXT: [Step; 1] = [Step::Text { name: "rules" }];
const PAGES: [Step; 1] = [Step::Rest { name: "pages", when: When::Always }];
const ARCHIVE: [Step; 1] = [Step::Rest { name: "archive", when: When::Always }];

/// Every image kind, in the order in which people look for them.
pub static KINDS: [Kind; 91] = [
    // What CRIU 3.4 to 4.2 writes.
    records("INVENTORY", "inventory.img", 0x5831_3116, Framing::Single, "inventory_entry").head(Head::OwnOnly),
    records("PSTREE", "pstree.img", 0x5027_3030, Framing::Array, "pstree_entry"),
    records("FILES", "files.img", 0x5630_3138, Framing::Array, "file_entry"),
    records("SK_QUEUES", "sk-queues.img", 0x5626_4026, Framing::Array, "sk_packet_entry").payload(&DATA),
    records("PIPES_DATA", "pipes-data.img", 0x5645_3709, Framing::Array, "pipe_data_entry").payload(&DATA),
    records("FIFO_DATA", "fifo-data.img", 0x5933_3054, Framing::Array, "pipe_data_entry").payload(&DATA),
    records("TTY_INFO", "tty-info.img", 0x5945_3036, Framing::Array, "tty_info_entry"),
    records("TTY_DATA", "tty-data.img", 0x5941_3026, Framing::Array, "tty_data_entry"),
    records("REMAP_FPATH", "remap-fpath.img", 0x5913_3954, Framing::Array, "remap_file_path_entry"),
    records("CGROUP", "cgroup.img", 0x5938_3330, Framing::Single, "cgroup_entry"),
    records("FILE_LOCKS", "filelocks.img", 0x5432_3616, Framing::Array, "file_lock_entry"),
    records("SECCOMP", "seccomp.img", 0x6441_3049, Framing::Single, "seccomp_entry"),
    records("APPARMOR", "apparmor.img", 0x5942_3047, Framing::Single, "apparmor_entry"),
    records("MEMFD_INODE", "memfd.img", 0x4845_3499, Framing::Array, "memfd_inode_entry"),
    records("BPFMAP_DATA", "bpfmap-data.img", 0x6432_4033, Framing::Array, "bpfmap_data_entry").payload(&BPF_MAP),
    records("BINFMT_MISC", "binfmt-misc.img", 0x6734_3323, Framing::Array, "binfmt_misc_entry"),
    records("CPUINFO", "cpuinfo.img", 0x6140_4013, Framing::Single, "cpuinfo_entry"),
    records("CORE", "core-<N>.img", 0x5505_3847, Framing::Single, "core_entry"),
    records("IDS", "ids-<N>.img", 0x5443_2030, Framing::Single, "task_kobj_ids_entry"),
    records("MM", "mm-<N>.img", 0x5749_2820, Framing::Single, "mm_entry"),
    records("FS", "fs-<N>.img", 0x5140_3912, Framing::Single, "fs_entry"),
    records("PAGEMAP", "pagemap-<N>.img", 0x5608_4025, Framing::HeadThenArray, "pagemap_entry"),
    records("FDINFO", "fdinfo-<N>.img", 0x5621_3732, Framing::Array, "fdinfo_entry"),
    records("SHMEM_PAGEMAP", "pagemap-shmem-<N>.img", 0x5608_4025, Framing::HeadThenArray, "pagemap_entry")
        .crit("PAGEMAP"),
    raw("PAGES", "pages-<N>.img", &PAGES),
    records("UTSNS", "utsns-<N>.img", 0x5447_3203, Framing::Single, "utsns_entry"),
    records("TIMENS", "timens-<N>.img", 0x4311_4433, Framing::Single, "timens_entry"),
    records("PIDNS", "pidns-<N>.img", 0x6115_7326, Framing::Single, "pidns_entry"),
    records("USERNS", "userns-<N>.img", 0x5547_4906, Framing::Single, "userns_entry"),
    records("MNTS", "mountpoints-<N>.img", 0x5556_3928, Framing::Array, "mnt_entry"),
    records("IPC_VAR", "ipcns-var-<N>.img", 0x5311_5007, Framing::Single, "ipc_var_entry"),
    records("IPCNS_SHM", "ipcns-shm-<N>.img", 0x4628_3044, Framing::Array, "ipc_shm_entry").payload(&SHM),
    records("IPCNS_MSG", "ipcns-msg-<N>.img", 0x5545_3737, Framing::Array, "ipc_msg_entry").payload(&MESSAGES),
    records("IPCNS_SEM", "ipcns-sem-<N>.img", 0x5957_3019, Framing::Array, "ipc_sem_entry").payload(&SEMAPHORES),
    records("NETDEV", "netdev-<N>.img", 0x5737_3951, Framing::Array, "net_device_entry"),
    records("NETNS", "netns-<N>.img", 0x5593_3752, Framing::Single, "netns_entry"),
    raw("IFADDR", "ifaddr-<N>.img", &ADDRESSES),
    raw("ROUTE", "route-<N>.img", &ROUTES),
    raw("ROUTE6", "route6-<N>.img", &ROUTES),
    raw("RULE", "rule-<N>.img", &RULES),
    raw("IPTABLES", "iptables-<N>.img", &TEXT),
    raw("IP6TABLES", "ip6tables-<N>.img", &TEXT),
    raw("NFTABLES", "nftables-<N>.img", &TEXT),
    raw("NETNF_CT", "netns-ct-<N>.img", &CONNTRACK),
    raw("NETNF_EXP", "netns-exp-<N>.img", &CONNTRACK),
    records("GHOST_FILE", "ghost-file-<X>.img", 0x5258_3605, Framing::Single, "ghost_file_entry").payload(&GHOST),
    records("TCP_STREAM", "tcp-stream-<X>.img", 0x5146_5506, Framing::Single, "tcp_stream_entry").payload(&TCP_QUEUES),
    raw("TMPFS_DEV", "tmpfs-dev-<N>.tar.gz.img", &ARCHIVE),
    records("AUTOFS", "autofs-<N>.img", 0x4935_3943, Framing::Single, "autofs_entry"),
    records("STATS", "stats-<S>", 0x5709_3306, Framing::Single, "stats_entry").head(Head::Service),
    records("IRMAP_CACHE", "irmap-cache", 0x5700_4059, Framing::Array, "irmap_cache_entry").head(Head::Service),
    // What older releases wrote.
    records("FILE_LOCKS", "filelocks-<N>.img", 0x5432_3616, Framing::Array, "file_lock_entry").legacy(),
    records("REG_FILES", "reg-files.img", 0x5036_3636, Framing::Array, "reg_file_entry").legacy(),
    records("NS_FILES", "ns-files.img", 0x6139_4011, Framing::Array, "ns_file_entry").legacy(),
    records("EVENTFD_FILE", "eventfd.img", 0x4452_3722, Framing::Array, "eventfd_file_entry").legacy(),
    records("EVENTPOLL_FILE", "eventpoll.img", 0x4502_3858, Framing::Array, "eventpoll_file_entry").legacy(),
    records("SIGNALFD", "signalfd.img", 0x5732_3820, Framing::Array, "signalfd_entry").legacy(),
    records("INOTIFY_FILE", "inotify.img", 0x4842_4431, Framing::Array, "inotify_file_entry").legacy(),
    records("FANOTIFY_FILE", "fanotify.img", 0x5509_6122, Framing::Array, "fanotify_file_entry").legacy(),
    records("PIPES", "pipes.img", 0x5651_3555, Framing::Array, "pipe_entry").legacy(),
    records("FIFO", "fifo.img", 0x5836_4939, Framing::Array, "fifo_entry").legacy(),
    records("UNIXSK", "unixsk.img", 0x5437_3943, Framing::Array, "unix_sk_entry").legacy(),
    records("INETSK", "inetsk.img", 0x5644_3851, Framing::Array, "inet_sk_entry").legacy(),
    records("PACKETSK", "packetsk.img", 0x6045_4618, Framing::Array, "packet_sock_entry").legacy(),
    records("NETLINK_SK", "netlinksk.img", 0x5800_5614, Framing::Array, "netlink_sk_entry").legacy(),
    records("TTY_FILES", "tty.img", 0x5943_3025, Framing::Array, "tty_file_entry").legacy(),
    records("TUNFILE", "tunfile.img", 0x5714_3751, Framing::Array, "tunfile_entry").legacy(),
    records("EXT_FILES", "ext-files.img", 0x5925_5641, Framing::Array, "ext_file_entry").legacy(),
    records("TIMERFD", "timerfd.img", 0x5049_3712, Framing::Array, "timerfd_entry").legacy(),
    records("EVENTPOLL_TFD", "eventpoll-tfd.img", 0x4443_3746, Framing::Array, "eventpoll_tfd_entry").legacy(),
    records("INOTIFY_WD", "inotify-wd.img", 0x5456_2009, Framing::Array, "inotify_wd_entry").legacy(),
    records("FANOTIFY_MARK", "fanotify-mark.img", 0x5650_6035, Framing::Array, "fanotify_mark_entry").legacy(),
    records("SIGACT", "sigacts-<N>.img", 0x5534_4201, Framing::Array, "sa_entry").legacy(),
    records("CREDS", "creds-<N>.img", 0x5402_3547, Framing::Single, "creds_entry").legacy(),
    records("VMAS", "vmas-<N>.img", 0x5412_3737, Framing::Array, "vma_entry").legacy(),
    records("ITIMERS", "itimers-<N>.img", 0x5746_4056, Framing::Array, "itimer_entry").legacy(),
    records("POSIX_TIMERS", "posix-timers-<N>.img", 0x5260_3957, Framing::Array, "posix_timer_entry").legacy(),
    records("RLIMIT", "rlimit-<N>.img", 0x5711_3925, Framing::Array, "rlimit_entry").legacy(),
    records("SIGNAL", "signal-s-<N>.img", 0x5925_5647, Framing::Array, "siginfo_entry").legacy(),
    records("PSIGNAL", "signal-p-<N>.img", 0x5925_5647, Framing::Array, "siginfo_entry").crit("SIGNAL").legacy(),
    records("BINFMT_MISC_OLD", "binfmt-misc-<N>.img", 0x6734_3323, Framing::Array, "binfmt_misc_entry")
        .crit("BINFMT_MISC")
        .legacy(),
    raw("TMPFS_IMG", "tmpfs-<N>.tar.gz.img", &ARCHIVE).legacy(),
    // Named in CRIU and never written.
    raw("SHM_PAGES_OLD", "pages-shmem-<N>.img", &PAGES),
    records("BPFMAP_FILE", "bpfmap-file.img", 0x5750_6142, Framing::Array, "bpfmap_file_entry"),
    records("PIDFD", "pidfd.img", 0x5443_5556, Framing::Array, "pidfd_entry"),
    // Known from the development of CRIU alone; which magic it will have is not settled.
    records("CIPHER", "cipher.img", ANY_MAGIC, Framing::Single, "cipher_entry"),
    // Files of the amdgpu plugin.
    plugin("AMDGPU_KFD", "amdgpu-kfd-<N>.img", Framing::SizedMessage, "criu_kfd"),
    plugin("AMDGPU_RENDER", "amdgpu-renderD-<N>.img", Framing::SizedMessage, "criu_render_node"),
    plugin("AMDGPU_DMABUF", "amdgpu-dmabuf_<N>.img", Framing::SizedMessage, "criu_dmabuf_node"),
    plugin("AMDGPU_PAGES", "amdgpu-pages-<N>-<X>.img", Framing::SizedBytes, ""),
    plugin("AMDGPU_DRM_PAGES", "amdgpu-drm-pages-<N>-<N>-<X>.img", Framing::SizedBytes, ""),
];

/// A file that begins as an image does and is of no kind we know: records, whatever they are.
pub(super) static UNKNOWN: Kind = records("UNKNOWN", "", ANY_MAGIC, Framing::Array, "unknown_entry");
