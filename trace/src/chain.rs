//! The chain of an instruction, link by link.

use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::{
    Hash, Kind,
    evidence::{Evidence, Item, Shown},
    record::body,
};
use serde::Serialize;
use serde_json::Value;

/// How well a link is established.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The party's own signature is good, and the key was had from elsewhere than the operator.
    Proven,
    /// The gateway saw it itself.
    Observed,
    /// Somebody's word: the host's, the agent's, or a signature by a key that only the operator vouches for.
    Claimed,
    /// There is no evidence.
    Missing,
    /// Two pieces of evidence exclude each other.
    Contradicted,
}

/// A step of the way from the user's words to the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// The user's words.
    Said,
    /// The closed scope made of them.
    Scoped,
    /// The agent's choice.
    Chose,
    /// The verdict: allowed, held or refused.
    Judged,
    /// A human's answer to a held call.
    Approved,
    /// What was sent, and how it ended.
    Sent,
    /// What the API says it executed.
    Answered,
    /// What the agent told the user.
    Told,
    /// A withdrawal.
    Withdrawn,
}

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
    /// That party's role.
    pub role: String,
    /// What happened, in words.
    pub what: String,
    /// How well it is established.
    pub state: State,
    /// The entries it rests on.
    pub entries: Vec<u64>,
    /// What is missing, and what would settle it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// The chain of one instruction.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chain {
    /// The ledger.
    pub ledger: String,
    /// The instruction.
    pub instruction: String,
    /// What happened, in one paragraph.
    pub summary: String,
    /// The links, in order.
    pub links: Vec<Link>,
    /// The first link that breaks: its place in `links`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_break: Option<usize>,
}

/// The chains of all instructions in the evidence, in the order in which they were given. `trusted` holds the thumbprints of keys had from elsewhere.
pub fn trace(evidence: &Evidence, trusted: &BTreeSet<String>) -> Vec<Chain> {
    let mut order: Vec<&str> = Vec::new();
    for item in evidence.items.values() {
        if let Some(instruction) = &item.entry.instruction
            && !order.contains(&instruction.as_str())
        {
            order.push(instruction);
        }
    }
    order.into_iter().map(|instruction| Tracer::new(evidence, instruction, trusted).chain()).collect()
}

struct Tracer<'e> {
    evidence: &'e Evidence,
    instruction: &'e str,
    trusted: &'e BTreeSet<String>,
    items: Vec<&'e Item>,
    roles: BTreeMap<String, String>,
    links: Vec<Link>,
}

