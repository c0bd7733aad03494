//! The command palette: type a few letters, get actions and objects.

use egui::{Key, Modal, ScrollArea, TextEdit, Ui};

use super::tokens::{ROW_HEIGHT, SPACE_S, Tokens, Tone};
use super::widgets::ListRow;
use super::{icons, keys};
use crate::session::palette::{Answer, Finder};
use crate::session::{Command, Model, Object, ObjectKind, Target};

/// The palette while it is open.
#[derive(Debug)]
pub struct Palette {
    query: String,
    finder: Finder,
    at: usize,
    scroll_to: bool,
}

/// What one frame of the palette did.
#[derive(Debug, Default)]
pub struct PaletteResponse {
    /// What was chosen.
    pub commands: Vec<Command>,
    /// It is to be closed.
    pub is_closed: bool,
}

impl Palette {
    /// Opens with every action.
    pub fn new(model: &Model) -> Palette {
        let mut finder = Finder::new();
        finder.ask("", model);
        Palette { query: String::new(), finder, at: 0, scroll_to: false }
    }

    /// Draws it over everything.
    pub fn ui(&mut self, ctx: &egui::Context, model: &Model) -> PaletteResponse {
        let mut out = PaletteResponse::default();
        let objects = model.active().map(|archive| archive.objects()).unwrap_or_default();
        if self.finder.query() != self.query {
            self.finder.ask(&self.query, model);
            self.at = 0;
        }
        if self.finder.step(objects) {
            ctx.request_repaint();
        }
        let answers: Vec<Answer> = self.finder.answers().collect();
        let enter = self.take_keys(ctx, answers.len());
        let area = Modal::default_area(egui::Id::unique("palette")).anchor(egui::Align2::CENTER_TOP, [0.0, 90.0]);
        let backdrop = Tokens::of(&ctx.global_style().visuals).backdrop;
        let modal = Modal::new(egui::Id::unique("palette")).area(area).backdrop_color(backdrop).show(ctx, |ui| {
            ui.set_width(600.0_f32.min(ctx.content_rect().width() - 80.0));
            self.query_ui(ui);
            ui.add_space(SPACE_S);
            let chosen = self.answers_ui(ui, model, objects, &answers);
            let chosen = chosen.or(if enter { answers.get(self.at).copied() } else { None });
            if let Some(answer) = chosen {
                out.commands = commands_of(answer, model, objects);
                out.is_closed = true;
            }
        });
        out.is_closed |= modal.should_close();
        out
    }

    /// Arrows move, Enter chooses; taken before the text field sees them.
    fn take_keys(&mut self, ctx: &egui::Context, count: usize) -> bool {
        let last = count.saturating_sub(1);
        ctx.input_mut(|input| {
            let none = egui::Modifiers::NONE;
            for (key, step) in [(Key::ArrowDown, 1isize), (Key::ArrowUp, -1), (Key::PageDown, 10), (Key::PageUp, -10)] {
                if input.consume_key(none, key) {
                    self.at = self.at.saturating_add_signed(step).min(last);
                    self.scroll_to = true;
                }
            }
            self.at = self.at.min(last);
            input.consume_key(none, Key::Enter)
        })
    }

    fn query_ui(&mut self, ui: &mut Ui) {
        let edit = TextEdit::singleline(&mut self.query)
            .hint_text("Commands, processes, files, sockets, mounts, images, addresses")
            .font(egui::FontId::proportional(15.0))
            .margin(egui::Margin::symmetric(10, 7))
            .desired_width(f32::INFINITY);
        ui.add(edit).request_focus();
    }

    fn answers_ui(&mut self, ui: &mut Ui, model: &Model, objects: &[Object], answers: &[Answer]) -> Option<Answer> {
        let mut chosen = None;
        if answers.is_empty() {
            ui.add_space(SPACE_S);
            let text = if model.active().is_some() {
                "Nothing by that name."
            } else {
                "Nothing by that name. Objects are found once an archive is open."
            };
            ui.label(egui::RichText::new(text).color(Tokens::get(ui).muted));
            ui.add_space(SPACE_S);
            return None;
        }
        ui.spacing_mut().item_spacing.y = 0.0;
        let height = ROW_HEIGHT * 14.0;
        ScrollArea::vertical().max_height(height).min_scrolled_height(height).auto_shrink([false, true]).show(
            ui,
            |ui| {
                // At most 200 answers are kept, so that drawing all of them is cheap.
                for (at, answer) in answers.iter().enumerate() {
                    let row = self.answer_row(ui, *answer, objects, at == self.at);
                    if row.clicked() {
                        chosen = Some(*answer);
                    }
                    if at == self.at && self.scroll_to {
                        row.scroll_to_me(None);
                        self.scroll_to = false;
                    }
                }
            },
        );
        chosen
    }

    fn answer_row(&self, ui: &mut Ui, answer: Answer, objects: &[Object], is_selected: bool) -> egui::Response {
        match answer {
            Answer::Action(action) => {
                let key = keys::label(ui.ctx(), action);
                ListRow::new(action.name)
                    .icon(icons::of_action(action.id), if is_selected { Tone::Accent } else { Tone::Neutral })
                    .secondary(action.tooltip)
                    .trailing(&key)
                    .selected(is_selected)
                    .flat()
                    .show(ui)
                    .response
            }
            Answer::Address(pid, addr) => {
                let name = format!("Go to {addr} in process {pid}");
                ListRow::new(&name)
                    .icon(icons::MEMORY, if is_selected { Tone::Accent } else { Tone::Neutral })
                    .trailing("address")
                    .selected(is_selected)
                    .flat()
                    .show(ui)
                    .response
            }
            Answer::Object(at) => {
                let Some(object) = objects.get(at) else {
                    return ui.label("");
                };
                ListRow::new(&object.label)
                    .icon(icon_of(object.kind), if is_selected { Tone::Accent } else { Tone::Neutral })
                    .trailing(object.kind.word())
                    .selected(is_selected)
                    .flat()
                    .show(ui)
                    .response
            }
        }
    }
}

fn commands_of(answer: Answer, model: &Model, objects: &[Object]) -> Vec<Command> {
    match answer {
        Answer::Action(action) => action.commands(model),
        Answer::Address(pid, addr) => vec![Command::go(Target::Address { pid, addr })],
        Answer::Object(at) => objects.get(at).map(|object| Command::go(object.target.clone())).into_iter().collect(),
    }
}

fn icon_of(kind: ObjectKind) -> icons::Icon {
    match kind {
        ObjectKind::Process => icons::PROCESS,
        ObjectKind::File => icons::FILE,
        ObjectKind::Socket => icons::SOCKET,
        ObjectKind::Mount => icons::DEVICE,
        ObjectKind::Path => icons::FOLDER,
        ObjectKind::Document => icons::DOCUMENT,
        ObjectKind::Image => icons::IMAGES,
    }
}
