//! The checkpoint as an OCI image: index, manifest, config, and one layer with the checkpoint archive's members.
//!
//! CRI-O and containerd take the layer for the unpacked archive, Podman mounts it as such. The same checkpoint gives the same
//! digests: times come from the evidence, names of annotations are sorted, nothing of this machine goes in.
//!
//! Source: OCI Image Format Specification v1.1.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use flate2::GzBuilder;
use serde::Serialize;

use super::annotations::annotations;
use super::output::{Hashing, Output};
use super::{HandoverError, Origin, allowed, check, layer, origin};
use crate::base::{Issue, Progress};
use crate::checkpoint::Checkpoint;
use crate::evidence::OpenOptions;
use crate::sandbox::plan::Dangers;

pub use super::output::{Blob, Form, Kept};

/// Media type of the manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of the index.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of the config.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of the layer, without its packing.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// What made it.
const MADE_BY: &str = "cryoscope sandbox hand-over";

/// How the layer is packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// Every engine and registry takes it.
    #[default]
    Gzip,
    /// Smaller and faster; engines since 2021 take it.
    Zstd,
    /// The layer is as large as the archive.
    None,
}

/// What to write.
#[derive(Clone, Debug)]
pub struct Config<'a> {
    /// Where to: an archive if it ends in `.tar`, else a directory. `None`: a directory of the cache that goes with the
    /// value, for pushing.
    pub output: Option<&'a Path>,
    /// Replace what is there.
    pub force: bool,
    /// How the layer is packed.
    pub packing: Packing,
    /// Name and tag in the index; `None` makes one of the container's name.
    pub reference: Option<String>,
}

/// An image that is written.
#[derive(Debug)]
pub struct Image {
    /// Who wrote the checkpoint.
    pub origin: Origin,
    /// Name and tag in the index.
    pub reference: String,
    /// Of index and manifest.
    pub annotations: BTreeMap<String, String>,
    /// The files.
    pub kept: Kept,
    /// The manifest.
    pub manifest: Blob,
    /// Its bytes.
    pub manifest_bytes: Vec<u8>,
    /// The config.
    pub config: Blob,
    /// The layer.
    pub layer: Blob,
    /// Digest of the layer before it was packed.
    pub diff_id: String,
    /// What of the checkpoint is not in the layer.
    pub issues: Vec<Issue>,
}

