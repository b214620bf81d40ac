//! The ledger of a running gateway: made or opened once per process, shared by cheap handles.

mod keys;
mod lately;
mod lock;
mod options;
mod threads;

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    fs::File,
    io,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Instant,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

pub(crate) use self::lock::lock;
use self::{
    lately::Lately,
    threads::{behind, guarded, keep_anchor},
};
pub use self::{
    lock::lock_for_reading,
    options::{Adopts, Opened, Options, ReadError},
};
use crate::{
    Hash,
    anchor::Anchor,
    archive::{Archive, ArchiveNodes, TILE, Upper},
    batch::Stored,
    checkpoint::{Checkpoint, CheckpointSigner},
    clock::Clock,
    files,
    index::Index,
    journal::{self, Journal},
    open::OpenError,
    proof::Proof,
    record::{Attachment, Draft, body},
    repair::{recover_or_heal, set_aside},
    store::{Head, StateRow, Store, StoreError},
    term::Term,
    tree::{self, Frontier},
    writer::{
        AppendError, Applier, Archiver, Behind, Observer, Obstacle, Queue, ROUND, Sealed, Shared, Space, Status, Tail,
        Ticket, WriterThread,
    },
};

/// A handle to the ledger. The last one that is dropped closes it.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    options: Options,
    threads: Mutex<Vec<JoinHandle<()>>>,
    closing: Arc<AtomicBool>,
    lately: Lately,
    _lock: File,
}

impl Ledger {
    /// Begins a new ledger. Its first entry names the key that signs its checkpoints.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when there is one; [`OpenError::Io`].
    pub fn create(
        options: Options,
        signer: CheckpointSigner,
        clock: Arc<dyn Clock>,
        adopts: Option<Adopts>,
    ) -> Result<Ledger, OpenError> {
        let paths = options.paths();
        let io = |source| OpenError::Io { path: paths.dir.clone(), source };
        files::create_dir(&options.dir).map_err(io)?;
        let lock = lock(&options.dir)?;
        options.check_room()?;
        // A ledger that was cut short before its first entry is none yet.
        let journal = journal::read(&*options.disk, &paths.journal()).map_err(io)?;
        let archive = Archive::new(options.disk.clone(), &options.dir);
        if journal.has_entries() || archive.tiles().map_err(io)? > 0 {
            return Err(OpenError::Exists(paths.dir.clone()));
        }
        let (anchor, anchored, _) = Anchor::open(options.disk.clone(), &paths.anchor).map_err(io)?;
        if let Some(anchored) = anchored.filter(|_| adopts.is_none()) {
            return Err(OpenError::RolledBack { who: "anchor", size: anchored.checkpoint.size(), journal: 0 });
        }
        if adopts.is_some() {
            // The lost ledger's head is cited in the first entry; in the anchor it would refuse the new ledger.
            anchor.clear().map_err(io)?;
        }
        let (store, head) = match Store::open(&paths.store(), &options.probe) {
            Err(StoreError::Damaged { .. }) => {
                set_aside(&options)?;
                Store::open(&paths.store(), &options.probe)?
            }
            other => other?,
        };
        if head.size > 0 {
            return Err(OpenError::Exists(paths.dir.clone()));
        }
        let begun =
            Journal::begin(options.disk.clone(), &paths.journal(), options.limits.segment_bytes, 0).map_err(io)?;
        let first = body::Ledger {
            event: if adopts.is_some() { "adopted" } else { "created" }.to_owned(),
            software: crate::SOFTWARE.to_owned(),
            vkey: Some(signer.verifier().to_string()),
            detail: adopts.as_ref().map(|adopts| adopts.reason.clone()),
            adopts: adopts.map(|adopts| adopts.checkpoint.as_str().to_owned()),
            ..body::Ledger::default()
        };
        let index = Index::open(options.disk.clone(), &archive, 0).map_err(io)?;
        let recovered = Begun {
            index,
            checkpoint: signer.sign(0, Frontier::default().root())?,
            journal: begun,
            store,
            archive,
            anchor,
            head,
            frontier: Frontier::default(),
            nodes: BTreeMap::new(),
            pending: Vec::new(),
            checkpoints: Vec::new(),
            upper: Upper::default(),
            archived: 0,
        };
        let signer = Arc::new(signer);
        let ledger = Ledger::start(options, signer.clone(), clock, recovered, lock);
        ledger.append_blocking(Draft::new(&first)?)?;
        keys::follow(&ledger, &signer)?;
        ledger.0.shared.obstacle.begin();
        Ok(ledger)
    }

