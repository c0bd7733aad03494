//! Messages that appear in a corner and go; the panel of messages keeps them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use egui::{Align, Area, Frame, Layout, Order, RichText, Ui};

use super::icons::{self, Icon};
use super::tokens::{self, SPACE_S, SPACE_XS, Tokens, Tone};
use super::widgets::{icon_button, link, paint_icon};
use crate::session::{Command, Level, Model, Notification, NotificationId, NotificationsCommand};

/// Most messages that stand in the corner at once.
const MAX_SHOWN: usize = 4;

/// When which message appeared.
#[derive(Debug, Default)]
pub struct Toasts {
    since: HashMap<NotificationId, Instant>,
    last_seen: NotificationId,
}

impl Toasts {
    /// Draws what is new.
    pub fn ui(&mut self, ctx: &egui::Context, model: &Model) -> Vec<Command> {
        let mut commands = Vec::new();
        let now = Instant::now();
        let newest = model.notifications().newest_first().next().map(|message| message.id).unwrap_or_default();
        if newest < self.last_seen {
            self.since.clear();
        }
        let fresh = model.notifications().newest_first().take(MAX_SHOWN).filter(|message| !message.seen);
        let mut shown: Vec<&Notification> = Vec::new();
        for message in fresh {
            let since = *self.since.entry(message.id).or_insert(now);
            if let Some(stay) = stay(message.level) {
                let stayed = now.saturating_duration_since(since);
                if stayed >= stay {
                    // Good news is taken as read; bad news waits to be dismissed.
                    if message.level <= Level::Success {
                        commands.push(NotificationsCommand::Dismiss(message.id).into());
                    }
                    continue;
                }
                ctx.request_repaint_after(stay.saturating_sub(stayed));
            }
            shown.push(message);
        }
        self.last_seen = newest;
        if shown.is_empty() {
            return commands;
        }
        Area::new(egui::Id::unique("toasts"))
            .order(Order::Foreground)
            .anchor(egui::Align2::RIGHT_BOTTOM, [-16.0, -40.0])
            .show(ctx, |ui| {
                ui.set_width(340.0);
                ui.spacing_mut().item_spacing.y = SPACE_S;
                for message in shown.into_iter().rev() {
                    toast_ui(ui, message, &mut commands);
                }
            });
        commands
    }
}

fn stay(level: Level) -> Option<Duration> {
    match level {
        Level::Info | Level::Success => Some(Duration::from_secs(4)),
        Level::Warning => Some(Duration::from_secs(10)),
        Level::Error => None,
    }
}

/// Icon and meaning of a level.
pub fn look_of(level: Level) -> (Icon, Tone) {
    match level {
        Level::Info => (icons::ABOUT, Tone::Accent),
        Level::Success => (icons::SUCCESS, Tone::Success),
        Level::Warning => (icons::ISSUE, Tone::Warning),
        Level::Error => (icons::ERROR, Tone::Error),
    }
}

fn toast_ui(ui: &mut Ui, message: &Notification, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let (icon, tone) = look_of(message.level);
    Frame::popup(ui.style()).inner_margin(egui::Margin::symmetric(10, 8)).show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.horizontal_top(|ui| {
            let (rect, _) = ui.allocate_exact_size(egui::vec2(18.0, 20.0), egui::Sense::hover());
            paint_icon(ui, rect, icon, 16.0, tokens.tone(tone));
            ui.vertical(|ui| {
                ui.set_width(ui.available_width() - 28.0);
                let title =
                    RichText::new(&message.title).font(tokens::strong_font(tokens::TEXT_BODY)).color(tokens.strong);
                ui.add(egui::Label::new(title).wrap());
                if !message.detail.is_empty() {
                    ui.add(egui::Label::new(RichText::new(cut(&message.detail)).color(tokens.muted)).wrap());
                }
                if let Some((label, command)) = &message.offer {
                    ui.add_space(SPACE_XS);
                    if link(ui, label).clicked() {
                        commands.push((**command).clone());
                        commands.push(NotificationsCommand::Dismiss(message.id).into());
                    }
                }
            });
            ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
                if icon_button(ui, icons::CLOSE, "Dismiss").clicked() {
                    commands.push(NotificationsCommand::Dismiss(message.id).into());
                }
            });
        });
    });
}

fn cut(detail: &str) -> String {
    match detail.char_indices().nth(300) {
        Some((at, _)) => format!("{}…", &detail[..at]),
        None => detail.to_owned(),
    }
}
