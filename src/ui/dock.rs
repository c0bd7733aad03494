//! The workspace: panels in tabs that can be moved, split, closed, opened again and reset.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use egui::{Frame, Rect, Role, Sense, Stroke, Ui, WidgetInfo, WidgetText};
use egui_tiles::{
    Behavior, Container, EditAction, SimplificationOptions, TabState, Tile, TileId, Tiles, Tree, UiResponse,
};

use super::panels::Panels;
use super::tokens::{self, BAR_HEIGHT, SPACE_S, Tokens};
use super::widgets::{button, empty_state, paint_icon};
use super::{icons, layout};
use crate::session::{Command, Layout, Model, NotificationsCommand, PanelKind};

/// What a tab has beside its name: an icon and room.
const TAB_MARGIN: f32 = 40.0;

/// The tree of tabs, and what went wrong in which panel.
pub struct Dock {
    tree: Tree<PanelKind>,
    front: PanelKind,
    failed: HashMap<PanelKind, String>,
    /// Panels were moved since somebody asked.
    is_changed: bool,
}

impl Dock {
    /// Panels where they were, or where they belong.
    pub fn new(layout: Option<&Layout>) -> Dock {
        let tree = layout.map_or_else(layout::default_tree, layout::tree_of);
        Dock { tree, front: PanelKind::Processes, failed: HashMap::new(), is_changed: false }
    }

    /// Where the panels are, if they were moved since this was asked last.
    pub fn take_changed(&mut self) -> Option<Layout> {
        std::mem::take(&mut self.is_changed).then(|| layout::layout_of(&self.tree)).flatten()
    }

    /// The panel the analyst was in last.
    pub fn front(&self) -> PanelKind {
        self.front
    }

    /// Puts the panels back.
    pub fn reset(&mut self) {
        self.tree = layout::default_tree();
        self.is_changed = false;
    }

    /// Brings a panel to the front of its tabs, opening it if it was closed.
    pub fn show(&mut self, kind: PanelKind) {
        if let Some(tile) = self.tree.tiles.find_pane(&kind) {
            self.tree.set_visible(tile, true);
            self.tree.make_active(|id, _| id == tile);
            self.is_changed = true;
        }
        self.front = kind;
    }

    /// Whether a panel is open (in front of its tabs or behind).
    pub fn is_open(&self, kind: PanelKind) -> bool {
        self.tree.tiles.find_pane(&kind).is_some_and(|tile| self.tree.is_visible(tile))
    }

    /// The tabs of bars that are too narrow for the names of all of theirs.
    fn tabs_without_room(&self, ui: &Ui, model: &Model) -> HashSet<TileId> {
        let mut unnamed = HashSet::new();
        for (id, tile) in self.tree.tiles.iter() {
            let (Tile::Container(Container::Tabs(tabs)), Some(bar)) = (tile, self.tree.tiles.rect(*id)) else {
                continue;
            };
            let shown = || tabs.children.iter().copied().filter(|tab| self.tree.is_visible(*tab));
            let width_of = |tab: TileId| {
                let title = self.tree.tiles.get_pane(&tab).map(|kind| title_of(*kind, model)).unwrap_or_default();
                let font = egui::FontId::proportional(12.5);
                TAB_MARGIN + ui.painter().layout_no_wrap(title, font, egui::Color32::PLACEHOLDER).size().x
            };
            // The one in front has a heavier name and can be closed.
            if shown().map(width_of).sum::<f32>() + 24.0 > bar.width() {
                unnamed.extend(shown());
            }
        }
        unnamed
    }

    /// Draws all of it.
    pub fn ui(&mut self, ui: &mut Ui, model: &Model, panels: &mut Panels) -> Vec<Command> {
        let unnamed = self.tabs_without_room(ui, model);
        let mut behavior = DockBehavior {
            model,
            unnamed,
            panels,
            commands: Vec::new(),
            front: &mut self.front,
            failed: &mut self.failed,
            closed: Vec::new(),
            is_changed: &mut self.is_changed,
        };
        self.tree.ui(&mut behavior, ui);
        let DockBehavior { commands, closed, .. } = behavior;
        for tile in closed {
            self.tree.set_visible(tile, false);
            self.is_changed = true;
        }
        commands
    }
}

impl Default for Dock {
    fn default() -> Dock {
        Dock::new(None)
    }
}

impl std::fmt::Debug for Dock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dock").field("front", &self.front).field("failed", &self.failed).finish_non_exhaustive()
    }
}

