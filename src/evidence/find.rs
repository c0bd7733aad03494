//! Where the checkpoints lie in the evidence.
//!
//! A checkpoint is a directory with `inventory.img`, or with images of processes whose inventory is missing (a pre-dump
//! of old, what a refused dump or a damaged archive has left). It is looked for in the evidence itself; where there is none, in the layers of
//! an OCI image or a docker archive; and where there is none either, one archive deeper.

use std::collections::{HashMap, HashSet};

use crate::base::{Issue, Place, Progress};

use super::header::{BLOCK, Header};
use super::member::{MemberKind, join, normalise, parent};
use super::oci::{self, OciImage};
use super::{Compression, Evidence, Form, Member, OpenError, OpenOptions};

/// Most archives inside that are opened in search of a checkpoint.
const MAX_ARCHIVES: usize = 64;
/// Most files of a directory that are looked into for whether they are archives.
const MAX_LOOKS: usize = 4096;

/// Where a checkpoint lies.
#[derive(Clone, Debug)]
pub struct CheckpointRoot {
    /// What holds it: the evidence that was searched, or an archive inside.
    pub evidence: Evidence,
    /// Directory of the images: `checkpoint`, or empty for the top.
    pub images_dir: Vec<u8>,
    /// Directory where `config.dump` lies or would lie; empty for the top.
    pub base_dir: Vec<u8>,
    /// Directory of the checkpoint that this one was taken on top of, where `parent` leads inside the same evidence.
    pub parent_dir: Option<Vec<u8>>,
    /// The image whose layer it is.
    pub oci: Option<OciImage>,
}

/// Finds all checkpoints. Parents (pre-dumps) to which another one refers are not listed by themselves.
///
/// None at all is an empty list; issues say what was in the way.
///
/// # Errors
/// Cancel; and when nothing was found, the limit or full disk that stopped opening an archive inside.
pub fn find_checkpoints(
    evidence: &Evidence,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<(Vec<CheckpointRoot>, Vec<Issue>), OpenError> {
    let mut search = Search { options: options.clone(), progress, issues: Vec::new(), failure: None, opened: 0 };
    let found = search.search(evidence, true)?;
    match search.failure {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok((found, search.issues)),
    }
}

/// A search under way: what it may still do, and what it met.
pub(super) struct Search<'a> {
    /// The limit on unpacked bytes shrinks with each archive, so that many small ones are no way around it.
    options: OpenOptions,
    progress: &'a dyn Progress,
    pub(super) issues: Vec<Issue>,
    /// The first archive inside that went over a limit.
    failure: Option<OpenError>,
    opened: usize,
}

