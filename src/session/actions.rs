//! The one table of what can be asked by name: menus, keys, palette and the sheet of keys are
//! generated from it, so that they cannot drift apart.

use super::export::MemoryExport;
use super::{
    ArchivesCommand, Command, ExportCommand, JobsCommand, Model, NavigateCommand, NotificationsCommand, PanelKind,
    SearchCommand, Theme, ViewCommand,
};
use crate::base::Pid;

/// Names a row of [`ACTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActionId {
    /// File dialog.
    OpenFile,
    /// Directory dialog.
    OpenDirectory,
    /// Bundled sample.
    OpenSample,
    /// Close the active archive.
    CloseArchive,
    /// Next archive.
    NextArchive,
    /// Previous archive.
    PreviousArchive,
    /// SHA-256 of the active archive.
    HashEvidence,
    /// Ask for a base image.
    AttachBase,
    /// Read memory without it again.
    DetachBase,
    /// Ask for a parent checkpoint.
    SupplyParent,
    /// A core file of the selected process.
    SaveCore,
    /// Programs and libraries in the memory of the selected process.
    SavePrograms,
    /// End.
    Quit,
    /// Back.
    Back,
    /// Forward.
    Forward,
    /// Command palette.
    Palette,
    /// Filter box of the panel in front.
    Filter,
    /// Asks for an address.
    GoToAddress,
    /// The hit behind the current one.
    NextHit,
    /// The hit before it.
    PreviousHit,
    /// A panel.
    Panel(PanelKind),
    /// Put the panels back.
    ResetLayout,
    /// Theme.
    Theme(ThemeChoice),
    /// Larger.
    ZoomIn,
    /// Smaller.
    ZoomOut,
    /// 100 %.
    ZoomReset,
    /// Stop every job.
    CancelJobs,
    /// All messages seen.
    DismissNotifications,
    /// Sheet of keys.
    Shortcuts,
    /// About.
    About,
}

/// [`Theme`] as part of an [`ActionId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ThemeChoice {
    /// As the system.
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

/// The menu an action stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Menu {
    /// Archives.
    File,
    /// Places.
    Go,
    /// Panels and looks.
    View,
    /// Help.
    Help,
}

impl Menu {
    /// Every menu, in order.
    pub const ALL: [Menu; 4] = [Menu::File, Menu::Go, Menu::View, Menu::Help];

    /// Title in the menu bar.
    pub fn title(self) -> &'static str {
        match self {
            Menu::File => "File",
            Menu::Go => "Go",
            Menu::View => "View",
            Menu::Help => "Help",
        }
    }
}

/// One row: an action that stands in menus and palette.
#[derive(Clone, Copy, Debug)]
pub struct Action {
    /// Its name.
    pub id: ActionId,
    /// Its label.
    pub name: &'static str,
    /// One sentence.
    pub tooltip: &'static str,
    /// Key, as `Ctrl+Shift+O`; the keys of `keys` are spelled as egui names them.
    pub shortcut: Option<&'static str>,
    /// Where it stands.
    pub menu: Menu,
    /// Actions of one group stand together; a line is drawn between groups.
    pub group: u8,
}

const fn row(
    id: ActionId,
    name: &'static str,
    tooltip: &'static str,
    shortcut: Option<&'static str>,
    menu: Menu,
    group: u8,
) -> Action {
    Action { id, name, tooltip, shortcut, menu, group }
}

const fn panel(kind: PanelKind, name: &'static str, tooltip: &'static str, shortcut: Option<&'static str>) -> Action {
    row(ActionId::Panel(kind), name, tooltip, shortcut, Menu::View, 1)
}

