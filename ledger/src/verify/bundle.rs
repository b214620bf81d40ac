//! Checks the part of a ledger that a bundle carries: each entry's own proof, that all proofs are of one history, that nothing of the part is
//! left out, and what the entries say of each other.
//!
//! A bundle is written by whoever wants to convince; so it decides nothing about how it is checked, but for the part it claims to be.

use std::collections::BTreeSet;

use super::{
    Counts, Held, Options, Report,
    countersigned::Roots,
    finding,
    meaning::{Extent, Meaning},
    untrusted,
};
use crate::{
    Hash, Kind,
    bundle::{self, BundleError},
    checkpoint::{Checkpoint, VerifierKey},
    count::counted,
    evidence::{Evidence, Item, Selection},
    rotation::LedgerKeys,
    tree::{self, Frontier},
};

/// A page in a bundle may say anything: it proves nothing, and nobody should take "clean" for its word.
const REPORTS: &str = "the report that lies in the bundle was not looked at and proves nothing: `countersign report` makes it again from what was checked";

/// Checks a bundle as it is in its file. One that is not what the format says has the one finding `bundle-malformed`: two readers could see
/// different things in it, so nothing in it is looked at.
///
/// # Errors
/// [`BundleError`] when it is no zip file at all.
pub fn verify_bundle_file(bytes: &[u8], options: &Options<'_>) -> Result<Report, BundleError> {
    match bundle::read(bytes) {
        Ok(evidence) => Ok(verify_bundle(&evidence, options)),
        Err(error @ BundleError::File { .. }) => {
            let mut report = Report::default();
            report.findings.push(finding("bundle-malformed", None, error.to_string()));
            Ok(report)
        }
        Err(error) => Err(error),
    }
}

/// Checks a bundle's evidence.
pub fn verify_bundle(evidence: &Evidence, options: &Options<'_>) -> Report {
    let policy = |hash: &Hash| evidence.policies.get(hash).cloned();
    let extent = match &evidence.selection {
        None | Some(Selection::All) => Extent::Ledger,
        Some(Selection::Instruction(_) | Selection::Call(_)) => Extent::Instruction,
        Some(Selection::Window(..)) => Extent::Window,
    };
    let mut meaning = Meaning::new(&policy, extent, options.narrower);
    if evidence.items.values().any(|item| item.entry.kind == Kind::Receipt) {
        let entries = evidence.items.iter().map(|(seq, item)| (*seq, &*item.bytes));
        meaning.compare_with(Roots::of_entries(entries));
    }
    let mut report = Report {
        origin: evidence.origin.clone(),
        counts: Counts { entries: evidence.items.len() as u64, ..Counts::default() },
        ..Report::default()
    };
    // INVARIANT: keys that a bundle names count only where none were had from elsewhere, or where one of those signed for them.
    let base = if options.trust.is_empty() { &evidence.keys } else { &options.trust };
    let named = keys_named(evidence, &mut report);
    let (keys, ever) = (&named.trusted(base), &named.ever_trusted(base));
    let head = evidence.proofs.values().map(|proof| &proof.checkpoint).max_by_key(|checkpoint| checkpoint.size());
    for (seq, item) in &evidence.items {
        prove(evidence, *seq, item, keys, head, &mut report);
        meaning.entry(*seq, item.hash, &item.entry);
        meaning.values(*seq, item.hash, &item.entry, &item.values);
    }
    check_checkpoint(evidence, keys, head, &mut report);
    check_order(evidence, &mut report);
    check_parents(evidence, extent, &mut report);
    check_complete(evidence, head, &mut report);
    check_keys(evidence, &named, &mut report);
    if !options.trust.is_empty() && !evidence.keys.iter().any(|key| ever.contains(key)) {
        let what = untrusted::what(head, &evidence.keys, &options.trust);
        report.findings.push(finding(untrusted::CODE, None, what));
    }
    for held in &options.against {
        report.compared |= check_held(evidence, held, ever, head, &mut report);
    }
    if !options.trust.is_empty() && !report.compared {
        report.notes.push(super::KEY_ONLY.to_owned());
    }
    report.outside = report.compared || !options.trust.is_empty();
    if !evidence.reports.is_empty() {
        report.notes.push(REPORTS.to_owned());
    }
    meaning.finish(&mut report);
    report.settle();
    report
}

