//! One frame of the window.
//!
//! `tick` takes in what jobs have to say, applies the queued commands and runs their effects;
//! `draw` draws from the model and queues what the analyst asks for. Nothing else writes.

use std::path::PathBuf;
use std::sync::Arc;

use egui::{Align2, Frame, Rect, Role, Sense, Stroke, Ui, WidgetInfo};

use super::dialogs::Dialog;
use super::dock::Dock;
use super::notifications::Toasts;
use super::palette::Palette;
use super::panels::Panels;
use super::tokens::{self, SPACE_S, Tokens};
use super::{arriving, effects, icons, keys, menu, opening, start, status_bar, widgets};
use crate::session::{ArchivesCommand, Command, Driver, Model, PanelKind, SearchCommand, Settings, ViewCommand, apply};

/// The application: the model, the driver of its effects, and the state of what is drawn.
#[derive(Debug)]
pub struct App {
    pub(super) model: Model,
    pub(super) driver: Driver,
    pub(super) queue: Vec<Command>,
    pub(super) dock: Dock,
    pub(super) panels: Panels,
    pub(super) palette: Option<Palette>,
    pub(super) dialog: Option<Dialog>,
    pub(super) toasts: Toasts,
    /// Dialogs of the system that are open, by number.
    pub(super) next_dialog: u64,
    /// Nodes in place of the screen without an archive.
    pub(super) shows_nodes: bool,
}

impl App {
    /// A window on `paths`.
    pub fn new(ctx: &egui::Context, settings: Settings, paths: Vec<PathBuf>) -> App {
        let wake = {
            let ctx = ctx.clone();
            Arc::new(move || ctx.request_repaint())
        };
        effects::set_theme(ctx, settings.theme);
        effects::set_zoom(ctx, settings.zoom_percent);
        let mut queue = Vec::new();
        if !paths.is_empty() {
            queue.push(ArchivesCommand::Open(paths).into());
        }
        let dock = Dock::new(settings.layout.as_ref());
        App {
            model: Model::new(settings),
            driver: Driver::new(wake),
            queue,
            dock,
            panels: Panels::default(),
            palette: None,
            dialog: None,
            toasts: Toasts::default(),
            next_dialog: 0,
            shows_nodes: false,
        }
    }

    /// Draws what our fonts lack with those of the system, as soon as these are listed.
    #[must_use]
    pub fn with_system_fonts(mut self, ctx: &egui::Context) -> App {
        let ctx = ctx.clone();
        self.driver.start(effects::FONTS, "List fonts".into(), move |_| {
            super::fonts::add_system_fonts(&ctx);
            Ok(None)
        });
        self
    }

    /// Keeps the user's settings as they are, whatever is set here: for tests.
    #[must_use]
    pub fn with_settings_unsaved(mut self) -> App {
        self.driver.keep_settings();
        self
    }

    /// What the window shows.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Asks for something as a panel would.
    pub fn ask(&mut self, command: impl Into<Command>) {
        self.queue.push(command.into());
    }

    /// Takes in what jobs say and carries out what was asked.
    pub fn tick(&mut self, ctx: &egui::Context) {
        let mut commands = self.driver.poll();
        commands.append(&mut self.queue);
        if commands.is_empty() {
            return;
        }
        for command in commands {
            for effect in apply(&mut self.model, command) {
                if let Some(effect) = self.driver.run(effect) {
                    effects::run(self, ctx, effect);
                }
            }
        }
        ctx.send_viewport_cmd(egui::ViewportCommand::Title(title(&self.model)));
        ctx.request_repaint();
    }

    /// Draws the frame.
    pub fn draw(&mut self, ui: &mut Ui) {
        let ctx = ui.ctx().clone();
        let mut commands = Vec::new();
        if self.palette.is_none() && self.dialog.is_none() {
            commands.extend(keys::take(&ctx, &self.model));
        }
        commands.extend(menu::top_bar_ui(ui, &self.model));
        commands.extend(arriving::arriving_ui(ui, &self.model));
        commands.extend(status_bar::status_bar_ui(ui, &self.model));
        let background = Tokens::get(ui).chrome;
        egui::CentralPanel::default().frame(Frame::NONE.fill(background)).show(ui, |ui| {
            if self.model.active().is_some() {
                commands.extend(self.dock.ui(ui, &self.model, &mut self.panels));
            } else if let Some((job, arrival)) = opening::opening_of(ui, &self.model) {
                commands.extend(opening::opening_ui(ui, job, arrival));
            } else if self.shows_nodes {
                commands.extend(start::nodes_ui(ui, &self.model, &mut self.panels, &mut self.shows_nodes));
            } else {
                commands.extend(start::start_ui(ui, &self.model));
            }
        });
        commands.extend(self.toasts.ui(&ctx, &self.model));
        if let Some(palette) = &mut self.palette {
            let shown = palette.ui(&ctx, &self.model);
            commands.extend(shown.commands);
            if shown.is_closed {
                self.palette = None;
            }
        }
        if let Some(dialog) = &mut self.dialog
            && dialog.ui(&ctx, &self.model, &mut commands)
        {
            self.dialog = None;
        }
        commands.extend(drop_ui(&ctx));
        // Not while something is dragged: it is kept where it ends up.
        if !ctx.input(|input| input.pointer.any_down()) {
            commands.extend(self.dock.take_changed().map(|layout| ViewCommand::KeepLayout(layout).into()));
        }
        if !commands.is_empty() {
            self.queue.append(&mut commands);
            ctx.request_repaint();
        }
    }

