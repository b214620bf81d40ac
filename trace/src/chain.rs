//! The chain of an instruction, link by link, with what the rules find in it.

pub(crate) mod words;

use std::collections::BTreeSet;

use countersign_ledger::{
    evidence::{Evidence, Shown},
    record::body,
};
use serde::{Serialize, Serializer};
use serde_json::Value;

use self::words as w;
use crate::{
    findings::{self, Finding, Kind, Need},
    graph::{Call, Case, Fate, Graph, Holder, Node, Receipt, same},
    link::{State, Step},
    message::{Fact, Lang, Message},
};

/// One link.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Link {
    /// The step.
    pub step: Step,
    /// When, as the ledger has it; none for what is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// In whose hands it was.
    pub party: String,
    /// That party's role, as registered, or that of its place in the chain.
    pub role: Message,
    /// What happened, in words.
    pub what: Message,
    /// How well it is established.
    pub state: State,
    /// The entries it rests on.
    pub entries: Vec<u64>,
    /// What is missing, and what would settle it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Message>,
}

/// The chain of one instruction; without an instruction, what was found that belongs to none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chain {
    /// The ledger.
    pub ledger: String,
    /// The instruction.
    pub instruction: Option<String>,
    /// What happened and which link broke, in one paragraph.
    #[serde(serialize_with = "in_english")]
    pub summary: Vec<Message>,
    /// The links, in order.
    pub links: Vec<Link>,
    /// The first link that breaks: its place in `links`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_break: Option<usize>,
    /// The version of the rules.
    pub rules: u32,
    /// Faults, attempts and gaps, in this order, each in the order of causes.
    pub findings: Vec<Finding>,
    /// What whoever reads the chain should know, and is nobody's fault.
    pub notes: Vec<Finding>,
}

fn in_english<S: Serializer>(messages: &[Message], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&paragraph(messages, Lang::En))
}

/// Sentences as one paragraph.
pub fn paragraph(messages: &[Message], lang: Lang) -> String {
    let sentences: Vec<String> = messages.iter().map(|message| message.show(lang)).collect();
    sentences.join(match lang {
        Lang::En => " ",
        Lang::ZhCn => "",
    })
}

/// The chains of all instructions in the evidence of one ledger or several, in the order in which they were given, and last what belongs to none, where
/// there is anything. `trusted` holds the thumbprints of keys had from elsewhere.
pub fn trace(evidence: &[&Evidence], trusted: &BTreeSet<String>) -> Vec<Chain> {
    let graph = Graph::new(evidence, trusted);
    let mut chains: Vec<Chain> = graph.instructions().into_iter().map(|id| of_case(&Case::new(&graph, id))).collect();
    let (notes, findings): (Vec<Finding>, Vec<Finding>) =
        findings::of_graph(&graph).into_iter().partition(|finding| finding.kind == Kind::Note);
    if !findings.is_empty() || !notes.is_empty() {
        chains.push(Chain {
            ledger: graph.nodes().first().map_or_else(String::new, |node| node.origin().to_owned()),
            instruction: None,
            summary: verdict(&findings),
            links: Vec::new(),
            first_break: None,
            rules: findings::RULES_VERSION,
            findings,
            notes,
        });
    }
    chains
}

/// The chain of one instruction.
pub fn of_case(case: &Case<'_>) -> Chain {
    let (notes, findings): (Vec<Finding>, Vec<Finding>) =
        findings::of_case(case).into_iter().partition(|finding| finding.kind == Kind::Note);
    let mut links = Links { case, links: Vec::new() };
    links.all();
    let links = links.links;
    let mut summary = story(case, &links);
    summary.extend(verdict(&findings));
    Chain {
        ledger: case.nodes.first().map_or_else(String::new, |node| node.origin().to_owned()),
        instruction: Some(case.instruction.to_owned()),
        summary,
        first_break: first_break(&links, &findings),
        links,
        rules: findings::RULES_VERSION,
        findings,
        notes,
    }
}

/// The link of the cause; without one the first that contradicts itself or is missing.
fn first_break(links: &[Link], findings: &[Finding]) -> Option<usize> {
    let cause = findings.iter().find(|finding| finding.standing.is_some());
    let cited: Vec<u64> = cause.iter().flat_map(|finding| finding.entries.iter().map(|cited| cited.seq)).collect();
    let of_cause = cause.and_then(|cause| {
        let cites = |link: &Link| link.entries.iter().any(|seq| cited.contains(seq));
        let same = links.iter().position(|link| link.step == cause.link && cites(link));
        same.or_else(|| links.iter().position(cites))
    });
    let broken = |state: State| links.iter().position(|link| link.state == state);
    of_cause.or_else(|| broken(State::Contradicted)).or_else(|| broken(State::Missing))
}

