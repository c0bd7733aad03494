//! The one model. Fields are written by `apply` alone; views read through methods.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::base::BaseState;
use super::content::{ContentKey, Contents, Requested};
use super::filesystem::FileList;
use super::sandbox::{Readiness, Sandbox};
use super::search::{SearchId, Searches};
use super::{History, JobId, JobRow, Notifications, Object, ProcessTab, Settings, Target};
use crate::base::Pid;
use crate::checkpoint::Checkpoint;
use crate::memory::Memory;

/// Names an open archive; never used twice in a session, so views may key caches by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchiveId(pub u32);

/// A place in one of the open archives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which archive.
    pub archive: ArchiveId,
    /// Where in it.
    pub target: Target,
}

/// What is known of the digest of the evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashState {
    /// The evidence still arrives.
    NotYet,
    /// Nobody asked.
    #[default]
    NotComputed,
    /// A job is at it.
    Running(JobId),
    /// 64 hex digits of SHA-256.
    Known(String),
}

/// One checkpoint as a job has loaded it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in it.
    pub checkpoint: Arc<Checkpoint>,
    /// Everything in it that has a name.
    pub objects: Arc<Vec<Object>>,
    /// Its changed, removed and recovered files.
    pub files: Arc<FileList>,
    /// Its memory.
    pub memory: Arc<Memory>,
}

impl Loaded {
    /// Names what is in a checkpoint. Work for a job.
    pub fn new(checkpoint: Arc<Checkpoint>) -> Loaded {
        let objects = Arc::new(super::objects_of(&checkpoint));
        let files = Arc::new(FileList::of(&checkpoint));
        let memory = Arc::new(Memory::new(Arc::clone(&checkpoint)));
        Loaded { checkpoint, objects, files, memory }
    }
}

/// One checkpoint in the window, with what is selected in it.
#[derive(Clone, Debug)]
pub struct OpenArchive {
    pub(super) id: ArchiveId,
    pub(super) path: PathBuf,
    pub(super) title: String,
    pub(super) is_sample: bool,
    /// The job that still unpacks it.
    pub(super) arriving: Option<JobId>,
    pub(super) checkpoint: Arc<Checkpoint>,
    pub(super) objects: Arc<Vec<Object>>,
    pub(super) files: Arc<FileList>,
    pub(super) memory: Arc<Memory>,
    /// Counts how often `memory` was changed.
    pub(super) memory_version: u32,
    /// Memory without a base image.
    pub(super) plain_memory: Arc<Memory>,
    pub(super) base: BaseState,
    /// Earlier checkpoints that the analyst has supplied, the nearest first.
    pub(super) parents: Vec<PathBuf>,
    pub(super) target: Target,
    pub(super) arrivals: u64,
    pub(super) pid: Option<Pid>,
    pub(super) tab: ProcessTab,
    pub(super) hash: HashState,
    pub(super) contents: Contents,
    pub(super) searches: Searches,
    pub(super) sandbox: Sandbox,
}

impl OpenArchive {
    /// Its name in the session.
    pub fn id(&self) -> ArchiveId {
        self.id
    }

    /// Where it lies, or the name the sample goes by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the container, or of the file.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether it is the bundled sample.
    pub fn is_sample(&self) -> bool {
        self.is_sample
    }

    /// The job that still unpacks it: only what has passed so far is in the checkpoint, without its memory.
    pub fn arriving(&self) -> Option<JobId> {
        self.arriving
    }

    /// What is in it.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Everything in it that has a name.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// Its changed, removed and recovered files.
    pub fn files(&self) -> &FileList {
        &self.files
    }

    /// The memory of its processes.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Changes when memory is read with another base image, or without: what was derived from it is to be made anew.
    pub fn memory_version(&self) -> u32 {
        self.memory_version
    }

    /// Earlier checkpoints that the analyst has supplied, the nearest first.
    pub fn parents(&self) -> &[PathBuf] {
        &self.parents
    }

    /// The image that the container started from.
    pub fn base(&self) -> &BaseState {
        &self.base
    }

    /// Whether clean pages of mapped files are read from a base image.
    pub fn has_base(&self) -> bool {
        matches!(self.base, BaseState::Attached(_))
    }

    /// Counts how often something was selected, so that going where one is can be told from staying there.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// What is selected: the one selection that every panel follows.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The process the process panel shows.
    pub fn selected_pid(&self) -> Option<Pid> {
        self.pid
    }

    /// The tab the process panel shows.
    pub fn process_tab(&self) -> ProcessTab {
        self.tab
    }

    /// A content that was asked for by `ArchivesCommand::Read`; `None` when nobody did.
    pub fn content(&self, key: &ContentKey) -> Option<&Requested> {
        self.contents.get(key)
    }

    /// What was searched for in it.
    pub fn searches(&self) -> &Searches {
        &self.searches
    }

    /// Restoring it.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The digest of the evidence.
    pub fn hash(&self) -> &HashState {
        &self.hash
    }
}

/// All that the window shows.
#[derive(Debug, Default)]
pub struct Model {
    pub(super) archives: Vec<OpenArchive>,
    pub(super) active: Option<ArchiveId>,
    pub(super) next_archive: ArchiveId,
    pub(super) history: History<Place>,
    pub(super) jobs: Vec<JobRow>,
    pub(super) next_job: JobId,
    pub(super) next_search: SearchId,
    pub(super) notifications: Notifications,
    pub(super) settings: Settings,
    pub(super) readiness: Readiness,
    /// Archives that are being opened, with the base image that each is to have.
    pub(super) bases_due: Vec<(PathBuf, PathBuf)>,
}

impl Model {
    /// Nothing open.
    pub fn new(settings: Settings) -> Model {
        Model { settings, ..Model::default() }
    }

    /// Open archives in the order they were opened.
    pub fn archives(&self) -> &[OpenArchive] {
        &self.archives
    }

    /// The archive that is shown.
    pub fn active(&self) -> Option<&OpenArchive> {
        self.active.and_then(|id| self.archive(id))
    }

    /// The archive of this name, if it is still open.
    pub fn archive(&self, id: ArchiveId) -> Option<&OpenArchive> {
        self.archives.iter().find(|archive| archive.id == id)
    }

    /// Back and forward.
    pub fn history(&self) -> &History<Place> {
        &self.history
    }

    /// Jobs, oldest first.
    pub fn jobs(&self) -> &[JobRow] {
        &self.jobs
    }

    /// Jobs that run.
    pub fn running_jobs(&self) -> impl Iterator<Item = &JobRow> {
        self.jobs.iter().filter(|job| job.is_running())
    }

    /// Messages.
    pub fn notifications(&self) -> &Notifications {
        &self.notifications
    }

    /// Whether archives can be restored here.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// What is remembered.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) fn archive_mut(&mut self, id: ArchiveId) -> Option<&mut OpenArchive> {
        self.archives.iter_mut().find(|archive| archive.id == id)
    }

    pub(super) fn active_mut(&mut self) -> Option<&mut OpenArchive> {
        let active = self.active?;
        self.archives.iter_mut().find(|archive| archive.id == active)
    }
}
