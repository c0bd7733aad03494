//! Docker by its socket: the Engine API. Checkpoints are one of its experimental features.
//!
//! Measured with 28.5: a checkpoint whose request is hung up on goes on, and is written all the same; the container goes on when
//! the dump is over, whoever listens. Of one that fails dockerd removes the directory. A container stays frozen only where dockerd
//! itself ends meanwhile; after the next start it is `paused`, or `running` if dockerd did not hear of the freeze.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::acquire::wire::{Container, ContainerState, SourceKind};
use crate::agent::http::{Answer, Endpoint, HttpError};
use crate::agent::problem::{Failure, Outcome};

use super::cri::is_socket;
use super::{LONGER, checked_name, docker_errors};

const MAX_ANSWER_BYTES: usize = 64 << 20;
const SHORT: Duration = Duration::from_secs(15);
/// Name of a checkpoint within its directory.
pub const CHECKPOINT_ID: &str = "images";
/// Code of the failure of a socket of Docker behind which is Podman, as the package podman-docker makes it.
pub const IS_PODMAN: &str = "docker-is-podman";
/// Where containerd is whom Docker starts, and where one is that it shares, if Docker does not say.
const CONTAINERD: [&str; 2] = ["/run/docker/containerd/containerd.sock", "/run/containerd/containerd.sock"];
const CONTAINERD_NAMESPACE: &str = "moby";

/// Docker, if it is there.
#[derive(Clone, Debug)]
pub struct Docker {
    socket: PathBuf,
    endpoint: Endpoint,
}

/// What Docker says of itself.
#[derive(Clone, Debug)]
pub struct Engine {
    /// As `28.5.2`.
    pub version: String,
    /// Whether it makes checkpoints at all.
    pub is_experimental: bool,
    /// All that it said.
    pub said: Value,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "docker {}", self.version)
    }
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
    /// Seconds since 1970.
    #[serde(default)]
    created: i64,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    #[serde(default)]
    action: String,
    actor: Actor,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
}

impl Docker {
    /// At this socket.
    pub fn new(socket: PathBuf) -> Docker {
        Docker { endpoint: Endpoint::Unix(socket.clone()), socket }
    }

    /// Its socket.
    pub fn address(&self) -> String {
        self.socket.display().to_string()
    }

    /// Whether the socket exists.
    pub fn is_there(&self) -> bool {
        is_socket(&self.socket)
    }

    /// Its version, and whether it is experimental.
    ///
    /// # Errors
    /// It does not answer, or is Podman ([`IS_PODMAN`]), which has an API of its own for checkpoints.
    pub async fn engine(&self) -> Outcome<Engine> {
        let said: Value = self.get("/version").await?;
        if is_podman(&said) {
            let what = format!("Podman answers at {}, and not Docker", self.address());
            return Err(Failure::new(502, IS_PODMAN, what).hint("--podman names its own socket"));
        }
        let version = said.get("Version").and_then(Value::as_str).unwrap_or("of no version").to_owned();
        // Left out where it is not.
        let is_experimental = said.get("Experimental").and_then(Value::as_bool) == Some(true);
        Ok(Engine { version, is_experimental, said })
    }

