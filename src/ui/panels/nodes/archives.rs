//! The archives that wait on the nodes that are shown.

use egui::{ScrollArea, Ui};

use super::{ACTION_WIDTH, actions_ui};
use crate::acquire::wire::Archive;
use crate::base::escape_controls;
use crate::session::nodes::{Change, NodeRow, Told, Wanted};
use crate::session::{Command, NodesCommand};
use crate::ui::tokens::{ROW_HEIGHT, Tone};
use crate::ui::widgets::{ListRow, empty_state, link};
use crate::ui::{icons, text};

pub(super) fn archives_ui(ui: &mut Ui, rows: &[&NodeRow], commands: &mut Vec<Command>) {
    let told = rows.iter().filter_map(|row| Some((*row, row.state.told()?)));
    let all: Vec<(&NodeRow, &Told, &Archive)> =
        told.flat_map(|(row, told)| told.archives.archives.iter().map(move |it| (row, told, it))).collect();
    if all.is_empty() {
        empty_state(ui, icons::ARCHIVE, "No archive waits there", "Freeze a container, and its archive comes here.");
        return;
    }
    ScrollArea::vertical().auto_shrink(false).show_rows(ui, ROW_HEIGHT, all.len(), |ui, range| {
        for (row, told, archive) in all.get(range).unwrap_or_default() {
            archive_ui(ui, row, told, archive, rows.len() > 1, commands);
        }
    });
}

fn archive_ui(
    ui: &mut Ui,
    row: &NodeRow,
    told: &Told,
    archive: &Archive,
    is_among_many: bool,
    commands: &mut Vec<Command>,
) {
    let name = escape_controls(&archive.name).into_owned();
    let when = archive.created.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let node = if is_among_many { format!("on {}, ", escape_controls(&row.name)) } else { String::new() };
    let size = format!("{node}{}, {when}", text::bytes(archive.size_bytes));
    let badges: &[(&str, Tone)] = if archive.keep { &[("kept", Tone::Accent)] } else { &[] };
    let response = ListRow::new(&name)
        .icon(icons::ARCHIVE, Tone::Neutral)
        .secondary(&size)
        .badges(badges)
        .reserve(ACTION_WIDTH)
        .show(ui)
        .response;
    let rect = response.rect;
    let fetch = || NodesCommand::Acquire {
        node: row.name.clone(),
        called: archive.container_name.clone(),
        wanted: Wanted::Fetch { archive: archive.id.clone() },
    };
    let change = |change| NodesCommand::Change { node: row.name.clone(), archive: archive.id.clone(), change };
    response.on_hover_text(format!("SHA-256 {}", archive.sha256)).context_menu(|ui| {
        let keep = if archive.keep { "Keep it there no longer" } else { "Keep it there when room is needed" };
        let mut chosen = None;
        if ui.button("Fetch").clicked() {
            chosen = Some(fetch());
        }
        if ui.button(keep).clicked() {
            chosen = Some(change(Change::Keep(!archive.keep)));
        }
        // The one thing here that cannot be undone takes two clicks.
        ui.add_enabled_ui(told.node.may_delete && !archive.keep, |ui| {
            let delete = ui.menu_button("Delete it there", |ui| ui.button("Delete it for good").clicked());
            let is_chosen = delete.inner == Some(true);
            let why = if archive.keep { "It is kept" } else { "The operator of the node does not allow it" };
            delete.response.on_disabled_hover_text(why);
            if is_chosen {
                chosen = Some(change(Change::Delete));
            }
        });
        if let Some(chosen) = chosen {
            commands.push(chosen.into());
            ui.close();
        }
    });
    actions_ui(ui, rect, |ui| {
        if link(ui, "Fetch").on_hover_text("Fetch it, verify it and open it").clicked() {
            commands.push(fetch().into());
        }
    });
}
