//! A passkey's signature over a statement: a WebAuthn assertion (Web Authentication Level 3 §7.2) whose challenge is the digest of what is
//! stated, so that the authenticator signs exactly that. Checked without a clock and without state, by gateway and verifier alike.
//!
//! Libraries for relying parties choose a random challenge themselves and keep it on the server. That proves who was there, not what they
//! said; and nobody else could check it again later.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    canonical,
    record::body::Check,
    statement::{Jwk, Statement, StatementError},
};

/// The longest `clientDataJSON` that is read, in bytes.
const MAX_CLIENT_DATA_BYTES: usize = 4096;

/// The longest authenticator data that is read, in bytes.
const MAX_AUTHENTICATOR_DATA_BYTES: usize = 8192;

/// The longest credential id (Web Authentication Level 3 §4).
const MAX_CREDENTIAL_BYTES: usize = 1023;

/// RP id hash, flags and counter: authenticator data of an assertion without extensions.
const HEAD_BYTES: usize = 37;

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED_KEY: u8 = 0x40;
const EXTENSIONS: u8 = 0x80;

/// What `check.alg` says of an assertion.
pub const ALG: &str = "webauthn";

/// Why an assertion or a registration is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasskeyError {
    /// A member is not base64url, or too long.
    #[error("`{0}` is not base64url, or too long")]
    Encoding(&'static str),
    /// The client data is no JSON with `type`, `challenge` and `origin`.
    #[error("`client_data` is not the JSON that a browser makes")]
    ClientData,
    /// The client data is of another ceremony.
    #[error("`client_data` is of another ceremony")]
    Ceremony,
    /// Another challenge was signed.
    #[error("the passkey signed another challenge: it is not about this statement")]
    Challenge,
    /// It was made on another page.
    #[error("the passkey was used on a page of another origin")]
    Origin,
    /// It was made within a page of another origin.
    #[error("the passkey was used in a page that is embedded in another")]
    Embedded,
    /// The authenticator data is cut short, or has what it must not have.
    #[error("`authenticator_data` is not as it must be")]
    AuthenticatorData,
    /// It is for another relying party.
    #[error("the passkey is for another site")]
    RelyingParty,
    /// Nobody touched the authenticator.
    #[error("the authenticator did not see that somebody was there")]
    NotPresent,
    /// Nobody proved to the authenticator who they are.
    #[error("the authenticator did not verify who was there")]
    NotVerified,
    /// A key of a kind that is not supported.
    #[error("the passkey's key is neither ES256 nor EdDSA with Ed25519, in the form of CTAP2")]
    Key,
}

/// How a passkey was registered: members of a `key` entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Passkey {
    /// The relying party's id.
    pub rp_id: String,
    /// The origin of the pages that it signs on.
    pub origin: String,
    /// The credential's id, base64url.
    pub credential: String,
}

/// A registered public key: one that signs JWS, or a passkey's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The key.
    pub jwk: Jwk,
    /// How it signs, when it is a passkey's.
    pub passkey: Option<Passkey>,
}

/// A passkey's assertion with what it states, as it stands in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// What is stated, such as `countersign-approval+passkey`.
    pub typ: String,
    /// The key's RFC 7638 thumbprint.
    pub kid: String,
    /// What is stated.
    pub payload: Value,
    /// The authenticator data, base64url.
    pub authenticator_data: String,
    /// `clientDataJSON`, base64url.
    pub client_data: String,
    /// The signature, base64url: ASN.1 DER for ES256, 64 bytes for EdDSA.
    pub signature: String,
}

/// The challenge that states `payload`: SHA-256 of `typ`, a zero byte, and the canonical JSON.
///
/// # Errors
/// [`StatementError::Canonical`].
pub fn challenge(typ: &str, payload: &Value) -> Result<[u8; 32], StatementError> {
    let mut hasher = Sha256::new();
    hasher.update(typ.as_bytes());
    hasher.update([0]);
    hasher.update(canonical::to_vec(payload)?);
    Ok(hasher.finalize().into())
}

/// What a browser says of the ceremony (Web Authentication Level 3 §5.8.1). It may have more members.
#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    ceremony: String,
    challenge: String,
    origin: String,
    #[serde(rename = "crossOrigin", default)]
    cross_origin: bool,
    #[serde(rename = "topOrigin", default)]
    top_origin: Option<String>,
}

fn decode(name: &'static str, text: &str, most: usize) -> Result<Vec<u8>, PasskeyError> {
    let decoded = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    decoded.filter(|bytes| bytes.len() <= most).ok_or(PasskeyError::Encoding(name))
}

/// Checks the client data (§7.1 and §7.2: type, challenge, origin); gives its digest.
fn check_client_data(text: &str, ceremony: &str, challenge: &[u8; 32], origin: &str) -> Result<[u8; 32], PasskeyError> {
    let bytes = decode("client_data", text, MAX_CLIENT_DATA_BYTES)?;
    // What is no object could be read as one by its order.
    let object = bytes.first() == Some(&b'{');
    let said = serde_json::from_slice::<ClientData>(&bytes).ok().filter(|_| object).ok_or(PasskeyError::ClientData)?;
    if said.ceremony != ceremony {
        return Err(PasskeyError::Ceremony);
    }
    if said.challenge != BASE64URL_NOPAD.encode(challenge) {
        return Err(PasskeyError::Challenge);
    }
    if said.origin != origin {
        return Err(PasskeyError::Origin);
    }
    if said.cross_origin || said.top_origin.is_some() {
        return Err(PasskeyError::Embedded);
    }
    Ok(Sha256::digest(&bytes).into())
}

