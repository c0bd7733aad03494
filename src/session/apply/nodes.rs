//! Nodes: listing, pairing, asking, acquiring.

use std::sync::Arc;

use super::start_job;
use crate::acquire::PullControl;
use crate::session::nodes::{Acquisition, AcquisitionEnd, Change, ListState, NodeState, Order, Pairing, Wanted};
use crate::session::{Effect, JobId, JobWork, Level, Model, NodesCommand, PanelKind};

/// Acquisitions that are remembered.
const MAX_ACQUISITIONS: usize = 200;

pub(super) fn apply(model: &mut Model, command: NodesCommand) -> Vec<Effect> {
    match command {
        NodesCommand::Look => look(model),
        NodesCommand::Listed { job, mut rows } => {
            if model.nodes.list != ListState::Looking(job) {
                return Vec::new();
            }
            for row in &mut rows {
                if let Some(before) = model.nodes.row_mut(&row.name).filter(|_| row.problem.is_none()) {
                    row.state = std::mem::take(&mut before.state);
                }
            }
            model.nodes.list = ListState::Known;
            model.nodes.rows = rows;
            if model.nodes.selected().is_none() && !model.nodes.shows_all {
                model.nodes.selected = model.nodes.rows.first().map(|row| row.name.clone());
            }
            ask_if_unknown(model)
        }
        NodesCommand::AskToPair => {
            model.nodes.pairing = match model.nodes.pairing {
                Pairing::Running(job) => Pairing::Running(job),
                _ => Pairing::Idle,
            };
            vec![Effect::AskToPair]
        }
        NodesCommand::Pair { address, code, name, proxy } => {
            if matches!(model.nodes.pairing, Pairing::Running(_)) {
                return Vec::new();
            }
            let title = format!("Pair with {address}");
            let (job, effect) = start_job(model, title, JobWork::PairNode { address, code, name, proxy });
            model.nodes.pairing = Pairing::Running(job);
            vec![effect]
        }
        NodesCommand::Paired { job, name } => {
            if model.nodes.pairing == Pairing::Running(job) {
                model.nodes.pairing = Pairing::Idle;
            }
            model.notifications.push(Level::Success, format!("Paired with {name}"), "");
            model.nodes.selected = Some(name);
            model.nodes.shows_all = false;
            look(model)
        }
        NodesCommand::Forget(name) => {
            let title = format!("Forget {name}");
            vec![start_job(model, title, JobWork::ForgetNode { name }).1]
        }
        NodesCommand::Forgotten(name) => {
            model.nodes.rows.retain(|row| row.name != name);
            model.nodes.waiting.remove(&name);
            look(model)
        }
        NodesCommand::Select(name) => {
            model.nodes.selected = Some(name);
            model.nodes.shows_all = false;
            ask_if_unknown(model)
        }
        NodesCommand::SelectAll => {
            model.nodes.shows_all = true;
            ask_if_unknown(model)
        }
        NodesCommand::Ask(name) => ask(model, &name),
        NodesCommand::Told { job, name, told } => {
            if let Some(row) = model.nodes.row_mut(&name)
                && matches!(row.state, NodeState::Asking(at, _) if at == job)
            {
                row.state = NodeState::Told(told);
            }
            Vec::new()
        }
        NodesCommand::Acquire { node, called, wanted } => acquire(model, Order { node, called, wanted }, false),
        NodesCommand::AcquireAll(orders) => {
            let all = &mut model.nodes.waiting;
            orders.into_iter().for_each(|order| all.entry(order.node.clone()).or_default().push_back(order));
            let names: Vec<String> = all.keys().cloned().collect();
            names.into_iter().flat_map(|name| acquire_next(model, &name)).collect()
        }
        NodesCommand::LeaveOut { node } => {
            model.nodes.waiting.remove(&node);
            Vec::new()
        }
        NodesCommand::Change { node, archive, change } => {
            let title = match change {
                Change::Keep(true) => format!("Keep {archive} on {node}"),
                Change::Keep(false) => format!("Keep {archive} on {node} no longer"),
                Change::Delete => format!("Delete {archive} on {node}"),
            };
            vec![start_job(model, title, JobWork::ChangeOnNode { node, archive, change }).1]
        }
        NodesCommand::Changed { node } => ask(model, &node),
        NodesCommand::Happened { job, step } => {
            if let Some(acquisition) = model.nodes.acquisition_mut(job) {
                acquisition.step = step;
            }
            Vec::new()
        }
        NodesCommand::Acquired { job, path, sha256, notes } => {
            let Some(acquisition) = model.nodes.acquisition_mut(job) else { return Vec::new() };
            acquisition.end = Some(AcquisitionEnd::Here(path.clone()));
            acquisition.notes = notes;
            let is_shown = acquisition.is_shown;
            let (node, called) = (acquisition.node.clone(), acquisition.called.clone());
            let detail = format!("from {node}; SHA-256 {sha256}, signed by the node");
            model.notifications.push(Level::Success, format!("Acquired {called}"), detail);
            let mut effects = ask(model, &node);
            if is_shown {
                model.hashes_due.push(path.clone());
                effects.extend(super::archives::open_fetched(model, job, path));
            }
            effects
        }
        NodesCommand::Hold { job, is_held } => {
            let held = model.nodes.acquisition_mut(job).filter(|acquisition| acquisition.end.is_none());
            held.map(|held| Effect::HoldPull { control: Arc::clone(&held.control), is_held }).into_iter().collect()
        }
    }
}

