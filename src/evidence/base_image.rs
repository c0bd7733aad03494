//! The root file system that a container started from: a directory, a tar of it, or the layers of an image (OCI layout or
//! docker archive, as a directory or packed).
//!
//! It is evidence like any other: opened read-only, never unpacked to disk by its own names. Layers are looked through
//! from the top down, with the whiteouts of the OCI Image Format Specification v1.1 ("Layer Filesystem Changeset").

use std::collections::VecDeque;
use std::path::Path;

use serde_json::Value;

use crate::base::{Issue, Place, Progress, escape};

use super::member::{MemberKind, join, normalise, parent};
use super::oci::{self, MAX_JSON_BYTES};
use super::{Evidence, Member, OpenError, OpenOptions};

/// Most layers of an image.
const MAX_LAYERS: usize = 512;
/// Most symbolic links on the way to a file, as in Linux.
const MAX_LINKS: usize = 40;
/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 4;

/// A root file system to look files up in.
#[derive(Clone, Debug)]
pub struct BaseImage {
    name: String,
    /// The lowest first.
    layers: Vec<Evidence>,
    issues: Vec<Issue>,
}

impl BaseImage {
    /// Opens a directory, a tar, an OCI layout or a docker archive. Of several images in it the first one counts.
    ///
    /// # Errors
    /// As [`Evidence::open`]; of a layer as well, since without it files would seem to be missing.
    pub fn open(path: &Path, options: &OpenOptions, progress: &dyn Progress) -> Result<BaseImage, OpenError> {
        BaseImage::of(Evidence::open(path, options, progress)?, options, progress)
    }

    /// A base image out of evidence that is open already.
    ///
    /// # Errors
    /// A layer cannot be opened, or cancel.
    pub fn of(evidence: Evidence, options: &OpenOptions, progress: &dyn Progress) -> Result<BaseImage, OpenError> {
        let mut image = BaseImage { name: evidence.name().to_owned(), layers: Vec::new(), issues: Vec::new() };
        let paths = match (evidence.get(b"oci-layout"), evidence.get(b"manifest.json")) {
            (Some(_), _) => image.layers_of_layout(&evidence),
            (None, Some(manifest)) => image.layers_of_docker(&evidence, manifest),
            (None, None) => None,
        };
        let Some(paths) = paths else {
            image.layers.push(evidence);
            return Ok(image);
        };
        let mut options = options.clone();
        for path in paths.into_iter().take(MAX_LAYERS) {
            let Some(member) = oci::follow(&evidence, &path) else {
                image.issues.push(Issue::new(Place::member(escape(&path)), "a layer of the image is missing"));
                continue;
            };
            let layer = evidence.open_nested(member, &options, progress)?;
            options.max_spool_bytes = options.max_spool_bytes.saturating_sub(layer.unpacked_bytes());
            image.layers.push(layer);
        }
        Ok(image)
    }

    /// What the analyst knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its layers, the lowest first.
    pub fn layers(&self) -> &[Evidence] {
        &self.layers
    }

    /// What is missing of it.
    pub fn issues(&self) -> &[Issue] {
        &self.issues
    }

    /// The file or directory of an absolute path, through symbolic links, and the layer that has it.
    pub fn get(&self, path: &[u8]) -> Option<(&Evidence, &Member)> {
        let (path, _) = normalise(path);
        let mut left: VecDeque<Vec<u8>> = path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        let (mut at, mut links) = (Vec::new(), 0);
        let mut found = None;
        while let Some(part) = left.pop_front() {
            at = join(&at, &part);
            found = self.at(&at);
            let Some((_, Member { kind: MemberKind::Symlink { target }, .. })) = found else { continue };
            links += 1;
            if MAX_LINKS < links {
                return None;
            }
            let dir = if target.starts_with(b"/") { Vec::new() } else { parent(&at).to_vec() };
            // Leaving the tree stays at its root, as it does for the container.
            let (target, _) = normalise(&join(&dir, target));
            for part in target.rsplit(|byte| *byte == b'/') {
                left.push_front(part.to_vec());
            }
            at = Vec::new();
        }
        found
    }

    /// The member of exactly this path, in the uppermost layer that has or hides it.
    fn at(&self, path: &[u8]) -> Option<(&Evidence, &Member)> {
        for layer in self.layers.iter().rev() {
            if let Some(member) = layer.get(path) {
                return Some((layer, member));
            }
            if hides(layer, path) {
                return None;
            }
        }
        None
    }

    fn layers_of_docker(&mut self, evidence: &Evidence, manifest: &Member) -> Option<Vec<Vec<u8>>> {
        let manifest = self.json(evidence, manifest)?;
        let layers = manifest.get(0)?.get("Layers")?.as_array()?;
        Some(layers.iter().filter_map(Value::as_str).map(|path| path.as_bytes().to_vec()).collect())
    }

