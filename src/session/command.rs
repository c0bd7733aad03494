//! What can be asked. Split by area; `apply/` has a file for each.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use super::export::{MemoryExport, Written};
use super::nodes::{Change, NodeRow, Order, Told, Wanted};
use super::sandbox::{Parts, Planned, Wishes};
use super::search::RulesState;
use super::{
    ArchiveId, Arrival, AttachedBase, Content, ContentKey, JobEnd, JobId, Layout, Loaded, NotificationId, PanelKind,
    SearchId, SearchNews, SearchRequest, Target, Theme,
};
use crate::acquire::custody::Verified;
use crate::base::{Pid, VirtAddr};
use crate::jobs::ProgressView;
use crate::memory::Memory;
use crate::report::changes::Changes;
use crate::report::search::KeptHit;
use crate::sandbox::run::Event;

/// One thing asked, by the analyst or by a job that has ended.
#[derive(Clone, Debug)]
pub enum Command {
    /// Archives: open, switch, close, hash.
    Archives(ArchivesCommand),
    /// Places: go, back, forward.
    Navigate(NavigateCommand),
    /// The window: panels, theme, zoom, palette.
    View(ViewCommand),
    /// Background work.
    Jobs(JobsCommand),
    /// Messages.
    Notifications(NotificationsCommand),
    /// What leaves the program.
    Export(ExportCommand),
    /// Bookmarks in memory.
    Bookmarks(BookmarksCommand),
    /// Searches.
    Search(SearchCommand),
    /// Restoring in the sandbox.
    Sandbox(SandboxCommand),
    /// Nodes and acquiring from them.
    Nodes(NodesCommand),
    /// End the program.
    Quit,
}

/// About archives.
#[derive(Clone, Debug)]
pub enum ArchivesCommand {
    /// Ask for files to open.
    OpenFileDialog,
    /// Ask for a directory to open.
    OpenDirectoryDialog,
    /// Open these.
    Open(Vec<PathBuf>),
    /// Open the bundled sample.
    OpenSample,
    /// A job has had an early look at one that still unpacks; see [`OpenArchive::arriving`](super::OpenArchive::arriving).
    Arrives {
        /// The job.
        job: JobId,
        /// Where it lies.
        path: PathBuf,
        /// What was found so far.
        checkpoints: Vec<Loaded>,
    },
    /// A job has opened one: the checkpoints it found, in place of those of an early look.
    Opened {
        /// Where it lies; for the sample, the name it goes by.
        path: PathBuf,
        /// It is the bundled sample.
        is_sample: bool,
        /// What was found.
        checkpoints: Vec<Loaded>,
        /// Earlier checkpoints that it was opened with; when there are any it was open already.
        parents: Vec<PathBuf>,
    },
    /// Show this one.
    Activate(ArchiveId),
    /// Show the next in the list, or the one before.
    ActivateNeighbour {
        /// Forward or backward.
        is_forward: bool,
    },
    /// Close this one.
    Close(ArchiveId),
    /// Close the active one.
    CloseActive,
    /// Compute the SHA-256 of the evidence.
    Hash(ArchiveId),
    /// A job has computed it: 64 hex digits.
    Hashed {
        /// Which archive.
        archive: ArchiveId,
        /// The digest.
        sha256: String,
        /// How the archive came from a node, and whether it is still that.
        custody: Option<Arc<Result<Verified, String>>>,
    },
    /// Read a content that is not at hand; see [`OpenArchive::content`](super::OpenArchive::content).
    Read {
        /// Of which archive.
        archive: ArchiveId,
        /// What.
        key: ContentKey,
    },
    /// A job has read it.
    HasRead {
        /// Of which archive.
        archive: ArchiveId,
        /// What.
        key: ContentKey,
        /// Which of its memories it was read from; see [`OpenArchive::memory_version`](super::OpenArchive::memory_version).
        version: u32,
        /// The content.
        content: Content,
    },
    /// Open these with the image that their containers started from.
    OpenWithBase {
        /// Archives.
        paths: Vec<PathBuf>,
        /// The base image of each.
        base: PathBuf,
    },
    /// Ask for the image that the container started from.
    AskForBase,
    /// Ask for it by the system's dialog.
    ChooseBase {
        /// A directory, else a file.
        is_directory: bool,
    },
    /// Read clean pages of mapped files from this image.
    AttachBase {
        /// Of which archive.
        archive: ArchiveId,
        /// Where the image lies.
        path: PathBuf,
    },
    /// A job has opened it.
    BaseAttached {
        /// Of which archive.
        archive: ArchiveId,
        /// The job.
        job: JobId,
        /// The image.
        base: Arc<AttachedBase>,
        /// Memory that is read with it.
        memory: Arc<Memory>,
    },
    /// Read memory without it again.
    DetachBase(ArchiveId),
    /// Ask for an earlier checkpoint that the active one was taken on top of.
    AskForParent,
    /// Ask for it by the system's dialog.
    ChooseParent {
        /// A directory, else a file.
        is_directory: bool,
    },
    /// Open an archive again, with the pages of an earlier checkpoint.
    SupplyParent {
        /// Which archive.
        archive: ArchiveId,
        /// Where the earlier one lies.
        path: PathBuf,
    },
    /// Drop a path from the list of recent archives.
    ForgetRecent(PathBuf),
}

