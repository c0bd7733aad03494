//! CRI-O or containerd by its socket: the Container Runtime Interface, version 1 (`assets/cri/runtime.proto`).

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;

use crate::acquire::wire::{Container, ContainerState, SourceKind};
use crate::agent::problem::{Failure, Outcome};

use super::{LONGER, kubelet_errors};

/// The messages, generated from their description.
mod proto {
    #![expect(unreachable_pub, clippy::enum_variant_names, reason = "generated; the description has the documentation")]
    include!(concat!(env!("OUT_DIR"), "/runtime.v1.rs"));
}

const MAX_ANSWER_BYTES: usize = 64 << 20;
const SHORT: Duration = Duration::from_secs(10);

/// A runtime that may be there.
#[derive(Debug)]
pub struct Cri {
    socket: PathBuf,
}

impl Cri {
    /// At this socket.
    pub fn new(socket: PathBuf) -> Cri {
        Cri { socket }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The same in words.
    pub fn address(&self) -> String {
        self.socket.display().to_string()
    }

    /// Whether the socket exists.
    pub fn is_there(&self) -> bool {
        is_socket(&self.socket)
    }

    /// Name and version.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn version(&self) -> Outcome<String> {
        let request = proto::VersionRequest { version: "v1".to_owned() };
        let answer: proto::VersionResponse = self.call("Version", request, SHORT).await?;
        Ok(format!("{} {}", answer.runtime_name, answer.runtime_version))
    }

    /// Its containers.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn list(&self) -> Outcome<Vec<Container>> {
        let engine = self.version().await?;
        let engine = engine.split(' ').next().unwrap_or_default().to_lowercase();
        let listed: proto::ListContainersResponse =
            self.call("ListContainers", proto::ListContainersRequest {}, SHORT).await?;
        let pods: proto::ListPodSandboxResponse =
            self.call("ListPodSandbox", proto::ListPodSandboxRequest {}, SHORT).await?;
        Ok(listed.containers.into_iter().map(|found| container(found, &pods.items, &engine)).collect())
    }

    /// What is sent, for the manifest.
    pub fn command(&self, id: &str, location: &Path, timeout_seconds: u32) -> String {
        let location = location.display();
        format!(
            "unix:{} CheckpointContainer {{container_id: {id}, location: {location}, timeout: {timeout_seconds}}}",
            self.address()
        )
    }

    /// Asks for a checkpoint at a place of ours. No deadline goes with the request: containerd 2.1 passes it to its shim, which
    /// then cannot let the container go on (`tests/agent_containerd.rs`); hanging up loses the archive alone.
    ///
    /// # Errors
    /// In words: what the runtime said, and what to do.
    pub async fn checkpoint(&self, id: &str, location: &Path, timeout_seconds: u32) -> Outcome<()> {
        let request = proto::CheckpointContainerRequest {
            container_id: id.to_owned(),
            location: location.display().to_string(),
            timeout: i64::from(timeout_seconds),
        };
        let deadline = Duration::from_secs(u64::from(timeout_seconds)) + LONGER;
        let _empty: proto::CheckpointContainerResponse = self.call("CheckpointContainer", request, deadline).await?;
        Ok(())
    }

    async fn call<Q, A>(&self, method: &str, request: Q, deadline: Duration) -> Outcome<A>
    where
        Q: prost::Message + Default + 'static,
        A: prost::Message + Default + 'static,
    {
        let calling = async {
            let socket = self.socket.clone();
            let connector = tower::service_fn(move |_uri: Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            let unreachable = |error: String| {
                Failure::new(502, "runtime-unreachable", format!("the runtime at {} does not answer", self.address()))
                    .detail(error)
            };
            let channel: Channel = Endpoint::from_static("http://localhost")
                .connect_with_connector(connector)
                .await
                .map_err(|error| unreachable(crate::agent::http::error_chain(&error)))?;
            let mut client = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
            client.ready().await.map_err(|error| unreachable(error.to_string()))?;
            let path = PathAndQuery::try_from(format!("/runtime.v1.RuntimeService/{method}"));
            let path = path.map_err(|error| unreachable(error.to_string()))?;
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            let answered = client.unary(tonic::Request::new(request), path, codec).await;
            answered.map(tonic::Response::into_inner).map_err(|status| explain(&status))
        };
        let late = |_late| Failure::new(504, "runtime-timeout", "the runtime did not answer in time");
        tokio::time::timeout(deadline, calling).await.map_err(late)?
    }
}

/// Whether there is a socket at a path.
pub(super) fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn explain(status: &tonic::Status) -> Failure {
    let text = format!("rpc error: code = {:?} desc = {}", status.code(), status.message());
    kubelet_errors::runtime(&text).detail(text)
}

fn container(found: proto::Container, pods: &[proto::PodSandbox], engine: &str) -> Container {
    let sandbox = pods.iter().find(|pod| pod.id == found.pod_sandbox_id);
    let pod = sandbox.and_then(|sandbox| sandbox.metadata.as_ref());
    let label = |name: &str| found.labels.get(name).cloned();
    // Kubernetes' own labels are the container's; those that people give are the pod's.
    let of_pod = sandbox.into_iter().flat_map(|sandbox| sandbox.labels.clone());
    let state = match proto::ContainerState::try_from(found.state) {
        Ok(proto::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(proto::ContainerState::ContainerRunning) => ContainerState::Running,
        Ok(proto::ContainerState::ContainerExited) => ContainerState::Exited,
        _ => ContainerState::Unknown,
    };
    Container {
        name: found.metadata.map(|metadata| metadata.name).unwrap_or_default(),
        pod: pod.map(|pod| pod.name.clone()).or_else(|| label("io.kubernetes.pod.name")),
        namespace: pod.map(|pod| pod.namespace.clone()).or_else(|| label("io.kubernetes.pod.namespace")),
        image: found
            .image
            .map(|image| if image.user_specified_image.is_empty() { image.image } else { image.user_specified_image }),
        image_id: Some(found.image_ref).filter(|image| !image.is_empty()),
        engine: engine.to_owned(),
        source: SourceKind::Cri,
        state,
        created: Timestamp::from_nanosecond(i128::from(found.created_at)).ok().filter(|_| found.created_at != 0),
        pid: None,
        labels: of_pod.chain(found.labels.clone()).collect(),
        problem: (state != ContainerState::Running).then(|| "it does not run".to_owned()),
        caution: None,
        id: found.id,
    }
}
