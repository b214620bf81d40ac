//! Proofs are checked when they come and kept: whoever holds one can show later that the ledger was written anew.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
};

use countersign_ledger::{
    checkpoint::{Checkpoint, VerifierKey},
    proof::{Proof, ProofError},
};

/// Why a proof is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The proof itself.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Another ledger.
    #[error("the proof is of the ledger `{found}`, this keeper keeps those of `{expected}`")]
    Origin {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// Two histories.
    #[error(
        "the ledger shows two histories: two signed checkpoints of size {size} have different roots; keep both and call the investigator"
    )]
    Fork {
        /// The size.
        size: u64,
    },
    /// The file.
    #[error("the proof cannot be kept: {0}")]
    Io(#[from] std::io::Error),
}

/// Checks and keeps proofs of one ledger.
#[derive(Debug, Default)]
pub struct ProofKeeper {
    pinned: Vec<VerifierKey>,
    newest: Option<Proof>,
    file: Option<File>,
}

impl ProofKeeper {
    /// Keeps proofs in memory. Without pinned keys a proof's signature is not checked: then the keeper only sees forks.
    pub fn new(pinned: Vec<VerifierKey>) -> ProofKeeper {
        ProofKeeper { pinned, ..ProofKeeper::default() }
    }

    /// Keeps them in a file too, each proof behind the last.
    ///
    /// # Errors
    /// [`KeepError::Io`].
    pub fn in_file(pinned: Vec<VerifierKey>, path: &Path) -> Result<ProofKeeper, KeepError> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(ProofKeeper { pinned, newest: None, file: Some(file) })
    }

    /// Takes a proof. With the entry's bytes it is checked that the proof proves it.
    ///
    /// # Errors
    /// [`KeepError`]; what was kept before stays.
    pub fn keep(&mut self, text: &str, entry: Option<&[u8]>) -> Result<(), KeepError> {
        let proof: Proof = text.parse()?;
        if !self.pinned.is_empty() {
            proof.checkpoint.verify(&self.pinned).map_err(ProofError::from)?;
        }
        if let Some(entry) = entry {
            proof.leads_from(entry)?;
        }
        if let Some(newest) = &self.newest {
            compare(&newest.checkpoint, &proof.checkpoint)?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(format!("{proof}\n").as_bytes())?;
        }
        if self.newest.as_ref().is_none_or(|newest| newest.checkpoint.size() < proof.checkpoint.size()) {
            self.newest = Some(proof);
        }
        Ok(())
    }

    /// The proof with the newest checkpoint: what to give to `countersign verify --against`.
    pub const fn newest(&self) -> Option<&Proof> {
        self.newest.as_ref()
    }
}

fn compare(kept: &Checkpoint, new: &Checkpoint) -> Result<(), KeepError> {
    if kept.origin() != new.origin() {
        return Err(KeepError::Origin { found: new.origin().to_owned(), expected: kept.origin().to_owned() });
    }
    if kept.size() == new.size() && kept.root() != new.root() {
        return Err(KeepError::Fork { size: new.size() });
    }
    Ok(())
}

/// Checks, without any network, that a proof proves an entry under a pinned key.
///
/// # Errors
/// [`ProofError`].
pub fn verify_offline(entry: &[u8], proof: &str, key: &VerifierKey) -> Result<(), ProofError> {
    proof.parse::<Proof>()?.verify(entry, std::slice::from_ref(key))
}
