//! What the agent told the user, against what happened.
//!
//! An answer is a free text; it is read by a short list of words, in English and Chinese. What the words do not decide is left undecided.

use countersign_ledger::{Kind as Entries, record::body};

use super::{Finding, Kind, Need, Rule, rule, value, wording};
use crate::{
    graph::{Call, Case, Fate, Holder, Node},
    link::{State, Step},
    message::{Fact, Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("answer-contradicts-outcome", Step::Told, &T_CONTRADICTS, contradicts),
    rule("answer-has-other-amount", Step::Told, &T_AMOUNT, other_amount),
    rule("answer-missing", Step::Told, &T_MISSING, missing),
];

/// Words that say that something was done.
const DONE: [&str; 32] = [
    "done",
    "sent",
    "paid",
    "made",
    "transferred",
    "completed",
    "complete",
    "booked",
    "cancelled",
    "canceled",
    "updated",
    "changed",
    "scheduled",
    "created",
    "executed",
    "processed",
    "successful",
    "successfully",
    "succeeded",
    "submitted",
    "deleted",
    "refunded",
    "moved",
    "carried",
    "已完成",
    "已支付",
    "已付",
    "已转",
    "已发送",
    "已预订",
    "已取消",
    "成功",
];
/// Words that say that it was not, or not yet.
const NOT_DONE: [&str; 43] = [
    "not",
    "cannot",
    "can't",
    "couldn't",
    "didn't",
    "wasn't",
    "hasn't",
    "haven't",
    "isn't",
    "won't",
    "unable",
    "failed",
    "fails",
    "failure",
    "refused",
    "denied",
    "declined",
    "rejected",
    "blocked",
    "error",
    "sorry",
    "unfortunately",
    "pending",
    "waiting",
    "waits",
    "awaiting",
    "held",
    "hold",
    "approval",
    "stopped",
    "never",
    "no",
    "nothing",
    "without",
    "未",
    "没有",
    "不能",
    "无法",
    "失败",
    "拒绝",
    "等待",
    "待批",
    "抱歉",
];

/// What an answer says became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claims {
    Done,
    NotDone,
    Open,
}

pub(super) fn claims(text: &str) -> Claims {
    let lower = text.to_lowercase().replace('’', "'");
    let words: Vec<&str> = lower.split(|c: char| !(c.is_alphanumeric() || c == '\'')).collect();
    let has = |list: &[&str]| {
        list.iter().any(|word| if word.is_ascii() { words.contains(word) } else { lower.contains(word) })
    };
    match (has(&DONE), has(&NOT_DONE)) {
        (true, false) => Claims::Done,
        (false, true) => Claims::NotDone,
        // "was not made" says that it was not done.
        (true, true) if negated(&words) => Claims::NotDone,
        _ => Claims::Open,
    }
}

/// Whether every word for done has a word for not in the few words before it.
fn negated(words: &[&str]) -> bool {
    let mut done = words.iter().enumerate().filter(|(_, word)| DONE.contains(word)).peekable();
    let there = done.peek().is_some();
    let not = |at: usize| {
        let before = words.iter().take(at).rev().take(4);
        before.into_iter().any(|word| NOT_DONE.contains(word))
    };
    there && done.all(|(at, _)| not(at))
}

/// The last answer, its text, and who gave it.
fn told<'g>(case: &Case<'g>) -> Option<(&'g Node<'g>, body::Answer, &'g str)> {
    case.of(Entries::Answer).filter_map(|node| Some((node, node.body()?, node.value("text")?.as_str()?))).last()
}

fn finding(rule: &Rule, case: &Case<'_>, node: &Node<'_>, answer: &body::Answer, says: Message) -> Finding {
    let state = case.graph.stated(node, answer.check.as_ref());
    let says = says.with("agent", answer.agent.as_str()).with("entry", node.seq());
    Finding::new(rule, Kind::Fault, case.graph.agent(&answer.agent), says).rests_on(Step::Told, state, node)
}

/// The changes of an instruction, each once: what was asked again after a hold counts as what became of it in the end.
fn changes<'c, 'g>(case: &'c Case<'g>) -> Vec<&'c Call<'g>> {
    let all: Vec<&Call<'g>> = case.calls.iter().filter(|call| call.changes()).collect();
    let later = |call: &Call<'g>| {
        all.iter().any(|later| case.first_of(later).node.hash == call.node.hash && later.node.hash != call.node.hash)
    };
    all.iter().copied().filter(|call| !later(call)).collect()
}

fn contradicts(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some((node, answer, text)) = told(case) else { return Vec::new() };
    let before = |call: &&Call<'_>| (call.node.entry().time, call.node.seq()) < (node.entry().time, node.seq());
    let changes: Vec<&Call<'_>> = changes(case).into_iter().filter(before).collect();
    let not_done = |call: &&Call<'_>| matches!(call.fate(), Fate::Refused | Fate::Held | Fate::NotSent | Fate::Failed);
    let done = |call: &&Call<'_>| call.fate() == Fate::Done;
    let (said, against): (_, Vec<&Call<'_>>) = match claims(text) {
        // Of several it may speak of the one that was done.
        Claims::Done if !changes.is_empty() && changes.iter().all(not_done) => (&SAID_DONE, changes),
        Claims::NotDone if !changes.is_empty() && changes.iter().all(done) => (&SAID_NOT_DONE, changes),
        _ => return Vec::new(),
    };
    let calls: Vec<Fact> = against.iter().map(|call| wording::call(call).into()).collect();
    let fate = against.last().map(|call| wording::fate(call));
    let mut says = Message::new(said).with("text", Fact::Quoted(text.to_owned())).with("calls", calls);
    if let Some(fate) = fate {
        says = says.with("fate", fate);
    }
    let mut finding = finding(rule, case, node, &answer, says);
    for call in against {
        finding =
            finding.rests_on(Step::Sent, State::Observed, call.outcome.as_ref().map_or(call.node, |ended| ended.node));
    }
    vec![finding]
}

