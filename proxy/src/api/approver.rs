//! Held calls, and the approver's signed answer to exactly one of them.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use countersign_ledger::{
    Draft, Hash,
    record::{Time, body},
    statement::Statement,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Api, Role, bad_request, not_found, read, sealed_answer};
use crate::{
    problem::Problem,
    state::{Approved, Held, Live, StateError},
};

/// The type of an approver's statement.
pub const TYP: &str = "countersign-approval+jwt";

/// How long an approved call may wait to be made, in seconds.
pub const VALID_SECONDS: i64 = 3600;

/// How far the approver's clock may be off, in seconds.
const SKEW_SECONDS: i64 = 60;

/// What an approver signs: yes or no to exactly this call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The ledger.
    pub origin: String,
    /// The held call's entry.
    pub call: Hash,
    /// The call's digest.
    pub digest: String,
    /// `approved` or `denied`.
    pub decision: String,
    /// When the call was shown.
    pub shown: Time,
    /// When the answer was given.
    pub answered: Time,
    /// Until when an approval may be used, if that is sooner than [`VALID_SECONDS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    statement: String,
}

fn answered(call: &str) -> Problem {
    not_found(format!("`{call}` is no held call, was answered, or waits no longer"))
}

fn find(api: &Api, call: &str) -> Result<(std::sync::Arc<Live>, Held), Problem> {
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

/// The exact action, arguments, provenance and instruction of a held call.
fn show(api: &Api, call: &str, live: &Live, held: &Held) -> Result<Value, Problem> {
    let entry = api.gateway.entry(held.seq)?;
    let value = |name| api.gateway.value(held.seq, name).map_err(Problem::from);
    Ok(json!({
        "call": call,
        "entry": held.entry,
        "digest": held.digest,
        "time": entry.time,
        "expires": held.until.to_string(),
        "instruction": live.id,
        "words": live.lock().words,
        "agent": entry.text("agent"),
        "upstream": entry.text("upstream"),
        "action": entry.text("action"),
        "effect": entry.text("effect"),
        "arguments": value("arguments")?,
        "provenance": value("provenance")?,
        "reasons": value("messages")?,
        "budget": value("budget")?,
        "grant": entry.text("grant"),
        "policies": entry.body.get("policies"),
    }))
}

/// One held call.
pub(super) async fn one(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(call): Path<String>,
) -> Result<Response, Problem> {
    api.caller(&headers, &[Role::Approver])?;
    let (live, held) = find(&api, &call)?;
    let mut shown = show(&api, &call, &live, &held)?;
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("origin".to_owned(), api.gateway.ledger.origin().into());
    }
    Ok(axum::Json(shown).into_response())
}

pub(super) async fn list(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    api.caller(&headers, &[Role::Approver])?;
    let mut calls = Vec::new();
    for (call, _) in api.gateway.held() {
        // One may have been answered, or its content erased, since the list was taken.
        // What can no longer be made is not worth a human's time.
        if let Ok((live, held)) = find(&api, &call)
            && live.lock().grant_holds(&held.grant, api.gateway.now())
        {
            calls.push(show(&api, &call, &live, &held)?);
        }
    }
    Ok(axum::Json(json!({ "origin": api.gateway.ledger.origin(), "held": calls })).into_response())
}

fn after(api: &Api, seconds: i64) -> jiff::Timestamp {
    api.gateway.now().checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(jiff::Timestamp::MAX)
}

/// What the approver signed: with a key registered for them, about exactly this call, at a time that can be.
fn checked(api: &Api, party: &str, held: &Held, text: &str) -> Result<(Answered, body::Check), Problem> {
    let fail = |error: &dyn std::fmt::Display| bad_request(format!("`statement`: {error}")).with("field", "statement");
    let statement = Statement::parse(text).map_err(|error| fail(&error))?;
    let row = api.gateway.registry.read().key(statement.kid()).cloned();
    let row =
        row.filter(|row| row.party == party).ok_or_else(|| fail(&"the key is not registered for this approver"))?;
    let said: Answered = statement.verify(TYP, &row.jwk).map_err(|error| fail(&error))?;
    if said.origin != api.gateway.ledger.origin() || said.call != held.entry || said.digest != held.digest {
        return Err(fail(&"it is not about this call of this ledger"));
    }
    if !["approved", "denied"].contains(&said.decision.as_str()) {
        return Err(fail(&"`decision` is neither `approved` nor `denied`"));
    }
    let (shown, given) = (said.shown.instant(), said.answered.instant());
    if given < shown || given > after(api, SKEW_SECONDS) {
        return Err(fail(&"`answered` is before `shown`, or in the future"));
    }
    if said.expires.is_some_and(|until| until.instant() <= api.gateway.now()) {
        return Err(fail(&"`expires` is over"));
    }
    Ok((said, statement.check("valid", Some(party))))
}

pub(super) async fn decide(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(call): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (_, party) = api.caller(&headers, &[Role::Approver])?;
    let posted: Posted = read(&bytes)?;
    let (live, held) = find(&api, &call)?;
    if live.lock().agents(&held.grant).contains(&party) {
        return Err(bad_request("an agent's own call is approved by somebody else"));
    }
    let (said, check) = checked(&api, &party, &held, &posted.statement)?;
    let took = said.answered.instant().as_millisecond() - said.shown.instant().as_millisecond();
    let longest = after(&api, VALID_SECONDS);
    let expires = said.expires.map_or(longest, |until| until.instant().min(longest));
    let approval = body::Approval {
        call: held.entry,
        subject: live.subject.clone(),
        approver: party.clone(),
        decision: said.decision.clone(),
        shown: Some(said.shown),
        took_ms: u64::try_from(took).ok(),
        expires: Some(Time::new(expires)),
        check: Some(check),
        ..body::Approval::default()
    };
    let shown = show(&api, &call, &live, &held)?;
    let draft = || -> Result<Draft, StateError> {
        let (vault, subject) = (&api.gateway.vault, live.subject.as_str());
        let draft = Draft::new(&approval)?
            .of_instruction(&live.id)
            .caused_by([held.entry])
            .disclose(vault, subject, "digest", &held.digest)?
            .disclose(vault, subject, "shown", &shown)?
            .disclose(vault, subject, "statement", &posted.statement)?;
        Ok(draft)
    };
    let mut draft = draft()?;
    // INVARIANT: of several answers to one call, one is taken; who comes second finds that the call waits no more.
    draft.state.push(api.gateway.unhold_call(&call).ok_or_else(|| answered(&call))?);
    let sealed = match api.gateway.ledger.append(draft).await {
        Ok(sealed) => sealed,
        Err(error) => {
            // Nothing was answered: the call waits on.
            drop(api.gateway.hold_call(&call, &live.id));
            return Err(StateError::from(error).into());
        }
    };
    let approved =
        (said.decision == "approved").then_some(Approved { entry: sealed.hash, until: Time::new(expires).instant() });
    live.lock().answer_hold(&held.entry, &held.digest, approved);
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({ "call": call, "decision": said.decision })))
}
