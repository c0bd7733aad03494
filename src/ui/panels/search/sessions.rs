//! The searches so far, and how far the one that is shown is.

use egui::{Align, Label, Layout, ProgressBar, RichText, Ui};

use crate::memory::Missing;
use crate::session::search::{QueryKind, SearchSession, SearchState, Searches};
use crate::session::{Command, JobRow, OpenArchive, SearchCommand};
use crate::ui::icons::{self, Icon};
use crate::ui::panels::base::attach_base_link;
use crate::ui::text::{bytes, counted, grouped, micros};
use crate::ui::tokens::{self, ROW_HEIGHT, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{FilterBox, ListRow, icon_button, paint_icon, toggle_button};

pub(super) fn icon_of(kind: QueryKind) -> Icon {
    match kind {
        QueryKind::Text | QueryKind::Utf16 => icons::SEARCH,
        QueryKind::Regex => icons::BRACES,
        QueryKind::Hex => icons::BINARY,
        QueryKind::Value => icons::HASH,
        QueryKind::Secrets => icons::KEY,
        QueryKind::Yara => icons::SHIELD,
        QueryKind::Strings => icons::LIST,
    }
}

/// The list, the newest on top.
pub(super) fn sessions_ui(ui: &mut Ui, searches: &Searches, commands: &mut Vec<Command>) {
    ui.spacing_mut().item_spacing.y = 0.0;
    ui.add_space(SPACE_XS);
    egui::ScrollArea::vertical().id_salt("sessions").auto_shrink(false).show(ui, |ui| {
        for session in searches.sessions().iter().rev() {
            row_ui(ui, searches, session, commands);
        }
    });
}

/// The list in a menu, where there is no room beside the hits.
pub(super) fn menu_ui(ui: &mut Ui, searches: &Searches, shown: &SearchSession, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.add_space(SPACE_S);
        let others = counted(searches.sessions().len(), "search", "searches");
        ui.menu_button(format!("{others} …"), |ui| {
            ui.set_width(280.0);
            for session in searches.sessions().iter().rev() {
                if row_ui(ui, searches, session, commands) && session.id() != shown.id() {
                    ui.close();
                }
            }
        });
    });
}

/// One search; whether it was clicked.
fn row_ui(ui: &mut Ui, searches: &Searches, session: &SearchSession, commands: &mut Vec<Command>) -> bool {
    let id = session.id();
    let title = session.request().query.title();
    let (tone, count) = match session.state() {
        SearchState::Running => (Tone::Accent, format!("{}…", grouped(session.total()))),
        SearchState::Done => (Tone::Neutral, grouped(session.total())),
        SearchState::Cancelled => (Tone::Warning, format!("{} stopped", grouped(session.total()))),
        SearchState::Failed(_) => (Tone::Error, "failed".to_owned()),
    };
    let place = session.request().place();
    let name = format!("{title} in {place}: {count}");
    let row = ListRow::new(&title)
        .name(&name)
        .icon(icon_of(session.request().query.kind), tone)
        .trailing(&count)
        .selected(searches.shown().is_some_and(|shown| shown.id() == id))
        .flat();
    let response = row.show(ui).response;
    if response.clicked() {
        commands.push(SearchCommand::Show(id).into());
    }
    response.context_menu(|ui| {
        if session.is_running() {
            menu_row(ui, icons::STOP, "Stop", SearchCommand::Stop(id), commands);
        } else {
            menu_row(ui, icons::RESET, "Search again", SearchCommand::Again(id), commands);
        }
        menu_row(ui, icons::SAVE, "Export hits…", SearchCommand::Export(id), commands);
        menu_row(ui, icons::CLOSE, "Close", SearchCommand::Close(id), commands);
    });
    let is_clicked = response.clicked();
    response.on_hover_text(format!("{title}\nin {place}\n{}", state_words(session)));
    is_clicked
}

fn menu_row(ui: &mut Ui, icon: Icon, label: &str, command: SearchCommand, commands: &mut Vec<Command>) {
    if ListRow::new(label).icon(icon, Tone::Neutral).flat().show(ui).response.clicked() {
        commands.push(command.into());
        ui.close();
    }
}

