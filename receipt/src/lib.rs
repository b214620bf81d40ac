//! HTTP message signatures (RFC 9421) as the gateway signs its requests and an API its receipts. What gateway, API and verifier share.
//!
//! Absent on purpose: connections, bodies, clocks. A message is its parts; who calls hashes the content and says what time it is.
//!
//! # Reading order
//!
//! [`message`] is what can be signed of a request and of its answer; [`signature`] signs and reads signatures over it; [`request`] is what the gateway
//! adds to a request; [`execution`] and [`receipt`] are what an API adds to its answer; [`directory`] lists public keys.

pub mod message;

pub mod signature;

pub mod request;

pub mod execution;
pub mod receipt;

pub mod directory;

pub use self::{
    execution::Execution,
    message::{Answer, Asked, Message},
    receipt::{Receipt, Sent},
    signature::{Signature, Signer},
};

/// Names of header fields.
pub mod names {
    use http::HeaderName;

    /// The digest of the content (RFC 9530).
    pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
    /// The signatures of a message.
    pub const SIGNATURE: HeaderName = HeaderName::from_static("signature");
    /// What they cover.
    pub const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
    /// Who calls, and where the keys are listed.
    pub const SIGNATURE_AGENT: HeaderName = HeaderName::from_static("signature-agent");
    /// The ledger's entry of the call.
    pub const ENTRY: HeaderName = HeaderName::from_static("countersign-entry");
    /// A checkpoint of the ledger that covers the entry.
    pub const CHECKPOINT: HeaderName = HeaderName::from_static("countersign-checkpoint");
    /// The call's number among those forwarded to this API.
    pub const N: HeaderName = HeaderName::from_static("countersign-n");
    /// What the API says of the execution.
    pub const EXECUTION: HeaderName = HeaderName::from_static("countersign-execution");
}

/// `Content-Digest` of content with this SHA-256 (RFC 9530).
pub fn content_digest(sha256: &[u8]) -> String {
    format!("sha-256=:{}:", data_encoding::BASE64.encode(sha256))
}
