//! Lists of public keys: a JWK set (RFC 7517 §5), also in the form of an HTTP signature directory.

use countersign_ledger::statement::Jwk;
use serde_json::{Value, json};

/// Where a gateway, and an API that likes to, lists its keys below its origin.
pub const WELL_KNOWN: &str = "/.well-known/http-message-signatures-directory";

/// The media type of the directory.
pub const MEDIA_TYPE: &str = "application/http-message-signatures-directory+json";

/// The most keys that are read of a list.
pub const MAX_KEYS: usize = 100;

/// The list of these keys.
pub fn list(keys: &[Jwk]) -> Value {
    let key = |jwk: &Jwk| {
        let mut key =
            json!({ "kid": jwk.thumbprint(), "use": "sig", "alg": if jwk.y.is_some() { "ES256" } else { "EdDSA" } });
        if let (Value::Object(key), Ok(Value::Object(jwk))) = (&mut key, serde_json::to_value(jwk)) {
            key.extend(jwk);
        }
        key
    };
    json!({ "keys": keys.iter().map(key).collect::<Vec<_>>() })
}

/// The usable keys of a list, of a single JWK, or of what `countersign keys new` prints for a registration. `None` when it is none of these; keys of other
/// kinds are left out.
pub fn read(text: &str) -> Option<Vec<Jwk>> {
    let value: Value = serde_json::from_str(text).ok()?;
    let keys = match (value.get("keys"), value.get("jwk"), value.get("kty")) {
        (Some(Value::Array(keys)), _, _) => keys.clone(),
        (None, Some(jwk), _) => vec![jwk.clone()],
        (None, None, Some(_)) => vec![value],
        _ => return None,
    };
    let usable = |key: Value| serde_json::from_value::<Jwk>(key).ok().filter(|jwk| jwk.validate().is_ok());
    Some(keys.into_iter().take(MAX_KEYS).filter_map(usable).collect())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    #[test]
    fn a_list_is_read_back_and_other_keys_are_left_out() {
        let jwk = Jwk::ed25519(&SigningKey::from_bytes(&[1; 32]).verifying_key());
        let mut list = list(&[jwk.clone(), jwk.clone()]);
        list["keys"].as_array_mut().unwrap().push(json!({ "kty": "RSA", "n": "x", "e": "AQAB" }));
        assert_eq!(read(&list.to_string()), Some(vec![jwk.clone(), jwk.clone()]));
        assert_eq!(read(&json!({ "party": "bank", "jwk": jwk }).to_string()), Some(vec![jwk.clone()]));
        assert_eq!(read(&json!(jwk).to_string()), Some(vec![jwk]));
        assert_eq!((read("{}"), read("x")), (None, None));
    }
}
