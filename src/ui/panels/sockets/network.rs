//! Interfaces, routes, rules and packet filters of the network namespaces.

use bytes::Bytes;
use egui::{RichText, ScrollArea, Ui};

use super::super::files::links::process_link;
use crate::checkpoint::Checkpoint;
use crate::checkpoint::container::EngineNetwork;
use crate::checkpoint::namespaces::NsKind;
use crate::checkpoint::network::{NetNamespace, Route};
use crate::decode::names;
use crate::session::{ArchiveId, Command, OpenArchive};
use crate::ui::icons;
use crate::ui::tokens::{SPACE_M, SPACE_S, Tokens};
use crate::ui::widgets::{BytesView, detail_page, empty_state, link_row, mono_text, property_ui, section, tab_strip};

/// Most interfaces, routes or rules of one namespace that are shown.
const MAX_SHOWN: usize = 400;

/// What the packet filters keep.
#[derive(Debug, Default)]
pub(super) struct NetworkState {
    listed: Option<(ArchiveId, Vec<FilterText>)>,
    chosen: usize,
    view: BytesView,
}

#[derive(Debug)]
struct FilterText {
    title: String,
    file_name: String,
    bytes: Bytes,
}

fn title_of(network: &NetNamespace) -> String {
    format!("Network namespace {}", network.id)
}

/// Interfaces, routes and rules, one section for each.
pub(super) fn interfaces_ui(ui: &mut Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
    let checkpoint = archive.checkpoint();
    let networks = &checkpoint.networks;
    let attached = &checkpoint.container.networks;
    if networks.is_empty() && attached.is_empty() {
        let hint = "The runtime owns the network namespace and hands it in at restore.";
        empty_state(ui, icons::NETWORK, "No network namespace was dumped", hint);
        return;
    }
    detail_page(ui, u64::from(archive.id().0), |ui| {
        if !attached.is_empty() {
            attached_ui(ui, attached);
        }
        if networks.is_empty() {
            let why = "No network namespace was dumped: the runtime owns it and hands it in at restore.";
            ui.label(RichText::new(why).color(Tokens::get(ui).muted));
        }
        for network in networks.iter().take(64) {
            namespace_ui(ui, checkpoint, network, commands);
        }
    });
}

/// Networks as the engine attached them: what it says, not what was found inside.
fn attached_ui(ui: &mut Ui, attached: &[EngineNetwork]) {
    section(ui, "Networks", "as the engine attached them", |ui| {
        grid(ui, ("attached", 0), |ui| {
            for title in ["Network", "Interface", "Addresses", "Gateway", "Hardware address"] {
                head(ui, title);
            }
            ui.end_row();
            for network in attached.iter().take(MAX_SHOWN) {
                let escaped = |text: Option<&String>| {
                    text.map(|text| crate::base::escape_controls(text).into_owned()).unwrap_or_default()
                };
                mono(ui, escaped(Some(&network.name)));
                mono(ui, escaped(network.interface.as_ref()));
                let addresses = network.addresses.iter().take(32).map(|address| escaped(Some(address)));
                mono(ui, addresses.collect::<Vec<_>>().join("\n"));
                mono(ui, escaped(network.gateway.as_ref()));
                mono(ui, escaped(network.mac.as_ref()));
                ui.end_row();
            }
        });
    });
}

fn namespace_ui(ui: &mut Ui, checkpoint: &Checkpoint, network: &NetNamespace, commands: &mut Vec<Command>) {
    let of = checkpoint.namespaces.iter().find(|ns| ns.kind == NsKind::Net && ns.id == network.id);
    let pids = of.map(|ns| ns.pids.as_slice()).unwrap_or_default();
    section(ui, &title_of(network), &super::detail::pids_label(checkpoint, pids), |ui| {
        if !pids.is_empty() {
            property_ui(ui, "Processes", "That live in it", |ui| {
                link_row(ui, |ui| {
                    for pid in pids.iter().take(12) {
                        process_link(ui, checkpoint, *pid, commands);
                    }
                })
            });
        }
        if let Some(key) = &network.external_key {
            property_ui(
                ui,
                "External key",
                "The runtime hands it in at restore: its inside is not in the dump",
                |ui| ui.add(egui::Label::new(mono_text(key.label())).wrap().selectable(true)),
            );
        }
    });
    interface_table_ui(ui, network);
    routes_ui(ui, network);
    if !network.rules.is_empty() {
        section(ui, "Policy rules", "as ip rule prints them", |ui| {
            for rule in network.rules.iter().take(MAX_SHOWN) {
                ui.add(egui::Label::new(mono_text(crate::base::escape_controls(rule))).wrap().selectable(true));
            }
        });
    }
}

