//! What is said of a call and of a line: only what cannot be otherwise.

use std::cmp::Reverse;

use countersign_ledger::Hash;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Line, Micros, SECOND, Sent,
    compare::{Comparison, LONG, Logged, Waiting},
    index::Index,
};

/// What the log says of a call, or a line of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Result {
    /// The same in both.
    Matched,
    /// Not in the time that both have.
    Outside,
    /// The log has nothing of the call.
    NotSeen,
    /// The log has something else.
    Differs,
    /// The log has it more than once, done.
    Twice,
    /// The log has it at a time that cannot be.
    Time,
    /// It cannot be told.
    Undetermined,
    /// The ledger has nothing of the line.
    Bypass,
    /// Nobody knew whether the call was executed, and a line that names it says so.
    Executed,
    /// Nobody knew, and the lines that name it say that the API refused it.
    NotExecuted,
}

impl Result {
    /// The name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Result::Matched => "matched",
            Result::Outside => "outside",
            Result::NotSeen => "not_seen",
            Result::Differs => "differs",
            Result::Twice => "twice",
            Result::Time => "time",
            Result::Undetermined => "undetermined",
            Result::Bypass => "bypass",
            Result::Executed => "executed",
            Result::NotExecuted => "not_executed",
        }
    }
}

/// Something in which a line differs from its call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `method`, `path`, `query`, `operation`, `arguments`, `status`, `bytes` or `body`.
    pub what: &'static str,
    /// What the ledger has.
    pub ledger: Value,
    /// What the log has.
    pub log: Value,
}

/// A call or a line that is not plainly matched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// What it is.
    pub result: Result,
    /// The call's entry; none for a line without a call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<Hash>,
    /// The entry's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The lines' numbers.
    pub lines: Vec<u64>,
    /// Why, as a stable code.
    pub why: &'static str,
    /// In what they differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<Difference>,
    /// What the first line says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<Value>,
    /// The group by which others might be it.
    #[serde(skip)]
    group: Option<String>,
}

impl<I: Iterator<Item = Sent>> Comparison<I> {
    /// A line's time by the gateway's clock, and how far its call may be from it.
    fn placed(&self, line: &Line) -> (Micros, Micros) {
        (line.at - self.clock.offset(), self.clock.slack(line.coarse, self.settings.skew))
    }

    /// The calls of a group in whose time a line is.
    fn around(&self, group: &str, line: &Line) -> Vec<(u64, &Waiting)> {
        let (at, slack) = self.placed(line);
        let short = self.short.within(group, at - slack - LONG, at + slack);
        let long = self.long.within(group, at - slack - self.longest, at + slack);
        let calls = short.chain(long).filter_map(|id| Some((id, self.calls.get(&id)?)));
        calls.filter(|(_, call)| call.sent.start - slack <= at && at <= call.sent.latest() + slack).collect()
    }

    /// Whether a line's trace is that of a call in its time: then it is of that trace.
    fn is_of_a_trace(&self, line: &Line) -> bool {
        line.trace.as_ref().is_some_and(|trace| !self.around(&format!("trace {trace}"), line).is_empty())
    }

    /// The lines of a group in a call's time.
    fn lines_around(&self, group: &str, call: &Sent) -> Vec<(u64, &Logged)> {
        self.within(&self.logged, group, call)
    }

    fn within(&self, index: &Index, group: &str, call: &Sent) -> Vec<(u64, &Logged)> {
        let slack = self.clock.slack(true, self.settings.skew);
        let offset = self.clock.offset();
        let ids = index.within(group, call.start + offset - slack, call.latest() + offset + slack);
        let lines = ids.filter_map(|id| Some((id, self.lines.get(&id)?)));
        lines
            .filter(|(_, logged)| {
                let (at, slack) = self.placed(&logged.line);
                call.start - slack <= at && at <= call.latest() + slack
            })
            .collect()
    }

