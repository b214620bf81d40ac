//! The host application registers what its user said, and gets a grant and a token for the agent.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use countersign_authorize::{
    grant::{For, Grant, Scope, Withheld},
    policy::Facts,
};
use countersign_ledger::{
    Draft,
    record::{Time, body},
    statement::Statement,
    vault::GATEWAY,
    writer::Sealed,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Api, Role, bad_request, named, read, sealed_answer};
use crate::{
    problem::Problem,
    state::{GrantState, Inner, Live, Rules, StateError},
};

/// The type of a principal's statement.
pub const TYP: &str = "countersign-instruction+jwt";

/// An instruction as the host registers it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Instruct {
    /// The user's words.
    words: String,
    /// What the user attached or pasted.
    #[serde(default)]
    attached: Vec<String>,
    /// Who the user is, as the host names them.
    principal: String,
    /// What it is for.
    #[serde(default)]
    purpose: Option<String>,
    /// The agent it is for.
    agent: String,
    /// The scope asked for.
    scope: Scope,
    /// The principal's JWS over [`Said`].
    #[serde(default)]
    statement: Option<String>,
    /// The instruction that this one follows up.
    #[serde(default)]
    amends: Option<String>,
}

/// What a principal signs.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    origin: String,
    principal: String,
    words: String,
}

#[derive(Serialize)]
struct Answer {
    instruction: String,
    grant: String,
    token: String,
    expires: String,
    actions: Vec<String>,
    withheld: Vec<Withheld>,
    instruction_entry: String,
}

pub(super) async fn instruct(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let (_, host) = api.caller(&headers, &[Role::Host])?;
    let asked: Instruct = read(&body)?;
    if asked.words.trim().is_empty() {
        return Err(bad_request("`words` must not be empty").with("field", "words"));
    }
    named("principal", &asked.principal)?;
    named("agent", &asked.agent)?;
    if asked.principal == GATEWAY {
        return Err(bad_request(format!("`principal`: the name `{GATEWAY}` is reserved")).with("field", "principal"));
    }
    let gateway = &api.gateway;
    let parent = amended(&api, &host, &asked)?;
    let check = check_statement(&api, &asked)?;
    let (id, grant_id) = (uuid::Uuid::now_v7().to_string(), uuid::Uuid::now_v7().to_string());
    let subject = gateway.vault.subject(&asked.principal).map_err(StateError::from)?;
    let who = body::Instruction {
        subject: subject.clone(),
        attested_by: if check.is_some() { "user_key" } else { "host" }.to_owned(),
        host: host.clone(),
        agent: asked.agent.clone(),
        amends: asked.amends.clone(),
        check,
        ..body::Instruction::default()
    };
    let draft = instruction_draft(&api, &asked, &id, &who, parent.as_deref())?;
    let (queued, observed) = {
        // What the parent has observed up to here counts, and nothing behind it in the ledger.
        let parent = parent.as_ref().map(|parent| parent.lock());
        let observed = parent.as_ref().map(|parent| (parent.observations.clone(), parent.asked.followed()));
        (gateway.ledger.enqueue(draft).map_err(StateError::from)?, observed)
    };
    let sealed = queued.sealed().await.map_err(StateError::from)?;
    let whose = For { id: &grant_id, instruction: &id, agent: &asked.agent };
    let rules = gateway.rules();
    let (grant, withheld) = Grant::close(&asked.scope, &whose, gateway.now(), rules.catalogues());
    let granted = gateway
        .ledger
        .append(grant_draft(&api, (&grant, &rules), &withheld, &subject, &sealed)?)
        .await
        .map_err(StateError::from)?;
    let token = gateway.tokens.issue(&grant).map_err(|error| bad_request(error.to_string()))?;
    let (observations, followed) = observed.unwrap_or_default();
    let mut inner = Inner { observations, asked: followed, ..Inner::default() };
    inner.observe_instruction(&asked.words, &asked.attached);
    inner.facts = Facts {
        user: asked.principal.clone(),
        host: host.clone(),
        attested_by: who.attested_by.clone(),
        purpose: asked.purpose.clone(),
    };
    let answer = Answer {
        instruction: id.clone(),
        grant: grant_id.clone(),
        token,
        expires: grant.expires.to_string(),
        actions: grant.actions.keys().cloned().collect(),
        withheld,
        instruction_entry: sealed.hash.to_string(),
    };
    inner.grant = Some(GrantState::new(grant, granted.hash));
    gateway.insert(Live::new(id, sealed.hash, &who, inner));
    Ok(sealed_answer(StatusCode::CREATED, &granted, answer))
}

