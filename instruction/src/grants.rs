//! The grants of an instruction: the host's own, and those that agents cut from it for others; what was used of each.
//!
//! All are under the instruction's lock, so that what a call uses is reserved of its grant and of every grant above it in one step.

use std::collections::BTreeMap;

use countersign_authorize::{
    grant::{Grant, Usage, Used},
    verdict::{Above, Judgement},
};
use countersign_ledger::Hash;
use jiff::Timestamp;
use serde::Serialize;

use super::Inner;

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

    /// Whether it holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        !self.revoked && now < self.grant.expires
    }

    fn withdraw(&mut self) {
        self.revoked = true;
        self.approved.clear();
    }
}

/// A held call that as many approved as it needs, and that was not made yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// The approvals' entries, in order.
    pub entries: Vec<Hash>,
    /// When the first of them ends.
    pub until: Timestamp,
}

/// One approver's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yes {
    /// The approval's number in the ledger.
    pub seq: u64,
    /// Its entry.
    pub entry: Hash,
    /// Whose it is.
    pub approver: String,
    /// When it ends.
    pub until: Timestamp,
}

/// What a call reserved of one grant.
#[derive(Debug, Clone, PartialEq)]
pub struct Reserved {
    /// The grant.
    pub grant: String,
    /// Usage before the call.
    pub before: Usage,
    /// Usage after it.
    pub after: Usage,
}

/// What one call uses of one grant, until it is known whether it was executed.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    grant: Box<str>,
    used: Used,
}

impl Reserved {
    /// What must be known of it to give it back.
    pub fn taken(&self) -> Taken {
        Taken { grant: self.grant.as_str().into(), used: self.after.used_since(&self.before) }
    }
}

impl Inner {
    /// A grant by its id.
    pub fn state(&self, grant: &str) -> Option<&GrantState> {
        self.grant.as_ref().filter(|state| state.grant.id == grant).or_else(|| self.delegated.get(grant))
    }

    /// A grant by its id, to change it.
    pub fn state_mut(&mut self, grant: &str) -> Option<&mut GrantState> {
        match &mut self.grant {
            Some(state) if state.grant.id == grant => Some(state),
            _ => self.delegated.get_mut(grant),
        }
    }

    /// Takes the host's grant: a new one, or the same with more actions, of which what was used stays used. Of what waits for consent stays what `waits`.
    pub fn regrant(&mut self, grant: Grant, entry: Hash, waits: impl Fn(&String) -> bool) {
        self.pending.retain(|name, _| waits(name));
        match &mut self.grant {
            Some(state) if state.grant.id == grant.id => (state.grant, state.entry) = (grant, entry),
            other => *other = Some(GrantState::new(grant, entry)),
        }
    }

    /// A grant and those above it, up to the host's own. Empty when there is no such grant.
    pub fn line(&self, grant: &str) -> Vec<&GrantState> {
        let above = |state: &&GrantState| self.state(state.grant.from.as_deref()?);
        std::iter::successors(self.state(grant), above).collect()
    }

    /// The agents of a grant and of those above it.
    pub fn agents(&self, grant: &str) -> Vec<String> {
        self.line(grant).into_iter().map(|state| state.grant.agent.clone()).collect()
    }

    /// Whether a grant and all above it hold.
    pub fn grant_holds(&self, grant: &str, now: Timestamp) -> bool {
        let line = self.line(grant);
        !line.is_empty() && line.into_iter().all(|state| state.holds(now))
    }

    /// Whether a grant is this one or was cut from it.
    pub fn is_below(&self, grant: &str, above: &str) -> bool {
        self.line(grant).into_iter().any(|state| state.grant.id == above)
    }

    /// The grants above one, as the judge looks at them.
    pub fn above(&self, grant: &str) -> Vec<Above<'_>> {
        let line = self.line(grant).into_iter().skip(1);
        line.map(|state| Above { grant: &state.grant, usage: &state.usage }).collect()
    }

    /// Reserves what an allowed call uses of its grant and of those above it.
    pub fn reserve(&mut self, grant: &str, judgement: &Judgement) -> Vec<Reserved> {
        let ids: Vec<String> = self.line(grant).into_iter().map(|state| state.grant.id.clone()).collect();
        let mut reserved = Vec::new();
        for (id, after) in ids.into_iter().zip(judgement.usage.iter().chain(&judgement.above)) {
            let Some(state) = self.state_mut(&id) else { continue };
            let before = std::mem::replace(&mut state.usage, after.clone());
            reserved.push(Reserved { grant: id, before, after: after.clone() });
        }
        reserved
    }

    /// Gives back what a call reserved that was certainly not executed.
    pub fn release(&mut self, taken: impl IntoIterator<Item = Taken>) {
        for Taken { grant, used } in taken {
            if let Some(state) = self.state_mut(&grant) {
                state.usage = state.usage.release(&used);
            }
        }
    }

    /// Withdraws a grant and all that were cut from it.
    pub fn withdraw(&mut self, grant: &str) -> Vec<String> {
        let below: Vec<String> = self.delegated.keys().filter(|id| self.is_below(id, grant)).cloned().collect();
        let own = self.state(grant).map(|state| state.grant.id.clone());
        let all: Vec<String> =
            own.into_iter().filter(|own| !below.contains(own)).chain(below.iter().cloned()).collect();
        for id in &all {
            if let Some(state) = self.state_mut(id) {
                state.withdraw();
            }
        }
        all
    }

    /// Withdraws every grant of the instruction.
    pub fn revoke(&mut self) {
        self.grant.iter_mut().chain(self.delegated.values_mut()).for_each(GrantState::withdraw);
    }
}

/// What the vault keeps of the limits: what was used of a call's grants.
#[derive(Debug, Serialize)]
pub struct UsageOf<'a> {
    before: &'a Usage,
    after: Option<&'a Usage>,
    /// Of each grant above the call's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    above: Vec<OfAbove<'a>>,
}

#[derive(Debug, Serialize)]
struct OfAbove<'a> {
    grant: &'a str,
    before: &'a Usage,
    after: &'a Usage,
}

/// The usage of the call's own grant before and after, and of each grant above it.
pub fn budget<'a>(before: &'a Usage, after: Option<&'a Usage>, reserved: &'a [Reserved]) -> UsageOf<'a> {
    let above =
        reserved.iter().skip(1).map(|one| OfAbove { grant: &one.grant, before: &one.before, after: &one.after });
    UsageOf { before, after, above: above.collect() }
}
