//! The one ordered writer: chain, tree, checkpoint, journal, acknowledgement; behind it the store, then the archive, then trimming.
//!
//! Group commit: the next batch is what queued while the last one was being synced. What nobody waits for (how a call ended) goes with the next entry
//! that somebody does, or after a short time: else a call would cost two syncs instead of one.
//! An I/O error poisons the ledger: all who wait fail, nothing more is accepted, no failed sync is tried again. A disk without room is none, as long as nothing
//! was synced: the batch is written once more in its place. Nor is a key that does not sign. What is behind the acknowledgement waits for room before it begins.

mod apply;
mod draft;
mod obstacle;
mod queue;
mod recheck;
mod run;
mod shelve;
mod space;
mod tail;

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{oneshot, watch};

pub(crate) use self::{
    apply::Applier,
    draft::Prepared,
    obstacle::Obstacle,
    queue::{Behind, Queue},
    run::WriterThread,
    shelve::{Archiver, ROUND},
    space::Space,
    tail::Tail,
};
use crate::{
    Hash,
    archive::Archive,
    checkpoint::Checkpoint,
    index::Index,
    proof::Proof,
    record::{Draft, EntryError, Kind, Time},
    store::Store,
    term::Term,
    tree::{self, Place},
};

/// What bounds a ledger.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most entries in a batch.
    pub batch_entries: usize,
    /// A batch is closed when it has this many bytes.
    pub batch_bytes: usize,
    /// The most entries that wait; more are refused.
    pub queue_entries: usize,
    /// The most bytes that wait; more are refused.
    pub queue_bytes: usize,
    /// How long an entry that nobody waits for may wait for one that somebody does.
    pub unawaited_interval: Duration,
    /// How many entries the store may be behind the journal before the writer waits for it.
    pub store_lag_entries: u64,
    /// How many bytes the store may be behind the journal, and the archive behind the store, before the one waits for the other.
    pub store_lag_bytes: usize,
    /// How long sealed entries wait for others before they go into the store.
    pub store_interval: Duration,
    /// How many archived entries stay in the store too.
    pub keep_entries: u64,
    /// Size of a journal segment, in bytes.
    pub segment_bytes: usize,
    /// Free space below which nothing new is accepted, in bytes; what ends a call is accepted down to half of it.
    pub min_free_bytes: u64,
    /// How old what is known of free space may be when an entry is queued.
    pub space_interval: Duration,
    /// How long the anchor may be behind.
    pub anchor_interval: Duration,
    /// An entry that has waited for longer means that the writer does not come back from a call to the disk or to the module of its key.
    pub stuck_after: Duration,
}

impl Limits {
    /// Free space below which nothing is begun that is behind the journal: a quarter of the reserve is the journal's.
    pub(crate) const fn room_behind_bytes(&self) -> u64 {
        self.min_free_bytes / 4
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            batch_entries: 1024,
            batch_bytes: 1 << 20,
            queue_entries: 8192,
            queue_bytes: 32 << 20,
            unawaited_interval: Duration::from_millis(2),
            store_lag_entries: 16_384,
            store_lag_bytes: 24 << 20,
            store_interval: Duration::from_millis(50),
            keep_entries: 4096,
            segment_bytes: crate::journal::SEGMENT_BYTES,
            min_free_bytes: 256 << 20,
            space_interval: Duration::from_millis(10),
            anchor_interval: Duration::from_millis(50),
            stuck_after: Duration::from_secs(5),
        }
    }
}

/// Why an entry was not accepted. Nothing of it is durable unless said so.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The queue is full: try again later.
    #[error("the ledger's queue is full")]
    Full,
    /// Free space is below the reserve: nothing new is accepted until there is more.
    #[error(
        "the disk has {} MiB free, less than the reserve of {} MiB (`reserve_mib` in `[ledger]`); free some space",
        .free >> 20,
        .reserve >> 20
    )]
    NoSpace {
        /// Bytes free.
        free: u64,
        /// Bytes that must stay free.
        reserve: u64,
    },
    /// The key that signs checkpoints does not at the moment; it is tried again, and nothing new is accepted until it does.
    #[error("nothing can be signed at the moment, and it is tried again: {0}")]
    Unsigned(Arc<str>),
    /// The disk has no room for what is being written; it is tried again, and nothing new is accepted until it has.
    #[error("nothing can be written at the moment, and it is tried again: {0}; free some space, or allow more of it")]
    Unwritten(Arc<str>),
    /// The writer is at one batch for longer than it may be: the disk, or the module of the ledger's key, does not answer. Nothing new is accepted until it does.
    #[error(
        "the ledger's writer has waited {} s for its disk or for the module of its key: look at both; it goes on as soon as they answer",
        .waited.as_secs()
    )]
    Stuck {
        /// How long the oldest entry that it is at has waited.
        waited: Duration,
    },
    /// The entry cannot be written.
    #[error("the entry cannot be written: {0}")]
    Entry(Arc<EntryError>),
    /// An I/O error came before; the process must be started again. Whether the entry is durable is not known.
    #[error(
        "the ledger stopped after an error and must be started again, which compares its copies before anything is written: {0}"
    )]
    Poisoned(Arc<str>),
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
}

