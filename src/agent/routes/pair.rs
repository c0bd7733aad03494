//! `POST /v1/pair`: a code and a certificate request become a certificate.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use jiff::Timestamp;

use crate::acquire::wire::{PairAnswer, PairRequest, Requester};

use super::super::Agent;
use super::super::audit::Event;
use super::super::identity;
use super::super::problem::{Failure, Outcome};
use super::super::tls::peer_certificate;
use super::{blocking, json, record};

pub(super) async fn pair(
    State(agent): State<Arc<Agent>>,
    Extension(who): Extension<Requester>,
    body: Body,
) -> Outcome<Json<PairAnswer>> {
    let request: PairRequest = json(body).await?;
    let paired = blocking(&agent, move |agent| exchange(agent, &request)).await?;
    let (status, detail) = match &paired {
        Ok((_, client)) => (200, client.clone()),
        Err(failure) => (failure.status, failure.problem.code.clone()),
    };
    record(&agent, Event { who, action: "pair", subject: None, status, detail: Some(detail) }).await?;
    paired.map(|(answer, _)| Json(answer))
}

/// The answer, and the client in words for the log.
fn exchange(agent: &Agent, request: &PairRequest) -> Outcome<(PairAnswer, String)> {
    if !agent.config.may_pair {
        return Err(Failure::new(403, "pairing-off", "this agent does not pair")
            .hint("its operator hands out certificates; ask them"));
    }
    agent.pairing.redeem(&request.secret, Timestamp::now())?;
    // The code is used up even when the request is bad: whoever knew it sends a bad one by mistake at most once.
    let issued = agent.identity.issue_client(&request.csr, agent.config.client_life);
    let certificate = issued.map_err(|error| {
        Failure::new(400, "bad-csr", "this is not a certificate request in PEM").detail(error.to_string())
    })?;
    let fingerprint = identity::fingerprint(&certificate);
    let name = peer_certificate(Some(std::slice::from_ref(&certificate))).map(|peer| peer.name).unwrap_or_default();
    agent
        .clients
        .add(&fingerprint, &name, Timestamp::now())
        .map_err(|error| Failure::internal("the list of clients cannot be written", error))?;
    let answer = PairAnswer {
        certificate: identity::pem("CERTIFICATE", &certificate),
        authority: agent.identity.authority_pem(),
        node: agent.facts.name.clone(),
        public_key: agent.identity.public_key(),
    };
    Ok((answer, format!("{name} {fingerprint}")))
}
