//! Making the plan from the checkpoint: pure, no clock, no files of the analyst's machine.

use std::path::PathBuf;

use serde_json::Value;

use super::outlook::connected;
use super::programs::programs;
use super::{
    Cgroups, ExtMount, Fill, InheritFd, Interface, MachinePlan, Made, Netns, NetworkMode, Placeholder, Plan,
    RestorePlan, RootfsPlan, SCHEMA, SinkPlan, StandIn, Stream, Tcp,
};
use crate::base::{Text, escape};
use crate::checkpoint::documents::DocumentKind;
use crate::checkpoint::files::{FileDetail, RegFile, Remap};
use crate::checkpoint::namespaces::NsKind;
use crate::checkpoint::{Checkpoint, Mount};
use crate::evidence::{BaseImage, MemberKind};

/// What the analyst decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the base image is.
    pub rootfs: Option<PathBuf>,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// Most seconds of the machine.
    pub max_seconds: u32,
    /// What can be reached.
    pub network: NetworkMode,
}

/// Files that engines bind into every container.
const USUAL_FILES: [&str; 6] =
    ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/.dockerenv", "/dev/termination-log"];
/// What `/etc/hosts` says in the machine.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
/// Podman's archive of `/dev/shm`.
const DEV_SHM: &str = "devshm-checkpoint.tar";

/// The plan of restoring `checkpoint` over `base`.
pub fn make(checkpoint: &Checkpoint, base: Option<&BaseImage>, config: &Config) -> Plan {
    let (netns, interfaces) = network(checkpoint);
    let sink =
        (config.network == NetworkMode::Sink).then(|| SinkPlan::make(&interfaces, &checkpoint.container.networks));
    let ext_mounts = ext_mounts(checkpoint, base, sink.as_ref());
    Plan {
        schema: SCHEMA.to_owned(),
        archive: checkpoint.outer.name().to_owned(),
        images_dir: escape(&checkpoint.images_dir).into_owned(),
        rootfs: RootfsPlan {
            base: config.rootfs.clone(),
            nr_changed: checkpoint.rootfs.entries.len(),
            deleted: checkpoint.rootfs.deleted.iter().map(Text::label).collect(),
            made: made(checkpoint, &ext_mounts),
            placeholders: placeholders(checkpoint),
            root_mode: root_mode(checkpoint),
        },
        restore: RestorePlan {
            inherit_fds: inherit_fds(checkpoint),
            tcp: tcp(checkpoint),
            cgroups: Cgroups::Ignore,
            fills: fills(checkpoint, &ext_mounts),
            programs: programs(checkpoint),
            netns,
            interfaces,
            sink,
            file_locks: !checkpoint.locks.is_empty(),
            shell_job: is_shell_job(checkpoint),
            more_args: Vec::new(),
            ext_mounts,
        },
        machine: MachinePlan {
            memory_mib: config.memory_mib,
            cpus: config.cpus,
            network: config.network,
            max_seconds: config.max_seconds,
        },
    }
}

fn ext_mounts(checkpoint: &Checkpoint, base: Option<&BaseImage>, sink: Option<&SinkPlan>) -> Vec<ExtMount> {
    let external = checkpoint.mounts.iter().filter_map(|mount| Some((mount, mount.external_key.as_ref()?)));
    external
        .map(|(mount, key)| ExtMount {
            key: escape(key.as_bytes()).into_owned(),
            mountpoint: escape(mount.mountpoint.as_bytes()).into_owned(),
            stand_in: match sink {
                Some(sink) if mount.mountpoint.as_bytes() == b"/etc/resolv.conf" => {
                    StandIn::File { text: sink.resolv_conf() }
                }
                _ => stand_in(checkpoint, mount, base),
            },
        })
        .collect()
}

fn stand_in(checkpoint: &Checkpoint, mount: &Mount, base: Option<&BaseImage>) -> StandIn {
    let mountpoint = mount.mountpoint.as_bytes();
    let fstype = mount.fstype.as_ref().map(Text::as_bytes).unwrap_or_default();
    let key = mount.external_key.as_ref().map(Text::as_bytes).unwrap_or_default();
    // What masks files of /proc: named by its own path, or the file of a host's /dev.
    if key == b"/dev/null" || (matches!(fstype, b"devtmpfs" | b"tmpfs") && mount.root.as_bytes() == b"/null") {
        return StandIn::DevNull;
    }
    if mountpoint == b"/etc/hosts" {
        return StandIn::File { text: HOSTS.to_owned() };
    }
    let is_usual = USUAL_FILES.iter().any(|file| file.as_bytes() == mountpoint);
    let is_file =
        is_usual || fstype == b"mqueue" || is_file_in_base(base, mountpoint) || is_open_file(checkpoint, mount);
    if is_file { StandIn::EmptyFile } else { StandIn::EmptyDir }
}

fn is_file_in_base(base: Option<&BaseImage>, path: &[u8]) -> bool {
    base.and_then(|base| base.get(path)).is_some_and(|(_, member)| member.kind == MemberKind::File)
}

/// Whether a process has the mount's very root open as a file.
fn is_open_file(checkpoint: &Checkpoint, mount: &Mount) -> bool {
    const S_IFMT: u32 = 0o170_000;
    const S_IFREG: u32 = 0o100_000;
    checkpoint.files.iter().any(|file| match &file.detail {
        FileDetail::Reg(reg) => reg.name == mount.mountpoint && reg.mode.is_some_and(|mode| mode & S_IFMT == S_IFREG),
        _ => false,
    })
}

