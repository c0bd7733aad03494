//! All about one socket: ends, options, filter, queues with their bytes, descriptors in flight.

use egui::{RichText, Ui};

use super::super::files::links::{MAX_LINKS, fd_link, file_link, more_label, place_link};
use super::{address_label, bpf, label_of};
use crate::base::{FileId, Pid};
use crate::checkpoint::sockets::Queue;
use crate::checkpoint::{Checkpoint, Socket};
use crate::decode::names;
use crate::session::{Command, OpenArchive, Target};
use crate::ui::tokens::{Tokens, Tone};
use crate::ui::widgets::{
    BytesView, Side, Value, bytes_height, detail_page, detail_sides, detail_title, empty_state, link_row, mono_text,
    property, property_ui, section, target_link,
};
use crate::ui::{icons, text};

/// Most packets that can be chosen from.
const MAX_PACKETS: usize = 200;

/// What the details keep.
#[derive(Debug, Default)]
pub(super) struct DetailState {
    of: Option<FileId>,
    received: QueueState,
    sent: QueueState,
}

#[derive(Debug, Default)]
struct QueueState {
    packet: usize,
    view: BytesView,
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
    let Some(socket) = checkpoint.socket(id) else {
        let is_closed = detail_title(ui, icons::SOCKET, Tone::Neutral, &format!("Socket, file {id}"), &[]);
        empty_state(ui, icons::SOCKET, "There is no such socket", "It is named somewhere, but not recorded.");
        return is_closed;
    };
    if state.of != Some(id) {
        *state = DetailState { of: Some(id), ..DetailState::default() };
    }
    let mut badges = Vec::new();
    if let Some(state) = socket.state {
        let tone = match state.0 {
            "LISTEN" => Tone::Accent,
            "ESTABLISHED" => Tone::Success,
            _ => Tone::Neutral,
        };
        badges.push((state.0, tone, "State, as ss spells it"));
    }
    if socket.was_connecting {
        let help = "CRIU stores a connection attempt under way as closed, with a destination";
        badges.push(("was connecting", Tone::Warning, help));
    }
    if socket.is_deleted {
        badges.push(("path deleted", Tone::Warning, "The file of the unix socket was unlinked"));
    }
    let is_closed = detail_title(ui, icons::SOCKET, Tone::Accent, &label_of(socket), &badges);
    let key = u64::from(archive.id().0) << 32 | u64::from(id.0);
    detail_page(ui, key, |ui| {
        let (received, sent) = (&mut state.received, &mut state.sent);
        queue_ui(ui, checkpoint, "Received, not yet read", socket.recv_queue.as_ref(), key << 1, received, commands);
        queue_ui(
            ui,
            checkpoint,
            "Written, not yet acknowledged",
            socket.send_queue.as_ref(),
            key << 1 | 1,
            sent,
            commands,
        );
        detail_sides(ui, |ui, side| match side {
            Side::Left => ends_ui(ui, checkpoint, socket, commands),
            Side::Right => {
                holders_ui(ui, checkpoint, socket, commands);
                in_flight_ui(ui, checkpoint, socket, commands);
                options_ui(ui, socket, commands);
            }
        });
        filter_ui(ui, socket, commands);
    });
    is_closed
}

fn ends_ui(ui: &mut Ui, checkpoint: &Checkpoint, socket: &Socket, commands: &mut Vec<Command>) {
    let arch = checkpoint.container.arch.unwrap_or_default();
    section(ui, "Socket", "", |ui| {
        let local = socket.local.as_ref().map_or_else(|| "unbound".to_owned(), address_label);
        property(ui, commands, "Local", "Own address; @ is an abstract name", Value::Mono(&local));
        property_ui(ui, "Peer", "The other end", |ui| {
            link_row(ui, |ui| {
                match (socket.peer_file, &socket.peer) {
                    (Some(peer), address) => {
                        let label = match address {
                            Some(address) => address_label(address),
                            None => checkpoint.socket(peer).map(label_of).unwrap_or_default(),
                        };
                        let target = Target::Socket(peer);
                        target_link(ui, commands, &label, target).on_hover_text("The other end is in this checkpoint");
                        let owners = checkpoint.socket(peer).map(|peer| peer.owners.as_slice()).unwrap_or_default();
                        for fd in owners.iter().take(6) {
                            fd_link(ui, checkpoint, *fd, commands);
                        }
                    }
                    (None, Some(address)) => {
                        ui.add(egui::Label::new(mono_text(address_label(address))).wrap().selectable(true));
                    }
                    (None, None) => {
                        ui.label(RichText::new("not connected").color(Tokens::get(ui).muted));
                    }
                };
            })
        });
        let kind = names::SOCKET_TYPE.value_or_number(arch, u64::from(socket.socket_type));
        property(ui, commands, "Type", "Of socket(2)", Value::Mono(&kind));
        if let Some(protocol) = socket.protocol {
            let table = match socket.proto {
                "netlink" => names::NETLINK_PROTO,
                "packet" => names::ETHERTYPE,
                _ => names::IP_PROTO,
            };
            let name = table.value_or_number(arch, u64::from(protocol));
            property(ui, commands, "Protocol", "Of socket(2)", Value::Mono(&name));
        }
        if let Some(inode) = socket.inode {
            property(ui, commands, "Inode", "Number in socket:[N]", Value::Mono(&inode.to_string()));
        }
        if let Some(backlog) = socket.backlog {
            property(ui, commands, "Backlog", "Length of the accept queue", Value::Mono(&backlog.to_string()));
        }
        if let Some(interface) = &socket.interface {
            property(ui, commands, "Interface", "It is bound to", Value::Mono(&interface.label()));
        }
        let shutdown = match socket.shutdown {
            (true, true) => "for reading and writing",
            (true, false) => "for reading",
            (false, true) => "for writing",
            (false, false) => "",
        };
        if !shutdown.is_empty() {
            property(ui, commands, "Shut down", "By shutdown(2)", Value::Text(shutdown));
        }
        if let Some(ns_id) = socket.ns_id {
            property(ui, commands, "Network namespace", "CRIU's number", Value::Mono(&ns_id.to_string()));
        }
        let file = checkpoint.file(socket.file);
        if let Some(flags) = file.and_then(|file| file.flags) {
            let flags = names::open_flags(arch, u64::from(flags));
            property(ui, commands, "Flags", "Of the open file description", Value::Mono(&flags));
        }
        property_ui(ui, "Open file", "The open file description", |ui| {
            target_link(ui, commands, &format!("file {}", socket.file), Target::File(socket.file));
        });
        if let Some(file) = file {
            property_ui(ui, "Recorded in", "", |ui| place_link(ui, checkpoint, &file.place, commands));
        }
    });
}

