//! A Pod manifest whose container is a checkpoint image: the kubelet lets the engine restore it.
//!
//! No service account token, no environment of services, no name server, no node but one of the dump's architecture; beside
//! it a NetworkPolicy that lets nothing in or out (where the cluster's network obeys policies).

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::crictl::{mounts, write_file};
use super::image::word;
use super::output::check_target;
use super::reference::is_image_name;
use super::{Engine, HandoverError, Origin, allowed, annotations, beyond_criu, check, cri_origin};
use crate::base::escape_controls;
use crate::checkpoint::Checkpoint;
use crate::sandbox::plan::{Dangers, Plan};

/// Mounts that the kubelet makes by itself.
const OF_KUBELET: [&str; 2] = ["/etc/hosts", "/dev/termination-log"];
/// Most that a stand-in for a volume may hold.
const VOLUME_LIMIT: &str = "1Gi";

/// What the manifest says beside what the checkpoint does.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// The checkpoint image.
    pub image: &'a str,
    /// The node; `None`: one of the right architecture.
    pub node: Option<&'a str>,
    /// The namespace.
    pub namespace: &'a str,
}

/// A manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Who can restore it.
    pub origin: Origin,
    /// YAML: the Pod and the NetworkPolicy.
    pub text: String,
    /// Lines for a shell; `FILE` stands for the manifest.
    pub commands: Vec<String>,
    /// What goes wrong otherwise.
    pub notes: Vec<String>,
}

/// Makes a manifest.
///
/// # Errors
/// It attacks the engine, or Kubernetes' engines cannot restore it.
pub fn manifest(
    checkpoint: &Checkpoint,
    plan: &Plan,
    dangers: &Dangers,
    config: &Config<'_>,
) -> Result<Manifest, HandoverError> {
    check(dangers)?;
    let origin = cri_origin(checkpoint)?;
    if !is_image_name(config.image) {
        let why = "it has spaces or control characters, or is empty";
        return Err(HandoverError::BadReference { given: config.image.to_owned(), why });
    }
    let name = word(&origin.name, 50);
    let labels =
        json!({ "app.kubernetes.io/managed-by": "cryoscope", "app.kubernetes.io/name": format!("thawed-{name}") });
    let (volumes, volume_mounts, mut notes) = volumes(checkpoint, plan);
    let mut selector = Map::new();
    selector.insert("kubernetes.io/os".into(), "linux".into());
    if let Some(architecture) = origin.architecture {
        selector.insert("kubernetes.io/arch".into(), architecture.into());
    }
    if let Some(node) = config.node {
        selector.insert("kubernetes.io/hostname".into(), node.into());
    }
    let ids = allowed(dangers);
    let annotations = if ids.is_empty() { json!({}) } else { json!({ annotations::ALLOWED: ids.join("\n") }) };
    let metadata = |annotations: Value| json!({ "name": format!("thawed-{name}"), "namespace": config.namespace, "labels": labels, "annotations": annotations });
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(annotations),
        "spec": {
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "restartPolicy": "Never",
            "hostNetwork": false,
            "hostPID": false,
            "hostIPC": false,
            "dnsPolicy": "None",
            "dnsConfig": { "nameservers": ["127.0.0.1"] },
            "nodeSelector": selector,
            "containers": [{
                "name": name,
                "image": config.image,
                "imagePullPolicy": "IfNotPresent",
                "volumeMounts": volume_mounts,
            }],
            "volumes": volumes,
        },
    });
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(json!({})),
        "spec": { "podSelector": { "matchLabels": labels }, "policyTypes": ["Ingress", "Egress"] },
    });
    notes.splice(0..0, traps(&origin, checkpoint));
    notes.splice(0..0, beyond_criu(plan));
    let mut text = String::new();
    for note in &notes {
        text.push_str(&format!("# {}\n", escape_controls(note)));
    }
    // The policy first: no moment without it.
    for document in [&policy, &pod] {
        text.push_str("---\n");
        yaml(document, 0, &mut text);
    }
    let namespace = super::crictl::quote(config.namespace);
    let commands = vec![
        "kubectl apply -f FILE".to_owned(),
        format!("kubectl -n {namespace} get pod thawed-{name} -o wide"),
        format!("kubectl -n {namespace} logs thawed-{name}"),
        "kubectl delete -f FILE".to_owned(),
    ];
    Ok(Manifest { origin, text, commands, notes })
}

