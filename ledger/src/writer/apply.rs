//! Behind the acknowledgement: sealed batches go into the store.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use super::{ROOM_PAUSE, Shared};
use crate::{
    batch::Batch,
    disk::is_full,
    store::{Head, StoreError},
};

const IDLE: Duration = Duration::from_secs(60);

/// The store's thread.
pub(crate) struct Applier {
    pub(crate) shared: Arc<Shared>,
}

impl Applier {
    /// Until the writer has ended and everything is applied, or there is no room for it.
    pub(crate) fn run(self) {
        let shared = &self.shared;
        while let Some(batches) = shared.applying.take(shared.limits.store_interval, IDLE) {
            if !self.keep_room(&batches) {
                shared.applying.close();
                break;
            }
            if let Err(error) = self.apply(batches) {
                return shared.poison(&error.to_string());
            }
            shared.archiving.wait_until(|bytes| bytes <= shared.limits.store_lag_bytes);
        }
        shared.archiving.close();
    }

    /// Waits until the disk has room for this. False when the ledger is closed before.
    fn keep_room(&self, batches: &[(Batch, Head)]) -> bool {
        let (shared, bytes) = (&self.shared, batches.iter().map(|(batch, _)| batch.size()).sum());
        while shared.wait_for_room() {
            match shared.store.keep_room(bytes) {
                Err(error) if is_full(&error) && shared.queue.check_open().is_ok() => thread::sleep(ROOM_PAUSE),
                Err(error) if is_full(&error) => return false,
                // What else is wrong is found when it is written.
                _ => return true,
            }
        }
        false
    }

    fn apply(&self, batches: Vec<(Batch, Head)>) -> Result<(), StoreError> {
        let (batches, mut heads): (Vec<Batch>, Vec<Head>) = batches.into_iter().unzip();
        let Some(mut head) = heads.pop() else { return Ok(()) };
        // A hint where entries begin; what was dropped since is looked for in the archive all the same.
        head.dropped = self.shared.dropped.load(Ordering::Acquire);
        self.shared.store.apply(&batches, &head)?;
        self.shared.store.barrier()?;
        self.shared.applied.store(head.size, Ordering::Release);
        self.shared.applying.progressed(batches.iter().map(Batch::size).sum());
        for batch in batches {
            self.shared.archiving.push(batch, head.clone());
        }
        Ok(())
    }
}
