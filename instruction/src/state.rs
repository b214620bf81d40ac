//! One instruction, live: its grant and what was used of it, what was observed, its held calls and their approvals.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use countersign_authorize::{
    Json,
    catalogue::{Catalogue, Protocol},
    grant::{ActionGrant, Grant, Usage},
    policy::Facts,
    provenance::Observations,
};
use countersign_ledger::{
    Entry, Hash, Kind,
    record::{Time, body},
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{Approved, GrantState, Reserved, Taken, Yes, asked::Asked};

/// What changes of an instruction.
#[derive(Default, PartialEq, Debug)]
pub struct Inner {
    /// The user's words.
    pub words: String,
    /// Who gave the instruction, for what, and on whose word.
    pub facts: Facts,
    /// What was observed.
    pub observations: Observations,
    /// Its grant, once made.
    pub grant: Option<GrantState>,
    /// Actions that a model proposed and that wait for consent.
    pub pending: BTreeMap<String, ActionGrant>,
    /// The grants that agents cut from it, by id.
    pub delegated: BTreeMap<String, GrantState>,
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
    /// What calls that have not ended use of their grants, by the call's entry.
    pub reserved: BTreeMap<Hash, Box<[Taken]>>,
    /// The same of calls that ended so that nobody knows whether they were executed.
    pub unsettled: BTreeMap<Hash, Box<[Taken]>>,
    /// Whether the agent gave its answer.
    pub answered: bool,
    /// What the user attached.
    pub attached: Vec<String>,
    /// What a model was asked and proposed.
    pub asked: Asked,
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

/// A call that waits for humans.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The held call's entry.
    pub entry: Hash,
    /// Its number.
    pub seq: u64,
    /// The grant under which it was made.
    pub grant: String,
    /// What an approval names.
    pub digest: String,
    /// Until when it waits.
    pub until: Timestamp,
    /// How it stands.
    pub status: HeldStatus,
    /// How many approvers must say yes.
    pub needs: u32,
    /// Who did, in the order of the entries.
    pub yes: Vec<Yes>,
    /// Whose answer is being sealed.
    pub answering: BTreeSet<String>,
}

impl Held {
    /// A call that nobody answered yet.
    pub fn new((entry, seq): (Hash, u64), grant: String, digest: String, until: Timestamp, needs: u32) -> Held {
        let (status, yes, answering) = (HeldStatus::Waiting, Vec::new(), BTreeSet::new());
        Held { entry, seq, grant, digest, until, status, needs, yes, answering }
    }

    /// Whether this approver said yes, or is about to.
    pub fn is_answered_by(&self, approver: &str) -> bool {
        self.answering.contains(approver) || self.yes.iter().any(|yes| yes.approver == approver)
    }

    /// Whether one more yes is all that it needs.
    pub fn needs_one_more(&self) -> bool {
        self.yes.len() + self.answering.len() + 1 >= usize::try_from(self.needs).unwrap_or(usize::MAX)
    }

    /// Whether somebody may still answer it.
    pub fn waits(&self, now: Timestamp) -> bool {
        self.status == HeldStatus::Waiting && now < self.until
    }
}

/// The most `Idempotency-Key`s of an instruction that are remembered; a further one counts as new.
pub const MAX_KEYS: usize = 4096;

/// How a call that went out was judged, as far as its answer is concerned.
#[derive(Debug, Clone)]
pub struct JudgedBy {
    /// The catalogue, as it was then.
    pub catalogue: Arc<Catalogue>,
    /// Whether the verdict was against it and only recorded.
    pub shadow: bool,
}

/// An upstream's catalogue, as it was when these policies were in force.
pub type Find<'c> = dyn Fn(&str, &[Hash]) -> Option<Arc<Catalogue>> + 'c;

/// The catalogues under which calls were judged. One that came into force later says nothing of what was observed before.
pub struct Catalogues<'c> {
    find: &'c Find<'c>,
    judged: BTreeMap<Hash, JudgedBy>,
}

