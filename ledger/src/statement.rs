//! A party's own statement: a JWS in compact form (RFC 7515), EdDSA (RFC 8037) or ES256 (RFC 7518 §3.4),
//! so that any JOSE library in any language can make and check one.

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature as EdSignature, Signer as _, SigningKey, VerifyingKey};
use p256::ecdsa::{Signature as EcSignature, VerifyingKey as EcVerifyingKey, signature::Verifier as _};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Hash, canonical, passkey::PasskeyError, record::body::Check, strict};

/// The longest statement that is read, in bytes.
pub const MAX_STATEMENT_BYTES: usize = 256 * 1024;

/// Why a statement cannot be made or believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// Not three base64url parts with a JSON header and payload.
    #[error("not a JWS in compact form: {0}")]
    Malformed(&'static str),
    /// The header asks for what is not supported.
    #[error("the algorithm `{0}` is not supported; sign with `EdDSA` (Ed25519) or `ES256`")]
    Algorithm(String),
    /// The header's `typ` is another one.
    #[error("the statement is of type `{found}`, expected `{expected}`")]
    Type {
        /// The `typ` in the header.
        found: String,
        /// The `typ` asked for.
        expected: String,
    },
    /// A header member that a verifier must not ignore.
    #[error("the header has `crit`, which this verifier does not support")]
    Critical,
    /// The key is not a usable public key.
    #[error("not a usable public key: {0}")]
    Key(&'static str),
    /// The signature does not fit.
    #[error("the signature of key `{0}` does not fit the statement")]
    Signature(String),
    /// The payload lacks what is expected of it.
    #[error("the payload is not as expected: {0}")]
    Payload(serde_json::Error),
    /// The payload cannot be written.
    #[error(transparent)]
    Canonical(#[from] canonical::CanonicalError),
    /// A passkey's assertion does not hold.
    #[error(transparent)]
    Passkey(#[from] PasskeyError),
    /// A passkey makes assertions, every other key makes JWS.
    #[error("a passkey makes assertions and every other key makes JWS; this is the other form")]
    Form,
}

/// A public key as a JSON Web Key (RFC 7517): `OKP`/`Ed25519` or `EC`/`P-256`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// `OKP` or `EC`.
    pub kty: String,
    /// `Ed25519` or `P-256`.
    pub crv: String,
    /// The public key, or its x coordinate.
    pub x: String,
    /// The y coordinate (`EC`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}

impl Jwk {
    /// The JWK of an Ed25519 key (RFC 8037 §2).
    pub fn ed25519(key: &VerifyingKey) -> Jwk {
        Jwk { kty: "OKP".into(), crv: "Ed25519".into(), x: BASE64URL_NOPAD.encode(key.as_bytes()), y: None }
    }

    /// The RFC 7638 thumbprint: the key's `kid`.
    pub fn thumbprint(&self) -> String {
        // The required members in lexical order (RFC 7638 §3.2); all are plain base64url or fixed words.
        let text = match &self.y {
            Some(y) => format!(r#"{{"crv":"{}","kty":"{}","x":"{}","y":"{y}"}}"#, self.crv, self.kty, self.x),
            None => format!(r#"{{"crv":"{}","kty":"{}","x":"{}"}}"#, self.crv, self.kty, self.x),
        };
        BASE64URL_NOPAD.encode(Hash::of(text.as_bytes()).as_bytes())
    }

    /// Whether the key can check signatures at all.
    ///
    /// # Errors
    /// [`StatementError::Key`] with what is wrong.
    pub fn validate(&self) -> Result<(), StatementError> {
        self.verifier().map(|_| ())
    }

    /// The JOSE name of the algorithm that goes with the key.
    pub fn alg(&self) -> &'static str {
        if self.kty == "EC" { "ES256" } else { "EdDSA" }
    }

    /// Whether this key made the signature over `message`; for ES256 the signature is r ‖ s.
    pub fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier().is_ok_and(|verifier| verifier.accepts(message, signature))
    }

    /// Whether the key's owner made this signature in the form of WebAuthn: that of ES256 is ASN.1 DER.
    pub(crate) fn accepts_assertion(&self, signed: &[u8], signature: &[u8]) -> Result<bool, StatementError> {
        Ok(match self.verifier()? {
            key @ Verifier::Ed25519(_) => key.accepts(signed, signature),
            Verifier::P256(key) => {
                EcSignature::from_der(signature).is_ok_and(|signature| key.verify(signed, &signature).is_ok())
            }
        })
    }

    fn verifier(&self) -> Result<Verifier, StatementError> {
        let decode = |text: &str| -> Result<[u8; 32], StatementError> {
            let bytes = BASE64URL_NOPAD
                .decode(text.as_bytes())
                .map_err(|_| StatementError::Key("a coordinate is not base64url"))?;
            bytes.try_into().map_err(|_| StatementError::Key("a coordinate has not 32 bytes"))
        };
        match (self.kty.as_str(), self.crv.as_str(), &self.y) {
            ("OKP", "Ed25519", None) => VerifyingKey::from_bytes(&decode(&self.x)?)
                .map(Verifier::Ed25519)
                .map_err(|_| StatementError::Key("not a point of Ed25519")),
            ("EC", "P-256", Some(y)) => {
                let mut point = vec![4];
                point.extend(decode(&self.x)?);
                point.extend(decode(y)?);
                EcVerifyingKey::from_sec1_bytes(&point)
                    .map(|key| Verifier::P256(Box::new(key)))
                    .map_err(|_| StatementError::Key("not a point of P-256"))
            }
            _ => Err(StatementError::Key("expected `OKP`/`Ed25519` with `x`, or `EC`/`P-256` with `x` and `y`")),
        }
    }
}

enum Verifier {
    Ed25519(VerifyingKey),
    P256(Box<EcVerifyingKey>),
}

impl Verifier {
    const fn alg(&self) -> &'static str {
        match self {
            Verifier::Ed25519(_) => "EdDSA",
            Verifier::P256(_) => "ES256",
        }
    }

    fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            // `verify_strict` refuses the malleable and small-order forms, as evidence demands.
            Verifier::Ed25519(key) => {
                EdSignature::from_slice(signature).is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
            }
            Verifier::P256(key) => {
                EcSignature::from_slice(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }
        }
    }
}

/// A JWS that was taken apart but not believed yet.
#[derive(Debug, Clone)]
pub struct Statement {
    compact: String,
    signed_length: usize,
    alg: String,
    kid: String,
    typ: String,
    payload: Value,
    signature: Vec<u8>,
}

impl Statement {
    /// Signs `payload` with an Ed25519 key. `typ` names what is stated, such as `countersign-decision+jwt`.
    ///
    /// # Errors
    /// [`StatementError::Canonical`] when the payload has no canonical JSON form.
    pub fn sign<T: Serialize>(typ: &str, payload: &T, key: &SigningKey) -> Result<String, StatementError> {
        let kid = Jwk::ed25519(&key.verifying_key()).thumbprint();
        Statement::sign_with(&json!({"alg": "EdDSA", "kid": kid, "typ": typ}), payload, key)
    }

    /// Signs `payload` under a header that says all that it must.
    pub(crate) fn sign_with<T: Serialize>(
        header: &Value,
        payload: &T,
        key: &SigningKey,
    ) -> Result<String, StatementError> {
        let header = canonical::to_vec(header)?;
        let payload = canonical::to_vec(payload)?;
        let signed = format!("{}.{}", BASE64URL_NOPAD.encode(&header), BASE64URL_NOPAD.encode(&payload));
        let signature = BASE64URL_NOPAD.encode(&key.sign(signed.as_bytes()).to_bytes());
        Ok(format!("{signed}.{signature}"))
    }

    /// Takes a compact JWS apart. Nothing in it may be believed before [`Statement::verify`].
    ///
    /// # Errors
    /// [`StatementError::Malformed`], [`StatementError::Critical`].
    pub fn parse(compact: &str) -> Result<Statement, StatementError> {
        use StatementError::Malformed;
        #[derive(Deserialize)]
        struct Header {
            alg: String,
            #[serde(default)]
            kid: String,
            #[serde(default)]
            typ: String,
            crit: Option<Value>,
        }
        if compact.len() > MAX_STATEMENT_BYTES {
            return Err(Malformed("longer than 262144 bytes"));
        }
        let (signed, signature) = compact.rsplit_once('.').ok_or(Malformed("expected three parts"))?;
        let (header, payload) = signed.split_once('.').ok_or(Malformed("expected three parts"))?;
        let decode = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes());
        let header = decode(header).map_err(|_| Malformed("the header is not base64url"))?;
        // What two readers could read in two ways, because a member stands twice, is none.
        let header: Header =
            strict::parse(&header).map_err(|_| Malformed("the header is not a JSON object with `alg`"))?;
        let payload = decode(payload).map_err(|_| Malformed("the payload is not base64url"))?;
        if header.crit.is_some() {
            return Err(StatementError::Critical);
        }
        Ok(Statement {
            signed_length: signed.len(),
            alg: header.alg,
            kid: header.kid,
            typ: header.typ,
            payload: strict::parse(&payload).map_err(|_| Malformed("the payload is not JSON"))?,
            signature: decode(signature).map_err(|_| Malformed("the signature is not base64url"))?,
            compact: compact.to_owned(),
        })
    }

    /// The key the header names; to look the key up, nothing more.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm the header names.
    pub fn alg(&self) -> &str {
        &self.alg
    }

    /// The payload, not believed.
    pub fn payload_unverified(&self) -> &Value {
        &self.payload
    }

    /// The payload, after checking type, algorithm and signature against `key`.
    ///
    /// # Errors
    /// [`StatementError`]: another `typ`, an algorithm that is not the key's, a signature that does not fit, a payload of another shape.
    pub fn verify<T: DeserializeOwned>(&self, typ: &str, key: &Jwk) -> Result<T, StatementError> {
        if self.typ != typ {
            return Err(StatementError::Type { found: self.typ.clone(), expected: typ.to_owned() });
        }
        let verifier = key.verifier()?;
        // The key decides the algorithm, never the header (RFC 8725 §3.1).
        if self.alg != verifier.alg() {
            return Err(StatementError::Algorithm(self.alg.clone()));
        }
        let signed = self.compact.get(..self.signed_length).unwrap_or_default();
        if !verifier.accepts(signed.as_bytes(), &self.signature) {
            return Err(StatementError::Signature(self.kid.clone()));
        }
        serde_json::from_value(self.payload.clone()).map_err(StatementError::Payload)
    }

    /// Whether the signature fits, whatever is stated.
    pub fn has_valid_signature(&self, key: &Jwk) -> bool {
        let signed = self.compact.get(..self.signed_length).unwrap_or_default();
        key.verifier()
            .is_ok_and(|verifier| self.alg == verifier.alg() && verifier.accepts(signed.as_bytes(), &self.signature))
    }

    /// What to record of a check of this statement.
    pub fn check(&self, result: &str, party: Option<&str>) -> Check {
        Check {
            alg: self.alg.clone(),
            kid: self.kid.clone(),
            result: result.to_owned(),
            party: party.map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::{SigningKey as EcSigningKey, signature::Signer as _};

    use super::*;

    const TYP: &str = "countersign-decision+jwt";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn a_statement_verifies_with_its_key_and_no_other() {
        let jws = Statement::sign(TYP, &json!({"action": "pay"}), &key(1)).unwrap();
        let statement = Statement::parse(&jws).unwrap();
        let jwk = Jwk::ed25519(&key(1).verifying_key());
        assert_eq!(statement.kid(), jwk.thumbprint());
        assert_eq!(statement.verify::<Value>(TYP, &jwk).unwrap(), json!({"action": "pay"}));
        let other = Jwk::ed25519(&key(2).verifying_key());
        assert!(matches!(statement.verify::<Value>(TYP, &other), Err(StatementError::Signature(_))));
        assert!(matches!(statement.verify::<Value>("at+jwt", &jwk), Err(StatementError::Type { .. })));
    }

    #[test]
    fn a_statement_that_can_be_read_in_two_ways_is_none() {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let (header, payload) = (r#"{"alg":"EdDSA","kid":"k"}"#, r#"{"amount":"5"}"#);
        assert!(Statement::parse(&format!("{}.{}.AA", part(header), part(payload))).is_ok());
        for (header, payload) in [
            (header, r#"{"amount":"5","amount":"500"}"#),
            (header, r#"{"to":{"a":1,"a":2}}"#),
            (r#"{"alg":"EdDSA","kid":"k","kid":"l"}"#, payload),
            (r#"{"alg":"EdDSA","kid":"k","more":1,"more":2}"#, payload),
        ] {
            let parsed = Statement::parse(&format!("{}.{}.AA", part(header), part(payload)));
            assert!(matches!(parsed, Err(StatementError::Malformed(_))), "{header} {payload}");
        }
    }

    #[test]
    fn the_header_cannot_choose_the_algorithm() {
        let jwk = Jwk::ed25519(&key(1).verifying_key());
        for alg in ["none", "HS256", "ES256"] {
            let header = BASE64URL_NOPAD.encode(json!({"alg": alg, "typ": TYP}).to_string().as_bytes());
            let statement = Statement::parse(&format!("{header}.e30.AA")).unwrap();
            assert!(matches!(statement.verify::<Value>(TYP, &jwk), Err(StatementError::Algorithm(_))), "{alg}");
        }
    }

    #[test]
    fn an_es256_statement_verifies() {
        let signer = EcSigningKey::from_slice(&[7; 32]).unwrap();
        let point = signer.verifying_key().to_sec1_point(false);
        let jwk = Jwk {
            kty: "EC".into(),
            crv: "P-256".into(),
            x: BASE64URL_NOPAD.encode(point.x().unwrap()),
            y: Some(BASE64URL_NOPAD.encode(point.y().unwrap())),
        };
        let header =
            BASE64URL_NOPAD.encode(json!({"alg": "ES256", "kid": jwk.thumbprint(), "typ": TYP}).to_string().as_bytes());
        let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(b"{\"a\":1}"));
        let signature: EcSignature = signer.sign(signed.as_bytes());
        let jws = format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature.to_bytes()));
        assert_eq!(Statement::parse(&jws).unwrap().verify::<Value>(TYP, &jwk).unwrap(), json!({"a": 1}));
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_appendix_a_3() {
        let jwk = Jwk {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
            y: None,
        };
        assert_eq!(jwk.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn what_is_not_a_statement_is_refused() {
        for text in ["", ".", "..", "a.b.c", "e30.e30.", "e30.e30.AA", "bnVsbA.e30.AA"] {
            assert!(Statement::parse(text).is_err(), "{text}");
        }
    }
}
