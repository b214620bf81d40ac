//! What a ledger is opened with, and what opening and reading say.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    checkpoint::Checkpoint,
    disk::{Disk, SystemDisk},
    open::{OpenError, Paths},
    store::{Probe, StoreError},
    writer::Limits,
};

/// Where a ledger is and how it is kept.
#[derive(Clone)]
pub struct Options {
    /// Its directory.
    pub dir: PathBuf,
    /// The anchor's directory; better on another volume.
    pub anchor_dir: PathBuf,
    /// What bounds it.
    pub limits: Limits,
    /// How the store is tried before it is opened.
    pub probe: Probe,
    /// The disk.
    pub disk: Arc<dyn Disk>,
}

impl Options {
    /// The defaults for a ledger in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        let dir = dir.into();
        Options {
            anchor_dir: dir.join("anchor"),
            dir,
            limits: Limits::default(),
            probe: Probe::default(),
            disk: SystemDisk::shared(),
        }
    }

    /// Whether there is room to open the store, which writes then.
    ///
    /// # Errors
    /// [`OpenError::NoRoom`].
    pub(crate) fn check_room(&self) -> Result<(), OpenError> {
        let io = |source| OpenError::Io { path: self.dir.clone(), source };
        let (free, needed) = (self.disk.space(&self.dir).map_err(io)?.0, self.limits.room_behind_bytes());
        if free < needed { Err(OpenError::NoRoom { dir: self.dir.clone(), free, needed }) } else { Ok(()) }
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths { dir: self.dir.clone(), anchor: self.anchor_dir.clone() }
    }
}

/// The head of a lost ledger, as somebody outside holds it, and why a new one begins.
#[derive(Debug, Clone)]
pub struct Adopts {
    /// The newest checkpoint that somebody outside holds.
    pub checkpoint: Checkpoint,
    /// What happened.
    pub reason: String,
}

/// What was found when a ledger was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Entries.
    pub size: u64,
    /// Entries that the store lacked and got from the journal.
    pub replayed: u64,
    /// The anchor is damaged: that nothing was put back to an older state could not be checked.
    pub anchor_lost: bool,
    /// Why the store was made anew from journal and archive, if it was; an entry `repaired` says so too.
    pub repaired: Option<String>,
}

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of the archive or the journal.
    #[error("the ledger cannot be read: {0}")]
    Io(#[from] io::Error),
    /// Not that many entries.
    #[error("there is no entry {seq}: the ledger has {size}")]
    Missing {
        /// What was asked for.
        seq: u64,
        /// How many entries there are.
        size: u64,
    },
}
