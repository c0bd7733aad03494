//! The stack of a thread: a row of two lines for each frame, and why there are no more.

use std::fmt::Write as _;
use std::sync::Arc;

use egui::{Align, Layout, Rect, RichText, Sense, Ui, UiBuilder};

use super::super::Shown;
use crate::base::{VirtAddr, escape_controls};
use crate::checkpoint::process::Thread;
use crate::memory::stack::{Frame, Stack};
use crate::session::space::stacks::{self, FoundBy, ThreadStack, ThreadStacks};
use crate::session::{ArchivesCommand, Command, Content, ContentKey, Requested, Target};
use crate::ui::icons;
use crate::ui::panels::address_rows::char_width;
use crate::ui::panels::base::attach_base_link;
use crate::ui::tokens::{self, SPACE_M, SPACE_S, SPACE_XS, Tokens};
use crate::ui::widgets::{Loading, icon_button, link_mono, mono_text, paint_icon, section_header};

/// Height of the row of a frame, in points.
const ROW: f32 = 37.0;
/// Where the address of a frame begins, in points.
const ADDRESS: f32 = 32.0;
/// Digits of an address, where none is longer.
const DIGITS: usize = 12;

/// What is known of the stacks of a process.
pub(super) enum Stacks {
    Ready(Arc<ThreadStacks>),
    Loading,
    Failed(String),
}

/// The stacks of the process, asked for when nobody has asked yet.
pub(super) fn request(shown: Shown<'_>, commands: &mut Vec<Command>) -> Stacks {
    let key = ContentKey::Stacks(shown.process.pid);
    match shown.archive.content(&key) {
        Some(Requested::Ready(Content::Stacks(stacks))) => Stacks::Ready(Arc::clone(stacks)),
        Some(Requested::Failed(why)) => Stacks::Failed(why.clone()),
        Some(_) => Stacks::Loading,
        None => {
            commands.push(ArchivesCommand::Read { archive: shown.archive.id(), key }.into());
            Stacks::Loading
        }
    }
}

pub(super) fn stack_ui(
    ui: &mut Ui,
    shown: Shown<'_>,
    thread: &Thread,
    stacks: &Stacks,
    loading: &mut Option<Loading>,
    commands: &mut Vec<Command>,
) {
    let title = format!("Stack of thread {}", thread.tid);
    let stacks = match stacks {
        Stacks::Ready(stacks) => stacks,
        Stacks::Loading => {
            section_header(ui, &title, "");
            loading.get_or_insert_with(Loading::start).show(ui, "Reading symbols and unwinding…");
            return;
        }
        Stacks::Failed(why) => {
            section_header(ui, &title, "");
            note(ui, &format!("The stacks could not be unwound: {why}"), true);
            return;
        }
    };
    *loading = None;
    match stacks.of(thread.tid) {
        Some(ThreadStack::Unwound(stack)) => frames_ui(ui, shown, &title, stack, commands),
        why => {
            section_header(ui, &title, "");
            let text = match why {
                Some(ThreadStack::NoRegisters) => "The dump has no registers of this thread.".to_owned(),
                Some(ThreadStack::UnknownArch(arch)) => {
                    format!("Stacks of {arch} are not unwound; those of x86-64 and AArch64 are.")
                }
                _ => "The threads before this one have so many frames that those of this one were left out.".to_owned(),
            };
            note(ui, &text, false);
        }
    }
}

fn note(ui: &mut Ui, text: &str, is_bad: bool) {
    let tokens = Tokens::get(ui);
    let color = if is_bad { tokens.error } else { tokens.muted };
    ui.add(egui::Label::new(RichText::new(escape_controls(text)).color(color)).wrap());
}

fn frames_ui(ui: &mut Ui, shown: Shown<'_>, title: &str, stack: &Stack, commands: &mut Vec<Command>) {
    let count = crate::ui::text::counted(stack.frames.len(), "frame", "frames");
    let header = ui.cursor().min;
    section_header(ui, title, &format!("{count}, the innermost first"));
    let copy = Rect::from_min_size(egui::pos2(ui.max_rect().right() - 24.0, header.y - 5.0), egui::vec2(24.0, 24.0));
    ui.scope_builder(UiBuilder::new().max_rect(copy), |ui| {
        if icon_button(ui, icons::COPY, "Copy the stack as text").clicked() {
            commands.push(Command::copy("stack", as_text(shown, stack)));
        }
    });
    let space = shown.archive.memory().space(shown.process.pid).ok();
    let name = ADDRESS + digits_of(stack) as f32 * char_width(ui) + SPACE_M;
    ui.spacing_mut().item_spacing.y = 0.0;
    ui.add_space(SPACE_XS);
    for nr in 0..stack.frames.len() {
        let (rect, _) = ui.allocate_exact_size(egui::vec2(ui.available_width(), ROW), Sense::hover());
        // Of many frames only those in view are laid out.
        if ui.is_rect_visible(rect) {
            let mut row = ui.new_child(UiBuilder::new().max_rect(rect).id_salt(("frame", nr)));
            frame_ui(&mut row, shown, (rect, name), stack, nr, commands);
        }
    }
    let Some(space) = space else { return };
    let end = stacks::end_reason(&space, stack, shown.archive.has_base());
    let tokens = Tokens::get(ui);
    ui.add_space(SPACE_XS);
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        let (rect, _) = ui.allocate_exact_size(egui::vec2(24.0, 18.0), Sense::hover());
        let (icon, color) = if end.is_loss { (icons::ISSUE, tokens.warning) } else { (icons::SUCCESS, tokens.success) };
        paint_icon(ui, rect, icon, 14.0, color);
        ui.vertical(|ui| {
            let words = RichText::new(escape_controls(&end.text)).color(tokens.text);
            ui.add(egui::Label::new(words).wrap().selectable(true));
            if end.wants_base {
                attach_base_link(ui, shown.archive, commands);
            }
        });
    });
    ui.add_space(SPACE_S);
}

