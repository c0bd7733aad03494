//! One node: what it says of itself, its containers, the archives that wait there.

use std::time::Duration;

use egui::{Align, DragValue, Frame, Label, Layout, Margin, RichText, ScrollArea, TextEdit, Ui};

use super::list::state_of;
use super::{NodesState, Tab, acquisitions};
use crate::acquire::selector::Called;
use crate::acquire::wire::{Archive, Container, ContainerState, SourceKind};
use crate::base::escape_controls;
use crate::session::nodes::{NodeRow, NodeState, Nodes, Series, Told, Wanted};
use crate::session::{Command, JobRow, NodesCommand};
use crate::ui::tokens::{self, ROW_HEIGHT, SPACE_L, SPACE_M, SPACE_S, SPACE_XS, Tokens, Tone};
use crate::ui::widgets::{
    FilterBox, ListRow, badge, contains_ignore_case, empty_state, icon_button, link, mono_text, tab_strip,
};
use crate::ui::{icons, text};

/// Room for what can be done with a row.
const ACTION_WIDTH: f32 = 128.0;

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
    let told = row.state.told();
    let under_way = nodes.acquisitions().iter().filter(|acquisition| acquisition.end.is_none()).count();
    let tabs = [
        ("Containers", told.map_or(0, |told| told.containers.containers.len())),
        ("Archives", told.map_or(0, |told| told.archives.archives.len())),
        ("Acquisitions", under_way),
    ];
    let all = [Tab::Containers, Tab::Archives, Tab::Acquisitions];
    let at = all.iter().position(|tab| *tab == state.tab).unwrap_or_default();
    state.tab = all.get(tab_strip(ui, &tabs, at)).copied().unwrap_or_default();
    match (state.tab, told) {
        (Tab::Acquisitions, _) => acquisitions::acquisitions_ui(ui, nodes, jobs, commands),
        (Tab::Containers, Some(told)) => containers_ui(ui, row, told, state, commands),
        (Tab::Archives, Some(told)) => archives_ui(ui, row, told, commands),
        (_, None) => silent_ui(ui, row),
    }
}

fn head_ui(ui: &mut Ui, row: &NodeRow, commands: &mut Vec<Command>) {
    let tokens = Tokens::get(ui);
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = SPACE_S;
        let name = escape_controls(&row.name).into_owned();
        ui.label(RichText::new(name).font(tokens::strong_font(tokens::TEXT_HEADING)).color(tokens.strong));
        let (tone, word) = state_of(row);
        badge(ui, word, tone);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let is_asking = matches!(row.state, NodeState::Asking(..));
            let again = ui.add_enabled_ui(!is_asking, |ui| icon_button(ui, icons::REFRESH, "Ask again")).inner;
            if again.clicked() {
                commands.push(NodesCommand::Ask(row.name.clone()).into());
            }
        });
    });
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
        let facts = format!("Linux {} {}, agent {}", node.kernel, node.arch, node.agent_version);
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

/// Nothing is known of it.
fn silent_ui(ui: &mut Ui, row: &NodeRow) {
    match &row.state {
        NodeState::Failed(why) => {
            empty_state(ui, icons::ERROR, "The node does not answer", &escape_controls(why));
        }
        _ => empty_state(ui, icons::NODES, "The node is being asked…", ""),
    }
}

