//! Meaning: each forwarded call closed, dense counters, grants, approvals, policies, commitments and parties' statements.

mod calls;
mod disclosed;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Finding, Narrower, Report,
    authority::{Approved, Grants, Held},
    counted::Counted,
    countersigned::Roots,
    cut::Cut,
    examined::{Examined, ExaminedEntry, Values},
    finding,
    possessed::Possessed,
    stated::Keys,
    unsettled::Unsettled,
};
use crate::{
    Entry, Hash, Kind,
    count::counted,
    erasure::{self, ErasureStatement},
    record::{EntryError, Time, body},
};

/// How much of a ledger is looked at: what lies outside cannot be missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Ledger,
    /// One instruction, whole, with what it rests on.
    Instruction,
    /// A window, which may begin and end within an instruction.
    Window,
}

pub(super) struct Meaning<'s> {
    policy: &'s (dyn Fn(&Hash) -> Option<Vec<u8>> + Sync),
    extent: Extent,
    cut: Cut<'s>,
    unsettled: Unsettled,
    findings: Vec<Finding>,
    commitments: u64,
    erased_values: u64,
    statements: u64,
    calls: u64,
    /// Forwarded calls without an outcome yet.
    open: BTreeMap<Hash, (u64, Time)>,
    ended: BTreeSet<Hash>,
    held: BTreeMap<Hash, Held>,
    /// Approvals not used yet.
    approvals: BTreeMap<Hash, Approved>,
    /// Disclosed digests of held calls and of approvals of them.
    digests: BTreeMap<Hash, String>,
    /// The first eight bytes of each entry's hash, to see whether what an entry rests on was there before it.
    seen: BTreeSet<u64>,
    /// Holds in force, with their subjects.
    holds: BTreeMap<String, String>,
    last: Option<Time>,
    next_in_instruction: BTreeMap<String, u64>,
    next_at_upstream: BTreeMap<String, u64>,
    grants: Grants,
    keys: Keys,
    /// Checkpoints that receipts may countersign.
    roots: Roots,
    counted: Counted,
    possessed: Possessed,
    /// Calls whose outcome says that a receipt came with the answer, with the outcome's entry.
    receipted: BTreeMap<Hash, u64>,
    /// Calls with a receipt whose outcome is still to come.
    receipts: BTreeSet<Hash>,
    policies: BTreeSet<Hash>,
    /// Subjects erased so far.
    erased: BTreeMap<String, u64>,
    /// What opened, by subject: must not have been erased later.
    opened: BTreeMap<String, u64>,
    /// What has no data key, by subject: must be erased by an entry.
    without_key: BTreeMap<String, u64>,
}

