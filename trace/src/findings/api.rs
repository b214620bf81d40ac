//! Failures on the API's side, as it answered or signed for them.

use super::{Finding, Kind, Rule, rule, wording};
use crate::{
    graph::{Call, Case, Ended, Fate},
    link::{State, Step},
    message::{Fact, Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("api-congested", Step::Answered, &T_CONGESTED, congested),
    rule("api-deadlock", Step::Answered, &T_DEADLOCK, deadlock),
    rule("api-failed", Step::Answered, &T_FAILED, failed),
    rule("left-half-done", Step::Answered, &T_HALF, half_done),
];

/// The calls of APIs and the exchanges with models: a model's endpoint is an API too.
fn all<'c, 'g>(case: &'c Case<'g>) -> impl Iterator<Item = &'c Call<'g>> {
    case.calls.iter().chain(&case.exchanges)
}

/// How long a call had taken when it ended, in milliseconds.
fn took_ms(ended: &Ended<'_>) -> Option<u64> {
    ended.body.us.values().max().map(|us| us / 1000)
}

fn timed_out(call: &Call<'_>) -> bool {
    call.outcome.as_ref().is_some_and(|ended| ended.body.result == "upstream_timeout")
}

/// The call stood in the API's queue, or waited for a lock, for most of the time until it failed or was given up.
fn congested(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in all(case).filter(|call| call.fate() != Fate::Done) {
        let Some(ended) = &call.outcome else { continue };
        for (receipt, execution) in call.executions() {
            if execution.deadlock == Some(true) {
                continue;
            }
            let waited = execution.queue_ms.unwrap_or_default().saturating_add(execution.lock_ms.unwrap_or_default());
            let enough = took_ms(ended).is_none_or(|took| waited.saturating_mul(2) >= took);
            if waited == 0 || !enough {
                continue;
            }
            let done = execution.exception.is_none() && execution.changed.is_some_and(|changed| changed > 0);
            let says = Message::new(if done { &CONGESTED_DONE } else { &CONGESTED })
                .with("call", wording::call(call))
                .with("queue", execution.queue_ms.unwrap_or_default())
                .with("lock", execution.lock_ms.unwrap_or_default());
            let state = case.graph.stated(receipt.node, receipt.check.as_ref());
            let finding = Finding::new(rule, Kind::Fault, case.graph.api(&receipt.api), says)
                .rests_on(Step::Sent, State::Observed, ended.node)
                .rests_on(Step::Answered, state, receipt.node);
            found.push(finding);
        }
    }
    found
}

fn deadlock(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in all(case) {
        for (receipt, execution) in call.executions().filter(|(_, execution)| execution.deadlock == Some(true)) {
            // One that the API's own retry got over harmed nobody.
            let kind = if call.fate() == Fate::Done { Kind::Note } else { Kind::Fault };
            let says = Message::new(&DEADLOCK)
                .with("call", wording::call(call))
                .with("lock", execution.lock_ms.map_or_else(|| "?".to_owned(), |ms| ms.to_string()));
            let state = case.graph.stated(receipt.node, receipt.check.as_ref());
            let finding = Finding::new(rule, kind, case.graph.api(&receipt.api), says)
                .rests_on(Step::Judged, State::Observed, call.node)
                .rests_on(Step::Answered, state, receipt.node);
            found.push(finding);
        }
    }
    found
}

/// The API answered that it failed itself, or signed for an exception.
fn failed(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in all(case) {
        let Some(ended) = &call.outcome else { continue };
        let status = ended.body.status.filter(|status| *status >= 500 && ended.body.result == "completed");
        let signed =
            call.executions().find(|(_, execution)| execution.exception.is_some() && execution.deadlock != Some(true));
        if status.is_none() && (signed.is_none() || !timed_out(call)) {
            continue;
        }
        let exception = signed.as_ref().and_then(|(_, execution)| execution.exception.clone());
        let text = if status.is_some() { &FAILED } else { &FAILED_LATE };
        let says = Message::new(text)
            .with("call", wording::call(call))
            .with("status", status.map_or_else(|| "?".to_owned(), |status| status.to_string()))
            .with("exception", exception.map_or(Fact::Word(&NOT_NAMED), Fact::Plain));
        let mut finding = Finding::new(rule, Kind::Fault, case.graph.api(&call.body.upstream), says).rests_on(
            Step::Answered,
            State::Observed,
            ended.node,
        );
        if let Some((receipt, _)) = signed {
            finding =
                finding.rests_on(Step::Answered, case.graph.stated(receipt.node, receipt.check.as_ref()), receipt.node);
        }
        found.push(finding);
    }
    found
}

/// A change was made, a later one failed and was never made good: things stand half done.
fn half_done(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let changes: Vec<&Call<'_>> = case.calls.iter().filter(|call| call.changes() && call.forwarded()).collect();
    let mut found = Vec::new();
    for (step, call) in changes.iter().enumerate() {
        let before: Vec<Fact> = changes
            .iter()
            .take(step)
            .filter(|call| call.fate() == Fate::Done)
            .map(|call| wording::call(call).into())
            .collect();
        let made_good = changes.iter().skip(step + 1).any(|later| later.same_as(call) && later.fate() == Fate::Done);
        let Some(ended) = call.outcome.as_ref().filter(|_| !before.is_empty() && !made_good) else { continue };
        let (link, holder) = match (ended.body.result.as_str(), ended.body.status) {
            ("gateway_fault" | "shutdown" | "unknown", _) => (Step::Sent, case.platform()),
            ("client_aborted", _) => (Step::Sent, case.graph.agent(call.agent())),
            ("completed", Some(status)) if status >= 500 => (Step::Answered, case.graph.api(&call.body.upstream)),
            _ => continue,
        };
        let says = Message::new(&HALF)
            .with("step", step as u64 + 1)
            .with("call", wording::call(call))
            .with("before", before)
            .with("fate", wording::fate(call));
        let finding = Finding::new(rule, Kind::Fault, holder, says).at(link);
        found.push(finding.rests_on(link, State::Observed, ended.node).rests_on(
            Step::Judged,
            State::Observed,
            call.node,
        ));
    }
    found
}

texts! {
    NOT_NAMED: "not named", "未说明";
    T_CONGESTED: "The API was congested", "接口拥塞";
    CONGESTED: "{call} waited {queue} ms in the API's queue and {lock} ms for locks, by the API's own signed word, and got no good answer in time.",
        "据接口自身签名的陈述，{call} 在其队列中等待 {queue} 毫秒、等待锁 {lock} 毫秒，未能及时得到有效答复。";
    CONGESTED_DONE: "{call} waited {queue} ms in the API's queue and {lock} ms for locks, by the API's own signed word; it got no answer in time and was executed all the same.",
        "据接口自身签名的陈述，{call} 在其队列中等待 {queue} 毫秒、等待锁 {lock} 毫秒；未能及时得到答复，但仍被执行。";
    T_DEADLOCK: "The API's execution ran into a deadlock", "接口执行发生死锁";
    DEADLOCK: "By the API's own signed word, {call} ran into a deadlock after waiting {lock} ms for locks.", "据接口自身签名的陈述，{call} 在等待锁 {lock} 毫秒后发生死锁。";
    T_FAILED: "The API failed", "接口故障";
    FAILED: "The API answered {call} with status {status}: a failure of its own (exception: {exception}). That it executed nothing is not shown by that.",
        "接口以状态 {status} 答复 {call}：属其自身故障（异常：{exception}）。但这并不表明其未执行任何操作。";
    FAILED_LATE: "{call} got no answer in time; by its own signed word the API ended it with an exception ({exception}).",
        "{call} 未能及时得到答复；据接口自身签名的陈述，其以异常告终（{exception}）。";
    T_HALF: "The chain of calls stopped and left things half done", "调用链中断，事情只完成一半";
    HALF: "The chain of changes stopped at step {step}, {call}, after {before} had been made. {fate} Nothing later made it good.",
        "变更链在第 {step} 步 {call} 处中断，此前 {before} 已完成。{fate}此后未见补救。";
}
