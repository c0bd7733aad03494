//! Hits in view: address, rule, match with its context.

use egui::text::{LayoutJob, TextFormat};
use egui::{Align2, Color32, FontId, Id, Key, Rect, Role, ScrollArea, Sense, Stroke, Ui, Vec2, WidgetInfo};

use super::tree::{HitTree, Row};
use super::visit;
use crate::base::hex;
use crate::memory::search::Source;
use crate::report::search::{HitLine, KeptHit};
use crate::session::search::query::{masked, printable};
use crate::session::search::{Owner, SearchSession, SearchState, target_of};
use crate::session::{Command, OpenArchive};
use crate::ui::icons::{self, Icon};
use crate::ui::text::{counted, grouped};
use crate::ui::tokens::{self, INDENT, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{ListRow, empty_state, list_focus, walk};

/// Height of a row in points.
const ROW: f32 = 22.0;
/// Most letters of a match that are drawn.
const MAX_LETTERS: usize = 400;

pub(super) fn hits_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    session: &SearchSession,
    tree: &mut HitTree,
    hides: bool,
    commands: &mut Vec<Command>,
) {
    if session.current() != tree.shown_hit
        && let Some(hit) = session.current()
    {
        tree.reveal(session, hit);
    }
    if !tree.update(archive.id(), session) {
        ui.ctx().request_repaint();
    }
    if tree.rows.is_empty() {
        nothing_ui(ui, session, tree);
        return;
    }
    if session.current() != tree.shown_hit {
        tree.shown_hit = session.current();
        tree.selected = session.current().map(Row::Hit);
        tree.scroll_to = tree.selected.and_then(|row| tree.position(session, row));
    }
    let id = ui.scope_id().with("hits");
    let rect = ui.available_rect_before_wrap();
    let focus = list_focus(ui, id, rect, "Hits");
    if focus.has_focus() {
        keys(ui, archive, session, tree, rect.height(), commands);
    }
    let mut area = ScrollArea::vertical().id_salt(("hits of", session.id().0)).auto_shrink(false);
    if let Some(at) = tree.scroll_to.take() {
        let top = at as f32 * ROW;
        if top < tree.offset || top + ROW > tree.offset + rect.height() {
            area = area.vertical_scroll_offset((top - rect.height() / 3.0).max(0.0));
        }
    }
    let output = area.show_rows(ui, ROW, tree.rows.len(), |ui, range| {
        for at in range {
            let Some(row) = tree.rows.get(at).copied() else { break };
            match row {
                Row::Owner(_) | Row::Part(_) => group_ui(ui, archive, session, tree, row, id),
                Row::Hit(nr) => {
                    if let Some(hit) = session.hits().get(nr) {
                        hit_ui(ui, archive, session, tree, (nr, hit), (id, hides), commands);
                    }
                }
            }
        }
    });
    tree.offset = output.state.clamped_offset().y;
}

/// Why there are no rows.
fn nothing_ui(ui: &mut Ui, session: &SearchSession, tree: &HitTree) {
    if !session.hits().is_empty() && !tree.needle.is_empty() {
        empty_state(ui, icons::FILTER, "No hit matches the filter", "Press Escape in the filter to clear it.");
        return;
    }
    match session.state() {
        SearchState::Running => {}
        SearchState::Failed(_) => {
            empty_state(
                ui,
                icons::ERROR,
                "The search could not be run",
                "The line above says why; correct it and search again.",
            );
        }
        state => {
            let title = if *state == SearchState::Done {
                "Nothing was found"
            } else {
                "Nothing was found until it was stopped"
            };
            let hint = if session.skipped().line().is_some() {
                "Not everything is in the checkpoint: see what was not searched, above."
            } else if session.request().scope.sources.is_empty() && session.request().scope.pid.is_none() {
                "All that is in the archive was searched. Try without case, or as UTF-16."
            } else {
                "Only a part of the archive was searched: choose all processes and every source for more."
            };
            empty_state(ui, icons::SEARCH, title, hint);
        }
    }
}

