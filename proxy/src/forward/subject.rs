//! For whom the gateway gets a token, and what it exchanges for it.

use std::sync::Arc;

use data_encoding::HEXLOWER;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::ForwardError;
use crate::{
    record::Receipt,
    settings::{Exchange, Subject},
    upstream::{
        Upstream,
        access::{ACCESS_TOKEN, Access, Exchanged, Held, JWT, Whom},
    },
};

/// How long what the gateway states is good, in seconds: it is used at once.
const LIFE: i64 = 60;

/// The type of such a statement.
const TYP: &str = "JWT";

/// The credential that a call is sent with, where the gateway gets it from a token server.
pub(crate) async fn held(receipt: &Receipt, upstream: &Upstream) -> Result<Option<Arc<Held>>, ForwardError> {
    let Some(access) = upstream.access() else { return Ok(None) };
    let exchanged = || exchanged(receipt, access);
    let whom = Whom { key: key(receipt, access)?, exchanged: &exchanged };
    let got = tokio::select! {
        biased;
        () = receipt.withdrawn() => return Err(ForwardError::Withdrawn),
        got = access.get(&whom) => got,
        () = tokio::time::sleep_until(receipt.since() + upstream.settings.timeouts.total) => {
            return Err(ForwardError::Timeout { phase: "total", limit: upstream.settings.timeouts.total });
        }
    };
    let held = got.map_err(|what| unavailable(upstream, what))?;
    receipt.note(|trail| trail.held = Some(held.clone()));
    Ok(Some(held))
}

/// The API answered 401. Whether another token is or may be there.
pub(super) fn refused(receipt: &Receipt, upstream: &Upstream) -> bool {
    let held = receipt.note(|trail| trail.held.clone());
    let Some((access, held)) = upstream.access().zip(held) else { return false };
    let Ok(key) = key(receipt, access) else { return false };
    access.refused(&Whom { key, exchanged: &|| Ok(Vec::new()) }, &held)
}

fn unavailable(upstream: &Upstream, what: String) -> ForwardError {
    ForwardError::Credential { upstream: upstream.settings.name.clone(), what }
}

/// What tells subjects apart.
fn key(receipt: &Receipt, access: &Access) -> Result<String, ForwardError> {
    let Some(exchange) = &access.settings.exchange else { return Ok(String::new()) };
    let call = receipt.call();
    let actor = if exchange.actor { call.agent.as_str() } else { "" };
    let subject = match exchange.subject {
        Subject::Principal => call.live.subject.clone(),
        Subject::Agent => call.agent.clone(),
        Subject::Token => {
            let token = call.shown.token.as_ref().ok_or_else(|| ForwardError::Credential {
                upstream: call.upstream.as_ref().map_or_else(String::new, |to| to.settings.name.clone()),
                what: "it is exchanged for the token of an outside issuer, and the agent called with another one"
                    .to_owned(),
            })?;
            HEXLOWER.encode(&Sha256::digest(token.as_bytes()))
        }
    };
    Ok(format!("{:?}\0{subject}\0{actor}", exchange.subject))
}

/// What is exchanged; nothing, where the token is for the gateway itself.
fn exchanged(receipt: &Receipt, access: &Access) -> Result<Vec<Exchanged>, String> {
    let Some(exchange) = &access.settings.exchange else { return Ok(Vec::new()) };
    let call = receipt.call();
    let (token, kind) = match exchange.subject {
        Subject::Token => (call.shown.token.clone().unwrap_or_default(), ACCESS_TOKEN),
        Subject::Agent => (state(receipt, access, exchange, &call.agent)?, JWT),
        Subject::Principal => {
            let name = receipt.context().gateway.vault.principal(&call.live.subject);
            (state(receipt, access, exchange, &name.ok_or("the user was erased")?)?, JWT)
        }
    };
    let mut exchanged = vec![Exchanged { role: "subject", token, kind }];
    if exchange.actor {
        let token = state(receipt, access, exchange, &call.agent)?;
        exchanged.push(Exchanged { role: "actor", token, kind: JWT });
    }
    Ok(exchanged)
}

/// The gateway's word on who somebody is, with the key that signs requests (RFC 7523 §3 has the claims).
fn state(receipt: &Receipt, access: &Access, exchange: &Exchange, who: &str) -> Result<Zeroizing<String>, String> {
    let context = receipt.context();
    let signing = context.signing.as_ref().ok_or("the gateway has no key to state with who it is for")?;
    let endpoint = access.settings.endpoint.to_string();
    let now = context.gateway.now().as_second();
    let claims = json!({
        "iss": context.gateway.ledger.origin(),
        "sub": who,
        "aud": exchange.assertion_audience.as_deref().unwrap_or(&endpoint),
        "iat": now,
        "exp": now + LIFE,
        "jti": uuid::Uuid::new_v4().to_string(),
    });
    let statement = signing.signer.state(TYP, &claims).map_err(|error| error.to_string())?;
    Ok(Zeroizing::new(statement))
}
