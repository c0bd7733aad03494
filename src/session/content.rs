//! What is too big or too slow to have at hand: raw images and contents of files, read by a job
//! when a panel asks, and kept while the archive is open.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;

use super::JobId;
use super::space::code::Code;
use super::space::rows::Rows;
use super::space::shape::Shape;
use super::space::stacks::ThreadStacks;
use crate::base::{Issue, Limits, Pid, Progress};
use crate::checkpoint::Checkpoint;
use crate::decode::{self, Ctx, Img, RawImg};
use crate::jobs::JobCtx;
use crate::memory::Memory;
use crate::memory::overlay::Fields;

/// Most contents that are kept of one archive.
const MAX_KEPT: usize = 32;

/// Largest recovered file that is read.
const MAX_BYTES: u64 = 256 << 20;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContentKey {
    /// Every record of an image file, by its name.
    Image(String),
    /// How many records each image file has.
    RecordCounts,
    /// A changed file of the root filesystem, by its index in `rootfs.entries`.
    RootfsEntry(usize),
    /// A recovered file, by its index in `recovered`.
    Recovered(usize),
    /// Rows of the address space of a process.
    Rows(Pid),
    /// Origins and entropy of the address space of a process.
    Shape(Pid),
    /// Stacks of the threads of a process.
    Stacks(Pid),
    /// Names and areas of the code of a process.
    Code(Pid),
    /// Fields of structures in the memory of a process.
    Fields(Pid),
}

impl ContentKey {
    /// Whether it changes with the base image.
    pub(super) fn is_of_memory(&self) -> bool {
        match self {
            ContentKey::Rows(_)
            | ContentKey::Shape(_)
            | ContentKey::Stacks(_)
            | ContentKey::Code(_)
            | ContentKey::Fields(_) => true,
            ContentKey::Image(_) | ContentKey::RecordCounts | ContentKey::RootfsEntry(_) | ContentKey::Recovered(_) => {
                false
            }
        }
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes of a file.
    Bytes(Bytes),
    /// Records of each image file, as the checkpoint lists them; `None` for files without records
    /// and those that could not be read.
    RecordCounts(Arc<Vec<Option<RecordCount>>>),
    /// Records of an image, its bytes, and what could not be read of it.
    Image {
        /// The records.
        raw: Arc<RawImg>,
        /// The whole file.
        bytes: Bytes,
        /// What could not be read.
        issues: Arc<Vec<Issue>>,
    },
    /// Rows of an address space.
    Rows(Arc<Rows>),
    /// Origins and entropy of an address space.
    Shape(Arc<Shape>),
    /// Stacks of the threads of a process.
    Stacks(Arc<ThreadStacks>),
    /// Names and areas of the code of a process.
    Code(Arc<Code>),
    /// Fields of structures in the memory of a process.
    Fields(Arc<Fields>),
}

/// How many records an image file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordCount {
    /// Records that are there.
    pub count: usize,
    /// The file is read to its end; otherwise there may have been more.
    pub is_whole: bool,
}

/// How far a request is.
#[derive(Clone, Debug)]
pub enum Requested {
    /// A job is at it.
    Loading(JobId),
    /// Here it is.
    Ready(Content),
    /// It could not be read; why.
    Failed(String),
}

/// What was asked for, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents(Vec<(ContentKey, Requested)>);

impl Contents {
    pub(super) fn get(&self, key: &ContentKey) -> Option<&Requested> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, requested)| requested)
    }

    pub(super) fn set(&mut self, key: ContentKey, requested: Requested) {
        self.0.retain(|(known, _)| *known != key);
        if self.0.len() >= MAX_KEPT
            && let Some(at) = self.0.iter().position(|(known, _)| *known != ContentKey::RecordCounts)
        {
            self.0.remove(at);
        }
        self.0.push((key, requested));
    }

    /// Drops what was made of memory: it is read anew.
    pub(super) fn forget_memory(&mut self) {
        self.0.retain(|(key, _)| !key.is_of_memory());
    }

    /// Whether the job was reading for us; `why` it gave up, or `None` when it was cancelled.
    pub(super) fn job_ended(&mut self, job: JobId, why: Option<&str>) -> bool {
        let is_ours = |requested: &Requested| matches!(requested, Requested::Loading(id) if *id == job);
        let Some(at) = self.0.iter().position(|(_, requested)| is_ours(requested)) else {
            return false;
        };
        match why {
            Some(why) => self.0[at].1 = Requested::Failed(why.to_owned()),
            None => {
                self.0.remove(at);
            }
        }
        true
    }
}

