//! The causal graph: every entry of the evidence, of one ledger or several, with what it was caused by and what it is about.
//!
//! Entries are keyed by ledger and number, and stand in the order of time. The order in which evidence is given changes nothing.

mod call;
mod case;
mod people;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use countersign_ledger::{
    Entry, Hash, Kind,
    disclosure::Disclosure,
    evidence::{Evidence, Item, Selection, Shown},
    record::body,
    statement::Jwk,
    verify::is_borne_out,
};
use serde::Serialize;
use serde_json::Value;

pub use self::{
    call::{Call, Ended, Execution, Fate, Given, Receipt},
    case::Case,
    people::Holder,
};
use crate::{
    link::State,
    replay::{Comparison, Instead, Replayed, replay},
};

/// An entry, with every copy of it that was given: one may disclose what another withholds.
#[derive(Debug)]
pub struct Node<'e> {
    /// Its hash.
    pub hash: Hash,
    copies: Vec<&'e Item>,
}

impl<'e> Node<'e> {
    /// The entry.
    pub fn entry(&self) -> &'e Entry {
        // INVARIANT: a node is made of its first copy.
        static NONE: std::sync::OnceLock<Entry> = std::sync::OnceLock::new();
        self.copies.first().map_or_else(|| NONE.get_or_init(no_entry), |item| &item.entry)
    }

    /// The ledger it is of.
    pub fn origin(&self) -> &'e str {
        &self.entry().origin
    }

    /// Its number there.
    pub fn seq(&self) -> u64 {
        self.entry().seq
    }

    /// What it records.
    pub fn kind(&self) -> &'e str {
        self.entry().kind.as_str()
    }

    /// A clear text member.
    pub fn text(&self, name: &str) -> Option<&'e str> {
        self.entry().text(name)
    }

    /// A clear member.
    pub fn clear(&self, name: &str) -> Option<&'e Value> {
        self.entry().body.get(name)
    }

    /// A disclosed value.
    pub fn value(&self, name: &str) -> Option<&'e Value> {
        self.copies.iter().find_map(|item| item.value(name))
    }

    /// How a value that it commits to can be seen; none where there is no such value.
    pub fn shown(&self, name: &str) -> Option<&'e Shown> {
        let mut shown: Vec<&Shown> = self.copies.iter().filter_map(|item| item.values.get(name)).collect();
        shown.sort_by_key(|shown| match shown {
            Shown::Value(_) => 0,
            Shown::Erased => 1,
            Shown::Withheld => 2,
        });
        shown.first().copied()
    }

    /// The names of what it commits to.
    pub fn names(&self) -> impl Iterator<Item = &'e String> {
        self.copies.first().into_iter().flat_map(|item| item.values.keys())
    }

    /// Its body, typed.
    pub fn body<B: body::Body>(&self) -> Option<B> {
        (self.entry().kind == B::KIND).then(|| self.entry().body_as().ok()).flatten()
    }

    fn key(&self) -> (countersign_ledger::record::Time, &'e str, u64, Hash) {
        (self.entry().time, self.origin(), self.seq(), self.hash)
    }
}

fn no_entry() -> Entry {
    Entry {
        v: 1,
        origin: String::new(),
        seq: 0,
        prev: Hash::ZERO,
        time: countersign_ledger::record::Time::new(jiff::Timestamp::UNIX_EPOCH),
        kind: Kind::Other(String::new()),
        parents: Vec::new(),
        instruction: None,
        n: None,
        body: serde_json::Map::new(),
        extra: serde_json::Map::new(),
    }
}

/// How an entry stands to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// It names it as a cause.
    CausedBy,
    /// An outcome ends a call.
    Ends,
    /// A receipt says what became of a call.
    Attests,
    /// The API's log was compared with a call.
    Reconciles,
    /// An approval answers a held call.
    Answers,
    /// An incident is about a call.
    Disputes,
    /// A grant was cut from another.
    CutFrom,
}

/// An edge, from an entry to an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// The later entry.
    pub from: Hash,
    /// The earlier one.
    pub to: Hash,
    /// How they stand to each other.
    pub relation: Relation,
}

