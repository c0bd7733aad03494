//! The nodes of the user.

use egui::{Align, Layout, ScrollArea, Ui};

use crate::acquire::wire::SourceKind;
use crate::base::escape_controls;
use crate::session::nodes::{NodeRow, NodeState, Nodes};
use crate::session::{Command, NodesCommand};
use crate::ui::icons;
use crate::ui::tokens::{BAR_HEIGHT, SPACE_S, Tone};
use crate::ui::widgets::{ListRow, icon_button, section_header};

pub(super) fn list_ui(ui: &mut Ui, nodes: &Nodes, commands: &mut Vec<Command>) {
    ui.spacing_mut().item_spacing.y = 0.0;
    let size = egui::vec2(ui.available_width(), BAR_HEIGHT + 4.0);
    ui.allocate_ui_with_layout(size, Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 2.0;
        ui.add_space(SPACE_S);
        if icon_button(ui, icons::PLUS, "Pair with a node…").clicked() {
            commands.push(NodesCommand::AskToPair.into());
        }
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            ui.add_space(SPACE_S);
            section_header(ui, "Paired nodes", "");
        });
    });
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        if nodes.rows().len() > 1 {
            let all = ListRow::new("All nodes").icon(icons::NODES, Tone::Neutral).selected(nodes.shows_all());
            if all.show(ui).response.clicked() {
                commands.push(NodesCommand::SelectAll.into());
            }
        }
        for row in nodes.rows() {
            let (tone, state) = state_of(row);
            let (name, address) = (escape_controls(&row.name).into_owned(), escape_controls(&row.address).into_owned());
            let response = ListRow::new(&name)
                .icon(icons::NODES, tone)
                .secondary(&address)
                .selected(nodes.selected().is_some_and(|selected| selected.name == row.name))
                .show(ui)
                .response
                .on_hover_text(format!("{address}: {state}"));
            if response.clicked() {
                commands.push(NodesCommand::Select(row.name.clone()).into());
            }
            response.context_menu(|ui| {
                if ui.button("Ask again").clicked() {
                    commands.push(NodesCommand::Ask(row.name.clone()).into());
                    ui.close();
                }
                if ui.button("Forget this node").clicked() {
                    commands.push(NodesCommand::Forget(row.name.clone()).into());
                    ui.close();
                }
            });
        }
    });
}

/// What it is at: a colour and the word for it.
pub(super) fn state_of(row: &NodeRow) -> (Tone, &'static str) {
    match &row.state {
        NodeState::Unknown => (Tone::Neutral, "not asked yet"),
        NodeState::Asking(..) => (Tone::Accent, "is being asked"),
        NodeState::Told(told) => {
            let mut sources = told.node.sources.iter().filter(|source| source.kind != SourceKind::Proc);
            if sources.any(|source| source.ready) {
                (Tone::Success, "ready")
            } else {
                (Tone::Warning, "cannot make checkpoints")
            }
        }
        NodeState::Failed(_) => (Tone::Error, "does not answer"),
    }
}