/// What was searched for, how far it is, what could not be searched; filter and buttons.
pub(super) fn head_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    session: &SearchSession,
    jobs: &[JobRow],
    filter: &mut String,
    reveals: Option<&mut bool>,
    commands: &mut Vec<Command>,
) {
    let tokens = Tokens::get(ui);
    let id = session.id();
    let row = egui::vec2(ui.available_width(), 30.0);
    ui.allocate_ui_with_layout(row, Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.add_space(SPACE_S);
        if icon_button(ui, icons::CLOSE, "Close this search").clicked() {
            commands.push(SearchCommand::Close(id).into());
        }
        let has_hits = !session.hits().is_empty();
        ui.add_enabled_ui(has_hits, |ui| {
            if icon_button(ui, icons::SAVE, "Export all hits as JSON Lines").clicked() {
                commands.push(SearchCommand::Export(id).into());
            }
        });
        if session.is_running() {
            if icon_button(ui, icons::STOP, "Stop the search").clicked() {
                commands.push(SearchCommand::Stop(id).into());
            }
        } else if icon_button(ui, icons::RESET, "Search again").clicked() {
            commands.push(SearchCommand::Again(id).into());
        }
        ui.add_enabled_ui(has_hits, |ui| {
            if icon_button(ui, icons::CARET_DOWN, "Next hit (F4)").clicked() {
                commands.push(SearchCommand::Step { is_forward: true }.into());
            }
            if icon_button(ui, icons::CARET_UP, "Previous hit (Shift+F4)").clicked() {
                commands.push(SearchCommand::Step { is_forward: false }.into());
            }
        });
        if let Some(reveals) = reveals {
            let name = if *reveals { "Hide secrets" } else { "Reveal secrets" };
            if toggle_button(ui, icons::VIEW, name, *reveals).clicked() {
                *reveals = !*reveals;
            }
        }
        if ui.available_width() > 300.0 {
            // The session has the filter, so that F4 walks what is shown.
            if session.filter() != filter.as_str()
                && !ui.memory(|memory| memory.has_focus(ui.scope_id().with("hits filter")))
            {
                session.filter().clone_into(filter);
            }
            ui.allocate_ui(egui::vec2(190.0, 26.0), |ui| {
                if FilterBox::new(filter, "Filter hits").width(186.0).show(ui) {
                    commands.push(SearchCommand::Filter { id, text: filter.clone() }.into());
                }
            });
        }
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = SPACE_S;
            ui.add_space(SPACE_S);
            state_ui(ui, session, jobs);
        });
    });
    let failed = match session.state() {
        SearchState::Failed(why) => Some(why.clone()),
        _ => None,
    };
    if let Some(why) = failed {
        note_ui(ui, icons::ERROR, tokens.error, &why);
    }
    for note in session.notes() {
        note_ui(ui, icons::ISSUE, tokens.warning, note);
    }
    if let Some(line) = session.skipped().line() {
        let has_files = session.skipped().has_missing(Missing::FilePage);
        note_with_ui(ui, icons::GAP, tokens.warning, &format!("Not searched: {line}"), |ui| {
            if has_files {
                attach_base_link(ui, archive, commands);
            }
        });
    }
    let y = ui.cursor().top() - 0.5;
    ui.painter().hline(ui.max_rect().x_range(), y, egui::Stroke::new(1.0, tokens.line));
}

/// Something to know, on one line; all of it under the pointer.
pub(super) fn note_ui(ui: &mut Ui, icon: Icon, color: egui::Color32, text: &str) {
    note_with_ui(ui, icon, color, text, |_| {});
}

/// As [`note_ui`], with something to press at the right.
fn note_with_ui(ui: &mut Ui, icon: Icon, color: egui::Color32, text: &str, trailing: impl FnOnce(&mut Ui)) {
    let text = crate::base::escape_controls(text.trim()).into_owned();
    ui.horizontal(|ui| {
        ui.set_min_height(ROW_HEIGHT - 2.0);
        ui.spacing_mut().item_spacing.x = SPACE_XS;
        ui.add_space(SPACE_S);
        let (rect, _) = ui.allocate_exact_size(egui::vec2(16.0, 18.0), egui::Sense::hover());
        paint_icon(ui, rect, icon, 13.0, color);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            trailing(ui);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let note = RichText::new(&text).font(tokens::small_font()).color(Tokens::get(ui).muted);
                ui.add(Label::new(note).truncate()).on_hover_text(text.replace("; ", "\n"));
            });
        });
    });
}

fn state_ui(ui: &mut Ui, session: &SearchSession, jobs: &[JobRow]) {
    let tokens = Tokens::get(ui);
    let job = jobs.iter().find(|job| job.id == session.job()).filter(|_| session.is_running());
    if let Some(job) = job {
        if let Some(fraction) = job.progress.fraction() {
            ui.add(ProgressBar::new(fraction).desired_width(90.0).desired_height(6.0).fill(tokens.accent));
        } else {
            ui.spinner();
        }
        let far = match (job.is_stopping, job.progress.total) {
            (true, _) => "stopping".to_owned(),
            (false, Some(total)) => format!("{} of {}", bytes(job.progress.done), bytes(total)),
            (false, None) => job.progress.stage.to_owned(),
        };
        ui.label(RichText::new(far).font(tokens::small_font()).color(tokens.muted));
    }
    let count = RichText::new(state_words(session)).color(tokens.text);
    ui.add(Label::new(count).truncate());
}

/// `19 hits in 4 processes and 2 kinds of files, 31.0 ms`.
fn state_words(session: &SearchSession) -> String {
    let kept = session.hits().len() as u64;
    let mut out = match session.current() {
        Some(at) => format!("{} of {}", grouped(at as u64 + 1), hits(session.total())),
        None => hits(session.total()),
    };
    if kept < session.total() {
        out.push_str(&format!(", the first {} are kept", grouped(kept)));
    }
    match session.state() {
        SearchState::Running => {}
        SearchState::Done => {
            let took = session.took().map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            out.push_str(&took.map(|took| format!(" in {}", micros(took))).unwrap_or_default());
        }
        SearchState::Cancelled => out.push_str(" until it was stopped"),
        SearchState::Failed(_) => "failed".clone_into(&mut out),
    }
    out
}

fn hits(total: u64) -> String {
    if total == 1 { "1 hit".to_owned() } else { format!("{} hits", grouped(total)) }
}
