//! What the engine says of the container, and what the inventory says of the dump.

use std::fmt;

use crate::base::Text;
use crate::decode::Arch;

/// Who laid the files out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Podman's export.
    Podman,
    /// CRI-O's archive.
    CriO,
    /// containerd's archive.
    Containerd,
    /// Docker's checkpoint directory, or the archive that the agent makes of one.
    Docker,
    /// An image directory of runc, crun or youki.
    Runc,
    /// Bare CRIU images.
    Criu,
    /// A checkpoint carried as an OCI image.
    OciImage,
    /// Not dumped by CRIU: read out of /proc by the node's agent.
    Collection,
}

impl Layout {
    /// The word of the JSON (`cri-o`, `oci-image`).
    pub fn word(self) -> &'static str {
        match self {
            Layout::Podman => "podman",
            Layout::CriO => "cri-o",
            Layout::Containerd => "containerd",
            Layout::Docker => "docker",
            Layout::Runc => "runc",
            Layout::Criu => "criu",
            Layout::OciImage => "oci-image",
            Layout::Collection => "collection",
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// The container as engine, spec and inventory describe it. `None` where they do not.
#[derive(Clone, Debug)]
pub struct Container {
    /// Who laid the files out.
    pub layout: Layout,
    /// Of a collection: its processes stood still while they were read.
    pub is_held: bool,
    /// Short name of the container (`counter`).
    pub name: Option<String>,
    /// Engine's id, 64 hex digits.
    pub id: Option<String>,
    /// Image reference as the user knows it.
    pub image: Option<String>,
    /// Image id or digest.
    pub image_id: Option<String>,
    /// Runtime (`crun`, `runc`, `io.containerd.runc.v2`).
    pub runtime: Option<String>,
    /// Engine (`Podman`, `CRI-O`, `containerd`, `Docker`).
    pub engine: Option<&'static str>,
    /// Release of the engine (`28.5.2`).
    pub engine_version: Option<String>,
    /// Kubernetes pod.
    pub pod: Option<String>,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Kubernetes pod uid.
    pub pod_uid: Option<String>,
    /// Host name inside the container.
    pub hostname: Option<String>,
    /// RFC 3339.
    pub created: Option<String>,
    /// RFC 3339.
    pub checkpointed: Option<String>,
    /// RFC 3339: when the container was itself restored from a checkpoint.
    pub restored: Option<String>,
    /// Whether the engine says that this container was itself restored.
    pub was_restored: Option<bool>,
    /// Annotations and labels in the order of their names.
    pub annotations: Vec<(String, String)>,
    /// Labels, where the engine keeps them apart.
    pub labels: Vec<(String, String)>,
    /// Networks that the engine attached.
    pub networks: Vec<EngineNetwork>,
    /// Bind mounts that the engine made.
    pub bind_mounts: Vec<BindMount>,
    /// Architecture of the dump; `None` when no image tells.
    pub arch: Option<Arch>,
    /// CRIU's release, from the log or from annotations.
    pub criu_version: Option<String>,
    /// Lowest release whose fields are in the images, where the release itself is not recorded.
    pub criu_version_at_least: Option<&'static str>,
    /// Kernel release of the dumping machine, from the log.
    pub kernel: Option<String>,
    /// Command line of the container's first process, from the spec.
    pub args: Vec<Text>,
    /// `inventory.img`, what matters of it.
    pub inventory: Inventory,
}

/// One network that the engine attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineNetwork {
    /// Name of the network.
    pub name: String,
    /// Interface inside the container.
    pub interface: Option<String>,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
    /// Hardware address.
    pub mac: Option<String>,
    /// Gateway.
    pub gateway: Option<String>,
}

/// One bind mount of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindMount {
    /// Path on the node.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Mount options, or what the engine says of it.
    pub options: Vec<String>,
}

/// What `inventory.img` tells of the dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// 1 before CRIU 1.6, 2 since.
    pub img_version: Option<u32>,
    /// Host's cgroup set.
    pub root_cg_set: Option<u32>,
    /// `none`, `selinux`, `apparmor`.
    pub lsm: Option<&'static str>,
    /// Connections were closed in the dump.
    pub tcp_close: Option<bool>,
    /// How CRIU kept packets out meanwhile.
    pub network_lock: Option<&'static str>,
    /// CRIU's own id of this dump.
    pub run_id: Option<String>,
}