    /// How much a line and a call of the same kind agree; none when something contradicts.
    fn agree(&self, line: &Line, call: &Sent) -> Option<u32> {
        let mut score = 0;
        // A line that names an entry is of that entry, and it names another one.
        let other = [
            both(line.execution.as_ref(), call.execution.as_ref()),
            both(line.signature.as_ref(), call.signature.as_ref()),
        ];
        if line.entry.is_some() || other.contains(&Some(false)) {
            return None;
        }
        match both(line.trace.as_ref(), call.trace.as_ref()) {
            Some(true) => score += 8,
            Some(false) if self.traced => return None,
            _ => {}
        }
        let says = [
            (both(line.query.as_ref(), call.query.as_ref()), 1),
            (both(line.status.as_ref(), call.status.as_ref()), 1),
            (both(line.failed.as_ref(), call.status.map(|status| status >= 400).as_ref()), 1),
            (both(line.body.as_ref(), call.body.as_ref()), 4),
            (both(line.content.as_ref(), call.content.as_ref()), 4),
            (both(line.arguments.as_ref(), call.arguments.as_ref()), 4),
        ];
        for (same, weight) in says {
            score += match same {
                Some(false) => return None,
                Some(true) => weight,
                None => 0,
            };
        }
        Some(score + u32::from(both(line.bytes.as_ref(), call.bytes.as_ref()) == Some(true)))
    }

    /// Matches a line with the call that agrees most, of several the one that must end first.
    fn take(&mut self, id: u64, only_traced: bool) -> Vec<u64> {
        let Some(logged) = self.lines.get(&id).filter(|logged| !logged.taken && !logged.stray) else { return vec![] };
        let Some(group) = logged.groups.first() else { return vec![] };
        let line = &logged.line;
        let traced = |call: &Sent| line.trace.is_some() && line.trace == call.trace;
        let only_traced = only_traced || self.is_of_a_trace(line);
        let agreeing: Vec<(u64, u32, &Waiting)> = self
            .around(group, line)
            .into_iter()
            .filter(|(_, call)| !only_traced || traced(&call.sent))
            .filter_map(|(call, waiting)| Some((call, self.agree(line, &waiting.sent)?, waiting)))
            .collect();
        let free = agreeing.iter().filter(|(.., waiting)| waiting.is_free());
        let best = free.max_by_key(|(call, score, waiting)| (*score, Reverse(waiting.sent.latest()), Reverse(*call)));
        let Some((call, _, waiting)) = best else { return agreeing.iter().map(|(call, ..)| *call).collect() };
        let (call, was_traced, alone) = (*call, traced(&waiting.sent), agreeing.len() == 1);
        if let Some(end) = waiting.sent.end.filter(|_| was_traced && alone && waiting.sent.completed) {
            let (at, middle) = (line.at, waiting.sent.start + (end - waiting.sent.start) / 2);
            self.clock.likely(at, middle);
        }
        self.traced |= was_traced;
        if let Some(waiting) = self.calls.get_mut(&call) {
            waiting.line = Some(id);
        }
        if let Some(logged) = self.lines.get_mut(&id) {
            logged.taken = true;
        }
        vec![]
    }

    /// The first step: what shares its trace.
    pub(super) fn by_trace(&mut self, id: u64) {
        self.take(id, true);
    }

    /// The second: what has the same method and path. A line that has its like among calls that all have their lines is one too many.
    pub(super) fn by_path(&mut self, id: u64) {
        let likes = self.take(id, false);
        if let Some(logged) =
            self.lines.get(&id).filter(|logged| likes.is_empty() && !logged.taken && logged.line.entry.is_none())
        {
            self.lonely.insert(&["line".to_owned()], logged.line.at, id);
        }
        let Some(logged) = self.lines.get(&id).filter(|_| !likes.is_empty()) else { return };
        let line = &logged.line;
        let is_traced = |of: u64| {
            self.lines.get(&of).is_some_and(|other| other.line.trace.is_some() && other.line.trace == line.trace)
        };
        // Nobody else knows the trace; the body, if there is one, is the same too.
        let same: Vec<u64> = likes
            .iter()
            .copied()
            .filter(|call| {
                let Some(call) = self.calls.get(call) else { return false };
                let sent = &call.sent;
                let whole = both(line.content.as_ref(), sent.content.as_ref()) == Some(true)
                    || both(line.body.as_ref(), sent.body.as_ref()) == Some(true)
                    || (sent.content.is_none() && sent.body.is_none() && line.query.is_some());
                whole
                    && line.trace.is_some()
                    && line.trace == sent.trace
                    && call.line.iter().chain(&call.named).any(|of| is_traced(*of))
            })
            .collect();
        let (only, done) = (same.as_slice(), line.is_done());
        let (call, again) = match only {
            [call] if done && likes.len() == 1 => (*call, true),
            _ => match likes.first() {
                Some(call) => (*call, false),
                None => return,
            },
        };
        if let Some(waiting) = self.calls.get_mut(&call) {
            let to = if again { &mut waiting.again } else { &mut waiting.perhaps };
            to.push(id);
        }
        if let Some(logged) = self.lines.get_mut(&id) {
            logged.taken = true;
        }
    }

