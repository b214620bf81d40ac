//! Meaning: each forwarded call closed, dense counters, grants, approvals, policies, commitments and parties' statements.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Report, finding};
use crate::{
    Entry, Hash, Kind,
    batch::Batch,
    disclosure::Disclosure,
    evidence::{Opener, Shown},
    record::{Time, body},
    statement::{Jwk, Statement},
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

struct Grant {
    instruction: Option<String>,
    expires: Option<Time>,
    actions: Vec<String>,
    revoked: bool,
}

pub(super) struct Meaning<'s> {
    policy: &'s (dyn Fn(&Hash) -> Option<Vec<u8>> + Sync),
    extent: Extent,
    findings: Vec<Finding>,
    commitments: u64,
    erased_values: u64,
    statements: u64,
    calls: u64,
    /// Forwarded calls without an outcome yet.
    open: BTreeMap<Hash, u64>,
    ended: BTreeSet<Hash>,
    held: BTreeSet<Hash>,
    /// Approvals not used yet.
    approvals: BTreeSet<Hash>,
    next_in_instruction: BTreeMap<String, u64>,
    next_at_upstream: BTreeMap<String, u64>,
    grants: BTreeMap<String, Grant>,
    keys: BTreeMap<String, (Jwk, String, bool)>,
    policies: BTreeSet<Hash>,
    /// Subjects erased so far.
    erased: BTreeMap<String, u64>,
    /// What opened, by subject: must not have been erased later.
    opened: BTreeMap<String, u64>,
    /// What has no data key, by subject: must be erased by an entry.
    without_key: BTreeMap<String, u64>,
    revoked: BTreeSet<String>,
}