/// Writes an image.
///
/// # Errors
/// See [`HandoverError`]; nothing is left of what was begun.
pub fn write(
    checkpoint: &Checkpoint,
    dangers: &Dangers,
    config: &Config<'_>,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<Image, HandoverError> {
    check(dangers)?;
    let origin = origin(checkpoint)?;
    let annotations = annotations(checkpoint, &origin, &allowed(dangers));
    let reference = config.reference.clone().unwrap_or_else(|| default_reference(&origin.name));
    let mut output = match config.output {
        Some(target) => Output::begin(target, config.force, &checkpoint.outer)?,
        None => Output::temporary(options)?,
    };
    let path = output.path();
    let (layer, (diff_id, issues)) =
        output.blob(|out| pack(config.packing, out, &path, |out| layer::write(checkpoint, out, &path, progress)))?;
    let created = created(checkpoint);
    let document = json(&ImageConfig {
        created: created.as_deref(),
        architecture: origin.architecture.unwrap_or("unknown"),
        os: "linux",
        config: RunConfig { labels: &annotations },
        rootfs: Rootfs { r#type: "layers", diff_ids: [&diff_id] },
        history: [History { created: created.as_deref(), created_by: MADE_BY }],
    });
    let (config_blob, ()) = output.blob(|out| put(out, &document, &path))?;
    let layer_type = match config.packing {
        Packing::Gzip => format!("{LAYER}+gzip"),
        Packing::Zstd => format!("{LAYER}+zstd"),
        Packing::None => LAYER.to_owned(),
    };
    let manifest_bytes = json(&Manifest {
        schema_version: 2,
        media_type: MANIFEST,
        config: Descriptor::of(CONFIG, &config_blob),
        layers: [Descriptor::of(&layer_type, &layer)],
        annotations: &annotations,
    });
    let (manifest, ()) = output.blob(|out| put(out, &manifest_bytes, &path))?;
    let mut of_descriptor = annotations.clone();
    for name in ["org.opencontainers.image.ref.name", "io.containerd.image.name"] {
        of_descriptor.insert(name.to_owned(), reference.clone());
    }
    let platform = origin.architecture.map(|architecture| Platform { architecture, os: "linux" });
    let index = json(&Index {
        schema_version: 2,
        media_type: INDEX,
        manifests: [Descriptor { annotations: Some(&of_descriptor), platform, ..Descriptor::of(MANIFEST, &manifest) }],
        annotations: &annotations,
    });
    let kept = output.finish(&index)?;
    let config = config_blob;
    Ok(Image { origin, reference, annotations, kept, manifest, manifest_bytes, config, layer, diff_id, issues })
}

/// Packs what `fill` writes; also its digest before packing.
fn pack<T>(
    packing: Packing,
    out: &mut dyn Write,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<T, HandoverError>,
) -> Result<(String, T), HandoverError> {
    let cannot = || HandoverError::io("cannot be written", path);
    match packing {
        Packing::None => {
            let mut plain = Hashing::new(out);
            let filled = fill(&mut plain)?;
            Ok((plain.finish().0, filled))
        }
        Packing::Gzip => {
            let mut plain = Hashing::new(GzBuilder::new().write(out, flate2::Compression::new(6)));
            let filled = fill(&mut plain)?;
            let (digest, _, packer) = plain.finish();
            packer.finish().map_err(cannot())?;
            Ok((digest, filled))
        }
        Packing::Zstd => {
            let mut plain = Hashing::new(zstd::Encoder::new(out, 3).map_err(cannot())?);
            let filled = fill(&mut plain)?;
            let (digest, _, packer) = plain.finish();
            packer.finish().map_err(cannot())?;
            Ok((digest, filled))
        }
    }
}

fn put(out: &mut dyn Write, bytes: &[u8], path: &Path) -> Result<(), HandoverError> {
    out.write_all(bytes).map_err(HandoverError::io("cannot be written", path))
}

/// When the checkpoint was taken, else when its inventory was written; RFC 3339.
fn created(checkpoint: &Checkpoint) -> Option<String> {
    let told = checkpoint.container.checkpointed.as_deref().and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let inventory = || {
        let member = checkpoint.evidence.get(&super::origin::below(&checkpoint.images_dir, b"inventory.img"))?;
        jiff::Timestamp::from_second(member.mtime?).ok()
    };
    Some(told.or_else(inventory)?.to_string())
}

/// `localhost/checkpoint/NAME:latest`.
fn default_reference(name: &str) -> String {
    format!("localhost/checkpoint/{}:latest", word(name, 63))
}

/// A name in the letters that images and Kubernetes allow: lower case, digits, single dashes inside.
pub(super) fn word(name: &str, max: usize) -> String {
    let mut out = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        if max <= out.len() {
            break;
        }
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            _ if out.is_empty() || out.ends_with('-') => {}
            _ => out.push('-'),
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { "unnamed".to_owned() } else { out.to_owned() }
}

fn json(document: &impl Serialize) -> Vec<u8> {
    // Texts and numbers only: nothing in it can fail.
    serde_json::to_vec(document).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'a str,
    manifests: [Descriptor<'a>; 1],
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: [Descriptor<'a>; 1],
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: &'a str,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform<'a>>,
}

impl<'a> Descriptor<'a> {
    fn of(media_type: &'a str, blob: &'a Blob) -> Descriptor<'a> {
        Descriptor { media_type, digest: &blob.digest, size: blob.size_bytes, annotations: None, platform: None }
    }
}

#[derive(Serialize)]
struct Platform<'a> {
    architecture: &'a str,
    os: &'a str,
}

#[derive(Serialize)]
struct ImageConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    architecture: &'a str,
    os: &'a str,
    config: RunConfig<'a>,
    rootfs: Rootfs<'a>,
    history: [History<'a>; 1],
}

/// The annotations again: containerd knows images by their config, and two of the same must not differ in annotations.
#[derive(Serialize)]
struct RunConfig<'a> {
    #[serde(rename = "Labels")]
    labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Rootfs<'a> {
    r#type: &'a str,
    diff_ids: [&'a str; 1],
}

#[derive(Serialize)]
struct History<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    created_by: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_words_that_registries_and_kubernetes_take() {
        let check = |name: &str, word_: &str| assert_eq!(word(name, 20), word_, "{name}");
        check("counter", "counter");
        check("My_Counter..1", "my-counter-1");
        check("--x--", "x");
        check("\u{1f980}\n/../etc", "etc");
        check("", "unnamed");
        check("ééé", "unnamed");
        check("a-very-long-name-of-a-container", "a-very-long-name-of");
    }
}
