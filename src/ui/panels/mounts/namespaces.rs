//! Namespaces: who lives in which, and what is known of each.

use egui::{Frame, Panel, ScrollArea, Ui};

use super::super::files::links::{MAX_LINKS, more_label, process_link};
use crate::base::escape_controls;
use crate::checkpoint::namespaces::{Namespace, NsKind};
use crate::session::{ArchiveId, Command, OpenArchive};
use crate::ui::icons::{self, Icon};
use crate::ui::text;
use crate::ui::tokens::{ROW_HEIGHT, SPACE_S, SPACE_XS, Tone};
use crate::ui::widgets::{
    FilterBox, ListRow, Value, contains_ignore_case, detail_page, empty_state, link_row, list_focus, property, section,
    walk,
};

/// What the tab keeps.
#[derive(Debug, Default)]
pub(super) struct NamespacesState {
    filter: String,
    wants_focus: bool,
    computed_for: Option<(ArchiveId, String)>,
    rows: Vec<usize>,
    chosen: usize,
}

impl NamespacesState {
    pub(super) fn focus_filter(&mut self) {
        self.wants_focus = true;
    }

    fn update(&mut self, archive: &OpenArchive) {
        let wanted = (archive.id(), self.filter.to_lowercase());
        if self.computed_for.as_ref() == Some(&wanted) {
            return;
        }
        if self.computed_for.as_ref().is_none_or(|(id, _)| *id != archive.id()) {
            self.chosen = 0;
        }
        let namespaces = archive.checkpoint().namespaces.iter().enumerate();
        self.rows = namespaces.filter(|(_, ns)| is_match(ns, &wanted.1)).map(|(at, _)| at).collect();
        self.computed_for = Some(wanted);
    }
}

fn is_match(namespace: &Namespace, needle: &str) -> bool {
    let facts = || {
        namespace.facts.iter().any(|(name, value)| contains_ignore_case(&format!("{name} {}", value.label()), needle))
    };
    needle.is_empty() || contains_ignore_case(&title_of(namespace), needle) || facts()
}

fn title_of(namespace: &Namespace) -> String {
    format!("{} {}", namespace.kind.word(), namespace.id)
}

fn icon_of(kind: NsKind) -> Icon {
    match kind {
        NsKind::Pid => icons::PROCESS,
        NsKind::Net => icons::NETWORK,
        NsKind::Ipc => icons::MEMORY,
        NsKind::Uts => icons::ENVIRONMENT,
        NsKind::Mnt => icons::DEVICE,
        NsKind::User => icons::USER,
        NsKind::Cgroup => icons::TREE,
        NsKind::Time => icons::CLOCK,
    }
}

/// What a namespace of this kind isolates.
fn help_of(kind: NsKind) -> &'static str {
    match kind {
        NsKind::Pid => "numbers of processes",
        NsKind::Net => "interfaces, routes, packet filters; see Sockets",
        NsKind::Ipc => "System V IPC and message queues",
        NsKind::Uts => "host and domain name",
        NsKind::Mnt => "mounts",
        NsKind::User => "user and group ids, capabilities",
        NsKind::Cgroup => "the root of the cgroup tree",
        NsKind::Time => "monotonic and boot time clocks",
    }
}

/// Draws the tab.
pub(super) fn namespaces_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    state: &mut NamespacesState,
    commands: &mut Vec<Command>,
) {
    let namespaces = &archive.checkpoint().namespaces;
    if namespaces.is_empty() {
        empty_state(ui, icons::NAMESPACE, "No namespaces", "No ids image could be read; see Issues.");
        return;
    }
    let width = (ui.available_width() * 0.34).clamp(180.0, 320.0);
    let panel = Panel::left(ui.scope_id().with("namespaces")).default_size(width).resizable(true);
    panel.frame(Frame::NONE).show(ui, |ui| list_ui(ui, archive, state));
    egui::CentralPanel::default().frame(Frame::NONE).show(ui, |ui| match namespaces.get(state.chosen) {
        Some(namespace) => detail_ui(ui, archive, namespace, state.chosen, commands),
        None => empty_state(ui, icons::NAMESPACE, "No namespace is selected", "Pick one at the left."),
    });
}

fn list_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut NamespacesState) {
    ui.spacing_mut().item_spacing.y = 0.0;
    ui.add_space(SPACE_XS);
    ui.horizontal(|ui| {
        ui.add_space(SPACE_S);
        let wants_focus = std::mem::take(&mut state.wants_focus);
        let width = (ui.available_width() - SPACE_S).max(80.0);
        FilterBox::new(&mut state.filter, "Filter namespaces").width(width).focus(wants_focus).show(ui);
    });
    ui.add_space(SPACE_XS);
    state.update(archive);
    if state.rows.is_empty() {
        empty_state(ui, icons::FILTER, "No namespace matches the filter", "Press Escape in the filter to clear it.");
        return;
    }
    let focus = list_focus(ui, ui.scope_id().with("list"), ui.available_rect_before_wrap(), "Namespaces");
    if focus.has_focus() {
        let at = state.rows.iter().position(|row| *row == state.chosen);
        if let Some(to) = walk(ui, at, state.rows.len(), ui.available_height()) {
            state.chosen = state.rows.get(to).copied().unwrap_or(state.chosen);
        }
    }
    ScrollArea::vertical().auto_shrink(false).show_rows(ui, ROW_HEIGHT, state.rows.len(), |ui, range| {
        for at in state.rows.get(range).unwrap_or_default() {
            let Some(namespace) = archive.checkpoint().namespaces.get(*at) else { continue };
            let host = if namespace.is_host { "host's own" } else { "" };
            let drawn = ListRow::new(&title_of(namespace))
                .icon(icon_of(namespace.kind), if namespace.is_host { Tone::Warning } else { Tone::Neutral })
                .secondary(host)
                .trailing(&text::counted(namespace.pids.len(), "process", "processes"))
                .selected(state.chosen == *at)
                .show(ui);
            if drawn.response.clicked() {
                state.chosen = *at;
                ui.memory_mut(|memory| memory.request_focus(focus.id));
            }
        }
    });
}

fn detail_ui(ui: &mut Ui, archive: &OpenArchive, namespace: &Namespace, at: usize, commands: &mut Vec<Command>) {
    let checkpoint = archive.checkpoint();
    detail_page(ui, u64::from(archive.id().0) << 32 | at as u64, |ui| {
        section(ui, &title_of(namespace), help_of(namespace.kind), |ui| {
            property(ui, commands, "Number", "CRIU's own", Value::Mono(&namespace.id.to_string()));
            let host = if namespace.is_host {
                "yes: the container shares it with the node"
            } else {
                "no: the container has its own"
            };
            property(ui, commands, "The host's", "Whether CRIU itself ran in it", Value::Text(host));
            for (name, value) in namespace.facts.iter().take(500) {
                crate::ui::widgets::property_ui(ui, &escape_controls(name), "", |ui| {
                    let text = crate::ui::widgets::mono_text(value.label());
                    ui.add(egui::Label::new(text).wrap().selectable(true))
                });
            }
            if namespace.facts.is_empty() && !namespace.is_host {
                property(ui, commands, "Inside", "", Value::Text("nothing more is recorded of it"));
            }
        });
        section(ui, "Processes in it", &text::grouped(namespace.pids.len() as u64), |ui| {
            link_row(ui, |ui| {
                for pid in namespace.pids.iter().take(MAX_LINKS) {
                    process_link(ui, checkpoint, *pid, commands);
                }
                more_label(ui, namespace.pids.len());
            });
        });
    });
}