/// Every action, in the order of menus.
pub static ACTIONS: &[Action] = &[
    row(ActionId::OpenFile, "Open archive…", "Open checkpoint archives", Some("Ctrl+O"), Menu::File, 0),
    row(
        ActionId::OpenDirectory,
        "Open directory…",
        "Open an unpacked checkpoint or an OCI layout",
        Some("Ctrl+Shift+O"),
        Menu::File,
        0,
    ),
    row(
        ActionId::OpenSample,
        "Open the bundled sample",
        "Open a checkpoint that comes with the program",
        None,
        Menu::File,
        0,
    ),
    row(
        ActionId::HashEvidence,
        "Compute SHA-256",
        "Hash the archive as delivered, in the background",
        Some("Ctrl+Shift+H"),
        Menu::File,
        1,
    ),
    row(
        ActionId::AttachBase,
        "Attach a base image…",
        "Read clean pages of mapped files from the image that the container started from",
        Some("Ctrl+Shift+I"),
        Menu::File,
        1,
    ),
    row(
        ActionId::DetachBase,
        "Remove the base image",
        "Read memory from the checkpoint alone again",
        None,
        Menu::File,
        1,
    ),
    row(
        ActionId::SupplyParent,
        "Supply a parent checkpoint…",
        "Read pages that an incremental checkpoint left in the one before it",
        None,
        Menu::File,
        1,
    ),
    row(
        ActionId::SaveCore,
        "Save a core file…",
        "Memory and threads of the selected process, for gdb and other debuggers",
        None,
        Menu::File,
        2,
    ),
    row(
        ActionId::SavePrograms,
        "Save programs from memory…",
        "Every ELF image in the memory of the selected process, rebuilt as a file",
        None,
        Menu::File,
        2,
    ),
    row(ActionId::NextArchive, "Next archive", "Show the next open archive", Some("Ctrl+PageDown"), Menu::File, 3),
    row(
        ActionId::PreviousArchive,
        "Previous archive",
        "Show the open archive before this",
        Some("Ctrl+PageUp"),
        Menu::File,
        3,
    ),
    row(ActionId::CloseArchive, "Close archive", "Close the archive that is shown", Some("Ctrl+W"), Menu::File, 3),
    row(ActionId::Quit, "Quit", "End Cryoscope", Some("Ctrl+Q"), Menu::File, 4),
    row(ActionId::Back, "Back", "Back to the place before", Some("Alt+ArrowLeft"), Menu::Go, 0),
    row(ActionId::Forward, "Forward", "Forward again", Some("Alt+ArrowRight"), Menu::Go, 0),
    row(
        ActionId::Palette,
        "Command palette…",
        "Find commands, processes, files, sockets, mounts and images by name",
        Some("Ctrl+K"),
        Menu::Go,
        1,
    ),
    row(
        ActionId::Filter,
        "Filter this panel",
        "Type into the filter of the panel in front",
        Some("Ctrl+F"),
        Menu::Go,
        1,
    ),
    row(
        ActionId::GoToAddress,
        "Go to address…",
        "Show an address of the selected process, as 0x7ffc…, libc+0x1f0 or rsp-0x20",
        Some("Ctrl+G"),
        Menu::Go,
        1,
    ),
    row(ActionId::NextHit, "Next hit", "Go to the next hit of the search", Some("F4"), Menu::Go, 1),
    row(ActionId::PreviousHit, "Previous hit", "Go to the hit before", Some("Shift+F4"), Menu::Go, 1),
    panel(PanelKind::Overview, "Overview", "The container, what there is of it, what cannot be shown", Some("Ctrl+1")),
    panel(PanelKind::Processes, "Processes", "Tree and list of processes", Some("Ctrl+2")),
    panel(PanelKind::Process, "Process detail", "All about the selected process", Some("Ctrl+3")),
    panel(PanelKind::Memory, "Memory", "Hex view of the whole address space of the selected process", Some("Ctrl+M")),
    panel(
        PanelKind::Disassembly,
        "Disassembly",
        "The code of the selected process, instruction by instruction",
        Some("Ctrl+Shift+D"),
    ),
    panel(
        PanelKind::Search,
        "Search…",
        "Search memory, queues and files for text, expressions, bytes, values, secrets, rules, strings",
        Some("Ctrl+Shift+F"),
    ),
    panel(PanelKind::Files, "Open files", "Every open file of the container", Some("Ctrl+4")),
    panel(PanelKind::Sockets, "Sockets", "Every socket of the container", Some("Ctrl+5")),
    panel(PanelKind::Mounts, "Mounts", "The mounts of the container", Some("Ctrl+6")),
    panel(PanelKind::Filesystem, "Filesystem", "Changed, deleted and recovered files", Some("Ctrl+7")),
    panel(PanelKind::Documents, "Documents", "Spec, configuration and logs", Some("Ctrl+8")),
    panel(PanelKind::Images, "Images", "Raw image files, record by record", Some("Ctrl+9")),
    panel(PanelKind::Issues, "Issues and coverage", "What could not be read, what is not there", None),
    panel(PanelKind::Sandbox, "Sandbox", "Let the container go on in a sealed virtual machine", Some("Ctrl+Shift+B")),
    panel(PanelKind::Nodes, "Nodes", "Freeze containers on nodes and fetch their archives", Some("Ctrl+Shift+N")),
    panel(PanelKind::Jobs, "Jobs", "Work in the background", None),
    panel(PanelKind::Notifications, "Notifications", "What the program told you", None),
    row(ActionId::ResetLayout, "Reset layout", "Put the panels back where they were", None, Menu::View, 2),
    row(ActionId::Theme(ThemeChoice::System), "Theme: as the system", "Follow the system", None, Menu::View, 3),
    row(ActionId::Theme(ThemeChoice::Light), "Theme: light", "Light theme", None, Menu::View, 3),
    row(ActionId::Theme(ThemeChoice::Dark), "Theme: dark", "Dark theme", None, Menu::View, 3),
    row(ActionId::ZoomIn, "Zoom in", "Everything larger", Some("Ctrl+Plus"), Menu::View, 4),
    row(ActionId::ZoomOut, "Zoom out", "Everything smaller", Some("Ctrl+Minus"), Menu::View, 4),
    row(ActionId::ZoomReset, "Zoom 100 %", "The size it had", Some("Ctrl+0"), Menu::View, 4),
    row(ActionId::CancelJobs, "Cancel all jobs", "Stop everything that runs in the background", None, Menu::Go, 2),
    row(ActionId::DismissNotifications, "Dismiss notifications", "Take all messages as seen", None, Menu::Go, 2),
    row(ActionId::Shortcuts, "Keyboard shortcuts", "The keys there are", Some("Questionmark"), Menu::Help, 0),
    row(ActionId::About, "About Cryoscope", "What this program is", None, Menu::Help, 1),
];

