//! The typed bodies, one per kind, each in the file of its theme. Each keeps the fields it does not know in `extra`.
//!
//! What could be guessed back (words, arguments, bodies, digests of either, foreign signatures) stands in the vault;
//! a body holds its digest in `sd` under the name given in its text.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Kind;

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
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            /// Commitments to what the vault holds.
            #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            pub sd: $crate::disclosure::Commitments,
            /// The version and the fields of later versions.
            #[serde(flatten)]
            pub extra: serde_json::Map<String, serde_json::Value>,
        }
        impl $crate::record::body::Body for $name {
            const KIND: $crate::Kind = $crate::Kind::$kind;
        }
    };
}

// Behind the macro, which they use.
mod agent;
mod call;
mod dispute;
mod grant;
mod ledger;
mod outcome;
mod party;

pub use self::{
    agent::{Answer, Decision},
    call::{Approval, Call, Prompt, Reason, Results},
    dispute::{Erasure, Hold, Incident},
    grant::{Delegation, Grant, Instruction, Revocation, Ungranted, Withheld},
    ledger::{Access, Called, Heartbeat, Ledger, Policy, Total},
    outcome::{Attempt, Outcome, Receipt, Reconciliation, Settlement},
    party::{Key, Party},
};

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