/// What was said, granted and called.
fn story(case: &Case<'_>, links: &[Link]) -> Vec<Message> {
    let first = |step| links.iter().find(|link| link.step == step);
    let mut story = vec![match first(Step::Said) {
        Some(link) => Message::new(&w::SENTENCE).with("party", link.party.as_str()).with("what", link.what.clone()),
        None => Message::new(&w::WORDS_NOT_THERE),
    }];
    if let Some(link) = first(Step::Scoped) {
        story.push(Message::new(&w::GATEWAY_DID).with("what", link.what.clone()));
    }
    let count = |wanted: &str| case.calls.iter().filter(|call| call.body.verdict == wanted).count() as u64;
    story.push(
        Message::new(&w::COUNTS)
            .with("allowed", count("allow"))
            .with("held", count("hold"))
            .with("refused", count("deny")),
    );
    story
}

/// Which links broke, in whose hands, and what stays open.
fn verdict(findings: &[Finding]) -> Vec<Message> {
    let mut verdict = Vec::new();
    let named: Vec<&Finding> = findings.iter().filter(|finding| finding.standing.is_some()).collect();
    for (index, finding) in named.iter().take(4).enumerate() {
        let attempt = finding.kind == Kind::Attempt;
        let text = match (index, attempt) {
            (0, false) => &w::BROKE_FIRST,
            (0, true) => &w::STOPPED_FIRST,
            _ => &w::BROKE_TOO,
        };
        let whose = Message::new(if finding.names_somebody() { &w::IN_HANDS } else { &w::IN_NOBODYS_HANDS });
        verdict.push(
            Message::new(text).with("link", finding.link.text()).with("what", finding.established.clone()).with(
                "whose",
                whose.with("party", finding.holder.party.as_str()).with("role", finding.holder.role.text()),
            ),
        );
    }
    if named.len() > 4 {
        verdict.push(Message::new(&w::MORE).with("count", (named.len() - 4) as u64));
    }
    if named.is_empty() {
        verdict.push(Message::new(&w::NOTHING_BROKE));
    }
    let mut open: Vec<Need> = findings.iter().flat_map(|finding| finding.missing.iter().copied()).collect();
    open.sort_unstable();
    open.dedup();
    if !open.is_empty() {
        let settles: Vec<Fact> = open.into_iter().map(|need| need.settles().into()).collect();
        verdict.push(Message::new(&w::OPEN).with("settles", settles));
    }
    verdict.push(Message::new(&w::NO_VERDICT));
    verdict
}

struct Links<'c, 'g> {
    case: &'c Case<'g>,
    links: Vec<Link>,
}

