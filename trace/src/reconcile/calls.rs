//! The ledger's calls to one upstream, each with how it ended, in the order in which they ended.

use std::collections::{BTreeMap, BTreeSet};

use countersign_ledger::{Entry, Hash, Kind};
use serde_json::Value;

use super::{
    LATE, Micros, SECOND,
    line::{content, trace_id},
};

/// How long receipts are waited for behind an outcome.
const RECEIPTS: Micros = 30 * SECOND;

/// A call that was forwarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// Its entry.
    pub entry: Hash,
    /// The entry's number.
    pub seq: u64,
    /// When it was sealed.
    pub start: Micros,
    /// When it ended; none while nobody knows.
    pub end: Option<Micros>,
    /// Whether the API answered it to the end.
    pub completed: bool,
    /// Whether it certainly did not reach the API.
    pub unsent: bool,
    /// Whether its outcome left open whether the API executed it, and nobody settled that yet.
    pub open: bool,
    /// The HTTP method; none where it is not disclosed or not HTTP as the API logs it.
    pub method: Option<String>,
    /// The path.
    pub path: Option<String>,
    /// The query.
    pub query: Option<String>,
    /// The action.
    pub operation: Option<String>,
    /// The status that the API gave.
    pub status: Option<u16>,
    /// Bytes of the answer's body.
    pub bytes: Option<u64>,
    /// SHA-256 of the request's body.
    pub body: Option<Hash>,
    /// What the request's body says.
    pub content: Option<Hash>,
    /// What the arguments say.
    pub arguments: Option<Hash>,
    /// SHA-256 of the request's signature, from a receipt.
    pub signature: Option<String>,
    /// The API's id of the execution, from a receipt.
    pub execution: Option<String>,
    /// The trace id that the agent sent.
    pub trace: Option<String>,
}

impl Sent {
    /// Until when the API may have logged it, by the gateway's clock.
    pub(super) fn latest(&self) -> Micros {
        let end = self.end.unwrap_or(self.start);
        if self.completed { end } else { end.saturating_add(LATE) }
    }
}

/// Makes calls of entries.
#[derive(Debug)]
pub struct Gather {
    upstream: String,
    calls: BTreeMap<Hash, Sent>,
    ended: BTreeSet<(Micros, Hash)>,
}

impl Gather {
    /// Of this upstream.
    pub fn new(upstream: &str) -> Gather {
        Gather { upstream: upstream.to_owned(), calls: BTreeMap::new(), ended: BTreeSet::new() }
    }

    /// Whether an entry matters at all, so that its values need not be opened otherwise.
    pub fn wants(&self, entry: &Entry) -> bool {
        match entry.kind {
            Kind::Call => entry.text("upstream") == Some(&self.upstream) && entry.body.contains_key("upstream_n"),
            Kind::Outcome | Kind::Receipt | Kind::Settlement => {
                of_call(entry).is_some_and(|call| self.calls.contains_key(&call))
            }
            _ => false,
        }
    }

    /// The next entry, with what is disclosed of it; gives the calls that are done.
    pub fn entry(&mut self, hash: Hash, entry: &Entry, value: &dyn Fn(&str) -> Option<Value>) -> Vec<Sent> {
        let at = entry.time.instant().as_microsecond();
        if self.wants(entry) {
            match entry.kind {
                Kind::Call => drop(self.calls.insert(hash, call(hash, entry, value))),
                Kind::Outcome => self.outcome(entry, value),
                Kind::Settlement => self.settlement(entry),
                _ => self.receipt(entry, value),
            }
        }
        let mut done = Vec::new();
        while let Some((end, call)) = self.ended.first().copied().filter(|(end, _)| end.saturating_add(RECEIPTS) <= at)
        {
            self.ended.remove(&(end, call));
            done.extend(self.calls.remove(&call));
        }
        done
    }

    /// The calls that are left, those that did not end among them.
    pub fn rest(self) -> Vec<Sent> {
        let mut rest: Vec<Sent> = self.calls.into_values().collect();
        rest.sort_by_key(|call| (call.end.unwrap_or(call.start), call.seq));
        rest
    }

    fn outcome(&mut self, entry: &Entry, value: &dyn Fn(&str) -> Option<Value>) {
        let Some((hash, call)) = of_call(entry).and_then(|hash| Some((hash, self.calls.get_mut(&hash)?))) else {
            return;
        };
        let at = entry.time.instant().as_microsecond();
        call.end = Some(at);
        call.completed = entry.text("result") == Some("completed");
        call.unsent = entry.text("sent") == Some("no");
        call.open = entry.text("sent") == Some("maybe");
        call.status = entry.body.get("status").and_then(Value::as_u64).and_then(|status| status.try_into().ok());
        call.bytes = entry.body.get("bytes").and_then(|bytes| bytes.get(1)?.as_u64()).filter(|_| call.completed);
        let sent = value("request").filter(|sent| sent.get("bytes").and_then(Value::as_u64) != Some(0));
        call.body = sent.and_then(|sent| sent.get("sha256")?.as_str()?.parse().ok());
        self.ended.insert((at, hash));
    }

    fn settlement(&mut self, entry: &Entry) {
        if let Some(call) = of_call(entry).and_then(|hash| self.calls.get_mut(&hash)) {
            call.open = false;
        }
    }

    fn receipt(&mut self, entry: &Entry, value: &dyn Fn(&str) -> Option<Value>) {
        let Some(call) = of_call(entry).and_then(|hash| self.calls.get_mut(&hash)) else { return };
        let valid =
            entry.body.get("check").and_then(|check| check.get("result")).and_then(Value::as_str) == Some("valid");
        let Some(receipt) = value("receipt").filter(|_| valid) else { return };
        let text = |at: &str| receipt.pointer(at).and_then(Value::as_str).map(str::to_owned);
        call.signature = text("/request/signature_sha256").or(call.signature.take());
        call.execution = text("/execution/id").or(call.execution.take());
    }
}

fn of_call(entry: &Entry) -> Option<Hash> {
    entry.text("call")?.parse().ok()
}

fn call(hash: Hash, entry: &Entry, value: &dyn Fn(&str) -> Option<Value>) -> Sent {
    let mut call = Sent {
        entry: hash,
        seq: entry.seq,
        start: entry.time.instant().as_microsecond(),
        operation: entry.text("action").map(str::to_owned),
        trace: entry.text("traceparent").and_then(trace_id),
        ..Sent::default()
    };
    call.arguments = value("arguments").as_ref().and_then(content);
    let request = value("request").unwrap_or_default();
    let text = |name: &str| request.get(name).and_then(Value::as_str);
    // Of a message of MCP the API logs a POST to its one endpoint, which says nothing of the tool.
    let method = text("method").filter(|method| method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-'));
    if let Some((method, target)) = method.zip(text("target")) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        call.method = Some(method.to_owned());
        call.path = Some(path.to_owned());
        call.query = Some(query.to_owned());
    }
    call.content = request.get("body").filter(|body| !body.is_null()).and_then(content);
    call
}
