//! What a language model was asked and what it proposed under an instruction: which prompts the vault has already, what APIs answered, and which
//! proposals no call was made of yet.

use std::collections::{BTreeMap, BTreeSet};

use countersign_authorize::{
    Json,
    catalogue::Action,
    model::{
        compare::{Observed, Words},
        heard::Heard,
        tools,
    },
};
use countersign_ledger::{Entry, Hash, record::body};
use serde_json::Value;

use crate::Values;

/// The most parts of prompts that are remembered as kept; a further one is kept again.
const MAX_PARTS: usize = 16_384;

/// The most proposals of an instruction; further ones stand in the ledger, but no call is linked to them.
const MAX_PROPOSALS: usize = 4096;

/// What a model was asked and proposed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// What APIs answered.
    pub heard: Heard,
    /// SHA-256 of the parts of prompts that the vault has, in hexadecimal digits.
    kept: BTreeSet<String>,
    proposals: Vec<Proposal>,
    /// The calls that were made of proposals, by the id that the model gave; none when an id was used twice.
    made: BTreeMap<String, Option<String>>,
    /// How the user's words stood in prompts, by the id of the answer.
    earlier: BTreeMap<String, Words>,
    /// The same of prompts that are not answered yet, by the call.
    open: BTreeMap<Hash, Words>,
}

/// What was observed under an instruction that a prompt can be compared with.
#[derive(Debug)]
pub struct Known {
    heard: Heard,
    made: BTreeMap<String, String>,
    earlier: BTreeMap<String, Words>,
}

impl Known {
    /// With the user's words and what they attached.
    pub fn observed<'a>(&'a self, words: &'a str, attached: &'a [String]) -> Observed<'a> {
        Observed { words, attached, heard: &self.heard, made: &self.made, earlier: &self.earlier }
    }
}

/// A call that the model proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// The decision's entry.
    pub entry: Hash,
    /// The id that the model gave it.
    pub id: String,
    /// Upstream and action, where the tool is one.
    pub action: Option<(String, String)>,
    /// Its arguments by the names of the catalogue.
    pub arguments: BTreeMap<String, Json>,
    /// The newest call that was made of it.
    call: Option<Hash>,
    /// Whether a call of it was forwarded, and with which `Idempotency-Key`: with the same key it may be made again.
    used: Option<Option<Hash>>,
}

impl Proposal {
    /// A proposal that no call was made of.
    pub fn new(entry: Hash, id: &str, action: Option<(String, String)>, arguments: BTreeMap<String, Json>) -> Proposal {
        Proposal { entry, id: id.to_owned(), action, arguments, call: None, used: None }
    }
}

impl Asked {
    /// What of it counts under an instruction that follows this one up: what was heard, not what is open.
    #[must_use]
    pub fn followed(&self) -> Asked {
        let Asked { heard, made, earlier, .. } = self.clone();
        Asked { heard, made, earlier, ..Asked::default() }
    }

    /// What a prompt is compared with, apart from the instruction itself; so that comparing locks nobody out.
    pub fn known(&self) -> Known {
        let made = self.made.iter().filter_map(|(id, call)| Some((id.clone(), call.clone()?))).collect();
        Known { heard: self.heard.clone(), made, earlier: self.earlier.clone() }
    }

    /// Whether the vault has this part of a prompt under the instruction.
    pub fn has_part(&self, sha256: &str) -> bool {
        self.kept.contains(sha256)
    }

    /// A prompt is on record, with these parts of it. When it was forwarded, its words wait for the answer's id.
    pub fn asks(&mut self, call: Hash, forwarded: Option<Words>, parts: impl IntoIterator<Item = String>) {
        self.open.extend(forwarded.map(|words| (call, words)));
        for part in parts {
            if self.kept.len() < MAX_PARTS {
                self.kept.insert(part);
            }
        }
    }

    /// The answer to a prompt came, with this id.
    pub fn answers(&mut self, call: &Hash, id: Option<&str>) {
        if let Some((words, id)) = self.open.remove(call).zip(id).filter(|_| self.earlier.len() < MAX_PROPOSALS) {
            self.earlier.insert(id.to_owned(), words);
        }
    }

    /// A proposal is on record.
    pub fn propose(&mut self, proposal: Proposal) {
        if self.proposals.len() < MAX_PROPOSALS {
            self.proposals.push(proposal);
        }
    }

