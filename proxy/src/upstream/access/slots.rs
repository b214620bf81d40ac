//! Where tokens are kept, each for its own subject, and no more of them than can be remembered.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::Held;

/// For how many subjects.
const MAX_SLOTS: usize = 4096;

/// How soon a server that failed is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// How soon a token that the API does not take is replaced once more: an API that takes none must not have one made for each call.
const REPLACE: Duration = Duration::from_secs(5);

/// All of one API. Subjects are kept as digests, so that no token and no name stays in memory for being a key.
#[derive(Default)]
pub(super) struct Slots(Mutex<HashMap<[u8; 32], Arc<Slot>>>);

/// The token of one subject.
#[derive(Default)]
pub(super) struct Slot {
    state: Mutex<State>,
    /// Held by the one that asks.
    pub(super) asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Held>>,
    failed: Option<(Instant, String)>,
    replaced: Option<Instant>,
}

impl Slots {
    pub(super) fn of(&self, key: &str) -> Arc<Slot> {
        let mut slots = self.0.lock();
        let key: [u8; 32] = Sha256::digest(key).into();
        if slots.len() >= MAX_SLOTS && !slots.contains_key(&key) {
            slots.retain(|_, slot| slot.usable().is_some());
            let soonest = slots.iter().min_by_key(|(_, slot)| slot.until()).map(|(key, _)| *key);
            if let Some(soonest) = soonest.filter(|_| slots.len() >= MAX_SLOTS) {
                slots.remove(&soonest);
            }
        }
        slots.entry(key).or_default().clone()
    }
}

impl Slot {
    pub(super) fn usable(&self) -> Option<Arc<Held>> {
        self.state.lock().held.clone().filter(|held| Instant::now() < held.until)
    }

    fn until(&self) -> Option<Instant> {
        self.state.lock().held.as_ref().map(|held| held.until)
    }

    pub(super) fn failed_just_now(&self) -> Option<String> {
        let state = self.state.lock();
        state.failed.as_ref().filter(|(at, _)| at.elapsed() < AGAIN).map(|(_, error)| error.clone())
    }

    pub(super) fn may_ask(&self) -> bool {
        self.failed_just_now().is_none()
    }

    pub(super) fn put(&self, got: &Result<Arc<Held>, String>) {
        let mut state = self.state.lock();
        match got {
            Ok(held) => (state.held, state.failed) = (Some(held.clone()), None),
            Err(error) => state.failed = Some((Instant::now(), error.clone())),
        }
    }

    /// Forgets a token that was not taken; whether there is or may be another one.
    pub(super) fn drop_refused(&self, refused: &Arc<Held>) -> bool {
        let mut state = self.state.lock();
        if state.held.as_ref().is_some_and(|held| !Arc::ptr_eq(held, refused)) {
            // Somebody else was told so before, and has replaced it.
            return true;
        }
        if state.replaced.is_some_and(|at| at.elapsed() < REPLACE) {
            return false;
        }
        (state.held, state.replaced) = (None, Some(Instant::now()));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_subjects_are_remembered_than_there_is_place_for() {
        let slots = Slots::default();
        let first = slots.of("first");
        assert!(Arc::ptr_eq(&first, &slots.of("first")));
        for n in 0..2 * MAX_SLOTS {
            slots.of(&n.to_string());
        }
        assert!(slots.0.lock().len() <= MAX_SLOTS);
        assert!(!Arc::ptr_eq(&first, &slots.of("first")), "it had no token, so it went first");
    }
}
