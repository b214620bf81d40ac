//! Who chose a call: the model, the agent's own code, or nobody can tell. All rules about choices ask here, so that they agree.
//!
//! The model is named only when the gateway saw it propose this very call in answer to a prompt that held the user's words unaltered and passed every
//! tool result on as the API gave it.

use super::{Finding, Kind, Need, Rule, wording};
use crate::{
    graph::{Call, Case, Fate, Holder, Node, same},
    link::{Role, State, Step},
    message::{Message, Text, texts},
};

/// Who chose.
#[derive(Debug)]
pub struct Chooser<'g> {
    /// Who.
    pub holder: Holder,
    /// What it rests on.
    pub rests: Vec<(State, &'g Node<'g>)>,
    /// What is missing to tell.
    pub missing: Vec<Need>,
    /// It in words.
    pub says: &'static Text,
}

impl Chooser<'_> {
    /// A finding about a choice: against whoever chose, or a gap where nobody can tell.
    pub fn finding(self, rule: &Rule, kind: Kind, established: Message, call: &Call<'_>) -> Finding {
        let open = self.holder.role == Role::NotDeterminable && kind != Kind::Note;
        let established = established
            .with("call", wording::call(call))
            .with("fate", wording::fate(call))
            .with("chooser", Message::new(self.says).with("party", self.holder.party.as_str()));
        let mut finding = Finding::new(rule, if open { Kind::Gap } else { kind }, self.holder, established)
            .rests_on(Step::Judged, State::Observed, call.node)
            .about_agent(&call.body.credential);
        for (state, node) in self.rests {
            finding = finding.rests_on(Step::Chose, state, node);
        }
        finding.lacks(self.missing)
    }
}

/// How faithful the prompt of an exchange was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Faith {
    /// The user's words and every result as they were.
    Faithful,
    /// The words were altered or left out, or a result was altered.
    Unfaithful,
    /// Some results were given to the model by another way, or nothing was compared.
    Unknown,
}

/// Compares what the gateway recorded of the prompt.
pub fn faith(exchange: &Call<'_>) -> Faith {
    let Some(prompt) = exchange.node.clear("prompt") else { return Faith::Unknown };
    let results = |name: &str| prompt.pointer(&format!("/results/{name}")).and_then(serde_json::Value::as_u64);
    match prompt.get("words").and_then(serde_json::Value::as_str) {
        Some("altered" | "absent") => Faith::Unfaithful,
        _ if results("altered").is_some_and(|count| count > 0) => Faith::Unfaithful,
        Some("present") if results("unknown").unwrap_or_default() == 0 => Faith::Faithful,
        _ => Faith::Unknown,
    }
}

impl<'g> Case<'g> {
    /// The proposal that stands behind a call: the one it names, or else the next one with the same action and arguments that no call has used up. One
    /// proposal is good for one call, and for asking it again where a human must say yes first.
    pub fn proposal_of(&self, call: &Call<'g>) -> Option<&'g Node<'g>> {
        let first = self.first_of(call);
        let earlier = self.calls.iter().take_while(|other| other.node.hash != first.node.hash);
        if let Some(named) = call.proposed.first().or_else(|| first.proposed.first())
            // The gateway links a call as long as none of the proposal went out: asked again after a no, it is used up all the same.
            && !earlier.clone().any(|other| other.proposed.iter().any(|used| used.hash == named.hash))
        {
            return Some(named);
        }
        let used = earlier.filter(|other| other.same_as(first) && self.first_of(other).node.hash == other.node.hash);
        self.alike(first).nth(used.count())
    }

    /// The proposals before a call with its action and arguments.
    fn alike(&self, call: &Call<'g>) -> impl Iterator<Item = &'g Node<'g>> {
        let at = (call.node.entry().time, call.node.seq());
        self.proposals().filter(move |node| {
            (node.entry().time, node.seq()) < at
                && node.text("action") == call.body.action.as_deref()
                && node.value("arguments").zip(call.arguments()).is_some_and(|(one, other)| same(one, other))
        })
    }

