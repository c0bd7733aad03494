//! Searches and what they found.
//!
//! | file | draws |
//! |---|---|
//! | `form` | what to search for, and where |
//! | `sessions` | the searches so far; how far the one that is shown is |
//! | `tree` | which rows there are: hits under process and map, or under files |
//! | `hits` | the rows in view |

mod form;
mod hits;
mod sessions;
mod tree;

use egui::{Frame, Panel, Ui};

use crate::base::Pid;
use crate::session::search::Query;
use crate::session::{Command, JobRow, OpenArchive, QueryKind, SearchCommand};
use crate::ui::icons;
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{ListRow, empty_state};
use form::Form;
use tree::HitTree;

/// From this width on the searches stand beside the hits, in points.
const BESIDE: f32 = 640.0;

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct SearchState {
    form: Form,
    tree: HitTree,
    /// The filter over hits, as it is typed.
    filter: String,
    /// Secrets are shown as they are.
    reveals: bool,
    /// The window had the keyboard in the last frame.
    had_focus: bool,
}

impl SearchState {
    /// Puts the cursor into the field of what to search for, in the memory of a process if one is named.
    pub fn focus_query(&mut self, pid: Option<Pid>) {
        self.form.wants_focus = true;
        if pid.is_some() {
            self.form.is_of_process = true;
        }
    }
}

/// Draws the panel.
#[must_use]
pub fn search_ui(ui: &mut Ui, archive: &OpenArchive, jobs: &[JobRow], state: &mut SearchState) -> Vec<Command> {
    let mut commands = Vec::new();
    ui.spacing_mut().item_spacing.y = 0.0;
    if archive.arriving().is_some() {
        let hint = "Its memory is not there yet. Search when the last page has arrived.";
        empty_state(ui, icons::SEARCH, "The archive is still being unpacked", hint);
        return commands;
    }
    // Rules are edited in another window: when the analyst comes back, they are looked at again.
    let has_focus = ui.input(|input| input.focused);
    if has_focus && !std::mem::replace(&mut state.had_focus, has_focus) && state.form.query.kind == QueryKind::Yara {
        commands.push(SearchCommand::CheckRules.into());
    }
    state.had_focus = has_focus;
    form::form_ui(ui, archive, &mut state.form, &mut commands);
    let searches = archive.searches();
    let surface = Tokens::get(ui).surface;
    let is_beside = ui.available_width() >= BESIDE;
    if is_beside && !searches.sessions().is_empty() {
        let panel = Panel::left(ui.scope_id().with("sessions")).default_size(210.0).size_range(140.0..=420.0);
        panel.resizable(true).frame(Frame::NONE.fill(surface)).show(ui, |ui| {
            ui.set_min_size(ui.available_size());
            sessions::sessions_ui(ui, searches, &mut commands);
        });
    }
    egui::CentralPanel::default().frame(Frame::NONE).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        let Some(session) = searches.shown() else {
            examples_ui(ui, &mut state.form);
            return;
        };
        if !is_beside && searches.sessions().len() > 1 {
            sessions::menu_ui(ui, searches, session, &mut commands);
        }
        let is_secret = session.request().query.kind == QueryKind::Secrets;
        let reveals = is_secret.then_some(&mut state.reveals);
        sessions::head_ui(ui, archive, session, jobs, &mut state.filter, reveals, &mut commands);
        let hides = is_secret && !state.reveals;
        hits::hits_ui(ui, archive, session, &mut state.tree, hides, &mut commands);
    });
    commands
}

/// Nothing was searched for: what could be.
fn examples_ui(ui: &mut Ui, form: &mut Form) {
    const EXAMPLES: [(QueryKind, &str, &str); 7] = [
        (QueryKind::Text, "AKIA", "the start of a cloud key, in every process, pipe, socket and file"),
        (QueryKind::Regex, r"https?://[^\s\x00]+", "addresses in any memory"),
        (QueryKind::Hex, "7f 45 4c 46 ?? 01", "the head of a program; ? is any digit"),
        (QueryKind::Utf16, "Administrator", "text as Windows and Java store it"),
        (QueryKind::Value, "443u16be", "a number as it lies in memory; without a width a pointer: who points here"),
        (QueryKind::Secrets, "", "keys, tokens, private keys, connection strings, by their shape"),
        (QueryKind::Strings, "", "everything that reads as text"),
    ];
    let tokens = Tokens::get(ui);
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        ui.add_space(SPACE_S);
        ui.horizontal(|ui| {
            ui.add_space(SPACE_S);
            let title = egui::RichText::new("Nothing was searched for yet");
            ui.label(title.font(tokens::strong_font(tokens::TEXT_BODY)).color(tokens.strong));
            ui.label(
                egui::RichText::new("Type above and press Enter, or begin with one of these:").color(tokens.muted),
            );
        });
        ui.add_space(SPACE_XS);
        for (kind, text, what) in EXAMPLES {
            let label = if text.is_empty() { kind.title().to_owned() } else { format!("{}: {text}", kind.title()) };
            let row = ListRow::new(&label).icon(sessions::icon_of(kind), tokens::Tone::Accent).secondary(what).flat();
            if row.show(ui).response.clicked() {
                form.query = Query { any_case: form.query.any_case, ..Query::of(kind, text) };
                form.wants_focus = true;
            }
        }
    });
}

/// Asks for a hit.
fn visit(session: crate::session::SearchId, hit: usize, is_gone_to: bool) -> Command {
    SearchCommand::Visit { id: session, hit, is_gone_to }.into()
}
