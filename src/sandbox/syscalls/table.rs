//! System calls of x86-64 by number: the name, and after a space what each argument is. `""` is a number that means nothing;
//! a name without a space has no known arguments.
//!
//! | letter | argument | | letter | argument |
//! |---|---|---|---|---|
//! | `f` | descriptor | | `O` | flags of open |
//! | `d` | signed number | | `P` | protection of pages |
//! | `u` | unsigned number | | `A` | family of a socket |
//! | `x` | flags or an address | | `T` | type of a socket |
//! | `o` | permissions | | `g` | signal |
//! | `s` | string | | `a` | address of a socket |
//! | `v` | list of strings | | | |
//!
//! Source: Linux 6.12, `asm/unistd_64.h` and the formats of its trace events `syscalls/sys_enter_*`.

/// See above.
pub(super) const CALLS: [&str; 463] = [
    "read fxu", "write fxu", "open sOo", "close f", "stat sx", "fstat fx", "lstat sx", "poll xud", "lseek fdu",
    "mmap xuPxfu", "mprotect xuP", "munmap xu", "brk x", "rt_sigaction gxxu", "rt_sigprocmask xxxu", "rt_sigreturn ",
    "ioctl fxx", "pread64 fxud", "pwrite64 fxud", "readv fxu", "writev fxu", "access so", "pipe x", "select dxxxx",
    "sched_yield ", "mremap xuuxx", "msync xux", "mincore xux", "madvise xud", "shmget dud", "shmat dxd", "shmctl dxx",
    "dup f", "dup2 ff", "pause ", "nanosleep xx", "getitimer dx", "alarm u", "setitimer dxx", "getpid ",
    "sendfile ffxu", "socket ATd", "connect fad", "accept fxx", "sendto fxuxad", "recvfrom fxuxxx", "sendmsg fxx",
    "recvmsg fxx", "shutdown fx", "bind fad", "listen fd", "getsockname fxx", "getpeername fxx", "socketpair ATdx",
    "setsockopt fddxd", "getsockopt fddxx", "clone xuxxu", "fork ", "vfork ", "execve svx", "exit d", "wait4 dxdx",
    "kill dg", "uname x", "semget ddd", "semop dxu", "semctl ddxx", "shmdt x", "msgget dd", "msgsnd dxud",
    "msgrcv dxudd", "msgctl dxx", "fcntl fxx", "flock fx", "fsync f", "fdatasync f", "truncate sd", "ftruncate fd",
    "getdents fxu", "getcwd xu", "chdir s", "fchdir f", "rename ss", "mkdir so", "rmdir s", "creat so", "link ss",
    "unlink s", "symlink ss", "readlink sxd", "chmod so", "fchmod fo", "chown suu", "fchown fuu", "lchown suu",
    "umask x", "gettimeofday xx", "getrlimit ux", "getrusage dx", "sysinfo x", "times x", "ptrace xdxu", "getuid ",
    "syslog dxd", "getgid ", "setuid u", "setgid u", "geteuid ", "getegid ", "setpgid dd", "getppid ", "getpgrp ",
    "setsid ", "setreuid uu", "setregid uu", "getgroups dx", "setgroups dx", "setresuid uuu", "getresuid xxx",
    "setresgid uuu", "getresgid xxx", "getpgid d", "setfsuid u", "setfsgid u", "getsid d", "capget dd", "capset dd",
    "rt_sigpending xu", "rt_sigtimedwait xxxu", "rt_sigqueueinfo dgx", "rt_sigsuspend xu", "sigaltstack xx",
    "utime xx", "mknod sou", "uselib", "personality u", "ustat ux", "statfs sx", "fstatfs fx", "sysfs xux",
    "getpriority dd", "setpriority ddd", "sched_setparam dx", "sched_getparam dx", "sched_setscheduler ddx",
    "sched_getscheduler d", "sched_get_priority_max d", "sched_get_priority_min d", "sched_rr_get_interval dx",
    "mlock xu", "munlock xu", "mlockall x", "munlockall ", "vhangup ", "modify_ldt dxu", "pivot_root ss", "_sysctl",
    "prctl xxxxx", "arch_prctl xx", "adjtimex x", "setrlimit ux", "chroot s", "sync ", "acct s", "settimeofday xx",
    "mount sssxx", "umount2 sx", "swapon sx", "swapoff s", "reboot ddxx", "sethostname xd", "setdomainname xd",
    "iopl u", "ioperm uud", "create_module", "init_module xus", "delete_module sx", "get_kernel_syms", "query_module",
    "quotactl xsux", "nfsservctl", "getpmsg", "putpmsg", "afs_syscall", "tuxcall", "security", "gettid ",
    "readahead fdu", "setxattr ssxux", "lsetxattr ssxux", "fsetxattr fsxux", "getxattr ssxu", "lgetxattr ssxu",
    "fgetxattr fsxu", "listxattr sxu", "llistxattr sxu", "flistxattr fxu", "removexattr ss", "lremovexattr ss",
    "fremovexattr fs", "tkill dg", "time x", "futex xxuxxu", "sched_setaffinity dux", "sched_getaffinity dux",
    "set_thread_area", "io_setup ux", "io_destroy d", "io_getevents dddxx", "io_submit ddx", "io_cancel dxx",
    "get_thread_area", "lookup_dcookie", "epoll_create d", "epoll_ctl_old", "epoll_wait_old", "remap_file_pages xuPux",
    "getdents64 fxu", "set_tid_address x", "restart_syscall ", "semtimedop dxux", "fadvise64 fdud", "timer_create dxx",
    "timer_settime dxxx", "timer_gettime dx", "timer_getoverrun d", "timer_delete d", "clock_settime dx",
    "clock_gettime dx", "clock_getres dx", "clock_nanosleep dxxx", "exit_group d", "epoll_wait fxdd", "epoll_ctl fxfx",
    "tgkill ddg", "utimes xx", "vserver", "mbind xuoxux", "set_mempolicy oxu", "get_mempolicy xxuxx", "mq_open sxox",
    "mq_unlink s", "mq_timedsend dsuux", "mq_timedreceive dxuxx", "mq_notify dx", "mq_getsetattr dxx",
    "kexec_load uuxx", "waitid ddxdx", "add_key ssxud", "request_key sssd", "keyctl xxxxx", "ioprio_set ddd",
    "ioprio_get dd", "inotify_init ", "inotify_add_watch fsx", "inotify_rm_watch fd", "migrate_pages duxx",
    "openat fsOo", "mkdirat fso", "mknodat fsou", "fchownat fsuux", "futimesat fsx", "newfstatat fsxx", "unlinkat fsx",
    "renameat fsfs", "linkat fsfsx", "symlinkat sfs", "readlinkat fsxd", "fchmodat fso", "faccessat fso",
    "pselect6 dxxxxx", "ppoll xuxxu", "unshare x", "set_robust_list xu", "get_robust_list dxx", "splice fxfxux",
    "tee ffux", "sync_file_range fddx", "vmsplice fxux", "move_pages duxxxx", "utimensat fsxx", "epoll_pwait fxddxu",
    "signalfd fxu", "timerfd_create dx", "eventfd u", "fallocate fodd", "timerfd_settime fxxx", "timerfd_gettime fx",
    "accept4 fxxx", "signalfd4 fxux", "eventfd2 ux", "epoll_create1 x", "dup3 ffx", "pipe2 xx", "inotify_init1 x",
    "preadv fxuuu", "pwritev fxuuu", "rt_tgsigqueueinfo ddgx", "perf_event_open xddfx", "recvmmsg fxuxx",
    "fanotify_init xx", "fanotify_mark dxxfs", "prlimit64 duxx", "name_to_handle_at fsxxx", "open_by_handle_at dxx",
    "clock_adjtime dx", "syncfs f", "sendmmsg fxux", "setns fx", "getcpu xxx", "process_vm_readv dxuxux",
    "process_vm_writev dxuxux", "kcmp ddduu", "finit_module fsx", "sched_setattr dxx", "sched_getattr dxux",
    "renameat2 fsfsx", "seccomp xxx", "getrandom xux", "memfd_create sx", "kexec_file_load ddusx", "bpf xxu",
    "execveat fsvxx", "userfaultfd x", "membarrier xxd", "mlock2 xux", "copy_file_range fxfxux", "preadv2 fxuuux",
    "pwritev2 fxuuux", "pkey_mprotect xuPd", "pkey_alloc xu", "pkey_free d", "statx fsxxx", "io_pgetevents dddxxx",
    "rseq xuxg", "uretprobe ", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
    "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
    "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
    "", "", "", "", "", "", "", "", "pidfd_send_signal dgxx", "io_uring_setup ux", "io_uring_enter fuuxxu",
    "io_uring_register fuxu", "open_tree fsx", "move_mount fsfsx", "fsopen sx", "fsconfig fxsxd", "fsmount fxx",
    "fspick fsx", "pidfd_open dx", "clone3 xu", "close_range fux", "openat2 fsxu", "pidfd_getfd dfx",
    "faccessat2 fsox", "process_madvise dxudx", "epoll_pwait2 fxdxxu", "mount_setattr fsxxu", "quotactl_fd fxux",
    "landlock_create_ruleset xdx", "landlock_add_rule ddxx", "landlock_restrict_self dx", "memfd_secret x",
    "process_mrelease dx", "futex_waitv xuxxd", "set_mempolicy_home_node xuux", "cachestat fxxx", "fchmodat2 fsox",
    "map_shadow_stack xux", "futex_wake xxdx", "futex_wait xuxxxd", "futex_requeue xxdd", "statmount xxux",
    "listmount xxux", "lsm_get_self_attr uxxx", "lsm_set_self_attr uxux", "lsm_list_modules xxx", "mseal xux",
];