    /// The call that a call continues: the held one that it asks again, or one whose fate was unknown and which it repeats under the same
    /// idempotency key. Itself, when it stands alone.
    pub fn first_of<'c>(&'c self, call: &'c Call<'g>) -> &'c Call<'g> {
        let mut first = call;
        for earlier in self.calls.iter().rev().skip_while(|other| other.node.hash != call.node.hash).skip(1) {
            if !earlier.same_as(first) {
                continue;
            }
            let asks_again = (first.approved() || first.body.repeats.is_some()) && earlier.fate() == Fate::Held;
            let resumes = earlier.fate() == Fate::Unknown
                && self.idempotency_key(first).is_some_and(|key| self.idempotency_key(earlier) == Some(key));
            if asks_again || resumes || earlier.fate() == Fate::NotSent {
                first = earlier;
            }
        }
        first
    }

    /// The idempotency key that a call carries: in the header of that name, or in an argument that its catalogue declares.
    pub fn idempotency_key(&self, call: &Call<'g>) -> Option<&'g serde_json::Value> {
        if let Some(key) = call.node.value("request").and_then(|request| request.get("idempotency_key")) {
            return Some(key);
        }
        let arguments = call.arguments()?.as_object()?;
        let named = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "").contains("idempotency");
        arguments.iter().find(|(name, _)| named(name)).map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// Who chose a call.
    pub fn chooser(&self, call: &Call<'g>) -> Chooser<'g> {
        let unknown =
            |need| Chooser { holder: Holder::unknown(), rests: Vec::new(), missing: vec![need], says: &UNKNOWN };
        if let Some(proposal) = self.proposal_of(call) {
            let exchange = self.exchange_of(proposal);
            let mut rests = vec![(State::Observed, proposal)];
            rests.extend(exchange.map(|exchange| (State::Observed, exchange.node)));
            let agent = self.graph.agent(call.agent());
            return match exchange.map_or(Faith::Unknown, faith) {
                Faith::Faithful => {
                    let model = self.graph.model(proposal.text("model").unwrap_or("?"));
                    Chooser { holder: model, rests, missing: Vec::new(), says: &MODEL }
                }
                Faith::Unfaithful => Chooser { holder: agent, rests, missing: Vec::new(), says: &MISLED },
                Faith::Unknown => Chooser { rests, says: &MODEL_PERHAPS_MISLED, ..unknown(Need::ToolResults) },
            };
        }
        let before: Vec<&Call<'g>> = self.exchanges_before(call.node).collect();
        let unread = |node: &Node<'g>| node.value("arguments").is_none();
        match before.last() {
            None => unknown(Need::ModelExchange),
            // A proposal that nobody may read could be this one.
            Some(_) if call.arguments().is_none() || self.proposals().any(unread) => unknown(Need::Disclosure),
            Some(last) => {
                let rests = vec![(State::Observed, last.node)];
                Chooser { holder: self.graph.agent(call.agent()), rests, missing: Vec::new(), says: &AGENT }
            }
        }
    }
}

texts! {
    MODEL: "The model of {party} proposed exactly this, in answer to a prompt that held the user's words and every result as they were.",
        "{party} 的模型正是如此提议的，其收到的提示中用户指令与各项结果均未被改动。";
    MISLED: "A model proposed it, in answer to a prompt in which the agent's own code had changed or left out the user's words or what the tools had returned.",
        "模型提议了该调用，但其收到的提示中，用户指令或工具返回的结果已被代理自身的代码改动或略去。";
    AGENT: "No model proposed it: the gateway saw what the models answered, and this call is not in it. The agent's own code made it.",
        "没有模型提议该调用：网关看到了模型的全部答复，其中没有此调用。它由代理自身的代码发出。";
    MODEL_PERHAPS_MISLED: "A model proposed it; whether what it had been told was true to what the tools returned is not known.",
        "模型提议了该调用；但模型所获信息是否与工具返回内容一致，无从得知。";
    UNKNOWN: "Whether a model proposed it or the agent's own code made it is not determinable from this evidence.",
        "依现有证据无法确定该调用是由模型提议，还是由代理自身的代码发出。";
}
