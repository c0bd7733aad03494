//! The bar that finds text or bytes in the memory of this process, and the marks of what it found.

use egui::{Key, Modifiers, RichText, TextEdit, Ui};

use super::Shown;
use super::view::{Reveal, View};
use crate::base::VirtAddr;
use crate::session::space::find::{Find, Query};
use crate::session::{Command, FindCommand, JobId};
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{icon_button, toggle_button};
use crate::ui::{icons, text};

/// Hits that a frame puts on the minimap at most.
const BUDGET: usize = 4096;

/// What is kept of the bar.
#[derive(Debug, Default)]
pub(super) struct FindBar {
    pub(super) is_open: bool,
    pub(super) wants_focus: bool,
    text: String,
    is_any_case: bool,
    wrong: String,
    /// The find whose first hit is awaited, and from where it is the first.
    awaited: Option<VirtAddr>,
    marks: Marks,
}

/// Parts of the minimap that have hits.
#[derive(Debug, Default)]
pub(super) struct Marks {
    of: Option<JobId>,
    /// How many hits are on it.
    done: usize,
    /// Numbers of parts, in order.
    parts: Vec<usize>,
}

impl FindBar {
    /// Opens it with the cursor in its field.
    pub(super) fn focus(&mut self) {
        self.is_open = true;
        self.wants_focus = true;
    }

    /// Closes it and forgets what was found.
    pub(super) fn close(&mut self) -> Option<Command> {
        self.is_open = false;
        self.awaited = None;
        Some(FindCommand::Close.into())
    }

    /// Parts of the minimap that have hits; some more are added in each frame.
    pub(super) fn marks(&mut self, ui: &Ui, shown: &Shown<'_>, part_bytes: u64) -> &[usize] {
        let Some(find) = shown.find() else { return &[] };
        if self.marks.of != Some(find.job()) {
            self.marks = Marks { of: Some(find.job()), ..Marks::default() };
        }
        let marks = &mut self.marks;
        for hit in find.hits().iter().skip(marks.done).take(BUDGET) {
            marks.done += 1;
            let part = shown.space.mapped_before(hit.start) / part_bytes.max(1);
            let part = usize::try_from(part).unwrap_or(usize::MAX);
            if marks.parts.last() != Some(&part) {
                marks.parts.push(part);
            }
        }
        if marks.done < find.hits().len() {
            ui.ctx().request_repaint();
        }
        &self.marks.parts
    }
}

/// Takes F3 and F4, which walk through the hits wherever the keyboard is.
pub(super) fn keys(ui: &Ui, shown: &Shown<'_>, bar: &mut FindBar, view: &mut View) {
    let (next, previous) = ui.input_mut(|input| {
        let previous = input.consume_key(Modifiers::SHIFT, Key::F4) || input.consume_key(Modifiers::SHIFT, Key::F3);
        let next = input.consume_key(Modifiers::NONE, Key::F4) || input.consume_key(Modifiers::NONE, Key::F3);
        (next, previous)
    });
    if next || previous {
        walk(shown, bar, view, next);
    }
    // The first hit is shown as soon as it is there.
    let Some(from) = bar.awaited else { return };
    let Some(find) = shown.find() else { return };
    let behind = find.hits().partition_point(|hit| hit.start < from);
    let found = find.hits().get(behind).or_else(|| find.hits().first().filter(|_| !find.is_running()));
    if let Some(hit) = found {
        show(view, hit);
    }
    if found.is_some() || !find.is_running() {
        bar.awaited = None;
    }
}

fn walk(shown: &Shown<'_>, bar: &mut FindBar, view: &mut View, is_next: bool) {
    let Some(find) = shown.find() else { return };
    bar.awaited = None;
    let at = view.selection().map_or(VirtAddr(0), |selection| selection.start);
    let found = if is_next { find.next_after(at) } else { find.last_before(at) };
    if let Some(hit) = found.and_then(|found| find.hits().get(found)) {
        show(view, hit);
    }
}

/// Selects a hit, the cursor on its first byte.
fn show(view: &mut View, hit: &std::ops::Range<VirtAddr>) {
    let last = VirtAddr(hit.end.0.saturating_sub(1));
    view.cursor = Some(hit.start);
    view.anchor = (last != hit.start).then_some(last);
    view.reveal = Some(Reveal::Place(hit.start));
}

