//! What signs checkpoints: one key, or two while one takes over from the other.

use std::{fmt, sync::Arc};

use data_encoding::BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use super::{Checkpoint, CheckpointError, VerifierKey};
use crate::Hash;

/// An Ed25519 key whose secret half is elsewhere, such as in a hardware module.
pub trait KeyElsewhere: Send + Sync {
    /// The public half.
    fn verifying_key(&self) -> VerifyingKey;

    /// Signs a message.
    ///
    /// # Errors
    /// [`NotSigned`].
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], NotSigned>;
}

/// Why a key that is elsewhere does not sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSigned {
    /// What is wrong, for the operator.
    pub what: String,
    /// Whether trying again does harm: a PIN that is wrong too often locks the module.
    pub is_final: bool,
}

/// Why something is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key `{key}` did not sign: {}", why.what)]
pub struct SignError {
    key: String,
    why: NotSigned,
}

impl SignError {
    /// Whether it must not be tried again.
    #[cfg(feature = "store")]
    pub(crate) const fn is_final(&self) -> bool {
        self.why.is_final
    }
}

/// Signs checkpoints of one ledger. A secret half that is in memory is wiped when dropped.
pub struct CheckpointSigner {
    first: Key,
    others: Vec<Key>,
}

struct Key {
    secret: Secret,
    verifier: VerifierKey,
}

enum Secret {
    Here(Box<SigningKey>),
    Elsewhere(Arc<dyn KeyElsewhere>),
}

impl Key {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let key = match &self.secret {
            Secret::Here(key) => return Ok(key.sign(message).to_bytes()),
            Secret::Elsewhere(key) => key,
        };
        let fail = |why| SignError { key: self.verifier.to_string(), why };
        let signature = key.sign(message).map_err(fail)?;
        // What somebody else made is looked at before anything is acknowledged with it.
        match self.verifier.key.verify_strict(message, &Signature::from_bytes(&signature)) {
            Ok(()) => Ok(signature),
            Err(_) => Err(fail(NotSigned { what: "what it gave is not its signature".to_owned(), is_final: false })),
        }
    }
}

impl CheckpointSigner {
    /// A signer for the ledger named `origin`.
    ///
    /// # Errors
    /// [`CheckpointError::Key`] when `origin` cannot name a key.
    pub fn new(origin: &str, key: SigningKey) -> Result<CheckpointSigner, CheckpointError> {
        let verifier = VerifierKey::new(origin, key.verifying_key())?;
        Ok(CheckpointSigner { first: Key { secret: Secret::Here(Box::new(key)), verifier }, others: Vec::new() })
    }

    /// The same with a key that is elsewhere.
    ///
    /// # Errors
    /// [`CheckpointError::Key`] when `origin` cannot name a key.
    pub fn elsewhere(origin: &str, key: Arc<dyn KeyElsewhere>) -> Result<CheckpointSigner, CheckpointError> {
        let verifier = VerifierKey::new(origin, key.verifying_key())?;
        Ok(CheckpointSigner { first: Key { secret: Secret::Elsewhere(key), verifier }, others: Vec::new() })
    }

    /// Both sign from now on.
    #[must_use]
    pub fn beside(mut self, other: CheckpointSigner) -> CheckpointSigner {
        self.others.extend(std::iter::once(other.first).chain(other.others));
        self
    }

    /// The public half of its first key.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.first.verifier
    }

    /// The public halves of all its keys.
    pub fn verifiers(&self) -> Vec<VerifierKey> {
        self.keys().map(|key| key.verifier.clone()).collect()
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The signature of one of its keys; none when it has no such key.
    ///
    /// # Errors
    /// [`SignError`], when a key that is elsewhere does not sign.
    pub fn sign_as(&self, key: &VerifierKey, message: &[u8]) -> Result<Option<[u8; 64]>, SignError> {
        self.keys().find(|own| own.verifier == *key).map(|own| own.sign(message)).transpose()
    }

    /// Signs the head of the ledger, with each of its keys.
    ///
    /// # Errors
    /// [`SignError`], when a key that is elsewhere does not sign.
    pub fn sign(&self, size: u64, root: Hash) -> Result<Checkpoint, SignError> {
        let origin = self.first.verifier.name.clone();
        let text = format!("{origin}\n{size}\n{}\n", BASE64.encode(root.as_bytes()));
        let mut note = format!("{text}\n");
        for key in self.keys() {
            let mut blob = key.verifier.id().to_vec();
            blob.extend(key.sign(text.as_bytes())?);
            note.push_str(&format!("\u{2014} {origin} {}\n", BASE64.encode(&blob)));
        }
        Ok(Checkpoint { origin, size, root, text_length: text.len(), note })
    }
}

impl fmt::Debug for CheckpointSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<String> = self.keys().map(|key| key.verifier.to_string()).collect();
        f.debug_struct("CheckpointSigner").field("keys", &keys).finish_non_exhaustive()
    }
}
