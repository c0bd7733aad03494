//! Names of objects as links, the same in every panel.

use egui::{RichText, Ui};

use crate::base::{Fd, FileId, MntId, Pid, Place, escape_controls};
use crate::checkpoint::{Checkpoint, OpenFile};
use crate::session::{Command, Target};
use crate::ui::text::grouped;
use crate::ui::tokens::Tokens;
use crate::ui::widgets::{mono_text, target_link};

/// Most links of one kind in a detail; the rest is counted.
pub(in crate::ui::panels) const MAX_LINKS: usize = 60;

/// `7 nginx`.
pub(in crate::ui::panels) fn process_label(checkpoint: &Checkpoint, pid: Pid) -> String {
    match checkpoint.process(pid) {
        Some(process) => format!("{pid} {}", process.comm_label()),
        None => pid.to_string(),
    }
}

/// A link to a process.
pub(in crate::ui::panels) fn process_link(ui: &mut Ui, checkpoint: &Checkpoint, pid: Pid, commands: &mut Vec<Command>) {
    let target = Target::process(pid);
    target_link(ui, commands, &process_label(checkpoint, pid), target);
}

/// A link to a descriptor: `7:3 nginx`.
pub(in crate::ui::panels) fn fd_link(
    ui: &mut Ui,
    checkpoint: &Checkpoint,
    (pid, fd): (Pid, Fd),
    commands: &mut Vec<Command>,
) {
    let comm = checkpoint.process(pid).map(|process| process.comm_label()).unwrap_or_default();
    let target = Target::Fd { pid, fd };
    let tooltip = target.to_string();
    target_link(ui, commands, format!("{pid}:{fd} {comm}").trim_end(), target).on_hover_text(tooltip);
}

/// What an open file without a recorded link is called.
pub(in crate::ui::panels) fn label_without_target(checkpoint: &Checkpoint, file: &OpenFile) -> String {
    match checkpoint.socket(file.id) {
        Some(socket) => format!("{} socket", socket.proto),
        None => format!("{} {}", file.kind.word(), file.id),
    }
}

/// What an open file is called.
pub(in crate::ui::panels) fn file_label(checkpoint: &Checkpoint, id: FileId) -> String {
    match checkpoint.file(id) {
        Some(file) => match &file.target {
            Some(target) => target.label(),
            None => label_without_target(checkpoint, file),
        },
        None => format!("file {id}, not in the checkpoint"),
    }
}

/// A link to an open file, or to the socket behind it.
pub(in crate::ui::panels) fn file_link(ui: &mut Ui, checkpoint: &Checkpoint, id: FileId, commands: &mut Vec<Command>) {
    let target = if checkpoint.socket(id).is_some() { Target::Socket(id) } else { Target::File(id) };
    let tooltip = target.to_string();
    target_link(ui, commands, &file_label(checkpoint, id), target).on_hover_text(tooltip);
}

/// A link to a mount: `/proc (proc)`.
pub(in crate::ui::panels) fn mount_link(ui: &mut Ui, checkpoint: &Checkpoint, id: MntId, commands: &mut Vec<Command>) {
    match checkpoint.mount(id) {
        Some(mount) => {
            let fstype = mount.fstype.as_ref().map_or_else(|| "unknown".to_owned(), |fstype| fstype.label());
            let label = format!("{} ({fstype})", mount.mountpoint.label());
            target_link(ui, commands, &label, Target::Mount(id)).on_hover_text(format!("Mount {id}"));
        }
        None => {
            ui.label(RichText::new(format!("{id}, not in the checkpoint")).color(Tokens::get(ui).muted));
        }
    }
}

/// A link to where something is recorded; plain text where no panel shows that.
pub(in crate::ui::panels) fn place_link(
    ui: &mut Ui,
    checkpoint: &Checkpoint,
    place: &Place,
    commands: &mut Vec<Command>,
) {
    let label = escape_controls(&place.to_string()).into_owned();
    match Target::of_place(checkpoint, place) {
        Some(target) => {
            target_link(ui, commands, &label, target);
        }
        None => {
            ui.add(egui::Label::new(mono_text(label)).wrap().selectable(true));
        }
    }
}

/// Says how many there are beyond those that were drawn.
pub(in crate::ui::panels) fn more_label(ui: &mut Ui, all: usize) {
    if all > MAX_LINKS {
        let text = format!("and {} more", grouped((all - MAX_LINKS) as u64));
        ui.label(RichText::new(text).color(Tokens::get(ui).muted));
    }
}
