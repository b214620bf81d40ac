//! Lines and calls side by side, in order of time, within a window of each other.
//!
//! A line goes through three steps, each some time after it was read, so that what is near it is known: what shares its trace is matched first, then what has
//! the same method and path (or operation) and contradicts it in nothing, the call that must end first before others, which gives the most pairs
//! there can be; last it is said what no call explains. A call is decided when every line that can be its own has been through the second step.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    iter::Peekable,
};

use super::{
    LATE, Line, Micros, SECOND, Sent,
    clock::Clock,
    decide::{Found, Result as Outcome},
    index::Index,
};

/// So many calls that are decided are remembered by name, to see when the clocks are too far apart.
const DECIDED: usize = 4096;

/// More findings than this are no findings: the log is of something else.
const MAX_FOUND: usize = 100_000;

/// The watermark is the middle of so many times, so that one line with a time that cannot be moves nothing.
const RECENT: usize = 9;

/// Calls that take longer are looked for apart.
pub(super) const LONG: Micros = 10 * SECOND;

/// The time that nothing is behind.
const END: Micros = Micros::MAX / 4;

/// What is compared.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How far the two clocks may be apart, in microseconds.
    pub skew: Micros,
    /// From when the log is whole, by the gateway's clock; else from its first line.
    pub from: Option<Micros>,
    /// Until when; else to its last line.
    pub to: Option<Micros>,
    /// From when the ledger is there.
    pub ledger_from: Micros,
    /// The ledger's last entry.
    pub ledger_to: Micros,
    /// Lines under other credentials are others' business.
    pub credential: Option<String>,
}

/// The comparison is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// Nothing fits.
    #[error("more than {MAX_FOUND} findings: is this the log of this upstream, for this time?")]
    Found,
    /// Not a log in order.
    #[error(
        "{0} lines are older than those before them by more than the clocks may differ: sort the log by time, or give a larger --clock-skew"
    )]
    OutOfOrder(u64),
    /// Nothing fits at all.
    #[error(
        "no line is any of the ledger's calls: is this the log of this upstream, and are the clocks apart by more than --clock-skew says?"
    )]
    Nothing,
    /// The clocks.
    #[error("the log's clock is {0} seconds ahead of the ledger's, more than --clock-skew says: give a larger one")]
    Clock(i64),
}

/// What a comparison came to.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Calls and lines by result.
    pub counts: BTreeMap<&'static str, u64>,
    /// By how much the log's clock is ahead, in microseconds, where that is known.
    pub clock_us: Option<i64>,
    /// From when both were there, in microseconds since 1970, by the gateway's clock.
    pub from: Micros,
    /// Until when.
    pub to: Micros,
}

/// A call that waits for its lines.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) sent: Sent,
    pub(super) groups: Vec<String>,
    ids: Vec<String>,
    /// Lines that name it.
    pub(super) named: Vec<u64>,
    /// The line that it was matched with otherwise.
    pub(super) line: Option<u64>,
    /// Lines that can only be the same call once more.
    pub(super) again: Vec<u64>,
    /// Lines that may be.
    pub(super) perhaps: Vec<u64>,
}

impl Waiting {
    pub(super) fn is_long(&self) -> bool {
        self.sent.latest() - self.sent.start > LONG
    }

    pub(super) fn is_free(&self) -> bool {
        self.named.is_empty() && self.line.is_none()
    }
}

/// A line that waits for its call.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) line: Line,
    pub(super) groups: Vec<String>,
    /// Explained by a call.
    pub(super) taken: bool,
    /// A call that nothing else explains may be it.
    pub(super) claimed: bool,
    /// Its time does not fit its place in the log.
    pub(super) stray: bool,
}

