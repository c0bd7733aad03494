//! Searches: starting, taking in what they find, walking it.

use std::sync::Arc;
use std::time::Instant;

use super::{navigate, start_job};
use crate::session::search::{MAX_SESSIONS, RulesState, SearchSession, SearchState, target_of};
use crate::session::{
    ArchiveId, Effect, FileChoice, JobEnd, JobId, JobWork, Model, NavigateCommand, PanelKind, SearchCommand, SearchId,
    SearchNews, SearchRequest,
};

pub(super) fn apply(model: &mut Model, command: SearchCommand) -> Vec<Effect> {
    match command {
        SearchCommand::Ask { pid } => vec![Effect::ShowPanel(PanelKind::Search), Effect::FocusSearch { pid }],
        SearchCommand::Start(request) => start(model, request),
        SearchCommand::Again(id) => {
            let request = session(model, id).map(|session| session.request.clone());
            request.map(|request| start(model, request)).unwrap_or_default()
        }
        SearchCommand::Stop(id) => {
            let job = session(model, id).filter(|session| session.is_running()).map(|session| session.job);
            job.map(|job| super::jobs::cancel(model, job)).unwrap_or_default()
        }
        SearchCommand::Close(id) => close(model, id),
        SearchCommand::Show(id) => {
            if let Some(active) = model.active_mut()
                && active.searches.get(id).is_some()
            {
                active.searches.shown = Some(id);
            }
            Vec::new()
        }
        SearchCommand::Filter { id, text } => {
            if let Some(session) = session_mut(model, id) {
                session.filter = text;
            }
            Vec::new()
        }
        SearchCommand::Found { archive, id, job, news } => {
            found(model, archive, id, job, news);
            Vec::new()
        }
        SearchCommand::Visit { id, hit, is_gone_to } => visit(model, id, hit, is_gone_to),
        SearchCommand::Step { is_forward } => {
            let shown = model.active().and_then(|active| active.searches.shown());
            let next = shown.and_then(|shown| Some((shown.id, shown.neighbour(is_forward)?)));
            next.map(|(id, hit)| visit(model, id, hit, true)).unwrap_or_default()
        }
        SearchCommand::ChooseRules => vec![Effect::ChooseFile(FileChoice::OpenRules)],
        SearchCommand::UseRules(paths) => {
            if let Some(active) = model.active_mut() {
                active.searches.rules = paths;
                active.searches.rules_state = RulesState::Unchecked;
                active.searches.rules_job = None;
            }
            let mut effects = vec![Effect::ShowPanel(PanelKind::Search)];
            effects.extend(check_rules(model));
            effects
        }
        SearchCommand::CheckRules => check_rules(model),
        SearchCommand::RulesChecked { archive, job, state } => {
            let open = model.archives.iter_mut().find(|open| open.id == archive);
            // Others may have been chosen meanwhile.
            if let Some(open) = open.filter(|open| open.searches.rules_job == Some(job)) {
                open.searches.rules_job = None;
                open.searches.rules_state = state;
            }
            Vec::new()
        }
        SearchCommand::Export(id) => {
            let hits = session(model, id).map(|session| session.hits.to_vec()).filter(|hits| !hits.is_empty());
            hits.map(|hits| Effect::ChooseFile(FileChoice::SaveHits { file_name: "hits.jsonl".into(), hits }))
                .into_iter()
                .collect()
        }
    }
}

/// Starts a job that compiles the rules, unless one is at it. Too quick and too many for the list of jobs.
fn check_rules(model: &mut Model) -> Vec<Effect> {
    let wanted =
        model.active().filter(|active| !active.searches.rules.is_empty() && active.searches.rules_job.is_none());
    let Some((archive, paths)) = wanted.map(|active| (active.id, active.searches.rules.clone())) else {
        return Vec::new();
    };
    model.next_job.0 += 1;
    let id = model.next_job;
    if let Some(active) = model.active_mut() {
        active.searches.rules_job = Some(id);
    }
    vec![Effect::StartJob { id, title: "Check rules".into(), work: JobWork::CheckRules { archive, paths } }]
}

fn session(model: &Model, id: SearchId) -> Option<&SearchSession> {
    model.active()?.searches.get(id)
}

