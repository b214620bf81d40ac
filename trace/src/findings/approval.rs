//! The human's yes or no: by whom, on what was shown, how fast.

use countersign_ledger::record::body;
use serde_json::Value;

use super::{Finding, Kind, Need, Rule, rule, wording};
use crate::{
    graph::{Call, Case, Holder, Node, same},
    link::{State, Step},
    message::{Fact, Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("approval-hasty", Step::Approved, &T_HASTY, hasty),
    // From version 2 on a value may be hidden only where the catalogue says so.
    Rule { version: 2, ..rule("approval-shown-other", Step::Approved, &T_SHOWN_OTHER, shown_other) },
    rule("approval-without-ground", Step::Judged, &T_GROUNDLESS, without_ground),
    rule("approval-given", Step::Approved, &T_GIVEN, given),
];

/// A yes faster than this is one without reading, in milliseconds: nobody reads an action, its values and their sources in that time.
const HASTY_MS: u64 = 500;

/// The held call, an answer to it, and what the answer says.
struct Answered<'c, 'g> {
    held: &'c Call<'g>,
    node: &'g Node<'g>,
    body: body::Approval,
}

fn answers<'c, 'g>(case: &'c Case<'g>) -> impl Iterator<Item = Answered<'c, 'g>> {
    case.calls
        .iter()
        .flat_map(|held| held.answers.iter().filter_map(move |node| Some(Answered { held, node, body: node.body()? })))
}

fn took(approval: &body::Approval) -> String {
    approval.took_ms.map_or_else(|| "?".to_owned(), |ms| format!("{}.{:03}", ms / 1000, ms % 1000))
}

/// Whether the yes that a call rests on came too fast to have been read for.
pub(super) fn is_hasty(case: &Case<'_>, call: &Call<'_>) -> bool {
    let approval = call.body.approval.as_ref().and_then(|hash| case.graph.find(hash));
    let took = approval.and_then(|node| node.body::<body::Approval>()).and_then(|approval| approval.took_ms);
    took.is_some_and(|ms| ms < HASTY_MS)
}

/// Of an n-of-m approval every answer counts by itself.
fn hasty(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let fast = answers(case)
        .filter(|answer| answer.body.decision == "approved" && answer.body.took_ms.is_some_and(|ms| ms < HASTY_MS));
    let found = fast.map(|answer| {
        let says = Message::new(&HASTY)
            .with("approver", answer.body.approver.as_str())
            .with("call", wording::call(answer.held))
            .with("took", took(&answer.body));
        let state = case.graph.stated(answer.node, answer.body.check.as_ref());
        Finding::new(rule, Kind::Fault, case.graph.user(&answer.body.approver), says)
            .rests_on(Step::Judged, State::Observed, answer.held.node)
            .rests_on(Step::Approved, state, answer.node)
    });
    found.collect()
}

/// What was shown, beside what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shown {
    Same,
    /// Something was hidden, and the catalogue that says whether it had to be is not there.
    Unknown,
    Other,
}

/// What was shown is not what was asked for.
fn shown_other(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for answer in answers(case) {
        let shown = answer.node.value("shown").and_then(|shown| shown.get("arguments")).zip(answer.held.arguments());
        let digest = answer.node.value("digest").zip(answer.held.node.value("digest"));
        let shown = match digest {
            Some((one, other)) if one != other => Shown::Other,
            _ => shown.map_or(Shown::Same, |(shown, asked)| compare(case, answer.held, shown, asked)),
        };
        let (kind, holder, text, state, lacks) = match shown {
            Shown::Same => continue,
            Shown::Other => (Kind::Fault, case.platform(), &SHOWN_OTHER, State::Contradicted, None),
            Shown::Unknown => (Kind::Gap, Holder::unknown(), &SHOWN_UNKNOWN, State::Observed, Some(Need::PolicyBytes)),
        };
        let says =
            Message::new(text).with("approver", answer.body.approver.as_str()).with("call", wording::call(answer.held));
        let finding = Finding::new(rule, kind, holder, says)
            .rests_on(Step::Judged, State::Observed, answer.held.node)
            .rests_on(Step::Approved, state, answer.node);
        found.push(finding.lacks(lacks));
    }
    found
}

/// Whether the arguments that were shown are those that were asked for. What the catalogue by which the call was judged calls sensitive is hidden, and
/// nothing else.
fn compare(case: &Case<'_>, held: &Call<'_>, shown: &Value, asked: &Value) -> Shown {
    let (Some(shown), Some(asked)) = (shown.as_object(), asked.as_object()) else {
        return if same(shown, asked) { Shown::Same } else { Shown::Other };
    };
    if shown.len() != asked.len() {
        return Shown::Other;
    }
    let catalogue = case.catalogue(held);
    let is_sensitive = |name: &str| {
        let argument = catalogue.map(|catalogue| catalogue.action(held.action())?.arguments.get(name));
        argument.map(|argument| argument.is_some_and(|argument| argument.sensitive))
    };
    let is_hidden = |value: &Value| value.get("hidden").and_then(Value::as_str) == Some("sensitive");
    let each = asked.iter().map(|(name, asked)| match shown.get(name) {
        None => Shown::Other,
        Some(shown) if same(shown, asked) => Shown::Same,
        Some(shown) if !is_hidden(shown) => Shown::Other,
        Some(_) => match is_sensitive(name) {
            Some(true) => Shown::Same,
            Some(false) => Shown::Other,
            None => Shown::Unknown,
        },
    });
    each.max().unwrap_or(Shown::Same)
}