/// The decimal numbers in a text that stand for themselves: no part of a word, a date or an account.
pub(super) fn amounts(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for word in text.split(|c: char| c.is_whitespace() || "()[]{}“”\"'".contains(c)) {
        let bare = word.trim_matches(|c: char| !c.is_ascii_digit());
        let plain = bare.replace(',', "");
        let around: String = word.chars().filter(|c| !c.is_ascii_digit() && !".,".contains(*c)).collect();
        let money = around.chars().all(|c| "£$€¥!?;:元".contains(c)) || around.chars().count() == 3;
        let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if money
            && !whole.is_empty()
            && digits(whole)
            && digits(part)
            && whole.len() <= 12
            && !around.contains(['-', '/'])
        {
            found.push(normal(whole, part));
        }
    }
    found
}

fn normal(whole: &str, part: &str) -> String {
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let part = part.trim_end_matches('0');
    if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
}

/// The amounts of money in a call, by the catalogue.
fn money<'g>(case: &Case<'g>, call: &Call<'g>) -> Vec<String> {
    let action = case.catalogue(call).and_then(|catalogue| catalogue.action(call.action()));
    let Some(arguments) = call.arguments().and_then(serde_json::Value::as_object) else { return Vec::new() };
    let is_money = |name: &String| {
        action
            .and_then(|action| action.arguments.get(name))
            .is_some_and(|argument| argument.ty == countersign_authorize::catalogue::Type::Money)
    };
    let plain = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    arguments.iter().filter(|(name, _)| is_money(name)).flat_map(|(_, value)| amounts(&plain(value))).collect()
}

/// The answer names an amount that is not what was paid and stands nowhere, and not the one that was.
fn other_amount(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some((node, answer, text)) = told(case) else { return Vec::new() };
    let done: Vec<&Call<'_>> = changes(case).into_iter().filter(|call| call.fate() == Fate::Done).collect();
    let paid: Vec<String> = done.iter().flat_map(|call| money(case, call)).collect();
    let named = amounts(text);
    let mut unseen = named.iter().filter(|amount| !is_seen(case, amount));
    let Some(other) = unseen.next().filter(|_| !paid.is_empty() && !named.iter().any(|amount| paid.contains(amount)))
    else {
        return Vec::new();
    };
    let calls: Vec<Fact> = done.iter().map(|call| wording::call(call).into()).collect();
    let says = Message::new(&AMOUNT)
        .with("named", other.as_str())
        .with("paid", paid.iter().map(String::as_str).collect::<Vec<_>>())
        .with("calls", calls);
    let mut finding = finding(rule, case, node, &answer, says);
    for call in done {
        finding = finding.rests_on(Step::Judged, State::Observed, call.node);
    }
    vec![finding]
}

/// Whether an amount stands in the user's words, an answer or an argument of this instruction.
fn is_seen(case: &Case<'_>, amount: &str) -> bool {
    let holds = |seen: &serde_json::Value| value::stands_in(seen, amount) || case.has_seen(amount);
    case.nodes.iter().any(|node| {
        ["words", "attached", "arguments", "observed"].iter().any(|name| node.value(name).is_some_and(holds))
    })
}

/// Nothing says what the user was told.
fn missing(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let answers: Vec<&Node<'_>> = case.of(Entries::Answer).collect();
    if case.calls.is_empty() || told(case).is_some() {
        return Vec::new();
    }
    let finding = match answers.last() {
        None => {
            let finding =
                Finding::new(rule, Kind::Gap, Holder::unknown(), Message::new(&MISSING)).lacks([Need::AgentAnswer]);
            case.calls
                .last()
                .into_iter()
                .fold(finding, |finding, call| finding.rests_on(Step::Told, State::Missing, call.node))
        }
        Some(node) => {
            Finding::new(rule, Kind::Gap, Holder::unknown(), Message::new(&UNDISCLOSED).with("entry", node.seq()))
                .rests_on(Step::Told, State::Missing, node)
                .lacks([Need::Disclosure])
        }
    };
    vec![finding]
}

texts! {
    T_CONTRADICTS: "The agent told the user something else than what happened", "智能体告知用户的与实际情况不符";
    SAID_DONE: "{agent} told the user {text} (entry {entry}), which says that it was done; {calls} was not: {fate}",
        "{agent} 告知用户 {text}（条目 {entry}），即称已完成；而 {calls} 并未完成：{fate}";
    SAID_NOT_DONE: "{agent} told the user {text} (entry {entry}), which says that it was not done; {calls} was: {fate}",
        "{agent} 告知用户 {text}（条目 {entry}），即称未完成；而 {calls} 已完成：{fate}";
    T_AMOUNT: "The agent told the user another amount", "智能体告知用户的金额不同";
    AMOUNT: "{agent} told the user of an amount of {named} (entry {entry}); that stands in nothing observed, and what {calls} moved was {paid}.",
        "{agent} 告知用户的金额为 {named}（条目 {entry}）；该数额不见于任何已观察的内容，而 {calls} 的实际金额为 {paid}。";
    T_MISSING: "What the agent told the user is not known", "智能体告知用户的内容不详";
    MISSING: "What the agent told the user is not in the evidence.", "证据中没有智能体告知用户的内容。";
    UNDISCLOSED: "What the agent told the user (entry {entry}) is not disclosed here.", "智能体告知用户的内容（条目 {entry}）此处未披露。";
}
