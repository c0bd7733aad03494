//! All about one open file: the description, what its kind holds, who holds it, what it belongs with.

use egui::Ui;

use super::super::process::icon_of;
use super::links::{MAX_LINKS, fd_link, file_link, more_label, place_link, process_link};
use super::{hold_word, kinds, unread_bytes};
use crate::base::{FileId, escape_controls};
use crate::checkpoint::files::{FileDetail, FileLock, Relation};
use crate::checkpoint::{Checkpoint, OpenFile};
use crate::decode::names;
use crate::session::filesystem::name_of_recovered;
use crate::session::{ArchiveId, Command, OpenArchive, Target};
use crate::ui::tokens::Tone;
use crate::ui::widgets::{
    BytesView, Side, Value, bytes_height, detail_page, detail_sides, detail_title, empty_state, link_row, property,
    property_ui, section, target_link,
};
use crate::ui::{icons, text};

/// What the details keep.
#[derive(Debug, Default)]
pub(super) struct DetailState {
    found: Option<((ArchiveId, FileId), Found)>,
    bytes: BytesView,
}

/// What is looked up once for each file.
#[derive(Debug, Default)]
struct Found {
    /// Places in `recovered` with the file's content, and the names the filesystem panel has for them.
    recovered: Vec<(usize, Target)>,
    /// Places in `locks`.
    locks: Vec<usize>,
    /// Changed file of the root filesystem at the same path.
    changed: Option<Target>,
}

impl Found {
    fn of(checkpoint: &Checkpoint, file: &OpenFile) -> Found {
        let recovered = checkpoint.recovered.iter().enumerate().filter(|(_, found)| found.files.contains(&file.id));
        let locks = checkpoint.locks.iter().enumerate().filter(|(_, lock)| file.fds.contains(&(lock.pid, lock.fd)));
        let path = match &file.detail {
            FileDetail::Reg(reg) => Some(&reg.name),
            _ => None,
        };
        let changed = path.filter(|path| checkpoint.rootfs.entries.iter().any(|entry| entry.path == **path));
        Found {
            recovered: recovered
                .take(MAX_LINKS)
                .map(|(at, _)| (at, Target::RootfsPath(name_of_recovered(checkpoint, at))))
                .collect(),
            locks: locks.take(MAX_LINKS).map(|(at, _)| at).collect(),
            changed: changed.map(|path| Target::RootfsPath(path.to_lossless().into_owned())),
        }
    }
}

/// Draws the details; true when they shall be closed.
pub(super) fn detail_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    id: FileId,
    state: &mut DetailState,
    commands: &mut Vec<Command>,
) -> bool {
    let checkpoint = archive.checkpoint();
    let Some(file) = checkpoint.file(id) else {
        let is_closed = detail_title(ui, icons::FILE, Tone::Neutral, &format!("Open file {id}"), &[]);
        empty_state(
            ui,
            icons::FILE,
            &format!("There is no open file {id}"),
            "It is named somewhere, but not recorded.",
        );
        return is_closed;
    };
    let key = (archive.id(), id);
    if state.found.as_ref().is_none_or(|(known, _)| *known != key) {
        state.found = Some((key, Found::of(checkpoint, file)));
    }
    let DetailState { found: Some((_, found)), bytes } = state else { return false };
    let title = super::links::file_label(checkpoint, id);
    let mut badges = vec![(file.kind.word(), Tone::Neutral, "CRIU's word for the kind of file")];
    if file.is_deleted {
        badges.push(("deleted", Tone::Warning, "No path leads to it any more"));
    }
    if !found.recovered.is_empty() {
        badges.push(("content recovered", Tone::Success, "Its content lies in the checkpoint"));
    }
    if matches!(&file.detail, FileDetail::Reg(reg) if reg.is_external) {
        badges.push(("external", Tone::Accent, "Handled outside CRIU: the runtime hands it in at restore"));
    }
    let is_closed = detail_title(ui, icon_of(file.kind), Tone::Accent, &title, &badges);
    let id = u64::from(archive.id().0) << 32 | u64::from(id.0);
    detail_page(ui, id, |ui| {
        unread_ui(ui, checkpoint, file, id, bytes, commands);
        detail_sides(ui, |ui, side| match side {
            Side::Left => {
                description_ui(ui, checkpoint, file, commands);
                kinds::kind_ui(ui, checkpoint, file, commands);
            }
            Side::Right => {
                holders_ui(ui, checkpoint, file, commands);
                related_ui(ui, checkpoint, file, commands);
                content_ui(ui, checkpoint, found, commands);
                locks_ui(ui, checkpoint, found, commands);
            }
        });
    });
    is_closed
}

