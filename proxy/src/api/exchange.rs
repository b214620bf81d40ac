//! Delegation: an agent exchanges its token for a narrower one for another agent (RFC 8693), and only for a narrower one.
//!
//! Errors have the form of RFC 6749 §5.2. What was granted is in the ledger before the token is given out.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use countersign_authorize::grant::{For, Grant, Scope, Wider};
use countersign_ledger::{
    Draft, Hash,
    record::{Time, body},
    statement::Statement,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Api, credentials, named, sealed_answer};
use crate::{
    problem::Problem,
    state::{GrantState, Inner, Live, Registry, StateError},
    token::Claims,
};

/// The type of a delegating agent's statement.
pub const TYP: &str = "countersign-delegation+jwt";

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The most grants that are cut under one instruction.
const MAX_DELEGATED: usize = 256;

/// What is not exchanged: an error of RFC 6749 §5.2, or what the gateway itself has to say.
enum Refused {
    OAuth { status: StatusCode, error: &'static str, description: String },
    Problem(Problem),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Refused {
        Refused::Problem(problem)
    }
}

impl From<StateError> for Refused {
    fn from(error: StateError) -> Refused {
        Refused::Problem(error.into())
    }
}

impl From<Wider> for Refused {
    fn from(wider: Wider) -> Refused {
        // RFC 9396 §5.
        refuse("invalid_authorization_details", wider.to_string())
    }
}

fn refuse(error: &'static str, description: impl Into<String>) -> Refused {
    Refused::OAuth { status: StatusCode::BAD_REQUEST, error, description: description.into() }
}

fn malformed(description: impl Into<String>) -> Refused {
    refuse("invalid_request", description)
}

impl Refused {
    fn into_response(self) -> Response {
        match self {
            Refused::Problem(problem) => problem.into_response(),
            Refused::OAuth { status, error, description } => {
                // RFC 6749 §5.2: the description is ASCII without quotation marks and backslashes.
                let plain = |c: char| if (c.is_ascii_graphic() || c == ' ') && !"\"\\".contains(c) { c } else { '\'' };
                let description: String = description.chars().map(plain).collect();
                let body = json!({ "error": error, "error_description": description });
                (status, axum::Json(body)).into_response()
            }
        }
    }
}

/// What the delegating agent signs.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Delegated {
    origin: String,
    from: String,
    actor: String,
    authorization_details: Value,
}

/// The parameters, each at most once (RFC 6749 §3.2). What nobody knows is left alone, as the RFC asks, but for what would name somebody.
struct Asked {
    subject_token: String,
    actor: String,
    details: Value,
    scope: Scope,
    statement: Option<String>,
}

