//! Canonical JSON (RFC 8785), restricted: no floating-point numbers, integers within ±(2^53 − 1).
//!
//! The bytes hashed are the bytes stored, so an entry is canonicalised once, when it is written, and never again.

use serde::Serialize;
use serde_json::Value;

use crate::Hash;

/// The largest integer that every JSON reader keeps exactly (RFC 8785 §3.2.2.3, I-JSON).
pub const MAX_INTEGER: i64 = 9_007_199_254_740_991;

/// Why a value has no canonical form here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanonicalError {
    /// A floating-point number, or an integer that some readers round.
    #[error("the number `{number}` at `{at}` is not an integer within ±(2^53 - 1); write amounts as decimal strings")]
    Number {
        /// The offending number.
        number: String,
        /// JSON pointer to it.
        at: String,
    },
    /// The value could not be turned into JSON.
    #[error("cannot be written as canonical JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The RFC 8785 bytes of `value`.
///
/// # Errors
/// [`CanonicalError`] when the value holds a number outside the restriction of this module or is not JSON.
pub fn to_vec<T: Serialize>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    of(&serde_json::to_value(value)?)
}

/// The RFC 8785 bytes of a JSON value.
///
/// # Errors
/// As [`to_vec`].
pub fn of(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    check_numbers(value, &mut String::new())?;
    Ok(serde_json_canonicalizer::to_vec(value)?)
}

/// SHA-256 of the RFC 8785 bytes of any JSON value, fractions included: what a statement says of a value that is not its own.
///
/// # Errors
/// [`CanonicalError::Json`].
pub fn digest(value: &Value) -> Result<Hash, CanonicalError> {
    Ok(Hash::of(&serde_json_canonicalizer::to_vec(value)?))
}

/// Whether `bytes` are exactly the canonical form of the JSON they hold.
pub fn is_canonical(bytes: &[u8]) -> bool {
    serde_json::from_slice::<Value>(bytes)
        .ok()
        .and_then(|value| of(&value).ok())
        .is_some_and(|canonical| canonical == bytes)
}

fn check_numbers(value: &Value, at: &mut String) -> Result<(), CanonicalError> {
    let length = at.len();
    match value {
        Value::Number(number) => {
            let exact = number.as_i64().is_some_and(|n| (-MAX_INTEGER..=MAX_INTEGER).contains(&n));
            if !exact {
                return Err(CanonicalError::Number { number: number.to_string(), at: at.clone() });
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                at.push('/');
                at.push_str(&index.to_string());
                check_numbers(item, at)?;
                at.truncate(length);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                at.push('/');
                at.push_str(&name.replace('~', "~0").replace('/', "~1"));
                check_numbers(member, at)?;
                at.truncate(length);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_sorted_by_utf16_and_spaces_are_gone() {
        let bytes = to_vec(&json!({"b": 1, "a": [true, null, "é"], "\u{1F600}": 2, "\u{FB33}": 3})).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "{\"a\":[true,null,\"é\"],\"b\":1,\"\u{1F600}\":2,\"\u{FB33}\":3}"
        );
    }

    #[test]
    fn a_float_is_refused_with_its_place() {
        let error = to_vec(&json!({"a": [{"x": 1.5}]})).unwrap_err();
        assert!(error.to_string().contains("`1.5` at `/a/0/x`"), "{error}");
        assert!(to_vec(&json!(9_007_199_254_740_992_i64)).is_err());
        assert!(to_vec(&json!(-9_007_199_254_740_991_i64)).is_ok());
    }

    #[test]
    fn duplicate_members_and_other_spellings_are_not_canonical() {
        assert!(is_canonical(b"{\"a\":1}"));
        for other in [
            &b"{\"a\":1,\"a\":1}"[..],
            b"{\"a\": 1}",
            b"{\"a\":1e0}",
            b"{\"b\":1,\"a\":1}",
            b"{\"a\":\"\\u0061\"}",
            b"",
        ] {
            assert!(!is_canonical(other), "{}", String::from_utf8_lossy(other));
        }
    }
}
