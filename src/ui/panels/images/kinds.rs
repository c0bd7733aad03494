//! What each kind of image file is, in a sentence.

/// By CRIU's key of the kind; empty for kinds that need no words.
pub(super) fn sentence(kind: Option<&str>) -> &'static str {
    match kind.unwrap_or("UNKNOWN") {
        "INVENTORY" => "What the dump consists of: image version, root task, LSM, namespaces of CRIU itself",
        "PSTREE" => "The process tree: pid, parent, group, session and threads of every task",
        "FILES" => "Every open file description, one record each; descriptors name them by id",
        "FDINFO" => "One descriptor table: numbers, and the open file descriptions behind them",
        "CORE" => "One thread: registers, credentials, signals, timers, scheduling, names",
        "IDS" => "Which kernel objects and namespaces a task shares with others",
        "MM" => "The memory map of one process: vmas, code, data, heap and stack, auxiliary vector",
        "FS" => "Working directory, root directory and umask of one process",
        "PAGEMAP" => "Which pages of one process are in the dump, and where",
        "SHMEM_PAGEMAP" => "Which pages of one shared-memory object are in the dump, and where",
        "PAGES" => "The content of memory pages, one after the other; a pagemap says which is which",
        "SHM_PAGES_OLD" => "The content of a shared-memory object, as old releases wrote it",
        "SK_QUEUES" => "Packets that sockets had received and nobody had read",
        "PIPES_DATA" => "Bytes written into pipes and read by nobody yet",
        "FIFO_DATA" => "Bytes written into named pipes and read by nobody yet",
        "TTY_INFO" => "Settings of terminals",
        "TTY_DATA" => "Bytes in terminals that nobody had read",
        "REMAP_FPATH" => "How files are kept whose name no longer leads to them",
        "GHOST_FILE" => "A deleted file that was still open or mapped, with its content",
        "CGROUP" => "Control groups: where tasks stand, and the properties of the groups",
        "FILE_LOCKS" => "Locks on files",
        "SECCOMP" => "Seccomp filters: programs that allow or forbid system calls",
        "APPARMOR" => "AppArmor policies",
        "MEMFD_INODE" => "Files in memory that have no path: name, size, seals",
        "BPFMAP_DATA" => "Keys and values of BPF maps",
        "BPFMAP_FILE" => "BPF maps held open",
        "BINFMT_MISC" | "BINFMT_MISC_OLD" => "Formats of programs registered with the kernel",
        "CPUINFO" => "Features of the processor that the dump was made on",
        "UTSNS" => "Host and domain name",
        "TIMENS" => "Clocks of a time namespace at the dump",
        "PIDNS" => "A pid namespace that the runtime hands in",
        "USERNS" => "Maps of users and groups",
        "MNTS" => "Mounts of one mount namespace",
        "IPC_VAR" => "Settings of System V IPC and message queues",
        "IPCNS_SHM" => "System V shared-memory segments",
        "IPCNS_MSG" => "System V message queues with their messages",
        "IPCNS_SEM" => "System V semaphores",
        "NETDEV" => "Network interfaces",
        "NETNS" => "A network namespace: settings of the kernel",
        "IFADDR" => "Addresses of interfaces, as netlink messages of the kernel",
        "ROUTE" | "ROUTE6" => "Routes, as netlink messages of the kernel",
        "RULE" => "Policy routing rules, as netlink messages of the kernel",
        "IPTABLES" | "IP6TABLES" => "Packet filters, as iptables-save prints them",
        "NFTABLES" => "Packet filters, as nft prints them",
        "NETNF_CT" | "NETNF_EXP" => "Tracked connections, as netlink messages of the kernel",
        "TCP_STREAM" => "One TCP connection: sequence numbers, windows, bytes in both queues",
        "TMPFS_DEV" | "TMPFS_IMG" => "The files of a tmpfs, as an archive; Filesystem shows them",
        "AUTOFS" => "Mounts of autofs",
        "STATS" => "How long the dump took, and how many pages it wrote",
        "IRMAP_CACHE" => "Paths of watched inodes",
        "REG_FILES" | "NS_FILES" | "EVENTFD_FILE" | "EVENTPOLL_FILE" | "SIGNALFD" | "INOTIFY_FILE"
        | "FANOTIFY_FILE" | "PIPES" | "FIFO" | "UNIXSK" | "INETSK" | "PACKETSK" | "NETLINK_SK" | "TTY_FILES"
        | "TUNFILE" | "EXT_FILES" | "TIMERFD" | "PIDFD" => "Open files of one kind",
        "EVENTPOLL_TFD" | "INOTIFY_WD" | "FANOTIFY_MARK" => "What open files of one kind watch",
        "SIGACT" | "CREDS" | "VMAS" | "ITIMERS" | "POSIX_TIMERS" | "RLIMIT" | "SIGNAL" | "PSIGNAL" => {
            "A part of one process that old releases kept in a file of its own"
        }
        "CIPHER" => "The key material of an encrypted dump: its pages cannot be read without the key",
        "AMDGPU_KFD" | "AMDGPU_RENDER" | "AMDGPU_DMABUF" | "AMDGPU_PAGES" | "AMDGPU_DRM_PAGES" => {
            "State of AMD GPUs, written by a plugin of CRIU"
        }
        _ => "A kind of image that is not known; its records are shown as they are",
    }
}
