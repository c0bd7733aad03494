//! Bounds that hold whatever a file asks for.

/// How much of hostile input is believed. One value goes through all of decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest protobuf record in bytes. The largest legitimate ones are mm, cgroup and seccomp.
    pub max_record_bytes: u32,
    /// Most records that one image file may hold.
    pub max_records_per_img: usize,
    /// Deepest nesting of messages.
    pub max_nesting: usize,
    /// Longest argument or environment area in bytes.
    pub max_args_bytes: u64,
    /// Longest chain of parent checkpoints, of seccomp filters, of links.
    pub max_chain: usize,
    /// Most members of one archive.
    pub max_members: usize,
    /// Largest member that is read into memory as a whole when it cannot be borrowed (sparse, nested).
    pub max_owned_bytes: u64,
    /// Most issues kept of one image file; the rest is counted.
    pub max_issues_per_img: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_record_bytes: 64 << 20,
            max_records_per_img: 4_000_000,
            max_nesting: 64,
            max_args_bytes: 8 << 20,
            max_chain: 4096,
            max_members: 4_000_000,
            max_owned_bytes: 256 << 20,
            max_issues_per_img: 100,
        }
    }
}
