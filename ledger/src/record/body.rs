//! The typed bodies, one per kind. Each keeps the fields it does not know in `extra`.
//!
//! What could be guessed back (words, arguments, bodies, digests of either, foreign signatures) stands in the vault;
//! a body holds its digest in `sd` under the name given in each field's text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Kind, Time};
use crate::{Hash, disclosure::Commitments, passkey::Passkey};

/// A body of a known kind.
pub trait Body: Serialize + DeserializeOwned {
    /// The kind it belongs to.
    const KIND: Kind;
    /// The version of the body's format, its member `v`.
    const VERSION: u32 = 1;
}

/// Declares a body: the fields as written, the version, the commitments where there are any, and room for later fields.
macro_rules! body {
    ($(#[$doc:meta])* $name:ident is $kind:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            /// Commitments to what the vault holds.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            pub sd: Commitments,
            /// The version and the fields of later versions.
            #[serde(flatten)]
            pub extra: Map<String, Value>,
        }
        impl Body for $name {
            const KIND: Kind = Kind::$kind;
        }
    };
}

/// What the gateway found when it checked a party's signature over its own statement.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Check {
    /// `EdDSA` or `ES256`, as in the statement's header; `webauthn` for a passkey's assertion.
    pub alg: String,
    /// The key's RFC 7638 thumbprint.
    pub kid: String,
    /// `valid`, `invalid` or `unknown_key`.
    pub result: String,
    /// The party the key was registered for at that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub party: Option<String>,
}

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

body! {
/// A catalogue, policy or configuration came into force. Its bytes are kept beside the ledger under their digest.
Policy is Policy {
    /// `catalogue`, `policy`, `configuration` or `certificates`, or `ceiling` and `ceiling-statement`.
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
/// The agent's choice. In the vault: `arguments`, `reason`, `prompt`, `statement`.
Decision is Decision {
    /// The grant it is made under.
    grant: String,
    /// Whose data the values are about.
    subject: String,
    /// `agent` (its own statement) or `gateway` (seen in the model's response).
    source: String,
    /// The agent's party id.
    agent: String,
    /// The agent's count of its decisions under this grant, from 0 and dense.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    /// The action chosen; of a tool that is no action of a catalogue, the tool's name.
    action: String,
    /// The upstream of the action, where a tool is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,
    /// The model named.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    /// The tool that the model called.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    /// The id that the model gave its call of the tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<String>,
    /// The agent's signature, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
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
/// What the agent told the user. In the vault: `text`, `statement`.
Answer is Answer {
    /// The grant it was made under.
    grant: String,
    /// Whose data the values are about.
    subject: String,
    /// The agent's party id.
    agent: String,
    /// The agent's count of its answers under this grant, from 0 and dense.
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    /// How many decisions the agent stated under this grant before.
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<u64>,
    /// The agent's signature, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
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

body! {
/// Erasure forbidden, or allowed again.
Hold is Hold {
    /// The hold's id.
    hold: String,
    /// `placed` or `released`.
    event: String,
    /// The data subject.
    subject: String,
    /// Who.
    by: String,
    /// Why, in words without personal data.
    reason: String,
}
}

body! {
/// A subject's data key destroyed.
Erasure is Erasure {
    /// The data subject: the random id is all that is left.
    subject: String,
    /// The two who signed for it.
    by: Vec<String>,
    /// Their statements (JWS over subject and origin).
    statements: Vec<String>,
    /// What the gateway found when it checked them.
    checks: Vec<Check>,
    /// Why, in words without personal data.
    reason: String,
}
}

body! {
/// A claim of harm. In the vault: `claim`.
Incident is Incident {
    /// The incident's id.
    incident: String,
    /// `opened` or `closed`.
    event: String,
    /// The calls in question.
    calls: Vec<Hash>,
    /// Who opened it.
    by: String,
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