fn head(ui: &mut Ui, text: &str) {
    let tokens = Tokens::get(ui);
    ui.label(RichText::new(text).font(crate::ui::tokens::small_font()).color(tokens.muted));
}

fn mono(ui: &mut Ui, text: impl Into<String>) {
    ui.add(egui::Label::new(mono_text(text.into())).selectable(true));
}

fn interface_table_ui(ui: &mut Ui, network: &NetNamespace) {
    if network.interfaces.is_empty() {
        return;
    }
    section(ui, "Interfaces", &network.interfaces.len().to_string(), |ui| {
        grid(ui, ("interfaces", network.id.0), |ui| {
            for title in ["Index", "Name", "Kind", "MTU", "Hardware address", "Addresses", "Flags"] {
                head(ui, title);
            }
            ui.end_row();
            for interface in network.interfaces.iter().take(MAX_SHOWN) {
                mono(ui, interface.ifindex.to_string());
                mono(ui, interface.name.label());
                ui.label(interface.kind);
                mono(ui, interface.mtu.to_string());
                mono(ui, interface.mac.clone().unwrap_or_default());
                let addresses =
                    interface.addresses.iter().take(32).map(|address| crate::base::escape_controls(address));
                mono(ui, addresses.collect::<Vec<_>>().join("\n"));
                let flags = names::IF_FLAGS.bits(names::Arch::default(), u64::from(interface.flags));
                mono(ui, flags.replace("IFF_", ""));
                ui.end_row();
            }
        });
    });
}

fn routes_ui(ui: &mut Ui, network: &NetNamespace) {
    if network.routes.is_empty() {
        return;
    }
    section(ui, "Routes", &network.routes.len().to_string(), |ui| {
        grid(ui, ("routes", network.id.0), |ui| {
            for title in ["Destination", "Gateway", "Interface", "Table", "As ip route prints it"] {
                head(ui, title);
            }
            ui.end_row();
            for route in network.routes.iter().take(MAX_SHOWN) {
                mono(ui, route.destination.clone());
                mono(ui, route.gateway.clone().unwrap_or_default());
                mono(ui, crate::base::escape_controls(route.interface.as_deref().unwrap_or_default()));
                mono(ui, table_name(route));
                mono(ui, crate::base::escape_controls(&route.detail));
                ui.end_row();
            }
        });
    });
}

fn table_name(route: &Route) -> String {
    match route.table {
        253 => "default".into(),
        254 => "main".into(),
        255 => "local".into(),
        number => number.to_string(),
    }
}

fn grid(ui: &mut Ui, id: (&str, u32), rows: impl FnOnce(&mut Ui)) {
    ScrollArea::horizontal().id_salt(id).show(ui, |ui| {
        egui::Grid::new(id).spacing([SPACE_M + SPACE_S, 4.0]).striped(false).show(ui, rows);
    });
}

/// Texts of iptables and nftables.
pub(super) fn filters_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut NetworkState, commands: &mut Vec<Command>) {
    let checkpoint = archive.checkpoint();
    if state.listed.as_ref().is_none_or(|(id, _)| *id != archive.id()) {
        state.listed = Some((archive.id(), texts_of(checkpoint)));
        state.chosen = 0;
    }
    let Some((_, listed)) = &state.listed else { return };
    if listed.is_empty() {
        let hint = "iptables and nftables are dumped with a network namespace of the container's own, where the tools are installed on the node.";
        empty_state(ui, icons::SHIELD, "No packet filter was dumped", hint);
        return;
    }
    let tabs: Vec<(&str, usize)> = listed.iter().map(|text| (text.title.as_str(), 0)).collect();
    state.chosen = tab_strip(ui, &tabs, state.chosen);
    let Some(text) = listed.get(state.chosen) else { return };
    ui.add_space(crate::ui::tokens::SPACE_XS);
    let key = u64::from(archive.id().0) << 32 | state.chosen as u64;
    commands.extend(state.view.show(ui, key, &text.bytes, 0, &text.file_name));
}

fn texts_of(checkpoint: &Checkpoint) -> Vec<FilterText> {
    let many = checkpoint.networks.len() > 1;
    let mut out = Vec::new();
    for network in checkpoint.networks.iter().take(16) {
        for (name, text) in
            [("iptables", &network.iptables), ("ip6tables", &network.ip6tables), ("nftables", &network.nftables)]
        {
            let Some(text) = text else { continue };
            let title = if many { format!("{name}, namespace {}", network.id) } else { name.to_owned() };
            out.push(FilterText { title, file_name: format!("{name}-{}.txt", network.id), bytes: text.0.clone() });
        }
    }
    out
}
