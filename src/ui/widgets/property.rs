//! Rows of label and value.

use egui::{Align, Layout, Response, RichText, Ui, Vec2};

use crate::base::{Absent, Field};
use crate::session::Command;
use crate::ui::tokens::{self, LABEL_WIDTH, SPACE_S, Tokens};

/// Width of the label column where labels are phrases.
const PHRASE_WIDTH: f32 = 230.0;

/// How a value is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Words.
    Text(&'a str),
    /// Numbers, paths, addresses.
    Mono(&'a str),
}

/// Monospaced text with the line height of body text, so that both stand on one line.
pub fn mono_text(text: impl Into<String>) -> RichText {
    RichText::new(text).font(tokens::mono_font()).line_height(Some(17.0))
}

/// A label, and a value that can be copied from its context menu.
pub fn property(
    ui: &mut Ui,
    commands: &mut Vec<Command>,
    label: &'static str,
    help: &str,
    value: Value<'_>,
) -> Response {
    property_ui(ui, label, help, |ui| {
        let tokens = Tokens::get(ui);
        let (text, rich) = match value {
            Value::Text(text) => (text, RichText::new(text).color(tokens.text)),
            Value::Mono(text) => (text, mono_text(text).color(tokens.text)),
        };
        let response = ui.add(egui::Label::new(rich).wrap().selectable(true));
        response.context_menu(|ui| {
            if ui.button(format!("Copy {label}")).clicked() {
                commands.push(Command::copy(label, text));
                ui.close();
            }
        });
        response
    })
}

/// A label, and a value or why there is none.
pub fn property_field<T>(
    ui: &mut Ui,
    label: &str,
    help: &str,
    field: &Field<T>,
    draw: impl FnOnce(&mut Ui, &T) -> Response,
) -> Response {
    property_ui(ui, label, help, |ui| match field {
        Field::Known(value) => draw(ui, value),
        Field::Absent(why) => absent(ui, *why),
    })
}

/// A label, and whatever `draw` draws.
pub fn property_ui<R>(ui: &mut Ui, label: &str, help: &str, draw: impl FnOnce(&mut Ui) -> R) -> R {
    labelled(ui, LABEL_WIDTH, label, help, draw)
}

/// A label that is a whole phrase, and words about it.
pub fn property_phrase(ui: &mut Ui, commands: &mut Vec<Command>, label: &'static str, text: &str) {
    let width = (ui.available_width() * 0.32).clamp(LABEL_WIDTH, PHRASE_WIDTH);
    labelled(ui, width, label, "", |ui| {
        let words = RichText::new(text).color(Tokens::get(ui).text);
        let response = ui.add(egui::Label::new(words).wrap().selectable(true));
        response.context_menu(|ui| {
            if ui.button("Copy").clicked() {
                commands.push(Command::copy(label, text));
                ui.close();
            }
        });
    });
}

/// A label in a column of its own, in as many lines as it needs, and whatever `draw` draws.
fn labelled<R>(ui: &mut Ui, width: f32, label: &str, help: &str, draw: impl FnOnce(&mut Ui) -> R) -> R {
    let tokens = Tokens::get(ui);
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        let size = Vec2::new(width, 20.0);
        let response = ui
            .allocate_ui_with_layout(size, Layout::top_down(Align::Min), |ui| {
                ui.set_min_size(size);
                ui.set_max_width(width);
                ui.add(egui::Label::new(RichText::new(label).color(tokens.muted)).wrap())
            })
            .inner;
        if !help.is_empty() {
            response.on_hover_text(help);
        }
        ui.vertical(|ui| draw(ui)).inner
    })
    .inner
}

/// Why there is no value, in place of it.
pub fn absent(ui: &mut Ui, why: Absent) -> Response {
    let tokens = Tokens::get(ui);
    let hint = match why {
        Absent::NotRecorded => "CRIU or the engine does not write this down.",
        Absent::NotApplicable => "This thing has no such value.",
        Absent::Unreadable => "The part that holds it is missing or damaged; see Issues.",
        Absent::Unparsable => "It was read and makes no sense; see Issues.",
    };
    ui.label(RichText::new(why.to_string()).italics().color(tokens.muted)).on_hover_text(hint)
}
