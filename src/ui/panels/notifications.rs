//! What the program told, newest first.

use egui::{RichText, ScrollArea, Ui};

use crate::session::{Command, Model, Notification, NotificationsCommand};
use crate::ui::icons;
use crate::ui::notifications::look_of;
use crate::ui::tokens::{self, SPACE_S, Tokens};
use crate::ui::widgets::{button, empty_state, link, paint_icon};

/// Draws the panel.
#[must_use]
pub fn notifications_ui(ui: &mut Ui, model: &Model) -> Vec<Command> {
    let mut commands = Vec::new();
    let notifications = model.notifications();
    if notifications.is_empty() {
        empty_state(ui, icons::BELL, "No messages", "What the program has to tell is kept here.");
        return commands;
    }
    ui.add_space(SPACE_S);
    ui.horizontal(|ui| {
        ui.add_space(SPACE_S);
        if notifications.unseen() > 0 && button(ui, icons::CHECK, "Mark all as seen").clicked() {
            commands.push(NotificationsCommand::DismissAll.into());
        }
        if button(ui, icons::CLOSE, "Clear").clicked() {
            commands.push(NotificationsCommand::Clear.into());
        }
    });
    ui.add_space(SPACE_S);
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        // At most 500 are kept.
        for message in notifications.newest_first() {
            message_ui(ui, message, &mut commands);
        }
    });
    commands
}

fn message_ui(ui: &mut Ui, message: &Notification, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let (icon, tone) = look_of(message.level);
    ui.horizontal_top(|ui| {
        ui.add_space(SPACE_S);
        let (rect, _) = ui.allocate_exact_size(egui::vec2(18.0, 20.0), egui::Sense::hover());
        paint_icon(ui, rect, icon, 15.0, tokens.tone(tone));
        let time = message.at.to_string();
        let time = time.get(11..19).unwrap_or_default().to_owned();
        ui.label(RichText::new(time).font(tokens::mono_font()).color(tokens.muted))
            .on_hover_text(message.at.to_string());
        ui.vertical(|ui| {
            let color = if message.seen { tokens.text } else { tokens.strong };
            ui.add(egui::Label::new(RichText::new(&message.title).color(color)).wrap());
            if !message.detail.is_empty() {
                ui.add(egui::Label::new(RichText::new(&message.detail).color(tokens.muted)).wrap());
            }
            if let Some((label, command)) = &message.offer
                && link(ui, label).clicked()
            {
                commands.push((**command).clone());
            }
        });
    });
}
