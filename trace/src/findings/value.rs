//! Where the values of a call came from: a third party's content, another instruction, nothing that was observed.

use std::collections::BTreeSet;

use countersign_authorize::provenance::Source;
use countersign_ledger::Hash;
use serde_json::Value;

use super::{Finding, Kind, Rule, approval, policy, rule, wording};
use crate::{
    graph::{Call, Case, Fate, Given, Holder, Node},
    link::{State, Step},
    message::{Fact, Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("value-from-third-party", Step::Chose, &T_THIRD_PARTY, third_party),
    rule("content-followed", Step::Chose, &T_FOLLOWED, followed),
    rule("value-from-other-instruction", Step::Chose, &T_OTHER_INSTRUCTION, other_instruction),
    rule("value-unobserved", Step::Chose, &T_UNOBSERVED, unobserved),
    rule("value-of-other-thing", Step::Chose, &T_OTHER_THING, other_thing),
];

/// How much a value that no rule accepts weighs: none where the call is only asked again later, which is then looked at itself.
fn weight(case: &Case<'_>, call: &Call<'_>) -> Option<Kind> {
    match call.fate() {
        Fate::Held if case.calls.iter().any(|later| later.approved() && later.same_as(call)) => None,
        Fate::Held | Fate::Refused => Some(Kind::Attempt),
        // A human looked at it and said yes.
        _ if call.approved() && approval::is_hasty(case, call) || call.disputed() => Some(Kind::Fault),
        _ if call.approved() => Some(Kind::Note),
        _ => Some(Kind::Fault),
    }
}

/// The values of a call that nothing accepts: as judged, as it would have been judged before the rules were widened, and those of a call that was
/// refused before anybody looked at its values.
fn unaccepted(case: &Case<'_>, call: &Call<'_>) -> Vec<Given> {
    if let Some(widened) = policy::widened(case, call) {
        return widened.given.into_iter().filter(|given| !given.accepted).collect();
    }
    let recorded = call.provenance();
    if call.fate() == Fate::Refused && recorded.is_empty() {
        // Nobody judged them: only what a text told the agent to do counts.
        let told = |given: &Given| is_told(case, given);
        return case.given(call).into_iter().filter(|given| !given.accepted).filter(told).collect();
    }
    recorded.into_iter().filter(|given| !given.accepted).collect()
}

/// The content that decided a value: the least trusted source, when it is a third party's.
fn content(given: &Given) -> Option<(&str, &str, &str)> {
    match given.sources.last() {
        Some(Source::ThirdParty { call, action, field }) => Some((call, action, field)),
        _ => None,
    }
}

/// Whether the value stands within a longer text of a third party's, not as a field of its own.
fn is_told(case: &Case<'_>, given: &Given) -> bool {
    let Some((call, ..)) = content(given) else { return false };
    let outcome = source(case, call).and_then(|call| call.outcome.as_ref());
    let body = outcome.and_then(|ended| ended.node.value("observed")?.get("body")?.as_str());
    !body.is_some_and(|body| serde_json::from_str(body).is_ok_and(|json: Value| is_a_field(&json, given.value.trim())))
}

fn is_a_field(json: &Value, value: &str) -> bool {
    match json {
        Value::Array(items) => items.iter().any(|item| is_a_field(item, value)),
        Value::Object(members) => members.values().any(|member| is_a_field(member, value)),
        Value::String(text) if text.trim() == value => true,
        // Servers of MCP put JSON into a text.
        Value::String(text) if text.starts_with(['{', '[']) => {
            serde_json::from_str(text).is_ok_and(|inner: Value| is_a_field(&inner, value))
        }
        Value::Number(number) => number.to_string() == value,
        _ => false,
    }
}

fn source<'c, 'g>(case: &'c Case<'g>, call: &str) -> Option<&'c Call<'g>> {
    let hash: Hash = call.parse().ok()?;
    case.calls.iter().find(|earlier| earlier.node.hash == hash)
}

fn third_party(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        let Some(kind) = weight(case, call) else { continue };
        let mut told = BTreeSet::new();
        for given in unaccepted(case, call) {
            let Some((from, action, field)) =
                content(&given).filter(|content| told.insert((content.0.to_owned(), content.2.to_owned())))
            else {
                continue;
            };
            let earlier = source(case, from);
            let says = Message::new(&THIRD_PARTY)
                .with("argument", given.argument.as_str())
                .with("value", Fact::Quoted(given.value.clone()))
                .with("call", wording::call(call))
                .with("source", earlier.map_or_else(|| Fact::from(action), |earlier| wording::call(earlier).into()))
                .with("field", if field.is_empty() { "/" } else { field })
                .with("fate", wording::fate(call));
            let holder = Holder::third_party(&format!("{action} {field}"));
            let mut finding = Finding::new(rule, kind, holder, says);
            if let Some(ended) = earlier.and_then(|earlier| earlier.outcome.as_ref()) {
                finding = finding.rests_on(Step::Answered, State::Observed, ended.node);
            }
            found.push(finding.rests_on(Step::Judged, State::Observed, call.node));
        }
    }
    found
}