/// Mount points on the root file system itself.
fn made(checkpoint: &Checkpoint, ext_mounts: &[ExtMount]) -> Vec<Made> {
    let roots: Vec<_> = checkpoint.mounts.iter().filter(|mount| mount.mountpoint.as_bytes() == b"/").collect();
    let on_root = checkpoint.mounts.iter().filter(|mount| roots.iter().any(|root| root.mnt_id == mount.parent_mnt_id));
    on_root
        .filter(|mount| mount.mountpoint.as_bytes() != b"/")
        .map(|mount| {
            let path = escape(mount.mountpoint.as_bytes()).into_owned();
            let is_file = ext_mounts
                .iter()
                .any(|it| it.mountpoint == path && !matches!(it.stand_in, StandIn::EmptyDir | StandIn::Rootfs { .. }));
            Made { path, is_dir: !is_file }
        })
        .collect()
}

/// Files that criu linked for the time of the dump.
pub(super) fn placeholders(checkpoint: &Checkpoint) -> Vec<Placeholder> {
    let mut out: Vec<Placeholder> = Vec::new();
    for file in &checkpoint.files {
        let FileDetail::Reg(RegFile { remap: Some(Remap::Linked { file: link }), mode, size_bytes, .. }) = &file.detail
        else {
            continue;
        };
        let Some(FileDetail::Reg(link)) = checkpoint.file(*link).map(|file| &file.detail) else { continue };
        let path = escape(link.name.as_bytes()).into_owned();
        if !out.iter().any(|it| it.path == path) {
            let mode = mode.unwrap_or(0o600) & 0o7777;
            out.push(Placeholder { path, mode, size_bytes: size_bytes.unwrap_or_default() });
        }
    }
    out
}

/// What CRIU will compare with: the mode of `/` where a process has it open, stands in it or has it as root.
fn root_mode(checkpoint: &Checkpoint) -> Option<u32> {
    checkpoint.files.iter().find_map(|file| match &file.detail {
        FileDetail::Reg(reg) if reg.name.as_bytes() == b"/" => reg.mode.map(|mode| mode & 0o7777),
        _ => None,
    })
}

/// Descriptors 0 to 2 of the container led to the engine by pipes.
fn inherit_fds(checkpoint: &Checkpoint) -> Vec<InheritFd> {
    let descriptors = checkpoint.documents.iter().find(|document| {
        document.kind == DocumentKind::OtherJson && document.name.rsplit('/').next() == Some("descriptors.json")
    });
    let list = descriptors.and_then(|document| serde_json::from_slice::<Vec<Value>>(&document.bytes).ok());
    let mut out: Vec<InheritFd> = Vec::new();
    for (name, stream) in list.unwrap_or_default().iter().zip([Stream::Stdin, Stream::Stdout, Stream::Stderr]) {
        let Some(name) = name.as_str() else { continue };
        let is_handed_in = name.starts_with("pipe:[") || name.starts_with("socket:[");
        if is_handed_in && !out.iter().any(|it| it.key == name) {
            out.push(InheritFd { key: name.to_owned(), stream });
        }
    }
    out
}

/// Connections whose two ends are in the checkpoint go on; where a peer is missing, all come back closed.
fn tcp(checkpoint: &Checkpoint) -> Tcp {
    let mut ends = connected(checkpoint).peekable();
    match (ends.peek().is_none(), ends.all(|socket| socket.peer_file.is_some())) {
        (true, _) => Tcp::None,
        (false, true) => Tcp::Established,
        (false, false) => Tcp::Close,
    }
}

/// Archives of the evidence that fill a stand-in.
fn fills(checkpoint: &Checkpoint, ext_mounts: &[ExtMount]) -> Vec<Fill> {
    let member =
        [checkpoint.base_dir.as_slice(), if checkpoint.base_dir.is_empty() { b"" } else { b"/" }, DEV_SHM.as_bytes()];
    let member = member.concat();
    let is_there = checkpoint.evidence.get(&member).is_some_and(|member| member.is_file());
    let is_mounted = ext_mounts.iter().any(|mount| mount.mountpoint == "/dev/shm");
    if !is_there || !is_mounted {
        return Vec::new();
    }
    vec![Fill { member: escape(&member).into_owned(), mountpoint: "/dev/shm".to_owned() }]
}

fn network(checkpoint: &Checkpoint) -> (Netns, Vec<Interface>) {
    let of_root = checkpoint.namespaces.iter().find(|namespace| namespace.kind == NsKind::Net);
    let Some(namespace) = of_root.filter(|namespace| !namespace.is_host) else { return (Netns::Machine, Vec::new()) };
    let interfaces = checkpoint.container.networks.iter().map(|network| Interface {
        name: network.interface.clone().unwrap_or_else(|| "eth0".to_owned()),
        addresses: network.addresses.clone(),
    });
    let interfaces = interfaces.collect();
    let key = namespace.facts.iter().find(|(name, _)| name == "external key");
    match key {
        Some((_, key)) => (Netns::External { key: escape(key.as_bytes()).into_owned() }, interfaces),
        None if checkpoint.image(&format!("netdev-{}.img", namespace.id)).is_some() => (Netns::InImages, Vec::new()),
        None => (Netns::Empty, interfaces),
    }
}

/// Whether the leader of the root process' session or group is outside of the checkpoint.
fn is_shell_job(checkpoint: &Checkpoint) -> bool {
    let Some(root) = checkpoint.processes.first() else { return false };
    [&root.sid, &root.pgid].into_iter().any(|id| id.known().is_some_and(|pid| pid.0 == 0))
}
