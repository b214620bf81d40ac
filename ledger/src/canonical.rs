//! Canonical JSON (RFC 8785), restricted: no floating-point numbers, integers within ±(2^53 − 1).
//!
//! The bytes hashed are the bytes stored, so an entry is canonicalised once, when it is written, and never again.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::{Map, Number, Value};

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
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    write(value, &mut bytes).map_err(|inexact| inexact.placed(|at| place(value, at)))?;
    Ok(bytes)
}

/// The RFC 8785 bytes of an object of these members, put behind what is in `bytes`.
#[cfg(feature = "store")]
pub(crate) fn put_object(members: &Map<String, Value>, bytes: &mut Vec<u8>) -> Result<(), CanonicalError> {
    write_object(members, bytes).map_err(|inexact| inexact.placed(|at| place_in(members, at)))
}

/// The RFC 8785 bytes of a text, put behind what is in `bytes`.
#[cfg(feature = "store")]
pub(crate) fn put_text(text: &str, bytes: &mut Vec<u8>) -> Result<(), CanonicalError> {
    Ok(serde_json::to_writer(bytes, text)?)
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

/// How long an entry usually is at most.
pub(crate) const USUAL_BYTES: usize = 1536;

/// Why a value cannot be written; where its number stands is looked for only when somebody has to be told.
enum Inexact {
    Number,
    Json(serde_json::Error),
}

impl Inexact {
    fn placed(self, place: impl Fn(&mut String) -> Option<String>) -> CanonicalError {
        match self {
            Inexact::Json(error) => CanonicalError::Json(error),
            Inexact::Number => {
                let mut at = String::new();
                let number = place(&mut at).unwrap_or_default();
                CanonicalError::Number { number, at }
            }
        }
    }
}

impl From<serde_json::Error> for Inexact {
    fn from(error: serde_json::Error) -> Inexact {
        Inexact::Json(error)
    }
}

fn exact(number: &Number) -> Option<i64> {
    number.as_i64().filter(|n| (-MAX_INTEGER..=MAX_INTEGER).contains(n))
}

fn write(value: &Value, bytes: &mut Vec<u8>) -> Result<(), Inexact> {
    match value {
        Value::Number(number) => serde_json::to_writer(bytes, &exact(number).ok_or(Inexact::Number)?)?,
        Value::Array(items) => {
            bytes.push(b'[');
            for (index, item) in items.iter().enumerate() {
                bytes.extend((index > 0).then_some(b','));
                write(item, bytes)?;
            }
            bytes.push(b']');
        }
        Value::Object(members) => write_object(members, bytes)?,
        // What `serde_json` writes of these without spaces is what RFC 8785 §3.2.2 asks for.
        Value::Null | Value::Bool(_) | Value::String(_) => serde_json::to_writer(bytes, value)?,
    }
    Ok(())
}

fn write_object(members: &Map<String, Value>, bytes: &mut Vec<u8>) -> Result<(), Inexact> {
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_unstable_by(|(one, _), (other, _)| by_utf16(one, other));
    bytes.push(b'{');
    for (index, (name, member)) in sorted.into_iter().enumerate() {
        bytes.extend((index > 0).then_some(b','));
        serde_json::to_writer(&mut *bytes, name)?;
        bytes.push(b':');
        write(member, bytes)?;
    }
    bytes.push(b'}');
    Ok(())
}

/// RFC 8785 §3.2.3: members are sorted by the UTF-16 code units of their names.
fn by_utf16(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() { one.cmp(other) } else { one.encode_utf16().cmp(other.encode_utf16()) }
}

/// The first number that has no canonical form here, `at` its JSON pointer.
fn place(value: &Value, at: &mut String) -> Option<String> {
    match value {
        Value::Number(number) => exact(number).is_none().then(|| number.to_string()),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| step(&index.to_string(), item, at)),
        Value::Object(members) => place_in(members, at),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn place_in(members: &Map<String, Value>, at: &mut String) -> Option<String> {
    members.iter().find_map(|(name, member)| step(&name.replace('~', "~0").replace('/', "~1"), member, at))
}

fn step(name: &str, value: &Value, at: &mut String) -> Option<String> {
    let length = at.len();
    at.push('/');
    at.push_str(name);
    let found = place(value, at);
    if found.is_none() {
        at.truncate(length);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-MAX_INTEGER..=MAX_INTEGER).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\u{0}-\\u{20}\"\\\\\\u{7f}-\\u{a0}\\u{2028}]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            let name = prop_oneof![any::<String>(), "[a-c\\u{e000}\\u{fb33}\\u{1f600}\\u{10ffff}]{0,3}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((name, inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// What is written here is what a library for RFC 8785 writes.
        #[test]
        fn it_is_what_others_write(value in values()) {
            prop_assert_eq!(of(&value).unwrap(), serde_json_canonicalizer::to_vec(&value).unwrap());
        }
    }

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
