//! One file per panel: its state and one function that draws it.

mod address_field;
mod address_rows;
mod base;
pub mod disassembly;
pub mod documents;
pub mod files;
pub mod filesystem;
pub mod images;
pub mod issues;
pub mod jobs;
pub mod memory;
pub mod mounts;
pub mod nodes;
pub mod notifications;
pub mod overview;
mod places;
pub mod process;
pub mod processes;
pub mod sandbox;
pub mod search;
pub mod sockets;

use egui::Ui;

use super::widgets::no_archive;
use crate::session::{Command, Model, PanelKind};

/// The state of every panel.
#[derive(Debug, Default)]
pub struct Panels {
    overview: overview::OverviewState,
    processes: processes::ProcessesState,
    process: process::ProcessState,
    memory: memory::MemoryState,
    disassembly: disassembly::DisassemblyState,
    search: search::SearchState,
    files: files::FilesState,
    sockets: sockets::SocketsState,
    mounts: mounts::MountsState,
    filesystem: filesystem::FilesystemState,
    documents: documents::DocumentsState,
    images: images::ImagesState,
    issues: issues::IssuesState,
    sandbox: sandbox::SandboxState,
    nodes: nodes::NodesState,
}

impl Panels {
    /// Draws one.
    pub fn ui(&mut self, ui: &mut Ui, kind: PanelKind, model: &Model) -> Vec<Command> {
        match kind {
            PanelKind::Jobs => return jobs::jobs_ui(ui, model),
            PanelKind::Nodes => return nodes::nodes_ui(ui, model.nodes(), model.jobs(), &mut self.nodes),
            PanelKind::Notifications => return notifications::notifications_ui(ui, model),
            _ => {}
        }
        let Some(archive) = model.active() else {
            no_archive(ui);
            return Vec::new();
        };
        match kind {
            PanelKind::Overview => overview::overview_ui(ui, archive, &mut self.overview),
            PanelKind::Processes => processes::processes_ui(ui, archive, &mut self.processes),
            PanelKind::Process => process::process_ui(ui, archive, &mut self.process),
            PanelKind::Memory => memory::memory_ui(ui, archive, &model.settings().bookmarks, &mut self.memory),
            PanelKind::Disassembly => disassembly::disassembly_ui(ui, archive, &mut self.disassembly),
            PanelKind::Search => search::search_ui(ui, archive, model.jobs(), &mut self.search),
            PanelKind::Files => files::files_ui(ui, archive, &mut self.files),
            PanelKind::Sockets => sockets::sockets_ui(ui, archive, &mut self.sockets),
            PanelKind::Mounts => mounts::mounts_ui(ui, archive, &mut self.mounts),
            PanelKind::Filesystem => filesystem::filesystem_ui(ui, archive, &mut self.filesystem),
            PanelKind::Documents => documents::documents_ui(ui, archive, &mut self.documents),
            PanelKind::Images => images::images_ui(ui, archive, &mut self.images),
            PanelKind::Issues => issues::issues_ui(ui, archive, &mut self.issues),
            PanelKind::Sandbox => sandbox::sandbox_ui(ui, archive, model.readiness(), model.jobs(), &mut self.sandbox),
            PanelKind::Jobs | PanelKind::Nodes | PanelKind::Notifications => Vec::new(),
        }
    }

    /// Puts the cursor into the filter box of a panel.
    pub fn focus_filter(&mut self, kind: PanelKind) {
        match kind {
            PanelKind::Processes => self.processes.focus_filter(),
            PanelKind::Process => self.process.focus_filter(),
            PanelKind::Search => self.search.focus_query(None),
            PanelKind::Files => self.files.focus_filter(),
            PanelKind::Sockets => self.sockets.focus_filter(),
            PanelKind::Mounts => self.mounts.focus_filter(),
            PanelKind::Filesystem => self.filesystem.focus_filter(),
            PanelKind::Documents => self.documents.focus_filter(),
            PanelKind::Images => self.images.focus_filter(),
            PanelKind::Issues => self.issues.focus_filter(),
            PanelKind::Sandbox => self.sandbox.focus_filter(),
            PanelKind::Nodes => self.nodes.focus_filter(),
            PanelKind::Overview
            | PanelKind::Memory
            | PanelKind::Disassembly
            | PanelKind::Jobs
            | PanelKind::Notifications => {}
        }
    }

    /// Puts the cursor into the field of what to search for, in the memory of a process if one is named.
    pub fn focus_search(&mut self, pid: Option<crate::base::Pid>) {
        self.search.focus_query(pid);
    }

    /// Puts the cursor into the address field of a panel that has one.
    pub fn focus_address(&mut self, kind: PanelKind) {
        match kind {
            PanelKind::Disassembly => self.disassembly.focus_address(),
            _ => self.memory.focus_address(),
        }
    }

    /// Forgets the state of a panel that has failed.
    pub fn reset(&mut self, kind: PanelKind) {
        match kind {
            PanelKind::Overview => self.overview = Default::default(),
            PanelKind::Processes => self.processes = Default::default(),
            PanelKind::Process => self.process = Default::default(),
            PanelKind::Memory => self.memory = Default::default(),
            PanelKind::Disassembly => self.disassembly = Default::default(),
            PanelKind::Search => self.search = Default::default(),
            PanelKind::Files => self.files = Default::default(),
            PanelKind::Sockets => self.sockets = Default::default(),
            PanelKind::Mounts => self.mounts = Default::default(),
            PanelKind::Filesystem => self.filesystem = Default::default(),
            PanelKind::Documents => self.documents = Default::default(),
            PanelKind::Images => self.images = Default::default(),
            PanelKind::Issues => self.issues = Default::default(),
            PanelKind::Sandbox => self.sandbox = Default::default(),
            PanelKind::Nodes => self.nodes = Default::default(),
            PanelKind::Jobs | PanelKind::Notifications => {}
        }
    }
}
