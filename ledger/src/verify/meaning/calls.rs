//! Calls: each judged by rules that were in force, numbered, allowed by a grant, ended once, and approved where it was held.

use super::{Extent, Meaning};
use crate::{
    Entry, Hash,
    count::counted,
    record::{Time, body},
    verify::{
        Report,
        authority::{Approved, Held},
        finding,
    },
};

/// How long a forwarded call may stay open, in seconds, by the time of the last entry: longer is a finding, shorter only a note.
/// The gateway closes every call, also with `shutdown` or, after a crash, with `unknown`.
const OPEN_SECONDS: i64 = 24 * 3600;

impl Meaning<'_> {
    pub(super) fn call(&mut self, seq: u64, hash: Hash, entry: &Entry, call: &body::Call) {
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

    pub(super) fn outcome(&mut self, seq: u64, hash: Hash, outcome: &body::Outcome) {
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

    /// A receipt is of a forwarded call.
    pub(super) fn receipt(&mut self, seq: u64, receipt: &body::Receipt) {
        let known = self.open.contains_key(&receipt.call) || self.ended.contains(&receipt.call);
        if !known && self.extent != Extent::Window {
            self.find("receipt-without-call", seq, "there is no forwarded call that it is about");
        }
        if !receipt.late && self.receipted.remove(&receipt.call).is_none() {
            self.receipts.insert(receipt.call);
        }
    }

    /// What is said of a call that its outcome left open, once.
    pub(super) fn settlement(&mut self, seq: u64, entry: &Entry, settlement: &body::Settlement) {
        let wrong = self.unsettled.settle(entry, settlement).filter(|_| self.extent != Extent::Window);
        self.findings.extend(wrong.map(|(code, what)| finding(code, Some(seq), what)));
    }

    pub(super) fn approval(&mut self, seq: u64, hash: Hash, entry: &Entry, approval: &body::Approval) {
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

    /// Calls that have not ended: this check has no clock, so that the last entry's time counts as now.
    pub(super) fn still_open(&mut self, report: &mut Report) {
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
