//! Requests: the table of routes, who may use them, and what all of them have in common.

mod archives;
mod audit;
mod containers;
mod content;
mod jobs;
mod node;
mod pair;
mod rootfs;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post, put};
use serde::de::DeserializeOwned;

use crate::acquire::wire::Requester;

use super::audit::Event;
use super::problem::{Failure, Outcome};
use super::server::Peer;
use super::{Agent, limits};

/// The API for programs.
pub const OPENAPI: &str = include_str!("../../../assets/agent/openapi.json");

/// A path, its methods, and who answers.
pub type Route = (&'static str, &'static [&'static str], MethodRouter<Arc<Agent>>);

/// Each path with its methods.
pub fn table() -> Vec<Route> {
    vec![
        ("/v1/node", &["get"], get(node::node)),
        ("/v1/containers", &["get"], get(containers::list)),
        ("/v1/containers/{id}/rootfs", &["get"], get(rootfs::rootfs)),
        ("/v1/checkpoints", &["post"], post(jobs::checkpoint)),
        ("/v1/collections", &["post"], post(jobs::collection)),
        ("/v1/jobs", &["get"], get(jobs::list)),
        ("/v1/jobs/{id}", &["get", "delete"], get(jobs::get).delete(jobs::cancel)),
        ("/v1/archives", &["get"], get(archives::list)),
        ("/v1/archives/{id}", &["get", "delete"], get(archives::get).delete(archives::delete)),
        ("/v1/archives/{id}/content", &["get", "head"], get(content::content).head(content::content)),
        ("/v1/archives/{id}/manifest", &["get"], get(archives::manifest)),
        ("/v1/archives/{id}/log", &["get"], get(archives::log)),
        ("/v1/archives/{id}/keep", &["put", "delete"], put(archives::keep).delete(archives::unkeep)),
        ("/v1/audit", &["get"], get(audit::audit)),
        ("/v1/pair", &["post"], post(pair::pair)),
        ("/v1/openapi.json", &["get"], get(node::openapi)),
    ]
}

/// Everything that is served.
pub fn router(agent: Arc<Agent>) -> Router {
    let mut router = Router::new();
    for (path, _, methods) in table() {
        router = router.route(path, methods.fallback(wrong_method));
    }
    router.fallback(not_found).layer(middleware::from_fn_with_state(Arc::clone(&agent), guard)).with_state(agent)
}

async fn wrong_method() -> Failure {
    Failure::new(405, "wrong-method", "this path is not asked in this way")
}

async fn not_found() -> Failure {
    Failure::new(404, "no-such-path", "there is nothing at this path").hint("GET /v1/openapi.json lists all of them")
}

/// Lets a request through: not too many, by a certificate that is good, answered in time.
async fn guard(State(agent): State<Arc<Agent>>, mut request: Request, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().cloned() else {
        return Failure::internal("a request has no other end", "").into_response();
    };
    let who = requester(&peer);
    let mut response = match admit(&agent, &peer, &who, request.uri().path()).await {
        Err(failure) => failure.into_response(),
        Ok(()) => {
            request.extensions_mut().insert(who);
            let answered = tokio::time::timeout(limits::ANSWER_DEADLINE, next.run(request)).await;
            let late = |_late| Failure::new(503, "too-slow", "the agent could not answer in time").into_response();
            answered.unwrap_or_else(late)
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn admit(agent: &Arc<Agent>, peer: &Peer, who: &Requester, path: &str) -> Outcome<()> {
    let (client, rate) = match &peer.certificate {
        Some(certificate) => (certificate.fingerprint.clone(), limits::KNOWN),
        None => (peer.address.ip().to_string(), limits::UNKNOWN),
    };
    agent.limiter.admit(&client, rate, Instant::now()).map_err(|seconds| {
        Failure::new(429, "too-many-requests", format!("too many requests: come again in {seconds} s"))
            .retry_after(seconds)
    })?;
    let refusal = match &peer.certificate {
        None if path == "/v1/pair" => return Ok(()),
        None => Failure::new(401, "certificate-needed", "this needs the certificate of a paired workstation")
            .hint("pair first: `cryoscope-agent pair` on the node prints a code"),
        Some(certificate) => {
            let fingerprint = certificate.fingerprint.clone();
            match blocking(agent, move |agent| agent.clients.is_revoked(&fingerprint)).await? {
                Ok(false) => return Ok(()),
                Ok(true) => Failure::new(403, "certificate-revoked", "this certificate was revoked on the node")
                    .hint("pair again"),
                Err(error) => return Err(Failure::internal("the list of clients cannot be read", error)),
            }
        }
    };
    let event = Event {
        who: who.clone(),
        action: "refuse",
        subject: Some(path.to_owned()),
        status: refusal.status,
        detail: Some(refusal.problem.code.clone()),
    };
    record(agent, event).await?;
    Err(refusal)
}

fn requester(peer: &Peer) -> Requester {
    Requester {
        name: peer.certificate.as_ref().map(|certificate| certificate.name.clone()),
        fingerprint: peer.certificate.as_ref().map(|certificate| certificate.fingerprint.clone()),
        address: Some(peer.address.to_string()),
    }
}

/// Runs what touches a disk or takes time.
async fn blocking<T: Send + 'static>(
    agent: &Arc<Agent>,
    work: impl FnOnce(&Arc<Agent>) -> T + Send + 'static,
) -> Outcome<T> {
    let agent = Arc::clone(agent);
    tokio::task::spawn_blocking(move || work(&agent))
        .await
        .map_err(|error| Failure::internal("a request came to a bad end", error))
}

/// Writes down what was done, or is done next.
async fn record(agent: &Arc<Agent>, event: Event) -> Outcome<()> {
    blocking(agent, |agent| agent.audit.write(event))
        .await?
        .map_err(|error| Failure::internal("the audit log cannot be written, so nothing is done", error))
}

/// Reads a request's body as JSON.
async fn json<T: DeserializeOwned>(body: Body) -> Outcome<T> {
    let read = tokio::time::timeout(limits::BODY_DEADLINE, to_bytes(body, limits::MAX_BODY_BYTES)).await;
    let read = read.map_err(|_late| Failure::new(408, "too-slow", "the body did not arrive in time"))?;
    let bytes = read.map_err(|error| {
        let reason = error.into_inner().to_string();
        if reason.contains("length limit") {
            Failure::new(413, "too-large", format!("the body is longer than {} bytes", limits::MAX_BODY_BYTES))
        } else {
            Failure::new(400, "bad-request", "the body broke off").detail(reason)
        }
    })?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Failure::new(400, "bad-request", "the body is not what this path takes").detail(error.to_string())
    })
}

/// A number in the query of a request.
fn number(query: Option<&str>, name: &str) -> Outcome<Option<u64>> {
    let Some(value) = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    else {
        return Ok(None);
    };
    let bad = || Failure::new(400, "bad-request", format!("{name} is a whole number, 0 or more"));
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // As many digits as there are; a number beyond all others is the largest.
    Some(value).filter(|_| is_number).map(|value| Some(value.parse().unwrap_or(u64::MAX))).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn openapi_document_has_the_paths_and_methods_that_are_served() {
        let document: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let mut described = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                described.insert(format!("{method} {path}"));
            }
        }
        let served = table().into_iter();
        let served = served.flat_map(|(path, methods, _)| methods.iter().map(move |method| format!("{method} {path}")));
        assert_eq!(described, served.collect());
    }

    #[test]
    fn number_in_a_query_is_digits_only() {
        assert_eq!(number(Some("after=12&x"), "after"), Ok(Some(12)));
        assert_eq!(number(Some("before=12"), "after"), Ok(None));
        assert_eq!(number(Some("after=99999999999999999999"), "after"), Ok(Some(u64::MAX)));
        for wrong in ["after=", "after=-1", "after=+1", "after=1e3"] {
            assert!(number(Some(wrong), "after").is_err(), "{wrong}");
        }
    }
}
