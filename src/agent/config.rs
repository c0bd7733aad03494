//! What the operator has decided.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the kubelet writes archives.
pub const CHECKPOINT_DIR: &str = "/var/lib/kubelet/checkpoints";
/// Sockets of runtimes, where they are by default.
pub const CRI_SOCKETS: [&str; 3] =
    ["/run/crio/crio.sock", "/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"];
/// Podman's socket, where it is by default for root.
pub const PODMAN_SOCKET: &str = "/run/podman/podman.sock";
/// Docker's socket, where it is by default.
pub const DOCKER_SOCKET: &str = "/run/docker.sock";
/// What Kubernetes gives a pod to speak for it.
pub const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Of the daemon.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Name of the node.
    pub node_name: String,
    /// Names and addresses that the server's certificate is for, the first being its common name.
    pub names: Vec<String>,
    /// Keys, clients, audit log.
    pub state: PathBuf,
    /// Authorities of clients, beside the agent's own.
    pub client_ca: Option<PathBuf>,
    /// The operator's own server certificate: chain and key.
    pub server_certificate: Option<(PathBuf, PathBuf)>,
    /// Whether codes are taken.
    pub may_pair: bool,
    /// How long a client's certificate is good.
    pub client_life: Duration,
    /// Where archives wait.
    pub spool: SpoolConfig,
    /// Whether archives may be deleted.
    pub may_delete: bool,
    /// Whom to ask.
    pub sources: SourcesConfig,
}

/// Where archives wait.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// The directory.
    pub path: PathBuf,
    /// Archives take no more.
    pub limit_bytes: u64,
    /// So much is left free on the file system.
    pub reserve_bytes: u64,
}

/// Whom to ask for checkpoints.
#[derive(Clone, Debug, Default)]
pub struct SourcesConfig {
    /// The kubelet.
    pub kubelet: Option<KubeletConfig>,
    /// Sockets of CRI-O or containerd; those that are not there are passed over.
    pub cri: Vec<PathBuf>,
    /// Podman's socket.
    pub podman: Option<PathBuf>,
    /// Docker's socket.
    pub docker: Option<PathBuf>,
}

/// How the kubelet is reached.
#[derive(Clone, Debug)]
pub struct KubeletConfig {
    /// As `https://127.0.0.1:10250`.
    pub url: String,
    /// Certificates of authorities, or the kubelet's own one, which is then believed whatever name it has.
    pub ca: Option<PathBuf>,
    /// Name that its certificate must have, when not the host of the URL.
    pub name: Option<String>,
    /// Client certificate and key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// File with a bearer token; read again for each request.
    pub token: Option<PathBuf>,
    /// Where it writes archives.
    pub checkpoints: PathBuf,
    /// Whether it was found, and not named by the operator.
    pub is_guess: bool,
}