    /// Its containers, those that only hold a pod together left out.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn list(&self) -> Outcome<Vec<Container>> {
        let engine = self.engine().await?;
        let listed: Vec<Listed> = self.get("/containers/json?all=1").await?;
        Ok(listed.into_iter().filter_map(|found| container(found, &engine)).collect())
    }

    /// All that it says of a container.
    ///
    /// # Errors
    /// It does not answer, or has no such container.
    pub async fn inspect(&self, id: &str) -> Outcome<Value> {
        self.get(&format!("/containers/{}/json", checked_name(id)?)).await
    }

    /// Where containerd may have the runtime's bundle of a container.
    pub async fn bundles(&self, id: &str) -> Vec<PathBuf> {
        let info: Value = self.get("/info").await.unwrap_or_default();
        let said = |pointer: &str| info.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let namespace = said("/Containerd/Namespaces/Containers");
        let namespace = namespace.filter(|name| checked_name(name).is_ok());
        let namespace = namespace.as_deref().unwrap_or(CONTAINERD_NAMESPACE);
        let sockets = match said("/Containerd/Address") {
            Some(socket) => vec![socket],
            None => CONTAINERD.map(str::to_owned).to_vec(),
        };
        let states = sockets.iter().filter_map(|socket| Path::new(socket).parent());
        // `daemon` is where Docker's own one keeps its state.
        let dirs = states.flat_map(|dir| [dir.join("daemon"), dir.to_owned()]);
        dirs.map(|dir| dir.join("io.containerd.runtime.v2.task").join(namespace).join(id)).collect()
    }

    /// What is sent, for the manifest.
    pub fn command(&self, id: &str, dir: &Path) -> String {
        format!("POST unix:{}{} {}", self.address(), checkpoint_path(id), order(dir))
    }

    /// Asks for a checkpoint: images in a directory [`CHECKPOINT_ID`] that Docker makes in one of ours. The container runs on.
    ///
    /// # Errors
    /// In words: what Docker said, and what to do.
    pub async fn checkpoint(&self, id: &str, dir: &Path, timeout_seconds: u32) -> Outcome<()> {
        let path = checkpoint_path(checked_name(id)?);
        let deadline = Duration::from_secs(u64::from(timeout_seconds)) + LONGER;
        let answer = self.endpoint.post(&path, order(dir), deadline, MAX_ANSWER_BYTES).await;
        good(answer.map_err(|error| self.unreachable(&error))?, id).map(|_nothing| ())
    }

    /// Whether a checkpoint of a container was finished since then, as Docker remembers: it keeps some hundred events.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn has_made(&self, id: &str, since: Timestamp) -> Outcome<bool> {
        let now = Timestamp::now();
        // {"container":["ID"],"event":["checkpoint"]}
        let filters =
            format!("%7B%22container%22%3A%5B%22{}%22%5D%2C%22event%22%3A%5B%22checkpoint%22%5D%7D", checked_name(id)?);
        let path = format!(
            "/events?since={}&until={}.{:09}&filters={filters}",
            since.as_second(),
            now.as_second(),
            now.subsec_nanosecond()
        );
        let answer = good(self.ask(&path).await?, id)?;
        let events = serde_json::Deserializer::from_slice(&answer.body).into_iter::<Event>();
        let since = since.as_nanosecond();
        let is_it = |event: &Event| {
            event.action == "checkpoint" && event.actor.id == id && since <= i128::from(event.time_nano)
        };
        Ok(events.map_while(Result::ok).any(|event| is_it(&event)))
    }

    async fn ask(&self, path: &str) -> Outcome<Answer> {
        let answer = self.endpoint.ask(Method::GET, path, None, SHORT, MAX_ANSWER_BYTES).await;
        answer.map_err(|error| self.unreachable(&error))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Outcome<T> {
        let answer = good(self.ask(path).await?, "")?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            Failure::new(502, "runtime-talks-nonsense", "Docker's answer cannot be read").detail(error.to_string())
        })
    }

    fn unreachable(&self, error: &HttpError) -> Failure {
        let failure = match error {
            HttpError::TimedOut(_) => Failure::new(504, "runtime-timeout", "Docker did not answer in time"),
            _ => Failure::new(502, "runtime-unreachable", format!("Docker at {} does not answer", self.address()))
                .hint("`systemctl enable --now docker` starts it"),
        };
        failure.detail(error.to_string())
    }
}

fn checkpoint_path(id: &str) -> String {
    format!("/containers/{id}/checkpoints")
}

fn order(dir: &Path) -> String {
    json!({"CheckpointID": CHECKPOINT_ID, "CheckpointDir": dir, "Exit": false}).to_string()
}

fn is_podman(version: &Value) -> bool {
    let components = version.get("Components").and_then(Value::as_array).into_iter().flatten();
    components.filter_map(|component| component.get("Name")?.as_str()).any(|name| name.starts_with("Podman"))
}

fn good(answer: Answer, id: &str) -> Outcome<Answer> {
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    Err(docker_errors::explain(answer.status, &answer.text(), id))
}

