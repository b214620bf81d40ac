//! Behind the acknowledgement: sealed batches go into the store.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::Shared;
use crate::{
    batch::Batch,
    store::{Head, StoreError},
};

const IDLE: Duration = Duration::from_secs(60);

/// The store's thread.
pub(crate) struct Applier {
    pub(crate) shared: Arc<Shared>,
}

impl Applier {
    /// Until the writer has ended and everything is applied.
    pub(crate) fn run(self) {
        let shared = &self.shared;
        while let Some(batches) = shared.applying.take(shared.limits.store_interval, IDLE) {
            if let Err(error) = self.apply(batches) {
                return shared.poison(&error.to_string());
            }
            shared.archiving.wait_until(|bytes| bytes <= shared.limits.store_lag_bytes);
        }
        shared.archiving.close();
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
