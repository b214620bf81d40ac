//! Bytes: canonical form, numbers, chain, time, tree, checkpoints' roots, and what somebody outside kept.

use std::collections::BTreeMap;

use super::{
    Finding, Held, Options,
    examined::{Examined, ExaminedEntry},
    finding, untrusted,
};
use crate::{
    Entry, Hash, Kind,
    checkpoint::{Checkpoint, CheckpointError, VerifierKey},
    count::counted,
    evidence::Damage,
    record::{Time, body},
    rotation::LedgerKeys,
    tree::{self, Frontier},
};

pub(super) struct Integrity {
    pub(super) origin: String,
    pub(super) frontier: Frontier,
    pub(super) findings: Vec<Finding>,
    pub(super) checkpoints: u64,
    pub(super) entries: u64,
    /// The hash of the entry before; unknown after a piece that cannot be read.
    prev: Option<Hash>,
    time: Option<Time>,
    /// The newest checkpoint's size.
    covered: u64,
    /// The keys that the entries name so far.
    pub(super) keys: LedgerKeys,
    /// The newest checkpoint.
    head: Option<Checkpoint>,
    /// The head of a lost ledger that the first entry cites.
    adopted: Option<Checkpoint>,
    /// Roots at the sizes of what somebody outside kept, and leaves at the indices of their proofs.
    roots: BTreeMap<u64, Option<Hash>>,
    leaves: BTreeMap<u64, Option<Hash>>,
    /// Whether a piece could not be read: from there on the tree cannot be computed, but entries, chain and signatures can still be checked.
    lost: bool,
}

impl Integrity {
    pub(super) fn new(options: &Options<'_>, keys: LedgerKeys) -> Integrity {
        let proofs = options.against.iter().filter_map(|held| match held {
            Held::Proof(proof) => Some((proof.index, None)),
            Held::Checkpoint(_) => None,
        });
        Integrity {
            origin: String::new(),
            frontier: Frontier::default(),
            findings: Vec::new(),
            checkpoints: 0,
            entries: 0,
            prev: Some(Hash::ZERO),
            time: None,
            covered: 0,
            keys,
            head: None,
            adopted: None,
            roots: options.against.iter().map(|held| (held.checkpoint().size(), None)).collect(),
            leaves: proofs.collect(),
            lost: false,
        }
    }

    fn find(&mut self, code: &'static str, seq: u64, what: impl Into<String>) {
        self.findings.push(finding(code, Some(seq), what.into()));
    }

    /// A piece that cannot be read: what follows cannot be checked against the tree.
    pub(super) fn lost(&mut self, damage: Damage) {
        self.findings.push(damage.into());
        self.lost = true;
        self.prev = None;
    }

    /// Takes in the next piece; gives whether other keys sign from here on.
    pub(super) fn piece(&mut self, piece: &Examined) -> bool {
        let before = self.keys.active();
        let mut checkpoints = piece.checkpoints.iter().peekable();
        for (seq, examined) in (piece.first..).zip(&piece.entries) {
            self.entry(seq, examined);
            while let Some((checkpoint, signed)) = checkpoints.next_if(|(checkpoint, _)| checkpoint.size() <= seq + 1) {
                self.checkpoint(checkpoint, signed);
            }
        }
        for (checkpoint, _) in checkpoints {
            let size = checkpoint.size();
            self.find(
                "checkpoint-beyond",
                size.saturating_sub(1),
                format!("a checkpoint of size {size} covers entries that are not there"),
            );
        }
        self.keys.active() != before
    }

    fn entry(&mut self, seq: u64, examined: &ExaminedEntry) {
        match &examined.entry {
            Err(error) => self.find("entry-malformed", seq, error.to_string()),
            Ok(entry) => self.envelope(seq, entry),
        }
        self.entries += 1;
        self.prev = Some(examined.hash);
        if self.lost {
            return;
        }
        self.frontier.push(examined.leaf, |_, _| {});
        let size = self.frontier.size();
        if let Some(root) = self.roots.get_mut(&size) {
            *root = Some(self.frontier.root());
        }
        if let Some(leaf) = self.leaves.get_mut(&seq) {
            *leaf = Some(examined.leaf);
        }
    }

    fn envelope(&mut self, seq: u64, entry: &Entry) {
        if entry.seq != seq {
            self.find(
                "number-wrong",
                seq,
                format!(
                    "the entry says that it is number {}: entries were dropped, inserted or put in another order",
                    entry.seq
                ),
            );
        }
        if self.prev.is_some_and(|prev| prev != entry.prev) {
            self.find(
                "chain-broken",
                seq,
                "it does not follow from the entry before: one of the two was changed, dropped or inserted",
            );
        }
        if self.time.is_some_and(|time| entry.time < time) {
            self.find("time-decreases", seq, "its time is before that of the entry before");
        }
        self.time = Some(entry.time);
        if seq == 0 {
            self.origin.clone_from(&entry.origin);
            let adopts = entry.body_as().ok().and_then(|first: body::Ledger| first.adopts);
            self.adopted = adopts.and_then(|note| Checkpoint::parse(&note).ok());
            if self.keys.all().next().is_none() {
                self.find("first-entry", 0, "the first entry does not name the key that signs the checkpoints");
            }
        } else if entry.origin != self.origin {
            self.find("origin-differs", seq, format!("it belongs to the ledger `{}`", entry.origin));
        } else if entry.kind == Kind::Ledger
            && let Ok(body) = entry.body_as()
            && let Err(what) = self.keys.change(seq, &self.origin, &body)
        {
            self.find("rotation-invalid", seq, what);
        }
    }

