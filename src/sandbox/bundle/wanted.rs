//! What the machine is made of: packages, the files of them, and kernel modules.

/// Packages that are asked for; what they depend on comes with them.
pub(super) const PACKAGES: [&str; 10] = [
    // The kernel, and the tool that all is about.
    "linux-image-cloud-amd64",
    "criu",
    // Run by criu: addresses and routes, packet filters, content of tmpfs.
    "iproute2",
    "iptables",
    "nftables",
    "tar",
    "gzip",
    // It runs some of them through `sh`.
    "dash",
    // For the container backend, which loads criu as a library.
    "crun",
    "libcriu2",
];

/// Packages that others depend on and that nothing in the machine uses.
pub(super) const SKIPPED: [&str; 9] = [
    "debconf",
    "initramfs-tools",
    "kmod",
    "libcap2-bin",
    "libdb5.3t64",
    "libtirpc3t64",
    "linux-base",
    "netbase",
    "libgcc-s1",
];

/// Programs, by path; the libraries they are linked to come with them.
pub(super) const PROGRAMS: [&str; 14] = [
    "usr/sbin/criu",
    "usr/bin/crun",
    "usr/bin/ip",
    "usr/sbin/iptables-legacy",
    "usr/sbin/iptables-legacy-restore",
    "usr/sbin/iptables-legacy-save",
    "usr/sbin/ip6tables-legacy",
    "usr/sbin/ip6tables-legacy-restore",
    "usr/sbin/ip6tables-legacy-save",
    "usr/sbin/xtables-legacy-multi",
    "usr/sbin/nft",
    "usr/bin/tar",
    "usr/bin/gzip",
    "usr/bin/dash",
];

/// Libraries that are loaded by name while programs run.
pub(super) const LOADED_LIBRARIES: [&str; 1] = ["libcriu.so.2"];

/// Directories whose files are all taken: the extensions of iptables.
pub(super) const DIRECTORIES: [&str; 1] = ["usr/lib/x86_64-linux-gnu/xtables/"];

/// Names that Debian's alternatives would give: what stands there, and what it leads to.
pub(super) const ALTERNATIVES: [(&str, &str); 7] = [
    ("usr/bin/sh", "dash"),
    ("usr/sbin/iptables", "iptables-legacy"),
    ("usr/sbin/iptables-restore", "iptables-legacy-restore"),
    ("usr/sbin/iptables-save", "iptables-legacy-save"),
    ("usr/sbin/ip6tables", "ip6tables-legacy"),
    ("usr/sbin/ip6tables-restore", "ip6tables-legacy-restore"),
    ("usr/sbin/ip6tables-save", "ip6tables-legacy-save"),
];

/// Kernel modules in groups; those that they need come with them. The guest loads the first two groups, and the kernel
/// asks it for those of the last when they are used.
pub(super) const MODULES: [(&str, &[&str]); 3] = [
    // Before anything: the disk, its file system, and writing over it.
    ("disk", &["virtio_blk", "erofs", "overlay"]),
    // What criu's start-up check asks the kernel for.
    ("criu", &["unix_diag", "inet_diag", "tcp_diag", "udp_diag", "raw_diag", "af_packet_diag", "netlink_diag", "tun"]),
    // What a network namespace may hold, and what criu holds it still with.
    (
        "net",
        &[
            "veth",
            "nf_tables",
            "nf_conntrack_netlink",
            "iptable_filter",
            "iptable_mangle",
            "iptable_nat",
            "iptable_raw",
            "iptable_security",
            "ip6table_filter",
            "ip6table_mangle",
            "ip6table_nat",
            "ip6table_raw",
            "ip6table_security",
            "xt_conntrack",
            "ipt_REJECT",
            "ip6t_REJECT",
            "xt_LOG",
            "xt_MASQUERADE",
            "xt_REDIRECT",
            "xt_TCPMSS",
            "xt_TPROXY",
            "xt_addrtype",
            "xt_comment",
            "xt_connmark",
            "xt_limit",
            "xt_mark",
            "xt_multiport",
            "xt_nat",
            "xt_owner",
            "xt_statistic",
            "xt_tcpudp",
            "dummy",
            "bridge",
            "macvlan",
        ],
    ),
];
