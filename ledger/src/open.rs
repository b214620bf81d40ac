//! What a ledger's files say when they are opened, compared with each other before anything is trusted or signed.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use crate::{
    Hash,
    anchor::{Anchor, Anchored},
    archive::{Archive, ArchiveNodes, TILE, Upper},
    batch::{Batch, Stored},
    checkpoint::{Checkpoint, CheckpointError, SignError, VerifierKey},
    count::counted,
    disk::Disk,
    index::Index,
    journal::{self, JournalDamage, Tail},
    record::Time,
    store::{Head, Probe, Store, StoreError},
    tree::{self, Frontier, Nodes as _, Place},
    writer::AppendError,
};

/// Why a ledger is not opened. Nothing was changed or signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No ledger there.
    #[error("there is no ledger in `{0}`")]
    Missing(PathBuf),
    /// A ledger there already.
    #[error("there is a ledger in `{0}` already")]
    Exists(PathBuf),
    /// Another process has it open.
    #[error("the ledger `{0}` is in use by another process")]
    Locked(PathBuf),
    /// A file cannot be read or written.
    #[error("`{path}`: {source}")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The disk is so full that opening the store might break it: sled writes when it is opened, too.
    #[error(
        "the disk of `{dir}` has {} KiB free, and the ledger is not opened with less than {} KiB, a quarter of its reserve (`reserve_mib` in `[ledger]`); free some space and start again; nothing was changed",
        .free >> 10,
        .needed >> 10
    )]
    NoRoom {
        /// The ledger's directory.
        dir: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes that must be.
        needed: u64,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal is damaged where it was acknowledged.
    #[error("the journal is damaged: {} of segment `{}`, byte {}; entry {next} is the first that cannot be read; \
        if a copy of the disk exists restore it, else set the directory aside and run `countersign adopt` with the last checkpoint \
        that somebody outside holds", .damage.what, .damage.segment, .damage.at)]
    Journal {
        /// Where and what.
        damage: JournalDamage,
        /// The first entry that cannot be read.
        next: u64,
    },
    /// Something else knows of more entries than the journal has.
    #[error(
        "the journal ends at entry {journal}, but the {who} knows of {}: acknowledged entries are lost, or older files \
        were put back; restore the newest copy, or set the directory aside and run `countersign adopt`",
        counted(*.size, "entry", "entries")
    )]
    RolledBack {
        /// `store`, `archive` or `anchor`.
        who: &'static str,
        /// How many entries it knows of.
        size: u64,
        /// How many the journal leads to.
        journal: u64,
    },
    /// Store or archive lack entries that the journal no longer has.
    #[error("the {who} ends at entry {size}, but the journal begins at entry {journal}: run `countersign repair`")]
    Behind {
        /// `store` or `archive`.
        who: &'static str,
        /// How many entries it has.
        size: u64,
        /// The journal's first entry.
        journal: u64,
    },
    /// Two of them have different entries.
    #[error(
        "entry {seq} differs between the journal and the {who}: one of them was changed or belongs to another ledger; \
        run `countersign verify` on the directory, then restore a copy, or `countersign repair` if only the store differs"
    )]
    Forked {
        /// `store`, `archive`, `anchor` or `checkpoint`.
        who: &'static str,
        /// The first entry that differs, as far as it is known.
        seq: u64,
    },
    /// The key is not the ledger's.
    #[error("the ledger's last checkpoint is not signed with the configured key: {0}")]
    Key(#[from] CheckpointError),
    /// A key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The ledger cannot be read.
    #[error("which keys sign its checkpoints cannot be read: {0}")]
    Keys(String),
    /// The first entry could not be written.
    #[error("the ledger cannot be begun: {0}")]
    Begin(#[from] AppendError),
    /// The first entry could not be made.
    #[error("the ledger cannot be begun: {0}")]
    Entry(#[from] crate::record::EntryError),
}

impl OpenError {
    /// Whether only the store is at fault, and knows of nothing that the others do not.
    pub(crate) fn is_of_the_store_alone(&self) -> bool {
        matches!(
            self,
            OpenError::Store(
                StoreError::Damaged { .. } | StoreError::Sled { source: sled::Error::Corruption { .. }, .. }
            ) | OpenError::Behind { who: "store", .. }
        )
    }
}

/// The files of a ledger, read and found to agree.
pub(crate) struct Recovered {
    pub(crate) store: Store,
    pub(crate) archive: Archive,
    pub(crate) index: Index,
    pub(crate) anchor: Anchor,
    pub(crate) tail: Tail,
    pub(crate) head: Head,
    pub(crate) frontier: Frontier,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) nodes: BTreeMap<Place, Hash>,
    pub(crate) pending: Vec<Arc<Stored>>,
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) upper: Upper,
    pub(crate) archived: u64,
    pub(crate) replayed: u64,
    pub(crate) anchor_lost: bool,
}