use serde_json::Value;

use crate::base::{Issue, Place, escape};
use crate::decode::names;
use crate::evidence::OciImage;

use super::docker::DockerNote;
use super::documents::{Document, DocumentKind};
use super::images::Images;

/// Largest JSON that is taken apart: a value of two bytes takes fifty in memory. Real ones have up to 100 KiB.
const MAX_JSON_BYTES: usize = 4 << 20;
/// Time that Go prints for "never".
const GO_ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The texts that describe a container, parsed.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    spec: Value,
    config: Value,
    status_dump: Value,
    status: Value,
    network: Value,
    bind_mounts: Value,
    has_descriptors: bool,
    has_status: bool,
    has_docker_options: bool,
    is_collection: bool,
    is_held: bool,
    docker: Option<DockerNote>,
    log_head: Option<String>,
}

impl Descriptions {
    /// Parses the documents that are JSON; what does not parse is told by the document's own check.
    /// What the documents say; those that are larger than any engine writes are left to the reader, with an issue.
    pub(super) fn parse(documents: &[Document], issues: &mut Vec<Issue>) -> Descriptions {
        let mut parsed = Descriptions::default();
        for document in documents {
            let base = document.name.rsplit('/').next().unwrap_or_default();
            let mut json = || {
                if MAX_JSON_BYTES < document.bytes.len() {
                    let what =
                        format!("has {} bytes, and is not read as JSON over {MAX_JSON_BYTES}", document.bytes.len());
                    issues.push(Issue::new(Place::member(document.name.as_str()), what));
                    return Value::Null;
                }
                serde_json::from_slice::<Value>(&document.bytes).unwrap_or(Value::Null)
            };
            match base {
                "spec.dump" => parsed.spec = json(),
                "config.dump" => parsed.config = json(),
                "status.dump" => parsed.status_dump = json(),
                "status" => {
                    parsed.status = json();
                    parsed.has_status = true;
                }
                "network.status" => parsed.network = json(),
                "bind.mounts" => parsed.bind_mounts = json(),
                "descriptors.json" => parsed.has_descriptors = true,
                "collection.json" => {
                    let json = json();
                    let schema = text(json.get("schema")).unwrap_or_default();
                    parsed.is_collection = schema.starts_with("cryoscope.collection/");
                    parsed.is_held = json.get("held").and_then(Value::as_bool) == Some(true);
                }
                "docker.json" => {
                    let json = json();
                    parsed.docker = DockerNote::parse(json, &document.name, issues);
                }
                "config.json" => {
                    let json = json();
                    // A runc bundle's configuration is a specification; Docker's is options of the checkpoint.
                    if json.get("ociVersion").is_some() {
                        if parsed.spec.is_null() {
                            parsed.spec = json;
                        }
                    } else if !json.is_null() {
                        parsed.has_docker_options = true;
                    }
                }
                _ if document.kind == DocumentKind::CriuLog && parsed.log_head.is_none() => {
                    let head = document.bytes.get(..document.bytes.len().min(8192)).unwrap_or_default();
                    parsed.log_head = Some(escape(head).into_owned());
                }
                _ => {}
            }
        }
        parsed
    }

    fn annotation(&self, key: &str) -> Option<String> {
        text(self.spec.get("annotations")?.get(key))
    }

