//! Salted disclosures in the form of SD-JWT (RFC 9901 §4.2): the entry holds a digest, the value lives in the vault.
//!
//! A disclosure is the base64url text of the JSON array `[salt, name, value]`; its digest is the base64url SHA-256 of that text.
//! The salt has 128 bits, so that a value of few possibilities (an amount, an account) cannot be guessed back from its digest.

use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{random, strict};

/// Digests of an entry's disclosures by the name of what they commit to: the member `sd` of a body.
pub type Commitments = BTreeMap<String, Digest>;

/// The base64url SHA-256 of a disclosure's text (RFC 9901 §4.2.3).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of a disclosure's text.
    pub(crate) fn of(text: &str) -> Digest {
        Digest(BASE64URL_NOPAD.encode(&Sha256::digest(text.as_bytes())))
    }

    /// The digest as it stands in an entry.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A salted value that can be shown to whoever holds the entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Disclosure {
    text: String,
    name: String,
    value: Value,
}

/// Why bytes are not a disclosure, or none could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisclosureError {
    /// Not base64url of `[salt, name, value]`.
    #[error("not a disclosure: expected base64url of the JSON array `[salt, name, value]`")]
    Malformed,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a salt: {0}")]
    Random(String),
    /// The value is not JSON.
    #[error("the value of `{name}` cannot be written as JSON: {source}")]
    Value {
        /// What the value is.
        name: String,
        /// The reason.
        source: serde_json::Error,
    },
}

impl Disclosure {
    /// Salts `value` with 128 fresh random bits.
    ///
    /// # Errors
    /// [`DisclosureError::Random`] without random bytes, [`DisclosureError::Value`] when `value` is not JSON.
    pub fn new<T: Serialize>(name: &str, value: &T) -> Result<Disclosure, DisclosureError> {
        let value =
            serde_json::to_value(value).map_err(|source| DisclosureError::Value { name: name.to_owned(), source })?;
        Ok(Disclosure { text: salted(name, &value)?, name: name.to_owned(), value })
    }

    /// Reads a disclosure's text.
    ///
    /// # Errors
    /// [`DisclosureError::Malformed`].
    pub fn parse(text: &str) -> Result<Disclosure, DisclosureError> {
        let array = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| DisclosureError::Malformed)?;
        let (_salt, name, value): (String, String, Value) =
            strict::parse(&array).map_err(|_| DisclosureError::Malformed)?;
        Ok(Disclosure { text: text.to_owned(), name, value })
    }

    /// The text that is hashed, stored and handed on.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the value is: the key in the entry's `sd`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The digest that commits to this disclosure.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }
}

/// How long the array of a disclosure usually is at most.
const USUAL_BYTES: usize = 256;

/// The text of a disclosure of `value`, salted with 128 fresh random bits.
pub(crate) fn salted<T: Serialize>(name: &str, value: &T) -> Result<String, DisclosureError> {
    let mut salt = [0; 16];
    random::fill(&mut salt).map_err(|error| DisclosureError::Random(error.to_string()))?;
    let mut text = [0; 22];
    BASE64URL_NOPAD.encode_mut(&salt, &mut text);
    let mut array = Vec::with_capacity(USUAL_BYTES);
    serde_json::to_writer(&mut array, &(str::from_utf8(&text).unwrap_or_default(), name, value))
        .map_err(|source| DisclosureError::Value { name: name.to_owned(), source })?;
    Ok(BASE64URL_NOPAD.encode(&array))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_digest_is_that_of_rfc_9901_section_4_2_3() {
        // The worked example of the section: a claim `family_name`.
        let text = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0";
        let disclosure = Disclosure::parse(text).unwrap();
        assert_eq!(disclosure.name(), "family_name");
        assert_eq!(disclosure.value(), &json!("Möbius"));
        assert_eq!(disclosure.digest().as_str(), "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0");
    }

    #[test]
    fn equal_values_have_different_digests() {
        let (a, b) = (Disclosure::new("amount", &"4.00").unwrap(), Disclosure::new("amount", &"4.00").unwrap());
        assert_ne!(a.digest(), b.digest());
        assert_eq!(Disclosure::parse(a.as_str()).unwrap(), a);
    }

    #[test]
    fn what_is_not_a_disclosure_is_refused() {
        for text in ["", "====", "W10", "e30", "WyJhIl0", "WyJhIiwiYiIsMSwyXQ"] {
            assert!(Disclosure::parse(text).is_err(), "{text}");
        }
    }
}
