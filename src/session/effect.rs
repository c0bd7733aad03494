//! What shall happen outside the model.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::export::MemoryExport;
use super::nodes::{Change, Wanted};
use super::sandbox::{Planned, Wishes};
use super::{ArchiveId, ContentKey, JobId, PanelKind, SearchId, SearchRequest, Settings, Theme};
use crate::acquire::PullControl;
use crate::base::Pid;
use crate::checkpoint::Checkpoint;
use crate::evidence::BaseImage;
use crate::memory::Memory;
use crate::report::search::KeptHit;
use crate::sandbox::run::Order;

/// One thing to do, once. The driver runs jobs; what needs a window is handed on to it.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Start a job; its row is in the model already.
    StartJob {
        /// Its name.
        id: JobId,
        /// What it is called.
        title: String,
        /// What it does.
        work: JobWork,
    },
    /// Tell a job to stop.
    CancelJob(JobId),
    /// Hold a pull, or let it go on.
    HoldPull {
        /// What it looks at.
        control: Arc<PullControl>,
        /// Held.
        is_held: bool,
    },
    /// Tell the machine that a job runs what to do.
    OrderSandbox {
        /// The job.
        job: JobId,
        /// What to do.
        order: Order,
    },
    /// Window: ask the analyst for files.
    ChooseFile(FileChoice),
    /// Window: ask for a base image.
    AskForBase,
    /// Window: ask for the address of an agent and its code.
    AskToPair,
    /// Window: ask for a parent checkpoint.
    AskForParent,
    /// Window: put text on the clipboard.
    CopyText(String),
    /// Window: bring a panel to the front.
    ShowPanel(PanelKind),
    /// Window: put the panels back.
    ResetLayout,
    /// Window: open the palette.
    OpenPalette,
    /// Window: show the keys.
    OpenShortcuts,
    /// Window: say what the program is.
    OpenAbout,
    /// Window: put the cursor into the filter box of the panel in front.
    FocusFilter,
    /// Window: ask for an address in the panel of memory that the analyst is in, else in the hex view.
    FocusAddress,
    /// Window: put the cursor into the field of the search panel.
    FocusSearch {
        /// In the memory of this process; `None` leaves the scope as it is.
        pid: Option<Pid>,
    },
    /// Window: light or dark.
    SetTheme(Theme),
    /// Window: zoom in percent.
    SetZoom(u32),
    /// Window: close.
    Quit,
}

