//! The containers of the nodes that are shown, and freezing them.

use std::time::Duration;

use egui::{DragValue, Label, Popup, RichText, ScrollArea, TextEdit, Ui};

use super::{ACTION_WIDTH, NodesState, actions_ui};
use crate::acquire::freeze::Method;
use crate::acquire::selector::{Called, Selector};
use crate::acquire::wire::{Container, ContainerState, SourceKind};
use crate::base::escape_controls;
use crate::session::nodes::{NodeRow, NodeState, Order, Series, Told, Wanted};
use crate::session::{Command, NodesCommand};
use crate::ui::tokens::{self, ROW_HEIGHT, SPACE_M, SPACE_S, Tokens, Tone};
use crate::ui::widgets::{FilterBox, ListRow, contains_ignore_case, empty_state, link};
use crate::ui::{icons, text};

/// How processes are collected.
const COLLECTIONS: [(&str, &str, Method); 2] = [
    ("While they run", "Nothing notices; memory may be torn, and there are no registers", Method::Collection),
    (
        "While they stand still",
        "Held by ptrace until all is read: memory of one moment, registers and stacks",
        Method::HeldCollection,
    ),
];

/// Which containers are shown.
enum Filter {
    All,
    /// Their names or images have this in them.
    Text(String),
    /// They have these labels.
    Labels(Selector),
}

impl Filter {
    /// Labels where there is an `=` or a `!`, as no name has.
    fn new(text: &str) -> Filter {
        let text = text.trim();
        match text.parse() {
            _ if text.is_empty() => Filter::All,
            Ok(labels) if text.contains(['=', '!']) => Filter::Labels(labels),
            _ => Filter::Text(text.to_lowercase()),
        }
    }

    fn takes(&self, container: &Container) -> bool {
        let Container { name, pod, namespace, image, .. } = container;
        match self {
            Filter::All => true,
            Filter::Labels(labels) => labels.selects(container),
            Filter::Text(needle) => [Some(name), pod.as_ref(), namespace.as_ref(), image.as_ref()]
                .into_iter()
                .flatten()
                .any(|text| contains_ignore_case(text, needle)),
        }
    }

    fn needle(&self) -> &str {
        if let Filter::Text(needle) = self { needle } else { "" }
    }
}

/// Of whom containers are asked for, and how.
struct Ask<'a> {
    reason: Option<&'a str>,
    /// How often.
    series: Option<Series>,
    /// Several nodes are shown.
    is_among_many: bool,
    needle: &'a str,
}

/// A container and its node.
type Placed<'a> = (&'a NodeRow, &'a Told, &'a Container);

pub(super) fn containers_ui(ui: &mut Ui, rows: &[&NodeRow], state: &mut NodesState, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.set_height(34.0);
        ui.spacing_mut().item_spacing.x = SPACE_S;
        ui.add_space(SPACE_S);
        let wants_focus = std::mem::take(&mut state.wants_filter);
        FilterBox::new(&mut state.filter, "Filter, or labels: app=web").width(220.0).focus(wants_focus).show(ui);
        let hint = "Goes into the signed manifest and into the node's audit log";
        let reason = TextEdit::singleline(&mut state.reason).hint_text("Reason, as a case number").desired_width(220.0);
        ui.add(reason).on_hover_text(hint);
        series_ui(ui, state);
    });
    let filter = Filter::new(&state.filter);
    let told = rows.iter().filter_map(|row| Some((*row, row.state.told()?)));
    let all: Vec<Placed<'_>> =
        told.flat_map(|(row, told)| told.containers.containers.iter().map(move |it| (row, told, it))).collect();
    let shown: Vec<Placed<'_>> = all.iter().copied().filter(|(_, _, container)| filter.takes(container)).collect();
    let reason = Some(state.reason.trim()).filter(|reason| !reason.is_empty());
    let every = Duration::from_secs(u64::from(state.every_seconds));
    let series = (state.times > 1).then(|| Series::new(state.times, every));
    let ask = Ask { reason, series, is_among_many: rows.len() > 1, needle: filter.needle() };
    if !matches!(filter, Filter::All) {
        many_ui(ui, &ask, &shown, all.len(), commands);
    }
    issues_ui(ui, rows);
    if shown.is_empty() {
        let is_asked = rows.iter().any(|row| matches!(row.state, NodeState::Unknown | NodeState::Asking(..)));
        let hint = match (all.is_empty(), is_asked) {
            (false, _) => "The filter leaves none.",
            (true, true) => "The nodes are being asked…",
            (true, false) => "No container runs there.",
        };
        empty_state(ui, icons::CONTAINER, "No containers", hint);
        return;
    }
    ScrollArea::vertical().auto_shrink(false).show_rows(ui, ROW_HEIGHT, shown.len(), |ui, range| {
        for placed in shown.get(range).unwrap_or_default() {
            container_ui(ui, &ask, *placed, commands);
        }
    });
}

/// What keeps some containers from being listed.
fn issues_ui(ui: &mut Ui, rows: &[&NodeRow]) {
    let tokens = Tokens::get(ui);
    for row in rows {
        let own: &[String] = match &row.state {
            NodeState::Failed(why) => std::slice::from_ref(why),
            _ => row.state.told().map_or(&[], |told| &told.containers.issues),
        };
        for issue in own {
            let whose = if rows.len() > 1 { format!("{}: ", row.name) } else { String::new() };
            let words = format!("{whose}{}", issue.strip_prefix(&whose).unwrap_or(issue));
            ui.horizontal(|ui| {
                ui.add_space(SPACE_M);
                ui.label(RichText::new(icons::ISSUE).font(tokens::icon_font(14.0)).color(tokens.warning));
                ui.add(Label::new(RichText::new(escape_controls(&words)).color(tokens.muted)).wrap());
            });
        }
    }
}

