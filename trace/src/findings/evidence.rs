//! The evidence itself: what was left out, withheld, erased, or is under a hold.

use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::evidence::Shown;
use serde_json::Value;

use super::{Finding, Kind, Need, Rule, rule};
use crate::{
    graph::{Case, Holder, Node},
    link::{State, Step},
    message::{Fact, Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("entries-left-out", Step::Judged, &T_LEFT_OUT, left_out),
    rule("statement-withheld", Step::Chose, &T_STATEMENT, statement_withheld),
    rule("values-withheld", Step::Chose, &T_WITHHELD, values_withheld),
    rule("values-erased", Step::Said, &T_ERASED, values_erased),
    rule("under-hold", Step::Said, &T_HOLD, under_hold),
];

/// Numbers below `end` that are not there.
fn holes(numbers: &BTreeSet<u64>, end: u64) -> Vec<u64> {
    const MOST: usize = 16;
    (0..end).filter(|number| !numbers.contains(number)).take(MOST).collect()
}

/// The instruction's own counter has holes, or ends before the total that a heartbeat gives.
fn left_out(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    if !case.graph.has_whole_instructions() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let origins: BTreeSet<&str> = case.nodes.iter().map(|node| node.origin()).collect();
    for origin in origins {
        let own: Vec<&&Node<'_>> = case.nodes.iter().filter(|node| node.origin() == origin).collect();
        let numbers: BTreeSet<u64> = own.iter().filter_map(|node| node.entry().n).collect();
        let total =
            totals(case, origin).into_iter().max_by_key(|(total, _)| *total).map(|(total, node)| (total, Some(node)));
        let last = numbers.last().map_or(0, |last| last + 1);
        let (end, heartbeat) = total.filter(|(total, _)| *total > last).unwrap_or((last, None));
        let missing = holes(&numbers, end);
        if missing.is_empty() {
            continue;
        }
        let says = Message::new(&LEFT_OUT)
            .with("numbers", missing.into_iter().map(Fact::from).collect::<Vec<_>>())
            .with("total", end);
        let mut finding = Finding::new(rule, Kind::Fault, case.platform(), says);
        for node in own.last().into_iter().map(|node| **node).chain(heartbeat) {
            finding = finding.rests_on(Step::Judged, State::Missing, node);
        }
        found.push(finding.lacks([Need::Entries]));
    }
    found
}

/// The totals that heartbeats of a ledger give for the instruction.
fn totals<'g>(case: &Case<'g>, origin: &str) -> Vec<(u64, &'g Node<'g>)> {
    let heartbeats = case.graph.nodes().iter().filter(|node| node.kind() == "heartbeat" && node.origin() == origin);
    let mut totals = Vec::new();
    for node in heartbeats {
        for closed in node.clear("closed").and_then(Value::as_array).into_iter().flatten() {
            if closed.get("instruction").and_then(Value::as_str) == Some(case.instruction) {
                totals.extend(closed.get("entries").and_then(Value::as_u64).map(|total| (total, node)));
            }
        }
    }
    totals
}

/// What an agent counted of its statements of one kind under one grant.
struct Counted<'g> {
    numbers: BTreeSet<u64>,
    /// How many there must be.
    end: u64,
    last: &'g Node<'g>,
}

/// The counters in an agent's statements, by grant and kind of statement, have holes, or an answer says that it stated more decisions.
fn statement_withheld(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut counted: BTreeMap<(&str, &str, &str), Counted<'_>> = BTreeMap::new();
    let stated =
        case.nodes.iter().copied().filter(|node| {
            node.kind() == "answer" || (node.kind() == "decision" && node.text("source") == Some("agent"))
        });
    for node in stated {
        let (grant, agent) = (node.text("grant").unwrap_or_default(), node.text("agent").unwrap_or("?"));
        let number = |name: &str| node.clear(name).and_then(Value::as_u64);
        let own = number("n").map(|n| (node.kind(), Some(n), n + 1));
        let before = number("decisions").map(|count| ("decision", None, count));
        for (kind, n, end) in own.into_iter().chain(before) {
            let new = || Counted { numbers: BTreeSet::new(), end: 0, last: node };
            let counted = counted.entry((grant, kind, agent)).or_insert_with(new);
            counted.numbers.extend(n);
            counted.end = counted.end.max(end);
            counted.last = node;
        }
    }
    let mut found = Vec::new();
    for ((_, kind, agent), Counted { numbers, end, last }) in counted {
        let missing = holes(&numbers, end);
        if missing.is_empty() {
            continue;
        }
        let says = Message::new(&STATEMENT)
            .with("agent", agent)
            .with("kind", if kind == "decision" { &DECISIONS } else { &ANSWERS })
            .with("entry", last.seq())
            .with("numbers", missing.into_iter().map(Fact::from).collect::<Vec<_>>());
        let link = if kind == "decision" { Step::Chose } else { Step::Told };
        let finding = Finding::new(rule, Kind::Fault, case.graph.agent(agent), says).at(link);
        found.push(finding.rests_on(link, State::Missing, last).lacks([Need::AgentStatement]));
    }
    found
}