fn prove(
    evidence: &Evidence,
    seq: u64,
    item: &Item,
    keys: &[VerifierKey],
    head: Option<&Checkpoint>,
    report: &mut Report,
) {
    if item.entry.origin != evidence.origin || item.entry.seq != seq {
        let what = "the entry has another number or is of another ledger".to_owned();
        report.findings.push(finding("number-wrong", Some(seq), what));
    }
    let Some(proof) = evidence.proofs.get(&seq) else {
        report.findings.push(finding("not-proven", Some(seq), "the bundle has no proof of it".to_owned()));
        return;
    };
    let own = &proof.checkpoint;
    let proved = if proof.index != seq {
        Err("its proof is of another entry".to_owned())
    } else if own.origin() != evidence.origin {
        Err(format!("its proof is of the ledger `{}`", own.origin()))
    } else {
        proof.verify(&item.bytes, keys).map_err(|error| error.to_string())
    };
    match proved {
        Ok(()) => report.counts.checkpoints = 1,
        Err(what) => report.findings.push(finding("not-proven", Some(seq), what)),
    }
    if let Some(head) = head.filter(|head| (head.size(), head.root()) != (own.size(), own.root())) {
        let (size, other) = (own.size(), head.size());
        let what = format!(
            "its proof is under another checkpoint (size {size}) than that of others (size {other}): nothing shows that both are of one history"
        );
        report.findings.push(finding("checkpoints-apart", Some(seq), what));
    }
}

/// The checkpoint that stands by itself is what people and other tools take from a bundle: it must be of the history that the proofs are of.
fn check_checkpoint(evidence: &Evidence, keys: &[VerifierKey], head: Option<&Checkpoint>, report: &mut Report) {
    let Some(own) = &evidence.checkpoint else { return };
    let mut found = |code, what: String| report.findings.push(finding(code, None, format!("`checkpoint.txt` {what}")));
    if own.origin() != evidence.origin {
        found("checkpoint-origin", format!("is of the ledger `{}`", own.origin()));
        return;
    }
    if let Err(error) = own.verify(keys) {
        found("checkpoint-signature", format!("is not signed with a key that counts: {error}"));
    }
    let (size, whole) = (own.size(), matches!(evidence.selection, None | Some(Selection::All)));
    if root_at(evidence, head, size).is_some_and(|root| root != own.root()) {
        found("checkpoint-root", format!("has another root than the entries before number {size}"));
    }
    if whole && head.is_some_and(|head| head.size() < size) {
        found("checkpoint-beyond", format!("covers {}, more than are here", counted(size, "entry", "entries")));
    }
}

/// The root over the first `size` entries: the head's, or from the entries if all of them are there.
fn root_at(evidence: &Evidence, head: Option<&Checkpoint>, size: u64) -> Option<Hash> {
    head.filter(|head| head.size() == size).map(Checkpoint::root).or_else(|| prefix_root(evidence, size))
}

/// Entries that follow each other must be chained, and no time goes back.
fn check_order(evidence: &Evidence, report: &mut Report) {
    for ((seq, item), (next_seq, next)) in evidence.items.iter().zip(evidence.items.iter().skip(1)) {
        if seq + 1 == *next_seq && next.entry.prev != item.hash {
            let what = "it does not follow from the entry before: one of the two was changed".to_owned();
            report.findings.push(finding("chain-broken", Some(*next_seq), what));
        }
        if next.entry.time < item.entry.time {
            let what = "its time is before that of an earlier entry".to_owned();
            report.findings.push(finding("time-decreases", Some(*next_seq), what));
        }
    }
}

/// An entry that another one of the part names, and that is not there, was left out.
fn check_parents(evidence: &Evidence, extent: Extent, report: &mut Report) {
    if extent == Extent::Window {
        return;
    }
    let there: BTreeSet<Hash> = evidence.items.values().map(|item| item.hash).collect();
    for (seq, item) in &evidence.items {
        // A follow-up's parent is the instruction that it amends: a part of its own.
        if item.entry.instruction.is_none() || item.entry.kind == Kind::Instruction {
            continue;
        }
        for parent in item.entry.parents.iter().filter(|parent| !there.contains(parent)) {
            let what = format!("it rests on the entry `{parent}`, which was left out");
            report.findings.push(finding("parent-missing", Some(*seq), what));
        }
    }
}

