//! Bounds that hold whatever a file asks for.

/// How much of hostile input is believed. One value goes through all of decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest protobuf record in bytes. The largest legitimate ones are mm, cgroup and seccomp.
    pub max_record_bytes: u32,
    /// Most records that one image file may hold.
    pub max_records_per_img: usize,
    /// Most values in all decoded images of one checkpoint, a record counted as sixteen more: what bounds the memory
    /// that a model may take, since two bytes of an image can become fifty of it.
    pub max_values: u64,
    /// Most bytes of pagemaps in one checkpoint; a run of eight bytes becomes one of fifty.
    pub max_pagemap_bytes: u64,
    /// Most processes and threads of one checkpoint. Linux has at most 4,194,304; so many are in no container.
    pub max_tasks: usize,
    /// Most descriptors in all tables of one checkpoint, a shared table counted once for each process.
    pub max_fds: usize,
    /// Deepest nesting of messages.
    pub max_nesting: usize,
    /// Longest argument or environment area in bytes.
    pub max_args_bytes: u64,
    /// Most bytes of arguments and environments of all processes.
    pub max_all_args_bytes: u64,
    /// Longest chain of parent checkpoints, of seccomp filters, of links.
    pub max_chain: usize,
    /// Most members of one archive, and of all archives inside a checkpoint together.
    pub max_members: usize,
    /// Most checkpoints in one archive.
    pub max_checkpoints: usize,
    /// Largest member that is read into memory as a whole when it cannot be borrowed (sparse, nested).
    pub max_owned_bytes: u64,
    /// Most issues kept of one image file; the rest is counted.
    pub max_issues_per_img: usize,
    /// Most issues kept of one checkpoint; the rest is counted.
    pub max_issues: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_record_bytes: 64 << 20,
            max_records_per_img: 4_000_000,
            max_values: 16_000_000,
            max_pagemap_bytes: 64 << 20,
            max_tasks: 1 << 17,
            max_fds: 2_000_000,
            max_nesting: 64,
            max_args_bytes: 8 << 20,
            max_all_args_bytes: 64 << 20,
            max_chain: 4096,
            max_members: 1_000_000,
            max_checkpoints: 64,
            max_owned_bytes: 256 << 20,
            max_issues_per_img: 100,
            max_issues: 20_000,
        }
    }
}
