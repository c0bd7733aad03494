//! What to search for, and where.

use egui::{Align, Key, Layout, RichText, TextEdit, Ui};

use super::sessions::note_ui;
use crate::base::Pid;
use crate::checkpoint::memory_map::VmaKind;
use crate::memory::search::{Encoding, Scope, Source, VmaFilter};
use crate::session::search::{Query, QueryKind, RulesState, SearchRequest};
use crate::session::{ArchiveId, Command, OpenArchive, SearchCommand};
use crate::ui::tokens::{self, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{icon_button, primary_button, tab_strip};
use crate::ui::{icons, text};

/// Most warnings of the compiler that are shown.
const MAX_WARNINGS: usize = 3;

/// What is typed and chosen.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) query: Query,
    pub(super) is_of_process: bool,
    sources: Vec<Source>,
    kinds: Vec<String>,
    perms: String,
    map: String,
    is_scope_open: bool,
    pub(super) wants_focus: bool,
    checked: Option<(ArchiveId, SearchRequest, Option<String>)>,
}

impl Form {
    fn request(&self, archive: &OpenArchive) -> SearchRequest {
        let some = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let vmas = VmaFilter { map: some(&self.map), perms: some(&self.perms), kinds: self.kinds.clone(), range: None };
        let pid: Option<Pid> = archive.selected_pid().filter(|_| self.is_of_process);
        let query = Query { rules: archive.searches().rules().to_vec(), ..self.query.clone() };
        SearchRequest { query, scope: Scope { sources: self.sources.clone(), pid, vmas } }
    }

    /// What is wrong with a request; looked at again only when it has changed.
    fn problem(&mut self, archive: &OpenArchive, request: &SearchRequest) -> Option<String> {
        let is_known = self.checked.as_ref().is_some_and(|(id, known, _)| *id == archive.id() && known == request);
        if !is_known {
            self.checked = Some((archive.id(), request.clone(), request.problem(archive.checkpoint())));
        }
        self.checked.as_ref().and_then(|(_, _, problem)| problem.clone())
    }
}

pub(super) fn form_ui(ui: &mut Ui, archive: &OpenArchive, form: &mut Form, commands: &mut Vec<Command>) {
    let kinds: Vec<QueryKind> = QueryKind::all().collect();
    let tabs: Vec<_> = kinds.iter().map(|kind| (kind.title(), 0)).collect();
    let current = kinds.iter().position(|kind| *kind == form.query.kind).unwrap_or_default();
    let chosen = tab_strip(ui, &tabs, current);
    if chosen != current
        && let Some(kind) = kinds.get(chosen)
    {
        form.query.kind = *kind;
        form.wants_focus = kind.has_text();
    }
    let request = form.request(archive);
    let problem = form.problem(archive, &request);
    // An empty field is not wrong yet.
    let is_empty = form.query.kind.has_text() && form.query.text.is_empty();
    let is_yara = form.query.kind == QueryKind::Yara;
    let is_wrong_rule = is_yara && matches!(archive.searches().rules_state(), RulesState::Wrong(_));
    let wrong = problem.as_ref().filter(|_| !is_empty && form.query.kind != QueryKind::Yara);
    ui.add_space(SPACE_XS);
    let mut is_asked = false;
    ui.allocate_ui_with_layout(egui::vec2(ui.available_width(), 30.0), Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = SPACE_XS;
        ui.add_space(SPACE_S);
        let can_search = problem.is_none() && !is_wrong_rule;
        let button = ui.add_enabled_ui(can_search, |ui| primary_button(ui, icons::SEARCH, "Search"));
        is_asked |= button.inner.clicked();
        scope_button(ui, form, &request);
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            is_asked |= query_ui(ui, archive, form, commands);
        });
    });
    if let Some(why) = wrong {
        ui.horizontal(|ui| {
            ui.add_space(SPACE_S + 2.0);
            let why = RichText::new(crate::base::escape_controls(why)).color(Tokens::get(ui).error);
            ui.add(egui::Label::new(why).truncate());
        });
    }
    if is_yara {
        rules_ui(ui, archive);
    }
    if form.is_scope_open {
        scope_ui(ui, archive, form);
    }
    ui.add_space(SPACE_XS);
    let y = ui.cursor().top() - 0.5;
    ui.painter().hline(ui.max_rect().x_range(), y, egui::Stroke::new(1.0, Tokens::get(ui).line));
    if is_asked {
        // Enter may come in the frame of the last letter.
        let request = form.request(archive);
        if form.problem(archive, &request).is_none() && !is_wrong_rule {
            commands.push(SearchCommand::Start(request).into());
        }
    }
}