pub(super) async fn exchange(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Response {
    match exchanged(&api, &headers, &bytes).await {
        Ok(response) => response,
        Err(refused) => refused.into_response(),
    }
}

async fn exchanged(api: &Api, headers: &HeaderMap, bytes: &Bytes) -> Result<Response, Refused> {
    // The token is the credential. Whoever sends one in the header as well must send the same.
    let bearer = headers.contains_key(header::AUTHORIZATION).then(|| client(api, headers)).transpose()?;
    let asked = read(headers, bytes, api.gateway.ledger.origin())?;
    if bearer.is_some_and(|bearer| bearer != asked.subject_token) {
        return Err(malformed("the bearer token is another one than subject_token"));
    }
    let claims = api.gateway.tokens.verify(&asked.subject_token, api.gateway.now());
    let claims = claims.map_err(|error| malformed(format!("subject_token: {error}")))?;
    let live = api.gateway.live(&claims.instruction)?;
    let id = uuid::Uuid::now_v7().to_string();
    let (grant, agents, ticket) = {
        let (inner, registry) = (live.lock(), api.gateway.registry.read());
        let (grant, parent) = cut(api, &claims, &live, (&inner, &registry), &asked, &id)?;
        let check =
            signed(api, &registry, &claims, &asked, inner.state(&claims.jti).and_then(|of| of.grant.key.as_deref()))?;
        let mut agents = inner.agents(&claims.jti);
        agents.reverse();
        let draft = draft(api, &live, &grant, parent, agents.len(), check, asked.statement.as_deref())?;
        agents.push(grant.agent.clone());
        // INVARIANT: queued under the instruction's lock, so that no grant stands in the ledger behind the withdrawal of what it was cut from.
        (grant, agents, api.gateway.ledger.enqueue(draft).map_err(StateError::from)?)
    };
    let sealed = ticket.sealed().await.map_err(StateError::from)?;
    let token = api.gateway.tokens.issue_to(&grant, &agents).map_err(|error| malformed(error.to_string()))?;
    let answer = json!({
        "access_token": token,
        "issued_token_type": ACCESS_TOKEN,
        // RFC 9449 §5: how the token is to be sent.
        "token_type": if grant.key.is_some() { "DPoP" } else { "Bearer" },
        "expires_in": grant.expires.as_second().saturating_sub(api.gateway.now().as_second()).max(0),
        "authorization_details": grant.authorization_details(),
        "grant": grant.id,
        "instruction": grant.instruction,
        "expires": grant.expires.to_string(),
    });
    let mut inner = live.lock();
    let from = grant.from.clone().unwrap_or_default();
    let mut state = GrantState::new(grant, sealed.hash);
    // Withdrawn between queued and sealed.
    state.revoked = inner.state(&from).is_none_or(|from| from.revoked);
    inner.delegated.insert(id, state);
    drop(inner);
    Ok(sealed_answer(StatusCode::OK, &sealed, answer))
}

/// The agent's token in the header, when there is one.
fn client(api: &Api, headers: &HeaderMap) -> Result<String, Refused> {
    let unknown =
        |description: String| Refused::OAuth { status: StatusCode::UNAUTHORIZED, error: "invalid_client", description };
    let bearer = credentials::bearer(headers).ok_or_else(|| unknown("there is no bearer token".to_owned()))?;
    let verified = api.gateway.tokens.verify(bearer, api.gateway.now());
    verified.map(|_| bearer.to_owned()).map_err(|error| unknown(error.to_string()))
}

fn read(headers: &HeaderMap, bytes: &Bytes, origin: &str) -> Result<Asked, Refused> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    if !media
        .split(';')
        .next()
        .is_some_and(|media| media.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
    {
        return Err(malformed("the body must be application/x-www-form-urlencoded"));
    }
    let mut given = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        if value.contains(char::REPLACEMENT_CHARACTER) {
            return Err(malformed(format!("{name} is not UTF-8")));
        }
        if given.insert(name.clone().into_owned(), value.into_owned()).is_some() {
            return Err(malformed(format!("{name} is there twice")));
        }
    }
    let mut take = |name: &str| given.remove(name).filter(|value| !value.is_empty());
    match take("grant_type").as_deref() {
        Some(GRANT_TYPE) => {}
        Some(_) => return Err(refuse("unsupported_grant_type", format!("grant_type must be {GRANT_TYPE}"))),
        None => return Err(malformed("there is no grant_type")),
    }
    for name in ["subject_token_type", "requested_token_type"] {
        match take(name).as_deref() {
            Some(ACCESS_TOKEN | JWT) => {}
            None if name == "requested_token_type" => {}
            _ => return Err(malformed(format!("{name} must be {ACCESS_TOKEN} or {JWT}"))),
        }
    }
    let known = |target: Option<String>| target.is_none_or(|target| target == origin);
    if !known(take("audience")) || !known(take("resource")) {
        return Err(refuse("invalid_target", format!("tokens are for {origin} only")));
    }
    if take("actor_token").or(take("actor_token_type")).is_some() {
        return Err(malformed("an agent is named in actor; what it proves of itself it proves with its key"));
    }
    let subject_token = take("subject_token").ok_or_else(|| malformed("there is no subject_token"))?;
    let actor = take("actor").ok_or_else(|| malformed("actor must name the agent that the token is for"))?;
    named("actor", &actor).map_err(|problem| malformed(problem.detail))?;
    let (details, scope) = details(take("authorization_details"), take("scope"))?;
    Ok(Asked { subject_token, actor, details, scope, statement: take("statement") })
}

/// What is asked for: `authorization_details` (RFC 9396) of one member, or action names as `scope`.
fn details(details: Option<String>, names: Option<String>) -> Result<(Value, Scope), Refused> {
    let wrong = |what: String| refuse("invalid_authorization_details", what);
    let details: Value = match (details, names) {
        (Some(_), Some(_)) => return Err(malformed("give either authorization_details or scope")),
        (None, None) => return Err(malformed("say in authorization_details or scope what the agent may do")),
        (None, Some(names)) => {
            json!([{ "type": "countersign_grant", "actions": names.split(' ').collect::<Vec<_>>() }])
        }
        (Some(text), None) => serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?,
    };
    let one = details.as_array().filter(|list| list.len() == 1).and_then(|list| list.first()?.as_object());
    let mut one = one.cloned().ok_or_else(|| wrong("there must be one object in a list".to_owned()))?;
    if one.remove("type").and_then(|typ| typ.as_str().map(|typ| typ == "countersign_grant")) != Some(true) {
        return Err(wrong("type must be countersign_grant".to_owned()));
    }
    let scope = serde_path_to_error::deserialize(Value::Object(one));
    Ok((details, scope.map_err(|error| wrong(error.to_string()))?))
}

