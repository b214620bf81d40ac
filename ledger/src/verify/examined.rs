//! All that can be found out about a piece by itself: what takes the time, on as many threads as there are.

use std::collections::BTreeMap;

use crate::{
    Entry, Hash, Kind,
    batch::{Batch, Stored},
    checkpoint::{Checkpoint, CheckpointError, VerifierKey},
    evidence::{Opener, Shown, Source},
    record::EntryError,
    tree,
};

/// A piece, examined.
pub(super) struct Examined {
    /// The first entry's number.
    pub(super) first: u64,
    pub(super) entries: Vec<ExaminedEntry>,
    /// Each checkpoint, and whether one of the ledger's keys signed it.
    pub(super) checkpoints: Vec<(Checkpoint, Result<(), CheckpointError>)>,
}

/// An entry, examined.
pub(super) struct ExaminedEntry {
    pub(super) hash: Hash,
    /// Its leaf in the tree.
    pub(super) leaf: Hash,
    pub(super) entry: Result<Entry, EntryError>,
    /// What its values are, when the vault is opened.
    pub(super) values: Option<Values>,
}

/// An entry's values, and why some cannot be opened.
#[derive(Default)]
pub(super) struct Values {
    pub(super) shown: BTreeMap<String, Shown>,
    pub(super) unreadable: Vec<String>,
}

impl Examined {
    pub(super) fn new(piece: Batch, keys: &[VerifierKey], open: Option<&Opener<'_>>) -> Examined {
        let signed = |checkpoint: Checkpoint| {
            let signed = checkpoint.verify(keys).map(|_| ());
            (checkpoint, signed)
        };
        Examined {
            first: piece.first,
            entries: piece.entries.iter().map(|stored| ExaminedEntry::new(stored, open)).collect(),
            checkpoints: piece.checkpoints.into_iter().map(signed).collect(),
        }
    }
}

impl ExaminedEntry {
    fn new(stored: &Stored, open: Option<&Opener<'_>>) -> ExaminedEntry {
        ExaminedEntry {
            hash: Hash::of(&stored.bytes),
            leaf: tree::leaf_hash(&stored.bytes),
            entry: Entry::parse(&stored.bytes),
            values: open.map(|open| Values::of(stored, open)),
        }
    }
}

impl Values {
    fn of(stored: &Stored, open: &Opener<'_>) -> Values {
        let mut values = Values::default();
        for attachment in &stored.attachments {
            let shown = match open(attachment) {
                Ok(Some(disclosure)) => Shown::Value(disclosure),
                Ok(None) => Shown::Erased,
                Err(what) => {
                    values.unreadable.push(what);
                    Shown::Withheld
                }
            };
            values.shown.insert(attachment.name.clone(), shown);
        }
        values
    }
}

/// The key that the first entry names: it signs the checkpoints.
pub(super) fn keys(source: &dyn Source) -> Vec<VerifierKey> {
    let first = source.piece(0).ok().filter(|piece| piece.first == 0);
    let entry = first.and_then(|piece| Entry::parse(&piece.entries.first()?.bytes).ok());
    let ledger = entry.filter(|entry| entry.kind == Kind::Ledger);
    ledger.and_then(|entry| entry.text("vkey")?.parse().ok()).into_iter().collect()
}
