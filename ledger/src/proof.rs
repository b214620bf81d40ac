//! The proof that an entry is in the ledger, in the form of c2sp.org/tlog-proof: index, audit path, checkpoint.

use std::{fmt, str::FromStr};

use data_encoding::BASE64;

use crate::{
    Hash,
    checkpoint::{Checkpoint, CheckpointError, VerifierKey},
    strict, tree,
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// The longest proof that is read, in bytes.
pub const MAX_PROOF_BYTES: usize = 128 * 1024;

/// The evidence that one entry is covered by one signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The entry's `seq`.
    pub index: u64,
    /// The audit path, lowest first.
    pub path: Vec<Hash>,
    /// The checkpoint that covers it.
    pub checkpoint: Checkpoint,
}

/// Why a proof cannot be read or believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Not in the form of c2sp.org/tlog-proof.
    #[error("not a proof in the form of c2sp.org/tlog-proof: {0}")]
    Malformed(&'static str),
    /// The checkpoint cannot be read or is not signed by a trusted key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from the entry to the checkpoint's root.
    #[error(
        "the proof does not lead from this entry to the root of the checkpoint at size {size}; entry or proof was changed"
    )]
    Root {
        /// The checkpoint's size.
        size: u64,
    },
}

impl Proof {
    /// Checks the checkpoint's signature and that the path leads from `entry`'s bytes to its root.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, entry: &[u8], trusted: &[VerifierKey]) -> Result<(), ProofError> {
        self.checkpoint.verify(trusted)?;
        self.leads_from(entry)
    }

    /// Checks only that the path leads from `entry`'s bytes to the checkpoint's root, not who signed it.
    ///
    /// # Errors
    /// [`ProofError::Root`].
    pub fn leads_from(&self, entry: &[u8]) -> Result<(), ProofError> {
        let size = self.checkpoint.size();
        match tree::root_from_inclusion(tree::leaf_hash(entry), self.index, size, &self.path) {
            Some(root) if root == self.checkpoint.root() => Ok(()),
            _ => Err(ProofError::Root { size }),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nindex {}", self.index)?;
        for hash in &self.path {
            writeln!(f, "{}", BASE64.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Proof, ProofError> {
        use ProofError::Malformed;
        if text.len() > MAX_PROOF_BYTES {
            return Err(Malformed("longer than 131072 bytes"));
        }
        let (head, note) = text.split_once("\n\n").ok_or(Malformed("no blank line before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(HEADER) {
            return Err(Malformed("the first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let mut line = lines.next();
        if line.is_some_and(|line| line.starts_with("extra ")) {
            line = lines.next();
        }
        let index = line.and_then(|line| line.strip_prefix("index ")).ok_or(Malformed("no `index` line"))?;
        if !index.bytes().all(|b| b.is_ascii_digit()) || (index.len() > 1 && index.starts_with('0')) {
            return Err(Malformed("the index is not a decimal number without leading zeros"));
        }
        let hash = |line: &str| -> Option<Hash> { Some(Hash::from(<[u8; 32]>::try_from(strict::base64(line)?).ok()?)) };
        let path = lines.map(hash).collect::<Option<Vec<_>>>().ok_or(Malformed("a hash is not base64 of 32 bytes"))?;
        if path.len() > 64 {
            return Err(Malformed("more than 64 hashes"));
        }
        Ok(Proof {
            index: index.parse().map_err(|_| Malformed("the index is too large"))?,
            path,
            checkpoint: Checkpoint::parse(note)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::checkpoint::CheckpointSigner;

    #[test]
    fn a_proof_survives_its_text_and_convinces_only_of_its_entry() {
        let signer = CheckpointSigner::new("bank.example/agents", SigningKey::from_bytes(&[1; 32])).unwrap();
        let (mut frontier, mut nodes) = (tree::Frontier::default(), BTreeMap::new());
        for n in 0..11_u8 {
            frontier.push(tree::leaf_hash(&[n]), |place, hash| {
                nodes.insert(place, hash);
            });
        }
        let proof = Proof {
            index: 4,
            path: tree::inclusion_proof(&nodes, 4, 11).unwrap(),
            checkpoint: signer.sign(11, frontier.root()).unwrap(),
        };
        let read: Proof = proof.to_string().parse().unwrap();
        assert_eq!(read, proof);
        let trusted = [signer.verifier().clone()];
        assert_eq!(read.verify(&[4], &trusted), Ok(()));
        assert_eq!(read.verify(&[5], &trusted), Err(ProofError::Root { size: 11 }));
        assert!(matches!(read.verify(&[4], &[]), Err(ProofError::Checkpoint(_))));
    }
}
