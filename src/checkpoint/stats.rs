//! How the dump went: `stats-dump`.

/// Times in microseconds, counts of pages. `None` where the writer left a field out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpStats {
    /// Until all tasks were frozen.
    pub freezing_time_us: Option<u64>,
    /// While they were frozen.
    pub frozen_time_us: Option<u64>,
    /// Collecting memory.
    pub memdump_time_us: Option<u64>,
    /// Writing memory.
    pub memwrite_time_us: Option<u64>,
    /// Pages looked at.
    pub pages_scanned: Option<u64>,
    /// Pages left out because the parent has them.
    pub pages_skipped_parent: Option<u64>,
    /// Pages written.
    pub pages_written: Option<u64>,
    /// Resolving inodes to paths.
    pub irmap_resolve_us: Option<u64>,
    /// Pages left to a lazy server.
    pub pages_lazy: Option<u64>,
    /// Pipes used for memory.
    pub page_pipes: Option<u64>,
    /// Buffers used for memory.
    pub page_pipe_bufs: Option<u64>,
    /// Shared-memory pages looked at.
    pub shpages_scanned: Option<u64>,
    /// Shared-memory pages left to the parent.
    pub shpages_skipped_parent: Option<u64>,
    /// Shared-memory pages written.
    pub shpages_written: Option<u64>,
}