fn keys(
    ui: &Ui,
    archive: &OpenArchive,
    session: &SearchSession,
    tree: &mut HitTree,
    height: f32,
    commands: &mut Vec<Command>,
) {
    let at = tree.selected.and_then(|row| tree.position(session, row));
    let (left, right, enter, copy) = ui.input(|input| {
        let copy = input.events.iter().any(|event| matches!(event, egui::Event::Copy));
        (input.key_pressed(Key::ArrowLeft), input.key_pressed(Key::ArrowRight), input.key_pressed(Key::Enter), copy)
    });
    if let Some(to) = walk(ui, at, tree.rows.len(), height) {
        tree.selected = tree.rows.get(to).copied();
        tree.scroll_to = Some(to);
        if let Some(Row::Hit(nr)) = tree.selected {
            tree.shown_hit = Some(nr);
            commands.push(visit(session.id(), nr, false));
        }
        return;
    }
    let Some(row) = tree.selected else { return };
    match row {
        Row::Hit(nr) if enter => commands.push(visit(session.id(), nr, true)),
        Row::Hit(nr) if copy => {
            commands
                .extend(session.hits().get(nr).map(|hit| Command::copy("match", session.request().query.text_of(hit))));
        }
        Row::Hit(_) if left => tree.selected = HitTree::parent(session, row),
        Row::Owner(_) | Row::Part(_) if left => {
            if tree.is_open(session.id(), row) {
                tree.set_open(session.id(), row, false);
            } else {
                tree.selected = HitTree::parent(session, row).or(Some(row));
            }
        }
        Row::Owner(_) | Row::Part(_) if right || enter => {
            tree.set_open(session.id(), row, !enter || !tree.is_open(session.id(), row));
        }
        _ => {}
    }
    if left {
        tree.update(archive.id(), session);
        tree.scroll_to = tree.selected.and_then(|row| tree.position(session, row));
    }
}

/// A process or a kind of source; a map or a file.
fn group_ui(ui: &mut Ui, archive: &OpenArchive, session: &SearchSession, tree: &mut HitTree, row: Row, focus: Id) {
    let hits = session.hits();
    let is_open = tree.is_open(session.id(), row);
    let group = match row {
        Row::Owner(nr) => hits.groups().get(nr).map(|group| {
            let (icon, label) = owner_label(archive, group.owner);
            (group.hits.clone(), icon, label, String::new(), 0)
        }),
        Row::Part(nr) => hits.parts().get(nr).map(|part| {
            let (label, detail) = hits.get(part.hits.start).map(part_label).unwrap_or_default();
            (part.hits.clone(), "", label, detail, 1)
        }),
        Row::Hit(_) => None,
    };
    let Some((range, icon, label, detail, depth)) = group else { return };
    let count = grouped(range.len() as u64);
    let name = format!("{label}, {}", counted(range.len(), "hit", "hits"));
    let mut shown = ListRow::new(&label)
        .name(&name)
        .secondary(&detail)
        .trailing(&count)
        .branch(Some(is_open))
        .depth(depth)
        .height(ROW)
        .selected(tree.selected == Some(row));
    if !icon.is_empty() {
        shown = shown.icon(icon, Tone::Neutral);
    } else {
        shown = shown.mono();
    }
    let response = shown.show(ui).response;
    if response.clicked() {
        tree.selected = Some(row);
        tree.set_open(session.id(), row, !is_open);
        ui.memory_mut(|memory| memory.request_focus(focus));
    }
}

fn owner_label(archive: &OpenArchive, owner: Owner) -> (Icon, String) {
    match owner {
        Owner::Process(pid) => {
            let process = archive.checkpoint().process(pid);
            let comm = process.map(|process| process.comm_label().to_string()).unwrap_or_default();
            (icons::PROCESS, format!("{pid} {comm}"))
        }
        Owner::Source(source) => {
            let (icon, title) = match source {
                Source::Memory => (icons::MEMORY, "Memory"),
                Source::Pipe => (icons::PIPE, "Pipes"),
                Source::Socket => (icons::SOCKET, "Sockets"),
                Source::Ghost => (icons::GHOST, "Deleted files"),
                Source::Tmpfs => (icons::FILE, "Files of tmpfs"),
                Source::Memfd => (icons::MEMORY, "Memfds"),
                Source::Shm => (icons::MEMORY, "Shared memory"),
                Source::Rootfs => (icons::FOLDER, "Changed files"),
                Source::Metadata => (icons::DOCUMENT, "Spec, configuration, logs"),
                Source::Image => (icons::IMAGES, "Images"),
            };
            (icon, title.to_owned())
        }
    }
}

/// Name of a map or file, and what else is known of it.
fn part_label(hit: &KeptHit) -> (String, String) {
    let name = hit.name.label();
    let name = if name.is_empty() { format!("({})", hit.kind.unwrap_or("all of it")) } else { name };
    let detail = match (&hit.perms, hit.map_start, hit.pid) {
        (Some(perms), Some(start), _) => format!("{perms}  from {start}  {}", hit.kind.unwrap_or_default()),
        (_, _, Some(pid)) if hit.source != Source::Memory => format!("open in process {pid}"),
        _ => String::new(),
    };
    (name, detail)
}

