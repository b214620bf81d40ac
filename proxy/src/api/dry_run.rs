//! What would become of a call, or of a scope, without making it: nothing is recorded, reserved or used up.

use axum::{
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method},
    response::{IntoResponse as _, Response},
};
use countersign_authorize::{
    catalogue::{Catalogue, Composed, Protocol},
    grant::{For, Grant, Scope},
    policy::Facts,
    verdict::Judgement,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Api, Role, bad_request, credentials, host::amended, named, not_found, read};
use crate::{
    authorize::{Tried, bounds, judge},
    problem::Problem,
    state::{GrantState, Inner, Rules, StateError},
};

/// What is asked: a call under a grant that is there, or what a host could get for an instruction it has not registered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// A host's instruction; an agent asks about its own.
    #[serde(default)]
    instruction: Option<String>,
    /// One of the instruction's grants; the host's own when left out.
    #[serde(default)]
    grant: Option<String>,
    /// An instruction that is not registered.
    #[serde(default)]
    draft: Option<Unregistered>,
    /// The call.
    #[serde(default)]
    call: Option<Called>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unregistered {
    words: String,
    #[serde(default)]
    attached: Vec<String>,
    agent: String,
    /// Who the user is, and what it is for: policies may ask.
    #[serde(default)]
    principal: String,
    #[serde(default)]
    purpose: Option<String>,
    /// The instruction that it would follow up.
    #[serde(default)]
    amends: Option<String>,
    scope: Scope,
}

/// A call: a request, a tool of MCP or an action of the catalogue.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Called {
    /// Needed where there are several upstreams and an action's name does not tell.
    #[serde(default)]
    upstream: Option<String>,
    #[serde(default)]
    method: Option<String>,
    /// Path and query, without the upstream's prefix.
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    tool: Option<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    arguments: Map<String, Value>,
}

pub(super) async fn dry_run(State(api): State<Api>, headers: HeaderMap, bytes: Bytes) -> Result<Response, Problem> {
    // An agent asks about its own grant and no other; a host about its own instructions.
    let token =
        credentials::bearer(&headers).and_then(|token| api.gateway.tokens.verify(token, api.gateway.now()).ok());
    let host: Option<String> = match &token {
        Some(_) => None,
        None => Some(api.caller(&headers, &[Role::Host])?.1),
    };
    let mut asked: Asked = read(&bytes)?;
    if let Some(claims) = &token {
        let other = |given: &Option<String>, own: &String| given.as_ref().is_some_and(|given| given != own);
        if asked.draft.is_some() || other(&asked.instruction, &claims.instruction) || other(&asked.grant, &claims.jti) {
            return Err(not_found("an agent asks about its own grant"));
        }
        (asked.instruction, asked.grant) = (Some(claims.instruction.clone()), Some(claims.jti.clone()));
    }
    let answer = match (asked.instruction, asked.draft, asked.call) {
        (Some(instruction), None, Some(call)) => {
            let live = api.gateway.live(&instruction)?;
            if host.as_ref().is_some_and(|host| *host != live.host) {
                return Err(StateError::NoInstruction(instruction).into());
            }
            let inner = live.lock();
            let own = || inner.grant.as_ref().map(|grant| grant.grant.id.clone());
            let grant = asked.grant.or_else(own).filter(|grant| inner.state(grant).is_some());
            let grant = grant.ok_or_else(|| not_found("there is no such grant of this instruction"))?;
            judged(&api, &inner, &grant, &live.subject, &call)?
        }
        (None, Some(draft), call) if asked.grant.is_none() => {
            unregistered(&api, &host.unwrap_or_default(), &draft, call.as_ref())?
        }
        _ => return Err(bad_request("give an `instruction` and a `call`, or a `draft` of an instruction")),
    };
    Ok(axum::Json(answer).into_response())
}

