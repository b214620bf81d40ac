//! All that can be found out about a piece by itself: what takes the time, on as many threads as there are.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    Entry, Hash, Kind,
    batch::{Batch, Stored},
    checkpoint::{Checkpoint, CheckpointError, VerifierKey},
    evidence::{Opener, Shown, Source},
    record::EntryError,
    rotation::LedgerKeys,
    tree,
};

/// A piece, examined.
pub(super) struct Examined {
    /// The first entry's number.
    pub(super) first: u64,
    pub(super) entries: Vec<ExaminedEntry>,
    /// Each checkpoint, and which of the keys that were known then signed it.
    pub(super) checkpoints: Vec<(Checkpoint, Result<VerifierKey, CheckpointError>)>,
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
    pub(super) fn new(piece: Batch, keys: &SharedKeys, open: Option<&Opener<'_>>) -> Examined {
        let keys = keys.now();
        let signed = |checkpoint: Checkpoint| {
            let signed = checkpoint.verify(&keys).cloned();
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
        for attachment in stored.beside.attachments() {
            let shown = match open(&attachment) {
                Ok(Some(disclosure)) => Shown::Value(disclosure),
                Ok(None) => Shown::Erased,
                Err(what) => {
                    values.unreadable.push(what);
                    Shown::Withheld
                }
            };
            values.shown.insert(attachment.name, shown);
        }
        values
    }
}

/// The key that the first entry names: it signs the checkpoints until others come beside it.
pub(super) fn first_keys(source: &dyn Source) -> LedgerKeys {
    let first = source.piece(0).ok().filter(|piece| piece.first == 0);
    let entry = first.and_then(|piece| Entry::parse(&piece.entries.first()?.bytes).ok());
    let ledger = entry.filter(|entry| entry.kind == Kind::Ledger);
    let mut keys = LedgerKeys::default();
    if let Some((origin, body)) = ledger.and_then(|entry| Some((entry.origin.clone(), entry.body_as().ok()?))) {
        // Entry 0 names a key or none; there is nothing in it that could be wrong.
        let _ = keys.change(0, &origin, &body);
    }
    keys
}

/// The keys that sign now, as those see them who look ahead: what they judge by an older list is judged again in order.
pub(super) struct SharedKeys(RwLock<Arc<[VerifierKey]>>);

impl SharedKeys {
    pub(super) fn new(keys: &LedgerKeys) -> SharedKeys {
        SharedKeys(RwLock::new(keys.active().into()))
    }

    fn now(&self) -> Arc<[VerifierKey]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn put(&self, keys: &LedgerKeys) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys.active().into();
    }
}
