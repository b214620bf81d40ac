//! The archive: C2SP tiles (c2sp.org/tlog-tiles) with the entries and the tree, and packs with what belongs to the entries.
//!
//! Full tiles and packs are immutable, 256 entries each. They are the second copy of everything that is in the store: a journal segment is
//! given back only when its entries are here, synced, read back and compared.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use crate::{
    Hash,
    batch::{Batch, Stored},
    checkpoint::Checkpoint,
    disk::{Disk, next_name},
    tree::{self, Place},
};

/// Entries, or hashes, in a full tile.
pub const TILE: u64 = 256;
/// Levels of the tree in one tile.
const TILE_LEVELS: u32 = 8;
/// Groups of three digits in the longest number of a tile: 10^12 tiles.
const MAX_GROUPS: u32 = 4;
/// Files that are written at a time.
const LANES: usize = 4;
const PACK_MAGIC: &[u8; 8] = b"CSPACK\x00\x01";

/// The directory of a ledger's archive.
#[derive(Clone)]
pub(crate) struct Archive {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

/// A number as c2sp.org/tlog-tiles writes it in a path: groups of three digits, all but the last with an `x` in front.
pub fn tile_path(number: u64) -> String {
    let digits = number.to_string();
    let padded = "0".repeat(digits.len().next_multiple_of(3) - digits.len()) + &digits;
    let groups: Vec<_> = padded.as_bytes().chunks(3).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    match groups.split_last() {
        Some((last, rest)) => rest.iter().map(|group| format!("x{group}/")).collect::<String>() + last,
        None => String::new(),
    }
}

fn damaged(path: &Path, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {what}", path.display()))
}

impl Archive {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path) -> Archive {
        Archive { disk, dir: dir.to_owned() }
    }

    /// Where the index lies.
    pub(crate) fn index_dir(&self) -> PathBuf {
        self.dir.join("index")
    }

    fn entries_path(&self, tile: u64, width: u64) -> PathBuf {
        self.dir.join("tile/entries").join(with_width(tile, width))
    }

    fn hashes_path(&self, level: u32, tile: u64, width: u64) -> PathBuf {
        self.dir.join("tile").join(level.to_string()).join(with_width(tile, width))
    }

    fn pack_path(&self, tile: u64) -> PathBuf {
        self.dir.join("vault").join(tile_path(tile))
    }

    /// Writes full tiles with their packs, and every tile of a higher level that they fill; reads them back. Each batch is one tile's.
    pub(crate) fn write_tiles(&self, tiles: &[Batch], upper: &mut Upper) -> io::Result<()> {
        let (mut files, mut replaced) = (Vec::new(), Vec::new());
        for batch in tiles {
            let tile = batch.first / TILE;
            let leaves: Vec<Hash> = batch.entries.iter().map(|entry| tree::leaf_hash(&entry.bytes)).collect();
            files.push((self.pack_path(tile), pack(batch)));
            let full = [(0, tile, leaves.clone())].into_iter().chain(upper.push(&leaves));
            for (level, number, hashes) in full {
                let path = self.hashes_path(level, number, TILE);
                files.push((path.clone(), concat(&hashes)));
                replaced.push(path);
            }
        }
        self.put_checked(&files)?;
        // INVARIANT: the entries come last. Tiles are counted by them, so a tile that a crash left half written does not count.
        let path = |batch: &Batch| self.entries_path(batch.first / TILE, TILE);
        let files: Vec<_> = tiles.iter().map(|batch| (path(batch), bundle(&batch.entries))).collect();
        self.put_checked(&files)?;
        replaced.extend(files.into_iter().map(|(path, _)| path));
        replaced.iter().try_for_each(|path| self.drop_partial(path))
    }

    /// Removes the partial tiles that the full tile at `full` replaces.
    fn drop_partial(&self, full: &Path) -> io::Result<()> {
        let dir = full.with_extension("p");
        let names = self.disk.list(&dir)?;
        for name in &names {
            self.disk.remove(&dir.join(name))?;
        }
        if names.is_empty() { Ok(()) } else { self.disk.remove_dir(&dir) }
    }

