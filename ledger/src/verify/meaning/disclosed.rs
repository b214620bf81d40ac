//! What is disclosed of an entry, against what the entry commits to and says.

use std::collections::BTreeMap;

use super::Meaning;
use crate::{
    Entry, Hash, Kind,
    disclosure::Disclosure,
    evidence::Shown,
    record::body,
    verify::{
        authority::{Wrong, asks, is_plumbing},
        countersigned, finding, stated,
    },
};

impl Meaning<'_> {
    /// What is shown of an entry's values, against what the entry commits to.
    pub(in crate::verify) fn values(&mut self, seq: u64, hash: Hash, entry: &Entry, values: &BTreeMap<String, Shown>) {
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
}