/// What the compiler says of the rules that were chosen.
fn rules_ui(ui: &mut Ui, archive: &OpenArchive) {
    let tokens = Tokens::get(ui);
    let searches = archive.searches();
    match searches.rules_state() {
        RulesState::Wrong(why) => note_ui(ui, icons::ERROR, tokens.error, why),
        RulesState::Right { nr_rules, warnings } => {
            let files = text::counted(searches.rules().len(), "file", "files");
            let rules = text::counted(*nr_rules, "rule", "rules");
            note_ui(ui, icons::SUCCESS, tokens.success, &format!("{rules} in {files}, ready to search with"));
            for warning in warnings.iter().take(MAX_WARNINGS) {
                note_ui(ui, icons::ISSUE, tokens.warning, warning);
            }
            if warnings.len() > MAX_WARNINGS {
                let more = text::counted(warnings.len() - MAX_WARNINGS, "more warning", "more warnings");
                note_ui(ui, icons::ISSUE, tokens.warning, &more);
            }
        }
        RulesState::Unchecked if searches.is_checking_rules() => {
            note_ui(ui, icons::CLOCK, tokens.muted, "Compiling the rules…");
        }
        RulesState::Unchecked => {}
    }
}

/// Field, or what takes its place; whether Enter was pressed.
fn query_ui(ui: &mut Ui, archive: &OpenArchive, form: &mut Form, commands: &mut Vec<Command>) -> bool {
    let tokens = Tokens::get(ui);
    let kind = form.query.kind;
    let muted = |text: &str| RichText::new(text).color(tokens.muted);
    match kind {
        QueryKind::Secrets => {
            ui.add(
                egui::Label::new(muted("Keys, tokens, private keys, connection strings, password hashes")).truncate(),
            );
            false
        }
        QueryKind::Yara => {
            if crate::ui::widgets::button(ui, icons::FOLDER_OPEN, "Choose rules…").clicked() {
                commands.push(SearchCommand::ChooseRules.into());
            }
            if !archive.searches().rules().is_empty() {
                let help = "Compile the rules again, as when the window gets the keyboard back";
                if icon_button(ui, icons::RESET, help).clicked() {
                    commands.push(SearchCommand::CheckRules.into());
                }
            }
            let names: Vec<_> = archive.searches().rules().iter().map(|path| path.display().to_string()).collect();
            let names = if names.is_empty() { "No files of rules are chosen".to_owned() } else { names.join(", ") };
            ui.add(egui::Label::new(muted(&crate::base::escape_controls(&names))).truncate());
            false
        }
        QueryKind::Strings => {
            strings_ui(ui, &mut form.query);
            false
        }
        _ => text_ui(ui, form),
    }
}

fn text_ui(ui: &mut Ui, form: &mut Form) -> bool {
    let kind = form.query.kind;
    let case_space = if kind.has_case() { 84.0 } else { 0.0 };
    let edit = TextEdit::singleline(&mut form.query.text)
        .id(ui.scope_id().with("query"))
        .hint_text(kind.hint())
        .font(tokens::mono_font())
        .margin(egui::Margin::symmetric(8, 5))
        .desired_width((ui.available_width() - case_space - 2.0 * SPACE_S).max(60.0));
    let response = ui.add(edit);
    if std::mem::take(&mut form.wants_focus) {
        response.request_focus();
        let len = form.query.text.chars().count();
        let mut state = egui::text_edit::TextEditState::load(ui.ctx(), response.id).unwrap_or_default();
        let all = egui::text::CCursorRange::two(egui::text::CCursor::new(0), egui::text::CCursor::new(len));
        state.cursor.set_char_range(Some(all));
        state.store(ui.ctx(), response.id);
    }
    if kind.has_case() {
        let help = "Upper and lower case are the same";
        if chip(ui, form.query.any_case, "Ignore case", help) {
            form.query.any_case = !form.query.any_case;
        }
    }
    response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter))
}

fn strings_ui(ui: &mut Ui, query: &mut Query) {
    let label = ui.label("Letters at least");
    ui.add(egui::DragValue::new(&mut query.min_letters).range(1..=1000).speed(0.1)).labelled_by(label.id);
    ui.add_space(SPACE_S);
    for encoding in Encoding::ALL {
        let name = match encoding {
            Encoding::Ascii => "ASCII",
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16Le => "UTF-16",
        };
        if chip(ui, query.encodings.contains(&encoding), name, "How the letters are stored") {
            toggle(&mut query.encodings, encoding);
        }
    }
}

