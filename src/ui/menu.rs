//! The top bar: menus made from the table of actions, places, the open archives.

use egui::{Align, Layout, RichText, Ui};

use super::app::{bar, palette_field};
use super::tokens::{self, SPACE_S, SPACE_XS, Tokens, Tone};
use super::widgets::{ListRow, icon_button, paint_icon, toggle_button};
use super::{icons, keys};
use crate::session::actions::{ACTIONS, Action, ActionId, Menu, action};
use crate::session::{
    ArchivesCommand, Command, Model, NavigateCommand, OpenArchive, PanelKind, Target, Theme, ViewCommand,
};

/// Width of a menu made of actions.
const MENU_WIDTH: f32 = 300.0;

/// Most places that are listed in each direction.
const MAX_PLACES: usize = 12;

/// Draws the bar over the workspace.
#[must_use]
pub fn top_bar_ui(ui: &mut Ui, model: &Model) -> Vec<Command> {
    let mut commands = Vec::new();
    bar(egui::Panel::top("top bar"), ui, 38.0, |ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.add_space(SPACE_S);
        let tokens = Tokens::get(ui);
        let (rect, _) = ui.allocate_exact_size(egui::vec2(24.0, 24.0), egui::Sense::hover());
        paint_icon(ui, rect, icons::SNOWFLAKE, 18.0, tokens.accent);
        ui.add_space(SPACE_XS);
        let widgets = &mut ui.visuals_mut().widgets;
        for widget in [&mut widgets.inactive, &mut widgets.hovered, &mut widgets.active, &mut widgets.open] {
            widget.bg_stroke = egui::Stroke::NONE;
        }
        widgets.inactive.weak_bg_fill = tokens.chrome;
        widgets.hovered.weak_bg_fill = tokens.hover;
        for menu in Menu::ALL {
            ui.menu_button(menu.title(), |ui| menu_ui(ui, menu, model, &mut commands));
        }
        ui.add_space(SPACE_S);
        for id in [ActionId::Back, ActionId::Forward] {
            if let Some(action) = action(id) {
                let enabled = action.is_enabled(model);
                let name = format!("{} ({})", action.name, keys::label(ui.ctx(), action));
                let response = ui.add_enabled_ui(enabled, |ui| icon_button(ui, icons::of_action(id), &name)).inner;
                response.context_menu(|ui| places_ui(ui, model, &mut commands));
                if response.clicked() {
                    commands.extend(action.commands(model));
                }
            }
        }
        if model.history().can_go_back() || model.history().can_go_forward() {
            let caret = icon_button(ui, icons::CARET_DOWN, "Places visited");
            egui::Popup::menu(&caret).show(|ui| places_ui(ui, model, &mut commands));
        }
        ui.add_space(SPACE_S);
        archives_ui(ui, model, &mut commands);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            theme_button(ui, model, &mut commands);
            let unseen = model.notifications().unseen();
            let name = if unseen == 0 { "Notifications".to_owned() } else { format!("Notifications, {unseen} new") };
            if toggle_button(ui, icons::BELL, &name, unseen > 0).clicked() {
                commands.push(ViewCommand::ShowPanel(PanelKind::Notifications).into());
            }
            ui.add_space(SPACE_S);
            let key = action(ActionId::Palette).map(|action| keys::label(ui.ctx(), action)).unwrap_or_default();
            let width = (ui.available_width() - SPACE_S).clamp(120.0, 300.0);
            commands.extend(palette_field(ui, width, &key));
        });
    });
    let tokens = Tokens::get(ui);
    let y = ui.available_rect_before_wrap().top();
    ui.painter().hline(ui.max_rect().x_range(), y - 0.5, egui::Stroke::new(1.0, tokens.line));
    commands
}

fn menu_ui(ui: &mut Ui, menu: Menu, model: &Model, commands: &mut Vec<Command>) {
    let mut group = None;
    for action in ACTIONS.iter().filter(|action| action.menu == menu) {
        if group.is_some_and(|group| group != action.group) {
            ui.separator();
        }
        group = Some(action.group);
        if action_item(ui, action, model) {
            commands.extend(action.commands(model));
            ui.close();
        }
        if action.id == ActionId::OpenSample {
            recent_menu(ui, model, commands);
        }
    }
}

/// One line of a menu: icon, name, key.
fn action_item(ui: &mut Ui, action: &Action, model: &Model) -> bool {
    let tokens = Tokens::get(ui);
    let enabled = action.is_enabled(model);
    let is_checked = action.is_checked(model);
    let key = keys::label(ui.ctx(), action);
    let (rect, response) =
        ui.allocate_exact_size(egui::vec2(MENU_WIDTH.max(ui.min_rect().width()), 25.0), sense(enabled));
    response.widget_info(|| {
        if is_checked {
            egui::WidgetInfo::selected(egui::Role::MenuItem, enabled, true, action.name)
        } else {
            egui::WidgetInfo::labeled(egui::Role::MenuItem, enabled, action.name)
        }
    });
    if enabled && (response.hovered() || response.has_focus()) {
        ui.painter().rect_filled(rect, tokens::RADIUS, tokens.hover);
    }
    let (icon_color, text_color) = if enabled { (tokens.muted, tokens.text) } else { (tokens.faint, tokens.faint) };
    let icon_rect = egui::Rect::from_min_size(rect.min, egui::vec2(26.0, rect.height()));
    let icon = if is_checked { icons::CHECK } else { icons::of_action(action.id) };
    paint_icon(ui, icon_rect, icon, 14.0, if is_checked { tokens.accent } else { icon_color });
    let y = rect.center().y;
    ui.painter().text(
        egui::pos2(rect.left() + 28.0, y),
        egui::Align2::LEFT_CENTER,
        action.name,
        tokens::body_font(),
        text_color,
    );
    ui.painter().text(
        egui::pos2(rect.right() - 6.0, y),
        egui::Align2::RIGHT_CENTER,
        key,
        tokens::small_font(),
        icon_color,
    );
    response.on_hover_text(action.tooltip).clicked()
}