    pub(super) fn focus_filter(&mut self) {
        let front = self.dock.front();
        if front == PanelKind::Memory {
            // What can be found in memory, a search finds.
            let pid = self.model.active().and_then(|archive| archive.selected_pid());
            self.ask(SearchCommand::Ask { pid });
        } else {
            self.panels.focus_filter(front);
        }
    }

    /// Asks for an address where the analyst looks at memory.
    pub(super) fn focus_address(&mut self) {
        let kind = match self.dock.front() {
            PanelKind::Disassembly => PanelKind::Disassembly,
            _ => PanelKind::Memory,
        };
        self.show_panel(kind);
        self.panels.focus_address(kind);
    }

    pub(super) fn show_panel(&mut self, kind: PanelKind) {
        if self.model.active().is_some() {
            self.dock.show(kind);
        }
        // The one panel that makes sense before there is an archive.
        self.shows_nodes = kind == PanelKind::Nodes;
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        self.tick(ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.draw(ui);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        self.driver.save_at_exit(self.model.settings());
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        Tokens::of(visuals).chrome.to_normalized_gamma_f32()
    }
}

/// Title of the window: what is open in it, then the program.
fn title(model: &Model) -> String {
    match model.active() {
        Some(archive) => format!("{} – Cryoscope", archive.title()),
        None => "Cryoscope".to_owned(),
    }
}

/// What is dragged over the window and dropped on it.
fn drop_ui(ctx: &egui::Context) -> Vec<Command> {
    let (hovered, dropped) = ctx.input(|input| {
        let dropped: Vec<PathBuf> = input.raw.dropped_files.iter().map(|file| file.path().to_path_buf()).collect();
        (input.raw.hovered_files.len(), dropped)
    });
    if hovered > 0 {
        let layer = egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop overlay"));
        let painter = ctx.layer_painter(layer);
        let tokens = Tokens::of(&ctx.global_style().visuals);
        let rect = ctx.content_rect();
        painter.rect_filled(rect, 0.0, tokens.backdrop);
        let frame = rect.shrink(24.0);
        painter.rect_stroke(frame, 8.0, Stroke::new(2.0, tokens.accent), egui::StrokeKind::Inside);
        let center = rect.center();
        painter.text(
            center - egui::vec2(0.0, 24.0),
            Align2::CENTER_CENTER,
            icons::ARCHIVE,
            tokens::icon_font(44.0),
            tokens.accent,
        );
        let text = "Drop to open: archives, directories, OCI layouts";
        painter.text(
            center + egui::vec2(0.0, 20.0),
            Align2::CENTER_CENTER,
            text,
            tokens::strong_font(15.0),
            tokens.strong,
        );
    }
    if dropped.is_empty() { Vec::new() } else { vec![ArchivesCommand::Open(dropped).into()] }
}

/// Draws a bar over the width of the window, with a line at its inner edge.
pub(super) fn bar(panel: egui::Panel, ui: &mut Ui, height: f32, draw: impl FnOnce(&mut Ui)) {
    let fill = Tokens::get(ui).chrome;
    panel.exact_size(height).resizable(false).frame(Frame::NONE.fill(fill)).show(ui, |ui| {
        ui.horizontal_centered(draw);
    });
}

/// A button that looks like a field and opens the palette.
pub(super) fn palette_field(ui: &mut Ui, width: f32, key: &str) -> Option<Command> {
    let tokens = Tokens::get(ui);
    let (rect, response) = ui.allocate_exact_size(egui::vec2(width, 24.0), Sense::click());
    let text = "Search or run a command";
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, text));
    let stroke = Stroke::new(1.0, if response.hovered() || response.has_focus() { tokens.accent } else { tokens.line });
    ui.painter().rect(rect, tokens::RADIUS, tokens.well, stroke, egui::StrokeKind::Inside);
    let icon = Rect::from_min_size(rect.min, egui::vec2(26.0, 24.0));
    widgets::paint_icon(ui, icon, icons::SEARCH, 13.0, tokens.muted);
    let key = ui.painter().text(
        egui::pos2(rect.right() - 8.0, rect.center().y),
        Align2::RIGHT_CENTER,
        key,
        tokens::small_font(),
        tokens.muted,
    );
    let left = rect.left() + 26.0;
    let mut job = egui::text::LayoutJob::simple_singleline(text.to_owned(), tokens::body_font(), tokens.muted);
    job.wrap = egui::text::TextWrapping::truncate_at_width((key.left() - SPACE_S - left).max(0.0));
    let galley = ui.painter().layout_job(job);
    ui.painter().galley(egui::pos2(left, rect.center().y - galley.size().y / 2.0), galley, tokens.muted);
    response.clicked().then(|| ViewCommand::OpenPalette.into())
}
