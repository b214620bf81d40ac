//! Checkpoints: C2SP signed notes (c2sp.org/signed-note) that hold origin, size and root (c2sp.org/tlog-checkpoint).

mod signer;

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};

pub use self::signer::{CheckpointSigner, KeyElsewhere, NotSigned, SignError};
use crate::{Hash, strict};

/// The signature type of plain Ed25519 in key ids and verifier keys.
const ED25519: u8 = 0x01;

/// The longest note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;

/// How many signature lines of a note are read.
const MAX_SIGNATURES: usize = 100;

/// Why bytes are not a note, checkpoint or verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Not a signed note.
    #[error("not a signed note: {0}")]
    Note(&'static str),
    /// A note whose text is not a checkpoint.
    #[error("not a checkpoint: {0}")]
    Checkpoint(&'static str),
    /// Not a verifier key.
    #[error("not a verifier key (`name+hash+key`): {0}")]
    Key(&'static str),
    /// No signature of a trusted key.
    #[error("the checkpoint of `{origin}` at size {size} is not signed by a trusted key")]
    Untrusted {
        /// The origin it claims.
        origin: String,
        /// The size it claims.
        size: u64,
    },
    /// A signature by a trusted key's name and id that does not fit: the whole note is refused.
    #[error("the signature of `{0}` does not fit the checkpoint")]
    Signature(String),
}

/// Whether `name` can name a key or a log: not empty, no spaces, no plus, no control characters.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A verifier key in the form `name+hash+key` of c2sp.org/signed-note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The verifier key of `key` under `name`.
    ///
    /// # Errors
    /// [`CheckpointError::Key`] when the name has spaces, plus or control characters.
    pub fn new(name: &str, key: VerifyingKey) -> Result<VerifierKey, CheckpointError> {
        if is_key_name(name) {
            Ok(VerifierKey { name: name.to_owned(), key })
        } else {
            Err(CheckpointError::Key("the name is empty or has spaces, plus or control characters"))
        }
    }

    /// The key's name: for a ledger's own key its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ key).
    pub fn id(&self) -> [u8; 4] {
        let mut hasher = Sha256::new();
        hasher.update(self.name.as_bytes());
        hasher.update([b'\n', ED25519]);
        hasher.update(self.key.as_bytes());
        let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
        [a, b, c, d]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut typed = vec![ED25519];
        typed.extend(self.key.as_bytes());
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id()), BASE64.encode(&typed))
    }
}

impl FromStr for VerifierKey {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<VerifierKey, CheckpointError> {
        use CheckpointError::Key;
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Key("expected three parts joined by `+`"));
        };
        let typed = strict::base64(key).ok_or(Key("the key is not base64"))?;
        let key = match typed.split_first() {
            Some((&ED25519, key)) => <[u8; 32]>::try_from(key).map_err(|_| Key("an Ed25519 key has 32 bytes"))?,
            _ => return Err(Key("only Ed25519 keys (type 1) are supported")),
        };
        let key = VerifyingKey::from_bytes(&key).map_err(|_| Key("the key is not a point of Ed25519"))?;
        let key = VerifierKey::new(name, key)?;
        if HEXLOWER.encode(&key.id()) == id { Ok(key) } else { Err(Key("the hash is not that of name and key")) }
    }
}

/// Name, key id and signature.
type SignatureLine<'n> = (&'n str, [u8; 4], Vec<u8>);

/// A checkpoint as read; its signatures are checked by [`Checkpoint::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    text_length: usize,
    note: String,
}