impl<'s> Meaning<'s> {
    pub(super) fn new(policy: &'s (dyn Fn(&Hash) -> Option<Vec<u8>> + Sync), extent: Extent) -> Meaning<'s> {
        Meaning {
            policy,
            extent,
            findings: Vec::new(),
            commitments: 0,
            erased_values: 0,
            statements: 0,
            calls: 0,
            open: BTreeMap::new(),
            ended: BTreeSet::new(),
            held: BTreeSet::new(),
            approvals: BTreeSet::new(),
            next_in_instruction: BTreeMap::new(),
            next_at_upstream: BTreeMap::new(),
            grants: BTreeMap::new(),
            keys: BTreeMap::new(),
            policies: BTreeSet::new(),
            erased: BTreeMap::new(),
            opened: BTreeMap::new(),
            without_key: BTreeMap::new(),
            revoked: BTreeSet::new(),
        }
    }

    fn find(&mut self, code: &'static str, seq: u64, what: impl Into<String>) {
        self.findings.push(finding(code, Some(seq), what.into()));
    }

    pub(super) fn piece(&mut self, piece: &Batch, open: Option<&Opener<'_>>) {
        for (seq, stored) in (piece.first..).zip(&piece.entries) {
            // What cannot be read at all is told by the other half.
            let Ok(entry) = Entry::parse(&stored.bytes) else { continue };
            self.entry(seq, Hash::of(&stored.bytes), &entry);
            let Some(open) = open else { continue };
            let mut values = BTreeMap::new();
            for attachment in &stored.attachments {
                let shown = match open(attachment) {
                    Ok(Some(disclosure)) => Shown::Value(disclosure),
                    Ok(None) => Shown::Erased,
                    Err(what) => {
                        self.find("value-unreadable", seq, what);
                        Shown::Withheld
                    }
                };
                values.insert(attachment.name.clone(), shown);
            }
            for name in entry.commitments().keys() {
                if !values.contains_key(name) {
                    self.find(
                        "value-missing",
                        seq,
                        format!("the value of `{name}` that the entry commits to is missing"),
                    );
                }
            }
            self.values(seq, &entry, &values);
        }
    }

    pub(super) fn entry(&mut self, seq: u64, hash: Hash, entry: &Entry) {
        if let (Some(instruction), Some(n)) = (&entry.instruction, entry.n) {
            let next = self.next_in_instruction.entry(instruction.clone()).or_default();
            let expected = std::mem::replace(next, n + 1);
            if n != expected && !(self.extent == Extent::Window && expected == 0) {
                self.find("counter-gap", seq, format!("it is number {n} of its instruction, number {expected} was expected: an entry of the instruction is missing"));
            }
        }
        let known = match &entry.kind {
            Kind::Call => entry.body_as().map(|call| self.call(seq, hash, entry, &call)),
            Kind::Outcome => entry.body_as().map(|outcome| self.outcome(seq, &outcome)),
            Kind::Approval => entry.body_as().map(|approval| self.approval(seq, hash, &approval)),
            Kind::Grant => entry.body_as().map(|grant| self.grant(entry, grant)),
            Kind::Revocation => entry.body_as().map(|revocation| self.revocation(entry, &revocation)),
            Kind::Key => entry.body_as().map(|key| self.key(&key)),
            Kind::Policy => entry.body_as().map(|policy| self.policy(seq, &policy)),
            Kind::Heartbeat => entry.body_as().map(|heartbeat| self.heartbeat(seq, &heartbeat)),
            Kind::Erasure => entry.body_as().map(|erasure: body::Erasure| {
                self.erased.insert(erasure.subject, seq);
            }),
            _ => Ok(()),
        };
        if let Err(error) = known {
            self.find("body-malformed", seq, error.to_string());
        }
    }

    fn call(&mut self, seq: u64, hash: Hash, entry: &Entry, call: &body::Call) {
        if call.verdict == "hold" {
            self.held.insert(hash);
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
            self.open.insert(hash, seq);
            let next = self.next_at_upstream.entry(call.upstream.clone()).or_default();
            let expected = std::mem::replace(next, n + 1);
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
        if call.verdict == "allow" {
            self.allowed(seq, entry, call);
        }
        if let Some(approval) = call.approval
            && !self.approvals.remove(&approval)
        {
            self.find(
                "approval-unknown",
                seq,
                "it rests on an approval that is not there, was a denial, or served before",
            );
        }
    }

    fn allowed(&mut self, seq: u64, entry: &Entry, call: &body::Call) {
        let grant = call.grant.as_ref().and_then(|grant| self.grants.get(grant));
        let what = match grant {
            None if self.extent == Extent::Window => None,
            None => Some(("grant-unknown", "it was allowed under a grant that is not there".to_owned())),
            Some(grant) if grant.instruction != entry.instruction => {
                Some(("grant-of-other", "it was allowed under the grant of another instruction".to_owned()))
            }
            Some(grant) if grant.revoked => {
                Some(("grant-revoked", "it was allowed although its grant was withdrawn".to_owned()))
            }
            Some(grant) if grant.expires.is_some_and(|expires| entry.time >= expires) => {
                Some(("grant-expired", "it was allowed although its grant had ended".to_owned()))
            }
            Some(grant) => match &call.action {
                Some(action) if grant.actions.contains(action) => None,
                action => Some((
                    "action-not-granted",
                    format!(
                        "it was allowed although its grant does not include `{}`",
                        action.as_deref().unwrap_or("?")
                    ),
                )),
            },
        };
        if let Some((code, what)) = what {
            self.find(code, seq, what);
        }
        let names = [
            Some("everything/".to_owned()),
            call.agent.as_ref().map(|agent| format!("agent/{agent}")),
            call.subject.as_ref().map(|subject| format!("subject/{subject}")),
            call.action.as_ref().map(|action| format!("action/{action}")),
        ];
        if let Some(name) = names.into_iter().flatten().find(|name| self.revoked.contains(name)) {
            self.find("revoked", seq, format!("it was allowed although `{name}` was withdrawn"));
        }
    }

    fn outcome(&mut self, seq: u64, outcome: &body::Outcome) {
        if self.open.remove(&outcome.call).is_some() {
            self.ended.insert(outcome.call);
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

    fn approval(&mut self, seq: u64, hash: Hash, approval: &body::Approval) {
        if !self.held.remove(&approval.call) && self.extent != Extent::Window {
            self.find("approval-without-call", seq, "there is no held call that it answers, or it was answered before");
        } else if approval.decision == "approved" {
            self.approvals.insert(hash);
        }
    }

    fn grant(&mut self, entry: &Entry, grant: body::Grant) {
        let row = Grant {
            instruction: entry.instruction.clone(),
            expires: grant.expires,
            actions: grant.actions,
            revoked: false,
        };
        self.grants.insert(grant.grant, row);
    }

    fn revocation(&mut self, entry: &Entry, revocation: &body::Revocation) {
        if entry.instruction.is_none() {
            self.revoked.insert(format!("{}/{}", revocation.what, revocation.id));
        }
        for grant in self
            .grants
            .values_mut()
            .filter(|grant| grant.instruction.is_some() && grant.instruction == entry.instruction)
        {
            grant.revoked = true;
        }
    }

    fn key(&mut self, key: &body::Key) {
        let jwk = key.jwk.clone().and_then(|jwk| serde_json::from_value(jwk).ok());
        match (jwk, self.keys.get_mut(&key.kid)) {
            (_, Some(row)) => row.2 = key.event == "registered",
            (Some(jwk), None) => {
                drop(self.keys.insert(key.kid.clone(), (jwk, key.party.clone(), key.event == "registered")))
            }
            (None, None) => {}
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
            if have < total.entries {
                self.find(
                    "total-differs",
                    seq,
                    format!("the instruction `{}` had {} entries, {have} are there", total.instruction, total.entries),
                );
            }
        }
    }

    /// What is shown of an entry's values, against what the entry commits to.
    pub(super) fn values(&mut self, seq: u64, entry: &Entry, values: &BTreeMap<String, Shown>) {
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
        self.statement(seq, entry, &opened);
    }

    /// Checks a party's own statement again, with the key as it was registered at that time.
    fn statement(&mut self, seq: u64, entry: &Entry, opened: &[&Disclosure]) {
        let text = opened
            .iter()
            .find(|disclosure| disclosure.name() == "statement")
            .and_then(|disclosure| disclosure.value().as_str());
        let check = entry.body.get("check").and_then(|check| serde_json::from_value::<body::Check>(check.clone()).ok());
        let (Some(text), Some(check)) = (text, check) else { return };
        self.statements += 1;
        let result = match (Statement::parse(text), self.keys.get(&check.kid)) {
            (Err(_), _) => "invalid",
            (Ok(statement), _) if statement.kid() != check.kid => "invalid",
            (Ok(_), None) => "unknown_key",
            (Ok(_), Some((_, _, false))) => "unknown_key",
            (Ok(statement), Some((jwk, _, true))) if statement.has_valid_signature(jwk) => "valid",
            (Ok(_), Some(_)) => "invalid",
        };
        if result != check.result {
            self.find(
                "statement-differs",
                seq,
                format!("the gateway recorded the signature as `{}`, it is `{result}`", check.result),
            );
        }
        if check.result == "valid"
            && self.keys.get(&check.kid).is_some_and(|(_, party, _)| check.party.as_ref() != Some(party))
        {
            self.find("statement-party", seq, "the key was registered for another party than the one recorded");
        }
    }

    pub(super) fn finish(mut self, report: &mut Report) {
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
        report.findings.append(&mut self.findings);
    }
}
