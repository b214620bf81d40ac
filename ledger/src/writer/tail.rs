//! The sealed entries that are not in the archive yet, and what finds them.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    archive::TILE,
    batch::Stored,
    index::{Row, rows_of},
    term::Term,
};

/// Dense from `first` on, which is a multiple of 256.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    first: u64,
    entries: VecDeque<Arc<Stored>>,
    /// The rows of each 256 entries, in order.
    sorted: VecDeque<Vec<Row>>,
    /// Those of the entries beyond: few enough to look at each.
    newest: Vec<Row>,
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
            self.newest.extend(rows_of(seq, &stored));
            self.entries.push_back(stored);
            if (seq + 1).is_multiple_of(TILE) {
                let mut rows = std::mem::take(&mut self.newest);
                rows.sort_unstable();
                self.sorted.push_back(rows);
            }
        }
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Arc<Stored>> {
        self.entries.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// The numbers of the entries with this term, in order.
    pub(crate) fn find(&self, term: Term) -> Vec<u64> {
        let mut found = Vec::new();
        for rows in &self.sorted {
            let from = rows.partition_point(|row| row.term() < term);
            found.extend(rows.iter().skip(from).take_while(|row| row.term() == term).map(Row::seq));
        }
        found.extend(self.newest.iter().filter(|row| row.term() == term).map(Row::seq));
        found
    }

    /// The last entry with this term.
    pub(crate) fn last(&self, term: Term) -> Option<&Arc<Stored>> {
        self.get(*self.find(term).last()?)
    }

    /// Takes out the entries below `end`, a multiple of 256; the caller frees them when nobody waits.
    pub(crate) fn take_until(&mut self, end: u64) -> (Vec<Arc<Stored>>, Vec<Vec<Row>>) {
        let count = usize::try_from(end.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.entries.len());
        self.first += count as u64;
        let tiles = (count / TILE as usize).min(self.sorted.len());
        (self.entries.drain(..count).collect(), self.sorted.drain(..tiles).collect())
    }
}