/// Authenticator data (§6.1), taken apart and checked for site, presence and verification.
struct AuthenticatorData<'b> {
    flags: u8,
    counter: u32,
    rest: &'b [u8],
}

impl<'b> AuthenticatorData<'b> {
    fn check(bytes: &'b [u8], rp_id: &str) -> Result<AuthenticatorData<'b>, PasskeyError> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(PasskeyError::AuthenticatorData)?;
        let [rp_id_hash @ .., flags, a, b, c, d] = head;
        if rp_id_hash.as_slice() != Sha256::digest(rp_id.as_bytes()).as_slice() {
            return Err(PasskeyError::RelyingParty);
        }
        if flags & USER_PRESENT == 0 {
            return Err(PasskeyError::NotPresent);
        }
        if flags & USER_VERIFIED == 0 {
            return Err(PasskeyError::NotVerified);
        }
        // What is not eligible cannot be backed up (§6.1.3).
        if flags & (BACKUP_ELIGIBLE | BACKED_UP) == BACKED_UP {
            return Err(PasskeyError::AuthenticatorData);
        }
        Ok(AuthenticatorData { flags: *flags, counter: u32::from_be_bytes([*a, *b, *c, *d]), rest })
    }

    /// Outputs of extensions may follow where the flag says so, and nothing else. They are signed, and mean nothing here.
    fn ends_with(&self, rest: &[u8]) -> Result<(), PasskeyError> {
        let extended = self.flags & EXTENSIONS != 0;
        if extended == rest.is_empty() { Err(PasskeyError::AuthenticatorData) } else { Ok(()) }
    }
}

impl Assertion {
    /// Reads an assertion as it stands in the vault.
    ///
    /// # Errors
    /// [`StatementError::Malformed`].
    pub fn read(value: &Value) -> Result<Assertion, StatementError> {
        let malformed = |()| {
            StatementError::Malformed(
                "an assertion has `typ`, `kid`, `payload`, `authenticator_data`, `client_data` and `signature`",
            )
        };
        value.as_object().ok_or_else(|| malformed(()))?;
        serde_json::from_value(value.clone()).map_err(|_| malformed(()))
    }

    /// Whether the passkey of `key` signed exactly this statement, on its own page, with its owner verified. Gives the authenticator's counter.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn verify(&self, key: &Jwk, passkey: &Passkey) -> Result<u32, StatementError> {
        let challenge = challenge(&self.typ, &self.payload)?;
        let client_data = check_client_data(&self.client_data, "webauthn.get", &challenge, &passkey.origin)?;
        let bytes = decode("authenticator_data", &self.authenticator_data, MAX_AUTHENTICATOR_DATA_BYTES)?;
        let data = AuthenticatorData::check(&bytes, &passkey.rp_id)?;
        if data.flags & ATTESTED_KEY != 0 {
            return Err(PasskeyError::AuthenticatorData.into());
        }
        data.ends_with(data.rest)?;
        let signed = [bytes.as_slice(), &client_data].concat();
        let signature = decode("signature", &self.signature, MAX_CLIENT_DATA_BYTES)?;
        if !key.accepts_assertion(&signed, &signature)? {
            return Err(StatementError::Signature(self.kid.clone()));
        }
        Ok(data.counter)
    }

    /// The authenticator's counter, not believed.
    pub fn counter_unverified(&self) -> Option<u32> {
        let bytes = decode("authenticator_data", &self.authenticator_data, MAX_AUTHENTICATOR_DATA_BYTES).ok()?;
        let counter = bytes.get(HEAD_BYTES - 4..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*counter))
    }
}

/// Whether a counter after `last` shows that there are two copies of an authenticator. Those that do not count say 0 always (§6.1.1).
pub const fn is_cloned(last: u32, counter: u32) -> bool {
    (last != 0 || counter != 0) && counter <= last
}

/// What a browser gives when a passkey is made (§7.1). No attestation is asked for: who vouches for the key is the operator who made the link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// The authenticator data, base64url.
    pub authenticator_data: String,
    /// `clientDataJSON`, base64url.
    pub client_data: String,
}