    /// The decision that a call follows from: a proposal with this action and these arguments of which no call was made, or this very call.
    pub fn fitting(
        &self,
        upstream: &str,
        action: &Action,
        arguments: &BTreeMap<String, Json>,
        key: Option<Hash>,
    ) -> Option<Hash> {
        let mut fitting = self.proposals.iter().filter(|proposal| {
            let named = proposal.action.as_ref().map(|(upstream, action)| (upstream.as_str(), action.as_str()));
            named == Some((upstream, action.name.as_str())) && tools::fits(action, &proposal.arguments, arguments)
        });
        let again = fitting.clone().find(|proposal| key.is_some() && proposal.used == Some(key));
        again.or_else(|| fitting.find(|proposal| proposal.used.is_none())).map(|proposal| proposal.entry)
    }

    /// A call of a proposal is about to be forwarded: no other call is made of it. Whether it is the first.
    pub fn take(&mut self, entry: &Hash, key: Option<Hash>) -> bool {
        let proposal = self.proposals.iter_mut().find(|proposal| proposal.entry == *entry);
        let Some(proposal) = proposal.filter(|proposal| proposal.used.is_none()) else { return false };
        proposal.used = Some(key);
        true
    }

    /// The call was not recorded, so none was made.
    pub fn give_back(&mut self, entry: &Hash) {
        let proposal = self.proposals.iter_mut().find(|proposal| proposal.entry == *entry);
        proposal.into_iter().for_each(|proposal| proposal.used = None);
    }

    /// A call is on record, of these parents. `forwarded` has its `Idempotency-Key`, if it was forwarded.
    pub fn made(&mut self, parents: &[Hash], call: Hash, forwarded: Option<Option<Hash>>) {
        for proposal in self.proposals.iter_mut().filter(|proposal| parents.contains(&proposal.entry)) {
            let before = proposal.call.replace(call).map(|call| call.to_string());
            proposal.used = proposal.used.or(forwarded);
            let newest = Some(call.to_string());
            self.made
                .entry(proposal.id.clone())
                .and_modify(|known| *known = newest.clone().filter(|_| *known == before))
                .or_insert(newest.clone());
        }
    }

    /// A call was certainly not sent: its proposal is open again.
    pub fn unmade(&mut self, call: &Hash) {
        self.proposals
            .iter_mut()
            .filter(|proposal| proposal.call == Some(*call))
            .for_each(|proposal| proposal.used = None);
    }

    /// About how many bytes of memory all of it takes.
    pub(crate) fn memory(&self) -> usize {
        let arguments = self.proposals.iter().flat_map(|proposal| proposal.arguments.values());
        let proposals =
            self.proposals.len() * 384 + arguments.map(|value| 128 + value.to_text().len() * 4).sum::<usize>();
        let remembered = self.kept.len() * 96 + (self.made.len() + self.earlier.len() + self.open.len()) * 192;
        self.heard.memory() + proposals + remembered
    }

    pub(crate) fn fold_decision(&mut self, entry: &Entry, hash: Hash, values: &Values<'_>) {
        let Ok(decision) = entry.body_as::<body::Decision>() else { return };
        // Larger than an entry may be: no call could be it.
        let Some(members) = values.get("arguments").and_then(Value::as_object) else { return };
        let json = |value: &Value| Json::parse_response(value.to_string().as_bytes(), 128).ok();
        let arguments = members.iter().filter_map(|(name, value)| Some((name.clone(), json(value)?))).collect();
        let action = decision.upstream.map(|upstream| (upstream, decision.action));
        self.propose(Proposal::new(hash, &decision.proposal.unwrap_or_default(), action, arguments));
    }

    pub(crate) fn fold_prompt(&mut self, call: Hash, words: Option<&str>, values: &Values<'_>) {
        let words = words.map(|words| match words {
            "present" => Words::Present,
            "altered" => Words::Altered,
            _ => Words::Absent,
        });
        let parts = values.get("prompt_body").and_then(|body| body.get("parts")?.as_array());
        let kept = parts.into_iter().flatten().filter(|part| part.get("body").is_some());
        let kept = kept.filter_map(|part| Some(part.get("sha256")?.as_str()?.to_owned()));
        self.asks(call, words, kept);
    }

    pub(crate) fn fold_answer(&mut self, call: &Hash, values: &Values<'_>) {
        let answer = values.get("response").and_then(|response| response.get("answer"));
        self.answers(call, answer.and_then(|answer| answer.get("id")?.as_str()));
    }
}