pub(super) fn bar_ui(ui: &mut Ui, shown: &Shown<'_>, bar: &mut FindBar, view: &mut View, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let row = ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.set_min_height(30.0);
        ui.add_space(SPACE_S);
        let edit = TextEdit::singleline(&mut bar.text)
            .hint_text("Find text, or bytes as 7f 45 ?? 4c")
            .font(tokens::mono_font())
            .desired_width(236.0);
        let response = ui.add(edit);
        if std::mem::take(&mut bar.wants_focus) {
            response.request_focus();
        }
        if response.changed() {
            bar.wrong.clear();
        }
        let (enter, is_back, escape) =
            ui.input(|input| (input.key_pressed(Key::Enter), input.modifiers.shift, input.key_pressed(Key::Escape)));
        let enter = response.lost_focus() && enter;
        if enter {
            response.request_focus();
        }
        if toggle_button(ui, icons::LETTER_CASE, "Letters in either case", bar.is_any_case).clicked() {
            bar.is_any_case = !bar.is_any_case;
        }
        let query = Query { text: bar.text.clone(), is_any_case: bar.is_any_case };
        let is_known = shown.find().is_some_and(|find| *find.query() == query);
        let next = icon_button(ui, icons::CARET_DOWN, "Next hit (F4)").clicked();
        let previous = icon_button(ui, icons::CARET_UP, "Previous hit (Shift+F4)").clicked();
        if next || previous || enter {
            if is_known {
                walk(shown, bar, view, !(previous || enter && is_back));
            } else {
                match query.pattern() {
                    Ok(_) if !query.text.is_empty() => {
                        bar.wrong.clear();
                        bar.awaited = Some(view.cursor.unwrap_or_default());
                        commands.push(FindCommand::Start { pid: shown.pid, query }.into());
                    }
                    Ok(_) => {}
                    Err(err) => bar.wrong = err.to_string(),
                }
            }
        }
        ui.add_space(SPACE_XS);
        let close = icon_button(ui, icons::CLOSE, "Close find").clicked();
        if close || (escape && (response.has_focus() || response.lost_focus())) {
            view.wants_focus = true;
            commands.extend(bar.close());
        }
        let (note, help, is_wrong) = note(shown, bar, view);
        let color = if is_wrong { tokens.error } else { tokens.muted };
        let label = ui.add(egui::Label::new(RichText::new(note).color(color)).truncate());
        if !help.is_empty() {
            label.on_hover_text(help);
        }
    });
    let y = row.response.rect.bottom();
    ui.painter().hline(ui.max_rect().x_range(), y - 0.5, egui::Stroke::new(1.0, tokens.line));
}

/// How it stands: words, more words, whether it is an error.
fn note(shown: &Shown<'_>, bar: &FindBar, view: &View) -> (String, String, bool) {
    if !bar.wrong.is_empty() {
        return (bar.wrong.clone(), String::new(), true);
    }
    let Some(find) = shown.find() else { return (String::new(), String::new(), false) };
    if let Some(why) = find.failed() {
        return (why.to_owned(), String::new(), true);
    }
    (status(find, view), missing(find), false)
}

fn status(find: &Find, view: &View) -> String {
    let count = find.hits().len();
    let what = if find.query().is_hex() { "bytes" } else { "text" };
    let mut out = match count {
        0 if find.is_running() => String::new(),
        0 => format!("this {what} is not in the memory"),
        _ => {
            let at = view.cursor.unwrap_or_default();
            let current = find.hits().binary_search_by_key(&at, |hit| hit.start);
            match current {
                Ok(current) => format!("{} of {}", text::grouped(current as u64 + 1), text::grouped(count as u64)),
                Err(_) => text::counted(count, "hit", "hits"),
            }
        }
    };
    if find.is_running() {
        let share = find.progress().fraction().map_or(String::new(), |share| format!(" {:.0} %", share * 100.0));
        out = format!("{out}{}searching{share}…", if out.is_empty() { "" } else { ", " });
    } else if find.summary().is_cut {
        out.push_str(", the rest is not listed");
    }
    if !find.is_running() && find.summary().missing_bytes > 0 {
        out = format!("{out} · {} not in the checkpoint", text::bytes(find.summary().missing_bytes));
    }
    out
}

fn missing(find: &Find) -> String {
    match find.summary().missing_bytes {
        0 => String::new(),
        bytes => format!(
            "{} of mapped memory is not in the checkpoint, and was not searched: clean pages of files above all",
            text::bytes(bytes)
        ),
    }
}