    /// What is said of a call.
    pub(super) fn decide(&mut self, id: u64) {
        let Some(waiting) = self.calls.get(&id) else { return };
        let found = if !waiting.named.is_empty() {
            self.of_named(waiting)
        } else if let Some(line) = waiting.line {
            let lines = |more: &[u64]| [&[line], more].concat();
            if !waiting.again.is_empty() {
                self.of_call(waiting, Result::Twice, "same-trace-and-body", &lines(&waiting.again))
            } else if !waiting.perhaps.is_empty() {
                self.of_call(waiting, Result::Undetermined, "more-lines-than-calls", &lines(&waiting.perhaps))
            } else {
                self.of_call(waiting, Result::Matched, "", &[line])
            }
        } else {
            let (found, claimed) = self.of_nothing(id, waiting);
            for line in claimed {
                if let Some(logged) = self.lines.get_mut(&line) {
                    logged.claimed = true;
                }
            }
            found
        };
        self.say(found);
    }

    fn of_call(&self, waiting: &Waiting, result: Result, why: &'static str, lines: &[u64]) -> Found {
        let lines: Vec<&Line> = lines.iter().filter_map(|line| Some(&self.lines.get(line)?.line)).collect();
        Found {
            result,
            call: Some(waiting.sent.entry),
            seq: Some(waiting.sent.seq),
            lines: lines.iter().map(|line| line.number).collect(),
            why,
            differs: Vec::new(),
            line: lines.first().filter(|_| result != Result::Matched).map(|line| shown(line)),
            group: waiting.groups.first().cloned(),
        }
    }

    /// Of a call that lines name.
    fn of_named(&self, waiting: &Waiting) -> Found {
        let (sent, named) = (&waiting.sent, &waiting.named);
        let line_of = |id: &u64| self.lines.get(id).map(|logged| &logged.line);
        let done = named.iter().filter_map(line_of).filter(|line| line.is_done()).count();
        if done > 1 {
            return self.of_call(waiting, Result::Twice, "named-twice", named);
        }
        let best = named.iter().filter_map(|id| Some((*id, line_of(id)?)));
        let Some((id, line)) = best.max_by_key(|(id, line)| (line.status == sent.status, line.is_done(), Reverse(*id)))
        else {
            return self.of_call(waiting, Result::Undetermined, "line-gone", named);
        };
        let differs = differences(line, sent);
        if !differs.is_empty() {
            return Found { differs, ..self.of_call(waiting, Result::Differs, "named-and-different", &[id]) };
        }
        let (at, slack) = self.placed(line);
        let slack = slack + SECOND;
        if self.clock.is_certain() && (at < sent.start - slack || at > sent.latest() + slack) {
            return self.of_call(waiting, Result::Time, "outside-the-call", &[id]);
        }
        if !waiting.again.is_empty() || !waiting.perhaps.is_empty() {
            let more = [&[id][..], &waiting.again, &waiting.perhaps].concat();
            return self.of_call(waiting, Result::Undetermined, "more-lines-than-calls", &more);
        }
        // What the gateway does not know only a line that names the call tells, never one that looks like it, and never that there is none.
        let lines: Vec<&Line> = named.iter().filter_map(line_of).collect();
        match (sent.open, line.is_good(), lines.iter().all(|line| line.is_refused())) {
            (true, true, _) => self.of_call(waiting, Result::Executed, "named-and-done", named),
            (true, _, true) => self.of_call(waiting, Result::NotExecuted, "named-and-refused", named),
            _ => self.of_call(waiting, Result::Matched, "", &[id]),
        }
    }

