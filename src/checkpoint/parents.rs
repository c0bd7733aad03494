//! The chain of checkpoints that one was taken on top of, and the pages in it.
//!
//! CRIU leaves a link `parent` in a checkpoint that has only the pages that changed since an earlier one (`--track-mem`,
//! `--prev-images-dir`; Podman's `--with-previous`). The next of the chain is looked for
//! - where the link leads, inside the same evidence;
//! - of a directory, in the directory beside it that the link leads to ([`Evidence::open_beside`]);
//! - among what the analyst supplies ([`SuppliedParent`]), the nearest first.
//!
//! Of a parent only pagemaps and pages files are read. The pagemap of a process continues in that of the same name.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::{Cancelled, Issue, PageSize, Place, Progress, escape};
use crate::decode::{Ctx, Img, pagemap};
use crate::evidence::{
    Evidence, Member, OpenError, OpenOptions, ParentLink, find_checkpoints, image_dirs, parent_link,
};

use super::load::{LoadError, join};
use super::pages::{Pagemap, UnpackedBlocks};

/// Longest chain.
const MAX_CHAIN: usize = 256;

/// Evidence that holds an earlier checkpoint.
#[derive(Clone, Debug)]
pub struct SuppliedParent {
    name: String,
    /// The checkpoints that no other one in the same evidence was taken on top of.
    last: Vec<ImagesDir>,
    all: Vec<ImagesDir>,
}

/// A directory of images.
#[derive(Clone, Debug)]
struct ImagesDir {
    evidence: Evidence,
    dir: Vec<u8>,
}

impl ImagesDir {
    fn is_same(&self, other: &ImagesDir) -> bool {
        self.dir == other.dir && self.evidence.is_same(&other.evidence)
    }

    /// Its pagemaps, each with its base name.
    fn pagemaps(&self) -> impl Iterator<Item = (&Member, &str)> {
        let here = self.evidence.members().iter().filter(|member| member.parent() == self.dir);
        here.filter_map(|member| Some((member, pagemap_name(member)?)))
    }

    /// Its last part.
    fn name(&self) -> Vec<u8> {
        let path = || self.evidence.path().and_then(|path| path.file_name());
        match last_part(&self.dir) {
            b"" => path().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default(),
            part => part.to_vec(),
        }
    }
}

fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').find(|part| !matches!(*part, b"" | b".")).unwrap_or_default()
}

impl SuppliedParent {
    /// Looks for the checkpoints in evidence.
    ///
    /// # Errors
    /// `NoCheckpoint` when there is none; cancel.
    pub fn of(
        evidence: &Evidence,
        options: &OpenOptions,
        progress: &dyn Progress,
    ) -> Result<SuppliedParent, LoadError> {
        let (roots, _) = find_checkpoints(evidence, options, progress)?;
        if roots.is_empty() {
            let (name, members) = (evidence.name().to_owned(), evidence.members().len());
            return Err(LoadError::NoCheckpoint { name, members });
        }
        let mut all: Vec<ImagesDir> = Vec::new();
        for root in &roots {
            if !all.iter().any(|known| known.evidence.is_same(&root.evidence)) {
                let dirs = image_dirs(&root.evidence).into_iter().take(options.limits.max_checkpoints);
                all.extend(dirs.map(|dir| ImagesDir { evidence: root.evidence.clone(), dir }));
            }
        }
        let last = roots.into_iter().map(|root| ImagesDir { evidence: root.evidence, dir: root.images_dir });
        Ok(SuppliedParent { name: evidence.name().to_owned(), last: last.collect(), all })
    }

    /// The one that a link means: by the name that it leads to, or because there is no other.
    fn pick(&self, target: Option<&[u8]>) -> Option<&ImagesDir> {
        let wanted = target.map(last_part).unwrap_or_default();
        let mut named = self.all.iter().filter(|it| !wanted.is_empty() && it.name() == wanted);
        match (named.next(), named.next(), &self.last[..]) {
            (Some(one), None, _) | (_, _, [one]) => Some(one),
            _ => None,
        }
    }
}

/// A checkpoint of the chain.
struct Parent {
    at: ImagesDir,
    /// What stands before the name of an image of it, with a separator.
    label: String,
}

/// The chain of one checkpoint, nearest first.
pub(super) struct Parents(Vec<Parent>);

