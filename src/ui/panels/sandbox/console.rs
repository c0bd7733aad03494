//! What the machine and the container say.

use egui::{Align, Label, Layout, RichText, ScrollArea, Ui};

use super::ready::row_ui;
use crate::base::escape_controls;
use crate::sandbox::plan::Stream;
use crate::session::Command;
use crate::session::sandbox::{Ended, Line, LineKind, Phase, SandboxRun};
use crate::ui::tokens::{SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{icon_button, mono_text};
use crate::ui::{icons, text};

/// Height of a line.
const LINE_HEIGHT: f32 = 18.0;

pub(super) fn console_ui(ui: &mut Ui, run: &SandboxRun, commands: &mut Vec<Command>) {
    if let Phase::Ended(Ended::NotRestored(why)) = run.phase() {
        ui.add_space(SPACE_S);
        ui.horizontal(|ui| {
            ui.add_space(SPACE_S);
            let what = why.as_deref().unwrap_or("criu could not restore; what it said stands below");
            row_ui(ui, icons::ERROR, Tone::Error, "", what);
        });
        ui.add_space(SPACE_S);
    }
    if run.nr_dropped() > 0 {
        let words = format!("{} older lines were dropped", text::grouped(run.nr_dropped()));
        ui.label(RichText::new(words).color(Tokens::get(ui).muted));
    }
    let footer = 26.0;
    let height = (ui.available_height() - footer).max(0.0);
    let lines = run.lines();
    ui.allocate_ui(egui::vec2(ui.available_width(), height), |ui| {
        ui.set_min_height(height);
        ui.spacing_mut().item_spacing.y = 0.0;
        let area = ScrollArea::both().id_salt("sandbox console").auto_shrink(false).stick_to_bottom(true);
        area.show_rows(ui, LINE_HEIGHT, lines.len(), |ui, range| {
            for line in lines.range(range.start.min(lines.len())..range.end.min(lines.len())) {
                line_ui(ui, line);
            }
        });
    });
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        ui.add_space(SPACE_XS);
        if icon_button(ui, icons::COPY, "Copy all lines").clicked() {
            let lines =
                lines.iter().map(|line| format!("{:>9.3}  {}  {}\n", seconds(line), word(line.kind), line.text));
            commands.push(Command::copy("console", lines.collect::<String>()));
        }
    });
}

fn seconds(line: &Line) -> f64 {
    line.at_ms as f64 / 1000.0
}

/// The kind of a line in three letters.
fn word(kind: LineKind) -> &'static str {
    match kind {
        LineKind::Machine | LineKind::Detail | LineKind::Deed => "  ·",
        LineKind::Output(Stream::Stdin) => " in",
        LineKind::Output(Stream::Stdout) => "out",
        LineKind::Output(Stream::Stderr) => "err",
        LineKind::Error => "  !",
    }
}

fn line_ui(ui: &mut Ui, line: &Line) {
    let tokens = Tokens::get(ui);
    let color = match line.kind {
        LineKind::Machine | LineKind::Detail | LineKind::Deed => tokens.muted,
        LineKind::Output(Stream::Stderr) => tokens.warning,
        LineKind::Output(_) => tokens.text,
        LineKind::Error => tokens.error,
    };
    ui.horizontal(|ui| {
        ui.set_height(LINE_HEIGHT);
        ui.add_space(SPACE_S);
        ui.label(mono_text(format!("{:>8.1} s", seconds(line))).color(tokens.muted));
        ui.label(mono_text(word(line.kind)).color(color));
        ui.add(Label::new(mono_text(escape_controls(&line.text)).color(color)).extend().selectable(true));
    });
}