    fn checkpoint(&mut self, checkpoint: &Checkpoint, signed: &Result<VerifierKey, CheckpointError>) {
        let last = checkpoint.size().saturating_sub(1);
        self.checkpoints += 1;
        if checkpoint.origin() != self.origin {
            self.find(
                "checkpoint-origin",
                last,
                format!("the checkpoint that covers it is of the ledger `{}`", checkpoint.origin()),
            );
        }
        let fits = checkpoint.size() == self.frontier.size() && checkpoint.root() == self.frontier.root();
        if !self.lost && !fits {
            self.find("checkpoint-root", last, format!("the signed checkpoint of size {} has another root: an entry up to here was changed after it was signed", checkpoint.size()));
        }
        let active = self.keys.active();
        let signed = match signed {
            Ok(key) if active.contains(key) => Ok(()),
            // Judged by the keys of another time.
            _ => checkpoint.verify(&active).map(|_| ()),
        };
        if let Err(error) = signed {
            self.find(
                "checkpoint-signature",
                last,
                format!("{error}; it was signed again with another key, or changed"),
            );
        }
        self.covered = self.covered.max(checkpoint.size());
        self.head = Some(checkpoint.clone());
    }

    pub(super) fn finish(&mut self, options: &Options<'_>) {
        let size = self.frontier.size();
        if self.covered < size && !self.lost {
            self.find("not-covered", self.covered, "no signed checkpoint covers the entries from here on");
        }
        // The newest one, for it covers all else: a key that others took over from must not sign a history of its own.
        let (trusted, ever) = (self.keys.trusted(&options.trust), self.keys.ever_trusted(&options.trust));
        let active = self.keys.active();
        let signed = |keys: &[VerifierKey]| self.head.as_ref().is_some_and(|head| head.verify(keys).is_ok());
        let overtaken = signed(&active) && !signed(&trusted);
        if !options.trust.is_empty() && (overtaken || !self.keys.all().any(|key| ever.contains(key))) {
            let what = untrusted::what(self.head.as_ref(), &active, &options.trust);
            self.findings.push(finding(untrusted::CODE, Some(0), what));
        }
        for held in &options.against {
            self.against(held, options);
        }
    }

    fn against(&mut self, held: &Held, options: &Options<'_>) {
        let checkpoint = held.checkpoint();
        let (size, have) = (checkpoint.size(), self.frontier.size());
        let trusted: Vec<VerifierKey> = self.keys.all().chain(&options.trust).cloned().collect();
        if checkpoint.origin() != self.origin {
            let what =
                format!("what was held outside is of the ledger `{}`, this is `{}`", checkpoint.origin(), self.origin);
            self.findings.push(finding("held-origin", None, what));
            return;
        }
        if let Err(error) = checkpoint.verify(&trusted) {
            let what = format!(
                "what was held outside is not signed with this ledger's key ({error}): this ledger was signed anew, or that is no checkpoint of it"
            );
            self.findings.push(finding("held-signature", None, what));
        }
        if self.lost && !self.roots.get(&size).is_some_and(Option::is_some) {
            let what =
                "entries that it covers cannot be read, so that nobody can compare them with what was held outside";
            self.findings.push(finding("held-not-comparable", None, what.to_owned()));
            return;
        }
        if size > have {
            let other = "it was truncated or put back to an older state";
            let why = self.adopted.as_ref().map_or_else(|| other.to_owned(), |lost| of_lost(checkpoint, lost, other));
            let what = format!(
                "a checkpoint held outside covers {}, the ledger has {have}: {why}",
                counted(size, "entry", "entries")
            );
            self.findings.push(finding("truncated", Some(have), what));
            return;
        }
        let root = self.roots.get(&size).copied().flatten();
        if size > 0 && root != Some(checkpoint.root()) {
            let other = "the ledger was forked or written anew";
            let why = self.adopted.as_ref().map_or_else(|| other.to_owned(), |lost| of_lost(checkpoint, lost, other));
            let what =
                format!("the entries before number {size} are not those that a checkpoint held outside covers: {why}");
            self.findings.push(finding("forked", None, what));
        }
        if let Held::Proof(proof) = held {
            let leaf = self.leaves.get(&proof.index).copied().flatten();
            let root = leaf.and_then(|leaf| tree::root_from_inclusion(leaf, proof.index, size, &proof.path));
            if root != Some(checkpoint.root()) {
                self.findings.push(finding(
                    "proof-differs",
                    Some(proof.index),
                    "the entry is not the one that a proof held outside proves".to_owned(),
                ));
            }
        }
    }
}

/// Why a ledger that cites the head of a lost one does not have what is held. Only that very head is evidence that nothing else happened: of another size or
/// root, what is held may be of the lost ledger or of this one.
fn of_lost(held: &Checkpoint, lost: &Checkpoint, other: &str) -> String {
    let cited = lost.size();
    if (held.size(), held.root()) == (cited, lost.root()) {
        return format!(
            "it is the head of the lost ledger that this one took over from, as its first entry says; of the {} that it covers this ledger has none",
            counted(cited, "entry", "entries")
        );
    }
    let more = if held.size() > cited { ", and then the lost ledger had more entries than that says" } else { "" };
    format!(
        "{other}, or what is held is of the lost ledger, whose head of {} the first entry cites{more}; which of the two cannot be told from this ledger alone",
        counted(cited, "entry", "entries")
    )
}
