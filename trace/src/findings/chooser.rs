//! Who chose a call: the model, the agent's own code, or nobody can tell. All rules about choices ask here, so that they agree.
//!
//! The model is named only when the gateway saw it propose this very call in answer to a prompt that held the user's words unaltered and passed every
//! tool result on as the API gave it.

use serde_json::Value;

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
    /// A finding about a choice: against whoever chose. Where nobody can tell, what was stopped is still an attempt, and what passed is open.
    pub fn finding(self, rule: &Rule, kind: Kind, established: Message, call: &Call<'_>) -> Finding {
        let open = self.holder.role == Role::NotDeterminable && kind == Kind::Fault;
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

impl<'g> Case<'g> {
    /// Compares what the gateway recorded of the prompt of an exchange.
    pub fn faith(&self, exchange: &Call<'g>) -> Faith {
        let Some(prompt) = exchange.node.clear("prompt") else { return Faith::Unknown };
        let results =
            |name: &str| prompt.pointer(&format!("/results/{name}")).and_then(Value::as_u64).unwrap_or_default();
        match prompt.get("words").and_then(Value::as_str) {
            Some("altered" | "absent") => Faith::Unfaithful,
            _ if results("altered") > 0 => Faith::Unfaithful,
            Some("present") if results("unknown") <= self.without_answer(exchange) => Faith::Faithful,
            _ => Faith::Unknown,
        }
    }

    /// How many of the results that could not be compared stand for calls to which no API ever answered, refused or held ones: there is nothing that they
    /// could be compared with.
    fn without_answer(&self, exchange: &Call<'g>) -> u64 {
        let told = exchange.node.value("prompt").and_then(|told| told.get("results")?.as_array());
        let unknown =
            told.into_iter().flatten().filter(|result| result.get("is").and_then(Value::as_str) == Some("unknown"));
        let without = unknown.filter_map(|result| result.get("id")?.as_str()).filter(|id| {
            let proposal = self.proposals().find(|node| node.text("proposal") == Some(id));
            let of = |call: &&Call<'g>| {
                proposal.is_some_and(|proposal| call.proposed.iter().any(|node| node.hash == proposal.hash))
            };
            proposal.is_some()
                && !self.calls.iter().filter(of).any(|call| matches!(call.fate(), Fate::Done | Fate::Failed))
        });
        without.count() as u64
    }

    /// The proposal that stands behind a call: of those with its action and arguments, the next that no earlier call has used up. One proposal is good for
    /// one call, and for asking it again where a human must say yes first, however often the gateway found that it fits.
    pub fn proposal_of(&self, call: &Call<'g>) -> Option<&'g Node<'g>> {
        let first = self.first_of(call);
        let earlier = self.calls.iter().take_while(|other| other.node.hash != first.node.hash);
        let used = earlier.filter(|other| other.same_as(first) && self.first_of(other).node.hash == other.node.hash);
        self.alike(first).into_iter().nth(used.count())
    }

    /// The proposals of exchanges before a call that are of its action and arguments: those that such calls name, and those that say the same.
    fn alike(&self, call: &Call<'g>) -> Vec<&'g Node<'g>> {
        let at = (call.node.entry().time, call.node.seq());
        let same_calls = self.calls.iter().filter(|other| other.node.hash == call.node.hash || other.same_as(call));
        let named: Vec<&Node<'g>> = same_calls.flat_map(|other| other.proposed.iter().copied()).collect();
        let says = |node: &Node<'g>, action: Option<&str>, arguments: Option<&'g Value>| {
            node.text("action") == action
                && node.value("arguments").zip(arguments).is_some_and(|(one, other)| same(one, other))
        };
        // A call may come while the answer that proposes it still flows.
        let before = |node: &&'g Node<'g>| {
            let begun = self.exchange_of(node).map_or(*node, |exchange| exchange.node);
            (begun.entry().time, begun.seq()) < at
        };
        let fits = |node: &&'g Node<'g>| {
            named
                .iter()
                .any(|known| known.hash == node.hash || says(node, known.text("action"), known.value("arguments")))
                || says(node, call.body.action.as_deref(), call.arguments())
        };
        self.proposals().filter(before).filter(fits).collect()
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
    pub fn idempotency_key(&self, call: &Call<'g>) -> Option<&'g Value> {
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
            return match exchange.map_or(Faith::Unknown, |exchange| self.faith(exchange)) {
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
            // What of an answer could not be read may have had it.
            Some(_) if before.iter().any(|exchange| is_read_in_part(exchange)) => unknown(Need::ModelExchange),
            // A proposal that nobody may read could be this one.
            Some(_) if call.arguments().is_none() || self.proposals().any(unread) => unknown(Need::Disclosure),
            Some(last) => {
                let rests = vec![(State::Observed, last.node)];
                Chooser { holder: self.graph.agent(call.agent()), rests, missing: Vec::new(), says: &AGENT }
            }
        }
    }
}

/// Whether proposals may be missing of an exchange.
fn is_read_in_part(exchange: &Call<'_>) -> bool {
    let read = exchange.outcome.as_ref().and_then(|ended| ended.node.text("answer"));
    matches!(read, Some("partial" | "unreadable"))
}

texts! {
    MODEL: "The model of {party} proposed exactly this, in answer to a prompt that held the user's words and every result as they were.",
        "{party} 的模型正是如此提议的，其收到的提示中用户指令与各项结果均未被改动。";
    MISLED: "A model proposed it, in answer to a prompt in which the agent's own code had changed or left out the user's words or what the tools had returned.",
        "模型提议了该调用，但其收到的提示中，用户指令或工具返回的结果已被智能体自身的代码改动或略去。";
    AGENT: "No model proposed it: the gateway saw what the models answered, and this call is not in it. The agent's own code made it.",
        "没有模型提议该调用：网关看到了模型的全部答复，其中没有此调用。它由智能体自身的代码发出。";
    MODEL_PERHAPS_MISLED: "A model proposed it; whether what it had been told was true to what the tools returned is not known.",
        "模型提议了该调用；但模型所获信息是否与工具返回内容一致，无从得知。";
    UNKNOWN: "Whether a model proposed it or the agent's own code made it is not determinable from this evidence.",
        "依现有证据无法确定该调用是由模型提议，还是由智能体自身的代码发出。";
}