impl<'g> Links<'_, 'g> {
    fn all(&mut self) {
        let mut told = false;
        for node in self.case.nodes.clone() {
            match node.kind() {
                "instruction" => {
                    self.said(node);
                    told |= self.ungranted(node);
                }
                "grant" | "delegation" => self.scoped(node),
                "decision" => self.chose(node),
                "call" => self.judged(node),
                "approval" => self.approved(node),
                "outcome" => self.sent(node),
                "receipt" | "reconciliation" => self.answered(node),
                "settlement" => self.settled(node),
                "answer" => {
                    told = true;
                    self.told(node);
                }
                "revocation" => {
                    let by = self.case.graph.platform(node.text("by").unwrap_or("?"));
                    self.push(Step::Withdrawn, node, by, Message::new(&w::WITHDRAWN), State::Observed, None);
                }
                _ => {}
            }
        }
        if !told {
            let agent = self.case.calls.last().map_or("?", |call| call.agent());
            let agent = self.case.graph.agent(agent);
            self.absent(Step::Told, agent, Message::new(&w::TOLD_UNKNOWN), Need::AgentAnswer);
        }
    }

    fn push(
        &mut self,
        step: Step,
        node: &Node<'_>,
        holder: Holder,
        what: Message,
        state: State,
        missing: Option<Message>,
    ) {
        let time = Some(node.entry().time.to_string());
        let role = Message::new(holder.role.text());
        self.links.push(Link {
            step,
            time,
            party: holder.party,
            role,
            what,
            state,
            entries: vec![node.seq()],
            missing,
        });
    }

    fn absent(&mut self, step: Step, holder: Holder, what: Message, need: Need) {
        self.links.push(Link {
            step,
            time: None,
            party: holder.party,
            role: Message::new(holder.role.text()),
            what,
            state: State::Missing,
            entries: Vec::new(),
            missing: Some(need.settles()),
        });
    }

    /// What a party's own statement establishes.
    fn stated(&self, node: &Node<'_>, check: Option<&body::Check>) -> (State, Option<Message>) {
        let state = self.case.graph.stated(node, check);
        let missing = match check {
            _ if state == State::Proven => None,
            Some(check) if check.result == "valid" && self.case.graph.is_trusted(&check.kid) => {
                Some(Need::Disclosure.settles())
            }
            Some(check) if check.result == "valid" => {
                Some(Message::new(&w::KEY_SOURCE).with("key", check.kid.as_str()))
            }
            Some(check) if check.result == "invalid" => Some(Message::new(&w::SIGNATURE_BAD)),
            Some(check) => Some(Message::new(&w::KEY_UNKNOWN).with("key", check.kid.as_str())),
            None => Some(Message::new(&w::OWN_SIGNATURE)),
        };
        (state, missing)
    }

    fn said(&mut self, node: &'g Node<'g>) {
        let Some(said) = node.body::<body::Instruction>() else { return };
        let (state, missing) = self.stated(node, said.check.as_ref());
        let text = if said.attested_by == "host" { &w::SAID_BY_HOST } else { &w::SAID };
        let what = Message::new(text).with("words", shown(node, "words")).with("host", said.host.as_str());
        self.push(Step::Said, node, self.case.user(), what, state, missing);
    }

    /// That nothing was granted, and so nothing was done of which anybody could tell.
    fn ungranted(&mut self, node: &'g Node<'g>) -> bool {
        let Some(why) = node.body::<body::Instruction>().and_then(|said| said.ungranted) else { return false };
        let what = Message::new(&w::UNGRANTED).with("model", why.model).with("reason", why.reason);
        self.push(Step::Scoped, node, self.case.platform(), what, State::Observed, None);
        true
    }

    fn settled(&mut self, node: &'g Node<'g>) {
        let Some(settled) = node.body::<body::Settlement>() else { return };
        let (state, missing) = match settled.check.as_ref() {
            Some(check) => self.stated(node, Some(check)),
            // A receipt is checked where it stands; an API's own log is its word.
            None if settled.source == "receipt" => (State::Observed, None),
            None => (State::Claimed, None),
        };
        let what = Message::new(if settled.executed { &w::SETTLED } else { &w::SETTLED_NOT });
        self.push(Step::Answered, node, self.case.graph.platform(&settled.by), what, state, missing);
    }

    fn scoped(&mut self, node: &'g Node<'g>) {
        let list = |name: &str| node.clear(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let actions: Vec<Fact> = list("actions").iter().filter_map(Value::as_str).map(Fact::from).collect();
        let withheld: Vec<Fact> = list("withheld")
            .iter()
            .map(|withheld| {
                let text = |name: &str| withheld.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
                Message::new(&w::WITHHELD_ONE).with("action", text("action")).with("reason", text("reason")).into()
            })
            .collect();
        let granted = Message::new(match (node.kind(), actions.is_empty()) {
            ("delegation", _) => &w::DELEGATED,
            (_, true) => &w::GRANTED_NOTHING,
            (_, false) => &w::GRANTED,
        });
        let granted = granted.with("actions", actions).with("agent", node.text("agent").unwrap_or("?"));
        let what = if withheld.is_empty() {
            granted
        } else {
            Message::new(&w::WITHHELD).with("granted", granted).with("withheld", withheld)
        };
        self.push(Step::Scoped, node, self.case.platform(), what, State::Observed, None);
    }

    fn chose(&mut self, node: &'g Node<'g>) {
        let Some(decision) = node.body::<body::Decision>() else { return };
        let observed = decision.source == "gateway";
        let (mut state, mut missing) =
            if observed { (State::Observed, None) } else { self.stated(node, decision.check.as_ref()) };
        let model = decision.model.clone().unwrap_or_else(|| "?".to_owned());
        let mut what = Message::new(if observed { &w::PROPOSED } else { &w::DECIDED })
            .with("action", decision.action.as_str())
            .with("arguments", shown(node, "arguments"))
            .with("model", model.as_str());
        let holder = if observed { self.case.graph.model(&model) } else { self.case.graph.agent(&decision.agent) };
        for call in self.case.graph.effects(node).filter(|effect| effect.kind() == "call") {
            let other_action = call.text("action").is_some_and(|action| action != decision.action);
            let other_arguments =
                node.value("arguments").zip(call.value("arguments")).is_some_and(|(said, done)| !same(said, done));
            if !observed && (other_action || other_arguments) {
                (state, missing) = (State::Contradicted, None);
                what = Message::new(&w::BUT_ANOTHER).with("what", what).with("entry", call.seq());
            }
        }
        self.push(Step::Chose, node, holder, what, state, missing);
    }

    fn judged(&mut self, node: &'g Node<'g>) {
        let calls = self.case.calls.iter().chain(&self.case.exchanges);
        let Some(call) = calls.into_iter().find(|call| call.node.hash == node.hash) else { return };
        let unexplained = call.stated.is_empty() && call.proposed.is_empty() && !call.approved() && !call.is_exchange();
        if unexplained && self.case.exchanges_before(node).next().is_none() {
            let agent = self.case.graph.agent(call.agent());
            self.absent(Step::Chose, agent, Message::new(&w::CHOICE_UNKNOWN), Need::ModelExchange);
        }
        let verdict = match call.body.verdict.as_str() {
            "allow" if call.approved() => Message::new(&w::ALLOWED_AS_APPROVED),
            "allow" => Message::new(&w::ALLOWED),
            "hold" => Message::new(&w::HELD).with("reasons", reasons(call)),
            _ => Message::new(&w::REFUSED).with("reasons", reasons(call)),
        };
        let verdict = if call.body.shadow { Message::new(&w::SHADOW).with("verdict", verdict) } else { verdict };
        let what = Message::new(if call.is_exchange() { &w::ASKED_MODEL } else { &w::CALLED })
            .with("agent", call.agent())
            .with("action", findings::wording::named(call))
            .with("arguments", shown(node, "arguments"))
            .with("verdict", verdict);
        self.push(Step::Judged, node, self.case.platform(), what, State::Observed, None);
        if call.forwarded() && call.outcome.is_none() {
            self.absent(Step::Sent, self.case.platform(), Message::new(&w::END_UNKNOWN), Need::Outcome);
        }
    }

    fn approved(&mut self, node: &'g Node<'g>) {
        let Some(approval) = node.body::<body::Approval>() else { return };
        let (mut state, mut missing) = self.stated(node, approval.check.as_ref());
        let held = self.case.graph.find(&approval.call);
        let digests = held.and_then(|held| held.value("digest")).zip(node.value("digest"));
        if held.is_none() {
            (state, missing) = (State::Missing, Some(Need::Entries.settles()));
        } else if digests.is_some_and(|(one, other)| one != other) {
            (state, missing) = (State::Contradicted, Some(Message::new(&w::OTHER_CALL)));
        }
        let yes = approval.decision == "approved";
        let took = approval.took_ms.map_or_else(|| "?".to_owned(), |ms| format!("{}.{:03}", ms / 1000, ms % 1000));
        let what = Message::new(if yes { &w::SAID_YES } else { &w::SAID_NO })
            .with("took", took)
            .with("entry", held.map_or_else(|| Fact::from("?"), |held| Fact::from(held.seq())));
        self.push(Step::Approved, node, self.case.graph.user(&approval.approver), what, state, missing);
    }

    fn sent(&mut self, node: &'g Node<'g>) {
        let Some(outcome) = node.body::<body::Outcome>() else { return };
        let status = outcome.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let (text, state, missing) = match (outcome.result.as_str(), outcome.sent.as_str()) {
            ("completed", _) => (&w::SENT, State::Observed, None),
            (_, "no") => (&w::NOT_SENT, State::Observed, None),
            (_, "maybe") => (&w::PERHAPS_SENT, State::Missing, Some(Need::ApiLog.settles())),
            _ => (&w::SENT_BUT, State::Observed, None),
        };
        let what = Message::new(text).with("status", status).with("result", outcome.result.replace('_', " "));
        self.push(Step::Sent, node, self.case.platform(), what, state, missing);
        let case = self.case;
        let call =
            case.calls.iter().find(|call| call.outcome.as_ref().is_some_and(|ended| ended.node.hash == node.hash));
        for receipt in call.iter().flat_map(|call| &call.receipts).filter(|receipt| receipt.node.seq() < node.seq()) {
            self.receipt(receipt);
        }
        if let Some(call) = call.filter(|call| call.fate() != Fate::NotSent && call.receipts.is_empty()) {
            let api = self.case.graph.api(&call.body.upstream);
            self.absent(Step::Answered, api, Message::new(&w::NO_RECEIPT), Need::ApiReceipt);
        }
    }

    fn answered(&mut self, node: &'g Node<'g>) {
        if node.kind() == "reconciliation" {
            let api = self.case.graph.api(node.text("upstream").unwrap_or("?"));
            let what = Message::new(&w::LOG_SAYS).with("result", node.text("result").unwrap_or("?").replace('_', " "));
            return self.push(Step::Answered, node, api, what, State::Claimed, None);
        }
        let case = self.case;
        let of = |call: &&Call<'g>| call.receipts.iter().any(|receipt| receipt.node.hash == node.hash);
        let Some(call) = case.calls.iter().chain(&case.exchanges).find(of) else { return };
        // One that came with the answer stands before the outcome in the ledger, and is told behind it.
        if call.outcome.as_ref().is_some_and(|ended| node.seq() < ended.node.seq()) {
            return;
        }
        if let Some(receipt) = call.receipts.iter().find(|receipt| receipt.node.hash == node.hash) {
            self.receipt(receipt);
        }
    }

    fn receipt(&mut self, receipt: &Receipt<'g>) {
        let (state, missing) = self.stated(receipt.node, receipt.check.as_ref());
        // The gateway had it from the API itself, and it fits what it saw.
        let good = receipt.check.as_ref().is_some_and(|check| check.result == "valid");
        let state = if good && state == State::Claimed { State::Observed } else { state };
        let differs: Vec<Fact> = receipt.differs.iter().map(|what| Fact::from(*what)).collect();
        let state = if differs.is_empty() { state } else { State::Contradicted };
        let text = match (differs.is_empty(), receipt.late) {
            (true, false) => &w::RECEIPT,
            (true, true) => &w::RECEIPT_LATE,
            (false, _) => &w::RECEIPT_DIFFERS,
        };
        let api = self.case.graph.api(&receipt.api);
        self.push(Step::Answered, receipt.node, api, Message::new(text).with("differs", differs), state, missing);
    }

    fn told(&mut self, node: &'g Node<'g>) {
        let Some(answer) = node.body::<body::Answer>() else { return };
        let (state, missing) = self.stated(node, answer.check.as_ref());
        let what = Message::new(&w::TOLD).with("text", shown(node, "text"));
        self.push(Step::Told, node, self.case.graph.agent(&answer.agent), what, state, missing);
    }
}

