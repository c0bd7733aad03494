//! What may be asked of `cryoscope sandbox hand-over`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::Which;

/// `sandbox hand-over`
#[derive(Debug, Args)]
#[command(after_help = "\
Another engine restores with its own isolation, as root of its host: `sandbox run` is safer. What attacks an engine is \
refused unless --allow names it, and the image says what was allowed.

Examples:
  cryoscope sandbox hand-over checkpoint.tar --to oci -o image.tar
      an OCI checkpoint image, for `podman pull oci-archive:image.tar`, `ctr images import`, `skopeo copy`
  CRYOSCOPE_REGISTRY_PASSWORD=... cryoscope sandbox hand-over checkpoint.tar --to oci --username me \\
      --push registry.example/forensics/counter:1
  cryoscope sandbox hand-over checkpoint.tar --to crictl -o restore --node-dir /root/restore
      files for CRI-O or containerd, and the commands that use them
  cryoscope sandbox hand-over checkpoint.tar --to pod --push registry.example/forensics/counter:1 -o pod.yaml
  cryoscope sandbox hand-over checkpoint.tar --to podman --run
      in a network namespace that leads nowhere")]
pub struct HandOverArgs {
    /// Archive or directory; - is standard input
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
    /// Which checkpoint.
    #[command(flatten)]
    pub which: Which,
    /// Whom to hand it over to
    #[arg(long, value_name = "WHOM")]
    pub to: Whom,
    /// Where to write: oci: a layout directory, or an archive of it where the name ends in .tar; crictl: a directory; pod:
    /// a file [default for pod: standard output]
    #[arg(long, short, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Replace what is there
    #[arg(long)]
    pub force: bool,
    /// Push the image to a registry (oci, crictl, pod); crictl and pod then use it
    #[arg(long, value_name = "REGISTRY/NAME:TAG")]
    pub push: Option<String>,
    /// User of the registry [default: CRYOSCOPE_REGISTRY_USERNAME]; the password is taken from CRYOSCOPE_REGISTRY_PASSWORD
    #[arg(long, value_name = "USER", requires = "push")]
    pub username: Option<String>,
    /// Authorities to believe beside those of this machine when it is pushed, as PEM; a registry on this machine is then
    /// asked by TLS
    #[arg(long, value_name = "FILE", requires = "push")]
    pub ca: Option<PathBuf>,
    /// Name of the checkpoint image: oci: that it is given; crictl, pod: that is used. crictl takes the path that the
    /// archive has on the node, too
    #[arg(long, value_name = "NAME:TAG")]
    pub image: Option<String>,
    /// How the layer of the image is packed
    #[arg(long, value_name = "HOW", default_value = "gzip")]
    pub compress: Compress,
    /// Hand it over although of this danger, by the id that `sandbox plan` or the refusal shows; can be given again
    #[arg(long, value_name = "ID")]
    pub allow: Vec<String>,
    /// crictl: where the directory will lie on the node [default: where it is written]
    #[arg(long, value_name = "DIR")]
    pub node_dir: Option<PathBuf>,
    /// pod: the node that restores it
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// pod: the namespace
    #[arg(long, value_name = "NAME", default_value = "forensics")]
    pub namespace: String,
    /// podman: restore it now, and refuse where the isolation cannot be had
    #[arg(long)]
    pub run: bool,
}

/// Whom to hand over to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Whom {
    /// Anybody: an OCI checkpoint image
    Oci,
    /// CRI-O or containerd without Kubernetes: files for crictl
    Crictl,
    /// Podman on this machine
    Podman,
    /// Kubernetes: a Pod manifest
    Pod,
}

/// How a layer is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Compress {
    /// Every engine and registry takes it
    Gzip,
    /// Smaller and faster; engines since 2021 take it
    Zstd,
    /// As large as the archive
    None,
}
