//! Who on the node makes checkpoints: the kubelet, the runtime's CRI socket, Podman, Docker.
//!
//! | module | asks |
//! |---|---|
//! | [`kubelet`], [`kubelet_errors`], [`late`] | the kubelet; what its errors mean; archives that appear unannounced |
//! | [`failed_dump`], [`host_file`] | criu's log of a dump that failed, where the runtime left it; files that a runtime names |
//! | [`cri`] | CRI-O or containerd |
//! | [`podman`] | Podman |
//! | [`docker`], [`docker_errors`] | Docker; what its errors mean |
//!
//! Nothing that they say is believed further than it must be: answers are bounded, paths are checked, names are checked before
//! they go into a URL, and whether a container runs or is frozen is looked up in its cgroup.

pub mod cri;
pub mod docker;
pub mod docker_errors;
pub mod failed_dump;
pub mod host_file;
pub mod kubelet;
pub mod kubelet_errors;
pub mod late;
pub mod podman;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::acquire::wire::{Container, ContainerState, Containers, Source, SourceKind};

use super::config::{SERVICE_ACCOUNT, SourcesConfig};
use super::problem::{Failure, Outcome};
use super::processes;

use cri::Cri;
use docker::{Docker, Engine};
use kubelet::Kubelet;
use podman::Podman;

/// We wait so much longer than the runtime is given: hanging up loses the archive.
pub const LONGER: Duration = Duration::from_secs(60);
/// A list is good for so long: many workstations may ask at once.
const LIST_LIFE: Duration = Duration::from_secs(1);
/// Listing takes no longer, whoever hangs.
const LIST_DEADLINE: Duration = Duration::from_secs(20);

/// All that are configured.
#[derive(Debug)]
pub struct Sources {
    /// The kubelet.
    pub kubelet: Option<Kubelet>,
    /// CRI-O, containerd.
    pub cri: Vec<Cri>,
    /// Podman.
    pub podman: Option<Podman>,
    /// Docker.
    pub docker: Option<Docker>,
    listed: Mutex<Option<(Instant, Containers)>>,
}

impl Sources {
    /// Those that the operator named, and those that are where they usually are.
    ///
    /// # Errors
    /// A certificate or URL of the kubelet cannot be used.
    pub fn new(config: &SourcesConfig) -> anyhow::Result<Sources> {
        Ok(Sources {
            kubelet: config.kubelet.as_ref().map(Kubelet::new).transpose()?,
            cri: config.cri.iter().map(|path| Cri::new(path.clone())).collect(),
            podman: config.podman.clone().map(Podman::new),
            docker: config.docker.clone().map(Docker::new),
            listed: Mutex::default(),
        })
    }

    /// Sockets of CRI-O and containerd that are there.
    pub fn cri_sockets(&self) -> Vec<PathBuf> {
        self.cri.iter().filter(|cri| cri.is_there()).map(|cri| cri.socket().to_owned()).collect()
    }

    /// Each with what it says of itself. A socket that is not there is no source.
    pub async fn describe(&self) -> Vec<Source> {
        let mut found = Vec::new();
        if let Some(kubelet) = &self.kubelet {
            found.push(source(SourceKind::Kubelet, kubelet.address(), kubelet.probe().await));
        }
        for cri in self.cri.iter().filter(|cri| cri.is_there()) {
            found.push(source(SourceKind::Cri, cri.address(), cri.version().await.map(Some)));
        }
        if let Some(podman) = self.podman.as_ref().filter(|podman| podman.is_there()) {
            found.push(source(SourceKind::Podman, podman.address(), podman.version().await.map(Some)));
        }
        if let Some(docker) = self.docker.as_ref().filter(|docker| docker.is_there()) {
            found.extend(of_docker(docker.address(), docker.engine().await));
        }
        found.push(Source {
            kind: SourceKind::Proc,
            address: "/proc".to_owned(),
            version: None,
            ready: rustix::process::geteuid().is_root(),
            problem: (!rustix::process::geteuid().is_root())
                .then(|| "the agent does not run as root, and cannot read other processes".to_owned()),
        });
        found
    }

    /// All containers, not older than a second.
    pub async fn containers(&self) -> Containers {
        let mut listed = self.listed.lock().await;
        if let Some((at, containers)) = &*listed
            && at.elapsed() < LIST_LIFE
        {
            return containers.clone();
        }
        let containers = self.list().await;
        *listed = Some((Instant::now(), containers.clone()));
        containers
    }

