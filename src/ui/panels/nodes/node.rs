//! What a node says of itself, and what all of them do together.

use egui::{Align, Frame, Label, Layout, Margin, RichText, Ui};

use super::list::state_of;
use super::{NodesState, tabs_ui};
use crate::base::escape_controls;
use crate::session::nodes::{NodeRow, NodeState, Nodes};
use crate::session::{Command, JobRow, NodesCommand};
use crate::ui::tokens::{self, SPACE_L, SPACE_M, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{badge, icon_button, mono_text};
use crate::ui::{icons, text};

/// One node.
pub(super) fn node_ui(
    ui: &mut Ui,
    nodes: &Nodes,
    row: &NodeRow,
    jobs: &[JobRow],
    state: &mut NodesState,
    commands: &mut Vec<Command>,
) {
    ui.spacing_mut().item_spacing.y = 0.0;
    Frame::NONE.inner_margin(Margin::symmetric(SPACE_L as i8, SPACE_M as i8)).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = SPACE_XS;
        head_ui(ui, row, commands);
    });
    tabs_ui(ui, nodes, &[row], jobs, state, commands);
}

/// All nodes as one.
pub(super) fn all_ui(ui: &mut Ui, nodes: &Nodes, jobs: &[JobRow], state: &mut NodesState, commands: &mut Vec<Command>) {
    ui.spacing_mut().item_spacing.y = 0.0;
    let rows: Vec<&NodeRow> = nodes.rows().iter().collect();
    let n_told = rows.iter().filter(|row| row.state.told().is_some()).count();
    Frame::NONE.inner_margin(Margin::symmetric(SPACE_L as i8, SPACE_M as i8)).show(ui, |ui| {
        let tone = if n_told == rows.len() { Tone::Success } else { Tone::Warning };
        title_ui(ui, "All nodes", (tone, &format!("{n_told} of {} have answered", rows.len())), &rows, commands);
    });
    tabs_ui(ui, nodes, &rows, jobs, state, commands);
}

/// What is shown, its state, and a button that asks it again.
fn title_ui(ui: &mut Ui, title: &str, badge_of: (Tone, &str), rows: &[&NodeRow], commands: &mut Vec<Command>) {
    let strong = Tokens::get(ui).strong;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        let title = escape_controls(title).into_owned();
        ui.label(RichText::new(title).font(tokens::strong_font(tokens::TEXT_HEADING)).color(strong));
        badge(ui, badge_of.1, badge_of.0);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let is_asking = rows.iter().all(|row| matches!(row.state, NodeState::Asking(..)));
            let again = ui.add_enabled_ui(!is_asking, |ui| icon_button(ui, icons::REFRESH, "Ask again")).inner;
            if again.clicked() {
                commands.extend(rows.iter().map(|row| NodesCommand::Ask(row.name.clone()).into()));
            }
        });
    });
}

fn head_ui(ui: &mut Ui, row: &NodeRow, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    title_ui(ui, &row.name, state_of(row), &[row], commands);
    let muted = |words: String| RichText::new(words).color(tokens.muted);
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        ui.label(mono_text(escape_controls(&row.address)).color(tokens.text));
        let short: String = row.fingerprint.chars().take(16).collect();
        ui.label(muted("authority".into()));
        let full = format!("SHA-256 of the authority that this node's certificate is signed by: {}", row.fingerprint);
        ui.label(mono_text(format!("{short}…")).color(tokens.text)).on_hover_text(full);
        ui.label(muted(format!("paired {}", row.paired.strftime("%Y-%m-%d"))));
    });
    let Some(told) = row.state.told() else { return };
    let node = &told.node;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        // Not side by side: between digits the font takes an x for a multiplication.
        let facts = format!("Linux {} on {}, agent {}", node.kernel, node.arch, node.agent_version);
        ui.label(muted(escape_controls(&facts).into_owned()));
        let spool = format!(
            "spool {} of {}, {} free",
            text::bytes(node.spool.used_bytes),
            text::bytes(node.spool.limit_bytes),
            text::bytes(node.spool.free_bytes)
        );
        ui.label(muted(spool)).on_hover_text("Archives wait there until they are fetched");
    });
    for source in &node.sources {
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = SPACE_S;
            let (icon, tone) =
                if source.ready { (icons::SUCCESS, Tone::Success) } else { (icons::ISSUE, Tone::Warning) };
            ui.label(RichText::new(icon).font(tokens::icon_font(14.0)).color(tokens.tone(tone)));
            let version = source.version.clone().unwrap_or_else(|| format!("{:?}", source.kind).to_lowercase());
            ui.label(escape_controls(&version).into_owned());
            ui.label(mono_text(escape_controls(&source.address)).color(tokens.muted));
            if let Some(problem) = &source.problem {
                ui.add(Label::new(muted(escape_controls(problem).into_owned())).wrap());
            }
        });
    }
}
