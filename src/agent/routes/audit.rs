//! `GET /v1/audit?after=N`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};

use crate::acquire::wire::Audit;

use super::super::Agent;
use super::super::problem::{Failure, Outcome};
use super::{blocking, number};

pub(super) async fn audit(State(agent): State<Arc<Agent>>, RawQuery(query): RawQuery) -> Outcome<Json<Audit>> {
    let after = number(query.as_deref(), "after")?.unwrap_or(0);
    let read = blocking(&agent, move |agent| agent.audit.after(after)).await?;
    read.map(Json).map_err(|error| Failure::internal("the audit log cannot be read", error))
}