    /// Opens a ledger: compares journal, store, archive and anchor, and replays what the store lacks.
    ///
    /// # Errors
    /// [`OpenError`], when they disagree or a part is damaged; nothing is signed then.
    pub fn open(
        options: Options,
        signer: CheckpointSigner,
        clock: Arc<dyn Clock>,
    ) -> Result<(Ledger, Opened), OpenError> {
        let paths = options.paths();
        if !options.dir.is_dir() {
            return Err(OpenError::Missing(options.dir));
        }
        let lock = lock(&options.dir)?;
        options.check_room()?;
        let (found, repaired) = recover_or_heal(&options, &paths, &signer.verifiers())?;
        let (size, replayed, anchor_lost) = (found.head.size, found.replayed, found.anchor_lost);
        let opened = Opened { size, replayed, anchor_lost, repaired };
        if opened.anchor_lost {
            tracing::warn!(anchor = %paths.anchor.display(), "the anchor is damaged: whether older files were put back cannot be told; compare with a checkpoint that somebody outside holds (`countersign verify --against`)");
        }
        let journal =
            Journal::resume(options.disk.clone(), &paths.journal(), options.limits.segment_bytes, &found.tail)
                .map_err(|source| OpenError::Io { path: paths.journal(), source })?;
        let begun = Begun {
            journal,
            store: found.store,
            archive: found.archive,
            index: found.index,
            anchor: found.anchor,
            head: found.head,
            frontier: found.frontier,
            checkpoint: found.checkpoint,
            nodes: found.nodes,
            pending: found.pending,
            checkpoints: found.checkpoints,
            upper: found.upper,
            archived: found.archived,
        };
        let signer = Arc::new(signer);
        let ledger = Ledger::start(options, signer.clone(), clock, begun, lock);
        if let Some(why) = &opened.repaired {
            let entry = body::Ledger {
                event: "repaired".to_owned(),
                software: crate::SOFTWARE.to_owned(),
                detail: Some(why.clone()),
                ..body::Ledger::default()
            };
            ledger.append_blocking(Draft::new(&entry)?)?;
        }
        keys::follow(&ledger, &signer)?;
        ledger.0.shared.obstacle.begin();
        Ok((ledger, opened))
    }

    fn start(
        options: Options,
        signer: Arc<CheckpointSigner>,
        clock: Arc<dyn Clock>,
        begun: Begun,
        lock: File,
    ) -> Ledger {
        let shared = Arc::new(Shared {
            origin: signer.verifier().name().to_owned(),
            limits: options.limits.clone(),
            space: Space::new(options.disk.clone(), options.dir.clone(), &options.limits),
            queue: Queue::default(),
            applying: Behind::new(APPLIED_TOGETHER),
            archiving: Behind::new(ROUND),
            store: begun.store,
            archive: begun.archive,
            index: begun.index,
            tail: RwLock::new(Tail::new(begun.archived, begun.pending.iter().cloned())),
            nodes: RwLock::new(begun.nodes),
            head: watch::Sender::new(begun.checkpoint),
            head_hash: Mutex::new((begun.head.size, begun.head.prev)),
            applied: AtomicU64::new(begun.head.size),
            archived: AtomicU64::new(begun.archived),
            dropped: AtomicU64::new(begun.head.dropped),
            segments: AtomicU64::new(1),
            last_sync_us: AtomicU64::new(0),
            observer: OnceLock::new(),
            obstacle: Obstacle::default(),
            anchor_obstacle: Obstacle::default(),
            poisoned: Mutex::new(None),
        });
        let applier = Applier { shared: shared.clone() };
        let archiver = Archiver {
            shared: shared.clone(),
            disk: options.disk.clone(),
            journal_dir: options.paths().journal(),
            pending: begun.pending.into(),
            checkpoints: begun.checkpoints.into(),
            newest: shared.head.borrow().clone(),
            upper: begun.upper,
            published: 0,
            published_at: Instant::now(),
            archived_at: Instant::now(),
            segments: 0,
        };
        let writer = WriterThread {
            shared: shared.clone(),
            clock,
            signer,
            journal: begun.journal,
            head: begun.head,
            frontier: begun.frontier,
            counters: BTreeMap::new(),
            clock_is_back: false,
            buffer: Vec::new(),
        };
        let closing = Arc::new(AtomicBool::new(false));
        let anchoring = (shared.clone(), closing.clone());
        let anchor = begun.anchor;
        let threads = [
            guarded("ledger-writer", &shared, move || writer.run()),
            guarded("ledger-store", &shared, behind(move || applier.run())),
            guarded("ledger-archive", &shared, behind(move || archiver.run())),
            guarded("ledger-anchor", &shared, behind(move || keep_anchor(&anchoring.0, anchor, &anchoring.1))),
        ];
        let threads = threads.into_iter().flatten().collect();
        let (threads, lately) = (Mutex::new(threads), Lately::default());
        Ledger(Arc::new(Inner { shared, options, threads, closing, lately, _lock: lock }))
    }

