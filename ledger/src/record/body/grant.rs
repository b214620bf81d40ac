//! What the user said, and what was granted, handed on and withdrawn.

use serde::{Deserialize, Serialize};

use crate::{
    Hash,
    record::{Time, body::Check},
};

/// Why no grant came of an instruction.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ungranted {
    /// `unreachable`, `timeout`, `status`, `oversize`, `malformed`, `refused` or `unusable`: what became of the request for a proposal.
    pub reason: String,
    /// The model that was asked.
    pub model: String,
}

body! {
/// The user's words. In the vault: `words`, `attached`, `principal`, `purpose`, `requested` (the scope asked for), `statement` (the principal's JWS), and with
/// `ungranted` `proposal` (what came, as far as anything did).
Instruction is Instruction {
    /// The data subject: a random id, the principal's name stands in the vault.
    subject: String,
    /// Who attests the words: `user_key`, `identity_provider` or `host` (weakest).
    attested_by: String,
    /// The host application's party id.
    host: String,
    /// The agent's party id.
    agent: String,
    /// The instruction this one amends.
    #[serde(skip_serializing_if = "Option::is_none")]
    amends: Option<String>,
    /// The principal's signature, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
    /// Why no grant follows: a model was to propose a scope, and did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ungranted: Option<Ungranted>,
}
}

/// Something asked for and not granted.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Withheld {
    /// The action asked for.
    pub action: String,
    /// Why it is not in the grant.
    pub reason: String,
}

body! {
/// The closed scope. In the vault: `grant` (the whole scope with constraints and limits), `pending` (what waits for consent), `proposal`, `statement` (the principal's consent).
Grant is Grant {
    /// The grant's id.
    grant: String,
    /// Whose data the grant is about.
    subject: String,
    /// The agent's party id.
    agent: String,
    /// The actions granted, by name.
    actions: Vec<String>,
    /// What was asked for and withheld, and why.
    withheld: Vec<Withheld>,
    /// When the grant begins to hold no longer.
    expires: Option<Time>,
    /// Digests of the catalogues it was made from.
    catalogues: Vec<Hash>,
    /// The model that proposed it, where the host gave no scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proposed_by: Option<String>,
    /// Who consented to what waited, `host` or `user_key`: the same grant with more actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consent: Option<String>,
    /// The principal's signature under the consent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}
}

body! {
/// A narrower grant for a sub-agent. In the vault: `grant`, `statement` (the delegating agent's JWS).
Delegation is Delegation {
    /// The new grant's id.
    grant: String,
    /// The grant it was cut from.
    from: String,
    /// Whose data the grant is about.
    subject: String,
    /// The sub-agent's party id.
    agent: String,
    /// The actions granted, by name.
    actions: Vec<String>,
    /// When it begins to hold no longer.
    expires: Option<Time>,
    /// How many delegations lie between it and the host's grant, itself counted: from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    depth: Option<u64>,
    /// The delegating agent's signature, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}
}

body! {
/// Something withdrawn, or allowed again.
Revocation is Revocation {
    /// `grant`, `agent`, `subject`, `action` or `everything`.
    what: String,
    /// Its id; empty for `everything`.
    id: String,
    /// Allowed again: what was withdrawn before is no longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    lifted: bool,
    /// Who withdrew it.
    by: String,
    /// Why.
    reason: String,
}
}