impl Search<'_> {
    fn search(&mut self, evidence: &Evidence, goes_deeper: bool) -> Result<Vec<CheckpointRoot>, OpenError> {
        let found = self.in_directories(evidence, None);
        if !found.is_empty() {
            return Ok(found);
        }
        let found = oci::find(self, evidence)?;
        if !found.is_empty() || !goes_deeper {
            return Ok(found);
        }
        self.in_archives(evidence)
    }

    /// Opens a member as an archive. What is wrong with it is noted.
    ///
    /// # Errors
    /// Cancel.
    pub(super) fn open(&mut self, evidence: &Evidence, member: &Member) -> Result<Option<Evidence>, OpenError> {
        if self.opened == MAX_ARCHIVES {
            let what =
                format!("more than {MAX_ARCHIVES} archives inside; this one and those after it were not searched");
            self.issues.push(Issue::new(member.place(), what));
        }
        self.opened = self.opened.saturating_add(1);
        if MAX_ARCHIVES < self.opened {
            return Ok(None);
        }
        match evidence.open_nested(member, &self.options, self.progress) {
            Ok(nested) => {
                let unpacked = nested.unpacked_bytes();
                self.options.max_spool_bytes = self.options.max_spool_bytes.saturating_sub(unpacked);
                Ok(Some(nested))
            }
            Err(error @ OpenError::Cancelled(_)) => Err(error),
            Err(error) => {
                self.issues.push(Issue::new(
                    member.place(),
                    format!("cannot be opened as an archive: {}", with_source(&error)),
                ));
                let is_limit = matches!(
                    error,
                    OpenError::TooLarge { .. }
                        | OpenError::RatioTooHigh { .. }
                        | OpenError::DiskFull { .. }
                        | OpenError::CacheDir { .. }
                        | OpenError::NoCacheDir
                );
                if is_limit && self.failure.is_none() {
                    self.failure = Some(error);
                }
                Ok(None)
            }
        }
    }

    /// Checkpoints among the directories of the evidence, in order of their first image.
    pub(super) fn in_directories(&mut self, evidence: &Evidence, oci: Option<&OciImage>) -> Vec<CheckpointRoot> {
        let mut dirs = image_dirs(evidence);
        let max = self.options.limits.max_checkpoints;
        if let Some(first) = dirs.get(max) {
            let place = Place::member(crate::base::escape(first));
            let what =
                format!("more than {max} checkpoints; this one and {} after it are not opened", dirs.len() - max - 1);
            self.issues.push(Issue::new(place, what));
            dirs.truncate(max);
        }
        let parents: Vec<Option<Vec<u8>>> = dirs.iter().map(|dir| parent_dir(evidence, dir)).collect();
        let numbers: HashMap<&[u8], usize> = dirs.iter().enumerate().map(|(number, dir)| (&dir[..], number)).collect();
        let parent_numbers: Vec<Option<usize>> =
            parents.iter().map(|dir| numbers.get(dir.as_deref()?).copied()).collect();
        let mut is_parent = vec![false; dirs.len()];
        for (number, parent) in parent_numbers.iter().enumerate() {
            if let Some(parent) = parent.filter(|parent| *parent != number) {
                is_parent[parent] = true;
            }
        }
        // Parents that go in a circle would all be left out.
        let mut is_reached = vec![false; dirs.len()];
        for start in (0..dirs.len()).filter(|number| !is_parent[*number]) {
            let mut at = Some(start);
            while let Some(number) = at.filter(|number| !is_reached[*number]) {
                is_reached[number] = true;
                at = parent_numbers[number];
            }
        }
        let mut found = Vec::new();
        for (number, images_dir) in dirs.iter().enumerate() {
            if is_parent[number] && is_reached[number] {
                continue;
            }
            if !is_reached[number] {
                let place = Place::member(crate::base::escape(&join(images_dir, b"parent")));
                self.issues.push(Issue::new(place, "parent checkpoints go in a circle; each is shown by itself"));
            }
            found.push(CheckpointRoot {
                evidence: evidence.clone(),
                base_dir: base_dir(evidence, images_dir),
                images_dir: images_dir.clone(),
                parent_dir: parents.get(number).cloned().flatten(),
                oci: oci.cloned(),
            });
        }
        found
    }

    /// Archives among the members: an archive that was packed once more, or a directory of archives.
    fn in_archives(&mut self, evidence: &Evidence) -> Result<Vec<CheckpointRoot>, OpenError> {
        let mut found = Vec::new();
        let files = evidence.members().iter().filter(|member| member.is_file() && !member.leaves_tree);
        // A file of a directory must be opened to see what it is.
        let is_dir = evidence.form() == Form::Directory;
        let looks = if is_dir { MAX_LOOKS } else { usize::MAX };
        let files = files.filter(|member| !is_dir || member.path.iter().filter(|byte| **byte == b'/').count() < 2);
        for member in files.take(looks) {
            if !is_archive(evidence, member) {
                continue;
            }
            if let Some(nested) = self.open(evidence, member)? {
                found.extend(self.search(&nested, false)?);
            }
        }
        Ok(found)
    }
}

