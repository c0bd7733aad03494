//! Checkpoints as OCI images: an image layout (a directory or an archive of it) or a docker archive, whose layer holds
//! the checkpoint.
//!
//! Sources: OCI Image Format Specification v1.1 (`oci-layout`, `index.json`, manifests, descriptors); the `manifest.json`
//! of `docker save`; containerd's checkpoint descriptors, which stand in an index directly.

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::base::{Issue, Place, escape};

use super::find::{CheckpointRoot, Search};
use super::member::{MemberKind, join, normalise};
use super::{Evidence, Member, OpenError};

/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 4;
/// Most descriptors that are looked at.
const MAX_DESCRIPTORS: usize = 1024;
/// Largest index, manifest or config; registries take 4 MiB.
pub(super) const MAX_JSON_BYTES: u64 = 8 << 20;
/// Most JSON of all indexes, manifests and configs.
const MAX_ALL_JSON_BYTES: u64 = 32 << 20;
/// Most annotations that are taken of one object; engines write about twenty.
const MAX_ANNOTATIONS: usize = 256;
/// Longest annotation that is taken.
const MAX_ANNOTATION_BYTES: usize = 64 << 10;
/// Most symbolic links followed to a layer of an old docker archive.
const MAX_LINKS: usize = 8;

/// What an image says about itself. Every part may be missing.
#[derive(Clone, Debug, Default)]
pub struct OciImage {
    /// Of the index, of the manifest's descriptor and of the manifest, the latter standing over the former.
    pub annotations: Vec<(String, String)>,
    /// Name and tag: `org.opencontainers.image.ref.name`, `io.containerd.image.name`, or the first tag of a docker
    /// archive.
    pub reference: Option<String>,
    /// `sha256:…` of the manifest.
    pub manifest_digest: Option<String>,
    /// Media type of the manifest.
    pub manifest_media_type: Option<String>,
    /// The manifest as JSON.
    pub manifest: Option<Bytes>,
    /// Media type of the config.
    pub config_media_type: Option<String>,
    /// The config as JSON.
    pub config: Option<Bytes>,
    /// `sha256:…` of the layer that holds the checkpoint, or its path in a docker archive.
    pub layer_digest: Option<String>,
    /// Media type of that layer.
    pub layer_media_type: Option<String>,
}

impl OciImage {
    fn annotate(&mut self, object: &Value) {
        let Some(annotations) = object.get("annotations").and_then(Value::as_object) else { return };
        for (key, value) in annotations.iter().take(MAX_ANNOTATIONS) {
            let Some(value) = value.as_str().filter(|value| value.len() <= MAX_ANNOTATION_BYTES) else { continue };
            self.annotations.retain(|(known, _)| known != key);
            self.annotations.push((key.clone(), value.to_owned()));
        }
    }

    /// The annotation of that name.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// Finds the checkpoints in the layers of every image in the evidence.
///
/// # Errors
/// Cancel.
pub(super) fn find(search: &mut Search<'_>, evidence: &Evidence) -> Result<Vec<CheckpointRoot>, OpenError> {
    let mut images =
        Images { evidence, dir: Vec::new(), found: Vec::new(), left: MAX_DESCRIPTORS, json_left: MAX_ALL_JSON_BYTES };
    let layout = evidence.members().iter().find(|member| member.file_name() == b"oci-layout");
    let docker = evidence.members().iter().find(|member| member.file_name() == b"manifest.json");
    if let Some(layout) = layout {
        images.dir = layout.parent().to_vec();
        images.layout(search)?;
    } else if let Some(manifest) = docker {
        images.dir = manifest.parent().to_vec();
        images.docker(search, manifest)?;
    }
    Ok(images.found)
}

struct Images<'a> {
    evidence: &'a Evidence,
    /// Directory of `oci-layout` or `manifest.json`.
    dir: Vec<u8>,
    found: Vec<CheckpointRoot>,
    /// Descriptors that may still be looked at.
    left: usize,
    /// Bytes of JSON that may still be read.
    json_left: u64,
}

