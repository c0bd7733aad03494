//! Spec, configuration, status and logs: JSON as a tree, everything as text.

use bytes::Bytes;
use egui::{Frame, Panel, RichText, ScrollArea, Ui};
use serde_json::Value;

use crate::base::escape_controls;
use crate::checkpoint::Document;
use crate::checkpoint::documents::DocumentKind;
use crate::session::{ArchiveId, Command, ExportCommand, OpenArchive, Target};
use crate::ui::icons::{self, Icon};
use crate::ui::text;
use crate::ui::tokens::{ROW_HEIGHT, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{
    FilterBox, Follow, JsonView, ListRow, TextView, empty_state, icon_button, list_focus, tab_strip, walk,
};

/// Longest JSON that is shown as a tree: reading it must fit into a frame.
const MAX_TREE: usize = 2 << 20;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct DocumentsState {
    follow: Follow<usize>,
    is_text: bool,
    filter: String,
    wants_focus: bool,
    parsed: Option<((ArchiveId, usize), Parsed)>,
    json: JsonView,
    text: TextView,
}

#[derive(Debug)]
enum Parsed {
    Tree(Value),
    /// No tree, and why; empty where none is expected.
    No(&'static str),
}

impl DocumentsState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        self.wants_focus = true;
    }
}

/// Draws the panel.
#[must_use]
pub fn documents_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut DocumentsState) -> Vec<Command> {
    let mut commands = Vec::new();
    let documents = &archive.checkpoint().documents;
    if documents.is_empty() {
        let hint = "A directory of CRIU images alone has none; spec, configuration and logs come with a container engine's archive.";
        empty_state(ui, icons::DOCUMENT, "No documents", hint);
        return commands;
    }
    let of = |target: &Target| match target {
        Target::Document(name) => documents.iter().position(|document| document.name == *name),
        _ => None,
    };
    state.follow.update(archive, of);
    let shown = state.follow.shown().copied().unwrap_or_default().min(documents.len() - 1);
    let width = (ui.available_width() * 0.26).clamp(170.0, 300.0);
    let panel = Panel::left(ui.scope_id().with("documents")).default_size(width).resizable(true);
    panel.frame(Frame::NONE).show(ui, |ui| list_ui(ui, documents, shown, &mut commands));
    state.follow.clicked(&commands, of);
    if let Some(document) = documents.get(shown) {
        egui::CentralPanel::default().frame(Frame::NONE).show(ui, |ui| {
            document_ui(ui, archive, shown, document, state, &mut commands);
        });
    }
    commands
}

fn list_ui(ui: &mut Ui, documents: &[Document], shown: usize, commands: &mut Vec<Command>) {
    ui.spacing_mut().item_spacing.y = 0.0;
    ui.add_space(SPACE_XS);
    let focus = list_focus(ui, ui.scope_id().with("list"), ui.available_rect_before_wrap(), "Documents");
    let target = |at: usize| documents.get(at).map(|document| Target::Document(document.name.clone()));
    if focus.has_focus()
        && let Some(target) = walk(ui, Some(shown), documents.len(), ui.available_height()).and_then(target)
    {
        commands.push(Command::select(target));
    }
    ScrollArea::vertical().auto_shrink(false).show_rows(ui, ROW_HEIGHT, documents.len(), |ui, range| {
        for at in range {
            let Some(document) = documents.get(at) else { continue };
            let name = escape_controls(&document.name);
            let (icon, _) = look_of(document.kind);
            let drawn = ListRow::new(&name)
                .icon(icon, Tone::Neutral)
                .trailing(&text::bytes(document.bytes.len() as u64))
                .selected(at == shown)
                .show(ui);
            if drawn.response.clicked() {
                commands.extend(target(at).map(Command::select));
                ui.memory_mut(|memory| memory.request_focus(focus.id));
            }
            drawn.response.on_hover_text(look_of(document.kind).1);
        }
    });
}

/// Icon of a kind of document, and what it is.
fn look_of(kind: DocumentKind) -> (Icon, &'static str) {
    match kind {
        DocumentKind::Spec => (icons::BRACES, "OCI runtime specification: what the engine asked the runtime to run"),
        DocumentKind::Config => (icons::BRACES, "The engine's own configuration of the container"),
        DocumentKind::Status => (icons::BRACES, "The engine's record of the container's state"),
        DocumentKind::Network => (icons::NETWORK, "Networks as the engine attached them"),
        DocumentKind::OtherJson => (icons::BRACES, "Other data of the engine"),
        DocumentKind::ContainerLog => (icons::ENVIRONMENT, "What the container printed"),
        DocumentKind::CriuLog => (icons::DOCUMENT, "What CRIU printed while dumping"),
        DocumentKind::OtherText => (icons::DOCUMENT, "Other text"),
    }
}

fn parsed_of(document: &Document) -> Parsed {
    if document.bytes.len() > MAX_TREE {
        return Parsed::No("longer than 2 MiB: shown as text");
    }
    match serde_json::from_slice(&document.bytes) {
        Ok(value) => Parsed::Tree(value),
        Err(_) if document.is_json() => Parsed::No("not valid JSON: shown as text"),
        Err(_) => Parsed::No(""),
    }
}

fn document_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    at: usize,
    document: &Document,
    state: &mut DocumentsState,
    commands: &mut Vec<Command>,
) {
    let key = (archive.id(), at);
    if state.parsed.as_ref().is_none_or(|(known, _)| *known != key) {
        let parsed = if document.is_json() { parsed_of(document) } else { Parsed::No("") };
        state.parsed = Some((key, parsed));
    }
    let Some((_, parsed)) = &state.parsed else { return };
    ui.spacing_mut().item_spacing.y = 0.0;
    let key = u64::from(archive.id().0) << 32 | at as u64;
    let note = match parsed {
        Parsed::Tree(_) => {
            state.is_text = tab_strip(ui, &[("Tree", 0), ("Text", 0)], usize::from(state.is_text)) == 1;
            look_of(document.kind).1
        }
        Parsed::No("") => look_of(document.kind).1,
        Parsed::No(why) => why,
    };
    ui.add_space(SPACE_XS);
    let wants_focus = std::mem::take(&mut state.wants_focus);
    ui.horizontal(|ui| {
        ui.add_space(SPACE_S);
        let tokens = Tokens::get(ui);
        if let (Parsed::Tree(_), false) = (parsed, state.is_text) {
            FilterBox::new(&mut state.filter, "Filter document").focus(wants_focus).show(ui);
        }
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.add_space(SPACE_S);
            bytes_buttons_ui(ui, document, commands);
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                ui.add(egui::Label::new(RichText::new(note).color(tokens.muted)).truncate());
            });
        });
    });
    ui.add_space(SPACE_XS);
    match parsed {
        Parsed::Tree(value) if !state.is_text => {
            let needle = state.filter.to_lowercase();
            commands.extend(state.json.show(ui, "document tree", key, value, &needle));
        }
        _ => state.text.show(ui, "document text", key, &document.bytes),
    }
}

fn bytes_buttons_ui(ui: &mut Ui, document: &Document, commands: &mut Vec<Command>) {
    let bytes: &Bytes = &document.bytes;
    if icon_button(ui, icons::SAVE, "Save as…").clicked() {
        let file_name = document.name.rsplit('/').next().unwrap_or_default().to_owned();
        commands.push(ExportCommand::SaveBytes { file_name, bytes: bytes.clone() }.into());
    }
    if bytes.len() <= MAX_TREE && icon_button(ui, icons::COPY, "Copy as text").clicked() {
        commands.push(Command::copy("document", crate::base::escape(bytes)));
    }
}
