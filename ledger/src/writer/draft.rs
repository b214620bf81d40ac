//! A draft made ready by the caller's thread, so that the writer only fills in what it alone knows.

use super::{AppendError, Waiter};
use crate::{
    Hash,
    canonical::{self, CanonicalError},
    record::{Attachment, Draft, EntryError, FORMAT_VERSION, Kind, MAX_ENTRY_BYTES, StatePut, Time},
    term::Term,
};

/// The most bytes that may go with one entry into the vault and the state.
pub(crate) const MAX_BESIDE_BYTES: usize = 2 << 20;

/// A draft whose canonical bytes are done but for `n`, `prev`, `seq` and `time`.
pub(crate) struct Prepared {
    pub(crate) kind: Kind,
    /// The instruction that it is counted in.
    pub(crate) instruction: Option<Term>,
    /// What it is found by.
    pub(crate) terms: Vec<Term>,
    /// `{"body":…,"instruction":…,"kind":…`
    start: Vec<u8>,
    /// `,"origin":…,"parents":[…]`
    middle: Vec<u8>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) state: Vec<StatePut>,
    /// Whether it is a call that has its number at its upstream.
    pub(crate) is_numbered: bool,
    /// Whoever waits, if anybody does.
    pub(crate) waiter: Option<Waiter>,
}

impl Prepared {
    pub(crate) fn new(draft: Draft, origin: &str, waiter: Waiter) -> Result<Prepared, AppendError> {
        Ok(Prepared { waiter: Some(waiter), ..Prepared::without_waiter(draft, origin)? })
    }

    pub(crate) fn without_waiter(draft: Draft, origin: &str) -> Result<Prepared, EntryError> {
        // INVARIANT: RFC 8785 sorts members by name: body, instruction, kind, n, origin, parents, prev, seq, time, v.
        let mut start = b"{\"body\":".to_vec();
        start.extend(canonical::of_object(&draft.body)?);
        if let Some(instruction) = &draft.instruction {
            start.extend(b",\"instruction\":");
            start.extend(canonical::to_vec(instruction)?);
        }
        start.extend(b",\"kind\":");
        start.extend(canonical::to_vec(&draft.kind)?);
        let mut middle = b",\"origin\":".to_vec();
        middle.extend(canonical::to_vec(&origin)?);
        middle.extend(b",\"parents\":");
        middle.extend(canonical::to_vec(&draft.parents)?);
        let (id, body) = (draft.instruction.as_deref(), &draft.body);
        let prepared = Prepared {
            terms: Term::of(&draft.kind, id, body.get("call"), body.get("closed")),
            instruction: id.map(Term::instruction),
            is_numbered: body.contains_key("upstream_n"),
            kind: draft.kind,
            start,
            middle,
            attachments: draft.attachments,
            state: draft.state,
            waiter: None,
        };
        // What the writer adds takes less than 256 bytes.
        let bytes = prepared.start.len() + prepared.middle.len() + 256;
        if bytes > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLong(bytes));
        }
        if prepared.beside_bytes() > MAX_BESIDE_BYTES {
            return Err(EntryError::TooLong(prepared.beside_bytes()));
        }
        match prepared.state.iter().find(|put| {
            put.key.len() > 128 || put.value.as_ref().is_some_and(|value| value.len() > crate::store::MAX_VALUE_BYTES)
        }) {
            Some(put) => Err(EntryError::TooLong(put.value.as_ref().map_or(0, Vec::len))),
            None => Ok(prepared),
        }
    }

    fn beside_bytes(&self) -> usize {
        self.attachments.iter().map(|attachment| attachment.sealed.len()).sum::<usize>()
            + self.state.iter().filter_map(|put| put.value.as_ref()).map(Vec::len).sum::<usize>()
    }

    /// About how much it takes in the journal.
    pub(crate) fn size(&self) -> usize {
        self.start.len() + self.middle.len() + 256 + self.beside_bytes()
    }

    /// The canonical bytes.
    pub(crate) fn bytes(&self, seq: u64, n: Option<u64>, prev: &Hash, time: Time) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.start.len() + self.middle.len() + 256);
        bytes.extend(&self.start);
        if let Some(n) = n {
            bytes.extend(b",\"n\":");
            bytes.extend(n.to_string().as_bytes());
        }
        bytes.extend(&self.middle);
        let rest = format!(",\"prev\":\"{prev}\",\"seq\":{seq},\"time\":\"{time}\",\"v\":{FORMAT_VERSION}}}");
        bytes.extend(rest.as_bytes());
        bytes
    }
}

impl From<CanonicalError> for AppendError {
    fn from(error: CanonicalError) -> AppendError {
        EntryError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, json};

    use super::*;
    use crate::record::Entry;

    proptest! {
        /// The spliced bytes are what the general way gives.
        #[test]
        fn spliced_bytes_are_canonical(text in ".*", instruction in proptest::option::of(".*"), seq in 0..1_u64 << 53, n in 0..100_u64) {
            let body = json!({"v": 1, "text": text, "\u{10000}": 1, "z": [1]}).as_object().cloned().unwrap_or_default();
            let draft = Draft { kind: Kind::Call, parents: vec![Hash::of(b"p")], instruction: instruction.clone(), body, attachments: vec![], state: vec![] };
            let time = Time::new(jiff::Timestamp::UNIX_EPOCH);
            let n = instruction.as_ref().map(|_| n);
            let entry = Entry {
                v: FORMAT_VERSION, origin: "a.example/\u{e9}".into(), seq, prev: Hash::of(b"q"), time, kind: Kind::Call,
                parents: draft.parents.clone(), instruction, n, body: draft.body.clone(), extra: Map::new(),
            };
            let prepared = Prepared::without_waiter(draft, &entry.origin).unwrap();
            prop_assert_eq!(prepared.bytes(seq, n, &entry.prev, time), entry.to_bytes().unwrap());
        }
    }
}