impl Parents {
    /// Follows the links, each at most once. What is not there is told.
    ///
    /// # Errors
    /// Cancel.
    pub(super) fn find(
        evidence: &Evidence,
        images_dir: &[u8],
        supplied: &[SuppliedParent],
        (page_size, ctx): (PageSize, &Ctx),
        options: &OpenOptions,
        progress: &dyn Progress,
        issues: &mut Vec<Issue>,
    ) -> Result<Parents, Cancelled> {
        let own = ImagesDir { evidence: evidence.clone(), dir: images_dir.to_vec() };
        let mut chain: Vec<Parent> = Vec::new();
        let mut supplied = supplied.iter();
        loop {
            let (at, label) = chain.last().map_or((&own, ""), |parent| (&parent.at, parent.label.as_str()));
            let link = parent_link(&at.evidence, &at.dir);
            let place = Place::member(format!("{label}parent"));
            let by_link = match by_link(at, link.as_ref(), options, progress) {
                Err(OpenError::Cancelled(cancelled)) => return Err(cancelled),
                Err(error) => {
                    issues.push(Issue::new(place.clone(), format!("cannot be followed: {error}")));
                    None
                }
                Ok(found) => found,
            };
            let next = match (by_link, &link) {
                (Some(next), _) => next,
                // A copy may have lost the link.
                (None, None) if supplied.len() == 0 || !needs_parent(at, page_size, ctx) => break,
                (None, link) => match (supplied.next(), link) {
                    (Some(parent), link) => match parent.pick(link.as_ref().map(target)) {
                        Some(next) => next.clone(),
                        None => {
                            let what = format!(
                                "{} holds several checkpoints, and none has the name that this link leads to; supply the directory or archive of the right one",
                                parent.name
                            );
                            issues.push(Issue::new(place, what));
                            break;
                        }
                    },
                    (None, Some(link)) => {
                        issues.push(Issue::new(place, missing(link)));
                        break;
                    }
                    (None, None) => break,
                },
            };
            let is_known = own.is_same(&next) || chain.iter().any(|parent| parent.at.is_same(&next));
            if is_known || chain.len() >= options.limits.max_chain.min(MAX_CHAIN) {
                let what = "the chain of parent checkpoints leads back to itself or is too long";
                issues.push(Issue::new(place, what));
                break;
            }
            let label = label_of(&own, &next);
            chain.push(Parent { at: next, label });
        }
        for unused in supplied {
            let what = "is not used: the chain of parents ends before it";
            issues.push(Issue::new(Place::member(unused.name.as_str()), what));
        }
        Ok(Parents(chain))
    }

    /// What they are called, nearest first.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|parent| parent.label.trim_end_matches(['/', '!']).to_owned()).collect()
    }

    /// Pagemaps of the nearest parent by name, each with those below it. The oldest is decoded first.
    pub(super) fn pagemaps(
        &self,
        page_size: PageSize,
        ctx: &Ctx,
        unpacked: &Arc<UnpackedBlocks>,
        issues: &mut Vec<Issue>,
    ) -> Pagemaps {
        let max = ctx.limits.max_pagemap_bytes;
        let mut left = max;
        let mut below = Pagemaps::new();
        for parent in self.0.iter().rev() {
            let Parent { at, label } = parent;
            let source = PageSource { evidence: &at.evidence, dir: &at.dir, label, unpacked };
            let mut pagemaps = Pagemaps::new();
            for (member, name) in at.pagemaps() {
                let place = || Place::member(format!("{}{name}", parent.label));
                let Some(after) = left.checked_sub(member.available_bytes()) else {
                    let what = format!("is not decoded: the pagemaps of the parents have more than {max} bytes");
                    issues.push(Issue::new(place(), what));
                    continue;
                };
                left = after;
                match parent.at.evidence.read(member) {
                    Ok(bytes) => {
                        let img = Img::new(name, bytes);
                        let pagemap = source.pagemap(&img, page_size, ctx, below.get(name).cloned(), issues);
                        pagemaps.insert(name.to_owned(), Arc::new(pagemap));
                    }
                    Err(err) => issues.push(Issue::new(place(), err.to_string())),
                }
            }
            if pagemaps.is_empty() {
                let what = "no pagemaps of the parent checkpoint are here";
                issues.push(Issue::new(Place::member(format!("{}pagemap-*.img", parent.label)), what));
            }
            below = pagemaps;
        }
        below
    }
}

