//! Meaning: each forwarded call closed, dense counters, grants, approvals, policies, commitments and parties' statements.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Finding, Narrower, Report,
    authority::{Approved, Grants, Held, Wrong, asks, is_plumbing},
    counted::Counted,
    countersigned::{self, Roots},
    cut::Cut,
    examined::{Examined, ExaminedEntry, Values},
    finding,
    possessed::Possessed,
    stated::{self, Keys},
    unsettled::Unsettled,
};
use crate::{
    Entry, Hash, Kind,
    count::counted,
    disclosure::Disclosure,
    erasure::{self, ErasureStatement},
    evidence::Shown,
    record::{EntryError, Time, body},
};

/// How long a forwarded call may stay open, in seconds, by the time of the last entry: longer is a finding, shorter only a note.
/// The gateway closes every call, also with `shutdown` or, after a crash, with `unknown`.
const OPEN_SECONDS: i64 = 24 * 3600;

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

    fn call(&mut self, seq: u64, hash: Hash, entry: &Entry, call: &body::Call) {
        if call.verdict == "hold" {
            self.held.insert(hash, Held::of(entry, call));
        }
        for policy in &call.policies {
            if !self.policies.contains(policy) {
                self.find(
                    "policy-unrecorded",
                    seq,
                    format!("it was judged by a policy `{policy}` that no entry before put in force"),
                );
            }
        }
        if let Some(n) = call.upstream_n {
            self.calls += 1;
            self.open.insert(hash, (seq, entry.time));
            let next = self.next_at_upstream.entry(call.upstream.clone()).or_default();
            let expected = std::mem::replace(next, n.saturating_add(1));
            if n != expected && self.extent == Extent::Ledger {
                self.find(
                    "upstream-counter-gap",
                    seq,
                    format!(
                        "it is call {n} to `{}`, call {expected} was expected: a forwarded call is missing",
                        call.upstream
                    ),
                );
            }
            if call.verdict != "allow" && !call.shadow {
                self.find(
                    "forwarded-against-verdict",
                    seq,
                    format!("it was forwarded although the verdict is `{}`", call.verdict),
                );
            }
        }
        if call.verdict == "allow"
            && let Some((code, what)) = self.grants.allows(entry, call, self.extent == Extent::Window)
        {
            self.find(code, seq, what);
        }
        if let Some(approval) = call.approval {
            match self.approvals.remove(&approval) {
                Some(approved) => {
                    let wrong = approved.covers(entry, call);
                    self.findings.extend(wrong.map(|(code, what)| finding(code, Some(seq), what)));
                }
                None if self.extent == Extent::Window => {}
                None => {
                    let what = "it rests on an approval that is not there, was a denial, or served before";
                    self.find("approval-unknown", seq, what);
                }
            }
        }
    }

    /// What receipts countersign is compared with these.
    pub(super) fn compare_with(&mut self, roots: Roots) {
        self.roots = roots;
    }

    /// A receipt is of a forwarded call.
    fn receipt(&mut self, seq: u64, receipt: &body::Receipt) {
        let known = self.open.contains_key(&receipt.call) || self.ended.contains(&receipt.call);
        if !known && self.extent != Extent::Window {
            self.find("receipt-without-call", seq, "there is no forwarded call that it is about");
        }
        if !receipt.late && self.receipted.remove(&receipt.call).is_none() {
            self.receipts.insert(receipt.call);
        }
    }

    fn outcome(&mut self, seq: u64, hash: Hash, outcome: &body::Outcome) {
        if outcome.receipt.as_deref() == Some("received") && !self.receipts.remove(&outcome.call) {
            self.receipted.insert(outcome.call, seq);
        }
        if self.open.remove(&outcome.call).is_some() {
            self.ended.insert(outcome.call);
            self.unsettled.ended(hash, outcome);
        } else if self.ended.contains(&outcome.call) {
            self.find("outcome-twice", seq, "its call had ended before");
        } else if self.extent != Extent::Window {
            self.find(
                "outcome-without-call",
                seq,
                "there is no forwarded call that it ends: the call's entry is missing",
            );
        }
    }

    /// What is said of a call that its outcome left open, once.
    fn settlement(&mut self, seq: u64, entry: &Entry, settlement: &body::Settlement) {
        let wrong = self.unsettled.settle(entry, settlement).filter(|_| self.extent != Extent::Window);
        self.findings.extend(wrong.map(|(code, what)| finding(code, Some(seq), what)));
    }

    fn approval(&mut self, seq: u64, hash: Hash, entry: &Entry, approval: &body::Approval) {
        let Some(mut held) = self.held.remove(&approval.call) else {
            if self.extent != Extent::Window {
                let what = "there is no held call that it answers, or it was answered before";
                self.find("approval-without-call", seq, what);
            }
            return;
        };
        let wrong = held.answer(entry, hash, approval);
        let (yes, of_other) = (approval.decision == "approved", wrong.as_ref().map(|(code, _)| *code));
        self.findings.extend(wrong.map(|(code, what)| finding(code, Some(seq), what)));
        match (of_other, yes) {
            (None, true) if held.is_approved() => drop(self.approvals.insert(hash, Approved(held))),
            // It waits for more; or this answer does not count, and it waits on.
            (None | Some("approval-by-agent" | "approval-policies" | "approval-twice"), true) => {
                self.held.insert(approval.call, held);
            }
            // One no is final.
            _ => {}
        }
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

    /// What is shown of an entry's values, against what the entry commits to.
    pub(super) fn values(&mut self, seq: u64, hash: Hash, entry: &Entry, values: &BTreeMap<String, Shown>) {
        let commitments = entry.commitments();
        let subject = entry.text("subject").unwrap_or_default().to_owned();
        let mut opened = Vec::new();
        for (name, shown) in values {
            match shown {
                Shown::Withheld => {}
                Shown::Erased => {
                    self.erased_values += 1;
                    self.without_key.entry(subject.clone()).or_insert(seq);
                }
                Shown::Value(disclosure)
                    if commitments.get(name) == Some(&disclosure.digest()) && disclosure.name() == name =>
                {
                    self.commitments += 1;
                    self.opened.entry(subject.clone()).or_insert(seq);
                    opened.push(disclosure);
                }
                Shown::Value(_) => {
                    self.find(
                        "value-differs",
                        seq,
                        format!("the value of `{name}` is not the one that the entry commits to"),
                    );
                }
            }
        }
        self.digest(seq, hash, entry, &opened);
        let wider = self.cut.follow(entry, &opened);
        self.findings.extend(wider.map(|(code, what)| finding(code, Some(seq), what)));
        self.plumbing(seq, entry, &opened);
        self.asking(seq, entry, &opened);
        let (proven, wrong) = self.possessed.follow(entry, &opened);
        self.statements += u64::from(proven);
        self.findings.extend(wrong.map(|(code, what)| finding(code, Some(seq), what)));
        if let Some(found) = self.countersigned(entry, &opened) {
            self.statements += 1;
            self.findings.extend(found.map(|(code, what)| finding(code, Some(seq), what)));
        }
        if let Some(found) = stated::check(entry, &opened, &mut self.keys) {
            self.statements += 1;
            self.findings.extend(found.map(|(code, what)| finding(code, Some(seq), what)));
        }
    }

    fn countersigned(&self, entry: &Entry, opened: &[&Disclosure]) -> Option<Option<Wrong>> {
        let receipt = entry.body_as().ok().filter(|_| entry.kind == Kind::Receipt)?;
        countersigned::check(&receipt, opened, &self.keys, &self.roots)
    }

    /// A held call, the answer to it and the call made after it must be about the same digest, where it is disclosed.
    fn digest(&mut self, seq: u64, hash: Hash, entry: &Entry, opened: &[&Disclosure]) {
        let Some(digest) = stated::text(opened, "digest") else { return };
        let other = match &entry.kind {
            Kind::Approval => entry.text("call"),
            Kind::Call => entry.text("approval"),
            _ => return,
        };
        // Several may answer one held call.
        let other = other.and_then(|other| other.parse::<Hash>().ok()).and_then(|other| self.digests.get(&other));
        if other.is_some_and(|other| *other != digest) {
            let what = "what was approved is not what was held, or not what was then called: their digests differ";
            self.find("approval-digest", seq, what);
        }
        if entry.kind == Kind::Approval || entry.text("verdict") == Some("hold") {
            self.digests.insert(hash, digest.to_owned());
        }
    }

    /// What passed as a message of the protocol must not have been an action, where its request is disclosed.
    fn plumbing(&mut self, seq: u64, entry: &Entry, opened: &[&Disclosure]) {
        if entry.kind != Kind::Call || !entry.body_as().is_ok_and(|call| is_plumbing(&call)) {
            return;
        }
        let request = opened.iter().find(|disclosure| disclosure.name() == "request").map(|request| request.value());
        let verb = request.and_then(|request| request.get("method")).and_then(serde_json::Value::as_str);
        if let Some(verb) = verb.filter(|verb| *verb != "mcp/message") {
            self.find(
                "not-plumbing",
                seq,
                format!("it passed as a message of the protocol, but its request is `{verb}`"),
            );
        }
    }

    /// What needs no grant because it asks a model must be that, where its request is disclosed.
    fn asking(&mut self, seq: u64, entry: &Entry, opened: &[&Disclosure]) {
        let call = entry.body_as::<body::Call>().ok().filter(|_| entry.kind == Kind::Call);
        let Some((method, targets)) = call.as_ref().and_then(asks) else { return };
        let request = opened.iter().find(|disclosure| disclosure.name() == "request").map(|request| request.value());
        let text = |name: &str| request.and_then(|request| request.get(name)).and_then(serde_json::Value::as_str);
        let Some((verb, target)) = text("method").zip(text("target")) else { return };
        let path = target.split('?').next().unwrap_or_default();
        if verb != method || !targets.contains(&path) {
            self.find(
                "not-asking",
                seq,
                format!("it passed as a question to a model, but its request is `{verb} {path}`"),
            );
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
    /// Calls that have not ended: this check has no clock, so that the last entry's time counts as now.
    fn still_open(&mut self, report: &mut Report) {
        let long = |time: &Time| {
            let now = self.last.unwrap_or(*time);
            now.instant().as_second() - time.instant().as_second() > OPEN_SECONDS
        };
        let (old, young): (Vec<_>, Vec<_>) = self.open.values().copied().partition(|(_, time)| long(time));
        if self.extent != Extent::Window {
            for (seq, _) in old {
                let what = "the call was forwarded and no outcome ends it, though more than 24 hours passed: its outcome is missing";
                self.findings.push(finding("call-open", Some(seq), what.to_owned()));
            }
        }
        if !young.is_empty() {
            let calls = counted(young.len(), "forwarded call", "forwarded calls");
            report.notes.push(format!("{calls} had not ended at the last entry"));
        }
    }
}
