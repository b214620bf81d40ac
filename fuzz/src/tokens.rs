//! Tokens of an outside issuer, the lists of its keys, and what entries say of the ledger's own keys.

use countersign_ledger::{
    checkpoint::{CheckpointSigner, VerifierKey},
    record::body,
    rotation::{self, LedgerKeys},
    statement::{Jwk, Statement},
};
use countersign_proxy::{
    identify::{KeyList, agent_of},
    settings::{Algorithm, Issuer},
};
use data_encoding::BASE64;
use ed25519_dalek::SigningKey;
use jiff::Timestamp;
use serde_json::json;

const NAME: &str = "https://issuer.example";
const ORIGIN: &str = "fuzz.example";

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn issuer() -> Issuer {
    Issuer {
        issuer: NAME.to_owned(),
        audience: "gateway".to_owned(),
        keys: None,
        authorities: None,
        algorithms: vec![Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256],
        access_tokens_only: false,
        agent_claim: "sub".to_owned(),
        agents: Default::default(),
        principal_claim: None,
        grant_claim: None,
        skew: std::time::Duration::ZERO,
        keep: std::time::Duration::ZERO,
        stale: std::time::Duration::ZERO,
    }
}

/// A list with the key that signs, and one of each other kind.
pub(crate) fn lists() -> Vec<Vec<u8>> {
    let own = Jwk::ed25519(&key(1).verifying_key());
    let keys = json!({ "keys": [
        { "kty": own.kty, "crv": own.crv, "x": own.x, "kid": own.thumbprint(), "use": "sig", "alg": "EdDSA" },
        { "kty": "EC", "crv": "P-256", "x": own.x, "y": own.x, "kid": "b" },
        { "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "c" },
        { "kty": "oct", "k": "AA", "kid": "d" },
    ] });
    vec![keys.to_string().into_bytes()]
}

pub(crate) fn list(input: &[u8]) {
    if let Ok(list) = KeyList::read(input) {
        // Whatever is listed, who did not sign is nobody.
        for token in tokens(2) {
            let text = String::from_utf8(token).unwrap_or_default();
            assert!(agent_of(&issuer(), &list, &text, now()).is_err());
        }
    }
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn tokens(seed: u8) -> Vec<Vec<u8>> {
    let claims = json!({ "iss": NAME, "aud": ["gateway", "x"], "sub": "agent", "exp": 60, "nbf": 0 });
    Statement::sign("at+jwt", &claims, &key(seed)).into_iter().map(String::into_bytes).collect()
}

pub(crate) fn good() -> Vec<Vec<u8>> {
    tokens(1)
}

/// Nothing but what was signed is taken.
pub(crate) fn token(input: &[u8]) {
    let list = lists().first().and_then(|list| KeyList::read(list).ok()).unwrap_or_default();
    let text = std::str::from_utf8(input).unwrap_or_default();
    match agent_of(&issuer(), &list, text, now()) {
        Ok(agent) => {
            assert_eq!(agent, "agent");
            assert!(good().iter().any(|good| good == input), "a token that nobody signed is taken");
        }
        Err(_) => assert!(!good().iter().any(|good| good == input), "a good token is refused"),
    }
}

fn vkey(seed: u8) -> Option<VerifierKey> {
    VerifierKey::new(ORIGIN, key(seed).verifying_key()).ok()
}

/// An entry by which one key takes over, and one by which it is retired.
pub(crate) fn rotations() -> Vec<Vec<u8>> {
    let (Some(old), Some(new)) = (vkey(1), vkey(2)) else { return Vec::new() };
    let message = rotation::text(ORIGIN, &old.to_string(), &new.to_string());
    let sign = |seed: u8, by: &VerifierKey| {
        let signer = CheckpointSigner::new(ORIGIN, key(seed)).ok()?;
        Some(BASE64.encode(&signer.sign_as(by, message.as_bytes()).ok()??))
    };
    let signatures = [sign(1, &old), sign(2, &new)];
    let rotated = json!({ "event": "rotated", "software": "x", "vkey": new.to_string(), "replaces": old.to_string(), "signatures": signatures });
    let retired = json!({ "event": "retired", "software": "x", "vkey": old.to_string() });
    [rotated, retired].map(|entry| entry.to_string().into_bytes()).into()
}

/// A ledger always has a key, and no other one than those that signed.
pub(crate) fn rotation(input: &[u8]) {
    let Ok(entry) = serde_json::from_slice::<body::Ledger>(input) else { return };
    let mut keys = LedgerKeys::default();
    let first = body::Ledger { vkey: vkey(1).map(|key| key.to_string()), ..body::Ledger::default() };
    let _ = keys.change(0, ORIGIN, &first);
    let taken = keys.change(1, ORIGIN, &entry).is_ok();
    let active = keys.active();
    assert!(active.iter().all(|key| [vkey(1), vkey(2)].contains(&Some(key.clone()))), "a key that nobody vouched for");
    assert!(active.len() == if taken && entry.event == "rotated" { 2 } else { 1 });
}