/// The names of values that can be seen in no other way than this.
fn names(case: &Case<'_>, of: fn(&Shown) -> bool) -> BTreeMap<String, Vec<u64>> {
    let mut names: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for node in &case.nodes {
        for name in node.names().filter(|name| node.shown(name).is_some_and(of)) {
            names.entry(name.clone()).or_default().push(node.seq());
        }
    }
    names
}

fn told(names: BTreeMap<String, Vec<u64>>) -> Vec<Fact> {
    let fact = |(name, entries): (String, Vec<u64>)| {
        let text = if entries.len() == 1 { &NAMED_IN_ONE } else { &NAMED };
        let entries: Vec<Fact> = entries.into_iter().map(Fact::from).collect();
        Message::new(text).with("name", name).with("entries", entries).into()
    };
    names.into_iter().map(fact).collect()
}

fn values_withheld(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let withheld = names(case, |shown| matches!(shown, Shown::Withheld));
    let Some(first) = case.nodes.first().filter(|_| !withheld.is_empty()) else { return Vec::new() };
    let says = Message::new(&WITHHELD).with("names", told(withheld));
    let finding = Finding::new(rule, Kind::Gap, Holder::unknown(), says).rests_on(Step::Said, State::Missing, first);
    vec![finding.lacks([Need::Disclosure])]
}

fn values_erased(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let erased = names(case, |shown| matches!(shown, Shown::Erased));
    let subject = case.said().map(|(_, said)| said.subject);
    let order =
        case.graph.nodes().iter().find(|node| node.kind() == "erasure" && node.text("subject") == subject.as_deref());
    let Some(first) = case.nodes.first().filter(|_| !erased.is_empty() || order.is_some()) else { return Vec::new() };
    let by = order.and_then(|node| node.clear("by")?.as_array()).into_iter().flatten().filter_map(Value::as_str);
    let by: Vec<Fact> = by.map(Fact::from).collect();
    let text = if order.is_some() { &ERASED_BY } else { &ERASED };
    let says = Message::new(text)
        .with("names", told(erased))
        .with("by", by)
        .with("reason", Fact::Quoted(order.and_then(|node| node.text("reason")).unwrap_or("?").to_owned()));
    let finding = Finding::new(rule, Kind::Note, Holder::unknown(), says);
    vec![finding.rests_on(Step::Said, State::Observed, order.unwrap_or(first))]
}

fn under_hold(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let subject = case.said().map(|(_, said)| said.subject);
    let mut held: BTreeMap<&str, &Node<'_>> = BTreeMap::new();
    for node in
        case.graph.nodes().iter().filter(|node| node.kind() == "hold" && node.text("subject") == subject.as_deref())
    {
        let id = node.text("hold").unwrap_or_default();
        match node.text("event") {
            Some("released") => held.remove(id),
            _ => held.insert(id, node),
        };
    }
    let found = held.into_values().map(|node| {
        let says = Message::new(&HOLD)
            .with("by", node.text("by").unwrap_or("?"))
            .with("reason", Fact::Quoted(node.text("reason").unwrap_or("?").to_owned()));
        Finding::new(rule, Kind::Note, Holder::unknown(), says).rests_on(Step::Said, State::Observed, node)
    });
    found.collect()
}

texts! {
    NAMED_IN_ONE: "{name} (entry {entries})", "{name}（条目 {entries}）";
    NAMED: "{name} (entries {entries})", "{name}（条目 {entries}）";
    DECISIONS: "decisions", "决定";
    ANSWERS: "answers", "答复";
    T_LEFT_OUT: "Entries were left out of the evidence", "证据中遗漏了条目";
    LEFT_OUT: "The counter of the instruction counts {total}, and of its entries these numbers are not in this evidence: {numbers}. Whoever made or kept this copy left them out.",
        "该指令的计数器共计 {total} 个条目，而编号 {numbers} 的条目不在本证据中：制作或保管此副本者将其遗漏。";
    T_STATEMENT: "The agent withheld a statement of its own", "智能体隐瞒了自己的陈述";
    STATEMENT: "The {kind} that {agent} signed carry a counter, and of these numbers none was ever handed in: {numbers} (last seen in entry {entry}).",
        "{agent} 签名的{kind}带有计数，而编号 {numbers} 的从未提交（最后见于条目 {entry}）。";
    T_WITHHELD: "Values are not disclosed here", "数值未在此披露";
    WITHHELD: "These values stand in the ledger and are not disclosed here: {names}.", "以下数值存于账本但未在此披露：{names}。";
    T_ERASED: "Values were erased", "数值已被擦除";
    ERASED: "These values were observed and erased since; nobody can check them again: {names}.", "以下数值曾被观察，此后已被擦除，任何人均无法再行核验：{names}。";
    ERASED_BY: "The data of this user was erased on the word of {by}, with the reason {reason}; what was observed can no longer be checked: {names}.",
        "该用户的数据经 {by} 签署、以 {reason} 为由被擦除；已观察的内容无法再行核验：{names}。";
    T_HOLD: "The evidence is under a hold", "证据处于保全状态";
    HOLD: "{by} placed a hold on the data of this user, with the reason {reason}: it cannot be erased.", "{by} 以 {reason} 为由对该用户的数据作出保全：不得擦除。";
}
