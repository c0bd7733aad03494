//! `GET /v1/archives`, and of one archive: itself, its manifest, its log, the keep mark, and its end.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::{Extension, Json};

use crate::acquire::manifest::SignedManifest;
use crate::acquire::wire::{Archive, Archives, Requester};

use super::super::Agent;
use super::super::audit::Event;
use super::super::jobs::archive_log;
use super::super::problem::{Failure, Outcome};
use super::{blocking, record};

pub(super) async fn list(State(agent): State<Arc<Agent>>) -> Json<Archives> {
    Json(Archives { archives: agent.spool.list() })
}

pub(super) async fn get(State(agent): State<Arc<Agent>>, Path(id): Path<String>) -> Outcome<Json<Archive>> {
    Ok(Json(agent.spool.get(&id)?.view()))
}

pub(super) async fn manifest(State(agent): State<Arc<Agent>>, Path(id): Path<String>) -> Outcome<Json<SignedManifest>> {
    blocking(&agent, move |agent| agent.spool.manifest(&id)).await?.map(Json)
}

pub(super) async fn log(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    Path(id): Path<String>,
) -> Outcome<impl IntoResponse> {
    let id = agent.spool.get(&id)?.archive.id.clone();
    let _transfer = transfer(&agent)?;
    record(&agent, event(who, "log", &id, 200)).await?;
    let read = blocking(&agent, move |agent| {
        let (_, mut opened) = agent.spool.open_archive(&id)?;
        archive_log(&mut opened.file)
            .map_err(|error| Failure::new(422, "no-log", "the archive cannot be read as one").detail(error.to_string()))
    });
    let log = read.await??;
    let log = log.ok_or_else(|| Failure::new(404, "no-log", "the archive has no dump.log"))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], log))
}

pub(super) async fn keep(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    Path(id): Path<String>,
) -> Outcome<Json<Archive>> {
    mark(&agent, who, &id, true).await
}

pub(super) async fn unkeep(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    Path(id): Path<String>,
) -> Outcome<Json<Archive>> {
    mark(&agent, who, &id, false).await
}

pub(super) async fn delete(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    Path(id): Path<String>,
) -> Outcome<StatusCode> {
    let id = agent.spool.get(&id)?.archive.id.clone();
    if !agent.config.may_delete {
        record(&agent, event(who, "delete", &id, 403)).await?;
        return Err(Failure::new(403, "may-not-delete", "this agent deletes no archive on request")
            .hint("its operator allows it with --allow-delete; the oldest go by themselves when room is needed"));
    }
    record(&agent, event(who, "delete", &id, 204)).await?;
    blocking(&agent, move |agent| agent.spool.delete(&id)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// One of the places for transfers.
pub(super) fn transfer(agent: &Arc<Agent>) -> Outcome<tokio::sync::OwnedSemaphorePermit> {
    Arc::clone(&agent.transfers).try_acquire_owned().map_err(|_taken| {
        Failure::new(503, "too-many-transfers", "as many transfers as are allowed are under way").retry_after(5)
    })
}

async fn mark(agent: &Arc<Agent>, who: Requester, id: &str, keep: bool) -> Outcome<Json<Archive>> {
    let id = agent.spool.get(id)?.archive.id.clone();
    record(agent, event(who, if keep { "keep" } else { "unkeep" }, &id, 200)).await?;
    blocking(agent, move |agent| agent.spool.set_keep(&id, keep)).await?.map(Json)
}

fn event(who: Requester, action: &'static str, id: &str, status: u16) -> Event {
    Event { who, action, subject: Some(id.to_owned()), status, detail: None }
}
