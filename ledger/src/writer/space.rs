//! What is accepted while the disk is short of space.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{AppendError, Limits, Prepared};
use crate::{disk::Disk, record::Kind};

/// Free space against the reserve. Below the reserve only what ends a call or withdraws is accepted, down to half of it.
pub(crate) struct Space {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    reserve: u64,
    room_behind: u64,
    /// How old the last answer may be for an entry to be queued on it.
    interval: Duration,
    last: Mutex<Option<(Instant, u64)>>,
    /// Held by the one caller who asks.
    asking: Mutex<()>,
}

impl Space {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, limits: &Limits) -> Space {
        Space {
            disk,
            dir,
            reserve: limits.min_free_bytes,
            room_behind: limits.room_behind_bytes(),
            interval: limits.space_interval,
            last: Mutex::default(),
            asking: Mutex::default(),
        }
    }

    /// Whether an entry of this kind may be queued.
    ///
    /// # Errors
    /// [`AppendError::NoSpace`].
    pub(crate) fn admit(&self, kind: &Kind) -> Result<(), AppendError> {
        match self.lately_free() {
            Ok(free) if !self.takes(kind, free) => Err(AppendError::NoSpace { free, reserve: self.reserve }),
            // What cannot be read stops the writer, which asks too.
            _ => Ok(()),
        }
    }

    /// Of a batch what is written; the rest is told that it is not. A forwarded call has its number at its upstream by now, so without it there would be
    /// a hole that nobody could tell from a call that was left out: it is written. So is what ends a call, of which nobody may be waiting to be told. No more
    /// of them come.
    ///
    /// # Errors
    /// When free space cannot be read.
    pub(crate) fn accept(&self, drafts: Vec<Prepared>) -> io::Result<Vec<Prepared>> {
        let free = self.free()?;
        if free >= self.reserve {
            return Ok(drafts);
        }
        let (accepted, refused): (Vec<_>, Vec<_>) = drafts
            .into_iter()
            .partition(|draft| draft.is_numbered || ends_a_call(&draft.kind) || self.takes(&draft.kind, free));
        for waiter in refused.into_iter().filter_map(|draft| draft.waiter) {
            let _ = waiter.send(Err(AppendError::NoSpace { free, reserve: self.reserve }));
        }
        Ok(accepted)
    }

    /// Whether there is room for what is behind the journal: sled does not go on after a write that found no room, so
    /// nothing is begun there that might not.
    ///
    /// # Errors
    /// When free space cannot be read.
    pub(crate) fn has_room_behind(&self) -> io::Result<bool> {
        Ok(self.free()? >= self.room_behind)
    }

    /// Free bytes now.
    pub(crate) fn free(&self) -> io::Result<u64> {
        let free = self.disk.space(&self.dir)?.0;
        *self.last.lock() = Some((Instant::now(), free));
        Ok(free)
    }

    /// Free bytes now, for those who must not hang with a disk that does not answer: one of them asks at a time, the others are told what was known before.
    pub(crate) fn free_as_known(&self) -> io::Result<u64> {
        let asking = self.asking.try_lock();
        let last = *self.last.lock();
        match last.filter(|_| asking.is_none()) {
            Some((_, free)) => Ok(free),
            None => self.free(),
        }
    }

    /// Free bytes within the interval: callers ask for every entry, the writer, which asks what is true now, for every batch.
    fn lately_free(&self) -> io::Result<u64> {
        let last = *self.last.lock();
        match last.filter(|(at, _)| at.elapsed() < self.interval) {
            Some((_, free)) => Ok(free),
            None => self.free_as_known(),
        }
    }

    fn takes(&self, kind: &Kind, free: u64) -> bool {
        free >= self.reserve
            || free >= self.reserve / 2 && (ends_a_call(kind) || matches!(kind, Kind::Revocation | Kind::Ledger))
    }
}

pub(super) const fn ends_a_call(kind: &Kind) -> bool {
    matches!(kind, Kind::Outcome | Kind::Receipt)
}
