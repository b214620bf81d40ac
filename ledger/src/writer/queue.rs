//! The queues: from callers to the writer, from the writer to the store, from the store to the archive.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{AppendError, Limits, Prepared, space::ends_a_call};
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
    /// How many of `drafts` somebody waits for.
    awaited: usize,
    /// Since when the oldest of `drafts` waits.
    since: Option<Instant>,
    /// Since when the oldest of those that the writer is at waits.
    taken: Option<Instant>,
    closed: Option<AppendError>,
}

impl Waiting {
    /// Whether a batch is to be written now.
    fn is_due(&self, limits: &Limits) -> bool {
        self.awaited > 0 || self.drafts.len() >= limits.batch_entries || self.bytes >= limits.batch_bytes
    }

    /// How long the oldest of what the writer is at has waited.
    fn waited(&self) -> Duration {
        self.taken.map_or(Duration::ZERO, |since| since.elapsed())
    }

    fn check_progress(&self, limits: &Limits) -> Result<(), AppendError> {
        let waited = self.waited();
        if waited > limits.stuck_after { Err(AppendError::Stuck { waited }) } else { Ok(()) }
    }
}

impl Queue {
    /// Adds a draft, or refuses it at once.
    pub(crate) fn push(&self, draft: Prepared, limits: &Limits) -> Result<(), AppendError> {
        let mut waiting = self.inner.lock();
        if let Some(error) = &waiting.closed {
            return Err(error.clone());
        }
        if !ends_a_call(&draft.kind) {
            waiting.check_progress(limits)?;
        }
        if waiting.drafts.len() >= limits.queue_entries || waiting.bytes >= limits.queue_bytes {
            return Err(AppendError::Full);
        }
        let was_due = waiting.is_due(limits);
        waiting.bytes += draft.size();
        waiting.awaited += usize::from(draft.waiter.is_some());
        waiting.since.get_or_insert_with(Instant::now);
        waiting.drafts.push_back(draft);
        // The first is told too, so that its time runs.
        if waiting.drafts.len() == 1 || !was_due && waiting.is_due(limits) {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Waits for drafts and takes a batch; `None` when the queue is closed and empty. Drafts that nobody waits for go with the next that somebody does,
    /// or after [`Limits::unawaited_interval`].
    pub(crate) fn take(&self, limits: &Limits) -> Option<Vec<Prepared>> {
        let mut waiting = self.inner.lock();
        waiting.taken = None;
        while waiting.closed.is_none() && !waiting.is_due(limits) {
            match waiting.since.map(|since| since + limits.unawaited_interval) {
                None => self.changed.wait(&mut waiting),
                Some(until) if until <= Instant::now() => break,
                Some(until) => drop(self.changed.wait_until(&mut waiting, until)),
            }
        }
        if waiting.drafts.is_empty() {
            return None;
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < limits.batch_entries && bytes < limits.batch_bytes {
            let Some(draft) = waiting.drafts.pop_front() else { break };
            bytes += draft.size();
            waiting.awaited -= usize::from(draft.waiter.is_some());
            batch.push(draft);
        }
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        waiting.taken = waiting.since;
        waiting.since = (!waiting.drafts.is_empty()).then(Instant::now);
        Some(batch)
    }

    pub(crate) fn check_open(&self) -> Result<(), AppendError> {
        self.inner.lock().closed.clone().map_or(Ok(()), Err)
    }

    /// Whether the writer gets on with what it took.
    ///
    /// # Errors
    /// [`AppendError::Stuck`].
    pub(crate) fn check_progress(&self, limits: &Limits) -> Result<(), AppendError> {
        self.inner.lock().check_progress(limits)
    }

    /// How long the oldest of what the writer is at has waited; nothing when it is at none.
    pub(crate) fn waited(&self) -> Duration {
        self.inner.lock().waited()
    }

    /// Waits for so long, or until the queue is closed.
    pub(crate) fn wait_closed(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut waiting = self.inner.lock();
        while waiting.closed.is_none() && !self.changed.wait_until(&mut waiting, until).timed_out() {}
    }

    /// How many drafts wait, and their bytes.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        let waiting = self.inner.lock();
        (waiting.drafts.len(), waiting.bytes)
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
        (waiting.bytes, waiting.awaited, waiting.since) = (0, 0, None);
        for draft in waiting.drafts.drain(..) {
            if let Some(waiter) = draft.waiter {
                let _ = waiter.send(Err(error.clone()));
            }
        }
        self.changed.notify_all();
    }
}

/// What is sealed and waits for the store, or is in the store and waits for the archive. Many are taken at once, because each time costs
/// syncs beside the journal's.
pub(crate) struct Behind {
    together: usize,
    inner: Mutex<Sealed>,
    changed: Condvar,
}

#[derive(Default)]
struct Sealed {
    batches: VecDeque<(Batch, Head)>,
    entries: usize,
    /// Of `batches`, and of those that were taken and are not done.
    bytes: usize,
    /// Since when the first of `batches` waits.
    since: Option<Instant>,
    closed: bool,
}

impl Behind {
    /// So many entries are enough to be taken before their time.
    pub(crate) fn new(together: usize) -> Behind {
        Behind { together, inner: Mutex::default(), changed: Condvar::new() }
    }

    pub(crate) fn push(&self, batch: Batch, head: Head) {
        let mut inner = self.inner.lock();
        let before = inner.entries;
        inner.entries += batch.entries.len();
        inner.bytes += batch.size();
        inner.since.get_or_insert_with(Instant::now);
        inner.batches.push_back((batch, head));
        if before == 0 || before < self.together && inner.entries >= self.together {
            self.changed.notify_all();
        }
    }

    /// Everything that waits, once it is enough or has waited for `interval`; nothing when nothing came for `idle`.
    /// `None` when closed and empty.
    pub(crate) fn take(&self, interval: Duration, idle: Duration) -> Option<Vec<(Batch, Head)>> {
        let mut inner = self.inner.lock();
        let idle_at = Instant::now() + idle;
        loop {
            if inner.closed {
                break;
            }
            let until = match inner.since {
                Some(_) if inner.entries >= self.together => break,
                Some(since) => since + interval,
                None => idle_at,
            };
            if Instant::now() >= until {
                break;
            }
            self.changed.wait_until(&mut inner, until);
        }
        if inner.batches.is_empty() && inner.closed {
            return None;
        }
        (inner.entries, inner.since) = (0, None);
        Some(inner.batches.drain(..).collect())
    }

    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits until `done`, given how many bytes are behind, or the queue is closed. It is asked again when something was done.
    pub(crate) fn wait_until(&self, done: impl Fn(usize) -> bool) {
        let mut inner = self.inner.lock();
        while !done(inner.bytes) && !inner.closed {
            self.changed.wait(&mut inner);
        }
    }

    /// How many bytes are behind.
    pub(crate) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }

    /// So many bytes of what was taken are done.
    pub(crate) fn progressed(&self, bytes: usize) {
        let mut inner = self.inner.lock();
        inner.bytes = inner.bytes.saturating_sub(bytes);
        self.changed.notify_all();
    }
}