/// About places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NavigateCommand {
    /// Go to a place in the active archive; the panel that shows it comes to the front.
    Go(Target),
    /// Select without bringing another panel to the front (a click in a list).
    Select(Target),
    /// One place back.
    Back,
    /// One place forward.
    Forward,
    /// So many places forward, or back where it is negative.
    Step(isize),
}

/// About the window.
#[derive(Clone, Debug, PartialEq)]
pub enum ViewCommand {
    /// Bring a panel to the front, opening it if it was closed.
    ShowPanel(PanelKind),
    /// Put the panels back where they were.
    ResetLayout,
    /// The panels are somewhere else now.
    KeepLayout(Layout),
    /// Open the command palette.
    OpenPalette,
    /// Show the keys.
    OpenShortcuts,
    /// Say what the program is.
    OpenAbout,
    /// Put the cursor into the filter box of the panel in front.
    FocusFilter,
    /// Ask for an address to go to in the memory of the selected process.
    GoToAddress,
    /// Light, dark, or as the system.
    SetTheme(Theme),
    /// Larger.
    ZoomIn,
    /// Smaller.
    ZoomOut,
    /// 100 %.
    ZoomReset,
}

/// About background work.
#[derive(Clone, Debug)]
pub enum JobsCommand {
    /// Stop a job.
    Cancel(JobId),
    /// A job is further on.
    Progressed {
        /// Which.
        id: JobId,
        /// How far.
        progress: ProgressView,
    },
    /// More of the archive that a job opens is there.
    Arrived {
        /// Which job.
        id: JobId,
        /// All that is there.
        arrival: Arrival,
    },
    /// A job has ended.
    Ended {
        /// Which.
        id: JobId,
        /// How.
        end: JobEnd,
    },
    /// Drop ended jobs from the list.
    ClearEnded,
}

/// About messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotificationsCommand {
    /// The analyst has seen this one.
    Dismiss(NotificationId),
    /// The analyst has seen all.
    DismissAll,
    /// Empty the history.
    Clear,
    /// Something went wrong in the window itself.
    ReportFailure {
        /// What.
        title: String,
        /// Why, and what to do.
        detail: String,
    },
}

/// About what leaves the program.
#[derive(Clone, Debug)]
pub enum ExportCommand {
    /// Put text on the clipboard; `what` names it in the message.
    CopyText {
        /// "SHA-256", "path"; shown as "Copied: path".
        what: Cow<'static, str>,
        /// The text.
        text: String,
    },
    /// Ask where to save bytes.
    SaveBytes {
        /// Proposed file name.
        file_name: String,
        /// What to write.
        bytes: bytes::Bytes,
    },
    /// The analyst has chosen where.
    WriteFile {
        /// Where.
        path: PathBuf,
        /// What.
        bytes: bytes::Bytes,
    },
    /// The analyst has chosen where to write hits.
    WriteHits {
        /// Where.
        path: PathBuf,
        /// What.
        hits: Vec<Arc<KeptHit>>,
    },
    /// Ask where to save a file of our own.
    SaveCopy(PathBuf),
    /// The analyst has chosen where.
    WriteCopy {
        /// The file.
        from: PathBuf,
        /// Where.
        path: PathBuf,
    },
    /// Ask where to write memory of a process of the active archive.
    SaveMemory {
        /// Whose.
        pid: Pid,
        /// What of it.
        what: MemoryExport,
    },
    /// The analyst has chosen where.
    WriteMemory {
        /// Of which archive.
        archive: ArchiveId,
        /// Whose.
        pid: Pid,
        /// What of it.
        what: MemoryExport,
        /// The file, or the directory.
        path: PathBuf,
    },
    /// Memory is written.
    MemoryWritten(Written),
    /// It is written.
    Written {
        /// Where.
        path: PathBuf,
        /// How much.
        len_bytes: u64,
    },
}

