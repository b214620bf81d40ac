//! What a model proposed and what can do much harm waits until the host, or the user with a key of their own, says yes to it.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use countersign_authorize::grant::Grant;
use countersign_ledger::{record::body, statement::Statement};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Api, Role, bad_request, host::GrantEntry, read, sealed_answer};
use crate::{
    problem::Problem,
    state::{Live, StateError},
};

/// The type of a principal's consent.
pub const TYP: &str = "countersign-consent+jwt";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Consent {
    /// The actions that wait, by name.
    actions: Vec<String>,
    /// The principal's JWS over [`Said`].
    #[serde(default)]
    statement: Option<String>,
}

/// What a principal signs.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    origin: String,
    instruction: String,
    actions: Vec<String>,
}

pub(super) async fn consent(
    State(api): State<Api>,
    headers: HeaderMap,
    Path(instruction): Path<String>,
    bytes: Bytes,
) -> Result<Response, Problem> {
    let (_, host) = api.caller(&headers, &[Role::Host])?;
    let asked: Consent = read(&bytes)?;
    let gateway = &api.gateway;
    let live = gateway.live(&instruction)?;
    if live.host != host {
        return Err(StateError::NoInstruction(instruction).into());
    }
    if asked.actions.is_empty() {
        return Err(bad_request("`actions` names what is consented to").with("field", "actions"));
    }
    let check = check(&api, &live, &asked)?;
    let _turn = gateway.administer().await;
    let (grant, ticket) = {
        let inner = live.lock();
        let state = inner.grant.as_ref().filter(|_| inner.holds(gateway.now()));
        let state = state.ok_or_else(|| bad_request("the instruction's grant was withdrawn or is over"))?;
        let mut pending = inner.pending.clone();
        let mut grant: Grant = state.grant.clone();
        for name in &asked.actions {
            let action = pending.remove(name);
            let action = action
                .ok_or_else(|| bad_request(format!("`{name}` does not wait for consent")).with("field", "actions"))?;
            grant.actions.insert(name.clone(), action);
        }
        let entry = GrantEntry {
            grant: &grant,
            rules: &gateway.rules(),
            subject: &live.subject,
            withheld: &[],
            pending: &pending,
            proposed: None,
            consent: Some((if check.is_some() { "user_key" } else { "host" }, check, asked.statement.as_deref())),
        };
        // INVARIANT: queued under the instruction's lock, so that it does not stand behind a withdrawal of the grant.
        let draft = entry.draft(&api, [live.entry, state.entry])?;
        (grant, gateway.ledger.enqueue(draft).map_err(StateError::from)?)
    };
    let sealed = ticket.sealed().await.map_err(StateError::from)?;
    let token = gateway.tokens.issue(&grant).map_err(|error| bad_request(error.to_string()))?;
    let answer = json!({
        "grant": grant.id,
        "token": token,
        "expires": grant.expires.to_string(),
        "actions": grant.actions.keys().collect::<Vec<_>>(),
    });
    live.lock().regrant(grant, sealed.hash, |name| !asked.actions.contains(name));
    Ok(sealed_answer(StatusCode::CREATED, &sealed, answer))
}

/// The principal's signature must be good if there is one.
fn check(api: &Api, live: &Live, asked: &Consent) -> Result<Option<body::Check>, Problem> {
    let Some(text) = &asked.statement else { return Ok(None) };
    let fail = |what: &dyn std::fmt::Display| bad_request(format!("`statement`: {what}")).with("field", "statement");
    let statement = Statement::parse(text).map_err(|error| fail(&error))?;
    let registry = api.gateway.registry.read();
    let row = registry.signer(statement.kid()).ok_or_else(|| fail(&"the key is not registered"))?;
    if api.gateway.vault.find(&row.party).as_ref() != Some(&live.subject) {
        return Err(fail(&"the key is not the principal's"));
    }
    let said: Said = statement.verify(TYP, &row.jwk).map_err(|error| fail(&error))?;
    let (origin, instruction) = (api.gateway.ledger.origin().to_owned(), live.id.clone());
    if said != (Said { origin, instruction, actions: asked.actions.clone() }) {
        return Err(fail(&"it is about something else"));
    }
    Ok(Some(statement.check("valid", Some(&row.party))))
}