/// Directories that hold the images of a checkpoint, or what a dump that was refused left of them. In the order of their
/// first image.
pub fn image_dirs(evidence: &Evidence) -> Vec<Vec<u8>> {
    let mut dirs: Vec<Vec<u8>> = Vec::new();
    let mut seen: HashSet<&[u8]> = HashSet::new();
    for member in evidence.members().iter().filter(|member| member.file_name().ends_with(b".img") && member.is_file()) {
        let dir = member.parent();
        if seen.contains(dir) {
            continue;
        }
        let is_image = match image_name(member.file_name()) {
            ImageName::Certain => true,
            ImageName::Likely => evidence.read_range(member, 0..4).is_ok_and(|magic| *magic == HEAD_MAGIC),
            ImageName::Other => false,
        };
        if is_image {
            seen.insert(dir);
            dirs.push(dir.to_vec());
        }
    }
    dirs
}

/// What every image of `img_version` 2 begins with, little-endian.
const HEAD_MAGIC: [u8; 4] = 0x5456_4319_u32.to_le_bytes();

/// What the name of a file says about it.
enum ImageName {
    /// Nothing else is called `inventory.img`, `pstree.img`, `core-N.img` or `pagemap-N.img`.
    Certain,
    /// CRIU writes `files.img`, `ids-N.img` and `mm-N.img` early; others may use such names.
    Likely,
    Other,
}

fn image_name(name: &[u8]) -> ImageName {
    let is_numbered = |kind: &[u8]| {
        let number = name.strip_prefix(kind).and_then(|name| name.strip_suffix(b".img"));
        number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
    };
    match name {
        b"inventory.img" | b"pstree.img" => ImageName::Certain,
        b"files.img" => ImageName::Likely,
        _ if is_numbered(b"core-") || is_numbered(b"pagemap-") => ImageName::Certain,
        _ if is_numbered(b"ids-") || is_numbered(b"mm-") => ImageName::Likely,
        _ => ImageName::Other,
    }
}

/// Where `parent` in a directory of images leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParentLink {
    /// To a directory of the same evidence.
    Inside(Vec<u8>),
    /// Out of the evidence; the target as it stands.
    Outside(Vec<u8>),
}

/// The link that CRIU leaves in a checkpoint that it took on top of another one, or the directory that a copy has in its
/// place. `None` where there is none.
pub fn parent_link(evidence: &Evidence, images_dir: &[u8]) -> Option<ParentLink> {
    let link = evidence.get(&join(images_dir, b"parent"))?;
    match &link.kind {
        MemberKind::Symlink { target } => {
            let (path, leaves) = normalise(&join(images_dir, target));
            let is_inside = !leaves && target.first() != Some(&b'/');
            Some(if is_inside { ParentLink::Inside(path) } else { ParentLink::Outside(target.clone()) })
        }
        MemberKind::Directory => Some(ParentLink::Inside(link.path.clone())),
        _ => None,
    }
}

/// Where `parent` in a directory of images leads, if it stays inside.
fn parent_dir(evidence: &Evidence, images_dir: &[u8]) -> Option<Vec<u8>> {
    match parent_link(evidence, images_dir)? {
        ParentLink::Inside(dir) => Some(dir),
        ParentLink::Outside(_) => None,
    }
}

/// Engines put the images into `checkpoint` and their own files beside that directory.
fn base_dir(evidence: &Evidence, images_dir: &[u8]) -> Vec<u8> {
    let above = parent(images_dir);
    let has_config =
        |dir: &[u8]| [&b"config.dump"[..], b"spec.dump"].iter().any(|name| evidence.get(&join(dir, name)).is_some());
    let is_below = matches!(images_dir.rsplit(|byte| *byte == b'/').next(), Some(b"checkpoint" | b"pre-checkpoint"));
    if !has_config(images_dir) && (has_config(above) || is_below) { above.to_vec() } else { images_dir.to_vec() }
}

fn is_archive(evidence: &Evidence, member: &Member) -> bool {
    let len = member.available_bytes().min(BLOCK);
    let Ok(head) = evidence.read_range(member, 0..len) else { return false };
    Compression::detect(&head) != Compression::None
        || head.first_chunk().is_some_and(|block| Header::new(block).is_plausible())
}

/// An error with what caused it, as `anyhow` shows it.
fn with_source(error: &OpenError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
