//! What an agent's token opens: its decision, its answer, the state of its own calls.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use countersign_ledger::{
    Draft,
    record::body::{self, Check},
    statement::Statement,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Api, bad_request, not_found, read, sealed_answer};
use crate::{
    problem::Problem,
    state::{HeldStatus, StateError},
    token::Claims,
};

/// The type of an agent's decision.
pub const DECISION: &str = "countersign-decision+jwt";
/// The type of an agent's answer.
pub const ANSWER: &str = "countersign-answer+jwt";

/// A statement, signed or not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted<T> {
    /// The agent's JWS.
    statement: Option<String>,
    /// The same without a signature.
    unsigned: Option<T>,
}

/// What an agent says that it chose.
#[derive(Deserialize, Serialize)]
struct Decided {
    action: String,
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    prompt_sha256: Option<String>,
    /// The agent's count of its decisions under this grant, from 0.
    #[serde(default)]
    n: Option<u64>,
    /// The last checkpoint the agent has seen.
    #[serde(default)]
    checkpoint: Option<String>,
}

/// What an agent told its user.
#[derive(Deserialize, Serialize)]
struct Answered {
    text: String,
    /// The agent's count of its answers under this grant, from 0.
    #[serde(default)]
    n: Option<u64>,
    /// How many decisions it stated before.
    #[serde(default)]
    decisions: Option<u64>,
    #[serde(default)]
    checkpoint: Option<String>,
}

/// Reads a statement and says what was found when its signature was checked.
fn statement<T: DeserializeOwned + Serialize>(
    api: &Api,
    claims: &Claims,
    typ: &str,
    bytes: &Bytes,
) -> Result<(T, Option<Check>, Option<String>), Problem> {
    let posted: Posted<T> = read(bytes)?;
    let bound = claims.cnf.as_ref().map(|cnf| cnf.jkt.as_str());
    let text = match posted {
        Posted { statement: None, unsigned: Some(_) } if bound.is_some() => {
            return Err(bad_request("the grant is bound to a key, so what is stated under it must be signed with it"));
        }
        Posted { statement: None, unsigned: Some(unsigned) } => return Ok((unsigned, None, None)),
        Posted { statement: Some(text), unsigned: None } => text,
        _ => return Err(bad_request("give either `statement` or `unsigned`")),
    };
    let jws = Statement::parse(&text).map_err(|error| bad_request(format!("`statement`: {error}")))?;
    if bound.is_some_and(|bound| bound != jws.kid()) {
        return Err(
            bad_request("`statement` is signed with another key than the grant is bound to").with("field", "statement")
        );
    }
    let registry = api.gateway.registry.read();
    let Some(row) = registry.signer(jws.kid()) else {
        // Recorded as what it is: a statement that cannot be checked.
        let said = serde_json::from_value(jws.payload_unverified().clone())
            .map_err(|error| bad_request(format!("`statement`: {error}")))?;
        return Ok((said, Some(jws.check("unknown_key", None)), Some(text)));
    };
    if row.party != claims.agent() {
        return Err(bad_request("`statement` is signed with another party's key"));
    }
    let said = jws.verify(typ, &row.jwk).map_err(|error| bad_request(format!("`statement`: {error}")))?;
    // A statement that says what it is about counts there only.
    if jws.payload_unverified().get("grant").is_some_and(|grant| *grant != claims.jti) {
        return Err(bad_request("`statement` is about another grant").with("field", "statement"));
    }
    Ok((said, Some(jws.check("valid", Some(&row.party))), Some(text)))
}

pub(super) async fn decide(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let claims = api.agent(&headers)?;
    let (said, check, text): (Decided, _, _) = statement(&api, &claims, DECISION, &bytes)?;
    let gateway = &api.gateway;
    let live = gateway.live(&claims.instruction)?;
    let decision = body::Decision {
        grant: claims.jti.clone(),
        subject: live.subject.clone(),
        source: "agent".to_owned(),
        agent: claims.agent().to_owned(),
        n: said.n,
        action: said.action.clone(),
        model: said.model.clone(),
        check,
        ..body::Decision::default()
    };
    let (vault, subject) = (&gateway.vault, live.subject.as_str());
    let draft = || -> Result<Draft, StateError> {
        let mut draft = Draft::new(&decision)?
            .of_instruction(&live.id)
            .caused_by(live.lock().state(&claims.jti).map(|grant| grant.entry))
            .disclose(vault, subject, "arguments", &said.arguments)?;
        for (name, value) in [("reason", &said.reason), ("prompt", &said.prompt_sha256), ("statement", &text)] {
            if let Some(value) = value {
                draft = draft.disclose(vault, subject, name, value)?;
            }
        }
        Ok(draft)
    };
    let sealed = gateway.ledger.append(draft()?).await.map_err(StateError::from)?;
    live.lock().decisions.insert(sealed.hash);
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({ "decision": sealed.hash })))
}

pub(super) async fn answer(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let claims = api.agent(&headers)?;
    let (said, check, text): (Answered, _, _) = statement(&api, &claims, ANSWER, &bytes)?;
    let gateway = &api.gateway;
    let live = gateway.live(&claims.instruction)?;
    let answer = body::Answer {
        grant: claims.jti.clone(),
        subject: live.subject.clone(),
        agent: claims.agent().to_owned(),
        n: said.n,
        decisions: said.decisions,
        check,
        ..body::Answer::default()
    };
    let draft = || -> Result<Draft, StateError> {
        let mut draft = Draft::new(&answer)?
            .of_instruction(&live.id)
            .caused_by(live.lock().state(&claims.jti).map(|grant| grant.entry))
            .disclose(&gateway.vault, &live.subject, "text", &said.text)?;
        if let Some(text) = &text {
            draft = draft.disclose(&gateway.vault, &live.subject, "statement", text)?;
        }
        Ok(draft)
    };
    let sealed = gateway.ledger.append(draft()?).await.map_err(StateError::from)?;
    let mut inner = live.lock();
    // Others work on under their own grants until the agent that the host named has answered.
    if inner.grant.as_ref().is_some_and(|grant| grant.grant.id == claims.jti) {
        inner.answered = true;
        gateway.ended(&live.id);
    }
    drop(inner);
    Ok(sealed_answer(StatusCode::CREATED, &sealed, json!({})))
}

/// How a held call of the agent's own stands.
pub(super) async fn call(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(call): Path<String>,
) -> Result<Response, Problem> {
    let claims = api.agent(&headers)?;
    let live = api.gateway.live(&claims.instruction)?;
    let inner = live.lock();
    let own = inner.held.get(&call).filter(|held| inner.is_below(&held.grant, &claims.jti));
    let held = own.ok_or_else(|| not_found(format!("`{call}` is no held call under this grant")))?;
    let status = match held.status {
        HeldStatus::Waiting if !held.waits(api.gateway.now()) => "expired",
        HeldStatus::Waiting => "waiting",
        HeldStatus::Approved => "approved",
        HeldStatus::Denied => "denied",
    };
    Ok(axum::Json(json!({ "call": call, "entry": held.entry, "status": status, "expires": held.until.to_string() }))
        .into_response())
}
