//! The ledger's threads, and the anchor's work.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use crate::{
    anchor::{Anchor, Anchored},
    disk::is_full,
    writer::{AppendError, Shared},
};

/// How far the threads behind the acknowledgement step back (`nice`): they work in bursts, and a call would wait for the processor until one is over.
/// Not further, so that they keep up on a machine that has no processor to spare.
const BEHIND: i32 = 5;

/// What runs behind the acknowledgement. Where the system does not let a thread step back, calls only wait longer.
pub(super) fn behind(run: impl FnOnce() + Send + 'static) -> impl FnOnce() + Send + 'static {
    move || {
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), BEHIND) {
            tracing::debug!(%error, "a thread of the ledger keeps its priority");
        }
        run();
    }
}

/// A thread of the ledger. If it cannot be had, or panics (sled does, on some damage), the ledger stops instead of leaving everybody waiting.
pub(super) fn guarded(name: &str, shared: &Arc<Shared>, run: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let guard = shared.clone();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            guard.poison("a thread of the ledger panicked");
        }
    });
    thread.inspect_err(|error| shared.poison(&format!("no thread for the ledger: {error}"))).ok()
}

/// Writes the anchor behind the head, and a last time when the ledger closes.
pub(super) fn keep_anchor(shared: &Shared, mut anchor: Anchor, closing: &AtomicBool) {
    let mut written = 0;
    loop {
        let last = closing.load(Ordering::Acquire);
        let (size, head) = *shared.head_hash.lock();
        let checkpoint = shared.head.borrow().clone();
        // The two are set one after the other: written only when they belong together.
        if size > written && checkpoint.size() == size {
            match anchor.write(&Anchored { checkpoint, head }) {
                Ok(()) => {
                    shared.anchor_obstacle.passed();
                    written = size;
                }
                // A slot is written whole, and the other one holds. Without an anchor a roll-back does not show, so nothing new comes before it is written.
                Err(error) if is_full(&error) => {
                    shared.anchor_obstacle.met(AppendError::Unwritten(format!("the anchor: {error}").into()));
                }
                Err(error) => return shared.poison(&format!("the anchor cannot be written: {error}")),
            }
        }
        if last || shared.poisoned.lock().is_some() {
            return;
        }
        thread::park_timeout(shared.limits.anchor_interval);
    }
}