/// The address, or the offset in a queue or file.
fn at_label(hit: &KeptHit) -> String {
    match hit.vaddr {
        Some(vaddr) => vaddr.to_string(),
        None if hit.len_bytes == 0 => "all of it".to_owned(),
        None => format!("+{:#x}", hit.offset),
    }
}

fn hit_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    session: &SearchSession,
    tree: &mut HitTree,
    (nr, hit): (usize, &KeptHit),
    (focus, hides): (Id, bool),
    commands: &mut Vec<Command>,
) {
    let tokens = Tokens::get(ui);
    let (rect, response) = ui.allocate_exact_size(Vec2::new(ui.available_width(), ROW), Sense::click());
    let is_current = session.current() == Some(nr);
    let at = at_label(hit);
    let text = session.request().query.text_of(hit);
    let text = if hides { masked(&text) } else { text };
    let rule = hit.label.as_ref().map(|label| match &label.pattern {
        Some(pattern) => format!("{} {pattern}", label.rule),
        None => label.rule.clone(),
    });
    let rule = rule.map(|rule| crate::base::escape_controls(&rule).into_owned());
    response.widget_info(|| {
        let short: String = text.chars().take(80).collect();
        let name = [Some(at.as_str()), rule.as_deref(), Some(short.as_str())];
        let name = name.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let mut info = WidgetInfo::selected(Role::Row, true, is_current, name);
        info.role = Role::Row;
        info
    });
    if is_current {
        ui.painter().rect_filled(rect, 0.0, tokens.selected);
        let bar = Rect::from_min_size(rect.min, Vec2::new(2.0, rect.height()));
        ui.painter().rect_filled(bar, 0.0, tokens.accent);
    } else if response.hovered() {
        ui.painter().rect_filled(rect, 0.0, tokens.hover);
    }
    let font = tokens::mono_font();
    let char_width = ui.ctx().fonts_mut(|fonts| fonts.glyph_width(&font, '0')).max(1.0);
    let mut x = rect.left() + SPACE_XS + 2.0 * INDENT + 16.0;
    let link = at_ui(ui, rect, x, nr, &at);
    x += char_width * (at.chars().count().max(14) + 1) as f32;
    if let Some(rule) = &rule {
        let width = (char_width * 24.0).min(rect.width() * 0.25);
        cut(ui, rect, x, width, rule, tokens::small_font(), tokens.strong);
        x += width + SPACE_S;
    }
    let mut right = rect.right() - SPACE_S;
    if let Some(note) = hit.label.as_ref().and_then(|label| label.note.as_deref()) {
        let width = (rect.width() * 0.34).min((right - x) * 0.5).max(0.0);
        let note = crate::base::escape_controls(note);
        let used = cut(ui, rect, right - width, width, &note, tokens::small_font(), tokens.muted);
        right -= width.max(used) + SPACE_S;
    }
    let room = (((right - x) / char_width) as usize).min(MAX_LETTERS);
    let job = context(hit, &text, room, hides, &font, tokens);
    let galley = ui.painter().layout_job(job);
    let clip = Rect::from_min_max(egui::pos2(x, rect.top()), egui::pos2(right, rect.bottom()));
    ui.painter().with_clip_rect(clip.intersect(ui.clip_rect())).galley(
        egui::pos2(x, rect.center().y - galley.size().y / 2.0),
        galley,
        Color32::PLACEHOLDER,
    );
    if link || response.double_clicked() {
        commands.push(visit(session.id(), nr, true));
    } else if response.clicked() {
        tree.shown_hit = Some(nr);
        tree.selected = Some(Row::Hit(nr));
        commands.push(visit(session.id(), nr, false));
        ui.memory_mut(|memory| memory.request_focus(focus));
    }
    response.context_menu(|ui| menu_ui(ui, archive, session, (nr, hit), commands));
    if response.hovered() && hit.place.is_some() {
        response.on_hover_ui_at_pointer(|ui| tip_ui(ui, hit, &text));
    }
}

/// Address as a link; whether it was clicked.
fn at_ui(ui: &Ui, row: Rect, x: f32, nr: usize, at: &str) -> bool {
    let tokens = Tokens::get(ui);
    let at_pos = egui::pos2(x, row.center().y);
    let drawn = ui.painter().text(at_pos, Align2::LEFT_CENTER, at, tokens::mono_font(), tokens.accent);
    let link = ui.interact(drawn, ui.scope_id().with(("at", nr)), Sense::click());
    link.widget_info(|| WidgetInfo::labeled(Role::Link, true, at));
    if link.hovered() {
        ui.painter().hline(drawn.x_range(), drawn.bottom() - 1.0, Stroke::new(1.0, tokens.accent));
    }
    link.on_hover_cursor(egui::CursorIcon::PointingHand).clicked()
}

