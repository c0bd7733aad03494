//! The container, the dump's statistics and the evidence in JSON.

use serde::Serialize;

use crate::base::{escape, hex};
use crate::checkpoint::container::{BindMount, EngineNetwork};
use crate::checkpoint::stats::DumpStats;
use crate::checkpoint::{Checkpoint, Container, Sizes};

use super::value::{Map, texts};

/// `evidence`: the file under study.
#[derive(Debug, Serialize)]
pub struct EvidenceReport {
    /// As the analyst named it; `-` for standard input.
    pub path: String,
    /// As it lies on disk.
    pub size_bytes: u64,
    /// `podman`, `cri-o`, `containerd`, `docker`, `runc`, `criu`, `oci-image`, `collection` (read out of /proc).
    pub layout: &'static str,
    /// `none`, `gzip`, `zstd`, `xz`, `bzip2`.
    pub compression: String,
    /// Hex digits, when asked for.
    pub sha256: Option<String>,
    /// How it came from a node, where that was asked for and is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custody: Option<serde_json::Value>,
    /// How many members it has; `null` where only the beginning was read.
    pub members: Option<usize>,
    /// Directory of the image files inside it.
    pub images_dir: String,
    /// Checkpoints that it was taken on top of and whose pages are here, the nearest first.
    pub parents: Vec<String>,
}

impl EvidenceReport {
    pub(super) fn new(checkpoint: &Checkpoint, sha256: Option<&[u8]>) -> EvidenceReport {
        let outer = &checkpoint.outer;
        EvidenceReport {
            path: outer.name().to_owned(),
            size_bytes: outer.size_bytes(),
            layout: checkpoint.container.layout.word(),
            compression: outer.compression().to_string(),
            sha256: sha256.map(hex),
            custody: None,
            members: Some(outer.members().len()),
            images_dir: escape(&checkpoint.images_dir).into_owned(),
            parents: checkpoint.parents.clone(),
        }
    }
}

/// `container`: what the engine says of it.
#[derive(Debug, Serialize)]
pub(super) struct ContainerReport<'a> {
    name: Option<&'a str>,
    id: Option<&'a str>,
    image: Option<&'a str>,
    image_id: Option<&'a str>,
    runtime: Option<&'a str>,
    engine: Option<&'a str>,
    engine_version: Option<&'a str>,
    pod: Option<&'a str>,
    namespace: Option<&'a str>,
    pod_uid: Option<&'a str>,
    hostname: Option<&'a str>,
    created: Option<&'a str>,
    checkpointed: Option<&'a str>,
    restored: Option<&'a str>,
    was_restored: Option<bool>,
    annotations: Map<&'a str, &'a str>,
    labels: Map<&'a str, &'a str>,
    networks: Vec<NetworkReport<'a>>,
    bind_mounts: Vec<BindMountReport<'a>>,
    arch: Option<&'static str>,
    criu_version: Option<&'a str>,
    criu_version_at_least: Option<&'static str>,
    kernel: Option<&'a str>,
    args: Vec<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args_hex: Option<Vec<String>>,
    inventory: InventoryReport<'a>,
}

#[derive(Debug, Serialize)]
struct NetworkReport<'a> {
    name: &'a str,
    interface: Option<&'a str>,
    addresses: &'a [String],
    mac: Option<&'a str>,
    gateway: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct BindMountReport<'a> {
    source: &'a str,
    destination: &'a str,
    options: &'a [String],
}

#[derive(Debug, Serialize)]
struct InventoryReport<'a> {
    img_version: Option<u32>,
    lsm: Option<&'static str>,
    tcp_close: Option<bool>,
    network_lock: Option<&'static str>,
    run_id: Option<&'a str>,
}