    fn layout(&self, images_dir: &[u8], is_oci: bool) -> Layout {
        let manager = self.annotation("io.container.manager");
        let has_annotation = |prefix: &str| {
            let annotations = self.spec.get("annotations").and_then(Value::as_object);
            annotations.is_some_and(|annotations| annotations.keys().any(|key| key.starts_with(prefix)))
        };
        if is_oci {
            Layout::OciImage
        } else if self.is_collection {
            Layout::Collection
        } else if self.docker.is_some() {
            Layout::Docker
        } else if manager.as_deref() == Some("cri-o") || has_annotation("io.kubernetes.cri-o.") {
            Layout::CriO
        } else if has_annotation("io.kubernetes.cri.") || (self.has_status && !self.config.is_null()) {
            Layout::Containerd
        } else if manager.as_deref() == Some("libpod") || !self.config.is_null() {
            Layout::Podman
        } else if self.has_docker_options || images_dir.split(|byte| *byte == b'/').any(|part| part == b"checkpoints") {
            Layout::Docker
        } else if self.has_descriptors {
            Layout::Runc
        } else {
            Layout::Criu
        }
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn time(value: Option<&Value>) -> Option<String> {
    text(value).filter(|time| time != GO_ZERO_TIME)
}

impl Container {
    /// Joins all that is said of the container.
    pub(super) fn build(
        described: &Descriptions,
        images: &Images,
        arch: Option<Arch>,
        images_dir: &[u8],
        oci: Option<&OciImage>,
    ) -> Container {
        let layout = described.layout(images_dir, oci.is_some());
        let config = &described.config;
        let docker = described.docker.as_ref();
        let engine_name = described.annotation("io.container.manager");
        let oci_annotation = |suffix: &str| {
            let prefixes = ["org.criu.checkpoint.", "io.podman.annotations.checkpoint."];
            oci.and_then(|oci| {
                prefixes.iter().find_map(|prefix| oci.annotation(&format!("{prefix}{suffix}")).map(str::to_owned))
            })
        };
        let engine_layout = if layout == Layout::OciImage { described.layout(images_dir, false) } else { layout };
        let engine = match engine_layout {
            Layout::Podman => Some("Podman"),
            Layout::CriO => Some("CRI-O"),
            Layout::Containerd => Some("containerd"),
            Layout::Docker => Some("Docker"),
            Layout::Runc | Layout::Criu | Layout::OciImage => match engine_name.as_deref() {
                Some("libpod") => Some("Podman"),
                Some("cri-o") => Some("CRI-O"),
                _ => None,
            },
            Layout::Collection => None,
        };
        let full_name = text(config.get("name"));
        let name = described
            .annotation("io.kubernetes.container.name")
            .or_else(|| described.annotation("io.kubernetes.cri.container-name"))
            .or_else(|| text(described.status_dump.pointer("/metadata/name")))
            .or_else(|| full_name.as_deref().map(|name| short_name(name, engine_layout)))
            .or_else(|| docker?.name())
            .or_else(|| oci_annotation("container.name"));
        let pod = described
            .annotation("io.kubernetes.pod.name")
            .or_else(|| described.annotation("io.kubernetes.cri.sandbox-name"))
            .or_else(|| docker?.pod())
            .or_else(|| oci_annotation("pod.name"));
        let namespace = described
            .annotation("io.kubernetes.pod.namespace")
            .or_else(|| described.annotation("io.kubernetes.cri.sandbox-namespace"))
            .or_else(|| docker?.namespace())
            .or_else(|| oci_annotation("pod.namespace"));
        let pod_uid = described
            .annotation("io.kubernetes.pod.uid")
            .or_else(|| described.annotation("io.kubernetes.cri.sandbox-uid"))
            .or_else(|| docker?.pod_uid())
            .or_else(|| oci_annotation("pod.uid"));
        let image = text(config.get("rootfsImageName"))
            .or_else(|| text(config.get("RawImageName")))
            .or_else(|| described.annotation("io.kubernetes.cri.image-name"))
            .or_else(|| described.annotation("io.kubernetes.cri-o.ImageName"))
            .or_else(|| text(config.get("rootfsImage")))
            .or_else(|| docker?.image())
            .or_else(|| oci_annotation("rootfsImageName"));
        let image_id = text(config.get("rootfsImageID"))
            .or_else(|| text(config.get("rootfsImageRef")))
            .or_else(|| described.annotation("io.kubernetes.cri-o.ImageRef"))
            .or_else(|| docker?.image_id())
            .or_else(|| oci_annotation("rootfsImageID"));
        let uts = images.utsns.values().flat_map(|records| &records.records).next();
        let hostname = text(described.spec.get("hostname"))
            .or_else(|| docker?.hostname())
            .or_else(|| uts.map(|record| escape(&record.value.nodename).into_owned()).filter(|name| !name.is_empty()));
        let (log_version, kernel) = described.log_head.as_deref().map(log_versions).unwrap_or_default();
        let args = match (described.spec.pointer("/process/args").and_then(Value::as_array), docker) {
            (None, Some(docker)) => docker.args(),
            (args, _) => args.into_iter().flatten().filter_map(Value::as_str).map(Text::from).collect(),
        };
        Container {
            layout,
            is_held: described.is_held,
            name,
            id: text(config.get("id"))
                .or_else(|| described.annotation("io.kubernetes.cri-o.ContainerID"))
                .or_else(|| docker?.id()),
            image,
            image_id,
            runtime: text(config.get("runtime"))
                .or_else(|| docker?.runtime())
                .or_else(|| oci_annotation("runtime.name")),
            engine,
            engine_version: docker.and_then(DockerNote::engine_version),
            pod,
            namespace,
            pod_uid,
            hostname,
            created: time(config.get("createdTime")).or_else(|| docker?.created()),
            checkpointed: time(config.get("checkpointedTime")).or_else(|| docker?.checkpointed.clone()),
            restored: time(config.get("restoredTime")),
            was_restored: config
                .get("restored")
                .and_then(Value::as_bool)
                .into_iter()
                .chain(described.status.get("Restore").and_then(Value::as_bool))
                .reduce(|config, status| config || status),
            annotations: string_pairs(described.spec.get("annotations")),
            labels: labels(described),
            networks: networks(described),
            bind_mounts: bind_mounts(described),
            arch,
            criu_version: log_version.or_else(|| oci_annotation("criu.version").map(|version| dotted(&version))),
            criu_version_at_least: images.criu_at_least().filter(|_| layout != Layout::Collection),
            kernel: kernel.or_else(|| oci_annotation("host.kernel")),
            args,
            inventory: inventory(images),
        }
    }
}

/// Short name out of the engine's long one: `k8s_counter_pod_ns_uid_0` of CRI-O, and the same
/// without `k8s_` of containerd. None of the parts may contain an underscore.
fn short_name(name: &str, layout: Layout) -> String {
    let parts: Vec<&str> = name.split('_').collect();
    match (layout, parts.as_slice()) {
        (Layout::CriO, ["k8s", container, _, _, _, _]) => (*container).to_owned(),
        (Layout::Containerd, [container, _, _, _, _]) => (*container).to_owned(),
        _ => name.to_owned(),
    }
}

fn string_pairs(object: Option<&Value>) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = object
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    pairs.sort();
    pairs
}

fn labels(described: &Descriptions) -> Vec<(String, String)> {
    let packed = described.annotation("io.kubernetes.cri-o.Labels");
    let unpacked = packed.and_then(|packed| serde_json::from_str::<Value>(&packed).ok());
    let of_docker = described.docker.as_ref().and_then(DockerNote::labels);
    let places = [unpacked.as_ref(), described.status_dump.get("labels"), described.config.get("labels"), of_docker];
    places.into_iter().map(string_pairs).find(|pairs| !pairs.is_empty()).unwrap_or_default()
}

fn networks(described: &Descriptions) -> Vec<EngineNetwork> {
    let mut networks = Vec::new();
    for (name, network) in described.network.as_object().into_iter().flatten() {
        for (interface, details) in network.get("interfaces").and_then(Value::as_object).into_iter().flatten() {
            let subnets = details.get("subnets").and_then(Value::as_array);
            let subnets = || subnets.into_iter().flatten();
            networks.push(EngineNetwork {
                name: name.clone(),
                interface: Some(interface.clone()),
                addresses: subnets().filter_map(|subnet| text(subnet.get("ipnet"))).collect(),
                mac: text(details.get("mac_address")),
                gateway: subnets().find_map(|subnet| text(subnet.get("gateway"))),
            });
        }
    }
    if let Some(docker) = &described.docker {
        networks.extend(docker.networks());
    }
    if networks.is_empty() {
        let addresses: Vec<String> =
            (0..8).map_while(|nr| described.annotation(&format!("io.kubernetes.cri-o.IP.{nr}"))).collect();
        if !addresses.is_empty() {
            networks.push(EngineNetwork { name: "pod".into(), addresses, ..EngineNetwork::default() });
        }
    }
    networks
}

fn bind_mounts(described: &Descriptions) -> Vec<BindMount> {
    let listed = described.bind_mounts.as_array().into_iter().flatten().filter_map(|mount| {
        let options = ["file_type", "permissions"].iter().filter_map(|key| match mount.get(key) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) if *key == "permissions" => Some(format!("{:#o}", number.as_u64()?)),
            _ => None,
        });
        Some(BindMount {
            source: text(mount.get("source"))?,
            destination: text(mount.get("destination"))?,
            options: options.collect(),
        })
    });
    let listed: Vec<BindMount> = listed.collect();
    if !listed.is_empty() {
        return listed;
    }
    if let (Some(docker), true) = (&described.docker, described.spec.is_null()) {
        return docker.bind_mounts();
    }
    let spec = described.spec.get("mounts").and_then(Value::as_array).into_iter().flatten();
    spec.filter_map(|mount| {
        let options: Vec<String> = mount
            .get("options")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let is_bind = mount.get("type").and_then(Value::as_str) == Some("bind")
            || options.iter().any(|option| option == "bind" || option == "rbind");
        is_bind.then_some(BindMount {
            source: text(mount.get("source"))?,
            destination: text(mount.get("destination"))?,
            options,
        })
    })
    .collect()
}

