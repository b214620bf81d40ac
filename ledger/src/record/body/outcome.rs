//! What became of a call: as the gateway saw it, as the API says, and as was found afterwards.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Hash,
    record::{Time, body::Check},
};

/// One time that a request was sent, before the last one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attempt {
    /// When it ended, in microseconds from sealed.
    pub us: u64,
    /// Whether it may have reached the API: `no`, `yes` or `maybe`.
    pub sent: String,
    /// The HTTP status that the API gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it was sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

body! {
/// How a forwarded call ended. In the vault: `request` (digest of what was sent), `response` (digest, media type, body where kept), `observed` (values by field).
Outcome is Outcome {
    /// The call's entry.
    call: Hash,
    /// Whose data the values are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// `completed`, `client_aborted`, `upstream_timeout`, `upstream_unreachable`, `upstream_truncated`, `response_cut`, `gateway_fault`, `revoked`, `shutdown` or `unknown`.
    result: String,
    /// The HTTP status the API gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Whether the request may have reached the API: `no`, `yes` or `maybe`.
    sent: String,
    /// The address, and for TLS the certificate's SHA-256, of who answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    /// Bytes of request body sent and of response body received.
    bytes: [u64; 2],
    /// Microseconds from sealed: connected and sent, first byte of the answer, end.
    us: BTreeMap<String, u64>,
    /// What a person should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Where the request was sent more than once: each time but the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attempts: Vec<Attempt>,
    /// The model that a model's answer names.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// How well a model's answer could be read: `whole`, `partial`, `unreadable` or `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// How many calls a model's answer proposes: so many decisions follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposals: Option<u64>,
    /// Where the API is to give receipts: `received`, or `missing` when none came with the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
}
}

body! {
/// What the API says it executed. In the vault: `receipt`.
Receipt is Receipt {
    /// The call's entry.
    call: Hash,
    /// Whose data the values are about.
    subject: String,
    /// The API provider's party id.
    api: String,
    /// What the gateway found when it checked the signature.
    check: Check,
    /// In what it differs from what the gateway saw: `request`, `response`, `status`; `unsigned` when it leaves out what it must cover.
    #[serde(skip_serializing_if = "Option::is_none")]
    differs: Option<Vec<String>>,
    /// Fetched afterwards, not with the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    late: bool,
}
}

body! {
/// What became of a call that was perhaps sent and whose outcome left it open. In the vault: `statement`.
Settlement is Settlement {
    /// The call's entry.
    call: Hash,
    /// Whose data the values are about.
    subject: String,
    /// Whether the API executed it; if not, what it had reserved is given back.
    executed: bool,
    /// What says so: `person`, `receipt` or `reconciliation`; the entry it rests on is among the parents.
    source: String,
    /// Who says so.
    by: String,
    /// Why, in words without personal data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The person's signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
}
}

body! {
/// What comparing with the API's own log gave: a summary of one run (with `counts`), and an entry for each call that is not plainly matched and each
/// line without a call. In the vault: `details`.
Reconciliation is Reconciliation {
    /// The run: the same in all of its entries.
    run: String,
    /// The upstream.
    upstream: String,
    /// Who compared.
    by: String,
    /// The call's entry; none in the summary and of a line without a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<Hash>,
    /// `not_seen`, `differs`, `twice`, `time` or `undetermined` of a call, `bypass` of a line without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<String>,
    /// The log's format (summary).
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    /// SHA-256 of the log (summary).
    #[serde(skip_serializing_if = "Option::is_none")]
    log_sha256: Option<Hash>,
    /// From when both were there (summary).
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Time>,
    /// Until when (summary).
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Time>,
    /// Lines and calls by result (summary).
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<BTreeMap<String, u64>>,
}
}