impl<'a> ContainerReport<'a> {
    pub(super) fn new(container: &'a Container) -> ContainerReport<'a> {
        let (args, args_hex) = texts(&container.args);
        ContainerReport {
            name: container.name.as_deref(),
            id: container.id.as_deref(),
            image: container.image.as_deref(),
            image_id: container.image_id.as_deref(),
            runtime: container.runtime.as_deref(),
            engine: container.engine,
            engine_version: container.engine_version.as_deref(),
            pod: container.pod.as_deref(),
            namespace: container.namespace.as_deref(),
            pod_uid: container.pod_uid.as_deref(),
            hostname: container.hostname.as_deref(),
            created: container.created.as_deref(),
            checkpointed: container.checkpointed.as_deref(),
            restored: container.restored.as_deref(),
            was_restored: container.was_restored,
            annotations: pairs(&container.annotations),
            labels: pairs(&container.labels),
            networks: container.networks.iter().map(NetworkReport::new).collect(),
            bind_mounts: container.bind_mounts.iter().map(BindMountReport::new).collect(),
            arch: container.arch.map(|arch| arch.name()),
            criu_version: container.criu_version.as_deref(),
            criu_version_at_least: container.criu_version_at_least,
            kernel: container.kernel.as_deref(),
            args,
            args_hex,
            inventory: InventoryReport {
                img_version: container.inventory.img_version,
                lsm: container.inventory.lsm,
                tcp_close: container.inventory.tcp_close,
                network_lock: container.inventory.network_lock,
                run_id: container.inventory.run_id.as_deref(),
            },
        }
    }
}

fn pairs(pairs: &[(String, String)]) -> Map<&str, &str> {
    Map(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
}

impl<'a> NetworkReport<'a> {
    fn new(network: &'a EngineNetwork) -> NetworkReport<'a> {
        NetworkReport {
            name: &network.name,
            interface: network.interface.as_deref(),
            addresses: &network.addresses,
            mac: network.mac.as_deref(),
            gateway: network.gateway.as_deref(),
        }
    }
}

impl<'a> BindMountReport<'a> {
    fn new(mount: &'a BindMount) -> BindMountReport<'a> {
        BindMountReport { source: &mount.source, destination: &mount.destination, options: &mount.options }
    }
}

/// `stats`: how the dump went; every field `null` where it is not recorded.
#[derive(Debug, Serialize)]
pub(super) struct StatsReport {
    freezing_time_us: Option<u64>,
    frozen_time_us: Option<u64>,
    memdump_time_us: Option<u64>,
    memwrite_time_us: Option<u64>,
    pages_scanned: Option<u64>,
    pages_skipped_parent: Option<u64>,
    pages_written: Option<u64>,
    irmap_resolve_us: Option<u64>,
    pages_lazy: Option<u64>,
    page_pipes: Option<u64>,
    page_pipe_bufs: Option<u64>,
    shpages_scanned: Option<u64>,
    shpages_skipped_parent: Option<u64>,
    shpages_written: Option<u64>,
}

impl StatsReport {
    pub(super) fn new(stats: Option<&DumpStats>) -> StatsReport {
        let stats = stats.copied().unwrap_or_default();
        StatsReport {
            freezing_time_us: stats.freezing_time_us,
            frozen_time_us: stats.frozen_time_us,
            memdump_time_us: stats.memdump_time_us,
            memwrite_time_us: stats.memwrite_time_us,
            pages_scanned: stats.pages_scanned,
            pages_skipped_parent: stats.pages_skipped_parent,
            pages_written: stats.pages_written,
            irmap_resolve_us: stats.irmap_resolve_us,
            pages_lazy: stats.pages_lazy,
            page_pipes: stats.page_pipes,
            page_pipe_bufs: stats.page_pipe_bufs,
            shpages_scanned: stats.shpages_scanned,
            shpages_skipped_parent: stats.shpages_skipped_parent,
            shpages_written: stats.shpages_written,
        }
    }
}

/// `sizes`, in bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SizesReport {
    /// All image files.
    pub checkpoint_bytes: u64,
    /// The memory pages among them.
    pub pages_bytes: u64,
    /// The archive of changed files; `null` if there is none.
    pub rootfs_diff_bytes: Option<u64>,
}

impl SizesReport {
    pub(super) fn new(sizes: &Sizes) -> SizesReport {
        SizesReport {
            checkpoint_bytes: sizes.checkpoint_bytes,
            pages_bytes: sizes.pages_bytes,
            rootfs_diff_bytes: sizes.rootfs_diff_bytes,
        }
    }
}