impl<'c> Catalogues<'c> {
    /// Catalogues that are found by the digests that a call names.
    pub fn new(find: &'c Find<'c>) -> Catalogues<'c> {
        Catalogues { find, judged: BTreeMap::new() }
    }
}

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
    /// Whether the host's grant still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.grant.as_ref().is_some_and(|grant| grant.holds(now))
    }

    /// Digests of a grant's calls that were approved and not used.
    pub fn approved(&self, grant: &str, now: Timestamp) -> Vec<String> {
        let approved = self.state(grant).into_iter().flat_map(|grant| &grant.approved);
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

    /// What an instruction begins with that follows this one up: what was observed and heard up to here counts there too, its grant does not.
    #[must_use]
    pub fn followed(&self) -> Inner {
        let (observations, asked) = (self.observations.clone(), self.asked.followed());
        Inner { observations, asked, ..Inner::default() }
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

    /// Takes the answer of an API: `body` is its JSON, or the result in an answer of MCP. What answers a call that was only let through in shadow
    /// mode is believed in nothing: enforced, the call would have brought no value that a later one may use, and the agent has read it all the same.
    pub fn observe_response(&mut self, call: &Hash, action: &str, judged: &JudgedBy, body: &Json) {
        let Some(action) = judged.catalogue.action(action) else { return };
        let call = call.to_string();
        match judged.catalogue.protocol() {
            // What a model says is nobody's word for a value.
            Protocol::Model => return,
            _ if judged.shadow => self.observations.observe_content(&call, action, "", body),
            Protocol::Http => self.observations.observe_response(&call, action, body),
            Protocol::Mcp => self.observations.observe_result(&call, action, body),
        }
        self.asked.heard.observe(&call, body);
    }

    /// Takes the arguments of a call that is forwarded; `call` is its id.
    pub fn observe_arguments(
        &mut self,
        call: &str,
        action: &str,
        catalogue: &Catalogue,
        arguments: &BTreeMap<String, Json>,
    ) {
        let Some(action) = catalogue.action(action) else { return };
        let typed = arguments.iter().filter_map(|(name, value)| Some((action.arguments.get(name)?.ty, value)));
        self.observations.observe_arguments(call, typed);
    }

    /// What a sealed entry of this instruction changes. `None` when its content was erased.
    pub fn fold(
        &mut self,
        entry: &Entry,
        hash: Hash,
        values: &Values<'_>,
        catalogues: &mut Catalogues<'_>,
    ) -> Option<()> {
        match entry.kind {
            Kind::Instruction => {
                let attached: Vec<String> = values
                    .get("attached")
                    .and_then(|value| serde_json::from_value(value.clone()).ok())
                    .unwrap_or_default();
                self.observe_instruction(&values.text("words")?, &attached);
                let said: body::Instruction = entry.body_as().ok()?;
                self.facts = Facts {
                    user: values.text("principal")?,
                    host: said.host,
                    attested_by: said.attested_by,
                    purpose: values.text("purpose"),
                };
            }
            Kind::Grant => {
                let grant: Grant = serde_json::from_value(values.get("grant")?.clone()).ok()?;
                let pending = values.get("pending").and_then(|pending| serde_json::from_value(pending.clone()).ok());
                self.regrant(grant, hash, |_| false);
                self.pending = pending.unwrap_or_default();
            }
            Kind::Delegation => {
                let grant: Grant = serde_json::from_value(values.get("grant")?.clone()).ok()?;
                self.delegated.insert(grant.id.clone(), GrantState::new(grant, hash));
            }
            Kind::Decision if entry.text("source") == Some("gateway") => self.asked.fold_decision(entry, hash, values),
            Kind::Decision => drop(self.decisions.insert(hash)),
            Kind::Call => self.fold_call(entry, hash, values, catalogues)?,
            Kind::Outcome => self.fold_outcome(entry, values, catalogues)?,
            Kind::Approval => self.fold_approval(entry, hash, values)?,
            Kind::Revocation => self.fold_revocation(&entry.body_as().ok()?),
            Kind::Settlement => {
                let settlement: body::Settlement = entry.body_as().ok()?;
                self.settle(&settlement.call, settlement.executed);
            }
            Kind::Answer => {
                let own = self.grant.as_ref().is_some_and(|grant| entry.text("grant") == Some(&grant.grant.id));
                self.answered |= own;
            }
            _ => {}
        }
        Some(())
    }

    fn fold_call(
        &mut self,
        entry: &Entry,
        hash: Hash,
        values: &Values<'_>,
        catalogues: &mut Catalogues<'_>,
    ) -> Option<()> {
        let call: body::Call = entry.body_as().ok()?;
        let catalogue = (catalogues.find)(&call.upstream, &call.policies);
        if let Some(catalogue) = catalogue.clone().filter(|_| call.upstream_n.is_some()) {
            catalogues.judged.insert(hash, JudgedBy { catalogue, shadow: call.verdict != "allow" });
        }
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
                let grant = call.grant.unwrap_or_default();
                let held = Held::new((hash, entry.seq), grant, digest, until, call.needs.unwrap_or(1));
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
                    self.fold_reservation(&call.grant?, hash, |state| state.usage.ask(None).ok());
                    return Some(());
                }
                if let Some(catalogue) = catalogue {
                    self.observe_arguments(&call.call, &action, &catalogue, &arguments);
                }
                let grant = call.grant?;
                if call.approval.is_some() {
                    self.state_mut(&grant)?.approved.remove(&digest);
                }
                self.fold_reservation(&grant, hash, |state| {
                    state.usage.reserve(&state.grant, state.grant.actions.get(&action)?, &arguments).ok()
                });
            }
            _ => {}
        }
        Some(())
    }

    /// What an allowed call used of its grant and of those above it.
    fn fold_reservation(&mut self, grant: &str, call: Hash, used: impl Fn(&GrantState) -> Option<Usage>) {
        let of = |state: &GrantState| {
            Some(Reserved { grant: state.grant.id.clone(), before: state.usage.clone(), after: used(state)? })
        };
        let reserved: Vec<Reserved> = self.line(grant).into_iter().filter_map(of).collect();
        for Reserved { grant, after, .. } in &reserved {
            if let Some(state) = self.state_mut(grant) {
                state.usage = after.clone();
            }
        }
        if !reserved.is_empty() {
            self.reserved.insert(call, reserved.iter().map(Reserved::taken).collect());
        }
    }

    /// A withdrawal that names one of the grants withdraws it with what was cut from it; any other withdraws all.
    fn fold_revocation(&mut self, revocation: &body::Revocation) {
        match self.state(&revocation.id).is_some() {
            true => drop(self.withdraw(&revocation.id)),
            false => self.revoke(),
        }
    }

    fn fold_outcome(&mut self, entry: &Entry, values: &Values<'_>, catalogues: &mut Catalogues<'_>) -> Option<()> {
        let outcome: body::Outcome = entry.body_as().ok()?;
        let judged = catalogues.judged.remove(&outcome.call);
        self.end(&outcome.call, &outcome.sent);
        self.asked.fold_answer(&outcome.call, values);
        if let Some(observed) = values.get("observed") {
            let action = observed.get("action")?.as_str()?;
            let body = Json::parse_response(observed.get("body")?.as_str()?.as_bytes(), 64).ok()?;
            if let Some(judged) = judged {
                self.observe_response(&outcome.call, action, &judged, &body);
            }
        }
        Some(())
    }

    fn fold_approval(&mut self, entry: &Entry, hash: Hash, values: &Values<'_>) -> Option<()> {
        let approval: body::Approval = entry.body_as().ok()?;
        let digest = values.text("digest")?;
        let until = approval.expires.map_or(Timestamp::MAX, Time::instant);
        let yes = Yes { seq: entry.seq, entry: hash, approver: approval.approver, until };
        self.answer_hold(&approval.call, &digest, (approval.decision == "approved").then_some(yes));
        Some(())
    }

    /// A held call was answered: yes, or no, which is final.
    pub fn answer_hold(&mut self, call: &Hash, digest: &str, yes: Option<Yes>) {
        let Some(held) = self.held.values_mut().find(|held| held.entry == *call) else { return };
        let Some(yes) = yes else {
            held.status = HeldStatus::Denied;
            self.denied.insert(digest.to_owned());
            return;
        };
        held.yes.push(yes);
        // Answers that are sealed side by side may be noted in another order than that of their entries.
        held.yes.sort_by_key(|yes| yes.seq);
        if held.status != HeldStatus::Waiting || held.yes.len() < usize::try_from(held.needs).unwrap_or(usize::MAX) {
            return;
        }
        held.status = HeldStatus::Approved;
        let until = held.yes.iter().map(|yes| yes.until).min().unwrap_or(Timestamp::MIN);
        let approved = Approved { entries: held.yes.iter().map(|yes| yes.entry).collect(), until };
        let grant = held.grant.clone();
        if let Some(state) = self.state_mut(&grant) {
            state.approved.insert(digest.to_owned(), approved);
        }
    }

    /// How many calls wait for an answer.
    pub fn waiting_calls(&self, now: Timestamp) -> usize {
        self.held.values().filter(|held| held.waits(now)).count() + self.holding.len()
    }

    /// A forwarded call ended; when it was certainly not sent, what it reserved is given back. What is unknown stays reserved until it is settled.
    pub fn end(&mut self, call: &Hash, sent: &str) {
        let Some(reserved) = self.reserved.remove(call) else { return };
        match sent {
            "no" => self.release(reserved),
            "maybe" => drop(self.unsettled.insert(*call, reserved)),
            _ => {}
        }
        if sent == "no" {
            self.asked.unmade(call);
        }
    }

    /// It is known now whether a call was executed whose outcome left it open. False when it was not open.
    pub fn settle(&mut self, call: &Hash, executed: bool) -> bool {
        let Some(reserved) = self.unsettled.remove(call) else { return false };
        if !executed {
            self.release(reserved);
        }
        true
    }
}

/// A recorded value as the judge reads it.
fn to_json(value: &Value) -> Option<Json> {
    Json::parse(value.to_string().as_bytes(), 64).ok()
}