impl AppendError {
    /// Whether trying again with this ledger is pointless.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, AppendError::Poisoned(_) | AppendError::Closed)
    }

    /// Whether the same entry may be taken later, without anybody doing anything to it or to the ledger.
    pub const fn passes(&self) -> bool {
        !self.is_fatal() && !matches!(self, AppendError::Entry(_))
    }
}

impl From<EntryError> for AppendError {
    fn from(error: EntryError) -> AppendError {
        AppendError::Entry(Arc::new(error))
    }
}

/// A sealed entry: durable, and covered by a durable signed checkpoint.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Its number.
    pub seq: u64,
    /// Its place in its instruction.
    pub n: Option<u64>,
    /// SHA-256 of its bytes.
    pub hash: Hash,
    /// Its time.
    pub time: Time,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
    /// That the checkpoint covers it.
    pub proof: Proof,
}

/// The nodes of the tree that prove the entries of one batch.
#[derive(Debug)]
pub(crate) struct Cover {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) nodes: BTreeMap<Place, Hash>,
}

#[derive(Debug)]
pub(crate) struct Acknowledged {
    seq: u64,
    n: Option<u64>,
    hash: Hash,
    time: Time,
    bytes: Arc<[u8]>,
    cover: Arc<Cover>,
}

/// Whoever waits for an entry to be sealed.
pub(crate) type Waiter = oneshot::Sender<Result<Acknowledged, AppendError>>;

/// An accepted entry on its way to being sealed.
#[derive(Debug)]
pub struct Ticket(oneshot::Receiver<Result<Acknowledged, AppendError>>);

impl Ticket {
    /// Waits until the entry is sealed.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn sealed(self) -> Result<Sealed, AppendError> {
        seal(self.0.await)
    }

    /// Waits until the entry is sealed, blocking the thread.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn sealed_blocking(mut self) -> Result<Sealed, AppendError> {
        // Not `blocking_recv`, which panics when the thread belongs to an async runtime.
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self.0).poll(&mut context) {
                Poll::Ready(received) => return seal(received),
                Poll::Pending => thread::park(),
            }
        }
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn seal(received: Result<Result<Acknowledged, AppendError>, oneshot::error::RecvError>) -> Result<Sealed, AppendError> {
    let entry = received.map_err(|_| AppendError::Closed)??;
    let size = entry.cover.checkpoint.size();
    // The path is computed by whoever waits, not by the writer.
    let path = tree::inclusion_proof(&entry.cover.nodes, entry.seq, size).unwrap_or_default();
    let proof = Proof { index: entry.seq, path, checkpoint: entry.cover.checkpoint.clone() };
    Ok(Sealed { seq: entry.seq, n: entry.n, hash: entry.hash, time: entry.time, bytes: entry.bytes, proof })
}

/// How a ledger is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Entries sealed.
    pub size: u64,
    /// Entries that wait.
    pub queued: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Entries that are sealed and not in the store yet.
    pub store_lag: u64,
    /// Entries in the archive.
    pub archived: u64,
    /// Segments of the journal that are not trimmed yet.
    pub segments: u64,
    /// How long the oldest entry that the writer is at has waited; nothing when it is at none.
    pub waited: Duration,
    /// How long the last write and sync of the journal took.
    pub last_sync: Duration,
    /// The error that stopped it.
    pub poisoned: Option<String>,
}

/// Hears of each batch that was sealed, in the writer's thread: it must not wait for anything.
pub trait Observer: Send + Sync {
    /// A batch is durable under its checkpoint.
    fn sealed(&self, batch: &SealedBatch<'_>);
}

/// A batch that was sealed.
#[derive(Debug, Clone, Copy)]
pub struct SealedBatch<'a> {
    /// The kinds of its entries, in order.
    pub kinds: &'a [Kind],
    /// About how much it takes in the journal.
    pub bytes: usize,
    /// How long the journal's write and sync took.
    pub sync: Duration,
}

/// Between two looks for room.
const ROOM_PAUSE: Duration = Duration::from_millis(50);