/// About bookmarks in the memory of the active archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BookmarksCommand {
    /// Set one, or change its note.
    Set {
        /// Whose memory.
        pid: Pid,
        /// Where.
        addr: VirtAddr,
        /// What the analyst has to say of it.
        note: String,
    },
    /// Drop one.
    Remove {
        /// Whose memory.
        pid: Pid,
        /// Where.
        addr: VirtAddr,
    },
}

/// About searches of the active archive.
#[derive(Clone, Debug)]
pub enum SearchCommand {
    /// Put the cursor into the field that asks what to search for.
    Ask {
        /// In the memory of this process; `None` leaves the scope as it is.
        pid: Option<Pid>,
    },
    /// Search.
    Start(SearchRequest),
    /// Search for the same again.
    Again(SearchId),
    /// Stop one that runs.
    Stop(SearchId),
    /// Forget one and what it found.
    Close(SearchId),
    /// Show the hits of this one.
    Show(SearchId),
    /// Show only hits that have this in them.
    Filter {
        /// Which search.
        id: SearchId,
        /// In any case; empty for all.
        text: String,
    },
    /// A job has found something.
    Found {
        /// In which archive.
        archive: ArchiveId,
        /// Which search.
        id: SearchId,
        /// The job, since a search can be run again.
        job: JobId,
        /// What.
        news: SearchNews,
    },
    /// Make a hit the one that the analyst is at.
    Visit {
        /// Which search.
        id: SearchId,
        /// The number of the hit.
        hit: usize,
        /// Bring the panel that shows its place to the front.
        is_gone_to: bool,
    },
    /// Go to the next hit, or to the one before.
    Step {
        /// Forward or backward.
        is_forward: bool,
    },
    /// Ask for files of YARA rules.
    ChooseRules,
    /// Search by these files of rules from now on.
    UseRules(Vec<PathBuf>),
    /// Look again whether the files of rules compile: they may have been edited.
    CheckRules,
    /// A job has looked.
    RulesChecked {
        /// For which archive.
        archive: ArchiveId,
        /// The job.
        job: JobId,
        /// What it found.
        state: RulesState,
    },
    /// Ask where to write all hits, as `search --json` does.
    Export(SearchId),
}

/// About restoring in the sandbox.
#[derive(Clone, Debug)]
pub enum SandboxCommand {
    /// Look whether everything is there.
    Check,
    /// Make the bundle.
    Install,
    /// A job has looked, or has made it.
    Checked {
        /// The job.
        job: JobId,
        /// What it found.
        parts: Arc<Parts>,
    },
    /// Plan a restore.
    Plan(ArchiveId),
    /// A job has made the plan.
    Planned {
        /// Of which archive.
        archive: ArchiveId,
        /// The job.
        job: JobId,
        /// The plan.
        planned: Arc<Planned>,
    },
    /// Restore although of a danger, or not.
    Allow {
        /// Of which archive.
        archive: ArchiveId,
        /// Id of the danger.
        danger: String,
        /// Allowed.
        is_allowed: bool,
    },
    /// Set what a run gets.
    Wish {
        /// Of which archive.
        archive: ArchiveId,
        /// What.
        wishes: Wishes,
    },
    /// Let the checkpoint go on.
    Start(ArchiveId),
    /// Something happened in the machine.
    Happened {
        /// Of which archive.
        archive: ArchiveId,
        /// The job.
        job: JobId,
        /// What.
        event: Box<Event>,
    },
    /// A job records packets.
    Records {
        /// Of which archive.
        archive: ArchiveId,
        /// The job.
        job: JobId,
        /// Into this file.
        path: PathBuf,
    },
    /// A job has compared what was frozen again with what it was before.
    Compared {
        /// Of which archive.
        archive: ArchiveId,
        /// The job.
        job: JobId,
        /// What is different.
        changes: Arc<Changes>,
    },
    /// Let the processes go on for so long, and stop them again.
    Step {
        /// Of which archive.
        archive: ArchiveId,
        /// Milliseconds.
        ms: u64,
    },
    /// Kill the machine.
    Stop(ArchiveId),
    /// Let the processes stand still, or go on.
    Pause {
        /// Of which archive.
        archive: ArchiveId,
        /// Stand still.
        is_paused: bool,
    },
}