    fn layers_of_layout(&mut self, evidence: &Evidence) -> Option<Vec<Vec<u8>>> {
        let mut next = evidence.get(b"index.json")?;
        for _ in 0..MAX_DEPTH {
            let json = self.json(evidence, next)?;
            if let Some(layers) = json.get("layers").and_then(Value::as_array) {
                return Some(layers.iter().filter_map(blob_path).collect());
            }
            next = evidence.get(&blob_path(json.get("manifests")?.get(0)?)?)?;
        }
        None
    }

    fn json(&mut self, evidence: &Evidence, member: &Member) -> Option<Value> {
        let len = member.available_bytes();
        let told = if MAX_JSON_BYTES < len {
            format!("has {len} bytes where JSON of at most {MAX_JSON_BYTES} was due")
        } else {
            match evidence.read(member).map(|bytes| serde_json::from_slice(&bytes)) {
                Ok(Ok(value)) => return Some(value),
                Ok(Err(error)) => format!("is not JSON: {error}"),
                Err(error) => error.to_string(),
            }
        };
        self.issues.push(Issue::new(member.place(), told));
        None
    }
}

/// Whether a layer says of a path which it does not have that lower layers do not count.
fn hides(layer: &Evidence, path: &[u8]) -> bool {
    let mut child = path;
    while !child.is_empty() {
        let dir = parent(child);
        let name = child.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let whiteout = [b".wh.".as_slice(), name].concat();
        let is_hidden = layer.get(&join(dir, &whiteout)).is_some() || layer.get(&join(dir, b".wh..wh..opq")).is_some();
        // What was a directory below is something else now.
        if is_hidden || (!dir.is_empty() && layer.get(dir).is_some_and(|member| !member.is_dir())) {
            return true;
        }
        child = dir;
    }
    false
}

fn blob_path(descriptor: &Value) -> Option<Vec<u8>> {
    oci::blob_path(descriptor.get("digest")?.as_str()?).map(String::into_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Tar, compress, open};
    use super::*;
    use crate::base::Silent;
    use crate::evidence::Compression;

    fn image(evidence: Evidence) -> BaseImage {
        BaseImage::of(evidence, &OpenOptions::default(), &Silent).unwrap()
    }

    fn text(image: &BaseImage, path: &str) -> Option<String> {
        let (layer, member) = image.get(path.as_bytes())?;
        Some(String::from_utf8(layer.read(member).ok()?.to_vec()).unwrap())
    }

    #[test]
    fn tar_of_a_root_file_system_is_one_layer_with_links_followed_inside() {
        let tar = Tar::new()
            .symlink("lib", "usr/lib")
            .symlink("usr/lib/libc.so", "/usr/lib/libc.so.6")
            .file("usr/lib/libc.so.6", b"libc")
            .symlink("up", "../../etc/motd")
            .file("etc/motd", b"hi")
            .symlink("loop", "loop")
            .end();
        let image = image(open(tar));
        assert_eq!(text(&image, "/lib/libc.so").as_deref(), Some("libc"));
        assert_eq!(text(&image, "/up").as_deref(), Some("hi"));
        assert_eq!(text(&image, "/loop"), None);
        assert_eq!(text(&image, "/etc/passwd"), None);
    }

    #[test]
    fn layers_of_a_docker_archive_stand_over_each_other_with_whiteouts() {
        let low = Tar::new().file("a", b"low a").file("d/one", b"1").file("d/two", b"2").file("gone", b"x").end();
        let high = Tar::new()
            .file("a", b"high a")
            .file("d/.wh..wh..opq", b"")
            .file("d/two", b"22")
            .file(".wh.gone", b"")
            .end();
        let tar = Tar::new()
            .file("manifest.json", br#"[{"Config":"c.json","RepoTags":["x:1"],"Layers":["low.tar","high.tar"]}]"#)
            .file("low.tar", &compress(&low, Compression::Gzip))
            .file("high.tar", &high)
            .end();
        let image = image(open(tar));
        assert_eq!(text(&image, "/a").as_deref(), Some("high a"));
        assert_eq!((text(&image, "/d/one"), text(&image, "/d/two").as_deref()), (None, Some("22")));
        assert_eq!(text(&image, "/gone"), None);
        assert_eq!(image.issues(), []);
    }

    #[test]
    fn layout_without_a_layer_says_so() {
        let tar = Tar::new()
            .file("oci-layout", b"{}")
            .file("index.json", br#"{"manifests":[{"digest":"sha256:aa"}]}"#)
            .file("blobs/sha256/aa", br#"{"layers":[{"digest":"sha256:bb"},{"digest":"sha256:cc"}]}"#)
            .file("blobs/sha256/bb", &Tar::new().file("x", b"y").end())
            .end();
        let image = image(open(tar));
        assert_eq!(text(&image, "/x").as_deref(), Some("y"));
        assert_eq!(image.issues().len(), 1);
        assert_eq!(image.issues()[0].to_string(), "blobs/sha256/cc: a layer of the image is missing");
    }
}
