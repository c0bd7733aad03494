//! The environment, exactly as it lies in memory: order, duplicates and oddities kept.

use egui::Ui;

use super::Shown;
use crate::base::{Field, Text};
use crate::session::{Command, Target};
use crate::ui::icons;
use crate::ui::tokens::Tone;
use crate::ui::widgets::{Cell, Column, Table, TableRows, TableState, empty_state};

/// Longest value that is shown in a row, in characters; a copy is whole.
const MAX_SHOWN: usize = 2000;

const COLUMNS: &[Column] = &[
    Column::left("Name", 260.0, "Up to the first ="),
    Column::left("Value", 760.0, "Behind the first =; bytes that are not text are spelled as \\xNN"),
];

pub(super) fn environment_ui(ui: &mut Ui, shown: Shown<'_>, state: &mut TableState, commands: &mut Vec<Command>) {
    match &shown.process.environ {
        Field::Known(environ) => {
            let table = Table::new("variables", COLUMNS)
                .empty_hint("The process was started with an empty environment, or has erased it.");
            commands.extend(table.show(ui, state, &Variables(environ), shown.key(), &Target::Overview, |_| {}));
        }
        Field::Absent(why) => {
            empty_state(ui, icons::ENVIRONMENT, "No environment", &format!("The environment {why}."));
        }
    }
}

struct Variables<'a>(&'a [Text]);

impl TableRows for Variables<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        let Some(variable) = self.0.get(row) else { return Cell::empty() };
        let label = variable.label();
        let (name, value) = match label.split_once('=') {
            Some((name, value)) => (name, value),
            None => (label.as_str(), ""),
        };
        match column {
            0 if label.contains('=') => Cell::mono(name.to_owned()),
            // Programs that rewrite their title leave such things behind.
            0 => Cell::mono(name.chars().take(MAX_SHOWN).collect::<String>()).icon(icons::QUESTION, Tone::Warning),
            _ => Cell::mono(value.chars().take(MAX_SHOWN).collect::<String>()),
        }
    }

    fn target(&self, _row: usize) -> Option<Target> {
        None
    }
}
