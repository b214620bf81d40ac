//! Who may erase a data subject: two different signers, and no hold.
//!
//! The `erasure` entry is sealed first, then the data key is destroyed. A crash in between is made good when the gateway
//! opens: a subject that an entry calls erased, and whose key is still there, is erased then.

use serde::{Deserialize, Serialize};

use crate::{
    record::body::Check,
    statement::{Jwk, Statement, StatementError},
};

/// The type of a signer's statement.
pub const TYP: &str = "countersign-erasure+jwt";

/// What each signer states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureStatement {
    /// The ledger.
    pub origin: String,
    /// The data subject.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// Why an erasure is refused. Nothing was erased.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErasureError {
    /// A hold is in force.
    #[error("subject `{0}` is under a hold; the hold must be released first")]
    Hold(String),
    /// Not two.
    #[error("an erasure needs the statements of two signers, not {0}")]
    Count(usize),
    /// A statement that does not count.
    #[error("statement {number}: {source}")]
    Statement {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        source: StatementError,
    },
    /// A key that is not registered.
    #[error("statement {number} is signed with the key `{kid}`, which is not registered for an approver or operator")]
    UnknownKey {
        /// Which, from 1.
        number: usize,
        /// The key.
        kid: String,
    },
    /// About something else.
    #[error("statement {number} is about subject `{subject}` of ledger `{origin}`, with the reason `{reason}`")]
    Other {
        /// Which, from 1.
        number: usize,
        /// What it says.
        subject: String,
        /// What it says.
        origin: String,
        /// What it says.
        reason: String,
    },
    /// One signer twice.
    #[error("both statements are `{0}`'s; two different signers must agree")]
    SameSigner(String),
}

/// Checks the statements; gives the signers and what was found.
///
/// # Errors
/// [`ErasureError`].
pub fn authorise(
    wanted: &ErasureStatement,
    statements: &[String],
    under_hold: bool,
    key: impl Fn(&str) -> Option<(String, Jwk)>,
) -> Result<(Vec<String>, Vec<Check>), ErasureError> {
    if under_hold {
        return Err(ErasureError::Hold(wanted.subject.clone()));
    }
    if statements.len() != 2 {
        return Err(ErasureError::Count(statements.len()));
    }
    let (mut parties, mut checks) = (Vec::new(), Vec::new());
    for (number, text) in (1..).zip(statements) {
        let fail = |source| ErasureError::Statement { number, source };
        let statement = Statement::parse(text).map_err(fail)?;
        let unknown = || ErasureError::UnknownKey { number, kid: statement.kid().to_owned() };
        let (party, jwk) = key(statement.kid()).ok_or_else(unknown)?;
        let said: ErasureStatement = statement.verify(TYP, &jwk).map_err(fail)?;
        if said != *wanted {
            return Err(ErasureError::Other {
                number,
                subject: said.subject,
                origin: said.origin,
                reason: said.reason,
            });
        }
        if parties.contains(&party) {
            return Err(ErasureError::SameSigner(party));
        }
        checks.push(statement.check("valid", Some(&party)));
        parties.push(party);
    }
    Ok((parties, checks))
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn two_different_signers_who_say_the_same_are_needed() {
        let wanted = ErasureStatement { origin: "o".into(), subject: "s".into(), reason: "r".into() };
        let key = |seed: u8| SigningKey::from_bytes(&[seed; 32]);
        let sign = |seed: u8, said: &ErasureStatement| Statement::sign(TYP, said, &key(seed)).unwrap();
        let known = |kid: &str| {
            (1..=3_u8)
                .map(|seed| (seed, Jwk::ed25519(&key(seed).verifying_key())))
                .find(|(_, jwk)| jwk.thumbprint() == kid)
                .map(|(seed, jwk)| {
                    // Keys 1 and 3 are of one party.
                    (if seed == 2 { "bob" } else { "ann" }.to_owned(), jwk)
                })
        };
        let other = ErasureStatement { subject: "t".into(), ..wanted.clone() };
        let ask = |statements: &[String], hold| authorise(&wanted, statements, hold, known);
        let good = [sign(1, &wanted), sign(2, &wanted)];
        assert_eq!(ask(&good, false).unwrap().0, ["ann", "bob"]);
        assert!(matches!(ask(&good, true), Err(ErasureError::Hold(_))));
        assert!(matches!(ask(&good[..1], false), Err(ErasureError::Count(1))));
        assert!(matches!(ask(&[sign(1, &wanted), sign(3, &wanted)], false), Err(ErasureError::SameSigner(_))));
        assert!(matches!(
            ask(&[sign(1, &wanted), sign(4, &wanted)], false),
            Err(ErasureError::UnknownKey { number: 2, .. })
        ));
        assert!(matches!(ask(&[sign(1, &wanted), sign(2, &other)], false), Err(ErasureError::Other { number: 2, .. })));
        assert!(matches!(ask(&[sign(1, &wanted), "x".into()], false), Err(ErasureError::Statement { number: 2, .. })));
    }
}
