//! Which engine wrote a checkpoint: only that one can restore it.

use serde::Serialize;

use super::HandoverError;
use crate::checkpoint::{Arch, Checkpoint};

/// An engine that can restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Podman.
    Podman,
    /// CRI-O.
    #[serde(rename = "cri-o")]
    CriO,
    /// containerd.
    Containerd,
}

impl Engine {
    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Podman => "Podman",
            Engine::CriO => "CRI-O",
            Engine::Containerd => "containerd",
        }
    }
}

/// What an engine needs to know of a checkpoint.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who wrote it.
    pub engine: Engine,
    /// Name of the container, or `unnamed`.
    pub name: String,
    /// OCI runtime (`crun`, `runc`).
    pub runtime: Option<&'static str>,
    /// Architecture in Go's words, as images spell it.
    pub architecture: Option<&'static str>,
}

/// Looks at who wrote a checkpoint.
///
/// # Errors
/// No engine did, or none can restore it by itself.
pub fn origin(checkpoint: &Checkpoint) -> Result<Origin, HandoverError> {
    let container = &checkpoint.container;
    let engine = match container.engine {
        Some("Podman") => Engine::Podman,
        Some("CRI-O") => Engine::CriO,
        Some("containerd") => Engine::Containerd,
        _ => return Err(HandoverError::NoEngine { what: "neither Podman, CRI-O nor containerd wrote it" }),
    };
    for name in ["config.dump", "spec.dump"] {
        if checkpoint.evidence.get(&below(&checkpoint.base_dir, name.as_bytes())).is_none() {
            return Err(HandoverError::NoEngine { what: "config.dump and spec.dump are not both there" });
        }
    }
    if checkpoint.images_dir != below(&checkpoint.base_dir, b"checkpoint") {
        return Err(HandoverError::NoEngine { what: "its images are not in a directory named checkpoint" });
    }
    let is_on_top = checkpoint.evidence.get(&below(&checkpoint.images_dir, b"parent")).is_some();
    if is_on_top || !checkpoint.parents.is_empty() {
        return Err(HandoverError::NeedsParents);
    }
    Ok(Origin {
        engine,
        name: container.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| "unnamed".into()),
        runtime: container.runtime.as_deref().and_then(runtime),
        architecture: container.arch.and_then(go_arch),
    })
}

/// As [`origin`], for the engines that a kubelet has.
///
/// # Errors
/// As there, or Podman wrote it.
pub fn cri_origin(checkpoint: &Checkpoint) -> Result<Origin, HandoverError> {
    let origin = origin(checkpoint)?;
    if origin.engine == Engine::Podman {
        let hint = "--to podman, or --to oci";
        return Err(HandoverError::OtherEngine { wrote: "Podman", asked: "a kubelet's engine", hint });
    }
    Ok(origin)
}

/// Where a path below a directory lies (empty: the top).
pub(super) fn below(dir: &[u8], path: &[u8]) -> Vec<u8> {
    if dir.is_empty() { path.to_vec() } else { [dir, b"/", path].concat() }
}

/// The word that an engine's settings have for a runtime; containerd names its shim.
fn runtime(name: &str) -> Option<&'static str> {
    match name.rsplit('/').next().unwrap_or_default() {
        "crun" => Some("crun"),
        "runc" | "io.containerd.runc.v2" => Some("runc"),
        _ => None,
    }
}

fn go_arch(arch: Arch) -> Option<&'static str> {
    match arch {
        Arch::X86 => Some("amd64"),
        Arch::Arm => Some("arm"),
        Arch::Aarch64 => Some("arm64"),
        Arch::Ppc64 => Some("ppc64le"),
        Arch::S390 => Some("s390x"),
        Arch::LoongArch64 => Some("loong64"),
        Arch::Riscv64 => Some("riscv64"),
        // Four words of Go, and nothing in the images tells which.
        Arch::Mips => None,
    }
}
