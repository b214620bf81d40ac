//! A durable batch: entries with what goes with them, and the checkpoint that covers them; and its bytes.
//!
//! All integers are big-endian; `docs/format.md` §8 has the layout.

mod beside;

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

pub use self::beside::{Attachments, Beside};
use crate::{Hash, Kind, checkpoint::Checkpoint, term::Term};

/// About what an entry takes in memory besides its bytes and those beside it.
#[cfg(feature = "store")]
const OVERHEAD_BYTES: usize = 512;

/// An entry with what is stored beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    // INVARIANT: never changed without `hash`, `n` and `terms`.
    pub(crate) bytes: Arc<[u8]>,
    /// What is stored beside it.
    pub beside: Beside,
    hash: Hash,
    n: Option<u64>,
    terms: Vec<Term>,
}

impl Stored {
    /// An entry with what is stored beside it.
    pub fn new(bytes: Arc<[u8]>, beside: Beside) -> Stored {
        let (hash, (n, terms)) = (Hash::of(&bytes), place_and_terms(&bytes).unwrap_or_default());
        Stored { bytes, beside, hash, n, terms }
    }

    /// As [`Stored::new`], for the writer, who knows them already.
    #[cfg(feature = "store")]
    pub(crate) fn known(bytes: Arc<[u8]>, hash: Hash, (n, terms): (Option<u64>, Vec<Term>), beside: Beside) -> Stored {
        Stored { bytes, beside, hash, n, terms }
    }

    /// The canonical bytes.
    pub const fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    pub const fn hash(&self) -> &Hash {
        &self.hash
    }

    /// Its counter in its instruction.
    #[cfg(feature = "store")]
    pub(crate) const fn n(&self) -> Option<u64> {
        self.n
    }

    /// What it is found by, besides its hash.
    #[cfg(feature = "store")]
    pub(crate) fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// About how much memory it takes, in bytes.
    #[cfg(feature = "store")]
    pub(crate) fn size(&self) -> usize {
        OVERHEAD_BYTES + self.bytes.len() + self.beside.len()
    }
}

/// The counter in its instruction and the terms of an entry.
fn place_and_terms(bytes: &[u8]) -> Option<(Option<u64>, Vec<Term>)> {
    #[derive(Deserialize)]
    struct Envelope {
        kind: Kind,
        instruction: Option<String>,
        n: Option<u64>,
        body: Body,
    }
    #[derive(Deserialize)]
    struct Body {
        call: Option<Value>,
        closed: Option<Value>,
    }
    let Envelope { kind, instruction, n, body } = serde_json::from_slice(bytes).ok()?;
    let terms = Term::of(&kind, instruction.as_deref(), body.call.as_ref(), body.closed.as_ref());
    Some((n.filter(|_| instruction.is_some()), terms))
}

/// Entries that became durable together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The first entry's `seq`.
    pub first: u64,
    /// The entries, dense.
    pub entries: Vec<Arc<Stored>>,
    /// The checkpoints that cover them: in a journal frame one, over all; in a pack every one that was made.
    pub checkpoints: Vec<Checkpoint>,
}

impl Batch {
    /// The `seq` after the last entry.
    pub fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// About how much memory it takes, in bytes.
    #[cfg(feature = "store")]
    pub(crate) fn size(&self) -> usize {
        self.entries.iter().map(|entry| entry.size()).sum()
    }

    /// The bytes; with the entries themselves, or (in a pack, beside a tile that has them) without.
    pub fn encode(&self, with_entries: bool, out: &mut Vec<u8>) {
        out.extend(self.first.to_be_bytes());
        put_count(out, self.entries.len());
        for entry in &self.entries {
            put(out, if with_entries { &entry.bytes } else { &[] });
            out.extend_from_slice(entry.beside.bytes());
        }
        put_count(out, self.checkpoints.len());
        for checkpoint in &self.checkpoints {
            put(out, checkpoint.as_str().as_bytes());
        }
    }

    /// Reads what [`Batch::encode`] made; `None` when the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Option<Batch> {
        let mut reader = Reader(bytes);
        let first = u64::from_be_bytes(*reader.chunk()?);
        let entries = reader.list(|reader| {
            let bytes = Arc::from(reader.bytes()?);
            Some(Arc::new(Stored::new(bytes, Beside::read(reader)?)))
        })?;
        let checkpoints = reader.list(|reader| Checkpoint::parse(std::str::from_utf8(reader.bytes()?).ok()?).ok())?;
        reader.0.is_empty().then_some(Batch { first, entries, checkpoints })
    }
}

/// The entries' bytes in what [`Batch::encode`] made, without reading anything else of them.
#[cfg(feature = "store")]
pub(crate) fn entries_in(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = Reader(bytes);
    reader.chunk::<8>()?;
    reader.list(|reader| {
        let bytes = reader.bytes()?;
        Beside::skip(reader)?;
        Some(bytes)
    })
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend(bytes);
}

struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn chunk<const N: usize>(&mut self) -> Option<&'b [u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(chunk)
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = u32::from_be_bytes(*self.chunk()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = u32::from_be_bytes(*self.chunk()?) as usize;
        // Each item takes at least one byte: a larger count is a lie, and must not reserve memory.
        if count > self.0.len() {
            return None;
        }
        (0..count).map(|_| item(self)).collect()
    }

    /// The same, where nothing is kept of the items.
    fn each(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        let count = u32::from_be_bytes(*self.chunk()?);
        (0..count).try_for_each(|_| item(self))
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        checkpoint::CheckpointSigner,
        record::{Attachment, StatePut},
    };

    #[test]
    fn a_batch_survives_its_bytes_and_no_cut_of_them_passes() {
        let signer = CheckpointSigner::new("a.example", SigningKey::from_bytes(&[1; 32])).unwrap();
        let attachments = [Attachment { subject: "s".into(), name: "words".into(), sealed: vec![1, 2] }];
        let state =
            [StatePut { key: b"k".to_vec(), value: Some(vec![3]) }, StatePut { key: b"l".to_vec(), value: None }];
        let batch = Batch {
            first: 3,
            entries: vec![Arc::new(Stored::new(
                Arc::from(&b"{}"[..]),
                Beside::new(&attachments.iter().cloned().collect(), &state),
            ))],
            checkpoints: vec![signer.sign(4, Hash::ZERO).unwrap()],
        };
        let mut bytes = Vec::new();
        batch.encode(true, &mut bytes);
        assert_eq!(Batch::decode(&bytes).as_ref(), Some(&batch));
        assert_eq!(batch.entries[0].beside.attachments(), attachments);
        assert_eq!(batch.entries[0].beside.state(), state);
        for cut in 0..bytes.len() {
            assert_eq!(Batch::decode(&bytes[..cut]), None, "{cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Batch::decode(&bytes);
        }
    }
}