struct DockBehavior<'a> {
    model: &'a Model,
    /// Tabs that show no name unless they are in front.
    unnamed: HashSet<TileId>,
    panels: &'a mut Panels,
    commands: Vec<Command>,
    front: &'a mut PanelKind,
    failed: &'a mut HashMap<PanelKind, String>,
    closed: Vec<TileId>,
    is_changed: &'a mut bool,
}

impl DockBehavior<'_> {
    /// Draws a panel, or what went wrong in it.
    fn panel_ui(&mut self, ui: &mut Ui, kind: PanelKind) {
        if let Some(why) = self.failed.get(&kind) {
            if failed_ui(ui, kind, why) {
                self.failed.remove(&kind);
                self.panels.reset(kind);
            }
            return;
        }
        match guarded(|| self.panels.ui(ui, kind, self.model)) {
            Ok(commands) => self.commands.extend(commands),
            Err(why) => {
                let title = format!("The panel {} has failed", kind.title());
                let detail = format!("{why}. The rest of the window goes on; press Retry in the panel.");
                self.commands.push(NotificationsCommand::ReportFailure { title, detail }.into());
                self.failed.insert(kind, why);
            }
        }
    }
}

/// Runs what draws a panel; a panic in it is an error with its message.
fn guarded(draw: impl FnOnce() -> Vec<Command>) -> Result<Vec<Command>, String> {
    catch_unwind(AssertUnwindSafe(draw)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
    })
}

/// In place of a panel that has failed; true when it shall be tried again.
fn failed_ui(ui: &mut Ui, kind: PanelKind, why: &str) -> bool {
    let title = format!("{} could not be drawn", kind.title());
    empty_state(ui, icons::ERROR, &title, why);
    ui.vertical_centered(|ui| {
        ui.add_space(SPACE_S);
        button(ui, icons::RESET, "Retry").clicked()
    })
    .inner
}

impl Behavior<PanelKind> for DockBehavior<'_> {
    fn pane_ui(&mut self, ui: &mut Ui, _tile: TileId, kind: &mut PanelKind) -> UiResponse {
        let kind = *kind;
        let rect = ui.max_rect();
        let tokens = Tokens::get(ui);
        ui.painter().rect_filled(rect, 0.0, tokens.surface);
        let pressed = ui.input(|input| input.pointer.any_pressed().then(|| input.pointer.interact_pos()).flatten());
        if pressed.is_some_and(|at| rect.contains(at)) {
            *self.front = kind;
        }
        Frame::NONE.show(ui, |ui| {
            ui.set_clip_rect(rect.intersect(ui.clip_rect()));
            ui.push_id(kind, |ui| self.panel_ui(ui, kind));
        });
        UiResponse::None
    }

    fn tab_title_for_pane(&mut self, kind: &PanelKind) -> WidgetText {
        kind.title().into()
    }

    fn is_tab_closable(&self, _tiles: &Tiles<PanelKind>, _tile: TileId) -> bool {
        true
    }

    fn tab_ui(
        &mut self,
        tiles: &mut Tiles<PanelKind>,
        ui: &mut Ui,
        id: egui::Id,
        tile: TileId,
        state: &TabState,
    ) -> egui::Response {
        let tokens = Tokens::get(ui);
        let kind = tiles.get_pane(&tile).copied();
        let title = match kind {
            Some(kind) => title_of(kind, self.model),
            None => "Group".to_owned(),
        };
        let (font, color) = if state.active {
            (tokens::strong_font(12.5), tokens.strong)
        } else {
            (egui::FontId::proportional(12.5), tokens.muted)
        };
        // Where there is no room for the names of all, only the one in front has its name.
        let is_named = state.active || kind.is_none() || !self.unnamed.contains(&tile);
        let text = if is_named { title.clone() } else { String::new() };
        let galley = ui.painter().layout_no_wrap(text, font, color);
        let close_space = if state.active && kind.is_some() { 20.0 } else { 0.0 };
        let width = if is_named { TAB_MARGIN + galley.size().x + close_space } else { 34.0 };
        let (_, rect) = ui.allocate_space(egui::vec2(width, ui.available_height()));
        let response = ui.interact(rect, id, Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::selected(Role::Tab, true, state.active, &title));
        if state.is_being_dragged {
            return self.on_tab_button(tiles, tile, response);
        }
        if state.active {
            ui.painter().rect_filled(rect, 0.0, tokens.surface);
            let line = Rect::from_min_size(rect.min, egui::vec2(rect.width(), 2.0));
            ui.painter().rect_filled(line, 0.0, tokens.accent);
        } else if response.hovered() {
            ui.painter().rect_filled(rect, 0.0, tokens.hover);
        }
        if let Some(kind) = kind {
            let icon_rect = Rect::from_min_size(rect.min + egui::vec2(9.0, 0.0), egui::vec2(16.0, rect.height()));
            let icon_color = if state.active { tokens.accent } else { tokens.muted };
            paint_icon(ui, icon_rect, icons::of_panel(kind), 14.0, icon_color);
        }
        let at = egui::pos2(rect.left() + 30.0, rect.center().y - galley.size().y / 2.0);
        ui.painter().galley(at, galley, color);
        if close_space > 0.0 && state.closable {
            let mark = Rect::from_center_size(egui::pos2(rect.right() - 14.0, rect.center().y), egui::vec2(16.0, 16.0));
            let close = ui.interact(mark, ui.scope_id().with(("close", tile)), Sense::click());
            close.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Close {title}")));
            let close_color = if close.hovered() { tokens.strong } else { tokens.faint };
            if close.hovered() {
                ui.painter().rect_filled(mark, 3.0, tokens.hover);
            }
            paint_icon(ui, mark, icons::CLOSE, 10.0, close_color);
            if close.clicked() {
                self.closed.push(tile);
            }
        }
        if response.clicked_by(egui::PointerButton::Middle) {
            self.closed.push(tile);
        }
        if let Some(kind) = kind {
            if response.clicked() {
                *self.front = kind;
            }
            let help = if is_named { kind.tooltip().to_owned() } else { format!("{title}: {}", kind.tooltip()) };
            response.clone().on_hover_text(help);
        }
        self.on_tab_button(tiles, tile, response)
    }

    fn on_edit(&mut self, _action: EditAction) {
        *self.is_changed = true;
    }

    fn tab_bar_height(&self, _style: &egui::Style) -> f32 {
        BAR_HEIGHT
    }

    fn tab_bar_color(&self, visuals: &egui::Visuals) -> egui::Color32 {
        Tokens::of(visuals).chrome
    }

    fn tab_bar_hline_stroke(&self, _visuals: &egui::Visuals) -> Stroke {
        Stroke::NONE
    }

    fn gap_width(&self, _style: &egui::Style) -> f32 {
        1.0
    }

    fn resize_stroke(&self, style: &egui::Style, state: egui_tiles::ResizeState) -> Stroke {
        let tokens = Tokens::of(&style.visuals);
        match state {
            egui_tiles::ResizeState::Idle => Stroke::new(1.0, tokens.line),
            egui_tiles::ResizeState::Hovering | egui_tiles::ResizeState::Dragging => Stroke::new(2.0, tokens.accent),
        }
    }

    fn simplification_options(&self) -> SimplificationOptions {
        SimplificationOptions {
            all_panes_must_have_tabs: true,
            prune_empty_tabs: true,
            ..SimplificationOptions::default()
        }
    }
}

