//! Nodes with an agent: which there are, what runs on them, freezing it, fetching archives.
//!
//! | file | draws |
//! |---|---|
//! | `list` | the nodes of the user |
//! | `node` | what the selected one says of itself, or what all do |
//! | `containers`, `archives` | what runs there, what waits there |
//! | `acquisitions` | what is on its way here, and what came |

mod acquisitions;
mod archives;
mod containers;
mod list;
mod node;

use egui::{Align, CentralPanel, Frame, Layout, Panel, Ui};

use crate::base::escape_controls;
use crate::session::nodes::{ListState, NodeRow, NodeState, Nodes};
use crate::session::{Command, JobRow, NodesCommand};
use crate::ui::icons;
use crate::ui::tokens::{SPACE_M, SPACE_S, Tokens};
use crate::ui::widgets::{button, empty_state, primary_button, tab_strip};

/// Room for what can be done with a row.
const ACTION_WIDTH: f32 = 128.0;

/// What the panel keeps.
#[derive(Debug)]
pub struct NodesState {
    tab: Tab,
    filter: String,
    wants_filter: bool,
    /// For the manifest and the node's audit log.
    reason: String,
    /// How many checkpoints are made of a container, and how many seconds lie between their beginnings.
    times: u32,
    every_seconds: u32,
}

impl Default for NodesState {
    fn default() -> NodesState {
        let (filter, reason) = (String::new(), String::new());
        NodesState { tab: Tab::default(), filter, wants_filter: false, reason, times: 1, every_seconds: 30 }
    }
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
    CentralPanel::default().frame(Frame::NONE).show(ui, |ui| {
        let rect = ui.max_rect();
        ui.painter().vline(rect.left() + 0.5, rect.y_range(), egui::Stroke::new(1.0, line));
        match nodes.selected() {
            Some(row) => node::node_ui(ui, nodes, row, jobs, state, &mut commands),
            None if nodes.shows_all() => node::all_ui(ui, nodes, jobs, state, &mut commands),
            None => empty_state(ui, icons::NODES, "No node is selected", "Choose one in the list."),
        }
    });
    commands
}