/// The row of an action.
pub fn action(id: ActionId) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.id == id)
}

impl Action {
    /// Whether it makes sense now.
    pub fn is_enabled(&self, model: &Model) -> bool {
        match self.id {
            ActionId::CloseArchive
            | ActionId::HashEvidence
            | ActionId::Filter
            | ActionId::GoToAddress
            | ActionId::ResetLayout => model.active().is_some(),
            ActionId::AttachBase => model.active().is_some_and(|archive| archive.arriving().is_none()),
            ActionId::SupplyParent => {
                model.active().is_some_and(|archive| archive.arriving().is_none() && !archive.is_sample)
            }
            ActionId::SaveCore | ActionId::SavePrograms => process_with_memory(model).is_some(),
            ActionId::DetachBase => model.active().is_some_and(|archive| archive.has_base()),
            ActionId::NextHit | ActionId::PreviousHit => {
                let shown = model.active().and_then(|archive| archive.searches().shown());
                shown.is_some_and(|shown| !shown.hits().is_empty())
            }
            ActionId::Panel(PanelKind::Jobs | PanelKind::Nodes | PanelKind::Notifications) => true,
            ActionId::Panel(_) => model.active().is_some(),
            ActionId::NextArchive | ActionId::PreviousArchive => model.archives().len() > 1,
            ActionId::Back => model.history().can_go_back(),
            ActionId::Forward => model.history().can_go_forward(),
            ActionId::CancelJobs => model.running_jobs().next().is_some(),
            ActionId::DismissNotifications => model.notifications().unseen() > 0,
            _ => true,
        }
    }

    /// Whether it stands for the state the program is in (shown by a mark).
    pub fn is_checked(&self, model: &Model) -> bool {
        match self.id {
            ActionId::Theme(choice) => theme_of(choice) == model.settings().theme,
            ActionId::ZoomReset => model.settings().zoom_percent == 100,
            _ => false,
        }
    }

