//! The root file system that a container started from: a directory, a tar of it, or the layers of an image (OCI layout or
//! docker archive, as a directory or packed).
//!
//! It is evidence like any other: opened read-only, never unpacked to disk by its own names. Layers are looked through
//! from the top down, with the whiteouts of the OCI Image Format Specification v1.1 ("Layer Filesystem Changeset"). What a
//! manifest or a layer is named by, its digest, is compared with its bytes; one that differs was changed: it is used, and
//! an issue says so.

use std::collections::{HashSet, VecDeque};
use std::path::Path;

use serde_json::Value;

use crate::base::{Issue, Place, Progress, escape};

use super::member::{MemberKind, join, normalise, parent};
use super::oci::{self, MAX_JSON_BYTES};
use super::{Evidence, Member, OpenError, OpenOptions, Store, hash};

/// Most layers of an image.
const MAX_LAYERS: usize = 512;
/// Most symbolic links on the way to a file, as in Linux.
const MAX_LINKS: usize = 40;
/// Deepest nesting of indexes.
const MAX_DEPTH: usize = 4;

/// A layer of an image.
struct Layer {
    path: Vec<u8>,
    digest: Digest,
}

/// What a layer or manifest is known by.
enum Digest {
    OfBlob(String),
    OfUnpacked(String),
    None,
}

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
        let layers = match layout(&evidence) {
            Some((dir, true)) => image.layers_of_layout(&evidence, &dir, progress)?,
            Some((dir, false)) => image.layers_of_docker(&evidence, &dir),
            None => None,
        };
        let Some(layers) = layers else {
            image.layers.push(evidence);
            return Ok(image);
        };
        let mut options = options.clone();
        // One that stands twice in the list is hashed once.
        let mut hashed = HashSet::new();
        for Layer { path, digest } in layers.into_iter().take(MAX_LAYERS) {
            let Some(member) = oci::follow(&evidence, &path) else {
                image.issues.push(Issue::new(Place::member(escape(&path)), "a layer of the image is missing"));
                continue;
            };
            let layer = evidence.open_nested(member, &options, progress)?;
            if hashed.insert(path) {
                let packed = evidence.read(member)?;
                let bytes = match (&digest, &layer.0.store) {
                    (Digest::OfUnpacked(_), Store::Archive(unpacked)) => unpacked,
                    _ => &packed,
                };
                image.check(member, &digest, bytes, progress)?;
            }
            options.max_spool_bytes = options.max_spool_bytes.saturating_sub(layer.unpacked_bytes());
            image.layers.push(layer);
        }
        Ok(image)
    }

    /// Compares bytes with the digest that they are named by.
    fn check(
        &mut self,
        member: &Member,
        digest: &Digest,
        bytes: &[u8],
        progress: &dyn Progress,
    ) -> Result<(), OpenError> {
        let (stated, what) = match digest {
            Digest::OfBlob(stated) => (stated, "SHA-256"),
            Digest::OfUnpacked(stated) => (stated, "SHA-256 when unpacked"),
            Digest::None => return Ok(()),
        };
        let told = match stated.strip_prefix("sha256:") {
            Some(stated) => {
                let found = crate::base::hex(&hash::of_bytes(bytes, progress)?);
                if found == stated {
                    return Ok(());
                }
                format!("its {what} is {found}, the image says {stated}: it was changed, and is used all the same")
            }
            None => format!("is not verified: only SHA-256 is, and the image names it by {stated}"),
        };
        self.issues.push(Issue::new(member.place(), told));
        Ok(())
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

    /// Layers by their paths; the configuration has the digests of what they unpack to.
    fn layers_of_docker(&mut self, evidence: &Evidence, dir: &[u8]) -> Option<Vec<Layer>> {
        let manifest = self.json(evidence, evidence.get(&join(dir, b"manifest.json"))?)?;
        let image = manifest.get(0)?;
        let layers = image.get("Layers")?.as_array()?;
        let config = image.get("Config").and_then(Value::as_str);
        let config = config.and_then(|path| oci::follow(evidence, &join(dir, path.as_bytes())));
        let config = config.and_then(|member| self.json(evidence, member)).unwrap_or_default();
        let digest = |nr: usize| match config.pointer(&format!("/rootfs/diff_ids/{nr}")).and_then(Value::as_str) {
            Some(digest) => Digest::OfUnpacked(digest.to_owned()),
            None => Digest::None,
        };
        let paths = layers.iter().enumerate().filter_map(|(nr, path)| Some((nr, path.as_str()?)));
        Some(paths.map(|(nr, path)| Layer { path: join(dir, path.as_bytes()), digest: digest(nr) }).collect())
    }

    /// Layers by their digests.
    fn layers_of_layout(
        &mut self,
        evidence: &Evidence,
        dir: &[u8],
        progress: &dyn Progress,
    ) -> Result<Option<Vec<Layer>>, OpenError> {
        let layer = |descriptor: &Value| {
            let digest = descriptor.get("digest")?.as_str()?;
            Some(Layer {
                path: join(dir, oci::blob_path(digest)?.as_bytes()),
                digest: Digest::OfBlob(digest.to_owned()),
            })
        };
        let mut next = evidence.get(&join(dir, b"index.json"));
        for _ in 0..MAX_DEPTH {
            let Some(json) = next.and_then(|member| self.json(evidence, member)) else { return Ok(None) };
            if let Some(layers) = json.get("layers").and_then(Value::as_array) {
                return Ok(Some(layers.iter().filter_map(layer).collect()));
            }
            let first = json.get("manifests").and_then(|manifests| manifests.get(0)).and_then(layer);
            next = None;
            if let Some(Layer { path, digest }) = first
                && let Some(member) = evidence.get(&path)
            {
                if member.available_bytes() <= MAX_JSON_BYTES {
                    self.check(member, &digest, &evidence.read(member)?, progress)?;
                }
                next = Some(member);
            }
        }
        Ok(None)
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

/// The directory of an image in the evidence, and whether it is an OCI layout, else a docker archive. At the top or in a
/// directory or two: a root file system may have such files as well, deeper, or beside what a system has.
fn layout(evidence: &Evidence) -> Option<(Vec<u8>, bool)> {
    const MAX_PARTS: usize = 3;
    let is_file = |dir: &[u8], name: &[u8]| evidence.get(&join(dir, name)).is_some_and(Member::is_file);
    let is_layout = |dir: &[u8]| is_file(dir, b"oci-layout");
    if is_layout(b"") || is_file(b"", b"manifest.json") {
        return Some((Vec::new(), is_layout(b"")));
    }
    let is_root = [&b"usr"[..], b"bin", b"etc", b"lib"].iter().any(|name| evidence.get(name).is_some());
    if is_root {
        return None;
    }
    let near = |member: &&Member| member.path.split(|byte| *byte == b'/').count() <= MAX_PARTS;
    let near = evidence.members().iter().filter(near).filter(|member| member.is_file() && !member.leaves_tree);
    let named = |name: &'static [u8]| near.clone().filter(move |member| member.file_name() == name);
    let layouts = named(b"oci-layout").map(Member::parent).filter(|dir| is_file(dir, b"index.json"));
    let dockers = named(b"manifest.json").map(Member::parent);
    let found = layouts.map(|dir| (dir.to_vec(), true)).chain(dockers.map(|dir| (dir.to_vec(), false)));
    found.into_iter().next()
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

    fn digest(bytes: &[u8]) -> String {
        crate::base::hex(&<sha2::Sha256 as sha2::Digest>::digest(bytes))
    }

    /// The members of an OCI layout with one layer, in a directory; `stated` is what the manifest says of the layer.
    fn layout_in(dir: &str, layer: &[u8], stated: &str) -> Tar {
        let manifest = format!(r#"{{"layers":[{{"digest":"sha256:{stated}"}}]}}"#);
        let manifest_digest = digest(manifest.as_bytes());
        let index = format!(r#"{{"manifests":[{{"digest":"sha256:{manifest_digest}"}}]}}"#);
        Tar::new()
            .file(&format!("{dir}oci-layout"), b"{}")
            .file(&format!("{dir}index.json"), index.as_bytes())
            .file(&format!("{dir}blobs/sha256/{manifest_digest}"), manifest.as_bytes())
            .file(&format!("{dir}blobs/sha256/{stated}"), layer)
    }

    #[test]
    fn layers_are_compared_with_their_digests_and_used_either_way() {
        let layer = compress(&Tar::new().file("x", b"y").end(), Compression::Zstd);
        let good = image(open(layout_in("", &layer, &digest(&layer)).end()));
        assert_eq!((text(&good, "/x").as_deref(), good.issues()), (Some("y"), &[][..]));

        let other = digest(b"something else");
        let changed = image(open(layout_in("", &layer, &other).end()));
        assert_eq!(text(&changed, "/x").as_deref(), Some("y"));
        let told: Vec<String> = changed.issues().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        let expected = format!("blobs/sha256/{other}: its SHA-256 is {}, the image says {other}", digest(&layer));
        assert!(told[0].starts_with(&expected), "{told:?}");

        // A docker archive has the digests of what its layers unpack to.
        let plain = Tar::new().file("x", b"z").end();
        let docker = |diff_id: &str| {
            let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["sha256:{diff_id}"]}}}}"#);
            let tar = Tar::new()
                .file("manifest.json", br#"[{"Config":"c.json","Layers":["a/layer.tar"]}]"#)
                .file("c.json", config.as_bytes())
                .file("a/layer.tar", &compress(&plain, Compression::Gzip));
            image(open(tar.end()))
        };
        let good = docker(&digest(&plain));
        assert_eq!((text(&good, "/x").as_deref(), good.issues()), (Some("z"), &[][..]));
        let changed = docker(&other);
        assert_eq!(text(&changed, "/x").as_deref(), Some("z"));
        assert!(changed.issues()[0].to_string().starts_with("a/layer.tar: its SHA-256 when unpacked is "));
    }

    #[test]
    fn layout_is_found_below_a_directory_but_not_in_a_root_file_system() {
        let layer = Tar::new().file("x", b"y").end();
        let below = image(open(layout_in("images/base/", &layer, &digest(&layer)).end()));
        assert_eq!((text(&below, "/x").as_deref(), below.issues()), (Some("y"), &[][..]));
        let deep = image(open(layout_in("a/b/c/", &layer, &digest(&layer)).end()));
        assert_eq!(text(&deep, "/x"), None);
        let of_system = layout_in("srv/", &layer, &digest(&layer)).dir("etc").file("etc/motd", b"hi").end();
        let of_system = image(open(of_system));
        assert_eq!((text(&of_system, "/x"), text(&of_system, "/etc/motd").as_deref()), (None, Some("hi")));
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
        let told: Vec<String> = image.issues().iter().map(ToString::to_string).collect();
        assert!(told.contains(&"blobs/sha256/cc: a layer of the image is missing".to_owned()), "{told:?}");
        // The manifest and the other layer are not what they are named by.
        assert_eq!(told.len(), 3, "{told:?}");
    }
}