/// One line, cut with an ellipsis; its width.
fn cut(ui: &Ui, row: Rect, x: f32, width: f32, text: &str, font: FontId, color: Color32) -> f32 {
    let mut job = LayoutJob::simple_singleline(text.to_owned(), font, color);
    job.wrap = egui::text::TextWrapping::truncate_at_width(width.max(0.0));
    let galley = ui.painter().layout_job(job);
    let size = galley.size();
    ui.painter().galley(egui::pos2(x, row.center().y - size.y / 2.0), galley, color);
    size.x
}

/// The match with what stands around it, in so many letters; the match comes first when there is little room.
fn context(hit: &KeptHit, text: &str, room: usize, hides: bool, font: &FontId, tokens: &Tokens) -> LayoutJob {
    let letters = text.chars().count();
    let around = room.saturating_sub(letters);
    let nr_before = hit.before.len().min(around / 3).min(16);
    let before = hit.before.get(hit.before.len() - nr_before..).unwrap_or_default();
    let mut job = LayoutJob::default();
    let plain = TextFormat::simple(font.clone(), tokens.muted);
    let marked = TextFormat {
        background: tokens.highlight,
        color: tokens.strong,
        ..TextFormat::simple(font.clone(), tokens.strong)
    };
    // What stands around a secret may be the rest of it.
    if hides {
        job.append(text, 0.0, marked);
        return job;
    }
    job.append(&printable(before), 0.0, plain.clone());
    let shown: String = text.chars().take(room.max(8)).collect();
    job.append(&shown, 0.0, marked);
    let is_cut = letters > shown.chars().count() || (hit.bytes.len() as u64) < hit.len_bytes;
    if is_cut {
        job.append("…", 0.0, plain);
    } else {
        job.append(&printable(&hit.after), 0.0, plain);
    }
    job.wrap.max_rows = 1;
    job.wrap.max_width = f32::INFINITY;
    job
}

fn tip_ui(ui: &mut Ui, hit: &KeptHit, text: &str) {
    ui.set_max_width(560.0);
    let shown: String = text.chars().take(600).collect();
    ui.label(egui::RichText::new(shown).font(tokens::mono_font()));
    let (name, detail) = part_label(hit);
    let place = hit.place.as_ref().map(ToString::to_string).unwrap_or_default();
    let size = counted(usize::try_from(hit.len_bytes).unwrap_or(usize::MAX), "byte", "bytes");
    let line = format!("{} {name} {detail}\n{size}, at {place}", at_label(hit));
    ui.label(egui::RichText::new(line).font(tokens::small_font()).color(Tokens::get(ui).muted));
    if let Some(note) = hit.label.as_ref().and_then(|label| label.note.as_deref()) {
        ui.label(crate::base::escape_controls(note).into_owned());
    }
}

fn menu_ui(
    ui: &mut Ui,
    archive: &OpenArchive,
    session: &SearchSession,
    (nr, hit): (usize, &KeptHit),
    commands: &mut Vec<Command>,
) {
    ui.set_width(220.0);
    ui.spacing_mut().item_spacing.y = 0.0;
    let mut row = |ui: &mut Ui, icon: Icon, label: &str, command: &dyn Fn() -> Command| {
        if ListRow::new(label).icon(icon, Tone::Neutral).flat().show(ui).response.clicked() {
            commands.push(command());
            ui.close();
        }
    };
    if let Some(target) = target_of(archive.checkpoint(), hit) {
        let label = if hit.vaddr.is_some() {
            "Show in memory".to_owned()
        } else {
            format!("Show in {}", target.panel().title())
        };
        row(ui, icons::FORWARD, &label, &|| visit(session.id(), nr, true));
    }
    ui.separator();
    let query = &session.request().query;
    row(ui, icons::COPY, "Copy match as text", &|| Command::copy("match", query.text_of(hit)));
    row(ui, icons::COPY, "Copy match as hex", &|| Command::copy("match as hex", hex(&hit.bytes)));
    row(ui, icons::COPY, "Copy address", &|| Command::copy("address", at_label(hit)));
    row(ui, icons::COPY, "Copy row as JSON", &|| {
        Command::copy("row as JSON", serde_json::to_string(&HitLine::of(hit)).unwrap_or_default())
    });
}