    async fn list(&self) -> Containers {
        let mut found = Containers::default();
        let mut by_id = BTreeMap::<String, Container>::new();
        let mut add = |listed: Outcome<Vec<Container>>, who: String| match listed {
            Err(failure) => {
                let hint = failure.problem.hint.clone().map(|hint| format!(": {hint}")).unwrap_or_default();
                found.issues.push(format!("{who}: {failure}{hint}"));
            }
            Ok(list) => {
                for container in list {
                    match by_id.get_mut(&container.id) {
                        None => {
                            by_id.insert(container.id.clone(), container);
                        }
                        Some(known) => complete(known, container),
                    }
                }
            }
        };
        if let Some(kubelet) = &self.kubelet {
            add(in_time(kubelet.list()).await, "the kubelet".to_owned());
        }
        for cri in self.cri.iter().filter(|cri| cri.is_there()) {
            add(in_time(cri.list()).await, cri.address());
        }
        if let Some(podman) = self.podman.as_ref().filter(|podman| podman.is_there()) {
            add(in_time(podman.list()).await, podman.address());
        }
        if let Some(docker) = self.docker.as_ref().filter(|docker| docker.is_there()) {
            let listed = in_time(docker.list()).await;
            if !is_podman(&listed) {
                add(listed, docker.address());
            }
        }
        found.containers = by_id.into_values().collect();
        let looked = tokio::task::spawn_blocking(move || {
            match processes::by_container() {
                Ok(pids) => found.containers.iter_mut().for_each(|container| look_at(container, &pids)),
                Err(error) => found.issues.push(format!("/proc: {error}")),
            }
            found
        });
        let mut found = looked.await.unwrap_or_default();
        found
            .containers
            .sort_by(|a, b| (&a.namespace, &a.pod, &a.name, &a.id).cmp(&(&b.namespace, &b.pod, &b.name, &b.id)));
        found
    }

    /// The one container whose id is, or begins with, these digits.
    ///
    /// # Errors
    /// There is none, or several.
    pub async fn find(&self, id: &str) -> Outcome<Container> {
        let is_id = (4..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(Failure::new(
                400,
                "bad-container",
                "a container is named by its id, or the first 4 or more digits of it",
            ));
        }
        let mut found = self.containers().await.containers;
        found.retain(|container| container.id.starts_with(id));
        match (found.pop(), found.is_empty()) {
            (Some(container), true) => Ok(container),
            (None, _) => {
                Err(Failure::new(404, "no-such-container", format!("there is no container {id} on this node"))
                    .hint("GET /v1/containers lists them, and says which runtime could not be asked"))
            }
            _ => Err(Failure::new(409, "ambiguous", format!("several containers begin with {id}"))),
        }
    }
}

async fn in_time<T>(listing: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let late = |_late| Failure::new(504, "source-hangs", format!("no answer within {LIST_DEADLINE:?}"));
    tokio::time::timeout(LIST_DEADLINE, listing).await.map_err(late)?
}

fn source(kind: SourceKind, address: String, probed: Outcome<Option<String>>) -> Source {
    match probed {
        Ok(version) => Source { kind, address, version, ready: true, problem: None },
        Err(failure) => {
            let hint = failure.problem.hint.clone().map(|hint| format!(": {hint}")).unwrap_or_default();
            Source { kind, address, version: None, ready: false, problem: Some(format!("{failure}{hint}")) }
        }
    }
}

/// Docker, unless it is Podman, which has a socket of its own.
fn of_docker(address: String, engine: Outcome<Engine>) -> Option<Source> {
    if is_podman(&engine) {
        return None;
    }
    let is_off = engine.as_ref().is_ok_and(|engine| !engine.is_experimental);
    let said = source(SourceKind::Docker, address, engine.map(|engine| Some(engine.to_string())));
    Some(match is_off {
        true => Source { ready: false, problem: Some(docker_errors::not_experimental()), ..said },
        false => said,
    })
}

fn is_podman<T>(asked: &Outcome<T>) -> bool {
    asked.as_ref().is_err_and(|failure| failure.problem.code == docker::IS_PODMAN)
}

/// What one source does not say of a container, another may.
fn complete(known: &mut Container, other: Container) {
    known.created = known.created.or(other.created);
    known.image_id = known.image_id.take().or(other.image_id);
    known.image = known.image.take().or(other.image);
    if known.state == ContainerState::Unknown {
        known.state = other.state;
    }
    // A kubelet knows it by way of cri-dockerd, which makes no checkpoints.
    if other.source == SourceKind::Docker && known.engine == other.engine {
        known.source = other.source;
        known.problem = known.problem.take().or(other.problem);
    }
    for (name, value) in other.labels {
        known.labels.entry(name).or_insert(value);
    }
}

