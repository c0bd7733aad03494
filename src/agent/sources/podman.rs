//! Podman by its socket (`podman system service`): the libpod API, version 4.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::acquire::wire::{Container, ContainerState, SourceKind};
use crate::agent::http::{Endpoint, HttpError, error_chain, read_body};
use crate::agent::problem::{Failure, Outcome};
use crate::agent::stream::{self, Piece};

use super::cri::is_socket;
use super::{LONGER, kubelet_errors};

const MAX_ANSWER_BYTES: usize = 64 << 20;
const MAX_ERROR_BYTES: usize = 1 << 20;
const SHORT: Duration = Duration::from_secs(15);
/// A stream that brings nothing for so long is dead.
const STALL: Duration = Duration::from_secs(120);

/// Podman, if it is there.
#[derive(Clone, Debug)]
pub struct Podman {
    socket: PathBuf,
    endpoint: Endpoint,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    image: String,
    #[serde(rename = "ImageID", default)]
    image_id: String,
    #[serde(default)]
    state: String,
    created: Option<Timestamp>,
    #[serde(default)]
    pid: u32,
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pod_name: String,
    #[serde(default)]
    is_infra: bool,
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "Version")]
    version: String,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    cause: String,
    #[serde(default)]
    message: String,
}

impl Podman {
    /// At this socket.
    pub fn new(socket: PathBuf) -> Podman {
        Podman { endpoint: Endpoint::Unix(socket.clone()), socket }
    }

    /// Its socket.
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
        let version: Version = self.get("/v4.0.0/libpod/version").await?;
        Ok(format!("podman {}", version.version))
    }

    /// Its containers, those that only hold a pod together left out.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn list(&self) -> Outcome<Vec<Container>> {
        let listed: Vec<Listed> = self.get("/v4.0.0/libpod/containers/json?all=true").await?;
        Ok(listed.into_iter().filter(|found| !found.is_infra).map(container).collect())
    }

    /// What is sent, for the manifest.
    pub fn command(&self, id: &str) -> String {
        format!("POST unix:{}{}", self.address(), checkpoint_path(id))
    }

    /// Asks for a checkpoint. The archive comes as the answer, in pieces.
    ///
    /// # Errors
    /// In words: what Podman said, and what to do.
    pub async fn checkpoint(&self, id: &str, timeout_seconds: u32) -> Outcome<mpsc::Receiver<Piece>> {
        let deadline = Duration::from_secs(u64::from(timeout_seconds)) + LONGER;
        self.stream(Method::POST, &checkpoint_path(id), deadline).await
    }

    async fn stream(&self, method: Method, path: &str, deadline: Duration) -> Outcome<mpsc::Receiver<Piece>> {
        let response = self.endpoint.send(method, path, None, deadline).await;
        let response = response.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(refusal(status, response.into_body()).await);
        }
        let (sender, receiver) = stream::channel();
        tokio::spawn(pass_on(response.into_body(), sender));
        Ok(receiver)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let answer = self.endpoint.ask(Method::GET, path, None, SHORT, MAX_ANSWER_BYTES).await;
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.status != 200 {
            return Err(kubelet_errors::runtime(&answer.text()).detail(answer.text()));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            Failure::new(502, "runtime-talks-nonsense", "Podman's answer cannot be read").detail(error.to_string())
        })
    }

    fn unreachable(&self, error: &HttpError) -> Failure {
        let failure = match error {
            HttpError::TimedOut(_) => Failure::new(504, "runtime-timeout", "Podman did not answer in time"),
            _ => Failure::new(502, "runtime-unreachable", format!("Podman at {} does not answer", self.address()))
                .hint("`systemctl enable --now podman.socket` starts its API"),
        };
        failure.detail(error.to_string())
    }
}

/// The container's log, its volumes and its changed files go with it; it runs on.
fn checkpoint_path(id: &str) -> String {
    format!(
        "/v4.0.0/libpod/containers/{id}/checkpoint?export=true&leaveRunning=true&tcpEstablished=true&fileLocks=true"
    )
}

async fn refusal(status: u16, body: Incoming) -> Failure {
    let reading = tokio::time::timeout(SHORT, read_body(body, MAX_ERROR_BYTES)).await;
    let body = reading.ok().and_then(Result::ok).unwrap_or_default();
    let text = match serde_json::from_slice::<Refusal>(&body) {
        Ok(said) if said.message.contains(&said.cause) => said.message,
        Ok(said) => format!("{}: {}", said.message, said.cause),
        Err(_) => String::from_utf8_lossy(&body).into_owned(),
    };
    match status {
        404 => Failure::new(404, "no-such-container", "Podman has no such container"),
        409 => Failure::new(409, "container-not-running", "the container does not run"),
        _ => kubelet_errors::runtime(&text),
    }
    .detail(text)
}

async fn pass_on(mut body: Incoming, sender: mpsc::Sender<Piece>) {
    loop {
        let piece: Piece = match tokio::time::timeout(STALL, body.frame()).await {
            Err(_) => Err("Podman sends no more".to_owned()),
            Ok(None) => return,
            Ok(Some(Err(error))) => Err(error_chain(&error)),
            Ok(Some(Ok(frame))) => Ok(frame.into_data().unwrap_or_default()),
        };
        let is_over = piece.is_err();
        if sender.send(piece).await.is_err() || is_over {
            return;
        }
    }
}

fn container(found: Listed) -> Container {
    let state = match found.state.as_str() {
        "running" => ContainerState::Running,
        "paused" => ContainerState::Frozen,
        "created" | "configured" | "initialized" => ContainerState::Created,
        "exited" | "stopped" => ContainerState::Exited,
        _ => ContainerState::Unknown,
    };
    Container {
        name: found.names.into_iter().next().unwrap_or_else(|| found.id.chars().take(12).collect()),
        pod: Some(found.pod_name).filter(|pod| !pod.is_empty()),
        namespace: None,
        image: Some(found.image).filter(|image| !image.is_empty()),
        image_id: Some(found.image_id).filter(|image| !image.is_empty()),
        engine: "podman".to_owned(),
        source: SourceKind::Podman,
        state,
        created: found.created,
        pid: Some(found.pid).filter(|pid| *pid != 0),
        labels: found.labels.unwrap_or_default(),
        problem: (state != ContainerState::Running).then(|| "it does not run".to_owned()),
        caution: None,
        id: found.id,
    }
}