    /// Publishes `checkpoint` with the partial tiles it needs beyond the full ones.
    pub(crate) fn publish(&self, checkpoint: &Checkpoint, rest: &[Arc<Stored>], upper: &Upper) -> io::Result<()> {
        let (tile, mut files) = (checkpoint.size() / TILE, Vec::new());
        if !rest.is_empty() {
            let width = rest.len() as u64;
            let leaves: Vec<Hash> = rest.iter().map(|entry| tree::leaf_hash(&entry.bytes)).collect();
            files.push((self.entries_path(tile, width), bundle(rest)));
            files.push((self.hashes_path(0, tile, width), concat(&leaves)));
        }
        for (level, number, hashes) in upper.partial() {
            files.push((self.hashes_path(level, number, hashes.len() as u64), concat(hashes)));
        }
        self.put_checked(&files)?;
        self.put_checked(&[(self.dir.join("checkpoint"), checkpoint.as_str().as_bytes().to_vec())])
    }

    /// Writes files, durable on return, and reads them back. They are written several at a time, because files that are synced together cost the file system
    /// little more than one, and get their names in order.
    fn put_checked(&self, files: &[(PathBuf, Vec<u8>)]) -> io::Result<()> {
        let dirs: BTreeSet<&Path> = files.iter().filter_map(|(path, _)| path.parent()).collect();
        dirs.iter().try_for_each(|dir| self.disk.create_dir(dir))?;
        let prepare = |(path, bytes): &(PathBuf, Vec<u8>)| self.disk.prepare(path, bytes).map(drop);
        let lanes = files.len().clamp(1, LANES);
        thread::scope(|scope| {
            let lane = |lane: usize| move || files.iter().skip(lane).step_by(lanes).try_for_each(prepare);
            // The first lane is this thread's.
            let others: Vec<_> =
                (1..lanes).map(|n| thread::Builder::new().spawn_scoped(scope, lane(n))).collect::<io::Result<_>>()?;
            let own = lane(0)();
            let panicked = |_| Err(io::Error::other("a thread of the archive panicked"));
            others.into_iter().map(|other| other.join().unwrap_or_else(panicked)).fold(own, io::Result::and)
        })?;
        // INVARIANT: no tile has its name before the one before it has: what is counted has no gap.
        files.iter().try_for_each(|(path, _)| self.disk.rename(&next_name(path), path))?;
        dirs.iter().try_for_each(|dir| self.disk.sync_dir(dir))?;
        files.iter().try_for_each(|(path, bytes)| match self.disk.read(path)? == *bytes {
            true => Ok(()),
            false => Err(damaged(path, "reads back other than written")),
        })
    }

    /// How many full tiles there are, counted by their entries.
    pub(crate) fn tiles(&self) -> io::Result<u64> {
        let dir = self.dir.join("tile/entries");
        // The longest numbers first: `x001/x000/000` comes after `x999/999`.
        for groups in (1..=MAX_GROUPS).rev() {
            // Where the smallest number of so many groups is not, no larger one is: most directories need not be read.
            let smallest = self.entries_path(1000_u64.pow(groups - 1), TILE);
            if groups > 1 && self.disk.list(smallest.parent().unwrap_or(&dir))?.is_empty() {
                continue;
            }
            if let Some(last) = self.last_tile(&dir, groups)? {
                return Ok(last + 1);
            }
        }
        Ok(0)
    }

    /// The highest number of a full tile below `dir` that has so many groups of digits more.
    fn last_tile(&self, dir: &Path, groups: u32) -> io::Result<Option<u64>> {
        let digits = |name: &str| name.parse::<u64>().ok().filter(|_| name.len() == 3);
        for name in self.disk.list(dir)?.iter().rev() {
            if groups == 1 {
                if let Some(number) = digits(name) {
                    return Ok(Some(number));
                }
            } else if let Some(number) = name.strip_prefix('x').and_then(digits)
                && let Some(below) = self.last_tile(&dir.join(name), groups - 1)?
            {
                return Ok(Some(number * 1000_u64.pow(groups - 1) + below));
            }
        }
        Ok(None)
    }

