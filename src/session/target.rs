//! Places to link to.

use super::PanelKind;
use crate::base::{Fd, FileId, MntId, Pid, Place, VirtAddr};
use crate::checkpoint::Checkpoint;

/// A tab of the process panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcessTab {
    /// Who it is: names, command line, ids, state.
    #[default]
    Summary,
    /// Threads with their registers.
    Threads,
    /// Its descriptors.
    Files,
    /// Its environment.
    Environment,
    /// Users, groups, capabilities, seccomp, LSM.
    Credentials,
    /// Its memory map.
    Memory,
    /// Handlers, pending signals, timers.
    Signals,
    /// Namespaces and control groups.
    Namespaces,
    /// The records that were read for it, as they are.
    Raw,
}

impl ProcessTab {
    /// Every tab, in order.
    pub const ALL: [ProcessTab; 9] = [
        ProcessTab::Summary,
        ProcessTab::Threads,
        ProcessTab::Files,
        ProcessTab::Environment,
        ProcessTab::Credentials,
        ProcessTab::Memory,
        ProcessTab::Signals,
        ProcessTab::Namespaces,
        ProcessTab::Raw,
    ];

    /// The title on the tab.
    pub fn title(self) -> &'static str {
        match self {
            ProcessTab::Summary => "Summary",
            ProcessTab::Threads => "Threads",
            ProcessTab::Files => "Files",
            ProcessTab::Environment => "Environment",
            ProcessTab::Credentials => "Credentials",
            ProcessTab::Memory => "Memory map",
            ProcessTab::Signals => "Signals",
            ProcessTab::Namespaces => "Namespaces",
            ProcessTab::Raw => "Raw",
        }
    }
}

/// A place inside one archive. Whatever names an object links to its target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Target {
    /// The archive as a whole.
    #[default]
    Overview,
    /// A process, at one of its tabs; `None` stays on the tab that is open.
    Process {
        /// Its pid.
        pid: Pid,
        /// The tab to show.
        tab: Option<ProcessTab>,
    },
    /// A thread of a process.
    Thread {
        /// The process.
        pid: Pid,
        /// The thread.
        tid: Pid,
    },
    /// A descriptor of a process.
    Fd {
        /// The process.
        pid: Pid,
        /// The descriptor.
        fd: Fd,
    },
    /// An open file description.
    File(FileId),
    /// A socket, by its open file description.
    Socket(FileId),
    /// A mount.
    Mount(MntId),
    /// A vma of a process, by its start.
    Vma {
        /// The process.
        pid: Pid,
        /// Where the vma starts.
        start: VirtAddr,
    },
    /// An address of a process.
    Address {
        /// The process.
        pid: Pid,
        /// The address.
        addr: VirtAddr,
    },
    /// An address of a process, as an instruction.
    Code {
        /// The process.
        pid: Pid,
        /// The address.
        addr: VirtAddr,
    },
    /// A path in the changes of the root filesystem, or a recovered file, by the name the
    /// filesystem panel lists it under.
    RootfsPath(String),
    /// A document: spec, config or log, by member name.
    Document(String),
    /// An image file, at a record.
    Image {
        /// Name of the image, `pagemap-1.img`.
        name: String,
        /// Which record, counted from 0.
        record: Option<usize>,
    },
    /// An image file, at the record that a byte of it lies in.
    ImageAt {
        /// Name of the image.
        name: String,
        /// Offset of the byte in the image.
        offset: u64,
    },
    /// An issue, by its number in the checkpoint's list.
    Issue(usize),
    /// A panel as a whole, with nothing selected anew.
    Panel(PanelKind),
}

impl Target {
    /// A process at the tab that is open.
    pub fn process(pid: Pid) -> Target {
        Target::Process { pid, tab: None }
    }

    /// A process at `tab`.
    pub fn process_tab(pid: Pid, tab: ProcessTab) -> Target {
        Target::Process { pid, tab: Some(tab) }
    }

    /// An image file as a whole.
    pub fn image(name: impl Into<String>) -> Target {
        Target::Image { name: name.into(), record: None }
    }

