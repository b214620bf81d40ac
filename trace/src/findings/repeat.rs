//! The same call again: after it was done, after nobody knew, after a no.

use super::{Finding, Kind, Rule, model, rule, wording};
use crate::{
    graph::{Call, Case, Fate},
    link::{State, Step},
    message::{Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("call-repeated", Step::Chose, &T_REPEATED, repeated),
    Rule { version: 2, ..rule("denial-ignored", Step::Chose, &T_DENIAL, denial_ignored) },
];

/// The same calls before one, which are no part of it.
fn earlier<'c, 'g>(case: &'c Case<'g>, call: &'c Call<'g>) -> impl DoubleEndedIterator<Item = &'c Call<'g>> {
    let first = case.first_of(call).node.hash;
    let before: Vec<&Call<'g>> = case.calls.iter().take_while(move |other| other.node.hash != first).collect();
    before.into_iter().filter(|other| other.same_as(call))
}

/// A change sent once more although it had been done, or nobody knew whether.
fn repeated(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in case.calls.iter().filter(|call| call.changes()) {
        if case.first_of(call).node.hash != call.node.hash && !call.approved() {
            continue;
        }
        let sent = |other: &&Call<'_>| other.forwarded() && matches!(other.fate(), Fate::Done | Fate::Unknown);
        let Some(before) = earlier(case, call).rev().find(sent) else { continue };
        let text = if before.fate() == Fate::Done { &AGAIN_DONE } else { &AGAIN_UNKNOWN };
        let says = Message::new(text).with("before", wording::call(before));
        let finding = case.chooser(call).finding(rule, model::kind(call), says, call);
        let outcome = before.outcome.as_ref().map_or(before.node, |ended| ended.node);
        found.push(finding.rests_on(Step::Sent, State::Observed, outcome));
    }
    found
}

/// Whether somebody said no to a call for good.
fn is_no(call: &Call<'_>) -> bool {
    let denied = call.answers.iter().any(|answer| answer.text("decision") == Some("denied"));
    call.fate() == Fate::Refused || (call.fate() == Fate::Held && denied)
}

/// A call asked for again after a no. All repetitions by one hand are one finding.
fn denial_ignored(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found: Vec<(Finding, &Call<'_>)> = Vec::new();
    for call in case.calls.iter().filter(|call| !call.forwarded() && call.body.repeats.is_none()) {
        let Some(before) = earlier(case, call).find(|other| is_no(other)) else { continue };
        let no = before.answers.last().copied().unwrap_or(before.node);
        let says = Message::new(&DENIED).with("before", wording::call(before)).with("no", no.seq());
        let finding =
            case.chooser(call).finding(rule, Kind::Attempt, says, call).rests_on(Step::Approved, State::Observed, no);
        match found.iter_mut().find(|(other, first)| other.holder == finding.holder && first.same_as(call)) {
            Some((other, _)) => *other = other.clone().rests_on(Step::Judged, State::Observed, call.node),
            None => found.push((finding, call)),
        }
    }
    found.into_iter().map(|(finding, _)| finding).collect()
}

texts! {
    T_REPEATED: "The same change was sent again", "同一变更被再次发送";
    AGAIN_DONE: "{call} is the same change as {before}, which the API had answered was done. {chooser} {fate}",
        "{call} 与 {before} 是同一变更，而接口已答复后者完成。{chooser}{fate}";
    AGAIN_UNKNOWN: "{call} is the same change as {before}, whose fate was not known, and has no idempotency key in common with it: if the first one was executed too, it was done twice. {chooser} {fate}",
        "{call} 与结果不明的 {before} 是同一变更，且两者没有共同的幂等键：若前者也被执行，则该变更执行了两次。{chooser}{fate}";
    T_DENIAL: "A no was ignored", "拒绝被忽视";
    DENIED: "{call} asks again for what had been refused before: {before}, with the no in entry {no}. {chooser} {fate}",
        "{call} 再次请求先前已被拒绝的 {before}，拒绝记录于条目 {no}。{chooser}{fate}";
}
