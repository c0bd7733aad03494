//! `GET /v1/node`, `GET /v1/openapi.json`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use jiff::Timestamp;

use crate::acquire::wire::Node;

use super::super::Agent;
use super::super::problem::{Failure, Outcome};
use super::blocking;

pub(super) async fn node(State(agent): State<Arc<Agent>>) -> Outcome<Json<Node>> {
    let spool = blocking(&agent, |agent| agent.spool.state()).await?;
    let facts = &agent.facts;
    Ok(Json(Node {
        name: facts.name.clone(),
        agent_version: facts.agent_version.clone(),
        kernel: facts.kernel.clone(),
        arch: facts.arch.clone(),
        now: Timestamp::now(),
        public_key: agent.identity.public_key(),
        sources: agent.sources.describe().await,
        spool: spool.map_err(|error| Failure::internal("the spool cannot be looked at", error))?,
        may_delete: agent.config.may_delete,
    }))
}

pub(super) async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], super::OPENAPI)
}
