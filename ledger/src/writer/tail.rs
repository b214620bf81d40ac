//! The sealed entries that are not in the archive yet, and what finds them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{Hash, batch::Stored};

/// Dense from `first` on.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    first: u64,
    entries: VecDeque<Arc<Stored>>,
    by_hash: BTreeMap<Hash, u64>,
    by_instruction: BTreeMap<(String, u64), u64>,
}

impl Tail {
    pub(crate) fn new(first: u64, entries: impl IntoIterator<Item = Arc<Stored>>) -> Tail {
        let mut tail = Tail { first, ..Tail::default() };
        tail.extend(entries);
        tail
    }

    /// Adds the entries that follow.
    pub(crate) fn extend(&mut self, entries: impl IntoIterator<Item = Arc<Stored>>) {
        for stored in entries {
            let seq = self.first + self.entries.len() as u64;
            self.by_hash.insert(*stored.hash(), seq);
            if let Some(place) = stored.place() {
                self.by_instruction.insert(place.clone(), seq);
            }
            self.entries.push_back(stored);
        }
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Arc<Stored>> {
        self.entries.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    pub(crate) fn find(&self, hash: &Hash) -> Option<u64> {
        self.by_hash.get(hash).copied()
    }

    /// The numbers of an instruction's entries, in order.
    pub(crate) fn of_instruction(&self, instruction: &str) -> Vec<u64> {
        let all = (instruction.to_owned(), 0)..=(instruction.to_owned(), u64::MAX);
        self.by_instruction.range(all).map(|(_, seq)| *seq).collect()
    }

    /// Takes out the entries below `end`; the caller frees them when nobody waits.
    pub(crate) fn take_until(&mut self, end: u64) -> Vec<Arc<Stored>> {
        let count = usize::try_from(end.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.entries.len());
        let taken: Vec<_> = self.entries.drain(..count).collect();
        self.first += taken.len() as u64;
        for stored in &taken {
            self.by_hash.remove(stored.hash());
            if let Some(place) = stored.place() {
                self.by_instruction.remove(place);
            }
        }
        taken
    }
}
