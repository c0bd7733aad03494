//! What a restore would do, and what speaks against it.

use egui::{Frame, Label, Margin, RichText, ScrollArea, Ui};

use super::ready::{ready_ui, row_ui};
use crate::base::escape_controls;
use crate::sandbox::backend::Backend;
use crate::sandbox::plan::{Concern, Danger, Isolation, NeededFiles, Plan, Stream, Weight};
use crate::session::sandbox::{PlanState, Planned, Readiness};
use crate::session::{ArchivesCommand, Command, JobRow, OpenArchive, SandboxCommand};
use crate::ui::panels::base::attach_base_link;
use crate::ui::tokens::{SPACE_L, SPACE_M, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{link, mono_text, property_ui, section};
use crate::ui::{icons, text};

/// Most files that are listed here.
const MAX_FILES: usize = 200;

pub(super) fn plan_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    readiness: &Readiness,
    jobs: &[JobRow],
    commands: &mut Vec<Command>,
) {
    ScrollArea::vertical().id_salt("sandbox plan").auto_shrink(false).show(ui, |ui| {
        Frame::NONE.inner_margin(Margin::symmetric(SPACE_L as i8, SPACE_M as i8)).show(ui, |ui| {
            ui.set_max_width(ui.available_width().min(1180.0));
            ui.spacing_mut().item_spacing.y = SPACE_XS;
            ready_ui(ui, readiness, archive.sandbox().wishes().backend, jobs, commands);
            match archive.sandbox().plan() {
                _ if archive.arriving().is_some() => {
                    ui.label(RichText::new("The plan comes when all of the archive is there.").color(muted(ui)));
                }
                PlanState::Unknown | PlanState::Making(_) => {
                    ui.horizontal(|ui| {
                        ui.spinner();
                        ui.label(RichText::new("Comparing files with what was recorded…").color(muted(ui)));
                    });
                }
                PlanState::Failed(why) => {
                    row_ui(ui, icons::ERROR, Tone::Error, "No plan", why);
                    if link(ui, "Try again").clicked() {
                        commands.push(SandboxCommand::Plan(archive.id()).into());
                    }
                }
                PlanState::Made(planned) => made_ui(ui, archive, planned, commands),
            }
        });
    });
}

fn muted(ui: &Ui) -> egui::Color32 {
    Tokens::get(ui).muted
}

fn made_ui(ui: &mut Ui, archive: &OpenArchive, planned: &Planned, commands: &mut Vec<Command>) {
    dangers_ui(ui, archive, planned, commands);
    section(ui, "To know", "", |ui| {
        for concern in &planned.review.concerns {
            concern_ui(ui, concern);
        }
    });
    rootfs_ui(ui, archive, planned, commands);
    network_ui(ui, planned);
    stand_ins_ui(ui, &planned.plan);
}

fn concern_ui(ui: &mut Ui, concern: &Concern) {
    let (icon, tone, word) = match concern.weight {
        Weight::Fatal => (icons::ERROR, Tone::Error, "will fail"),
        Weight::Risky => (icons::ISSUE, Tone::Warning, "may fail"),
        Weight::Changed => (icons::ABOUT, Tone::Neutral, "differs"),
    };
    row_ui(ui, icon, tone, word, &concern.what);
    if !concern.hint.is_empty() {
        ui.horizontal(|ui| {
            ui.add_space(16.0 + 110.0 + 2.0 * SPACE_S);
            ui.add(Label::new(RichText::new(&concern.hint).color(muted(ui))).wrap());
        });
    }
}

fn dangers_ui(ui: &mut Ui, archive: &OpenArchive, planned: &Planned, commands: &mut Vec<Command>) {
    let dangers = &planned.review.dangers;
    if dangers.list.is_empty() {
        return;
    }
    let isolation = planned.isolation();
    let refusing = dangers.refusing(isolation).count();
    let note = if planned.is_refused() {
        format!("{} must be allowed before it runs", text::grouped(refusing as u64))
    } else {
        "nothing that forbids to run".to_owned()
    };
    section(ui, "Dangers to whoever restores it", &note, |ui| {
        for danger in &dangers.list {
            let is_refusing = dangers.refusing(isolation).any(|it| it.id == danger.id);
            danger_ui(ui, archive, danger, (isolation, is_refusing), commands);
        }
        for (rule, count) in &dangers.left_out {
            row_ui(ui, icons::ERROR, Tone::Error, rule.word(), &format!("{count} more: too many to be allowed"));
        }
    });
}

fn danger_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    danger: &Danger,
    (isolation, is_refusing): (Isolation, bool),
    commands: &mut Vec<Command>,
) {
    let tokens = Tokens::get(ui);
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        if is_refusing || danger.allowed {
            let mut is_allowed = danger.allowed;
            let name = format!("Allow {}", escape_controls(&danger.id));
            let response = ui.checkbox(&mut is_allowed, "Allow");
            response.widget_info(|| egui::WidgetInfo::selected(egui::Role::CheckBox, true, is_allowed, &name));
            if response.changed() {
                let danger = danger.id.clone();
                commands.push(SandboxCommand::Allow { archive: archive.id(), danger, is_allowed }.into());
            }
        } else {
            ui.add_sized([58.0, 18.0], Label::new(RichText::new("noted").color(tokens.muted)));
        }
        ui.vertical(|ui| {
            let color = if is_refusing { tokens.error } else { tokens.text };
            ui.add(Label::new(mono_text(escape_controls(&danger.id)).color(color)).wrap().selectable(true));
            ui.add(Label::new(escape_controls(&danger.what)).wrap());
            let words = format!("Elsewhere {}; here: {}", danger.rule.attack(), danger.rule.here(isolation));
            ui.add(Label::new(RichText::new(words).color(tokens.muted)).wrap());
        });
    });
    ui.add_space(SPACE_XS);
}

