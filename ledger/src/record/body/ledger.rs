//! What the gateway records of the ledger itself, of the rules in force, and of who looked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Hash;

body! {
/// The gateway about the ledger itself. The first entry of a ledger is one, with the key its checkpoints are signed with.
Ledger is Ledger {
    /// `created`, `adopted`, `opened`, `closed`, `repaired`, `rotated`, `retired` or `clock_step`.
    event: String,
    /// Name and version of the software that writes.
    software: String,
    /// A C2SP verifier key of the checkpoints: the first one (`created`, `adopted`), one that signs beside another (`rotated`), one that signs no more (`retired`).
    #[serde(skip_serializing_if = "Option::is_none")]
    vkey: Option<String>,
    /// The verifier key beside which it comes (`rotated`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replaces: Option<String>,
    /// The signatures of both over that, base64: of `replaces`, then of `vkey` (`rotated`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signatures: Option<Vec<String>>,
    /// The checkpoint of the lost ledger, as its holder gave it (`adopted`).
    #[serde(skip_serializing_if = "Option::is_none")]
    adopts: Option<String>,
    /// By how many microseconds the clock went back (`clock_step`).
    #[serde(skip_serializing_if = "Option::is_none")]
    back_us: Option<u64>,
    /// What a person should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}
}

body! {
/// A catalogue, policy or configuration came into force. Its bytes are kept beside the ledger under their digest.
Policy is Policy {
    /// `catalogue`, `policy`, `configuration`, `certificates` or `issuer`, or `ceiling` and `ceiling-statement`.
    what: String,
    /// Its name (a catalogue's upstream).
    name: String,
    /// SHA-256 of its exact bytes.
    sha256: Hash,
    /// Length in bytes.
    size: u64,
    /// What it replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaces: Option<Hash>,
    /// Who put it in force.
    by: String,
}
}

/// An instruction that will get no more entries of the agent's making.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Total {
    /// The instruction.
    pub instruction: String,
    /// How many entries it has: its counter runs from 0 to this, less one.
    pub entries: u64,
}

/// What one agent called under one grant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Called {
    /// The agent's party id.
    pub agent: String,
    /// The grant.
    pub grant: String,
    /// How many calls were recorded.
    pub calls: u64,
}

body! {
/// So many calls, none left out.
Heartbeat is Heartbeat {
    /// Calls recorded since the last heartbeat, by verdict.
    calls: BTreeMap<String, u64>,
    /// Calls forwarded and not yet ended.
    open: u64,
    /// Instructions whose grants ended since the last heartbeat, with their totals.
    closed: Vec<Total>,
    /// Calls recorded since the last heartbeat, by agent and grant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    agents: Vec<Called>,
    /// The newest entry that was there when they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    head: Option<Hash>,
}
}

body! {
/// Somebody looked, or took a copy.
Access is Access {
    /// Who.
    by: String,
    /// `export`, `show` or `trace`.
    what: String,
    /// Of which instruction, call or window.
    of: String,
    /// The names of what was disclosed.
    disclosed: Vec<String>,
}
}
