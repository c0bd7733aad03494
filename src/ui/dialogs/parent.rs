//! Asks for an earlier checkpoint, which the one that is shown was taken on top of.

use egui::{Label, RichText, Ui};

use super::path::{Answer, PathForm, Words};
use crate::session::{ArchivesCommand, Command, Model};
use crate::ui::tokens::{SPACE_S, Tokens};

const WORDS: Words = Words {
    label: "An archive or a directory, of any kind that can be opened",
    hint: "/path/to/checkpoint-before.tar",
    rule: "Its pagemaps and pages are read, and nothing else of it. It is opened read-only. Searches of this archive start anew.",
    action: "Supply",
};

/// What is typed.
#[derive(Debug, Default)]
pub struct ParentDialog {
    form: PathForm,
}

impl ParentDialog {
    pub(super) fn ui(&mut self, ui: &mut Ui, model: &Model, commands: &mut Vec<Command>) {
        let Some(archive) = model.active() else {
            ui.close();
            return;
        };
        let tokens = Tokens::get(ui);
        super::title(ui, "Supply a parent checkpoint");
        ui.add(Label::new("An incremental checkpoint has only the pages that were written since the one before it. With its parent, the hex view, searches and stacks read the others too.").wrap());
        ui.add_space(SPACE_S);
        let known = &archive.checkpoint().parents;
        if !known.is_empty() {
            let names = crate::base::escape_controls(&known.join(", ")).into_owned();
            let words = format!("At hand: {names}. The next one goes behind these.");
            ui.add(Label::new(RichText::new(words).color(tokens.muted)).wrap());
            ui.add_space(SPACE_S);
        }
        match self.form.ui(ui, &WORDS) {
            Some(Answer::Path(path)) => {
                commands.push(ArchivesCommand::SupplyParent { archive: archive.id(), path }.into());
            }
            Some(Answer::Choose { is_directory }) => {
                commands.push(ArchivesCommand::ChooseParent { is_directory }.into());
            }
            Some(Answer::Cancel) => {}
            None => return,
        }
        ui.close();
    }
}