fn rootfs_ui(ui: &mut Ui, archive: &OpenArchive, planned: &Planned, commands: &mut Vec<Command>) {
    let (rootfs, files) = (&planned.plan.rootfs, &planned.review.files);
    let wrong = files.problems.len() + files.left_out;
    let note = if wrong == 0 { String::new() } else { text::counted(wrong, "file is wrong", "files are wrong") };
    section(ui, "Root file system", &note, |ui| {
        property_ui(ui, "Base image", "The image that the container started from", |ui| match &rootfs.base {
            Some(base) => {
                ui.horizontal(|ui| {
                    ui.spacing_mut().item_spacing.x = SPACE_S;
                    ui.add(Label::new(mono_text(escape_controls(&base.display().to_string()))).truncate());
                    if link(ui, "Remove").clicked() {
                        commands.push(ArchivesCommand::DetachBase(archive.id()).into());
                    }
                });
            }
            None => attach_base_link(ui, archive, commands),
        });
        property_ui(ui, "Changes", "What the container changed, laid over the base image", |ui| {
            let changed = text::counted(rootfs.nr_changed, "path", "paths");
            let deleted = text::counted(rootfs.deleted.len(), "path", "paths");
            ui.label(format!("{changed} laid over it, {deleted} taken away"));
        });
        property_ui(ui, "Needed files", "Files that processes have open, mapped, or stand in", |ui| {
            let base = text::grouped(files.in_base as u64);
            let diff = text::grouped(files.in_diff as u64);
            ui.label(format!(
                "{base} in the base image, {diff} among the changes, of {}",
                text::grouped(files.total as u64)
            ));
        });
        if wrong > 0 {
            ui.add_space(SPACE_S);
            files_ui(ui, files);
        }
    });
}

fn files_ui(ui: &mut Ui, files: &NeededFiles) {
    let tokens = Tokens::get(ui);
    let grid = egui::Grid::new("sandbox files").num_columns(4).striped(true).spacing([SPACE_L, 4.0]);
    let table = |ui: &mut Ui| {
        for head in ["Path", "Used as", "Problem", "Build id"] {
            ui.label(RichText::new(head).color(tokens.muted).small());
        }
        ui.end_row();
        for file in files.problems.iter().take(MAX_FILES) {
            let tone = if file.problem.is_fatal() { tokens.error } else { tokens.warning };
            ui.add(Label::new(mono_text(escape_controls(&file.path))).selectable(true));
            ui.label(escape_controls(&file.used_as.join("; ")));
            ui.label(RichText::new(escape_controls(&file.what)).color(tone));
            ui.add(Label::new(mono_text(file.build_id.as_deref().unwrap_or("–"))).selectable(true));
            ui.end_row();
        }
    };
    ScrollArea::horizontal().id_salt("sandbox files").show(ui, |ui| grid.show(ui, table));
    let more = files.problems.len().saturating_sub(MAX_FILES) + files.left_out;
    if more > 0 {
        ui.label(RichText::new(format!("and {more} more: see cryoscope sandbox plan --json")).color(tokens.muted));
    }
}

fn network_ui(ui: &mut Ui, Planned { plan, backend, .. }: &Planned) {
    section(ui, "Network", "nothing of it is outside of the sandbox", |ui| match &plan.restore.sink {
        None => {
            ui.label(match backend {
                Backend::Microvm => {
                    "Nothing answers but the container itself; attempted connections are seen all the same."
                }
                Backend::Container => {
                    "Nothing answers but the container itself; what it attempts is not seen without a sink."
                }
            });
        }
        Some(sink) => {
            property_ui(ui, "Sink", "Answers DNS, accepts every connection, answers HTTP", |ui| {
                let words = format!("answers at {}, over {}", sink.gateways().join(" and "), sink.interface);
                ui.add(Label::new(escape_controls(&words)).wrap());
            });
            property_ui(ui, "Names", "Each name that is asked for has an address of its own", |ui| {
                ui.label("resolve to 198.18.0.0/15 and fd00:5ea1:d::/112, one address a name");
            });
            property_ui(ui, "Packets", "For tcpdump and Wireshark", |ui| {
                ui.label("all of them are recorded; the Network tab says where");
            });
        }
    });
}

fn stand_ins_ui(ui: &mut Ui, plan: &Plan) {
    let restore = &plan.restore;
    let count = restore.ext_mounts.len() + restore.inherit_fds.len();
    if count == 0 {
        return;
    }
    section(ui, "Stand-ins for what was of the host", &text::grouped(count as u64), |ui| {
        egui::Grid::new("sandbox stand-ins").num_columns(2).striped(true).spacing([SPACE_L, 4.0]).show(ui, |ui| {
            for fd in &restore.inherit_fds {
                let words = match fd.stream {
                    Stream::Stdin => "standard input: nothing is ever there to read",
                    Stream::Stdout => "standard output: its lines stand in the console",
                    Stream::Stderr => "standard error: its lines stand in the console",
                };
                ui.label(mono_text(escape_controls(&fd.key)));
                ui.label(words);
                ui.end_row();
            }
            for mount in &restore.ext_mounts {
                ui.label(mono_text(escape_controls(&mount.mountpoint)));
                ui.label(mount.stand_in.to_string());
                ui.end_row();
            }
        });
    });
}
