//! The vault: disclosures encrypted under a data key per data subject, so that destroying one key erases a person everywhere.
//!
//! Data keys live in the keyring, outside journal, store and archive, wrapped under a key-encryption key (KEK) in a file of its own.
//! XChaCha20-Poly1305 throughout; the subject's id is the associated data. A sealed disclosure is padded to a multiple of
//! 64 bytes, because the length of an amount or a name gives part of it away.

mod cipher;
mod keyring;

use std::{collections::BTreeMap, path::Path, path::PathBuf};

use parking_lot::RwLock;
use rand::{TryRng, rngs::SysRng};
use serde::Serialize;
use zeroize::Zeroizing;

use self::cipher::{decrypt, encrypt, encrypt_padded, unpad};
use crate::{
    canonical::CanonicalError,
    disclosure::{self, Disclosure, DisclosureError},
    disk,
    record::{Attachment, Draft},
};

/// The principal name under which what belongs to no data subject is sealed (calls without a valid token, platform facts).
pub const GATEWAY: &str = "gateway";

/// Why the vault cannot be opened, or something in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// A file of the vault's keys cannot be read or written.
    #[error("`{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A key file that others can read.
    #[error("`{0}` can be read by others; a key file must be mode 0600: run `chmod 600` on it")]
    Permissions(PathBuf),
    /// The key-encryption key is not there, and the keyring is.
    #[error(
        "`{0}` is not there, and the keyring beside it was written with it: put it back from the backup of the keys; without it nothing that the vault holds opens again"
    )]
    NoKek(PathBuf),
    /// The keyring is not there, and the key-encryption key is.
    #[error(
        "`{0}` is not there, and `vault.kek` beside it was made for it: put it back from the newest backup of the keys; if there is none, nothing that the vault holds opens again, and a new vault begins once `vault.kek` is removed too"
    )]
    NoKeyring(PathBuf),
    /// The keyring is damaged.
    #[error(
        "the keyring `{path}` is damaged at byte {at}: {what}; restore it from a backup made after the last erasure"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The key-encryption key is not that of the keyring.
    #[error("the key in `{0}` is not the one that the keyring was written with; the two must be restored together")]
    WrongKek(PathBuf),
    /// A change of the keyring failed before.
    #[error("the keyring `{0}` could not be changed before, and what it holds is not known; start again")]
    Stopped(PathBuf),
    /// A principal's name that no record can hold.
    #[error("a principal's name of {0} bytes is too long; names have at most 65000")]
    PrincipalTooLong(usize),
    /// No data key for the subject.
    #[error("there is no data key for subject `{0}`: it was erased, or the keyring is of another ledger")]
    NoKey(String),
    /// The ciphertext does not open under the subject's key.
    #[error("`{name}` of subject `{subject}` does not open under the subject's data key: it was changed")]
    Sealed {
        /// The subject.
        subject: String,
        /// What it is.
        name: String,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}")]
    Random(String),
    /// The disclosure cannot be made or read.
    #[error(transparent)]
    Disclosure(#[from] DisclosureError),
    /// The commitment cannot be written.
    #[error(transparent)]
    Commitment(#[from] CanonicalError),
}

impl VaultError {
    /// Whether the disk had no room for a key: the same is possible once it has.
    pub fn is_full(&self) -> bool {
        matches!(self, VaultError::Io { source, .. } if disk::is_full(source))
    }
}

/// A data key; wiped when dropped.
type Key = Zeroizing<[u8; 32]>;

/// What a sealed disclosure turns out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened {
    /// The value.
    Value(Disclosure),
    /// The subject's data key is gone.
    Erased,
}

struct Subject {
    principal: String,
    key: Key,
}

#[derive(Default)]
struct Subjects {
    by_id: BTreeMap<String, Subject>,
    by_principal: BTreeMap<String, String>,
}

impl Subjects {
    fn insert(&mut self, id: String, subject: Subject) {
        self.by_principal.insert(subject.principal.clone(), id.clone());
        self.by_id.insert(id, subject);
    }
}

/// The data keys of all data subjects.
pub struct Vault {
    // INVARIANT: whoever changes the keyring file holds this lock for writing until the file is durable.
    subjects: RwLock<(Subjects, keyring::Keyring)>,
}

impl Vault {
    /// Opens the vault whose keys are in `keys_dir`, or makes one there.
    ///
    /// # Errors
    /// [`VaultError`]; a damaged keyring or a wrong KEK is refused, never partly used.
    pub fn open(keys_dir: &Path) -> Result<Vault, VaultError> {
        let (keyring, records) = keyring::Keyring::open(keys_dir)?;
        let mut subjects = Subjects::default();
        for record in records {
            subjects.insert(record.subject, Subject { principal: record.principal, key: record.key });
        }
        Ok(Vault { subjects: RwLock::new((subjects, keyring)) })
    }

    /// The random id of a data subject, made and durably stored if the principal is new.
    ///
    /// # Errors
    /// [`VaultError`] when the keyring cannot be written.
    pub fn subject(&self, principal: &str) -> Result<String, VaultError> {
        if let Some(id) = self.subjects.read().0.by_principal.get(principal) {
            return Ok(id.clone());
        }
        let mut guard = self.subjects.write();
        let (subjects, keyring) = &mut *guard;
        if let Some(id) = subjects.by_principal.get(principal) {
            return Ok(id.clone());
        }
        let mut key = Key::new([0; 32]);
        random(key.as_mut_slice())?;
        let id = uuid::Uuid::new_v4().to_string();
        let record = keyring::Record { subject: id.clone(), principal: principal.to_owned(), key };
        keyring.append(&record)?;
        subjects.insert(id.clone(), Subject { principal: record.principal, key: record.key });
        Ok(id)
    }

