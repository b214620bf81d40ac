//! The bytes that are about to become durable, hashed once more: a bit that flipped in memory after the first time would otherwise be signed, written
//! with a good checksum and acknowledged, and be found when the ledger is opened, too late.
//!
//! It costs two SHA-256 of an entry, about 1 us of processor time, before the sync that takes a hundred and more.

use crate::{
    Hash,
    batch::{Batch, entries_in},
    tree::{self, Frontier},
};

/// Whether a frame holds the entries that the batch's checkpoint was signed over; `before` is the tree without them.
pub(crate) fn is_as_signed(payload: &[u8], mut before: Frontier, batch: &Batch) -> bool {
    let Some((entries, checkpoint)) = entries_in(payload).zip(batch.checkpoints.last()) else { return false };
    if entries.len() != batch.entries.len() {
        return false;
    }
    for (bytes, stored) in entries.into_iter().zip(&batch.entries) {
        if Hash::of(bytes) != *stored.hash() {
            return false;
        }
        before.push(tree::leaf_hash(bytes), |_, _| {});
    }
    before.size() == checkpoint.size() && before.root() == checkpoint.root()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::{
        batch::{Beside, Stored},
        checkpoint::CheckpointSigner,
    };

    #[test]
    fn every_bit_that_flips_in_an_entry_after_it_was_hashed_is_seen() {
        let signer = CheckpointSigner::new("a.example", SigningKey::from_bytes(&[1; 32])).unwrap();
        let mut before = Frontier::default();
        before.push(tree::leaf_hash(b"first"), |_, _| {});
        let entries: Vec<_> = ["{\"a\":1}", "{\"b\":2}", ""].map(|text| text.as_bytes()).to_vec();
        let mut after = before.clone();
        entries.iter().for_each(|bytes| after.push(tree::leaf_hash(bytes), |_, _| {}));
        let stored = |bytes: &&[u8]| Arc::new(Stored::new(Arc::from(*bytes), Beside::default()));
        let batch = Batch {
            first: 1,
            entries: entries.iter().map(stored).collect(),
            checkpoints: vec![signer.sign(after.size(), after.root()).unwrap()],
        };
        let mut payload = Vec::new();
        batch.encode(true, &mut payload);
        assert!(is_as_signed(&payload, before.clone(), &batch));
        for text in entries.iter().filter(|text| !text.is_empty()) {
            let at = payload.windows(text.len()).position(|window| window == *text).unwrap();
            for bit in 0..text.len() * 8 {
                let mut flipped = payload.clone();
                flipped[at + bit / 8] ^= 1 << (bit % 8);
                assert!(!is_as_signed(&flipped, before.clone(), &batch), "bit {bit} of {text:?}");
            }
        }
        // A leaf, or a node of the tree, that flipped before the root was signed.
        let other = Batch { checkpoints: vec![signer.sign(after.size(), Hash::of(b"other")).unwrap()], ..batch };
        assert!(!is_as_signed(&payload, before, &other));
    }
}
