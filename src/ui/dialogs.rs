//! Windows over the window: the sheet of keys, about.

mod base;
mod parent;
mod path;

use egui::{Modal, RichText, ScrollArea, Ui};

use super::tokens::{self, SPACE_L, SPACE_S, SPACE_XS, Tokens};
use super::widgets::{paint_icon, primary_button, section_header};
use super::{icons, keys};
use crate::session::actions::{ACTIONS, Menu};
use crate::session::{Command, Model};

pub use base::BaseDialog;
pub use parent::ParentDialog;

/// Which one is open.
#[derive(Debug)]
pub enum Dialog {
    /// Keys.
    Shortcuts,
    /// What the program is.
    About,
    /// Asks for a base image.
    Base(BaseDialog),
    /// Asks for a parent checkpoint.
    Parent(ParentDialog),
}

impl Dialog {
    /// Draws it; true when it is to be closed.
    pub fn ui(&mut self, ctx: &egui::Context, model: &Model, commands: &mut Vec<Command>) -> bool {
        let backdrop = Tokens::of(&ctx.global_style().visuals).backdrop;
        let id = std::mem::discriminant(self);
        let modal = Modal::new(egui::Id::unique(("dialog", id))).backdrop_color(backdrop).show(ctx, |ui| {
            ui.set_width(460.0);
            match self {
                Dialog::Shortcuts => shortcuts_ui(ui),
                Dialog::About => about_ui(ui),
                // It has buttons of its own.
                Dialog::Base(dialog) => return dialog.ui(ui, model, commands),
                Dialog::Parent(dialog) => return dialog.ui(ui, model, commands),
            }
            ui.add_space(SPACE_S);
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if primary_button(ui, "", "Close").clicked() {
                    ui.close();
                }
            });
        });
        modal.should_close()
    }
}

fn title(ui: &mut Ui, text: &str) {
    ui.label(RichText::new(text).font(tokens::strong_font(tokens::TEXT_HEADING)).color(Tokens::get(ui).strong));
    ui.add_space(SPACE_S);
}

/// Keys that are not actions: how lists are walked.
const LIST_KEYS: &[(&str, &str)] = &[
    ("Up, Down", "Walk a list, a table or a tree"),
    ("Left, Right", "Close or open a branch of a tree"),
    ("Enter", "Go to what is selected"),
    ("Tab", "Next control"),
    ("Escape", "Clear a filter, close what is on top"),
    ("Ctrl+Tab", "Next tab of the panel under the pointer"),
];

/// Keys of the memory panel.
const MEMORY_KEYS: &[(&str, &str)] = &[
    ("Arrows, Page, Home, End", "Move by bytes, rows, pages"),
    ("Ctrl+Home, Ctrl+End", "First and last mapped byte"),
    ("Shift and these", "Select"),
    ("Enter, double-click", "Follow the pointer under the cursor"),
    ("B", "Set or remove a bookmark"),
    ("D", "Show the instructions here"),
    ("F4, Shift+F4", "Next and previous hit; F3 too"),
    ("Ctrl+C", "Copy in the format used last"),
];

/// Keys of the disassembly.
const CODE_KEYS: &[(&str, &str)] = &[
    ("Up, Down, Page", "Move by instructions, pages"),
    ("Enter, double-click", "Follow a jump, a call, an address"),
    ("Ctrl+C", "Copy the instruction"),
];

fn shortcuts_ui(ui: &mut Ui) {
    title(ui, "Keys");
    ScrollArea::vertical().max_height(ui.ctx().content_rect().height() * 0.6).show(ui, |ui| {
        for menu in Menu::ALL {
            section_header(ui, menu.title(), "");
            for action in ACTIONS.iter().filter(|action| action.menu == menu && action.shortcut.is_some()) {
                key_row(ui, action.name, &keys::label(ui.ctx(), action));
            }
            ui.add_space(SPACE_S);
        }
        for (title, keys) in [("Lists and tables", LIST_KEYS), ("Memory", MEMORY_KEYS), ("Disassembly", CODE_KEYS)] {
            section_header(ui, title, "");
            for (key, what) in keys {
                key_row(ui, what, key);
            }
            ui.add_space(SPACE_S);
        }
    });
}

fn key_row(ui: &mut Ui, what: &str, key: &str) {
    ui.horizontal(|ui| {
        ui.label(what);
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.add_space(SPACE_S);
            ui.label(RichText::new(key).font(tokens::mono_font()).color(Tokens::get(ui).muted));
        });
    });
}

fn about_ui(ui: &mut Ui) {
    let tokens = Tokens::get(ui);
    ui.vertical_centered(|ui| {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(56.0, 56.0), egui::Sense::hover());
        paint_icon(ui, rect, icons::SNOWFLAKE, 48.0, tokens.accent);
        ui.label(RichText::new("Cryoscope").font(tokens::strong_font(tokens::TEXT_TITLE)).color(tokens.strong));
        ui.label(RichText::new(format!("Version {}", env!("CARGO_PKG_VERSION"))).color(tokens.muted));
        ui.add_space(SPACE_L);
        ui.label("A forensic workstation for container checkpoints.");
        ui.add_space(SPACE_XS);
        let rest =
            "It reads archives and never writes beside them, needs no network, and runs nothing that is in them.";
        ui.label(RichText::new(rest).color(tokens.muted));
        ui.add_space(SPACE_L);
        let fonts = "MIT licence. Fonts: Inter (OFL), Hack (MIT), Phosphor Icons (MIT).";
        ui.label(RichText::new(fonts).font(tokens::small_font()).color(tokens.muted));
    });
}
