//! Nodes with an agent: which there are, what runs on them, freezing it, fetching archives.
//!
//! | file | draws |
//! |---|---|
//! | `list` | the nodes of the user |
//! | `node` | the selected one: state, containers, archives |
//! | `acquisitions` | what is on its way here, and what came |

mod acquisitions;
mod list;
mod node;

use egui::{Frame, Panel, Ui};

use crate::session::nodes::{ListState, Nodes};
use crate::session::{Command, JobRow, NodesCommand};
use crate::ui::icons;
use crate::ui::tokens::{SPACE_S, Tokens};
use crate::ui::widgets::{button, empty_state, primary_button};

/// What the panel keeps.
#[derive(Debug, Default)]
pub struct NodesState {
    tab: Tab,
    filter: String,
    wants_filter: bool,
    /// For the manifest and the node's audit log.
    reason: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tab {
    #[default]
    Containers,
    Archives,
    Acquisitions,
}

impl NodesState {
    /// Puts the cursor into the filter box.
    pub fn focus_filter(&mut self) {
        self.wants_filter = true;
    }
}

/// Draws the panel.
#[must_use]
pub fn nodes_ui(ui: &mut Ui, nodes: &Nodes, jobs: &[JobRow], state: &mut NodesState) -> Vec<Command> {
    let mut commands = Vec::new();
    if *nodes.list() == ListState::Unknown {
        commands.push(NodesCommand::Look.into());
    }
    if nodes.rows().is_empty() {
        nobody_ui(ui, nodes, &mut commands);
        return commands;
    }
    let line = Tokens::get(ui).line;
    Panel::left("nodes list")
        .resizable(true)
        .default_size(230.0)
        .size_range(150.0..=420.0)
        .frame(Frame::NONE)
        .show(ui, |ui| list::list_ui(ui, nodes, &mut commands));
    let x = ui.max_rect().left();
    ui.painter().vline(x, ui.max_rect().y_range(), egui::Stroke::new(1.0, line));
    match nodes.selected() {
        Some(row) => node::node_ui(ui, nodes, row, jobs, state, &mut commands),
        None => empty_state(ui, icons::NODES, "No node is selected", "Choose one in the list."),
    }
    commands
}

/// Before the first node.
fn nobody_ui(ui: &mut Ui, nodes: &Nodes, commands: &mut Vec<Command>) {
    match nodes.list() {
        ListState::Unknown | ListState::Looking(_) => {
            empty_state(ui, icons::NODES, "Looking for nodes…", "");
        }
        ListState::Failed(why) => {
            empty_state(ui, icons::ERROR, "Nodes cannot be listed", why);
            centred(ui, |ui| {
                if button(ui, icons::REFRESH, "Look again").clicked() {
                    commands.push(NodesCommand::Look.into());
                }
            });
        }
        ListState::Known => {
            let hint = "An agent on a Kubernetes node, or any machine with Podman, freezes containers and sends the archives here, hashed and signed. Run `cryoscope-agent pair` there and pair with the code that it prints.";
            empty_state(ui, icons::NODES, "No node is paired yet", hint);
            centred(ui, |ui| {
                if primary_button(ui, icons::LINK, "Pair with a node…").clicked() {
                    commands.push(NodesCommand::AskToPair.into());
                }
            });
        }
    }
}

fn centred(ui: &mut Ui, draw: impl FnOnce(&mut Ui)) {
    ui.add_space(SPACE_S);
    ui.vertical_centered(draw);
}
