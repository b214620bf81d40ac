//! An attempt with its verdict, and a person's answer to one that is held.

use serde::{Deserialize, Serialize};

use crate::{
    Hash,
    record::{Time, body::Check},
};

/// One reason for a verdict, without the values it looked at.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reason {
    /// A stable code.
    pub code: String,
    /// The argument it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
}

/// How a prompt compares with what was observed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Prompt {
    /// The user's words in it: `present`, `altered` or `absent`.
    pub words: String,
    /// The results of tools in it.
    pub results: Results,
}

/// How many results of tools are what the APIs answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Results {
    /// They are.
    pub faithful: u64,
    /// They say something else.
    pub altered: u64,
    /// It cannot be told.
    pub unknown: u64,
}

body! {
/// The attempt. In the vault: `request` (normalised, with the body's digest), `arguments`, `provenance`, `budget` (before and after), `digest` (what an approval names), `messages`, `prompt`, `prompt_body`, `proof` (of the agent's key).
Call is Call {
    /// The call's id, shown to the agent.
    call: String,
    /// The grant, where the token named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    /// Whose data the values are about, where the grant says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The agent's party id, as far as the credential says.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// What kind of credential was shown: `bearer` or `dpop`, in front of it `oauth+` where an outside issuer made the token, behind it `+mtls` beside a client certificate of the agent; or `none`.
    credential: String,
    /// The outside issuer of the token, where it is not the gateway's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// The thumbprint of the key that the agent proved to hold (`dpop`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    /// The upstream's name.
    upstream: String,
    /// The action, where the catalogue knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    /// `read`, `write` or `irreversible`.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<String>,
    /// `allow`, `hold` or `deny`.
    verdict: String,
    /// Why.
    reasons: Vec<Reason>,
    /// The rules that decided.
    rules: Vec<String>,
    /// Name and version of the engine that judged.
    engine: String,
    /// Digests of catalogue and policies that were in force.
    policies: Vec<Hash>,
    /// The time that the verdict was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    judged: Option<Time>,
    /// Recorded, but not enforced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    shadow: bool,
    /// The id of the held call that this one asks again; it waits, and this one does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    repeats: Option<String>,
    /// Until when a held call waits for its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Time>,
    /// How many approvers must say yes to a held call, when it is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needs: Option<u32>,
    /// The approval that made a held call an allowed one; of several the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<Hash>,
    /// All of them, when more than one was needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    approvals: Vec<Hash>,
    /// Dense counter of what is forwarded to this upstream, from 0; only for calls that are forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_n: Option<u64>,
    /// The W3C trace context as the agent sent it.
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    /// `ext_authz` when another proxy asked for the verdict and forwards itself what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    /// Where a model is asked: what it is told, compared with what was observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<Prompt>,
}
}

body! {
/// A human's answer to one exact held call. In the vault: `digest` (of that call), `statement`, `shown`.
Approval is Approval {
    /// The held call's entry.
    call: Hash,
    /// Whose data the values are about.
    subject: String,
    /// The approver's party id.
    approver: String,
    /// `approved` or `denied`.
    decision: String,
    /// When the call was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<Time>,
    /// From shown to answered, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<u64>,
    /// When the approval begins to hold no longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Time>,
    /// What the held call was judged by, as the approver signed it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Hash>,
    /// The approver's signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}
}
