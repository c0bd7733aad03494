//! The network of the container: sockets with both ends, interfaces and routes, packet filters.

mod bpf;
mod detail;
mod network;

use std::cmp::Ordering;

use egui::Ui;

use super::files::links::process_label;
use crate::base::FileId;
use crate::checkpoint::sockets::{Queue, SocketAddress};
use crate::checkpoint::{Checkpoint, Socket};
use crate::session::{Command, OpenArchive, Target};
use crate::ui::icons;
use crate::ui::text::grouped;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Follow, Table, TableRows, TableState, tab_strip};

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct SocketsState {
    tab: usize,
    table: TableState,
    follow: Follow<FileId>,
    detail: detail::DetailState,
    network: network::NetworkState,
}

impl SocketsState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        if self.tab == 0 {
            self.table.focus_filter();
        }
    }
}

/// Draws the panel.
#[must_use]
pub fn sockets_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut SocketsState) -> Vec<Command> {
    let mut commands = Vec::new();
    let checkpoint = archive.checkpoint();
    let of = |target: &Target| match target {
        Target::Socket(id) | Target::File(id) => checkpoint.socket(*id).map(|socket| socket.file),
        Target::Fd { pid, fd } => checkpoint.socket(checkpoint.fd(*pid, *fd)?.file).map(|socket| socket.file),
        _ => None,
    };
    let before = state.follow.shown().copied();
    state.follow.update(archive, of);
    if state.follow.shown().copied() != before {
        state.tab = 0;
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    let interfaces = checkpoint.networks.iter().map(|network| network.interfaces.len()).sum();
    let tabs = [("Sockets", checkpoint.sockets.len()), ("Interfaces and routes", interfaces), ("Packet filters", 0)];
    state.tab = tab_strip(ui, &tabs, state.tab);
    match state.tab {
        0 => commands = list_ui(ui, archive, state, of),
        1 => network::interfaces_ui(ui, archive, &mut commands),
        _ => network::filters_ui(ui, archive, &mut state.network, &mut commands),
    }
    commands
}

fn list_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    state: &mut SocketsState,
    of: impl Fn(&Target) -> Option<FileId>,
) -> Vec<Command> {
    let SocketsState { table, follow, detail, .. } = state;
    follow.split_ui(
        ui,
        "sockets",
        of,
        |ui, id, commands| detail::detail_ui(ui, archive, id, detail, commands),
        |ui, shown| {
            let target = shown.map_or(Target::Overview, Target::Socket);
            let key = u64::from(archive.id().0);
            let list = Table::new("sockets", COLUMNS).empty_hint("No process of this container had a socket open.");
            list.show(ui, table, &SocketRows(archive.checkpoint()), key, &target, |_| {}).into_iter().collect()
        },
    )
}

/// `tcp 127.0.0.1:80`, with its peer if there is one.
pub(super) fn label_of(socket: &Socket) -> String {
    let mut label = socket.proto.to_owned();
    if let Some(local) = &socket.local {
        label.push(' ');
        label.push_str(&address_label(local));
    }
    if let Some(peer) = &socket.peer {
        label.push_str(" → ");
        label.push_str(&address_label(peer));
    }
    if socket.local.is_none()
        && socket.peer.is_none()
        && let Some(inode) = socket.inode
    {
        label.push_str(&format!(" [{inode}]"));
    }
    label
}

/// An address on one line, with nothing that moves a cursor.
fn address_label(address: &SocketAddress) -> String {
    crate::base::escape_controls(&address.to_string()).into_owned()
}

const COLUMNS: &[Column] = &[
    Column::left("Proto", 100.0, "Family and protocol").at_least(88.0),
    Column::left("State", 110.0, "As ss spells it"),
    Column::left("Local", 190.0, "Own address; @ is an abstract name").at_least(120.0),
    Column::left("Peer", 190.0, "Peer's address; links to the other end when that is in the checkpoint"),
    Column::right("Recv-Q", 70.0, "Bytes received and not yet read; a dash where CRIU does not keep them"),
    Column::right("Send-Q", 70.0, "Bytes written and not yet acknowledged; a dash where CRIU does not keep them"),
    Column::left("Held by", 150.0, "The first descriptor that holds it"),
    Column::right("Inode", 84.0, "Number in socket:[N]"),
    Column::left("Notes", 170.0, "Listening queue, shutdown, descriptors in flight, filter"),
];

