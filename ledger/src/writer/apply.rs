//! Behind the acknowledgement: sealed batches go into the store, then into the archive, then the journal is trimmed.

use std::{
    collections::VecDeque,
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::Shared;
use crate::{
    archive::{TILE, Upper},
    batch::{Batch, Stored},
    checkpoint::Checkpoint,
    disk::Disk,
    journal,
    store::{Head, StoreError},
    tree::edge_places,
};

/// So many entries are archived in one go, unless the ledger is idle.
const ROUND: usize = 4096;
const IDLE: Duration = Duration::from_millis(500);

pub(crate) struct Applier {
    pub(crate) shared: Arc<Shared>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) journal_dir: PathBuf,
    pub(crate) head: Head,
    /// Entries in the store that are not in full tiles yet.
    pub(crate) pending: VecDeque<Stored>,
    /// Their checkpoints.
    pub(crate) checkpoints: VecDeque<Checkpoint>,
    pub(crate) upper: Upper,
    pub(crate) published: u64,
    pub(crate) segments: u64,
}

/// What stops the applier.
#[derive(Debug, thiserror::Error)]
enum ApplyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the archive cannot be written: {0}")]
    Archive(#[from] io::Error),
}

impl Applier {
    /// Until the writer has ended and everything is applied, archived and published.
    pub(crate) fn run(mut self) {
        while let Some(batches) = self.shared.applying.take(IDLE) {
            let idle = batches.is_empty();
            if let Err(error) = self.step(batches, idle) {
                return self.shared.poison(&error.to_string());
            }
        }
        if self.shared.check_poison().is_ok()
            && let Err(error) = self.archive(0).and_then(|()| self.publish())
        {
            self.shared.poison(&error.to_string());
        }
    }

    fn step(&mut self, batches: Vec<(Batch, Head)>, idle: bool) -> Result<(), ApplyError> {
        if !idle {
            self.apply(batches)?;
        }
        if self.segments != self.shared.segments.load(Ordering::Acquire) {
            self.segments = self.shared.segments.load(Ordering::Acquire);
            journal::prepare_spare(&*self.disk, &self.journal_dir, self.shared.limits.segment_bytes)?;
        }
        self.archive(if idle { 0 } else { ROUND })
    }

    fn apply(&mut self, batches: Vec<(Batch, Head)>) -> Result<(), ApplyError> {
        let Some((_, head)) = batches.last() else { return Ok(()) };
        let dropped = self.head.dropped;
        self.head = Head { dropped, ..head.clone() };
        let batches: Vec<Batch> = batches.into_iter().map(|(batch, _)| batch).collect();
        self.shared.store.apply(&batches, &self.head)?;
        self.shared.store.barrier()?;
        self.shared.applied.store(self.head.size, Ordering::Release);
        self.shared.applying.progressed();
        for batch in batches {
            self.pending.extend(batch.entries);
            self.checkpoints.extend(batch.checkpoints);
        }
        Ok(())
    }

    /// Writes full tiles and packs when at least `least` entries (and a tile) wait, then trims.
    fn archive(&mut self, least: usize) -> Result<(), ApplyError> {
        if self.pending.len() < least.max(TILE as usize) {
            return Ok(());
        }
        let mut archived = self.shared.archived.load(Ordering::Acquire);
        while self.pending.len() >= TILE as usize {
            let end = archived + TILE;
            let covered = self.checkpoints.iter().take_while(|checkpoint| checkpoint.size() <= end).count();
            let batch = Batch {
                first: archived,
                entries: self.pending.drain(..TILE as usize).collect(),
                checkpoints: self.checkpoints.drain(..covered).collect(),
            };
            self.shared.archive.write_tile(archived / TILE, &batch, &mut self.upper)?;
            archived = end;
        }
        self.shared.archived.store(archived, Ordering::Release);
        self.drop_nodes(archived);
        let mut tail = self.shared.tail.write();
        *tail = tail.split_off(&archived);
        drop(tail);
        self.drop_from_store(archived)?;
        // INVARIANT: what is trimmed is in synced tiles and packs, and in the synced store.
        journal::trim(&*self.disk, &self.journal_dir, archived)?;
        self.publish()
    }

    /// Publishes the newest checkpoint with partial tiles.
    fn publish(&mut self) -> Result<(), ApplyError> {
        let Some(checkpoint) = self.newest() else { return Ok(()) };
        if checkpoint.size() > self.published {
            let rest = self.pending.make_contiguous();
            self.shared.archive.publish(&checkpoint, rest, &self.upper)?;
            self.published = checkpoint.size();
        }
        Ok(())
    }

    /// The newest checkpoint that ends where `pending` ends.
    fn newest(&self) -> Option<Checkpoint> {
        let head = self.shared.head.borrow();
        if head.size() == self.head.size { Some(head.clone()) } else { self.checkpoints.back().cloned() }
    }

    /// Nodes below full tiles are read from there.
    fn drop_nodes(&self, archived: u64) {
        let keep = edge_places(archived);
        let mut nodes = self.shared.nodes.write();
        nodes.retain(|place, _| (place.1 + 1) << place.0 > archived || keep.contains(place));
    }

    fn drop_from_store(&mut self, archived: u64) -> Result<(), ApplyError> {
        let to = archived.saturating_sub(self.shared.limits.keep_entries);
        if to > self.head.dropped {
            self.shared.store.drop_archived(self.head.dropped, to)?;
            self.head.dropped = to;
            self.shared.dropped.store(to, Ordering::Release);
            // The new lower end is made durable with the next batch; until then it is only a hint.
        }
        Ok(())
    }
}
