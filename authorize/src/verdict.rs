//! The verdict: a pure function of request, catalogue, grant, usage, observations, approvals and time.

mod sources;

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::sources::{provenance, provenance_within, said_once, scalars, unaccepted_reason};
use crate::{
    Json, Refusal,
    catalogue::{Action, Argument, Catalogue, Effect, Resolved, Type},
    grant::{ActionGrant, Exhausted, Grant, Usage},
    mcp, model,
    policy::{Asked, Guard, Ruling},
    provenance::{Observations, Source},
    request::{Body, Operation, Request},
};

/// What is to be done with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Forward it.
    Allow,
    /// Wait for a human's yes to exactly this call.
    Hold,
    /// Refuse it.
    Deny,
}

impl Verdict {
    /// The word in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Allow => "allow",
            Verdict::Hold => "hold",
            Verdict::Deny => "deny",
        }
    }
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// A stable code.
    pub code: &'static str,
    /// The argument it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
    /// In words, for people.
    pub message: String,
}

/// Where a binding argument's value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The argument.
    pub argument: String,
    /// Its value, or the address in it.
    pub value: String,
    /// Whether the value is an address within a free text.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub within: bool,
    /// Whether more arguments of the call have the value than the user's words.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Every source.
    pub sources: Vec<Source>,
    /// Whether the catalogue accepts where it came from.
    pub accepted: bool,
    /// The source that decided: the accepted one, else the least trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Source>,
}

/// A grant that the one that is judged was cut from.
#[derive(Debug, Clone, Copy)]
pub struct Above<'a> {
    /// The grant.
    pub grant: &'a Grant,
    /// What was used of it.
    pub usage: &'a Usage,
}

/// Everything a verdict depends on.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The request.
    pub request: &'a Request,
    /// The upstream's catalogue.
    pub catalogue: &'a Catalogue,
    /// The grant.
    pub grant: &'a Grant,
    /// What was used of it.
    pub usage: &'a Usage,
    /// The grants that it was cut from, the nearest first: what one of them does not allow is not allowed, and what is used is used of each.
    pub above: &'a [Above<'a>],
    /// What was observed under its instruction.
    pub observations: &'a Observations,
    /// Digests of calls that an approver said yes to, not yet used.
    pub approved: &'a [String],
    /// Digests of calls that an approver said no to: that answer stands for as long as the grant.
    pub denied: &'a [String],
    /// The time.
    pub now: Timestamp,
    /// The organisation's policies, where there are any.
    pub policy: Option<Guard<'a>>,
}

/// A verdict with its grounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why; empty when allowed without more.
    pub reasons: Vec<Reason>,
    /// The rules that decided.
    pub rules: Vec<Cow<'static, str>>,
    /// The action, if the catalogue knows it.
    pub action: Option<String>,
    /// Its effect.
    pub effect: Option<Effect>,
    /// The arguments.
    pub arguments: BTreeMap<String, Json>,
    /// Where the binding ones came from.
    pub provenance: Vec<Provenance>,
    /// The usage after the call, when it is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// The usage after the call of each grant above, when it is allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub above: Vec<Usage>,
    /// Whether an approval was used.
    pub approved: bool,
    /// How many approvers must say yes to it when it is held.
    pub needs: u32,
    /// What an approval of exactly this call names: 64 hexadecimal digits.
    pub digest: String,
}

impl Judgement {
    /// Turns it into a denial, for a reason that lies outside of the request: nothing is reserved, no approval is used.
    pub fn deny(&mut self, reason: Reason) {
        self.verdict = Verdict::Deny;
        self.usage = None;
        self.above.clear();
        self.approved = false;
        self.rules = vec![reason.code.into()];
        self.reasons = vec![reason];
    }
}

/// Judges a call.
pub fn judge(inputs: &Inputs<'_>) -> Judgement {
    let mut judgement = Judgement {
        verdict: Verdict::Deny,
        reasons: Vec::new(),
        rules: Vec::new(),
        action: None,
        effect: None,
        arguments: BTreeMap::new(),
        provenance: Vec::new(),
        usage: None,
        above: Vec::new(),
        approved: false,
        needs: 1,
        digest: String::new(),
    };
    match decide(inputs, &mut judgement) {
        Ok(()) => {}
        Err(reason) => {
            judgement.rules.push(reason.code.into());
            judgement.reasons.push(reason);
        }
    }
    if judgement.digest.is_empty() {
        // It was decided before its arguments were read.
        judgement.digest = digest(inputs.grant, inputs.request, &BTreeMap::new());
    }
    judgement
}

