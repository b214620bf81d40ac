//! The two bounded queues: from callers to the writer, and from the writer to the store.

use std::{collections::VecDeque, time::Duration};

use parking_lot::{Condvar, Mutex};

use super::{AppendError, Limits, Prepared};
use crate::{batch::Batch, store::Head};

/// What waits for the writer.
#[derive(Default)]
pub(crate) struct Queue {
    inner: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    drafts: VecDeque<Prepared>,
    bytes: usize,
    closed: Option<AppendError>,
}

impl Queue {
    /// Adds a draft, or refuses it at once.
    pub(crate) fn push(&self, draft: Prepared, limits: &Limits) -> Result<(), AppendError> {
        let mut waiting = self.inner.lock();
        if let Some(error) = &waiting.closed {
            return Err(error.clone());
        }
        if waiting.drafts.len() >= limits.queue_entries || waiting.bytes >= limits.queue_bytes {
            return Err(AppendError::Full);
        }
        waiting.bytes += draft.size();
        waiting.drafts.push_back(draft);
        if waiting.drafts.len() == 1 {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for drafts and takes a batch; `None` when the queue is closed and empty.
    pub(crate) fn take(&self, limits: &Limits) -> Option<Vec<Prepared>> {
        let mut waiting = self.inner.lock();
        while waiting.drafts.is_empty() {
            if waiting.closed.is_some() {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < limits.batch_entries && bytes < limits.batch_bytes {
            let Some(draft) = waiting.drafts.pop_front() else { break };
            bytes += draft.size();
            batch.push(draft);
        }
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        Some(batch)
    }

    pub(crate) fn len(&self) -> usize {
        self.inner.lock().drafts.len()
    }

    /// Accepts nothing more; what waits is still taken.
    pub(crate) fn close(&self) {
        self.inner.lock().closed.get_or_insert(AppendError::Closed);
        self.changed.notify_all();
    }

    /// Fails everything that waits, and accepts nothing more.
    pub(crate) fn fail(&self, error: &AppendError) {
        let mut waiting = self.inner.lock();
        waiting.closed = Some(error.clone());
        waiting.bytes = 0;
        for draft in waiting.drafts.drain(..) {
            if let Some(waiter) = draft.waiter {
                let _ = waiter.send(Err(error.clone()));
            }
        }
        self.changed.notify_all();
    }
}

/// What is sealed and waits for the store.
#[derive(Default)]
pub(crate) struct Applying {
    inner: Mutex<(VecDeque<(Batch, Head)>, bool)>,
    changed: Condvar,
}

impl Applying {
    pub(crate) fn push(&self, batch: Batch, head: Head) {
        self.inner.lock().0.push_back((batch, head));
        self.changed.notify_all();
    }

    /// Everything that waits; waits up to `idle` for something. `None` when closed and empty.
    pub(crate) fn take(&self, idle: Duration) -> Option<Vec<(Batch, Head)>> {
        let mut inner = self.inner.lock();
        if inner.0.is_empty() && !inner.1 {
            self.changed.wait_for(&mut inner, idle);
        }
        if inner.0.is_empty() && inner.1 {
            return None;
        }
        Some(inner.0.drain(..).collect())
    }

    pub(crate) fn close(&self) {
        self.inner.lock().1 = true;
        self.changed.notify_all();
    }

    /// Waits until `done`, or the queue is closed.
    pub(crate) fn wait_until(&self, done: impl Fn() -> bool) {
        let mut inner = self.inner.lock();
        while !done() && !inner.1 {
            self.changed.wait_for(&mut inner, Duration::from_millis(10));
        }
    }

    /// Wakes whoever waits for the store.
    pub(crate) fn progressed(&self) {
        self.changed.notify_all();
    }
}
