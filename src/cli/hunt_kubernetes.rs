//! `hunt --kubernetes`: an Indexed Job whose pods each search one share, and what it needs.
//!
//! | object | for |
//! |---|---|
//! | ConfigMap | the files of rules, mounted at /rules |
//! | PersistentVolumeClaim | the tables, at /results, unless one is named; many nodes write it |
//! | Job (`completionMode: Indexed`) | N pods, each with `--shard $(JOB_COMPLETION_INDEX)/N` |
//!
//! Credentials for buckets are in none of them: pods take those of a Secret that is there already, or of their service
//! account.
//!
//! Pods have no token, no privileges, a read-only root and a scratch volume that goes with them: archives are hostile. An
//! archive that cannot be read is a row of a table and no failure; a pod that dies is tried again by itself, without
//! counting against the others.

use std::ffi::OsStr;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::context::Context;
use super::hunt_archives::Archive;
use super::hunt_args::{HuntArgs, StoreArgs};
use crate::remote::{Remote, Settings};

/// Where the archives are in a pod.
const EVIDENCE: &str = "/evidence";
/// Where tables go in a pod.
const RESULTS: &str = "/results";
/// Where rules are in a pod.
#[cfg(feature = "yara")]
const RULES: &str = "/rules";
/// Most bytes of a ConfigMap.
#[cfg(feature = "yara")]
const MAX_RULES_BYTES: u64 = 1 << 20;
/// How often the share of a pod that died is tried again.
const RETRIES: u32 = 3;

pub(super) fn print(args: &HuntArgs, context: &mut Context<'_>) -> anyhow::Result<()> {
    let documents = documents(args)?;
    if context.json {
        return context.write_json(&json!({"apiVersion": "v1", "kind": "List", "items": documents}));
    }
    for document in &documents {
        writeln!(context.out, "---")?;
        let mut text = String::new();
        yaml(document, 0, &mut text);
        context.out.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// The objects, in the order in which they are made.
fn documents(args: &HuntArgs) -> anyhow::Result<Vec<Value>> {
    let job = &args.job;
    let image = job.image.as_ref().context("--kubernetes: wants --image")?;
    let needs_volume = needs_volume(args)?;
    anyhow::ensure!(
        job.archives_claim.is_some() || !needs_volume,
        "--kubernetes: wants --archives-claim, the volume in which what is named by a path lies"
    );
    anyhow::ensure!(
        args.list.iter().all(|list| list.as_os_str() != "-"),
        "--list -: pods have no standard input; put the list into the volume with the archives"
    );
    let rules = rules(args)?;
    let mut documents = Vec::new();
    if !rules.is_empty() {
        let files: Map<String, Value> = rules.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        let metadata = metadata(args, "rules");
        documents.push(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": true, "data": files,
        }));
    }
    let results_claim = job.results_claim.clone().unwrap_or_else(|| {
        documents.push(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": metadata(args, "results"),
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": job.results_size.to_string()}},
            },
        }));
        format!("{}-results", job.name)
    });
    let mut mounts =
        vec![json!({"name": "results", "mountPath": RESULTS}), json!({"name": "scratch", "mountPath": "/scratch"})];
    let mut volumes = vec![
        json!({"name": "results", "persistentVolumeClaim": {"claimName": results_claim}}),
        json!({"name": "scratch", "emptyDir": {"sizeLimit": job.scratch.to_string()}}),
    ];
    if let Some(claim) = &job.archives_claim {
        mounts.push(json!({"name": "evidence", "mountPath": EVIDENCE, "readOnly": true}));
        volumes.push(json!({"name": "evidence", "persistentVolumeClaim": {"claimName": claim, "readOnly": true}}));
    }
    if !rules.is_empty() {
        mounts.push(json!({"name": "rules", "mountPath": "/rules", "readOnly": true}));
        volumes.push(json!({"name": "rules", "configMap": {"name": format!("{}-rules", job.name)}}));
    }
    let resources = json!({"cpu": job.cpu, "memory": job.memory.to_string()});
    let mut container = json!({
        "name": "hunt",
        "image": image,
        "command": ["cryoscope"],
        "args": arguments(args, &rules)?,
        "env": environment(args),
        "resources": {"requests": resources, "limits": resources},
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        },
    });
    if let Some(secret) = &job.credentials_secret {
        insert(&mut container, "envFrom", json!([{"secretRef": {"name": secret}}]));
    }
    let mut pod = json!({
        "restartPolicy": "Never",
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    });
    if let Some(account) = &job.service_account {
        insert(&mut pod, "serviceAccountName", json!(account));
    }
    documents.push(json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(args, ""),
        "spec": {
            "completionMode": "Indexed",
            "completions": job.shards,
            "parallelism": job.parallelism.unwrap_or(10).min(job.shards),
            "backoffLimitPerIndex": RETRIES,
            "maxFailedIndexes": job.shards,
            "template": {"metadata": {"labels": labels(args)}, "spec": pod},
        },
    }));
    Ok(documents)
}