    /// Of a call that no line fits; and the lines that may be it.
    fn of_nothing(&self, id: u64, waiting: &Waiting) -> (Found, Vec<u64>) {
        let sent = &waiting.sent;
        let slack = if self.settings.from.is_some() { 0 } else { self.clock.slack(true, self.settings.skew) };
        let ends =
            if self.settings.to.is_some_and(|to| sent.latest() <= to) { self.ends() } else { self.ends() - slack };
        let end = sent.end.unwrap_or(sent.start);
        if sent.start < self.begins() + slack || end > ends {
            return (self.of_call(waiting, Result::Outside, "", &[]), vec![]);
        }
        if sent.unsent {
            return (self.of_call(waiting, Result::Matched, "not-sent", &[]), vec![]);
        }
        let open = |near: &[(u64, &Logged)]| -> Vec<u64> {
            near.iter().filter(|(_, logged)| !logged.taken).map(|(id, _)| *id).collect()
        };
        // Whatever no call explains here may be this one: without a name in common, something that differs looks like a call that the API never saw and
        // another one around the sidecar.
        let other_trace = |line: &Line| {
            let other = self.traced && both(line.trace.as_ref(), sent.trace.as_ref()) == Some(false);
            other || (line.trace != sent.trace && self.is_of_a_trace(line))
        };
        let mut any = self.within(&self.lonely, "line", sent);
        any.retain(|(_, logged)| !other_trace(&logged.line));
        let any = open(&any);
        let undetermined = |why, lines: &[u64]| (self.of_call(waiting, Result::Undetermined, why, lines), any.clone());
        let group =
            waiting.groups.first().filter(|group| group.starts_with("target") || group.starts_with("operation"));
        let Some(group) = group else { return undetermined("not-disclosed", &[]) };
        // Lines may have no method and path, but the operation.
        let of = waiting.groups.iter().filter(|other| *other == group || other.starts_with("operation"));
        let near: Vec<(u64, &Logged)> = of.flat_map(|group| self.lines_around(group, sent)).collect();
        let taken: Vec<u64> = near
            .iter()
            .filter(|(_, logged)| logged.taken && self.agree(&logged.line, sent).is_some())
            .map(|(id, _)| *id)
            .collect();
        if !taken.is_empty() {
            return undetermined("more-calls-than-lines", &taken);
        }
        let by_trace =
            sent.trace.as_ref().map(|trace| self.lines_around(&format!("trace {trace}"), sent)).unwrap_or_default();
        let traced = open(&by_trace);
        if let [line] = traced.as_slice()
            && self.is_alone(id, sent, *line)
        {
            return (self.drifted(waiting, *line), traced);
        }
        if !traced.is_empty() {
            let (found, any) = undetermined("several-in-the-trace", &traced);
            return (found, [any, traced].concat());
        }
        if !any.is_empty() {
            return undetermined("another-line-near", &any);
        }
        (self.of_call(waiting, Result::NotSeen, "no-line", &[]), vec![])
    }

    /// Whether nothing else explains a line of the same trace.
    fn is_alone(&self, id: u64, sent: &Sent, line: u64) -> bool {
        let Some(logged) = self.lines.get(&line).filter(|logged| !logged.claimed && logged.line.entry.is_none()) else {
            return false;
        };
        let Some(trace) = &sent.trace else { return false };
        let others = self.around(&format!("trace {trace}"), &logged.line);
        others.into_iter().all(|(other, waiting)| other == id || !waiting.is_free() || waiting.sent.unsent)
    }

    fn drifted(&self, waiting: &Waiting, line: u64) -> Found {
        let differs = self.lines.get(&line).map(|logged| differences(&logged.line, &waiting.sent)).unwrap_or_default();
        let result = if differs.is_empty() { Result::Undetermined } else { Result::Differs };
        Found { differs, ..self.of_call(waiting, result, "same-trace-and-different", &[line]) }
    }