/// What runs on these nodes, what waits there, what comes from any.
fn tabs_ui(
    ui: &mut Ui,
    nodes: &Nodes,
    rows: &[&NodeRow],
    jobs: &[JobRow],
    state: &mut NodesState,
    commands: &mut Vec<Command>,
) {
    let told = || rows.iter().filter_map(|row| row.state.told());
    let under_way = nodes.acquisitions().iter().filter(|acquisition| acquisition.end.is_none()).count();
    let waiting: usize = nodes.waiting().map(|(_, count)| count).sum();
    let tabs = [
        ("Containers", told().map(|told| told.containers.containers.len()).sum()),
        ("Archives", told().map(|told| told.archives.archives.len()).sum()),
        ("Acquisitions", under_way.saturating_add(waiting)),
    ];
    let all = [Tab::Containers, Tab::Archives, Tab::Acquisitions];
    let at = all.iter().position(|tab| *tab == state.tab).unwrap_or_default();
    state.tab = all.get(tab_strip(ui, &tabs, at)).copied().unwrap_or_default();
    match (state.tab, rows) {
        (Tab::Acquisitions, _) => acquisitions::acquisitions_ui(ui, nodes, jobs, commands),
        (_, [row]) if row.state.told().is_none() => silent_ui(ui, row),
        (Tab::Containers, _) => containers::containers_ui(ui, rows, state, commands),
        (Tab::Archives, _) => archives::archives_ui(ui, rows, commands),
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
            let hint = "An agent on a Kubernetes node, or any machine with Podman or Docker, freezes containers and sends the archives here, hashed and signed. Run `cryoscope-agent pair` there and pair with the code that it prints.";
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable as _;

    use super::*;
    use crate::acquire::freeze::Method;
    use crate::acquire::wire::{
        Archives, Container, ContainerState, Containers, Node, Source, SourceKind, Spool, default_timeout_seconds,
    };
    use crate::session::nodes::{AcquisitionEnd, NodeRow, NodeState, Told, Wanted};
    use crate::session::{Effect, JobEnd, JobId, JobWork, JobsCommand, Model, apply};

    fn container(name: &str, state: ContainerState, problem: Option<&str>) -> Container {
        Container {
            id: format!("{name}-id"),
            name: name.into(),
            pod: Some("web".into()),
            namespace: Some("shop".into()),
            image: Some("registry.example/shop/front:1".into()),
            image_id: None,
            engine: "cri-o".into(),
            source: SourceKind::Kubelet,
            state,
            created: None,
            pid: None,
            labels: BTreeMap::new(),
            problem: problem.map(str::to_owned),
            caution: None,
        }
    }

    fn told() -> Told {
        let source = |kind, ready| Source { kind, address: "a".into(), version: None, ready, problem: None };
        Told {
            node: Node {
                name: "node-a".into(),
                agent_version: "0.1.0".into(),
                kernel: "6.12".into(),
                arch: "x86_64".into(),
                now: jiff::Timestamp::UNIX_EPOCH,
                public_key: String::new(),
                sources: vec![source(SourceKind::Kubelet, true), source(SourceKind::Proc, true)],
                spool: Spool { used_bytes: 0, limit_bytes: 1, free_bytes: 1, reserve_bytes: 0 },
                may_delete: false,
            },
            containers: Containers {
                containers: vec![
                    container("front", ContainerState::Running, None),
                    container("done", ContainerState::Exited, None),
                ],
                issues: vec!["the CRI socket does not answer".into()],
            },
            archives: Archives::default(),
        }
    }

    fn started(effects: &[Effect]) -> JobId {
        let job = effects.iter().find_map(|effect| match effect {
            Effect::StartJob { id, .. } => Some(*id),
            _ => None,
        });
        job.unwrap()
    }

    /// A model that knows one node, and the job that asks it.
    fn model() -> (Model, JobId) {
        let mut model = Model::default();
        let job = started(&apply(&mut model, NodesCommand::Look.into()));
        let row = NodeRow {
            name: "node-a".into(),
            address: "node-a:7443".into(),
            fingerprint: "ab".repeat(32),
            paired: jiff::Timestamp::UNIX_EPOCH,
            problem: None,
            state: NodeState::Unknown,
        };
        let asking = started(&apply(&mut model, NodesCommand::Listed { job, rows: vec![row] }.into()));
        (model, asking)
    }

    fn harness(model: &Model, state: NodesState) -> Harness<'_, (NodesState, Vec<Command>)> {
        Harness::builder().with_size([900.0, 500.0]).with_context_setup(crate::ui::install).build_ui_state(
            |ui, (state, commands): &mut (NodesState, Vec<Command>)| {
                commands.extend(nodes_ui(ui, model.nodes(), model.jobs(), state));
            },
            (state, Vec::new()),
        )
    }

    #[test]
    fn running_container_is_frozen_with_the_reason_and_one_that_ended_is_not() {
        assert!(default_timeout_seconds() > 120);
        let (mut model, job) = model();
        let _ = apply(&mut model, NodesCommand::Told { job, name: "node-a".into(), told: Arc::new(told()) }.into());
        let mut harness = harness(&model, NodesState { reason: " case 7 ".into(), ..NodesState::default() });
        harness.run();
        harness.get_by_label_contains("the CRI socket does not answer");
        let links: Vec<_> = harness.get_all_by_label("Freeze").collect();
        assert_eq!(links.len(), 2);
        links.iter().for_each(|link| link.click());
        drop(links);
        harness.run();
        let asked: Vec<_> = harness
            .state()
            .1
            .iter()
            .filter_map(|command| match command {
                Command::Nodes(NodesCommand::Acquire { node, called, wanted }) => Some((node, called, wanted)),
                _ => None,
            })
            .collect();
        let [(node, called, Wanted::Freeze { container, method: Method::Checkpoint, reason, series: None })] =
            asked.as_slice()
        else {
            panic!("{asked:?}");
        };
        assert_eq!((node.as_str(), called.as_str(), container.as_str()), ("node-a", "shop/web/front", "front-id"));
        assert_eq!(reason.as_deref(), Some("case 7"));
    }

    #[test]
    fn all_nodes_are_shown_as_one_and_what_has_a_label_is_frozen_at_once() {
        let (mut model, job) = model();
        let look = started(&apply(&mut model, NodesCommand::Look.into()));
        let mut rows = model.nodes().rows().to_vec();
        rows.push(NodeRow { name: "node-b".into(), state: NodeState::Unknown, ..rows[0].clone() });
        rows.push(NodeRow { name: "node-c".into(), state: NodeState::Failed("refused".into()), ..rows[0].clone() });
        let _ = apply(&mut model, NodesCommand::Listed { job: look, rows }.into());
        let asking = started(&apply(&mut model, NodesCommand::SelectAll.into()));
        for (job, name) in [(job, "node-a"), (asking, "node-b")] {
            let mut told = told();
            for it in &mut told.containers.containers {
                it.labels.insert("app".into(), if it.name == "front" { name } else { "x" }.into());
            }
            let mut other = container("back", ContainerState::Running, None);
            other.labels.insert("tier".into(), "db".into());
            told.containers.containers.push(other);
            let _ = apply(&mut model, NodesCommand::Told { job, name: name.into(), told: Arc::new(told) }.into());
        }
        let mut harness = harness(&model, NodesState { filter: "tier=db".into(), ..NodesState::default() });
        harness.run();
        harness.get_by_label_contains("2 of 3 have answered");
        harness.get_by_label_contains("2 of 6 containers");
        harness.get_by_label_contains("node-c: refused");
        harness.get_by_label("Freeze all 2").click();
        harness.run();
        let asked = harness.state().1.iter().find_map(|command| match command {
            Command::Nodes(NodesCommand::AcquireAll(orders)) => Some(orders),
            _ => None,
        });
        let whence: Vec<_> = asked.unwrap().iter().map(|it| (it.node.as_str(), it.called.as_str())).collect();
        assert_eq!(whence, [("node-a", "shop/web/back"), ("node-b", "shop/web/back")]);
    }

    #[test]
    fn node_that_does_not_answer_says_why_and_can_be_asked_again() {
        let (mut model, job) = model();
        let end = JobEnd::Failed("connection refused".into());
        let _ = apply(&mut model, JobsCommand::Ended { id: job, end }.into());
        {
            let mut harness = harness(&model, NodesState::default());
            harness.run();
            harness.get_by_label_contains("connection refused");
            harness.get_by_label("Ask again").click();
            harness.run();
            assert!(
                harness
                    .state()
                    .1
                    .iter()
                    .any(|command| matches!(command, Command::Nodes(NodesCommand::Ask(name)) if name == "node-a"))
            );
        }
        assert_eq!(model.notifications().unseen(), 0, "the panel says it");
    }

    #[test]
    fn archive_that_came_is_opened_and_one_that_did_not_says_why() {
        let (mut model, job) = model();
        let _ = apply(&mut model, NodesCommand::Told { job, name: "node-a".into(), told: Arc::new(told()) }.into());
        let acquire = |model: &mut Model| {
            let wanted = Wanted::Fetch { archive: "a1".into() };
            let command = NodesCommand::Acquire { node: "node-a".into(), called: "front".into(), wanted };
            started(&apply(model, command.into()))
        };
        let came = acquire(&mut model);
        let path: std::path::PathBuf = "/data/archives/a.tar".into();
        let acquired = NodesCommand::Acquired { job: came, path: path.clone(), sha256: "ab".into(), notes: Vec::new() };
        let effects = apply(&mut model, acquired.into());
        let opened = effects.iter().any(
            |effect| matches!(effect, Effect::StartJob { work: JobWork::OpenArchive(opened), .. } if *opened == path),
        );
        assert!(opened, "{effects:?}");
        let _ = apply(&mut model, JobsCommand::Ended { id: came, end: JobEnd::Done }.into());
        let failed = acquire(&mut model);
        let end = JobEnd::Failed("the signature does not fit".into());
        let _ = apply(&mut model, JobsCommand::Ended { id: failed, end }.into());
        let ends: Vec<_> = model.nodes().acquisitions().iter().map(|acquisition| acquisition.end.clone()).collect();
        let why = AcquisitionEnd::Failed("the signature does not fit".into());
        assert_eq!(ends, [Some(AcquisitionEnd::Here(path)), Some(why)]);
        let mut harness = harness(&model, NodesState { tab: Tab::Acquisitions, ..NodesState::default() });
        harness.run();
        harness.get_by_label_contains("the signature does not fit");
        harness.get_by_label("Open");
    }
}