    /// The ledger's name.
    pub fn origin(&self) -> &str {
        &self.0.shared.origin
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.0.options.dir
    }

    /// Accepts a draft or refuses it at once; never blocks.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn enqueue(&self, draft: impl Borrow<Draft>) -> Result<Ticket, AppendError> {
        self.0.shared.enqueue(draft.borrow())
    }

    /// As [`Ledger::enqueue`], for an entry whose seal nobody waits for: it is sealed with the next entry that somebody waits for, at the latest after
    /// [`Limits::unawaited_interval`](crate::writer::Limits::unawaited_interval) and the sync of a batch that is being written.
    ///
    /// # Errors
    /// [`AppendError`]. Nothing tells of an error that comes after the entry was accepted but [`Ledger::status`].
    pub fn enqueue_unawaited(&self, draft: impl Borrow<Draft>) -> Result<(), AppendError> {
        self.0.shared.enqueue_unawaited(draft.borrow())
    }

    /// Records a draft and waits until it is sealed.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append(&self, draft: Draft) -> Result<Sealed, AppendError> {
        self.enqueue(draft)?.sealed().await
    }

    /// As [`Ledger::append`], blocking the thread.
    ///
    /// # Errors
    /// [`AppendError`].
    pub fn append_blocking(&self, draft: Draft) -> Result<Sealed, AppendError> {
        self.enqueue(draft)?.sealed_blocking()
    }

    /// The newest checkpoint.
    pub fn head(&self) -> Checkpoint {
        self.0.shared.head.borrow().clone()
    }

    /// How it is doing.
    pub fn status(&self) -> Status {
        self.0.shared.status()
    }

    /// Tells `observer` of each batch from now on; the first one that is set stays.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        // INVARIANT: set once, so the writer reads it without a lock.
        let _ = self.0.shared.observer.set(observer);
    }

    /// Bytes free on the ledger's disk, and how many of them are its reserve.
    ///
    /// # Errors
    /// What the system says.
    pub fn space(&self) -> io::Result<(u64, u64)> {
        Ok((self.0.shared.space.free_as_known()?, self.0.options.limits.min_free_bytes))
    }

    /// Whether it would accept and seal an entry now; asks the disk for its free space.
    ///
    /// # Errors
    /// [`AppendError`]: why it would not.
    pub fn can_seal(&self) -> Result<(), AppendError> {
        let (shared, reserve) = (&self.0.shared, self.0.options.limits.min_free_bytes);
        shared.check_poison()?;
        shared.queue.check_open()?;
        shared.obstacle.check()?;
        shared.anchor_obstacle.check()?;
        shared.queue.check_progress(&shared.limits)?;
        let unreadable = |error| AppendError::Poisoned(format!("free space cannot be read: {error}").into());
        let free = shared.space.free_as_known().map_err(unreadable)?;
        if free < reserve { Err(AppendError::NoSpace { free, reserve }) } else { Ok(()) }
    }

    /// An entry's bytes.
    ///
    /// # Errors
    /// [`ReadError::Missing`] when there is none.
    pub fn entry(&self, seq: u64) -> Result<Arc<[u8]>, ReadError> {
        let shared = &self.0.shared;
        if let Some(stored) = shared.tail.read().get(seq) {
            return Ok(stored.bytes.clone());
        }
        if let Some(bytes) = shared.store.entry(seq)? {
            return Ok(bytes);
        }
        let size = self.head().size();
        if seq >= shared.archived.load(Ordering::Acquire) {
            return Err(ReadError::Missing { seq, size });
        }
        let tile = self.0.lately.entries(&shared.archive, seq / TILE)?;
        tile.get((seq % TILE) as usize).cloned().ok_or(ReadError::Missing { seq, size })
    }

    /// The encrypted disclosures of an entry.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn attachments(&self, seq: u64) -> Result<Vec<Attachment>, ReadError> {
        let shared = &self.0.shared;
        if let Some(stored) = shared.tail.read().get(seq) {
            return Ok(stored.beside.attachments());
        }
        if seq < shared.archived.load(Ordering::Acquire) {
            let pack = self.0.lately.pack(&shared.archive, seq / TILE)?;
            let stored = pack.entries.get((seq % TILE) as usize);
            return Ok(stored.map(|stored| stored.beside.attachments()).unwrap_or_default());
        }
        Err(ReadError::Missing { seq, size: self.head().size() })
    }

    /// The numbers of an instruction's entries, in order.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn of_instruction(&self, instruction: &str) -> Result<Vec<u64>, ReadError> {
        Ok(self.0.shared.find(Term::instruction(instruction))?)
    }

    /// The number of the entry with this hash.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn find(&self, hash: &Hash) -> Result<Option<u64>, ReadError> {
        for seq in self.0.shared.find(Term::entry(hash))? {
            if Hash::of(&self.entry(seq)?) == *hash {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// The durable state under a prefix, as of the store; at open that is all of it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn state(&self, prefix: &[u8]) -> Result<Vec<StateRow>, ReadError> {
        Ok(self.0.shared.store.state(prefix)?)
    }

    /// The proof that the newest checkpoint covers an entry.
    ///
    /// # Errors
    /// [`ReadError::Missing`] when there is no such entry.
    pub fn proof(&self, seq: u64) -> Result<Proof, ReadError> {
        let checkpoint = self.head();
        let size = checkpoint.size();
        let nodes = self.nodes();
        let path = tree::inclusion_proof(&nodes, seq, size).ok_or(ReadError::Missing { seq, size })?;
        Ok(Proof { index: seq, path, checkpoint })
    }

    /// The proof that the ledger of `old` entries is a prefix of that of `size`.
    ///
    /// # Errors
    /// [`ReadError::Missing`] unless `0 < old <= size` and there are that many.
    pub fn consistency(&self, old: u64, size: u64) -> Result<Vec<Hash>, ReadError> {
        let have = self.head().size();
        let missing = ReadError::Missing { seq: size.max(old), size: have };
        if size > have {
            return Err(missing);
        }
        let nodes = self.nodes();
        tree::consistency_proof(&nodes, old, size).ok_or(missing)
    }

    /// The tree's nodes. The lock is held for each look only: the archive is read from disk.
    fn nodes(&self) -> impl tree::Nodes + '_ {
        let shared = &self.0.shared;
        let recent = |place| shared.nodes.read().get(&place).copied();
        ArchiveNodes { archive: &shared.archive, recent }
    }

    /// Keeps the exact bytes of a catalogue, policy or configuration, durable on return; an entry names them by the digest returned.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep_policy(&self, bytes: &[u8]) -> io::Result<Hash> {
        let (hash, dir, disk) = (Hash::of(bytes), self.0.options.dir.join("policy"), &self.0.options.disk);
        let path = dir.join(hash.to_string());
        disk.create_dir(&dir)?;
        if disk.read(&path).is_ok_and(|kept| kept == bytes) {
            return Ok(hash);
        }
        disk.put(&path, bytes)?;
        disk.sync_dir(&dir)?;
        Ok(hash)
    }

    /// The bytes that were kept under this digest, if they are there and are those.
    pub fn policy(&self, hash: &Hash) -> Option<Vec<u8>> {
        let path = self.0.options.dir.join("policy").join(hash.to_string());
        self.0.options.disk.read(&path).ok().filter(|bytes| Hash::of(bytes) == *hash)
    }

    /// Accepts nothing more, seals what waits, archives and publishes, writes the anchor.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`] when it had stopped, or stops now.
    pub fn close(&self) -> Result<(), AppendError> {
        self.0.stop();
        self.0.shared.check_poison()
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("origin", &self.origin()).field("status", &self.status()).finish_non_exhaustive()
    }
}

/// So many entries go into the store at once, unless they have waited for [`Limits::store_interval`].
const APPLIED_TOGETHER: usize = 2048;

/// What the threads begin with.
struct Begun {
    journal: Journal,
    store: Store,
    archive: Archive,
    index: Index,
    anchor: Anchor,
    head: Head,
    frontier: Frontier,
    checkpoint: Checkpoint,
    nodes: BTreeMap<tree::Place, Hash>,
    pending: Vec<Arc<Stored>>,
    checkpoints: Vec<Checkpoint>,
    upper: Upper,
    archived: u64,
}

impl Inner {
    fn stop(&self) {
        self.shared.queue.close();
        let mut threads = self.threads.lock();
        let anchor = threads.pop();
        for thread in threads.drain(..) {
            let _ = thread.join();
        }
        self.closing.store(true, Ordering::Release);
        if let Some(anchor) = anchor {
            anchor.thread().unpark();
            let _ = anchor.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