struct SocketRows<'a>(&'a Checkpoint);

impl SocketRows<'_> {
    fn queue_cell(queue: Option<&Queue>) -> Cell<'static> {
        match queue.map(|queue| queue.len_bytes) {
            None => Cell::mono("-").muted(),
            Some(0) => Cell::mono("0").muted(),
            Some(bytes) => Cell::mono(grouped(bytes)).tone(Tone::Accent),
        }
    }

    fn notes(socket: &Socket) -> String {
        let mut notes: Vec<String> = Vec::new();
        notes.extend(socket.was_connecting.then(|| "was connecting".to_owned()));
        notes.extend(socket.is_deleted.then(|| "path deleted".to_owned()));
        match socket.shutdown {
            (true, true) => notes.push("shut down".into()),
            (true, false) => notes.push("shut for reading".into()),
            (false, true) => notes.push("shut for writing".into()),
            (false, false) => {}
        }
        if !socket.in_flight.is_empty() {
            notes.push(format!("{} in flight", grouped(socket.in_flight.len() as u64)));
        }
        if !socket.filter.is_empty() {
            notes.push("BPF filter".into());
        }
        notes.extend(socket.interface.as_ref().map(|name| format!("on {}", name.label())));
        notes.extend(socket.backlog.map(|backlog| format!("backlog {backlog}")));
        notes.join(", ")
    }
}

impl TableRows for SocketRows<'_> {
    fn len(&self) -> usize {
        self.0.sockets.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(socket) = self.0.sockets.get(row) else { return Cell::empty() };
        match column {
            0 => Cell::text(socket.proto).icon(icons::SOCKET, Tone::Neutral),
            1 => {
                let state = socket.state.map(|state| state.0).unwrap_or("unknown");
                match state {
                    "LISTEN" => Cell::mono(state).tone(Tone::Accent),
                    "ESTABLISHED" => Cell::mono(state).tone(Tone::Success),
                    _ => Cell::mono(state).muted(),
                }
            }
            2 => socket.local.as_ref().map_or_else(Cell::empty, |local| Cell::mono(address_label(local))),
            3 => {
                let label = socket.peer.as_ref().map(address_label);
                match (label, socket.peer_file) {
                    (Some(label), Some(peer)) => Cell::mono(label).link(Target::Socket(peer)),
                    (Some(label), None) => Cell::mono(label),
                    (None, Some(peer)) => {
                        let inode = self.0.socket(peer).and_then(|peer| peer.inode);
                        let label = inode.map_or_else(|| "unnamed".into(), |inode| format!("[{inode}]"));
                        Cell::mono(label).link(Target::Socket(peer))
                    }
                    (None, None) => Cell::empty(),
                }
            }
            4 => SocketRows::queue_cell(socket.recv_queue.as_ref()),
            5 => SocketRows::queue_cell(socket.send_queue.as_ref()),
            6 => match socket.owners.first() {
                Some((pid, fd)) => {
                    let mut label = format!("{} fd {fd}", process_label(self.0, *pid));
                    if socket.owners.len() > 1 {
                        label.push_str(&format!(" +{}", socket.owners.len() - 1));
                    }
                    Cell::mono(label).link(Target::Fd { pid: *pid, fd: *fd })
                }
                None => Cell::text("nobody").muted(),
            },
            7 => socket.inode.map_or_else(Cell::empty, |inode| Cell::mono(inode.to_string()).muted()),
            _ => Cell::text(SocketRows::notes(socket)),
        }
    }

    fn compare(&self, a: usize, b: usize, column: usize) -> Ordering {
        let (Some(left), Some(right)) = (self.0.sockets.get(a), self.0.sockets.get(b)) else { return Ordering::Equal };
        let len = |queue: &Option<Queue>| queue.as_ref().map(|queue| queue.len_bytes);
        match column {
            4 => len(&left.recv_queue).cmp(&len(&right.recv_queue)),
            5 => len(&left.send_queue).cmp(&len(&right.send_queue)),
            6 => left.owners.first().cmp(&right.owners.first()),
            7 => left.inode.cmp(&right.inode),
            _ => self.cell(a, column).text_cmp(&self.cell(b, column)),
        }
    }

    fn target(&self, row: usize) -> Option<Target> {
        self.0.sockets.get(row).map(|socket| Target::Socket(socket.file))
    }
}