fn look(model: &mut Model) -> Vec<Effect> {
    if matches!(model.nodes.list, ListState::Looking(_)) {
        return Vec::new();
    }
    let (job, effect) = start_job(model, "List nodes".into(), JobWork::ListNodes);
    model.nodes.list = ListState::Looking(job);
    vec![effect]
}

fn ask_if_unknown(model: &mut Model) -> Vec<Effect> {
    let nodes = &model.nodes;
    let shown = nodes.rows.iter().filter(|row| nodes.shows_all || Some(&row.name) == nodes.selected.as_ref());
    let unknown = shown.filter(|row| matches!(row.state, NodeState::Unknown)).map(|row| row.name.clone());
    let names: Vec<String> = unknown.collect();
    names.into_iter().flat_map(|name| ask(model, &name)).collect()
}

fn ask(model: &mut Model, name: &str) -> Vec<Effect> {
    let Some(row) = model.nodes.row_mut(name) else { return Vec::new() };
    let before = match &row.state {
        NodeState::Asking(..) => return Vec::new(),
        NodeState::Told(told) => Some(Arc::clone(told)),
        NodeState::Unknown | NodeState::Failed(_) => None,
    };
    let name = row.name.clone();
    let (job, effect) = start_job(model, format!("Ask {name}"), JobWork::AskNode { name: name.clone() });
    if let Some(row) = model.nodes.row_mut(&name) {
        row.state = NodeState::Asking(job, before);
    }
    vec![effect]
}

/// Goes on with a series of which this was one, or with the next of many.
pub(super) fn go_on(model: &mut Model, ended: JobId) -> Vec<Effect> {
    let Some(acquisition) = model.nodes.acquisition_mut(ended) else { return Vec::new() };
    let (node, called) = (acquisition.node.clone(), acquisition.called.clone());
    if acquisition.is_of_many {
        return acquire_next(model, &node);
    }
    let next = acquisition.wanted.next().filter(|_| acquisition.end != Some(AcquisitionEnd::Cancelled));
    next.map(|wanted| acquire(model, Order { node, called, wanted }, false)).unwrap_or_default()
}

/// The next of those that wait for a node, unless one of them is under way.
fn acquire_next(model: &mut Model, node: &str) -> Vec<Effect> {
    let is_one = |it: &Acquisition| it.is_of_many && it.node == node && it.end.is_none();
    if model.nodes.acquisitions.iter().any(is_one) {
        return Vec::new();
    }
    let Some(orders) = model.nodes.waiting.get_mut(node) else { return Vec::new() };
    let order = orders.pop_front();
    if orders.is_empty() {
        model.nodes.waiting.remove(node);
    }
    order.map(|order| acquire(model, order, true)).unwrap_or_default()
}

fn acquire(model: &mut Model, order: Order, is_of_many: bool) -> Vec<Effect> {
    let Order { node, called, wanted } = order;
    let control: Arc<PullControl> = Arc::default();
    let verb = if matches!(wanted, Wanted::Freeze { .. }) { "Freeze" } else { "Fetch" };
    let title = format!("{verb} {called} on {node}");
    let work = JobWork::Acquire { node: node.clone(), wanted: wanted.clone(), control: Arc::clone(&control) };
    let (job, effect) = start_job(model, title, work);
    let all = &mut model.nodes.acquisitions;
    let step = "asking the node".into();
    let is_shown = wanted.series().is_none() && !is_of_many;
    if !is_shown {
        control.growing.end();
    }
    let notes = Vec::new();
    all.push(Acquisition { job, node, called, wanted, step, notes, control, is_shown, is_of_many, end: None });
    if all.len() > MAX_ACQUISITIONS
        && let Some(oldest) = all.iter().position(|acquisition| acquisition.end.is_some())
    {
        all.remove(oldest);
    }
    vec![Effect::ShowPanel(PanelKind::Nodes), effect]
}