/// About nodes with an agent.
#[derive(Clone, Debug)]
pub enum NodesCommand {
    /// List those of the user.
    Look,
    /// A job has listed them.
    Listed {
        /// The job.
        job: JobId,
        /// By name.
        rows: Vec<NodeRow>,
    },
    /// Ask for the address of an agent and its code.
    AskToPair,
    /// Pair with an agent.
    Pair {
        /// Where it listens.
        address: String,
        /// What it printed.
        code: String,
        /// What to call it; empty for its own name.
        name: String,
        /// Through which proxy, now and later; empty for none but the environment's.
        proxy: String,
    },
    /// A job has paired.
    Paired {
        /// The job.
        job: JobId,
        /// What the node is called.
        name: String,
    },
    /// Forget a node.
    Forget(String),
    /// A job has forgotten it.
    Forgotten(String),
    /// Show this one.
    Select(String),
    /// Show all as one, and ask those that nobody asked.
    SelectAll,
    /// Ask a node what is on it.
    Ask(String),
    /// A job has asked.
    Told {
        /// The job.
        job: JobId,
        /// Which node.
        name: String,
        /// What it said.
        told: Arc<Told>,
    },
    /// Get an archive from a node.
    Acquire {
        /// Which node.
        node: String,
        /// What people call the container.
        called: String,
        /// Which archive.
        wanted: Wanted,
    },
    /// Get many, from each node one after another.
    AcquireAll(Vec<Order>),
    /// Leave out what waits to be acquired from a node.
    LeaveOut {
        /// Which node.
        node: String,
    },
    /// Change an archive that waits on a node.
    Change {
        /// Which node.
        node: String,
        /// Its id there.
        archive: String,
        /// How.
        change: Change,
    },
    /// A job has changed it.
    Changed {
        /// Which node.
        node: String,
    },
    /// An acquisition is further on.
    Happened {
        /// Its job.
        job: JobId,
        /// Where it stands, in words.
        step: String,
    },
    /// An archive is here, whole and verified.
    Acquired {
        /// Its job.
        job: JobId,
        /// Where.
        path: PathBuf,
        /// Its hash.
        sha256: String,
        /// What happened on the way.
        notes: Vec<String>,
    },
    /// Hold an acquisition, or let it go on.
    Hold {
        /// Its job.
        job: JobId,
        /// Held.
        is_held: bool,
    },
}

impl Command {
    /// Go to `target`.
    pub fn go(target: Target) -> Command {
        Command::Navigate(NavigateCommand::Go(target))
    }

    /// Select `target` where the analyst is.
    pub fn select(target: Target) -> Command {
        Command::Navigate(NavigateCommand::Select(target))
    }

    /// Put `text` on the clipboard.
    pub fn copy(what: &'static str, text: impl Into<String>) -> Command {
        Command::copy_of(what, text)
    }

    /// As [`Command::copy`], with a name that is made.
    pub fn copy_of(what: impl Into<Cow<'static, str>>, text: impl Into<String>) -> Command {
        Command::Export(ExportCommand::CopyText { what: what.into(), text: text.into() })
    }
}

impl From<ArchivesCommand> for Command {
    fn from(command: ArchivesCommand) -> Command {
        Command::Archives(command)
    }
}

impl From<NavigateCommand> for Command {
    fn from(command: NavigateCommand) -> Command {
        Command::Navigate(command)
    }
}

impl From<ViewCommand> for Command {
    fn from(command: ViewCommand) -> Command {
        Command::View(command)
    }
}

impl From<JobsCommand> for Command {
    fn from(command: JobsCommand) -> Command {
        Command::Jobs(command)
    }
}

impl From<NotificationsCommand> for Command {
    fn from(command: NotificationsCommand) -> Command {
        Command::Notifications(command)
    }
}

impl From<SandboxCommand> for Command {
    fn from(command: SandboxCommand) -> Command {
        Command::Sandbox(command)
    }
}

impl From<NodesCommand> for Command {
    fn from(command: NodesCommand) -> Command {
        Command::Nodes(command)
    }
}

impl From<SearchCommand> for Command {
    fn from(command: SearchCommand) -> Command {
        Command::Search(command)
    }
}

impl From<BookmarksCommand> for Command {
    fn from(command: BookmarksCommand) -> Command {
        Command::Bookmarks(command)
    }
}

impl From<ExportCommand> for Command {
    fn from(command: ExportCommand) -> Command {
        Command::Export(command)
    }
}