/// Says where is searched, and opens the rows that change it.
fn scope_button(ui: &mut Ui, form: &mut Form, request: &SearchRequest) {
    let place = request.place();
    let short: String =
        if place.chars().count() > 34 { place.chars().take(33).chain(['…']).collect() } else { place.clone() };
    let text = RichText::new(format!("in {short}")).color(Tokens::get(ui).text);
    let button = ui.add(egui::Button::new(text).selected(form.is_scope_open).min_size(egui::vec2(0.0, 27.0)));
    if button.on_hover_text(format!("Searches {place}\nClick to choose where")).clicked() {
        form.is_scope_open = !form.is_scope_open;
    }
}

fn scope_ui(ui: &mut Ui, archive: &OpenArchive, form: &mut Form) {
    ui.add_space(SPACE_XS);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(SPACE_XS, SPACE_XS);
        ui.add_space(SPACE_S);
        if chip(ui, !form.is_of_process, "All processes", "Search every process, and what belongs to none") {
            form.is_of_process = false;
        }
        if let Some(pid) = archive.selected_pid() {
            let process = archive.checkpoint().process(pid);
            let comm = process.map(|process| process.comm_label().to_string()).unwrap_or_default();
            let help = "Search the selected process: its memory, and queues and files that it has open";
            if chip(ui, form.is_of_process, &format!("Process {pid} {comm}"), help) {
                form.is_of_process = true;
            }
        }
        ui.add_space(SPACE_S);
        if chip(ui, form.sources.is_empty(), "Every source", "Memory, queues, files, images: all there is") {
            form.sources.clear();
        }
        for source in Source::ALL {
            if chip(ui, form.sources.contains(&source), source.word(), help_of(source)) {
                toggle(&mut form.sources, source);
                form.sources.sort();
            }
        }
    });
    ui.add_space(SPACE_XS);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(SPACE_XS, SPACE_XS);
        ui.add_space(SPACE_S);
        let kinds = if form.kinds.is_empty() { "All kinds of maps".to_owned() } else { form.kinds.join(", ") };
        ui.menu_button(format!("{kinds} …"), |ui| {
            for kind in VmaKind::ALL {
                let mut is_on = form.kinds.iter().any(|known| known == kind.word());
                if ui.checkbox(&mut is_on, kind.word()).changed() {
                    toggle(&mut form.kinds, kind.word().to_owned());
                }
            }
        });
        let perms = TextEdit::singleline(&mut form.perms).hint_text("Permissions: rwx").char_limit(4);
        ui.add(perms.desired_width(134.0))
            .on_hover_text("Letters that must be there, as rwx; r-xp also says what must not");
        let map = TextEdit::singleline(&mut form.map).hint_text("Part of the map's name, as [heap] or libc");
        ui.add(map.desired_width(280.0));
        let is_narrowed = !form.kinds.is_empty() || !form.perms.is_empty() || !form.map.is_empty();
        if is_narrowed {
            if icon_button(ui, icons::CLOSE, "Search every map").clicked() {
                form.kinds.clear();
                form.perms.clear();
                form.map.clear();
            }
            ui.label(RichText::new("memory only").color(Tokens::get(ui).muted));
        }
    });
}

fn help_of(source: Source) -> &'static str {
    match source {
        Source::Memory => "Address spaces of processes, once for each process that maps a page",
        Source::Pipe => "Unread bytes of pipes, fifos and terminals",
        Source::Socket => "Queues of sockets: sent, or not read yet",
        Source::Ghost => "Deleted files that were still open or mapped",
        Source::Tmpfs => "Files of tmpfs mounts, /dev/shm included",
        Source::Memfd => "Memfds: what no process maps of them, where memory is searched too",
        Source::Shm => "Shared memory: what no process maps of it, where memory is searched too",
        Source::Rootfs => "Changed files of the root filesystem, and volumes",
        Source::Metadata => "Runtime spec, configuration, logs",
        Source::Image => "Image files of CRIU: command lines, environment, paths as they are recorded",
    }
}

fn chip(ui: &mut Ui, is_on: bool, text: &str, help: &str) -> bool {
    let tokens = Tokens::get(ui);
    let text = RichText::new(text).font(tokens::small_font()).color(if is_on { tokens.accent } else { tokens.text });
    ui.add(egui::Button::selectable(is_on, text).min_size(egui::vec2(0.0, 22.0))).on_hover_text(help).clicked()
}

fn toggle<T: PartialEq>(all: &mut Vec<T>, one: T) {
    match all.iter().position(|known| *known == one) {
        Some(at) => {
            all.remove(at);
        }
        None => all.push(one),
    }
}
