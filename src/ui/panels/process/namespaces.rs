//! Namespaces and control groups of the process.

use egui::{RichText, Ui};

use super::Shown;
use crate::session::{Command, Target};
use crate::ui::text;
use crate::ui::tokens::{Tokens, Tone};
use crate::ui::widgets::{Value, badge, link, mono_text, property, property_ui, section};

/// Most processes that are named as sharing a namespace.
const MAX_LISTED: usize = 24;

pub(super) fn namespaces_ui(ui: &mut Ui, shown: Shown<'_>, commands: &mut Vec<Command>) {
    let process = shown.process;
    section(ui, "Namespaces", "by CRIU's numbers; processes with the same number share it", |ui| {
        for (kind, id) in &process.namespaces {
            let namespace =
                shown.checkpoint.namespaces.iter().find(|namespace| namespace.kind == *kind && namespace.id == *id);
            property_ui(ui, kind.word(), "", |ui| {
                ui.horizontal_wrapped(|ui| {
                    ui.label(mono_text(id.to_string()));
                    let Some(namespace) = namespace else { return };
                    if namespace.is_host {
                        badge(ui, "the host's", Tone::Warning)
                            .on_hover_text("CRIU itself ran in this namespace: it is not the container's own");
                    }
                    let label = text::counted(namespace.pids.len(), "process", "processes");
                    ui.label(RichText::new(label).color(Tokens::get(ui).muted));
                    let others = namespace.pids.iter().filter(|pid| **pid != process.pid).take(MAX_LISTED);
                    if namespace.pids.len() <= MAX_LISTED {
                        for pid in others {
                            if link(ui, &pid.to_string()).clicked() {
                                commands.push(Command::go(Target::process(*pid)));
                            }
                        }
                    }
                });
            });
            for (name, value) in namespace.iter().flat_map(|namespace| namespace.facts.iter().take(64)) {
                property_ui(ui, "", "", |ui| {
                    ui.add(
                        egui::Label::new(mono_text(format!("{name}: {}", value.label())).color(Tokens::get(ui).muted))
                            .wrap(),
                    );
                });
            }
        }
        if process.namespaces.is_empty() {
            ui.label(RichText::new("Not recorded for this process.").color(Tokens::get(ui).muted));
        }
    });
    let set = process.cg_set.and_then(|id| shown.checkpoint.cgroups.sets.iter().find(|set| set.id == id));
    section(ui, "Control groups", "", |ui| match set {
        Some(set) => {
            for (controller, path) in set.members.iter().take(64) {
                let name = if controller.is_empty() { "cgroup2".to_owned() } else { controller.label() };
                property_ui(ui, &name, "", |ui| {
                    ui.add(egui::Label::new(mono_text(path.label())).wrap().selectable(true));
                });
            }
        }
        None => {
            let value = process
                .cg_set
                .map_or_else(|| "not recorded".to_owned(), |id| format!("set {id}, which is not in cgroup.img"));
            property(ui, commands, "Set", "Set of control groups in cgroup.img", Value::Text(&value));
        }
    });
}