    /// The entries of a full tile.
    pub(crate) fn entries(&self, tile: u64) -> io::Result<Vec<Arc<[u8]>>> {
        let path = self.entries_path(tile, TILE);
        let bytes = self.disk.read(&path)?;
        let entries = unbundle(&bytes).ok_or_else(|| damaged(&path, "not an entry bundle"))?;
        if entries.len() as u64 == TILE { Ok(entries) } else { Err(damaged(&path, "not 256 entries")) }
    }

    /// The pack of a full tile: its entries are empty.
    pub(crate) fn pack(&self, tile: u64) -> io::Result<Batch> {
        let path = self.pack_path(tile);
        let bytes = self.disk.read(&path)?;
        unpack(&bytes)
            .filter(|pack| pack.first == tile * TILE && pack.entries.len() as u64 == TILE)
            .ok_or_else(|| damaged(&path, "not the pack of this tile"))
    }

    /// The node at `place`, if a full tile has it.
    pub(crate) fn node(&self, place: Place) -> io::Result<Option<Hash>> {
        let (level, index) = place;
        let (tile_level, within) = (level / TILE_LEVELS, level % TILE_LEVELS);
        let width = 1_u64 << within;
        let (tile, offset) = (index * width / TILE, index * width % TILE);
        let path = self.hashes_path(tile_level, tile, TILE);
        let bytes = match self.disk.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let hashes = split_hashes(&bytes).filter(|hashes| hashes.len() as u64 == TILE);
        let hashes = hashes.ok_or_else(|| damaged(&path, "not a tile of 256 hashes"))?;
        let mut row: Vec<Hash> = hashes.into_iter().skip(offset as usize).take(width as usize).collect();
        while row.len() > 1 {
            row = row.chunks(2).filter_map(|pair| Some(tree::node_hash(pair.first()?, pair.get(1)?))).collect();
        }
        Ok(row.first().copied())
    }

    /// The hash tiles above level 0, as far as full level-0 tiles lead.
    pub(crate) fn upper(&self, tiles: u64) -> io::Result<Upper> {
        let mut upper = Upper::default();
        let mut count = tiles;
        let mut level = 1;
        while count > 0 {
            // The roots of the level below, as many as do not fill a tile of this level.
            let first = count / TILE * TILE;
            let mut hashes = Vec::new();
            for index in first..count {
                let place = (level * TILE_LEVELS, index);
                hashes.push(self.subtree(place)?.ok_or_else(|| damaged(&self.dir, "a tile of hashes is missing"))?);
            }
            upper.levels.push((first / TILE, hashes));
            count /= TILE;
            level += 1;
        }
        Ok(upper)
    }

    /// The root of the full tile below `place`, where `place` is the root of a tile.
    fn subtree(&self, place: Place) -> io::Result<Option<Hash>> {
        let (level, index) = place;
        let left = self.node((level - 1, index * 2))?;
        let right = self.node((level - 1, index * 2 + 1))?;
        Ok(left.zip(right).map(|(left, right)| tree::node_hash(&left, &right)))
    }
}

/// The hashes at levels 1 and up that do not fill a tile yet: per level the tile's number and its hashes so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upper {
    levels: Vec<(u64, Vec<Hash>)>,
}

impl Upper {
    /// Adds the root of a full level-0 tile; gives the tiles that became full.
    fn push(&mut self, leaves: &[Hash]) -> Vec<(u32, u64, Vec<Hash>)> {
        let mut full = Vec::new();
        let mut root = root_of(leaves);
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push((0, Vec::new()));
            }
            let Some((number, hashes)) = self.levels.get_mut(level) else { break };
            hashes.push(root);
            if (hashes.len() as u64) < TILE {
                break;
            }
            root = root_of(hashes);
            full.push((level as u32 + 1, *number, std::mem::take(hashes)));
            *number += 1;
        }
        full
    }

    fn partial(&self) -> impl Iterator<Item = (u32, u64, &[Hash])> {
        self.levels
            .iter()
            .enumerate()
            .filter(|(_, (_, hashes))| !hashes.is_empty())
            .map(|(level, (number, hashes))| (level as u32 + 1, *number, hashes.as_slice()))
    }
}

