//! What an entry is: the envelope, the kinds, and the typed bodies (`docs/format.md` §2 and §3).
//!
//! An entry is one JSON object in canonical form. [`Entry`] reads the envelope and keeps the body as it stands, so that kinds
//! and fields of later versions survive; [`Entry::body_as`] gives the typed body of a known kind.

pub mod body;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    Hash,
    batch::Attachments,
    canonical::{self, CanonicalError, Members},
    disclosure::Commitments,
};

/// The version of the envelope.
pub const FORMAT_VERSION: u32 = 1;

/// The largest entry, in bytes: the length prefix of a C2SP entry bundle has 16 bits.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// What an entry records. Kinds of later versions are kept by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The gateway about the ledger itself: made, adopted, opened, closed, a clock that stepped back.
    Ledger,
    /// Who somebody is, and in which role.
    Party,
    /// A key registered, retired or revoked.
    Key,
    /// A catalogue or policy came into force.
    Policy,
    /// The user's words.
    Instruction,
    /// The closed scope made of an instruction.
    Grant,
    /// A narrower grant for a sub-agent.
    Delegation,
    /// The agent's choice.
    Decision,
    /// A human's yes or no to one exact call.
    Approval,
    /// The attempt to call an API, with the verdict.
    Call,
    /// How a forwarded call ended.
    Outcome,
    /// What the API says it executed.
    Receipt,
    /// What the agent told the user.
    Answer,
    /// A grant, agent, principal or action withdrawn.
    Revocation,
    /// Erasure forbidden for a subject, or allowed again.
    Hold,
    /// A subject's data key destroyed.
    Erasure,
    /// A claim of harm opened.
    Incident,
    /// Somebody looked.
    Access,
    /// "So many calls, none left out", at a fixed interval.
    Heartbeat,
    /// What became of a call whose outcome left that open.
    Settlement,
    /// The API's own log compared with the ledger.
    Reconciliation,
    /// A kind this version does not know.
    Other(String),
}

const KINDS: [(Kind, &str); 21] = [
    (Kind::Ledger, "ledger"),
    (Kind::Party, "party"),
    (Kind::Key, "key"),
    (Kind::Policy, "policy"),
    (Kind::Instruction, "instruction"),
    (Kind::Grant, "grant"),
    (Kind::Delegation, "delegation"),
    (Kind::Decision, "decision"),
    (Kind::Approval, "approval"),
    (Kind::Call, "call"),
    (Kind::Outcome, "outcome"),
    (Kind::Receipt, "receipt"),
    (Kind::Answer, "answer"),
    (Kind::Revocation, "revocation"),
    (Kind::Hold, "hold"),
    (Kind::Erasure, "erasure"),
    (Kind::Incident, "incident"),
    (Kind::Access, "access"),
    (Kind::Heartbeat, "heartbeat"),
    (Kind::Settlement, "settlement"),
    (Kind::Reconciliation, "reconciliation"),
];

impl Kind {
    /// All kinds of this version, in the order of a call's way.
    pub fn all() -> impl Iterator<Item = Kind> {
        KINDS.iter().map(|(kind, _)| kind.clone())
    }

    /// The name as it stands in an entry.
    pub fn as_str(&self) -> &str {
        match self {
            Kind::Other(name) => name,
            known => KINDS.iter().find(|(kind, _)| kind == known).map_or("", |(_, name)| name),
        }
    }
}

impl From<&str> for Kind {
    fn from(name: &str) -> Kind {
        KINDS
            .iter()
            .find(|(_, known)| *known == name)
            .map_or_else(|| Kind::Other(name.to_owned()), |(kind, _)| kind.clone())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        Ok(Kind::from(String::deserialize(deserializer)?.as_str()))
    }
}

/// A time in an entry: RFC 3339, UTC, always six digits of microseconds, so that one instant has one spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Timestamp);

impl Time {
    /// The instant, cut to microseconds.
    pub fn new(instant: Timestamp) -> Time {
        Time(Timestamp::from_microsecond(instant.as_microsecond()).unwrap_or(instant))
    }

    /// The instant.
    pub const fn instant(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        let instant = text.parse::<Timestamp>().map_err(serde::de::Error::custom)?;
        let time = Time::new(instant);
        if time.to_string() == text {
            Ok(time)
        } else {
            Err(serde::de::Error::custom(format!("the time `{text}` is not in the form `2026-01-31T12:00:00.000000Z`")))
        }
    }
}

/// One entry: the envelope typed, the body as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Format version of the envelope.
    pub v: u32,
    /// The ledger's name.
    pub origin: String,
    /// Dense, from 0.
    pub seq: u64,
    /// SHA-256 of the previous entry's bytes; zero for the first.
    pub prev: Hash,
    /// When the gateway numbered the entry; never before the previous entry's time.
    pub time: Time,
    /// What is recorded.
    pub kind: Kind,
    /// Hashes of the entries that caused this one.
    pub parents: Vec<Hash>,
    /// The instruction this belongs to, if any.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub instruction: Option<String>,
    /// Dense counter within the instruction, from 0.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// What is recorded, by kind; has a `v` of its own.
    pub body: Map<String, Value>,
    /// Envelope fields of later versions.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An optional member is left out, never `null`: one entry has one spelling.
