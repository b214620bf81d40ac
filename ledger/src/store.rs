//! What the running gateway reads: recent entries and state; in sled 0.34.7.
//!
//! Measured facts that this file answers to: `flush()` is no barrier against power loss on Linux, so sled's own file is synced after it;
//! two trees are not atomic together, so there is one; values of 8 KB and up reach files that are never synced, so none has over
//! 4,000 bytes; the periodic flusher swallows errors, so it is off; a damaged log panics or hangs, or silently loses its tail, so the
//! store is probed in a process of its own before it is opened and compared with journal, archive and anchor afterwards.

mod probe;

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use serde::{Deserialize, Serialize};

pub use probe::{Probe, probe_in_this_process};

use crate::{
    Hash,
    batch::{Batch, Stored},
    record::Time,
    tree::Frontier,
};

/// The largest value that is given to sled.
pub(crate) const MAX_VALUE_BYTES: usize = 4000;

/// sled's file takes up to 2.4 times what is written.
const ROOM_PER_BYTE: u64 = 3;
/// For what sled writes beside it: segments are of 512 KiB.
const ROOM_BESIDE_BYTES: u64 = 4 << 20;

/// How many batches' worth of checkpoints, entries and attachments stay in the store after they are in the archive.
const HEAD: &[u8] = b"m/head";

/// Where the ledger stands: enough to go on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) size: u64,
    /// SHA-256 of the last entry.
    pub(crate) prev: Hash,
    pub(crate) time: Option<Time>,
    pub(crate) edge: Vec<Hash>,
    /// Entries below are no longer in the store, but in the archive.
    pub(crate) dropped: u64,
}

impl Head {
    pub(crate) const fn empty() -> Head {
        Head { size: 0, prev: Hash::ZERO, time: None, edge: Vec::new(), dropped: 0 }
    }

    pub(crate) fn frontier(&self) -> Option<Frontier> {
        Frontier::new(self.size, self.edge.clone())
    }

    /// The head after one more entry.
    pub(crate) fn advance(&mut self, frontier: &Frontier, prev: Hash, time: Time) {
        self.size = frontier.size();
        self.prev = prev;
        self.time = Some(time);
        self.edge = frontier.edge().to_vec();
    }
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// sled, or the system below it.
    #[error("the store `{path}`: {source}")]
    Sled {
        /// Its directory.
        path: PathBuf,
        /// What sled says.
        source: sled::Error,
    },
    /// Its file cannot be synced.
    #[error("the store `{path}` cannot be synced: {source}")]
    Io {
        /// Its directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Panics, hangs or holds what it should not.
    #[error(
        "the store `{path}` is damaged: {what}; run `countersign repair`, which rebuilds it from the ledger's other copies"
    )]
    Damaged {
        /// Its directory.
        path: PathBuf,
        /// What was found.
        what: String,
    },
}

/// A key and its value.
pub type StateRow = (Vec<u8>, Vec<u8>);

/// The store.
pub(crate) struct Store {
    db: sled::Db,
    path: PathBuf,
    file: File,
}

impl Store {
    /// Opens the store, or makes one.
    pub(crate) fn open(path: &Path, probe: &Probe) -> Result<(Store, Head), StoreError> {
        let fresh = !path.exists();
        if !fresh {
            probe.run(path)?;
        }
        let (db, file) = open_sled(path)?;
        let store = Store { db, path: path.to_owned(), file };
        if fresh {
            // sled makes files without syncing their directory.
            store.barrier()?;
            let sync = crate::files::sync_dir(path).and_then(|()| match path.parent() {
                Some(parent) => crate::files::sync_dir(parent),
                None => Ok(()),
            });
            sync.map_err(|source| store.io(source))?;
        }
        let head = match store.get(HEAD)? {
            None => Head::empty(),
            Some(bytes) => serde_json::from_slice(&bytes).map_err(|_| store.damaged("its head cannot be read"))?,
        };
        Ok((store, head))
    }