/// Errors by number; Linux, `asm-generic/errno.h`. `""` is a number that means nothing.
pub(super) const ERRORS: [&str; 134] = [
    "", "EPERM", "ENOENT", "ESRCH", "EINTR", "EIO", "ENXIO", "E2BIG", "ENOEXEC", "EBADF", "ECHILD", "EAGAIN", "ENOMEM",
    "EACCES", "EFAULT", "ENOTBLK", "EBUSY", "EEXIST", "EXDEV", "ENODEV", "ENOTDIR", "EISDIR", "EINVAL", "ENFILE",
    "EMFILE", "ENOTTY", "ETXTBSY", "EFBIG", "ENOSPC", "ESPIPE", "EROFS", "EMLINK", "EPIPE", "EDOM", "ERANGE",
    "EDEADLK", "ENAMETOOLONG", "ENOLCK", "ENOSYS", "ENOTEMPTY", "ELOOP", "", "ENOMSG", "EIDRM", "ECHRNG", "EL2NSYNC",
    "EL3HLT", "EL3RST", "ELNRNG", "EUNATCH", "ENOCSI", "EL2HLT", "EBADE", "EBADR", "EXFULL", "ENOANO", "EBADRQC",
    "EBADSLT", "", "EBFONT", "ENOSTR", "ENODATA", "ETIME", "ENOSR", "ENONET", "ENOPKG", "EREMOTE", "ENOLINK", "EADV",
    "ESRMNT", "ECOMM", "EPROTO", "EMULTIHOP", "EDOTDOT", "EBADMSG", "EOVERFLOW", "ENOTUNIQ", "EBADFD", "EREMCHG",
    "ELIBACC", "ELIBBAD", "ELIBSCN", "ELIBMAX", "ELIBEXEC", "EILSEQ", "ERESTART", "ESTRPIPE", "EUSERS", "ENOTSOCK",
    "EDESTADDRREQ", "EMSGSIZE", "EPROTOTYPE", "ENOPROTOOPT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "EOPNOTSUPP",
    "EPFNOSUPPORT", "EAFNOSUPPORT", "EADDRINUSE", "EADDRNOTAVAIL", "ENETDOWN", "ENETUNREACH", "ENETRESET",
    "ECONNABORTED", "ECONNRESET", "ENOBUFS", "EISCONN", "ENOTCONN", "ESHUTDOWN", "ETOOMANYREFS", "ETIMEDOUT",
    "ECONNREFUSED", "EHOSTDOWN", "EHOSTUNREACH", "EALREADY", "EINPROGRESS", "ESTALE", "EUCLEAN", "ENOTNAM", "ENAVAIL",
    "EISNAM", "EREMOTEIO", "EDQUOT", "ENOMEDIUM", "EMEDIUMTYPE", "ECANCELED", "ENOKEY", "EKEYEXPIRED", "EKEYREVOKED",
    "EKEYREJECTED", "EOWNERDEAD", "ENOTRECOVERABLE", "ERFKILL", "",
];
