//! Canonical JSON (RFC 8785), restricted: no floating-point numbers, integers within ±(2^53 − 1).
//!
//! The bytes hashed are the bytes stored, so an entry is canonicalised once, when it is written, and never again.

mod members;
mod write;

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::Value;

pub use self::members::Members;
use self::write::{Unwritten, Writer};
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
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    put(value, &mut bytes)?;
    Ok(bytes)
}

/// The RFC 8785 bytes of `value`, put behind what is in `bytes`.
pub(crate) fn put<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), CanonicalError> {
    value.serialize(Writer::new(bytes)).map_err(|unwritten| told(unwritten, value))
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
        .and_then(|value| to_vec(&value).ok())
        .is_some_and(|canonical| canonical == bytes)
}

/// How long an entry usually is at most.
pub(crate) const USUAL_BYTES: usize = 1536;

/// What was wrong, and where: the value is looked at once more.
fn told<T: Serialize + ?Sized>(unwritten: Unwritten, value: &T) -> CanonicalError {
    match unwritten {
        Unwritten::Json(error) => CanonicalError::Json(error),
        Unwritten::Number => {
            let mut at = String::new();
            let number = serde_json::to_value(value).ok().and_then(|value| place(&value, &mut at)).unwrap_or_default();
            CanonicalError::Number { number, at }
        }
    }
}

/// A number that every reader keeps.
fn exact(number: Option<i64>) -> Option<i64> {
    number.filter(|number| (-MAX_INTEGER..=MAX_INTEGER).contains(number))
}

/// RFC 8785 §3.2.3: members are sorted by the UTF-16 code units of their names.
fn by_utf16(one: &str, other: &str) -> Ordering {
    if one.is_ascii() && other.is_ascii() { one.cmp(other) } else { one.encode_utf16().cmp(other.encode_utf16()) }
}

/// The first number that has no canonical form here, `at` its JSON pointer.
fn place(value: &Value, at: &mut String) -> Option<String> {
    match value {
        Value::Number(number) => exact(number.as_i64()).is_none().then(|| number.to_string()),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| step(&index.to_string(), item, at)),
        Value::Object(members) => {
            members.iter().find_map(|(name, member)| step(&name.replace('~', "~0").replace('/', "~1"), member, at))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
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
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;

    /// Everything that `serde` knows of.
    #[derive(Serialize)]
    struct Everything {
        z: Option<u8>,
        none: Option<()>,
        tuple: (i8, u128, char),
        unit: Unit,
        new: New,
        pair: Pair,
        kinds: Vec<Kinds>,
        by_number: BTreeMap<u8, bool>,
        #[serde(flatten)]
        rest: Map<String, Value>,
    }

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    struct New(String);

    #[derive(Serialize)]
    struct Pair(i64, ());

    #[derive(Serialize)]
    enum Kinds {
        Plain,
        New(u64),
        Pair(u8, u8),
        Named { z: u8, a: u8 },
    }

    fn everything() -> Everything {
        Everything {
            z: Some(1),
            none: None,
            tuple: (-1, 2, 'ü'),
            unit: Unit,
            new: New("\u{7}\"".into()),
            pair: Pair(MAX_INTEGER, ()),
            kinds: vec![Kinds::Plain, Kinds::New(1), Kinds::Pair(1, 2), Kinds::Named { z: 1, a: 2 }],
            by_number: BTreeMap::new(),
            rest: json!({ "b": [{ "y": {}, "x": [] }], "a\"": "", "a!": 0, "a": true }).as_object().cloned().unwrap(),
        }
    }

    #[test]
    fn whatever_serde_knows_is_written_as_its_tree_is() {
        let everything = everything();
        let other = serde_json_canonicalizer::to_vec(&serde_json::to_value(&everything).unwrap()).unwrap();
        assert_eq!(String::from_utf8(to_vec(&everything).unwrap()), String::from_utf8(other.clone()));
        let mut bytes = Vec::new();
        Members::of(&everything).unwrap().write(&mut bytes);
        assert_eq!(bytes, other);
    }

    #[test]
    fn what_is_no_object_and_names_that_are_no_text_or_stand_twice_are_refused() {
        for no_object in [json!([{ "a": 1 }]), json!("a"), Value::Null] {
            assert!(matches!(Members::of(&no_object), Err(CanonicalError::Json(_))), "{no_object}");
        }
        assert!(matches!(to_vec(&BTreeMap::from([(1, 2)])), Err(CanonicalError::Json(_))));
        let twice = Everything { rest: Map::from_iter([("z".to_owned(), Value::Null)]), ..everything() };
        assert!(matches!(to_vec(&twice), Err(CanonicalError::Json(_))));
        assert!(matches!(Members::of(&twice), Err(CanonicalError::Json(_))));
    }

    #[test]
    fn a_value_that_cannot_be_set_leaves_the_members_as_they_were() {
        let mut members = Members::of(&json!({ "a": 1, "b": 2 })).unwrap();
        let before = members.clone();
        assert!(members.set("a", &json!([1.5])).unwrap_err().to_string().contains("`1.5` at `/0`"));
        assert_eq!(members, before);
    }

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
            let other = serde_json_canonicalizer::to_vec(&value).unwrap();
            prop_assert_eq!(to_vec(&value).unwrap(), other.clone());
            let Value::Object(map) = value else { return Ok(()) };
            // Put together, with some of it set twice.
            let mut members = Members::of(&map.iter().take(3).collect::<BTreeMap<_, _>>()).unwrap();
            for (name, member) in &map {
                members.set(name, &1).unwrap();
                members.set(name, member).unwrap();
            }
            let mut bytes = Vec::new();
            members.write(&mut bytes);
            prop_assert_eq!(bytes, other);
            prop_assert_eq!(map.iter().all(|(name, member)| members.get(name).as_ref() == Some(member)), true);
            prop_assert_eq!(members.to_map(), map);
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