/// Where a ledger's parts are.
pub(crate) struct Paths {
    pub(crate) dir: PathBuf,
    pub(crate) anchor: PathBuf,
}

impl Paths {
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join("sled")
    }
}

/// The links in an entry's envelope.
#[derive(Deserialize)]
pub(crate) struct Links {
    pub(crate) seq: u64,
    pub(crate) prev: Hash,
    pub(crate) time: Time,
}

pub(crate) fn links(bytes: &[u8]) -> Option<Links> {
    serde_json::from_slice(bytes).ok()
}

/// Reads and compares everything; replays into the store what only the journal has.
pub(crate) fn recover(
    disk: &Arc<dyn Disk>,
    paths: &Paths,
    probe: &Probe,
    keys: &[VerifierKey],
) -> Result<Recovered, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    let contents = journal::read(&**disk, &paths.journal()).map_err(io(&paths.journal()))?;
    let end = contents.batches.last().map(Batch::end).or(contents.first).unwrap_or(0);
    if let Some(damage) = contents.damage {
        return Err(OpenError::Journal { damage, next: end });
    }
    let archive = Archive::new(disk.clone(), &paths.dir);
    let archived = archive.tiles().map_err(io(&paths.dir))? * TILE;
    let (anchor, anchored, torn) = Anchor::open(disk.clone(), &paths.anchor).map_err(io(&paths.anchor))?;
    let Some((tail, first)) = contents.tail.zip(contents.first) else {
        return Err(missing(paths, archived, anchored.as_ref()));
    };
    let knows = |who, size| match size {
        size if size > end => Err(OpenError::RolledBack { who, size, journal: end }),
        // An anchor is only ever ahead.
        size if size < first && who != "anchor" => Err(OpenError::Behind { who, size, journal: first }),
        _ => Ok(()),
    };
    knows("anchor", anchored.as_ref().map_or(0, |anchored| anchored.checkpoint.size()))?;
    knows("archive", archived)?;
    if end == 0 {
        // Cut short before its first entry.
        return Err(OpenError::Missing(paths.dir.clone()));
    }
    if !paths.store().exists() {
        // Not made here where it could not be filled.
        knows("store", 0)?;
    }
    let (store, stored) = Store::open(&paths.store(), probe)?;
    knows("store", stored.size)?;
    let walk = Walk::over(&contents.batches, first, archived, &archive).map_err(io(&paths.dir))?;
    let walk = walk?;
    let checkpoint = match contents.batches.last().and_then(|batch| batch.checkpoints.last()) {
        Some(checkpoint) => checkpoint.clone(),
        // The newest segment has no frame yet: the one before it was trimmed, so the archive has it all.
        None => published(&**disk, paths, end)?,
    };
    checkpoint.verify(keys)?;
    if checkpoint.size() != end || checkpoint.root() != walk.frontier.root() {
        return Err(OpenError::Forked { who: "checkpoint", seq: archived });
    }
    compare_store(&walk, &stored, end)?;
    compare_anchor(&walk, anchored.as_ref(), &archive)?;
    let head = replay(&store, &stored, &contents.batches, &walk)?;
    let upper = archive.upper(archived / TILE).map_err(io(&paths.dir))?;
    let index = Index::open(disk.clone(), &archive, archived).map_err(io(&archive.index_dir()))?;
    let checkpoints = contents.batches.iter().flat_map(|batch| &batch.checkpoints);
    Ok(Recovered {
        replayed: end - stored.size,
        anchor_lost: anchored.is_none() && !torn.is_empty(),
        pending: pending(&contents.batches, archived),
        checkpoints: checkpoints.filter(|checkpoint| checkpoint.size() > archived).cloned().collect(),
        store,
        archive,
        index,
        anchor,
        tail,
        head,
        frontier: walk.frontier,
        checkpoint,
        nodes: walk.nodes,
        upper,
        archived,
    })
}

