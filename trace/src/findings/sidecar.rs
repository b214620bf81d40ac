//! The way through the sidecar: its own faults, crashes, an agent that hung up, and calls that went around it.

use super::{Finding, Kind, Looks, Need, Rule, rule, wording};
use crate::{
    graph::{Case, Graph, Holder},
    link::{State, Step},
    message::{Message, Text, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("sidecar-fault", Step::Sent, &T_FAULT, sidecar_fault),
    rule("agent-hung-up", Step::Sent, &T_HUNG_UP, hung_up),
    rule("outcome-missing", Step::Sent, &T_OPEN, outcome_missing),
    rule("call-cut", Step::Sent, &T_CUT, cut),
    Rule { id: "called-around", version: 1, link: Step::Sent, title: &T_AROUND, looks: Looks::Graph(called_around) },
];

fn ended(
    rule: &Rule,
    case: &Case<'_>,
    kind: Kind,
    text: impl Fn(&str) -> Option<&'static Text>,
    platform: bool,
) -> Vec<Finding> {
    let all = case.calls.iter().chain(&case.exchanges);
    let found = all.filter_map(|call| {
        let ended = call.outcome.as_ref()?;
        let says = Message::new(text(&ended.body.result)?)
            .with("call", wording::call(call))
            .with("detail", ended.body.detail.as_deref().unwrap_or("-"));
        let holder = if platform { case.platform() } else { case.graph.agent(call.agent()) };
        let finding = Finding::new(rule, kind, holder, says)
            .rests_on(Step::Judged, State::Observed, call.node)
            .rests_on(Step::Sent, State::Observed, ended.node);
        Some(if platform { finding } else { finding.about_agent(&call.body.credential) })
    });
    found.collect()
}

fn sidecar_fault(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let text = |result: &str| -> Option<&'static Text> {
        match result {
            "gateway_fault" => Some(&FAULT),
            "shutdown" => Some(&SHUTDOWN),
            "unknown" => Some(&CRASH),
            _ => None,
        }
    };
    ended(rule, case, Kind::Fault, text, true)
}

fn hung_up(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    ended(rule, case, Kind::Fault, |result| (result == "client_aborted").then_some(&HUNG_UP), false)
}

/// What the gateway cut on purpose, to protect somebody.
fn cut(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let text = |result: &str| -> Option<&'static Text> {
        match result {
            "revoked" => Some(&REVOKED),
            "response_cut" => Some(&RESPONSE_CUT),
            _ => None,
        }
    };
    ended(rule, case, Kind::Note, text, true)
}

fn outcome_missing(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let open = case.calls.iter().chain(&case.exchanges).filter(|call| call.forwarded() && call.outcome.is_none());
    let found = open.map(|call| {
        let says = Message::new(&OPEN).with("call", wording::call(call));
        let finding =
            Finding::new(rule, Kind::Gap, Holder::unknown(), says).rests_on(Step::Sent, State::Missing, call.node);
        finding.lacks([Need::Outcome])
    });
    found.collect()
}

/// A line of the API's log under the sidecar's credential that is no call of the ledger.
fn called_around(rule: &Rule, graph: &Graph<'_>) -> Vec<Finding> {
    let lines = graph.nodes().iter().filter(|node| {
        node.kind() == "reconciliation" && node.text("call").is_none() && node.text("result") == Some("bypass")
    });
    let found = lines.map(|node| {
        let says =
            Message::new(&AROUND).with("upstream", node.text("upstream").unwrap_or("?")).with("entry", node.seq());
        Finding::new(rule, Kind::Fault, graph.platform(node.origin()), says)
            .rests_on(Step::Sent, State::Claimed, node)
            .lacks([Need::CredentialTrail])
    });
    found.collect()
}

texts! {
    T_FAULT: "The sidecar failed or stopped during a call", "网关在调用过程中发生故障或停止";
    FAULT: "A step of the sidecar failed during {call}: {detail}.", "网关在处理 {call} 时某一步骤发生故障：{detail}。";
    SHUTDOWN: "The sidecar was shut down before {call} had ended: {detail}.", "{call} 尚未结束时网关即被关闭：{detail}。";
    CRASH: "The sidecar stopped while {call} was under way, so nobody recorded how it ended; it was closed as unknown when the sidecar started again.",
        "{call} 进行中时网关停止运行，无人记录其如何结束；网关重新启动时将其记为结果不明。";
    T_HUNG_UP: "The agent hung up during a call", "智能体在调用过程中断开连接";
    HUNG_UP: "The agent went away before {call} had ended: {detail}.", "{call} 尚未结束时智能体即断开：{detail}。";
    T_OPEN: "How a call ended is not in the evidence", "证据中没有调用如何结束的记录";
    OPEN: "{call} was sent, and no entry says how it ended.", "{call} 已发送，但没有条目记录其如何结束。";
    T_CUT: "The gateway cut a call on purpose", "网关有意中断了调用";
    REVOKED: "{call} was cut because what allowed it was withdrawn: {detail}.", "{call} 因其授权被撤回而被中断：{detail}。";
    RESPONSE_CUT: "The answer to {call} was cut before the agent had it: {detail}.", "{call} 的答复在到达智能体之前被截断：{detail}。";
    T_AROUND: "The API was called around the sidecar", "接口被绕过网关调用";
    AROUND: "The log of {upstream} has a call under the credential that the sidecar keeps which did not go through the sidecar (entry {entry}). The credential was in the hands of whoever runs the sidecar; who used it is not shown.",
        "{upstream} 的日志中有一次使用网关所保管凭证的调用，但并未经过网关（条目 {entry}）。该凭证由网关运营者保管；究竟由谁使用并无证据显示。";
}
