//! Who somebody is, and which keys are theirs.

use serde_json::Value;

use crate::{Hash, passkey::Passkey};

body! {
/// Who somebody is.
Party is Party {
    /// The party's id, as other entries name it.
    party: String,
    /// `user`, `agent_developer`, `agent_operator`, `model_provider`, `platform`, `api_provider`, `host`, `agent`, `approver` or `investigator`.
    role: String,
    /// The name to show; a person's name stands in the vault instead (`sd.name`).
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// SHA-256 of the agent's release.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Hash>,
    /// Who says so.
    by: String,
}
}

body! {
/// A key registered, retired or revoked.
Key is Key {
    /// `registered`, `retired` or `revoked`.
    event: String,
    /// The key's RFC 7638 thumbprint.
    kid: String,
    /// Whose key it is.
    party: String,
    /// The public key (RFC 7517), on `registered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<Value>,
    /// How it signs, when it is a passkey's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    passkey: Option<Passkey>,
    /// Who vouches that the key is the party's: only the operator, or somebody outside.
    by: String,
}
}
