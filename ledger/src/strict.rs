//! JSON and base64 that every reader reads alike: no member stands twice (`docs/format.md` §1), and bytes have one spelling.

use std::{collections::BTreeSet, fmt};

use data_encoding::BASE64;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor},
};

/// Reads JSON in which no member stands twice.
///
/// # Errors
/// What is wrong, with its place.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice::<Once>(bytes)?;
    serde_json::from_slice(bytes)
}

/// The bytes of base64 in the one spelling that an encoder writes. The decoder takes several padded texts in a row for one, other readers take none.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    (BASE64.encode(&bytes) == text).then_some(bytes)
}

/// Any JSON in which no member stands twice.
struct Once;

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Once, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Once;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_str<E>(self, _: &str) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_unit<E>(self) -> Result<Once, E> {
        Ok(Once)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Once, A::Error> {
        while items.next_element::<Once>()?.is_some() {}
        Ok(Once)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Once, A::Error> {
        let mut names = BTreeSet::new();
        while let Some(name) = members.next_key::<String>()? {
            members.next_value::<Once>()?;
            if let Some(twice) = names.replace(name) {
                return Err(A::Error::custom(format!("the member `{twice}` stands twice")));
            }
        }
        Ok(Once)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn bytes_have_one_spelling() {
        assert_eq!(base64("TWE="), Some(b"Ma".to_vec()));
        // Two texts in a row, bits that do not count, no padding, other letters.
        for bad in ["TWE=TWE=", "TWF=", "TWE", "T-E=", "TWE=\n", " TWE="] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_member_that_stands_twice_is_found_at_any_depth() {
        for good in ["{}", r#"[{"a":1,"b":[{"a":null}]},{"a":"x"}]"#, "1.5", r#""a""#, "-3", "true"] {
            assert!(parse::<Value>(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#, r#"{"a":[{"c":1,"c":2}]}"#, "{", ""] {
            assert!(parse::<Value>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