    /// What is said of a line that no call explains.
    pub(super) fn explain(&mut self, id: u64) {
        let Some(logged) = self.lines.get(&id).filter(|logged| !logged.taken && !logged.claimed) else { return };
        let line = &logged.line;
        let (at, slack) = self.placed(line);
        let (from, to) =
            (self.begins().max(self.settings.ledger_from), self.settings.ledger_to.max(self.settings.to.unwrap_or(0)));
        let edge = if self.settings.from.is_some() { 0 } else { slack };
        if at < from + edge || at > to.min(self.ends()) {
            return self.count("outside_lines");
        }
        // Refused for its credential: nobody was let in.
        if line.status == Some(401) {
            return self.count("others");
        }
        let group = logged.groups.first().cloned().unwrap_or_default();
        let hidden = self.around("hidden", line).iter().any(|(_, call)| call.is_free());
        let unclear = logged.stray
            || hidden
            || (self.settings.credential.is_some() && line.credential.is_none())
            || self.around(&group, line).iter().any(|(_, call)| call.is_free());
        if unclear {
            let stray = logged.stray;
            self.count("undetermined_lines");
            if stray {
                self.doubt(&group);
            }
            return;
        }
        let why = if line.entry.is_some() { "names-no-entry-of-the-ledger" } else { "no-call" };
        let found = Found {
            result: Result::Bypass,
            call: None,
            seq: None,
            lines: vec![line.number],
            why,
            differs: Vec::new(),
            line: Some(shown(line)),
            group: None,
        };
        self.say(found);
    }

    /// A line that came in no order may be a call of which it was said that the log has nothing.
    fn doubt(&mut self, group: &str) {
        for found in &mut self.found {
            if found.result == Result::NotSeen && found.group.as_deref() == Some(group) {
                (found.result, found.why) = (Result::Undetermined, "a-line-out-of-order");
            }
        }
    }
}

/// Whether two that are known are the same.
fn both<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> Option<bool> {
    Some(one? == other?)
}

/// In what a line differs from the call that it is.
fn differences(line: &Line, sent: &Sent) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what, ledger: Option<Value>, log: Option<Value>| {
        if let Some((ledger, log)) = ledger.zip(log).filter(|(ledger, log)| ledger != log) {
            found.push(Difference { what, ledger, log });
        }
    };
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let hash = |hash: &Option<Hash>| hash.map(|hash| json!(hash));
    compare("method", text(&sent.method), text(&line.method));
    compare("path", text(&sent.path), text(&line.path));
    compare("query", text(&sent.query), text(&line.query));
    if line.path.is_none() {
        compare("operation", text(&sent.operation), text(&line.operation));
    }
    compare("arguments", hash(&sent.arguments), hash(&line.arguments));
    compare("status", sent.status.map(|status| json!(status)), line.status.map(|status| json!(status)));
    if line.status.is_none() {
        compare("status", sent.status.map(|status| json!(status >= 400)), line.failed.map(|failed| json!(failed)));
    }
    compare("body", hash(&sent.body), hash(&line.body));
    if line.body.is_none() || sent.body.is_none() {
        compare("body", hash(&sent.content), hash(&line.content));
    }
    // Of a HEAD or another status the bytes say nothing more.
    if sent.method.as_deref() != Some("HEAD") && line.status == sent.status {
        compare("bytes", sent.bytes.map(|bytes| json!(bytes)), line.bytes.map(|bytes| json!(bytes)));
    }
    found
}

/// What a line says, for who looks at it.
fn shown(line: &Line) -> Value {
    let time = jiff::Timestamp::from_microsecond(line.at).map(|time| time.to_string()).unwrap_or_default();
    let mut shown = json!({ "line": line.number, "time": time });
    let members = [
        ("method", json!(line.method)),
        ("path", json!(line.path)),
        ("query", json!(line.query)),
        ("operation", json!(line.operation)),
        ("status", json!(line.status)),
        ("credential", json!(line.credential)),
        ("entry", json!(line.entry)),
    ];
    if let Some(shown) = shown.as_object_mut() {
        shown.extend(
            members.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)),
        );
    }
    shown
}