fn missing(paths: &Paths, archived: u64, anchored: Option<&Anchored>) -> OpenError {
    let anchored = anchored.map_or(0, |anchored| anchored.checkpoint.size());
    match (archived, anchored) {
        (0, 0) => OpenError::Missing(paths.dir.clone()),
        (0, size) => OpenError::RolledBack { who: "anchor", size, journal: 0 },
        (size, _) => OpenError::RolledBack { who: "archive", size, journal: 0 },
    }
}

fn published(disk: &dyn Disk, paths: &Paths, end: u64) -> Result<Checkpoint, OpenError> {
    let path = paths.dir.join("checkpoint");
    let bytes = disk.read(&path).map_err(|source| OpenError::Io { path, source })?;
    let checkpoint = Checkpoint::parse(&String::from_utf8_lossy(&bytes))?;
    if checkpoint.size() == end { Ok(checkpoint) } else { Err(OpenError::Forked { who: "checkpoint", seq: end }) }
}

/// The journal's entries, checked link by link, and the tree over archive and journal.
struct Walk {
    /// The hash of each entry in the journal, from `first`.
    hashes: Vec<Hash>,
    first: u64,
    frontier: Frontier,
    nodes: BTreeMap<Place, Hash>,
    /// Root after each batch, by size.
    roots: BTreeMap<u64, Hash>,
    /// The last entry's hash and time, when the journal has it.
    last: Option<(Hash, Time)>,
}

impl Walk {
    /// The outer error is one of reading, the inner one a finding.
    fn over(batches: &[Batch], first: u64, archived: u64, archive: &Archive) -> io::Result<Result<Walk, OpenError>> {
        let mut edge = Vec::new();
        let nodes_of_archive = ArchiveNodes { archive, recent: BTreeMap::new() };
        for place in tree::edge_places(archived) {
            let missing = || {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    "a tile of hashes is missing or damaged; run `countersign verify`",
                )
            };
            edge.push(nodes_of_archive.node(place).ok_or_else(missing)?);
        }
        let Some(frontier) = Frontier::new(archived, edge) else {
            return Ok(Err(OpenError::Forked { who: "archive", seq: archived }));
        };
        let nodes = frontier.nodes().collect();
        let mut walk = Walk { hashes: Vec::new(), first, frontier, nodes, roots: BTreeMap::new(), last: None };
        let mut before = first.checked_sub(1).map(|seq| entry_before(archive, seq)).transpose()?.flatten();
        if first == 0 {
            before = Some(Hash::ZERO);
        }
        for batch in batches {
            for (seq, stored) in (batch.first..).zip(&batch.entries) {
                if let Err(error) = walk.entry(seq, stored, &mut before) {
                    return Ok(Err(error));
                }
                if seq < archived && seq % TILE == TILE - 1 && !same_as_archive(archive, seq, &stored.bytes)? {
                    return Ok(Err(OpenError::Forked { who: "archive", seq }));
                }
            }
            if let Err(error) = walk.batch(batch, archived) {
                return Ok(Err(error));
            }
        }
        Ok(Ok(walk))
    }

    fn entry(&mut self, seq: u64, stored: &Stored, before: &mut Option<Hash>) -> Result<(), OpenError> {
        let hash = *stored.hash();
        let links =
            links(&stored.bytes).filter(|links| links.seq == seq && before.is_none_or(|before| before == links.prev));
        let Some(links) = links else { return Err(OpenError::Forked { who: "checkpoint", seq }) };
        *before = Some(hash);
        self.last = Some((hash, links.time));
        self.hashes.push(hash);
        if seq == self.frontier.size() {
            let nodes = &mut self.nodes;
            self.frontier.push(tree::leaf_hash(&stored.bytes), |place, node| {
                nodes.insert(place, node);
            });
        }
        Ok(())
    }

    fn batch(&mut self, batch: &Batch, archived: u64) -> Result<(), OpenError> {
        let Some(checkpoint) = batch.checkpoints.last().filter(|checkpoint| checkpoint.size() == batch.end()) else {
            return Err(OpenError::Forked { who: "checkpoint", seq: batch.first });
        };
        if batch.end() >= archived && batch.end() == self.frontier.size() && checkpoint.root() != self.frontier.root() {
            return Err(OpenError::Forked { who: "checkpoint", seq: batch.first });
        }
        self.roots.insert(batch.end(), checkpoint.root());
        Ok(())
    }

    fn hash_before(&self, size: u64) -> Option<Hash> {
        let index = size.checked_sub(self.first)?.checked_sub(1)?;
        self.hashes.get(usize::try_from(index).ok()?).copied()
    }
}