/// The file to write to, if it does not lie in the evidence and is not replaced unasked.
///
/// # Errors
/// It does, or would be.
pub fn check_output(checkpoint: &Checkpoint, output: &Path, force: bool) -> Result<PathBuf, HandoverError> {
    let path = check_target(output, &checkpoint.outer)?;
    if !force && fs::symlink_metadata(&path).is_ok() {
        return Err(HandoverError::Exists { path });
    }
    Ok(path)
}

/// Writes a manifest into a file.
///
/// # Errors
/// As [`check_output`], or it cannot be written.
pub fn write(checkpoint: &Checkpoint, output: &Path, text: &str, force: bool) -> Result<(), HandoverError> {
    write_file(&check_output(checkpoint, output, force)?, text, 0o644, force)
}

/// Empty directories for what was mounted beside what the kubelet mounts; the service account's token among them.
fn volumes(checkpoint: &Checkpoint, plan: &Plan) -> (Vec<Value>, Vec<Value>, Vec<String>) {
    let (rows, mut notes) = mounts(checkpoint, plan);
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for row in rows.iter().filter(|row| !OF_KUBELET.contains(&row.container_path.as_str())) {
        if !row.is_dir {
            notes.push(format!(
                "{} was a file of a volume: mount one there (a ConfigMap's key with subPath), or the restore fails",
                row.container_path
            ));
            continue;
        }
        let name = format!("stand-in-{}", volumes.len());
        volumes.push(json!({ "name": name, "emptyDir": { "sizeLimit": VOLUME_LIMIT } }));
        mounts.push(json!({ "name": name, "mountPath": row.container_path, "readOnly": row.readonly }));
    }
    (volumes, mounts, notes)
}

fn traps(origin: &Origin, checkpoint: &Checkpoint) -> Vec<String> {
    let container = &checkpoint.container;
    let engine = origin.engine.name();
    let mut out = vec![format!("only a node whose engine is {engine} restores it; choose it with --node")];
    if let Some(runtime) = origin.runtime {
        out.push(format!("the engine's default runtime must be {runtime}, which dumped it (or name a RuntimeClass)"));
    }
    let id = container.image_id.as_deref().unwrap_or("(not recorded)");
    match origin.engine {
        Engine::Containerd => {
            out.push(format!("containerd fetches the base image {id} from its registry: the node must reach that one"));
        }
        _ => out.push(format!("the base image must be on the node under its id {id}")),
    }
    out.push(
        "restoring through the kubelet is being switched off: CRI-O's checkpoint_only, containerd from 2.2 on".into(),
    );
    out.push("the NetworkPolicy holds only where the cluster's network obeys policies".into());
    out
}

/// Writes JSON's values as YAML in blocks; texts in JSON's quotes, which YAML takes.
fn yaml(value: &Value, indent: usize, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                out.push_str(&format!("{pad}{}:", scalar(&Value::from(key.as_str()))));
                nested(value, indent, out);
            }
        }
        Value::Array(list) => {
            for value in list {
                // The first line of what is nested goes behind the dash.
                let mut inner = String::new();
                if is_block(value) {
                    yaml(value, indent + 1, &mut inner);
                } else {
                    inner = format!("{pad}  {}\n", scalar(value));
                }
                out.push_str(&format!("{pad}- {}", inner.trim_start()));
            }
        }
        other => out.push_str(&format!("{pad}{}\n", scalar(other))),
    }
}

fn nested(value: &Value, indent: usize, out: &mut String) {
    if is_block(value) {
        out.push('\n');
        yaml(value, indent + 1, out);
    } else {
        out.push_str(&format!(" {}\n", scalar(value)));
    }
}

fn is_block(value: &Value) -> bool {
    value.as_object().is_some_and(|map| !map.is_empty()) || value.as_array().is_some_and(|list| !list.is_empty())
}

fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        return text.clone();
    }
    // YAML takes JSON's escapes, and wants more escaped: controls beyond ASCII, separators of lines.
    serde_json::to_string(text).unwrap_or_default().chars().fold(String::new(), |mut out, c| {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_yaml() {
        let mut out = String::new();
        yaml(&json!({"a": {"b": [{"c": "x", "d": [1, true]}, "no"], "e": {}}, "f/g": "a: b\n\u{85}"}), 0, &mut out);
        assert_eq!(
            out,
            "a:\n  b:\n    - c: x\n      d:\n        - 1\n        - true\n    - \"no\"\n  e: {}\nf/g: \"a: b\\n\\u0085\"\n"
        );
    }
}