fn containers_ui(ui: &mut Ui, row: &NodeRow, told: &Told, state: &mut NodesState, commands: &mut Vec<Command>) {
    let all = &told.containers.containers;
    let tokens = Tokens::get(ui);
    let needle = state.filter.to_lowercase();
    let shown: Vec<&Container> = all.iter().filter(|container| matches(container, &needle)).collect();
    ui.horizontal(|ui| {
        ui.set_height(34.0);
        ui.spacing_mut().item_spacing.x = SPACE_S;
        ui.add_space(SPACE_S);
        let wants_focus = std::mem::take(&mut state.wants_filter);
        FilterBox::new(&mut state.filter, "Filter containers").width(220.0).focus(wants_focus).show(ui);
        let hint = "Goes into the signed manifest and into the node's audit log";
        let reason = TextEdit::singleline(&mut state.reason).hint_text("Reason, as a case number").desired_width(220.0);
        ui.add(reason).on_hover_text(hint);
        series_ui(ui, state);
    });
    for issue in &told.containers.issues {
        ui.horizontal(|ui| {
            ui.add_space(SPACE_M);
            ui.label(RichText::new(icons::ISSUE).font(tokens::icon_font(14.0)).color(tokens.warning));
            ui.add(Label::new(RichText::new(escape_controls(issue)).color(tokens.muted)).wrap());
        });
    }
    if shown.is_empty() {
        let hint = if all.is_empty() { "No container runs on this node." } else { "The filter leaves none." };
        empty_state(ui, icons::CONTAINER, "No containers", hint);
        return;
    }
    let can_collect = told.node.sources.iter().any(|source| source.kind == SourceKind::Proc && source.ready);
    let reason = Some(state.reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    let every = Duration::from_secs(u64::from(state.every_seconds));
    let series = (state.times > 1).then(|| Series::new(state.times, every));
    ScrollArea::vertical().auto_shrink(false).show_rows(ui, ROW_HEIGHT, shown.len(), |ui, range| {
        for container in shown.get(range).unwrap_or_default() {
            let ask = Ask { row, reason: reason.as_deref(), can_collect, series };
            container_ui(ui, &ask, container, &needle, commands);
        }
    });
}

fn matches(container: &Container, needle: &str) -> bool {
    let texts = [Some(&container.name), container.pod.as_ref(), container.namespace.as_ref(), container.image.as_ref()];
    needle.is_empty() || texts.into_iter().flatten().any(|text| contains_ignore_case(text, needle))
}

/// Of whom containers are asked for, and how.
struct Ask<'a> {
    row: &'a NodeRow,
    reason: Option<&'a str>,
    /// Whether the agent reads processes by way of /proc.
    can_collect: bool,
    /// How often.
    series: Option<Series>,
}

/// How many checkpoints a click makes.
fn series_ui(ui: &mut Ui, state: &mut NodesState) {
    let muted = Tokens::get(ui).muted;
    let hint = "A series: each checkpoint is fetched and kept, and none is opened by itself";
    let suffix = if state.times == 1 { " time" } else { " times" };
    ui.add(DragValue::new(&mut state.times).range(1..=1000).speed(0.05).suffix(suffix)).on_hover_text(hint);
    ui.add_enabled_ui(state.times > 1, |ui| {
        ui.label(RichText::new("every").color(muted));
        let every = DragValue::new(&mut state.every_seconds).range(1..=86_400).speed(0.5).suffix(" s");
        ui.add(every).on_hover_text("From the beginning of one to that of the next, at least");
    });
}

