//! What `countersign reconcile` found in an API's own log, recorded.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use countersign_ledger::{
    Draft, Entry, Hash, Kind,
    ledger::ReadError,
    record::{Time, body},
    vault::VaultError,
    writer::Ticket,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Role, bad_request, named, read, sealed_answer, settle::Grounds};
use crate::{problem::Problem, state::StateError};

/// The most that is recorded at once.
const MAX_FOUND: usize = 500;

/// What can be said of a call.
const OF_CALLS: [&str; 7] = ["not_seen", "differs", "twice", "time", "undetermined", EXECUTED, NOT_EXECUTED];

/// What settles a call of which nobody knew whether it was executed.
const EXECUTED: &str = "executed";
const NOT_EXECUTED: &str = "not_executed";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reconciled {
    run: String,
    upstream: String,
    found: Vec<Found>,
    /// With the last of a run.
    #[serde(default)]
    summary: Option<Summary>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    result: String,
    #[serde(default)]
    call: Option<Hash>,
    details: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Summary {
    format: String,
    log_sha256: Hash,
    from: Time,
    to: Time,
    counts: BTreeMap<String, u64>,
}

pub(super) async fn record(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Operator])?;
    let asked: Reconciled = read(&bytes)?;
    named("run", &asked.run)?;
    named("upstream", &asked.upstream)?;
    if asked.found.len() > MAX_FOUND || asked.found.is_empty() && asked.summary.is_none() {
        return Err(bad_request(format!("give up to {MAX_FOUND} of `found`, or the `summary`")).with("field", "found"));
    }
    let draft = |body: &body::Reconciliation| Draft::new(body).map_err(StateError::from);
    let of_run = || body::Reconciliation {
        run: asked.run.clone(),
        upstream: asked.upstream.clone(),
        by: by.clone(),
        ..body::Reconciliation::default()
    };
    let mut drafts = Vec::new();
    for (at, found) in asked.found.iter().enumerate() {
        let field = |problem: Problem| problem.with("field", format!("found[{at}]"));
        let call = of_call(&api, found, &asked.upstream).map_err(field)?;
        let made = body::Reconciliation { call: found.call, result: Some(found.result.clone()), ..of_run() };
        let mut draft = draft(&made)?.caused_by(found.call);
        draft.instruction = call.as_ref().and_then(|call| call.instruction.clone());
        let subject = call.as_ref().and_then(|call| call.text("subject")).unwrap_or(&api.gateway.nobody).to_owned();
        drafts.push(with_details(&api, draft, &subject, &found.details)?);
    }
    if let Some(Summary { format, log_sha256, from, to, counts }) = asked.summary {
        drafts.push(draft(&body::Reconciliation {
            format: Some(format),
            log_sha256: Some(log_sha256),
            from: Some(from),
            to: Some(to),
            counts: Some(counts),
            ..of_run()
        })?);
    }
    let recorded = drafts.len();
    let queued: Result<Vec<Ticket>, _> = drafts.into_iter().map(|draft| api.gateway.ledger.enqueue(draft)).collect();
    let mut sealed = Vec::new();
    for ticket in queued.map_err(StateError::from)? {
        sealed.push(ticket.sealed().await.map_err(StateError::from)?);
    }
    let mut settled = 0_u64;
    for (found, entry) in asked.found.iter().zip(&sealed) {
        settled += u64::from(settle(&api, found, entry.hash, &by).await?);
    }
    let last = sealed.last().ok_or_else(|| bad_request("there is nothing to record"))?;
    Ok(sealed_answer(StatusCode::CREATED, last, json!({ "recorded": recorded, "settled": settled })))
}

/// Settles a call of which nobody knew whether it was executed, on the log's word; false when the entry settles nothing, or nothing was open.
async fn settle(api: &Api, found: &Found, entry: Hash, by: &str) -> Result<bool, Problem> {
    let (Some(call), EXECUTED | NOT_EXECUTED) = (found.call, found.result.as_str()) else { return Ok(false) };
    let grounds =
        Grounds { source: "reconciliation", by: by.to_owned(), reason: None, entry: Some(entry), statement: None };
    Ok(api.gateway.settle(&call, found.result == EXECUTED, grounds).await?.is_some())
}

/// The call that something is said of; none for what only a line without a call is.
fn of_call(api: &Api, found: &Found, upstream: &str) -> Result<Option<Entry>, Problem> {
    let Some(hash) = &found.call else {
        return if found.result == "bypass" { Ok(None) } else { Err(bad_request("only a `bypass` has no `call`")) };
    };
    if !OF_CALLS.contains(&found.result.as_str()) {
        return Err(bad_request(format!("the `result` of a call is one of {}", OF_CALLS.join(", "))));
    }
    call(api, hash)?
        .filter(|call| call.text("upstream") == Some(upstream))
        .map(Some)
        .ok_or_else(|| bad_request(format!("there is no call `{hash}` to `{upstream}`")))
}

/// The call of an entry.
pub(super) fn call(api: &Api, hash: &Hash) -> Result<Option<Entry>, Problem> {
    let gone = |error: ReadError| Problem::from(StateError::from(error));
    let Some(seq) = api.gateway.ledger.find(hash).map_err(gone)? else { return Ok(None) };
    let bytes = api.gateway.ledger.entry(seq).map_err(gone)?;
    let entry = Entry::parse(&bytes).map_err(StateError::from)?;
    Ok(Some(entry).filter(|entry| entry.kind == Kind::Call))
}

/// Of whom was erased nothing more is kept than the result.
fn with_details(api: &Api, draft: Draft, subject: &str, details: &Value) -> Result<Draft, StateError> {
    match draft.clone().disclose(&api.gateway.vault, subject, "details", details) {
        Err(VaultError::NoKey(_)) => Ok(draft),
        disclosed => Ok(disclosed?),
    }
}
