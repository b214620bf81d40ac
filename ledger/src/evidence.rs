//! What is looked at after the fact: a whole ledger, or the part of one that a bundle carries.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Entry, Hash, Kind,
    batch::Batch,
    checkpoint::{Checkpoint, VerifierKey},
    disclosure::Disclosure,
    proof::Proof,
    record::{Attachment, EntryError, Time},
    term::{Term, is_context, totals},
};

/// Something that is wrong with the files themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// A stable code.
    pub code: &'static str,
    /// The first entry it concerns, where that is known.
    pub seq: Option<u64>,
    /// What is wrong.
    pub what: String,
}

/// A whole ledger, read in pieces of at most a few thousand entries.
pub trait Source: Sync {
    /// How many pieces there are.
    fn pieces(&self) -> u64;

    /// A piece: entries with their attachments, and every checkpoint whose size lies in it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    fn piece(&self, index: u64) -> Result<Batch, Damage>;

    /// Pieces among which all entries are that have one of the terms; `None` when only looking at all tells.
    fn pieces_with(&self, _terms: &[Term]) -> Option<BTreeSet<u64>> {
        None
    }

    /// The bytes of a catalogue, policy or configuration.
    fn policy(&self, hash: &Hash) -> Option<Vec<u8>>;

    /// What was found wrong when the files were opened.
    fn damage(&self) -> Vec<Damage>;
}

/// How a value that an entry commits to can be seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Disclosed.
    Value(Disclosure),
    /// Its data key was destroyed.
    Erased,
    /// Not disclosed here.
    Withheld,
}

/// Opens an attachment: the disclosure, `None` when it was erased.
pub type Opener<'o> = dyn Fn(&Attachment) -> Result<Option<Disclosure>, String> + Sync + 'o;

/// Which part of a ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Everything.
    All,
    /// An instruction with what it rests on.
    Instruction(String),
    /// A call, by id or entry hash, with its instruction.
    Call(String),
    /// A time window.
    Window(Time, Time),
}

/// An entry of the evidence.
#[derive(Debug, Clone)]
pub struct Item {
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// Their hash.
    pub hash: Hash,
    /// The entry.
    pub entry: Entry,
    /// What can be seen of what it commits to, by name.
    pub values: BTreeMap<String, Shown>,
}

impl Item {
    /// A disclosed value.
    pub fn value(&self, name: &str) -> Option<&Value> {
        match self.values.get(name) {
            Some(Shown::Value(disclosure)) => Some(disclosure.value()),
            _ => None,
        }
    }
}

/// Entries with what proves and explains them.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The ledger's name.
    pub origin: String,
    /// The entries by number.
    pub items: BTreeMap<u64, Item>,
    /// The keys that sign checkpoints.
    pub keys: Vec<VerifierKey>,
    /// The newest checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// Each entry's proof.
    pub proofs: BTreeMap<u64, Proof>,
    /// Catalogues and policies by digest.
    pub policies: BTreeMap<Hash, Vec<u8>>,
    /// Which part of the ledger it is; `None` for all of it.
    pub selection: Option<Selection>,
    /// What a bundle's maker says of it, by file name: read by people, and believed by nobody here.
    pub reports: BTreeMap<String, Vec<u8>>,
}

impl Evidence {
    /// Adds an entry; what is not in `values` counts as withheld.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn add(&mut self, bytes: Arc<[u8]>, mut values: BTreeMap<String, Shown>) -> Result<(), EntryError> {
        let entry = Entry::parse(&bytes)?;
        for name in entry.commitments().into_keys() {
            values.entry(name).or_insert(Shown::Withheld);
        }
        self.items.insert(entry.seq, Item { hash: Hash::of(&bytes), bytes, entry, values });
        Ok(())
    }

    /// The entry with this hash.
    pub fn find(&self, hash: &Hash) -> Option<&Item> {
        self.items.values().find(|item| item.hash == *hash)
    }

    /// Reads the selected part of a ledger. `disclose` says which values to open, by name.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn collect(
        source: &dyn Source,
        selection: &Selection,
        open: Option<&Opener<'_>>,
        disclose: &dyn Fn(&str) -> bool,
    ) -> Result<Evidence, Damage> {
        let selection = resolve(source, selection)?;
        let mut evidence =
            Evidence { selection: Some(selection.clone()).filter(|s| *s != Selection::All), ..Evidence::default() };
        for index in pieces_of(source, &selection)? {
            let piece = source.piece(index)?;
            for (seq, stored) in (piece.first..).zip(&piece.entries) {
                let unreadable =
                    |error: EntryError| Damage { code: "entry-malformed", seq: Some(seq), what: error.to_string() };
                let entry = Entry::parse(&stored.bytes).map_err(unreadable)?;
                if seq == 0 {
                    evidence.origin.clone_from(&entry.origin);
                }
                if seq == 0 || (entry.kind == Kind::Ledger && entry.text("event") == Some("rotated")) {
                    evidence.keys.extend(entry.text("vkey").and_then(|vkey| vkey.parse().ok()));
                }
                if !wanted(&selection, &entry) {
                    continue;
                }
                let values = opened(&stored.beside.attachments(), open, disclose).map_err(|what| Damage {
                    code: "vault-unreadable",
                    seq: Some(seq),
                    what,
                })?;
                if let Some(hash) =
                    entry.text("sha256").and_then(|hash| hash.parse().ok()).filter(|_| entry.kind == Kind::Policy)
                {
                    evidence.policies.extend(source.policy(&hash).map(|bytes| (hash, bytes)));
                }
                evidence.add(stored.bytes.clone(), values).map_err(unreadable)?;
            }
            evidence.checkpoint = piece.checkpoints.last().cloned().or(evidence.checkpoint);
        }
        Ok(evidence)
    }
}

