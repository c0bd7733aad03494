//! `GET /v1/containers`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::acquire::wire::Containers;

use super::super::Agent;

pub(super) async fn list(State(agent): State<Arc<Agent>>) -> Json<Containers> {
    Json(agent.sources.containers().await)
}
