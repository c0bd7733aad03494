//! Hooks, annotations, bind mounts, namespaces and rights of the specification.

use serde_json::Value;

use crate::base::escape_controls;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::documents::DocumentKind;

use super::{Found, Rule};

/// Largest specification that is read; real ones have up to 100 KiB.
const MAX_SPEC_BYTES: usize = 4 << 20;

/// Sources that control the host, whole trees with what lies in them. Engines' own directories below them are not meant:
/// see [`OWN`].
const CONTROLLING: [&str; 17] = [
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/lib",
    "/var/run",
    "/var/spool",
];

/// Directories of engines, in which they keep what they mount into containers.
const OWN: [&str; 15] = [
    "/run/containers/storage/",
    "/var/run/containers/storage/",
    "/run/containerd/io.containerd.",
    "/run/k0s/containerd/io.containerd.",
    "/run/k3s/containerd/io.containerd.",
    "/var/lib/containerd/io.containerd.",
    "/var/lib/k0s/containerd/io.containerd.",
    "/var/lib/k0s/kubelet/pods/",
    "/var/lib/rancher/k3s/agent/containerd/io.containerd.",
    "/var/lib/rancher/rke2/agent/containerd/io.containerd.",
    "/var/lib/containers/storage/",
    "/var/lib/docker/containers/",
    "/var/lib/docker/volumes/",
    "/var/lib/kubelet/pods/",
    "/run/user/",
];

/// Capabilities that are as good as root of the host.
const OF_HOST: [&str; 7] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_PTRACE",
    "CAP_SYS_BOOT",
    "CAP_DAC_READ_SEARCH",
    "CAP_BPF",
];

pub(super) fn look(checkpoint: &Checkpoint, found: &mut Found) {
    for document in &checkpoint.documents {
        let name = document.name.rsplit('/').next().unwrap_or_default();
        let is_spec = document.kind == DocumentKind::Spec || name == "config.json";
        if !(is_spec || name == "config.dump" || name == "bind.mounts") || MAX_SPEC_BYTES < document.bytes.len() {
            continue;
        }
        let Ok(json) = serde_json::from_slice::<Value>(&document.bytes) else { continue };
        if is_spec {
            spec(&document.name, &json, found);
        }
        bind_mounts(&document.name, &json, found);
    }
}

fn spec(name: &str, spec: &Value, found: &mut Found) {
    for (kind, list) in spec.get("hooks").and_then(Value::as_object).into_iter().flatten() {
        for (nr, hook) in list.as_array().into_iter().flatten().enumerate() {
            found.add(Rule::Hooks, format!("{name}:/hooks/{}/{nr}", escape_controls(kind)), || {
                format!("runs {}", clean(hook.get("path")))
            });
        }
    }
    for (key, value) in spec.get("annotations").and_then(Value::as_object).into_iter().flatten() {
        if key.starts_with("cdi.k8s.io/") {
            found.add(Rule::Cdi, format!("{name}:{}", escape_controls(key)), || {
                format!("asks for {}", clean(Some(value)))
            });
        }
    }
    if let Some(list) = spec.pointer("/linux/namespaces").and_then(Value::as_array) {
        let has = |kind: &str| list.iter().any(|namespace| namespace.get("type").and_then(Value::as_str) == Some(kind));
        for (kind, words) in [("pid", "processes"), ("mount", "mounts"), ("network", "network"), ("ipc", "IPC objects")]
        {
            if !has(kind) {
                found.add(Rule::HostAccess, format!("{name}:/linux/namespaces/{kind}"), || {
                    format!("the container has no {kind} namespace of its own: it sees the {words} of the host")
                });
            }
        }
    }
    let namespaces = spec.pointer("/linux/namespaces").and_then(Value::as_array);
    for namespace in namespaces.into_iter().flatten() {
        let path = namespace.get("path").and_then(Value::as_str).unwrap_or_default();
        if path.starts_with("/proc/1/") {
            let kind = clean(namespace.get("type"));
            found.add(Rule::HostAccess, format!("{name}:/linux/namespaces/{kind}"), || {
                format!("the container joins the {kind} namespace of the host's first process")
            });
        }
    }
    let bounding = spec.pointer("/process/capabilities/bounding").and_then(Value::as_array);
    for capability in bounding.into_iter().flatten().filter_map(Value::as_str) {
        if OF_HOST.contains(&capability) {
            found.add(Rule::HostAccess, format!("{name}:{capability}"), || {
                format!("the container may use {capability}, which on a host is as good as root")
            });
        }
    }
}

/// `mounts` of a specification, `bind.mounts` of CRI-O, a list of objects with `source`.
fn bind_mounts(name: &str, json: &Value, found: &mut Found) {
    let list = json.as_array().or_else(|| json.get("mounts").and_then(Value::as_array));
    for mount in list.into_iter().flatten() {
        let options = mount.get("options").and_then(Value::as_array);
        let is_bind = options.into_iter().flatten().filter_map(Value::as_str).any(|it| matches!(it, "bind" | "rbind"))
            || mount.get("type").and_then(Value::as_str) == Some("bind")
            || json.is_array();
        let Some(source) = mount.get("source").and_then(Value::as_str).filter(|_| is_bind) else { continue };
        if let Some(why) = controls_the_host(source) {
            let destination = clean(mount.get("destination"));
            found.add(Rule::BindSource, format!("{name}:{destination}"), || {
                format!("{} of the host is mounted there: {why}", escape_controls(source))
            });
        }
    }
}

fn controls_the_host(source: &str) -> Option<&'static str> {
    let mut parts = source.split('/').filter(|part| !part.is_empty() && *part != ".");
    if !source.starts_with('/') {
        return Some("not an absolute path");
    }
    if parts.clone().any(|part| part == "..") {
        return Some("it climbs by ..");
    }
    if parts.next().is_none() {
        return Some("all of it");
    }
    if source.ends_with(".sock") {
        return Some("a socket that a daemon of the host listens on");
    }
    let is_own = OWN.iter().any(|own| source.starts_with(own));
    let is_below = |tree: &str| source.strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    (!is_own && (CONTROLLING.into_iter().any(is_below) || source.trim_end_matches('/') == "/var"))
        .then_some("programs, settings or secrets of the host")
}

fn clean(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => escape_controls(text).into_owned(),
        Some(other) => escape_controls(&other.to_string()).into_owned(),
        None => "something without a name".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_control_the_host_are_told_from_those_of_engines() {
        for source in [
            "/",
            "//./",
            "/etc",
            "/etc/",
            "/etc/cron.d",
            "/var/run/docker.sock",
            "/srv/x/agent.sock",
            "/proc",
            "/var/lib/kubelet",
            "/var/lib/rancher/k3s/server/tls",
            "/data/../etc",
            "relative",
            "/root/.ssh",
            "/var",
        ] {
            assert!(controls_the_host(source).is_some(), "{source}");
        }
        for source in [
            "/var/lib/kubelet/pods/4bc614cd/etc-hosts",
            "/run/containers/storage/overlay-containers/5bd2/userdata/hostname",
            "/var/lib/rancher/k3s/agent/containerd/io.containerd.grpc.v1.cri/sandboxes/5bd2/hosts",
            "/srv/data",
            "/data",
            "/etcetera",
        ] {
            assert_eq!(controls_the_host(source), None, "{source}");
        }
    }
}
