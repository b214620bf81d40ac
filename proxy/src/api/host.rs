//! The host application registers what its user said, and gets a grant and a token for the agent.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use countersign_authorize::{
    grant::{ActionGrant, For, Grant, Scope, Withheld},
    policy::Facts,
    propose,
};
use countersign_ledger::{
    Draft, Hash,
    passkey::Stated,
    record::{Time, body},
    vault::GATEWAY,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Api, Role, bad_request, named, read, sealed_answer, ungranted};
use crate::{
    problem::Problem,
    propose::{Proposed, Unproposed},
    state::{Gateway, GrantState, Live, Rules, StateError},
};

/// The type of a principal's statement, without its form.
const TYP: &str = "countersign-instruction";

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
    /// The scope asked for; without it a model is asked, where one is configured.
    #[serde(default)]
    scope: Option<Scope>,
    /// The principal's JWS over [`Said`].
    #[serde(default)]
    statement: Option<serde_json::Value>,
    /// The instruction that this one follows up.
    #[serde(default)]
    amends: Option<String>,
}

impl Instruct {
    /// Whether it names who it must, and a key only that is the agent's.
    fn validate(&self, gateway: &Gateway) -> Result<(), Problem> {
        if self.words.trim().is_empty() {
            return Err(bad_request("`words` must not be empty").with("field", "words"));
        }
        named("principal", &self.principal)?;
        named("agent", &self.agent)?;
        if self.principal == GATEWAY {
            let what = format!("`principal`: the name `{GATEWAY}` is reserved");
            return Err(bad_request(what).with("field", "principal"));
        }
        if let Some(key) = self.scope.as_ref().and_then(|scope| scope.key.as_ref())
            && gateway.registry.read().signer(key).is_none_or(|row| row.party != self.agent)
        {
            return Err(bad_request("`key` is not registered for the agent").with("field", "scope.key"));
        }
        Ok(())
    }

    /// Who gave it, on whose word; and why nothing is granted, if so.
    fn given_by(
        &self,
        host: &str,
        subject: &str,
        check: Option<body::Check>,
        ungranted: Option<body::Ungranted>,
    ) -> body::Instruction {
        body::Instruction {
            subject: subject.to_owned(),
            attested_by: if check.is_some() { "user_key" } else { "host" }.to_owned(),
            host: host.to_owned(),
            agent: self.agent.clone(),
            amends: self.amends.clone(),
            check,
            ungranted,
            ..body::Instruction::default()
        }
    }

    /// What policies may ask of it.
    fn facts(&self, who: &body::Instruction) -> Facts {
        Facts {
            user: self.principal.clone(),
            host: who.host.clone(),
            attested_by: who.attested_by.clone(),
            purpose: self.purpose.clone(),
        }
    }
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
    /// What waits for consent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pending: Vec<String>,
    instruction_entry: String,
}

pub(super) async fn instruct(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let (_, host) = api.caller(&headers, &[Role::Host])?;
    let asked: Instruct = read(&body)?;
    let gateway = &api.gateway;
    asked.validate(gateway)?;
    let parent = amended(&api, &host, &asked.principal, asked.amends.as_deref())?;
    let check = check_statement(&api, &asked)?;
    let scoped = scope(&api, &asked).await?;
    let (id, grant_id) = (uuid::Uuid::now_v7().to_string(), uuid::Uuid::now_v7().to_string());
    let subject = gateway.vault.subject(&asked.principal).map_err(StateError::from)?;
    let who = asked.given_by(&host, &subject, check, scoped.as_ref().err().map(ungranted::why));
    let draft = instruction_draft(&api, &asked, &id, &who, parent.as_deref())?;
    let (scope, proposed) = match scoped {
        Ok(scoped) => scoped,
        Err(unproposed) => return ungranted::refuse(&api, (&id, &subject), draft, &unproposed).await,
    };
    let (queued, mut inner) = {
        // What the parent has observed up to here counts, and nothing behind it in the ledger.
        let parent = parent.as_ref().map(|parent| parent.lock());
        let inner = parent.as_ref().map(|parent| parent.followed()).unwrap_or_default();
        (gateway.ledger.enqueue(draft).map_err(StateError::from)?, inner)
    };
    let sealed = queued.sealed().await.map_err(StateError::from)?;
    let whose = For { id: &grant_id, instruction: &id, agent: &asked.agent };
    let rules = gateway.rules();
    let (mut grant, mut withheld) = Grant::close(&scope, &whose, gateway.now(), rules.catalogues());
    let mut pending = BTreeMap::new();
    if let (Some(_), Some(proposer)) = (&proposed, &api.proposer) {
        let allowed = proposer.allowed(&host, &asked.principal);
        let sorted = propose::sort(std::mem::take(&mut grant.actions), allowed.as_deref(), rules.catalogues());
        (grant.actions, grant.proposed, pending) = (sorted.actions, true, sorted.pending);
        withheld.extend(sorted.withheld);
    }
    let (proposed, subject) = (proposed.as_ref(), subject.as_str());
    let entry = GrantEntry {
        grant: &grant,
        rules: &rules,
        subject,
        withheld: &withheld,
        pending: &pending,
        proposed,
        consent: None,
    };
    let granted = gateway.ledger.append(entry.draft(&api, [sealed.hash])?).await.map_err(StateError::from)?;
    let token = gateway.tokens.issue(&grant).map_err(|error| bad_request(error.to_string()))?;
    inner.facts = asked.facts(&who);
    inner.observe_instruction(&asked.words, &asked.attached);
    let answer = Answer {
        instruction: id.clone(),
        grant: grant_id.clone(),
        token,
        expires: grant.expires.to_string(),
        actions: grant.actions.keys().cloned().collect(),
        withheld,
        pending: pending.keys().cloned().collect(),
        instruction_entry: sealed.hash.to_string(),
    };
    inner.pending = pending;
    inner.grant = Some(GrantState::new(grant, granted.hash));
    gateway.insert(Live::new(id, sealed.hash, &who, inner));
    Ok(sealed_answer(StatusCode::CREATED, &granted, answer))
}

