//! Asks for the image that a container started from.

use egui::{Label, RichText, Ui};

use super::path::{Answer, PathForm, Words};
use crate::base::escape_controls;
use crate::session::{ArchivesCommand, Command, Model};
use crate::ui::tokens::{SPACE_S, Tokens};
use crate::ui::widgets::{link, mono_text};

const WORDS: Words = Words {
    label: "A directory, a tar of it, an OCI layout or a docker archive, packed or not",
    hint: "/path/to/image.tar",
    rule: "A file of it counts where path, size and build id are those that CRIU recorded; what differs is listed under Issues. It is opened read-only.",
    action: "Attach",
};

/// What is typed.
#[derive(Debug, Default)]
pub struct BaseDialog {
    form: PathForm,
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
        match self.form.ui(ui, &WORDS) {
            Some(Answer::Path(path)) => {
                commands.push(ArchivesCommand::AttachBase { archive: archive.id(), path }.into());
            }
            Some(Answer::Choose { is_directory }) => commands.push(ArchivesCommand::ChooseBase { is_directory }.into()),
            Some(Answer::Cancel) => {}
            None => return,
        }
        ui.close();
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