impl<'a> Images<'a> {
    fn layout(&mut self, search: &mut Search<'_>) -> Result<(), OpenError> {
        let path = join(&self.dir, b"index.json");
        let Some(member) = self.evidence.get(&path) else {
            search.issues.push(Issue::new(Place::member(escape(&path)), "missing from the image layout"));
            return Ok(());
        };
        let Some((_, index)) = self.json(search, member) else { return Ok(()) };
        let mut image = OciImage::default();
        image.annotate(&index);
        self.index(search, &index, &image, 0)
    }

    /// Everything that an index lists.
    fn index(
        &mut self,
        search: &mut Search<'_>,
        index: &Value,
        image: &OciImage,
        depth: usize,
    ) -> Result<(), OpenError> {
        for descriptor in array(index, "manifests") {
            let Some(left) = self.left.checked_sub(1) else { return Ok(()) };
            self.left = left;
            let mut image = image.clone();
            image.annotate(descriptor);
            let media_type = text(descriptor, "mediaType").unwrap_or_default();
            // containerd lists the tar of the images itself here, beside protobuf that is of no use.
            if media_type.contains(".checkpoint.") || media_type.contains(".layer.") {
                self.layer(search, descriptor, &image)?;
                continue;
            }
            let Some(member) = self.blob(search, descriptor) else { continue };
            let Some((bytes, manifest)) = self.json(search, member) else { continue };
            check_digest(search, member, descriptor, &bytes);
            image.annotate(&manifest);
            if manifest.get("manifests").is_some() {
                if depth < MAX_DEPTH {
                    self.index(search, &manifest, &image, depth + 1)?;
                } else {
                    search
                        .issues
                        .push(Issue::new(member.place(), format!("indexes are nested more than {MAX_DEPTH} deep")));
                }
                continue;
            }
            image.reference = image
                .annotation("io.containerd.image.name")
                .or(image.annotation("org.opencontainers.image.ref.name"))
                .map(str::to_owned);
            image.manifest_digest = text(descriptor, "digest");
            image.manifest_media_type = text(&manifest, "mediaType").or(text(descriptor, "mediaType"));
            if let Some(config) = manifest.get("config") {
                image.config_media_type = text(config, "mediaType");
                if let Some(member) = self.blob(search, config) {
                    image.config = self.small(search, member);
                    if let Some(bytes) = &image.config {
                        check_digest(search, member, config, bytes);
                    }
                }
            }
            image.manifest = Some(bytes);
            for layer in array(&manifest, "layers") {
                let Some(left) = self.left.checked_sub(1) else { return Ok(()) };
                self.left = left;
                self.layer(search, layer, &image)?;
            }
        }
        Ok(())
    }

    fn layer(&mut self, search: &mut Search<'_>, descriptor: &Value, image: &OciImage) -> Result<(), OpenError> {
        let media_type = text(descriptor, "mediaType");
        // Configs and options of containerd.
        if media_type
            .as_deref()
            .is_some_and(|media_type| media_type.ends_with("+proto") || media_type.ends_with("json"))
        {
            return Ok(());
        }
        let Some(member) = self.blob(search, descriptor) else { return Ok(()) };
        let mut image = image.clone();
        image.layer_digest = text(descriptor, "digest");
        image.layer_media_type = media_type;
        self.look_into(search, member, &image)
    }

    fn look_into(&mut self, search: &mut Search<'_>, member: &Member, image: &OciImage) -> Result<(), OpenError> {
        if let Some(nested) = search.open(self.evidence, member)? {
            self.found.extend(search.in_directories(&nested, Some(image)));
        }
        Ok(())
    }