fn there<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Why bytes are not an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Longer than [`MAX_ENTRY_BYTES`].
    #[error("the entry has {0} bytes, more than 65535; put long values into the vault")]
    TooLong(usize),
    /// Not JSON, or the envelope's fields are missing or of the wrong form.
    #[error("not an entry: {0}")]
    Envelope(#[from] serde_json::Error),
    /// JSON, but not in canonical form.
    #[error("the entry is not in canonical form (RFC 8785)")]
    NotCanonical,
    /// Cannot be written.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The body is not what the kind says.
    #[error("the body is not that of kind `{kind}`: {source}")]
    Body {
        /// The entry's kind.
        kind: Kind,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Entry {
    /// Reads an entry and checks that its bytes are canonical.
    ///
    /// # Errors
    /// [`EntryError`]; unknown kinds and fields are no error.
    pub fn parse(bytes: &[u8]) -> Result<Entry, EntryError> {
        if bytes.len() > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLong(bytes.len()));
        }
        let value: Value = serde_json::from_slice(bytes)?;
        if canonical::to_vec(&value)? != bytes {
            return Err(EntryError::NotCanonical);
        }
        Ok(serde_json::from_value(value)?)
    }

    /// The canonical bytes: what is hashed and stored.
    ///
    /// # Errors
    /// [`EntryError::Canonical`] on a number without canonical form, [`EntryError::TooLong`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, EntryError> {
        let bytes = canonical::to_vec(self)?;
        if bytes.len() > MAX_ENTRY_BYTES { Err(EntryError::TooLong(bytes.len())) } else { Ok(bytes) }
    }

    /// The typed body.
    ///
    /// # Errors
    /// [`EntryError::Body`] when the body lacks what `B` needs; fields unknown to `B` are kept in its `extra`.
    pub fn body_as<B: DeserializeOwned>(&self) -> Result<B, EntryError> {
        B::deserialize(&self.body).map_err(|source| EntryError::Body { kind: self.kind.clone(), source })
    }

    /// The digests of the values that this entry commits to but does not show.
    pub fn commitments(&self) -> Commitments {
        self.body.get("sd").and_then(|sd| serde_json::from_value(sd.clone()).ok()).unwrap_or_default()
    }

    /// A text member of the body.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body.get(name).and_then(Value::as_str)
    }
}

/// An encrypted disclosure on its way into the vault, beside the entry that commits to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The data subject whose data key encrypts it.
    pub subject: String,
    /// The key in the entry's `sd`.
    pub name: String,
    /// Nonce and ciphertext of the disclosure's text.
    pub sealed: Vec<u8>,
}

/// A value to be stored with an entry in the same atomic batch (grant usage, open calls): `None` removes the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePut {
    /// The key, at most 128 bytes.
    pub key: Vec<u8>,
    /// The value, at most 4,000 bytes, encrypted if it holds anything about a person.
    pub value: Option<Vec<u8>>,
}

/// What a caller wants recorded; the writer adds number, chain link, time and counter.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What is recorded.
    pub kind: Kind,
    /// Hashes of the entries that caused it.
    pub parents: Vec<Hash>,
    /// The instruction it belongs to.
    pub instruction: Option<String>,
    /// The body, with its `v`, without its commitments.
    pub body: Members,
    /// The body's `sd`: the digests of what is disclosed.
    pub commitments: Members,
    /// Encrypted disclosures for the vault.
    pub attachments: Attachments,
    /// State that becomes durable together with the entry.
    pub state: Vec<StatePut>,
}

impl Draft {
    /// A draft of `body`'s kind.
    ///
    /// # Errors
    /// [`EntryError::Canonical`] when the body holds a number without canonical form.
    pub fn new<B: body::Body>(body: &B) -> Result<Draft, EntryError> {
        let mut members = Members::of(body)?;
        members.set("v", &B::VERSION)?;
        Ok(Draft::of(B::KIND, members))
    }

    /// A draft of this kind with nothing but its body.
    pub fn of(kind: Kind, body: Members) -> Draft {
        Draft {
            kind,
            parents: Vec::new(),
            instruction: None,
            body,
            commitments: Members::default(),
            attachments: Attachments::default(),
            state: Vec::new(),
        }
    }

    /// Places the draft in an instruction's counter.
    #[must_use]
    pub fn of_instruction(mut self, id: impl Into<String>) -> Draft {
        self.instruction = Some(id.into());
        self
    }

    /// Names the entries that caused it.
    #[must_use]
    pub fn caused_by(mut self, parents: impl IntoIterator<Item = Hash>) -> Draft {
        self.parents.extend(parents);
        self
    }
}

#[cfg(test)]
mod tests;