/// Who took the content's word: said where the gateway or a human stopped it, or nobody did.
fn followed(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        let Some(kind) = weight(case, call).filter(|kind| *kind != Kind::Note) else { continue };
        // What the rules in force let content decide, whoever called may let it decide too.
        let let_through = call.forwarded() && !call.approved() && !call.body.shadow;
        if let_through || !unaccepted(case, call).iter().any(|given| content(given).is_some()) {
            continue;
        }
        found.push(case.chooser(call).finding(rule, kind, Message::new(&FOLLOWED), call));
    }
    found
}

/// Values in nothing that was observed, with the entry of another instruction that has them.
fn nowhere<'g>(case: &Case<'g>, call: &Call<'g>) -> Vec<(Given, Option<&'g Node<'g>>)> {
    let mut nowhere = Vec::new();
    for given in unaccepted(case, call) {
        // What the agent itself sent first was nowhere before.
        if given.sources.iter().all(|source| matches!(source, Source::Agent { .. })) {
            let elsewhere = elsewhere(case, call, &given.value);
            nowhere.push((given, elsewhere));
        }
    }
    if nowhere.is_empty() && call.provenance().is_empty() && !call.forwarded() {
        let codes = call.reasons(&["value-not-observed", "value-from-agent"]);
        nowhere.extend(codes.map(|reason| {
            let argument = reason.argument.clone().unwrap_or_default();
            (Given { argument, value: String::new(), sources: Vec::new(), accepted: false }, None)
        }));
    }
    nowhere
}

/// The earlier entry of another instruction in which a value stands.
fn elsewhere<'g>(case: &Case<'g>, call: &Call<'g>, value: &str) -> Option<&'g Node<'g>> {
    // A short one stands everywhere.
    if value.chars().count() < 5 {
        return None;
    }
    let before = case.graph.nodes().iter().take_while(|node| node.hash != call.node.hash);
    let other =
        before.filter(|node| node.entry().instruction.as_deref().is_some_and(|other| other != case.instruction));
    let has = |node: &&'g Node<'g>| {
        ["words", "attached", "arguments", "observed"]
            .iter()
            .any(|name| node.value(name).is_some_and(|seen| stands_in(seen, value)))
    };
    other.filter(has).last()
}

/// Whether a text stands somewhere as whole words.
pub(super) fn stands_in(seen: &Value, value: &str) -> bool {
    match seen {
        Value::String(text) => text.match_indices(value).any(|(at, _)| {
            let whole = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
            let (before, after) = (text.get(..at), text.get(at + value.len()..));
            whole(before.and_then(|text| text.chars().next_back())) && whole(after.and_then(|text| text.chars().next()))
        }),
        Value::Array(items) => items.iter().any(|item| stands_in(item, value)),
        Value::Object(members) => members.values().any(|member| stands_in(member, value)),
        Value::Number(number) => number.to_string() == value,
        Value::Null | Value::Bool(_) => false,
    }
}

fn other_instruction(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        let Some(kind) = weight(case, call) else { continue };
        for (given, other) in nowhere(case, call) {
            let Some(other) = other else { continue };
            let says = Message::new(&OTHER_INSTRUCTION)
                .with("argument", given.argument.as_str())
                .with("value", Fact::Quoted(given.value))
                .with("other", other.entry().instruction.clone().unwrap_or_default())
                .with("entry", other.seq());
            let finding = case.chooser(call).finding(rule, kind, says, call);
            found.push(finding.rests_on(Step::Said, State::Observed, other));
        }
    }
    found
}

