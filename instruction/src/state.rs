//! One instruction, live: its grant and what was used of it, what was observed, its held calls and their approvals.

use std::collections::{BTreeMap, BTreeSet};

use countersign_authorize::{
    Json,
    catalogue::{Catalogue, Protocol},
    grant::{Grant, Usage},
    provenance::Observations,
};
use countersign_ledger::{
    Entry, Hash, Kind,
    record::{Time, body},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::asked::Asked;

/// What changes of an instruction.
#[derive(Default, PartialEq, Debug)]
pub struct Inner {
    /// The user's words.
    pub words: String,
    /// What was observed.
    pub observations: Observations,
    /// Its grant, once made.
    pub grant: Option<GrantState>,
    /// Held calls by id.
    pub held: BTreeMap<String, Held>,
    /// Calls that are held and not sealed yet: their ids and ends, by digest.
    pub holding: BTreeMap<String, (String, Timestamp)>,
    /// Digests of calls that an approver said no to.
    pub denied: BTreeSet<String>,
    /// SHA-256 of `Idempotency-Key`s, with the digest of the call that each was first used for.
    pub keys: BTreeMap<Hash, String>,
    /// The agent's decisions.
    pub decisions: BTreeSet<Hash>,
    /// Reservations of calls that have not ended: usage before and after, by the call's entry.
    pub reserved: BTreeMap<Hash, (Usage, Usage)>,
    /// Whether the agent gave its answer.
    pub answered: bool,
    /// What the user attached.
    pub attached: Vec<String>,
    /// What a model was asked and proposed.
    pub asked: Asked,
}

/// A grant and what was used of it.
#[derive(PartialEq, Debug)]
pub struct GrantState {
    /// The grant.
    pub grant: Grant,
    /// Its entry.
    pub entry: Hash,
    /// What was used of it.
    pub usage: Usage,
    /// Whether it was withdrawn.
    pub revoked: bool,
    /// Approved calls by digest; each approval serves once.
    pub approved: BTreeMap<String, Approved>,
}

impl GrantState {
    /// A grant of which nothing was used.
    pub fn new(grant: Grant, entry: Hash) -> GrantState {
        GrantState { grant, entry, usage: Usage::default(), revoked: false, approved: BTreeMap::new() }
    }
}

/// An approval that was not used yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Approved {
    /// Its entry.
    pub entry: Hash,
    /// When it ends.
    pub until: Timestamp,
}

/// How a held call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldStatus {
    /// Nobody answered yet.
    Waiting,
    /// Approved, and not used yet.
    Approved,
    /// Denied.
    Denied,
}

/// A call that waits for a human.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The held call's entry.
    pub entry: Hash,
    /// Its number.
    pub seq: u64,
    /// What an approval names.
    pub digest: String,
    /// Until when it waits.
    pub until: Timestamp,
    /// How it stands.
    pub status: HeldStatus,
}

impl Held {
    /// Whether somebody may still answer it.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.status == HeldStatus::Waiting && now < self.until
    }
}

/// The most `Idempotency-Key`s of an instruction that are remembered; a further one counts as new.
pub const MAX_KEYS: usize = 4096;

/// What is disclosed of one entry, by name.
pub struct Values<'v>(pub &'v dyn Fn(&str) -> Option<&'v Value>);

impl<'v> Values<'v> {
    pub(crate) fn get(&self, name: &str) -> Option<&'v Value> {
        self.0(name)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)?.as_str().map(str::to_owned)
    }
}

