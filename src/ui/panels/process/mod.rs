//! All about the selected process, in tabs.

mod credentials;
mod environment;
mod files;
mod memory;
mod namespaces;
mod raw;
mod signals;
mod summary;
mod threads;

pub(in crate::ui::panels) use files::icon_of;

use egui::{Frame, Margin, Response, RichText, ScrollArea, Sense, Ui};

use super::processes::look_of;
use crate::base::VirtAddr;
use crate::checkpoint::{Checkpoint, Process};
use crate::session::space;
use crate::session::{Command, OpenArchive, ProcessTab, Target};
use crate::ui::tokens::{self, SPACE_L, SPACE_M, SPACE_S, Tokens, Tone};
use crate::ui::widgets::{TableState, badge, empty_state, mono_text, paint_icon, target_link};
use crate::ui::{icons, text};

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct ProcessState {
    tab: ProcessTab,
    files: TableState,
    environment: TableState,
    memory: TableState,
    threads: threads::ThreadsState,
    signals: TableState,
    summary: summary::SummaryState,
}

impl ProcessState {
    /// Puts the cursor into the filter box of the tab that is shown.
    pub fn focus_filter(&mut self) {
        match self.tab {
            ProcessTab::Files => self.files.focus_filter(),
            ProcessTab::Environment => self.environment.focus_filter(),
            ProcessTab::Memory => self.memory.focus_filter(),
            ProcessTab::Threads => self.threads.table.focus_filter(),
            ProcessTab::Signals => self.signals.focus_filter(),
            ProcessTab::Summary | ProcessTab::Credentials | ProcessTab::Namespaces | ProcessTab::Raw => {}
        }
    }
}

/// What a tab draws from.
#[derive(Clone, Copy)]
struct Shown<'a> {
    archive: &'a OpenArchive,
    checkpoint: &'a Checkpoint,
    process: &'a Process,
}

impl Shown<'_> {
    /// Changes when another process is shown.
    fn key(&self) -> u64 {
        u64::from(self.archive.id().0) << 32 | u64::from(self.process.pid.0)
    }
}

/// Draws the panel.
#[must_use]
pub fn process_ui(ui: &mut Ui, archive: &OpenArchive, state: &mut ProcessState) -> Vec<Command> {
    let mut commands = Vec::new();
    let Some(pid) = archive.selected_pid() else {
        empty_state(ui, icons::PROCESS, "No process is selected", "Pick one in the tree at the left, or with Ctrl+K.");
        return commands;
    };
    let Some(process) = archive.checkpoint().process(pid) else {
        empty_state(
            ui,
            icons::PROCESS,
            &format!("There is no process {pid}"),
            "It is named somewhere, but not in pstree.img.",
        );
        return commands;
    };
    let shown = Shown { archive, checkpoint: archive.checkpoint(), process };
    state.tab = archive.process_tab();
    ui.spacing_mut().item_spacing.y = 0.0;
    title_ui(ui, shown, &mut commands);
    tabs_ui(ui, shown, state.tab, &mut commands);
    ui.spacing_mut().item_spacing.y = tokens::SPACE_XS;
    ui.push_id(state.tab, |ui| match state.tab {
        ProcessTab::Summary => page(ui, |ui| summary::summary_ui(ui, shown, &mut state.summary, &mut commands)),
        ProcessTab::Threads => threads::threads_ui(ui, shown, &mut state.threads, &mut commands),
        ProcessTab::Files => files::files_ui(ui, shown, &mut state.files, &mut commands),
        ProcessTab::Environment => environment::environment_ui(ui, shown, &mut state.environment, &mut commands),
        ProcessTab::Credentials => page(ui, |ui| credentials::credentials_ui(ui, shown, &mut commands)),
        ProcessTab::Memory => memory::memory_ui(ui, shown, &mut state.memory, &mut commands),
        ProcessTab::Signals => signals::signals_ui(ui, shown, &mut state.signals, &mut commands),
        ProcessTab::Namespaces => page(ui, |ui| namespaces::namespaces_ui(ui, shown, &mut commands)),
        ProcessTab::Raw => page(ui, |ui| raw::raw_ui(ui, shown, &mut commands)),
    });
    commands
}

