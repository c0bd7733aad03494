//! The base image where panels show what is missing without it, and in the overview.

use egui::{Id, Label, Rect, RichText, Ui};

use crate::base::escape_controls;
use crate::checkpoint::coverage::Gap;
use crate::session::{ArchivesCommand, BaseState, Command, JobsCommand, OpenArchive, PanelKind, Target};
use crate::ui::text;
use crate::ui::tokens::{SPACE_S, Tokens};
use crate::ui::widgets::{link, link_at, mono_text, property_phrase};

/// What attaches one.
const ATTACH: &str = "Attach a base image…";

/// Offers to attach a base image, or says that one is being opened; nothing when there is one.
pub(super) fn attach_base_link(ui: &mut Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
    match archive.base() {
        BaseState::Attached(_) => {}
        BaseState::Opening { .. } => {
            ui.label(RichText::new("A base image is being opened…").color(Tokens::get(ui).muted));
        }
        BaseState::None | BaseState::Failed { .. } => {
            if archive.arriving().is_none() && link(ui, ATTACH).clicked() {
                commands.push(ArchivesCommand::AskForBase.into());
            }
        }
    }
}

/// As [`attach_base_link`], painted at a place where there is room for it.
pub(super) fn attach_base_at(ui: &mut Ui, rect: Rect, id: Id, archive: &OpenArchive, commands: &mut Vec<Command>) {
    let is_offered = matches!(archive.base(), BaseState::None | BaseState::Failed { .. });
    if is_offered && archive.arriving().is_none() && rect.width() > 60.0 && rect.height() > 4.0 {
        let tip = "The page is in the image that the container started from";
        if link_at(ui, rect, id, ATTACH).on_hover_text(tip).clicked() {
            commands.push(ArchivesCommand::AskForBase.into());
        }
    }
}

/// One thing that the checkpoint cannot show; with what to do about it.
pub(super) fn gap_ui(ui: &mut Ui, archive: &OpenArchive, gap: &Gap, commands: &mut Vec<Command>) {
    property_phrase(ui, commands, gap.what, &escape_controls(&gap.why));
    if gap.what == "pages of the parent checkpoint" && archive.arriving().is_none() && !archive.is_sample() {
        ui.horizontal(|ui| {
            ui.add_space(indent_of(ui));
            if link(ui, "Supply the parent checkpoint…").clicked() {
                commands.push(ArchivesCommand::AskForParent.into());
            }
        });
    }
    if gap.what == "clean pages of mapped files" {
        ui.horizontal(|ui| {
            ui.add_space(indent_of(ui));
            match archive.base() {
                BaseState::Attached(base) => {
                    let name = base.path.file_name().unwrap_or(base.path.as_os_str()).to_string_lossy();
                    let files = text::counted(base.nr_files, "file is", "files are");
                    let words = format!("{files} read from {}", escape_controls(&name));
                    ui.label(RichText::new(words).color(Tokens::get(ui).muted));
                }
                _ => attach_base_link(ui, archive, commands),
            }
        });
    }
}

/// Where words stand, behind the label.
fn indent_of(ui: &Ui) -> f32 {
    (ui.available_width() * 0.32).clamp(crate::ui::tokens::LABEL_WIDTH, 230.0) + SPACE_S
}

/// What is attached, and what can be done with it.
pub(super) fn state_ui(ui: &mut Ui, archive: &OpenArchive, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let path_ui = |ui: &mut Ui, path: &std::path::Path| {
        let path = escape_controls(&path.display().to_string()).into_owned();
        ui.add(Label::new(mono_text(path)).wrap().selectable(true));
    };
    match archive.base() {
        BaseState::None if archive.arriving().is_some() => {
            ui.label(RichText::new("when all of the archive is there").color(tokens.muted));
        }
        BaseState::None => attach_base_link(ui, archive, commands),
        BaseState::Opening { job, path } => {
            path_ui(ui, path);
            ui.horizontal(|ui| {
                ui.label(RichText::new("is being opened…").color(tokens.muted));
                if link(ui, "Cancel").clicked() {
                    commands.push(JobsCommand::Cancel(*job).into());
                }
            });
        }
        BaseState::Failed { path, why } => {
            path_ui(ui, path);
            ui.add(Label::new(RichText::new(escape_controls(why)).color(tokens.error)).wrap());
            attach_base_link(ui, archive, commands);
        }
        BaseState::Attached(base) => {
            path_ui(ui, &base.path);
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = SPACE_S;
                let files = text::counted(base.nr_files, "file is", "files are");
                let color = if base.nr_files == 0 { tokens.warning } else { tokens.text };
                ui.label(RichText::new(format!("{files} read from it")).color(color));
                if !base.issues.is_empty() {
                    let differ = text::counted(base.issues.len(), "differs", "differ");
                    if link(ui, &differ).on_hover_text("Files that are not those that were mapped").clicked() {
                        commands.push(Command::go(Target::Panel(PanelKind::Issues)));
                    }
                }
                if link(ui, "Remove").clicked() {
                    commands.push(ArchivesCommand::DetachBase(archive.id()).into());
                }
            });
        }
    }
}
