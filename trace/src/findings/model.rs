//! The agent's choice, compared with what the model proposed and with what the agent itself signed.

use countersign_authorize::catalogue::Effect;
use serde_json::Value;

use super::{Finding, Kind, Need, Rule, rule, wording};
use crate::{
    graph::{Call, Case, Fate, Holder, Node, same},
    link::{State, Step},
    message::{Fact, Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("outside-grant", Step::Chose, &T_OUTSIDE, outside_grant),
    rule("agent-differs-from-model", Step::Chose, &T_DIFFERS, differs_from_model),
    rule("call-not-proposed", Step::Chose, &T_NOT_PROPOSED, not_proposed),
    rule("agent-differs-from-decision", Step::Chose, &T_DECISION, differs_from_decision),
    rule("decision-names-other-model", Step::Chose, &T_OTHER_MODEL, other_model),
    rule("proposal-not-carried-out", Step::Chose, &T_NOT_DONE, not_carried_out),
    rule("choice-unobserved", Step::Chose, &T_UNOBSERVED, choice_unobserved),
];

/// Reasons of the gateway's that are about the grant or the organisation's policy, not about where a value came from.
const OUTSIDE: [&str; 14] = [
    "action-not-granted",
    "argument-outside-grant",
    "calls-exhausted",
    "action-calls-exhausted",
    "budget-exhausted",
    "budget-currency",
    "amount-unusable",
    "action-unknown",
    "mcp-answer-with-values",
    "grant-expired",
    "grant-revoked",
    "revoked",
    "policy-forbids",
    "policy-failed",
];

/// A stopped act is an attempt, one that went through a fault.
pub(super) fn kind(call: &Call<'_>) -> Kind {
    if call.forwarded() { Kind::Fault } else { Kind::Attempt }
}

fn outside_grant(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        let reasons: Vec<Fact> = call.reasons(&OUTSIDE).map(|reason| Fact::from(reason.code.as_str())).collect();
        if reasons.is_empty() || (call.body.verdict == "allow") {
            continue;
        }
        let says = Message::new(&OUTSIDE_GRANT).with("reasons", reasons);
        let mut finding = case.chooser(call).finding(rule, kind(call), says, call);
        if let Some(grant) = call.body.grant.as_deref().and_then(|grant| case.graph.grant(grant)) {
            finding = finding.rests_on(Step::Scoped, State::Observed, grant);
        }
        found.push(finding);
    }
    found
}

/// The proposal of the same action that no call came of: what the agent's code made the call from.
fn changed_from<'g>(case: &Case<'g>, call: &Call<'g>) -> Option<&'g Node<'g>> {
    let at = (call.node.entry().time, call.node.seq());
    let used: Vec<_> = case.calls.iter().filter_map(|call| case.proposal_of(call)).map(|node| node.hash).collect();
    let open = case.proposals().filter(|node| (node.entry().time, node.seq()) < at && !used.contains(&node.hash));
    open.filter(|node| node.text("action") == call.body.action.as_deref()).last()
}

/// Whether a call that no proposal stands behind is told by another rule: as the same once more.
fn is_repeated(case: &Case<'_>, call: &Call<'_>) -> bool {
    let earlier = case.calls.iter().take_while(|other| other.node.hash != call.node.hash);
    earlier.filter(|other| other.same_as(call)).count() > 0
}

/// Calls that no proposal stands behind although models were observed.
fn unproposed<'c, 'g>(case: &'c Case<'g>) -> impl Iterator<Item = &'c Call<'g>> {
    let open = case.calls.iter().filter(|call| case.proposal_of(call).is_none() && !is_repeated(case, call));
    open.filter(|call| case.exchanges_before(call.node).next().is_some())
}

fn differs_from_model(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in unproposed(case) {
        let Some(proposal) = changed_from(case, call) else { continue };
        let kind = if call.changes() { kind(call) } else { Kind::Note };
        let Some((proposed, made)) = proposal.value("arguments").zip(call.arguments()) else { continue };
        let says = Message::new(&DIFFERS)
            .with("call", wording::call(call))
            .with("entry", proposal.seq())
            .with("agent", call.agent())
            .with("differences", differences(proposed, made))
            .with("fate", wording::fate(call));
        let finding = Finding::new(rule, kind, case.graph.agent(call.agent()), says)
            .rests_on(Step::Chose, State::Observed, proposal)
            .rests_on(Step::Judged, State::Observed, call.node);
        found.push(finding.about_agent(&call.body.credential));
    }
    found
}