fn sense(enabled: bool) -> egui::Sense {
    if enabled { egui::Sense::click() } else { egui::Sense::hover() }
}

fn recent_menu(ui: &mut Ui, model: &Model, commands: &mut Vec<Command>) {
    if model.settings().recent.is_empty() {
        return;
    }
    let icon = RichText::new(icons::CLOCK).font(tokens::icon_font(14.0)).color(Tokens::get(ui).muted);
    ui.spacing_mut().button_padding.x = 6.0;
    ui.menu_button((icon, "Open recent"), |ui| {
        for recent in model.settings().recent.iter().take(12) {
            let path = recent.path.display().to_string();
            let label = crate::base::escape_controls(&path).into_owned();
            if ui.button(RichText::new(label).font(tokens::mono_font())).clicked() {
                commands.push(ArchivesCommand::Open(vec![recent.path.clone()]).into());
                ui.close();
            }
        }
    });
}

/// Places that were visited: those ahead, the one that is shown, those behind; a click leads there.
fn places_ui(ui: &mut Ui, model: &Model, commands: &mut Vec<Command>) {
    ui.set_width(MENU_WIDTH);
    ui.spacing_mut().item_spacing.y = 0.0;
    let history = model.history();
    let ahead = (1..).zip(history.ahead()).take(MAX_PLACES).collect::<Vec<_>>();
    let behind = (1..).zip(history.behind()).take(MAX_PLACES).map(|(at, place)| (-at, place));
    let current = history.current().map(|place| (0, place));
    for (by, place) in ahead.into_iter().rev().chain(current).chain(behind) {
        let archive = model.archive(place.archive);
        let label = archive.map_or_else(|| place.target.to_string(), |archive| place_label(archive, &place.target));
        let title = archive.filter(|_| model.archives().len() > 1).map_or("", |archive| archive.title());
        let row = ListRow::new(&label)
            .icon(icons::of_panel(place.target.panel()), Tone::Neutral)
            .secondary(title)
            .selected(by == 0)
            .flat()
            .show(ui);
        if row.response.clicked() {
            commands.extend((by != 0).then(|| NavigateCommand::Step(by).into()));
            ui.close();
        }
    }
}

/// A place by the names of what it names.
fn place_label(archive: &OpenArchive, target: &Target) -> String {
    let process = target.pid().and_then(|pid| archive.checkpoint().process(pid));
    match (process, target) {
        (Some(process), Target::Process { tab, .. }) => {
            let tab = tab.map_or_else(String::new, |tab| format!(", {}", tab.title().to_lowercase()));
            format!("{} {}{tab}", process.pid, process.comm_label())
        }
        _ => crate::base::escape_controls(&target.to_string()).into_owned(),
    }
}

/// The archive that is shown; a menu of all when there are more.
fn archives_ui(ui: &mut Ui, model: &Model, commands: &mut Vec<Command>) {
    let Some(active) = model.active() else { return };
    let count = model.archives().len();
    let title = if count > 1 { format!("{}  +{}", active.title(), count - 1) } else { active.title().to_owned() };
    let text = RichText::new(title).font(tokens::strong_font(tokens::TEXT_BODY));
    let button = ui.menu_button(text, |ui| {
        ui.set_width(440.0);
        ui.spacing_mut().item_spacing = egui::vec2(SPACE_XS, 0.0);
        for archive in model.archives() {
            ui.horizontal(|ui| {
                let path = crate::base::escape_controls(&archive.path().display().to_string()).into_owned();
                let row = ui.allocate_ui(egui::vec2(410.0, tokens::ROW_HEIGHT), |ui| {
                    let is_active = archive.id() == active.id();
                    ListRow::new(archive.title())
                        .icon(icons::ARCHIVE, Tone::Neutral)
                        .secondary(&path)
                        .selected(is_active)
                        .flat()
                        .show(ui)
                });
                if row.inner.response.on_hover_text(&path).clicked() {
                    commands.push(ArchivesCommand::Activate(archive.id()).into());
                    ui.close();
                }
                if icon_button(ui, icons::CLOSE, &format!("Close {}", archive.title())).clicked() {
                    commands.push(ArchivesCommand::Close(archive.id()).into());
                }
            });
        }
        ui.separator();
        for id in [ActionId::OpenFile, ActionId::OpenDirectory, ActionId::CloseArchive] {
            if let Some(action) = action(id)
                && action_item(ui, action, model)
            {
                commands.extend(action.commands(model));
                ui.close();
            }
        }
    });
    button.response.on_hover_text(format!("{}\nOpen archives", active.path().display()));
}

fn theme_button(ui: &mut Ui, model: &Model, commands: &mut Vec<Command>) {
    let is_dark = ui.visuals().dark_mode;
    let (icon, name, next) = if is_dark {
        (icons::SUN, "Switch to the light theme", Theme::Light)
    } else {
        (icons::MOON, "Switch to the dark theme", Theme::Dark)
    };
    let response = icon_button(ui, icon, name);
    if response.clicked() {
        commands.push(ViewCommand::SetTheme(next).into());
    }
    if model.settings().theme != Theme::System {
        response.context_menu(|ui| {
            if ui.button("Follow the system").clicked() {
                commands.push(ViewCommand::SetTheme(Theme::System).into());
                ui.close();
            }
        });
    }
}