impl Registration {
    /// The new key, if it was made for this challenge, site and page.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn verify(&self, challenge: &[u8; 32], rp_id: &str, origin: &str) -> Result<(Jwk, Passkey), PasskeyError> {
        check_client_data(&self.client_data, "webauthn.create", challenge, origin)?;
        let bytes = decode("authenticator_data", &self.authenticator_data, MAX_AUTHENTICATOR_DATA_BYTES)?;
        let data = AuthenticatorData::check(&bytes, rp_id)?;
        if data.flags & ATTESTED_KEY == 0 {
            return Err(PasskeyError::AuthenticatorData);
        }
        // AAGUID, length of the id, the id, the key (§6.5.1).
        let rest = data.rest.get(16..).unwrap_or_default();
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(PasskeyError::AuthenticatorData)?;
        let length = usize::from(u16::from_be_bytes(*length));
        if length == 0 || length > MAX_CREDENTIAL_BYTES {
            return Err(PasskeyError::AuthenticatorData);
        }
        let (credential, key) = rest.split_at_checked(length).ok_or(PasskeyError::AuthenticatorData)?;
        let (jwk, rest) = cose_key(key).ok_or(PasskeyError::Key)?;
        data.ends_with(rest)?;
        let passkey = Passkey {
            rp_id: rp_id.to_owned(),
            origin: origin.to_owned(),
            credential: BASE64URL_NOPAD.encode(credential),
        };
        jwk.validate().map_err(|_| PasskeyError::Key)?;
        Ok((jwk, passkey))
    }
}

/// `{1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y}` in CTAP2's canonical CBOR, in which it has one spelling.
const ES256: [u8; 10] = [0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20];
const ES256_Y: [u8; 3] = [0x22, 0x58, 0x20];
/// `{1: 1 (OKP), 3: -8 (EdDSA), -1: 6 (Ed25519), -2: x}`.
const EDDSA: [u8; 10] = [0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20];

/// A COSE key (RFC 9053), and what is behind it.
fn cose_key(bytes: &[u8]) -> Option<(Jwk, &[u8])> {
    let encode = |bytes: &[u8; 32]| BASE64URL_NOPAD.encode(bytes);
    if let Some(rest) = bytes.strip_prefix(&ES256) {
        let (x, rest) = rest.split_first_chunk::<32>()?;
        let (y, rest) = rest.strip_prefix(&ES256_Y)?.split_first_chunk::<32>()?;
        return Some((Jwk { kty: "EC".into(), crv: "P-256".into(), x: encode(x), y: Some(encode(y)) }, rest));
    }
    let (x, rest) = bytes.strip_prefix(&EDDSA)?.split_first_chunk::<32>()?;
    Some((Jwk { kty: "OKP".into(), crv: "Ed25519".into(), x: encode(x), y: None }, rest))
}

/// A party's statement, taken apart but not believed yet, in either form.
#[derive(Debug, Clone)]
pub enum Stated {
    /// A JWS.
    Jws(Box<Statement>),
    /// A passkey's assertion.
    Passkey(Box<Assertion>),
}

impl Stated {
    /// Reads a statement as it stands in a request or in the vault: a text, or an object.
    ///
    /// # Errors
    /// [`StatementError::Malformed`], [`StatementError::Critical`].
    pub fn read(value: &Value) -> Result<Stated, StatementError> {
        match value {
            Value::String(text) => Statement::parse(text).map(|statement| Stated::Jws(Box::new(statement))),
            other => Assertion::read(other).map(|assertion| Stated::Passkey(Box::new(assertion))),
        }
    }

    /// The key it names; to look the key up, nothing more.
    pub fn kid(&self) -> &str {
        match self {
            Stated::Jws(statement) => statement.kid(),
            Stated::Passkey(assertion) => &assertion.kid,
        }
    }

    /// What it states, not believed.
    pub fn payload_unverified(&self) -> &Value {
        match self {
            Stated::Jws(statement) => statement.payload_unverified(),
            Stated::Passkey(assertion) => &assertion.payload,
        }
    }

    /// Whether the signature fits, whatever is stated.
    pub fn has_valid_signature(&self, key: &Registered) -> bool {
        match (self, &key.passkey) {
            (Stated::Jws(statement), None) => statement.has_valid_signature(&key.jwk),
            (Stated::Passkey(assertion), Some(passkey)) => assertion.verify(&key.jwk, passkey).is_ok(),
            _ => false,
        }
    }

    /// What is stated, after checking type and signature. `what` is the type without its form: `countersign-approval`.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn verify<T: DeserializeOwned>(&self, what: &str, key: &Registered) -> Result<T, StatementError> {
        match (self, &key.passkey) {
            (Stated::Jws(statement), None) => statement.verify(&format!("{what}+jwt"), &key.jwk),
            (Stated::Passkey(assertion), Some(passkey)) => {
                let expected = format!("{what}+passkey");
                if assertion.typ != expected {
                    return Err(StatementError::Type { found: assertion.typ.clone(), expected });
                }
                assertion.verify(&key.jwk, passkey)?;
                serde_json::from_value(assertion.payload.clone()).map_err(StatementError::Payload)
            }
            _ => Err(StatementError::Form),
        }
    }

    /// What to record of a check of this statement.
    pub fn check(&self, result: &str, party: Option<&str>) -> Check {
        match self {
            Stated::Jws(statement) => statement.check(result, party),
            Stated::Passkey(assertion) => Check {
                alg: ALG.to_owned(),
                kid: assertion.kid.clone(),
                result: result.to_owned(),
                party: party.map(str::to_owned),
            },
        }
    }
}

#[cfg(test)]
mod authenticator;
#[cfg(test)]
mod tests;
