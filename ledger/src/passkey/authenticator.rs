//! An authenticator in software, for tests: what a browser hands on of a passkey, right or wrong in whatever way is asked for.

use data_encoding::BASE64URL_NOPAD;
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub struct Authenticator {
    key: SigningKey,
    pub credential: Vec<u8>,
    pub counter: u32,
    /// Presence 1, verification 4, eligible 8, backed up 16, extensions 128.
    pub flags: u8,
    pub rp_id: String,
    pub origin: String,
    pub ceremony: Option<&'static str>,
    pub cross_origin: bool,
    pub extensions: Vec<u8>,
}

impl Authenticator {
    pub fn new(seed: u8, origin: &str) -> Authenticator {
        let rp_id = origin.split("//").nth(1).unwrap().split(':').next().unwrap().to_owned();
        Authenticator {
            key: SigningKey::from_slice(&[seed; 32]).unwrap(),
            credential: vec![seed; 20],
            counter: 0,
            flags: 0x05,
            rp_id,
            origin: origin.to_owned(),
            ceremony: None,
            cross_origin: false,
            extensions: Vec::new(),
        }
    }

    fn point(&self) -> (Vec<u8>, Vec<u8>) {
        let point = self.key.verifying_key().to_sec1_point(false);
        (point.x().unwrap().to_vec(), point.y().unwrap().to_vec())
    }

    pub fn jwk(&self) -> Value {
        let (x, y) = self.point();
        json!({ "kty": "EC", "crv": "P-256", "x": BASE64URL_NOPAD.encode(&x), "y": BASE64URL_NOPAD.encode(&y) })
    }

    pub fn passkey(&self) -> Value {
        json!({ "rp_id": self.rp_id, "origin": self.origin, "credential": BASE64URL_NOPAD.encode(&self.credential) })
    }

    fn client_data(&self, ceremony: &str, challenge: &[u8]) -> Vec<u8> {
        let ceremony = self.ceremony.unwrap_or(ceremony);
        json!({
            "type": ceremony, "challenge": BASE64URL_NOPAD.encode(challenge), "origin": self.origin, "crossOrigin": self.cross_origin,
            "other_keys_can_be_added_here": "as browsers say",
        })
        .to_string()
        .into_bytes()
    }

    fn data(&self, more: u8) -> Vec<u8> {
        let mut data = Sha256::digest(self.rp_id.as_bytes()).to_vec();
        data.push(self.flags | more);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// Signs a challenge: `authenticator_data`, `client_data`, `signature`.
    pub fn get(&self, challenge: &[u8]) -> (String, String, String) {
        let client_data = self.client_data("webauthn.get", challenge);
        let mut data = self.data(0);
        data.extend(&self.extensions);
        let signed = [data.as_slice(), &Sha256::digest(&client_data)].concat();
        let signature: Signature = self.key.sign(&signed);
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        (encode(&data), encode(&client_data), encode(signature.to_der().as_bytes()))
    }

    /// A statement as it is handed in.
    pub fn state(&self, typ: &str, kid: &str, payload: &Value) -> Value {
        let text = serde_json_canonicalizer::to_vec(payload).unwrap();
        let challenge = Sha256::digest([typ.as_bytes(), &[0], &text].concat());
        let (authenticator_data, client_data, signature) = self.get(&challenge);
        json!({
            "typ": typ, "kid": kid, "payload": payload, "authenticator_data": authenticator_data, "client_data": client_data, "signature": signature,
        })
    }

    /// Makes itself known: a registration.
    pub fn create(&self, challenge: &[u8]) -> Value {
        let (x, y) = self.point();
        let mut data = self.data(0x40);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.credential.len()).unwrap().to_be_bytes());
        data.extend(&self.credential);
        data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
        data.extend(&x);
        data.extend([0x22, 0x58, 0x20]);
        data.extend(&y);
        data.extend(&self.extensions);
        json!({
            "authenticator_data": BASE64URL_NOPAD.encode(&data),
            "client_data": BASE64URL_NOPAD.encode(&self.client_data("webauthn.create", challenge)),
        })
    }
}