/// What the filter leaves, and all of that at once.
fn many_ui(ui: &mut Ui, ask: &Ask<'_>, shown: &[Placed<'_>], n_all: usize, commands: &mut Vec<Command>) {
    let muted = Tokens::get(ui).muted;
    let can = |(_, _, container): &&Placed<'_>| {
        container.problem.is_none() && !matches!(container.state, ContainerState::Exited | ContainerState::Created)
    };
    let chosen: Vec<&Placed<'_>> = shown.iter().filter(can).collect();
    ui.horizontal(|ui| {
        ui.set_height(24.0);
        ui.spacing_mut().item_spacing.x = SPACE_S;
        ui.add_space(SPACE_M);
        ui.label(RichText::new(format!("{} of {n_all} containers", shown.len())).color(muted));
        if chosen.len() < 2 {
            return;
        }
        let words = format!("Freeze all {}", chosen.len());
        let freeze = ui.add_enabled_ui(ask.series.is_none(), |ui| link(ui, &words)).inner;
        let freeze =
            freeze.on_hover_text("From each node one after another, from all nodes at once; none is opened by itself");
        if freeze.on_disabled_hover_text("A series is of one container: set it to 1 time").clicked() {
            let orders = chosen.iter().map(|(row, _, container)| Order {
                node: row.name.clone(),
                called: Called(container).to_string(),
                wanted: wanted(ask, container, Method::Checkpoint),
            });
            commands.push(NodesCommand::AcquireAll(orders.collect()).into());
        }
    });
}

fn wanted(ask: &Ask<'_>, container: &Container, method: Method) -> Wanted {
    Wanted::Freeze {
        container: container.id.clone(),
        method,
        reason: ask.reason.map(str::to_owned),
        series: ask.series,
    }
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

fn container_ui(ui: &mut Ui, ask: &Ask<'_>, (row, told, container): Placed<'_>, commands: &mut Vec<Command>) {
    let called = Called(container).to_string();
    let name = escape_controls(&called).into_owned();
    let image = container.image.as_deref().unwrap_or("image unknown");
    let whence = if ask.is_among_many { format!("on {}, {image}", row.name) } else { image.to_owned() };
    let whence = escape_controls(&whence).into_owned();
    let (tone, word) = match container.state {
        ContainerState::Running => (Tone::Success, None),
        ContainerState::Frozen => (Tone::Warning, Some("frozen")),
        ContainerState::Created => (Tone::Neutral, Some("created")),
        ContainerState::Exited => (Tone::Neutral, Some("exited")),
        ContainerState::Unknown => (Tone::Neutral, Some("state unknown")),
    };
    let probed = container.caution.as_ref().map(|_| ("probed", Tone::Warning));
    let badges: Vec<(&str, Tone)> = word.map(|word| (word, tone)).into_iter().chain(probed).collect();
    let response = ListRow::new(&name)
        .icon(icons::CONTAINER, tone)
        .secondary(&whence)
        .badges(&badges)
        .needle(ask.needle)
        .reserve(ACTION_WIDTH)
        .show(ui)
        .response;
    let rect = response.rect;
    response.on_hover_text(escape_controls(&details(container)).into_owned());
    let acquire = |method| NodesCommand::Acquire {
        node: row.name.clone(),
        called: called.clone(),
        wanted: wanted(ask, container, method),
    };
    actions_ui(ui, rect, |ui| {
        let can_freeze = container.problem.is_none() && container.state != ContainerState::Exited;
        let freeze = ui.add_enabled_ui(can_freeze, |ui| link(ui, "Freeze")).inner;
        let mut hint = format!("Make a checkpoint of {name}, fetch it and open it; it goes on running");
        if let Some(caution) = &container.caution {
            hint.push_str(&format!("\n{}", escape_controls(caution)));
        }
        let freeze = freeze.on_hover_text(hint);
        let freeze = freeze.on_disabled_hover_text(container.problem.as_deref().unwrap_or("It does not run"));
        if freeze.clicked() {
            commands.push(acquire(Method::Checkpoint).into());
        }
        // Whether the agent reads processes by way of /proc.
        if !told.node.sources.iter().any(|source| source.kind == SourceKind::Proc && source.ready) {
            return;
        }
        let is_alive = container.state != ContainerState::Exited;
        let collect = ui.add_enabled_ui(is_alive, |ui| link(ui, "Collect")).inner;
        let hint = "Without CRIU: reads the processes by way of /proc. For containers that cannot be frozen";
        Popup::menu(&collect.on_hover_text(hint)).show(|ui| {
            for (text, hint, method) in COLLECTIONS {
                if ui.button(text).on_hover_text(hint).clicked() {
                    commands.push(acquire(method).into());
                }
            }
        });
    });
}

/// Engine, id, labels, and what keeps it from being frozen.
fn details(container: &Container) -> String {
    const MAX_LABELS: usize = 12;
    let mut lines = vec![format!("{} of {}", container.name, container.engine), container.id.clone()];
    lines.extend(container.labels.iter().take(MAX_LABELS).map(|(name, value)| format!("{name}={value}")));
    if container.labels.len() > MAX_LABELS {
        lines.push(format!("and {} more", text::counted(container.labels.len() - MAX_LABELS, "label", "labels")));
    }
    lines.extend(container.problem.iter().chain(&container.caution).cloned());
    lines.join("\n")
}