/// The arguments in which two sets differ.
fn differences(one: &Value, other: &Value) -> Vec<Fact> {
    let plain = |value: Option<&Value>| match value {
        None => Fact::Word(&NOTHING),
        Some(Value::String(text)) => Fact::Quoted(text.clone()),
        Some(value) => Fact::Plain(value.to_string()),
    };
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (one, other) = (members(one), members(other));
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing = names.into_iter().filter(|name| match (one.get(*name), other.get(*name)) {
        (Some(one), Some(other)) => !same(one, other),
        _ => true,
    });
    let shown = differing.map(|name| {
        Message::new(&DIFFERENCE)
            .with("argument", name.as_str())
            .with("proposed", plain(one.get(name)))
            .with("made", plain(other.get(name)))
            .into()
    });
    shown.collect()
}

fn not_proposed(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in unproposed(case).filter(|call| changed_from(case, call).is_none()) {
        let kind = if call.changes() { kind(call) } else { Kind::Note };
        found.push(case.chooser(call).finding(rule, kind, Message::new(&NOT_PROPOSED), call));
    }
    found
}

fn differs_from_decision(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        for decision in &call.stated {
            let other_action = decision.text("action") != call.body.action.as_deref();
            let said = decision.value("arguments").map(|said| within_catalogue(case, call, said));
            let arguments = said.as_ref().zip(call.arguments());
            let other_arguments = arguments.is_some_and(|(said, done)| !same(said, done));
            if !other_action && !other_arguments {
                continue;
            }
            let differs = arguments.map(|(said, done)| differences(said, done)).unwrap_or_default();
            let says = Message::new(if other_action { &DECISION_ACTION } else { &DECISION_ARGUMENTS })
                .with("call", wording::call(call))
                .with("entry", decision.seq())
                .with("agent", call.agent())
                .with("action", decision.text("action").unwrap_or("?"))
                .with("differences", differs)
                .with("fate", wording::fate(call));
            let kind = if call.changes() || other_action { kind(call) } else { Kind::Note };
            let finding = Finding::new(rule, kind, case.graph.agent(call.agent()), says)
                .rests_on(Step::Chose, State::Contradicted, decision)
                .rests_on(Step::Judged, State::Observed, call.node);
            found.push(finding.about_agent(&call.body.credential));
        }
    }
    found
}

/// What a decision says, without the arguments that the catalogue does not know: no record of a call has them.
fn within_catalogue(case: &Case<'_>, call: &Call<'_>, said: &Value) -> Value {
    let action = case.catalogue(call).and_then(|catalogue| catalogue.action(call.action()));
    let (Some(action), Some(members)) = (action, said.as_object()) else { return said.clone() };
    let known = members.iter().filter(|(name, _)| action.arguments.contains_key(*name));
    known.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

fn other_model(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        let Some(proposal) = case.proposal_of(call) else { continue };
        let Some(seen) = proposal.text("model") else { continue };
        for decision in &call.stated {
            let Some(named) = decision.text("model").filter(|named| !is_same_model(named, seen)) else { continue };
            let says = Message::new(&OTHER_MODEL)
                .with("agent", call.agent())
                .with("entry", decision.seq())
                .with("named", named)
                .with("seen", seen)
                .with("call", wording::call(call));
            let finding = Finding::new(rule, Kind::Fault, case.graph.agent(call.agent()), says)
                .rests_on(Step::Chose, State::Contradicted, decision)
                .rests_on(Step::Chose, State::Observed, proposal);
            found.push(finding.about_agent(&call.body.credential));
        }
    }
    found
}

/// `gpt-4o` and `gpt-4o-2024-08-06` are one: a provider answers with the version that stands behind a name.
fn is_same_model(named: &str, seen: &str) -> bool {
    let longer = |one: &str, other: &str| {
        one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':', '@']))
    };
    longer(named, seen) || longer(seen, named)
}

/// A change that the model proposed and no call came of, after another one was made.
fn not_carried_out(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some(done) = case.calls.iter().find(|call| call.changes() && call.fate() == Fate::Done) else {
        return Vec::new();
    };
    if unproposed(case).any(|call| changed_from(case, call).is_some()) {
        return Vec::new();
    }
    let used: Vec<_> = case.calls.iter().filter_map(|call| case.proposal_of(call)).map(|node| node.hash).collect();
    let last = case.nodes.last().map(|node| node.hash);
    let open = case.proposals().filter(|node| !used.contains(&node.hash) && last != Some(node.hash));
    let found =
        open.filter(|node| case.effect_of(node.text("action").unwrap_or_default()) > Some(Effect::Read)).map(|node| {
            let agent = node.text("agent").unwrap_or("?");
            let says = Message::new(&NOT_DONE)
                .with("entry", node.seq())
                .with("action", node.text("action").unwrap_or("?"))
                .with("done", wording::call(done))
                .with("agent", agent);
            Finding::new(rule, Kind::Fault, case.graph.agent(agent), says)
                .rests_on(Step::Chose, State::Observed, node)
                .rests_on(Step::Judged, State::Observed, done.node)
        });
    found.collect()
}

