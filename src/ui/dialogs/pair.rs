//! Pairing with an agent: its address, and the code that it printed.

use egui::{Align, Key, Label, Layout, RichText, TextEdit, Ui};

use crate::session::nodes::Pairing;
use crate::session::{Command, Model, NodesCommand};
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{button, link, mono_text, primary_button};

/// Printed by the agent on the node.
const PAIR: &str = "sudo cryoscope-agent pair";

/// What is typed.
#[derive(Debug, Default)]
pub struct PairDialog {
    address: String,
    code: String,
    name: String,
    proxy: String,
    has_asked: bool,
    has_tried: bool,
}

impl PairDialog {
    pub(super) fn ui(&mut self, ui: &mut Ui, model: &Model, commands: &mut Vec<Command>) {
        let tokens = Tokens::get(ui);
        let pairing = model.nodes().pairing();
        if self.has_tried && *pairing == Pairing::Idle {
            ui.close();
            return;
        }
        super::title(ui, "Pair with a node");
        ui.add(Label::new("The agent on the node prints a code, good once and for some minutes. It holds enough of the agent's certificate to tell it from any other, and this workstation gets a certificate of its own.").wrap());
        ui.add_space(SPACE_S);
        ui.horizontal(|ui| {
            ui.label(RichText::new("On the node").color(tokens.muted));
            ui.label(mono_text(PAIR).color(tokens.strong));
            if link(ui, "Copy").clicked() {
                commands.push(Command::copy("command", PAIR));
            }
        });
        ui.add_space(SPACE_S);
        let mut is_entered = false;
        let fields = [
            ("Address", "node-a:7443", &mut self.address),
            ("Code", "XXXXX-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX-XXXXX", &mut self.code),
            ("Name here (as the node calls itself when empty)", "", &mut self.name),
            (
                "Proxy (when empty, as HTTPS_PROXY or ALL_PROXY says)",
                "http://proxy:3128 or socks5h://proxy:1080",
                &mut self.proxy,
            ),
        ];
        for (nr, (name, hint, value)) in fields.into_iter().enumerate() {
            let label = ui.label(RichText::new(name).color(tokens.muted));
            let edit = TextEdit::singleline(value)
                .hint_text(hint)
                .font(tokens::mono_font())
                .margin(egui::Margin::symmetric(8, 5))
                .desired_width(f32::INFINITY);
            let response = ui.add(edit).labelled_by(label.id);
            if nr == 0 && !self.has_asked {
                self.has_asked = true;
                response.request_focus();
            }
            is_entered |= response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            ui.add_space(SPACE_XS);
        }
        if let (true, Pairing::Failed(why)) = (self.has_tried, pairing) {
            let why = crate::base::escape_controls(why).into_owned();
            ui.add(Label::new(RichText::new(why).color(tokens.error)).wrap().selectable(true));
        }
        ui.add_space(SPACE_S);
        let is_running = matches!(pairing, Pairing::Running(_));
        let can_pair = !is_running && !self.address.trim().is_empty() && !self.code.trim().is_empty();
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let text = if is_running { "Pairing…" } else { "Pair" };
            let pair = ui.add_enabled_ui(can_pair, |ui| primary_button(ui, "", text)).inner;
            if (pair.clicked() || is_entered) && can_pair {
                self.has_tried = true;
                let (address, code) = (self.address.clone(), self.code.clone());
                let (name, proxy) = (self.name.clone(), self.proxy.clone());
                commands.push(NodesCommand::Pair { address, code, name, proxy }.into());
            }
            if button(ui, "", "Cancel").clicked() {
                ui.close();
            }
        });
    }
}
