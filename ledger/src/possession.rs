//! Proof that somebody holds a key: a JWS that carries the public key in its header and says what it was made for (RFC 9449 §4.2), so that what
//! is bound to the key's thumbprint is worth nothing without it.

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    statement::{Jwk, Statement, StatementError},
    strict,
};

/// The type of a proof.
pub const TYP: &str = "dpop+jwt";

/// The longest proof that is read, in bytes.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;

/// Members of a JWK that must not be shown to anybody (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];

/// What a proof says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Its own id; never used twice.
    pub jti: String,
    /// The method of the request.
    pub htm: String,
    /// The URL of the request, without query and fragment.
    pub htu: String,
    /// When it was made, in seconds.
    pub iat: i64,
    /// The base64url of the SHA-256 of the token that it goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ath: Option<String>,
    /// What the server asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<String>,
}

/// A proof whose signature fits the key in it. What it says still has to fit the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Possession {
    /// What it says.
    pub claims: Claims,
    /// The thumbprint of the key (RFC 7638).
    pub kid: String,
}

impl Possession {
    /// Reads a proof and checks its signature with the key that it carries.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn read(text: &str) -> Result<Possession, StatementError> {
        if text.len() > MAX_PROOF_BYTES {
            return Err(StatementError::Malformed("the proof has more than 8192 bytes"));
        }
        let malformed = || StatementError::Malformed("the header is not base64url of a JSON object");
        let header = text.split('.').next().unwrap_or_default();
        let header = BASE64URL_NOPAD.decode(header.as_bytes()).map_err(|_| malformed())?;
        let mut header: Map<String, Value> = strict::parse(&header).map_err(|_| malformed())?;
        let jwk = header.remove("jwk").ok_or(StatementError::Key("there is no `jwk` in the header"))?;
        if PRIVATE.iter().any(|name| jwk.get(name).is_some()) {
            return Err(StatementError::Key("the `jwk` in the header has private members"));
        }
        let jwk: Jwk = serde_json::from_value(jwk).map_err(|_| StatementError::Key("the `jwk` in the header"))?;
        let claims = Statement::parse(text)?.verify(TYP, &jwk)?;
        Ok(Possession { claims, kid: jwk.thumbprint() })
    }

    /// Makes a proof.
    ///
    /// # Errors
    /// [`StatementError::Canonical`].
    pub fn sign(claims: &Claims, key: &SigningKey) -> Result<String, StatementError> {
        let jwk = Jwk::ed25519(&key.verifying_key());
        Statement::sign_with(&json!({ "alg": "EdDSA", "jwk": jwk, "typ": TYP }), claims, key)
    }
}

/// What a proof says of the token that it goes with (RFC 9449 §4.2, `ath`).
pub fn of_token(token: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9449 §4.1, figure 2, made by others with ES256.
    const OF_THE_RFC: &str = concat!(
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6Ik",
        "VDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCR",
        "nMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JE",
        "QSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIj",
        "oiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia",
        "WF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg",
        "4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
    );

    #[test]
    fn the_proof_of_the_rfc_is_read_and_one_that_was_changed_is_not() {
        let proof = Possession::read(OF_THE_RFC).unwrap();
        // RFC 9449 §6.1 has the thumbprint of that key.
        assert_eq!(proof.kid, "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!((proof.claims.htm.as_str(), proof.claims.iat), ("POST", 1_562_262_616));
        let (head, signature) = OF_THE_RFC.rsplit_once('.').unwrap();
        let (header, _) = head.split_once('.').unwrap();
        let other = BASE64URL_NOPAD.encode(br#"{"jti":"x","htm":"GET","htu":"https://a/b","iat":1}"#);
        assert!(matches!(
            Possession::read(&format!("{header}.{other}.{signature}")),
            Err(StatementError::Signature(_))
        ));
    }

    #[test]
    fn a_proof_says_what_it_was_made_for_and_shows_no_secret() {
        let key = SigningKey::from_bytes(&[1; 32]);
        let claims = Claims {
            jti: "a".into(),
            htm: "GET".into(),
            htu: "https://gateway.example/x".into(),
            iat: 1000,
            ath: Some(of_token("token")),
            nonce: None,
        };
        let made = Possession::sign(&claims, &key).unwrap();
        let read = Possession::read(&made).unwrap();
        assert_eq!((read.claims, read.kid), (claims.clone(), Jwk::ed25519(&key.verifying_key()).thumbprint()));

        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA", "d": "AA" });
        for header in [
            json!({ "alg": "EdDSA", "typ": TYP }),
            json!({ "alg": "EdDSA", "typ": TYP, "jwk": jwk }),
            json!({ "alg": "EdDSA", "typ": "JWT", "jwk": Jwk::ed25519(&key.verifying_key()) }),
            json!({ "alg": "none", "typ": TYP, "jwk": Jwk::ed25519(&key.verifying_key()) }),
            json!({ "alg": "HS256", "typ": TYP, "jwk": { "kty": "oct", "k": "AA" } }),
        ] {
            let made = Statement::sign_with(&header, &claims, &key).unwrap();
            assert!(Possession::read(&made).is_err(), "{header}");
        }
        assert!(Possession::read(&format!("{made}{}", "A".repeat(MAX_PROOF_BYTES))).is_err());
    }
}
