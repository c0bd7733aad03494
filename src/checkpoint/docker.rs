//! What Docker says of a container, out of `docker.json`, which the agent puts beside the images of Docker: see
//! `agent::docker_archive`. Docker itself writes nothing of it.

use serde_json::Value;

use crate::base::{Issue, Place, Text};

use super::container::{BindMount, EngineNetwork};

/// Schema, but for its number.
const SCHEMA: &str = "cryoscope.docker/";
/// Most words of what could not be read that become issues.
const MAX_NOT_READ: usize = 1000;
/// Most networks and mounts.
const MAX_LISTED: usize = 10_000;

/// The document, empty where there is none.
#[derive(Debug, Default)]
pub(super) struct DockerNote {
    version: Value,
    container: Value,
    /// RFC 3339.
    pub(super) checkpointed: Option<String>,
}

impl DockerNote {
    /// Takes the document apart; what it says was not read are issues.
    pub(super) fn parse(mut json: Value, member: &str, issues: &mut Vec<Issue>) -> Option<DockerNote> {
        let is_one = json.get("schema").and_then(Value::as_str).is_some_and(|schema| schema.starts_with(SCHEMA));
        if !is_one {
            return None;
        }
        let not_read = json.get("not_read").and_then(Value::as_array).into_iter().flatten();
        let not_read = not_read.filter_map(Value::as_str).take(MAX_NOT_READ);
        issues.extend(not_read.map(|what| Issue::new(Place::member(member), format!("could not be read: {what}"))));
        let checkpointed = text(json.get("checkpointed"));
        let mut take = |key: &str| json.get_mut(key).map(Value::take).unwrap_or_default();
        Some(DockerNote { version: take("version"), container: take("container"), checkpointed })
    }

    /// Of the engine.
    pub(super) fn engine_version(&self) -> Option<String> {
        text(self.version.get("Version"))
    }

    /// 64 hex digits.
    pub(super) fn id(&self) -> Option<String> {
        self.text("/Id")
    }

    /// In a pod the container's, else Docker's own.
    pub(super) fn name(&self) -> Option<String> {
        let own = || self.text("/Name").map(|name| name.trim_start_matches('/').to_owned());
        self.label("io.kubernetes.container.name").or_else(own)
    }

    pub(super) fn pod(&self) -> Option<String> {
        self.label("io.kubernetes.pod.name")
    }

    pub(super) fn namespace(&self) -> Option<String> {
        self.label("io.kubernetes.pod.namespace")
    }

    pub(super) fn pod_uid(&self) -> Option<String> {
        self.label("io.kubernetes.pod.uid")
    }

    pub(super) fn image(&self) -> Option<String> {
        self.text("/Config/Image")
    }

    pub(super) fn image_id(&self) -> Option<String> {
        self.text("/Image")
    }

    pub(super) fn runtime(&self) -> Option<String> {
        self.text("/HostConfig/Runtime")
    }

    /// RFC 3339.
    pub(super) fn created(&self) -> Option<String> {
        self.text("/Created")
    }

    pub(super) fn hostname(&self) -> Option<String> {
        self.text("/Config/Hostname")
    }

    pub(super) fn labels(&self) -> Option<&Value> {
        self.container.pointer("/Config/Labels")
    }

    /// Command line of the first process.
    pub(super) fn args(&self) -> Vec<Text> {
        let program = self.container.get("Path").and_then(Value::as_str);
        let args = self.container.get("Args").and_then(Value::as_array).into_iter().flatten();
        program.into_iter().chain(args.filter_map(Value::as_str)).map(Text::from).collect()
    }

    pub(super) fn networks(&self) -> Vec<EngineNetwork> {
        let networks = self.container.pointer("/NetworkSettings/Networks").and_then(Value::as_object);
        let network = |(name, said): (&String, &Value)| {
            let address = |address: &str, length: &str| {
                let address = text(said.get(address))?;
                Some(match said.get(length).and_then(Value::as_u64) {
                    Some(length) => format!("{address}/{length}"),
                    None => address,
                })
            };
            let addresses = [address("IPAddress", "IPPrefixLen"), address("GlobalIPv6Address", "GlobalIPv6PrefixLen")];
            EngineNetwork {
                name: name.clone(),
                interface: None,
                addresses: addresses.into_iter().flatten().collect(),
                mac: text(said.get("MacAddress")),
                gateway: text(said.get("Gateway")),
            }
        };
        networks.into_iter().flatten().take(MAX_LISTED).map(network).collect()
    }

    pub(super) fn bind_mounts(&self) -> Vec<BindMount> {
        let mounts = self.container.get("Mounts").and_then(Value::as_array).into_iter().flatten();
        let mount = |said: &Value| {
            let access =
                said.get("RW").and_then(Value::as_bool).map(|is_writable| if is_writable { "rw" } else { "ro" });
            let words = [text(said.get("Type")), text(said.get("Name")), text(said.get("Mode"))];
            Some(BindMount {
                source: text(said.get("Source"))?,
                destination: text(said.get("Destination"))?,
                options: words.into_iter().flatten().chain(access.map(str::to_owned)).collect(),
            })
        };
        mounts.take(MAX_LISTED).filter_map(mount).collect()
    }

    fn text(&self, pointer: &str) -> Option<String> {
        text(self.container.pointer(pointer))
    }

    fn label(&self, name: &str) -> Option<String> {
        text(self.labels()?.get(name))
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn container_is_described_as_docker_does() {
        let mut issues = Vec::new();
        let said = json!({"schema": "cryoscope.docker/1", "version": {"Version": "28.5.2"}, "checkpointed": "2026-11-30T02:36:19Z",
            "not_read": ["changed files: there is no overlay"],
            "container": {"Id": "ab", "Name": "/web", "Image": "sha256:1", "Path": "/bin/sh", "Args": ["-c", "x"],
                "Config": {"Image": "nginx:1", "Hostname": "h", "Labels": {"app": "web"}}, "HostConfig": {"Runtime": "runc"},
                "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2", "IPPrefixLen": 16, "Gateway": "172.17.0.1",
                    "GlobalIPv6Address": ""}}},
                "Mounts": [{"Type": "volume", "Name": "data", "Source": "/s", "Destination": "/d", "RW": false}]}});
        let note = DockerNote::parse(said, "docker.json", &mut issues).unwrap();
        assert_eq!((note.name().as_deref(), note.engine_version().as_deref()), (Some("web"), Some("28.5.2")));
        assert_eq!((note.image().as_deref(), note.image_id().as_deref()), (Some("nginx:1"), Some("sha256:1")));
        assert_eq!(note.args().len(), 3);
        let network = &note.networks()[0];
        assert_eq!(
            (network.addresses.join(" "), network.gateway.as_deref()),
            ("172.17.0.2/16".into(), Some("172.17.0.1"))
        );
        assert_eq!(note.bind_mounts()[0].options, ["volume", "data", "ro"]);
        assert_eq!(issues.len(), 1);
    }

    #[test]
    fn other_documents_and_wrong_types_say_nothing() {
        let mut issues = Vec::new();
        assert!(DockerNote::parse(json!({"schema": "other/1"}), "docker.json", &mut issues).is_none());
        assert!(DockerNote::parse(json!([1]), "docker.json", &mut issues).is_none());
        let odd = json!({"schema": "cryoscope.docker/1", "container": [7], "version": "x", "not_read": {"a": 1}});
        let note = DockerNote::parse(odd, "docker.json", &mut issues).unwrap();
        assert!(note.id().is_none() && note.name().is_none() && note.networks().is_empty() && note.args().is_empty());
        assert!(issues.is_empty());
    }
}