impl Checkpoint {
    /// Reads a note and the checkpoint in it. Signatures are not checked.
    ///
    /// # Errors
    /// [`CheckpointError::Note`], [`CheckpointError::Checkpoint`].
    pub fn parse(note: &str) -> Result<Checkpoint, CheckpointError> {
        use CheckpointError::{Checkpoint as Bad, Note};
        if note.len() > MAX_NOTE_BYTES {
            return Err(Note("longer than 65536 bytes"));
        }
        if note.chars().any(|c| c.is_control() && c != '\n') {
            return Err(Note("control characters other than newline"));
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(Note("no blank line before the signatures"))?;
        if signatures.is_empty() || !signatures.ends_with('\n') {
            return Err(Note("no signature line, or the last one has no end"));
        }
        let mut lines = text.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty()).ok_or(Bad("the origin is empty"))?;
        let size = lines.next().ok_or(Bad("no size"))?;
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) || (size.len() > 1 && size.starts_with('0')) {
            return Err(Bad("the size is not a decimal number without leading zeros"));
        }
        let root = lines.next().ok_or(Bad("no root"))?;
        let root = strict::base64(root).ok_or(Bad("the root is not base64"))?;
        let root = <[u8; 32]>::try_from(root).map_err(|_| Bad("the root has not 32 bytes"))?;
        if lines.any(str::is_empty) {
            return Err(Bad("an extension line is empty"));
        }
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| Bad("the size is too large"))?,
            root: Hash::from(root),
            text_length: text.len() + 1,
            note: note.to_owned(),
        };
        checkpoint.signatures()?;
        Ok(checkpoint)
    }

    /// The ledger's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries it covers.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root over them.
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// The whole note, with its signatures.
    pub fn as_str(&self) -> &str {
        &self.note
    }

    /// Checks that a key of `trusted` signed. Signatures of unknown keys are ignored; one of a trusted key that does not fit
    /// makes the whole note refused (c2sp.org/signed-note).
    ///
    /// # Errors
    /// [`CheckpointError::Signature`], [`CheckpointError::Untrusted`].
    pub fn verify<'k>(&self, trusted: &'k [VerifierKey]) -> Result<&'k VerifierKey, CheckpointError> {
        let text = self.note.get(..self.text_length).unwrap_or_default();
        let mut signer = None;
        for (name, id, signature) in self.signatures()? {
            // The key's name is the ledger's: another ledger's key says nothing of this one.
            let of_origin = |key: &&VerifierKey| key.name == self.origin && key.name == name && key.id() == id;
            let Some(key) = trusted.iter().find(of_origin) else { continue };
            let signature =
                Signature::from_slice(&signature).map_err(|_| CheckpointError::Signature(name.to_owned()))?;
            if key.key.verify_strict(text.as_bytes(), &signature).is_err() {
                return Err(CheckpointError::Signature(name.to_owned()));
            }
            signer = Some(key);
        }
        signer.ok_or_else(|| CheckpointError::Untrusted { origin: self.origin.clone(), size: self.size })
    }

    /// Name, key id and signature of each signature line.
    fn signatures(&self) -> Result<Vec<SignatureLine<'_>>, CheckpointError> {
        use CheckpointError::Note;
        let block = self.note.get(self.text_length + 1..).unwrap_or_default();
        if block.lines().count() > MAX_SIGNATURES {
            return Err(Note("more than 100 signatures"));
        }
        let parse = |line| -> Option<_> {
            let (name, blob) = str::strip_prefix(line, "\u{2014} ")?.split_once(' ')?;
            let blob = strict::base64(blob)?;
            let (id, signature) = blob.split_first_chunk::<4>()?;
            (is_key_name(name) && !signature.is_empty()).then(|| (name, *id, signature.to_vec()))
        };
        block.lines().map(|line| parse(line).ok_or(Note("a signature line is malformed"))).collect()
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.note)
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(note: &str) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::parse(note)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn signer(seed: u8) -> CheckpointSigner {
        CheckpointSigner::new("bank.example/agents", SigningKey::from_bytes(&[seed; 32])).unwrap()
    }

    #[test]
    fn a_checkpoint_verifies_with_its_key_and_no_other() {
        let checkpoint = signer(1).sign(7, Hash::of(b"root")).unwrap();
        let read = Checkpoint::parse(checkpoint.as_str()).unwrap();
        assert_eq!(read, checkpoint);
        assert!(read.verify(&[signer(2).verifier().clone(), signer(1).verifier().clone()]).is_ok());
        assert!(matches!(
            read.verify(&[signer(2).verifier().clone()]),
            Err(CheckpointError::Untrusted { size: 7, .. })
        ));
        let changed = checkpoint.as_str().replacen("\n7\n", "\n8\n", 1);
        let changed = Checkpoint::parse(&changed).unwrap();
        assert!(matches!(changed.verify(&[signer(1).verifier().clone()]), Err(CheckpointError::Signature(_))));
    }

    #[test]
    fn a_verifier_key_survives_its_text() {
        let key = signer(1).verifier().clone();
        assert_eq!(key.to_string().parse::<VerifierKey>(), Ok(key.clone()));
        let other_name = key.to_string().replacen("bank", "tank", 1);
        assert!(other_name.parse::<VerifierKey>().is_err());
    }

    #[test]
    fn what_is_not_a_checkpoint_is_refused() {
        let good = signer(1).sign(7, Hash::of(b"root")).unwrap().as_str().to_owned();
        for (from, to) in [
            ("\n7\n", "\n07\n"),
            ("\n7\n", "\n-7\n"),
            ("\n7\n", "\n\n"),
            ("\n\n", "\n"),
            ("\u{2014} ", "- "),
            ("bank", "ba\tnk"),
        ] {
            assert!(Checkpoint::parse(&good.replacen(from, to, 1)).is_err(), "{from:?} -> {to:?}");
        }
        assert!(Checkpoint::parse("").is_err());
        assert!(Checkpoint::parse(good.trim_end()).is_err());
    }
}