/// A call that names an approval which does not bear it out.
fn without_ground(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for call in &case.calls {
        let Some(hash) = &call.body.approval else { continue };
        let node = case.graph.find(hash);
        let approval = node.and_then(|node| Some((node, node.body::<body::Approval>()?)));
        let Some((node, approval)) = approval else {
            let says = Message::new(&APPROVAL_MISSING).with("call", wording::call(call));
            let finding = Finding::new(rule, Kind::Gap, Holder::unknown(), says);
            found.push(finding.rests_on(Step::Judged, State::Missing, call.node).lacks([Need::Entries]));
            continue;
        };
        let held = case.graph.find(&approval.call);
        let digests = node.value("digest").zip(call.node.value("digest"));
        let why = if approval.decision != "approved" {
            &GROUND_NO
        } else if approval.check.as_ref().is_some_and(|check| check.result == "invalid") {
            &GROUND_SIGNATURE
        } else if approval.approver == call.agent() {
            &GROUND_AGENT
        } else if held.is_some_and(|held| held.text("action") != call.body.action.as_deref())
            || digests.is_some_and(|(one, other)| one != other)
        {
            &GROUND_OTHER
        } else {
            continue;
        };
        let says = Message::new(&GROUNDLESS)
            .with("call", wording::call(call))
            .with("approver", approval.approver.as_str())
            .with("why", why);
        let finding = Finding::new(rule, Kind::Fault, case.platform(), says)
            .rests_on(Step::Approved, State::Contradicted, node)
            .rests_on(Step::Judged, State::Observed, call.node);
        found.push(finding);
    }
    found
}

/// Who said yes or no, to what, how fast: a fault of theirs only where somebody claims harm from what they approved.
fn given(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for answer in answers(case) {
        let served = case.calls.iter().find(|call| call.body.approval == Some(answer.node.hash));
        let disputed = answer.body.decision == "approved" && served.is_some_and(Call::disputed);
        let shown = match answer.node.value("shown") {
            Some(Value::Object(shown)) => {
                let names = ["words", "action", "arguments", "provenance", "reasons"];
                Fact::List(
                    names.iter().filter(|name| shown.contains_key(**name)).map(|name| Fact::from(*name)).collect(),
                )
            }
            _ => Fact::Word(&NOT_DISCLOSED),
        };
        let says = Message::new(if answer.body.decision == "approved" { &GAVE_YES } else { &GAVE_NO })
            .with("approver", answer.body.approver.as_str())
            .with("call", wording::call(answer.held))
            .with("took", took(&answer.body))
            .with("shown", shown);
        let kind = if disputed { Kind::Fault } else { Kind::Note };
        let state = case.graph.stated(answer.node, answer.body.check.as_ref());
        let finding = Finding::new(rule, kind, case.graph.user(&answer.body.approver), says)
            .rests_on(Step::Judged, State::Observed, answer.held.node)
            .rests_on(Step::Approved, state, answer.node);
        found.push(finding);
    }
    found
}

texts! {
    NOT_DISCLOSED: "not disclosed here", "此处未披露";
    T_HASTY: "A yes without reading", "未经阅读即予批准";
    HASTY: "{approver} said yes to {call} {took} s after it was shown: too fast to have read it.",
        "{approver} 在 {call} 显示后 {took} 秒即予批准：时间不足以阅读其内容。";
    T_SHOWN_OTHER: "The approver was shown something else", "审批人所见与实际不同";
    SHOWN_OTHER: "What {approver} was shown, or signed, is not what {call} asked for.", "{approver} 所见或所签的内容与 {call} 所请求的不同。";
    SHOWN_UNKNOWN: "A value of {call} was hidden from {approver}. Whether the catalogue that the call was judged by calls it sensitive cannot be seen from this evidence.",
        "{call} 的一项数值未向 {approver} 显示。裁决该调用所依据的目录是否将其标为敏感，依现有证据无从得知。";
    T_GROUNDLESS: "A call rests on an approval that does not bear it out", "调用所依据的批准不成立";
    GROUNDLESS: "The gateway let {call} through on the word of {approver}: {why}", "网关凭 {approver} 的批准放行了 {call}：{why}";
    GROUND_NO: "the answer was no.", "其答复为拒绝。";
    GROUND_SIGNATURE: "the signature of the answer does not fit.", "答复的签名不符。";
    GROUND_AGENT: "the approver is the agent itself.", "审批人即智能体本身。";
    GROUND_OTHER: "the answer was about another call.", "答复针对的是另一调用。";
    APPROVAL_MISSING: "The approval that {call} rests on is not in the evidence.", "证据中没有 {call} 所依据的批准。";
    T_GIVEN: "Who answered for a held call, on what, how fast", "何人就暂停的调用作出答复、依据何内容、用时多久";
    GAVE_YES: "{approver} said yes to {call}, {took} s after it was shown. Shown was: {shown}.", "{approver} 批准了 {call}，距显示 {took} 秒。所示内容：{shown}。";
    GAVE_NO: "{approver} said no to {call}, {took} s after it was shown. Shown was: {shown}.", "{approver} 拒绝了 {call}，距显示 {took} 秒。所示内容：{shown}。";
}
