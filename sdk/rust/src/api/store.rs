//! Receipts that were given, so that they can be given again.

use std::collections::{BTreeMap, VecDeque};

use countersign_ledger::{Hash, signed_text::SignedText};
use parking_lot::Mutex;

/// Where receipts are kept. It is asked on the way of each call, so it must be quick; one that writes to a database queues.
pub trait Store: Send + Sync + 'static {
    /// Keeps a receipt under both its names: SHA-256 of the request's signature, and the call's entry.
    fn keep(&self, names: [Hash; 2], receipt: &SignedText);

    /// The receipt of that name.
    fn find(&self, name: &Hash) -> Option<SignedText>;

    /// Since when it has every receipt that was given, in seconds since 1970: a request that was signed before may have been taken by a process that is
    /// gone, so it is refused. A store that outlives the process need not say anything.
    fn since(&self) -> i64 {
        i64::MIN
    }
}

/// The newest receipts, in memory.
#[derive(Debug)]
pub struct Memory {
    most: usize,
    since: i64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    receipts: BTreeMap<Hash, SignedText>,
    order: VecDeque<[Hash; 2]>,
}

impl Memory {
    /// Keeps at most so many.
    pub fn new(most: usize) -> Memory {
        Memory { most, since: jiff::Timestamp::now().as_second(), kept: Mutex::default() }
    }
}

impl Default for Memory {
    /// Ten thousand: some 20 MB.
    fn default() -> Memory {
        Memory::new(10_000)
    }
}

impl Store for Memory {
    fn keep(&self, names: [Hash; 2], receipt: &SignedText) {
        let mut kept = self.kept.lock();
        for name in names {
            kept.receipts.insert(name, receipt.clone());
        }
        kept.order.push_back(names);
        if kept.order.len() > self.most
            && let Some(oldest) = kept.order.pop_front()
        {
            oldest.iter().for_each(|name| drop(kept.receipts.remove(name)));
        }
    }

    fn find(&self, name: &Hash) -> Option<SignedText> {
        self.kept.lock().receipts.get(name).cloned()
    }

    fn since(&self) -> i64 {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_receipts_are_found_by_both_names() {
        let store = Memory::new(2);
        let names = |n: u8| [Hash::of(&[n]), Hash::of(&[n, n])];
        for n in 0..3 {
            store.keep(names(n), &SignedText { base: n.to_string(), value: String::new() });
        }
        let found = |name: &Hash| store.find(name).map(|text| text.base);
        assert_eq!((found(&names(0)[0]), found(&names(0)[1])), (None, None));
        assert_eq!((found(&names(2)[0]), found(&names(1)[1])), (Some("2".into()), Some("1".into())));
    }
}