fn description_ui(ui: &mut Ui, checkpoint: &Checkpoint, file: &OpenFile, commands: &mut Vec<Command>) {
    section(ui, "Open file description", "", |ui| {
        property(
            ui,
            commands,
            "ID",
            "CRIU's number; descriptors that share it name it",
            Value::Mono(&file.id.to_string()),
        );
        if let Some(target) = &file.target {
            property(ui, commands, "Target", "As the link in /proc/PID/fd reads", Value::Mono(&target.label()));
        }
        if let Some(flags) = file.flags {
            let arch = checkpoint.container.arch.unwrap_or_default();
            let octal = if flags == 0 { "0".to_owned() } else { format!("0{flags:o}") };
            let line = format!("{}  ({octal})", names::open_flags(arch, u64::from(flags)));
            property(ui, commands, "Flags", "Of open(2); octal as in /proc/PID/fdinfo", Value::Mono(&line));
        }
        if let Some(pos) = file.pos {
            property(ui, commands, "Position", "File position in bytes", Value::Mono(&text::grouped(pos)));
        }
        if let Some(owner) = &file.owner
            && owner.pid != 0
        {
            let arch = checkpoint.container.arch.unwrap_or_default();
            let kind = names::FOWN_PID_TYPE.value_or_number(arch, u64::from(owner.pid_type));
            let signal = if owner.signum == 0 { "SIGIO".to_owned() } else { names::signal(arch, owner.signum) };
            property_ui(ui, "Signal owner", "Who is told by signal of readiness (F_SETOWN)", |ui| {
                link_row(ui, |ui| {
                    process_link(ui, checkpoint, crate::base::Pid(owner.pid), commands);
                    ui.label(format!("by {signal}, as {kind}"));
                })
            });
        }
        property_ui(ui, "Recorded in", "The image that holds the record", |ui| {
            place_link(ui, checkpoint, &file.place, commands);
        });
    });
}

fn content_ui(ui: &mut Ui, checkpoint: &Checkpoint, found: &Found, commands: &mut Vec<Command>) {
    if found.recovered.is_empty() && found.changed.is_none() {
        return;
    }
    section(ui, "Content", "in this checkpoint", |ui| {
        for (at, target) in &found.recovered {
            let Some(recovered) = checkpoint.recovered.get(*at) else { continue };
            property_ui(ui, recovered.source.word(), "Recovered: look at it in Filesystem", |ui| {
                let label = format!("{}, {}", recovered.path.label(), text::bytes(recovered.size_bytes));
                target_link(ui, commands, &label, target.clone());
            });
        }
        if let Some(target) = &found.changed {
            property_ui(ui, "Changed file", "The same path among the changes of the root filesystem", |ui| {
                target_link(ui, commands, &escape_controls(&target.to_string()), target.clone());
            });
        }
    });
}

fn unread_ui(
    ui: &mut Ui,
    checkpoint: &Checkpoint,
    file: &OpenFile,
    key: u64,
    view: &mut BytesView,
    commands: &mut Vec<Command>,
) {
    let (bytes, place) = match &file.detail {
        FileDetail::Pipe(end) | FileDetail::Fifo(end) => (end.unread.as_ref(), end.unread_place.as_ref()),
        FileDetail::Tty(tty) => (tty.unread.as_ref(), None),
        _ => return,
    };
    let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else { return };
    let note = format!("{}, written and read by nobody yet", text::bytes(unread_bytes(checkpoint, file)));
    section(ui, "Unread bytes", &note, |ui| {
        if let Some(place) = place {
            property_ui(ui, "Recorded in", "Where these bytes lie", |ui| place_link(ui, checkpoint, place, commands));
        }
        let height = bytes_height(bytes);
        ui.allocate_ui(egui::vec2(ui.available_width(), height), |ui| {
            ui.set_min_height(height);
            commands.extend(view.show(ui, key, bytes, 0, &format!("{}-{}.bin", file.kind.word(), file.id)));
        });
    });
}