fn insert(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

fn environment(args: &HuntArgs) -> Vec<Value> {
    let mut variables = vec![
        // Named here, so that it can stand in the arguments.
        json!({
            "name": "JOB_COMPLETION_INDEX",
            "valueFrom": {
                "fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"},
            },
        }),
        json!({"name": "CRYOSCOPE_CACHE_DIR", "value": "/scratch"}),
    ];
    let StoreArgs { endpoint, region } = &args.store;
    for (name, value) in [("AWS_ENDPOINT_URL_S3", endpoint), ("AWS_REGION", region)] {
        variables.extend(value.as_ref().map(|value| json!({"name": name, "value": dollars(value)})));
    }
    variables
}

/// Whether something is named by a path, which has to be in a volume. Addresses that are wrong are told here, not by every
/// pod.
fn needs_volume(args: &HuntArgs) -> anyhow::Result<bool> {
    let StoreArgs { endpoint, region } = args.store.clone();
    let remote = Remote::new(Settings { endpoint, region, ..Settings::default() });
    let mut needs = args.paths.is_empty() || !args.list.is_empty();
    for path in args.paths.iter().chain(&args.rootfs) {
        match Archive::named(path)? {
            Archive::Path(_) => needs = true,
            Archive::Object(uri) => drop(remote.bucket(&uri.bucket)?),
            Archive::Url(url) => anyhow::ensure!(
                !url.contains('?'),
                "{}: what follows the ? of an address is often a secret, and would stand in the job; put it into a --list",
                Archive::Url(url.clone()).name()
            ),
        }
    }
    Ok(needs)
}

fn labels(args: &HuntArgs) -> Value {
    json!({"app.kubernetes.io/name": "cryoscope-hunt", "app.kubernetes.io/instance": args.job.name})
}

fn metadata(args: &HuntArgs, suffix: &str) -> Value {
    let name = if suffix.is_empty() { args.job.name.clone() } else { format!("{}-{suffix}", args.job.name) };
    let mut metadata = json!({"name": name, "labels": labels(args)});
    if let (Some(namespace), Some(fields)) = (&args.job.namespace, metadata.as_object_mut()) {
        fields.insert("namespace".into(), json!(namespace));
    }
    metadata
}

/// The same hunt, in a pod.
#[cfg_attr(not(feature = "yara"), expect(unused_variables, reason = "there are no files of rules"))]
fn arguments(args: &HuntArgs, rules: &[(String, String)]) -> anyhow::Result<Vec<String>> {
    let text = |given: &OsStr| {
        let text = given.to_str().map(dollars);
        text.ok_or_else(|| anyhow::anyhow!("{}: not UTF-8, which a manifest has to be", given.display()))
    };
    let mut out: Vec<String> = ["hunt", "--shard"].map(str::to_owned).to_vec();
    out.push(format!("$(JOB_COMPLETION_INDEX)/{}", args.job.shards));
    out.extend(["--output", RESULTS, "--force"].map(str::to_owned));
    for pattern in &args.pattern {
        out.push(format!("--pattern={}", text(pattern)?));
    }
    let flags = [
        (args.regex, "--regex"),
        (args.hex, "--hex"),
        (args.utf16, "--utf16"),
        (args.ignore_case, "--ignore-case"),
        (args.secrets, "--secrets"),
        (args.hash, "--hash"),
    ];
    out.extend(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| (*flag).to_owned()));
    #[cfg(feature = "yara")]
    out.extend(rules.iter().map(|(name, _)| format!("--yara={RULES}/{name}")));
    out.extend(args.maps.map.as_ref().map(|map| format!("--map={}", dollars(map))));
    out.extend(args.maps.perms.as_ref().map(|perms| format!("--perms={perms}")));
    out.extend(args.maps.kind.iter().map(|kind| format!("--kind={kind}")));
    out.extend(args.sources.iter().map(|source| format!("--in={}", source.word())));
    out.push(format!("--context={}", args.context));
    out.push(format!("--max-count={}", args.max_count));
    out.extend(args.jobs.map(|jobs| format!("--jobs={jobs}")));
    for image in &args.rootfs {
        out.push(format!("--rootfs={}", text(image.as_os_str())?));
    }
    for list in &args.list {
        out.push(format!("--list={}", text(list.as_os_str())?));
    }
    out.push("--".to_owned());
    for path in &args.paths {
        out.push(text(path.as_os_str())?);
    }
    if args.paths.is_empty() && args.list.is_empty() {
        out.push(EVIDENCE.to_owned());
    }
    Ok(out)
}