/// The pieces in which something of a selection may be, in order; always the first, which names ledger and key, and the last, which has the
/// newest checkpoint.
fn pieces_of(source: &dyn Source, selection: &Selection) -> Result<Vec<u64>, Damage> {
    let all = 0..source.pieces();
    let mut terms = vec![Term::context()];
    let mut within = 0..0;
    match selection {
        Selection::All => return Ok(all.collect()),
        Selection::Instruction(id) | Selection::Call(id) => terms.extend([Term::instruction(id), Term::total(id)]),
        Selection::Window(from, to) => within = window(source, *from, *to)?,
    }
    let Some(mut pieces) = source.pieces_with(&terms) else { return Ok(all.collect()) };
    pieces.extend(within);
    pieces.extend(all.clone().next().into_iter().chain(all.last()));
    Ok(pieces.into_iter().collect())
}

/// The pieces that a window may touch: times never go back.
fn window(source: &dyn Source, from: Time, to: Time) -> Result<Range<u64>, Damage> {
    let first_of = |index| -> Result<Option<Time>, Damage> {
        let piece = source.piece(index)?;
        Ok(piece.entries.first().and_then(|stored| Some(Entry::parse(&stored.bytes).ok()?.time)))
    };
    // The first piece of which the first entry is not before `time`; one that cannot be read counts as such.
    let begins_at = |time: Time| -> Result<u64, Damage> {
        let (mut low, mut high) = (0, source.pieces());
        while low < high {
            let middle = low + (high - low) / 2;
            if first_of(middle)?.is_some_and(|first| first < time) { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    };
    Ok(begins_at(from)?.saturating_sub(1)..begins_at(to)?)
}

/// A call's selection becomes that of its instruction.
fn resolve(source: &dyn Source, selection: &Selection) -> Result<Selection, Damage> {
    let Selection::Call(call) = selection else { return Ok(selection.clone()) };
    let mut terms = vec![Term::call(call)];
    terms.extend(call.parse().ok().map(|hash| Term::entry(&hash)));
    let pieces = source.pieces_with(&terms).map_or_else(|| (0..source.pieces()).collect(), Vec::from_iter);
    for index in pieces {
        for stored in source.piece(index)?.entries {
            let by_hash = Hash::of(&stored.bytes).to_string() == *call;
            // Parsed only when it may be the one.
            if !by_hash && !contains(&stored.bytes, call.as_bytes()) {
                continue;
            }
            if let Ok(entry) = Entry::parse(&stored.bytes)
                && (by_hash || (entry.kind == Kind::Call && entry.text("call") == Some(call)))
            {
                return entry.instruction.map(Selection::Instruction).ok_or_else(|| Damage {
                    code: "call-without-instruction",
                    seq: Some(entry.seq),
                    what: format!("the call `{call}` belongs to no instruction: its token was not accepted"),
                });
            }
        }
    }
    Err(Damage { code: "call-unknown", seq: None, what: format!("there is no call `{call}`") })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

fn wanted(selection: &Selection, entry: &Entry) -> bool {
    let selected = match selection {
        Selection::All => true,
        Selection::Instruction(id) | Selection::Call(id) => entry.instruction.as_deref() == Some(id),
        Selection::Window(from, to) => (*from..*to).contains(&entry.time),
    };
    let names_total = || match selection {
        Selection::Instruction(id) | Selection::Call(id) => {
            entry.kind == Kind::Heartbeat && totals(entry.body.get("closed")).any(|instruction| instruction == id)
        }
        _ => false,
    };
    selected || names_total() || is_context(&entry.kind, entry.instruction.as_deref())
}

fn opened(
    attachments: &[Attachment],
    open: Option<&Opener<'_>>,
    disclose: &dyn Fn(&str) -> bool,
) -> Result<BTreeMap<String, Shown>, String> {
    let mut values = BTreeMap::new();
    let Some(open) = open else { return Ok(values) };
    for attachment in attachments.iter().filter(|attachment| disclose(&attachment.name)) {
        let shown = open(attachment)?.map_or(Shown::Erased, Shown::Value);
        values.insert(attachment.name.clone(), shown);
    }
    Ok(values)
}
