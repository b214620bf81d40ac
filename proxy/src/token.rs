//! The agent's bearer token: a JWT access token (RFC 9068, `at+jwt`) with the grant as `authorization_details` (RFC 9396), signed by the gateway.
//!
//! The token names grant and instruction; what they allow is looked up, so a token cannot be widened and a revocation takes effect at once.

use std::{collections::HashMap, sync::Arc};

use countersign_authorize::grant::Grant;
use countersign_ledger::statement::{Jwk, Statement, StatementError};
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const TYP: &str = "at+jwt";

/// What the token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    /// The gateway: the ledger's name.
    pub iss: String,
    /// For whom: the gateway itself.
    pub aud: String,
    /// The agent that the host named.
    pub sub: String,
    /// The agent that holds the token, as RFC 9068 asks.
    pub client_id: String,
    /// Issued, in seconds.
    pub iat: i64,
    /// Ends, in seconds.
    pub exp: i64,
    /// The grant's id.
    pub jti: String,
    /// The instruction's id.
    pub instruction: String,
    /// The grant's actions, by name.
    pub authorization_details: Value,
    /// The agent that holds the token, when another one delegated to it (RFC 8693 §4.1): the newest outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Act>,
    /// The key that the grant is bound to (RFC 7800).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Cnf>,
}

/// Who acts, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The agent.
    pub sub: String,
    /// The agent that delegated to it, unless that is the token's `sub`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Act>>,
}

/// A key, by its RFC 7638 thumbprint (RFC 9449 §6.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cnf {
    /// The thumbprint.
    pub jkt: String,
}

impl Claims {
    /// The agent that holds the token.
    pub fn agent(&self) -> &str {
        self.act.as_ref().map_or(&self.sub, |act| &act.sub)
    }
}

/// The `act` claim of the last of these agents, the first of which the host named.
fn act(agents: &[String]) -> Option<Act> {
    let delegated = agents.iter().skip(1);
    delegated.fold(None, |before: Option<Act>, agent| Some(Act { sub: agent.clone(), act: before.map(Box::new) }))
}

/// Why a token is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Not a token of this gateway.
    #[error("the token is not one of this gateway: {0}")]
    Statement(#[from] StatementError),
    /// Of another gateway, or for another one.
    #[error("the token is for another gateway")]
    Audience,
    /// Its time is over, or has not come.
    #[error("the token's time is over; ask the host application for a new instruction")]
    Expired,
}

/// Makes and checks tokens.
pub struct Tokens {
    key: SigningKey,
    jwk: Jwk,
    issuer: String,
    /// Claims of tokens whose signature was checked, by the SHA-256 of the whole token: a check costs more than all else of identification.
    checked: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

/// The most tokens whose check is remembered; then all are forgotten and checked anew.
const CHECKED: usize = 16_384;

impl Tokens {
    /// Tokens of the gateway named `issuer`.
    pub fn new(issuer: &str, key: SigningKey) -> Tokens {
        Tokens {
            jwk: Jwk::ed25519(&key.verifying_key()),
            key,
            issuer: issuer.to_owned(),
            checked: Mutex::new(HashMap::new()),
        }
    }

    /// A token for a host's own grant.
    ///
    /// # Errors
    /// [`TokenError::Statement`] when the claims have no canonical form.
    pub fn issue(&self, grant: &Grant) -> Result<String, TokenError> {
        self.issue_to(grant, std::slice::from_ref(&grant.agent))
    }

    /// A token for a grant that was handed on: `agents` are those it went through, the one that the host named first and the grant's own last.
    ///
    /// # Errors
    /// [`TokenError::Statement`] when the claims have no canonical form.
    pub fn issue_to(&self, grant: &Grant, agents: &[String]) -> Result<String, TokenError> {
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            sub: agents.first().unwrap_or(&grant.agent).clone(),
            client_id: grant.agent.clone(),
            iat: grant.issued.as_second(),
            exp: grant.expires.as_second(),
            jti: grant.id.clone(),
            instruction: grant.instruction.clone(),
            authorization_details: grant.authorization_details(),
            act: act(agents),
            cnf: grant.key.clone().map(|jkt| Cnf { jkt }),
        };
        Ok(Statement::sign(TYP, &claims, &self.key)?)
    }

    /// The claims of a good token.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Arc<Claims>, TokenError> {
        let claims = self.signed(token)?;
        if claims.iss != self.issuer || claims.aud != self.issuer {
            return Err(TokenError::Audience);
        }
        if now.as_second() >= claims.exp || now.as_second() < claims.iat - 60 {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }

    /// The claims of a token that this gateway signed; whether they hold now is another question.
    fn signed(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        let digest = Sha256::digest(token.as_bytes()).into();
        if let Some(claims) = self.checked.lock().get(&digest) {
            return Ok(claims.clone());
        }
        let claims: Arc<Claims> = Arc::new(Statement::parse(token)?.verify(TYP, &self.jwk)?);
        let mut checked = self.checked.lock();
        if checked.len() >= CHECKED {
            checked.clear();
        }
        checked.insert(digest, claims.clone());
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use countersign_authorize::grant::{For, Scope};

    use super::*;

    #[test]
    fn a_token_is_good_for_its_gateway_and_its_time() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let tokens = Tokens::new("bank", SigningKey::from_bytes(&[1; 32]));
        let whose = For { id: "g", instruction: "i", agent: "a" };
        let (grant, _) =
            Grant::close(&Scope { expires_in: Some(100), ..Scope::default() }, &whose, at(1000), [].iter());
        let token = tokens.issue(&grant).unwrap();
        assert_eq!(tokens.verify(&token, at(1050)).unwrap().jti, "g");
        let agents = ["a", "b", "c"].map(str::to_owned);
        let handed_on = tokens.verify(&tokens.issue_to(&grant, &agents).unwrap(), at(1050)).unwrap();
        assert_eq!((handed_on.sub.as_str(), handed_on.agent()), ("a", "c"));
        let b = Act { sub: "b".to_owned(), act: None };
        assert_eq!(handed_on.act, Some(Act { sub: "c".to_owned(), act: Some(Box::new(b)) }));
        assert!(matches!(tokens.verify(&token, at(1100)), Err(TokenError::Expired)));
        let other = Tokens::new("other", SigningKey::from_bytes(&[1; 32]));
        assert!(matches!(other.verify(&token, at(1050)), Err(TokenError::Audience)));
        let forged = Tokens::new("bank", SigningKey::from_bytes(&[2; 32]));
        assert!(matches!(forged.verify(&token, at(1050)), Err(TokenError::Statement(_))));
    }
}
