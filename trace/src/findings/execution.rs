//! What the API executed, compared with what it was asked and what it answered: by its signed receipt and by its own log.

use super::{Finding, Kind, Need, Rule, rule, wording};
use crate::{
    graph::{Call, Case, Fate, Holder, Node, Receipt},
    link::{State, Step},
    message::{Fact, Message, Text, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("executed-other", Step::Answered, &T_OTHER, executed_other),
    rule("answered-otherwise", Step::Answered, &T_OTHERWISE, answered_otherwise),
    rule("executed-twice", Step::Answered, &T_TWICE, executed_twice),
    rule("not-executed", Step::Answered, &T_NOT, not_executed),
    rule("receipt-withheld", Step::Answered, &T_WITHHELD, receipt_withheld),
    rule("receipt-not-good", Step::Answered, &T_NOT_GOOD, receipt_not_good),
    rule("log-undecided", Step::Answered, &T_UNDECIDED, log_undecided),
    rule("outcome-settled", Step::Answered, &T_SETTLED, outcome_settled),
    rule("execution-unproven", Step::Answered, &T_UNPROVEN, execution_unproven),
];

/// A finding on what the API itself signed.
fn signed(rule: &Rule, case: &Case<'_>, call: &Call<'_>, receipt: &Receipt<'_>, text: &'static Text) -> Finding {
    let says = Message::new(text).with("call", wording::call(call)).with("fate", wording::fate(call));
    let state = case.graph.stated(receipt.node, receipt.check.as_ref());
    let finding = Finding::new(rule, Kind::Fault, case.graph.api(&receipt.api), says)
        .rests_on(Step::Judged, State::Observed, call.node)
        .rests_on(Step::Answered, state, receipt.node);
    match &call.outcome {
        Some(ended) => finding.rests_on(Step::Sent, State::Observed, ended.node),
        None => finding,
    }
}

/// A finding on what the API's own log has.
fn logged(rule: &Rule, case: &Case<'_>, call: &Call<'_>, line: &Node<'_>, text: &'static Text) -> Finding {
    let says = Message::new(text).with("call", wording::call(call)).with("fate", wording::fate(call));
    Finding::new(rule, Kind::Fault, case.graph.api(&call.body.upstream), says)
        .rests_on(Step::Judged, State::Observed, call.node)
        .rests_on(Step::Answered, State::Claimed, line)
}

fn executed_other(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        let other = call.good_receipts().filter(|receipt| receipt.differs.contains(&"request"));
        found.extend(other.map(|receipt| signed(rule, case, call, receipt, &OTHER_SIGNED)));
        found.extend(call.reconciled_as("differs").map(|line| logged(rule, case, call, line, &OTHER_LOGGED)));
    }
    found
}

/// The API signed for another answer than it gave.
fn answered_otherwise(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        let answered = call.outcome.as_ref().and_then(|ended| ended.body.status);
        for receipt in call.good_receipts() {
            let status = receipt.differs.contains(&"status")
                || receipt.status.zip(answered).is_some_and(|(signed, got)| signed != u64::from(got));
            let failed = call.fate() == Fate::Done
                && receipt.execution.as_ref().is_some_and(|execution| {
                    execution.exception.is_some() || execution.deadlock == Some(true) && execution.changed == Some(0)
                });
            let text = if status {
                &OTHERWISE_STATUS
            } else if receipt.differs.contains(&"response") {
                &OTHERWISE_BODY
            } else if failed {
                &OTHERWISE_FAILED
            } else {
                continue;
            };
            found.push(signed(rule, case, call, receipt, text));
        }
    }
    found
}

fn executed_twice(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in case.calls.iter().filter(|call| call.changes()) {
        found.extend(call.reconciled_as("twice").map(|line| logged(rule, case, call, line, &TWICE_LOGGED)));
        let executions: Vec<_> = call.executions().filter(|(_, execution)| execution.replay != Some(true)).collect();
        let retried = executions.iter().find(|(_, execution)| {
            execution.retries.unwrap_or_default() > 0 && execution.changed.is_some_and(|changed| changed > 1)
        });
        found.extend(retried.map(|(receipt, _)| signed(rule, case, call, receipt, &TWICE_RETRIED)));
        let first = executions.first().and_then(|(_, execution)| execution.id.as_ref());
        let other = executions.iter().find(|(_, execution)| execution.id.is_some() && execution.id.as_ref() != first);
        if let Some((receipt, _)) = other.filter(|_| first.is_some()) {
            found.push(signed(rule, case, call, receipt, &TWICE_SIGNED));
        }
        found.extend(blind_to_key(rule, case, call));
    }
    found
}

