//! The kubelet: `GET /pods`, `POST /checkpoint/{namespace}/{pod}/{container}?timeout=SECONDS`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use axum::http::{Method, Uri};
use jiff::Timestamp;
use rustls::pki_types::{PrivateKeyDer, ServerName, pem::PemObject as _};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::acquire::wire::{Container, ContainerState, SourceKind};
use crate::agent::config::KubeletConfig;
use crate::agent::http::{Answer, Endpoint, HttpError, client_config};
use crate::agent::problem::{Failure, Outcome};
use crate::agent::{disk, identity};

use super::host_file::open_in;
use super::{LONGER, checked_name, kubelet_errors};

const MAX_PODS_BYTES: usize = 64 << 20;
const MAX_ANSWER_BYTES: usize = 1 << 20;
const SHORT: Duration = Duration::from_secs(15);
/// The kubelet waits so long for the runtime whatever it is told, and never shorter.
const KUBELET_DEADLINE: Duration = Duration::from_secs(120);

/// A kubelet that can be asked.
#[derive(Debug)]
pub struct Kubelet {
    config: KubeletConfig,
    endpoint: Endpoint,
}

#[derive(Deserialize)]
struct PodList {
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    containers: Vec<ContainerSpec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerSpec {
    name: String,
    liveness_probe: Option<Probe>,
}

/// How the kubelet finds out whether a container lives.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    /// By a command in it: that of a frozen container fails in another way, which does not count.
    exec: Option<IgnoredAny>,
    #[serde(default = "ten")]
    period_seconds: u32,
    #[serde(default = "three")]
    failure_threshold: u32,
}

fn ten() -> u32 {
    10
}

