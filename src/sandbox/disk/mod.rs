//! The disk of a run: `/rootfs`, what the processes saw as `/`, and `/images`, what criu restores from. Read-only, made in
//! memory from the evidence and written once into a file without a name; nothing is unpacked on the analyst's machine.
//!
//! - `tree` is the tree of files; `layers` lays archives over each other, `programs` what ran from a memfd; `erofs` writes it.

mod erofs;
mod layers;
mod programs;
mod tree;

use std::fs::File;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::backend::Backend;
use super::container::{FIRST_ID, NR_IDS};
use super::plan::Plan;
use crate::base::{Cancelled, Issue, Progress};
use crate::checkpoint::Checkpoint;
use crate::evidence::{BaseImage, OpenError, OpenOptions, ReadError};

pub use tree::{Attributes, Content, FileTree, Ino, Inode, Kind, TooMany};

use layers::join;

/// Directory of the root file system on the disk.
pub const ROOTFS: &str = "rootfs";
/// Directory of the images on the disk.
pub const IMAGES: &str = "images";
/// Directory of archives that are unpacked in the machine ([`super::plan::Fill`]), named by number.
pub const FILLS: &str = "fills";

/// Most files on the disk.
const MAX_FILES: usize = 2_000_000;
/// Most bytes of the disk.
pub const MAX_DISK_BYTES: u64 = 256 << 30;

/// Why there is no disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DiskError {
    /// Too many files.
    #[error("the root file system and the images have {0}")]
    TooMany(#[from] TooMany),
    /// Too many bytes.
    #[error("the machine's disk needs {needed} bytes, and may have {max}")]
    TooLarge {
        /// What it needs.
        needed: u64,
        /// The bound.
        max: u64,
    },
    /// No file system has such names.
    #[error("a file name of {len} bytes; Linux has at most 255")]
    LongName {
        /// Its length.
        len: usize,
    },
    /// A part of it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The cache directory cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file cannot be made.
    #[error("cannot make a file in {}: {source}", dir.display())]
    Make {
        /// The cache directory.
        dir: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the machine's disk: {0}")]
    Write(#[from] io::Error),
    /// Stopped.
    #[error("{0}")]
    Cancelled(#[from] Cancelled),
}

/// A disk that is ready.
#[derive(Debug)]
pub struct Disk {
    /// A file without a name.
    pub file: File,
    /// Its size.
    pub size_bytes: u64,
    /// What of the evidence is not on it.
    pub issues: Vec<Issue>,
}

/// Makes the disk of a plan. For a container files belong to the ids of this machine that its ids stand for.
///
/// # Errors
/// See [`DiskError`].
pub fn write(
    plan: &Plan,
    checkpoint: &Checkpoint,
    base: Option<&BaseImage>,
    backend: Backend,
    options: &OpenOptions,
    progress: &dyn Progress,
) -> Result<Disk, DiskError> {
    progress.stage("preparing the disk");
    progress.step(0, None)?;
    let mut issues = Vec::new();
    let mut tree = tree(plan, checkpoint, base, &mut issues)?;
    if backend == Backend::Container {
        tree.shift_owners(FIRST_ID, NR_IDS);
    }
    let dir = options.cache_dir()?;
    let cannot_make = |source| DiskError::Make { dir: dir.clone(), source };
    std::fs::create_dir_all(&dir).map_err(cannot_make)?;
    let file = tempfile::tempfile_in(&dir).map_err(cannot_make)?;
    let size_bytes = erofs::write(&tree, &file, MAX_DISK_BYTES, progress)?;
    Ok(Disk { file, size_bytes, issues })
}

/// Everything that goes on the disk.
fn tree(
    plan: &Plan,
    checkpoint: &Checkpoint,
    base: Option<&BaseImage>,
    issues: &mut Vec<Issue>,
) -> Result<FileTree, DiskError> {
    let mut tree = FileTree::new(MAX_FILES);
    let root = ROOTFS.as_bytes();
    for layer in base.map(BaseImage::layers).unwrap_or_default() {
        layers::lay_over(&mut tree, root, layer, issues)?;
    }
    for path in &checkpoint.rootfs.deleted {
        tree.remove(&join(root, path.as_bytes()));
    }
    if let Some(diff) = &checkpoint.rootfs.archive {
        layers::lay_over(&mut tree, root, diff, issues)?;
    }
    for made in &plan.rootfs.made {
        make(&mut tree, &join(root, made.path.as_bytes()), made.is_dir)?;
    }
    for placeholder in &plan.rootfs.placeholders {
        let path = join(root, placeholder.path.trim_start_matches('/').as_bytes());
        if tree.find(&path).is_none() {
            let kind = Kind::File(Content::Zeros(placeholder.size_bytes));
            tree.put(&path, kind, Attributes { mode: placeholder.mode, ..Attributes::default() })?;
        }
    }
    set_mode(&mut tree, root, plan.rootfs.root_mode.unwrap_or(0o755))?;
    let images = checkpoint.evidence.members().iter().filter(|member| member.parent() == checkpoint.images_dir);
    for member in images {
        layers::lay_at(&mut tree, &join(IMAGES.as_bytes(), member.file_name()), &checkpoint.evidence, member)?;
    }
    programs::lay(&mut tree, checkpoint, &plan.restore.programs, issues)?;
    for (number, fill) in plan.restore.fills.iter().enumerate() {
        let path = format!("{FILLS}/{number}.tar");
        if let Some(member) = checkpoint.evidence.get(fill.member.as_bytes()) {
            layers::lay_at(&mut tree, path.as_bytes(), &checkpoint.evidence, member)?;
        }
    }
    Ok(tree)
}

/// Makes a mount point where there is nothing.
fn make(tree: &mut FileTree, path: &[u8], is_dir: bool) -> Result<(), DiskError> {
    if tree.find(path).is_some() {
        return Ok(());
    }
    let kind = if is_dir {
        Kind::Directory(std::collections::BTreeMap::new())
    } else {
        Kind::File(Content::Bytes(bytes::Bytes::new()))
    };
    let mode = if is_dir { 0o755 } else { 0o644 };
    tree.put(path, kind, Attributes { mode, ..Attributes::default() })?;
    Ok(())
}

fn set_mode(tree: &mut FileTree, dir: &[u8], mode: u32) -> Result<(), DiskError> {
    make(tree, dir, true)?;
    if let Some(ino) = tree.find(dir) {
        tree.get_mut(ino).attributes.mode = mode & 0o7777;
    }
    Ok(())
}
