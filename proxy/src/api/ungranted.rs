//! An instruction of which no grant came, because no model proposed a scope: that it was given, and why nothing was granted, is on record.

use axum::response::{IntoResponse as _, Response};
use countersign_ledger::{Draft, record::body};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::{Api, entry_headers};
use crate::{
    problem::Problem,
    propose::Unproposed,
    state::{Gateway, StateError},
};

/// What the instruction's entry says of it.
pub(super) fn why(unproposed: &Unproposed) -> body::Ungranted {
    body::Ungranted { reason: unproposed.error.code().to_owned(), model: unproposed.model.clone() }
}

/// Writes the instruction, and answers with the problem and where it is on record.
pub(super) async fn refuse(
    api: &Api,
    (id, subject): (&str, &str),
    draft: Draft,
    unproposed: &Unproposed,
) -> Result<Response, Problem> {
    let gateway: &Gateway = &api.gateway;
    let error = &unproposed.error;
    tracing::warn!(instruction = id, reason = error.code(), "no scope was proposed for an instruction");
    let draft = draft.disclose(&gateway.vault, subject, "proposal", &unproposed.record).map_err(StateError::from)?;
    let sealed = gateway.ledger.append(draft).await.map_err(StateError::from)?;
    gateway.ended(id);
    let detail = format!("{error}; nothing was granted");
    let problem = Problem::new(StatusCode::BAD_GATEWAY, "proposal-failed", "No scope was proposed", detail)
        .with("instruction", id)
        .with("entry", json!(sealed.hash))
        .with("seq", sealed.seq)
        .with("proof", sealed.proof.to_string());
    let mut response = problem.into_response();
    for (name, value) in entry_headers(&sealed) {
        response.headers_mut().extend(HeaderValue::from_str(&value).ok().map(|value| (name, value)));
    }
    Ok(response)
}