    /// Where a place in the evidence is shown: an image or a document; `None` for other members.
    pub fn of_place(checkpoint: &Checkpoint, place: &Place) -> Option<Target> {
        let base = place.member.rsplit('/').next().unwrap_or_default();
        if checkpoint.documents.iter().any(|document| document.name == place.member) {
            return Some(Target::Document(place.member.clone()));
        }
        // A file of an archive inside the checkpoint has an offset in itself, not in the image.
        if let Some((img, _)) = place.member.split_once(".img/") {
            return checkpoint.image(&format!("{img}.img")).map(|image| Target::image(image.name.clone()));
        }
        let name = checkpoint.image(&place.member).or_else(|| checkpoint.image(base))?.name.clone();
        Some(match place.offset {
            Some(offset) => Target::ImageAt { name, offset },
            None => Target::image(name),
        })
    }

    /// The panel that shows it.
    pub fn panel(&self) -> PanelKind {
        match self {
            Target::Overview => PanelKind::Overview,
            Target::Process { .. } | Target::Thread { .. } | Target::Fd { .. } | Target::Vma { .. } => {
                PanelKind::Process
            }
            Target::Address { .. } => PanelKind::Memory,
            Target::Code { .. } => PanelKind::Disassembly,
            Target::File(_) => PanelKind::Files,
            Target::Socket(_) => PanelKind::Sockets,
            Target::Mount(_) => PanelKind::Mounts,
            Target::RootfsPath(_) => PanelKind::Filesystem,
            Target::Document(_) => PanelKind::Documents,
            Target::Image { .. } | Target::ImageAt { .. } => PanelKind::Images,
            Target::Issue(_) => PanelKind::Issues,
            Target::Panel(panel) => *panel,
        }
    }

    /// The process it lies in.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Target::Process { pid, .. }
            | Target::Thread { pid, .. }
            | Target::Fd { pid, .. }
            | Target::Vma { pid, .. }
            | Target::Address { pid, .. }
            | Target::Code { pid, .. } => Some(*pid),
            _ => None,
        }
    }

    /// The tab of the process panel that shows it, if it asks for one.
    pub fn process_tab_shown(&self) -> Option<ProcessTab> {
        match self {
            Target::Process { tab, .. } => *tab,
            Target::Thread { .. } => Some(ProcessTab::Threads),
            Target::Fd { .. } => Some(ProcessTab::Files),
            Target::Vma { .. } => Some(ProcessTab::Memory),
            _ => None,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Overview => f.write_str("Overview"),
            Target::Process { pid, tab: None } => write!(f, "Process {pid}"),
            Target::Process { pid, tab: Some(tab) } => write!(f, "Process {pid}, {}", tab.title().to_lowercase()),
            Target::Thread { pid, tid } => write!(f, "Process {pid}, thread {tid}"),
            Target::Fd { pid, fd } => write!(f, "Process {pid}, descriptor {fd}"),
            Target::File(id) => write!(f, "Open file {id}"),
            Target::Socket(id) => write!(f, "Socket, file {id}"),
            Target::Mount(id) => write!(f, "Mount {id}"),
            Target::Vma { pid, start } => write!(f, "Process {pid}, memory at {start}"),
            Target::Address { pid, addr } => write!(f, "Process {pid}, address {addr}"),
            Target::Code { pid, addr } => write!(f, "Process {pid}, code at {addr}"),
            Target::RootfsPath(path) | Target::Document(path) => f.write_str(path),
            Target::Image { name, record: None } => f.write_str(name),
            Target::Image { name, record: Some(record) } => write!(f, "{name}, record {record}"),
            Target::ImageAt { name, offset } => write!(f, "{name}+{offset:#x}"),
            Target::Issue(index) => write!(f, "Issue {}", index + 1),
            Target::Panel(panel) => f.write_str(panel.title()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_a_process_show_in_its_tabs() {
        let fd = Target::Fd { pid: Pid(7), fd: Fd(3) };
        assert_eq!(
            (fd.panel(), fd.pid(), fd.process_tab_shown()),
            (PanelKind::Process, Some(Pid(7)), Some(ProcessTab::Files))
        );
        let vma = Target::Vma { pid: Pid(7), start: VirtAddr(0x1000) };
        assert_eq!(vma.process_tab_shown(), Some(ProcessTab::Memory));
        assert_eq!(Target::process(Pid(1)).process_tab_shown(), None);
        assert_eq!(Target::File(FileId(2)).pid(), None);
    }

    #[test]
    fn places_are_named_for_people() {
        assert_eq!(Target::Image { name: "core-1.img".into(), record: Some(0) }.to_string(), "core-1.img, record 0");
        assert_eq!(Target::process_tab(Pid(4), ProcessTab::Memory).to_string(), "Process 4, memory map");
        assert_eq!(Target::Issue(0).to_string(), "Issue 1");
    }
}