/// What a job does.
#[derive(Clone, Debug)]
pub enum JobWork {
    /// Open evidence and load the checkpoints in it.
    OpenArchive(PathBuf),
    /// Open evidence again, with earlier checkpoints for the pages that it left in them.
    OpenWithParents {
        /// The evidence.
        path: PathBuf,
        /// The nearest first.
        parents: Vec<PathBuf>,
    },
    /// Open the bundled sample.
    OpenSample,
    /// SHA-256 of the evidence.
    HashEvidence {
        /// Which archive.
        archive: ArchiveId,
        /// Its checkpoint, which holds the evidence.
        checkpoint: Arc<Checkpoint>,
    },
    /// Read a content.
    ReadContent {
        /// Which archive.
        archive: ArchiveId,
        /// Its checkpoint.
        checkpoint: Arc<Checkpoint>,
        /// Its memory.
        memory: Arc<Memory>,
        /// Which of its memories that is.
        version: u32,
        /// What to read.
        key: ContentKey,
    },
    /// Open a base image and make the memory that is read with it.
    AttachBase {
        /// Which archive.
        archive: ArchiveId,
        /// Its checkpoint.
        checkpoint: Arc<Checkpoint>,
        /// Where the image lies.
        path: PathBuf,
    },
    /// Write a file the analyst has asked for.
    WriteFile {
        /// Where.
        path: PathBuf,
        /// What.
        bytes: Bytes,
        /// What is never written to.
        evidence: Vec<PathBuf>,
    },
    /// Copy a file of our own.
    Copy {
        /// The file.
        from: PathBuf,
        /// Where.
        path: PathBuf,
        /// What is never written to; that file is among it.
        evidence: Vec<PathBuf>,
    },
    /// Write memory of a process.
    WriteMemory {
        /// Its checkpoint.
        checkpoint: Arc<Checkpoint>,
        /// All memory of it.
        memory: Arc<Memory>,
        /// Whose.
        pid: Pid,
        /// What of it.
        what: MemoryExport,
        /// The file, or the directory.
        path: PathBuf,
        /// What is never written to.
        evidence: Vec<PathBuf>,
    },
    /// Search, and tell of what is found while it runs.
    Search {
        /// Which archive.
        archive: ArchiveId,
        /// The search.
        id: SearchId,
        /// Where to search.
        memory: Arc<Memory>,
        /// What, and where in it.
        request: Box<SearchRequest>,
    },
    /// Compile files of rules to see whether they are right.
    CheckRules {
        /// For which archive.
        archive: ArchiveId,
        /// The files.
        paths: Vec<PathBuf>,
    },
    /// Write hits, one line of JSON each.
    WriteHits {
        /// Where.
        path: PathBuf,
        /// What.
        hits: Vec<Arc<KeptHit>>,
        /// What is never written to.
        evidence: Vec<PathBuf>,
    },
    /// Look whether everything for the sandbox is there.
    CheckSandbox,
    /// Make the sandbox's bundle.
    InstallSandbox,
    /// Plan a restore.
    PlanSandbox {
        /// Which archive.
        archive: ArchiveId,
        /// Its checkpoint.
        checkpoint: Arc<Checkpoint>,
        /// The image that it started from.
        base: Option<(PathBuf, Arc<BaseImage>)>,
        /// What the analyst has set.
        wishes: Wishes,
    },
    /// Carry a plan out, and tell what happens.
    RunSandbox {
        /// Which archive.
        archive: ArchiveId,
        /// Its checkpoint.
        checkpoint: Arc<Checkpoint>,
        /// The image that it started from.
        base: Option<(PathBuf, Arc<BaseImage>)>,
        /// The plan.
        planned: Arc<Planned>,
        /// What the analyst has set.
        wishes: Wishes,
    },
    /// List the user's nodes.
    ListNodes,
    /// Pair with an agent.
    PairNode {
        /// Where it listens.
        address: String,
        /// What it printed.
        code: String,
        /// What to call it; empty for its own name.
        name: String,
        /// Through which proxy; empty for none but the environment's.
        proxy: String,
    },
    /// Forget a node.
    ForgetNode {
        /// Which.
        name: String,
    },
    /// Ask a node what is on it.
    AskNode {
        /// Which.
        name: String,
    },
    /// Change an archive that waits on a node.
    ChangeOnNode {
        /// Which node.
        node: String,
        /// Its id there.
        archive: String,
        /// How.
        change: Change,
    },
    /// Get an archive from a node.
    Acquire {
        /// Which node.
        node: String,
        /// Which archive.
        wanted: Wanted,
        /// How it is held.
        control: Arc<PullControl>,
    },
    /// Write the settings.
    SaveSettings(Settings),
}

/// What the analyst is asked to choose.
#[derive(Clone, Debug)]
pub enum FileChoice {
    /// Archives to open.
    OpenFiles,
    /// A directory to open.
    OpenDirectory,
    /// The base image of an archive.
    OpenBase {
        /// Which archive.
        archive: ArchiveId,
        /// A directory, else a file.
        is_directory: bool,
    },
    /// An earlier checkpoint of an archive.
    OpenParent {
        /// Which archive.
        archive: ArchiveId,
        /// A directory, else a file.
        is_directory: bool,
    },
    /// Files of YARA rules.
    OpenRules,
    /// Where to write hits.
    SaveHits {
        /// Proposed name.
        file_name: String,
        /// What will be written.
        hits: Vec<Arc<KeptHit>>,
    },
    /// Where to save a file of our own; its name is proposed.
    SaveCopy(PathBuf),
    /// Where to save memory.
    SaveMemory {
        /// Of which archive.
        archive: ArchiveId,
        /// Whose.
        pid: Pid,
        /// What of it.
        what: MemoryExport,
    },
    /// Where to save bytes.
    Save {
        /// Proposed name.
        file_name: String,
        /// What will be written.
        bytes: Bytes,
    },
}