/// The comparison.
pub struct Comparison<I: Iterator<Item = Sent>> {
    pub(super) settings: Settings,
    ledger: Peekable<I>,
    pub(super) calls: BTreeMap<u64, Waiting>,
    pub(super) lines: BTreeMap<u64, Logged>,
    pub(super) short: Index,
    pub(super) long: Index,
    pub(super) longest: Micros,
    pub(super) logged: Index,
    /// Lines that fit no call, whatever their path.
    pub(super) lonely: Index,
    call_ids: BTreeMap<String, u64>,
    line_ids: BTreeMap<String, Vec<u64>>,
    decided: VecDeque<(String, Micros)>,
    /// When what comes next: by trace, by path, calls, lines at last.
    steps: [BTreeSet<(Micros, u64)>; 4],
    pub(super) clock: Clock,
    /// Whether lines have shared a trace with calls, so that a line with another trace is another's.
    pub(super) traced: bool,
    recent: VecDeque<Micros>,
    now: Micros,
    /// The times of the first lines, in order.
    opening: Vec<Micros>,
    next: u64,
    strays: u64,
    pub(super) found: Vec<Found>,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

impl<I: Iterator<Item = Sent>> Comparison<I> {
    /// A comparison with a ledger's calls, in the order in which they ended.
    pub fn new(settings: Settings, calls: I) -> Comparison<I> {
        Comparison {
            settings,
            ledger: calls.peekable(),
            calls: BTreeMap::new(),
            lines: BTreeMap::new(),
            short: Index::default(),
            long: Index::default(),
            longest: 0,
            logged: Index::default(),
            lonely: Index::default(),
            call_ids: BTreeMap::new(),
            line_ids: BTreeMap::new(),
            decided: VecDeque::new(),
            steps: Default::default(),
            clock: Clock::default(),
            traced: false,
            recent: VecDeque::new(),
            now: Micros::MIN / 4,
            opening: Vec::new(),
            next: 0,
            strays: 0,
            found: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// The next line of the log.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn line(&mut self, line: Line) -> Result<(), TooMany> {
        self.count("lines");
        if self.settings.credential.is_some()
            && line.credential.is_some()
            && line.credential != self.settings.credential
        {
            self.count("others");
            return Ok(());
        }
        self.recent.push_back(line.at);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        let mut recent: Vec<Micros> = self.recent.iter().copied().collect();
        recent.sort_unstable();
        self.now = self.now.max(recent.get(recent.len() / 2).copied().unwrap_or(self.now));
        if self.opening.len() < RECENT {
            self.opening.push(line.at);
            self.opening.sort_unstable();
        }
        self.load(self.now.saturating_add(self.settings.skew));
        self.log(line);
        self.advance()?;
        if self.found.len() > MAX_FOUND { Err(TooMany::Found) } else { Ok(()) }
    }

    /// The end of the log: what was found, in the order of the ledger, and the counts.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn finish(mut self) -> Result<(Vec<Found>, Summary), TooMany> {
        let offset = self.clock.offset();
        // Before anything else is said.
        if self.clock.is_certain() && offset.abs() > self.settings.skew {
            return Err(TooMany::Clock(offset / SECOND));
        }
        let last = self.now;
        self.settings.to.get_or_insert(if self.opening.is_empty() { Micros::MIN / 4 } else { last - offset });
        self.load(END);
        self.now = END;
        self.advance()?;
        if self.strays > 16 && self.strays > self.counts.get("lines").copied().unwrap_or_default() / 1000 {
            return Err(TooMany::OutOfOrder(self.strays));
        }
        self.found.sort_by_key(|found| (found.seq.unwrap_or(u64::MAX), found.lines.first().copied()));
        if self.found.len() > MAX_FOUND {
            return Err(TooMany::Found);
        }
        let none = |found: &Found| !matches!(found.result, Outcome::Executed | Outcome::NotExecuted);
        if self.found.len() >= 8 && !self.counts.contains_key("matched") && self.found.iter().all(none) {
            return Err(TooMany::Nothing);
        }
        for found in &self.found {
            *self.counts.entry(found.result.as_str()).or_default() += 1;
        }
        let (from, to) = (self.begins(), self.settings.to.unwrap_or(0));
        let clock_us = self.clock.is_certain().then_some(offset);
        Ok((self.found, Summary { counts: self.counts, clock_us, from, to: to.max(from) }))
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// From when the log is there, by the gateway's clock.
    pub(super) fn begins(&self) -> Micros {
        // One of the first lines that is far before the others has a time that cannot be.
        let first = || match self.opening.as_slice() {
            [odd, first, _, ..] if first - odd > 10 * self.settings.skew => *first,
            [first, ..] => *first,
            [] => END,
        };
        self.settings.from.unwrap_or_else(|| first() - self.clock.offset())
    }

    /// Until when, as far as it was read.
    pub(super) fn ends(&self) -> Micros {
        self.settings.to.unwrap_or(self.now - self.clock.offset())
    }

    /// Takes in the calls that ended up to a time.
    fn load(&mut self, until: Micros) {
        while let Some(sent) = self.ledger.next_if(|sent| sent.end.unwrap_or(sent.start) <= until) {
            self.call(sent);
        }
    }

    fn call(&mut self, sent: Sent) {
        self.count("calls");
        let id = self.next;
        self.next += 1;
        let ids = ids(Some(&sent.entry.to_string()), sent.signature.as_deref(), sent.execution.as_deref());
        let groups =
            groups(sent.method.as_deref().zip(sent.path.as_deref()), sent.operation.as_deref(), sent.trace.as_deref());
        let waiting = Waiting { groups, ids, named: vec![], line: None, again: vec![], perhaps: vec![], sent };
        let index = if waiting.is_long() { &mut self.long } else { &mut self.short };
        index.insert(&waiting.groups, waiting.sent.start, id);
        self.longest = self.longest.max(waiting.sent.latest() - waiting.sent.start);
        self.step(2, waiting.sent.latest().saturating_add(3 * self.settings.skew), id);
        for name in &waiting.ids {
            self.call_ids.insert(name.clone(), id);
        }
        let lines: Vec<u64> =
            waiting.ids.iter().filter_map(|name| self.line_ids.get(name)).flatten().copied().collect();
        self.calls.insert(id, waiting);
        for line in lines {
            self.named(line, id);
        }
    }

    fn step(&mut self, step: usize, at: Micros, id: u64) {
        if let Some(step) = self.steps.get_mut(step) {
            step.insert((at, id));
        }
    }

    fn log(&mut self, line: Line) {
        let id = self.next;
        self.next += 1;
        let (at, skew) = (line.at, self.settings.skew);
        let stray = at < self.now - 2 * skew;
        self.strays += u64::from(stray && line.entry.is_none());
        let groups =
            groups(line.method.as_deref().zip(line.path.as_deref()), line.operation.as_deref(), line.trace.as_deref());
        let names = ids(
            line.entry.map(|entry| entry.to_string()).as_deref(),
            line.signature.as_deref(),
            line.execution.as_deref(),
        );
        self.logged.insert(&groups, at, id);
        self.lines.insert(id, Logged { line, groups, taken: false, claimed: false, stray });
        for name in names {
            if let Some(call) = self.call_ids.get(&name).copied() {
                self.named(id, call);
            } else if self.clock.is_unknown()
                && let Some((_, middle)) = self.decided.iter().find(|(decided, _)| *decided == name)
            {
                self.clock.certain(at, *middle);
            }
            self.line_ids.entry(name).or_default().push(id);
        }
        self.step(0, at.saturating_add(skew / 2), id);
        self.step(1, at.saturating_add(skew), id);
        self.step(3, at.saturating_add(4 * skew + LATE), id);
        self.likely(id);
    }

    /// A line names a call.
    fn named(&mut self, line: u64, call: u64) {
        let Some((logged, waiting)) = self.lines.get_mut(&line).zip(self.calls.get_mut(&call)) else { return };
        if waiting.named.contains(&line) || logged.taken {
            return;
        }
        logged.taken = true;
        waiting.named.push(line);
        let sent = &waiting.sent;
        self.traced |= sent.trace.is_some() && sent.trace == logged.line.trace;
        if let Some(end) = sent.end.filter(|end| sent.completed && end - sent.start < LONG) {
            self.clock.certain(logged.line.at, sent.start + (end - sent.start) / 2);
        }
    }

    /// Where a line and a call are alone of their kind, they are likely the same.
    fn likely(&mut self, id: u64) {
        let Some(logged) = self.lines.get(&id).filter(|logged| !logged.stray && !logged.taken) else { return };
        let Some(group) = logged.groups.first() else { return };
        let (at, skew) = (logged.line.at, self.settings.skew);
        let mut calls = self.short.within(group, at - skew, at + skew);
        let (Some(call), None) = (calls.next(), calls.next()) else { return };
        if self.logged.within(group, at - 2 * skew, at + skew).take(2).count() == 1
            && let Some(call) = self.calls.get(&call).map(|waiting| &waiting.sent)
            && let Some(end) = call.end
        {
            self.clock.likely(at, call.start + (end - call.start) / 2);
        }
    }

    /// Takes every step whose time has come.
    fn advance(&mut self) -> Result<(), TooMany> {
        // Steps of the same kind are taken in order, and lines before the calls that wait for them.
        for step in 0..4 {
            while let Some((at, id)) = self.steps.get(step).and_then(|step| step.first().copied()) {
                if at > self.now {
                    break;
                }
                if let Some(step) = self.steps.get_mut(step) {
                    step.remove(&(at, id));
                }
                match step {
                    0 => self.by_trace(id),
                    1 => self.by_path(id),
                    2 => {
                        self.decide(id);
                        self.forget_call(id);
                    }
                    _ => {
                        self.explain(id);
                        self.forget_line(id);
                    }
                }
            }
            if self.found.len() > MAX_FOUND {
                return Err(TooMany::Found);
            }
        }
        Ok(())
    }

    fn forget_call(&mut self, id: u64) {
        let Some(waiting) = self.calls.remove(&id) else { return };
        let index = if waiting.is_long() { &mut self.long } else { &mut self.short };
        index.remove(&waiting.groups, waiting.sent.start, id);
        for name in waiting.ids {
            self.call_ids.remove(&name);
            self.decided.push_back((name, waiting.sent.start));
            if self.decided.len() > DECIDED {
                self.decided.pop_front();
            }
        }
    }

    fn forget_line(&mut self, id: u64) {
        let Some(Logged { line, groups, .. }) = self.lines.remove(&id) else { return };
        self.logged.remove(&groups, line.at, id);
        self.lonely.remove(&["line".to_owned()], line.at, id);
        let entry = line.entry.map(|entry| entry.to_string());
        for name in ids(entry.as_deref(), line.signature.as_deref(), line.execution.as_deref()) {
            if let Some(lines) = self.line_ids.get_mut(&name) {
                lines.retain(|line| *line != id);
                if lines.is_empty() {
                    self.line_ids.remove(&name);
                }
            }
        }
    }

    /// Says something of a call.
    pub(super) fn say(&mut self, found: Found) {
        match found.result {
            Outcome::Matched => self.count("matched"),
            Outcome::Outside => self.count("outside"),
            _ => self.found.push(found),
        }
    }
}

/// The names by which a line and a call are the same for certain.
fn ids(entry: Option<&str>, signature: Option<&str>, execution: Option<&str>) -> Vec<String> {
    let named = [("entry", entry), ("signature", signature), ("execution", execution)];
    named.into_iter().filter_map(|(kind, name)| Some(format!("{kind} {}", name?))).collect()
}

/// What a line and a call of the same kind have in common: first method and path or operation, then the trace.
fn groups(target: Option<(&str, &str)>, operation: Option<&str>, trace: Option<&str>) -> Vec<String> {
    let target_known = target.is_some();
    let mut groups: Vec<String> = target.map(|(method, path)| format!("target {method} {path}")).into_iter().collect();
    groups.extend(operation.map(|operation| format!("operation {operation}")));
    groups.extend(trace.map(|trace| format!("trace {trace}")));
    if !target_known {
        groups.push("hidden".to_owned());
    }
    groups
}