fn session_mut(model: &mut Model, id: SearchId) -> Option<&mut SearchSession> {
    model.active_mut()?.searches.get_mut(id)
}

/// Starts a search; one that has asked the same before begins anew.
fn start(model: &mut Model, request: SearchRequest) -> Vec<Effect> {
    let Some(active) = model.active().filter(|active| active.arriving.is_none()) else { return Vec::new() };
    if request.problem(&active.checkpoint).is_some() {
        return Vec::new();
    }
    let (archive, memory) = (active.id, Arc::clone(&active.memory));
    let known = active.searches.sessions.iter().find(|session| session.request == request);
    let mut effects: Vec<Effect> =
        known.filter(|known| known.is_running()).map(|known| Effect::CancelJob(known.job)).into_iter().collect();
    let id = match known {
        Some(known) => known.id,
        None => {
            model.next_search.0 += 1;
            model.next_search
        }
    };
    let work = JobWork::Search { archive, id, memory, request: Box::new(request.clone()) };
    let (job, effect) = start_job(model, format!("Search {}", request.query.title()), work);
    effects.push(effect);
    if let Some(active) = model.active_mut() {
        let searches = &mut active.searches;
        let fresh = SearchSession::new(id, request, job);
        match searches.get_mut(id) {
            Some(known) => *known = fresh,
            None => searches.sessions.push(fresh),
        }
        if searches.sessions.len() > MAX_SESSIONS
            && let Some(oldest) = searches.sessions.iter().position(|session| !session.is_running())
        {
            searches.sessions.remove(oldest);
        }
        searches.shown = Some(id);
    }
    effects
}

fn close(model: &mut Model, id: SearchId) -> Vec<Effect> {
    let Some(active) = model.active_mut() else { return Vec::new() };
    let searches = &mut active.searches;
    let Some(at) = searches.sessions.iter().position(|session| session.id == id) else { return Vec::new() };
    let closed = searches.sessions.remove(at);
    if searches.shown == Some(id) {
        let neighbour = searches.sessions.get(at).or(searches.sessions.last());
        searches.shown = neighbour.map(|session| session.id);
    }
    if closed.is_running() { vec![Effect::CancelJob(closed.job)] } else { Vec::new() }
}

/// Takes in what a job has found; what a job of an earlier run still says is dropped.
fn found(model: &mut Model, archive: ArchiveId, id: SearchId, job: JobId, news: SearchNews) {
    let open = model.archives.iter_mut().find(|open| open.id == archive);
    let Some(session) = open.and_then(|open| open.searches.get_mut(id)).filter(|session| session.job == job) else {
        return;
    };
    if session.first_hit.is_none() && !news.hits.is_empty() {
        session.first_hit = Some(session.started.elapsed());
    }
    for hit in news.hits {
        session.hits.push(hit);
    }
    session.total = news.total;
    session.skipped = news.skipped;
    session.notes = news.notes;
}

/// A job has ended; whether it was one of a search.
pub(super) fn job_ended(model: &mut Model, job: JobId, end: &JobEnd) -> bool {
    let mut sessions = model.archives.iter_mut().flat_map(|archive| &mut archive.searches.sessions);
    let Some(session) = sessions.find(|session| session.job == job) else { return false };
    session.state = match end {
        JobEnd::Done => SearchState::Done,
        JobEnd::Cancelled => SearchState::Cancelled,
        JobEnd::Failed(why) => SearchState::Failed(why.clone()),
    };
    session.took = Some(Instant::now().saturating_duration_since(session.started));
    true
}

/// Makes a hit the one that the analyst is at, and shows its place.
fn visit(model: &mut Model, id: SearchId, hit: usize, is_gone_to: bool) -> Vec<Effect> {
    let Some(active) = model.active_mut() else { return Vec::new() };
    let Some(session) = active.searches.get_mut(id).filter(|session| hit < session.hits.len()) else {
        return Vec::new();
    };
    session.current = Some(hit);
    let target = session.current_hit().and_then(|hit| target_of(&active.checkpoint, hit));
    active.searches.shown = Some(id);
    match target {
        Some(target) if is_gone_to => navigate::apply(model, NavigateCommand::Go(target)),
        Some(target) => navigate::apply(model, NavigateCommand::Select(target)),
        None => Vec::new(),
    }
}