/// A judgement of a request that was refused before any grant was looked at.
pub fn refused(refusal: &Refusal) -> Judgement {
    Judgement {
        verdict: Verdict::Deny,
        reasons: vec![Reason { code: refusal.code, argument: None, message: refusal.message.clone() }],
        rules: vec![refusal.code.into()],
        action: None,
        effect: None,
        arguments: BTreeMap::new(),
        provenance: Vec::new(),
        usage: None,
        above: Vec::new(),
        approved: false,
        needs: 1,
        digest: String::new(),
    }
}

fn deny(code: &'static str, argument: Option<&str>, message: String) -> Reason {
    Reason { code, argument: argument.map(str::to_owned), message }
}

/// The way of a verdict: each step either goes on or denies.
fn decide(inputs: &Inputs<'_>, judgement: &mut Judgement) -> Result<(), Reason> {
    match inputs.request.operation() {
        Operation::Plumbing => return decide_plumbing(inputs, judgement),
        Operation::Model | Operation::Models => return decide_model(inputs, judgement),
        Operation::Http | Operation::Tool | Operation::Resource | Operation::Prompt => {}
    }
    let Resolved { action, arguments } =
        inputs.catalogue.resolve(inputs.request).map_err(|refusal| deny(refusal.code, None, refusal.message))?;
    judgement.action = Some(action.name.clone());
    judgement.effect = Some(action.effect);
    judgement.needs = action.approvals;
    judgement.digest = digest(inputs.grant, inputs.request, &arguments);
    judgement.arguments = arguments;
    let granted = granted(inputs, inputs.grant, &action.name)?;
    if inputs.request.answers().is_some() && !action.asks {
        return Err(answers_refused());
    }
    check_constraints(granted, &action.arguments, &judgement.arguments)?;
    let usage = inputs.usage.reserve(inputs.grant, granted, &judgement.arguments).map_err(exhausted)?;
    let (above, host) = within_above(inputs, action, &judgement.arguments)?;
    // Only the host's own grant names values for the host: what an agent wrote into a narrower one is the agent's word, what a model proposed nobody's.
    let nothing = ActionGrant::default();
    let proposed = inputs.above.last().map_or(inputs.grant, |root| root.grant).proposed;
    let says = if proposed { &nothing } else { host.unwrap_or(granted) };
    judgement.rules.push("action-granted".into());
    for (name, argument) in &action.arguments {
        let Some(value) = judgement.arguments.get(name) else { continue };
        if argument.binds {
            judgement.provenance.extend(provenance(inputs.observations, says, name, argument, value));
        } else if argument.ty == Type::Text && action.effect != Effect::Read {
            judgement.provenance.extend(provenance_within(inputs.observations, says, name, argument, value));
        }
    }
    said_once(inputs.observations, &action.arguments, &judgement.arguments, &mut judgement.provenance);
    let full = inputs.observations.is_full();
    let unaccepted = judgement.provenance.iter().filter(|provenance| !provenance.accepted);
    judgement.reasons = unaccepted.map(|provenance| unaccepted_reason(provenance, full)).collect();
    if !judgement.reasons.is_empty() {
        judgement.rules.push("binding-argument-source".into());
    }
    guard(inputs, action, granted, &usage, judgement)?;
    if judgement.reasons.is_empty() {
        judgement.verdict = Verdict::Allow;
        (judgement.usage, judgement.above) = (Some(usage), above);
        return Ok(());
    }
    if matches!(inputs.request.body(), Body::Opaque) {
        let message = "the call needs an approval, which cannot cover a body that nobody reads".to_owned();
        return Err(deny("body-not-approvable", None, message));
    }
    if inputs.approved.contains(&judgement.digest) {
        judgement.rules.push("approved".into());
        judgement.approved = true;
        judgement.verdict = Verdict::Allow;
        (judgement.usage, judgement.above) = (Some(usage), above);
        return Ok(());
    }
    let digest_above = |above: &Above<'_>| digest(above.grant, inputs.request, &judgement.arguments);
    if inputs.denied.contains(&judgement.digest)
        || !inputs.denied.is_empty() && inputs.above.iter().any(|above| inputs.denied.contains(&digest_above(above)))
    {
        judgement.reasons.clear();
        let message = "an approver said no to exactly this call; that stands until the user gives a new instruction";
        return Err(deny("approval-denied", None, message.to_owned()));
    }
    judgement.verdict = Verdict::Hold;
    Ok(())
}

