//! Parties and their keys, what is revoked, and who may not be erased: small, not personal, in memory; kept with their entries.

use std::collections::{BTreeMap, BTreeSet};

use countersign_instruction::withdrawal;
use countersign_ledger::{
    Hash, Ledger,
    ledger::ReadError,
    passkey::{Passkey, Registered},
    record::StatePut,
    statement::Jwk,
};
use serde::{Deserialize, Serialize};

/// A registered key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Whose it is.
    pub party: String,
    /// The public key.
    pub jwk: Jwk,
    /// Whether it still counts.
    pub good: bool,
    /// The entry that registered it.
    pub entry: Hash,
    /// Who vouches for it.
    #[serde(default)]
    pub by: String,
    /// How it signs, when it is a passkey's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passkey: Option<Passkey>,
}

impl KeyRow {
    /// What a statement is checked against.
    pub fn registered(&self) -> Registered {
        Registered { jwk: self.jwk.clone(), passkey: self.passkey.clone() }
    }
}

/// An incident that is open: what must not be erased for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IncidentRow {
    /// The instructions in question.
    pub instructions: Vec<String>,
    /// The holds that it placed.
    pub holds: Vec<String>,
}

/// What is registered.
#[derive(Debug, Default)]
pub struct Registry {
    /// Role by party.
    pub parties: BTreeMap<String, String>,
    /// Keys by thumbprint.
    pub keys: BTreeMap<String, KeyRow>,
    /// What is revoked: `agent/<id>`, `subject/<id>`, `action/<name>`, `everything/`.
    pub revoked: BTreeSet<String>,
    /// Holds by id, with the data subject.
    pub holds: BTreeMap<String, String>,
    /// Open incidents.
    pub incidents: BTreeMap<String, IncidentRow>,
    /// The highest counter that each passkey's authenticator gave.
    pub counters: BTreeMap<String, u32>,
}

impl Registry {
    /// What the ledger holds.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn load(ledger: &Ledger) -> Result<Registry, ReadError> {
        let mut registry = Registry::default();
        for (key, value) in ledger.state(b"registry/")? {
            let (key, value) =
                (String::from_utf8_lossy(&key).into_owned(), String::from_utf8_lossy(&value).into_owned());
            let mut parts = key.splitn(3, '/').skip(1);
            match (parts.next(), parts.next()) {
                (Some("party"), Some(id)) => drop(registry.parties.insert(id.to_owned(), value)),
                (Some("key"), Some(id)) => {
                    registry.keys.extend(serde_json::from_str(&value).ok().map(|row: KeyRow| (id.to_owned(), row)));
                }
                (Some("revoked"), Some(what)) => drop(registry.revoked.insert(what.to_owned())),
                (Some("incident"), Some(id)) => {
                    registry.incidents.extend(serde_json::from_str(&value).ok().map(|row| (id.to_owned(), row)));
                }
                (Some("counter"), Some(id)) => {
                    registry.counters.extend(value.parse().ok().map(|counter| (id.to_owned(), counter)));
                }
                (Some("hold"), Some(id)) => drop(registry.holds.insert(id.to_owned(), value)),
                _ => {}
            }
        }
        Ok(registry)
    }

    /// The state that keeps a row.
    pub fn put(what: &str, id: &str, value: Option<String>) -> StatePut {
        StatePut { key: format!("registry/{what}/{id}").into_bytes(), value: value.map(String::into_bytes) }
    }

    /// The key of that thumbprint, if it counts.
    pub fn key(&self, kid: &str) -> Option<&KeyRow> {
        self.keys.get(kid).filter(|row| row.good)
    }

    /// The key of that thumbprint, if it counts and signs JWS.
    pub fn signer(&self, kid: &str) -> Option<&KeyRow> {
        self.key(kid).filter(|row| row.passkey.is_none())
    }

    /// The passkey with this credential, if it counts: its thumbprint and the rest.
    pub fn passkey(&self, origin: &str, credential: &str) -> Option<(&String, &KeyRow)> {
        let is_it = |row: &KeyRow| {
            row.good && row.passkey.as_ref().is_some_and(|key| key.origin == origin && key.credential == credential)
        };
        self.keys.iter().find(|(_, row)| is_it(row))
    }

    /// What withdraws a call of these agents (its own, and those whose grants its grant was cut from), if anything does.
    pub fn revocation(&self, agents: &[String], subject: &str, action: Option<&str>) -> Option<String> {
        withdrawal(&self.revoked, agents, subject, action)
    }

    /// Whether a data subject must not be erased.
    pub fn is_held(&self, subject: &str) -> bool {
        self.holds.values().any(|held| held == subject)
    }
}
