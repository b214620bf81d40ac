//! What entries are found by without reading all of them: their hash, their instruction, a call's id, and what every part of a ledger carries.

use serde_json::Value;

use crate::{Hash, Kind};

/// Bytes of a term.
pub(crate) const TERM_BYTES: usize = 10;

/// Something an entry is found by: what it is (one byte) and the first bytes of its hash. Whoever finds an entry by it compares the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term([u8; TERM_BYTES]);

/// Kinds without which others cannot be judged; they are part of every selection.
const CONTEXT: [Kind; 7] =
    [Kind::Ledger, Kind::Party, Kind::Key, Kind::Policy, Kind::Hold, Kind::Erasure, Kind::Incident];
/// Kinds that are so when they belong to no instruction: a withdrawal, and what the API's own log has beside the calls.
const CONTEXT_ALONE: [&str; 2] = ["revocation", "reconciliation"];

/// Whether an entry is part of every selection.
pub(crate) fn is_context(kind: &Kind, instruction: Option<&str>) -> bool {
    CONTEXT.contains(kind) || (instruction.is_none() && CONTEXT_ALONE.contains(&kind.as_str()))
}

/// The instructions that a heartbeat's `closed` names.
pub(crate) fn totals(closed: Option<&Value>) -> impl Iterator<Item = &str> {
    closed.and_then(Value::as_array).into_iter().flatten().filter_map(|total| total.get("instruction")?.as_str())
}

impl Term {
    const fn new(what: u8, hash: &Hash) -> Term {
        let [a, b, c, d, e, f, g, h, i, ..] = *hash.as_bytes();
        Term([what, a, b, c, d, e, f, g, h, i])
    }

    /// The entry with this hash.
    pub const fn entry(hash: &Hash) -> Term {
        Term::new(b'e', hash)
    }

    /// An instruction's entries.
    pub fn instruction(id: &str) -> Term {
        Term::new(b'i', &Hash::of(id.as_bytes()))
    }

    /// The call with this id.
    pub fn call(id: &str) -> Term {
        Term::new(b'c', &Hash::of(id.as_bytes()))
    }

    /// Heartbeats that state the total of an instruction's entries.
    pub fn total(instruction: &str) -> Term {
        Term::new(b't', &Hash::of(instruction.as_bytes()))
    }

    /// What is part of every selection.
    pub const fn context() -> Term {
        Term::new(b'x', &Hash::ZERO)
    }

    #[cfg(feature = "store")]
    pub(crate) const fn from_bytes(bytes: [u8; TERM_BYTES]) -> Term {
        Term(bytes)
    }

    #[cfg(feature = "store")]
    pub(crate) const fn as_bytes(&self) -> &[u8; TERM_BYTES] {
        &self.0
    }

    /// Whether it stands for an instruction's entries.
    #[cfg(feature = "store")]
    pub(crate) const fn is_instruction(&self) -> bool {
        let [what, ..] = self.0;
        what == b'i'
    }

    /// The terms of an entry besides its hash; `call` and `closed` are those members of its body.
    // INVARIANT: whatever `evidence::wanted` selects is found by one of them.
    pub(crate) fn of(
        kind: &Kind,
        instruction: Option<&str>,
        call: Option<&Value>,
        closed: Option<&Value>,
    ) -> Vec<Term> {
        let mut terms: Vec<Term> = instruction.map(Term::instruction).into_iter().collect();
        if *kind == Kind::Call {
            terms.extend(call.and_then(Value::as_str).map(Term::call));
        }
        if *kind == Kind::Heartbeat {
            terms.extend(totals(closed).map(Term::total));
        }
        if is_context(kind, instruction) {
            terms.push(Term::context());
        }
        terms
    }
}
