//! The finding that a ledger or bundle is signed with another key than the trusted one: it explains most others, so it stands first.

use crate::checkpoint::{Checkpoint, VerifierKey};

/// Its code.
pub(super) const CODE: &str = "key-not-trusted";

/// What it says: both keys, and what to do. `named` are the keys that the evidence names as its own; the newest checkpoint says which of them signed.
pub(super) fn what(head: Option<&Checkpoint>, named: &[VerifierKey], trust: &[VerifierKey]) -> String {
    let signer = head.and_then(|head| head.verify(named).ok()).map(std::slice::from_ref);
    format!(
        "the key that signed this is not the trusted one: it is signed with {}, and trusted is {}; ask the ledger's operator, by a way that you trust, whether the first is another key of this ledger that was made since: then trust that one too, else somebody else wrote or signed this",
        listed(signer.unwrap_or(named)),
        listed(trust),
    )
}

fn listed(keys: &[VerifierKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
    if keys.is_empty() { "a key that it does not name".to_owned() } else { keys.join(" or ") }
}