fn entry_before(archive: &Archive, seq: u64) -> io::Result<Option<Hash>> {
    if seq / TILE >= archive.tiles()? {
        return Ok(None);
    }
    let entries = archive.entries(seq / TILE)?;
    Ok(entries.get((seq % TILE) as usize).map(|bytes| Hash::of(bytes)))
}

fn same_as_archive(archive: &Archive, seq: u64, bytes: &[u8]) -> io::Result<bool> {
    Ok(archive.entries(seq / TILE)?.get((seq % TILE) as usize).is_some_and(|archived| **archived == *bytes))
}

fn compare_store(walk: &Walk, stored: &Head, end: u64) -> Result<(), OpenError> {
    let forked = Err(OpenError::Forked { who: "store", seq: stored.size.saturating_sub(1) });
    if walk.hash_before(stored.size).is_some_and(|hash| hash != stored.prev) {
        return forked;
    }
    let root = stored.frontier().map(|frontier| frontier.root());
    let expected = if stored.size == end { Some(walk.frontier.root()) } else { walk.roots.get(&stored.size).copied() };
    match (root, expected) {
        (None, _) => forked,
        (Some(root), Some(expected)) if root != expected => forked,
        _ => Ok(()),
    }
}

fn compare_anchor(walk: &Walk, anchored: Option<&Anchored>, archive: &Archive) -> Result<(), OpenError> {
    let Some(anchored) = anchored else { return Ok(()) };
    let size = anchored.checkpoint.size();
    let nodes = ArchiveNodes { archive, recent: |place| walk.nodes.get(&place).copied() };
    let root = walk.roots.get(&size).copied().or_else(|| tree::root_at(&nodes, size));
    if root == Some(anchored.checkpoint.root()) {
        Ok(())
    } else {
        Err(OpenError::Forked { who: "anchor", seq: size.saturating_sub(1) })
    }
}

/// Gives the store what only the journal has.
fn replay(store: &Store, stored: &Head, batches: &[Batch], walk: &Walk) -> Result<Head, OpenError> {
    let mut head = stored.clone();
    let rest: Vec<Batch> = batches.iter().filter(|batch| batch.end() > stored.size).cloned().collect();
    if let Some((hash, time)) = walk.last.filter(|_| !rest.is_empty()) {
        head.advance(&walk.frontier, hash, time);
        store.apply(&rest, &head)?;
        store.barrier()?;
    }
    Ok(head)
}

fn pending(batches: &[Batch], archived: u64) -> Vec<Arc<Stored>> {
    let numbered = batches.iter().flat_map(|batch| (batch.first..).zip(&batch.entries));
    numbered.filter(|(seq, _)| *seq >= archived).map(|(_, stored)| stored.clone()).collect()
}
