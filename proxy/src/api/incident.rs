//! A claim of harm: who claims it, what it is, which calls are in question. Whatever it needs is kept from erasure until it is closed.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
};
use countersign_ledger::{
    Draft, Hash,
    record::{EntryError, body},
    writer::Sealed,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, Role, bad_request, not_found, read, reader::access, reconciliation::call, sealed_answer};
use crate::{
    problem::Problem,
    state::{IncidentRow, Registry, StateError},
};

/// The most calls of one incident.
const MAX_CALLS: usize = 100;

/// The most instructions, so that what is kept of it stays small.
const MAX_INSTRUCTIONS: usize = 20;

/// The longest text of a claim, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 10;

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
enum Asked {
    Opened {
        claimant: String,
        harm: String,
        #[serde(default)]
        amount: Option<String>,
        calls: Vec<Hash>,
    },
    Closed {
        incident: String,
        reason: String,
    },
}

pub(super) async fn incident(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Operator])?;
    match read(&bytes)? {
        Asked::Opened { claimant, harm, amount, calls } => {
            let texts = [("claimant", Some(&claimant)), ("harm", Some(&harm)), ("amount", amount.as_ref())];
            for (name, text) in texts {
                if text.is_some_and(|text| text.trim().is_empty() || text.len() > MAX_TEXT_BYTES) {
                    let detail = format!("`{name}` must be 1 to {MAX_TEXT_BYTES} bytes");
                    return Err(bad_request(detail).with("field", name));
                }
            }
            let claim = json!({ "claimant": claimant, "harm": harm, "amount": amount });
            open(&api, by, &claim, &calls).await
        }
        Asked::Closed { incident, reason } => close(&api, by, &incident, &reason).await,
    }
}

/// The incidents that are open.
pub(super) async fn list(State(api): State<Api>, headers: HeaderMap) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Operator])?;
    access(&api, by, "incidents", "", &[]).await?;
    let registry = api.gateway.registry.read();
    let rows: Vec<Value> = registry
        .incidents
        .iter()
        .map(|(id, row)| json!({ "incident": id, "instructions": row.instructions, "holds": row.holds }))
        .collect();
    drop(registry);
    Ok(axum::Json(json!({ "incidents": rows })).into_response())
}

/// An instruction in question.
struct Concerned {
    subject: String,
    calls: Vec<Hash>,
}

fn concerned(api: &Api, calls: &[Hash]) -> Result<BTreeMap<String, Concerned>, Problem> {
    if calls.is_empty() || calls.len() > MAX_CALLS {
        return Err(bad_request(format!("name 1 to {MAX_CALLS} calls by their entries' hashes")).with("field", "calls"));
    }
    let mut found: BTreeMap<String, Concerned> = BTreeMap::new();
    for (at, hash) in calls.iter().enumerate() {
        let field = |problem: Problem| problem.with("field", format!("calls[{at}]"));
        let entry = call(api, hash)?.ok_or_else(|| field(not_found(format!("there is no call `{hash}`"))))?;
        let subject = entry.text("subject").map(str::to_owned);
        let Some((instruction, subject)) = entry.instruction.zip(subject) else {
            return Err(field(bad_request("the call belongs to no instruction: its token was not accepted")));
        };
        if api.gateway.vault.principal(&subject).is_none() {
            return Err(field(bad_request("the content of this call was erased")));
        }
        let one = found.entry(instruction).or_insert(Concerned { subject, calls: Vec::new() });
        if !one.calls.contains(hash) {
            one.calls.push(*hash);
        }
    }
    if found.len() > MAX_INSTRUCTIONS {
        return Err(
            bad_request(format!("the calls are of more than {MAX_INSTRUCTIONS} instructions")).with("field", "calls")
        );
    }
    Ok(found)
}

async fn open(api: &Api, by: String, claim: &Value, calls: &[Hash]) -> Result<Response, Problem> {
    let gateway = &api.gateway;
    let found = concerned(api, calls)?;
    let id = uuid::Uuid::now_v7().to_string();
    // The holds first: nothing that the claim names may be erased in between.
    let mut holds: BTreeMap<&str, String> = BTreeMap::new();
    for one in found.values().filter(|one| one.subject != gateway.nobody) {
        if !holds.contains_key(one.subject.as_str()) {
            let (hold, _) = gateway.hold(None, &one.subject, by.clone(), format!("incident {id}")).await?;
            holds.insert(&one.subject, hold);
        }
    }
    let row = IncidentRow { instructions: found.keys().cloned().collect(), holds: holds.into_values().collect() };
    let state = json!(row).to_string();
    let mut last = None;
    for (instruction, one) in &found {
        let mut draft = draft(&id, "opened", &one.calls, &by)?
            .of_instruction(instruction)
            .disclose(&gateway.vault, &one.subject, "claim", claim)
            .map_err(StateError::from)?;
        draft.state.push(Registry::put("incident", &id, Some(state.clone())));
        last = Some(gateway.ledger.append(draft).await.map_err(StateError::from)?);
    }
    gateway.registry.write().incidents.insert(id.clone(), row.clone());
    answer(last, &json!({ "incident": id, "holds": row.holds, "instructions": row.instructions }))
}

async fn close(api: &Api, by: String, id: &str, reason: &str) -> Result<Response, Problem> {
    let gateway = &api.gateway;
    let row = gateway.registry.read().incidents.get(id).cloned();
    let row = row.ok_or_else(|| not_found(format!("there is no open incident `{id}`")))?;
    let mut last = None;
    for instruction in &row.instructions {
        let mut draft = draft(id, "closed", &[], &by)?.of_instruction(instruction);
        draft.body.set("reason", reason).map_err(EntryError::from).map_err(StateError::from)?;
        draft.state.push(Registry::put("incident", id, None));
        last = Some(gateway.ledger.append(draft).await.map_err(StateError::from)?);
    }
    gateway.registry.write().incidents.remove(id);
    for hold in &row.holds {
        let subject = gateway.registry.read().holds.get(hold).cloned();
        // Somebody may have released it by hand.
        if let Some(subject) = subject {
            gateway.hold(Some(hold.clone()), &subject, by.clone(), format!("incident {id} is closed")).await?;
        }
    }
    answer(last, &json!({ "incident": id }))
}

fn draft(id: &str, event: &str, calls: &[Hash], by: &str) -> Result<Draft, StateError> {
    let incident = body::Incident {
        incident: id.to_owned(),
        event: event.to_owned(),
        calls: calls.to_vec(),
        by: by.to_owned(),
        ..body::Incident::default()
    };
    Ok(Draft::new(&incident)?.caused_by(calls.iter().copied()))
}

fn answer(last: Option<Sealed>, value: &Value) -> Result<Response, Problem> {
    let last = last.ok_or_else(|| bad_request("the incident concerns nothing"))?;
    Ok(sealed_answer(StatusCode::CREATED, &last, value))
}
