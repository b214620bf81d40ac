//! What the user said, and whether they said it.

use countersign_authorize::provenance::Source;
use countersign_ledger::{Kind as Entries, statement::Statement};

use super::{Finding, Kind, Need, Rule, rule, wording};
use crate::{
    graph::{Call, Case, Holder},
    link::{State, Step},
    message::{Fact, Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("instruction-missing", Step::Said, &T_INSTRUCTION_MISSING, instruction_missing),
    rule("words-contradicted", Step::Said, &T_WORDS_CONTRADICTED, words_contradicted),
    rule("consent-unproven", Step::Said, &T_CONSENT_UNPROVEN, consent_unproven),
    rule("act-as-instructed", Step::Said, &T_ACT_AS_INSTRUCTED, act_as_instructed),
];

/// Calls that changed something, or may have.
pub(super) fn acts<'c, 'g>(case: &'c Case<'g>) -> impl Iterator<Item = &'c Call<'g>> {
    case.calls.iter().filter(|call| call.changes() && call.forwarded())
}

fn instruction_missing(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some(call) = case.calls.first().filter(|_| case.of(Entries::Instruction).next().is_none()) else {
        return Vec::new();
    };
    let says = Message::new(&INSTRUCTION_MISSING).with("instruction", case.instruction);
    let finding =
        Finding::new(rule, Kind::Gap, Holder::unknown(), says).rests_on(Step::Judged, State::Observed, call.node);
    vec![finding.lacks([Need::InstructionEntry])]
}

/// The user signed other words than the ledger shows as theirs.
fn words_contradicted(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some((node, said)) = case.said() else { return Vec::new() };
    let statement = node.value("statement").and_then(|text| Statement::parse(text.as_str()?).ok());
    let signed = statement.as_ref().and_then(|statement| statement.payload_unverified().get("words")?.as_str());
    let other = signed.zip(node.value("words").and_then(|words| words.as_str())).filter(|(one, other)| one != other);
    let invalid = said.check.as_ref().is_some_and(|check| check.result == "invalid");
    if other.is_none() && !invalid {
        return Vec::new();
    }
    let says = match other {
        Some((signed, shown)) => Message::new(&WORDS_DIFFER)
            .with("signed", Fact::Quoted(signed.to_owned()))
            .with("shown", Fact::Quoted(shown.to_owned())),
        None => Message::new(&WORDS_BAD_SIGNATURE),
    };
    vec![Finding::new(rule, Kind::Fault, case.platform(), says).rests_on(Step::Said, State::Contradicted, node)]
}

/// Only the host says that the user said it.
fn consent_unproven(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some((node, said)) = case.said() else { return Vec::new() };
    let Some(act) = acts(case).find(|call| call.disputed()).or_else(|| acts(case).next()) else { return Vec::new() };
    if said.attested_by != "host" || said.check.is_some() {
        return Vec::new();
    }
    // It is open only when somebody says that they did not want it.
    let kind = if act.disputed() { Kind::Gap } else { Kind::Note };
    let says = Message::new(&CONSENT_UNPROVEN).with("host", said.host.as_str()).with("call", wording::call(act));
    let finding = Finding::new(rule, kind, Holder::unknown(), says)
        .rests_on(Step::Said, State::Claimed, node)
        .rests_on(Step::Judged, State::Observed, act.node);
    vec![finding.lacks([Need::UserSignature])]
}

/// What is disputed is what the user's own words named.
fn act_as_instructed(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let Some((node, said)) = case.said() else { return Vec::new() };
    let state = case.graph.stated(node, said.check.as_ref());
    let by_the_user = said.check.as_ref().is_some_and(|check| check.result == "valid");
    let as_said = |call: &&Call<'_>| {
        let given = call.provenance();
        call.disputed()
            && !call.approved()
            && !given.is_empty()
            && given.iter().all(|given| given.sources.contains(&Source::Words))
    };
    let found = acts(case).filter(as_said).filter(|_| by_the_user).map(|call| {
        let says = Message::new(&ACT_AS_INSTRUCTED).with("call", wording::call(call));
        Finding::new(rule, Kind::Fault, case.user(), says).rests_on(Step::Said, state, node).rests_on(
            Step::Judged,
            State::Observed,
            call.node,
        )
    });
    found.collect()
}

texts! {
    T_INSTRUCTION_MISSING: "Calls without their instruction", "调用缺少对应的指令";
    INSTRUCTION_MISSING: "Calls were made under the instruction {instruction}, and the evidence does not hold the instruction itself.",
        "存在依据指令 {instruction} 发出的调用，但证据中没有该指令本身。";
    T_WORDS_CONTRADICTED: "The user signed other words than the ledger shows", "用户签名的内容与账本所示不同";
    WORDS_DIFFER: "The user signed the words {signed}, and the ledger shows {shown} as the user's words.",
        "用户签名的内容为 {signed}，而账本所示的用户指令为 {shown}。";
    WORDS_BAD_SIGNATURE: "The signature that stands as the user's does not fit the words.", "作为用户签名的签名与指令内容不符。";
    T_CONSENT_UNPROVEN: "Only the application says that the user said it", "仅由应用声称用户作出指令";
    CONSENT_UNPROVEN: "That the user gave the instruction behind {call} rests on the word of the application {host} alone: the user signed nothing.",
        "用户曾就 {call} 作出指令，仅凭应用 {host} 的陈述：用户未作任何签名。";
    T_ACT_AS_INSTRUCTED: "What is disputed is what the user signed for", "争议行为正是用户签名指示的内容";
    ACT_AS_INSTRUCTED: "Every value that makes {call} what it is stands in words that the user signed. The act is what the user instructed.",
        "构成 {call} 的每一个数值均出自用户签名的指令。该行为即用户所指示的行为。";
}
