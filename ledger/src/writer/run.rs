//! The writer's thread: number, chain, hash, sign once, write, sync, acknowledge.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::{Acknowledged, AppendError, Cover, Prepared, SealedBatch, Shared, Waiter};
use crate::{
    Hash,
    batch::{Batch, Stored},
    checkpoint::CheckpointSigner,
    clock::Clock,
    journal::Journal,
    record::{Draft, Kind, Time, body},
    store::Head,
    term::Term,
    tree::{self, Frontier},
};

/// How many instructions' counters are kept in memory.
const MAX_COUNTERS: usize = 100_000;

pub(crate) struct WriterThread {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) signer: Arc<CheckpointSigner>,
    pub(crate) journal: Journal,
    pub(crate) head: Head,
    pub(crate) frontier: Frontier,
    /// Per instruction: the next counter, and the entry that used the last one.
    pub(crate) counters: BTreeMap<Term, (u64, u64)>,
    pub(crate) clock_is_back: bool,
    /// Where an entry's bytes are put together.
    pub(crate) buffer: Vec<u8>,
}

impl WriterThread {
    /// Until the queue is closed or an error stops it.
    pub(crate) fn run(mut self) {
        while let Some(drafts) = self.shared.queue.take(&self.shared.limits) {
            let drafts = match self.shared.space.accept(drafts) {
                Ok(drafts) => drafts,
                Err(error) => return self.shared.poison(&format!("free space cannot be read: {error}")),
            };
            if drafts.is_empty() {
                continue;
            }
            let mut waiting = Vec::new();
            if let Err(what) = self.commit(drafts, &mut waiting) {
                self.shared.poison(&what);
                let error = AppendError::Poisoned(what.into());
                for waiter in waiting.into_iter().flatten() {
                    let _ = waiter.send(Err(error.clone()));
                }
                return;
            }
            let (shared, limits) = (&self.shared, &self.shared.limits);
            shared.applying.wait_until(|bytes| {
                bytes <= limits.store_lag_bytes
                    && self.head.size - shared.applied.load(Ordering::Acquire) <= limits.store_lag_entries
            });
        }
        self.shared.applying.close();
    }

    /// Makes drafts durable and says so to those who wait. After an error `waiting` has those who were not told.
    fn commit(&mut self, mut drafts: Vec<Prepared>, waiting: &mut Vec<Option<Waiter>>) -> Result<(), String> {
        let time = self.time(&mut drafts)?;
        let before = self.frontier.clone();
        let mut nodes: BTreeMap<_, _> = before.nodes().collect();
        let (first, mut entries) = (self.head.size, Vec::with_capacity(drafts.len()));
        let observer = self.shared.observer.get();
        let kinds: Vec<Kind> = observer.iter().flat_map(|_| drafts.iter().map(|draft| draft.kind.clone())).collect();
        waiting.extend(drafts.iter_mut().map(|draft| draft.waiter.take()));
        for draft in drafts {
            let (seq, n) = (self.frontier.size(), self.counter(draft.instruction)?);
            draft.write(&mut self.buffer, seq, n, &self.head.prev, time);
            let bytes: Arc<[u8]> = Arc::from(self.buffer.as_slice());
            let hash = Hash::of(&bytes);
            self.frontier.push(tree::leaf_hash(&bytes), |place, node| {
                nodes.insert(place, node);
            });
            self.head.prev = hash;
            entries.push(Arc::new(Stored::known(bytes, hash, (n, draft.terms), draft.beside)));
        }
        let prev = self.head.prev;
        self.head.advance(&self.frontier, prev, time);
        let checkpoint = self.sign()?;
        let batch = Batch { first, entries, checkpoints: vec![checkpoint.clone()] };
        let begun = Instant::now();
        self.write(&batch, &before)?;
        let sync = begun.elapsed();
        self.shared.last_sync_us.store(u64::try_from(sync.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.publish(&batch, &nodes, &checkpoint);
        let cover = Arc::new(Cover { checkpoint, nodes });
        for ((seq, stored), waiter) in (first..).zip(&batch.entries).zip(waiting.drain(..)) {
            if let Some(waiter) = waiter {
                let (n, hash) = (stored.n(), *stored.hash());
                let bytes = stored.bytes.clone();
                let _ = waiter.send(Ok(Acknowledged { seq, n, hash, time, bytes, cover: cover.clone() }));
            }
        }
        if let Some(observer) = self.shared.observer.get() {
            observer.sealed(&SealedBatch { kinds: &kinds, bytes: batch.size(), sync });
        }
        self.shared.segments.store(self.journal.segments(), Ordering::Release);
        self.shared.applying.push(batch, self.head.clone());
        Ok(())
    }

    /// Shows readers what was just sealed.
    fn publish(&self, batch: &Batch, nodes: &BTreeMap<tree::Place, Hash>, checkpoint: &crate::checkpoint::Checkpoint) {
        self.shared.tail.write().extend(batch.entries.iter().cloned());
        self.shared.nodes.write().extend(nodes);
        *self.shared.head_hash.lock() = (self.head.size, self.head.prev);
        self.shared.head.send_replace(checkpoint.clone());
    }

    /// The batch's time: never before the last entry's. A step back is recorded once, until the clock has caught up.
    fn time(&mut self, drafts: &mut Vec<Prepared>) -> Result<Time, String> {
        let now = Time::new(self.clock.now());
        let Some(last) = self.head.time.filter(|last| *last > now) else {
            self.clock_is_back = false;
            return Ok(now);
        };
        if !self.clock_is_back {
            self.clock_is_back = true;
            let back = last.instant().as_microsecond() - now.instant().as_microsecond();
            let body = body::Ledger {
                event: "clock_step".to_owned(),
                software: crate::SOFTWARE.to_owned(),
                back_us: Some(u64::try_from(back).unwrap_or(0)),
                ..body::Ledger::default()
            };
            let note = Draft::new(&body).and_then(|draft| Prepared::without_waiter(&draft, &self.shared.origin));
            drafts.insert(0, note.map_err(|error| error.to_string())?);
        }
        Ok(last)
    }

    /// The next counter of an instruction.
    fn counter(&mut self, instruction: Option<Term>) -> Result<Option<u64>, String> {
        let Some(instruction) = instruction else { return Ok(None) };
        let seq = self.frontier.size();
        if let Some((next, last)) = self.counters.get_mut(&instruction) {
            let n = *next;
            (*next, *last) = (n + 1, seq);
            return Ok(Some(n));
        }
        if self.counters.len() >= MAX_COUNTERS {
            // INVARIANT: what is dropped here is sealed, so it can be counted again.
            let sealed = self.head.size;
            self.counters.retain(|_, (_, last)| *last >= sealed);
        }
        let n = self.shared.count(instruction).map_err(|error| format!("the index cannot be read: {error}"))?;
        self.counters.insert(instruction, (n + 1, seq));
        Ok(Some(n))
    }
}