/// Kubernetes puts variables in the place of `$(NAME)`; `$$` is a dollar.
fn dollars(text: &str) -> String {
    text.replace('$', "$$")
}

/// The files of rules: name in the ConfigMap, text.
#[cfg(feature = "yara")]
fn rules(args: &HuntArgs) -> anyhow::Result<Vec<(String, String)>> {
    use std::io::Read as _;

    // Rules that are wrong are told here, not by every pod.
    crate::session::search::rules::read(&args.yara)?;
    let mut rules: Vec<(String, String)> = Vec::new();
    let mut left = MAX_RULES_BYTES;
    for (n, path) in args.yara.iter().enumerate() {
        let shown = path.display();
        let mut text = String::new();
        let opened = std::fs::OpenOptions::new().read(true).open(path).with_context(|| format!("{shown}"))?;
        opened.take(left.saturating_add(1)).read_to_string(&mut text).with_context(|| format!("{shown}"))?;
        left = left.checked_sub(text.len() as u64).ok_or_else(|| {
            anyhow::anyhow!("{shown}: a ConfigMap holds {MAX_RULES_BYTES} bytes; put the rules into the image instead")
        })?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name: String = name.chars().filter(|c| is_plain(*c)).take(200).collect();
        rules.push((format!("{n}-{name}"), text));
    }
    Ok(rules)
}

#[cfg(not(feature = "yara"))]
#[expect(clippy::unnecessary_wraps, reason = "with rules there is something that can go wrong")]
fn rules(_args: &HuntArgs) -> anyhow::Result<Vec<(String, String)>> {
    Ok(Vec::new())
}

/// Writes a document as YAML: strings in JSON's quotes, which are YAML's too, so that none is taken for something else.
fn yaml(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                out.push_str(&indent);
                out.push_str(&key(name));
                entry(field, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&indent);
                out.push('-');
                entry(item, depth, out);
            }
        }
        scalar => {
            out.push_str(&indent);
            out.push_str(&spelled(scalar));
            out.push('\n');
        }
    }
}

/// What stands behind a name or a dash.
fn entry(value: &Value, depth: usize, out: &mut String) {
    let is_nested = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_nested {
        out.push('\n');
        yaml(value, depth + 1, out);
    } else {
        out.push(' ');
        out.push_str(&spelled(value));
        out.push('\n');
    }
}

fn key(name: &str) -> String {
    let is_word =
        name.chars().all(|c| c.is_ascii_alphanumeric()) && name.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_word { format!("{name}:") } else { format!("{}:", spelled(&json!(name))) }
}

fn spelled(value: &Value) -> String {
    let plain = value.as_str().filter(|text| is_plain(text));
    plain.map_or_else(|| value.to_string(), str::to_owned)
}

/// Words that are the same string without quotes.
fn is_plain(text: &str) -> bool {
    let is_word = text.starts_with(|c: char| c.is_ascii_uppercase()) && text.chars().all(|c| c.is_ascii_alphabetic());
    is_word
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_quotes_what_could_be_taken_for_something_else() {
        let mut out = String::new();
        let value = json!({
            "kind": "Job", "a-b": "no", "n": 3, "t": true, "text": "a: b\n#\u{2028}", "list": ["Yes", {"x": []}, "${A}"],
        });
        yaml(&value, 0, &mut out);
        let wanted = "kind: Job\n\"a-b\": \"no\"\nn: 3\nt: true\ntext: \"a: b\\n#\u{2028}\"\nlist:\n  - \"Yes\"\n  -\n    x: []\n  - \"${A}\"\n";
        assert_eq!(out, wanted);
    }

    #[test]
    fn variables_of_kubernetes_in_patterns_stay_text() {
        assert_eq!(dollars("$(PATH) $1"), "$$(PATH) $$1");
    }
}
