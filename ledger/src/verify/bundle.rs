//! Checks the part of a ledger that a bundle carries: each entry's own proof, and what the entries say of each other.

use super::{
    Counts, Held, Options, Report, finding,
    meaning::{Extent, Meaning},
};
use crate::{
    Hash,
    checkpoint::VerifierKey,
    evidence::{Evidence, Item, Selection},
};

/// Checks a bundle's evidence.
pub fn verify_bundle(evidence: &Evidence, options: &Options<'_>) -> Report {
    let policy = |hash: &Hash| evidence.policies.get(hash).cloned();
    let extent = match &evidence.selection {
        None | Some(Selection::All) => Extent::Ledger,
        Some(Selection::Instruction(_) | Selection::Call(_)) => Extent::Instruction,
        Some(Selection::Window(..)) => Extent::Window,
    };
    let mut meaning = Meaning::new(&policy, extent);
    let mut report = Report {
        origin: evidence.origin.clone(),
        findings: Vec::new(),
        counts: Counts { entries: evidence.items.len() as u64, ..Counts::default() },
        outside: !options.trust.is_empty() || !options.against.is_empty(),
    };
    let keys: Vec<VerifierKey> = evidence.keys.iter().chain(&options.trust).cloned().collect();
    for (seq, item) in &evidence.items {
        prove(evidence, *seq, item, &keys, &mut report);
        meaning.entry(*seq, item.hash, &item.entry);
        meaning.values(*seq, &item.entry, &item.values);
    }
    check_parents(evidence, extent, &mut report);
    check_outside(evidence, options, &mut report);
    meaning.finish(&mut report);
    report.settle();
    report
}

fn prove(evidence: &Evidence, seq: u64, item: &Item, keys: &[VerifierKey], report: &mut Report) {
    if item.entry.origin != evidence.origin || item.entry.seq != seq {
        report.findings.push(finding(
            "number-wrong",
            Some(seq),
            "the entry has another number or is of another ledger".to_owned(),
        ));
    }
    let proved = match evidence.proofs.get(&seq) {
        None => Err("the bundle has no proof of it".to_owned()),
        Some(proof) if proof.index != seq => Err("its proof is of another entry".to_owned()),
        Some(proof) => proof.verify(&item.bytes, keys).map_err(|error| error.to_string()),
    };
    match proved {
        Ok(()) => report.counts.checkpoints = 1,
        Err(what) => report.findings.push(finding("not-proven", Some(seq), what)),
    }
}

/// An entry of the instruction that another one names, and that is not there, was left out.
fn check_parents(evidence: &Evidence, extent: Extent, report: &mut Report) {
    if extent == Extent::Window {
        return;
    }
    for (seq, item) in &evidence.items {
        for parent in &item.entry.parents {
            if evidence.find(parent).is_none()
                && item.entry.instruction.is_some()
                && item.entry.kind != crate::Kind::Instruction
            {
                let what = format!("it rests on the entry `{parent}`, which was left out");
                report.findings.push(finding("parent-missing", Some(*seq), what));
            }
        }
    }
}

fn check_outside(evidence: &Evidence, options: &Options<'_>, report: &mut Report) {
    if !options.trust.is_empty() && !evidence.keys.iter().any(|key| options.trust.contains(key)) {
        let what = "the bundle's key is none of the trusted ones".to_owned();
        report.findings.push(finding("key-not-trusted", None, what));
    }
    for held in &options.against {
        let checkpoint = held.checkpoint();
        let same_size = evidence.checkpoint.as_ref().filter(|own| own.size() == checkpoint.size());
        if checkpoint.origin() != evidence.origin {
            report.findings.push(finding("held-origin", None, "what was held outside is of another ledger".to_owned()));
        } else if same_size.is_some_and(|own| own.root() != checkpoint.root()) {
            report.findings.push(finding(
                "forked",
                None,
                "a checkpoint held outside has another root at the same size".to_owned(),
            ));
        } else if let Held::Proof(proof) = held
            && let Some(item) = evidence.items.get(&proof.index)
            && proof.verify(&item.bytes, &evidence.keys).is_err()
        {
            let what = "the entry is not the one that a proof held outside proves".to_owned();
            report.findings.push(finding("proof-differs", Some(proof.index), what));
        }
    }
}