/// An address; a link to its bytes when it lies in mapped memory.
fn address_link(ui: &mut Ui, shown: Shown<'_>, addr: VirtAddr, label: &str, commands: &mut Vec<Command>) -> Response {
    let vma = shown.process.memory.known().and_then(|memory| memory.vma_at(addr));
    match vma {
        Some(vma) => {
            let tip = format!("{} {}", space::name_of(vma, addr), vma.perms());
            let target = Target::Address { pid: shown.process.pid, addr };
            target_link(ui, commands, label, target).on_hover_text(tip)
        }
        None => ui.add(egui::Label::new(mono_text(label)).selectable(true)),
    }
}

/// A tab that scrolls as a whole.
fn page(ui: &mut Ui, draw: impl FnOnce(&mut Ui)) {
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        Frame::NONE.inner_margin(Margin::symmetric(SPACE_L as i8, SPACE_M as i8)).show(ui, |ui| {
            ui.set_max_width(ui.available_width().min(1000.0));
            draw(ui);
        });
    });
}

fn title_ui(ui: &mut Ui, shown: Shown<'_>, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let process = shown.process;
    let (icon, tone, state) = look_of(process);
    ui.add_space(SPACE_S);
    ui.horizontal(|ui| {
        ui.add_space(SPACE_M);
        let (rect, _) = ui.allocate_exact_size(egui::vec2(22.0, 24.0), Sense::hover());
        let tone = if tone == Tone::Neutral { Tone::Accent } else { tone };
        paint_icon(ui, rect, icon, 20.0, tokens.tone(tone));
        ui.label(RichText::new(process.comm_label()).font(tokens::strong_font(17.0)).color(tokens.strong));
        ui.label(RichText::new(process.pid.to_string()).font(egui::FontId::monospace(15.0)).color(tokens.muted));
        if let Some(state) = state {
            let word = state.split(':').next().unwrap_or(state);
            badge(ui, word, Tone::Warning);
        }
        if let Some(parent) = shown.checkpoint.parent(process) {
            ui.label(RichText::new("child of").color(tokens.muted));
            target_link(ui, commands, &format!("{} {}", parent.pid, parent.comm_label()), Target::process(parent.pid));
        }
    });
    ui.add_space(SPACE_S);
}

fn tabs_ui(ui: &mut Ui, shown: Shown<'_>, current: ProcessTab, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    let process = shown.process;
    let response = ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        ui.add_space(SPACE_S);
        for tab in ProcessTab::ALL {
            let count = match tab {
                ProcessTab::Threads => process.threads.len(),
                ProcessTab::Files => process.fds.len(),
                ProcessTab::Environment => process.environ.known().map_or(0, Vec::len),
                ProcessTab::Memory => process.memory.known().map_or(0, |memory| memory.vmas.len()),
                _ => 0,
            };
            if tab_ui(ui, tab, count, tab == current) {
                commands.push(Command::go(Target::process_tab(process.pid, tab)));
            }
        }
    });
    let y = response.response.rect.bottom();
    ui.painter().hline(ui.max_rect().x_range(), y - 0.5, egui::Stroke::new(1.0, tokens.line));
}

fn tab_ui(ui: &mut Ui, tab: ProcessTab, count: usize, is_current: bool) -> bool {
    let tokens = Tokens::get(ui);
    let color = if is_current { tokens.strong } else { tokens.muted };
    let mut job =
        egui::text::LayoutJob::simple_singleline(tab.title().to_owned(), egui::FontId::proportional(12.5), color);
    if count > 0 {
        let format = egui::TextFormat::simple(tokens::small_font(), tokens.muted);
        job.append(&text::grouped(count as u64), 5.0, format);
    }
    let galley = ui.painter().layout_job(job);
    let (rect, response) = ui.allocate_exact_size(egui::vec2(galley.size().x + 2.0 * 9.0, 28.0), Sense::click());
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Tab, true, is_current, tab.title()));
    if response.hovered() && !is_current {
        ui.painter().rect_filled(rect.shrink2(egui::vec2(0.0, 2.0)), tokens::RADIUS, tokens.hover);
    }
    let at = egui::pos2(rect.left() + 9.0, rect.center().y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, color);
    if is_current || response.has_focus() {
        let line = egui::Rect::from_min_max(
            egui::pos2(rect.left() + 5.0, rect.bottom() - 2.0),
            egui::pos2(rect.right() - 5.0, rect.bottom()),
        );
        ui.painter().rect_filled(line, 1.0, tokens.accent);
    }
    response.clicked()
}