    /// The name behind a subject's id, unless it was erased.
    pub fn principal(&self, subject: &str) -> Option<String> {
        self.subjects.read().0.by_id.get(subject).map(|subject| subject.principal.clone())
    }

    /// The subject's id of a principal, if there is one; makes none.
    pub fn find(&self, principal: &str) -> Option<String> {
        self.subjects.read().0.by_principal.get(principal).cloned()
    }

    /// Encrypts a disclosure for the vault.
    ///
    /// # Errors
    /// [`VaultError::NoKey`] for an unknown or erased subject.
    pub fn seal(&self, subject: &str, disclosure: &Disclosure) -> Result<Attachment, VaultError> {
        let sealed = self.seal_state(subject, disclosure.as_str().as_bytes())?;
        Ok(Attachment { subject: subject.to_owned(), name: disclosure.name().to_owned(), sealed })
    }

    /// Decrypts a disclosure.
    ///
    /// # Errors
    /// [`VaultError::Sealed`] when it was changed, [`VaultError::Disclosure`] when what it holds is none.
    pub fn open_attachment(&self, attachment: &Attachment) -> Result<Opened, VaultError> {
        let plain = match self.open_state(&attachment.subject, &attachment.sealed) {
            Ok(plain) => plain,
            Err(VaultError::NoKey(_)) => return Ok(Opened::Erased),
            Err(VaultError::Sealed { subject, .. }) => {
                return Err(VaultError::Sealed { subject, name: attachment.name.clone() });
            }
            Err(other) => return Err(other),
        };
        let text = String::from_utf8(plain).map_err(|_| DisclosureError::Malformed)?;
        Ok(Opened::Value(Disclosure::parse(&text)?))
    }

    /// Encrypts bytes about a subject that are no disclosure (state).
    ///
    /// # Errors
    /// [`VaultError::NoKey`] for an unknown or erased subject.
    pub fn seal_state(&self, subject: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut sealed = Vec::new();
        self.put_sealed(subject, plain, &mut sealed)?;
        Ok(sealed)
    }

    /// The same, put behind what is in `sealed`.
    fn put_sealed(&self, subject: &str, plain: &[u8], sealed: &mut Vec<u8>) -> Result<(), VaultError> {
        let guard = self.subjects.read();
        let key = &guard.0.by_id.get(subject).ok_or_else(|| VaultError::NoKey(subject.to_owned()))?.key;
        encrypt_padded(key, subject.as_bytes(), plain, sealed)
    }

    /// Decrypts what [`Vault::seal_state`] made.
    ///
    /// # Errors
    /// [`VaultError::NoKey`], [`VaultError::Sealed`].
    pub fn open_state(&self, subject: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let guard = self.subjects.read();
        let key = &guard.0.by_id.get(subject).ok_or_else(|| VaultError::NoKey(subject.to_owned()))?.key;
        decrypt(key, subject.as_bytes(), sealed)
            .as_deref()
            .and_then(unpad)
            .ok_or_else(|| VaultError::Sealed { subject: subject.to_owned(), name: "state".to_owned() })
    }

    /// Destroys a subject's data key: makes a new KEK, wraps the other data keys under it, wipes and removes the old KEK.
    /// Old copies of the keyring do not open under the new KEK. Does nothing for a subject that is not there.
    ///
    /// # Errors
    /// [`VaultError`]; after an error, opening the vault again finds either the old or the new state, whole.
    pub fn erase(&self, subject: &str) -> Result<(), VaultError> {
        let mut guard = self.subjects.write();
        let (subjects, keyring) = &mut *guard;
        let rest: Vec<_> = subjects.by_id.iter().filter(|(id, _)| *id != subject).collect();
        if rest.len() == subjects.by_id.len() {
            return Ok(());
        }
        keyring.rewrap(rest.into_iter().map(|(id, subject)| keyring::Record {
            subject: id.clone(),
            principal: subject.principal.clone(),
            key: subject.key.clone(),
        }))?;
        if let Some(erased) = subjects.by_id.remove(subject) {
            subjects.by_principal.remove(&erased.principal);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("subjects", &self.subjects.read().0.by_id.len()).finish_non_exhaustive()
    }
}

impl Draft {
    /// Commits to `value` under `name` and adds its encrypted disclosure.
    ///
    /// # Errors
    /// [`VaultError`] when the value is not JSON or the subject has no data key.
    pub fn disclose<T: Serialize>(
        mut self,
        vault: &Vault,
        subject: &str,
        name: &str,
        value: &T,
    ) -> Result<Draft, VaultError> {
        let text = disclosure::salted(name, value)?;
        self.attachments.add(subject, name, |sealed| vault.put_sealed(subject, text.as_bytes(), sealed))?;
        self.commitments.set(name, disclosure::Digest::of(&text).as_str())?;
        Ok(self)
    }
}

fn random(bytes: &mut [u8]) -> Result<(), VaultError> {
    SysRng.try_fill_bytes(bytes).map_err(|error| VaultError::Random(error.to_string()))
}

#[cfg(test)]
mod tests;