/// Why the container of the agent is not frozen.
pub const OWN: &str = "the agent itself runs in it, and would stand still in the middle of the dump";

/// Whether the agent runs in it: in a cgroup namespace its own cgroup does not say, but pods have their name as host name,
/// containers of Podman and Docker the beginning of their id.
fn is_own(container: &Container, pids: &[u32], host_name: &str) -> bool {
    let is_short_id = host_name.len() == 12 && host_name.bytes().all(|byte| byte.is_ascii_hexdigit());
    pids.contains(&std::process::id())
        || (is_short_id && container.id.starts_with(host_name))
        || (Path::new(SERVICE_ACCOUNT).exists() && container.pod.as_deref() == Some(host_name))
}

/// What its processes tell, whatever the runtime says.
fn look_at(container: &mut Container, pids: &processes::ByContainer) {
    let pids = pids.get(&container.id).map(Vec::as_slice).unwrap_or_default();
    if is_own(container, pids, &rustix::system::uname().nodename().to_string_lossy()) {
        container.problem = Some(OWN.to_owned());
    }
    if pids.is_empty() {
        return;
    }
    container.pid = container.pid.filter(|pid| pids.contains(pid)).or_else(|| processes::root_of(pids));
    let frozen = pids.iter().any(|pid| processes::is_frozen(*pid) == Some(true));
    if frozen {
        container.state = ContainerState::Frozen;
        container.problem = Some(format!("it is frozen: {}", cure(container)));
    }
}

/// How a container that stayed frozen is made to go on.
pub fn cure(container: &Container) -> String {
    let id = &container.id;
    match container.engine.as_str() {
        "containerd" => format!("`ctr -n k8s.io tasks resume {id}` (of k3s `k3s ctr …`) lets it go on"),
        "podman" => format!(
            "`podman unpause {id}` lets it go on; where Podman says that it is not paused, `crun resume {id}` (or `runc resume {id}`)"
        ),
        "docker" => docker_errors::cure(id),
        "cri-o" => format!("it goes on when the dump is done; if not, `crun resume {id}` (or `runc resume {id}`)"),
        _ => "write THAWED to freezer.state, or 0 to cgroup.freeze, of its cgroup".to_owned(),
    }
}

/// Names go into URLs only when they are such as Kubernetes allows.
pub fn checked_name(name: &str) -> Outcome<&str> {
    let is_good = (1..=253).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        && !matches!(name, "." | "..");
    let bad = || Failure::new(502, "bad-name", "a name that the runtime gave cannot be one").detail(name.to_owned());
    is_good.then_some(name).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_of_a_pod_that_docker_has_too_is_asked_of_docker() {
        let of = |source, name: &str| Container {
            id: "ab12".to_owned(),
            name: name.to_owned(),
            pod: None,
            namespace: None,
            image: None,
            image_id: None,
            engine: "docker".to_owned(),
            source,
            state: ContainerState::Running,
            created: None,
            pid: None,
            labels: BTreeMap::new(),
            problem: (source == SourceKind::Docker).then(docker_errors::not_experimental),
            caution: None,
        };
        let mut known = of(SourceKind::Kubelet, "app");
        complete(&mut known, of(SourceKind::Docker, "k8s_app"));
        assert_eq!((known.source, known.name.as_str()), (SourceKind::Docker, "app"));
        assert!(known.problem.unwrap().contains("experimental"));
    }

    #[test]
    fn agent_knows_its_own_container() {
        let id = "0123456789ab".repeat(5);
        let mut container: Container = serde_json::from_value(serde_json::json!({
            "id": id, "name": "agent", "engine": "podman", "source": "podman", "state": "running", "labels": {},
        }))
        .unwrap();
        assert!(is_own(&container, &[1, std::process::id()], "node-a"));
        assert!(is_own(&container, &[], "0123456789ab") && !is_own(&container, &[1], "node-a"));
        let pids = processes::ByContainer::from([(id, vec![std::process::id()])]);
        look_at(&mut container, &pids);
        assert_eq!(container.problem.as_deref(), Some(OWN));
    }

    #[test]
    fn name_that_would_change_a_url_is_refused() {
        assert_eq!(checked_name("web-5d4f.a_b"), Ok("web-5d4f.a_b"));
        for bad in ["", ".", "..", "a/b", "a?b", "a b", "a%2f", "a\r\nb", "ä", &"a".repeat(254)] {
            assert!(checked_name(bad).is_err(), "{bad:?}");
        }
    }
}