/// A value as a person reads it, or why it cannot be shown.
fn shown(node: &Node<'_>, name: &str) -> Fact {
    match node.shown(name) {
        Some(Shown::Value(disclosure)) => match disclosure.value() {
            Value::String(text) => Fact::Quoted(text.clone()),
            Value::Object(members) if members.is_empty() => Fact::Word(&w::NO_ARGUMENTS),
            Value::Object(members) => {
                Fact::List(members.iter().map(|(name, value)| Fact::Plain(format!("{name} = {value}"))).collect())
            }
            other => Fact::Plain(other.to_string()),
        },
        Some(Shown::Erased) => Message::new(&w::ERASED).with("name", name).into(),
        Some(Shown::Withheld) => Message::new(&w::UNDISCLOSED).with("name", name).into(),
        None => Message::new(&w::NO_VALUE).with("name", name).into(),
    }
}

/// The gateway's reasons, in its own words where they are disclosed.
fn reasons(call: &Call<'_>) -> Vec<Fact> {
    let messages = call.node.value("messages").and_then(Value::as_array).into_iter().flatten();
    let messages: Vec<Fact> = messages.filter_map(|reason| reason.get("message")?.as_str()).map(Fact::from).collect();
    if messages.is_empty() {
        call.body.reasons.iter().map(|reason| Fact::from(reason.code.as_str())).collect()
    } else {
        messages
    }
}

#[cfg(test)]
mod tests;
