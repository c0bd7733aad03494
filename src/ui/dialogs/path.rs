//! A path that is typed, or chosen by the system's dialog.

use std::path::PathBuf;

use egui::{Align, Key, Label, Layout, RichText, TextEdit, Ui};

use crate::ui::icons;
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{button, primary_button};

/// What is typed.
#[derive(Debug, Default)]
pub(super) struct PathForm {
    path: String,
    has_asked: bool,
}

/// The words of a form.
pub(super) struct Words {
    /// What may be given.
    pub(super) label: &'static str,
    /// An example.
    pub(super) hint: &'static str,
    /// What is done with it.
    pub(super) rule: &'static str,
    /// On the button.
    pub(super) action: &'static str,
}

/// What the analyst has asked for.
pub(super) enum Answer {
    /// This path.
    Path(PathBuf),
    /// The system's dialog.
    Choose {
        /// For a directory, else for a file.
        is_directory: bool,
    },
    /// Nothing.
    Cancel,
}

impl PathForm {
    /// Draws field and buttons.
    pub(super) fn ui(&mut self, ui: &mut Ui, words: &Words) -> Option<Answer> {
        let tokens = Tokens::get(ui);
        let label = ui.label(RichText::new(words.label).color(tokens.muted));
        let edit = TextEdit::singleline(&mut self.path)
            .hint_text(words.hint)
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
        ui.add(Label::new(RichText::new(words.rule).font(tokens::small_font()).color(tokens.muted)).wrap());
        ui.add_space(SPACE_S);
        let mut answer = None;
        ui.horizontal(|ui| {
            for (icon, name, is_directory) in
                [(icons::FILE, "Choose file…", false), (icons::FOLDER, "Choose directory…", true)]
            {
                if button(ui, icon, name).clicked() {
                    answer = Some(Answer::Choose { is_directory });
                }
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let path = self.path.trim();
                let go = ui.add_enabled_ui(!path.is_empty(), |ui| primary_button(ui, "", words.action)).inner;
                if (go.clicked() || is_entered) && !path.is_empty() {
                    answer = Some(Answer::Path(PathBuf::from(path)));
                }
                if button(ui, "", "Cancel").clicked() {
                    answer = Some(Answer::Cancel);
                }
            });
        });
        answer
    }
}
