//! Which instructions are in memory: loaded when they are first needed, and forgotten when nobody uses them.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use jiff::Timestamp;

use super::{Gateway, Live, StateError};

/// The most instructions that are kept in memory; others are loaded again when needed.
pub(super) const MAX_LIVE: usize = 100_000;

/// An instruction that nobody used for so long is forgotten, however few there are: memory follows what is in use.
const FORGET_SECONDS: i64 = 600;

impl Gateway {
    /// An instruction's live state, loaded from the ledger when it is not in memory.
    ///
    /// # Errors
    /// [`StateError::NoInstruction`] when there is none or its content was erased.
    pub fn live(&self, instruction: &str) -> Result<Arc<Live>, StateError> {
        if let Some(live) = self.live.read().get(instruction) {
            live.used();
            return Ok(live.clone());
        }
        let loaded = Arc::new(Live::load(self, instruction)?);
        self.watch_end(&loaded);
        let mut live = self.live.write();
        self.sweep(&mut live);
        // Somebody else may have loaded it meanwhile: theirs holds.
        Ok(live.entry(instruction.to_owned()).or_insert(loaded).clone())
    }

    /// Makes a new instruction known.
    pub fn insert(&self, live: Live) -> Arc<Live> {
        let live = Arc::new(live);
        self.watch_end(&live);
        let mut all = self.live.write();
        self.sweep(&mut all);
        all.insert(live.id.clone(), live.clone());
        drop(all);
        live
    }

    /// Remembers when its grant ends, so that a heartbeat then gives its total.
    fn watch_end(&self, live: &Live) {
        let expires = live.lock().grant.as_ref().map(|grant| grant.grant.expires);
        let now = self.now();
        self.ending.lock().extend(expires.filter(|end| *end > now).map(|end| (end, live.id.clone())));
    }

    /// Forgets instructions whose grant is over and that nobody uses, when there are many.
    fn sweep(&self, live: &mut BTreeMap<String, Arc<Live>>) {
        if live.len() < self.sweep_at.load(Ordering::Relaxed) {
            return;
        }
        let now = self.now();
        live.retain(|_, live| Arc::strong_count(live) > 1 || live.lock().holds(now));
        // Not again before there are a quarter more, so that many grants that all hold do not make each new one slow.
        self.sweep_at.store(MAX_LIVE.max(live.len() + live.len() / 4), Ordering::Relaxed);
    }

    /// Forgets instructions that nobody used for ten minutes; and of those that nobody used for a minute, the longest first, until all that are kept take
    /// no more than so many bytes. What they are stands in their entries. Asked from time to time.
    pub fn forget_idle(&self, keep: usize, now: Timestamp) {
        let (mut kept, mut idle) = (0_usize, Vec::new());
        for (id, live) in &*self.live.read() {
            let memory = live.memory();
            kept = kept.saturating_add(memory);
            idle.extend(live.idle_since(now).map(|since| (since, memory, id.clone())));
        }
        idle.sort_unstable();
        let stays = |kept: usize, since: i64| kept <= keep && now.as_second() - since < FORGET_SECONDS;
        // How calls ended may wait for room, and is in no entry yet.
        if idle.first().is_none_or(|(since, ..)| stays(kept, *since)) || self.ledger.can_seal().is_err() {
            return;
        }
        let mut live = self.live.write();
        for (since, memory, id) in idle {
            if stays(kept, since) {
                break;
            }
            // Somebody may have begun to use it meanwhile.
            if live.get(&id).is_some_and(|live| live.idle_since(now).is_some()) {
                live.remove(&id);
                kept = kept.saturating_sub(memory);
            }
        }
    }

    /// Forgets an instruction, so that it is loaded anew.
    pub fn forget(&self, instruction: &str) {
        self.live.write().remove(instruction);
    }

    /// Forgets every instruction of a data subject.
    pub fn forget_subject(&self, subject: &str) {
        self.live.write().retain(|_, live| live.subject != subject);
    }
}
