//! The scope made of the instruction: whether it is wider than what was said, and who set it.

use std::collections::BTreeSet;

use countersign_authorize::provenance::Source;
use serde_json::Value;

use super::{Finding, Kind, Rule, rule, wording};
use crate::{
    graph::{Case, Fate, Node},
    link::{State, Step},
    message::{Fact, Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("scope-wider-than-words", Step::Scoped, &T_WIDER_THAN_WORDS, wider_than_words),
    rule("scope-wider-than-asked", Step::Scoped, &T_WIDER_THAN_ASKED, wider_than_asked),
    rule("delegation-wider", Step::Scoped, &T_DELEGATION_WIDER, delegation_wider),
];

/// A change whose values only the application named, and the user's words none of them.
fn wider_than_words(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some((said, instruction)) = case.said() else { return Vec::new() };
    let mut found = Vec::new();
    for call in case.calls.iter().filter(|call| call.changes() && call.forwarded() && !call.approved()) {
        let given = call.provenance();
        let by_host: BTreeSet<&str> = given
            .iter()
            .filter(|given| given.sources.contains(&Source::Host))
            .map(|given| given.argument.as_str())
            .collect();
        let by_user = given.iter().any(|given| given.sources.contains(&Source::Words));
        if by_host.is_empty() || by_user {
            continue;
        }
        let names: Vec<Fact> = by_host.into_iter().map(Fact::from).collect();
        let says = Message::new(&WIDER_THAN_WORDS)
            .with("call", wording::call(call))
            .with("arguments", names)
            .with("host", instruction.host.as_str())
            .with("fate", wording::fate(call));
        let mut finding = Finding::new(rule, Kind::Fault, case.graph.host(&instruction.host), says)
            .rests_on(Step::Said, case.graph.stated(said, instruction.check.as_ref()), said)
            .rests_on(Step::Judged, State::Observed, call.node);
        if let Some(grant) = call.body.grant.as_deref().and_then(|grant| case.graph.grant(grant)) {
            finding = finding.rests_on(Step::Scoped, State::Observed, grant);
        }
        if call.fate() == Fate::NotSent {
            finding.kind = Kind::Attempt;
        }
        found.push(finding);
    }
    found
}

/// Names of actions that a requested scope asks for; none when it asks for something else than actions by name.
fn asked(requested: &Value) -> Option<BTreeSet<&str>> {
    let actions = requested.get("actions")?.as_array()?;
    actions.iter().map(|action| action.as_str().or_else(|| action.get("action")?.as_str())).collect()
}

/// The gateway granted what nobody asked for.
fn wider_than_asked(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some((said, _)) = case.said() else { return Vec::new() };
    let Some(asked) = said.value("requested").and_then(asked) else { return Vec::new() };
    let grants = case.grants().filter(|grant| grant.kind() == "grant");
    let found = grants.filter_map(|grant| {
        let more: Vec<Fact> =
            actions(grant).into_iter().filter(|action| !asked.contains(action)).map(Fact::from).collect();
        if more.is_empty() {
            return None;
        }
        let says = Message::new(&WIDER_THAN_ASKED).with("actions", more);
        let finding =
            Finding::new(rule, Kind::Fault, case.platform(), says).rests_on(Step::Scoped, State::Contradicted, grant);
        Some(finding.rests_on(Step::Said, State::Observed, said))
    });
    found.collect()
}

/// The actions of a grant or delegation.
pub(super) fn actions<'g>(grant: &Node<'g>) -> Vec<&'g str> {
    let actions = grant.clear("actions").and_then(Value::as_array);
    actions.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A delegation that grants more than what it was cut from.
fn delegation_wider(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let cut = case.grants().filter_map(|node| Some((node, case.graph.grant(node.text("from")?)?)));
    let found = cut.filter_map(|(node, from)| {
        let parent = actions(from);
        let more: Vec<Fact> =
            actions(node).into_iter().filter(|action| !parent.contains(action)).map(Fact::from).collect();
        if more.is_empty() {
            return None;
        }
        let says =
            Message::new(&DELEGATION_WIDER).with("agent", node.text("agent").unwrap_or("?")).with("actions", more);
        let finding =
            Finding::new(rule, Kind::Fault, case.platform(), says).rests_on(Step::Scoped, State::Contradicted, node);
        Some(finding.rests_on(Step::Scoped, State::Observed, from))
    });
    found.collect()
}

texts! {
    T_WIDER_THAN_WORDS: "The application set a scope wider than the user's words", "应用设定的授权范围超出用户所言";
    WIDER_THAN_WORDS: "The application {host} asked for a scope that let {call} through: it named {arguments} itself, and the user's words name none of the values that make the call what it is. {fate}",
        "应用 {host} 申请的授权范围使 {call} 得以放行：{arguments} 由其自行指定，而用户所言未提及构成该调用的任何数值。{fate}";
    T_WIDER_THAN_ASKED: "The gateway granted more than was asked for", "网关授予的范围超出申请";
    WIDER_THAN_ASKED: "The gateway granted {actions}, which the application had not asked for.", "网关授予了应用并未申请的 {actions}。";
    T_DELEGATION_WIDER: "A delegation grants more than what it was cut from", "转授权超出其来源授权";
    DELEGATION_WIDER: "The delegation to {agent} grants {actions}, which the grant it was cut from does not include.",
        "对 {agent} 的转授权包含了 {actions}，而其来源授权并不包含。";
}
