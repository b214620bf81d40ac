//! What the agent's code made of the prompt: the user's words and the tools' results, as the model was given them.

use super::{Finding, Kind, Rule, rule};
use crate::{
    graph::{Call, Case},
    link::{State, Step},
    message::{Message, texts},
};

pub(super) const RULES: &[Rule] = &[
    rule("prompt-altered", Step::Chose, &T_WORDS, words),
    rule("tool-result-altered", Step::Chose, &T_RESULTS, results),
];

/// Whether a change came of an exchange, and whether one was let through.
fn led_to(case: &Case<'_>, exchange: &Call<'_>) -> (bool, bool) {
    let of = |call: &&Call<'_>| {
        call.changes()
            && case
                .proposal_of(call)
                .and_then(|proposal| case.exchange_of(proposal))
                .is_some_and(|of| of.node.hash == exchange.node.hash)
    };
    let (mut any, mut through) = (false, false);
    for call in case.calls.iter().filter(of) {
        any = true;
        through |= call.forwarded();
    }
    (any, through)
}

fn finding(rule: &Rule, case: &Case<'_>, exchange: &Call<'_>, kind: Kind, says: Message) -> Finding {
    let says = says.with("entry", exchange.node.seq()).with("agent", exchange.agent());
    let mut finding = Finding::new(rule, kind, case.graph.agent(exchange.agent()), says)
        .rests_on(Step::Chose, State::Observed, exchange.node)
        .about_agent(&exchange.body.credential);
    if let Some((said, _)) = case.said() {
        finding = finding.rests_on(Step::Said, State::Observed, said);
    }
    finding
}

fn words(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for exchange in &case.exchanges {
        let words = exchange.node.clear("prompt").and_then(|prompt| prompt.get("words")?.as_str());
        let (any, through) = led_to(case, exchange);
        let (kind, text) = match words {
            Some("altered") if any && !through => (Kind::Attempt, &WORDS_ALTERED),
            Some("altered") => (Kind::Fault, &WORDS_ALTERED),
            Some("absent") if through => (Kind::Fault, &WORDS_ABSENT),
            Some("absent") if any => (Kind::Attempt, &WORDS_ABSENT),
            // An exchange about something else, from which no change came.
            Some("absent") => (Kind::Note, &WORDS_ABSENT),
            _ => continue,
        };
        found.push(finding(rule, case, exchange, kind, Message::new(text)));
    }
    found
}

fn results(rule: &Rule, case: &Case<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for exchange in &case.exchanges {
        let altered = exchange.node.clear("prompt").and_then(|prompt| prompt.pointer("/results/altered")?.as_u64());
        let Some(altered) = altered.filter(|altered| *altered > 0) else { continue };
        let says = Message::new(&RESULTS_ALTERED).with("count", altered);
        found.push(finding(rule, case, exchange, Kind::Fault, says));
    }
    found
}

texts! {
    T_WORDS: "The agent changed or left out the user's words in the prompt", "智能体在提示中改动或略去了用户指令";
    WORDS_ALTERED: "The prompt that {agent} gave the model (entry {entry}) has other words than the user's.",
        "{agent} 给模型的提示（条目 {entry}）中的内容与用户指令不同。";
    WORDS_ABSENT: "The prompt that {agent} gave the model (entry {entry}) does not have the user's words.",
        "{agent} 给模型的提示（条目 {entry}）中没有用户的指令。";
    T_RESULTS: "The agent changed what a tool had returned", "智能体改动了工具返回的结果";
    RESULTS_ALTERED: "Of the tools' results in the prompt that {agent} gave the model (entry {entry}), so many are not what the API had answered through the gateway: {count}.",
        "{agent} 给模型的提示（条目 {entry}）中，有 {count} 项工具结果与接口经网关给出的答复不一致。";
}