/// Nobody can say who chose, because nothing of the model was seen.
fn choice_unobserved(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let blind: Vec<&Call<'_>> =
        case.calls.iter().filter(|call| case.exchanges_before(call.node).next().is_none()).collect();
    let Some(first) = blind.first() else { return Vec::new() };
    let undecided: Vec<&Call<'_>> =
        blind.iter().copied().filter(|call| call.stated.is_empty() && case.first_of(call).stated.is_empty()).collect();
    let decided = undecided.is_empty();
    let told = if decided { &blind } else { &undecided };
    let calls: Vec<Fact> = told.iter().map(|call| wording::call(call).into()).collect();
    let says = Message::new(if decided { &UNOBSERVED_STATED } else { &UNOBSERVED }).with("calls", calls);
    let mut finding = Finding::new(rule, Kind::Gap, Holder::unknown(), says);
    for call in &blind {
        finding = finding.rests_on(Step::Judged, State::Observed, call.node);
    }
    finding.state = State::Missing;
    let finding = finding.about_agent(&first.body.credential).lacks([Need::ModelExchange]);
    vec![if decided { finding } else { finding.lacks([Need::AgentDecision]) }]
}

texts! {
    NOTHING: "nothing", "无";
    DIFFERENCE: "{argument}: {proposed} became {made}", "{argument}：{proposed} 变为 {made}";
    T_OUTSIDE: "A call outside the grant", "超出授权的调用";
    OUTSIDE_GRANT: "{call} is outside what the instruction was granted and the organisation's policy allows ({reasons}). {chooser} {fate}",
        "{call} 超出该指令所获授权及组织策略所允许的范围（{reasons}）。{chooser}{fate}";
    T_DIFFERS: "The agent's code changed what the model had proposed", "智能体代码改动了模型的提议";
    DIFFERS: "The model proposed one thing (entry {entry}), and {agent} made another of it in {call}: {differences}. {fate}",
        "模型提议的是一回事（条目 {entry}），{agent} 在 {call} 中作了改动：{differences}。{fate}";
    T_NOT_PROPOSED: "A call that no model proposed", "没有模型提议的调用";
    NOT_PROPOSED: "{call}: {chooser} {fate}", "{call}：{chooser}{fate}";
    T_DECISION: "The agent acted against its own signed decision", "智能体的行为与其自己签名的决定不符";
    DECISION_ACTION: "{agent} stated that it decided on {action} (entry {entry}) and made {call} of it. {fate}",
        "{agent} 声明其决定执行 {action}（条目 {entry}），却发出了 {call}。{fate}";
    DECISION_ARGUMENTS: "{agent} stated one decision (entry {entry}) and made {call} of it with other values: {differences}. {fate}",
        "{agent} 声明了一项决定（条目 {entry}），却以不同数值发出 {call}：{differences}。{fate}";
    T_OTHER_MODEL: "The agent's statement names another model than the one that answered", "智能体的陈述所称模型与实际答复的模型不同";
    OTHER_MODEL: "{agent} stated that the model {named} chose {call} (entry {entry}); the model that answered through the gateway was {seen}.",
        "{agent} 声明 {call} 由模型 {named} 选定（条目 {entry}）；而经网关答复的模型是 {seen}。";
    T_NOT_DONE: "The agent left undone what the model had proposed", "智能体未执行模型提议的后续步骤";
    NOT_DONE: "The model proposed {action} (entry {entry}), and {agent} made no call of it after {done} had been made: things were left half done.",
        "模型提议了 {action}（条目 {entry}），但在 {done} 完成之后，{agent} 未再发出相应调用：事情只完成了一半。";
    T_UNOBSERVED: "Who chose the calls was not observed", "无从观察何方选择了这些调用";
    UNOBSERVED: "Why the agent made {calls} is not known: no exchange with a model was observed, and the agent stated no decision.",
        "智能体为何发出 {calls} 无从得知：未观察到与模型的往来，智能体亦未陈述其决定。";
    UNOBSERVED_STATED: "That a model chose {calls} rests on the agent's own word: no exchange with a model was observed.",
        "由模型选定 {calls} 仅凭智能体自身的陈述：未观察到与模型的往来。";
}
