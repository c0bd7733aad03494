//! The image that a container started from, attached to its checkpoint: clean pages of mapped files come from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;

use super::{JobId, sample};
use crate::base::Issue;
use crate::checkpoint::Checkpoint;
use crate::evidence::{BaseImage, Evidence, OpenError, OpenOptions};
use crate::jobs::JobCtx;
use crate::memory::Memory;

/// What is known of the base image of an archive.
#[derive(Clone, Debug, Default)]
pub enum BaseState {
    /// None is attached.
    #[default]
    None,
    /// A job opens one.
    Opening {
        /// The job.
        job: JobId,
        /// What it opens.
        path: PathBuf,
    },
    /// Memory is read with it.
    Attached(Arc<AttachedBase>),
    /// It could not be opened.
    Failed {
        /// What.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl BaseState {
    /// Whether memory is read with one.
    pub fn is_attached(&self) -> bool {
        matches!(self, BaseState::Attached(_))
    }
}

/// A base image that memory is read with.
#[derive(Clone, Debug)]
pub struct AttachedBase {
    /// Where it lies.
    pub path: PathBuf,
    /// Mapped files that are read from it.
    pub nr_files: usize,
    /// Files that are not those that were mapped, and what is missing of it.
    pub issues: Vec<Issue>,
    /// The image itself.
    pub image: Arc<BaseImage>,
}

fn open(path: &Path, options: &OpenOptions, ctx: &JobCtx) -> Result<BaseImage, OpenError> {
    if path == Path::new(sample::BASE_NAME) {
        let bytes = Bytes::from_static(sample::BASE);
        return BaseImage::of(Evidence::open_bytes(sample::BASE_NAME, bytes, options, ctx)?, options, ctx);
    }
    BaseImage::open(path, options, ctx)
}

/// Opens a base image and makes the memory that is read with it. Work for a job.
pub(super) fn attach(
    checkpoint: &Arc<Checkpoint>,
    path: &Path,
    ctx: &JobCtx,
) -> anyhow::Result<(AttachedBase, Memory)> {
    use crate::base::Progress as _;
    ctx.stage("opening the base image");
    let image = open(path, &OpenOptions::default(), ctx)
        .context("the base image cannot be opened; give a directory, a tar of it, an OCI layout or a docker archive")?;
    ctx.check()?;
    ctx.stage("comparing mapped files with it");
    let memory = Memory::with_base(Arc::clone(checkpoint), &image);
    ctx.check()?;
    let nr_files = memory.nr_files_of_base();
    let issues = memory.issues().to_vec();
    Ok((AttachedBase { path: path.to_path_buf(), nr_files, issues, image: Arc::new(image) }, memory))
}
