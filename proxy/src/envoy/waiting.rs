//! Calls that Envoy forwards, until its access log says how they ended.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use countersign_ledger::Hash;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    outcome::{Ending, finish},
    record::{Receipt, Sent},
};

/// The most calls that may wait: Envoy must not be able to fill the memory by telling nothing.
const MAX_OPEN: usize = 50_000;

/// How often is looked for calls that waited too long.
const LOOK: Duration = Duration::from_secs(1);

/// The calls that are with Envoy.
#[derive(Default)]
pub(super) struct Waiting {
    open: Mutex<BTreeMap<Hash, Receipt>>,
    fewer: Notify,
}

impl Waiting {
    /// Whether another call has a place.
    pub(super) fn has_place(&self) -> bool {
        self.open.lock().len() < MAX_OPEN
    }

    /// From now on Envoy may send it.
    pub(super) fn add(&self, receipt: Receipt) {
        receipt.note(|trail| trail.sent = Sent::Maybe);
        self.open.lock().insert(receipt.sealed().hash, receipt);
    }

    /// The call of this entry, if it waits; of several reports one finds it.
    pub(super) fn take(&self, entry: &Hash) -> Option<Receipt> {
        let taken = self.open.lock().remove(entry);
        self.fewer.notify_waiters();
        taken
    }

    /// Closes calls that waited for longer than `patience`, for ever.
    pub(super) async fn expire(self: Arc<Waiting>, patience: Duration) {
        let mut every = tokio::time::interval(LOOK.min(patience.max(Duration::from_millis(10))));
        loop {
            every.tick().await;
            let Some(before) = Instant::now().checked_sub(patience) else { continue };
            let mut open = self.open.lock();
            let over: Vec<Hash> =
                open.iter().filter(|(_, receipt)| receipt.since() <= before).map(|(entry, _)| *entry).collect();
            let over: Vec<Receipt> = over.iter().filter_map(|entry| open.remove(entry)).collect();
            drop(open);
            for receipt in over {
                finish(receipt, unknown(&format!("Envoy's access log did not tell of it within {patience:?}")));
            }
            self.fewer.notify_waiters();
        }
    }

    /// Ends when no call waits.
    pub(super) async fn emptied(&self) {
        loop {
            let fewer = self.fewer.notified();
            if self.open.lock().is_empty() {
                return;
            }
            fewer.await;
        }
    }

    /// Closes whatever waits still.
    pub(super) fn close(&self) {
        for (_, receipt) in std::mem::take(&mut *self.open.lock()) {
            finish(receipt, unknown("the gateway was shut down before Envoy's access log told of it"));
        }
    }
}

fn unknown(why: &str) -> Ending {
    Ending::new("unknown").detail(why)
}