fn holders_ui(ui: &mut Ui, checkpoint: &Checkpoint, file: &OpenFile, commands: &mut Vec<Command>) {
    let note = match file.fds.len() {
        0 => String::new(),
        count => text::counted(count, "descriptor", "descriptors"),
    };
    section(ui, "Held by", &note, |ui| {
        if file.fds.is_empty() && file.held_by.is_empty() {
            ui.label("Nobody: it is in flight, or kept for another file.");
        }
        if !file.fds.is_empty() {
            link_row(ui, |ui| {
                for fd in file.fds.iter().take(MAX_LINKS) {
                    fd_link(ui, checkpoint, *fd, commands);
                }
                more_label(ui, file.fds.len());
            });
        }
        for (pid, hold) in file.held_by.iter().take(MAX_LINKS) {
            let label = match hold_word(*hold) {
                "exe" => "Program of",
                "cwd" => "Working directory of",
                "root" => "Root directory of",
                "map" => "Mapped by",
                _ => "In flight to",
            };
            property_ui(ui, label, "", |ui| process_link(ui, checkpoint, *pid, commands));
        }
        more_label(ui, file.held_by.len());
    });
}

fn related_ui(ui: &mut Ui, checkpoint: &Checkpoint, file: &OpenFile, commands: &mut Vec<Command>) {
    if file.related.is_empty() {
        return;
    }
    section(ui, "Belongs with", &text::counted(file.related.len(), "file", "files"), |ui| {
        for (relation, other) in file.related.iter().take(MAX_LINKS) {
            let (label, help) = relation_words(*relation);
            property_ui(ui, label, help, |ui| {
                link_row(ui, |ui| {
                    file_link(ui, checkpoint, *other, commands);
                    let fds = checkpoint.file(*other).map(|file| file.fds.as_slice()).unwrap_or_default();
                    for fd in fds.iter().take(6) {
                        fd_link(ui, checkpoint, *fd, commands);
                    }
                })
            });
        }
        more_label(ui, file.related.len());
    });
}

/// The words for a relation, and what it means.
fn relation_words(relation: Relation) -> (&'static str, &'static str) {
    match relation {
        Relation::PipeEnd => ("Same pipe", "An end of the same pipe or fifo"),
        Relation::Peer => ("Peer", "The socket it is connected with"),
        Relation::EpollTarget => ("Watched by epoll", "An epoll and what it watches"),
        Relation::PathOf => ("Path of", "The file that gives a fifo or terminal its path"),
        Relation::PtyPair => ("Pseudo terminal", "The other side of the pair"),
        Relation::SameMemfd => ("Same memfd", "Opened from the same memfd"),
        Relation::InFlight => ("In flight", "Sent over the socket and not yet received (SCM_RIGHTS)"),
    }
}

fn locks_ui(ui: &mut Ui, checkpoint: &Checkpoint, found: &Found, commands: &mut Vec<Command>) {
    if found.locks.is_empty() {
        return;
    }
    section(ui, "Locks", "", |ui| {
        for lock in found.locks.iter().filter_map(|at| checkpoint.locks.get(*at)) {
            property_ui(ui, &format!("{} {}", lock.kind, lock.access), "Kind of lock, and what it allows", |ui| {
                link_row(ui, |ui| {
                    ui.label(range_label(lock));
                    fd_link(ui, checkpoint, (lock.pid, lock.fd), commands);
                })
            });
        }
    });
}

fn range_label(lock: &FileLock) -> String {
    match (lock.start, lock.len) {
        (0, None) => "the whole file, by".to_owned(),
        (start, None) => format!("from byte {} to the end, by", text::grouped(start)),
        (start, Some(len)) => format!("{} bytes from {}, by", text::grouped(len), text::grouped(start)),
    }
}
