//! A ledger's directory read from outside: no lock, no store; works on a copy and beside a running gateway.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Hash,
    anchor::Anchor,
    archive::{Archive, ArchiveNodes, TILE},
    batch::{Batch, Stored},
    checkpoint::Checkpoint,
    count::counted,
    disk::{Disk, SystemDisk},
    evidence::{Damage, Source},
    index::Index,
    journal,
    proof::Proof,
    term::Term,
    tree::{self, Frontier, Place},
};

/// A ledger's directory.
pub struct Directory {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    archive: Archive,
    tiles: u64,
    index: Index,
    /// What the journal has beyond full tiles.
    rest: Batch,
    damage: Vec<Damage>,
}

impl Directory {
    /// Reads a directory; `anchor` is the anchor's, if it is not below it.
    ///
    /// # Errors
    /// When there is no ledger, or it cannot be read at all.
    pub fn read(dir: &Path, anchor: Option<&Path>) -> io::Result<Directory> {
        let disk = SystemDisk::shared();
        let archive = Archive::new(disk.clone(), dir);
        // The journal first: what a running gateway archives and trims meanwhile is then in the tiles.
        let contents = journal::read(&*disk, &dir.join("journal"))?;
        let tiles = archive.tiles()?;
        if tiles == 0 && contents.first.is_none() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no ledger in `{}`", dir.display())));
        }
        let archived = tiles * TILE;
        let mut damage = Vec::new();
        if let Some(found) = contents.damage {
            let next = contents.batches.last().map(Batch::end).or(contents.first);
            let what =
                format!("the journal is damaged: {} of segment `{}`, byte {}", found.what, found.segment, found.at);
            damage.push(Damage { code: "journal-damaged", seq: next, what });
        }
        if let Some(first) = contents.first.filter(|first| *first > archived) {
            let what = format!(
                "the archive ends at entry {archived} and the journal begins at {first}: what is between is lost"
            );
            damage.push(Damage { code: "entries-missing", seq: Some(archived), what });
        }
        let rest = beyond(contents.batches, archived);
        let index = Index::read(disk.clone(), &archive, archived);
        let mut directory = Directory { disk, dir: dir.to_owned(), archive, tiles, index, rest, damage };
        directory.check_anchor(anchor.unwrap_or(&dir.join("anchor")));
        Ok(directory)
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.rest.end().max(self.tiles * TILE)
    }

    fn check_anchor(&mut self, anchor: &Path) {
        if !anchor.is_dir() {
            return;
        }
        let (_, anchored, torn) = match Anchor::open(self.disk.clone(), anchor) {
            Ok(found) => found,
            Err(error) => {
                self.damage.push(Damage {
                    code: "anchor-unreadable",
                    seq: None,
                    what: format!("the anchor cannot be read: {error}"),
                });
                return;
            }
        };
        if torn.len() == 2 {
            self.damage.push(Damage {
                code: "anchor-damaged",
                seq: None,
                what: "both slots of the anchor are damaged".to_owned(),
            });
        }
        let Some(anchored) = anchored.filter(|anchored| anchored.checkpoint.size() > self.size()) else { return };
        let what = format!(
            "the anchor knows of {}, the ledger has {}: it was truncated or put back to an older state",
            counted(anchored.checkpoint.size(), "entry", "entries"),
            self.size()
        );
        self.damage.push(Damage { code: "rolled-back", seq: Some(self.size()), what });
    }

    /// The newest checkpoint that covers everything here.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let published =
            || Checkpoint::parse(&String::from_utf8(self.disk.read(&self.dir.join("checkpoint")).ok()?).ok()?).ok();
        self.rest.checkpoints.last().cloned().or_else(published).filter(|checkpoint| checkpoint.size() == self.size())
    }

    /// Proofs of entries against the newest checkpoint.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn proofs(&self, entries: impl Iterator<Item = u64>) -> io::Result<Vec<Proof>> {
        let missing = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "no checkpoint covers the ledger's end; run `countersign verify`",
            )
        };
        let checkpoint = self.checkpoint().ok_or_else(missing)?;
        let nodes = self.nodes()?;
        let nodes = ArchiveNodes { archive: &self.archive, recent: nodes };
        entries
            .map(|seq| {
                let path = tree::inclusion_proof(&nodes, seq, checkpoint.size()).ok_or_else(missing)?;
                Ok(Proof { index: seq, path, checkpoint: checkpoint.clone() })
            })
            .collect()
    }

    fn nodes(&self) -> io::Result<BTreeMap<Place, Hash>> {
        let archive = ArchiveNodes { archive: &self.archive, recent: BTreeMap::new() };
        let missing = || {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "a tile of hashes is missing or damaged; run `countersign verify`",
            )
        };
        let edge = tree::edge_places(self.tiles * TILE)
            .into_iter()
            .map(|place| tree::Nodes::node(&archive, place))
            .collect::<Option<Vec<_>>>();
        let mut frontier = Frontier::new(self.tiles * TILE, edge.ok_or_else(missing)?).ok_or_else(missing)?;
        let mut nodes: BTreeMap<_, _> = frontier.nodes().collect();
        for stored in &self.rest.entries {
            frontier.push(tree::leaf_hash(&stored.bytes), |place, hash| {
                nodes.insert(place, hash);
            });
        }
        Ok(nodes)
    }
}

/// What lies beyond full tiles, in one piece.
fn beyond(batches: Vec<Batch>, archived: u64) -> Batch {
    let mut rest = Batch { first: archived, entries: Vec::new(), checkpoints: Vec::new() };
    for batch in batches {
        for (seq, stored) in (batch.first..).zip(batch.entries) {
            if seq == rest.end() {
                rest.entries.push(stored);
            }
        }
        rest.checkpoints.extend(batch.checkpoints.into_iter().filter(|checkpoint| checkpoint.size() > archived));
    }
    rest
}

impl Source for Directory {
    fn pieces(&self) -> u64 {
        self.tiles + u64::from(!self.rest.entries.is_empty())
    }

    fn piece(&self, index: u64) -> Result<Batch, Damage> {
        if index >= self.tiles {
            return Ok(self.rest.clone());
        }
        let seq = Some(index * TILE);
        let unreadable = |error: io::Error| Damage {
            code: "archive-damaged",
            seq,
            what: format!("the archive cannot be read: {error}"),
        };
        let entries = self.archive.entries(index).map_err(unreadable)?;
        let mut piece = self.archive.pack(index).map_err(unreadable)?;
        let beside = std::mem::take(&mut piece.entries).into_iter().map(Arc::unwrap_or_clone);
        let whole = |(pack, bytes): (Stored, _)| Arc::new(Stored::new(bytes, pack.beside));
        piece.entries = beside.zip(entries).map(whole).collect();
        Ok(piece)
    }

    fn pieces_with(&self, terms: &[Term]) -> Option<BTreeSet<u64>> {
        // What the index does not reach is looked at in full.
        let mut pieces: BTreeSet<u64> = (self.index.end() / TILE..self.pieces()).collect();
        for term in terms {
            pieces.extend(self.index.find(*term).ok()?.into_iter().map(|seq| seq / TILE));
        }
        Some(pieces)
    }

    fn policy(&self, hash: &Hash) -> Option<Vec<u8>> {
        self.disk.read(&self.dir.join("policy").join(hash.to_string())).ok()
    }

    fn damage(&self) -> Vec<Damage> {
        self.damage.clone()
    }
}
