//! What investigators read, and what anybody may: checkpoints and proofs.

use axum::{
    extract::{Path, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use countersign_ledger::{Draft, Hash, ledger::ReadError, record::body};
use serde_json::{Map, Value, json};

use super::{Api, Role, bad_request, not_found};
use crate::{problem::Problem, state::StateError};

fn gone(error: ReadError) -> Problem {
    match error {
        ReadError::Missing { .. } => not_found(error.to_string()),
        other => StateError::from(other).into(),
    }
}

/// An entry with its bytes and what opens of it.
fn show(api: &Api, seq: u64) -> Result<Value, Problem> {
    let bytes = api.gateway.ledger.entry(seq).map_err(gone)?;
    let values: Map<String, Value> = api
        .gateway
        .disclosures(seq)?
        .into_iter()
        .map(|disclosure| (disclosure.name().to_owned(), disclosure.value().clone()))
        .collect();
    Ok(json!({ "seq": seq, "hash": Hash::of(&bytes), "bytes": String::from_utf8_lossy(&bytes), "values": values }))
}

/// A look is itself an entry.
pub(super) async fn access(api: &Api, by: String, what: &str, of: &str, shown: &[Value]) -> Result<(), Problem> {
    let mut disclosed: Vec<String> = shown
        .iter()
        .filter_map(|entry| entry.get("values")?.as_object())
        .flat_map(|values| values.keys().cloned())
        .collect();
    disclosed.sort();
    disclosed.dedup();
    let entry = body::Access { by, what: what.to_owned(), of: of.to_owned(), disclosed, ..body::Access::default() };
    api.gateway.ledger.append(Draft::new(&entry).map_err(StateError::from)?).await.map_err(StateError::from)?;
    Ok(())
}

pub(super) async fn entry(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(entry): Path<String>,
) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Investigator])?;
    let seq = match (entry.parse::<u64>(), entry.parse::<Hash>()) {
        (_, Ok(hash)) => api
            .gateway
            .ledger
            .find(&hash)
            .map_err(gone)?
            .ok_or_else(|| not_found("there is no entry with this hash"))?,
        (Ok(seq), _) => seq,
        _ => return Err(bad_request("name an entry by its number or its hash of 64 hexadecimal digits")),
    };
    let shown = show(&api, seq)?;
    access(&api, by, "show", &entry, std::slice::from_ref(&shown)).await?;
    Ok(axum::Json(shown).into_response())
}

pub(super) async fn instruction(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (_, by) = api.caller(&headers, &[Role::Investigator])?;
    let numbers = api.gateway.ledger.of_instruction(&id).map_err(gone)?;
    if numbers.is_empty() {
        return Err(not_found("there is no such instruction"));
    }
    let entries = numbers.into_iter().map(|seq| show(&api, seq)).collect::<Result<Vec<_>, _>>()?;
    access(&api, by, "trace", &id, &entries).await?;
    Ok(axum::Json(json!({ "instruction": id, "entries": entries })).into_response())
}

pub(super) async fn proof(State(api): State<Api>, Path(seq): Path<u64>) -> Result<String, Problem> {
    Ok(api.gateway.ledger.proof(seq).map_err(gone)?.to_string())
}

pub(super) async fn consistency(
    State(api): State<Api>,
    Path((old, size)): Path<(u64, u64)>,
) -> Result<Response, Problem> {
    let path = api.gateway.ledger.consistency(old, size).map_err(gone)?;
    Ok(axum::Json(json!({ "old": old, "size": size, "path": path })).into_response())
}

pub(super) async fn checkpoint(State(api): State<Api>) -> String {
    api.gateway.ledger.head().to_string()
}