/// The graph.
#[derive(Debug)]
pub struct Graph<'e> {
    nodes: Vec<Node<'e>>,
    by_hash: BTreeMap<Hash, usize>,
    /// What is about a call, by the call's hash or id.
    about: BTreeMap<&'e str, Vec<usize>>,
    /// Who names an entry as a cause.
    effects: BTreeMap<Hash, Vec<usize>>,
    pub(crate) policies: BTreeMap<Hash, &'e [u8]>,
    evidence: Vec<&'e Evidence>,
    /// Every verdict once more, by the call's entry; computed when it is first needed.
    replayed: OnceCell<BTreeMap<Hash, Replayed>>,
    /// Keys that were had from elsewhere than the operator.
    trusted: BTreeSet<String>,
    /// Whether whole ledgers were given, not parts of them.
    whole: bool,
    /// Whether each instruction has all its entries, if nobody left any out.
    instructions_whole: bool,
}

impl<'e> Graph<'e> {
    /// Of the evidence of one ledger or several. `trusted` holds the thumbprints of keys had from elsewhere.
    pub fn new(evidence: &[&'e Evidence], trusted: &BTreeSet<String>) -> Graph<'e> {
        let mut copies: BTreeMap<Hash, Vec<&'e Item>> = BTreeMap::new();
        for item in evidence.iter().flat_map(|evidence| evidence.items.values()) {
            copies.entry(item.hash).or_default().push(item);
        }
        let mut nodes: Vec<Node<'e>> = copies.into_iter().map(|(hash, copies)| Node { hash, copies }).collect();
        nodes.sort_by(|one, other| one.key().cmp(&other.key()));
        let mut graph = Graph {
            by_hash: nodes.iter().enumerate().map(|(at, node)| (node.hash, at)).collect(),
            about: BTreeMap::new(),
            effects: BTreeMap::new(),
            policies: BTreeMap::new(),
            evidence: evidence.to_vec(),
            replayed: OnceCell::new(),
            trusted: trusted.clone(),
            whole: evidence.iter().all(|evidence| evidence.selection.is_none()),
            instructions_whole: !evidence
                .iter()
                .any(|evidence| matches!(evidence.selection, Some(Selection::Window(..)))),
            nodes,
        };
        for (at, node) in graph.nodes.iter().enumerate() {
            let incident = node.clear("calls").and_then(Value::as_array).filter(|_| node.kind() == "incident");
            let calls = incident.into_iter().flatten().filter_map(Value::as_str);
            let call = node.text("call").filter(|_| node.kind() != "call");
            for call in call.into_iter().chain(calls) {
                graph.about.entry(call).or_default().push(at);
            }
            for parent in &node.entry().parents {
                graph.effects.entry(*parent).or_default().push(at);
            }
        }
        let policies = evidence.iter().flat_map(|evidence| &evidence.policies);
        graph.policies.extend(policies.map(|(hash, bytes)| (*hash, bytes.as_slice())));
        graph
    }

    /// Every entry, in order.
    pub fn nodes(&self) -> &[Node<'e>] {
        &self.nodes
    }

    /// The entry with this hash.
    pub fn find(&self, hash: &Hash) -> Option<&Node<'e>> {
        self.by_hash.get(hash).and_then(|at| self.nodes.get(*at))
    }

    /// The verdict of a call, judged again from what was recorded.
    pub fn replayed(&self, call: &Node<'e>) -> Option<&Replayed> {
        let all = self.replayed.get_or_init(|| {
            let mut all: BTreeMap<Hash, Replayed> = BTreeMap::new();
            for evidence in &self.evidence {
                for replayed in replay(evidence, &Instead::default()) {
                    let Some(item) = evidence.items.get(&replayed.seq) else { continue };
                    // Of several copies of the evidence the one that says more counts.
                    let open = |known: &Replayed| matches!(known.result, Comparison::NotReplayable { .. });
                    if all.get(&item.hash).is_none_or(open) {
                        all.insert(item.hash, replayed);
                    }
                }
            }
            all
        });
        all.get(&call.hash)
    }

    /// What is about a call: outcomes, receipts, approvals, reconciliations, incidents.
    pub fn about(&self, call: &Node<'e>) -> Vec<&Node<'e>> {
        let hash = call.hash.to_string();
        let by = |name: &str| self.about.get(name).into_iter().flatten().copied().collect::<Vec<_>>();
        let mut at = by(&hash);
        at.extend(call.text("call").map(by).unwrap_or_default());
        at.sort_unstable();
        at.dedup();
        at.into_iter().filter_map(|at| self.nodes.get(at)).collect()
    }

    /// Who names an entry as a cause.
    pub fn effects(&self, node: &Node<'e>) -> impl Iterator<Item = &Node<'e>> {
        self.effects.get(&node.hash).into_iter().flatten().filter_map(|at| self.nodes.get(*at))
    }

    /// The entries that caused one, as far as they are there.
    pub fn causes(&self, node: &Node<'e>) -> impl Iterator<Item = &Node<'e>> {
        node.entry().parents.iter().filter_map(|parent| self.find(parent))
    }

    /// Whether whole ledgers were given.
    pub const fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether each instruction has all its entries, if nobody left any out: not so of a time window.
    pub const fn has_whole_instructions(&self) -> bool {
        self.instructions_whole
    }

    /// The instructions, in the order in which they were given.
    pub fn instructions(&self) -> Vec<&'e str> {
        let mut order = Vec::new();
        let mut known = BTreeSet::new();
        for node in &self.nodes {
            if let Some(instruction) = node.entry().instruction.as_deref()
                && known.insert(instruction)
            {
                order.push(instruction);
            }
        }
        order
    }

    /// Every edge, in order.
    pub fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for node in &self.nodes {
            let caused = self.causes(node).map(|cause| (cause.hash, Relation::CausedBy));
            edges.extend(caused.map(|(to, relation)| Edge { from: node.hash, to, relation }));
            if node.kind() == "call" {
                let about = self.about(node).into_iter();
                edges.extend(about.filter_map(|later| {
                    let relation = match later.kind() {
                        "outcome" => Relation::Ends,
                        "receipt" => Relation::Attests,
                        "reconciliation" => Relation::Reconciles,
                        "approval" => Relation::Answers,
                        "incident" => Relation::Disputes,
                        _ => return None,
                    };
                    Some(Edge { from: later.hash, to: node.hash, relation })
                }));
            }
            if node.kind() == "delegation" {
                let from = node.text("from").and_then(|from| self.grant(from));
                edges.extend(from.map(|from| Edge { from: node.hash, to: from.hash, relation: Relation::CutFrom }));
            }
        }
        edges.sort();
        edges.dedup();
        edges
    }

    /// The entry that made a grant.
    pub fn grant(&self, id: &str) -> Option<&Node<'e>> {
        self.nodes.iter().find(|node| {
            (node.entry().kind == Kind::Grant || node.entry().kind == Kind::Delegation)
                && node.text("grant") == Some(id)
        })
    }

    /// Whether a key was had from elsewhere than the operator.
    pub fn is_trusted(&self, kid: &str) -> bool {
        self.trusted.contains(kid)
    }

    /// How well a party's own statement establishes what it says. What the gateway recorded of a signature proves nothing to who does not trust it: the
    /// statement must be there, be signed with a key had from elsewhere, and say what the entry records.
    pub fn stated(&self, node: &Node<'_>, check: Option<&body::Check>) -> State {
        match check {
            Some(check) if check.result == "valid" && self.is_borne_out(node, &check.kid) => State::Proven,
            Some(check) if check.result == "invalid" => State::Contradicted,
            _ => State::Claimed,
        }
    }

    fn is_borne_out(&self, node: &Node<'_>, kid: &str) -> bool {
        let keys = self.nodes.iter().filter(|node| node.kind() == "key" && self.is_trusted(kid));
        let jwk = keys
            .filter_map(|node| serde_json::from_value::<Jwk>(node.clear("jwk")?.clone()).ok())
            .find(|jwk| jwk.thumbprint() == kid);
        let shown = node.names().filter_map(|name| node.shown(name));
        let opened: Vec<&Disclosure> = shown
            .filter_map(|shown| match shown {
                Shown::Value(disclosure) => Some(disclosure),
                _ => None,
            })
            .collect();
        jwk.is_some_and(|jwk| is_borne_out(node.entry(), &opened, &jwk))
    }
}

/// Whether two recorded values are the same, numbers and texts of numbers alike, members in any order.
pub fn same(one: &Value, other: &Value) -> bool {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| same(value, other)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (one, other) => {
            let (one, other) = (plain(one), plain(other));
            one == other || number(&one).is_some_and(|one| number(&other) == Some(one))
        }
    }
}

/// A decimal number without its trailing zeros, as it stands.
pub(crate) fn number(text: &str) -> Option<(bool, String, String)> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let usual = !whole.is_empty() && plain(whole) && plain(part) && (whole == "0" || !whole.starts_with('0'));
    usual.then(|| (negative, whole.to_owned(), part.trim_end_matches('0').to_owned()))
}

#[cfg(test)]
mod tests;