fn title_of(kind: PanelKind, model: &Model) -> String {
    if kind == PanelKind::Process { process_title(model) } else { kind.title().to_owned() }
}

fn process_title(model: &Model) -> String {
    let process = model.active().and_then(|archive| archive.checkpoint().process(archive.selected_pid()?));
    match process {
        Some(process) => {
            let comm: String = process.comm_label().chars().take(24).collect();
            format!("{} {comm}", process.pid)
        }
        None => PanelKind::Process.title().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use egui_kittest::kittest::Queryable as _;

    use super::*;

    #[test]
    fn panic_in_a_panel_stays_in_it_and_can_be_retried() {
        assert_eq!(guarded(|| panic!("row 7 is upside down")).unwrap_err(), "row 7 is upside down");
        let mut harness = egui_kittest::Harness::builder().with_context_setup(crate::ui::install).build_ui_state(
            |ui, retried: &mut bool| *retried |= failed_ui(ui, PanelKind::Files, "row 7 is upside down"),
            false,
        );
        harness.get_by_label("Open files could not be drawn");
        harness.get_by_label("Retry").click();
        harness.run();
        assert!(harness.state());
    }

    #[test]
    fn every_panel_has_its_place_and_comes_back_after_closing() {
        let mut dock = Dock::new(None);
        for kind in PanelKind::ALL {
            // Searches, jobs and messages are closed until they are asked for.
            let starts_closed = matches!(kind, PanelKind::Search | PanelKind::Jobs | PanelKind::Notifications);
            assert_eq!(dock.is_open(kind), !starts_closed, "{kind:?}");
            let tile = dock.tree.tiles.find_pane(&kind).unwrap();
            dock.tree.set_visible(tile, false);
            assert!(!dock.is_open(kind));
            dock.show(kind);
            assert!(dock.is_open(kind));
            assert_eq!(dock.front(), kind);
        }
    }
}
