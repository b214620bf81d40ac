//! A draft made ready by the caller's thread, so that the writer only fills in what it alone knows.

use std::io::Write as _;

use super::{AppendError, Waiter};
use crate::{
    Hash,
    batch::Beside,
    canonical::{self, CanonicalError},
    record::{Draft, EntryError, FORMAT_VERSION, Kind, MAX_ENTRY_BYTES, Time},
    term::Term,
};

/// The most bytes that may go with one entry into the vault and the state.
pub(crate) const MAX_BESIDE_BYTES: usize = 2 << 20;

/// More than what the writer adds to an entry's bytes.
const ADDED_BYTES: usize = 256;

/// A draft whose canonical bytes are done but for `n`, `prev`, `seq` and `time`.
pub(crate) struct Prepared {
    pub(crate) kind: Kind,
    /// The instruction that it is counted in.
    pub(crate) instruction: Option<Term>,
    /// What it is found by.
    pub(crate) terms: Vec<Term>,
    /// `{"body":…,"instruction":…,"kind":…`, where `n` comes, and `,"origin":…,"parents":[…]`.
    text: Vec<u8>,
    n_at: usize,
    pub(crate) beside: Beside,
    /// Whether it is a call that has its number at its upstream.
    pub(crate) is_numbered: bool,
    /// Whoever waits, if anybody does.
    pub(crate) waiter: Option<Waiter>,
}

impl Prepared {
    pub(crate) fn new(draft: &Draft, origin: &str, waiter: Waiter) -> Result<Prepared, AppendError> {
        Ok(Prepared { waiter: Some(waiter), ..Prepared::without_waiter(draft, origin)? })
    }

    pub(crate) fn without_waiter(draft: &Draft, origin: &str) -> Result<Prepared, EntryError> {
        // INVARIANT: RFC 8785 sorts members by name: body, instruction, kind, n, origin, parents, prev, seq, time, v.
        let mut text = Vec::with_capacity(canonical::USUAL_BYTES);
        text.extend_from_slice(b"{\"body\":");
        if draft.commitments.is_empty() {
            draft.body.write(&mut text);
        } else {
            let mut body = draft.body.clone();
            body.set_object("sd", &draft.commitments)?;
            body.write(&mut text);
        }
        if let Some(instruction) = &draft.instruction {
            text.extend_from_slice(b",\"instruction\":");
            canonical::put(instruction, &mut text)?;
        }
        text.extend_from_slice(b",\"kind\":");
        canonical::put(draft.kind.as_str(), &mut text)?;
        let n_at = text.len();
        text.extend_from_slice(b",\"origin\":");
        canonical::put(origin, &mut text)?;
        text.extend_from_slice(b",\"parents\":[");
        for (index, parent) in draft.parents.iter().enumerate() {
            text.extend((index > 0).then_some(b','));
            // Writing into memory does not fail.
            let _ = write!(text, "\"{parent}\"");
        }
        text.push(b']');
        let (id, body) = (draft.instruction.as_deref(), &draft.body);
        let prepared = Prepared {
            terms: Term::of(&draft.kind, id, body.get("call").as_ref(), body.get("closed").as_ref()),
            instruction: id.map(Term::instruction),
            is_numbered: body.has("upstream_n"),
            kind: draft.kind.clone(),
            text,
            n_at,
            beside: Beside::new(&draft.attachments, &draft.state),
            waiter: None,
        };
        let bytes = prepared.text.len() + ADDED_BYTES;
        if bytes > MAX_ENTRY_BYTES {
            return Err(EntryError::TooLong(bytes));
        }
        if prepared.beside.len() > MAX_BESIDE_BYTES {
            return Err(EntryError::TooLong(prepared.beside.len()));
        }
        match draft.state.iter().find(|put| {
            put.key.len() > 128 || put.value.as_ref().is_some_and(|value| value.len() > crate::store::MAX_VALUE_BYTES)
        }) {
            Some(put) => Err(EntryError::TooLong(put.value.as_ref().map_or(0, Vec::len))),
            None => Ok(prepared),
        }
    }

    /// About how much it takes in the journal.
    pub(crate) fn size(&self) -> usize {
        self.text.len() + ADDED_BYTES + self.beside.len()
    }

    /// Puts the canonical bytes into `bytes`, in place of what is there.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>, seq: u64, n: Option<u64>, prev: &Hash, time: Time) {
        bytes.clear();
        let (start, middle) = self.text.split_at_checked(self.n_at).unwrap_or_default();
        bytes.extend_from_slice(start);
        // Writing into memory does not fail.
        let _ = n.map(|n| write!(bytes, ",\"n\":{n}"));
        bytes.extend_from_slice(middle);
        let _ = write!(bytes, ",\"prev\":\"{prev}\",\"seq\":{seq},\"time\":\"{time}\",\"v\":{FORMAT_VERSION}}}");
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
    use crate::{canonical::Members, record::Entry};

    proptest! {
        /// The spliced bytes are what the general way gives.
        #[test]
        fn spliced_bytes_are_canonical(text in ".*", instruction in proptest::option::of(".*"), seq in 0..1_u64 << 53, n in 0..100_u64) {
            let body = json!({"v": 1, "text": text, "\u{10000}": 1, "z": [1]}).as_object().cloned().unwrap_or_default();
            let (mut draft, mut body) = (Draft::of(Kind::Call, Members::of(&body).unwrap()).caused_by([Hash::of(b"p")]), body);
            draft.instruction.clone_from(&instruction);
            draft.commitments.set("request", "digest").unwrap();
            body.insert("sd".to_owned(), json!({ "request": "digest" }));
            let time = Time::new(jiff::Timestamp::UNIX_EPOCH);
            let n = instruction.as_ref().map(|_| n);
            let entry = Entry {
                v: FORMAT_VERSION, origin: "a.example/\u{e9}".into(), seq, prev: Hash::of(b"q"), time, kind: Kind::Call,
                parents: draft.parents.clone(), instruction, n, body, extra: Map::new(),
            };
            let mut bytes = b"what was there".to_vec();
            Prepared::without_waiter(&draft, &entry.origin).unwrap().write(&mut bytes, seq, n, &entry.prev, time);
            prop_assert_eq!(bytes, entry.to_bytes().unwrap());
        }
    }
}
