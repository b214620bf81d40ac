//! Signing, again and again while a key that is elsewhere does not: its module was taken out, or is started anew.
//!
//! The batch stays as it is meanwhile. Nothing of it is written and nobody was told of it, so there is nothing to take back. Behind it nothing is accepted
//! but what ends a call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;

use super::{AppendError, WriterThread, space::ends_a_call};
use crate::{
    checkpoint::{Checkpoint, SignError},
    record::Kind,
};

/// Before it is tried again; twice as long each time, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

/// How often it is tried while somebody waits for the ledger to open or to close.
const TRIES: u32 = 5;

/// Whether signing fails at the moment, and why.
#[derive(Default)]
pub(crate) struct Signing {
    /// Whether the ledger is open, so that nobody waits for that.
    is_open: AtomicBool,
    fails: AtomicBool,
    why: Mutex<Option<Arc<str>>>,
}

impl Signing {
    /// The ledger is open.
    pub(crate) fn begin(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    /// Whether an entry of this kind may be queued.
    ///
    /// # Errors
    /// [`AppendError::Unsigned`].
    pub(crate) fn admit(&self, kind: &Kind) -> Result<(), AppendError> {
        if ends_a_call(kind) { Ok(()) } else { self.check() }
    }

    /// Whether what is queued would be signed now, as far as is known.
    ///
    /// # Errors
    /// [`AppendError::Unsigned`].
    pub(crate) fn check(&self) -> Result<(), AppendError> {
        if !self.fails.load(Ordering::Acquire) {
            return Ok(());
        }
        self.why.lock().clone().map_or(Ok(()), |why| Err(AppendError::Unsigned(why)))
    }

    fn failed(&self, error: &SignError) {
        let why = error.to_string();
        let mut said = self.why.lock();
        let known = self.fails.load(Ordering::Acquire) && said.as_deref() == Some(why.as_str());
        if !known {
            tracing::error!(why, "nothing can be signed; it is tried again, and nothing is accepted meanwhile");
            *said = Some(why.into());
        }
        self.fails.store(true, Ordering::Release);
    }

    fn went_well(&self) {
        if self.fails.swap(false, Ordering::AcqRel) {
            tracing::info!("the ledger's key signs again");
        }
    }
}

impl WriterThread {
    /// Signs the head of the ledger with the batch, however long it takes.
    ///
    /// # Errors
    /// Why it is not tried again.
    pub(super) fn sign(&mut self) -> Result<Checkpoint, String> {
        let (mut pause, mut left) = (PAUSE, TRIES);
        loop {
            let error = match self.signer.sign(self.frontier.size(), self.frontier.root()) {
                Ok(checkpoint) => {
                    self.shared.signing.went_well();
                    return Ok(checkpoint);
                }
                Err(error) => error,
            };
            let is_open = self.shared.signing.is_open.load(Ordering::Acquire) && self.shared.queue.check_open().is_ok();
            left -= u32::from(!is_open);
            if error.is_final() || left == 0 || self.shared.check_poison().is_err() {
                return Err(error.to_string());
            }
            self.shared.signing.failed(&error);
            if is_open {
                self.shared.queue.wait_closed(pause);
            } else {
                thread::sleep(PAUSE);
            }
            pause = (pause * 2).min(LONGEST);
        }
    }
}