/// The row of a frame over a rectangle; its name begins so many points from the left.
fn frame_ui(
    ui: &mut Ui,
    shown: Shown<'_>,
    (rect, name_at): (Rect, f32),
    stack: &Stack,
    nr: usize,
    commands: &mut Vec<Command>,
) {
    let Some(frame) = stack.frames.get(nr) else { return };
    let found = FoundBy::of(stack, nr);
    let tokens = Tokens::get(ui);
    let pid = shown.process.pid;
    if nr % 2 == 1 {
        ui.painter().rect_filled(rect, 3.0, tokens.stripe);
    }
    let line = |from: f32, to: f32, top: f32| {
        let min = egui::pos2(rect.left() + from, rect.top() + top);
        Rect::from_min_max(min, egui::pos2(to.max(min.x), min.y + 17.0))
    };
    let number = egui::pos2(rect.left() + 22.0, rect.top() + 10.5);
    ui.painter().text(number, egui::Align2::RIGHT_CENTER, nr.to_string(), tokens::mono_font(), tokens.muted);
    let vma = shown.process.memory.known().and_then(|memory| memory.vma_at(frame.addr));
    let right = rect.right() - 34.0;
    if vma.is_some() {
        let button = Rect::from_min_size(egui::pos2(right + 6.0, rect.top() + 6.0), egui::vec2(24.0, 24.0));
        ui.scope_builder(UiBuilder::new().max_rect(button), |ui| {
            if icon_button(ui, icons::CODE, &format!("Disassemble at {}", frame.addr)).clicked() {
                commands.push(Command::go(Target::Code { pid, addr: frame.addr }));
            }
        });
    }
    ui.scope_builder(UiBuilder::new().max_rect(line(ADDRESS, rect.left() + name_at, 2.0)), |ui| {
        let label = format!("{:0DIGITS$x}", frame.addr.0);
        if vma.is_some() {
            if link_mono(ui, &label).on_hover_text("Show the bytes here").clicked() {
                commands.push(Command::go(Target::Address { pid, addr: frame.addr }));
            }
        } else {
            ui.add(egui::Label::new(mono_text(label)).selectable(true));
        }
    });
    ui.scope_builder(UiBuilder::new().max_rect(line(name_at, right, 2.0)), |ui| {
        let name = name_of(shown, frame);
        let text = mono_text(escape_controls(&name)).color(tokens.strong);
        ui.add(egui::Label::new(text).truncate().selectable(true));
    });
    ui.scope_builder(UiBuilder::new().max_rect(line(name_at, right, 18.5)), |ui| {
        ui.with_layout(Layout::left_to_right(Align::Min), |ui| {
            ui.spacing_mut().item_spacing.x = SPACE_XS;
            let where_ = match vma {
                Some(vma) => {
                    let path = if vma.path.is_empty() { vma.kind.word().to_owned() } else { vma.path.label() };
                    format!("{}  {path}  ·  ", vma.perms())
                }
                None => "not mapped  ·  ".to_owned(),
            };
            let small =
                |text: &str, color| RichText::new(escape_controls(text)).font(tokens::small_font()).color(color);
            let is_guess = found == FoundBy::FramePointer;
            let words = format!("{where_}{}", found.words());
            let color = if is_guess { tokens.warning } else { tokens.muted };
            ui.add(egui::Label::new(small(&words, color)).truncate());
        });
    });
}

/// Digits of the longest address: those of the kernel's half have 16.
fn digits_of(stack: &Stack) -> usize {
    let longest = stack.frames.iter().map(|frame| frame.addr.0).max().unwrap_or_default();
    DIGITS.max(longest.checked_ilog(16).map_or(1, |last| last as usize + 1))
}

/// `libc.so.6!pause+0x1d`; the area where no file is known.
fn name_of(shown: Shown<'_>, frame: &Frame) -> String {
    match &frame.name {
        Some(name) => name.to_string(),
        None => area_of(shown, frame.addr),
    }
}

fn area_of(shown: Shown<'_>, addr: VirtAddr) -> String {
    let vma = shown.process.memory.known().and_then(|memory| memory.vma_at(addr));
    vma.map_or_else(|| "?".to_owned(), |vma| crate::session::space::name_of(vma, addr))
}

fn as_text(shown: Shown<'_>, stack: &Stack) -> String {
    let mut out = String::new();
    let width = digits_of(stack) + 2;
    for (nr, frame) in stack.frames.iter().enumerate() {
        let _ = writeln!(out, "#{nr:<3} {:#0width$x} {}", frame.addr, escape_controls(&name_of(shown, frame)));
    }
    out
}