/// What the ledger's threads share.
pub(crate) struct Shared {
    pub(crate) origin: String,
    pub(crate) limits: Limits,
    pub(crate) space: Space,
    pub(crate) queue: Queue,
    /// From the writer to the store.
    pub(crate) applying: Behind,
    /// From the store to the archive.
    pub(crate) archiving: Behind,
    pub(crate) store: Store,
    pub(crate) archive: Archive,
    /// Of the archive.
    pub(crate) index: Index,
    /// Sealed entries that are not in the archive yet, by number, with their attachments.
    pub(crate) tail: RwLock<Tail>,
    /// The newest nodes of the tree that are not in full tiles yet.
    pub(crate) nodes: RwLock<BTreeMap<Place, Hash>>,
    pub(crate) head: watch::Sender<Checkpoint>,
    pub(crate) head_hash: Mutex<(u64, Hash)>,
    pub(crate) applied: AtomicU64,
    pub(crate) archived: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) last_sync_us: AtomicU64,
    pub(crate) observer: OnceLock<Arc<dyn Observer>>,
    /// What is in the writer's way, and what in that of the anchor.
    pub(crate) obstacle: Obstacle,
    pub(crate) anchor_obstacle: Obstacle,
    pub(crate) poisoned: Mutex<Option<Arc<str>>>,
}

impl Shared {
    pub(crate) fn poison(&self, what: &str) {
        tracing::error!(
            what,
            "the ledger stops; it must be started again, which compares its copies before anything is written"
        );
        let reason: Arc<str> = Arc::from(what);
        self.poisoned.lock().get_or_insert_with(|| reason.clone());
        self.queue.fail(&AppendError::Poisoned(reason));
        self.applying.close();
        self.archiving.close();
    }

    pub(crate) fn check_poison(&self) -> Result<(), AppendError> {
        self.poisoned.lock().clone().map_or(Ok(()), |reason| Err(AppendError::Poisoned(reason)))
    }

    /// Waits until the disk has room for what is behind the journal. False when the ledger is closed, or stops, before that: what is sealed is in the journal, and
    /// goes on from there when the ledger is opened again.
    pub(crate) fn wait_for_room(&self) -> bool {
        // What cannot be read stops the writer, which asks too.
        while !self.space.has_room_behind().unwrap_or(true) {
            if self.queue.check_open().is_err() {
                return false;
            }
            thread::sleep(ROOM_PAUSE);
        }
        true
    }

    /// Whether an entry of this kind may be queued.
    fn admit(&self, kind: &Kind) -> Result<(), AppendError> {
        self.check_poison()?;
        self.obstacle.admit(kind)?;
        self.anchor_obstacle.admit(kind)?;
        self.space.admit(kind)
    }

    pub(crate) fn enqueue(&self, draft: &Draft) -> Result<Ticket, AppendError> {
        self.admit(&draft.kind)?;
        let (sender, receiver) = oneshot::channel();
        self.queue.push(Prepared::new(draft, &self.origin, sender)?, &self.limits)?;
        Ok(Ticket(receiver))
    }

    pub(crate) fn enqueue_unawaited(&self, draft: &Draft) -> Result<(), AppendError> {
        self.admit(&draft.kind)?;
        self.queue.push(Prepared::without_waiter(draft, &self.origin)?, &self.limits)
    }

    /// The numbers of the entries with this term, in order.
    pub(crate) fn find(&self, term: Term) -> io::Result<Vec<u64>> {
        // The tail is looked at first: what leaves it in between is in the index by then.
        let tail = self.tail.read().find(term);
        let mut numbers = self.index.find(term)?;
        numbers.extend(tail);
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// How many sealed entries an instruction has.
    pub(crate) fn count(&self, instruction: Term) -> io::Result<u64> {
        let last = self.tail.read().last(instruction).and_then(|stored| stored.n());
        match last {
            Some(n) => Ok(n + 1),
            None => Ok(self.index.find(instruction)?.len() as u64),
        }
    }

    pub(crate) fn status(&self) -> Status {
        let size = self.head.borrow().size();
        let (queued, queued_bytes) = self.queue.waiting();
        Status {
            size,
            queued,
            queued_bytes,
            store_lag: size.saturating_sub(self.applied.load(Ordering::Acquire)),
            archived: self.archived.load(Ordering::Acquire),
            segments: self.segments.load(Ordering::Acquire),
            waited: self.queue.waited(),
            last_sync: Duration::from_micros(self.last_sync_us.load(Ordering::Relaxed)),
            poisoned: self.poisoned.lock().as_deref().map(str::to_owned),
        }
    }
}
