//! Who calls the API: bearer secrets of which the configuration holds only the SHA-256.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::unauthorized;
use crate::problem::Problem;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Registers instructions.
    Host,
    /// Answers held calls.
    Approver,
    /// Administers.
    Operator,
    /// Reads.
    Investigator,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Role::Host => "host",
            Role::Approver => "approver",
            Role::Operator => "operator",
            Role::Investigator => "investigator",
        }
    }
}

/// A party's credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// What it opens.
    pub role: Role,
    /// Whose it is.
    pub party: String,
    /// SHA-256 of the secret, 64 hexadecimal digits.
    pub sha256: String,
}

/// The credentials that are good now.
#[derive(Debug, Clone, Default)]
pub struct Credentials(Arc<RwLock<Vec<Credential>>>);

impl From<Vec<Credential>> for Credentials {
    fn from(credentials: Vec<Credential>) -> Credentials {
        Credentials(Arc::new(RwLock::new(credentials)))
    }
}

impl Credentials {
    /// Others are good from now on, and only those.
    pub fn replace(&self, credentials: Vec<Credential>) {
        *self.0.write() = credentials;
    }

    pub(super) fn caller(&self, headers: &HeaderMap, roles: &[Role]) -> Result<(Role, String), Problem> {
        caller(&self.0.read(), headers, roles)
    }
}

/// The bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    // Two credentials could be read in two ways.
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn caller(known: &[Credential], headers: &HeaderMap, roles: &[Role]) -> Result<(Role, String), Problem> {
    let secret = bearer(headers).ok_or_else(|| unauthorized("there is no bearer credential"))?;
    let digest = data_encoding::HEXLOWER.encode(&Sha256::digest(secret.as_bytes()));
    let mut found = None;
    // All are compared, so that the time says nothing about which one it was.
    for credential in known {
        if bool::from(credential.sha256.as_bytes().ct_eq(digest.as_bytes())) {
            found = Some(credential);
        }
    }
    match found {
        Some(credential) if roles.contains(&credential.role) => Ok((credential.role, credential.party.clone())),
        Some(credential) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "wrong-role",
            "The credential is for another role",
            format!("a credential of role `{}` does not open this", credential.role.as_str()),
        )),
        None => Err(unauthorized("the credential is not known")),
    }
}