/// Two requests under one idempotency key, both executed.
fn blind_to_key(rule: &Rule, case: &Case<'_>, call: &Call<'_>) -> Option<Finding> {
    let key = case.idempotency_key(call)?;
    let executed = |call: &Call<'_>| {
        call.executions().any(|(_, execution)| {
            execution.replay != Some(true)
                && execution.exception.is_none()
                && execution.changed.is_none_or(|changed| changed > 0)
        })
    };
    let earlier = case.calls.iter().take_while(|other| other.node.hash != call.node.hash);
    let mut earlier = earlier.filter(|other| other.same_as(call) && case.idempotency_key(other) == Some(key));
    let first = earlier.find(|other| executed(other)).filter(|_| executed(call))?;
    let (receipt, _) = call.executions().next()?;
    let mut finding = signed(rule, case, call, receipt, &TWICE_KEY);
    for (receipt, _) in first.executions() {
        finding =
            finding.rests_on(Step::Answered, case.graph.stated(receipt.node, receipt.check.as_ref()), receipt.node);
    }
    Some(finding)
}

/// Answered as done, and not done.
fn not_executed(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in case.calls.iter().filter(|call| call.changes() && call.fate() == Fate::Done) {
        let nothing = call.executions().find(|(_, execution)| {
            execution.changed == Some(0) && execution.replay != Some(true) && execution.exception.is_none()
        });
        found.extend(nothing.map(|(receipt, _)| signed(rule, case, call, receipt, &NOT_SIGNED)));
        found.extend(call.reconciled_as("not_seen").map(|line| logged(rule, case, call, line, &NOT_LOGGED)));
    }
    found
}

/// The API gives receipts, answered this call, and gave none.
fn receipt_withheld(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in
        case.calls.iter().filter(|call| matches!(call.fate(), Fate::Done | Fate::Failed) && call.receipts.is_empty())
    {
        let Some(ended) = call.outcome.as_ref().filter(|ended| ended.node.text("receipt") == Some("missing")) else {
            continue;
        };
        let says = Message::new(&WITHHELD).with("call", wording::call(call));
        let finding = Finding::new(rule, Kind::Fault, case.graph.api(&call.body.upstream), says);
        found.push(
            finding.rests_on(Step::Answered, State::Observed, ended.node).lacks([Need::ApiReceipt, Need::ApiLog]),
        );
    }
    found
}

/// A receipt whose signature is not good.
fn receipt_not_good(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in case.calls.iter().filter(|call| call.good_receipts().next().is_none()) {
        for receipt in &call.receipts {
            let result = receipt.check.as_ref().map_or("", |check| check.result.as_str());
            let (kind, text) = match result {
                "valid" => (Kind::Fault, &NOT_GOOD_PART),
                "unknown_key" => (Kind::Gap, &NOT_GOOD_KEY),
                _ => (Kind::Fault, &NOT_GOOD),
            };
            let says = Message::new(text).with("call", wording::call(call));
            let holder = if kind == Kind::Gap { Holder::unknown() } else { case.graph.api(&receipt.api) };
            let finding =
                Finding::new(rule, kind, holder, says).rests_on(Step::Answered, State::Contradicted, receipt.node);
            found.push(finding.lacks([Need::ApiReceipt, Need::ApiLog]));
        }
    }
    found
}

/// The log cannot decide, or has a time that cannot be.
fn log_undecided(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        for line in &call.reconciled {
            let text = match (line.text("result"), call.fate()) {
                (Some("undetermined"), _) => &UNDETERMINED,
                (Some("time"), _) => &TIME,
                (Some("not_seen"), Fate::Unknown | Fate::Failed | Fate::NotSent) => &NOT_SEEN,
                _ => continue,
            };
            let kind = if line.text("result") == Some("not_seen") { Kind::Note } else { Kind::Gap };
            let says = Message::new(text).with("call", wording::call(call));
            let finding =
                Finding::new(rule, kind, Holder::unknown(), says).rests_on(Step::Answered, State::Claimed, line);
            found.push(if kind == Kind::Gap { finding.lacks([Need::ApiReceipt]) } else { finding });
        }
    }
    found
}

