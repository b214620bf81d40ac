//! Behind the store: entries go into the archive, 256 to a tile; then the store drops old ones and the journal is trimmed.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::Shared;
use crate::{
    archive::{TILE, Upper},
    batch::{Batch, Stored},
    checkpoint::Checkpoint,
    disk::{Disk, is_full},
    index::rows_of,
    journal,
    store::{Head, StoreError},
    tree::edge_places,
};

/// So many entries, or bytes, are archived in one go, unless they have waited for [`WAIT`].
pub(crate) const ROUND: usize = 4096;
const ROUND_BYTES: usize = 8 << 20;
const INTERVAL: Duration = Duration::from_millis(500);
const WAIT: Duration = Duration::from_secs(2);
/// So many tiles, or as many entries of the store, are worked on before there is a pause: a round in one piece would take the processor and the disk from calls
/// for tens of milliseconds.
const STEP: usize = 4;
const PAUSE: Duration = Duration::from_millis(1);
/// The newest checkpoint is published no more often than this, but whenever a tile is full.
const PUBLISH_EVERY: Duration = Duration::from_secs(5);

/// The archive's thread.
pub(crate) struct Archiver {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) journal_dir: PathBuf,
    /// Entries in the store that are not in full tiles yet.
    pub(crate) pending: VecDeque<Arc<Stored>>,
    /// Their checkpoints.
    pub(crate) checkpoints: VecDeque<Checkpoint>,
    /// The one that ends where `pending` ends.
    pub(crate) newest: Checkpoint,
    pub(crate) upper: Upper,
    pub(crate) published: u64,
    pub(crate) published_at: Instant,
    pub(crate) archived_at: Instant,
    pub(crate) segments: u64,
}

/// What stops the archiver.
#[derive(Debug, thiserror::Error)]
enum ShelveError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the archive cannot be written: {0}")]
    Archive(#[from] io::Error),
}

impl Archiver {
    /// Until the store's thread has ended and everything is archived and published, or there is no room for it.
    pub(crate) fn run(mut self) {
        let worked = self.work();
        let is_closed = self.shared.queue.check_open().is_err();
        match worked {
            Ok(()) => {}
            // All of it is in the journal, and goes on from there when the ledger is opened again.
            Err(ShelveError::Archive(error)) if is_full(&error) && is_closed => {}
            Err(error) => self.shared.poison(&error.to_string()),
        }
        self.shared.archiving.close();
    }

    fn work(&mut self) -> Result<(), ShelveError> {
        while let Some(batches) = self.shared.archiving.take(INTERVAL, INTERVAL) {
            if !self.shared.wait_for_room() {
                return Ok(());
            }
            self.step(batches)?;
        }
        if self.shared.check_poison().is_ok() && self.shared.wait_for_room() {
            self.archive()?;
            self.publish()?;
        }
        Ok(())
    }

    fn step(&mut self, batches: Vec<(Batch, Head)>) -> Result<(), ShelveError> {
        let bytes = batches.iter().map(|(batch, _)| batch.size()).sum();
        for (batch, _) in batches {
            self.pending.extend(batch.entries);
            self.newest = batch.checkpoints.last().cloned().unwrap_or_else(|| self.newest.clone());
            self.checkpoints.extend(batch.checkpoints);
        }
        self.prepare_spare()?;
        if self.pending.len() >= ROUND || self.pending_bytes() >= ROUND_BYTES || self.archived_at.elapsed() >= WAIT {
            self.archive()?;
        }
        if self.published_at.elapsed() >= PUBLISH_EVERY {
            self.publish()?;
        }
        self.shared.archiving.progressed(bytes);
        Ok(())
    }

    /// Makes the journal's next segment ready when one was begun. Not out of the reserve, which is there for how calls end: then later.
    fn prepare_spare(&mut self) -> io::Result<()> {
        let (segments, limits) = (self.shared.segments.load(Ordering::Acquire), &self.shared.limits);
        if self.segments == segments {
            return Ok(());
        }
        match journal::prepare_spare(&*self.disk, &self.journal_dir, limits.segment_bytes, limits.min_free_bytes) {
            Err(error) if is_full(&error) => Ok(()),
            prepared => prepared.map(|()| self.segments = segments),
        }
    }

    fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|stored| stored.size()).sum()
    }

    /// Writes the full tiles and packs that there are, then trims.
    fn archive(&mut self) -> Result<(), ShelveError> {
        self.archived_at = Instant::now();
        if self.pending.len() < TILE as usize {
            return Ok(());
        }
        let mut archived = self.shared.archived.load(Ordering::Acquire);
        let mut tiles = Vec::new();
        while self.pending.len() >= TILE as usize {
            let end = archived + TILE;
            let covered = self.checkpoints.iter().take_while(|checkpoint| checkpoint.size() <= end).count();
            tiles.push(Batch {
                first: archived,
                entries: self.pending.drain(..TILE as usize).collect(),
                checkpoints: self.checkpoints.drain(..covered).collect(),
            });
            archived = end;
        }
        for some in tiles.chunks(STEP) {
            self.upper = self.patiently(|| {
                let mut upper = self.upper.clone();
                self.shared.archive.write_tiles(some, &mut upper).map(|()| upper)
            })?;
            self.pause();
        }
        self.patiently(|| self.add_to_index(&tiles))?;
        self.shared.archived.store(archived, Ordering::Release);
        self.drop_nodes(archived);
        for batch in &tiles {
            // Freed where nobody waits for the lock.
            let _taken = self.shared.tail.write().take_until(batch.end());
        }
        self.drop_from_store(archived)?;
        self.publish()?;
        // INVARIANT: what is trimmed is in synced tiles and packs, and in the synced store.
        self.patiently(|| journal::trim(&*self.disk, &self.journal_dir, archived))?;
        Ok(())
    }

    /// Tries again when the disk is full, until the ledger is closed. What is written here is written whole each time, and counts only when it has its name.
    fn patiently<T>(&self, mut write: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        loop {
            match write() {
                Err(error) if is_full(&error) && self.shared.queue.check_open().is_ok() => {
                    tracing::warn!(%error, "the archive waits for room on the disk");
                    thread::sleep(INTERVAL);
                }
                other => return other,
            }
        }
    }

    /// Lets calls go first, unless the archive is so far behind that they would soon wait for it.
    fn pause(&self) {
        if self.shared.archiving.bytes() < self.shared.limits.store_lag_bytes / 2 {
            thread::sleep(PAUSE);
        }
    }

    fn add_to_index(&self, tiles: &[Batch]) -> io::Result<()> {
        let Some((end, last)) = tiles.last().and_then(|tile| Some((tile.end(), *tile.entries.last()?.hash()))) else {
            return Ok(());
        };
        let numbered = tiles.iter().flat_map(|tile| (tile.first..).zip(&tile.entries));
        self.shared.index.add(end, last, numbered.flat_map(|(seq, stored)| rows_of(seq, stored)).collect())
    }

    /// Publishes the newest checkpoint with partial tiles.
    fn publish(&mut self) -> Result<(), ShelveError> {
        if self.newest.size() > self.published {
            self.pending.make_contiguous();
            let (rest, _) = self.pending.as_slices();
            self.patiently(|| self.shared.archive.publish(&self.newest, rest, &self.upper))?;
            self.published = self.newest.size();
        }
        self.published_at = Instant::now();
        Ok(())
    }

    /// Nodes below full tiles are read from there. Few at a time: the writer waits for the lock.
    fn drop_nodes(&self, archived: u64) {
        let keep = edge_places(archived);
        for level in 0..u64::BITS {
            loop {
                let mut nodes = self.shared.nodes.write();
                let below = nodes.range((level, 0)..(level, archived >> level)).map(|(place, _)| *place);
                let below: Vec<_> = below.filter(|place| !keep.contains(place)).take(TILE as usize).collect();
                for place in &below {
                    nodes.remove(place);
                }
                if below.len() < TILE as usize {
                    break;
                }
            }
        }
    }

    fn drop_from_store(&self, archived: u64) -> Result<(), ShelveError> {
        let from = self.shared.dropped.load(Ordering::Acquire);
        let to = archived.saturating_sub(self.shared.limits.keep_entries);
        let step = STEP * TILE as usize;
        for from in (from..to).step_by(step) {
            let to = to.min(from + step as u64);
            self.shared.store.drop_archived(from, to)?;
            // Made durable with the next batch; until then it is only a hint.
            self.shared.dropped.store(to, Ordering::Release);
            self.pause();
        }
        Ok(())
    }
}
