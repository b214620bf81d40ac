//! What the writer cannot get past at the moment, and tries again and again: a key that is elsewhere does not sign (its module was taken out, or is started
//! anew), or the disk has no room for the batch.
//!
//! The batch stays as it is meanwhile. Nobody was told of it, and what of it may be in the journal is written once more in the same place, so there is nothing
//! to take back. Behind it nothing is accepted but what ends a call.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use parking_lot::Mutex;

use super::{AppendError, WriterThread, recheck::is_as_signed, space::ends_a_call};
use crate::{
    batch::Batch,
    checkpoint::{Checkpoint, SignError},
    disk::is_full,
    record::Kind,
    tree::Frontier,
};

/// Before it is tried again; twice as long each time, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// How often it is tried while somebody waits for the ledger to open or to close.
const TRIES: u32 = 5;

/// Whether something is in the way at the moment, and what.
#[derive(Default)]
pub(crate) struct Obstacle {
    /// Whether the ledger is open, so that nobody waits for that.
    is_open: AtomicBool,
    stands: AtomicBool,
    what: Mutex<Option<AppendError>>,
}

/// Why a try failed.
enum Failed {
    /// It may succeed later.
    Now(AppendError),
    /// It is not tried again.
    ForGood(String),
}

impl Obstacle {
    /// The ledger is open.
    pub(crate) fn begin(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// Whether an entry of this kind may be queued.
    ///
    /// # Errors
    /// [`AppendError::Unsigned`], [`AppendError::Unwritten`].
    pub(crate) fn admit(&self, kind: &Kind) -> Result<(), AppendError> {
        if ends_a_call(kind) { Ok(()) } else { self.check() }
    }

    /// Whether what is queued would be sealed now, as far as is known.
    ///
    /// # Errors
    /// [`AppendError::Unsigned`], [`AppendError::Unwritten`].
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        if !self.stands.load(Ordering::Acquire) {
            return Ok(());
        }
        self.what.lock().clone().map_or(Ok(()), Err)
    }

    pub(crate) fn met(&self, error: AppendError) {
        let text = error.to_string();
        let mut what = self.what.lock();
        let known = self.stands.load(Ordering::Acquire) && what.as_ref().is_some_and(|known| known.to_string() == text);
        if !known {
            tracing::error!(why = text, "the ledger waits; nothing new is accepted meanwhile");
            *what = Some(error);
        }
        self.stands.store(true, Ordering::Release);
    }

    pub(crate) fn passed(&self) {
        if self.stands.swap(false, Ordering::AcqRel) {
            tracing::info!("the ledger goes on");
        }
    }
}

impl WriterThread {
    /// Signs the head of the ledger with the batch, however long it takes.
    ///
    /// # Errors
    /// Why it is not tried again.
    pub(super) fn sign(&mut self) -> Result<Checkpoint, String> {
        self.patiently(|writer| {
            let signed = writer.signer.sign(writer.frontier.size(), writer.frontier.root());
            signed.map_err(|error: SignError| match error.is_final() {
                true => Failed::ForGood(error.to_string()),
                false => Failed::Now(AppendError::Unsigned(error.to_string().into())),
            })
        })
    }

    /// Makes the batch durable, however long there is no room for it; `before` is the tree without it.
    ///
    /// # Errors
    /// Why it is not tried again.
    pub(super) fn write(&mut self, batch: &Batch, before: &Frontier) -> Result<(), String> {
        let check = |payload: &[u8]| is_as_signed(payload, before.clone(), batch);
        self.patiently(|writer| {
            writer.journal.append(batch, check).map_err(|error| match is_full(&error) {
                true => Failed::Now(AppendError::Unwritten(error.to_string().into())),
                false => Failed::ForGood(format!("the journal cannot be written: {error}")),
            })
        })
    }

    fn patiently<T>(&mut self, mut attempt: impl FnMut(&mut WriterThread) -> Result<T, Failed>) -> Result<T, String> {
        let (mut pause, mut left) = (PAUSE, TRIES);
        loop {
            let error = match attempt(self) {
                Ok(done) => {
                    self.shared.obstacle.passed();
                    return Ok(done);
                }
                Err(Failed::ForGood(why)) => return Err(why),
                Err(Failed::Now(error)) => error,
            };
            let is_open =
                self.shared.obstacle.is_open.load(Ordering::Acquire) && self.shared.queue.check_open().is_ok();
            left -= u32::from(!is_open);
            if left == 0 || self.shared.check_poison().is_err() {
                return Err(error.to_string());
            }
            self.shared.obstacle.met(error);
            if is_open {
                self.shared.queue.wait_closed(pause);
            } else {
                thread::sleep(PAUSE);
            }
            pause = (pause * 2).min(LONGEST);
        }
    }
}