/// Nobody knew whether it was executed, until somebody said so.
fn outcome_settled(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let settled = case.calls.iter().filter_map(|call| Some((call, call.settlement.as_ref()?)));
    let found = settled.map(|(call, (node, said))| {
        let (by, state) = match said.source.as_str() {
            "person" => (&BY_PERSON, case.graph.stated(node, said.check.as_ref())),
            "receipt" => (&BY_RECEIPT, State::Observed),
            _ => (&BY_LOG, State::Claimed),
        };
        let says = Message::new(if said.executed { &SETTLED } else { &SETTLED_NOT })
            .with("call", wording::call(call))
            .with("source", Message::new(by).with("by", said.by.as_str()));
        Finding::new(rule, Kind::Note, Holder::unknown(), says).rests_on(Step::Answered, state, node)
    });
    found.collect()
}

/// Whether the API's log was compared for the time of a call.
fn was_reconciled(case: &Case<'_>, call: &Call<'_>) -> bool {
    let at = call.node.entry().time.instant();
    let time = |node: &Node<'_>, name: &str| node.text(name).and_then(|time| time.parse::<jiff::Timestamp>().ok());
    case.graph.nodes().iter().any(|node| {
        node.kind() == "reconciliation"
            && node.clear("counts").is_some()
            && node.text("upstream") == Some(call.body.upstream.as_str())
            && time(node, "from").is_none_or(|from| from <= at)
            && time(node, "to").is_none_or(|to| at <= to)
    })
}

/// Nothing but the API's own answer, or not even that, says what it executed.
fn execution_unproven(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let reached = |call: &&Call<'_>| call.forwarded() && call.fate() != Fate::NotSent;
    let sent: Vec<&Call<'_>> = case.calls.iter().filter(reached).collect();
    let unsigned: Vec<&Call<'_>> = sent.iter().copied().filter(|call| call.good_receipts().next().is_none()).collect();
    let unlogged = sent.iter().any(|call| !was_reconciled(case, call));
    let open = |call: &&Call<'_>| call.fate() == Fate::Unknown && call.settlement.is_none();
    let unknown: Vec<&Call<'_>> = unsigned.iter().copied().filter(open).collect();
    let (text, about, lacks) = match (unknown.is_empty(), unsigned.is_empty(), unlogged) {
        (false, ..) => (&UNKNOWN, &unknown, vec![Need::ApiReceipt, Need::ApiLog]),
        (true, false, true) => (&UNPROVEN, &unsigned, vec![Need::ApiReceipt, Need::ApiLog]),
        (true, false, false) => (&UNSIGNED, &unsigned, vec![Need::ApiReceipt]),
        (true, true, true) if !sent.is_empty() => (&AROUND, &sent, vec![Need::ApiLog]),
        _ => return Vec::new(),
    };
    let calls: Vec<Fact> = about.iter().map(|call| wording::call(call).into()).collect();
    let mut finding = Finding::new(rule, Kind::Gap, Holder::unknown(), Message::new(text).with("calls", calls));
    for call in about {
        let node = call.outcome.as_ref().map_or(call.node, |ended| ended.node);
        finding = finding.rests_on(Step::Answered, State::Missing, node);
    }
    vec![finding.lacks(lacks)]
}