    /// What it asks for.
    pub fn commands(&self, model: &Model) -> Vec<Command> {
        let command = match self.id {
            ActionId::OpenFile => ArchivesCommand::OpenFileDialog.into(),
            ActionId::OpenDirectory => ArchivesCommand::OpenDirectoryDialog.into(),
            ActionId::OpenSample => ArchivesCommand::OpenSample.into(),
            ActionId::CloseArchive => ArchivesCommand::CloseActive.into(),
            ActionId::NextArchive => ArchivesCommand::ActivateNeighbour { is_forward: true }.into(),
            ActionId::PreviousArchive => ArchivesCommand::ActivateNeighbour { is_forward: false }.into(),
            ActionId::HashEvidence => {
                return model.active().map(|archive| ArchivesCommand::Hash(archive.id()).into()).into_iter().collect();
            }
            ActionId::AttachBase => ArchivesCommand::AskForBase.into(),
            ActionId::DetachBase => {
                let active = model.active().map(|archive| ArchivesCommand::DetachBase(archive.id()).into());
                return active.into_iter().collect();
            }
            ActionId::SupplyParent => ArchivesCommand::AskForParent.into(),
            ActionId::SaveCore => return save_memory(model, MemoryExport::Core),
            ActionId::SavePrograms => return save_memory(model, MemoryExport::Carved),
            ActionId::Quit => Command::Quit,
            ActionId::Back => NavigateCommand::Back.into(),
            ActionId::Forward => NavigateCommand::Forward.into(),
            ActionId::Palette => ViewCommand::OpenPalette.into(),
            ActionId::Filter => ViewCommand::FocusFilter.into(),
            ActionId::GoToAddress => ViewCommand::GoToAddress.into(),
            ActionId::NextHit => SearchCommand::Step { is_forward: true }.into(),
            ActionId::PreviousHit => SearchCommand::Step { is_forward: false }.into(),
            ActionId::Panel(PanelKind::Search) => SearchCommand::Ask { pid: None }.into(),
            ActionId::Panel(kind) => ViewCommand::ShowPanel(kind).into(),
            ActionId::ResetLayout => ViewCommand::ResetLayout.into(),
            ActionId::Theme(choice) => ViewCommand::SetTheme(theme_of(choice)).into(),
            ActionId::ZoomIn => ViewCommand::ZoomIn.into(),
            ActionId::ZoomOut => ViewCommand::ZoomOut.into(),
            ActionId::ZoomReset => ViewCommand::ZoomReset.into(),
            ActionId::CancelJobs => {
                return model.running_jobs().map(|job| JobsCommand::Cancel(job.id).into()).collect();
            }
            ActionId::DismissNotifications => NotificationsCommand::DismissAll.into(),
            ActionId::Shortcuts => ViewCommand::OpenShortcuts.into(),
            ActionId::About => ViewCommand::OpenAbout.into(),
        };
        vec![command]
    }
}

/// The selected process, when it has memory.
fn process_with_memory(model: &Model) -> Option<Pid> {
    let archive = model.active().filter(|archive| archive.arriving().is_none())?;
    let process = archive.pid.and_then(|pid| archive.checkpoint().process(pid))?;
    process.memory.known().map(|_| process.pid)
}

fn save_memory(model: &Model, what: MemoryExport) -> Vec<Command> {
    process_with_memory(model).map(|pid| ExportCommand::SaveMemory { pid, what }.into()).into_iter().collect()
}

fn theme_of(choice: ThemeChoice) -> Theme {
    match choice {
        ThemeChoice::System => Theme::System,
        ThemeChoice::Light => Theme::Light,
        ThemeChoice::Dark => Theme::Dark,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_names_and_keys_are_unique() {
        let ids: BTreeSet<_> = ACTIONS.iter().map(|action| action.id).collect();
        let names: BTreeSet<_> = ACTIONS.iter().map(|action| action.name).collect();
        let keys: Vec<_> = ACTIONS.iter().filter_map(|action| action.shortcut).collect();
        assert_eq!(ids.len(), ACTIONS.len());
        assert_eq!(names.len(), ACTIONS.len());
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn every_panel_has_an_action() {
        for kind in PanelKind::ALL {
            assert!(action(ActionId::Panel(kind)).is_some(), "{kind:?}");
        }
    }

    #[test]
    fn without_an_archive_only_what_needs_none_is_enabled() {
        let model = Model::default();
        let is_enabled = |id| action(id).unwrap().is_enabled(&model);
        assert!(is_enabled(ActionId::OpenFile) && is_enabled(ActionId::Palette) && is_enabled(ActionId::Quit));
        assert!(
            !is_enabled(ActionId::CloseArchive) && !is_enabled(ActionId::Back) && !is_enabled(ActionId::NextArchive)
        );
        assert!(!is_enabled(ActionId::Panel(PanelKind::Files)) && is_enabled(ActionId::Panel(PanelKind::Jobs)));
    }
}