fn container_ui(ui: &mut Ui, ask: &Ask<'_>, container: &Container, needle: &str, commands: &mut Vec<Command>) {
    let called = Called(container).to_string();
    let name = escape_controls(&called).into_owned();
    let image = escape_controls(container.image.as_deref().unwrap_or("image unknown")).into_owned();
    let (tone, word) = match container.state {
        ContainerState::Running => (Tone::Success, None),
        ContainerState::Frozen => (Tone::Warning, Some("frozen")),
        ContainerState::Created => (Tone::Neutral, Some("created")),
        ContainerState::Exited => (Tone::Neutral, Some("exited")),
        ContainerState::Unknown => (Tone::Neutral, Some("state unknown")),
    };
    let badges: Vec<(&str, Tone)> = word.map(|word| (word, tone)).into_iter().collect();
    let response = ListRow::new(&name)
        .icon(icons::CONTAINER, tone)
        .secondary(&image)
        .badges(&badges)
        .needle(needle)
        .reserve(ACTION_WIDTH)
        .show(ui)
        .response;
    let rect = response.rect;
    let mut details = format!("{} of {}\n{}", container.name, container.engine, container.id);
    if let Some(problem) = &container.problem {
        details.push_str(&format!("\n{problem}"));
    }
    response.on_hover_text(escape_controls(&details).into_owned());
    let acquire = |is_collection| NodesCommand::Acquire {
        node: ask.row.name.clone(),
        called: called.clone(),
        wanted: Wanted::Freeze {
            container: container.id.clone(),
            is_collection,
            reason: ask.reason.map(str::to_owned),
            series: ask.series,
        },
    };
    actions_ui(ui, rect, |ui| {
        let can_freeze = container.problem.is_none() && container.state != ContainerState::Exited;
        let freeze = ui.add_enabled_ui(can_freeze, |ui| link(ui, "Freeze")).inner;
        let freeze =
            freeze.on_hover_text(format!("Make a checkpoint of {name}, fetch it and open it; it goes on running"));
        let freeze = freeze.on_disabled_hover_text(container.problem.as_deref().unwrap_or("It does not run"));
        if freeze.clicked() {
            commands.push(acquire(false).into());
        }
        if !ask.can_collect {
            return;
        }
        let is_alive = container.state != ContainerState::Exited;
        let collect = ui.add_enabled_ui(is_alive, |ui| link(ui, "Collect")).inner.on_hover_text(
            "Without CRIU: reads the processes by way of /proc while they run. For containers that cannot be frozen",
        );
        if collect.clicked() {
            commands.push(acquire(true).into());
        }
    });
}

fn archives_ui(ui: &mut Ui, row: &NodeRow, told: &Told, commands: &mut Vec<Command>) {
    let all = &told.archives.archives;
    if all.is_empty() {
        empty_state(ui, icons::ARCHIVE, "No archive waits there", "Freeze a container, and its archive comes here.");
        return;
    }
    ScrollArea::vertical().auto_shrink(false).show_rows(ui, ROW_HEIGHT, all.len(), |ui, range| {
        for archive in all.get(range).unwrap_or_default() {
            archive_ui(ui, row, archive, commands);
        }
    });
}

fn archive_ui(ui: &mut Ui, row: &NodeRow, archive: &Archive, commands: &mut Vec<Command>) {
    let name = escape_controls(&archive.name).into_owned();
    let when = archive.created.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let size = format!("{}, {when}", text::bytes(archive.size_bytes));
    let badges: &[(&str, Tone)] = if archive.keep { &[("kept", Tone::Accent)] } else { &[] };
    let response = ListRow::new(&name)
        .icon(icons::ARCHIVE, Tone::Neutral)
        .secondary(&size)
        .badges(badges)
        .reserve(ACTION_WIDTH)
        .show(ui)
        .response;
    let rect = response.rect;
    response.on_hover_text(format!("SHA-256 {}", archive.sha256));
    actions_ui(ui, rect, |ui| {
        if link(ui, "Fetch").on_hover_text("Fetch it, verify it and open it").clicked() {
            commands.push(
                NodesCommand::Acquire {
                    node: row.name.clone(),
                    called: archive.container_name.clone(),
                    wanted: Wanted::Fetch { archive: archive.id.clone() },
                }
                .into(),
            );
        }
    });
}

/// Links at the right end of a row.
fn actions_ui(ui: &mut Ui, row: egui::Rect, draw: impl FnOnce(&mut Ui)) {
    let mut rect = row;
    rect.min.x = rect.max.x - ACTION_WIDTH;
    let builder = egui::UiBuilder::new().max_rect(rect.shrink2(egui::vec2(SPACE_S, 0.0)));
    ui.scope_builder(builder.layout(Layout::right_to_left(Align::Center)), |ui| {
        ui.spacing_mut().item_spacing.x = SPACE_M;
        draw(ui);
    });
}