/// The part must be whole, as far as numbers show it; the counters of instructions are looked at with the meaning.
fn check_complete(evidence: &Evidence, head: Option<&Checkpoint>, report: &mut Report) {
    let mut gap = |from: u64, to: u64| {
        let what = match to - from {
            1 => format!("entry {from} is missing"),
            count => format!("{count} entries are missing, from {from} to {}", to - 1),
        };
        report.findings.push(finding("entry-missing", Some(from), what));
    };
    let mut dense = |numbers: &mut dyn Iterator<Item = u64>, mut expected: Option<u64>, end: Option<u64>| {
        for seq in numbers {
            if let Some(expected) = expected.filter(|expected| *expected < seq) {
                gap(expected, seq);
            }
            expected = Some(seq.saturating_add(1));
        }
        if let (Some(expected), Some(end)) = (expected, end)
            && expected < end
        {
            gap(expected, end);
        }
    };
    match &evidence.selection {
        None | Some(Selection::All) => {
            dense(&mut evidence.items.keys().copied(), Some(0), head.map(Checkpoint::size));
        }
        // Times never go back, so what lies in a window has numbers without gaps.
        Some(Selection::Window(from, to)) => {
            let mut within = evidence.items.iter().filter(|(_, item)| (*from..*to).contains(&item.entry.time));
            dense(&mut within.by_ref().map(|(seq, _)| *seq), None, None);
            report.notes.push(format!("this is the window from {from} to {to}; what lies outside it is not here"));
        }
        Some(Selection::Instruction(id)) => {
            if !evidence.items.values().any(|item| item.entry.instruction.as_deref() == Some(id)) {
                let what = format!("no entry of the instruction `{id}` is here");
                report.findings.push(finding("entry-missing", None, what));
            }
            report.notes.push(format!(
                "this is the instruction `{id}` with what it rests on; that a revocation, hold or key entry of no instruction was left out shows only in the whole ledger"
            ));
        }
        Some(Selection::Call(call)) => {
            let what = format!("the bundle claims to be about the call `{call}` but does not name its instruction");
            report.findings.push(finding("entry-missing", None, what));
        }
    }
}

/// The keys that the entries name.
fn keys_named(evidence: &Evidence, report: &mut Report) -> LedgerKeys {
    let mut keys = LedgerKeys::default();
    for (seq, item) in evidence.items.iter().filter(|(_, item)| item.entry.kind == Kind::Ledger) {
        // One that cannot be read is told as malformed.
        let Ok(body) = item.entry.body_as() else { continue };
        if let Err(what) = keys.change(*seq, &evidence.origin, &body) {
            report.findings.push(finding("rotation-invalid", Some(*seq), what));
        }
    }
    keys
}

/// The bundle's keys must be those that its entries name.
fn check_keys(evidence: &Evidence, named: &LedgerKeys, report: &mut Report) {
    let first = evidence.items.get(&0).and_then(|item| item.entry.text("vkey"));
    if first.is_none() || !evidence.keys.iter().all(|key| named.all().any(|named| named == key)) {
        let what = "the first entry, which names the key that signs the checkpoints, is missing, or no entry names the bundle's key";
        report.findings.push(finding("first-entry", Some(0), what.to_owned()));
    }
}

/// Compares with what somebody outside kept; gives whether it could be compared.
fn check_held(
    evidence: &Evidence,
    held: &Held,
    keys: &[VerifierKey],
    head: Option<&Checkpoint>,
    report: &mut Report,
) -> bool {
    let checkpoint = held.checkpoint();
    let size = checkpoint.size();
    if checkpoint.origin() != evidence.origin {
        report.findings.push(finding("held-origin", None, "what was held outside is of another ledger".to_owned()));
        return true;
    }
    if let Err(error) = checkpoint.verify(keys) {
        let what = format!(
            "what was held outside is not signed with this ledger's key ({error}): the ledger was signed anew, or that is no checkpoint of it"
        );
        report.findings.push(finding("held-signature", None, what));
    }
    let mut compared = false;
    if let Held::Proof(proof) = held
        && let Some(item) = evidence.items.get(&proof.index)
    {
        compared = true;
        if proof.leads_from(&item.bytes).is_err() {
            let what = "the entry is not the one that a proof held outside proves".to_owned();
            report.findings.push(finding("proof-differs", Some(proof.index), what));
        }
    }
    if let Some(root) = root_at(evidence, head, size) {
        compared = true;
        if root != checkpoint.root() {
            let what = format!(
                "the entries before number {size} are not those that a checkpoint held outside covers: the ledger was forked or written anew"
            );
            report.findings.push(finding("forked", None, what));
        }
    }
    if !compared {
        let own = head.map_or(0, Checkpoint::size);
        report.notes.push(format!(
            "what was held outside (size {size}) cannot be compared with this bundle (size {own}): only the whole ledger, or a bundle with that entry, shows whether both are of one history"
        ));
    }
    compared
}

/// The root of the first `size` entries, if all of them are there.
fn prefix_root(evidence: &Evidence, size: u64) -> Option<Hash> {
    let mut frontier = Frontier::default();
    for ((seq, item), expected) in evidence.items.iter().zip(0..size) {
        if *seq != expected {
            return None;
        }
        frontier.push(tree::leaf_hash(&item.bytes), |_, _| {});
    }
    (size > 0 && frontier.size() == size).then(|| frontier.root())
}