    /// `manifest.json`: a list of images with paths instead of digests.
    fn docker(&mut self, search: &mut Search<'_>, member: &Member) -> Result<(), OpenError> {
        let Some((bytes, images)) = self.json(search, member) else { return Ok(()) };
        for entry in images.as_array().into_iter().flatten() {
            let config =
                text(entry, "Config").and_then(|path| follow(self.evidence, &join(&self.dir, path.as_bytes())));
            let image = OciImage {
                reference: array(entry, "RepoTags").next().and_then(Value::as_str).map(str::to_owned),
                manifest: Some(bytes.clone()),
                config: config.and_then(|member| self.small(search, member)),
                ..OciImage::default()
            };
            for path in array(entry, "Layers").filter_map(Value::as_str) {
                let Some(left) = self.left.checked_sub(1) else { return Ok(()) };
                self.left = left;
                let Some(layer) = follow(self.evidence, &join(&self.dir, path.as_bytes())) else {
                    search.issues.push(Issue::new(member.place(), format!("names the layer {path}, which is missing")));
                    continue;
                };
                let image = OciImage { layer_digest: Some(path.to_owned()), ..image.clone() };
                self.look_into(search, layer, &image)?;
            }
        }
        Ok(())
    }

    /// The member that holds what a descriptor means.
    fn blob(&self, search: &mut Search<'_>, descriptor: &Value) -> Option<&'a Member> {
        let digest = text(descriptor, "digest").unwrap_or_default();
        let place = || Place::member(escape(&join(&self.dir, b"index.json")));
        let Some(blob) = blob_path(&digest) else {
            search.issues.push(Issue::new(place(), format!("a descriptor has no usable digest: {digest:?}")));
            return None;
        };
        let path = join(&self.dir, blob.as_bytes());
        let member = self.evidence.get(&path);
        if member.is_none() {
            search.issues.push(Issue::new(Place::member(escape(&path)), "is named by the image and missing from it"));
        }
        member
    }

    fn small(&mut self, search: &mut Search<'_>, member: &Member) -> Option<Bytes> {
        let Some(left) = self.json_left.checked_sub(member.available_bytes()) else {
            let what = format!("is not read: the image has more than {MAX_ALL_JSON_BYTES} bytes of JSON");
            search.issues.push(Issue::new(member.place(), what));
            return None;
        };
        if MAX_JSON_BYTES < member.available_bytes() {
            let what = format!("has {} bytes where JSON of at most {MAX_JSON_BYTES} was due", member.available_bytes());
            search.issues.push(Issue::new(member.place(), what));
            return None;
        }
        self.json_left = left;
        let read = self.evidence.read(member);
        read.inspect_err(|error| search.issues.push(Issue::new(member.place(), error.to_string()))).ok()
    }

    fn json(&mut self, search: &mut Search<'_>, member: &Member) -> Option<(Bytes, Value)> {
        let bytes = self.small(search, member)?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Some((bytes, value)),
            Err(error) => {
                search.issues.push(Issue::new(member.place(), format!("is not JSON: {error}")));
                None
            }
        }
    }
}

/// The member of a path, also through symbolic links, which old docker archives have.
pub(super) fn follow<'a>(evidence: &'a Evidence, path: &[u8]) -> Option<&'a Member> {
    let (mut path, _) = normalise(path);
    for _ in 0..MAX_LINKS {
        let member = evidence.get(&path)?;
        let MemberKind::Symlink { target } = &member.kind else { return Some(member) };
        let (next, leaves) = normalise(&join(member.parent(), target));
        if leaves {
            return None;
        }
        path = next;
    }
    None
}

/// Where a layout has the blob of a digest; `None` for what is no digest.
pub(super) fn blob_path(digest: &str) -> Option<String> {
    let (algorithm, hex) = digest.split_once(':')?;
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_plain(algorithm) && is_plain(hex)).then(|| format!("blobs/{algorithm}/{hex}"))
}

/// A blob is named by its digest; one that has another was changed.
fn check_digest(search: &mut Search<'_>, member: &Member, descriptor: &Value, bytes: &[u8]) {
    let Some(stated) = text(descriptor, "digest") else { return };
    let Some(stated) = stated.strip_prefix("sha256:") else { return };
    let found = crate::base::hex(&Sha256::digest(bytes));
    if stated != found {
        search.issues.push(Issue::new(member.place(), format!("its SHA-256 is {found}, the image says {stated}")));
    }
}

fn text(object: &Value, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

fn array<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object.get(key).and_then(Value::as_array).into_iter().flatten()
}