impl<'e> Tracer<'e> {
    fn new(evidence: &'e Evidence, instruction: &'e str, trusted: &'e BTreeSet<String>) -> Tracer<'e> {
        let items =
            evidence.items.values().filter(|item| item.entry.instruction.as_deref() == Some(instruction)).collect();
        let parties = evidence.items.values().filter(|item| item.entry.kind == Kind::Party);
        let roles = parties
            .filter_map(|item| Some((item.entry.text("party")?.to_owned(), item.entry.text("role")?.to_owned())))
            .collect();
        Tracer { evidence, instruction, trusted, items, roles, links: Vec::new() }
    }

    fn chain(mut self) -> Chain {
        let mut told = false;
        for item in self.items.clone() {
            match &item.entry.kind {
                Kind::Instruction => self.said(item),
                Kind::Grant => self.scoped(item),
                Kind::Decision => self.chose(item),
                Kind::Call => self.judged(item),
                Kind::Approval => self.approved(item),
                Kind::Outcome => self.sent(item),
                Kind::Answer => {
                    told = true;
                    self.told(item);
                }
                Kind::Revocation => {
                    let by = item.entry.text("by").unwrap_or("?");
                    self.push(Step::Withdrawn, item, by, "the grant was withdrawn".to_owned(), State::Observed, None);
                }
                _ => {}
            }
        }
        if !told {
            self.absent(
                Step::Told,
                "agent",
                "what the agent told the user is not known",
                "the agent's answer, or the conversation as the host keeps it",
            );
        }
        let broken = |state: State| self.links.iter().position(|link| link.state == state);
        Chain {
            ledger: self.evidence.origin.clone(),
            instruction: self.instruction.to_owned(),
            summary: self.summary(),
            first_break: broken(State::Contradicted).or_else(|| broken(State::Missing)),
            links: self.links,
        }
    }

    fn push(&mut self, step: Step, item: &Item, party: &str, what: String, state: State, missing: Option<String>) {
        let role = self.roles.get(party).cloned().unwrap_or_else(|| default_role(step).to_owned());
        let time = Some(item.entry.time.to_string());
        self.links.push(Link {
            step,
            time,
            party: party.to_owned(),
            role,
            what,
            state,
            entries: vec![item.entry.seq],
            missing,
        });
    }

    fn absent(&mut self, step: Step, party: &str, what: &str, settles: &str) {
        self.links.push(Link {
            step,
            time: None,
            party: party.to_owned(),
            role: default_role(step).to_owned(),
            what: what.to_owned(),
            state: State::Missing,
            entries: Vec::new(),
            missing: Some(settles.to_owned()),
        });
    }

    /// What a party's own statement establishes.
    fn stated(&self, check: Option<&body::Check>) -> (State, Option<String>) {
        match check {
            Some(check) if check.result == "valid" && self.trusted.contains(&check.kid) => (State::Proven, None),
            Some(check) if check.result == "valid" => {
                (State::Claimed, Some(format!("a source other than the operator for the key `{}`", check.kid)))
            }
            Some(check) if check.result == "invalid" => {
                (State::Contradicted, Some("the signature does not fit".to_owned()))
            }
            Some(check) => (State::Claimed, Some(format!("the key `{}` was not registered", check.kid))),
            None => (State::Claimed, Some("the party's own signature".to_owned())),
        }
    }

    fn said(&mut self, item: &Item) {
        let Ok(said) = item.entry.body_as::<body::Instruction>() else { return };
        let principal = text(item, "principal").unwrap_or_else(|| format!("user {}", said.subject));
        let words = shown(item, "words");
        let (state, missing) = self.stated(said.check.as_ref());
        let by = if said.attested_by == "host" { format!(", as `{}` reports", said.host) } else { String::new() };
        self.push(Step::Said, item, &principal, format!("said {words}{by}"), state, missing);
    }

    fn scoped(&mut self, item: &Item) {
        let Ok(grant) = item.entry.body_as::<body::Grant>() else { return };
        let mut what = match grant.actions.len() {
            0 => "granted nothing".to_owned(),
            _ => format!("granted {}", grant.actions.join(", ")),
        };
        for withheld in &grant.withheld {
            what.push_str(&format!("; withheld {} ({})", withheld.action, withheld.reason));
        }
        self.push(Step::Scoped, item, "gateway", what, State::Observed, None);
    }

    fn chose(&mut self, item: &Item) {
        let Ok(decision) = item.entry.body_as::<body::Decision>() else { return };
        let (mut state, mut missing) = self.stated(decision.check.as_ref());
        let mut what = format!("decided on {} with {}", decision.action, shown(item, "arguments"));
        for call in
            self.items.iter().filter(|call| call.entry.kind == Kind::Call && call.entry.parents.contains(&item.hash))
        {
            let other_action = call.entry.text("action").is_some_and(|action| action != decision.action);
            let other_arguments =
                item.value("arguments").zip(call.value("arguments")).is_some_and(|(said, done)| !same(said, done));
            if other_action || other_arguments {
                state = State::Contradicted;
                missing = None;
                what.push_str(&format!("; the call it made of it (entry {}) is another one", call.entry.seq));
            }
        }
        self.push(Step::Chose, item, &decision.agent, what, state, missing);
    }

    fn judged(&mut self, item: &Item) {
        let Ok(call) = item.entry.body_as::<body::Call>() else { return };
        let agent = call.agent.clone().unwrap_or_else(|| "unknown caller".to_owned());
        let decided =
            item.entry.parents.iter().any(|parent| {
                self.items.iter().any(|other| other.hash == *parent && other.entry.kind == Kind::Decision)
            });
        if !decided && call.approval.is_none() {
            self.absent(
                Step::Chose,
                &agent,
                "why the agent chose the next call is not known",
                "the agent's signed decision, or the model's response as the gateway saw it",
            );
        }
        let action = call.action.clone().unwrap_or_else(|| "an unknown action".to_owned());
        let verdict = match call.verdict.as_str() {
            "allow" if call.approval.is_some() => "allowed, as approved".to_owned(),
            "allow" => "allowed".to_owned(),
            "hold" => format!("held for a human: {}", reasons(item, &call)),
            _ => format!("refused: {}", reasons(item, &call)),
        };
        let shadow = if call.shadow { " (recorded only, not enforced)" } else { "" };
        let what = format!("{agent} called {action} with {}: {verdict}{shadow}", shown(item, "arguments"));
        self.push(Step::Judged, item, "gateway", what, State::Observed, None);
        if call.upstream_n.is_some()
            && !self.items.iter().any(|other| other.entry.kind == Kind::Outcome && names(other, &item.hash))
        {
            self.absent(
                Step::Sent,
                "gateway",
                "how the call ended is not known",
                "a later part of the ledger, or the API's own log",
            );
        }
    }

    fn approved(&mut self, item: &Item) {
        let Ok(approval) = item.entry.body_as::<body::Approval>() else { return };
        let (mut state, mut missing) = self.stated(approval.check.as_ref());
        let held = self.evidence.find(&approval.call);
        let differs = held
            .and_then(|held| held.value("digest"))
            .zip(item.value("digest"))
            .is_some_and(|(one, other)| one != other);
        if held.is_none() {
            (state, missing) = (State::Missing, Some("the held call's entry".to_owned()));
        } else if differs {
            (state, missing) = (State::Contradicted, Some("the approval is about another call".to_owned()));
        }
        let took = approval.took_ms.map(|ms| format!(" after {}.{:03} s", ms / 1000, ms % 1000)).unwrap_or_default();
        self.push(
            Step::Approved,
            item,
            &approval.approver,
            format!("{} the held call{took}", approval.decision),
            state,
            missing,
        );
    }

    fn sent(&mut self, item: &Item) {
        let Ok(outcome) = item.entry.body_as::<body::Outcome>() else { return };
        let status = outcome.status.map(|status| format!(", status {status}")).unwrap_or_default();
        let (what, state, missing) = match (outcome.result.as_str(), outcome.sent.as_str()) {
            ("completed", _) => (format!("sent to the API and answered{status}"), State::Observed, None),
            (result, "no") => (format!("not sent: {result}"), State::Observed, None),
            (result, "maybe") => (
                format!("perhaps sent, {result}: whether the API executed it is not known"),
                State::Missing,
                Some("the API's receipt, or its own log".to_owned()),
            ),
            (result, _) => (format!("sent, {result}{status}"), State::Observed, None),
        };
        self.push(Step::Sent, item, "gateway", what, state, missing);
        if outcome.sent != "no" {
            self.absent(
                Step::Answered,
                "API",
                "the API's own word on what it executed is not there",
                "a receipt signed by the API, or its own log",
            );
        }
    }

    fn told(&mut self, item: &Item) {
        let Ok(answer) = item.entry.body_as::<body::Answer>() else { return };
        let (state, missing) = self.stated(answer.check.as_ref());
        self.push(Step::Told, item, &answer.agent, format!("told the user {}", shown(item, "text")), state, missing);
    }

    fn summary(&self) -> String {
        let count = |wanted: &str| {
            self.items
                .iter()
                .filter(|item| item.entry.kind == Kind::Call && item.entry.text("verdict") == Some(wanted))
                .count()
        };
        let first = |step| self.links.iter().find(|link| link.step == step);
        let said = first(Step::Said).map_or_else(
            || "The user's words are not part of this evidence.".to_owned(),
            |link| format!("{} {}.", link.party, link.what),
        );
        let scope = first(Step::Scoped).map(|link| format!(" The gateway {}.", link.what)).unwrap_or_default();
        let (allowed, held, refused) = (count("allow"), count("hold"), count("deny"));
        let calls =
            format!(" Of the agent's calls {allowed} were allowed, {held} held for a human and {refused} refused.");
        let refusals: Vec<&str> = self
            .links
            .iter()
            .filter(|link| link.step == Step::Judged && link.what.contains(": refused"))
            .map(|link| link.what.as_str())
            .collect();
        let refused = match refusals.as_slice() {
            [] => String::new(),
            [one, ..] => format!(" The first refusal: {one}."),
        };
        format!("{said}{scope}{calls}{refused}")
    }
}

const fn default_role(step: Step) -> &'static str {
    match step {
        Step::Said => "user",
        Step::Scoped | Step::Judged | Step::Sent => "platform",
        Step::Chose | Step::Told => "agent",
        Step::Approved => "approver",
        Step::Answered => "api_provider",
        Step::Withdrawn => "operator",
    }
}