/// The instruction that is followed up: what was observed there counts here too, so it must be of the same host, for the same principal.
pub(super) fn amended(
    api: &Api,
    host: &str,
    principal: &str,
    amends: Option<&str>,
) -> Result<Option<Arc<Live>>, Problem> {
    let Some(parent) = amends else { return Ok(None) };
    let live = api.gateway.live(parent)?;
    // Another host's instruction is answered like one that is not there.
    if live.host != host {
        return Err(StateError::NoInstruction(parent.to_owned()).into());
    }
    if api.gateway.vault.find(principal).as_ref() != Some(&live.subject) {
        return Err(bad_request("`amends` names an instruction of another principal").with("field", "amends"));
    }
    Ok(Some(live))
}

/// A principal's signature must be good if there is one: a bad one is refused, not recorded as weak.
fn check_statement(api: &Api, asked: &Instruct) -> Result<Option<body::Check>, Problem> {
    let Some(statement) = &asked.statement else { return Ok(None) };
    let statement = Stated::read(statement).map_err(|error| bad_request(format!("`statement`: {error}")))?;
    let registry = api.gateway.registry.read();
    let row = registry.key(statement.kid()).ok_or_else(|| bad_request("`statement`: the key is not registered"))?;
    let said: Said =
        statement.verify(TYP, &row.registered()).map_err(|error| bad_request(format!("`statement`: {error}")))?;
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
        .disclose(
            vault,
            subject,
            "requested",
            &asked.scope.as_ref().map_or_else(|| json!({ "proposed": true }), |scope| json!(scope)),
        )?;
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

/// A scope, with how it was proposed when a model did; or that none was.
type Scoped = Result<(Scope, Option<Proposed>), Unproposed>;

/// The scope that the host asks for, or that a model proposes.
async fn scope(api: &Api, asked: &Instruct) -> Result<Scoped, Problem> {
    if let Some(scope) = &asked.scope {
        return Ok(Ok((scope.clone(), None)));
    }
    let Some(proposer) = &api.proposer else {
        return Err(bad_request("give a `scope`: no proposer is configured").with("field", "scope"));
    };
    let proposed = proposer.propose(&asked.words, &asked.attached, api.gateway.rules().catalogues()).await;
    Ok(proposed.map(|proposed| (proposed.scope.clone(), Some(proposed))))
}

/// What a `grant` entry says.
pub(super) struct GrantEntry<'a> {
    pub(super) grant: &'a Grant,
    /// What it was made from.
    pub(super) rules: &'a Rules,
    pub(super) subject: &'a str,
    pub(super) withheld: &'a [Withheld],
    /// What waits for consent.
    pub(super) pending: &'a BTreeMap<String, ActionGrant>,
    pub(super) proposed: Option<&'a Proposed>,
    /// Who consented, what was found when their statement was checked, and the statement.
    pub(super) consent: Option<(&'static str, Option<body::Check>, Option<&'a str>)>,
}

impl GrantEntry<'_> {
    pub(super) fn draft(self, api: &Api, cause: impl IntoIterator<Item = Hash>) -> Result<Draft, StateError> {
        let GrantEntry { grant, rules, subject, withheld, pending, proposed, consent } = self;
        let (by, check, statement) = consent.map_or((None, None, None), |(by, check, text)| (Some(by), check, text));
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
            proposed_by: proposed.map(|proposed| proposed.model.clone()),
            consent: by.map(str::to_owned),
            check,
            ..body::Grant::default()
        };
        let vault = &api.gateway.vault;
        let mut draft = Draft::new(&body)?.of_instruction(&grant.instruction).caused_by(cause);
        draft = draft.disclose(vault, subject, "grant", &json!(grant))?;
        if !pending.is_empty() {
            draft = draft.disclose(vault, subject, "pending", pending)?;
        }
        if let Some(proposed) = proposed {
            draft = draft.disclose(vault, subject, "proposal", &proposed.record)?;
        }
        match statement {
            Some(statement) => Ok(draft.disclose(vault, subject, "statement", &statement)?),
            None => Ok(draft),
        }
    }
}