/// Enough of a hash to tell entries apart at a quarter of the memory.
fn prefix(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

impl<'s> Meaning<'s> {
    pub(super) fn new(
        policy: &'s (dyn Fn(&Hash) -> Option<Vec<u8>> + Sync),
        extent: Extent,
        narrower: Option<&'s Narrower>,
    ) -> Meaning<'s> {
        Meaning {
            policy,
            extent,
            cut: Cut::new(narrower),
            unsettled: Unsettled::default(),
            findings: Vec::new(),
            commitments: 0,
            erased_values: 0,
            statements: 0,
            calls: 0,
            open: BTreeMap::new(),
            ended: BTreeSet::new(),
            held: BTreeMap::new(),
            approvals: BTreeMap::new(),
            digests: BTreeMap::new(),
            seen: BTreeSet::new(),
            holds: BTreeMap::new(),
            last: None,
            next_in_instruction: BTreeMap::new(),
            next_at_upstream: BTreeMap::new(),
            grants: Grants::default(),
            keys: Keys::default(),
            roots: Roots::default(),
            counted: Counted::default(),
            possessed: Possessed::default(),
            receipted: BTreeMap::new(),
            receipts: BTreeSet::new(),
            policies: BTreeSet::new(),
            erased: BTreeMap::new(),
            opened: BTreeMap::new(),
            without_key: BTreeMap::new(),
        }
    }

    fn find(&mut self, code: &'static str, seq: u64, what: impl Into<String>) {
        self.findings.push(finding(code, Some(seq), what.into()));
    }

    pub(super) fn piece(&mut self, piece: Examined) {
        piece.checkpoints.iter().for_each(|(checkpoint, _)| self.roots.add(checkpoint));
        for (seq, ExaminedEntry { hash, entry, values, .. }) in (piece.first..).zip(piece.entries) {
            // What cannot be read at all is told by the other half.
            let Ok(entry) = entry else {
                self.seen.insert(prefix(&hash));
                continue;
            };
            self.entry(seq, hash, &entry);
            let Some(Values { shown, unreadable }) = values else { continue };
            for what in unreadable {
                self.find("value-unreadable", seq, what);
            }
            for name in entry.commitments().keys().filter(|name| !shown.contains_key(*name)) {
                let what = format!("the value of `{name}` that the entry commits to is missing");
                self.find("value-missing", seq, what);
            }
            self.values(seq, hash, &entry, &shown);
        }
    }

    pub(super) fn entry(&mut self, seq: u64, hash: Hash, entry: &Entry) {
        self.last = self.last.max(Some(entry.time));
        self.references(seq, hash, entry);
        match (&entry.instruction, entry.n) {
            (Some(instruction), Some(n)) => {
                let next = self.next_in_instruction.entry(instruction.clone()).or_default();
                let expected = std::mem::replace(next, n.saturating_add(1));
                if n != expected && !(self.extent == Extent::Window && expected == 0) {
                    self.find("counter-gap", seq, format!("it is number n={n} of the instruction `{instruction}`, n={expected} was expected: an entry of the instruction is missing"));
                }
            }
            (Some(_), None) | (None, Some(_)) => {
                self.find("counter-gap", seq, "an entry of an instruction has a number in it, any other has none");
            }
            (None, None) => {}
        }
        if let Err(error) = self.body(seq, hash, entry) {
            self.find("body-malformed", seq, error.to_string());
        }
    }

    /// What an entry rests on must be there before it.
    fn references(&mut self, seq: u64, hash: Hash, entry: &Entry) {
        if self.extent != Extent::Ledger {
            return;
        }
        for parent in entry.parents.iter().filter(|parent| !self.seen.contains(&prefix(parent))) {
            let what = format!("it rests on the entry `{parent}`, which is not there before it");
            self.findings.push(finding("parent-missing", Some(seq), what));
        }
        self.seen.insert(prefix(&hash));
    }

    /// Every body of a known kind must be one; kinds of later versions pass.
    fn body(&mut self, seq: u64, hash: Hash, entry: &Entry) -> Result<(), EntryError> {
        match &entry.kind {
            Kind::Call => self.call(seq, hash, entry, &entry.body_as()?),
            Kind::Outcome => self.outcome(seq, hash, &entry.body_as()?),
            Kind::Approval => self.approval(seq, hash, entry, &entry.body_as()?),
            Kind::Grant => self.grants.insert(entry, entry.body_as()?),
            Kind::Delegation => {
                let wrong = self.grants.delegate(entry, entry.body_as()?, self.extent == Extent::Window);
                self.findings.extend(wrong.map(|(code, what)| finding(code, Some(seq), what)));
            }
            Kind::Revocation => self.grants.revoke(entry, &entry.body_as()?),
            Kind::Key => {
                let wrong = self.keys.change(&entry.body_as()?);
                self.findings.extend(wrong.map(|what| finding("key-mismatch", Some(seq), what)));
            }
            Kind::Policy => self.policy(seq, &entry.body_as()?),
            Kind::Heartbeat => self.heartbeat(seq, &entry.body_as()?),
            Kind::Hold => self.hold(entry.body_as()?),
            Kind::Erasure => self.erasure(seq, entry, entry.body_as()?),
            Kind::Ledger => drop(entry.body_as::<body::Ledger>()?),
            Kind::Party => drop(entry.body_as::<body::Party>()?),
            Kind::Instruction => drop(entry.body_as::<body::Instruction>()?),
            Kind::Decision => {
                let decision: body::Decision = entry.body_as()?;
                self.counted.stated(&decision.grant, "decision", decision.n, seq);
            }
            Kind::Receipt => self.receipt(seq, &entry.body_as()?),
            Kind::Answer => {
                let answer: body::Answer = entry.body_as()?;
                self.counted.stated(&answer.grant, "answer", answer.n, seq);
                self.counted.total(&answer.grant, "decision", answer.decisions, seq);
            }
            Kind::Settlement => self.settlement(seq, entry, &entry.body_as()?),
            Kind::Incident => drop(entry.body_as::<body::Incident>()?),
            Kind::Access => drop(entry.body_as::<body::Access>()?),
            Kind::Reconciliation => drop(entry.body_as::<body::Reconciliation>()?),
            Kind::Other(_) => {}
        }
        Ok(())
    }

    fn hold(&mut self, hold: body::Hold) {
        if hold.event == "placed" {
            self.holds.insert(hold.hold, hold.subject);
        } else {
            self.holds.remove(&hold.hold);
        }
    }

    /// An erasure needs two signers and no hold: checked again, as the gateway checked it.
    fn erasure(&mut self, seq: u64, entry: &Entry, erasure: body::Erasure) {
        let wanted = ErasureStatement {
            origin: entry.origin.clone(),
            subject: erasure.subject.clone(),
            reason: erasure.reason.clone(),
        };
        let held = self.holds.values().any(|subject| *subject == erasure.subject);
        let checked = erasure::authorise(&wanted, &erasure.statements, held, |kid| self.keys.signer(kid));
        match checked {
            Err(error) => self.find("erasure-unauthorised", seq, error.to_string()),
            Ok((parties, _)) if parties != erasure.by => {
                self.find("erasure-unauthorised", seq, "its signers are not those that the entry names");
            }
            Ok(_) => {}
        }
        self.erased.insert(erasure.subject, seq);
    }

    /// What receipts countersign is compared with these.
    pub(super) fn compare_with(&mut self, roots: Roots) {
        self.roots = roots;
    }

    fn policy(&mut self, seq: u64, policy: &body::Policy) {
        self.policies.insert(policy.sha256);
        match (self.policy)(&policy.sha256) {
            None => self.find(
                "policy-missing",
                seq,
                format!("the bytes of `{}` (`{}`) are missing", policy.name, policy.sha256),
            ),
            Some(bytes) if Hash::of(&bytes) != policy.sha256 => {
                self.find(
                    "policy-changed",
                    seq,
                    format!("the bytes of `{}` are not those that were in force", policy.name),
                );
            }
            Some(_) => {}
        }
    }

    fn heartbeat(&mut self, seq: u64, heartbeat: &body::Heartbeat) {
        for total in &heartbeat.closed {
            let have = self.next_in_instruction.get(&total.instruction).copied().unwrap_or(0);
            // A part says nothing of instructions that it is not about.
            let whole = match self.extent {
                Extent::Ledger => true,
                Extent::Instruction => have > 0,
                Extent::Window => false,
            };
            if whole && have < total.entries {
                self.find(
                    "total-differs",
                    seq,
                    format!(
                        "the instruction `{}` had {}, of which {have} can be seen",
                        total.instruction,
                        counted(total.entries, "entry", "entries")
                    ),
                );
            }
        }
    }

    pub(super) fn finish(mut self, report: &mut Report) {
        if self.extent != Extent::Window {
            self.findings.extend(std::mem::take(&mut self.counted).holes());
            for seq in std::mem::take(&mut self.receipted).into_values() {
                self.find(
                    "receipt-missing",
                    seq,
                    "a receipt of the API came with the answer, and its entry is missing",
                );
            }
        }
        let undone: Vec<u64> = self.erased.keys().filter_map(|subject| self.opened.get(subject).copied()).collect();
        for seq in undone {
            self.find("erasure-undone", seq, "a value opens though its subject was erased: an old data key was put back, or the erasure was cut short");
        }
        let lost: Vec<u64> = self
            .without_key
            .iter()
            .filter(|(subject, _)| !self.erased.contains_key(*subject))
            .map(|(_, seq)| *seq)
            .collect();
        for seq in lost {
            self.find("key-lost", seq, "its values have no data key, but no entry erased their subject: the keyring is incomplete or of another ledger");
        }
        report.counts.commitments = self.commitments;
        report.counts.erased = self.erased_values;
        report.counts.statements = self.statements;
        report.counts.calls = self.calls;
        report.counts.open_calls = self.open.len() as u64;
        self.still_open(report);
        report.findings.append(&mut self.findings);
    }
}