impl Inner {
    /// Whether its grant still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.grant.as_ref().is_some_and(|grant| !grant.revoked && now < grant.grant.expires)
    }

    /// Digests of calls that were approved and not used.
    pub fn approved(&self, now: Timestamp) -> Vec<String> {
        let approved = self.grant.iter().flat_map(|grant| &grant.approved);
        approved.filter(|(_, approved)| now < approved.until).map(|(digest, _)| digest.clone()).collect()
    }

    /// The held call that the same call, asked again, finds waiting: its id and its end.
    pub fn waiting(&self, digest: &str, now: Timestamp) -> Option<(String, Timestamp)> {
        let sealed = self.held.iter().find(|(_, held)| held.digest == digest && held.waits(now));
        let sealed = sealed.map(|(call, held)| (call.clone(), held.until));
        sealed.or_else(|| self.holding.get(digest).filter(|(_, until)| now < *until).cloned())
    }

    /// Remembers which call an `Idempotency-Key` was used for; gives the digest of another call that had it before.
    pub fn keyed(&mut self, key: Hash, digest: &str) -> Option<String> {
        match self.keys.get(&key) {
            Some(first) => Some(first.clone()).filter(|first| first != digest),
            None if self.keys.len() < MAX_KEYS => {
                self.keys.insert(key, digest.to_owned());
                None
            }
            None => None,
        }
    }

    /// Takes the words and attachments of an instruction.
    pub fn observe_instruction(&mut self, words: &str, attached: &[String]) {
        let amended = self.observations.clone();
        self.words = words.to_owned();
        self.attached = attached.to_vec();
        self.observations = if amended == Observations::default() {
            Observations::new(words, attached)
        } else {
            let mut observations = amended;
            observations.add_words(words);
            observations
        };
    }

    /// Takes the answer of an API: `body` is its JSON, or the result in an answer of MCP.
    pub fn observe_response(&mut self, call: &Hash, action: &str, catalogue: &Catalogue, body: &Json) {
        let Some(action) = catalogue.action(action) else { return };
        let call = call.to_string();
        match catalogue.protocol() {
            Protocol::Http => self.observations.observe_response(&call, action, body),
            Protocol::Mcp => self.observations.observe_result(&call, action, body),
            // What a model says is nobody's word for a value.
            Protocol::Model => return,
        }
        self.asked.heard.observe(&call, body);
    }

    /// Takes the arguments of a call that is forwarded.
    pub fn observe_arguments(
        &mut self,
        call: &Hash,
        action: &str,
        catalogue: &Catalogue,
        arguments: &BTreeMap<String, Json>,
    ) {
        let Some(action) = catalogue.action(action) else { return };
        let typed = arguments.iter().filter_map(|(name, value)| Some((action.arguments.get(name)?.ty, value)));
        self.observations.observe_arguments(&call.to_string(), typed);
    }

    /// What a sealed entry of this instruction changes. `None` when its content was erased.
    pub fn fold<'c>(
        &mut self,
        entry: &Entry,
        hash: Hash,
        values: &Values<'_>,
        catalogue: impl Fn(&str) -> Option<&'c Catalogue>,
    ) -> Option<()> {
        match entry.kind {
            Kind::Instruction => {
                let attached: Vec<String> = values
                    .get("attached")
                    .and_then(|value| serde_json::from_value(value.clone()).ok())
                    .unwrap_or_default();
                self.observe_instruction(&values.text("words")?, &attached);
            }
            Kind::Grant => {
                let grant = serde_json::from_value(values.get("grant")?.clone()).ok()?;
                self.grant = Some(GrantState::new(grant, hash));
            }
            Kind::Decision if entry.text("source") == Some("gateway") => self.asked.fold_decision(entry, hash, values),
            Kind::Decision => drop(self.decisions.insert(hash)),
            Kind::Call => self.fold_call(entry, hash, values, catalogue)?,
            Kind::Outcome => self.fold_outcome(entry, values, catalogue)?,
            Kind::Approval => self.fold_approval(entry, hash, values)?,
            Kind::Revocation => self.revoke(),
            Kind::Answer => self.answered = true,
            _ => {}
        }
        Some(())
    }

    fn fold_call<'c>(
        &mut self,
        entry: &Entry,
        hash: Hash,
        values: &Values<'_>,
        catalogue: impl Fn(&str) -> Option<&'c Catalogue>,
    ) -> Option<()> {
        let call: body::Call = entry.body_as().ok()?;
        let digest = values.text("digest").unwrap_or_default();
        let key = values.get("request").and_then(|request| request.get("idempotency_key")?.as_str());
        if let Some(key) = key.filter(|_| call.verdict != "deny") {
            self.keyed(Hash::of(key.as_bytes()), &digest);
        }
        let forwarded = call.upstream_n.map(|_| key.map(|key| Hash::of(key.as_bytes())));
        self.asked.made(&entry.parents, hash, forwarded);
        if let Some(prompt) = &call.prompt {
            self.asked.fold_prompt(hash, call.upstream_n.map(|_| prompt.words.as_str()), values);
        }
        match call.verdict.as_str() {
            "hold" if call.repeats.is_none() => {
                let until = call.expires.map_or(Timestamp::MAX, Time::instant);
                let held = Held { entry: hash, seq: entry.seq, digest, until, status: HeldStatus::Waiting };
                self.held.insert(call.call, held);
            }
            "allow" => {
                let arguments: BTreeMap<String, Value> =
                    serde_json::from_value(values.get("arguments")?.clone()).ok()?;
                let arguments: BTreeMap<String, Json> =
                    arguments.into_iter().filter_map(|(name, value)| Some((name, to_json(&value)?))).collect();
                // A message of MCP that is no action uses nothing and brings nothing.
                let Some(action) = call.action else { return Some(()) };
                if call.prompt.is_some() {
                    return self.fold_asking(hash);
                }
                if let Some(catalogue) = catalogue(&call.upstream) {
                    self.observe_arguments(&hash, &action, catalogue, &arguments);
                }
                let grant = self.grant.as_mut()?;
                if call.approval.is_some() {
                    grant.approved.remove(&digest);
                }
                let granted = grant.grant.actions.get(&action);
                if let Some(after) =
                    granted.and_then(|granted| grant.usage.reserve(&grant.grant, granted, &arguments).ok())
                {
                    let before = std::mem::replace(&mut grant.usage, after.clone());
                    self.reserved.insert(hash, (before, after));
                }
            }
            _ => {}
        }
        Some(())
    }

    fn fold_outcome<'c>(
        &mut self,
        entry: &Entry,
        values: &Values<'_>,
        catalogue: impl Fn(&str) -> Option<&'c Catalogue>,
    ) -> Option<()> {
        let outcome: body::Outcome = entry.body_as().ok()?;
        self.end(&outcome.call, &outcome.sent);
        self.asked.fold_answer(&outcome.call, values);
        if let Some(observed) = values.get("observed") {
            let (upstream, action) = (observed.get("upstream")?.as_str()?, observed.get("action")?.as_str()?);
            let body = Json::parse_response(observed.get("body")?.as_str()?.as_bytes(), 64).ok()?;
            if let Some(catalogue) = catalogue(upstream) {
                self.observe_response(&outcome.call, action, catalogue, &body);
            }
        }
        Some(())
    }

    /// A model was asked once more.
    fn fold_asking(&mut self, hash: Hash) -> Option<()> {
        let usage = &mut self.grant.as_mut()?.usage;
        let after = usage.ask(None).ok()?;
        let before = std::mem::replace(usage, after.clone());
        self.reserved.insert(hash, (before, after));
        Some(())
    }

    fn fold_approval(&mut self, entry: &Entry, hash: Hash, values: &Values<'_>) -> Option<()> {
        let approval: body::Approval = entry.body_as().ok()?;
        let digest = values.text("digest")?;
        let until = approval.expires.map_or(Timestamp::MAX, Time::instant);
        let approved = (approval.decision == "approved").then_some(Approved { entry: hash, until });
        self.answer_hold(&approval.call, &digest, approved);
        Some(())
    }

    /// A held call was answered: approved, or denied.
    pub fn answer_hold(&mut self, call: &Hash, digest: &str, approval: Option<Approved>) {
        let held = self.held.values_mut().find(|held| held.entry == *call);
        if let Some(held) = held {
            held.status = if approval.is_some() { HeldStatus::Approved } else { HeldStatus::Denied };
        }
        if approval.is_none() {
            self.denied.insert(digest.to_owned());
        }
        if let Some((grant, approval)) = self.grant.as_mut().zip(approval) {
            grant.approved.insert(digest.to_owned(), approval);
        }
    }

    /// A forwarded call ended; when it was certainly not sent, what it reserved is given back. What is unknown stays reserved.
    pub fn end(&mut self, call: &Hash, sent: &str) {
        let reserved = self.reserved.remove(call);
        if let Some(((before, after), grant)) = reserved.zip(self.grant.as_mut()).filter(|_| sent == "no") {
            grant.usage = grant.usage.release(&before, &after);
        }
        if sent == "no" {
            self.asked.unmade(call);
        }
    }

    /// The grant is withdrawn.
    pub fn revoke(&mut self) {
        if let Some(grant) = &mut self.grant {
            grant.revoked = true;
            grant.approved.clear();
        }
    }
}

/// A recorded value as the judge reads it.
fn to_json(value: &Value) -> Option<Json> {
    Json::parse(value.to_string().as_bytes(), 64).ok()
}
