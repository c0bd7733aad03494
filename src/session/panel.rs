//! The panels there are, by name.

/// One panel of the workspace. What it draws is the window's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum PanelKind {
    /// The container, what there is of it, what this archive cannot show.
    Overview,
    /// Tree and list of processes.
    Processes,
    /// All about the selected process, in tabs.
    Process,
    /// The address space of the selected process, byte by byte.
    Memory,
    /// The code of the selected process, instruction by instruction.
    Disassembly,
    /// Searches of memory, queues and files, and what they found.
    Search,
    /// Open files of the whole container.
    Files,
    /// Sockets of the whole container.
    Sockets,
    /// Mounts.
    Mounts,
    /// Changes of the root filesystem, recovered files, tmpfs.
    Filesystem,
    /// Spec, config, logs.
    Documents,
    /// Raw images.
    Images,
    /// What could not be read, and what is not there.
    Issues,
    /// Letting the container go on in a machine of its own.
    Sandbox,
    /// Nodes with an agent, and what is acquired from them.
    Nodes,
    /// Work in the background.
    Jobs,
    /// Notifications with history.
    Notifications,
}

impl PanelKind {
    /// Every panel, in the order of the View menu.
    pub const ALL: [PanelKind; 17] = [
        PanelKind::Overview,
        PanelKind::Processes,
        PanelKind::Process,
        PanelKind::Memory,
        PanelKind::Disassembly,
        PanelKind::Search,
        PanelKind::Files,
        PanelKind::Sockets,
        PanelKind::Mounts,
        PanelKind::Filesystem,
        PanelKind::Documents,
        PanelKind::Images,
        PanelKind::Issues,
        PanelKind::Sandbox,
        PanelKind::Nodes,
        PanelKind::Jobs,
        PanelKind::Notifications,
    ];

    /// The title on its tab.
    pub fn title(self) -> &'static str {
        match self {
            PanelKind::Overview => "Overview",
            PanelKind::Processes => "Processes",
            PanelKind::Process => "Process",
            PanelKind::Memory => "Memory",
            PanelKind::Disassembly => "Disassembly",
            PanelKind::Search => "Search",
            PanelKind::Files => "Open files",
            PanelKind::Sockets => "Sockets",
            PanelKind::Mounts => "Mounts",
            PanelKind::Filesystem => "Filesystem",
            PanelKind::Documents => "Documents",
            PanelKind::Images => "Images",
            PanelKind::Issues => "Issues",
            PanelKind::Sandbox => "Sandbox",
            PanelKind::Nodes => "Nodes",
            PanelKind::Jobs => "Jobs",
            PanelKind::Notifications => "Notifications",
        }
    }

    /// One sentence that teaches what it shows.
    pub fn tooltip(self) -> &'static str {
        match self {
            PanelKind::Overview => "The container, what there is of it, and what this archive cannot show",
            PanelKind::Processes => "Every process that was frozen, as a tree or a list",
            PanelKind::Process => "All about the selected process",
            PanelKind::Memory => "The whole address space of the selected process, byte by byte",
            PanelKind::Disassembly => "The code of the selected process, instruction by instruction",
            PanelKind::Search => "Search memory, queues and files; what was found stays and can be walked with F4",
            PanelKind::Files => "Every open file description of the container, and who shares it",
            PanelKind::Sockets => "Every socket, with both ends and the bytes that nobody had read yet",
            PanelKind::Mounts => "The mounts of the container, as a tree",
            PanelKind::Filesystem => "What changed in the root filesystem, deleted files, tmpfs contents",
            PanelKind::Documents => "Runtime spec, engine configuration and logs",
            PanelKind::Images => "Every image file of CRIU, record by record",
            PanelKind::Issues => "What could not be read, and what a checkpoint like this one cannot show",
            PanelKind::Sandbox => "Let the container go on in a sealed virtual machine, and watch what it does",
            PanelKind::Nodes => "Nodes with an agent: what runs there, freezing it, and fetching archives",
            PanelKind::Jobs => "Work in the background, with progress",
            PanelKind::Notifications => "What the program told you, with history",
        }
    }
}