fn three() -> u32 {
    3
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID", default)]
    container_id: String,
    #[serde(default)]
    image: String,
    #[serde(rename = "imageID", default)]
    image_id: String,
    #[serde(default)]
    state: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Checkpointed {
    items: Vec<String>,
}

impl Kubelet {
    /// Reads the certificates.
    ///
    /// # Errors
    /// A file or the URL cannot be used.
    pub fn new(config: &KubeletConfig) -> anyhow::Result<Kubelet> {
        let uri: Uri = config.url.parse().with_context(|| format!("--kubelet-url {}", config.url))?;
        let is_https = uri.scheme_str() == Some("https") && matches!(uri.path(), "" | "/");
        anyhow::ensure!(is_https, "--kubelet-url {}: it is https://HOST:PORT", config.url);
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = config.name.clone().unwrap_or_else(|| host.clone());
        let name = ServerName::try_from(name.clone()).with_context(|| format!("the kubelet's name {name:?}"))?;
        let pinned = config.ca.as_deref().map(identity::certificates).transpose()?.unwrap_or_default();
        let client = match &config.certificate {
            None => None,
            Some((chain, key)) => {
                let bytes = disk::read_named(key, 1 << 20).with_context(|| key.display().to_string())?;
                let key_der =
                    PrivateKeyDer::from_pem_slice(&bytes).ok().with_context(|| format!("{}: no key", key.display()))?;
                Some((identity::certificates(chain)?, key_der))
            }
        };
        let endpoint =
            Endpoint::Tls { host, port: uri.port_u16().unwrap_or(10250), name, config: client_config(pinned, client)? };
        Ok(Kubelet { config: config.clone(), endpoint })
    }

    /// As the operator wrote it.
    pub fn address(&self) -> String {
        self.config.url.clone()
    }

    /// Where it writes archives.
    pub fn checkpoints(&self) -> &Path {
        &self.config.checkpoints
    }

    /// Whether it answers us, and its version where it tells.
    ///
    /// # Errors
    /// It does not, or refuses.
    pub async fn probe(&self) -> Outcome<Option<String>> {
        self.pods().await.map(|_pods| None)
    }

    /// Whether we may ask for checkpoints, found out by a pod that cannot be: its name has capitals.
    ///
    /// # Errors
    /// The gate of the endpoint is off, the permission is missing, or it does not answer.
    pub async fn may_checkpoint(&self) -> Outcome<()> {
        let answer = self.ask(Method::POST, "/checkpoint/default/NONE/none", SHORT, MAX_ANSWER_BYTES).await?;
        let failure = kubelet_errors::explain(answer.status, &answer.text());
        if failure.problem.code == "no-such-pod" { Ok(()) } else { Err(failure) }
    }

    /// The containers of its pods.
    ///
    /// # Errors
    /// It does not answer, refuses, or answers something else.
    pub async fn list(&self) -> Outcome<Vec<Container>> {
        let pods = self.pods().await?;
        Ok(pods.items.into_iter().flat_map(containers).collect())
    }

    async fn pods(&self) -> Outcome<PodList> {
        let answer = self.ask(Method::GET, "/pods", SHORT, MAX_PODS_BYTES).await?;
        if answer.status != 200 {
            return Err(kubelet_errors::explain(answer.status, &answer.text()));
        }
        serde_json::from_slice(&answer.body).map_err(|error| {
            Failure::new(502, "kubelet-talks-nonsense", "the kubelet's list of pods cannot be read")
                .detail(error.to_string())
                .hint("is --kubelet-url the kubelet?")
        })
    }

    /// What is sent, for the manifest.
    ///
    /// # Errors
    /// A name cannot be one.
    pub fn command(&self, container: &Container, timeout_seconds: u32) -> Outcome<String> {
        Ok(format!("POST {}{}", self.config.url.trim_end_matches('/'), path(container, timeout_seconds)?))
    }

    /// Asks for a checkpoint, and opens the archive at once.
    ///
    /// # Errors
    /// In words: what the kubelet said, and what to do.
    pub async fn checkpoint(&self, container: &Container, timeout_seconds: u32) -> Outcome<(String, File)> {
        let deadline = Duration::from_secs(u64::from(timeout_seconds)).max(KUBELET_DEADLINE) + LONGER;
        let path = path(container, timeout_seconds)?;
        let answer = self.ask(Method::POST, &path, deadline, MAX_ANSWER_BYTES).await?;
        if answer.status != 200 {
            return Err(kubelet_errors::explain(answer.status, &answer.text()));
        }
        let nonsense = |detail: String| {
            Failure::new(502, "kubelet-talks-nonsense", "the kubelet says that it made a checkpoint, but not which")
                .detail(detail)
        };
        let made: Checkpointed = serde_json::from_slice(&answer.body).map_err(|_not_json| nonsense(answer.text()))?;
        let [path] = made.items.as_slice() else { return Err(nonsense(answer.text())) };
        let name = archive_name(&self.config.checkpoints, path)?;
        let opened = open_in(&self.config.checkpoints, &name).map_err(|error| cannot_open(path, &error))?;
        Ok((name, opened))
    }

    async fn ask(&self, method: Method, path: &str, deadline: Duration, max_bytes: usize) -> Outcome<Answer> {
        let token = match &self.config.token {
            None => None,
            Some(file) => Some(token(file)?),
        };
        self.endpoint
            .ask(method, path, token.as_deref(), deadline, max_bytes)
            .await
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &HttpError) -> Failure {
        let url = &self.config.url;
        match error {
            HttpError::Connect(_) => Failure::new(502, "kubelet-unreachable", format!("the kubelet at {url} cannot be reached"))
                .hint("--kubelet-url says where it is, or `none`"),
            // What is not TLS at all: the port for reading.
            HttpError::Tls(error) if error.to_string().contains("InvalidContentType") => {
                Failure::new(502, "kubelet-unreachable", format!("what listens at {url} does not speak TLS"))
                    .hint("10255 is the port for reading; --kubelet-url is https://…:10250")
            }
            HttpError::Tls(_) => {
                Failure::new(502, "kubelet-tls", format!("the kubelet at {url} shows a certificate that is not believed")).hint(
                    "--kubelet-ca names its authority, or its own certificate (/var/lib/kubelet/pki/kubelet.crt); --kubelet-name its name",
                )
            }
            HttpError::TimedOut(_) => Failure::new(504, "runtime-timeout", "the kubelet did not answer in time"),
            _ => Failure::new(502, "kubelet-talks-nonsense", format!("the kubelet at {url} did not answer as one")),
        }
        .detail(error.to_string())
    }
}

fn path(container: &Container, timeout_seconds: u32) -> Outcome<String> {
    let namespace = checked_name(container.namespace.as_deref().unwrap_or_default())?;
    let pod = checked_name(container.pod.as_deref().unwrap_or_default())?;
    let name = checked_name(&container.name)?;
    Ok(format!("/checkpoint/{namespace}/{pod}/{name}?timeout={timeout_seconds}"))
}

fn token(file: &Path) -> Outcome<String> {
    let unusable = |why: String| {
        Failure::new(500, "no-token", "the token for the kubelet cannot be used")
            .detail(why)
            .hint("--kubelet-token names the file")
    };
    let bytes = disk::read_named(file, 64 << 10).map_err(|error| unusable(error.to_string()))?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    let is_good = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_good.then_some(text).ok_or_else(|| unusable("it is not one line of text".to_owned()))
}

fn containers(pod: Pod) -> Vec<Container> {
    let Metadata { name: pod_name, namespace, labels } = pod.metadata;
    let (specs, statuses) = (pod.spec.containers, pod.status);
    let all = statuses.container_statuses.into_iter();
    let all = all.chain(statuses.init_container_statuses).chain(statuses.ephemeral_container_statuses);
    let mut found = Vec::new();
    for status in all {
        // One that was never started has no id, and nothing to freeze.
        let Some((engine, id)) = status.container_id.split_once("://") else { continue };
        let state = match status.state.keys().next().map(String::as_str) {
            Some("running") => ContainerState::Running,
            Some("terminated") => ContainerState::Exited,
            Some("waiting") => ContainerState::Created,
            _ => ContainerState::Unknown,
        };
        let started = status.state.get("running").and_then(|running| running.get("startedAt")?.as_str()?.parse().ok());
        let probe = specs.iter().find(|spec| spec.name == status.name).and_then(|spec| spec.liveness_probe.as_ref());
        let caution = probe.and_then(caution);
        found.push(Container {
            id: id.to_owned(),
            name: status.name,
            pod: Some(pod_name.clone()),
            namespace: Some(namespace.clone()),
            image: Some(status.image).filter(|image| !image.is_empty()),
            image_id: Some(status.image_id).filter(|image| !image.is_empty()),
            engine: engine.to_owned(),
            source: SourceKind::Kubelet,
            state,
            created: started.filter(|at: &Timestamp| *at != Timestamp::UNIX_EPOCH),
            pid: None,
            labels: labels.clone(),
            problem: (state != ContainerState::Running).then(|| "it does not run".to_owned()),
            caution,
        });
    }
    found
}

/// A kubelet goes on asking a frozen container whether it lives, and kills it in the middle of the dump.
fn caution(probe: &Probe) -> Option<String> {
    let seconds = u64::from(probe.period_seconds) * u64::from(probe.failure_threshold);
    probe.exec.is_none().then(|| {
        format!(
            "its liveness probe goes on while it is frozen: a connection of it may spoil the dump (skip-in-flight), and a freeze of more than about {seconds} s has the kubelet kill it"
        )
    })
}

/// The name of the archive in a path that the kubelet gave: it must lie in its directory, and nowhere else.
fn archive_name(dir: &Path, path: &str) -> Outcome<String> {
    let outside = || {
        Failure::new(502, "path-outside", "the kubelet names an archive outside its directory, which is not opened")
            .detail(path.to_owned())
            .hint(format!("archives are expected in {}; --checkpoint-dir says another place", dir.display()))
    };
    let name = dir.to_str().and_then(|dir| path.strip_prefix(dir.trim_end_matches('/'))?.strip_prefix('/'));
    let is_plain = |name: &&str| {
        name.starts_with("checkpoint-") && name.ends_with(".tar") && name.len() <= 255 && !name.contains(['/', '\0'])
    };
    name.filter(is_plain).map(str::to_owned).ok_or_else(outside)
}

pub(super) fn cannot_open(path: &str, error: &io::Error) -> Failure {
    Failure::new(502, "archive-missing", "the archive that the kubelet made cannot be opened")
        .detail(format!("{path}: {error}"))
        .hint("in a pod the agent needs the kubelet's directory of checkpoints mounted at the same path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_outside_the_directory_is_refused_in_every_dress() {
        let dir = Path::new("/var/lib/kubelet/checkpoints");
        let good = "/var/lib/kubelet/checkpoints/checkpoint-counter-node-a_default-counter-2026-11-23T14:42:13Z.tar";
        assert!(archive_name(dir, good).is_ok());
        for bad in [
            "/etc/shadow",
            "/var/lib/kubelet/checkpoints/../pki/checkpoint-x.tar",
            "/var/lib/kubelet/checkpoints/sub/checkpoint-x.tar",
            "/var/lib/kubelet/checkpoints/./checkpoint-x.tar",
            "/var/lib/kubelet/checkpoints//checkpoint-x.tar/..",
            "/var/lib/kubelet/checkpointsx/checkpoint-x.tar",
            "/var/lib/kubelet/checkpoints/other.tar",
            "/var/lib/kubelet/checkpoints/checkpoint-x\0.tar",
            "checkpoint-x.tar",
            "",
        ] {
            let refused = archive_name(dir, bad).map(|name| dir.join(name));
            assert!(refused.is_err(), "{bad:?} gives {refused:?}");
        }
    }

    #[test]
    fn pods_become_containers_and_those_without_an_id_none() {
        let text = r#"{"kind":"PodList","items":[{"metadata":{"name":"counter-node-a","namespace":"default","labels":{"app":"c"}},
          "spec":{"containers":[
            {"name":"counter","livenessProbe":{"httpGet":{"port":80},"periodSeconds":2,"failureThreshold":2}},
            {"name":"done","livenessProbe":{"exec":{"command":["true"]}}}]},"status":{"containerStatuses":[
            {"name":"counter","containerID":"cri-o://aa","image":"reg/counter:1","imageID":"","state":{"running":{"startedAt":"2026-11-23T14:42:13Z"}}},
            {"name":"done","containerID":"cri-o://bb","state":{"terminated":{"exitCode":0}}},
            {"name":"waits","state":{"waiting":{"reason":"ErrImagePull"}}}]}},
          {"metadata":{"name":"empty"}}]}"#;
        let pods: PodList = serde_json::from_str(text).unwrap();
        let found: Vec<Container> = pods.items.into_iter().flat_map(containers).collect();
        assert!(found[0].caution.as_ref().is_some_and(|caution| caution.contains("more than about 4 s")));
        assert_eq!(found[1].caution, None, "a command fails otherwise");
        let found: Vec<_> =
            found.iter().map(|c| (c.name.as_str(), c.id.as_str(), c.state, c.problem.is_some())).collect();
        assert_eq!(
            found,
            [("counter", "aa", ContainerState::Running, false), ("done", "bb", ContainerState::Exited, true)]
        );
    }
}