/// Cuts the grant; gives the entry of what it is cut from.
fn cut(
    api: &Api,
    claims: &Claims,
    live: &Live,
    (inner, registry): (&Inner, &Registry),
    asked: &Asked,
    id: &str,
) -> Result<(Grant, Hash), Refused> {
    let now = api.gateway.now();
    let parent = inner.state(&claims.jti).filter(|state| state.grant.agent == claims.agent());
    let parent = parent.ok_or_else(|| malformed("subject_token: its grant is not known"))?;
    let withdrawn = registry.revocation(&inner.agents(&claims.jti), &live.subject, None);
    if withdrawn.is_some() || !inner.grant_holds(&claims.jti, now) {
        return Err(malformed("subject_token: its grant was withdrawn or is over"));
    }
    let deepest = api.limits.delegations;
    if inner.line(&claims.jti).len() > deepest {
        return Err(refuse("unauthorized_client", format!("a grant is handed on at most {deepest} times")));
    }
    if inner.delegated.len() >= MAX_DELEGATED {
        let what = format!("an instruction has at most {MAX_DELEGATED} delegations");
        return Err(refuse("unauthorized_client", what));
    }
    if let Some(key) = &asked.scope.key
        && registry.signer(key).is_none_or(|row| row.party != asked.actor)
    {
        return Err(refuse("invalid_authorization_details", "key: it is not registered for the actor"));
    }
    let whose = For { id, instruction: &live.id, agent: &asked.actor };
    Ok((parent.grant.narrow(&asked.scope, &whose, now, api.gateway.rules().catalogues())?, parent.entry))
}

/// The delegating agent's signature: must be good if there is one, and be there when its grant is bound to a key.
fn signed(
    api: &Api,
    registry: &Registry,
    claims: &Claims,
    asked: &Asked,
    key: Option<&str>,
) -> Result<Option<body::Check>, Refused> {
    let wrong = |what: &dyn std::fmt::Display| malformed(format!("statement: {what}"));
    let Some(text) = &asked.statement else {
        return match key {
            Some(_) => Err(wrong(&"the grant is bound to a key, so the agent must sign what it hands on")),
            None => Ok(None),
        };
    };
    let statement = Statement::parse(text).map_err(|error| wrong(&error))?;
    let row = registry.signer(statement.kid()).filter(|row| row.party == claims.agent());
    let row = row.ok_or_else(|| wrong(&"the key is not registered for this agent"))?;
    if key.is_some_and(|key| key != statement.kid()) {
        return Err(wrong(&"it is signed with another key than the grant is bound to"));
    }
    let said: Delegated = statement.verify(TYP, &row.jwk).map_err(|error| wrong(&error))?;
    let wanted = Delegated {
        origin: api.gateway.ledger.origin().to_owned(),
        from: claims.jti.clone(),
        actor: asked.actor.clone(),
        authorization_details: asked.details.clone(),
    };
    if said != wanted {
        return Err(wrong(&"it is about another delegation"));
    }
    Ok(Some(statement.check("valid", Some(&row.party))))
}

fn draft(
    api: &Api,
    live: &Live,
    grant: &Grant,
    parent: Hash,
    depth: usize,
    check: Option<body::Check>,
    statement: Option<&str>,
) -> Result<Draft, StateError> {
    let delegation = body::Delegation {
        grant: grant.id.clone(),
        from: grant.from.clone().unwrap_or_default(),
        subject: live.subject.clone(),
        agent: grant.agent.clone(),
        actions: grant.actions.keys().cloned().collect(),
        expires: Some(Time::new(grant.expires)),
        depth: u64::try_from(depth).ok(),
        check,
        ..body::Delegation::default()
    };
    let (vault, subject) = (&api.gateway.vault, live.subject.as_str());
    let draft = Draft::new(&delegation)?.of_instruction(&live.id).caused_by([parent]);
    let draft = draft.disclose(vault, subject, "grant", &json!(grant))?;
    match statement {
        Some(statement) => Ok(draft.disclose(vault, subject, "statement", &statement)?),
        None => Ok(draft),
    }
}
