//! Held calls as an approver sees them, one by one and all.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use countersign_ledger::Hash;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Role, answering::answer, not_found, read};
use crate::{
    problem::Problem,
    state::{Held, Live},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Posted {
    /// A JWS, or a passkey's assertion.
    pub(super) statement: Value,
}

pub(super) fn answered(call: &str) -> Problem {
    not_found(format!("`{call}` is no held call, was answered, or waits no longer"))
}

/// A held call that waits, with its instruction.
pub(super) fn find(api: &Api, call: &str) -> Result<(Arc<Live>, Held), Problem> {
    let missing = || answered(call);
    let instruction = api.gateway.instruction_of_held(call).ok_or_else(missing)?;
    let live = api.gateway.live(&instruction)?;
    let held = live.lock().held.get(call).filter(|held| held.waits(api.gateway.now())).cloned().ok_or_else(missing)?;
    // What is withdrawn is not to be decided, while it is.
    let entry = api.gateway.entry(held.seq)?;
    let (agents, revoked) = {
        let inner = live.lock();
        (inner.agents(&held.grant), inner.state(&held.grant).is_none_or(|grant| grant.revoked))
    };
    let withdrawn = api.gateway.registry.read().revocation(&agents, &live.subject, entry.text("action"));
    if withdrawn.is_some() || revoked {
        return Err(missing());
    }
    Ok((live, held))
}

/// The exact action, arguments, provenance and instruction of a held call. It rests on sealed entries alone, so it is the same whenever it is shown.
pub(super) fn show(api: &Api, call: &str, live: &Live, held: &Held) -> Result<Value, Problem> {
    let entry = api.gateway.entry(held.seq)?;
    let value = |name| api.gateway.value(held.seq, name).map_err(Problem::from);
    let (upstream, action) = (entry.text("upstream").unwrap_or_default(), entry.text("action").unwrap_or_default());
    let mut shown = json!({
        "origin": api.gateway.ledger.origin(),
        "call": call,
        "entry": held.entry,
        "digest": held.digest,
        "time": entry.time,
        "expires": held.until.to_string(),
        "needs": held.needs,
        "instruction": live.id,
        "words": live.lock().words,
        "agent": entry.text("agent"),
        "upstream": upstream,
        "action": action,
        "effect": entry.text("effect"),
        "arguments": value("arguments")?,
        "provenance": value("provenance")?,
        "reasons": value("messages")?,
        "budget": value("budget")?,
        "grant": entry.text("grant"),
        "policies": entry.body.get("policies"),
    });
    // As the catalogue says that the call was judged by.
    let policies: Vec<Hash> =
        entry.body.get("policies").and_then(|all| serde_json::from_value(all.clone()).ok()).unwrap_or_default();
    let catalogue = api.gateway.catalogue_of(upstream, &policies);
    let declared = catalogue.as_ref().and_then(|catalogue| catalogue.action(action));
    for (name, _) in declared.iter().flat_map(|action| &action.arguments).filter(|(_, argument)| argument.sensitive) {
        hide(&mut shown, name);
    }
    Ok(shown)
}

/// What the catalogue calls sensitive is not shown to an approver either.
fn hide(shown: &mut Value, name: &str) {
    let hidden = || json!({ "hidden": "sensitive" });
    if let Some(value) = shown.pointer_mut("/arguments").and_then(|arguments| arguments.get_mut(name)) {
        *value = hidden();
    }
    let traced = shown.get_mut("provenance").and_then(Value::as_array_mut).into_iter().flatten();
    for found in traced.filter(|found| found.get("argument").and_then(Value::as_str) == Some(name)) {
        if let Some(value) = found.get_mut("value") {
            *value = hidden();
        }
    }
}

/// What was shown, with who said yes so far, which changes.
fn with_yes(mut shown: Value, held: &Held) -> Value {
    let yes: Vec<&str> = held.yes.iter().map(|yes| yes.approver.as_str()).collect();
    if let Some(members) = shown.as_object_mut() {
        members.insert("approved_by".to_owned(), json!(yes));
    }
    shown
}

/// One held call.
pub(super) async fn one(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(call): Path<String>,
) -> Result<Response, Problem> {
    api.caller(&headers, &[Role::Approver])?;
    let (live, held) = find(&api, &call)?;
    Ok(axum::Json(with_yes(show(&api, &call, &live, &held)?, &held)).into_response())
}

/// Every call that waits and can still be made: what was shown, and how it stands.
pub(super) fn waiting(api: &Api) -> Result<Vec<(Value, Held)>, Problem> {
    let mut calls = Vec::new();
    for (call, _) in api.gateway.held() {
        // One may have been answered, or its content erased, since the list was taken.
        // What can no longer be made is not worth a human's time.
        if let Ok((live, held)) = find(api, &call)
            && live.lock().grant_holds(&held.grant, api.gateway.now())
        {
            calls.push((show(api, &call, &live, &held)?, held));
        }
    }
    Ok(calls)
}

pub(super) async fn list(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    api.caller(&headers, &[Role::Approver])?;
    let held = waiting(&api)?.into_iter().map(|(shown, held)| with_yes(shown, &held)).collect::<Vec<_>>();
    Ok(axum::Json(json!({ "origin": api.gateway.ledger.origin(), "held": held })).into_response())
}

pub(super) async fn decide(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(call): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (_, party) = api.caller(&headers, &[Role::Approver])?;
    let posted: Posted = read(&bytes)?;
    answer(&api, &party, &call, &posted.statement).await
}