    /// Keeps room on the disk for so many bytes more, behind the end of sled's file: a write for which there is none stops sled for good, or makes it wait for ever.
    ///
    /// # Errors
    /// What the system says. A file system that cannot keep room is none.
    pub(crate) fn keep_room(&self, bytes: usize) -> io::Result<()> {
        let (end, room) = (self.file.metadata()?.len(), ROOM_PER_BYTE * bytes as u64 + ROOM_BESIDE_BYTES);
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, end, room) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            kept => Ok(kept?),
        }
    }

    /// Writes entries and state in one atomic batch; not durable before [`Store::barrier`].
    pub(crate) fn apply(&self, batches: &[Batch], head: &Head) -> Result<(), StoreError> {
        let mut writes = sled::Batch::default();
        for batch in batches {
            if batch.end() > head.dropped {
                add_entries(&mut writes, batch);
            }
            batch.entries.iter().for_each(|stored| add_state(&mut writes, stored));
        }
        writes.insert(HEAD, serde_json::to_vec(head).unwrap_or_default());
        self.db.apply_batch(writes).map_err(|source| self.sled(source))
    }

    /// Makes durable what was applied.
    pub(crate) fn barrier(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|source| self.sled(source))?;
        self.file.sync_data().map_err(|source| self.io(source))
    }

    /// Removes what the archive has: entries of `from..to`.
    pub(crate) fn drop_archived(&self, from: u64, to: u64) -> Result<(), StoreError> {
        let mut writes = sled::Batch::default();
        for found in self.db.range(key(b"e/", from)..key(b"e/", to)).keys() {
            writes.remove(found.map_err(|source| self.sled(source))?);
        }
        self.db.apply_batch(writes).map_err(|source| self.sled(source))
    }

    pub(crate) fn entry(&self, seq: u64) -> Result<Option<Arc<[u8]>>, StoreError> {
        // The run that begins at it or before it.
        let end = [key(b"e/", seq).as_slice(), &[u8::MAX; 2]].concat();
        let Some(last) = self.db.range(key(b"e/", 0)..=end).next_back() else { return Ok(None) };
        let (last, _) = last.map_err(|source| self.sled(source))?;
        let Some(first) = last.get(2..).map(number) else { return Ok(None) };
        let mut run = Vec::new();
        for part in self.scan(&key(b"e/", first)) {
            run.extend_from_slice(&part?.1);
        }
        let mut run = run.as_slice();
        for at in first..=seq {
            let Some((length, rest)) = run.split_first_chunk::<4>() else { return Ok(None) };
            let Some((bytes, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                return Err(self.damaged(&format!("entry {at} is cut short")));
            };
            if at == seq {
                return Ok(Some(Arc::from(bytes)));
            }
            run = rest;
        }
        Ok(None)
    }

    /// The state under a prefix.
    pub(crate) fn state(&self, prefix: &[u8]) -> Result<Vec<StateRow>, StoreError> {
        let prefix = [b"s/", prefix].concat();
        self.scan(&prefix)
            .map(|found| found.map(|(key, value)| (key.get(2..).unwrap_or_default().to_vec(), value.to_vec())))
            .collect()
    }

    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.db.get(key).map_err(|source| self.sled(source))
    }

    fn scan<'s>(&'s self, prefix: &[u8]) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), StoreError>> + 's {
        self.db.scan_prefix(prefix).map(|found| found.map_err(|source| self.sled(source)))
    }

    fn sled(&self, source: sled::Error) -> StoreError {
        StoreError::Sled { path: self.path.clone(), source }
    }

    fn io(&self, source: io::Error) -> StoreError {
        StoreError::Io { path: self.path.clone(), source }
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), what: what.to_owned() }
    }
}

/// More than the store has by far. sled deals it out to 256 parts, and what is larger than its part (a page of entries has 64 KiB) is read from the file again
/// for each write.
const CACHE_BYTES: u64 = 256 << 20;

/// How long sled's own threads may hold its file after a store was closed in this process.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(10);

fn open_sled(path: &Path) -> Result<(sled::Db, File), StoreError> {
    let begun = Instant::now();
    let open = loop {
        match sled::Config::new().path(path).flush_every_ms(None).cache_capacity(CACHE_BYTES).open() {
            // The ledger's lock keeps other gateways out, so this is a store that was just closed.
            Err(error) if error.to_string().contains("could not acquire lock") && begun.elapsed() < UNLOCKED_WITHIN => {
                thread::sleep(Duration::from_millis(5));
            }
            other => break other,
        }
    };
    let db = open.map_err(|source| StoreError::Sled { path: path.to_owned(), source })?;
    let file = OpenOptions::new().write(true).open(path.join("db"));
    let file = file.map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
    Ok((db, file))
}

/// Entries go in runs of as many as fit into one value, each behind its length: keys cost sled more than bytes. A longer entry is a run of its
/// own, in several parts.
fn add_entries(writes: &mut sled::Batch, batch: &Batch) {
    let (mut first, mut run) = (batch.first, Vec::new());
    for (seq, stored) in (batch.first..).zip(&batch.entries) {
        if !run.is_empty() && run.len() + 4 + stored.bytes.len() > MAX_VALUE_BYTES {
            add_run(writes, first, &run);
            (first, run) = (seq, Vec::new());
        }
        run.extend((stored.bytes.len() as u32).to_be_bytes());
        run.extend_from_slice(&stored.bytes);
    }
    add_run(writes, first, &run);
}

fn add_run(writes: &mut sled::Batch, first: u64, run: &[u8]) {
    for (part, chunk) in (0_u16..).zip(run.chunks(MAX_VALUE_BYTES)) {
        writes.insert([key(b"e/", first).as_slice(), &part.to_be_bytes()].concat(), chunk);
    }
}

fn add_state(writes: &mut sled::Batch, stored: &Stored) {
    for put in stored.beside.state() {
        let key = [b"s/", put.key.as_slice()].concat();
        match put.value {
            Some(value) => writes.insert(key, value),
            None => writes.remove(key),
        }
    }
}

fn key(prefix: &[u8; 2], seq: u64) -> Vec<u8> {
    [prefix.as_slice(), &seq.to_be_bytes()].concat()
}

fn number(value: &[u8]) -> u64 {
    value.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