/// What the organisation's policies say: they deny, or give one more reason to wait for a human.
fn guard(
    inputs: &Inputs<'_>,
    action: &Action,
    granted: &ActionGrant,
    after: &Usage,
    judgement: &mut Judgement,
) -> Result<(), Reason> {
    let Some(Guard { policies, facts }) = inputs.policy else { return Ok(()) };
    let asked = Asked {
        agent: &inputs.grant.agent,
        granted,
        arguments: &judgement.arguments,
        provenance: &judgement.provenance,
        before: inputs.usage,
        after,
        facts,
        now: inputs.now,
        approved: inputs.approved.contains(&judgement.digest),
    };
    let Ruling { forbids, holds, failed } = policies.ask(inputs.catalogue.upstream(), action, &asked);
    if let Some(what) = failed {
        judgement.reasons.clear();
        return Err(deny("policy-failed", None, format!("the policies cannot be evaluated for this call: {what}")));
    }
    let because = |said: &str| if said.is_empty() { String::new() } else { format!(": {said}") };
    let deciding = if forbids.is_empty() { &holds } else { &forbids };
    judgement.rules.extend(deciding.iter().map(|(id, _)| format!("policy:{id}").into()));
    let forbid = |(id, said): &(String, String)| {
        deny("policy-forbids", None, format!("the policy `{id}` forbids it{}", because(said)))
    };
    let mut forbidden: Vec<Reason> = forbids.iter().map(forbid).collect();
    if let Some(last) = forbidden.pop() {
        judgement.reasons = forbidden;
        return Err(last);
    }
    judgement.reasons.extend(holds.iter().map(|(id, said)| {
        let message = format!("the policy `{id}` wants a human to approve this call{}", because(said));
        deny("policy-holds", None, message)
    }));
    Ok(())
}

/// What is used of each grant above, and the action as the host granted it, if the grant that is judged is not the host's own.
fn within_above<'a>(
    inputs: &Inputs<'a>,
    action: &Action,
    arguments: &BTreeMap<String, Json>,
) -> Result<(Vec<Usage>, Option<&'a ActionGrant>), Reason> {
    let (mut usages, mut host) = (Vec::new(), None);
    for above in inputs.above {
        let granted = granted(inputs, above.grant, &action.name)?;
        check_constraints(granted, &action.arguments, arguments)?;
        usages.push(above.usage.reserve(above.grant, granted, arguments).map_err(exhausted)?);
        host = Some(granted);
    }
    Ok((usages, host))
}

/// A message of MCP that is no action passes while the grant holds and has anything to do with this server. It uses nothing up.
fn decide_plumbing(inputs: &Inputs<'_>, judgement: &mut Judgement) -> Result<(), Reason> {
    let (grant, request) = (inputs.grant, inputs.request);
    holds(inputs, grant)?;
    inputs.above.iter().try_for_each(|above| holds(inputs, above.grant))?;
    if !grant.actions.values().any(|granted| is_for(granted, request)) {
        let message = format!("the instruction's grant has no action of `{}`", request.upstream());
        return Err(deny("action-not-granted", None, message));
    }
    let subscribes = ["resources/subscribe", "resources/unsubscribe", "subscriptions/listen"];
    if subscribes.contains(&request.target()) && !mcp::may_subscribe(inputs.catalogue, grant, request) {
        let message = "a resource that is asked for is not in the instruction's grant".to_owned();
        return Err(deny("action-not-granted", None, message));
    }
    if request.target() == "completion/complete" && !mcp::may_complete(inputs.catalogue, grant, request) {
        let message = "what is to be completed is not in the instruction's grant".to_owned();
        return Err(deny("action-not-granted", None, message));
    }
    if request.target() == mcp::ANSWER && !mcp::may_answer(inputs.catalogue, grant) {
        return Err(answers_refused());
    }
    judgement.rules.push("mcp-plumbing".into());
    judgement.verdict = Verdict::Allow;
    Ok(())
}

/// Whoever has a grant that holds may ask the model: what comes of it is judged call by call. The catalogue may say how often, and which model.
fn decide_model(inputs: &Inputs<'_>, judgement: &mut Judgement) -> Result<(), Reason> {
    let asks = inputs.request.operation() == Operation::Model;
    judgement.action = Some(if asks { model::GENERATE } else { model::LIST }.to_owned());
    judgement.effect = Some(Effect::Read);
    holds(inputs, inputs.grant)?;
    inputs.above.iter().try_for_each(|above| holds(inputs, above.grant))?;
    let settings = inputs.catalogue.model();
    settings.check(inputs.request).map_err(|refusal| deny(refusal.code, None, refusal.message))?;
    if asks {
        judgement.usage = Some(inputs.usage.ask(settings.max_calls).map_err(exhausted)?);
        let above = inputs.above.iter().map(|above| above.usage.ask(settings.max_calls));
        judgement.above = above.collect::<Result<_, _>>().map_err(exhausted)?;
    }
    judgement.rules.push("model-any-grant".into());
    judgement.verdict = Verdict::Allow;
    Ok(())
}

/// Values in an answer to the server would reach it unjudged.
fn answers_refused() -> Reason {
    let message = "an answer to the server with values in it cannot be judged, and no action of the grant here says `asks`; decline, or put the values into the call's arguments";
    deny("mcp-answer-with-values", None, message.to_owned())
}