/// Reads what is asked for.
pub(super) fn read(
    checkpoint: &Checkpoint,
    memory: &Memory,
    key: &ContentKey,
    ctx: &JobCtx,
) -> anyhow::Result<Content> {
    ctx.stage("reading");
    match key {
        ContentKey::RecordCounts => count_records(checkpoint, ctx),
        ContentKey::Image(name) => read_image(checkpoint, name, ctx),
        ContentKey::RootfsEntry(index) => {
            let entry = checkpoint.rootfs.entries.get(*index).context("no such file")?;
            let archive = checkpoint.rootfs.archive.as_ref().context("the archive of changed files is missing")?;
            let member =
                archive.members().get(entry.member).context("the archive of changed files has no such member")?;
            Ok(Content::Bytes(archive.read(member)?))
        }
        ContentKey::Recovered(index) => {
            let file = checkpoint.recovered.get(*index).context("no such file")?;
            let bytes = file.read(&checkpoint.shared_memory, MAX_BYTES).map_err(|why| anyhow!("the content {why}"))?;
            Ok(Content::Bytes(bytes))
        }
        ContentKey::Rows(pid) => {
            let space = memory.space(*pid).map_err(|why| anyhow!("the memory {why}"))?;
            Ok(Content::Rows(Arc::new(Rows::new(&space))))
        }
        ContentKey::Shape(pid) => {
            let space = memory.space(*pid).map_err(|why| anyhow!("the memory {why}"))?;
            Ok(Content::Shape(Arc::new(Shape::new(&space, ctx)?)))
        }
        ContentKey::Fields(pid) => {
            let space = memory.space(*pid).map_err(|why| anyhow!("the memory {why}"))?;
            let order = super::space::byte_order(checkpoint);
            Ok(Content::Fields(Arc::new(Fields::of(&space, order, ctx)?)))
        }
        ContentKey::Code(pid) => {
            let space = memory.space(*pid).map_err(|why| anyhow!("the memory {why}"))?;
            Ok(Content::Code(Arc::new(Code::new(memory, &space, ctx)?)))
        }
        ContentKey::Stacks(pid) => {
            let space = memory.space(*pid).map_err(|why| anyhow!("the memory {why}"))?;
            Ok(Content::Stacks(Arc::new(ThreadStacks::new(memory, &space, ctx)?)))
        }
    }
}

fn bytes_of(checkpoint: &Checkpoint, name: &str) -> anyhow::Result<Bytes> {
    let image = checkpoint.image(name).with_context(|| format!("there is no {name}"))?;
    let member = checkpoint.evidence.get(&image.path).with_context(|| format!("there is no {name}"))?;
    Ok(checkpoint.evidence.read(member)?)
}

fn decode_ctx(checkpoint: &Checkpoint) -> Ctx {
    match bytes_of(checkpoint, "inventory.img") {
        Ok(bytes) => Ctx::detect(&Img::new("inventory.img", bytes), &Limits::default()).0,
        Err(_) => Ctx::default(),
    }
}

fn count_records(checkpoint: &Checkpoint, ctx: &JobCtx) -> anyhow::Result<Content> {
    let decode_ctx = decode_ctx(checkpoint);
    let mut counts = Vec::with_capacity(checkpoint.images.len());
    for (at, image) in checkpoint.images.iter().enumerate() {
        ctx.step(at as u64, Some(checkpoint.images.len() as u64))?;
        // Pages are not read to find that they are no records.
        let has_records = Img::new(&image.name, Bytes::new()).has_records();
        let bytes = if has_records { bytes_of(checkpoint, &image.name).ok() } else { None };
        let count = bytes.and_then(|bytes| decode::count_records(&Img::new(&image.name, bytes), &decode_ctx));
        counts.push(count.map(|(count, is_whole)| RecordCount { count, is_whole }));
    }
    Ok(Content::RecordCounts(Arc::new(counts)))
}

fn read_image(checkpoint: &Checkpoint, name: &str, ctx: &JobCtx) -> anyhow::Result<Content> {
    let decode_ctx = decode_ctx(checkpoint);
    let bytes = bytes_of(checkpoint, name)?;
    ctx.stage("decoding");
    let decoded = decode::raw(&Img::new(name, bytes.clone()), &decode_ctx);
    let issues = decoded.issues.into_iter().map(Issue::from).collect();
    Ok(Content::Image { raw: Arc::new(decoded.value), bytes, issues: Arc::new(issues) })
}
