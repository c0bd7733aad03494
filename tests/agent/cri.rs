//! What a kubelet asks of a container runtime, as far as the tests need it: a pod, a container in it, and a checkpoint that it
//! waits for no longer than it likes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost::Message;
use serde_json::Value;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::transport::{Endpoint, Uri};
use tonic_prost::ProstCodec;

/// A container is to be on the node's network.
const NODE: i32 = 2;
/// It is to be on a network of its pod's: then there must be a plug-in for that.
const POD: i32 = 0;
/// It sees its own processes.
const OWN: i32 = 1;

/// State of a container that runs.
pub(crate) const RUNNING: i32 = 1;

/// Messages are given by their published numbers.
macro_rules! message {
    ($name:ident { $($(#[$field:meta])* $key:ident: $type:ty,)* }) => {
        #[derive(Clone, PartialEq, Message)]
        pub(crate) struct $name { $($(#[$field])* pub(crate) $key: $type,)* }
    };
}

message!(PodName {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(uint32, tag = "4")]
    attempt: u32,
});
message!(Namespaces {
    #[prost(int32, tag = "1")]
    network: i32,
    #[prost(int32, tag = "2")]
    pid: i32,
});
message!(PodSecurity {
    #[prost(message, optional, tag = "1")] namespaces: Option<Namespaces>,
});
message!(PodLinux {
    #[prost(string, tag = "1")] cgroup_parent: String,
    #[prost(message, optional, tag = "2")] security: Option<PodSecurity>,
});
message!(Dns {
    #[prost(string, repeated, tag = "1")] servers: Vec<String>,
});
message!(Pod {
    #[prost(message, optional, tag = "1")] name: Option<PodName>,
    #[prost(string, tag = "3")] logs: String,
    #[prost(message, optional, tag = "4")] dns: Option<Dns>,
    #[prost(map = "string, string", tag = "6")] labels: std::collections::HashMap<String, String>,
    #[prost(message, optional, tag = "8")] linux: Option<PodLinux>,
});
message!(RunPod {
    #[prost(message, optional, tag = "1")] config: Option<Pod>,
    #[prost(string, tag = "2")] handler: String,
});
message!(Id {
    #[prost(string, tag = "1")]
    id: String,
});
message!(Name {
    #[prost(string, tag = "1")]
    name: String,
});
message!(Image {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "18")]
    as_asked: String,
});
message!(PullImage {
    #[prost(message, optional, tag = "1")] image: Option<Image>,
});
message!(Mount {
    #[prost(string, tag = "1")]
    inside: String,
    #[prost(string, tag = "2")]
    outside: String,
    #[prost(bool, tag = "3")]
    is_readonly: bool,
});
message!(Variable {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
});
message!(Security {
    #[prost(message, optional, tag = "3")] namespaces: Option<Namespaces>,
});
message!(Linux {
    #[prost(message, optional, tag = "2")] security: Option<Security>,
});
message!(Container {
    #[prost(message, optional, tag = "1")] name: Option<Name>,
    #[prost(message, optional, tag = "2")] image: Option<Image>,
    #[prost(string, repeated, tag = "3")] command: Vec<String>,
    #[prost(message, repeated, tag = "6")] environment: Vec<Variable>,
    #[prost(message, repeated, tag = "7")] mounts: Vec<Mount>,
    #[prost(string, tag = "11")] log: String,
    #[prost(message, optional, tag = "15")] linux: Option<Linux>,
});
message!(CreateContainer {
    #[prost(string, tag = "1")] pod: String,
    #[prost(message, optional, tag = "2")] config: Option<Container>,
    #[prost(message, optional, tag = "3")] pod_config: Option<Pod>,
});
message!(Checkpoint {
    #[prost(string, tag = "1")]
    container: String,
    #[prost(string, tag = "2")]
    location: String,
    #[prost(int64, tag = "3")]
    timeout: i64,
});
message!(Listed {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(int32, tag = "6")]
    state: i32,
});
message!(List {
    #[prost(message, repeated, tag = "1")] containers: Vec<Listed>,
});
message!(Nothing {});

/// Somebody who speaks to a runtime.
pub(crate) struct Cri {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Cri {
    pub(crate) fn new(socket: PathBuf) -> Cri {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Cri { socket, runtime }
    }

    /// Starts a container in a pod of its own, and gives its id.
    pub(crate) fn start(&self, (pod, container): (&str, &str), image: &str, script: &str, place: &Place) -> String {
        let namespaces = Namespaces { network: if place.has_own_network { POD } else { NODE }, pid: OWN };
        let config = Pod {
            name: Some(PodName {
                name: pod.into(),
                uid: format!("uid-of-{pod}"),
                namespace: "default".into(),
                attempt: 0,
            }),
            logs: place.logs.display().to_string(),
            dns: None,
            labels: [("app".to_owned(), container.to_owned())].into(),
            linux: Some(PodLinux {
                cgroup_parent: place.cgroup.clone(),
                security: Some(PodSecurity { namespaces: Some(namespaces.clone()) }),
            }),
        };
        let pod: Id = self.good("RunPodSandbox", RunPod { config: Some(config.clone()), handler: String::new() });
        let request = CreateContainer {
            pod: pod.id,
            config: Some(Container {
                name: Some(Name { name: container.into() }),
                image: Some(Image { name: image.into(), as_asked: image.into() }),
                command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
                mounts: place.mounts.clone(),
                environment: vec![Variable { key: "SECRET".into(), value: "RANDOM_1432_KEY".into() }],
                log: format!("{container}.log"),
                linux: Some(Linux { security: Some(Security { namespaces: Some(namespaces) }) }),
            }),
            pod_config: Some(config),
        };
        let created: Id = self.good("CreateContainer", request);
        let _started: Nothing = self.good("StartContainer", created.clone());
        created.id
    }

    pub(crate) fn pull(&self, image: &str) {
        let image = Image { name: image.into(), as_asked: image.into() };
        let _its_id: Id = self.good("PullImage", PullImage { image: Some(image) });
    }

    /// What crictl does for `runp --runtime HANDLER`, `create` and `start`: gives the container's id.
    pub(crate) fn restore(&self, handler: &str, pod: &Value, container: &Value) -> Result<String, String> {
        let config = pod_of(pod);
        let request = RunPod { config: Some(config.clone()), handler: handler.into() };
        let pod: Id = self.good("RunPodSandbox", request);
        let request = CreateContainer { pod: pod.id, config: Some(container_of(container)), pod_config: Some(config) };
        let created: Id = self.runtime.block_on(self.call("CreateContainer", request))?;
        let _started: Nothing = self.runtime.block_on(self.call("StartContainer", created.clone()))?;
        Ok(created.id)
    }

    /// Asks for a checkpoint with a deadline, as the kubelet does.
    pub(crate) fn checkpoint(&self, container: &str, location: &Path, deadline: Duration) -> Result<(), String> {
        let location = location.display().to_string();
        let mut request = tonic::Request::new(Checkpoint { container: container.to_owned(), location, timeout: 0 });
        request.set_timeout(deadline);
        let asked = self.runtime.block_on(async {
            let asked = tokio::time::timeout(deadline * 2, self.send("CheckpointContainer", request)).await;
            // The connection is told to hang up only while this runs.
            tokio::time::sleep(Duration::from_millis(200)).await;
            asked
        });
        asked.unwrap_or_else(|late| Err(late.to_string())).map(|_: Nothing| ())
    }

    /// What the runtime calls it.
    pub(crate) fn state(&self, container: &str) -> i32 {
        let list: List = self.good("ListContainers", Nothing {});
        list.containers.into_iter().find(|listed| listed.id == container).unwrap().state
    }

    /// Their ids.
    pub(crate) fn containers(&self) -> Vec<String> {
        let list: Result<List, String> = self.runtime.block_on(self.call("ListContainers", Nothing {}));
        list.unwrap_or_default().containers.into_iter().map(|listed| listed.id).collect()
    }

    /// Ends all pods with what is in them.
    pub(crate) fn end_pods(&self) {
        let list: Result<List, String> = self.runtime.block_on(self.call("ListPodSandbox", Nothing {}));
        for pod in list.unwrap_or_default().containers {
            for method in ["StopPodSandbox", "RemovePodSandbox"] {
                let _gone_already: Result<Nothing, String> =
                    self.runtime.block_on(self.call(method, Id { id: pod.id.clone() }));
            }
        }
    }

    #[track_caller]
    fn good<Q: Message + Default + 'static, A: Message + Default + 'static>(&self, method: &str, request: Q) -> A {
        self.runtime.block_on(self.call(method, request)).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, String>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.send(method, tonic::Request::new(request)).await
    }

    async fn send<Q, A>(&self, method: &str, request: tonic::Request<Q>) -> Result<A, String>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let socket = self.socket.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await;
        let mut client = Grpc::new(channel.map_err(|error| error.to_string())?);
        client.ready().await.map_err(|error| error.to_string())?;
        let service = if method == "PullImage" { "ImageService" } else { "RuntimeService" };
        let path = format!("/runtime.v1.{service}/{method}").try_into().unwrap();
        let answered = client.unary(request, path, ProstCodec::<Q, A>::default()).await;
        answered.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
    }
}

/// Where containers of a test belong.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) logs: PathBuf,
    pub(crate) cgroup: String,
    pub(crate) has_own_network: bool,
    pub(crate) mounts: Vec<Mount>,
}

/// A file for crictl, which refuses what it does not know.
fn pod_of(file: &Value) -> Pod {
    has_only(file, &["metadata", "dns_config", "log_directory", "labels", "linux"]);
    has_only(&file["metadata"], &["name", "namespace", "uid", "attempt"]);
    has_only(&file["dns_config"], &["servers"]);
    let labels = file["labels"].as_object().unwrap().iter();
    Pod {
        name: Some(PodName {
            name: string(&file["metadata"]["name"]),
            uid: string(&file["metadata"]["uid"]),
            namespace: string(&file["metadata"]["namespace"]),
            attempt: file["metadata"]["attempt"].as_u64().unwrap().try_into().unwrap(),
        }),
        logs: string(&file["log_directory"]),
        dns: Some(Dns { servers: file["dns_config"]["servers"].as_array().unwrap().iter().map(string).collect() }),
        labels: labels.map(|(name, label)| (name.clone(), string(label))).collect(),
        linux: Some(PodLinux {
            cgroup_parent: String::new(),
            security: Some(PodSecurity { namespaces: Some(namespaces_of(&file["linux"])) }),
        }),
    }
}

fn container_of(file: &Value) -> Container {
    has_only(file, &["metadata", "image", "log_path", "mounts", "linux"]);
    has_only(&file["metadata"], &["name", "attempt"]);
    has_only(&file["image"], &["image"]);
    let image = string(&file["image"]["image"]);
    let mounts = file["mounts"].as_array().unwrap().iter();
    Container {
        name: Some(Name { name: string(&file["metadata"]["name"]) }),
        image: Some(Image { name: image.clone(), as_asked: image }),
        mounts: mounts
            .map(|mount| {
                has_only(mount, &["container_path", "host_path", "readonly"]);
                let is_readonly = mount["readonly"].as_bool().unwrap();
                Mount { inside: string(&mount["container_path"]), outside: string(&mount["host_path"]), is_readonly }
            })
            .collect(),
        log: string(&file["log_path"]),
        linux: Some(Linux { security: Some(Security { namespaces: Some(namespaces_of(&file["linux"])) }) }),
        ..Container::default()
    }
}

fn namespaces_of(linux: &Value) -> Namespaces {
    has_only(linux, &["security_context"]);
    has_only(&linux["security_context"], &["namespace_options"]);
    let options = &linux["security_context"]["namespace_options"];
    has_only(options, &["pid"]);
    Namespaces { network: POD, pid: options["pid"].as_i64().unwrap().try_into().unwrap() }
}

fn has_only(value: &Value, keys: &[&str]) {
    let odd: Vec<&String> = value.as_object().unwrap().keys().filter(|key| !keys.contains(&key.as_str())).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

fn string(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