fn holders_ui(ui: &mut Ui, checkpoint: &Checkpoint, socket: &Socket, commands: &mut Vec<Command>) {
    section(ui, "Held by", &text::counted(socket.owners.len(), "descriptor", "descriptors"), |ui| {
        if socket.owners.is_empty() {
            let label = "Nobody: it is in flight, or waits to be accepted.";
            ui.label(RichText::new(label).color(Tokens::get(ui).muted));
        }
        link_row(ui, |ui| {
            for fd in socket.owners.iter().take(MAX_LINKS) {
                fd_link(ui, checkpoint, *fd, commands);
            }
            more_label(ui, socket.owners.len());
        });
    });
}

fn queue_ui(
    ui: &mut Ui,
    checkpoint: &Checkpoint,
    title: &str,
    queue: Option<&Queue>,
    key: u64,
    state: &mut QueueState,
    commands: &mut Vec<Command>,
) {
    let Some(queue) = queue else { return };
    if queue.len_bytes == 0 && queue.packets.is_empty() {
        return;
    }
    let mut note = text::bytes(queue.len_bytes);
    if queue.packets.len() > 1 {
        note.push_str(&format!(" in {}", text::counted(queue.packets.len(), "packet", "packets")));
    }
    if let Some(unsent) = queue.unsent_bytes {
        note.push_str(&format!(", {} never sent", text::bytes(unsent)));
    }
    section(ui, title, &note, |ui| {
        if queue.packets.len() > 1 {
            link_row(ui, |ui| {
                for (at, (bytes, _)) in queue.packets.iter().take(MAX_PACKETS).enumerate() {
                    let label = format!("{}: {}", at + 1, text::bytes(bytes.len() as u64));
                    let chip = ui.selectable_label(state.packet == at, RichText::new(label).small());
                    if chip.on_hover_text(format!("Packet {}", at + 1)).clicked() {
                        state.packet = at;
                    }
                }
            });
        }
        let Some((bytes, place)) = queue.packets.get(state.packet) else {
            ui.label(RichText::new("The bytes are not in the checkpoint.").color(Tokens::get(ui).muted));
            return;
        };
        property_ui(ui, "Recorded in", "Where these bytes lie", |ui| place_link(ui, checkpoint, place, commands));
        ui.push_id(key, |ui| {
            let height = bytes_height(bytes);
            ui.allocate_ui(egui::vec2(ui.available_width(), height), |ui| {
                ui.set_min_height(height);
                let key = key.wrapping_mul(1021).wrapping_add(state.packet as u64);
                let name =
                    format!("queue-{}-{}.bin", place.member.rsplit('/').next().unwrap_or("socket"), state.packet);
                commands.extend(state.view.show(ui, key, bytes, 0, &name));
            });
        });
    });
}

fn in_flight_ui(ui: &mut Ui, checkpoint: &Checkpoint, socket: &Socket, commands: &mut Vec<Command>) {
    if socket.in_flight.is_empty() {
        return;
    }
    let note = "sent over it (SCM_RIGHTS) and not yet received";
    section(ui, "Descriptors in flight", note, |ui| {
        for id in socket.in_flight.iter().take(MAX_LINKS) {
            property_ui(ui, &format!("File {id}"), "", |ui| file_link(ui, checkpoint, *id, commands));
        }
        more_label(ui, socket.in_flight.len());
    });
}

fn options_ui(ui: &mut Ui, socket: &Socket, commands: &mut Vec<Command>) {
    if socket.options.is_empty() {
        return;
    }
    section(ui, "Options", "", |ui| {
        for (name, value) in socket.options.iter().take(MAX_LINKS) {
            property(ui, commands, name, "", Value::Mono(&crate::base::escape_controls(value)));
        }
    });
}

fn filter_ui(ui: &mut Ui, socket: &Socket, commands: &mut Vec<Command>) {
    if socket.filter.is_empty() {
        return;
    }
    let note = text::counted(socket.filter.len(), "instruction", "instructions");
    section(ui, "BPF filter", &note, |ui| {
        let shown = socket.filter.iter().take(1024).enumerate().map(|(at, packed)| bpf::line(at, *packed));
        let program = shown.collect::<Vec<_>>().join("\n");
        let response = ui.add(egui::Label::new(mono_text(&program)).selectable(true));
        response.context_menu(|ui| {
            if ui.button("Copy program").clicked() {
                commands.push(Command::copy("BPF program", program.clone()));
                ui.close();
            }
        });
    });
}

/// Processes of a network namespace, for its title.
pub(super) fn pids_label(checkpoint: &Checkpoint, pids: &[Pid]) -> String {
    match pids {
        [] => String::new(),
        [only] => format!("of {}", super::process_label(checkpoint, *only)),
        many => format!("of {} processes", text::grouped(many.len() as u64)),
    }
}
