//! `POST /v1/checkpoints`, `POST /v1/collections`, `GET /v1/jobs`, `GET` and `DELETE /v1/jobs/{id}`.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::Timestamp;

use crate::acquire::wire::{CheckpointRequest, CollectionRequest, Job, JobKind, Jobs, Requester};

use super::super::audit::Event;
use super::super::jobs::{self, Order};
use super::super::problem::{Failure, Outcome};
use super::super::{Agent, limits};
use super::{json, number, record};

/// Longest that a runtime may be given.
const MAX_TIMEOUT_SECONDS: u32 = 6 * 60 * 60;
const MAX_REASON_CHARS: usize = 500;

pub(super) async fn checkpoint(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    body: Body,
) -> Outcome<(StatusCode, Json<Job>)> {
    let request: CheckpointRequest = json(body).await?;
    if !(1..=MAX_TIMEOUT_SECONDS).contains(&request.timeout_seconds) {
        let message = format!("timeout_seconds is between 1 and {MAX_TIMEOUT_SECONDS}");
        return Err(Failure::new(400, "bad-timeout", message));
    }
    let order = Order {
        container: agent.sources.find(&request.container).await?,
        kind: JobKind::Checkpoint,
        timeout_seconds: request.timeout_seconds,
        source: request.source,
        memory_limit_bytes: 0,
        is_held: false,
        who,
        reason: reason(request.reason)?,
        requested: Timestamp::now(),
    };
    start(&agent, "checkpoint", order).await
}

pub(super) async fn collection(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    body: Body,
) -> Outcome<(StatusCode, Json<Job>)> {
    let request: CollectionRequest = json(body).await?;
    let order = Order {
        container: agent.sources.find(&request.container).await?,
        kind: JobKind::Collection,
        timeout_seconds: 0,
        source: None,
        memory_limit_bytes: request.memory_limit_bytes.unwrap_or(limits::DEFAULT_COLLECTION_BYTES),
        is_held: request.hold,
        who,
        reason: reason(request.reason)?,
        requested: Timestamp::now(),
    };
    start(&agent, "collection", order).await
}

pub(super) async fn list(State(agent): State<Arc<Agent>>) -> Json<Jobs> {
    Json(agent.jobs.list())
}

pub(super) async fn get(
    State(agent): State<Arc<Agent>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Outcome<Json<Job>> {
    let seconds = number(query.as_deref(), "wait")?.unwrap_or(0);
    let wait = Duration::from_secs(seconds).min(limits::MAX_WAIT);
    agent.jobs.get(&id, wait).await.map(Json)
}

pub(super) async fn cancel(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    Path(id): Path<String>,
) -> Outcome<Json<Job>> {
    let job = agent.jobs.get(&id, Duration::ZERO).await?;
    record(&agent, Event { who, action: "cancel", subject: Some(job.id.clone()), status: 200, detail: None }).await?;
    agent.jobs.cancel(&job.id).map(Json)
}

/// Written down before it is begun.
async fn start(agent: &Arc<Agent>, action: &'static str, order: Order) -> Outcome<(StatusCode, Json<Job>)> {
    let container = &order.container;
    let names = [container.namespace.as_deref(), container.pod.as_deref(), Some(container.name.as_str())];
    let names = names.into_iter().flatten().collect::<Vec<_>>().join("/");
    let event = Event {
        who: order.who.clone(),
        action,
        subject: Some(container.id.clone()),
        status: 202,
        detail: Some(format!("{names}: {}", order.reason.as_deref().unwrap_or("no reason given"))),
    };
    record(agent, event).await?;
    Ok((StatusCode::ACCEPTED, Json(jobs::submit(agent, order)?)))
}

fn reason(text: Option<String>) -> Outcome<Option<String>> {
    if text.as_ref().is_some_and(|text| MAX_REASON_CHARS < text.chars().count()) {
        return Err(Failure::new(400, "bad-request", format!("a reason has at most {MAX_REASON_CHARS} letters")));
    }
    Ok(text)
}
