//! Everything in a checkpoint that has a name, for the palette. Made once, when it is opened.

use super::Target;
use crate::base::escape_controls;
use crate::checkpoint::Checkpoint;

/// Most objects that are listed; a hostile checkpoint has no more.
const MAX_OBJECTS: usize = 500_000;
/// Longest label in characters.
const MAX_LABEL: usize = 300;

/// What kind of thing an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A process.
    Process,
    /// An open file.
    File,
    /// A socket.
    Socket,
    /// A mount.
    Mount,
    /// A changed or recovered file.
    Path,
    /// Spec, config, log.
    Document,
    /// A raw image.
    Image,
}

impl ObjectKind {
    /// The word beside it in the palette.
    pub fn word(self) -> &'static str {
        match self {
            ObjectKind::Process => "process",
            ObjectKind::File => "open file",
            ObjectKind::Socket => "socket",
            ObjectKind::Mount => "mount",
            ObjectKind::Path => "filesystem",
            ObjectKind::Document => "document",
            ObjectKind::Image => "image",
        }
    }
}

/// One thing with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: ObjectKind,
    /// What it is found by.
    pub label: String,
    /// Where it leads.
    pub target: Target,
}

/// All of a checkpoint.
pub fn objects_of(checkpoint: &Checkpoint) -> Vec<Object> {
    let processes = checkpoint.processes.iter().map(|process| {
        let exe = process.exe.known().map(|exe| exe.target.label()).unwrap_or_default();
        (ObjectKind::Process, format!("{} {} {exe}", process.pid, process.comm_label()), Target::process(process.pid))
    });
    let files = checkpoint.files.iter().filter(|file| checkpoint.socket(file.id).is_none()).map(|file| {
        let label = file.target.as_ref().map_or_else(|| file.kind.word().to_owned(), |target| target.label());
        (ObjectKind::File, label, Target::File(file.id))
    });
    let sockets = checkpoint.sockets.iter().map(|socket| {
        let state = socket.state.map(|state| state.0).unwrap_or_default();
        let end = |address: &Option<crate::checkpoint::sockets::SocketAddress>| {
            address.as_ref().map(ToString::to_string).unwrap_or_default()
        };
        let label = format!("{} {} {state} {}", socket.proto, end(&socket.local), end(&socket.peer));
        (ObjectKind::Socket, label, Target::Socket(socket.file))
    });
    let mounts = checkpoint.mounts.iter().map(|mount| {
        let fstype = mount.fstype.as_ref().map(|fstype| fstype.label()).unwrap_or_default();
        (ObjectKind::Mount, format!("{} {fstype}", mount.mountpoint.label()), Target::Mount(mount.mnt_id))
    });
    let changed = checkpoint.rootfs.entries.iter().map(|entry| &entry.path);
    let recovered = checkpoint.recovered.iter().map(|file| &file.path);
    let paths = changed
        .chain(recovered)
        .map(|path| (ObjectKind::Path, path.label(), Target::RootfsPath(path.to_lossless().into_owned())));
    let documents = checkpoint
        .documents
        .iter()
        .map(|document| (ObjectKind::Document, document.name.clone(), Target::Document(document.name.clone())));
    let images = checkpoint
        .images
        .iter()
        .map(|image| (ObjectKind::Image, image.name.clone(), Target::image(image.name.clone())));
    processes
        .chain(files)
        .chain(sockets)
        .chain(mounts)
        .chain(paths)
        .chain(documents)
        .chain(images)
        .take(MAX_OBJECTS)
        .map(|(kind, label, target)| Object { kind, label: cut(&escape_controls(&label)), target })
        .collect()
}

fn cut(label: &str) -> String {
    match label.char_indices().nth(MAX_LABEL) {
        Some((at, _)) => format!("{}…", &label[..at]),
        None => label.trim_end().to_owned(),
    }
}
