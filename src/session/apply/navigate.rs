//! Places: the one selection, back and forward.

use crate::session::{Effect, Model, NavigateCommand, PanelKind, Place, Target};

pub(super) fn apply(model: &mut Model, command: NavigateCommand) -> Vec<Effect> {
    match command {
        NavigateCommand::Go(target) => {
            let panel = target.panel();
            select(model, target);
            vec![Effect::ShowPanel(panel)]
        }
        NavigateCommand::Select(target) => {
            select(model, target);
            Vec::new()
        }
        NavigateCommand::Back => {
            let place = model.history.back().cloned();
            return_to(model, place)
        }
        NavigateCommand::Forward => {
            let place = model.history.forward().cloned();
            return_to(model, place)
        }
        NavigateCommand::Step(by) => {
            let place = model.history.step(by).cloned();
            return_to(model, place)
        }
    }
}

/// Makes the place that is shown the current one of the history.
pub(super) fn visit_current(model: &mut Model) {
    if let Some(active) = model.active() {
        let place = Place { archive: active.id(), target: active.target().clone() };
        model.history.visit(place);
    }
}

fn select(model: &mut Model, target: Target) {
    set_target(model, target);
    visit_current(model);
}

/// Follows the target with everything that hangs on it: the process, its tab.
fn set_target(model: &mut Model, target: Target) {
    let Some(active) = model.active_mut() else {
        return;
    };
    // Panels that belong to no archive leave the selection alone.
    if matches!(target, Target::Panel(PanelKind::Jobs | PanelKind::Notifications)) {
        return;
    }
    active.arrivals = active.arrivals.wrapping_add(1);
    if let Some(pid) = target.pid() {
        active.pid = Some(pid);
    }
    if let Some(tab) = target.process_tab_shown() {
        active.tab = tab;
    }
    // A place in the history knows its tab, so that going back shows the same tab.
    active.target = match target {
        Target::Process { pid, tab: None } => Target::Process { pid, tab: Some(active.tab) },
        target => target,
    };
}

fn return_to(model: &mut Model, place: Option<Place>) -> Vec<Effect> {
    let Some(place) = place else {
        return Vec::new();
    };
    if model.archive(place.archive).is_none() {
        return Vec::new();
    }
    model.active = Some(place.archive);
    let panel = place.target.panel();
    set_target(model, place.target);
    vec![Effect::ShowPanel(panel)]
}