fn container(found: Listed, engine: &Engine) -> Option<Container> {
    let labels = found.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).filter(|value| !value.is_empty()).cloned();
    // Of Kubernetes by way of cri-dockerd.
    if label("io.kubernetes.docker.type").as_deref() == Some("podsandbox") {
        return None;
    }
    let state = match found.state.as_str() {
        "running" => ContainerState::Running,
        "paused" => ContainerState::Frozen,
        "created" => ContainerState::Created,
        "exited" | "dead" => ContainerState::Exited,
        _ => ContainerState::Unknown,
    };
    // A name with another slash is a link of another container to it.
    let names = found.names.iter().filter_map(|name| name.strip_prefix('/'));
    let name = names.into_iter().find(|name| !name.contains('/')).map(str::to_owned);
    let problem = match (state, engine.is_experimental) {
        (ContainerState::Running | ContainerState::Unknown, true) => None,
        (ContainerState::Running | ContainerState::Unknown, false) => Some(docker_errors::not_experimental()),
        (ContainerState::Frozen, _) => Some("it is paused".to_owned()),
        _ => Some("it does not run".to_owned()),
    };
    Some(Container {
        name: label("io.kubernetes.container.name").or(name).unwrap_or_else(|| found.id.chars().take(12).collect()),
        pod: label("io.kubernetes.pod.name"),
        namespace: label("io.kubernetes.pod.namespace"),
        image: Some(found.image).filter(|image| !image.is_empty()),
        image_id: Some(found.image_id).filter(|image| !image.is_empty()),
        engine: "docker".to_owned(),
        source: SourceKind::Docker,
        state,
        created: Timestamp::from_second(found.created).ok().filter(|_| found.created != 0),
        pid: None,
        problem,
        caution: None,
        id: found.id,
        labels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(json: Value, is_experimental: bool) -> Option<Container> {
        let engine = Engine { version: "28.5.2".to_owned(), is_experimental, said: Value::Null };
        container(serde_json::from_value(json).unwrap(), &engine)
    }

    #[test]
    fn container_is_listed_with_what_hinders_its_checkpoint() {
        let web = |state: &str| {
            json!({"Id": "ab12", "Names": ["/other/alias", "/web"], "Image": "nginx:1", "ImageID": "sha256:1",
            "State": state, "Created": 1_796_006_178, "Labels": {"app": "web"}})
        };
        let found = listed(web("running"), true).unwrap();
        assert_eq!((found.name.as_str(), found.state, found.problem), ("web", ContainerState::Running, None));
        assert!(listed(web("running"), false).unwrap().problem.unwrap().contains("experimental"));
        assert_eq!(listed(web("exited"), false).unwrap().problem.as_deref(), Some("it does not run"));
        assert_eq!(listed(web("paused"), true).unwrap().state, ContainerState::Frozen);
        assert_eq!(listed(json!({"Id": "ab12", "Labels": null}), true).unwrap().name, "ab12");
    }

    #[test]
    fn container_of_a_pod_has_its_names_and_the_one_that_holds_the_pod_is_left_out() {
        let of = |kind: &str| {
            json!({"Id": "ab12", "Names": ["/k8s_app_web_default_uid_0"], "State": "running", "Labels": {
            "io.kubernetes.docker.type": kind, "io.kubernetes.container.name": "app", "io.kubernetes.pod.name": "web",
            "io.kubernetes.pod.namespace": "default"}})
        };
        let found = listed(of("container"), true).unwrap();
        assert_eq!(
            (found.name.as_str(), found.pod.as_deref(), found.namespace.as_deref()),
            ("app", Some("web"), Some("default"))
        );
        assert!(listed(of("podsandbox"), true).is_none());
    }

    #[test]
    fn podman_in_the_place_of_docker_is_known() {
        assert!(is_podman(&json!({"Components": [{"Name": "Podman Engine"}, {"Name": "Conmon"}]})));
        assert!(!is_podman(&json!({"Components": [{"Name": "Engine"}, {"Name": "containerd"}]})));
        assert!(!is_podman(&json!({"Components": "Podman"})));
    }

    #[tokio::test]
    async fn name_that_would_change_the_url_is_not_asked_for() {
        let docker = Docker::new("/nothing".into());
        for bad in ["../x", "a/b", "", "a?b"] {
            assert_eq!(docker.inspect(bad).await.unwrap_err().problem.code, "bad-name");
            assert_eq!(docker.has_made(bad, Timestamp::now()).await.unwrap_err().problem.code, "bad-name");
        }
        assert_eq!(docker.inspect("ab12").await.unwrap_err().problem.code, "runtime-unreachable");
    }
}
