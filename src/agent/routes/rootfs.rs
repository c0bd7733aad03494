//! `GET /v1/containers/{id}/rootfs`: the container's base root file system as a tar.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;

use crate::acquire::wire::{NOTE, Requester};

use super::super::audit::Event;
use super::super::problem::{Failure, Outcome};
use super::super::{Agent, processes, rootfs, stream};
use super::archives::transfer;
use super::{blocking, record};

pub(super) async fn rootfs(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    Path(id): Path<String>,
) -> Outcome<impl IntoResponse> {
    let container = agent.sources.find(&id).await?;
    let permit = transfer(&agent)?;
    let id = container.id.clone();
    let opened = blocking(&agent, move |_| {
        let pids = processes::of_container(&id).unwrap_or_default();
        let pid = pids.first().copied().ok_or_else(|| {
            Failure::new(409, "container-not-running", "the container has no process to find its layers by")
        })?;
        rootfs::open(&rootfs::layers(pid)?).map_err(|error| Failure::internal("a layer cannot be opened", error))
    });
    let layers = opened.await??;
    let note = rootfs::unseen_marks().filter(|_| 1 < layers.len()).map(|note| [(NOTE, note)]);
    let detail = Some(format!("{} layers", layers.len()));
    record(&agent, Event { who, action: "rootfs", subject: Some(container.id), status: 200, detail }).await?;
    let body = stream::body(move |out| {
        let _permit = permit;
        rootfs::write(layers, out)
    });
    Ok(([(header::CONTENT_TYPE, "application/x-tar")], note, body))
}