/// CRIU's release and the kernel's, from the first lines of the dump log.
fn log_versions(head: &str) -> (Option<String>, Option<String>) {
    let after = |mark: &str| head.lines().take(40).find_map(|line| line.split_once(mark).map(|(_, rest)| rest.trim()));
    let version = after("Version: ").and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
    let kernel = after("Running on ").and_then(|rest| {
        // "Running on HOST Linux RELEASE #1 SMP … x86_64"
        let words: Vec<&str> = rest.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "Linux")?;
        words.get(at.checked_add(1)?).map(|word| (*word).to_owned())
    });
    (version, kernel)
}

/// Podman's annotation has the release as one number: 40101 is 4.1.1.
fn dotted(version: &str) -> String {
    match version.parse::<u32>() {
        Ok(number) if number >= 10_000 => format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100),
        _ => version.to_owned(),
    }
}

fn inventory(images: &Images) -> Inventory {
    let Some(record) = images.inventory.values().flat_map(|records| &records.records).next() else {
        return Inventory::default();
    };
    let entry = &record.value;
    Inventory {
        img_version: Some(entry.img_version),
        root_cg_set: entry.root_cg_set,
        lsm: entry.lsmtype.and_then(|kind| ["none", "selinux", "apparmor"].get(usize::try_from(kind).ok()?).copied()),
        tcp_close: entry.tcp_close,
        network_lock: entry
            .network_lock_method
            .and_then(|method| names::NETWORK_LOCK_METHOD.value(Arch::default(), u64::from(method))),
        run_id: entry.dump_criu_run_id.as_ref().map(|id| escape(id).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_come_out_of_the_engines_long_ones() {
        assert_eq!(short_name("k8s_counter_web-0_default_uid_2", Layout::CriO), "counter");
        assert_eq!(short_name("counter_web-0_default_uid_2", Layout::Containerd), "counter");
        assert_eq!(short_name("my_counter", Layout::Podman), "my_counter");
    }

    #[test]
    fn releases_written_as_one_number_are_spelled_with_dots() {
        assert_eq!(dotted("40101"), "4.1.1");
        assert_eq!(dotted("4.2.1"), "4.2.1");
    }

    #[test]
    fn versions_are_read_from_the_log() {
        let head =
            "(00.000000) Version: 4.1.1 (gitid 0)\n(00.000000) Running on node-a Linux 6.12.1-cloud #1 SMP x86_64\n";
        assert_eq!(log_versions(head), (Some("4.1.1".into()), Some("6.12.1-cloud".into())));
        assert_eq!(log_versions(""), (None, None));
    }
}
