//! Claims of harm, and whether what is kept may be erased.

use crate::{Hash, record::body::Check};

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
