//! Asks for the image that a container started from.

use std::path::PathBuf;

use egui::{Align, Key, Label, Layout, RichText, TextEdit, Ui};

use crate::base::escape_controls;
use crate::session::{ArchivesCommand, Command, Model};
use crate::ui::icons;
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{button, link, mono_text, primary_button};

/// What is typed.
#[derive(Debug, Default)]
pub struct BaseDialog {
    path: String,
    has_asked: bool,
}

impl BaseDialog {
    pub(super) fn ui(&mut self, ui: &mut Ui, model: &Model, commands: &mut Vec<Command>) {
        let Some(archive) = model.active() else {
            ui.close();
            return;
        };
        let tokens = Tokens::get(ui);
        let muted = |text: &str| RichText::new(text).color(tokens.muted);
        super::title(ui, "Attach a base image");
        ui.add(Label::new("A checkpoint leaves out the clean pages of mapped files: code, most of all. The image that the container started from has them. With it, the hex view, searches, stacks, symbols and the disassembly read these pages too.").wrap());
        ui.add_space(SPACE_S);
        if let Some(image) = archive.checkpoint().container.image.as_deref() {
            ui.label(muted("This container started from"));
            ui.horizontal_wrapped(|ui| {
                let image = escape_controls(image).into_owned();
                ui.add(Label::new(mono_text(&image).color(tokens.strong)).wrap().selectable(true));
                let save = format!("podman save --format oci-archive -o image.tar {}", quoted(&image));
                if link(ui, "Copy the command that saves it").on_hover_text(&save).clicked() {
                    commands.push(Command::copy("command", save));
                }
            });
            ui.add_space(SPACE_S);
        }
        let label = ui.label(muted("A directory, a tar of it, an OCI layout or a docker archive, packed or not"));
        let edit = TextEdit::singleline(&mut self.path)
            .hint_text("/path/to/image.tar")
            .font(tokens::mono_font())
            .margin(egui::Margin::symmetric(8, 5))
            .desired_width(f32::INFINITY);
        let response = ui.add(edit).labelled_by(label.id);
        if !self.has_asked {
            self.has_asked = true;
            response.request_focus();
        }
        let is_entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        ui.add_space(SPACE_XS);
        let rule = "A file of it counts where path, size and build id are those that CRIU recorded; what differs is listed under Issues. It is opened read-only.";
        ui.add(Label::new(RichText::new(rule).font(tokens::small_font()).color(tokens.muted)).wrap());
        ui.add_space(SPACE_S);
        ui.horizontal(|ui| {
            for (icon, name, is_directory) in
                [(icons::FILE, "Choose file…", false), (icons::FOLDER, "Choose directory…", true)]
            {
                if button(ui, icon, name).clicked() {
                    commands.push(ArchivesCommand::ChooseBase { is_directory }.into());
                    ui.close();
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let path = self.path.trim();
                let attach = ui.add_enabled_ui(!path.is_empty(), |ui| primary_button(ui, "", "Attach")).inner;
                if (attach.clicked() || is_entered) && !path.is_empty() {
                    let path = PathBuf::from(path);
                    commands.push(ArchivesCommand::AttachBase { archive: archive.id(), path }.into());
                    ui.close();
                }
                if button(ui, "", "Cancel").clicked() {
                    ui.close();
                }
            });
        });
    }
}

/// For a shell; the name comes from evidence.
fn quoted(name: &str) -> String {
    let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "./:@_-".contains(c)) && !name.starts_with('-');
    if is_plain { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn name_from_evidence_is_one_word_for_a_shell() {
        assert_eq!(quoted("docker.io/library/redis:7"), "docker.io/library/redis:7");
        assert_eq!(quoted("a;rm -rf ~"), "'a;rm -rf ~'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted("--help"), "'--help'");
    }
}
