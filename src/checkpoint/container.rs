//! What the engine says of the container, and what the inventory says of the dump.

use std::fmt;

use crate::base::Text;

/// Who laid the files out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Podman's export.
    Podman,
    /// CRI-O's archive.
    CriO,
    /// containerd's archive.
    Containerd,
    /// Docker's checkpoint directory.
    Docker,
    /// An image directory of runc, crun or youki.
    Runc,
    /// Bare CRIU images.
    Criu,
    /// A checkpoint carried as an OCI image.
    OciImage,
}

impl Layout {
    /// The word of the JSON (`cri-o`, `oci-image`).
    pub fn word(self) -> &'static str {
        match self {
            Layout::Podman => "podman",
            Layout::CriO => "cri-o",
            Layout::Containerd => "containerd",
            Layout::Docker => "docker",
            Layout::Runc => "runc",
            Layout::Criu => "criu",
            Layout::OciImage => "oci-image",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Architecture of the dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Arch {
    /// Not told by any image.
    #[default]
    Unknown,
    /// x86-64, also its 32-bit tasks.
    X86_64,
    /// 32-bit ARM.
    Arm,
    /// 64-bit ARM.
    Aarch64,
    /// 64-bit PowerPC.
    Ppc64,
    /// IBM Z, big-endian.
    S390,
    /// 64-bit MIPS.
    Mips,
    /// 64-bit LoongArch.
    Loongarch64,
    /// 64-bit RISC-V.
    Riscv64,
}

impl Arch {
    /// From `core_entry.mtype`.
    pub fn from_mtype(mtype: i32) -> Arch {
        match mtype {
            1 => Arch::X86_64,
            2 => Arch::Arm,
            3 => Arch::Aarch64,
            4 => Arch::Ppc64,
            5 => Arch::S390,
            6 => Arch::Mips,
            7 => Arch::Loongarch64,
            8 => Arch::Riscv64,
            _ => Arch::Unknown,
        }
    }

    /// The word of the JSON, as `uname -m` has it.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Arch::Unknown => None,
            Arch::X86_64 => Some("x86_64"),
            Arch::Arm => Some("arm"),
            Arch::Aarch64 => Some("aarch64"),
            Arch::Ppc64 => Some("ppc64le"),
            Arch::S390 => Some("s390x"),
            Arch::Mips => Some("mips64"),
            Arch::Loongarch64 => Some("loongarch64"),
            Arch::Riscv64 => Some("riscv64"),
        }
    }
}

/// The container as engine, spec and inventory describe it. `None` where they do not.
#[derive(Clone, Debug)]
pub struct Container {
    /// Who laid the files out.
    pub layout: Layout,
    /// Short name of the container (`counter`).
    pub name: Option<String>,
    /// Engine's id, 64 hex digits.
    pub id: Option<String>,
    /// Image reference as the user knows it.
    pub image: Option<String>,
    /// Image id or digest.
    pub image_id: Option<String>,
    /// Runtime (`crun`, `runc`, `io.containerd.runc.v2`).
    pub runtime: Option<String>,
    /// Engine (`Podman`, `CRI-O`, `containerd`, `Docker`).
    pub engine: Option<&'static str>,
    /// Kubernetes pod.
    pub pod: Option<String>,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Kubernetes pod uid.
    pub pod_uid: Option<String>,
    /// Host name inside the container.
    pub hostname: Option<String>,
    /// RFC 3339.
    pub created: Option<String>,
    /// RFC 3339.
    pub checkpointed: Option<String>,
    /// RFC 3339: when the container was itself restored from a checkpoint.
    pub restored: Option<String>,
    /// Whether the engine says that this container was itself restored.
    pub was_restored: Option<bool>,
    /// Annotations and labels in the order of their names.
    pub annotations: Vec<(String, String)>,
    /// Labels, where the engine keeps them apart.
    pub labels: Vec<(String, String)>,
    /// Networks that the engine attached.
    pub networks: Vec<EngineNetwork>,
    /// Bind mounts that the engine made.
    pub bind_mounts: Vec<BindMount>,
    /// Architecture of the dump.
    pub arch: Arch,
    /// CRIU's release, from the log or from annotations.
    pub criu_version: Option<String>,
    /// Lowest release whose fields are in the images, where the release itself is not recorded.
    pub criu_version_at_least: Option<&'static str>,
    /// Kernel release of the dumping machine, from the log.
    pub kernel: Option<String>,
    /// Command line of the container's first process, from the spec.
    pub args: Vec<Text>,
    /// `inventory.img`, what matters of it.
    pub inventory: Inventory,
}

/// One network that the engine attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineNetwork {
    /// Name of the network.
    pub name: String,
    /// Interface inside the container.
    pub interface: Option<String>,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// Hardware address.
    pub mac: Option<String>,
    /// Gateway.
    pub gateway: Option<String>,
}

/// One bind mount of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindMount {
    /// Path on the node.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Mount options, or what the engine says of it.
    pub options: Vec<String>,
}

/// What `inventory.img` tells of the dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// 1 before CRIU 1.6, 2 since.
    pub img_version: Option<u32>,
    /// Host's cgroup set.
    pub root_cg_set: Option<u32>,
    /// `none`, `selinux`, `apparmor`.
    pub lsm: Option<&'static str>,
    /// Connections were closed in the dump.
    pub tcp_close: Option<bool>,
    /// How CRIU kept packets out meanwhile.
    pub network_lock: Option<&'static str>,
    /// CRIU's own id of this dump.
    pub run_id: Option<String>,
}
