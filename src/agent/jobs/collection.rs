//! A collection: the container's processes by way of /proc.

use std::sync::Arc;

use crate::agent::Agent;
use crate::agent::problem::{Failure, Outcome};

use super::{Order, Running};

/// Makes the archive, and gives its id.
///
/// # Errors
/// What went wrong, and what to do.
pub async fn run(_agent: &Arc<Agent>, _order: &Order, _job: &Running) -> Outcome<String> {
    Err(Failure::new(501, "unsupported", "collections are not made by this agent"))
}