fn root_of(leaves: &[Hash]) -> Hash {
    let mut frontier = tree::Frontier::default();
    for leaf in leaves {
        frontier.push(*leaf, |_, _| {});
    }
    frontier.root()
}

fn with_width(tile: u64, width: u64) -> String {
    if width == TILE { tile_path(tile) } else { format!("{}.p/{width}", tile_path(tile)) }
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn split_hashes(bytes: &[u8]) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    rest.is_empty().then(|| hashes.iter().copied().map(Hash::from).collect())
}

/// An entry bundle: each entry with its length in 16 bits before it.
fn bundle(entries: &[Arc<Stored>]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.bytes.len()).sum());
    for entry in entries {
        // INVARIANT: no entry is longer than 65,535 bytes; `Entry::to_bytes` and the writer refuse it.
        bytes.extend(u16::try_from(entry.bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&entry.bytes);
    }
    bytes
}

/// Reads an entry bundle; `None` when the bytes are anything else.
pub fn unbundle(mut bytes: &[u8]) -> Option<Vec<Arc<[u8]>>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(Arc::from(entry));
        bytes = rest;
    }
    Some(entries)
}

fn pack(batch: &Batch) -> Vec<u8> {
    let mut payload = Vec::with_capacity(batch.size());
    batch.encode(false, &mut payload);
    [PACK_MAGIC.as_slice(), &crc32fast::hash(&payload).to_be_bytes(), &payload].concat()
}

fn unpack(bytes: &[u8]) -> Option<Batch> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (checksum, payload) = rest.split_first_chunk::<4>()?;
    let good = magic == PACK_MAGIC && crc32fast::hash(payload) == u32::from_be_bytes(*checksum);
    good.then(|| Batch::decode(payload)).flatten()
}

/// Nodes of the tree: those of leaves that are not archived yet, else those of the archive.
pub(crate) struct ArchiveNodes<'a, N> {
    pub(crate) archive: &'a Archive,
    // INVARIANT: asked first; what it drops meanwhile is in the archive by then.
    pub(crate) recent: N,
}

impl<N: tree::Nodes> tree::Nodes for ArchiveNodes<'_, N> {
    fn node(&self, place: Place) -> Option<Hash> {
        self.recent.node(place).or_else(|| self.archive.node(place).ok().flatten()).or_else(|| {
            // A node above several full tiles, some of whose tiles are not full themselves yet.
            let (level, index) = place;
            let below = level.checked_sub(1)?;
            Some(tree::node_hash(&self.node((below, index * 2))?, &self.node((below, index * 2 + 1))?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Beside;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(tile_path(0), "000");
        assert_eq!(tile_path(999), "999");
        assert_eq!(tile_path(1_234_067), "x001/x234/067");
        assert_eq!(with_width(1, 3), "001.p/3");
    }

    #[test]
    fn tiles_are_counted_however_many_digits_their_numbers_have() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::new(crate::disk::SystemDisk::shared(), dir.path());
        assert_eq!(archive.tiles().unwrap(), 0);
        for tile in [0, 999, 1000, 999_999, 1_000_000, 1_002_001] {
            let path = archive.entries_path(tile, TILE);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
            std::fs::create_dir_all(archive.entries_path(tile + 1, 3).parent().unwrap()).unwrap();
            assert_eq!(archive.tiles().unwrap(), tile + 1);
        }
    }

    #[test]
    fn no_cut_of_a_bundle_passes_as_one_with_other_entries() {
        let entries =
            [b"ab".as_slice(), b"", b"c"].map(|bytes| Arc::new(Stored::new(Arc::from(bytes), Beside::default())));
        let bytes = bundle(&entries);
        assert_eq!(unbundle(&bytes).unwrap().len(), 3);
        for cut in [1, 3, 8] {
            assert!(unbundle(&bytes[..bytes.len() - cut]).is_none_or(|entries| entries.len() < 3), "{cut}");
        }
    }
}