/// The grant that a scope would come to, and what it would allow.
fn unregistered(api: &Api, host: &str, draft: &Unregistered, call: Option<&Called>) -> Result<Value, Problem> {
    named("agent", &draft.agent)?;
    let whose = For { id: "dry-run", instruction: "dry-run", agent: &draft.agent };
    let (grant, withheld) = Grant::close(&draft.scope, &whose, api.gateway.now(), api.gateway.rules().catalogues());
    let parent = amended(api, host, &draft.principal, draft.amends.as_deref())?;
    let mut inner = parent.map(|parent| parent.lock().followed()).unwrap_or_default();
    inner.observe_instruction(&draft.words, &draft.attached);
    inner.facts = Facts {
        user: draft.principal.clone(),
        host: host.to_owned(),
        attested_by: "host".to_owned(),
        purpose: draft.purpose.clone(),
    };
    let actions = json!(grant.actions.values().collect::<Vec<_>>());
    let expires = grant.expires.to_string();
    inner.grant = Some(GrantState::new(grant, countersign_ledger::Hash::ZERO));
    let mut answer = json!({ "actions": actions, "withheld": withheld, "expires": expires });
    if let (Some(call), Some(members)) = (call, answer.as_object_mut()) {
        members.insert("call".to_owned(), judged(api, &inner, "dry-run", "", call)?);
    }
    Ok(answer)
}

/// The verdict, as the record of the call would have it.
fn judged(api: &Api, inner: &Inner, grant: &str, subject: &str, call: &Called) -> Result<Value, Problem> {
    let rules = api.gateway.rules();
    let (catalogue, composed) = compose(&rules, call)?;
    let request = composed.read(&bounds(&api.limits), catalogue);
    let tried = Tried {
        grant,
        subject,
        request: request.as_ref(),
        decision: None,
        key: None,
        catalogue: Some(catalogue),
        policies: rules.policies(),
        most_held: api.limits.held_calls,
        now: api.gateway.now(),
    };
    let judgement = judge(inner, &api.gateway.registry.read(), &tried);
    let used = inner.state(grant).map(|state| &state.usage);
    let Judgement { verdict, reasons, rules, action, effect, arguments, provenance, usage, approved, .. } = &judgement;
    Ok(json!({
        "verdict": verdict,
        "reasons": reasons,
        "rules": rules,
        "action": action,
        "effect": effect,
        "arguments": arguments,
        "provenance": provenance,
        "budget": { "before": used, "after": usage },
        "uses_approval": approved,
    }))
}

/// The request that is meant, and the catalogue it goes to.
fn compose<'a>(rules: &'a Rules, call: &Called) -> Result<(&'a Catalogue, Composed), Problem> {
    let fits = |catalogue: &&Catalogue| {
        call.upstream.as_deref().is_none_or(|upstream| upstream == catalogue.upstream())
            && call.action.as_deref().is_none_or(|action| catalogue.action(action).is_some())
            && (call.tool.is_none() || catalogue.protocol() == Protocol::Mcp)
    };
    let mut catalogues = rules.catalogues().filter(fits);
    let catalogue = match (catalogues.next(), catalogues.next()) {
        (Some(one), None) => one,
        (None, _) => return Err(not_found("no upstream has this")),
        _ => {
            return Err(bad_request("several upstreams have this; say which `upstream`").with("field", "call.upstream"));
        }
    };
    let composed = match (&call.method, &call.path, &call.tool, &call.action) {
        (Some(method), Some(path), None, None) if call.arguments.is_empty() => Composed {
            method: Method::from_bytes(method.as_bytes()).map_err(|_| bad_request("`method` is none"))?,
            target: path.clone(),
            headers: headers_of(&call.headers)?,
            body: call.body.clone(),
        },
        (None, None, Some(tool), None) => {
            Composed::message("tools/call", &json!({ "name": tool, "arguments": call.arguments }))
        }
        (None, None, None, Some(name)) => {
            let action = catalogue.action(name).ok_or_else(|| not_found("no upstream has this"))?;
            action
                .compose(&call.arguments)
                .map_err(|refusal| bad_request(refusal.message).with("field", "call.arguments"))?
        }
        _ => {
            let what = "a `call` is `method` and `path` with a `body`, a `tool` or an `action` with `arguments`";
            return Err(bad_request(what).with("field", "call"));
        }
    };
    Ok((catalogue, composed))
}

fn headers_of(given: &Map<String, Value>) -> Result<HeaderMap, Problem> {
    let pair = |(name, value): (&String, &Value)| {
        let value = value.as_str().and_then(|value| HeaderValue::from_str(value).ok());
        Some((name.parse::<HeaderName>().ok()?, value?))
    };
    let headers: Option<HeaderMap> = given.iter().map(pair).collect();
    headers.ok_or_else(|| bad_request("`headers` are names with texts").with("field", "call.headers"))
}
