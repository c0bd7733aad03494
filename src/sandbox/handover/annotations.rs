//! What an image says of itself: the annotations by which engines know a checkpoint, and what was allowed.
//!
//! | engine | looks for | at |
//! |---|---|---|
//! | CRI-O | `io.kubernetes.cri-o.annotations.checkpoint.name` | manifest |
//! | containerd | `org.criu.checkpoint.container.name` | index, or manifest |
//! | Podman | nothing; it writes `io.podman.annotations.checkpoint.name` itself | manifest |
//!
//! Without its own an engine takes the image for a usual one ("no command specified"). With it, a checkpoint of another
//! engine is refused for what it is; so all three are always there. The further names describe, nobody decides by them.

use std::collections::BTreeMap;

use super::origin::Origin;
use crate::base::escape_controls;
use crate::checkpoint::Checkpoint;

/// Names of annotations of an image that was a checkpoint already and are kept.
const PREFIXES: [&str; 3] =
    ["io.kubernetes.cri-o.annotations.checkpoint.", "io.podman.annotations.checkpoint.", "org.criu.checkpoint."];
/// Longest value; registries take manifests of 4 MiB.
const MAX_VALUE_BYTES: usize = 4096;
/// Most ids of allowed dangers.
const MAX_ALLOWED: usize = 64;

/// Ids of the dangers that the analyst allowed, one a line.
pub(super) const ALLOWED: &str = "cryoscope.hand-over.allowed";

/// All annotations of a checkpoint's image, by name.
pub(super) fn annotations(checkpoint: &Checkpoint, origin: &Origin, allowed: &[String]) -> BTreeMap<String, String> {
    let container = &checkpoint.container;
    let mut out = BTreeMap::new();
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            out.insert(name.to_owned(), clean(value));
        }
    };
    let of_all = [
        ("rootfsImageName", container.image.as_deref()),
        ("rootfsImageID", container.image_id.as_deref()),
        ("criu.version", container.criu_version.as_deref()),
        ("runtime.name", container.runtime.as_deref()),
        ("host.arch", origin.architecture),
        ("host.kernel", container.kernel.as_deref()),
    ];
    for prefix in PREFIXES {
        for (suffix, value) in of_all {
            put(&format!("{prefix}{suffix}"), value);
        }
    }
    // What an image says already was written by who knew more.
    for (name, value) in checkpoint.oci.iter().flat_map(|oci| &oci.annotations) {
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            put(&clean(name), Some(value));
        }
    }
    put("io.kubernetes.cri-o.annotations.checkpoint.name", Some(&origin.name));
    put("io.podman.annotations.checkpoint.name", Some(&origin.name));
    put("org.criu.checkpoint.container.name", Some(&origin.name));
    put("org.criu.checkpoint.engine.name", Some(&origin.engine.name().to_lowercase()));
    put("org.criu.checkpoint.pod.name", container.pod.as_deref());
    put("org.criu.checkpoint.pod.namespace", container.namespace.as_deref());
    put("org.criu.checkpoint.pod.id", container.pod_uid.as_deref());
    put("org.opencontainers.image.base.name", container.image.as_deref());
    let mut lines: Vec<&str> = allowed.iter().take(MAX_ALLOWED).map(String::as_str).collect();
    let more = format!("and {} more", allowed.len().saturating_sub(MAX_ALLOWED));
    if MAX_ALLOWED < allowed.len() {
        lines.push(&more);
    }
    if !lines.is_empty() {
        let lines: Vec<String> = lines.into_iter().map(clean).collect();
        out.insert(ALLOWED.to_owned(), lines.join("\n"));
    }
    out
}

/// A text of the evidence without control characters, of bounded length.
fn clean(text: &str) -> String {
    let mut end = text.len().min(MAX_VALUE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    escape_controls(text.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_evidence_are_cut_and_disarmed() {
        assert_eq!(clean("a\nb\x1b[2J\u{202e}c"), "a\\nb\\x1b[2J\\u{202e}c");
        assert_eq!(clean(&"é".repeat(4000)).len(), 4096);
        assert_eq!(clean(&format!("{}é", "x".repeat(4095))).len(), 4095);
    }
}
