//! What lets the gateway into an API.

use std::fmt;

use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// The shortest secret that can be looked for in an answer without cutting honest ones.
pub const MIN_SECRET_CHARS: usize = 8;

/// A header that lets the gateway into an API.
#[derive(Clone, PartialEq)]
pub struct Credential {
    header: HeaderName,
    value: Zeroizing<String>,
}

/// Why a credential is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Not a header value.
    #[error("the credential has characters that no header can carry; a line break at its end, perhaps")]
    Characters,
    /// Too short to be found in an answer.
    #[error(
        "the credential has a secret of less than {MIN_SECRET_CHARS} characters; an answer that hands it on could not be told from others"
    )]
    Short,
}

impl Credential {
    /// A credential sent as `header: value`, such as `authorization: Bearer …`.
    ///
    /// # Errors
    /// [`CredentialError`].
    pub fn new(header: HeaderName, value: String) -> Result<Credential, CredentialError> {
        let value = Zeroizing::new(value);
        if value.is_empty() || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(CredentialError::Characters);
        }
        let credential = Credential { header, value };
        if credential.secret().len() < MIN_SECRET_CHARS {
            return Err(CredentialError::Short);
        }
        Ok(credential)
    }

    /// The header's name.
    pub const fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The value, marked so that nothing prints it and HTTP/2 does not index it.
    pub fn value(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&self.value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The part that is secret: behind the scheme (`Bearer `, `Basic `), if there is one.
    pub fn secret(&self) -> &str {
        self.value.split_once(' ').map_or(self.value.as_str(), |(_, secret)| secret.trim())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("header", &self.header).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn a_credential_is_sendable_long_enough_and_never_printed() {
        let credential = Credential::new(AUTHORIZATION, "Bearer sk-123456789".into()).unwrap();
        assert_eq!(credential.secret(), "sk-123456789");
        assert!(credential.value().unwrap().is_sensitive());
        assert!(!format!("{credential:?}").contains("123"));
        assert!(matches!(Credential::new(AUTHORIZATION, "Bearer abc".into()), Err(CredentialError::Short)));
        assert!(matches!(Credential::new(AUTHORIZATION, "sk-123456789\n".into()), Err(CredentialError::Characters)));
    }
}