fn names(outcome: &Item, call: &Hash) -> bool {
    outcome.entry.text("call") == Some(call.to_string().as_str())
}

fn text(item: &Item, name: &str) -> Option<String> {
    item.value(name)?.as_str().map(str::to_owned)
}

/// A value as a person reads it, or why it cannot be shown.
fn shown(item: &Item, name: &str) -> String {
    match item.values.get(name) {
        Some(Shown::Value(disclosure)) => match disclosure.value() {
            Value::String(text) => format!("“{text}”"),
            Value::Object(members) if members.is_empty() => "no arguments".to_owned(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        },
        Some(Shown::Erased) => format!("[{name}: observed, erased since]"),
        Some(Shown::Withheld) => format!("[{name}: not disclosed here]"),
        None => format!("[no {name}]"),
    }
}

fn reasons(item: &Item, call: &body::Call) -> String {
    let messages = item.value("messages").and_then(Value::as_array);
    let messages: Vec<&str> =
        messages.into_iter().flatten().filter_map(|reason| reason.get("message")?.as_str()).collect();
    if messages.is_empty() {
        call.reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(", ")
    } else {
        messages.join("; ")
    }
}

/// Whether two recorded argument sets are the same, numbers and texts of numbers alike.
fn same(one: &Value, other: &Value) -> bool {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (one, other) => plain(one) == plain(other),
    }
}

#[cfg(test)]
mod tests;