/// The instruction that is followed up: what was observed there counts here too, so it must be of the same host, for the same principal.
fn amended(api: &Api, host: &str, asked: &Instruct) -> Result<Option<Arc<Live>>, Problem> {
    let Some(parent) = &asked.amends else { return Ok(None) };
    let live = api.gateway.live(parent)?;
    // Another host's instruction is answered like one that is not there.
    if live.host != host {
        return Err(StateError::NoInstruction(parent.clone()).into());
    }
    if api.gateway.vault.find(&asked.principal).as_ref() != Some(&live.subject) {
        return Err(bad_request("`amends` names an instruction of another principal").with("field", "amends"));
    }
    Ok(Some(live))
}

/// A principal's signature must be good if there is one: a bad one is refused, not recorded as weak.
fn check_statement(api: &Api, asked: &Instruct) -> Result<Option<body::Check>, Problem> {
    let Some(text) = &asked.statement else { return Ok(None) };
    let statement = Statement::parse(text).map_err(|error| bad_request(format!("`statement`: {error}")))?;
    let registry = api.gateway.registry.read();
    let row = registry.key(statement.kid()).ok_or_else(|| bad_request("`statement`: the key is not registered"))?;
    let said: Said = statement.verify(TYP, &row.jwk).map_err(|error| bad_request(format!("`statement`: {error}")))?;
    let wanted = Said {
        origin: api.gateway.ledger.origin().to_owned(),
        principal: asked.principal.clone(),
        words: asked.words.clone(),
    };
    if said != wanted || row.party != asked.principal {
        return Err(bad_request("`statement` is not about these words of this principal in this ledger"));
    }
    Ok(Some(statement.check("valid", Some(&row.party))))
}

fn instruction_draft(
    api: &Api,
    asked: &Instruct,
    id: &str,
    who: &body::Instruction,
    parent: Option<&Live>,
) -> Result<Draft, StateError> {
    let (vault, subject) = (&api.gateway.vault, who.subject.as_str());
    let mut draft = Draft::new(who)?
        .of_instruction(id)
        .caused_by(parent.map(|parent| parent.entry))
        .disclose(vault, subject, "words", &asked.words)?
        .disclose(vault, subject, "principal", &asked.principal)?
        .disclose(vault, subject, "requested", &asked.scope)?;
    if !asked.attached.is_empty() {
        draft = draft.disclose(vault, subject, "attached", &asked.attached)?;
    }
    if let Some(purpose) = &asked.purpose {
        draft = draft.disclose(vault, subject, "purpose", purpose)?;
    }
    if let Some(statement) = &asked.statement {
        draft = draft.disclose(vault, subject, "statement", statement)?;
    }
    Ok(draft)
}

fn grant_draft(
    api: &Api,
    (grant, rules): (&Grant, &Rules),
    withheld: &[Withheld],
    subject: &str,
    instruction: &Sealed,
) -> Result<Draft, StateError> {
    let body = body::Grant {
        grant: grant.id.clone(),
        subject: subject.to_owned(),
        agent: grant.agent.clone(),
        actions: grant.actions.keys().cloned().collect(),
        withheld: withheld
            .iter()
            .map(|w| body::Withheld { action: w.action.clone(), reason: w.reason.clone() })
            .collect(),
        expires: Some(Time::new(grant.expires)),
        catalogues: rules.catalogue_digests(),
        ..body::Grant::default()
    };
    let draft = Draft::new(&body)?.of_instruction(&grant.instruction).caused_by([instruction.hash]);
    Ok(draft.disclose(&api.gateway.vault, subject, "grant", &json!(grant))?)
}