fn unobserved(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        let Some(kind) = weight(case, call) else { continue };
        let values: Vec<Fact> = nowhere(case, call)
            .into_iter()
            .filter(|(_, other)| other.is_none())
            .map(|(given, _)| named(&given))
            .collect();
        if !values.is_empty() {
            let says = Message::new(&UNOBSERVED).with("values", values);
            found.push(case.chooser(call).finding(rule, kind, says, call));
        }
    }
    found
}

fn named(given: &Given) -> Fact {
    let named = Message::new(if given.value.is_empty() { &ARGUMENT } else { &ARGUMENT_IS });
    named.with("argument", given.argument.as_str()).with("value", Fact::Quoted(given.value.clone())).into()
}

/// Observed, and of something else than the user named.
fn other_thing(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    const CODES: [&str; 5] = [
        "value-of-unnamed-item",
        "value-said-for-another",
        "value-from-other-field",
        "value-from-words",
        "value-from-attachment",
    ];
    let mut found = Vec::new();
    for call in &case.calls {
        let Some(kind) = weight(case, call) else { continue };
        let recorded = call.provenance();
        let values: Vec<Fact> = call
            .reasons(&CODES)
            .filter_map(|reason| reason.argument.as_deref())
            .map(|argument| {
                let given = recorded.iter().find(|given| given.argument == argument && !given.accepted);
                given.map_or_else(|| Message::new(&ARGUMENT).with("argument", argument).into(), named)
            })
            .collect();
        if !values.is_empty() {
            let says = Message::new(&OTHER_THING).with("values", values);
            found.push(case.chooser(call).finding(rule, kind, says, call));
        }
    }
    found
}

texts! {
    ARGUMENT: "{argument}", "{argument}";
    ARGUMENT_IS: "{argument} = {value}", "{argument} = {value}";
    T_THIRD_PARTY: "A value came from content that a third party may have written", "数值来自第三方可能撰写的内容";
    THIRD_PARTY: "The value {value} of {argument} in {call} stands in what {source} returned, at {field}: content that anybody may have written. {fate}",
        "{call} 中 {argument} 的值 {value} 出现在 {source} 返回内容的 {field} 处：该内容可由任何人撰写。{fate}";
    T_FOLLOWED: "Who followed the content", "何方遵从了该内容";
    FOLLOWED: "{call} took a value from a third party's content that the rules in force do not accept as a source. {chooser} {fate}",
        "{call} 采用了第三方内容中的数值，而现行规则不接受该来源。{chooser}{fate}";
    T_OTHER_INSTRUCTION: "A value came from another instruction", "数值来自另一条指令";
    OTHER_INSTRUCTION: "The value {value} of {argument} in {call} was observed nowhere under this instruction; it stands in entry {entry} of the instruction {other}. {chooser} {fate}",
        "{call} 中 {argument} 的值 {value} 在本指令下从未被观察到；它出现在指令 {other} 的条目 {entry} 中。{chooser}{fate}";
    T_UNOBSERVED: "A value is in nothing that was observed", "数值不见于任何已观察的内容";
    UNOBSERVED: "In {call}, {values} is in nothing that was observed under this instruction: neither the user's words nor any answer. That is not the same as invented: it may have come by a way that nobody recorded. {chooser} {fate}",
        "{call} 中的 {values} 不见于本指令下任何已观察的内容：既不在用户所言中，也不在任何答复中。这并不等于捏造：它可能来自未被记录的途径。{chooser}{fate}";
    T_OTHER_THING: "A value belongs to something else than the user named", "数值属于用户未指明的其他事项";
    OTHER_THING: "In {call}, {values} was observed, but not as what the user asked for: it is of an item that the user did not name, was said of something else, or comes from a field that is no source for it. {chooser} {fate}",
        "{call} 中的 {values} 虽曾被观察到，但并非用户所要求的：它属于用户未指明的项目、用户就其他事项所言，或出自不可作为来源的字段。{chooser}{fate}";
}