texts! {
    T_OTHER: "The API executed something else than it was asked", "接口执行的内容与请求不同";
    OTHER_SIGNED: "The API signed that it received and executed another request than {call} as the gateway sent it.", "接口签名确认其收到并执行的请求，与网关所发送的 {call} 不同。";
    OTHER_LOGGED: "The API's own log has something else for {call} than the gateway sent and was answered.", "接口自身日志中关于 {call} 的记录，与网关所发送及所获答复不同。";
    T_OTHERWISE: "The API answered something else than it signed for", "接口的答复与其签名内容不同";
    OTHERWISE_STATUS: "The API's answer to {call} had another status than the one it signed for.", "接口对 {call} 答复的状态，与其签名所载状态不同。";
    OTHERWISE_BODY: "The API's answer to {call} had another content than the one it signed for.", "接口对 {call} 答复的内容，与其签名所载内容不同。";
    OTHERWISE_FAILED: "The API answered that {call} was done, and signed that it ended in an exception.", "接口答复 {call} 已完成，却签名确认其以异常告终。";
    T_TWICE: "The API executed one call twice", "接口将一次调用执行了两次";
    TWICE_LOGGED: "The API's own log has {call} twice; the gateway sent it once.", "接口自身日志中 {call} 出现两次；网关仅发送一次。";
    TWICE_RETRIED: "The API signed that it tried {call} again by itself and changed more than one thing for it.", "接口签名确认其自行重试了 {call}，并因此作出不止一项变更。";
    TWICE_SIGNED: "The API signed for two executions of {call}, which the gateway sent once.", "接口就 {call} 签名确认了两次执行，而网关仅发送一次。";
    TWICE_KEY: "{call} repeats an earlier call under the same idempotency key, and the API signed for an execution of each.", "{call} 以相同的幂等键重复了先前的调用，而接口对两者的执行均作了签名确认。";
    T_NOT: "The API answered that it did it, and did not", "接口答复已完成，实际并未执行";
    NOT_SIGNED: "The API answered that {call} was done, and signed that it changed nothing.", "接口答复 {call} 已完成，却签名确认未作任何变更。";
    NOT_LOGGED: "The API answered that {call} was done, and its own log has nothing of it.", "接口答复 {call} 已完成，但其自身日志中并无记录。";
    T_WITHHELD: "The API gives receipts and gave none", "接口应出具回执而未出具";
    WITHHELD: "The API gives receipts, answered {call}, and gave no receipt for it.", "该接口会出具回执，也答复了 {call}，却未就其出具回执。";
    T_NOT_GOOD: "A receipt is not good", "回执无效";
    NOT_GOOD: "The signature of the receipt for {call} does not fit the API's registered key.", "{call} 的回执签名与接口登记的密钥不符。";
    NOT_GOOD_PART: "The receipt for {call} does not cover what a receipt must cover.", "{call} 的回执未涵盖其应涵盖的内容。";
    NOT_GOOD_KEY: "The receipt for {call} is signed with a key that nobody registered: it proves nothing.", "{call} 的回执以无人登记的密钥签名：不具证明力。";
    T_UNDECIDED: "The API's log does not decide", "接口日志无法判定";
    UNDETERMINED: "The API's own log does not say which of its lines is {call}.", "接口自身日志无法说明哪一行对应 {call}。";
    TIME: "The API's own log has {call} at a time that cannot be.", "接口自身日志中 {call} 的时间不可能成立。";
    NOT_SEEN: "The API's own log has nothing of {call}, for which there was no good answer either: it was not executed, as far as the log is complete.",
        "接口自身日志中没有 {call}，而该调用亦无有效答复：若日志完整，则其未被执行。";
    T_SETTLED: "How a call ended was found out later", "调用结果系事后查明";
    SETTLED: "There was no answer to {call}; it was settled later, {source}, that the API executed it.", "{call} 当时未获答复；事后{source}查明接口已执行该调用。";
    SETTLED_NOT: "There was no answer to {call}; it was settled later, {source}, that the API did not execute it.", "{call} 当时未获答复；事后{source}查明接口并未执行该调用。";
    BY_PERSON: "on the signed word of {by}", "依 {by} 的签名陈述";
    BY_RECEIPT: "by the receipt of {by}", "依 {by} 的回执";
    BY_LOG: "by the API's own log as {by} compared it", "依 {by} 所比对的接口自身日志";
    T_UNPROVEN: "What the API executed is not proven", "接口执行了什么未获证明";
    UNKNOWN: "Whether the API executed {calls} is not known: there was no answer, and neither a receipt nor its own log is there.", "接口是否执行了 {calls} 无从得知：没有答复，亦无回执或其自身日志。";
    UNPROVEN: "That the API executed {calls} as it answered is not proven: neither a receipt nor its own log is there.", "接口是否如其答复执行了 {calls} 未获证明：既无回执，也无其自身日志。";
    UNSIGNED: "The API signed nothing for {calls}; its own log was compared.", "接口未就 {calls} 作任何签名；其自身日志已作比对。";
    AROUND: "Whether the API was also called around the gateway, beside {calls}, is not known without its own log.", "除 {calls} 外，接口是否还被绕过网关调用，没有其自身日志便无从得知。";
}