/// The directory that a link leads to, where images are in it.
fn by_link(
    at: &ImagesDir,
    link: Option<&ParentLink>,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<Option<ImagesDir>, OpenError> {
    match link {
        None => Ok(None),
        Some(ParentLink::Inside(dir)) => {
            let has_images = at.evidence.members().iter().any(|it| it.parent() == dir && pagemap_name(it).is_some());
            Ok(has_images.then(|| ImagesDir { evidence: at.evidence.clone(), dir: dir.clone() }))
        }
        Some(ParentLink::Outside(target)) => {
            let beside = at.evidence.open_beside(&at.dir, target, options, progress)?;
            let of_images = beside.filter(|evidence| image_dirs(evidence).contains(&Vec::new()));
            Ok(of_images.map(|evidence| ImagesDir { evidence, dir: Vec::new() }))
        }
    }
}

/// Whether a page of it is said to be in a parent.
fn needs_parent(at: &ImagesDir, page_size: PageSize, ctx: &Ctx) -> bool {
    let mut left = ctx.limits.max_pagemap_bytes;
    let mut listed = at.pagemaps().take_while(|(member, _)| {
        let after = left.checked_sub(member.available_bytes());
        left = after.unwrap_or(0);
        after.is_some()
    });
    listed.any(|(member, name)| {
        let Ok(bytes) = at.evidence.read(member) else { return false };
        let decoded = pagemap::pagemap(&Img::new(name, bytes), ctx, page_size);
        decoded.value.runs.iter().any(|run| run.stored.is_none() && run.flags.is_in_parent())
    })
}

fn target(link: &ParentLink) -> &[u8] {
    match link {
        ParentLink::Inside(path) | ParentLink::Outside(path) => path,
    }
}

fn missing(link: &ParentLink) -> String {
    let (ParentLink::Inside(path) | ParentLink::Outside(path)) = link;
    let outside = if matches!(link, ParentLink::Outside(_)) { ", which is outside the evidence" } else { "" };
    format!(
        "the parent checkpoint is not here: leads to {}{outside}; its directory or archive can be supplied (--parent PATH)",
        escape(path)
    )
}

fn label_of(own: &ImagesDir, at: &ImagesDir) -> String {
    let dir = match &at.dir[..] {
        b"" => String::new(),
        dir => format!("{}/", escape(dir)),
    };
    if own.evidence.is_same(&at.evidence) {
        return dir;
    }
    let name = at.evidence.name();
    let separator = if at.evidence.form() == crate::evidence::Form::Directory { '/' } else { '!' };
    format!("{}{separator}{dir}", name.trim_end_matches('/'))
}

fn pagemap_name(member: &Member) -> Option<&str> {
    let name = std::str::from_utf8(member.file_name()).ok()?;
    (member.is_file() && name.starts_with("pagemap-") && name.ends_with(".img")).then_some(name)
}

/// Pagemaps by base name.
pub(super) type Pagemaps = HashMap<String, Arc<Pagemap>>;

/// Where the pagemaps and pages files of one checkpoint are read from.
#[derive(Clone, Copy)]
pub(super) struct PageSource<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) dir: &'a [u8],
    /// What stands before the names of its images: nothing for the checkpoint itself.
    pub(super) label: &'a str,
    pub(super) unpacked: &'a Arc<UnpackedBlocks>,
}

impl PageSource<'_> {
    /// Decodes a pagemap and lays it over its pages file.
    pub(super) fn pagemap(
        self,
        img: &Img,
        page_size: PageSize,
        ctx: &Ctx,
        parent: Option<Arc<Pagemap>>,
        issues: &mut Vec<Issue>,
    ) -> Pagemap {
        let pages = |name: &str, issues: &mut Vec<Issue>| {
            let read = self.evidence.get(&join(self.dir, name.as_bytes())).map(|member| self.evidence.read(member));
            let what = match read {
                Some(Ok(bytes)) => return Some(bytes),
                Some(Err(err)) => err.to_string(),
                None => format!("is missing, and {} names it", img.name),
            };
            issues.push(Issue::new(Place::member(format!("{}{name}", self.label)), what));
            None
        };
        let (mut pagemap, found) = Pagemap::build(img, ctx, page_size, pages, parent, self.unpacked);
        if !pagemap.pages_name.is_empty() {
            pagemap.pages_name.insert_str(0, self.label);
        }
        issues.extend(found.into_iter().map(|issue| {
            let member = format!("{}{}", self.label, issue.place.member);
            Issue::new(Place { member, ..issue.place }, issue.what)
        }));
        pagemap
    }
}