fn holds(inputs: &Inputs<'_>, grant: &Grant) -> Result<(), Reason> {
    let expires = grant.expires;
    if inputs.now >= expires {
        return Err(deny("grant-expired", None, format!("the grant ended at {expires}")));
    }
    match grant.not_before {
        Some(begin) if inputs.now < begin => {
            Err(deny("grant-not-yet", None, format!("the grant begins to hold at {begin}")))
        }
        _ => Ok(()),
    }
}

/// Two upstreams may have an action of the same name: only the one it was granted for counts.
fn is_for(granted: &ActionGrant, request: &Request) -> bool {
    granted.upstream.as_deref().is_none_or(|upstream| upstream == request.upstream())
}

/// The action as granted, while the grant holds.
fn granted<'a>(inputs: &Inputs<'_>, grant: &'a Grant, action: &str) -> Result<&'a ActionGrant, Reason> {
    holds(inputs, grant)?;
    let not_granted = || {
        let message = format!("the instruction's grant does not include `{action}`");
        deny("action-not-granted", None, message)
    };
    grant.actions.get(action).filter(|granted| is_for(granted, inputs.request)).ok_or_else(not_granted)
}

fn check_constraints(
    granted: &ActionGrant,
    declared: &BTreeMap<String, Argument>,
    arguments: &BTreeMap<String, Json>,
) -> Result<(), Reason> {
    for (name, constraint) in &granted.arguments {
        // A catalogue that came into force after the grant may not have the argument any more: then nothing can hold to the constraint.
        let ty = declared.get(name).map(|argument| argument.ty);
        let values = arguments.get(name).map(scalars).unwrap_or_default();
        let none = matches!(arguments.get(name), Some(Json::Array(items)) if items.is_empty());
        if none && constraint.allows_none() {
            continue;
        }
        // An argument that is left out holds to no constraint: the API would choose the value.
        if values.is_empty() || !values.iter().all(|value| ty.is_some_and(|ty| constraint.allows(ty, value))) {
            let message = format!("the argument `{name}` is not what the grant allows");
            return Err(deny("argument-outside-grant", Some(name), message));
        }
    }
    Ok(())
}

fn used(whose: &str, limit: u64) -> String {
    if limit == 1 {
        format!("the {whose} allows one call, and it was made")
    } else {
        format!("the {whose} allows {limit} calls, and all of them were made")
    }
}

fn exhausted(exhausted: Exhausted) -> Reason {
    match exhausted {
        Exhausted::Calls(limit) => deny("calls-exhausted", None, used("grant", limit)),
        Exhausted::ActionCalls(limit) => deny("action-calls-exhausted", None, used("action", limit)),
        Exhausted::Budget { limit, left } => {
            deny("budget-exhausted", None, format!("the call would pass the budget of {limit}; {left} is left"))
        }
        Exhausted::Currency(currency) => {
            deny("budget-currency", None, format!("the budget is in `{currency}`, and the call does not say so"))
        }
        Exhausted::Amount => deny("amount-unusable", None, "the amount cannot be added to a budget".to_owned()),
    }
}

/// What an approval names: SHA-256 over grant, upstream, method, target, arguments and body in the canonical form of RFC 8785. The body stands in
/// it as one text, members sorted and numbers as written, so that `4.5` and `"4.5"` are two calls.
pub fn digest(grant: &Grant, request: &Request, arguments: &BTreeMap<String, Json>) -> String {
    // A prompt is as long as a conversation, so its bytes' digest stands for it.
    let body = match request.operation() {
        Operation::Model => request.told(),
        _ => request.json().map(Json::canonical),
    };
    let text = |text: &str| Json::String(text.to_owned());
    let member = |name: &str, value: Json| (name.to_owned(), value);
    let spelled = arguments.iter().map(|(name, value)| member(name, Json::String(value.canonical())));
    let mut call = vec![
        member("grant", text(&grant.id)),
        member("upstream", text(request.upstream())),
        member("method", text(request.verb())),
        member("target", text(request.target())),
        member("arguments", Json::Object(spelled.collect())),
        member("body", body.map_or(Json::Null, Json::String)),
    ];
    call.extend(request.answers().map(|answers| member("answers", Json::String(answers.canonical()))));
    data_encoding::HEXLOWER.encode(&Sha256::digest(Json::Object(call).canonical()))
}

/// What the grant would have allowed, for a refusal's text: action names, and the constraints on this action.
pub fn allowed(grant: &Grant, action: Option<&str>) -> Value {
    let constraints = action.and_then(|action| grant.actions.get(action));
    match constraints {
        Some(granted) => {
            json!({ "actions": grant.actions.keys().collect::<Vec<_>>(), "action": granted, "expires": grant.expires.to_string() })
        }
        None => json!({ "actions": grant.actions.keys().collect::<Vec<_>>(), "expires": grant.expires.to_string() }),
    }
}

#[cfg(test)]
mod tests;
